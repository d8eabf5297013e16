/* vm.c - making, running and closing the Lua states of isolates. */
/* SPDX-License-Identifier: MIT */
#include "vm.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "build.h"
#include "codec.h"
#include "err.h"
#include "kill.h"
#include "loop.h"
#include "vm_host.h"

#define WARNING_MAX 256 /* bytes of a warning that are shown, with the zero */

static char vm_key, remote_key;
char il_base_preload;

/* The last that was looked for on this thread: of the state with this registry. */
static __attribute__((tls_model("initial-exec"))) _Thread_local struct {
  const lua_State *L; /* main thread of it, which lives as long; NULL: none */
  const void *registry;
  il_vm *vm;
} last;

/* From here on the state has none, or is gone: no other may be taken for it. Its own thread. */
static void forget_vm(const il_vm *vm) {
  if (last.vm != vm) return;
  last.L = NULL;
  last.registry = NULL;
}

il_vm *il_vm_of(lua_State *L) {
  const void *registry;
  il_vm *vm;
  if (L == last.L) return last.vm;
  registry = lua_topointer(L, LUA_REGISTRYINDEX);
  if (registry == last.registry) return last.vm;
  if (!lua_checkstack(L, 1)) return NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &vm_key);
  vm = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (vm == NULL) return NULL;
  last.L = vm->L;
  last.registry = registry;
  last.vm = vm;
  return vm;
}

il_vm *il_vm_check(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  if (vm == NULL) luaL_error(L, "this Lua state is not attached to isolua, or was closed");
  return vm;
}

/* -- Making ------------------------------------------------------------------------------------ */

/* Is this the block of the state itself? It is the last that lua_close frees; no signal may find the
** state then. */
static bool holds_state(const il_vm *vm, const char *p, size_t size) {
  return p != NULL && (const char *)vm->L >= p && (const char *)vm->L < p + size;
}

/* What the heap has when a block of it changes. False: that is past its cap. */
static inline bool counts(const il_vm *vm, size_t old, size_t nsize, size_t *used) {
  *used = atomic_load_explicit(&vm->used, memory_order_relaxed) - old + nsize;
  return nsize <= old || vm->cap == 0 || *used <= vm->cap;
}

/* Counts the heap, and refuses to grow it past its cap; shrinking is never refused. */
static void *alloc(void *ud, void *p, size_t osize, size_t nsize) {
  il_vm *vm = ud;
  size_t old = p != NULL ? osize : 0, used;
  void *q;
  if (nsize == 0 && osize > IL_ARENA_SMALL && holds_state(vm, p, osize)) il_vm_not_current(vm);
  if (!counts(vm, old, nsize, &used)) return NULL;
  q = il_arena_resize(&vm->arena, p, old, nsize);
  if (q != NULL || nsize == 0) atomic_store_explicit(&vm->used, used, memory_order_relaxed);
  return q;
}

/* The same, by the allocator of the host. */
static void *alloc_by_host(void *ud, void *p, size_t osize, size_t nsize) {
  il_vm *vm = ud;
  const isolua_host_options *o = &vm->host->options;
  size_t old = p != NULL ? osize : 0, used;
  void *q;
  if (nsize == 0 && osize > IL_ARENA_SMALL && holds_state(vm, p, osize)) il_vm_not_current(vm);
  if (!counts(vm, old, nsize, &used)) return NULL;
  q = o->alloc(o->alloc_ud, vm->isolate != NULL ? vm->isolate->id : 0, p, old, nsize);
  if (q != NULL || nsize == 0) atomic_store_explicit(&vm->used, used, memory_order_relaxed);
  return q;
}

/* As lauxlib's: "@on" and "@off", else a message, in pieces. */
static void warn(void *ud, const char *message, int to_continue) {
  il_vm *vm = ud;
  size_t len = vm->warning != NULL ? strlen(vm->warning) : 0;
  if (len == 0 && !to_continue && message[0] == '@') {
    if (strcmp(message, "@on") == 0)
      vm->warn = true;
    else if (strcmp(message, "@off") == 0)
      vm->warn = false;
    return;
  }
  if (vm->warning == NULL && (vm->warning = calloc(1, WARNING_MAX)) == NULL) return;
  strncat(vm->warning, message, WARNING_MAX - 1 - len);
  if (to_continue) return;
  if (vm->warn) il_host_log(vm->host, "Lua warning: %s", vm->warning);
  vm->warning[0] = '\0';
}

static int panic(lua_State *L) {
  (void)L; /* every entry is protected: this cannot be reached; Lua aborts after it */
  return 0;
}

