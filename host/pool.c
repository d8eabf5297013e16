/* pool.c - jobs that wait for one of some isolates, and who runs which. */
/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
** Past 500 lines: jobs, hands and their pool are under one lock, and each function sees to all three.
**
** DESIGN. The queue belongs to nobody's event loop: whoever sends a job, ends one, begins to wait within
** one, or sees a hand end, looks whether a job and a hand can come together (`dispatch`), and gives the hand its
** job at once. A hand that ends a job takes the next one itself.
**  - `size` is how many jobs may run. One that waits, itself or a task of it for a future, does not run, so
**    another one may, on another hand: nobody waits for a job that has no hand.
**  - Where jobs are tiny, to wake a hand that sleeps costs more than the job: it is left to those that run now.
**    Should these be kept by longer ones, the alarm of one that is idle gives it the job (`leave_locked`).
**  - Hands that fail to start are replaced by whoever else looks at the queue; where nobody would, as all others
**    begin too or wait, the next job fails with that error, so that it does not go on for ever.
**  - A future is settled first, and then its job is counted as ended: so who is told that there are none left
**    finds all futures settled.
**  - To end a job that runs is to kill its hand. That the hand is `doomed` is set under the lock, while it has that
**    very job, and it takes no other.
** Memory: users' handles (as one), hands and jobs hold the pool. A hand is held by the pool's list until it has
** ended, and by its isolate until that is freed.
*/

atomic_size_t il_live_pools;

static void lock(il_pool *p) {
  il_lock_take(&p->lock);
}

static void unlock(il_pool *p) {
  il_lock_give(&p->lock);
}

/* -- Spans ------------------------------------------------------------------------------------- */

/* Four to each power of two. */
static size_t span_of(int64_t ns) {
  unsigned e = 2;
  if (ns < 4) ns = 4;
  while (ns >> (e + 1) != 0) e++;
  e = e * 4 + (unsigned)(ns >> (e - 2) & 3);
  return e < IL_SPANS ? e : IL_SPANS - 1;
}

static void span_add(il_spans *s, int64_t ns) {
  s->n++;
  s->counts[span_of(ns)]++;
}

/* In seconds: the middle of the span in which the part `q` of them ends. */
static double quantile(const il_spans *s, double q) {
  double before = 0, want = q * (double)s->n;
  if (s->n == 0) return 0;
  for (size_t i = 8; i < IL_SPANS; i++) { /* span_of gives no less */
    before += s->counts[i];
    if (before >= want) return (double)((uint64_t)(8 + i % 4 * 2 + 1) << (i / 4 - 2)) / 2 * 1e-9;
  }
  return 0;
}

/* -- Lists ------------------------------------------------------------------------------------- */

static void append(il_works *list, il_work *w) {
  w->next = NULL;
  w->prev = list->last;
  if (w->prev != NULL)
    w->prev->next = w;
  else
    list->first = w;
  list->last = w;
}

static void prepend(il_works *list, il_work *w) {
  w->prev = NULL;
  w->next = list->first;
  if (w->next != NULL)
    w->next->prev = w;
  else
    list->last = w;
  list->first = w;
}

static void detach(il_works *list, il_work *w) {
  if (w->prev != NULL)
    w->prev->next = w->next;
  else
    list->first = w->next;
  if (w->next != NULL)
    w->next->prev = w->prev;
  else
    list->last = w->prev;
}

static unsigned place_of(const il_work *w) {
  return (unsigned)(IL_PRIORITY_MAX - w->priority);
}

static void enqueue_locked(il_pool *p, il_work *w, bool first) {
  unsigned i = place_of(w);
  if (p->queue[i].first == NULL) p->some[i / 64] |= 1ULL << i % 64;
  if (first)
    prepend(&p->queue[i], w);
  else
    append(&p->queue[i], w);
  p->queued++;
  w->stage = IL_QUEUED;
  w->in = true;
}

static void dequeue_locked(il_pool *p, il_work *w) {
  unsigned i = place_of(w);
  detach(&p->queue[i], w);
  if (p->queue[i].first == NULL) p->some[i / 64] &= ~(1ULL << i % 64);
  p->queued--;
}

