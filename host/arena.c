/* arena.c - cutting chunks into blocks, and keeping free blocks by size. */
/* SPDX-License-Identifier: MIT */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#include "heap.h"

/* A state with its libraries takes some 15 KiB in small blocks. From there on by a quarter of what there
** is: most states stay small, and an isolate that waits is to cost little more than what it uses. */
#define CHUNK_FIRST ((size_t)16 << 10)
#define CHUNK_STEP ((size_t)4 << 10)
#define CHUNK_LAST IL_HEAP_HUGE

struct il_chunk {
  _Alignas(IL_ARENA_STEP) il_chunk *next;
  size_t size;
};

void il_arena_init(il_arena *a) {
  memset(a, 0, sizeof *a);
  a->next = CHUNK_FIRST;
}

void il_arena_fini(il_arena *a) {
  while (a->chunks != NULL) {
    il_chunk *next = a->chunks->next;
    il_heap_resize(a->chunks, a->chunks->size, 0);
    a->chunks = next;
  }
  il_arena_init(a);
}

static size_t steps(size_t size) {
  return (size + IL_ARENA_STEP - 1) / IL_ARENA_STEP;
}

static void give(il_arena *a, void *p, size_t n) {
  *(void **)p = a->free[n];
  a->free[n] = p;
}

/* A new chunk; what is left of the last one becomes a free block. */
static int refill(il_arena *a) {
  size_t left = (size_t)(a->end - a->at) / IL_ARENA_STEP;
  il_chunk *c = il_heap_resize(NULL, 0, a->next);
  if (c == NULL) return 0;
  if (left > 0) give(a, a->at, left);
  c->next = a->chunks;
  c->size = a->next;
  a->chunks = c;
  a->at = (char *)(c + 1);
  a->end = (char *)c + a->next;
  a->total += a->next;
  a->next = (a->total / 4 + CHUNK_STEP - 1) / CHUNK_STEP * CHUNK_STEP;
  if (a->next > CHUNK_LAST) a->next = CHUNK_LAST;
  return 1;
}

static void *take(il_arena *a, size_t n) {
  void *p = a->free[n];
  if (p != NULL) {
    a->free[n] = *(void **)p;
    return p;
  }
  if ((size_t)(a->end - a->at) < n * IL_ARENA_STEP && !refill(a)) return NULL;
  p = a->at;
  a->at += n * IL_ARENA_STEP;
  return p;
}

static void *move(il_arena *a, void *p, size_t osize, size_t nsize) {
  int small = nsize <= IL_ARENA_SMALL;
  void *q = small ? take(a, steps(nsize)) : il_heap_resize(NULL, 0, nsize);
  if (q == NULL) return nsize <= osize && osize <= IL_ARENA_SMALL ? p : NULL;
  memcpy(q, p, osize < nsize ? osize : nsize);
  if (osize <= IL_ARENA_SMALL)
    give(a, p, steps(osize));
  else
    il_heap_resize(p, osize, 0);
  return q;
}

void *il_arena_resize_slow(il_arena *a, void *p, size_t osize, size_t nsize) {
  int was_small = osize <= IL_ARENA_SMALL, small = nsize <= IL_ARENA_SMALL;
  if (IL_ARENA_WATCHED || (!small && (p == NULL || !was_small)))
    return il_heap_resize(p, osize, nsize);
  if (p == NULL) return nsize > 0 ? take(a, steps(nsize)) : NULL;
  if (nsize > 0) {
    if (was_small && small && steps(osize) == steps(nsize)) return p;
    return move(a, p, osize, nsize);
  }
  if (was_small)
    give(a, p, steps(osize));
  else
    il_heap_resize(p, osize, 0);
  return NULL;
}
