/* gated.c - C modules that tell when two isolates load them at once; for spec/regress/gate_spec.lua. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

LUAMOD_API int luaopen_gated(lua_State *L);
LUAMOD_API int luaopen_gated_inner(lua_State *L);

static volatile int inside; /* as a module would have that knows of one state only */

/* Calls the global `spec_loading`, if there is one; what that raises is the module's error. */
int luaopen_gated(lua_State *L) {
  int before = inside, others, status = LUA_OK;
  inside = before + 1;
  if (lua_getglobal(L, "spec_loading") == LUA_TFUNCTION) status = lua_pcall(L, 0, 0, 0);
  others = inside - 1;
  inside = before;
  if (status != LUA_OK) return lua_error(L);
  lua_pushinteger(L, others);
  return 1;
}

/* Requires the other one, while it is loaded itself. */
int luaopen_gated_inner(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "gated");
  lua_call(L, 1, 1);
  return 1;
}
