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
  check_true(host, NULL,
             "local isolate = require 'isolate'\n"
             "local iso <close> = isolate.spawn(function() isolate.inbox():receive() end)\n"
             "local pool <close> = isolate.pool {size = 2}\n"
             "local ok, e = pool:submit(function() return 1 end):try()\n"
             "return not ok and e.code == 'full'");
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

static const check_case cases[] = {
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
