/* future.c - settling, watching and releasing futures. */
/* SPDX-License-Identifier: MIT */
#include "future.h"

#include <stdlib.h>

#include "isolate.h"

atomic_size_t il_live_futures;

void il_result_fini(il_result *r) {
  il_msg_free(r->msg);
  free(r->message);
  free(r->traceback);
  r->msg = NULL;
  r->message = r->traceback = NULL;
}

static void future_close(il_handle *h) {
  isolua_future *f = (isolua_future *)h;
  il_result_fini(&f->result);
  if (f->isolate != NULL) il_isolate_release(f->isolate);
  il_host_release(f->host);
  il_cond_fini(&f->changed);
  il_mutex_fini(&f->lock);
  atomic_fetch_sub_explicit(&il_live_futures, 1, memory_order_relaxed);
  free(f);
}

static const il_handle_type future_type = {"isolate.future", future_close};

isolua_future *il_future_new(isolua_host *host, il_isolate *isolate) {
  isolua_future *f = calloc(1, sizeof *f);
  if (f == NULL) return NULL;
  if (il_mutex_init(&f->lock) != 0) goto fail_lock;
  if (il_cond_init(&f->changed) != 0) goto fail_cond;
  il_handle_init(&f->h, &future_type);
  f->host = host;
  il_handle_retain(&host->h);
  f->isolate = isolate;
  if (isolate != NULL) il_handle_retain(&isolate->h);
  atomic_fetch_add_explicit(&il_live_futures, 1, memory_order_relaxed);
  return f;
fail_cond:
  il_mutex_fini(&f->lock);
fail_lock:
  free(f);
  return NULL;
}

void il_future_release(isolua_future *f) {
  if (f != NULL) il_handle_release(&f->h);
}

bool il_future_is_done(isolua_future *f) {
  return atomic_load_explicit(&f->done, memory_order_acquire);
}

/* Once, and only when nobody will see to it any more. Cancelling was the user's own doing. */
static void log_if_lost(isolua_future *f) {
  const il_result *r = &f->result;
  if (!atomic_load(&f->dropped) || !atomic_load(&f->done) || atomic_load(&f->looked)) return;
  if (r->code == ISOLUA_OK || r->code == ISOLUA_CANCELLED || f->isolate == NULL) return;
  if (r->code == ISOLUA_KILLED) return; /* whoever killed it knows */
  if (atomic_exchange(&f->logged, true)) return;
  atomic_store(&f->host->failed, true);
  il_host_log(f->host, "uncaught error in isolate '%s': %s", f->isolate->name,
              r->traceback != NULL ? r->traceback
              : r->message != NULL ? r->message
                                   : isolua_code_message(r->code));
}

bool il_future_settle(isolua_future *f, il_result *r) {
  bool first;
  il_mutex_lock(&f->lock);
  first = !il_future_is_done(f);
  if (first) {
    f->result = *r;
    atomic_store(&f->done, true); /* seq_cst: against `dropped` in log_if_lost */
    il_watches_fire(&f->watches);
    il_cond_wake_all(&f->changed);
  }
  il_mutex_unlock(&f->lock);
  if (first)
    log_if_lost(f);
  else
    il_result_fini(r);
  return first;
}

void il_future_watch(isolua_future *f, il_watch *watch) {
  il_mutex_lock(&f->lock);
  il_watches_add(&f->watches, watch);
  if (il_future_is_done(f)) il_watch_fire(watch);
  il_mutex_unlock(&f->lock);
}

void il_future_unwatch(isolua_future *f, il_watch *watch) {
  il_mutex_lock(&f->lock);
  il_watches_remove(&f->watches, watch);
  il_mutex_unlock(&f->lock);
}

void il_future_drop(isolua_future *f) {
  atomic_store(&f->dropped, true);
  log_if_lost(f);
}
