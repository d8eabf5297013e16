/* native.h - messages, ports and callbacks of C code without a Lua state. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_NATIVE_H
#define IL_NATIVE_H

#include "isolate.h"
#include "port.h"
#include "value.h"

/* A table that is being added. */
typedef struct il_opened {
  bool map;
  size_t count; /* values in it; of a map also keys */
} il_opened;

struct isolua_message {
  il_item item;      /* once it is sealed: what it is */
  il_values *values; /* of it, once they were asked for */
  bool sealed;       /* nothing can be added any more */
  int code;          /* what could not be added */
  const char *why;   /* static: of ISOLUA_INVALID */
  /* until it is sealed */
  unsigned char *data; /* of il_heap_resize: the values, as wire.h has them */
  size_t length, room;
  size_t *roots; /* where the values begin in it */
  size_t nroots, roomroots;
  il_opened *opened;
  size_t nopened, roomopened;
  il_handle **handles; /* a hold on each */
  size_t nhandles, roomhandles;
};

/* What was added becomes m->item. `whole`: a message even if it is a number or boolean alone. ISOLUA_OK, or why it
** cannot be sent. */
int il_message_seal(isolua_message *m, bool whole);
/* Frees what was added. */
void il_message_discard(isolua_message *m);

#endif
