/* vm_lib.c - standard functions that are another thing in an isolate than in a process. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <stdlib.h>

#include "vm.h"

/* One line is one call of the host's print, so that lines of several isolates do not mix. */
static int print(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  const isolua_host_options *o = &vm->host->options;
  luaL_Buffer b;
  int n = lua_gettop(L);
  size_t len;
  const char *line;
  luaL_checkstack(L, n + LUA_MINSTACK, NULL);
  for (int i = 1; i <= n; i++) luaL_tolstring(L, i, NULL);
  luaL_buffinit(L, &b);
  for (int i = 1; i <= n; i++) {
    const char *s = lua_tolstring(L, n + i, &len);
    if (i > 1) luaL_addchar(&b, '\t');
    luaL_addlstring(&b, s, len);
  }
  luaL_addchar(&b, '\n');
  luaL_pushresult(&b);
  line = lua_tolstring(L, -1, &len);
  o->print(o->print_ud, vm->isolate != NULL ? vm->isolate->id : 0,
           vm->isolate != NULL ? vm->isolate->name : "", line, len);
  return 0;
}

/* os.exit ends the isolate, not the process. */
static int os_exit(lua_State *L) {
  return isolua_exit(L, 0);
}

/* A child process takes over the signal mask: isolates block nearly all. */
static int with_open_mask(lua_State *L, const char *name) {
  sigset_t old;
  int status, n = lua_gettop(L);
  lua_pushcfunction(L, il_std_named(il_vm_check(L)->host->std, name));
  lua_insert(L, 1);
  il_mask_open(&old);
  status = lua_pcall(L, n, LUA_MULTRET, 0);
  il_mask_set(&old);
  return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static int os_execute(lua_State *L) {
  return with_open_mask(L, "os.execute");
}

static int io_popen(lua_State *L) {
  return with_open_mask(L, "io.popen");
}

static void replace(lua_State *L, const char *lib, const char *name, lua_CFunction function) {
  int top = lua_gettop(L);
  if (lua_getglobal(L, lib) == LUA_TTABLE && lua_getfield(L, -1, name) != LUA_TNIL) {
    lua_pushcfunction(L, function);
    lua_setfield(L, top + 1, name);
  }
  lua_settop(L, top);
}

void il_vm_name_library(il_std *std) {
  il_std_replace(std, "print", print);
  il_std_replace(std, "os.exit", os_exit);
  il_std_replace(std, "os.execute", os_execute);
  il_std_replace(std, "io.popen", io_popen);
}

void il_vm_open_print(lua_State *L) {
  lua_pushcfunction(L, print);
  lua_setglobal(L, "print");
}

void il_vm_open_library(lua_State *L) {
  il_vm_open_print(L);
  replace(L, "os", "exit", os_exit);
  replace(L, "os", "execute", os_execute);
  replace(L, "io", "popen", io_popen);
}
