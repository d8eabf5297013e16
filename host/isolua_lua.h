/* isolua_lua.h - isolua for C code that has a lua_State in its hands. */
/* SPDX-License-Identifier: MIT */
#ifndef ISOLUA_LUA_H
#define ISOLUA_LUA_H

/*
** To isolua.h as lauxlib.h is to lua.h: what Lua bindings and hosts with a Lua state need. The
** executable and the Lua module are written with these two headers alone.
**
** Thread: every function with a lua_State runs on the thread that owns that state. Each is tagged
** as in the Lua manual: [-popped, +pushed, how it raises].
*/

#include "isolua.h"
#include <lauxlib.h>
#include <lua.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- States ------------------------------------------------------------------------------------ */

/*
** A program that has a Lua state makes an isolate of it, so that its scripts can start others.
**
**   int run_attached(isolua_host *host, const char *script) {
**     lua_State *L = luaL_newstate();
**     int code;
**     if (L == NULL) return ISOLUA_MEMORY;
**     luaL_openlibs(L);
**     isolua_open_modules(L);
**     code = isolua_attach(host, L);
**     if (code == ISOLUA_OK) {
**       if (luaL_dostring(L, script) != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1));
**       isolua_detach(L);
**     }
**     lua_close(L);
**     return code;
**   }
**
** isolua_host_set_open: `open` is called (as a C function, protected, without arguments) in every
**   fresh state of the host after the standard libraries, to add preloaded modules. It takes the
**   place of isolua_open_modules, which isolua_host_open sets: where isolates are to have
**   "isolate", it calls that. No state can be made where it raises an error, which the log has.
**   Call it before the first isolate starts. Thread: the opener of the host.
** isolua_host_set_module: names the module (a string that stays) that makes the metatables of
**   handles: where an isolate gets the first handle of type NAME, it is required and its field NAME
**   read. `functions` are lists of C functions without upvalues, ended by NULL, that can be sent to
**   every isolate of the host; all stay. Thread: any.
** isolua_main_open: makes a Lua state with all libraries for the calling thread and attaches it as
**   the host's main isolate. Its allocator is the host's. Gives *L, closed by isolua_main_close.
**   Errors: ISOLUA_MEMORY, ISOLUA_INVALID (the host has a main isolate).
** isolua_main_close: closes that state and detaches it. Isolates go on.
** isolua_attach: makes a state that you made the main isolate of `host`; with host NULL, of a new
**   host that logs to stderr and closes with the state. Adds registry entries and a metatable on
**   package.loaded; changes nothing else. [-0, +0, -]. Errors: ISOLUA_MEMORY; ISOLUA_INVALID: L is
**   attached already, or the host has a main isolate; ISOLUA_CLOSED: the host is closing. lua_close
**   detaches it, too.
** isolua_detach: ends that: tasks and handlers of L end, and its isolate; L, and what was added to
**   it, stays, and can be attached anew. ISOLUA_OK, or ISOLUA_INVALID: L is not a state that was
**   attached to a host of yours, or it runs in a task or wait of its event loop. [-0, +0, -]
** isolua_require: pushes the module of that name, required if need be, by the `require` that the
**   state came with. [-0, +1, e]
** isolua_pushstandard: pushes a function of the standard libraries, as "string.pack", whether the
**   isolate has that library or not. [-0, +1, m]
** isolua_host_of: the host of an attached state or isolate, NULL for any other. [-0, +0, -]
** isolua_forbidden: the ISOLUA_NO_* flags that hold in this state; 0 in main. Raises in a state
**   that is not attached. [-0, +0, v]
** isolua_is_main: 1 in a main isolate, 0 in another isolate and in a state that is not attached.
*/
ISOLUA_API void isolua_host_set_open(isolua_host *host, lua_CFunction open);
ISOLUA_API void isolua_host_set_module(isolua_host *host, const char *module,
                                       const luaL_Reg *const *functions);
ISOLUA_API int isolua_main_open(isolua_host *host, lua_State **L);
ISOLUA_API void isolua_main_close(lua_State *L);
ISOLUA_API int isolua_attach(isolua_host *host, lua_State *L);
ISOLUA_API int isolua_detach(lua_State *L);
ISOLUA_API void isolua_require(lua_State *L, const char *name);
ISOLUA_API void isolua_pushstandard(lua_State *L, const char *name);
ISOLUA_API isolua_host *isolua_host_of(lua_State *L);
ISOLUA_API unsigned isolua_forbidden(lua_State *L);
ISOLUA_API int isolua_is_main(lua_State *L);

/* -- Errors ------------------------------------------------------------------------------------ */

/*
** isolua_memoryerror: raises Lua's own error for want of memory, LUA_ERRMEM. Does not return.
**   [-0, +0, m]
** isolua_pusherror: pushes an error object {code=, message=, isolate=}; `isolate` may be NULL.
**   [-0, +1, m]
** isolua_pushtraceback: pushes the traceback of L with the error value at `index` in front, and
**   before it, when this error came out of an isolate, the traceback from there. [-0, +1, m]
*/
ISOLUA_API int isolua_memoryerror(lua_State *L) __attribute__((noreturn));
ISOLUA_API void isolua_pusherror(lua_State *L, int code, const char *message, const char *isolate);
ISOLUA_API void isolua_pushtraceback(lua_State *L, int index, int level);

