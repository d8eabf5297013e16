/* isolua.h - the C interface of isolua: Lua 5.4 isolates for a program written in C. */
/* SPDX-License-Identifier: MIT */
#ifndef ISOLUA_H
#define ISOLUA_H

/*
** An isolate is one Lua state on one thread of its own while it lives. Isolates share no Lua value:
** what passes between them is copied. A host owns isolates; a program may have several hosts.
**
**   #include <isolua.h>
**   #include <stdio.h>
**
**   int main(void) {
**     isolua_host *host;
**     isolua_future *answer;
**     if (isolua_host_open(NULL, &host) != ISOLUA_OK) return 1;
**     if (isolua_run_string(host, NULL, "return 6 * 7", &answer) == ISOLUA_OK) {
**       if (isolua_future_wait(answer, ISOLUA_FOREVER) == ISOLUA_OK)
**         printf("%lld\n", isolua_future_integer(answer, 1));
**       else
**         fprintf(stderr, "%s\n", isolua_future_message(answer));
**       isolua_future_release(answer);
**     }
**     return isolua_host_close(host, ISOLUA_SECOND);
**   }
**
** Threads. Each function says which thread may call it: "any" is any thread of the program, also
** several at once. No function of this header touches a Lua state of yours.
**
** Ownership. What a function gives out through its last argument is yours: release it with the
** function named there. After a failure nothing was given out: it is NULL. Strings that you pass
** are copied. Strings that you are handed live as long as the object they came from.
**
** NULL. Objects may be NULL, as after a failure that nobody looked at. The function does nothing
** then and returns ISOLUA_INVALID, 0 or NULL. A future that is NULL is one that failed with
** ISOLUA_INVALID. Only a host's isolua_fd and isolua_next_due are -1.
**
** Errors. Functions return 0 (ISOLUA_OK) or an error number. The library never prints, exits or
** aborts by itself: what it has to say goes to the `log` callback.
**
** Times are nanoseconds in int64_t: ISOLUA_FOREVER (-1) waits without end, 0 does not wait.
** Sizes are bytes in size_t.
*/

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef ISOLUA_API
#define ISOLUA_API __attribute__((visibility("default")))
#endif

/* -- Versions and errors ----------------------------------------------------------------------- */

/* The version of the header. */
#define ISOLUA_VERSION_MAJOR 0
#define ISOLUA_VERSION_MINOR 1
#define ISOLUA_VERSION_PATCH 0
/* The version as one number: 100 for 0.1.0. */
#define ISOLUA_VERSION_NUMBER                                                                      \
  (ISOLUA_VERSION_MAJOR * 10000 + ISOLUA_VERSION_MINOR * 100 + ISOLUA_VERSION_PATCH)

/* Times: without end, and nanoseconds in a second. */
#define ISOLUA_FOREVER ((int64_t)-1)
#define ISOLUA_SECOND ((int64_t)1000000000)

/* Error numbers. They are never reused. isolua_code_name() gives the `code` that Lua sees. */
enum {
  ISOLUA_OK = 0,
  ISOLUA_ERROR = 1,        /* Lua code raised an error of its own */
  ISOLUA_KILLED = 2,       /* the isolate was killed */
  ISOLUA_CANCELLED = 3,    /* the future was cancelled */
  ISOLUA_TIMEOUT = 4,      /* the time was over (the isolate's, or that of the wait) */
  ISOLUA_EXITED = 5,       /* the isolate ended without a result */
  ISOLUA_MEMORY = 6,       /* no memory, or more than the isolate's cap */
  ISOLUA_NOT_SENDABLE = 7, /* a value cannot be sent */
  ISOLUA_CLOSED = 8,       /* the host or the other end is closed */
  ISOLUA_TRANSFERRED = 9,  /* a buffer was moved away */
  ISOLUA_SPAWN = 10,       /* no thread could be made */
  ISOLUA_DEADLOCK = 11,    /* nothing could ever end this wait */
  ISOLUA_INTERRUPTED = 12, /* Ctrl-C */
  ISOLUA_STUCK = 13,       /* a thread sits in a C function and does not end */
  ISOLUA_INVALID = 14,     /* an argument is wrong: isolua_code_message says which */
  ISOLUA_FULL = 15         /* a queue has no room, or the host for more isolates */
};

/*
** isolua_version: the library's ISOLUA_VERSION_NUMBER, to compare with the header's.
** isolua_code_name: "killed", "timeout", …: the `code` of error objects in Lua; a static string.
** isolua_code_message: one English clause for an error number; a static string. For ISOLUA_INVALID
**   it says what the function found wrong that last returned that to this thread, as "`timeout` of
**   the options is negative", and stays until the next one does.
** Thread: any.
*/
ISOLUA_API int isolua_version(void);
ISOLUA_API const char *isolua_code_name(int code);
ISOLUA_API const char *isolua_code_message(int code);

/* -- Hosts ------------------------------------------------------------------------------------- */

/* What the program has of hosts, and of what comes from them: pointers. */
typedef struct isolua_host isolua_host;
typedef struct isolua_future isolua_future;
typedef struct isolua_isolate isolua_isolate;
typedef struct isolua_message isolua_message;

