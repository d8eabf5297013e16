/* attach.c - a Lua state that a program has already becomes an isolate, and never waits. */
/* SPDX-License-Identifier: MIT */

/* cc attach.c $(pkg-config --cflags --libs isolua lua5.4) -o attach */

#include <isolua_lua.h>
#include <lualib.h>
#include <stdio.h>

/* What the program's scripts do anyway; new is only that they may start isolates. */
static const char script[] = "local isolate = require 'isolate'\n"
                             "level = 'loading'\n"
                             "isolate.run(function()\n"
                             "  local rooms = {}\n"
                             "  for i = 1, 3 do rooms[i] = 'room ' .. i end\n"
                             "  return rooms\n"
                             "end):on_done(function(ok, rooms)\n"
                             "  level = ok and table.concat(rooms, ', ') or tostring(rooms)\n"
                             "end)\n";

static void show_level(lua_State *L) {
  lua_getglobal(L, "level");
  printf("level: %s\n", lua_tostring(L, -1));
  lua_pop(L, 1);
}

static int has_level(lua_State *L) {
  int has;
  lua_getglobal(L, "level");
  lua_pushliteral(L, "loading");
  has = !lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return has;
}

int main(void) {
  isolua_host *host;
  lua_State *L = luaL_newstate();
  if (L == NULL || isolua_host_open(NULL, &host) != ISOLUA_OK) return 1;
  luaL_openlibs(L);
  isolua_open_modules(L); /* `require "isolate"` finds it */
  if (isolua_attach(host, L) != ISOLUA_OK) return 1;
  if (luaL_dostring(L, script) != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  show_level(L);
  while (!has_level(L)) { /* the program's frames: each gives the isolates a millisecond at most */
    isolua_pump(host, -1, ISOLUA_SECOND / 1000);
  }
  show_level(L);
  isolua_detach(L);
  lua_close(L);
  return isolua_host_close(host, ISOLUA_SECOND);
}
