/* host_test.c - isolua.h: opening and closing hosts, their callbacks, signals and threads. */
/* SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "embed.h"
#include "starters.h"
#include "isolua_lua.h"

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * ISOLUA_SECOND + t.tv_nsec;
}

/* -- Opening ----------------------------------------------------------------------------------- */

static void refuses_wrong_options(void) {
  static const size_t sizes[] = {0, 1, sizeof(size_t) - 1, sizeof(isolua_host_options) + 1,
                                 SIZE_MAX};
  static const int signals[] = {-2, 65, 1000, SIGKILL, SIGSTOP};
  static char garbage;
  isolua_host *host = (isolua_host *)(void *)&garbage;
  isolua_host_options o = {0};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    o.size = sizes[i];
    CHECK_INT(isolua_host_open(&o, &host), ISOLUA_INVALID);
    CHECK(host == NULL);
  }
  o.size = sizeof o;
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
    o.kill_signal = signals[i];
    if (CHECK_INT(isolua_host_open(&o, &host), ISOLUA_INVALID)) {
      CHECK(host == NULL);
    } else {
      printf("      kill_signal %d\n", signals[i]);
      isolua_host_close(host, SOON);
    }
  }
}

static void takes_shorter_options(void) {
  capture log = CAPTURE;
  isolua_host_options o = {.log = capture_text, .log_ud = &log, .kill_signal = 1000};
  isolua_host *host;
  o.size = offsetof(isolua_host_options, alloc_ud);
  if (CHECK_INT(isolua_host_open(&o, &host), ISOLUA_OK)) embed_close(host);
  o.size = offsetof(isolua_host_options, print);
  if (!CHECK_INT(isolua_host_open(&o, &host), ISOLUA_OK)) return;
  isolua_future_release(embed_run(host, NULL, "error 'heard'"));
  CHECK(capture_wait(&log, 1));
  CHECK(capture_has(&log, "heard"));
  embed_close(host);
}

static void opens_and_closes(void) {
  isolua_host *host;
  CHECK_INT(isolua_host_close(NULL, 0), ISOLUA_OK);
  for (int i = 0; i < 4; i++) {
    static const int64_t timeouts[] = {0, ISOLUA_FOREVER, ISOLUA_SECOND, INT64_MAX};
    host = embed_open(NULL);
    CHECK_INT(isolua_host_close(host, timeouts[i]), ISOLUA_OK);
  }
}

static void several_at_once(void) {
  enum { N = 8 };
  isolua_host *hosts[N];
  isolua_future *futures[N];
  for (int i = 0; i < N; i++) hosts[i] = embed_open(NULL);
  for (int i = 0; i < N; i++)
    futures[i] = embed_run(hosts[i], NULL, i % 2 == 0 ? ENDLESS : "return 1");
  for (int i = 1; i < N; i += 2) embed_settles(futures[i], ISOLUA_OK, NULL);
  for (int i = 0; i < N; i += 4) embed_close(hosts[i]);
  for (int i = 0; i < N; i += 4) embed_settles(futures[i], ISOLUA_KILLED, NULL);
  for (int i = 2; i < N; i += 4) CHECK_INT(isolua_future_done(futures[i]), 0);
  for (int i = 2; i < N; i += 4) isolua_future_cancel(futures[i], NULL);
  for (int i = 0; i < N; i++)
    if (i % 4 != 0) embed_close(hosts[i]);
  for (int i = 0; i < N; i++) isolua_future_release(futures[i]);
}

/* After the first hosts nothing more is taken of the C library's heap. */
static void leaks_nothing(void) {
  size_t before = 0, after;
  int n = check_scale(1000, 30);
  for (int i = 0; i < n; i++) {
    isolua_host *host = embed_open(NULL);
    if (host == NULL) return;
    if (i % 4 == 1) embed_gives(host, NULL, "return 1", ISOLUA_OK, NULL);
    if (i % 4 == 2) isolua_future_release(embed_run(host, NULL, "return {}, 'x'"));
    if (i % 40 == 3) isolua_future_release(embed_run(host, NULL, ENDLESS)); /* 0.1 s each */
    embed_close(host);
    if (i == n / 10) before = mallinfo2().uordblks;
  }
  after = mallinfo2().uordblks;
  if (!check_under(NULL) && !CHECK(after < before + 65536))
    printf("      %zu bytes in use, and then %zu\n", before, after);
}

/* Hosts with some isolates each, which end in all ways; threads and files are looked at, too. */
static const char *const lives[] = {
  "return 1, {}, 'x'",
  "error 'not caught'",
  "local isolate = require 'isolate' return isolate.run(function(t) return #t end, {1, 2}):await()",
  "local isolate = require 'isolate'\n"
  "isolate.spawn({paused = true}, function() end)\n"
  "isolate.spawn(function() isolate.inbox():receive() end)\n"
  "isolate.every(10, function() end)\n"
  "isolate.inbox():receive(10)",
  "local isolate = require 'isolate'\n"
  "local rx, tx = isolate.port() isolate.fd()\n"
  "local pool = isolate.pool {size = 2}\n"
  "pool:submit(function() isolate.sleep(10) end)\n"
  "tx:send {1} return isolate.freeze {1}, isolate.buffer(10), tx",
};
enum { LIVES = sizeof lives / sizeof lives[0] };

