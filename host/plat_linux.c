/* plat_linux.c - plat.h on Linux: the only file with calls of the operating system. */
/* SPDX-License-Identifier: MIT */
#include "plat.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

/* Static thread-local storage lies on a thread's stack: ThreadSanitizer's takes most of a megabyte. */
#ifdef UNDER_TSAN
#define STACK_EXTRA ((size_t)2 << 20)
#else
#define STACK_EXTRA ((size_t)0)
#endif

#define NS_PER_SECOND 1000000000LL

int64_t il_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

int64_t il_now_coarse(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (int64_t)t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

int64_t il_deadline(int64_t timeout) {
  int64_t now;
  if (timeout < 0) return -1;
  now = il_now();
  return timeout > INT64_MAX - now ? INT64_MAX : now + timeout;
}

static struct timespec to_timespec(int64_t ns) {
  struct timespec t;
  t.tv_sec = (time_t)(ns / NS_PER_SECOND);
  t.tv_nsec = (long)(ns % NS_PER_SECOND);
  return t;
}

/* -- Memory ------------------------------------------------------------------------------------ */

void *il_lines_new(size_t size) {
  void *p = aligned_alloc(IL_LINE, size);
  if (p != NULL) memset(p, 0, size);
  return p;
}

/* -- Mutexes and conditions -------------------------------------------------------------------- */

/* Held for a few instructions each: a thread that finds one taken spins a little before it sleeps. */
int il_mutex_init(il_mutex *m) {
  pthread_mutexattr_t attr;
  int err = pthread_mutexattr_init(&attr);
  if (err != 0) return err;
  pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
  atomic_init(&m->owner, 0);
  err = pthread_mutex_init(&m->m, &attr);
  pthread_mutexattr_destroy(&attr);
  return err;
}

void il_mutex_fini(il_mutex *m) {
  pthread_mutex_destroy(&m->m);
}

void il_mutex_lock(il_mutex *m) {
  pthread_mutex_lock(&m->m);
  atomic_store_explicit(&m->owner, (uintptr_t)pthread_self(), memory_order_relaxed);
}

void il_mutex_unlock(il_mutex *m) {
  atomic_store_explicit(&m->owner, 0, memory_order_relaxed);
  pthread_mutex_unlock(&m->m);
}

bool il_mutex_held(il_mutex *m) {
  return atomic_load_explicit(&m->owner, memory_order_relaxed) == (uintptr_t)pthread_self();
}

int il_cond_init(il_cond *c) {
  pthread_condattr_t attr;
  int err = pthread_condattr_init(&attr);
  if (err != 0) return err;
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  err = pthread_cond_init(&c->c, &attr);
  pthread_condattr_destroy(&attr);
  return err;
}

void il_cond_fini(il_cond *c) {
  pthread_cond_destroy(&c->c);
}

void il_cond_wait(il_cond *c, il_mutex *m, int64_t deadline) {
  assert(il_mutex_held(m));
  if (deadline < 0) {
    pthread_cond_wait(&c->c, &m->m);
  } else {
    struct timespec t = to_timespec(deadline);
    pthread_cond_timedwait(&c->c, &m->m, &t);
  }
  atomic_store_explicit(&m->owner, (uintptr_t)pthread_self(), memory_order_relaxed);
}

void il_cond_wake_all(il_cond *c) {
  pthread_cond_broadcast(&c->c);
}

/* -- Sleeping ---------------------------------------------------------------------------------- */

/* FUTEX_WAIT_BITSET takes an absolute time on the monotonic clock: futex(2). */
void il_word_sleep(_Atomic(uint32_t) *word, uint32_t seen, int64_t deadline) {
  struct timespec t;
  if (deadline >= 0) t = to_timespec(deadline);
  syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, deadline >= 0 ? &t : NULL, NULL,
          FUTEX_BITSET_MATCH_ANY);
}

void il_word_wake(_Atomic(uint32_t) *word) {
  int saved = errno;
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  errno = saved;
}

#define LOCK_SPINS 100

/* Whoever has slept takes it as 2: others may sleep still. */
void il_lock_wait(il_lock *l) {
  for (int i = 0; i < LOCK_SPINS; i++) {
    uint32_t seen = atomic_load_explicit(&l->word, memory_order_relaxed);
    if (seen == 0 && atomic_compare_exchange_weak_explicit(&l->word, &seen, 1, memory_order_acquire,
                                                           memory_order_relaxed))
      return;
    il_spin_pause();
  }
  while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0)
    il_word_sleep(&l->word, 2, -1);
}

