/* worker_test.c - threads that run jobs: each job once, idle ones kept, none left at the end. */
/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include <sched.h>
#include <stdlib.h>

#include "check.h"
#include "isolua.h"

#define STACK ((size_t)512 << 10)
#define SOON il_deadline((int64_t)20000000000)

/* -- A pool that counts ------------------------------------------------------------------------ */

typedef struct pool {
  il_workers w;
  atomic_int made, used, dropped; /* spares */
  il_mutex gate_lock;             /* guards the two below */
  il_cond gate_change;
  bool gate_closed; /* nothing is made, and blocking jobs wait, until it opens */
} pool;

/* Waits at the gate. */
static void pass_gate(pool *p) {
  int64_t end = SOON;
  il_mutex_lock(&p->gate_lock);
  while (p->gate_closed && il_now() < end) il_cond_wait(&p->gate_change, &p->gate_lock, end);
  CHECK(!p->gate_closed);
  il_mutex_unlock(&p->gate_lock);
}

static void set_gate(pool *p, bool closed) {
  il_mutex_lock(&p->gate_lock);
  p->gate_closed = closed;
  il_cond_wake_all(&p->gate_change);
  il_mutex_unlock(&p->gate_lock);
}

static void *make(void *ud) {
  pool *p = ud;
  pass_gate(p);
  atomic_fetch_add(&p->made, 1);
  return p;
}

static void drop(void *spare) {
  atomic_fetch_add(&((pool *)spare)->dropped, 1);
}

static bool pool_init(pool *p, int keep) {
  *p = (pool){.w = {.make = make, .drop = drop, .ud = p, .stack = STACK, .keep = keep}};
  return CHECK(il_mutex_init(&p->gate_lock) == 0) && CHECK(il_cond_init(&p->gate_change) == 0) &&
         CHECK_INT(il_workers_init(&p->w), ISOLUA_OK);
}

/* Ends all threads; the pool must then be empty, and each spare used or dropped. */
static void pool_fini(pool *p) {
  il_workers_trim(&p->w, true);
  if (!CHECK_INT(il_workers_wait(&p->w, 0, SOON), 0)) return;
  CHECK_INT(atomic_load(&p->used) + atomic_load(&p->dropped), atomic_load(&p->made));
  CHECK_INT(p->w.nidle, 0);
  CHECK_INT(p->w.nqueued, 0);
  CHECK_INT(p->w.npreparing, 0);
  il_workers_fini(&p->w);
  il_cond_fini(&p->gate_change);
  il_mutex_fini(&p->gate_lock);
}

/* -- Jobs -------------------------------------------------------------------------------------- */

typedef struct task {
  il_job job; /* first */
  pool *pool;
  atomic_int runs;
  bool blocking;    /* it waits at the gate */
  bool announcing;  /* and says before that it is about to end */
  bool queued;      /* it waited for a thread that got ready */
  bool had_spare;   /* when it ran */
  il_thread thread; /* that ran it */
} task;

static void run(il_job *job, void *spare) {
  task *t = (task *)job;
  if (spare != NULL) atomic_fetch_add(&t->pool->used, 1);
  if (t->announcing) il_workers_announce();
  if (t->blocking) pass_gate(t->pool);
  t->thread = il_thread_self();
  t->had_spare = spare != NULL;
  atomic_fetch_add(&t->runs, 1);
}

static void task_init(task *t, pool *p) {
  *t = (task){.job = {.run = run}, .pool = p};
}

static void start(task *t, pool *p, size_t stack) {
  task_init(t, p);
  CHECK_INT(il_workers_start(&p->w, &t->job, stack, &t->queued), ISOLUA_OK);
}

static bool has_run(void *t) {
  return atomic_load(&((task *)t)->runs) > 0;
}

/* Runs a task to its end. */
static void do_task(task *t, pool *p, size_t stack) {
  start(t, p, stack);
  CHECK(check_eventually(has_run, t));
}

