/* lua_values_test.c - isolua_lua.h: ports, timers, atomics, buffers, frozen tables, pools. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "embed.h"

static int nothing(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)L, (void)winner, (void)ctx;
  return code;
}

/* Of one case, in main: its code. */
static int wait_for(lua_State *L, isolua_case c) {
  return isolua_wait(L, &c, 1, SOON, 0, nothing);
}

/* Sends the value at `value` to the sender at 1 of `p`: at once if it can be. */
static int send(lua_State *L, isolua_port *p, int value) {
  int code = isolua_send_now(L, 1, value);
  if (code != ISOLUA_TIMEOUT) return code;
  return wait_for(L, (isolua_case){.kind = ISOLUA_SEND, .port = p, .value = value});
}

static int load(lua_State *L, const char *source) {
  CHECK_INT(luaL_loadstring(L, source), LUA_OK);
  return lua_gettop(L);
}

/* -- Ports ------------------------------------------------------------------------------------- */

static int send_and_receive(lua_State *L) {
  isolua_port *p = isolua_port_new(L, "p", 2, ISOLUA_FULL_ERROR);
  isolua_port_pushsender(L, p);
  lua_pushinteger(L, 42);
  CHECK(isolua_port_of(L, 1) == p && isolua_port_of(L, 2) == NULL);
  CHECK_TEXT(isolua_port_name(p), "p");
  CHECK(isolua_port_id(p) != 0 && isolua_handle_id(L, 1) != 0 && isolua_handle_id(L, 2) == 0);
  CHECK_INT(isolua_port_is_channel(p) + isolua_port_is_rendezvous(p), 0);
  CHECK_INT(isolua_receive_now(L, p), ISOLUA_TIMEOUT);
  CHECK_INT(isolua_receive_soon(L, p), ISOLUA_TIMEOUT);
  CHECK_INT(isolua_port_take(L, p), ISOLUA_TIMEOUT);
  for (int i = 0; i < 2; i++) CHECK_INT(send(L, p, 2), ISOLUA_OK);
  CHECK_INT(isolua_port_count(p), 2);
  CHECK_INT(send(L, p, 2), ISOLUA_FULL);
  CHECK_INT(isolua_receive_now(L, p), ISOLUA_OK);
  CHECK_INT(isolua_port_take(L, p), ISOLUA_OK);
  CHECK_INT(send(L, p, 2), ISOLUA_OK);
  CHECK_INT(isolua_receive_soon(L, p), ISOLUA_OK);
  CHECK_INT(lua_tointeger(L, 3) + lua_tointeger(L, 4) + lua_tointeger(L, 5), 3 * 42);
  isolua_port_close(p);
  CHECK_INT(send(L, p, 2), ISOLUA_CLOSED);
  CHECK_INT(isolua_receive_now(L, p), ISOLUA_CLOSED);
  CHECK_INT(isolua_receive_soon(L, p), ISOLUA_CLOSED);
  CHECK_INT(isolua_port_take(L, p), ISOLUA_CLOSED);
  CHECK_INT(wait_for(L, (isolua_case){.kind = ISOLUA_RECEIVE, .port = p}), ISOLUA_CLOSED);
  isolua_port_drop(L, p);
  isolua_port_drop(L, NULL);
  isolua_port_giveup(L, 1);
  CHECK(isolua_port_of(L, 1) == NULL);
  isolua_channel_push(L, 0);
  p = isolua_port_of(L, -1);
  CHECK_INT(isolua_port_is_channel(p) + isolua_port_is_rendezvous(p), 2);
  return 0;
}

static void ports_send_receive_and_close(void) {
  embed_in_main(send_and_receive);
}

static long long sum;

static int add_up(lua_State *L) {
  sum += lua_tointeger(L, 1);
  return 0;
}

static int handle_messages(lua_State *L) {
  isolua_port *p = isolua_port_new(L, NULL, -1, ISOLUA_FULL_BLOCK);
  sum = 0;
  isolua_port_pushsender(L, p);
  lua_pushinteger(L, 21);
  lua_newuserdatauv(L, 1, 1);
  CHECK_INT(isolua_port_has_handler(L, p), 0);
  lua_pushcfunction(L, add_up);
  isolua_port_on_message(L, p, 3);
  CHECK_INT(isolua_port_has_handler(L, p), 1);
  CHECK_INT(isolua_is_over(L), 0);
  for (int i = 0; i < 2; i++) CHECK_INT(send(L, p, 2), ISOLUA_OK);
  while (sum < 42) isolua_loop_pump(L, -1, -1);
  isolua_port_keep(L, p, 0);
  isolua_drain(L); /* it keeps nothing alive */
  lua_pushnil(L);
  isolua_port_on_message(L, p, 3);
  CHECK_INT(isolua_port_has_handler(L, p), 0);
  CHECK_INT(isolua_is_over(L), 1);
  isolua_port_drop(L, p);
  return 0;
}