static void thousand_hosts(void) {
  int n = check_scale(1000, 40);
  for (int i = 0; i < n; i++) {
    isolua_host *host = embed_open(NULL);
    isolua_future *f[LIVES] = {NULL};
    if (host == NULL) return;
    isolua_host_set_open(host, isolua_open_modules);
    for (int k = 0; k < LIVES; k++)
      if (k < 3 || i % 10 == k) f[k] = embed_run(host, NULL, lives[k]); /* the last take 0.1 s */
    if (i % 3 == 0) isolua_future_wait(f[1], SOON);
    if (i % 3 == 1) isolua_future_cancel(f[2], NULL);
    if (i % 2 == 0) isolua_future_release(f[0]);
    embed_close(host);
    if (i % 2 != 0) isolua_future_release(f[0]);
    for (int k = 1; k < LIVES; k++) isolua_future_release(f[k]);
  }
}

/* -- Closing ----------------------------------------------------------------------------------- */

static const char *const endless[] = {
  ENDLESS,
  "while true do pcall(error) end",
  "local function f() while true do pcall(f) end end f()",
  "while true do coroutine.wrap(function() while true do coroutine.yield() end end)() end",
  "coroutine.wrap(function() while true do end end)()",
  "while true do xpcall(error, function() while true do end end) end",
  "local x <close> = setmetatable({}, {__close = function() while true do end end}) x = nil",
  "local x <close> = setmetatable({}, {__close = function() while true do end end}) error 'x'",
  "setmetatable({}, {__gc = function() while true do end end}) collectgarbage()",
  "while true do load('return 1')() end",
  "while true do load(function() while true do end end) end",
  "while true do table.sort({3, 2, 1, 5, 4}, function(a, b) return a < b end) end",
  "local t = {} while true do t[#t + 1] = ('x'):rep(100) if #t > 1000 then t = {} end end",
  "while true do pcall(string.gsub, ('x'):rep(100), '.', function() while true do end end) end",
  "debug.sethook(function() while true do end end, '', 1) while true do end",
  "while true do pcall(function() local x <close> = setmetatable({}, {__close = error}) end) end",
};
enum { ENDLESS_COUNT = sizeof endless / sizeof endless[0] };

static void ends_endless_loops(void) {
  for (int i = 0; i < ENDLESS_COUNT; i++) {
    isolua_host *host = embed_open(NULL);
    isolua_future *f = embed_run(host, NULL, endless[i]);
    int64_t from;
    isolua_future_wait(f, 5 * MILLISECOND);
    from = now();
    if (!CHECK_INT(isolua_host_close(host, ISOLUA_SECOND), ISOLUA_OK))
      printf("      %s\n", endless[i]);
    CHECK(now() - from < 10 * ISOLUA_SECOND);
    CHECK_INT(isolua_future_done(f), 1);
    isolua_future_release(f);
  }
}

/* A finalizer that loops until a file is gone, first run when the state is closed. */
static void ends_finalizers(void) {
  embed_file file;
  char source[800];
  isolua_host *host;
  isolua_future *f;
  if (!embed_write(&file, "loop", "", 0)) return;
  snprintf(source, sizeof source,
           "last = setmetatable({}, {__gc = function()\n"
           "  while os.rename('%.300s', '%.300s') do for i = 1, 1e5 do end end\n"
           "end}) return 1",
           file.path, file.path);
  host = embed_open(NULL);
  f = embed_run(host, NULL, source);
  embed_settles(f, ISOLUA_OK, NULL);
  embed_close(host);
  isolua_future_release(f);
  embed_remove(&file);
}

/* What ends soon after the timeout was not left behind. */
static void closes_without_time(void) {
  for (int i = 0; i < 6; i++) {
    isolua_host *host = embed_open(NULL);
    isolua_future *f = embed_run(host, NULL, endless[i]);
    isolua_counts counts;
    int code;
    isolua_future_wait(f, 5 * MILLISECOND);
    code = isolua_host_close(host, 0);
    isolua_count(&counts);
    if (!check_under(NULL)) CHECK_INT(code, ISOLUA_OK);
    CHECK(code == ISOLUA_OK || counts.threads > check_before()->threads);
    embed_settles(f, ISOLUA_KILLED, NULL);
    isolua_future_release(f);
  }
}

static void ends_many(void) {
  enum { N = 50 };
  isolua_host *host = embed_open(NULL);
  isolua_future *futures[N];
  int n = check_scale(N, 10);
  for (int i = 0; i < n; i++) futures[i] = embed_run(host, NULL, endless[i % 6]);
  embed_close(host);
  for (int i = 0; i < n; i++) {
    embed_settles(futures[i], ISOLUA_KILLED, NULL);
    isolua_future_release(futures[i]);
  }
}

