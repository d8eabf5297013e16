/* handler.c - functions that the event loop calls. */
/* SPDX-License-Identifier: MIT */
#include "handler.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "kill.h"

#define MESSAGES 64 /* that a handler is given in one go */

/* -- Calls ------------------------------------------------------------------------------------- */

typedef struct call {
  il_vm *vm;
  int n;
  const char *what;
  void (*ended)(il_vm *vm, il_coro *c);
  void *arg;
  il_coro *made;
} call;

static int make_coro(lua_State *L) {
  call *c = lua_touserdata(L, 1);
  lua_remove(L, 1);
  c->made = il_coro_new(c->vm, L, c->n);
  c->made->what = c->what;
  c->made->ended = c->ended;
  c->made->arg = c->arg;
  return 0;
}

static int report(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  vm->loop.failed(vm, L);
  return 0;
}

/* Calls the function on the top but `n` with the `n` values above it, in a coroutine, now: it is `what`
** (static). When that has ended, ended(vm, it), whose `arg` is this one. False: it could not even be called;
** that was reported. [-(n+1), +0, -] */
static bool run(il_vm *vm, lua_State *L, int n, const char *what, void (*ended)(il_vm *, il_coro *),
                void *arg) {
  call c = {vm, n, what, ended, arg, NULL};
  int below = lua_gettop(L) - n;
  lua_pushcfunction(L, make_coro);
  lua_insert(L, below);
  lua_pushlightuserdata(L, &c);
  lua_insert(L, below + 1);
  if (lua_pcall(L, n + 2, 0, 0) != LUA_OK) {
    lua_pushcfunction(L, report);
    lua_insert(L, -2);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
    return false;
  }
  il_coro_run(vm, L, c.made);
  return true;
}

static void unref(lua_State *L, int *ref) {
  luaL_unref(L, LUA_REGISTRYINDEX, *ref);
  *ref = LUA_NOREF;
}

/* -- When a future settles --------------------------------------------------------------------- */

/* Of malloc. */
typedef struct on_done {
  il_source s;           /* first */
  isolua_future *future; /* one hold */
  int fn;
} on_done;

static void done_drop(il_vm *vm, il_source *s) {
  on_done *d = (on_done *)s;
  luaL_unref(vm->L, LUA_REGISTRYINDEX, d->fn);
  il_future_release(d->future);
  free(d);
}

static void done_fire(il_vm *vm, lua_State *L, il_source *s) {
  il_source_remove(vm, s);
  lua_rawgeti(L, LUA_REGISTRYINDEX, ((on_done *)s)->fn);
  done_drop(vm, s);
  run(vm, L, 0, "a function of on_done", NULL, NULL);
}

static void done_unwatch(il_vm *vm, il_source *s) {
  (void)vm;
  il_future_unwatch(((on_done *)s)->future, &s->watch);
}

static bool done_reachable(il_vm *vm, il_source *s) {
  const isolua_future *f = ((on_done *)s)->future;
  return f->done || (!f->local && f->isolate != vm->isolate);
}

static const il_source_type done_type = {done_fire, done_unwatch, done_reachable, NULL, done_drop,
                                         NULL,      NULL};

void il_on_done(il_vm *vm, lua_State *L, isolua_future *f) {
  on_done *d;
  int fn;
  il_loop_check_open(vm, L);
  fn = luaL_ref(L, LUA_REGISTRYINDEX);
  d = malloc(sizeof *d);
  if (d == NULL) {
    luaL_unref(L, LUA_REGISTRYINDEX, fn);
    isolua_memoryerror(L);
    return;
  }
  d->fn = fn;
  d->future = f;
  il_future_retain(f);
  il_source_add(vm, &d->s, &done_type);
  d->s.idle = false;
  il_future_watch(f, &d->s.watch);
}

/* -- Messages ---------------------------------------------------------------------------------- */

/* Of malloc; the port's receiver drops it. */
struct il_handler {
  il_source s; /* first */
  il_vm *vm;
  il_port *port;
  int fn, self; /* registry; LUA_NOREF: it is not set */
  bool running; /* its function is under way: it never overlaps itself */
  bool channel; /* it is a channel's */
  bool calling; /* message_fire has it in its hands */
};

static void free_if_unused(il_handler *h) {
  if (!h->running && (h->port == NULL || (h->channel && h->fn == LUA_NOREF))) free(h);
}

/* The function is under way no more. */
static void message_ended(il_vm *vm, il_coro *c) {
  il_handler *h = c->arg;
  (void)vm;
  h->running = false;
  if (h->s.type != NULL) {
    if (!h->s.watch.listed) il_port_watch(h->port, &h->s.watch, false);
    il_watch_fire(&h->s.watch); /* there may be more, also in `mine` */
  }
  if (!h->calling) free_if_unused(h);
}

static void unset(il_vm *vm, lua_State *L, il_handler *h) {
  il_source_remove(vm, &h->s);
  unref(L, &h->fn);
  unref(L, &h->self);
}