int il_event_open(void) {
  return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

void il_event_close(int fd) {
  close(fd);
}

void il_event_set(int fd) {
  uint64_t one = 1;
  int saved = errno;
  ssize_t n = write(fd, &one, sizeof one); /* full: it is readable already */
  (void)n;
  errno = saved;
}

void il_event_clear(int fd) {
  uint64_t count;
  ssize_t n = read(fd, &count, sizeof count); /* empty: nothing to clear */
  (void)n;
}

int il_event_group(void) {
  return epoll_create1(EPOLL_CLOEXEC);
}

bool il_event_join(int group, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
  return epoll_ctl(group, EPOLL_CTL_ADD, fd, &event) == 0;
}

void il_spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

void il_yield(void) {
  sched_yield();
}

/* -- Threads ----------------------------------------------------------------------------------- */

struct start {
  void (*run)(void *);
  void *arg;
};

static void *thread_main(void *p) {
  struct start s = *(struct start *)p;
  free(p);
  s.run(s.arg);
  return NULL;
}

/* A new thread takes the mask of its maker, so it is set around pthread_create. */
int il_thread_start(il_thread *t, size_t stack, int sig, void (*run)(void *), void *arg) {
  pthread_attr_t attr;
  sigset_t mask, old;
  int err;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  struct start *s = malloc(sizeof *s);
  if (s == NULL) return ENOMEM;
  s->run = run;
  s->arg = arg;
  err = pthread_attr_init(&attr);
  if (err != 0) goto fail_attr;
  err = pthread_attr_setstacksize(&attr, (stack + STACK_EXTRA + page - 1) / page * page);
  if (err != 0) goto fail_start;
  sigfillset(&mask);
  sigdelset(&mask, SIGSEGV);
  sigdelset(&mask, SIGBUS);
  sigdelset(&mask, SIGFPE);
  sigdelset(&mask, SIGILL);
  if (sig > 0) sigdelset(&mask, sig);
  pthread_sigmask(SIG_SETMASK, &mask, &old);
  err = pthread_create(t, &attr, thread_main, s);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (err != 0) goto fail_start;
  pthread_attr_destroy(&attr);
  return 0;
fail_start:
  pthread_attr_destroy(&attr);
fail_attr:
  free(s);
  return err;
}

void il_thread_join(il_thread t) {
  pthread_join(t, NULL);
}

il_thread il_thread_self(void) {
  return pthread_self();
}

bool il_thread_is_self(il_thread t) {
  return pthread_equal(pthread_self(), t) != 0;
}

void il_thread_signal(il_thread t, int sig) {
  pthread_kill(t, sig);
}

/* The kernel keeps 15 bytes and a zero: prctl(2), PR_SET_NAME. It is not asked to set the same again:
** threads that run one function after another bear its name already. */
void il_thread_name(const char *name) {
  static _Thread_local char now[16] = "\n"; /* no name that was set */
  size_t length = strnlen(name, sizeof now - 1);
  if (strncmp(now, name, sizeof now - 1) == 0) return;
  memcpy(now, name, length);
  now[length] = '\0';
  pthread_setname_np(pthread_self(), now);
}

int64_t il_thread_cpu(il_thread t) {
  clockid_t clock;
  struct timespec now;
  if (pthread_getcpuclockid(t, &clock) != 0 || clock_gettime(clock, &now) != 0) return 0;
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int il_cpu_count(void) {
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return n > 0 ? n : 1;
}

int il_cpu_here(void) {
  return sched_getcpu();
}

/* More processors than a cpu_set_t holds: the system says no. */
bool il_thread_pull(il_thread t, il_cpus *may) {
  cpu_set_t all, here;
  int cpu = sched_getcpu();
  _Static_assert(sizeof *may == sizeof all, "il_cpus holds a cpu_set_t");
  if (cpu < 0 || cpu >= CPU_SETSIZE || pthread_getaffinity_np(t, sizeof all, &all) != 0)
    return false;
  if (CPU_COUNT(&all) < 2 || !CPU_ISSET(cpu, &all)) return false;
  memcpy(may, &all, sizeof all);
  CPU_ZERO(&here);
  CPU_SET(cpu, &here);
  return pthread_setaffinity_np(t, sizeof here, &here) == 0;
}

/* When none of them is there any more, it may run wherever the system lets the process. */
void il_thread_let_go(const il_cpus *may) {
  cpu_set_t all;
  memcpy(&all, may, sizeof all);
  if (pthread_setaffinity_np(pthread_self(), sizeof all, &all) == 0) return;
  memset(&all, 0xff, sizeof all);
  pthread_setaffinity_np(pthread_self(), sizeof all, &all);
}

/* -- Signals ----------------------------------------------------------------------------------- */

#define MAX_SIGNAL 65

static pthread_mutex_t signal_lock = PTHREAD_MUTEX_INITIALIZER; /* guards uses and installing */
static struct {
  int uses;
  _Atomic(void (*)(void)) handler; /* atomic: read by the signal handler */
  struct sigaction before;
} signals[MAX_SIGNAL];

IL_IN_SIGNAL static void dispatch(int sig, siginfo_t *info, void *context) {
  int saved = errno;
  void (*handler)(void) = atomic_load(&signals[sig].handler);
  const struct sigaction *before = &signals[sig].before;
  if (handler != NULL) handler();
  if (before->sa_flags & SA_SIGINFO) {
    if (before->sa_sigaction != NULL) before->sa_sigaction(sig, info, context);
  } else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
    before->sa_handler(sig);
  }
  errno = saved;
}

#ifdef UNDER_TSAN
/* ThreadSanitizer's sigaction holds asynchronous signals back until the next library call, which
** busy Lua code never makes. The raw call bypasses it. The kernel's struct: sigaction(2), rt. */
#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif
struct kernel_action {
  void (*handler)(int, siginfo_t *, void *);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};

/* rt_sigreturn(2): the kernel on x86-64 demands a restorer. */
__asm__(".text\n.type il_restore,@function\nil_restore:\nmov $15, %rax\nsyscall\n");
void il_restore(void);

static int install(int sig, struct sigaction *before) {
  struct kernel_action act = {dispatch, SA_SIGINFO | SA_RESTART | SA_RESTORER, il_restore, 0};
  if (sigaction(sig, NULL, before) != 0) return -1;
  return (int)syscall(SYS_rt_sigaction, sig, &act, NULL, sizeof(unsigned long));
}
#else
static int install(int sig, struct sigaction *before) {
  struct sigaction act;
  memset(&act, 0, sizeof act);
  act.sa_sigaction = dispatch;
  act.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&act.sa_mask);
  return sigaction(sig, &act, before);
}
#endif

