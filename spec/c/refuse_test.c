/* refuse_test.c - memory, threads and files that the system refuses, each call of them in its turn. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "embed.h"
#include "starters.h"
#include "isolua_lua.h"
#include "lualib.h"

/*
** DESIGN. The program is linked with --wrap: what the library and Lua ask of the system goes through
** here, and the n-th call, of all threads together, gets none. Each life is led again for every n, once
** with that call alone refused and once with all from there on, until it has no n-th call any more. It
** must end, each step with what it is for or with an error that says what was missing, and leave no block.
*/

/* -- The system -------------------------------------------------------------------------------- */

/* The linker gives these names to the functions themselves. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __real_eventfd(unsigned count, int flags);
int __real_epoll_create1(int flags);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *p);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_epoll_create1(int flags);

enum kind { MEMORY, HEAP, THREADS, FILES, KINDS }; /* HEAP: the host's option `alloc` */

static atomic_long calls[KINDS], blocks; /* calls since the life began; blocks that are not free */
static atomic_int kind;                  /* of the calls that are refused */
static atomic_long from = LONG_MAX, to;  /* numbers of those that are */

static bool refused(enum kind what) {
  long n = atomic_fetch_add(&calls[what], 1);
  return what == (enum kind)atomic_load(&kind) && n >= atomic_load(&from) && n < atomic_load(&to);
}

/* memory */

static bool no_memory(void) {
  if (!refused(MEMORY)) return false;
  errno = ENOMEM;
  return true;
}

static void *counted(void *p) {
  if (p != NULL) atomic_fetch_add(&blocks, 1);
  return p;
}

void *__wrap_malloc(size_t size) {
  return no_memory() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size) {
  return no_memory() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t size) {
  if (no_memory()) return NULL;
  return p == NULL ? counted(__real_malloc(size)) : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
  return no_memory() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

char *__wrap_strdup(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = no_memory() ? NULL : counted(__real_malloc(size));
  return copy != NULL ? memcpy(copy, text, size) : NULL;
}

void __wrap_free(void *p) {
  if (p != NULL) atomic_fetch_sub(&blocks, 1);
  __real_free(p);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
  if (no_memory()) return MAP_FAILED;
  return __real_mmap(at, size, protection, flags, fd, offset);
}

/* threads and files */

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg) {
  if (refused(THREADS)) return EAGAIN;
  return __real_pthread_create(thread, attr, run, arg);
}

int __wrap_eventfd(unsigned count, int flags) {
  if (!refused(FILES)) return __real_eventfd(count, flags);
  errno = EMFILE;
  return -1;
}

int __wrap_epoll_create1(int flags) {
  if (!refused(FILES)) return __real_epoll_create1(flags);
  errno = EMFILE;
  return -1;
}

static void *heap_alloc(void *ud, long long isolate, void *p, size_t osize, size_t nsize) {
  (void)ud, (void)isolate;
  if (nsize > (p != NULL ? osize : 0) && refused(HEAP)) return NULL;
  if (nsize > 0) return p == NULL ? counted(__real_malloc(nsize)) : __real_realloc(p, nsize);
  __wrap_free(p);
  return NULL;
}

/* -- Steps of a life ----------------------------------------------------------------------------- */

static int failed; /* steps of this life */

/* Did a step succeed? Else its error is one of something that was refused. */
static bool fine(int code) {
  if (code == ISOLUA_OK) return true;
  failed++;
  if (code != ISOLUA_SPAWN) CHECK_INT(code, ISOLUA_MEMORY);
  return false;
}

/* A stack of Lua's that cannot grow has overflowed, whatever the reason; and its buffers (lauxlib.c) cannot be
** closed once there was no memory for a part of their metatable. */
static bool says_why(const char *message) {
  return message != NULL &&
         (strstr(message, "memory") != NULL || strstr(message, "thread") != NULL ||
          strstr(message, "stack overflow") != NULL || strstr(message, "C temporary") != NULL);
}

/* The same of a future, which it waits for. An error in Lua is one that says what was missing. */
static bool settles_fine(isolua_future *f) {
  int code = isolua_future_wait(f, SOON);
  if (!CHECK(isolua_future_done(f))) return false;
  if (code == ISOLUA_ERROR && says_why(isolua_future_message(f))) code = ISOLUA_MEMORY;
  if (fine(code)) return true;
  CHECK(isolua_future_message(f) != NULL);
  if (code != ISOLUA_MEMORY && code != ISOLUA_SPAWN) printf("      %s\n", isolua_future_message(f));
  return false;
}