/* Lua seeds it from the time and an address: states made in one second would repeat each other. The
** host has 128 bits from the system, and counts its states. */
static void seed_random(lua_State *L, isolua_host *host) {
  uint64_t n = atomic_fetch_add_explicit(&host->states, 1, memory_order_relaxed);

  if (lua_getglobal(L, "math") == LUA_TTABLE &&
      lua_getfield(L, -1, "randomseed") == LUA_TFUNCTION) {
    lua_pushinteger(L, (lua_Integer)host->seed[0]);
    n += host->seed[1];
    lua_pushinteger(L, (lua_Integer)n);
    lua_call(L, 2, 0);
    lua_pop(L, 1);
  } else {
    lua_pop(L, 1);
  }
}

/* What was opened stays: the next collection is due when the heap has doubled, as after one. */
static void begin_collecting(lua_State *L) {
  lua_gc(L, LUA_GCRESTART);
  lua_gc(L, LUA_GCSTEP, -lua_gc(L, LUA_GCCOUNT));
}

/* The first fresh state with all libraries tells the names of their functions. [-0, +0, m] */
static void learn_std(lua_State *L, isolua_host *host) {
  void *none = NULL;
  il_std *std;
  if (atomic_load(&host->std) != NULL) return;
  std = il_std_new(L);
  if (std == NULL) isolua_memoryerror(L);
  il_vm_name_control(std);
  il_vm_name_library(std);
  il_sandbox_name(std, host->options.forbid);
  if (!atomic_compare_exchange_strong(&host->std, &none, std)) il_std_free(std);
}

/* The vm is argument 1. */
static int open_state(lua_State *L) {
  il_vm *vm = lua_touserdata(L, 1);
  lua_CFunction open;
  lua_gc(L, LUA_GCSTOP); /* all of this stays */
  if (vm->forbid == 0) {
    luaL_openlibs(L);
    learn_std(L, vm->host);
  } else {
    il_sandbox_openlibs(L, vm->forbid);
  }
  lua_pushlightuserdata(L, vm);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &vm_key);
  il_vm_open_control(L);
  il_vm_open_gate(L);
  if (vm->forbid != 0) il_sandbox_apply(L, vm->forbid);
  if (vm->host->options.load != NULL) il_vm_open_loader(L);
  seed_random(L, vm->host);
  memcpy(&open, &vm->host->open, sizeof open);
  if (open != NULL) {
    lua_pushcfunction(L, open);
    lua_call(L, 0, 0);
  }
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_newtable(L);
  lua_pushnil(L);
  while (lua_next(L, -3) != 0) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &il_base_preload);
  il_names_open(vm, L);
  begin_collecting(L);
  return 0;
}

static il_vm *vm_new(isolua_host *host) {
  il_vm *vm = calloc(1, sizeof *vm);
  if (vm == NULL) return NULL;
  vm->host = host;
  vm->libs = IL_LIBS_ALL;
  il_arena_init(&vm->arena);
  il_names_init(&vm->names);
  il_loop_init(&vm->loop);
  vm->answer = il_answer;
  vm->look = il_answer_look;
  vm->loop.traceback = il_vm_traceback;
  vm->loop.failed = il_vm_handler_failed;
  return vm;
}

static void vm_free(il_vm *vm) {
  forget_vm(vm);
  il_encoder_free(vm->encoder);
  il_names_fini(&vm->names);
  il_loop_free(&vm->loop);
  il_arena_fini(&vm->arena);
  il_result_fini(&vm->failure);
  il_search_release(vm->search);
  free(vm->warning);
  free(vm->traceback);
  free(vm->remote);
  if (vm->isolate != NULL) vm->isolate->vm = NULL;
  if (vm->isolate != NULL) il_isolate_release(vm->isolate);
  free(vm);
}

static il_vm *make_state(isolua_host *host, unsigned forbid) {
  int status;
  il_vm *vm = vm_new(host);
  if (vm == NULL) return NULL;
  vm->owned = true;
  vm->forbid = forbid;
  vm->L = lua_newstate(host->options.alloc != NULL ? alloc_by_host : alloc, vm);
  if (vm->L == NULL) {
    vm_free(vm);
    return NULL;
  }
  *(il_vm **)lua_getextraspace(vm->L) = vm;
  lua_atpanic(vm->L, panic);
  lua_setwarnf(vm->L, warn, vm);
  vm->running = vm->L;
  lua_pushcfunction(vm->L, open_state);
  lua_pushlightuserdata(vm->L, vm);
  status = lua_pcall(vm->L, 1, 0, 0);
  if (status != LUA_OK) {
    if (status != LUA_ERRMEM && lua_type(vm->L, -1) == LUA_TSTRING)
      il_host_log(host, "no Lua state could be opened: %s", lua_tostring(vm->L, -1));
    lua_close(vm->L);
    vm_free(vm);
    return NULL;
  }
  return vm;
}

