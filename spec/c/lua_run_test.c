/* lua_run_test.c - isolua_lua.h: states, errors, futures, isolates, tasks and the event loop. */
/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "embed.h"

static const isolua_run_options options = {.base = {.size = sizeof options.base}};

static int nothing(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)L, (void)ctx;
  CHECK_INT(winner, 0);
  return code;
}

/* Waits in main for a future; its code. */
static int settles(lua_State *L, isolua_future *f) {
  isolua_case c = {.kind = ISOLUA_FUTURE, .future = f};
  isolua_wait(L, &c, 1, SOON, 0, nothing);
  return isolua_future_done(f) ? isolua_future_wait(f, 0) : ISOLUA_TIMEOUT;
}

static int load(lua_State *L, const char *source) {
  CHECK_INT(luaL_loadbuffer(L, source, strlen(source), "=code"), LUA_OK);
  return lua_gettop(L);
}

/* -- States ------------------------------------------------------------------------------------ */

static int forty_two(lua_State *L) {
  lua_pushinteger(L, 42);
  return 1;
}

static const luaL_Reg functions[] = {{"forty_two", forty_two}, {NULL, NULL}};
static const luaL_Reg *const lists[] = {functions, NULL};

static int mine; /* how often the module was opened */

static int open_mine(lua_State *L) {
  lua_newtable(L);
  isolua_newhandletype(L, ISOLUA_TISOLATE);
  lua_setfield(L, -2, ISOLUA_TISOLATE);
  mine++;
  return 1;
}

static int run_in_bare_host(lua_State *L) {
  isolua_future *f;
  CHECK(isolua_is_main(L) && isolua_forbidden(L) == 0);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open_mine);
  lua_setfield(L, 1, "mine");
  lua_settop(L, 0);
  load(L, "local f = ... return f(), pcall(require, 'isolate')");
  lua_pushcfunction(L, forty_two);
  if (!CHECK_INT(isolua_run(L, &options, 1, 1, &f), ISOLUA_OK)) return lua_error(L);
  CHECK_INT(mine, 1); /* for the isolate's handle */
  CHECK_INT(settles(L, f), ISOLUA_OK);
  CHECK_INT(isolua_future_integer(f, 1), 42);
  CHECK_INT(isolua_future_boolean(f, 2), 0);
  isolua_future_release(f);
  return 0;
}

static void bare_hosts_have_what_they_are_given(void) {
  isolua_host *host;
  lua_State *L, *other;
  CHECK_INT(isolua_host_new(&(isolua_host_options){.size = 1}, &host), ISOLUA_INVALID);
  if (!CHECK_INT(isolua_host_new(NULL, &host), ISOLUA_OK)) return;
  isolua_host_set_module(host, "mine", lists);
  if (CHECK_INT(isolua_main_open(host, &L), ISOLUA_OK)) {
    CHECK_INT(isolua_main_open(host, &other), ISOLUA_INVALID);
    CHECK(isolua_host_of(L) == host);
    lua_pushcfunction(L, run_in_bare_host);
    if (!CHECK_INT(lua_pcall(L, 0, 0, 0), LUA_OK)) printf("      %s\n", lua_tostring(L, -1));
    isolua_main_close(L);
  }
  embed_close(host);
}

static void the_module_attaches_a_state(void) {
  lua_State *L = luaL_newstate();
  CHECK(!isolua_is_main(L) && isolua_host_of(L) == NULL);
  luaL_requiref(L, "isolate.core", luaopen_isolate_core, 0);
  CHECK(isolua_is_main(L) && isolua_host_of(L) != NULL);
  lua_close(L);
}

static int find_modules(lua_State *L) {
  isolua_require(L, "isolate");
  lua_getglobal(L, "require");
  lua_pushliteral(L, "isolate");
  lua_call(L, 1, 1);
  CHECK(lua_rawequal(L, 1, 2));
  isolua_pushstandard(L, "string.upper");
  lua_getglobal(L, "string");
  lua_getfield(L, -1, "upper");
  CHECK(lua_rawequal(L, 3, 5));
  return 0;
}

static void modules_and_functions_are_found(void) {
  embed_in_main(find_modules);
}

