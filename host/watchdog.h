/* watchdog.h - one thread a host that rings alarms: timeouts, kills, graces. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_WATCHDOG_H
#define IL_WATCHDOG_H

#include "due.h"
#include "msg.h"
#include "plat.h"

/*
** An alarm lives in a counted thing, which it holds while it is set. When its time comes the
** watchdog's thread calls `ring`, with no lock held, which returns when to ring next (-1: not again).
*/
typedef struct il_alarm il_alarm;
struct il_alarm {
  il_due due;                  /* first; watchdog's lock */
  il_handle *owner;            /* fixed: the thing it lives in */
  int64_t (*ring)(il_alarm *); /* fixed */
  bool moved;                  /* watchdog's lock: set or cancelled while it rang */
};

typedef struct il_watchdog {
  /* fixed before the first alarm is set */
  void (*tell)(void *tell_ud, bool begins); /* on its thread, which begins, or ends; or NULL */
  void *tell_ud;

  il_mutex lock; /* guards all below, and what alarms say so of */
  il_cond change;
  il_thread thread;
  bool started, stop;
  il_dues alarms;
  size_t reserved;
  il_alarm *ringing;
  int64_t asleep; /* the thread sleeps until then at the latest; 0: it does not */
} il_watchdog;

int il_watchdog_init(il_watchdog *d);
/* Ends the thread; alarms that are still set are dropped. Not on the watchdog's own thread. */
void il_watchdog_stop(il_watchdog *d);
void il_watchdog_fini(il_watchdog *d); /* once it is stopped, or never was started */

/* Room for one more alarm, so that setting it cannot fail; 0 or ISOLUA_MEMORY. */
int il_watchdog_reserve(il_watchdog *d);
void il_watchdog_unreserve(il_watchdog *d);

void il_alarm_init(il_alarm *a, il_handle *owner, int64_t (*ring)(il_alarm *));
/* Rings at `when`, or earlier if it was set for earlier. Starts the thread at the first call: 0, or
** ISOLUA_SPAWN when that fails, ISOLUA_CLOSED once it is stopped. Thread: any. */
int il_alarm_set(il_watchdog *d, il_alarm *a, int64_t when);
/* It does not ring again; a ring under way may still be running. Thread: any. */
void il_alarm_cancel(il_watchdog *d, il_alarm *a);

#endif
