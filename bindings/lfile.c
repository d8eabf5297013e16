/* lfile.c - files that several processes share and that are the user's alone: the prompt's history. */
/* SPDX-License-Identifier: MIT */

/*
** DESIGN. A file has the lock that flock(2) gives. Whoever appends holds it and adds whole lines in one
** write. Whoever replaces the contents writes the new ones into a file beside it, without the lock, as
** that takes long; then, with it, copies what was appended meanwhile and renames that file. So neither
** a reader nor a crash ever finds a half. Those that waited for the lock of the old file see that the
** path leads elsewhere now, and begin again; of two that replace at once the later one gives up. A lock
** that is held for longer than LOCK_LIMIT, by a process that was stopped, is not waited for.
*/

#include <lauxlib.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"

/* In seconds. */
#ifndef LOCK_LIMIT
#define LOCK_LIMIT 1.0
#endif

#define TFILE "isolate.private_file"

/* Of the name of a file that is to replace another. */
#define SUFFIX ".XXXXXX"

/* On the stack while it is open, so that it is closed however its function is left. */
typedef struct {
  int fd;             /* -1: closed */
  struct stat status; /* when it was locked */
} private_file;

static void close_private(private_file *f) {
  if (f->fd >= 0) close(f->fd);
  f->fd = -1;
}

static int file_close(lua_State *L) {
  close_private(lua_touserdata(L, 1));
  return 0;
}

/* [-0, +0, v] */
static void check_files(lua_State *L) {
  if ((isolua_forbidden(L) & ISOLUA_NO_FILES) != 0) luaL_error(L, "the host forbids files");
}

/* Raises where files are forbidden. [-0, +1, v] */
static private_file *push_file(lua_State *L) {
  private_file *f;
  check_files(L);
  f = lua_newuserdatauv(L, sizeof *f, 0);
  f->fd = -1;
  if (new_type(L, TFILE)) {
    lua_pushcfunction(L, file_close);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, file_close);
    lua_setfield(L, -2, "__close");
    keep_type(L, TFILE);
  }
  lua_setmetatable(L, -2);
  lua_toclose(L, -1);
  return f;
}

static int fail(lua_State *L, int code) {
  lua_pushnil(L);
  lua_pushstring(L, code == EINVAL        ? "it is no ordinary file"
                    : code == EWOULDBLOCK ? "another process has locked it"
                                          : strerror(code));
  return 2;
}

