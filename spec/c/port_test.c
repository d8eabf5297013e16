/* port_test.c - il_port: order, capacity, offers, closing, the end of senders; one thread and many. */
/* SPDX-License-Identifier: MIT */
#include "port.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "count.h"

#define SOON il_deadline((int64_t)20000000000) /* what should come at once has come by then */

static char owner, other; /* isolates: compared, never followed */

/* -- Help -------------------------------------------------------------------------------------- */

/* With one hold on `rx`, and one as a sender. */
static il_port *new_port(size_t capacity, enum il_full full) {
  il_port *p = il_port_new(&owner, NULL, capacity, full);
  if (CHECK(p != NULL)) il_port_retain_sender(p);
  return p;
}

static il_port *new_channel(size_t capacity) {
  il_port *p = il_channel_new(capacity);
  if (CHECK(p != NULL)) il_port_retain_sender(p);
  return p;
}

static void free_port(il_port *p) {
  il_port_close(p);
  il_handle_release(&p->tx);
  il_handle_release(&p->rx);
}

static il_item integer(long long n) {
  il_item item = {.kind = IL_ITEM_INTEGER, .u = {.integer = n}};
  return item;
}

/* A message that holds `h`, if that is not NULL. */
static il_item message(il_handle *h) {
  unsigned char data[1] = {1};
  int taken;
  il_item item = {.kind = IL_ITEM_MSG};
  if (h != NULL) il_handle_retain(h);
  item.u.msg = il_msg_new(data, 1, 1, &h, h != NULL, &taken);
  CHECK(item.u.msg != NULL);
  return item;
}

static enum il_sent send(il_port *p, long long n) {
  il_item item = integer(n);
  return il_port_send(p, &item, false);
}

/* The next one, an integer; -1: EMPTY, -2: CLOSED. */
static long long receive(il_port *p) {
  il_item item = {.kind = IL_ITEM_NONE};
  enum il_got got = il_port_receive(p, &item);
  if (got != IL_GOT) return got == IL_EMPTY ? -1 : -2;
  if (item.kind == IL_ITEM_INTEGER) return item.u.integer;
  il_item_fini(&item);
  return -3;
}

/* What has fired is taken, and cleared. */
static int take_fired(il_waiter *w) {
  int n = 0;
  il_watch *next;
  for (il_watch *f = il_waiter_take(w); f != NULL; f = next, n++) {
    next = f->next_fired;
    atomic_store(&f->fired, false);
  }
  return n;
}

static bool has_fired(il_watch *watch) {
  return atomic_load(&watch->fired);
}

/* An offer with what it needs. */
typedef struct bid {
  il_waiter waiter;
  il_watch watch;
  il_offer offer;
} bid;

static enum il_sent make_bid(bid *b, il_port *p, il_item item) {
  memset(b, 0, sizeof *b);
  il_waiter_init(&b->waiter);
  il_watch_init(&b->watch, &b->waiter);
  b->offer.watch = &b->watch;
  return il_port_offer(p, &item, &b->offer);
}

/* Sends, and waits for room until `deadline`: FULL then. */
static enum il_sent send_until(il_port *p, il_item *item, il_waiter *w, int64_t deadline) {
  il_watch watch;
  il_offer offer = {.watch = &watch};
  enum il_sent sent;
  il_watch_init(&watch, w);
  sent = il_port_offer(p, item, &offer);
  if (sent != IL_FULL) return sent;
  while (il_port_offered(p, &offer) == IL_FULL && il_waiter_sleep(w, deadline)) take_fired(w);
  sent = il_port_withdraw(p, &offer);
  if (sent != IL_SENT) *item = offer.item;
  take_fired(w);
  return sent;
}

static enum il_got receive_until(il_port *p, il_item *item, il_waiter *w, int64_t deadline) {
  enum il_got got;
  il_watch watch;
  bool on = true;
  while ((got = il_port_receive(p, item)) == IL_EMPTY && on) {
    il_watch_init(&watch, w);
    il_port_watch(p, &watch, false);
    on = il_waiter_sleep(w, deadline);
    il_port_unwatch(p, &watch, false);
    take_fired(w);
  }
  return got;
}

/* -- Order and kinds --------------------------------------------------------------------------- */

