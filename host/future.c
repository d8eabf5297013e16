/* future.c - settling, watching and releasing futures. */
/* SPDX-License-Identifier: MIT */
#include "future.h"
#include "count.h"
#include "value.h"

#include <stdlib.h>

void il_result_fini(il_result *r) {
  il_msg_free(r->msg);
  free(r->message);
  free(r->traceback);
  r->msg = NULL;
  r->message = r->traceback = NULL;
}

void il_future_fini(isolua_future *f) {
  il_values_free(atomic_load(&f->values));
  il_result_fini(&f->result);
}

static void future_close(il_handle *h) {
  isolua_future *f = (isolua_future *)h;
  il_count_add(IL_FUTURES, -1);
  if (f->keep != NULL) {
    il_handle_release(f->keep);
    return;
  }
  il_future_fini(f);
  if (f->behind != NULL) il_handle_release(f->behind);
  il_handle_release((il_handle *)f->host); /* its first member */
  free(f);
}

static const il_handle_type future_type = {.name = "isolate.future", .close = future_close};

void il_future_init(isolua_future *f, struct isolua_host *host, il_handle *keep,
                    il_future_lost *lost) {
  il_handle_init(&f->h, &future_type);
  atomic_store_explicit(&f->h.refs, 0, memory_order_relaxed);
  f->host = host;
  f->lost = lost;
  atomic_init(&f->values, NULL);
  f->keep = keep;
}

void il_future_retain(isolua_future *f) {
  if (atomic_fetch_add_explicit(&f->h.refs, 1, memory_order_relaxed) > 0) return;
  il_count_add(IL_FUTURES, 1);
  il_handle_retain(f->keep != NULL ? f->keep : (il_handle *)f->host);
}

isolua_future *il_future_new(struct isolua_host *host, il_future_lost *lost) {
  isolua_future *f = calloc(1, sizeof *f);
  if (f == NULL) return NULL;
  il_future_init(f, host, NULL, lost);
  il_future_retain(f);
  return f;
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
  il_waiter waiter;
  il_watch watch;
  if (il_future_is_done(f) || (deadline >= 0 && deadline <= il_now())) return il_future_is_done(f);
  il_waiter_init(&waiter);
  il_watch_init(&watch, &waiter);
  il_awake_add(1);
  il_future_watch(f, &watch);
  while (!il_future_is_done(f) && il_waiter_sleep(&waiter, deadline)) continue;
  il_future_unwatch(f, &watch);
  il_awake_add(-1);
  return il_future_is_done(f);
}

bool il_future_settle(isolua_future *f, il_result *r) {
  il_sleeper *sleeper = NULL;
  bool first, waited;
  il_lock_take(&f->lock);
  first = !il_future_is_done(f);
  if (first) {
    f->result = *r;
    /* Who joins a spawned isolate gets its error, and may do so before it is printed here. */
    if (atomic_load(&f->dropped) && f->watches.first != NULL) atomic_store(&f->looked, true);
    atomic_store(&f->done, true); /* seq_cst: against `dropped` in lose */
    for (il_watch *w = f->watches.first; w != NULL; w = w->next) {
      il_sleeper_wake(sleeper);
      sleeper = il_watch_signal(w, &waited);
    }
  }
  il_lock_give(&f->lock);
  il_sleeper_wake(sleeper);
  if (first)
    lose(f);
  else
    il_result_fini(r);
  return first;
}

void il_future_watch(isolua_future *f, il_watch *watch) {
  il_lock_take(&f->lock);
  il_watches_add(&f->watches, watch);
  if (il_future_is_done(f)) il_watch_fire(watch);
  il_lock_give(&f->lock);
}

void il_future_unwatch(isolua_future *f, il_watch *watch) {
  il_lock_take(&f->lock);
  il_watches_remove(&f->watches, watch);
  il_lock_give(&f->lock);
}

void il_future_drop(isolua_future *f) {
  atomic_store(&f->dropped, true);
  lose(f);
}
