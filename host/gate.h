/* gate.h - one thread at a time, in the order of arrival; not a lock: whoever waits can give up. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_GATE_H
#define IL_GATE_H

#include "wait.h"

/* One for the process, since the system's loader and the static variables of C modules are: hosts share
** it. It is passed with a waiter, by the thread that owns that, again and again too: it opens when it
** was left as often. */

/* A place in the queue, on the stack of who waits. */
typedef struct il_gate_place {
  il_waiter *who;
  bool inside; /* the gate's lock */
  struct il_gate_place *next;
} il_gate_place;

/* True: inside. False: in the queue; the waiter is woken when it is its turn. No lock is held after it. */
bool il_gate_enter(il_gate_place *place, il_waiter *who);
/* Is it its turn now? Then it is inside. */
bool il_gate_arrived(il_gate_place *place);
/* Leaves the queue, or the gate if it was its turn meanwhile. */
void il_gate_give_up(il_gate_place *place);
void il_gate_leave(void); /* for the one that is inside */

#endif
