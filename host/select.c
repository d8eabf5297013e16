/* select.c - waits. */
/* SPDX-License-Identifier: MIT */
#include "select.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "kill.h"

/*
** DESIGN. A wait first looks whether something is there, in any order: a different one each time. If
** not it makes every case a source of the loop, and then either parks its coroutine, yielding to the
** loop, or runs the loop on its stack, or hands over to another event loop. Whoever goes on looks again
** at those that fired: so one case is done at most, by whoever waits, and the others have lost nothing.
** What was received lies in the case until it is decoded, what is to be sent until it is sent.
*/

#define LINGER 10000 /* ns that a receiver spins before it asks to be woken */
#define GATHER 100   /* messages that are worth a turn of the port's lines */
#define YIELD 64     /* waits of coroutines that find something, to one that yields all the same */

/* -- Items ------------------------------------------------------------------------------------- */

/* A value without parts goes as it is. */
static bool plain_item(lua_State *L, int index, il_item *item) {
  if (lua_isinteger(L, index)) {
    item->kind = IL_ITEM_INTEGER;
    item->u.integer = lua_tointeger(L, index);
    return true;
  }
  switch (lua_type(L, index)) {
  case LUA_TNUMBER:
    item->kind = IL_ITEM_FLOAT;
    item->u.number = lua_tonumber(L, index);
    return true;
  case LUA_TBOOLEAN:
    item->kind = lua_toboolean(L, index) ? IL_ITEM_TRUE : IL_ITEM_FALSE;
    return true;
  default: return false;
  }
}

int il_item_encode(il_vm *vm, lua_State *L, il_item *item, il_moves **moves) {
  il_sending how = {.root = IL_ROOT_MESSAGE, .libs = IL_LIBS_ALL};
  int err;
  if (plain_item(L, -1, item)) {
    lua_pop(L, 1);
    return ISOLUA_OK;
  }
  err = il_encode_waiting(vm, L, 1, &how, &item->u.msg, moves);
  item->kind = err == ISOLUA_OK ? IL_ITEM_MSG : IL_ITEM_NONE;
  return err;
}

/* The message waits in `held` until its box is there: should that raise, the next one frees it. */
static void push_message(il_vm *vm, lua_State *L, il_item *item) {
  il_msg **box;
  il_item_fini(&vm->loop.held);
  vm->loop.held = *item;
  item->kind = IL_ITEM_NONE;
  box = il_box_push(L);
  *box = vm->loop.held.u.msg;
  vm->loop.held.kind = IL_ITEM_NONE;
  il_decode(vm, L, *box);
  il_msg_free(*box);
  *box = NULL;
  lua_remove(L, -2);
}

void il_item_push(il_vm *vm, lua_State *L, il_item *item) {
  switch (item->kind) {
  case IL_ITEM_FALSE: lua_pushboolean(L, 0); break;
  case IL_ITEM_TRUE: lua_pushboolean(L, 1); break;
  case IL_ITEM_INTEGER: lua_pushinteger(L, item->u.integer); break;
  case IL_ITEM_FLOAT: lua_pushnumber(L, item->u.number); break;
  case IL_ITEM_MSG: push_message(vm, L, item); return;
  default: lua_pushnil(L);
  }
  item->kind = IL_ITEM_NONE;
}

void il_count(atomic_llong *n) {
  long long v = atomic_load_explicit(n, memory_order_relaxed);
  atomic_store_explicit(n, v + 1, memory_order_relaxed);
}

/* -- One case ---------------------------------------------------------------------------------- */

enum { NOT_YET = -1 };

static int sent_code(il_vm *vm, enum il_sent sent) {
  switch (sent) {
  case IL_SENT: il_count(&vm->isolate->messages_out); return ISOLUA_OK;
  case IL_SENT_CLOSED: return ISOLUA_CLOSED;
  case IL_NO_MEMORY: return ISOLUA_MEMORY;
  default: return NOT_YET;
  }
}

