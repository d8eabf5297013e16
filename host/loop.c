/* loop.c - the event loop of an isolate. */
/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "kill.h"

/*
** DESIGN. A turn of the loop dispatches what has fired, then what is due, then resumes what is ready,
** one thing at a time, so that a turn inside another goes on where that one stopped. A wait in a
** coroutine of the loop yields to it; any other wait runs turns on the stack of whoever waits, so those
** nest: last in, first out. Handlers run in coroutines as well. The loop never raises while it has
** something in its hands: il_loop_run returns, the wait lets go of its sources, then raises.
**
** Before it sleeps without end it asks whether anything could wake it. Handles that are garbage count
** as long as they are there: so before it says no, and once it has slept for a while after handles were
** made, it collects garbage.
*/
#ifndef IL_IDLE
#define IL_IDLE ((int64_t)20000000) /* ns of idleness after which garbage handles are collected */
#endif
#define IDLE_RATIO 50 /* and after so many times as long as that takes */
#define BREATHE 64    /* calls of il_loop_breathe to a turn */

void il_loop_init(il_loop *loop) {
  memset(loop, 0, sizeof *loop);
  loop->ready_last = &loop->ready;
  loop->spare = loop->foreign = LUA_NOREF;
  loop->idle = IL_IDLE;
  loop->random = 2463534242U;
}

void il_loop_free(il_loop *loop) {
  il_dues_free(&loop->ticks);
  il_item_fini(&loop->held);
}

void il_loop_check_open(il_vm *vm, lua_State *L) {
  if (vm->loop.closed) luaL_error(L, "the isolate is ending: it starts and gets nothing any more");
}

/* -- Sources ----------------------------------------------------------------------------------- */

static void take(il_vm *vm) {
  il_watch **end = &vm->loop.taken, *fired = il_waiter_take(&vm->isolate->waiter);
  if (fired == NULL) return;
  while (*end != NULL) end = &(*end)->next_fired;
  *end = fired;
}

void il_source_add(il_vm *vm, il_source *s, const il_source_type *type) {
  il_loop *loop = &vm->loop;
  s->type = type;
  s->prev = NULL;
  s->next = loop->sources;
  if (s->next != NULL) s->next->prev = s;
  loop->sources = s;
  il_watch_init(&s->watch, &vm->isolate->waiter);
}

/* From here on nothing points to the watch. */
static void forget(il_vm *vm, il_source *s) {
  s->type->unwatch(vm, s);
  if (!atomic_load_explicit(&s->watch.fired, memory_order_acquire)) return;
  take(vm);
  for (il_watch **w = &vm->loop.taken; *w != NULL; w = &(*w)->next_fired) {
    if (*w == &s->watch) {
      *w = s->watch.next_fired;
      break;
    }
  }
}

void il_source_remove(il_vm *vm, il_source *s) {
  if (s->type == NULL) return;
  forget(vm, s);
  if (s->prev != NULL)
    s->prev->next = s->next;
  else
    vm->loop.sources = s->next;
  if (s->next != NULL) s->next->prev = s->prev;
  s->type = NULL;
}

static bool dispatch_one(il_vm *vm, lua_State *L) {
  il_source *s;
  if (vm->loop.taken == NULL) take(vm);
  s = (il_source *)vm->loop.taken;
  if (s == NULL) return false;
  vm->loop.taken = s->watch.next_fired;
  atomic_store_explicit(&s->watch.fired, false, memory_order_release);
  s->type->fire(vm, L, s);
  return true;
}

/* -- Ticks ------------------------------------------------------------------------------------- */

void il_tick_reserve(il_vm *vm, lua_State *L) {
  if (!il_dues_reserve(&vm->loop.ticks, vm->loop.reserved + 1)) isolua_memoryerror(L);
  vm->loop.reserved++;
}

void il_tick_unreserve(il_vm *vm) {
  vm->loop.reserved--;
}

static void count_live(il_vm *vm, const il_tick *t, int n) {
  if (t->live && t->due.place != 0) vm->loop.live_ticks += (size_t)n;
}