/* A call that gives NULL when there is no memory. */
static bool got(const void *p) {
  return fine(p != NULL ? ISOLUA_OK : ISOLUA_MEMORY);
}

/* Runs the body of a function, and once more in the same state after an error: it returns true. */
static void runs(isolua_host *host, const char *body) {
  char source[4096];
  isolua_future *f = NULL;
  snprintf(source, sizeof source,
           "local function life() %s end\n"
           "local ok, result = pcall(life)\n"
           "if ok then return result end\n"
           "local why = tostring(result)\n"
           "return (why:find 'memory' or why:find 'thread' or why:find 'stack overflow') and "
           "life() or why",
           body);
  if (!fine(isolua_run_string(host, NULL, source, &f))) return;
  if (settles_fine(f) && !CHECK_INT(isolua_future_boolean(f, 1), 1)) {
    const char *why = isolua_future_string(f, 1, NULL);
    printf("      %s\n", why != NULL ? why : "(no text)");
  }
  isolua_future_release(f);
}

/* -- Lives --------------------------------------------------------------------------------------- */

static int add_all(isolua_message *m, isolua_sender *sender) {
  static char wrapped[] = "wrapped";
  isolua_block *block, *frozen;
  char key[16];
  int code = isolua_block_new(1000, &block);
  if (code != ISOLUA_OK) return code;
  isolua_add_map(m, 0);
  isolua_add_string(m, "block");
  isolua_add_block(m, block);
  isolua_add_string(m, "sender");
  isolua_add_sender(m, sender);
  code = isolua_block_wrap(wrapped, sizeof wrapped, NULL, NULL, &frozen);
  if (code != ISOLUA_OK) return code;
  isolua_block_freeze(frozen);
  isolua_add_string(m, "frozen");
  isolua_add_block(m, frozen);
  for (int i = 0; i < 40; i++) {
    snprintf(key, sizeof key, "key%d", i);
    isolua_add_string(m, key);
    isolua_add_list(m, 2);
    isolua_add_integer(m, i);
    isolua_add_number(m, 0.5);
    isolua_add_end(m);
  }
  return isolua_add_end(m);
}

static void reads_message(isolua_message *m) {
  const isolua_value *v = isolua_message_value(m, 1), *key, *value;
  isolua_sender *sender;
  isolua_block *block;
  size_t at = 0;
  int pairs = 0;
  if (!got(v)) return;
  while (isolua_value_next(v, &at, &key, &value)) pairs++;
  CHECK_INT(pairs, 43);
  CHECK_INT(isolua_value_integer(isolua_value_at(isolua_value_get(v, "key39"), 1)), 39);
  sender = isolua_value_sender(isolua_value_get(v, "sender"));
  CHECK(sender != NULL);
  isolua_sender_release(sender);
  block = isolua_value_block(isolua_value_get(v, "frozen"), NULL);
  CHECK(block != NULL);
  isolua_block_release(block);
}

static void sends_to_itself(isolua_receiver *receiver, isolua_sender *sender) {
  isolua_message *m;
  int code;
  if (!fine(isolua_message_new(&m))) return;
  code = add_all(m, sender);
  if (!fine(code) || !fine(isolua_send(sender, m, 0))) {
    isolua_message_free(m);
    return;
  }
  CHECK_INT(isolua_receiver_count(receiver), 1);
  if (!fine(isolua_receive(receiver, 0, &m))) return;
  reads_message(m);
  isolua_message_free(m);
}

/* Counts messages; NULL, as the last one, as 100. */
static void on_message(void *ud, isolua_receiver *receiver, isolua_message *m) {
  (void)receiver;
  *(int *)ud += m != NULL ? 1 : 100;
  isolua_message_free(m);
}

static void pumps(isolua_host *host, isolua_receiver *receiver, isolua_sender *sender) {
  int received = 0, sent = (int)isolua_receiver_count(receiver);
  if (!fine(isolua_receiver_on_message(receiver, on_message, &received))) return;
  for (int i = 0; i < 3; i++) {
    isolua_message *m;
    if (!fine(isolua_message_new(&m))) break;
    isolua_add_integer(m, i);
    if (fine(isolua_send(sender, m, 0)))
      sent++;
    else
      isolua_message_free(m);
  }
  for (int i = 0; i < 100 && received < sent; i++) isolua_pump(host, -1, -1);
  if (!fine(received == sent ? ISOLUA_OK : ISOLUA_MEMORY)) CHECK(received < sent);
}

