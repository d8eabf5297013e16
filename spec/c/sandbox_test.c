/* sandbox_test.c - isolua.h: what a host lets its isolates do, and how much. */
/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed.h"
#include "isolua_lua.h"

static isolua_host *open_with(isolua_host_options *o) {
  isolua_host *host = embed_open(o);
  isolua_host_set_open(host, isolua_open_modules);
  return host;
}

/* `source` returns true. */
static void check_true(isolua_host *host, isolua_options *options, const char *source) {
  isolua_future *f = embed_run(host, options, source);
  if (!embed_settles(f, ISOLUA_OK, NULL) || !CHECK_INT(isolua_future_boolean(f, 1), 1))
    printf("      %s\n", source);
  isolua_future_release(f);
}

/* -- Caps -------------------------------------------------------------------------------------- */

static const char greedy[] = "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end";

static void refuses_wrong_caps(void) {
  isolua_host_options o = {.size = sizeof o, .max_time = -1};
  isolua_host *host = NULL;
  CHECK_INT(isolua_host_open(&o, &host), ISOLUA_INVALID);
  o.max_time = INT64_MIN;
  CHECK_INT(isolua_host_open(&o, &host), ISOLUA_INVALID);
  CHECK(host == NULL);
  o.max_time = INT64_MAX;
  o.max_memory = o.max_isolates = SIZE_MAX;
  if (CHECK_INT(isolua_host_open(&o, &host), ISOLUA_OK)) {
    embed_gives(host, NULL, "return 1", ISOLUA_OK, NULL);
    embed_close(host);
  }
}

static void max_memory_caps_each_isolate(void) {
  isolua_host_options o = {.max_memory = 2 << 20};
  isolua_options more = {.name = "more", .memory = 64 << 20};
  isolua_options less = {.name = "less", .memory = 200 << 10};
  isolua_host *host = open_with(&o);
  embed_gives(host, NULL, greedy, ISOLUA_MEMORY, NULL);
  embed_gives(host, &more, greedy, ISOLUA_MEMORY, "more");
  embed_gives(host, &less, "return #('x'):rep(500 << 10)", ISOLUA_MEMORY, "less");
  check_true(host, &more, "return #('x'):rep(500 << 10) == 500 << 10");
  check_true(host, NULL, "return not pcall(string.rep, 'x', 8 << 20)");
  check_true(
    host, NULL,
    "local isolate = require 'isolate'\n"
    "local function grow() return #('x'):rep(8 << 20) end\n"
    "local ok, e = isolate.run({memory = '64MB'}, grow):try()\n"
    "local pool = isolate.pool {size = 1}\n"
    "local good, f = pool:submit(grow):try()\n"
    "pool:close()\n"
    "return not ok and e.code == 'memory' and not good and tostring(f):find 'memory' ~= nil");
  embed_close(host);
}

/* Code of the isolate that runs when its result is made into a message does not get around it. */
static void max_memory_holds_at_the_end(void) {
  isolua_host_options o = {.max_memory = 2 << 20};
  isolua_host *host = open_with(&o);
  static const char *const ends[] = {
    "error(setmetatable({}, {__tostring = function() %s end}))",
    "return setmetatable({}, {__isolate_pack = function() %s end})",
    "setmetatable({}, {__gc = function() %s end}) return 1",
    "local x <close> = setmetatable({}, {__close = function() %s end}) return 1",
  };
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    static const char bounded[] = "local t = {} for i = 1, 4e5 do t[i] = ('x'):rep(1000) .. i end "
                                  "print 'not capped'";
    capture out = CAPTURE;
    isolua_host_options p = {.max_memory = 2 << 20, .print = capture_print, .print_ud = &out};
    char source[400];
    isolua_host *own = open_with(&p);
    isolua_future *f;
    snprintf(source, sizeof source, ends[i], bounded);
    f = embed_run(own, NULL, source);
    isolua_future_wait(f, SOON);
    isolua_future_release(f);
    embed_close(own);
    if (!CHECK_INT(capture_calls(&out), 0)) printf("      %s\n", ends[i]);
  }
  check_true(host, NULL, "return true");
  embed_close(host);
}