/* Each way in which a host may be found when it is closed. */
static void closes_from_any_state(void) {
  for (int round = 0; round < check_scale(30, 10); round++) {
    isolua_options timed = {.timeout = (round + 1) * MILLISECOND / 10};
    isolua_options failing = {.libs = "", .init = "x"};
    isolua_host *host = embed_open(NULL);
    isolua_future *kept[4];
    kept[0] = embed_run(host, &timed, ENDLESS);
    kept[1] = embed_run(host, NULL, "return ('x'):rep(10000), {}");
    kept[2] = embed_run(host, &failing, "return 1");
    kept[3] = embed_run(host, NULL, ENDLESS);
    isolua_future_release(embed_run(host, &timed, ENDLESS));
    isolua_future_release(embed_run(host, NULL, "return 1"));
    if (round % 2 == 0) isolua_future_cancel(kept[3], NULL);
    if (round % 3 == 0) isolua_future_wait(kept[1], SOON);
    if (round % 5 == 0) isolua_future_wait(kept[0], SOON);
    embed_close(host);
    for (int i = 0; i < 4; i++) {
      CHECK_INT(isolua_future_done(kept[i]), 1);
      isolua_future_wait(kept[i], 0);
      if (i == 3) CHECK(isolua_future_message(kept[i]) != NULL);
      isolua_future_release(kept[i]);
    }
  }
}

/* Isolates that start others without end, in each way. */
static void ends_floods(void) {
  static const char *const floods[] = {
    "local function flood()\n"
    "  local isolate = require 'isolate'\n"
    "  for i = 1, 3 do pcall(isolate.spawn, flood) end\n"
    "  while true do pcall(isolate.run, function() end) end\n"
    "end flood()",
    "local isolate = require 'isolate' while true do pcall(isolate.spawn, function() end) end",
    "local function chain() require 'isolate'.spawn(chain) end chain()",
    "local isolate = require 'isolate'\n"
    "while true do\n"
    "  local pool <close> = isolate.pool {size = 2}\n"
    "  pcall(pool.submit, pool, function() end)\n"
    "end",
    "local isolate = require 'isolate'\n"
    "local last <close> = setmetatable({}, {__close = function()\n"
    "  while true do pcall(isolate.spawn, function() while true do end end) end\n"
    "end})\n"
    "while true do end",
  };
  size_t n = sizeof floods / sizeof floods[0];
  for (size_t i = 0; i < n * (size_t)check_scale(2, 1); i++) {
    isolua_host_options o = {.max_isolates = i < n ? 200 : 0};
    isolua_host *host = embed_open(&o);
    isolua_future *f;
    int64_t from;
    isolua_host_set_open(host, isolua_open_modules);
    f = embed_run(host, NULL, floods[i % n]);
    isolua_future_wait(f, 30 * MILLISECOND);
    from = now();
    if (!CHECK_INT(isolua_host_close(host, 60 * ISOLUA_SECOND), ISOLUA_OK) ||
        !CHECK(now() - from < (check_under(NULL) ? 3 : 1) * SOON))
      printf("      %s\n", floods[i % n]);
    CHECK_INT(isolua_future_done(f), 1);
    isolua_future_release(f);
  }
}

/* -- Being stuck ------------------------------------------------------------------------------- */

/* A host that was left behind stays in memory: what can be reached from here is no leak. */
static struct {
  isolua_host *host;
  capture log; /* it may be used at any time */
} left_behind[2] = {{NULL, CAPTURE}, {NULL, CAPTURE}};

static void close_stuck(int index, int64_t timeout, int64_t bound) {
  capture *log = &left_behind[index].log;
  isolua_host_options o = {.log = capture_text, .log_ud = log};
  isolua_options named = {.name = "a sleeper"};
  isolua_host *host;
  isolua_future *f;
  int64_t from;
  left_behind[index].host = host = embed_open(&o);
  f = embed_run(host, &named, "os.execute 'sleep 2'");
  isolua_future_wait(f, 100 * MILLISECOND);
  from = now();
  CHECK_INT(isolua_host_close(host, timeout), ISOLUA_STUCK);
  CHECK(now() - from < bound);
  CHECK(capture_has(log, "a sleeper"));
  embed_settles(f, ISOLUA_KILLED, NULL);
  isolua_future_release(f);
}

/* ThreadSanitizer says of the thread that was left that nobody joins it. */
static void leaves_stuck_ones(void) {
  if (check_under("tsan")) return;
  close_stuck(0, ISOLUA_FOREVER, check_scale(1500, 20000) * MILLISECOND);
}

static void leaves_stuck_ones_at_timeout(void) {
  if (check_under("tsan")) return;
  close_stuck(1, 50 * MILLISECOND, check_scale(500, 20000) * MILLISECOND);
}

/* -- The allocator ----------------------------------------------------------------------------- */

typedef struct heap {
  atomic_long bytes, blocks, calls; /* calls that want more memory */
  long refuse_from, refuse_to;      /* numbers of such calls that get none */
} heap;

