/* write.c - isolua.h: messages that C code makes and reads, without Lua. */
/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "heap.h"
#include "wire.h"

/*
** DESIGN. What is added is written as wire.h has it: the head of a message with several values lies in front
** when it is finished. No slot refers to anything, so it is a tree. What cannot be added breaks the message:
** its code, and why it is ISOLUA_INVALID, is told then and by whoever is to send it.
*/

/* -- Bytes ------------------------------------------------------------------------------------- */

/* What broke it, or ISOLUA_OK. */
static int state(const isolua_message *m) {
  if (m == NULL) return il_invalid("`message` is NULL");
  return m->code == ISOLUA_INVALID ? il_invalid("%s", m->why) : m->code;
}

static int broken(isolua_message *m, int code) {
  if (m != NULL && m->code == ISOLUA_OK) m->code = code;
  return state(m);
}

/* `why` is static. */
static int wrong(isolua_message *m, const char *why) {
  if (m != NULL && m->code == ISOLUA_OK) m->why = why;
  return broken(m, ISOLUA_INVALID);
}

/* False: no memory. */
static bool reserve(isolua_message *m, size_t n) {
  size_t room = m->room * 2 + 64;
  unsigned char *data;
  if (n <= m->room - m->length) return true;
  if (room < m->length + n) room = m->length + n;
  data = il_heap_resize(m->data, m->room, room);
  if (data == NULL) {
    broken(m, ISOLUA_MEMORY);
    return false;
  }
  m->data = data;
  m->room = room;
  return true;
}

static void put(isolua_message *m, const void *bytes, size_t n) {
  if (!reserve(m, n)) return;
  if (n > 0) memcpy(m->data + m->length, bytes, n);
  m->length += n;
}

static void put8(isolua_message *m, int v) {
  unsigned char c = (unsigned char)v;
  put(m, &c, 1);
}

static void put32(isolua_message *m, uint32_t v) {
  put(m, &v, sizeof v);
}

static void put64(isolua_message *m, uint64_t v) {
  put(m, &v, sizeof v);
}

static bool grow(isolua_message *m, void **array, size_t count, size_t *room, size_t size) {
  size_t more = *room * 2 + 8;
  void *bigger;
  if (count < *room) return true;
  bigger = realloc(*array, more * size);
  if (bigger == NULL) {
    broken(m, ISOLUA_MEMORY);
    return false;
  }
  *array = bigger;
  *room = more;
  return true;
}

/* -- Adding ------------------------------------------------------------------------------------ */

static const char complete[] = "a message that was received, read or sent takes no more values";

/* A value is about to be written; `key`: it may stand where a key is wanted. */
static bool begin(isolua_message *m, bool key) {
  il_opened *t;
  if (m == NULL || m->code != ISOLUA_OK) return false;
  t = m->nopened > 0 ? &m->opened[m->nopened - 1] : NULL;
  if (m->sealed) wrong(m, complete);
  if (t != NULL && t->map && t->count % 2 == 0 && !key)
    wrong(m, "a key in a map is a string, a number that is not NaN, or a boolean");
  if (m->code != ISOLUA_OK) return false;
  if (t != NULL) {
    t->count++;
    return true;
  }
  if (!grow(m, (void **)&m->roots, m->nroots, &m->roomroots, sizeof *m->roots)) return false;
  m->roots[m->nroots++] = m->length;
  return true;
}

/* A root ends as the wire has it. */
static int end(isolua_message *m) {
  if (m != NULL && m->nopened == 0 && m->code == ISOLUA_OK) put8(m, W_ENDROOT);
  return state(m);
}

int isolua_add_nil(isolua_message *m) {
  if (begin(m, false)) put8(m, W_NIL);
  return end(m);
}

int isolua_add_boolean(isolua_message *m, int value) {
  if (begin(m, true)) put8(m, value ? W_TRUE : W_FALSE);
  return end(m);
}

int isolua_add_integer(isolua_message *m, long long value) {
  if (begin(m, true)) {
    put8(m, W_INT);
    put64(m, (uint64_t)value);
  }
  return end(m);
}