static void handlers_get_messages(void) {
  embed_in_main(handle_messages);
}

/* -- Timers ------------------------------------------------------------------------------------ */

static int drop_timer(lua_State *L) {
  isolua_timer_drop(L, isolua_timer_of(L, 1));
  return 0;
}

static int ring(lua_State *L) {
  isolua_timer *t;
  sum = 0;
  luaL_newmetatable(L, ISOLUA_TTIMER);
  lua_pushcfunction(L, drop_timer);
  lua_setfield(L, 1, "__gc");
  load(L, "rang = (rang or 0) + 1");
  t = isolua_timer_push(L, MILLISECOND, 0, 2);
  CHECK(isolua_timer_of(L, 3) == t && isolua_timer_of(L, 2) == NULL && isolua_timer_id(t) != 0);
  CHECK(isolua_loop_next(L) >= 0);
  isolua_drain(L);
  CHECK_INT(lua_getglobal(L, "rang"), LUA_TNUMBER);
  CHECK_INT(isolua_timer_cancel(L, t), 0);
  CHECK_INT(wait_for(L, (isolua_case){.kind = ISOLUA_TIMER, .timer = t}), ISOLUA_CLOSED);
  t = isolua_timer_push(L, MILLISECOND, MILLISECOND, 0);
  CHECK_INT(wait_for(L, (isolua_case){.kind = ISOLUA_TIMER, .timer = t}), ISOLUA_OK);
  CHECK_INT(isolua_timer_cancel(L, t), 1);
  CHECK_INT(isolua_loop_next(L), -1);
  return 0;
}

static void timers_ring_and_are_cancelled(void) {
  embed_in_main(ring);
}

/* -- Atomics and handles ----------------------------------------------------------------------- */

static int check_other(lua_State *L) {
  isolua_checkhandle(L, 1, ISOLUA_TATOMIC);
  return 0;
}

static int count(lua_State *L) {
  long long old = 0;
  isolua_atomic *a;
  isolua_atomic_push(L, 5);
  a = isolua_atomic_of(L, 1);
  CHECK_INT(isolua_atomic_add(a, 2), 7);
  isolua_atomic_store(a, 1);
  CHECK_INT(isolua_atomic_exchange(a, &old, 9), 0);
  CHECK_INT(old, 1);
  CHECK_INT(isolua_atomic_exchange(a, &old, 9), 1);
  CHECK_INT(isolua_atomic_load(a), 9);
  CHECK(isolua_checkhandle(L, 1, ISOLUA_TATOMIC) == (void *)a);
  lua_pushliteral(L, "no atomic");
  CHECK(isolua_atomic_of(L, 2) == NULL);
  embed_raises(L, check_other, 2, "isolate.atomic expected");
  CHECK_INT(isolua_newhandletype(L, "test.handle"), 1);
  CHECK_INT(isolua_newhandletype(L, "test.handle"), 0);
  CHECK(lua_rawequal(L, -1, -2));
  return 0;
}

static void atomics_count(void) {
  embed_in_main(count);
}

/* -- Buffers ----------------------------------------------------------------------------------- */

static int bytes_of(lua_State *L) {
  isolua_bytes b;
  isolua_buffer_bytes(L, 1, &b);
  return 0;
}

static int resize(lua_State *L) {
  isolua_buffer_resize(L, 1, 4);
  return 0;
}