/*
** Callbacks of a host. Each may be called from any thread of the host, several at once, with no
** lock held; `ud` is the host option of the same name. None may call isolua_host_close. Texts live
** until it returns. `isolate` is the id of an isolate, which no other in the process has or had.
** The signal that ends busy code may interrupt a system call in them (EINTR). No exception of C++
** may leave one.
**
** isolua_alloc: as lua_Alloc: nsize 0 frees `ptr` and returns NULL; else (re)allocates, NULL when
**   it cannot; `osize` is 0 when `ptr` is NULL. It serves Lua heaps: that of `isolate`; 0: of one
**   that is being made and belongs to none yet. Its blocks are then those of the isolate that gets
**   it. The default keeps small blocks of each heap together and large ones on warm pages.
** isolua_log: one message without a newline at its end: an error that nobody caught, unless `error`
**   is set; a stuck isolate; the names of those that a closing host had to kill. The default drops
**   it.
** isolua_print: what `print` prints in the isolate of that id and name, with its newline. On its
**   thread. The default writes to stdout with one fwrite.
** isolua_error: an error that nobody caught: of a future that was released and never looked at, of
**   an isolate that lives on its own, of a task or a handler. `code` is an error number, as of the
**   future: ISOLUA_ERROR, ISOLUA_TIMEOUT, …; of a pool's job `isolate` is 0 and `name` says
**   "job 'its name'"; `message` is the error as text; `traceback` begins with it, and may be NULL.
**   The default makes one message of it for `log`.
** isolua_wake: isolua_pump has something to do, for loops that wait for events of their own and not
**   for descriptors. Called once until the next pump, perhaps under a lock of the library's: it may
**   only post, as SDL_PushEvent or g_main_context_wakeup do, and must call no function of this
**   header.
** isolua_load: `require` looks for the module `name`, in an isolate or a state of
**   isolua_main_open, after package.preload and before any file. On its thread. ISOLUA_OK with
**   module->source: the host has it. ISOLUA_OK without: it has none. Any other number:
**   `require` raises an error with module->message. The source is text; precompiled chunks are
**   refused. The default has none.
*/
typedef void (*isolua_wake)(void *ud);
typedef void *(*isolua_alloc)(void *ud, long long isolate, void *ptr, size_t osize, size_t nsize);
typedef void (*isolua_log)(void *ud, const char *text, size_t length);
typedef void (*isolua_print)(void *ud, long long isolate, const char *name, const char *text,
                             size_t length);
typedef void (*isolua_error)(void *ud, long long isolate, const char *name, int code,
                             const char *message, const char *traceback);

/* A module that `load` gives, all zero before. What it points to stays until `release`. */
typedef struct isolua_module {
  const char *source;                /* Lua text; NULL: there is no such module */
  size_t length;                     /* bytes of it */
  const char *chunkname;             /* for messages: "@game/ai.lua"; NULL: "=" and the name */
  const char *message;               /* of an error; NULL: isolua_code_message of its number */
  void (*release)(void *release_ud); /* called once, when it was loaded, or failed, or there is
                                        none; on the thread of `load`; NULL: nothing */
  void *release_ud;                  /* its argument */
} isolua_module;
typedef int (*isolua_load)(void *ud, long long isolate, const char *name, isolua_module *module);

/*
** isolua_thread: a thread of the host begins, or ends. On that thread, as the first and the last
**   that it does; it may call nothing of its host then. All have ended when isolua_host_close
**   returns ISOLUA_OK.
** ISOLUA_THREAD_ISOLATES: it runs isolates, one after the other.
** ISOLUA_THREAD_WATCHDOG: it keeps the time. It has 128 KiB of stack.
*/
enum { ISOLUA_THREAD_ISOLATES = 0, ISOLUA_THREAD_WATCHDOG = 1 };
typedef void (*isolua_thread)(void *ud, int kind);

/*
** What a host forbids: flags of `forbid`. They hold for every isolate of the host, also for those
** that isolates start, whatever libraries they ask for; not for main, which takes no code from
** isolates then: functions, metatables and packed objects are refused there. What is forbidden is
** not there, and cannot be received.
** ISOLUA_NO_IO: the library io.
** ISOLUA_NO_OS: the library os, and io.popen.
** ISOLUA_NO_BYTECODE: precompiled chunks: load, loadfile, dofile and require take text alone.
** ISOLUA_NO_C_MODULES: require of C libraries, and package.loadlib. A C function in package.preload
**   stays: whoever has put it there has allowed it.
** ISOLUA_NO_FILES: all that reaches files: io, C modules, dofile, loadfile, require of files,
**   package.searchpath, os.execute, os.remove, os.rename, os.tmpname, isolate.spawn_file,
**   isolate.map_file, buffer:write to a path. It implies ISOLUA_NO_IO and ISOLUA_NO_C_MODULES.
** ISOLUA_NO_DEBUG: the library debug. It can break what C code relies on, so it must be forbidden
**   to code that may want to do harm; none of the other flags can be got around by it alone in Lua.
** ISOLUA_SANDBOX: all of these.
** With any of them isolates cannot evaluate code in one another, nor in main.
*/
enum {
  ISOLUA_NO_IO = 1,
  ISOLUA_NO_OS = 2,
  ISOLUA_NO_BYTECODE = 4,
  ISOLUA_NO_C_MODULES = 8,
  ISOLUA_NO_FILES = 16,
  ISOLUA_NO_DEBUG = 32,
  ISOLUA_SANDBOX = 63
};

/*
** Options of a host. Set `size` to sizeof(isolua_host_options); zero means the default.
**
**   static void log_line(void *ud, const char *text, size_t length) {
**     fprintf(ud, "%.*s\n", (int)length, text);
**   }
**
**   int open_host(isolua_host **host) {
**     isolua_host_options options = {.size = sizeof options};
**     options.log = log_line;
**     options.log_ud = stderr;
**     options.max_memory = 64 << 20;
**     return isolua_host_open(&options, host);
**   }
*/
typedef struct isolua_host_options {
  size_t size;        /* of this struct, in bytes; required */
  isolua_alloc alloc; /* allocator of all Lua heaps */
  void *alloc_ud;     /* its first argument */
  isolua_log log;     /* messages; NULL drops them */
  void *log_ud;       /* its first argument */
  isolua_print print; /* output of `print` */
  void *print_ud;     /* its first argument */
  int kill_signal;    /* signal that interrupts busy Lua code; 0: SIGURG; -1: none, and then only
                          isolates that wait can be killed */
  int spares;         /* parked threads kept ready, 0: one more than the processors; -1: none */
  isolua_error error; /* errors that nobody caught; NULL: `log` has them */
  void *error_ud;     /* its first argument */
  isolua_thread thread_start; /* a thread begins; NULL: nothing */
  isolua_thread thread_end;   /* a thread ends; NULL: nothing */
  void *thread_ud;            /* the first argument of both */
  isolua_load load;           /* modules for `require`; NULL: none */
  void *load_ud;              /* its first argument */
  size_t max_memory;          /* cap on the Lua heap of each isolate, bytes; 0: none. One of its own
                                 may be lower: the lower one holds */
  int64_t max_time;           /* ns after which each isolate is killed, likewise; 0: none */
  size_t max_isolates;        /* isolates alive at once, those that are stuck too, main not; 0: no
                                 limit. ISOLUA_FULL: it is reached */
  unsigned forbid;            /* ISOLUA_NO_*: what no isolate may; 0: nothing is forbidden */
  isolua_wake wake;           /* isolua_pump gets something to do; NULL: nobody is told */
  void *wake_ud;              /* its first argument */
} isolua_host_options;

