/* host.c - opening and closing hosts. */
/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "build.h"
#include "cell.h"
#include "count.h"
#include "err.h"
#include "frozen.h"
#include "heap.h"
#include "isolate.h"
#include "pool.h"
#include "vm_host.h"

#define LOG_MAX 8192 /* bytes of one message */

static void default_log(void *ud, const char *text, size_t length) {
  (void)ud, (void)text, (void)length;
}

static void default_print(void *ud, long long isolate, const char *name, const char *text,
                          size_t length) {
  (void)ud, (void)isolate, (void)name;
  fwrite(text, 1, length, stdout);
}

static int fill_options(isolua_host_options *to, const isolua_host_options *from) {
  memset(to, 0, sizeof *to);
  if (from != NULL) {
    if (IL_SIZED(from, isolua_host_options) != ISOLUA_OK) return ISOLUA_INVALID;
    memcpy(to, from, from->size);
  }
  to->size = sizeof *to;
  if (to->log == NULL) to->log = default_log;
  if (to->print == NULL) to->print = default_print;
  if (to->kill_signal < -1) return il_invalid("`kill_signal` of the options is below -1");
  if (to->spares < -1) return il_invalid("`spares` of the options is below -1");
  if (to->max_time < 0) return il_invalid("`max_time` of the options is negative");
  if (to->forbid > ISOLUA_SANDBOX)
    return il_invalid("`forbid` of the options has other flags than ISOLUA_NO_*: %u", to->forbid);
  if ((to->forbid & ISOLUA_NO_FILES) != 0) to->forbid |= ISOLUA_NO_IO | ISOLUA_NO_C_MODULES;
  if (to->kill_signal == 0) to->kill_signal = SIGURG;
  if (to->spares == 0) to->spares = il_cpu_count() + 1;
  return ISOLUA_OK;
}

static void host_free(il_handle *h) {
  isolua_host *host = (isolua_host *)h;
  il_host_watch(host, NULL);
  if (host->free_std != NULL) host->free_std(atomic_load(&host->std));
  il_workers_fini(&host->workers);
  il_watchdog_fini(&host->watchdog);
  if (host->options.kill_signal > 0) il_signal_remove(host->options.kill_signal);
  il_pump_fini(&host->pump);
  il_cond_fini(&host->changed);
  il_mutex_fini(&host->lock);
  free(host);
}

#define KICK ((int64_t)1000000) /* ns */

static int64_t kick(il_alarm *a) {
  isolua_host *host = (isolua_host *)((char *)a - offsetof(isolua_host, kick));
  return il_workers_kick(&host->workers) ? il_now() + KICK : -1;
}

void il_host_kick_later(isolua_host *host) {
  il_alarm_set(&host->watchdog, &host->kick, il_now() + KICK);
}

static void tell(isolua_thread callback, void *ud, int kind) {
  if (callback != NULL) callback(ud, kind);
}

/* il_workers.tell and il_watchdog.tell: its threads tell the embedder of themselves. */
static void tell_isolates(void *p, bool begins) {
  const isolua_host_options *o = p;
  tell(begins ? o->thread_start : o->thread_end, o->thread_ud, ISOLUA_THREAD_ISOLATES);
}

static void tell_watchdog(void *p, bool begins) {
  const isolua_host_options *o = p;
  tell(begins ? o->thread_start : o->thread_end, o->thread_ud, ISOLUA_THREAD_WATCHDOG);
}

static const il_handle_type host_type = {.name = "isolate.host", .close = host_free};

