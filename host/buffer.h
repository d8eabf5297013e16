/* buffer.h - userdata of one state that lie over blocks of bytes; for the codec. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_BUFFER_H
#define IL_BUFFER_H

#include "buf.h"
#include "state.h"

/*
** DESIGN. A buffer, its slices and its views share a store, which has the block: when that is moved to
** another isolate, all of them are without it at once. A move has two phases. While its message waits to
** be sent the stores are `away`: nothing here touches the bytes. When the message was sent they let
** the block go (il_moves_done); when it was not, they are usable again (il_moves_undo).
*/
typedef struct il_store {
  il_block *block; /* one hold; NULL: moved, or closed */
  unsigned refs;   /* userdata, and moves */
  unsigned away;   /* moves that wait to be sent; of several only one will be */
  bool closed;     /* by the user: not moved */
  size_t charged;  /* bytes that count for the isolate */
  long long id;    /* of the block, once it is gone */
} il_store;

/* The stores that a message takes along. */
typedef struct il_moves {
  il_store *store;
  bool away;
  struct il_moves *next;
} il_moves;

enum { IL_BUFFER = 0, IL_TRANSFER = -1 }; /* kinds; above 0: the binding's */

typedef struct il_buffer {
  const void *mark;
  il_store *store; /* NULL: not made to the end */
  size_t offset, length;
  int kind;
  bool whole; /* all of the block, however long that is */
} il_buffer;

/* Bytes outside of the heap that the isolate has from now on: they count for its cap, and for the collector.
** Raises when they are too many, and then counts nothing. [-0, +0, e] il_uncharge: it has them no more. */
void il_charge(il_vm *vm, lua_State *L, size_t n);
void il_uncharge(il_vm *vm, size_t n);

/* The one at `index`; NULL: another value. [-0, +0, -] */
il_buffer *il_buffer_test(lua_State *L, int index);
/* Why it cannot be used: ISOLUA_OK, _TRANSFERRED, _CLOSED, or _INVALID: its part was cut off. */
int il_buffer_state(const il_buffer *b);
/* Pushes a buffer over the block, or over a copy of it. [-0, +1, e] */
void il_buffer_push(lua_State *L, il_block *block, bool copy, bool whole, size_t offset,
                    size_t length);
/* Pushes one that was moved before it came. [-0, +1, m] */
void il_buffer_push_moved(lua_State *L);
/* Another one over what the one at `index` lies over. [-0, +1, m] */
void il_buffer_push_part(lua_State *L, int index, bool whole, size_t offset, size_t length,
                         int kind);

bool il_moves_add(il_moves **list, il_store *s); /* false: no memory */
void il_moves_join(il_moves **list, il_moves *more);
/* The message waits to be sent. False: a buffer of it is gone since. */
bool il_moves_begin(il_moves *list);
void il_moves_done(il_vm *vm, il_moves *list);
void il_moves_undo(il_vm *vm, il_moves *list);

#endif
