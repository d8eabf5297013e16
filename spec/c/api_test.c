/* api_test.c - isolua.h: what is run, with which options, and what is read of it. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "one_host.h"

/* `source` returns true. */
static void check_true(isolua_options *options, const char *source) {
  isolua_future *f = embed_run(host, options, source);
  if (embed_settles(f, ISOLUA_OK, NULL) && !CHECK_INT(isolua_future_boolean(f, 1), 1))
    printf("      %s\n", source);
  isolua_future_release(f);
}

/* -- Names ------------------------------------------------------------------------------------- */

static void names_errors(void) {
  static const char *const names[] = {"ok",          "error",       "killed", "cancelled",
                                      "timeout",     "exited",      "memory", "not_sendable",
                                      "closed",      "transferred", "spawn",  "deadlock",
                                      "interrupted", "stuck",       "invalid"};
  CHECK_INT(isolua_version(), ISOLUA_VERSION_NUMBER);
  CHECK_INT(sizeof names / sizeof names[0], ISOLUA_INVALID + 1);
  for (int code = ISOLUA_OK; code <= ISOLUA_INVALID; code++) {
    CHECK_TEXT(isolua_code_name(code), names[code]);
    CHECK(strlen(isolua_code_message(code)) > 0);
  }
  for (int i = 0; i < 2; i++) {
    int unknown = i == 0 ? -1 : ISOLUA_INVALID + 1;
    CHECK(isolua_code_name(unknown) != NULL);
    CHECK(isolua_code_message(unknown) != NULL);
  }
}

/* -- What is refused at once ------------------------------------------------------------------- */

static char garbage; /* what an out-parameter points to before */

/* All three ways to run refuse the options with ISOLUA_INVALID and give nothing out. */
static void check_invalid(const isolua_options *options, const char *what) {
  isolua_future *f = (isolua_future *)(void *)&garbage;
  bool good = CHECK_INT(isolua_run_string(host, options, "return 1", &f), ISOLUA_INVALID) &&
              CHECK_INT(isolua_run_buffer(host, options, "", 0, NULL, &f), ISOLUA_INVALID) &&
              CHECK_INT(isolua_run_file(host, options, "/no/such/file", &f), ISOLUA_INVALID) &&
              CHECK(f == NULL);
  if (!good) printf("      %s\n", what);
  if (f != (isolua_future *)(void *)&garbage) isolua_future_release(f);
}

static void refuses_wrong_options(void) {
  isolua_options o = {.size = 0};
  if (!open_host()) return;
  check_invalid(&o, "size 0");
  o.size = sizeof(size_t) - 1;
  check_invalid(&o, "a size below that of the size");
  o.size = sizeof o + 1;
  check_invalid(&o, "a size beyond the struct");
  o = (isolua_options){.size = sizeof o, .timeout = -1};
  check_invalid(&o, "timeout -1");
  o = (isolua_options){.size = sizeof o, .timeout = INT64_MIN};
  check_invalid(&o, "the least timeout");
  o = (isolua_options){.size = sizeof o, .libs = "strings"};
  check_invalid(&o, "libs strings");
  o = (isolua_options){.size = sizeof o, .libs = "string tab"};
  check_invalid(&o, "libs string tab");
  o = (isolua_options){.size = sizeof o, .libs = "isolate"};
  check_invalid(&o, "libs isolate");
  o = (isolua_options){.size = sizeof o, .gc = "Generational"};
  check_invalid(&o, "gc Generational");
  o = (isolua_options){.size = sizeof o, .gc = ""};
  check_invalid(&o, "gc without text");
  close_host();
}

