/* lib.h - the Lua types of isolate.core; each file of bindings/ makes one. */
/* SPDX-License-Identifier: MIT */
#ifndef ISOLUA_LIB_H
#define ISOLUA_LIB_H

#include <lua.h>

#include "isolua_lua.h"

/* Each adds its functions to the table on the top. [-0, +0, m] */
void open_future(lua_State *L);
void open_isolate(lua_State *L);

/* A timeout argument in seconds: nothing or nil is ISOLUA_FOREVER. Raises. [-0, +0, v] */
int64_t check_timeout(lua_State *L, int arg);

/* Pushes a new future handle for `future`, which it takes over. [-0, +1, m] */
void push_future(lua_State *L, isolua_future *future);

/* Options in the table at `index`. Strings in `o` are those of the table or of `keep`, a table that
** is pushed and must stay. [-0, +1, v] */
void check_options(lua_State *L, int index, isolua_run_options *o);

#endif
