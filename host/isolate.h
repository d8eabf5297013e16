/* isolate.h - the control block of an isolate, and the host that owns isolates. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_ISOLATE_H
#define IL_ISOLATE_H

#include "control.h"
#include "future.h"
#include "isolua.h"
#include "msg.h"
#include "plat.h"
#include "port.h"
#include "pump.h"
#include "wait.h"
#include "watchdog.h"
#include "worker.h"

#ifndef IL_FORGONE_WAITING
#define IL_FORGONE_WAITING ((int64_t)100000000) /* ns that one whom nobody wants may wait on */
#endif
#ifndef IL_FORGONE
#define IL_FORGONE ((int64_t)1000000000) /* ns that it may go on in all */
#endif
#ifndef IL_GRACE
#define IL_GRACE ((int64_t)100000000) /* ns that closers of a killed isolate may run */
#endif
#ifndef IL_STUCK
#define IL_STUCK ((int64_t)500000000) /* ns after the grace until it counts as stuck */
#endif
#ifndef IL_STUCK_SIGNALS
#define IL_STUCK_SIGNALS                                                                           \
  100 /* handled in vain by a thread that counts as stuck: else it has not run enough */
#endif
#ifndef IL_STUCK_CLOSING
#define IL_STUCK_CLOSING                                                                           \
  ((int64_t)5000000000) /* the same, when it ended by itself: freeing a large
                                                  heap takes its time */
#endif
#ifndef IL_STACK
#define IL_STACK ((size_t)1 << 20) /* bytes; 200 nested C calls (LUAI_MAXCCALLS) fit twice */
#endif

#ifndef IL_STACK_MIN
#define IL_STACK_MIN ((size_t)512 << 10) /* bytes: 200 nested calls of gsub take 417 KiB */
#endif

typedef struct isolua_isolate il_isolate;

enum il_status {
  IL_STARTING,
  IL_RUNNING,
  IL_WAITING,
  IL_DONE,
  IL_FAILED,
  IL_KILLED,
  IL_GONE_STUCK
};

/* What becomes of an isolate that is told to end. */
enum il_phase {
  IL_UNWIND, /* its Lua code is interrupted once; closers run */
  IL_HARD    /* the grace is over: every instruction is interrupted */
};

/* What an isolate that serves somebody tells him. */
typedef struct il_hooks {
  /* It has ended with *r, whose contents may be taken over, as its future is about to. Once, any thread. */
  void (*ended)(il_isolate *i, il_result *r);
  /* It begins to wait, its body or a task for a future, or ends to. Its thread. */
  void (*waits)(il_isolate *i, bool begins);
  /* Nothing of it runs any more, and its block is freed. Once, any thread. */
  void (*freed)(void *served);
  /* What messages of its end speak of, "job 'x'": false, of itself. */
  bool (*subject)(il_isolate *i, char *text, size_t size);
} il_hooks;

/* What the starter of an isolate says of it, beside isolua_options. */
typedef struct il_start {
  bool spawned;           /* it lives as long as its event loop; its error is reported at once */
  bool paused;            /* until it is resumed */
  bool errors_go_on;      /* an uncaught error in a task or handler does not end it */
  bool unawaited;         /* the end of the program does not wait for it */
  const il_hooks *hooks;  /* whom it serves: static; or NULL */
  void *served;           /* theirs */
  il_isolate *parent;     /* who starts it; or NULL */
  il_listener *listeners; /* of malloc; taken over */
} il_start;

/* A handle of its state, as long as the state has it. */
typedef struct il_holding {
  il_isolate *isolate; /* NULL: none; set by its thread alone */
  il_handle *h;        /* fixed */
  /* isolate's lock */
  struct il_holding *prev, *next;
  bool abandoned; /* the isolate is stuck, and the handle told that */
} il_holding;

struct isolua_isolate {
  il_handle h;
  il_job job; /* the worker's */

  /* fixed at creation */
  isolua_host *host; /* one hold */
  int64_t id;
  char *name;
  int64_t timeout; /* ns, 0: none */
  size_t memory;   /* bytes, 0: no cap */
  size_t stack;
  bool is_main;
  int64_t born;                            /* il_now() then */
  bool spawned, errors_go_on;              /* il_start */
  bool awaited;                            /* the end of the program waits for it */
  const il_hooks *hooks;                   /* il_start */
  void *served;                            /* il_start */
  il_isolate *parent;                      /* one hold; or NULL */
  void (*body)(il_isolate *, void *spare); /* runs it, on its thread */
  void (*free_body)(il_isolate *);         /* frees what `task` holds */
  void *task;                              /* what the body runs; body's own */
  void *vm; /* its own thread: the il_vm that it has; NULL: none yet, or none any more */