static int open_for_isolate(lua_State *L) {
  il_vm_open_library(L);
  return 0;
}

void *il_spare_make(void *host) {
  il_vm *vm = make_state(host, ((isolua_host *)host)->options.forbid);
  if (vm == NULL) return NULL;
  lua_pushcfunction(vm->L, open_for_isolate);
  if (lua_pcall(vm->L, 0, 0, 0) != LUA_OK) {
    il_spare_drop(vm);
    return NULL;
  }
  return vm;
}

void il_spare_drop(void *spare) {
  il_vm *vm = spare;
  lua_close(vm->L);
  vm_free(vm);
}

/* A light userdata with the host is argument 1. */
static int learn_apart(lua_State *L) {
  luaL_openlibs(L);
  learn_std(L, lua_touserdata(L, 1));
  return 0;
}

/* The same where states have not all libraries, or are not fresh. */
static int know_std(isolua_host *host) {
  lua_State *L;
  if (atomic_load(&host->std) != NULL) return ISOLUA_OK;
  L = luaL_newstate();
  if (L == NULL) return ISOLUA_MEMORY;
  lua_pushcfunction(L, learn_apart);
  lua_pushlightuserdata(L, host);
  lua_pcall(L, 1, 0, 0);
  lua_close(L);
  return atomic_load(&host->std) != NULL ? ISOLUA_OK : ISOLUA_MEMORY;
}

int il_vm_host_init(isolua_host *host) {
  il_vm_probe();
  host->free_std = il_std_free;
  return host->options.forbid != 0 ? know_std(host) : ISOLUA_OK;
}

/* -- Main isolates ----------------------------------------------------------------------------- */

static char sentinel_key;

/* __gc of a registry value: the state is closed while it is attached. */
static int state_closes(lua_State *L) {
  il_vm *vm = *(il_vm **)lua_touserdata(L, 1);
  if (vm != NULL) il_vm_detach(vm);
  return 0;
}

static void push_sentinel(il_vm *vm, lua_State *L) {
  vm->sentinel = lua_newuserdatauv(L, sizeof *vm->sentinel, 0);
  *vm->sentinel = NULL;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, state_closes);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
}

/* A light userdata with the vm is argument 1. */
static int attach_names(lua_State *L) {
  il_vm *vm = lua_touserdata(L, 1);
  push_sentinel(vm, L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &sentinel_key);
  lua_pushvalue(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &vm_key);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &il_base_preload);
  il_vm_open_gate(L);
  il_names_open(vm, L);
  *vm->sentinel = vm;
  return 0;
}

/* Makes the isolate of a main state and enters it. */
static int become_main(il_vm *vm) {
  isolua_options none = {.size = sizeof none};
  int err = il_isolate_new(vm->host, &none, "main", NULL, &vm->isolate);
  if (err == ISOLUA_OK) vm->isolate->vm = vm;
  if (err == ISOLUA_OK) err = il_isolate_enter_main(vm->isolate);
  if (err == ISOLUA_OK && vm->owned) il_isolate_set_heap(vm->isolate, &vm->used);
  if (err == ISOLUA_OK) il_loop_join_pump(vm);
  return err;
}

int il_vm_attach(isolua_host *host, lua_State *L) {
  int err;
  il_vm *vm = know_std(host) == ISOLUA_OK ? vm_new(host) : NULL;
  if (vm == NULL) return ISOLUA_MEMORY;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  vm->L = lua_tothread(L, -1);
  lua_pop(L, 1);
  vm->running = vm->L;
  err = become_main(vm);
  if (err != ISOLUA_OK) {
    vm_free(vm);
    return err;
  }
  lua_pushcfunction(L, attach_names);
  lua_pushlightuserdata(L, vm);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &vm_key);
    il_isolate_leave_main(vm->isolate);
    vm_free(vm);
    return ISOLUA_MEMORY;
  }
  return ISOLUA_OK;
}

void il_vm_detach(il_vm *vm) {
  lua_State *L = vm->L;
  il_loop_fini(vm);
  forget_vm(vm);
  *vm->sentinel = NULL;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &vm_key);
  il_port_close(&vm->isolate->inbox);
  il_isolate_leave_main(vm->isolate);
  vm_free(vm);
}