/*
** isolua_host_open: makes a host, whose isolates can require "isolate". `options` NULL: all
**   defaults. Errors: ISOLUA_INVALID (size, kill_signal, spares, max_time or forbid),
**   ISOLUA_MEMORY. Thread: any.
** isolua_host_new: as isolua_host_open, but isolates find no module of this library, only Lua's
**   own: code that is not trusted can start no isolates there, and send no messages, which no cap
**   counts. Errors: as isolua_host_open.
** isolua_host_close: ends every isolate of the host and frees it. Those that do not end by
**   themselves in 0.1 s are killed and named in the log; those that are not gone after `timeout` ns
**   are left alone (their threads may go on inside a C function) and named in the log, too. Futures
**   that are not released yet stay valid and settle. Returns ISOLUA_OK, and then `log` and `error`
**   are not called any more, also for futures released later; or ISOLUA_STUCK when a thread was
**   left. ISOLUA_INVALID: a callback of isolua_pump or an isolate of the host calls it, and nothing
**   was done. NULL does nothing. Thread: any but the host's own isolates and callbacks; once.
*/
ISOLUA_API int isolua_host_open(const isolua_host_options *options, isolua_host **host);
ISOLUA_API int isolua_host_new(const isolua_host_options *options, isolua_host **host);
ISOLUA_API int isolua_host_close(isolua_host *host, int64_t timeout);

/* -- Running code ------------------------------------------------------------------------------ */

/*
** Options of an isolate. Set `size` to sizeof(isolua_options); zero means the default.
**
**   int run_guest(isolua_host *host, const char *source, isolua_future **future) {
**     isolua_options options = {.size = sizeof options};
**     options.name = "guest";
**     options.timeout = ISOLUA_SECOND;
**     options.libs = "string table math";
**     return isolua_run_string(host, &options, source, future);
**   }
*/
typedef struct isolua_options {
  size_t size;      /* of this struct, in bytes; required */
  const char *name; /* shown in errors and as the thread's name; NULL: from the code */
  int64_t timeout;  /* ns after which it is killed; 0: none; ISOLUA_FOREVER is refused */
  size_t memory;    /* cap on its Lua heap, bytes; 0: none */
  const char *libs; /* standard libraries, space separated, beside the base library; NULL: all;
                       "": none. Of: coroutine debug io math os package string table utf8 */
  const char *gc;   /* "generational", "incremental" or "stop"; NULL: Lua's own default */
  size_t stack;     /* C stack of its thread, bytes; 0: 1 MiB; less than 512 KiB, which
                       the deepest recursion that Lua allows needs, counts as 512 KiB */
  const char *init; /* module run first; NULL: none */
  isolua_message
    *args; /* its values are the chunk's `...`: taken over, also when the isolate cannot be
                           started, unless `size` is wrong; NULL: none */
} isolua_options;

/*
** Run Lua source text, or a file, in a fresh isolate; never waits for it. The chunk's results are
** the future's values. Precompiled chunks are refused. `options` NULL: all defaults.
**   Gives: *future, yours until isolua_future_release.
**   Errors: ISOLUA_INVALID (options, arguments), ISOLUA_MEMORY, ISOLUA_CLOSED (host closing),
**   ISOLUA_FULL (max_isolates). What goes wrong later (syntax, file, thread) is the future's.
**   Thread: any.
*/
ISOLUA_API int isolua_run_string(isolua_host *host, const isolua_options *options,
                                 const char *source, isolua_future **future);
ISOLUA_API int isolua_run_buffer(isolua_host *host, const isolua_options *options,
                                 const char *source, size_t length, const char *chunkname,
                                 isolua_future **future);
ISOLUA_API int isolua_run_file(isolua_host *host, const isolua_options *options, const char *path,
                               isolua_future **future);

/* -- Futures ----------------------------------------------------------------------------------- */

/*
** A future is what becomes of the code that an isolate runs: results, or an error.
**
**   int integer_of(isolua_host *host, const char *source, long long *result) {
**     isolua_future *future;
**     int code = isolua_run_string(host, NULL, source, &future);
**     if (code != ISOLUA_OK) return code;
**     code = isolua_future_wait(future, ISOLUA_SECOND);
**     if (code == ISOLUA_OK) *result = isolua_future_integer(future, 1);
**     isolua_future_release(future);
**     return code;
**   }
**
** isolua_future_wait: waits at most `timeout` ns for the work to end. ISOLUA_OK when it has
**   results; ISOLUA_TIMEOUT when it is not done yet (isolua_future_done tells this from an isolate
**   that ran over its own time); else the error number of the work. Thread: any, but not an isolate
**   or an attached state (it would stop its event loop): Lua awaits there.
** isolua_future_done: 1 when it is settled, else 0. Thread: any.
** isolua_future_code: the error number of a settled one, ISOLUA_OK when it has results; -1: it is
**   not settled. Thread: any.
** isolua_future_cancel: settles it as cancelled and kills its isolate: 1. It does nothing when it
**   is settled: 0. `reason` may be NULL. Thread: any.
** isolua_future_retain: one more hold. Thread: any.
** isolua_future_release: gives up a hold; the work goes on. With the last one an error that nobody
**   has waited for, or read, is reported. NULL does nothing. Thread: any.
*/
ISOLUA_API int isolua_future_wait(isolua_future *future, int64_t timeout);
ISOLUA_API int isolua_future_done(isolua_future *future);
ISOLUA_API int isolua_future_code(isolua_future *future);
ISOLUA_API int isolua_future_cancel(isolua_future *future, const char *reason);
ISOLUA_API void isolua_future_retain(isolua_future *future);
ISOLUA_API void isolua_future_release(isolua_future *future);

