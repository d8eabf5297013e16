/* names.h - what goes by name: standard functions, modules and their fields, registered values. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_NAMES_H
#define IL_NAMES_H

#include "state.h"

/* -- The standard libraries, the same in every state ------------------------------------------- */

/* Bits of il_vm.libs. The base library is always there. */
#define IL_LIBS(X) X(coroutine) X(debug) X(io) X(math) X(os) X(package) X(string) X(table) X(utf8)
enum il_lib_number {
#define X(name) IL_LIB_##name,
  IL_LIBS(X)
#undef X
    IL_LIB_COUNT
};
#define IL_LIB(name) (1u << IL_LIB_##name)
#define IL_LIBS_ALL ((1u << IL_LIB_COUNT) - 1)

const char *il_lib_name(int number);
/* The bit of a library's name; 0: there is no such library. */
unsigned il_lib_bit(const char *name, size_t len);
/* Bits of the libraries that ISOLUA_NO_* flags forbid. */
unsigned il_libs_forbidden(unsigned forbid);
/* Is it a global of the base library or the name of a standard library? */
bool il_is_standard_global(const char *name, size_t len);

/* Is it a module of the library itself? Their fields are made when they are asked for. */
bool il_names_is_own(const il_vm *vm, const char *name);

/* A standard C function without upvalues: which library it needs and what it is called. */
typedef struct il_std_function {
  lua_CFunction function; /* as the library has it */
  lua_CFunction ours;     /* as isolates have it, or NULL: the same */
  unsigned lib;           /* bit; 0: base */
  bool barred;            /* isolates may not have it */
  char name[32];          /* "string.rep" */
} il_std_function;

typedef struct il_std il_std;
/* Learns them from a state with the libraries open. NULL: no memory. */
il_std *il_std_new(lua_State *L);
void il_std_free(void *std);
/* Isolates have `ours` under this name. Before the host starts anything. */
void il_std_replace(il_std *std, const char *name, lua_CFunction ours);
void il_std_bar(il_std *std, const char *name);
/* By function (ours or theirs); -1: not one of them. */
int il_std_find(const il_std *std, lua_CFunction function);
/* The library's own function of a name that it has. */
lua_CFunction il_std_named(const il_std *std, const char *name);
const il_std_function *il_std_get(const il_std *std, int index);

/* -- Names in one state ------------------------------------------------------------------------ */

void il_names_init(il_names *n);
void il_names_fini(il_names *n);
/* Begins to keep the names of `L`: watches what will be loaded, and looks at what is; a fresh state of
** ours has only the standard libraries, so there that waits for the first look. [-0, +0, m] */
void il_names_open(il_vm *vm, lua_State *L);
/* Looks again at modules that were put in by hand. [-0, +0, m] */
void il_names_refresh(il_vm *vm, lua_State *L);

/*
** The name of the value at `index`, if it has one: pushes the kind's strings and returns the kind.
**   IL_BY_MODULE: pushes module and field (field nil: the module itself). [-0, +2, m]
**   IL_BY_REGISTER: pushes the registered name and nil. [-0, +2, m]
**   IL_BY_NONE: pushes nothing. [-0, +0, m]
*/
enum il_by { IL_BY_NONE, IL_BY_MODULE, IL_BY_REGISTER };
enum il_by il_names_find(il_vm *vm, lua_State *L, int index);

/* The place of an address in the filter, or the free one where it would go. */
static inline size_t il_names_place(const il_names *n, const void *p) {
  uint64_t h = (uint64_t)(uintptr_t)p * 0x9E3779B97F4A7C15u;
  size_t i = (size_t)(h >> 32) & n->mask;
  while (n->filter[i] != NULL && n->filter[i] != p) i = (i + 1) & n->mask;
  return i;
}

/* False: the object with this address has no name. Nearly every one hasn't. */
static inline bool il_names_may_have(const il_names *n, const void *p) {
  return n->mask != 0 && n->filter[il_names_place(n, p)] == p;
}

/* Can a fresh isolate with `libs` resolve the module at `index` (a string)? [-0, +0, m] */
bool il_names_findable(lua_State *L, int index, unsigned libs);

/* The embedder has given this state the module of that name, and will give it to others. [-0, +0, m] */
void il_names_give(lua_State *L, const char *name);

/* Pushes what module (and field, or NULL) stand for here; raises when it cannot. [-0, +1, e] */
void il_names_resolve(il_vm *vm, lua_State *L, const char *module, const char *field);

/* The metatable of error objects, registered in every state (handle.c). [-0, +1, m] */
#define IL_ERROR_NAME "isolate.error"
void il_error_metatable_push(lua_State *L);
int il_error_tostring(lua_State *L);
int il_error_concat(lua_State *L); /* its __tostring, which goes by name like a standard one */

/* Registered names. il_names_registered pushes the value, or returns false and pushes nothing. A
** copy that came by a name keeps it (il_names_adopt): sent back it goes by that name. */
void il_names_register(il_vm *vm, lua_State *L, const char *name, int index);
bool il_names_registered(lua_State *L, const char *name);
void il_names_adopt(il_vm *vm, lua_State *L, const char *name, int index);

#endif
