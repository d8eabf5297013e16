/* heap_test.c - small blocks, big ones on pages of their own, and the ways between. */
/* SPDX-License-Identifier: MIT */
#include "heap.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#define BIG IL_HEAP_BIG

/* -- Contents ---------------------------------------------------------------------------------- */

/* One byte of each 509, and the last one, so that big blocks are quick; each says where it is. */
static unsigned char mark(size_t i, uint32_t seed) {
  return (unsigned char)(seed + i * 7 + (i >> 12));
}

static void fill(unsigned char *p, size_t size, uint32_t seed) {
  for (size_t i = 0; i < size; i += 509) p[i] = mark(i, seed);
  if (size > 0) p[size - 1] = mark(size - 1, seed);
}

/* The first `size` bytes of a block that was filled as one of `filled` bytes. */
static bool holds(const unsigned char *p, size_t size, size_t filled, uint32_t seed) {
  for (size_t i = 0; i < size; i += 509)
    if (p[i] != mark(i, seed)) return false;
  return size < filled || size == 0 || p[size - 1] == mark(size - 1, seed);
}

static const size_t sizes[] = {
  1,           8,       100,         4096,    65536,   BIG / 2,        BIG - 1,     BIG,    BIG + 1,
  2 * BIG - 1, 2 * BIG, 2 * BIG + 1, 3 * BIG, 5 * BIG, 5 * BIG + 4097, 9 * BIG - 1, 9 * BIG};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void resize_keeps(size_t from, size_t to) {
  size_t both = from < to ? from : to;
  unsigned char *p = il_heap_resize(NULL, 0, from), *q;
  if (!CHECK(p != NULL)) return;
  fill(p, from, 1);
  q = il_heap_resize(p, from, to);
  if (!CHECK(q != NULL)) return;
  if (!CHECK(holds(q, both, from, 1))) printf("      from %zu to %zu bytes\n", from, to);
  fill(q, to, 2);
  CHECK(holds(q, to, to, 2));
  CHECK(il_heap_resize(q, to, 0) == NULL);
}

static void every_transition(void) {
  for (int i = 0; i < SIZES; i++)
    for (int j = 0; j < SIZES; j++) resize_keeps(sizes[i], sizes[j]);
  il_heap_trim();
}

/* Through all sizes up and down, with other blocks in the way of growing in place. */
static void grows_step_by_step(void) {
  enum { STEPS = 24 };
  unsigned char *p = NULL, *fence[STEPS];
  size_t size = 0;
  for (int i = 0; i < STEPS; i++) {
    size_t next = (size_t)(i + 1) * BIG / 2 + (size_t)i;
    unsigned char *q = il_heap_resize(p, size, next);
    fence[i] = il_heap_resize(NULL, 0, BIG);
    if (!CHECK(q != NULL && fence[i] != NULL)) return;
    CHECK(holds(q, size, size, (uint32_t)i));
    fill(fence[i], BIG, 100);
    p = q;
    size = next;
    fill(p, size, (uint32_t)i + 1);
  }
  for (int i = STEPS; i > 0; i--) {
    size_t next = (size_t)i * BIG / 3 + 1;
    unsigned char *q = il_heap_resize(p, size, next);
    if (!CHECK(q != NULL)) return;
    CHECK(holds(q, next, size, (uint32_t)i));
    p = q;
    size = next;
    fill(p, size, (uint32_t)i - 1);
  }
  il_heap_resize(p, size, 0);
  for (int i = 0; i < STEPS; i++) {
    CHECK(holds(fence[i], BIG, BIG, 100));
    il_heap_resize(fence[i], BIG, 0);
  }
  il_heap_trim();
}

static void refuses_the_impossible(void) {
  static const size_t impossible[] = {SIZE_MAX, SIZE_MAX - BIG, SIZE_MAX / 2, (size_t)1 << 56};
  for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
    unsigned char *small = il_heap_resize(NULL, 0, 100), *big = il_heap_resize(NULL, 0, 3 * BIG);
    if (!CHECK(small != NULL && big != NULL)) return;
    fill(small, 100, 1);
    fill(big, 3 * BIG, 2);
    CHECK(il_heap_resize(NULL, 0, impossible[i]) == NULL);
    CHECK(il_heap_resize(small, 100, impossible[i]) == NULL);
    CHECK(il_heap_resize(big, 3 * BIG, impossible[i]) == NULL);
    CHECK(holds(small, 100, 100, 1));
    CHECK(holds(big, 3 * BIG, 3 * BIG, 2));
    il_heap_resize(small, 100, 0);
    il_heap_resize(big, 3 * BIG, 0);
  }
  CHECK(il_heap_resize(NULL, 0, 0) == NULL);
  il_heap_trim();
}

/* -- Kept pages -------------------------------------------------------------------------------- */

/* Field `n` of statm(5), in bytes: 0 what is mapped, 1 what is in memory. */
static size_t memory(int n) {
  long fields[2] = {0, 0};
  FILE *file = fopen("/proc/self/statm", "r");
  if (!CHECK(file != NULL)) return 0;
  CHECK_INT(fscanf(file, "%ld %ld", &fields[0], &fields[1]), 2);
  fclose(file);
  return (size_t)fields[n] * (size_t)sysconf(_SC_PAGESIZE);
}