/* The next to be run. There is one. */
static il_work *first_locked(const il_pool *p) {
  unsigned word = 0, bit = 0;
  while (p->some[word] == 0) word++;
  while ((p->some[word] >> bit & 1) == 0) bit++;
  return p->queue[word * 64 + bit].first;
}

/* -- Jobs -------------------------------------------------------------------------------------- */

void il_work_subject(const il_work *w, char *text, size_t size) {
  if (w->name != NULL)
    snprintf(text, size, "job '%.150s'", w->name);
  else if (w->line > 0)
    snprintf(text, size, "job '%s:%d'", w->source, w->line);
  else
    snprintf(text, size, "job '%s'", w->line == 0 ? w->source : "C function");
}

static il_work *work_of(isolua_future *f) {
  return (il_work *)((char *)f - offsetof(il_work, future));
}

static void work_close(il_handle *h) {
  il_work *w = (il_work *)h;
  il_pool *p = w->pool;
  il_msg_free(w->call);
  il_future_release(w->admitted);
  il_future_fini(&w->future);
  free(w->name);
  free(w->chunk);
  free(w);
  il_pool_release(p);
}

static const il_handle_type work_type = {.name = "isolate.job", .close = work_close};

/* Its error that nobody looked at. */
static void lost(isolua_future *f) {
  char subject[192];
  il_work_subject(work_of(f), subject, sizeof subject);
  atomic_store(&f->host->failed, true);
  il_host_uncaught_job(f->host, subject, &f->result);
}

static void cancelled(isolua_future *f);

il_work *il_work_new(il_pool *p) {
  il_work *w = malloc(sizeof *w); /* calloc has no cache: no memset after it, which makes it one */
  if (w == NULL) return NULL;
  *w = (il_work){.pool = p};
  il_future_init(&w->future, p->host, &w->h, lost);
  il_handle_init(&w->h, &work_type);
  w->future.cancelled = cancelled;
  atomic_fetch_add_explicit(&p->holds, 1, memory_order_relaxed);
  return w;
}

void il_work_release(il_work *w) {
  il_handle_release(&w->h);
}

/* -- Counting ---------------------------------------------------------------------------------- */

static size_t jobs_locked(const il_pool *p) {
  return p->queued + p->taken + p->waiting_outside;
}

/* One more job is in. */
static void came_locked(il_pool *p) {
  if (jobs_locked(p) == 1) il_host_busy(p->host, true);
}

/* One is out. True: `empty` is to be settled. */
static bool went_locked(il_pool *p) {
  if (jobs_locked(p) > 0) return false;
  il_host_busy(p->host, false);
  if (!p->closing || p->empty_told) return false;
  p->empty_told = true;
  return true;
}

static bool call_one(il_pool *p);

/* Its last job has ended: those that were idle then may go. */
static void tell_empty(il_pool *p, bool told) {
  il_result r = {ISOLUA_OK, NULL, NULL, NULL};
  if (!told) return;
  while (call_one(p)) continue;
  il_future_settle(p->empty, &r);
}

/* It waits outside no more. */
static void leave_outside_locked(il_pool *p, il_work *w) {
  detach(&p->outside, w);
  p->waiting_outside--;
}

/* It was outside, and is out of it for good. True: as went_locked. */
static bool turn_away_locked(il_pool *p, il_work *w) {
  leave_outside_locked(p, w);
  w->stage = IL_SETTLED;
  return went_locked(p);
}

/* Who waits outside comes in: what it waits for is held, and to be settled. NULL: nobody does, or they are to
** wait until there is room for some, and not to be woken for each. */
static isolua_future *let_in_locked(il_pool *p) {
  il_work *w = p->outside.first;
  if (w == NULL) return NULL;
  if (p->queued <= p->o.queue - (p->o.queue + 7) / 8) p->admits = true;
  if (!p->admits) return NULL;
  p->admits = p->outside.first != p->outside.last;
  leave_outside_locked(p, w);
  enqueue_locked(p, w, false);
  il_future_retain(w->admitted);
  return w->admitted;
}

static void tell_admitted(isolua_future *f, int code) {
  il_result r = {code, NULL, NULL, NULL};
  if (f == NULL) return;
  il_future_settle(f, &r);
  il_future_release(f);
}

/* -- Dispatch ---------------------------------------------------------------------------------- */

static void push_idle_locked(il_pool *p, il_hand *hand) {
  hand->idle = true;
  hand->idle_next = p->first_idle;
  p->first_idle = hand;
  p->idle++;
}

