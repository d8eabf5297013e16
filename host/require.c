/* require.c - modules whose text the embedder gives, for `require`. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "vm.h"

/* What `load` has given: released once, whatever raises. */
typedef struct given {
  isolua_module m;
  bool held;
} given;

static void give_back(given *g) {
  bool held = g->held;
  g->held = false;
  if (held && g->m.release != NULL) g->m.release(g->m.release_ud);
}

static int given_gc(lua_State *L) {
  give_back(lua_touserdata(L, 1));
  return 0;
}

/* [-0, +1, m] */
static given *push_given(lua_State *L) {
  given *g = lua_newuserdatauv(L, sizeof *g, 0);
  memset(g, 0, sizeof *g);
  il_newtype(L, "isolate.given", given_gc, false);
  lua_setmetatable(L, -2);
  return g;
}

/* As of a file: a byte order mark goes, and of a first line that begins with # only its end stays. */
static void skip_head(const char **text, size_t *length) {
  static const char mark[] = "\xEF\xBB\xBF";
  size_t n = 0;
  if (*length >= 3 && memcmp(*text, mark, 3) == 0) n = 3;
  if (n < *length && (*text)[n] == '#')
    while (n < *length && (*text)[n] != '\n') n++;
  *text += n;
  *length -= n;
}

/* The error message is on the top. [-1, +0, v] */
static int fail(lua_State *L, given *g, const char *name) {
  lua_pushfstring(L, "error loading module '%s' from the host:\n\t%s", name, lua_tostring(L, -1));
  give_back(g);
  return lua_error(L);
}

/* A searcher. */
static int search_given(lua_State *L) {
  il_vm *vm = il_vm_check(L);
  const isolua_host_options *o = &vm->host->options;
  size_t length;
  const char *name = luaL_checklstring(L, 1, &length), *text;
  given *g;
  int err;
  lua_settop(L, 1);
  g = push_given(L);
  lua_pushfstring(L, "=%s", name);
  lua_pushfstring(L, "the host has no module '%s'", name);
  if (strlen(name) != length) return 1;
  g->held = true;
  err = o->load(o->load_ud, vm->isolate != NULL ? vm->isolate->id : 0, name, &g->m);
  if (err != ISOLUA_OK) {
    lua_pushstring(L, g->m.message != NULL ? g->m.message : isolua_code_message(err));
    return fail(L, g, name);
  }
  if (g->m.source == NULL) {
    give_back(g);
    return 1;
  }
  if (g->m.chunkname != NULL) {
    lua_pushstring(L, g->m.chunkname);
    lua_replace(L, 3);
  }
  text = g->m.source;
  length = g->m.length;
  skip_head(&text, &length);
  if (luaL_loadbufferx(L, text, length, lua_tostring(L, 3), "t") != LUA_OK) return fail(L, g, name);
  give_back(g);
  il_names_give(L, name);
  text = lua_tostring(L, 3);
  lua_pushstring(L, text[0] == '@' || text[0] == '=' ? text + 1 : text);
  return 2;
}

enum { PLACE = 2 }; /* behind package.preload */

void il_vm_open_loader(lua_State *L) {
  int top = lua_gettop(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "package") == LUA_TTABLE &&
      lua_getfield(L, -1, "searchers") == LUA_TTABLE) {
    for (lua_Integer i = luaL_len(L, -1); i >= PLACE; i--) {
      lua_rawgeti(L, -1, i);
      lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, search_given);
    lua_rawseti(L, -2, PLACE);
  }
  lua_settop(L, top);
}
