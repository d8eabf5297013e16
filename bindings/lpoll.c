/* lpoll.c - what makes futures, receivers and channels pollable in other event loops. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lib.h"

/***
A descriptor that can be read from while the future is done, or the receiver or channel has a message
or is closed. Event loops ask for it before each poll; nobody else reads, writes or closes it. It is
made at the first call and closed with the object. For LuaSocket the same method is called `getfd`.
@function future:pollfd
@treturn integer
@usage cqueues.poll(future, 2)
*/
int poll_pollfd(lua_State *L) {
  isolua_case c;
  int fd;
  if (!test_future(L, 1, &c) && !test_port(L, 1, &c))
    return luaL_typeerror(L, 1, "future, receiver or channel");
  fd = isolua_pollfd(L, 1, &c);
  if (fd < 0) return luaL_error(L, "pollfd: the system has no more descriptors");
  lua_pushinteger(L, fd);
  return 1;
}

/***
What the descriptor is polled for.
@function future:events
@treturn string "r"
*/
int poll_events(lua_State *L) {
  lua_pushliteral(L, "r");
  return 1;
}

/***
How long a poll of it may take: it has no limit of its own.
@function future:timeout
@treturn nil
*/
int poll_timeout(lua_State *L) {
  lua_pushnil(L);
  return 1;
}

/***
Is there something that the descriptor does not tell of? For LuaSocket.
@function future:dirty
@treturn boolean false
*/
int poll_dirty(lua_State *L) {
  lua_pushboolean(L, 0);
  return 1;
}
