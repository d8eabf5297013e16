/* cell.c - integers that isolates share. */
/* SPDX-License-Identifier: MIT */
#include "cell.h"

#include <stdlib.h>

#include "err.h"
#include "isolua.h"

atomic_size_t il_live_cells;

static void cell_close(il_handle *h) {
  free(h); /* its first member */
  atomic_fetch_sub_explicit(&il_live_cells, 1, memory_order_relaxed);
}

const il_handle_type il_cell_type = {.name = "isolate.atomic", .close = cell_close};

il_cell *il_cell_new(long long value) {
  il_cell *c = il_lines_new(sizeof *c);
  if (c == NULL) return NULL;
  il_handle_init(&c->h, &il_cell_type);
  atomic_init(&c->value, value);
  atomic_fetch_add_explicit(&il_live_cells, 1, memory_order_relaxed);
  return c;
}

/* -- isolua.h ---------------------------------------------------------------------------------- */

int isolua_atomic_new(long long value, isolua_atomic **atomic) {
  if (IL_NULL(atomic)) return ISOLUA_INVALID;
  *atomic = il_cell_new(value);
  return *atomic != NULL ? ISOLUA_OK : ISOLUA_MEMORY;
}

void isolua_atomic_retain(isolua_atomic *a) {
  if (a != NULL) il_handle_retain(&a->h);
}

void isolua_atomic_release(isolua_atomic *a) {
  il_handle_release((il_handle *)a);
}

long long isolua_atomic_load(isolua_atomic *a) {
  return a != NULL ? atomic_load(&a->value) : 0;
}

void isolua_atomic_store(isolua_atomic *a, long long value) {
  if (a != NULL) atomic_store(&a->value, value);
}

/* The addition of atomics wraps; that of signed integers must not. */
long long isolua_atomic_add(isolua_atomic *a, long long d) {
  if (a == NULL) return 0;
  return (long long)((unsigned long long)atomic_fetch_add(&a->value, d) + (unsigned long long)d);
}

int isolua_atomic_exchange(isolua_atomic *a, long long *old, long long to) {
  return a != NULL && old != NULL && atomic_compare_exchange_strong(&a->value, old, to);
}
