/* watchdog.c - a heap of alarms and the thread that rings them. */
/* SPDX-License-Identifier: MIT */
#include "watchdog.h"

#include <assert.h>
#include <stdlib.h>

#include "isolua.h"

#define STACK ((size_t)128 << 10)

static void put(il_watchdog *d, size_t place, il_alarm *a) {
  d->heap[place - 1] = a;
  a->place = place;
}

static void sift(il_watchdog *d, il_alarm *a) {
  size_t i = a->place;
  while (i > 1 && d->heap[i / 2 - 1]->when > a->when) {
    put(d, i, d->heap[i / 2 - 1]);
    i /= 2;
  }
  for (;;) {
    size_t child = 2 * i;
    if (child < d->count && d->heap[child]->when < d->heap[child - 1]->when) child++;
    if (child > d->count || d->heap[child - 1]->when >= a->when) break;
    put(d, i, d->heap[child - 1]);
    i = child;
  }
  put(d, i, a);
}

static void insert_locked(il_watchdog *d, il_alarm *a, int64_t when) {
  assert(il_mutex_held(&d->lock));
  assert(d->count < d->room);
  a->when = when;
  put(d, ++d->count, a);
  sift(d, a);
}

static void remove_locked(il_watchdog *d, il_alarm *a) {
  il_alarm *last = d->heap[d->count - 1];
  size_t place = a->place;
  assert(il_mutex_held(&d->lock));
  d->count--;
  a->place = 0;
  if (last != a) {
    put(d, place, last);
    sift(d, last);
  }
}

/* The alarm's hold on its owner is the watchdog's while it rings. */
static void ring_first(il_watchdog *d) {
  il_alarm *a = d->heap[0];
  il_handle *owner = a->owner;
  int64_t next;
  remove_locked(d, a);
  a->moved = false;
  d->ringing = a;
  il_mutex_unlock(&d->lock);
  next = a->ring(a);
  il_mutex_lock(&d->lock);
  d->ringing = NULL;
  if (next >= 0 && !a->moved && !d->stop) {
    insert_locked(d, a, next);
    return;
  }
  il_mutex_unlock(&d->lock);
  il_handle_release(owner);
  il_mutex_lock(&d->lock);
}

static void wait_locked(il_watchdog *d) {
  d->asleep = d->count > 0 ? d->heap[0]->when : INT64_MAX;
  il_cond_wait(&d->change, &d->lock, d->count > 0 ? d->asleep : -1);
  d->asleep = 0;
}

static void watch(void *arg) {
  il_watchdog *d = arg;
  il_thread_name("isolua-watchdog");
  il_mutex_lock(&d->lock);
  while (!d->stop) {
    if (d->count > 0 && d->heap[0]->when <= il_now())
      ring_first(d);
    else
      wait_locked(d);
  }
  il_mutex_unlock(&d->lock);
}

int il_watchdog_init(il_watchdog *d) {
  d->started = d->stop = false;
  d->heap = NULL;
  d->count = d->room = d->reserved = 0;
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
  a = d->count > 0 ? d->heap[0] : NULL;
  if (a != NULL) remove_locked(d, a);
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
  free(d->heap);
  il_cond_fini(&d->change);
  il_mutex_fini(&d->lock);
}

int il_watchdog_reserve(il_watchdog *d) {
  int err = ISOLUA_OK;
  il_mutex_lock(&d->lock);
  if (d->reserved == d->room) {
    size_t room = d->room * 2 + 16;
    il_alarm **heap = realloc(d->heap, room * sizeof *heap);
    if (heap == NULL) {
      err = ISOLUA_MEMORY;
    } else {
      d->heap = heap;
      d->room = room;
    }
  }
  if (err == ISOLUA_OK) d->reserved++;
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
  a->when = 0;
  a->place = 0;
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
  if (err == ISOLUA_OK && a->place == 0) {
    il_handle_retain(a->owner);
    a->moved = true;
    insert_locked(d, a, when);
  } else if (err == ISOLUA_OK && when < a->when) {
    a->when = when;
    sift(d, a);
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
  if (a->place != 0) {
    remove_locked(d, a);
    release = true;
  }
  il_mutex_unlock(&d->lock);
  if (release) il_handle_release(a->owner);
}
