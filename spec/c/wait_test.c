/* wait_test.c - waiters and watches: no wake-up is lost, none comes twice. */
/* SPDX-License-Identifier: MIT */
#include "wait.h"

#include <sched.h>
#include <stdlib.h>

#include "check.h"

#define MILLISECOND ((int64_t)1000000)
#define SOON il_deadline((int64_t)20000000000) /* what should come at once has come by then */

/* Threads that own waiters say when they begin and end. */
typedef struct owners {
  void (*run)(int index, void *arg);
  void *arg;
} owners;

static void own(int index, void *arg) {
  owners *o = arg;
  il_awake_add(1);
  o->run(index, o->arg);
  il_awake_add(-1);
}

static void parallel(int n, void (*run)(int index, void *arg), void *arg) {
  owners o = {run, arg};
  check_parallel(n, own, &o);
}

/* -- Two threads take turns -------------------------------------------------------------------- */

typedef struct turns {
  il_waiter waiters[2];
  int rounds;
  bool spinning; /* else each wait goes to sleep, unless it is woken before */
  atomic_int turn;
} turns;

static void play(int index, void *arg) {
  turns *t = arg;
  il_waiter *mine = &t->waiters[index], *other = &t->waiters[1 - index];
  for (int round = index; round < t->rounds; round += 2) {
    if (!t->spinning) mine->spin = 0;
    if (round > 0 && !CHECK(il_waiter_sleep(mine, SOON))) return;
    if (!CHECK_INT(atomic_load_explicit(&t->turn, memory_order_relaxed), round)) return;
    atomic_store_explicit(&t->turn, round + 1, memory_order_relaxed);
    il_waiter_wake(other);
  }
}

static void take_turns(bool spinning, int rounds) {
  turns t = {.rounds = rounds, .spinning = spinning};
  il_waiter_init(&t.waiters[0]);
  il_waiter_init(&t.waiters[1]);
  parallel(2, play, &t);
  CHECK_INT(atomic_load(&t.turn), rounds);
}

static void ping_pong(void) {
  take_turns(true, check_scale(200000, 10000));
}

static void ping_pong_asleep(void) {
  take_turns(false, check_scale(100000, 10000));
}

/* -- Many wake one ----------------------------------------------------------------------------- */

enum { WAKERS = 4 };

typedef struct crowd {
  il_waiter waiter;
  int each;
  atomic_int done;
} crowd;

static void wake_or_sleep(int index, void *arg) {
  crowd *c = arg;
  if (index > 0) {
    for (int i = 0; i < c->each; i++) {
      atomic_fetch_add_explicit(&c->done, 1, memory_order_relaxed);
      il_waiter_wake(&c->waiter);
    }
    return;
  }
  while (atomic_load_explicit(&c->done, memory_order_relaxed) < WAKERS * c->each) {
    if (!CHECK(il_waiter_sleep(&c->waiter, SOON))) return;
  }
}

static void many_wakers(void) {
  for (int i = 0; i < check_scale(200, 20); i++) {
    crowd c = {.each = i};
    il_waiter_init(&c.waiter);
    parallel(WAKERS + 1, wake_or_sleep, &c);
  }
}

/* -- A wake-up meets a deadline ---------------------------------------------------------------- */

typedef struct meeting {
  il_waiter sleeper, waker;
  int rounds;
} meeting;

static void meet(int index, void *arg) {
  meeting *m = arg;
  uint32_t random = 1;
  for (int round = 0; round < m->rounds; round++) {
    if (index == 0) {
      if (!CHECK(il_waiter_sleep(&m->waker, SOON))) return;
      il_waiter_wake(&m->sleeper);
      continue;
    }
    m->sleeper.spin = 0;
    il_waiter_wake(&m->waker);
    if (!il_waiter_sleep(&m->sleeper, il_now() + check_random(&random) % 100000) &&
        !CHECK(il_waiter_sleep(&m->sleeper, SOON)))
      return;
    if (!CHECK(!il_waiter_sleep(&m->sleeper, 0))) return;
  }
}

static void wake_meets_deadline(void) {
  meeting m = {.rounds = check_scale(20000, 2000)};
  il_waiter_init(&m.sleeper);
  il_waiter_init(&m.waker);
  parallel(2, meet, &m);
}

static void polls(void) {
  il_waiter w;
  il_waiter_init(&w);
  CHECK(!il_waiter_sleep(&w, 0));
  il_waiter_wake(&w);
  il_waiter_wake(&w);
  CHECK(il_waiter_sleep(&w, 0));
  CHECK(!il_waiter_sleep(&w, 0));
}

