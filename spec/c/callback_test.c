/* callback_test.c - isolua.h: what the callbacks of a host are told, and when they are called. */
/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed.h"
#include "isolua_lua.h"

/* -- The allocator ----------------------------------------------------------------------------- */

enum { IDS = 64 };

/* Bytes that each isolate has; whose block it is, lies in front of it. */
typedef struct heaps {
  pthread_mutex_t lock; /* guards all below */
  long long ids[IDS];
  long bytes[IDS];
  int count;
  bool wrong;      /* a block was freed with another size than it had */
  bool of_another; /* or by an isolate that it does not belong to */
} heaps;

typedef struct head {
  long long owner;
  size_t size;
} head;

static long *bytes_of(heaps *h, long long id) {
  int i = 0;
  while (i < h->count && h->ids[i] != id) i++;
  if (i == h->count && i < IDS - 1) h->ids[h->count++] = id;
  return &h->bytes[i];
}

static void account(heaps *h, long long isolate, const head *old, size_t osize, size_t nsize) {
  pthread_mutex_lock(&h->lock);
  if (old != NULL) {
    h->wrong = h->wrong || old->size != osize;
    h->of_another = h->of_another || (old->owner != 0 && old->owner != isolate);
    *bytes_of(h, old->owner) -= (long)osize;
  }
  *bytes_of(h, isolate) += (long)nsize;
  pthread_mutex_unlock(&h->lock);
}

static void *heaps_alloc(void *ud, long long isolate, void *p, size_t osize, size_t nsize) {
  head *old = p != NULL ? (head *)p - 1 : NULL, *h;
  account(ud, isolate, old, osize, nsize);
  if (nsize == 0) {
    free(old);
    return NULL;
  }
  h = realloc(old, sizeof *h + nsize);
  if (h == NULL) return NULL;
  *h = (head){isolate, nsize};
  return h + 1;
}

static void alloc_is_told_whose_heap(void) {
  static heaps h = {.lock = PTHREAD_MUTEX_INITIALIZER};
  isolua_host_options o = {.alloc = heaps_alloc, .alloc_ud = &h};
  isolua_host *host = embed_open(&o);
  long most[2] = {0, 0};
  isolua_future *f[2];
  for (int i = 0; i < 2; i++)
    f[i] = embed_run(host, NULL,
                     i == 0 ? "big = ('x'):rep(1 << 20) while true do end"
                            : "small = 1 while true do end");
  isolua_future_wait(f[0], 100 * MILLISECOND);
  for (int i = 0; i < 2; i++) {
    for (int tries = 0; tries < 100 && most[0] < 1 << 20; tries++) {
      isolua_future_wait(f[1], 10 * MILLISECOND);
      pthread_mutex_lock(&h.lock);
      most[0] = most[1] = 0;
      for (int k = 0; k < h.count; k++) {
        if (h.ids[k] == 0) continue;
        if (h.bytes[k] >= 1 << 20) most[0] = h.bytes[k];
        if (h.bytes[k] < 1 << 20 && h.bytes[k] > most[1]) most[1] = h.bytes[k];
      }
      pthread_mutex_unlock(&h.lock);
    }
  }
  CHECK(most[0] >= 1 << 20);
  CHECK(most[1] > 0 && most[1] < 1 << 20);
  for (int i = 0; i < 2; i++) {
    isolua_future_cancel(f[i], NULL);
    isolua_future_release(f[i]);
  }
  embed_close(host);
  CHECK(!h.wrong);
  CHECK(!h.of_another);
  for (int k = 0; k < h.count; k++) CHECK_INT(h.bytes[k], 0);
}

/* The n-th calls that want more memory get none. */
typedef struct stingy {
  atomic_long calls, blocks;
  long from, to;
} stingy;

static void *stingy_alloc(void *ud, long long isolate, void *p, size_t osize, size_t nsize) {
  stingy *s = ud;
  void *q;
  (void)isolate;
  if (nsize == 0) {
    if (p != NULL) atomic_fetch_sub(&s->blocks, 1);
    free(p);
    return NULL;
  }
  if (p == NULL || nsize > osize) {
    long call = atomic_fetch_add(&s->calls, 1);
    if (call >= s->from && call < s->to) return NULL;
  }
  q = realloc(p, nsize);
  if (p == NULL && q != NULL) atomic_fetch_add(&s->blocks, 1);
  return q;
}

