/* wait.c - sleeping and waking of isolates. */
/* SPDX-License-Identifier: MIT */
#include "wait.h"

/*
** Waking a thread that sleeps on another processor takes 65 to 90 us, one that still spins 0.25. So a
** wait spins first, for as long as a wake-up costs; but only if the last waits were that short, and
** while no more threads want to run than there are processors.
*/
#ifndef IL_SPIN_LONG
#define IL_SPIN_LONG 100000 /* ns */
#endif
#define SPIN_SHORT 1000
#define SHORT_WAIT (2 * IL_SPIN_LONG) /* ns; a wake-up is in it */
#define LOOK 1000                     /* ns between two looks at something that grows */
#define ROUNDS 32                     /* between two looks at the clock */

static atomic_int processors; /* 0 until the first waiter is made */
static atomic_int awake;      /* threads that run or spin; relaxed: a hint */

void il_awake_add(int n) {
  atomic_fetch_add_explicit(&awake, n, memory_order_relaxed);
}

void il_waiter_init(il_waiter *w) {
  atomic_init(&w->word, IL_BUSY);
  atomic_init(&w->fired, NULL);
  atomic_init(&w->fd, -1);
  w->event = -1;
  w->wake = NULL;
  w->ud = NULL;
  w->spin = IL_SPIN_LONG;
  if (atomic_load_explicit(&processors, memory_order_relaxed) == 0)
    atomic_store_explicit(&processors, il_cpu_count(), memory_order_relaxed);
}

/* Once the word is exchanged the owner may go on and end, and the waiter with it: all else is read
** before. So the event may be opened in between; whoever opens it looks at all there is after that,
** which is seen since both are in the one order of seq_cst. */
static il_sleeper *signal_owner(il_waiter *w, bool *waited) {
  int fd = atomic_load(&w->fd);
  void (*wake)(void *) = w->wake;
  void *ud = w->ud;
  uint32_t before = atomic_exchange(&w->word, IL_SIGNALLED);
  if (fd >= 0 && before != IL_SIGNALLED) il_event_set(fd); /* else whoever came first sets it */
  if (wake != NULL && before != IL_SIGNALLED) wake(ud);
  *waited = before == IL_SLEEPING || before == IL_SPINNING;
  return before == IL_SLEEPING ? &w->word : NULL;
}

void il_waiter_wake(il_waiter *w) {
  bool waited;
  il_sleeper_wake(signal_owner(w, &waited));
}

void il_sleeper_wake(il_sleeper *s) {
  if (s != NULL) il_word_wake(s);
}

int il_waiter_event(il_waiter *w) {
  int fd = atomic_load_explicit(&w->fd, memory_order_relaxed);
  if (fd >= 0) return fd;
  if (w->event < 0) w->event = il_event_open();
  if (w->event >= 0) il_event_set(w->event); /* what came before it is there to be looked at */
  atomic_store(&w->fd, w->event);
  return w->event;
}

void il_waiter_no_event(il_waiter *w) {
  atomic_store(&w->fd, -1);
}

void il_waiter_fini(il_waiter *w) {
  if (w->event >= 0) il_event_close(w->event);
}

void il_waiter_clear(il_waiter *w) {
  int fd = atomic_load_explicit(&w->fd, memory_order_relaxed);
  if (fd >= 0) il_event_clear(fd);
  atomic_exchange_explicit(&w->word, IL_BUSY, memory_order_acq_rel);
}

bool il_waiter_asleep(const il_waiter *w) {
  return atomic_load_explicit(&w->word, memory_order_relaxed) == IL_SLEEPING;
}

/* As if woken already. Whoever wakes it before the release is seen after it: both exchange the word. */
void il_waiter_hold(il_waiter *w) {
  atomic_exchange_explicit(&w->word, IL_SIGNALLED, memory_order_acq_rel);
}

void il_waiter_release(il_waiter *w) {
  atomic_exchange_explicit(&w->word, IL_BUSY, memory_order_acq_rel);
}

static bool signalled(const il_waiter *w) {
  return atomic_load_explicit(&w->word, memory_order_acquire) == IL_SIGNALLED;
}

static bool crowded(void) {
  int n = atomic_load_explicit(&processors, memory_order_relaxed);
  return n < 2 || atomic_load_explicit(&awake, memory_order_relaxed) > n;
}

