/* lloop.c - the event loop: select, sleep, tasks, and other event loops. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <limits.h>

#include "lib.h"

/* -- Select ------------------------------------------------------------------------------------ */

/* Stack of a select: the list, a copy of it that nobody changes, the cases, values to be sent. */
enum { THINGS = 2, CASES = 3 };

/* What it calls itself, else its Lua type. The stack keeps it. [-0, +1, m] */
static const char *type_name(lua_State *L, int index) {
  const char *name = luaL_typename(L, index);
  return luaL_getmetafield(L, index, "__name") == LUA_TSTRING ? lua_tostring(L, -1) : name;
}

/* {sender or channel, value} at the top: its value stays on the stack. */
static void send_case(lua_State *L, int item, isolua_case *c) {
  bool closed;
  int thing = lua_gettop(L);
  lua_rawgeti(L, thing, 1);
  *c = (isolua_case){.kind = ISOLUA_SEND, .port = isolua_port_of(L, -1)};
  closed = c->port == NULL && is_a(L, -1, ISOLUA_TSENDER);
  if (c->port == NULL && !closed)
    luaL_error(L, "bad argument #1 to 'select' (item %d: sender or channel expected, got %s)", item,
               type_name(L, -1));
  lua_rawgeti(L, thing, 2);
  if (lua_isnil(L, -1))
    luaL_error(L, "bad argument #1 to 'select' (item %d has no value to send, or nil)", item);
  if (closed) luaL_error(L, "bad argument #1 to 'select' (item %d: the sender is closed)", item);
  if (isolua_port_is_rendezvous(c->port))
    luaL_error(L, "bad argument #1 to 'select' (item %d: a channel of capacity 0 cannot send)",
               item);
  c->value = thing;
  lua_replace(L, thing);
  lua_settop(L, thing);
}

/* The thing on the top, which it pops, but for a value that is to be sent. */
static void take_case(lua_State *L, int item, isolua_case *c) {
  if (lua_istable(L, -1)) {
    send_case(L, item, c);
    return;
  }
  if (!test_port(L, -1, c) && !test_future(L, -1, c) && !test_timer(L, -1, c) &&
      !test_isolate(L, -1, c))
    luaL_error(
      L,
      "bad argument #1 to 'select' (item %d: receiver, channel, future, stream, isolate, timer "
      "or {channel, value} expected, got %s)",
      item, type_name(L, -1));
  lua_pop(L, 1);
}

static int selected(lua_State *L, int winner, int code, lua_KContext ctx) {
  const isolua_case *cases = lua_touserdata(L, CASES);
  int first;
  (void)ctx;
  if (winner < 0) return push_reason(L, ISOLUA_TIMEOUT);
  lua_rawgeti(L, THINGS, winner + 1);
  if (code != ISOLUA_OK) return 1 + push_reason(L, code);
  if (cases[winner].kind == ISOLUA_RECEIVE) {
    lua_insert(L, -2);
    return 2;
  }
  if (cases[winner].kind != ISOLUA_FUTURE) {
    lua_pushboolean(L, 1);
    return 2;
  }
  first = lua_gettop(L) + 1;
  isolua_future_look(cases[winner].future);
  push_outcome(L, first - 1, cases[winner].future);
  if (lua_toboolean(L, first)) { /* true, results…: the first */
    lua_settop(L, first + 1);
    lua_remove(L, first);
    return 2;
  }
  lua_pushnil(L);
  lua_replace(L, first);
  return 3;
}

static int delegated(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return lua_gettop(L) - 1;
}

/* The table on the top may see to the whole select: the metafield `__select`, called with the list and the
** timeout. Stack: the list, …, the table. False: it has none. [-0, +0|1, -] */
static bool push_delegate(lua_State *L) {
  return lua_istable(L, -1) && luaL_getmetafield(L, -1, "__select") != LUA_TNIL;
}

