/* lcore.c - functions of the module `isolate` that belong to no type. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lib.h"

/***
Seconds on a clock that only goes forward.
@function isolate.now
@treturn number
*/
static int now(lua_State *L) {
  lua_pushnumber(L, isolua_now());
  return 1;
}

/***
Could this value be sent?
@function isolate.sendable
@param v any value
@return[1] true
@return[2] false and the error object `not_sendable`, with the field `path`
@usage print(isolate.sendable(io.stdout))
*/
static int sendable(lua_State *L) {
  int ok;
  luaL_checkany(L, 1);
  ok = isolua_sendable(L, 1);
  lua_pushboolean(L, ok);
  if (ok) return 1;
  lua_insert(L, -2);
  return 2;
}

/***
Gives a function or table a name for sending. Where the receiver gave its own value the same name (in
a module, or in `init`), that value arrives; elsewhere a copy that keeps the name.
@function isolate.register
@tparam string name
@tparam table|function value
@return the value
*/
static int register_value(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  int type = lua_type(L, 2);
  luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TFUNCTION, 2, "table or function");
  isolua_register(L, name, 2);
  lua_settop(L, 2);
  return 1;
}

/* error(code, message): the error object of an ISOLUA_… number. */
static int error_object(lua_State *L) {
  int code = (int)luaL_checkinteger(L, 1);
  isolua_pusherror(L, code, luaL_optstring(L, 2, isolua_code_message(code)), NULL);
  return 1;
}

static void set_count(lua_State *L, const char *name, size_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

/* live(): what is alive in this process, for leak checks. */
static int live(lua_State *L) {
  isolua_counts c;
  isolua_count(&c);
  lua_createtable(L, 0, 7);
  set_count(L, "isolates", c.isolates);
  set_count(L, "futures", c.futures);
  set_count(L, "messages", c.messages);
  set_count(L, "bytes", c.bytes);
  set_count(L, "threads", c.threads);
  set_count(L, "ports", c.ports);
  set_count(L, "shared", c.shared);
  return 1;
}

/* trim(): ends spare threads and waits for isolates that are ending. */
static int trim(lua_State *L) {
  isolua_trim(L);
  return 0;
}

/* terminal(): the columns of the terminal that stderr is, 80 if it does not say; or nil. */
static int terminal(lua_State *L) {
  int columns = isolua_terminal_columns();
  if (columns < 0) return 0;
  lua_pushinteger(L, columns > 0 ? columns : 80);
  return 1;
}

const luaL_Reg core_functions[] = {
  {"now", now}, {"sendable", sendable}, {"register", register_value}, {NULL, NULL}};

const luaL_Reg core_internals[] = {{"error", error_object},
                                   {"check_options", check_spawn_options},
                                   {"starter", push_starter},
                                   {"live", live},
                                   {"trim", trim},
                                   {"terminal", terminal},
                                   {NULL, NULL}};