static void max_time_caps_each_isolate(void) {
  isolua_host_options o = {.max_time = 50 * MILLISECOND};
  isolua_options more = {.timeout = 3600 * ISOLUA_SECOND}, less = {.timeout = 5 * MILLISECOND};
  isolua_host *host = open_with(&o);
  embed_gives(host, NULL, ENDLESS, ISOLUA_TIMEOUT, NULL);
  embed_gives(host, &more, ENDLESS, ISOLUA_TIMEOUT, NULL);
  embed_gives(host, &less, ENDLESS, ISOLUA_TIMEOUT, NULL);
  check_true(host, NULL, "return true");
  embed_gives(host, NULL, "while true do pcall(error) end", ISOLUA_TIMEOUT, NULL);
  embed_close(host);
  o.max_time = ISOLUA_SECOND;
  host = open_with(&o);
  check_true(host, NULL,
             "local isolate = require 'isolate'\n"
             "local ok, e = isolate.run({timeout = 0.05}, function() while true do end end):try()\n"
             "return not ok and e.code == 'timeout'");
  embed_gives(host, NULL,
              "return require 'isolate'.run({timeout = 1e6}, function() while true do end end)\n"
              "  :await()",
              ISOLUA_TIMEOUT, NULL);
  embed_close(host);
}

static void max_isolates_caps_the_host(void) {
  enum { MOST = 3 };
  isolua_host_options o = {.max_isolates = MOST};
  isolua_host *host = open_with(&o);
  isolua_future *f[MOST], *none = NULL;
  for (int i = 0; i < MOST; i++) f[i] = embed_run(host, NULL, ENDLESS);
  CHECK_INT(isolua_run_string(host, NULL, "return 1", &none), ISOLUA_FULL);
  CHECK_INT(isolua_run_buffer(host, NULL, "return 1", 8, NULL, &none), ISOLUA_FULL);
  CHECK_INT(isolua_run_file(host, NULL, "/no/such/file", &none), ISOLUA_FULL);
  CHECK(none == NULL);
  for (int i = 0; i < MOST; i++) {
    isolua_future_cancel(f[i], NULL);
    isolua_future_release(f[i]);
  }
  CHECK(check_isolates_end());
  for (int i = 0; i < 100; i++) { /* one after the other: a settled future has given its place up */
    f[0] = embed_run(host, NULL, "return 1");
    f[1] = embed_run(host, NULL, "return 1");
    f[2] = embed_run(host, NULL, "return 1");
    for (int k = 0; k < MOST; k++) embed_settles(f[k], ISOLUA_OK, NULL);
    for (int k = 0; k < MOST; k++) isolua_future_release(f[k]);
  }
  embed_close(host);
}

static void full_is_an_error_object(void) {
  isolua_host_options o = {.max_isolates = 2};
  isolua_host *host = open_with(&o);
  check_true(host, NULL,
             "local isolate = require 'isolate'\n"
             "local heard = 0\n"
             "local rx, tx = isolate.port()\n"
             "rx:on_message(function() heard = heard + 1 end)\n"
             "local iso <close> = isolate.spawn(function() isolate.inbox():receive() end)\n"
             "for _, start in ipairs { isolate.run, isolate.spawn } do\n"
             "  local ok, e = pcall(start, {on_exit = start == isolate.spawn and tx or nil},\n"
             "                      function() end)\n"
             "  if ok or e.code ~= 'full' then return tostring(e) end\n"
             "  if not tostring(e):find 'as many isolates' then return tostring(e) end\n"
             "end\n"
             "isolate.sleep(0.01)\n"
             "rx:close()\n"
             "return heard == 0");
  CHECK(check_isolates_end());
  check_true(host, NULL,
             "local isolate = require 'isolate'\n"
             "local iso <close> = isolate.spawn(function() isolate.inbox():receive() end)\n"
             "local pool <close> = isolate.pool {size = 2}\n"
             "local ok, e = pool:submit(function() return 1 end):try()\n"
             "return not ok and e.code == 'full'");
  CHECK(check_isolates_end());
  check_true(host, NULL,
             "local isolate = require 'isolate'\n"
             "local pool <close> = isolate.pool {size = 4}\n"
             "local n = 0\n"
             "for i in isolate.as_completed { pool:submit(function() return 1 end),\n"
             "    pool:submit(function() return 2 end) } do n = n + 1 end\n"
             "return n == 2");
  embed_close(host);
}

