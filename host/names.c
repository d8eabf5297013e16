/* names.c - the names of functions and tables that every fresh isolate can find by itself. */
/* SPDX-License-Identifier: MIT */
#include "names.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
** DESIGN. A registry table with weak keys maps functions and tables to a string: "M" or "R", the
** name of the module (or the registered name), and for a field of a module a zero and its key. A
** module's fields are taken down when `require` has put it into package.loaded: a metatable there
** tells. What is added to a module later is not: a fresh isolate would not have it. The filter beside
** it answers "no name" without a call into Lua, which is what nearly every value gets.
*/
static char names_key, registered_key, findable_key, require_key, given_key;

/* -- The standard libraries -------------------------------------------------------------------- */

static const char *const lib_names[] = {
#define X(name) #name,
  IL_LIBS(X)
#undef X
};

static const char *const base_globals[] = {
  "_G",       "_VERSION", "assert",   "collectgarbage", "dofile",  "error",  "getmetatable",
  "ipairs",   "load",     "loadfile", "next",           "pairs",   "pcall",  "print",
  "rawequal", "rawget",   "rawlen",   "rawset",         "require", "select", "setmetatable",
  "tonumber", "tostring", "type",     "warn",           "xpcall"};

const char *il_lib_name(int number) {
  return lib_names[number];
}

static bool is(const char *text, const char *name, size_t len) {
  return strlen(text) == len && memcmp(text, name, len) == 0;
}

unsigned il_lib_bit(const char *name, size_t len) {
  for (int i = 0; i < IL_LIB_COUNT; i++)
    if (is(lib_names[i], name, len)) return 1u << i;
  return 0;
}

unsigned il_libs_forbidden(unsigned forbid) {
  return ((forbid & ISOLUA_NO_IO) != 0 ? IL_LIB(io) : 0) |
         ((forbid & ISOLUA_NO_OS) != 0 ? IL_LIB(os) : 0) |
         ((forbid & ISOLUA_NO_DEBUG) != 0 ? IL_LIB(debug) : 0);
}

bool il_is_standard_global(const char *name, size_t len) {
  for (size_t i = 0; i < sizeof base_globals / sizeof base_globals[0]; i++)
    if (is(base_globals[i], name, len)) return true;
  return il_lib_bit(name, len) != 0;
}

#define STD_MAX 256 /* Lua 5.4 has some 150 */

struct il_std {
  il_std_function functions[STD_MAX];
  int count;
};

/* Takes down the C functions without upvalues of the table on the top. [-0, +0, m] */
static void learn(lua_State *L, il_std *std, const char *lib) {
  int table = lua_gettop(L);
  char name[sizeof std->functions[0].name];
  size_t head = 0, len;
  unsigned bit = 0;
  if (lib != NULL) {
    head = (size_t)snprintf(name, sizeof name, "%s.", lib);
    bit = il_lib_bit(lib, head - 1);
  }
  lua_pushnil(L);
  while (lua_next(L, table) != 0) {
    if (std->count < STD_MAX - 2 && lua_type(L, -2) == LUA_TSTRING && lua_iscfunction(L, -1) &&
        lua_getupvalue(L, -1, 1) == NULL) {
      il_std_function *f = &std->functions[std->count++];
      const char *key = lua_tolstring(L, -2, &len);
      f->function = lua_tocfunction(L, -1);
      f->ours = NULL;
      f->barred = false;
      f->lib = bit;
      if (len > sizeof name - 1 - head) len = sizeof name - 1 - head;
      memcpy(f->name, name, head);
      memcpy(f->name + head, key, len);
      f->name[head + len] = '\0';
    }
    lua_settop(L, table + 1);
  }
}

