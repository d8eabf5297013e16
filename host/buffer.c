/* buffer.c - isolua_lua.h: buffers, and their slices and views, for code that has a lua_State. */
/* SPDX-License-Identifier: MIT */
#include "buffer.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>

static char buffer_mark; /* its address, in a userdata of the right size: a buffer */

#define PRESSURE                                                                                   \
  ((ptrdiff_t)64 << 10) /* bytes of new blocks after which the collector takes a step */

/* -- Counting ---------------------------------------------------------------------------------- */

static void count_on(il_vm *vm, size_t n) {
  size_t used = atomic_load_explicit(&vm->used, memory_order_relaxed);
  atomic_store_explicit(&vm->used, used + n, memory_order_relaxed);
}

static bool count_more(il_vm *vm, size_t n) {
  size_t used = atomic_load_explicit(&vm->used, memory_order_relaxed);
  if (vm->cap != 0 && (n > vm->cap || used > vm->cap - n)) return false;
  count_on(vm, n);
  return true;
}

void il_uncharge(il_vm *vm, size_t n) {
  size_t used = atomic_load_explicit(&vm->used, memory_order_relaxed);
  atomic_store_explicit(&vm->used, used - n, memory_order_relaxed);
}

static void count_less(il_vm *vm, il_store *s, size_t n) {
  s->charged -= n;
  il_uncharge(vm, n);
}

/* The collector does not see blocks: it takes its steps as if they were in its heap. What was moved on or
** closed is no garbage, and takes none. [-0, +0, e] */
static void press(il_vm *vm, lua_State *L, size_t n) {
  ptrdiff_t kib;
  vm->pressure += (ptrdiff_t)n;
  if (vm->pressure < PRESSURE || !lua_gc(L, LUA_GCISRUNNING)) return;
  kib = vm->pressure >> 10;
  vm->pressure = 0;
  lua_gc(L, LUA_GCSTEP, kib < INT32_MAX / 2 ? (int)kib : INT32_MAX / 2);
}

static void press_less(il_vm *vm, const il_store *s) {
  ptrdiff_t n = (ptrdiff_t)s->charged, before = vm->pressure;
  if (s->block == NULL) return;
  vm->pressure -= n; /* never by more than one: what is garbage later is to be noticed */
  if (vm->pressure < -n) vm->pressure = before < -n ? before : -n;
}

void il_charge(il_vm *vm, lua_State *L, size_t n) {
  press(vm, L, n);
  if (count_more(vm, n)) return;
  lua_gc(L, LUA_GCCOLLECT); /* what is garbage goes first */
  if (!count_more(vm, n)) isolua_memoryerror(L);
}

static void charge(il_vm *vm, lua_State *L, il_store *s, size_t n) {
  il_charge(vm, L, n);
  s->charged += n;
}

/* -- Stores ------------------------------------------------------------------------------------ */

static void store_empty(il_vm *vm, il_store *s) {
  if (s->block == NULL) return;
  s->id = il_handle_id(&s->block->h);
  if (vm != NULL) count_less(vm, s, s->charged);
  il_handle_release(&s->block->h);
  s->block = NULL;
}

static void store_release(il_vm *vm, il_store *s) {
  if (--s->refs > 0) return;
  store_empty(vm, s);
  free(s);
}

bool il_moves_add(il_moves **list, il_store *s) {
  il_moves *m = malloc(sizeof *m);
  if (m == NULL) return false;
  *m = (il_moves){s, false, *list};
  *list = m;
  s->refs++;
  return true;
}

void il_moves_join(il_moves **list, il_moves *more) {
  while (*list != NULL) list = &(*list)->next;
  *list = more;
}

bool il_moves_begin(il_moves *list) {
  bool all = true;
  for (; list != NULL; list = list->next) {
    list->away = true;
    list->store->away++;
    all = all && list->store->block != NULL;
  }
  return all;
}

