/* shared.c - isolua_lua.h: things that isolates share, for code that has a lua_State. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "cell.h"
#include "codec.h"
#include "isolua_lua.h"

void isolua_atomic_push(lua_State *L, long long value) {
  il_cell *c = il_cell_new(value);
  if (c == NULL) luaL_error(L, "not enough memory");
  il_handle_push_held(L, &c->h, &c->h);
}

isolua_atomic *isolua_atomic_of(lua_State *L, int index) {
  il_handle *h = il_handle_test(L, index);
  return h != NULL && h->type == &il_cell_type ? (il_cell *)h : NULL;
}

long long isolua_atomic_load(isolua_atomic *a) {
  return atomic_load(&a->value);
}

void isolua_atomic_store(isolua_atomic *a, long long value) {
  atomic_store(&a->value, value);
}

/* The addition of atomics wraps; that of signed integers must not. */
long long isolua_atomic_add(isolua_atomic *a, long long d) {
  return (long long)((unsigned long long)atomic_fetch_add(&a->value, d) + (unsigned long long)d);
}

int isolua_atomic_exchange(isolua_atomic *a, long long *old, long long to) {
  return atomic_compare_exchange_strong(&a->value, old, to);
}