/* -- Sending ----------------------------------------------------------------------------------- */

/*
** isolua_sendable: 1 when the value at `index` could be sent; else 0, and pushes the error object.
**   [-0, +0|1, m]
** isolua_register: gives the value at `index` (table or function) a name for sending, in this
**   state. A name that stands for another value is given anew. [-0, +0, m]
*/
ISOLUA_API int isolua_sendable(lua_State *L, int index);
ISOLUA_API void isolua_register(lua_State *L, const char *name, int index);

/* -- Running ----------------------------------------------------------------------------------- */

/* Options of isolua_run beside those of isolua.h. Zero means the default. */
typedef struct isolua_run_options {
  isolua_options base; /* its `size` is sizeof(isolua_options) */
  int init;         /* stack index of a function that runs first (instead of base.init); 0 none */
  int no_globals;   /* 1: capture no globals */
  int strip;        /* 1: send code without its debug information */
  int paused;       /* 1: it starts paused (isolua_spawn) */
  int errors_go_on; /* 1: an uncaught error in a task or handler does not end it */
  int on_exit;      /* index of a sender that is told of its end; 0: none */
  int on_error;     /* index of one that is told of its errors; 0: none */
  int hidden;       /* values before the function that the user gave: it names the isolate, and
                       refusals count from it */
  int unawaited;    /* 1: the end of the program does not wait for it (isolua_run) */
} isolua_run_options;

/*
** isolua_run: runs the function at `index` with the `nargs` values above it (which end the stack)
**   in a fresh isolate. ISOLUA_OK: replaces function and arguments by the isolate's handle, and
**   *future is the caller's. Else nothing is started, function and arguments are popped, and an
**   error object is pushed. [-(nargs+1), +1, m]
** isolua_exit: ends the isolate of L now. Raises in main. Does not return. With a sender at index
**   `tx` (0: none) the value above it is sent as its last message. [-0, +0, v]
*/
ISOLUA_API int isolua_run(lua_State *L, const isolua_run_options *options, int index, int nargs,
                          isolua_future **future);
ISOLUA_API int isolua_exit(lua_State *L, int tx);

/*
** isolua_run_function: as isolua_run_string, of a C function: it is called in the fresh state of an
**   isolate with the values of options->args, and what it returns are the results. What it waits
**   for, it waits for as `return isolua_wait(...)`; a thread that sleeps in C otherwise cannot be
**   killed. `libs` and the like of the options hold for Lua code that it loads. Gives: *future, the
**   caller's. Errors: as isolua_run_string, and ISOLUA_INVALID for a function that is NULL.
**   Thread: any.
** isolua_spawn_function: as isolua_spawn_string, of a C function, likewise. Gives: *isolate, with a
**   hold, the caller's. Errors: as isolua_run_function. Thread: any.
**
**   static int factorial(lua_State *L) {
**     lua_Integer product = 1;
**     for (lua_Integer n = luaL_checkinteger(L, 1); n > 1; n--) product *= n;
**     lua_pushinteger(L, product);
**     return 1;
**   }
**
**   int run_factorial(isolua_host *host, long long n, isolua_future **future) {
**     isolua_options options = {.size = sizeof options};
**     int code = isolua_message_new(&options.args);
**     if (code != ISOLUA_OK) return code;
**     isolua_add_integer(options.args, n);
**     return isolua_run_function(host, &options, factorial, future);
**   }
*/
ISOLUA_API int isolua_run_function(isolua_host *host, const isolua_options *options,
                                   lua_CFunction function, isolua_future **future);
ISOLUA_API int isolua_spawn_function(isolua_host *host, const isolua_options *options,
                                     lua_CFunction function, isolua_isolate **isolate);

/*
** isolua_future_new: a future that this state settles itself: the caller's. NULL: no memory. An
**   error that nobody looks at is reported as one of a task.
** isolua_future_settle: settles one made by isolua_future_new, with results (`ok`) or an error with
**   the text `message` that was raised at `traceback` (both copied; may be NULL); 0 when it was
**   settled before. The values stay with the caller: isolua_future_push gives none. Thread: that of
**   the state that made it; also when this was detached.
** isolua_future_push: pushes what a settled future holds: ISOLUA_OK and its values, or its error
**   number and the one error value. [-0, +n, m]
** isolua_future_now: 1 when it is settled, and isolua_wait for it would not let others have a turn
**   first.
** isolua_future_look: says that somebody sees to the future's error, so that it will not be logged.
** isolua_future_overlook: says that nobody has seen to it, after all.
** isolua_future_forgo: nobody wants its results or its error any more. The isolate behind it, if it
**   is not done, is killed after a while in which it may end by itself. Thread: any.
** isolua_future_raise: raises the value on the top of the stack, remembering `traceback` (may be
**   NULL) for isolua_pushtraceback. [-1, +0, v]
** isolua_loop_on_done: calls the function on the top of the stack, without arguments, from the
**   event loop of L once the future is settled. [-1, +0, m]
** isolua_future_is_local: 1 when it was made by isolua_future_new.
*/
ISOLUA_API isolua_future *isolua_future_new(lua_State *L);
ISOLUA_API int isolua_future_settle(isolua_future *future, int ok, const char *message,
                                    const char *traceback);
