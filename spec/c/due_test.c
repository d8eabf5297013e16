/* due_test.c - a heap of moments gives the earliest first, and of equal ones the one set first. */
/* SPDX-License-Identifier: MIT */
#include "due.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { N = 2000 };

static il_due all[N];

static bool open_heap(il_dues *d, size_t n) {
  memset(all, 0, sizeof all);
  memset(d, 0, sizeof *d);
  return CHECK(il_dues_reserve(d, n));
}

/* Every one knows its place, and none comes before its parent. */
static bool is_heap(const il_dues *d) {
  for (size_t i = 1; i <= d->count; i++) {
    const il_due *due = d->heap[i - 1], *parent = i > 1 ? d->heap[i / 2 - 1] : due;
    if (!CHECK_INT(due->place, i) || !CHECK(parent->when <= due->when)) return false;
    if (parent->when == due->when && !CHECK(parent->order <= due->order)) return false;
  }
  return true;
}

/* Takes all out: each not before the one that came before it. */
static size_t drain(il_dues *d) {
  size_t n = 0;
  int64_t last = INT64_MIN;
  uint64_t order = 0;
  il_due *first;
  while ((first = il_dues_first(d)) != NULL) {
    if (!CHECK(first->when > last || (first->when == last && first->order > order))) break;
    last = first->when;
    order = first->order;
    il_due_clear(d, first);
    n++;
  }
  return n;
}

static void empty(void) {
  il_dues d;
  il_due due = {0};
  if (!open_heap(&d, 1)) return;
  CHECK(il_dues_first(&d) == NULL);
  il_due_clear(&d, &due);
  il_due_set(&d, &due, 5);
  CHECK(il_dues_first(&d) == &due);
  il_due_clear(&d, &due);
  il_due_clear(&d, &due);
  CHECK_INT(due.place, 0);
  CHECK(il_dues_first(&d) == NULL);
  il_dues_free(&d);
  CHECK(d.heap == NULL && d.room == 0);
}

static void earliest_first(void) {
  il_dues d;
  uint32_t random = 7;
  if (!open_heap(&d, N)) return;
  for (int i = 0; i < N; i++) il_due_set(&d, &all[i], check_random(&random) % 100000);
  CHECK(is_heap(&d));
  CHECK_INT(drain(&d), N);
  il_dues_free(&d);
}

static void equal_ones_in_the_order_of_setting(void) {
  il_dues d;
  if (!open_heap(&d, N)) return;
  for (int i = 0; i < N; i++) il_due_set(&d, &all[i], i % 3);
  for (int k = 0; k < 3; k++) {
    for (int i = k; i < N; i += 3) {
      if (!CHECK(il_dues_first(&d) == &all[i])) break;
      il_due_clear(&d, &all[i]);
    }
  }
  il_dues_free(&d);
}

static void setting_again_moves(void) {
  il_dues d;
  if (!open_heap(&d, 3)) return;
  for (int i = 0; i < 3; i++) il_due_set(&d, &all[i], 10 * i);
  il_due_set(&d, &all[0], 100);
  CHECK_INT(d.count, 3);
  CHECK(il_dues_first(&d) == &all[1]);
  il_due_set(&d, &all[2], 1);
  CHECK(il_dues_first(&d) == &all[2]);
  il_due_set(&d, &all[1], 1); /* as early as the other, but set later */
  CHECK(il_dues_first(&d) == &all[2]);
  il_due_set(&d, &all[2], 1);
  CHECK(il_dues_first(&d) == &all[1]);
  CHECK_INT(drain(&d), 3);
  il_dues_free(&d);
}

static void extremes(void) {
  static const int64_t when[] = {INT64_MAX, 0, INT64_MIN, -1, INT64_MAX, 1, INT64_MAX / 2};
  il_dues d;
  if (!open_heap(&d, 8)) return;
  for (size_t i = 0; i < sizeof when / sizeof when[0]; i++) il_due_set(&d, &all[i], when[i]);
  CHECK(il_dues_first(&d) == &all[2]);
  CHECK(is_heap(&d));
  il_due_clear(&d, &all[2]);
  CHECK_INT(drain(&d), 6);
  il_dues_free(&d);
}

/* Any of them is set, moved or cleared, as timers are that are cancelled. */
static void random_changes(void) {
  il_dues d;
  uint32_t random = 99;
  size_t set = 0;
  if (!open_heap(&d, N)) return;
  for (int i = 0; i < check_scale(200000, 20000); i++) {
    il_due *due = &all[check_random(&random) % N];
    size_t was = due->place != 0;
    if (check_random(&random) % 3 == 0) {
      il_due_clear(&d, due);
      set -= was;
    } else {
      il_due_set(&d, due, check_random(&random) % 500);
      set += !was;
    }
    if (!CHECK_INT(d.count, set)) break;
    if (i % 1000 == 0 && !is_heap(&d)) break;
  }
  CHECK(is_heap(&d));
  CHECK_INT(drain(&d), set);
  il_dues_free(&d);
}

static void room_grows_and_what_is_set_stays(void) {
  il_dues d;
  if (!open_heap(&d, 0)) return;
  for (size_t i = 0; i < N; i++) {
    if (!CHECK(il_dues_reserve(&d, i + 1)) || !CHECK(d.room > i)) break;
    il_due_set(&d, &all[i], (int64_t)(N - i));
    if (!CHECK(il_dues_first(&d) == &all[i])) break;
  }
  CHECK(is_heap(&d));
  CHECK_INT(drain(&d), N);
  il_dues_free(&d);
}

static const check_case cases[] = {
  {"an empty heap has no first, and clearing what is not set does nothing", empty},
  {"the earliest comes first", earliest_first},
  {"of equal moments the one that was set first comes first", equal_ones_in_the_order_of_setting},
  {"setting again moves, behind equal ones", setting_again_moves},
  {"any number is a moment", extremes},
  {"after any changes it is a heap", random_changes},
  {"room grows, and what is set stays", room_grows_and_what_is_set_stays},
};

CHECK_MAIN(cases)
