/* main.c - the executable: arguments, signals, scripts, and a prompt for pipes. */
/* SPDX-License-Identifier: MIT */

/*
** An embedder without privilege: the public headers, Lua and the C library. It takes what lua5.4
** takes and means the same by it. What is different:
**  - after the script main's event loop drains; then the host closes, within about a second;
**  - an error that crossed isolates is reported with the joined traceback;
**  - os.exit cannot be held up by an isolate that sits in a stdio call;
**  - an error in a script read from standard input gives status 1, and Ctrl-C status 130.
**
** DESIGN. Signals: SIGINT has its default action but while Lua code of main runs. There, the first
** one asks the library to raise `interrupted` and, by SA_RESETHAND, makes a second one end the
** process. `interruptible` is set before the handler is and cleared after it is gone, so the
** handler never meets a closed state.
*/

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "isolua.h"
#include "isolua_lua.h"
#include "repl.h"

/* How long the end of the process waits for isolates, in ns. */
#ifndef CLOSE_TIMEOUT
#define CLOSE_TIMEOUT ISOLUA_SECOND
#endif

/* How long it waits for locks of open files while isolates still run, in us (below 1000000). */
#ifndef FLUSH_TIMEOUT
#define FLUSH_TIMEOUT 200000
#endif

enum { STATUS_INTERRUPTED = 130 };

/* What the command line says. */
struct arguments {
  char **argv;
  int count;
  int script; /* index of the script or of "-", or `count` when there is none */
  int bad;    /* index of an option that is wrong, 0: none */
  bool statement, interactive, version, no_environment; /* -e -i -v -E */
  void (*only)(void); /* --help, --version: this is all that is done; or NULL */
};

/* The process. Main thread only. */
static struct {
  const char *name; /* in front of messages; NULL at the prompt */
  isolua_host *host;
  lua_State *L;
  bool closing;       /* the state is being closed */
  atomic_bool failed; /* an error was logged that nobody caught */
  bool interrupted;   /* the last error that was reported is `interrupted` */
  size_t isolates;    /* how many isolates live when only main does */
} program = {.name = "isolua"};
static _Thread_local bool on_main_thread;

/* What signal handlers read. */
static lua_State *volatile interruptible; /* takes Ctrl-C; NULL: nobody does */
static volatile sig_atomic_t last_status; /* of a process whose last flush takes too long */

/* -- Messages ---------------------------------------------------------------------------------- */

/* Writes one line to stderr in one piece, so that lines of several threads do not mix. */
static void say(const char *from, const char *text, size_t length) {
  size_t head = from != NULL ? strlen(from) + 2 : 0;
  char *line = malloc(head + length + 1);
  if (line == NULL) {
    fwrite(text, 1, length, stderr);
    return;
  }
  if (from != NULL) {
    memcpy(line, from, head - 2);
    memcpy(line + head - 2, ": ", 2);
  }
  memcpy(line + head, text, length);
  line[head + length] = '\n';
  fwrite(line, 1, head + length + 1, stderr);
  fflush(stderr);
  free(line);
}

#define UNCAUGHT "uncaught error" /* how the library begins its line about one */

/* The host's log. Any thread, also while the host is being closed. */
static void log_line(void *ud, const char *text, size_t length) {
  (void)ud;
  if (strncmp(text, UNCAUGHT, sizeof UNCAUGHT - 1) == 0) atomic_store(&program.failed, true);
  say(NULL, text, length);
}

/* [-0, +1, m] */
static void push_version(lua_State *L) {
  int version = isolua_version();
  lua_pushfstring(L, "isolua %d.%d.%d  %s", version / 10000, version / 100 % 100, version % 100,
                  LUA_RELEASE);
}

static void print_version(void) {
  int version = isolua_version();
  printf("isolua %d.%d.%d  %s\n", version / 10000, version / 100 % 100, version % 100,
         LUA_COPYRIGHT);
  fflush(stdout);
}

static void print_usage(FILE *file) {
  fprintf(file,
          "usage: %s [options] [script [args]]\n"
          "Available options are:\n"
          "  -e stat   execute string 'stat'\n"
          "  -i        enter interactive mode after executing 'script'\n"
          "  -l mod    require library 'mod' into global 'mod'\n"
          "  -l g=mod  require library 'mod' into global 'g'\n"
          "  -v        show version information\n"
          "  -E        ignore environment variables\n"
          "  -W        turn warnings on\n"
          "  --        stop handling options\n"
          "  -         stop handling options and execute stdin\n"
          "  --help    show this text\n"
          "  --version show version information, and do nothing else\n",
          program.name);
}