static int try_send(il_vm *vm, il_case *c) {
  il_port *p = c->what.port;
  int code;
  if (c->no_memory) return ISOLUA_MEMORY;
  code =
    sent_code(vm, c->offered ? il_port_offered(p, &c->offer) : il_port_send(p, &c->item, false));
  return code == NOT_YET && p->full == IL_FULL_ERROR ? ISOLUA_FULL : code;
}

static int try_receive(il_vm *vm, il_case *c) {
  switch (il_port_receive(c->what.port, &c->item)) {
  case IL_GOT: il_count(&vm->isolate->messages_in); return ISOLUA_OK;
  case IL_CLOSED: return ISOLUA_CLOSED;
  default: return NOT_YET;
  }
}

static int try_timer(il_timer *t) {
  if (t->rung) {
    t->rung = false;
    return ISOLUA_OK;
  }
  return t->over ? ISOLUA_CLOSED : NOT_YET;
}

static int try_case(il_vm *vm, il_case *c) {
  switch (c->what.kind) {
  case ISOLUA_RECEIVE: return try_receive(vm, c);
  case ISOLUA_SEND: return try_send(vm, c);
  case ISOLUA_FUTURE: return il_future_is_done(c->what.future) ? ISOLUA_OK : NOT_YET;
  default: return try_timer(c->what.timer);
  }
}

/* Another event loop is to let this wait look again. */
static void call_wait(il_vm *vm, il_wait *w) {
  if (w->called) return;
  w->called = true;
  w->next_called = NULL;
  if (vm->loop.called == NULL)
    vm->loop.called = w;
  else
    vm->loop.last_called->next_called = w;
  vm->loop.last_called = w;
  il_loop_announce(vm);
}

static void uncall_wait(il_vm *vm, il_wait *w) {
  il_wait **at = &vm->loop.called, *before = NULL;
  if (!w->called) return;
  w->called = false;
  for (; *at != NULL && *at != w; at = &before->next_called) before = *at;
  if (*at == NULL) return;
  *at = w->next_called;
  if (vm->loop.last_called == w) vm->loop.last_called = before;
}

long long il_wait_called(il_vm *vm) {
  il_wait *w = vm->loop.called;
  if (w == NULL) return 0;
  uncall_wait(vm, w);
  return w->token;
}

static void case_fire(il_vm *vm, lua_State *L, il_source *s) {
  il_case *c = (il_case *)s;
  (void)L;
  c->fired = true;
  if (c->wait->coro != NULL)
    il_coro_wake(vm, c->wait->coro);
  else if (c->wait->foreign)
    call_wait(vm, c->wait);
}

static void case_unwatch(il_vm *vm, il_source *s) {
  il_case *c = (il_case *)s;
  switch (c->what.kind) {
  case ISOLUA_RECEIVE: il_port_unwatch(c->what.port, &s->watch, false); break;
  case ISOLUA_SEND:
    if (!c->offered) {
      il_port_unwatch(c->what.port, &s->watch, true);
    } else if (il_port_withdraw(c->what.port, &c->offer) != IL_SENT) {
      c->item = c->offer.item;
      c->offered = false;
    }
    break;
  case ISOLUA_FUTURE: il_future_unwatch(c->what.future, &s->watch); break;
  default:
    il_watches_remove(&c->what.timer->watches, &s->watch);
    if (--c->what.timer->waiting == 0)
      il_tick_live(vm, &c->what.timer->tick, c->what.timer->fn != LUA_NOREF);
  }
}

static bool case_reachable(il_vm *vm, il_source *s) {
  il_case *c = (il_case *)s;
  const void *self = vm->isolate;
  switch (c->what.kind) {
  case ISOLUA_RECEIVE: return il_port_reachable(c->what.port, self, false);
  case ISOLUA_SEND: /* in this order: an offer may be taken by whoever then lets go of the port */
    return il_port_reachable(c->what.port, self, true) ||
           (c->offered && il_port_offered(c->what.port, &c->offer) != IL_FULL);
  case ISOLUA_FUTURE:
    return il_future_is_done(c->what.future) ||
           (!c->what.future->local && c->what.future->isolate != self);
  default: return false; /* its tick counts */
  }
}

