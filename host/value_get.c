/* value_get.c - isolua.h: reading values, those of frozen tables too. */
/* SPDX-License-Identifier: MIT */
#include "value.h"

#include <string.h>

/* -- Frozen tables ------------------------------------------------------------------------------ */

static const isolua_value *if_there(const isolua_value *v) {
  return v->type != ISOLUA_TNIL ? v : NULL;
}

/* `child`: where that of a table in it is to be. True: it was one. */
static bool make_value(il_values *all, const il_frozen_table *t, const il_frozen_value *from,
                       isolua_value *to, il_vfrozen *child) {
  *to = (isolua_value){ISOLUA_TOTHER, {.integer = from->u.integer}};
  switch (from->kind) {
  case IL_F_NIL: to->type = ISOLUA_TNIL; break;
  case IL_F_FALSE:
  case IL_F_TRUE:
    to->type = ISOLUA_TBOOLEAN;
    to->u.integer = from->kind == IL_F_TRUE;
    break;
  case IL_F_INTEGER: to->type = ISOLUA_TINTEGER; break;
  case IL_F_FLOAT:
    to->type = ISOLUA_TNUMBER;
    to->u.number = from->u.number;
    break;
  case IL_F_STRING: {
    const il_frozen_string *s = il_frozen_string_of(t, from);
    to->type = ISOLUA_TSTRING;
    to->u.string.bytes = s->bytes;
    to->u.string.length = s->length;
    break;
  }
  case IL_F_BUFFER: {
    const il_frozen_buffer *b = il_frozen_buffer_of(t, from);
    to->type = ISOLUA_TBLOCK;
    to->u.buffer.block = (il_block *)il_frozen_of(t)->handles[from->handle];
    to->u.buffer.offset = b->offset;
    to->u.buffer.length = b->length;
    break;
  }
  case IL_F_TABLE:
  case IL_F_OTHER:
    *child = (il_vfrozen){.all = all, .table = il_frozen_table_of(t, from)};
    to->type = IL_TFROZEN;
    to->u.frozen = child;
    return true;
  default: break;
  }
  return false;
}

static size_t count_of(const il_frozen_table *t) {
  return t->list + 2 * (size_t)t->pairs;
}

/* The values of a frozen table, in its order. NULL: no memory. */
static isolua_value *make_values(il_vfrozen *f) {
  const il_frozen_table *t = f->table;
  size_t n = count_of(t), tables = 0;
  isolua_value *values;
  il_vfrozen *children;
  for (size_t i = 0; i < n; i++)
    tables += t->values[i].kind == IL_F_TABLE || t->values[i].kind == IL_F_OTHER;
  values = il_values_take(f->all, n * sizeof *values + tables * sizeof *children);
  if (values == NULL) return NULL;
  children = (il_vfrozen *)(values + n);
  for (size_t i = 0; i < n; i++)
    children += make_value(f->all, t, &t->values[i], &values[i], children);
  return values;
}

/* Whoever is the first to ask makes them for all. NULL: no memory. */
static isolua_value *values_of(il_vfrozen *f) {
  isolua_value *values = atomic_load(&f->values), *none = NULL;
  if (values != NULL) return values;
  values = make_values(f);
  if (values == NULL || atomic_compare_exchange_strong(&f->values, &none, values)) return values;
  return none;
}

static size_t list_of(const il_frozen_table *t) {
  size_t n = t->list;
  while (n > 0 && t->values[n - 1].kind == IL_F_NIL) n--;
  return n;
}

/* What a value that is a table has; false: it is none, or there is no memory. */
static bool table_of(const isolua_value *v, il_vtable *t) {
  const il_frozen_table *from;
  if (v != NULL && v->type == ISOLUA_TTABLE) {
    *t = *v->u.table;
    return true;
  }
  if (v == NULL || v->type != IL_TFROZEN) return false;
  from = v->u.frozen->table;
  *t = (il_vtable){.length = list_of(from), .npairs = from->pairs, .list = values_of(v->u.frozen)};
  t->pairs = t->list != NULL ? t->list + from->list : NULL;
  return t->list != NULL;
}

/* The value that stands where `from` does in the frozen table, which may be NULL. */
static const isolua_value *value_like(il_vfrozen *f, const il_frozen_value *from) {
  const isolua_value *values = from != NULL ? values_of(f) : NULL;
  return values != NULL ? if_there(&values[from - f->table->values]) : NULL;
}

/* -- isolua.h ---------------------------------------------------------------------------------- */

static bool is_text(const isolua_value *v, const char *s, size_t n) {
  return v->type == ISOLUA_TSTRING && v->u.string.length == n &&
         memcmp(v->u.string.bytes, s, n) == 0;
}

