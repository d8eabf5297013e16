/* lstream.c - isolate.stream: an isolate that emits values, and the end that takes them. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "lib.h"

/*
** Past 500 lines: both ends know how values lie in the messages between them.
**
** DESIGN. A stream is a bounded port between two isolates. The producer's end is `emit`, made by `produce`,
** which is what the isolate runs. The consumer's end is a source: the receiver and the producer's future.
** scripts/isolate/streams.lua makes streams of sources, and of other streams.
**  - What was emitted was sent before the future settled. So a future that is settled and then an empty port
**    are the end, also when a thread that is stuck still holds a sender.
**  - A source that is closed or collected closes the port, which raises `cancelled` in `emit`, and forgoes
**    the future, which ends a producer that does not emit.
**  - With `batch`, emit gathers plain values in a list, which goes as one message. Then a shared integer tells
**    that the consumer waits: the producer sends what it has.
*/

#define WINDOW 64
#define TGATHERER "isolate.gatherer"
#define TSOURCE "isolate.source"

/* -- The producer's end ------------------------------------------------------------------------ */

typedef struct gatherer {
  lua_Integer n, max;   /* values in the list; so many are sent at once */
  isolua_atomic *eager; /* not 0: the consumer waits */
  bool armed;           /* a timer sends what is left when the producer waits */
} gatherer;

enum { EMIT = 1, TO = 2, EAGER = 3 };  /* user values of a gatherer */
enum { GATHERER_UP = 1, LIST_UP = 2 }; /* upvalues of its emit */

static int emitted(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)winner, (void)ctx;
  if (code == ISOLUA_OK) return 0;
  isolua_pusherror(L, ISOLUA_CANCELLED, "the stream's consumer is gone", NULL);
  return lua_error(L);
}

/* Of what is sent without being asked for: whoever emits next is told. */
static int emitted_aside(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)L, (void)winner, (void)code, (void)ctx;
  return 0;
}

static void check_value(lua_State *L) {
  if (lua_isnoneornil(L, 1)) luaL_argerror(L, 1, "a stream's value is not nil");
  if (lua_gettop(L) > 1) luaL_error(L, "emit takes one value: put several into a table");
}

/* The value below the sender on the top. */
static int send_value(lua_State *L, isolua_waited *k) {
  isolua_case c = {.kind = ISOLUA_SEND, .value = lua_gettop(L) - 1};
  c.port = isolua_port_of(L, -1);
  if (c.port == NULL) return k(L, 0, ISOLUA_CLOSED, 0);
  return isolua_wait(L, &c, 1, ISOLUA_FOREVER, 0, k);
}

