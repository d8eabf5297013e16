/* dump.h - reads what lua_dump of Lua 5.4 writes: kinds of upvalues, names of globals. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_DUMP_H
#define IL_DUMP_H

#include <stdbool.h>
#include <stddef.h>

#define IL_MAX_UPVALUES 255 /* of a function in Lua 5.4: MAXUPVAL in lfunc.h */

/* One bit an upvalue. */
typedef struct il_upvalue_set {
  unsigned char bits[(IL_MAX_UPVALUES + 8) / 8];
} il_upvalue_set;

bool il_upvalue_has(const il_upvalue_set *set, int index); /* 0-based */
void il_upvalue_add(il_upvalue_set *set, int index);

/* Is it a chunk of the Lua version, and sizes, that this file knows? Else nothing else is asked. */
bool il_dump_known(const unsigned char *dump, size_t len);

/* Which upvalues of the main function are to-be-closed variables (`local x <close>`). */
void il_dump_closing(const unsigned char *dump, size_t len, il_upvalue_set *closing);

/* Calls `found` for every name that the function, or one nested in it, may read from the upvalues
** `env`, which hold the globals; a name may come several times. `found` may raise. */
void il_dump_globals(const unsigned char *dump, size_t len, const il_upvalue_set *env,
                     void (*found)(void *ud, const char *name, size_t len), void *ud);

/* A chunk that returns a new function of that chunk at each call, with upvalues of its own that are nil, in memory
** of malloc, of *size bytes. NULL: there is none, or no memory for it. */
unsigned char *il_dump_factory(const unsigned char *dump, size_t len, size_t *size);

#endif