static int use_buffers(lua_State *L) {
  isolua_port *p = isolua_port_new(L, NULL, -1, ISOLUA_FULL_BLOCK);
  isolua_bytes b;
  char to[4];
  isolua_port_pushsender(L, p);
  isolua_buffer_push(L, 8);
  CHECK(isolua_buffer_is(L, 2, 0) && !isolua_buffer_is(L, 1, 0) && !isolua_buffer_is(L, 2, 1));
  CHECK_INT(isolua_newbuffertype(L, ISOLUA_TBUFFER), 0);
  lua_pop(L, 1);
  isolua_buffer_resize(L, 2, 16);
  isolua_buffer_bytes(L, 2, &b);
  CHECK(b.length == 16 && !b.frozen && b.data[15] == 0);
  b.data[5] = 7;
  CHECK_INT(isolua_buffer_read(L, 2, 0, 4, to), 0); /* it is no mapped file */
  isolua_buffer_verify(L, 2);
  isolua_buffer_transfer(L, 2);
  CHECK_INT(send(L, p, 3), ISOLUA_OK);
  embed_raises(L, bytes_of, 2, "transferred");
  CHECK_INT(isolua_receive_now(L, p), ISOLUA_OK); /* 4 */
  isolua_buffer_slice(L, 4, 5, 2, 0);
  isolua_buffer_bytes(L, 5, &b);
  CHECK(b.length == 2 && b.data[0] == 7);
  CHECK(isolua_buffer_same(L, 4, 4) && !isolua_buffer_same(L, 4, 5) && isolua_buffer_id(L, 4) != 0);
  isolua_buffer_freeze(L, 4);
  isolua_buffer_bytes(L, 4, &b);
  CHECK_INT(b.frozen, 1);
  embed_raises(L, resize, 4, "frozen");
  isolua_buffer_close(L, 4);
  embed_raises(L, bytes_of, 4, "closed");
  isolua_port_drop(L, p);
  return 0;
}

static void buffers_are_moved_sliced_and_frozen(void) {
  embed_in_main(use_buffers);
}

static embed_file file;

static int map(lua_State *L) {
  isolua_bytes b;
  char to[5] = "";
  CHECK_INT(isolua_buffer_map(L, "/nowhere/at all", 0), ENOENT);
  CHECK_INT(lua_gettop(L), 0);
  if (!CHECK_INT(isolua_buffer_map(L, file.path, 0), 0)) return 0;
  isolua_buffer_bytes(L, 1, &b);
  CHECK(b.frozen && b.length == 4 && memcmp(b.data, "text", 4) == 0);
  if (isolua_buffer_read(L, 1, 0, 4, to)) CHECK_TEXT(to, "text");
  isolua_buffer_verify(L, 1);
  return 0;
}

static void files_are_mapped(void) {
  if (embed_write(&file, "mapped", "text", 4)) embed_in_main(map);
  embed_remove(&file);
}

/* -- Frozen tables ----------------------------------------------------------------------------- */

static int freeze_it(lua_State *L) {
  isolua_freeze(L, 1);
  return 0;
}

static int freeze(lua_State *L) {
  long long at = 0;
  int pairs = 0;
  CHECK_INT(luaL_dostring(L, "return { 10, 20, x = 'y' }"), LUA_OK);
  CHECK_INT(isolua_newfrozentype(L, ISOLUA_TFROZEN), 1);
  lua_settop(L, 1);
  isolua_freeze(L, 1);
  CHECK(isolua_frozen_is(L, 2) && !isolua_frozen_is(L, 1) && isolua_frozen_id(L, 2) != 0);
  CHECK_INT(isolua_frozen_length(L, 2), 2);
  lua_pushliteral(L, "x");
  isolua_frozen_get(L, 2, 3);
  CHECK_TEXT(lua_tostring(L, 4), "y");
  while (isolua_frozen_next(L, 2, &at)) {
    pairs++;
    lua_pop(L, 2);
  }
  CHECK_INT(pairs, 3);
  isolua_thaw(L, 2);
  CHECK_INT(lua_type(L, -1), LUA_TTABLE);
  CHECK_INT(luaL_dostring(L, "return { f = print }"), LUA_OK);
  embed_raises(L, freeze_it, -1, "cannot freeze");
  return 0;
}

static void tables_are_frozen_read_and_thawed(void) {
  embed_in_main(freeze);
}

/* -- Pools ------------------------------------------------------------------------------------- */

static const isolua_run_options options = {.base = {.size = sizeof options.base}};