/* Watches fire the event by themselves. What this thread makes ready, or due earlier than before, is
** told by this. */
void il_loop_announce(il_vm *vm) {
  int fd = atomic_load_explicit(&vm->isolate->waiter.fd, memory_order_relaxed);
  if (fd < 0 || vm->loop.pumping || vm->loop.announced) return;
  vm->loop.announced = true;
  il_event_set(fd);
}

void il_tick_set(il_vm *vm, il_tick *t, int64_t when) {
  count_live(vm, t, -1);
  il_due_set(&vm->loop.ticks, &t->due, when);
  count_live(vm, t, 1);
  if (il_dues_first(&vm->loop.ticks) == &t->due) il_loop_announce(vm);
}

void il_tick_clear(il_vm *vm, il_tick *t) {
  count_live(vm, t, -1);
  il_due_clear(&vm->loop.ticks, &t->due);
}

void il_tick_live(il_vm *vm, il_tick *t, bool live) {
  count_live(vm, t, -1);
  t->live = live;
  count_live(vm, t, 1);
}

int64_t il_loop_next(const il_vm *vm) {
  const il_due *first = il_dues_first(&vm->loop.ticks);
  return first != NULL ? first->when : -1;
}

static bool ring_one(il_vm *vm, lua_State *L, int64_t now) {
  il_tick *t = (il_tick *)il_dues_first(&vm->loop.ticks);
  if (t == NULL || t->due.when > now) return false;
  il_tick_clear(vm, t);
  t->ring(vm, L, t);
  return true;
}

/* -- Coroutines -------------------------------------------------------------------------------- */

/* Pushes a coroutine, one that has ended if there is one. [-0, +1, m] */
static lua_State *push_coroutine(il_vm *vm, lua_State *L) {
  if (vm->loop.spare == LUA_NOREF) return lua_newthread(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, vm->loop.spare);
  luaL_unref(L, LUA_REGISTRYINDEX, vm->loop.spare);
  vm->loop.spare = LUA_NOREF;
  return lua_tothread(L, -1);
}

il_coro *il_coro_new(il_vm *vm, lua_State *L, int n) {
  il_coro *c;
  lua_State *co;
  il_loop_check_open(vm, L);
  luaL_checkstack(L, 4, NULL);
  co = push_coroutine(vm, L);
  if (!lua_checkstack(co, n + 1)) luaL_error(L, "too many arguments");
  lua_insert(L, -(n + 2));
  lua_xmove(L, co, n + 1);
  c = calloc(1, sizeof *c);
  if (c == NULL) {
    isolua_memoryerror(L);
    return NULL;
  }
  c->co = co;
  c->nargs = n;
  c->handle = LUA_NOREF;
  c->what = "a task";
  c->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  c->behind = vm->loop.coros;
  if (c->behind != NULL) c->behind->before = c;
  vm->loop.coros = c;
  return c;
}

il_coro *il_coro_of(il_vm *vm, lua_State *L) {
  il_coro *c = vm->loop.current;
  if (il_vm_dying(vm) != 0 && il_vm_unwinding(vm)) return NULL; /* no loop would go on with it */
  return c != NULL && c->co == L && lua_isyieldable(L) ? c : NULL;
}

void il_coro_wake(il_vm *vm, il_coro *c) {
  if (c->ready || c == vm->loop.current) return;
  c->ready = true;
  c->next = NULL;
  *vm->loop.ready_last = c;
  vm->loop.ready_last = &c->next;
  il_loop_announce(vm);
}

static void unready(il_vm *vm, il_coro *c) {
  il_coro **at = &vm->loop.ready;
  if (!c->ready) return;
  while (*at != c) at = &(*at)->next;
  *at = c->next;
  if (c->next == NULL) vm->loop.ready_last = at;
  c->ready = false;
}

/* Its wait does not know of it any more. */
static void unpark(il_coro *c) {
  if (c->parked != NULL) *c->parked = NULL;
  c->parked = NULL;
}

