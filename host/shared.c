/* shared.c - isolua_lua.h: things that isolates share, for code that has a lua_State. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "cell.h"
#include "codec.h"
#include "isolua_lua.h"

void isolua_atomic_push(lua_State *L, long long value) {
  il_cell *c = il_cell_new(value);
  if (c == NULL) isolua_memoryerror(L);
  il_handle_push_held(L, &c->h, &c->h);
}

isolua_atomic *isolua_atomic_of(lua_State *L, int index) {
  il_handle *h = il_handle_test(L, index);
  return h != NULL && h->type == &il_cell_type ? (il_cell *)h : NULL;
}
