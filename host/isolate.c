/* isolate.c - control blocks of isolates: starting, ending, killing. */
/* SPDX-License-Identifier: MIT */
#include "isolate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "err.h"

/*
** LOCK ORDER. One lock at a time, but for these pairs, outer first:
**   future.lock    > (waiter: no lock)
**   port.lock      > (waiter: no lock)
**   isolate.lock   > port.lock
**   receiver.lock  > pump.lock > port.lock or future.lock
**   control.lock   > none
**   pool.lock      > host.lock
** Nothing calls Lua, allocates, calls back or gives up a last hold under a lock.
**
** DESIGN. An isolate ends once: `dying` is set by the first kill and never reset. From then on the
** watchdog signals its thread, at growing intervals, until kill.c has set `acknowledged`; when
** the grace is over the phase becomes IL_HARD and signals go on until the thread has left. A thread
** that is still there IL_STUCK later sits in a C function: the isolate counts as stuck, its future
** settles, and nobody waits for it any more.
*/

#define ISOLATE "isolate.isolate"
#define RETRY_FIRST ((int64_t)500000) /* ns */
#define RETRY_LAST ((int64_t)8000000)
#define RETRY_STUCK ((int64_t)50000000)
#define OWES_FIRST ((int64_t)5000000)
#define OWES_LAST ((int64_t)1000000000)

enum { ALARMS = 2 }; /* of an isolate */

atomic_size_t il_live_isolates;

static void free_task(il_isolate *i) {
  if (i->task != NULL) i->free_body(i);
  i->task = NULL;
}

static void end(il_isolate *i) {
  isolua_host *host = i->host;
  free_task(i);
  for (int n = 0; n < ALARMS; n++) il_watchdog_unreserve(&host->watchdog);
  il_waiter_fini(&i->waiter);
  il_control_fini(&i->control);
  il_future_fini(&i->gone);
  il_future_fini(&i->future);
  il_port_fini(&i->inbox);
  il_mutex_fini(&i->lock);
  if (i->parent != NULL) il_isolate_release(i->parent); /* it never ran */
  if (i->hooks != NULL) i->hooks->freed(i->served);
  free(i->name);
  free(i);
  il_host_release(host);
}

/* What its result or its inbox holds may be the last hold on another one, and so on: however many, they
** end one after the other. */
static void isolate_close(il_handle *h) {
  static _Thread_local il_isolate *ending; /* that this thread still has to end, linked by `next` */
  static _Thread_local bool busy;
  il_isolate *i = (il_isolate *)h;
  i->next = ending;
  ending = i;
  if (busy) return;
  busy = true;
  while ((i = ending) != NULL) {
    ending = i->next;
    end(i);
  }
  busy = false;
}

static const il_handle_type block_type = {.name = "isolate", .close = isolate_close};

const il_handle_type il_isolate_type = {.name = ISOLATE,
                                        .retain = il_sender_retain,
                                        .release = il_sender_release,
                                        .held = il_sender_held};

static int64_t ring(il_alarm *a);
static int64_t ring_owes(il_alarm *a);
static void lost(isolua_future *f);

/* What can fail of making one. */
static int init_parts(il_isolate *i, isolua_host *host, const char *name) {
  int reserved;
  i->name = strdup(name);
  if (i->name == NULL) return ISOLUA_MEMORY;
  if (il_mutex_init(&i->lock) != 0) goto fail_lock;
  il_port_init(&i->inbox, i, &i->h, &il_isolate_type);
  il_future_init(&i->future, host, &i->h, lost);
  il_future_init(&i->gone, host, &i->h, NULL);
  i->future.isolate = i->gone.isolate = i;
  i->gone.is_end = true;
  if (il_control_init(&i->control, &i->gone, il_isolate_exit_message) != ISOLUA_OK)
    goto fail_control;
  for (reserved = 0; reserved < ALARMS; reserved++)
    if (il_watchdog_reserve(&host->watchdog) != ISOLUA_OK) goto fail_reserve;
  return ISOLUA_OK;
fail_reserve:
  while (reserved-- > 0) il_watchdog_unreserve(&host->watchdog);
  il_control_fini(&i->control);
fail_control:
  il_future_fini(&i->gone);
  il_future_fini(&i->future);
  il_port_fini(&i->inbox);
  il_mutex_fini(&i->lock);
fail_lock:
  free(i->name);
  return ISOLUA_MEMORY;
}