int il_signal_install(int sig, void (*handler)(void)) {
  int err = 0;
  if (sig <= 0 || sig >= MAX_SIGNAL) return -1;
  pthread_mutex_lock(&signal_lock);
  if (signals[sig].uses == 0) {
    atomic_store(&signals[sig].handler, handler);
    err = install(sig, &signals[sig].before);
  }
  if (err == 0) signals[sig].uses++;
  pthread_mutex_unlock(&signal_lock);
  return err;
}

/* A signal that is still under way finds no handler, or one that finds nothing to do. */
void il_signal_remove(int sig) {
  struct sigaction now;
  pthread_mutex_lock(&signal_lock);
  if (--signals[sig].uses == 0 && sigaction(sig, NULL, &now) == 0) {
#ifndef UNDER_TSAN                    /* which does not know of the raw call */
    if (now.sa_sigaction == dispatch) /* else it is somebody else's by now */
#endif
      sigaction(sig, &signals[sig].before, NULL);
  }
  pthread_mutex_unlock(&signal_lock);
}

void il_mask_open(sigset_t *old) {
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, old);
}

void il_mask_set(const sigset_t *mask) {
  pthread_sigmask(SIG_SETMASK, mask, NULL);
}

/* -- Memory and chance ------------------------------------------------------------------------- */

#define HUGE_PAGE ((size_t)2 << 20)

/* Maps one huge page more than asked for, and gives back what lies outside the aligned part. */
void *il_pages_map(size_t size) {
  uintptr_t start, aligned;
  size_t whole = size + HUGE_PAGE;
  char *p;
  if (whole < size) return NULL;
  p = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return NULL;
  start = (uintptr_t)p;
  aligned = (start + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  if (aligned > start) munmap(p, aligned - start);
  if (start + whole > aligned + size)
    munmap(p + (aligned - start) + size, start + whole - (aligned + size));
  p += aligned - start;
  madvise(p, size, MADV_HUGEPAGE);
  return p;
}

void il_pages_unmap(void *p, size_t size) {
  munmap(p, size);
}

void *il_pages_remap(void *p, size_t osize, size_t nsize) {
  void *q = mremap(p, osize, nsize, 0);
  return q == MAP_FAILED ? NULL : q;
}

/* As linking with -z nodelete does, where the build cannot say so (a rock). */
void il_pin_code(void) {
  Dl_info info;
  void *handle;
  if (dladdr(signals, &info) == 0 || info.dli_fname == NULL) return;
  handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  if (handle != NULL) dlclose(handle); /* the flag stays */
}

void il_entropy(void *p, size_t n) {
  if (getrandom(p, n, 0) != (ssize_t)n) {
    int64_t mix[2] = {il_now(), (int64_t)(uintptr_t)p};
    memcpy(p, mix, n < sizeof mix ? n : sizeof mix);
  }
}

int il_terminal_columns(void) {
  struct winsize size;
  if (!isatty(STDERR_FILENO)) return -1;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}
