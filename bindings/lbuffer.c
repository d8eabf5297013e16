/* lbuffer.c - isolate.buffer and isolate.map_file: bytes outside of the Lua heap. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib.h"

/* -- Arguments --------------------------------------------------------------------------------- */

/* The bytes of the buffer at `arg`; raises for what is none, or cannot be used. [-0, +0, v] */
static void check_bytes(lua_State *L, int arg, isolua_bytes *b) {
  if (!isolua_buffer_is(L, arg, 0)) luaL_typeerror(L, arg, "buffer");
  isolua_buffer_bytes(L, arg, b);
}

static void check_writable(lua_State *L, int arg, isolua_bytes *b) {
  check_bytes(L, arg, b);
  if (b->frozen) luaL_error(L, "the buffer is frozen: write to a copy of it, buf:copy()");
}

/* Bytes of a string or a buffer. */
static const unsigned char *check_source(lua_State *L, int arg, size_t *len) {
  isolua_bytes b;
  if (lua_type(L, arg) == LUA_TSTRING) return (const unsigned char *)lua_tolstring(L, arg, len);
  if (!isolua_buffer_is(L, arg, 0)) luaL_typeerror(L, arg, "string or buffer");
  isolua_buffer_bytes(L, arg, &b);
  *len = b.length;
  return b.data;
}

/* After the bytes of the string or buffer at `arg` were read. */
static void verify_source(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TUSERDATA) isolua_buffer_verify(L, arg);
}

static int bad_index(lua_State *L, int arg, lua_Integer i, size_t length) {
  return luaL_argerror(L, arg,
                       lua_pushfstring(L, "index %I is out of range: the buffer has %I bytes",
                                       (LUAI_UACINT)i, (LUAI_UACINT)length));
}

/* The range i..j of `length` bytes at arguments `arg` and the next, by default all; negative ones count from
** the end. An empty one may lie right behind the end. Raises. [-0, +0, v] */
static void check_range(lua_State *L, int arg, size_t length, size_t *from, size_t *n) {
  lua_Integer i = luaL_optinteger(L, arg, 1), j = luaL_optinteger(L, arg + 1, -1);
  lua_Integer len = (lua_Integer)length;
  if (i < 0) i = i < -len ? 0 : len + i + 1;
  if (j < 0) j = j < -len - 1 ? -1 : len + j + 1;
  if (i < 1 || i > len + 1) bad_index(L, arg, luaL_optinteger(L, arg, 1), length);
  if (j < 0 || j > len) bad_index(L, arg + 1, luaL_optinteger(L, arg + 1, -1), length);
  if (j < i - 1)
    luaL_error(L, "the range from %I to %I ends before it begins", (LUAI_UACINT)i, (LUAI_UACINT)j);
  *from = (size_t)i - 1;
  *n = (size_t)(j - i + 1);
}

/* Where `n` bytes are to go that start at argument `arg`. */
static unsigned char *check_place(lua_State *L, int arg, const isolua_bytes *b, size_t n) {
  lua_Integer i = luaL_checkinteger(L, arg);
  if (i < 1 || (size_t)i - 1 > b->length) bad_index(L, arg, i, b->length);
  if (n > b->length - (size_t)(i - 1))
    luaL_error(L, "%I bytes from index %I on do not fit: the buffer has %I", (LUAI_UACINT)n,
               (LUAI_UACINT)i, (LUAI_UACINT)b->length);
  return b->data + i - 1;
}

static int check_byte(lua_State *L, int arg) {
  lua_Integer v = luaL_checkinteger(L, arg);
  luaL_argcheck(L, v >= 0 && v <= 255, arg, "a byte is 0 to 255");
  return (int)v;
}

/* -- Reading ----------------------------------------------------------------------------------- */