/* A run, an error, tables there and back, and an isolate that starts another with the module. */
static const char *const life[] = {
  "return 1, {2, {3}}, ('x'):rep(300)",
  "error {code = 'own', list = {1, 2, 3}}",
  "local isolate = require 'isolate'\n"
  "local tx = isolate.spawn(function() isolate.inbox():receive() end)\n"
  "tx:send {1, 2, x = {y = 'z'}}\n"
  "return isolate.run(function(t) return {t, #t} end, {1, 2, 3}):await()[2]",
};
enum { LIFE = sizeof life / sizeof life[0] };

/* How often the allocator was asked. *failed: how many did not end as they would with memory. */
static long live(long from, long to, int *failed) {
  stingy s = {.from = from, .to = to};
  isolua_host_options o = {.alloc = stingy_alloc, .alloc_ud = &s, .spares = -1};
  isolua_host *host = embed_open(&o);
  *failed = 0;
  isolua_host_set_open(host, isolua_open_modules);
  for (int i = 0; i < LIFE; i++) {
    isolua_future *f = NULL;
    int code = isolua_run_string(host, NULL, life[i], &f);
    if (!CHECK_INT(code, ISOLUA_OK)) continue;
    code = isolua_future_wait(f, SOON);
    CHECK_INT(isolua_future_done(f), 1);
    *failed += code != (i == 1 ? ISOLUA_ERROR : ISOLUA_OK);
    if (code != ISOLUA_OK) CHECK(isolua_future_message(f) != NULL);
    isolua_future_release(f);
  }
  embed_close(host);
  CHECK_INT(atomic_load(&s.blocks), 0);
  return atomic_load(&s.calls);
}

/* From the n-th call on, for every n until none is refused. What is refused in the end belongs to
** isolates that nobody waits for, or to states that are closed. */
static void nothing_from_a_call_on(void) {
  int failed, without = 0;
  long n = 0, calls = live(LONG_MAX, LONG_MAX, &failed);
  CHECK_INT(failed, 0);
  for (; n < calls; n += check_scale(1, 41)) {
    live(n, LONG_MAX, &failed);
    without += failed == 0;
    if (n < calls / 2 && !CHECK(failed > 0)) printf("      call %ld of %ld\n", n, calls);
  }
  CHECK(without < calls / 4);
}

/* A call and the one that Lua makes again after it has collected its garbage. */
static void nothing_for_a_call(void) {
  int failed;
  long calls = live(LONG_MAX, LONG_MAX, &failed);
  for (long n = 0; n < calls; n += check_scale(1, 41)) live(n, n + 2, &failed);
}

/* -- Print ------------------------------------------------------------------------------------- */

typedef struct printed {
  pthread_mutex_t lock;
  long long id;
  char name[64], text[256];
} printed;

static void on_print(void *ud, long long isolate, const char *name, const char *text,
                     size_t length) {
  printed *p = ud;
  pthread_mutex_lock(&p->lock);
  p->id = isolate;
  snprintf(p->name, sizeof p->name, "%s", name);
  snprintf(p->text, sizeof p->text, "%.*s", (int)length, text);
  pthread_mutex_unlock(&p->lock);
}

static void print_is_told_who(void) {
  printed p = {.lock = PTHREAD_MUTEX_INITIALIZER};
  isolua_host_options o = {.print = on_print, .print_ud = &p};
  isolua_options named = {.name = "talker"};
  isolua_host *host = embed_open(&o);
  isolua_future *f;
  isolua_host_set_open(host, isolua_open_modules);
  f = embed_run(host, &named, "print('one', 2) return require 'isolate'.self().id");
  embed_settles(f, ISOLUA_OK, NULL);
  CHECK_TEXT(p.name, "talker");
  CHECK_TEXT(p.text, "one\t2\n");
  CHECK_INT(p.id, isolua_future_integer(f, 1));
  CHECK(p.id > 0);
  isolua_future_release(f);
  embed_close(host);
}