/* Isolates that start others without end. */
static void max_isolates_stops_floods(void) {
  isolua_host_options o = {.max_isolates = 20, .max_memory = 16 << 20};
  isolua_host *host = open_with(&o);
  isolua_counts counts;
  isolua_future *f = embed_run(host, NULL,
                               "local isolate = require 'isolate'\n"
                               "local function flood()\n"
                               "  local isolate = require 'isolate'\n"
                               "  while true do pcall(isolate.spawn, flood) end\n"
                               "end\n"
                               "flood()");
  for (int i = 0; i < 20; i++) {
    isolua_future_wait(f, 10 * MILLISECOND);
    isolua_count(&counts);
    CHECK(counts.isolates <= 40); /* also those that are just being refused */
  }
  embed_close(host);
  isolua_future_wait(f, 0);
  isolua_future_release(f);
}

/* Those that have ended do not pile up in their finalizers. */
static void max_isolates_bounds_finalizers(void) {
  isolua_host_options o = {.max_isolates = 4};
  isolua_host *host = open_with(&o);
  isolua_counts counts;
  isolua_future *f =
    embed_run(host, NULL,
              "local isolate = require 'isolate'\n"
              "while true do\n"
              "  pcall(isolate.spawn, function()\n"
              "    last = setmetatable({}, {__gc = function() while true do end end})\n"
              "  end)\n"
              "end");
  for (int i = 0; i < 30; i++) {
    isolua_future_wait(f, 10 * MILLISECOND);
    isolua_count(&counts);
    CHECK(counts.isolates <= 4 + 4 + 16 + 1);
  }
  embed_close(host);
  isolua_future_wait(f, 0);
  isolua_future_release(f);
}

/* -- What is forbidden ------------------------------------------------------------------------- */

static void refuses_wrong_flags(void) {
  isolua_host_options o = {.size = sizeof o, .forbid = ISOLUA_SANDBOX + 1};
  isolua_host *host = NULL;
  CHECK_INT(isolua_host_open(&o, &host), ISOLUA_INVALID);
  o.forbid = ~0u;
  CHECK_INT(isolua_host_open(&o, &host), ISOLUA_INVALID);
  CHECK(host == NULL);
}

