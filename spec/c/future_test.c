/* future_test.c - a future is settled once; all that watch it or wait for it are woken. */
/* SPDX-License-Identifier: MIT */
#include "future.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "count.h"
#include "isolate.h"

#define MILLISECOND ((int64_t)1000000)
#define SOON ((int64_t)20 * ISOLUA_SECOND)

static isolua_host *host; /* of the test that runs */

static bool open_host(void) {
  isolua_host_options options = {.size = sizeof options, .spares = -1};
  return CHECK_INT(isolua_host_open(&options, &host), ISOLUA_OK);
}

static void close_host(void) {
  CHECK_INT(isolua_host_close(host, SOON), ISOLUA_OK);
}

static isolua_future *new_future(void) {
  isolua_future *f = il_future_new(host, NULL);
  CHECK(f != NULL);
  return f;
}

/* A result with all that a result can own. */
static il_result result(int code, const char *text) {
  unsigned char data[1] = {0};
  int taken;
  il_result r = {code, il_msg_new(data, 1, 1, NULL, 0, &taken), strdup(text), strdup(text)};
  return r;
}

/* -- Settling ---------------------------------------------------------------------------------- */

enum { SETTLERS = 8 };

typedef struct contest {
  isolua_future *future;
  atomic_int winners, winner;
} contest;

static void try_to_settle(int index, void *arg) {
  static const char *const names[SETTLERS] = {"0", "1", "2", "3", "4", "5", "6", "7"};
  contest *c = arg;
  il_result r = result(ISOLUA_ERROR + index, names[index]);
  if (il_future_settle(c->future, &r)) {
    atomic_fetch_add(&c->winners, 1);
    atomic_store(&c->winner, index);
  }
  CHECK(il_future_is_done(c->future));
}

static void settled_once(void) {
  if (!open_host()) return;
  for (int i = 0; i < check_scale(500, 50); i++) {
    contest c = {.future = new_future()};
    if (c.future == NULL) break;
    CHECK(!il_future_is_done(c.future));
    check_parallel(SETTLERS, try_to_settle, &c);
    CHECK_INT(atomic_load(&c.winners), 1);
    CHECK_INT(c.future->result.code, ISOLUA_ERROR + atomic_load(&c.winner));
    CHECK_INT(isolua_future_message(c.future)[0], '0' + atomic_load(&c.winner));
    CHECK_INT(isolua_future_traceback(c.future)[0], '0' + atomic_load(&c.winner));
    CHECK_INT(il_counted(IL_MESSAGES), 1);
    il_future_release(c.future);
  }
  close_host();
}

static void goes_with_its_last_hold(void) {
  isolua_future *f;
  il_result r;
  if (!open_host() || (f = new_future()) == NULL) return;
  r = result(ISOLUA_OK, "text");
  il_handle_retain(&f->h);
  il_future_settle(f, &r);
  il_future_release(f);
  CHECK_INT(il_counted(IL_FUTURES), 1);
  CHECK(il_future_is_done(f));
  close_host(); /* the future holds what it needs of the host */
  CHECK_INT(il_counted(IL_FUTURES), 1);
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_OK);
  il_future_release(f);
  CHECK_INT(il_counted(IL_FUTURES), 0);
  il_future_release(NULL);
}

/* -- Watching ---------------------------------------------------------------------------------- */

static void settle_ok(isolua_future *f) {
  il_result r = {ISOLUA_OK, NULL, NULL, NULL};
  CHECK(il_future_settle(f, &r));
}

static void fires_watches(void) {
  isolua_future *f;
  il_waiter w;
  il_watch before, removed, after;
  if (!open_host() || (f = new_future()) == NULL) return;
  il_waiter_init(&w);
  il_watch_init(&before, &w);
  il_watch_init(&removed, &w);
  il_watch_init(&after, &w);
  il_future_watch(f, &removed);
  il_future_watch(f, &before);
  CHECK(il_waiter_take(&w) == NULL);
  il_future_unwatch(f, &removed);
  settle_ok(f);
  CHECK(il_waiter_sleep(&w, 0));
  CHECK(il_waiter_take(&w) == &before && before.next_fired == NULL);
  il_future_watch(f, &after);
  CHECK(il_waiter_sleep(&w, 0));
  CHECK(il_waiter_take(&w) == &after && after.next_fired == NULL);
  il_future_unwatch(f, &before);
  il_future_unwatch(f, &after);
  il_future_unwatch(f, &removed);
  CHECK(f->watches.first == NULL);
  il_future_release(f);
  close_host();
}

/* One settles while others come and go as watchers. */
typedef struct race {
  isolua_future *future;
  atomic_int ready;
} race;