static void drop_idle_locked(il_pool *p, il_hand *hand) {
  il_hand **at = &p->first_idle;
  if (!hand->idle) return;
  hand->idle = false;
  while (*at != hand) at = &(*at)->idle_next;
  *at = hand->idle_next;
  p->idle--;
}

/* The hand gets the next job. There is one; who came in for it is given. */
static isolua_future *give_locked(il_pool *p, il_hand *hand, int64_t now) {
  il_work *w = first_locked(p);
  __builtin_prefetch(w->next, 1); /* while this one runs: else the lock is held meanwhile */
  dequeue_locked(p, w);
  w->stage = IL_TAKEN;
  w->hand = hand;
  hand->work = hand->held = w;
  il_handle_retain(&w->h);
  span_add(&p->waited, now - w->since);
  w->since = now;
  p->taken++;
  p->busy++;
  return let_in_locked(p);
}

/* What was found out under the lock, and is done after it. */
typedef struct step {
  isolua_future *admitted;
  il_isolate *called;
  il_hand *watch; /* with a hold: its alarm is to be set */
  bool begin;     /* another hand */
} step;

/* ns. A wake-up costs 65 to 90 us (wait.c), of which whoever wakes bears 5 to 10. */
enum { TINY = 10000, RECENT = 20000, BACKLOG = 100000, WATCH = 1000000 };

/* Can what is queued be left to the hands that have jobs now? Where all processors are busy the idle one would
** take theirs from whoever sends the jobs, or runs them. */
static bool leave_locked(const il_pool *p, const il_hand *idle, int64_t now) {
  bool in_hand = il_awake_enough()
                   ? now - p->turn < WATCH
                   : now - p->turn < RECENT && (int64_t)p->queued * p->usually < BACKLOG;
  return in_hand && p->busy > 0 && !p->unwatched && p->usually < TINY &&
         il_waiter_asleep(&idle->isolate->waiter);
}

/* A job ran for so many ns. */
static void ran_locked(il_pool *p, int64_t ns, int64_t now) {
  span_add(&p->ran, ns);
  p->usually += (ns - p->usually) / 8;
  p->turn = now;
}

/* It is idle no more, and is to look why: its isolate, with a hold, is to be woken. */
static il_isolate *call_locked(il_pool *p, il_hand *hand) {
  drop_idle_locked(p, hand);
  atomic_store_explicit(&hand->called, true, memory_order_release);
  il_handle_retain(&hand->isolate->h);
  return hand->isolate;
}

/* True: an alarm is to be set. */
static bool watch_locked(step *s, il_hand *hand) {
  if (hand->watching) return false;
  hand->watching = true;
  il_handle_retain(&hand->h);
  s->watch = hand;
  return true;
}

static bool step_locked(il_pool *p, step *s, int64_t now) {
  il_hand *hand = p->first_idle;
  *s = (step){NULL, NULL, NULL, false};
  if (p->queued == 0 || p->busy >= p->o.size) return false;
  if (hand != NULL) {
    if (leave_locked(p, hand, now)) return watch_locked(s, hand);
    s->admitted = give_locked(p, hand, now);
    s->called = call_locked(p, hand);
    return true;
  }
  if (p->beginning >= p->queued || p->busy + p->beginning >= p->o.size) return false;
  p->beginning++;
  p->hands++;
  s->begin = true;
  return true;
}

static bool begin(il_pool *p);

/* The idle hand's alarm rings for what was left. False: it cannot, and nothing is left from now on. */
static bool watch(il_pool *p, il_hand *hand) {
  bool watches = il_alarm_set(&p->host->watchdog, &hand->alarm, il_now() + WATCH) == ISOLUA_OK;
  if (!watches) {
    lock(p);
    p->unwatched = true;
    hand->watching = false;
    unlock(p);
  }
  il_handle_release(&hand->h);
  return watches;
}

/* False: it was in vain, and would be again; or what is queued is left to others. */
static bool take_step(il_pool *p, const step *s) {
  if (s->watch != NULL) return !watch(p, s->watch);
  if (s->called != NULL) {
    il_waiter_wake(&s->called->waiter);
    il_isolate_release(s->called);
  }
  tell_admitted(s->admitted, ISOLUA_OK);
  return !s->begin || begin(p);
}

