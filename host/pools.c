/* pools.c - isolua_lua.h: pools, for code that has a lua_State; and what their isolates do. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "codec.h"
#include "err.h"
#include "kill.h"
#include "loop.h"
#include "recipe.h"

/* Past 500 lines: what a pool's isolates do, and those who use it. */

/* -- The globals of an isolate that runs jobs -------------------------------------------------- */

/*
** DESIGN. After each job the globals are as they were before the first one. Mostly they still are, which is seen
** from the bytes of their table. A userdata keeps the bytes, as they were when the globals were put right last, and
** as user values a copy of the globals, their metatable, and that.
*/
typedef struct globals {
  const void *nodes; /* NULL: it cannot be seen so */
  size_t size;
  unsigned char bytes[1];
} globals;

enum { GLOBALS = 1, GLOBALS_META = 2, GLOBALS_BYTES = 3, GLOBALS_VALUES = 3 };

/* Pushes the bytes of the globals, which are on the top. */
static void push_bytes(lua_State *L) {
  size_t size = 0;
  const void *nodes = il_vm_hash_of(L, -1, &size);
  globals *g = lua_newuserdatauv(L, sizeof *g + size, 0);
  g->nodes = nodes;
  g->size = size;
  if (nodes != NULL) memcpy(g->bytes, nodes, size);
}

/* Pushes what the globals are now. */
static void push_globals(lua_State *L) {
  int saved;
  lua_newuserdatauv(L, 0, GLOBALS_VALUES);
  saved = lua_gettop(L);
  lua_newtable(L);
  lua_pushglobaltable(L);
  lua_pushnil(L);
  while (lua_next(L, saved + 2) != 0) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, saved + 1);
  }
  if (!lua_getmetatable(L, saved + 2)) lua_pushnil(L);
  lua_setiuservalue(L, saved, GLOBALS_META);
  push_bytes(L);
  lua_setiuservalue(L, saved, GLOBALS_BYTES);
  lua_pop(L, 1);
  lua_setiuservalue(L, saved, GLOBALS);
}

/* Are they still the same? The saved ones are at 1, the globals on the top. */
static bool same_globals(lua_State *L) {
  const globals *g;
  const void *nodes;
  size_t size;
  lua_getiuservalue(L, 1, GLOBALS_BYTES);
  g = lua_touserdata(L, -1);
  lua_pop(L, 1);
  nodes = il_vm_hash_of(L, -1, &size);
  return g->nodes != NULL && nodes == g->nodes && size == g->size &&
         il_vm_same_hash(g->bytes, nodes, size);
}

/* Whatever was set is put back, and whatever is new goes. The globals are on the top. */
static void put_back(lua_State *L) {
  int all = lua_gettop(L);
  lua_getiuservalue(L, 1, GLOBALS);
  lua_pushnil(L);
  while (lua_next(L, all) != 0) {
    lua_pushvalue(L, -2);
    lua_rawget(L, all + 1);
    if (!lua_rawequal(L, -1, -2)) {
      lua_pushvalue(L, -3);
      lua_insert(L, -2);
      lua_rawset(L, all); /* an entry that is there, or nil: the traversal goes on */
    } else {
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pushnil(L);
  while (lua_next(L, all + 1) != 0) { /* what is missing */
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, all);
  }
  lua_settop(L, all);
  push_bytes(L);
  lua_setiuservalue(L, 1, GLOBALS_BYTES);
}

static int restore_globals(lua_State *L) {
  lua_pushglobaltable(L);
  if (!same_globals(L)) put_back(L);
  if (lua_getiuservalue(L, 1, GLOBALS_META) != LUA_TNIL || lua_getmetatable(L, 2)) {
    lua_settop(L, 3);
    lua_setmetatable(L, 2);
  }
  return 0;
}

/* -- What an isolate of a pool does ------------------------------------------------------------ */

#define CHUNKS 64 /* that an isolate keeps: of one more it forgets all */

static char chunks_key; /* in the registry: functions by `chunk`, which are listed, too */

/* Pushes the table of chunks, with room for one more. [-0, +1, m] */
static void push_chunks(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &chunks_key) == LUA_TTABLE && lua_rawlen(L, -1) < CHUNKS)
    return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &chunks_key);
}