/*
** Reading a settled future. Results count from 1. Strings live until the future's release.
** Thread: any, once isolua_future_done or isolua_future_wait has said that it is settled.
**
** isolua_future_count: how many results; 0 after an error or before it is settled.
** isolua_future_type: one of ISOLUA_T*; ISOLUA_TNONE when there is no such result.
** isolua_future_boolean, _integer, _number: the result, 0 when it is of another type. A float with
**   an exact integer value is an integer too, as in Lua; every integer is a number.
** isolua_future_string: the bytes of a string result (with a zero behind them that is not counted)
**   and their count in *length, which may be NULL; NULL when it is no string.
** isolua_future_message: the error as text (isolua_future_error: as a value); NULL when it has
**   results or is not settled.
** isolua_future_traceback: where it was raised, or NULL when there is none.
*/
enum {
  ISOLUA_TNONE = -1,
  ISOLUA_TNIL = 0,
  ISOLUA_TBOOLEAN = 1,
  ISOLUA_TINTEGER = 2,
  ISOLUA_TNUMBER = 3, /* a float */
  ISOLUA_TSTRING = 4,
  ISOLUA_TOTHER = 5, /* a function, an object, …: for Lua */
  ISOLUA_TTABLE = 6, /* one of isolate.freeze too */
  ISOLUA_TPORT = 7,  /* a sender, a channel, or the handle of an isolate */
  ISOLUA_TBLOCK = 8, /* a buffer, or a slice of one */
  ISOLUA_TCELL = 9   /* an integer of isolate.atomic */
};
ISOLUA_API int isolua_future_count(isolua_future *future);
ISOLUA_API int isolua_future_type(isolua_future *future, int index);
ISOLUA_API int isolua_future_boolean(isolua_future *future, int index);
ISOLUA_API long long isolua_future_integer(isolua_future *future, int index);
ISOLUA_API double isolua_future_number(isolua_future *future, int index);
ISOLUA_API const char *isolua_future_string(isolua_future *future, int index, size_t *length);
ISOLUA_API const char *isolua_future_message(isolua_future *future);
ISOLUA_API const char *isolua_future_traceback(isolua_future *future);

/* -- Values ------------------------------------------------------------------------------------ */

/*
** A value of a message or of a future, to be read. It lives as long as that, and is never changed,
** so any threads may read it at once. NULL, for what is not there, may be given to all of these: it
** has the type ISOLUA_TNONE. Where there is no memory for what a frozen table has, it seems empty.
**
**   double sum_of(const isolua_value *list) {
**     double sum = 0;
**     for (long long i = 1; isolua_value_at(list, i) != NULL; i++)
**       sum += isolua_value_number(isolua_value_at(list, i));
**     return sum;
**   }
**
** isolua_value_type: one of ISOLUA_T*.
** isolua_value_boolean, _integer, _number, _string: as isolua_future_boolean, … do.
** isolua_value_length: items of a table's list (what # gives, most likely), bytes of a string or
**   buffer; else 0.
** isolua_value_at: the item of a table under the integer key `i`, from 1 on; NULL: there is none.
** isolua_value_get: the field of a table under the string `key`; NULL: there is none.
** isolua_value_next: the next pair of a table, the list's first; *at, 0 at first, says how far it
**   is. 0: there are no more. Of an item of the list *key is NULL, and *at its integer key.
** isolua_value_sender: the sender that the value is, with a hold, the caller's; NULL: it is none.
** isolua_value_block: the block that a buffer lies over, with a hold, the caller's, and where in it
**   the buffer begins (`offset` may be NULL); NULL: it is none. Unless it is frozen its bytes
**   belong to who has the message: see isolua_block_data.
** isolua_value_atomic: the shared integer that the value is, with a hold, the caller's; NULL: it is
**   none.
** Thread: any.
*/
typedef struct isolua_value isolua_value;
typedef struct isolua_sender isolua_sender;
typedef struct isolua_block isolua_block;
typedef struct il_cell isolua_atomic;
ISOLUA_API int isolua_value_type(const isolua_value *value);
ISOLUA_API int isolua_value_boolean(const isolua_value *value);
ISOLUA_API long long isolua_value_integer(const isolua_value *value);
ISOLUA_API double isolua_value_number(const isolua_value *value);
ISOLUA_API const char *isolua_value_string(const isolua_value *value, size_t *length);
ISOLUA_API size_t isolua_value_length(const isolua_value *value);
ISOLUA_API const isolua_value *isolua_value_at(const isolua_value *value, long long i);
ISOLUA_API const isolua_value *isolua_value_get(const isolua_value *value, const char *key);
ISOLUA_API int isolua_value_next(const isolua_value *table, size_t *at, const isolua_value **key,
                                 const isolua_value **value);
ISOLUA_API isolua_sender *isolua_value_sender(const isolua_value *value);
ISOLUA_API isolua_block *isolua_value_block(const isolua_value *value, size_t *offset);
ISOLUA_API isolua_atomic *isolua_value_atomic(const isolua_value *value);

