/* run.c - isolua_lua.h: running functions, and futures, for code that has a lua_State. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "codec.h"
#include "err.h"
#include "kill.h"
#include "loop.h"
#include "names.h"
#include "live.h"
#include "task.h"
#include "vm_host.h"

/* -- Hosts and states -------------------------------------------------------------------------- */

void isolua_host_set_open(isolua_host *host, lua_CFunction open) {
  memcpy(&host->open, &open, sizeof open);
}

void isolua_require(lua_State *L, const char *name) {
  il_names_resolve(il_vm_check(L), L, name, NULL);
}

void isolua_pushstandard(lua_State *L, const char *name) {
  lua_pushcfunction(L, il_std_named(il_vm_check(L)->host->std, name));
}

void isolua_host_set_module(isolua_host *host, const char *module,
                            const luaL_Reg *const *functions) {
  atomic_store(&host->functions, functions);
  atomic_store(&host->types, module);
}

/* The host of a state that attached itself, and the state's end of it: __gc of a registry value. */
static char sentinel_key;

static void log_to_stderr(void *ud, const char *text, size_t length) {
  (void)ud;
  flockfile(stderr);
  fwrite(text, 1, length, stderr);
  fputc('\n', stderr);
  funlockfile(stderr);
}

/* The end of a stock interpreter's state: nothing of its Lua runs any more, so what was started by
** isolate.run is waited for here. */
static int close_own_host(lua_State *L) {
  isolua_host **own = lua_touserdata(L, 1);
  isolua_host *host = *own;
  il_vm *vm = il_vm_of(L);
  *own = NULL;
  if (host == NULL) return 0;
  if (vm != NULL) il_vm_detach(vm);
  il_host_wait(host, IL_AWAITED, -1);
  isolua_host_close(host, ISOLUA_SECOND);
  return 0;
}

static int attach_own(lua_State *L) {
  isolua_host_options options = {.size = sizeof options, .log = log_to_stderr};
  isolua_host **own = lua_newuserdatauv(L, sizeof *own, 0);
  int err;
  *own = NULL;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, close_own_host);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &sentinel_key);
  err = isolua_host_new(&options, own);
  if (err == ISOLUA_OK) err = il_vm_attach(*own, L);
  lua_pushinteger(L, err);
  return 1;
}

int isolua_attach(isolua_host *host, lua_State *L) {
  int err = ISOLUA_MEMORY;
  if (IL_NULL(L)) return ISOLUA_INVALID;
  if (il_vm_of(L) != NULL) return il_invalid("the state is attached already");
  if (host != NULL) return il_vm_attach(host, L);
  il_pin_code();
  lua_pushcfunction(L, attach_own);
  if (lua_pcall(L, 0, 1, 0) == LUA_OK) err = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return err;
}

/* One that owns its host ends with it, when it is closed. */
int isolua_detach(lua_State *L) {
  il_vm *vm;
  if (IL_NULL(L)) return ISOLUA_INVALID;
  vm = il_vm_of(L);
  if (vm == NULL) return il_invalid("the state is not attached");
  if (vm->owned || !vm->isolate->is_main)
    return il_invalid("the state belongs to an isolate, or to isolua_main_open");
  if (vm->loop.current != NULL || vm->loop.inside > 0 || vm->loop.pumping)
    return il_invalid("the state runs in a task, or in a wait of its event loop");
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinel_key) == LUA_TUSERDATA) {
    lua_pop(L, 1);
    return il_invalid("the state has a host of its own, and is detached when it is closed");
  }
  lua_pop(L, 1);
  il_vm_detach(vm);
  return ISOLUA_OK;
}

isolua_host *isolua_host_of(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  return vm != NULL ? vm->host : NULL;
}

int isolua_is_main(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  return vm != NULL && vm->isolate->is_main;
}

int isolua_host_failed(const isolua_host *host) {
  return atomic_load(&host->failed);
}

double isolua_now(void) {
  return (double)il_now() / 1e9;
}

double isolua_tick(void) {
  return (double)il_now_coarse() / 1e9;
}

int isolua_terminal_columns(void) {
  return il_terminal_columns();
}

