/* port.c - queues of messages between isolates. */
/* SPDX-License-Identifier: MIT */
#include "port.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "isolua.h"

/* From this capacity on the owner takes all at once. */
#define IN_ONE 16

atomic_size_t il_live_ports;

void il_item_fini(il_item *item) {
  if (item->kind == IL_ITEM_MSG) il_msg_free(item->u.msg);
  item->kind = IL_ITEM_NONE;
}

/* -- Queues of items --------------------------------------------------------------------------- */

/* The last chunk has room. */
static void put(il_chunks *q, const il_item *item) {
  q->last->items[q->last->end++] = *item;
  q->count++;
}

static void append(il_chunks *q, il_chunk *c) {
  c->next = NULL;
  c->first = c->end = 0;
  if (q->last != NULL)
    q->last->next = c;
  else
    q->first = c;
  q->last = c;
}

static bool has_room(const il_chunks *q) {
  return q->last != NULL && q->last->end < IL_CHUNK;
}

/* Takes the oldest; a chunk that is empty then goes to *drained. There is one. */
static void take(il_chunks *q, il_item *item, il_chunk **drained) {
  il_chunk *c = q->first;
  *item = c->items[c->first++];
  *drained = NULL;
  q->count--;
  if (c->first < c->end) return;
  q->first = c->next;
  if (q->first == NULL) q->last = NULL;
  *drained = c;
}

static size_t queued(const il_port *p) {
  return atomic_load_explicit(&p->queued, memory_order_relaxed);
}

/* What the owner has taken and not received: it grows under the lock only, so elsewhere it may look larger
** than it is, never smaller. */
static size_t taken(const il_port *p) {
  return atomic_load_explicit(&p->taken, memory_order_relaxed);
}

/* The line of `taken` is the owner's: it is read anew only when there seems to be no room. */
static bool has_space_locked(il_port *p) {
  if (queued(p) + p->seen < p->capacity) return true;
  if (!p->in_one) return false;
  p->seen = taken(p);
  return queued(p) + p->seen < p->capacity;
}

static void set_queued_locked(il_port *p, size_t n) {
  atomic_store_explicit(&p->queued, n, memory_order_relaxed);
}

/* There is room: make_room_locked. */
static void put_locked(il_port *p, const il_item *item) {
  if (p->head.kind == IL_ITEM_NONE)
    p->head = *item;
  else
    put(&p->queue, item);
  set_queued_locked(p, queued(p) + 1);
}

/* The oldest. There is one. */
static void take_locked(il_port *p, il_item *item, il_chunk **drained) {
  *item = p->head;
  *drained = NULL;
  if (p->queue.count > 0)
    take(&p->queue, &p->head, drained);
  else
    p->head.kind = IL_ITEM_NONE;
  set_queued_locked(p, queued(p) - 1);
}

/* All of them: *head is the oldest (NONE: there are none), *rest the others. */
static void take_all_locked(il_port *p, il_item *head, il_chunks *rest) {
  *head = p->head;
  *rest = p->queue;
  p->head.kind = IL_ITEM_NONE;
  memset(&p->queue, 0, sizeof p->queue);
  set_queued_locked(p, 0);
}

/* Frees all of it: no lock is held. */
static void drop(il_chunks *q) {
  while (q->first != NULL) {
    il_chunk *c = q->first;
    q->first = c->next;
    for (uint32_t i = c->first; i < c->end; i++) il_item_fini(&c->items[i]);
    free(c);
  }
  q->last = NULL;
  q->count = 0;
}

/* -- Making and freeing ------------------------------------------------------------------------ */

il_port *il_port_of_sender(il_handle *h) {
  return (il_port *)((char *)h - offsetof(il_port, tx));
}

/* What is queued in it may hold the next, and so on: however many, they end one after the other and not
** one in the other. */
static void rx_close(il_handle *h) {
  static _Thread_local il_port *ending; /* that this thread still has to end, linked by `keep` */
  static _Thread_local bool busy;
  il_port *p = (il_port *)h;
  p->keep = (il_handle *)ending;
  ending = p;
  if (busy) return;
  busy = true;
  while ((p = ending) != NULL) {
    ending = (il_port *)p->keep;
    il_port_fini(p);
    free(p);
  }
  busy = false;
}