static void refuses_null(void) {
  isolua_future *f = (isolua_future *)(void *)&garbage;
  if (!open_host()) return;
  CHECK_INT(isolua_run_string(NULL, NULL, "return 1", &f), ISOLUA_INVALID);
  CHECK_INT(isolua_run_string(host, NULL, NULL, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_run_string(host, NULL, "return 1", NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_run_buffer(NULL, NULL, "return 1", 8, NULL, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_run_buffer(host, NULL, NULL, 0, NULL, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_run_buffer(host, NULL, "return 1", 8, NULL, NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_run_file(NULL, NULL, "/no/such/file", &f), ISOLUA_INVALID);
  CHECK_INT(isolua_run_file(host, NULL, NULL, &f), ISOLUA_INVALID);
  CHECK_INT(isolua_run_file(host, NULL, "/no/such/file", NULL), ISOLUA_INVALID);
  CHECK(f == NULL);
  isolua_future_release(NULL);
  close_host();
  CHECK_INT(isolua_host_open(NULL, NULL), ISOLUA_INVALID);
}

/* As a program does that has not looked whether it was given something. */
static void futures_may_be_null(void) {
  while (!isolua_future_done(NULL)) continue;
  CHECK_INT(isolua_future_wait(NULL, ISOLUA_FOREVER), ISOLUA_INVALID);
  CHECK_INT(isolua_future_code(NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_future_cancel(NULL, NULL), 0);
  CHECK_INT(isolua_future_count(NULL), 0);
  CHECK_INT(isolua_future_type(NULL, 1), ISOLUA_TNONE);
  CHECK_INT(isolua_future_integer(NULL, 1), 0);
  CHECK(isolua_future_string(NULL, 1, NULL) == NULL);
  CHECK(isolua_future_value(NULL, 1) == NULL);
  CHECK_PART(isolua_future_message(NULL), "`future` is NULL");
  CHECK(isolua_future_traceback(NULL) == NULL);
  isolua_future_retain(NULL);
}

static void messages_may_be_null(void) {
  isolua_block *block;
  CHECK_INT(isolua_add_nil(NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_add_string(NULL, "text"), ISOLUA_INVALID);
  CHECK_INT(isolua_add_map(NULL, 1), ISOLUA_INVALID);
  CHECK_INT(isolua_add_end(NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_add_sender(NULL, NULL), ISOLUA_INVALID);
  if (!CHECK_INT(isolua_block_new(8, &block), ISOLUA_OK)) return;
  CHECK_INT(isolua_add_block(NULL, block), ISOLUA_INVALID); /* takes over the hold */
}

static void objects_may_be_null(void) {
  isolua_stats stats;
  isolua_pool_stats numbers;
  long long old = 1;
  size_t size = 1;
  CHECK_INT(isolua_isolate_id(NULL), 0);
  CHECK(isolua_isolate_name(NULL) == NULL && isolua_isolate_status(NULL) == NULL);
  CHECK(isolua_isolate_sender(NULL) == NULL);
  CHECK(isolua_isolate_future(NULL) == NULL && isolua_isolate_gone(NULL) == NULL);
  CHECK_INT(isolua_isolate_kill(NULL, 0, 0), ISOLUA_INVALID);
  isolua_isolate_stats(NULL, &stats);
  CHECK_INT((long long)stats.memory, 0);
  isolua_sender_retain(NULL);
  isolua_pool_close(NULL);
  isolua_pool_cancel(NULL, NULL);
  isolua_pool_retain(NULL);
  CHECK(isolua_pool_empty(NULL) == NULL);
  isolua_pool_look(NULL, &numbers);
  CHECK_INT((long long)numbers.size, 0);
  CHECK(isolua_block_data(NULL, &size) == NULL && size == 0);
  isolua_block_freeze(NULL);
  isolua_block_retain(NULL);
  CHECK_INT(isolua_block_frozen(NULL), 0);
  isolua_atomic_retain(NULL);
  isolua_atomic_store(NULL, 1);
  CHECK_INT(isolua_atomic_load(NULL) + isolua_atomic_add(NULL, 1), 0);
  CHECK_INT(isolua_atomic_exchange(NULL, &old, 2), 0);
}

/* A program that was compiled when the struct was smaller. */
static void takes_shorter_options(void) {
  isolua_options o = {.name = "old", .timeout = 10 * MILLISECOND, .libs = "nonsense"};
  isolua_future *f;
  if (!open_host()) return;
  o.size = offsetof(isolua_options, memory);
  if (CHECK_INT(isolua_run_string(host, &o, ENDLESS, &f), ISOLUA_OK)) {
    embed_settles(f, ISOLUA_TIMEOUT, "'old'");
    isolua_future_release(f);
  }
  close_host();
}

/* -- Options ----------------------------------------------------------------------------------- */

static void option_name(void) {
  static const char thread_name[] =
    "local f = io.open '/proc/thread-self/comm'; return f:read 'l' == 'a worker', f:close()";
  isolua_options o = {.name = "a worker"};
  char name[] = "short-lived";
  isolua_future *f;
  if (!open_host()) return;
  check_true(&o, thread_name);
  o = (isolua_options){.name = name, .timeout = 10 * MILLISECOND};
  f = embed_run(host, &o, ENDLESS);
  memset(name, 'x', sizeof name - 1); /* the library has a copy */
  embed_settles(f, ISOLUA_TIMEOUT, "'short-lived'");
  isolua_future_release(f);
  close_host();
}

static void option_timeout(void) {
  isolua_options o = {.timeout = 30 * MILLISECOND};
  isolua_future *f;
  if (!open_host()) return;
  embed_gives(host, &o, ENDLESS, ISOLUA_TIMEOUT, NULL);
  embed_gives(host, &o, "while true do pcall(error) end", ISOLUA_TIMEOUT, NULL);
  embed_gives(host, &o, "while true do pcall(string.rep, 'x', 1 << 20) end", ISOLUA_TIMEOUT, NULL);
  o.timeout = 3600 * ISOLUA_SECOND;
  check_true(&o, "return true");
  o.timeout = INT64_MAX;
  check_true(&o, "return true");
  o.timeout = 30 * MILLISECOND;
  f = embed_run(host, &o, "return 1");
  embed_settles(f, ISOLUA_OK, NULL);
  isolua_future_release(f);
  close_host();
}

static void option_memory(void) {
  isolua_options o = {.name = "hungry", .memory = 1 << 20};
  if (!open_host()) return;
  embed_gives(host, &o, "return #('x'):rep(1 << 24)", ISOLUA_MEMORY, "hungry");
  embed_gives(host, &o, "local t = {} while true do t[#t + 1] = {} end", ISOLUA_MEMORY, NULL);
  check_true(&o, "local ok, e = pcall(string.rep, 'x', 1 << 24)\n"
                 "return not ok and e == 'not enough memory' and #('x'):rep(1000) == 1000");
  check_true(&o, "return collectgarbage 'count' < 1024");
  o.memory = 64 << 20;
  check_true(&o, "return #('x'):rep(1 << 24) == 1 << 24");
  o.memory = 1; /* less than the libraries take */
  embed_gives(host, &o, "return ('x'):rep(100)", ISOLUA_MEMORY, "hungry");
  close_host();
}

static void option_libs(void) {
  static const char all[] =
    "for _, name in ipairs { 'coroutine', 'debug', 'io', 'math', 'os', 'package', 'string',\n"
    "                        'table', 'utf8' } do\n"
    "  if type(_G[name]) ~= 'table' or package.loaded[name] ~= _G[name] then return name end\n"
    "end\n"
    "return type(require) == 'function'";
  static const char none[] =
    "local n = 0\n"
    "for _, v in next, _G do if type(v) == 'table' and v ~= _G then n = n + 1 end end\n"
    "return n == 0 and require == nil and getmetatable '' == nil and tostring(1) == '1'";
  isolua_options o = {.libs = NULL};
  if (!open_host()) return;
  check_true(NULL, all);
  check_true(&o, all);
  o.libs = "";
  check_true(&o, none);
  o.libs = "coroutine debug io math os package string table utf8";
  check_true(&o, all);
  o.libs = "string  table";
  check_true(&o, "return ('x'):rep(2) == 'xx' and table.concat { 1, 2 } == '12' and math == nil\n"
                 "  and os == nil and io == nil and debug == nil and require == nil");
  o.libs = "package math";
  check_true(&o, "return require 'math' == math and not pcall(require, 'string')");
  close_host();
}

static void option_gc(void) {
  isolua_options o = {.gc = "generational"};
  if (!open_host()) return;
  check_true(&o, "return collectgarbage 'incremental' == 'generational'");
  o.gc = "incremental";
  check_true(&o, "return collectgarbage 'generational' == 'incremental'");
  o.gc = "stop";
  check_true(&o, "return not collectgarbage 'isrunning'");
  check_true(NULL, "return collectgarbage 'isrunning'");
  close_host();
}

static void option_stack(void) {
  static const char nested[] =
    "local function f(n) return n == 0 or (('x'):gsub('x', function() f(n - 1) end)) end\n"
    "f(100) return true";
  static const char too_deep[] = "local function f() return (('x'):gsub('x', f)) end return f()";
  isolua_options o = {.stack = 1};
  if (!open_host()) return;
  if (!check_under(NULL)) { /* whose frames are larger */
    check_true(&o, nested);
    embed_gives(host, &o, too_deep, ISOLUA_ERROR, "C stack overflow");
  }
  o.stack = (1 << 20) + 1;
  check_true(&o, nested);
  o.stack = 64 << 20;
  check_true(&o, nested);
  check_true(NULL, nested);
  embed_gives(host, NULL, "local function f() return 1 + f() end return f()", ISOLUA_ERROR,
              "stack overflow");
  embed_gives(host, NULL, too_deep, ISOLUA_ERROR, "C stack overflow");
  if (!check_under("tsan")) {
    o.stack = (size_t)1 << 46;
    embed_gives(host, &o, "return 1", ISOLUA_SPAWN, "thread");
  }
  close_host();
}

static void option_init(void) {
  static const char module[] = "answer = (answer or 41) + 1 return {}";
  isolua_options o = {.init = "spec_init"};
  embed_file file;
  char path[600];
  if (!embed_write(&file, "spec_init.lua", module, sizeof module - 1)) return;
  snprintf(path, sizeof path, "%s/?.lua;;", file.folder);
  setenv("LUA_PATH", path, 1);
  if (open_host()) {
    check_true(&o, "return answer == 42 and require 'spec_init' and answer == 42");
    o.init = "no.such.module";
    embed_gives(host, &o, "return 1", ISOLUA_ERROR, "module 'no.such.module' not found");
    o = (isolua_options){.init = "spec_init", .libs = "string"};
    embed_gives(host, &o, "return 1", ISOLUA_ERROR, "package");
    close_host();
  }
  unsetenv("LUA_PATH");
  embed_remove(&file);
}

static void init_fails(void) {
  static const char module[] = "error 'init has failed'";
  isolua_options o = {.init = "spec_failing", .name = "begin"};
  embed_file file;
  char path[600];
  if (!embed_write(&file, "spec_failing.lua", module, sizeof module - 1)) return;
  snprintf(path, sizeof path, "%s/?.lua;;", file.folder);
  setenv("LUA_PATH", path, 1);
  if (open_host()) {
    embed_gives(host, &o, "return 1", ISOLUA_ERROR, "init has failed");
    close_host();
  }
  unsetenv("LUA_PATH");
  embed_remove(&file);
}

/* -- What is run ------------------------------------------------------------------------------- */

static void check_buffer(const char *source, size_t length, const char *name, int code,
                         const char *part) {
  isolua_future *f;
  char *copy = malloc(length + 1); /* exactly that much may be read, and only now */
  if (!CHECK(copy != NULL)) return;
  memcpy(copy, source, length);
  if (CHECK_INT(isolua_run_buffer(host, NULL, copy, length, name, &f), ISOLUA_OK)) {
    memset(copy, 'x', length);
    embed_settles(f, code, part);
    isolua_future_release(f);
  }
  free(copy);
}

static void runs_buffers(void) {
  if (!open_host()) return;
  check_buffer("return 1 garbage", 8, NULL, ISOLUA_OK, NULL);
  check_buffer("", 0, NULL, ISOLUA_OK, NULL);
  check_buffer("return 'a\0b'", 12, NULL, ISOLUA_OK, NULL);
  check_buffer("return = 1", 10, "=house", ISOLUA_ERROR, "house:1:");
  check_buffer("return = 1", 10, "@house.lua", ISOLUA_ERROR, "house.lua:1:");
  check_buffer("return = 1", 10, "return = 1", ISOLUA_ERROR, "[string \"return = 1\"]:1:");
  check_buffer("\n\nerror 'x'", 11, "=house", ISOLUA_ERROR, "house:3: x");
  check_buffer("return \0", 8, NULL, ISOLUA_ERROR, ":1:");
  embed_gives(host, NULL, "return = 1", ISOLUA_ERROR, ":1:");
  embed_gives(host, NULL, "", ISOLUA_OK, NULL);
  close_host();
}

static void check_file(const char *path, int code, const char *part) {
  isolua_future *f;
  if (!CHECK_INT(isolua_run_file(host, NULL, path, &f), ISOLUA_OK)) return;
  embed_settles(f, code, part);
  isolua_future_release(f);
}

static void runs_files(void) {
  static const char text[] = "#!/usr/bin/env isolua\nlocal x = 1\nerror 'in a file'\n";
  embed_file file;
  if (!embed_write(&file, "script.lua", text, sizeof text - 1) || !open_host()) return;
  check_file(file.path, ISOLUA_ERROR, "script.lua:3: in a file");
  check_file(file.folder, ISOLUA_ERROR, file.folder);
  check_file("/no/such/file.lua", ISOLUA_ERROR, "/no/such/file.lua");
  check_file("", ISOLUA_ERROR, "");
  close_host();
  embed_remove(&file);
}

static void has_not_the_prompt(void) {
  if (!open_host()) return;
  embed_gives(host, NULL, "assert(require 'isolate.pools')", ISOLUA_OK, NULL);
  embed_gives(host, NULL, "require 'isolate.repl.pretty'", ISOLUA_ERROR, "not found");
  close_host();
}

static void refuses_bytecode(void) {
  size_t length;
  isolua_future *f;
  const char *code;
  embed_file file;
  if (!open_host()) return;
  f = embed_run(host, NULL, "return string.dump(function() return 1 end)");
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    code = isolua_future_string(f, 1, &length);
    CHECK(length > 30 && memcmp(code, "\x1bLua", 4) == 0);
    check_buffer(code, length, NULL, ISOLUA_ERROR, "binary chunk");
    if (embed_write(&file, "code.luac", code, length)) {
      check_file(file.path, ISOLUA_ERROR, "binary chunk");
      embed_remove(&file);
    }
  }
  isolua_future_release(f);
  close_host();
}

/* -- Results ----------------------------------------------------------------------------------- */

static void reads_every_type(void) {
  isolua_future *f;
  if (!open_host()) return;
  f = embed_run(host, NULL, "return nil, true, false, 42, 1.5, 'text', {}, print, nil");
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    static const int types[] = {ISOLUA_TNONE,    ISOLUA_TNIL,    ISOLUA_TBOOLEAN, ISOLUA_TBOOLEAN,
                                ISOLUA_TINTEGER, ISOLUA_TNUMBER, ISOLUA_TSTRING,  ISOLUA_TTABLE,
                                ISOLUA_TOTHER,   ISOLUA_TNIL,    ISOLUA_TNONE};
    CHECK_INT(isolua_future_count(f), 9);
    for (int i = 0; i <= 10; i++) {
      CHECK_INT(isolua_future_type(f, i), types[i]);
      CHECK_INT(isolua_future_boolean(f, i), i == 2);
      CHECK_INT(isolua_future_integer(f, i), i == 4 ? 42 : 0);
      CHECK(isolua_future_number(f, i) == (i == 4 ? 42.0 : i == 5 ? 1.5 : 0.0));
      CHECK((isolua_future_string(f, i, NULL) != NULL) == (i == 6));
    }
    CHECK(isolua_future_message(f) == NULL);
    CHECK(isolua_future_traceback(f) == NULL);
  }
  isolua_future_release(f);
  close_host();
}

static void reads_numbers(void) {
  isolua_future *f;
  if (!open_host()) return;
  f = embed_run(host, NULL,
                "return math.maxinteger, math.mininteger, 3.0, -0.0, 2^53, 2^63, -2^63, 0/0, 1/0,\n"
                "  -1/0, 1e308, 5e-324, '10'");
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    static const long long integers[] = {
      INT64_MAX, INT64_MIN, 3, 0, (long long)1 << 53, 0, INT64_MIN, 0, 0, 0, 0, 0, 0};
    CHECK_INT(isolua_future_count(f), 13);
    for (int i = 1; i <= 13; i++) CHECK_INT(isolua_future_integer(f, i), integers[i - 1]);
    CHECK_INT(isolua_future_type(f, 3), ISOLUA_TNUMBER);
    CHECK(isolua_future_number(f, 1) == 9223372036854775808.0);
    CHECK(isolua_future_number(f, 3) == 3.0);
    CHECK(signbit(isolua_future_number(f, 4)));
    CHECK(isnan(isolua_future_number(f, 8)));
    CHECK(isinf(isolua_future_number(f, 9)) && isolua_future_number(f, 9) > 0);
    CHECK(isinf(isolua_future_number(f, 10)) && isolua_future_number(f, 10) < 0);
    CHECK(isolua_future_number(f, 11) == 1e308);
    CHECK(isolua_future_number(f, 12) == 5e-324);
    CHECK(isolua_future_number(f, 13) == 0.0); /* a string */
  }
  isolua_future_release(f);
  close_host();
}

static void check_string(isolua_future *f, int index, const char *expected, size_t length) {
  size_t actual = 12345;
  const char *s = isolua_future_string(f, index, &actual);
  if (!CHECK(s != NULL)) return;
  CHECK_INT(actual, length);
  CHECK(memcmp(s, expected, length) == 0);
  CHECK_INT(s[length], '\0');
}

static void reads_strings(void) {
  static const char source[] = "local s, long = 'twice', ('long '):rep(1000)\n"
                               "return 'a\\0b\\0', '', s, s, long, long, '\\0\\xff', {s}, s";
  size_t length = 1;
  isolua_future *f;
  char text[5001];
  for (int i = 0; i < 1000; i++) memcpy(text + 5 * (size_t)i, "long ", 6);
  if (!open_host()) return;
  f = embed_run(host, NULL, source);
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    CHECK_INT(isolua_future_count(f), 9);
    check_string(f, 1, "a\0b\0", 4);
    check_string(f, 2, "", 0);
    check_string(f, 3, "twice", 5);
    check_string(f, 4, "twice", 5);
    check_string(f, 5, text, 5000);
    check_string(f, 6, text, 5000);
    check_string(f, 7, "\0\xff", 2);
    check_string(f, 9, "twice", 5);
    CHECK(isolua_future_string(f, 8, &length) == NULL);
    CHECK(isolua_future_string(f, 3, NULL) != NULL);
  }
  isolua_future_release(f);
  close_host();
}

static void reads_many_results(void) {
  isolua_future *f;
  size_t length;
  const char *s;
  if (!open_host()) return;
  f = embed_run(host, NULL,
                "local t = {} for i = 1, 5000 do t[i] = i end\n"
                "return table.unpack(t)");
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    CHECK_INT(isolua_future_count(f), 5000);
    for (int i = 1; i <= 5000; i++) CHECK_INT(isolua_future_integer(f, i), i);
  }
  isolua_future_release(f);
  f = embed_run(host, NULL, "return ('0123456789'):rep(1000000), 'end'");
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    s = isolua_future_string(f, 1, &length);
    CHECK_INT(length, 10000000);
    CHECK(s != NULL && memcmp(s + 9999990, "0123456789", 11) == 0);
    check_string(f, 2, "end", 3);
  }
  isolua_future_release(f);
  close_host();
}

static void index_out_of_range(void) {
  static const char *const sources[] = {"return", "return 1", "return 1, 'x'", "error 'x'"};
  static const int indexes[] = {INT32_MIN, -1, 0, 3, 256, INT32_MAX};
  if (!open_host()) return;
  for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
    isolua_future *f = embed_run(host, NULL, sources[i]);
    embed_settles(f, i < 3 ? ISOLUA_OK : ISOLUA_ERROR, NULL);
    CHECK_INT(isolua_future_count(f), i < 3 ? i : 0);
    for (size_t j = 0; j < sizeof indexes / sizeof indexes[0]; j++) {
      size_t length = 7;
      CHECK_INT(isolua_future_type(f, indexes[j]), ISOLUA_TNONE);
      CHECK_INT(isolua_future_boolean(f, indexes[j]), 0);
      CHECK_INT(isolua_future_integer(f, indexes[j]), 0);
      CHECK(isolua_future_number(f, indexes[j]) == 0.0);
      CHECK(isolua_future_string(f, indexes[j], &length) == NULL);
    }
    isolua_future_release(f);
  }
  close_host();
}

/* -- Errors ------------------------------------------------------------------------------------ */

static void has_message_and_traceback(void) {
  static const char source[] = "local function inner()\n"
                               "  error 'deep'\n"
                               "end\n"
                               "inner()\n"
                               "return 1";
  isolua_future *f;
  if (!open_host()) return;
  if (CHECK_INT(isolua_run_buffer(host, NULL, source, sizeof source - 1, "=house", &f),
                ISOLUA_OK)) {
    embed_settles(f, ISOLUA_ERROR, "house:2: deep");
    CHECK_TEXT(isolua_future_message(f), "house:2: deep");
    CHECK_PART(isolua_future_traceback(f), "house:2: deep\nstack traceback:\n");
    CHECK_PART(isolua_future_traceback(f), "house:2: in");
    CHECK_PART(isolua_future_traceback(f), "house:4: in");
    CHECK_INT(isolua_future_count(f), 0);
    isolua_future_release(f);
  }
  close_host();
}

static void errors_of_any_value(void) {
  if (!open_host()) return;
  embed_gives(host, NULL, "error('text', 0)", ISOLUA_ERROR, "text");
  embed_gives(host, NULL, "error(42)", ISOLUA_ERROR, "42");
  embed_gives(host, NULL, "error({})", ISOLUA_ERROR, "(error object is a table value)");
  embed_gives(host, NULL, "error()", ISOLUA_ERROR, "nil");
  embed_gives(host, NULL, "error('a\\0b', 0)", ISOLUA_ERROR, "a");
  embed_gives(host, NULL,
              "error(setmetatable({}, {__tostring = function() return 'own text' end}))",
              ISOLUA_ERROR, "own text");
  embed_gives(host, NULL, "error(setmetatable({}, {__tostring = function() error 'no text' end}))",
              ISOLUA_ERROR, "table value");
  embed_gives(host, NULL, "error(coroutine.create(print))", ISOLUA_NOT_SENDABLE, "coroutine");
  embed_gives(host, NULL, "return 1, coroutine.create(print)", ISOLUA_NOT_SENDABLE, "result #2");
  embed_gives(host, NULL, "os.exit(3)", ISOLUA_EXITED, NULL);
  embed_gives(host, NULL, "pcall(os.exit)", ISOLUA_EXITED, NULL);
  close_host();
}

/* The value of what `source` raises; `type` is its own. */
static isolua_future *raised(const char *source, int type) {
  isolua_future *f = embed_run(host, NULL, source);
  isolua_future_wait(f, SOON);
  CHECK_INT(isolua_value_type(isolua_future_error(f)), type);
  CHECK_INT(isolua_future_count(f), 0);
  CHECK(isolua_future_value(f, 1) == NULL);
  return f;
}

static void errors_are_read_as_values(void) {
  isolua_future *f;
  if (!open_host()) return;
  CHECK(isolua_future_error(NULL) == NULL);
  f = raised("error {code = 'no_door', at = {3, 4}}", ISOLUA_TTABLE);
  CHECK_TEXT(isolua_value_string(isolua_value_get(isolua_future_error(f), "code"), NULL),
             "no_door");
  CHECK_INT(
    isolua_value_integer(isolua_value_at(isolua_value_get(isolua_future_error(f), "at"), 2)), 4);
  isolua_future_release(f);
  f = raised("error('a\\0b', 0)", ISOLUA_TSTRING);
  CHECK_INT((long long)isolua_value_length(isolua_future_error(f)), 3);
  isolua_future_release(f);
  isolua_future_release(raised("error(42)", ISOLUA_TINTEGER));
  isolua_future_release(raised("error()", ISOLUA_TNIL));
  isolua_future_release(raised("error(function() end)", ISOLUA_TOTHER));
  f = embed_run(host, NULL, "return 1");
  CHECK(isolua_future_error(f) == NULL); /* not settled, or with results */
  isolua_future_wait(f, SOON);
  CHECK(isolua_future_error(f) == NULL);
  isolua_future_release(f);
  f = embed_run(host, NULL, "os.exit()");
  isolua_future_wait(f, SOON);
  CHECK(isolua_future_error(f) == NULL);
  isolua_future_release(f);
  close_host();
}

/* -- Waiting and cancelling -------------------------------------------------------------------- */

static void waits(void) {
  isolua_future *f;
  if (!open_host()) return;
  f = embed_run(host, NULL, ENDLESS);
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_TIMEOUT);
  CHECK_INT(isolua_future_wait(f, 5 * MILLISECOND), ISOLUA_TIMEOUT);
  CHECK_INT(isolua_future_done(f), 0);
  CHECK_INT(isolua_future_count(f), 0);
  CHECK_INT(isolua_future_type(f, 1), ISOLUA_TNONE);
  CHECK(isolua_future_message(f) == NULL);
  CHECK(isolua_future_traceback(f) == NULL);
  isolua_future_cancel(f, NULL);
  CHECK_INT(isolua_future_done(f), 1);
  isolua_future_release(f);
  f = embed_run(host, NULL, "return 6 * 7");
  CHECK_INT(isolua_future_wait(f, ISOLUA_FOREVER), ISOLUA_OK);
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_OK);
  CHECK_INT(isolua_future_done(f), 1);
  CHECK_INT(isolua_future_integer(f, 1), 42);
  isolua_future_release(f);
  close_host();
}