static void print_misuse(const char *option) {
  bool lacks = option[1] == 'e' || option[1] == 'l';
  fprintf(stderr, lacks ? "%s: '%s' needs argument\n" : "%s: unrecognized option '%s'\n",
          program.name, option);
  print_usage(stderr);
}

/* -- The end of the process -------------------------------------------------------------------- */

static void flush(FILE *file) {
  if (ftrylockfile(file) != 0) return; /* a thread is in there and may stay */
  fflush(file);
  funlockfile(file);
}

static void on_alarm(int signal) {
  (void)signal;
  _exit(last_status);
}

/*
** Ends the process while isolates run: no exit handlers, which would pull the ground from under
** them, and no endless wait for a stream that one of them holds. Other streams than stdout and
** stderr can only be flushed all together, and that waits for each lock: so an alarm cuts it short.
*/
static _Noreturn void leave_now(int status) {
  struct sigaction action = {.sa_handler = on_alarm};
  struct itimerval timer = {.it_value.tv_usec = FLUSH_TIMEOUT};
  sigset_t set;
  flush(stdout);
  flush(stderr);
  last_status = status;
  sigemptyset(&action.sa_mask);
  sigaction(SIGALRM, &action, NULL);
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  setitimer(ITIMER_REAL, &timer, NULL);
  fflush(NULL);
  _exit(status);
}

static size_t living_isolates(void) {
  isolua_counts counts;
  isolua_count(&counts);
  return counts.isolates;
}

/* Closes state and host. Returns ISOLUA_OK, or ISOLUA_STUCK when a thread was left alone. */
static int close_all(void) {
  program.closing = true;
  isolua_main_close(program.L);
  return isolua_host_close(program.host, CLOSE_TIMEOUT);
}

