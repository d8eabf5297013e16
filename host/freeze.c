/* freeze.c - isolua_lua.h: frozen tables, for code that has a lua_State. */
/* SPDX-License-Identifier: MIT */
#include "freeze.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "codec.h"
#include "names.h"

static char frozen_mark; /* its address, in a userdata of the right size: a frozen table */

typedef struct userdata {
  const void *mark;
  il_frozen_table *table; /* one hold on what it belongs to; NULL: not made to the end */
  size_t charged;         /* bytes that count for the isolate that froze it */
} userdata;

static userdata *test(lua_State *L, int index) {
  userdata *u;
  if (lua_rawlen(L, index) != sizeof *u || lua_type(L, index) != LUA_TUSERDATA) return NULL;
  u = lua_touserdata(L, index);
  return u->mark == &frozen_mark ? u : NULL;
}

il_frozen_table *il_freeze_test(lua_State *L, int index) {
  const userdata *u = test(L, index);
  return u != NULL ? u->table : NULL;
}

static int frozen_gc(lua_State *L) {
  userdata *u = lua_touserdata(L, 1);
  il_vm *vm = il_vm_of(L);
  if (u->table != NULL) il_handle_release(&il_frozen_of(u->table)->h);
  if (vm != NULL) il_uncharge(vm, u->charged);
  u->table = NULL;
  u->charged = 0;
  return 0;
}

int isolua_newfrozentype(lua_State *L, const char *name) {
  return il_newtype(L, name, frozen_gc, false);
}

/* What is made when the state closes would never be collected. [-0, +0, v] */
static void check_open(lua_State *L) {
  if (il_vm_check(L)->loop.closed)
    luaL_error(L, "the isolate is ending: it gets no frozen table any more");
}

/* One without a table. [-0, +1, e] */
static userdata *push_userdata(lua_State *L) {
  userdata *u;
  check_open(L);
  u = lua_newuserdatauv(L, sizeof *u, 1);
  memset(u, 0, sizeof *u);
  u->mark = &frozen_mark;
  il_handle_pushtype(L, ISOLUA_TFROZEN);
  lua_setmetatable(L, -2);
  return u;
}

void il_freeze_push(lua_State *L, il_frozen_table *t) {
  userdata *u;
  luaL_checkstack(L, 8, NULL);
  il_interned_push(L);
  if (lua_rawgetp(L, -1, t) == LUA_TUSERDATA && il_freeze_test(L, -1) == t) {
    lua_replace(L, -2);
    return;
  }
  lua_pop(L, 1);
  u = push_userdata(L);
  il_handle_retain(&il_frozen_of(t)->h);
  u->table = t;
  lua_pushvalue(L, -1);
  lua_rawsetp(L, -3, t);
  if (lua_rawgetp(L, -2, il_frozen_root(il_frozen_of(t))) == LUA_TUSERDATA)
    lua_setiuservalue(L, -2, 1); /* that one counts its memory: it stays as long as this one */
  else
    lua_pop(L, 1);
  lua_replace(L, -2);
}

/* [-0, +1, e] */
static void push_value(lua_State *L, const il_frozen_table *t, const il_frozen_value *v) {
  const il_frozen_string *s;
  const il_frozen_buffer *b;
  switch (v->kind) {
  case IL_F_NIL: lua_pushnil(L); break;
  case IL_F_FALSE: lua_pushboolean(L, 0); break;
  case IL_F_TRUE: lua_pushboolean(L, 1); break;
  case IL_F_INTEGER: lua_pushinteger(L, (lua_Integer)v->u.integer); break;
  case IL_F_FLOAT: lua_pushnumber(L, v->u.number); break;
  case IL_F_LIGHT: lua_pushlightuserdata(L, v->u.pointer); break;
  case IL_F_STRING:
    s = il_frozen_string_of(t, v);
    lua_pushlstring(L, s->bytes, (size_t)s->length);
    break;
  case IL_F_BUFFER:
    b = il_frozen_buffer_of(t, v);
    il_buffer_push(L, (il_block *)il_frozen_of(t)->handles[v->handle], false, b->whole != 0,
                   (size_t)b->offset, (size_t)b->length);
    break;
  default: il_freeze_push(L, il_frozen_table_of(t, v));
  }
}

