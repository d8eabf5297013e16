/* value.c - the values of a message as a graph that C code reads, without Lua. */
/* SPDX-License-Identifier: MIT */
#include "value.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "heap.h"
#include "wire.h"

/* -- The arena --------------------------------------------------------------------------------- */

typedef struct piece {
  struct piece *next;
  size_t used, size; /* bytes behind this */
  max_align_t bytes[];
} piece;

#define PIECE 4000 /* bytes of the first one; those that follow are larger */

struct il_values {
  piece *pieces;         /* the newest first */
  _Atomic(piece *) late; /* those of il_values_take */
  size_t count;
  isolua_value *roots;
  isolua_value one; /* il_values_one */
};

/* NULL: no memory. */
static void *take(il_values *all, size_t n) {
  piece *p = all->pieces;
  void *at;
  n = (n + 15) & ~(size_t)15;
  if (p == NULL || n > p->size - p->used) {
    size_t size = p != NULL ? 2 * p->size : PIECE;
    if (size < n) size = n;
    p = malloc(sizeof *p + size);
    if (p == NULL) return NULL;
    p->next = all->pieces;
    p->used = 0;
    p->size = size;
    all->pieces = p;
  }
  at = (char *)p->bytes + p->used;
  p->used += n;
  return at;
}

void *il_values_take(il_values *all, size_t n) {
  piece *p = malloc(sizeof *p + n);
  if (p == NULL) return NULL;
  p->next = atomic_load(&all->late);
  while (!atomic_compare_exchange_weak(&all->late, &p->next, p)) continue;
  return p->bytes;
}

static void free_pieces(piece *p) {
  while (p != NULL) {
    piece *next = p->next;
    free(p);
    p = next;
  }
}

void il_values_free(il_values *all) {
  if (all == NULL) return;
  free_pieces(all->pieces);
  free_pieces(atomic_load(&all->late));
  free(all);
}

/* -- Reading a message ------------------------------------------------------------------------- */

/*
** What is read lies on a stack of values. A table's value is pushed before its parts, which lie above it and go
** into the arena when it ends. Functions and packed objects are read for the slots in them, and dropped.
*/
enum kind { LIST, FIELDS, PAIRS, META, UPVALUES, REGISTERED, PACKED };

typedef struct frame {
  enum kind kind;
  size_t first; /* of its values */
  size_t list;  /* how many are in its list, once it has ended */
  il_vtable *table;
  int left;      /* UPVALUES: to come; FIELDS: keys to come */
  int key;       /* FIELDS: the place of the next one */
  uint32_t slot; /* REGISTERED */
} frame;

typedef struct reader {
  const il_msg *m;
  const unsigned char *at;
  il_values *all;
  isolua_value *values;
  size_t nvalues, roomvalues;
  frame *frames;
  size_t nframes, roomframes;
  isolua_value *slots;
  isolua_value *places; /* keys of records */
  uint32_t adopt;       /* slot of a registered value whose copy comes next; 0: none */
  bool failed;          /* no memory */
  frame none;           /* where one is written then */
} reader;

static uint32_t get32(reader *r) {
  uint32_t v = il_get32(r->at);
  r->at += 4;
  return v;
}

static uint64_t get64(reader *r) {
  uint64_t v = il_get64(r->at);
  r->at += 8;
  return v;
}

static void skip_str(reader *r) {
  uint32_t n = get32(r);
  r->at += n + 1;
}

static bool grow(reader *r, void **array, size_t count, size_t *room, size_t size) {
  size_t more = *room * 2 + 32;
  void *bigger;
  if (count < *room) return true;
  bigger = realloc(*array, more * size);
  if (bigger == NULL) {
    r->failed = true;
    return false;
  }
  *array = bigger;
  *room = more;
  return true;
}

static void push(reader *r, const isolua_value *v) {
  if (grow(r, (void **)&r->values, r->nvalues, &r->roomvalues, sizeof *v))
    r->values[r->nvalues++] = *v;
}

static frame *push_frame(reader *r, enum kind kind) {
  frame *f = &r->none;
  if (grow(r, (void **)&r->frames, r->nframes, &r->roomframes, sizeof *f))
    f = &r->frames[r->nframes++];
  memset(f, 0, sizeof *f);
  f->kind = kind;
  f->first = r->nvalues;
  return f;
}

static void keep(reader *r, uint32_t slot, const isolua_value *v) {
  if (slot != 0) r->slots[slot] = *v;
}

/* The head of a table or function: a registered copy also stands for its name's slot. */
static void keep_head(reader *r, uint32_t slot, const isolua_value *v) {
  keep(r, slot, v);
  keep(r, r->adopt, v);
  r->adopt = 0;
}

