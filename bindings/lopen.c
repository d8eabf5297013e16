/* lopen.c - the Lua modules that the executable and the C library carry inside. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "lib.h"

/* Made by the build out of scripts/; those of the prompt, isolua_repl, are in the executable alone. */
struct isolua_script {
  const char *name;
  const char *chunkname;
  const char *text;
  size_t size;
};
extern const struct isolua_script isolua_scripts[];
extern const struct isolua_script isolua_repl[] __attribute__((weak));

static const struct isolua_script *find_in(const struct isolua_script *s, const char *name) {
  while (s != NULL && s->name != NULL && strcmp(s->name, name) != 0) s++;
  return s != NULL && s->name != NULL ? s : NULL;
}

static const struct isolua_script *find_script(const char *name) {
  const struct isolua_script *s = find_in(isolua_scripts, name);
  return s != NULL ? s : find_in(isolua_repl, name);
}

/* A loader, as of package.preload: called with the module's name. */
static int load_script(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const struct isolua_script *s = find_script(name);
  if (s == NULL) return luaL_error(L, "module '%s' is not in this program", name);
  lua_settop(L, 1);
  if (luaL_loadbufferx(L, s->text, s->size, s->chunkname, "t") != LUA_OK) return lua_error(L);
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

static lua_CFunction loader_of(const char *name) {
  if (strcmp(name, "isolate") == 0) return open_module;
  if (strcmp(name, "isolate.core") == 0) return luaopen_isolate_core;
  return find_script(name) != NULL ? load_script : NULL;
}

/* __index of package.preload. Entries of their own would take a kilobyte of every isolate. */
static int preload_index(lua_State *L) {
  lua_CFunction loader = lua_type(L, 2) == LUA_TSTRING ? loader_of(lua_tostring(L, 2)) : NULL;
  if (loader == NULL) return 0;
  lua_pushcfunction(L, loader);
  return 1;
}

int isolua_open_modules(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, preload_index);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  return 0;
}

int isolua_host_open(const isolua_host_options *options, isolua_host **host) {
  int err = isolua_host_new(options, host);
  if (err != ISOLUA_OK) return err;
  isolua_host_set_open(*host, isolua_open_modules);
  join_host(*host);
  return ISOLUA_OK;
}