static void leads_native_ports(isolua_host *host) {
  isolua_receiver *receiver;
  isolua_sender *sender;
  fine(isolua_fd(host) >= 0 ? ISOLUA_OK : ISOLUA_MEMORY);
  if (!fine(isolua_receiver_new(host, "native", 0, &receiver, &sender))) return;
  sends_to_itself(receiver, sender);
  pumps(host, receiver, sender);
  isolua_receiver_close(receiver);
  isolua_sender_release(sender);
}

static void on_done(void *ud, isolua_future *f) {
  (void)f;
  ++*(int *)ud;
}

/* A future with a callback is settled in any case, and the callback is called. */
static void runs_with_callback(isolua_host *host) {
  isolua_future *f;
  int done = 0;
  if (!fine(isolua_run_string(host, NULL, "return {1, 2, {x = 'y'}}, 'two'", &f))) return;
  if (fine(isolua_future_on_done(f, on_done, &done))) {
    isolua_future_wait(f, SOON);
    isolua_pump(host, -1, -1);
    CHECK_INT(done, 1);
  }
  if (settles_fine(f)) {
    const isolua_value *v = isolua_future_value(f, 1);
    CHECK_TEXT(isolua_future_string(f, 2, NULL), "two");
    if (got(v))
      CHECK_TEXT(isolua_value_string(isolua_value_get(isolua_value_at(v, 3), "x"), NULL), "y");
  }
  isolua_future_release(f);
}

static void raises(isolua_host *host) {
  isolua_future *f;
  int code;
  if (!fine(isolua_run_string(host, NULL, "error {code = 'own', list = {1, 2, 3}}", &f))) return;
  code = isolua_future_wait(f, SOON);
  fine(code == ISOLUA_ERROR ? ISOLUA_OK : code);
  CHECK(isolua_future_message(f) != NULL);
  isolua_future_release(f);
}

static void kills(isolua_host *host) {
  isolua_isolate *i;
  isolua_future *gone;
  int code;
  if (!fine(isolua_spawn_string(host, NULL, ENDLESS, &i))) return;
  CHECK_INT(isolua_isolate_kill(i, 50 * MILLISECOND, 0), ISOLUA_OK);
  gone = isolua_isolate_gone(i);
  isolua_future_wait(gone, SOON);
  CHECK(isolua_future_done(gone));
  code = isolua_future_wait(isolua_isolate_future(i), 0);
  fine(code == ISOLUA_KILLED ? ISOLUA_OK : code);
  isolua_isolate_release(i);
}

/* Messages into its inbox come back. */
static void spawns(isolua_host *host) {
  static const char echo[] = "local tx = ...\n"
                             "for m in require 'isolate'.inbox():messages() do tx:send(m) end";
  isolua_options o = {.size = sizeof o, .name = "echo"};
  isolua_receiver *receiver;
  isolua_sender *sender;
  isolua_isolate *i;
  isolua_message *m;
  int code;
  if (!fine(isolua_receiver_new(host, "back", 2, &receiver, &sender))) return;
  if (fine(isolua_message_new(&o.args))) {
    isolua_add_sender(o.args, sender);
    isolua_sender_release(sender);
    sender = NULL;
    if (fine(isolua_spawn_string(host, &o, echo, &i))) {
      if (fine(isolua_message_new(&m))) {
        code = add_all(m, isolua_isolate_sender(i));
        if (code == ISOLUA_OK) code = isolua_send(isolua_isolate_sender(i), m, 0);
        if (code == ISOLUA_CLOSED) code = ISOLUA_MEMORY; /* for want of something it has ended */
        if (!fine(code)) isolua_message_free(m);
      }
      isolua_isolate_release(i);
    }
    /* the isolate has the only other sender */
    while ((code = isolua_receive(receiver, SOON, &m)) == ISOLUA_OK) {
      reads_message(m);
      isolua_message_free(m);
    }
    if (code != ISOLUA_CLOSED) fine(code);
  }
  isolua_sender_release(sender);
  isolua_receiver_close(receiver);
}

static void leads_isolates(isolua_host *host) {
  runs(host, "return #('big'):rep(1 << 18) == 3 << 18");
  runs_with_callback(host);
  raises(host);
  kills(host);
}