static const il_handle_type rx_type = {.name = "isolate.receiver", .close = rx_close};

const il_handle_type il_sender_type = {.name = "isolate.sender",
                                       .retain = il_sender_retain,
                                       .release = il_sender_release,
                                       .held = il_sender_held};
const il_handle_type il_channel_type = {
  .name = "isolate.channel", .retain = il_sender_retain, .release = il_sender_release};

void il_port_init(il_port *p, const void *owner, il_handle *keep, const il_handle_type *tx) {
  memset(p, 0, sizeof *p);
  il_handle_init(&p->rx, &rx_type);
  il_handle_init(&p->tx, tx);
  atomic_store_explicit(&p->tx.refs, 0, memory_order_relaxed);
  p->keep = keep;
  p->owner = owner;
  p->capacity = IL_UNBOUNDED;
  p->in_one = true;
  atomic_fetch_add_explicit(&il_live_ports, 1, memory_order_relaxed);
}

void il_port_fini(il_port *p) {
  il_item_fini(&p->head);
  drop(&p->queue);
  drop(&p->mine);
  free(p->handler); /* an inbox's */
  free(p->spare);
  free(p->name);
  atomic_fetch_sub_explicit(&il_live_ports, 1, memory_order_relaxed);
}

static il_port *new_port(const void *owner, const il_handle_type *tx) {
  il_port *p = il_lines_new(sizeof *p);
  if (p == NULL) return NULL;
  il_port_init(p, owner, &p->rx, tx);
  return p;
}

il_port *il_port_new(const void *owner, const char *name, size_t capacity, enum il_full full) {
  il_port *p = new_port(owner, &il_sender_type);
  if (p == NULL) return NULL;
  p->capacity = capacity;
  p->full = full;
  p->in_one = capacity >= IN_ONE && (full == IL_FULL_BLOCK || full == IL_FULL_ERROR);
  if (name != NULL && (p->name = strdup(name)) == NULL) {
    il_handle_release(&p->rx);
    return NULL;
  }
  return p;
}

il_port *il_channel_new(size_t capacity) {
  il_port *p = new_port(NULL, &il_channel_type);
  if (p == NULL) return NULL;
  p->capacity = capacity;
  p->channel = true;
  p->in_one = false;
  return p;
}

/* -- The lock ---------------------------------------------------------------------------------- */

static void lock(il_port *p) {
  il_lock_take(&p->lock);
}

/* Who was signalled under it is woken after it; the first of them, which is mostly all. */
static void unlock(il_port *p) {
  il_sleeper *s = p->signalled;
  if (s != NULL) p->signalled = NULL;
  il_lock_give(&p->lock);
  il_sleeper_wake(s);
}

/* True: its owner was waiting, and goes on now. */
static bool fire_locked(il_port *p, il_watch *watch) {
  bool waited;
  il_sleeper *s = il_watch_signal(watch, &waited);
  if (p->signalled == NULL)
    p->signalled = s;
  else
    il_sleeper_wake(s);
  return waited;
}

static void fire_all_locked(il_port *p, il_watches *list) {
  for (il_watch *w = list->first; w != NULL; w = w->next) fire_locked(p, w);
}

/* -- Senders ----------------------------------------------------------------------------------- */

void il_sender_retain(il_handle *h) {
  if (atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed) == 0)
    il_handle_retain(il_port_of_sender(h)->keep);
}

void il_port_retain_sender(il_port *p) {
  il_sender_retain(&p->tx);
}

void il_sender_held(il_handle *h, const void *isolate, int delta) {
  il_port *p = il_port_of_sender(h);
  if (p->owner == isolate) atomic_fetch_add_explicit(&p->own, delta, memory_order_relaxed);
}

static void tell_all_locked(il_port *p) {
  for (il_offer *o = p->offers; o != NULL; o = o->next) fire_locked(p, o->watch);
  fire_all_locked(p, &p->readers);
  fire_all_locked(p, &p->observers);
  fire_all_locked(p, &p->writers);
}