/* The main state of isolua_main_open keeps its vm where a signal handler can read it. */
void isolua_interrupt(lua_State *L) {
  il_vm *vm = *(il_vm **)lua_getextraspace(L);
  int sig = vm->host->workers.sig;
  atomic_store(&vm->isolate->interrupted, true);
  if (sig > 0)
    il_thread_signal(vm->isolate->thread, sig);
  else if (il_thread_is_self(vm->isolate->thread))
    il_vm_on_signal();
  il_waiter_wake(&vm->isolate->waiter);
}

int isolua_break(lua_State *L) {
  il_vm *vm = *(il_vm **)lua_getextraspace(L);
  if (!atomic_load(&vm->breakable)) return 0;
  atomic_store(&vm->breaks, true);
  isolua_interrupt(L);
  return 1;
}

/* A Ctrl-C that came too late to be raised is forgotten. */
static void forget_break(il_vm *vm) {
  vm->breaking = false;
  atomic_store(&vm->breaks, false);
  atomic_store(&vm->isolate->interrupted, false);
}

/* [a lua_CFunction] */
static int push_interrupted(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  isolua_pusherror(L, ISOLUA_INTERRUPTED, "interrupted", vm->isolate->name);
  il_vm_set_remote(vm, L, vm->traceback);
  return 1;
}

/* Makes what unwound the call `interrupted`, and then what the handler makes of it. [-1, +1, -] */
static void explain_break(lua_State *L, int handler) {
  lua_pop(L, 1);
  lua_pushcfunction(L, push_interrupted);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK || handler == 0) return;
  lua_pushvalue(L, handler);
  lua_insert(L, -2);
  lua_pcall(L, 1, 1, 0);
}

int isolua_breakable(lua_State *L, int nargs, int nresults, int handler) {
  il_vm *vm = il_vm_check(L);
  bool broken;
  int status;
  memset(vm->hung, 0, sizeof vm->hung);
  vm->broken = NULL;
  atomic_store(&vm->breakable, true);
  status = lua_pcall(L, nargs, nresults, handler);
  broken = vm->breaking && status != LUA_OK;
  forget_break(vm);
  if (broken) explain_break(L, handler);
  atomic_store(&vm->breakable, false);
  forget_break(vm); /* no other comes */
  return status;
}

const char *isolua_broken(lua_State *L) {
  return il_vm_check(L)->broken;
}

long long isolua_hung(lua_State *L, int n) {
  return n < IL_HUNG ? il_vm_check(L)->hung[n] : 0;
}

int isolua_interrupted(lua_State *L, int index) {
  return il_vm_interrupt_again(il_vm_check(L), L, index);
}

/* -- Sending ----------------------------------------------------------------------------------- */

int isolua_sendable(lua_State *L, int index) {
  il_vm *vm = il_vm_check(L);
  il_sending how = {.root = IL_ROOT_MESSAGE, .libs = IL_LIBS_ALL};
  il_msg *m;
  il_moves *moves;
  lua_pushvalue(L, index);
  if (il_encode_waiting(vm, L, 1, &how, &m, &moves) != ISOLUA_OK) return 0;
  il_moves_undo(vm, moves);
  il_msg_free(m);
  return 1;
}

void isolua_register(lua_State *L, const char *name, int index) {
  il_names_register(il_vm_check(L), L, name, index);
}

/* -- Running ----------------------------------------------------------------------------------- */

/* The name of a function: "script.lua:12". */
static void function_name(lua_State *L, int index, char *name, size_t size) {
  lua_Debug ar;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &ar);
  if (ar.what[0] == 'C')
    snprintf(name, size, "C function");
  else if (ar.linedefined == 0)
    snprintf(name, size, "%s", ar.short_src);
  else
    snprintf(name, size, "%s:%d", ar.short_src, ar.linedefined);
}

/* Does package.preload hold more than `open` put there? */
static bool has_preload(lua_State *L) {
  int top = lua_gettop(L);
  bool more = false;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &il_base_preload);
  lua_pushnil(L);
  while (!more && lua_next(L, top + 1) != 0) {
    lua_pushvalue(L, -2);
    lua_rawget(L, top + 2);
    more = !lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  lua_settop(L, top);
  return more;
}