static int delegate(lua_State *L, lua_Number timeout) {
  lua_replace(L, 2);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  if (timeout < 0)
    lua_pushnil(L);
  else
    lua_pushnumber(L, timeout);
  lua_callk(L, 2, LUA_MULTRET, 0, delegated);
  return delegated(L, LUA_OK, 0);
}

/***
Waits for the first of several things. Exactly one is taken; the others lose nothing.
@function isolate.select
@tparam {thing,...} list receivers, channels, futures, isolates, timers, and `{channel, value}` to send
@tparam[opt] number timeout seconds; nil waits without end
@return[1] the thing and its value: a message, the first result of a future, the exit message of an
  isolate, true of a timer that rang or a value that was sent
@return[2] the thing, nil and the error: of a future
@return[3] the thing, nil and "closed"
@return[4] nil and "timeout"
@raise not_sendable; deadlock
*/
static int select(lua_State *L) {
  int64_t timeout = check_timeout(L, 2);
  isolua_case *cases;
  lua_Integer n;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  n = luaL_len(L, 1);
  luaL_argcheck(L, n < INT_MAX / 256, 1, "too many things");
  lua_createtable(L, (int)n, 0);
  cases = lua_newuserdatauv(L, (size_t)(n > 0 ? n : 1) * sizeof *cases, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    luaL_checkstack(L, LUA_MINSTACK, "too many values to send");
    lua_geti(L, 1, i);
    if (push_delegate(L))
      return delegate(L, timeout < 0 ? -1 : (lua_Number)timeout / ISOLUA_SECOND);
    lua_pushvalue(L, -1);
    lua_rawseti(L, THINGS, i);
    take_case(L, (int)i, &cases[i - 1]);
  }
  if (n == 0 && timeout < 0) return luaL_argerror(L, 1, "nothing to wait for, and no timeout");
  return isolua_wait(L, cases, (int)n, timeout, 0, selected);
}

/* -- Time -------------------------------------------------------------------------------------- */

static int slept(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)L, (void)winner, (void)code, (void)ctx;
  return 0;
}

/***
Waits. The rest of this isolate goes on meanwhile.
@function isolate.sleep
@tparam number s seconds, 0 or more; 0 gives the rest of this isolate a turn
*/
static int sleep_for(lua_State *L) {
  int64_t ns = check_seconds(L, 1, "sleep");
  return isolua_wait(L, NULL, 0, ns > 0 ? ns : 1, 0, slept);
}

/* -- Tasks ------------------------------------------------------------------------------------- */

/* traceback(err): of the caller, with what came before from other isolates. */
static int traceback(lua_State *L) {
  isolua_pushtraceback(L, 1, 1);
  return 1;
}

/* -- The loop ---------------------------------------------------------------------------------- */

/***
Waits until every other isolate has ended. In main only.
@function isolate.wait
*/
static int wait_all(lua_State *L) {
  isolua_wait_all(L);
  return 0;
}

/***
A descriptor that is readable when this isolate has something to do: then call `pump`. Other event loops
poll it.
@function isolate.fd
@treturn integer
*/
static int fd(lua_State *L) {
  int n = isolua_loop_fd(L);
  if (n < 0) return luaL_error(L, "isolate.fd: the system has no more descriptors");
  lua_pushinteger(L, n);
  return 1;
}

/***
Does what this isolate has to do, without waiting: handlers, timers, tasks.
@function isolate.pump
@tparam[opt] integer max_items at most so many things
@tparam[opt] number max_seconds for about so long
@treturn integer how many things are left
*/
static int pump(lua_State *L) {
  lua_Integer max = luaL_optinteger(L, 1, -1);
  int64_t ns = check_timeout(L, 2);
  luaL_argcheck(L, max >= 0 || lua_isnoneornil(L, 1), 1, "0 or more expected");
  lua_pushinteger(L, (lua_Integer)isolua_loop_pump(L, max, ns));
  return 1;
}