ISOLUA_API int isolua_future_push(lua_State *L, isolua_future *future);
ISOLUA_API int isolua_future_now(lua_State *L, isolua_future *future);
ISOLUA_API void isolua_future_look(isolua_future *future);
ISOLUA_API void isolua_future_overlook(isolua_future *future);
ISOLUA_API void isolua_future_forgo(isolua_future *future);
ISOLUA_API int isolua_future_raise(lua_State *L, const char *traceback);
ISOLUA_API void isolua_loop_on_done(lua_State *L, isolua_future *future);
ISOLUA_API int isolua_future_is_local(const isolua_future *future);

/* -- Ports and channels ------------------------------------------------------------------------ */

/*
** A port is a queue with one receiver, in the state that made it, and any number of senders, which
** are handles (ISOLUA_TSENDER). A channel is one handle for both (ISOLUA_TCHANNEL). The handle of
** an isolate (ISOLUA_TISOLATE) is a sender to its inbox.
**
** isolua_port_new: a port whose receiver is the caller's, until isolua_port_drop. `capacity` -1:
**   none, and then a send never waits; `full`: what a send does when there is no room. `name` may
**   be NULL. NULL: no memory.
** isolua_port_drop: closes it and gives up the receiver. NULL does nothing. Thread: the owner's.
** isolua_port_pushsender: pushes a sender of it. [-0, +1, m]
** isolua_channel_push: makes a channel and pushes its handle. `capacity` 0: a rendezvous.
**   [-0, +1, m]
** isolua_port_of: the port behind a sender, channel or isolate handle at `index`; NULL: it is none,
**   or was given up. [-0, +0, -]
** isolua_port_giveup: the handle at `index` gives up its hold now. [-0, +0, -]
** isolua_port_close: nobody sends any more; of a port, what is queued is dropped.
** isolua_send_now: sends the value at index `value` to the handle at `to` if that is quickly done:
**   ISOLUA_OK or ISOLUA_CLOSED; else ISOLUA_TIMEOUT, and isolua_wait is to do it. [-0, +0, v]
** isolua_receive_now: pushes the next message, as isolua_send_now sends one. [-0, +0|1, e]
** isolua_receive_soon: as isolua_receive_now, but for a moment it waits as isolua_wait does before
**   it sleeps.
** isolua_port_take: pushes the next message if there is one: ISOLUA_OK; else ISOLUA_CLOSED, or
**   ISOLUA_TIMEOUT: it is empty. [-0, +0|1, e]
** isolua_port_is_rendezvous: 1 when its capacity is 0.
** isolua_port_count: how many messages are queued.
** isolua_port_id, isolua_port_name: for show; the name may be NULL.
** isolua_port_is_channel: 1 or 0.
** isolua_port_on_message: calls the function on the top of the stack, or nothing any more when that
**   is nil, with each message, from the event loop. `index`: the userdata that has the receiver,
**   kept while it has a function. [-1, +0, m]
** isolua_port_has_handler: 1 when it has one.
** isolua_port_keep: does the function keep the isolate alive (1, as at first) or not (0)?
*/
typedef struct il_port isolua_port;
#define ISOLUA_TSENDER "isolate.sender"
#define ISOLUA_TCHANNEL "isolate.channel"
enum { ISOLUA_FULL_BLOCK, ISOLUA_FULL_ERROR, ISOLUA_FULL_DROP_OLDEST, ISOLUA_FULL_DROP_NEWEST };

ISOLUA_API isolua_port *isolua_port_new(lua_State *L, const char *name, long long capacity,
                                        int full);
ISOLUA_API void isolua_port_drop(lua_State *L, isolua_port *port);
ISOLUA_API void isolua_port_pushsender(lua_State *L, isolua_port *port);
ISOLUA_API void isolua_channel_push(lua_State *L, long long capacity);
ISOLUA_API isolua_port *isolua_port_of(lua_State *L, int index);
ISOLUA_API void isolua_port_giveup(lua_State *L, int index);
ISOLUA_API void isolua_port_close(isolua_port *port);
ISOLUA_API int isolua_send_now(lua_State *L, int to, int value);
ISOLUA_API int isolua_receive_now(lua_State *L, isolua_port *port);
ISOLUA_API int isolua_receive_soon(lua_State *L, isolua_port *port);
ISOLUA_API int isolua_port_take(lua_State *L, isolua_port *port);
ISOLUA_API int isolua_port_is_rendezvous(const isolua_port *port);
ISOLUA_API size_t isolua_port_count(isolua_port *port);
ISOLUA_API long long isolua_port_id(isolua_port *port);
ISOLUA_API const char *isolua_port_name(const isolua_port *port);
ISOLUA_API int isolua_port_is_channel(const isolua_port *port);
ISOLUA_API void isolua_port_on_message(lua_State *L, isolua_port *port, int index);
ISOLUA_API int isolua_port_has_handler(lua_State *L, isolua_port *port);
ISOLUA_API void isolua_port_keep(lua_State *L, isolua_port *port, int keep);

/* -- Timers ------------------------------------------------------------------------------------ */