/* What the pool has, at one moment. */
typedef struct expected {
  pool *pool;
  size_t threads;
  int idle, preparing;
} expected;

static bool has(void *arg) {
  expected *e = arg;
  il_workers *w = &e->pool->w;
  bool is;
  il_mutex_lock(&w->lock);
  is = w->nthreads == e->threads && w->nidle == e->idle && w->npreparing == e->preparing;
  il_mutex_unlock(&w->lock);
  return is;
}

static void check_pool(pool *p, size_t threads, int idle, int preparing) {
  expected e = {p, threads, idle, preparing};
  if (check_eventually(has, &e)) return;
  il_mutex_lock(&p->w.lock);
  CHECK_INT(p->w.nthreads, threads);
  CHECK_INT(p->w.nidle, idle);
  CHECK_INT(p->w.npreparing, preparing);
  il_mutex_unlock(&p->w.lock);
}

/* -- Many starters ----------------------------------------------------------------------------- */

enum { STARTERS = 8 };

typedef struct rush {
  pool pool;
  int each;
  bool disturbed; /* by trims, drains and waits */
  atomic_bool over;
  task *tasks; /* `each` of them a starter's */
} rush;

static bool wait_for(task *t) {
  return CHECK(check_eventually(has_run, t)) && CHECK_INT(atomic_load(&t->runs), 1);
}

static void disturb(rush *r) {
  uint32_t random = 5;
  while (!atomic_load(&r->over)) {
    if (check_random(&random) % 2 == 0) {
      il_workers_trim(&r->pool.w, false);
    } else {
      il_workers_drain(&r->pool.w, true);
      il_workers_wait(&r->pool.w, 1, il_now() + 100000);
      il_workers_drain(&r->pool.w, false);
    }
  }
}

static void start_each(int index, void *arg) {
  rush *r = arg;
  if (index == STARTERS) {
    if (r->disturbed) disturb(r);
    return;
  }
  for (int i = 0; i < r->each; i++) {
    task *t = &r->tasks[index * r->each + i];
    start(t, &r->pool, i % 50 == 49 ? 2 * STACK : STACK);
    if (i % 4 == 3 && !wait_for(t)) break; /* else it starts more than there are threads */
  }
  if (index == 0) atomic_store(&r->over, true);
}

static void run_rush(int each, bool disturbed, void (*part)(int index, void *arg)) {
  rush r = {.each = each, .disturbed = disturbed};
  r.tasks = calloc((size_t)each, STARTERS * sizeof *r.tasks);
  if (!CHECK(r.tasks != NULL) || !pool_init(&r.pool, 4)) return;
  check_parallel(STARTERS + 1, part, &r);
  for (int i = 0; i < STARTERS * each; i++)
    if (!wait_for(&r.tasks[i])) break;
  pool_fini(&r.pool);
  for (int i = 0; i < STARTERS * each; i++) CHECK_INT(atomic_load(&r.tasks[i].runs), 1);
  free(r.tasks);
}

static void each_runs_once(void) {
  run_rush(check_scale(500, 60), false, start_each);
}

static void each_runs_once_with_trims(void) {
  run_rush(check_scale(500, 60), true, start_each);
}

/* One kicks, as the host's watchdog does. */
static void start_or_kick(int index, void *arg) {
  rush *r = arg;
  if (index < STARTERS) {
    start_each(index, arg);
    return;
  }
  while (!atomic_load(&r->over)) il_workers_kick(&r->pool.w);
}

static void each_runs_once_with_kicks(void) {
  run_rush(check_scale(500, 60), false, start_or_kick);
}

/* -- Parked threads ---------------------------------------------------------------------------- */

