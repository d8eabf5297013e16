/* loop.h - an isolate's event loop: sources, ticks, coroutines, and the turns that run them. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_LOOP_H
#define IL_LOOP_H

#include "state.h"

void il_loop_init(il_loop *loop);
/* The body has ended: what is left of its coroutines is closed. [-0, +0, -] */
void il_loop_end_coros(il_vm *vm);
/* Before the state is closed: lets go of all sources, ticks and coroutines, also those of waits that
** will not return. [-0, +0, -] */
void il_loop_fini(il_vm *vm);
void il_loop_free(il_loop *loop);

/* -- What the loop watches. Owner thread. ------------------------------------------------------- */

/* `s->watch` may fire from now on, once its source has it. */
void il_source_add(il_vm *vm, il_source *s, const il_source_type *type);
/* It is unwatched, and the loop forgets it. One that was not added: nothing. */
void il_source_remove(il_vm *vm, il_source *s);

/* Room for one tick more, so that setting it cannot fail. [-0, +0, m] */
void il_tick_reserve(il_vm *vm, lua_State *L);
void il_tick_unreserve(il_vm *vm);
void il_tick_set(il_vm *vm, il_tick *t, int64_t when);
void il_tick_clear(il_vm *vm, il_tick *t);
void il_tick_live(il_vm *vm, il_tick *t, bool live);

/* -- Coroutines. Owner thread. ------------------------------------------------------------------ */

/* A coroutine for the function and the `n` arguments on the top, ready to run. [-(n+1), +0, m] */
il_coro *il_coro_new(il_vm *vm, lua_State *L, int n);
/* Is the code that runs on L the loop's coroutine itself, so that a wait may yield? NULL: no. */
il_coro *il_coro_of(il_vm *vm, lua_State *L);
void il_coro_wake(il_vm *vm, il_coro *c); /* it is resumed at the next turn */
/* Its wait, or the next one, raises; one that has not begun never does. [-0, +0, -] */
void il_coro_cancel(il_vm *vm, lua_State *L, il_coro *c);
/* Runs it now, until it waits or ends. */
void il_coro_run(il_vm *vm, lua_State *L, il_coro *c);

/* -- Running ------------------------------------------------------------------------------------ */

enum il_outcome { IL_READY, IL_TIMED_OUT, IL_ENDED, IL_CANCELLED, IL_HOPELESS };

/* Runs the loop on the stack of its caller until `until(vm, L, arg)`, or `deadline` (-1: none), or the
** isolate is told to end, or the coroutine that waits is cancelled, or nothing could ever end it. Never
** raises. [-0, +0, -] */
enum il_outcome il_loop_run(il_vm *vm, lua_State *L, bool (*until)(il_vm *, lua_State *, void *),
                            void *arg, int64_t deadline);
/* Raises what il_loop_run told. [-0, +0, v] */
int il_loop_raise(il_vm *vm, lua_State *L, enum il_outcome outcome);

/* The error object `deadlock`, which says what is waited for: the sources are still there. [-0, +1, -] */
void il_loop_pushdeadlock(lua_State *L);

/* Does what is there, at most *items things, which it is less afterwards (-1: no limit), and until `deadline`, and does not wait.
** False: the isolate is told to end. [-0, +0, -] */
bool il_loop_pump(il_vm *vm, lua_State *L, long long *items, int64_t deadline);
/* The event loop of the main isolate becomes a part of its host's pump. */
void il_loop_join_pump(il_vm *vm);
size_t il_loop_left(il_vm *vm); /* things that could be done now */
/* Sets the event of the isolate, if it has one: another event loop is to look. Nothing in a pump. */
void il_loop_announce(il_vm *vm);
int64_t il_loop_next(const il_vm *vm); /* when the next tick is due; -1: none */
/* What code it is that runs, if it must not wait; NULL: it may. */
const char *il_loop_waitless(const il_vm *vm);
/* A turn when something has fired, and now and then for timers: called where nothing waits, so that code
** that always finds something does not keep the others from running. Raises when the isolate is told to end. [-0, +0, e] */
void il_loop_breathe(il_vm *vm, lua_State *L);
/* Would that be a turn? Then what is sent and received without a wait takes the long way. */
bool il_loop_wants_turn(il_vm *vm);
/* Does nothing keep the isolate alive? */
bool il_loop_is_over(il_vm *vm);
/* Runs until nothing does; also what main awaits counts. Raises. [-0, +0, e] */
void il_loop_drain(il_vm *vm, lua_State *L);
/* Until nobody pauses the isolate, or it is told to end. [-0, +0, -] */
void il_loop_stay_paused(il_vm *vm);

/* Raises while the state is being closed: Lua calls no finalizer of a userdata made then, so what it
** holds would be lost. [-0, +0, v] */
void il_loop_check_open(il_vm *vm, lua_State *L);

#endif