static void *heap_alloc(void *ud, long long isolate, void *p, size_t osize, size_t nsize) {
  heap *h = ud;
  void *q;
  (void)isolate;
  if (nsize > (p != NULL ? osize : 0)) {
    long call = atomic_fetch_add(&h->calls, 1);
    if (call >= h->refuse_from && call < h->refuse_to) return NULL;
  }
  if (nsize == 0) {
    if (p != NULL) atomic_fetch_sub(&h->blocks, 1);
    atomic_fetch_sub(&h->bytes, p != NULL ? (long)osize : 0);
    free(p);
    return NULL;
  }
  q = realloc(p, nsize);
  if (q == NULL) return NULL;
  if (p == NULL) atomic_fetch_add(&h->blocks, 1);
  atomic_fetch_add(&h->bytes, (long)nsize - (p != NULL ? (long)osize : 0));
  return q;
}

static const char busy[] = "local t = {}\n"
                           "for i = 1, 20 do t[i] = tostring(i) .. 'x' end\n"
                           "local co = coroutine.wrap(function(...) coroutine.yield(...) end)\n"
                           "local a, b, c = co(1, 2, 3)\n"
                           "return table.concat(t, ' '), a, b, c, #('long'):rep(100), {t}";

/* Runs `busy` on a host with that heap, and gives the code it settles with; closes the host. */
static int run_busy(heap *h, int spares) {
  isolua_host_options o = {.alloc = heap_alloc, .alloc_ud = h, .spares = spares};
  isolua_host *host = embed_open(&o);
  isolua_future *f = embed_run(host, NULL, busy);
  int code = isolua_future_wait(f, SOON);
  if (code == ISOLUA_OK) {
    CHECK_INT(isolua_future_count(f), 6);
    CHECK_INT(isolua_future_integer(f, 5), 400);
  } else {
    CHECK(isolua_future_message(f) != NULL);
  }
  isolua_future_release(f);
  embed_close(host);
  CHECK_INT(atomic_load(&h->bytes), 0);
  CHECK_INT(atomic_load(&h->blocks), 0);
  return code;
}

static void allocates_all_lua_heaps(void) {
  heap h = {0};
  CHECK_INT(run_busy(&h, 0), ISOLUA_OK);
  CHECK(atomic_load(&h.calls) > 200);
  CHECK_INT(run_busy(&h, 4), ISOLUA_OK);
}

#define CLOSING 8 /* calls at most of closing a state, whose finalizers want memory, too */

/* Refuses all from the n-th call on, for each n that comes before the results. */
static void refused_from_then_on(void) {
  heap whole = {0};
  long calls;
  CHECK_INT(run_busy(&whole, -1), ISOLUA_OK);
  calls = atomic_load(&whole.calls) - CLOSING;
  for (long n = 0; n < calls; n += check_scale(1, 29)) {
    heap h = {.refuse_from = n, .refuse_to = INT64_MAX};
    int code = run_busy(&h, -1);
    if (!CHECK(code == ISOLUA_MEMORY || code == ISOLUA_SPAWN))
      printf("      call %ld of %ld was refused: %s\n", n, calls, isolua_code_name(code));
  }
}

/* Refuses the n-th call alone: Lua collects and asks again, or it is an error. */
static void refused_once(void) {
  heap whole = {0};
  long calls;
  CHECK_INT(run_busy(&whole, -1), ISOLUA_OK);
  calls = atomic_load(&whole.calls);
  for (long n = 0; n < calls; n += check_scale(3, 53)) {
    heap h = {.refuse_from = n, .refuse_to = n + 1 + n % 2};
    int code = run_busy(&h, n % 4 == 0 ? 0 : -1);
    if (!CHECK(code == ISOLUA_OK || code == ISOLUA_MEMORY || code == ISOLUA_SPAWN))
      printf("      call %ld of %ld was refused: %s\n", n, calls, isolua_code_name(code));
  }
}

/* -- Print and log ----------------------------------------------------------------------------- */

static void print_gets_whole_lines(void) {
  enum { N = 4 };
  capture out = CAPTURE;
  isolua_host_options o = {.print = capture_print, .print_ud = &out};
  isolua_host *host = embed_open(&o);
  isolua_future *futures[N];
  embed_gives(host, NULL, "print(1, nil, 'two', true, 1.5)", ISOLUA_OK, NULL);
  CHECK_TEXT(out.text, "1\tnil\ttwo\ttrue\t1.5\n");
  embed_gives(host, NULL, "print()", ISOLUA_OK, NULL);
  CHECK_INT(capture_calls(&out), 2);
  embed_gives(host, NULL,
              "print(setmetatable({}, {__tostring = function() return 'own text' end}), 'a\\0b')",
              ISOLUA_OK, NULL);
  CHECK_INT(out.length, sizeof "1\tnil\ttwo\ttrue\t1.5\n\nown text\ta\0b\n" - 1);
  out.length = 0;
  for (int i = 0; i < N; i++)
    futures[i] = embed_run(host, NULL, "for i = 1, 100 do print('a', 'line', 'of', 'words') end");
  for (int i = 0; i < N; i++) {
    embed_settles(futures[i], ISOLUA_OK, NULL);
    isolua_future_release(futures[i]);
  }
  embed_close(host);
  CHECK_INT(out.calls, 3 + N * 100);
  CHECK_INT(out.length, N * 100 * sizeof "a\tline\tof\twords");
  for (size_t at = 0; at < out.length; at += sizeof "a\tline\tof\twords")
    if (!CHECK(memcmp(out.text + at, "a\tline\tof\twords\n", sizeof "a\tline\tof\twords") == 0))
      break;
}

