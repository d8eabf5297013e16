/* embed.c - what a program that embeds the library waits for: its first line, messages, the pump. */
/* SPDX-License-Identifier: MIT */

/*
** embed [ROW]: prints `ROW value unit`, of embed_start when none is named. From main to the host's
** print callback, us; an integer from a C thread to an isolate and back, us; isolua_pump with nothing
** to do, ns; one that calls back with 10,000 messages, us; isolua_attach and isolua_detach, us.
*/
#include <isolua_lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static isolua_host *host;
static double from, printed; /* s; the future that is waited for has settled after it was written */
static int received;         /* by on_message */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "embed: %s\n", what);
  exit(EXIT_FAILURE);
}

static void on_print(void *ud, long long isolate, const char *name, const char *text,
                     size_t length) {
  (void)isolate, (void)name;
  if (length == 6 && memcmp(text, "hello\n", 6) == 0) *(double *)ud = now();
}

static double start(void) {
  isolua_future *future;
  check(isolua_run_string(host, NULL, "print 'hello'", &future) == ISOLUA_OK, "no isolate");
  check(isolua_future_wait(future, ISOLUA_FOREVER) == ISOLUA_OK, "it failed");
  isolua_future_release(future);
  check(printed > from, "nothing was printed");
  return (printed - from) * 1e6;
}

static void send_integer(isolua_sender *to, long long n) {
  isolua_message *m;
  check(isolua_message_new(&m) == ISOLUA_OK, "no memory");
  isolua_add_integer(m, n);
  check(isolua_send(to, m, ISOLUA_FOREVER) == ISOLUA_OK, "not sent");
}

static double round_trip(void) {
  static const char echo[] = "local tx = ... local rx = require 'isolate'.inbox() "
                             "for n in rx:messages() do tx:send(n) end";
  enum { TIMES = 100000 };
  isolua_options options = {.size = sizeof options};
  isolua_receiver *back;
  isolua_sender *sender;
  isolua_isolate *there;
  double begin = 0;
  check(isolua_receiver_new(host, NULL, 0, &back, &sender) == ISOLUA_OK, "no port");
  check(isolua_message_new(&options.args) == ISOLUA_OK, "no memory");
  isolua_add_sender(options.args, sender);
  isolua_sender_release(sender);
  check(isolua_spawn_string(host, &options, echo, &there) == ISOLUA_OK, "no isolate");
  for (int i = -TIMES / 10; i < TIMES; i++) {
    isolua_message *m;
    if (i == 0) begin = now();
    send_integer(isolua_isolate_sender(there), i);
    check(isolua_receive(back, ISOLUA_FOREVER, &m) == ISOLUA_OK, "nothing came");
    check(isolua_value_integer(isolua_message_value(m, 1)) == i, "another integer came");
    isolua_message_free(m);
  }
  begin = (now() - begin) / TIMES * 1e6;
  isolua_isolate_release(there);
  isolua_receiver_close(back);
  return begin;
}

static double pump_idle(void) {
  enum { TIMES = 1000000 };
  double begin = now();
  for (int i = 0; i < TIMES; i++) check(isolua_pump(host, 100, 1000000) == 0, "there is something");
  return (now() - begin) / TIMES * 1e9;
}

static void on_message(void *ud, isolua_receiver *receiver, isolua_message *m) {
  (void)ud, (void)receiver;
  received++;
  isolua_message_free(m);
}

static double pump_frame(void) {
  enum { TIMES = 100, MESSAGES = 10000 };
  isolua_receiver *receiver;
  isolua_sender *sender;
  double sum = 0;
  check(isolua_receiver_new(host, NULL, 0, &receiver, &sender) == ISOLUA_OK, "no port");
  check(isolua_receiver_on_message(receiver, on_message, NULL) == ISOLUA_OK, "no callback");
  for (int i = 0; i < TIMES; i++) {
    double begin;
    for (int k = 0; k < MESSAGES; k++) send_integer(sender, k);
    begin = now();
    isolua_pump(host, -1, -1);
    sum += now() - begin;
    check(received == (i + 1) * MESSAGES, "not all came");
  }
  isolua_receiver_close(receiver);
  isolua_sender_release(sender);
  return sum / TIMES * 1e6;
}

static double attach(void) {
  enum { TIMES = 10000 };
  lua_State *L = luaL_newstate();
  double begin = now();
  check(L != NULL, "no state");
  for (int i = 0; i < TIMES; i++) {
    check(isolua_attach(host, L) == ISOLUA_OK, "not attached");
    check(isolua_detach(L) == ISOLUA_OK, "not detached");
  }
  begin = (now() - begin) / TIMES * 1e6;
  lua_close(L);
  return begin;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name, *unit;
    double (*run)(void);
  } rows[] = {{"embed_start", "us", start},
              {"native_round_trip", "us", round_trip},
              {"pump_idle", "ns", pump_idle},
              {"pump_10k", "us", pump_frame},
              {"attach_detach", "us", attach}};
  isolua_host_options options = {.size = sizeof options, .print = on_print, .print_ud = &printed};
  const char *name = argc > 1 ? argv[1] : rows[0].name;
  from = now();
  check(isolua_host_open(&options, &host) == ISOLUA_OK, "no host");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strcmp(name, rows[i].name) == 0) printf("%s %.2f %s\n", name, rows[i].run(), rows[i].unit);
  check(isolua_host_close(host, ISOLUA_SECOND) == ISOLUA_OK, "it goes on");
  return EXIT_SUCCESS;
}