/* Without memory for it, it is not told. */
static void tell_watcher_of_end(il_isolate *i) {
  il_port *to = il_host_watcher(i->host);
  il_listener *l = to != NULL ? malloc(sizeof *l) : NULL;
  if (l != NULL) {
    *l = (il_listener){to, NULL, false, NULL};
    il_control_listen(&i->control, l);
  } else if (to != NULL) {
    il_handle_release(&to->tx);
  }
}

/* The end of the program waits for runs that main has started, or that such runs have. False: no memory,
** and nothing is taken. */
static bool take_start(il_isolate *i, const il_start *start) {
  static const il_key paused = {NULL, 0};
  if (start->paused && il_control_pause(&i->control, &paused) != ISOLUA_OK) return false;
  i->born = il_now();
  i->spawned = start->spawned;
  i->errors_go_on = start->errors_go_on;
  i->hooks = start->hooks;
  i->served = start->served;
  i->parent = start->parent;
  i->awaited = !start->spawned && !start->unawaited;
  if (i->parent != NULL) {
    il_handle_retain(&i->parent->h);
    i->awaited = i->awaited && (i->parent->is_main || i->parent->awaited);
  }
  for (il_listener *l = start->listeners, *next; l != NULL; l = next) {
    next = l->next;
    il_control_listen(&i->control, l);
  }
  /* Nobody has to look: its error is reported as soon as it is there. */
  if (i->spawned) atomic_store(&i->future.dropped, true);
  if (i->spawned) tell_watcher_of_end(i);
  return true;
}

int il_isolate_new(isolua_host *host, const isolua_options *o, const char *name,
                   const il_start *start, il_isolate **out) {
  static const il_start none;
  il_isolate *i = il_lines_new(sizeof *i);
  if (i == NULL) return ISOLUA_MEMORY;
  if (init_parts(i, host, name) != ISOLUA_OK) {
    free(i);
    return ISOLUA_MEMORY;
  }
  il_handle_init(&i->h, &block_type);
  i->inbox.inbox = true;
  i->host = host;
  il_handle_retain(&host->h);
  i->id = il_handle_id(&i->inbox.tx);
  i->timeout = o->timeout;
  i->memory = o->memory;
  i->stack = o->stack == 0 ? IL_STACK : o->stack > IL_STACK_MIN ? o->stack : IL_STACK_MIN;
  il_waiter_init(&i->waiter);
  il_alarm_init(&i->alarm, &i->h, ring);
  il_alarm_init(&i->owes, &i->h, ring_owes);
  i->retry = RETRY_FIRST;
  if (!take_start(i, start != NULL ? start : &none)) {
    il_isolate_release(i);
    return ISOLUA_MEMORY;
  }
  *out = i;
  return ISOLUA_OK;
}

il_isolate *il_isolate_of(il_handle *tx) {
  if (tx->type != &il_isolate_type) return NULL;
  return (il_isolate *)((char *)tx - offsetof(il_port, tx) - offsetof(il_isolate, inbox));
}

void il_isolate_release(il_isolate *i) {
  il_handle_release(&i->h);
}

const char *il_isolate_status(il_isolate *i) {
  static const char *const names[] = {"starting", "running", "waiting", "done",
                                      "failed",   "killed",  "stuck"};
  int status = atomic_load_explicit(&i->status, memory_order_relaxed);
  if (status <= IL_WAITING && atomic_load_explicit(&i->control.pauses, memory_order_relaxed) > 0)
    return "paused";
  return names[status];
}

/* -- The host's list --------------------------------------------------------------------------- */

#define LEAVING_MAX 16

