/* gate_lib.c - the loading of C modules, one isolate at a time. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "gate.h"
#include "kill.h"
#include "vm.h"

/*
** DESIGN. Modules in C were written for one state at a time: a luaopen function that fills a static
** variable on its first call is common. So the searchers of package.searchers that load C libraries, and
** the loaders they find, go through the gate. What such a loader requires is inside, too: the gate opens
** when the first one has come back. Modules in Lua do not pass it.
*/

/* [-0, +0, v] */
static void enter(il_vm *vm, lua_State *L) {
  il_waiter *self = &vm->isolate->waiter;
  il_gate_place place;
  if (il_gate_enter(&place, self)) return;
  while (!il_gate_arrived(&place) && !il_vm_wanted(vm)) il_waiter_sleep(self, -1);
  il_waiter_wake(self); /* a wake-up of the event loop may have been taken here */
  if (!il_vm_wanted(vm)) return;
  il_gate_give_up(&place);
  il_vm_raise(vm, L);
}

/* Upvalue: a function, called with the arguments, inside the gate. */
static int pass(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  int status, n = lua_gettop(L);
  bool before;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  if (vm == NULL) {
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
  }
  enter(vm, L);
  before = il_vm_unwinding(vm);
  status = lua_pcall(L, n, LUA_MULTRET, 0);
  il_gate_leave();
  if (status == LUA_OK) return lua_gettop(L);
  if (il_vm_passes(vm, before)) return il_vm_pass_on(L);
  return lua_error(L);
}

/* The library's own module is made for many threads, and a fresh isolate must not wait for it. [-0, +0, -] */
static bool is_own(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  const char *own = vm != NULL ? atomic_load(&vm->host->types) : NULL;
  return own != NULL && lua_type(L, 1) == LUA_TSTRING && strcmp(lua_tostring(L, 1), own) == 0;
}

/* A searcher: the loader that it finds goes through the gate as well. */
static int search(lua_State *L) {
  int n;
  if (is_own(L)) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
  }
  n = pass(L);
  if (n == 0 || lua_type(L, 1) != LUA_TFUNCTION) return n;
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, pass, 1);
  lua_replace(L, 1);
  return n;
}

enum { FIRST = 3, LAST = 4 }; /* of package.searchers: C libraries, and those all in one */

void il_vm_open_gate(lua_State *L) {
  int top = lua_gettop(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "package") == LUA_TTABLE &&
      lua_getfield(L, -1, "searchers") == LUA_TTABLE) {
    for (int i = FIRST; i <= LAST; i++) {
      if (lua_rawgeti(L, -1, i) == LUA_TFUNCTION) {
        lua_pushcclosure(L, search, 1);
        lua_rawseti(L, -2, i);
      } else {
        lua_pop(L, 1);
      }
    }
  }
  lua_settop(L, top);
}