static void keeps_order(void) {
  for (int channel = 0; channel < 2; channel++) {
    il_port *p = channel ? new_channel(IL_UNBOUNDED) : new_port(IL_UNBOUNDED, IL_FULL_BLOCK);
    long long sent = 0, got = 0;
    uint32_t random = 5;
    if (p == NULL) return;
    while (got < 20 * IL_CHUNK) {
      int n = (int)(check_random(&random) % (3 * IL_CHUNK));
      while (n-- > 0) CHECK_INT(send(p, sent++), IL_SENT);
      CHECK_INT(il_port_count(p), sent - got);
      for (n = (int)(check_random(&random) % (3 * IL_CHUNK)); n > 0 && got < sent; n--)
        if (!CHECK_INT(receive(p), got++)) n = 0;
    }
    while (got < sent && CHECK_INT(receive(p), got)) got++;
    CHECK_INT(receive(p), -1);
    CHECK_INT(il_port_count(p), 0);
    free_port(p);
  }
}

static void carries_every_kind(void) {
  il_port *p = new_port(IL_UNBOUNDED, IL_FULL_BLOCK);
  il_item items[] = {{.kind = IL_ITEM_FALSE},
                     {.kind = IL_ITEM_TRUE},
                     {.kind = IL_ITEM_INTEGER},
                     {.kind = IL_ITEM_FLOAT},
                     {.kind = IL_ITEM_MSG}};
  enum { KINDS = sizeof items / sizeof items[0] };
  il_item got;
  if (p == NULL) return;
  items[2].u.integer = INT64_MIN;
  items[3].u.number = -0.0;
  items[4] = message(NULL);
  for (int i = 0; i < KINDS; i++) {
    il_item item = items[i];
    CHECK_INT(il_port_send(p, &item, false), IL_SENT);
    CHECK_INT(item.kind, IL_ITEM_NONE);
  }
  for (int i = 0; i < KINDS; i++) {
    if (!CHECK_INT(il_port_receive(p, &got), IL_GOT)) continue;
    CHECK_INT(got.kind, items[i].kind);
    if (i == 2) CHECK(got.u.integer == INT64_MIN);
    if (i == 3) CHECK(got.u.number == 0 && signbit(got.u.number));
    if (i == 4) CHECK(got.u.msg == items[4].u.msg);
    il_item_fini(&got);
  }
  free_port(p);
}

/* -- Capacity ---------------------------------------------------------------------------------- */

static void is_full(void) {
  static const size_t capacities[] = {1, 2, IL_CHUNK, IL_CHUNK + 1, 300};
  for (size_t k = 0; k < sizeof capacities / sizeof capacities[0]; k++) {
    for (int full = IL_FULL_BLOCK; full <= IL_FULL_ERROR; full++) {
      il_port *p = new_port(capacities[k], (enum il_full)full);
      long long n = (long long)capacities[k], i;
      il_item item;
      if (p == NULL) return;
      for (i = 0; i < n; i++) CHECK_INT(send(p, i), IL_SENT);
      item = integer(i);
      CHECK_INT(il_port_send(p, &item, false), IL_FULL);
      CHECK_INT(item.kind, IL_ITEM_INTEGER);
      CHECK_INT(il_port_send(p, &item, true), IL_SENT); /* whatever its capacity */
      CHECK_INT(il_port_count(p), n + 1);
      CHECK_INT(receive(p), 0);
      CHECK_INT(send(p, n + 1), IL_FULL);
      CHECK_INT(receive(p), 1);
      CHECK_INT(send(p, n + 1), IL_SENT);
      for (i = 2; i <= n + 1; i++) CHECK_INT(receive(p), i);
      free_port(p);
    }
  }
}

