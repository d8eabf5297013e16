/* api.c - isolua.h: running source text, and reading futures, without Lua in the caller's hands; and
** isolua_lua.h: running C functions. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "err.h"
#include "isolua_lua.h"
#include "native.h"
#include "names.h"
#include "task.h"

/* -- Options ----------------------------------------------------------------------------------- */

/* The names in `text`, as bits. */
static int parse_libs(const char *text, unsigned *libs) {
  *libs = 0;
  while (*text != '\0') {
    size_t n = strcspn(text, " ,");
    unsigned bit = il_lib_bit(text, n);
    if (n > 0 && bit == 0)
      return il_invalid("`libs` of the options: there is no library '%.*s'", (int)(n < 60 ? n : 60),
                        text);
    *libs |= bit;
    text += n;
    text += strspn(text, " ,");
  }
  return ISOLUA_OK;
}

static int parse_gc(const char *text, int *gc) {
  *gc = -1;
  if (text == NULL) return ISOLUA_OK;
  if (strcmp(text, "generational") == 0)
    *gc = LUA_GCGEN;
  else if (strcmp(text, "incremental") == 0)
    *gc = LUA_GCINC;
  else if (strcmp(text, "stop") == 0)
    *gc = LUA_GCSTOP;
  else
    return il_invalid("`gc` of the options is '%.60s', not generational, incremental or stop",
                      text);
  return ISOLUA_OK;
}

int il_options_copy(isolua_options *to, const isolua_options *from) {
  memset(to, 0, sizeof *to);
  if (from != NULL) {
    if (IL_SIZED(from, isolua_options) != ISOLUA_OK) return ISOLUA_INVALID;
    memcpy(to, from, from->size);
  }
  to->size = sizeof *to;
  return ISOLUA_OK;
}

int il_task_new(const isolua_host *host, const isolua_options *o, il_task **out) {
  il_task *task = calloc(1, sizeof *task);
  int err = ISOLUA_OK;
  if (task == NULL) return ISOLUA_MEMORY;
  task->libs = IL_LIBS_ALL;
  if (o->timeout < 0) err = il_invalid("`timeout` of the options is negative (0: none)");
  if (err == ISOLUA_OK && o->libs != NULL) err = parse_libs(o->libs, &task->libs);
  if (err == ISOLUA_OK) err = parse_gc(o->gc, &task->gc);
  if (err != ISOLUA_OK) {
    il_task_free(task);
    return err;
  }
  task->libs &= ~il_libs_forbidden(host->options.forbid);
  if (o->init != NULL && (task->init = strdup(o->init)) == NULL) {
    il_task_free(task);
    return ISOLUA_MEMORY;
  }
  *out = task;
  return ISOLUA_OK;
}

/* What the host allows; 0 is no limit. */
static void cap(il_isolate *i, const isolua_host_options *most) {
  if (most->max_memory > 0 && (i->memory == 0 || i->memory > most->max_memory))
    i->memory = most->max_memory;
  if (most->max_time > 0 && (i->timeout == 0 || i->timeout > most->max_time))
    i->timeout = most->max_time;
}

int il_task_start(isolua_host *host, const isolua_options *o, const char *name,
                  const il_start *start, il_task *task, il_isolate **isolate) {
  il_isolate *i;
  int err;
  if (il_isolate_new(host, o, name, start, &i) != ISOLUA_OK) {
    if (start != NULL) il_listeners_free(start->listeners);
    il_task_free(task);
    return ISOLUA_MEMORY;
  }
  cap(i, &host->options);
  i->task = task;
  i->body = il_vm_body;
  i->free_body = il_vm_free_task;
  il_port_retain_sender(&i->inbox); /* before it looks whether there are any */
  il_isolate_release(i);
  err = il_isolate_start(i);
  if (err == ISOLUA_CLOSED || err == ISOLUA_FULL) {
    il_handle_release(&i->inbox.tx);
    return err;
  }
  *isolate = i;
  return ISOLUA_OK; /* what else goes wrong is in its future */
}

/* -- Running ----------------------------------------------------------------------------------- */

/* Checks the options, and takes their arguments over in any case. */
static int new_task(isolua_host *host, const isolua_options *options, const void *source,
                    const void *out, isolua_options *o, il_task **task) {
  int err = il_options_copy(o, options);
  if (err == ISOLUA_OK && IL_NULL(host)) err = ISOLUA_INVALID;
  if (err == ISOLUA_OK && source == NULL) err = il_invalid("what is to be run is NULL");
  if (err == ISOLUA_OK && out == NULL) err = il_invalid("the last argument is NULL");
  if (err == ISOLUA_OK) err = il_task_new(host, o, task);
  if (err == ISOLUA_OK && o->args != NULL) {
    err = il_message_seal(o->args, true);
    if (err == ISOLUA_OK) {
      (*task)->call = o->args->item.u.msg;
      o->args->item.kind = IL_ITEM_NONE;
    } else {
      il_task_free(*task);
    }
  }
  isolua_message_free(o->args);
  o->args = NULL;
  return err;
}