static void *no_memory(void *ud, long long isolate, void *p, size_t osize, size_t nsize) {
  (void)ud, (void)isolate, (void)p, (void)osize, (void)nsize;
  return NULL;
}

static void main_states_need_memory(void) {
  isolua_host_options o = {.alloc = no_memory};
  isolua_host *host = embed_open(&o);
  lua_State *L;
  if (host == NULL) return;
  CHECK_INT(isolua_main_open(host, &L), ISOLUA_MEMORY);
  embed_close(host);
}

/* -- Errors and sending ------------------------------------------------------------------------ */

static int raise_again(lua_State *L) {
  return isolua_future_raise(L, "there\nstack traceback:\n\tfar away");
}

static int trace(lua_State *L) {
  isolua_pushtraceback(L, 1, 0);
  return 1;
}

static int want_memory(lua_State *L) {
  isolua_memoryerror(L);
}

static int make_errors(lua_State *L) {
  static const int codes[] = {ISOLUA_CANCELLED,   ISOLUA_CLOSED,  ISOLUA_DEADLOCK,
                              ISOLUA_INTERRUPTED, ISOLUA_TIMEOUT, ISOLUA_NOT_SENDABLE,
                              ISOLUA_TRANSFERRED, ISOLUA_SPAWN,   ISOLUA_STUCK,
                              ISOLUA_MEMORY,      ISOLUA_EXITED,  ISOLUA_FULL};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    isolua_pusherror(L, codes[i], isolua_code_message(codes[i]), NULL);
    lua_getfield(L, -1, "code");
    CHECK_TEXT(lua_tostring(L, -1), isolua_code_name(codes[i]));
    lua_settop(L, 0);
  }
  isolua_pusherror(L, ISOLUA_KILLED, "it was killed", "victim");
  lua_getfield(L, 1, "code");
  lua_getfield(L, 1, "isolate");
  CHECK_TEXT(lua_tostring(L, 2), "killed");
  CHECK_TEXT(lua_tostring(L, 3), "victim");
  CHECK_TEXT(luaL_tolstring(L, 1, NULL), "it was killed");
  lua_settop(L, 0);
  lua_pushcfunction(L, trace);
  lua_pushcfunction(L, raise_again);
  lua_pushliteral(L, "there");
  CHECK_INT(lua_pcall(L, 1, 1, 1), LUA_ERRRUN);
  CHECK_PART(lua_tostring(L, -1), "far away");
  CHECK_PART(lua_tostring(L, -1), "in ?");
  lua_pushcfunction(L, want_memory);
  CHECK_INT(lua_pcall(L, 0, 1, 0), LUA_ERRMEM);
  CHECK_TEXT(lua_tostring(L, -1), "not enough memory");
  return 0;
}

static void errors_are_objects_with_tracebacks(void) {
  embed_in_main(make_errors);
}

static int send_by_name(lua_State *L) {
  isolua_future *f;
  lua_pushinteger(L, 1);
  CHECK_INT(isolua_sendable(L, 1), 1);
  lua_getglobal(L, "coroutine");
  lua_getfield(L, -1, "create");
  lua_pushcfunction(L, forty_two);
  lua_call(L, 1, 1);
  CHECK_INT(isolua_sendable(L, -1), 0);
  CHECK_PART(luaL_tolstring(L, -1, NULL), "cannot send");
  lua_settop(L, 0);
  lua_newtable(L);
  isolua_register(L, "a name", 1);
  load(L, "return ...");
  lua_pushvalue(L, 1);
  if (!CHECK_INT(isolua_run(L, &options, 2, 1, &f), ISOLUA_OK)) return lua_error(L);
  CHECK_INT(settles(L, f), ISOLUA_OK);
  CHECK_INT(isolua_future_push(L, f), ISOLUA_OK);
  CHECK(lua_rawequal(L, 1, -1)); /* back again it is itself */
  isolua_future_release(f);
  return 0;
}

static void values_are_sendable_or_not(void) {
  embed_in_main(send_by_name);
}

/* -- Futures ----------------------------------------------------------------------------------- */

static int leave(lua_State *L) {
  return isolua_exit(L, 0);
}