static void drops(void) {
  for (int full = IL_FULL_DROP_OLDEST; full <= IL_FULL_DROP_NEWEST; full++) {
    for (size_t capacity = 1; capacity < 2 * IL_CHUNK; capacity += 20) {
      il_port *p = new_port(capacity, (enum il_full)full);
      long long n = 500, first = full == IL_FULL_DROP_OLDEST ? n - (long long)capacity : 0;
      if (p == NULL) return;
      for (long long i = 0; i < n; i++) CHECK_INT(send(p, i), IL_SENT);
      CHECK_INT(il_port_count(p), capacity);
      for (size_t i = 0; i < capacity; i++) CHECK_INT(receive(p), first + (long long)i);
      CHECK_INT(receive(p), -1);
      for (int i = 0; i < 10; i++) {
        il_item item = message(NULL);
        CHECK_INT(il_port_send(p, &item, false), IL_SENT);
      }
      CHECK_INT(il_counted(IL_MESSAGES), capacity < 10 ? capacity : 10);
      free_port(p);
    }
  }
}

/* -- Offers ------------------------------------------------------------------------------------ */

static void offers_come_in_order(void) {
  enum { BIDS = 3 * IL_CHUNK };
  static bid bids[BIDS];
  for (size_t capacity = 0; capacity < 3; capacity++) {
    il_port *p = new_channel(capacity);
    long long next = 0;
    if (p == NULL) return;
    for (size_t i = 0; i < capacity; i++) CHECK_INT(send(p, next++), IL_SENT);
    for (int i = 0; i < BIDS; i++) {
      CHECK_INT(make_bid(&bids[i], p, integer(next++)), IL_FULL);
      CHECK_INT(bids[i].offer.item.kind, IL_ITEM_INTEGER);
    }
    CHECK_INT(send(p, -5), IL_FULL); /* not before those */
    for (int i = 0; i < BIDS; i++) {
      CHECK_INT(il_port_offered(p, &bids[i].offer), IL_FULL);
      CHECK(!has_fired(&bids[i].watch));
      CHECK_INT(receive(p), i);
      CHECK_INT(il_port_offered(p, &bids[i].offer), IL_SENT);
      CHECK(has_fired(&bids[i].watch));
      CHECK_INT(il_port_withdraw(p, &bids[i].offer), IL_SENT);
    }
    for (size_t i = 0; i < capacity; i++) CHECK_INT(receive(p), BIDS + (long long)i);
    CHECK_INT(receive(p), -1);
    free_port(p);
  }
}

static void withdrawn(void) {
  for (size_t capacity = 0; capacity < 2; capacity++) {
    il_port *p = new_channel(capacity);
    bid bids[3];
    if (p == NULL) return;
    for (size_t i = 0; i < capacity; i++) CHECK_INT(send(p, 100), IL_SENT);
    for (int i = 0; i < 3; i++) CHECK_INT(make_bid(&bids[i], p, message(&p->tx)), IL_FULL);
    CHECK_INT(il_port_withdraw(p, &bids[1].offer), IL_FULL);
    CHECK_INT(bids[1].offer.item.kind, IL_ITEM_MSG);
    CHECK_INT(il_port_withdraw(p, &bids[1].offer), IL_SENT); /* nothing is there any more */
    il_item_fini(&bids[1].offer.item);
    for (size_t i = 0; i < capacity; i++) CHECK_INT(receive(p), 100);
    CHECK_INT(receive(p), -3);
    CHECK_INT(receive(p), -3);
    CHECK_INT(receive(p), -1);
    CHECK_INT(il_port_withdraw(p, &bids[0].offer), IL_SENT);
    CHECK_INT(il_port_withdraw(p, &bids[2].offer), IL_SENT);
    free_port(p);
  }
}

static void offers_where_there_is_room(void) {
  il_port *p = new_channel(1), *full = new_port(1, IL_FULL_ERROR);
  bid b;
  if (p == NULL || full == NULL) return;
  CHECK_INT(make_bid(&b, p, integer(1)), IL_SENT);
  CHECK(!has_fired(&b.watch));
  CHECK_INT(receive(p), 1);
  CHECK_INT(send(full, 1), IL_SENT);
  CHECK_INT(make_bid(&b, full, integer(2)), IL_FULL); /* "error": it does not wait */
  CHECK(!b.offer.listed);
  CHECK_INT(receive(full), 1);
  CHECK_INT(receive(full), -1);
  il_port_close(p);
  CHECK_INT(make_bid(&b, p, integer(1)), IL_SENT_CLOSED);
  free_port(p);
  free_port(full);
}

