/* control.c - listeners, pauses and questions of an isolate. */
/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <stdlib.h>
#include <string.h>

#include "isolua.h"

int il_control_init(il_control *c, isolua_future *gone, il_msg *(*make)(isolua_future *gone)) {
  memset(c, 0, sizeof *c);
  c->gone = gone;
  c->make = make;
  c->last = &c->questions;
  return il_mutex_init(&c->lock) == 0 ? ISOLUA_OK : ISOLUA_MEMORY;
}

static void free_keys(il_key *keys, int n) {
  for (int i = 0; i < n; i++) free((char *)keys[i].text);
  free(keys);
}

void il_question_settle(il_control *c, il_question *q, il_result *r) {
  if (!il_future_settle(q->answer, r)) /* it was cancelled */
    atomic_fetch_sub_explicit(&c->cancelled, 1, memory_order_acq_rel);
  il_future_release(q->answer);
  free(q->text);
  free(q);
}

static void refuse(il_control *c, il_question *q) {
  il_result r = {ISOLUA_CLOSED, NULL, NULL, NULL};
  il_question_settle(c, q, &r);
}

static void refuse_all(il_control *c) {
  il_question *q;
  while ((q = il_control_take(c, IL_TAKE_ALL)) != NULL) refuse(c, q);
}

void il_control_fini(il_control *c) {
  refuse_all(c);
  il_listeners_free(c->listeners);
  free_keys(c->keys, atomic_load(&c->pauses));
  il_mutex_fini(&c->lock);
}

/* -- Pauses ------------------------------------------------------------------------------------ */

static bool same_key(const il_key *a, const il_key *b) {
  if (a->text == NULL || b->text == NULL) return a->text == b->text && a->number == b->number;
  return strcmp(a->text, b->text) == 0;
}

static int find_key(const il_control *c, const il_key *key) {
  int n = atomic_load_explicit(&c->pauses, memory_order_relaxed);
  for (int i = 0; i < n; i++)
    if (same_key(&c->keys[i], key)) return i;
  return -1;
}

/* Room for one key more, made without the lock. */
static bool reserve_key(il_control *c) {
  il_key *keys = NULL, *old;
  size_t room;
  il_mutex_lock(&c->lock);
  room = c->room;
  il_mutex_unlock(&c->lock);
  keys = malloc((room + 8) * sizeof *keys);
  if (keys == NULL) return false;
  il_mutex_lock(&c->lock);
  old = keys;
  if (c->room <= room) {
    old = c->keys;
    if (old != NULL) memcpy(keys, old, c->room * sizeof *keys);
    c->keys = keys;
    c->room = room + 8;
  }
  il_mutex_unlock(&c->lock);
  free(old);
  return true;
}

enum { NO_ROOM = -1 };

static int pause_locked(il_control *c, il_key *key) {
  int n = atomic_load_explicit(&c->pauses, memory_order_relaxed);
  if (c->ended) return ISOLUA_CLOSED;
  if (find_key(c, key) >= 0) return ISOLUA_OK;
  if ((size_t)n == c->room) return NO_ROOM;
  c->keys[n] = *key;
  key->text = NULL; /* it is the list's */
  atomic_store_explicit(&c->pauses, n + 1, memory_order_release);
  return ISOLUA_OK;
}

int il_control_pause(il_control *c, const il_key *key) {
  il_key copy = *key;
  int err;
  if (key->text != NULL && (copy.text = strdup(key->text)) == NULL) return ISOLUA_MEMORY;
  do {
    il_mutex_lock(&c->lock);
    err = pause_locked(c, &copy);
    il_mutex_unlock(&c->lock);
  } while (err == NO_ROOM && reserve_key(c));
  free((char *)copy.text);
  return err == NO_ROOM ? ISOLUA_MEMORY : err;
}

void il_control_resume(il_control *c, const il_key *key) {
  il_key *all = NULL, one = {NULL, 0};
  int n, i;
  il_mutex_lock(&c->lock);
  n = atomic_load_explicit(&c->pauses, memory_order_relaxed);
  if (key == NULL) {
    all = c->keys;
    c->keys = NULL;
    c->room = 0;
    atomic_store_explicit(&c->pauses, 0, memory_order_release);
  } else if ((i = find_key(c, key)) >= 0) {
    one = c->keys[i];
    c->keys[i] = c->keys[n - 1];
    atomic_store_explicit(&c->pauses, n - 1, memory_order_release);
  }
  il_mutex_unlock(&c->lock);
  if (all != NULL) free_keys(all, n);
  free((char *)one.text);
}

/* -- Questions --------------------------------------------------------------------------------- */

int il_control_ask(il_control *c, isolua_future *answer, enum il_asks what, char *text) {
  il_question *q = malloc(sizeof *q);
  bool ended;
  if (q == NULL) {
    free(text);
    return ISOLUA_MEMORY;
  }
  il_future_retain(answer);
  *q = (il_question){answer, what, text, NULL};
  il_mutex_lock(&c->lock);
  ended = c->ended;
  if (!ended) {
    *c->last = q;
    c->last = &q->next;
    atomic_store_explicit(&c->asked, true, memory_order_release);
    if (what != IL_PING_IDLE) atomic_store_explicit(&c->pinged, true, memory_order_release);
  }
  il_mutex_unlock(&c->lock);
  if (ended) refuse(c, q);
  return ISOLUA_OK;
}

