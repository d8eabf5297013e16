/* plat.h - threads, locks, sleeping, time, entropy: all that the operating system gives. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_PLAT_H
#define IL_PLAT_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef IL_LINE
#define IL_LINE 64 /* bytes that processors hand to one another at a time */
#endif

/* A block of zeros that begins such a line, for free(3); `size` is a multiple. NULL: no memory. */
void *il_lines_new(size_t size);

/* For functions that a signal handler runs: ThreadSanitizer takes locks for atomics, which the code that was
** interrupted may hold. They call no others but those of Lua. */
#if defined(__clang__)
#define IL_IN_SIGNAL __attribute__((disable_sanitizer_instrumentation))
#else
#define IL_IN_SIGNAL __attribute__((no_sanitize("thread")))
#endif

/* Nanoseconds on a clock that only goes forward. */
int64_t il_now(void);
/* The same, up to 10 ms late: for whoever asks very often. */
int64_t il_now_coarse(void);

/* The moment `timeout` ns from now; -1 (never) for -1; saturates. */
int64_t il_deadline(int64_t timeout);

/* -- Mutexes. Never held while Lua runs; never two at once but as isolate.c lists. ------------- */

typedef struct il_mutex {
  pthread_mutex_t m;
  _Atomic(uintptr_t) owner; /* the holding thread, for il_mutex_held */
} il_mutex;

int il_mutex_init(il_mutex *m); /* 0, or not when the system is out of resources */
void il_mutex_fini(il_mutex *m);
void il_mutex_lock(il_mutex *m);
void il_mutex_unlock(il_mutex *m);
bool il_mutex_held(il_mutex *m); /* by the calling thread; for assertions */

/* -- Conditions on the same clock. -------------------------------------------------------------- */

typedef struct il_cond {
  pthread_cond_t c;
} il_cond;

int il_cond_init(il_cond *c);
void il_cond_fini(il_cond *c);
void il_cond_wait(il_cond *c, il_mutex *m, int64_t deadline); /* may return early; -1: no limit */
void il_cond_wake_all(il_cond *c);

/* -- Sleeping on a word. ------------------------------------------------------------------------ */

/* Sleeps while *word is `seen`, until `deadline` (-1: no limit). May return early. */
void il_word_sleep(_Atomic(uint32_t) *word, uint32_t seen, int64_t deadline);
/* Wakes one sleeper. Safe in a signal handler. */
void il_word_wake(_Atomic(uint32_t) *word);
/* A lock of one word, for what is held for a few instructions by many: no call while nobody waits. A
** thread that finds it taken spins a little before it sleeps. Zero: free. */
typedef struct il_lock {
  _Atomic(uint32_t) word; /* 0: free; 1: taken; 2: taken, and somebody may sleep */
} il_lock;

void il_lock_wait(il_lock *l); /* takes it though another has it */

static inline void il_lock_take(il_lock *l) {
  uint32_t free = 0;
  if (!atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire,
                                               memory_order_relaxed))
    il_lock_wait(l);
}

static inline void il_lock_give(il_lock *l) {
  if (atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2) il_word_wake(&l->word);
}

/* A hint to the processor inside a spin. */
void il_spin_pause(void);
/* Lets another thread that waits for this processor run. */
void il_yield(void);

/* A descriptor that can be polled: readable from il_event_set until il_event_clear. -1: none to be had. */
int il_event_open(void);
void il_event_close(int fd);
void il_event_set(int fd); /* safe in a signal handler */
void il_event_clear(int fd);
/* One that is readable while any of those is that were joined to it; only to be polled and closed. */
int il_event_group(void);
bool il_event_join(int group, int fd); /* until `fd` is closed. False: the system cannot */

/* -- Threads. ----------------------------------------------------------------------------------- */

typedef pthread_t il_thread;

/* Starts `run(arg)` on a thread with a C stack of `stack` bytes and all signals blocked but faults
** and `sig` (0: none). 0, or an error number of the system. */
int il_thread_start(il_thread *t, size_t stack, int sig, void (*run)(void *), void *arg);
void il_thread_join(il_thread t);
il_thread il_thread_self(void);
bool il_thread_is_self(il_thread t);
void il_thread_signal(il_thread t, int sig);
void il_thread_name(const char *name); /* of the calling thread; cut to what the system shows */
/* ns of processor time that a thread which is there has taken; 0 where that is not known. */
int64_t il_thread_cpu(il_thread t);
int il_cpu_count(void); /* processors that this process may run on, at least 1 */
int il_cpu_here(void);  /* that the caller runs on, at this moment; -1: unknown */

/* -- Placing threads. Only hints: where the system does not take them, they return false. ------- */

/* The processors that a thread may run on. */
typedef struct il_cpus {
  unsigned long bits[16];
} il_cpus;

/* Thread `t`, which sleeps, will wake up on the caller's processor; where it may run goes to *may.
** False: it was left as it was. */
bool il_thread_pull(il_thread t, il_cpus *may);
/* The calling thread may run there again. */
void il_thread_let_go(const il_cpus *may);

/* -- Signals. ----------------------------------------------------------------------------------- */

/* Installs `handler` for `sig` with SA_RESTART; the one before is called after ours. Counted: one
** removal an installation. 0, or not when the system refuses. */
int il_signal_install(int sig, void (*handler)(void));
void il_signal_remove(int sig);

/* The calling thread takes `mask` (NULL: none blocked); the one before goes to *old. */
void il_mask_open(sigset_t *old);
void il_mask_set(const sigset_t *mask);

/* -- Memory and chance. ------------------------------------------------------------------------- */

/* `size` bytes of pages, on huge pages where the system has them; NULL when there are none. */
void *il_pages_map(size_t size);
void il_pages_unmap(void *p, size_t size);
/* Grows in place; NULL, and `p` as it was, when it cannot. */
void *il_pages_remap(void *p, size_t osize, size_t nsize);

/* A file in memory. It stays usable when the file becomes shorter: `torn` is set, and zeros lie where the
** rest was. Mappings are kept for later ones, never freed: a signal handler walks them at any time. */
typedef struct il_mapping {
  /* the owner's */
  unsigned char *data;
  size_t size;
  /* atomics; `from` and `end` are read by the handler of SIGBUS */
  _Atomic(uintptr_t) from, end; /* addresses; 0: nothing is mapped */
  atomic_uint turn;             /* odd while these two change */
  _Atomic(bool) torn;
  _Atomic(bool) used;
  struct il_mapping *next; /* fixed, once it is in the list */
} il_mapping;

/* Maps a regular file whole, for writing to it too. 0, and NULL for an empty one; or an error number of
** the system. The first call installs a handler for SIGBUS; the one before gets what is not ours. */
int il_file_map(const char *path, bool writable, il_mapping **mapping);
void il_file_unmap(il_mapping *m); /* NULL does nothing */
/* Copies `n` mapped bytes through the kernel, so that this process maps none of their pages: in one pass over
** a large file that takes a fraction of the time of reading them in place. False: not possible. */
bool il_file_copy(void *to, const void *from, size_t n);

/* Columns of the terminal that stderr is: 0: unknown; -1: it is none. */
int il_terminal_columns(void);

/* This library's code stays mapped until the process ends: a thread may be in it when the Lua state
** that loaded it is closed. */
void il_pin_code(void);

void il_entropy(void *p, size_t n); /* random bytes from the system */

#endif