/* May one more begin? Whoever has seen the end of one may start the next, while the state of the first
** is still being closed; but finalizers that take their time do not pile up. */
static int admit_locked(const isolua_host *host, const il_isolate *i) {
  size_t most = host->options.max_isolates;
  if (host->closing) return ISOLUA_CLOSED;
  if (i->is_main || most == 0) return ISOLUA_OK;
  if (host->alive + host->stuck >= most) return ISOLUA_FULL;
  return host->leaving >= most && host->leaving - most >= LEAVING_MAX ? ISOLUA_FULL : ISOLUA_OK;
}

/* 0, ISOLUA_CLOSED or ISOLUA_FULL. */
static int list(il_isolate *i) {
  isolua_host *host = i->host;
  int err;
  il_mutex_lock(&host->lock);
  err = admit_locked(host, i);
  if (err == ISOLUA_OK) {
    i->prev = NULL;
    i->next = host->first;
    if (host->first != NULL) host->first->prev = i;
    host->first = i;
    i->listed = true;
    if (!i->is_main) host->alive++;
    if (!i->is_main) host->unsettled++;
    if (!i->is_main && i->awaited) host->awaited++;
    if (i->hooks != NULL) host->serving++;
  }
  il_mutex_unlock(&host->lock);
  return err;
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
    if (!i->is_main) {
      host->alive--;
      host->leaving++;
    }
  }
  il_mutex_unlock(&host->lock);
  return listed;
}

/* Its state is closed. */
static void state_closed(il_isolate *i) {
  if (i->is_main) return;
  il_mutex_lock(&i->host->lock);
  i->host->leaving--;
  il_mutex_unlock(&i->host->lock);
}