/* emit(v). Upvalue: the sender. */
static int emit(lua_State *L) {
  int code;
  check_value(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  code = isolua_send_now(L, 2, 1);
  return code == ISOLUA_TIMEOUT ? send_value(L, emitted) : emitted(L, 0, code, 0);
}

/* Sends the list of the gatherer on the top, which gets another one: while this waits, others emit. */
static int flush(lua_State *L, isolua_waited *k) {
  int at = lua_gettop(L);
  gatherer *g = lua_touserdata(L, at);
  lua_getiuservalue(L, at, EMIT);
  lua_getupvalue(L, at + 1, LIST_UP);
  lua_createtable(L, (int)g->n, 0);
  lua_setupvalue(L, at + 1, LIST_UP);
  lua_getiuservalue(L, at, TO);
  g->n = 0;
  isolua_atomic_store(g->eager,
                      0); /* it is to say so again: until it has woken up, values gather */
  return send_value(L, k);
}

/* The timer's function. Upvalue: the gatherer. */
static int flush_rest(lua_State *L) {
  gatherer *g = lua_touserdata(L, lua_upvalueindex(1));
  g->armed = false;
  if (g->n == 0) return 0;
  lua_pushvalue(L, lua_upvalueindex(1));
  return flush(L, emitted_aside);
}

/* At the end of the producer's function, however it ends. */
static int close_gatherer(lua_State *L) {
  gatherer *g = luaL_checkudata(L, 1, TGATHERER);
  lua_settop(L, 1);
  return g->n > 0 ? flush(L, emitted_aside) : 0;
}

static void arm(lua_State *L, gatherer *g) {
  g->armed = true;
  lua_pushcfunction(L, timer_functions[0].func); /* isolate.after */
  lua_pushinteger(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, flush_rest, 1);
  lua_call(L, 2, 0);
}

/* A value that may change after it is emitted, or may be refused, goes alone and at once. */
static int emit_alone(lua_State *L, int winner, int code, lua_KContext ctx) {
  if (code != ISOLUA_OK) return emitted(L, winner, code, ctx);
  lua_settop(L, 1);
  lua_createtable(L, 1, 0);
  lua_insert(L, 1);
  lua_rawseti(L, 1, 1);
  lua_getiuservalue(L, lua_upvalueindex(GATHERER_UP), TO);
  return send_value(L, emitted);
}

/* emit(v) with `batch`. Upvalues: the gatherer, its list. */
static int emit_batched(lua_State *L) {
  gatherer *g = lua_touserdata(L, lua_upvalueindex(1));
  int type = lua_type(L, 1);
  if (lua_gettop(L) != 1 || type <= LUA_TNIL) check_value(L);
  if (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TBOOLEAN) {
    if (g->n == 0) return emit_alone(L, 0, ISOLUA_OK, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    return flush(L, emit_alone);
  }
  lua_rawseti(L, lua_upvalueindex(LIST_UP), ++g->n);
  if (g->n == g->max || isolua_atomic_load(g->eager) != 0) {
    lua_pushvalue(L, lua_upvalueindex(1));
    return flush(L, emitted);
  }
  if (!g->armed) arm(L, g);
  return 0;
}

/* The sender, batch and integer at 1 to 3 become a gatherer at 1, which is closed with its frame. */
static void push_gatherer(lua_State *L) {
  gatherer *g = lua_newuserdatauv(L, sizeof *g, 3);
  *g = (gatherer){0, lua_tointeger(L, 2), isolua_atomic_of(L, 3), false};
  if (new_type(L, TGATHERER)) {
    lua_pushcfunction(L, close_gatherer);
    lua_setfield(L, -2, "__close");
    keep_type(L, TGATHERER);
  }
  lua_setmetatable(L, -2);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, TO);
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, EAGER);
}

static int produced(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  lua_settop(L, 0); /* closes the gatherer */
  return 0;
}

/* produce(sender, batch, eager, fn, …): calls fn(emit, …). What the isolate of a stream runs. */
static int produce(lua_State *L) {
  enum { FN = 4 };
  luaL_checktype(L, FN, LUA_TFUNCTION);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (lua_tointeger(L, 2) > 1) {
    push_gatherer(L);
    lua_replace(L, 2);
    lua_toclose(L, 2);
    lua_pushvalue(L, 2);
    lua_newtable(L);
    lua_pushcclosure(L, emit_batched, 2);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 2, EMIT);
  } else {
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, emit, 1);
  }
  lua_insert(L, FN + 1);
  lua_callk(L, lua_gettop(L) - FN, 0, 0, produced);
  return produced(L, LUA_OK, 0);
}

/* -- The consumer's end ------------------------------------------------------------------------ */

typedef struct source {
  const void *mark;      /* address of source_mark */
  isolua_port *port;     /* of the receiver in its user value; NULL: closed */
  isolua_future *future; /* of the handle in its user value; NULL: not started, or collected */
  isolua_atomic *eager;  /* with batch; else NULL */
  lua_Integer at, n;     /* of the list in hand, so many were given; it has so many */
  bool drained;          /* nothing more comes from the port */
  bool over;             /* nothing more comes at all */
  bool paused;
} source;

enum { RECEIVER = 1, FUTURE = 2, SHARED = 3, HAND = 4, RESUMED = 5, SOURCE_VALUES = 5 };

static char source_mark;

static source *check_source(lua_State *L) {
  source *s = lua_rawlen(L, 1) == sizeof *s ? lua_touserdata(L, 1) : NULL;
  if (s == NULL || s->mark != &source_mark) luaL_typeerror(L, 1, TSOURCE);
  return s;
}

