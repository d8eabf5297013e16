/* lhandle.c - what handles are indexed with: methods, and fields that do not change. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "lib.h"

/*
** DESIGN. A field belongs to the handle, so `__index` has to be a function, and its call is a third of
** what a send costs. So every HOT-th call gives its handle a metatable of its own, where `__index` is a
** table with the methods and the fields. A handle that is much used soon has one; most never do. Those of
** which there are many, asked once or twice each, are left out (`brief`).
*/

#define HOT 64

typedef struct indexing {
  const luaL_Reg *methods;   /* static; ends with NULL */
  const char *const *fields; /* static; ends with NULL */
  bool (*push)(lua_State *L, const char *field);
  bool brief;
  unsigned calls;
} indexing;

enum { METHODS = 1, INDEX = 2 }; /* upvalues of index_handle */

/* Pushes a copy of the table at `at`. [-0, +1, m] */
static void push_copy(lua_State *L, int at) {
  at = lua_absindex(L, at);
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, at) != 0;) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
}

/* The handle at 1 gets its own metatable. [-0, +0, m] */
static void make_own(lua_State *L, const indexing *x) {
  luaL_checkstack(L, 8, NULL);
  lua_getmetatable(L, 1);
  push_copy(L, -1);
  lua_newtable(L);
  luaL_setfuncs(L, x->methods, 0);
  for (const char *const *f = x->fields; *f != NULL; f++)
    if (x->push(L, *f)) lua_setfield(L, -2, *f);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, 1);
  lua_pop(L, 1);
}

static bool push_field(lua_State *L, const indexing *x, const char *key) {
  for (const char *const *f = x->fields; *f != NULL; f++)
    if (strcmp(*f, key) == 0) return x->push(L, *f);
  return false;
}

/* A method that was not asked for before; the table of methods has it then. */
static bool push_method(lua_State *L, const indexing *x, const char *key) {
  const luaL_Reg *m = x->methods;
  while (m->name != NULL && strcmp(m->name, key) != 0) m++;
  if (m->name == NULL) return false;
  lua_pushcfunction(L, m->func);
  lua_pushvalue(L, -1);
  lua_setfield(L, lua_upvalueindex(METHODS), key);
  return true;
}

static int index_handle(lua_State *L) {
  indexing *x = lua_touserdata(L, lua_upvalueindex(INDEX));
  if (!x->brief && ++x->calls % HOT == 0) make_own(L, x);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(METHODS)) != LUA_TNIL) return 1;
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  return push_method(L, x, lua_tostring(L, 2)) || push_field(L, x, lua_tostring(L, 2)) ? 1 : 0;
}

void set_index(lua_State *L, const luaL_Reg *methods, const char *const *fields,
               bool (*push)(lua_State *L, const char *field), bool brief) {
  indexing *x;
  lua_newtable(L);
  x = lua_newuserdatauv(L, sizeof *x, 0);
  *x = (indexing){methods, fields, push, brief, 0};
  lua_pushcclosure(L, index_handle, 2);
  lua_setfield(L, -2, "__index");
}

bool new_type(lua_State *L, const char *name) {
  if (luaL_getmetatable(L, name) != LUA_TNIL) return false;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  return true;
}

void keep_type(lua_State *L, const char *name) {
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, name);
}

bool is_a(lua_State *L, int at, const char *type) {
  bool is;
  if (isolua_handle_id(L, at) == 0 || luaL_getmetafield(L, at, "__metatable") != LUA_TSTRING)
    return false;
  is = strcmp(lua_tostring(L, -1), type) == 0;
  lua_pop(L, 1);
  return is;
}