/* It is for the last one of those who hold the future. */
static void log_gets_errors_with_the_last_release(void) {
  capture log = CAPTURE;
  isolua_host_options o = {.log = capture_text, .log_ud = &log};
  isolua_host *host = embed_open(&o);
  isolua_future *f = embed_run(host, NULL, "error 'who sees me'");
  CHECK(check_isolates_end());
  isolua_future_retain(f);
  isolua_future_retain(f);
  isolua_future_release(f);
  isolua_future_release(f);
  CHECK_INT(capture_calls(&log), 0);
  isolua_future_release(f);
  CHECK(capture_has(&log, "who sees me"));
  f = embed_run(host, NULL, "error 'it was seen'");
  isolua_future_retain(f);
  isolua_future_release(f);
  CHECK(check_isolates_end());
  CHECK_INT(isolua_future_code(f), ISOLUA_ERROR);
  isolua_future_release(f);
  embed_close(host);
  CHECK_INT(capture_calls(&log), 1);
}

static void log_gets_uncaught_errors(void) {
  capture log = CAPTURE;
  isolua_host_options o = {.log = capture_text, .log_ud = &log};
  isolua_options named = {.name = "lonely"};
  isolua_host *host = embed_open(&o);
  isolua_future *f;
  isolua_future_release(embed_run(host, &named, "local t = {} ; error 'nobody hears'"));
  CHECK(capture_wait(&log, 1));
  CHECK(capture_has(&log, "'lonely'"));
  CHECK(capture_has(&log, "nobody hears"));
  CHECK(capture_has(&log, "stack traceback"));
  CHECK(log.text[log.length - 1] != '\n');
  f = embed_run(host, NULL, "error 'done before its release'");
  CHECK(check_isolates_end());
  isolua_future_release(f);
  CHECK(capture_wait(&log, 2));
  CHECK(capture_has(&log, "done before its release"));
  named.timeout = MILLISECOND;
  isolua_future_release(embed_run(host, &named, ENDLESS));
  CHECK(capture_wait(&log, 3));
  embed_close(host);
  CHECK_INT(capture_calls(&log), 3);
}

static void log_gets_nothing_else(void) {
  capture log = CAPTURE;
  isolua_host_options o = {.log = capture_text, .log_ud = &log};
  isolua_host *host = embed_open(&o);
  isolua_future *f;
  embed_gives(host, NULL, "error 'seen'", ISOLUA_ERROR, "seen");
  isolua_future_release(embed_run(host, NULL, "return 1"));
  f = embed_run(host, NULL, ENDLESS);
  isolua_future_cancel(f, NULL);
  isolua_future_release(f);
  f = embed_run(host, NULL, "warn 'not shown'");
  embed_settles(f, ISOLUA_OK, NULL);
  isolua_future_release(f);
  embed_close(host);
  CHECK_INT(capture_calls(&log), 0);
  CHECK_TEXT(log.text, "");
}

static bool is_done(void *f) {
  return isolua_future_done(f);
}

/* Whoever reads the error has seen it, whatever told that it was there. */
static void error_that_was_read_is_not_logged(void) {
  capture log = CAPTURE;
  isolua_host_options o = {.log = capture_text, .log_ud = &log};
  isolua_host *host = embed_open(&o);
  isolua_future *f = embed_run(host, NULL, "error 'read'");
  CHECK(check_eventually(is_done, f));
  CHECK_PART(isolua_future_message(f), "read");
  isolua_future_release(f);
  embed_close(host);
  CHECK_INT(capture_calls(&log), 0);
}

/* A wait that ended too early has seen nothing. */
static void error_after_a_wait_is_logged(void) {
  capture log = CAPTURE;
  isolua_host_options o = {.log = capture_text, .log_ud = &log};
  isolua_host *host = embed_open(&o);
  isolua_future *f = embed_run(host, NULL, "for i = 1, 1e7 do end error 'later'");
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_TIMEOUT);
  isolua_future_release(f);
  CHECK(capture_wait(&log, 1));
  CHECK(capture_has(&log, "later"));
  embed_close(host);
}

/* A callback may run isolates; while the host closes it is told so. */
typedef struct caller {
  isolua_host *host;
  const char *source;
  atomic_int code, calls;
  isolua_future *_Atomic future;
} caller;

static void print_runs(void *ud, long long isolate, const char *name, const char *text,
                       size_t length) {
  caller *c = ud;
  isolua_future *f = NULL;
  (void)isolate, (void)name, (void)text, (void)length;
  atomic_store(&c->code, isolua_run_string(c->host, NULL, c->source, &f));
  atomic_store(&c->future, f);
  atomic_fetch_add(&c->calls, 1);
}