static void set_eager(const source *s, bool on) {
  if (s->eager != NULL) isolua_atomic_store(s->eager, on);
}

/* The message on the top came: a value; or a list of some, of which it gives the first. */
static void take_in(lua_State *L, source *s) {
  if (s->eager == NULL) return;
  s->n = (lua_Integer)lua_rawlen(L, -1);
  s->at = 1;
  lua_rawgeti(L, -1, 1);
  lua_insert(L, -2);
  lua_setiuservalue(L, 1, HAND);
}

/* Pushes the next of those in hand. */
static void push_in_hand(lua_State *L, source *s) {
  lua_getiuservalue(L, 1, HAND);
  lua_rawgeti(L, -1, ++s->at);
  lua_remove(L, -2);
}

/* Pushes the next value if it is there: ISOLUA_OK; else ISOLUA_TIMEOUT: it is not; ISOLUA_CLOSED. */
static int take(lua_State *L, source *s, int (*receive)(lua_State *, isolua_port *)) {
  int code;
  if (s->at < s->n) {
    push_in_hand(L, s);
    return ISOLUA_OK;
  }
  if (s->over || s->drained) return ISOLUA_CLOSED;
  code = receive(L, s->port);
  if (code == ISOLUA_OK) take_in(L, s);
  if (code == ISOLUA_CLOSED) s->drained = true;
  return code;
}

/* The producer has ended: raises its error; else it returns. */
static void finish(lua_State *L, source *s) {
  isolua_future *f = s->future;
  int first = lua_gettop(L) + 2;
  s->over = true;
  isolua_future_look(f);
  lua_getiuservalue(L, 1, FUTURE);
  push_outcome(L, first - 1, f);
  if (lua_toboolean(L, first)) {
    lua_settop(L, first - 2);
    return;
  }
  isolua_future_raise(L, isolua_future_traceback(f));
}

/* As take; CLOSED is the end of the stream, for which it raises the producer's error. */
static int take_or_finish(lua_State *L, source *s, int (*receive)(lua_State *, isolua_port *)) {
  int code = take(L, s, receive);
  if (code == ISOLUA_OK || s->over) return code;
  if (!isolua_future_done(s->future)) return ISOLUA_TIMEOUT;
  code = take(L, s, isolua_port_take); /* what came before it had ended */
  if (code == ISOLUA_OK) return code;
  finish(L, s);
  return ISOLUA_CLOSED;
}

/* source_take(source) -> v, or nil and "empty" or "closed" */
static int source_take(lua_State *L) {
  source *s = check_source(L);
  int code = take_or_finish(L, s, isolua_receive_now);
  if (code == ISOLUA_OK) return 1;
  if (code == ISOLUA_CLOSED) return push_reason(L, code);
  lua_pushnil(L);
  lua_pushliteral(L, "empty");
  return 2;
}

static int woken(lua_State *L, int winner, int code, lua_KContext how);

enum { ITERATES = 1, WAITS_FOR_PORT = 2 }; /* how a value is received */

/* Stack: the source, the time to which it waits. */
static int wait_for_value(lua_State *L, source *s, lua_KContext how) {
  isolua_case cases[2];
  int n = 0;
  int64_t left = ISOLUA_FOREVER;
  if (!lua_isnil(L, 2)) {
    lua_Number seconds = lua_tonumber(L, 2) - isolua_now();
    left = seconds > 0 ? (int64_t)(seconds * (lua_Number)ISOLUA_SECOND) + 1 : 0;
  }
  how &= ITERATES;
  if (!s->drained) {
    cases[n++] = (isolua_case){.kind = ISOLUA_RECEIVE, .port = s->port};
    how |= WAITS_FOR_PORT;
  }
  cases[n++] = (isolua_case){.kind = ISOLUA_FUTURE, .future = s->future};
  return isolua_wait(L, cases, n, left, how, woken);
}

