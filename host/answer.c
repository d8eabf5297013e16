/* answer.c - where the code of an isolate is, and what others evaluate in it. */
/* SPDX-License-Identifier: MIT */

/*
** DESIGN. The question is answered on the isolate's thread, in a hook of its busy code or in a
** wait.
**  - What is evaluated runs in a coroutine of its own, and so do the metamethods that its results
**    and errors call: no error of theirs gets past it, and they end when the asker gives up, for
**    which the coroutine's hook looks now and then. So do coroutines that it makes (they inherit
**    the hook) or resumes (il_vm_resume).
**  - Its waits are refused: they would run the rest of the isolate in the middle of something.
**  - Other questions are answered on top of it, by that hook; so is an evaluation, up to IL_DEPTH.
**  - A kill that comes meanwhile unwinds it; the kill is then not acknowledged any more, and goes
**    on with what the isolate does itself.
*/

#include "answer.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "codec.h"
#include "kill.h"
#include "loop.h"

/* Tasks that wait whose tracebacks are told. */
enum { TOLD = 5 };

/* -- Where it is ------------------------------------------------------------------------------- */

/* Pushes file:line, and the function's name, of the innermost function of Lua from `level` on; false:
** there is none. [-0, +1|0, m] */
static bool push_place(lua_State *L, lua_State *co, int level) {
  lua_Debug ar;
  for (; lua_getstack(co, level, &ar); level++) {
    lua_getinfo(co, "Sln", &ar);
    if (ar.currentline <= 0) continue;
    if (ar.name != NULL)
      lua_pushfstring(L, "%s:%d (%s)", ar.short_src, ar.currentline, ar.name);
    else
      lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
    return true;
  }
  return false;
}

/* Level 0 of L is the function that answers. [-0, +1, m] */
static void push_where(il_vm *vm, lua_State *L) {
  if (push_place(L, L, 1)) return;
  for (const il_coro *c = vm->loop.coros; c != NULL; c = c->behind)
    if (c->parked != NULL && push_place(L, c->co, 0)) return;
  lua_pushliteral(L, "its event loop");
}

static void add_traceback(lua_State *L, lua_State *co, const char *head, int level) {
  luaL_traceback(L, co, head, level);
  lua_pushliteral(L, "\n");
  lua_insert(L, -2);
  lua_concat(L, 3);
}

/* Of L; of the body below it, if L is a coroutine; of tasks that wait. [-0, +1, m] */
static void push_traceback(il_vm *vm, lua_State *L) {
  int n = 0;
  luaL_traceback(L, L, NULL, 1);
  if (L != vm->L) add_traceback(L, vm->L, "below that, in the body:", 0);
  for (const il_coro *c = vm->loop.coros; c != NULL && n < TOLD; c = c->behind) {
    if (c->parked == NULL || c->co == L) continue;
    add_traceback(L, c->co, "a task that waits:", 0);
    n++;
  }
}

/* -- The answer -------------------------------------------------------------------------------- */

typedef struct work {
  il_vm *vm;
  const il_question *question;
  il_result *result;
} work;

/* The `n` values on the top are the result. [-0, +0|1, e] */
static void give(work *w, lua_State *L, int n) {
  static const il_sending how = {.root = IL_ROOT_RESULT, .libs = IL_LIBS_ALL};
  il_result_fini(w->result);
  w->result->code = il_encode(w->vm, L, n, &how, &w->result->msg);
  if (w->result->code == ISOLUA_OK) return;
  if (lua_istable(L, -1)) lua_getfield(L, -1, "message"); /* an error object's */
  w->result->message = strdup(luaL_tolstring(L, -1, NULL));
}

/* -- Evaluating -------------------------------------------------------------------------------- */

/* Instructions that closers have once it is cancelled, unless they take the hook away; then each
** raises, and no pcall goes on for long. */
enum { CLOSERS = 1000 * IL_LOOK };

