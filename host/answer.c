/* answer.c - where the code of an isolate is, and what others evaluate in it. */
/* SPDX-License-Identifier: MIT */

/*
** DESIGN. The question is answered on the isolate's thread, in a hook of its busy code or in a wait. A
** hook disturbs nothing: what is evaluated runs in a coroutine of its own, whose hook looks now and then
** whether the asker has given up. Its waits are refused: they would run the rest of the isolate in the
** middle of something.
** A kill that comes meanwhile unwinds that coroutine; it is then not acknowledged any more, and goes on
** with what the isolate does itself.
*/

#include "answer.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "codec.h"
#include "kill.h"
#include "loop.h"

/* Tasks that wait whose tracebacks are told; instructions between two looks at whether it is cancelled. */
enum { TOLD = 5, LOOK = 1000 };

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

/* -- Evaluating -------------------------------------------------------------------------------- */

/* Once it is cancelled, every instruction raises: no pcall goes on for long. */
static void look(lua_State *L, lua_Debug *ar) {
  il_vm *vm = il_vm_of(L);
  (void)ar;
  if (vm->asked == NULL || !il_future_is_done(vm->asked->answer)) return;
  lua_sethook(L, look, LUA_MASKCOUNT, 1);
  luaL_error(L, "cancelled");
}

/* Pushes the compiled source, or a message. [-0, +1, m] */
static int load_source(lua_State *L, const char *source) {
  int status;
  lua_pushfstring(L, "return %s", source);
  status = luaL_loadbufferx(L, lua_tostring(L, -1), lua_rawlen(L, -1), "=repl", "t");
  lua_remove(L, -2);
  if (status == LUA_OK) return status;
  lua_pop(L, 1);
  return luaL_loadbufferx(L, source, strlen(source), "=repl", "t");
}

/* What cannot be sent goes as a string. [-0, +0, e] */
static void make_sendable(lua_State *L, int index) {
  if (isolua_sendable(L, index)) return;
  lua_settop(L, -2); /* the error */
  luaL_tolstring(L, index, NULL);
  lua_replace(L, index);
}

/* Stack: …, the coroutine, which has ended. Moves what it gave to L: how many. [-0, +n, m] */
static int move_results(lua_State *L, lua_State *co, int n) {
  luaL_checkstack(L, n + LUA_MINSTACK, "too many results");
  lua_xmove(co, L, n);
  return n;
}

/* Pushes true and results, or false and a message: how many. [-0, +n, e] */
static int evaluate(il_vm *vm, lua_State *L, const il_question *q) {
  const il_question *outer = vm->asked;
  lua_State *co = lua_newthread(L);
  int status, n = 1;
  lua_sethook(co, look, LUA_MASKCOUNT, LOOK);
  lua_pushboolean(L, 0);
  if (load_source(L, q->text) != LUA_OK) return 2;
  lua_xmove(L, co, 1);
  vm->asked = q;
  status = il_vm_resume(vm, L, co, 0, &n);
  vm->asked = outer;
  if (status == LUA_OK) {
    int base = lua_gettop(L);
    lua_pushboolean(L, 1);
    lua_replace(L, base);
    n = move_results(L, co, n);
    for (int i = 1; i <= n; i++) make_sendable(L, base + i);
    return n + 1;
  }
  if (status == LUA_YIELD) {
    lua_pushliteral(L, "what is evaluated from outside cannot yield");
  } else {
    luaL_tolstring(co, -1, NULL);
    lua_xmove(co, L, 1);
  }
  il_vm_close_coroutine(co);
  return 2;
}

/* -- The answer -------------------------------------------------------------------------------- */

typedef struct work {
  il_vm *vm;
  il_question *question;
  il_result *result;
} work;

/* The work is a light userdata. [a lua_CFunction] */
static int answer(lua_State *L) {
  static const il_sending how = {.root = IL_ROOT_RESULT, .libs = IL_LIBS_ALL};
  work *w = lua_touserdata(L, 1);
  int n = 1;
  lua_settop(L, 0);
  switch (w->question->what) {
  case IL_WHERE: push_where(w->vm, L); break;
  case IL_TRACEBACK: push_traceback(w->vm, L); break;
  default: n = evaluate(w->vm, L, w->question); break;
  }
  w->result->code = il_encode(w->vm, L, n, &how, &w->result->msg);
  if (w->result->code != ISOLUA_OK) { /* an error object */
    lua_getfield(L, -1, "message");
    w->result->message = strdup(luaL_tolstring(L, -1, NULL));
  }
  return 0;
}

/* Without the heap's cap: it is not the isolate's doing. */
void il_answer(il_vm *vm, lua_State *L, il_question *q, il_result *r) {
  work w = {vm, q, r};
  size_t cap = vm->cap;
  bool before = il_vm_unwinding(vm);
  int top = lua_gettop(L);
  r->code = ISOLUA_MEMORY;
  if (!lua_checkstack(L, LUA_MINSTACK)) return;
  vm->cap = q->what == IL_EVAL ? cap : 0;
  lua_pushcfunction(L, answer);
  lua_pushlightuserdata(L, &w);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    il_result_fini(r);
    *r = (il_result){ISOLUA_MEMORY, NULL, NULL, NULL};
  }
  lua_settop(L, top);
  vm->cap = cap;
  if (before || !il_vm_unwinding(vm)) return;
  il_result_fini(r); /* the end came first */
  *r = (il_result){vm->isolate->is_main ? ISOLUA_INTERRUPTED : ISOLUA_CLOSED, NULL, NULL, NULL};
  il_vm_unwind_again(vm);
}
