/* arena_test.c - the memory of one Lua heap: blocks keep their contents at every change of size. */
/* SPDX-License-Identifier: MIT */
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "heap.h"

static const size_t sizes[] = {1,
                               8,
                               15,
                               16,
                               17,
                               31,
                               32,
                               100,
                               IL_ARENA_SMALL - 16,
                               IL_ARENA_SMALL - 15,
                               IL_ARENA_SMALL - 1,
                               IL_ARENA_SMALL,
                               IL_ARENA_SMALL + 1,
                               IL_ARENA_SMALL + 17,
                               IL_ARENA_MEDIUM / 2,
                               IL_ARENA_MEDIUM - 1,
                               IL_ARENA_MEDIUM,
                               IL_ARENA_MEDIUM + 1,
                               5000,
                               IL_HEAP_BIG - 1,
                               IL_HEAP_BIG,
                               IL_HEAP_BIG + 1};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static bool all_are(const unsigned char *p, int byte, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (p[i] != byte) return false;
  return true;
}

static void every_transition(void) {
  il_arena a;
  il_arena_init(&a);
  for (int i = 0; i < SIZES; i++) {
    for (int j = 0; j < SIZES; j++) {
      unsigned char *p = il_arena_resize(&a, NULL, 0, sizes[i]), *q;
      if (!CHECK(p != NULL)) return;
      memset(p, 1, sizes[i]);
      q = il_arena_resize(&a, p, sizes[i], sizes[j]);
      if (!CHECK(q != NULL)) return;
      CHECK(all_are(q, 1, sizes[i] < sizes[j] ? sizes[i] : sizes[j]));
      memset(q, 2, sizes[j]);
      CHECK(il_arena_resize(&a, q, sizes[j], 0) == NULL);
    }
  }
  CHECK(il_arena_resize(&a, NULL, 0, 0) == NULL);
  il_arena_fini(&a);
  il_heap_trim();
}

static void aligned(void) {
  enum { N = 200 };
  void *blocks[N];
  il_arena a;
  il_arena_init(&a);
  for (size_t i = 0; i < N; i++) {
    blocks[i] = il_arena_resize(&a, NULL, 0, 1 + i * 4);
    CHECK_INT((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
  }
  for (size_t i = 0; i < N; i++) il_arena_resize(&a, blocks[i], 1 + i * 4, 0);
  il_arena_fini(&a);
}

/* What is freed serves blocks of that size again: the arena does not grow. */
static void reuses_free_blocks(void) {
  enum { N = 100 };
  void *blocks[N];
  il_arena a;
  if (IL_ARENA_WATCHED) return;
  il_arena_init(&a);
  for (int round = 0; round < 100; round++) {
    char *at = a.at;
    for (size_t i = 0; i < N; i++) blocks[i] = il_arena_resize(&a, NULL, 0, 1 + i * 5);
    CHECK(round == 0 || a.at == at);
    for (size_t i = 0; i < N; i++) il_arena_resize(&a, blocks[i], 1 + i * 5, 0);
  }
  il_arena_fini(&a);
}

/* Bytes of blocks of `size` bytes that are to be had until the arena has grown. */
static size_t fill(il_arena *a, size_t size) {
  size_t total = a->total, taken = 0;
  while (a->total == total && CHECK(il_arena_resize(a, NULL, 0, size) != NULL)) taken += size;
  return taken;
}

static void cuts_what_is_free(void) {
  enum { N = 4, KEPT = IL_ARENA_MEDIUM, LEFT = 1040, FREED = 480 };
  void *kept[N], *freed[N];
  size_t used = IL_ARENA_STEP, first;
  il_arena a;
  if (IL_ARENA_WATCHED) return;
  il_arena_init(&a);
  il_arena_resize(&a, NULL, 0, IL_ARENA_STEP);
  first = a.total;
  for (int i = 0; i < N; i++) {
    void *left = il_arena_resize(&a, NULL, 0, LEFT);
    kept[i] = il_arena_resize(&a, NULL, 0, KEPT);
    freed[i] = il_arena_resize(&a, NULL, 0, FREED);
    il_arena_resize(&a, left, LEFT, 0);
    used += KEPT;
  }
  for (int i = 0; i < N; i++) il_arena_resize(&a, freed[i], FREED, 0);
  used += fill(&a, IL_ARENA_STEP);
  CHECK(used + used / 50 > first);
  for (int i = 0; i < N; i++) il_arena_resize(&a, kept[i], KEPT, 0);
  il_arena_fini(&a);
}

static void refuses_the_impossible(void) {
  unsigned char *p;
  il_arena a;
  il_arena_init(&a);
  p = il_arena_resize(&a, NULL, 0, 100);
  if (!CHECK(p != NULL)) return;
  memset(p, 7, 100);
  CHECK(il_arena_resize(&a, NULL, 0, SIZE_MAX) == NULL);
  CHECK(il_arena_resize(&a, p, 100, SIZE_MAX - IL_HEAP_BIG) == NULL);
  CHECK(all_are(p, 7, 100));
  il_arena_resize(&a, p, 100, 0);
  il_arena_fini(&a);
}

/* -- At random, against a copy ----------------------------------------------------------------- */

enum { SLOTS = 400 };

typedef struct slot {
  unsigned char *p, *copy;
  size_t size;
} slot;

static bool change(il_arena *a, slot *s, uint32_t *random) {
  size_t size = check_random(random) % (check_random(random) % 8 == 0 ? 100000 : 700);
  size_t old = s->size;
  unsigned char *copy = realloc(s->copy, size + 1), *p;
  if (!CHECK(copy != NULL)) return false;
  p = il_arena_resize(a, s->p, old, size);
  *s = (slot){p, copy, size};
  if (size == 0) return CHECK(p == NULL);
  if (!CHECK(p != NULL) || !CHECK(memcmp(p, copy, old < size ? old : size) == 0)) return false;
  for (size_t i = 0; i < size; i++) p[i] = copy[i] = (unsigned char)(check_random(random) >> 8);
  return true;
}

static void stress(int index, void *arg) {
  slot *slots = calloc(SLOTS, sizeof *slots);
  uint32_t random = (uint32_t)index * 7919 + 3;
  il_arena a;
  if (!CHECK(slots != NULL)) return;
  il_arena_init(&a);
  for (int i = 0; i < *(int *)arg; i++)
    if (!change(&a, &slots[check_random(&random) % SLOTS], &random)) break;
  for (int i = 0; i < SLOTS; i++) {
    if (slots[i].size > 0) CHECK(memcmp(slots[i].p, slots[i].copy, slots[i].size) == 0);
    /* At the end of an arena only large blocks have to be given back. */
    if (IL_ARENA_WATCHED || slots[i].size > IL_ARENA_SMALL || i % 2 == 0)
      il_arena_resize(&a, slots[i].p, slots[i].size, 0);
    free(slots[i].copy);
  }
  il_arena_fini(&a);
  free(slots);
}

static void random_stress(void) {
  int rounds = check_scale(20000, 2000);
  check_parallel(4, stress, &rounds);
}

static const check_case cases[] = {
  {"a block keeps its contents between any two sizes", every_transition},
  {"blocks are aligned for every type", aligned},
  {"free blocks are used again", reuses_free_blocks},
  {"free blocks of other sizes are cut before the first chunk is left", cuts_what_is_free},
  {"a size that cannot be is refused, and the block stays", refuses_the_impossible},
  {"blocks resized at random equal their copies", random_stress},
};

CHECK_MAIN(cases)
