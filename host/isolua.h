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
** function named there. After a failure nothing was given out. Strings that you pass are copied.
** Strings that you are handed live as long as the object they came from.
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

#define ISOLUA_VERSION_MAJOR 0
#define ISOLUA_VERSION_MINOR 1
#define ISOLUA_VERSION_PATCH 0
/* The version as one number: 100 for 0.1.0. */
#define ISOLUA_VERSION_NUMBER                                                                      \
  (ISOLUA_VERSION_MAJOR * 10000 + ISOLUA_VERSION_MINOR * 100 + ISOLUA_VERSION_PATCH)

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
  ISOLUA_SPAWN = 10,       /* no thread or Lua state could be made */
  ISOLUA_DEADLOCK = 11,    /* nothing could ever end this wait */
  ISOLUA_INTERRUPTED = 12, /* Ctrl-C */
  ISOLUA_STUCK = 13,       /* a thread sits in a C function and does not end */
  ISOLUA_INVALID = 14,     /* an argument is wrong */
  ISOLUA_FULL = 15         /* a queue has no room */
};

typedef struct isolua_host isolua_host;
typedef struct isolua_future isolua_future;

/*
** isolua_version: the library's ISOLUA_VERSION_NUMBER, to compare with the header's.
** isolua_code_name: "killed", "timeout", …: the `code` of error objects in Lua; a static string.
** isolua_code_message: one English clause for an error number; a static string.
** Thread: any.
*/
ISOLUA_API int isolua_version(void);
ISOLUA_API const char *isolua_code_name(int code);
ISOLUA_API const char *isolua_code_message(int code);

/*
** Callbacks of a host. Each may be called from any thread of the host, several at once, with no
** lock held; `ud` is the host option of the same name. None may call isolua_host_close. Texts live
** until it returns. `isolate` is the id of an isolate, which no other in the process has or had.
** The signal that ends busy code may interrupt a system call in them (EINTR).
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
**   future: ISOLUA_ERROR, ISOLUA_TIMEOUT, …; `message` is the error as text; `traceback` begins
**   with it, and may be NULL. The default makes one message of it for `log`.
** isolua_load: `require` looks for the module `name`, in an isolate or a state of
**   isolua_main_open, after package.preload and before any file. On its thread. ISOLUA_OK with
**   module->source: the host has it. ISOLUA_OK without: it has none. Any other number:
**   `require` raises an error with module->message. The source is text; precompiled chunks are
**   refused. The default has none.
*/
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
** isolua_thread: a thread of the host begins, or ends: of kind ISOLUA_THREAD_ISOLATES, it runs
** isolates, one after the other; ISOLUA_THREAD_WATCHDOG, it keeps the time. On that thread, as the
** first and the last that it does; it may call nothing of its host then. All have ended when
** isolua_host_close returns ISOLUA_OK. The watchdog has 128 KiB of stack.
*/
enum { ISOLUA_THREAD_ISOLATES = 0, ISOLUA_THREAD_WATCHDOG = 1 };
typedef void (*isolua_thread)(void *ud, int kind);

/*
** What a host forbids: flags of `forbid`. They hold for every isolate of the host, also for those that
** isolates start, whatever libraries they ask for; not for main, which takes no code from isolates
** then: functions, metatables and packed objects are refused there. What is forbidden is not there,
** and cannot be received.
** ISOLUA_NO_IO: the library io.
** ISOLUA_NO_OS: the library os, and io.popen.
** ISOLUA_NO_BYTECODE: precompiled chunks: load, loadfile, dofile and require take text alone.
** ISOLUA_NO_C_MODULES: require of C libraries, and package.loadlib. A C function in package.preload
**   stays: whoever has put it there has allowed it.
** ISOLUA_NO_FILES: all that reaches files: io, C modules, dofile, loadfile, require of files,
**   package.searchpath, os.execute, os.remove, os.rename, os.tmpname, isolate.spawn_file,
**   isolate.map_file, buffer:write to a path. It implies ISOLUA_NO_IO and ISOLUA_NO_C_MODULES.
** ISOLUA_NO_DEBUG: the library debug. It can break what C code relies on, so it must be forbidden to
**   code that may want to do harm; none of the other flags can be got around by it alone in Lua.
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

/* Options of a host. Set `size` to sizeof(isolua_host_options); zero means the default. */
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
  size_t max_isolates;        /* isolates alive at once, main not counted, but those that are stuck;
                                 0: no limit. ISOLUA_FULL: it is reached */
  unsigned forbid;            /* ISOLUA_NO_*: what no isolate may; 0: nothing is forbidden */
} isolua_host_options;

