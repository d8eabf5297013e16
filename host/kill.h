/* kill.h - stopping the Lua code of an isolate, or of main after Ctrl-C. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_KILL_H
#define IL_KILL_H

#include "names.h"
#include "state.h"

/* The isolate was told to end and does not know it yet, or its grace is over; or main was
** interrupted: a wait ends. */
bool il_vm_wanted(il_vm *vm);
/* Raises what il_vm_wanted told. [-0, +0, v] */
int il_vm_raise(il_vm *vm, lua_State *L);
/* Raises what ends code that is evaluated, without message handlers. [-0, +0, v] */
int il_vm_cancel(lua_State *L);
/* Unwinds this isolate with `code`, as if it had been killed. [-0, +0, v] */
int il_vm_end(il_vm *vm, lua_State *L, int code);
/* Error number the isolate is told to end with; 0: none. */
int il_vm_dying(const il_vm *vm);
/* Answers what others ask of the isolate, unless it is to raise; `idle`: it is in its event loop. L
** runs, or waits. [-0, +0, -] */
void il_vm_answer(il_vm *vm, lua_State *L, bool idle);
/* The thread's vm, for the signal handler, which is called at once if the isolate is dying already. */
void il_vm_current(il_vm *vm);
void il_vm_not_current(const il_vm *vm); /* no signal finds it any more */
/* Its code is being unwound by now: what runs is closers and finalizers. */
bool il_vm_unwinding(const il_vm *vm);
/* Is the error at `index`, which ended a task or a handler of main, a Ctrl-C's? Then main's wait raises it.
** [-0, +0, m] */
bool il_vm_interrupt_again(il_vm *vm, lua_State *L, int index);
/* Is the isolate told to end, and was it not unwinding yet `before` (NULL: no)? Then what a protected call
** of ours caught goes on with il_vm_pass_on. */
bool il_vm_passes(const il_vm *vm, bool before);
int il_vm_pass_on(lua_State *L); /* [-0, +0, v] */
/* What has unwound something that goes on regardless raises again. */
void il_vm_unwind_again(il_vm *vm);
/* lua_resume, with the kill's knowledge of what runs. [-?, +?, -] */
int il_vm_resume(il_vm *vm, lua_State *L, lua_State *co, int n, int *results);
int il_vm_close_coroutine(lua_State *co);
/* The mode at `index`, an argument of load or loadfile, allows text at most from now on.
** [-0, +0, v] */
void il_vm_text_mode(lua_State *L, int index);

/* Our pcall, xpcall, load and coroutine functions, in an owned state. [-0, +0, m] */
void il_vm_open_control(lua_State *L);
void il_vm_name_control(il_std *std); /* they stand for the standard ones */
/* Finds out where this Lua keeps some of its state, once a process. */
void il_vm_probe(void);
/* Are the items 1 to `n` (a border, as lua_rawlen gives it) of the table at `index` all in its array
** part, so that lua_next goes on behind them from key n? False: perhaps not. [-0, +0, -] */
bool il_vm_is_array(lua_State *L, int index, lua_Unsigned n);

/* The hash part of the table at `index`, if all of the table is in it, of *size bytes; NULL: that cannot be told. It
** is that of the same table, unchanged, if it lies where it did and il_vm_same_hash says so of its bytes then and
** now. [-0, +0, -] */
const void *il_vm_hash_of(lua_State *L, int index, size_t *size);
bool il_vm_same_hash(const void *then, const void *now, size_t size);

#endif
