/* watchdog_test.c - alarms ring in order, at their time, and not once they were cancelled. */
/* SPDX-License-Identifier: MIT */
#include "watchdog.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "isolua.h"

#define MILLISECOND ((int64_t)1000000)
#define LATER (il_now() + 3600 * ISOLUA_SECOND) /* never, in a test */

/* -- A thing with an alarm --------------------------------------------------------------------- */

typedef struct bell bell;
struct bell {
  il_handle h; /* first */
  il_alarm alarm;
  il_watchdog *dog;
  int64_t when;           /* it was set for */
  int64_t (*act)(bell *); /* what it does when it rings, and its next time; NULL: nothing, none */
  int *order;             /* the number of its ring is counted here; or NULL */
  int place;              /* that number; 0: it has not rung */
  atomic_int early;       /* rings before `when` */
  atomic_int rings, closed;
};

static void bell_close(il_handle *h) {
  atomic_fetch_add(&((bell *)h)->closed, 1);
}

static const il_handle_type bell_type = {.name = "spec.bell", .close = bell_close};

static int64_t ring(il_alarm *a) {
  bell *b = (bell *)((char *)a - offsetof(bell, alarm));
  if (il_now() < b->when) atomic_fetch_add(&b->early, 1);
  if (b->order != NULL) b->place = (*b->order)++;
  atomic_fetch_add(&b->rings, 1);
  return b->act != NULL ? b->act(b) : -1;
}

static void bell_init(bell *b, il_watchdog *d) {
  memset(b, 0, sizeof *b);
  il_handle_init(&b->h, &bell_type);
  il_alarm_init(&b->alarm, &b->h, ring);
  b->dog = d;
  CHECK_INT(il_watchdog_reserve(d), ISOLUA_OK);
}

static bool only_mine(void *b) {
  return atomic_load(&((bell *)b)->h.refs) == 1;
}

/* The watchdog has let go of it; then the test's hold is the last one. */
static void bell_fini(bell *b) {
  CHECK(check_eventually(only_mine, b));
  CHECK_INT(atomic_load(&b->early), 0);
  il_handle_release(&b->h);
  CHECK_INT(atomic_load(&b->closed), 1);
  il_watchdog_unreserve(b->dog);
}

static void set(bell *b, int64_t when) {
  CHECK_INT(il_alarm_set(b->dog, &b->alarm, when), ISOLUA_OK);
}

static bool has_rung(void *b) {
  return atomic_load(&((bell *)b)->rings) > 0;
}

static void end(il_watchdog *d) {
  il_watchdog_stop(d);
  CHECK_INT(d->alarms.count, 0);
  CHECK_INT(d->reserved, 0);
  il_watchdog_fini(d);
}

/* What was due before has rung when this one has. */
static void fence(il_watchdog *d) {
  bell b;
  bell_init(&b, d);
  set(&b, il_now());
  CHECK(check_eventually(has_rung, &b));
  bell_fini(&b);
}

/* -- In order ---------------------------------------------------------------------------------- */

enum { BELLS = 300 };

static int by_place(const void *a, const void *b) {
  return (*(bell *const *)a)->place - (*(bell *const *)b)->place;
}

/* One in three is cancelled, from all over the heap, and every other of these set again. */
static bool rings(int i) {
  return i % 3 != 0 || i % 6 == 0;
}

static void rings_in_order(void) {
  static bell bells[BELLS];
  bell *sorted[BELLS];
  il_watchdog d;
  uint32_t random = 9;
  int order = 1;
  int64_t start;
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  start = il_now() + check_scale(50, 500) * MILLISECOND;
  for (int i = 0; i < BELLS; i++) {
    bell_init(&bells[i], &d);
    bells[i].order = &order;
    bells[i].when = start + check_random(&random) % (50 * MILLISECOND);
    sorted[i] = &bells[i];
  }
  for (int i = 0; i < BELLS; i++) set(&bells[i], bells[i].when);
  CHECK(il_now() < start);
  for (int i = 0; i < BELLS; i += 3) il_alarm_cancel(&d, &bells[i].alarm);
  for (int i = 0; i < BELLS; i += 6) set(&bells[i], bells[i].when);
  for (int i = 0; i < BELLS; i++)
    if (rings(i)) CHECK(check_eventually(has_rung, &bells[i]));
  for (int i = 0; i < BELLS; i++) bell_fini(&bells[i]);
  end(&d); /* its thread has ended: `place` may be read */
  for (int i = 0; i < BELLS; i++) CHECK_INT(atomic_load(&bells[i].rings), rings(i));
  qsort(sorted, BELLS, sizeof sorted[0], by_place);
  for (int i = 1; i < BELLS; i++)
    if (sorted[i - 1]->place > 0) CHECK(sorted[i - 1]->when <= sorted[i]->when);
}