static void parked_is_reused(void) {
  pool p;
  task first, second;
  if (!pool_init(&p, 2)) return;
  do_task(&first, &p, STACK);
  CHECK(!first.had_spare);
  check_pool(&p, 1, 1, 0);
  for (int i = 0; i < 100; i++) {
    do_task(&second, &p, STACK);
    CHECK(second.had_spare);
    CHECK(pthread_equal(first.thread, second.thread));
    check_pool(&p, 1, 1, 0);
  }
  CHECK_INT(atomic_load(&p.made), 101);
  pool_fini(&p);
}

static void another_stack_is_not_kept(void) {
  pool p;
  task first, second;
  if (!pool_init(&p, 2)) return;
  do_task(&first, &p, STACK);
  check_pool(&p, 1, 1, 0);
  do_task(&second, &p, 2 * STACK);
  CHECK(!second.had_spare);
  check_pool(&p, 1, 1, 0);
  pool_fini(&p);
}

/* Starts `n` tasks that are all running at one time. */
static void start_blocked(pool *p, task *tasks, int n, bool announcing) {
  set_gate(p, true);
  for (int i = 0; i < n; i++) {
    task_init(&tasks[i], p);
    tasks[i].blocking = true;
    tasks[i].announcing = announcing;
    CHECK_INT(il_workers_start(&p->w, &tasks[i].job, STACK, &tasks[i].queued), ISOLUA_OK);
  }
}

static void keeps_at_most(void) {
  enum { N = 12, KEEP = 3 };
  pool p;
  task tasks[N];
  if (!pool_init(&p, KEEP)) return;
  start_blocked(&p, tasks, N, false);
  check_pool(&p, N, 0, 0);
  set_gate(&p, false);
  for (int i = 0; i < N; i++) wait_for(&tasks[i]);
  check_pool(&p, KEEP, KEEP, 0);
  pool_fini(&p);
}

static void keeps_none(void) {
  static const int none[] = {0, -1};
  for (int i = 0; i < 2; i++) {
    pool p;
    task t;
    if (!pool_init(&p, none[i])) return;
    do_task(&t, &p, STACK);
    do_task(&t, &p, STACK);
    CHECK(!t.had_spare);
    check_pool(&p, 0, 0, 0);
    CHECK_INT(atomic_load(&p.made), 0);
    pool_fini(&p);
  }
}

/* -- Jobs for threads that get ready ----------------------------------------------------------- */

/* A pool with one thread that cannot get ready before the gate opens. */
static bool with_preparing(pool *p, task *first) {
  if (!pool_init(p, 2)) return false;
  set_gate(p, true);
  do_task(first, p, STACK);
  check_pool(p, 1, 0, 1);
  return true;
}

static void waits_for_one_that_gets_ready(void) {
  pool p;
  task first, second, third;
  if (!with_preparing(&p, &first)) return;
  start(&second, &p, STACK);
  CHECK(second.queued);
  check_pool(&p, 1, 0, 1);
  do_task(&third, &p, STACK); /* on a thread of its own: one job waits for one thread */
  CHECK(!third.queued);
  CHECK(!pthread_equal(first.thread, third.thread));
  CHECK_INT(atomic_load(&second.runs), 0);
  set_gate(&p, false);
  wait_for(&second);
  pool_fini(&p);
  CHECK_INT(atomic_load(&second.runs), 1);
}

static void queued_runs_in_spite_of(void (*end)(il_workers *)) {
  pool p;
  task first, second;
  if (!with_preparing(&p, &first)) return;
  start(&second, &p, STACK);
  CHECK(second.queued);
  end(&p.w);
  set_gate(&p, false);
  wait_for(&second);
  CHECK(second.had_spare);
  check_pool(&p, 0, 0, 0);
  pool_fini(&p);
}

static void trim_for_good(il_workers *w) {
  il_workers_trim(w, true);
}

static void drain_begin(il_workers *w) {
  il_workers_drain(w, true);
}

static void queued_runs(void) {
  queued_runs_in_spite_of(trim_for_good);
  queued_runs_in_spite_of(drain_begin);
}

