/* ltimer.c - isolate.timer: what happens later, once or again and again. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lib.h"

bool test_timer(lua_State *L, int index, isolua_case *c) {
  isolua_timer *t = isolua_timer_of(L, index);
  if (t == NULL) return false;
  *c = (isolua_case){.kind = ISOLUA_TIMER, .timer = t};
  return true;
}

static isolua_timer *check_timer(lua_State *L) {
  isolua_timer *t = isolua_timer_of(L, 1);
  if (t == NULL) luaL_typeerror(L, 1, ISOLUA_TTIMER);
  return t;
}

static void open_type(lua_State *L);

static int fn_argument(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return 0;
  luaL_checktype(L, index, LUA_TFUNCTION);
  return index;
}

/***
A timer that rings once. Without a function it can be selected, and keeps nothing alive.
@function isolate.after
@tparam number s seconds, 0 or more
@tparam[opt] function fn called from the event loop; an error in it is uncaught
@treturn timer
@usage isolate.after(0.5, function() print "half a second later" end)
*/
static int after(lua_State *L) {
  open_type(L);
  isolua_timer_push(L, check_seconds(L, 1, "after"), 0, fn_argument(L, 2));
  return 1;
}

/***
A timer that rings again and again. A ring that finds `fn` still running, or that nobody took, is left
out.
@function isolate.every
@tparam number s seconds, more than 0
@tparam[opt] function fn called from the event loop; an error in it is uncaught
@treturn timer
*/
static int every(lua_State *L) {
  int64_t period = check_seconds(L, 1, "every");
  luaL_argcheck(L, period > 0, 1, "every: more than 0 seconds expected");
  open_type(L);
  isolua_timer_push(L, period, period, fn_argument(L, 2));
  return 1;
}

/***
It does not ring any more.
@function timer:cancel
@treturn boolean would it have rung?
*/
static int cancel(lua_State *L) {
  lua_pushboolean(L, isolua_timer_cancel(L, check_timer(L)));
  return 1;
}

static int timer_gc(lua_State *L) {
  isolua_timer_drop(L, check_timer(L));
  return 0;
}

static int timer_tostring(lua_State *L) {
  lua_pushfstring(L, ISOLUA_TTIMER ": %I", (LUAI_UACINT)isolua_timer_id(check_timer(L)));
  return 1;
}

static const char *const fields[] = {"id", NULL};

static bool push_field(lua_State *L, const char *field) {
  (void)field;
  lua_pushinteger(L, (lua_Integer)isolua_timer_id(check_timer(L)));
  return true;
}

static const luaL_Reg methods[] = {{"cancel", cancel}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {
  {"__gc", timer_gc}, {"__close", cancel}, {"__tostring", timer_tostring}, {NULL, NULL}};
const luaL_Reg timer_functions[] = {{"after", after}, {"every", every}, {NULL, NULL}};

static void open_type(lua_State *L) {
  if (new_type(L, ISOLUA_TTIMER)) {
    luaL_setfuncs(L, metamethods, 0);
    lua_pushliteral(L, ISOLUA_TTIMER);
    lua_setfield(L, -2, "__metatable");
    set_index(L, methods, fields, push_field, false);
    keep_type(L, ISOLUA_TTIMER);
  }
  lua_pop(L, 1);
}