static void callbacks_may_run(void) {
  caller c = {.source = "return 42"};
  isolua_host_options o = {.print = print_runs, .print_ud = &c};
  isolua_future *f;
  c.host = embed_open(&o);
  embed_gives(c.host, NULL, "print()", ISOLUA_OK, NULL);
  CHECK_INT(atomic_load(&c.calls), 1);
  CHECK_INT(atomic_load(&c.code), ISOLUA_OK);
  f = atomic_load(&c.future);
  embed_settles(f, ISOLUA_OK, NULL);
  CHECK_INT(isolua_future_integer(f, 1), 42);
  isolua_future_release(f);
  embed_close(c.host);
}

/* Calls `print` once in a host that closes. */
static void print_while_it_closes(caller *c, isolua_print print) {
  isolua_host_options o = {.print = print, .print_ud = c};
  isolua_future *f;
  c->host = embed_open(&o);
  f = embed_run(c->host, NULL, "local x <close> = setmetatable({}, {__close = print}) " ENDLESS);
  isolua_future_wait(f, 50 * MILLISECOND);
  embed_close(c->host);
  isolua_future_release(f);
  CHECK_INT(atomic_load(&c->calls), 1);
}

static void closing_host_runs_nothing(void) {
  caller c = {.source = "return 42"};
  print_while_it_closes(&c, print_runs);
  CHECK_INT(atomic_load(&c.code), ISOLUA_CLOSED);
  isolua_future_release(atomic_load(&c.future));
}

static int open_nothing(lua_State *L) {
  return luaL_error(L, "the configuration is missing");
}

static void log_has_why_no_state_opens(void) {
  capture log = CAPTURE;
  isolua_host_options o = {.log = capture_text, .log_ud = &log};
  isolua_host *host = embed_open(&o);
  isolua_host_set_open(host, open_nothing);
  embed_gives(host, NULL, "return 1", ISOLUA_MEMORY, NULL);
  CHECK(capture_has(&log, "the configuration is missing"));
  embed_close(host);
}

static void print_starts(void *ud, long long isolate, const char *name, const char *text,
                         size_t length) {
  caller *c = ud;
  lua_State *L = luaL_newstate();
  (void)isolate, (void)name, (void)text, (void)length;
  for (int i = 0; i < STARTERS; i++) CHECK_INT(starters[i](c->host, NULL), ISOLUA_CLOSED);
  if (CHECK(L != NULL)) {
    CHECK_INT(isolua_attach(c->host, L), ISOLUA_CLOSED);
    lua_close(L);
  }
  atomic_fetch_add(&c->calls, 1);
}

static void closing_host_starts_nothing(void) {
  caller c = {.source = NULL};
  print_while_it_closes(&c, print_starts);
}

static void full_host_starts_nothing(void) {
  isolua_host_options o = {.max_isolates = 1};
  isolua_host *host = embed_open(&o);
  isolua_future *f = embed_run(host, NULL, ENDLESS);
  for (int i = 0; i < STARTERS; i++) CHECK_INT(starters[i](host, NULL), ISOLUA_FULL);
  isolua_future_cancel(f, NULL);
  isolua_future_release(f);
  embed_close(host);
}

static void starting_checks_options(void) {
  isolua_host *host = embed_open(NULL);
  isolua_options o = {.size = sizeof o + 1};
  for (int i = 0; i < STARTERS; i++) {
    CHECK_INT(starters[i](host, &o), ISOLUA_INVALID);
    CHECK_INT(starters[i](host, NULL), ISOLUA_OK);
  }
  embed_close(host);
}

/* -- Threads ----------------------------------------------------------------------------------- */

static bool no_thread(void *arg) {
  isolua_counts counts;
  (void)arg;
  isolua_count(&counts);
  return counts.threads == check_before()->threads;
}

static void keeps_no_spares(void) {
  isolua_host_options o = {.spares = -1};
  isolua_host *host = embed_open(&o);
  for (int i = 0; i < 5; i++) {
    embed_gives(host, NULL, "return 1", ISOLUA_OK, NULL);
    CHECK(check_eventually(no_thread, NULL));
  }
  embed_close(host);
}

static bool two_threads(void *arg) {
  isolua_counts counts;
  (void)arg;
  isolua_count(&counts);
  return counts.threads == check_before()->threads + 2 &&
         counts.isolates == check_before()->isolates;
}

static void keeps_spares(void) {
  enum { N = 6 };
  isolua_host_options o = {.spares = 2};
  isolua_host *host = embed_open(&o);
  isolua_future *futures[N];
  for (int i = 0; i < N; i++) futures[i] = embed_run(host, NULL, ENDLESS);
  for (int i = 0; i < N; i++) {
    isolua_future_cancel(futures[i], NULL);
    isolua_future_release(futures[i]);
  }
  CHECK(check_eventually(two_threads, NULL));
  embed_close(host);
}

typedef struct office {
  isolua_host *host;
  int rounds;
} office;