il_std *il_std_new(lua_State *L) {
  il_std *std = calloc(1, sizeof *std);
  if (std == NULL) return NULL;
  lua_pushglobaltable(L);
  learn(L, std, NULL);
  for (int i = 0; i < IL_LIB_COUNT; i++) {
    if (lua_getfield(L, -1, lib_names[i]) == LUA_TTABLE) learn(L, std, lib_names[i]);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  std->functions[std->count++] =
    (il_std_function){il_error_tostring, NULL, 0, false, IL_ERROR_NAME};
  std->functions[std->count++] =
    (il_std_function){il_error_concat, NULL, 0, false, IL_ERROR_NAME ".concat"};
  return std;
}

void il_std_free(void *std) {
  free(std);
}

void il_std_replace(il_std *std, const char *name, lua_CFunction ours) {
  for (int i = 0; i < std->count; i++)
    if (std->functions[i].name[0] == name[0] && strcmp(std->functions[i].name, name) == 0)
      std->functions[i].ours = ours;
}

void il_std_bar(il_std *std, const char *name) {
  for (int i = 0; i < std->count; i++)
    if (strcmp(std->functions[i].name, name) == 0) std->functions[i].barred = true;
}

int il_std_find(const il_std *std, lua_CFunction function) {
  for (int i = 0; i < std->count; i++)
    if (std->functions[i].function == function || std->functions[i].ours == function) return i;
  return -1;
}

lua_CFunction il_std_named(const il_std *std, const char *name) {
  for (int i = 0; i < std->count; i++)
    if (strcmp(std->functions[i].name, name) == 0) return std->functions[i].function;
  return NULL;
}

const il_std_function *il_std_get(const il_std *std, int index) {
  return &std->functions[index];
}

/* -- The filter -------------------------------------------------------------------------------- */

void il_names_init(il_names *n) {
  n->filter = NULL;
  n->mask = n->count = 0;
  n->opened = n->pending = n->own_pending = false;
}

void il_names_fini(il_names *n) {
  free(n->filter);
  il_names_init(n);
}

/* False: no memory; nothing has changed. */
static bool grow_filter(il_names *n) {
  il_names bigger = {
    NULL, n->mask == 0 ? 63 : n->mask * 2 + 1, n->count, n->opened, n->pending, n->own_pending};
  bigger.filter = calloc(bigger.mask + 1, sizeof *bigger.filter);
  if (bigger.filter == NULL) return false;
  for (size_t i = 0; n->mask != 0 && i <= n->mask; i++)
    if (n->filter[i] != NULL) bigger.filter[il_names_place(&bigger, n->filter[i])] = n->filter[i];
  free(n->filter);
  *n = bigger;
  return true;
}

static void add_filter(lua_State *L, il_names *n, const void *p) {
  size_t i;
  if ((n->mask == 0 || n->count * 2 > n->mask) && !grow_filter(n)) isolua_memoryerror(L);
  i = il_names_place(n, p);
  if (n->filter[i] == NULL) {
    n->filter[i] = p;
    n->count++;
  }
}

/* -- Modules ----------------------------------------------------------------------------------- */

static bool nameable(lua_State *L, int index) {
  int t = lua_type(L, index);
  return t == LUA_TTABLE || t == LUA_TFUNCTION;
}

/* Gives the value at `index` the name that is the string on the top, unless it has one; pops it. */
static void give_name(il_vm *vm, lua_State *L, int index, bool anew) {
  const void *p = lua_topointer(L, index);
  index = lua_absindex(L, index);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
  lua_pushvalue(L, index);
  if (!anew && lua_rawget(L, -2) != LUA_TNIL) {
    lua_pop(L, 3);
    return;
  }
  lua_settop(L, lua_absindex(L, -2));
  lua_pushvalue(L, index);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 2);
  add_filter(L, &vm->names, p);
}

static void push_name(lua_State *L, const char *kind, const char *name, const char *field,
                      size_t len) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, kind);
  luaL_addstring(&b, name);
  if (field != NULL) {
    luaL_addchar(&b, '\0');
    luaL_addlstring(&b, field, len);
  }
  luaL_pushresult(&b);
}

/* Takes down the module at `index` and its direct fields. [-0, +0, m] */
static void take_module(il_vm *vm, lua_State *L, const char *name, int index) {
  index = lua_absindex(L, index);
  if (!nameable(L, index)) return;
  luaL_checkstack(L, 10, "too many nested calls");
  push_name(L, "M", name, NULL, 0);
  give_name(vm, L, index, false);
  if (!lua_istable(L, index)) return;
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    if (lua_type(L, -2) == LUA_TSTRING && nameable(L, -1)) {
      size_t len;
      const char *key = lua_tolstring(L, -2, &len);
      push_name(L, "M", name, key, len);
      give_name(vm, L, -2, false);
    }
    lua_pop(L, 1);
  }
}

static bool is_base(const char *name) {
  return strcmp(name, LUA_GNAME) == 0;
}

bool il_names_is_own(const il_vm *vm, const char *name) {
  const char *types = atomic_load(&vm->host->types);
  size_t root = types != NULL ? strcspn(types, ".") : 0;
  return root > 0 && strncmp(name, types, root) == 0 && (name[root] == '\0' || name[root] == '.');
}

