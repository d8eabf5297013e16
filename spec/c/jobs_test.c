/* jobs_test.c - isolua.h: pools, and the jobs that C code submits. */
/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "one_host.h"

static isolua_pool *pool;

/* A pool of so many isolates; `queue` 0: the default. */
static bool open_pool(size_t workers, size_t queue) {
  isolua_pool_options o = {.size = sizeof o, .workers = workers, .queue = queue};
  host = embed_open(NULL);
  return host != NULL && CHECK_INT(isolua_pool_new(host, NULL, &o, &pool), ISOLUA_OK);
}

static bool open_pool_with(isolua_options *options, const isolua_pool_options *limits) {
  host = embed_open(NULL);
  if (options != NULL) options->size = sizeof *options;
  return host != NULL && CHECK_INT(isolua_pool_new(host, options, limits, &pool), ISOLUA_OK);
}

static void close_pool(void) {
  isolua_pool_release(pool);
  embed_close(host);
}

static isolua_message *integers(long long a, long long b) {
  isolua_message *m = new_message();
  isolua_add_integer(m, a);
  isolua_add_integer(m, b);
  return m;
}

/* NULL: failed, and checked. */
static isolua_future *submit(const char *source, isolua_message *args) {
  isolua_future *f = NULL;
  if (CHECK_INT(isolua_submit_string(pool, NULL, source, args, SOON, &f), ISOLUA_OK)) return f;
  isolua_message_free(args);
  return NULL;
}

/* That of `source` is `code`, and its message has `part` in it. */
static void check_job(const char *source, isolua_message *args, int code, const char *part) {
  isolua_future *f = submit(source, args);
  if (!embed_settles(f, code, part)) printf("      %s\n", source);
  isolua_future_release(f);
}

static long long integer_of(isolua_future *f) {
  long long n = -1;
  if (embed_settles(f, ISOLUA_OK, NULL)) n = isolua_future_integer(f, 1);
  isolua_future_release(f);
  return n;
}

/* -- Jobs -------------------------------------------------------------------------------------- */

static void jobs_have_arguments_and_results(void) {
  isolua_future *f;
  if (!open_pool(2, 0)) return;
  f = submit("local a, b = ... return a * b, 'text', {a, b}, select('#', ...)", integers(6, 7));
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    CHECK_INT(isolua_future_integer(f, 1), 42);
    CHECK_TEXT(isolua_future_string(f, 2, NULL), "text");
    CHECK_INT(isolua_value_length(isolua_future_value(f, 3)), 2);
    CHECK_INT(isolua_future_integer(f, 4), 2);
  }
  isolua_future_release(f);
  CHECK_INT(integer_of(submit("return (select('#', ...))", NULL)), 0);
  CHECK_INT(integer_of(submit("return (select('#', ...))", new_message())), 0);
  close_pool();
}

static void jobs_fail_with_their_errors(void) {
  static const char source[] = "\nerror(...)";
  isolua_job_options o = {.size = sizeof o, .name = "greeter"};
  isolua_future *f;
  if (!open_pool(1, 0)) return;
  check_job("return 1 +", NULL, ISOLUA_ERROR, "unexpected symbol");
  check_job("\033Lua", NULL, ISOLUA_ERROR, "binary chunk");
  CHECK_INT(isolua_submit_buffer(pool, NULL, source, sizeof source - 1, "@house.lua", NULL, 0, &f),
            ISOLUA_OK);
  embed_settles(f, ISOLUA_ERROR, "nil");
  CHECK_PART(isolua_future_traceback(f), "house.lua:2:");
  isolua_future_release(f);
  CHECK_INT(isolua_submit_string(pool, &o, "require 'isolate'.exit()", NULL, 0, &f), ISOLUA_OK);
  embed_settles(f, ISOLUA_EXITED, "job 'greeter'");
  isolua_future_release(f);
  check_job("require 'isolate'.exit()", NULL, ISOLUA_EXITED, "job '(isolua)'");
  close_pool();
}