  il_waiter waiter;
  il_port inbox;        /* `tx` is the isolate's handle in Lua */
  isolua_future future; /* its results */
  isolua_future gone;   /* its state is closed */
  il_control control;

  il_mutex lock; /* guards the eight below */
  bool attached; /* `thread` runs it: signals may be sent there */
  bool left;     /* its thread has done with it */
  bool closing;  /* it ended by itself, and its state is being closed */
  il_thread thread;
  int64_t grace_end;
  const _Atomic(size_t) *heap; /* bytes that its state uses; NULL: it has none */
  int64_t cpu_before;          /* ns that its thread had taken before it */
  int64_t cpu;                 /* ns that its thread took for it, once it has left */
  il_holding *holdings;

  il_isolate *prev, *next; /* host's lock: its list */
  bool stuck;              /* host's lock */
  bool listed;             /* host's lock */

  /* atomics */
  atomic_int status;           /* relaxed: for show */
  atomic_int dying;            /* error number it ends with, 0: none; acq_rel */
  atomic_int phase;            /* il_phase; acq_rel */
  _Atomic(bool) kill_idle;     /* to be killed when it waits; release */
  _Atomic(int64_t) kill_grace; /* with this grace, in ns */
  atomic_int forgone; /* il_isolate_forgo was called; 2: and the first time is over; relaxed */
  _Atomic(bool) acknowledged; /* the unwinding is under way, no more signals needed */
  atomic_int signals;         /* handled by its thread since it last ran Lua code; relaxed */
  _Atomic(bool) counts;       /* its thread counts them */
  _Atomic(bool) interrupted;  /* main: Ctrl-C */
  atomic_llong messages_in, messages_out; /* relaxed: for show; written by its thread alone */
  il_alarm alarm;
  il_alarm owes;               /* while busy code has questions to answer */
  int64_t retry;               /* watchdog's thread only: ns to the next signal */
  _Atomic(int64_t) owes_retry; /* ns to the next signal for these; relaxed */
  bool probed;                 /* likewise: it is late, and its signals are counted from there on */
};

struct isolua_host {
  il_handle h; /* held by its opener, its isolates and futures */

  /* fixed at open */
  isolua_host_options options;
  il_workers workers;
  il_watchdog watchdog;
  il_pump pump;        /* for isolua_pump */
  il_alarm kick;       /* every millisecond while jobs are queued */
  void (*open)(void);  /* the lua_CFunction of isolua_host_set_open, for vm.c */
  uint64_t seed[2];    /* from the system, for math.random of its states */
  _Atomic(void *) std; /* names of the standard functions, for names.c; freed by free_std; NULL:
                          no state has told them yet */
  void (*free_std)(void *);

  il_mutex lock; /* guards all below */
  il_isolate *first;
  size_t alive;     /* isolates in the list, but main */
  size_t leaving;   /* those that were, and whose states are being closed */
  size_t unsettled; /* isolates started whose futures are not settled */
  size_t awaited;   /* those of them that the end of the program waits for */
  size_t serving;   /* those of them that serve somebody: they end when he wants */
  size_t stuck;     /* isolates whose threads are in a C function and do not leave */
  il_isolate *main; /* no hold: it leaves before it ends */
  il_port *watcher; /* of il_host_watch; one hold as a sender; or NULL */
  bool closing;
  bool draining;   /* main waits until all are settled */
  il_cond changed; /* fewer are unsettled */

  _Atomic(const void *) functions; /* of isolua_host_set_module, for encode.c; or NULL */
  _Atomic(const char *) types; /* module that makes the metatables of handles; a static string */
  atomic_size_t
    busy; /* pools that have jobs; seq_cst, as is the next one: each looks at the other's */
  _Atomic(bool) waited;     /* somebody waits, or did, for fewer of these */
  _Atomic(bool) failed;     /* an error was logged that nobody caught */
  _Atomic(bool) closed;     /* its opener may have freed what `log` and `error` need */
  _Atomic(uint64_t) states; /* made so far; relaxed */
};

/* -- Isolates. Thread: any, unless it says otherwise. ------------------------------------------- */

/* With one hold, in no list. ISOLUA_MEMORY: nothing was made, listeners are the caller's. `start` may
** be NULL. */
int il_isolate_new(isolua_host *host, const isolua_options *o, const char *name,
                   const il_start *start, il_isolate **out);
