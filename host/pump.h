/* pump.h - what a program calls that has a loop of its own, and never waits. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_PUMP_H
#define IL_PUMP_H

#include "wait.h"

/* -- Events ------------------------------------------------------------------------------------ */

/*
** DESIGN. Whatever isolua_pump is to call is an event: a watch whose waiter is the pump's. Those that fired are
** taken and called one after the other, without a lock; one that may have more to do goes to the end of the
** line. The pump belongs to one thread at a time; who takes an event off waits until it is not being called,
** unless he is called by it.
*/
typedef struct il_event il_event;
enum il_called {
  IL_CALL_DONE,
  IL_CALL_MORE, /* there may be more to do */
  IL_CALL_LATER /* there is, but no memory for it: it comes again at the next pump */
};
struct il_event {
  il_watch watch;
  /* fixed */
  enum il_called (*call)(il_event *e);
  bool once;                    /* it is dropped when `call` is done */
  void (*observe)(il_event *e); /* puts the watch into its source: under pump's lock */
  void (*unwatch)(il_event *e); /* takes it off that */
  void (*drop)(il_event *e);    /* the host is closed, or it was called for the last time */
  il_event *prev, *next;        /* pump's lock */
  bool listed;                  /* pump's lock */
};

/* What the main isolate of a host adds to its pump, on its own thread. */
typedef struct il_main_loop {
  /* *items, unless -1, becomes less by what was done. How much is left. */
  size_t (*pump)(void *vm, long long *items, int64_t deadline);
  int (*fd)(void *vm);
  int64_t (*next)(void *vm); /* ns until its next timer; -1: none */
} il_main_loop;

typedef struct il_pump {
  il_waiter waiter; /* of the events; its owner is who pumps */

  il_mutex lock;           /* guards all below */
  il_cond changed;         /* `called` or `pumping` has changed */
  il_event *first;         /* all events */
  il_watch *taken, **last; /* those that fired and are still to be called, oldest first */
  il_event *called;        /* being called, or dropped, now */
  size_t calls;            /* that have begun */
  bool pumping, closed;
  il_thread thread;         /* who pumps, while `pumping` */
  int fd;                   /* the descriptor; -1: none was asked for */
  bool joined;              /* the main isolate's is in it */
  const il_main_loop *main; /* of the main isolate; NULL: there is none */
  void *vm;                 /* its first argument */
  il_thread main_thread;
} il_pump;

/* Does the calling thread pump? */
bool il_pump_is_mine(il_pump *p);
/* `wake`, or NULL, is called when there is something to do, once until the next pump. 0, ISOLUA_MEMORY. */
int il_pump_init(il_pump *p, void (*wake)(void *ud), void *ud);
/* Nothing is called any more: all events are dropped. Waits for who pumps. */
void il_pump_close(il_pump *p);
void il_pump_fini(il_pump *p);
/* The calling thread's main isolate comes, or (NULL) goes. */
void il_pump_attach(il_pump *p, const il_main_loop *main, void *vm);

/* isolua_pump, isolua_fd and isolua_next_due. */
bool il_pump_run(il_pump *p, long long items, int64_t ns);
int il_pump_fd(il_pump *p);
int64_t il_pump_next(il_pump *p);

/* True: *e is listed, and its watch is in its source: it may have been called, and dropped, by now. False: the
** host is closed. */
bool il_event_add(il_pump *p, il_event *e);
/* Takes it off its source and out of the list. It is not called any more when this returns, unless the caller is
** called by it. False: it was not listed. */
bool il_event_remove(il_pump *p, il_event *e);
/* Calls it as if its source had something. False: it is not listed, or no more. */
bool il_event_fire(il_pump *p, il_event *e);
/* Waits until a call of it that has begun has ended, not for those that follow; unless the caller is called by
** it. */
void il_event_finish(il_pump *p, il_event *e);

#endif
