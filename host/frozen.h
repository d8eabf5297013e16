/* frozen.h - immutable graphs of tables outside of all Lua heaps, that isolates read in place. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_FROZEN_H
#define IL_FROZEN_H

#include "msg.h"

/*
** DESIGN. The whole graph is one block: tables, strings and indices, which refer to one another by their
** place in the block. It is made from a message, by one thread, and never changes from then on; so
** reading needs no lock. Only the ids of tables are given later, atomically.
**
** A table is a list of values, then pairs in the order in which they were met, then an index over the
** pairs: places + 1 of pairs, found by the hash of the key, 0 where none is.
*/
typedef struct il_frozen {
  il_handle h;
  unsigned char *base; /* il_frozen * at its start: what it belongs to */
  size_t size;
  il_handle **handles; /* of buffers and other frozen graphs in it, a hold on each */
  size_t nhandles;
  struct il_frozen *next; /* while it waits to be freed */
} il_frozen;

enum il_frozen_kind {
  IL_F_NIL,
  IL_F_FALSE,
  IL_F_TRUE,
  IL_F_INTEGER,
  IL_F_FLOAT,
  IL_F_STRING, /* place of an il_frozen_string */
  IL_F_TABLE,  /* place of an il_frozen_table */
  IL_F_OTHER,  /* place of a table of another graph, which is handle `handle` */
  IL_F_BUFFER, /* place of an il_frozen_buffer, over handle `handle` */
  IL_F_LIGHT   /* a pointer */
};

typedef struct il_frozen_value {
  uint32_t kind;
  uint32_t handle;
  union {
    int64_t integer;
    double number;
    uint64_t place;
    void *pointer;
  } u;
} il_frozen_value;

typedef struct il_frozen_string {
  uint64_t length;
  uint32_t hash;
  char bytes[4]; /* and more, with a zero behind them */
} il_frozen_string;

typedef struct il_frozen_buffer {
  uint64_t whole, offset, length;
} il_frozen_buffer;

typedef struct il_frozen_table {
  uint64_t place;           /* of itself */
  atomic_llong id;          /* 0: nobody has asked for it */
  uint64_t length;          /* what # gives */
  uint32_t list;            /* values in the list */
  uint32_t pairs;           /* behind them */
  uint32_t mask;            /* of the index behind these; 0: none */
  uint32_t spare;           /* for the alignment */
  il_frozen_value values[]; /* list + 2 * pairs of them */
} il_frozen_table;

/* Makes one of the table in a message that was encoded as plain data. With one hold; NULL: no memory. */
il_frozen *il_frozen_new(const il_msg *m);

extern const il_handle_type il_frozen_type;
extern atomic_size_t il_live_frozen;

static inline il_frozen_table *il_frozen_at(const il_frozen *f, uint64_t place) {
  return (il_frozen_table *)(f->base + place);
}

/* The graph that a table belongs to. */
static inline il_frozen *il_frozen_of(const il_frozen_table *t) {
  return *(il_frozen *const *)((const unsigned char *)t - t->place);
}

il_frozen_table *il_frozen_root(const il_frozen *f);
const il_frozen_string *il_frozen_string_of(const il_frozen_table *t, const il_frozen_value *v);
const il_frozen_buffer *il_frozen_buffer_of(const il_frozen_table *t, const il_frozen_value *v);
/* The table that a value of `t` is, in whatever graph; NULL: it is none. */
il_frozen_table *il_frozen_table_of(const il_frozen_table *t, const il_frozen_value *v);

/* The value of a key; NULL: none. Strings by their bytes; a table by itself. Thread: any. */
const il_frozen_value *il_frozen_integer(const il_frozen_table *t, int64_t key);
const il_frozen_value *il_frozen_text(const il_frozen_table *t, const char *key, size_t length);
const il_frozen_value *il_frozen_value_of(const il_frozen_table *t, const il_frozen_value *key);
const il_frozen_value *il_frozen_by_table(const il_frozen_table *t, const il_frozen_table *key);

long long il_frozen_id(il_frozen_table *t);

/* The hash of a text. */
uint32_t il_text_hash(const char *s, size_t n);

#endif