/***
The bytes from i to j as a string; out of range is cut off, as by string.sub.
@function buffer:sub
@tparam[opt=1] integer i
@tparam[opt=-1] integer j
@treturn string
*/
static int buffer_sub(lua_State *L) {
  isolua_bytes b;
  lua_Integer i = luaL_optinteger(L, 2, 1), j = luaL_optinteger(L, 3, -1), len;
  check_bytes(L, 1, &b);
  len = (lua_Integer)b.length;
  if (i < 0) i = i < -len ? 1 : len + i + 1;
  if (j < 0) j = j < -len ? 0 : len + j + 1;
  if (i < 1) i = 1;
  if (j > len) j = len;
  if (i > j)
    lua_pushliteral(L, "");
  else
    lua_pushlstring(L, (const char *)b.data + i - 1, (size_t)(j - i + 1));
  isolua_buffer_verify(L, 1);
  return 1;
}

/***
The same bytes from i to j as a buffer of their own: what is written to one is read from the other. Sent, it
is a copy of that part, or shared when it is frozen.
@function buffer:slice
@tparam[opt=1] integer i
@tparam[opt=-1] integer j
@treturn buffer
*/
static int buffer_slice(lua_State *L) {
  isolua_bytes b;
  size_t from, n;
  check_bytes(L, 1, &b);
  check_range(L, 2, b.length, &from, &n);
  isolua_buffer_slice(L, 1, from, n, 0);
  return 1;
}

/***
A new buffer with the same bytes.
@function buffer:copy
@treturn buffer
*/
static int buffer_copy(lua_State *L) {
  isolua_bytes b, to;
  check_bytes(L, 1, &b);
  isolua_buffer_push(L, b.length);
  isolua_buffer_bytes(L, 1, &b);
  isolua_buffer_bytes(L, -1, &to);
  memcpy(to.data, b.data,
         b.length < to.length ? b.length : to.length); /* a finalizer may have run */
  isolua_buffer_verify(L, 1);
  return 1;
}

/* The first place of `s` in the bytes; NULL: none. */
static const unsigned char *look_for(const unsigned char *p, size_t n, const unsigned char *s,
                                     size_t len) {
  return len == 1 ? memchr(p, *s, n) : memmem(p, n, s, len);
}

/***
Looks for bytes (not a pattern) in i to j.
@function buffer:find
@tparam string|buffer s
@tparam[opt=1] integer i
@tparam[opt=-1] integer j
@treturn integer|nil where the first one begins
@treturn integer where it ends
*/
static int buffer_find(lua_State *L) {
  isolua_bytes b;
  size_t len, from, n;
  const unsigned char *s = check_source(L, 2, &len), *p;
  check_bytes(L, 1, &b);
  check_range(L, 3, b.length, &from, &n);
  p = look_for(b.data + from, n, s, len);
  isolua_buffer_verify(L, 1);
  verify_source(L, 2);
  if (p == NULL) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, (lua_Integer)(p - b.data) + 1);
  lua_pushinteger(L, (lua_Integer)(p - b.data) + (lua_Integer)len);
  return 2;
}

typedef unsigned char lanes __attribute__((vector_size(16)));

/* Sixteen lanes count up to 255 at a time. */
static size_t count_byte(const unsigned char *p, size_t n, unsigned char c) {
  size_t count = 0;
  lanes wanted;
  memset(&wanted, c, sizeof wanted);
  while (n >= sizeof(lanes)) {
    size_t rounds = n / sizeof(lanes) < 255 ? n / sizeof(lanes) : 255;
    lanes sum = {0};
    for (size_t i = 0; i < rounds; i++) {
      lanes v;
      memcpy(&v, p + i * sizeof v, sizeof v);
      sum -= (lanes)(v == wanted);
    }
    for (size_t i = 0; i < sizeof sum; i++) count += sum[i];
    p += rounds * sizeof(lanes);
    n -= rounds * sizeof(lanes);
  }
  for (size_t i = 0; i < n; i++) count += p[i] == c;
  return count;
}

#define CHUNK ((size_t)256 << 10) /* bytes: stays in the cache of a core */

/* In the buffer at argument 1. What is read once of a mapped file is cheaper to copy than to map page by page:
** the first touch of a page costs more than its bytes do. */
static size_t count_in(lua_State *L, const isolua_bytes *b, size_t from, size_t n,
                       unsigned char c) {
  unsigned char *chunk = n >= CHUNK ? malloc(CHUNK) : NULL;
  size_t count = 0;
  while (chunk != NULL && n >= CHUNK && isolua_buffer_read(L, 1, from, CHUNK, chunk)) {
    count += count_byte(chunk, CHUNK, c);
    from += CHUNK;
    n -= CHUNK;
  }
  free(chunk);
  return count + count_byte(b->data + from, n, c);
}