/* Brings jobs and hands together as long as that can be. The caller holds the pool. */
static void dispatch(il_pool *p) {
  step s;
  bool more;
  do {
    int64_t now = il_now();
    lock(p);
    more = step_locked(p, &s, now);
    unlock(p);
  } while (more && take_step(p, &s));
}

/* -- Hands ------------------------------------------------------------------------------------- */

static void hand_close(il_handle *h) {
  il_hand *hand = (il_hand *)h;
  il_pool *p = hand->pool;
  il_watchdog_unreserve(&p->host->watchdog);
  free(hand);
  il_pool_release(p);
}

static const il_handle_type hand_type = {.name = "isolate.hand", .close = hand_close};

static void doom_locked(il_hand *hand, il_isolate **victim) {
  hand->doomed = true;
  *victim = hand->isolate;
  il_handle_retain(&hand->isolate->h);
}

static void kill_victim(il_isolate *victim, int code) {
  if (victim == NULL) return;
  il_isolate_kill(victim, code, IL_GRACE);
  il_isolate_release(victim);
}

/* It is idle, and others were to run what is queued. Do they? When to look again; 0: not at all. */
static int64_t look_locked(il_pool *p, il_hand *hand, int64_t now, step *s) {
  bool left = hand->idle && p->queued > 0 && p->busy < p->o.size;
  if (left && leave_locked(p, hand, now)) return now + WATCH;
  hand->watching = false;
  if (!left) return 0;
  s->admitted = give_locked(p, hand, now);
  s->called = call_locked(p, hand);
  return 0;
}

/* On the watchdog's thread: a job's time may be over, or jobs wait for who is kept by longer ones. */
static int64_t ring(il_alarm *a) {
  il_hand *hand = (il_hand *)((char *)a - offsetof(il_hand, alarm));
  il_pool *p = hand->pool;
  il_isolate *victim = NULL;
  step s = {NULL, NULL, NULL, false};
  int64_t next, again, now = il_now();
  lock(p);
  next = hand->over || hand->doomed ? 0 : hand->late;
  if (next != 0 && next <= now) {
    doom_locked(hand, &victim);
    next = 0;
  }
  if (hand->watching && (again = look_locked(p, hand, now, &s)) != 0) next = again;
  unlock(p);
  kill_victim(victim, ISOLUA_TIMEOUT);
  take_step(p, &s);
  if (s.called != NULL) dispatch(p);
  return next != 0 ? next : -1;
}

static il_hand *hand_new(il_pool *p) {
  il_hand *hand = calloc(1, sizeof *hand);
  if (hand == NULL) return NULL;
  if (il_watchdog_reserve(&p->host->watchdog) != ISOLUA_OK) {
    free(hand);
    return NULL;
  }
  il_handle_init(&hand->h, &hand_type);
  il_alarm_init(&hand->alarm, &hand->h, ring);
  hand->pool = p;
  atomic_fetch_add_explicit(&p->holds, 1, memory_order_relaxed);
  return hand;
}

/* No hand is there, or could begin, to run what is queued: the next of it has that error. */
static void fail_next(il_pool *p, il_result *r) {
  il_work *w = NULL;
  isolua_future *admitted = NULL;
  bool told = false;
  lock(p);
  if (p->queued > 0) {
    w = first_locked(p);
    dequeue_locked(p, w);
    w->stage = IL_TAKEN; /* until it is settled */
    w->hand = NULL;
    p->taken++;
    p->failed++;
    admitted = let_in_locked(p);
  }
  unlock(p);
  tell_admitted(admitted, ISOLUA_OK);
  if (w == NULL) {
    il_result_fini(r);
    return;
  }
  il_future_settle(&w->future, r);
  lock(p);
  w->stage = IL_SETTLED;
  p->taken--;
  told = went_locked(p);
  unlock(p);
  tell_empty(p, told);
  il_work_release(w);
}

static void unlist_hand_locked(il_pool *p, il_hand *hand) {
  drop_idle_locked(p, hand);
  if (hand->prev != NULL)
    hand->prev->next = hand->next;
  else
    p->all = hand->next;
  if (hand->next != NULL) hand->next->prev = hand->prev;
  p->hands--;
}