/* 0, or an errno: EWOULDBLOCK when it is not to be had before `deadline`. */
static int lock(int fd, int how, lua_Number deadline) {
  struct timespec pause = {.tv_nsec = 1000000};
  while (flock(fd, how | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return errno;
    if (isolua_now() >= deadline) return EWOULDBLOCK;
    nanosleep(&pause, NULL);
  }
  return 0;
}

static bool is_same(const struct stat *a, const struct stat *b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Opens and locks it once: 0, or an errno; ESTALE: it was replaced meanwhile. */
static int try_open(private_file *f, const char *path, int flags, int how, lua_Number deadline) {
  struct stat now;
  int code;
  f->fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
  if (f->fd < 0 || fstat(f->fd, &now) != 0) return errno;
  if (!S_ISREG(now.st_mode)) return EINVAL;
  if (how == LOCK_EX && (now.st_mode & 07777) != 0600 && fchmod(f->fd, 0600) != 0) return errno;
  code = lock(f->fd, how, deadline);
  if (code != 0) return code;
  if (fstat(f->fd, &f->status) != 0) return errno;
  return stat(path, &now) == 0 && is_same(&now, &f->status) ? 0 : ESTALE;
}

/* Mode 0600, whatever it was, when it is to be written. 0, or an errno. */
static int open_private(private_file *f, const char *path, int flags, int how) {
  lua_Number deadline = isolua_now() + LOCK_LIMIT;
  for (;;) {
    int code = try_open(f, path, flags, how, deadline);
    if (code == 0) return 0;
    close_private(f);
    if (code != ESTALE) return code;
    if (isolua_now() >= deadline) return EWOULDBLOCK;
  }
}

/* -- Appending --------------------------------------------------------------------------------- */

static int write_whole(int fd, const char *text, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, text, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    text += n;
    length -= (size_t)n;
  }
  return 0;
}

/* Does the last line lack its end, as its writer died, or an editor has left it out? */
static bool is_unfinished(const private_file *f) {
  char last;
  return f->status.st_size > 0 && pread(f->fd, &last, 1, f->status.st_size - 1) == 1 &&
         last != '\n';
}

/* append_private(path, lines) -> size | nil, reason: in one write, after a line end; the file is made
** if it is not there. What could be written only in part is taken back. */
static int append_private(lua_State *L) {
  const char *path = luaL_checkstring(L, 1), *text;
  private_file *f;
  size_t length;
  int code;
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  f = push_file(L);
  code = open_private(f, path, O_RDWR | O_APPEND | O_CREAT, LOCK_EX);
  if (code != 0) return fail(L, code);
  lua_pushstring(L, is_unfinished(f) ? "\n" : "");
  lua_pushvalue(L, 2);
  if (lua_rawlen(L, 2) > 0) lua_concat(L, 2);
  text = lua_tolstring(L, -1, &length);
  code = write_whole(f->fd, text, length);
  if (code != 0) {
    if (ftruncate(f->fd, f->status.st_size) != 0) code = errno;
    return fail(L, code);
  }
  lua_pushinteger(L, (lua_Integer)f->status.st_size + (lua_Integer)length);
  return 1;
}

/* -- Reading ----------------------------------------------------------------------------------- */

/* Pushes the last `max` bytes of it. 0, or an errno. [-0, +1, m] */
static int push_tail(lua_State *L, const private_file *f, lua_Integer max) {
  off_t at = f->status.st_size > max ? f->status.st_size - (off_t)max : 0;
  luaL_Buffer b;
  ssize_t n = 1;
  luaL_buffinit(L, &b);
  while (at < f->status.st_size && n != 0) {
    size_t want = LUAL_BUFFERSIZE;
    if ((off_t)want > f->status.st_size - at) want = (size_t)(f->status.st_size - at);
    n = pread(f->fd, luaL_prepbuffer(&b), want, at);
    if (n < 0 && errno != EINTR) break;
    if (n < 0) continue;
    luaL_addsize(&b, (size_t)n);
    at += n;
  }
  luaL_pushresult(&b);
  return n < 0 ? errno : 0;
}

/* read_private(path, max) -> text, whole | nil, reason: the last `max` bytes; whole: are they all? */
static int read_private(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  lua_Integer max = luaL_checkinteger(L, 2);
  private_file *f;
  int code;
  luaL_argcheck(L, max >= 0, 2, "0 or more");
  f = push_file(L);
  code = open_private(f, path, O_RDONLY, LOCK_SH);
  if (code != 0) return fail(L, code);
  code = push_tail(L, f, max);
  if (code != 0) return fail(L, code);
  lua_pushboolean(L, f->status.st_size <= max);
  return 2;
}

/* -- Replacing --------------------------------------------------------------------------------- */

/* A new file beside the one at `path`, with these contents. 0, or an errno. */
static int write_beside(char *beside, const char *text, size_t length, int *fd) {
  int code = 0;
  *fd = mkstemp(beside); /* mode 0600 */
  if (*fd < 0) return errno;
  if (fcntl(*fd, F_SETFD, FD_CLOEXEC) != 0) code = errno;
  if (code == 0) code = write_whole(*fd, text, length);
  if (code == 0 && fsync(*fd) != 0) code = errno;
  if (code == 0) return 0;
  close(*fd);
  unlink(beside);
  return code;
}

/* What stands in a file from `at` on, behind what stands in another. 0, or an errno. */
static int copy_rest(int from, off_t at, int to) {
  char part[4096];
  ssize_t n;
  while ((n = pread(from, part, sizeof part, at)) != 0) {
    int code = n > 0 ? write_whole(to, part, (size_t)n) : errno == EINTR ? 0 : errno;
    if (code != 0) return code;
    if (n > 0) at += n;
  }
  return 0;
}

/* Locks the file and puts the one beside it in its place, if it is still what was read, or more. 0, or an
** errno; ESTALE: it is not. */
static int put_in_place(private_file *f, const char *path, const char *beside, int fd) {
  struct stat old = f->status;
  int code = open_private(f, path, O_RDWR, LOCK_EX);
  if (code != 0) return code;
  if (!is_same(&old, &f->status) || f->status.st_size < old.st_size) return ESTALE;
  code = copy_rest(f->fd, old.st_size, fd);
  if (code == 0 && rename(beside, path) != 0) code = errno;
  return code;
}

/* Pushes the file's path without symbolic links, which renaming would replace. [-0, +1, m] */
static bool push_real_path(lua_State *L, const char *path) {
  char *real = realpath(path, NULL);
  if (real == NULL) return false;
  lua_pushstring(L, real); /* may raise for want of memory: then a few bytes are lost */
  free(real);
  return true;
}

/* The contents that a function makes of those that are there; `beside`: the name's template, which becomes
** the name. 0, or an errno. */
static int replace(private_file *f, const char *path, char *beside, const char *text,
                   size_t length) {
  int fd, code = write_beside(beside, text, length, &fd);
  if (code != 0) return code;
  code = put_in_place(f, path, beside, fd);
  if (close(fd) != 0 && code == 0) code = errno;
  if (code != 0) unlink(beside);
  return code;
}

/* replace_private(path, max, function(text, whole) -> text | nil) -> replaced | nil, reason: the function
** gets the last `max` bytes; whether they are all. What is appended from then on stays behind what it gives.
** False: it gave nil, or another has replaced them meanwhile. */
static int replace_private(lua_State *L) {
  const char *path = luaL_checkstring(L, 1), *text;
  lua_Integer max = luaL_checkinteger(L, 2);
  size_t length, size;
  private_file *f;
  char *beside;
  int code;
  luaL_argcheck(L, max >= 0, 2, "0 or more");
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  f = push_file(L);
  if (!push_real_path(L, path)) return fail(L, errno);
  path = lua_tolstring(L, 5, &size);
  beside = lua_newuserdatauv(L, size + sizeof SUFFIX, 0);
  memcpy(beside, path, size);
  memcpy(beside + size, SUFFIX, sizeof SUFFIX);
  code = open_private(f, path, O_RDONLY, LOCK_SH);
  if (code != 0) return fail(L, code);
  lua_pushvalue(L, 3);
  code = push_tail(L, f, max);
  if (code != 0) return fail(L, code);
  close_private(f);
  lua_pushboolean(L, f->status.st_size <= max);
  lua_call(L, 2, 1);
  code = ESTALE;
  if (!lua_isnil(L, -1)) {
    text = luaL_checklstring(L, -1, &length);
    code = replace(f, path, beside, text, length);
    if (code != 0 && code != ESTALE) return fail(L, code);
  }
  lua_pushboolean(L, code == 0);
  return 1;
}

/* make_directory(path) -> true | nil, reason: mode 0700; one that is there is as good, whatever its mode. */
static int make_directory(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct stat status;
  check_files(L);
  if (mkdir(path, 0700) != 0) {
    int code = errno;
    if (stat(path, &status) != 0) return fail(L, code);
    if (!S_ISDIR(status.st_mode)) return fail(L, ENOTDIR);
  }
  lua_pushboolean(L, 1);
  return 1;
}

const luaL_Reg file_internals[] = {{"append_private", append_private},
                                   {"read_private", read_private},
                                   {"replace_private", replace_private},
                                   {"make_directory", make_directory},
                                   {NULL, NULL}};