/*
** isolua_future_value: result `index`, from 1, of a settled future, whatever its type; NULL: there
**   is no such result, or no memory.
** isolua_future_error: the value that code in Lua raised, where isolua_future_code is ISOLUA_ERROR:
**   often a string, or a table. NULL: there is none, or no memory.
** Thread: any.
*/
ISOLUA_API const isolua_value *isolua_future_value(isolua_future *future, int index);
ISOLUA_API const isolua_value *isolua_future_error(isolua_future *future);

/* -- Messages ---------------------------------------------------------------------------------- */

/*
** A message is one or more values outside of any Lua state: made by the functions isolua_add_…, or
** received. Thread: any, one at a time.
**
**   int send_point(isolua_sender *sender, double x, double y) {
**     isolua_message *message;
**     int code = isolua_message_new(&message);
**     if (code != ISOLUA_OK) return code;
**     isolua_add_map(message, 2);
**     isolua_add_string(message, "x");
**     isolua_add_number(message, x);
**     isolua_add_string(message, "y");
**     isolua_add_number(message, y);
**     isolua_add_end(message);
**     code = isolua_send(sender, message, ISOLUA_SECOND);
**     if (code != ISOLUA_OK) isolua_message_free(message);
**     return code;
**   }
**
** isolua_message_new: an empty one, the caller's until it is sent or freed. Errors: ISOLUA_INVALID,
**   ISOLUA_MEMORY.
** isolua_message_free: frees it, and gives up the holds in it. NULL does nothing.
** isolua_message_count: how many values it has. A message that is NULL has no values.
** isolua_message_value: value `index`, from 1; NULL: there is none, it is still being made (a table
**   is open), or there is no memory. Nothing can be added any more then.
*/
ISOLUA_API int isolua_message_new(isolua_message **message);
ISOLUA_API void isolua_message_free(isolua_message *message);
ISOLUA_API int isolua_message_count(const isolua_message *message);
ISOLUA_API const isolua_value *isolua_message_value(isolua_message *message, int index);

/*
** To add a value: to the table that was opened last and not ended, or to the message. In a list
** each is the next item; in a map the first of two is the key, a string, a number that is not NaN,
** or a boolean, the second one its value. A message to which something could not be added stays
** broken: what sends it returns that error. So only the last step has to be looked at. Errors:
** ISOLUA_INVALID (a key that cannot be one; no table to end, or a key without its value; a received
** message), ISOLUA_MEMORY.
**
** isolua_add_nil, _boolean, _integer, _number: adds that value; of a boolean everything but 0 is
**   true.
** isolua_add_string: text that ends with a zero, which is copied; NULL adds nil.
** isolua_add_bytes: `length` bytes, which are copied, in Lua a string as well.
** isolua_add_list, isolua_add_map: open a table, at most 100,000 in one another. `size`: items or
**   pairs that are likely to come, a hint.
** isolua_add_end: ends the table that was opened last.
** isolua_add_sender, isolua_add_atomic: a hold is added: the caller's stays his.
** isolua_add_block: a buffer over the whole block. Takes over the caller's hold, in any case. It is
**   moved: nobody else may have a hold on it, unless it is frozen, which can be shared.
*/
ISOLUA_API int isolua_add_nil(isolua_message *message);
ISOLUA_API int isolua_add_boolean(isolua_message *message, int value);
ISOLUA_API int isolua_add_integer(isolua_message *message, long long value);
ISOLUA_API int isolua_add_number(isolua_message *message, double value);
ISOLUA_API int isolua_add_string(isolua_message *message, const char *text);
ISOLUA_API int isolua_add_bytes(isolua_message *message, const void *bytes, size_t length);
ISOLUA_API int isolua_add_list(isolua_message *message, size_t size);
ISOLUA_API int isolua_add_map(isolua_message *message, size_t size);
ISOLUA_API int isolua_add_end(isolua_message *message);
ISOLUA_API int isolua_add_sender(isolua_message *message, isolua_sender *sender);
ISOLUA_API int isolua_add_block(isolua_message *message, isolua_block *block);
ISOLUA_API int isolua_add_atomic(isolua_message *message, isolua_atomic *atomic);

/* -- Blocks ------------------------------------------------------------------------------------ */

/*
** A block is bytes outside of all Lua heaps; buffers in Lua lie over one. One that is not frozen
** belongs to one holder at a time, an isolate or the C code that has the only hold on it.
**
**   static void free_pixels(void *ud, void *pixels, size_t size) {
**     (void)ud, (void)size;
**     free(pixels);
**   }
**
**   int add_pixels(isolua_message *message, void *pixels, size_t size) {
**     isolua_block *block;
**     int code = isolua_block_wrap(pixels, size, free_pixels, NULL, &block);
**     return code == ISOLUA_OK ? isolua_add_block(message, block) : code;
**   }
**
** isolua_block_new: `size` zeros. Gives: *block, with one hold. Errors: ISOLUA_INVALID (NULL for
**   block), ISOLUA_MEMORY.
** isolua_block_wrap: the caller's memory, of which no copy is made; when nobody has the block any
**   more `release`, which may be NULL, is called once with `ud`, the memory and its size, on any
**   thread. Lua cannot resize a buffer over it. Gives: *block, with one hold. Errors:
**   ISOLUA_INVALID (NULL for bytes or block), ISOLUA_MEMORY: then `release` is not called.
** isolua_block_data: its bytes, and how many in *size (may be NULL). They may be written while the
**   caller has the only hold on a block that is not frozen; and read then, or when it is frozen.
** isolua_block_freeze: nobody writes to it any more: it can be held by several. The caller has the
**   only hold.
** isolua_block_frozen: 1 or 0.
** isolua_block_retain: one more hold, on a frozen one.
** isolua_block_release: gives one up. NULL does nothing.
** Thread: any.
*/
ISOLUA_API int isolua_block_new(size_t size, isolua_block **block);
ISOLUA_API int isolua_block_wrap(void *bytes, size_t size,
                                 void (*release)(void *ud, void *bytes, size_t size), void *ud,
                                 isolua_block **block);