/* Each expression is true with the flag, and false without any. */
static const struct {
  unsigned forbid;
  const char *held;
} held[] = {
  {ISOLUA_NO_IO, "io == nil"},
  {ISOLUA_NO_IO, "package.loaded.io == nil"},
  {ISOLUA_NO_IO, "not pcall(require, 'io')"},
  {ISOLUA_NO_IO, "debug.getregistry()['FILE*'] == nil"},
  {ISOLUA_NO_IO, "debug.getregistry()._IO_output == nil"},
  {ISOLUA_NO_OS, "os == nil"},
  {ISOLUA_NO_OS, "package.loaded.os == nil"},
  {ISOLUA_NO_OS, "not pcall(require, 'os')"},
  {ISOLUA_NO_OS, "io.popen == nil"},
  {ISOLUA_NO_DEBUG, "debug == nil"},
  {ISOLUA_NO_DEBUG, "package.loaded.debug == nil"},
  {ISOLUA_NO_DEBUG, "not pcall(require, 'debug')"},
  {ISOLUA_NO_BYTECODE, "load(string.dump(function() end)) == nil"},
  {ISOLUA_NO_BYTECODE, "load(string.dump(function() end), 'x', 'b') == nil"},
  {ISOLUA_NO_BYTECODE, "load(string.dump(function() end), 'x', 'bt', {}) == nil"},
  {ISOLUA_NO_BYTECODE,
   "(function() local code, i = string.dump(function() end), 0 return load(function() i = i + 1 "
   "return i <= #code and code:sub(i, i) or nil end) == nil end)()"},
  {ISOLUA_NO_BYTECODE, "not pcall(dofile, BINARY)"},
  {ISOLUA_NO_BYTECODE, "loadfile(BINARY) == nil"},
  {ISOLUA_NO_BYTECODE, "loadfile(BINARY, 'b') == nil"},
  {ISOLUA_NO_BYTECODE, "not pcall(require, 'binary')"},
  {ISOLUA_NO_BYTECODE, "not pcall(package.searchers[2], 'binary')"},
  {ISOLUA_NO_C_MODULES, "package.loadlib == nil"},
  {ISOLUA_NO_C_MODULES, "package.searchers[3] == nil and package.searchers[4] == nil"},
  {ISOLUA_NO_FILES, "io == nil"},
  {ISOLUA_NO_FILES, "dofile == nil"},
  {ISOLUA_NO_FILES, "loadfile == nil"},
  {ISOLUA_NO_FILES, "package.loadlib == nil and package.searchpath == nil"},
  {ISOLUA_NO_FILES, "#package.searchers == 1"},
  {ISOLUA_NO_FILES, "not pcall(require, 'text')"},
  {ISOLUA_NO_FILES,
   "os.execute == nil and os.remove == nil and os.rename == nil and os.tmpname == nil"},
  {ISOLUA_NO_FILES, "require 'isolate'.map_file(TEXT) == nil"},
  {ISOLUA_NO_FILES, "require 'isolate'.buffer(3):write(FOLDER .. '/made') == nil"},
  {ISOLUA_NO_FILES, "not pcall(require 'isolate'.spawn_file, TEXT)"},
  {ISOLUA_NO_FILES, "not pcall(require 'isolate.core'.read_private, TEXT, 10)"},
  {ISOLUA_NO_FILES, "not pcall(require 'isolate.core'.append_private, FOLDER .. '/made', 'x')"},
  {ISOLUA_NO_FILES, "not pcall(require 'isolate.core'.replace_private, TEXT, 1, print)"},
  {ISOLUA_NO_FILES, "not pcall(require 'isolate.core'.make_directory, FOLDER)"},
};
enum { HELD = sizeof held / sizeof held[0] };

/* Always true. */
static const char *const still[] = {
  "load 'return 1'() == 1",
  "load('return x', 'name', 't', {x = 2})() == 2",
  "load('return x', 'name', nil, {x = 2})() == 2",
  "select('#', load('return 1', '=x')()) == 1",
  "pcall(error) == false",
  "('x'):rep(2) == 'xx'",
  "select(2, pcall(load)):find 'argument'",
  "load('x', 'y', 'b') == nil",
  "require 'isolate'.run(function(x) return x end, 5):await() == 5",
  "#require 'isolate'.buffer(3) == 3",
  "(print 'still there') == nil",
};
enum { STILL = sizeof still / sizeof still[0] };

