/* live.c - isolua_lua.h: isolates that live, for code that has a lua_State. */
/* SPDX-License-Identifier: MIT */
#include "live.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "err.h"
#include "kill.h"
#include "loop.h"
#include "names.h"

isolua_isolate *isolua_checkisolate(lua_State *L, int index) {
  return il_isolate_of(isolua_checkhandle(L, index, ISOLUA_TISOLATE));
}

void isolua_pushself(lua_State *L) {
  il_handle_push(L, &il_vm_check(L)->isolate->inbox.tx);
}

void isolua_pushparent(lua_State *L) {
  il_isolate *parent = il_vm_check(L)->isolate->parent;
  if (parent != NULL)
    il_handle_push(L, &parent->inbox.tx);
  else
    lua_pushnil(L);
}

isolua_port *isolua_self_inbox(lua_State *L) {
  return &il_vm_check(L)->isolate->inbox;
}

long long isolua_isolate_id(const isolua_isolate *i) {
  return i != NULL ? i->id : 0;
}

const char *isolua_isolate_name(const isolua_isolate *i) {
  return i != NULL ? i->name : NULL;
}

const char *isolua_isolate_status(isolua_isolate *i) {
  return i != NULL ? il_isolate_status(i) : NULL;
}

int isolua_isolate_is_main(const isolua_isolate *i) {
  return i->is_main;
}

isolua_future *isolua_isolate_future(isolua_isolate *i) {
  return i != NULL ? &i->future : NULL;
}

isolua_future *isolua_isolate_gone(isolua_isolate *i) {
  return i != NULL ? &i->gone : NULL;
}

/* -- Lists ------------------------------------------------------------------------------------- */

static void push_isolates(lua_State *L, il_isolate **all, size_t n) {
  lua_createtable(L, (int)n, 0);
  for (size_t k = 0; k < n; k++) {
    il_isolate *i = all[k];
    all[k] = NULL;
    il_handle_push_held(L, &i->inbox.tx, &i->h);
    lua_rawseti(L, -2, (lua_Integer)k + 1);
  }
}

/* Userdata: holds on isolates; NULL: given up. */
static int holds_gc(lua_State *L) {
  il_isolate **all = lua_touserdata(L, 1);
  size_t n = lua_rawlen(L, 1) / sizeof *all;
  for (size_t k = 0; k < n; k++)
    if (all[k] != NULL) il_isolate_release(all[k]);
  return 0;
}

/* Room for `n` holds, which are given up when it is collected. [-0, +1, m] */
static il_isolate **push_holds(lua_State *L, size_t n) {
  il_isolate **all = lua_newuserdatauv(L, n * sizeof *all, 0);
  memset(all, 0, n * sizeof *all);
  il_newtype(L, "isolate.holds", holds_gc, false);
  lua_setmetatable(L, -2);
  return all;
}

void isolua_pushlist(lua_State *L) {
  isolua_host *host = il_vm_check(L)->host;
  size_t room = il_host_list(host, NULL, 0), n;
  il_isolate **all = push_holds(L, room);
  while ((n = il_host_list(host, all, room)) > room) { /* more came meanwhile */
    lua_pop(L, 1);
    room = n * 2;
    all = push_holds(L, room);
  }
  push_isolates(L, all, n);
  lua_remove(L, -2);
}

void isolua_pushfound(lua_State *L, const char *name) {
  il_isolate *i = il_host_find(il_vm_check(L)->host, name);
  if (i != NULL)
    il_handle_push_held(L, &i->inbox.tx, &i->h);
  else
    lua_pushnil(L);
}

/* -- Listeners --------------------------------------------------------------------------------- */

/* What the value runs to pack itself may close the sender: it is looked at afterwards. */
il_listener *il_listener_new(il_vm *vm, lua_State *L, int tx, enum il_listens to, int value) {
  il_sending how = {.root = IL_ROOT_MESSAGE, .libs = IL_LIBS_ALL, .move = to == IL_LISTENS_LAST};
  isolua_port *p;
  il_listener *l = NULL;
  il_msg *m = NULL;
  if (value != 0) {
    lua_pushvalue(L, value);
    if (il_encode(vm, L, 1, &how, &m) != ISOLUA_OK) lua_error(L);
  }
  p = isolua_port_of(L, tx);
  if (p != NULL) l = malloc(sizeof *l);
  if (l == NULL) {
    il_msg_free(m);
    lua_pushstring(L, p == NULL ? "the sender was closed" : "not enough memory");
    lua_error(L);
    return NULL;
  }
  il_port_retain_sender(p);
  *l = (il_listener){p, m, to == IL_LISTENS_ERROR, NULL};
  return l;
}

void isolua_isolate_listen(lua_State *L, isolua_isolate *i, int tx, int error, int value) {
  il_control_listen(
    &i->control,
    il_listener_new(il_vm_check(L), L, tx, error ? IL_LISTENS_ERROR : IL_LISTENS_EXIT, value));
}