/* Is the function that runs the one that ran last? */
static const char is_same[] = "local r, f = debug.getregistry(), debug.getinfo(1, 'f').func "
                              "local same = r.last == f r.last = f return same and 1 or 0";

static void chunks_are_loaded_once(void) {
  char source[64];
  if (!open_pool(1, 0)) return;
  CHECK_INT(integer_of(submit(is_same, NULL)), 0);
  for (int i = 0; i < 3; i++) CHECK_INT(integer_of(submit(is_same, NULL)), 1);
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < 200; i++) {
      snprintf(source, sizeof source, "local n = ... return n + %d", i);
      if (!CHECK_INT(integer_of(submit(source, integers(1000, 0))), 1000 + i)) break;
    }
  CHECK_INT(integer_of(submit(is_same, NULL)), 0); /* it was forgotten meanwhile */
  close_pool();
}

static void jobs_leave_the_globals_as_they_were(void) {
  if (!open_pool(1, 0)) return;
  check_job("left, print = 1, nil", NULL, ISOLUA_OK, NULL);
  CHECK_INT(integer_of(submit("return left == nil and print and 1 or 0", NULL)), 1);
  close_pool();
}

static void jobs_take_blocks(void) {
  isolua_pool_options o = {.size = sizeof o, .workers = 1, .retries = 1};
  isolua_message *m;
  isolua_block *b;
  for (int retries = 0; retries < 2; retries++) {
    o.retries = retries;
    if (!open_pool_with(NULL, &o)) return;
    m = new_message();
    CHECK_INT(isolua_block_new(5, &b), ISOLUA_OK);
    memcpy(isolua_block_data(b, NULL), "abcde", 5);
    isolua_add_block(m, b);
    CHECK_INT(integer_of(submit("return (...):sub(1) == 'abcde' and 1 or 0", m)), 1);
    close_pool();
  }
}

static void jobs_are_run_again(void) {
  isolua_pool_options o = {.size = sizeof o, .workers = 1, .retries = 2};
  isolua_message *m = new_message();
  isolua_atomic *tries;
  if (!open_pool_with(NULL, &o)) return;
  CHECK_INT(isolua_atomic_new(0, &tries), ISOLUA_OK);
  isolua_add_atomic(m, tries);
  CHECK_INT(integer_of(submit(
              "local n = (...):add(1) if n < 3 then require 'isolate'.exit() end return n", m)),
            3);
  isolua_atomic_release(tries);
  close_pool();
}

/* -- Limits ------------------------------------------------------------------------------------ */

static void jobs_run_within_their_time(void) {
  isolua_options slow = {.timeout = 10 * MILLISECOND};
  isolua_job_options own = {.size = sizeof own, .timeout = SOON};
  isolua_future *f;
  if (!open_pool_with(&slow, NULL)) return;
  check_job(ENDLESS, NULL, ISOLUA_TIMEOUT, NULL);
  CHECK_INT(isolua_submit_string(pool, &own, "require 'isolate'.sleep(0.05) return 1", NULL, 0, &f),
            ISOLUA_OK);
  CHECK_INT(integer_of(f), 1);
  own.timeout = MILLISECOND;
  CHECK_INT(isolua_submit_string(pool, &own, ENDLESS, NULL, 0, &f), ISOLUA_OK);
  embed_settles(f, ISOLUA_TIMEOUT, NULL);
  isolua_future_release(f);
  close_pool();
}

static void options_hold_for_all_isolates(void) {
  isolua_options o = {.name = "crew", .libs = "string", .memory = 4 << 20};
  if (!open_pool_with(&o, NULL)) return;
  CHECK_INT(integer_of(submit("return os == nil and string and 1 or 0", NULL)), 1);
  check_job("return ('x'):rep(1 << 24)", NULL, ISOLUA_MEMORY, NULL);
  close_pool();
  o = (isolua_options){.init = "no.such.module"};
  if (!open_pool_with(&o, NULL)) return;
  check_job("return 1", NULL, ISOLUA_ERROR, "no.such.module");
  close_pool();
}

