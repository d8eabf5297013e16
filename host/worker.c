/* worker.c - parked threads, so that starting an isolate needs no thread and no fresh state. */
/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "isolua.h"
#include "wait.h"

/*
** DESIGN. A thread whose job is about to end says so (npreparing), makes a spare when it has ended,
** then takes a queued job, or parks on the idle list, or ends when enough are parked. A new job is
** queued for a thread that is getting ready and has no queued job yet: that costs no wake-up, and
** less time than one; else it goes to a parked thread, else to a new one. What ends may still run
** finalizers, so a queued job could wait long: whoever owns the pool kicks it every millisecond while
** the queue is used (host.c).
** Waking a thread that sleeps on another processor costs its waker 35 us and takes 90 (here; 10 on
** the waker's own), and the system wakes a thread where it slept. One whose last job was shorter than
** that is therefore pulled to its waker, who is likely to wait for it; it may run anywhere again
** before it runs the job. Only one at a time, and only while no other gets ready: the jobs of a burst
** go to all processors.
** A thread that ends joins the one that ended before it and leaves itself to be joined: at most one
** is unjoined, and none after il_workers_wait(w, 0, …).
*/
#ifndef IL_BRIEF
#define IL_BRIEF 100000 /* ns that a job may take to be a short one */
#endif

struct il_worker {
  /* fixed before it first parks */
  il_workers *pool;
  il_thread thread;
  bool kept; /* it has the usual stack and may be parked */

  il_waiter waiter;

  il_job *job;     /* pool lock; what it is woken for; NULL: to end */
  il_worker *next; /* pool lock: idle list */

  /* its own; while it is parked, of whoever took it off the idle list, until the wake-up */
  bool brief;   /* its last job was a short one */
  int parked;   /* on which processor */
  bool bound;   /* it was pulled, and may run only here */
  il_cpus cpus; /* where it may run otherwise */

  /* its own */
  void *spare;
  bool announced; /* it counts in npreparing already */
  int64_t began;  /* when its job did */
  int cpu;        /* where its job was started */
};

static _Thread_local il_worker *current;

atomic_size_t il_live_threads;

int il_workers_init(il_workers *w) {
  w->idle = NULL;
  w->queue = NULL;
  w->tail = &w->queue;
  w->nidle = w->npreparing = w->nqueued = 0;
  w->pulled = NULL;
  w->nthreads = 0;
  w->draining = 0;
  w->closing = w->zombie = false;
  if (il_mutex_init(&w->lock) != 0) return ISOLUA_MEMORY;
  if (il_cond_init(&w->ended) != 0) {
    il_mutex_fini(&w->lock);
    return ISOLUA_MEMORY;
  }
  return ISOLUA_OK;
}

void il_workers_fini(il_workers *w) {
  assert(w->nthreads == 0 && w->queue == NULL);
  il_cond_fini(&w->ended);
  il_mutex_fini(&w->lock);
}

static il_job *dequeue_locked(il_workers *w) {
  il_job *job = w->queue;
  assert(il_mutex_held(&w->lock));
  if (job != NULL) {
    w->queue = job->next;
    w->nqueued--;
    if (w->queue == NULL) w->tail = &w->queue;
  }
  return job;
}

/* May this thread stay for another job? Then it counts as getting ready. */
static bool stay_locked(il_worker *self) {
  il_workers *w = self->pool;
  bool stay = self->kept && !w->closing && w->draining == 0 &&
              (w->nidle + w->npreparing < w->keep || w->nqueued > 0);
  assert(il_mutex_held(&w->lock));
  if (stay) w->npreparing++;
  return stay;
}

void il_workers_announce(void) {
  il_worker *self = current;
  il_mutex_lock(&self->pool->lock);
  self->announced = stay_locked(self);
  il_mutex_unlock(&self->pool->lock);
  self->brief = il_now() - self->began < IL_BRIEF;
}

void il_workers_give_way(void) {
  if (current->cpu == il_cpu_here()) il_yield();
}

