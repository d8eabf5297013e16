/* ports.c - isolua_lua.h: ports, channels, tasks and the loop, for code that has a lua_State. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <stdlib.h>

#include "codec.h"
#include "handler.h"
#include "kill.h"
#include "names.h"
#include "pollable.h"

/* -- Ports ------------------------------------------------------------------------------------- */

isolua_port *isolua_port_new(lua_State *L, const char *name, long long capacity, int full) {
  il_vm *vm = il_vm_check(L);
  il_port *p;
  il_loop_check_open(vm, L);
  p = il_port_new(vm->isolate, name, capacity < 0 ? IL_UNBOUNDED : (size_t)capacity,
                  (enum il_full)full);
  if (p != NULL) vm->loop.holds++;
  return p;
}

void isolua_port_drop(lua_State *L, isolua_port *p) {
  il_vm *vm = il_vm_of(L);
  if (p == NULL) return;
  if (vm != NULL) {
    vm->loop.holds--;
    il_handler_drop(vm, L, p);
  }
  il_port_close(p);
  il_handle_release(&p->rx);
}

void isolua_port_pushsender(lua_State *L, isolua_port *p) {
  il_handle_push(L, &p->tx);
}

/* Until its handle is there the channel is held by its memory alone. */
void isolua_channel_push(lua_State *L, long long capacity) {
  il_port *p = il_channel_new((size_t)capacity);
  if (p == NULL) isolua_memoryerror(L);
  il_handle_push_held(L, &p->tx, &p->rx);
}

isolua_port *isolua_port_of(lua_State *L, int index) {
  il_handle *h = il_handle_test(L, index);
  if (h == NULL || h->type->release != il_sender_release) return NULL;
  return il_port_of_sender(h);
}

void isolua_port_giveup(lua_State *L, int index) {
  il_handle_giveup(L, index);
}

void isolua_port_close(isolua_port *p) {
  il_port_close(p);
}

int isolua_port_take(lua_State *L, isolua_port *p) {
  return il_port_take(il_vm_check(L), L, p);
}

int isolua_port_is_rendezvous(const isolua_port *p) {
  return p->capacity == 0;
}

size_t isolua_port_count(isolua_port *p) {
  return il_port_count(p);
}

long long isolua_port_id(isolua_port *p) {
  return il_handle_id(&p->tx);
}

const char *isolua_port_name(const isolua_port *p) {
  return p->name;
}

int isolua_port_is_channel(const isolua_port *p) {
  return p->channel;
}

void isolua_port_on_message(lua_State *L, isolua_port *p, int index) {
  il_vm *vm = il_vm_check(L);
  index = lua_absindex(L, index);
  il_handler_set(vm, L, il_handler_of(vm, L, p), index);
}

int isolua_port_has_handler(lua_State *L, isolua_port *p) {
  return il_handler_is_set(il_vm_check(L), p);
}

void isolua_port_keep(lua_State *L, isolua_port *p, int keep) {
  il_handler_keep(il_vm_check(L), L, p, keep != 0);
}

/* -- Tasks ------------------------------------------------------------------------------------- */

/* The userdata of a task; NULL once it has ended. */
typedef struct task {
  il_coro *coro;
} task;

static void task_ended(il_vm *vm, il_coro *c) {
  (void)vm;
  ((task *)c->arg)->coro = NULL;
}

void isolua_task_push(lua_State *L, int n) {
  il_vm *vm = il_vm_check(L);
  task *t = lua_newuserdatauv(L, sizeof *t, 0);
  t->coro = NULL;
  lua_insert(L, -(n + 2));
  t->coro = il_coro_new(vm, L, n);
  t->coro->ended = task_ended;
  t->coro->arg = t;
  lua_pushvalue(L, -1);
  t->coro->handle = luaL_ref(L, LUA_REGISTRYINDEX);
  il_coro_wake(vm, t->coro);
}

void isolua_task_cancel(lua_State *L, int index) {
  il_vm *vm = il_vm_check(L);
  task *t = lua_touserdata(L, index);
  if (t->coro != NULL) il_coro_cancel(vm, L, t->coro);
}

/* -- The loop ---------------------------------------------------------------------------------- */