void il_sender_abandon(il_handle *h, bool is) {
  il_port *p = il_port_of_sender(h);
  if (h->type->release != il_sender_release) return;
  lock(p);
  p->abandoned += is ? 1U : -1U;
  if (is) tell_all_locked(p);
  unlock(p);
}

/* Who waits is told when at most one hold is left: that one may be its own. */
void il_sender_release(il_handle *h) {
  il_port *p = il_port_of_sender(h);
  unsigned left;
  lock(p);
  left = atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) - 1;
  if (left <= 1 + p->abandoned) tell_all_locked(p);
  unlock(p);
  if (left == 0) il_handle_release(p->keep);
}

/* Holds on the senders that are not those of the owner's own state, and in a channel not the one of
** whoever asks; nor `without` of them. */
static bool has_others(const il_port *p, unsigned without) {
  unsigned refs = atomic_load_explicit(&p->tx.refs, memory_order_acquire);
  int own = p->channel ? 1 : atomic_load_explicit(&p->own, memory_order_relaxed);
  return (int)refs > own + (int)without;
}

static bool can_be_received(const il_port *p, const void *self) {
  return p->closed || queued(p) > 0 || p->noffers > 0 || (p->owner != NULL && p->owner != self) ||
         has_others(p, p->abandoned);
}

static bool can_be_sent(il_port *p, const void *self) {
  if (p->closed || (has_space_locked(p) && p->noffers == 0)) return true;
  return p->channel ? has_others(p, p->abandoned) : p->owner != self;
}

bool il_port_reachable(il_port *p, const void *self, bool writer) {
  bool can;
  lock(p);
  can = writer ? can_be_sent(p, self) : can_be_received(p, self);
  unlock(p);
  return can;
}

/* Nothing more will ever be sent. */
static bool deserted_locked(const il_port *p) {
  if (p->closed) return true;
  if (p->channel) return false;
  if (p->inbox) return !has_others(p, 0);
  return atomic_load_explicit(&p->tx.refs, memory_order_acquire) == 0;
}

/* -- Waking ------------------------------------------------------------------------------------ */

#define NEIGHBOURS                                                                                 \
  16 /* behind one that is told and does not wait, where one is looked for that does */

/* One that was not woken yet. If its owner does something else, it comes to it later, or never: so another
** owner's is told as well. */
static void wake_one_locked(il_port *p, il_watches *list) {
  const il_waiter *busy = NULL;
  int left = NEIGHBOURS;
  for (il_watch *w = list->first; w != NULL && left > 0; w = w->next) {
    if (busy != NULL) left--;
    if (w->waiter == busy || atomic_load_explicit(&w->fired, memory_order_relaxed)) continue;
    if (fire_locked(p, w)) return;
    busy = w->waiter;
  }
}

/* There is something to receive. */
static void wake_reader_locked(il_port *p) {
  wake_one_locked(p, &p->readers);
  fire_all_locked(p, &p->observers);
}

static bool has_items_locked(const il_port *p) {
  return queued(p) > 0 || p->noffers > 0;
}

/* Room for one item more: *fresh, or the spare chunk, is used up. False: *fresh is needed. */
static bool make_room_locked(il_port *p, il_chunk **fresh) {
  if (p->head.kind == IL_ITEM_NONE || has_room(&p->queue)) return true;
  if (p->spare == NULL) {
    p->spare = *fresh;
    *fresh = NULL;
  }
  if (p->spare == NULL) return false;
  append(&p->queue, p->spare);
  p->spare = NULL;
  return true;
}

/* -- Offers ------------------------------------------------------------------------------------ */

static void list_offer_locked(il_port *p, il_offer *o) {
  o->next = NULL;
  o->prev = p->last_offer;
  if (o->prev != NULL)
    o->prev->next = o;
  else
    p->offers = o;
  p->last_offer = o;
  o->listed = true;
  p->noffers++;
}

static void delist_offer_locked(il_port *p, il_offer *o) {
  if (o->prev != NULL)
    o->prev->next = o->next;
  else
    p->offers = o->next;
  if (o->next != NULL)
    o->next->prev = o->prev;
  else
    p->last_offer = o->prev;
  o->listed = false;
  p->noffers--;
}