/* -- Setting ----------------------------------------------------------------------------------- */

static void earlier_time_counts(void) {
  il_watchdog d;
  bell b, c;
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  bell_init(&b, &d);
  bell_init(&c, &d);
  b.when = c.when = il_now() + 5 * MILLISECOND;
  set(&b, LATER);
  set(&b, b.when);
  set(&c, c.when);
  set(&c, LATER);
  CHECK(check_eventually(has_rung, &b));
  CHECK(check_eventually(has_rung, &c));
  bell_fini(&b);
  bell_fini(&c);
  CHECK_INT(atomic_load(&b.rings), 1);
  CHECK_INT(atomic_load(&c.rings), 1);
  end(&d);
}

static int64_t ten_times(bell *b) {
  if (atomic_load(&b->rings) >= 10) return -1;
  b->when = il_now() + MILLISECOND / 2;
  return b->when;
}

static bool has_rung_ten_times(void *b) {
  return atomic_load(&((bell *)b)->rings) >= 10;
}

static void rings_again(void) {
  il_watchdog d;
  bell b;
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  bell_init(&b, &d);
  b.act = ten_times;
  set(&b, il_now());
  CHECK(check_eventually(has_rung_ten_times, &b));
  bell_fini(&b);
  fence(&d);
  CHECK_INT(atomic_load(&b.rings), 10);
  end(&d);
}

/* What it is set to while it rings counts, or what the ring returns if that is earlier. */
static int64_t set_itself(bell *b) {
  if (atomic_load(&b->rings) == 1) {
    set(b, il_now() + MILLISECOND);
    return LATER;
  }
  return -1;
}

static int64_t set_itself_for_later(bell *b) {
  if (atomic_load(&b->rings) == 1) {
    set(b, LATER);
    return il_now() + MILLISECOND;
  }
  return -1;
}

static int64_t cancel_itself(bell *b) {
  il_alarm_cancel(b->dog, &b->alarm);
  return il_now();
}

static int64_t set_and_cancel_itself(bell *b) {
  set(b, il_now());
  il_alarm_cancel(b->dog, &b->alarm);
  return il_now();
}

static bool has_rung_twice(void *b) {
  return atomic_load(&((bell *)b)->rings) >= 2;
}

static void changed_while_it_rings(void) {
  il_watchdog d;
  bell a, b, c, e;
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  bell_init(&a, &d);
  bell_init(&b, &d);
  bell_init(&c, &d);
  bell_init(&e, &d);
  a.act = set_itself;
  b.act = cancel_itself;
  c.act = set_and_cancel_itself;
  e.act = set_itself_for_later;
  set(&a, il_now());
  set(&b, il_now());
  set(&c, il_now());
  set(&e, il_now());
  CHECK(check_eventually(has_rung_twice, &a));
  CHECK(check_eventually(has_rung, &b));
  CHECK(check_eventually(has_rung, &c));
  CHECK(check_eventually(has_rung_twice, &e));
  il_alarm_cancel(&d, &e.alarm);
  bell_fini(&a);
  bell_fini(&b);
  bell_fini(&c);
  bell_fini(&e);
  fence(&d);
  CHECK_INT(atomic_load(&a.rings), 2);
  CHECK_INT(atomic_load(&b.rings), 1);
  CHECK_INT(atomic_load(&c.rings), 1);
  end(&d);
}

/* -- Cancelling -------------------------------------------------------------------------------- */

static void cancelled_does_not_ring(void) {
  il_watchdog d;
  bell b;
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  bell_init(&b, &d);
  il_alarm_cancel(&d, &b.alarm);
  set(&b, il_now() + 20 * MILLISECOND);
  CHECK_INT(atomic_load(&b.h.refs), 2);
  il_alarm_cancel(&d, &b.alarm);
  CHECK_INT(atomic_load(&b.h.refs), 1);
  il_alarm_cancel(&d, &b.alarm);
  CHECK_INT(atomic_load(&b.h.refs), 1);
  set(&b, LATER);
  CHECK_INT(atomic_load(&b.h.refs), 2);
  il_alarm_cancel(&d, &b.alarm);
  bell_fini(&b);
  fence(&d);
  CHECK_INT(atomic_load(&b.rings), 0);
  end(&d);
}

static int64_t at_once(bell *b) {
  (void)b;
  return il_now();
}