int il_encode_setup(il_vm *vm, lua_State *L, const isolua_run_options *o, il_task *task) {
  il_sending how = {.root = IL_ROOT_INIT,
                    .libs = task->libs,
                    .capture = !o->no_globals,
                    .strip = o->strip != 0,
                    .copy = true};
  if (o->init == 0 && !has_preload(L)) return ISOLUA_OK;
  if (o->init != 0)
    lua_pushvalue(L, o->init);
  else
    lua_pushnil(L);
  return il_encode(vm, L, 1, &how, &task->setup);
}

/* Encodes init and preload, then the `n` values of the call (of a file: its arguments), which end the
** stack. *moves: the buffers that they take along. An error object is pushed on failure. */
static int encode_task(il_vm *vm, lua_State *L, const isolua_run_options *o, int n, il_task *task,
                       il_moves **moves) {
  il_sending how = {.root = IL_ROOT_INIT,
                    .libs = task->libs,
                    .capture = !o->no_globals,
                    .strip = o->strip != 0,
                    .hidden = o->hidden};
  il_moves *more;
  int err;
  if (o->init != 0 || has_preload(L)) {
    if (o->init != 0)
      lua_pushvalue(L, o->init);
    else
      lua_pushnil(L);
    err = il_encode_waiting(vm, L, 1, &how, &task->setup, moves);
    if (err != ISOLUA_OK) {
      lua_insert(L, -(n + 1));
      lua_pop(L, n);
      return err;
    }
    il_moves_begin(*moves);
  }
  how.root = task->path != NULL ? IL_ROOT_FILE : IL_ROOT_CALL;
  err = il_encode_waiting(vm, L, n, &how, &task->call, &more);
  if (err == ISOLUA_OK) {
    il_moves_join(moves, more);
  } else {
    il_moves_undo(vm, *moves);
    *moves = NULL;
  }
  return err;
}

/* What is to be started, until it is. */
typedef struct task_box {
  il_task *task;
  il_moves *moves; /* buffers that go along */
  il_start start;
} task_box;

static void end_moves(il_vm *vm, task_box *box, int err) {
  il_moves *moves = box->moves;
  box->moves = NULL;
  if (err == ISOLUA_OK)
    il_moves_done(vm, moves);
  else
    il_moves_undo(vm, moves);
}

static int task_gc(lua_State *L) {
  task_box *box = lua_touserdata(L, 1);
  il_vm *vm = il_vm_of(L);
  if (box->task != NULL) il_task_free(box->task);
  if (vm != NULL) il_moves_undo(vm, box->moves);
  il_listeners_free(box->start.listeners);
  memset(box, 0, sizeof *box);
  return 0;
}

/* A userdata that frees what it is given, and ends the moves, whatever raises. [-0, +1, m] */
static task_box *push_task_box(lua_State *L) {
  task_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  memset(box, 0, sizeof *box);
  il_newtype(L, "isolate.task", task_gc, false);
  lua_setmetatable(L, -2);
  return box;
}

/* [-0, +0, e] */
static void fill_start(il_vm *vm, lua_State *L, const isolua_run_options *o, bool spawned,
                       il_start *start) {
  *start = (il_start){.spawned = spawned, .parent = vm->isolate};
  start->paused = o->paused != 0;
  start->errors_go_on = o->errors_go_on != 0;
  start->unawaited = o->unawaited != 0;
  if (o->on_exit != 0) start->listeners = il_listener_new(vm, L, o->on_exit, IL_LISTENS_EXIT, 0);
  if (o->on_error != 0) {
    il_listener *l = il_listener_new(vm, L, o->on_error, IL_LISTENS_ERROR, 0);
    l->next = start->listeners;
    start->listeners = l;
  }
}

static const char *start_message(int err) {
  if (err == ISOLUA_FULL) return "the host has as many isolates as it may have";
  return err == ISOLUA_CLOSED ? "the program is ending: no isolate starts any more"
                              : isolua_code_message(err);
}

