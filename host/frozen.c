/* frozen.c - immutable graphs of tables outside of all Lua heaps. */
/* SPDX-License-Identifier: MIT */
#include "frozen.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"
#include "wire.h"

atomic_size_t il_live_frozen;

static void free_graph(il_frozen *f) {
  for (size_t i = 0; i < f->nhandles; i++) il_handle_release(f->handles[i]);
  free(f->handles);
  il_heap_resize(f->base, f->size, 0);
  free(f);
  atomic_fetch_sub_explicit(&il_live_frozen, 1, memory_order_relaxed);
}

/* Graphs in graphs, however deep, are freed one after the other: those that are found meanwhile wait. */
static void frozen_close(il_handle *h) {
  static _Thread_local il_frozen *waiting;
  static _Thread_local bool busy;
  il_frozen *f = (il_frozen *)h; /* its first member */
  f->next = waiting;
  waiting = f;
  if (busy) return;
  busy = true;
  while ((f = waiting) != NULL) {
    waiting = f->next;
    free_graph(f);
  }
  busy = false;
}

const il_handle_type il_frozen_type = {.name = "isolate.frozen", .close = frozen_close};

/* -- Keys -------------------------------------------------------------------------------------- */

static uint32_t mix(uint64_t v) {
  v *= 0x9E3779B97F4A7C15u;
  return (uint32_t)(v >> 32) ^ (uint32_t)(v >> 57);
}

/* Eight bytes at a time. */
uint32_t il_text_hash(const char *s, size_t n) {
  uint64_t h = n * 0xff51afd7ed558ccdu, v;
  for (; n >= 8; s += 8, n -= 8) {
    memcpy(&v, s, 8);
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    h ^= h >> 29;
  }
  v = 0;
  memcpy(&v, s, n);
  return mix(h ^ v);
}

static uint32_t hash_value(const unsigned char *base, const il_frozen_value *v) {
  switch (v->kind) {
  case IL_F_STRING: return ((const il_frozen_string *)(base + v->u.place))->hash;
  case IL_F_FALSE:
  case IL_F_TRUE: return v->kind;
  default: return mix((uint64_t)v->u.integer + v->kind);
  }
}

const il_frozen_string *il_frozen_string_of(const il_frozen_table *t, const il_frozen_value *v) {
  return (const il_frozen_string *)((const unsigned char *)t - t->place + v->u.place);
}

const il_frozen_buffer *il_frozen_buffer_of(const il_frozen_table *t, const il_frozen_value *v) {
  return (const il_frozen_buffer *)((const unsigned char *)t - t->place + v->u.place);
}

static const uint32_t *index_of(const il_frozen_table *t) {
  return (const uint32_t *)(t->values + t->list + 2 * (size_t)t->pairs);
}

static const il_frozen_value *pair_at(const il_frozen_table *t, uint32_t i) {
  return t->values + t->list + 2 * (size_t)i;
}

const il_frozen_value *il_frozen_text(const il_frozen_table *t, const char *key, size_t length) {
  const uint32_t *index = index_of(t);
  uint32_t hash = il_text_hash(key, length), at;
  if (t->mask == 0) return NULL;
  for (uint32_t i = hash & t->mask; (at = index[i]) != 0; i = (i + 1) & t->mask) {
    const il_frozen_value *pair = pair_at(t, at - 1);
    const il_frozen_string *s;
    if (pair->kind != IL_F_STRING) continue;
    s = il_frozen_string_of(t, pair);
    if (s->hash == hash && s->length == length && memcmp(s->bytes, key, length) == 0)
      return pair + 1;
  }
  return NULL;
}

/* Any but a string; the same bits are the same key. */
const il_frozen_value *il_frozen_value_of(const il_frozen_table *t, const il_frozen_value *key) {
  const uint32_t *index = index_of(t);
  uint32_t at;
  if (t->mask == 0) return NULL;
  for (uint32_t i = hash_value(NULL, key) & t->mask; (at = index[i]) != 0; i = (i + 1) & t->mask) {
    const il_frozen_value *pair = pair_at(t, at - 1);
    if (pair->kind == key->kind && pair->u.integer == key->u.integer) return pair + 1;
  }
  return NULL;
}