static int push_item(lua_State *L) {
  il_item_push(il_vm_check(L), L, lua_touserdata(L, 1));
  return 1;
}

/* Calls the function with one message. False: there is none, or it has not come back. */
static bool call_with_message(il_handler *h, lua_State *L) {
  il_vm *vm = h->vm;
  il_item item;
  int got = il_port_receive(h->port, &item);
  if (got != IL_GOT) {
    if (got == IL_CLOSED)
      unset(vm, L, h); /* nothing will come any more: nothing is kept for that */
    return false;
  }
  il_count(&vm->isolate->messages_in);
  h->running = true;
  lua_rawgeti(L, LUA_REGISTRYINDEX, h->fn);
  lua_pushcfunction(L, push_item);
  lua_pushlightuserdata(L, &item);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) { /* it cannot be made here: the function raises that */
    lua_replace(L, -2);
    lua_pushcfunction(L, lua_error);
    lua_insert(L, -2);
  }
  if (!run(vm, L, 1, "a handler of messages", message_ended, h)) h->running = false;
  return !h->running;
}

static void message_fire(il_vm *vm, lua_State *L, il_source *s) {
  il_handler *h = (il_handler *)s;
  bool before = il_vm_unwinding(vm);
  int n = 0, most = vm->loop.one_by_one ? 1 : MESSAGES;
  h->calling = true;
  while (n < most && !h->running && h->s.type != NULL && il_vm_unwinding(vm) == before &&
         call_with_message(h, L))
    n++;
  h->calling = false;
  if (n == most && h->s.type != NULL) il_watch_fire(&h->s.watch);
  if (h->running && h->s.type != NULL) /* meanwhile others are to be told */
    il_port_unwatch(h->port, &h->s.watch, false);
  free_if_unused(h);
}

static void message_unwatch(il_vm *vm, il_source *s) {
  (void)vm;
  il_port_unwatch(((il_handler *)s)->port, &s->watch, false);
}

static bool message_reachable(il_vm *vm, il_source *s) {
  il_handler *h = (il_handler *)s;
  return il_port_reachable(h->port, vm->isolate, false);
}

/* The loop ends. That of a port is its receiver's to drop. */
static void message_drop(il_vm *vm, il_source *s) {
  il_handler *h = (il_handler *)s;
  unref(vm->L, &h->fn);
  unref(vm->L, &h->self);
  if (!h->calling) free_if_unused(h);
}

/* While its function is under way nothing of it can be done. */
static size_t message_left(il_vm *vm, il_source *s) {
  const il_handler *h = (il_handler *)s;
  size_t n = il_port_count(h->port);
  (void)vm;
  return h->running ? 0 : n > 0 ? n : il_port_is_ready(h->port); /* its end */
}

static void message_away(il_vm *vm, il_source *s, bool away) {
  il_handler *h = (il_handler *)s;
  (void)vm;
  if (away)
    il_port_unwatch(h->port, &s->watch, false);
  else if (!h->running)
    il_port_watch(h->port, &s->watch, false);
}

static const il_source_type message_type = {message_fire, message_unwatch, message_reachable, NULL,
                                            message_drop, message_away,    message_left};

/* A channel has one in each state that has set one. */
static il_handler *find(il_vm *vm, const il_port *p) {
  if (!p->channel) return p->handler;
  for (il_source *s = vm->loop.sources; s != NULL; s = s->next)
    if (s->type == &message_type && ((il_handler *)s)->port == p) return (il_handler *)s;
  return NULL;
}

il_handler *il_handler_of(il_vm *vm, lua_State *L, il_port *p) {
  il_handler *h = find(vm, p);
  if (h != NULL) return h;
  h = calloc(1, sizeof *h);
  if (h == NULL) {
    isolua_memoryerror(L);
    return NULL;
  }
  h->vm = vm;
  h->port = p;
  h->channel = p->channel;
  h->fn = h->self = LUA_NOREF;
  if (!p->channel) p->handler = h;
  return h;
}

void il_handler_set(il_vm *vm, lua_State *L, il_handler *h, int index) {
  bool on = !lua_isnil(L, -1);
  if (!on) {
    lua_pop(L, 1);
    unset(vm, L, h);
    if (!h->calling) free_if_unused(h);
    return;
  }
  il_loop_check_open(vm, L);
  lua_pushvalue(L, index);
  unref(L, &h->self);
  unref(L, &h->fn);
  h->self = luaL_ref(L, LUA_REGISTRYINDEX);
  h->fn = luaL_ref(L, LUA_REGISTRYINDEX);
  if (h->s.type != NULL) return;
  il_source_add(vm, &h->s, &message_type);
  il_port_watch(h->port, &h->s.watch, false);
  il_watch_fire(&h->s.watch); /* what is there already, also in `mine` */
}

bool il_handler_is_set(il_vm *vm, const il_port *p) {
  const il_handler *h = find(vm, p);
  return h != NULL && h->fn != LUA_NOREF;
}

