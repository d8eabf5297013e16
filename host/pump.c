/* pump.c - callbacks of C code, called by a program that has a loop of its own. */
/* SPDX-License-Identifier: MIT */
#include "pump.h"

#include "isolua.h"

/* -- Making ------------------------------------------------------------------------------------ */

int il_pump_init(il_pump *p, void (*wake)(void *ud), void *ud) {
  if (il_mutex_init(&p->lock) != 0) return ISOLUA_MEMORY;
  if (il_cond_init(&p->changed) != 0) {
    il_mutex_fini(&p->lock);
    return ISOLUA_MEMORY;
  }
  il_waiter_init(&p->waiter);
  p->last = &p->taken;
  p->waiter.wake = wake;
  p->waiter.ud = ud;
  p->fd = -1;
  return ISOLUA_OK;
}

void il_pump_fini(il_pump *p) {
  if (p->fd >= 0) il_event_close(p->fd);
  il_waiter_fini(&p->waiter);
  il_cond_fini(&p->changed);
  il_mutex_fini(&p->lock);
}

/* -- The list of events ------------------------------------------------------------------------ */

static void list_locked(il_pump *p, il_event *e) {
  e->prev = NULL;
  e->next = p->first;
  if (e->next != NULL) e->next->prev = e;
  p->first = e;
  e->listed = true;
}

static void unlist_locked(il_pump *p, il_event *e) {
  if (!e->listed) return;
  if (e->prev != NULL)
    e->prev->next = e->next;
  else
    p->first = e->next;
  if (e->next != NULL) e->next->prev = e->prev;
  e->listed = false;
}

/* Both under the lock, so that whoever drops all events finds each in its source. */
bool il_event_add(il_pump *p, il_event *e) {
  bool open;
  il_watch_init(&e->watch, &p->waiter);
  il_mutex_lock(&p->lock);
  open = !p->closed;
  if (open) {
    list_locked(p, e);
    e->observe(e);
  }
  il_mutex_unlock(&p->lock);
  return open;
}

/* -- What has fired ---------------------------------------------------------------------------- */

/* The event that a watch is a part of: its first member. NULL: of no watch. */
static il_event *event_of(il_watch *watch) {
  return (il_event *)watch;
}

static void append_locked(il_pump *p, il_watch *watch) {
  watch->next_fired = NULL;
  *p->last = watch;
  p->last = &watch->next_fired;
}

static void take_locked(il_pump *p) {
  il_watch *watch = il_waiter_take(&p->waiter), *next;
  for (; watch != NULL; watch = next) {
    next = watch->next_fired;
    append_locked(p, watch);
  }
}

static il_watch *first_locked(il_pump *p) {
  il_watch *watch = p->taken;
  if (watch == NULL) return NULL;
  p->taken = watch->next_fired;
  if (p->taken == NULL) p->last = &p->taken;
  return watch;
}

/* Its source does not know it any more, so it cannot fire. */
static void forget_locked(il_pump *p, il_watch *watch) {
  il_watch **at = &p->taken;
  take_locked(p);
  while (*at != NULL && *at != watch) at = &(*at)->next_fired;
  if (*at == NULL) return;
  *at = watch->next_fired;
  if (*at == NULL) p->last = at;
}

bool il_event_remove(il_pump *p, il_event *e) {
  bool listed;
  il_mutex_lock(&p->lock);
  listed = e->listed;
  unlist_locked(p, e);
  il_mutex_unlock(&p->lock);
  if (listed) e->unwatch(e);
  il_mutex_lock(&p->lock);
  if (listed) forget_locked(p, &e->watch);
  if (p->called == e && p->pumping && il_thread_is_self(p->thread))
    p->called = NULL; /* the pump does not touch it again */
  while (p->called == e) il_cond_wait(&p->changed, &p->lock, -1);
  il_mutex_unlock(&p->lock);
  return listed;
}

/* Under the lock, so that whoever takes it off finds what has fired. */
bool il_event_fire(il_pump *p, il_event *e) {
  bool listed;
  il_mutex_lock(&p->lock);
  listed = e->listed;
  if (listed) il_watch_fire(&e->watch);
  il_mutex_unlock(&p->lock);
  return listed;
}

void il_event_finish(il_pump *p, il_event *e) {
  size_t call;
  il_mutex_lock(&p->lock);
  call = p->calls;
  while (p->called == e && p->calls == call && !il_thread_is_self(p->thread))
    il_cond_wait(&p->changed, &p->lock, -1);
  il_mutex_unlock(&p->lock);
}

/* -- Pumping ----------------------------------------------------------------------------------- */