/* The `n` values that end the stack go along; popped, or replaced by an error object. `name` is that of
** an isolate whose options give none. */
static int start_task(il_vm *vm, lua_State *L, const isolua_run_options *o, int n, task_box *box,
                      const char *name, il_isolate **isolate) {
  il_task *task = box->task;
  il_start start = box->start;
  int err = encode_task(vm, L, o, n, task, &box->moves);
  if (err != ISOLUA_OK) return err;
  box->task = NULL;
  box->start.listeners = NULL;
  err = il_task_start(vm->host, &o->base, o->base.name != NULL ? o->base.name : name, &start, task,
                      isolate);
  end_moves(vm, box, err);
  if (err != ISOLUA_OK) isolua_pusherror(L, err, start_message(err), vm->isolate->name);
  return err;
}

/* The function and its arguments end the stack; popped, or replaced by an error object. */
static int run_boxed(il_vm *vm, lua_State *L, const isolua_run_options *o, int n, task_box *box,
                     bool spawned, il_isolate **isolate) {
  char name[LUA_IDSIZE + 16];
  int err;
  function_name(L, -(n + 1) + o->hidden, name, sizeof name);
  err = il_task_new(vm->host, &o->base, &box->task);
  if (err == ISOLUA_OK) {
    box->task->search = il_search_of(vm, L);
    fill_start(vm, L, o, spawned, &box->start);
    return start_task(vm, L, o, n + 1, box, name, isolate);
  } else {
    lua_pop(L, n + 1);
  }
  if (err != ISOLUA_OK) isolua_pusherror(L, err, start_message(err), vm->isolate->name);
  return err;
}

/* [-(nargs+1), +0|1, m] */
static int start(lua_State *L, const isolua_run_options *options, int index, int nargs,
                 bool spawned, il_isolate **isolate) {
  isolua_run_options o;
  il_vm *vm = il_vm_check(L);
  task_box *box;
  int err;
  il_loop_check_open(vm, L);
  memset(&o, 0, sizeof o);
  if (options != NULL) o = *options;
  o.init = o.init != 0 ? lua_absindex(L, o.init) : 0;
  index = lua_absindex(L, index);
  if (o.init >= index) {
    luaL_error(L, "isolua_run: init lies below the function");
    return ISOLUA_INVALID;
  }
  luaL_checkstack(L, 10, NULL);
  box = push_task_box(L);
  lua_insert(L, index);
  err = run_boxed(vm, L, &o, nargs, box, spawned, isolate);
  lua_remove(L, index);
  return err;
}

int isolua_run(lua_State *L, const isolua_run_options *options, int index, int nargs,
               isolua_future **future) {
  il_isolate *i;
  int err = start(L, options, index, nargs, false, &i);
  if (err != ISOLUA_OK) return err;
  il_handle_push_held(L, &i->inbox.tx, &i->inbox.tx); /* which keeps it from now on */
  il_future_retain(&i->future);
  *future = &i->future;
  return ISOLUA_OK;
}

/* The handle takes the place of the hold. */
static int push_started(lua_State *L, il_isolate *i) {
  il_handle_push_held(L, &i->inbox.tx, &i->inbox.tx);
  return ISOLUA_OK;
}

int isolua_spawn(lua_State *L, const isolua_run_options *options, int index, int nargs) {
  il_isolate *i;
  int err = start(L, options, index, nargs, true, &i);
  return err == ISOLUA_OK ? push_started(L, i) : err;
}

/* A file's chunk is loaded there; its arguments are one send. The values end the stack. */
static int file_boxed(il_vm *vm, lua_State *L, const isolua_run_options *o, const char *path, int n,
                      task_box *box, il_isolate **isolate) {
  int err = il_task_new(vm->host, &o->base, &box->task);
  if (err == ISOLUA_OK && (box->task->path = strdup(path)) == NULL) err = ISOLUA_MEMORY;
  if (err != ISOLUA_OK) {
    lua_pop(L, n);
    isolua_pusherror(L, err, start_message(err), vm->isolate->name);
    return err;
  }
  box->task->search = il_search_of(vm, L);
  fill_start(vm, L, o, true, &box->start);
  return start_task(vm, L, o, n, box, path, isolate);
}