/* Takes the oldest offer's value; its sender is woken. There is one. */
static void accept_locked(il_port *p, il_item *item) {
  il_offer *o = p->offers;
  *item = o->item;
  o->item.kind = IL_ITEM_NONE;
  delist_offer_locked(p, o);
  fire_locked(p, o->watch);
}

/* DESIGN. The owner receives what it has taken without the lock, and each makes room. Who is about to wait
** for room sets `pressed` and then looks at `taken`; the owner sets `taken` and then looks at `pressed`. Both
** are sequentially consistent, so one of the two sees the other. */
static bool pressed_locked(il_port *p) {
  if (!p->in_one) return has_space_locked(p);
  atomic_store(&p->pressed, true);
  p->seen = atomic_load(&p->taken);
  return queued(p) + p->seen < p->capacity;
}

/* While there is room the oldest offers come into the queue, each with a chunk of its own if need be. */
static void let_in_locked(il_port *p) {
  while (p->noffers > 0 && has_space_locked(p)) {
    il_item item;
    if (!make_room_locked(p, &p->offers->chunk)) return;
    accept_locked(p, &item);
    put_locked(p, &item);
  }
}

/* There may be more room than there was. */
static void tell_room_locked(il_port *p) {
  let_in_locked(p);
  if (has_space_locked(p)) wake_one_locked(p, &p->writers);
  if (p->in_one && p->noffers == 0 && p->writers.first == NULL)
    atomic_store_explicit(&p->pressed, false, memory_order_relaxed);
}

static enum il_sent state_locked(const il_offer *o) {
  return o->listed ? IL_FULL : o->refused ? IL_SENT_CLOSED : IL_SENT;
}

enum il_sent il_port_offered(il_port *p, il_offer *o) {
  enum il_sent result;
  lock(p);
  result = state_locked(o);
  unlock(p);
  return result;
}

enum il_sent il_port_withdraw(il_port *p, il_offer *o) {
  enum il_sent result;
  lock(p);
  result = state_locked(o);
  if (o->listed) delist_offer_locked(p, o);
  unlock(p);
  free(o->chunk);
  o->chunk = NULL;
  return result;
}

/* -- Sending ----------------------------------------------------------------------------------- */

static void push_locked(il_port *p, il_item *item) {
  put_locked(p, item);
  item->kind = IL_ITEM_NONE;
  wake_reader_locked(p);
}

/* A receiver waits that nothing is queued for yet: a channel of capacity 0 takes what it will get. */
static bool is_wanted_locked(const il_port *p) {
  size_t waiting = 0, coming = queued(p) + p->noffers;
  if (p->capacity > 0) return false;
  for (il_watch *w = p->readers.first; w != NULL && waiting <= coming; w = w->next) waiting++;
  return waiting > coming;
}

/* What a send needs beside the lock, and leaves to be freed. */
typedef struct sending {
  il_item *item;
  bool force;
  il_offer *offer; /* who has to wait leaves this; NULL: it will not wait */
  il_chunk *fresh, *drained;
  il_item old;
} sending;

enum { NEEDS_CHUNK = -1 };

static void drop_oldest_locked(il_port *p, sending *s) {
  take_locked(p, &s->old, &s->drained);
  if (s->drained != NULL && p->queue.last == NULL) { /* it was the one that has room */
    append(&p->queue, s->drained);
    s->drained = NULL;
  }
}

static int offer_locked(il_port *p, sending *s) {
  il_offer *o = s->offer;
  if (o == NULL || p->full != IL_FULL_BLOCK) return IL_FULL;
  if (p->capacity > 0 && s->fresh == NULL) return NEEDS_CHUNK;
  o->chunk = s->fresh;
  s->fresh = NULL;
  o->item = *s->item;
  o->refused = false;
  s->item->kind = IL_ITEM_NONE;
  list_offer_locked(p, o);
  wake_reader_locked(p);
  return IL_FULL;
}