/* -- Errors ------------------------------------------------------------------------------------ */

typedef struct failures {
  pthread_mutex_t lock;
  int calls, code;
  long long id;
  char name[64], message[256], traceback[1024];
} failures;

static void on_error(void *ud, long long isolate, const char *name, int code, const char *message,
                     const char *traceback) {
  failures *e = ud;
  pthread_mutex_lock(&e->lock);
  e->id = isolate;
  e->code = code;
  snprintf(e->name, sizeof e->name, "%s", name);
  snprintf(e->message, sizeof e->message, "%s", message);
  snprintf(e->traceback, sizeof e->traceback, "%s", traceback != NULL ? traceback : "(none)");
  e->calls++;
  pthread_mutex_unlock(&e->lock);
}

typedef struct expected {
  failures *failures;
  int calls;
} expected;

static bool has_failed(void *arg) {
  expected *x = arg;
  bool is;
  pthread_mutex_lock(&x->failures->lock);
  is = x->failures->calls >= x->calls;
  pthread_mutex_unlock(&x->failures->lock);
  return is;
}

static void check_failure(failures *e, int calls, int code, const char *name, const char *message) {
  expected x = {e, calls};
  if (!CHECK(check_eventually(has_failed, &x))) return;
  pthread_mutex_lock(&e->lock);
  CHECK_INT(e->calls, calls);
  CHECK_INT(e->code, code);
  CHECK_TEXT(e->name, name);
  CHECK_PART(e->message, message);
  CHECK(e->id > 0);
  pthread_mutex_unlock(&e->lock);
}

static void error_gets_uncaught_errors(void) {
  failures e = {.lock = PTHREAD_MUTEX_INITIALIZER};
  capture log = CAPTURE;
  isolua_host_options o = {.error = on_error, .error_ud = &e, .log = capture_text, .log_ud = &log};
  isolua_options named = {.name = "lonely"};
  isolua_host *host = embed_open(&o);
  isolua_host_set_open(host, isolua_open_modules);
  isolua_future_release(embed_run(host, &named, "local t = {} ; error 'nobody hears'"));
  check_failure(&e, 1, ISOLUA_ERROR, "lonely", "nobody hears");
  CHECK_PART(e.traceback, "nobody hears\nstack traceback:");
  named.timeout = MILLISECOND;
  isolua_future_release(embed_run(host, &named, ENDLESS));
  check_failure(&e, 2, ISOLUA_TIMEOUT, "lonely", "ran over its time");
  embed_gives(host, NULL, "require 'isolate'.spawn({name = 'child'}, function() error 'in it' end)",
              ISOLUA_OK, NULL);
  check_failure(&e, 3, ISOLUA_ERROR, "child", "in it");
  embed_gives(host, NULL,
              "local isolate = require 'isolate'\n"
              "isolate.spawn({name = 'goes on', errors_fatal = false}, function()\n"
              "  isolate.after(0, function() error 'in a timer' end)\n"
              "end)",
              ISOLUA_OK, NULL);
  check_failure(&e, 4, ISOLUA_ERROR, "goes on", "in a timer");
  embed_gives(host, NULL, "error 'seen'", ISOLUA_ERROR, "seen");
  embed_close(host);
  CHECK_INT(e.calls, 4);
  CHECK_INT(capture_calls(&log), 0);
}

/* -- Threads ----------------------------------------------------------------------------------- */

typedef struct threads {
  atomic_int begun[2], ended[2];
  atomic_int wrong;
} threads;

static _Thread_local int here; /* 1 + the kind, while it runs */

static void on_start(void *ud, int kind) {
  threads *t = ud;
  if (here != 0 || kind < 0 || kind > 1) atomic_store(&t->wrong, 1);
  here = 1 + kind;
  atomic_fetch_add(&t->begun[kind & 1], 1);
}

static void on_end(void *ud, int kind) {
  threads *t = ud;
  if (here != 1 + kind) atomic_store(&t->wrong, 2);
  here = 0;
  atomic_fetch_add(&t->ended[kind & 1], 1);
}

