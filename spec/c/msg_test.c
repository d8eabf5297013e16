/* msg_test.c - messages and the counted things in them: each is held and released once. */
/* SPDX-License-Identifier: MIT */
#include "msg.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "count.h"
#include "heap.h"

#define COPIED 4096 /* bytes of the longest message that is copied: IL_MSG_COPY in msg.c */

typedef struct thing {
  il_handle h;
  atomic_int closed;
} thing;

static void thing_close(il_handle *h) {
  atomic_fetch_add(&((thing *)h)->closed, 1);
}

static const il_handle_type thing_type = {.name = "spec.thing", .close = thing_close};

static void thing_init(thing *t) {
  il_handle_init(&t->h, &thing_type);
  atomic_init(&t->closed, 0);
}

/* -- Handles ----------------------------------------------------------------------------------- */

static void many_holds_at_once(void) {
  thing t;
  thing_init(&t);
  il_handle_hold(&t.h, 3);
  il_handle_release(&t.h);
  il_handle_hold(&t.h, -2);
  CHECK_INT(atomic_load(&t.closed), 0);
  il_handle_release(&t.h);
  CHECK_INT(atomic_load(&t.closed), 1);
}

static void last_release_closes(void) {
  thing t;
  thing_init(&t);
  il_handle_retain(&t.h);
  il_handle_retain(&t.h);
  il_handle_release(&t.h);
  il_handle_release(&t.h);
  CHECK_INT(atomic_load(&t.closed), 0);
  il_handle_release(&t.h);
  CHECK_INT(atomic_load(&t.closed), 1);
  il_handle_release(NULL);
}

/* A thing whose plain member is written by whoever holds it and read when it is closed. */
typedef struct shared {
  thing thing;
  int marks[8]; /* each written by one thread */
  int rounds;
} shared;

static void hold_and_release(int index, void *arg) {
  shared *s = arg;
  for (int i = 0; i < s->rounds; i++) {
    il_handle_retain(&s->thing.h);
    il_handle_release(&s->thing.h);
  }
  s->marks[index]++;
  il_handle_release(&s->thing.h);
}

static void shared_close(il_handle *h) {
  shared *s = (shared *)h;
  for (int i = 0; i < 8; i++) CHECK_INT(s->marks[i], 1);
  atomic_fetch_add(&s->thing.closed, 1);
}

static const il_handle_type shared_type = {.name = "spec.shared", .close = shared_close};

static void closed_once_by_many(void) {
  for (int round = 0; round < check_scale(200, 20); round++) {
    shared s = {.rounds = 100};
    thing_init(&s.thing);
    s.thing.h.type = &shared_type;
    for (int i = 1; i < 8; i++) il_handle_retain(&s.thing.h);
    check_parallel(8, hold_and_release, &s);
    CHECK_INT(atomic_load(&s.thing.closed), 1);
  }
}

/* -- Messages ---------------------------------------------------------------------------------- */

/* A message of `len` bytes that begin with `first`; checks who owns its block. */
static il_msg *message(size_t len, int first, il_handle **handles, size_t nhandles) {
  size_t cap = len + 100;
  unsigned char *block = il_heap_resize(NULL, 0, cap);
  int taken = -1;
  il_msg *m;
  if (!CHECK(block != NULL)) return NULL;
  for (size_t i = 0; i < len; i++) block[i] = (unsigned char)(first + (int)(i % 251));
  m = il_msg_new(block, len, cap, handles, nhandles, &taken);
  CHECK_INT(taken, m != NULL && len > COPIED);
  if (taken != 1) {
    memset(block, 0xee, cap);
    il_heap_resize(block, cap, 0);
  }
  CHECK(m != NULL);
  return m;
}

static bool holds(const il_msg *m, size_t len, int first) {
  if (m->len != len) return false;
  for (size_t i = 0; i < len; i++)
    if (m->data[i] != (unsigned char)(first + (int)(i % 251))) return false;
  return true;
}