static void leads_echo(isolua_host *host) {
  spawns(host);
}

static const char module_life[] =
  "local isolate = require 'isolate'\n"
  "local rx, tx = isolate.port()\n"
  "local iso = isolate.spawn(function(out)\n"
  "  for m in isolate.inbox():messages() do out:send {m, #m} end\n"
  "end, tx)\n"
  "tx:close()\n"
  "iso:send('first') iso:send(('x'):rep(300))\n"
  "local a, b = rx:receive(), rx:receive()\n"
  "iso:kill()\n"
  "if not a or not b then error 'its isolate had no memory' end\n"
  "local sum = isolate.run(function(t, buf) return #t + #buf end, {1, 2, 3},\n"
  "                        isolate.transfer(isolate.buffer(100))):await()\n"
  "local ch = isolate.channel(2)\n"
  "local task = isolate.async(function() return ch:receive() end)\n"
  "ch:send(isolate.freeze {1, {2}})\n"
  "local t = task:await()\n"
  "local n = isolate.atomic(5)\n"
  "isolate.run(function() n:add(2) end):await()\n"
  "local which = isolate.select({isolate.after(0), rx}, 10)\n"
  "return a[2] == 5 and b[2] == 300 and sum == 103 and t[2][1] == 2 and n:load() == 7\n"
  "       and which ~= nil";

static void leads_module(isolua_host *host) {
  runs(host, module_life);
}

static const char told_life[] =
  "local isolate = require 'isolate'\n"
  "local rx, tx = isolate.port()\n"
  "local iso = isolate.spawn({on_exit = tx, on_error = tx, paused = true},\n"
  "                          function() error 'own' end)\n"
  "local status = iso:status()\n"
  "if status ~= 'paused' and status ~= 'failed' then return 'it is ' .. status end\n"
  "iso:pause('key') iso:resume('key') iso:resume()\n"
  "iso:on_exit(tx, {1, {2}})\n"
  "iso:join()\n"
  "iso:off(tx)\n"
  "return iso:ping() == nil";

static void leads_told(isolua_host *host) {
  runs(host, told_life);
}

static const char pool_life[] =
  "local isolate = require 'isolate'\n"
  "local pool <close> = isolate.pool {size = 2}\n"
  "local sum = 0\n"
  "for _, v in ipairs(pool:map(function(x) return {x * x} end, {1, 2, 3, 4})) do\n"
  "  sum = sum + v[1]\n"
  "end\n"
  "local f = pool:submit(function(...) return select('#', ...) end, 1, 2, 3)\n"
  "return sum == 30 and f:await() == 3";

static void leads_pool(isolua_host *host) {
  runs(host, pool_life);
}

static const char stream_life[] =
  "local isolate = require 'isolate'\n"
  "local sum = 0\n"
  "for v in isolate.stream(function(emit) for i = 1, 10 do emit {i} end end):values() do\n"
  "  sum = sum + v[1]\n"
  "end\n"
  "return sum == 55";

/* All kinds of values: as far as there is memory for them. */
static int add_each_kind(isolua_message *m, isolua_sender *sender, isolua_pool *pool) {
  isolua_atomic *atomic = NULL;
  isolua_block *block = NULL;
  int code = isolua_atomic_new(1, &atomic);
  if (code == ISOLUA_OK) code = isolua_block_new(8, &block);
  if (code == ISOLUA_OK) {
    for (int i = 0; i < 20; i++) isolua_add_integer(m, i);
    isolua_add_nil(m);
    isolua_add_boolean(m, 1);
    isolua_add_number(m, 0.5);
    isolua_add_string(m, "text");
    isolua_add_bytes(m, "bytes", 5);
    isolua_add_sender(m, sender);
    isolua_add_atomic(m, atomic);
    isolua_add_pool(m, pool);
    isolua_add_list(m, 0);
    isolua_add_end(m);
    isolua_add_map(m, 0);
    isolua_add_end(m);
    code = isolua_add_block(m, block);
  }
  isolua_atomic_release(atomic);
  return code;
}

typedef int submitter(isolua_pool *pool, isolua_message *m, isolua_future **f);

static int submit_text(isolua_pool *pool, isolua_message *m, isolua_future **f) {
  return isolua_submit_string(pool, NULL, "return select('#', ...)", m, SOON, f);
}

static int submit_bytes(isolua_pool *pool, isolua_message *m, isolua_future **f) {
  static const char source[] = "return select('#', ...)";
  return isolua_submit_buffer(pool, NULL, source, sizeof source - 1, "=job", m, 0, f);
}

