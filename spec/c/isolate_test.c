/* isolate_test.c - control blocks without Lua in them: starting, killing, ending, being stuck. */
/* SPDX-License-Identifier: MIT */
#include "isolate.h"

#include <string.h>

#include "check.h"

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

/* -- An isolate whose body is in C ------------------------------------------------------------- */

typedef struct play {
  bool ends_at_once, deaf;
  int64_t timeout;
  atomic_bool curtain; /* a deaf one ends */
  atomic_int freed, bodies;
  il_isolate *isolate; /* one hold */
  isolua_future *future;
} play;

static void wait_for_the_end(il_isolate *i, play *p) {
  if (p->ends_at_once) return;
  while (p->deaf ? !atomic_load(&p->curtain) : atomic_load(&i->dying) == 0) {
    if (!CHECK(il_waiter_sleep(&i->waiter, il_deadline(SOON)))) return;
    if (!p->deaf) atomic_store(&i->acknowledged, true);
  }
}

static void body(il_isolate *i, void *spare) {
  play *p = i->task;
  il_result r = {ISOLUA_OK, NULL, NULL, NULL};
  (void)spare;
  atomic_fetch_add(&p->bodies, 1);
  il_isolate_enter(i);
  wait_for_the_end(i, p);
  r.code = atomic_load(&i->dying);
  il_isolate_finish(i, r.code != 0 ? IL_KILLED : IL_DONE, &r);
  il_isolate_leave(i);
}

static void free_body(il_isolate *i) {
  atomic_fetch_add(&((play *)i->task)->freed, 1);
}

static int start(play *p) {
  isolua_options o = {.size = sizeof o, .timeout = p->timeout};
  if (!CHECK_INT(il_isolate_new(host, &o, "play", NULL, &p->isolate), ISOLUA_OK))
    return ISOLUA_MEMORY;
  p->isolate->task = p;
  p->isolate->body = body;
  p->isolate->free_body = free_body;
  p->future = &p->isolate->future;
  il_future_retain(p->future);
  return il_isolate_start(p->isolate);
}

static bool is_free(void *p) {
  return atomic_load(&((play *)p)->freed) > 0;
}

/* Gives up the holds, and checks that nothing else holds the isolate any more. */
static void finish(play *p) {
  CHECK(check_isolates_end());
  il_future_release(p->future);
  il_isolate_release(p->isolate);
  CHECK(check_eventually(is_free, p));
  CHECK_INT(atomic_load(&p->freed), 1);
}

/* -- Tests ------------------------------------------------------------------------------------- */

static void runs_its_body(void) {
  play p = {.ends_at_once = true};
  if (!open_host()) return;
  CHECK_INT(start(&p), ISOLUA_OK);
  CHECK_INT(isolua_future_wait(p.future, SOON), ISOLUA_OK);
  CHECK_TEXT(il_isolate_status(p.isolate), "done");
  finish(&p);
  CHECK_INT(atomic_load(&p.bodies), 1);
  close_host();
}

static void kill_wakes_it(void) {
  if (!open_host()) return;
  for (int i = 0; i < check_scale(200, 20); i++) {
    play p = {0};
    CHECK_INT(start(&p), ISOLUA_OK);
    if (i % 2 == 0) CHECK_INT(isolua_future_wait(p.future, MILLISECOND / 2), ISOLUA_TIMEOUT);
    il_isolate_kill(p.isolate, ISOLUA_EXITED, IL_GRACE);
    il_isolate_kill(p.isolate, ISOLUA_KILLED, IL_GRACE); /* the first one counts */
    CHECK_INT(isolua_future_wait(p.future, SOON), ISOLUA_EXITED);
    finish(&p);
  }
  close_host();
}

static void timeout_kills_it(void) {
  play p = {.timeout = 10 * MILLISECOND};
  int64_t from = il_now();
  if (!open_host()) return;
  CHECK_INT(start(&p), ISOLUA_OK);
  CHECK_INT(isolua_future_wait(p.future, SOON), ISOLUA_TIMEOUT);
  CHECK(isolua_future_done(p.future));
  CHECK(il_now() >= from + 10 * MILLISECOND);
  finish(&p);
  close_host();
}

