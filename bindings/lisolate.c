/* lisolate.c - isolate.isolate: handles of isolates; starting them, and their options. */
/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib.h"

/* -- Options ----------------------------------------------------------------------------------- */

static int bad_option(lua_State *L, const char *name, const char *expected, int index) {
  return luaL_error(L, "option '%s': %s expected, got %s", name, expected, luaL_typename(L, index));
}

/* A number, then k, M, G or T, then B (powers of 1000), or iB or nothing (powers of 1024: that is what
** people mean by `512k`). Case and spaces do not matter. 0: it is no size. */
static size_t parse_size(const char *s) {
  static const char powers[] = "kmgt";
  double n = 0, part = 1;
  const char *power = NULL;
  bool decimal = false;
  s += strspn(s, " \t\n");
  if (!isdigit((unsigned char)*s)) return 0;
  for (; isdigit((unsigned char)*s); s++) n = n * 10 + (*s - '0');
  if (*s == '.')
    for (s++; isdigit((unsigned char)*s); s++) n += (*s - '0') * (part /= 10);
  s += strspn(s, " \t\n");
  if (*s != '\0') power = strchr(powers, tolower((unsigned char)*s));
  if (power != NULL) s++;
  if (power != NULL && tolower((unsigned char)s[0]) == 'i' && tolower((unsigned char)s[1]) == 'b')
    s += 2;
  else if (tolower((unsigned char)*s) == 'b')
    decimal = (s++, true);
  if (s[strspn(s, " \t\n")] != '\0') return 0;
  if (power != NULL) n *= pow(decimal ? 1000 : 1024, (double)(power - powers + 1));
  return n >= 1 && n < 0x1p62 ? (size_t)n : 0;
}

size_t check_size(lua_State *L, int arg, const char *what) {
  lua_Integer n;
  int is_integer;
  if (lua_type(L, arg) == LUA_TSTRING) {
    size_t size = parse_size(lua_tostring(L, arg));
    if (size == 0)
      luaL_error(L, "%s: '%s' is no size such as \"512k\", \"64MB\" or \"1GiB\"", what,
                 lua_tostring(L, arg));
    return size;
  }
  n = lua_tointegerx(L, arg, &is_integer);
  if (!is_integer || lua_type(L, arg) != LUA_TNUMBER)
    luaL_error(L, "%s: a size (bytes, or a string like \"64MB\") expected, got %s", what,
               luaL_typename(L, arg));
  if (n < 0) luaL_error(L, "%s: a size is 0 or more", what);
  return (size_t)n;
}

/* More than 0. */
static size_t option_size(lua_State *L, const char *name, int index) {
  char what[64];
  size_t n;
  snprintf(what, sizeof what, "option '%s'", name);
  n = check_size(L, index, what);
  if (n == 0) luaL_error(L, "option '%s': a size is more than 0", name);
  return n;
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
  for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
    if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > n)
      luaL_error(L,
                 "option 'libs': a list of library names expected, as in {\"string\", \"math\"}");
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

/* A sender: kept in the table at `keep`, in slot 1 or 2; its index is given by fill_senders. */
static int option_sender(lua_State *L, const char *name, int value, int keep, int slot) {
  if (isolua_port_of(L, value) == NULL) bad_option(L, name, "a sender", value);
  lua_pushvalue(L, value);
  lua_rawseti(L, keep, slot);
  return 1;
}

/* Those about its life. False: it is none of them. */
static bool take_start_option(lua_State *L, const char *name, int value, int keep,
                              isolua_run_options *o) {
  if (strcmp(name, "paused") == 0)
    o->paused = option_boolean(L, name, value);
  else if (strcmp(name, "errors_fatal") == 0)
    o->errors_go_on = !option_boolean(L, name, value);
  else if (strcmp(name, "on_exit") == 0)
    o->on_exit = option_sender(L, name, value, keep, 1);
  else if (strcmp(name, "on_error") == 0)
    o->on_error = option_sender(L, name, value, keep, 2);
  else
    return false;
  return true;
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
  } else if (!take_start_option(L, name, value, keep, o)) {
    if (is_module(L, 1)) luaL_error(L, "isolate's functions are called with a dot, not a colon");
    luaL_error(L, "unknown option '%s'", name);
  }
}

/* Four values stay on the stack: a table of strings, the init function or nil, two senders or nil. */
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
  lua_rawgeti(L, keep, 1);
  lua_rawgeti(L, keep, 2);
}

int check_spawn_options(lua_State *L) {
  isolua_run_options o = {.base = {.size = sizeof o.base}};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  check_options(L, 1, &o);
  return 0;
}

