/* pollable.c - descriptors that are readable while a future, receiver or channel is ready. */
/* SPDX-License-Identifier: MIT */
#include "pollable.h"

#include <lauxlib.h>

#include "future.h"
#include "port.h"

/*
** DESIGN. Each pollable thing has an event and a waiter of its own, which nobody sleeps on: whoever
** settles the future or sends the message sets the event through a watch, from its own thread, without
** this isolate's loop. Whether the event is set is looked after when somebody asks for the descriptor,
** as every event loop does right before it polls: it is cleared, then set again if the thing is ready.
** So it is set at least while the thing is ready; it may still be set for a message that was received
** since.
**
** A table with weak keys holds a pollable as long as its handle is there. It holds the thing's memory
** itself, so the two may be collected in any order.
*/
typedef struct pollable {
  il_waiter waiter;
  il_watch watch;
  isolua_future *future; /* one hold; NULL: it is a port */
  il_port *port;         /* a hold on its memory; NULL: neither, it is half built */
} pollable;

static void watch(pollable *p) {
  if (p->future != NULL)
    il_future_watch(p->future, &p->watch);
  else
    il_port_observe(p->port, &p->watch);
}

static int pollable_gc(lua_State *L) {
  pollable *p = lua_touserdata(L, 1);
  if (p->future != NULL) {
    il_future_unwatch(p->future, &p->watch);
    il_future_release(p->future);
  } else if (p->port != NULL) {
    il_port_unobserve(p->port, &p->watch);
    il_handle_release(p->port->keep);
  }
  p->future = NULL;
  p->port = NULL;
  il_waiter_fini(&p->waiter);
  il_waiter_init(&p->waiter);
  return 0;
}

/* A descriptor is no memory that the collector would know of: when there is none, those of handles
** that are garbage are closed. */
static int open_event(lua_State *L, pollable *p) {
  int fd = il_waiter_event(&p->waiter);
  for (int i = 0; fd < 0 && i < 3; i++) { /* handles go first, then the table's entries */
    lua_gc(L, LUA_GCCOLLECT);
    fd = il_waiter_event(&p->waiter);
  }
  return fd;
}

/* [-0, +1, m]; NULL: no descriptor, and nothing is pushed. */
static pollable *push_new(il_vm *vm, lua_State *L, const isolua_case *what) {
  pollable *p = lua_newuserdatauv(L, sizeof *p, 0);
  (void)vm;
  p->future = NULL;
  p->port = NULL;
  il_waiter_init(&p->waiter);
  il_newtype(L, "isolate.pollable", pollable_gc, false);
  lua_setmetatable(L, -2);
  if (open_event(L, p) < 0) {
    lua_pop(L, 1);
    return NULL;
  }
  il_watch_init(&p->watch, &p->waiter);
  if (what->kind == ISOLUA_FUTURE) {
    p->future = what->future;
    il_future_retain(p->future);
  } else {
    p->port = what->port;
    il_handle_retain(p->port->keep);
  }
  watch(p);
  return p;
}

/* The table from handles to their pollables. [-0, +1, m] */
static void push_table(lua_State *L) {
  static char key;
  il_weak_push(L, &key, "k");
}

static bool is_ready(const pollable *p) {
  return p->future != NULL ? il_future_is_done(p->future) : il_port_is_ready(p->port);
}

/* Cleared first: what comes from here on sets it again. A watch that somebody is about to push stays fired,
** or a second one would push it as well. */
static void refresh(pollable *p) {
  il_watch *taken;
  il_waiter_clear(&p->waiter);
  taken = il_waiter_take(&p->waiter); /* NULL, or p->watch */
  if (taken != NULL) atomic_store_explicit(&taken->fired, false, memory_order_release);
  if (is_ready(p)) il_waiter_wake(&p->waiter);
}

int il_pollable_fd(il_vm *vm, lua_State *L, int index, const isolua_case *what) {
  int top = lua_gettop(L);
  pollable *p;
  index = lua_absindex(L, index);
  luaL_checkstack(L, 6, NULL);
  push_table(L);
  lua_pushvalue(L, index);
  if (lua_rawget(L, top + 1) == LUA_TUSERDATA) {
    p = lua_touserdata(L, -1);
  } else {
    lua_pop(L, 1);
    p = push_new(vm, L, what);
    if (p == NULL) {
      lua_settop(L, top);
      return -1;
    }
    lua_pushvalue(L, index);
    lua_pushvalue(L, -2);
    lua_rawset(L, top + 1);
  }
  refresh(p);
  lua_settop(L, top);
  return il_waiter_event(&p->waiter);
}
