/* arena.c - cutting chunks into blocks, and keeping free blocks by size. */
/* SPDX-License-Identifier: MIT */
#include "arena.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"

/*
** DESIGN. What an isolate that waits costs is mostly its fresh state, so that fits the first chunk,
** and little is left of it: one call of malloc, and no holes between blocks. While a state is opened
** its tables grow, and what they leave behind is too large for a list: as a piece it serves the next
** medium block that fits it, or small ones once the chunk is used up. Only the first chunk has medium
** blocks, so an address tells whether one is of malloc.
*/
#define CHUNK_FIRST ((size_t)27 << 10) /* a state with its libraries, and a function that waits */
#define CHUNK_STEP ((size_t)1 << 10)
#define HEAP_SMALL ((size_t)128 << 10) /* up to there chunks are small: little is to lie idle */
#define CHUNK_LAST IL_HEAP_HUGE

/* A chunk, or a piece of one. */
struct il_arena_part {
  _Alignas(IL_ARENA_STEP) il_arena_part *next;
  size_t size;
};

void il_arena_init(il_arena *a) {
  memset(a, 0, sizeof *a);
}

void il_arena_fini(il_arena *a) {
  while (a->chunks != NULL) {
    il_arena_part *next = a->chunks->next;
    il_heap_resize(a->chunks, a->chunks->size, 0);
    a->chunks = next;
  }
  il_arena_init(a);
}

static size_t round_up(size_t size, size_t step) {
  return (size + step - 1) / step * step;
}

static size_t steps(size_t size) {
  return (size + IL_ARENA_STEP - 1) / IL_ARENA_STEP;
}

static bool in_first(const il_arena *a, const char *p) {
  return a->first != NULL && p >= a->first && p < a->first + CHUNK_FIRST;
}

/* The block lies in a chunk, not in one of its own. */
static bool is_cut(const il_arena *a, const void *p, size_t size) {
  return size <= IL_ARENA_SMALL || in_first(a, p);
}

/* A free block of a size that is a multiple of steps. */
static void give(il_arena *a, void *p, size_t size) {
  if (size > IL_ARENA_SMALL) {
    il_arena_part *piece = p;
    piece->next = a->pieces;
    piece->size = size;
    a->pieces = piece;
  } else if (size > 0) {
    void **list = &a->free[size / IL_ARENA_STEP];
    *(void **)p = *list;
    *list = p;
  }
}

static void cut_from(il_arena *a, void *p, size_t size) {
  a->at = p;
  a->end = a->at + size;
}

static bool new_chunk(il_arena *a) {
  size_t size = round_up(a->total / (a->total < HEAP_SMALL ? 32 : 4), CHUNK_STEP);
  il_arena_part *c;
  if (a->first == NULL) size = CHUNK_FIRST;
  if (size > CHUNK_LAST) size = CHUNK_LAST;
  c = il_heap_resize(NULL, 0, size);
  if (c == NULL) return false;
  if (a->first == NULL) a->first = (char *)c;
  c->next = a->chunks;
  c->size = size;
  a->chunks = c;
  a->total += size;
  cut_from(a, c + 1, size - sizeof *c);
  return true;
}

/* The largest free block, of more than `size` bytes, to cut from. */
static bool cut_from_list(il_arena *a, size_t size) {
  for (size_t n = IL_ARENA_SMALL / IL_ARENA_STEP; n * IL_ARENA_STEP > size; n--) {
    void *p = a->free[n];
    if (p == NULL) continue;
    a->free[n] = *(void **)p;
    cut_from(a, p, n * IL_ARENA_STEP);
    return true;
  }
  return false;
}

/* Something to cut `size` bytes from; what was left of the last one becomes a free block. While there
** is but one chunk, free blocks come before another. */
static bool refill(il_arena *a, size_t size) {
  char *at = a->at;
  size_t left = (size_t)(a->end - at);
  il_arena_part *piece = a->pieces;
  if (piece != NULL) {
    a->pieces = piece->next;
    cut_from(a, piece, piece->size);
  } else if ((a->total != CHUNK_FIRST || !cut_from_list(a, size)) && !new_chunk(a)) {
    return false;
  }
  give(a, at, left);
  return true;
}

static void *take_small(il_arena *a, size_t size) {
  void **list = &a->free[size / IL_ARENA_STEP], *p = *list;
  if (p != NULL) {
    *list = *(void **)p;
    return p;
  }
  if ((size_t)(a->end - a->at) < size && !refill(a, size)) return NULL;
  p = a->at;
  a->at += size;
  return p;
}

/* From the first chunk; NULL: there is no room in it. */
static void *take_medium(il_arena *a, size_t size) {
  char *p;
  for (il_arena_part **at = &a->pieces; *at != NULL; at = &(*at)->next) {
    il_arena_part *piece = *at;
    if (piece->size >= size) {
      *at = piece->next;
      give(a, (char *)piece + size, piece->size - size);
      return piece;
    }
  }
  if (a->first == NULL && !new_chunk(a)) return NULL;
  if (!in_first(a, a->at) || (size_t)(a->end - a->at) < size) return NULL;
  p = a->at;
  a->at += size;
  return p;
}

static void *take(il_arena *a, size_t size) {
  void *p = NULL;
  if (size <= IL_ARENA_SMALL) return take_small(a, steps(size) * IL_ARENA_STEP);
  if (size <= IL_ARENA_MEDIUM) p = take_medium(a, steps(size) * IL_ARENA_STEP);
  return p != NULL ? p : il_heap_resize(NULL, 0, size);
}

static void release(il_arena *a, void *p, size_t size) {
  if (is_cut(a, p, size))
    give(a, p, steps(size) * IL_ARENA_STEP);
  else
    il_heap_resize(p, size, 0);
}

/* A block in a chunk may shrink where it is, if need be: its rest is lost to the arena. */
static void *move(il_arena *a, void *p, size_t osize, size_t nsize) {
  void *q = take(a, nsize);
  if (q == NULL) return nsize <= osize && is_cut(a, p, osize) ? p : NULL;
  memcpy(q, p, osize < nsize ? osize : nsize);
  release(a, p, osize);
  return q;
}

void *il_arena_resize_slow(il_arena *a, void *p, size_t osize, size_t nsize) {
  if (IL_ARENA_WATCHED) return il_heap_resize(p, osize, nsize);
  if (p == NULL) return nsize > 0 ? take(a, nsize) : NULL;
  if (nsize == 0) {
    release(a, p, osize);
    return NULL;
  }
  if (!is_cut(a, p, osize)) {
    if (nsize > IL_ARENA_SMALL) return il_heap_resize(p, osize, nsize);
  } else if (steps(osize) == steps(nsize)) {
    return p;
  }
  return move(a, p, osize, nsize);
}