static void isolates_are_replaced(void) {
  isolua_pool_options o = {.size = sizeof o, .workers = 1, .max_jobs = 1};
  static const char id[] = "return require 'isolate'.self().id";
  long long first;
  if (!open_pool_with(NULL, &o)) return;
  first = integer_of(submit(id, NULL));
  CHECK(first > 0 && integer_of(submit(id, NULL)) != first);
  close_pool();
}

static void isolates_end_when_idle(void) {
  isolua_pool_options o = {.size = sizeof o, .workers = 2, .idle = 1};
  if (!open_pool_with(NULL, &o)) return;
  CHECK_INT(integer_of(submit("return 1", NULL)), 1);
  CHECK(check_isolates_end());
  CHECK_INT(integer_of(submit("return 2", NULL)), 2);
  close_pool();
}

/* -- The queue --------------------------------------------------------------------------------- */

/* A job that keeps the only isolate busy, and has begun. */
static isolua_future *occupy(void) {
  isolua_message *m = new_message();
  isolua_atomic *begun;
  isolua_future *f;
  CHECK_INT(isolua_atomic_new(0, &begun), ISOLUA_OK);
  isolua_add_atomic(m, begun);
  f = submit("(...):store(1) " ENDLESS, m);
  while (f != NULL && isolua_atomic_load(begun) == 0 && !isolua_future_done(f)) continue;
  isolua_atomic_release(begun);
  return f;
}

static void end_job(isolua_future *f) {
  isolua_future_cancel(f, NULL);
  isolua_future_release(f);
}

static void full_queues_refuse(void) {
  isolua_message *m = integers(1, 2);
  isolua_future *busy, *queued, *f = NULL;
  if (!open_pool(1, 1)) return;
  busy = occupy();
  queued = submit("return 1", NULL);
  CHECK_INT(isolua_submit_string(pool, NULL, "return ...", m, 0, &f), ISOLUA_FULL);
  CHECK_INT(isolua_submit_string(pool, NULL, "return ...", m, MILLISECOND, &f), ISOLUA_FULL);
  CHECK_INT(isolua_submit_buffer(pool, NULL, "", 0, NULL, m, 0, &f), ISOLUA_FULL);
  CHECK(f == NULL);
  CHECK_INT(isolua_value_integer(isolua_message_value(m, 2)), 2); /* it is still the caller's */
  end_job(busy);
  CHECK_INT(integer_of(queued), 1);
  CHECK_INT(isolua_submit_string(pool, NULL, "local a, b = ... return a + b", m, SOON, &f),
            ISOLUA_OK);
  CHECK_INT(integer_of(f), 3);
  close_pool();
}

typedef struct waiting {
  isolua_future *busy;
  int code; /* of who waits */
} waiting;

static bool is_outside(void *arg) {
  isolua_pool_stats s;
  (void)arg;
  isolua_pool_look(pool, &s);
  return s.queued == 1;
}

/* One waits for room; the other ends what is in its way, or the pool. */
static void wait_or_end(int index, void *arg) {
  waiting *w = arg;
  isolua_message *m = integers(40, 2);
  isolua_future *f = NULL;
  if (index == 1) {
    isolua_message_free(m);
    CHECK(check_eventually(is_outside, NULL));
    if (w->code == ISOLUA_CLOSED) isolua_pool_close(pool);
    isolua_future_cancel(w->busy, NULL);
    return;
  }
  if (!CHECK_INT(isolua_submit_string(pool, NULL, "local a, b = ... return a + b", m, SOON, &f),
                 w->code))
    return;
  if (w->code == ISOLUA_OK)
    CHECK_INT(integer_of(f), 42);
  else
    isolua_message_free(m);
}

static void submitters_wait_for_room(void) {
  const int codes[] = {ISOLUA_OK, ISOLUA_CLOSED};
  for (int i = 0; i < 2; i++) {
    waiting w = {.code = codes[i]};
    isolua_future *queued;
    if (!open_pool(1, 1)) return;
    w.busy = occupy();
    queued = submit("return 1", NULL);
    check_parallel(2, wait_or_end, &w);
    CHECK_INT(integer_of(queued), 1);
    isolua_future_release(w.busy);
    close_pool();
  }
}

