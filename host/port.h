/* port.h - queues of messages between isolates: ports, channels and inboxes. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_PORT_H
#define IL_PORT_H

#include "msg.h"
#include "plat.h"
#include "wait.h"

/*
** DESIGN. A port has two counted ends in one block. `tx` counts senders: userdata in any state, and
** those inside messages. `rx` keeps the memory; while `tx` is held it has one hold on `rx` (on `keep`
** where the port lies inside something else). A channel is a port whose holders hold `tx` and may do
** both. When the last sender is gone the queue drains and is then closed.
**  - Values without parts travel in the queue as they are; all others as messages.
**  - The receiver of an unbounded port takes the whole queue at once into `mine`, and reads that without
**    the lock. FIFO holds, since it takes again only when `mine` is empty.
**  - A sender that has to wait leaves its value as an offer; whoever makes room takes the oldest one
**    in, so a value is in one place at any time and senders are served in order. With capacity 0 a
**    receiver takes it out of the offer.
**  - A reader that was woken and does not take what there is wakes the next one: il_port_unwatch.
*/

#ifndef IL_CHUNK
#define IL_CHUNK 62 /* items of one block of the queue */
#endif

#define IL_UNBOUNDED SIZE_MAX

typedef enum il_item_kind {
  IL_ITEM_NONE,
  IL_ITEM_FALSE,
  IL_ITEM_TRUE,
  IL_ITEM_INTEGER,
  IL_ITEM_FLOAT,
  IL_ITEM_MSG
} il_item_kind;

/* One value on its way. Owned by one place at a time. */
typedef struct il_item {
  il_item_kind kind;
  union {
    long long integer;
    double number;
    il_msg *msg;
  } u;
} il_item;

void il_item_fini(il_item *item); /* frees what it holds; it is IL_ITEM_NONE then */

enum il_full { IL_FULL_BLOCK, IL_FULL_ERROR, IL_FULL_DROP_OLDEST, IL_FULL_DROP_NEWEST };

/* Its first 64 bytes are the line that a sender and a receiver meet at. */
typedef struct il_chunk {
  struct il_chunk *next;
  uint32_t first, end; /* items[first..end-1] are there */
  il_item items[IL_CHUNK];
} il_chunk;

typedef struct il_chunks {
  il_chunk *first, *last;
  size_t count; /* items in it */
} il_chunks;

typedef struct il_port il_port;

/* What a waiting sender leaves. Port's lock. */
typedef struct il_offer {
  il_watch *watch; /* fixed: fired when it is taken, or the port closed */
  il_item item;    /* NONE: it was taken */
  bool listed, refused;
  il_chunk *chunk; /* for the queue, should that need one; or NULL */
  struct il_offer *prev, *next;
} il_offer;

/* Padded to lines, and what is written by the same threads lies in one. */
struct il_port {
  il_handle rx, tx;

  /* fixed at creation */
  il_handle *keep; /* what `tx` holds while it is held; once nobody holds it, of use to port.c */
  char *name;      /* malloc; or NULL */
  size_t capacity;
  enum il_full full;
  bool channel;
  bool in_one;       /* the owner takes all that is queued at once: see `mine` */
  bool inbox;        /* its owner's own hold does not count as a sender */
  const void *owner; /* the isolate that receives; NULL: a channel. Compared, never followed */

  /* What every send and every receive writes lies in one line. */
  _Alignas(IL_LINE) il_lock lock; /* guards all up to `abandoned` */
  bool closed;
  atomic_size_t queued; /* messages; relaxed: read without the lock by the receiver and for show */
  il_item head;         /* the oldest of them; NONE: there is none */
  il_chunks queue;      /* the others */
  il_chunk *spare;      /* an empty one, or NULL */

  _Alignas(IL_LINE) il_sleeper *signalled; /* to be woken when the lock is free; or NULL */
  il_watches readers, writers;
  il_watches observers; /* told of what readers are told of, and take no reader's turn */
  il_offer *offers, *last_offer;
  size_t noffers;
  size_t seen;         /* of `taken`, or more */
  atomic_bool pressed; /* somebody may wait for room; read with `taken`: see port.c */
  unsigned abandoned;  /* holds on `tx` of isolates that are stuck: they will send nothing */

