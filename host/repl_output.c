/* repl_output.c - the prompt's terminal as what is written to: by main, and by others above its line. */
/* SPDX-License-Identifier: MIT */

#include "repl_output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Of output without a line end, so much is shown again when it goes on. */
#define PARTIAL_MAX 512

/* Of output that is kept, at least so much of its end is shown; twice that is kept at most. */
#define KEPT_MAX ((size_t)1 << 16)

/* What the thread does with what comes through the pipe. */
enum mode {
  PASS, /* to the terminal */
  LINE, /* above the line that is edited */
  HOLD  /* kept for later */
};

static struct {
  /* fixed while it is open */
  int fd, pipe[2]; /* the terminal; reading end, writing end */
  int wake, stop;  /* an event for main; one that ends the thread */
  bool errors;     /* descriptor 2 is the terminal, too */
  pthread_t thread;

  /* the mutex and what it guards: who writes to the terminal, and so this */
  pthread_mutex_t lock;
  enum mode mode;
  bool dirty; /* others have printed where the line was */
  int row;    /* of its cursor */
  char *kept; /* malloc; of `kept_length` bytes */
  size_t kept_length, kept_room;
  size_t left_out;           /* bytes before these that are not kept any more */
  char partial[PARTIAL_MAX]; /* what was printed last, after its last line end */
  size_t partial_length;
  bool lone; /* the line stands below such output, on a row of its own */

  /* main only */
  bool open, edited;
  bool given;    /* main does not hold the mutex while it is edited */
  bool passing;  /* the thread is there */
  pid_t process; /* that opened it */
  volatile sig_atomic_t
    state; /* what the terminal was told, an index below: signal handlers read it */
} out = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* -- Writing ----------------------------------------------------------------------------------- */

/* All of it; a terminal that is gone takes nothing, and nothing is to be done about that. */
static void write_all(int fd, const char *text, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, text, length);
    if (n < 0 && errno == EAGAIN) {
      struct pollfd p = {.fd = fd, .events = POLLOUT};
      poll(&p, 1, -1);
    } else if (n < 0 && errno != EINTR) {
      return;
    } else if (n > 0) {
      text += n;
      length -= (size_t)n;
    }
  }
}

void out_write(const char *text, size_t length) {
  write_all(out.fd, text, length);
}

void out_text(const char *text) {
  out_write(text, strlen(text));
}

