/* heap.c - large blocks on kept pages. */
/* SPDX-License-Identifier: MIT */
#include "heap.h"

#include <stdlib.h>
#include <string.h>

#include "plat.h"

/*
** DESIGN. A big block is a whole number of huge pages, so its extent follows from the size that its
** owner knows; nothing is stored with it. A kept block that is larger than what is asked for is cut,
** its rest stays kept. The list is short (KEPT_MAX): a linear search under the lock.
*/
#define KEPT_MAX 64

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
  return (size + IL_HEAP_BIG - 1) / IL_HEAP_BIG * IL_HEAP_BIG;
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

/* The smallest kept block that is large enough, cut to size; NULL when there is none. */
static char *reuse(size_t size) {
  int best = -1;
  char *p = NULL;
  pthread_mutex_lock(&kept.lock);
  for (int i = 0; i < kept.count; i++) {
    if (kept.blocks[i].size >= size && (best < 0 || kept.blocks[i].size < kept.blocks[best].size))
      best = i;
  }
  if (best >= 0) {
    p = kept.blocks[best].p;
    kept.bytes -= size;
    kept.blocks[best].p += size;
    kept.blocks[best].size -= size;
    if (kept.blocks[best].size == 0) kept.blocks[best] = kept.blocks[--kept.count];
  }
  pthread_mutex_unlock(&kept.lock);
  return p;
}

static void big_free(char *p, size_t size) {
  if (!keep(p, extent(size))) il_pages_unmap(p, extent(size));
}

static void *big_new(size_t size) {
  char *p;
  if (size > SIZE_MAX - 2 * IL_HEAP_BIG) return NULL;
  p = reuse(extent(size));
  return p != NULL ? p : il_pages_map(extent(size));
}

/* Between two big blocks: in place where the pages behind are free, else by copying. */
static void *big_resize(char *p, size_t osize, size_t nsize) {
  size_t from = extent(osize), to;
  char *q;
  if (nsize > SIZE_MAX - 2 * IL_HEAP_BIG) return NULL;
  to = extent(nsize);
  if (to == from) return p;
  if (to < from) {
    if (!keep(p + to, from - to)) il_pages_unmap(p + to, from - to);
    return p;
  }
  if (il_pages_remap(p, from, to) != NULL) return p;
  q = reuse(to); /* warm: cheaper to fill than fresh pages are to get */
  if (q == NULL) q = il_pages_map(to);
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