static int open_for_main(lua_State *L) {
  il_vm_open_print(L);
  return 0;
}

int isolua_main_open(isolua_host *host, lua_State **L) {
  int err;
  il_vm *vm;
  if (IL_NULL(host) || IL_NULL(L)) return ISOLUA_INVALID;
  vm = make_state(host, 0);
  if (vm == NULL) return ISOLUA_MEMORY;
  lua_pushcfunction(vm->L, open_for_main);
  if (lua_pcall(vm->L, 0, 0, 0) != LUA_OK) {
    il_spare_drop(vm);
    return ISOLUA_MEMORY;
  }
  err = become_main(vm);
  if (err != ISOLUA_OK) {
    il_spare_drop(vm);
    return err;
  }
  il_vm_current(vm);
  *L = vm->L;
  return ISOLUA_OK;
}

/* Finalizers still find the vm; it goes after the state, which lives in its allocator. */
void isolua_main_close(lua_State *any) {
  il_vm *vm = il_vm_of(any);
  if (vm == NULL) return;
  il_loop_fini(vm);
  lua_close(vm->L);
  il_vm_not_current(vm);
  il_isolate_set_heap(vm->isolate, NULL);
  il_port_close(&vm->isolate->inbox);
  il_isolate_leave_main(vm->isolate);
  vm_free(vm);
}

/* -- Errors ------------------------------------------------------------------------------------ */

/* Text of the error value at `index`, as the standalone interpreter shows it. [-0, +1, m] */
static void push_text(lua_State *L, int index) {
  if (lua_type(L, index) == LUA_TSTRING || lua_type(L, index) == LUA_TNUMBER) {
    lua_pushvalue(L, index);
    lua_tostring(L, -1);
    return;
  }
  if (luaL_callmeta(L, index, "__tostring")) {
    if (lua_type(L, -1) == LUA_TSTRING) return;
    lua_pop(L, 1);
  }
  lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, index));
}

static int text_of(lua_State *L) {
  push_text(L, 1);
  return 1;
}

/* The same, when its __tostring raises too. */
static void push_safe_text(lua_State *L, int index) {
  il_vm *vm = il_vm_of(L);
  bool before = vm != NULL && il_vm_unwinding(vm);
  index = lua_absindex(L, index);
  lua_pushcfunction(L, text_of);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    if (il_vm_passes(vm, before)) il_vm_pass_on(L);
    lua_pop(L, 1);
    lua_pushfstring(L, "(error object is a %s value, and its __tostring fails)",
                    luaL_typename(L, index));
  }
}

void il_vm_pushtraceback(lua_State *L, lua_State *L1, int index, int level) {
  il_vm *vm = il_vm_of(L);
  bool remote = false;
  index = lua_absindex(L, index);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (vm != NULL && vm->remote != NULL) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &remote_key);
    remote = lua_rawequal(L, index, -1);
    lua_pop(L, 1);
  }
  if (remote) {
    lua_pushfstring(L, "%s\nawaited in '%s':", vm->remote, vm->isolate->name);
  } else {
    push_safe_text(L, index);
  }
  luaL_traceback(L, L1, lua_tostring(L, -1), level);
  lua_replace(L, -2);
}

void isolua_pushtraceback(lua_State *L, int index, int level) {
  il_vm_pushtraceback(L, L, index, level);
}

void il_vm_set_remote(il_vm *vm, lua_State *L, const char *traceback) {
  free(vm->remote);
  vm->remote = traceback != NULL ? strdup(traceback) : NULL;
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &remote_key);
}

int isolua_future_raise(lua_State *L, const char *traceback) {
  il_vm_set_remote(il_vm_check(L), L, traceback);
  return lua_error(L);
}

int il_vm_traceback(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  lua_settop(L, 1);
  isolua_pushtraceback(L, 1, 1);
  free(vm->traceback);
  vm->traceback = strdup(lua_tostring(L, -1));
  lua_settop(L, 1);
  return 1;
}

static char *take_traceback(il_vm *vm) {
  char *t = vm->traceback;
  vm->traceback = NULL;
  return t;
}