int isolua_spawnfile(lua_State *L, const isolua_run_options *options, const char *path, int nargs) {
  il_vm *vm = il_vm_check(L);
  il_isolate *i;
  task_box *box;
  int err, index = lua_gettop(L) - nargs + 1;
  il_loop_check_open(vm, L);
  luaL_checkstack(L, 10, NULL);
  if ((vm->forbid & ISOLUA_NO_FILES) != 0)
    return luaL_error(L, "isolate.spawn_file: the host forbids files");
  box = push_task_box(L);
  lua_insert(L, index);
  err = file_boxed(vm, L, options, path, nargs, box, &i);
  lua_remove(L, index);
  return err == ISOLUA_OK ? push_started(L, i) : err;
}

int isolua_exit(lua_State *L, int tx) {
  il_vm *vm = il_vm_check(L);
  if (vm->isolate->is_main)
    return luaL_error(L, "isolate.exit: the main isolate ends with its script");
  if (tx != 0)
    il_control_listen_first(&vm->isolate->control,
                            il_listener_new(vm, L, tx, IL_LISTENS_LAST, tx + 1));
  return il_vm_end(vm, L, ISOLUA_EXITED);
}

/* -- Futures ----------------------------------------------------------------------------------- */

isolua_future *isolua_future_new(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  isolua_future *f;
  il_loop_check_open(vm, L);
  f = il_future_new(vm->host, il_vm_task_lost);
  if (f == NULL) return NULL;
  f->local = true;
  f->behind = &vm->isolate->h;
  il_handle_retain(f->behind);
  return f;
}

int isolua_future_settle(isolua_future *f, int ok, const char *message, const char *traceback) {
  il_result r = {ok ? ISOLUA_OK : ISOLUA_ERROR, NULL, NULL, NULL};
  if (message != NULL) r.message = strdup(message);
  if (traceback != NULL) r.traceback = strdup(traceback);
  if (!ok && !atomic_load(&f->looked)) { /* whether somebody still has it, the collector tells */
    il_vm *vm = ((il_isolate *)f->behind)->vm;
    if (vm != NULL) vm->loop.suspect = vm->loop.failed_tasks = true;
    if (vm != NULL) vm->loop.quiet = false;
  }
  return il_future_settle(f, &r);
}

long long isolua_future_id(isolua_future *f) {
  return il_handle_id(&f->h);
}

int isolua_future_is_local(const isolua_future *f) {
  return f->local;
}

static int push_error_value(il_vm *vm, lua_State *L, const isolua_future *f) {
  const il_result *r = &f->result;
  if (r->msg != NULL)
    il_decode_kept(vm, L, r->msg);
  else
    isolua_pusherror(L, r->code, r->message != NULL ? r->message : isolua_code_message(r->code),
                     f->isolate != NULL ? f->isolate->name : NULL);
  return r->code;
}

/* That of an isolate's end is made when somebody wants it. */
static int push_exit_message(il_vm *vm, lua_State *L, isolua_future *gone) {
  il_msg **box = il_box_push(L);
  *box = il_isolate_exit_message(gone);
  if (*box == NULL) isolua_memoryerror(L);
  il_decode(vm, L, *box);
  lua_remove(L, -2);
  return ISOLUA_OK;
}

int isolua_future_push(lua_State *L, isolua_future *f) {
  il_vm *vm = il_vm_check(L);
  if (f->is_end) return push_exit_message(vm, L, f);
  if (f->result.code != ISOLUA_OK) return push_error_value(vm, L, f);
  if (f->result.msg != NULL) il_decode_kept(vm, L, f->result.msg);
  return ISOLUA_OK;
}

int isolua_future_now(lua_State *L, isolua_future *f) {
  return il_future_is_done(f) && !il_loop_wants_turn(il_vm_check(L));
}

void isolua_future_look(isolua_future *f) {
  atomic_store(&f->looked, true);
}

void isolua_future_overlook(isolua_future *f) {
  atomic_store(&f->looked, false);
}

void isolua_future_forgo(isolua_future *f) {
  if (il_future_is_done(f)) return;
  atomic_store(&f->looked, true);
  if (f->isolate != NULL) il_isolate_forgo(f->isolate);
}

void isolua_future_pushisolate(lua_State *L, isolua_future *f) {
  if (f->isolate != NULL)
    il_handle_push(L, &f->isolate->inbox.tx);
  else
    lua_pushnil(L);
}

void isolua_trim(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  il_host_settle(vm->host, il_vm_dying(vm) != 0, il_deadline(10 * ISOLUA_SECOND));
}