static void print_here(void *ud, long long isolate, const char *name, const char *text,
                       size_t length) {
  threads *t = ud;
  (void)isolate, (void)name, (void)text, (void)length;
  if (here != 1 + ISOLUA_THREAD_ISOLATES) atomic_store(&t->wrong, 3);
}

static void every_thread_begins_and_ends(void) {
  for (int spares = -1; spares < 3; spares++) {
    threads t = {.wrong = 0};
    isolua_host_options o = {.thread_start = on_start,
                             .thread_end = on_end,
                             .thread_ud = &t,
                             .print = print_here,
                             .print_ud = &t,
                             .spares = spares};
    isolua_options timed = {.timeout = 5 * MILLISECOND};
    isolua_host *host = embed_open(&o);
    for (int i = 0; i < 5; i++) embed_gives(host, NULL, "print 'here'", ISOLUA_OK, NULL);
    embed_gives(host, &timed, ENDLESS, ISOLUA_TIMEOUT, NULL);
    embed_close(host);
    CHECK_INT(atomic_load(&t.wrong), 0);
    CHECK(atomic_load(&t.begun[ISOLUA_THREAD_ISOLATES]) > 0);
    CHECK_INT(atomic_load(&t.begun[ISOLUA_THREAD_WATCHDOG]), 1);
    for (int kind = 0; kind < 2; kind++)
      CHECK_INT(atomic_load(&t.ended[kind]), atomic_load(&t.begun[kind]));
  }
}

static void one_thread_callback_is_enough(void) {
  threads t = {.wrong = 0};
  isolua_host_options o = {.thread_start = on_start, .thread_ud = &t};
  isolua_host *host = embed_open(&o);
  embed_gives(host, NULL, "return 1", ISOLUA_OK, NULL);
  embed_close(host);
  CHECK(atomic_load(&t.begun[ISOLUA_THREAD_ISOLATES]) > 0);
  CHECK_INT(atomic_load(&t.ended[ISOLUA_THREAD_ISOLATES]), 0);
}

/* -- Modules ----------------------------------------------------------------------------------- */

typedef struct store {
  atomic_int asked, given, released;
  atomic_llong id; /* who asked last */
} store;

static const struct {
  const char *name, *source, *chunkname;
} stored[] = {
  {"game.ai", "local M = {} function M.next(n) return n + 1 end return M", "@game/ai.lua"},
  {"uses", "return {value = require 'game.ai'.next(41), name = (...), from = select(2, ...)}",
   NULL},
  {"script", "\xEF\xBB\xBF#!/usr/bin/lua\nreturn debug.getinfo(1, 'l').currentline", "plain"},
  {"fails", "\nerror 'as it loads'", "@fails.lua"},
  {"garbled", "return return", "=garbled text"},
  {"empty", "", ""},
  {"string", "return 'never asked for'", NULL},
};

static void on_release(void *ud) {
  atomic_fetch_add(&((store *)ud)->released, 1);
}

static int on_load(void *ud, long long isolate, const char *name, isolua_module *m) {
  static const char binary[] = "\x1bLua and then some";
  store *s = ud;
  CHECK(m->source == NULL && m->length == 0 && m->chunkname == NULL && m->message == NULL &&
        m->release == NULL);
  atomic_fetch_add(&s->asked, 1);
  atomic_store(&s->id, isolate);
  m->release = on_release;
  m->release_ud = s;
  if (strcmp(name, "broken") == 0) m->message = "the pack is damaged";
  if (strcmp(name, "broken") == 0 || strcmp(name, "full") == 0)
    return strcmp(name, "full") == 0 ? ISOLUA_MEMORY : ISOLUA_ERROR;
  for (size_t i = 0; i < sizeof stored / sizeof stored[0]; i++) {
    if (strcmp(stored[i].name, name) != 0) continue;
    m->source = stored[i].source;
    m->length = strlen(m->source);
    m->chunkname = stored[i].chunkname;
  }
  if (strcmp(name, "binary") == 0) {
    m->source = binary;
    m->length = sizeof binary - 1;
  }
  if (m->source != NULL) atomic_fetch_add(&s->given, 1);
  return ISOLUA_OK;
}

