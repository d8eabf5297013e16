/* kill.c - stopping Lua code: the signal, the hook, and the functions that must not swallow it. */
/* SPDX-License-Identifier: MIT */
#include "kill.h"

#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vm_host.h"

/*
** DESIGN. Nothing watches running Lua code, so being killable costs nothing. To stop an isolate its
** thread gets a signal; the handler, on that thread, sets a hook on the coroutine that runs, which
** raises at the next instruction. lua_sethook is made for that (lua.c uses it so).
**  - What is raised is the memory error: no message handler runs, nothing is allocated, and `pcall`,
**    `xpcall`, `load` and `coroutine.*` of isolates are ours and pass it on when they were entered
**    before it was raised. One entered later, in a closer, is ordinary. So one raise unwinds
**    everything: `acknowledged`. Code of a C library that catches it runs on until the grace is over; then the
**    hook stays (IL_HARD) and every instruction raises.
**  - Which coroutine runs is known to our resume only. A hook set on one that has just ended is lost;
**    the watchdog signals again.
**  - Lua clears allowhook while a hook or a finalizer (__gc) runs, and then calls no hook. The handler
**    sets it again; what is raised there is swallowed by the collector, so it does not count as
**    acknowledged.
**  - A future of main: Ctrl-C comes the same way, as an ordinary error that may be caught. But that of
**    isolua_break is the memory error too, which isolua_breakable makes `interrupted`.
*/
static __attribute__((tls_model("initial-exec"))) _Thread_local il_vm *current;

static size_t allowhook; /* offset of the byte in a lua_State; 0: not found */
static char memory_error_key;

void il_vm_current(il_vm *vm) {
  current = vm;
  vm->stirred = true;
  if (vm->isolate != NULL) il_vm_on_signal();
}

void il_vm_not_current(const il_vm *vm) {
  if (current == vm) current = NULL;
}

bool il_vm_is_inside(const isolua_host *host) {
  const il_vm *vm = current;
  return vm != NULL && vm->host == host && vm->isolate != NULL && !vm->isolate->is_main;
}

int il_vm_dying(const il_vm *vm) {
  return atomic_load_explicit(&vm->isolate->dying, memory_order_acquire);
}

bool il_vm_unwinding(const il_vm *vm) {
  return vm->breaking || atomic_load_explicit(&vm->isolate->acknowledged, memory_order_acquire);
}

static bool hard(const il_vm *vm) {
  return atomic_load_explicit(&vm->isolate->phase, memory_order_acquire) == IL_HARD;
}

bool il_vm_wanted(il_vm *vm) {
  if (atomic_load_explicit(&vm->isolate->interrupted, memory_order_acquire)) return true;
  return il_vm_dying(vm) != 0 && (hard(vm) || !il_vm_unwinding(vm));
}

/* The string that lua_error knows for the memory error. */
static int raise_memory_error(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &memory_error_key);
  return lua_error(L);
}

int il_vm_cancel(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &memory_error_key) == LUA_TNIL)
    return luaL_error(L, "cancelled");
  return lua_error(L);
}

/* Does a finalizer run on L? Lua calls the frame of one `__gc`; it is not looked for deeper than this. */
static bool in_finalizer(lua_State *L) {
  enum { LEVELS = 200 };
  lua_Debug ar;
  for (int level = 0; level < LEVELS && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "n", &ar);
    if (ar.name != NULL && strcmp(ar.name, "__gc") == 0) return true;
  }
  return false;
}

static void on_hook(lua_State *L, lua_Debug *ar);

/* From here on what is raised unwinds all, and no hook disturbs closers. But the collector swallows what
** a finalizer raises: there the hook waits for what comes after it. */
static void acknowledge(il_vm *vm, lua_State *L) {
  bool lost = in_finalizer(L);
  if (hard(vm)) return;
  atomic_store_explicit(&vm->isolate->acknowledged, !lost, memory_order_release);
  if (lost)
    lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
  else
    lua_sethook(L, NULL, 0, 0);
}

static int raise_interrupted(il_vm *vm, lua_State *L) {
  isolua_pusherror(L, ISOLUA_INTERRUPTED, "interrupted", vm->isolate->name);
  return lua_error(L);
}

