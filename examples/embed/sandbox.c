/* sandbox.c - runs untrusted scripts with caps, and prints what stopped them. */
/* SPDX-License-Identifier: MIT */

/* cc sandbox.c $(pkg-config --cflags --libs isolua) -o sandbox; ./sandbox [FILE...] */

#include <isolua.h>
#include <stdio.h>
#include <string.h>

#define MILLISECOND (ISOLUA_SECOND / 1000)

typedef struct attempt {
  const char *what, *source;
} attempt;

static const attempt attempts[] = {
  {"a good one", "local sum = 0 for i = 1, 100 do sum = sum + i end return sum"},
  {"never ends", "while true do end"},
  {"catches all", "while true do pcall(error, 'no') end"},
  {"takes all memory", "local t = {} while true do t[#t + 1] = ('x'):rep(100000) end"},
  {"reads a file", "return io.open('/etc/passwd')"},
  {"runs a program", "return os.execute('true')"},
  {"loads bytecode", "return assert(load(string.dump(function() return 1 end)))"},
  {"loads a C library", "return require('socket.core')"},
  {"looks around", "return debug.getregistry()"},
};

static void run(isolua_host *host, const char *what, const char *source, size_t length) {
  isolua_future *future;
  int code = isolua_run_buffer(host, NULL, source, length, "=script", &future);
  if (code != ISOLUA_OK) {
    printf("%s: not started: %s\n", what, isolua_code_message(code));
    return;
  }
  code = isolua_future_wait(future, ISOLUA_FOREVER);
  if (code == ISOLUA_OK)
    printf("%s: %lld\n", what, isolua_future_integer(future, 1));
  else
    printf("%s: stopped (%s): %.*s\n", what, isolua_code_name(code),
           (int)strcspn(isolua_future_message(future), "\n"), isolua_future_message(future));
  isolua_future_release(future);
}

static void run_file(isolua_host *host, const char *path) {
  static char text[1 << 20];
  FILE *file = fopen(path, "rb");
  size_t n;
  if (file == NULL) {
    printf("%s: cannot be read\n", path);
    return;
  }
  n = fread(text, 1, sizeof text, file);
  fclose(file);
  run(host, path, text, n);
}

int main(int argc, char **argv) {
  isolua_host_options options;
  isolua_host *host;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.forbid = ISOLUA_SANDBOX;
  options.max_memory = 8 << 20;
  options.max_time = 300 * MILLISECOND;
  options.max_isolates = 4;
  if (isolua_host_open(&options, &host) != ISOLUA_OK) return 1;
  for (int i = 1; i < argc; i++) run_file(host, argv[i]);
  for (size_t i = 0; argc < 2 && i < sizeof attempts / sizeof *attempts; i++)
    run(host, attempts[i].what, attempts[i].source, strlen(attempts[i].source));
  return isolua_host_close(host, ISOLUA_SECOND);
}
