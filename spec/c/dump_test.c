/* dump_test.c - what is read out of precompiled functions, also out of broken ones. */
/* SPDX-License-Identifier: MIT */
#include "dump.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* -- Making dumps ------------------------------------------------------------------------------ */

/* The block is as long as the dump to the byte, so that a tool sees each read beyond it. */
typedef struct dump {
  unsigned char *bytes;
  size_t len;
  il_upvalue_set env; /* upvalues that are named _ENV */
} dump;

static int append(lua_State *L, const void *p, size_t size, void *ud) {
  dump *d = ud;
  unsigned char *bytes = realloc(d->bytes, d->len + size);
  (void)L;
  if (bytes == NULL) return 1;
  memcpy(bytes + d->len, p, size);
  d->bytes = bytes;
  d->len += size;
  return 0;
}

/* The function that the chunk returns, or else the chunk itself. */
static bool make_dump(const char *source, bool strip, dump *d) {
  lua_State *L = luaL_newstate();
  bool made = false;
  const char *name;
  memset(d, 0, sizeof *d);
  if (!CHECK(L != NULL)) return false;
  luaL_openlibs(L);
  if (!CHECK_INT(luaL_loadstring(L, source), LUA_OK)) goto done;
  lua_pushvalue(L, -1);
  if (!CHECK_INT(lua_pcall(L, 0, 1, 0), LUA_OK)) goto done;
  if (!lua_isfunction(L, -1)) lua_pop(L, 1);
  for (int i = 1; (name = lua_getupvalue(L, -1, i)) != NULL; i++) {
    if (strcmp(name, "_ENV") == 0) il_upvalue_add(&d->env, i - 1);
    lua_pop(L, 1);
  }
  made = CHECK_INT(lua_dump(L, append, d, strip), 0);
done:
  if (!made) printf("      %s\n", lua_tostring(L, -1));
  lua_close(L);
  return made;
}

/* -- Kinds of upvalues ------------------------------------------------------------------------- */

static void finds_closing(void) {
  static const struct {
    const char *source, *closing; /* one digit an upvalue */
  } functions[] = {
    {"return 1", "0"}, /* the chunk: _ENV */
    {"return function() end", ""},
    {"local a <close> = nil; return function() return a end", "1"},
    {"local a, b <const>, c <close> = 1, {}, nil; return function() return a, b, c end", "001"},
    {"local a <close> = nil; local b = 1; return function() return b, a, b, print end", "010"},
    {"local a <close> = nil; return function() return function() return a end end", "1"},
    {"local a <close> = nil; return function() local b <close> = nil; return a, function() "
     "return b end end",
     "1"},
    {"local b = 1; return function() local a <close> = nil; return b, function() return a end end",
     "0"},
  };
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    for (int strip = 0; strip < 2; strip++) {
      il_upvalue_set closing;
      dump d;
      if (!make_dump(functions[i].source, strip, &d)) continue;
      CHECK(il_dump_known(d.bytes, d.len));
      memset(&closing, 0xff, sizeof closing);
      il_dump_closing(d.bytes, d.len, &closing);
      for (int u = 0; u < IL_MAX_UPVALUES; u++) {
        const char *expected = functions[i].closing;
        bool is = (size_t)u < strlen(expected) && expected[u] == '1';
        if (!CHECK_INT(il_upvalue_has(&closing, u), is))
          printf("      upvalue %d of: %s\n", u + 1, functions[i].source);
      }
      free(d.bytes);
    }
  }
}

/* A function with 255 upvalues, of which the last is to be closed. */
static void finds_closing_last(void) {
  char source[16384];
  size_t n = 0;
  il_upvalue_set closing;
  dump d;
  for (int i = 1; i <= 254; i++) /* 200 locals a function */
    n += (size_t)snprintf(source + n, sizeof source - n, "local v%d = %d %s", i, i,
                          i == 127 ? "return (function() " : "");
  n += (size_t)snprintf(source + n, sizeof source - n,
                        "local v255 <close> = nil\n"
                        "return function() local x");
  for (int i = 1; i <= 255; i++)
    n += (size_t)snprintf(source + n, sizeof source - n, " x = v%d", i);
  snprintf(source + n, sizeof source - n, " end end)()");
  if (!make_dump(source, false, &d)) return;
  il_dump_closing(d.bytes, d.len, &closing);
  for (int i = 0; i < 255; i++) CHECK_INT(il_upvalue_has(&closing, i), i == 254);
  free(d.bytes);
}

/* -- Names of globals -------------------------------------------------------------------------- */

enum { NAMES = 600 };

typedef struct names {
  const dump *dump;
  char names[NAMES][80];
  int count;
} names;