static void end_moves(il_vm *vm, il_moves *list, bool done) {
  while (list != NULL) {
    il_moves *next = list->next;
    il_store *s = list->store;
    s->away -= list->away;
    if (done) press_less(vm, s);
    if (done) store_empty(vm, s);
    store_release(vm, s);
    free(list);
    list = next;
  }
}

void il_moves_done(il_vm *vm, il_moves *list) {
  end_moves(vm, list, true);
}

void il_moves_undo(il_vm *vm, il_moves *list) {
  end_moves(vm, list, false);
}

/* -- Userdata ---------------------------------------------------------------------------------- */

il_buffer *il_buffer_test(lua_State *L, int index) {
  il_buffer *b;
  if (lua_rawlen(L, index) != sizeof *b || lua_type(L, index) != LUA_TUSERDATA) return NULL;
  b = lua_touserdata(L, index);
  return b->mark == &buffer_mark ? b : NULL;
}

int il_buffer_state(const il_buffer *b) {
  const il_store *s = b->store;
  if (s == NULL || s->closed) return ISOLUA_CLOSED;
  if (s->block == NULL || s->away > 0) return ISOLUA_TRANSFERRED;
  if (!b->whole && (b->offset > s->block->size || b->length > s->block->size - b->offset))
    return ISOLUA_INVALID;
  return ISOLUA_OK;
}

static int buffer_gc(lua_State *L) {
  il_buffer *b = lua_touserdata(L, 1);
  if (b->store != NULL) store_release(il_vm_of(L), b->store);
  b->store = NULL;
  return 0;
}

int isolua_newbuffertype(lua_State *L, const char *name) {
  return il_newtype(L, name, buffer_gc, false);
}

static _Noreturn void raise_state(lua_State *L, int state) {
  if (state == ISOLUA_INVALID)
    luaL_error(L, "the slice lies behind the end of its buffer, which was made shorter");
  isolua_pusherror(L, state,
                   state == ISOLUA_CLOSED ? "the buffer was closed"
                                          : "the buffer was transferred to another isolate",
                   NULL);
  lua_error(L);
  abort(); /* lua_error does not return */
}

/* One without a store. What is made when the state closes would never be collected. [-0, +1, e] */
static il_buffer *push_userdata(lua_State *L, bool whole, size_t offset, size_t length, int kind) {
  il_buffer *b;
  if (il_vm_check(L)->loop.closed)
    luaL_error(L, "the isolate is ending: it gets no buffer any more");
  luaL_checkstack(L, 8, NULL);
  b = lua_newuserdatauv(L, sizeof *b, 0);
  *b = (il_buffer){&buffer_mark, NULL, offset, length, kind, whole};
  il_handle_pushtype(L, ISOLUA_TBUFFER);
  lua_setmetatable(L, -2);
  return b;
}

/* A userdata with a new store, for which `charged` bytes are counted. [-0, +1, e] */
static il_store *push_store(lua_State *L, size_t charged, bool whole, size_t offset,
                            size_t length) {
  il_vm *vm = il_vm_check(L);
  il_buffer *b = push_userdata(L, whole, offset, length, IL_BUFFER);
  b->store = calloc(1, sizeof *b->store);
  if (b->store == NULL) isolua_memoryerror(L);
  b->store->refs = 1;
  charge(vm, L, b->store, charged);
  return b->store;
}

static void raise_size(lua_State *L, size_t size) {
  luaL_error(L, "not enough memory for a buffer of %I bytes", (LUAI_UACINT)size);
}

/* There was no memory for a block: the store counts nothing any more. */
static void raise_block(lua_State *L, il_store *s, size_t size) {
  count_less(il_vm_check(L), s, s->charged);
  raise_size(L, size);
}

