/* isolate.c - control blocks of isolates: starting, ending, killing. */
/* SPDX-License-Identifier: MIT */
#include "isolate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
** LOCK ORDER. One lock at a time, but for these pairs, outer first:
**   future.lock    > (waiter: no lock)
**   isolate.lock   > none
** Nothing calls Lua, allocates, calls back or gives up a last hold under a lock.
**
** DESIGN. An isolate ends once: `dying` is set by the first kill and never reset. From then on the
** watchdog signals its thread, at growing intervals, until kill.c has set `acknowledged`; when
** the grace is over the phase becomes IL_HARD and signals go on until the thread has left. A thread
** that is still there IL_STUCK later sits in a C function: the isolate counts as stuck, its future
** settles, and nobody waits for it any more.
*/

#define RETRY_FIRST ((int64_t)500000) /* ns */
#define RETRY_LAST ((int64_t)8000000)

atomic_size_t il_live_isolates;

static void isolate_close(il_handle *h) {
  il_isolate *i = (il_isolate *)h;
  isolua_host *host = i->host;
  if (i->task != NULL) i->free_body(i);
  il_watchdog_unreserve(&host->watchdog);
  il_mutex_fini(&i->lock);
  free(i->name);
  free(i);
  il_host_release(host);
}

static const il_handle_type isolate_type = {"isolate.isolate", isolate_close};

static int64_t ring(il_alarm *a);

int il_isolate_new(isolua_host *host, const isolua_options *o, const char *name, il_isolate **out) {
  il_isolate *i = calloc(1, sizeof *i);
  if (i == NULL) return ISOLUA_MEMORY;
  i->name = strdup(name);
  if (i->name == NULL) goto fail_name;
  if (il_mutex_init(&i->lock) != 0) goto fail_lock;
  if (il_watchdog_reserve(&host->watchdog) != ISOLUA_OK) goto fail_reserve;
  il_handle_init(&i->h, &isolate_type);
  i->host = host;
  il_handle_retain(&host->h);
  i->id = atomic_fetch_add(&host->next_id, 1) + 1;
  i->timeout = o->timeout;
  i->memory = o->memory;
  i->stack = o->stack == 0 ? IL_STACK : o->stack > IL_STACK_MIN ? o->stack : IL_STACK_MIN;
  il_waiter_init(&i->waiter);
  il_alarm_init(&i->alarm, &i->h, ring);
  i->retry = RETRY_FIRST;
  *out = i;
  return ISOLUA_OK;
fail_reserve:
  il_mutex_fini(&i->lock);
fail_lock:
  free(i->name);
fail_name:
  free(i);
  return ISOLUA_MEMORY;
}

void il_isolate_release(il_isolate *i) {
  il_handle_release(&i->h);
}

const char *il_isolate_status(il_isolate *i) {
  static const char *const names[] = {"starting", "running", "waiting", "done",
                                      "failed",   "killed",  "stuck"};
  return names[atomic_load_explicit(&i->status, memory_order_relaxed)];
}

/* -- The host's list --------------------------------------------------------------------------- */

static bool list(il_isolate *i) {
  isolua_host *host = i->host;
  bool open;
  il_mutex_lock(&host->lock);
  open = !host->closing;
  if (open) {
    i->prev = NULL;
    i->next = host->first;
    if (host->first != NULL) host->first->prev = i;
    host->first = i;
    i->listed = true;
    if (!i->is_main) host->unsettled++;
  }
  il_mutex_unlock(&host->lock);
  return open;
}

/* False: it was out of the list already. */
static bool unlist(il_isolate *i) {
  isolua_host *host = i->host;
  bool listed;
  il_mutex_lock(&host->lock);
  listed = i->listed;
  if (listed) {
    if (i->prev != NULL)
      i->prev->next = i->next;
    else
      host->first = i->next;
    if (i->next != NULL) i->next->prev = i->prev;
    i->listed = false;
  }
  il_mutex_unlock(&host->lock);
  return listed;
}

/* Its future is settled: who waits for the last one goes on. */
static void settled(il_isolate *i) {
  isolua_host *host = i->host;
  if (i->is_main) return;
  il_mutex_lock(&host->lock);
  host->unsettled--;
  il_cond_wake_all(&host->changed);
  if (host->main != NULL && host->draining) il_waiter_wake(&host->main->waiter);
  il_mutex_unlock(&host->lock);
}

static bool mark_stuck(il_isolate *i, bool is) {
  isolua_host *host = i->host;
  bool changed;
  il_mutex_lock(&host->lock);
  changed = i->stuck != is;
  i->stuck = is;
  if (changed) host->stuck = is ? host->stuck + 1 : host->stuck - 1;
  il_mutex_unlock(&host->lock);
  return changed;
}

