/* loop.h - an isolate's event loop: waits, and handlers called when something is ready. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_LOOP_H
#define IL_LOOP_H

#include <lua.h>

#include "future.h"
#include "wait.h"

struct il_vm;

/* What the loop calls when the watch of a source has fired. Owner thread. */
typedef struct il_source il_source;
struct il_source {
  il_watch watch; /* first */
  isolua_future *future;
  int handler; /* registry reference of a function to call; LUA_NOREF: it only wakes a wait */
  il_source *prev, *next; /* the loop's list */
};

typedef struct il_loop {
  il_watch *taken;    /* fired watches that are still to be dispatched, oldest first */
  il_source *sources; /* all of them */
  int handlers;       /* those with one */
  bool closed;        /* the state is being closed: no more handlers */
  int running;        /* how deep waits are nested */
} il_loop;

void il_loop_init(il_loop *loop);
/* Before the state is closed: lets go of all sources, also those of waits that will not return. */
void il_loop_fini(struct il_vm *vm);

/* Runs the loop until `until(arg)`, or `deadline` (-1: none): false. Raises when the isolate is told
** to end. [-0, +0, e] */
bool il_loop_run(struct il_vm *vm, lua_State *L, bool (*until)(struct il_vm *, void *), void *arg,
                 int64_t deadline);

/* A future is awaited until it is done or the deadline comes: then false. [-0, +0, e] */
bool il_loop_await(struct il_vm *vm, lua_State *L, isolua_future *f, int64_t deadline);

/* Calls the function on the top when the future is done. [-1, +0, m] */
void il_loop_on_done(struct il_vm *vm, lua_State *L, isolua_future *f);

#endif