IL_IN_SIGNAL bool il_control_owes(il_control *c) {
  return atomic_load_explicit(&c->pinged, memory_order_acquire) ||
         atomic_load_explicit(&c->cancelled, memory_order_acquire) > 0;
}

static bool is_taken(const il_question *q, enum il_takes which) {
  return which == IL_TAKE_ALL ||
         (q->what != IL_PING_IDLE && (which != IL_TAKE_NESTED || q->what != IL_EVAL));
}

static bool is_pinged(const il_question *q) {
  while (q != NULL && !is_taken(q, IL_TAKE_BUSY)) q = q->next;
  return q != NULL;
}

/* One at a time: an answer may take long, and the others are answered meanwhile. */
il_question *il_control_take(il_control *c, enum il_takes which) {
  il_question *q, **at;
  il_mutex_lock(&c->lock);
  for (at = &c->questions; (q = *at) != NULL; at = &q->next)
    if (is_taken(q, which)) break;
  if (q != NULL) {
    *at = q->next;
    if (q->next == NULL) c->last = at;
  }
  atomic_store_explicit(&c->pinged, is_pinged(c->questions), memory_order_release);
  atomic_store_explicit(&c->asked, c->questions != NULL, memory_order_release);
  il_mutex_unlock(&c->lock);
  return q;
}

void il_control_end(il_control *c) {
  il_mutex_lock(&c->lock);
  c->ended = true;
  il_mutex_unlock(&c->lock);
  il_control_resume(c, NULL);
  refuse_all(c);
}

/* -- Listeners --------------------------------------------------------------------------------- */

void il_listeners_free(il_listener *l) {
  while (l != NULL) {
    il_listener *next = l->next;
    il_msg_free(l->value);
    il_handle_release(&l->to->tx);
    free(l);
    l = next;
  }
}

/* A message that is taken over goes into the port, whatever its capacity. */
static void deliver(il_port *to, il_msg *m) {
  il_item item = {.kind = IL_ITEM_MSG, .u = {.msg = m}};
  if (m == NULL) return; /* no memory for it */
  if (il_port_send(to, &item, true) != IL_SENT) il_item_fini(&item);
}

static void tell_end(il_control *c, il_listener *l) {
  il_msg *m = l->value;
  l->value = NULL;
  deliver(l->to, m != NULL ? m : c->make(c->gone));
}

void il_control_listen(il_control *c, il_listener *l) {
  il_listener *old = NULL, **at;
  bool told;
  il_mutex_lock(&c->lock);
  told = c->told;
  if (!told) {
    for (at = &c->listeners; *at != NULL; at = &(*at)->next)
      if ((*at)->to == l->to && (*at)->error == l->error) break;
    old = *at;
    l->next = old != NULL ? old->next : NULL;
    *at = l;
  }
  il_mutex_unlock(&c->lock);
  if (old != NULL) old->next = NULL;
  il_listeners_free(old);
  if (!told) return;
  if (!l->error) tell_end(c, l);
  l->next = NULL;
  il_listeners_free(l);
}

void il_control_listen_first(il_control *c, il_listener *l) {
  il_mutex_lock(&c->lock);
  l->next = c->listeners;
  c->listeners = l;
  il_mutex_unlock(&c->lock);
}

void il_control_unlisten(il_control *c, const il_port *to) {
  il_listener *gone = NULL, **at;
  il_mutex_lock(&c->lock);
  for (at = &c->listeners; *at != NULL;) {
    il_listener *l = *at;
    if (l->to == to) {
      *at = l->next;
      l->next = gone;
      gone = l;
    } else {
      at = &l->next;
    }
  }
  il_mutex_unlock(&c->lock);
  il_listeners_free(gone);
}

bool il_control_hears_errors(il_control *c) {
  bool hears = false;
  il_mutex_lock(&c->lock);
  for (const il_listener *l = c->listeners; l != NULL; l = l->next) hears = hears || l->error;
  il_mutex_unlock(&c->lock);
  return hears;
}

/* The `n`th listener for errors, with a hold on its port; NULL: there are fewer. */
static il_port *error_listener(il_control *c, size_t n) {
  il_port *to = NULL;
  il_mutex_lock(&c->lock);
  for (il_listener *l = c->listeners; l != NULL && to == NULL; l = l->next)
    if (l->error && n-- == 0) to = l->to;
  if (to != NULL) il_port_retain_sender(to);
  il_mutex_unlock(&c->lock);
  return to;
}

void il_control_tell_error(il_control *c, const il_msg *m) {
  il_port *to;
  for (size_t n = 0; (to = error_listener(c, n)) != NULL; n++) {
    deliver(to, il_msg_clone(m));
    il_handle_release(&to->tx);
  }
}

void il_control_tell_end(il_control *c) {
  il_result r = {ISOLUA_OK, NULL, NULL, NULL};
  il_listener *all;
  bool first;
  il_mutex_lock(&c->lock);
  first = !c->told;
  c->told = true; /* before `gone`: who knows of the end and listens then is told at once */
  all = c->listeners;
  c->listeners = NULL;
  il_mutex_unlock(&c->lock);
  if (!first) return;
  il_future_settle(c->gone, &r);
  for (il_listener *l = all; l != NULL; l = l->next)
    if (!l->error) tell_end(c, l);
  il_listeners_free(all);
}
