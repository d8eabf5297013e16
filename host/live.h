/* live.h - what starting and talking to isolates share. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_LIVE_H
#define IL_LIVE_H

#include "state.h"

/* A listener for the port at index `tx`, that is sent the exit message, or errors, or the value at
** `value`; in a list before `next`. Raises, and then `next` is freed. [-0, +0, e] */
il_listener *il_listener_new(il_vm *vm, lua_State *L, int tx, bool error, int value,
                             il_listener *next);

#endif
