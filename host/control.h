/* control.h - what others ask of an isolate: to be told of its end, to pause, to answer. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_CONTROL_H
#define IL_CONTROL_H

#include "future.h"
#include "port.h"

/* A pause has a key: a string, or an integer. */
typedef struct il_key {
  const char *text; /* NULL: `number` */
  long long number;
} il_key;

/* Who is told of errors or of the end. */
typedef struct il_listener {
  il_port *to;   /* one hold as a sender */
  il_msg *value; /* sent instead of the exit message; or NULL */
  bool error;    /* of errors; else of the end */
  struct il_listener *next;
} il_listener;

/* What it is asked. */
enum il_asks {
  IL_PING,
  IL_PING_IDLE, /* only its event loop answers */
  IL_WHERE,
  IL_TRACEBACK,
  IL_EVAL
};

/* Which of them it answers. */
enum il_takes {
  IL_TAKE_ALL,   /* in its event loop: any */
  IL_TAKE_BUSY,  /* in its code: not IL_PING_IDLE */
  IL_TAKE_NESTED /* likewise, and nor IL_EVAL */
};

/* Of malloc. */
typedef struct il_question {
  isolua_future *answer; /* one hold */
  enum il_asks what;
  char *text;               /* malloc; of IL_EVAL: the source */
  struct il_question *next; /* the control's */
} il_question;

typedef struct il_control {
  /* fixed */
  isolua_future *gone;                  /* settles when all has ended */
  il_msg *(*make)(isolua_future *gone); /* the exit message, once that is so; NULL: no memory */

  il_mutex lock; /* guards the seven below */
  bool ended;    /* it answers and pauses no more */
  bool told;     /* the exit message was sent: who listens from now on is told at once */
  il_listener *listeners;
  il_question *questions, **last; /* oldest first */
  il_key *keys;                   /* malloc; of `pauses` pauses; their texts too */
  size_t room;

  atomic_int pauses;    /* written under the lock; acq_rel */
  _Atomic(bool) pinged; /* there are questions that busy code answers; acq_rel */
  _Atomic(bool) asked;  /* there are questions; acq_rel */
  atomic_int
    cancelled; /* answers that were cancelled, less such questions that are settled; acq_rel */
} il_control;

/* 0, ISOLUA_MEMORY */
int il_control_init(il_control *c, isolua_future *gone, il_msg *(*make)(isolua_future *gone));
void il_control_fini(il_control *c);

/* Thread of these: any. */

/* Pauses by a key, whose text is copied: 0, ISOLUA_MEMORY, or ISOLUA_CLOSED when it has ended. A key
** that is there already changes nothing. */
int il_control_pause(il_control *c, const il_key *key);
/* Takes back the pause by this key, or all (NULL). */
void il_control_resume(il_control *c, const il_key *key);

/* `answer` settles when it answers, or with ISOLUA_CLOSED when it has ended; takes a hold. `text` (or NULL)
** is taken over, whatever comes. 0 or ISOLUA_MEMORY. */
int il_control_ask(il_control *c, isolua_future *answer, enum il_asks what, char *text);
/* Settles the answer with *r, which it takes over, and frees the question. */
void il_question_settle(il_control *c, il_question *q, il_result *r);
/* Does it owe an answer, or is it still busy with one that was cancelled? Safe in a signal handler. */
bool il_control_owes(il_control *c);

/* A listener of malloc, taken over; it replaces one with the same port and kind. */
void il_control_listen(il_control *c, il_listener *l);
/* The same for a message that goes out before the others, and replaces none. */
void il_control_listen_first(il_control *c, il_listener *l);
void il_control_unlisten(il_control *c, const il_port *to);
void il_listeners_free(il_listener *l);
bool il_control_hears_errors(il_control *c);
/* Sends a copy of `m` to those that listen for errors. */
void il_control_tell_error(il_control *c, const il_msg *m);

/* Thread of these: its own, but for one that never got a thread, or whose thread is stuck. */

/* Takes the oldest question that is to be answered now. NULL: none. */
il_question *il_control_take(il_control *c, enum il_takes which);
/* It answers and pauses no more. */
void il_control_end(il_control *c);
/* Settles `gone` and tells those that listen for the end; the first time only. */
void il_control_tell_end(il_control *c);

#endif
