/* gate_test.c - one at a time, in order, again and again, and those that give up. */
/* SPDX-License-Identifier: MIT */
#include "gate.h"

#include "check.h"
#include "plat.h"

#define SOON il_deadline((int64_t)20000000000) /* what should come at once has come by then */

static void opens_when_left_as_often(void) {
  il_waiter a, b;
  il_gate_place here, there;
  il_waiter_init(&a);
  il_waiter_init(&b);
  CHECK(il_gate_enter(&here, &a));
  CHECK(il_gate_enter(&here, &a));
  CHECK(!il_gate_enter(&there, &b));
  il_gate_leave();
  CHECK(!il_gate_arrived(&there));
  il_gate_leave();
  CHECK(il_gate_arrived(&there));
  CHECK(il_waiter_sleep(&b, 0));
  il_gate_leave();
}

static void keeps_the_order(void) {
  enum { N = 5 };
  il_waiter w[N];
  il_gate_place place[N];
  for (int i = 0; i < N; i++) {
    il_waiter_init(&w[i]);
    CHECK_INT(il_gate_enter(&place[i], &w[i]), i == 0);
  }
  for (int i = 1; i < N; i++) {
    il_gate_leave();
    CHECK(il_gate_arrived(&place[i]));
    if (i + 1 < N) CHECK(!il_gate_arrived(&place[i + 1]));
  }
  il_gate_leave();
}

static void lets_go_of_the_queue(void) {
  enum { N = 4 };
  il_waiter w[N];
  il_gate_place place[N];
  for (int i = 0; i < N; i++) {
    il_waiter_init(&w[i]);
    il_gate_enter(&place[i], &w[i]);
  }
  il_gate_give_up(&place[3]); /* the last */
  il_gate_give_up(&place[1]); /* the first */
  il_gate_leave();
  CHECK(il_gate_arrived(&place[2]));
  CHECK(!il_gate_enter(&place[1], &w[1]));
  il_gate_give_up(&place[2]); /* inside */
  CHECK(il_gate_arrived(&place[1]));
  il_gate_leave();
  CHECK(il_gate_enter(&place[0], &w[0]));
  il_gate_leave();
}

static int inside; /* no atomic: the gate sees to it */

static void pass(int index, void *arg) {
  uint32_t state = (uint32_t)index + 1;
  il_waiter self;
  (void)arg;
  il_waiter_init(&self);
  il_awake_add(1);
  for (int round = 0; round < check_scale(20000, 1000); round++) {
    il_gate_place place;
    bool in = il_gate_enter(&place, &self);
    if (!in && check_random(&state) % 4 == 0) {
      il_gate_give_up(&place);
      continue;
    }
    while (!in && !il_gate_arrived(&place))
      if (!CHECK(il_waiter_sleep(&self, SOON))) return;
    if (!CHECK_INT(++inside, 1)) return;
    inside--;
    il_gate_leave();
  }
  il_awake_add(-1);
}

static void one_at_a_time(void) {
  check_parallel(4, pass, NULL);
  CHECK_INT(inside, 0);
}

static const check_case cases[] = {
  {"the gate opens when it was left as often as it was entered", opens_when_left_as_often},
  {"the gate lets in who came first", keeps_the_order},
  {"who gives up leaves the queue, or the gate if it was its turn", lets_go_of_the_queue},
  {"the gate lets in one thread at a time, also while others give up", one_at_a_time},
};

CHECK_MAIN(cases)
