/* sandbox.c - what a host forbids its isolates. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "kill.h"
#include "vm.h"

/*
** DESIGN. What is forbidden is never there: a library is not opened, so that nothing leads to it, not
** the registry either; single functions are taken away before any code of the isolate runs. What can
** be sent by name is refused where it arrives (names.h: il_std_bar). The main state is not meant: it
** trusts itself, but not what isolates send (decode.c).
*/

/* -- Libraries --------------------------------------------------------------------------------- */

static const luaL_Reg all_libs[] = {{LUA_GNAME, luaopen_base},
                                    {LUA_LOADLIBNAME, luaopen_package},
                                    {LUA_COLIBNAME, luaopen_coroutine},
                                    {LUA_TABLIBNAME, luaopen_table},
                                    {LUA_IOLIBNAME, luaopen_io},
                                    {LUA_OSLIBNAME, luaopen_os},
                                    {LUA_STRLIBNAME, luaopen_string},
                                    {LUA_MATHLIBNAME, luaopen_math},
                                    {LUA_UTF8LIBNAME, luaopen_utf8},
                                    {LUA_DBLIBNAME, luaopen_debug},
                                    {NULL, NULL}};

void il_sandbox_openlibs(lua_State *L, unsigned forbid) {
  unsigned without = il_libs_forbidden(forbid);
  for (const luaL_Reg *lib = all_libs; lib->name != NULL; lib++) {
    if ((il_lib_bit(lib->name, strlen(lib->name)) & without) != 0) continue;
    luaL_requiref(L, lib->name, lib->func, 1);
    lua_pop(L, 1);
  }
}

/* -- Functions --------------------------------------------------------------------------------- */

/* Forbidden by any of these flags. Names as in il_std. */
static const struct {
  unsigned by;
  const char *name;
} functions[] = {{ISOLUA_NO_FILES, "dofile"},
                 {ISOLUA_NO_FILES, "loadfile"},
                 {ISOLUA_NO_FILES, "os.execute"},
                 {ISOLUA_NO_FILES, "os.remove"},
                 {ISOLUA_NO_FILES, "os.rename"},
                 {ISOLUA_NO_FILES, "os.tmpname"},
                 {ISOLUA_NO_OS, "io.popen"},
                 {ISOLUA_NO_C_MODULES, "package.loadlib"},
                 {ISOLUA_NO_FILES, "package.searchpath"}};
enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

/* [-0, +0, m] */
static void take_away(lua_State *L, const char *name) {
  const char *dot = strchr(name, '.');
  int top = lua_gettop(L);
  lua_pushglobaltable(L);
  if (dot != NULL) {
    lua_pushlstring(L, name, (size_t)(dot - name));
    if (lua_rawget(L, -2) != LUA_TTABLE) {
      lua_settop(L, top);
      return;
    }
    name = dot + 1;
  }
  lua_pushnil(L);
  lua_setfield(L, -2, name);
  lua_settop(L, top);
}

/* -- Text alone -------------------------------------------------------------------------------- */

static bool text_alone(const il_vm *vm) {
  return (vm->forbid & ISOLUA_NO_BYTECODE) != 0;
}

/* loadfile(name, mode, env) */
static int safe_loadfile(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  if (text_alone(vm)) il_vm_text_mode(L, 2);
  lua_pushcfunction(L, il_std_named(vm->host->std, "loadfile"));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static int finish_dofile(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return lua_gettop(L) - 1;
}

static int safe_dofile(lua_State *L) {
  const char *name = luaL_optstring(L, 1, NULL);
  lua_settop(L, 1);
  if (luaL_loadfilex(L, name, text_alone(il_vm_check(L)) ? "t" : NULL) != LUA_OK)
    return lua_error(L);
  lua_callk(L, 0, LUA_MULTRET, 0, finish_dofile);
  return finish_dofile(L, LUA_OK, 0);
}

/* A searcher of files, as that of the library. Upvalue: the table package. */
static int search_text(lua_State *L) {
  const char *name = luaL_checkstring(L, 1), *file;
  lua_settop(L, 1);
  lua_pushcfunction(L, il_std_named(il_vm_check(L)->host->std, "package.searchpath"));
  lua_pushvalue(L, 1);
  if (lua_getfield(L, lua_upvalueindex(1), "path") != LUA_TSTRING)
    return luaL_error(L, "'package.path' must be a string");
  lua_call(L, 2, 2);
  if (lua_isnil(L, -2)) return 1;
  lua_pop(L, 1);
  file = lua_tostring(L, -1);
  if (luaL_loadfilex(L, file, "t") != LUA_OK)
    return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, file,
                      lua_tostring(L, -1));
  lua_insert(L, -2);
  return 2;
}

/* -- The whole --------------------------------------------------------------------------------- */

enum { SEARCHES_LUA = 2, SEARCHES_C = 3, SEARCHES_C_ROOT = 4 }; /* of package.searchers */

/* The table package is on the top. [-0, +0, m] */
static void restrict_searchers(lua_State *L, unsigned forbid) {
  int package = lua_gettop(L);
  if (lua_getfield(L, package, "searchers") == LUA_TTABLE) {
    if ((forbid & ISOLUA_NO_C_MODULES) != 0) {
      for (int i = SEARCHES_C_ROOT; i >= SEARCHES_C; i--) {
        lua_pushnil(L);
        lua_rawseti(L, -2, i);
      }
    }
    if ((forbid & ISOLUA_NO_FILES) != 0) {
      lua_pushnil(L);
      lua_rawseti(L, -2, SEARCHES_LUA);
    } else if ((forbid & ISOLUA_NO_BYTECODE) != 0) {
      lua_pushvalue(L, package);
      lua_pushcclosure(L, search_text, 1);
      lua_rawseti(L, -2, SEARCHES_LUA);
    }
  }
  lua_settop(L, package);
}

void il_sandbox_apply(lua_State *L, unsigned forbid) {
  int top = lua_gettop(L);
  for (int i = 0; i < FUNCTIONS; i++)
    if ((functions[i].by & forbid) != 0) take_away(L, functions[i].name);
  if ((forbid & ISOLUA_NO_BYTECODE) != 0 && (forbid & ISOLUA_NO_FILES) == 0) {
    lua_pushcfunction(L, safe_loadfile);
    lua_setglobal(L, "loadfile");
    lua_pushcfunction(L, safe_dofile);
    lua_setglobal(L, "dofile");
  }
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "package") == LUA_TTABLE) restrict_searchers(L, forbid);
  lua_settop(L, top);
}

void il_sandbox_name(il_std *std, unsigned forbid) {
  for (int i = 0; i < FUNCTIONS; i++)
    if ((functions[i].by & forbid) != 0) il_std_bar(std, functions[i].name);
  if ((forbid & ISOLUA_NO_BYTECODE) != 0) {
    il_std_replace(std, "loadfile", safe_loadfile);
    il_std_replace(std, "dofile", safe_dofile);
  }
}

unsigned isolua_forbidden(lua_State *L) {
  return il_vm_check(L)->forbid;
}