/* What is true in an isolate is also true in those that it starts, in any way. */
static const char *const ways[] = {
  "return (%s)",
  "return require 'isolate'.run(function() return (%s) end):await()",
  "return require 'isolate'.run({libs = {'io', 'os', 'debug', 'package', 'string', 'math'}},\n"
  "  function() return (%s) end):await()",
  "local isolate = require 'isolate'\n"
  "local pool <close> = isolate.pool {size = 1}\n"
  "return pool:submit(function() return (%s) end):await()",
  "local isolate = require 'isolate'\n"
  "local rx, tx = isolate.port()\n"
  "isolate.spawn(function() tx:send((%s)) end)\n"
  "return rx:receive()",
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static embed_file text_file, binary_file;

/* `text.lua` and `binary.lua` in folders on the path; their names are globals. */
static bool open_files(char *prologue, size_t size) {
  static const char text[] = "return 'text'";
  isolua_host *host = embed_open(NULL);
  isolua_future *f = embed_run(host, NULL, "return string.dump(function() return 'binary' end)");
  size_t length;
  const char *code;
  bool made;
  embed_settles(f, ISOLUA_OK, NULL);
  code = isolua_future_string(f, 1, &length);
  made = embed_write(&text_file, "text.lua", text, sizeof text - 1) &&
         embed_write(&binary_file, "binary.lua", code, length);
  isolua_future_release(f);
  embed_close(host);
  snprintf(prologue, size,
           "TEXT, BINARY, FOLDER = '%.200s', '%.200s', '%.200s' package.path = "
           "'%.200s/?.lua;%.200s/?.lua'\n",
           text_file.path, binary_file.path, text_file.folder, text_file.folder,
           binary_file.folder);
  return made;
}

static void remove_files(void) {
  embed_remove(&text_file);
  embed_remove(&binary_file);
}

static void check_holds(isolua_host *host, const char *prologue, const char *way, const char *what,
                        int expected) {
  char source[4000], inner[2000];
  isolua_future *f;
  snprintf(inner, sizeof inner, way, what);
  snprintf(source, sizeof source, "%s%s", prologue, inner);
  f = embed_run(host, NULL, source);
  if (!embed_settles(f, ISOLUA_OK, NULL) ||
      !CHECK_INT(isolua_future_type(f, 1) > ISOLUA_TNIL &&
                   (isolua_future_type(f, 1) != ISOLUA_TBOOLEAN || isolua_future_boolean(f, 1)),
                 expected))
    printf("      %s\n", inner);
  isolua_future_release(f);
}

static void flags_forbid(void) {
  static const unsigned alone[] = {ISOLUA_NO_IO,        ISOLUA_NO_OS,    ISOLUA_NO_BYTECODE,
                                   ISOLUA_NO_C_MODULES, ISOLUA_NO_FILES, ISOLUA_NO_DEBUG};
  char prologue[2000];
  capture out = CAPTURE;
  if (!open_files(prologue, sizeof prologue)) return;
  for (size_t flag = 0; flag < sizeof alone / sizeof alone[0]; flag++) {
    isolua_host_options o = {.forbid = alone[flag], .print = capture_print, .print_ud = &out};
    isolua_host *host = open_with(&o);
    for (int i = 0; i < HELD; i++)
      if (held[i].forbid == alone[flag])
        for (int way = 0; way < WAYS; way += check_scale(1, 3))
          check_holds(host, prologue, ways[way], held[i].held, 1);
    for (int i = 0; i < STILL; i++) check_holds(host, prologue, ways[0], still[i], 1);
    embed_close(host);
  }
  CHECK_INT(capture_calls(&out), 6);
  remove_files();
}

static void nothing_is_forbidden_without(void) {
  char prologue[2000];
  isolua_host_options o = {.spares = 0};
  isolua_host *host = open_with(&o);
  if (!open_files(prologue, sizeof prologue)) return;
  for (int i = 0; i < HELD; i++) {
    if (strstr(held[i].held, "buffer(3):write") != NULL || strstr(held[i].held, "_private") != NULL)
      continue; /* which would make files */
    check_holds(host, prologue, ways[0], held[i].held, 0);
  }
  for (int i = 0; i < STILL - 1; i++) check_holds(host, prologue, ways[0], still[i], 1);
  embed_close(host);
  remove_files();
}

/* All that is there in a sandbox. */
static void sandbox_has_only_what_is_harmless(void) {
  static const char names[] =
    "local names = {}\n"
    "local function take(prefix, t)\n"
    "  for k, v in next, t do\n"
    "    if type(v) == 'table' and v ~= _G and v ~= package.loaded and v ~= package.preload then\n"
    "      take(k .. '.', v)\n"
    "    elseif type(v) == 'function' then names[#names + 1] = prefix .. k end\n"
    "  end\n"
    "end\n"
    "take('', _G)\n"
    "table.sort(names)\n"
    "return table.concat(names, ' ')";
  static const char *const none[] = {"io.",      "os.",     "debug.",    "dofile",
                                     "loadfile", "loadlib", "searchpath"};
  isolua_host_options o = {.forbid = ISOLUA_SANDBOX};
  isolua_host *host = embed_open(&o);
  isolua_future *f = embed_run(host, NULL, names);
  if (embed_settles(f, ISOLUA_OK, NULL)) {
    const char *all = isolua_future_string(f, 1, NULL);
    CHECK_PART(all, "string.rep");
    CHECK_PART(all, "coroutine.wrap");
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
      if (!CHECK(strstr(all, none[i]) == NULL)) printf("      %s in %s\n", none[i], all);
  }
  isolua_future_release(f);
  embed_close(host);
}

/* What the embedder adds in `open` stays, also under a name that was taken away. */
static int open_own_io(lua_State *L) {
  lua_newtable(L);
  lua_pushliteral(L, "virtual");
  lua_setfield(L, -2, "kind");
  lua_setglobal(L, "io");
  return 0;
}

static void embedder_may_add(void) {
  isolua_host_options o = {.forbid = ISOLUA_SANDBOX};
  isolua_options few = {.libs = "string"};
  isolua_host *host = embed_open(&o);
  isolua_host_set_open(host, open_own_io);
  check_true(host, NULL, "return io.kind == 'virtual' and os == nil");
  check_true(host, &few, "return io.kind == 'virtual' and table == nil");
  embed_close(host);
}

/* A file that the embedder runs is its own choice. */
static void embedder_may_run_files(void) {
  isolua_host_options o = {.forbid = ISOLUA_SANDBOX};
  static const char text[] = "return io == nil";
  embed_file file;
  isolua_host *host = embed_open(&o);
  isolua_future *f;
  if (!embed_write(&file, "file.lua", text, sizeof text - 1)) return;
  if (CHECK_INT(isolua_run_file(host, NULL, file.path, &f), ISOLUA_OK)) {
    embed_settles(f, ISOLUA_OK, NULL);
    CHECK_INT(isolua_future_boolean(f, 1), 1);
    isolua_future_release(f);
  }
  embed_close(host);
  embed_remove(&file);
}

/* -- Between main and its isolates ------------------------------------------------------------- */

/* Runs Lua code in a main state, which has all libraries; it returns true. */
static void check_main_true(isolua_host_options *o, const char *source) {
  isolua_host *host = open_with(o);
  lua_State *L;
  if (CHECK_INT(isolua_main_open(host, &L), ISOLUA_OK)) {
    int status = luaL_dostring(L, source);
    if (!CHECK(status == LUA_OK && lua_isboolean(L, -1) && lua_toboolean(L, -1)))
      printf("      %s\n      %s\n", luaL_tolstring(L, -1, NULL), source);
    isolua_main_close(L);
  }
  embed_close(host);
}

static void main_has_all(void) {
  isolua_host_options o = {.forbid = ISOLUA_SANDBOX};
  check_main_true(&o,
                  "return io.open ~= nil and os.execute ~= nil and debug.getregistry ~= nil and\n"
                  "  load(string.dump(function() return 1 end))() == 1 and dofile ~= nil and\n"
                  "  package.loadlib ~= nil and #package.searchers == 4");
}

/* Functions that main has and isolates may not. */
static void forbidden_functions_are_not_sent(void) {
  static const char *const values[] = {
    "io.open",         "os.execute", "debug.getregistry",  "dofile",   "loadfile",
    "package.loadlib", "os.remove",  "package.searchpath", "io.popen", "os.getenv"};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    isolua_host_options o = {.forbid = ISOLUA_SANDBOX};
    char source[1200];
    snprintf(source, sizeof source,
             "local isolate, f = require 'isolate', %s\n"
             "local ok, e = pcall(isolate.run, function() return f == nil end)\n"
             "if ok or not tostring(e):find 'cannot send' then return tostring(e) end\n"
             "local got = isolate.run(function()\n"
             "  local isolate = require 'isolate'\n"
             "  return select(2, pcall(function() return isolate.inbox():receive() end))\n"
             "end)\n"
             "got.isolate:send {f}\n"
             "local why = tostring(got:await())\n"
             "return why:find 'cannot receive function' ~= nil or why",
             values[i]);
    check_main_true(&o, source);
  }
}