/* -- Freezing ---------------------------------------------------------------------------------- */

/* [-0, +1, e]; the message is the box's. */
static void freeze_boxed(lua_State *L, il_msg **box) {
  il_vm *vm = il_vm_check(L);
  userdata *u = push_userdata(L);
  il_frozen *f = il_frozen_new(*box);
  il_msg_free(*box);
  *box = NULL;
  if (f == NULL) {
    isolua_memoryerror(L);
    return;
  }
  u->table = il_frozen_root(f);
  il_charge(vm, L, f->size);
  u->charged = f->size;
  il_interned_push(L);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, u->table);
  lua_pop(L, 1);
}

void isolua_freeze(lua_State *L, int index) {
  il_sending how = {.root = IL_ROOT_FROZEN, .libs = IL_LIBS_ALL, .plain = true};
  il_vm *vm = il_vm_check(L);
  il_msg *m, **box;
  int type = lua_type(L, index);
  if (type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING ||
      il_freeze_test(L, index) != NULL) {
    lua_pushvalue(L, index);
    return;
  }
  check_open(L);
  luaL_checkstack(L, 10, NULL);
  lua_pushvalue(L, index);
  box = il_box_push(L);
  lua_insert(L, -2);
  if (il_encode(vm, L, 1, &how, &m) != ISOLUA_OK) {
    lua_error(L);
    return;
  }
  *box = m;
  if (type == LUA_TTABLE) {
    freeze_boxed(L, box);
  } else { /* a frozen buffer */
    il_msg_free(*box);
    *box = NULL;
    lua_pushvalue(L, index);
  }
  lua_remove(L, -2);
}

/* -- Reading ----------------------------------------------------------------------------------- */

int isolua_frozen_is(lua_State *L, int index) {
  return il_freeze_test(L, index) != NULL;
}

/* Buffers are rare as keys: they are looked for among all. */
static const il_frozen_value *find_buffer(lua_State *L, const il_frozen_table *t, int key) {
  const il_frozen *f = il_frozen_of(t);
  const il_buffer *b = il_buffer_test(L, key);
  if (b == NULL || il_buffer_state(b) != ISOLUA_OK) return NULL;
  for (size_t i = t->list; i < t->list + 2 * (size_t)t->pairs; i += 2) {
    const il_frozen_value *v = &t->values[i];
    const il_frozen_buffer *is;
    if (v->kind != IL_F_BUFFER || f->handles[v->handle] != &b->store->block->h) continue;
    is = il_frozen_buffer_of(t, v);
    if ((is->whole != 0) == b->whole && is->offset == b->offset &&
        (b->whole || is->length == b->length))
      return v + 1;
  }
  return NULL;
}

/* What is at the key at `key`; NULL: nothing. */
static const il_frozen_value *find(lua_State *L, const il_frozen_table *t, int key) {
  il_frozen_value v = {IL_F_NIL, 0, {0}};
  il_frozen_table *k;
  size_t n;
  const char *s;
  int exact;
  switch (lua_type(L, key)) {
  case LUA_TSTRING: s = lua_tolstring(L, key, &n); return il_frozen_text(t, s, n);
  case LUA_TNUMBER:
    v.u.integer = lua_tointegerx(L, key, &exact); /* 1.0 is the key 1 */
    if (exact) return il_frozen_integer(t, v.u.integer);
    v.kind = IL_F_FLOAT;
    v.u.number = lua_tonumber(L, key);
    return il_frozen_value_of(t, &v);
  case LUA_TBOOLEAN: v.kind = lua_toboolean(L, key) ? IL_F_TRUE : IL_F_FALSE; break;
  case LUA_TLIGHTUSERDATA:
    v.kind = IL_F_LIGHT;
    v.u.pointer = lua_touserdata(L, key);
    break;
  case LUA_TUSERDATA:
    k = il_freeze_test(L, key);
    return k != NULL ? il_frozen_by_table(t, k) : find_buffer(L, t, key);
  default: return NULL;
  }
  return il_frozen_value_of(t, &v);
}