static void keeps_deadline(void) {
  int64_t end = il_now() + 20 * MILLISECOND;
  il_waiter w;
  il_waiter_init(&w);
  CHECK(!il_waiter_sleep(&w, end));
  CHECK(il_now() >= end);
  CHECK(!il_waiter_sleep(&w, end - MILLISECOND));
  il_waiter_wake(&w);
  CHECK(il_waiter_sleep(&w, -1));
}

/* -- A sleeper is woken elsewhere -------------------------------------------------------------- */

typedef struct sleeper {
  il_waiter waiter;
  il_thread thread;
  _Atomic(bool) started, pulled;
  il_cpus may; /* written before the wake-up */
  cpu_set_t before, bound, after;
} sleeper;

static void where(il_thread t, cpu_set_t *set) {
  CHECK_INT(pthread_getaffinity_np(t, sizeof *set, set), 0);
}

static bool sleeps(void *arg) {
  sleeper *s = arg;
  return atomic_load(&s->started) && il_waiter_asleep(&s->waiter);
}

static void pull_or_sleep(int index, void *arg) {
  sleeper *s = arg;
  if (index == 0) {
    s->thread = il_thread_self();
    where(s->thread, &s->before);
    s->waiter.spin = 0;
    atomic_store(&s->started, true);
    CHECK(il_waiter_sleep(&s->waiter, SOON));
    if (atomic_load(&s->pulled)) il_thread_let_go(&s->may);
    where(s->thread, &s->after);
  } else if (CHECK(check_eventually(sleeps, s))) {
    bool pulled = il_thread_pull(s->thread, &s->may);
    where(s->thread, &s->bound);
    atomic_store(&s->pulled, pulled);
    il_waiter_wake(&s->waiter);
  }
}

static void pulled_then_let_go(void) {
  sleeper s = {.pulled = false};
  il_waiter_init(&s.waiter);
  parallel(2, pull_or_sleep, &s);
  CHECK(CPU_EQUAL(&s.before, &s.after));
  CHECK(atomic_load(&s.pulled) ? CPU_COUNT(&s.bound) == 1 : CPU_EQUAL(&s.before, &s.bound));
  CHECK(atomic_load(&s.pulled) == (il_cpu_count() > 1));
}

/* -- Watches ----------------------------------------------------------------------------------- */

enum { WATCHES = 5 };

typedef struct source {
  il_waiter waiter;
  il_watches list;
  il_watch watches[WATCHES];
} source;

static void source_init(source *s) {
  il_waiter_init(&s->waiter);
  s->list.first = s->list.last = NULL;
  for (int i = 0; i < WATCHES; i++) {
    il_watch_init(&s->watches[i], &s->waiter);
    il_watches_add(&s->list, &s->watches[i]);
  }
}

/* Takes what has fired and checks that these are the watches with the numbers in `expected`. */
static void check_fired(source *s, const char *expected) {
  il_watch *fired = il_waiter_take(&s->waiter);
  char numbers[WATCHES + 2];
  size_t n = 0;
  for (; fired != NULL && n <= WATCHES; fired = fired->next_fired) {
    numbers[n++] = (char)('0' + (fired - s->watches));
    atomic_store(&fired->fired, false);
  }
  numbers[n] = '\0';
  CHECK_TEXT(numbers, expected);
}

static void fires_in_order(void) {
  source s;
  source_init(&s);
  CHECK(il_waiter_take(&s.waiter) == NULL);
  il_watches_fire(&s.list);
  CHECK(il_waiter_sleep(&s.waiter, 0));
  check_fired(&s, "01234");
  il_watch_fire(&s.watches[3]);
  il_watch_fire(&s.watches[1]);
  il_watch_fire(&s.watches[2]);
  check_fired(&s, "312");
  CHECK(il_waiter_take(&s.waiter) == NULL);
}

static void fires_once(void) {
  source s;
  source_init(&s);
  il_watch_fire(&s.watches[2]);
  il_watches_fire(&s.list);
  il_watch_fire(&s.watches[2]);
  check_fired(&s, "20134");
  il_watch_fire(&s.watches[2]);
  check_fired(&s, "2");
}

static void removed_do_not_fire(void) {
  source s;
  source_init(&s);
  il_watches_remove(&s.list, &s.watches[2]);
  il_watches_remove(&s.list, &s.watches[2]);
  il_watches_fire(&s.list);
  check_fired(&s, "0134");
  il_watches_remove(&s.list, &s.watches[0]);
  il_watches_remove(&s.list, &s.watches[4]);
  il_watches_fire(&s.list);
  check_fired(&s, "13");
  il_watches_add(&s.list, &s.watches[0]);
  il_watches_fire(&s.list);
  check_fired(&s, "130");
  for (int i = 0; i < WATCHES; i++) il_watches_remove(&s.list, &s.watches[i]);
  CHECK(s.list.first == NULL && s.list.last == NULL);
  il_watches_fire(&s.list);
  check_fired(&s, "");
  il_watches_add(&s.list, &s.watches[4]);
  il_watches_fire(&s.list);
  check_fired(&s, "4");
}