static void tells_the_code(void) {
  isolua_future *f;
  if (!open_host()) return;
  f = embed_run(host, NULL, ENDLESS);
  CHECK_INT(isolua_future_code(f), -1);
  isolua_future_cancel(f, NULL);
  CHECK_INT(isolua_future_code(f), ISOLUA_CANCELLED);
  isolua_future_release(f);
  f = embed_run(host, NULL, "return 1");
  embed_settles(f, ISOLUA_OK, NULL);
  CHECK_INT(isolua_future_code(f), ISOLUA_OK);
  isolua_future_release(f);
  close_host();
}

static void retain_and_release(int index, void *arg) {
  (void)index;
  for (int i = 0; i < 1000; i++) {
    isolua_future_retain(arg);
    isolua_future_release(arg);
  }
  isolua_future_release(arg);
}

static void holds_keep_it(void) {
  isolua_future *f;
  if (!open_host()) return;
  f = embed_run(host, NULL, "return 'kept'");
  for (int i = 0; i < 4; i++) isolua_future_retain(f);
  check_parallel(4, retain_and_release, f);
  if (embed_settles(f, ISOLUA_OK, NULL)) CHECK_TEXT(isolua_future_string(f, 1, NULL), "kept");
  isolua_future_release(f);
  close_host();
}

