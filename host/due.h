/* due.h - a heap of moments, earliest first; the caller locks. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_DUE_H
#define IL_DUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in what is due. Zeroed before its first use. */
typedef struct il_due {
  int64_t when;
  uint64_t order; /* of two with one `when` the one that was set first comes first */
  size_t place;   /* 1-based, in the heap; 0: in none */
} il_due;

typedef struct il_dues {
  il_due **heap;
  size_t count, room;
  uint64_t orders;
} il_dues;

/* Room for `n` in all, so that setting cannot fail. False: no memory. */
bool il_dues_reserve(il_dues *d, size_t n);
void il_dues_free(il_dues *d);
/* Sets it, or moves it. There is room. */
void il_due_set(il_dues *d, il_due *due, int64_t when);
void il_due_clear(il_dues *d, il_due *due); /* one that is not set: nothing */

/* How many are due at `now`. Looks at no more than twice as many. */
size_t il_dues_count(const il_dues *d, int64_t now);

/* NULL: none. */
static inline il_due *il_dues_first(const il_dues *d) {
  return d->count > 0 ? d->heap[0] : NULL;
}

#endif
