/* cell.c - integers that isolates share. */
/* SPDX-License-Identifier: MIT */
#include "cell.h"

#include <stdlib.h>

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