enum { KEPT = 4 };

void start_options(lua_State *L, isolua_run_options *o, int *first) {
  int n = lua_gettop(L);
  memset(o, 0, sizeof *o);
  o->base.size = sizeof o->base;
  *first = 1;
  if (!lua_istable(L, 1)) return;
  check_options(L, 1, o);
  lua_rotate(L, 2, KEPT);
  if (o->init != 0) o->init = 3;
  if (o->on_exit != 0) o->on_exit = 4;
  if (o->on_error != 0) o->on_error = 5;
  *first = 2 + KEPT;
  (void)n;
}

void check_function(lua_State *L) {
  int fn = lua_istable(L, 1) ? 2 : 1;
  if (lua_type(L, fn) != LUA_TFUNCTION)
    luaL_typeerror(L, fn, fn == 1 ? "function or table of options" : "function");
}

/***
Runs `fn(...)` in a fresh isolate. Never waits.
@function isolate.run
@tparam[opt] table opts `name`, in errors and of the thread (default: the place of `fn`); `timeout` in
  seconds, after which it is killed; `memory`, a cap on its heap, as `1000000` or `"64MB"`; `libs`, a
  list of the standard libraries that it gets (all); `globals`: `"capture"`, or `"none"`; `init`, a
  module's name or a function, run first; `gc`: `"generational"`, `"incremental"` or `"stop"`;
  `stack`, the size of the thread's (1 MiB); `strip = true`: no debug information is sent;
  `paused = true`: it starts paused; `errors_fatal = false`: an uncaught error in a task, timer or handler
  does not end it; `on_exit`, `on_error`: senders that are told of its end, of its errors
@tparam function fn its upvalues, and the globals it names, are copied now
@param ... arguments, copied now
@treturn future of its results
@raise not_sendable, when something cannot be copied; nothing was started then
@usage print(isolate.run(function(n) return n * 2 end, 21):await())
*/
static int run(lua_State *L) {
  isolua_run_options o;
  isolua_future *f;
  int fn;
  check_function(L);
  start_options(L, &o, &fn);
  push_future(L, NULL);
  lua_insert(L, fn);
  if (isolua_run(L, &o, fn + 1, lua_gettop(L) - fn - 1, &f) != ISOLUA_OK) return lua_error(L);
  set_future(L, fn, f); /* with the handle on the top */
  lua_settop(L, fn);
  return 1;
}

/***
Starts an isolate that lives until `fn` has returned and its event loop has nothing left: no task, no
timer with a function, no receiver with a function that a sender elsewhere can still reach.
@function isolate.spawn
@tparam[opt] table opts those of `isolate.run`
@tparam function fn
@param ... arguments, copied now
@treturn isolate its handle
@raise not_sendable
*/
static int spawn(lua_State *L) {
  isolua_run_options o;
  int fn;
  check_function(L);
  start_options(L, &o, &fn);
  if (isolua_spawn(L, &o, fn, lua_gettop(L) - fn) != ISOLUA_OK) return lua_error(L);
  return 1;
}

/* Upvalues: a table, and whether to spawn. As run and spawn; what they give is the table's field `started`
** before any Lua code runs again, a kill of this isolate included. */
static int start_noted(lua_State *L) {
  int n = lua_toboolean(L, lua_upvalueindex(2)) ? spawn(L) : run(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, lua_upvalueindex(1), "started");
  return n;
}

int push_starter(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_pushcclosure(L, start_noted, 2);
  return 1;
}

/***
The same for the chunk in a file, which gets the arguments as `...`.
@function isolate.spawn_file
@tparam[opt] table opts those of `isolate.run`
@tparam string path
@param ... arguments, copied now
@treturn isolate its handle; what is wrong with the file is the isolate's error
*/
static int spawn_file(lua_State *L) {
  isolua_run_options o;
  const char *path = luaL_checkstring(L, lua_istable(L, 1) ? 2 : 1);
  int first;
  start_options(L, &o, &first);
  if (isolua_spawnfile(L, &o, path, lua_gettop(L) - first) != ISOLUA_OK) return lua_error(L);
  return 1;
}

/***
Ends this isolate now. Its future fails with `exited`; `<close>` variables run.
@function isolate.exit
@tparam[opt] sender tx
@param[opt] value what is sent to it as the last message of this isolate
@raise in the main isolate; not_sendable, and then the isolate goes on
*/
static int exit_isolate(lua_State *L) {
  if (lua_isnoneornil(L, 1)) return isolua_exit(L, 0);
  luaL_argexpected(L, isolua_port_of(L, 1) != NULL, 1, "sender");
  if (lua_isnoneornil(L, 2)) luaL_argerror(L, 2, "a message is a value, and not nil");
  lua_settop(L, 2);
  return isolua_exit(L, 1);
}

