/* task.h - isolua_options checked and made into tasks and isolates. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_TASK_H
#define IL_TASK_H

#include "vm.h"

/* What a caller of whatever version gave, or the defaults for NULL. ISOLUA_INVALID: its size. */
int il_options_copy(isolua_options *to, const isolua_options *from);

/* An empty task with what the options say of libs, gc and init. ISOLUA_INVALID, ISOLUA_MEMORY. */
int il_task_new(const isolua_host *host, const isolua_options *o, il_task **task);

/* Starts an isolate that runs the task, which it takes over, also when it fails, as it does the listeners
** of `start` (which may be NULL). One hold as a sender to the inbox of *isolate is the caller's; what fails after this is its
** future's. ISOLUA_MEMORY, ISOLUA_CLOSED, ISOLUA_FULL: nothing was made. */
int il_task_start(isolua_host *host, const isolua_options *o, const char *name,
                  const il_start *start, il_task *task, il_isolate **isolate);

/* Encodes init and the entries of package.preload, for an isolate that is started more than once: buffers in it
** are copied. An error object is pushed on failure. [-0, +0|1, m] */
int il_encode_setup(il_vm *vm, lua_State *L, const isolua_run_options *o, il_task *task);

#endif