bool il_awake_enough(void) {
  return atomic_load_explicit(&awake, memory_order_relaxed) >=
         atomic_load_explicit(&processors, memory_order_relaxed);
}

static bool spin(il_waiter *w, int64_t start) {
  while (!crowded() && il_now() - start < w->spin) {
    for (int i = 0; i < ROUNDS; i++) {
      if (signalled(w)) return true;
      il_spin_pause();
    }
    il_yield(); /* whoever is to wake us may wait for this very processor */
  }
  return signalled(w);
}

static bool spins(const il_waiter *w) {
  return w->spin > SPIN_SHORT && !crowded();
}

void il_waiter_linger(const il_waiter *w, const atomic_bool *flag, int64_t ns) {
  int64_t end = il_now() + ns;
  if (crowded()) il_yield();
  if (!spins(w)) return;
  do {
    for (int i = 0; i < ROUNDS; i++) {
      if (atomic_load_explicit(flag, memory_order_relaxed)) return;
      il_spin_pause();
    }
    il_yield(); /* as above */
  } while (!signalled(w) && il_now() < end);
}

bool il_waiter_gather(const il_waiter *w, const atomic_size_t *n, size_t enough) {
  size_t first = atomic_load_explicit(n, memory_order_relaxed), before, now = first;
  do {
    int64_t look = il_now() + LOOK;
    if (crowded()) il_yield();
    while (!crowded() && il_now() < look) il_spin_pause();
    before = now;
    now = atomic_load_explicit(n, memory_order_relaxed);
  } while (now > before && now < enough && !signalled(w));
  return now > first;
}

/* False: the deadline came. */
static bool park(il_waiter *w, int64_t deadline) {
  uint32_t spinning = IL_SPINNING, sleeping = IL_SLEEPING;
  if (!atomic_compare_exchange_strong_explicit(&w->word, &spinning, IL_SLEEPING,
                                               memory_order_acq_rel, memory_order_acquire))
    return true;
  while (!signalled(w)) {
    if (deadline >= 0 && il_now() >= deadline)
      return !atomic_compare_exchange_strong_explicit(&w->word, &sleeping, IL_BUSY,
                                                      memory_order_acq_rel, memory_order_acquire);
    il_word_sleep(&w->word, IL_SLEEPING, deadline);
  }
  return true;
}

bool il_waiter_sleep(il_waiter *w, int64_t deadline) {
  uint32_t idle = IL_BUSY;
  bool woken = signalled(w);
  if (!woken && deadline != 0 &&
      !atomic_compare_exchange_strong_explicit(&w->word, &idle, IL_SPINNING, memory_order_acq_rel,
                                               memory_order_acquire))
    woken = true;
  if (!woken && deadline != 0) {
    int64_t start = il_now();
    woken = spin(w, start);
    if (!woken) {
      il_awake_add(-1);
      woken = park(w, deadline);
      il_awake_add(1);
    }
    if (il_now() - start < SHORT_WAIT)
      w->spin = IL_SPIN_LONG;
    else
      w->spin = w->spin / 2 > SPIN_SHORT ? w->spin / 2 : SPIN_SHORT;
  }
  /* An exchange, not a store: it reads from the last wake-up, so what came with it is seen. The event
  ** stays set until il_waiter_clear. */
  if (woken) atomic_exchange_explicit(&w->word, IL_BUSY, memory_order_acq_rel);
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
  if (watch->listed) return;
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
  } while (!atomic_compare_exchange_weak_explicit(&w->fired, &top, watch, memory_order_seq_cst,
                                                  memory_order_relaxed));
}

il_sleeper *il_watch_signal(il_watch *watch, bool *waited) {
  if (!atomic_exchange_explicit(&watch->fired, true, memory_order_acq_rel))
    push(watch->waiter, watch);
  return signal_owner(watch->waiter, waited);
}

void il_watch_fire(il_watch *watch) {
  bool waited;
  il_sleeper_wake(il_watch_signal(watch, &waited));
}

void il_watches_fire(il_watches *list) {
  for (il_watch *watch = list->first; watch != NULL; watch = watch->next) il_watch_fire(watch);
}

il_watch *il_waiter_take(il_waiter *w) {
  il_watch *top = atomic_exchange(&w->fired, NULL);
  il_watch *first = NULL;
  while (top != NULL) { /* newest first: turn it round */
    il_watch *next = top->next_fired;
    top->next_fired = first;
    first = top;
    top = next;
  }
  return first;
}