enum { WATCHERS = 3 };

static void watch_or_settle(int index, void *arg) {
  race *r = arg;
  il_waiter w;
  il_waiter_init(&w);
  atomic_fetch_add(&r->ready, 1);
  if (index == WATCHERS) {
    while (atomic_load(&r->ready) <= WATCHERS) il_spin_pause();
    settle_ok(r->future);
    return;
  }
  for (bool done = false; !done;) {
    il_watch watch;
    il_watch_init(&watch, &w);
    done = il_future_is_done(r->future);
    il_future_watch(r->future, &watch);
    if (index == 0) CHECK(il_waiter_sleep(&w, il_deadline(SOON)));
    il_future_unwatch(r->future, &watch);
    if (il_waiter_take(&w) != NULL)
      CHECK(il_future_is_done(r->future));
    else
      CHECK(!done);
    il_waiter_sleep(&w, 0);
  }
}

static void watched_while_settled(void) {
  if (!open_host()) return;
  for (int i = 0; i < check_scale(200, 20); i++) {
    race r = {.future = new_future()};
    if (r.future == NULL) break;
    check_parallel(WATCHERS + 1, watch_or_settle, &r);
    il_future_release(r.future);
  }
  close_host();
}

/* -- Waiting ----------------------------------------------------------------------------------- */

static void wait_keeps_timeout(void) {
  isolua_future *f;
  int64_t from;
  if (!open_host() || (f = new_future()) == NULL) return;
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_TIMEOUT);
  from = il_now();
  CHECK_INT(isolua_future_wait(f, 20 * MILLISECOND), ISOLUA_TIMEOUT);
  CHECK(il_now() >= from + 20 * MILLISECOND);
  CHECK(!isolua_future_done(f));
  settle_ok(f);
  CHECK(isolua_future_done(f));
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_OK);
  CHECK_INT(isolua_future_wait(f, ISOLUA_FOREVER), ISOLUA_OK);
  CHECK_INT(isolua_future_wait(f, INT64_MAX), ISOLUA_OK);
  il_future_release(f);
  close_host();
}

static void wait_or_settle(int index, void *arg) {
  race *r = arg;
  static const int64_t timeouts[] = {ISOLUA_FOREVER, INT64_MAX, SOON};
  atomic_fetch_add(&r->ready, 1);
  if (index < WATCHERS) {
    CHECK_INT(isolua_future_wait(r->future, timeouts[index]), ISOLUA_KILLED);
  } else {
    il_result result = {ISOLUA_KILLED, NULL, NULL, NULL};
    while (atomic_load(&r->ready) <= WATCHERS) il_spin_pause();
    CHECK(il_future_settle(r->future, &result));
  }
}

static void settling_ends_all_waits(void) {
  if (!open_host()) return;
  for (int i = 0; i < check_scale(1000, 50); i++) {
    race r = {.future = new_future()};
    if (r.future == NULL) break;
    check_parallel(WATCHERS + 1, wait_or_settle, &r);
    il_future_release(r.future);
  }
  close_host();
}

/* -- Reading ----------------------------------------------------------------------------------- */

static void reads_what_is_settled(void) {
  isolua_future *f;
  il_result r = {ISOLUA_EXITED, NULL, NULL, NULL};
  if (!open_host() || (f = new_future()) == NULL) return;
  CHECK(isolua_future_message(f) == NULL);
  CHECK(isolua_future_traceback(f) == NULL);
  CHECK_INT(isolua_future_count(f), 0);
  CHECK_INT(isolua_future_type(f, 1), ISOLUA_TNONE);
  il_future_settle(f, &r);
  CHECK_TEXT(isolua_future_message(f), isolua_code_message(ISOLUA_EXITED));
  CHECK(isolua_future_traceback(f) == NULL);
  CHECK_INT(isolua_future_count(f), 0);
  isolua_future_cancel(f, NULL);
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_EXITED);
  isolua_future_release(f);
  if ((f = new_future()) == NULL) return;
  isolua_future_cancel(f, "no need");
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_CANCELLED);
  CHECK_TEXT(isolua_future_message(f), "no need");
  isolua_future_release(f);
  close_host();
}

static const check_case cases[] = {
  {"a future that many settle is settled once, and the rest is freed", settled_once},
  {"a future lives to its last hold, also after its host", goes_with_its_last_hold},
  {"a watch fires when the future is settled, also when it is already", fires_watches},
  {"a watch may go while the future is being settled", watched_while_settled},
  {"a wait ends at its timeout", wait_keeps_timeout},
  {"all waits end when the future is settled", settling_ends_all_waits},
  {"an error is read once the future is settled", reads_what_is_settled},
};

CHECK_MAIN(cases)
