/* limits.c - the least this machine lets a C program do for the work of bench.lua's rows. */
/* SPDX-License-Identifier: MIT */

/*
 * limits [row[/divisor]…]   prints `name value unit` a row; all rows when none is named
 * limits tick               prints an empty line every 10 ms until nobody reads: bench.lua's pause
 * limits pin command…       runs a command that may only use one CPU
 *
 * Every figure is a median of rounds, of one round in the `alive` rows, and is only printed when
 * the work's result was right.
 */
#include <lauxlib.h>
#include <limits.h>
#include <linux/futex.h>
#include <lua.h>
#include <lualib.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 7
#define WAKES 50
#define STACK_SIZE ((size_t)1 << 20) /* bytes: what LUAI_MAXCCALLS nested C calls need */
#define SMALL_STACK_SIZE ((size_t)64 << 10)
#define LINE 128         /* bytes between what two threads write: CPUs fetch cache lines in pairs */
#define SPINS 10000      /* reads before a spinning thread yields: one CPU is enough, if slow */
#define QUEUE_SIZE 65536 /* integers: a power of two */
#define PATIENCE 1e-5    /* s in which more may come */
#define BATCH 1000       /* integers, as in bench.lua */
#define MAX_SENDERS 4

typedef struct Row {
  const char *name;
  const char *unit;
  long size; /* of the work: threads, trips, elements, bytes, loop iterations */
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

static pthread_t start_sized(void *(*body)(void *), void *arg, size_t stack) {
  pthread_t thread;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, stack);
  check(pthread_create(&thread, &attr, body, arg) == 0, "no thread");
  pthread_attr_destroy(&attr);
  return thread;
}