static void reuses_freed_pages(void) {
  char *p, *parts[4];
  il_heap_trim();
  p = il_heap_resize(NULL, 0, 4 * BIG);
  il_heap_resize(p, 4 * BIG, 0);
  for (int i = 0; i < 4; i++) {
    parts[i] = il_heap_resize(NULL, 0, BIG);
    CHECK(parts[i] == p + (size_t)i * BIG);
  }
  for (int i = 0; i < 4; i++) il_heap_resize(parts[i], BIG, 0);
  p = il_heap_resize(NULL, 0, BIG - 1); /* a small one is not of these */
  for (int i = 0; i < 4; i++) CHECK(p != parts[i]);
  il_heap_resize(p, BIG - 1, 0);
  il_heap_trim();
}

static void trim_gives_pages_back(void) {
  size_t size = 32 * BIG, full, trimmed;
  unsigned char *p = il_heap_resize(NULL, 0, size);
  if (!CHECK(p != NULL)) return;
  memset(p, 1, size);
  il_heap_resize(p, size, 0);
  full = memory(1);
  il_heap_trim();
  trimmed = memory(1);
  CHECK(trimmed + size / 2 < full);
}

static void keeps_a_bounded_amount(void) {
  enum { N = 8 };
  size_t size = IL_HEAP_KEEP / 4 / BIG * BIG, before;
  void *blocks[N];
  il_heap_trim();
  before = memory(0);
  for (int i = 0; i < N; i++) blocks[i] = il_heap_resize(NULL, 0, size);
  CHECK(memory(0) >= before + N * size);
  for (int i = 0; i < N; i++) il_heap_resize(blocks[i], size, 0);
  CHECK(memory(0) <= before + IL_HEAP_KEEP + BIG);
  il_heap_trim();
}

/* -- At random, against a copy ----------------------------------------------------------------- */

enum { SLOTS = 12 };

typedef struct slot {
  unsigned char *p, *copy;
  size_t size;
} slot;

static size_t random_size(uint32_t *random) {
  size_t n = check_random(random);
  switch (check_random(random) % 8) {
  case 0: return 0;
  case 1: return n % 64;
  case 2: return n % 65536;
  case 3: return BIG - 3 + n % 6;
  case 4: return 2 * BIG - 3 + n % 6;
  default: return n % (4 * BIG);
  }
}

/* New bytes, here and there, in both. */
static void scribble(slot *s, uint32_t *random) {
  for (size_t i = 0; i < s->size; i += 1 + check_random(random) % 4096)
    s->p[i] = s->copy[i] = (unsigned char)check_random(random);
}

static bool change(slot *s, uint32_t *random) {
  size_t size = random_size(random), old = s->size;
  unsigned char *copy = realloc(s->copy, size + 1), *p;
  if (!CHECK(copy != NULL)) return false;
  p = il_heap_resize(s->p, old, size);
  *s = (slot){p, copy, size};
  if (size == 0) return CHECK(p == NULL);
  if (!CHECK(p != NULL) || !CHECK(memcmp(p, copy, old < size ? old : size) == 0)) return false;
  if (size > old) memset(p + old, (int)(size % 251), size - old);
  if (size > old) memset(copy + old, (int)(size % 251), size - old);
  scribble(s, random);
  return true;
}

static void stress(int index, void *arg) {
  slot slots[SLOTS];
  uint32_t random = (uint32_t)index * 2654435761u + 17;
  int rounds = *(int *)arg;
  memset(slots, 0, sizeof slots);
  for (int i = 0; i < rounds; i++) {
    if (!change(&slots[check_random(&random) % SLOTS], &random)) break;
    if (i % 97 == 0) il_heap_trim();
  }
  for (int i = 0; i < SLOTS; i++) {
    if (slots[i].size > 0) CHECK(memcmp(slots[i].p, slots[i].copy, slots[i].size) == 0);
    il_heap_resize(slots[i].p, slots[i].size, 0);
    free(slots[i].copy);
  }
}

static void random_stress(void) {
  int rounds = check_scale(1500, 150);
  stress(100, &rounds);
  il_heap_trim();
}

static void stress_of_many_threads(void) {
  int rounds = check_scale(500, 50);
  check_parallel(4, stress, &rounds);
  il_heap_trim();
}

static const check_case cases[] = {
  {"a block keeps its contents between any two sizes", every_transition},
  {"a block keeps its contents while it grows and shrinks among others", grows_step_by_step},
  {"a size that cannot be is refused, and the block stays", refuses_the_impossible},
  {"pages of a freed block are given out again, in parts", reuses_freed_pages},
  {"trimming gives kept pages back to the system", trim_gives_pages_back},
  {"kept pages do not exceed their bound", keeps_a_bounded_amount},
  {"blocks resized at random equal their copies", random_stress},
  {"blocks of several threads equal their copies", stress_of_many_threads},
};

CHECK_MAIN(cases)