static int run_functions(lua_State *L) {
  isolua_future *f;
  load(L, "return 1, { 2 }");
  if (!CHECK_INT(isolua_run(L, &options, 1, 0, &f), ISOLUA_OK)) return lua_error(L);
  isolua_future_pushisolate(L, f);
  CHECK(lua_rawequal(L, 1, 2)); /* its handle */
  lua_settop(L, 0);
  CHECK_INT(settles(L, f), ISOLUA_OK);
  CHECK(isolua_future_id(f) != 0 && !isolua_future_is_local(f));
  CHECK_INT(isolua_future_push(L, f), ISOLUA_OK);
  CHECK(lua_gettop(L) == 2 && lua_istable(L, 2));
  isolua_future_release(f);
  lua_settop(L, 0);
  load(L, "return 1");
  lua_newthread(L);
  CHECK_INT(isolua_run(L, &options, 1, 1, &f), ISOLUA_NOT_SENDABLE);
  CHECK_INT(lua_gettop(L), 1);
  embed_raises(L, leave, 1, "main isolate");
  load(L, ENDLESS);
  if (!CHECK_INT(isolua_run(L, &options, 2, 0, &f), ISOLUA_OK)) return lua_error(L);
  isolua_future_forgo(f);
  CHECK_INT(settles(L, f), ISOLUA_KILLED);
  isolua_future_release(f);
  return 0;
}

static void functions_are_run(void) {
  embed_in_main(run_functions);
}

static int settle(lua_State *L) {
  isolua_future *f = isolua_future_new(L);
  CHECK(isolua_future_is_local(f) && !isolua_future_now(L, f));
  load(L, "settled = true");
  isolua_loop_on_done(L, f);
  CHECK_INT(isolua_future_settle(f, 1, NULL, NULL), 1);
  CHECK_INT(isolua_future_settle(f, 0, "too late", NULL), 0);
  isolua_drain(L);
  CHECK_INT(settles(L, f), ISOLUA_OK); /* a wait gives the loop its turn */
  CHECK(isolua_future_now(L, f));
  CHECK_INT(lua_getglobal(L, "settled"), LUA_TBOOLEAN);
  isolua_future_release(f);
  f = isolua_future_new(L);
  CHECK_INT(isolua_future_settle(f, 0, "no", "no\nstack traceback:\n\there"), 1);
  isolua_future_look(f);
  CHECK_TEXT(isolua_future_message(f), "no");
  CHECK_PART(isolua_future_traceback(f), "here");
  isolua_future_release(f);
  CHECK_INT(isolua_host_failed(isolua_host_of(L)), 0);
  f = isolua_future_new(L);
  isolua_future_look(f);
  isolua_future_overlook(f);
  isolua_future_settle(f, 0, "nobody looked", NULL);
  isolua_future_release(f);
  CHECK_INT(isolua_host_failed(isolua_host_of(L)), 1);
  return 0;
}

static void futures_are_settled_here(void) {
  embed_in_main(settle);
}

static int use_options(lua_State *L) {
  isolua_run_options o = options;
  isolua_future *f;
  CHECK_INT(luaL_dostring(L, "g = 1"), LUA_OK);
  o.no_globals = 1;
  load(L, "return g == nil");
  if (!CHECK_INT(isolua_run(L, &o, 1, 0, &f), ISOLUA_OK)) return lua_error(L);
  CHECK_INT(settles(L, f), ISOLUA_OK);
  CHECK_INT(isolua_future_boolean(f, 1), 1);
  isolua_future_release(f);
  lua_settop(L, 0);
  o = options;
  o.hidden = 1;
  load(L, "local fn = ... return fn()");
  load(L, "return 1");
  lua_newthread(L);
  CHECK_INT(isolua_run(L, &o, 1, 2, &f), ISOLUA_NOT_SENDABLE);
  CHECK_PART(luaL_tolstring(L, -1, NULL), "argument #1");
  lua_settop(L, 0);
  o = options;
  o.unawaited = 1;
  load(L, ENDLESS);
  if (!CHECK_INT(isolua_run(L, &o, 1, 0, &f), ISOLUA_OK)) return lua_error(L);
  isolua_drain(L); /* does not wait for it */
  CHECK_INT(isolua_future_done(f), 0);
  isolua_future_cancel(f, NULL);
  isolua_future_release(f);
  return 0;
}