static pthread_t start(void *(*body)(void *), void *arg) {
  return start_sized(body, arg, STACK_SIZE);
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

static double printed; /* s, by now() */

/* `print`, as far as the row needs it. */
static int note_line(lua_State *L) {
  check(strcmp(luaL_checkstring(L, 1), "hello") == 0, "another line");
  printed = now();
  return 0;
}

static void *line_body(void *arg) {
  lua_State *L = new_state();
  lua_register(L, "print", note_line);
  call(L, "print 'hello'", 0);
  lua_close(L);
  return arg;
}

/* us from here to the first line of a state on a new thread; right in a new process only. */
static double first_line(long count) {
  double from = now();
  for (long i = 0; i < count; i++) join(start(line_body, NULL));
  return (printed - from) * 1e6;
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

static double memcpy_100mb(long size) {
  double samples[ROUNDS];
  char *from = malloc((size_t)size), *to = malloc((size_t)size);
  check(from != NULL && to != NULL, "no memory");
  memset(to, 0, (size_t)size);
  for (int r = 0; r < ROUNDS; r++) {
    memset(from, 'a' + r, (size_t)size);
    double t = now();
    memcpy(to, from, (size_t)size);
    samples[r] = (now() - t) * 1e3;
    check(memcmp(from, to, (size_t)size) == 0, "wrong bytes");
  }
  free(from);
  free(to);
  return median(samples, ROUNDS);
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

/* ---- Round trips ---- */

/* One direction between two threads. What is put differs from what was put before. */
typedef struct Way {
  _Alignas(LINE) atomic_int value;
  int fd; /* an eventfd */
} Way;

/* How an integer is put, and how the one that follows `last` is awaited. */
typedef struct Link {
  void (*put)(Way *way, int value);
  int (*take)(Way *way, int last);
} Link;

typedef struct Pair {
  const Link *link;
  int trips;
  Way there, back;
} Pair;

/* Between two reads of a line that another thread shall write: so it gets there sooner. */
static void relax(void) {
#if defined __x86_64__ || defined __i386__
  __builtin_ia32_pause();
#elif defined __aarch64__
  __asm__ volatile("yield");
#endif
}

static void spin_put(Way *way, int value) {
  atomic_store_explicit(&way->value, value, memory_order_release);
}

static int spin_take(Way *way, int last) {
  int value;
  for (long i = 1; (value = atomic_load_explicit(&way->value, memory_order_acquire)) == last; i++)
    if (i % SPINS)
      relax();
    else
      sched_yield();
  return value;
}

static void futex_put(Way *way, int value) {
  atomic_store(&way->value, value);
  syscall(SYS_futex, &way->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static int futex_take(Way *way, int last) {
  int value;
  while ((value = atomic_load(&way->value)) == last)
    syscall(SYS_futex, &way->value, FUTEX_WAIT_PRIVATE, last, NULL, NULL, 0);
  return value;
}

static void eventfd_put(Way *way, int value) {
  check(eventfd_write(way->fd, (eventfd_t)value) == 0, "no write to an eventfd");
}

static int eventfd_take(Way *way, int last) {
  eventfd_t value = 0;
  check(eventfd_read(way->fd, &value) == 0 && value != (eventfd_t)last, "no read of an eventfd");
  return (int)value;
}

static const Link spinning = {spin_put, spin_take};
static const Link parking = {futex_put, futex_take};
static const Link eventfds = {eventfd_put, eventfd_take};

static void *echo_body(void *arg) {
  Pair *pair = arg;
  for (int i = 1; i <= pair->trips; i++)
    pair->link->put(&pair->back, pair->link->take(&pair->there, i - 1));
  return NULL;
}

static void trip(Pair *pair, int i) {
  pair->link->put(&pair->there, i);
  check(pair->link->take(&pair->back, i - 1) == i, "wrong integer");
}

/* us a trip there and back; the first one, in which the other thread starts, is not counted. */
static double round_trips(const Link *link, long trips) {
  double samples[ROUNDS];
  for (int r = 0; r < ROUNDS; r++) {
    Pair pair = {link, (int)trips + 1, {0, eventfd(0, 0)}, {0, eventfd(0, 0)}};
    pthread_t echo = start(echo_body, &pair);
    trip(&pair, 1);
    double t = now();
    for (int i = 2; i <= pair.trips; i++) trip(&pair, i);
    samples[r] = (now() - t) / (double)trips * 1e6;
    join(echo);
    close(pair.there.fd);
    close(pair.back.fd);
  }
  return median(samples, ROUNDS);
}

static double round_trip(long trips) {
  return round_trips(&spinning, trips);
}

static double round_trip_parked(long trips) {
  return round_trips(&parking, trips);
}

static double round_trip_eventfd(long trips) {
  return round_trips(&eventfds, trips);
}

/* From here on this thread and those that it starts share one CPU: the first that they may use. */
static void pin(void) {
  cpu_set_t set;
  check(sched_getaffinity(0, sizeof set, &set) == 0, "no affinity");
  int cpu = 0;
  while (!CPU_ISSET(cpu, &set)) cpu++;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  check(sched_setaffinity(0, sizeof set, &set) == 0, "no affinity");
}

static double round_trip_one_cpu(long trips) {
  cpu_set_t set;
  check(sched_getaffinity(0, sizeof set, &set) == 0, "no affinity");
  pin();
  double us = round_trips(&parking, trips);
  check(sched_setaffinity(0, sizeof set, &set) == 0, "no affinity");
  return us;
}

/* ---- One way ---- */

/*
 * Integers from any number of senders to one receiver. Both queues are bounded, so that they stay
 * in the cache and need no memory; who finds one full, or nothing in it, yields until that changes.
 */
typedef struct Queue {
  /* the mutex and what it guards; the count is also read without it, as a hint */
  _Alignas(LINE) pthread_mutex_t mutex;
  lua_Integer *in;
  atomic_long count;
  /* receiver only */
  _Alignas(LINE) lua_Integer *out;
  long taken, next;
  /* what `in` and `out` point to, in turn */
  lua_Integer items[2][QUEUE_SIZE];
} Queue;

static Queue queue = {
  .mutex = PTHREAD_MUTEX_INITIALIZER, .in = queue.items[0], .out = queue.items[1]};

/* Locks, once there is room for so many; returns where they go. */
static lua_Integer *open_room(Queue *q, long count) {
  for (;;) {
    pthread_mutex_lock(&q->mutex);
    long before = atomic_load_explicit(&q->count, memory_order_relaxed);
    if (before + count <= QUEUE_SIZE) return q->in + before;
    pthread_mutex_unlock(&q->mutex);
    sched_yield();
  }
}

static void close_room(Queue *q, long count) {
  long before = atomic_load_explicit(&q->count, memory_order_relaxed);
  atomic_store_explicit(&q->count, before + count, memory_order_relaxed);
  pthread_mutex_unlock(&q->mutex);
}

/* Takes all that has come, at least one, into q->out. To let some come costs nothing, and keeps the
   two from meeting at the mutex for each integer. */
static void refill(Queue *q) {
  double soon = now() + PATIENCE;
  while (atomic_load_explicit(&q->count, memory_order_relaxed) == 0 || now() < soon) sched_yield();
  pthread_mutex_lock(&q->mutex);
  lua_Integer *emptied = q->out;
  q->out = q->in;
  q->in = emptied;
  q->taken = atomic_load_explicit(&q->count, memory_order_relaxed);
  atomic_store_explicit(&q->count, 0, memory_order_relaxed);
  pthread_mutex_unlock(&q->mutex);
  q->next = 0;
}

/* Lock-free. Each item of number i has its place; `turn` is i while it is free for item i, and
   i + 1 once that is there. */
typedef struct Ring {
  _Alignas(LINE) atomic_long tail; /* the number of the next item sent */
  _Alignas(LINE) long head;        /* receiver only: that of the next received */
  _Alignas(LINE) struct {
    atomic_long turn; /* release after `item` was written or read, acquire before */
    lua_Integer item;
  } places[QUEUE_SIZE];
} Ring;

static Ring ring;

static void await_turn(atomic_long *turn, long i) {
  while (atomic_load_explicit(turn, memory_order_acquire) != i) sched_yield();
}

/* The methods check the integer, and not the object: the least that a C program could do. */

static void *self(lua_State *L) {
  return *(void **)lua_touserdata(L, 1);
}

static int queue_send(lua_State *L) {
  Queue *q = self(L);
  lua_Integer item = luaL_checkinteger(L, 2);
  *open_room(q, 1) = item;
  close_room(q, 1);
  return 0;
}

static int queue_receive(lua_State *L) {
  Queue *q = self(L);
  if (q->next == q->taken) refill(q);
  lua_pushinteger(L, q->out[q->next++]);
  return 1;
}

static int ring_send(lua_State *L) {
  Ring *r = self(L);
  lua_Integer item = luaL_checkinteger(L, 2);
  long i = atomic_fetch_add_explicit(&r->tail, 1, memory_order_relaxed);
  await_turn(&r->places[i % QUEUE_SIZE].turn, i);
  r->places[i % QUEUE_SIZE].item = item;
  atomic_store_explicit(&r->places[i % QUEUE_SIZE].turn, i + 1, memory_order_release);
  return 0;
}

static int ring_receive(lua_State *L) {
  Ring *r = self(L);
  long i = r->head++;
  await_turn(&r->places[i % QUEUE_SIZE].turn, i + 1);
  lua_pushinteger(L, r->places[i % QUEUE_SIZE].item);
  long next = i + QUEUE_SIZE;
  atomic_store_explicit(&r->places[i % QUEUE_SIZE].turn, next, memory_order_release);
  return 1;
}

static const luaL_Reg queue_methods[] = {
  {"send", queue_send}, {"receive", queue_receive}, {NULL, NULL}};
static const luaL_Reg ring_methods[] = {
  {"send", ring_send}, {"receive", ring_receive}, {NULL, NULL}};

typedef struct Traffic {
  void *queue;
  const luaL_Reg *methods;
  void *(*send)(void *traffic); /* what each sender runs */
  lua_Integer (*receive)(struct Traffic *traffic, lua_State *L);
  int senders;
  long count; /* of integers from each */
  atomic_int ready, go;
} Traffic;

/* A state with an object that has the methods, and `count`, on its stack. */
static lua_State *traffic_state(const Traffic *traffic, long count) {
  lua_State *L = new_state();
  *(void **)lua_newuserdatauv(L, sizeof(void *), 0) = traffic->queue;
  lua_newtable(L);
  lua_newtable(L);
  luaL_setfuncs(L, traffic->methods, 0);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_pushinteger(L, count);
  return L;
}

static void await_go(Traffic *traffic) {
  atomic_fetch_add(&traffic->ready, 1);
  while (!atomic_load(&traffic->go)) sched_yield();
}

static void *sender_body(void *arg) {
  Traffic *traffic = arg;
  lua_State *L = traffic_state(traffic, traffic->count);
  await_go(traffic);
  call(L, "local q, n = ... for i = 1, n do q:send(i) end", 2);
  lua_close(L);
  return NULL;
}

static void *batches_body(void *arg) {
  Traffic *traffic = arg;
  await_go(traffic);
  for (long i = 0; i < traffic->count; i += BATCH) {
    lua_Integer *batch = open_room(traffic->queue, BATCH);
    for (long k = 0; k < BATCH; k++) batch[k] = i + k + 1;
    close_room(traffic->queue, BATCH);
  }
  return NULL;
}

static lua_Integer receive_each(Traffic *traffic, lua_State *L) {
  (void)traffic;
  call(L, "local q, n = ... local sum = 0 for _ = 1, n do sum = sum + q:receive() end return sum",
       2);
  return lua_tointeger(L, -1);
}

static lua_Integer receive_batches(Traffic *traffic, lua_State *L) {
  (void)L;
  Queue *q = traffic->queue;
  lua_Integer sum = 0;
  for (long left = traffic->count; left > 0; left -= q->taken) {
    refill(q);
    while (q->next < q->taken) sum += q->out[q->next++];
  }
  return sum;
}

/* Seconds until the sum of all is there. */
static double traffic_seconds(Traffic *traffic) {
  pthread_t threads[MAX_SENDERS];
  int senders = traffic->senders;
  long n = traffic->count;
  lua_State *L = traffic_state(traffic, n * senders);
  traffic->ready = traffic->go = 0;
  for (int i = 0; i < senders; i++) threads[i] = start(traffic->send, traffic);
  while (atomic_load(&traffic->ready) < senders) sched_yield();
  double t = now();
  atomic_store(&traffic->go, 1);
  lua_Integer sum = traffic->receive(traffic, L);
  double seconds = now() - t;
  check(sum == n * (n + 1) / 2 * senders, "wrong sum");
  for (int i = 0; i < senders; i++) join(threads[i]);
  lua_close(L);
  return seconds;
}

/* Integers a second, in millions. */
static double traffic_rate(Traffic *traffic) {
  double samples[ROUNDS];
  double millions = (double)(traffic->count * traffic->senders) * 1e-6;
  for (int r = 0; r < ROUNDS; r++) samples[r] = millions / traffic_seconds(traffic);
  return median(samples, ROUNDS);
}

static double queue_rate(int senders, long count) {
  Traffic traffic = {&queue, queue_methods, sender_body, receive_each, senders, count, 0, 0};
  return traffic_rate(&traffic);
}

static double ring_rate(int senders, long count) {
  Traffic traffic = {&ring, ring_methods, sender_body, receive_each, senders, count, 0, 0};
  ring.tail = ring.head = 0;
  for (long i = 0; i < QUEUE_SIZE; i++) ring.places[i].turn = i;
  return traffic_rate(&traffic);
}

static double one_way(long count) {
  return queue_rate(1, count);
}

static double one_way_free(long count) {
  return ring_rate(1, count);
}

static double one_way_4(long count) {
  return queue_rate(4, count / 4);
}

static double one_way_4_free(long count) {
  return ring_rate(4, count / 4);
}

static double batches(long count) {
  Traffic traffic = {&queue, queue_methods, batches_body, receive_batches, 1, count, 0, 0};
  return traffic_rate(&traffic);
}

/* ---- Jobs ---- */

/*
 * `x -> x + 1` for each integer of a Lua list, by two threads that take one job at a time; the
 * results are a Lua list again. Who meets the other at the mutex waits in the kernel, as one that
 * finds nothing to do yields.
 */
typedef struct Jobs {
  /* the mutex and what it guards */
  pthread_mutex_t mutex;
  long next, there; /* of the arguments: the first that nobody took; how many there are */
  /* fixed once they are taken; what a thread took is that thread's */
  long count;
  lua_Integer *values; /* the argument, then the result */
} Jobs;

static long take_job(Jobs *jobs) {
  for (;;) {
    pthread_mutex_lock(&jobs->mutex);
    long taken = jobs->next < jobs->there ? jobs->next++ : -1, next = jobs->next;
    pthread_mutex_unlock(&jobs->mutex);
    if (taken >= 0 || next == jobs->count) return taken;
    sched_yield();
  }
}

static void *jobs_body(void *arg) {
  Jobs *jobs = arg;
  lua_State *L = new_state();
  call(L, "return function(x) return x + 1 end", 0);
  for (long i; (i = take_job(jobs)) >= 0;) {
    lua_pushvalue(L, -1);
    lua_pushinteger(L, jobs->values[i]);
    check(lua_pcall(L, 1, 1, 0) == LUA_OK, "a job failed");
    jobs->values[i] = lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  lua_close(L);
  return NULL;
}

static double jobs_seconds(lua_State *L, long count) {
  Jobs jobs = {.mutex = PTHREAD_MUTEX_INITIALIZER, .count = count};
  jobs.values = malloc(sizeof *jobs.values * (size_t)count);
  check(jobs.values != NULL, "no memory");
  pthread_t a = start(jobs_body, &jobs), b = start(jobs_body, &jobs);
  double t0 = now();
  for (long i = 0; i < count; i++) {
    lua_rawgeti(L, -1, i + 1);
    jobs.values[i] = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (i % QUEUE_SIZE != 0 && i + 1 != count) continue;
    pthread_mutex_lock(&jobs.mutex);
    jobs.there = i + 1;
    pthread_mutex_unlock(&jobs.mutex);
  }
  join(a);
  join(b);
  lua_createtable(L, (int)count, 0);
  for (long i = 0; i < count; i++) {
    check(jobs.values[i] == i + 2, "wrong result");
    lua_pushinteger(L, jobs.values[i]);
    lua_rawseti(L, -2, i + 1);
  }
  free(jobs.values);
  return now() - t0;
}

static double jobs(long count) {
  double samples[ROUNDS];
  for (int r = 0; r < ROUNDS; r++) {
    lua_State *L = new_state();
    lua_pushinteger(L, count);
    call(L, "local t = {} for i = 1, ... do t[i] = i end return t", 1);
    samples[r] = (double)count * 1e-6 / jobs_seconds(L, count);
    lua_close(L);
  }
  return median(samples, ROUNDS);
}

/* ---- Many at once ---- */

typedef struct Crowd {
  lua_State *(*make)(void); /* what each thread has */
  size_t stack;             /* bytes, of each thread */
  long count;
  atomic_long running;
  Way all, over; /* become 1 when all run, when all shall end */
  pthread_t threads[];
} Crowd;

static lua_State *bare_state(void) {
  lua_State *L = luaL_newstate();
  check(L != NULL, "no state");
  return L;
}

static void *alive_body(void *arg) {
  Crowd *crowd = arg;
  lua_State *L = crowd->make();
  if (atomic_fetch_add(&crowd->running, 1) + 1 == crowd->count) futex_put(&crowd->all, 1);
  futex_take(&crowd->over, 0);
  lua_close(L);
  return arg;
}

/* Returns when all of them run. */
static Crowd *gather(lua_State *(*make)(void), size_t stack, long count) {
  size_t size = sizeof(Crowd) + (size_t)count * sizeof(pthread_t);
  Crowd *crowd = aligned_alloc(LINE, (size + LINE - 1) / LINE * LINE);
  check(crowd != NULL, "no memory");
  memset(crowd, 0, size);
  crowd->make = make;
  crowd->stack = stack;
  crowd->count = count;
  for (long i = 0; i < count; i++) crowd->threads[i] = start_sized(alive_body, crowd, stack);
  futex_take(&crowd->all, 0);
  return crowd;
}

static void disperse(Crowd *crowd) {
  futex_put(&crowd->over, 1);
  for (long i = 0; i < crowd->count; i++) check(join(crowd->threads[i]) == crowd, "wrong thread");
  free(crowd);
}

static double alive_start(long count) {
  double t = now();
  Crowd *crowd = gather(new_state, STACK_SIZE, count);
  double us = (now() - t) / (double)count * 1e6;
  disperse(crowd);
  return us;
}

static double alive_end(long count) {
  Crowd *crowd = gather(new_state, STACK_SIZE, count);
  double t = now();
  disperse(crowd);
  return (now() - t) / (double)count * 1e6;
}

/* Of this process, as of now. */
static double resident_kib(void) {
  FILE *file = fopen("/proc/self/statm", "r");
  char line[128];
  check(file != NULL && fgets(line, sizeof line, file) != NULL, "no /proc/self/statm");
  fclose(file);
  char *second = strchr(line, ' ');
  check(second != NULL, "no resident pages");
  return (double)strtol(second, NULL, 10) * (double)sysconf(_SC_PAGESIZE) / 1024;
}

/* In a child process: what it frees is not there to be used again by the next row. */
static double crowd_kib(lua_State *(*make)(void), long count) {
  int ends[2];
  double kib = 0;
  check(pipe(ends) == 0, "no pipe");
  pid_t child = fork();
  check(child >= 0, "no process");
  if (child == 0) {
    double before = resident_kib();
    gather(make, SMALL_STACK_SIZE, count);
    kib = (resident_kib() - before) / (double)count;
    _exit(write(ends[1], &kib, sizeof kib) == sizeof kib ? EXIT_SUCCESS : EXIT_FAILURE);
  }
  close(ends[1]);
  check(read(ends[0], &kib, sizeof kib) == sizeof kib, "no figure from the child");
  close(ends[0]);
  check(waitpid(child, NULL, 0) == child, "no child");
  return kib;
}

/* Of a stack only what was written is resident, whatever its size: they are small here because page
   tables, not counted, take 4 KiB a thread with stacks of 8 MiB and 0.2 KiB with these. */
static double alive_kib(long count) {
  return crowd_kib(new_state, count);
}

static double alive_bare_kib(long count) {
  return crowd_kib(bare_state, count);
}

/* ---- Ending a busy thread, and looking for the one that is ready ---- */

static atomic_int busy, told;

static void tell(int sig) {
  (void)sig;
  atomic_store(&told, 1);
}

static void *busy_body(void *arg) {
  atomic_store(&busy, 1);
  while (!atomic_load_explicit(&told, memory_order_relaxed)) continue;
  return arg;
}

/* A thread that is busy is told to end by a signal, and joined. */
static double signalled(long count) {
  struct sigaction act = {.sa_handler = tell};
  double *samples = calloc((size_t)count, sizeof *samples);
  check(samples != NULL && sigaction(SIGUSR1, &act, NULL) == 0, "no memory, or no handler");
  for (long i = 0; i < count; i++) {
    atomic_store(&busy, 0);
    atomic_store(&told, 0);
    pthread_t t = start(busy_body, NULL);
    while (!atomic_load(&busy)) sched_yield();
    double from = now();
    check(pthread_kill(t, SIGUSR1) == 0, "no signal");
    join(t);
    samples[i] = (now() - from) * 1e3;
  }
  double ms = median(samples, (size_t)count);
  free(samples);
  return ms;
}

/* poll(2) of so many eventfds, the last of which can be read from. */
static double poll_of(int n, long count) {
  struct pollfd *all = calloc((size_t)n, sizeof *all);
  check(all != NULL, "no memory");
  for (int i = 0; i < n; i++) {
    all[i] = (struct pollfd){.fd = eventfd(i == n - 1, 0), .events = POLLIN};
    check(all[i].fd >= 0, "no eventfd: see ulimit -n");
  }
  double from = now();
  for (long i = 0; i < count; i++) check(poll(all, (nfds_t)n, -1) == 1, "poll found another");
  double us = (now() - from) / (double)count * 1e6;
  for (int i = 0; i < n; i++) close(all[i].fd);
  free(all);
  return us;
}

static double poll_1(long count) {
  return poll_of(1, count);
}

static double poll_10(long count) {
  return poll_of(10, count);
}

static double poll_100(long count) {
  return poll_of(100, count);
}

static double poll_1000(long count) {
  struct rlimit many;
  check(getrlimit(RLIMIT_NOFILE, &many) == 0, "no limit of descriptors");
  many.rlim_cur = many.rlim_max;
  setrlimit(RLIMIT_NOFILE, &many);
  return poll_of(1000, count);
}

/* ---- Rows ---- */

/* Those of memory come first, before this process has freed any. */
static const Row rows[] = {
  {"alive_kib", "KiB", 10000, alive_kib},
  {"alive_bare_kib", "KiB", 10000, alive_bare_kib},
  {"first_line", "us", 1, first_line},
  {"thread", "us", 500, thread},
  {"thread_state", "us", 500, thread_state},
  {"wake", "us", WAKES, wake},
  {"copy_array", "ms", 1000000, copy_array},
  {"copy_records", "ms", 100000, copy_records},
  {"string_100mb", "ms", 100000000, string_100mb},
  {"memcpy_100mb", "ms", 100L << 20, memcpy_100mb},
  {"cpu_two", "x", 10000000, cpu_two},
  {"round_trip", "us", 100000, round_trip},
  {"round_trip_parked", "us", 1000, round_trip_parked},
  {"round_trip_eventfd", "us", 1000, round_trip_eventfd},
  {"round_trip_one_cpu", "us", 5000, round_trip_one_cpu},
  {"one_way", "M/s", 500000, one_way},
  {"one_way_free", "M/s", 500000, one_way_free},
  {"one_way_4", "M/s", 400000, one_way_4},
  {"one_way_4_free", "M/s", 400000, one_way_4_free},
  {"batches", "M/s", 10000000, batches},
  {"jobs", "M/s", 2000000, jobs},
  {"signalled", "ms", 20, signalled},
  {"poll_1", "us", 10000, poll_1},
  {"poll_10", "us", 10000, poll_10},
  {"poll_100", "us", 2000, poll_100},
  {"poll_1000", "us", 500, poll_1000},
  {"alive_start", "us", 10000, alive_start},
  {"alive_end", "us", 10000, alive_end},
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
  if (argc > 2 && strcmp(argv[1], "pin") == 0) {
    pin();
    execvp(argv[2], argv + 2);
    check(0, "no such command");
  }
  for (int i = 1; i < argc; i++) print_named(argv[i]);
  for (size_t i = 0; argc == 1 && i < ROW_COUNT; i++) print_row(&rows[i], rows[i].name, 1);
  return EXIT_SUCCESS;
}