/* Modules themselves come before fields, so that a module never goes by another one's field. */
static void take_loaded(il_vm *vm, lua_State *L, bool fields, bool only_own) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushnil(L);
  while (lua_next(L, -2) != 0) {
    if (lua_type(L, -2) == LUA_TSTRING && nameable(L, -1)) {
      const char *name = lua_tostring(L, -2);
      if (only_own && !il_names_is_own(vm, name)) {
        lua_pop(L, 1);
        continue;
      }
      if (!is_base(name) && il_lib_bit(name, strlen(name)) == 0 && fields) {
        take_module(vm, L, name, -1);
      } else if (!is_base(name) && !fields) {
        push_name(L, "M", name, NULL, 0);
        give_name(vm, L, -2, false);
      }
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void open_names(il_vm *vm, lua_State *L);
static void take_replaced(il_vm *vm, lua_State *L);

/* package.loaded's __newindex: a module has been loaded. When Lua code put it there by hand its
** fields may come later, so it is looked at again at the next send. */
static int on_loaded(lua_State *L) {
  il_vm *vm = il_vm_of(L);
  lua_Debug caller;
  bool named = lua_type(L, 2) == LUA_TSTRING;
  bool own = vm != NULL && named && il_names_is_own(vm, lua_tostring(L, 2));
  lua_settop(L, 3);
  if (vm != NULL && !own && !vm->names.opened) open_names(vm, L);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_rawset(L, 1);
  if (vm == NULL || !named) return 0;
  if (own)
    vm->names.own_pending = true;
  else if (lua_getstack(L, 1, &caller) && lua_getinfo(L, "S", &caller) && caller.what[0] == 'C')
    take_module(vm, L, lua_tostring(L, 2), 3);
  else
    vm->names.pending = true;
  return 0;
}

/* Fields of the standard libraries that are no plain C functions. */
static void take_special(il_vm *vm, lua_State *L) {
  static const char *const tables[] = {"loaded", "preload", "searchers"};
  if (lua_getglobal(L, "require") == LUA_TFUNCTION) {
    push_name(L, "M", LUA_GNAME, "require", 7);
    give_name(vm, L, -2, false);
  }
  lua_pop(L, 1);
  if (lua_getglobal(L, "package") == LUA_TTABLE) {
    for (size_t i = 0; i < 3; i++) {
      if (lua_getfield(L, -1, tables[i]) == LUA_TTABLE) {
        push_name(L, "M", "package", tables[i], strlen(tables[i]));
        give_name(vm, L, -2, false);
      }
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

/* Looks at what is loaded, once. */
static void open_names(il_vm *vm, lua_State *L) {
  luaL_checkstack(L, 20, NULL);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
  take_loaded(vm, L, false, false);
  take_special(vm, L);
  if (vm->isolate != NULL && vm->isolate->is_main) take_replaced(vm, L);
  vm->names.opened = true; /* not before: memory may lack on the way, and then all is done again */
}

/* An embedder may put C functions of its own in the place of standard ones of main (os.exit, say): an
** isolate gets its own by that name. */
static void take_replaced(il_vm *vm, lua_State *L) {
  const il_std *std = vm->host->std;
  for (int i = 0; i < std->count; i++) {
    const char *name = std->functions[i].name, *dot = strchr(name, '.');
    int top = lua_gettop(L);
    if (dot == NULL) continue;
    lua_pushlstring(L, name, (size_t)(dot - name));
    if (lua_getglobal(L, lua_tostring(L, -1)) == LUA_TTABLE) {
      lua_getfield(L, -1, dot + 1);
      if (lua_iscfunction(L, -1) && il_std_find(std, lua_tocfunction(L, -1)) < 0) {
        push_name(L, "M", lua_tostring(L, top + 1), dot + 1, strlen(dot + 1));
        give_name(vm, L, -2, false);
      }
    }
    lua_settop(L, top);
  }
}

void il_names_open(il_vm *vm, lua_State *L) {
  luaL_checkstack(L, 20, NULL);
  if (lua_getglobal(L, "require") == LUA_TFUNCTION) {
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &require_key);
  }
  lua_pop(L, 1);
  if (!vm->owned) {
    open_names(vm, L);
    take_loaded(vm, L, true, false);
  }
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (!lua_getmetatable(L, -1)) {
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_loaded);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
  } else {
    vm->names.pending = true; /* somebody else's: look once more later */
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

void il_names_refresh(il_vm *vm, lua_State *L) {
  if (!vm->names.opened) open_names(vm, L);
  if (vm->names.pending) {
    vm->names.pending = false;
    luaL_checkstack(L, 20, NULL);
    take_loaded(vm, L, false, false);
    take_loaded(vm, L, true, false);
  }
  if (vm->names.own_pending) {
    vm->names.own_pending = false;
    luaL_checkstack(L, 20, NULL);
    take_loaded(vm, L, true, true);
  }
}

enum il_by il_names_find(il_vm *vm, lua_State *L, int index) {
  size_t len, start;
  const char *name;
  if (!il_names_may_have(&vm->names, lua_topointer(L, index))) return IL_BY_NONE;
  index = lua_absindex(L, index);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
  lua_pushvalue(L, index);
  if (lua_rawget(L, -2) != LUA_TSTRING) {
    lua_pop(L, 2);
    return IL_BY_NONE;
  }
  name = lua_tolstring(L, -1, &len);
  start = strlen(name); /* the kind, and the name up to a zero */
  lua_pushlstring(L, name + 1, start - 1);
  lua_replace(L, -3);
  if (start == len)
    lua_pushnil(L);
  else
    lua_pushlstring(L, name + start + 1, len - start - 1);
  lua_replace(L, -2);
  return name[0] == 'M' ? IL_BY_MODULE : IL_BY_REGISTER;
}

/* package.searchpath(name, package[field]) finds a file. [-0, +0, m] */
static bool search(lua_State *L, const char *name, const char *field) {
  int top = lua_gettop(L);
  bool found = false;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "package") == LUA_TTABLE) {
    lua_getfield(L, -1, "searchpath");
    lua_pushstring(L, name);
    lua_getfield(L, -3, field);
    found = lua_pcall(L, 2, 1, 0) == LUA_OK && lua_isstring(L, -1);
  }
  lua_settop(L, top);
  return found;
}

void il_names_give(lua_State *L, const char *name) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &given_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &given_key);
  }
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

static bool was_given(lua_State *L, const char *name) {
  bool was = false;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &given_key) == LUA_TTABLE) {
    was = lua_getfield(L, -1, name) != LUA_TNIL;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return was;
}