static void use(int index, void *arg) {
  office *o = arg;
  for (int i = 0; i < o->rounds; i++) {
    char source[64];
    isolua_options options = {.size = sizeof options, .timeout = 60 * ISOLUA_SECOND};
    isolua_future *f;
    snprintf(source, sizeof source, "return %d, 'number %d'", index * 1000 + i, i);
    if (i % 4 == 3) {
      f = embed_run(o->host, NULL, endless[i / 4 % 6]);
      isolua_future_cancel(f, NULL);
      embed_settles(f, ISOLUA_CANCELLED, NULL);
    } else {
      f = embed_run(o->host, i % 4 == 0 ? &options : NULL, source);
      if (i % 4 != 2 && embed_settles(f, ISOLUA_OK, NULL))
        CHECK_INT(isolua_future_integer(f, 1), index * 1000 + i);
    }
    isolua_future_release(f);
  }
}

static void used_by_many_threads(void) {
  office o = {.rounds = check_scale(200, 16)};
  o.host = embed_open(NULL);
  check_parallel(8, use, &o);
  embed_close(o.host);
}

/* Several threads have holds on the same futures: they wait, cancel and read at once. */
typedef struct shared_future {
  isolua_future *future;
  atomic_int holds;
} shared_future;

typedef struct crowd {
  isolua_host *host;
  int rounds;
  shared_future shared[16];
} crowd;

static void jostle(int index, void *arg) {
  crowd *c = arg;
  uint32_t random = (uint32_t)index * 77 + 1;
  for (int i = 0; i < c->rounds; i++) {
    shared_future *s = &c->shared[check_random(&random) % 16];
    isolua_future *own = embed_run(c->host, NULL, i % 2 == 0 ? "return 1, 'one'" : ENDLESS);
    switch (check_random(&random) % 5) {
    case 0: isolua_future_wait(s->future, MILLISECOND / 10); break;
    case 1: isolua_future_cancel(s->future, "by one of many"); break;
    case 2:
      if (isolua_future_done(s->future)) isolua_future_message(s->future);
      break;
    case 3: isolua_future_string(s->future, 2, NULL); break;
    default: isolua_future_wait(own, MILLISECOND / 10); break;
    }
    if (i % 2 != 0 || i % 3 == 0) isolua_future_cancel(own, NULL);
    isolua_future_release(own);
  }
  for (int k = 0; k < 16; k++)
    if (atomic_fetch_sub(&c->shared[k].holds, 1) == 1) isolua_future_release(c->shared[k].future);
}

static void jostled_by_many_threads(void) {
  enum { N = 8 };
  crowd c = {.rounds = check_scale(200, 20)};
  c.host = embed_open(NULL);
  for (int k = 0; k < 16; k++) {
    c.shared[k].future = embed_run(c.host, NULL, k % 2 == 0 ? "return 1, 'one'" : ENDLESS);
    atomic_init(&c.shared[k].holds, N);
  }
  check_parallel(N, jostle, &c);
  embed_close(c.host);
}

/* All wait for the same future. */
static void read_by_one_of_many(int index, void *arg) {
  size_t length;
  (void)index;
  if (!embed_settles(arg, ISOLUA_OK, NULL)) return;
  CHECK_INT(isolua_future_integer(arg, 1), 7);
  CHECK_TEXT(isolua_future_string(arg, 2, &length), "seven");
  CHECK_INT(isolua_future_type(arg, 3), ISOLUA_TTABLE);
}

static void read_by_many_threads(void) {
  isolua_host *host = embed_open(NULL);
  for (int i = 0; i < check_scale(50, 5); i++) {
    isolua_future *f = embed_run(host, NULL, "return 7, 'seven', {}");
    check_parallel(8, read_by_one_of_many, f);
    isolua_future_release(f);
  }
  embed_close(host);
}

/* -- Signals ----------------------------------------------------------------------------------- */

static atomic_int earlier_calls;

static void earlier_handler(int sig) {
  (void)sig;
  atomic_fetch_add(&earlier_calls, 1);
}

/* A program's own handler is called, too, and is there again when the host is closed. */
static void another_kill_signal(void) {
  struct sigaction mine, before, after;
  isolua_host_options o = {.kill_signal = SIGUSR2};
  isolua_host *first, *second;
  isolua_future *f;
  memset(&mine, 0, sizeof mine);
  mine.sa_handler = earlier_handler;
  sigaction(SIGUSR2, &mine, &before);
  first = embed_open(&o);
  second = embed_open(&o);
  f = embed_run(first, NULL, "while true do pcall(error) end");
  isolua_future_wait(f, 5 * MILLISECOND);
  isolua_future_cancel(f, NULL);
  isolua_future_release(f);
  CHECK(check_isolates_end());
  CHECK(atomic_load(&earlier_calls) > 0);
  embed_close(first);
  f = embed_run(second, NULL, ENDLESS);
  isolua_future_wait(f, 5 * MILLISECOND);
  embed_close(second);
  embed_settles(f, ISOLUA_KILLED, NULL);
  isolua_future_release(f);
  sigaction(SIGUSR2, &before, &after);
  CHECK(after.sa_handler == earlier_handler);
}

static atomic_int informed_calls, informed_wrong;

static void informed_handler(int sig, siginfo_t *info, void *context) {
  if (info == NULL || info->si_signo != sig || context == NULL) atomic_store(&informed_wrong, 1);
  atomic_fetch_add(&informed_calls, 1);
}