/* By what an isolate might get main to do something for it. */
static void main_takes_no_code(void) {
  static const char *const attacks[] = {
    "return function() done() end",
    "return {{function() done() end}}",
    "return setmetatable({}, {__gc = function() done() end})",
    "return setmetatable({}, {__index = print})",
    "return setmetatable({}, {__isolate_pack = function() return '_G', 'done', 1 end})",
    "return setmetatable({}, {__isolate_pack = function() return 'os', 'exit', 3 end})",
    "return setmetatable({}, {__isolate_pack = function() return 'string', 'rep', 'x' end})",
    "package.loaded.os = {execute = function() end} return package.loaded.os.execute",
    "package.loaded._G = {done = function() end} return package.loaded._G.done",
    "package.loaded.secret = {} package.preload.secret = print return package.loaded.secret",
    "local mt = {__gc = print} require 'isolate'.register('mine', mt) return setmetatable({}, mt)",
    "local mt = {__gc = print} return mt, setmetatable({}, mt)",
    "error(setmetatable({}, {__tostring = function() done() end}))",
  };
  for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
    isolua_host_options o = {.forbid = ISOLUA_SANDBOX};
    char source[2000];
    snprintf(source, sizeof source,
             "local isolate, got = require 'isolate', false\n"
             "done = function() got = true end\n"
             "package.preload.secret = function() got = true return {} end\n"
             "local f = isolate.run(function(source) return load(source)() end, [==[%s]==])\n"
             "local results = table.pack(pcall(f.await, f))\n"
             "local text = tostring(results[2])\n"
             "results = nil collectgarbage() collectgarbage()\n"
             "if got then return 'it got through' end\n"
             "return text:find 'cannot receive' ~= nil or text:find 'cannot send' ~= nil or text",
             attacks[i]);
    check_main_true(&o, source);
  }
}