/* os.exit([code [, close]]) of the main isolate; elsewhere the library has its own. */
static int os_exit(lua_State *L) {
  int status;
  if (lua_isboolean(L, 1))
    status = lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE;
  else
    status = (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
  term_restore();
  if (lua_toboolean(L, 2) && !program.closing) {
    if (close_all() == ISOLUA_OK) exit(status);
  } else if (living_isolates() <= program.isolates) {
    exit(status);
  }
  leave_now(status);
}

/* -- Protected calls --------------------------------------------------------------------------- */

/* Whether the value at `index`, the top, is an error object of the library. [-0, +0, m] */
static bool is_error_object(lua_State *L, int index) {
  bool equal;
  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
  isolua_pusherror(L, ISOLUA_ERROR, "", NULL);
  equal = lua_getmetatable(L, -1) && lua_rawequal(L, -1, -3);
  lua_settop(L, index);
  return equal;
}

/* Whether an error object of the library says `code`. [-0, +0, m] */
static bool has_code(lua_State *L, int index, const char *code) {
  bool equal;
  lua_pushstring(L, code);
  lua_pushliteral(L, "code");
  equal = lua_rawget(L, index) == LUA_TSTRING && lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return equal;
}

/*
** Whether the value at index 1 has __tostring and comes from this isolate: its traceback is then no
** more than the local one. Leaves the string on the top. [-0, +1|0, e]
*/
static bool speaks_for_itself(lua_State *L) {
  bool local = false;
  if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING) {
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
    isolua_pushtraceback(L, 1, 1);
    local = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  return local;
}

/*
** The message handler: makes an error value the text that is printed. As in Lua, a value with
** __tostring gets no traceback, unless it is an error object of the library or crossed isolates.
** [-1, +1, e]
*/
static int explain(lua_State *L) {
  bool ours;
  lua_settop(L, 1);
  ours = is_error_object(L, 1);
  program.interrupted = ours && has_code(L, 1, "interrupted");
  if (ours || lua_isstring(L, 1) || !speaks_for_itself(L)) isolua_pushtraceback(L, 1, 1);
  return 1;
}

/* Prints the error message on the top of the stack. [-1, +0, -] */
static void report(lua_State *L) {
  size_t length;
  const char *text = lua_tolstring(L, -1, &length);
  if (text == NULL) {
    text = "(error message not a string)";
    length = strlen(text);
  }
  say(program.name, text, length);
  lua_pop(L, 1);
}

/* Asks for `interrupted`; SA_RESETHAND has made the next SIGINT deadly. */
static void on_interrupt(int signal) {
  lua_State *L = interruptible;
  (void)signal;
  if (L != NULL) isolua_interrupt(L);
}

static void catch_interrupts(lua_State *L) {
  struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
  sigemptyset(&action.sa_mask);
  interruptible = L;
  sigaction(SIGINT, &action, NULL);
}

static void leave_interrupts(void) {
  signal(SIGINT, SIG_DFL);
  interruptible = NULL;
}

/*
** Calls a function as lua_pcall does, with tracebacks and Ctrl-C. After an error, reports it and
** returns false. [-(nargs + 1), +(nresults|0), -]
*/
static bool call(lua_State *L, int nargs, int nresults) {
  int base = lua_gettop(L) - nargs;
  int status;
  lua_pushcfunction(L, explain);
  lua_insert(L, base);
  program.interrupted = false;
  catch_interrupts(L);
  status = lua_pcall(L, nargs, nresults, base);
  leave_interrupts();
  lua_remove(L, base);
  if (status != LUA_OK) report(L);
  return status == LUA_OK;
}

/* Runs what luaL_load* left: the chunk, or an error message. */
static bool run_loaded(lua_State *L, int status) {
  if (status == LUA_OK) return call(L, 0, 0);
  report(L);
  return false;
}

static bool run_string(lua_State *L, const char *code, const char *chunkname) {
  return run_loaded(L, luaL_loadbuffer(L, code, strlen(code), chunkname));
}

/* `path` NULL is standard input. */
static bool run_file(lua_State *L, const char *path) {
  return run_loaded(L, luaL_loadfile(L, path));
}

/* -- The command line -------------------------------------------------------------------------- */

/* Notes an option without a value. False when there is no such option. */
static bool scan_flag(struct arguments *args, const char *option) {
  if (option[2] != '\0') return false;
  switch (option[1]) {
  case 'E': args->no_environment = true; return true;
  case 'i': args->interactive = true; return true;
  case 'v': args->version = true; return true;
  default: return option[1] == 'W';
  }
}

static bool takes_value(const char *option) {
  return option[1] == 'e' || option[1] == 'l';
}

static void print_help(void) {
  print_usage(stdout);
}

/* Notes an option that leaves no room for others. False when it is none. */
static bool scan_only(struct arguments *args, const char *option) {
  if (strcmp(option, "--help") == 0)
    args->only = print_help;
  else if (strcmp(option, "--version") == 0)
    args->only = print_version;
  return args->only != NULL;
}

/* Finds out what the command line asks for. Options take effect later, in run_options. */
static void scan(struct arguments *args) {
  int i = 1;
  args->script = args->count;
  for (; i < args->count; i++) {
    const char *option = args->argv[i];
    bool good;
    if (option[0] != '-' || option[1] == '\0') break;
    if (scan_only(args, option)) return;
    if (strcmp(option, "--") == 0) {
      i++;
      break;
    }
    if (takes_value(option)) {
      good = option[2] != '\0' || (i + 1 < args->count && args->argv[i + 1][0] != '-');
      args->statement = args->statement || option[1] == 'e';
    } else {
      good = scan_flag(args, option);
    }
    if (!good) {
      args->bad = i;
      return;
    }
    if (takes_value(option) && option[2] == '\0') i++;
  }
  args->script = i < args->count ? i : args->count;
}

/* Sets the global `arg`: the script at 0, its arguments after, all else before it. [-0, +0, m] */
static void set_arg(lua_State *L, const struct arguments *args) {
  int zero = args->script < args->count ? args->script : 0;
  lua_createtable(L, args->count - zero, zero + 1);
  for (int i = 0; i < args->count; i++) {
    lua_pushstring(L, args->argv[i]);
    lua_rawseti(L, -2, i - zero);
  }
  lua_setglobal(L, "arg");
}

/*
** For -E: the paths that Lua has without an environment. A second `package`, made and dropped, has
** them; `require` stays that of the first. Isolates get theirs from main. [-0, +0, e]
*/
static void ignore_paths(lua_State *L) {
  lua_pushboolean(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  lua_getglobal(L, "require");
  lua_getglobal(L, "package");
  lua_pushcfunction(L, luaopen_package);
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "path");
  lua_setfield(L, -3, "path");
  lua_getfield(L, -1, "cpath");
  lua_setfield(L, -3, "cpath");
  lua_pop(L, 2);
  lua_setglobal(L, "require");
}

static bool run_init(lua_State *L) {
  const char *chunkname = "=LUA_INIT" LUA_VERSUFFIX;
  const char *init = getenv(chunkname + 1);
  if (init == NULL) {
    chunkname = "=LUA_INIT";
    init = getenv(chunkname + 1);
  }
  if (init == NULL) return true;
  if (init[0] == '@') return run_file(L, init + 1);
  return run_string(L, init, chunkname);
}

/* -l mod, -l global=mod */
static bool run_require(lua_State *L, const char *value) {
  const char *equals = strchr(value, '=');
  lua_pushlstring(L, value, equals != NULL ? (size_t)(equals - value) : strlen(value));
  lua_getglobal(L, "require");
  lua_pushstring(L, equals != NULL ? equals + 1 : value);
  if (!call(L, 1, 1)) {
    lua_pop(L, 1);
    return false;
  }
  lua_setglobal(L, lua_tostring(L, -2));
  lua_pop(L, 1);
  return true;
}

/* Does what -e, -l and -W say, in order, up to the script. */
static bool run_options(lua_State *L, const struct arguments *args) {
  for (int i = 1; i < args->script; i++) {
    const char *option = args->argv[i];
    if (takes_value(option)) {
      const char *value = option[2] != '\0' ? option + 2 : args->argv[++i];
      bool good =
        option[1] == 'e' ? run_string(L, value, "=(command line)") : run_require(L, value);
      if (!good) return false;
    } else if (option[1] == 'W') {
      lua_warning(L, "@on", 0);
    }
  }
  return true;
}

/* Pushes what the script gets as `...`: the list in the global `arg`. [-0, +n, e] */
static int push_script_arguments(lua_State *L) {
  int count;
  if (lua_getglobal(L, "arg") != LUA_TTABLE) luaL_error(L, "'arg' is not a table");
  count = (int)luaL_len(L, -1);
  luaL_checkstack(L, count + LUA_MINSTACK, "too many arguments to script");
  for (int i = 1; i <= count; i++) lua_rawgeti(L, -i, i);
  lua_remove(L, -count - 1);
  return count;
}

static bool run_script(lua_State *L, const struct arguments *args) {
  char **name = args->argv + args->script;
  bool from_stdin = strcmp(name[0], "-") == 0 && strcmp(name[-1], "--") != 0;
  if (luaL_loadfile(L, from_stdin ? NULL : name[0]) == LUA_OK)
    return call(L, push_script_arguments(L), 0);
  report(L);
  return false;
}

/* -- The plain prompt -------------------------------------------------------------------------- */

/* Prints the prompt that the global `name` or else `fallback` says. [-0, +0, e] */
static void print_prompt(lua_State *L, const char *name, const char *fallback) {
  int top = lua_gettop(L);
  if (lua_getglobal(L, name) != LUA_TNIL) fallback = luaL_tolstring(L, -1, NULL);
  fputs(fallback, stdout);
  fflush(stdout);
  lua_settop(L, top);
}

/*
** Reads a line and pushes it without its end. Prints it again when it comes from a file or a pipe,
** as lua5.4 does, so that the output reads as a session. [-0, +1|0, m]
*/
static bool read_line(lua_State *L) {
  static char *line;
  static size_t size;
  ssize_t length;
  clearerr(stdin);
  length = getline(&line, &size, stdin);
  if (length < 0) return false;
  if (length > 0 && line[length - 1] == '\n') length--;
  if (!isatty(STDIN_FILENO)) {
    fwrite(line, 1, (size_t)length, stdout);
    putchar('\n');
    fflush(stdout);
  }
  lua_pushlstring(L, line, (size_t)length);
  return true;
}

/* Whether a load failed only because its source is not all there. The message is on the top. */
static bool is_incomplete(lua_State *L, int status) {
  static const char mark[] = "<eof>";
  size_t length;
  const char *message;
  if (status != LUA_ERRSYNTAX) return false;
  message = lua_tolstring(L, -1, &length);
  return length >= sizeof mark - 1 && strcmp(message + length - (sizeof mark - 1), mark) == 0;
}

static int load_input(lua_State *L, int index) {
  size_t length;
  const char *source = lua_tolstring(L, index, &length);
  return luaL_loadbuffer(L, source, length, "=stdin");
}

/*
** Loads a statement whose first line is at index 1, reading more lines while it is not complete.
** Pushes the chunk or an error message. [-0, +1, e]
*/
static int load_statement(lua_State *L) {
  for (;;) {
    int status = load_input(L, 1);
    if (!is_incomplete(L, status)) return status;
    print_prompt(L, "_PROMPT2", ">> ");
    lua_pushvalue(L, 1);
    lua_pushliteral(L, "\n");
    if (!read_line(L)) {
      lua_pop(L, 2);
      return status;
    }
    lua_concat(L, 3);
    lua_replace(L, 1);
    lua_pop(L, 1);
  }
}

/*
** Loads one input into an empty stack: as an expression when it is one, else as a statement.
** Returns the status of the load, or -1 at the end of the input.
*/
static int load_line(lua_State *L) {
  const char *line;
  int status;
  print_prompt(L, "_PROMPT", "> ");
  if (!read_line(L)) return -1;
  line = lua_tostring(L, 1);
  if (line[0] == '=') {
    lua_pushfstring(L, "return %s", line + 1);
    lua_replace(L, 1);
  }
  lua_pushliteral(L, "return ");
  lua_pushvalue(L, 1);
  lua_concat(L, 2);
  status = load_input(L, 2);
  if (status != LUA_OK) {
    lua_settop(L, 1);
    status = load_statement(L);
  }
  lua_replace(L, 1);
  lua_settop(L, 1);
  return status;
}

/* Prints all of the stack with `print`. */
static void print_results(lua_State *L) {
  int count = lua_gettop(L);
  if (count == 0) return;
  luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
  lua_getglobal(L, "print");
  lua_insert(L, 1);
  if (lua_pcall(L, count, 0, 0) != LUA_OK) {
    lua_pushfstring(L, "error calling 'print' (%s)", lua_tostring(L, -1));
    report(L);
  }
}

static void run_prompt(lua_State *L) {
  const char *name = program.name;
  int status;
  program.name = NULL;
  lua_settop(L, 0);
  while ((status = load_line(L)) >= 0) {
    if (status != LUA_OK)
      report(L);
    else if (call(L, 0, LUA_MULTRET))
      print_results(L);
    lua_settop(L, 0);
  }
  putchar('\n');
  fflush(stdout);
  program.name = name;
}

/* -- The prompt of a terminal -------------------------------------------------------------------- */

/* start(editor module, options) of the module isolate.repl, whose loop this is. [-1, +0, e] */
static int run_repl(lua_State *L) {
  const struct arguments *args = lua_touserdata(L, 1);
  lua_getfield(L, 2, "start");
  isolua_require(L, "isolate.repl.edit");
  lua_createtable(L, 0, 2);
  lua_pushboolean(L, !args->no_environment);
  lua_setfield(L, -2, "startup");
  push_version(L);
  lua_setfield(L, -2, "version");
  lua_call(L, 2, 0);
  return 0;
}

/* Is there somebody to type, and to see the whole screen? Else the prompt is that of lua5.4. */
static bool is_terminal(void) {
  return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

static int require_repl(lua_State *L) {
  isolua_require(L, "isolate.repl");
  return 1;
}

/* False: it cannot be had, for want of LPeg; the plain prompt will do. */
static bool run_terminal(lua_State *L, const struct arguments *args, bool *good) {
  const char *name = program.name;
  lua_settop(L, 0);
  lua_pushcfunction(L, require_repl);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
    const char *message = luaL_tolstring(L, -1, NULL), *what = strstr(message, "module '");
    if (what == NULL) what = message;
    fprintf(stderr, "%s: a plain prompt, since %.*s\n", name, (int)strcspn(what, ":\n"), what);
    lua_settop(L, 0);
    return false;
  }
  program.name = NULL;
  lua_pushcfunction(L, run_repl);
  lua_pushlightuserdata(L, (void *)(uintptr_t)args);
  lua_rotate(L, 1, -1);
  *good = call(L, 2, 0);
  program.name = name;
  return true;
}

/* -- The run ----------------------------------------------------------------------------------- */

static int drain(lua_State *L) {
  isolua_drain(L);
  return 0;
}

/* Makes the fresh state that of lua5.4. [-0, +0, e] */
static void prepare(lua_State *L, const struct arguments *args) {
  if (args->no_environment) ignore_paths(L);
  set_arg(L, args);
  lua_gc(L, LUA_GCGEN, 0, 0);
}

/* Runs all that the command line names, but for a prompt. False after an error. */
static bool run_code(lua_State *L, const struct arguments *args, bool prompt) {
  if (!args->no_environment && !run_init(L)) return false;
  if (!run_options(L, args)) return false;
  if (args->script < args->count) return run_script(L, args);
  return prompt || args->statement || args->version || run_file(L, NULL);
}

/*
** The life of main between open and close; the arguments are a light userdata. Returns true when it
** went well. [-1, +1, e]
*/
static int run(lua_State *L) {
  const struct arguments *args = lua_touserdata(L, 1);
  bool idle = args->script == args->count && !args->statement && !args->version;
  bool prompt = args->interactive || (idle && isatty(STDIN_FILENO));
  bool good;
  luaL_checkversion(L);
  prepare(L, args);
  good = run_code(L, args, prompt);
  if (good && prompt) {
    if (!is_terminal() || !run_terminal(L, args, &good)) {
      if (!args->version) print_version();
      run_prompt(L);
    }
  } else if (good) {
    lua_pushcfunction(L, drain);
    good = call(L, 0, 0);
  }
  lua_pushboolean(L, good);
  return 1;
}

/* Runs the command line in the open state. Returns the exit status. */
static int run_protected(lua_State *L, struct arguments *args) {
  bool good;
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, args);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    report(L);
    return EXIT_FAILURE;
  }
  good = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (good) return EXIT_SUCCESS;
  return program.interrupted ? STATUS_INTERRUPTED : EXIT_FAILURE;
}

