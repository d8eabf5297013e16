/* lisolate.c - isolate.isolate: handles of isolates; starting them, and their options. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "lib.h"

/* -- Options ----------------------------------------------------------------------------------- */

static int bad_option(lua_State *L, const char *name, const char *expected, int index) {
  return luaL_error(L, "option '%s': %s expected, got %s", name, expected, luaL_typename(L, index));
}

/* A size in bytes: an integer, or a string such as "64MB" that Lua's parse_size, upvalue 1, reads. */
static size_t option_size(lua_State *L, const char *name, int index) {
  lua_Integer n;
  int is_integer;
  if (lua_type(L, index) == LUA_TSTRING) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    n = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer)
      luaL_error(L, "option '%s': '%s' is no size such as \"512k\", \"64MB\" or \"1GiB\"", name,
                 lua_tostring(L, index));
    lua_pop(L, 1);
    return (size_t)n;
  }
  n = lua_tointegerx(L, index, &is_integer);
  if (!is_integer || lua_type(L, index) != LUA_TNUMBER)
    bad_option(L, name, "a size (bytes, or a string like \"64MB\")", index);
  if (n <= 0) luaL_error(L, "option '%s': a size is more than 0", name);
  return (size_t)n;
}

static int64_t option_seconds(lua_State *L, const char *name, int index) {
  lua_Number s = lua_tonumber(L, index);
  if (lua_type(L, index) != LUA_TNUMBER) bad_option(L, name, "a number of seconds", index);
  if (!(s > 0)) luaL_error(L, "option '%s': more than 0 seconds expected", name);
  return s < 9e9 ? (int64_t)(s * (lua_Number)ISOLUA_SECOND) + 1 : 0;
}

static const char *option_string(lua_State *L, const char *name, int index) {
  const char *s = lua_tostring(L, index);
  if (lua_type(L, index) != LUA_TSTRING) bad_option(L, name, "a string", index);
  if (strlen(s) != lua_rawlen(L, index))
    luaL_error(L, "option '%s': a string without zeros expected", name);
  return s;
}

static int option_boolean(lua_State *L, const char *name, int index) {
  if (lua_type(L, index) != LUA_TBOOLEAN) bad_option(L, name, "true or false", index);
  return lua_toboolean(L, index);
}

static const char *one_of(lua_State *L, const char *name, int index, const char *const list[]) {
  const char *s = option_string(L, name, index);
  luaL_Buffer b;
  for (int i = 0; list[i] != NULL; i++)
    if (strcmp(s, list[i]) == 0) return s;
  luaL_buffinit(L, &b);
  for (int i = 0; list[i] != NULL; i++) {
    luaL_addstring(&b, i == 0 ? "" : ", ");
    luaL_addstring(&b, list[i]);
  }
  luaL_pushresult(&b);
  luaL_error(L, "option '%s': unknown value '%s' (known: %s)", name, s, lua_tostring(L, -1));
  return NULL;
}

/* A list of names becomes one string, on the top. */
static const char *option_libs(lua_State *L, int index) {
  luaL_Buffer b;
  lua_Integer n;
  if (!lua_istable(L, index)) bad_option(L, "libs", "a list of library names", index);
  n = luaL_len(L, index);
  for (lua_Integer i = 1; i <= n; i++) {
    static const char *const known[] = {"coroutine", "debug",  "io",    "math", "os",
                                        "package",   "string", "table", "utf8", NULL};
    lua_geti(L, index, i);
    one_of(L, "libs", lua_gettop(L), known);
    lua_pop(L, 1);
  }
  luaL_buffinit(L, &b);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, index, i);
    luaL_addvalue(&b);
    luaL_addchar(&b, ' ');
  }
  luaL_pushresult(&b);
  return lua_tostring(L, -1);
}

/* One option: name at index `key`, value above it. `keep` holds what must live on. */
static void take_option(lua_State *L, int key, int keep, isolua_run_options *o) {
  static const char *const gcs[] = {"generational", "incremental", "stop", NULL};
  static const char *const globals[] = {"capture", "none", NULL};
  const char *name = lua_tostring(L, key);
  int value = key + 1;
  if (lua_type(L, key) != LUA_TSTRING)
    luaL_error(L, "option names are strings, got %s", luaL_typename(L, key));
  if (strcmp(name, "name") == 0) {
    o->base.name = option_string(L, name, value);
  } else if (strcmp(name, "timeout") == 0) {
    o->base.timeout = option_seconds(L, name, value);
  } else if (strcmp(name, "memory") == 0) {
    o->base.memory = option_size(L, name, value);
  } else if (strcmp(name, "stack") == 0) {
    o->base.stack = option_size(L, name, value);
  } else if (strcmp(name, "libs") == 0) {
    o->base.libs = option_libs(L, value);
    lua_setfield(L, keep, "libs");
  } else if (strcmp(name, "gc") == 0) {
    o->base.gc = one_of(L, name, value, gcs);
  } else if (strcmp(name, "globals") == 0) {
    o->no_globals = strcmp(one_of(L, name, value, globals), "none") == 0;
  } else if (strcmp(name, "strip") == 0) {
    o->strip = option_boolean(L, name, value);
  } else if (strcmp(name, "init") == 0) {
    if (lua_isfunction(L, value)) {
      o->init = keep + 1;
      lua_copy(L, value, keep + 1);
    } else if (lua_type(L, value) == LUA_TSTRING) {
      o->base.init = lua_tostring(L, value);
    } else {
      bad_option(L, name, "a module name or a function", value);
    }
  } else {
    luaL_error(L, "unknown option '%s'", name);
  }
}