/* One of il_sent, or NEEDS_CHUNK: then it is to be called again with one in `fresh`. */
static int send_locked(il_port *p, sending *s) {
  bool space = s->force || (has_space_locked(p) && p->noffers == 0) ||
               (s->offer == NULL && is_wanted_locked(p));
  if (p->closed) return IL_SENT_CLOSED;
  if (!space && s->offer != NULL && p->noffers == 0) space = pressed_locked(p);
  if (!space && p->full == IL_FULL_DROP_NEWEST) {
    s->old = *s->item;
    s->item->kind = IL_ITEM_NONE;
    return IL_SENT;
  }
  if (!space && p->full != IL_FULL_DROP_OLDEST) return offer_locked(p, s);
  if (!make_room_locked(p, &s->fresh)) return NEEDS_CHUNK;
  if (!space && queued(p) > 0) drop_oldest_locked(p, s);
  push_locked(p, s->item);
  return IL_SENT;
}

/* The most frequent send: there is room, and nobody waits for more. */
static bool send_simply(il_port *p, il_item *item) {
  bool simple, first;
  lock(p);
  first = p->head.kind == IL_ITEM_NONE;
  simple = (first || has_room(&p->queue)) && has_space_locked(p) && p->noffers == 0 && !p->closed;
  if (simple) push_locked(p, item);
  unlock(p);
  /* After the lock, whose line the receiver wants then. */
  if (simple && first) atomic_store_explicit(&p->arrived, true, memory_order_relaxed);
  return simple;
}

static enum il_sent send_or_offer(il_port *p, il_item *item, bool force, il_offer *offer) {
  sending s = {.item = item, .force = force, .offer = offer};
  int result;
  if (send_simply(p, item)) return IL_SENT;
  for (;;) {
    lock(p);
    result = send_locked(p, &s);
    unlock(p);
    if (result != NEEDS_CHUNK) break;
    s.fresh = malloc(sizeof *s.fresh);
    if (s.fresh == NULL) return IL_NO_MEMORY;
  }
  atomic_store_explicit(&p->arrived, true, memory_order_relaxed);
  if (s.fresh != NULL) free(s.fresh);
  if (s.drained != NULL) free(s.drained);
  il_item_fini(&s.old);
  return (enum il_sent)result;
}

enum il_sent il_port_send(il_port *p, il_item *item, bool force) {
  return send_or_offer(p, item, force, NULL);
}

void il_port_linger(il_port *p, const il_waiter *w, int64_t ns) {
  atomic_store_explicit(&p->roomy, false, memory_order_relaxed);
  if (queued(p) + taken(p) > p->capacity / 2) il_waiter_linger(w, &p->roomy, ns);
}

enum il_sent il_port_offer(il_port *p, il_item *item, il_offer *offer) {
  return send_or_offer(p, item, false, offer);
}

/* -- Receiving --------------------------------------------------------------------------------- */

/* Half of it is free: a sender that spins goes on. */
static void tell_half(il_port *p) {
  if (!atomic_load_explicit(&p->roomy, memory_order_relaxed) &&
      queued(p) + taken(p) <= p->capacity / 2)
    atomic_store_explicit(&p->roomy, true, memory_order_relaxed);
}

/* One of `mine` was received; a chunk that is empty waits in `spare` for the next sender. */
static void give_room(il_port *p, il_chunk *drained) {
  bool bounded = p->capacity != IL_UNBOUNDED;
  if (bounded)
    atomic_store(&p->taken, p->mine.count);
  else
    atomic_store_explicit(&p->taken, p->mine.count, memory_order_relaxed);
  if (drained != NULL || (bounded && atomic_load(&p->pressed))) {
    lock(p);
    if (p->spare == NULL) {
      p->spare = drained;
      drained = NULL;
    }
    if (bounded) tell_room_locked(p);
    unlock(p);
    free(drained);
  }
  if (bounded) tell_half(p);
}

/* The owner alone, without the lock. */
static bool receive_mine(il_port *p, il_item *item) {
  il_chunk *drained;
  if (p->mine.count == 0) return false;
  take(&p->mine, item, &drained);
  give_room(p, drained);
  return true;
}

