/* future.c - settling, watching and releasing futures. */
/* SPDX-License-Identifier: MIT */
#include "future.h"

#include <stdlib.h>

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
  il_handle_release((il_handle *)f->isolate); /* the first member of both */
  il_handle_release((il_handle *)f->host);
  il_cond_fini(&f->changed);
  il_mutex_fini(&f->lock);
  atomic_fetch_sub_explicit(&il_live_futures, 1, memory_order_relaxed);
  free(f);
}

static const il_handle_type future_type = {"isolate.future", future_close};

isolua_future *il_future_new(struct isolua_host *host, struct isolua_isolate *isolate,
                             il_future_lost *lost) {
  isolua_future *f = calloc(1, sizeof *f);
  if (f == NULL) return NULL;
  if (il_mutex_init(&f->lock) != 0) goto fail_lock;
  if (il_cond_init(&f->changed) != 0) goto fail_cond;
  il_handle_init(&f->h, &future_type);
  f->host = host;
  il_handle_retain((il_handle *)host);
  f->lost = lost;
  f->isolate = isolate;
  if (isolate != NULL) il_handle_retain((il_handle *)isolate);
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

/* Once, and only when nobody will see to it any more. Cancelling and killing were somebody's doing. */
static void lose(isolua_future *f) {
  int code;
  if (!atomic_load(&f->dropped) || !atomic_load(&f->done) || atomic_load(&f->looked)) return;
  code = f->result.code; /* written before `done` */
  if (code == ISOLUA_OK || code == ISOLUA_CANCELLED || code == ISOLUA_KILLED) return;
  if (f->lost != NULL && !atomic_exchange(&f->logged, true)) f->lost(f);
}

bool il_future_wait(isolua_future *f, int64_t deadline) {
  il_mutex_lock(&f->lock);
  while (!il_future_is_done(f) && (deadline < 0 || il_now() < deadline))
    il_cond_wait(&f->changed, &f->lock, deadline);
  il_mutex_unlock(&f->lock);
  return il_future_is_done(f);
}

bool il_future_settle(isolua_future *f, il_result *r) {
  bool first;
  il_mutex_lock(&f->lock);
  first = !il_future_is_done(f);
  if (first) {
    f->result = *r;
    atomic_store(&f->done, true); /* seq_cst: against `dropped` in lose */
    il_watches_fire(&f->watches);
    il_cond_wake_all(&f->changed);
  }
  il_mutex_unlock(&f->lock);
  if (first)
    lose(f);
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
  lose(f);
}