/***
How often bytes occur in i to j, where none overlap.
@function buffer:count
@tparam string|buffer s not empty
@tparam[opt=1] integer i
@tparam[opt=-1] integer j
@treturn integer
@usage local lines = isolate.map_file("log.txt"):count("\n")
*/
static int buffer_count(lua_State *L) {
  isolua_bytes b;
  size_t len, from, n, count = 0;
  const unsigned char *s = check_source(L, 2, &len), *p, *end;
  check_bytes(L, 1, &b);
  check_range(L, 3, b.length, &from, &n);
  luaL_argcheck(L, len > 0, 2, "what is counted must not be empty");
  if (len == 1) {
    count = count_in(L, &b, from, n, *s);
  } else {
    end = b.data + from + n;
    for (p = b.data + from; (p = memmem(p, (size_t)(end - p), s, len)) != NULL; p += len) count++;
  }
  isolua_buffer_verify(L, 1);
  verify_source(L, 2);
  lua_pushinteger(L, (lua_Integer)count);
  return 1;
}

/* Upvalues: the buffer, where the next line begins (from 0). */
static int next_line(lua_State *L) {
  isolua_bytes b;
  size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(2)), n;
  const unsigned char *end;
  isolua_buffer_bytes(L, lua_upvalueindex(1), &b);
  if (at >= b.length) return 0;
  end = memchr(b.data + at, '\n', b.length - at);
  n = end != NULL ? (size_t)(end - b.data) - at : b.length - at;
  lua_pushlstring(L, (const char *)b.data + at, n);
  isolua_buffer_verify(L, lua_upvalueindex(1));
  lua_pushinteger(L, (lua_Integer)at + (lua_Integer)n + 1);
  lua_replace(L, lua_upvalueindex(2));
  return 1;
}

/***
Iterates over the lines, without their ends, as io.lines.
@function buffer:lines
@return an iterator
@usage for line in isolate.map_file("log.txt"):lines() do print(line) end
*/
static int buffer_lines(lua_State *L) {
  isolua_bytes b;
  check_bytes(L, 1, &b);
  lua_settop(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_line, 2);
  return 1;
}

/***
Has the other one the same bytes?
@function buffer:equal
@tparam buffer|string other
@treturn boolean
*/
static int buffer_equal(lua_State *L) {
  isolua_bytes b;
  size_t len;
  const unsigned char *s = check_source(L, 2, &len);
  check_bytes(L, 1, &b);
  lua_pushboolean(L, len == b.length && memcmp(b.data, s, len) == 0);
  isolua_buffer_verify(L, 1);
  verify_source(L, 2);
  return 1;
}

/* -- Writing ----------------------------------------------------------------------------------- */

/***
Puts bytes into the buffer.
@function buffer:set
@tparam integer i where the first one goes
@tparam string|buffer s
@treturn integer the index behind them
*/
static int buffer_set(lua_State *L) {
  isolua_bytes b;
  size_t len;
  const unsigned char *s = check_source(L, 3, &len);
  unsigned char *to;
  check_writable(L, 1, &b);
  to = check_place(L, 2, &b, len);
  memmove(to, s, len);
  isolua_buffer_verify(L, 1);
  verify_source(L, 3);
  lua_pushinteger(L, luaL_checkinteger(L, 2) + (lua_Integer)len);
  return 1;
}

/***
Sets the bytes from i to j to one value.
@function buffer:fill
@tparam integer b 0 to 255
@tparam[opt=1] integer i
@tparam[opt=-1] integer j
@treturn buffer itself
*/
static int buffer_fill(lua_State *L) {
  isolua_bytes b;
  size_t from, n;
  int v = check_byte(L, 2);
  check_writable(L, 1, &b);
  check_range(L, 3, b.length, &from, &n);
  memset(b.data + from, v, n);
  isolua_buffer_verify(L, 1);
  lua_settop(L, 1);
  return 1;
}