static void submits(isolua_pool *pool, isolua_sender *sender, submitter *submit) {
  isolua_future *f;
  isolua_message *m;
  if (!fine(isolua_message_new(&m))) return;
  if (!fine(add_each_kind(m, sender, pool)) || !fine(submit(pool, m, &f))) {
    isolua_message_free(m);
    return;
  }
  if (settles_fine(f)) CHECK_INT(isolua_future_integer(f, 1), 31);
  isolua_future_release(f);
}

static void leads_jobs(isolua_host *host) {
  isolua_pool *pool;
  isolua_receiver *receiver;
  isolua_sender *sender;
  if (!fine(isolua_receiver_new(host, NULL, 0, &receiver, &sender))) return;
  if (fine(isolua_pool_new(host, NULL, NULL, &pool))) {
    submits(pool, sender, submit_text);
    submits(pool, sender, submit_bytes);
    isolua_pool_close(pool);
    isolua_pool_release(pool);
  }
  isolua_receiver_close(receiver);
  isolua_sender_release(sender);
}

/* A second host, and all ways to start something in it. */
static void leads_starters(isolua_host *host) {
  isolua_host *other;
  for (int i = 0; i < STARTERS; i++) fine(starters[i](host, NULL));
  if (fine(isolua_host_new(NULL, &other))) {
    for (int i = 0; i < STARTERS; i++) fine(starters[i](other, NULL));
    CHECK_INT(isolua_host_close(other, SOON), ISOLUA_OK);
  }
}

static void leads_stream(isolua_host *host) {
  runs(host, stream_life);
}

/* At 1 and 2: an isolate, which may have ended for want of memory, and a key. */
static int pause_and_resume(lua_State *L) {
  isolua_isolate *i = isolua_checkisolate(L, 1);
  for (int k = 0; k < 20; k++) {
    int code;
    lua_pushfstring(L, "%s%d", lua_tostring(L, 2), k);
    code = isolua_isolate_pause(L, i, 3);
    fine(code == ISOLUA_CLOSED ? ISOLUA_MEMORY : code);
    lua_settop(L, 2);
  }
  CHECK_INT(isolua_isolate_resume(L, i, 0), ISOLUA_OK);
  return 0;
}

static void pauses(lua_State *L) {
  static const char code[] = "local isolate = require 'isolate'\n"
                             "return isolate.spawn(function() isolate.sleep(60) end), 'key'";
  lua_settop(L, 0);
  lua_pushcfunction(L, pause_and_resume);
  if (luaL_loadstring(L, code) != LUA_OK || lua_pcall(L, 0, 2, 0) != LUA_OK ||
      lua_pcall(L, 2, 0, 0) != LUA_OK) {
    failed++;
    if (lua_type(L, -1) == LUA_TSTRING) CHECK(says_why(lua_tostring(L, -1)));
  }
}

static void leads_main(isolua_host *host) {
  static const char code[] = "local isolate = require 'isolate'\n"
                             "isolate.async(function() isolate.sleep(0) end)\n"
                             "return isolate.run(function() return {1} end):await()[1] == 1";
  lua_State *L;
  if (!fine(isolua_main_open(host, &L))) return;
  if (luaL_loadstring(L, code) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK) {
    failed++;
    if (lua_type(L, -1) == LUA_TSTRING) CHECK(says_why(lua_tostring(L, -1)));
  } else {
    CHECK_INT(lua_toboolean(L, -1), 1);
    pauses(L);
  }
  isolua_main_close(L);
}

static int open_all(lua_State *L) {
  luaL_openlibs(L);
  isolua_open_modules(L);
  return 0;
}

static void leads_attached(isolua_host *host) {
  lua_State *L = luaL_newstate();
  if (!got(L)) return;
  lua_pushcfunction(L, open_all);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
    failed++;
  } else {
    for (int i = 0; i < 2; i++) {
      if (!fine(isolua_attach(host, L))) continue;
      if (luaL_dostring(L, "require 'isolate'.after(0, function() end)") != LUA_OK) failed++;
      isolua_pump(host, -1, MILLISECOND);
      CHECK_INT(isolua_detach(L), ISOLUA_OK);
    }
  }
  lua_close(L);
}

/* -- Each call in its turn ----------------------------------------------------------------------- */

typedef void lead(isolua_host *host);