static void options_of_run_hold(void) {
  embed_in_main(use_options);
}

/* -- Isolates ---------------------------------------------------------------------------------- */

static int go_on(lua_State *L) {
  isolua_port *p = isolua_port_new(L, NULL, -1, ISOLUA_FULL_BLOCK);
  isolua_run_options o = options;
  o.errors_go_on = 1;
  o.on_error = 1;
  isolua_port_pushsender(L, p);
  load(L, "local tx, isolate = ..., require 'isolate' "
          "isolate.after(0, function() error 'first' end) "
          "isolate.after(0.01, function() tx:send 'and on' end)");
  lua_pushvalue(L, 1);
  if (!CHECK_INT(isolua_spawn(L, &o, 2, 1), ISOLUA_OK)) return lua_error(L);
  for (int i = 0; i < 2; i++) {
    isolua_case message = {.kind = ISOLUA_RECEIVE, .port = p};
    isolua_wait(L, &message, 1, SOON, 0, nothing);
  }
  CHECK_INT(lua_type(L, -2), LUA_TTABLE); /* the error's message */
  CHECK_TEXT(lua_tostring(L, -1), "and on");
  isolua_port_drop(L, p);
  return 0;
}

static void isolates_go_on_after_errors(void) {
  embed_in_main(go_on);
}

static int stop_and_go(lua_State *L) {
  isolua_isolate *i;
  load(L, "for _ in require 'isolate'.inbox():messages() do end");
  if (!CHECK_INT(isolua_spawn(L, &options, 1, 0), ISOLUA_OK)) return lua_error(L);
  i = isolua_checkisolate(L, 1);
  CHECK_INT(isolua_isolate_is_main(i), 0);
  isolua_pushfound(L, isolua_isolate_name(i));
  CHECK(lua_rawequal(L, 1, 2));
  isolua_pushlist(L);
  CHECK(lua_rawlen(L, 3) >= 1);
  CHECK(isolua_fresh_key() != isolua_fresh_key());
  lua_pushliteral(L, "key");
  CHECK_INT(isolua_isolate_pause(L, i, 4), ISOLUA_OK);
  CHECK_INT(isolua_isolate_resume(L, i, 4), ISOLUA_OK);
  isolua_isolate_kill(i, 0, 0);
  CHECK_INT(settles(L, isolua_isolate_future(i)), ISOLUA_KILLED);
  settles(L, isolua_isolate_gone(i));
  CHECK_INT(isolua_isolate_pause(L, i, 4), ISOLUA_CLOSED);
  isolua_pushself(L);
  CHECK_INT(isolua_isolate_is_main(isolua_checkisolate(L, -1)), 1);
  CHECK_INT(isolua_isolate_pause(L, isolua_checkisolate(L, -1), 4), ISOLUA_INVALID);
  CHECK_INT(isolua_isolate_resume(L, isolua_checkisolate(L, -1), 4), ISOLUA_INVALID);
  isolua_pushparent(L);
  CHECK(lua_isnil(L, -1) && isolua_self_inbox(L) != NULL);
  return 0;
}

static void isolates_are_found_paused_and_ended(void) {
  embed_in_main(stop_and_go);
}

static int ask(lua_State *L) {
  isolua_isolate *i;
  isolua_future *f;
  load(L, ENDLESS);
  if (!CHECK_INT(isolua_spawn(L, &options, 1, 0), ISOLUA_OK)) return lua_error(L);
  i = isolua_checkisolate(L, 1);
  f = isolua_isolate_ping(L, i, 0);
  CHECK_INT(settles(L, f), ISOLUA_OK);
  isolua_future_release(f);
  f = isolua_isolate_look(L, i, 0);
  if (CHECK_INT(settles(L, f), ISOLUA_OK)) CHECK_PART(isolua_future_string(f, 1, NULL), "code:1");
  isolua_future_release(f);
  f = isolua_isolate_eval(L, i, "6 * 7");
  CHECK_INT(settles(L, f), ISOLUA_OK);
  CHECK_INT(isolua_future_integer(f, 2), 42);
  isolua_future_release(f);
  isolua_isolate_kill(i, 0, 0);
  settles(L, isolua_isolate_gone(i));
  f = isolua_isolate_look(L, i, 0);
  CHECK_INT(settles(L, f), ISOLUA_CLOSED);
  isolua_future_release(f);
  return 0;
}