static void check_true(isolua_host *host, isolua_options *options, const char *source) {
  isolua_future *f = embed_run(host, options, source);
  if (embed_settles(f, ISOLUA_OK, NULL) && !CHECK_INT(isolua_future_boolean(f, 1), 1))
    printf("      %s\n", source);
  isolua_future_release(f);
}

static isolua_host *open_store(store *s, isolua_host_options *o) {
  isolua_host *host;
  o->load = on_load;
  o->load_ud = s;
  host = embed_open(o);
  isolua_host_set_open(host, isolua_open_modules);
  return host;
}

static void close_store(isolua_host *host, store *s) {
  embed_close(host);
  CHECK_INT(atomic_load(&s->released), atomic_load(&s->asked));
}

static void load_gives_modules(void) {
  store s = {.asked = 0};
  isolua_host_options o = {.spares = 0};
  isolua_host *host = open_store(&s, &o);
  isolua_options with_init = {.init = "game.ai"};
  isolua_future *f;
  check_true(host, NULL,
             "local ai, from = require 'game.ai'\n"
             "return ai.next(1) == 2 and from == 'game/ai.lua' and\n"
             "  require 'game.ai' == ai and package.loaded['game.ai'] == ai");
  CHECK_INT(atomic_load(&s.asked), 1);
  CHECK_INT(atomic_load(&s.released), 1);
  check_true(host, NULL,
             "local u = require 'uses'\n"
             "return u.value == 42 and u.name == 'uses' and u.from == 'uses'");
  check_true(host, NULL,
             "local line, from = require 'script' return line == 2 and from == 'plain'");
  check_true(host, NULL, "return require 'empty' == true");
  check_true(host, NULL, "return require 'string' == string");
  check_true(host, NULL,
             "package.preload['game.ai'] = function() return 'mine' end\n"
             "return require 'game.ai' == 'mine'");
  check_true(host, &with_init, "return package.loaded['game.ai'].next(1) == 2");
  f = embed_run(host, NULL, "require 'uses' return require 'isolate'.self().id");
  embed_settles(f, ISOLUA_OK, NULL);
  CHECK_INT(atomic_load(&s.id), isolua_future_integer(f, 1));
  isolua_future_release(f);
  close_store(host, &s);
}

/* A module that the embedder gives goes by its name. */
static void modules_of_load_are_sent(void) {
  store s = {.asked = 0};
  isolua_host_options o = {.spares = 0};
  isolua_host *host = open_store(&s, &o);
  check_true(host, NULL,
             "local ai, isolate = require 'game.ai', require 'isolate'\n"
             "local f = isolate.run(function(m, next)\n"
             "  return m == ai and m == require 'game.ai' and next == m.next\n"
             "end, ai, ai.next)\n"
             "return f:await()");
  CHECK_INT(atomic_load(&s.given), 2);
  close_store(host, &s);
}

static void load_may_have_none_or_fail(void) {
  store s = {.asked = 0};
  isolua_host_options o = {.spares = 0};
  isolua_host *host = open_store(&s, &o);
  embed_file file;
  char path[600];
  embed_gives(host, NULL, "require 'absent'", ISOLUA_ERROR, "module 'absent' not found:");
  embed_gives(host, NULL, "require 'absent'", ISOLUA_ERROR, "\tthe host has no module 'absent'");
  embed_gives(host, NULL, "require 'broken'", ISOLUA_ERROR,
              "error loading module 'broken' from the host:\n\tthe pack is damaged");
  embed_gives(host, NULL, "require 'full'", ISOLUA_ERROR, "not enough memory");
  embed_gives(host, NULL, "require 'binary'", ISOLUA_ERROR,
              "from the host:\n\tattempt to load a binary chunk");
  embed_gives(host, NULL, "require 'garbled'", ISOLUA_ERROR, "garbled text:1:");
  embed_gives(host, NULL, "require 'fails'", ISOLUA_ERROR, "fails.lua:2: as it loads");
  CHECK_INT(atomic_load(&s.asked), 7);
  check_true(host, NULL,
             "return package.searchers[2]('broken\\0') == "
             "\"the host has no module 'broken'\"");
  CHECK_INT(atomic_load(&s.asked), 7);
  check_true(host, NULL, "return not pcall(require, 'broken') and require 'uses'.value == 42");
  if (embed_write(&file, "spec_file.lua", "return 'of a file'", 18)) {
    snprintf(path, sizeof path,
             "package.path = '%.400s/?.lua' return require 'spec_file' == 'of a file'",
             file.folder);
    check_true(host, NULL, path);
    embed_remove(&file);
  }
  close_store(host, &s);
}