/* -- Its life ---------------------------------------------------------------------------------- */

/* The hold that its thread has is given up in il_isolate_leave. */
static void run(il_job *job, void *spare) {
  il_isolate *i = (il_isolate *)((char *)job - offsetof(il_isolate, job));
  i->body(i, spare);
}

void il_isolate_lost(isolua_future *f) {
  const il_result *r = &f->result;
  const char *text = r->traceback != NULL ? r->traceback : r->message;
  atomic_store(&f->host->failed, true);
  il_host_log(f->host, "uncaught error in isolate '%s': %s", f->isolate->name,
              text != NULL ? text : isolua_code_message(r->code));
}

void il_isolate_set_future(il_isolate *i, isolua_future *f) {
  il_handle_retain(&f->h);
  i->future = f;
}

/* Its future, with a hold for the caller; NULL: given up already, or it is a main isolate. */
static isolua_future *take_future(il_isolate *i, bool for_good) {
  isolua_future *f;
  il_mutex_lock(&i->lock);
  f = i->future;
  if (f != NULL && for_good)
    i->future = NULL;
  else if (f != NULL)
    il_handle_retain(&f->h);
  il_mutex_unlock(&i->lock);
  return f;
}

static void settle_with(il_isolate *i, int code, const char *message) {
  il_result r = {code, NULL, message != NULL ? strdup(message) : NULL, NULL};
  isolua_future *f = take_future(i, false);
  if (f != NULL)
    il_future_settle(f, &r);
  else
    il_result_fini(&r);
  il_future_release(f);
}

int il_isolate_start(il_isolate *i) {
  isolua_host *host = i->host; /* the isolate may end, and with it its hold, once it is started */
  int err = ISOLUA_CLOSED;
  bool queued, listed;
  char text[192];
  il_handle_retain(&i->h);
  i->job.run = run;
  atomic_fetch_add_explicit(&il_live_isolates, 1, memory_order_relaxed);
  if (!list(i)) goto fail;
  if (i->timeout > 0) {
    err = il_alarm_set(&i->host->watchdog, &i->alarm, il_deadline(i->timeout));
    if (err != ISOLUA_OK) goto fail;
  }
  err = il_workers_start(&i->host->workers, &i->job, i->stack, &queued);
  if (queued) il_host_kick_later(host);
  if (err == ISOLUA_OK) return ISOLUA_OK;
fail:
  atomic_store_explicit(&i->status, IL_FAILED, memory_order_relaxed);
  listed = unlist(i);
  il_alarm_cancel(&i->host->watchdog, &i->alarm);
  snprintf(text, sizeof text,
           "the system gave no thread with a stack of %zu KiB for isolate '%.80s'", i->stack >> 10,
           i->name);
  settle_with(i, err, err == ISOLUA_SPAWN ? text : NULL);
  if (listed) settled(i);
  atomic_fetch_sub_explicit(&il_live_isolates, 1, memory_order_relaxed);
  il_future_release(take_future(i, true));
  il_mutex_lock(&i->lock);
  i->left = true;
  il_mutex_unlock(&i->lock);
  il_isolate_release(i);
  return err;
}

void il_isolate_enter(il_isolate *i) {
  il_mutex_lock(&i->lock);
  i->thread = il_thread_self();
  i->attached = true;
  il_mutex_unlock(&i->lock);
  atomic_store_explicit(&i->status, IL_RUNNING, memory_order_relaxed);
}

static bool set_main(isolua_host *host, il_isolate *from, il_isolate *to) {
  bool done;
  il_mutex_lock(&host->lock);
  done = host->main == from;
  if (done) host->main = to;
  il_mutex_unlock(&host->lock);
  return done;
}

int il_isolate_enter_main(il_isolate *i) {
  i->is_main = true;
  if (!set_main(i->host, NULL, i)) return ISOLUA_INVALID;
  if (!list(i)) {
    set_main(i->host, i, NULL);
    return ISOLUA_CLOSED;
  }
  atomic_fetch_add_explicit(&il_live_isolates, 1, memory_order_relaxed);
  il_awake_add(1);
  il_isolate_enter(i);
  return ISOLUA_OK;
}

void il_isolate_leave_main(il_isolate *i) {
  il_isolate_finish(i, IL_DONE, NULL);
  il_isolate_leave(i);
  set_main(i->host, i, NULL);
}

void il_isolate_finish(il_isolate *i, enum il_status status, il_result *r) {
  isolua_future *f = take_future(i, false);
  bool listed = unlist(i);
  if (listed) atomic_store_explicit(&i->status, status, memory_order_relaxed);
  if (f != NULL) il_future_settle(f, r);
  il_future_release(f);
  if (listed) settled(i);
}