static bool ending_locked(const il_workers *w) {
  return w->closing || w->draining > 0;
}

/* Sleeps until it is taken off the idle list, which happens once. */
static void park(il_worker *self) {
  il_workers *w = self->pool;
  il_waiter_sleep(&self->waiter, -1);
  if (self->bound) il_thread_let_go(&self->cpus);
  self->bound = false;
  il_mutex_lock(&w->lock); /* self->job was written under it */
  if (w->pulled == self) w->pulled = NULL;
  il_mutex_unlock(&w->lock);
}

/* Gets ready for the next job: true when one is there, false when the thread is to end. */
static bool next_job(il_worker *self) {
  il_workers *w = self->pool;
  bool idle, stay, spare;
  if (!self->announced) self->brief = il_now() - self->began < IL_BRIEF;
  il_mutex_lock(&w->lock);
  stay = self->announced || stay_locked(self);
  spare = !ending_locked(w) || w->nqueued > 0;
  self->announced = false;
  il_mutex_unlock(&w->lock);
  if (!stay) return false;
  if (spare) self->spare = w->make(w->ud);
  il_mutex_lock(&w->lock);
  w->npreparing--;
  self->job = dequeue_locked(w);
  idle = self->job == NULL && !ending_locked(w);
  if (idle) {
    self->parked = il_cpu_here();
    self->next = w->idle;
    w->idle = self;
    w->nidle++;
  }
  il_mutex_unlock(&w->lock);
  if (idle) park(self);
  return self->job != NULL;
}

static void leave(il_worker *self) {
  il_workers *w = self->pool;
  il_thread before;
  bool join;
  il_awake_add(-1);
  if (self->spare != NULL) w->drop(self->spare);
  if (w->tell != NULL) w->tell(w->tell_ud, false);
  free(self);
  il_mutex_lock(&w->lock);
  join = w->zombie;
  before = w->last;
  w->zombie = true;
  w->last = il_thread_self();
  il_mutex_unlock(&w->lock);
  if (join) il_thread_join(before);
  atomic_fetch_sub(&il_live_threads, 1);
  il_mutex_lock(&w->lock);
  w->nthreads--;
  il_cond_wake_all(&w->ended);
  il_mutex_unlock(&w->lock); /* the pool may be gone once this has returned and we are joined */
}

static void work(void *arg) {
  il_worker *self = arg;
  current = self;
  self->thread = il_thread_self();
  il_awake_add(1);
  if (self->pool->tell != NULL) self->pool->tell(self->pool->tell_ud, true);
  do {
    il_job *job = self->job;
    void *spare = self->spare;
    self->job = NULL;
    self->spare = NULL;
    self->cpu = job->cpu;
    self->began = il_now();
    job->run(job, spare);
  } while (next_job(self));
  leave(self);
}

static int start_thread(il_workers *w, il_job *job, size_t stack) {
  il_thread thread;
  il_worker *self = calloc(1, sizeof *self);
  int err;
  if (self == NULL) return ISOLUA_MEMORY;
  self->pool = w;
  self->job = job;
  self->kept = stack == w->stack;
  il_waiter_init(&self->waiter);
  il_mutex_lock(&w->lock);
  w->nthreads++;
  il_mutex_unlock(&w->lock);
  atomic_fetch_add(&il_live_threads, 1);
  err = il_thread_start(&thread, stack, w->sig, work, self);
  if (err == 0) return ISOLUA_OK;
  free(self);
  atomic_fetch_sub(&il_live_threads, 1);
  il_mutex_lock(&w->lock);
  w->nthreads--;
  il_cond_wake_all(&w->ended);
  il_mutex_unlock(&w->lock);
  return err == ENOMEM ? ISOLUA_MEMORY : ISOLUA_SPAWN;
}

static il_worker *pop_idle_locked(il_workers *w, il_job *job) {
  il_worker *idle = w->idle;
  assert(il_mutex_held(&w->lock));
  if (idle != NULL) {
    w->idle = idle->next;
    w->nidle--;
    idle->job = job;
  }
  return idle;
}