/* No hand is there that will look at the queue by itself: all begin, or wait for others. One for which the host
** had no room leaves the jobs to those that begin: the last of these that fails is alone. */
static bool alone_locked(const il_pool *p, bool no_room) {
  return p->hands - (no_room ? 0 : p->beginning) == p->waiting;
}

/* There was no memory for an isolate. */
static void never_started(il_pool *p, il_hand *hand) {
  il_result r = {ISOLUA_MEMORY, NULL, NULL, NULL};
  bool alone;
  lock(p);
  hand->over = true;
  p->beginning--;
  unlist_hand_locked(p, hand);
  alone = alone_locked(p, false);
  hand->in_vain = !alone;
  unlock(p);
  if (alone) fail_next(p, &r);
  il_handle_release(&hand->h); /* that of the isolate */
  il_handle_release(&hand->h);
}

/* False: it has failed, and there are other hands. */
static bool begin(il_pool *p) {
  char name[192];
  long long number;
  bool goes_on = true;
  il_result r = {ISOLUA_MEMORY, NULL, NULL, NULL};
  il_hand *hand = hand_new(p);
  lock(p);
  number = ++p->started;
  if (hand != NULL) {
    hand->next = p->all;
    if (p->all != NULL) p->all->prev = hand;
    p->all = hand;
  } else {
    p->beginning--;
    p->hands--;
    goes_on = alone_locked(p, false);
  }
  unlock(p);
  if (hand == NULL) {
    if (goes_on) fail_next(p, &r);
    return goes_on;
  }
  snprintf(name, sizeof name, "%.150s/%lld", p->name, number);
  hand->starting = true;
  il_handle_retain(&hand->h); /* its isolate's, until hand_freed */
  il_handle_retain(&hand->h); /* ours */
  if (p->start(p, hand, name) == ISOLUA_MEMORY) never_started(p, hand);
  lock(p);
  hand->starting = false;
  goes_on = !hand->in_vain || alone_locked(p, hand->no_room);
  unlock(p);
  il_handle_release(&hand->h);
  return goes_on;
}

/* Its isolate has ended. Is a job to be run again? */
static bool again_locked(const il_hand *hand, const il_result *r) {
  il_work *w = hand->work;
  if (il_future_is_done(&w->future)) return false;
  if (!hand->begun) return true; /* what ended it was not this job */
  if (r->code != ISOLUA_KILLED && r->code != ISOLUA_MEMORY && r->code != ISOLUA_EXITED)
    return false;
  return w->retries-- > 0;
}

/* The job leaves its hand. */
static void put_down_locked(il_pool *p, il_hand *hand) {
  p->taken--;
  if (hand->waiting)
    p->waiting--;
  else
    p->busy--;
  hand->work->hand = NULL;
  hand->work = NULL;
  hand->waiting = false;
  hand->begun = false;
  hand->late = 0;
}

/* A copy: what was in *r may be without the holds that it needs elsewhere. */
static void take_result(il_result *to, il_result *from) {
  *to = *from;
  if (from->msg != NULL) {
    to->msg = il_msg_clone(from->msg);
    if (to->msg == NULL) to->code = ISOLUA_MEMORY;
  }
  if (to->code == ISOLUA_OK) to->code = ISOLUA_EXITED;
  from->message = from->traceback = NULL;
}

/* The end of the job that a hand had which is gone. */
static void end_work(il_pool *p, il_hand *hand, il_work *w, il_result *r) {
  bool told;
  il_result mine;
  take_result(&mine, r);
  il_future_settle(&w->future, &mine);
  lock(p);
  put_down_locked(p, hand);
  w->stage = IL_SETTLED;
  p->failed++;
  told = went_locked(p);
  unlock(p);
  tell_empty(p, told);
  il_work_release(w);
}