int isolua_add_number(isolua_message *m, double value) {
  if (begin(m, !isnan(value))) {
    put8(m, W_FLOAT);
    put(m, &value, sizeof value);
  }
  return end(m);
}

int isolua_add_bytes(isolua_message *m, const void *bytes, size_t length) {
  if (bytes == NULL && length > 0) return wrong(m, "`bytes` is NULL");
  if (begin(m, true)) {
    put8(m, W_STRING);
    put32(m, 0);
    put64(m, length);
    put(m, bytes, length);
    put8(m, 0);
  }
  return end(m);
}

int isolua_add_string(isolua_message *m, const char *text) {
  return text != NULL ? isolua_add_bytes(m, text, strlen(text)) : isolua_add_nil(m);
}

#define NESTED_MAX                                                                                 \
  100000 /* tables in tables: Lua's stack, on which they are made, has room for a million values */
#define LIKELY_MAX 0x1000000 /* items that a table is made ready for at most */

static int open_table(isolua_message *m, size_t size, bool map) {
  uint32_t hint = size < LIKELY_MAX ? (uint32_t)size : LIKELY_MAX;
  if (m != NULL && m->nopened == NESTED_MAX) wrong(m, "tables are nested too deeply");
  if (!begin(m, false)) return state(m);
  if (!grow(m, (void **)&m->opened, m->nopened, &m->roomopened, sizeof *m->opened)) return m->code;
  m->opened[m->nopened++] = (il_opened){map, 0};
  put8(m, W_TABLE);
  put32(m, 0);
  put32(m, map ? 0 : hint);
  put32(m, map ? hint : 0);
  if (map) put8(m, W_HASH);
  return m->code;
}

int isolua_add_list(isolua_message *m, size_t size) {
  return open_table(m, size, false);
}

int isolua_add_map(isolua_message *m, size_t size) {
  return open_table(m, size, true);
}

int isolua_add_end(isolua_message *m) {
  const il_opened *t;
  if (m == NULL || m->code != ISOLUA_OK) return state(m);
  t = m->nopened > 0 ? &m->opened[m->nopened - 1] : NULL;
  if (m->sealed) return wrong(m, complete);
  if (t == NULL) return wrong(m, "there is no table to end");
  if (t->map && t->count % 2 != 0) return wrong(m, "a key in a map has no value");
  m->nopened--;
  put8(m, W_END);
  return end(m);
}

/* Its place among the message's handles; takes over the hold in any case. */
static bool add_handle(isolua_message *m, il_handle *h, uint32_t *index) {
  if (!grow(m, (void **)&m->handles, m->nhandles, &m->roomhandles, sizeof(il_handle *))) {
    il_handle_release(h);
    return false;
  }
  *index = (uint32_t)m->nhandles;
  m->handles[m->nhandles++] = h;
  return true;
}

/* The message has a hold of its own. */
static int add_shared(isolua_message *m, il_handle *h) {
  uint32_t index;
  if (h == NULL) return wrong(m, "what is to be added is NULL");
  if (begin(m, false)) {
    il_handle_retain(h);
    if (add_handle(m, h, &index)) {
      put8(m, W_HANDLE);
      put32(m, 0);
      put32(m, index);
    }
  }
  return end(m);
}

int isolua_add_sender(isolua_message *m, isolua_sender *sender) {
  return add_shared(m, (il_handle *)sender);
}

int isolua_add_atomic(isolua_message *m, isolua_atomic *atomic) {
  return add_shared(m, (il_handle *)atomic);
}

int isolua_add_pool(isolua_message *m, isolua_pool *pool) {
  return add_shared(m, (il_handle *)pool);
}

