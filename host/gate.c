/* gate.c - the gate that the loading of C modules goes through. */
/* SPDX-License-Identifier: MIT */
#include "gate.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>

#include "plat.h"

static struct {
  il_mutex lock;          /* guards all below; nothing is called under it but wake-ups */
  const il_waiter *owner; /* who is inside; NULL: nobody */
  unsigned depth;
  il_gate_place *first, **last; /* queue */
} gate;

static void init(void) {
  if (il_mutex_init(&gate.lock) != 0) assert(!"a mutex that is static can be made");
  gate.last = &gate.first;
}

static void lock(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init);
  il_mutex_lock(&gate.lock);
}

bool il_gate_enter(il_gate_place *place, il_waiter *who) {
  bool inside;
  *place = (il_gate_place){who, false, NULL};
  lock();
  place->inside = inside = gate.owner == NULL || gate.owner == who;
  if (inside) {
    gate.owner = who;
    gate.depth++;
  } else {
    *gate.last = place;
    gate.last = &place->next;
  }
  il_mutex_unlock(&gate.lock);
  return inside;
}

bool il_gate_arrived(il_gate_place *place) {
  bool inside;
  lock();
  inside = place->inside;
  il_mutex_unlock(&gate.lock);
  return inside;
}

/* The next one is inside before it knows: nobody overtakes it. */
static void leave_locked(void) {
  il_gate_place *next = gate.first;
  assert(il_mutex_held(&gate.lock) && gate.depth > 0);
  if (--gate.depth > 0) return;
  gate.owner = NULL;
  if (next == NULL) return;
  gate.first = next->next;
  if (gate.first == NULL) gate.last = &gate.first;
  gate.owner = next->who;
  gate.depth = 1;
  next->inside = true;
  il_waiter_wake(next->who); /* under the lock: afterwards it may be gone */
}

void il_gate_give_up(il_gate_place *place) {
  lock();
  if (place->inside) {
    leave_locked();
  } else {
    il_gate_place **at = &gate.first;
    while (*at != place) at = &(*at)->next;
    *at = place->next;
    if (place->next == NULL) gate.last = at;
  }
  il_mutex_unlock(&gate.lock);
}

void il_gate_leave(void) {
  lock();
  leave_locked();
  il_mutex_unlock(&gate.lock);
}