/***
The handle of the isolate that started this one.
@function isolate.parent
@treturn ?isolate nil in main
*/
static int parent(lua_State *L) {
  isolua_pushparent(L);
  return 1;
}

/***
The handles of all isolates that have not ended, main too.
@function isolate.list
@treturn {isolate,...}
*/
static int list(lua_State *L) {
  isolua_pushlist(L);
  return 1;
}

/***
The isolate with a name; of several the one that was started last.
@function isolate.find
@tparam string name
@treturn ?isolate nil: there is none
*/
static int find(lua_State *L) {
  isolua_pushfound(L, luaL_checkstring(L, 1));
  return 1;
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
  return isolua_checkisolate(L, arg);
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

static const char *const fields[] = {"id", "name", NULL};

static bool push_field(lua_State *L, const char *field) {
  isolua_isolate *i = check_isolate(L, 1);
  if (field == fields[0])
    lua_pushinteger(L, (lua_Integer)isolua_isolate_id(i));
  else
    lua_pushstring(L, isolua_isolate_name(i));
  return true;
}

/* The thing lives on: others may hold it. */
static int isolate_close(lua_State *L) {
  (void)L;
  return 0;
}

bool test_isolate(lua_State *L, int index, isolua_case *c) {
  if (!is_a(L, index, ISOLUA_TISOLATE)) return false;
  *c = (isolua_case){.kind = ISOLUA_FUTURE,
                     .future = isolua_isolate_gone(isolua_checkisolate(L, index))};
  return true;
}

static int joined(lua_State *L, int winner, int code, lua_KContext ctx) {
  isolua_future *f = isolua_isolate_future(check_isolate(L, 1));
  (void)ctx;
  if (winner < 0) return push_reason(L, code);
  isolua_future_look(f);
  lua_settop(L, 1);
  push_outcome(L, 1, f);
  return lua_gettop(L) - 1;
}

/***
Waits until the isolate's work has ended, as `future:try`.
@function isolate:join
@tparam[opt] number timeout seconds; nil waits without end
@return[1] true and the results
@return[2] false and the error value
@return[3] nil and "timeout"
*/
static int isolate_join(lua_State *L) {
  isolua_isolate *i = check_isolate(L, 1);
  isolua_case c = {.kind = ISOLUA_FUTURE, .future = isolua_isolate_future(i)};
  int64_t timeout = check_timeout(L, 2);
  if (isolua_isolate_is_main(i)) return luaL_error(L, "main cannot be joined: it ends last");
  if (timeout < 0) isolua_future_look(c.future);
  lua_settop(L, 1);
  return isolua_wait(L, &c, 1, timeout, 0, joined);
}

/* The field `when` of the options at `arg`, if there are any: is it "idle"? */
static bool when_idle(lua_State *L, int arg) {
  bool idle;
  if (!lua_istable(L, arg)) return false;
  lua_getfield(L, arg, "when");
  idle = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "idle") == 0;
  if (!idle && !lua_isnil(L, -1)) luaL_argerror(L, arg, "when: \"idle\" expected");
  lua_pop(L, 1);
  return idle;
}

/* Raises for a field of the options at `arg` that is neither `when` nor the other one. */
static void only_fields(lua_State *L, int arg, const char *other) {
  if (!lua_istable(L, arg)) return;
  lua_pushnil(L);
  while (lua_next(L, arg) != 0) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    if (strcmp(key, "when") != 0 && strcmp(key, other) != 0)
      luaL_error(L, "unknown option '%s'", luaL_tolstring(L, -2, NULL));
    lua_pop(L, 1);
  }
}

/* A field of the options at `arg` in seconds; `none` when it is not there. */
static int64_t seconds_field(lua_State *L, int arg, const char *name, int64_t none) {
  lua_Number s;
  if (!lua_istable(L, arg) || lua_getfield(L, arg, name) == LUA_TNIL) return none;
  s = lua_tonumber(L, -1);
  if (lua_type(L, -1) != LUA_TNUMBER || !(s >= 0))
    luaL_error(L, "option '%s': a number of seconds, 0 or more, expected", name);
  return s < 9e9 ? (int64_t)(s * (lua_Number)ISOLUA_SECOND) : INT64_MAX / 2;
}