static int receive_from(lua_State *L, source *s, lua_KContext how) {
  int code;
  code = take_or_finish(L, s, isolua_receive_soon);
  if (code == ISOLUA_TIMEOUT) {
    set_eager(s, true); /* only now: meanwhile values have gathered */
    return wait_for_value(L, s, how);
  }
  if (code == ISOLUA_OK) return 1;
  if ((how & ITERATES) == 0) return push_reason(L, code);
  lua_pushnil(L);
  return 1;
}

/* By the time, the receiver, or the future: what is there then, the next look tells. */
static int woken(lua_State *L, int winner, int code, lua_KContext how) {
  source *s = lua_touserdata(L, 1);
  bool port = winner == 0 && (how & WAITS_FOR_PORT) != 0;
  if (winner >= 0 && !(port && code == ISOLUA_OK)) {
    if (port) s->drained = true;
    lua_settop(L, 2);
    return receive_from(L, s, how);
  }
  if (winner < 0) return push_reason(L, ISOLUA_TIMEOUT);
  take_in(L, s);
  return 1;
}

/* source_receive(source[, seconds]) -> v, or nil and "closed" or "timeout" */
static int source_receive(lua_State *L) {
  source *s = check_source(L);
  int64_t timeout = check_timeout(L, 2);
  lua_settop(L, 1);
  if (timeout < 0)
    lua_pushnil(L);
  else
    lua_pushnumber(L, isolua_now() + (lua_Number)timeout / ISOLUA_SECOND);
  return receive_from(L, s, 0);
}

static int resumed(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  lua_settop(L, 1); /* for a value is not nil, and the end is */
  return 1;
}

/* While it is paused: what source_pause was given receives. */
static int receive_paused(lua_State *L) {
  lua_getiuservalue(L, 1, RESUMED);
  lua_replace(L, 1);
  lua_settop(L, 1);
  lua_callk(L, 0, 1, 0, resumed);
  return resumed(L, LUA_OK, 0);
}

/* For a generic `for`. Upvalue: the source. */
static int source_next(lua_State *L) {
  source *s = lua_touserdata(L, lua_upvalueindex(1));
  if (s->at < s->n && !s->paused) {
    lua_getiuservalue(L, lua_upvalueindex(1), HAND);
    lua_rawgeti(L, -1, ++s->at);
    return 1;
  }
  if (!s->drained && !s->paused && s->eager == NULL && isolua_receive_now(L, s->port) == ISOLUA_OK)
    return 1;
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  if (s->paused) return receive_paused(L);
  lua_pushnil(L);
  return receive_from(L, s, ITERATES);
}

/* source_values(source, stream): the four values of a generic `for`. */
static int source_values(lua_State *L) {
  check_source(L);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, source_next, 1);
  lua_replace(L, 1);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_rotate(L, 2, 2);
  return 4;
}

/* source_pause(source, receive or nil): is it paused? then `receive()` gives the next value. */
static int source_pause(lua_State *L) {
  source *s = check_source(L);
  lua_settop(L, 2);
  s->paused = !lua_isnil(L, 2);
  lua_setiuservalue(L, 1, RESUMED);
  return 0;
}

/* source_things(source): what is to be waited for: the future, and the receiver until it is closed. */
static int source_things(lua_State *L) {
  source *s = check_source(L);
  set_eager(s, true);
  lua_getiuservalue(L, 1, FUTURE);
  if (s->drained) return 1;
  lua_getiuservalue(L, 1, RECEIVER);
  return 2;
}

/* source_feed(source, v): what its receiver gave; nil: it is closed. source_take gives it next. */
static int source_feed(lua_State *L) {
  source *s = check_source(L);
  lua_Integer n;
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    s->drained = true;
    return 0;
  }
  lua_newtable(L);
  for (n = 0; s->at < s->n; n++) { /* those before it that nobody took */
    push_in_hand(L, s);
    lua_rawseti(L, 3, n + 1);
  }
  for (lua_Integer i = 1; s->eager != NULL && i <= (lua_Integer)lua_rawlen(L, 2); i++) {
    lua_rawgeti(L, 2, i);
    lua_rawseti(L, 3, ++n);
  }
  if (s->eager == NULL) {
    lua_pushvalue(L, 2);
    lua_rawseti(L, 3, ++n);
  }
  s->at = 0;
  s->n = n;
  lua_setiuservalue(L, 1, HAND);
  return 0;
}

