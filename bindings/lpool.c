/* lpool.c - isolate.pool: isolates that run jobs. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "lib.h"

static isolua_pool *check_pool(lua_State *L, int at) {
  isolua_pool *p = isolua_pool_of(L, at);
  if (p == NULL)
    luaL_argerror(L, at,
                  lua_pushfstring(L, ISOLUA_TPOOL " expected, got %s; call it with a colon",
                                  luaL_typename(L, at)));
  return p;
}

/* -- Submitting -------------------------------------------------------------------------------- */

static void take_option(lua_State *L, int key, isolua_job_options *o) {
  const char *name;
  int value = key + 1;
  if (lua_type(L, key) != LUA_TSTRING)
    luaL_error(L, "option names are strings, got %s", luaL_typename(L, key));
  name = lua_tostring(L, key);
  if (strcmp(name, "timeout") == 0) {
    lua_Number s = lua_tonumber(L, value);
    if (lua_type(L, value) != LUA_TNUMBER || !(s > 0))
      luaL_error(L, "option 'timeout': a number of seconds above 0 expected");
    o->timeout = s < 9e9 ? (int64_t)ceil(s * (lua_Number)ISOLUA_SECOND) : 0;
  } else if (strcmp(name, "priority") == 0) {
    lua_Integer n = lua_tointeger(L, value);
    if (!lua_isinteger(L, value) || n < -128 || n > 127)
      luaL_error(L, "option 'priority': an integer from -128 to 127 expected");
    o->priority = (int)n;
  } else if (strcmp(name, "name") == 0) {
    size_t len;
    o->name = lua_type(L, value) == LUA_TSTRING ? lua_tolstring(L, value, &len) : NULL;
    if (o->name == NULL || strlen(o->name) != len)
      luaL_error(L, "option 'name': a string without zeros expected");
  } else {
    luaL_error(L, "unknown option '%s' (a job has: timeout, priority, name)", name);
  }
}

/* Options at 2, if there are any, stay there. Index of the function. */
static int job_options(lua_State *L, isolua_submit_options *o) {
  int fn = 2, top = lua_gettop(L);
  memset(o, 0, sizeof *o);
  o->base.size = sizeof o->base;
  if (lua_istable(L, 2)) {
    fn = 3;
    lua_pushnil(L);
    while (lua_next(L, 2) != 0) {
      take_option(L, top + 1, &o->base);
      lua_settop(L, top + 1);
    }
  }
  if (lua_type(L, fn) != LUA_TFUNCTION)
    luaL_typeerror(L, fn, fn == 2 ? "function or table of options" : "function");
  return fn;
}

static int raise_closed(lua_State *L) {
  isolua_pusherror(L, ISOLUA_CLOSED, "the pool is closed: it takes no more jobs", NULL);
  return lua_error(L);
}

/* A future handle lies at 1, the job at 2. */
static int admitted(lua_State *L, int winner, int code, lua_KContext ctx) {
  isolua_future *f;
  (void)winner, (void)code, (void)ctx;
  if (isolua_job_take(L, 2, &f) != ISOLUA_OK) return raise_closed(L);
  lua_pushnil(L);
  set_future(L, 1, f);
  lua_settop(L, 1);
  return 1;
}

/* The pool at 1, the arguments of submit after it. */
static int submit_job(lua_State *L, bool wait, int hidden) {
  isolua_pool *p = check_pool(L, 1);
  isolua_submit_options o;
  isolua_case c = {.kind = ISOLUA_FUTURE};
  isolua_future *f;
  int fn = job_options(L, &o), code;
  o.wait = wait;
  o.hidden = hidden;
  push_future(L, NULL);
  lua_insert(L, fn++);
  code = isolua_job_submit(L, p, &o, fn, lua_gettop(L) - fn, &f);
  switch (code) {
  case ISOLUA_OK:
    lua_pushnil(L);
    set_future(L, fn - 1, f);
    return 1;
  case ISOLUA_CLOSED: return wait ? raise_closed(L) : push_reason(L, code);
  case ISOLUA_FULL: break;
  default: return lua_error(L);
  }
  if (!wait) return push_reason(L, code);
  lua_copy(L, fn - 1, 1);
  lua_replace(L, 2);
  lua_settop(L, 2);
  lua_toclose(L, 2); /* who is cancelled here has submitted nothing */
  c.future = isolua_job_room(L, 2);
  return isolua_wait(L, &c, 1, ISOLUA_FOREVER, 0, admitted);
}

/***
Has one of the pool's isolates run `fn(...)`. Waits while the queue is full; the rest of this isolate goes on
meanwhile.
@function pool:submit
@tparam[opt] table opts `timeout` (seconds that it may run), `priority` (-128 to 127, 0; higher ones go
first), `name`
@tparam function fn its upvalues, and the globals it names, are copied now
@param ... arguments, copied now
@treturn future of its results
@raise not_sendable; closed
@usage local sum = pool:submit(add, 1, 2):await()
*/
static int submit(lua_State *L) {
  return submit_job(L, true, 0);
}

