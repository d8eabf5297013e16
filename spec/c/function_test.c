/* function_test.c - isolua_lua.h: isolates whose body is a C function. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "one_host.h"

/* Returns its arguments' sum, how many they are, and the name of its isolate. */
static int add(lua_State *L) {
  int n = lua_gettop(L);
  lua_Integer sum = 0;
  for (int i = 1; i <= n; i++) sum += luaL_checkinteger(L, i);
  lua_pushinteger(L, sum);
  lua_pushinteger(L, n);
  return luaL_dostring(L, "return require 'isolate'.self().name") == LUA_OK ? 3 : lua_error(L);
}

static void functions_run_with_arguments(void) {
  isolua_options o = {.size = sizeof o, .name = "adder", .args = new_message()};
  isolua_future *f;
  if (!open_host()) return;
  isolua_add_integer(o.args, 40);
  isolua_add_integer(o.args, 2);
  CHECK_INT(isolua_run_function(host, &o, add, &f), ISOLUA_OK);
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    CHECK_INT(isolua_future_integer(f, 1), 42);
    CHECK_INT(isolua_future_integer(f, 2), 2);
    CHECK_TEXT(isolua_future_string(f, 3, NULL), "adder");
  }
  isolua_future_release(f);
  CHECK_INT(isolua_run_function(host, NULL, add, &f), ISOLUA_OK);
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    CHECK_INT(isolua_future_integer(f, 2), 0);
    CHECK_TEXT(isolua_future_string(f, 3, NULL), "C function");
  }
  isolua_future_release(f);
  close_host();
}

static void functions_fail_with_their_errors(void) {
  isolua_options o = {.size = sizeof o, .args = new_message()};
  isolua_future *f;
  if (!open_host()) return;
  isolua_add_string(o.args, "no number");
  CHECK_INT(isolua_run_function(host, &o, add, &f), ISOLUA_OK);
  embed_settles(f, ISOLUA_ERROR, "number expected, got string");
  CHECK_PART(isolua_future_traceback(f), "stack traceback");
  isolua_future_release(f);
  close_host();
}

static int spin(lua_State *L) {
  return luaL_dostring(L, ENDLESS) == LUA_OK ? 0 : lua_error(L);
}

static void functions_run_within_limits(void) {
  isolua_options o = {.size = sizeof o, .timeout = 10 * MILLISECOND};
  isolua_future *f;
  if (!open_host()) return;
  CHECK_INT(isolua_run_function(host, &o, spin, &f), ISOLUA_OK);
  embed_settles(f, ISOLUA_TIMEOUT, "'C function'");
  isolua_future_release(f);
  close_host();
}

/* Waits until a signal has set its hook, and then has the Lua function that calls it not know of that: so it is
** where Lua was about to note that it has none (luaG_traceexec). `trap` of lstate.h's CallInfo. */
static int overlook_hook(lua_State *L) {
  enum { TRAP = 5 * sizeof(void *) };
  lua_Debug ar;
  while (lua_gethook(L) == NULL) continue;
  if (lua_getstack(L, 1, &ar)) memset((char *)ar.i_ci + TRAP, 0, sizeof(int));
  return 0;
}

static int overlook_kill(lua_State *L) {
  if (luaL_loadstring(L, "(...)() " ENDLESS) != LUA_OK) return lua_error(L);
  lua_pushcfunction(L, overlook_hook);
  lua_call(L, 1, 0);
  return 0;
}

static void hooks_of_kills_may_be_overlooked(void) {
  isolua_options o = {.size = sizeof o, .timeout = 10 * MILLISECOND};
  isolua_future *f;
  if (!open_host()) return;
  CHECK_INT(isolua_run_function(host, &o, overlook_kill, &f), ISOLUA_OK);
  embed_settles(f, ISOLUA_TIMEOUT, "ran over its time");
  isolua_future_release(f);
  close_host();
}

static int has_no_os(lua_State *L) {
  lua_pushboolean(L, lua_getglobal(L, "os") == LUA_TNIL);
  return 1;
}

static void options_hold_for_functions(void) {
  isolua_options o = {.size = sizeof o, .libs = "string"};
  isolua_future *f;
  if (!open_host()) return;
  CHECK_INT(isolua_run_function(host, &o, has_no_os, &f), ISOLUA_OK);
  if (embed_settles(f, ISOLUA_OK, NULL)) CHECK_INT(isolua_future_boolean(f, 1), 1);
  isolua_future_release(f);
  close_host();
}