const il_frozen_value *il_frozen_integer(const il_frozen_table *t, int64_t key) {
  il_frozen_value v = {IL_F_INTEGER, 0, {.integer = key}};
  if ((uint64_t)key - 1 < t->list) return &t->values[key - 1];
  return il_frozen_value_of(t, &v);
}

il_frozen_table *il_frozen_table_of(const il_frozen_table *t, const il_frozen_value *v) {
  const il_frozen *f = il_frozen_of(t);
  if (v->kind == IL_F_TABLE) return il_frozen_at(f, v->u.place);
  if (v->kind == IL_F_OTHER)
    return il_frozen_at((const il_frozen *)f->handles[v->handle], v->u.place);
  return NULL;
}

/* One of another graph is looked for among all: its place says nothing here. */
const il_frozen_value *il_frozen_by_table(const il_frozen_table *t, const il_frozen_table *key) {
  il_frozen_value v = {IL_F_TABLE, 0, {.place = key->place}};
  if (il_frozen_of(t) == il_frozen_of(key)) return il_frozen_value_of(t, &v);
  for (uint32_t i = 0; i < t->pairs; i++)
    if (pair_at(t, i)->kind == IL_F_OTHER && il_frozen_table_of(t, pair_at(t, i)) == key)
      return pair_at(t, i) + 1;
  return NULL;
}

il_frozen_table *il_frozen_root(const il_frozen *f) {
  uint64_t place;
  memcpy(&place, f->base + sizeof f, sizeof place);
  return il_frozen_at(f, place);
}

long long il_frozen_id(il_frozen_table *t) {
  long long id = atomic_load_explicit(&t->id, memory_order_relaxed), mine;
  if (id != 0) return id;
  mine = il_next_id();
  return atomic_compare_exchange_strong_explicit(&t->id, &id, mine, memory_order_relaxed,
                                                 memory_order_relaxed)
           ? mine
           : id;
}

/* -- Making ------------------------------------------------------------------------------------ */

/* A table whose parts are being read. */
typedef struct frame {
  uint64_t number; /* of the table */
  size_t first;    /* of its values in hand */
  size_t list;     /* how many are in its list, once `pairs` */
  bool pairs;
} frame;

typedef struct builder {
  const il_msg *m;
  const unsigned char *at;
  il_frozen *f;
  size_t room;             /* of f->base; f->size is what is used */
  il_frozen_value *values; /* of all tables in hand */
  size_t nvalues, roomvalues;
  frame *frames;
  size_t nframes, roomframes;
  uint64_t
    *tables; /* places of tables by number, from 0; until they are written values have numbers */
  size_t ntables, roomtables;
  il_frozen_value *slots;
  uint64_t *texts; /* places of strings, by hash; 0: free */
  size_t ntexts, maskoftexts;
  bool failed; /* no memory */
} builder;

static bool grow(builder *b, void **array, size_t count, size_t *room, size_t size) {
  size_t more = *room * 2 + 64;
  void *bigger;
  if (count < *room) return true;
  bigger = il_heap_resize(*array, *room * size, more * size);
  if (bigger == NULL) {
    b->failed = true;
    return false;
  }
  *array = bigger;
  *room = more;
  return true;
}

#define SPREAD 3 /* bytes of a graph for one of its message, about */

/* Room for all of it, most likely: what is not touched costs nothing, a larger block that it is copied
** to does. */
static void expect(builder *b) {
  size_t room = b->m->len * SPREAD + 256;
  b->f->base = il_heap_resize(NULL, 0, room);
  b->room = b->f->base != NULL ? room : 0;
}

/* `n` bytes more in the block, zeros, aligned to eight; their place, 0: no memory. */
static uint64_t reserve(builder *b, size_t n) {
  il_frozen *f = b->f;
  size_t place = f->size, all;
  n = (n + 7) & ~(size_t)7;
  all = place + n;
  if (all > b->room) {
    size_t room = b->room * 2 > all ? b->room * 2 : all;
    unsigned char *base = il_heap_resize(f->base, b->room, room);
    if (base == NULL) {
      b->failed = true;
      return 0;
    }
    f->base = base;
    b->room = room;
  }
  memset(f->base + place, 0, n);
  f->size = all;
  return place;
}