/* il_hooks.ended. Whoever killed one that was not ready yet may have meant it, and no job: but not so often. */
enum { VAIN = 8 };
static void hand_ended(il_isolate *i, il_result *r) {
  il_hand *hand = i->served;
  il_pool *p = hand->pool;
  il_isolate *own;
  il_work *w;
  bool entered, alone, more, vain;
  lock(p);
  hand->over = true;
  entered = hand->isolate != NULL;
  own = hand->isolate;
  hand->isolate = NULL;
  if (!entered) p->beginning--;
  unlist_hand_locked(p, hand);
  if (hand->waiting) { /* it does so no more, and its job is not ended yet */
    hand->waiting = false;
    p->waiting--;
    p->busy++;
  }
  hand->no_room = r->code == ISOLUA_FULL;
  alone = alone_locked(p, hand->no_room);
  vain = !entered && r->code == ISOLUA_KILLED && p->vain++ < VAIN;
  hand->in_vain = !entered && !alone && !vain && r->code != ISOLUA_ERROR;
  more = entered || (!hand->starting && !hand->in_vain); /* `begin` does not know of a job's end */
  w = hand->work;
  if (w != NULL && again_locked(hand, r)) {
    put_down_locked(p, hand);
    enqueue_locked(p, w, true);
    w->since = il_now();
    w = NULL;
  }
  unlock(p);
  il_alarm_cancel(&p->host->watchdog, &hand->alarm);
  if (w != NULL) {
    end_work(p, hand, w, r);
  } else if (!entered && !vain && r->code != ISOLUA_OK && (alone || r->code == ISOLUA_ERROR)) {
    il_result mine;
    take_result(&mine, r);
    fail_next(p, &mine);
  }
  if (more) dispatch(p);
  if (own != NULL) il_isolate_release(own);
  il_handle_release(&hand->h); /* the pool's hold */
}

/* il_hooks.waits. */
static void hand_waits(il_isolate *i, bool begins) {
  il_hand *hand = i->served;
  il_pool *p = hand->pool;
  lock(p);
  if (hand->work == NULL || hand->over || hand->waiting == begins) {
    unlock(p);
    return;
  }
  hand->waiting = begins;
  p->busy += begins ? (size_t)-1 : 1;
  p->waiting += begins ? 1 : (size_t)-1;
  unlock(p);
  if (begins) dispatch(p);
}

static void hand_freed(void *served) {
  il_hand *hand = served;
  if (hand->held != NULL) il_work_release(hand->held);
  il_handle_release(&hand->h); /* its isolate's hold */
}

static bool hand_subject(il_isolate *i, char *text, size_t size) {
  il_hand *hand = i->served;
  il_work *w;
  lock(hand->pool);
  w = hand->over ? NULL : hand->work;
  if (w != NULL) il_handle_retain(&w->h);
  unlock(hand->pool);
  if (w == NULL) return false;
  il_work_subject(w, text, size);
  il_work_release(w);
  return true;
}

const il_hooks il_hand_hooks = {hand_ended, hand_waits, hand_freed, hand_subject};

void il_hand_enter(il_hand *hand, il_isolate *i) {
  il_pool *p = hand->pool;
  lock(p);
  if (!hand->over) { /* it was not left for stuck meanwhile */
    il_handle_retain(&i->h);
    hand->isolate = i;
    p->beginning--;
    p->vain = 0;
  }
  unlock(p);
}

/* The hand is to get no job, and to leave. */
static bool leaves_locked(const il_pool *p, const il_hand *hand) {
  return hand->doomed || hand->over || hand->last ||
         (p->o.max_jobs > 0 && hand->done >= p->o.max_jobs) || (p->closing && p->queued == 0);
}

il_work *il_hand_next(il_hand *hand, il_result *r) {
  il_pool *p = hand->pool;
  il_work *ended = NULL, *held = hand->held, *next;
  isolua_future *admitted = NULL;
  bool told = false, failed = r != NULL && r->code != ISOLUA_OK, more;
  int64_t now = il_now();
  hand->held = NULL;
  if (r != NULL) il_future_settle(&held->future, r);
  lock(p);
  if (hand->over) { /* it was left for stuck, and its job with it */
    unlock(p);
    if (held != NULL) il_work_release(held);
    return NULL;
  }
  if (r != NULL) {
    ended = hand->work;
    put_down_locked(p, hand);
    ended->stage = IL_SETTLED;
    hand->done++;
    ran_locked(p, now - ended->since, now);
    if (failed)
      p->failed++;
    else
      p->done++;
    told = went_locked(p);
  }
  if (leaves_locked(p, hand)) {
    hand->last = true;
  } else if (p->queued > 0 && p->busy < p->o.size) {
    admitted = give_locked(p, hand, now);
    hand->begun = true;
  } else if (p->idle < p->o.size) {
    push_idle_locked(p, hand);
  } else {
    hand->last = true;
  }
  next = hand->work;
  more = p->queued > 0 && (hand->last || admitted != NULL);
  unlock(p);
  if (more) dispatch(p);
  tell_admitted(admitted, ISOLUA_OK);
  tell_empty(p, told);
  if (ended != NULL) il_work_release(ended);
  if (held != NULL) il_work_release(held);
  return next;
}