static void rendezvous(void) {
  il_port *p = new_channel(0);
  il_waiter w;
  il_watch readers[3];
  if (p == NULL) return;
  il_waiter_init(&w);
  CHECK_INT(send(p, 1), IL_FULL);
  for (int i = 0; i < 3; i++) {
    il_watch_init(&readers[i], &w);
    il_port_watch(p, &readers[i], false);
  }
  for (int i = 0; i < 3; i++) CHECK_INT(send(p, i), IL_SENT); /* as many as wait */
  CHECK_INT(send(p, 3), IL_FULL);
  CHECK_INT(take_fired(&w), 3);
  for (int i = 0; i < 3; i++) {
    il_port_unwatch(p, &readers[i], false);
    CHECK_INT(receive(p), i);
  }
  CHECK_INT(send(p, 3), IL_FULL);
  free_port(p);
}

/* -- Waking ------------------------------------------------------------------------------------ */

/* Those who do something else are told, but another one has to be woken for it. */
static void wakes_one_that_waits(void) {
  il_port *p = new_channel(3);
  il_waiter waiters[4];
  il_watch watches[4];
  if (p == NULL) return;
  for (int i = 0; i < 4; i++) {
    il_waiter_init(&waiters[i]);
    il_watch_init(&watches[i], &waiters[i]);
    il_port_watch(p, &watches[i], false);
  }
  atomic_store(&waiters[1].word, IL_SPINNING);
  send(p, 1);
  CHECK(has_fired(&watches[0]) && has_fired(&watches[1]) && !has_fired(&watches[2]));
  send(p, 2);
  CHECK(has_fired(&watches[2]) && has_fired(&watches[3]));
  for (int i = 0; i < 4; i++) {
    il_port_unwatch(p, &watches[i], false);
    take_fired(&waiters[i]);
  }
  free_port(p);
}

static void passes_a_wakeup_on(void) {
  il_port *p = new_channel(2);
  il_waiter w;
  il_watch a, b;
  if (p == NULL) return;
  il_waiter_init(&w);
  il_watch_init(&a, &w);
  il_watch_init(&b, &w);
  il_port_watch(p, &a, false);
  il_port_watch(p, &b, false);
  atomic_store(&w.word, IL_SPINNING);
  send(p, 1);
  CHECK(has_fired(&a) && !has_fired(&b)); /* the first that waits alone */
  send(p, 2);
  CHECK(has_fired(&b));
  take_fired(&w);
  CHECK_INT(receive(p), 1);
  il_port_unwatch(p, &a, false); /* it leaves the other message */
  CHECK(has_fired(&b));
  CHECK_INT(receive(p), 2);
  il_port_unwatch(p, &b, false);
  take_fired(&w);
  il_port_watch(p, &a, true);
  CHECK(has_fired(&a)); /* there is room already */
  take_fired(&w);
  il_port_watch(p, &b, true);
  take_fired(&w);
  send(p, 1);
  send(p, 2);
  atomic_store(&w.word, IL_SPINNING);
  CHECK_INT(receive(p), 1);
  CHECK(has_fired(&a) && !has_fired(&b));
  il_port_unwatch(p, &a, true);
  CHECK(has_fired(&b));
  il_port_unwatch(p, &b, true);
  take_fired(&w);
  free_port(p);
}

static void watches_what_is_there(void) {
  il_port *p = new_channel(0);
  il_waiter w;
  il_watch watch;
  bid b;
  if (p == NULL) return;
  il_waiter_init(&w);
  il_watch_init(&watch, &w);
  CHECK_INT(make_bid(&b, p, integer(1)), IL_FULL);
  il_port_watch(p, &watch, false);
  CHECK(has_fired(&watch)); /* an offer */
  il_port_unwatch(p, &watch, false);
  take_fired(&w);
  CHECK_INT(receive(p), 1);
  il_port_watch(p, &watch, false);
  CHECK(!has_fired(&watch));
  il_port_close(p);
  CHECK(has_fired(&watch));
  il_port_unwatch(p, &watch, false);
  take_fired(&w);
  il_port_watch(p, &watch, true);
  CHECK(has_fired(&watch));
  il_port_unwatch(p, &watch, true);
  take_fired(&w);
  free_port(p);
}

/* -- Closing ----------------------------------------------------------------------------------- */

