/* state.h - what is kept of one Lua state, for all that works on it. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_STATE_H
#define IL_STATE_H

#include <lua.h>

#include "arena.h"
#include "due.h"
#include "isolate.h"
#include "isolua_lua.h"

struct il_vm;

/* Pushes the traceback of L1 from `level` on, with the error value at `index` of L in front; and when it
** came out of an isolate, the traceback from there (vm.c). [-0, +1, m] */
void il_vm_pushtraceback(lua_State *L, lua_State *L1, int index, int level);

/* -- names.c ------------------------------------------------------------------------------------ */

/* A set of addresses that may have a name: a miss says for sure that there is none. */
typedef struct il_names {
  const void **filter;
  size_t mask, count; /* of filter, which is a power of two long; mask 0: none yet */
  bool opened;        /* what was loaded at the start was looked at */
  bool pending;       /* a module was put into package.loaded by hand since the last look */
  bool own_pending;   /* likewise the modules of the library itself */
} il_names;

/* -- loop.c ------------------------------------------------------------------------------------- */

/* Something that the loop watches: a case of a wait, or a handler. Owner thread, but for the watch. */
typedef struct il_source il_source;

typedef struct il_source_type {
  /* The loop has taken its watch: something may be there. [-0, +0, -] */
  void (*fire)(struct il_vm *vm, lua_State *L, il_source *s);
  /* No longer watches: after it no other thread touches the watch. */
  void (*unwatch)(struct il_vm *vm, il_source *s);
  /* Can something outside this isolate, or in its queue, make it fire? */
  bool (*reachable)(struct il_vm *vm, il_source *s);
  /* Pushes what it waits for, as in "waits for …"; NULL: a handler. [-0, +1, m] */
  void (*describe)(struct il_vm *vm, lua_State *L, il_source *s);
  /* The loop ends, and has removed it: frees it; or NULL. [-0, +0, -] */
  void (*drop)(struct il_vm *vm, il_source *s);
  /* The isolate is paused, or no more: so long others are told in its place; or NULL. [-0, +0, -] */
  void (*away)(struct il_vm *vm, il_source *s, bool away);
  /* How many things a source whose watch has fired has to do; NULL: one. [-0, +0, -] */
  size_t (*left)(struct il_vm *vm, il_source *s);
} il_source_type;

struct il_source {
  il_watch watch; /* first */
  const il_source_type *type;
  bool idle;              /* a handler that does not keep its isolate alive */
  il_source *prev, *next; /* the loop's list */
};

/* Something that is due: a timer, or the deadline of a wait. Owner thread. */
typedef struct il_tick il_tick;
struct il_tick {
  il_due due;                                               /* first */
  void (*ring)(struct il_vm *vm, lua_State *L, il_tick *t); /* it is not set any more */
  bool live; /* somebody waits for it, or it has a function */
};

/* A coroutine that the loop resumes: a task, or a call of a handler. */
typedef struct il_coro il_coro;
struct il_coro {
  lua_State *co;
  int ref;                                     /* registry: keeps `co` */
  int nargs;                                   /* on its stack, for the next resume */
  bool begun;                                  /* it was resumed */
  bool ready;                                  /* in the loop's queue */
  bool cancelled;                              /* its next wait raises */
  bool broken;                                 /* isolua_break has ended it */
  const char *what;                            /* it is, of those; static */
  il_coro **parked;                            /* its wait's pointer to it; NULL: it is in none */
  void (*ended)(struct il_vm *vm, il_coro *c); /* or NULL */
  void *arg;                                   /* for `ended` */
  int handle;                                  /* registry: the task's userdata; LUA_NOREF: none */
  il_coro *next;                               /* the loop's queue */
  il_coro *before, *behind;                    /* the loop's list */
};

typedef struct il_loop {
  il_watch *taken;              /* fired watches that are still to be dispatched, oldest first */
  il_source *sources;           /* all of them */
  il_dues ticks;                /* il_tick */
  size_t live_ticks;            /* those that are `live` */
  size_t reserved;              /* ticks that may be set */
  il_coro *ready, **ready_last; /* queue */
  il_coro *coros;               /* all of them */
  il_coro *current;             /* which runs; NULL: none */
  int spare;                    /* registry: a coroutine that has ended, for the next handler */
  int foreign;                  /* registry: the function of another event loop; or LUA_NOREF */
  struct il_wait *called, *last_called; /* waits there that may go on, oldest first */
  long long tokens;                     /* given to waits there */
  bool one_by_one;                      /* whoever pumps counts messages, or the time */
  bool pumping;    /* whoever pumps sees to what is there, and asks what is due, afterwards */
  bool announced;  /* the event was set for what no watch tells of, since the last pump */
  unsigned turns;  /* of il_loop_breathe */
  bool due;        /* a turn, or that a coroutine yields: at its next wait */
  uint32_t random; /* for the order in which a wait looks at its cases; never 0 */
  bool closed;     /* the state is being closed: no more handlers */
  bool ending;     /* the body has ended, and what is in tasks is being closed */
  int outside;     /* waits for what no source tells of: main's for all isolates */
  int awaits;      /* waits for futures, of the body and of coroutines */
  int inside; /* waits that are not of coroutines: nothing else of the isolate runs but the loop */
  bool told;  /* whom the isolate serves knows that it waits for a future */
  bool hopeless;           /* waits of coroutines that are resumed now raise `deadlock` */
  bool suspect;            /* a task has failed whose future may be garbage */
  bool failed_tasks;       /* tasks have failed, and it was not asked since: pools.c */
  bool quiet;              /* garbage was collected since the last wait began */
  int64_t idle;            /* ns of sleep before it is collected */
  il_item held;            /* a message on its way into a box */
  long long sent;          /* messages_out when it last gathered messages */
  size_t holds;            /* handles and receivers that this state has */
  lua_CFunction traceback; /* message handler of handlers */
  void (*failed)(struct il_vm *vm, lua_State *L); /* one raised the value at index 1 */
} il_loop;

