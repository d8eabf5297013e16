/* freeze.h - userdata that stand for frozen tables; for the codec. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_FREEZE_H
#define IL_FREEZE_H

#include "frozen.h"
#include "state.h"

/* The frozen table behind the userdata at `index`; NULL: another value. [-0, +0, -] */
il_frozen_table *il_freeze_test(lua_State *L, int index);
/* Pushes the one userdata of this state for a frozen table. [-0, +1, e] */
void il_freeze_push(lua_State *L, il_frozen_table *t);

#endif
