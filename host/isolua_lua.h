/* isolua_lua.h - isolua for C code that has a lua_State in its hands. */
/* SPDX-License-Identifier: MIT */
#ifndef ISOLUA_LUA_H
#define ISOLUA_LUA_H

/*
** To isolua.h as lauxlib.h is to lua.h: what Lua bindings and hosts with a Lua state need. The
** executable and the Lua module are written with these two headers alone.
**
** Thread: every function with a lua_State runs on the thread that owns that state. Each is tagged
** as in the Lua manual: [-popped, +pushed, how it raises].
*/

#include "isolua.h"
#include <lua.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- States ------------------------------------------------------------------------------------ */

/*
** isolua_host_set_open: `open` is called (as a C function, protected, without arguments) in every
**   fresh state of the host after the standard libraries, to add preloaded modules. Call it before
**   the first isolate starts. Thread: the opener of the host.
** isolua_host_set_types: names the module (a string that stays) which makes the metatables of handles
**   when it is required; an isolate that gets a handle before that requires it. Thread: any.
** isolua_main_open: makes a Lua state with all libraries for the calling thread and attaches it as
**   the host's main isolate. Its allocator is the host's. Gives *L, closed by isolua_main_close.
**   Errors: ISOLUA_MEMORY, ISOLUA_INVALID (the host has a main isolate).
** isolua_main_close: closes that state and detaches it. Isolates go on.
** isolua_attach: makes a state that you made the main isolate of `host`; with host NULL, of a new
**   host that logs to stderr and closes with the state. Adds registry entries and a metatable on
**   package.loaded; changes nothing else. [-0, +0, -]. Errors: ISOLUA_MEMORY, ISOLUA_INVALID.
** isolua_host_of: the host of an attached state or isolate, NULL for any other. [-0, +0, -]
** isolua_is_main: 1 in a main isolate, 0 in another isolate and in a state that is not attached.
*/
ISOLUA_API void isolua_host_set_open(isolua_host *host, lua_CFunction open);
ISOLUA_API void isolua_host_set_types(isolua_host *host, const char *module);
ISOLUA_API int isolua_main_open(isolua_host *host, lua_State **L);
ISOLUA_API void isolua_main_close(lua_State *L);
ISOLUA_API int isolua_attach(isolua_host *host, lua_State *L);
ISOLUA_API isolua_host *isolua_host_of(lua_State *L);
ISOLUA_API int isolua_is_main(lua_State *L);

/* -- Errors ------------------------------------------------------------------------------------ */

/*
** isolua_pusherror: pushes an error object {code=, message=, isolate=}; `isolate` may be NULL.
**   [-0, +1, m]
** isolua_pushtraceback: pushes the traceback of L with the error value at `index` in front, and
**   before it, when this error came out of an isolate, the traceback from there. [-0, +1, m]
*/
ISOLUA_API void isolua_pusherror(lua_State *L, int code, const char *message, const char *isolate);
ISOLUA_API void isolua_pushtraceback(lua_State *L, int index, int level);

/* -- Sending ----------------------------------------------------------------------------------- */

/*
** isolua_sendable: 1 when the value at `index` could be sent; else 0, and pushes the error object.
**   [-0, +0|1, m]
** isolua_register: gives the value at `index` (table or function) a name for sending, in this
**   state. A name that stands for another value is given anew. [-0, +0, m]
*/
ISOLUA_API int isolua_sendable(lua_State *L, int index);
ISOLUA_API void isolua_register(lua_State *L, const char *name, int index);

/* -- Running ----------------------------------------------------------------------------------- */

/* Options of isolua_run beside those of isolua.h. Zero means the default. */
typedef struct isolua_run_options {
  isolua_options base; /* its `size` is sizeof(isolua_options) */
  int init;       /* stack index of a function that runs first (instead of base.init); 0 none */
  int no_globals; /* 1: capture no globals */
  int strip;      /* 1: send code without its debug information */
} isolua_run_options;

/*
** isolua_run: runs the function at `index` with the `nargs` values above it (which end the stack)
**   in a fresh isolate. ISOLUA_OK: pops function and arguments, and *future is the caller's. Else
**   nothing is started, function and arguments are popped, and an error object is pushed.
**   [-(nargs+1), +0|1, m]
** isolua_exit: ends the isolate of L now. Raises in main. Does not return. [-0, +0, v]
*/
ISOLUA_API int isolua_run(lua_State *L, const isolua_run_options *options, int index, int nargs,
                          isolua_future **future);
ISOLUA_API int isolua_exit(lua_State *L);