static void main_takes_data(void) {
  isolua_host_options o = {.forbid = ISOLUA_SANDBOX};
  check_main_true(&o,
                  "local isolate = require 'isolate'\n"
                  "local rx, tx = isolate.port()\n"
                  "local f = isolate.run(function(tx)\n"
                  "  local t = {1, 'two', {three = 3.5}} t.self = t\n"
                  "  tx:send(t)\n"
                  "  return t, isolate.self(), tx, isolate.freeze {1}, math.floor, string\n"
                  "end, tx)\n"
                  "local t, iso, sender, frozen, floor, lib = f:await()\n"
                  "local m = rx:receive()\n"
                  "return m[3].three == 3.5 and m.self == m and t.self == t and\n"
                  "  sender == tx and frozen[1] == 1 and floor == math.floor and lib == string");
  check_main_true(
    &o, "local isolate = require 'isolate'\n"
        "local ok, e = isolate.run(function() error {code = 'own', 1} end):try()\n"
        "local bad, f = isolate.run(function() return coroutine.create(print) end):try()\n"
        "return not ok and e.code == 'own' and not bad and f.code == 'not_sendable'");
  check_main_true(&o, "local isolate = require 'isolate'\n"
                      "local mt = {} package.loaded.shape = mt\n"
                      "package.preload.shape = function() return {} end\n"
                      "local f = isolate.run(function()\n"
                      "  return setmetatable({5}, require 'shape')\n"
                      "end)\n"
                      "local v = f:await()\n"
                      "return v[1] == 5 and getmetatable(v) == mt");
  check_main_true(
    &o, "local isolate = require 'isolate'\n"
        "local n = 0\n"
        "for v in isolate.stream(function(emit) for i = 1, 10 do emit(i) end end):values() do\n"
        "  n = n + v\n"
        "end\n"
        "local pool <close> = isolate.pool {size = 2}\n"
        "for _, v in ipairs(pool:map(function(x) return x * 2 end, {1, 2, 3})) do n = n + v end\n"
        "return n == 67 or n");
}

