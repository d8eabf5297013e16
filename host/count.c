/* count.c - counters in lines of their own. */
/* SPDX-License-Identifier: MIT */
#include "count.h"

#include "plat.h"

enum { LINES = 64 };

static struct line {
  _Alignas(IL_LINE)
    atomic_long n[IL_COUNTED]; /* relaxed; may be below 0: another line has the rest */
} lines[LINES];

static atomic_uint threads;
static __attribute__((tls_model("initial-exec"))) _Thread_local struct line *own;

static inline struct line *line(void) {
  if (own == NULL)
    own = &lines[atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % LINES];
  return own;
}

void il_count_add(enum il_countable what, long n) {
  atomic_fetch_add_explicit(&line()->n[what], n, memory_order_relaxed);
}

void il_count_message(long n, long bytes) {
  struct line *l = line();
  atomic_fetch_add_explicit(&l->n[IL_MESSAGES], n, memory_order_relaxed);
  atomic_fetch_add_explicit(&l->n[IL_BYTES], bytes, memory_order_relaxed);
}

size_t il_counted(enum il_countable what) {
  long sum = 0;
  for (int i = 0; i < LINES; i++)
    sum += atomic_load_explicit(&lines[i].n[what], memory_order_relaxed);
  return sum > 0 ? (size_t)sum : 0;
}