static int buffer_task(isolua_host *host, const isolua_options *options, const char *source,
                       size_t length, const char *chunkname, const void *out, isolua_options *o,
                       il_task **task) {
  int err = new_task(host, options, source, out, o, task);
  if (err != ISOLUA_OK) return err;
  (*task)->source = malloc(length + 1);
  (*task)->path = strdup(chunkname != NULL ? chunkname : "=(isolua)");
  if ((*task)->source == NULL || (*task)->path == NULL) {
    il_task_free(*task);
    return ISOLUA_MEMORY;
  }
  memcpy((*task)->source, source, length);
  (*task)->length = length;
  return ISOLUA_OK;
}

static int file_task(isolua_host *host, const isolua_options *options, const char *path,
                     const void *out, isolua_options *o, il_task **task) {
  int err = new_task(host, options, path, out, o, task);
  if (err != ISOLUA_OK) return err;
  (*task)->path = strdup(path);
  if ((*task)->path != NULL) return ISOLUA_OK;
  il_task_free(*task);
  return ISOLUA_MEMORY;
}

static int function_task(isolua_host *host, const isolua_options *options, lua_CFunction function,
                         const void *out, isolua_options *o, il_task **task) {
  int err = new_task(host, options, function != NULL ? "" : NULL, out, o, task);
  if (err == ISOLUA_OK) (*task)->function = function;
  return err;
}

/* Without what says of a chunk's name which kind it is. */
static const char *name_of(const isolua_options *o, const il_task *task) {
  const char *name = o->name != NULL ? o->name : task->path;
  if (name == NULL) return "C function";
  return o->name == NULL && task->source != NULL && (*name == '=' || *name == '@') ? name + 1
                                                                                   : name;
}

static int start_run(isolua_host *host, const isolua_options *o, il_task *task,
                     isolua_future **future) {
  il_isolate *i;
  int err = il_task_start(host, o, name_of(o, task), NULL, task, &i);
  if (err != ISOLUA_OK) return err;
  il_future_retain(&i->future);
  *future = &i->future;
  il_handle_release(&i->inbox.tx);
  return ISOLUA_OK;
}

static int start_spawn(isolua_host *host, const isolua_options *o, il_task *task,
                       isolua_isolate **isolate) {
  const il_start start = {.spawned = true};
  return il_task_start(host, o, name_of(o, task), &start, task, isolate);
}

int isolua_run_buffer(isolua_host *host, const isolua_options *options, const char *source,
                      size_t length, const char *chunkname, isolua_future **future) {
  isolua_options o;
  il_task *task;
  int err;
  if (future != NULL) *future = NULL;
  err = buffer_task(host, options, source, length, chunkname, future, &o, &task);
  return err == ISOLUA_OK ? start_run(host, &o, task, future) : err;
}

int isolua_run_string(isolua_host *host, const isolua_options *options, const char *source,
                      isolua_future **future) {
  return isolua_run_buffer(host, options, source, source != NULL ? strlen(source) : 0, NULL,
                           future);
}

int isolua_run_file(isolua_host *host, const isolua_options *options, const char *path,
                    isolua_future **future) {
  isolua_options o;
  il_task *task;
  int err;
  if (future != NULL) *future = NULL;
  err = file_task(host, options, path, future, &o, &task);
  return err == ISOLUA_OK ? start_run(host, &o, task, future) : err;
}

int isolua_spawn_buffer(isolua_host *host, const isolua_options *options, const char *source,
                        size_t length, const char *chunkname, isolua_isolate **isolate) {
  isolua_options o;
  il_task *task;
  int err;
  if (isolate != NULL) *isolate = NULL;
  err = buffer_task(host, options, source, length, chunkname, isolate, &o, &task);
  return err == ISOLUA_OK ? start_spawn(host, &o, task, isolate) : err;
}

int isolua_spawn_string(isolua_host *host, const isolua_options *options, const char *source,
                        isolua_isolate **isolate) {
  return isolua_spawn_buffer(host, options, source, source != NULL ? strlen(source) : 0, NULL,
                             isolate);
}

int isolua_spawn_file(isolua_host *host, const isolua_options *options, const char *path,
                      isolua_isolate **isolate) {
  isolua_options o;
  il_task *task;
  int err;
  if (isolate != NULL) *isolate = NULL;
  err = file_task(host, options, path, isolate, &o, &task);
  return err == ISOLUA_OK ? start_spawn(host, &o, task, isolate) : err;
}

int isolua_run_function(isolua_host *host, const isolua_options *options, lua_CFunction function,
                        isolua_future **future) {
  isolua_options o;
  il_task *task;
  int err;
  if (future != NULL) *future = NULL;
  err = function_task(host, options, function, future, &o, &task);
  return err == ISOLUA_OK ? start_run(host, &o, task, future) : err;
}