static void coro_free(il_vm *vm, lua_State *L, il_coro *c, bool reuse) {
  unready(vm, c);
  if (c->before != NULL)
    c->before->behind = c->behind;
  else
    vm->loop.coros = c->behind;
  if (c->behind != NULL) c->behind->before = c->before;
  unpark(c);
  if (c->ended != NULL) c->ended(vm, c);
  luaL_unref(L, LUA_REGISTRYINDEX, c->handle);
  if (reuse && lua_gethook(c->co) != NULL) lua_sethook(c->co, NULL, 0, 0); /* its function's own */
  if (reuse && vm->loop.spare == LUA_NOREF)
    vm->loop.spare = c->ref;
  else
    luaL_unref(L, LUA_REGISTRYINDEX, c->ref);
  free(c);
}

/* [-1, +0]: the error value that a coroutine of the loop raised. */
static int coro_failed(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  vm->loop.failed(vm, L);
  return 0;
}

/* The traceback of `co` is noted as that of a body would be. */
static int note_failure(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  lua_State *co = lua_tothread(L, 1);
  lua_xmove(co, L, 1);
  lua_replace(L, 1);
  lua_settop(L, 1);
  il_vm_pushtraceback(L, co, 1, 0);
  free(vm->traceback);
  vm->traceback = strdup(lua_tostring(L, -1));
  lua_settop(L, 1);
  return coro_failed(L);
}

static void report(il_vm *vm, lua_State *L, il_coro *c) {
  lua_pushcfunction(L, note_failure);
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->ref);
  lua_pcall(L, 1, 0, 0); /* no memory for it: nothing more can be done */
  (void)vm;
}

void il_coro_run(il_vm *vm, lua_State *L, il_coro *c) {
  il_coro *outer = vm->loop.current;
  bool before = il_vm_unwinding(vm);
  int status, n = c->nargs, results = 0;
  unready(vm, c);
  c->begun = true;
  c->nargs = 0;
  vm->loop.current = c;
  status = il_vm_resume(vm, L, c->co, n, &results);
  vm->loop.current = outer;
  c->broken = vm->breaking && !before;
  if (c->broken && vm->broken == NULL) vm->broken = c->what;
  if (status == LUA_YIELD) {
    lua_pop(c->co, results);
    if (c->parked == NULL) il_coro_wake(vm, c); /* a yield of its own: the others first */
    return;
  }
  if (status == LUA_OK)
    lua_pop(c->co, results);
  else if (!il_vm_passes(vm, before))
    report(vm, L, c);
  if (status != LUA_OK) il_vm_close_coroutine(c->co);
  coro_free(vm, L, c, status == LUA_OK && lua_gettop(c->co) == 0);
}

void il_coro_cancel(il_vm *vm, lua_State *L, il_coro *c) {
  if (!c->begun) {
    coro_free(vm, L, c, false);
    return;
  }
  c->cancelled = true;
  if (c->parked != NULL) il_coro_wake(vm, c);
}

static bool resume_one(il_vm *vm, lua_State *L) {
  il_coro *c = vm->loop.ready;
  if (c == NULL) return false;
  il_coro_run(vm, L, c);
  return true;
}

void il_loop_end_coros(il_vm *vm) {
  vm->loop.ending = true;
  while (vm->loop.coros != NULL) { /* their closers run, as those of the body have */
    il_coro *c = vm->loop.coros, *outer = vm->loop.current;
    if (c->begun && c != outer) {
      unready(vm, c); /* a closer may wait: no turn in there is to resume it */
      unpark(c);
      vm->loop.current = c;
      il_vm_close_coroutine(c->co);
      vm->loop.current = outer;
    }
    coro_free(vm, vm->L, c, false);
  }
}

