/* repl_term.c - the prompt's terminal: signals, and waiting for a key. */
/* SPDX-License-Identifier: MIT */

#include "repl.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "isolua.h"
#include "isolua_lua.h"
#include "repl_output.h"

/* So long, in ns, the event loop may keep a key waiting. */
#define PUMP_TIME 10000000

enum { ENDS = 3 };

static struct {
  lua_State *L; /* main's */
  pthread_t thread;
  struct termios modes;                 /* of the terminal when it was opened */
  struct sigaction interrupts, resizes; /* as they were */
  struct sigaction ends[ENDS];          /* likewise */
  bool open;
} term;

/* What signal handlers read and write. */
static volatile sig_atomic_t interrupted, resized, stopped;
static volatile sig_atomic_t pressed; /* Ctrl-C, whatever it did */

/* -- Signals ------------------------------------------------------------------------------------- */

/* It ends what runs, or else the line that is edited. */
static void on_interrupt(int signal) {
  int before = errno;
  if (!pthread_equal(pthread_self(), term.thread)) {
    pthread_kill(term.thread, signal); /* threads of others do not block it */
    errno = before;
    return;
  }
  pressed = 1;
  if (!isolua_break(term.L)) interrupted = 1;
  out_wake();
  errno = before;
}

static void on_other(int signal) {
  int before = errno;
  if (signal == SIGWINCH)
    resized = 1;
  else
    stopped = 1;
  out_wake();
  errno = before;
}

/* The signal ends the process once the handler has returned. */
static void on_end(int signal) {
  int before = errno;
  tcsetattr(STDIN_FILENO, TCSANOW, &term.modes);
  out_leave();
  raise(signal);
  errno = before;
}

static const int ends[ENDS] = {SIGHUP, SIGQUIT, SIGTERM};

/* One that is ignored stays so. */
static void catch_ends(void) {
  struct sigaction action = {.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND};
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < ENDS; i++) {
    sigaction(ends[i], NULL, &term.ends[i]);
    if (term.ends[i].sa_handler == SIG_DFL) sigaction(ends[i], &action, NULL);
  }
}

static void handle(int signal, void (*handler)(int), struct sigaction *old) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, old);
}

/* With the terminal as the shell knows it. */
static void stop_now(void) {
  struct termios modes;
  struct sigaction caught;
  sigset_t set, old;
  tcgetattr(STDIN_FILENO, &modes);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &term.modes);
  out_leave();
  handle(SIGTSTP, SIG_DFL, &caught);
  raise(SIGTSTP);
  sigemptyset(&set);
  sigaddset(&set, SIGTSTP);
  pthread_sigmask(SIG_UNBLOCK, &set, &old); /* here it stops, if not before */
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  sigaction(SIGTSTP, &caught, NULL);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &modes);
  out_enter();
}

/* -- Waiting ------------------------------------------------------------------------------------- */

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * ISOLUA_SECOND + time.tv_nsec;
}

static int pump(lua_State *L) {
  isolua_loop_pump(L, -1, PUMP_TIME);
  return 0;
}

void term_on_break(lua_State *L) {
  lua_rawsetp(L, LUA_REGISTRYINDEX, &term);
}

static void run_loop(lua_State *L) {
  int top = lua_gettop(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &term);
  lua_pushcfunction(L, pump);
  isolua_breakable(L, 0, 0, top + 1);
  lua_settop(L, top);
}

/* Sleeps until a descriptor or a timer has something. Is it a key? */
static bool sleep_until(lua_State *L, int fd, int64_t end) {
  struct pollfd p[3] = {{.fd = STDIN_FILENO, .events = POLLIN},
                        {.fd = out_event(), .events = POLLIN},
                        {.fd = fd, .events = POLLIN}};
  int64_t ns = isolua_loop_next(L);
  eventfd_t count;
  struct timespec *limit = NULL, time;
  if (end >= 0) {
    int64_t left = end - now();
    if (left < 0) left = 0;
    if (ns < 0 || left < ns) ns = left;
  }
  if (ns >= 0) {
    time = (struct timespec){.tv_sec = ns / ISOLUA_SECOND, .tv_nsec = (long)(ns % ISOLUA_SECOND)};
    limit = &time;
  }
  if (ppoll(p, 3, limit, NULL) < 0) return false;
  if (p[1].revents != 0) eventfd_read(out_event(), &count);
  if (p[2].revents != 0 || isolua_loop_next(L) == 0) run_loop(L);
  return p[0].revents != 0;
}

static bool take(volatile sig_atomic_t *flag) {
  if (*flag == 0) return false;
  *flag = 0;
  return true;
}

static enum term_event wait_free(lua_State *L, int64_t end) {
  int fd = isolua_loop_fd(L);
  for (;;) {
    bool key = sleep_until(L, fd, end);
    if (take(&interrupted)) return TERM_INTERRUPT;
    if (take(&stopped)) {
      stop_now();
      return TERM_CONTINUE;
    }
    if (take(&resized)) return TERM_RESIZE;
    if (out_wants_line()) return TERM_DRAW;
    if (key) return TERM_KEY;
    if (end >= 0 && now() >= end) return TERM_TIMEOUT;
  }
}

enum term_event term_wait(lua_State *L, int row, int64_t ns) {
  int64_t end = ns >= 0 ? now() + ns : -1;
  struct sigaction stops;
  enum term_event event;
  out_give(row);
  handle(SIGTSTP, on_other, &stops);
  event = wait_free(L, end);
  sigaction(SIGTSTP, &stops, NULL);
  isolua_loop_fd_close(L);
  out_take();
  return event;
}

bool term_was_interrupted(void) {
  return take(&pressed);
}

/* libedit has the driver make no signals then. */
bool term_is_quoted(void) {
  struct termios modes;
  return tcgetattr(STDIN_FILENO, &modes) == 0 && (modes.c_lflag & ISIG) == 0;
}

/* One byte at a time: what follows may be for whoever reads standard input next. What begins no character
** is lost. */
int term_read_char(wchar_t *c) {
  static mbstate_t state;
  bool begun = !mbsinit(&state);
  char byte;
  size_t used;
  ssize_t n = read(STDIN_FILENO, &byte, 1);
  if (n < 0 && errno == EINTR) return -1;
  if (n <= 0) return 0;
  used = mbrtowc(c, &byte, 1, &state);
  if (used == (size_t)-1) {
    out_text("\a");
    state = (mbstate_t){0};
    if (begun) used = mbrtowc(c, &byte, 1, &state);
  }
  if (used == (size_t)-1) state = (mbstate_t){0};
  return used == (size_t)-1 || used == (size_t)-2 ? -1 : 1;
}

/* -- Opening and closing --------------------------------------------------------------------------- */

int term_open(lua_State *L) {
  int code = out_open();
  if (code != 0) return code;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  term.L = lua_tothread(L, -1);
  term.thread = pthread_self();
  lua_pop(L, 1);
  tcgetattr(STDIN_FILENO, &term.modes);
  term.open = true;
  handle(SIGINT, on_interrupt, &term.interrupts);
  handle(SIGWINCH, on_other, &term.resizes);
  catch_ends();
  atexit(term_restore);
  return 0;
}

void term_restore(void) {
  if (!term.open) return;
  out_restore();
  tcsetattr(STDIN_FILENO, TCSADRAIN, &term.modes);
}

void term_close(void) {
  if (!term.open) return;
  sigaction(SIGINT, &term.interrupts, NULL);
  sigaction(SIGWINCH, &term.resizes, NULL);
  for (int i = 0; i < ENDS; i++) sigaction(ends[i], &term.ends[i], NULL);
  term.open = false;
  out_close();
}