static void push_port_name(lua_State *L, const char *what, il_port *p) {
  il_isolate *i = il_isolate_of(&p->tx);
  if (i != NULL)
    lua_pushfstring(L, "%s the inbox of '%s'", what, i->name);
  else if (p->name != NULL)
    lua_pushfstring(L, "%s %s '%s'", what, p->channel ? "channel" : "port", p->name);
  else
    lua_pushfstring(L, "%s %s %I", what, p->channel ? "channel" : "port",
                    (LUAI_UACINT)il_handle_id(&p->tx));
}

static void case_describe(il_vm *vm, lua_State *L, il_source *s) {
  const il_case *c = (const il_case *)s;
  const il_isolate *i;
  (void)vm;
  switch (c->what.kind) {
  case ISOLUA_RECEIVE: push_port_name(L, "a message on", c->what.port); break;
  case ISOLUA_SEND: push_port_name(L, "room in", c->what.port); break;
  case ISOLUA_FUTURE:
    i = c->what.future->isolate;
    if (i == NULL)
      lua_pushstring(L, c->what.future->local ? "a task" : "a job");
    else
      lua_pushfstring(L, "isolate '%s'", i->name);
    break;
  default: lua_pushliteral(L, "a timer");
  }
}

/* Of those who receive from a channel another one can take what comes. */
static void case_away(il_vm *vm, il_source *s, bool away) {
  il_case *c = (il_case *)s;
  (void)vm;
  if (c->what.kind != ISOLUA_RECEIVE || !c->what.port->channel) return;
  if (away)
    il_port_unwatch(c->what.port, &s->watch, false);
  else
    il_port_watch(c->what.port, &s->watch, false);
}

static const il_source_type case_type = {
  case_fire, case_unwatch, case_reachable, case_describe, NULL, case_away, NULL};

/* A single send leaves an offer; one among others is told when there is room. */
static void watch_send(il_wait *w, il_case *c) {
  il_port *p = c->what.port;
  c->offer.watch = &c->s.watch;
  if (w->n > 1) {
    il_port_watch(p, &c->s.watch, true);
  } else if (p->full != IL_FULL_BLOCK) { /* it does not wait: it is to be tried */
    il_watch_fire(&c->s.watch);
  } else {
    enum il_sent sent = il_port_offer(p, &c->item, &c->offer);
    c->offered = sent == IL_FULL || sent == IL_SENT;
    c->no_memory = sent == IL_NO_MEMORY;
    if (sent != IL_FULL) il_watch_fire(&c->s.watch);
  }
}

static void watch_case(il_vm *vm, il_wait *w, il_case *c) {
  il_source_add(vm, &c->s, &case_type);
  switch (c->what.kind) {
  case ISOLUA_RECEIVE: il_port_watch(c->what.port, &c->s.watch, false); break;
  case ISOLUA_SEND: watch_send(w, c); break;
  case ISOLUA_FUTURE: il_future_watch(c->what.future, &c->s.watch); break;
  default:
    il_watches_add(&c->what.timer->watches, &c->s.watch);
    c->what.timer->waiting++;
    il_tick_live(vm, &c->what.timer->tick, true);
    if (c->what.timer->rung || c->what.timer->over) il_watch_fire(&c->s.watch);
  }
}

/* -- A wait ------------------------------------------------------------------------------------ */

static void wait_init(il_wait *w, const isolua_case *cases, int n, int64_t deadline) {
  memset(w, 0, sizeof *w + (size_t)(n - 1) * sizeof *w->cases);
  w->n = n;
  w->deadline = deadline;
  for (int i = 0; i < n; i++) {
    w->cases[i].wait = w;
    w->cases[i].what = cases[i];
  }
}

