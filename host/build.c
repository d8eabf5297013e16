/* build.c - messages made without Lua. */
/* SPDX-License-Identifier: MIT */
#include "build.h"

#include "heap.h"
#include "wire.h"

/* What is being written; counts only while `at` is NULL. */
typedef struct writer {
  unsigned char *at;
  size_t len;
} writer;

static void put(writer *w, const void *p, size_t n) {
  if (w->at != NULL) memcpy(w->at + w->len, p, n);
  w->len += n;
}

static void put8(writer *w, int v) {
  unsigned char c = (unsigned char)v;
  put(w, &c, 1);
}

static void put32(writer *w, uint32_t v) {
  put(w, &v, sizeof v);
}

static void put64(writer *w, uint64_t v) {
  put(w, &v, sizeof v);
}

static void put_string(writer *w, const char *s) {
  put8(w, W_STRING);
  put32(w, 0);
  put64(w, strlen(s));
  put(w, s, strlen(s) + 1);
}

static void put_table(writer *w, const il_field *fields, size_t n) {
  put8(w, W_TABLE);
  put32(w, 0);
  put32(w, 0);
  put32(w, (uint32_t)n);
  put8(w, W_HASH);
  for (size_t i = 0; i < n; i++) {
    put_string(w, fields[i].key);
    if (fields[i].text != NULL) {
      put_string(w, fields[i].text);
    } else {
      put8(w, W_INT);
      put64(w, (uint64_t)fields[i].number);
    }
  }
  put8(w, W_END);
}

/* One root, no slots, no extras. */
static void put_message(writer *w, const il_field *fields, size_t n) {
  put8(w, W_MANY);
  put32(w, 0);
  put32(w, 1);
  put64(w, 1 + 4 + 4 + 8 + 1); /* where the root begins */
  put8(w, 0);                  /* places */
  put_table(w, fields, n);
  put8(w, W_ENDROOT);
  put32(w, 0);
}

il_msg *il_build_table(const il_field *fields, size_t n) {
  writer w = {NULL, 0};
  unsigned char *data;
  size_t size;
  il_msg *m;
  int taken = 0;
  put_message(&w, fields, n);
  size = w.len;
  data = il_heap_resize(NULL, 0, size);
  if (data == NULL) return NULL;
  w = (writer){data, 0};
  put_message(&w, fields, n);
  m = il_msg_new(data, size, size, NULL, 0, &taken);
  if (!taken) il_heap_resize(data, size, 0);
  return m;
}
