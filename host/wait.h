/* wait.h - the one waiter of an isolate: whatever can wake it fires a watch that points to it. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_WAIT_H
#define IL_WAIT_H

#include "plat.h"

/*
** DESIGN. A waiter belongs to one thread, its owner. A watch ties it to one source (a future, a
** port): it stands in the source's list, under the source's lock, and when the source has something
** the watch is pushed on the waiter's stack of fired ones and the owner is woken. The owner takes the
** whole stack at once, so handling costs what has fired, not what is watched.
**  - A watch is on the stack at most once: `fired` says so; the owner clears it when it takes it.
**  - Firing happens under the source's lock. Taking a watch off the source under that same lock
**    therefore waits for a firing under way, after which no other thread touches watch or waiter.
**  - A wake-up is a system call only when the owner sleeps. It is best made when the source's lock is
**    free again, or the owner runs into that at once. By then the waiter may be gone: the system
**    only compares the address, and whoever sleeps at the same one looks again.
*/
typedef struct il_watch il_watch;

/* What its owner does: something else, or it waits; or it was woken since. */
enum { IL_BUSY, IL_SIGNALLED, IL_SLEEPING, IL_SPINNING };

typedef struct il_waiter {
  _Atomic(uint32_t) word;    /* one of these; acq_rel with the fired stack */
  _Atomic(il_watch *) fired; /* stack, pushed by any thread */
  atomic_int fd;             /* an event that a wake-up sets, too; -1: none is wanted */
  int event;                 /* owner only: that event, open from its first use on; -1 */
  void (*wake)(
    void *ud);  /* fixed: called whenever the event would be set, under a source's lock; or NULL */
  void *ud;     /* fixed: its argument */
  int64_t spin; /* owner only: ns that a wait spins before it sleeps */
} il_waiter;

struct il_watch {
  il_waiter *waiter;     /* fixed */
  il_watch *prev, *next; /* source's lock: its list */
  bool listed;           /* source's lock */
  _Atomic(bool) fired;   /* on the waiter's stack, or taken from it and not cleared */
  il_watch *next_fired;  /* written before the push, read after the take */
};

/* The list of watches in a source. */
typedef struct il_watches {
  il_watch *first, *last; /* in the order in which they came */
} il_watches;

void il_waiter_init(il_waiter *w);
/* A thread that owns a waiter begins (1) or ends (-1). */
void il_awake_add(int n);
/* Has each processor such a thread that does not sleep, so that waking one more makes nothing faster? A hint. */
bool il_awake_enough(void);
/* Wakes the owner, now or at its next sleep. Thread: any; safe in a signal handler. */
void il_waiter_wake(il_waiter *w);
/* Does the owner sleep, so that a wake-up will be a system call? A hint. Thread: any. */
bool il_waiter_asleep(const il_waiter *w);
/* Sleeps until a wake-up since the last return, or `deadline`. False: the deadline came. Owner. */
bool il_waiter_sleep(il_waiter *w, int64_t deadline);
/* An event (il_event_open) that is set from now on when it is woken: -1 when there is none to be had.
** Owner. */
int il_waiter_event(il_waiter *w);
/* It is set no more, but for a wake-up that is under way. Owner. */
void il_waiter_no_event(il_waiter *w);
void il_waiter_fini(il_waiter *w);
/* No wake-up is pending: as il_waiter_sleep leaves it. Owner. */
void il_waiter_clear(il_waiter *w);
/* Spins, if a wait would, for at most `ns` while *flag is false and nobody wakes the owner; where threads
** wait for a processor, lets one of them have it instead. Owner. */
void il_waiter_linger(const il_waiter *w, const atomic_bool *flag, int64_t ns);
/* Lets *n grow as long as it does, to `enough` at most: it looks now and then only, since a look takes
** the line of *n from whoever adds. Did it grow? Owner. */
bool il_waiter_gather(const il_waiter *w, const atomic_size_t *n, size_t enough);
/* Until il_waiter_release, wake-ups do not set the event: the owner looks at all there is afterwards. */
void il_waiter_hold(il_waiter *w);
void il_waiter_release(il_waiter *w);
/* Takes all that has fired, oldest first, linked by next_fired; NULL: nothing. Owner. */
il_watch *il_waiter_take(il_waiter *w);

void il_watch_init(il_watch *watch, il_waiter *w);
/* Under the source's lock. */
void il_watches_add(il_watches *list, il_watch *watch);
void il_watches_remove(il_watches *list, il_watch *watch); /* one that is not listed: nothing */
void il_watches_fire(il_watches *list);                    /* all of them; they stay listed */
void il_watch_fire(il_watch *watch);

/* il_watch_fire in two steps: the second, with what the first gave (NULL: nothing to do), is the system
** call, and needs no lock. The owner may have gone on by then, or be gone: only the address is named, and
** whoever sleeps there now looks again at why it does. */
typedef _Atomic(uint32_t) il_sleeper;
il_sleeper *il_watch_signal(il_watch *watch,
                            bool *waited); /* *waited: the owner did nothing else */
void il_sleeper_wake(il_sleeper *s);

#endif
