/* native.c - isolua.h: messages, blocks, native ports and isolates for C code without a Lua state. */
/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"

/* -- Messages ---------------------------------------------------------------------------------- */

int isolua_message_new(isolua_message **message) {
  if (IL_NULL(message)) return ISOLUA_INVALID;
  *message = calloc(1, sizeof **message);
  return *message != NULL ? ISOLUA_OK : ISOLUA_MEMORY;
}

void isolua_message_free(isolua_message *m) {
  if (m == NULL) return;
  il_values_free(m->values);
  il_item_fini(&m->item);
  il_message_discard(m);
  free(m);
}

int isolua_message_count(const isolua_message *m) {
  if (m == NULL) return 0;
  if (!m->sealed) return (int)m->nroots;
  return m->item.kind == IL_ITEM_MSG ? (int)il_msg_count(m->item.u.msg) : 1;
}

static il_values *values_of(const il_item *item) {
  isolua_value v = {ISOLUA_TBOOLEAN, {.integer = item->kind == IL_ITEM_TRUE}};
  switch (item->kind) {
  case IL_ITEM_MSG: return il_values_new(item->u.msg);
  case IL_ITEM_INTEGER:
    v.type = ISOLUA_TINTEGER;
    v.u.integer = item->u.integer;
    break;
  case IL_ITEM_FLOAT:
    v.type = ISOLUA_TNUMBER;
    v.u.number = item->u.number;
    break;
  default: break;
  }
  return il_values_one(&v);
}

const isolua_value *isolua_message_value(isolua_message *m, int index) {
  if (m == NULL || index < 1) return NULL;
  if (!m->sealed && il_message_seal(m, m->nroots != 1) != ISOLUA_OK) return NULL;
  if (m->values == NULL) m->values = values_of(&m->item);
  return m->values != NULL ? il_values_get(m->values, (size_t)index - 1) : NULL;
}

/* -- Blocks ------------------------------------------------------------------------------------ */

int isolua_block_new(size_t size, isolua_block **block) {
  if (IL_NULL(block)) return ISOLUA_INVALID;
  *block = (isolua_block *)il_block_new(size);
  return *block != NULL ? ISOLUA_OK : ISOLUA_MEMORY;
}

int isolua_block_wrap(void *bytes, size_t size, void (*release)(void *, void *, size_t), void *ud,
                      isolua_block **block) {
  if (block != NULL) *block = NULL;
  if (IL_NULL(block) || IL_NULL(bytes)) return ISOLUA_INVALID;
  *block = (isolua_block *)il_block_wrap(bytes, size, release, ud);
  return *block != NULL ? ISOLUA_OK : ISOLUA_MEMORY;
}

void *isolua_block_data(isolua_block *block, size_t *size) {
  const il_block *b = (il_block *)block;
  if (size != NULL) *size = b != NULL ? b->size : 0;
  return b != NULL ? b->data : NULL;
}

void isolua_block_freeze(isolua_block *block) {
  if (block != NULL) ((il_block *)block)->frozen = true;
}

int isolua_block_frozen(const isolua_block *block) {
  return block != NULL && ((const il_block *)block)->frozen;
}

void isolua_block_retain(isolua_block *block) {
  if (block != NULL) il_handle_retain(&((il_block *)block)->h);
}

void isolua_block_release(isolua_block *block) {
  il_handle_release((il_handle *)block);
}

/* -- Senders ----------------------------------------------------------------------------------- */

void isolua_sender_retain(isolua_sender *sender) {
  if (sender != NULL) il_handle_retain((il_handle *)sender);
}

void isolua_sender_release(isolua_sender *sender) {
  il_handle_release((il_handle *)sender);
}

static int code_of(enum il_sent sent) {
  switch (sent) {
  case IL_SENT: return ISOLUA_OK;
  case IL_SENT_CLOSED: return ISOLUA_CLOSED;
  case IL_NO_MEMORY: return ISOLUA_MEMORY;
  default: return ISOLUA_FULL;
  }
}

