/* lview.c - buf:view: the numbers in a buffer. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

#include "lib.h"

#define TVIEW "isolate.view"

static const char *const types[] = {"i8",  "u8",  "i16", "u16", "i32", "u32",
                                    "i64", "u64", "f32", "f64", NULL};
static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
enum { I8, U8, I16, U16, I32, U32, I64, U64, F32, F64, COUNT };

typedef struct numbers {
  unsigned char *data;
  size_t count;
  int type;
  bool frozen;
} numbers;

/* The type is the kind of the view, from 1 on. */
static void check_view(lua_State *L, int arg, numbers *v) {
  isolua_bytes b;
  int type = 0;
  while (type < COUNT && !isolua_buffer_is(L, arg, type + 1)) type++;
  if (type == COUNT) luaL_typeerror(L, arg, "view");
  isolua_buffer_bytes(L, arg, &b);
  *v = (numbers){b.data, b.length / sizes[type], type, b.frozen != 0};
}

#define LOAD(T, at)                                                                                \
  T n;                                                                                             \
  memcpy(&n, at, sizeof n)

static void push_number(lua_State *L, int type, const unsigned char *at) {
  switch (type) {
  case I8: {
    LOAD(int8_t, at);
    lua_pushinteger(L, n);
    break;
  }
  case U8: lua_pushinteger(L, *at); break;
  case I16: {
    LOAD(int16_t, at);
    lua_pushinteger(L, n);
    break;
  }
  case U16: {
    LOAD(uint16_t, at);
    lua_pushinteger(L, n);
    break;
  }
  case I32: {
    LOAD(int32_t, at);
    lua_pushinteger(L, n);
    break;
  }
  case U32: {
    LOAD(uint32_t, at);
    lua_pushinteger(L, (lua_Integer)n);
    break;
  }
  case F32: {
    LOAD(float, at);
    lua_pushnumber(L, (lua_Number)n);
    break;
  }
  case F64: {
    LOAD(double, at);
    lua_pushnumber(L, n);
    break;
  }
  default: {
    LOAD(int64_t, at);
    lua_pushinteger(L, (lua_Integer)n);
  }
  }
}

/* What an integer of that type may be; of 64 bits anything. */
static bool fits(int type, lua_Integer n) {
  int bits = (int)sizes[type] * 8;
  bool is_signed = type % 2 == 0;
  lua_Integer most = is_signed ? (lua_Integer)1 << (bits - 1 < 62 ? bits - 1 : 62)
                               : (lua_Integer)1 << (bits < 62 ? bits : 62);
  if (bits == 64) return true;
  return is_signed ? n >= -most && n < most : n >= 0 && n < most;
}

/* Numbers lie in the machine's order: the low bytes of an integer are those of a shorter one. */
static void store_number(lua_State *L, int type, unsigned char *at, int index) {
  if (type == F32 || type == F64) {
    double d = luaL_checknumber(L, index);
    float f = (float)d;
    memcpy(at, type == F32 ? (void *)&f : (void *)&d, sizes[type]);
  } else {
    lua_Integer n = luaL_checkinteger(L, index);
    int64_t i64 = (int64_t)n;
    int32_t i32 = (int32_t)n;
    int16_t i16 = (int16_t)n;
    if (!fits(type, n)) luaL_error(L, "%I does not fit a view of %s", (LUAI_UACINT)n, types[type]);
    switch (sizes[type]) {
    case 1: *at = (unsigned char)n; break;
    case 2: memcpy(at, &i16, 2); break;
    case 4: memcpy(at, &i32, 4); break;
    default: memcpy(at, &i64, 8);
    }
  }
}

static unsigned char *check_index(lua_State *L, const numbers *v) {
  lua_Integer i = luaL_checkinteger(L, 2);
  if ((lua_Unsigned)i - 1 >= v->count)
    luaL_error(L, "index %I is out of range: the view has %I numbers", (LUAI_UACINT)i,
               (LUAI_UACINT)v->count);
  return v->data + (size_t)(i - 1) * sizes[v->type];
}

static double sum_floats(const numbers *v) {
  double sum = 0;
  for (size_t i = 0; i < v->count; i++) {
    if (v->type == F32) {
      LOAD(float, v->data + i * 4);
      sum += (double)n;
    } else {
      LOAD(double, v->data + i * 8);
      sum += n;
    }
  }
  return sum;
}

#define SUM(T)                                                                                     \
  for (size_t i = 0; i < v->count; i++) {                                                          \
    LOAD(T, v->data + i * sizeof(T));                                                              \
    sum += (uint64_t)n;                                                                            \
  }                                                                                                \
  break