/***
Kills the isolate, whatever Lua code it runs. Its `<close>` variables and finalizers get the grace.
@function isolate:kill
@tparam[opt] table opts `grace` in seconds (0.1); `when = "idle"`: not before it waits
@raise for main
*/
static int isolate_kill(lua_State *L) {
  isolua_isolate *i = check_isolate(L, 1);
  bool idle;
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TTABLE);
  only_fields(L, 2, "grace");
  idle = when_idle(L, 2);
  if (isolua_isolate_kill(i, seconds_field(L, 2, "grace", ISOLUA_SECOND / 10), idle) != ISOLUA_OK)
    return luaL_error(L, "main cannot be killed");
  return 0;
}

/* A key at 2: a string or an integer. */
static void check_key(lua_State *L) {
  if (lua_type(L, 2) != LUA_TSTRING && !lua_isinteger(L, 2))
    luaL_typeerror(L, 2, "string or integer");
}

/***
Pauses the isolate between events: messages and timers queue meanwhile. Pauses by n keys need n resumes.
@function isolate:pause
@tparam[opt] string|integer key a second pause by the same key is none; nil: a fresh one
@treturn string|integer the key; nil and "closed" when it has ended
@raise for main
*/
static int isolate_pause(lua_State *L) {
  isolua_isolate *i = check_isolate(L, 1);
  int code;
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_pushinteger(L, isolua_fresh_key());
    lua_replace(L, 2);
  }
  check_key(L);
  code = isolua_isolate_pause(L, i, 2);
  if (code == ISOLUA_INVALID) return luaL_error(L, "main cannot be paused");
  if (code == ISOLUA_MEMORY) return isolua_memoryerror(L);
  return code == ISOLUA_OK ? 1 : push_reason(L, code);
}

/***
Takes back the pause by a key, or all of them, and a start with `paused = true`.
@function isolate:resume
@tparam[opt] string|integer key one that is unknown has no effect
@raise for main
*/
static int isolate_resume(lua_State *L) {
  isolua_isolate *i = check_isolate(L, 1);
  bool all = lua_isnoneornil(L, 2);
  if (!all) check_key(L);
  if (isolua_isolate_resume(L, i, all ? 0 : 2) != ISOLUA_OK)
    return luaL_error(L, "main cannot be paused");
  return 0;
}

/* What it answers is that of the handle on the top, which has none yet. [-0, +0, e] */
static isolua_future *set_answer(lua_State *L, isolua_future *answer) {
  if (answer == NULL) isolua_memoryerror(L);
  lua_pushnil(L);
  set_future(L, lua_gettop(L) - 1, answer);
  isolua_future_look(answer);
  return answer;
}

static int pinged(lua_State *L, int winner, int code, lua_KContext ctx) {
  isolua_case c;
  (void)ctx;
  if (winner < 0) return push_reason(L, code);
  if (!test_future(L, 2, &c) || isolua_future_message(c.future) != NULL)
    return push_reason(L, ISOLUA_CLOSED);
  lua_pushboolean(L, 1);
  return 1;
}

/***
Is it there? Answered at once, also by code that is busy; or when it is back in its event loop.
@function isolate:ping
@tparam[opt] number|table opts seconds to wait for the answer; or `when = "idle"` and `timeout`
@return[1] true
@return[2] nil and "timeout"
@return[3] nil and "closed": it has ended
*/
static int isolate_ping(lua_State *L) {
  isolua_case c = {.kind = ISOLUA_FUTURE};
  isolua_isolate *i = check_isolate(L, 1);
  bool idle = when_idle(L, 2);
  int64_t timeout;
  only_fields(L, 2, "timeout");
  timeout =
    lua_istable(L, 2) ? seconds_field(L, 2, "timeout", ISOLUA_FOREVER) : check_timeout(L, 2);
  lua_settop(L, 1);
  push_future(L, NULL);
  c.future = set_answer(L, isolua_isolate_ping(L, i, idle));
  return isolua_wait(L, &c, 1, timeout, 0, pinged);
}

static void check_sender(lua_State *L) {
  if (isolua_port_of(L, 2) == NULL) luaL_typeerror(L, 2, "sender that is open");
}

/***
Sends the exit message `{id, name, status, reason}`, or `value`, when the isolate has ended: the last thing
of all. Told at once when that was before.
@function isolate:on_exit
@tparam sender tx a second call with it replaces its value
@param[opt] value
@raise not_sendable
*/
static int isolate_on_exit(lua_State *L) {
  isolua_isolate *i = check_isolate(L, 1);
  check_sender(L);
  lua_settop(L, 3);
  isolua_isolate_listen(L, i, 2, 0, lua_isnil(L, 3) ? 0 : 3);
  return 0;
}