void il_loop_fini(il_vm *vm) {
  il_loop *loop = &vm->loop;
  loop->closed = true;
  while (loop->sources != NULL) {
    il_source *s = loop->sources;
    void (*drop)(il_vm *, il_source *) = s->type->drop;
    il_source_remove(vm, s);
    if (drop != NULL) drop(vm, s);
  }
  while (il_dues_first(&loop->ticks) != NULL)
    il_tick_clear(vm, (il_tick *)il_dues_first(&loop->ticks));
  il_loop_end_coros(vm);
  loop->called = loop->last_called = NULL;
}

/* -- Turns ------------------------------------------------------------------------------------- */

static void answer(il_vm *vm) {
  il_control *c = &vm->isolate->control;
  if (atomic_load_explicit(&c->asked, memory_order_acquire)) il_vm_answer(vm, vm->running, true);
}

static bool is_paused(il_vm *vm) {
  return atomic_load_explicit(&vm->isolate->control.pauses, memory_order_acquire) > 0;
}

static void set_status(il_vm *vm, enum il_status status) {
  atomic_store_explicit(&vm->isolate->status, (int)status, memory_order_relaxed);
}

static void sleep_until(il_vm *vm, int64_t deadline) {
  set_status(vm, IL_WAITING);
  answer(vm);
  il_waiter_sleep(&vm->isolate->waiter, deadline);
  answer(vm);
  set_status(vm, IL_RUNNING);
}

static void set_away(il_vm *vm, bool away) {
  for (il_source *s = vm->loop.sources; s != NULL; s = s->next)
    if (s->type->away != NULL) s->type->away(vm, s, away);
}

void il_loop_stay_paused(il_vm *vm) {
  bool away = is_paused(vm);
  if (away) set_away(vm, true);
  while (is_paused(vm) && !il_vm_wanted(vm)) {
    il_isolate_idle(vm->isolate);
    if (!il_vm_wanted(vm)) sleep_until(vm, -1);
  }
  if (away) set_away(vm, false);
}

/* One thing: false, there is none. */
static bool do_one(il_vm *vm, lua_State *L, int64_t now) {
  return dispatch_one(vm, L) || ring_one(vm, L, now) || resume_one(vm, L);
}

static bool goes_on(il_vm *vm, bool before) {
  return !il_vm_wanted(vm) && il_vm_unwinding(vm) == before;
}

/* What was there at its beginning, so that it ends. */
static bool turn(il_vm *vm, lua_State *L) {
  bool before = il_vm_unwinding(vm);
  size_t n = 0;
  int64_t now = vm->loop.ticks.count > 0 ? il_now() : 0;
  il_loop_stay_paused(vm);
  for (il_coro *c = vm->loop.ready; c != NULL; c = c->next) n++;
  take(vm);
  while (vm->loop.taken != NULL && goes_on(vm, before)) dispatch_one(vm, L);
  while (goes_on(vm, before) && ring_one(vm, L, now)) continue;
  while (n-- > 0 && goes_on(vm, before) && resume_one(vm, L)) continue;
  return goes_on(vm, before);
}

/* What has fired since it was taken counts: a turn's timers fire, too. */
static bool is_busy(const il_vm *vm) {
  return vm->loop.ready != NULL || vm->loop.taken != NULL ||
         atomic_load_explicit(&vm->isolate->waiter.fired, memory_order_acquire) != NULL;
}

/* Is there anything outside that could give this isolate something to do? */
static bool is_hopeless(il_vm *vm) {
  il_loop *loop = &vm->loop;
  if (is_busy(vm) || loop->live_ticks > 0 || loop->outside > 0) return false;
  if (is_paused(vm)) return false;
  if (atomic_load_explicit(&vm->isolate->waiter.fd, memory_order_relaxed) >= 0) return false;
  for (il_source *s = loop->sources; s != NULL; s = s->next)
    if (s->type->reachable(vm, s)) return false;
  return true;
}

static int collect(lua_State *L) {
  lua_gc(L, LUA_GCCOLLECT);
  return 0;
}