/* -- Firing against removal -------------------------------------------------------------------- */

typedef struct contest {
  il_mutex lock; /* guards `list`: it is the source's */
  il_watches list;
  int rounds;
  atomic_bool over;
} contest;

static void fire_all(contest *c) {
  while (!atomic_load(&c->over)) {
    il_mutex_lock(&c->lock);
    il_watches_fire(&c->list);
    il_mutex_unlock(&c->lock);
  }
}

/* As event loops do it: take the watch off its source, then off the waiter; then it may go. */
static bool watch_once(contest *c, il_waiter *w, bool wait) {
  il_watch *watch = malloc(sizeof *watch), *fired = NULL;
  bool good = CHECK(watch != NULL);
  if (!good) return false;
  il_watch_init(watch, w);
  il_mutex_lock(&c->lock);
  il_watches_add(&c->list, watch);
  il_mutex_unlock(&c->lock);
  while (good && wait && fired == NULL) {
    good = CHECK(il_waiter_sleep(w, SOON));
    fired = il_waiter_take(w);
  }
  il_mutex_lock(&c->lock);
  il_watches_remove(&c->list, watch);
  il_mutex_unlock(&c->lock);
  if (fired == NULL) fired = il_waiter_take(w);
  good = good && CHECK(fired == NULL || (fired == watch && fired->next_fired == NULL));
  good = good && CHECK(il_waiter_take(w) == NULL); /* it was not cleared, so not fired again */
  free(watch);
  return good;
}

static void fire_or_watch(int index, void *arg) {
  contest *c = arg;
  il_waiter w;
  if (index < 2) {
    fire_all(c);
    return;
  }
  il_waiter_init(&w);
  for (int i = 0; i < c->rounds; i++)
    if (!watch_once(c, &w, i % 2 == 0)) break;
  atomic_store(&c->over, true);
}

static void removal_while_firing(void) {
  contest c = {.rounds = check_scale(20000, 500)};
  if (!CHECK(il_mutex_init(&c.lock) == 0)) return;
  parallel(3, fire_or_watch, &c);
  CHECK(c.list.first == NULL);
  il_mutex_fini(&c.lock);
}

/* -- Many fire on one waiter ------------------------------------------------------------------- */

enum { EACH = 1000 };

typedef struct volley {
  il_waiter waiter;
  il_watch watches[WAKERS][EACH];
} volley;

static void fire_or_take(int index, void *arg) {
  volley *v = arg;
  int next[WAKERS] = {0};
  if (index > 0) {
    for (int i = 0; i < EACH; i++) il_watch_fire(&v->watches[index - 1][i]);
    return;
  }
  for (int taken = 0; taken < WAKERS * EACH;) {
    if (!CHECK(il_waiter_sleep(&v->waiter, SOON))) return;
    for (il_watch *w = il_waiter_take(&v->waiter); w != NULL; w = w->next_fired) {
      int from = (int)((w - v->watches[0]) / EACH);
      if (!CHECK(w == &v->watches[from][next[from]])) return; /* of one thread: in its order */
      next[from]++;
      taken++;
    }
  }
}

static void many_fire(void) {
  volley *v = calloc(1, sizeof *v);
  if (!CHECK(v != NULL)) return;
  for (int round = 0; round < check_scale(20, 3); round++) {
    il_waiter_init(&v->waiter);
    for (int i = 0; i < WAKERS * EACH; i++)
      il_watch_init(&v->watches[i / EACH][i % EACH], &v->waiter);
    parallel(WAKERS + 1, fire_or_take, v);
    CHECK(il_waiter_take(&v->waiter) == NULL);
  }
  free(v);
}

static const check_case cases[] = {
  {"a waiter is woken once for each turn of two threads", ping_pong},
  {"a waiter that does not spin is woken once for each turn", ping_pong_asleep},
  {"a waiter loses no wake-up of several threads", many_wakers},
  {"a wake-up that meets a deadline is neither lost nor doubled", wake_meets_deadline},
  {"a sleep with deadline 0 tells whether there was a wake-up", polls},
  {"a sleep ends at its deadline, not before", keeps_deadline},
  {"a sleeper that is woken where its waker runs may run where it might before",
   pulled_then_let_go},
  {"watches are taken in the order in which they fired", fires_in_order},
  {"a watch is taken once until it is cleared", fires_once},
  {"a watch that was removed does not fire", removed_do_not_fire},
  {"a watch may go once it was removed while it fired", removal_while_firing},
  {"watches fired by several threads are each taken once", many_fire},
};

CHECK_MAIN(cases)