/* source_close(source): the producer is to end. */
static int source_close(lua_State *L) {
  source *s = check_source(L);
  if (s->future == NULL) return 0;
  s->over = s->drained = true;
  s->paused = false;
  s->at = s->n = 0;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, HAND);
  isolua_port_close(s->port);
  isolua_future_look(s->future);
  isolua_future_forgo(s->future);
  return 0;
}

/* The receiver closes itself. It was made before, as the future's handle was, so both are still there. */
static int source_gc(lua_State *L) {
  source *s = check_source(L);
  if (s->future != NULL) isolua_future_forgo(s->future);
  s->future = NULL;
  s->over = s->drained = true;
  s->at = s->n = 0;
  return 0;
}

/* source_info(source) -> id, name of its isolate */
static int source_info(lua_State *L) {
  const source *s = check_source(L);
  lua_pushinteger(L, (lua_Integer)isolua_port_id(s->port));
  lua_getiuservalue(L, 1, FUTURE);
  lua_getfield(L, -1, "isolate");
  lua_getfield(L, -1, "name");
  lua_replace(L, -3);
  lua_settop(L, -2);
  return 2;
}

/* -- Starting ---------------------------------------------------------------------------------- */

typedef struct sizes {
  lua_Integer window, batch; /* 0: by default */
} sizes;

/* Removes receiver, sender, and the integer if there is one, and pushes the source. [-3, +1, m] */
static source *push_source(lua_State *L, isolua_port *port) {
  source *s = lua_newuserdatauv(L, sizeof *s, SOURCE_VALUES);
  *s = (source){.mark = &source_mark, .port = port, .eager = isolua_atomic_of(L, -2)};
  for (int value = SHARED; value >= RECEIVER; value--) {
    lua_pushvalue(L, -(SHARED - value) - 2);
    lua_setiuservalue(L, -2, value);
  }
  if (new_type(L, TSOURCE)) {
    lua_pushcfunction(L, source_gc);
    lua_setfield(L, -2, "__gc");
    keep_type(L, TSOURCE);
  }
  lua_setmetatable(L, -2);
  return s;
}

/* How much of the window may be in the port: the rest is gathered, or in the consumer's hand. */
static lua_Integer fit(sizes *z) {
  if (z->window == 0) z->window = z->batch > WINDOW / 4 ? 4 * z->batch : WINDOW;
  if (z->batch > z->window / 4) z->batch = z->window / 4;
  if (z->batch <= 1) return z->batch = 0, z->window;
  return (z->window - 2 * (z->batch - 1)) / z->batch;
}

/* Starts the function at `fn`, with the arguments above it. The first `inner` + 1 of all these are not the
** caller's. Leaves the source alone above those below. */
static int start(lua_State *L, isolua_run_options *o, int fn, sizes *z, int inner) {
  enum { TX = 1, FRONT = 4 }; /* above fn: the sender; then produce and its first arguments */
  lua_Integer capacity = fit(z);
  isolua_port *port;
  isolua_future *f;
  source *s;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  port = push_port(L, o->base.name, capacity, ISOLUA_FULL_BLOCK);
  lua_insert(L, fn); /* sender, fn, …, receiver */
  push_future(L, NULL);
  if (z->batch > 0)
    isolua_atomic_push(L, 0);
  else
    lua_pushnil(L);
  s = push_source(L, port);
  lua_insert(L, fn);
  lua_insert(L, fn + TX + 1); /* source, sender, integer, fn, …, receiver, future */
  lua_pop(L, 2);
  lua_pushcfunction(L, produce);
  lua_insert(L, fn + TX + 1);
  lua_pushvalue(L, fn + TX);
  lua_insert(L, fn + TX + 2);
  lua_pushinteger(L, z->batch);
  lua_insert(L, fn + TX + 3);
  o->hidden = FRONT + inner;
  o->unawaited = 1;
  if (isolua_run(L, o, fn + TX + 1, lua_gettop(L) - (fn + TX + 1), &f) != ISOLUA_OK)
    return lua_error(L);
  isolua_port_giveup(L, fn + TX);
  lua_getiuservalue(L, fn, FUTURE);
  lua_insert(L, -2);
  set_future(L, lua_gettop(L) - 1, f); /* with the handle on the top */
  s->future = f;
  lua_settop(L, fn);
  return 1;
}