void il_buffer_push(lua_State *L, il_block *block, bool copy, bool whole, size_t offset,
                    size_t length) {
  size_t charged = (block->origin == IL_BLOCK_MAPPED || block->origin == IL_BLOCK_WRAPPED) && !copy
                     ? 0
                     : block->size;
  il_store *s = push_store(L, charged, whole, offset, length);
  if (copy) {
    s->block = il_block_copy(block->data, block->size);
    if (s->block == NULL) raise_block(L, s, block->size);
    return;
  }
  il_handle_retain(&block->h);
  s->block = block;
}

void il_buffer_push_moved(lua_State *L) {
  push_store(L, 0, true, 0, 0);
}

void il_buffer_push_part(lua_State *L, int index, bool whole, size_t offset, size_t length,
                         int kind) {
  il_buffer *of, *b;
  index = lua_absindex(L, index);
  b = push_userdata(L, whole, offset, length, kind);
  of = lua_touserdata(L, index);
  if (of->store == NULL) raise_state(L, ISOLUA_CLOSED); /* by a finalizer, or an unpacker */
  of->store->refs++;
  b->store = of->store;
}

/* -- For bindings ------------------------------------------------------------------------------ */

void isolua_buffer_push(lua_State *L, size_t size) {
  il_store *s;
  if (size > IL_BLOCK_MAX) raise_size(L, size);
  s = push_store(L, size, true, 0, 0);
  s->block = il_block_new(size);
  if (s->block != NULL) return;
  lua_gc(L, LUA_GCCOLLECT);
  s->block = il_block_new(size);
  if (s->block == NULL) raise_block(L, s, size);
}

int isolua_buffer_map(lua_State *L, const char *path, int writable) {
  il_store *s;
  int err;
  if ((il_vm_check(L)->forbid & ISOLUA_NO_FILES) != 0) return EPERM;
  s = push_store(L, 0, true, 0, 0);
  s->block = il_block_map(path, writable != 0, &err);
  if (s->block == NULL) lua_pop(L, 1);
  return err;
}

static il_buffer *check(lua_State *L, int index) {
  il_buffer *b = il_buffer_test(L, index);
  if (b == NULL) luaL_typeerror(L, index, "buffer");
  return b;
}

/* One that can be used; raises for others. [-0, +0, v] */
static il_buffer *check_usable(lua_State *L, int index) {
  il_buffer *b = check(L, index);
  int state = il_buffer_state(b);
  if (state != ISOLUA_OK) raise_state(L, state);
  return b;
}

int isolua_buffer_is(lua_State *L, int index, int kind) {
  const il_buffer *b = il_buffer_test(L, index);
  return b != NULL && b->kind == kind;
}

void isolua_buffer_bytes(lua_State *L, int index, isolua_bytes *out) {
  const il_buffer *b = check_usable(L, index);
  const il_block *block = b->store->block;
  out->data = block->data + b->offset;
  out->length = b->whole ? block->size : b->length;
  out->frozen = block->frozen;
}

int isolua_buffer_read(lua_State *L, int index, size_t offset, size_t length, void *to) {
  const il_buffer *b = il_buffer_test(L, index);
  if (b == NULL || il_buffer_state(b) != ISOLUA_OK) return 0;
  if (b->store->block->origin != IL_BLOCK_MAPPED) return 0;
  return il_file_copy(to, b->store->block->data + b->offset + offset, length);
}

void isolua_buffer_verify(lua_State *L, int index) {
  const il_buffer *b = check(L, index);
  if (b->store != NULL && b->store->block != NULL && il_block_torn(b->store->block))
    luaL_error(L, "the mapped file has become shorter than it was when it was mapped");
}

void isolua_buffer_slice(lua_State *L, int index, size_t offset, size_t length, int kind) {
  const il_buffer *b = check_usable(L, index);
  il_buffer_push_part(L, index, false, b->offset + offset, length, kind);
}