static void get_text(reader *r, int tag, isolua_value *v) {
  uint32_t slot = get32(r);
  size_t n = tag == W_SHORT ? *r->at++ : (size_t)get64(r);
  v->type = ISOLUA_TSTRING;
  v->u.string.length = n;
  v->u.string.bytes = (const char *)r->at;
  if (tag == W_SHORT) { /* there it has no zero behind it */
    char *copy = take(r->all, n + 1);
    if (copy == NULL) {
      r->failed = true;
      return;
    }
    memcpy(copy, r->at, n);
    copy[n] = '\0';
    v->u.string.bytes = copy;
  }
  r->at += n + (tag == W_STRING);
  keep(r, slot, v);
}

/* A table whose parts follow, here or later. */
static il_vtable *new_table(reader *r, isolua_value *v) {
  il_vtable *t = take(r->all, sizeof *t);
  if (t == NULL) {
    r->failed = true;
    return NULL;
  }
  memset(t, 0, sizeof *t);
  v->type = ISOLUA_TTABLE;
  v->u.table = t;
  return t;
}

static void get_table(reader *r, int tag) {
  isolua_value v = {ISOLUA_TNIL, {0}};
  uint32_t slot = get32(r);
  il_vtable *t = new_table(r, &v);
  if (tag == W_TABLE) r->at += 8;
  keep_head(r, slot, &v);
  push(r, &v);
  if (tag == W_TABLE) push_frame(r, LIST)->table = t;
}

static void get_record(reader *r) {
  isolua_value v = {ISOLUA_TNIL, {0}};
  uint32_t slot = get32(r);
  il_vtable *t = new_table(r, &v);
  int place = *r->at++, n = *r->at++;
  frame *f;
  r->at += 4;
  keep(r, slot, &v);
  push(r, &v);
  f = push_frame(r, FIELDS);
  f->table = t;
  f->key = place;
  f->left = n;
}

static void get_function(reader *r, int tag) {
  isolua_value v = {ISOLUA_TOTHER, {0}};
  uint32_t slot = get32(r);
  int nup = *r->at++;
  if (tag == W_FUNC_SHARED) {
    r->at += 4;
  } else {
    uint64_t place = get64(r);
    if (r->at == r->m->data + place) r->at += 8 + il_get64(r->m->data + place);
  }
  v.u.upvalues = nup;
  keep_head(r, slot, &v);
  push(r, &v);
  if (tag != W_FUNC_LATER) push_frame(r, UPVALUES)->left = nup;
}

static void get_handle(reader *r, isolua_value *v) {
  uint32_t slot = get32(r);
  il_handle *h = r->m->handles[get32(r)];
  if (h != NULL) {
    /* only senders have a release of their own */
    v->type = h->type->release != NULL   ? ISOLUA_TPORT
              : h->type == &il_cell_type ? ISOLUA_TCELL
                                         : ISOLUA_TOTHER;
    v->u.handle = h;
  }
  keep(r, slot, v);
}

static void get_buffer(reader *r, int tag, isolua_value *v) {
  uint32_t slot = get32(r);
  size_t offset, length;
  if (tag == W_BUFFER) {
    v->u.buffer.block = (il_block *)r->m->handles[get32(r)];
    r->at++;
  } else {
    v->u.buffer.block = r->slots[get32(r)].u.buffer.block;
  }
  r->at++;
  offset = (size_t)get64(r);
  length = (size_t)get64(r);
  v->type = v->u.buffer.block != NULL ? ISOLUA_TBLOCK : ISOLUA_TOTHER; /* NULL: Lua has taken it */
  v->u.buffer.offset = offset;
  v->u.buffer.length = length;
  keep(r, slot, v);
}

static void get_frozen(reader *r, isolua_value *v) {
  uint32_t slot = get32(r);
  const il_frozen *f = (const il_frozen *)r->m->handles[get32(r)];
  uint64_t place = get64(r);
  il_vfrozen *frozen = take(r->all, sizeof *frozen);
  if (frozen == NULL) {
    r->failed = true;
    return;
  }
  *frozen = (il_vfrozen){.all = r->all, .table = il_frozen_at(f, place)};
  v->type = IL_TFROZEN;
  v->u.frozen = frozen;
  keep(r, slot, v);
}