/* Where it was when it was stopped. Memory may lack: what that raises unwinds as well. */
static void note_traceback(il_vm *vm, lua_State *L) {
  if (!lua_checkstack(L, LUA_MINSTACK)) return;
  luaL_traceback(L, L, vm->isolate->is_main ? "interrupted" : NULL, 0);
  free(vm->traceback);
  vm->traceback = strdup(lua_tostring(L, -1));
  lua_pop(L, 1);
}

/* What a finalizer raises is swallowed: the hook goes on. */
static int raise_break(il_vm *vm, lua_State *L) {
  if (!vm->breaking) {
    vm->breaking = true;
    note_traceback(vm, L);
  }
  if (in_finalizer(L)) {
    atomic_store(&vm->isolate->interrupted, true);
    lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
  }
  return raise_memory_error(L);
}

int il_vm_raise(il_vm *vm, lua_State *L) {
  if (atomic_exchange(&vm->isolate->interrupted, false)) {
    if (vm->breaking || atomic_load(&vm->breaks)) return raise_break(vm, L);
    return raise_interrupted(vm, L);
  }
  if (vm->breaking) return raise_break(vm, L);
  acknowledge(vm, L);
  return raise_memory_error(L);
}

bool il_vm_interrupt_again(il_vm *vm, lua_State *L, int index) {
  bool is = false;
  index = lua_absindex(L, index);
  if (vm->breaking) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &memory_error_key);
    is = lua_rawequal(L, -1, index);
    lua_pop(L, 1);
    if (is) atomic_store(&vm->isolate->interrupted, true);
    return is;
  }
  if (!vm->isolate->is_main || !lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
  il_error_metatable_push(L);
  if (lua_rawequal(L, -1, -2)) {
    lua_pushliteral(L, "code");
    lua_rawget(L, index);
    lua_pushstring(L, isolua_code_name(ISOLUA_INTERRUPTED));
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  lua_pop(L, 2);
  if (is) atomic_store(&vm->isolate->interrupted, true);
  return is;
}

/* Acknowledged first, so that the signal of this kill finds nothing to do; but what a finalizer raises
** is swallowed, so there the signal is needed. */
int il_vm_end(il_vm *vm, lua_State *L, int code) {
  if (!in_finalizer(L))
    atomic_store_explicit(&vm->isolate->acknowledged, true, memory_order_release);
  il_isolate_kill(vm->isolate, code, IL_GRACE);
  return raise_memory_error(L);
}

/* -- The hook ---------------------------------------------------------------------------------- */

/* The user's hook comes back, if it was in this coroutine. A signal meanwhile does not save it anew. */
static void unhook(il_vm *vm, lua_State *L) {
  lua_Hook hook = vm != NULL && vm->hooked == L ? (lua_Hook)vm->hook : NULL;
  if (vm != NULL) vm->hook = NULL;
  if (hook != NULL)
    lua_sethook(L, hook, vm->hook_mask, vm->hook_count);
  else
    lua_sethook(L, NULL, 0, 0);
}

/* Whoever gets the answer may ping again at once: that signal's hook must not be taken for this one. So the
** answer is given once this one is gone. */
static void answer_busy(il_vm *vm, lua_State *L) {
  if (atomic_load_explicit(&vm->isolate->control.pinged, memory_order_acquire))
    il_vm_answer(vm, L, false);
}

void il_vm_answer(il_vm *vm, lua_State *L, bool idle) {
  il_question *q;
  for (;;) {
    il_result r = {ISOLUA_OK, NULL, NULL, NULL};
    enum il_takes which = idle ? IL_TAKE_ALL : vm->depth < IL_DEPTH ? IL_TAKE_BUSY : IL_TAKE_NESTED;
    if (il_vm_wanted(vm)) return;
    q = il_control_take(&vm->isolate->control, which);
    if (q == NULL) return;
    if (q->what != IL_PING && q->what != IL_PING_IDLE && !il_future_is_done(q->answer))
      vm->answer(vm, L, q, &r);
    il_question_settle(&vm->isolate->control, q, &r);
  }
}

static void on_hook(lua_State *L, lua_Debug *ar) {
  il_vm *vm = current;
  (void)ar;
  if (vm == NULL || !il_vm_wanted(vm)) {
    unhook(vm, L);
    if (vm != NULL) answer_busy(vm, L);
    return;
  }
  atomic_store_explicit(&vm->isolate->signals, 0, memory_order_relaxed); /* it is in Lua */
  if (vm->isolate->is_main)
    lua_sethook(L, NULL, 0, 0);
  else
    acknowledge(vm, L);
  if (!vm->isolate->is_main && !hard(vm)) note_traceback(vm, L);
  il_vm_raise(vm, L);
}

/* A question leaves the user's hook as it was. Is there one? */
IL_IN_SIGNAL static bool keep_hook(il_vm *vm, lua_State *L) {
  lua_Hook hook = lua_gethook(L);
  if (hook == on_hook) return vm->hook != NULL && vm->hooked == L;
  vm->hook = NULL;
  if (hook == NULL) return false;
  vm->hook_mask = lua_gethookmask(L);
  vm->hook_count = lua_gethookcount(L);
  vm->hooked = L;
  vm->hook = hook;
  return true;
}

/* il_vm_wanted. */
IL_IN_SIGNAL static bool wanted(const il_isolate *i) {
  if (atomic_load_explicit(&i->interrupted, memory_order_acquire)) return true;
  return atomic_load_explicit(&i->dying, memory_order_acquire) != 0 &&
         (atomic_load_explicit(&i->phase, memory_order_acquire) == IL_HARD ||
          !atomic_load_explicit(&i->acknowledged, memory_order_acquire));
}

/* Code that is evaluated may have taken its hook away, or be in a finalizer: it looks in any case. Once it
** is cancelled the hook has a count of its own. */
IL_IN_SIGNAL static void look_soon(il_vm *vm, lua_State *L) {
  if (lua_gethook(L) != vm->look || (lua_gethookcount(L) == IL_LOOK && !vm->stopped))
    lua_sethook(L, vm->look, LUA_MASKCOUNT, IL_LOOK_SOON);
  if (allowhook != 0) {
    volatile unsigned char *allow = (unsigned char *)L + allowhook;
    *allow = 1;
  }
}

/* To set a hook is to visit each call of the stack, which takes longer than the next signal does to come where
** there are 200,000: one that is set is left alone by ever more, or the thread would get to nothing else. Not by all:
** where Lua has just seen that it has no hook, it notes that (luaG_traceexec), and overlooks one set meanwhile. */
IL_IN_SIGNAL static void set_hook(il_vm *vm, lua_State *L) {
  enum { LEAVE_FIRST = 8, LEAVE_LAST = 64 };
  bool is_set =
    lua_gethook(L) == on_hook && lua_gethookmask(L) == LUA_MASKCOUNT && lua_gethookcount(L) == 1;
  if (is_set && ++vm->left_alone < vm->leave_alone) return;
  vm->leave_alone = !is_set                        ? LEAVE_FIRST
                    : vm->leave_alone < LEAVE_LAST ? 2 * vm->leave_alone
                                                   : LEAVE_LAST;
  vm->left_alone = 0;
  lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
}

/* For a question hooks are let into a finalizer, but not into a user's hook: it would be called in
** itself. */
IL_IN_SIGNAL void il_vm_on_signal(void) {
  il_vm *vm = current;
  lua_State *L;
  bool users = false;
  if (vm == NULL || vm->isolate == NULL) return;
  L = vm->running;
  if (wanted(vm->isolate))
    atomic_fetch_add_explicit(&vm->isolate->signals, 1, memory_order_relaxed);
  else if (!il_control_owes(&vm->isolate->control))
    return;
  else if (vm->asked == NULL)
    users = keep_hook(vm, L);
  else {
    look_soon(vm, L);
    return;
  }
  vm->stirred = true;
  set_hook(vm, L);
  if (allowhook != 0 && !users) {
    volatile unsigned char *allow = (unsigned char *)L + allowhook;
    *allow = 1;
  }
}

/* -- Where allowhook is ------------------------------------------------------------------------ */

/* Behind the header of every collectable object (next, tt, marked) and before the stack pointers. */
enum { PROBE_FROM = 10, PROBE_TO = 24 };

static void probe_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  memcpy(*(void **)lua_getextraspace(L), L, PROBE_TO);
}