void isolua_loop_on_done(lua_State *L, isolua_future *f) {
  il_on_done(il_vm_check(L), L, f);
}

void isolua_drain(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  il_host_drain(vm->host);
  il_loop_drain(vm, L);
}

static bool all_ended(il_vm *vm, lua_State *L, void *arg) {
  (void)L, (void)arg;
  return il_host_wait(vm->host, IL_USERS, 0);
}

void isolua_wait_all(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  enum il_outcome out;
  if (il_loop_waitless(vm) != NULL) luaL_error(L, "%s cannot wait", il_loop_waitless(vm));
  if (!vm->isolate->is_main) luaL_error(L, "isolate.wait: only main waits for all isolates");
  il_loop_check_open(vm, L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  il_host_drain(vm->host);
  vm->loop.outside++; /* their ends wake it */
  out = il_loop_run(vm, L, all_ended, NULL, -1);
  vm->loop.outside--;
  if (out != IL_READY) il_loop_raise(vm, L, out);
}

int isolua_loop_fd(lua_State *L) {
  return il_waiter_event(&il_vm_check(L)->isolate->waiter);
}

void isolua_loop_fd_close(lua_State *L) {
  il_waiter_no_event(&il_vm_check(L)->isolate->waiter);
}

size_t isolua_loop_pump(lua_State *L, long long max, int64_t ns) {
  il_vm *vm = il_vm_check(L);
  if (il_loop_waitless(vm) != NULL) luaL_error(L, "%s cannot pump", il_loop_waitless(vm));
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (!il_loop_pump(vm, L, &max, il_deadline(ns))) il_loop_raise(vm, L, IL_ENDED);
  if (vm->loop.called != NULL) il_loop_announce(vm);
  return il_loop_left(vm);
}

typedef struct pumping {
  il_vm *vm;
  long long *items;
  int64_t deadline;
} pumping;

static int pump_main_call(lua_State *L) {
  const pumping *p = lua_touserdata(L, 1);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  il_loop_pump(p->vm, L, p->items, p->deadline);
  return 0;
}

/* Whatever raises there is told by the loop, but that there is no memory for it. */
static size_t pump_main(void *arg, long long *items, int64_t deadline) {
  il_vm *vm = arg;
  lua_State *L = vm->running;
  pumping p = {vm, items, deadline};
  if (il_loop_waitless(vm) != NULL || !lua_checkstack(L, 3)) return 1;
  lua_pushcfunction(L, pump_main_call);
  lua_pushlightuserdata(L, &p);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
  return il_loop_left(vm);
}

static int main_fd(void *vm) {
  return il_waiter_event(&((il_vm *)vm)->isolate->waiter);
}

static int64_t until_next(il_vm *vm) {
  int64_t when = il_loop_next(vm), now = il_now();
  if (when < 0) return -1;
  return when > now ? when - now : 0;
}

static int64_t main_next(void *vm) {
  return until_next(vm);
}

void il_loop_join_pump(il_vm *vm) {
  static const il_main_loop loop = {pump_main, main_fd, main_next};
  il_pump_attach(&vm->host->pump, &loop, vm);
}

int isolua_serve(lua_State *L, long long *token) {
  il_vm *vm = il_vm_check(L);
  long long all = -1;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (vm->loop.called == NULL && !il_loop_pump(vm, L, &all, -1)) return ISOLUA_CLOSED;
  *token = il_wait_called(vm);
  return ISOLUA_OK;
}

int isolua_is_over(lua_State *L) {
  return il_loop_is_over(il_vm_check(L));
}

int64_t isolua_loop_next(lua_State *L) {
  return until_next(il_vm_check(L));
}

int isolua_pollfd(lua_State *L, int index, const isolua_case *what) {
  return il_pollable_fd(il_vm_check(L), L, index, what);
}

void isolua_set_foreign(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  luaL_unref(L, LUA_REGISTRYINDEX, vm->loop.foreign);
  vm->loop.foreign = LUA_NOREF;
  if (lua_isnil(L, -1))
    lua_pop(L, 1);
  else
    vm->loop.foreign = luaL_ref(L, LUA_REGISTRYINDEX);
}