static void busy_isolates_answer(void) {
  embed_in_main(ask);
}

static embed_file file;

static int listen(lua_State *L) {
  isolua_port *p = isolua_port_new(L, "ends", -1, ISOLUA_FULL_BLOCK);
  isolua_case ends = {.kind = ISOLUA_RECEIVE, .port = p};
  isolua_isolate *i;
  isolua_port_pushsender(L, p);
  lua_pushliteral(L, "it ended");
  lua_pushliteral(L, "from here");
  if (!CHECK_INT(isolua_spawnfile(L, &options, file.path, 1), ISOLUA_OK)) return lua_error(L);
  i = isolua_checkisolate(L, 3);
  isolua_isolate_listen(L, i, 1, 1, 0);
  isolua_isolate_unlisten(L, i, 1);
  isolua_isolate_listen(L, i, 1, 0, 2);
  isolua_wait(L, &ends, 1, SOON, 0, nothing);
  CHECK_TEXT(lua_tostring(L, -1), "it ended");
  CHECK_PART(isolua_future_string(isolua_isolate_future(i), 1, NULL), "got from here");
  isolua_port_drop(L, p);
  isolua_wait_all(L);
  isolua_trim(L);
  return 0;
}

static void isolates_of_files_tell_of_their_end(void) {
  static const char text[] = "return 'got ' .. ...";
  if (embed_write(&file, "told.lua", text, sizeof text - 1)) embed_in_main(listen);
  embed_remove(&file);
}

static int watch(lua_State *L) {
  isolua_port *p = isolua_port_new(L, "watch", -1, ISOLUA_FULL_BLOCK);
  isolua_case told = {.kind = ISOLUA_RECEIVE, .port = p};
  isolua_isolate *i;
  isolua_port_pushsender(L, p);
  isolua_watch_host(L, 1);
  load(L, "error('lost', 0)");
  if (!CHECK_INT(isolua_spawn(L, &options, 2, 0), ISOLUA_OK)) return lua_error(L);
  i = isolua_checkisolate(L, 2);
  isolua_wait(L, &told, 1, SOON, 0, nothing); /* of the error */
  if (!CHECK_INT(lua_type(L, 3), LUA_TTABLE)) return lua_error(L);
  lua_getfield(L, 3, "id");
  CHECK_INT(lua_tointeger(L, -1), isolua_isolate_id(i));
  lua_getfield(L, 3, "message");
  CHECK_TEXT(lua_tostring(L, -1), "lost");
  lua_settop(L, 2);
  isolua_wait(L, &told, 1, SOON, 0, nothing); /* of its end */
  CHECK_INT(lua_gettop(L), 3);
  isolua_watch_host(L, 0);
  lua_settop(L, 1);
  load(L, "return 1");
  if (!CHECK_INT(isolua_spawn(L, &options, 2, 0), ISOLUA_OK)) return lua_error(L);
  isolua_wait_all(L);
  CHECK_INT(isolua_port_count(p), 0);
  isolua_port_drop(L, p);
  return 0;
}

static void hosts_are_watched(void) {
  embed_in_main(watch);
}

/* -- Tasks and the event loop ------------------------------------------------------------------ */

static void check_pending(lua_State *L, int tasks, int timers) {
  size_t t, r;
  isolua_pending(L, &t, &r);
  CHECK_INT(t, tasks);
  CHECK_INT(r, timers);
}

static int run_tasks(lua_State *L) {
  load(L, "ran = (ran or 0) + ...");
  lua_pushinteger(L, 1);
  isolua_task_push(L, 1);
  load(L, "ran = ran + 100");
  isolua_task_push(L, 0);
  load(L, "rang = true");
  isolua_timer_push(L, 0, 0, 3);
  check_pending(L, 2, 1);
  isolua_task_cancel(L, 2); /* it has not begun */
  isolua_drain(L);
  check_pending(L, 0, 0);
  CHECK_INT(isolua_is_over(L), 1);
  lua_getglobal(L, "ran");
  CHECK_INT(lua_tointeger(L, -1), 1);
  return 0;
}