static void higher_priorities_go_first(void) {
  static const int priorities[] = {0, -128, 127, 5, 0};
  static const long long turns[] = {3, 5, 1, 2, 4};
  isolua_future *busy, *f[5];
  isolua_atomic *turn;
  if (!open_pool(1, 0)) return;
  CHECK_INT(isolua_atomic_new(0, &turn), ISOLUA_OK);
  busy = occupy();
  for (int i = 0; i < 5; i++) {
    isolua_job_options o = {.size = sizeof o, .priority = priorities[i]};
    isolua_message *m = new_message();
    isolua_add_atomic(m, turn);
    CHECK_INT(isolua_submit_string(pool, &o, "return (...):add(1)", m, 0, &f[i]), ISOLUA_OK);
  }
  end_job(busy);
  for (int i = 0; i < 5; i++) CHECK_INT(integer_of(f[i]), turns[i]);
  isolua_atomic_release(turn);
  close_pool();
}

enum { SUBMITTERS = 4 };

static void submit_many(int index, void *arg) {
  int n = *(int *)arg;
  for (int i = 0; i < n; i++) {
    isolua_future *f = submit("local a, b = ... return 1000 * a + b", integers(index, i));
    if (!CHECK_INT(integer_of(f), 1000 * index + i)) break;
  }
}

static void many_threads_submit(void) {
  int n = check_scale(500, 50);
  isolua_pool_stats s;
  if (!open_pool(2, 2)) return;
  check_parallel(SUBMITTERS, submit_many, &n);
  isolua_pool_look(pool, &s);
  CHECK_INT(s.size, 2);
  CHECK_INT(s.queued, 0);
  CHECK_INT(s.failed, 0);
  CHECK(s.run50 > 0 && s.run99 >= s.run50 && s.wait99 >= s.wait50);
  close_pool();
}

/* -- Ending ------------------------------------------------------------------------------------ */

/* Where the host has no room for all isolates of a pool, the others run the jobs. */
static void pools_may_want_more_than_there_are(void) {
  isolua_host_options most = {.max_isolates = 1};
  isolua_pool_options o = {.size = sizeof o, .workers = 4};
  isolua_future *f[50];
  host = embed_open(&most);
  if (host == NULL || !CHECK_INT(isolua_pool_new(host, NULL, &o, &pool), ISOLUA_OK)) return;
  for (int i = 0; i < 50; i++) f[i] = submit("return ...", integers(i, 0));
  for (int i = 0; i < 50; i++) CHECK_INT(integer_of(f[i]), i);
  close_pool();
}

static void closed_pools_run_what_is_in(void) {
  isolua_message *m = integers(1, 2);
  isolua_future *f[20], *none = NULL;
  isolua_pool_stats s;
  if (!open_pool(2, 0)) return;
  for (int i = 0; i < 20; i++) f[i] = submit("return ...", integers(i, 0));
  CHECK_INT(isolua_future_done(isolua_pool_empty(pool)), 0);
  isolua_pool_close(pool);
  CHECK_INT(isolua_submit_string(pool, NULL, "return ...", m, 0, &none), ISOLUA_CLOSED);
  CHECK_INT(isolua_submit_string(pool, NULL, "return ...", m, SOON, &none), ISOLUA_CLOSED);
  CHECK_INT(isolua_submit_buffer(pool, NULL, "", 0, NULL, m, 0, &none), ISOLUA_CLOSED);
  CHECK(none == NULL);
  isolua_message_free(m);
  CHECK_INT(isolua_future_wait(isolua_pool_empty(pool), SOON), ISOLUA_OK);
  for (int i = 0; i < 20; i++) CHECK_INT(integer_of(f[i]), i);
  isolua_pool_look(pool, &s);
  CHECK_INT(s.done, 20);
  CHECK(check_isolates_end());
  close_pool();
}

