/* err.h - the one list of errors: number, code, message. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_ERR_H
#define IL_ERR_H

#include <stddef.h>

/* X(constant, code as Lua sees it, message). isolua.h numbers the constants. */
#define IL_ERRORS(X)                                                                               \
  X(ISOLUA_OK, "ok", "no error")                                                                   \
  X(ISOLUA_ERROR, "error", "an error in Lua code")                                                 \
  X(ISOLUA_KILLED, "killed", "the isolate was killed")                                             \
  X(ISOLUA_CANCELLED, "cancelled", "the work was cancelled")                                       \
  X(ISOLUA_TIMEOUT, "timeout", "the time is over")                                                 \
  X(ISOLUA_EXITED, "exited", "the isolate ended without a result")                                 \
  X(ISOLUA_MEMORY, "memory", "not enough memory")                                                  \
  X(ISOLUA_NOT_SENDABLE, "not_sendable", "the value cannot be sent")                               \
  X(ISOLUA_CLOSED, "closed", "the other end is closed")                                            \
  X(ISOLUA_TRANSFERRED, "transferred", "the buffer was moved away")                                \
  X(ISOLUA_SPAWN, "spawn", "the isolate could not be started")                                     \
  X(ISOLUA_DEADLOCK, "deadlock", "nothing can end this wait")                                      \
  X(ISOLUA_INTERRUPTED, "interrupted", "interrupted")                                              \
  X(ISOLUA_STUCK, "stuck", "the isolate is stuck in a C function")                                 \
  X(ISOLUA_INVALID, "invalid", "an argument is wrong")                                             \
  X(ISOLUA_FULL, "full", "there is no room")

/* Keeps for isolua_code_message on this thread what is wrong; ISOLUA_INVALID. */
#define il_invalid(...) (il_keep_invalid(__VA_ARGS__), ISOLUA_INVALID)
void il_keep_invalid(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Is the argument NULL? Then this is kept. */
#define IL_NULL(argument) ((argument) == NULL && il_invalid("`" #argument "` is NULL"))

/* Of a struct of options with its size: ISOLUA_OK, or ISOLUA_INVALID. */
#define IL_SIZED(options, type) il_check_size((options)->size, sizeof(type), #type)
int il_check_size(size_t size, size_t most, const char *type);

#endif