il_work *il_hand_job(il_hand *hand) {
  il_work *w;
  lock(hand->pool);
  atomic_store_explicit(&hand->called, false, memory_order_relaxed);
  w = hand->work;
  hand->begun = w != NULL;
  if (w != NULL) hand->pool->turn = w->since = il_now();
  unlock(hand->pool);
  return w;
}

bool il_hand_begin(il_hand *hand) {
  int64_t timeout = hand->held->timeout, late;
  bool begins;
  if (timeout == 0) return true;
  late = il_deadline(timeout);
  lock(hand->pool);
  begins = !hand->over;
  if (begins) hand->late = late;
  unlock(hand->pool);
  if (begins) il_alarm_set(&hand->pool->host->watchdog, &hand->alarm, late);
  return begins;
}

void il_hand_retire(il_hand *hand) {
  lock(hand->pool);
  hand->last = true;
  unlock(hand->pool);
}

bool il_hand_leave(il_hand *hand) {
  il_pool *p = hand->pool;
  bool leaves;
  lock(p);
  leaves = hand->work == NULL;
  if (leaves) {
    drop_idle_locked(p, hand);
    hand->last = true;
  }
  unlock(p);
  return leaves;
}

bool il_hand_is_done(il_hand *hand) {
  bool done;
  lock(hand->pool);
  done = hand->work == NULL && !hand->idle && leaves_locked(hand->pool, hand);
  unlock(hand->pool);
  return done;
}

/* -- Pools ------------------------------------------------------------------------------------- */

void il_pool_release(il_pool *p) {
  if (atomic_fetch_sub_explicit(&p->holds, 1, memory_order_acq_rel) > 1) return;
  p->fini(p);
  il_future_release(p->empty);
  il_host_release(p->host);
  free(p->name);
  free(p);
  atomic_fetch_sub_explicit(&il_live_pools, 1, memory_order_relaxed);
}

static void pool_close(il_handle *h) {
  il_pool *p = (il_pool *)h;
  il_pool_close(p);
  il_pool_release(p);
}

const il_handle_type il_pool_type = {.name = "isolate.pool", .close = pool_close};

il_pool *il_pool_new(isolua_host *host, const il_pool_limits *o, const char *name) {
  il_pool *p = il_lines_new(sizeof *p);
  if (p == NULL) return NULL;
  memset(p, 0, sizeof *p);
  p->name = strdup(name);
  p->empty = p->name != NULL ? il_future_new(host, NULL) : NULL;
  if (p->empty == NULL) {
    free(p->name);
    free(p);
    return NULL;
  }
  il_handle_init(&p->h, &il_pool_type);
  p->holds = 1;
  p->host = host;
  il_handle_retain(&host->h);
  p->o = *o;
  p->usually = 100 * TINY;
  atomic_fetch_add_explicit(&il_live_pools, 1, memory_order_relaxed);
  return p;
}

/* Those for which an isolate is free, or begins, do not wait. */
static size_t bound_locked(const il_pool *p) {
  return p->o.queue + (p->busy < p->o.size ? (size_t)(p->o.size - p->busy) : 0);
}

static int send_locked(il_pool *p, il_work *w, bool wait) {
  if (p->closing) return ISOLUA_CLOSED;
  if (p->queued < bound_locked(p) && p->outside.first == NULL) {
    enqueue_locked(p, w, false);
    came_locked(p);
    return ISOLUA_OK;
  }
  if (!wait) return ISOLUA_FULL;
  w->stage = IL_OUTSIDE;
  append(&p->outside, w);
  p->waiting_outside++;
  il_handle_retain(&w->h);
  came_locked(p);
  return ISOLUA_FULL;
}