static uint64_t sum_integers(const numbers *v) {
  uint64_t sum = 0;
  switch (v->type) {
  case I8: SUM(int8_t);
  case U8: SUM(uint8_t);
  case I16: SUM(int16_t);
  case U16: SUM(uint16_t);
  case I32: SUM(int32_t);
  case U32: SUM(uint32_t);
  default: SUM(uint64_t);
  }
  return sum;
}

/***
The sum of all numbers; that of integers wraps around.
@function view:sum
@treturn number
*/
static int view_sum(lua_State *L) {
  numbers v;
  check_view(L, 1, &v);
  if (v.type == F32 || v.type == F64)
    lua_pushnumber(L, sum_floats(&v));
  else
    lua_pushinteger(L, (lua_Integer)sum_integers(&v));
  isolua_buffer_verify(L, 1);
  return 1;
}

/***
The numbers as a list.
@function view:table
@treturn table
*/
static int view_table(lua_State *L) {
  numbers v;
  check_view(L, 1, &v);
  luaL_argcheck(L, v.count <= INT32_MAX, 1, "too many numbers for a table");
  lua_createtable(L, (int)v.count, 0);
  check_view(L, 1, &v); /* a finalizer may have run */
  for (size_t i = 0; i < v.count; i++) {
    push_number(L, v.type, v.data + i * sizes[v.type]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  isolua_buffer_verify(L, 1);
  return 1;
}

/* -- The type ---------------------------------------------------------------------------------- */

static int view_index(lua_State *L) {
  numbers v;
  if (lua_type(L, 2) == LUA_TNUMBER) {
    check_view(L, 1, &v);
    push_number(L, v.type, check_index(L, &v));
    isolua_buffer_verify(L, 1);
    return 1;
  }
  lua_settop(L, 2);
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "id") == 0)
    lua_pushinteger(L, (lua_Integer)isolua_buffer_id(L, 1));
  else
    lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

static int view_newindex(lua_State *L) {
  numbers v;
  if (lua_type(L, 2) != LUA_TNUMBER)
    luaL_error(L, "a view has numbers at 1 to #view, and no field %s to set",
               luaL_tolstring(L, 2, NULL));
  check_view(L, 1, &v);
  if (v.frozen) luaL_error(L, "the buffer is frozen: write to a copy of it, buf:copy()");
  store_number(L, v.type, check_index(L, &v), 3);
  isolua_buffer_verify(L, 1);
  return 0;
}

static int view_len(lua_State *L) {
  numbers v;
  check_view(L, 1, &v);
  lua_pushinteger(L, (lua_Integer)v.count);
  return 1;
}

static int view_eq(lua_State *L) {
  lua_pushboolean(L, isolua_buffer_same(L, 1, 2));
  return 1;
}

static int view_close(lua_State *L) {
  isolua_buffer_close(L, 1);
  return 0;
}

static int view_tostring(lua_State *L) {
  lua_pushfstring(L, TVIEW ": %I", (LUAI_UACINT)isolua_buffer_id(L, 1));
  return 1;
}

static const luaL_Reg methods[] = {{"sum", view_sum}, {"table", view_table}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {
  {"__newindex", view_newindex}, {"__len", view_len},           {"__eq", view_eq},
  {"__close", view_close},       {"__tostring", view_tostring}, {NULL, NULL}};

/* The metatable, which has its __index last. [-0, +1, m] */
static void push_view_type(lua_State *L) {
  isolua_newbuffertype(L, TVIEW);
  lua_pushliteral(L, "__index");
  if (lua_rawget(L, -2) != LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, view_index, 1);
  lua_setfield(L, -2, "__index");
}

/***
The bytes as numbers in the machine's order, read and written by `view[i]`; `#view` of them. The bytes must
lie at a multiple of a number's size, and be whole numbers.
@function buffer:view
@tparam string type `"i8"`, `"u8"`, … `"u64"`, `"f32"`, `"f64"`; of 64 bits, as Lua has integers
@treturn view
@usage local sum = buf:view("f64"):sum()
*/
int buffer_view(lua_State *L) {
  isolua_bytes b;
  int type = luaL_checkoption(L, 2, NULL, types);
  if (!isolua_buffer_is(L, 1, 0)) luaL_typeerror(L, 1, "buffer");
  isolua_buffer_bytes(L, 1, &b);
  if (b.length % sizes[type] != 0)
    luaL_error(L, "a view of %s needs a multiple of %d bytes, and the buffer has %I", types[type],
               (int)sizes[type], (LUAI_UACINT)b.length);
  if (b.length > 0 && (uintptr_t)b.data % sizes[type] != 0)
    luaL_error(L, "a view of %s is misaligned here: the slice must begin at a multiple of %d bytes",
               types[type], (int)sizes[type]);
  isolua_buffer_slice(L, 1, 0, b.length, type + 1);
  push_view_type(L);
  lua_setmetatable(L, -2);
  return 1;
}
