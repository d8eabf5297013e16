/* lfuture.c - isolate.future: the result of work that goes on elsewhere. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "lib.h"

#define TYPE "isolate.future"

/*
** A future handle has three user values: 1, once decoded, a table with what try gives ({n=, true, …} or
** {n=, false, err}); 2, of a local future, a function that cancels what stands behind it; 3, of an
** isolate's, the handle of that, and of a task's, a traceback.
*/
enum { RESULT = 1, CANCEL = 2, ISOLATE = 3, TRACE = 3, USER_VALUES = 3 };

typedef struct handle {
  const void *mark;      /* address of handle_mark */
  isolua_future *future; /* NULL: collected */
} handle;

static char handle_mark;

/* Its metatable may be its own: set_index. NULL: it is something else. */
static handle *test_handle(lua_State *L, int at) {
  handle *h;
  if (lua_rawlen(L, at) != sizeof *h) return NULL;
  h = lua_touserdata(L, at);
  return h != NULL && h->mark == &handle_mark ? h : NULL;
}

int64_t check_timeout(lua_State *L, int arg) {
  lua_Number s;
  if (lua_isnoneornil(L, arg)) return ISOLUA_FOREVER;
  if (lua_type(L, arg) != LUA_TNUMBER) luaL_typeerror(L, arg, "timeout in seconds");
  s = lua_tonumber(L, arg);
  luaL_argcheck(L, s >= 0, arg, "a timeout is a number of seconds, 0 or more");
  if (!(s < 9e9)) return ISOLUA_FOREVER;
  return (int64_t)ceil(s * (lua_Number)ISOLUA_SECOND);
}

int64_t check_seconds(lua_State *L, int arg, const char *what) {
  lua_Number s = luaL_checknumber(L, arg);
  if (!(s >= 0))
    luaL_argerror(L, arg, lua_pushfstring(L, "%s: seconds, 0 or more, expected", what));
  return s < 9e9 ? (int64_t)ceil(s * (lua_Number)ISOLUA_SECOND) : INT64_MAX / 2;
}

int push_reason(lua_State *L, int code) {
  lua_pushnil(L);
  lua_pushstring(L, isolua_code_name(code));
  return 2;
}

bool test_future(lua_State *L, int index, isolua_case *c) {
  const handle *h = test_handle(L, index);
  if (h == NULL || h->future == NULL) return false;
  *c = (isolua_case){.kind = ISOLUA_FUTURE, .future = h->future};
  return true;
}

static isolua_future *check_future(lua_State *L, int arg) {
  const handle *h = test_handle(L, arg);
  if (h == NULL) luaL_typeerror(L, arg, TYPE);
  luaL_argcheck(L, h->future != NULL, arg, "the future was collected");
  return h->future;
}

static void push_metatable(lua_State *L);

void push_future(lua_State *L, isolua_future *future) {
  handle *h = lua_newuserdatauv(L, sizeof *h, USER_VALUES);
  h->mark = &handle_mark;
  h->future = future;
  push_metatable(L);
  lua_setmetatable(L, -2);
}

/* Senders to its inbox are left as long as somebody can ask for its handle. */
void set_future(lua_State *L, int index, isolua_future *future) {
  ((handle *)lua_touserdata(L, index))->future = future;
  lua_setiuservalue(L, index, ISOLATE);
}

/* Pushes a table with what a settled future holds. */
static void decode_result(lua_State *L, isolua_future *f) {
  int first, code;
  first = lua_gettop(L) + 1;
  code = isolua_future_push(L, f);
  lua_pushboolean(L, code == ISOLUA_OK);
  lua_insert(L, first);
  lua_createtable(L, lua_gettop(L) - first + 1, 1);
  lua_insert(L, first);
  lua_pushinteger(L, lua_gettop(L) - first);
  lua_setfield(L, first, "n");
  for (int i = lua_gettop(L) - first; i >= 1; i--) lua_rawseti(L, first, i);
}

/* Pushes the result table of the settled future whose handle is at `index`. */
static void push_result_at(lua_State *L, int index, isolua_future *f) {
  index = lua_absindex(L, index);
  if (lua_getiuservalue(L, index, RESULT) == LUA_TTABLE) return;
  lua_pop(L, 1);
  decode_result(L, f);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, index, RESULT);
}

static void push_result(lua_State *L, isolua_future *f) {
  push_result_at(L, 1, f);
}

/* Pushes (true, …) or (false, err) of the result table on the top; how many. */
static int unpack(lua_State *L) {
  int table = lua_gettop(L), n;
  lua_getfield(L, table, "n");
  n = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, n, "too many results");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, table, i);
  return n;
}

void push_outcome(lua_State *L, int index, isolua_future *f) {
  int n;
  if (test_handle(L, index) != NULL)
    push_result_at(L, index, f);
  else
    decode_result(L, f);
  n = unpack(L);
  lua_remove(L, -(n + 1));
}

enum { PLAIN_RESULTS = 3, PLAIN_STRING = 40 }; /* at most; bytes of a string */