/* Code that is not sandboxed takes code. */
static void main_takes_code_without(void) {
  isolua_host_options o = {.spares = 0};
  check_main_true(&o, "return require 'isolate'.run(function()\n"
                      "  return function() return 7 end\n"
                      "end):await()() == 7");
}

/* The library's own ways to look into another isolate. */
static void isolates_do_not_evaluate(void) {
  static const char attack[] =
    "local isolate = require 'isolate'\n"
    "local core = require 'isolate.core'\n"
    "for _, iso in ipairs(isolate.list()) do\n"
    "  local ok, e = pcall(core.inspect, iso, 'eval', 'return io.open')\n"
    "  if ok or not tostring(e):find 'the host forbids' then return tostring(e) end\n"
    "end\n"
    "return true\n";
  isolua_host_options o = {.forbid = ISOLUA_NO_C_MODULES};
  char source[1000];
  isolua_host *host = open_with(&o);
  check_true(host, NULL, attack);
  embed_close(host);
  snprintf(source, sizeof source,
           "local isolate = require 'isolate'\n"
           "local core = require 'isolate.core'\n"
           "local mine = core.inspect(isolate.self(), 'eval', '1 + 1')\n"
           "local ok, n = mine:await()\n"
           "if n ~= 2 then return n end\n"
           "return isolate.run(function() %s end):await()",
           attack);
  check_main_true(&o, source);
}

static const check_case cases[] = {
  {"wrong flags are refused", refuses_wrong_flags},
  {"what is forbidden is not there, in any isolate that is started", flags_forbid},
  {"nothing is forbidden without flags", nothing_is_forbidden_without},
  {"a sandbox has no library and no function that is forbidden", sandbox_has_only_what_is_harmless},
  {"what the embedder adds stays", embedder_may_add},
  {"files that the embedder runs are run", embedder_may_run_files},
  {"main has all libraries", main_has_all},
  {"forbidden functions are not sent, and not received", forbidden_functions_are_not_sent},
  {"main takes no code from isolates to which something is forbidden", main_takes_no_code},
  {"main takes data from them, and what is its own by name", main_takes_data},
  {"main takes code from isolates to which nothing is forbidden", main_takes_code_without},
  {"isolates to which something is forbidden evaluate nothing", isolates_do_not_evaluate},
  {"wrong caps are refused", refuses_wrong_caps},
  {"max_memory caps each isolate, whatever it asks for", max_memory_caps_each_isolate},
  {"max_memory holds for code that runs when an isolate ends", max_memory_holds_at_the_end},
  {"max_time ends each isolate, whatever it asks for", max_time_caps_each_isolate},
  {"max_isolates is how many may be alive", max_isolates_caps_the_host},
  {"an isolate too many is an error object in Lua", full_is_an_error_object},
  {"max_isolates stops isolates that start others without end", max_isolates_stops_floods},
  {"max_isolates bounds those that take their time to end", max_isolates_bounds_finalizers},
};

CHECK_MAIN(cases)
