/* limits.c - the least this machine lets a C program do for the work of bench.lua's rows. */
/* SPDX-License-Identifier: MIT */

/*
 * limits [row[/divisor]…]   prints `name value unit` a row; all rows when none is named
 * limits tick               prints an empty line every 10 ms until nobody reads: bench.lua's pause
 *
 * Every figure is a median of rounds and is only printed when the work's result was right.
 */
#include <lauxlib.h>
#include <linux/futex.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 7
#define WAKES 50
#define STACK_SIZE ((size_t)1 << 20) /* bytes: what LUAI_MAXCCALLS nested C calls need */

typedef struct Row {
  const char *name;
  const char *unit;
  long size; /* of the work: threads, elements, bytes, loop iterations */
  double (*measure)(long size);
} Row;

/* ---- Helpers ---- */

static void check(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "limits: %s\n", what);
  exit(EXIT_FAILURE);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void idle(void) {
  nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *samples, size_t count) {
  qsort(samples, count, sizeof *samples, compare);
  return samples[count / 2];
}

static pthread_t start(void *(*body)(void *), void *arg) {
  pthread_t thread;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, STACK_SIZE);
  check(pthread_create(&thread, &attr, body, arg) == 0, "no thread");
  pthread_attr_destroy(&attr);
  return thread;
}

static void *join(pthread_t thread) {
  void *result = NULL;
  check(pthread_join(thread, &result) == 0, "no join");
  return result;
}

static lua_State *new_state(void) {
  lua_State *L = luaL_newstate();
  check(L != NULL, "no state");
  luaL_openlibs(L);
  return L;
}

/* Calls `chunk` with the `args` values on the top. [-args, +1, -] */
static void call(lua_State *L, const char *chunk, int args) {
  int ok = luaL_loadstring(L, chunk) == LUA_OK;
  lua_insert(L, -args - 1);
  ok = ok && lua_pcall(L, args, 1, 0) == LUA_OK;
  if (!ok) check(0, lua_tostring(L, -1));
}

/* ---- Threads ---- */

static void *bare_body(void *arg) {
  return arg;
}

static void *state_body(void *arg) {
  lua_close(new_state());
  return arg;
}

/* us to start and join a thread, `count` of them one after another. */
static double threads(void *(*body)(void *), long count) {
  double samples[ROUNDS];
  for (int r = 0; r < ROUNDS; r++) {
    double t = now();
    for (intptr_t i = 0; i < count; i++)
      check(join(start(body, (void *)i)) == (void *)i, "wrong thread result");
    samples[r] = (now() - t) / (double)count * 1e6;
  }
  return median(samples, ROUNDS);
}

static double thread(long count) {
  return threads(bare_body, count);
}

static double thread_state(long count) {
  return threads(state_body, count);
}

static atomic_int asked, answered;