int isolua_add_block(isolua_message *m, isolua_block *block) {
  il_block *b = (il_block *)block;
  uint32_t index;
  if (b == NULL) return wrong(m, "`block` is NULL");
  if (!b->frozen && atomic_load(&b->h.refs) != 1)
    wrong(m, "somebody else holds the block, which is not frozen");
  if (!begin(m, false)) {
    il_handle_release(&b->h);
  } else if (add_handle(m, &b->h, &index)) {
    put8(m, W_BUFFER);
    put32(m, 0);
    put32(m, index);
    put8(m, b->frozen ? W_SHARED : W_MOVED);
    put8(m, 1);
    put64(m, 0);
    put64(m, b->size);
  }
  return end(m);
}

/* -- Finishing --------------------------------------------------------------------------------- */

/* A number or boolean alone goes as it is. */
static bool is_plain(const isolua_message *m, il_item *item) {
  if (m->nroots != 1) return false;
  switch (m->data[0]) {
  case W_FALSE: item->kind = IL_ITEM_FALSE; return true;
  case W_TRUE: item->kind = IL_ITEM_TRUE; return true;
  case W_INT:
    item->kind = IL_ITEM_INTEGER;
    item->u.integer = (long long)il_get64(m->data + 1);
    return true;
  case W_FLOAT:
    item->kind = IL_ITEM_FLOAT;
    memcpy(&item->u.number, m->data + 1, sizeof item->u.number);
    return true;
  default: return false;
  }
}

void il_message_discard(isolua_message *m) {
  for (size_t i = 0; i < m->nhandles; i++) il_handle_release(m->handles[i]);
  free(m->handles);
  free(m->opened);
  free(m->roots);
  il_heap_resize(m->data, m->room, 0);
  m->handles = NULL;
  m->opened = NULL;
  m->roots = NULL;
  m->data = NULL;
  m->nhandles = m->nopened = m->nroots = m->length = m->room = 0;
}

static il_msg *make_message(isolua_message *m) {
  size_t head = 1 + 4 + 4 + 8 * m->nroots + 1, all = head + m->length + 4;
  uint32_t count = (uint32_t)m->nroots;
  unsigned char *data = il_heap_resize(NULL, 0, all);
  il_msg *msg;
  int taken = 0;
  if (data == NULL) return NULL;
  memset(data, 0, head);
  data[0] = W_MANY;
  memcpy(data + 5, &count, sizeof count);
  for (size_t i = 0; i < m->nroots; i++) {
    uint64_t at = head + m->roots[i];
    memcpy(data + 9 + 8 * i, &at, sizeof at);
  }
  if (m->length > 0) memcpy(data + head, m->data, m->length);
  memset(data + head + m->length, 0, 4); /* no extras */
  msg = il_msg_new(data, all, all, m->handles, m->nhandles, &taken);
  if (msg == NULL || !taken) il_heap_resize(data, all, 0);
  if (msg != NULL) m->nhandles = 0;
  return msg;
}

/* A number or boolean that was sealed alone becomes a message. */
static int widen(isolua_message *m) {
  isolua_message n = {.code = ISOLUA_OK};
  int code;
  switch (m->item.kind) {
  case IL_ITEM_INTEGER: isolua_add_integer(&n, m->item.u.integer); break;
  case IL_ITEM_FLOAT: isolua_add_number(&n, m->item.u.number); break;
  case IL_ITEM_FALSE:
  case IL_ITEM_TRUE: isolua_add_boolean(&n, m->item.kind == IL_ITEM_TRUE); break;
  default: return ISOLUA_OK;
  }
  code = il_message_seal(&n, true);
  if (code == ISOLUA_OK) m->item = n.item;
  il_message_discard(&n); /* what a failure left */
  return code;
}

int il_message_seal(isolua_message *m, bool whole) {
  il_item item = {.kind = IL_ITEM_MSG};
  if (m->code != ISOLUA_OK) return state(m);
  if (m->sealed) return whole ? widen(m) : ISOLUA_OK;
  if (m->nopened > 0) return il_invalid("a table of the message is not ended");
  if (whole || !is_plain(m, &item)) item.u.msg = make_message(m);
  if (item.kind == IL_ITEM_MSG && item.u.msg == NULL) return ISOLUA_MEMORY;
  il_message_discard(m);
  m->item = item;
  m->sealed = true;
  return ISOLUA_OK;
}