/* Is the result one that is as quickly made anew, and has no identity? */
static bool is_plain_result(isolua_future *f, int i) {
  size_t len = 0;
  int type = isolua_future_type(f, i);
  if (type == ISOLUA_TSTRING) isolua_future_string(f, i, &len);
  return type <= ISOLUA_TSTRING && len <= PLAIN_STRING;
}

/* Pushes the results of one that has succeeded, without keeping them: how many; -1: push_result is to do it. */
static int push_plain_results(lua_State *L, isolua_future *f) {
  int n = isolua_future_count(f);
  if (isolua_future_is_local(f) || n == 0 || n > PLAIN_RESULTS) return -1;
  for (int i = 1; i <= n; i++)
    if (!is_plain_result(f, i)) return -1;
  isolua_future_push(L, f);
  return n;
}

static int awaited(lua_State *L, int winner, int code, lua_KContext ctx) {
  isolua_future *f = check_future(L, 1);
  int n;
  (void)winner, (void)code, (void)ctx;
  lua_settop(L, 1);
  n = push_plain_results(L, f);
  if (n >= 0) return n;
  push_result(L, f);
  n = unpack(L);
  if (lua_toboolean(L, -n)) return n - 1;
  return isolua_future_raise(L, isolua_future_traceback(f));
}

/***
Waits until the work has ended and gives its results. The rest of this isolate goes on meanwhile.
@function future:await
@return the results of the function
@raise the error that the work ended with, the same value
@usage local sum = isolate.run(add, 1, 2):await()
*/
static int future_await(lua_State *L) {
  isolua_case c = {.kind = ISOLUA_FUTURE, .future = check_future(L, 1)};
  luaL_argcheck(L, lua_isnoneornil(L, 2), 2, "await has no timeout; try has one");
  lua_settop(L, 1);
  isolua_future_look(c.future);
  if (isolua_future_now(L, c.future)) return awaited(L, 0, ISOLUA_OK, 0);
  return isolua_wait(L, &c, 1, ISOLUA_FOREVER, 0, awaited);
}

static int tried(lua_State *L, int winner, int code, lua_KContext ctx) {
  isolua_future *f = check_future(L, 1);
  (void)code, (void)ctx;
  lua_settop(L, 1);
  if (winner < 0) {
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    return 2;
  }
  isolua_future_look(f);
  push_result(L, f);
  return unpack(L);
}

/***
Waits for the work at most `timeout` seconds and never raises for it.
@function future:try
@tparam[opt] number timeout seconds; 0 does not wait; nil waits without end
@return[1] true and the results
@return[2] false and the error value
@return[3] nil and "timeout": it is not done yet
@usage local ok, value = future:try(0.5)
*/
static int future_try(lua_State *L) {
  isolua_case c = {.kind = ISOLUA_FUTURE, .future = check_future(L, 1)};
  int64_t timeout = check_timeout(L, 2);
  lua_settop(L, 1);
  return isolua_wait(L, &c, 1, timeout, 0, tried);
}

/***
Has the work ended?
@function future:done
@treturn boolean
*/
static int future_done(lua_State *L) {
  lua_pushboolean(L, isolua_future_done(check_future(L, 1)));
  return 1;
}

/* Cancels the future at index 1 with the reason at 2. */
static int cancel(lua_State *L) {
  isolua_future *f = check_future(L, 1);
  size_t len = 0;
  const char *reason = luaL_optlstring(L, 2, NULL, &len);
  luaL_argcheck(L, reason == NULL || strlen(reason) == len, 2, "a reason has no zeros in it");
  isolua_future_look(f);
  if (isolua_future_done(f)) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (isolua_future_is_local(f)) {
    lua_settop(L, 2);
    if (lua_getiuservalue(L, 1, CANCEL) == LUA_TFUNCTION) {
      lua_pushvalue(L, 2);
      lua_call(L, 1, 1);
      return 1;
    }
  }
  lua_pushboolean(L, isolua_future_cancel(f, reason));
  return 1;
}

/***
Ends the work: kills the isolate behind the future, which fails with `cancelled` at once. Does nothing
when it is done.
@function future:cancel
@tparam[opt] string reason the error's message
@treturn boolean did it cancel anything?
*/
static int future_cancel(lua_State *L) {
  return cancel(L);
}

/***
Where the error was raised, in the isolate that raised it.
@function future:traceback
@treturn ?string nil when there is none
*/
static int future_traceback(lua_State *L) {
  lua_pushstring(L, isolua_future_traceback(check_future(L, 1)));
  return 1;
}

static int after_on_done(lua_State *L, int status, lua_KContext ctx) {
  (void)L, (void)status, (void)ctx;
  return 0;
}

/* Upvalues: the future handle, the function. */
static int call_on_done(lua_State *L) {
  isolua_future *f;
  int n;
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  f = check_future(L, 1);
  push_result(L, f);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, -2);
  n = unpack(L);
  lua_remove(L, -(n + 1));
  lua_callk(L, n, 0, 0, after_on_done);
  return 0;
}