/* A hook is set, runs at the next instruction and copies the state's first bytes; the same bytes
** outside any hook tell which one differs. */
static void probe_hooks(lua_State *L) {
  unsigned char outside[PROBE_TO], inside[PROBE_TO];
  size_t found = 0;
  int candidates = 0;
  memset(inside, 1, sizeof inside);
  *(void **)lua_getextraspace(L) = inside;
  if (luaL_loadstring(L, "local x = 1 for i = 1, 10 do x = x + i end") == LUA_OK) {
    memcpy(outside, L, PROBE_TO);
    lua_sethook(L, probe_hook, LUA_MASKCOUNT, 1);
    if (lua_pcall(L, 0, 0, 0) == LUA_OK) {
      for (size_t i = PROBE_FROM; i < PROBE_TO; i++) {
        if (outside[i] == 1 && inside[i] == 0) {
          candidates++;
          found = i;
        }
      }
    }
  }
  if (candidates == 1) allowhook = found;
}

/* -- Where the size of a table's array part is --------------------------------------------------- */

/* The field `alimit` (32 bits) of a Table, behind its header; 0: not found. It is at most the size of
** the array part, and after lua_rawlen no less than a border in that part: lobject.h, ltable.c. */
static size_t array_limit;
enum { TABLE_FROM = 10, TABLE_TO = 32 };

