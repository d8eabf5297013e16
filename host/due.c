/* due.c - a heap of moments. */
/* SPDX-License-Identifier: MIT */
#include "due.h"

#include <assert.h>
#include <stdlib.h>

static bool before(const il_due *a, const il_due *b) {
  return a->when != b->when ? a->when < b->when : a->order < b->order;
}

static void put(il_dues *d, size_t place, il_due *due) {
  d->heap[place - 1] = due;
  due->place = place;
}

static void sift(il_dues *d, il_due *due) {
  size_t i = due->place;
  while (i > 1 && before(due, d->heap[i / 2 - 1])) {
    put(d, i, d->heap[i / 2 - 1]);
    i /= 2;
  }
  for (;;) {
    size_t child = 2 * i;
    if (child < d->count && before(d->heap[child], d->heap[child - 1])) child++;
    if (child > d->count || !before(d->heap[child - 1], due)) break;
    put(d, i, d->heap[child - 1]);
    i = child;
  }
  put(d, i, due);
}

bool il_dues_reserve(il_dues *d, size_t n) {
  size_t room = d->room * 2 > n ? d->room * 2 : n + 16;
  il_due **heap;
  if (n <= d->room) return true;
  heap = realloc(d->heap, room * sizeof *heap);
  if (heap == NULL) return false;
  d->heap = heap;
  d->room = room;
  return true;
}

void il_dues_free(il_dues *d) {
  free(d->heap);
  *d = (il_dues){NULL, 0, 0, 0};
}

void il_due_set(il_dues *d, il_due *due, int64_t when) {
  due->when = when;
  due->order = d->orders++;
  if (due->place == 0) {
    assert(d->count < d->room);
    put(d, ++d->count, due);
  }
  sift(d, due);
}

void il_due_clear(il_dues *d, il_due *due) {
  size_t place = due->place;
  il_due *last;
  if (place == 0) return;
  last = d->heap[--d->count];
  due->place = 0;
  if (last == due) return;
  put(d, place, last);
  sift(d, last);
}

/* Below one that is not due there is none. */
static size_t count_from(const il_dues *d, size_t place, int64_t now) {
  if (place > d->count || d->heap[place - 1]->when > now) return 0;
  return 1 + count_from(d, 2 * place, now) + count_from(d, 2 * place + 1, now);
}

size_t il_dues_count(const il_dues *d, int64_t now) {
  return count_from(d, 1, now);
}