/* A state of isolua_main_open asks, too. */
static void main_asks_load(void) {
  store s = {.asked = 0};
  isolua_host_options o = {.spares = 0};
  isolua_host *host = open_store(&s, &o);
  lua_State *L;
  if (CHECK_INT(isolua_main_open(host, &L), ISOLUA_OK)) {
    if (!CHECK_INT(luaL_dostring(L, "local u = require 'uses'\n"
                                    "local f = require 'isolate'.run(function()\n"
                                    "  return u.value, require 'isolate'.self().id\n"
                                    "end)\n"
                                    "return f:await()"),
                   LUA_OK))
      printf("      %s\n", lua_tostring(L, -1));
    CHECK_INT(lua_tointeger(L, -2), 42);
    CHECK_INT(atomic_load(&s.id), lua_tointeger(L, -1));
    isolua_main_close(L);
  }
  close_store(host, &s);
}

/* What was given is released once, wherever memory lacks. */
static void released_without_memory(void) {
  long calls = 1;
  for (long n = -1; n < calls; n += check_scale(1, 41)) {
    stingy a = {.from = n < 0 ? LONG_MAX : n, .to = LONG_MAX};
    store s = {.asked = 0};
    isolua_host_options o = {.alloc = stingy_alloc, .alloc_ud = &a, .spares = -1};
    isolua_host *host = open_store(&s, &o);
    isolua_future *f =
      embed_run(host, NULL, "return require 'uses'.value, pcall(require, 'broken')");
    int code = isolua_future_wait(f, SOON);
    if (n < 0) CHECK_INT(code, ISOLUA_OK);
    isolua_future_release(f);
    close_store(host, &s);
    CHECK_INT(atomic_load(&a.blocks), 0);
    if (n < 0) calls = atomic_load(&a.calls);
  }
}

/* What `ud` of a callback points to may be gone by then. */
static void tells_nothing_once_closed(void) {
  capture log = CAPTURE;
  isolua_host_options o = {.log = capture_text, .log_ud = &log};
  isolua_host *host = embed_open(&o);
  isolua_future *f;
  if (host == NULL) return;
  f = embed_run(host, NULL, "error 'nobody looks'");
  CHECK_INT(isolua_host_close(host, SOON), ISOLUA_OK);
  CHECK_INT(isolua_future_done(f), 1);
  isolua_future_release(f);
  CHECK_INT(capture_calls(&log), 0);
}

static const check_case cases[] = {
  {"a closed host tells of no errors any more", tells_nothing_once_closed},
  {"the allocator is told whose heap it is", alloc_is_told_whose_heap},
  {"an allocator that refuses all from a call on makes errors", nothing_from_a_call_on},
  {"an allocator that refuses a call breaks nothing", nothing_for_a_call},
  {"print is told who prints", print_is_told_who},
  {"error is given errors that nobody caught, and log is not", error_gets_uncaught_errors},
  {"every thread is told of when it begins and when it ends", every_thread_begins_and_ends},
  {"one of the two callbacks of threads is enough", one_thread_callback_is_enough},
  {"load gives modules to require, and they are released", load_gives_modules},
  {"modules that load has given are sent by name", modules_of_load_are_sent},
  {"load may have no such module, or fail, or give what is no text", load_may_have_none_or_fail},
  {"load is asked by a state of isolua_main_open", main_asks_load},
  {"what load has given is released wherever memory lacks", released_without_memory},
};

CHECK_MAIN(cases)