/* The buffers in what was to be sent are gone, or the sender's again. */
static void end_moves(il_vm *vm, il_case *c, bool sent) {
  il_moves *moves = c->moves;
  c->moves = NULL;
  if (sent)
    il_moves_done(vm, moves);
  else
    il_moves_undo(vm, moves);
}

/* Whom this isolate serves is told that it waits for what somebody else does, and when it goes on: its
** body waits for anything at all, and the body or a task for a future. */
static void tell_waits(il_vm *vm) {
  il_isolate *i = vm->isolate;
  bool waits = vm->loop.inside > 0 && vm->loop.awaits > 0;
  if (waits == vm->loop.told) return;
  vm->loop.told = waits;
  i->hooks->waits(i, waits);
}

static void uncount_wait(il_vm *vm, il_wait *w) {
  if (!w->awaits && !w->inside) return;
  vm->loop.awaits -= w->awaits;
  vm->loop.inside -= w->inside;
  w->awaits = w->inside = false;
  tell_waits(vm);
}

static void count_wait(il_vm *vm, il_wait *w, bool inside) {
  if (vm->isolate->hooks == NULL) return;
  uncount_wait(vm, w);
  for (int n = 0; n < w->n; n++)
    if (w->cases[n].what.kind == ISOLUA_FUTURE) w->awaits = true;
  w->inside = inside;
  vm->loop.awaits += w->awaits;
  vm->loop.inside += w->inside;
  tell_waits(vm);
}

/* Lets go of all; what was received or not sent is dropped, but for the winner's. */
static void wait_end(il_vm *vm, il_wait *w, const il_case *winner) {
  if (w->watching) {
    for (int i = 0; i < w->n; i++) il_source_remove(vm, &w->cases[i].s);
    il_tick_clear(vm, &w->tick);
    if (w->reserved) il_tick_unreserve(vm);
  }
  uncall_wait(vm, w);
  w->watching = w->reserved = w->foreign = false;
  uncount_wait(vm, w);
  if (w->coro != NULL) w->coro->parked = NULL;
  w->coro = NULL;
  for (int i = 0; i < w->n; i++) {
    il_case *c = &w->cases[i];
    if (c == winner) continue;
    end_moves(vm, c, c->offered); /* that offer was taken */
    il_item_fini(&c->item);
  }
}

static int wait_gc(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  il_wait *w = lua_touserdata(L, 1);
  if (vm != NULL) wait_end(vm, w, NULL);
  return 0;
}

/* A wait for `n` cases that the stack keeps. [-0, +1, m] */
static il_wait *wait_push(lua_State *L, const isolua_case *cases, int n, int64_t deadline) {
  il_wait *w = lua_newuserdatauv(L, sizeof *w + (size_t)(n - 1) * sizeof *w->cases, 0);
  wait_init(w, cases, n, deadline);
  il_newtype(L, "isolate.wait", wait_gc, false);
  lua_setmetatable(L, -2);
  return w;
}

static void wait_watch(il_vm *vm, il_wait *w) {
  w->watching = true;
  for (int i = 0; i < w->n; i++) watch_case(vm, w, &w->cases[i]);
}

static uint32_t next_random(il_loop *loop) { /* xorshift32 */
  uint32_t x = loop->random;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  loop->random = x;
  return x;
}