int isolua_value_type(const isolua_value *v) {
  if (v == NULL) return ISOLUA_TNONE;
  return v->type != IL_TFROZEN ? v->type : ISOLUA_TTABLE;
}

int isolua_value_boolean(const isolua_value *v) {
  return v != NULL && v->type == ISOLUA_TBOOLEAN && v->u.integer != 0;
}

long long isolua_value_integer(const isolua_value *v) {
  double n;
  if (v == NULL) return 0;
  if (v->type == ISOLUA_TINTEGER) return v->u.integer;
  if (v->type != ISOLUA_TNUMBER) return 0;
  n = v->u.number;
  return n >= -9223372036854775808.0 && n < 9223372036854775808.0 && (double)(long long)n == n
           ? (long long)n
           : 0;
}

double isolua_value_number(const isolua_value *v) {
  if (v == NULL) return 0;
  if (v->type == ISOLUA_TINTEGER) return (double)v->u.integer;
  return v->type == ISOLUA_TNUMBER ? v->u.number : 0;
}

const char *isolua_value_string(const isolua_value *v, size_t *length) {
  bool is = v != NULL && v->type == ISOLUA_TSTRING;
  if (length != NULL) *length = is ? v->u.string.length : 0;
  return is ? v->u.string.bytes : NULL;
}

size_t isolua_value_length(const isolua_value *v) {
  if (v == NULL) return 0;
  switch (v->type) {
  case ISOLUA_TSTRING: return v->u.string.length;
  case ISOLUA_TTABLE: return v->u.table->length;
  case IL_TFROZEN: return list_of(v->u.frozen->table);
  case ISOLUA_TBLOCK: return v->u.buffer.length;
  default: return 0;
  }
}

const isolua_value *isolua_value_at(const isolua_value *v, long long i) {
  const il_vtable *t;
  if (v == NULL) return NULL;
  if (v->type == IL_TFROZEN)
    return value_like(v->u.frozen, il_frozen_integer(v->u.frozen->table, i));
  if (v->type != ISOLUA_TTABLE) return NULL;
  t = v->u.table;
  if (i >= 1 && (unsigned long long)i <= t->length) return if_there(&t->list[i - 1]);
  for (size_t k = 0; k < t->npairs; k++)
    if (t->pairs[2 * k].type == ISOLUA_TINTEGER && t->pairs[2 * k].u.integer == i)
      return &t->pairs[2 * k + 1];
  return NULL;
}

const isolua_value *isolua_value_get(const isolua_value *v, const char *key) {
  const il_vtable *t;
  size_t n = strlen(key);
  if (v == NULL) return NULL;
  if (v->type == IL_TFROZEN)
    return value_like(v->u.frozen, il_frozen_text(v->u.frozen->table, key, n));
  if (v->type != ISOLUA_TTABLE) return NULL;
  t = v->u.table;
  if (t->index != NULL) {
    for (uint32_t k = il_text_hash(key, n) & t->mask; t->index[k] != 0; k = (k + 1) & t->mask) {
      const isolua_value *pair = &t->pairs[2 * (size_t)(t->index[k] - 1)];
      if (is_text(pair, key, n)) return pair + 1;
    }
    return NULL;
  }
  for (size_t k = 0; k < t->npairs; k++)
    if (is_text(&t->pairs[2 * k], key, n)) return &t->pairs[2 * k + 1];
  return NULL;
}

/* *at: items and pairs that were given. */
int isolua_value_next(const isolua_value *v, size_t *at, const isolua_value **key,
                      const isolua_value **value) {
  il_vtable t;
  size_t pair;
  if (!table_of(v, &t)) return 0;
  for (; *at < t.length; (*at)++) {
    if (t.list[*at].type == ISOLUA_TNIL) continue;
    *key = NULL;
    *value = &t.list[(*at)++];
    return 1;
  }
  pair = *at - t.length;
  if (pair >= t.npairs) return 0;
  *key = &t.pairs[2 * pair];
  *value = *key + 1;
  (*at)++;
  return 1;
}

isolua_sender *isolua_value_sender(const isolua_value *v) {
  if (v == NULL || v->type != ISOLUA_TPORT) return NULL;
  il_handle_retain(v->u.handle);
  return (isolua_sender *)v->u.handle;
}

isolua_block *isolua_value_block(const isolua_value *v, size_t *offset) {
  bool is = v != NULL && v->type == ISOLUA_TBLOCK;
  if (offset != NULL) *offset = is ? v->u.buffer.offset : 0;
  if (!is) return NULL;
  il_handle_retain(&v->u.buffer.block->h);
  return (isolua_block *)v->u.buffer.block;
}

isolua_atomic *isolua_value_atomic(const isolua_value *v) {
  if (v == NULL || v->type != ISOLUA_TCELL) return NULL;
  il_handle_retain(v->u.handle);
  return (isolua_atomic *)v->u.handle;
}