/***
Seconds until the next timer of this isolate is due.
@function isolate.timeout
@treturn ?number nil: there is none
*/
static int next_timeout(lua_State *L) {
  int64_t ns = isolua_loop_next(L);
  if (ns < 0)
    lua_pushnil(L);
  else
    lua_pushnumber(L, (lua_Number)ns / ISOLUA_SECOND);
  return 1;
}

/* foreign(fn or nil): waits outside tasks call fn(token, nested): isolua_set_foreign. */
static int foreign(lua_State *L) {
  lua_settop(L, 1);
  if (!lua_isnil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  isolua_set_foreign(L);
  return 0;
}

/* serve() -> token of a wait in another event loop that may go on; nil: none; false: the isolate ends. */
static int serve(lua_State *L) {
  long long token;
  if (isolua_serve(L, &token) != ISOLUA_OK)
    lua_pushboolean(L, 0);
  else if (token != 0)
    lua_pushinteger(L, (lua_Integer)token);
  else
    lua_pushnil(L);
  return 1;
}

/* is_over(): nothing of this isolate's event loop will call anything any more. */
static int is_over(lua_State *L) {
  lua_pushboolean(L, isolua_is_over(L));
  return 1;
}

/* pending() -> tasks that have not ended, timers with a function that are set */
static int pending(lua_State *L) {
  size_t tasks, timers;
  isolua_pending(L, &tasks, &timers);
  lua_pushinteger(L, (lua_Integer)tasks);
  lua_pushinteger(L, (lua_Integer)timers);
  return 2;
}

/* -- Adapters ---------------------------------------------------------------------------------- */

/* running(thread): it is the one that runs. */
static int running(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTHREAD);
  isolua_running(L, 1);
  return 0;
}

/* dying() -> 0, or what the isolate is told to end with. */
static int dying(lua_State *L) {
  lua_pushinteger(L, isolua_dying(L));
  return 1;
}

/* ending() -> is what is closed now closed because the isolate ends? */
static int ending(lua_State *L) {
  lua_pushboolean(L, isolua_ending(L));
  return 1;
}

/* pass_on(before): raises when that has changed. */
static int pass_on(lua_State *L) {
  isolua_pass_on(L, (int)luaL_checkinteger(L, 1));
  return 0;
}

static int add_traceback(lua_State *L) {
  if (lua_type(L, 1) == LUA_TSTRING) luaL_traceback(L, L, lua_tostring(L, 1), 1);
  return 1;
}

/* Upvalues: the callback, and what is called when the isolate is told to end in it. */
static int call_guarded(lua_State *L) {
  int n = lua_gettop(L), status;
  luaL_checkstack(L, 3, NULL);
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 2);
  status = isolua_callback(L, n, LUA_MULTRET, 1);
  if (status == ISOLUA_OK) return lua_gettop(L) - 1;
  if (status == ISOLUA_ERROR) return lua_error(L);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_call(L, 0, 0);
  return 0;
}

/* guard(callback, stop) -> a function that does the same, but raises nothing when the isolate is told to
** end: it calls stop() then. In main, which is never: the callback itself. */
static int guard(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (isolua_is_main(L))
    lua_pop(L, 1);
  else
    lua_pushcclosure(L, call_guarded, 2);
  return 1;
}

static int is_main(lua_State *L) {
  lua_pushboolean(L, isolua_is_main(L));
  return 1;
}

const luaL_Reg loop_functions[] = {
  {"select", select}, {"sleep", sleep_for},      {"wait", wait_all}, {"fd", fd},
  {"pump", pump},     {"timeout", next_timeout}, {NULL, NULL}};

const luaL_Reg loop_internals[] = {
  {"traceback", traceback}, {"foreign", foreign}, {"serve", serve},     {"running", running},
  {"dying", dying},         {"pass_on", pass_on}, {"guard", guard},     {"is_main", is_main},
  {"is_over", is_over},     {"ending", ending},   {"pending", pending}, {NULL, NULL}};