static void found(void *ud, const char *name, size_t len) {
  names *n = ud;
  const char *from = (const char *)n->dump->bytes;
  if (!CHECK(name >= from && name + len <= from + n->dump->len)) return;
  if (len >= sizeof n->names[0]) len = sizeof n->names[0] - 1;
  for (int i = 0; i < n->count; i++)
    if (strlen(n->names[i]) == len && memcmp(n->names[i], name, len) == 0) return;
  if (n->count >= NAMES) return;
  memcpy(n->names[n->count], name, len);
  n->names[n->count++][len] = '\0';
}

static int by_name(const void *a, const void *b) {
  return strcmp(a, b);
}

static void globals_of(const dump *d, names *n) {
  memset(n, 0, sizeof *n);
  n->dump = d;
  il_dump_globals(d->bytes, d->len, &d->env, found, n);
  qsort(n->names, (size_t)n->count, sizeof n->names[0], by_name);
}

/* The names, sorted, each once, with a space in between. */
static void check_globals(const char *source, const char *expected) {
  for (int strip = 0; strip < 2; strip++) {
    char text[1024] = "";
    names n;
    dump d;
    size_t end = 0;
    if (!make_dump(source, strip, &d)) continue;
    globals_of(&d, &n);
    for (int i = 0; i < n.count; i++)
      end += (size_t)snprintf(text + end, sizeof text - end, "%s%s", i > 0 ? " " : "", n.names[i]);
    if (!CHECK_TEXT(text, expected)) printf("      %s: %s\n", strip ? "stripped" : "in", source);
    free(d.bytes);
  }
}

static void finds_globals(void) {
  check_globals("return function() end", "");
  check_globals("return function() return print end", "print");
  check_globals("return function() return print, math.floor, print end", "math print");
  check_globals("return function() x = 1 end", "");
  check_globals("return function() x = y end", "y");
  check_globals("return function() return ('text'):rep(3), 'print' end", "");
  check_globals("return function() function f() return g end end", "g");
  check_globals("return function() return _ENV.a end", "a");
  check_globals("local t = {a = 1}; return function() return t.a end", "");
  check_globals("local a = 1; return function() return a, b end", "b");
}

static void finds_globals_of_nested(void) {
  check_globals("return function() return function() return a end end", "a");
  check_globals("return function() b() return function() return function() return a end end end",
                "a b");
  check_globals("local t = {}; return function() return t.x, function() return t.y, z end end",
                "z");
  check_globals("return function() local _ENV = {a = 1}; return a end", "");
  check_globals("return function() local _ENV = {}; return function() return a end end", "");
  check_globals("return function(_ENV) return function() return a end, _ENV end", "");
  check_globals("return function(u) return function() return u.x, function() return y end end end",
                "y");
  check_globals("local _ENV = _ENV; return function() return a, function() return b end end",
                "a b");
}

/* Where the table of globals itself is taken, any string may be a name. */
static void finds_candidates(void) {
  check_globals("return function() local e = _ENV; return e.a, e.b end", "a b");
  check_globals("return function() return _ENV end", "");
  check_globals("return function() return "
                "a_name_that_is_longer_than_the_forty_bytes_of_short_strings_in_lua end",
                "a_name_that_is_longer_than_the_forty_bytes_of_short_strings_in_lua");
}

/* Constants with numbers past 255 are no operands. */
static void finds_many_globals(void) {
  static char source[32768];
  size_t n = (size_t)snprintf(source, sizeof source, "return function() return 0.5");
  names all;
  dump d;
  for (int i = 0; i < 500; i++)
    n += (size_t)snprintf(source + n, sizeof source - n, "%sv%03d", i % 100 ? " + " : " + 2 + ", i);
  snprintf(source + n, sizeof source - n, " end");
  if (!make_dump(source, false, &d)) return;
  globals_of(&d, &all);
  CHECK_INT(all.count, 500);
  CHECK_TEXT(all.names[0], "v000");
  CHECK_TEXT(all.names[499], "v499");
  free(d.bytes);
}

/* The upvalues that hold the globals are told, not known by their names. */
static void told_which_hold_globals(void) {
  names n;
  dump d;
  if (!make_dump("local e = _ENV; return function() return e.a, b end", false, &d)) return;
  globals_of(&d, &n);
  CHECK_INT(n.count, 1);
  CHECK_TEXT(n.names[0], "b");
  memset(&d.env, 0, sizeof d.env);
  globals_of(&d, &n);
  CHECK_INT(n.count, 0);
  il_upvalue_add(&d.env, 0);
  globals_of(&d, &n);
  CHECK_INT(n.count, 1);
  CHECK_TEXT(n.names[0], "a");
  free(d.bytes);
}

/* -- Broken dumps ------------------------------------------------------------------------------ */