static uint32_t common_divisor(uint32_t a, uint32_t b) {
  while (b != 0) {
    uint32_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Begins anywhere, and goes round by any step that meets all: whichever are ready, each of them is as
** likely to be met first. From one place and by one it would be the first behind a gap. */
static void any_order(il_vm *vm, uint32_t n, uint32_t *at, uint32_t *step) {
  *at = 0;
  *step = 1;
  if (n < 2) return;
  *at = next_random(&vm->loop) % n;
  *step = 1 + next_random(&vm->loop) % (n - 1);
  while (common_divisor(n, *step) != 1) *step = *step % (n - 1) + 1;
}

/* A case that can be done, of all or of those that fired; *code says how. NULL: none yet. */
static il_case *wait_try(il_vm *vm, il_wait *w, bool all, int *code) {
  uint32_t n = (uint32_t)w->n, at, step;
  any_order(vm, n, &at, &step);
  for (uint32_t i = 0; i < n; i++) {
    il_case *c = &w->cases[at];
    at = (uint32_t)(((uint64_t)at + step) % n);
    if (!all && !c->fired) continue;
    c->fired = false;
    *code = try_case(vm, c);
    if (*code != NOT_YET) return c;
  }
  return NULL;
}

/* An offer that was taken while its wait ended for another reason. NULL: there is none. */
static il_case *taken_meanwhile(il_wait *w) {
  return w->n == 1 && w->cases->what.kind == ISOLUA_SEND && w->cases->offered ? w->cases : NULL;
}

/* Ends the wait and calls its continuation, with what was received on the top. `c` NULL: the time is
** over. */
static int finish(il_vm *vm, lua_State *L, il_wait *w, il_case *c, int code) {
  isolua_waited *k = w->k;
  lua_KContext ctx = w->ctx;
  il_item item = {.kind = IL_ITEM_NONE};
  int winner = -1;
  wait_end(vm, w, c);
  if (c == NULL && (c = taken_meanwhile(w)) != NULL) code = sent_code(vm, IL_SENT);
  if (c != NULL) {
    winner = (int)(c - w->cases);
    item = c->item;
    c->item.kind = IL_ITEM_NONE;
    end_moves(vm, c, code == ISOLUA_OK);
    if (c->what.kind == ISOLUA_RECEIVE && code == ISOLUA_OK)
      il_item_push(vm, L, &item);
    else
      il_item_fini(&item);
  }
  if (code == ISOLUA_MEMORY) return isolua_memoryerror(L);
  return k(L, winner, c != NULL ? code : ISOLUA_TIMEOUT, ctx);
}

/* -- Waiting on the stack ---------------------------------------------------------------------- */

typedef struct attempt {
  il_wait *wait;
  il_case *winner;
  int code;
} attempt;

static bool try_fired(il_vm *vm, lua_State *L, void *arg) {
  attempt *a = arg;
  (void)L;
  a->winner = wait_try(vm, a->wait, false, &a->code);
  return a->winner != NULL;
}

/* The last that began is the first in the list, so this wait comes before those of tasks; the innermost wait
** that is unwound counts. */
static void note_hung(il_vm *vm) {
  int n = 0;
  if (vm->hung[0] != 0) return;
  for (il_source *s = vm->loop.sources; s != NULL && n < IL_HUNG; s = s->next) {
    const il_case *c = (const il_case *)s;
    isolua_future *f = c->what.future;
    if (s->type != &case_type || c->what.kind != ISOLUA_FUTURE) continue;
    vm->hung[n++] = f->isolate != NULL ? isolua_isolate_id(f->isolate) : il_handle_id(&f->h);
  }
}

static int wait_nested(il_vm *vm, lua_State *L, il_wait *w) {
  attempt a = {w, NULL, ISOLUA_OK};
  enum il_outcome out;
  count_wait(vm, w, true);
  out = il_loop_run(vm, L, try_fired, &a, w->deadline);
  if (out == IL_READY || out == IL_TIMED_OUT) return finish(vm, L, w, a.winner, a.code);
  if (out == IL_HOPELESS) il_loop_pushdeadlock(L);
  if (out == IL_ENDED && vm->isolate->is_main) note_hung(vm);
  wait_end(vm, w, NULL);
  return out == IL_HOPELESS ? lua_error(L) : il_loop_raise(vm, L, out);
}

/* -- Waiting in a coroutine of the loop -------------------------------------------------------- */

static void wait_ring(il_vm *vm, lua_State *L, il_tick *t) {
  il_wait *w = (il_wait *)t;
  (void)L;
  w->timed_out = true;
  if (w->coro != NULL)
    il_coro_wake(vm, w->coro);
  else if (w->foreign)
    call_wait(vm, w);
}

/* Its deadline as a tick, to be set once the wait has begun. [-0, +0, m] */
static void reserve_deadline(il_vm *vm, lua_State *L, il_wait *w, bool live) {
  if (w->deadline < 0) return;
  il_tick_reserve(vm, L);
  w->reserved = true;
  w->tick.ring = wait_ring;
  w->tick.live = live;
}

static int parked(lua_State *L, int status, lua_KContext ctx);

static int park(lua_State *L, il_wait *w) {
  return lua_yieldk(L, 0, (lua_KContext)w, parked);
}

/* It was resumed. The wait lies on the top of the stack, or below what resumed it. */
static int parked(lua_State *L, int status, lua_KContext ctx) {
  il_vm *vm = il_vm_check(L);
  il_wait *w = (il_wait *)ctx;
  il_coro *coro = w->coro;
  il_case *c;
  int code = ISOLUA_OK;
  (void)status;
  while (lua_touserdata(L, -1) != w) lua_pop(L, 1);
  if (il_vm_wanted(vm) || (coro != NULL && coro->cancelled)) {
    bool ended = il_vm_wanted(vm);
    if (coro != NULL) coro->cancelled = false;
    wait_end(vm, w, NULL);
    return il_loop_raise(vm, L, ended ? IL_ENDED : IL_CANCELLED);
  }
  c = wait_try(vm, w, false, &code);
  if (c == NULL && vm->loop.hopeless) {
    il_loop_pushdeadlock(L);
    wait_end(vm, w, NULL);
    return lua_error(L);
  }
  if (c == NULL && !w->timed_out) return park(L, w);
  lua_pop(L, 1); /* this frame still refers to it: it is not collected before finish has read it */
  return finish(vm, L, w, c, code);
}

static int wait_parked(il_vm *vm, lua_State *L, il_wait *w, il_coro *coro) {
  reserve_deadline(vm, L, w, true);
  w->coro = coro;
  coro->parked = &w->coro;
  wait_watch(vm, w);
  if (w->reserved) il_tick_set(vm, &w->tick, w->deadline);
  count_wait(vm, w, false);
  return park(L, w);
}

/* -- Waiting in another event loop ------------------------------------------------------------- */

/* Is it over? Then *result is what its C function returns, if it does not raise. */
static bool foreign_over(il_vm *vm, lua_State *L, il_wait *w, int *result) {
  int code = ISOLUA_OK;
  bool goes_on = !il_vm_wanted(vm);
  il_case *c = goes_on ? wait_try(vm, w, false, &code) : NULL;
  if (goes_on && c == NULL && !w->timed_out) {
    long long all = -1;
    goes_on = il_loop_pump(vm, L, &all, -1);
    if (goes_on) c = wait_try(vm, w, false, &code);
    if (vm->loop.called != NULL) il_loop_announce(vm); /* others, which are not resumed here */
  }
  if (!goes_on) {
    wait_end(vm, w, NULL);
    *result = il_loop_raise(vm, L, IL_ENDED);
    return true;
  }
  if (c == NULL && !w->timed_out && (w->deadline < 0 || il_now() < w->deadline)) return false;
  *result = finish(vm, L, w, c, code);
  return true;
}

/* Calls foreign(token, nested) until the wait is over, or it says that it cannot wait there. */
static int foreign_turns(lua_State *L, int status, lua_KContext ctx) {
  il_vm *vm = il_vm_check(L);
  il_wait *w = (il_wait *)ctx;
  bool back = status == LUA_YIELD;
  for (;; back = true) {
    int result;
    if (back) {
      bool waited = lua_toboolean(L, -1);
      lua_pop(L, 1);
      if (!waited) {
        w->foreign = false;
        il_tick_clear(vm, &w->tick);
        return wait_nested(vm, L, w);
      }
      if (foreign_over(vm, L, w, &result)) return result;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->loop.foreign);
    lua_pushinteger(L, (lua_Integer)w->token);
    lua_pushboolean(L, vm->loop.current != NULL);
    lua_callk(L, 2, 1, ctx, foreign_turns);
  }
}

/* Nothing of it keeps the isolate alive: whether it goes on is up to the other event loop. */
static int wait_foreign(il_vm *vm, lua_State *L, il_wait *w) {
  reserve_deadline(vm, L, w, false);
  w->foreign = true;
  w->token = ++vm->loop.tokens;
  wait_watch(vm, w);
  for (int i = 0; i < w->n; i++) w->cases[i].s.idle = true;
  count_wait(vm, w, true);
  if (w->reserved) il_tick_set(vm, &w->tick, w->deadline);
  return foreign_turns(L, LUA_OK, (lua_KContext)w);
}

/* -- All of it --------------------------------------------------------------------------------- */

/* Values to be sent are encoded in order; all or none. [-0, +0, e] */
static void encode_sends(il_vm *vm, lua_State *L, const isolua_case *cases, int n, il_wait *w) {
  for (int i = 0; i < n; i++) {
    if (cases[i].kind != ISOLUA_SEND) continue;
    lua_pushvalue(L, cases[i].value);
    if (il_item_encode(vm, L, &w->cases[i].item, &w->cases[i].moves) != ISOLUA_OK) {
      wait_end(vm, w, NULL);
      lua_error(L);
    }
  }
  for (int i = 0; i < n; i++) {
    if (il_moves_begin(w->cases[i].moves)) continue;
    wait_end(vm, w, NULL); /* an __isolate_pack sent or closed it */
    isolua_pusherror(L, ISOLUA_TRANSFERRED, "the buffer was transferred to another isolate", NULL);
    lua_error(L);
  }
}

int il_port_take(il_vm *vm, lua_State *L, il_port *p) {
  il_item item;
  enum il_got got = il_port_receive(p, &item);
  if (got != IL_GOT) return got == IL_EMPTY ? ISOLUA_TIMEOUT : ISOLUA_CLOSED;
  il_count(&vm->isolate->messages_in);
  il_item_push(vm, L, &item);
  return ISOLUA_OK;
}

/* Messages come faster than they are received: they are let come in, so that both get through their work
** in batches instead of meeting at each message. Not by an isolate that has sent something since, which
** may be what the next one answers. */
static void gather(il_vm *vm, il_port *p) {
  il_isolate *i = vm->isolate;
  long long sent = atomic_load_explicit(&i->messages_out, memory_order_relaxed);
  size_t enough = p->capacity / 2 < GATHER ? p->capacity / 2 : GATHER;
  if (sent == vm->loop.sent) p->patient = il_waiter_gather(&i->waiter, &p->queued, enough);
  vm->loop.sent = sent;
}

static int receive(il_vm *vm, lua_State *L, il_port *p) {
  if (p->patient && p->mine.count == 0) gather(vm, p);
  return il_port_take(vm, L, p);
}

/* The queue is empty, and the waiter would spin: it does so here first, where a sender need not wake it.
** ISOLUA_TIMEOUT: still nothing. */
static int linger(il_vm *vm, lua_State *L, il_port *p) {
  il_waiter *w = &vm->isolate->waiter;
  il_waiter_linger(w, &p->arrived, LINGER);
  return atomic_load_explicit(&p->arrived, memory_order_relaxed) ? receive(vm, L, p)
                                                                 : ISOLUA_TIMEOUT;
}

/* Something is there, or the wait must not begin: true, and *result is its end. */
static bool at_once(il_vm *vm, lua_State *L, il_wait *w, int *result) {
  int code = ISOLUA_OK;
  il_case *c = wait_try(vm, w, true, &code);
  if (c == NULL && w->deadline != 0) return false;
  *result = finish(vm, L, w, c, code);
  return true;
}

/* A coroutine that was cancelled before this wait: it does not begin. */
static void check_cancelled(il_vm *vm, lua_State *L) {
  il_coro *c = vm->loop.current;
  if (c == NULL || !c->cancelled) return;
  c->cancelled = false;
  il_loop_raise(vm, L, IL_CANCELLED);
}

/* As il_port_send; who finds it full waits for a moment before it asks to be woken. */
static enum il_sent send_soon(il_vm *vm, lua_State *L, il_port *p, il_item *item) {
  enum il_sent sent = il_port_send(p, item, false);
  if (sent != IL_FULL || !p->in_one || p->full != IL_FULL_BLOCK || vm->loop.foreign != LUA_NOREF ||
      il_coro_of(vm, L) != NULL)
    return sent;
  il_port_linger(p, &vm->isolate->waiter, LINGER);
  return il_port_send(p, item, false);
}

int isolua_send_now(lua_State *L, int to, int value) {
  il_handle *h = il_handle_test(L, to);
  il_vm *vm = il_vm_check(L);
  il_item item;
  if (h == NULL || h->type->release != il_sender_release || !plain_item(L, value, &item) ||
      il_loop_wants_turn(vm))
    return ISOLUA_TIMEOUT;
  switch (send_soon(vm, L, il_port_of_sender(h), &item)) {
  case IL_SENT: il_count(&vm->isolate->messages_out); return ISOLUA_OK;
  case IL_SENT_CLOSED: return ISOLUA_CLOSED;
  default: return ISOLUA_TIMEOUT;
  }
}

int isolua_receive_now(lua_State *L, isolua_port *p) {
  il_vm *vm = il_vm_check(L);
  return il_loop_wants_turn(vm) ? ISOLUA_TIMEOUT : receive(vm, L, p);
}

int isolua_receive_soon(lua_State *L, isolua_port *p) {
  il_vm *vm = il_vm_check(L);
  int code;
  if (il_loop_wants_turn(vm)) return ISOLUA_TIMEOUT;
  code = receive(vm, L, p);
  if (code != ISOLUA_TIMEOUT || vm->loop.foreign != LUA_NOREF || il_coro_of(vm, L) != NULL)
    return code;
  return linger(vm, L, p);
}

int isolua_wait(lua_State *L, const isolua_case *cases, int n, int64_t timeout, lua_KContext ctx,
                isolua_waited *k) {
  il_vm *vm = il_vm_check(L);
  il_wait local, *w = &local;
  il_coro *coro;
  bool leaves; /* this frame, while it waits */
  bool yields; /* also if there is something: the others have their turn now and then */
  int result;
  il_loop_breathe(vm, L);
  check_cancelled(vm, L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  coro = il_coro_of(vm, L);
  yields = coro != NULL && timeout != 0 && (vm->loop.due || vm->loop.turns++ % YIELD == 0);
  if (coro != NULL) vm->loop.due = false;
  if (n == 1 && !yields && cases->kind == ISOLUA_RECEIVE) { /* the most frequent needs no wait */
    result = il_port_take(vm, L, cases->port);
    if (result == ISOLUA_TIMEOUT && timeout != 0 && coro == NULL && vm->loop.foreign == LUA_NOREF)
      result = linger(vm, L, cases->port);
    if (result != ISOLUA_TIMEOUT) return k(L, 0, result, ctx);
  }
  leaves = coro != NULL || vm->loop.foreign != LUA_NOREF;
  if (n > 1 || (leaves && timeout != 0))
    w = wait_push(L, cases, n, timeout);
  else
    wait_init(w, cases, n, timeout);
  w->k = k;
  w->ctx = ctx;
  encode_sends(vm, L, cases, n, w);
  if (!yields && at_once(vm, L, w, &result)) return result;
  w->deadline = il_deadline(timeout);
  if (il_loop_waitless(vm) != NULL) {
    wait_end(vm, w, NULL);
    luaL_error(L, "%s cannot wait", il_loop_waitless(vm));
  }
  if (vm->loop.closed) wait_end(vm, w, NULL);
  il_loop_check_open(vm, L);
  if (coro != NULL) return wait_parked(vm, L, w, coro);
  if (vm->loop.foreign != LUA_NOREF) return wait_foreign(vm, L, w);
  wait_watch(vm, w);
  return wait_nested(vm, L, w);
}
