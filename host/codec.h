/* codec.h - Lua values to messages and back. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_CODEC_H
#define IL_CODEC_H

#include "state.h"

/* What the values on the stack are, for the paths in refusals. */
enum il_root {
  IL_ROOT_MESSAGE, /* one value: message.a.b */
  IL_ROOT_RESULT,  /* result #1, … */
  IL_ROOT_ERROR,   /* one value: error */
  IL_ROOT_FROZEN,  /* one value: value.a.b */
  IL_ROOT_INIT,    /* init (function or nil); entries of package.preload go along */
  IL_ROOT_CALL,    /* function, argument #1, … */
  IL_ROOT_FILE     /* argument #1, …, of a file's chunk */
};

typedef struct il_sending {
  enum il_root root;
  unsigned libs; /* of the receiver, if that is known: else all */
  bool capture;  /* globals that functions name go along */
  bool strip;    /* code without debug information */
  bool
    share; /* code that was sent before goes as a block, not as bytes: for one receiver after the other */
  bool move;  /* buffers are moved, not copied */
  bool copy;  /* and none is moved, though it be marked */
  bool plain; /* data only: no code, no metatables, no handles */
  int hidden; /* of a call: values before the function that the user gave */
} il_sending;

/* Encodes the `n` values on the top of the stack as one send. ISOLUA_OK: pops them, and *out is the
** caller's. Else pops them, pushes an error object and returns its code; nothing was sent. Calls
** __isolate_pack methods. [-n, +0|1, -] */
int il_encode(il_vm *vm, lua_State *L, int n, const il_sending *how, il_msg **out);

/* The same of a message that waits to be sent: *moves, which the caller ends (buffer.h), are the buffers that it
** takes along; il_encode takes them at once. */
struct il_moves;
int il_encode_waiting(il_vm *vm, lua_State *L, int n, const il_sending *how, il_msg **out,
                      struct il_moves **moves);

/* What a state keeps between sends; NULL does nothing. */
void il_encoder_free(struct il_encoder *e);

/* Pushes the values of `m` (as many as were sent). Raises when one cannot be made here: then `m` is
** still the caller's, who keeps it in a box. Calls unpackers. [-0, +n, e] */
int il_decode(il_vm *vm, lua_State *L, const il_msg *m);

/* The same of a message that others may decode too: buffers in it are copied. */
int il_decode_kept(il_vm *vm, lua_State *L, const il_msg *m);

/* A userdata on the stack that frees the message it is given, whatever happens. [-0, +1, m] */
il_msg **il_box_push(lua_State *L);

/* -- Reading without Lua ------------------------------------------------------------------------ */

typedef struct il_scalar {
  int type;          /* ISOLUA_T… */
  long long integer; /* also a boolean */
  double number;
  const char *string;
  size_t length;
} il_scalar;

void il_msg_scalar(const il_msg *m, size_t i, il_scalar *out); /* 0-based */

/* -- Handles ------------------------------------------------------------------------------------ */

/* The thing behind a handle at `index`, NULL for any other value. [-0, +0, -] */
il_handle *il_handle_test(lua_State *L, int index);
bool il_handle_is_closed(lua_State *L, int index); /* a handle that was given up [-0, +0, -] */
/* Pushes the one userdata of this state for `h` (adding a hold when it is made). [-0, +1, m] */
void il_handle_push(lua_State *L, il_handle *h);
/* The same, and gives up `hold`, whatever raises. [-0, +1, e] */
void il_handle_push_held(lua_State *L, il_handle *h, il_handle *hold);
/* The handle at `index` gives up its hold now: it stands for nothing any more. [-0, +0, -] */
void il_handle_giveup(lua_State *L, int index);

#endif