  atomic_bool roomy; /* a hint to a sender that spins: half of it is free again; relaxed */
  atomic_int own;    /* userdata for `tx` in the owner's state; relaxed, read under the lock */

  _Alignas(IL_LINE)
    atomic_bool arrived; /* a hint to who spins: the queue was empty, and is not; relaxed */

  /* owner thread only */
  _Alignas(IL_LINE) il_chunks mine;
  atomic_size_t taken; /* items in `mine`: they count for the capacity */
  bool patient;        /* values came faster than they were received: more may come at once */
  void *handler;       /* handler.c's, of malloc; or NULL. Not of a channel */
};

enum il_got { IL_GOT, IL_EMPTY, IL_CLOSED };                     /* of a receive */
enum il_sent { IL_SENT, IL_FULL, IL_SENT_CLOSED, IL_NO_MEMORY }; /* of a send */

/* With one hold on `rx`, none on `tx`. NULL: no memory. `name` is copied. */
il_port *il_port_new(const void *owner, const char *name, size_t capacity, enum il_full full);
il_port *il_channel_new(size_t capacity);
/* A port inside something else, which `keep` holds, with handles of type `tx`. It lies in lines. */
void il_port_init(il_port *p, const void *owner, il_handle *keep, const il_handle_type *tx);
void il_port_fini(il_port *p);

/* One more sender, also when there was none: the caller holds the port otherwise. */
void il_port_retain_sender(il_port *p);
il_port *il_port_of_sender(il_handle *tx);

/* Sends *item, which is taken over if it was sent; never waits. FULL: it has to (or there is no room,
** and full is "error"). `force`: whatever its capacity. Thread: any. */
enum il_sent il_port_send(il_port *p, il_item *item, bool force);
/* It was full: spins for at most `ns` until half of it is free, so that not every message has to wait. */
void il_port_linger(il_port *p, const il_waiter *w, int64_t ns);
/* The same for a sender that will wait: not sent, *item becomes an offer that fires
** offer->watch. il_port_withdraw ends it in any case. */
enum il_sent il_port_offer(il_port *p, il_item *item, il_offer *offer);
/* What became of it: FULL: it is still there. */
enum il_sent il_port_offered(il_port *p, il_offer *offer);
/* Ends it. FULL, it was still there, or CLOSED: its item is the caller's again. */
enum il_sent il_port_withdraw(il_port *p, il_offer *offer);

/* Thread: the owner's; of a channel any. */
enum il_got il_port_receive(il_port *p, il_item *item);
size_t il_port_count(il_port *p);   /* queued */
size_t il_port_waiting(il_port *p); /* the same for show. Thread: any */
/* Nobody sends or receives any more: what is queued is dropped, of a channel only what is offered. */
void il_port_close(il_port *p);
/* The same by a thread that is not the owner's: what the owner has taken stays. */
void il_port_shut(il_port *p);

/* Fires when there is something to receive, or room to send, or it closes, or no sender is left
** elsewhere: also when that is so already. */
void il_port_watch(il_port *p, il_watch *watch, bool writer);
void il_port_unwatch(il_port *p, il_watch *watch, bool writer);

/* For those who poll: fires whenever there may be something to receive, and does not count as somebody
** who waits to receive it. Not when that is so already: ask il_port_is_ready after. */
void il_port_observe(il_port *p, il_watch *watch);
void il_port_unobserve(il_port *p, il_watch *watch);
/* Would a receive end at once, with a message or closed? */
bool il_port_is_ready(il_port *p);

/* Can another isolate or a message in flight end a wait of isolate `self` on it? `writer`: for room;
** then what is queued or offered is no help, but only who could receive it. */
bool il_port_reachable(il_port *p, const void *self, bool writer);
/* Closed by anybody, or (for its receiver) by the last sender's end and drained. */
bool il_port_is_closed(il_port *p);

extern const il_handle_type il_receiver_type, il_sender_type, il_channel_type;
extern atomic_size_t il_live_ports;

/* il_handle_type.retain, .release and .held of senders, also of inboxes. */
void il_sender_retain(il_handle *h);
void il_sender_release(il_handle *h);
void il_sender_held(il_handle *h, const void *isolate, int delta);
/* A hold on a sender is one of an isolate that is stuck: who waits for a message is told. Its end is
** still awaited. `is` false: it is not any more. Other handles: nothing. */
void il_sender_abandon(il_handle *h, bool is);

#endif