/*
** Called in every fresh state. Main's gets its os.exit here, before the library notes which function
** has which name, so that `local exit = os.exit` can still be sent.
*/
static int open_modules(lua_State *L) {
  if (on_main_thread) {
    lua_getglobal(L, "os");
    lua_pushcfunction(L, os_exit);
    lua_setfield(L, -2, "exit");
    lua_pop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, repl_open_edit);
    lua_setfield(L, -2, "isolate.repl.edit");
    lua_pop(L, 1);
  }
  return isolua_open_modules(L);
}

/* Opens host and state, or says why not. */
static bool open_all(void) {
  isolua_host_options options = {.size = sizeof options, .log = log_line};
  int code = isolua_host_open(&options, &program.host);
  if (code == ISOLUA_OK) {
    on_main_thread = true;
    isolua_host_set_open(program.host, open_modules);
    code = isolua_main_open(program.host, &program.L);
    if (code == ISOLUA_OK) {
      program.isolates = living_isolates();
      return true;
    }
    isolua_host_close(program.host, CLOSE_TIMEOUT);
  }
  fprintf(stderr, "%s: cannot create state: %s\n", program.name, isolua_code_message(code));
  return false;
}

/* Messages start with the name under which this program was called, as lua5.4's do. */
static void set_name(const char *path) {
  if (path != NULL && path[0] != '\0') program.name = path;
}

int main(int argc, char **argv) {
  struct arguments args = {.argv = argv, .count = argc};
  int status;
  bool stuck;
  set_name(argv[0]);
  scan(&args);
  if (args.bad != 0) {
    print_misuse(argv[args.bad]);
    return EXIT_FAILURE;
  }
  if (args.only != NULL) {
    args.only();
    return EXIT_SUCCESS;
  }
  if (args.interactive && !is_terminal()) args.version = true;
  if (args.version) print_version();
  if (!open_all()) return EXIT_FAILURE;
  status = run_protected(program.L, &args);
  stuck = close_all() != ISOLUA_OK;
  if (program.failed && status == EXIT_SUCCESS) status = EXIT_FAILURE;
  if (stuck) leave_now(status);
  return status;
}