static void tasks_run_and_are_cancelled(void) {
  embed_in_main(run_tasks);
}

static int drain(lua_State *L) {
  isolua_drain(L);
  return 0;
}

static int forbid_waits(lua_State *L) {
  for (int forbidden = 2; forbidden >= 0; forbidden--) {
    isolua_waitless(L, forbidden > 0);
    load(L, "require 'isolate'.sleep(0.001)");
    CHECK_INT(lua_pcall(L, 0, 0, 0), forbidden > 0 ? LUA_ERRRUN : LUA_OK);
    if (forbidden > 0) CHECK_PART(lua_tostring(L, -1), "cannot wait");
    if (forbidden == 1) isolua_waitless(L, 0);
  }
  return 0;
}

static void waits_may_be_forbidden(void) {
  embed_in_main(forbid_waits);
}

static int poll_loop(lua_State *L) {
  isolua_future *f;
  struct pollfd loop = {.fd = isolua_loop_fd(L), .events = POLLIN}, result = loop;
  long long token = -1;
  load(L, "return 1");
  if (!CHECK_INT(isolua_run(L, &options, 1, 0, &f), ISOLUA_OK)) return lua_error(L);
  load(L, "polled = true");
  isolua_loop_on_done(L, f);
  lua_newuserdatauv(L, 1, 1);
  result.fd = isolua_pollfd(L, -1, &(isolua_case){.kind = ISOLUA_FUTURE, .future = f});
  CHECK_INT(poll(&result, 1, 10000), 1);
  CHECK_INT(poll(&loop, 1, 10000), 1);
  CHECK_INT(isolua_serve(L, &token), ISOLUA_OK);
  CHECK_INT(token, 0);
  CHECK_INT(isolua_loop_pump(L, -1, -1), 0);
  CHECK_INT(lua_getglobal(L, "polled"), LUA_TBOOLEAN);
  isolua_future_release(f);
  isolua_loop_fd_close(L);
  lua_pushnil(L);
  isolua_set_foreign(L);
  CHECK(isolua_now() > 0 && isolua_tick() > 0 && isolua_terminal_columns() >= -1);
  return 0;
}

static void event_loops_are_polled(void) {
  embed_in_main(poll_loop);
}

static atomic_bool serving; /* the isolate is in its C function */

static int serve_to_the_end(lua_State *L) {
  long long token;
  while (isolua_serve(L, &token) == ISOLUA_OK) {
    atomic_store(&serving, true);
    poll(NULL, 0, 1);
  }
  CHECK(isolua_serve(L, &token) == ISOLUA_CLOSED);
  return 0;
}

/* At 1: a function that does not end. */
static int call_to_the_end(lua_State *L) {
  atomic_store(&serving, true);
  CHECK_INT(isolua_callback(L, 0, 0, 0), ISOLUA_KILLED);
  CHECK_INT(lua_gettop(L), 0);
  return 0;
}

static int open_serve(lua_State *L) {
  lua_register(L, "serve_to_the_end", serve_to_the_end);
  lua_register(L, "call_to_the_end", call_to_the_end);
  return 0;
}

static bool serves(void *arg) {
  (void)arg;
  return atomic_load(&serving);
}

/* The C function has returned, and what waits then raises. */
static void kill_in_c_function(isolua_host *host, const char *source) {
  isolua_isolate *i;
  atomic_store(&serving, false);
  if (!CHECK_INT(isolua_spawn_string(host, NULL, source, &i), ISOLUA_OK)) return;
  CHECK(check_eventually(serves, NULL));
  CHECK_INT(isolua_isolate_kill(i, SOON, 0), ISOLUA_OK);
  embed_settles(isolua_isolate_future(i), ISOLUA_KILLED, NULL);
  isolua_isolate_release(i);
}

static void serving_ends_with_a_kill(void) {
  isolua_host *host = embed_open(NULL);
  if (host == NULL) return;
  isolua_host_set_open(host, open_serve);
  kill_in_c_function(host, "serve_to_the_end() returned = true");
  kill_in_c_function(host, "call_to_the_end(function() " ENDLESS " end)");
  embed_close(host);
}