/*
** isolua_future_new: a future that this state settles itself: the caller's. NULL: no memory.
** isolua_future_settle: settles one made by isolua_future_new, with results (`ok`) or an error that
**   was raised at `traceback` (copied; may be NULL); 0 when it was settled before. The values stay
**   with the caller: isolua_future_push gives none.
** isolua_future_await: runs the event loop of L until the future is settled (ISOLUA_OK) or `timeout`
**   ns are over (ISOLUA_TIMEOUT). Raises when this isolate is interrupted. [-0, +0, e]
** isolua_future_push: pushes what a settled future holds: ISOLUA_OK and its values, or its error
**   number and the one error value. [-0, +n, m]
** isolua_future_look: says that somebody sees to the future's error, so that it will not be logged.
** isolua_future_raise: raises the value on the top of the stack, remembering `traceback` (may be
**   NULL) for isolua_pushtraceback. [-1, +0, v]
** isolua_future_on_done: calls the function on the top of the stack, without arguments, from the
**   event loop of L once the future is settled. [-1, +0, m]
** isolua_future_is_local: 1 when it was made by isolua_future_new.
*/
ISOLUA_API isolua_future *isolua_future_new(lua_State *L);
ISOLUA_API int isolua_future_settle(isolua_future *future, int ok, const char *traceback);
ISOLUA_API int isolua_future_await(lua_State *L, isolua_future *future, int64_t timeout);
ISOLUA_API int isolua_future_push(lua_State *L, isolua_future *future);
ISOLUA_API void isolua_future_look(isolua_future *future);
ISOLUA_API int isolua_future_raise(lua_State *L, const char *traceback);
ISOLUA_API void isolua_future_on_done(lua_State *L, isolua_future *future);
ISOLUA_API int isolua_future_is_local(const isolua_future *future);

/* -- The event loop ---------------------------------------------------------------------------- */

/*
** isolua_drain: runs the event loop of L until no handler and, in main, no future of isolua_run is
**   left to wait for. [-0, +0, e]
** isolua_interrupt: makes L, a state of isolua_main_open, raise `interrupted` as soon as it runs Lua
**   code or waits. Safe in a signal handler on any thread, while L is open.
** isolua_host_failed: 1 when an error was logged that nobody caught: of a future that nobody looked
**   at, or in a handler of main. Thread: any.
** isolua_now: seconds on a monotonic clock.
*/
ISOLUA_API void isolua_drain(lua_State *L);
ISOLUA_API void isolua_interrupt(lua_State *L);
ISOLUA_API int isolua_host_failed(const isolua_host *host);
ISOLUA_API double isolua_now(void);

/* -- Handles ----------------------------------------------------------------------------------- */

/*
** A handle is a userdata that stands for a counted thing of the library: sent, it arrives as the
** same thing; two handles of one thing in one state are one userdata. The binding of each type gives
** it methods.
**
** isolua_newhandletype: pushes the metatable of handles of type `name`, made at the first call (then
**   returns 1). Fill in __index, __tostring, …; __gc, __name and __metatable are set. [-0, +1, m]
** isolua_checkhandle: the thing behind the handle at `index`; raises for anything else.
*/
typedef struct isolua_isolate isolua_isolate;
#define ISOLUA_TISOLATE "isolate.isolate"

ISOLUA_API int isolua_newhandletype(lua_State *L, const char *name);
ISOLUA_API void *isolua_checkhandle(lua_State *L, int index, const char *name);

/*
** isolua_future_pushisolate: pushes the handle of the isolate behind a future, or nil. [-0, +1, m]
** isolua_pushself: pushes the handle of the isolate of L. [-0, +1, m]
** isolua_isolate_id, _name, _status: of an isolate. The strings are the isolate's, or static.
*/
ISOLUA_API void isolua_future_pushisolate(lua_State *L, isolua_future *future);
ISOLUA_API void isolua_pushself(lua_State *L);
ISOLUA_API long long isolua_isolate_id(const isolua_isolate *isolate);
ISOLUA_API const char *isolua_isolate_name(const isolua_isolate *isolate);
ISOLUA_API const char *isolua_isolate_status(isolua_isolate *isolate);

/* Ends spare threads, and waits until every isolate that is ending has ended. [-0, +0, -] */
ISOLUA_API void isolua_trim(lua_State *L);

/* -- The Lua module ---------------------------------------------------------------------------- */

/*
** luaopen_isolate_core: the module "isolate.core", on which the Lua modules stand. Attaches a state
**   that is not attached.
** isolua_open_modules: an `open` callback that preloads "isolate" and all its parts. In the
**   executable and the C library; not in the Lua module.
*/
ISOLUA_API int luaopen_isolate_core(lua_State *L);
ISOLUA_API int isolua_open_modules(lua_State *L);

#ifdef __cplusplus
}
#endif
#endif
