/* arena.h - small blocks of one Lua heap, all freed at once at its end. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_ARENA_H
#define IL_ARENA_H

#include <stddef.h>

/*
** Lua says the size of a block when it frees it, so blocks need no headers: those of up to
** IL_ARENA_SMALL bytes are cut from chunks, and freed ones are kept in a list for their size. The first
** chunk, which most states never outgrow, also holds those of up to IL_ARENA_MEDIUM bytes. Larger ones
** go to il_heap_resize. Chunks stay with their arena until il_arena_fini.
** Thread: one at a time. In builds with AddressSanitizer every block is one of malloc, to be watched.
*/
#define IL_ARENA_SMALL 512
#define IL_ARENA_MEDIUM 2048
#define IL_ARENA_STEP 16 /* sizes are rounded up to a multiple; also the alignment */

#if defined(__SANITIZE_ADDRESS__)
#define IL_ARENA_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IL_ARENA_WATCHED 1
#endif
#endif
#ifndef IL_ARENA_WATCHED
#define IL_ARENA_WATCHED 0
#endif

typedef struct il_arena_part il_arena_part;

typedef struct il_arena {
  void *free[IL_ARENA_SMALL / IL_ARENA_STEP + 1]; /* by size in steps */
  char *at, *end;                                 /* what small blocks are cut from */
  il_arena_part *pieces;                          /* freed medium blocks */
  il_arena_part *chunks;
  char *first;  /* the first of them; NULL: there is none yet */
  size_t total; /* bytes of all of them */
} il_arena;

void il_arena_init(il_arena *a);
void il_arena_fini(il_arena *a); /* blocks of more than IL_ARENA_SMALL must be freed before */
/* As il_heap_resize. */
void *il_arena_resize_slow(il_arena *a, void *p, size_t osize, size_t nsize);

/* The same; what happens most, a small block taken from its list or from the chunk, or put back,
** without a call. */
static inline void *il_arena_resize(il_arena *a, void *p, size_t osize, size_t nsize) {
  if (!IL_ARENA_WATCHED && p == NULL && nsize - 1 < IL_ARENA_SMALL) {
    size_t n = (nsize + IL_ARENA_STEP - 1) / IL_ARENA_STEP;
    p = a->free[n];
    if (p != NULL) {
      a->free[n] = *(void **)p;
      return p;
    }
    if ((size_t)(a->end - a->at) >= n * IL_ARENA_STEP) {
      p = a->at;
      a->at += n * IL_ARENA_STEP;
      return p;
    }
  } else if (!IL_ARENA_WATCHED && p != NULL && nsize == 0 && osize <= IL_ARENA_SMALL) {
    void **free = &a->free[(osize + IL_ARENA_STEP - 1) / IL_ARENA_STEP];
    *(void **)p = *free;
    *free = p;
    return NULL;
  }
  return il_arena_resize_slow(a, p, osize, nsize);
}

#endif
