/* msg.c - messages and counted handles. */
/* SPDX-License-Identifier: MIT */
#include "msg.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "count.h"
#include "heap.h"

#ifndef IL_MSG_COPY
#define IL_MSG_COPY 4096 /* bytes up to which a copy is cheaper than a block of its own */
#endif

/* Small ones are alike, so that the memory of one that a thread has freed serves for its answer: else it would go
** back to the thread that made it, under that one's lock. */
#define IL_MSG_LEAST 120 /* bytes */

void il_handle_init(il_handle *h, const il_handle_type *type) {
  h->type = type;
  atomic_init(&h->refs, 1);
  atomic_init(&h->id, 0);
}

long long il_next_id(void) {
  static atomic_llong last;
  return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

long long il_handle_id(il_handle *h) {
  long long id = atomic_load_explicit(&h->id, memory_order_relaxed), mine;
  if (id != 0) return id;
  mine = il_next_id();
  return atomic_compare_exchange_strong_explicit(&h->id, &id, mine, memory_order_relaxed,
                                                 memory_order_relaxed)
           ? mine
           : id;
}

void il_handle_retain(il_handle *h) {
  if (h->type->retain != NULL)
    h->type->retain(h);
  else
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
}

void il_handle_hold(il_handle *h, int n) {
  atomic_fetch_add_explicit(&h->refs, (unsigned)n, memory_order_acq_rel);
}

/* acq_rel: what every holder did with it happens before it is freed. */
void il_handle_release(il_handle *h) {
  if (h != NULL && h->type->release != NULL)
    h->type->release(h);
  else if (h != NULL && atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1)
    h->type->close(h);
}

il_msg *il_msg_new(unsigned char *data, size_t len, size_t cap, il_handle **handles,
                   size_t nhandles, int *taken) {
  size_t behind = nhandles * sizeof(il_handle *);
  int take = len > IL_MSG_COPY;
  size_t size = sizeof(il_msg) + behind + (take ? 0 : len);
  il_msg *m = malloc(size > IL_MSG_LEAST ? size : IL_MSG_LEAST);
  if (m == NULL) return NULL;
  m->next = NULL;
  m->len = len;
  m->nhandles = nhandles;
  m->unheld = NULL;
  m->handles = (il_handle **)(m + 1);
  if (nhandles > 0) memcpy(m->handles, handles, behind);
  m->cap = take ? cap : 0;
  m->data = take ? data : (unsigned char *)(m + 1) + behind;
  if (!take && len > 0) memcpy(m->data, data, len);
  *taken = take;
  il_count_message(1, (long)len);
  return m;
}

static il_handle *clone_handle(il_handle *h) {
  if (h == NULL) return NULL; /* a buffer that was moved out */
  if (h->type->clone != NULL) return h->type->clone(h);
  il_handle_retain(h);
  return h;
}

/* The handles of a new clone: false, and those from the failed one on are forgotten. */
static bool clone_handles(il_msg *copy, const il_msg *m) {
  for (size_t i = 0; i < m->nhandles; i++) {
    copy->handles[i] = clone_handle(m->handles[i]);
    if (copy->handles[i] == NULL && m->handles[i] != NULL) {
      copy->nhandles = i;
      return false;
    }
  }
  return true;
}

il_msg *il_msg_clone(const il_msg *m) {
  il_msg *copy;
  unsigned char *data = m->data;
  int taken;
  if (m->cap > 0) { /* a large one has a block of its own */
    data = il_heap_resize(NULL, 0, m->len);
    if (data == NULL) return NULL;
    memcpy(data, m->data, m->len);
  }
  copy = il_msg_new(data, m->len, m->len, m->handles, m->nhandles, &taken);
  if (copy == NULL) {
    if (m->cap > 0) il_heap_resize(data, m->len, 0);
    return NULL;
  }
  if (clone_handles(copy, m)) return copy;
  il_msg_free(copy);
  return NULL;
}

void il_msg_unhold(il_msg *m, il_handle *h) {
  m->unheld = h;
  for (size_t i = 0; i < m->nhandles; i++)
    if (m->handles[i] == h) il_handle_release(h);
}

void il_msg_free(il_msg *m) {
  if (m == NULL) return;
  for (size_t i = 0; i < m->nhandles; i++)
    if (m->handles[i] != m->unheld) il_handle_release(m->handles[i]);
  if (m->cap > 0) il_heap_resize(m->data, m->cap, 0);
  il_count_message(-1, -(long)m->len);
  free(m);
}