/* The value at hand is pushed; what has parts becomes a frame too. */
static void get_value(reader *r) {
  isolua_value v = {ISOLUA_TOTHER, {0}};
  frame *f;
  int tag = *r->at++;
  switch (tag) {
  case W_NIL: v.type = ISOLUA_TNIL; break;
  case W_FALSE:
  case W_TRUE:
    v.type = ISOLUA_TBOOLEAN;
    v.u.integer = tag == W_TRUE;
    break;
  case W_INT:
    v.type = ISOLUA_TINTEGER;
    v.u.integer = (long long)get64(r);
    break;
  case W_FLOAT: {
    uint64_t bits = get64(r);
    v.type = ISOLUA_TNUMBER;
    memcpy(&v.u.number, &bits, sizeof bits);
    break;
  }
  case W_STRING:
  case W_SHORT: get_text(r, tag, &v); break;
  case W_REF: v = r->slots[get32(r)]; break;
  case W_TABLE:
  case W_TABLE_LATER: get_table(r, tag); return;
  case W_RECORD: get_record(r); return;
  case W_FUNC:
  case W_FUNC_LATER:
  case W_FUNC_SHARED: get_function(r, tag); return;
  case W_GLOBALS: break;
  case W_STD: r->at += 2; break;
  case W_NAMED: {
    uint32_t slot = get32(r);
    skip_str(r);
    if (*r->at++) skip_str(r);
    keep(r, slot, &v);
    break;
  }
  case W_REGISTERED:
    f = push_frame(r, REGISTERED);
    r->adopt = f->slot = get32(r);
    skip_str(r);
    return;
  case W_PACKED: {
    uint32_t slot = get32(r);
    skip_str(r);
    skip_str(r);
    keep(r, slot, &v);
    push(r, &v);
    push_frame(r, PACKED);
    return;
  }
  case W_HANDLE: get_handle(r, &v); break;
  case W_BUFFER:
  case W_SLICE: get_buffer(r, tag, &v); break;
  case W_FROZEN: get_frozen(r, &v); break;
  default: assert(tag == W_LIGHT || tag == W_CFUNC); r->at += 8;
  }
  push(r, &v);
}

static void get_run(reader *r, int tag) {
  for (uint32_t n = get32(r); n > 0; n--) {
    isolua_value v = {ISOLUA_TINTEGER, {.integer = (long long)get64(r)}};
    if (tag == W_FLOATS) {
      v.type = ISOLUA_TNUMBER;
      memcpy(&v.u.number, r->at - 8, sizeof v.u.number);
    }
    push(r, &v);
  }
}

static void get_shape(reader *r) {
  int place = *r->at++, n = *r->at++;
  for (int i = place; i < place + n && !r->failed; i++) {
    get_value(r);
    if (!r->failed) r->places[i] = r->values[--r->nvalues];
  }
}

/* -- Ending tables ----------------------------------------------------------------------------- */

#define FEW 8 /* pairs that are looked through one by one */

static bool make_index(reader *r, il_vtable *t) {
  uint32_t mask = 15;
  if (t->npairs <= FEW) return true;
  while (mask < 2 * t->npairs) mask = 2 * mask + 1;
  t->index = take(r->all, ((size_t)mask + 1) * sizeof *t->index);
  if (t->index == NULL) return false;
  memset(t->index, 0, ((size_t)mask + 1) * sizeof *t->index);
  t->mask = mask;
  for (size_t i = 0; i < t->npairs; i++) {
    const isolua_value *key = &t->pairs[2 * i];
    uint32_t k;
    if (key->type != ISOLUA_TSTRING) continue;
    k = il_text_hash(key->u.string.bytes, key->u.string.length) & mask;
    while (t->index[k] != 0) k = (k + 1) & mask;
    t->index[k] = (uint32_t)i + 1;
  }
  return true;
}

static isolua_value *move_values(reader *r, size_t first, size_t n) {
  isolua_value *to = take(r->all, n * sizeof *to);
  if (to != NULL && n > 0) memcpy(to, r->values + first, n * sizeof *to);
  return to;
}

/* The values of the innermost frame become its table's. */
static void end_table(reader *r) {
  frame *f = &r->frames[--r->nframes];
  il_vtable *t = f->table;
  size_t n = r->nvalues - f->first;
  if (f->kind == LIST) f->list = n;
  t->length = f->list;
  t->npairs = (n - f->list) / 2;
  t->list = move_values(r, f->first, t->length);
  t->pairs = move_values(r, f->first + f->list, 2 * t->npairs);
  if (t->list == NULL || t->pairs == NULL || t->npairs > UINT32_MAX / 4 || !make_index(r, t)) {
    r->failed = true;
    return;
  }
  while (t->length > 0 && t->list[t->length - 1].type == ISOLUA_TNIL) t->length--;
  r->nvalues = f->first;
}