/* Once the watchdog has let go of it, it has rung for the last time, however often before. */
static void cancel_against_ring(void) {
  il_watchdog d;
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  for (int i = 0; i < check_scale(1000, 100); i++) {
    bell b;
    int rings;
    bell_init(&b, &d);
    if (i % 2 == 0) b.act = at_once;
    set(&b, il_now() + i % 100 * 1000);
    if (i % 3 == 0) check_eventually(has_rung, &b);
    il_alarm_cancel(&d, &b.alarm);
    CHECK(check_eventually(only_mine, &b));
    rings = atomic_load(&b.rings);
    CHECK(i % 2 == 0 || rings <= 1);
    if (i % 10 == 0) fence(&d);
    CHECK_INT(atomic_load(&b.rings), rings);
    bell_fini(&b);
  }
  end(&d);
}

/* The watchdog's hold may be the last one. */
static void last_hold(void) {
  il_watchdog d;
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  for (int how = 0; how < 3; how++) {
    bell b;
    bell_init(&b, &d);
    set(&b, how == 0 ? il_now() + MILLISECOND : LATER);
    il_handle_release(&b.h);
    if (how == 1) il_alarm_cancel(&d, &b.alarm);
    if (how == 0) CHECK(check_eventually(has_rung, &b));
    if (how == 2) il_watchdog_stop(&d);
    if (how == 0) fence(&d);
    CHECK_INT(atomic_load(&b.closed), 1);
    CHECK_INT(atomic_load(&b.rings), how == 0);
    il_watchdog_unreserve(&d);
  }
  end(&d);
}

/* -- Many threads ------------------------------------------------------------------------------ */

enum { CROWD = 16 };

typedef struct crowd {
  il_watchdog d;
  bell bells[CROWD];
  int rounds;
} crowd;

static void set_and_cancel(int index, void *arg) {
  crowd *c = arg;
  uint32_t random = (uint32_t)index + 1;
  for (int i = 0; i < c->rounds; i++) {
    bell *b = &c->bells[check_random(&random) % CROWD];
    uint32_t what = check_random(&random);
    if (what % 3 == 0)
      il_alarm_cancel(&c->d, &b->alarm);
    else
      set(b, il_now() + what % (what % 3 == 1 ? 100000 : 100000000));
  }
}

static void many_threads(void) {
  crowd c = {.rounds = check_scale(20000, 1000)};
  if (!CHECK_INT(il_watchdog_init(&c.d), ISOLUA_OK)) return;
  for (int i = 0; i < CROWD; i++) {
    bell_init(&c.bells[i], &c.d);
    if (i % 2 == 0) c.bells[i].act = ten_times;
  }
  check_parallel(4, set_and_cancel, &c);
  for (int i = 0; i < CROWD; i++) {
    il_alarm_cancel(&c.d, &c.bells[i].alarm);
    CHECK(check_eventually(only_mine, &c.bells[i]));
    atomic_store(&c.bells[i].early, 0); /* `when` is that of the last ring only */
    bell_fini(&c.bells[i]);
  }
  end(&c.d);
}

/* -- Stopping ---------------------------------------------------------------------------------- */

static void stop_drops_alarms(void) {
  il_watchdog d;
  bell bells[CROWD];
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  for (int i = 0; i < CROWD; i++) {
    bell_init(&bells[i], &d);
    if (i == 0) bells[i].act = at_once; /* always due */
    set(&bells[i], i == 0 ? il_now() : LATER);
  }
  il_watchdog_stop(&d);
  for (int i = 0; i < CROWD; i++) {
    int rings = atomic_load(&bells[i].rings);
    CHECK(only_mine(&bells[i]));
    CHECK_INT(il_alarm_set(&d, &bells[i].alarm, il_now()), ISOLUA_CLOSED);
    il_alarm_cancel(&d, &bells[i].alarm);
    CHECK_INT(atomic_load(&bells[i].rings), rings);
    CHECK(i == 0 || rings == 0);
    bell_fini(&bells[i]);
  }
  il_watchdog_stop(&d);
  end(&d);
}

static void never_started(void) {
  il_watchdog d;
  bell b;
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  bell_init(&b, &d);
  bell_fini(&b);
  CHECK(!d.started);
  il_watchdog_fini(&d);
  if (!CHECK_INT(il_watchdog_init(&d), ISOLUA_OK)) return;
  end(&d);
}

static const check_case cases[] = {
  {"alarms ring in the order of their times, not before them", rings_in_order},
  {"an alarm set twice rings once, at the earlier time", earlier_time_counts},
  {"an alarm rings again when its ring says so", rings_again},
  {"an alarm may be set and cancelled while it rings", changed_while_it_rings},
  {"an alarm that was cancelled does not ring", cancelled_does_not_ring},
  {"an alarm cancelled while it rings does not ring again", cancel_against_ring},
  {"an alarm's owner goes with the watchdog's hold", last_hold},
  {"alarms set and cancelled by many threads are held once", many_threads},
  {"stopping drops the alarms that are set", stop_drops_alarms},
  {"a watchdog without alarms has no thread", never_started},
};

CHECK_MAIN(cases)
