/* starters.h - all functions that start an isolate of a host, alike. */
/* SPDX-License-Identifier: MIT */
#ifndef STARTERS_H
#define STARTERS_H

#include "check.h"

static inline int return_nothing(lua_State *L) {
  (void)L;
  return 0;
}

/* Each starts one with nothing to do, and gives up what it got: nothing, after a failure. */
#define RUNS(X)                                                                                    \
  X(run_string, "")                                                                                \
  X(run_buffer, "", 0, "=nothing")                                                                 \
  X(run_file, "/dev/null")                                                                         \
  X(run_function, return_nothing)
#define SPAWNS(X)                                                                                  \
  X(spawn_string, "")                                                                              \
  X(spawn_buffer, "", 0, "=nothing")                                                               \
  X(spawn_file, "/dev/null")                                                                       \
  X(spawn_function, return_nothing)

#define STARTS_RUN(name, ...)                                                                      \
  static inline int starts_by_##name(isolua_host *h, const isolua_options *o) {                    \
    isolua_future *f = NULL;                                                                       \
    int code = isolua_##name(h, o, __VA_ARGS__, &f);                                               \
    CHECK((f != NULL) == (code == ISOLUA_OK));                                                     \
    isolua_future_release(f);                                                                      \
    return code;                                                                                   \
  }
#define STARTS_SPAWN(name, ...)                                                                    \
  static inline int starts_by_##name(isolua_host *h, const isolua_options *o) {                    \
    isolua_isolate *i = NULL;                                                                      \
    int code = isolua_##name(h, o, __VA_ARGS__, &i);                                               \
    CHECK((i != NULL) == (code == ISOLUA_OK));                                                     \
    isolua_isolate_release(i);                                                                     \
    return code;                                                                                   \
  }
RUNS(STARTS_RUN)
SPAWNS(STARTS_SPAWN)

#define STARTER(name, ...) starts_by_##name,
static int (*const starters[])(isolua_host *host,
                               const isolua_options *o) = {RUNS(STARTER) SPAWNS(STARTER)};
enum { STARTERS = sizeof starters / sizeof *starters };

#endif
