/* latomic.c - isolate.atomic: an integer that isolates share. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lib.h"

static isolua_atomic *check_atomic(lua_State *L) {
  isolua_atomic *v = isolua_atomic_of(L, 1);
  if (v == NULL) luaL_typeerror(L, 1, "atomic");
  return v;
}

/***
The integer now.
@function atomic:load
@treturn integer
*/
static int load(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)isolua_atomic_load(check_atomic(L)));
  return 1;
}

/***
Sets the integer.
@function atomic:store
@tparam integer v
*/
static int store(lua_State *L) {
  isolua_atomic *v = check_atomic(L);
  isolua_atomic_store(v, (long long)luaL_checkinteger(L, 2));
  return 0;
}

/***
Adds to the integer, in one step: of many isolates that add, none gets lost. It wraps around.
@function atomic:add
@tparam[opt=1] integer d
@treturn integer what it is then
@usage local ticket = counter:add()
*/
static int add(lua_State *L) {
  isolua_atomic *v = check_atomic(L);
  lua_pushinteger(L, (lua_Integer)isolua_atomic_add(v, (long long)luaL_optinteger(L, 2, 1)));
  return 1;
}

/***
Sets the integer to `new` if it is `old`, in one step.
@function atomic:compare_exchange
@tparam integer old
@tparam integer new
@treturn boolean was it?
@treturn integer what it was
*/
static int compare_exchange(lua_State *L) {
  isolua_atomic *v = check_atomic(L);
  long long old = (long long)luaL_checkinteger(L, 2);
  lua_pushboolean(L, isolua_atomic_exchange(v, &old, (long long)luaL_checkinteger(L, 3)));
  lua_pushinteger(L, (lua_Integer)old);
  return 2;
}

static int atomic_tostring(lua_State *L) {
  lua_pushfstring(L, ISOLUA_TATOMIC ": %I", (LUAI_UACINT)isolua_handle_id(L, 1));
  return 1;
}

/* The thing lives on: others may hold it. */
static int atomic_close(lua_State *L) {
  (void)L;
  return 0;
}

static const luaL_Reg methods[] = {{"load", load},
                                   {"store", store},
                                   {"add", add},
                                   {"compare_exchange", compare_exchange},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
  {"__tostring", atomic_tostring}, {"__close", atomic_close}, {NULL, NULL}};

static const char *const fields[] = {"id", NULL};

static bool push_field(lua_State *L, const char *field) {
  (void)field;
  lua_pushinteger(L, (lua_Integer)isolua_handle_id(L, 1));
  return true;
}

/***
An integer of 64 bits that isolates share: sent, it is the same one. It keeps nobody waiting; for a lock
take a channel of capacity 1.
@function isolate.atomic
@tparam[opt=0] integer n
@treturn atomic
@usage local counter = isolate.atomic()
*/
static int new_atomic(lua_State *L) {
  isolua_atomic_push(L, (long long)luaL_optinteger(L, 1, 0));
  return 1;
}

const luaL_Reg atomic_functions[] = {{"atomic", new_atomic}, {NULL, NULL}};

void open_atomic(lua_State *L) {
  isolua_newhandletype(L, ISOLUA_TATOMIC);
  luaL_setfuncs(L, metamethods, 0);
  set_index(L, methods, fields, push_field, false);
  lua_pop(L, 1);
}