static bool grow_texts(builder *b) {
  size_t mask = b->maskoftexts * 2 + 1;
  uint64_t *texts;
  if (mask < 255) mask = 255;
  texts = il_heap_resize(NULL, 0, (mask + 1) * sizeof *texts);
  if (texts == NULL) {
    b->failed = true;
    return false;
  }
  memset(texts, 0, (mask + 1) * sizeof *texts);
  for (size_t i = 0; b->texts != NULL && i <= b->maskoftexts; i++) {
    size_t k;
    if (b->texts[i] == 0) continue;
    k = ((const il_frozen_string *)(b->f->base + b->texts[i]))->hash & mask;
    while (texts[k] != 0) k = (k + 1) & mask;
    texts[k] = b->texts[i];
  }
  if (b->texts != NULL) il_heap_resize(b->texts, (b->maskoftexts + 1) * sizeof *texts, 0);
  b->texts = texts;
  b->maskoftexts = mask;
  return true;
}

/* The same text lies in the block once. */
static uint64_t put_text(builder *b, const char *s, size_t n) {
  uint32_t hash = il_text_hash(s, n);
  il_frozen_string *t;
  uint64_t place;
  size_t i;
  if (b->ntexts * 2 >= b->maskoftexts && !grow_texts(b)) return 0;
  for (i = hash & b->maskoftexts; b->texts[i] != 0; i = (i + 1) & b->maskoftexts) {
    t = (il_frozen_string *)(b->f->base + b->texts[i]);
    if (t->hash == hash && t->length == n && memcmp(t->bytes, s, n) == 0) return b->texts[i];
  }
  place = reserve(b, offsetof(il_frozen_string, bytes) + n + 1);
  if (place == 0) return 0;
  t = (il_frozen_string *)(b->f->base + place);
  t->length = n;
  t->hash = hash;
  memcpy(t->bytes, s, n);
  b->texts[i] = place;
  b->ntexts++;
  return place;
}

static uint32_t get32(builder *b) {
  uint32_t v = il_get32(b->at);
  b->at += 4;
  return v;
}

static uint64_t get64(builder *b) {
  uint64_t v = il_get64(b->at);
  b->at += 8;
  return v;
}

static void keep(builder *b, uint32_t slot, const il_frozen_value *v) {
  if (slot != 0) b->slots[slot] = *v;
}

static void push_frame(builder *b, uint64_t number) {
  if (!grow(b, (void **)&b->frames, b->nframes, &b->roomframes, sizeof *b->frames)) return;
  b->frames[b->nframes++] = (frame){number, b->nvalues, 0, false};
}

/* The hold of the message on a handle, as one of the graph's own; which one. */
static uint32_t take_handle(builder *b, uint32_t index) {
  il_handle_retain(b->m->handles[index]);
  b->f->handles[b->f->nhandles] = b->m->handles[index];
  return (uint32_t)b->f->nhandles++;
}

static void get_text(builder *b, int tag, il_frozen_value *v) {
  uint32_t slot = get32(b);
  size_t n = tag == W_SHORT ? *b->at++ : (size_t)get64(b);
  v->kind = IL_F_STRING;
  v->u.place = put_text(b, (const char *)b->at, n);
  b->at += n + (tag == W_STRING);
  keep(b, slot, v);
}

/* Its parts follow, here or later. */
static void get_table(builder *b, int tag, il_frozen_value *v) {
  uint32_t slot = get32(b);
  v->kind = IL_F_TABLE;
  v->u.place = b->ntables;
  if (!grow(b, (void **)&b->tables, b->ntables, &b->roomtables, sizeof *b->tables)) return;
  b->tables[b->ntables++] = 0;
  keep(b, slot, v);
  if (tag == W_TABLE) b->at += 8;
}

