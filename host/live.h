/* live.h - what starting and talking to isolates share. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_LIVE_H
#define IL_LIVE_H

#include "state.h"

enum il_listens { IL_LISTENS_EXIT, IL_LISTENS_ERROR, IL_LISTENS_LAST };

/* A listener for the port at index `tx`, that is sent the exit message, or errors, or the value at
** `value`, of which IL_LISTENS_LAST moves the buffers. [-0, +0, e] */
il_listener *il_listener_new(il_vm *vm, lua_State *L, int tx, enum il_listens to, int value);

#endif
