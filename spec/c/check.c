/* check.c - runs tests, watches over their time, and counts what they leave behind. */
/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIMIT_SECONDS 30
#define SLOW_LIMIT_SECONDS 120 /* under a sanitizer */
#define PATIENCE 10            /* seconds, of check_eventually */

static atomic_int failures; /* of the test that runs */

/* -- Checks ------------------------------------------------------------------------------------ */

void check_failed(const char *what, const char *file, int line) {
  atomic_fetch_add(&failures, 1);
  printf("    %s:%d: %s\n", file, line, what);
  fflush(stdout);
}

void check_failed_int(long long actual, long long expected, const char *text, const char *file,
                      int line) {
  char what[512];
  snprintf(what, sizeof what, "%.400s is %lld, not %lld", text, actual, expected);
  check_failed(what, file, line);
}

bool check_passing(void) {
  return atomic_load(&failures) == 0;
}

static const char *shown(const char *text) {
  return text != NULL ? text : "(NULL)";
}

bool check_text(const char *actual, const char *expected, const char *text, const char *file,
                int line) {
  char what[2048];
  snprintf(what, sizeof what, "%.200s is\n      %.800s\n    not\n      %.800s", text, shown(actual),
           shown(expected));
  return check_that(strcmp(shown(actual), shown(expected)) == 0, what, file, line);
}

bool check_part(const char *actual, const char *part, const char *text, const char *file,
                int line) {
  char what[2048];
  snprintf(what, sizeof what, "%.200s is\n      %.800s\n    without\n      %.800s", text,
           shown(actual), part);
  return check_that(strstr(shown(actual), part) != NULL, what, file, line);
}

/* -- What functions returned ------------------------------------------------------------------- */

static _Atomic(check_seen *) all_seen;

int check_saw(check_seen *seen, int code) {
  unsigned bit = code >= 0 && code < 32 ? 1u << code : 0, before;
  if ((atomic_load_explicit(&seen->codes, memory_order_relaxed) & bit) == bit) return code;
  before = atomic_fetch_or(&seen->codes, bit);
  if (before != 0) return code;
  seen->next = atomic_load(&all_seen);
  while (!atomic_compare_exchange_weak(&all_seen, &seen->next, seen)) continue;
  return code;
}

static void write_seen(void) {
  const char *path = getenv("ISOLUA_RETURNED");
  FILE *file = path != NULL ? fopen(path, "a") : NULL;
  if (file == NULL) return;
  for (check_seen *s = atomic_load(&all_seen); s != NULL; s = s->next)
    for (int code = 0; code < 32; code++)
      if ((atomic_load(&s->codes) >> code & 1) != 0) fprintf(file, "%s %d\n", s->function, code);
  fclose(file);
}

/* -- Help for tests ---------------------------------------------------------------------------- */

bool check_under(const char *name) {
  const char *sanitizer = getenv("ISOLUA_SANITIZER");
  return sanitizer != NULL && (name == NULL || strcmp(sanitizer, name) == 0);
}

int check_scale(int n, int few) {
  return check_under(NULL) ? few : n;
}

bool check_eventually(bool (*held)(void *arg), void *arg) {
  struct timespec now, pause = {0, 1000000};
  time_t end;
  clock_gettime(CLOCK_MONOTONIC, &now);
  end = now.tv_sec + PATIENCE;
  while (!held(arg)) {
    if (now.tv_sec >= end) return false;
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now);
  }
  return true;
}

struct parallel {
  pthread_t thread;
  int index;
  void (*run)(int index, void *arg);
  void *arg;
};

static void *run_parallel(void *p) {
  struct parallel *self = p;
  self->run(self->index, self->arg);
  return NULL;
}

void check_parallel(int n, void (*run)(int index, void *arg), void *arg) {
  struct parallel *all = calloc((size_t)n, sizeof *all);
  int started = 0;
  if (!CHECK(all != NULL)) return;
  for (; started < n; started++) {
    all[started] = (struct parallel){.index = started, .run = run, .arg = arg};
    if (!CHECK(pthread_create(&all[started].thread, NULL, run_parallel, &all[started]) == 0)) break;
  }
  while (started > 0) pthread_join(all[--started].thread, NULL);
  free(all);
}

/* xorshift32 */
uint32_t check_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

/* -- The limit --------------------------------------------------------------------------------- */

