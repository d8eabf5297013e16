/* llazy.c - modules and metatables whose parts are made when they are asked for. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "lib.h"

/*
** DESIGN. Every isolate that requires `isolate` has its own tables of it. Filled, they would take more
** memory than all standard libraries, and most isolates use three functions. So a module is an empty
** table whose `__index` finds a function among the lists below, or in a module of Lua code, and keeps
** it there; and the metatable of a type is made with its first object.
*/

#define PUBLIC                                                                                     \
  atomic_functions, buffer_functions, core_functions, frozen_functions, isolate_functions,         \
    loop_functions, port_functions, stream_functions, task_functions, timer_functions

/* Those of the module `isolate`. */
static const luaL_Reg *const public_lists[] = {PUBLIC, NULL};

/* And those that its Lua code uses. */
static const luaL_Reg *const all_lists[] = {PUBLIC,           core_internals,   file_internals,
                                            frozen_internals, future_internals, isolate_internals,
                                            limit_internals,  loop_internals,   pool_internals,
                                            port_internals,   stream_internals, NULL};

static lua_CFunction find(const luaL_Reg *const *lists, const char *name) {
  for (; *lists != NULL; lists++)
    for (const luaL_Reg *f = *lists; f->name != NULL; f++)
      if (strcmp(f->name, name) == 0) return f->func;
  return NULL;
}

/* The table at 1 keeps the value on the top as its field `key`. [-0, +0, m] */
static int keep(lua_State *L, const char *key) {
  lua_pushstring(L, key);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

static void make(lua_State *L, lua_CFunction index, lua_CFunction pairs) {
  lua_newtable(L);
  lua_createtable(L, 0, pairs != NULL ? 2 : 1);
  lua_pushcfunction(L, index);
  lua_setfield(L, -2, "__index");
  if (pairs != NULL) {
    lua_pushcfunction(L, pairs);
    lua_setfield(L, -2, "__pairs");
  }
  lua_setmetatable(L, -2);
}

/* -- isolate.core ------------------------------------------------------------------------------ */

static const struct {
  const char *name;
  void (*open)(lua_State *L);
} types[] = {{ISOLUA_TATOMIC, open_atomic},   {ISOLUA_TBUFFER, open_buffer},
             {ISOLUA_TFROZEN, open_frozen},   {ISOLUA_TISOLATE, open_isolate},
             {ISOLUA_TPOOL, open_pool},       {ISOLUA_TSENDER, open_sender},
             {ISOLUA_TCHANNEL, open_channel}, {NULL, NULL}};

static int open_type(lua_State *L) {
  types[lua_tointeger(L, 1)].open(L);
  return 0;
}

/* One that could not be filled is not there, so that it is opened anew. [-0, +0, e] */
static void check_open(lua_State *L, size_t type) {
  lua_pushcfunction(L, open_type);
  lua_pushinteger(L, (lua_Integer)type);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  lua_pushnil(L);
  lua_setfield(L, LUA_REGISTRYINDEX, types[type].name);
  lua_error(L);
}

/* A function; or the name of a type, whose metatable is there then. */
static int core_index(lua_State *L) {
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  lua_CFunction f = find(all_lists, key);
  if (f != NULL) {
    lua_pushcfunction(L, f);
    return keep(L, key);
  }
  for (size_t i = 0; types[i].name != NULL; i++) {
    if (strcmp(types[i].name, key) != 0) continue;
    check_open(L, i);
    lua_pushboolean(L, 1);
    return 1;
  }
  return 0;
}

/* -- isolate ----------------------------------------------------------------------------------- */

/* Its functions in Lua, and the modules that have them. */
static const struct {
  const char *name, *module;
} parts[] = {{"all", "isolate.futures"},
             {"race", "isolate.futures"},
             {"as_completed", "isolate.futures"},
             {"map", "isolate.pools"},
             {"pool", "isolate.pools"},
             {"port", "isolate.ports"},
             {"scope", "isolate.scopes"},
             {"stream_of", "isolate.streams"},
             {"supervisor", "isolate.supervisors"},
             {"progress", "isolate.progress"},
             {NULL, NULL}};

static int module_index(lua_State *L) {
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  lua_CFunction f = find(public_lists, key);
  if (f != NULL) {
    lua_pushcfunction(L, f);
    return keep(L, key);
  }
  for (size_t i = 0; parts[i].name != NULL; i++) {
    if (strcmp(parts[i].name, key) != 0) continue;
    isolua_require(L, parts[i].module);
    lua_getfield(L, -1, key);
    return keep(L, key);
  }
  return 0;
}

static int next_field(lua_State *L) {
  lua_settop(L, 2);
  return lua_next(L, 1) ? 2 : 0;
}

/* Gets every field, so that they are all there. */
static int module_pairs(lua_State *L) {
  lua_settop(L, 1);
  for (const luaL_Reg *const *list = public_lists; *list != NULL; list++) {
    for (const luaL_Reg *f = *list; f->name != NULL; f++) {
      lua_getfield(L, 1, f->name);
      lua_pop(L, 1);
    }
  }
  for (size_t i = 0; parts[i].name != NULL; i++) {
    lua_getfield(L, 1, parts[i].name);
    lua_pop(L, 1);
  }
  lua_pushcfunction(L, next_field);
  lua_pushvalue(L, 1);
  return 2;
}

/* module(): a new table for the module `isolate`. */
static int module(lua_State *L) {
  make(L, module_index, module_pairs);
  return 1;
}

bool is_module(lua_State *L, int index) {
  bool is;
  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
  lua_pushliteral(L, "__index");
  lua_rawget(L, -2);
  is = lua_tocfunction(L, -1) == module_index;
  lua_pop(L, 2);
  return is;
}

/* is_module(v) */
static int test_module(lua_State *L) {
  lua_pushboolean(L, is_module(L, 1));
  return 1;
}

int open_module(lua_State *L) {
  isolua_require(L, "isolate.core");
  lua_pop(L, 1);
  return module(L);
}

void join_host(isolua_host *host) {
  isolua_host_set_module(host, "isolate.core", all_lists);
}

int luaopen_isolate_core(lua_State *L) {
  if (isolua_version() != ISOLUA_VERSION_NUMBER)
    luaL_error(L, "isolate.core is for isolua %d, but the library is %d", ISOLUA_VERSION_NUMBER,
               isolua_version());
  if (isolua_host_of(L) == NULL && isolua_attach(NULL, L) != ISOLUA_OK)
    return luaL_error(L, "isolate.core: no memory to attach this Lua state");
  join_host(isolua_host_of(L));
  make(L, core_index, NULL);
  lua_pushcfunction(L, module);
  lua_setfield(L, -2, "module");
  lua_pushcfunction(L, test_module);
  lua_setfield(L, -2, "is_module");
  lua_pushinteger(L, ISOLUA_CANCELLED);
  lua_setfield(L, -2, "CANCELLED");
  lua_pushinteger(L, ISOLUA_TIMEOUT);
  lua_setfield(L, -2, "TIMEOUT");
  return 1;
}