static il_frozen_table *check(lua_State *L, int index) {
  il_frozen_table *t = il_freeze_test(L, index);
  if (t == NULL) luaL_typeerror(L, index, "frozen");
  return t;
}

void isolua_frozen_get(lua_State *L, int index, int key) {
  const il_frozen_table *t = check(L, index);
  const il_frozen_value *v = find(L, t, key);
  if (v != NULL)
    push_value(L, t, v);
  else
    lua_pushnil(L);
}

long long isolua_frozen_length(lua_State *L, int index) {
  return (long long)check(L, index)->length;
}

int isolua_frozen_next(lua_State *L, int index, long long *at) {
  const il_frozen_table *t = check(L, index);
  uint64_t i = *at < 0 ? t->list : (uint64_t)*at;
  while (i < t->list && t->values[i].kind == IL_F_NIL) i++;
  *at = (long long)i + 1;
  if (i < t->list) {
    lua_pushinteger(L, (lua_Integer)i + 1);
    push_value(L, t, &t->values[i]);
    return 1;
  }
  i -= t->list;
  if (i >= t->pairs) return 0;
  push_value(L, t, &t->values[t->list + 2 * i]);
  push_value(L, t, &t->values[t->list + 2 * i + 1]);
  return 1;
}

long long isolua_frozen_id(lua_State *L, int index) {
  return il_frozen_id(check(L, index));
}

/* -- Thawing ----------------------------------------------------------------------------------- */

enum {
  AT_COPIES = 1,
  AT_UNFILLED
}; /* copies by frozen table; light userdata of those to be filled */

static void push_copy(lua_State *L, il_frozen_table *t, lua_Integer *todo) {
  if (lua_rawgetp(L, AT_COPIES, t) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, t->list < INT32_MAX ? (int)t->list : INT32_MAX,
                  t->pairs < INT32_MAX ? (int)t->pairs : INT32_MAX);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, AT_COPIES, t);
  lua_pushlightuserdata(L, t);
  lua_rawseti(L, AT_UNFILLED, ++*todo);
}

static void push_thawed(lua_State *L, const il_frozen_table *t, const il_frozen_value *v,
                        lua_Integer *todo) {
  il_frozen_table *of = il_frozen_table_of(t, v);
  if (of != NULL)
    push_copy(L, of, todo);
  else
    push_value(L, t, v);
}

/* The copy of `t` lies on the top. */
static void fill(lua_State *L, const il_frozen_table *t, lua_Integer *todo) {
  for (uint32_t i = 0; i < t->list; i++) {
    push_thawed(L, t, &t->values[i], todo);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  for (uint32_t i = 0; i < t->pairs; i++) {
    push_thawed(L, t, &t->values[t->list + 2 * (size_t)i], todo);
    push_thawed(L, t, &t->values[t->list + 2 * (size_t)i + 1], todo);
    lua_rawset(L, -3);
  }
}

/* A list of tables to be filled, not a recursion: any depth takes no stack. */
static int thaw(lua_State *L) {
  il_frozen_table *t = check(L, 1);
  lua_Integer todo = 0;
  luaL_checkstack(L, 20, NULL);
  lua_newtable(L);
  lua_newtable(L);
  lua_rotate(L, 1, -1); /* the frozen one is kept on the stack */
  push_copy(L, t, &todo);
  while (todo > 0) {
    lua_rawgeti(L, AT_UNFILLED, todo);
    t = lua_touserdata(L, -1);
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_rawseti(L, AT_UNFILLED, todo--);
    lua_rawgetp(L, AT_COPIES, t);
    fill(L, t, &todo);
    lua_pop(L, 1);
  }
  return 1;
}

void isolua_thaw(lua_State *L, int index) {
  index = lua_absindex(L, index);
  if (il_freeze_test(L, index) == NULL) {
    lua_pushvalue(L, index);
    return;
  }
  lua_pushcfunction(L, thaw);
  lua_pushvalue(L, index);
  lua_call(L, 1, 1);
}