static void closes_a_port(void) {
  il_port *p = new_port(3, IL_FULL_BLOCK), *q = new_port(IL_UNBOUNDED, IL_FULL_BLOCK);
  bid b;
  il_item item;
  if (p == NULL || q == NULL) return;
  for (int i = 0; i < 3; i++) {
    item = message(NULL);
    CHECK_INT(il_port_send(p, &item, false), IL_SENT);
  }
  CHECK_INT(make_bid(&b, p, message(&p->tx)), IL_FULL);
  il_port_close(p);
  CHECK(has_fired(&b.watch));
  CHECK_INT(il_port_offered(p, &b.offer), IL_SENT_CLOSED);
  CHECK_INT(il_counted(IL_MESSAGES), 1);
  CHECK_INT(il_port_withdraw(p, &b.offer), IL_SENT_CLOSED);
  CHECK_INT(b.offer.item.kind, IL_ITEM_MSG); /* it is the sender's again */
  il_item_fini(&b.offer.item);
  item = integer(1);
  CHECK_INT(il_port_send(p, &item, true), IL_SENT_CLOSED);
  CHECK_INT(item.kind, IL_ITEM_INTEGER);
  CHECK_INT(receive(p), -2);
  il_port_close(p);
  for (int i = 0; i < 2 * IL_CHUNK; i++) send(q, i);
  CHECK_INT(receive(q), 0); /* the rest is the receiver's alone */
  send(q, 1000);
  il_port_shut(q); /* as another thread may: that stays */
  CHECK_INT(receive(q), 1);
  il_port_close(q);
  CHECK_INT(receive(q), -2);
  CHECK(il_port_is_closed(q));
  free_port(p);
  free_port(q);
}

static void closes_a_channel(void) {
  il_port *p = new_channel(2);
  bid b;
  if (p == NULL) return;
  send(p, 1);
  send(p, 2);
  CHECK_INT(make_bid(&b, p, integer(3)), IL_FULL);
  il_port_close(p);
  CHECK_INT(il_port_withdraw(p, &b.offer), IL_SENT_CLOSED);
  CHECK_INT(send(p, 4), IL_SENT_CLOSED);
  CHECK(!il_port_is_closed(p));
  CHECK_INT(receive(p), 1);
  CHECK_INT(receive(p), 2);
  CHECK_INT(receive(p), -2);
  CHECK(il_port_is_closed(p));
  free_port(p);
}

/* -- The end of senders ------------------------------------------------------------------------ */

static void ends_with_its_senders(void) {
  il_port *p = il_port_new(&owner, "named", IL_UNBOUNDED, IL_FULL_BLOCK);
  il_waiter w;
  il_watch watch;
  if (!CHECK(p != NULL)) return;
  CHECK_TEXT(p->name, "named");
  CHECK_INT(receive(p), -2); /* it has none yet */
  il_port_retain_sender(p);
  il_handle_retain(&p->tx);
  CHECK_INT(receive(p), -1);
  il_waiter_init(&w);
  il_watch_init(&watch, &w);
  il_port_watch(p, &watch, false);
  send(p, 1);
  take_fired(&w);
  il_handle_release(&p->tx);
  take_fired(&w);
  il_handle_release(&p->tx);
  CHECK(has_fired(&watch));
  il_port_unwatch(p, &watch, false);
  take_fired(&w);
  CHECK_INT(receive(p), 1); /* it drains first */
  CHECK_INT(receive(p), -2);
  il_port_retain_sender(p); /* as the sender in a message that was on its way */
  CHECK_INT(receive(p), -1);
  CHECK_INT(send(p, 2), IL_SENT);
  il_handle_release(&p->tx);
  CHECK_INT(receive(p), 2);
  il_port_close(p);
  il_handle_release(&p->rx);
}

static void outlives_its_receiver(void) {
  il_port *p = new_port(IL_UNBOUNDED, IL_FULL_BLOCK);
  if (p == NULL) return;
  send(p, 1);
  il_port_close(p);
  il_handle_release(&p->rx);
  CHECK_INT(send(p, 2), IL_SENT_CLOSED); /* the sender holds it still */
  il_handle_release(&p->tx);
}

