/* handler.h - functions that the event loop calls: when a future settles, with messages, by timers. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_HANDLER_H
#define IL_HANDLER_H

#include "select.h"

/* Calls the function on the top when the future is done. [-1, +0, m] */
void il_on_done(il_vm *vm, lua_State *L, isolua_future *f);

/* The handler of a port is freed with its receiver; this state's of a channel when it is no longer set. */
typedef struct il_handler il_handler;

/* The handler of a port, made if need be. [-0, +0, m] */
il_handler *il_handler_of(il_vm *vm, lua_State *L, il_port *p);
/* It calls the function on the top from now on, or nothing (nil); `index`: what is kept meanwhile.
** [-1, +0, m] */
void il_handler_set(il_vm *vm, lua_State *L, il_handler *h, int index);
bool il_handler_is_set(il_vm *vm, const il_port *p);
/* Of a channel: of the function that is set, else nothing. [-0, +0, m] */
void il_handler_keep(il_vm *vm, lua_State *L, il_port *p, bool keep);
void il_handler_drop(il_vm *vm, lua_State *L, il_port *p);

#endif