/* It is full: an offer waits for room. */
static enum il_sent send_later(il_port *p, il_item *item, int64_t deadline) {
  il_waiter waiter;
  il_watch watch;
  il_offer offer = {.watch = &watch};
  enum il_sent sent;
  il_waiter_init(&waiter);
  il_watch_init(&watch, &waiter);
  sent = il_port_offer(p, item, &offer);
  if (sent != IL_FULL || item->kind != IL_ITEM_NONE) return sent; /* it is no port to wait for */
  il_awake_add(1);
  do {
    il_watch *fired = il_waiter_take(&waiter);
    if (fired != NULL) atomic_store_explicit(&fired->fired, false, memory_order_release);
    sent = il_port_offered(p, &offer);
  } while (sent == IL_FULL && il_waiter_sleep(&waiter, deadline));
  il_awake_add(-1);
  sent = il_port_withdraw(p, &offer);
  if (sent != IL_SENT) *item = offer.item;
  il_waiter_fini(&waiter);
  return sent;
}

int isolua_send(isolua_sender *sender, isolua_message *m, int64_t timeout) {
  enum il_sent sent;
  il_port *p;
  int code, count;
  if (IL_NULL(sender)) return ISOLUA_INVALID;
  if (m == NULL) return il_invalid("`message` is NULL");
  count = isolua_message_count(m);
  if (m->code == ISOLUA_OK && count != 1)
    return il_invalid("the message has %d values: one is sent", count);
  code = il_message_seal(m, false);
  if (code != ISOLUA_OK) return code;
  p = il_port_of_sender((il_handle *)sender);
  il_values_free(m->values); /* the receiver frees what they are made of */
  m->values = NULL;
  sent = il_port_send(p, &m->item, false);
  if (sent == IL_FULL && timeout != 0) sent = send_later(p, &m->item, il_deadline(timeout));
  if (sent == IL_SENT) isolua_message_free(m);
  return code_of(sent);
}

/* -- Receivers --------------------------------------------------------------------------------- */

struct isolua_receiver {
  /* fixed */
  il_port *port; /* whose owner this is: one hold on its `rx` */
  isolua_host *host;
  il_watch watch; /* of `waiter`, always in the port's list */

  il_mutex lock; /* guards what is the owner's in the port, and all below but `waiter` */
  il_cond changed;
  size_t inside; /* threads in isolua_receive */
  bool sleeps;   /* one of them sleeps at `waiter`, whose owner it is */
  bool closing;
  isolua_message *spare;     /* for the next one; or NULL */
  isolua_received *callback; /* or NULL */
  void *ud;
  il_event event; /* while there is one */
  il_waiter waiter;
};

static isolua_receiver *receiver_of(il_event *e) {
  return (isolua_receiver *)((char *)e - offsetof(isolua_receiver, event));
}

int isolua_receiver_new(isolua_host *host, const char *name, size_t capacity,
                        isolua_receiver **receiver, isolua_sender **sender) {
  isolua_receiver *r;
  if (receiver != NULL) *receiver = NULL;
  if (sender != NULL) *sender = NULL;
  if (IL_NULL(host) || IL_NULL(receiver) || IL_NULL(sender)) return ISOLUA_INVALID;
  r = calloc(1, sizeof *r);
  if (r == NULL) return ISOLUA_MEMORY;
  if (il_mutex_init(&r->lock) != 0) goto fail_lock;
  if (il_cond_init(&r->changed) != 0) goto fail_cond;
  r->port = il_port_new(r, name, capacity > 0 ? capacity : IL_UNBOUNDED, IL_FULL_BLOCK);
  if (r->port == NULL) goto fail_port;
  r->host = host;
  il_handle_retain(&host->h);
  il_waiter_init(&r->waiter);
  il_watch_init(&r->watch, &r->waiter);
  il_port_retain_sender(r->port);
  il_port_watch(r->port, &r->watch, false);
  *receiver = r;
  *sender = (isolua_sender *)&r->port->tx;
  return ISOLUA_OK;
fail_port:
  il_cond_fini(&r->changed);
fail_cond:
  il_mutex_fini(&r->lock);
fail_lock:
  free(r);
  return ISOLUA_MEMORY;
}