static void get_buffer(builder *b, int tag, il_frozen_value *v) {
  uint32_t slot = get32(b);
  uint64_t place = reserve(b, sizeof(il_frozen_buffer));
  il_frozen_buffer *buffer = (il_frozen_buffer *)(b->f->base + place);
  v->kind = IL_F_BUFFER;
  v->u.place = place;
  if (tag == W_BUFFER) {
    v->handle = take_handle(b, get32(b));
    b->at++;
  } else {
    v->handle = b->slots[get32(b)].handle;
  }
  if (place == 0) return;
  buffer->whole = *b->at++;
  buffer->offset = get64(b);
  buffer->length = get64(b);
  keep(b, slot, v);
}

static void get_frozen(builder *b, il_frozen_value *v) {
  uint32_t slot = get32(b);
  v->kind = IL_F_OTHER;
  v->handle = take_handle(b, get32(b));
  v->u.place = get64(b);
  keep(b, slot, v);
}

/* The value at hand is pushed; a table with parts becomes a frame. */
static void get_value(builder *b) {
  il_frozen_value v = {IL_F_NIL, 0, {0}};
  int tag = *b->at++;
  switch (tag) {
  case W_NIL: break;
  case W_FALSE: v.kind = IL_F_FALSE; break;
  case W_TRUE: v.kind = IL_F_TRUE; break;
  case W_INT:
  case W_FLOAT:
  case W_LIGHT:
    v.kind = tag == W_INT ? IL_F_INTEGER : tag == W_FLOAT ? IL_F_FLOAT : IL_F_LIGHT;
    v.u.place = get64(b);
    break;
  case W_STRING:
  case W_SHORT: get_text(b, tag, &v); break;
  case W_REF: v = b->slots[get32(b)]; break;
  case W_TABLE:
  case W_TABLE_LATER: get_table(b, tag, &v); break;
  case W_BUFFER:
  case W_SLICE: get_buffer(b, tag, &v); break;
  default: assert(tag == W_FROZEN); get_frozen(b, &v);
  }
  if (b->failed || !grow(b, (void **)&b->values, b->nvalues, &b->roomvalues, sizeof v)) return;
  b->values[b->nvalues++] = v;
  if (tag == W_TABLE) push_frame(b, v.u.place);
}

static void get_run(builder *b, int tag) {
  for (uint32_t n = get32(b); n > 0; n--) {
    il_frozen_value v = {tag == W_INTS ? IL_F_INTEGER : IL_F_FLOAT, 0, {.place = get64(b)}};
    if (!grow(b, (void **)&b->values, b->nvalues, &b->roomvalues, sizeof v)) return;
    b->values[b->nvalues++] = v;
  }
}

static uint32_t mask_for(size_t pairs) {
  size_t mask = 1;
  while (pairs > 0 && mask + 1 < pairs * 2) mask = mask * 2 + 1;
  return pairs > 0 ? (uint32_t)mask : 0;
}

/* The values of the innermost frame become its table. */
static void end_table(builder *b) {
  const frame *f = &b->frames[--b->nframes];
  size_t n = b->nvalues - f->first, list = f->pairs ? f->list : n, pairs = (n - list) / 2;
  uint32_t mask = mask_for(pairs);
  il_frozen_table *t;
  uint64_t place;
  if (n > UINT32_MAX / 4) {
    b->failed = true;
    return;
  }
  place = reserve(b, sizeof *t + n * sizeof *t->values +
                       (mask > 0 ? ((size_t)mask + 1) * sizeof(uint32_t) : 0));
  if (place == 0 || b->tables == NULL) return;
  t = (il_frozen_table *)(b->f->base + place);
  t->place = place;
  t->list = (uint32_t)list;
  t->pairs = (uint32_t)pairs;
  t->mask = mask;
  if (n > 0) memcpy(t->values, b->values + f->first, n * sizeof *t->values);
  b->nvalues = f->first;
  b->tables[f->number] = place;
}