int isolua_spawn_function(isolua_host *host, const isolua_options *options, lua_CFunction function,
                          isolua_isolate **isolate) {
  isolua_options o;
  il_task *task;
  int err;
  if (isolate != NULL) *isolate = NULL;
  err = function_task(host, options, function, isolate, &o, &task);
  return err == ISOLUA_OK ? start_spawn(host, &o, task, isolate) : err;
}

/* -- Futures ----------------------------------------------------------------------------------- */

/* One that is NULL has failed: whoever waits for it, in a loop too, goes on. */
static const char no_future[] = "`future` is NULL: what was to make it has failed";

int isolua_future_done(isolua_future *f) {
  return f == NULL || il_future_is_done(f);
}

int isolua_future_wait(isolua_future *f, int64_t timeout) {
  if (f == NULL) return il_invalid("%s", no_future);
  if (!il_future_wait(f, il_deadline(timeout))) return ISOLUA_TIMEOUT;
  atomic_store(&f->looked, true);
  return f->result.code;
}

int isolua_future_cancel(isolua_future *f, const char *reason) {
  il_result r = {ISOLUA_CANCELLED, NULL, NULL, NULL};
  if (f == NULL) return 0;
  r.message = strdup(reason != NULL ? reason : isolua_code_message(ISOLUA_CANCELLED));
  if (!il_future_settle(f, &r)) return 0;
  if (f->cancelled != NULL)
    f->cancelled(f);
  else if (f->isolate != NULL)
    il_isolate_kill(f->isolate, ISOLUA_CANCELLED, IL_GRACE);
  return 1;
}

int isolua_future_code(isolua_future *f) {
  return isolua_future_done(f) ? isolua_future_wait(f, 0) : -1;
}

void isolua_future_retain(isolua_future *f) {
  if (f == NULL) return;
  atomic_fetch_add(&f->retained, 1);
  il_future_retain(f);
}

/* With the last hold of users it is dropped. */
void isolua_future_release(isolua_future *f) {
  int n;
  if (f == NULL) return;
  n = atomic_load(&f->retained);
  while (n > 0 && !atomic_compare_exchange_weak(&f->retained, &n, n - 1)) continue;
  if (n == 0) il_future_drop(f);
  il_future_release(f);
}

int isolua_future_count(isolua_future *f) {
  if (f == NULL || !il_future_is_done(f) || f->result.code != ISOLUA_OK || f->result.msg == NULL)
    return 0;
  return (int)il_msg_count(f->result.msg);
}

static void read_result(isolua_future *f, int index, il_scalar *out) {
  memset(out, 0, sizeof *out);
  out->type = ISOLUA_TNONE;
  if (index >= 1 && index <= isolua_future_count(f))
    il_msg_scalar(f->result.msg, (size_t)index - 1, out);
}

int isolua_future_type(isolua_future *f, int index) {
  il_scalar v;
  read_result(f, index, &v);
  return v.type != ISOLUA_TOTHER ? v.type : isolua_value_type(isolua_future_value(f, index));
}

/* Value `index` of what it has settled to. Whoever is the first to read it makes them for all. */
static const isolua_value *value_at(isolua_future *f, int index) {
  il_values *all = atomic_load(&f->values), *none = NULL;
  if (all == NULL) {
    all = il_values_new(f->result.msg);
    if (all == NULL) return NULL;
    if (!atomic_compare_exchange_strong(&f->values, &none, all)) {
      il_values_free(all);
      all = none;
    }
  }
  return il_values_get(all, (size_t)index - 1);
}

const isolua_value *isolua_future_value(isolua_future *f, int index) {
  return index < 1 || index > isolua_future_count(f) ? NULL : value_at(f, index);
}

const isolua_value *isolua_future_error(isolua_future *f) {
  if (f == NULL || !il_future_is_done(f) || f->result.code != ISOLUA_ERROR || f->result.msg == NULL)
    return NULL;
  atomic_store(&f->looked, true);
  return value_at(f, 1);
}

int isolua_future_boolean(isolua_future *f, int index) {
  il_scalar v;
  read_result(f, index, &v);
  return v.type == ISOLUA_TBOOLEAN && v.integer != 0;
}

long long isolua_future_integer(isolua_future *f, int index) {
  il_scalar v;
  read_result(f, index, &v);
  return v.type == ISOLUA_TINTEGER || v.type == ISOLUA_TNUMBER ? v.integer : 0;
}

double isolua_future_number(isolua_future *f, int index) {
  il_scalar v;
  read_result(f, index, &v);
  return v.number;
}

const char *isolua_future_string(isolua_future *f, int index, size_t *length) {
  il_scalar v;
  read_result(f, index, &v);
  if (length != NULL) *length = v.length;
  return v.string;
}

const char *isolua_future_message(isolua_future *f) {
  if (f == NULL) return no_future;
  if (!il_future_is_done(f) || f->result.code == ISOLUA_OK) return NULL;
  atomic_store(&f->looked, true);
  return f->result.message != NULL ? f->result.message : isolua_code_message(f->result.code);
}

const char *isolua_future_traceback(isolua_future *f) {
  return f != NULL && il_future_is_done(f) ? f->result.traceback : NULL;
}