void il_isolate_leave(il_isolate *i) {
  il_mutex_lock(&i->lock);
  i->attached = false;
  i->left = true; /* an alarm that a kill sets from now on rings once */
  il_mutex_unlock(&i->lock);
  il_alarm_cancel(&i->host->watchdog, &i->alarm);
  mark_stuck(i, false);
  il_future_release(take_future(i, true)); /* it holds the isolate in turn */
  atomic_fetch_sub_explicit(&il_live_isolates, 1, memory_order_relaxed);
  if (i->is_main)
    il_awake_add(-1);
  else
    il_isolate_release(i);
}

/* -- Killing ----------------------------------------------------------------------------------- */

static void signal_thread(il_isolate *i) {
  int sig = i->host->workers.sig;
  il_mutex_lock(&i->lock);
  if (i->attached && sig > 0) il_thread_signal(i->thread, sig);
  il_mutex_unlock(&i->lock);
  il_waiter_wake(&i->waiter);
}

void il_isolate_kill(il_isolate *i, int code, int64_t grace) {
  int none = 0;
  int64_t end = il_deadline(grace);
  bool first;
  assert(!i->is_main);
  il_mutex_lock(&i->lock);
  first = atomic_compare_exchange_strong_explicit(&i->dying, &none, code, memory_order_acq_rel,
                                                  memory_order_acquire);
  if (first) i->grace_end = end;
  il_mutex_unlock(&i->lock);
  if (!first) return;
  signal_thread(i);
  /* Without a watchdog (no thread to be had) this one signal has to do. */
  il_alarm_set(&i->host->watchdog, &i->alarm, il_deadline(RETRY_FIRST));
}

/* As a kill that was acknowledged: finalizers run undisturbed, until the grace is over. */
void il_isolate_closing(il_isolate *i) {
  int none = 0;
  int64_t end = il_deadline(IL_GRACE);
  bool first;
  il_mutex_lock(&i->lock);
  first = atomic_compare_exchange_strong_explicit(&i->dying, &none, ISOLUA_EXITED,
                                                  memory_order_acq_rel, memory_order_acquire);
  if (first) {
    i->grace_end = end;
    i->closing = true;
    atomic_store_explicit(&i->acknowledged, true, memory_order_release);
  }
  il_mutex_unlock(&i->lock);
  if (first) il_alarm_set(&i->host->watchdog, &i->alarm, end);
}

static void give_up(il_isolate *i) {
  int code = atomic_load_explicit(&i->dying, memory_order_acquire);
  char text[192];
  if (!mark_stuck(i, true)) return;
  il_host_log(i->host, "isolate '%s' is stuck in a C function and was left behind", i->name);
  if (!unlist(i)) return;
  atomic_store_explicit(&i->status, IL_GONE_STUCK, memory_order_relaxed);
  snprintf(text, sizeof text, "isolate '%.80s' was told to end (%s) but is stuck in a C function",
           i->name, isolua_code_name(code));
  settle_with(i, code, text);
  settled(i);
}

/* Has its thread had its chances? On a machine with more to do than processors it may not have run. */
static bool in_vain(const il_isolate *i) {
  return !atomic_load_explicit(&i->counts, memory_order_relaxed) ||
         atomic_load_explicit(&i->signals, memory_order_relaxed) >= IL_STUCK_SIGNALS;
}

/* On the watchdog's thread. */
static int64_t ring(il_alarm *a) {
  il_isolate *i = (il_isolate *)((char *)a - offsetof(il_isolate, alarm));
  int64_t now = il_now(), end;
  bool left, closing;
  if (atomic_load_explicit(&i->dying, memory_order_acquire) == 0) {
    il_isolate_kill(i, ISOLUA_TIMEOUT, IL_GRACE);
    return -1; /* the kill has set the alarm anew */
  }
  il_mutex_lock(&i->lock);
  end = i->grace_end;
  left = i->left;
  closing = i->closing;
  il_mutex_unlock(&i->lock);
  if (left) return -1;
  if (now >= end + (closing ? IL_STUCK_CLOSING : IL_STUCK) && in_vain(i)) {
    give_up(i);
    signal_thread(i);
    return now + ISOLUA_SECOND; /* it may come back to Lua some day */
  }
  if (now >= end)
    atomic_store_explicit(&i->phase, IL_HARD, memory_order_release);
  else if (atomic_load_explicit(&i->acknowledged, memory_order_acquire))
    return end;
  signal_thread(i);
  i->retry = i->retry * 2 < RETRY_LAST ? i->retry * 2 : RETRY_LAST;
  return now + i->retry < end || now >= end ? now + i->retry : end;
}