/*
** isolua_timer_push: pushes a userdata with a timer (without a metatable's methods: the binding
**   sets ISOLUA_TTIMER) that rings after `ns`, and then every `period` ns when that is more than 0,
**   from now on. It calls the function at `fn` (0: none) from the event loop. [-0, +1, m]
** isolua_timer_of: the timer at `index`; NULL: it is none.
** isolua_timer_id: its field `id`.
** isolua_timer_cancel: it does not ring any more. 1: it would have.
** isolua_timer_drop: for its __gc.
*/
typedef struct isolua_timer isolua_timer;
#define ISOLUA_TTIMER "isolate.timer"
ISOLUA_API isolua_timer *isolua_timer_push(lua_State *L, int64_t ns, int64_t period, int fn);
ISOLUA_API isolua_timer *isolua_timer_of(lua_State *L, int index);
ISOLUA_API long long isolua_timer_id(isolua_timer *timer);
ISOLUA_API int isolua_timer_cancel(lua_State *L, isolua_timer *timer);
ISOLUA_API void isolua_timer_drop(lua_State *L, isolua_timer *timer);

/* -- Shared things ----------------------------------------------------------------------------- */

/*
** isolua_atomic_push: makes an integer that isolates share, and pushes its handle (ISOLUA_TATOMIC).
**   [-0, +1, m]
** isolua_atomic_of: the integer behind the handle at `index`, which keeps it; NULL: it is none.
**   [-0, +0, -]
*/
#define ISOLUA_TATOMIC "isolate.atomic"
ISOLUA_API void isolua_atomic_push(lua_State *L, long long value);
ISOLUA_API isolua_atomic *isolua_atomic_of(lua_State *L, int index);

/*
** Buffers are bytes outside of the Lua heap. A buffer, and the slices and views over it, are
** userdata that lie over one block. Sent, it is copied; moved, if isolua_buffer_transfer made the
** value; shared, if it is frozen. Blocks count for the memory cap of the isolates that have them;
** mapped files and the caller's memory (isolua_block_wrap) do not.
**
** isolua_newbuffertype: pushes the metatable of userdata of type `name`, made at the first call
**   (then returns 1). Fill in __index, …; __gc, __name and __metatable are set. Buffers get that of
**   ISOLUA_TBUFFER; views one that you set. [-0, +1, m]
** isolua_buffer_push: pushes a buffer of `size` zeros. Raises when there is no memory. [-0, +1, e]
** isolua_buffer_map: pushes a buffer over a file, which is frozen unless `writable`: 0; else pushes
**   nothing and gives an error number of the system. [-0, +0|1, m]
** isolua_buffer_is: 1 when the value at `index` is a buffer or a slice (`kind` 0), or a view of
**   that kind, in any state.
** isolua_buffer_bytes: its bytes, until the next call that may run Lua code. Raises `transferred`
**   and `closed`. They may be written if it is not frozen. [-0, +0, v]
** isolua_buffer_verify: call it after reading or writing: raises when a mapped file has become
**   shorter than it was; zeros were read then. [-0, +0, v]
** isolua_buffer_read: copies bytes of a mapped file, in range, in a way that is cheap for what is
**   read once. 1; or 0 where that is not possible, of other buffers for one: use
**   isolua_buffer_bytes. [-0, +0, -]
** isolua_buffer_slice: pushes a slice (`kind` 0), or a view (above 0), over a part that is in
**   range. [-0, +1, m]
** isolua_buffer_resize: makes it longer, by zeros, or shorter. Raises where that cannot be.
**   [-0, +0, v]
** isolua_buffer_freeze: nobody writes to it any more. Raises where that cannot be. [-0, +0, v]
** isolua_buffer_transfer: pushes a value that, sent, is the buffer at `index`, moved. [-0, +1, v]
** isolua_buffer_close: gives up its bytes now. [-0, +0, -]
** isolua_buffer_same: 1 when both lie over the same bytes of one block.
** isolua_buffer_id: its field `id`.
*/
#define ISOLUA_TBUFFER "isolate.buffer"
typedef struct isolua_bytes {
  unsigned char *data; /* never NULL */
  size_t length;
  int frozen;
} isolua_bytes;
ISOLUA_API int isolua_newbuffertype(lua_State *L, const char *name);
ISOLUA_API void isolua_buffer_push(lua_State *L, size_t size);
ISOLUA_API int isolua_buffer_map(lua_State *L, const char *path, int writable);
ISOLUA_API int isolua_buffer_is(lua_State *L, int index, int kind);
ISOLUA_API void isolua_buffer_bytes(lua_State *L, int index, isolua_bytes *out);
ISOLUA_API void isolua_buffer_verify(lua_State *L, int index);
ISOLUA_API int isolua_buffer_read(lua_State *L, int index, size_t offset, size_t length, void *to);
ISOLUA_API void isolua_buffer_slice(lua_State *L, int index, size_t offset, size_t length,
                                    int kind);
ISOLUA_API void isolua_buffer_resize(lua_State *L, int index, size_t size);
ISOLUA_API void isolua_buffer_freeze(lua_State *L, int index);
ISOLUA_API void isolua_buffer_transfer(lua_State *L, int index);
ISOLUA_API void isolua_buffer_close(lua_State *L, int index);
ISOLUA_API int isolua_buffer_same(lua_State *L, int a, int b);
ISOLUA_API long long isolua_buffer_id(lua_State *L, int index);