int isolua_host_new(const isolua_host_options *options, isolua_host **out) {
  int err;
  isolua_host *host;
  if (out == NULL) return il_invalid("`host` is NULL");
  *out = NULL;
  host = calloc(1, sizeof *host);
  if (host == NULL) return ISOLUA_MEMORY;
  err = fill_options(&host->options, options);
  if (err != ISOLUA_OK) goto fail_options;
  err = ISOLUA_MEMORY;
  if (il_mutex_init(&host->lock) != 0) goto fail_options;
  if (il_cond_init(&host->changed) != 0) goto fail_cond;
  if (il_pump_init(&host->pump, host->options.wake, host->options.wake_ud) != ISOLUA_OK)
    goto fail_pump;
  if (il_watchdog_init(&host->watchdog) != ISOLUA_OK) goto fail_watchdog;
  host->watchdog.tell = tell_watchdog;
  host->watchdog.tell_ud = &host->options;
  host->workers.tell = tell_isolates;
  host->workers.tell_ud = &host->options;
  host->workers.make = il_spare_make;
  host->workers.drop = il_spare_drop;
  host->workers.ud = host;
  host->workers.stack = IL_STACK;
  host->workers.sig = host->options.kill_signal;
  host->workers.keep = host->options.spares;
  if (il_workers_init(&host->workers) != ISOLUA_OK) goto fail_workers;
  il_handle_init(&host->h, &host_type);
  il_alarm_init(&host->kick, &host->h, kick);
  if (il_watchdog_reserve(&host->watchdog) != ISOLUA_OK) goto fail_vm;
  il_entropy(host->seed, sizeof host->seed);
  err = il_vm_host_init(host);
  if (err != ISOLUA_OK) goto fail_vm;
  if (host->options.kill_signal > 0 &&
      il_signal_install(host->options.kill_signal, il_vm_on_signal) != 0) {
    err = il_invalid("`kill_signal` of the options: signal %d cannot be caught",
                     host->options.kill_signal);
    goto fail_signal;
  }
  *out = host;
  return ISOLUA_OK;
fail_signal:
  host->free_std(atomic_load(&host->std));
fail_vm:
  il_workers_fini(&host->workers);
fail_workers:
  il_watchdog_fini(&host->watchdog);
fail_watchdog:
  il_pump_fini(&host->pump);
fail_pump:
  il_cond_fini(&host->changed);
fail_cond:
  il_mutex_fini(&host->lock);
fail_options:
  free(host);
  return err;
}

void il_host_release(isolua_host *host) {
  il_handle_release(&host->h);
}

void il_host_log(isolua_host *host, const char *format, ...) {
  char text[LOG_MAX];
  va_list args;
  int n;
  if (atomic_load(&host->closed)) return;
  va_start(args, format);
  n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (n < 0) return;
  if (n >= LOG_MAX) n = LOG_MAX - 1;
  host->options.log(host->options.log_ud, text, (size_t)n);
}

void il_host_watch(isolua_host *host, il_port *to) {
  il_port *old;
  if (to != NULL) il_port_retain_sender(to);
  il_mutex_lock(&host->lock);
  old = host->watcher;
  host->watcher = to;
  il_mutex_unlock(&host->lock);
  if (old != NULL) il_handle_release(&old->tx);
}

il_port *il_host_watcher(isolua_host *host) {
  il_port *to;
  il_mutex_lock(&host->lock);
  to = host->watcher;
  if (to != NULL) il_port_retain_sender(to);
  il_mutex_unlock(&host->lock);
  return to;
}

static const char *message_of(const il_result *r) {
  return r->message != NULL ? r->message : isolua_code_message(r->code);
}

static const char *text_of(const il_result *r) {
  return r->traceback != NULL ? r->traceback : message_of(r);
}

/* `what`: "", the isolate itself. False: nobody watches. */
static bool tell_watcher(isolua_host *host, const il_isolate *i, const char *what,
                         const il_result *r) {
  il_port *to = il_host_watcher(host);
  il_field fields[] = {{"id", NULL, i != NULL ? i->id : 0},
                       {"name", i != NULL ? i->name : "", 0},
                       {"what", what, 0},
                       {"ends", NULL, i != NULL && i->spawned && what[0] == '\0'},
                       {"message", message_of(r), 0},
                       {"traceback", text_of(r), 0}};
  il_item item = {.kind = IL_ITEM_MSG};
  bool told = false;
  if (to == NULL) return false;
  item.u.msg = il_build_table(fields, sizeof fields / sizeof fields[0]);
  if (item.u.msg != NULL) told = il_port_send(to, &item, true) == IL_SENT;
  if (!told && item.u.msg != NULL) il_item_fini(&item);
  il_handle_release(&to->tx);
  return told;
}