static void cancels(void) {
  char reason[] = "changed my mind";
  isolua_future *f;
  if (!open_host()) return;
  f = embed_run(host, NULL, ENDLESS);
  isolua_future_cancel(f, reason);
  memset(reason, 'x', sizeof reason - 1);
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_CANCELLED);
  isolua_future_cancel(f, "another reason");
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_CANCELLED);
  CHECK_TEXT(isolua_future_message(f), "changed my mind");
  isolua_future_release(f);
  f = embed_run(host, NULL, "return 1");
  embed_settles(f, ISOLUA_OK, NULL);
  isolua_future_cancel(f, "too late");
  CHECK_INT(isolua_future_wait(f, 0), ISOLUA_OK);
  CHECK_INT(isolua_future_integer(f, 1), 1);
  isolua_future_release(f);
  f = embed_run(host, NULL, ENDLESS);
  isolua_future_cancel(f, NULL);
  embed_settles(f, ISOLUA_CANCELLED, isolua_code_message(ISOLUA_CANCELLED));
  isolua_future_release(f);
  close_host();
}

static void cancel_ends_the_isolate(void) {
  if (!open_host()) return;
  for (int i = 0; i < check_scale(100, 10); i++) {
    isolua_future *f = embed_run(host, NULL,
                                 "local function f() while true do end end\n"
                                 "while true do pcall(f) end");
    if (i % 2 == 0) isolua_future_wait(f, MILLISECOND);
    isolua_future_cancel(f, NULL);
    isolua_future_release(f);
    if (!CHECK(check_isolates_end())) break;
  }
  close_host();
}