static void *parked_body(void *arg) {
  while (!atomic_load(&asked)) syscall(SYS_futex, &asked, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
  atomic_store(&answered, 1);
  return arg;
}

/* Yielding while it waits costs nothing here, and is what makes one CPU enough. */
static double wake(long count) {
  double samples[WAKES];
  for (long i = 0; i < count; i++) {
    atomic_store(&asked, 0);
    atomic_store(&answered, 0);
    pthread_t parked = start(parked_body, NULL);
    idle();
    double t = now();
    atomic_store(&asked, 1);
    long woken = syscall(SYS_futex, &asked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    while (!atomic_load(&answered)) sched_yield();
    samples[i] = (now() - t) * 1e6;
    check(woken == 1, "the thread was not parked");
    join(parked);
  }
  return median(samples, (size_t)count);
}

/* ---- Copies ---- */

/* Copies the value at index i of `from` to the top of `to`. [from: -0, +0; to: -0, +1] */
static void copy(lua_State *from, int i, lua_State *to) {
  size_t length;
  const char *string;
  switch (lua_type(from, i)) {
  case LUA_TNIL: lua_pushnil(to); return;
  case LUA_TBOOLEAN: lua_pushboolean(to, lua_toboolean(from, i)); return;
  case LUA_TNUMBER:
    if (lua_isinteger(from, i))
      lua_pushinteger(to, lua_tointeger(from, i));
    else
      lua_pushnumber(to, lua_tonumber(from, i));
    return;
  case LUA_TSTRING:
    string = lua_tolstring(from, i, &length);
    lua_pushlstring(to, string, length);
    return;
  case LUA_TTABLE: break;
  default: check(0, "cannot copy this type");
  }
  i = lua_absindex(from, i);
  luaL_checkstack(from, 3, NULL);
  luaL_checkstack(to, 3, NULL);
  int items = (int)lua_rawlen(from, i), fields = 0;
  if (items == 0)
    for (lua_pushnil(from); lua_next(from, i); lua_pop(from, 1)) fields++;
  lua_createtable(to, items, fields);
  for (lua_pushnil(from); lua_next(from, i); lua_pop(from, 1)) {
    if (lua_isinteger(from, -2)) {
      copy(from, -1, to);
      lua_rawseti(to, -2, lua_tointeger(from, -2));
    } else {
      copy(from, -2, to);
      copy(from, -1, to);
      lua_rawset(to, -3);
    }
  }
}

/* ms to copy what the chunk `make` returns into another state, where `verify` finds it right. */
static double copies(const char *make, const char *verify, long size) {
  double samples[ROUNDS];
  lua_State *from = new_state();
  lua_pushinteger(from, size);
  call(from, make, 1);
  for (int r = 0; r < ROUNDS; r++) {
    lua_State *to = new_state();
    double t = now();
    copy(from, -1, to);
    samples[r] = (now() - t) * 1e3;
    lua_pushinteger(to, size);
    call(to, verify, 2);
    check(lua_toboolean(to, -1), "wrong copy");
    lua_close(to);
  }
  lua_close(from);
  return median(samples, ROUNDS);
}

static double copy_array(long size) {
  return copies("local t = {} for i = 1, ... do t[i] = i end return t",
                "local t, n = ... local sum = 0 for _, v in ipairs(t) do sum = sum + v end "
                "return #t == n and sum == n * (n + 1) // 2",
                size);
}

static double copy_records(long size) {
  return copies("local t = {} for i = 1, ... do "
                "t[i] = {id = i, name = 'name' .. i, value = i * 0.5} end return t",
                "local t, n = ... for i, r in ipairs(t) do "
                "assert(r.id == i and r.name == 'name' .. i and r.value == i * 0.5) end "
                "return #t == n",
                size);
}

static double string_100mb(long size) {
  double samples[ROUNDS];
  char *bytes = malloc((size_t)size);
  check(bytes != NULL, "no memory");
  memset(bytes, 'x', (size_t)size);
  lua_State *L = new_state();
  for (int r = 0; r < ROUNDS; r++) {
    double t = now();
    lua_pushlstring(L, bytes, (size_t)size);
    samples[r] = (now() - t) * 1e3;
    int same = lua_rawlen(L, -1) == (size_t)size;
    check(same && memcmp(lua_tostring(L, -1), bytes, (size_t)size) == 0, "wrong string");
    lua_pop(L, 1);
    lua_gc(L, LUA_GCCOLLECT);
  }
  lua_close(L);
  free(bytes);
  return median(samples, ROUNDS);
}

/* ---- Two cores ---- */

typedef struct Work {
  long size;
  int times;
} Work;

/* The loop is bench.lua's `cpu_work`. */
static void *work_body(void *arg) {
  const Work *work = arg;
  lua_State *L = new_state();
  for (int i = 0; i < work->times; i++) {
    lua_pushinteger(L, work->size);
    call(L, "local n = ... local sum = 0 for i = 1, n do sum = sum + i % 7 end return sum", 1);
    long n = work->size, rest = n % 7;
    check(lua_tointeger(L, -1) == n / 7 * 21 + rest * (rest + 1) / 2, "wrong sum");
    lua_pop(L, 1);
  }
  lua_close(L);
  return NULL;
}

static double cpu_two(long size) {
  double samples[ROUNDS];
  Work both = {size, 2}, half = {size, 1};
  for (int r = 0; r < ROUNDS; r++) {
    double t0 = now();
    join(start(work_body, &both));
    double t1 = now();
    pthread_t a = start(work_body, &half), b = start(work_body, &half);
    join(a);
    join(b);
    samples[r] = (t1 - t0) / (now() - t1);
  }
  return median(samples, ROUNDS);
}

/* ---- Rows ---- */

static const Row rows[] = {
  {"thread", "us", 500, thread},
  {"thread_state", "us", 500, thread_state},
  {"wake", "us", WAKES, wake},
  {"copy_array", "ms", 1000000, copy_array},
  {"copy_records", "ms", 100000, copy_records},
  {"string_100mb", "ms", 100000000, string_100mb},
  {"cpu_two", "x", 10000000, cpu_two},
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

static void print_row(const Row *row, const char *name, long divisor) {
  printf("%s %.2f %s\n", name, row->measure(row->size / divisor), row->unit);
  fflush(stdout);
}

static void print_named(const char *name) {
  size_t length = strcspn(name, "/");
  long divisor = name[length] ? strtol(name + length + 1, NULL, 10) : 1;
  for (size_t i = 0; i < ROW_COUNT; i++) {
    int found = strlen(rows[i].name) == length && memcmp(rows[i].name, name, length) == 0;
    if (found && divisor > 0 && divisor <= rows[i].size) {
      print_row(&rows[i], name, divisor);
      return;
    }
  }
  fprintf(stderr, "limits: no row '%s'\n", name);
  exit(EXIT_FAILURE);
}

static void tick(void) {
  while (write(STDOUT_FILENO, "\n", 1) == 1) idle();
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "tick") == 0) {
    tick();
    return EXIT_SUCCESS;
  }
  for (int i = 1; i < argc; i++) print_named(argv[i]);
  for (size_t i = 0; argc == 1 && i < ROW_COUNT; i++) print_row(&rows[i], rows[i].name, 1);
  return EXIT_SUCCESS;
}