/* `isolate`: its id; 0: none. */
static void report(isolua_host *host, long long isolate, const char *name, const char *subject,
                   const il_result *r) {
  const isolua_host_options *o = &host->options;
  if (atomic_load(&host->closed)) return;
  if (o->error != NULL)
    o->error(o->error_ud, isolate, name, r->code, message_of(r), r->traceback);
  else
    il_host_log(host, "uncaught error in %s: %s", subject, text_of(r));
}

void il_host_uncaught_job(isolua_host *host, const char *job, const il_result *r) {
  if (!tell_watcher(host, NULL, job, r)) report(host, 0, job, job, r);
}

void il_host_uncaught(const il_isolate *i, const char *what, const il_result *r) {
  char subject[512];
  if (tell_watcher(i->host, i, what != NULL ? what : "", r)) return;
  if (what != NULL)
    snprintf(subject, sizeof subject, "%s of '%s'", what, i->name);
  else
    snprintf(subject, sizeof subject, "isolate '%s'", i->name);
  report(i->host, i->id, i->name, subject, r);
}

/* -- Closing ----------------------------------------------------------------------------------- */

/* An isolate that is not told to end yet, with a hold for the caller; NULL: none is left. */
static il_isolate *next_to_kill(isolua_host *host) {
  il_isolate *i;
  il_mutex_lock(&host->lock);
  for (i = host->first; i != NULL; i = i->next)
    if (!i->is_main && atomic_load_explicit(&i->dying, memory_order_acquire) == 0) break;
  if (i != NULL) il_handle_retain(&i->h);
  il_mutex_unlock(&host->lock);
  return i;
}

void il_host_drain(isolua_host *host) {
  il_mutex_lock(&host->lock);
  host->draining = true;
  il_mutex_unlock(&host->lock);
}

static bool any_left_locked(isolua_host *host, enum il_whom whom) {
  if (whom == IL_ALL) return host->unsettled > 0;
  if (atomic_load(&host->busy) > 0) return true;
  return whom == IL_USERS ? host->unsettled > host->serving : host->awaited > 0;
}

bool il_host_wait(isolua_host *host, enum il_whom whom, int64_t deadline) {
  bool left;
  atomic_store(&host->waited, true);
  il_mutex_lock(&host->lock);
  while ((left = any_left_locked(host, whom)) && (deadline < 0 || il_now() < deadline))
    il_cond_wait(&host->changed, &host->lock, deadline);
  il_mutex_unlock(&host->lock);
  return !left;
}

void il_host_busy(isolua_host *host, bool is) {
  if (is) {
    atomic_fetch_add(&host->busy, 1);
    return;
  }
  atomic_fetch_sub(&host->busy, 1);
  if (!atomic_load(&host->waited)) return;
  il_mutex_lock(&host->lock);
  il_cond_wake_all(&host->changed);
  if (host->main != NULL && host->draining) il_waiter_wake(&host->main->waiter);
  il_mutex_unlock(&host->lock);
}

static size_t stuck(isolua_host *host) {
  size_t n;
  il_mutex_lock(&host->lock);
  n = host->stuck;
  il_mutex_unlock(&host->lock);
  return n;
}

size_t il_host_list(isolua_host *host, il_isolate **all, size_t room) {
  size_t n = 0;
  il_mutex_lock(&host->lock);
  for (il_isolate *i = host->first; i != NULL; i = i->next) {
    if (n < room) {
      il_handle_retain(&i->h);
      all[n] = i;
    }
    n++;
  }
  il_mutex_unlock(&host->lock);
  return n;
}

il_isolate *il_host_find(isolua_host *host, const char *name) {
  il_isolate *i;
  il_mutex_lock(&host->lock);
  for (i = host->first; i != NULL; i = i->next)
    if (strcmp(i->name, name) == 0) break;
  if (i != NULL) il_handle_retain(&i->h);
  il_mutex_unlock(&host->lock);
  return i;
}

#define NAMES_MAX 1024 /* bytes of names in one message */

bool il_host_is_closing(isolua_host *host) {
  bool closing;
  il_mutex_lock(&host->lock);
  closing = host->closing;
  il_mutex_unlock(&host->lock);
  return closing;
}

