/* epoll.c - a server's own loop: a pipe and the isolates' results, waited for in one epoll_wait. */
/* SPDX-License-Identifier: MIT */

/* cc epoll.c $(pkg-config --cflags --libs isolua) -o epoll; seq 1 5 | ./epoll */

#include <isolua.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Each line of stdin is a number, whose square an isolate computes. */
static const char source[] = "local n = tonumber((...)) or error('no number: ' .. (...), 0)\n"
                             "return n * n";

static int in_work; /* futures that have not called back; used by the loop's thread alone */

static void answer(void *ud, isolua_future *future) {
  (void)ud;
  in_work--;
  if (isolua_future_count(future) > 0)
    printf("%lld\n", isolua_future_integer(future, 1));
  else
    printf("%s\n", isolua_future_message(future));
}

static void serve_line(isolua_host *host, const char *line, size_t length) {
  isolua_options options;
  isolua_future *future;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  if (isolua_message_new(&options.args) != ISOLUA_OK) return;
  isolua_add_bytes(options.args, line, length);
  if (isolua_run_string(host, &options, source, &future) != ISOLUA_OK) return;
  if (isolua_future_on_done(future, answer, NULL) == ISOLUA_OK) in_work++;
  isolua_future_release(future); /* the callback keeps it */
}

/* Whole lines of what was read so far; how much is left of a last one. */
static size_t serve_lines(isolua_host *host, char *text, size_t n) {
  char *line = text, *end;
  while ((end = (char *)memchr(line, '\n', (size_t)(text + n - line))) != NULL) {
    serve_line(host, line, (size_t)(end - line));
    line = end + 1;
  }
  n = (size_t)(text + n - line);
  memmove(text, line, n);
  return n;
}

int main(void) {
  static char text[65536];
  struct epoll_event in, isolates, event;
  isolua_host *host;
  size_t have = 0;
  int epoll = epoll_create1(EPOLL_CLOEXEC), open = 1;
  if (epoll < 0 || isolua_host_open(NULL, &host) != ISOLUA_OK) return 1;
  in.events = isolates.events = EPOLLIN;
  in.data.fd = STDIN_FILENO;
  isolates.data.fd = isolua_fd(host);
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &in) != 0 ||
      epoll_ctl(epoll, EPOLL_CTL_ADD, isolates.data.fd, &isolates) != 0) {
    fprintf(stderr, "epoll: pipe something into stdin: seq 1 5 | ./epoll\n");
    return 1;
  }
  while (open || in_work > 0) {
    if (epoll_wait(epoll, &event, 1, -1) < 1) continue;
    if (event.data.fd == STDIN_FILENO) {
      ssize_t n = read(STDIN_FILENO, text + have, sizeof text - have);
      if (n > 0) have = serve_lines(host, text, have + (size_t)n);
      if (n <= 0) {
        open = 0;
        epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, &in);
      }
    } else {
      isolua_pump(host, -1, -1);
    }
  }
  close(epoll);
  return isolua_host_close(host, ISOLUA_SECOND);
}