static void probe_table(lua_State *L) {
  /* Small: the first host of a program would wait for the pages of large ones. */
  static const uint32_t sizes[] = {0, 3, 37, 1000};
  unsigned char found[TABLE_TO];
  int candidates = 0;
  memset(found, 1, sizeof found);
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    lua_createtable(L, (int)sizes[s], 0);
    for (size_t i = TABLE_FROM; i + 4 <= TABLE_TO; i++)
      if (memcmp((const char *)lua_topointer(L, -1) + i, &sizes[s], 4) != 0) found[i] = 0;
    lua_pop(L, 1);
  }
  for (size_t i = TABLE_FROM; i + 4 <= TABLE_TO; i++) {
    if (found[i]) {
      candidates++;
      array_limit = i;
    }
  }
  if (candidates != 1) array_limit = 0;
}

bool il_vm_is_array(lua_State *L, int index, lua_Unsigned n) {
  uint32_t limit;
  if (array_limit == 0) return false;
  memcpy(&limit, (const char *)lua_topointer(L, index) + array_limit, sizeof limit);
  return limit >= n;
}

/* -- Where the hash part of a table is ----------------------------------------------------------- */

/* Of a Table: the pointer to its nodes and the logarithm of their number; 0: not found. And of a node. */
static size_t nodes_at, nodes_log;
enum { NODE = 24, NODE_VALUE = 0, NODE_TYPE = 8, NODE_KEY_TYPE = 9, NODE_NEXT = 12, NODE_KEY = 16 };

/* What was allocated last. */
typedef struct last_block {
  void *p;
  size_t size;
} last_block;

static void probe_nodes(lua_State *L, const last_block *last) {
  enum { SIZES = 5, TO = 56 };
  bool pointer[TO] = {false}, log[TO] = {false};
  int pointers = 0, logs = 0;
  for (int n = 1; n <= SIZES; n++) {
    const char *t;
    lua_createtable(L, 0, 1 << n);
    t = lua_topointer(L, -1);
    for (size_t i = TABLE_FROM; i < TO; i++) {
      log[i] = (n == 1 || log[i]) && t[i] == n;
      pointer[i] = i + sizeof last->p <= TO && (n == 1 || pointer[i]) &&
                   memcmp(t + i, &last->p, sizeof last->p) == 0;
    }
    if (last->size != (size_t)NODE << n) pointers = TO; /* nothing is as it is known */
    lua_pop(L, 1);
  }
  for (size_t i = TABLE_FROM; i < TO; i++) {
    if (pointer[i]) {
      nodes_at = i;
      pointers++;
    }
    if (log[i]) {
      nodes_log = i;
      logs++;
    }
  }
  if (pointers != 1 || logs != 1) nodes_at = 0;
}

