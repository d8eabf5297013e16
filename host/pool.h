/* pool.h - jobs that wait for one of some isolates, and who runs which. No Lua. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_POOL_H
#define IL_POOL_H

#include "isolate.h"

typedef struct il_pool il_pool;
typedef struct il_hand il_hand;

/* 0 is the usual one; from IL_PRIORITY_MIN to IL_PRIORITY_MAX. */
enum { IL_PRIORITY_MIN = -128, IL_PRIORITY_MAX = 127, IL_PRIORITIES = 256 };

enum il_stage {
  IL_UNSENT,  /* its maker has it */
  IL_OUTSIDE, /* waits for room in the queue */
  IL_QUEUED,  /* waits for a hand */
  IL_TAKEN,   /* a hand has it */
  IL_SETTLED  /* or is about to be */
};

/* What a pool keeps to. */
typedef struct il_pool_limits {
  size_t size, queue; /* jobs that run, and that wait, at most; 1 or more */
  int64_t idle,
    timeout; /* ns: until an isolate with nothing to do ends, -1: it stays; and that a job may run,
                            0: no limit */
  long long max_jobs; /* that one isolate runs; 0: no limit */
  int retries;        /* times that a job is run again whose isolate has ended within it */
} il_pool_limits;

/* A job. */
typedef struct il_work {
  il_handle
    h; /* held by its future while that is held, by its maker, and by the pool until it is settled */
  isolua_future future;

  /* fixed once it is sent */
  il_pool *pool;   /* one hold of its memory */
  int64_t timeout; /* ns; 0: none */
  int priority;

  /* pool's lock */
  enum il_stage stage;
  il_hand *hand;
  struct il_work *prev, *next;
  int64_t since; /* when it came into its stage */
  int retries;
  bool in; /* it has been in the queue */

  il_msg *call; /* the hand's that has it; else pool's lock. Of a chunk its arguments, or NULL */
  isolua_future *admitted; /* settled when it is in the queue; NULL: nobody waits for that */

  /* fixed once it is sent, and read less often */
  char *name;  /* malloc; NULL: `source` and `line` name it */
  char *chunk; /* malloc: a chunk's name, a zero, its source; NULL: `call` begins with a function */
  size_t chunk_length;
  int line; /* 0: a chunk; -1: a C function */
  char source[64];
} il_work;

typedef struct il_works {
  il_work *first, *last;
} il_works;

/* How long something took: counts by size. */
enum { IL_SPANS = 192 };
typedef struct il_spans {
  long long n;
  uint32_t counts[IL_SPANS];
} il_spans;

/* An isolate that runs jobs. */
struct il_hand {
  il_handle h; /* held by the pool until it has ended, and by its alarm */
  il_alarm alarm;
  il_pool *pool; /* fixed */

  /* pool's lock */
  il_isolate *isolate; /* one hold, from when it runs; or NULL */
  il_work *work;
  bool idle;     /* in the pool's list */
  bool watching; /* its alarm is set: jobs were left to others while it is idle */
  bool waiting;  /* its job waits, for a future too: another one may run meanwhile */
  bool doomed;   /* it is being killed: it gets no more jobs */
  bool last;     /* it gets no more jobs, and leaves */
  bool starting; /* whoever starts it looks after it what else is to be done, unless it was ready */
  bool over;     /* it has ended */
  bool in_vain;  /* before it was ready, and others will see to the queue */
  bool no_room;  /* the host has as many isolates as it may */
  bool begun;    /* code of its job runs, or may have run */
  int64_t late;  /* when its job has run over its time; 0: it has no end */
  long long done; /* jobs */
  il_hand *prev, *next, *idle_next;

  il_work *held; /* its thread's own hold on the job that it has, or had last; or NULL */

  atomic_bool called; /* it has a job, or is to leave; release */
};