/*
** Frozen tables are immutable copies outside of all heaps, which isolates share and read in place.
** In one state there is one userdata for each.
**
** isolua_newfrozentype: as isolua_newbuffertype; `name` is ISOLUA_TFROZEN. [-0, +1, m]
** isolua_freeze: pushes a frozen copy of the table at `index`; what is immutable already as it is.
**   Raises not_sendable. [-0, +1, e]
** isolua_thaw: pushes a plain copy of a frozen table, with all in it; other values as they are.
**   [-0, +1, m]
** isolua_frozen_is: 1 when the value at `index` is one.
** isolua_frozen_id: its field `id`.
** isolua_frozen_get: pushes what is there under the key at `key`, or nil. [-0, +1, e]
** isolua_frozen_length: what # gives.
** isolua_frozen_next: pushes the next key and value, always in the same order; *at, 0 at first,
**   says how far it is; -1: on with those behind the list. 0: there are no more. [-0, +2|0, e]
*/
#define ISOLUA_TFROZEN "isolate.frozen"
ISOLUA_API int isolua_newfrozentype(lua_State *L, const char *name);
ISOLUA_API void isolua_freeze(lua_State *L, int index);
ISOLUA_API void isolua_thaw(lua_State *L, int index);
ISOLUA_API int isolua_frozen_is(lua_State *L, int index);
ISOLUA_API long long isolua_frozen_id(lua_State *L, int index);
ISOLUA_API void isolua_frozen_get(lua_State *L, int index, int key);
ISOLUA_API long long isolua_frozen_length(lua_State *L, int index);
ISOLUA_API int isolua_frozen_next(lua_State *L, int index, long long *at);

/* -- Pools ------------------------------------------------------------------------------------- */

/*
** A pool runs jobs: functions with arguments, each in one of `workers` isolates that live on. Its
** queue needs no event loop. Handles (ISOLUA_TPOOL) can be sent; with the last one it closes.
**
** isolua_pool_push: ISOLUA_OK: pushes a new one; else an error object. Of `options`, base.timeout
**   is that of a job; init lies below the top. [-0, +1, m]
** isolua_pool_of: the pool behind the handle at `index`, which keeps it; NULL: it is none.
** isolua_pool_is_own: 1 when L is of an isolate of the pool.
** isolua_cores: processors that this process may use.
** isolua_job_submit: the function at `index` with `nargs` values above it, which end the stack,
**   becomes a job, and they are popped. ISOLUA_OK: it is in, and *future is the caller's.
**   ISOLUA_FULL, or ISOLUA_CLOSED: it is not; but with `wait` FULL pushes a userdata, and it is in
**   when isolua_job_room is settled, unless the userdata was collected before. Else an error object
**   is pushed. [-n, +0|1, m]
** isolua_job_room: the future of the userdata at `index`, the userdata's: settled when there was
**   room for the job, or there will be none.
** isolua_job_take: the future, the caller's, once that is settled: ISOLUA_OK; or ISOLUA_CLOSED: it
**   is not in.
*/
#define ISOLUA_TPOOL "isolate.pool"
typedef struct isolua_submit_options {
  isolua_job_options base; /* its `size` is sizeof(isolua_job_options) */
  int wait;                /* 1: it waits for room in the queue */
  int hidden;              /* as in isolua_run_options */
} isolua_submit_options;
ISOLUA_API int isolua_pool_push(lua_State *L, const isolua_run_options *options,
                                const isolua_pool_options *limits);
ISOLUA_API isolua_pool *isolua_pool_of(lua_State *L, int index);
ISOLUA_API int isolua_pool_is_own(lua_State *L, isolua_pool *pool);
ISOLUA_API int isolua_cores(void);
ISOLUA_API int isolua_job_submit(lua_State *L, isolua_pool *pool,
                                 const isolua_submit_options *options, int index, int nargs,
                                 isolua_future **future);
ISOLUA_API isolua_future *isolua_job_room(lua_State *L, int index);
ISOLUA_API int isolua_job_take(lua_State *L, int index, isolua_future **future);

/* -- Waiting ----------------------------------------------------------------------------------- */