static struct {
  pthread_mutex_t lock; /* guards all below */
  pthread_cond_t change;
  const char *name; /* of the test that runs; NULL: none */
  long number;      /* of tests begun */
  bool ended;
} running = {.lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};

static void *watch(void *arg) {
  (void)arg;
  pthread_mutex_lock(&running.lock);
  while (!running.ended) {
    int seconds = check_scale(LIMIT_SECONDS, SLOW_LIMIT_SECONDS), err = 0;
    long number = running.number;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += seconds;
    while (number == running.number && !running.ended && err == 0)
      err = pthread_cond_timedwait(&running.change, &running.lock, &end);
    if (err != 0 && number == running.number && running.name != NULL) {
      printf("  %s: not done in %d s\n", running.name, seconds);
      fflush(stdout);
      abort();
    }
  }
  pthread_mutex_unlock(&running.lock);
  return NULL;
}

static void begin(const char *name) {
  pthread_mutex_lock(&running.lock);
  running.name = name;
  running.number++;
  running.ended = name == NULL;
  pthread_cond_signal(&running.change);
  pthread_mutex_unlock(&running.lock);
}

/* -- What is left behind ----------------------------------------------------------------------- */

typedef struct counts {
  isolua_counts live;
  size_t tasks, files; /* of this process: what the kernel knows */
} counts;

static size_t entries(const char *path) {
  size_t n = 0;
  DIR *directory = opendir(path);
  if (directory == NULL) return 0;
  while (readdir(directory) != NULL) n++;
  closedir(directory);
  return n;
}

static counts before; /* the test that runs */

static counts count(void) {
  counts c;
  isolua_count(&c.live);
  c.tasks = entries("/proc/self/task");
  c.files = entries("/proc/self/fd");
  return c;
}

const isolua_counts *check_before(void) {
  return &before.live;
}

static bool isolates_as_before(void *p) {
  (void)p;
  return count().live.isolates <= before.live.isolates;
}

bool check_isolates_end(void) {
  return check_eventually(isolates_as_before, NULL);
}

static bool all_as_before(void *p) {
  counts now = count();
  (void)p;
  return now.live.isolates == before.live.isolates && now.live.futures == before.live.futures &&
         now.live.messages == before.live.messages && now.live.bytes == before.live.bytes &&
         now.live.threads == before.live.threads && now.live.ports == before.live.ports &&
         now.tasks == before.tasks && now.files == before.files;
}

static void check_left(void) {
  counts now;
  if (check_eventually(all_as_before, NULL)) return;
  now = count();
  CHECK_INT(now.live.isolates, before.live.isolates);
  CHECK_INT(now.live.futures, before.live.futures);
  CHECK_INT(now.live.messages, before.live.messages);
  CHECK_INT(now.live.bytes, before.live.bytes);
  CHECK_INT(now.live.threads, before.live.threads);
  CHECK_INT(now.live.ports, before.live.ports);
  CHECK_INT(now.tasks, before.tasks);
  CHECK_INT(now.files, before.files);
}

/* -- Running ----------------------------------------------------------------------------------- */

static bool passes(const check_case *test) {
  struct timespec from, to;
  bool passed;
  before = count();
  atomic_store(&failures, 0);
  clock_gettime(CLOCK_MONOTONIC, &from);
  begin(test->name);
  test->run();
  check_left();
  clock_gettime(CLOCK_MONOTONIC, &to);
  passed = atomic_load(&failures) == 0;
  printf("  %s: %s, %.3f s\n", test->name, passed ? "passed" : "FAILED",
         (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
  fflush(stdout);
  return passed;
}

static bool wanted(int argc, char **argv, const char *name) {
  bool found = argc < 2;
  for (int i = 1; i < argc; i++) found = found || strstr(name, argv[i]) != NULL;
  return found;
}

int check_main(int argc, char **argv, const check_case *cases, size_t n) {
  int passed = 0, failed = 0;
  pthread_t watcher;
  if (pthread_create(&watcher, NULL, watch, NULL) != 0) {
    printf("no thread to watch over the limits\n");
    return 2;
  }
  for (size_t i = 0; i < n; i++) {
    if (!wanted(argc, argv, cases[i].name)) continue;
    if (passes(&cases[i]))
      passed++;
    else
      failed++;
  }
  begin(NULL);
  pthread_join(watcher, NULL);
  write_seen();
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
