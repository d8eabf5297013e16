/* lopen.c - the Lua modules that the executable and the C library carry inside. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "lib.h"

/* Made by the build out of scripts/. */
struct isolua_script {
  const char *name;
  const char *chunkname;
  const char *text;
  size_t size;
};
extern const struct isolua_script isolua_scripts[];

/* A loader in package.preload: called with the module's name. */
static int load_script(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const struct isolua_script *s = isolua_scripts;
  while (s->name != NULL && strcmp(s->name, name) != 0) s++;
  if (s->name == NULL) return luaL_error(L, "module '%s' is not in this program", name);
  lua_settop(L, 1);
  if (luaL_loadbufferx(L, s->text, s->size, s->chunkname, "t") != LUA_OK) return lua_error(L);
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

int isolua_open_modules(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (const struct isolua_script *s = isolua_scripts; s->name != NULL; s++) {
    lua_pushcfunction(L, strcmp(s->name, "isolate") == 0 ? open_module : load_script);
    lua_setfield(L, -2, s->name);
  }
  lua_pushcfunction(L, luaopen_isolate_core);
  lua_setfield(L, -2, "isolate.core");
  return 0;
}