static void pools_of_closed_hosts_refuse(void) {
  isolua_future *f = NULL;
  isolua_message *m = integers(1, 2);
  if (!open_pool(1, 0)) return;
  CHECK_INT(integer_of(submit("return 7", NULL)), 7);
  CHECK_INT(isolua_host_close(host, SOON), ISOLUA_OK);
  CHECK_INT(isolua_submit_string(pool, NULL, "return 1", m, SOON, &f), ISOLUA_CLOSED);
  CHECK(f == NULL);
  isolua_message_free(m);
  isolua_pool_release(pool);
}

static void cancelled_pools_end_what_is_in(void) {
  isolua_future *f[3];
  if (!open_pool(1, 0)) return;
  f[0] = occupy();
  for (int i = 1; i < 3; i++) f[i] = submit("return 1", NULL);
  isolua_pool_cancel(pool, "the game is over");
  for (int i = 0; i < 3; i++) {
    embed_settles(f[i], ISOLUA_CANCELLED, "the game is over");
    isolua_future_release(f[i]);
  }
  CHECK_INT(isolua_future_wait(isolua_pool_empty(pool), SOON), ISOLUA_OK);
  CHECK_INT(isolua_submit_string(pool, NULL, "", NULL, 0, f), ISOLUA_CLOSED);
  isolua_pool_cancel(pool, NULL);
  close_pool();
}

static void cancelled_jobs_end(void) {
  isolua_future *busy, *queued;
  if (!open_pool(1, 0)) return;
  busy = occupy();
  queued = submit("return 1", NULL);
  isolua_future_cancel(queued, "not needed");
  embed_settles(queued, ISOLUA_CANCELLED, "not needed");
  isolua_future_cancel(busy, NULL);
  embed_settles(busy, ISOLUA_CANCELLED, NULL);
  isolua_future_release(queued);
  isolua_future_release(busy);
  CHECK_INT(integer_of(submit("return 2", NULL)), 2);
  close_pool();
}

static void released_pools_are_closed(void) {
  isolua_future *f;
  if (!open_pool(1, 0)) return;
  f = submit("return 1", NULL);
  isolua_pool_retain(pool);
  isolua_pool_release(pool);
  CHECK_INT(integer_of(submit("return 2", NULL)), 2);
  isolua_pool_release(pool);
  CHECK_INT(integer_of(f), 1);
  CHECK(check_isolates_end());
  isolua_pool_release(NULL);
  embed_close(host);
}

/* What is submitted after its host's end fails at once, or later. */
static void pools_outlive_their_hosts(void) {
  isolua_future *busy, *queued, *f = NULL;
  int code;
  if (!open_pool(1, 0)) return;
  busy = occupy();
  queued = submit("return 1", NULL);
  embed_close(host);
  CHECK_INT(isolua_future_code(busy), ISOLUA_KILLED);
  CHECK_INT(isolua_future_done(queued), 1);
  isolua_future_release(busy);
  isolua_future_release(queued);
  code = isolua_submit_string(pool, NULL, "return 1", NULL, 0, &f);
  if (code == ISOLUA_OK) code = isolua_future_wait(f, SOON);
  CHECK_INT(code, ISOLUA_CLOSED);
  isolua_future_release(f);
  isolua_pool_release(pool);
}

/* -- With the rest ----------------------------------------------------------------------------- */

static void isolates_submit_to_it(void) {
  isolua_options o = {.size = sizeof o, .args = new_message()};
  isolua_future *f;
  if (!open_pool(1, 0)) return;
  CHECK_INT(isolua_add_pool(o.args, pool), ISOLUA_OK);
  f = embed_run(host, &o,
                "local pool, n = ..., 20 "
                "return pool:submit(function(m) return n + m end, 22):await()");
  CHECK_INT(integer_of(f), 42);
  o.args = new_message();
  CHECK_INT(isolua_add_pool(o.args, NULL), ISOLUA_INVALID);
  isolua_message_free(o.args);
  close_pool();
}