void out_size(int *columns, int *rows) {
  struct winsize size;
  *columns = 80;
  *rows = 24;
  if (ioctl(out.fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return;
  *columns = size.ws_col;
  *rows = size.ws_row;
}

/* -- What others print ------------------------------------------------------------------------- */

/* The line goes, and output that had no line end goes on where it was. */
static void erase_line_locked(void) {
  char text[64];
  int up = out.row + (out.lone ? 1 : 0);
  int n = up > 0 ? snprintf(text, sizeof text, "\r\033[%dA\033[J", up)
                 : snprintf(text, sizeof text, "\r\033[J");
  out_write(text, (size_t)n);
  if (out.lone) out_write(out.partial, out.partial_length);
  out.lone = false;
  out.dirty = true;
}

/* Notes what follows the last line end. Too much of it is not shown again. */
static void note_partial_locked(const char *text, size_t length) {
  const char *end = memrchr(text, '\n', length);
  if (end != NULL) {
    length -= (size_t)(end + 1 - text);
    text = end + 1;
    out.partial_length = 0;
  }
  if (length > PARTIAL_MAX - out.partial_length) {
    text += length - PARTIAL_MAX;
    if (length < PARTIAL_MAX) text = NULL; /* it was nearly full */
    length = text != NULL ? PARTIAL_MAX : 0;
    out.partial_length = 0;
  }
  if (length > 0) memcpy(out.partial + out.partial_length, text, length);
  out.partial_length += length;
}

/* At most KEPT_MAX bytes. False: no memory. */
static bool keep_locked(const char *text, size_t length) {
  if (out.kept_length + length > 2 * KEPT_MAX) {
    size_t cut = out.kept_length - KEPT_MAX;
    memmove(out.kept, out.kept + cut, KEPT_MAX);
    out.kept_length = KEPT_MAX;
    out.left_out += cut;
  }
  if (out.kept_room - out.kept_length < length) {
    size_t room = (out.kept_length + length) * 2;
    char *kept = realloc(out.kept, room);
    if (kept == NULL) return false;
    out.kept = kept;
    out.kept_room = room;
  }
  memcpy(out.kept + out.kept_length, text, length);
  out.kept_length += length;
  return true;
}

static void show_locked(const char *text, size_t length) {
  if (out.mode == HOLD && keep_locked(text, length)) return;
  if (out.mode == LINE) {
    if (!out.dirty) erase_line_locked();
    note_partial_locked(text, length);
  }
  out_write(text, length);
}

void out_wake(void) {
  eventfd_write(out.wake, 1); /* it fails only when main is woken already */
}

/* Ends once it is told to and the pipe is empty. */
static void *pass_output(void *arg) {
  static char text[KEPT_MAX];
  struct pollfd p[2] = {{.fd = out.pipe[0], .events = POLLIN}, {.fd = out.stop, .events = POLLIN}};
  int left = INT_MAX; /* bytes, once it is to end: a program that was started may write on */
  (void)arg;
  while (left > 0) {
    ssize_t n;
    if (poll(p, 2, -1) < 0) continue;
    if (p[1].revents != 0 && left == INT_MAX && ioctl(out.pipe[0], FIONREAD, &left) != 0) break;
    if (left == 0 || p[0].revents == 0) break;
    n = read(out.pipe[0], text, sizeof text < (size_t)left ? sizeof text : (size_t)left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (left != INT_MAX) left -= (int)n;
    pthread_mutex_lock(&out.lock);
    show_locked(text, (size_t)n);
    pthread_mutex_unlock(&out.lock);
    out_wake();
  }
  return NULL;
}

bool out_is_dirty(void) {
  return out.dirty;
}

/* Output that fills more than a row is not gone on with. */
void out_fresh(void) {
  int columns, rows;
  out_size(&columns, &rows);
  if (out.partial_length > 0) out_text("\r\n");
  if (out.partial_length >= (size_t)columns) out.partial_length = 0;
  out.lone = out.partial_length > 0;
  out.dirty = false;
}

/* From a line's beginning on, if it is not all. */
static void show_kept_locked(void) {
  size_t from = 0;
  if (out.left_out > 0) {
    const char *end = memchr(out.kept, '\n', out.kept_length);
    char note[64];
    if (end != NULL) from = (size_t)(end + 1 - out.kept);
    out_write(note, (size_t)snprintf(note, sizeof note, "... %zu bytes are left out\r\n",
                                     out.left_out + from));
  }
  out_write(out.kept + from, out.kept_length - from);
  out.left_out = 0;
  free(out.kept);
  out.kept = NULL;
  out.kept_length = out.kept_room = 0;
}

/* -- What the terminal is told: nothing, that a line is edited, that it is a screen of its own ------- */

enum { PLAIN, EDITED, SCREEN };
static const char *const entering[] = {"", "\033[?2004h", "\033[?1049h\033[?25l"};
static const char *const leaving[] = {"", "\033[?2004l", "\033[?25h\033[?1049l"};

void out_enter(void) {
  out_text(entering[out.state]);
}

void out_leave(void) {
  if (out.open) out_text(leaving[out.state]);
}

/* -- Whose descriptors 1 and 2 are ---------------------------------------------------------------- */

static void redirect(int fd) {
  dup2(fd, STDOUT_FILENO);
  if (out.errors) dup2(fd, STDERR_FILENO);
}

void out_begin(bool hold) {
  fflush(stdout);
  redirect(out.pipe[1]);
  pthread_mutex_lock(&out.lock);
  out.mode = hold ? HOLD : LINE;
  out.dirty = out.lone = false;
  out.partial_length = 0;
  out.row = 0;
  out.edited = true;
  out.state = hold ? SCREEN : EDITED;
}

/* Whoever prints may hold stdout's lock until the pipe is read: so that is waited for without the mutex. */
void out_end(void) {
  out_leave();
  out.state = PLAIN;
  if (out.mode == HOLD) show_kept_locked();
  out.mode = PASS;
  out.edited = false;
  pthread_mutex_unlock(&out.lock);
  fflush(stdout);
  redirect(out.fd);
}

/* -- Whose turn it is -------------------------------------------------------------------------------- */

void out_give(int row) {
  out.row = row;
  out.given = true;
  if (out.edited) pthread_mutex_unlock(&out.lock);
}

void out_take(void) {
  if (out.edited) pthread_mutex_lock(&out.lock);
  out.given = false;
}

bool out_wants_line(void) {
  bool dirty;
  pthread_mutex_lock(&out.lock);
  dirty = out.mode == LINE && out.dirty;
  pthread_mutex_unlock(&out.lock);
  return dirty;
}

/* -- Opening and closing --------------------------------------------------------------------------- */

int out_fd(void) {
  return out.fd;
}

int out_event(void) {
  return out.wake;
}

static void close_descriptors(void) {
  close(out.wake);
  close(out.stop);
  close(out.pipe[0]);
  close(out.pipe[1]);
  close(out.fd);
}

static int open_descriptors(void) {
  int code;
  out.errors = isatty(STDERR_FILENO);
  out.fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  if (out.fd < 0) return errno;
  if (pipe2(out.pipe, O_CLOEXEC) != 0) goto fail_pipe;
  out.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (out.wake < 0) goto fail_wake;
  out.stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (out.stop >= 0) return 0;
  code = errno;
  close(out.wake);
  errno = code;
fail_wake:
  code = errno;
  close(out.pipe[0]);
  close(out.pipe[1]);
  errno = code;
fail_pipe:
  code = errno;
  close(out.fd);
  return code;
}

int out_open(void) {
  sigset_t all, old;
  int code = open_descriptors();
  if (code != 0) return code;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  code = pthread_create(&out.thread, NULL, pass_output, NULL);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (code != 0)
    close_descriptors();
  else
    out.open = out.passing = true;
  out.process = getpid();
  return code;
}

/* The thread has passed on all that was in the pipe before. Others may still hold its writing end. */
static void stop_passing(void) {
  if (!out.passing) return;
  eventfd_write(out.stop, 1);
  pthread_join(out.thread, NULL);
  out.passing = false;
}

/* In a process that was forked off there is no such thread. */
void out_restore(void) {
  if (!out.open || out.process != getpid()) return;
  if (out.edited) redirect(out.fd);
  if (out.edited && !out.given) pthread_mutex_unlock(&out.lock);
  stop_passing();
  if (!out.edited) return;
  out_leave();
  if (out.mode == HOLD) show_kept_locked();
  if (out.mode == LINE && !out.dirty) out_text("\r\n");
  out.edited = false;
  out.state = PLAIN;
}

void out_close(void) {
  if (!out.open) return;
  stop_passing();
  out.open = false;
  close_descriptors();
}
