/* loop.h - an isolate's event loop: waits, and handlers called when something is ready. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_LOOP_H
#define IL_LOOP_H

#include "state.h"

void il_loop_init(il_loop *loop);
/* Before the state is closed: lets go of all sources, also those of waits that will not return. */
void il_loop_fini(il_vm *vm);

/* Runs the loop until `until(arg)`, or `deadline` (-1: none): false. Raises when the isolate is told
** to end. [-0, +0, e] */
bool il_loop_run(il_vm *vm, lua_State *L, bool (*until)(il_vm *, void *), void *arg,
                 int64_t deadline);

/* Raises while the state is being closed: Lua calls no finalizer of a userdata made then, so what it
** holds would be lost. [-0, +0, v] */
void il_loop_check_open(il_vm *vm, lua_State *L);

/* A future is awaited until it is done or the deadline comes: then false. [-0, +0, e] */
bool il_loop_await(il_vm *vm, lua_State *L, isolua_future *f, int64_t deadline);

/* Calls the function on the top when the future is done. [-1, +0, m] */
void il_loop_on_done(il_vm *vm, lua_State *L, isolua_future *f);

#endif