ISOLUA_API void *isolua_block_data(isolua_block *block, size_t *size);
ISOLUA_API void isolua_block_freeze(isolua_block *block);
ISOLUA_API int isolua_block_frozen(const isolua_block *block);
ISOLUA_API void isolua_block_retain(isolua_block *block);
ISOLUA_API void isolua_block_release(isolua_block *block);

/* -- Shared integers --------------------------------------------------------------------------- */

/*
** An integer of 64 bits that C code and isolates share: in Lua it is one of isolate.atomic. Sent,
** it is the same one.
**
**   int run_counted(isolua_host *host, isolua_atomic *count, isolua_future **future) {
**     isolua_options options = {.size = sizeof options};
**     int code = isolua_message_new(&options.args);
**     if (code != ISOLUA_OK) return code;
**     isolua_add_atomic(options.args, count);
**     return isolua_run_string(host, &options, "local count = ... return count:add(1)", future);
**   }
**
** isolua_atomic_new: makes one. Gives: *atomic, with one hold, the caller's. Errors: ISOLUA_INVALID
**   (NULL for atomic), ISOLUA_MEMORY.
** isolua_atomic_retain: one more hold.
** isolua_atomic_release: gives one up. NULL does nothing.
** isolua_atomic_load, _store: the integer.
** isolua_atomic_add: adds, wrapping around, and gives the sum.
** isolua_atomic_exchange: sets it to `to` if it is *old; 1: it was; else 0, and *old is what it is.
** Those four are sequentially consistent. Thread: any.
*/
ISOLUA_API int isolua_atomic_new(long long value, isolua_atomic **atomic);
ISOLUA_API void isolua_atomic_retain(isolua_atomic *atomic);
ISOLUA_API void isolua_atomic_release(isolua_atomic *atomic);
ISOLUA_API long long isolua_atomic_load(isolua_atomic *atomic);
ISOLUA_API void isolua_atomic_store(isolua_atomic *atomic, long long value);
ISOLUA_API long long isolua_atomic_add(isolua_atomic *atomic, long long d);
ISOLUA_API int isolua_atomic_exchange(isolua_atomic *atomic, long long *old, long long to);

/* -- Native ports ------------------------------------------------------------------------------ */

/*
** A native port is a queue of messages whose receiver is C code. Its senders are those of any port:
** C code has them, and isolates, where they arrive in messages. When the last one is gone and the
** queue is empty the port is closed.
**
**   void print_integers(isolua_receiver *receiver) {
**     isolua_message *message;
**     while (isolua_receive(receiver, ISOLUA_FOREVER, &message) == ISOLUA_OK) {
**       printf("%lld\n", isolua_value_integer(isolua_message_value(message, 1)));
**       isolua_message_free(message);
**     }
**   }
**
** isolua_receiver_new: makes one. `name`, for show, may be NULL. `capacity`: messages that it
**   holds, 1 or more; 0: no limit. Gives: *receiver, the caller's until isolua_receiver_close, and
**   *sender, the first one, with a hold, the caller's. Errors: ISOLUA_INVALID, ISOLUA_MEMORY.
**   Thread: any.
** isolua_receive: waits at most `timeout` ns for the next message, which is the caller's:
**   ISOLUA_OK. Else ISOLUA_TIMEOUT; ISOLUA_CLOSED: none will come any more; ISOLUA_MEMORY: it is
**   still there. Thread: any, several at once too, but with a timeout other than 0 none of an
**   isolate.
** isolua_receiver_count: messages in its queue, about. Thread: any.
** isolua_receiver_close: nobody receives or sends any more; what is queued is dropped. Waits until
**   no other thread is in isolua_receive for it, which returns ISOLUA_CLOSED there, or in its
**   callback, unless it is called by that. NULL does nothing. Thread: any, once.
**
** isolua_send: sends the message, which must have one value, waiting for room at most `timeout` ns.
**   When it returns ISOLUA_OK the message is gone; else it is still the caller's: ISOLUA_CLOSED:
**   nobody receives there; ISOLUA_FULL: the time was over, or the port is one that refuses;
**   ISOLUA_INVALID: it has not one value, or a table is open; or the error that broke it. Thread:
**   any, but with a timeout other than 0 none of an isolate.
** isolua_sender_retain: one more hold. Thread: any.
** isolua_sender_release: gives one up. NULL does nothing. Thread: any.
*/
typedef struct isolua_receiver isolua_receiver;
ISOLUA_API int isolua_receiver_new(isolua_host *host, const char *name, size_t capacity,
                                   isolua_receiver **receiver, isolua_sender **sender);
ISOLUA_API int isolua_receive(isolua_receiver *receiver, int64_t timeout, isolua_message **message);
ISOLUA_API size_t isolua_receiver_count(isolua_receiver *receiver);
ISOLUA_API void isolua_receiver_close(isolua_receiver *receiver);
ISOLUA_API int isolua_send(isolua_sender *sender, isolua_message *message, int64_t timeout);
ISOLUA_API void isolua_sender_retain(isolua_sender *sender);
ISOLUA_API void isolua_sender_release(isolua_sender *sender);

/* -- Isolates that live ------------------------------------------------------------------------ */