/* Reads until the frames that are there now are through. */
static void run_frames(builder *b) {
  while (b->nframes > 0 && !b->failed) {
    frame *f = &b->frames[b->nframes - 1];
    switch (*b->at) {
    case W_INTS:
    case W_FLOATS: get_run(b, *b->at++); break;
    case W_HASH:
      b->at++;
      f->pairs = true;
      f->list = b->nvalues - f->first;
      break;
    case W_END:
      b->at++;
      end_table(b);
      break;
    default: get_value(b);
    }
  }
}

static void get_root(builder *b) {
  get_value(b);
  run_frames(b);
  while (!b->failed && *b->at == W_BODY) {
    b->at++;
    push_frame(b, b->slots[get32(b)].u.place);
    run_frames(b);
  }
}

/* -- Ending: numbers become places, and keys get their index -------------------------------------- */

static void end_index(const builder *b, il_frozen_table *t) {
  uint32_t *index = (uint32_t *)(t->values + t->list + 2 * (size_t)t->pairs);
  for (uint32_t i = 0; i < t->pairs; i++) {
    uint32_t at = hash_value(b->f->base, pair_at(t, i)) & t->mask;
    while (index[at] != 0) at = (at + 1) & t->mask;
    index[at] = i + 1;
  }
}

/* What # gives: the end of the list, or further on where the pairs go on with it. */
static void end_length(il_frozen_table *t) {
  uint64_t n = t->list;
  while (n > 0 && t->values[n - 1].kind == IL_F_NIL) n--;
  if (n == t->list)
    while (il_frozen_integer(t, (int64_t)n + 1) != NULL) n++;
  t->length = n;
}

static void end_all(builder *b) {
  for (size_t k = 0; k < b->ntables; k++) {
    il_frozen_table *t = il_frozen_at(b->f, b->tables[k]);
    for (size_t i = 0; i < t->list + 2 * (size_t)t->pairs; i++)
      if (t->values[i].kind == IL_F_TABLE) t->values[i].u.place = b->tables[t->values[i].u.place];
  }
  for (size_t k = 0; k < b->ntables; k++) {
    il_frozen_table *t = il_frozen_at(b->f, b->tables[k]);
    end_index(b, t);
    end_length(t);
  }
}

static void builder_fini(builder *b) {
  il_heap_resize(b->values, b->roomvalues * sizeof *b->values, 0);
  il_heap_resize(b->frames, b->roomframes * sizeof *b->frames, 0);
  il_heap_resize(b->tables, b->roomtables * sizeof *b->tables, 0);
  if (b->texts != NULL) il_heap_resize(b->texts, (b->maskoftexts + 1) * sizeof *b->texts, 0);
  free(b->slots);
}

static il_frozen *begin(builder *b) {
  uint32_t slots = il_get32(b->m->data + 1);
  il_frozen *f = calloc(1, sizeof *f);
  if (f == NULL) return NULL;
  il_handle_init(&f->h, &il_frozen_type);
  atomic_fetch_add_explicit(&il_live_frozen, 1, memory_order_relaxed);
  b->f = f;
  b->slots = calloc((size_t)slots + 1, sizeof *b->slots);
  f->handles = calloc(b->m->nhandles + 1, sizeof(il_handle *));
  expect(b);
  reserve(b, sizeof f + sizeof(uint64_t));
  if (b->slots == NULL || f->handles == NULL || f->base == NULL) b->failed = true;
  return f;
}

il_frozen *il_frozen_new(const il_msg *m) {
  builder b = {.m = m, .at = m->data + 1 + 4 + 4 + 8 + 1}; /* one root: see wire.h */
  il_frozen *f = begin(&b);
  if (f == NULL) return NULL;
  if (!b.failed) get_root(&b);
  if (!b.failed && b.ntables > 0) {
    unsigned char *fits = il_heap_resize(f->base, b.room, f->size);
    if (fits != NULL) f->base = fits;
    if (fits == NULL) f->size = b.room;
    end_all(&b);
    memcpy(f->base, &f, sizeof f);
    *(uint64_t *)(f->base + sizeof f) = *b.tables;
  } else {
    f->size = b.room;
    il_handle_release(&f->h);
    f = NULL;
  }
  builder_fini(&b);
  return f;
}