static void enqueue_locked(il_workers *w, il_job *job) {
  assert(il_mutex_held(&w->lock));
  job->next = NULL;
  *w->tail = job;
  w->tail = &job->next;
  w->nqueued++;
  w->queued = true;
}

static bool may_pull_locked(il_workers *w, const il_job *job, il_worker *idle) {
  bool may = idle != NULL && idle->brief && !job->lasting && idle->parked != il_cpu_here() &&
             w->npreparing == 0 && w->pulled == NULL;
  assert(il_mutex_held(&w->lock));
  if (may) w->pulled = idle;
  return may;
}

/* On the idle thread, or on a new one. One that still spins is woken where it is. */
static int hand_over(il_workers *w, il_worker *idle, il_job *job, size_t stack, bool pull) {
  if (idle == NULL) return start_thread(w, job, stack);
  if (pull && il_waiter_asleep(&idle->waiter))
    idle->bound = il_thread_pull(idle->thread, &idle->cpus);
  il_waiter_wake(&idle->waiter);
  return ISOLUA_OK;
}

int il_workers_start(il_workers *w, il_job *job, size_t stack, bool *queued) {
  il_worker *idle = NULL;
  bool pull = false;
  *queued = false;
  job->cpu = il_cpu_here();
  if (stack == w->stack) {
    il_mutex_lock(&w->lock);
    *queued = w->nqueued < w->npreparing;
    if (*queued)
      enqueue_locked(w, job);
    else
      idle = pop_idle_locked(w, job);
    pull = may_pull_locked(w, job, idle);
    il_mutex_unlock(&w->lock);
  }
  return *queued ? ISOLUA_OK : hand_over(w, idle, job, stack, pull);
}

/* A job that gets no thread now goes back into the queue: the thread it waits for is still there. */
bool il_workers_kick(il_workers *w) {
  bool used;
  il_mutex_lock(&w->lock);
  used = w->queued;
  w->queued = false;
  for (int n = used ? 0 : w->nqueued; n > 0; n--) {
    il_job *job = dequeue_locked(w);
    il_worker *idle;
    if (job == NULL) break;
    idle = pop_idle_locked(w, job);
    il_mutex_unlock(&w->lock);
    if (hand_over(w, idle, job, w->stack, false) != ISOLUA_OK) {
      il_mutex_lock(&w->lock);
      enqueue_locked(w, job);
      break;
    }
    il_mutex_lock(&w->lock);
  }
  used = used || w->nqueued > 0;
  il_mutex_unlock(&w->lock);
  return used;
}

void il_workers_trim(il_workers *w, bool for_good) {
  il_worker *idle;
  il_mutex_lock(&w->lock);
  w->closing = w->closing || for_good;
  idle = w->idle;
  w->idle = NULL;
  w->nidle = 0;
  for (il_worker *it = idle; it != NULL; it = it->next) it->job = NULL;
  il_mutex_unlock(&w->lock);
  while (idle != NULL) {
    il_worker *next = idle->next;
    il_waiter_wake(&idle->waiter);
    idle = next;
  }
}

void il_workers_drain(il_workers *w, bool begin) {
  il_mutex_lock(&w->lock);
  w->draining += begin ? 1 : -1;
  il_mutex_unlock(&w->lock);
  if (begin) il_workers_trim(w, false);
}

size_t il_workers_wait(il_workers *w, size_t stay, int64_t deadline) {
  size_t left;
  bool join;
  il_thread last;
  il_mutex_lock(&w->lock);
  while (w->nthreads > stay && (deadline < 0 || il_now() < deadline))
    il_cond_wait(&w->ended, &w->lock, deadline);
  left = w->nthreads;
  join = left <= stay && w->zombie;
  last = w->last;
  if (join) w->zombie = false;
  il_mutex_unlock(&w->lock);
  if (join) il_thread_join(last);
  return left;
}
