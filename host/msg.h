/* msg.h - a flat encoded message, and the counted things that travel in it. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_MSG_H
#define IL_MSG_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* -- Handles: counted things that several isolates hold. --------------------------------------- */

typedef struct il_handle il_handle;

typedef struct il_handle_type {
  const char *name;           /* of the Lua type: its metatable's name in every state */
  void (*close)(il_handle *); /* the last hold is gone: frees it; on any thread, no lock held */
  /* Optional: one more hold, instead of what il_handle_retain does. */
  void (*retain)(il_handle *);
  /* Optional: gives up one hold, instead of what il_handle_release does. */
  void (*release)(il_handle *);
  /* Optional: what the clone of a message has in its place, with a hold (NULL: no memory); without, one
  ** more hold on the same. */
  il_handle *(*clone)(il_handle *);
  /* Optional: a state of `isolate` has one userdata for it more (1) or less (-1). Its thread. */
  void (*held)(il_handle *, const void *isolate, int delta);
} il_handle_type;

/* The first member of everything that is counted. */
struct il_handle {
  const il_handle_type *type;
  atomic_uint refs;
  atomic_llong id; /* il_handle_id; 0: nobody has asked for it */
};

void il_handle_init(il_handle *h, const il_handle_type *type); /* with one hold */
void il_handle_retain(il_handle *h);
void il_handle_release(il_handle *h); /* NULL does nothing */
/* `n` holds more (below 0: less) at once, on one that has neither function and keeps others. */
void il_handle_hold(il_handle *h, int n);
/* One that nothing else of the process has; 1 or more. Thread: any. */
long long il_next_id(void);
/* The handle's, always the same. Thread: any. */
long long il_handle_id(il_handle *h);

/* -- Messages ---------------------------------------------------------------------------------- */

/* Owned by one place at a time: the encoder's caller, a future, a queue, a box in Lua. */
typedef struct il_msg {
  struct il_msg *next; /* of the queue it is in */
  unsigned char *data; /* `len` bytes: behind this struct, or a block of `cap` bytes */
  size_t len;
  size_t cap; /* 0: the data lie behind this struct */
  size_t nhandles;
  il_handle **handles; /* one hold on each, but for `unheld`; behind this struct */
  const il_handle *unheld;
} il_msg;

/* A message with a copy of `data`, or, when it is large, with the block itself: then *taken is 1
** and the block (of il_heap_resize, `cap` bytes) belongs to the message. Takes over the holds on
** `handles`. NULL when there is no memory: nothing was taken. */
il_msg *il_msg_new(unsigned char *data, size_t len, size_t cap, il_handle **handles,
                   size_t nhandles, int *taken);
/* Another one with the same content. NULL: no memory. */
il_msg *il_msg_clone(const il_msg *m);
/* The message stays inside of what `h` holds: it gives up its own holds on that, which would be a
** cycle. A clone has them. */
void il_msg_unhold(il_msg *m, il_handle *h);
void il_msg_free(il_msg *m);          /* releases its handles; NULL does nothing */
size_t il_msg_count(const il_msg *m); /* values in it: read.c */

#endif
