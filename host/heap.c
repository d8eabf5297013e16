/* heap.c - large blocks on kept pages. */
/* SPDX-License-Identifier: MIT */
#include "heap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plat.h"

/*
** DESIGN. A big block is a whole number of steps, so its extent follows from the size that its owner
** knows; nothing is stored with it. Pages are got from the system as whole huge ones. What lies behind
** a block that was asked for is kept, as are freed blocks; one that is larger than what is asked for
** is cut, its rest stays kept. The list is short (KEPT_MAX): a linear search under the lock.
*/
#define KEPT_MAX 128
#define STEP (IL_HEAP_BIG / 2)

static struct {
  pthread_mutex_t lock; /* guards all below */
  size_t bytes;
  int count;
  struct {
    char *p;
    size_t size;
  } blocks[KEPT_MAX];
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t extent(size_t size) {
  return (size + STEP - 1) / STEP * STEP;
}

/* A kept block that lies right before or behind this one; -1: none. */
static int neighbour_locked(const char *p, size_t size) {
  for (int i = 0; i < kept.count; i++)
    if (kept.blocks[i].p + kept.blocks[i].size == p || kept.blocks[i].p == p + size) return i;
  return -1;
}

/* Pieces of one block that was cut become one again. */
static bool keep(char *p, size_t size) {
  bool done;
  pthread_mutex_lock(&kept.lock);
  done = kept.bytes + size <= IL_HEAP_KEEP;
  if (done) {
    int i;
    kept.bytes += size;
    while ((i = neighbour_locked(p, size)) >= 0) {
      if (kept.blocks[i].p < p) p = kept.blocks[i].p;
      size += kept.blocks[i].size;
      kept.blocks[i] = kept.blocks[--kept.count];
    }
    done = kept.count < KEPT_MAX;
    if (done) {
      kept.blocks[kept.count].p = p;
      kept.blocks[kept.count++].size = size;
    } else {
      kept.bytes -= size;
    }
  }
  pthread_mutex_unlock(&kept.lock);
  return done;
}

/* The first `size` bytes of a kept block. */
static char *cut_locked(int i, size_t size) {
  char *p = kept.blocks[i].p;
  kept.bytes -= size;
  kept.blocks[i].p += size;
  kept.blocks[i].size -= size;
  if (kept.blocks[i].size == 0) kept.blocks[i] = kept.blocks[--kept.count];
  return p;
}

/* The smallest kept block that is large enough, cut to size; NULL when there is none. */
static char *reuse(size_t size) {
  int best = -1;
  char *p;
  pthread_mutex_lock(&kept.lock);
  for (int i = 0; i < kept.count; i++) {
    if (kept.blocks[i].size >= size && (best < 0 || kept.blocks[i].size < kept.blocks[best].size))
      best = i;
  }
  p = best >= 0 ? cut_locked(best, size) : NULL;
  pthread_mutex_unlock(&kept.lock);
  return p;
}

/* Takes `size` bytes from `p` on out of what is kept. */
static bool reuse_at(const char *p, size_t size) {
  bool found = false;
  pthread_mutex_lock(&kept.lock);
  for (int i = 0; i < kept.count && !found; i++) {
    if (kept.blocks[i].p == p && kept.blocks[i].size >= size) {
      cut_locked(i, size);
      found = true;
    }
  }
  pthread_mutex_unlock(&kept.lock);
  return found;
}

static void give_back(char *p, size_t size) {
  if (size > 0 && !keep(p, size)) il_pages_unmap(p, size);
}

static void big_free(char *p, size_t size) {
  give_back(p, extent(size));
}

static void *big_new(size_t size) {
  size_t taken, mapped;
  char *p;
  if (size > SIZE_MAX - 2 * IL_HEAP_HUGE) return NULL;
  taken = extent(size);
  mapped = (taken + IL_HEAP_HUGE - 1) / IL_HEAP_HUGE * IL_HEAP_HUGE;
  p = reuse(taken);
  if (p != NULL) return p;
  p = il_pages_map(mapped);
  if (p != NULL) give_back(p + taken, mapped - taken);
  return p;
}

/* Grows a block in place, up to the end of a huge page. */
static bool map_behind(char *p, size_t from, size_t to) {
  uintptr_t end = ((uintptr_t)p + to + IL_HEAP_HUGE - 1) / IL_HEAP_HUGE * IL_HEAP_HUGE;
  size_t mapped = (size_t)(end - (uintptr_t)p);
  if (il_pages_remap(p, from, mapped) == NULL) return false;
  give_back(p + to, mapped - to);
  return true;
}

/* Between two big blocks: in place where the pages behind are free, else by copying. */
static void *big_resize(char *p, size_t osize, size_t nsize) {
  size_t from = extent(osize), to;
  char *q;
  if (nsize > SIZE_MAX - 2 * IL_HEAP_HUGE) return NULL;
  to = extent(nsize);
  if (to <= from) {
    give_back(p + to, from - to);
    return p;
  }
  if (reuse_at(p + from, to - from) || map_behind(p, from, to)) return p;
  q = big_new(nsize);
  if (q == NULL) return NULL;
  memcpy(q, p, osize);
  big_free(p, osize);
  return q;
}

void *il_heap_resize(void *p, size_t osize, size_t nsize) {
  bool from_big = p != NULL && osize >= IL_HEAP_BIG;
  bool to_big = nsize >= IL_HEAP_BIG;
  void *q;
  if (!from_big && !to_big) {
    if (nsize != 0) return realloc(p, nsize);
    free(p);
    return NULL;
  }
  if (nsize == 0) {
    big_free(p, osize);
    return NULL;
  }
  if (from_big && to_big) return big_resize(p, osize, nsize);
  q = to_big ? big_new(nsize) : malloc(nsize);
  if (q == NULL || p == NULL) return q;
  memcpy(q, p, osize < nsize ? osize : nsize);
  if (from_big)
    big_free(p, osize);
  else
    free(p);
  return q;
}

void il_heap_trim(void) {
  pthread_mutex_lock(&kept.lock);
  for (int i = 0; i < kept.count; i++) il_pages_unmap(kept.blocks[i].p, kept.blocks[i].size);
  kept.count = 0;
  kept.bytes = 0;
  pthread_mutex_unlock(&kept.lock);
}