/* Its future is settled: who waits for the last one goes on. */
static void settled(il_isolate *i) {
  isolua_host *host = i->host;
  if (i->is_main) return;
  il_mutex_lock(&host->lock);
  host->unsettled--;
  if (i->awaited) host->awaited--;
  if (i->hooks != NULL) host->serving--;
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

/* -- What its state holds ---------------------------------------------------------------------- */

void il_isolate_hold(il_isolate *i, il_holding *holding, il_handle *h) {
  *holding = (il_holding){.isolate = i, .h = h};
  il_mutex_lock(&i->lock);
  holding->next = i->holdings;
  if (i->holdings != NULL) i->holdings->prev = holding;
  i->holdings = holding;
  il_mutex_unlock(&i->lock);
  if (h->type->held != NULL) h->type->held(h, i, 1);
}

void il_isolate_let_go(il_holding *holding) {
  il_isolate *i = holding->isolate;
  il_handle *h = holding->h;
  if (i == NULL) return;
  holding->isolate = NULL;
  il_mutex_lock(&i->lock);
  if (holding->prev != NULL)
    holding->prev->next = holding->next;
  else
    i->holdings = holding->next;
  if (holding->next != NULL) holding->next->prev = holding->prev;
  if (holding->abandoned) il_sender_abandon(h, false);
  il_mutex_unlock(&i->lock);
  if (h->type->held != NULL) h->type->held(h, i, -1);
}

static void let_go_of_all(il_isolate *i) {
  while (i->holdings != NULL) il_isolate_let_go(i->holdings);
}

static void abandon_all(il_isolate *i) {
  il_mutex_lock(&i->lock);
  for (il_holding *o = i->holdings; o != NULL; o = o->next) {
    if (!o->abandoned) il_sender_abandon(o->h, true);
    o->abandoned = true;
  }
  il_mutex_unlock(&i->lock);
}

/* -- Its life ---------------------------------------------------------------------------------- */

/* The hold that its thread has is given up in il_isolate_leave. */
static void run(il_job *job, void *spare) {
  il_isolate *i = (il_isolate *)((char *)job - offsetof(il_isolate, job));
  i->body(i, spare);
}

/* An error of its future that nobody looked at. */
static void lost(isolua_future *f) {
  const il_result *r = &f->result;
  if (r->code == ISOLUA_EXITED && f->isolate->spawned) return; /* as it wanted to */
  if (il_control_hears_errors(&f->isolate->control)) return;
  atomic_store(&f->host->failed, true);
  il_host_uncaught(f->isolate, NULL, r);
}

/* Who is served by it comes first: he sees its end before those who look at its future. */
static void settle(il_isolate *i, il_result *r) {
  if (i->hooks != NULL) i->hooks->ended(i, r);
  il_future_settle(&i->future, r);
}

static void settle_with(il_isolate *i, int code, const char *message) {
  il_result r = {code, NULL, message != NULL ? strdup(message) : NULL, NULL};
  settle(i, &r);
}

il_msg *il_isolate_exit_message(isolua_future *gone) {
  il_isolate *i = gone->isolate;
  const il_result *r = &i->future.result;
  il_field fields[] = {{"id", NULL, i->id},
                       {"name", i->name, 0},
                       {"status", il_isolate_status(i), 0},
                       {"reason", r->message, 0}};
  size_t n = sizeof fields / sizeof fields[0];
  if (r->code != ISOLUA_OK && r->code != ISOLUA_ERROR) fields[3].text = isolua_code_name(r->code);
  if (fields[3].text == NULL) n--;
  return il_build_table(fields, n);
}

int il_isolate_start(il_isolate *i) {
  isolua_host *host = i->host; /* the isolate may end, and with it its hold, once it is started */
  int err;
  bool queued, listed;
  char text[192];
  il_handle_retain(&i->h);
  i->job.run = run;
  i->job.lasting = i->spawned;
  atomic_fetch_add_explicit(&il_live_isolates, 1, memory_order_relaxed);
  err = list(i);
  if (err != ISOLUA_OK) goto fail;
  if (i->timeout > 0) {
    err = il_alarm_set(&i->host->watchdog, &i->alarm, il_deadline(i->timeout));
    if (err != ISOLUA_OK) goto fail;
  }
  err = il_workers_start(&i->host->workers, &i->job, i->stack, &queued);
  if (queued) il_host_kick_later(host);
  if (err == ISOLUA_OK) return ISOLUA_OK;
fail:
  atomic_store(&i->future.looked, true); /* the caller has it */
  atomic_store_explicit(&i->status, IL_FAILED, memory_order_relaxed);
  listed = unlist(i);
  il_alarm_cancel(&i->host->watchdog, &i->alarm);
  snprintf(text, sizeof text,
           "the system gave no thread with a stack of %zu KiB for isolate '%.80s'", i->stack >> 10,
           i->name);
  settle_with(i, err, err == ISOLUA_SPAWN ? text : NULL);
  if (listed) settled(i);
  if (listed) state_closed(i);
  atomic_fetch_sub_explicit(&il_live_isolates, 1, memory_order_relaxed);
  il_control_end(&i->control);
  il_port_close(&i->inbox);
  free_task(i); /* nobody waits for what its message holds */
  if (err != ISOLUA_FULL)
    il_control_tell_end(&i->control); /* who is refused one need not hear of it */
  il_mutex_lock(&i->lock);
  i->left = true;
  il_mutex_unlock(&i->lock);
  il_isolate_release(i);
  return err;
}

void il_isolate_enter(il_isolate *i) {
  il_mutex_lock(&i->lock);
  i->thread = il_thread_self();
  i->cpu_before = il_thread_cpu(i->thread);
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
  int err;
  i->is_main = true;
  i->waiter.wake = i->host->options.wake; /* before others see it */
  i->waiter.ud = i->host->options.wake_ud;
  if (!set_main(i->host, NULL, i)) return il_invalid("the host has a main isolate already");
  err = list(i);
  if (err != ISOLUA_OK) {
    set_main(i->host, i, NULL);
    return err;
  }
  atomic_fetch_add_explicit(&il_live_isolates, 1, memory_order_relaxed);
  il_awake_add(1);
  il_isolate_enter(i);
  return ISOLUA_OK;
}

void il_isolate_leave_main(il_isolate *i) {
  il_pump_attach(&i->host->pump, NULL, NULL);
  il_isolate_finish(i, IL_DONE, NULL);
  il_isolate_leave(i);
  set_main(i->host, i, NULL);
}

void il_isolate_finish(il_isolate *i, enum il_status status, il_result *r) {
  bool listed = unlist(i);
  il_control_end(&i->control);
  if (listed) atomic_store_explicit(&i->status, status, memory_order_relaxed);
  il_port_shut(&i->inbox); /* whoever sees its end cannot send to it any more */
  if (r != NULL && r->msg != NULL) il_msg_unhold(r->msg, &i->inbox.tx);
  if (r != NULL && listed) settle(i, r);
  if (r != NULL && !listed) il_future_settle(&i->future, r);
  if (listed) settled(i);
}

void il_isolate_leave(il_isolate *i) {
  il_isolate *parent = i->parent;
  let_go_of_all(i); /* a state that lives on without us keeps its handles */
  i->parent = NULL;
  if (parent != NULL) il_isolate_release(parent);
  il_mutex_lock(&i->lock);
  i->attached = false;
  i->left = true; /* an alarm that a kill sets from now on rings once */
  i->cpu = il_thread_cpu(i->thread) - i->cpu_before;
  il_mutex_unlock(&i->lock);
  il_alarm_cancel(&i->host->watchdog, &i->alarm);
  il_alarm_cancel(&i->host->watchdog, &i->owes);
  mark_stuck(i, false);
  state_closed(i);
  il_control_tell_end(&i->control);
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

/* A later one may shorten the grace. */
void il_isolate_kill(il_isolate *i, int code, int64_t grace) {
  int none = 0;
  int64_t end = il_deadline(grace);
  bool first, sooner;
  assert(!i->is_main);
  il_mutex_lock(&i->lock);
  first = atomic_compare_exchange_strong_explicit(&i->dying, &none, code, memory_order_acq_rel,
                                                  memory_order_acquire);
  sooner = first || end < i->grace_end;
  if (sooner) i->grace_end = end;
  il_mutex_unlock(&i->lock);
  if (!sooner) return;
  signal_thread(i);
  /* Without a watchdog (no thread to be had) this one signal has to do. */
  il_alarm_set(&i->host->watchdog, &i->alarm, il_deadline(RETRY_FIRST));
}

void il_isolate_kill_idle(il_isolate *i, int64_t grace) {
  assert(!i->is_main);
  atomic_store_explicit(&i->kill_grace, grace, memory_order_relaxed);
  atomic_store_explicit(&i->kill_idle, true, memory_order_release);
  il_waiter_wake(&i->waiter);
}

void il_isolate_idle(il_isolate *i) {
  if (atomic_load_explicit(&i->kill_idle, memory_order_acquire))
    il_isolate_kill(i, ISOLUA_KILLED, atomic_load_explicit(&i->kill_grace, memory_order_relaxed));
}

void il_isolate_forgo(il_isolate *i) {
  int none = 0;
  if (atomic_compare_exchange_strong(&i->forgone, &none, 1))
    il_alarm_set(&i->host->watchdog, &i->alarm, il_deadline(IL_FORGONE_WAITING));
}

/* On the watchdog's thread, of one that is not told to end yet. */
static int64_t ring_first(il_isolate *i) {
  int one = 1;
  bool left;
  il_mutex_lock(&i->lock);
  left = i->left;
  il_mutex_unlock(&i->lock);
  if (left) return -1; /* it was forgone as it ended */
  if (atomic_compare_exchange_strong(&i->forgone, &one, 2)) {
    il_isolate_kill_idle(i, IL_GRACE);
    return il_deadline(IL_FORGONE - IL_FORGONE_WAITING);
  }
  il_isolate_kill(i, one == 2 ? ISOLUA_KILLED : ISOLUA_TIMEOUT, IL_GRACE);
  return -1; /* the kill has set the alarm anew */
}

/* The hook that answers for busy code can get lost, with a coroutine that ends or under a hook that
** the code sets; and in a long call of C it is one signal that has to be waited for. */
static int64_t ring_owes(il_alarm *a) {
  il_isolate *i = (il_isolate *)((char *)a - offsetof(il_isolate, owes));
  int64_t retry = atomic_load_explicit(&i->owes_retry, memory_order_relaxed) * 2;
  if (!il_control_owes(&i->control)) return -1;
  if (retry > OWES_LAST) retry = OWES_LAST;
  atomic_store_explicit(&i->owes_retry, retry, memory_order_relaxed);
  signal_thread(i);
  return il_deadline(retry);
}

/* Whoever has answered by now, or is about to end, needs no alarm. */
void il_isolate_nudge(il_isolate *i, bool busy) {
  if (!busy) {
    il_waiter_wake(&i->waiter);
    return;
  }
  signal_thread(i);
  if (!il_control_owes(&i->control)) return;
  atomic_store_explicit(&i->owes_retry, OWES_FIRST, memory_order_relaxed);
  il_alarm_set(&i->host->watchdog, &i->owes, il_deadline(OWES_FIRST));
}

void il_isolate_set_heap(il_isolate *i, const _Atomic(size_t) *heap) {
  il_mutex_lock(&i->lock);
  i->heap = heap;
  il_mutex_unlock(&i->lock);
}

void il_isolate_measure(il_isolate *i, int64_t *cpu, size_t *heap) {
  il_mutex_lock(&i->lock);
  *cpu = i->attached ? il_thread_cpu(i->thread) - i->cpu_before : i->cpu;
  *heap = i->heap != NULL ? atomic_load_explicit(i->heap, memory_order_relaxed) : 0;
  il_mutex_unlock(&i->lock);
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
  bool left;
  if (!mark_stuck(i, true)) return;
  il_mutex_lock(&i->lock);
  left = i->left;
  il_mutex_unlock(&i->lock);
  if (left) { /* just now */
    mark_stuck(i, false);
    return;
  }
  il_host_log(i->host, "isolate '%s' is stuck in a C function and was left behind", i->name);
  if (unlist(i)) {
    atomic_store_explicit(&i->status, IL_GONE_STUCK, memory_order_relaxed);
    snprintf(text, sizeof text, "isolate '%.80s' was told to end (%s) but is stuck in a C function",
             i->name, isolua_code_name(code));
    settle_with(i, code, text);
    settled(i);
  }
  il_control_end(&i->control);
  if (il_future_is_done(&i->future)) { /* else it is about to settle that */
    il_port_shut(&i->inbox);
    il_control_tell_end(&i->control);
  }
  abandon_all(i);
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
  bool left, closing, attached, over;
  if (atomic_load_explicit(&i->dying, memory_order_acquire) == 0) return ring_first(i);
  il_mutex_lock(&i->lock);
  end = i->grace_end;
  left = i->left;
  closing = i->closing;
  attached = i->attached;
  il_mutex_unlock(&i->lock);
  if (left) return -1;
  over = attached && now >= end + (closing ? IL_STUCK_CLOSING : IL_STUCK);
  if (over && !i->probed) { /* what it handled before does not tell whether it has run since */
    i->probed = true;
    atomic_store_explicit(&i->signals, 0, memory_order_relaxed);
  }
  if (over && in_vain(i)) {
    give_up(i);
    signal_thread(i);
    return now + RETRY_STUCK; /* it may come back to Lua some day */
  }
  if (now >= end) {
    atomic_store_explicit(&i->phase, IL_HARD, memory_order_release);
  } else if (atomic_load_explicit(&i->acknowledged, memory_order_acquire)) {
    return end;
  }
  signal_thread(i);
  /* A finalizer that calls pcall again and again is stopped only by a signal beside those calls. */
  if (now >= end) return now + RETRY_FIRST;
  i->retry = i->retry * 2 < RETRY_LAST ? i->retry * 2 : RETRY_LAST;
  return now + i->retry < end ? now + i->retry : end;
}
