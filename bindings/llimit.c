/* llimit.c - calls of foreign code that may take only so long: metamethods, for the prompt. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lib.h"

/*
** DESIGN. The call is made in a coroutine with a hook that counts instructions; coroutines that it makes
** have that hook from it. Once the time is over the hook raises, from then on at every instruction, so
** that a loop around a `pcall` ends as well; and it raises the memory error, for which Lua calls no message
** handler, which could loop too. What would wait raises at once, whatever the time. Not stopped are functions
** of C, and coroutines that were there before.
*/

/* Instructions between two looks at the clock. */
#ifndef LIMIT_COUNT
#define LIMIT_COUNT 1000
#endif

/* Of the innermost call of this thread: when it ends, 0 outside of all; was it stopped? */
static _Thread_local lua_Number deadline;
static _Thread_local bool expired;

static void on_count(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (deadline == 0) {
    lua_sethook(L, NULL, 0, 0); /* a coroutine that has outlived the call */
  } else if (isolua_now() >= deadline) {
    expired = true;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    lua_pushliteral(L, "not enough memory"); /* the very string that lua_error knows */
    lua_error(L);
  }
}

/* Pushes what limited() gives for a coroutine that has stopped with `n` values on its top. [-0, +n+1, m] */
static int push_end(lua_State *L, lua_State *co, int status, int n) {
  if (status == LUA_OK) {
    luaL_checkstack(L, n + 1, "too many results");
    lua_pushboolean(L, 1);
    lua_xmove(co, L, n);
    return n + 1;
  }
  lua_pushboolean(L, 0);
  if (status == LUA_YIELD)
    lua_pushliteral(L, "attempt to yield");
  else
    lua_xmove(co, L, 1);
  return 2;
}

/* limited(seconds, f, …) -> true, results | false, error | nil, "timeout" */
static int limited(lua_State *L) {
  lua_Number until = isolua_now() + luaL_checknumber(L, 1), outer = deadline;
  bool outer_expired = expired, over;
  int before = isolua_dying(L), n, status;
  lua_State *co;
  luaL_checkany(L, 2);
  lua_pushthread(L);
  lua_replace(L, 1);
  co = lua_newthread(L);
  lua_insert(L, 2);
  n = lua_gettop(L) - 2;
  if (!lua_checkstack(co, n + 1)) return luaL_error(L, "too many arguments");
  lua_xmove(L, co, n);
  deadline = outer != 0 && outer < until ? outer : until;
  expired = false;
  lua_sethook(co, on_count, LUA_MASKCOUNT, LIMIT_COUNT);
  isolua_running(L, 2);
  isolua_waitless(L, 1);
  status = lua_resume(co, L, n - 1, &n);
  if (status == LUA_YIELD) lua_pop(co, n);
  if (status != LUA_OK) lua_resetthread(co); /* its closers run; an error stays on its top */
  over = expired && status != LUA_OK;
  isolua_waitless(L, 0);
  isolua_running(L, 1);
  deadline = outer;
  expired = outer_expired;
  if (status != LUA_OK) isolua_pass_on(L, before);
  if (!over) return push_end(L, co, status, n);
  lua_pushnil(L);
  lua_pushliteral(L, "timeout");
  return 2;
}

const luaL_Reg limit_internals[] = {{"limited", limited}, {NULL, NULL}};