/*
** An isolate that lives can be sent messages, and killed.
**
**   int stop(isolua_isolate *isolate) {
**     int code = isolua_isolate_kill(isolate, ISOLUA_SECOND / 10, 0);
**     isolua_future *gone = isolua_isolate_gone(isolate);
**     if (code == ISOLUA_OK) code = isolua_future_wait(gone, ISOLUA_SECOND);
**     isolua_isolate_release(isolate);
**     return code;
**   }
**
** isolua_spawn_string, isolua_spawn_buffer, isolua_spawn_file: as isolua_run_string, …, for an
**   isolate that lives on when its chunk has ended, as long as its event loop has something to do:
**   a timer, a task, an inbox that somebody can send to. An error that nobody catches in it goes to
**   the log. Gives: *isolate, with a hold, the caller's. Errors: as isolua_run_string.
** isolua_isolate_sender: the sender to its inbox, which goes with the caller's hold on the isolate:
**   retain it to keep it longer.
** isolua_isolate_id, _name, _status: "starting", "running", "waiting", "done", "failed", "killed",
**   "stuck". The strings are the isolate's, or static.
** isolua_isolate_future: its results, the isolate's: settled when its code has ended.
** isolua_isolate_gone: settled when all of it has ended, its state too.
** isolua_isolate_kill: kills it: ISOLUA_OK. Closers and finalizers get `grace` ns. `idle`: not
**   before it waits. ISOLUA_INVALID: it is a main isolate. Does not wait for its end:
**   isolua_isolate_gone tells.
** isolua_isolate_stats: numbers for show.
** isolua_isolate_release: gives up a hold. NULL does nothing.
** Thread: any.
*/
typedef struct isolua_stats {
  size_t memory;                       /* bytes of its Lua heap */
  double cpu;                          /* seconds of processor time */
  long long messages_in, messages_out; /* received and sent */
  size_t queued;                       /* in its inbox */
  double age;                          /* seconds since it was started */
  int spawned;                         /* 1: it lives as these do; else 0 */
  int busy; /* 1: its code runs now, and goes on to its next wait, also when it is paused; else 0 */
} isolua_stats;
ISOLUA_API int isolua_spawn_string(isolua_host *host, const isolua_options *options,
                                   const char *source, isolua_isolate **isolate);
ISOLUA_API int isolua_spawn_buffer(isolua_host *host, const isolua_options *options,
                                   const char *source, size_t length, const char *chunkname,
                                   isolua_isolate **isolate);
ISOLUA_API int isolua_spawn_file(isolua_host *host, const isolua_options *options, const char *path,
                                 isolua_isolate **isolate);
ISOLUA_API isolua_sender *isolua_isolate_sender(isolua_isolate *isolate);
ISOLUA_API long long isolua_isolate_id(const isolua_isolate *isolate);
ISOLUA_API const char *isolua_isolate_name(const isolua_isolate *isolate);
ISOLUA_API const char *isolua_isolate_status(isolua_isolate *isolate);
ISOLUA_API isolua_future *isolua_isolate_future(isolua_isolate *isolate);
ISOLUA_API isolua_future *isolua_isolate_gone(isolua_isolate *isolate);
ISOLUA_API int isolua_isolate_kill(isolua_isolate *isolate, int64_t grace, int idle);
ISOLUA_API void isolua_isolate_stats(isolua_isolate *isolate, isolua_stats *stats);
ISOLUA_API void isolua_isolate_release(isolua_isolate *isolate);

/* -- The pump ---------------------------------------------------------------------------------- */

/*
** For programs that have a loop of their own and never wait. Callbacks that are set here are called
** by isolua_pump, on the thread that calls it, with no lock held.
**
**   static void print_result(void *ud, isolua_future *future) {
**     *(int *)ud = 1;
**     printf("%lld\n", isolua_future_integer(future, 1));
**   }
**
**   int play(isolua_host *host, isolua_future *future, void (*draw)(void)) {
**     int is_done = 0;
**     int code = isolua_future_on_done(future, print_result, &is_done);
**     while (code == ISOLUA_OK && !is_done) {
**       isolua_pump(host, -1, ISOLUA_SECOND / 1000);
**       draw();
**     }
**     return code;
**   }
**
** isolua_pump: does what is ready, at most `max_items` things (-1: no limit) for about `max_ns` ns
**   (-1: no limit), and never waits: callbacks of futures and receivers, and, on the thread of the
**   host's main isolate (isolua_attach), its event loop. A thing that has begun is not interrupted.
**   Returns 1 when more is ready, else 0. Thread: any; one at a time: another one, or a callback,
**   gets 0 at once.
** isolua_fd: a descriptor that can be read from while isolua_pump has something to do, for poll,
**   epoll, libuv or GLib; it is the host's: not to be read, written or closed. -1: the system has
**   none. Timers do not make it readable: isolua_next_due. Thread: any.
** isolua_next_due: ns until the next timer of the main isolate is due, on its thread; -1: there is
**   none.
** isolua_future_on_done: `callback` is called once, when the future is settled, or at the next pump
**   if it is already. The future is held until then. Errors: ISOLUA_INVALID, ISOLUA_MEMORY,
**   ISOLUA_CLOSED. Thread: any. When the host is closed before that, it is never called.
** isolua_receiver_on_message: `callback` is called with each message, which is its own, and once
**   with NULL when none will come any more. It takes the place of the one before; NULL: none is
**   called any more. A call of the one before that has begun on another thread has ended when this
**   returns, so what its `ud` points to can be freed then: hold no lock that it waits for. Errors:
**   ISOLUA_INVALID, ISOLUA_CLOSED. Thread: any, its own callback too.
*/
typedef void isolua_done(void *ud, isolua_future *future);
typedef void isolua_received(void *ud, isolua_receiver *receiver, isolua_message *message);
ISOLUA_API int isolua_pump(isolua_host *host, long long max_items, int64_t max_ns);
ISOLUA_API int isolua_fd(isolua_host *host);
ISOLUA_API int64_t isolua_next_due(isolua_host *host);
ISOLUA_API int isolua_future_on_done(isolua_future *future, isolua_done *callback, void *ud);
ISOLUA_API int isolua_receiver_on_message(isolua_receiver *receiver, isolua_received *callback,
                                          void *ud);

/* -- Pools ------------------------------------------------------------------------------------- */

