/* check.h - the tests of one program: run in order, each with a limit, each leaving nothing. */
/* SPDX-License-Identifier: MIT */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "isolua_lua.h"
#include "returned.h"

/*
** A test is a function, named by the behaviour it states. It fails when a CHECK in it fails, on any
** thread; when it is not done in its limit (then the program aborts); or when, soon after it, what
** isolua_count tells of, and the threads and files of the process, are not what they were before.
*/
typedef struct check_case {
  const char *name;
  void (*run)(void);
} check_case;

/* Runs the cases, or those whose names contain an argument. Ends with `N passed, N failed`. */
int check_main(int argc, char **argv, const check_case *cases, size_t n);

#define CHECK_MAIN(cases)                                                                          \
  int main(int argc, char **argv) {                                                                \
    return check_main(argc, argv, cases, sizeof(cases) / sizeof((cases)[0]));                      \
  }

/* Each tells whether it held. Thread: any. */
#define CHECK(held) check_that((held), #held, __FILE__, __LINE__)
#define CHECK_INT(actual, expected)                                                                \
  check_int((long long)(actual), (long long)(expected), #actual, __FILE__, __LINE__)
#define CHECK_TEXT(actual, expected) check_text(actual, expected, #actual, __FILE__, __LINE__)
/* `part` occurs in the text `actual`. */
#define CHECK_PART(actual, part) check_part(actual, part, #actual, __FILE__, __LINE__)

void check_failed(const char *what, const char *file, int line);
void check_failed_int(long long actual, long long expected, const char *text, const char *file,
                      int line);
bool check_text(const char *actual, const char *expected, const char *text, const char *file,
                int line);
bool check_part(const char *actual, const char *part, const char *text, const char *file, int line);

/* Here, so that who reads the code, a tool too, knows what was checked. */
static inline bool check_that(bool held, const char *text, const char *file, int line) {
  if (!held) check_failed(text, file, line);
  return held;
}

static inline bool check_int(long long actual, long long expected, const char *text,
                             const char *file, int line) {
  if (actual != expected) check_failed_int(actual, expected, text, file, line);
  return actual == expected;
}

/* Has no check of the test that runs failed yet? Thread: any. */
bool check_passing(void);

/* Is everything slowed down, by a sanitizer or valgrind? `name` NULL: any of them. */
bool check_under(const char *name);
/* How often to do something: `n`, or `few` where everything is slowed down. */
int check_scale(int n, int few);

/* Asks until `held(arg)`; false when that does not come about within ten seconds. */
bool check_eventually(bool (*held)(void *arg), void *arg);

/* What isolua_count told when the test began: what it tells may be compared to that. */
const isolua_counts *check_before(void);
/* Waits until no more isolates are alive than then. */
bool check_isolates_end(void);

/* Runs `run(0, arg)` to `run(n - 1, arg)` on threads of their own, and waits for their ends. */
void check_parallel(int n, void (*run)(int index, void *arg), void *arg);

/*
** What functions of the headers return is noted (returned.h), and written to the file ISOLUA_RETURNED at the
** end: .ci/test says which error that a header names no test has seen.
*/
typedef struct check_seen {
  const char *function;
  _Atomic(unsigned) codes; /* bits */
  struct check_seen *next;
} check_seen;
int check_saw(check_seen *seen, int code); /* code */
#define CHECK_RETURNED(f, ...)                                                                     \
  __extension__({                                                                                  \
    static check_seen seen_##f = {.function = #f};                                                 \
    check_saw(&seen_##f, (f)(__VA_ARGS__));                                                        \
  })

/* The next of a sequence of numbers that looks random; `state` holds any number but 0. */
uint32_t check_random(uint32_t *state);

#endif
