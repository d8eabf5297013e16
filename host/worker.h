/* worker.h - threads that run jobs; idle ones are parked with something made ready for the next. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_WORKER_H
#define IL_WORKER_H

#include "plat.h"

typedef struct il_worker il_worker;

/* A job, embedded in what it runs. */
typedef struct il_job il_job;
struct il_job {
  void (*run)(il_job *, void *spare); /* takes over `spare`, which may be NULL */
  il_job *next;
  int cpu;      /* where it was started */
  bool lasting; /* it goes on, and its starter too: they want a processor each */
};

typedef struct il_workers {
  /* fixed at init */
  void *(*make)(void *ud); /* a spare for the next job, on the thread that will run it; or NULL */
  void (*drop)(void *spare);
  void *ud;
  void (*tell)(void *tell_ud, bool begins); /* on a thread that begins, or ends; or NULL */
  void *tell_ud;
  size_t stack; /* of threads that may be kept; jobs that want another get one of their own */
  int sig;      /* the one signal that is not blocked */
  int keep;     /* how many idle threads at most */

  il_mutex lock; /* guards all below */
  il_cond ended;
  il_worker *idle;       /* parked, the last one first: its caches are the warmest */
  il_job *queue, **tail; /* jobs for threads that are about to be idle */
  int nidle, npreparing, nqueued;
  il_worker *pulled; /* to its waker's processor, and it does not run yet; NULL: none is */
  bool queued;       /* a job was, since the last kick */
  size_t nthreads;
  bool closing;
  int draining; /* callers of il_workers_drain: nothing is parked meanwhile */
  bool zombie;  /* `last` has left its loop and is to be joined */
  il_thread last;
} il_workers;

int il_workers_init(il_workers *w);

/* Runs `job` on a thread with a C stack of `stack` bytes: soon on one that is getting ready, else at
** once on an idle one or a new one. 0; or ISOLUA_SPAWN, ISOLUA_MEMORY: no thread, and the job does not run.
** *queued: it waits for a thread that is getting ready. Thread: any. */
int il_workers_start(il_workers *w, il_job *job, size_t stack, bool *queued);

/* Called by a job on its thread: it is about to end, and the thread will be there for another. */
void il_workers_announce(void);

/* Called by a job on its thread, when its result is there: whoever waits for it goes first, where
** both are on one processor. */
void il_workers_give_way(void);

/* Jobs that were in the queue at the last call, too, go to idle or new threads now, whatever the
** threads that they wait for are doing. True: there are jobs, or were since then: call it again. */
bool il_workers_kick(il_workers *w);

/* Ends idle threads, and those that become idle from now on if `for_good`. */
void il_workers_trim(il_workers *w, bool for_good);

/* Between these, threads that have run their job end. */
void il_workers_drain(il_workers *w, bool begin);

/* Waits until at most `stay` threads are left, or `deadline`; how many there are then. */
size_t il_workers_wait(il_workers *w, size_t stay, int64_t deadline);

void il_workers_fini(il_workers *w); /* after il_workers_wait has said that no thread is left */

extern atomic_size_t il_live_threads;

#endif