/* The next message, if it is there: ISOLUA_TIMEOUT: it is not. */
static int receive_locked(isolua_receiver *r, isolua_message **message) {
  isolua_message *m = r->spare != NULL ? r->spare : calloc(1, sizeof *m);
  enum il_got got;
  r->spare = m;
  if (r->closing) return ISOLUA_CLOSED;
  if (m == NULL) return ISOLUA_MEMORY;
  got = il_port_receive(r->port, &m->item);
  if (got != IL_GOT) return got == IL_EMPTY ? ISOLUA_TIMEOUT : ISOLUA_CLOSED;
  m->sealed = true;
  r->spare = NULL;
  *message = m;
  return ISOLUA_OK;
}

/* One thread sleeps at the waiter, the others behind it. False: the deadline came. */
static bool sleep_locked(isolua_receiver *r, int64_t deadline) {
  bool woken;
  if (r->sleeps) {
    il_cond_wait(&r->changed, &r->lock, deadline);
    return deadline < 0 || il_now() < deadline;
  }
  r->sleeps = true;
  il_mutex_unlock(&r->lock);
  il_awake_add(1);
  woken = il_waiter_sleep(&r->waiter, deadline);
  il_awake_add(-1);
  il_mutex_lock(&r->lock);
  r->sleeps = false;
  il_cond_wake_all(&r->changed);
  return woken;
}

/* What has fired so far is seen by the look that follows. */
static void look_anew_locked(isolua_receiver *r) {
  if (!r->sleeps && il_waiter_take(&r->waiter) != NULL)
    atomic_store_explicit(&r->watch.fired, false, memory_order_seq_cst);
}

int isolua_receive(isolua_receiver *r, int64_t timeout, isolua_message **message) {
  int64_t deadline = il_deadline(timeout);
  bool woken = timeout != 0;
  int code;
  if (message != NULL) *message = NULL;
  if (r == NULL) return il_invalid("`receiver` is NULL");
  if (IL_NULL(message)) return ISOLUA_INVALID;
  il_mutex_lock(&r->lock);
  r->inside++;
  do {
    look_anew_locked(r);
    code = receive_locked(r, message);
    if (code != ISOLUA_TIMEOUT || !woken) break;
    woken = sleep_locked(r, deadline);
  } while (true);
  r->inside--;
  il_cond_wake_all(&r->changed);
  il_mutex_unlock(&r->lock);
  return code;
}

size_t isolua_receiver_count(isolua_receiver *r) {
  return r != NULL ? il_port_waiting(r->port) : 0;
}

/* -- A receiver's callback ----------------------------------------------------------------------- */

static enum il_called call_receiver(il_event *e) {
  isolua_receiver *r = receiver_of(e);
  isolua_message *m = NULL;
  isolua_received *callback;
  void *ud;
  int code;
  il_mutex_lock(&r->lock);
  callback = r->callback;
  ud = r->ud;
  code = callback != NULL ? receive_locked(r, &m) : ISOLUA_TIMEOUT;
  if (code == ISOLUA_CLOSED) r->callback = NULL;
  il_mutex_unlock(&r->lock);
  if (code == ISOLUA_MEMORY) return IL_CALL_LATER;
  if (code == ISOLUA_TIMEOUT) return IL_CALL_DONE;
  callback(ud, r, m);
  return code == ISOLUA_OK ? IL_CALL_MORE : IL_CALL_DONE;
}

static void observe_receiver(il_event *e) {
  il_port_observe(receiver_of(e)->port, &e->watch);
}

static void unwatch_receiver(il_event *e) {
  il_port_unobserve(receiver_of(e)->port, &e->watch);
}

static void drop_receiver(il_event *e) {
  (void)e; /* it is a part of the receiver */
}

static void add_event_locked(isolua_receiver *r) {
  r->event.call = call_receiver;
  r->event.observe = observe_receiver;
  r->event.unwatch = unwatch_receiver;
  r->event.drop = drop_receiver;
  il_event_add(&r->host->pump, &r->event);
}