/* The error object for an error value with `text`, which was refused with `code`; the refusal is on the
** top and stays. */
static void push_unsendable(il_vm *vm, lua_State *L, int code, const char *text) {
  int refusal = lua_gettop(L);
  luaL_tolstring(L, refusal, NULL);
  lua_pushfstring(L, "%s (%s)", text, lua_tostring(L, -1));
  isolua_pusherror(L, code, lua_tostring(L, -1), vm->isolate->name);
  if (lua_istable(L, refusal)) {
    lua_getfield(L, refusal, "path");
    lua_setfield(L, -2, "path");
  }
  lua_replace(L, refusal + 1);
  lua_settop(L, refusal + 1);
}

static void set_text(lua_State *L, const char *key, const char *text) {
  if (text == NULL) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

/* Tells those that listen of the error value at `index`. [-0, +0, m] */
static void tell_error(il_vm *vm, lua_State *L, int index, const il_result *r) {
  il_sending how = {.root = IL_ROOT_MESSAGE, .libs = IL_LIBS_ALL, .copy = true};
  il_isolate *i = vm->isolate;
  il_msg *m = NULL;
  if (!il_control_hears_errors(&i->control)) return;
  index = lua_absindex(L, index);
  for (int with_value = 1; m == NULL && with_value >= 0; with_value--) {
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, i->id);
    lua_setfield(L, -2, "id");
    set_text(L, "name", i->name);
    set_text(L, "message", r->message);
    set_text(L, "traceback", r->traceback != NULL ? r->traceback : r->message);
    lua_pushvalue(L, index);
    if (with_value)
      lua_setfield(L, -2, "error");
    else
      lua_pop(L, 1);
    if (il_encode(vm, L, 1, &how, &m) != ISOLUA_OK) lua_pop(L, 1);
  }
  if (m == NULL) return;
  il_control_tell_error(&i->control, m);
  il_msg_free(m);
}

/* The same for an error whose value is not there. Thread: any. */
static void tell_error_text(il_isolate *i, const char *message, const char *traceback) {
  il_field fields[] = {{"id", NULL, i->id},
                       {"name", i->name, 0},
                       {"message", message, 0},
                       {"traceback", traceback != NULL ? traceback : message, 0}};
  il_msg *m;
  if (message == NULL || !il_control_hears_errors(&i->control)) return;
  m = il_build_table(fields, sizeof fields / sizeof fields[0]);
  if (m == NULL) return;
  il_control_tell_error(&i->control, m);
  il_msg_free(m);
}