/* Raises unless it is a whole one, whose block only this state has. [-0, +0, v] */
static il_buffer *check_own(lua_State *L, int index, const char *what, const char *instead) {
  il_buffer *b = check_usable(L, index);
  if (!b->whole)
    luaL_error(L, "a slice shares its bytes with its buffer, so it cannot be %s: %s", what,
               instead);
  return b;
}

static void check_resizable(lua_State *L, int index) {
  const il_buffer *b = check_own(L, index, "resized", "resize the buffer, or slice:copy()");
  if (b->store->block->frozen)
    luaL_error(L, "the buffer is frozen: resize a copy of it, buf:copy()");
  if (b->store->block->origin == IL_BLOCK_MAPPED)
    luaL_error(L, "a mapped file cannot be resized: resize a copy of it, buf:copy()");
  if (b->store->block->origin == IL_BLOCK_WRAPPED)
    luaL_error(L, "the buffer lies in memory of the program: resize a copy of it, buf:copy()");
}

/* What counts is the memory that it has, which may be more than its size. Making room for it may run
** finalizers, which may do anything with the buffer. */
void isolua_buffer_resize(lua_State *L, int index, size_t size) {
  il_vm *vm = il_vm_check(L);
  il_store *s;
  check_resizable(L, index);
  if (size > IL_BLOCK_MAX) raise_size(L, size);
  s = check(L, index)->store;
  if (size > s->charged) {
    size_t more = size - s->charged;
    il_charge(vm, L, more);
    il_uncharge(vm, more);
    check_resizable(L, index);
  }
  if (!il_block_resize(s->block, size)) raise_size(L, size);
  il_uncharge(vm, s->charged);
  s->charged = s->block->room;
  count_on(vm, s->charged);
}

void isolua_buffer_freeze(lua_State *L, int index) {
  il_buffer *b = check_usable(L, index);
  if (b->store->block->frozen) return;
  check_own(L, index, "frozen", "freeze the buffer, or slice:copy()");
  if (b->store->block->origin == IL_BLOCK_MAPPED)
    luaL_error(L, "a file that is mapped for writing cannot be frozen: freeze buf:copy()");
  b->store->block->frozen = true;
}

void isolua_buffer_transfer(lua_State *L, int index) {
  const il_buffer *b = check_usable(L, index);
  if (b->store->block->frozen) { /* it is shared anyhow */
    lua_pushvalue(L, index);
    return;
  }
  check_own(L, index, "moved", "transfer the buffer, or send the slice, which copies it");
  il_buffer_push_part(L, index, true, 0, 0, IL_TRANSFER);
}

/* All that lie over it are without it; of a slice, only that one. */
void isolua_buffer_close(lua_State *L, int index) {
  il_buffer *b = check(L, index);
  il_store *s = b->store;
  if (s == NULL) return;
  if (!b->whole) {
    store_release(il_vm_of(L), s);
    b->store = NULL;
  } else if (s->block != NULL && s->away == 0) {
    il_vm *vm = il_vm_of(L);
    if (vm != NULL) press_less(vm, s);
    store_empty(vm, s);
    s->closed = true;
  }
}

int isolua_buffer_same(lua_State *L, int a, int b) {
  const il_buffer *x = il_buffer_test(L, a), *y = il_buffer_test(L, b);
  isolua_bytes of_x, of_y;
  if (x == NULL || y == NULL || x->kind != y->kind) return 0;
  if (il_buffer_state(x) != ISOLUA_OK || il_buffer_state(y) != ISOLUA_OK) return 0;
  isolua_buffer_bytes(L, a, &of_x);
  isolua_buffer_bytes(L, b, &of_y);
  return x->store->block == y->store->block && of_x.data == of_y.data && of_x.length == of_y.length;
}

long long isolua_buffer_id(lua_State *L, int index) {
  const il_buffer *b = check(L, index);
  if (b->store == NULL) return 0;
  return b->store->block != NULL ? il_handle_id(&b->store->block->h) : b->store->id;
}
