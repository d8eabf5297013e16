/* lib.h - the Lua types of isolate.core; each file of bindings/ makes one. */
/* SPDX-License-Identifier: MIT */
#ifndef ISOLUA_LIB_H
#define ISOLUA_LIB_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

#include "isolua_lua.h"

/* The functions of the module `isolate`, and those that its Lua code uses. Each ends with NULL. */
extern const luaL_Reg atomic_functions[], buffer_functions[], core_functions[], frozen_functions[],
  isolate_functions[], loop_functions[], port_functions[], stream_functions[], task_functions[],
  timer_functions[];
extern const luaL_Reg core_internals[], file_internals[], frozen_internals[], future_internals[],
  isolate_internals[], limit_internals[], loop_internals[], pool_internals[], port_internals[],
  stream_internals[];

/* Is the value at `index` that module? [-0, +0, -] */
bool is_module(lua_State *L, int index);
/* The module `isolate`, as scripts/isolate.lua gives it. */
int open_module(lua_State *L);
/* The isolates of `host` make handles by it. */
void join_host(isolua_host *host);

/* Each makes the metatable of a type of handles. [-0, +0, m] */
void open_atomic(lua_State *L);
void open_buffer(lua_State *L);
void open_frozen(lua_State *L);
void open_isolate(lua_State *L);
void open_pool(lua_State *L);
void open_sender(lua_State *L);
void open_channel(lua_State *L);

/* Pushes the metatable of userdata of type `name`; true: a new one, to be filled, and then kept by
** keep_type: there may be no memory for a part of it. [-0, +1, m] */
bool new_type(lua_State *L, const char *name);
/* [-0, +0, m] */
void keep_type(lua_State *L, const char *name);

/* The metatable on the top gets an `__index` that finds `methods`, and `fields` (static, ended by NULL) of
** the handle at 1: push(L, field) pushes one, or nothing (false). They never change. `brief`: a handle is
** not asked often. [-0, +0, m] */
void set_index(lua_State *L, const luaL_Reg *methods, const char *const *fields,
               bool (*push)(lua_State *L, const char *field), bool brief);
/* Is it a handle of that type (of isolua_newhandletype), open or given up? [-0, +0, m] */
bool is_a(lua_State *L, int at, const char *type);

/* A timeout argument in seconds: nothing or nil is ISOLUA_FOREVER. Raises. [-0, +0, v] */
int64_t check_timeout(lua_State *L, int arg);

/* A size in bytes, 0 or more: an integer, or a string such as "64MB". `what` begins messages. Raises.
** [-0, +0, v] */
size_t check_size(lua_State *L, int arg, const char *what);

int buffer_view(lua_State *L); /* the method of buffers */

/* A number of seconds, 0 or more, as ns; `what` for the message. Raises. [-0, +0, v] */
int64_t check_seconds(lua_State *L, int arg, const char *what);

/* What can be waited for at `index`, as a case; false: nothing. [-0, +0, -] */
bool test_future(lua_State *L, int index, isolua_case *c);
bool test_port(lua_State *L, int index, isolua_case *c);
bool test_timer(lua_State *L, int index, isolua_case *c);
bool test_isolate(lua_State *L, int index, isolua_case *c); /* its end */

/* The port that the thing at `index` sends to; raises for other things. NULL and *closed: it was given
** up. [-0, +0, v] */
isolua_port *check_sending(lua_State *L, int index, bool *closed);
int port_send(lua_State *L); /* the method of senders, channels and isolates */

/* Pushes (true, …) or (false, err) of a settled future, that of the handle at `index` if that is one,
** which then keeps it. [-0, +n, m] */
void push_outcome(lua_State *L, int index, isolua_future *future);

/* Methods of futures, receivers and channels, by which other event loops poll them. */
int poll_pollfd(lua_State *L);
int poll_events(lua_State *L);
int poll_timeout(lua_State *L);
int poll_dirty(lua_State *L);
#define POLLABLE                                                                                   \
  {"pollfd", poll_pollfd}, {"events", poll_events}, {"timeout", poll_timeout},                     \
    {"getfd", poll_pollfd}, {                                                                      \
    "dirty", poll_dirty                                                                            \
  }

/* Pushes nil and the reason for an ISOLUA_… number: closed, timeout, full. [-0, +2, -] */
int push_reason(lua_State *L, int code);

/* Pushes a new future handle for `future`, which it takes over; NULL: set_future gives it one. [-0, +1, m] */
void push_future(lua_State *L, isolua_future *future);
/* The handle at `index` gets its future, and keeps the handle of the isolate behind it, which is on the top
** (or nil). [-1, +0, -] */
void set_future(lua_State *L, int index, isolua_future *future);

/* Pushes a future that settle_future settles. [-0, +1, m] */
isolua_future *push_promise(lua_State *L);
/* Settles the local future whose handle is at `index`, with all above it: a boolean, and the results or
** the error. False: it was settled before. [-n, +0, e]: the stack is not to be used any more. */
bool settle_future(lua_State *L, int index);
/* Somebody sees to the error of the future whose handle is at `index`. [-0, +0, v] */
void look_at_future(lua_State *L, int index);
/* The handle of a local future at `index` keeps what is on the top: the traceback of its error; a
** function that is called with a reason to cancel it. [-1, +0, -] */
void set_trace(lua_State *L, int index);
void set_cancel(lua_State *L, int index);

/* Options in the table at `index`. What `o` refers to is in the table, or in four values that are pushed
** and must stay: strings, the init function, senders. [-0, +4, v] */
void check_options(lua_State *L, int index, isolua_run_options *o);

int push_starter(lua_State *L);        /* starter(table, spawns) -> a function as run, or spawn */
int check_spawn_options(lua_State *L); /* check_options(opts), for Lua code: raises */

/* Raises unless the arguments are a function, or a table of options and a function. [-0, +0, v] */
void check_function(lua_State *L);
/* Options at 1 if that is a table; what they keep is moved below index *first, where the rest of the
** arguments begins. [-0, +(0|4), v] */
void start_options(lua_State *L, isolua_run_options *o, int *first);

/* Pushes the receiver of a new port, and a sender. Raises. [-0, +2, m] */
isolua_port *push_port(lua_State *L, const char *name, lua_Integer capacity, int full);

#endif
