/* cell.h - integers that isolates share: what isolate.atomic stands for. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_CELL_H
#define IL_CELL_H

#include "msg.h"
#include "plat.h"

/* One to a line: those that different isolates count in do not slow one another down. */
typedef struct il_cell {
  il_handle h;
  _Alignas(IL_LINE) atomic_llong value;
} il_cell;

il_cell *il_cell_new(long long value); /* with one hold; NULL: no memory */

extern const il_handle_type il_cell_type;
extern atomic_size_t il_live_cells;

#endif
