/* wait.c - sleeping and waking of isolates. */
/* SPDX-License-Identifier: MIT */
#include "wait.h"

#ifndef IL_SPIN_MAX
#define IL_SPIN_MAX 2000 /* rounds of some 20 ns: less than waking a sleeping processor costs */
#endif
#define SPIN_MIN 50

enum { IDLE, SIGNALLED, SLEEPING };

static atomic_int processors; /* 0 until the first waiter is made */

void il_waiter_init(il_waiter *w) {
  atomic_init(&w->word, IDLE);
  atomic_init(&w->fired, NULL);
  w->spin = IL_SPIN_MAX;
  if (atomic_load_explicit(&processors, memory_order_relaxed) == 0)
    atomic_store_explicit(&processors, il_cpu_count(), memory_order_relaxed);
}

void il_waiter_wake(il_waiter *w) {
  if (atomic_exchange_explicit(&w->word, SIGNALLED, memory_order_acq_rel) == SLEEPING)
    il_word_wake(&w->word);
}

static bool signalled(il_waiter *w) {
  return atomic_load_explicit(&w->word, memory_order_acquire) == SIGNALLED;
}

/* Spins as long as spinning has been paying off: a hit lengthens the next spin, a miss halves it. */
static bool spin(il_waiter *w) {
  int rounds = w->spin;
  if (atomic_load_explicit(&processors, memory_order_relaxed) < 2) return signalled(w);
  for (int i = 0; i < rounds; i++) {
    if (signalled(w)) {
      w->spin = rounds * 2 < IL_SPIN_MAX ? rounds * 2 : IL_SPIN_MAX;
      return true;
    }
    il_spin_pause();
  }
  w->spin = rounds / 2 > SPIN_MIN ? rounds / 2 : SPIN_MIN;
  return signalled(w);
}

bool il_waiter_sleep(il_waiter *w, int64_t deadline) {
  uint32_t idle = IDLE;
  bool woken = true;
  if (signalled(w) || (deadline != 0 && spin(w))) goto done;
  if (!atomic_compare_exchange_strong_explicit(&w->word, &idle, SLEEPING, memory_order_acq_rel,
                                               memory_order_acquire))
    goto done;
  while (!signalled(w)) {
    if (deadline >= 0 && il_now() >= deadline) {
      uint32_t sleeping = SLEEPING;
      woken = !atomic_compare_exchange_strong_explicit(&w->word, &sleeping, IDLE,
                                                       memory_order_acq_rel, memory_order_acquire);
      break;
    }
    il_word_sleep(&w->word, SLEEPING, deadline);
  }
done:
  /* An exchange, not a store: it reads from the last wake-up, so what came with it is seen. */
  if (woken) atomic_exchange_explicit(&w->word, IDLE, memory_order_acq_rel);
  return woken;
}

void il_watch_init(il_watch *watch, il_waiter *w) {
  watch->waiter = w;
  watch->prev = watch->next = NULL;
  watch->listed = false;
  atomic_init(&watch->fired, false);
  watch->next_fired = NULL;
}

void il_watches_add(il_watches *list, il_watch *watch) {
  watch->next = NULL;
  watch->prev = list->last;
  if (list->last != NULL)
    list->last->next = watch;
  else
    list->first = watch;
  list->last = watch;
  watch->listed = true;
}

void il_watches_remove(il_watches *list, il_watch *watch) {
  if (!watch->listed) return;
  if (watch->prev != NULL)
    watch->prev->next = watch->next;
  else
    list->first = watch->next;
  if (watch->next != NULL)
    watch->next->prev = watch->prev;
  else
    list->last = watch->prev;
  watch->listed = false;
}

static void push(il_waiter *w, il_watch *watch) {
  il_watch *top = atomic_load_explicit(&w->fired, memory_order_relaxed);
  do {
    watch->next_fired = top;
  } while (!atomic_compare_exchange_weak_explicit(&w->fired, &top, watch, memory_order_release,
                                                  memory_order_relaxed));
}

void il_watch_fire(il_watch *watch) {
  if (!atomic_exchange_explicit(&watch->fired, true, memory_order_acq_rel))
    push(watch->waiter, watch);
  il_waiter_wake(watch->waiter);
}

void il_watches_fire(il_watches *list) {
  for (il_watch *watch = list->first; watch != NULL; watch = watch->next) il_watch_fire(watch);
}

il_watch *il_waiter_take(il_waiter *w) {
  il_watch *top = atomic_exchange_explicit(&w->fired, NULL, memory_order_acquire);
  il_watch *first = NULL;
  while (top != NULL) { /* newest first: turn it round */
    il_watch *next = top->next_fired;
    top->next_fired = first;
    first = top;
    top = next;
  }
  return first;
}
