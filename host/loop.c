/* loop.c - the event loop of an isolate. */
/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "kill.h"

/*
** DESIGN. A wait runs the loop on the stack of whoever waits, so waits nest: last in, first out. The
** loop takes what has fired, one watch at a time, so that an inner loop goes on where the outer one
** stopped. It never raises while a source of its own is listed: it returns, the wait lets go of its
** source, then raises.
*/
enum outcome { READY, TIMED_OUT, ENDED };

void il_loop_init(il_loop *loop) {
  loop->taken = NULL;
  loop->sources = NULL;
  loop->handlers = 0;
  loop->closed = false;
}

static void take(il_vm *vm) {
  il_watch **end = &vm->loop.taken;
  while (*end != NULL) end = &(*end)->next_fired;
  *end = il_waiter_take(&vm->isolate->waiter);
}

/* From here on nothing points to the source. */
static void forget(il_vm *vm, il_source *s) {
  il_future_unwatch(s->future, &s->watch);
  take(vm);
  for (il_watch **w = &vm->loop.taken; *w != NULL; w = &(*w)->next_fired) {
    if (*w == &s->watch) {
      *w = s->watch.next_fired;
      break;
    }
  }
}

static void enlist(il_vm *vm, il_source *s, isolua_future *f, int handler) {
  il_loop *loop = &vm->loop;
  s->future = f;
  s->handler = handler;
  s->prev = NULL;
  s->next = loop->sources;
  if (s->next != NULL) s->next->prev = s;
  loop->sources = s;
  if (handler != LUA_NOREF) loop->handlers++;
  il_watch_init(&s->watch, &vm->isolate->waiter);
  il_future_watch(f, &s->watch);
}

static void delist(il_vm *vm, il_source *s) {
  il_loop *loop = &vm->loop;
  forget(vm, s);
  if (s->prev != NULL)
    s->prev->next = s->next;
  else
    loop->sources = s->next;
  if (s->next != NULL) s->next->prev = s->prev;
  if (s->handler != LUA_NOREF) loop->handlers--;
}

static void drop(il_vm *vm, lua_State *L, il_source *s) {
  delist(vm, s);
  luaL_unref(L, LUA_REGISTRYINDEX, s->handler);
  il_future_release(s->future);
  free(s);
}

void il_loop_fini(il_vm *vm) {
  vm->loop.closed = true;
  while (vm->loop.sources != NULL) {
    if (vm->loop.sources->handler != LUA_NOREF)
      drop(vm, vm->L, vm->loop.sources);
    else
      delist(vm, vm->loop.sources);
  }
}

/* [-1, +0]: the error value that a handler raised. */
static int handler_failed(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  vm->loop.failed(vm, L);
  return 0;
}

/* False: the isolate is to end. */
static bool call_handler(il_vm *vm, lua_State *L, il_source *s) {
  int base = lua_gettop(L), before = il_vm_dying(vm), status;
  lua_pushcfunction(L, vm->loop.traceback);
  lua_rawgeti(L, LUA_REGISTRYINDEX, s->handler);
  drop(vm, L, s);
  status = lua_pcall(L, 0, 0, base + 1);
  if (status != LUA_OK && il_vm_dying(vm) == before) {
    lua_pushcfunction(L, handler_failed);
    lua_insert(L, -2);
    lua_pcall(L, 1, 0, 0);
  }
  lua_settop(L, base);
  return il_vm_dying(vm) == before;
}

static bool dispatch(il_vm *vm, lua_State *L) {
  take(vm);
  while (vm->loop.taken != NULL) {
    il_source *s = (il_source *)vm->loop.taken;
    vm->loop.taken = s->watch.next_fired;
    atomic_store_explicit(&s->watch.fired, false, memory_order_release);
    if (s->handler != LUA_NOREF && !call_handler(vm, L, s)) return false;
  }
  return true;
}

static enum outcome run(il_vm *vm, lua_State *L, bool (*until)(il_vm *, void *), void *arg,
                        int64_t deadline) {
  il_isolate *i = vm->isolate;
  enum outcome out = READY;
  for (;;) {
    if (il_vm_wanted(vm) || !dispatch(vm, L)) {
      out = ENDED;
      break;
    }
    if (until(vm, arg)) break;
    if (deadline >= 0 && il_now() >= deadline) {
      out = TIMED_OUT;
      break;
    }
    if (vm->loop.taken == NULL) {
      atomic_store_explicit(&i->status, IL_WAITING, memory_order_relaxed);
      il_waiter_sleep(&i->waiter, deadline);
      atomic_store_explicit(&i->status, IL_RUNNING, memory_order_relaxed);
    }
  }
  return out;
}

bool il_loop_run(il_vm *vm, lua_State *L, bool (*until)(il_vm *, void *), void *arg,
                 int64_t deadline) {
  enum outcome out;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  out = run(vm, L, until, arg, deadline);
  if (out == ENDED) il_vm_raise(vm, L);
  return out == READY;
}

static bool future_done(il_vm *vm, void *f) {
  (void)vm;
  return il_future_is_done(f);
}

void il_loop_check_open(il_vm *vm, lua_State *L) {
  if (vm->loop.closed) luaL_error(L, "the isolate is ending: it starts and gets nothing any more");
}

bool il_loop_await(il_vm *vm, lua_State *L, isolua_future *f, int64_t deadline) {
  il_source s;
  enum outcome out;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (il_future_is_done(f) && vm->loop.handlers == 0 && !il_vm_wanted(vm)) return true;
  enlist(vm, &s, f, LUA_NOREF);
  out = run(vm, L, future_done, f, deadline);
  delist(vm, &s);
  if (out == ENDED) il_vm_raise(vm, L);
  return out == READY;
}

void il_loop_on_done(il_vm *vm, lua_State *L, isolua_future *f) {
  il_source *s;
  int handler;
  il_loop_check_open(vm, L);
  handler = luaL_ref(L, LUA_REGISTRYINDEX);
  s = malloc(sizeof *s);
  if (s == NULL) {
    luaL_unref(L, LUA_REGISTRYINDEX, handler);
    luaL_error(L, "not enough memory");
    return;
  }
  il_handle_retain(&f->h);
  enlist(vm, s, f, handler);
}