/* Two values stay on the stack: a table of strings, and the init function or nil. */
void check_options(lua_State *L, int index, isolua_run_options *o) {
  int keep;
  lua_newtable(L);
  lua_pushnil(L);
  keep = lua_gettop(L) - 1;
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    take_option(L, keep + 2, keep, o);
    lua_settop(L, keep + 2);
  }
}

/***
Runs `fn(...)` in a fresh isolate. Never waits.
@function isolate.run
@tparam[opt] table opts name, timeout, memory, libs, globals, init, gc, stack, strip
@tparam function fn its upvalues, and the globals it names, are copied now
@param ... arguments, copied now
@treturn future of its results
@raise not_sendable, when something cannot be copied; nothing was started then
@usage print(isolate.run(function(n) return n * 2 end, 21):await())
*/
static int run(lua_State *L) {
  isolua_run_options o;
  isolua_future *f;
  int fn = lua_istable(L, 1) ? 2 : 1, nargs;
  memset(&o, 0, sizeof o);
  o.base.size = sizeof o.base;
  if (lua_type(L, fn) != LUA_TFUNCTION)
    luaL_typeerror(L, fn, fn == 1 ? "function or table of options" : "function");
  nargs = lua_gettop(L) - fn;
  if (fn == 2) {
    check_options(L, 1, &o);
    lua_rotate(L, 2, 2); /* the two kept values go below the function */
    if (o.init != 0) o.init = 3;
    fn = 4;
  }
  push_future(L, NULL);
  lua_insert(L, fn);
  if (isolua_run(L, &o, fn + 1, nargs, &f) != ISOLUA_OK) return lua_error(L);
  *(isolua_future **)lua_touserdata(L, fn) = f;
  lua_settop(L, fn);
  return 1;
}

/***
Ends this isolate now. Its future fails with `exited`; `<close>` variables run.
@function isolate.exit
@raise in the main isolate
*/
static int exit_isolate(lua_State *L) {
  return isolua_exit(L);
}

/***
The handle of the isolate that calls.
@function isolate.self
@treturn isolate
*/
static int self(lua_State *L) {
  isolua_pushself(L);
  return 1;
}

/* -- Handles ----------------------------------------------------------------------------------- */

static isolua_isolate *check_isolate(lua_State *L, int arg) {
  return isolua_checkhandle(L, arg, ISOLUA_TISOLATE);
}

/***
What the isolate is doing: "starting", "running", "waiting", "done", "failed", "killed", "stuck".
@function isolate:status
@treturn string
*/
static int isolate_status(lua_State *L) {
  lua_pushstring(L, isolua_isolate_status(check_isolate(L, 1)));
  return 1;
}

static int isolate_tostring(lua_State *L) {
  isolua_isolate *i = check_isolate(L, 1);
  lua_pushfstring(L, ISOLUA_TISOLATE ": %s (%I)", isolua_isolate_name(i),
                  (LUAI_UACINT)isolua_isolate_id(i));
  return 1;
}

static int isolate_index(lua_State *L) {
  isolua_isolate *i = check_isolate(L, 1);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "id") == 0) {
    lua_pushinteger(L, (lua_Integer)isolua_isolate_id(i));
  } else if (strcmp(key, "name") == 0) {
    lua_pushstring(L, isolua_isolate_name(i));
  } else {
    lua_settop(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
  }
  return 1;
}

/* The thing lives on: others may hold it. */
static int isolate_close(lua_State *L) {
  (void)L;
  return 0;
}

static const luaL_Reg methods[] = {{"status", isolate_status}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {
  {"__tostring", isolate_tostring}, {"__close", isolate_close}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"exit", exit_isolate}, {"self", self}, {NULL, NULL}};

/* runner(parse): isolate.run, with sizes in strings read by parse(text) -> bytes or nil. */
static int with_sizes(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_pushcclosure(L, run, 1);
  return 1;
}

void open_isolate(lua_State *L) {
  if (isolua_newhandletype(L, ISOLUA_TISOLATE)) {
    luaL_setfuncs(L, metamethods, 0);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, isolate_index, 1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
  lua_pushcfunction(L, with_sizes);
  lua_setfield(L, -2, "runner");
}
