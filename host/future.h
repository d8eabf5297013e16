/* future.h - a port of one message: the result of an isolate, settled once. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_FUTURE_H
#define IL_FUTURE_H

#include "isolua.h"
#include "msg.h"
#include "wait.h"

struct isolua_isolate;

/* What a future settles to. Owned by whoever holds it until it is given to a future. */
typedef struct il_result {
  int code;        /* ISOLUA_OK: `msg` holds the results; ISOLUA_ERROR: `msg` holds the error value;
                      else the library's own error */
  il_msg *msg;     /* may be NULL */
  char *message;   /* malloc; of an error, may be NULL: the code's own */
  char *traceback; /* malloc; where the error was raised, or NULL */
} il_result;

void il_result_fini(il_result *r);

struct isolua_future {
  il_handle h;

  /* what changes comes first, in few lines */
  il_lock lock; /* guards `watches`, and `result` until `done` */

  /* atomics: `done` is set, with release, after `result` was written for good */
  _Atomic(bool) done;
  _Atomic(bool) looked;  /* somebody sees to its error */
  _Atomic(bool) dropped; /* its last handle for users is gone */
  _Atomic(bool) logged;  /* its error was reported */
  il_result result;      /* written once, before `done`; read after it */
  il_watches watches;
  _Atomic(struct il_values *) values; /* of it, for isolua_future_value; NULL: nobody has asked */
  atomic_int retained;                /* holds of users beside the first one */

  /* fixed at creation */
  struct isolua_isolate *isolate;       /* what it lies in; NULL: settled by its maker (local) */
  il_handle *keep;                      /* what it lies in, which a held one holds; or NULL */
  struct isolua_host *host;             /* one hold, unless it lies in something that has one */
  void (*lost)(struct isolua_future *); /* NULL: nothing is done */
  void (*cancelled)(
    struct isolua_future *); /* it was settled by cancel; NULL: its isolate is killed */
  il_handle
    *behind;   /* of a local one its maker, else what `cancelled` turns to, one hold; or NULL */
  bool is_end; /* it is il_isolate.gone */
  bool local;  /* only the isolate that made it can settle it */
};

/* What is done with an error that nobody will look at: once, on any thread, no lock held. */
typedef void il_future_lost(isolua_future *f);

/* With one hold, and one of its own on `host`. NULL: no memory. */
isolua_future *il_future_new(struct isolua_host *host, il_future_lost *lost);
/* A future inside of `keep`, which it holds while it is held itself: not yet. Its memory is all zeros. */
void il_future_init(isolua_future *f, struct isolua_host *host, il_handle *keep,
                    il_future_lost *lost);
void il_future_fini(isolua_future *f); /* of one inside an isolate, with its isolate */
/* One more hold, also on one that has none: the caller holds the isolate that it lies in. */
void il_future_retain(isolua_future *f);
void il_future_release(isolua_future *f);

/* Settles it with *r, which it takes over; a settled one frees *r. True: it was the first. */
bool il_future_settle(isolua_future *f, il_result *r);
bool il_future_is_done(isolua_future *f);
/* For threads without an event loop: false at the deadline. */
bool il_future_wait(isolua_future *f, int64_t deadline);

/* Fires `watch` when the future is settled, also when it is already. */
void il_future_watch(isolua_future *f, il_watch *watch);
void il_future_unwatch(isolua_future *f, il_watch *watch);

/* The user's last handle goes: an error that nobody looked at is logged, now or when it comes. */
void il_future_drop(isolua_future *f);

#endif