static bool find_module(lua_State *L, const char *name) {
  const char *dot = strchr(name, '.');
  unsigned forbid = il_vm_check(L)->host->options.forbid;
  bool found;
  if (was_given(L, name)) return true;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  found = lua_getfield(L, -1, name) != LUA_TNIL;
  lua_pop(L, 2);
  if (found || (forbid & ISOLUA_NO_FILES) != 0) return found;
  if (search(L, name, "path")) return true;
  if ((forbid & ISOLUA_NO_C_MODULES) != 0) return false;
  if (search(L, name, "cpath")) return true;
  if (dot == NULL) return false;
  lua_pushlstring(L, name, (size_t)(dot - name)); /* in the library of its root, as require does */
  found = search(L, lua_tostring(L, -1), "cpath");
  lua_pop(L, 1);
  return found;
}

bool il_names_findable(lua_State *L, int index, unsigned libs) {
  size_t len;
  const char *name = lua_tolstring(L, index, &len);
  unsigned lib = il_lib_bit(name, len);
  bool found;
  if (is_base(name)) return true;
  if (lib != 0) return (libs & lib) != 0;
  if ((libs & IL_LIB(package)) == 0) return false;
  index = lua_absindex(L, index);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &findable_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &findable_key);
  }
  lua_pushvalue(L, index);
  if (lua_rawget(L, -2) == LUA_TNIL) {
    found = find_module(L, name);
    lua_pushvalue(L, index);
    lua_pushboolean(L, found);
    lua_rawset(L, -4);
  } else {
    found = lua_toboolean(L, -1);
  }
  lua_pop(L, 2);
  return found;
}

void il_names_resolve(il_vm *vm, lua_State *L, const char *module, const char *field) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, module) == LUA_TNIL) {
    lua_pop(L, 1);
    if ((vm->libs & IL_LIB(package)) == 0 ||
        lua_rawgetp(L, LUA_REGISTRYINDEX, &require_key) != LUA_TFUNCTION)
      luaL_error(L, "cannot receive module '%s': this isolate has no require", module);
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
  }
  lua_replace(L, -2);
  if (field == NULL) return;
  if (!lua_istable(L, -1))
    luaL_error(L, "cannot receive '%s.%s': module '%s' is no table here", module, field, module);
  lua_pushstring(L, field);
  if ((il_names_is_own(vm, module) ? lua_gettable(L, -2) : lua_rawget(L, -2)) == LUA_TNIL)
    luaL_error(
      L,
      "cannot receive '%s.%s': module '%s' has no such field in a fresh isolate; set it in "
      "the module's own file",
      module, field, module);
  lua_replace(L, -2);
}

/* -- Registered values ------------------------------------------------------------------------- */

void il_names_adopt(il_vm *vm, lua_State *L, const char *name, int index) {
  index = lua_absindex(L, index);
  if (!vm->names.opened) open_names(vm, L);
  push_name(L, "R", name, NULL, 0);
  give_name(vm, L, index, true);
}

void il_names_register(il_vm *vm, lua_State *L, const char *name, int index) {
  index = lua_absindex(L, index);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &registered_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &registered_key);
  }
  lua_pushvalue(L, index);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
  il_names_adopt(vm, L, name, index);
}

bool il_names_registered(lua_State *L, const char *name) {
  if (strcmp(name, IL_ERROR_NAME) == 0) {
    il_error_metatable_push(L);
    return true;
  }
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &registered_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    return false;
  }
  if (lua_getfield(L, -1, name) == LUA_TNIL) {
    lua_pop(L, 2);
    return false;
  }
  lua_replace(L, -2);
  return true;
}