/* Oldest of the queue, else of the offers. What the lock must not cover goes to *drained. */
static bool receive_locked(il_port *p, il_item *item, il_chunk **drained) {
  if (queued(p) == 0) {
    if (p->noffers == 0) return false;
    accept_locked(p, item);
    return true;
  }
  take_locked(p, item, drained);
  if (*drained != NULL && p->spare == NULL) {
    p->spare = *drained;
    *drained = NULL;
  }
  tell_room_locked(p);
  return true;
}

/* The owner takes all that is queued into `mine`, which is empty, and of that the oldest. To let more come
** first pays off for plain values; a message is worth more than a turn of the port's lines. */
static bool receive_all_locked(il_port *p, il_item *item) {
  take_all_locked(p, item, &p->mine);
  p->patient = p->mine.count > 0 && item->kind != IL_ITEM_MSG;
  p->seen = p->mine.count;
  atomic_store_explicit(&p->taken, p->seen, memory_order_relaxed);
  if (item->kind == IL_ITEM_NONE) return false;
  if (p->capacity != IL_UNBOUNDED) tell_room_locked(p);
  return true;
}

enum il_got il_port_receive(il_port *p, il_item *item) {
  il_chunk *drained = NULL;
  bool got, over = false;
  if (receive_mine(p, item)) return IL_GOT;
  lock(p);
  got = p->in_one ? receive_all_locked(p, item) : receive_locked(p, item, &drained);
  if (!got) over = deserted_locked(p);
  unlock(p);
  if (atomic_load_explicit(&p->arrived, memory_order_relaxed))
    atomic_store_explicit(&p->arrived, false, memory_order_relaxed);
  free(drained);
  return got ? IL_GOT : over ? IL_CLOSED : IL_EMPTY;
}

size_t il_port_count(il_port *p) {
  return queued(p) + p->mine.count;
}

size_t il_port_waiting(il_port *p) {
  return queued(p) + taken(p);
}

void il_port_shut(il_port *p) {
  il_item head = {.kind = IL_ITEM_NONE};
  il_chunks queue = {NULL, NULL, 0};
  lock(p);
  p->closed = true;
  if (!p->channel) take_all_locked(p, &head, &queue);
  while (p->offers != NULL) {
    il_offer *o = p->offers;
    o->refused = true;
    delist_offer_locked(p, o);
    fire_locked(p, o->watch);
  }
  tell_all_locked(p);
  unlock(p);
  il_item_fini(&head);
  drop(&queue);
}

void il_port_close(il_port *p) {
  il_port_shut(p);
  if (p->channel) return;
  drop(&p->mine);
  atomic_store_explicit(&p->taken, 0, memory_order_relaxed);
}

bool il_port_is_closed(il_port *p) {
  bool over;
  lock(p);
  over = deserted_locked(p) && !has_items_locked(p);
  unlock(p);
  return over;
}

/* -- Watching ---------------------------------------------------------------------------------- */

void il_port_watch(il_port *p, il_watch *watch, bool writer) {
  lock(p);
  il_watches_add(writer ? &p->writers : &p->readers, watch);
  if (writer) pressed_locked(p);
  if (p->closed || (writer ? has_space_locked(p) || p->full != IL_FULL_BLOCK
                           : has_items_locked(p) || p->mine.count > 0 || deserted_locked(p)))
    fire_locked(p, watch);
  unlock(p);
}

/* It may have been woken for what it does not take: the next one is. */
void il_port_unwatch(il_port *p, il_watch *watch, bool writer) {
  il_watches *list = writer ? &p->writers : &p->readers;
  lock(p);
  il_watches_remove(list, watch);
  if (list->first != NULL &&
      (writer ? has_space_locked(p) : has_items_locked(p) || p->mine.count > 0))
    wake_one_locked(p, list);
  unlock(p);
}

void il_port_observe(il_port *p, il_watch *watch) {
  lock(p);
  il_watches_add(&p->observers, watch);
  unlock(p);
}

void il_port_unobserve(il_port *p, il_watch *watch) {
  lock(p);
  il_watches_remove(&p->observers, watch);
  unlock(p);
}

bool il_port_is_ready(il_port *p) {
  bool ready;
  if (p->mine.count > 0) return true;
  lock(p);
  ready = has_items_locked(p) || deserted_locked(p);
  unlock(p);
  return ready;
}