static void counts_what_is_alive(void) {
  const isolua_counts *before = check_before();
  isolua_counts counts;
  isolua_future *f;
  if (!open_host()) return;
  f = embed_run(host, NULL, ENDLESS);
  isolua_count(&counts);
  CHECK_INT(counts.isolates - before->isolates, 1);
  CHECK_INT(counts.futures - before->futures, 1);
  CHECK(counts.threads > before->threads);
  isolua_future_cancel(f, NULL);
  isolua_future_release(f);
  f = embed_run(host, NULL, "return ('x'):rep(1000)");
  embed_settles(f, ISOLUA_OK, NULL);
  CHECK(check_isolates_end());
  isolua_count(&counts);
  CHECK_INT(counts.futures - before->futures, 1);
  CHECK_INT(counts.messages - before->messages, 1);
  CHECK(counts.bytes - before->bytes >= 1000);
  isolua_future_release(f);
  isolua_count(&counts);
  CHECK_INT(counts.futures - before->futures, 0);
  CHECK_INT(counts.messages - before->messages, 0);
  close_host();
}

static const check_case cases[] = {
  {"errors have names and messages", names_errors},
  {"wrong options are refused, and nothing is given out", refuses_wrong_options},
  {"NULL is refused where something is needed", refuses_null},
  {"a future that is NULL has failed", futures_may_be_null},
  {"what is added to a message that is NULL is refused", messages_may_be_null},
  {"nothing is read from objects that are NULL", objects_may_be_null},
  {"options of an older, shorter struct are taken", takes_shorter_options},
  {"name is shown in errors and is the thread's", option_name},
  {"timeout kills an isolate that runs over it", option_timeout},
  {"memory caps the heap; the error may be caught inside", option_memory},
  {"libs are all, none, or those that are named", option_libs},
  {"gc sets the mode of the collector", option_gc},
  {"stack is enough for nested C calls; more is an error", option_stack},
  {"init is required first", option_init},
  {"an error in init is the isolate's", init_fails},
  {"a buffer runs as it is, under its name", runs_buffers},
  {"a file runs; one that cannot be read is an error", runs_files},
  {"precompiled chunks are refused", refuses_bytecode},
  {"the library has its modules, but those of the prompt", has_not_the_prompt},
  {"results of every type are read as what they are", reads_every_type},
  {"a float with an exact integer is read as both", reads_numbers},
  {"strings are read with their zeros, also repeated ones", reads_strings},
  {"thousands of results and a large one are read", reads_many_results},
  {"an index out of range reads nothing", index_out_of_range},
  {"an error has its message and the traceback of where it was raised", has_message_and_traceback},
  {"an error may be any value", errors_of_any_value},
  {"an error is read as the value that it is", errors_are_read_as_values},
  {"a wait ends at its timeout, or with the work", waits},
  {"a settled future tells its code", tells_the_code},
  {"a future stays as long as somebody holds it", holds_keep_it},
  {"a cancel settles at once, and the first one counts", cancels},
  {"a cancelled isolate ends", cancel_ends_the_isolate},
  {"what is alive is counted", counts_what_is_alive},
};

CHECK_MAIN(cases)
