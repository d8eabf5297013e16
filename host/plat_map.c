/* plat_map.c - files in memory, that stay there when the file becomes shorter. */
/* SPDX-License-Identifier: MIT */
#include "plat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/*
** DESIGN. A read behind the new end of a file is SIGBUS. The handler puts pages of zeros where the file
** was, from there to the end of the mapping, marks it as torn, and the read goes on; whoever used the
** mapping looks at the mark afterwards and raises. The handler finds the mapping in a list to which is
** only ever added.
*/
static _Atomic(il_mapping *) all;
static uintptr_t page;
static struct sigaction before;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Is `at` in it? Then its end goes to *end. One that changes meanwhile cannot be the one: whoever reads a
** mapping keeps it. */
IL_IN_SIGNAL static bool has(il_mapping *m, uintptr_t at, uintptr_t *end) {
  unsigned turn = atomic_load(&m->turn);
  uintptr_t from = atomic_load(&m->from);
  *end = atomic_load(&m->end);
  return turn % 2 == 0 && at >= from && at < *end && atomic_load(&m->turn) == turn;
}

/* True: there are zeros now. */
IL_IN_SIGNAL static bool patch(uintptr_t at) {
  for (il_mapping *m = atomic_load(&all); m != NULL; m = m->next) {
    uintptr_t start = at & ~(page - 1), end;
    void *p = (void *)start;
    if (!has(m, at, &end)) continue;
    p = mmap(p, end - start, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return false;
    atomic_store(&m->torn, true);
    return true;
  }
  return false;
}

/* Not one of ours: the handler before ours gets it, or the default, at the next try of the access. */
IL_IN_SIGNAL static void on_bus(int sig, siginfo_t *info, void *context) {
  int saved = errno;
  if (!patch((uintptr_t)info->si_addr)) {
    if ((before.sa_flags & SA_SIGINFO) != 0)
      before.sa_sigaction(sig, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
      before.sa_handler(sig);
    else
      signal(sig, SIG_DFL);
  }
  errno = saved;
}

static void install(void) {
  struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_RESTART};
  page = (uintptr_t)sysconf(_SC_PAGESIZE);
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &before);
}

static void set_range(il_mapping *m, uintptr_t from, uintptr_t end) {
  atomic_fetch_add(&m->turn, 1);
  atomic_store(&m->from, from);
  atomic_store(&m->end, end);
  atomic_fetch_add(&m->turn, 1);
}

static il_mapping *take_mapping(void) {
  il_mapping *m = atomic_load(&all);
  for (; m != NULL; m = m->next) {
    bool used = false;
    if (atomic_compare_exchange_strong(&m->used, &used, true)) return m;
  }
  m = calloc(1, sizeof *m);
  if (m == NULL) return NULL;
  atomic_init(&m->used, true);
  m->next = atomic_load(&all);
  while (!atomic_compare_exchange_weak(&all, &m->next, m)) continue;
  return m;
}

/* The size of a file that can be mapped: 0, or an error number. */
static int measure(int fd, size_t *size) {
  struct stat st;
  if (fstat(fd, &st) != 0) return errno;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  if (!S_ISREG(st.st_mode)) return ENODEV;
  if ((uintmax_t)st.st_size > SIZE_MAX / 2) return EFBIG;
  *size = (size_t)st.st_size;
  return 0;
}

static int map(int fd, size_t size, bool writable, il_mapping **mapping) {
  il_mapping *m = take_mapping();
  void *p;
  if (m == NULL) return ENOMEM;
  p = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) {
    int err = errno;
    atomic_store(&m->used, false);
    return err;
  }
  m->data = p;
  m->size = size;
  atomic_store(&m->torn, false);
  set_range(m, (uintptr_t)p, ((uintptr_t)p + size + page - 1) & ~(page - 1));
  *mapping = m;
  return 0;
}

int il_file_map(const char *path, bool writable, il_mapping **mapping) {
  int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK), err;
  size_t size = 0;
  *mapping = NULL;
  if (fd < 0) return errno;
  pthread_once(&once, install);
  err = measure(fd, &size);
  if (err == 0 && size > 0) err = map(fd, size, writable, mapping);
  close(fd);
  return err;
}

void il_file_unmap(il_mapping *m) {
  if (m == NULL) return;
  set_range(m, 0, 0);
  munmap(m->data, m->size);
  atomic_store(&m->used, false);
}

/* Of itself a process may always read, unless a filter of system calls forbids it. Behind the end of a file that
** became shorter it gets less. */
bool il_file_copy(void *to, const void *from, size_t n) {
  struct iovec here = {to, n}, there = {(void *)(uintptr_t)from, n};
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)n;
}