const void *il_vm_hash_of(lua_State *L, int index, size_t *size) {
  const char *t = lua_topointer(L, index);
  const void *nodes;
  if (nodes_at == 0 || array_limit == 0 || il_vm_is_array(L, index, 1)) return NULL;
  memcpy(&nodes, t + nodes_at, sizeof nodes);
  *size = (size_t)NODE << (unsigned char)t[nodes_log];
  return nodes;
}

/* Padding, and what lies in an empty node, are anything: but mostly they are the same too. */
bool il_vm_same_hash(const void *then, const void *now, size_t size) {
  const unsigned char *a = then, *b = now;
  if (memcmp(a, b, size) == 0) return true;
  for (const unsigned char *end = a + size; a < end; a += NODE, b += NODE) {
    if (a[NODE_TYPE] != b[NODE_TYPE]) return false;
    if ((a[NODE_TYPE] & 0x0f) == LUA_TNIL) continue;
    if (a[NODE_KEY_TYPE] != b[NODE_KEY_TYPE] || memcmp(a + NODE_NEXT, b + NODE_NEXT, 12) != 0 ||
        memcmp(a + NODE_VALUE, b + NODE_VALUE, 8) != 0)
      return false;
  }
  return true;
}

/* Zeroed memory, so that padding compares equal. */
static void *probe_alloc(void *ud, void *p, size_t osize, size_t nsize) {
  void *q = nsize > 0 ? calloc(1, nsize) : NULL;
  if (q != NULL) *(last_block *)ud = (last_block){q, nsize};
  if (p != NULL && (q != NULL || nsize == 0)) {
    if (q != NULL) memcpy(q, p, osize < nsize ? osize : nsize);
    free(p);
  }
  return q;
}

static void probe_all(void) {
  last_block last = {NULL, 0};
  lua_State *L = lua_newstate(probe_alloc, &last);
  if (L == NULL) return;
  probe_hooks(L);
  probe_table(L);
  probe_nodes(L, &last);
  lua_close(L);
}

void il_vm_probe(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, probe_all);
}

/* -- Protected calls --------------------------------------------------------------------------- */

/* Not "since it was told to end": a call entered after that and before the hook would swallow it. */
bool il_vm_passes(const il_vm *vm, bool before) {
  if (vm == NULL || vm->isolate == NULL || before) return false;
  return vm->isolate->is_main ? vm->breaking : il_vm_dying(vm) != 0;
}

/* Whatever raised first, the kill is under way now: the hook, if it has not fired, must not fire in a
** closer. */
int il_vm_pass_on(lua_State *L) {
  if (current != NULL && current->breaking) return raise_break(current, L);
  if (current != NULL) acknowledge(current, L);
  return raise_memory_error(L);
}

static bool unwinding(const il_vm *vm) {
  return vm != NULL && vm->isolate != NULL && il_vm_unwinding(vm);
}

/* Stack: (true or handler), …; `skip` values lie below the results. */
static int finish_pcall(lua_State *L, int status, lua_KContext before) {
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L);
  if (il_vm_passes(current, before != 0)) return il_vm_pass_on(L);
  lua_pushboolean(L, 0);
  lua_pushvalue(L, -2);
  return 2;
}

static int safe_pcall(lua_State *L) {
  bool before = unwinding(current);
  int status;
  luaL_checkany(L, 1);
  lua_pushboolean(L, 1);
  lua_insert(L, 1);
  status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, before, finish_pcall);
  return finish_pcall(L, status, before);
}

static int finish_xpcall(lua_State *L, int status, lua_KContext before) {
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - 1; /* all but the handler */
  return finish_pcall(L, status, before);
}

static int safe_xpcall(lua_State *L) {
  bool before = unwinding(current);
  int status, n = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2); /* f, handler, true, f, arguments */
  lua_remove(L, 1);
  status = lua_pcallk(L, n - 2, LUA_MULTRET, 1, before, finish_xpcall);
  return finish_xpcall(L, status, before);
}