/* Starts it. 0, ISOLUA_CLOSED, ISOLUA_FULL, ISOLUA_MEMORY or ISOLUA_SPAWN: its future is settled with that. */
int il_isolate_start(il_isolate *i);
/* Tells it to end, with `code`, at its next instruction or wait. The first call counts. */
void il_isolate_kill(il_isolate *i, int code, int64_t grace);
/* Its state is about to be closed: finalizers have the usual grace. Its own thread. */
void il_isolate_closing(il_isolate *i);
/* The calling thread is its own from now on. */
void il_isolate_enter(il_isolate *i);
/* It becomes the main isolate of its host, on the calling thread. ISOLUA_INVALID: there is one.
** ISOLUA_CLOSED: the host is closing. */
int il_isolate_enter_main(il_isolate *i);
void il_isolate_leave_main(il_isolate *i);
/* Out of the list, and its future settled with *r (taken over; NULL for a main isolate). Its own
** thread, before its state is closed. */
void il_isolate_finish(il_isolate *i, enum il_status status, il_result *r);
/* No signal reaches its thread for it any more. Its own thread, after its state was closed. */
void il_isolate_leave(il_isolate *i);
void il_isolate_release(il_isolate *i);
const char *il_isolate_status(il_isolate *i);
/* The isolate whose handle a tx is; NULL: it is another port's. */
il_isolate *il_isolate_of(il_handle *tx);
extern const il_handle_type il_isolate_type; /* of those handles */

/* Kills it when it waits the next time, or at once if it does. */
void il_isolate_kill_idle(il_isolate *i, int64_t grace);
/* Nobody wants its result any more, which it may find out by itself: it is killed when it still waits after
** IL_FORGONE_WAITING ns, and in any case after IL_FORGONE. Thread: any. */
void il_isolate_forgo(il_isolate *i);
/* It waits: whoever wanted to kill it then does so now. Its own thread. */
void il_isolate_idle(il_isolate *i);

/* Wakes its event loop, and with `busy` also interrupts Lua code, again and again until it has
** answered what was asked. Thread: any. */
void il_isolate_nudge(il_isolate *i, bool busy);
/* The exit message of an isolate whose `gone` is settled. NULL: no memory. Thread: any. */
il_msg *il_isolate_exit_message(isolua_future *gone);

/* Its state has the handle `h` from now on, or no more. Its own thread. */
void il_isolate_hold(il_isolate *i, il_holding *holding, il_handle *h);
void il_isolate_let_go(il_holding *holding);

/* Nanoseconds of processor time, bytes of heap, for show. Thread: any. */
void il_isolate_measure(il_isolate *i, int64_t *cpu, size_t *heap);
/* Its state uses *heap bytes (NULL: it has none any more). Its own thread. */
void il_isolate_set_heap(il_isolate *i, const _Atomic(size_t) *heap);

/* -- Hosts -------------------------------------------------------------------------------------- */

void il_host_log(isolua_host *host, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Nobody caught the error *r of the isolate, or of `what` in it: for the callback `error`. Thread: any. */
void il_host_uncaught(const il_isolate *i, const char *what, const il_result *r);
/* The same of a job, which is no isolate. */
void il_host_uncaught_job(isolua_host *host, const char *job, const il_result *r);
/* The port (or NULL) is told of the end of isolates that are spawned from now on; and of errors that nobody
** caught, in place of the callbacks. Thread: any. */
void il_host_watch(isolua_host *host, il_port *to);
/* That port, with a hold as a sender; or NULL. */
il_port *il_host_watcher(isolua_host *host);
void il_host_release(isolua_host *host);
/* Main is woken when the last isolate settles its future, from now on. */
void il_host_drain(isolua_host *host);
enum il_whom {
  IL_ALL,    /* every isolate but main */
  IL_USERS,  /* those that serve nobody, and all jobs */
  IL_AWAITED /* those that the end of the program waits for, and all jobs */
};
/* Waits until they have settled their futures, or `deadline`: then false. */
bool il_host_wait(isolua_host *host, enum il_whom whom, int64_t deadline);
/* A pool has jobs, or none any more: under its lock. */
void il_host_busy(isolua_host *host, bool is);
/* isolua_host_close was called. */
bool il_host_is_closing(isolua_host *host);
/* Isolates that have not ended, `room` of them at most, with a hold on each; how many there are. */
size_t il_host_list(isolua_host *host, il_isolate **all, size_t room);
/* One with that name, the one that was started last, with a hold; NULL: none. */
il_isolate *il_host_find(isolua_host *host, const char *name);
/* Sees to it that a job does not wait for a thread that does not get ready. */
void il_host_kick_later(isolua_host *host);
/* Ends spare threads, and waits until no thread is left but those of isolates that run. `dying`: the
** caller's is one that is told to end. */
void il_host_settle(isolua_host *host, bool dying, int64_t deadline);

extern atomic_size_t il_live_isolates;

#endif