static void lets_go_of_what_is_queued(void) {
  il_port *inner = new_port(IL_UNBOUNDED, IL_FULL_BLOCK), *p = new_channel(10);
  if (inner == NULL || p == NULL) return;
  for (int i = 0; i < 10; i++) {
    il_item item = message(&inner->tx);
    CHECK_INT(il_port_send(p, &item, false), IL_SENT);
  }
  il_handle_release(&inner->tx);
  CHECK_INT(receive(inner), -1);
  il_handle_release(&p->rx);
  il_handle_release(&p->tx); /* and with its last holder all that is in it */
  CHECK_INT(receive(inner), -2);
  il_port_close(inner);
  il_handle_release(&inner->rx);
}

/* A channel in a channel in a channel …: their ends take no stack. */
static void ends_a_long_chain(void) {
  il_port *p = new_channel(1);
  if (p == NULL) return;
  il_handle_release(&p->rx);
  for (int i = 0; i < check_scale(100000, 50000); i++) {
    il_port *outer = new_channel(1);
    il_item item = message(&p->tx);
    if (outer == NULL) return;
    il_handle_release(&outer->rx);
    CHECK_INT(il_port_send(outer, &item, false), IL_SENT);
    il_handle_release(&p->tx);
    p = outer;
  }
  il_handle_release(&p->tx);
}

/* -- Who could end a wait ---------------------------------------------------------------------- */

static void reachable(void) {
  il_port *p = new_port(1, IL_FULL_BLOCK), *c = new_channel(0);
  bid b;
  if (p == NULL || c == NULL) return;
  il_sender_held(&p->tx, &owner, 1); /* the sender is one of its own */
  CHECK(!il_port_reachable(p, &owner, false));
  CHECK(il_port_reachable(p, &owner, true)); /* there is room */
  send(p, 1);
  CHECK(il_port_reachable(p, &owner, false));
  CHECK(!il_port_reachable(p, &owner, true));
  CHECK(il_port_reachable(p, &other, true)); /* its owner may receive */
  CHECK_INT(receive(p), 1);
  il_handle_retain(&p->tx); /* somebody else's */
  CHECK(il_port_reachable(p, &owner, false));
  il_handle_release(&p->tx);
  il_port_close(p);
  CHECK(il_port_reachable(p, &owner, false) && il_port_reachable(p, &owner, true));
  CHECK(!il_port_reachable(c, &owner, false) && !il_port_reachable(c, &owner, true));
  CHECK_INT(make_bid(&b, c, integer(1)), IL_FULL);
  CHECK(!il_port_reachable(c, &owner, true)); /* its own offer is no help */
  CHECK_INT(il_port_withdraw(c, &b.offer), IL_FULL);
  il_handle_retain(&c->tx);
  CHECK(il_port_reachable(c, &owner, false) && il_port_reachable(c, &owner, true));
  il_handle_release(&c->tx);
  free_port(p);
  free_port(c);
}

/* -- Threads ----------------------------------------------------------------------------------- */

enum { SENDERS = 4, THREADS = 8 };

typedef struct crowd {
  il_port *port;
  int each, receivers;
  bool gives_up; /* senders and receivers withdraw now and then */
  atomic_llong sent, got, sum_sent, sum_got;
} crowd;

/* One a thread. Whoever woke one may name its address to the system when it has gone on already, as it does
** with an isolate's; so they outlive their threads. */
static il_waiter waiters[THREADS];

/* Sends until it has come through, or the port is closed: false. */
static bool send_all(crowd *c, il_waiter *w, long long n, uint32_t *random) {
  il_item item = n % 2 == 0 ? integer(n) : message(NULL);
  enum il_sent sent = IL_FULL;
  while (sent == IL_FULL) {
    int64_t wait = c->gives_up ? il_now() + check_random(random) % 20000 : SOON;
    sent = send_until(c->port, &item, w, wait);
    if (sent == IL_FULL && !CHECK(c->gives_up)) break;
  }
  if (sent == IL_SENT) {
    atomic_fetch_add(&c->sent, 1);
    if (n % 2 == 0) atomic_fetch_add(&c->sum_sent, n);
  }
  il_item_fini(&item);
  return sent == IL_SENT;
}