/* -- Kills and interrupts ---------------------------------------------------------------------- */

static int fail(lua_State *L) {
  return luaL_error(L, "failed");
}

static int call_back(lua_State *L) {
  lua_pushcfunction(L, forty_two);
  CHECK_INT(isolua_callback(L, 0, 1, 0), ISOLUA_OK);
  CHECK_INT(lua_tointeger(L, -1), 42);
  lua_settop(L, 0);
  lua_pushcfunction(L, fail);
  CHECK_INT(isolua_callback(L, 0, 1, 0), ISOLUA_ERROR);
  CHECK_TEXT(lua_tostring(L, -1), "failed");
  CHECK_INT(isolua_interrupted(L, -1), 0);
  CHECK_INT(isolua_dying(L) + isolua_ending(L), 0);
  isolua_pass_on(L, isolua_dying(L));
  lua_pushthread(L);
  isolua_running(L, -1);
  return 0;
}

static void callbacks_are_left_by_no_error(void) {
  embed_in_main(call_back);
}

static int spin(lua_State *L) {
  isolua_interrupt(L);
  load(L, ENDLESS);
  lua_call(L, 0, 0);
  return 0;
}

static int interrupt(lua_State *L) {
  lua_pushnil(L);
  embed_raises(L, spin, 1, "interrupted");
  return 0;
}

static void main_is_interrupted(void) {
  embed_in_main(interrupt);
}

static int break_it(lua_State *L) {
  isolua_break(L);
  return 0;
}

/* Not within a call: isolua_breakable is not nested. */
static void main_breaks(void) {
  isolua_host *host = embed_open(NULL);
  lua_State *L;
  if (host == NULL) return;
  if (CHECK_INT(isolua_main_open(host, &L), ISOLUA_OK)) {
    lua_register(L, "break_it", break_it);
    load(L, "pcall(function() break_it() " ENDLESS " end) caught = true " ENDLESS);
    CHECK(isolua_breakable(L, 0, 0, 0) != LUA_OK);
    CHECK_PART(luaL_tolstring(L, -1, NULL), "interrupted");
    CHECK_INT(lua_getglobal(L, "caught"), LUA_TNIL);
    CHECK_INT(isolua_hung(L, 0), 0);
    CHECK(isolua_broken(L) == NULL);
    load(L, "break_it() " ENDLESS);
    isolua_task_push(L, 0);
    lua_pushcfunction(L, drain);
    CHECK(isolua_breakable(L, 0, 0, 0) != LUA_OK);
    CHECK_TEXT(isolua_broken(L), "a task");
    CHECK_INT(isolua_break(L), 0);
    isolua_main_close(L);
  }
  embed_close(host);
}

static const check_case cases[] = {
  {"bare hosts have what they are given", bare_hosts_have_what_they_are_given},
  {"main states need memory", main_states_need_memory},
  {"the module attaches a state", the_module_attaches_a_state},
  {"modules and standard functions are found", modules_and_functions_are_found},
  {"errors are objects with tracebacks", errors_are_objects_with_tracebacks},
  {"values are sendable or not", values_are_sendable_or_not},
  {"functions are run", functions_are_run},
  {"options of a run hold", options_of_run_hold},
  {"isolates go on after errors", isolates_go_on_after_errors},
  {"serving ends with a kill", serving_ends_with_a_kill},
  {"futures are settled here", futures_are_settled_here},
  {"isolates are found, paused and ended", isolates_are_found_paused_and_ended},
  {"busy isolates answer", busy_isolates_answer},
  {"isolates of files tell of their end", isolates_of_files_tell_of_their_end},
  {"hosts are watched", hosts_are_watched},
  {"tasks run, and are cancelled", tasks_run_and_are_cancelled},
  {"waits may be forbidden", waits_may_be_forbidden},
  {"event loops are polled", event_loops_are_polled},
  {"callbacks are left by no error", callbacks_are_left_by_no_error},
  {"main is interrupted", main_is_interrupted},
  {"main breaks", main_breaks},
};

CHECK_MAIN(cases)
