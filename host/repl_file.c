/* repl_file.c - files of the prompt that are the user's alone: its history. */
/* SPDX-License-Identifier: MIT */

/*
** Several prompts share the file: each appends whole records under a lock, and a rewrite replaces the
** contents under the same lock, in place, so that whoever waits for the lock appends to what is there
** then. A lock that is held for longer than LOCK_LIMIT, by a process that was stopped, is not waited for.
*/

#include "repl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

/* In ms. */
#ifndef LOCK_LIMIT
#define LOCK_LIMIT 1000
#endif

/* 0, or an errno: EWOULDBLOCK when another process holds it for too long. */
static int lock_file(int fd) {
  struct timespec pause = {.tv_nsec = 10000000};
  for (int ms = 0;; ms += 10) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != EWOULDBLOCK && errno != EINTR) return errno;
    if (ms >= LOCK_LIMIT) return EWOULDBLOCK;
    nanosleep(&pause, NULL);
  }
}

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

/* Opened and locked, with mode 0600 whatever it had: a descriptor; -1: errno says why. */
static int open_private(const char *path) {
  int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
  struct stat status;
  int code;
  if (fd < 0) return -1;
  code = fstat(fd, &status) != 0 ? errno : !S_ISREG(status.st_mode) ? EINVAL : 0;
  if (code == 0 && (status.st_mode & 077) != 0 && fchmod(fd, 0600) != 0) code = errno;
  if (code == 0) code = lock_file(fd);
  if (code == 0) return fd;
  close(fd);
  errno = code;
  return -1;
}

static int fail(lua_State *L, int code) {
  lua_pushnil(L);
  lua_pushstring(L, code == EINVAL        ? "it is no ordinary file"
                    : code == EWOULDBLOCK ? "another process has locked it"
                                          : strerror(code));
  return 2;
}

/* append(path, text) -> size | nil, message: the size of the file afterwards. */
int repl_file_append(lua_State *L) {
  size_t length;
  const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &length);
  int fd = open_private(path), code;
  struct stat status;
  if (fd < 0) return fail(L, errno);
  code = write_whole(fd, text, length);
  if (code == 0 && fstat(fd, &status) != 0) code = errno;
  close(fd);
  if (code != 0) return fail(L, code);
  lua_pushinteger(L, (lua_Integer)status.st_size);
  return 1;
}

/* Reads all of it onto the stack. [-0, +1, m] */
static void push_contents(lua_State *L, int fd) {
  luaL_Buffer b;
  ssize_t n;
  off_t at = 0;
  luaL_buffinit(L, &b);
  while ((n = pread(fd, luaL_prepbuffer(&b), LUAL_BUFFERSIZE, at)) > 0) {
    luaL_addsize(&b, (size_t)n);
    at += n;
  }
  luaL_pushresult(&b);
}

static int close_descriptor(lua_State *L) {
  int *fd = lua_touserdata(L, 1);
  if (*fd >= 0) close(*fd);
  *fd = -1;
  return 0;
}

/* Pushes a userdata that closes the descriptor however the function is left. [-0, +1, m] */
static int *push_descriptor(lua_State *L) {
  int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
  *fd = -1;
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, close_descriptor);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__gc");
  lua_setfield(L, -2, "__close");
  lua_setmetatable(L, -2);
  lua_toclose(L, -1);
  return fd;
}

/* rewrite(path, function(contents) -> text) -> true | nil, message: under the lock. */
int repl_file_rewrite(lua_State *L) {
  const char *path = luaL_checkstring(L, 1), *text;
  size_t length;
  int *fd, code;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  fd = push_descriptor(L);
  *fd = open_private(path);
  if (*fd < 0) return fail(L, errno);
  lua_pushvalue(L, 2);
  push_contents(L, *fd);
  lua_call(L, 1, 1);
  text = luaL_checklstring(L, -1, &length);
  code = ftruncate(*fd, 0) != 0 ? errno : write_whole(*fd, text, length);
  if (code != 0) return fail(L, code);
  lua_pushboolean(L, 1);
  return 1;
}

/* make_directory(path) -> true | nil, message: the user's alone; one that is there is as good. */
int repl_file_make_directory(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  if (mkdir(path, 0700) != 0 && errno != EEXIST) return fail(L, errno);
  lua_pushboolean(L, 1);
  return 1;
}