/* As a thread that does not get ready soon would leave the job waiting. */
static void kicked_job_goes_on(void) {
  pool p;
  task first, second;
  if (!with_preparing(&p, &first)) return;
  CHECK(!il_workers_kick(&p.w));
  start(&second, &p, STACK);
  CHECK(il_workers_kick(&p.w)); /* it has come since the last kick */
  CHECK_INT(atomic_load(&second.runs), 0);
  CHECK(!il_workers_kick(&p.w));
  wait_for(&second);
  CHECK(!pthread_equal(first.thread, second.thread));
  CHECK(!il_workers_kick(&p.w));
  set_gate(&p, false);
  pool_fini(&p);
  CHECK_INT(atomic_load(&second.runs), 1);
}

static void announced_thread_is_waited_for(void) {
  pool p;
  task first, second;
  if (!pool_init(&p, 2)) return;
  start_blocked(&p, &first, 1, true);
  check_pool(&p, 1, 0, 1);
  start(&second, &p, STACK);
  CHECK(second.queued);
  CHECK_INT(atomic_load(&first.runs), 0);
  set_gate(&p, false);
  wait_for(&first);
  wait_for(&second);
  CHECK(pthread_equal(first.thread, second.thread));
  check_pool(&p, 1, 1, 0);
  pool_fini(&p);
}

/* -- Threads that are woken where their waker runs --------------------------------------------- */

/* Where a thread may run, as the system knows it. */
typedef struct placed {
  task task; /* first */
  cpu_set_t cpus;
} placed;

static void run_placed(il_job *job, void *spare) {
  pthread_getaffinity_np(pthread_self(), sizeof(cpu_set_t), &((placed *)job)->cpus);
  run(job, spare);
}

static void place(placed *t, pool *p) {
  task_init(&t->task, p);
  t->task.job.run = run_placed;
  CHECK_INT(il_workers_start(&p->w, &t->task.job, STACK, &t->task.queued), ISOLUA_OK);
  CHECK(check_eventually(has_run, &t->task));
}

/* Long enough for a parked thread to stop spinning: what follows holds for one that spins, too. */
static void pause_awhile(void) {
  _Atomic(uint32_t) word = 0;
  int64_t end = il_now() + 1000000;
  while (il_now() < end) il_word_sleep(&word, 0, end);
}

/* Each job may run wherever the first one, on a new thread, might. */
static void check_places(void) {
  pool p;
  placed first, next;
  if (!pool_init(&p, 2)) return;
  place(&first, &p);
  for (int i = 0; i < check_scale(50, 10); i++) {
    if (i % 2 == 0) pause_awhile();
    place(&next, &p);
    CHECK(pthread_equal(first.task.thread, next.task.thread));
    CHECK(CPU_EQUAL(&first.cpus, &next.cpus));
    check_pool(&p, 1, 1, 0);
  }
  CHECK(p.w.pulled == NULL);
  pool_fini(&p);
}

static void pulled_may_run_anywhere(void) {
  check_places();
}

static void pulled_stays_where_it_was_put(void) {
  cpu_set_t all, one;
  CHECK_INT(pthread_getaffinity_np(pthread_self(), sizeof all, &all), 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &all)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK_INT(pthread_setaffinity_np(pthread_self(), sizeof one, &one), 0);
    check_places();
  }
  pthread_setaffinity_np(pthread_self(), sizeof all, &all);
}

/* -- Ending ------------------------------------------------------------------------------------ */

static void trim_ends_idle(void) {
  pool p;
  task t;
  if (!pool_init(&p, 4)) return;
  for (int i = 0; i < check_scale(100, 20); i++) {
    do_task(&t, &p, STACK);
    check_pool(&p, 1, 1, 0);
    il_workers_trim(&p.w, false);
    CHECK_INT(il_workers_wait(&p.w, 0, SOON), 0);
  }
  pool_fini(&p);
}