/***
Makes the buffer longer, by zeros, or shorter. Not of slices, frozen buffers and mapped files.
@function buffer:resize
@tparam integer|string n bytes, as `4096` or `"64MB"`
@treturn buffer itself
*/
static int buffer_resize(lua_State *L) {
  isolua_bytes b;
  check_bytes(L, 1, &b);
  isolua_buffer_resize(L, 1, check_size(L, 2, "bad argument #1 to 'resize'"));
  lua_settop(L, 1);
  return 1;
}

/***
Writes values in a format of string.pack.
@function buffer:pack
@tparam integer i where they go
@tparam string fmt
@param ...
@treturn integer the index behind them
*/
static int buffer_pack(lua_State *L) {
  isolua_bytes b;
  size_t len;
  const char *s;
  lua_Integer i = luaL_checkinteger(L, 2);
  luaL_checkstring(L, 3);
  check_writable(L, 1, &b);
  isolua_pushstandard(L, "string.pack");
  lua_replace(L, 2);
  lua_call(L, lua_gettop(L) - 2, 1);
  s = lua_tolstring(L, -1, &len);
  check_writable(L, 1, &b);
  lua_pushinteger(L, i);
  memcpy(check_place(L, lua_gettop(L), &b, len), s, len);
  isolua_buffer_verify(L, 1);
  lua_pushinteger(L, i + (lua_Integer)len);
  return 1;
}

/* Is it the error of string.unpack for a string that is too short? */
static bool wants_more(const char *err) {
  return err != NULL && (strstr(err, "too short") != NULL || strstr(err, "unfinished") != NULL);
}

#define WINDOW 256 /* bytes that unpack looks at first */

/***
Reads values in a format of string.unpack. Alignment counts from i.
@function buffer:unpack
@tparam integer i
@tparam string fmt
@return the values, and the index behind them
*/
static int buffer_unpack(lua_State *L) {
  isolua_bytes b;
  lua_Integer i = luaL_checkinteger(L, 2);
  size_t left;
  luaL_checkstring(L, 3);
  lua_settop(L, 3);
  check_bytes(L, 1, &b);
  if (i < 0) i += (lua_Integer)b.length + 1;
  if (i < 1 || (size_t)i - 1 > b.length) bad_index(L, 2, luaL_checkinteger(L, 2), b.length);
  for (size_t n = WINDOW;; n *= 4) { /* what the format takes is known when it is through */
    int status;
    lua_settop(L, 3);
    check_bytes(L, 1, &b);
    if ((size_t)i - 1 > b.length) bad_index(L, 2, i, b.length); /* a finalizer made it shorter */
    left = b.length - (size_t)(i - 1);
    isolua_pushstandard(L, "string.unpack");
    lua_pushvalue(L, 3);
    lua_pushlstring(L, (const char *)b.data + i - 1, n < left ? n : left);
    isolua_buffer_verify(L, 1);
    if (n >= left) {
      lua_call(L, 2, LUA_MULTRET);
      break;
    }
    status = lua_pcall(L, 2, LUA_MULTRET, 0);
    if (status == LUA_OK) break;
    if (status == LUA_ERRMEM || !wants_more(lua_tostring(L, -1))) lua_error(L);
  }
  lua_pushinteger(L, lua_tointeger(L, -1) + i - 1);
  lua_replace(L, -2);
  return lua_gettop(L) - 3;
}

/* -- Files ------------------------------------------------------------------------------------- */

static int write_to(lua_State *L, FILE *file, const char *path) {
  isolua_bytes b;
  size_t n;
  isolua_buffer_bytes(L, 1, &b);
  errno = 0;
  n = fwrite(b.data, 1, b.length, file);
  if (path != NULL && fclose(file) != 0) n = 0;
  if (n < b.length && errno == EFAULT)
    luaL_error(L, "the mapped file has become shorter than it was when it was mapped");
  if (n < b.length || (b.length == 0 && errno != 0)) return luaL_fileresult(L, 0, path);
  isolua_buffer_verify(L, 1);
  lua_settop(L, 1);
  return 1;
}