/* Leads that life with these calls refused. How many there were. */
static long live(lead *led, enum kind what, long first, long end) {
  isolua_host_options o = {.size = sizeof o, .spares = -1};
  isolua_host *host;
  long before = atomic_load(&blocks);
  if (what == HEAP) o.alloc = heap_alloc;
  failed = 0;
  for (int k = 0; k < KINDS; k++) atomic_store(&calls[k], 0);
  atomic_store(&kind, what);
  atomic_store(&to, end);
  atomic_store(&from, first);
  if (fine(isolua_host_open(&o, &host))) {
    led(host);
    CHECK_INT(isolua_host_close(host, SOON), ISOLUA_OK);
  }
  atomic_store(&from, LONG_MAX);
  CHECK_INT(atomic_load(&blocks), before);
  return atomic_load(&calls[what]);
}

/* Until a few in a row had no n-th call. `step`: every so manieth. */
static void every(lead *led, enum kind what, long width, int step) {
  enum { WITHOUT = 3 };
  int without = 0;
  long n = 0;
  live(led, what, LONG_MAX, LONG_MAX);
  CHECK_INT(failed, 0);
  while (without < WITHOUT) {
    long all = live(led, what, n, width < LONG_MAX ? n + width : LONG_MAX);
    without = all <= n ? without + 1 : 0;
    if (!check_passing()) {
      printf("      call %ld of %ld was refused\n", n, all);
      return;
    }
    n += without > 0 ? 1 : check_scale(step, what == HEAP ? 97 : 23);
  }
}

#define STEP 9 /* of the calls of a heap */

#define LIVES(X)                                                                                   \
  X(native_ports, "messages and native ports")                                                     \
  X(isolates, "futures and isolates")                                                              \
  X(echo, "an isolate that gets messages")                                                         \
  X(module, "the module's isolates, ports and buffers")                                            \
  X(told, "an isolate that tells of its end")                                                      \
  X(pool, "a pool")                                                                                \
  X(jobs, "chunks in a pool")                                                                      \
  X(starters, "whatever starts an isolate")                                                        \
  X(stream, "a stream")                                                                            \
  X(main, "a main isolate")                                                                        \
  X(attached, "a state that is attached and detached")

#define TESTS(name, what)                                                                          \
  static void name##_without_a_block(void) {                                                       \
    every(leads_##name, MEMORY, 1, 1);                                                             \
  }                                                                                                \
  static void name##_without_two_blocks(void) {                                                    \
    every(leads_##name, MEMORY, 2, 1);                                                             \
  }                                                                                                \
  static void name##_without_memory(void) {                                                        \
    every(leads_##name, MEMORY, LONG_MAX, 1);                                                      \
  }                                                                                                \
  static void name##_without_a_heap(void) {                                                        \
    every(leads_##name, HEAP, 1, STEP);                                                            \
    every(leads_##name, HEAP, 2, STEP);                                                            \
    every(leads_##name, HEAP, LONG_MAX, STEP);                                                     \
  }                                                                                                \
  static void name##_without_threads(void) {                                                       \
    every(leads_##name, THREADS, 1, 1);                                                            \
    every(leads_##name, THREADS, LONG_MAX, 1);                                                     \
  }                                                                                                \
  static void name##_without_files(void) {                                                         \
    every(leads_##name, FILES, 1, 1);                                                              \
    every(leads_##name, FILES, LONG_MAX, 1);                                                       \
  }
LIVES(TESTS)

#define CASES(name, what)                                                                          \
  {what " without a block", name##_without_a_block},                                               \
    {what " without two blocks", name##_without_two_blocks},                                       \
    {what " without memory from a call on", name##_without_memory},                                \
    {what " without a heap", name##_without_a_heap},                                               \
    {what " without threads", name##_without_threads},                                             \
    {what " without files", name##_without_files},
/* Of Lua's own calls there are thousands a life: here none is left out. */
static void isolates_without_any_part_of_a_heap(void) {
  every(leads_isolates, HEAP, 1, 1);
}

static void isolates_without_a_heap_from_any_part_on(void) {
  every(leads_isolates, HEAP, LONG_MAX, 1);
}

static const check_case cases[] = {
  {"futures and isolates without any part of a heap", isolates_without_any_part_of_a_heap},
  {"futures and isolates without a heap from any part on",
   isolates_without_a_heap_from_any_part_on},
  LIVES(CASES)};
CHECK_MAIN(cases)