/* A handler with SA_SIGINFO, and none: of the default signal and of others. */
static void earlier_handlers_are_called(void) {
  const int chosen[] = {0, SIGUSR1, SIGRTMIN + 3};
  for (int i = 0; i < 6; i++) {
    int sig = chosen[i % 3] != 0 ? chosen[i % 3] : SIGURG;
    struct sigaction mine, before, after;
    isolua_host_options o = {.kill_signal = chosen[i % 3]};
    isolua_host *host;
    memset(&mine, 0, sizeof mine);
    if (i < 3) {
      mine.sa_sigaction = informed_handler;
      mine.sa_flags = SA_SIGINFO;
    } else {
      mine.sa_handler = SIG_IGN;
    }
    sigaction(sig, &mine, &before);
    atomic_store(&informed_calls, 0);
    host = embed_open(&o);
    for (int k = 0; k < 3; k++) {
      isolua_future *f = embed_run(host, NULL, "while true do pcall(error) end");
      isolua_future_wait(f, 5 * MILLISECOND);
      isolua_future_cancel(f, NULL);
      isolua_future_release(f);
      CHECK(check_isolates_end());
    }
    if (i < 3) {
      CHECK(atomic_load(&informed_calls) > 0);
      atomic_store(&informed_calls, 0);
      raise(sig); /* one that is the program's own */
      CHECK_INT(atomic_load(&informed_calls), 1);
    }
    embed_close(host);
    sigaction(sig, &before, &after);
    CHECK(i < 3 ? after.sa_sigaction == informed_handler : after.sa_handler == SIG_IGN);
  }
  CHECK_INT(atomic_load(&informed_wrong), 0);
}

/* Busy code cannot be killed then, and runs to its end. */
static void no_kill_signal(void) {
  struct sigaction before, during;
  isolua_host_options o = {.kill_signal = -1};
  isolua_host *host;
  isolua_future *f;
  sigaction(SIGURG, NULL, &before);
  host = embed_open(&o);
  sigaction(SIGURG, NULL, &during);
  CHECK(during.sa_handler == before.sa_handler);
  embed_gives(host, NULL, "return 1", ISOLUA_OK, NULL);
  f = embed_run(host, NULL, "local t = os.clock() while os.clock() < t + 0.1 do end");
  CHECK_INT(isolua_future_wait(f, 20 * MILLISECOND), ISOLUA_TIMEOUT);
  isolua_future_cancel(f, NULL);
  embed_settles(f, ISOLUA_CANCELLED, NULL);
  isolua_future_release(f);
  CHECK(check_isolates_end());
  embed_close(host);
}

static const check_case cases[] = {
  {"wrong options are refused, and nothing is given out", refuses_wrong_options},
  {"options of an older, shorter struct are taken", takes_shorter_options},
  {"a host without isolates closes at once", opens_and_closes},
  {"several hosts do not disturb each other", several_at_once},
  {"hosts opened and closed leak nothing", leaks_nothing},
  {"a thousand hosts with isolates leave nothing", thousand_hosts},
  {"close ends endless loops of any kind", ends_endless_loops},
  {"close ends a finalizer that runs at the end of an isolate", ends_finalizers},
  {"close leaves nothing that ends soon after its timeout", closes_without_time},
  {"close ends many isolates", ends_many},
  {"close leaves nothing, whatever is under way", closes_from_any_state},
  {"close ends isolates that start others without end", ends_floods},
  {"close leaves a stuck isolate behind and names it", leaves_stuck_ones},
  {"close leaves a stuck isolate behind at its timeout and names it", leaves_stuck_ones_at_timeout},
  {"the allocator serves all Lua heaps", allocates_all_lua_heaps},
  {"an allocator that refuses all from some call on makes an error", refused_from_then_on},
  {"an allocator that refuses a call breaks nothing", refused_once},
  {"print is given whole lines", print_gets_whole_lines},
  {"log is given errors that nobody caught, once", log_gets_uncaught_errors},
  {"log is given an error with the last release of its future",
   log_gets_errors_with_the_last_release},
  {"log is given nothing else", log_gets_nothing_else},
  {"an error whose message was read is not logged", error_that_was_read_is_not_logged},
  {"an error that came after a wait timed out is logged", error_after_a_wait_is_logged},
  {"a callback may run isolates", callbacks_may_run},
  {"a host that closes runs nothing more", closing_host_runs_nothing},
  {"the log has why no state can be opened", log_has_why_no_state_opens},
  {"a host that closes starts nothing, whatever the function", closing_host_starts_nothing},
  {"a host that is full starts nothing, whatever the function", full_host_starts_nothing},
  {"options are checked, whatever the function", starting_checks_options},
  {"no thread is kept when no spares are wanted", keeps_no_spares},
  {"as many threads are kept as spares are wanted", keeps_spares},
  {"many threads may use one host", used_by_many_threads},
  {"many threads may wait for, cancel and read the same futures", jostled_by_many_threads},
  {"many threads may read one future", read_by_many_threads},
  {"another kill signal works, and is given back", another_kill_signal},
  {"handlers that the program had are called, and are given back", earlier_handlers_are_called},
  {"without a kill signal busy code runs to its end", no_kill_signal},
};

CHECK_MAIN(cases)