/* -- The whole ---------------------------------------------------------------------------------- */

struct il_encoder;
struct il_search;

/* Instructions of code that is evaluated from outside, between two looks at what is asked. */
#define IL_LOOK 1000
#define IL_LOOK_SOON 2 /* until the first after a signal */
/* At most so many evaluations run on top of one another. */
#define IL_DEPTH 8
/* Ids of what an interrupted wait was for. */
#define IL_HUNG 8

/* Owner thread only; its signal handler reads `running`, `breaks`, `breakable` and the isolate, and
** keeps the hook. */
typedef struct il_vm {
  lua_State *L; /* its main thread */
  bool owned;   /* made here: our allocator, pcall, coroutine functions */
  struct il_vm **
    sentinel; /* of an attached state: what detaches it when it is closed; NULL in it: not any more */
  isolua_host *host;
  il_isolate *isolate;         /* one hold; NULL in a spare state */
  lua_State *volatile running; /* the coroutine that runs, as our resume knows it */
  volatile bool stirred;  /* a question's signal has come, or code is evaluated, not long ago */
  volatile lua_Hook hook; /* the user's, while the signal handler's is in its place */
  int hook_mask, hook_count;
  lua_State *hooked;       /* whose it was */
  unsigned left_alone;     /* signals since the last that has set its hook; the signal handler's */
  unsigned leave_alone;    /* so many; likewise */
  _Atomic(bool) breaks;    /* main: no pcall is to catch the next interrupt; seq_cst */
  _Atomic(bool) breakable; /* main: isolua_breakable runs; likewise */
  bool breaking;           /* such an interrupt unwinds main */
  /* Answers a question: *r. What it raises is caught. [-0, +0, -] */
  void (*answer)(struct il_vm *vm, lua_State *L, il_question *q, il_result *r);
  const il_question *asked; /* whose code runs; NULL: none */
  bool stopped;             /* it was cancelled, and that was raised in it */
  lua_Hook look;            /* of that code, each IL_LOOK instructions */
  int depth;                /* of evaluations */
  int waitless;             /* calls that run between isolua_waitless 1 and 0 */
  const char *broken;       /* main: what of the loop the last break has ended; NULL: nothing */
  long long hung[IL_HUNG];  /* main: ids of what its interrupted wait was for: isolua_hung */
  il_arena arena;           /* its heap, unless the host has an allocator of its own */
  _Atomic(size_t) used;     /* bytes of its heap; relaxed: others read it for show */
  size_t cap;               /* of it; 0: none */
  ptrdiff_t
    pressure; /* bytes that came outside of the heap since the collector took a step for them */
  unsigned forbid; /* ISOLUA_NO_*: fixed; 0 in main */
  unsigned libs;   /* standard libraries it has, bits of il_libs */
  il_names names;
  il_loop loop;
  struct il_search *search;   /* one hold: of the last isolate that it started; or NULL */
  size_t loaded;              /* codes that are kept: decode.c */
  struct il_encoder *encoder; /* kept between sends; NULL while in use or before the first */
  bool ended;                 /* its code is: what fails from now on cannot end it any more */
  il_result failure;          /* what ended it, when its own code or a handler did */
  int closes;                 /* coroutines being closed, one in the other */
  char *traceback;            /* of the error that is under way in the body */
  char *remote;               /* traceback of the error last raised out of a future, whose value
                                  is kept in the registry */
  char *warning;              /* what `warn` has said of a message so far; NULL: it never has */
  bool warn;                  /* warnings are on */
} il_vm;

/* The cap of a heap while what came of a task is made into a message: that is not the task's, but its
** code may run then, too (__tostring, __isolate_pack). */
static inline size_t il_cap_of_result(size_t cap) {
  const size_t more = (size_t)1 << 20;
  if (cap == 0) return 0;
  return cap > (SIZE_MAX - more) / 2 ? SIZE_MAX : cap * 2 + more;
}

/* Where fewer values are at hand lua_checkstack fails for want of memory. */
enum { IL_MANY_VALUES = 1000 };

/* Pushes the metatable of a type of the binding, which is made if need be (handle.c). [-0, +1, e] */
void il_handle_pushtype(lua_State *L, const char *name);

/* Pushes the metatable of userdata of type `name`, made at the first call, with `gc` as its __gc, and if
** it `closes` as its __close: then 1 (handle.c). [-0, +1, m] */
int il_newtype(lua_State *L, const char *name, lua_CFunction gc, bool closes);
/* Pushes the weak table under that key of the registry, made at the first call with that `__mode` (handle.c).
** [-0, +1, m] */
void il_weak_push(lua_State *L, const void *key, const char *mode);
/* Pushes the table of userdata by the address of what they stand for; weak, so that it keeps none
** (handle.c). [-0, +1, m] */
void il_interned_push(lua_State *L);

/* The vm of a state; NULL when it is not attached. [-0, +0, -] */
il_vm *il_vm_of(lua_State *L);
il_vm *il_vm_check(lua_State *L); /* raises when it is not attached */

/* Registry key: what `open` left in package.preload. */
extern char il_base_preload;

#endif
