/* lfrozen.c - isolate.freeze: tables that isolates share and read in place. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lib.h"

static int frozen_index(lua_State *L) {
  isolua_frozen_get(L, 1, 2);
  return 1;
}

static int frozen_newindex(lua_State *L) {
  return luaL_error(L, "a frozen table cannot be changed: change a copy of it, isolate.thaw(t)");
}

static int frozen_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)isolua_frozen_length(L, 1));
  return 1;
}

/* Upvalue: how far it is. */
static int next_pair(lua_State *L) {
  long long at = (long long)lua_tointeger(L, lua_upvalueindex(1));
  int more = isolua_frozen_next(L, 1, &at);
  lua_pushinteger(L, (lua_Integer)at);
  lua_replace(L, lua_upvalueindex(1));
  return more ? 2 : 0;
}

/* frozen_next(t, at) -> at, key, value | nil: isolua_frozen_next. */
static int frozen_next(lua_State *L) {
  long long at = (long long)luaL_checkinteger(L, 2);
  luaL_checkudata(L, 1, ISOLUA_TFROZEN);
  lua_settop(L, 2);
  if (!isolua_frozen_next(L, 1, &at)) return 0;
  lua_pushinteger(L, (lua_Integer)at);
  lua_replace(L, 2);
  return 3;
}

static int frozen_pairs(lua_State *L) {
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_pair, 1);
  lua_pushvalue(L, 1);
  return 2;
}

static int frozen_tostring(lua_State *L) {
  lua_pushfstring(L, ISOLUA_TFROZEN ": %I", (LUAI_UACINT)isolua_frozen_id(L, 1));
  return 1;
}

/* It lives on: others may have it. */
static int frozen_close(lua_State *L) {
  (void)L;
  return 0;
}

static const luaL_Reg metamethods[] = {{"__index", frozen_index},
                                       {"__newindex", frozen_newindex},
                                       {"__len", frozen_len},
                                       {"__pairs", frozen_pairs},
                                       {"__tostring", frozen_tostring},
                                       {"__close", frozen_close},
                                       {NULL, NULL}};

/***
An immutable copy of a table and all in it, outside every Lua heap. Isolates that it is sent to share
it, and read it in place as a table: `t.k`, `t[i]`, `#t`, `pairs`, `ipairs`. Functions, metatables and
handles in it are refused. Values that are immutable already are given back as they are.
@function isolate.freeze
@param v
@return the frozen one
@usage local config = isolate.freeze{ colours = { "red", "green" } }
*/
static int freeze(lua_State *L) {
  luaL_checkany(L, 1);
  isolua_freeze(L, 1);
  return 1;
}

/***
A plain copy of a frozen table, with all in it. Other values are given back as they are.
@function isolate.thaw
@param v
@return the copy
*/
static int thaw(lua_State *L) {
  luaL_checkany(L, 1);
  isolua_thaw(L, 1);
  return 1;
}

const luaL_Reg frozen_functions[] = {{"freeze", freeze}, {"thaw", thaw}, {NULL, NULL}};

void open_frozen(lua_State *L) {
  isolua_newfrozentype(L, ISOLUA_TFROZEN);
  luaL_setfuncs(L, metamethods, 0);
  lua_pop(L, 1);
}

const luaL_Reg frozen_internals[] = {{"frozen_next", frozen_next}, {NULL, NULL}};