static void count_done(void *ud, isolua_future *f) {
  atomic_fetch_add((atomic_llong *)ud, isolua_future_integer(f, 1));
}

static bool is_pumped(void *arg) {
  isolua_pump(host, -1, -1);
  return atomic_load((atomic_llong *)arg) == 42;
}

static void pump_calls_for_jobs(void) {
  atomic_llong sum = 0;
  isolua_future *f;
  if (!open_pool(1, 0)) return;
  f = submit("return 42", NULL);
  CHECK_INT(isolua_future_on_done(f, count_done, &sum), ISOLUA_OK);
  isolua_future_release(f);
  CHECK(check_eventually(is_pumped, &sum));
  close_pool();
}

typedef struct told {
  pthread_mutex_t lock;
  int calls, code;
  long long isolate;
  char name[64], message[256];
} told;

static void on_error(void *ud, long long isolate, const char *name, int code, const char *message,
                     const char *traceback) {
  told *t = ud;
  (void)traceback;
  pthread_mutex_lock(&t->lock);
  t->calls++;
  t->code = code;
  t->isolate = isolate;
  snprintf(t->name, sizeof t->name, "%s", name);
  snprintf(t->message, sizeof t->message, "%s", message);
  pthread_mutex_unlock(&t->lock);
}

static void error_is_given_those_of_jobs(void) {
  told t = {.lock = PTHREAD_MUTEX_INITIALIZER};
  capture log = CAPTURE;
  isolua_host_options o = {.error = on_error, .error_ud = &t, .log = capture_text, .log_ud = &log};
  isolua_job_options named = {.size = sizeof named, .name = "careless"};
  isolua_future *f;
  host = embed_open(&o);
  if (host == NULL || !CHECK_INT(isolua_pool_new(host, NULL, NULL, &pool), ISOLUA_OK)) return;
  CHECK_INT(isolua_submit_string(pool, &named, "error 'nobody looks'", NULL, 0, &f), ISOLUA_OK);
  isolua_pool_close(pool);
  CHECK_INT(isolua_future_wait(isolua_pool_empty(pool), SOON), ISOLUA_OK);
  isolua_future_release(f);
  close_pool();
  CHECK_INT(t.calls, 1);
  CHECK_INT(t.code, ISOLUA_ERROR);
  CHECK_INT(t.isolate, 0);
  CHECK_TEXT(t.name, "job 'careless'");
  CHECK_PART(t.message, "nobody looks");
  CHECK_INT(log.calls, 0);
}

/* -- Refusals ---------------------------------------------------------------------------------- */

static void check_no_pool(isolua_options *options, const isolua_pool_options *limits) {
  isolua_pool *none = NULL;
  CHECK_INT(isolua_pool_new(host, options, limits, &none), ISOLUA_INVALID);
  CHECK(none == NULL);
}

static void wrong_pools_are_refused(void) {
  isolua_options o = {.size = sizeof o, .libs = "strings"};
  isolua_pool_options l = {.size = sizeof l + 1};
  isolua_pool *p;
  host = embed_open(NULL);
  if (host == NULL) return;
  CHECK_INT(isolua_pool_new(NULL, NULL, NULL, &p), ISOLUA_INVALID);
  CHECK_INT(isolua_pool_new(host, NULL, NULL, NULL), ISOLUA_INVALID);
  check_no_pool(&o, NULL);
  o = (isolua_options){.size = sizeof o + 1};
  check_no_pool(&o, NULL);
  o = (isolua_options){.size = sizeof o, .timeout = -1};
  check_no_pool(&o, NULL);
  o = (isolua_options){.size = sizeof o, .args = new_message()};
  check_no_pool(&o, NULL);
  check_no_pool(NULL, &l);
  l = (isolua_pool_options){.size = 0};
  check_no_pool(NULL, &l);
  l = (isolua_pool_options){.size = sizeof l, .idle = -2};
  check_no_pool(NULL, &l);
  l = (isolua_pool_options){.size = sizeof l, .max_jobs = -1};
  check_no_pool(NULL, &l);
  l = (isolua_pool_options){.size = sizeof l, .retries = -1};
  check_no_pool(NULL, &l);
  l = (isolua_pool_options){.size = sizeof l, .workers = SIZE_MAX, .queue = SIZE_MAX};
  CHECK_INT(isolua_pool_new(host, NULL, &l, &pool), ISOLUA_OK);
  CHECK_INT(integer_of(submit("return 1", NULL)), 1);
  close_pool();
}