static void keeps_its_bytes(void) {
  static const size_t sizes[] = {0,          1,      100,         COPIED - 1,         COPIED,
                                 COPIED + 1, 100000, IL_HEAP_BIG, IL_HEAP_BIG * 3 + 5};
  enum { N = sizeof sizes / sizeof sizes[0] };
  il_msg *messages[N];
  for (int i = 0; i < N; i++) {
    size_t before = il_counted(IL_BYTES);
    messages[i] = message(sizes[i], i, NULL, 0);
    CHECK_INT(il_counted(IL_BYTES) - before, sizes[i]);
    CHECK_INT(il_counted(IL_MESSAGES), i + 1);
  }
  for (int i = 0; i < N; i++)
    if (messages[i] != NULL) CHECK(holds(messages[i], sizes[i], i));
  for (int i = 0; i < N; i++) il_msg_free(messages[i]);
  CHECK_INT(il_counted(IL_MESSAGES), 0);
  CHECK_INT(il_counted(IL_BYTES), 0);
  il_msg_free(NULL);
  il_heap_trim();
}

static void releases_its_handles(void) {
  enum { N = 300 };
  static const size_t sizes[] = {0, 10, COPIED, COPIED + 1};
  thing things[N];
  il_handle *handles[N + 1];
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    il_msg *m;
    for (int i = 0; i < N; i++) {
      thing_init(&things[i]);
      handles[i] = &things[i].h;
    }
    handles[N] = &things[0].h; /* the same one again, with a hold of its own */
    il_handle_retain(handles[N]);
    il_handle_retain(&things[1].h); /* somebody else's */
    m = message(sizes[s], 1, handles, N + 1);
    if (m == NULL) return;
    CHECK_INT(m->nhandles, N + 1);
    CHECK(memcmp(m->handles, handles, sizeof handles) == 0);
    CHECK(holds(m, sizes[s], 1));
    for (int i = 0; i < N; i++) CHECK_INT(atomic_load(&things[i].closed), 0);
    il_msg_free(m);
    for (int i = 0; i < N; i++) CHECK_INT(atomic_load(&things[i].closed), i != 1);
    il_handle_release(&things[1].h);
    CHECK_INT(atomic_load(&things[1].closed), 1);
  }
}

typedef struct traffic {
  thing thing;
  int rounds;
} traffic;

static void make_and_free(int index, void *arg) {
  traffic *t = arg;
  il_handle *handle = &t->thing.h;
  for (int i = 0; i < t->rounds; i++) {
    il_msg *m;
    il_handle_retain(handle);
    m = message((size_t)(i * 37 % (2 * COPIED)), index, &handle, 1);
    if (m == NULL) return;
    CHECK(holds(m, (size_t)(i * 37 % (2 * COPIED)), index));
    il_msg_free(m);
  }
}

static void of_many_threads(void) {
  traffic t = {.rounds = check_scale(2000, 100)};
  thing_init(&t.thing);
  check_parallel(4, make_and_free, &t);
  CHECK_INT(atomic_load(&t.thing.closed), 0);
  il_handle_release(&t.thing.h);
  CHECK_INT(atomic_load(&t.thing.closed), 1);
}

/* More threads than there are lines: some share one. */
enum { COUNTERS = 100 };

static void count_up(int index, void *arg) {
  for (int i = 0; i < *(int *)arg; i++) {
    il_count_add(IL_BYTES, index + 1);
    il_count_add(IL_BYTES, -index);
  }
}

static void counts_of_all_threads(void) {
  int rounds = check_scale(1000, 50);
  size_t before = il_counted(IL_BYTES);
  check_parallel(COUNTERS, count_up, &rounds);
  CHECK_INT(il_counted(IL_BYTES) - before, COUNTERS * rounds);
  il_count_add(IL_BYTES, -(long)COUNTERS * rounds);
}

static const check_case cases[] = {
  {"a handle is closed by its last release", last_release_closes},
  {"a handle is held many times at once", many_holds_at_once},
  {"what is counted is the sum of all threads", counts_of_all_threads},
  {"a handle that many threads hold is closed once, after all they did", closed_once_by_many},
  {"a message has its bytes, copied when they are few", keeps_its_bytes},
  {"a message releases each hold on its handles once", releases_its_handles},
  {"messages of many threads do not disturb each other", of_many_threads},
};

CHECK_MAIN(cases)