/***
Sends an error message `{id, name, message, traceback, error}` for each error that nobody catches there;
it is not printed then.
@function isolate:on_error
@tparam sender tx
*/
static int isolate_on_error(lua_State *L) {
  isolua_isolate *i = check_isolate(L, 1);
  check_sender(L);
  isolua_isolate_listen(L, i, 2, 1, 0);
  return 0;
}

/***
The sender is not told any more.
@function isolate:off
@tparam sender tx
*/
static int isolate_off(lua_State *L) {
  isolua_isolate *i = check_isolate(L, 1);
  check_sender(L);
  isolua_isolate_unlisten(L, i, 2);
  return 0;
}

static void set_number(lua_State *L, const char *name, long long n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

/***
Numbers about the isolate.
@function isolate:stats
@treturn table `memory` bytes of its heap, `cpu` seconds of processor time, `messages_in` received,
  `messages_out` sent, `queued` in its inbox; `age` in seconds; `spawned`: true unless it is main or ends
  with its function; `busy`: its code runs now, and does not wait
*/
static int isolate_stats(lua_State *L) {
  isolua_stats s;
  isolua_isolate_stats(check_isolate(L, 1), &s);
  lua_createtable(L, 0, 5);
  set_number(L, "memory", (long long)s.memory);
  lua_pushnumber(L, s.cpu);
  lua_setfield(L, -2, "cpu");
  set_number(L, "messages_in", s.messages_in);
  set_number(L, "messages_out", s.messages_out);
  set_number(L, "queued", (long long)s.queued);
  lua_pushnumber(L, s.age);
  lua_setfield(L, -2, "age");
  lua_pushboolean(L, s.spawned);
  lua_setfield(L, -2, "spawned");
  lua_pushboolean(L, s.busy);
  lua_setfield(L, -2, "busy");
  return 1;
}

/* inspect(iso, what[, source]) -> future: of what isolua_isolate_look and isolua_isolate_eval give;
** `what` is "where", "traceback" or "eval". */
static int inspect(lua_State *L) {
  static const char *const all[] = {"where", "traceback", "eval", NULL};
  enum { EVAL = 2 };
  isolua_isolate *i = check_isolate(L, 1);
  int what = luaL_checkoption(L, 2, NULL, all);
  size_t len = 0;
  const char *source = what == EVAL ? luaL_checklstring(L, 3, &len) : NULL;
  luaL_argcheck(L, source == NULL || strlen(source) == len, 3, "source with a zero byte");
  push_future(L, NULL);
  set_answer(L,
             source != NULL ? isolua_isolate_eval(L, i, source) : isolua_isolate_look(L, i, what));
  return 1;
}

/* watch(tx | nil): isolua_watch_host; main's alone. */
static int watch(lua_State *L) {
  int tx = lua_isnil(L, 1) ? 0 : 1;
  if (!isolua_is_main(L)) luaL_error(L, "isolates other than main do not watch the others");
  if (tx != 0 && isolua_port_of(L, 1) == NULL) luaL_typeerror(L, 1, "sender that is open");
  isolua_watch_host(L, tx);
  return 0;
}

const luaL_Reg isolate_internals[] = {{"inspect", inspect}, {"watch", watch}, {NULL, NULL}};

static const luaL_Reg methods[] = {
  {"status", isolate_status}, {"join", isolate_join},       {"send", port_send},
  {"kill", isolate_kill},     {"pause", isolate_pause},     {"resume", isolate_resume},
  {"ping", isolate_ping},     {"on_exit", isolate_on_exit}, {"on_error", isolate_on_error},
  {"off", isolate_off},       {"stats", isolate_stats},     {NULL, NULL}};

static const luaL_Reg metamethods[] = {
  {"__tostring", isolate_tostring}, {"__close", isolate_close}, {NULL, NULL}};

const luaL_Reg isolate_functions[] = {
  {"run", run},           {"spawn", spawn}, {"spawn_file", spawn_file},
  {"exit", exit_isolate}, {"self", self},   {"parent", parent},
  {"list", list},         {"find", find},   {NULL, NULL}};

void open_isolate(lua_State *L) {
  isolua_newhandletype(L, ISOLUA_TISOLATE);
  luaL_setfuncs(L, metamethods, 0);
  set_index(L, methods, fields, push_field, false);
  lua_pop(L, 1);
}