static void send_many(int index, crowd *c) {
  il_waiter *w = &waiters[index];
  uint32_t random = (uint32_t)index + 77;
  il_waiter_init(w);
  for (int i = 1; i <= c->each; i++)
    if (!send_all(c, w, (long long)index << 32 | i, &random)) break;
  il_handle_release(&c->port->tx);
}

static void receive_many(int index, crowd *c) {
  il_waiter *w = &waiters[index];
  il_item item;
  long long last[THREADS] = {0};
  uint32_t random = (uint32_t)index + 7;
  il_waiter_init(w);
  for (;;) {
    int64_t wait = c->gives_up ? il_now() + check_random(&random) % 20000 : SOON;
    enum il_got got = receive_until(c->port, &item, w, wait);
    if (got == IL_EMPTY && CHECK(c->gives_up)) continue;
    if (got != IL_GOT) return;
    if (item.kind == IL_ITEM_INTEGER) {
      long long n = item.u.integer & 0xffffffff, s = item.u.integer >> 32;
      if (!CHECK(s >= 0 && s < THREADS) || !CHECK(n > last[s])) return; /* FIFO per sender */
      last[s] = n;
      atomic_fetch_add(&c->sum_got, item.u.integer);
    }
    il_item_fini(&item);
    atomic_fetch_add(&c->got, 1);
  }
}

static void send_or_receive(int index, void *arg) {
  crowd *c = arg;
  if (index < c->receivers)
    receive_many(index, c);
  else
    send_many(index, c);
}

static void check_crowd(const crowd *c) {
  CHECK_INT(atomic_load(&c->sent), (long long)SENDERS * c->each);
  CHECK_INT(atomic_load(&c->got), atomic_load(&c->sent));
  CHECK_INT(atomic_load(&c->sum_got), atomic_load(&c->sum_sent));
}

static void to_one_receiver(size_t capacity, bool gives_up) {
  crowd c = {
    .each = check_scale(capacity > 9 ? 20000 : 3000, 500), .receivers = 1, .gives_up = gives_up};
  c.port = new_port(capacity, IL_FULL_BLOCK);
  if (c.port == NULL) return;
  for (int i = 1; i < SENDERS; i++) il_handle_retain(&c.port->tx);
  check_parallel(SENDERS + 1, send_or_receive, &c);
  check_crowd(&c);
  il_port_close(c.port);
  il_handle_release(&c.port->rx);
}

static void many_senders(void) {
  to_one_receiver(IL_UNBOUNDED, false);
}

static void many_senders_and_little_room(void) {
  to_one_receiver(1, false);
  to_one_receiver(7, false);
}

static void withdrawing_meets_accepting(void) {
  to_one_receiver(1, true);
}

/* -- Threads at a channel: one closes it when all is sent -------------------------------------- */

typedef struct meeting {
  crowd c;
  atomic_int left;
} meeting;

static void meet(int index, void *arg) {
  meeting *m = arg;
  il_handle_retain(&m->c.port->tx);
  send_or_receive(index, &m->c);
  if (index >= m->c.receivers) {
    if (atomic_fetch_sub(&m->left, 1) == 1) il_port_close(m->c.port);
  } else {
    il_handle_release(&m->c.port->tx);
  }
}

static void many_at_a_channel(void) {
  for (size_t capacity = 0; capacity <= 4; capacity += 2) {
    for (int gives_up = 0; gives_up < 2; gives_up++) {
      meeting m = {.c = {.each = check_scale(3000, 500), .receivers = 3, .gives_up = gives_up}};
      atomic_init(&m.left, SENDERS);
      m.c.port = new_channel(capacity);
      if (m.c.port == NULL) return;
      check_parallel(SENDERS + m.c.receivers, meet, &m);
      check_crowd(&m.c);
      free_port(m.c.port);
    }
  }
}

/* -- Closing meets everything ------------------------------------------------------------------ */

typedef struct closing {
  il_port *port;
  atomic_int ready;
  uint32_t delay;
} closing;

enum { CLOSERS = 2, ALL = 6 };