/* Pushes the function of the job's chunk. [-0, +1, e] */
static void push_chunk(lua_State *L, const il_work *w) {
  size_t name = strlen(w->chunk) + 1;
  int chunks;
  push_chunks(L);
  chunks = lua_gettop(L);
  lua_pushlstring(L, w->chunk, w->chunk_length);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, chunks) != LUA_TFUNCTION) {
    lua_pop(L, 1);
    if (luaL_loadbufferx(L, w->chunk + name, w->chunk_length - name, w->chunk, "t") != LUA_OK)
      lua_error(L);
    lua_pushvalue(L, -2);
    lua_rawseti(L, chunks, (lua_Integer)lua_rawlen(L, chunks) + 1);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, chunks);
  }
  lua_replace(L, chunks);
  lua_settop(L, chunks);
}

/* Light userdata: the job. Returns its results. */
static int run_job(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  il_work *w = lua_touserdata(L, 1);
  lua_settop(L, 0);
  if (w->chunk != NULL) push_chunk(L, w);
  if (w->call != NULL && w->pool->o.retries > 0)
    il_decode_kept(vm, L, w->call); /* others may need it, before this one is done with it */
  else if (w->call != NULL)
    il_vm_decode_owned(vm, L, &w->call);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* Nothing that the job has begun goes on after it, or fails another one. The saved globals are at 1. */
static void end_job(il_vm *vm, lua_State *L, il_hand *hand) {
  lua_sethook(L, NULL, 0, 0);
  lua_pushcfunction(L, restore_globals);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
  if (vm->loop.failed_tasks) { /* perhaps nobody looks at the error: if so it is to be this job's */
    vm->loop.failed_tasks = false;
    lua_gc(L, LUA_GCCOLLECT);
    il_hand_retire(hand);
  }
  if (vm->loop.sources != NULL || !il_loop_is_over(vm) ||
      il_port_waiting(&vm->isolate->inbox) > 0) /* messages that were for this job */
    il_hand_retire(hand);
}

/* The text of the library's own error. */
static void name_end(const il_work *w, il_result *r) {
  char subject[192];
  il_work_subject(w, subject, sizeof subject);
  if (r->message == NULL) r->message = il_end_text(subject, r->code);
}

/* Runs the job, whose results become *r. False: it is not its job any more. Does not return when the isolate is to
** end. */
static bool run_one(il_vm *vm, lua_State *L, il_hand *hand, il_work *w, il_result *r) {
  int base = lua_gettop(L), status;
  bool before = il_vm_unwinding(vm);
  if (!il_hand_begin(hand)) return false;
  lua_pushcfunction(L, il_vm_traceback);
  lua_pushcfunction(L, run_job);
  lua_pushlightuserdata(L, w);
  status = lua_pcall(L, 1, LUA_MULTRET, base + 1);
  lua_remove(L, base + 1);
  if (!il_vm_passes(vm, before)) end_job(vm, L, hand);
  if (il_vm_passes(vm, before)) il_vm_pass_on(L);
  *r = (il_result){ISOLUA_MEMORY, NULL, NULL, NULL};
  if (status == LUA_ERRMEM)
    il_hand_retire(hand);
  else if (!il_vm_result(vm, L, base, status, r)) {
    il_result_fini(r);
    *r = (il_result){ISOLUA_MEMORY, NULL, NULL, NULL};
  }
  if (il_vm_passes(vm, before)) {
    il_result_fini(r);
    il_vm_pass_on(L);
  }
  lua_settop(L, base);
  if (r->code == ISOLUA_MEMORY) name_end(w, r);
  return true;
}

static bool is_called(il_vm *vm, lua_State *L, void *arg) {
  const il_hand *hand = arg;
  (void)vm, (void)L;
  return atomic_load_explicit(&hand->called, memory_order_acquire);
}

/* It has no job. False: it is to go. */
static bool wait_for_job(il_vm *vm, lua_State *L, il_hand *hand) {
  int64_t idle = hand->pool->o.idle;
  enum il_outcome out;
  if (il_hand_is_done(hand)) return false;
  vm->loop.outside++; /* the pool calls it */
  out = il_loop_run(vm, L, is_called, hand, idle >= 0 ? il_deadline(idle) : -1);
  vm->loop.outside--;
  if (out == IL_TIMED_OUT) return !il_hand_leave(hand);
  if (out != IL_READY) il_loop_raise(vm, L, out);
  return true;
}

/* il_task.function */
static int serve(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  il_hand *hand = vm->isolate->served;
  il_work *w;
  lua_settop(L, 0);
  luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
  push_globals(L); /* at 1 */
  il_hand_enter(hand, vm->isolate);
  w = il_hand_next(hand, NULL);
  for (;;) {
    il_result r;
    if (w == NULL) {
      if (!wait_for_job(vm, L, hand)) return 0;
      w = il_hand_job(hand);
      continue;
    }
    if (!run_one(vm, L, hand, w, &r)) return 0;
    w = il_hand_next(hand, &r);
  }
}

/* -- Pools ------------------------------------------------------------------------------------- */

void il_recipe_free(il_recipe *r) {
  if (r == NULL) return;
  if (r->task != NULL) il_task_free(r->task);
  free(r);
}

/* il_pool.fini */
static void recipe_fini(il_pool *p) {
  il_recipe_free(p->starting);
}

static il_task *copy_task(const il_task *from) {
  il_task *task = calloc(1, sizeof *task);
  if (task == NULL) return NULL;
  task->libs = from->libs;
  task->gc = from->gc;
  task->function = serve;
  task->search = from->search;
  if (task->search != NULL)
    atomic_fetch_add_explicit(&task->search->holds, 1, memory_order_relaxed);
  if ((from->setup != NULL && (task->setup = il_msg_clone(from->setup)) == NULL) ||
      (from->init != NULL && (task->init = strdup(from->init)) == NULL)) {
    il_task_free(task);
    return NULL;
  }
  return task;
}

/* il_pool.start */
static int start(il_pool *p, il_hand *hand, const char *name) {
  il_recipe *r = p->starting;
  il_start how = {.unawaited = true, .errors_go_on = r->errors_go_on, .hooks = &il_hand_hooks};
  il_task *task = copy_task(r->task);
  il_isolate *i;
  int err;
  if (task == NULL) return ISOLUA_MEMORY;
  how.served = hand;
  err = il_task_start(p->host, &r->base, name, &how, task, &i);
  if (err != ISOLUA_OK) return err;
  atomic_store(&i->future.looked, true); /* the jobs have its errors */
  il_handle_release(&i->inbox.tx);
  return ISOLUA_OK;
}

static int recipe_gc(lua_State *L) {
  il_recipe **box = lua_touserdata(L, 1);
  il_recipe_free(*box);
  *box = NULL;
  return 0;
}

/* A userdata that frees what it is given. [-0, +1, m] */
static il_recipe **push_recipe(lua_State *L) {
  il_recipe **box = lua_newuserdatauv(L, sizeof(il_recipe *), 0);
  *box = NULL;
  il_newtype(L, "isolate.recipe", recipe_gc, false);
  lua_setmetatable(L, -2);
  return box;
}

int il_recipe_new(const isolua_host *host, const isolua_options *o, il_recipe **recipe) {
  il_recipe *r = calloc(1, sizeof *r);
  int err;
  if (r == NULL) return ISOLUA_MEMORY;
  err = il_task_new(host, o, &r->task);
  if (err != ISOLUA_OK) {
    free(r);
    return err;
  }
  r->base = *o;
  r->base.timeout = 0; /* that of a job */
  r->base.name = r->base.libs = r->base.gc = r->base.init = NULL;
  r->capture = true;
  *recipe = r;
  return ISOLUA_OK;
}

#define MOST INT32_MAX /* jobs that run at once: more of them are the same */

static int limits_of(const isolua_pool_options *from, int64_t timeout, il_pool_limits *to) {
  isolua_pool_options o = {.size = sizeof o};
  if (from != NULL && IL_SIZED(from, isolua_pool_options) != ISOLUA_OK) return ISOLUA_INVALID;
  if (from != NULL) memcpy(&o, from, from->size);
  if (o.idle < ISOLUA_FOREVER) return il_invalid("`idle` of the pool's options is below -1");
  if (o.max_jobs < 0) return il_invalid("`max_jobs` of the pool's options is negative");
  if (o.retries < 0) return il_invalid("`retries` of the pool's options is negative");
  if (o.workers == 0) o.workers = (size_t)il_cpu_count();
  if (o.workers > MOST) o.workers = MOST;
  if (o.queue > SIZE_MAX / 2) o.queue = SIZE_MAX / 2; /* to which the pool adds */
  *to = (il_pool_limits){.size = o.workers,
                         .queue = o.queue != 0 ? o.queue : 1024 * o.workers,
                         .idle = o.idle != 0 ? o.idle : ISOLUA_FOREVER,
                         .timeout = timeout,
                         .max_jobs = o.max_jobs,
                         .retries = o.retries};
  return ISOLUA_OK;
}

int il_recipe_pool(isolua_host *host, const isolua_options *o, const isolua_pool_options *limits,
                   il_recipe *r, il_pool **pool) {
  il_pool_limits most;
  int err = limits_of(limits, o->timeout, &most);
  if (err != ISOLUA_OK) return err;
  *pool = il_pool_new(host, &most, o->name != NULL ? o->name : "pool");
  if (*pool == NULL) return ISOLUA_MEMORY;
  (*pool)->starting = r;
  (*pool)->start = start;
  (*pool)->fini = recipe_fini;
  return ISOLUA_OK;
}

/* An error object is pushed when something cannot go along. */
static int fill_recipe(il_vm *vm, lua_State *L, const isolua_run_options *o, il_recipe **box) {
  int err = il_recipe_new(vm->host, &o->base, box);
  il_recipe *r = *box;
  if (err == ISOLUA_OK) {
    r->capture = !o->no_globals;
    r->strip = o->strip != 0;
    r->errors_go_on = o->errors_go_on != 0;
    r->task->search = il_search_of(vm, L);
    return il_encode_setup(vm, L, o, r->task);
  }
  isolua_pusherror(L, err, isolua_code_message(err), vm->isolate->name);
  return err;
}

int isolua_pool_push(lua_State *L, const isolua_run_options *options,
                     const isolua_pool_options *limits) {
  il_vm *vm = il_vm_check(L);
  il_recipe **box;
  il_pool *p;
  int err;
  il_loop_check_open(vm, L);
  box = push_recipe(L);
  err = fill_recipe(vm, L, options, box);
  if (err != ISOLUA_OK) {
    lua_remove(L, -2);
    return err;
  }
  err = il_recipe_pool(vm->host, &options->base, limits, *box, &p);
  if (err != ISOLUA_OK)
    return err == ISOLUA_MEMORY ? isolua_memoryerror(L)
                                : luaL_error(L, "%s", isolua_code_message(err));
  *box = NULL;
  il_handle_push_held(L, &p->h, &p->h);
  lua_remove(L, -2);
  return ISOLUA_OK;
}

isolua_pool *isolua_pool_of(lua_State *L, int index) {
  il_handle *h = il_handle_test(L, index);
  return h != NULL && h->type == &il_pool_type ? (il_pool *)h : NULL;
}

int isolua_pool_is_own(lua_State *L, isolua_pool *p) {
  il_isolate *i = il_vm_check(L)->isolate;
  return i->hooks == &il_hand_hooks && ((il_hand *)i->served)->pool == p;
}

int isolua_cores(void) {
  return il_cpu_count();
}

/* -- Jobs -------------------------------------------------------------------------------------- */

/* A job on its way into the queue. */
typedef struct job_box {
  il_work *work; /* one hold, or NULL */
  il_moves *moves;
} job_box;

/* __gc and __close: the submit was left. If the job is in all the same, it runs. */
static int job_gc(lua_State *L) {
  job_box box = *(job_box *)lua_touserdata(L, 1);
  il_vm *vm = il_vm_of(L);
  bool out;
  *(job_box *)lua_touserdata(L, 1) = (job_box){NULL, NULL};
  if (box.work == NULL) return 0;
  out = il_pool_withdraw(box.work->pool, box.work);
  il_work_release(box.work);
  if (vm == NULL) return 0;
  if (out)
    il_moves_undo(vm, box.moves);
  else
    il_moves_done(vm, box.moves);
  return 0;
}

/* Light userdata: the box's content. Returns a userdata with it. */
static int new_job_box(lua_State *L) {
  const job_box *from = lua_touserdata(L, 1);
  job_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = (job_box){NULL, NULL};
  il_newtype(L, "isolate.job", job_gc, true);
  lua_setmetatable(L, -2);
  *box = *from;
  return 1;
}

/* It is in. */
static isolua_future *take_future(il_vm *vm, il_work *w, il_moves *moves) {
  il_moves_done(vm, moves);
  il_future_retain(&w->future);
  il_work_release(w);
  return &w->future;
}

/* Pushes a userdata that keeps the job, which waits for room; or an error object. Or it is in by now. */
static int push_job_box(il_vm *vm, lua_State *L, job_box *box, isolua_future **future) {
  lua_pushcfunction(L, new_job_box);
  lua_pushlightuserdata(L, box);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return ISOLUA_FULL;
  lua_pop(L, 1);
  if (!il_pool_withdraw(box->work->pool, box->work)) {
    *future = take_future(vm, box->work, box->moves);
    return ISOLUA_OK;
  }
  il_work_release(box->work);
  il_moves_undo(vm, box->moves);
  isolua_pusherror(L, ISOLUA_MEMORY, isolua_code_message(ISOLUA_MEMORY), vm->isolate->name);
  return ISOLUA_MEMORY;
}

static void name_work(il_work *w, const lua_Debug *ar) {
  w->line = ar->what[0] == 'C' ? -1 : ar->linedefined;
  memcpy(w->source, ar->short_src, sizeof w->source < LUA_IDSIZE ? sizeof w->source : LUA_IDSIZE);
  w->source[sizeof w->source - 1] = '\0';
}

/* A job of the function that `ar` tells of; NULL: no memory. */
static il_work *new_work(il_pool *p, const isolua_submit_options *o, const lua_Debug *ar) {
  il_work *w = il_work_new(p);
  if (w == NULL) return NULL;
  if (o->base.name != NULL && (w->name = strdup(o->base.name)) == NULL) {
    il_work_release(w);
    return NULL;
  }
  if (o->base.name == NULL) name_work(w, ar);
  w->timeout = o->base.timeout != 0 ? o->base.timeout : p->o.timeout;
  w->priority = o->base.priority;
  w->retries = p->o.retries;
  return w;
}

/* Nothing of Lua raises from here on until the job is in, or its userdata keeps it. */
static int send_job(il_vm *vm, lua_State *L, job_box box, bool wait, isolua_future **future) {
  il_work *w = box.work;
  isolua_future *f = &w->future;
  int err;
  if (!il_moves_begin(box.moves)) { /* an __isolate_pack sent or closed it */
    il_work_release(w);
    il_moves_undo(vm, box.moves);
    isolua_pusherror(L, ISOLUA_TRANSFERRED, "the buffer was transferred to another isolate", NULL);
    return ISOLUA_TRANSFERRED;
  }
  il_future_retain(f); /* not after it is sent: then it is other threads' */
  err = il_pool_send(w->pool, w, wait);
  if (err == ISOLUA_OK) {
    il_moves_done(vm, box.moves);
    *future = f;
    return err;
  }
  il_future_release(f);
  if (err == ISOLUA_FULL && wait) return push_job_box(vm, L, &box, future);
  il_work_release(w);
  il_moves_undo(vm, box.moves);
  if (err == ISOLUA_MEMORY) isolua_pusherror(L, err, isolua_code_message(err), vm->isolate->name);
  return err;
}

int isolua_job_submit(lua_State *L, isolua_pool *p, const isolua_submit_options *o, int index,
                      int nargs, isolua_future **future) {
  il_vm *vm = il_vm_check(L);
  const il_recipe *r = p->starting;
  il_sending how = {.root = IL_ROOT_CALL,
                    .libs = r->task->libs,
                    .capture = r->capture,
                    .strip = r->strip,
                    .share = true,
                    .hidden = o->hidden};
  job_box box;
  il_msg *call;
  lua_Debug ar;
  int err;
  il_loop_check_open(vm, L);
  luaL_checkstack(L, 10, NULL);
  lua_pushvalue(L, index + o->hidden);
  lua_getinfo(L, ">S", &ar);
  err = il_encode_waiting(vm, L, nargs + 1, &how, &call, &box.moves);
  if (err != ISOLUA_OK) return err;
  box.work = new_work(p, o, &ar);
  if (box.work != NULL) {
    box.work->call = call;
    return send_job(vm, L, box, o->wait != 0, future);
  }
  il_msg_free(call);
  il_moves_undo(vm, box.moves);
  isolua_pusherror(L, ISOLUA_MEMORY, isolua_code_message(ISOLUA_MEMORY), vm->isolate->name);
  return ISOLUA_MEMORY;
}

isolua_future *isolua_job_room(lua_State *L, int index) {
  const job_box *box = lua_touserdata(L, index);
  return box->work->admitted;
}

int isolua_job_take(lua_State *L, int index, isolua_future **future) {
  il_vm *vm = il_vm_check(L);
  job_box *box = lua_touserdata(L, index), mine = *box;
  if (mine.work->admitted->result.code != ISOLUA_OK) return ISOLUA_CLOSED;
  *box = (job_box){NULL, NULL};
  *future = take_future(vm, mine.work, mine.moves);
  return ISOLUA_OK;
}
