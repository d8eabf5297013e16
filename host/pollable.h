/* pollable.h - a descriptor for one future, receiver or channel, for other event loops. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_POLLABLE_H
#define IL_POLLABLE_H

#include "state.h"

/* The descriptor of what the handle at `index` stands for: `what`, a case to receive or a future. Made at
** the first call, closed with the handle. -1: the system has no more. [-0, +0, m] */
int il_pollable_fd(il_vm *vm, lua_State *L, int index, const isolua_case *what);

#endif
