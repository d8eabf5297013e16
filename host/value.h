/* value.h - the values of a message as a graph that C code reads, without Lua. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_VALUE_H
#define IL_VALUE_H

#include "buf.h"
#include "frozen.h"
#include "isolua.h"
#include "msg.h"

/*
** DESIGN. The graph is made of a message in one go, and never changes: so it needs no lock. It lies in blocks
** of an arena and is freed as a whole. Long strings, handles and blocks are the message's, which must live as
** long. What only Lua can make (functions, objects that were packed) is ISOLUA_TOTHER. Of a frozen graph,
** which may be large and is shared, the values of a table are made when one of them is first asked for: by
** several threads, of which one publishes what it has made.
*/
typedef struct il_values il_values;

typedef struct il_vtable {
  size_t length; /* of the list */
  isolua_value *list;
  size_t npairs;
  isolua_value *pairs; /* key, value, key, … */
  uint32_t *index;     /* by the hash of string keys: pair + 1; NULL: few pairs */
  uint32_t mask;
} il_vtable;

/* A table of a frozen graph. */
typedef struct il_vfrozen {
  il_values *all; /* who frees what is made */
  const il_frozen_table *table;
  _Atomic(isolua_value *) values; /* those of the table; NULL: nobody has asked */
} il_vfrozen;

enum { IL_TFROZEN = 100 }; /* a type of isolua_value: for C a table */

struct isolua_value {
  int type; /* ISOLUA_T…, or IL_TFROZEN */
  union {
    long long integer; /* also of a boolean */
    double number;
    struct {
      const char *bytes;
      size_t length;
    } string;
    il_vtable *table;
    il_vfrozen *frozen;
    il_handle *handle; /* ISOLUA_TPORT, ISOLUA_TCELL */
    struct {
      il_block *block;
      size_t offset, length;
    } buffer;
    int upvalues; /* ISOLUA_TOTHER, while it is read: of a function */
  } u;
};

/* NULL: no memory. */
il_values *il_values_new(const il_msg *m);
/* A value without parts, without a message. */
il_values *il_values_one(const isolua_value *value);
void il_values_free(il_values *all); /* NULL does nothing */
/* `n` bytes that live as long as they do; NULL: no memory. Thread: any. */
void *il_values_take(il_values *all, size_t n);
size_t il_values_count(const il_values *all);
const isolua_value *il_values_get(const il_values *all,
                                  size_t i); /* 0-based; NULL: there is none */

#endif
