/* handle.c - userdata that stand for counted things, one a thing and state; error objects; boxes. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "names.h"

static char handle_mark; /* its address, in a userdata of the right size: a handle */
static char interned_key;
static char error_key;

/* -- Boxes ------------------------------------------------------------------------------------- */

static int box_gc(lua_State *L) {
  il_msg **box = lua_touserdata(L, 1);
  il_msg_free(*box);
  *box = NULL;
  return 0;
}

il_msg **il_box_push(lua_State *L) {
  il_msg **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  il_newtype(L, "isolate.box", box_gc, false);
  lua_setmetatable(L, -2);
  return box;
}

/* -- Handles ----------------------------------------------------------------------------------- */

typedef struct userdata {
  const void *mark;
  il_handle *h; /* NULL: it was given up */
  long long id; /* its id, once it was given up */
  il_holding holding;
  il_handle *kept; /* memory of the port of a sender that was given up: it may be in use; or NULL */
} userdata;

void il_handle_giveup(lua_State *L, int index) {
  userdata *u = lua_touserdata(L, index);
  il_handle *h = u->h;
  il_vm *vm = il_vm_of(L);
  if (h == NULL) return;
  u->id = il_handle_id(h);
  u->h = NULL;
  if (h->type->release == il_sender_release) {
    u->kept = il_port_of_sender(h)->keep;
    il_handle_retain(u->kept);
  }
  if (vm != NULL) vm->loop.holds--;
  il_isolate_let_go(&u->holding);
  il_handle_release(h);
}

/* A wait that goes on has the handle on its stack: its port is there until then. */
static int handle_gc(lua_State *L) {
  userdata *u = lua_touserdata(L, 1);
  il_handle *kept;
  il_handle_giveup(L, 1);
  kept = u->kept;
  u->kept = NULL;
  il_handle_release(kept);
  return 0;
}

static userdata *test(lua_State *L, int index) {
  userdata *u;
  if (lua_rawlen(L, index) != sizeof *u) return NULL; /* of a light userdata it is 0 */
  u = lua_touserdata(L, index);
  return u != NULL && u->mark == &handle_mark ? u : NULL;
}

il_handle *il_handle_test(lua_State *L, int index) {
  userdata *u = test(L, index);
  return u != NULL ? u->h : NULL;
}

bool il_handle_is_closed(lua_State *L, int index) {
  const userdata *u = test(L, index);
  return u != NULL && u->h == NULL;
}

long long isolua_handle_id(lua_State *L, int index) {
  const userdata *u = test(L, index);
  return u == NULL ? 0 : u->h != NULL ? il_handle_id(u->h) : u->id;
}

/* It is registered once it is whole: there may be no memory for a part of it. */
int il_newtype(lua_State *L, const char *name, lua_CFunction gc, bool closes) {
  if (luaL_getmetatable(L, name) != LUA_TNIL) return 0;
  lua_pop(L, 1);
  lua_createtable(L, 0, 4);
  lua_pushcfunction(L, gc);
  lua_setfield(L, -2, "__gc");
  if (closes) {
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__close");
  }
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, name);
  return 1;
}

int isolua_newhandletype(lua_State *L, const char *name) {
  return il_newtype(L, name, handle_gc, false);
}

void *isolua_checkhandle(lua_State *L, int index, const char *name) {
  const userdata *u = test(L, index);
  if (u == NULL || (u->h != NULL && strcmp(u->h->type->name, name) != 0))
    luaL_typeerror(L, index, name);
  luaL_argcheck(L, u->h != NULL, index, "the handle was given up");
  return u->h;
}

void il_weak_push(lua_State *L, const void *key, const char *mode) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void il_interned_push(lua_State *L) {
  il_weak_push(L, &interned_key, "v");
}

/* The metatable is the binding's: it makes it when its module is loaded. */
void il_handle_pushtype(lua_State *L, const char *name) {
  il_vm *vm = il_vm_check(L);
  const char *module = atomic_load(&vm->host->types);
  if (luaL_getmetatable(L, name) != LUA_TNIL) return;
  lua_pop(L, 1);
  if (module == NULL) luaL_error(L, "cannot receive a handle (%s): nothing here knows it", name);
  il_names_resolve(vm, L, module, NULL);
  lua_getfield(L, -1, name);
  lua_pop(L, 2);
  luaL_getmetatable(L, name);
}

void il_handle_push(lua_State *L, il_handle *h) {
  userdata *u;
  il_vm *vm = il_vm_check(L);
  luaL_checkstack(L, 8, NULL);
  il_interned_push(L);
  if (lua_rawgetp(L, -1, h) == LUA_TUSERDATA && ((userdata *)lua_touserdata(L, -1))->h == h) {
    lua_replace(L, -2);
    return;
  }
  lua_pop(L, 1);
  if (vm->loop.closed) luaL_error(L, "the isolate is ending: it gets no handle any more");
  u = lua_newuserdatauv(L, sizeof *u, 0);
  u->mark = &handle_mark;
  u->h = NULL;
  u->id = 0;
  u->kept = NULL;
  u->holding.isolate = NULL;
  il_handle_pushtype(L, h->type->name);
  lua_setmetatable(L, -2);
  il_handle_retain(h);
  u->h = h;
  vm->loop.holds++;
  il_isolate_hold(vm->isolate, &u->holding, h);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, -3, h);
  lua_replace(L, -2);
}

static int push_light(lua_State *L) {
  il_handle_push(L, lua_touserdata(L, 1));
  return 1;
}

void il_handle_push_held(lua_State *L, il_handle *h, il_handle *hold) {
  int status;
  lua_pushcfunction(L, push_light);
  lua_pushlightuserdata(L, h);
  status = lua_pcall(L, 1, 1, 0);
  il_handle_release(hold);
  if (status != LUA_OK) lua_error(L);
}

/* -- Error objects ----------------------------------------------------------------------------- */

int il_error_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_getfield(L, 1, "message") != LUA_TSTRING) lua_pushliteral(L, "isolate error");
  return 1;
}

int il_error_concat(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  luaL_tolstring(L, 2, NULL);
  lua_concat(L, 2);
  return 1;
}

int isolua_memoryerror(lua_State *L) {
  lua_pushliteral(L, "not enough memory"); /* the very string that lua_error knows: it is there */
  lua_error(L);
  abort(); /* it does not return */
}

/* Registered under a name, so that an error object that crosses isolates stays one. */
void il_error_metatable_push(lua_State *L) {
  il_vm *vm;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 4);
  lua_pushcfunction(L, il_error_concat);
  lua_setfield(L, -2, "__concat");
  lua_pushcfunction(L, il_error_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushstring(L, IL_ERROR_NAME);
  lua_setfield(L, -2, "__name");
  lua_pushstring(L, IL_ERROR_NAME);
  lua_setfield(L, -2, "__metatable");
  vm = il_vm_of(L);
  if (vm != NULL) il_names_register(vm, L, IL_ERROR_NAME, -1);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
}

void isolua_pusherror(lua_State *L, int code, const char *message, const char *isolate) {
  luaL_checkstack(L, 8, NULL);
  lua_createtable(L, 0, 4);
  lua_pushstring(L, isolua_code_name(code));
  lua_setfield(L, -2, "code");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  if (isolate != NULL) {
    lua_pushstring(L, isolate);
    lua_setfield(L, -2, "isolate");
  }
  il_error_metatable_push(L);
  lua_setmetatable(L, -2);
}
