/* vm.h - the Lua state of an isolate: making, running, stopping and closing it. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_VM_H
#define IL_VM_H

#include "names.h"
#include "state.h"

/* package.path and cpath of whoever starts isolates: one copy for all of these. */
typedef struct il_search {
  char *text[2];    /* fixed; NULL: as they are */
  atomic_int holds; /* tasks and the vm that made it; acq_rel */
} il_search;
/* Those of the state, with a hold; NULL: no memory. [-0, +0, m] */
il_search *il_search_of(il_vm *vm, lua_State *L);
void il_search_release(il_search *s); /* or NULL */

/* What an isolate of ours runs (il_isolate.task): `function`, or `call`, or else `source`, or else a file. */
typedef struct il_task {
  il_msg *call; /* IL_ROOT_CALL; the arguments, or NULL, when there is a function or a path */
  char *source; /* Lua text, `length` bytes */
  size_t length;
  char *path;             /* file name, or the chunk's name of `source` */
  il_msg *setup;          /* IL_ROOT_INIT, or NULL */
  char *init;             /* module that runs first, or NULL */
  lua_CFunction function; /* or NULL */
  il_search *search;      /* one hold; or NULL */
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
/* The value on the top, an error, has that traceback (NULL: none) in front of that of where it is. [-0, +0, m] */
void il_vm_set_remote(il_vm *vm, lua_State *L, const char *traceback);
/* After a call that ended with `status`: the results, or the error value, above `base` are popped, and become
** *r. False: there is no memory for that. [-n, +0, -] */
bool il_vm_result(il_vm *vm, lua_State *L, int base, int status, il_result *r);
/* What is said of `subject`, which ended with that error of the library's, in memory of malloc; NULL: nothing. */
char *il_end_text(const char *subject, int code);
/* Takes *m, and pushes what is in it; how many. [-0, +n, e] */
int il_vm_decode_owned(il_vm *vm, lua_State *L, il_msg **m);
/* A handler of the event loop raised the value at index 1 and nobody caught it: main logs it, an
** isolate ends with it. [-0, +0, e] */
void il_vm_handler_failed(il_vm *vm, lua_State *L);

/* The same of an error of a task that nobody looked at (il_future_new's `lost`). */
void il_vm_task_lost(isolua_future *f);

/* Takes a state made elsewhere as the main isolate of `host`; il_vm_detach undoes it. */
int il_vm_attach(isolua_host *host, lua_State *L);
void il_vm_detach(il_vm *vm);

/* -- vm_lib.c ----------------------------------------------------------------------------------- */

/* print, os.exit, os.execute, io.popen of an isolate. [-0, +0, m] */
void il_vm_open_library(lua_State *L);
void il_vm_open_print(lua_State *L); /* print alone */
void il_vm_name_library(il_std *std);

/* -- require.c ---------------------------------------------------------------------------------- */

/* `require` asks the host's `load`, after package.preload. [-0, +0, m] */
void il_vm_open_loader(lua_State *L);

/* -- sandbox.c --------------------------------------------------------------------------------- */

/* As luaL_openlibs, without the libraries that the flags forbid. [-0, +0, e] */
void il_sandbox_openlibs(lua_State *L, unsigned forbid);
/* Takes single functions and searchers away, in a fresh state. [-0, +0, m] */
void il_sandbox_apply(lua_State *L, unsigned forbid);
void il_sandbox_name(il_std *std, unsigned forbid);

/* -- gate_lib.c --------------------------------------------------------------------------------- */

/* C modules are loaded by one isolate at a time. [-0, +0, m] */
void il_vm_open_gate(lua_State *L);

#endif
