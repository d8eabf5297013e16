/* hello.c - Lua isolates in a C program: results, errors, limits, and a cancel. */
/* SPDX-License-Identifier: MIT */

/*
** As C:    cc hello.c $(pkg-config --cflags --libs isolua) -o hello
** As C++:  c++ -x c++ hello.c $(pkg-config --cflags --libs isolua) -o hello
*/

#include <isolua.h>
#include <stdio.h>
#include <string.h>

#define MILLISECOND (ISOLUA_SECOND / 1000)

/* The library says here what nobody else is told. It may call from any of its threads. */
static void log_line(void *ud, const char *text, size_t length) {
  fprintf(stderr, "%s: %.*s\n", (const char *)ud, (int)length, text);
}

/* Options that differ from the defaults only in the name. */
static isolua_options named(const char *name) {
  isolua_options options;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.name = name;
  return options;
}

/* Waits for the work, and prints how it went wrong if it did. Returns whether it has results. */
static int await(const char *title, isolua_future *future) {
  int code = isolua_future_wait(future, ISOLUA_FOREVER);
  if (code == ISOLUA_OK) return 1;
  printf("%s: code %s: %s\n", title, isolua_code_name(code), isolua_future_message(future));
  return 0;
}

/* Results of several types. */
static void results(isolua_host *host) {
  static const char source[] = "local list = {}\n"
                               "for i = 1, 10 do list[i] = i * i end\n"
                               "return #list, list[10] / 8, table.concat(list, ' '), true, list";
  isolua_options options = named("squares");
  isolua_future *future;
  size_t length;
  const char *text;
  options.timeout = 10 * ISOLUA_SECOND;
  options.memory = 16 << 20;
  options.libs = "string table";
  if (isolua_run_string(host, &options, source, &future) != ISOLUA_OK) return;
  if (await("results", future)) {
    text = isolua_future_string(future, 3, &length);
    printf("results: %d\n", isolua_future_count(future));
    printf("  integer: %lld\n", isolua_future_integer(future, 1));
    printf("  float: %.1f\n", isolua_future_number(future, 2));
    printf("  string of %d bytes: %s\n", (int)length, text);
    printf("  boolean: %d\n", isolua_future_boolean(future, 4));
    printf("  a table of %d\n", (int)isolua_value_length(isolua_future_value(future, 5)));
  }
  isolua_future_release(future);
}

/* An error has a code, a message, and the traceback of where it was raised. */
static void failure(isolua_host *host) {
  static const char source[] = "local function open(door)\n"
                               "  error('no such door: ' .. door)\n"
                               "end\n"
                               "open('front')\n"
                               "print('inside')";
  isolua_options options = named("house");
  isolua_future *future;
  if (isolua_run_buffer(host, &options, source, sizeof source - 1, "=house", &future) != ISOLUA_OK)
    return;
  if (!await("error", future)) printf("%s\n", isolua_future_traceback(future));
  isolua_future_release(future);
}

/* What an isolate may use is bounded, whatever its code does. */
static void limits(isolua_host *host) {
  isolua_options options = named("endless");
  isolua_future *future;
  options.timeout = 50 * MILLISECOND;
  if (isolua_run_string(host, &options, "while true do pcall(error) end", &future) == ISOLUA_OK) {
    printf("over its time: %s\n", isolua_code_name(isolua_future_wait(future, ISOLUA_FOREVER)));
    isolua_future_release(future);
  }
  options = named("hungry");
  options.memory = 1 << 20;
  if (isolua_run_string(host, &options, "return #('x'):rep(1 << 24)", &future) == ISOLUA_OK) {
    printf("out of memory: %s\n", isolua_code_name(isolua_future_wait(future, ISOLUA_FOREVER)));
    isolua_future_release(future);
  }
}

/* A wait may end before the work does; the work may be cancelled at any time. */
static void cancel(isolua_host *host) {
  isolua_options options = named("loop");
  isolua_future *future;
  if (isolua_run_string(host, &options, "while true do end", &future) != ISOLUA_OK) return;
  if (isolua_future_wait(future, 20 * MILLISECOND) == ISOLUA_TIMEOUT)
    printf("still running: %d\n", !isolua_future_done(future));
  isolua_future_cancel(future, "no longer needed");
  await("cancel", future);
  isolua_future_release(future);
}

int main(void) {
  static char name[] = "hello";
  isolua_host_options options;
  isolua_host *host;
  int code;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.log = log_line;
  options.log_ud = name;
  code = isolua_host_open(&options, &host);
  if (code != ISOLUA_OK) {
    fprintf(stderr, "%s: %s\n", name, isolua_code_message(code));
    return 1;
  }
  results(host);
  failure(host);
  limits(host);
  cancel(host);
  code = isolua_host_close(host, ISOLUA_SECOND);
  printf("closed: %s\n", code == ISOLUA_OK ? "all isolates ended" : isolua_code_message(code));
  return code != ISOLUA_OK;
}