/* -- Frames ------------------------------------------------------------------------------------ */

static void step_table(reader *r, frame *f) {
  int tag = *r->at;
  if (f->kind == FIELDS && f->left == 0) f->kind = PAIRS;
  if (f->kind == META && tag != W_END) { /* the metatable is on the top when it ends */
    get_value(r);
    return;
  }
  if (f->kind == META) r->nvalues = f->list + f->first + 2 * (size_t)f->left;
  if (f->kind == FIELDS) {
    f->left--;
    push(r, &r->places[f->key++]);
    get_value(r);
    return;
  }
  switch (tag) {
  case W_INTS:
  case W_FLOATS:
    r->at++;
    get_run(r, tag);
    break;
  case W_HASH:
    r->at++;
    f->list = r->nvalues - f->first;
    f->kind = PAIRS;
    break;
  case W_SHAPE:
    r->at++;
    get_shape(r);
    break;
  case W_META:
    r->at++;
    if (f->kind == LIST) f->list = r->nvalues - f->first;
    f->left = (int)((r->nvalues - f->first - f->list) / 2);
    f->kind = META;
    break;
  case W_END:
    r->at++;
    end_table(r);
    break;
  default: get_value(r);
  }
}

static void get_body(reader *r);

static void step(reader *r) {
  frame *f = &r->frames[r->nframes - 1];
  switch (f->kind) {
  case UPVALUES:
    if (f->left == 0) {
      r->nvalues = f->first;
      r->nframes--;
    } else if (f->left--, *r->at == W_JOIN) {
      r->at += 6;
    } else {
      get_value(r);
    }
    break;
  case REGISTERED:
    if (r->nvalues == f->first) {
      get_value(r);
    } else {
      keep(r, f->slot, &r->values[f->first]);
      r->nvalues = f->first + 1;
      r->nframes--;
    }
    break;
  case PACKED:
    if (*r->at == W_ENDROOT) {
      r->at++;
      r->nvalues = f->first;
      r->nframes--;
    } else if (*r->at == W_BODY) {
      get_body(r);
    } else {
      get_value(r);
    }
    break;
  default: step_table(r, f);
  }
}

/* Contents of an announced table or function. */
static void get_body(reader *r) {
  isolua_value v;
  r->at++;
  v = r->slots[get32(r)];
  if (v.type == ISOLUA_TTABLE)
    push_frame(r, LIST)->table = v.u.table;
  else
    push_frame(r, UPVALUES)->left = v.u.upvalues;
}

static void run_frames(reader *r) {
  while (r->nframes > 0 && !r->failed) step(r);
}

static void get_root(reader *r) {
  get_value(r);
  run_frames(r);
  while (!r->failed && *r->at == W_BODY) {
    get_body(r);
    run_frames(r);
  }
}

static void get_roots(reader *r) {
  const unsigned char *offsets = r->m->data + 1 + 4 + 4;
  for (size_t i = 0; i < r->all->count && !r->failed; i++) {
    r->at = r->m->data + il_get64(offsets + 8 * i);
    get_root(r);
  }
}

il_values *il_values_new(const il_msg *m) {
  reader r = {.m = m, .at = m->data + 1};
  uint32_t slots = *m->data == W_ONE ? 0 : il_get32(m->data + 1);
  il_values *all = calloc(1, sizeof *all);
  if (all == NULL) return NULL;
  r.all = all;
  all->count = *m->data == W_ONE ? 1 : il_get32(m->data + 5);
  r.slots = calloc((size_t)slots + 1, sizeof *r.slots);
  r.places = *m->data == W_ONE ? NULL : calloc(256, sizeof *r.places);
  r.failed = r.slots == NULL || (*m->data != W_ONE && r.places == NULL);
  if (!r.failed && *m->data == W_ONE) get_value(&r); /* without parts, and without an end */
  if (!r.failed && *m->data != W_ONE) get_roots(&r);
  if (!r.failed) {
    assert(r.nvalues == all->count);
    all->roots = move_values(&r, 0, all->count);
  }
  free(r.values);
  free(r.frames);
  free(r.slots);
  free(r.places);
  if (all->roots != NULL) return all;
  il_values_free(all);
  return NULL;
}

il_values *il_values_one(const isolua_value *value) {
  il_values *all = calloc(1, sizeof *all);
  if (all == NULL) return NULL;
  all->one = *value;
  all->roots = &all->one;
  all->count = 1;
  return all;
}

size_t il_values_count(const il_values *all) {
  return all->count;
}

const isolua_value *il_values_get(const il_values *all, size_t i) {
  return i < all->count ? &all->roots[i] : NULL;
}