void il_vm_text_mode(lua_State *L, int index) {
  const char *mode = luaL_optstring(L, index, "t");
  if (lua_gettop(L) < index) lua_settop(L, index);
  lua_pushstring(L, strchr(mode, 't') != NULL ? "t" : "");
  lua_replace(L, index);
}

/* load with a reader function catches what that raises. */
static int safe_load(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  bool before = unwinding(current);
  if ((vm->forbid & ISOLUA_NO_BYTECODE) != 0) il_vm_text_mode(L, 3);
  lua_pushcfunction(L, il_std_named(vm->host->std, "load"));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  if (il_vm_passes(current, before)) return il_vm_pass_on(L);
  return lua_gettop(L);
}

/* -- Coroutines -------------------------------------------------------------------------------- */

static lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co != NULL, 1, "coroutine");
  return co;
}

/* A signal that came while the other one ran has set the hook there, and kept that one's: it comes
** back, unless the code has set another one since, and the hook is set here. Where there are no
** signals it is always looked. */
static void stir(il_vm *vm, lua_State *L) {
  vm->stirred = vm->asked != NULL || vm->host->workers.sig <= 0;
  if (vm->hook != NULL && vm->hooked != L) {
    if (lua_gethook(vm->hooked) == on_hook) unhook(vm, vm->hooked);
    vm->hook = NULL;
  }
  if (atomic_load_explicit(&vm->isolate->control.pinged, memory_order_relaxed)) il_vm_on_signal();
}

static void note_running(il_vm *vm, lua_State *L) {
  vm->running = L;
  if (vm->stirred) stir(vm, L);
}

/* lua_resetthread does not count C calls, so closers that close one another are counted here. */
#define CLOSES_MAX 180 /* as LUAI_MAXCCALLS, less some */

int il_vm_close_coroutine(lua_State *co) {
  il_vm *vm = current;
  lua_State *outer;
  int status;
  if (vm == NULL) return lua_resetthread(co);
  outer = vm->running;
  note_running(vm, co);
  vm->closes++;
  status = lua_resetthread(co);
  vm->closes--;
  note_running(vm, outer);
  return status;
}

int il_vm_resume(il_vm *vm, lua_State *L, lua_State *co, int n, int *results) {
  lua_State *outer = vm->running;
  int status;
  if (vm->stirred && vm->asked != NULL && lua_gethook(co) == NULL)
    lua_sethook(co, vm->look, LUA_MASKCOUNT, IL_LOOK);
  note_running(vm, co);
  status = lua_resume(co, L, n, results);
  note_running(vm, outer);
  return status;
}

/* -- Coroutines and callbacks of C libraries ----------------------------------------------------- */

void isolua_running(lua_State *L, int index) {
  il_vm *vm = current;
  lua_State *co = lua_tothread(L, index);
  if (vm != NULL && vm == il_vm_of(L) && co != NULL) note_running(vm, co);
}

int isolua_dying(lua_State *L) {
  return unwinding(il_vm_of(L));
}

int isolua_ending(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  return unwinding(vm) || (vm != NULL && vm->loop.ending);
}

void isolua_pass_on(lua_State *L, int before) {
  if (il_vm_passes(current, before != 0)) il_vm_pass_on(L);
}

/* Not acknowledged any more: the watchdog goes on, and the next wait raises again. */
void il_vm_unwind_again(il_vm *vm) {
  if (vm->isolate->is_main)
    atomic_store(&vm->isolate->interrupted, true);
  else
    atomic_store_explicit(&vm->isolate->acknowledged, false, memory_order_release);
}

int isolua_callback(lua_State *L, int nargs, int nresults, int handler) {
  il_vm *vm = current;
  lua_State *outer = vm != NULL ? vm->running : NULL;
  bool wanted =
    vm != NULL && !vm->isolate->is_main && il_vm_wanted(vm); /* and nothing has raised yet */
  bool before = unwinding(vm);
  int status;
  if (vm != NULL) note_running(vm, L);
  status = lua_pcall(L, nargs, nresults, handler);
  if (vm != NULL) note_running(vm, outer);
  if (status == LUA_OK) return ISOLUA_OK;
  if (!wanted && !il_vm_passes(vm, before)) return ISOLUA_ERROR;
  lua_pop(L, 1);
  il_vm_unwind_again(vm);
  return ISOLUA_KILLED;
}