/*
** Waits are made of cases, of which the first that comes about wins.
**
**   static int received(lua_State *L, int winner, int code, lua_KContext ctx) {
**     (void)ctx;
**     return winner == 0 && code == ISOLUA_OK ? 1 : luaL_error(L, "%s", isolua_code_message(code));
**   }
**
**   int receive(lua_State *L, isolua_port *port) {
**     isolua_case message = {.kind = ISOLUA_RECEIVE, .port = port};
**     return isolua_wait(L, &message, 1, ISOLUA_SECOND, 0, received);
**   }
**
** isolua_wait: waits for the first of `n` cases (0: just for the time), at most `timeout` ns, while
**   the event loop runs; in a coroutine of isolua_task_push it yields. To be used as `return
**   isolua_wait(...)`: when it is over, k(L, winner, code, ctx) is called and gives what the C
**   function returns. The things must lie on the stack, in something that nobody changes. Raises
**   not_sendable, killed, interrupted, cancelled, deadlock. [-0, +*, e]
** isolua_waited: what is called then. `winner`: number of the case, from 0, whose `code` is below;
**   or -1, with ISOLUA_TIMEOUT.
** ISOLUA_RECEIVE: a message from `port`: ISOLUA_OK, and the value is on the top, or ISOLUA_CLOSED.
** ISOLUA_SEND: to `port`, of the value at index `value`: ISOLUA_OK, ISOLUA_CLOSED or ISOLUA_FULL
**   (the port is made so).
** ISOLUA_FUTURE: ISOLUA_OK: it is settled.
** ISOLUA_TIMER: ISOLUA_OK: it rang; ISOLUA_CLOSED: it does not any more.
*/
enum { ISOLUA_RECEIVE, ISOLUA_SEND, ISOLUA_FUTURE, ISOLUA_TIMER };
typedef struct isolua_case {
  int kind;
  int value; /* of ISOLUA_SEND: its index, positive */
  isolua_port *port;
  isolua_future *future;
  isolua_timer *timer;
} isolua_case;
typedef int isolua_waited(lua_State *L, int winner, int code, lua_KContext ctx);
ISOLUA_API int isolua_wait(lua_State *L, const isolua_case *cases, int n, int64_t timeout,
                           lua_KContext ctx, isolua_waited *k);

/* -- Tasks ------------------------------------------------------------------------------------- */

/*
** isolua_task_push: makes a coroutine of the function and the `n` arguments on the top of the
**   stack, which the event loop resumes, and pushes a userdata for it. [-(n+1), +1, m]
** isolua_task_cancel: the wait at `index`'s task is in, or its next one, raises `cancelled`; one
**   that has not begun never does. [-0, +0, m]
*/
ISOLUA_API void isolua_task_push(lua_State *L, int n);
ISOLUA_API void isolua_task_cancel(lua_State *L, int index);

/* -- The event loop ---------------------------------------------------------------------------- */

/*
** isolua_drain: runs the event loop of L until it has nothing left: no task, no timer or receiver
**   with a function that could be called; in main also no isolate of isolua_run that main or such
**   an isolate has started. [-0, +0, e]
** isolua_wait_all: runs it until every isolate but main has ended. Raises elsewhere than in main.
** isolua_loop_fd: a descriptor that can be read from as soon as there is something for
**   isolua_loop_pump to do; -1: the system has none. From then on waits of this isolate are no
**   deadlocks. [-0, +0, -]
** isolua_loop_fd_close: nobody looks at that descriptor any more, so they are deadlocks again; it
**   stays L's. [-0, +0, -]
** isolua_loop_pump: does what is there, at most `max` things (-1: no limit) for about `ns` (-1: no
**   limit), and does not wait. How many are left. [-0, +0, e]
** isolua_loop_next: ns until the next timer is due; -1: there is none.
** isolua_is_over: 1 when nothing of L's event loop will call anything any more: no task, timer or
**   receiver with a function that something could reach. [-0, +0, -]
** isolua_pending: how many tasks, and calls of handlers, have not ended, and how many timers with a
**   function are set. [-0, +0, -]
** isolua_set_foreign: for adapters to another event loop. From now on waits outside tasks call the
**   function on the top of the stack with a token (an integer, never 0) and whether they are in the
**   call of a task. It returns true once isolua_serve has given the token, or earlier; false when
**   it cannot wait there. nil: no more. [-1, +0, m]
** isolua_serve: does what is there, and gives the token of a wait that may go on; 0: there is none
**   any more, until the descriptor can be read from or isolua_loop_next is over. ISOLUA_CLOSED: the
**   isolate is told to end; the next wait raises. [-0, +0, -]
** isolua_running: the coroutine at `index` runs now, by the doing of a C library: it is the one
**   that a kill stops. It must be alive until the next call, which says that another one runs.
**   [-0, +0, -]
** isolua_waitless: 1: from now on code of L's isolate that waits, or pumps, raises instead, until as
**   many calls with 0 have followed. [-0, +0, -]
** isolua_dying: 1 while a kill unwinds the isolate, else 0.
** isolua_pass_on: raises the kill that unwinds the isolate if it did not yet when isolua_dying gave
**   `before`: after a C library has caught an error. [-0, +0, v]
** isolua_ending: 1 while what L's code holds is closed because the isolate ends: a kill unwinds it,
**   or its body has returned or failed and its tasks are closed, whose closers are given no error.
**   [-0, +0, -]
** isolua_interrupted: 1 when the error at `index`, which ended a task of main, is that of
**   isolua_interrupt: main's wait raises it next. [-0, +0, m]
** isolua_callback: as lua_pcall, for a callback that C code calls on L and that must not be left by
**   an error. ISOLUA_OK; ISOLUA_ERROR, and the error value; ISOLUA_KILLED, and nothing: the isolate
**   is told to end, which the next wait raises. [-(nargs+1), +nresults|1|0, -]
** isolua_pollfd: a descriptor that can be read from while what the handle at `index` stands for is
**   ready: `what`, of kind ISOLUA_RECEIVE or ISOLUA_FUTURE. To be asked for before each poll, and
**   not to be read, written or closed. -1: the system has no more. [-0, +0, m]
** isolua_interrupt: makes L, a state of isolua_main_open, raise `interrupted` as soon as it runs
**   Lua code or waits. Safe in a signal handler on any thread, while L is open.
** isolua_breakable: as lua_pcall in a state of isolua_main_open, outside of its coroutines and not
**   nested: what isolua_break stops. [-(nargs+1), +(nresults|1), -]
** isolua_break: as isolua_interrupt, but what it raises is caught by isolua_breakable alone, and by
**   no pcall, coroutine or task of Lua code that was entered before. Closers run. 1; 0: none runs,
**   and nothing is done. One that comes when isolua_breakable is about to return is forgotten.
**   Thread: of L, in a signal handler, too.
** isolua_broken: what of main's loop isolua_break ended in the last isolua_breakable, as "a task";
**   NULL: nothing. A timer that goes on is cancelled if its function was that. [-0, +0, -]
** isolua_hung: what the wait was for that isolua_break ended in the last isolua_breakable, and what
**   its tasks wait for, one for each `n` from 0: the id of an isolate whose future it is, or of a
**   future that no isolate stands behind; 0: there are no more. [-0, +0, -]
** isolua_host_failed: 1 when an error was logged that nobody caught: of a future that nobody looked
**   at, or in a handler of main. Thread: any.
** isolua_now: seconds on a monotonic clock.
** isolua_tick: as isolua_now, up to 10 ms late, at a fifth of the cost.
*/
ISOLUA_API void isolua_drain(lua_State *L);
ISOLUA_API void isolua_wait_all(lua_State *L);
ISOLUA_API int isolua_loop_fd(lua_State *L);
ISOLUA_API void isolua_loop_fd_close(lua_State *L);
ISOLUA_API size_t isolua_loop_pump(lua_State *L, long long max, int64_t ns);
ISOLUA_API int64_t isolua_loop_next(lua_State *L);
ISOLUA_API int isolua_is_over(lua_State *L);
ISOLUA_API void isolua_pending(lua_State *L, size_t *tasks, size_t *timers);
ISOLUA_API void isolua_set_foreign(lua_State *L);
ISOLUA_API void isolua_running(lua_State *L, int index);
ISOLUA_API void isolua_waitless(lua_State *L, int on);
ISOLUA_API int isolua_dying(lua_State *L);
ISOLUA_API int isolua_ending(lua_State *L);
ISOLUA_API void isolua_pass_on(lua_State *L, int before);
ISOLUA_API int isolua_interrupted(lua_State *L, int index);
ISOLUA_API int isolua_callback(lua_State *L, int nargs, int nresults, int handler);
ISOLUA_API int isolua_pollfd(lua_State *L, int index, const isolua_case *what);
ISOLUA_API int isolua_serve(lua_State *L, long long *token);
ISOLUA_API void isolua_interrupt(lua_State *L);
ISOLUA_API int isolua_breakable(lua_State *L, int nargs, int nresults, int handler);
ISOLUA_API int isolua_break(lua_State *L);
ISOLUA_API const char *isolua_broken(lua_State *L);
ISOLUA_API long long isolua_hung(lua_State *L, int n);
ISOLUA_API int isolua_host_failed(const isolua_host *host);
ISOLUA_API double isolua_now(void);
ISOLUA_API double isolua_tick(void);