static void check_no_job(const isolua_job_options *options) {
  isolua_future *none = NULL;
  CHECK_INT(isolua_submit_string(pool, options, "return 1", NULL, 0, &none), ISOLUA_INVALID);
  CHECK(none == NULL);
}

static void wrong_jobs_are_refused(void) {
  isolua_job_options o = {.size = 0};
  isolua_message *m = new_message();
  isolua_future *f;
  if (!open_pool(1, 0)) return;
  CHECK_INT(isolua_submit_string(NULL, NULL, "", NULL, 0, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_submit_string(pool, NULL, NULL, NULL, 0, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_submit_string(pool, NULL, "", NULL, 0, NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_submit_buffer(NULL, NULL, "", 0, NULL, NULL, 0, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_submit_buffer(pool, NULL, NULL, 0, NULL, NULL, 0, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_submit_buffer(pool, NULL, "", 0, NULL, NULL, 0, NULL), ISOLUA_INVALID);
  check_no_job(&o);
  o.size = sizeof o + 1;
  check_no_job(&o);
  o = (isolua_job_options){.size = sizeof o, .timeout = -1};
  check_no_job(&o);
  o = (isolua_job_options){.size = sizeof o, .priority = 128};
  check_no_job(&o);
  o.priority = -129;
  check_no_job(&o);
  isolua_add_list(m, 0);
  CHECK_INT(isolua_submit_string(pool, NULL, "", m, 0, &f), ISOLUA_INVALID); /* it is open */
  isolua_message_free(m);
  close_pool();
}

static const check_case cases[] = {
  {"jobs have arguments and results", jobs_have_arguments_and_results},
  {"jobs fail with their errors", jobs_fail_with_their_errors},
  {"a chunk is loaded once by an isolate", chunks_are_loaded_once},
  {"jobs leave the globals as they were", jobs_leave_the_globals_as_they_were},
  {"jobs take blocks", jobs_take_blocks},
  {"jobs whose isolate has ended are run again", jobs_are_run_again},
  {"jobs run within their time", jobs_run_within_their_time},
  {"options hold for all isolates", options_hold_for_all_isolates},
  {"isolates are replaced after max_jobs", isolates_are_replaced},
  {"isolates end when they are idle", isolates_end_when_idle},
  {"pools may want more isolates than the host has room for", pools_may_want_more_than_there_are},
  {"pools of closed hosts refuse jobs", pools_of_closed_hosts_refuse},
  {"full queues refuse jobs, whose arguments stay the caller's", full_queues_refuse},
  {"submitters wait for room, or the end", submitters_wait_for_room},
  {"higher priorities go first", higher_priorities_go_first},
  {"many threads submit", many_threads_submit},
  {"closed pools run what is in", closed_pools_run_what_is_in},
  {"cancelled pools end what is in", cancelled_pools_end_what_is_in},
  {"cancelled jobs end", cancelled_jobs_end},
  {"released pools are closed", released_pools_are_closed},
  {"pools outlive their hosts", pools_outlive_their_hosts},
  {"isolates submit to a pool that they are sent", isolates_submit_to_it},
  {"the pump calls for jobs", pump_calls_for_jobs},
  {"error is given the errors of jobs that nobody looked at", error_is_given_those_of_jobs},
  {"wrong options of pools are refused", wrong_pools_are_refused},
  {"wrong options of jobs are refused", wrong_jobs_are_refused},
};

CHECK_MAIN(cases)