/* A result for the error value on the top, which it pops. A value that cannot be sent becomes
** not_sendable with its text; one for which there is no memory, likewise. [-1, +0, m] */
static void fail_with(il_vm *vm, lua_State *L, il_result *r) {
  il_sending how = {.root = IL_ROOT_ERROR, .libs = IL_LIBS_ALL};
  int code;
  memset(r, 0, sizeof *r);
  r->code = ISOLUA_ERROR;
  r->traceback = take_traceback(vm);
  push_safe_text(L, -1);
  r->message = strdup(lua_tostring(L, -1));
  lua_insert(L, -2);
  tell_error(vm, L, -1, r);
  code = il_encode(vm, L, 1, &how, &r->msg);
  if (code != ISOLUA_OK) {
    r->code = code == ISOLUA_MEMORY ? ISOLUA_MEMORY : ISOLUA_NOT_SENDABLE;
    push_unsendable(vm, L, r->code, lua_tostring(L, -2));
    lua_getfield(L, -1, "message");
    free(r->message);
    r->message = strdup(lua_tostring(L, -1));
    lua_pop(L, 1);
    lua_remove(L, -2);
    if (il_encode(vm, L, 1, &how, &r->msg) != ISOLUA_OK) lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* An error that nobody caught, outside the body: it is logged, or ends the isolate with *r (taken over;
** the first one counts). A future may outlive the vm. */
static void take_failure(il_isolate *i, const char *what, il_result *r) {
  il_vm *vm = i->vm;
  if (vm == NULL || i->is_main || i->errors_go_on || vm->ended || vm->loop.closed) {
    bool heard = il_control_hears_errors(&i->control);
    if (i->is_main || !heard) atomic_store(&i->host->failed, true);
    if (!heard) il_host_uncaught(i, what, r);
    il_result_fini(r);
  } else if (vm->failure.code != ISOLUA_OK) {
    il_result_fini(r);
  } else {
    il_result_fini(&vm->failure);
    vm->failure = *r;
    il_isolate_kill(i, ISOLUA_ERROR, IL_GRACE);
  }
}

void il_vm_handler_failed(il_vm *vm, lua_State *L) {
  il_result r;
  lua_settop(L, 1);
  if (il_vm_interrupt_again(vm, L, 1)) return;
  fail_with(vm, L, &r);
  take_failure(vm->isolate, "an event handler", &r);
}

void il_vm_task_lost(isolua_future *f) {
  il_result r = {ISOLUA_ERROR, NULL, NULL, NULL};
  il_isolate *i = (il_isolate *)f->behind; /* its first member */
  const char *message = f->result.message != NULL ? f->result.message : "an error";
  r.message = strdup(message);
  if (f->result.traceback != NULL) r.traceback = strdup(f->result.traceback);
  tell_error_text(i, message, r.traceback);
  take_failure(i, "a task", &r);
}

/* -- Running ----------------------------------------------------------------------------------- */

static const char *const search_fields[] = {"path", "cpath"};

/* They are what `s` has. */
static bool same_search(const il_search *s, const char *const text[2]) {
  for (int i = 0; i < 2; i++) {
    bool none = s->text[i] == NULL || text[i] == NULL;
    if (none ? s->text[i] != text[i] : strcmp(s->text[i], text[i]) != 0) return false;
  }
  return true;
}

static il_search *search_new(const char *const text[2]) {
  il_search *s = calloc(1, sizeof *s);
  if (s == NULL) return NULL;
  atomic_init(&s->holds, 1);
  for (int i = 0; i < 2; i++) {
    if (text[i] == NULL || (s->text[i] = strdup(text[i])) != NULL) continue;
    il_search_release(s);
    return NULL;
  }
  return s;
}

il_search *il_search_of(il_vm *vm, lua_State *L) {
  const char *text[2] = {NULL, NULL};
  int top = lua_gettop(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "package") == LUA_TTABLE)
    for (int i = 0; i < 2; i++)
      if (lua_getfield(L, top + 2, search_fields[i]) == LUA_TSTRING) text[i] = lua_tostring(L, -1);
  if (vm->search == NULL || !same_search(vm->search, text)) {
    il_search_release(vm->search);
    vm->search = search_new(text);
  }
  lua_settop(L, top);
  if (vm->search != NULL) atomic_fetch_add_explicit(&vm->search->holds, 1, memory_order_relaxed);
  return vm->search;
}

void il_search_release(il_search *s) {
  if (s == NULL || atomic_fetch_sub_explicit(&s->holds, 1, memory_order_acq_rel) > 1) return;
  free(s->text[0]);
  free(s->text[1]);
  free(s);
}

void il_task_free(il_task *task) {
  il_msg_free(task->call);
  il_msg_free(task->setup);
  free(task->source);
  free(task->path);
  free(task->init);
  il_search_release(task->search);
  free(task);
}

void il_vm_free_task(il_isolate *i) {
  il_task *task = i->task;
  i->task = NULL;
  il_task_free(task);
}

/* Takes away what `libs` leaves out: its global, its module, and methods of strings. */
static void restrict_libs(il_vm *vm, lua_State *L, unsigned libs) {
  vm->libs = libs;
  libs |= il_libs_forbidden(vm->forbid); /* never were there */
  if (libs == IL_LIBS_ALL) return;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (int n = 0; n < IL_LIB_COUNT; n++) {
    if ((libs & 1u << n) == 0) {
      lua_pushnil(L);
      lua_setglobal(L, il_lib_name(n));
      lua_pushnil(L);
      lua_setfield(L, -2, il_lib_name(n));
    }
  }
  lua_pop(L, 1);
  if ((libs & IL_LIB(package)) == 0) {
    lua_pushnil(L);
    lua_setglobal(L, "require");
  }
  if ((libs & IL_LIB(string)) == 0) {
    lua_pushliteral(L, "");
    lua_pushnil(L);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
  }
}

/* One that is as it should be stays: it has usually the text that every fresh state finds. */
static void set_search(lua_State *L, const il_search *s) {
  if (lua_getglobal(L, "package") == LUA_TTABLE) {
    for (int i = 0; i < 2; i++) {
      if (s->text[i] == NULL) continue;
      if (lua_getfield(L, -1, search_fields[i]) != LUA_TSTRING ||
          strcmp(lua_tostring(L, -1), s->text[i]) != 0) {
        lua_pushstring(L, s->text[i]);
        lua_setfield(L, -3, search_fields[i]);
      }
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

static void set_gc(lua_State *L, int gc) {
  if (gc == LUA_GCSTOP)
    lua_gc(L, LUA_GCSTOP);
  else if (gc == LUA_GCGEN)
    lua_gc(L, LUA_GCGEN, 0, 0);
  else if (gc == LUA_GCINC)
    lua_gc(L, LUA_GCINC, 0, 0, 0);
}

/* The message goes into a box, so that it is freed whatever the decoder raises. */
int il_vm_decode_owned(il_vm *vm, lua_State *L, il_msg **m) {
  il_msg **box = il_box_push(L);
  int n;
  *box = *m;
  *m = NULL;
  n = il_decode(vm, L, *box);
  il_msg_free(*box);
  *box = NULL;
  lua_remove(L, -(n + 1));
  return n;
}

static void run_init(il_vm *vm, lua_State *L, il_task *task) {
  if (task->setup != NULL) {
    il_vm_decode_owned(vm, L, &task->setup);
    if (lua_isnil(L, -1))
      lua_pop(L, 1);
    else
      lua_call(L, 0, 0);
  }
  if (task->init != NULL) {
    if (lua_getglobal(L, "require") != LUA_TFUNCTION)
      luaL_error(L, "init module '%s' needs the library 'package' in libs", task->init);
    lua_pushstring(L, task->init);
    lua_call(L, 1, 0);
  }
}

/* Pushes what the task runs, and its arguments; how many values. [-0, +n, e] */
static int push_call(il_vm *vm, lua_State *L, il_task *task) {
  int status = LUA_OK;
  if (task->function != NULL)
    lua_pushcfunction(L, task->function);
  else if (task->path == NULL)
    return il_vm_decode_owned(vm, L, &task->call);
  else if (task->source != NULL)
    status = luaL_loadbufferx(L, task->source, task->length, task->path, "t");
  else
    status = luaL_loadfilex(L, task->path, "t");
  if (status != LUA_OK) return lua_error(L);
  return task->call != NULL ? 1 + il_vm_decode_owned(vm, L, &task->call) : 1;
}

/* Light userdata: the vm. Returns what the task returns. */
static int run_task(lua_State *L) {
  il_vm *vm = lua_touserdata(L, 1);
  il_task *task = vm->isolate->task;
  lua_settop(L, 0);
  restrict_libs(vm, L, task->libs);
  if (task->search != NULL) set_search(L, task->search);
  set_gc(L, task->gc);
  vm->cap = vm->isolate->memory;
  run_init(vm, L, task);
  lua_call(L, push_call(vm, L, task) - 1, LUA_MULTRET);
  if (vm->isolate->spawned) il_loop_drain(vm, L);
  return lua_gettop(L);
}

/* The end of a task: with `status`, and results or an error value on the stack. */
typedef struct ending {
  il_vm *vm;
  il_result *result;
  int status;
  bool overflow; /* the results do not fit the stack: they are gone */
} ending;

/* The values, and a light userdata with the ending above them. */
static int make_result(lua_State *L) {
  ending *end = lua_touserdata(L, lua_gettop(L));
  il_vm *vm = end->vm;
  il_sending how = {.root = IL_ROOT_RESULT, .libs = IL_LIBS_ALL};
  int code;
  lua_pop(L, 1);
  if (end->overflow) lua_pushliteral(L, "stack overflow (too many results)");
  if (end->overflow || end->status != LUA_OK) {
    fail_with(vm, L, end->result);
    return 0;
  }
  code = il_encode(vm, L, lua_gettop(L), &how, &end->result->msg);
  if (code != ISOLUA_OK) /* the refusal is the error */
    fail_with(vm, L, end->result);
  end->result->code = code;
  return 0;
}

/* Sending the results is not the task's heap: with more than its cap. */
bool il_vm_result(il_vm *vm, lua_State *L, int base, int status, il_result *r) {
  ending end = {vm, r, status, false};
  size_t cap = vm->cap;
  bool done;
  vm->cap = il_cap_of_result(cap);
  if (!lua_checkstack(L, 4 * LUA_MINSTACK)) { /* no memory, or nearly a million results */
    end.overflow = lua_gettop(L) - base > IL_MANY_VALUES;
    lua_settop(L, base);
    if (!end.overflow) {
      vm->cap = cap;
      return false;
    }
  }
  lua_pushcfunction(L, make_result);
  lua_insert(L, base + 1);
  lua_pushlightuserdata(L, &end);
  done = lua_pcall(L, lua_gettop(L) - base - 1, 0, 0) == LUA_OK;
  lua_settop(L, base);
  vm->cap = cap;
  return done;
}

/* Errors of the library itself: what an isolate ends with that has no say any more. */
static void end_with(il_result *r, int code, char *traceback) {
  il_result_fini(r);
  memset(r, 0, sizeof *r);
  r->code = code;
  r->traceback = traceback;
}

static enum il_status run_protected(il_vm *vm, lua_State *L, il_result *r) {
  int dying, status;
  lua_pushcfunction(L, il_vm_traceback);
  lua_pushcfunction(L, run_task);
  lua_pushlightuserdata(L, vm);
  status = lua_pcall(L, 1, LUA_MULTRET, 1);
  il_loop_end_coros(vm);
  lua_remove(L, 1);
  lua_sethook(L, NULL, 0, 0);
  vm->ended = true;
  dying = il_vm_dying(vm);
  if (dying == ISOLUA_ERROR) {
    *r = vm->failure;
    memset(&vm->failure, 0, sizeof vm->failure);
    return IL_FAILED;
  }
  if (dying != 0 && status != LUA_OK) {
    end_with(r, dying, take_traceback(vm));
    return dying == ISOLUA_EXITED ? IL_DONE : IL_KILLED;
  }
  if (status == LUA_ERRMEM) {
    end_with(r, ISOLUA_MEMORY, NULL);
    return IL_FAILED;
  }
  if (il_vm_result(vm, L, 0, status, r)) {
    if (r->code == ISOLUA_OK) return IL_DONE;
    if (il_vm_dying(vm) == 0) return IL_FAILED;
  }
  dying = il_vm_dying(vm);
  end_with(r, dying != 0 ? dying : ISOLUA_MEMORY, take_traceback(vm));
  return dying != 0 ? IL_KILLED : IL_FAILED;
}

static const char *end_message(int code) {
  switch (code) {
  case ISOLUA_TIMEOUT: return "ran over its time and was killed";
  case ISOLUA_MEMORY: return "ran out of memory";
  case ISOLUA_EXITED: return "ended without a result";
  case ISOLUA_KILLED: return "was killed";
  default: return NULL;
  }
}

char *il_end_text(const char *subject, int code) {
  const char *what = end_message(code);
  char text[256];
  if (what == NULL) return NULL;
  snprintf(text, sizeof text, "%s %s", subject, what);
  return strdup(text);
}

/* The message goes before the traceback that the kill has noted. */
static void head_traceback(il_result *r) {
  size_t n, m;
  char *whole;
  if (r->traceback == NULL || r->message == NULL) return;
  n = strlen(r->message);
  m = strlen(r->traceback);
  whole = malloc(n + m + 2);
  if (whole == NULL) return;
  memcpy(whole, r->message, n);
  whole[n] = '\n';
  memcpy(whole + n + 1, r->traceback, m + 1);
  free(r->traceback);
  r->traceback = whole;
}

static void message_for(il_isolate *i, il_result *r) {
  char subject[192];
  if (r->message != NULL || end_message(r->code) == NULL) return;
  if (i->hooks == NULL || !i->hooks->subject(i, subject, sizeof subject))
    snprintf(subject, sizeof subject, "isolate '%.150s'", i->name);
  r->message = il_end_text(subject, r->code);
  head_traceback(r);
}

void il_vm_body(il_isolate *i, void *spare) {
  il_vm *vm = spare != NULL ? spare : il_spare_make(i->host);
  il_result r = {ISOLUA_MEMORY, NULL, NULL, NULL};
  enum il_status status = IL_FAILED;
  int dying;
  il_isolate_enter(i);
  il_thread_name(i->name);
  dying = atomic_load(&i->dying);
  if (vm == NULL) {
    r.message = strdup("there is no memory for another Lua state");
  } else if (dying != 0) {
    r.code = dying;
    status = IL_KILLED;
    vm->isolate = NULL;
  } else {
    vm->isolate = i;
    i->vm = vm;
    il_handle_retain(&i->h);
    atomic_store(&i->counts, i->host->workers.sig > 0);
    il_isolate_set_heap(i, &vm->used);
    il_vm_current(vm);
    il_loop_stay_paused(vm);
    status = run_protected(vm, vm->L, &r);
  }
  message_for(i, &r);
  if (r.code == ISOLUA_MEMORY || r.code == ISOLUA_SPAWN) tell_error_text(i, r.message, r.traceback);
  il_workers_announce();
  il_isolate_finish(i, status, &r);
  il_workers_give_way();
  if (vm != NULL) {
    il_isolate_closing(i);
    if (vm->isolate != NULL) il_loop_fini(vm);
    lua_close(vm->L);
    il_vm_not_current(vm);
    il_isolate_set_heap(i, NULL);
    vm_free(vm);
  }
  il_vm_free_task(i); /* one that never began still has handles in its message */
  il_port_close(&i->inbox);
  il_isolate_leave(i);
}