/* All kinds of what a dump can hold. */
static const char everything[] =
  "local close <close>, const <const>, x = nil, {}, 1\n"
  "return function(a, b, ...)\n"
  "  local n = {1, 2.5, -7, 1 << 62, 'short', nil, true, false, [[a string that is longer than "
  "the forty bytes up to which Lua calls a string a short one]]}\n"
  "  for i = 1, #n do n[i] = tostring(i) .. (n[i] and x or const[i]) end\n"
  "  goto done\n"
  "  ::done::\n"
  "  return close, n, function(y) return print(a, y, close), function() return math.pi end end,\n"
  "    function() local _ENV = {}; return z end, _ENV\n"
  "end";

/* Reads all that can be read of a copy whose block is `len` bytes long. */
static void read_all(const unsigned char *bytes, size_t len, const il_upvalue_set *env) {
  names n;
  dump d = {malloc(len > 0 ? len : 1), len, *env};
  il_upvalue_set closing;
  if (!CHECK(d.bytes != NULL)) return;
  if (len > 0) memcpy(d.bytes, bytes, len);
  if (il_dump_known(d.bytes, d.len)) {
    il_dump_closing(d.bytes, d.len, &closing);
    globals_of(&d, &n);
  }
  free(d.bytes);
}

static void not_known(void) {
  unsigned char zeros[64] = {0};
  dump d;
  if (!make_dump(everything, false, &d)) return;
  CHECK(il_dump_known(d.bytes, d.len));
  CHECK(!il_dump_known(zeros, sizeof zeros));
  CHECK(!il_dump_known((const unsigned char *)"return 1", 8));
  for (size_t len = 0; len < 31; len++) CHECK(!il_dump_known(d.bytes, len));
  for (size_t i = 0; i < 31; i++) { /* the header: version, format, sizes, test numbers */
    d.bytes[i] ^= 1;
    CHECK(!il_dump_known(d.bytes, d.len));
    d.bytes[i] ^= 1;
  }
  free(d.bytes);
}

static void every_prefix(void) {
  for (int strip = 0; strip < 2; strip++) {
    dump d;
    if (!make_dump(everything, strip, &d)) return;
    for (size_t len = 0; len <= d.len; len++) read_all(d.bytes, len, &d.env);
    free(d.bytes);
  }
}

static void flipped_bytes(void) {
  for (int strip = 0; strip < 2; strip++) {
    uint32_t random = 77;
    il_upvalue_set all;
    dump d;
    if (!make_dump(everything, strip, &d)) return;
    memset(&all, 0xff, sizeof all);
    for (int i = 0; i < check_scale(20000, 1000); i++) {
      unsigned char *copy = malloc(d.len);
      if (!CHECK(copy != NULL)) break;
      memcpy(copy, d.bytes, d.len);
      for (uint32_t n = check_random(&random) % 8; n < 8; n++) {
        size_t at = 31 + check_random(&random) % (d.len - 31); /* behind the header */
        copy[at] = (unsigned char)check_random(&random);
      }
      read_all(copy, d.len - check_random(&random) % 2 * (check_random(&random) % 100),
               i % 2 == 0 ? &d.env : &all);
      free(copy);
    }
    free(d.bytes);
  }
}

static void garbage(void) {
  uint32_t random = 99;
  il_upvalue_set all;
  dump d;
  if (!make_dump("return 1", false, &d)) return;
  memset(&all, 0xff, sizeof all);
  for (int i = 0; i < check_scale(20000, 1000); i++) {
    unsigned char bytes[300];
    int narrow = i % 3; /* small numbers get further */
    memcpy(bytes, d.bytes, 32);
    for (size_t at = 32; at < sizeof bytes; at++) {
      uint32_t byte = check_random(&random);
      bytes[at] = (unsigned char)(narrow == 0 ? byte : narrow == 1 ? 0x80 | byte % 4 : byte % 2);
    }
    read_all(bytes, 32 + check_random(&random) % (sizeof bytes - 32), &all);
  }
  free(d.bytes);
}

static const check_case cases[] = {
  {"to-be-closed upvalues are found, of the function itself alone", finds_closing},
  {"the last of 255 upvalues is found", finds_closing_last},
  {"globals that a function reads are found", finds_globals},
  {"globals that nested functions read are found", finds_globals_of_nested},
  {"all strings are candidates where the globals themselves are taken", finds_candidates},
  {"more than 256 globals are found", finds_many_globals},
  {"the upvalues that hold the globals are told by the caller", told_which_hold_globals},
  {"a chunk of another format is not known", not_known},
  {"each beginning of a dump is read within its bounds", every_prefix},
  {"a dump with changed bytes is read within its bounds", flipped_bytes},
  {"garbage is read within its bounds", garbage},
};

CHECK_MAIN(cases)
