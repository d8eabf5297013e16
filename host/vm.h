/* vm.h - the Lua state of an isolate: making, running, stopping and closing it. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_VM_H
#define IL_VM_H

#include <lua.h>

#include "arena.h"
#include "isolate.h"
#include "isolua_lua.h"
#include "loop.h"
#include "names.h"

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
/* encode.c's, for the end of a vm; NULL does nothing. */
void il_encoder_free(struct il_encoder *e);

/* What an isolate of ours runs (il_isolate.task): `call`, or else `source`, or else a file. */
typedef struct il_task {
  il_msg *call; /* IL_ROOT_CALL */
  char *source; /* Lua text, `length` bytes */
  size_t length;
  char *path;      /* file name, or the chunk's name of `source` */
  il_msg *setup;   /* IL_ROOT_INIT, or NULL */
  char *init;      /* module that runs first, or NULL */
  char *search[2]; /* package.path and cpath, or NULL: as they are */
  unsigned libs;
  int gc; /* LUA_GCGEN, LUA_GCINC, LUA_GCSTOP, or -1: Lua's own */
} il_task;
void il_task_free(il_task *task);
/* il_isolate.body and free_body. */
void il_vm_body(il_isolate *i, void *spare);
void il_vm_free_task(il_isolate *i);

/* The message handler of bodies and handlers: notes the traceback in vm->traceback and leaves the error
** value as it is. [a lua_CFunction] */
int il_vm_traceback(lua_State *L);
/* A handler of the event loop raised the value at index 1 and nobody caught it: main logs it, an
** isolate ends with it. [-0, +0, e] */
void il_vm_handler_failed(il_vm *vm, lua_State *L);

/* Takes a state made elsewhere as the main isolate of `host`; il_vm_detach undoes it. */
int il_vm_attach(isolua_host *host, lua_State *L);
void il_vm_detach(il_vm *vm);

/* -- vm_kill.c ---------------------------------------------------------------------------------- */

/* The isolate was told to end and does not know it yet, or its grace is over; or main was
** interrupted: a wait ends. */
bool il_vm_wanted(il_vm *vm);
/* Raises what il_vm_wanted told. [-0, +0, v] */
int il_vm_raise(il_vm *vm, lua_State *L);
/* Unwinds this isolate with `code`, as if it had been killed. [-0, +0, v] */
int il_vm_end(il_vm *vm, lua_State *L, int code);
/* Error number the isolate is told to end with; 0: none. */
int il_vm_dying(const il_vm *vm);
/* The thread's vm, for the signal handler, which is called at once if the isolate is dying already. */
void il_vm_current(il_vm *vm);
void il_vm_not_current(const il_vm *vm); /* no signal finds it any more */
/* Has the isolate been told to end since il_vm_dying was `before`? Then what a protected call of ours
** caught goes on with il_vm_pass_on. */
bool il_vm_passes(const il_vm *vm, int before);
int il_vm_pass_on(lua_State *L); /* [-0, +0, v] */
/* Our pcall, xpcall, load and coroutine functions, in an owned state. [-0, +0, m] */
void il_vm_open_control(lua_State *L);
void il_vm_name_control(il_std *std); /* they stand for the standard ones */
/* Finds out where this Lua keeps some of its state, once a process. */
void il_vm_probe(void);
/* Are the items 1 to `n` (a border, as lua_rawlen gives it) of the table at `index` all in its array
** part, so that lua_next goes on behind them from key n? False: perhaps not. [-0, +0, -] */
bool il_vm_is_array(lua_State *L, int index, lua_Unsigned n);

/* -- vm_lib.c ----------------------------------------------------------------------------------- */

/* print, os.exit, os.execute, io.popen of an isolate. [-0, +0, m] */
void il_vm_open_library(lua_State *L);
void il_vm_open_print(lua_State *L); /* print alone */
void il_vm_name_library(il_std *std);

#endif