/* It is over: nothing more is to be done for it, and nothing holds it. */
static void kill_after_its_end(void) {
  play p = {.ends_at_once = true};
  if (!open_host()) return;
  CHECK_INT(start(&p), ISOLUA_OK);
  CHECK_INT(isolua_future_wait(p.future, SOON), ISOLUA_OK);
  CHECK(check_isolates_end());
  il_isolate_kill(p.isolate, ISOLUA_KILLED, IL_GRACE);
  CHECK_TEXT(il_isolate_status(p.isolate), "done");
  finish(&p); /* also of the watchdog */
  close_host();
}

/* The same, by the functions of isolua.h: the cancel may come just when the isolate has left. */
static void cancel_against_end(void) {
  if (!open_host()) return;
  for (int i = 0; i < check_scale(2000, 100); i++) {
    play p = {.ends_at_once = true};
    CHECK_INT(start(&p), ISOLUA_OK);
    for (int j = i % 200 * 10; j > 0; j--) il_spin_pause();
    isolua_future_cancel(p.future, NULL);
    if (isolua_future_wait(p.future, SOON) != ISOLUA_OK)
      CHECK_INT(isolua_future_wait(p.future, 0), ISOLUA_CANCELLED);
    finish(&p);
    if (atomic_load(&p.freed) != 1) break;
  }
  close_host();
}

static void not_on_a_closed_host(void) {
  play p = {0};
  if (!open_host()) return;
  il_handle_retain(&host->h);
  close_host();
  CHECK_INT(start(&p), ISOLUA_CLOSED);
  CHECK_INT(isolua_future_wait(p.future, 0), ISOLUA_CLOSED);
  CHECK_TEXT(il_isolate_status(p.isolate), "failed");
  finish(&p);
  CHECK_INT(atomic_load(&p.bodies), 0);
  il_host_release(host);
}

static void no_thread_for_it(void) {
  isolua_options o = {.size = sizeof o, .stack = (size_t)1 << 46, .timeout = 3600 * ISOLUA_SECOND};
  play p = {0};
  if (check_under("tsan") || !open_host()) return;
  if (!CHECK_INT(il_isolate_new(host, &o, "play", NULL, &p.isolate), ISOLUA_OK)) return;
  p.isolate->task = &p;
  p.isolate->body = body;
  p.isolate->free_body = free_body;
  p.future = &p.isolate->future;
  il_future_retain(p.future);
  CHECK_INT(il_isolate_start(p.isolate), ISOLUA_SPAWN);
  CHECK_INT(isolua_future_wait(p.future, 0), ISOLUA_SPAWN);
  finish(&p);
  CHECK_INT(atomic_load(&p.bodies), 0);
  close_host();
}

/* Its future settles all the same, and when it comes back it ends as if nothing had been. */
static void stuck(void) {
  play p = {.deaf = true};
  if (!open_host()) return;
  CHECK_INT(start(&p), ISOLUA_OK);
  il_isolate_kill(p.isolate, ISOLUA_KILLED, IL_GRACE);
  CHECK_INT(isolua_future_wait(p.future, SOON), ISOLUA_KILLED);
  CHECK_PART(isolua_future_message(p.future), "stuck");
  CHECK_TEXT(il_isolate_status(p.isolate), "stuck");
  atomic_store(&p.curtain, true);
  il_waiter_wake(&p.isolate->waiter);
  finish(&p);
  close_host();
}

static const check_case cases[] = {
  {"an isolate runs its body once and settles its future", runs_its_body},
  {"a kill wakes an isolate that waits, and the first one counts", kill_wakes_it},
  {"an isolate is killed when its time is over", timeout_kills_it},
  {"a kill after the end changes nothing and holds nothing", kill_after_its_end},
  {"a cancel that meets the end holds nothing", cancel_against_end},
  {"an isolate does not start on a closed host", not_on_a_closed_host},
  {"an isolate for which there is no thread settles its future", no_thread_for_it},
  {"an isolate that does not end counts as stuck until it does", stuck},
};

CHECK_MAIN(cases)