/*
** A pool runs jobs in isolates that live on, so many at once. Jobs that have to wait are in a queue
** with a limit. C code submits chunks, of which an isolate loads each once; Lua code that is sent
** the pool submits functions to it.
*/
typedef struct il_pool isolua_pool;

/* Options of a pool. Set `size` to sizeof(isolua_pool_options); zero means the default. */
typedef struct isolua_pool_options {
  size_t size;    /* of this struct, in bytes; required */
  size_t workers; /* jobs that run at once, each in an isolate; 0: one for each processor */
  size_t queue;   /* jobs that wait at most; 0: 1024 for each that runs */
  int64_t idle; /* ns until an isolate that has nothing to do ends; 0 or ISOLUA_FOREVER: it stays */
  long long max_jobs; /* that one isolate runs, before another takes its place; 0: no limit */
  int retries;        /* times that a job is run again whose isolate has ended within it */
} isolua_pool_options;

/* Options of a job. Set `size` to sizeof(isolua_job_options); zero means the default. */
typedef struct isolua_job_options {
  size_t size;      /* of this struct, in bytes; required */
  const char *name; /* shown in errors; NULL: from the code */
  int64_t timeout;  /* ns that it may run; 0: the pool's; ISOLUA_FOREVER is refused */
  int priority;     /* -128 to 127; higher ones go first */
} isolua_job_options;

/* What isolua_pool_look tells. */
typedef struct isolua_pool_stats {
  size_t size, busy, queued; /* jobs that may run; that have begun; that wait */
  long long done, failed;    /* jobs that gave results; that did not */
  double wait50, wait99, run50,
    run99; /* medians and 99 % of the seconds that jobs waited, and ran; 0: none yet */
} isolua_pool_stats;

/*
** To run chunks in a pool.
**
**   int submit_square(isolua_pool *pool, double x, isolua_future **future) {
**     isolua_message *args;
**     int code = isolua_message_new(&args);
**     if (code != ISOLUA_OK) return code;
**     isolua_add_number(args, x);
**     code = isolua_submit_string(pool, NULL, "return (...) ^ 2", args, ISOLUA_FOREVER, future);
**     if (code != ISOLUA_OK) isolua_message_free(args);
**     return code;
**   }
**
** isolua_pool_new: makes one. Of `options`, which hold for each of its isolates, `timeout` is that
**   of a job; `args` must be NULL, but is taken over all the same. Either of the options may be
**   NULL: all defaults. Gives: *pool, with one hold, the caller's. Errors: ISOLUA_INVALID (options,
**   arguments), ISOLUA_MEMORY.
** isolua_submit_string, isolua_submit_buffer: Lua source text becomes a job: a chunk that is called
**   with the values of `args` (NULL: none). Its results are the future's. What it sets in the
**   globals is put back after it, but not in tables that they lead to, as `string`. While the queue
**   is full it waits for room at most `timeout` ns. When it returns ISOLUA_OK `args` is gone, and
**   *future is the caller's until isolua_future_release; else `args` is still the caller's:
**   ISOLUA_FULL: there was no room; ISOLUA_CLOSED: the pool takes no more jobs; ISOLUA_INVALID
**   (options, arguments), ISOLUA_MEMORY, or the error that broke `args`. What goes wrong later
**   (syntax, no isolate) is the future's. isolua_future_cancel of it ends the job. Thread: any, but
**   with a timeout other than 0 none of an isolate.
** isolua_pool_close: it takes no more jobs; those that are in are run, and then its isolates end.
** isolua_pool_cancel: it takes no more jobs, and the futures of those that are in fail with
**   ISOLUA_CANCELLED; `reason` may be NULL.
** isolua_pool_empty: a future of the pool's: settled when it is closed and has no job any more.
** isolua_pool_look: numbers for show.
** isolua_pool_retain: one more hold.
** isolua_pool_release: gives one up; with the last one it is closed. NULL does nothing. A pool that
**   is in the hands of isolates is closed when these have given it up, too.
** isolua_add_pool: adds the pool to a message, with a hold; the caller's stays his. Errors: as
**   isolua_add_sender.
** Thread: any.
*/
ISOLUA_API int isolua_pool_new(isolua_host *host, const isolua_options *options,
                               const isolua_pool_options *limits, isolua_pool **pool);
ISOLUA_API int isolua_submit_string(isolua_pool *pool, const isolua_job_options *options,
                                    const char *source, isolua_message *args, int64_t timeout,
                                    isolua_future **future);
ISOLUA_API int isolua_submit_buffer(isolua_pool *pool, const isolua_job_options *options,
                                    const char *source, size_t length, const char *chunkname,
                                    isolua_message *args, int64_t timeout, isolua_future **future);
ISOLUA_API void isolua_pool_close(isolua_pool *pool);
ISOLUA_API void isolua_pool_cancel(isolua_pool *pool, const char *reason);
ISOLUA_API isolua_future *isolua_pool_empty(isolua_pool *pool);
ISOLUA_API void isolua_pool_look(isolua_pool *pool, isolua_pool_stats *out);
ISOLUA_API void isolua_pool_retain(isolua_pool *pool);
ISOLUA_API void isolua_pool_release(isolua_pool *pool);
ISOLUA_API int isolua_add_pool(isolua_message *message, isolua_pool *pool);

/* -- Counts ------------------------------------------------------------------------------------ */

/* isolua_count: what is alive in this process, all hosts together: for leak checks. Thread: any. */
typedef struct isolua_counts {
  size_t isolates; /* started and not ended */
  size_t futures;
  size_t messages;
  size_t bytes;   /* in messages */
  size_t threads; /* of isolates, spare ones too */
  size_t ports;   /* and channels; and an inbox for each isolate that somebody holds */
  size_t shared;  /* integers of isolate.atomic, blocks of buffers, frozen graphs, pools */
} isolua_counts;
ISOLUA_API void isolua_count(isolua_counts *counts);

#ifdef __cplusplus
}
#endif
#endif