/* A coroutine that was left over has this hook still. Questions are answered here, not in the hook
** of a signal: what is short is not disturbed. */
void il_answer_look(lua_State *L, lua_Debug *ar) {
  il_vm *vm = il_vm_of(L);
  int count;
  (void)ar;
  if (vm == NULL || vm->asked == NULL) {
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  if (atomic_load_explicit(&vm->isolate->control.pinged, memory_order_acquire))
    il_vm_answer(vm, L, false);
  count = lua_gethookcount(L);
  if (il_future_is_done(vm->asked->answer)) {
    bool closers = count == IL_LOOK || (count == IL_LOOK_SOON && !vm->stopped);
    lua_sethook(L, il_answer_look, LUA_MASKCOUNT, closers ? CLOSERS : 1);
    vm->stopped = true;
    il_vm_cancel(L);
  }
  if (count == IL_LOOK_SOON) lua_sethook(L, il_answer_look, LUA_MASKCOUNT, IL_LOOK);
}

static bool is_at_end(const char *message) {
  size_t n = strlen(message), m = strlen("<eof>");
  return n >= m && strcmp(message + n - m, "<eof>") == 0;
}

/* Pushes the compiled source, or a message: that of an expression which is not all there, else that of
** statements. [-0, +1, m] */
static int load_source(lua_State *L, const char *source) {
  int status;
  lua_pushfstring(L, "return %s", source);
  status = luaL_loadbufferx(L, lua_tostring(L, -1), lua_rawlen(L, -1), "=:in", "t");
  lua_remove(L, -2);
  if (status == LUA_OK) return status;
  status = luaL_loadbufferx(L, source, strlen(source), "=:in", "t");
  if (status == LUA_OK || !is_at_end(lua_tostring(L, -2)))
    lua_remove(L, -2);
  else
    lua_pop(L, 1);
  return status;
}

/* The table of globals, which as a value is a name for that of whoever gets it, goes as a copy, with
** text for what is no scalar. [-0, +0, e] */
static void copy_globals(lua_State *L, int index) {
  lua_pushglobaltable(L);
  if (lua_rawequal(L, -1, index)) {
    lua_newtable(L);
    lua_replace(L, index);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
      int type = lua_type(L, -1);
      luaL_tolstring(L, -2, NULL);
      if (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN)
        lua_pushvalue(L, -2);
      else
        luaL_tolstring(L, -2, NULL);
      lua_rawset(L, index);
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

/* What cannot be sent goes as a string. [-0, +0, e] */
static void make_sendable(lua_State *L, int index) {
  if (isolua_sendable(L, index)) return;
  lua_settop(L, -2); /* the error */
  luaL_tolstring(L, index, NULL);
  lua_replace(L, index);
}

/* Stack: what the code gave, or raised. [a continuation] */
static int evaluated(lua_State *L, int status, lua_KContext ctx) {
  int n = lua_gettop(L);
  luaL_checkstack(L, LUA_MINSTACK, "too many results");
  if (status == LUA_OK) {
    for (int i = 1; i <= n; i++) {
      copy_globals(L, i);
      make_sendable(L, i);
    }
  } else {
    luaL_tolstring(L, -1, NULL);
    lua_replace(L, 1);
    lua_settop(L, n = 1);
  }
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 1);
  give((work *)ctx, L, n + 1);
  return 0;
}

/* The body of the coroutine of an evaluation: all that runs code of the isolate is in there, so
** that it can be cancelled. The work is a light userdata. [a lua_CFunction] */
static int evaluation(lua_State *L) {
  work *w = lua_touserdata(L, 1);
  int status;
  lua_settop(L, 0);
  status = load_source(L, w->question->text);
  if (status == LUA_OK) status = lua_pcallk(L, 0, LUA_MULTRET, 0, (lua_KContext)w, evaluated);
  return evaluated(L, status, (lua_KContext)w);
}

/* Pushes why the coroutine has not given a result. Of an error object that is no string nothing
** more is asked. [-0, +1, m] */
static void push_problem(lua_State *L, lua_State *co, int status) {
  if (status == LUA_YIELD)
    lua_pushliteral(L, "what is evaluated from outside cannot yield");
  else if (lua_type(co, -1) == LUA_TSTRING)
    lua_xmove(co, L, 1);
  else
    lua_pushfstring(L, "(error object is a %s value)", luaL_typename(co, -1));
}

/* [-0, +n, e] */
static void evaluate(work *w, lua_State *L) {
  il_vm *vm = w->vm;
  lua_State *co = lua_newthread(L);
  int status, n;
  lua_sethook(co, il_answer_look, LUA_MASKCOUNT, IL_LOOK);
  lua_pushcfunction(co, evaluation);
  lua_pushlightuserdata(co, w);
  status = il_vm_resume(vm, L, co, 1, &n);
  if (status != LUA_OK) {
    lua_pushboolean(L, 0);
    push_problem(L, co, status);
    il_vm_close_coroutine(co);
  }
  if (status != LUA_OK) give(w, L, 2);
}

/* -- What is asked ----------------------------------------------------------------------------- */

/* The work is a light userdata. [a lua_CFunction] */
static int answer(lua_State *L) {
  work *w = lua_touserdata(L, 1);
  lua_settop(L, 0);
  if (w->question->what == IL_EVAL) {
    evaluate(w, L);
    return 0;
  }
  if (w->question->what == IL_WHERE)
    push_where(w->vm, L);
  else
    push_traceback(w->vm, L);
  give(w, L, 1);
  return 0;
}

/* Without the heap's cap: it is not the isolate's doing. One that was told to end meanwhile has
** ended, to whoever asks, and goes on with that. */
void il_answer(il_vm *vm, lua_State *L, il_question *q, il_result *r) {
  work w = {vm, q, r};
  const il_question *outer = vm->asked;
  bool stopped = vm->stopped;
  size_t cap = vm->cap;
  bool before = il_vm_unwinding(vm);
  int top = lua_gettop(L), code = ISOLUA_MEMORY;
  r->code = code;
  if (!lua_checkstack(L, LUA_MINSTACK)) return;
  if (q->what == IL_EVAL) {
    vm->asked = q;
    vm->stopped = false;
    vm->stirred = true;
    vm->depth++;
  } else {
    vm->cap = 0;
  }
  lua_pushcfunction(L, answer);
  lua_pushlightuserdata(L, &w);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) code = r->code;
  lua_settop(L, top);
  if (q->what == IL_EVAL) vm->depth--;
  vm->asked = outer;
  vm->stopped = stopped;
  vm->cap = cap;
  if (!before && il_vm_unwinding(vm)) {
    il_vm_unwind_again(vm);
    if (!vm->isolate->is_main) code = ISOLUA_CLOSED;
  }
  if (code == r->code) return;
  il_result_fini(r);
  r->code = code;
}