static lua_Integer option_count(lua_State *L, const char *name) {
  int is_integer;
  lua_Integer n = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || lua_type(L, -1) != LUA_TNUMBER || n < 1 || n > 1 << 30)
    luaL_error(L, "option '%s': an integer of 1 or more expected", name);
  return n;
}

/* The options at 1 become those of isolate.run: a copy without the two of streams. */
static void own_options(lua_State *L, sizes *z) {
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, 1) != 0;) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  lua_replace(L, 1);
  if (lua_getfield(L, 1, "paused") != LUA_TNIL && lua_toboolean(L, -1))
    luaL_error(L, "option 'paused': the isolate of a stream starts at once; pause the stream");
  lua_pop(L, 1);
  if (lua_getfield(L, 1, "window") != LUA_TNIL) z->window = option_count(L, "window");
  if (lua_getfield(L, 1, "batch") != LUA_TNIL) z->batch = option_count(L, "batch");
  lua_pop(L, 2);
  lua_pushnil(L);
  lua_setfield(L, 1, "window");
  lua_pushnil(L);
  lua_setfield(L, 1, "batch");
}

/***
Runs `fn(emit, ...)` in an isolate of its own, and gives the stream of what it emits. Never waits.
@function isolate.stream
@tparam[opt] table opts those of `isolate.run`; `window`: values that may wait for the consumer (64); `batch`: so many
  values, if there are, go as one message
@tparam function fn `emit(v)` waits while the window is full, and raises `cancelled` once nobody takes them
@param ... arguments, copied now
@treturn stream
@raise not_sendable, when something cannot be copied; nothing was started then
@usage for v in isolate.stream(function(emit) for i = 1, 3 do emit(i) end end):values() do print(v) end
*/
static int stream(lua_State *L) {
  sizes z = {0, 0};
  isolua_run_options o;
  int fn;
  if (is_module(L, 1))
    return luaL_error(L, "isolate's functions are called with a dot, not a colon");
  check_function(L);
  if (lua_istable(L, 1)) own_options(L, &z);
  start_options(L, &o, &fn);
  if (o.base.libs != NULL && strstr(o.base.libs, "package") == NULL)
    return luaL_error(L, "option 'libs': a stream needs \"package\" in it, for its emit");
  start(L, &o, fn, &z, 0);
  isolua_require(L, "isolate.streams");
  lua_getfield(L, -1, "of_source");
  lua_pushvalue(L, -3);
  lua_call(L, 1, 1);
  return 1;
}

/* source_start(window, body, fn, …) -> a source: body(emit, fn, …) runs; `fn` is the user's, and names it. */
static int source_start(lua_State *L) {
  sizes z = {luaL_checkinteger(L, 1), 0};
  isolua_run_options o = {.base = {.size = sizeof o.base}};
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_remove(L, 1);
  return start(L, &o, 1, &z, 1);
}

/* fresh_key(): an integer that no other stream or pause has. */
static int fresh_key(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)isolua_fresh_key());
  return 1;
}

const luaL_Reg stream_functions[] = {{"stream", stream}, {NULL, NULL}};
const luaL_Reg stream_internals[] = {{"produce", produce},
                                     {"source_start", source_start},
                                     {"source_take", source_take},
                                     {"source_feed", source_feed},
                                     {"source_receive", source_receive},
                                     {"source_values", source_values},
                                     {"source_pause", source_pause},
                                     {"source_things", source_things},
                                     {"source_close", source_close},
                                     {"source_info", source_info},
                                     {"fresh_key", fresh_key},
                                     {NULL, NULL}};