/* Resumes `co` with the `n` values on the top. The results, at least 0, or -1: an error on the top. */
static int resume(lua_State *L, lua_State *co, int n) {
  il_vm *vm = current;
  bool before = unwinding(vm);
  int status, results;
  if (!lua_checkstack(co, n)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, n);
  status = vm != NULL ? il_vm_resume(vm, L, co, n, &results) : lua_resume(co, L, n, &results);
  if (status == LUA_OK || status == LUA_YIELD) {
    if (!lua_checkstack(L, results + 1)) {
      lua_pop(co, results);
      lua_pushliteral(L, "too many results to resume");
      return -1;
    }
    lua_xmove(co, L, results);
    return results;
  }
  if (il_vm_passes(vm, before)) {
    if (lua_status(co) > LUA_YIELD) il_vm_close_coroutine(co); /* now: nobody will later */
    return il_vm_pass_on(L);
  }
  lua_xmove(co, L, 1);
  return -1;
}

static int co_resume(lua_State *L) {
  lua_State *co = check_coroutine(L);
  int n = resume(L, co, lua_gettop(L) - 1);
  lua_pushboolean(L, n >= 0);
  lua_insert(L, n >= 0 ? -(n + 1) : -2);
  return n >= 0 ? n + 1 : 2;
}

static int call_wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  bool before = unwinding(current);
  int n = resume(L, co, lua_gettop(L)), status;
  if (n >= 0) return n;
  status = lua_status(co);
  if (status != LUA_OK &&
      status != LUA_YIELD) { /* it failed, not the resume: close its variables */
    status = il_vm_close_coroutine(co);
    lua_xmove(co, L, 1);
    if (il_vm_passes(current, before)) return il_vm_pass_on(L);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int co_wrap(lua_State *L) {
  lua_State *co;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, call_wrapped, 1);
  return 1;
}

/* What coroutine.status says, for the cases that close needs. */
static const char *unclosable(lua_State *L, lua_State *co) {
  lua_Debug ar;
  if (co == L) return "running";
  if (lua_status(co) == LUA_OK && lua_getstack(co, 0, &ar)) return "normal";
  return NULL;
}

static int co_close(lua_State *L) {
  lua_State *co = check_coroutine(L);
  const char *state = unclosable(L, co);
  bool before = unwinding(current);
  int status;
  if (state != NULL) return luaL_error(L, "cannot close a %s coroutine", state);
  if (current != NULL && current->closes >= CLOSES_MAX) return luaL_error(L, "C stack overflow");
  status = il_vm_close_coroutine(co);
  if (il_vm_passes(current, before)) return il_vm_pass_on(L);
  lua_pushboolean(L, status == LUA_OK);
  if (status == LUA_OK) return 1;
  lua_xmove(co, L, 1);
  return 2;
}

static const luaL_Reg base_functions[] = {
  {"load", safe_load}, {"pcall", safe_pcall}, {"xpcall", safe_xpcall}, {NULL, NULL}};

static const luaL_Reg coroutine_functions[] = {
  {"resume", co_resume}, {"wrap", co_wrap}, {"close", co_close}, {NULL, NULL}};

void il_vm_name_control(il_std *std) {
  il_std_replace(std, "load", safe_load);
  il_std_replace(std, "pcall", safe_pcall);
  il_std_replace(std, "xpcall", safe_xpcall);
  il_std_replace(std, "coroutine.resume", co_resume);
  il_std_replace(std, "coroutine.wrap", co_wrap);
  il_std_replace(std, "coroutine.close", co_close);
}

void il_vm_open_control(lua_State *L) {
  lua_pushliteral(L, "not enough memory");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &memory_error_key);
  lua_pushglobaltable(L);
  luaL_setfuncs(L, base_functions, 0);
  if (lua_getfield(L, -1, "coroutine") == LUA_TTABLE) luaL_setfuncs(L, coroutine_functions, 0);
  lua_pop(L, 2);
}