/*
** isolua_host_open: makes a host. `options` NULL: all defaults.
**   Errors: ISOLUA_INVALID (size, kill_signal, spares, max_time or forbid), ISOLUA_MEMORY.
**   Thread: any.
** isolua_host_close: ends every isolate of the host and frees it. Those that do not end by themselves
**   in 0.1 s are killed and named in the log; those that are not gone after `timeout` ns are left
**   alone (their threads may go on inside a C function) and named in the log, too.
**   Futures that are not released yet stay valid and settle. Returns ISOLUA_OK, or ISOLUA_STUCK
**   when a thread was left. NULL does nothing. Thread: any but the host's own isolates and
**   callbacks; once.
*/
ISOLUA_API int isolua_host_open(const isolua_host_options *options, isolua_host **host);
ISOLUA_API int isolua_host_close(isolua_host *host, int64_t timeout);

/* Options of an isolate. Set `size` to sizeof(isolua_options); zero means the default. */
typedef struct isolua_options {
  size_t size;      /* of this struct, in bytes; required */
  const char *name; /* shown in errors and as the thread's name; NULL: from the code */
  int64_t timeout;  /* ns after which it is killed; 0: none */
  size_t memory;    /* cap on its Lua heap, bytes; 0: none */
  const char *libs; /* standard libraries, space separated, beside the base library; NULL: all;
                       "": none. Of: coroutine debug io math os package string table utf8 */
  const char *gc;   /* "generational", "incremental" or "stop"; NULL: Lua's own default */
  size_t stack;     /* C stack of its thread, bytes; 0: 1 MiB; less than 512 KiB, which
                       the deepest recursion that Lua allows needs, counts as 512 KiB */
  const char *init; /* module run first; NULL: none */
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

/*
** isolua_future_wait: waits at most `timeout` ns for the work to end. ISOLUA_OK when it has
**   results; ISOLUA_TIMEOUT when it is not done yet (isolua_future_done tells this from an isolate
**   that ran over its own time); else the error number of the work. Thread: any, but not an isolate
**   or an attached state (it would stop its event loop): Lua awaits there.
** isolua_future_done: 1 when it is settled, else 0. Thread: any.
** isolua_future_cancel: settles it with ISOLUA_CANCELLED and kills its isolate: 1. It does nothing when
**   it is settled: 0. `reason` may be NULL. Thread: any.
** isolua_future_release: gives up your hold; the work goes on. NULL does nothing. Thread: any.
*/
ISOLUA_API int isolua_future_wait(isolua_future *future, int64_t timeout);
ISOLUA_API int isolua_future_done(isolua_future *future);
ISOLUA_API int isolua_future_cancel(isolua_future *future, const char *reason);
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
** isolua_future_message: the error as text; NULL when it has results or is not settled.
** isolua_future_traceback: where it was raised, or NULL when there is none.
*/
enum {
  ISOLUA_TNONE = -1,
  ISOLUA_TNIL = 0,
  ISOLUA_TBOOLEAN = 1,
  ISOLUA_TINTEGER = 2,
  ISOLUA_TNUMBER = 3, /* a float */
  ISOLUA_TSTRING = 4,
  ISOLUA_TOTHER = 5 /* a table, function, …: for Lua */
};
ISOLUA_API int isolua_future_count(isolua_future *future);
ISOLUA_API int isolua_future_type(isolua_future *future, int index);
ISOLUA_API int isolua_future_boolean(isolua_future *future, int index);
ISOLUA_API long long isolua_future_integer(isolua_future *future, int index);
ISOLUA_API double isolua_future_number(isolua_future *future, int index);
ISOLUA_API const char *isolua_future_string(isolua_future *future, int index, size_t *length);
ISOLUA_API const char *isolua_future_message(isolua_future *future);
ISOLUA_API const char *isolua_future_traceback(isolua_future *future);

/* Pools: isolua_lua.h. */
typedef struct isolua_pool_options {
  size_t size, queue; /* jobs that run, and that wait, at most; 1 or more */
  int64_t idle,
    timeout; /* ns: until an isolate with nothing to do ends, -1: it stays; and that a job may run,
                            0: no limit */
  long long max_jobs; /* that one isolate runs; 0: no limit */
  int retries;        /* times that a job is run again whose isolate has ended within it */
} isolua_pool_options;
typedef struct isolua_pool_stats {
  size_t size, busy, queued; /* jobs that may run; that have begun; that wait */
  long long done, failed;    /* jobs that gave results; that did not */
  double wait50, wait99, run50,
    run99; /* medians and 99 % of the seconds that jobs waited, and ran; 0: none yet */
} isolua_pool_stats;

/* What is alive in this process, all hosts together: for leak checks. Thread: any. */
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