struct il_pool {
  il_handle h;                         /* of users: with the last one it closes */
  _Alignas(IL_LINE) atomic_uint holds; /* of its memory: those handles together, hands and jobs */
  _Alignas(IL_LINE)                    /* each thread has the line of what follows; fixed */
    isolua_host *host;                 /* one hold */
  il_pool_limits o;
  char *name;
  void *starting; /* what `start` needs */
  int (*start)(il_pool *p, il_hand *hand,
               const char *name); /* an isolate with that hand: 0, or it has failed */
  void (*fini)(il_pool *p);       /* frees `starting` */
  isolua_future *empty;           /* settled when it is closed and has no job any more */

  /* In one line all that who sends a job writes to, but for the queue. */
  _Alignas(IL_LINE) il_lock lock; /* guards all below */
  bool closing;
  bool admits; /* those that are outside come in, one for each job that leaves the queue */
  bool empty_told;
  bool unwatched; /* nothing is left to hands that have jobs: alarms cannot be set */
  size_t queued, taken, waiting_outside; /* jobs */
  size_t busy;                           /* hands whose jobs do not wait */
  il_works outside;
  il_hand *first_idle; /* the one that was idle last */

  int64_t turn;    /* when a hand last ended a job, or took one for which it was called */
  int64_t usually; /* ns that jobs ran lately: their mean, the last ones having more weight */
  size_t idle, beginning; /* hands */
  size_t hands;           /* that have not ended, with those that begin */
  size_t waiting;         /* hands whose jobs wait */
  il_hand *all;
  long long done;

  _Alignas(IL_LINE) uint64_t some[IL_PRIORITIES / 64]; /* bits of those that are not empty */
  int vain; /* isolates that were killed before they were ready, since one was */
  long long failed, started;

  il_works queue[IL_PRIORITIES]; /* the first has the highest priority */
  il_spans waited, ran;
};

/* With one hold on `h`. NULL: no memory; then `starting` is the caller's. */
il_pool *il_pool_new(isolua_host *host, const il_pool_limits *o, const char *name);
void il_pool_release(il_pool *p); /* a hold on its memory */

/* A job with one hold, the caller's, and no future held. NULL: no memory. */
il_work *il_work_new(il_pool *p);
void il_work_release(il_work *w);

/* Sends it; the caller holds the pool. OK: it is queued, and the caller's hold on it is the pool's. CLOSED. FULL: `wait` false, nothing was done; else it is in when w->admitted is
** settled (with ISOLUA_CLOSED: it is not), or il_pool_withdraw. MEMORY. Thread: any. */
int il_pool_send(il_pool *p, il_work *w, bool wait);
/* One that waits for room waits no more. False: it is in the queue, or was. */
bool il_pool_withdraw(il_pool *p, il_work *w);
/* No more jobs come; those that are in are run. */
void il_pool_close(il_pool *p);
/* And no more are run: all futures fail with `cancelled`. */
void il_pool_cancel(il_pool *p, const char *reason);

void il_pool_look(il_pool *p, isolua_pool_stats *out);

/* -- For the isolate that is a hand, on its thread --------------------------------------------- */

/* It is ready for jobs. */
void il_hand_enter(il_hand *hand, il_isolate *i);
/* Its job, if it had one (else `r` is NULL), has ended with *r, which is taken over; it gets the next one: NULL,
** there is none now. */
il_work *il_hand_next(il_hand *hand, il_result *r);
/* The job that it was called for; NULL: none (yet). */
il_work *il_hand_job(il_hand *hand);
/* Code of its job, which may have a timeout, runs from now on. False: it was left for stuck, and others have
** the job. */
bool il_hand_begin(il_hand *hand);
/* It has nothing to do, and goes: false, it has after all. */
bool il_hand_leave(il_hand *hand);
/* It is to go after its job: whatever that left behind goes with it. */
void il_hand_retire(il_hand *hand);
/* Is it to go now? */
bool il_hand_is_done(il_hand *hand);

extern const il_hooks il_hand_hooks;
extern const il_handle_type il_pool_type;
/* "job 'x'" */
void il_work_subject(const il_work *w, char *text, size_t size);
extern atomic_size_t il_live_pools;

#endif