/* -- Isolates that live ------------------------------------------------------------------------ */

static int received(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)ctx;
  CHECK_INT(winner, 0);
  CHECK_INT(code, ISOLUA_OK);
  lua_pushinteger(L, 2 * lua_tointeger(L, -1));
  return 1;
}

/* Waits for one number in its inbox, and returns it twice over. */
static int double_one(lua_State *L) {
  isolua_case c = {.kind = ISOLUA_RECEIVE, .port = isolua_self_inbox(L)};
  return isolua_wait(L, &c, 1, ISOLUA_FOREVER, 0, received);
}

static void functions_live_and_wait(void) {
  isolua_message *m = new_message();
  isolua_isolate *i;
  isolua_future *f;
  if (!open_host()) return;
  CHECK_INT(isolua_spawn_function(host, NULL, double_one, &i), ISOLUA_OK);
  isolua_add_integer(m, 21);
  CHECK_INT(isolua_send(isolua_isolate_sender(i), m, SOON), ISOLUA_OK);
  f = isolua_isolate_future(i);
  if (embed_settles(f, ISOLUA_OK, NULL)) CHECK_INT(isolua_future_integer(f, 1), 42);
  isolua_isolate_release(i);
  CHECK_INT(isolua_spawn_function(host, NULL, double_one, &i), ISOLUA_OK);
  CHECK_INT(isolua_isolate_kill(i, 0, 0), ISOLUA_OK);
  embed_settles(isolua_isolate_future(i), ISOLUA_KILLED, NULL);
  isolua_isolate_release(i);
  close_host();
}

/* -- Refusals ---------------------------------------------------------------------------------- */

static void wrong_arguments_are_refused(void) {
  isolua_options o = {.size = sizeof o, .libs = "strings"};
  isolua_future *f;
  isolua_isolate *i;
  if (!open_host()) return;
  CHECK_INT(isolua_run_function(NULL, NULL, add, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_run_function(host, NULL, NULL, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_run_function(host, NULL, add, NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_spawn_function(NULL, NULL, add, &i), ISOLUA_INVALID);
  CHECK_INT(isolua_spawn_function(host, NULL, NULL, &i), ISOLUA_INVALID);
  CHECK_INT(isolua_spawn_function(host, NULL, add, NULL), ISOLUA_INVALID);
  o.args = new_message();
  CHECK_INT(isolua_run_function(host, &o, add, &f), ISOLUA_INVALID);
  o.args = new_message();
  CHECK_INT(isolua_spawn_function(host, &o, add, &i), ISOLUA_INVALID);
  o = (isolua_options){.size = sizeof o, .args = new_message()};
  CHECK_INT(isolua_add_end(o.args), ISOLUA_INVALID);
  CHECK_INT(isolua_run_function(host, &o, add, &f), ISOLUA_INVALID); /* it is broken */
  close_host();
}

static void too_many_are_refused(void) {
  isolua_host_options most = {.max_isolates = 1};
  isolua_future *f, *g;
  isolua_isolate *i;
  host = embed_open(&most);
  if (host == NULL) return;
  CHECK_INT(isolua_run_function(host, NULL, spin, &f), ISOLUA_OK);
  CHECK_INT(isolua_run_function(host, NULL, add, &g), ISOLUA_FULL);
  CHECK_INT(isolua_spawn_function(host, NULL, add, &i), ISOLUA_FULL);
  isolua_future_cancel(f, NULL);
  isolua_future_release(f);
  close_host();
}

static const check_case cases[] = {
  {"a C function runs with its arguments", functions_run_with_arguments},
  {"a C function fails with its error", functions_fail_with_their_errors},
  {"a C function runs within the isolate's limits", functions_run_within_limits},
  {"a kill whose hook Lua has overlooked comes again", hooks_of_kills_may_be_overlooked},
  {"options hold for a C function", options_hold_for_functions},
  {"a C function lives in an isolate, and waits", functions_live_and_wait},
  {"wrong arguments are refused", wrong_arguments_are_refused},
  {"one more than the host may have is refused", too_many_are_refused},
};

CHECK_MAIN(cases)
