/* build.h - messages made without Lua: one table of strings, numbers and booleans. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_BUILD_H
#define IL_BUILD_H

#include "msg.h"

typedef struct il_field {
  const char *key;
  const char *text; /* NULL: `number` */
  long long number;
} il_field;

/* A message of one table with `n` fields. NULL: no memory. Thread: any. */
il_msg *il_build_table(const il_field *fields, size_t n);

#endif