static void close_amid(int index, void *arg) {
  closing *c = arg;
  il_waiter *w = &waiters[index];
  il_waiter_init(w);
  atomic_fetch_add(&c->ready, 1);
  while (atomic_load(&c->ready) < ALL) il_yield();
  if (index < CLOSERS) {
    int64_t until = il_now() + c->delay;
    while (il_now() < until) il_yield();
    if (index == 0 && !c->port->channel)
      il_port_close(c->port); /* the owner's alone */
    else
      il_port_shut(c->port);
    return;
  }
  for (;;) {
    il_item item = message(index % 2 == 0 ? &c->port->tx : NULL);
    bool receives = c->port->channel && index % 2 == 1;
    if (receives) {
      il_item_fini(&item);
      if (receive_until(c->port, &item, w, SOON) == IL_CLOSED) return;
      il_item_fini(&item);
    } else {
      enum il_sent sent = send_until(c->port, &item, w, SOON);
      il_item_fini(&item);
      if (sent == IL_SENT_CLOSED) return;
      if (!CHECK_INT(sent, IL_SENT)) return;
    }
  }
}

static void closing_meets_all(void) {
  uint32_t random = 3;
  for (int i = 0; i < check_scale(100, 40); i++) {
    closing c = {.delay = check_random(&random) % 100000};
    c.port = i % 2 == 0 ? new_channel((size_t)(i / 2 % 3)) : new_port(3, IL_FULL_BLOCK);
    if (c.port == NULL) return;
    check_parallel(ALL, close_amid, &c);
    if (c.port->channel) { /* what was queued is still there, and may hold the channel */
      il_item item;
      while (il_port_receive(c.port, &item) == IL_GOT) il_item_fini(&item);
    }
    free_port(c.port);
  }
}

/* -- The last sender goes while the receiver waits --------------------------------------------- */

static void leave(int index, void *arg) {
  crowd *c = arg;
  il_waiter *w = &waiters[index];
  il_item item;
  int n = 0;
  if (index > 0) {
    if (index % 2 == 0) CHECK_INT(send(c->port, index), IL_SENT);
    il_handle_release(&c->port->tx);
    return;
  }
  il_waiter_init(w);
  while (receive_until(c->port, &item, w, SOON) == IL_GOT) n++;
  CHECK_INT(n, SENDERS / 2);
  CHECK_INT(receive(c->port), -2);
}

static void last_sender_goes(void) {
  for (int i = 0; i < check_scale(500, 100); i++) {
    crowd c = {.port = new_port(IL_UNBOUNDED, IL_FULL_BLOCK)};
    if (c.port == NULL) return;
    for (int k = 1; k < SENDERS; k++) il_handle_retain(&c.port->tx);
    check_parallel(SENDERS + 1, leave, &c);
    il_port_close(c.port);
    il_handle_release(&c.port->rx);
  }
}

static const check_case cases[] = {
  {"values come in the order of sending", keeps_order},
  {"every kind of value arrives as it was", carries_every_kind},
  {"a port has so much room, and more by force", is_full},
  {"what is dropped is the oldest or the newest", drops},
  {"offers are taken in their order", offers_come_in_order},
  {"an offer that is withdrawn is its maker's again", withdrawn},
  {"an offer where there is room is a send", offers_where_there_is_room},
  {"capacity 0 takes as many as wait for them", rendezvous},
  {"one that waits is woken, others told", wakes_one_that_waits},
  {"who was woken and takes nothing wakes the next", passes_a_wakeup_on},
  {"a watch fires for what is there already", watches_what_is_there},
  {"closing a port drops what is queued and refuses offers", closes_a_port},
  {"closing a channel refuses offers and lets it drain", closes_a_channel},
  {"without senders a port drains and is closed", ends_with_its_senders},
  {"a sender keeps a port whose receiver is gone", outlives_its_receiver},
  {"the last holder of a channel takes what is in it along", lets_go_of_what_is_queued},
  {"channels in channels end one after the other", ends_a_long_chain},
  {"a wait has hope when somebody else could end it", reachable},
  {"many senders: none lost, none twice, in order", many_senders},
  {"many senders and little room: the same", many_senders_and_little_room},
  {"withdrawing meets accepting: the same", withdrawing_meets_accepting},
  {"many senders and receivers of a channel: the same", many_at_a_channel},
  {"closing meets all, and nothing is left", closing_meets_all},
  {"the last sender goes while the receiver waits", last_sender_goes},
};

CHECK_MAIN(cases)