int il_pool_send(il_pool *p, il_work *w, bool wait) {
  int err;
  step s;
  bool more;
  for (;;) {
    int64_t now = il_now();
    lock(p);
    w->since = now;
    err = send_locked(p, w, wait && w->admitted != NULL);
    more = err == ISOLUA_OK && step_locked(p, &s, now);
    unlock(p);
    if (err != ISOLUA_FULL || !wait || w->admitted != NULL) break;
    w->admitted = il_future_new(p->host, NULL); /* mostly there is room, and nobody needs it */
    if (w->admitted == NULL) return ISOLUA_MEMORY;
  }
  if (more && take_step(p, &s)) dispatch(p);
  return err;
}

bool il_pool_withdraw(il_pool *p, il_work *w) {
  bool outside, in, told = false;
  lock(p);
  outside = w->stage == IL_OUTSIDE;
  in = w->in;
  if (outside) told = turn_away_locked(p, w);
  unlock(p);
  tell_empty(p, told);
  if (outside) il_work_release(w);
  return !in;
}

/* Its future was cancelled. */
static void cancelled(isolua_future *f) {
  il_work *w = work_of(f);
  il_pool *p = w->pool;
  isolua_future *admitted = NULL;
  il_isolate *victim = NULL;
  bool queued, told = false;
  lock(p);
  queued = w->stage == IL_QUEUED;
  if (queued) {
    dequeue_locked(p, w);
    w->stage = IL_SETTLED;
    p->failed++;
    admitted = let_in_locked(p);
    told = went_locked(p);
  } else if (w->stage == IL_TAKEN && w->hand != NULL && !w->hand->over) {
    doom_locked(w->hand, &victim);
  }
  unlock(p);
  kill_victim(victim, ISOLUA_CANCELLED);
  tell_admitted(admitted, ISOLUA_OK);
  tell_empty(p, told);
  if (queued) il_work_release(w);
}

/* One that waits outside is refused. */
static bool refuse_one(il_pool *p) {
  il_work *w;
  bool told = false;
  lock(p);
  w = p->outside.first;
  if (w != NULL) told = turn_away_locked(p, w);
  unlock(p);
  if (w == NULL) return false;
  il_future_retain(w->admitted);
  tell_admitted(w->admitted, ISOLUA_CLOSED);
  tell_empty(p, told);
  il_work_release(w);
  return true;
}

/* One that is idle is called, to leave. */
static bool call_one(il_pool *p) {
  il_hand *hand;
  step s = {NULL, NULL, NULL, false};
  lock(p);
  hand = p->queued == 0 ? p->first_idle : NULL;
  if (hand != NULL) {
    hand->last = true;
    s.called = call_locked(p, hand);
  }
  unlock(p);
  take_step(p, &s);
  return hand != NULL;
}

void il_pool_close(il_pool *p) {
  bool told;
  lock(p);
  p->closing = true;
  told = jobs_locked(p) == 0 && !p->empty_told;
  if (told) p->empty_told = true;
  unlock(p);
  tell_empty(p, told);
  while (refuse_one(p)) continue;
  while (call_one(p)) continue;
}

/* A job that is in, with a hold. NULL: none is left whose future is not settled. */
static il_work *some_work(il_pool *p) {
  il_work *w = NULL;
  lock(p);
  if (p->queued > 0) w = first_locked(p);
  for (il_hand *hand = p->all; hand != NULL && w == NULL; hand = hand->next)
    if (hand->work != NULL && !il_future_is_done(&hand->work->future)) w = hand->work;
  if (w != NULL) il_handle_retain(&w->h);
  unlock(p);
  return w;
}

void il_pool_cancel(il_pool *p, const char *reason) {
  il_work *w;
  il_pool_close(p);
  while ((w = some_work(p)) != NULL) {
    il_future_retain(&w->future);
    if (!isolua_future_cancel(&w->future, reason)) cancelled(&w->future);
    il_future_release(&w->future);
    il_work_release(w);
  }
}

void il_pool_look(il_pool *p, isolua_pool_stats *out) {
  lock(p);
  *out = (isolua_pool_stats){
    .size = p->o.size, .busy = p->taken, .queued = p->queued, .done = p->done, .failed = p->failed};
  out->wait50 = quantile(&p->waited, 0.5);
  out->wait99 = quantile(&p->waited, 0.99);
  out->run50 = quantile(&p->ran, 0.5);
  out->run99 = quantile(&p->ran, 0.99);
  unlock(p);
}