/* Calls the first one that fired: false, there is none, or no memory for it. What fires while it is called comes anew. */
static bool call_one(il_pump *p) {
  il_watch *watch;
  il_event *e;
  enum il_called called;
  bool last;
  il_mutex_lock(&p->lock);
  watch = first_locked(p);
  if (watch == NULL) {
    take_locked(p);
    watch = first_locked(p);
  }
  e = event_of(watch);
  p->called = e;
  p->calls++;
  if (e != NULL) atomic_store(&watch->fired, false);
  il_mutex_unlock(&p->lock);
  if (e == NULL) return false;
  called = e->call(e);
  il_mutex_lock(&p->lock);
  if (p->called == NULL) { /* it was taken off meanwhile */
    il_mutex_unlock(&p->lock);
    return true;
  }
  last = called == IL_CALL_DONE && e->once;
  if (last) unlist_locked(p, e);
  if (called != IL_CALL_DONE && e->listed && !atomic_exchange(&watch->fired, true))
    append_locked(p, watch);
  p->called = NULL;
  il_cond_wake_all(&p->changed);
  il_mutex_unlock(&p->lock); /* whoever takes it off may free it now */
  if (last) {
    e->unwatch(e);
    e->drop(e);
  }
  return called != IL_CALL_LATER;
}

static bool begin(il_pump *p) {
  bool mine;
  il_mutex_lock(&p->lock);
  mine = !p->pumping && !p->closed;
  if (mine) {
    p->pumping = true;
    p->thread = il_thread_self();
  }
  il_mutex_unlock(&p->lock);
  return mine;
}

bool il_pump_is_mine(il_pump *p) {
  bool mine;
  il_mutex_lock(&p->lock);
  mine = p->pumping && il_thread_is_self(p->thread);
  il_mutex_unlock(&p->lock);
  return mine;
}

static void end(il_pump *p) {
  il_mutex_lock(&p->lock);
  p->pumping = false;
  il_cond_wake_all(&p->changed);
  il_mutex_unlock(&p->lock);
}

static bool has_more(il_pump *p) {
  bool more;
  il_mutex_lock(&p->lock);
  more = p->taken != NULL || atomic_load(&p->waiter.fired) != NULL;
  il_mutex_unlock(&p->lock);
  return more;
}

/* NULL: there is none, or on another thread. */
static const il_main_loop *main_of(il_pump *p) {
  const il_main_loop *main;
  il_mutex_lock(&p->lock);
  main = p->main != NULL && il_thread_is_self(p->main_thread) ? p->main : NULL;
  il_mutex_unlock(&p->lock);
  return main;
}

bool il_pump_run(il_pump *p, long long items, int64_t ns) {
  int64_t deadline = il_deadline(ns);
  const il_main_loop *main;
  size_t left = 0;
  bool more;
  if (!begin(p)) return false;
  main = main_of(p);
  il_waiter_clear(&p->waiter);
  if (main != NULL) left = main->pump(p->vm, &items, deadline);
  while (items != 0 && (deadline < 0 || il_now() < deadline)) {
    if (!call_one(p)) break;
    if (items > 0) items--;
  }
  more = has_more(p);
  if (more) il_waiter_wake(&p->waiter); /* the descriptor stays readable */
  end(p);
  return more || left > 0;
}

int il_pump_fd(il_pump *p) {
  const il_main_loop *main = main_of(p);
  int fd;
  il_mutex_lock(&p->lock);
  if (p->fd < 0) {
    int own = il_waiter_event(&p->waiter);
    p->fd = own >= 0 ? il_event_group() : -1;
    if (p->fd >= 0 && !il_event_join(p->fd, own)) {
      il_event_close(p->fd);
      p->fd = -1;
    }
  }
  if (p->fd >= 0 && main != NULL && !p->joined) p->joined = il_event_join(p->fd, main->fd(p->vm));
  fd = main == NULL || p->joined ? p->fd : -1;
  il_mutex_unlock(&p->lock);
  return fd;
}

int64_t il_pump_next(il_pump *p) {
  const il_main_loop *main = main_of(p);
  return main != NULL ? main->next(p->vm) : -1;
}

void il_pump_attach(il_pump *p, const il_main_loop *main, void *vm) {
  il_mutex_lock(&p->lock);
  p->main = main;
  p->vm = vm;
  p->main_thread = il_thread_self();
  p->joined = false;
  il_mutex_unlock(&p->lock);
}

/* -- Closing ----------------------------------------------------------------------------------- */

/* One that is left, off the list: who takes it off as well waits, as for a call, until it may be freed. NULL: there
** is none. */
static il_event *next_to_drop(il_pump *p) {
  il_event *e;
  il_mutex_lock(&p->lock);
  while (p->pumping) il_cond_wait(&p->changed, &p->lock, -1);
  p->closed = true;
  e = p->first;
  if (e != NULL) unlist_locked(p, e);
  p->called = e;
  il_mutex_unlock(&p->lock);
  return e;
}

void il_pump_close(il_pump *p) {
  il_event *e;
  while ((e = next_to_drop(p)) != NULL) {
    void (*drop)(il_event *) = e->drop;
    e->unwatch(e);
    il_mutex_lock(&p->lock);
    forget_locked(p, &e->watch);
    p->called = NULL;
    il_cond_wake_all(&p->changed);
    il_mutex_unlock(&p->lock);
    drop(e);
  }
}