/* Nothing starts any more. What ends by itself within the grace, and in time, was not still running. */
static void let_end(isolua_host *host, int64_t deadline) {
  int64_t grace = il_deadline(IL_GRACE);
  il_mutex_lock(&host->lock);
  host->closing = true;
  il_mutex_unlock(&host->lock);
  il_host_wait(host, IL_USERS, deadline >= 0 && deadline < grace ? deadline : grace);
}

/* Kills all, and gives their names, as many as there is room for. */
static size_t kill_all(isolua_host *host, char *names, size_t size) {
  size_t count = 0, len = 0;
  il_isolate *i;
  names[0] = '\0';
  while ((i = next_to_kill(host)) != NULL) {
    il_isolate_kill(i, ISOLUA_KILLED, IL_GRACE);
    if (i->hooks == NULL) count++;
    if (i->hooks == NULL && len + 1 < size)
      len += (size_t)snprintf(names + len, size - len, "%s'%s'", count > 1 ? ", " : "", i->name);
    il_isolate_release(i);
  }
  if (len >= size && size > 4) memcpy(names + size - 4, "...", 4);
  return count;
}

/* Threads that are left use the host: it then stays, with all that belongs to it. */
int isolua_host_close(isolua_host *host, int64_t timeout) {
  int64_t deadline = il_deadline(timeout);
  char names[NAMES_MAX];
  size_t left, killed;
  if (host == NULL) return ISOLUA_OK;
  if (il_pump_is_mine(&host->pump)) return il_invalid("a callback of isolua_pump closes its host");
  if (il_vm_is_inside(host)) return il_invalid("an isolate closes its host");
  let_end(host, deadline);
  killed = kill_all(host, names, sizeof names);
  if (killed > 0)
    il_host_log(host, "%zu isolate%s still running at the end: %s", killed, killed > 1 ? "s" : "",
                names);
  il_host_wait(host, IL_ALL, deadline);
  il_workers_trim(&host->workers, true);
  if (deadline >= 0 && deadline < il_deadline(IL_GRACE)) deadline = il_deadline(IL_GRACE);
  do { /* a thread may turn out to be stuck while it is waited for */
    int64_t soon = il_deadline(IL_GRACE);
    left = il_workers_wait(&host->workers, stuck(host),
                           deadline >= 0 && deadline < soon ? deadline : soon);
  } while (left > stuck(host) && (deadline < 0 || il_now() < deadline));
  il_pump_close(&host->pump);
  il_watchdog_stop(&host->watchdog);
  il_heap_trim();
  if (left > 0 || !il_host_wait(host, IL_ALL, 0)) return ISOLUA_STUCK;
  atomic_store(&host->closed, true);
  il_host_release(host);
  return ISOLUA_OK;
}

/* Isolates that are not about to end. */
static size_t running(isolua_host *host) {
  size_t n = 0;
  il_mutex_lock(&host->lock);
  for (il_isolate *i = host->first; i != NULL; i = i->next)
    n += !i->is_main && atomic_load_explicit(&i->dying, memory_order_acquire) == 0;
  il_mutex_unlock(&host->lock);
  return n;
}

/* A thread that ends is told by `ended`; those that begin meanwhile belong to isolates that run. */
void il_host_settle(isolua_host *host, bool dying, int64_t deadline) {
  il_workers_drain(&host->workers, true);
  for (;;) {
    size_t n = running(host) + dying, left = il_workers_wait(&host->workers, n, deadline);
    if (left <= running(host) + dying || (deadline >= 0 && il_now() >= deadline)) break;
  }
  il_workers_drain(&host->workers, false);
}

void isolua_count(isolua_counts *c) {
  c->isolates = atomic_load(&il_live_isolates);
  c->ports = atomic_load(&il_live_ports);
  c->futures = il_counted(IL_FUTURES);
  c->messages = il_counted(IL_MESSAGES);
  c->bytes = il_counted(IL_BYTES);
  c->shared = atomic_load(&il_live_cells) + atomic_load(&il_live_blocks) +
              atomic_load(&il_live_frozen) + atomic_load(&il_live_pools);
  c->threads = atomic_load(&il_live_threads);
}
