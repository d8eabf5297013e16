/* embed.c - how soon a program that embeds the library has the first line of its first isolate. */
/* SPDX-License-Identifier: MIT */

/* Prints `embed_start value us`: from main to the host's print callback. */
#include <isolua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double printed; /* s; the future that is waited for has settled after it was written */

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

static void on_print(void *ud, const char *text, size_t length) {
  if (length == 6 && memcmp(text, "hello\n", 6) == 0) *(double *)ud = now();
}

int main(void) {
  double from = now();
  isolua_host_options options = {.size = sizeof options, .print = on_print, .print_ud = &printed};
  isolua_host *host;
  isolua_future *future;
  check(isolua_host_open(&options, &host) == ISOLUA_OK, "no host");
  check(isolua_run_string(host, NULL, "print 'hello'", &future) == ISOLUA_OK, "no isolate");
  check(isolua_future_wait(future, ISOLUA_FOREVER) == ISOLUA_OK, "it failed");
  isolua_future_release(future);
  check(isolua_host_close(host, ISOLUA_SECOND) == ISOLUA_OK, "it goes on");
  check(printed > from, "nothing was printed");
  printf("embed_start %.2f us\n", (printed - from) * 1e6);
  return EXIT_SUCCESS;
}