static void drain_keeps_none_idle(void) {
  pool p;
  task t;
  if (!pool_init(&p, 4)) return;
  do_task(&t, &p, STACK);
  check_pool(&p, 1, 1, 0);
  il_workers_drain(&p.w, true);
  il_workers_drain(&p.w, true);
  CHECK_INT(il_workers_wait(&p.w, 0, SOON), 0);
  do_task(&t, &p, STACK);
  check_pool(&p, 0, 0, 0);
  il_workers_drain(&p.w, false);
  do_task(&t, &p, STACK);
  check_pool(&p, 0, 0, 0);
  il_workers_drain(&p.w, false);
  do_task(&t, &p, STACK);
  check_pool(&p, 1, 1, 0);
  pool_fini(&p);
}

static void wait_keeps_deadline(void) {
  enum { N = 3 };
  pool p;
  task tasks[N];
  int64_t end;
  if (!pool_init(&p, 0)) return;
  start_blocked(&p, tasks, N, false);
  CHECK_INT(il_workers_wait(&p.w, 0, 0), N);
  CHECK_INT(il_workers_wait(&p.w, N, -1), N);
  end = il_now() + 20000000;
  CHECK_INT(il_workers_wait(&p.w, N - 1, end), N);
  CHECK(il_now() >= end);
  set_gate(&p, false);
  CHECK_INT(il_workers_wait(&p.w, 0, SOON), 0);
  CHECK_INT(il_workers_wait(&p.w, 0, SOON), 0);
  pool_fini(&p);
}

static void ends_while_busy(void) {
  enum { N = 4 };
  for (int i = 0; i < check_scale(100, 20); i++) {
    pool p;
    task tasks[N];
    if (!pool_init(&p, N / 2)) return;
    for (int j = 0; j < N; j++) start(&tasks[j], &p, STACK);
    pool_fini(&p);
    for (int j = 0; j < N; j++) CHECK_INT(atomic_load(&tasks[j].runs), 1);
  }
}

/* No thread has a stack of 2^46 bytes. */
static void no_thread(void) {
  pool p;
  task t;
  if (check_under("tsan") || !pool_init(&p, 2)) return;
  task_init(&t, &p);
  CHECK_INT(il_workers_start(&p.w, &t.job, (size_t)1 << 46, &t.queued), ISOLUA_SPAWN);
  CHECK(!t.queued);
  check_pool(&p, 0, 0, 0);
  pool_fini(&p);
  CHECK_INT(atomic_load(&t.runs), 0);
}

static const check_case cases[] = {
  {"jobs of many starters run once each", each_runs_once},
  {"jobs run once each while idle threads are ended", each_runs_once_with_trims},
  {"jobs run once each while they are kicked", each_runs_once_with_kicks},
  {"a parked thread runs the next job, with what it made ready", parked_is_reused},
  {"a thread with another stack is not kept", another_stack_is_not_kept},
  {"no more idle threads are kept than asked for", keeps_at_most},
  {"no idle thread is kept when none is wanted", keeps_none},
  {"a job waits for a thread that gets ready, one each", waits_for_one_that_gets_ready},
  {"a job that waits for a thread runs whatever is ended", queued_runs},
  {"a job that waited since the last kick goes to another thread", kicked_job_goes_on},
  {"a job waits for a thread whose job says that it is about to end",
   announced_thread_is_waited_for},
  {"a thread that is woken where its waker runs may run anywhere again", pulled_may_run_anywhere},
  {"a thread that may not run everywhere stays where it may", pulled_stays_where_it_was_put},
  {"trimming ends idle threads", trim_ends_idle},
  {"no thread is kept between the begin and the end of a drain", drain_keeps_none_idle},
  {"waiting for threads keeps its deadline", wait_keeps_deadline},
  {"a pool ends after its jobs have run", ends_while_busy},
  {"a job does not run when there is no thread for it", no_thread},
};

CHECK_MAIN(cases)
