/* ltask.c - isolate.async: coroutines of an isolate's event loop. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lib.h"

/* Message handler of a task. Upvalue: its future handle, which keeps the text. */
static int note_traceback(lua_State *L) {
  lua_settop(L, 1);
  isolua_pushtraceback(L, 1, 1);
  set_trace(L, lua_upvalueindex(1));
  return 1;
}

/* Stack: future handle, handler, results or the error. ctx: what isolua_dying said before. In main the
** future settles also when Ctrl-C unwinds the task: it is not the end of all. */
static int ended(lua_State *L, int status, lua_KContext ctx) {
  bool ok = status == LUA_OK || status == LUA_YIELD;
  if (!ok && !isolua_is_main(L)) isolua_pass_on(L, (int)ctx);
  if (!ok && isolua_interrupted(L, -1)) {
    look_at_future(L, 1);
    isolua_pusherror(L, ISOLUA_INTERRUPTED, "interrupted", NULL);
    lua_replace(L, -2);
  }
  lua_pushboolean(L, ok);
  lua_replace(L, 2);
  settle_future(L, 1);
  return 0;
}

/* body(future, fn, …) */
static int body(lua_State *L) {
  int before = isolua_dying(L);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, note_traceback, 1);
  lua_insert(L, 2);
  return ended(L, lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, before, ended), before);
}

/* cancel(reason) -> did it? Upvalues: future handle, task. */
static int cancel(lua_State *L) {
  const char *reason = luaL_optstring(L, 1, isolua_code_message(ISOLUA_CANCELLED));
  bool done;
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushboolean(L, 0);
  isolua_pusherror(L, ISOLUA_CANCELLED, reason, NULL);
  done = settle_future(L, 2);
  isolua_task_cancel(L, lua_upvalueindex(2));
  lua_pushboolean(L, done);
  return 1;
}

/***
Runs `fn(...)` as a task of this isolate: whenever it waits, the others go on.
@function isolate.async
@tparam function fn
@param ...
@treturn future of its results; cancelling it raises `cancelled` at the task's wait
@usage local f = isolate.async(function() isolate.sleep(1) return "done" end)
*/
static int async(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  push_promise(L);
  lua_insert(L, 1); /* future, fn, … */
  lua_pushcfunction(L, body);
  lua_insert(L, 2);
  lua_pushvalue(L, 1);
  lua_insert(L, 3); /* future, body, future, fn, … */
  isolua_task_push(L, lua_gettop(L) - 2);
  lua_pushvalue(L, 1);
  lua_insert(L, 2);
  lua_pushcclosure(L, cancel, 2);
  set_cancel(L, 1);
  return 1;
}

const luaL_Reg task_functions[] = {{"async", async}, {NULL, NULL}};
