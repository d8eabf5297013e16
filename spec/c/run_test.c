/* run_test.c - isolua_lua.h: main's state, and what a Ctrl-C stops in it. */
/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "embed.h"
#include "isolua_lua.h"

static lua_State *stopped; /* by the signal handler */
static volatile sig_atomic_t answer;

static void on_signal(int signal) {
  (void)signal;
  answer = isolua_break(stopped);
}

/* break(): as if Ctrl-C were pressed -> what it says */
static int break_now(lua_State *L) {
  raise(SIGUSR1);
  lua_pushinteger(L, answer);
  return 1;
}

/* Calls `source` as isolua_breakable does. What is on the stack then stays. */
static int breakable(lua_State *L, const char *source) {
  luaL_loadstring(L, source);
  return isolua_breakable(L, 0, 1, 0);
}

static void check_top(lua_State *L, const char *part) {
  const char *text = luaL_tolstring(L, -1, NULL);
  if (!CHECK(strstr(text, part) != NULL)) printf("      %s\n", text);
  lua_settop(L, 0);
}

static void run(void (*test)(lua_State *L)) {
  struct sigaction action = {.sa_handler = on_signal}, before;
  isolua_host_options o = {.spares = 0};
  isolua_host *host = embed_open(&o);
  isolua_host_set_open(host, isolua_open_modules);
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, &before);
  if (CHECK_INT(isolua_main_open(host, &stopped), ISOLUA_OK)) {
    lua_register(stopped, "break_now", break_now);
    test(stopped);
    isolua_main_close(stopped);
  }
  sigaction(SIGUSR1, &before, NULL);
  embed_close(host);
}

static void break_ends(lua_State *L) {
  CHECK(breakable(L, "pcall(function() break_now() while true do end end) return 'on'") != LUA_OK);
  check_top(L, "interrupted");
  CHECK_INT(breakable(L, "return 'as ever'"), LUA_OK);
  check_top(L, "as ever");
}

/* Between two calls it stops nothing: neither code outside of them nor the next. */
static void break_between(lua_State *L) {
  static const char count[] = "local n = 0 for i = 1, 1e5 do n = n + 1 end return n";
  raise(SIGUSR1);
  CHECK_INT(answer, 0);
  CHECK_INT(luaL_dostring(L, count), LUA_OK);
  CHECK_INT(breakable(L, "return 1"), LUA_OK);
  raise(SIGUSR1);
  CHECK_INT(answer, 0);
  CHECK_INT(luaL_dostring(L, "return break_now()"), LUA_OK);
  CHECK_INT(lua_tointeger(L, -1), 0);
  CHECK_INT(breakable(L, count), LUA_OK);
  CHECK_INT(lua_tointeger(L, -1), 100000);
}

static void ends_what_runs(void) {
  run(break_ends);
}

static void ends_nothing_between(void) {
  run(break_between);
}

static const check_case cases[] = {
  {"isolua_break ends what isolua_breakable runs, and that alone", ends_what_runs},
  {"isolua_break ends nothing where isolua_breakable does not run", ends_nothing_between},
};

CHECK_MAIN(cases)