/*
** isolua_terminal_columns: of the terminal that stderr is; 0: unknown; -1: stderr is no terminal.
**   Thread: any.
*/
ISOLUA_API int isolua_terminal_columns(void);

/* -- Handles ----------------------------------------------------------------------------------- */

/*
** A handle is a userdata that stands for a counted thing of the library: sent, it arrives as the
** same thing; two handles of one thing in one state are one userdata. The binding of each type
** gives it methods.
**
** isolua_newhandletype: pushes the metatable of handles of type `name`, made at the first call
**   (then returns 1). Fill in __index, __tostring, …; __gc, __name and __metatable are set.
**   [-0, +1, m]
** isolua_handle_id: what its field `id` gives: an integer that nothing else in the process has,
**   also when it was given up; 0: there is no handle at `index`. [-0, +0, -]
** isolua_checkhandle: the thing behind the handle at `index`; raises for anything else.
*/
#define ISOLUA_TISOLATE "isolate.isolate"

ISOLUA_API int isolua_newhandletype(lua_State *L, const char *name);
ISOLUA_API long long isolua_handle_id(lua_State *L, int index);
ISOLUA_API void *isolua_checkhandle(lua_State *L, int index, const char *name);

/*
** isolua_future_pushisolate: pushes the handle of the isolate behind a future, or nil. [-0, +1, m]
** isolua_pushself: pushes the handle of the isolate of L. [-0, +1, m]
** isolua_future_id: its field `id`. Thread: any.
*/
ISOLUA_API long long isolua_future_id(isolua_future *future);
ISOLUA_API void isolua_future_pushisolate(lua_State *L, isolua_future *future);
ISOLUA_API void isolua_pushself(lua_State *L);

/* -- Living isolates --------------------------------------------------------------------------- */