/***
Calls `fn(true, …)` or `fn(false, err)` from the event loop once the work has ended. An error in `fn`
is uncaught: it is reported, and ends an isolate that is not main.
@function future:on_done
@tparam function fn
*/
static int future_on_done(lua_State *L) {
  isolua_future *f = check_future(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  isolua_future_look(f);
  lua_pushcclosure(L, call_on_done, 2);
  isolua_loop_on_done(L, f);
  return 0;
}

static const char *const fields[] = {"id", "isolate", NULL};

static bool push_field(lua_State *L, const char *field) {
  if (field == fields[0])
    lua_pushinteger(L, (lua_Integer)isolua_future_id(check_future(L, 1)));
  else
    lua_getiuservalue(L, 1, ISOLATE);
  return true;
}

static int future_tostring(lua_State *L) {
  isolua_future *f = check_future(L, 1);
  const char *state = "pending";
  if (isolua_future_done(f)) state = isolua_future_message(f) != NULL ? "failed" : "done";
  lua_pushfstring(L, TYPE ": %I (%s)", (LUAI_UACINT)isolua_future_id(f), state);
  return 1;
}

static int future_gc(lua_State *L) {
  handle *h = test_handle(L, 1);
  isolua_future *f = h != NULL ? h->future : NULL;
  if (f == NULL) return 0;
  h->future = NULL;
  isolua_future_release(f);
  return 0;
}

static int future_close(lua_State *L) {
  lua_settop(L, 1);
  return cancel(L);
}

void look_at_future(lua_State *L, int index) {
  isolua_future_look(check_future(L, index));
}

/* overlook(future): nobody has seen to its error, after all. */
static int overlook(lua_State *L) {
  isolua_future_overlook(check_future(L, 1));
  return 0;
}

void set_trace(lua_State *L, int index) {
  lua_setiuservalue(L, index, TRACE);
}

void set_cancel(lua_State *L, int index) {
  lua_setiuservalue(L, index, CANCEL);
}

bool settle_future(lua_State *L, int index) {
  isolua_future *f = check_future(L, index);
  int table = index + 1, n = lua_gettop(L) - index;
  const char *message = NULL, *traceback = NULL;
  bool ok = lua_toboolean(L, table);
  if (isolua_future_done(f)) return false;
  luaL_checkstack(L, 6, NULL);
  lua_createtable(L, n, 1);
  lua_insert(L, table);
  lua_pushinteger(L, n);
  lua_setfield(L, table, "n");
  for (int i = n; i >= 1; i--) lua_rawseti(L, table, i);
  if (!ok) {
    if (lua_getiuservalue(L, index, TRACE) == LUA_TSTRING) traceback = lua_tostring(L, -1);
    lua_rawgeti(L, table, 2);
    message = luaL_tolstring(L, -1, NULL);
  }
  lua_pushvalue(L, table);
  lua_setiuservalue(L, index, RESULT);
  return isolua_future_settle(f, ok, message, traceback);
}

/* settle(ok, …) of the local future, upvalue 1. False: it was settled before. */
static int settle(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_pushboolean(L, settle_future(L, 1));
  return 1;
}

/* settle_traced(traceback, ok, …), likewise. */
static int settle_traced(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushvalue(L, 1);
  set_trace(L, lua_upvalueindex(1));
  lua_remove(L, 1);
  return settle(L);
}

isolua_future *push_promise(lua_State *L) {
  isolua_future *f;
  push_future(L, NULL);
  f = isolua_future_new(L);
  if (f == NULL) isolua_memoryerror(L);
  ((handle *)lua_touserdata(L, -1))->future = f;
  return f;
}

/* promise([cancel]) -> future, settle: a future that Lua code settles with settle(traceback, ok, …); `cancel` is
** called with the reason when the future is cancelled, and says whether it did. */
static int promise(lua_State *L) {
  lua_settop(L, 1);
  push_promise(L);
  lua_pushvalue(L, 1);
  set_cancel(L, 2);
  lua_pushvalue(L, 2);
  lua_pushcclosure(L, settle_traced, 1);
  return 2;
}

static int is_future(lua_State *L) {
  lua_pushboolean(L, test_handle(L, 1) != NULL);
  return 1;
}

static const luaL_Reg methods[] = {{"await", future_await},
                                   {"try", future_try},
                                   {"done", future_done},
                                   {"cancel", future_cancel},
                                   {"traceback", future_traceback},
                                   {"on_done", future_on_done},
                                   POLLABLE,
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
  {"__tostring", future_tostring}, {"__gc", future_gc}, {"__close", future_close}, {NULL, NULL}};

const luaL_Reg future_internals[] = {
  {"promise", promise}, {"is_future", is_future}, {"overlook", overlook}, {NULL, NULL}};

static void push_metatable(lua_State *L) {
  if (!new_type(L, TYPE)) return;
  luaL_setfuncs(L, metamethods, 0);
  lua_pushliteral(L, TYPE);
  lua_setfield(L, -2, "__metatable");
  set_index(L, methods, fields, push_field, true);
  keep_type(L, TYPE);
}