int isolua_receiver_on_message(isolua_receiver *r, isolua_received *callback, void *ud) {
  bool had;
  if (r == NULL) return il_invalid("`receiver` is NULL");
  il_mutex_lock(&r->lock);
  had = r->event.call != NULL;
  r->callback = callback;
  r->ud = ud;
  if (!had && callback != NULL) add_event_locked(r);
  il_mutex_unlock(&r->lock);
  if (had) il_event_finish(&r->host->pump, &r->event);
  if (callback == NULL) return ISOLUA_OK;
  /* For what is there already. */
  return il_event_fire(&r->host->pump, &r->event) ? ISOLUA_OK : ISOLUA_CLOSED;
}

void isolua_receiver_close(isolua_receiver *r) {
  if (r == NULL) return;
  if (r->event.call != NULL) il_event_remove(&r->host->pump, &r->event);
  il_mutex_lock(&r->lock);
  r->closing = true;
  il_waiter_wake(&r->waiter);
  il_cond_wake_all(&r->changed);
  while (r->inside > 0) il_cond_wait(&r->changed, &r->lock, -1);
  il_mutex_unlock(&r->lock);
  il_port_unwatch(r->port, &r->watch, false);
  il_port_close(r->port);
  il_handle_release(&r->port->rx);
  free(r->spare);
  il_waiter_fini(&r->waiter);
  il_cond_fini(&r->changed);
  il_mutex_fini(&r->lock);
  il_host_release(r->host);
  free(r);
}

/* -- A future's callback ------------------------------------------------------------------------- */

typedef struct future_event {
  il_event event;
  isolua_future *future; /* one hold */
  isolua_done *callback;
  void *ud;
} future_event;

static enum il_called call_future(il_event *e) {
  future_event *fe = (future_event *)e; /* its first member */
  fe->callback(fe->ud, fe->future);
  return IL_CALL_DONE;
}

static void observe_future(il_event *e) {
  il_future_watch(((future_event *)e)->future, &e->watch);
}

static void unwatch_future(il_event *e) {
  il_future_unwatch(((future_event *)e)->future, &e->watch);
}

static void drop_future(il_event *e) {
  il_future_release(((future_event *)e)->future);
  free(e);
}

int isolua_future_on_done(isolua_future *f, isolua_done *callback, void *ud) {
  isolua_host *host;
  future_event *fe;
  if (f == NULL) return il_invalid("`future` is NULL");
  if (IL_NULL(callback)) return ISOLUA_INVALID;
  host = f->host != NULL ? f->host : f->isolate != NULL ? f->isolate->host : NULL;
  if (host == NULL) return il_invalid("the future belongs to no host");
  fe = calloc(1, sizeof *fe);
  if (fe == NULL) return ISOLUA_MEMORY;
  fe->event.call = call_future;
  fe->event.observe = observe_future;
  fe->event.unwatch = unwatch_future;
  fe->event.drop = drop_future;
  fe->event.once = true;
  fe->future = f;
  fe->callback = callback;
  fe->ud = ud;
  il_future_retain(f);
  atomic_store(&f->looked, true); /* the callback sees to its error */
  if (!il_event_add(&host->pump, &fe->event)) {
    il_future_release(f);
    free(fe);
    return ISOLUA_CLOSED;
  }
  return ISOLUA_OK;
}

/* -- The pump ---------------------------------------------------------------------------------- */

int isolua_pump(isolua_host *host, long long max_items, int64_t max_ns) {
  return host != NULL && il_pump_run(&host->pump, max_items, max_ns);
}

int isolua_fd(isolua_host *host) {
  return host != NULL ? il_pump_fd(&host->pump) : -1;
}

int64_t isolua_next_due(isolua_host *host) {
  return host != NULL ? il_pump_next(&host->pump) : -1;
}

/* -- Isolates ---------------------------------------------------------------------------------- */

isolua_sender *isolua_isolate_sender(isolua_isolate *i) {
  return i != NULL ? (isolua_sender *)&i->inbox.tx : NULL;
}

void isolua_isolate_release(isolua_isolate *i) {
  if (i != NULL) il_handle_release(&i->inbox.tx);
}