void il_handler_keep(il_vm *vm, lua_State *L, il_port *p, bool keep) {
  il_handler *h = p->channel ? find(vm, p) : il_handler_of(vm, L, p);
  if (h != NULL) h->s.idle = !keep;
}

/* A call under way frees it later. */
void il_handler_drop(il_vm *vm, lua_State *L, il_port *p) {
  il_handler *h = p->handler;
  if (h == NULL) return;
  p->handler = NULL;
  unset(vm, L, h);
  h->port = NULL;
  if (!h->calling) free_if_unused(h);
}

/* -- Timers ------------------------------------------------------------------------------------ */

static void timer_stop(il_vm *vm, lua_State *L, il_timer *t) {
  t->over = true;
  il_tick_clear(vm, &t->tick);
  if (t->reserved) il_tick_unreserve(vm);
  t->reserved = false;
  unref(L, &t->fn);
  unref(L, &t->self);
}

static void timer_cancel(il_vm *vm, lua_State *L, il_timer *t) {
  timer_stop(vm, L, t);
  t->rung = false;
  il_watches_fire(&t->watches);
}

/* An endless function is not called again: it would be as endless. */
static void timer_ended(il_vm *vm, il_coro *c) {
  il_timer *t = c->arg;
  t->running = false;
  if (c->broken && !t->over) timer_cancel(vm, vm->L, t);
}

/* The next time is counted from the last, not from now; what was missed is left out. */
static void timer_again(il_vm *vm, il_timer *t) {
  int64_t next = t->tick.due.when + t->period, now = il_now();
  if (next <= now) next += (now - next) / t->period * t->period + t->period;
  il_tick_set(vm, &t->tick, next);
}

/* Its userdata is kept by what is called: the coroutine has it as an argument that the function does
** not see. */
static void timer_ring(il_vm *vm, lua_State *L, il_tick *tick) {
  il_timer *t = (il_timer *)tick;
  bool calls = t->fn != LUA_NOREF && !t->running;
  const char *what;
  t->rung = true;
  if (calls) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->fn);
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->self);
  }
  if (t->period > 0)
    timer_again(vm, t);
  else
    timer_stop(vm, L, t);
  il_watches_fire(&t->watches);
  if (!calls) return;
  t->running = true;
  what = t->over ? "the function of a timer" : "the function of a timer, which is cancelled";
  if (!run(vm, L, 1, what, timer_ended, t)) t->running = false;
}

/* Upvalue: the function; the argument is the timer, which stays on the stack while it runs. */
static int timer_call_end(lua_State *L, int status, lua_KContext ctx) {
  (void)L, (void)status, (void)ctx;
  return 0;
}

static int timer_call(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_callk(L, 0, 0, 0, timer_call_end);
  return timer_call_end(L, LUA_OK, 0);
}

static char timer_mark;

isolua_timer *isolua_timer_of(lua_State *L, int index) {
  il_timer *t;
  if (lua_rawlen(L, index) != sizeof *t) return NULL;
  t = lua_touserdata(L, index);
  return t != NULL && t->mark == &timer_mark ? t : NULL;
}

long long isolua_timer_id(isolua_timer *t) {
  if (t->id == 0) t->id = il_next_id();
  return t->id;
}

isolua_timer *isolua_timer_push(lua_State *L, int64_t ns, int64_t period, int fn) {
  il_vm *vm = il_vm_check(L);
  il_timer *t = lua_newuserdatauv(L, sizeof *t, 0);
  memset(t, 0, sizeof *t);
  t->mark = &timer_mark;
  t->fn = t->self = LUA_NOREF;
  luaL_setmetatable(L, ISOLUA_TTIMER);
  il_loop_check_open(vm, L);
  t->period = period;
  t->tick.ring = timer_ring;
  il_tick_reserve(vm, L);
  t->reserved = true;
  if (fn != 0) {
    lua_pushvalue(L, -1);
    t->self = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, fn);
    lua_pushcclosure(L, timer_call, 1);
    t->fn = luaL_ref(L, LUA_REGISTRYINDEX);
    t->tick.live = true;
  }
  il_tick_set(vm, &t->tick, il_deadline(ns));
  return t;
}

int isolua_timer_cancel(lua_State *L, isolua_timer *t) {
  il_vm *vm = il_vm_of(L);
  bool was = !t->over;
  if (vm == NULL) return 0;
  timer_cancel(vm, L, t);
  return was;
}

void isolua_pending(lua_State *L, size_t *tasks, size_t *timers) {
  const il_loop *loop = &il_vm_check(L)->loop;
  *tasks = *timers = 0;
  for (const il_coro *c = loop->coros; c != NULL; c = c->behind) ++*tasks;
  for (size_t i = 0; i < loop->ticks.count; i++) {
    const il_tick *t = (const il_tick *)loop->ticks.heap[i];
    if (t->live && t->ring == timer_ring) ++*timers;
  }
}

void isolua_timer_drop(lua_State *L, isolua_timer *t) {
  il_vm *vm = il_vm_of(L);
  if (vm != NULL) timer_stop(vm, L, t);
}