void isolua_watch_host(lua_State *L, int tx) {
  il_host_watch(il_vm_check(L)->host, tx != 0 ? isolua_port_of(L, tx) : NULL);
}

void isolua_isolate_unlisten(lua_State *L, isolua_isolate *i, int tx) {
  isolua_port *p = isolua_port_of(L, tx);
  if (p != NULL) il_control_unlisten(&i->control, p);
}

/* -- Control ----------------------------------------------------------------------------------- */

int isolua_isolate_kill(isolua_isolate *i, int64_t grace, int idle) {
  if (i == NULL) return il_invalid("`isolate` is NULL");
  if (i->is_main) return il_invalid("a main isolate cannot be killed");
  if (idle)
    il_isolate_kill_idle(i, grace);
  else
    il_isolate_kill(i, ISOLUA_KILLED, grace);
  return ISOLUA_OK;
}

static il_key key_at(lua_State *L, int index) {
  il_key key = {NULL, 0};
  if (lua_type(L, index) == LUA_TSTRING)
    key.text = lua_tostring(L, index);
  else
    key.number = lua_tointeger(L, index);
  return key;
}

int isolua_isolate_pause(lua_State *L, isolua_isolate *i, int index) {
  il_key key = key_at(L, index);
  int err;
  if (i->is_main) return il_invalid("a main isolate is not paused");
  err = il_control_pause(&i->control, &key);
  il_isolate_nudge(i, false);
  return err;
}

int isolua_isolate_resume(lua_State *L, isolua_isolate *i, int index) {
  il_key key = key_at(L, index);
  if (i->is_main) return il_invalid("a main isolate is not paused");
  il_control_resume(&i->control, index != 0 ? &key : NULL);
  il_isolate_nudge(i, false);
  return ISOLUA_OK;
}

/* 0 is that of a start with paused = true; large, so that they are not those that people choose. */
long long isolua_fresh_key(void) {
  static atomic_llong last = 1LL << 40;
  return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

/* What is evaluated may be where nothing looks whether it was cancelled. */
static void stop_answering(isolua_future *answer) {
  il_isolate *i = (il_isolate *)answer->behind; /* its first member */
  atomic_fetch_add_explicit(&i->control.cancelled, 1, memory_order_acq_rel);
  il_isolate_nudge(i, true);
}

/* Its own code, which asks, answers at once. */
static isolua_future *ask(il_vm *vm, lua_State *L, il_isolate *i, enum il_asks what, char *text) {
  isolua_future *answer = il_future_new(vm->host, NULL);
  if (answer == NULL) {
    free(text);
    return NULL;
  }
  answer->behind = &i->h;
  il_handle_retain(&i->h);
  answer->cancelled = stop_answering;
  if (il_control_ask(&i->control, answer, what, text) != ISOLUA_OK) {
    il_future_release(answer);
    return NULL;
  }
  if (i == vm->isolate && what != IL_PING_IDLE) {
    il_vm_answer(vm, L, false);
  } else {
    il_isolate_nudge(i, what != IL_PING_IDLE);
  }
  return answer;
}

isolua_future *isolua_isolate_ping(lua_State *L, isolua_isolate *i, int idle) {
  return ask(il_vm_check(L), L, i, idle != 0 ? IL_PING_IDLE : IL_PING, NULL);
}

isolua_future *isolua_isolate_look(lua_State *L, isolua_isolate *i, int traceback) {
  return ask(il_vm_check(L), L, i, traceback != 0 ? IL_TRACEBACK : IL_WHERE, NULL);
}

isolua_future *isolua_isolate_eval(lua_State *L, isolua_isolate *i, const char *source) {
  il_vm *vm = il_vm_check(L);
  char *text;
  if (vm->forbid != 0) /* nor get at main by way of it */
    luaL_error(L, "the host forbids isolates to evaluate code in one another");
  text = strdup(source);
  return text != NULL ? ask(vm, L, i, IL_EVAL, text) : NULL;
}

void isolua_isolate_stats(isolua_isolate *i, isolua_stats *stats) {
  int64_t cpu;
  memset(stats, 0, sizeof *stats);
  if (i == NULL) return;
  il_isolate_measure(i, &cpu, &stats->memory);
  stats->cpu = (double)cpu / 1e9;
  stats->messages_in = atomic_load_explicit(&i->messages_in, memory_order_relaxed);
  stats->messages_out = atomic_load_explicit(&i->messages_out, memory_order_relaxed);
  stats->queued = il_port_waiting(&i->inbox);
  stats->age = (double)(il_now() - i->born) / 1e9;
  stats->spawned = i->spawned;
  stats->busy = atomic_load_explicit(&i->status, memory_order_relaxed) == IL_RUNNING;
}