static void collect_garbage(il_vm *vm, lua_State *L) {
  int64_t start = il_now();
  vm->loop.quiet = true;
  vm->loop.suspect = false;
  lua_pushcfunction(L, collect);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) lua_pop(L, 1);
  vm->loop.idle = (il_now() - start) * IDLE_RATIO;
  if (vm->loop.idle < IL_IDLE) vm->loop.idle = IL_IDLE;
}

static int64_t earlier(int64_t a, int64_t b) {
  return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* False: nothing will ever wake it. */
static bool rest(il_vm *vm, lua_State *L, int64_t deadline) {
  int64_t until = earlier(deadline, il_loop_next(vm)), idle;
  il_isolate_idle(vm->isolate);
  if (il_vm_wanted(vm)) return true;
  if (until < 0 && is_hopeless(vm)) {
    if (vm->loop.quiet) return false;
    collect_garbage(vm, L);
    return true;
  }
  idle = il_deadline(vm->loop.idle);
  if (vm->loop.quiet || (vm->loop.holds == 0 && !vm->loop.suspect) ||
      (until >= 0 && until <= idle)) {
    sleep_until(vm, until);
  } else {
    sleep_until(vm, idle);
    if (il_now() >= idle) collect_garbage(vm, L);
  }
  return true;
}

enum il_outcome il_loop_run(il_vm *vm, lua_State *L, bool (*until)(il_vm *, lua_State *, void *),
                            void *arg, int64_t deadline) {
  il_coro *own = vm->loop.current;
  vm->loop.quiet = false;
  for (;;) {
    if (!turn(vm, L)) return IL_ENDED;
    if (own != NULL && own->cancelled) {
      own->cancelled = false;
      return IL_CANCELLED;
    }
    if (until(vm, L, arg)) return IL_READY;
    if (deadline >= 0 && il_now() >= deadline) return IL_TIMED_OUT;
    if (!is_busy(vm) && !rest(vm, L, deadline)) return IL_HOPELESS;
  }
}

bool il_loop_pump(il_vm *vm, lua_State *L, long long *items, int64_t deadline) {
  bool before = il_vm_unwinding(vm), outer = vm->loop.pumping;
  il_waiter_clear(&vm->isolate->waiter);
  vm->loop.announced = false;
  vm->loop.pumping = true;
  vm->loop.one_by_one = *items >= 0 || deadline >= 0;
  answer(vm);
  il_loop_stay_paused(vm);
  il_waiter_hold(&vm->isolate->waiter);
  while (goes_on(vm, before) && *items != 0) {
    if (deadline >= 0 && il_now() >= deadline) break;
    if (!do_one(vm, L, vm->loop.ticks.count > 0 ? il_now() : 0)) break;
    if (*items > 0) --*items;
  }
  vm->loop.pumping = outer;
  vm->loop.one_by_one = false;
  il_waiter_release(&vm->isolate->waiter);
  answer(vm);
  if (il_loop_left(vm) > 0)
    il_loop_announce(vm);
  else
    il_isolate_idle(vm->isolate);
  return goes_on(vm, before);
}

size_t il_loop_left(il_vm *vm) {
  size_t n = 0;
  take(vm);
  for (il_watch *w = vm->loop.taken; w != NULL; w = w->next_fired) {
    il_source *s = (il_source *)w;
    n += s->type->left != NULL ? s->type->left(vm, s) : 1;
  }
  for (const il_coro *c = vm->loop.ready; c != NULL; c = c->next) n++;
  if (vm->loop.ticks.count > 0) n += il_dues_count(&vm->loop.ticks, il_now());
  return n;
}

bool il_loop_wants_turn(il_vm *vm) {
  if (vm->loop.turns++ % BREATHE == 0) vm->loop.due = true;
  return vm->loop.due || is_busy(vm) || is_paused(vm) || il_vm_wanted(vm);
}

const char *il_loop_waitless(const il_vm *vm) {
  if (vm->asked != NULL) return "code that is evaluated in an isolate from outside";
  return vm->waitless > 0 ? "code whose time is limited" : NULL;
}

void isolua_waitless(lua_State *L, int on) {
  il_vm *vm = il_vm_of(L);
  if (vm != NULL) vm->waitless += on != 0 ? 1 : -1;
}

void il_loop_breathe(il_vm *vm, lua_State *L) {
  if (vm->loop.current != NULL || il_loop_waitless(vm) != NULL)
    return; /* it would nest: isolua_wait lets it yield now and then */
  if (vm->loop.foreign != LUA_NOREF && L != vm->L) return; /* the other loop's: no turns in there */
  if (!il_loop_wants_turn(vm)) return;
  vm->loop.due = false;
  if (vm->loop.sources == NULL && vm->loop.ticks.count == 0 && vm->loop.coros == NULL &&
      !is_paused(vm) && !il_vm_wanted(vm))
    return;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (!turn(vm, L)) il_loop_raise(vm, L, IL_ENDED);
}

/* -- The end ----------------------------------------------------------------------------------- */

bool il_loop_is_over(il_vm *vm) {
  il_loop *loop = &vm->loop;
  if (is_busy(vm) || loop->coros != NULL || loop->live_ticks > 0) return false;
  for (il_source *s = loop->sources; s != NULL; s = s->next)
    if (!s->idle && s->type->reachable(vm, s)) return false;
  return true;
}

static bool is_over(il_vm *vm, lua_State *L, void *arg) {
  (void)L, (void)arg;
  if (!il_loop_is_over(vm)) return false;
  return !vm->isolate->is_main || il_host_wait(vm->host, IL_AWAITED, 0);
}

/* Every wait of its coroutines raises. */
static void give_up(il_vm *vm) {
  for (il_coro *c = vm->loop.coros; c != NULL; c = c->behind) {
    c->cancelled = false;
    if (c->parked != NULL) il_coro_wake(vm, c);
  }
}

void il_loop_drain(il_vm *vm, lua_State *L) {
  enum il_outcome out;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  while ((out = il_loop_run(vm, L, is_over, NULL, -1)) == IL_HOPELESS) {
    if (vm->isolate->is_main && !il_host_wait(vm->host, IL_AWAITED, 0)) {
      sleep_until(vm, -1);
    } else if (vm->loop.coros == NULL) {
      return;
    } else {
      vm->loop.hopeless = true;
      give_up(vm);
      turn(vm, L);
      vm->loop.hopeless = false;
    }
  }
  if (out != IL_READY) il_loop_raise(vm, L, out);
}

/* -- Raising ----------------------------------------------------------------------------------- */

enum { TOLD = 5 }; /* waits that a message names */

static void describe(il_vm *vm, lua_State *L, luaL_Buffer *b) {
  int n = 0;
  for (il_source *s = vm->loop.sources; s != NULL; s = s->next) {
    if (s->type->describe == NULL) continue;
    if (n++ >= TOLD) continue;
    luaL_addstring(b, n > 1 ? ", and for " : "");
    s->type->describe(vm, L, s);
    luaL_addvalue(b);
  }
  if (n > TOLD) luaL_addstring(b, ", and for more");
  if (n == 0) luaL_addstring(b, "an event");
}

static int make_deadlock(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  lua_pushfstring(L, "deadlock: isolate '%s' waits for ", vm->isolate->name);
  luaL_addvalue(&b);
  describe(vm, L, &b);
  luaL_addstring(&b, ", and nothing else could ever wake it");
  luaL_pushresult(&b);
  isolua_pusherror(L, ISOLUA_DEADLOCK, lua_tostring(L, -1), vm->isolate->name);
  return 1;
}

void il_loop_pushdeadlock(lua_State *L) {
  lua_pushcfunction(L, make_deadlock);
  lua_pcall(L, 0, 1, 0); /* or an error for want of memory */
}

int il_loop_raise(il_vm *vm, lua_State *L, enum il_outcome outcome) {
  if (outcome == IL_ENDED) return il_vm_raise(vm, L);
  isolua_pusherror(L, ISOLUA_CANCELLED, "the task was cancelled", vm->isolate->name);
  return lua_error(L);
}
