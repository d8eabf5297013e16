/* select.h - a wait for the first of several things: messages, room, futures, timers. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_SELECT_H
#define IL_SELECT_H

#include "buffer.h"
#include "loop.h"

/* -- Timers ------------------------------------------------------------------------------------- */

/* A timer of one state: a userdata. Owner thread. */
typedef struct isolua_timer {
  il_tick tick;     /* first */
  const void *mark; /* tells it from other userdata */
  long long id;     /* 0: nobody has asked for it */
  int64_t period;   /* ns; 0: it rings once */
  bool reserved;    /* it has its place among the ticks */
  bool rung;        /* and nobody has taken that yet */
  bool over;        /* cancelled, or rung for the last time */
  bool running;     /* its function is under way */
  int fn, self;     /* registry: the function; the userdata while both are needed; or LUA_NOREF */
  size_t waiting;   /* cases that wait for it */
  il_watches watches;
} il_timer;

/* -- Waits -------------------------------------------------------------------------------------- */

typedef struct il_wait il_wait;

typedef struct il_case {
  il_source s; /* first */
  il_wait *wait;
  isolua_case what;
  il_item item;    /* received, or to be sent; a loser's is freed */
  il_offer offer;  /* a single send waits with it */
  il_moves *moves; /* buffers that go along if it is sent */
  bool fired, offered, no_memory;
} il_case;

/* In a userdata, or on the C stack of a wait that does not yield. */
struct il_wait {
  il_tick tick;  /* first; the deadline of one that yields */
  il_coro *coro; /* parked in it; NULL: it is on the stack of who waits */
  int64_t deadline;
  bool reserved, timed_out, watching;
  bool awaits, inside; /* counted in the loop's `awaits`, and `inside` */
  bool foreign;        /* in another event loop, which knows it by `token` */
  bool called;         /* in the loop's list `called` */
  long long token;
  il_wait *next_called;
  lua_KContext ctx;
  isolua_waited *k;
  int n;
  il_case cases[1]; /* `n` of them */
};

/* The token of a wait in another event loop that may go on; 0: none. */
long long il_wait_called(il_vm *vm);

/* One more: of messages_in or messages_out, by the isolate's own thread. */
void il_count(atomic_llong *n);
/* Encodes the value on the top, which it pops, and gives what it takes along: 0; else an error object
** is pushed and its code returned. [-1, +0|1, -] */
int il_item_encode(il_vm *vm, lua_State *L, il_item *item, il_moves **moves);
/* isolua_port_take. */
int il_port_take(il_vm *vm, lua_State *L, il_port *p);
/* Pushes the value of *item, which is freed, whatever raises. [-0, +1, e] */
void il_item_push(il_vm *vm, lua_State *L, il_item *item);

#endif
