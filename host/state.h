/* state.h - what is kept of one Lua state, for all that works on it. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_STATE_H
#define IL_STATE_H

#include <lua.h>

#include "arena.h"
#include "isolate.h"
#include "isolua_lua.h"

struct il_vm;

/* -- names.c ------------------------------------------------------------------------------------ */

/* A set of addresses that may have a name: a miss says for sure that there is none. */
typedef struct il_names {
  const void **filter;
  size_t mask, count; /* of filter, which is a power of two long; mask 0: none yet */
  bool opened;        /* what was loaded at the start was looked at */
  bool pending;       /* a module was put into package.loaded by hand since the last look */
} il_names;

/* -- loop.c ------------------------------------------------------------------------------------- */

/* What the loop calls when the watch of a source has fired. Owner thread. */
typedef struct il_source il_source;
struct il_source {
  il_watch watch; /* first */
  isolua_future *future;
  int handler; /* registry reference of a function to call; LUA_NOREF: it only wakes a wait */
  il_source *prev, *next; /* the loop's list */
};

typedef struct il_loop {
  il_watch *taken;         /* fired watches that are still to be dispatched, oldest first */
  il_source *sources;      /* all of them */
  int handlers;            /* those with one */
  bool closed;             /* the state is being closed: no more handlers */
  lua_CFunction traceback; /* message handler of handlers */
  void (*failed)(struct il_vm *vm, lua_State *L); /* one raised the value at index 1 */
} il_loop;

/* -- The whole ---------------------------------------------------------------------------------- */

struct il_encoder;

/* Owner thread only, but for `running` and the isolate, which the signal handler reads. */
typedef struct il_vm {
  lua_State *L; /* its main thread */
  bool owned;   /* made here: our allocator, pcall, coroutine functions */
  isolua_host *host;
  il_isolate *isolate;         /* one hold; NULL in a spare state */
  lua_State *volatile running; /* the coroutine that runs, as our resume knows it */
  il_arena arena;              /* its heap, unless the host has an allocator of its own */
  size_t used, cap;            /* bytes of its heap; 0: no cap */
  unsigned libs;               /* standard libraries it has, bits of il_libs */
  il_names names;
  il_loop loop;
  struct il_encoder *encoder; /* kept between sends; NULL while in use or before the first */
  il_result failure;          /* what ended it, when its own code or a handler did */
  bool forced;                /* the signal handler let a hook run where Lua allows none */
  int closes;                 /* coroutines being closed, one in the other */
  char *traceback;            /* of the error that is under way in the body */
  char *remote;               /* traceback of the error last raised out of a future, whose value
                                  is kept in the registry */
  char warning[256];          /* what `warn` has said of a message so far */
  bool warn;                  /* warnings are on */
} il_vm;

/* The vm of a state; NULL when it is not attached. [-0, +0, -] */
il_vm *il_vm_of(lua_State *L);
il_vm *il_vm_check(lua_State *L); /* raises when it is not attached */

/* Registry key: what `open` left in package.preload. */
extern char il_base_preload;

#endif