/***
The same without waiting.
@function pool:try_submit
@tparam[opt] table opts `timeout`, `priority`, `name`, as for `pool:submit`
@tparam function fn
@param ...
@treturn[1] future
@return[2] nil and "full" or "closed"
*/
static int try_submit(lua_State *L) {
  return submit_job(L, false, 0);
}

/* submit_part(pool, opts, run, fn, …): of a function of the user's, which names the job. */
static int submit_part(lua_State *L) {
  return submit_job(L, true, 1);
}

/* -- A part of a list -------------------------------------------------------------------------- */

enum { PART_FN = 1, ITEMS, COUNT, SECONDS, PACKED, DROP, RESULTS };

/* Item `i` becomes arguments; how many. */
static int push_item(lua_State *L, lua_Integer i) {
  int n, packed;
  lua_rawgeti(L, ITEMS, i);
  if (!lua_toboolean(L, PACKED)) return 1;
  packed = lua_gettop(L);
  lua_getfield(L, packed, "n");
  n = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, n + 1, "too many values");
  for (int k = 1; k <= n; k++) lua_rawgeti(L, packed, k);
  lua_remove(L, packed);
  return n;
}

/*
** run_part(fn, items, count, seconds, packed, drop): calls fn(item) for one after the other, but stops when
** `seconds` are over and some are left. Gives the list of first results, how many there are, and the seconds.
** `packed`: each item is the table {n=, …} of several arguments. `drop`: the list stays empty. The job of map
** and its like.
*/
static int run_part(lua_State *L) {
  lua_Integer count = lua_tointeger(L, COUNT), i = 0;
  double begin = isolua_now(), end = begin + lua_tonumber(L, SECONDS);
  bool drop = lua_toboolean(L, DROP);
  lua_settop(L, RESULTS - 1);
  lua_createtable(L, drop ? 0 : count < INT_MAX ? (int)count : INT_MAX, 0);
  while (i < count) {
    int n;
    lua_pushvalue(L, PART_FN);
    n = push_item(L, ++i);
    lua_call(L, n, drop ? 0 : 1);
    if (!drop) lua_rawseti(L, RESULTS, i);
    if (isolua_tick() > end) break;
  }
  lua_pushinteger(L, i);
  lua_pushnumber(L, isolua_now() - begin);
  return 3;
}

/* fold_part(fn, items, count): fn(fn(fn(i1, i2), i3), …). The job of reduce. */
static int fold_part(lua_State *L) {
  lua_Integer count = lua_tointeger(L, COUNT);
  lua_settop(L, ITEMS);
  lua_rawgeti(L, ITEMS, 1);
  for (lua_Integer i = 2; i <= count; i++) {
    lua_pushvalue(L, PART_FN);
    lua_insert(L, -2);
    lua_rawgeti(L, ITEMS, i);
    lua_call(L, 2, 1);
  }
  return 1;
}

/* -- The rest ---------------------------------------------------------------------------------- */

static int emptied(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)code, (void)ctx;
  if (winner < 0) return push_reason(L, ISOLUA_TIMEOUT);
  lua_pushboolean(L, 1);
  return 1;
}

static int wait_empty(lua_State *L, int64_t timeout) {
  isolua_case c = {.kind = ISOLUA_FUTURE, .future = isolua_pool_empty(check_pool(L, 1))};
  return isolua_wait(L, &c, 1, timeout, 0, emptied);
}

/***
Takes no more jobs, and waits until those that are in have ended. Then its isolates end.
@function pool:close
@tparam[opt] number timeout seconds; 0 does not wait
@treturn[1] boolean true
@return[2] nil and "timeout": some jobs go on; call it again, or `cancel`
*/
static int pool_close(lua_State *L) {
  isolua_pool *p = check_pool(L, 1);
  int64_t timeout = check_timeout(L, 2);
  lua_settop(L, 1);
  if (timeout != 0 && isolua_pool_is_own(L, p))
    return luaL_error(L, "a job cannot wait for the end of the pool that it runs in");
  isolua_pool_close(p);
  return wait_empty(L, timeout);
}

/***
Takes no more jobs, and ends those that are in: their futures fail with `cancelled`.
@function pool:cancel
@tparam[opt] string reason the errors' message
*/
static int pool_cancel(lua_State *L) {
  isolua_pool_cancel(check_pool(L, 1), luaL_optstring(L, 2, NULL));
  return 0;
}

static int after_close(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)L, (void)winner, (void)code, (void)ctx;
  return 0;
}

/* __close of a table that holds the pool while pool_leave waits: was that ended by an error, or with its
** task? */
static int leave_broken(lua_State *L) {
  if (lua_isnoneornil(L, 2) && !isolua_ending(L)) return 0;
  lua_rawgeti(L, 1, 1);
  isolua_pool_cancel(isolua_pool_of(L, -1), NULL);
  return 0;
}

/* The pool is at 1. [-0, +1, m] */
static void guard_leaving(lua_State *L) {
  lua_createtable(L, 1, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, leave_broken);
  lua_setfield(L, -2, "__close");
  lua_setmetatable(L, -2);
  lua_toclose(L, -1);
}

