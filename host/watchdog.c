/* watchdog.c - a heap of alarms and the thread that rings them. */
/* SPDX-License-Identifier: MIT */
#include "watchdog.h"

#include <assert.h>
#include <stdlib.h>

#include "isolua.h"

#define STACK ((size_t)128 << 10)

static il_alarm *first_locked(il_watchdog *d) {
  assert(il_mutex_held(&d->lock));
  return (il_alarm *)il_dues_first(&d->alarms);
}

/* The alarm's hold on its owner is the watchdog's while it rings. */
static void ring_first(il_watchdog *d) {
  il_alarm *a = first_locked(d);
  il_handle *owner = a->owner;
  int64_t next;
  il_due_clear(&d->alarms, &a->due);
  a->moved = false;
  d->ringing = a;
  il_mutex_unlock(&d->lock);
  next = a->ring(a);
  il_mutex_lock(&d->lock);
  d->ringing = NULL;
  if (next >= 0 && !a->moved && !d->stop) {
    il_due_set(&d->alarms, &a->due, next);
    return;
  }
  if (next >= 0 && a->due.place != 0 && next < a->due.when) il_due_set(&d->alarms, &a->due, next);
  il_mutex_unlock(&d->lock);
  il_handle_release(owner);
  il_mutex_lock(&d->lock);
}

static void wait_locked(il_watchdog *d) {
  const il_alarm *a = first_locked(d);
  d->asleep = a != NULL ? a->due.when : INT64_MAX;
  il_cond_wait(&d->change, &d->lock, a != NULL ? d->asleep : -1);
  d->asleep = 0;
}

static void watch(void *arg) {
  il_watchdog *d = arg;
  il_thread_name("isolua-watchdog");
  if (d->tell != NULL) d->tell(d->tell_ud, true);
  il_mutex_lock(&d->lock);
  while (!d->stop) {
    const il_alarm *a = first_locked(d);
    if (a != NULL && a->due.when <= il_now())
      ring_first(d);
    else
      wait_locked(d);
  }
  il_mutex_unlock(&d->lock);
  if (d->tell != NULL) d->tell(d->tell_ud, false);
}

int il_watchdog_init(il_watchdog *d) {
  d->tell = NULL;
  d->tell_ud = NULL;
  d->started = d->stop = false;
  d->alarms = (il_dues){NULL, 0, 0, 0};
  d->reserved = 0;
  d->ringing = NULL;
  d->asleep = 0;
  if (il_mutex_init(&d->lock) != 0) return ISOLUA_MEMORY;
  if (il_cond_init(&d->change) != 0) {
    il_mutex_fini(&d->lock);
    return ISOLUA_MEMORY;
  }
  return ISOLUA_OK;
}

static il_alarm *first_set(il_watchdog *d) {
  il_alarm *a;
  il_mutex_lock(&d->lock);
  a = first_locked(d);
  if (a != NULL) il_due_clear(&d->alarms, &a->due);
  il_mutex_unlock(&d->lock);
  return a;
}

void il_watchdog_stop(il_watchdog *d) {
  il_alarm *a;
  bool join;
  il_mutex_lock(&d->lock);
  join = d->started && !d->stop;
  d->stop = true;
  il_cond_wake_all(&d->change);
  il_mutex_unlock(&d->lock);
  if (join) il_thread_join(d->thread);
  while ((a = first_set(d)) != NULL) il_handle_release(a->owner);
}

void il_watchdog_fini(il_watchdog *d) {
  il_dues_free(&d->alarms);
  il_cond_fini(&d->change);
  il_mutex_fini(&d->lock);
}

int il_watchdog_reserve(il_watchdog *d) {
  int err = ISOLUA_OK;
  il_mutex_lock(&d->lock);
  if (il_dues_reserve(&d->alarms, d->reserved + 1))
    d->reserved++;
  else
    err = ISOLUA_MEMORY;
  il_mutex_unlock(&d->lock);
  return err;
}

void il_watchdog_unreserve(il_watchdog *d) {
  il_mutex_lock(&d->lock);
  d->reserved--;
  il_mutex_unlock(&d->lock);
}

void il_alarm_init(il_alarm *a, il_handle *owner, int64_t (*ring)(il_alarm *)) {
  a->owner = owner;
  a->ring = ring;
  a->due = (il_due){0, 0, 0};
  a->moved = false;
}

static int start_locked(il_watchdog *d) {
  assert(il_mutex_held(&d->lock));
  if (d->stop) return ISOLUA_CLOSED;
  if (!d->started) {
    if (il_thread_start(&d->thread, STACK, 0, watch, d) != 0) return ISOLUA_SPAWN;
    d->started = true;
  }
  return ISOLUA_OK;
}

int il_alarm_set(il_watchdog *d, il_alarm *a, int64_t when) {
  int err;
  bool changed = true;
  il_mutex_lock(&d->lock);
  err = start_locked(d);
  if (err == ISOLUA_OK && a->due.place == 0) {
    il_handle_retain(a->owner);
    a->moved = true;
    il_due_set(&d->alarms, &a->due, when);
  } else if (err == ISOLUA_OK && when < a->due.when) {
    il_due_set(&d->alarms, &a->due, when);
  } else {
    changed = false;
  }
  if (changed && when < d->asleep) il_cond_wake_all(&d->change);
  il_mutex_unlock(&d->lock);
  return err;
}

void il_alarm_cancel(il_watchdog *d, il_alarm *a) {
  bool release = false;
  il_mutex_lock(&d->lock);
  a->moved = true;
  if (a->due.place != 0) {
    il_due_clear(&d->alarms, &a->due);
    release = true;
  }
  il_mutex_unlock(&d->lock);
  if (release) il_handle_release(a->owner);
}