static int run_jobs(lua_State *L) {
  isolua_pool_options limits = {
    .size = sizeof limits, .workers = 2, .queue = 4, .idle = -1, .max_jobs = 1, .retries = 1};
  isolua_submit_options job = {.base = {.size = sizeof job.base, .name = "double", .priority = 5}};
  isolua_pool_stats stats;
  isolua_future *f;
  isolua_pool *p;
  if (!CHECK_INT(isolua_pool_push(L, &options, &limits), ISOLUA_OK)) return lua_error(L);
  p = isolua_pool_of(L, 1);
  CHECK(p != NULL && !isolua_pool_is_own(L, p) && isolua_cores() >= 1);
  load(L, "return (...) * 2");
  lua_pushinteger(L, 21);
  if (!CHECK_INT(isolua_job_submit(L, p, &job, 2, 1, &f), ISOLUA_OK)) return lua_error(L);
  CHECK_INT(lua_gettop(L), 1);
  wait_for(L, (isolua_case){.kind = ISOLUA_FUTURE, .future = f});
  CHECK_INT(isolua_future_integer(f, 1), 42);
  isolua_future_release(f);
  isolua_pool_close(p);
  CHECK_INT(wait_for(L, (isolua_case){.kind = ISOLUA_FUTURE, .future = isolua_pool_empty(p)}),
            ISOLUA_OK);
  isolua_pool_look(p, &stats);
  CHECK(stats.size == 2 && stats.busy == 0 && stats.queued == 0 && stats.done == 1);
  load(L, "return 1");
  CHECK_INT(isolua_job_submit(L, p, &job, 2, 0, &f), ISOLUA_CLOSED);
  lua_settop(L, 1);
  load(L, "return 1");
  lua_getglobal(L, "io");
  lua_getfield(L, -1, "stdout");
  lua_remove(L, -2);
  CHECK_INT(isolua_job_submit(L, p, &job, 2, 1, &f), ISOLUA_NOT_SENDABLE);
  CHECK_PART(luaL_tolstring(L, -1, NULL), "argument #1");
  return 0;
}

static void pools_run_jobs_and_close(void) {
  embed_in_main(run_jobs);
}

static int fill(lua_State *L) {
  isolua_pool_options limits = {.size = sizeof limits, .workers = 1, .queue = 1};
  isolua_submit_options job = {.base = {.size = sizeof job.base, .name = "endless"}};
  isolua_future *f[4];
  int n = 0, code = ISOLUA_OK;
  isolua_pool *p;
  if (!CHECK_INT(isolua_pool_push(L, &options, &limits), ISOLUA_OK)) return lua_error(L);
  p = isolua_pool_of(L, 1);
  while (n < 4) {
    load(L, ENDLESS);
    code = isolua_job_submit(L, p, &job, 2, 0, &f[n]);
    if (code != ISOLUA_OK) break;
    n++;
  }
  CHECK_INT(code, ISOLUA_FULL);
  lua_settop(L, 1);
  job.wait = 1;
  load(L, ENDLESS);
  CHECK_INT(isolua_job_submit(L, p, &job, 2, 0, &f[n]), ISOLUA_FULL);
  isolua_future_cancel(f[--n], "enough"); /* there is room for the one that waits */
  isolua_future_release(f[n]);
  wait_for(L, (isolua_case){.kind = ISOLUA_FUTURE, .future = isolua_job_room(L, 2)});
  CHECK_INT(isolua_job_take(L, 2, &f[n++]), ISOLUA_OK);
  lua_settop(L, 1);
  load(L, ENDLESS);
  CHECK_INT(isolua_job_submit(L, p, &job, 2, 0, &f[n]), ISOLUA_FULL);
  isolua_pool_cancel(p, "enough");
  wait_for(L, (isolua_case){.kind = ISOLUA_FUTURE, .future = isolua_job_room(L, 2)});
  CHECK_INT(isolua_job_take(L, 2, &f[n]), ISOLUA_CLOSED);
  while (n-- > 0) {
    wait_for(L, (isolua_case){.kind = ISOLUA_FUTURE, .future = f[n]});
    CHECK_INT(isolua_future_wait(f[n], 0), ISOLUA_CANCELLED);
    CHECK_PART(isolua_future_message(f[n]), "enough");
    isolua_future_release(f[n]);
  }
  return 0;
}

static void full_pools_are_cancelled(void) {
  embed_in_main(fill);
}

static const check_case cases[] = {
  {"ports send, receive, refuse and close", ports_send_receive_and_close},
  {"handlers get messages from the event loop", handlers_get_messages},
  {"timers ring, and are cancelled", timers_ring_and_are_cancelled},
  {"atomics count", atomics_count},
  {"buffers are moved, sliced, frozen and closed", buffers_are_moved_sliced_and_frozen},
  {"files are mapped", files_are_mapped},
  {"tables are frozen, read and thawed", tables_are_frozen_read_and_thawed},
  {"pools run jobs, and close", pools_run_jobs_and_close},
  {"full pools refuse jobs, and are cancelled", full_pools_are_cancelled},
};

CHECK_MAIN(cases)