/***
Writes the bytes to a file.
@function buffer:write
@tparam string|file to a path, whose file is made or made anew; or an open file
@treturn buffer|nil itself
@treturn string what went wrong
@treturn integer the system's number for it
*/
static int buffer_write(lua_State *L) {
  isolua_bytes b;
  const char *path;
  FILE *file;
  check_bytes(L, 1, &b);
  if (lua_type(L, 2) != LUA_TSTRING) {
    luaL_Stream *stream = luaL_testudata(L, 2, LUA_FILEHANDLE);
    if (stream == NULL) return luaL_typeerror(L, 2, "path or file");
    luaL_argcheck(L, stream->closef != NULL, 2, "the file is closed");
    return write_to(L, stream->f, NULL);
  }
  path = lua_tostring(L, 2);
  errno = EPERM;
  file = (isolua_forbidden(L) & ISOLUA_NO_FILES) == 0 ? fopen(path, "wb") : NULL;
  return file != NULL ? write_to(L, file, path) : luaL_fileresult(L, 0, path);
}

/***
A buffer over the bytes of a file, which are read when they are used. It is frozen, so that slices of it
are sent without a copy; with mode `"r+"` it is not, and what is written to it goes to the file.
@function isolate.map_file
@tparam string path
@tparam[opt="r"] string mode `"r"` or `"r+"`
@treturn buffer|nil
@treturn string what went wrong
@treturn integer the system's number for it
@usage local log <close> = assert(isolate.map_file("log.txt"))
*/
static int map_file(lua_State *L) {
  static const char *const modes[] = {"r", "r+", NULL};
  const char *path = luaL_checkstring(L, 1);
  int writable = luaL_checkoption(L, 2, "r", modes), err = isolua_buffer_map(L, path, writable);
  if (err == 0) return 1;
  errno = err;
  return luaL_fileresult(L, 0, path);
}

/* -- Moving and sharing ------------------------------------------------------------------------ */

/***
Makes the buffer immutable: sent, it is shared then. A slice of a frozen buffer is frozen.
@function buffer:freeze
@treturn buffer itself
*/
static int buffer_freeze(lua_State *L) {
  isolua_bytes b;
  check_bytes(L, 1, &b);
  isolua_buffer_freeze(L, 1);
  lua_settop(L, 1);
  return 1;
}

/***
In a message, argument or result, the buffer itself instead of a copy: it is moved, whatever its size. From
then on the buffer here, its slices and its views raise `transferred`.
@function isolate.transfer
@tparam buffer buf
@return what is to be sent
@usage tx:send(isolate.transfer(buf))
*/
static int transfer(lua_State *L) {
  isolua_bytes b;
  check_bytes(L, 1, &b);
  isolua_buffer_transfer(L, 1);
  return 1;
}

/* -- The type ---------------------------------------------------------------------------------- */

static const luaL_Reg methods[] = {{"sub", buffer_sub},       {"slice", buffer_slice},
                                   {"set", buffer_set},       {"fill", buffer_fill},
                                   {"copy", buffer_copy},     {"resize", buffer_resize},
                                   {"pack", buffer_pack},     {"unpack", buffer_unpack},
                                   {"find", buffer_find},     {"count", buffer_count},
                                   {"lines", buffer_lines},   {"equal", buffer_equal},
                                   {"view", buffer_view},     {"write", buffer_write},
                                   {"freeze", buffer_freeze}, {NULL, NULL}};

static unsigned char *check_index(lua_State *L, const isolua_bytes *b) {
  lua_Integer i = luaL_checkinteger(L, 2);
  if ((lua_Unsigned)i - 1 >= b->length)
    luaL_error(L, "index %I is out of range: the buffer has %I bytes", (LUAI_UACINT)i,
               (LUAI_UACINT)b->length);
  return b->data + i - 1;
}