/* __close(pool, err): waits for its jobs, or, after an error, cancels them and waits until they are gone. */
static int pool_leave(lua_State *L) {
  isolua_pool *p = check_pool(L, 1);
  isolua_case c = {.kind = ISOLUA_FUTURE, .future = isolua_pool_empty(p)};
  if (lua_isnoneornil(L, 2) && !isolua_ending(L))
    isolua_pool_close(p);
  else
    isolua_pool_cancel(p, NULL);
  lua_settop(L, 1);
  if (isolua_pool_is_own(L, p)) return 0;
  guard_leaving(L);
  return isolua_wait(L, &c, 1, ISOLUA_FOREVER, 0, after_close);
}

static void set_number(lua_State *L, const char *key, double n) {
  lua_pushnumber(L, n);
  lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, long long n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, key);
}

static void set_quantiles(lua_State *L, const char *key, double p50, double p99) {
  lua_createtable(L, 0, 2);
  set_number(L, "p50", p50);
  set_number(L, "p99", p99);
  lua_setfield(L, -2, key);
}

/***
What it does now, and has done.
@function pool:stats
@treturn table `size`, `busy` (jobs that have begun), `queued` (jobs that wait), `done`, `failed` (jobs), and `wait` and `run`: seconds
that jobs waited and ran, each {p50=, p99=}, to 12 %
*/
static int stats(lua_State *L) {
  isolua_pool_stats s;
  isolua_pool_look(check_pool(L, 1), &s);
  lua_createtable(L, 0, 7);
  set_integer(L, "size", (long long)s.size);
  set_integer(L, "busy", (long long)s.busy);
  set_integer(L, "queued", (long long)s.queued);
  set_integer(L, "done", s.done);
  set_integer(L, "failed", s.failed);
  set_quantiles(L, "wait", s.wait50, s.wait99);
  set_quantiles(L, "run", s.run50, s.run99);
  return 1;
}

static int pool_tostring(lua_State *L) {
  isolua_pool_stats s;
  isolua_pool_look(check_pool(L, 1), &s);
  lua_pushfstring(L, ISOLUA_TPOOL ": %I (%I busy, %I queued)", (LUAI_UACINT)isolua_handle_id(L, 1),
                  (LUAI_UACINT)s.busy, (LUAI_UACINT)s.queued);
  return 1;
}

static int after_call(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return lua_gettop(L);
}

/* The method of that name in Lua. */
static int call_script(lua_State *L, const char *name) {
  check_pool(L, 1);
  isolua_require(L, "isolate.pools");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
  lua_insert(L, 1);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, after_call);
  return lua_gettop(L);
}

static int pool_map(lua_State *L) {
  return call_script(L, "pool_map");
}

static int pool_imap(lua_State *L) {
  return call_script(L, "pool_imap");
}

static int pool_each(lua_State *L) {
  return call_script(L, "pool_each");
}

static int pool_reduce(lua_State *L) {
  return call_script(L, "pool_reduce");
}

static const luaL_Reg methods[] = {{"submit", submit},    {"try_submit", try_submit},
                                   {"map", pool_map},     {"imap", pool_imap},
                                   {"each", pool_each},   {"reduce", pool_reduce},
                                   {"close", pool_close}, {"cancel", pool_cancel},
                                   {"stats", stats},      {NULL, NULL}};

static const luaL_Reg metamethods[] = {
  {"__tostring", pool_tostring}, {"__close", pool_leave}, {NULL, NULL}};

static const char *const fields[] = {"id", NULL};

static bool push_field(lua_State *L, const char *field) {
  (void)field;
  lua_pushinteger(L, (lua_Integer)isolua_handle_id(L, 1));
  return true;
}

void open_pool(lua_State *L) {
  isolua_newhandletype(L, ISOLUA_TPOOL);
  luaL_setfuncs(L, metamethods, 0);
  set_index(L, methods, fields, push_field, false);
  lua_pop(L, 1);
}

/* new_pool(opts, size, queue, idle, max_jobs, retries): opts as for run; idle in seconds, or nil. */
static int new_pool(lua_State *L) {
  isolua_run_options o;
  isolua_pool_options limits = {.size = sizeof limits};
  int first;
  limits.workers = (size_t)luaL_checkinteger(L, 2);
  limits.queue = (size_t)luaL_checkinteger(L, 3);
  limits.idle = check_timeout(L, 4);
  if (limits.idle == 0) limits.idle = 1; /* at once */
  limits.max_jobs = (long long)luaL_checkinteger(L, 5);
  limits.retries = (int)luaL_checkinteger(L, 6);
  lua_settop(L, 1);
  start_options(L, &o, &first);
  if (isolua_pool_push(L, &o, &limits) != ISOLUA_OK) return lua_error(L);
  return 1;
}

/* cores(): processors that this process may run on. */
static int cores(lua_State *L) {
  lua_pushinteger(L, isolua_cores());
  return 1;
}

const luaL_Reg pool_internals[] = {{"new_pool", new_pool},       {"cores", cores},
                                   {"submit_part", submit_part}, {"run_part", run_part},
                                   {"fold_part", fold_part},     {NULL, NULL}};