/*
** isolua_checkisolate: the isolate whose handle is at `index`; raises for anything else.
** isolua_spawn: as isolua_run, for an isolate that lives as long as its event loop has something to
**   do; pushes its handle instead of giving a future.
** isolua_spawnfile: as isolua_spawn, for a file; `nargs` values end the stack.
** isolua_pushparent: pushes the handle of the isolate that started this one; nil: none. [-0, +1, m]
** isolua_self_inbox: the port whose receiver the isolate of L is. It is the isolate's.
** isolua_pushlist: pushes a list of the handles of all isolates of the host. [-0, +1, m]
** isolua_pushfound: pushes the handle of one with that name; nil: none. [-0, +1, m]
** isolua_isolate_is_main: 1 or 0.
** isolua_isolate_pause: by the integer or string at `index`. 0, or ISOLUA_CLOSED when it has ended,
**   ISOLUA_INVALID when it is main, ISOLUA_MEMORY. [-0, +0, -]
** isolua_isolate_resume: ends the pause by the integer or string at `index`; 0: all pauses. 0, or
**   ISOLUA_INVALID when it is main. [-0, +0, -]
** isolua_fresh_key: an integer that no pause has yet. Thread: any.
** isolua_isolate_ping: a future that settles when it answers; NULL: no memory. The caller's, as
**   those of the next two.
** isolua_isolate_look: a future of a text: in which file and line its code is, or that its wait was
**   called from, and the function's name if known; or the traceback, of at most 22 levels a
**   coroutine. Answered as a ping: at once also by busy code, in waits, paused, by the isolate of L
**   itself (then it is settled already); by a finalizer unless the code has a hook. It fails with
**   ISOLUA_CLOSED when it has ended or does so meanwhile, and is pending as long as it is in a
**   function of C or in a coroutine that a C library has resumed without isolua_running. NULL: no
**   memory. [-0, +0, e]
** isolua_isolate_eval: a future, as of isolua_isolate_look, of Lua code (an expression, or else
**   statements; text, copied), which runs there in a coroutine of its own, between two instructions
**   of what runs, with the isolate's globals. It gives true and the results, those that cannot be
**   sent as strings, and the table of globals as a copy with strings in place of tables and the
**   like; or false and the message. It counts for the isolate's memory. It must not wait (that
**   raises in it), but may start a task or a timer. isolua_future_cancel stops it, within some 1000
**   instructions; its closers may run some more. Nothing else does, but a kill. While it runs other
**   questions are answered on top of it; further evaluations, too, up to eight: then it goes on
**   once they have ended.
** isolua_isolate_listen: the sender at `tx` is told of its end (with the value at `value`; 0: the
**   exit message), or of its errors. [-0, +0, e]
** isolua_isolate_unlisten: the sender at `tx` is told no more.
** isolua_watch_host: the sender at `tx` (0: nobody, any more) gets the exit message of each isolate
**   that is spawned from now on, whoever spawns it; and what nobody caught, which `log` and `error`
**   are not told then: {id, name, what, ends, message, traceback}. `what` failed in that isolate:
**   "" its body, else a task or a handler, or a job of a pool: then `id` is 0. `ends` 1: its exit
**   message follows. [-0, +0, e]
*/
ISOLUA_API isolua_isolate *isolua_checkisolate(lua_State *L, int index);
ISOLUA_API int isolua_spawn(lua_State *L, const isolua_run_options *options, int index, int nargs);
ISOLUA_API int isolua_spawnfile(lua_State *L, const isolua_run_options *options, const char *path,
                                int nargs);
ISOLUA_API void isolua_pushparent(lua_State *L);
ISOLUA_API isolua_port *isolua_self_inbox(lua_State *L);
ISOLUA_API void isolua_pushlist(lua_State *L);
ISOLUA_API void isolua_pushfound(lua_State *L, const char *name);
ISOLUA_API int isolua_isolate_is_main(const isolua_isolate *isolate);
ISOLUA_API int isolua_isolate_pause(lua_State *L, isolua_isolate *isolate, int index);
ISOLUA_API int isolua_isolate_resume(lua_State *L, isolua_isolate *isolate, int index);
ISOLUA_API long long isolua_fresh_key(void);
ISOLUA_API isolua_future *isolua_isolate_ping(lua_State *L, isolua_isolate *isolate, int idle);
ISOLUA_API isolua_future *isolua_isolate_look(lua_State *L, isolua_isolate *isolate, int traceback);
ISOLUA_API isolua_future *isolua_isolate_eval(lua_State *L, isolua_isolate *isolate,
                                              const char *source);
ISOLUA_API void isolua_isolate_listen(lua_State *L, isolua_isolate *isolate, int tx, int error,
                                      int value);
ISOLUA_API void isolua_isolate_unlisten(lua_State *L, isolua_isolate *isolate, int tx);
ISOLUA_API void isolua_watch_host(lua_State *L, int tx);

/*
** isolua_trim: ends spare threads, and waits until every isolate that is ending has ended.
**   [-0, +0, -]
*/
ISOLUA_API void isolua_trim(lua_State *L);

/* -- The Lua module ---------------------------------------------------------------------------- */

/*
** luaopen_isolate_core: the module "isolate.core", on which the Lua modules stand. Attaches a state
**   that is not attached.
** isolua_open_modules: an `open` callback that preloads "isolate" and all its parts, as
**   isolua_host_open sets it; to be called on states of yours, before or after isolua_attach. In the
**   executable and the C library; not in the Lua module.
*/
ISOLUA_API int luaopen_isolate_core(lua_State *L);
ISOLUA_API int isolua_open_modules(lua_State *L);

#ifdef __cplusplus
}
#endif
#endif