static int buffer_index(lua_State *L) {
  isolua_bytes b;
  if (lua_type(L, 2) == LUA_TNUMBER) {
    isolua_buffer_bytes(L, 1, &b);
    lua_pushinteger(L, *check_index(L, &b));
    isolua_buffer_verify(L, 1);
    return 1;
  }
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "id") == 0) {
    lua_pushinteger(L, (lua_Integer)isolua_buffer_id(L, 1));
    return 1;
  }
  lua_settop(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

static int buffer_newindex(lua_State *L) {
  isolua_bytes b;
  unsigned char *at;
  if (lua_type(L, 2) != LUA_TNUMBER)
    luaL_error(L, "a buffer has bytes at 1 to #buf, and no field %s to set",
               luaL_tolstring(L, 2, NULL));
  check_writable(L, 1, &b);
  at = check_index(L, &b);
  if (!lua_isinteger(L, 3) || (lua_Unsigned)lua_tointeger(L, 3) > 255)
    luaL_error(L, "a byte is an integer of 0 to 255, not %s", luaL_tolstring(L, 3, NULL));
  *at = (unsigned char)lua_tointeger(L, 3);
  isolua_buffer_verify(L, 1);
  return 0;
}

static int buffer_len(lua_State *L) {
  isolua_bytes b;
  isolua_buffer_bytes(L, 1, &b);
  lua_pushinteger(L, (lua_Integer)b.length);
  return 1;
}

static int buffer_eq(lua_State *L) {
  lua_pushboolean(L, isolua_buffer_same(L, 1, 2));
  return 1;
}

static int buffer_close(lua_State *L) {
  isolua_buffer_close(L, 1);
  return 0;
}

static int buffer_tostring(lua_State *L) {
  lua_pushfstring(L, ISOLUA_TBUFFER ": %I", (LUAI_UACINT)isolua_buffer_id(L, 1));
  return 1;
}

static const luaL_Reg metamethods[] = {
  {"__newindex", buffer_newindex}, {"__len", buffer_len},           {"__eq", buffer_eq},
  {"__close", buffer_close},       {"__tostring", buffer_tostring}, {NULL, NULL}};

/***
Bytes outside of the Lua heap, which can be moved to another isolate, or frozen and shared.
@function isolate.buffer
@tparam integer|string|table what a size in bytes; a string whose bytes it gets; or `size` (bytes, or a
string such as `"64MB"`) and `fill` (a byte)
@treturn buffer
@usage local buf = isolate.buffer(1024)
*/
static int new_buffer(lua_State *L) {
  isolua_bytes b;
  size_t len;
  const char *s;
  int fill = 0;
  if (lua_type(L, 1) == LUA_TSTRING) {
    s = lua_tolstring(L, 1, &len);
    isolua_buffer_push(L, len);
    isolua_buffer_bytes(L, -1, &b);
    memcpy(b.data, s, len);
    return 1;
  }
  if (!lua_istable(L, 1)) {
    if (lua_type(L, 1) != LUA_TNUMBER) luaL_typeerror(L, 1, "size, string or table of options");
    lua_pushinteger(L, luaL_checkinteger(L, 1));
    lua_replace(L, 1);
    isolua_buffer_push(L, check_size(L, 1, "bad argument #1 to 'buffer'"));
    return 1;
  }
  for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
    s = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    if (strcmp(s, "size") != 0 && strcmp(s, "fill") != 0)
      luaL_error(L, "unknown option '%s' (known: size, fill)", luaL_tolstring(L, -2, NULL));
  }
  lua_getfield(L, 1, "fill");
  if (!lua_isnil(L, -1)) {
    if (!lua_isinteger(L, -1) || (lua_Unsigned)lua_tointeger(L, -1) > 255)
      luaL_error(L, "option 'fill': a byte (an integer of 0 to 255) expected");
    fill = (int)lua_tointeger(L, -1);
  }
  lua_getfield(L, 1, "size");
  if (lua_isnil(L, -1)) luaL_error(L, "option 'size' is missing");
  isolua_buffer_push(L, check_size(L, lua_gettop(L), "option 'size'"));
  isolua_buffer_bytes(L, -1, &b);
  if (fill != 0) memset(b.data, fill, b.length);
  return 1;
}

const luaL_Reg buffer_functions[] = {
  {"buffer", new_buffer}, {"map_file", map_file}, {"transfer", transfer}, {NULL, NULL}};

void open_buffer(lua_State *L) {
  isolua_newbuffertype(L, ISOLUA_TBUFFER);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, buffer_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
