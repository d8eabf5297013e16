/* buf.c - blocks of bytes with a count. */
/* SPDX-License-Identifier: MIT */
#include "buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"

atomic_size_t il_live_blocks;

static unsigned char nothing; /* where empty blocks point to */

static void free_data(il_block *b) {
  switch (b->origin) {
  case IL_BLOCK_HEAP: il_heap_resize(b->data, b->room, 0); break;
  case IL_BLOCK_ZEROED: free(b->data); break;
  case IL_BLOCK_MAPPED: il_file_unmap(b->mapping); break;
  case IL_BLOCK_WRAPPED:
    if (b->release != NULL) b->release(b->ud, b->data, b->size);
    break;
  }
}

static void block_close(il_handle *h) {
  il_block *b = (il_block *)h; /* its first member */
  if (b->data != &nothing) free_data(b);
  if (!b->spare) atomic_fetch_sub_explicit(&il_live_blocks, 1, memory_order_relaxed);
  free(b);
}

/* A frozen block is shared; of another one the clone of a message has a copy. */
static il_handle *block_clone(il_handle *h) {
  il_block *b = (il_block *)h, *copy;
  if (b->frozen) {
    il_handle_retain(h);
    return h;
  }
  copy = il_block_copy(b->data, b->size);
  return copy != NULL ? &copy->h : NULL;
}

const il_handle_type il_block_type = {
  .name = "isolate.buffer", .close = block_close, .clone = block_clone};

static il_block *block_of(unsigned char *data, size_t size, enum il_origin origin) {
  il_block *b = malloc(sizeof *b);
  if (b == NULL) return NULL;
  il_handle_init(&b->h, &il_block_type);
  b->data = data;
  b->size = b->room = size;
  b->origin = origin;
  b->frozen = false;
  b->mapping = NULL;
  b->release = NULL;
  b->ud = NULL;
  b->spare = false;
  atomic_fetch_add_explicit(&il_live_blocks, 1, memory_order_relaxed);
  return b;
}

/* The C library gets large blocks from the system as zeros, without a touch. */
il_block *il_block_new(size_t size) {
  unsigned char *data;
  il_block *b;
  if (size > IL_BLOCK_MAX) return NULL;
  data = size > 0 ? calloc(size, 1) : &nothing;
  if (data == NULL) return NULL;
  b = block_of(data, size, IL_BLOCK_ZEROED);
  if (b == NULL && data != &nothing) free(data);
  return b;
}

il_block *il_block_copy(const void *data, size_t size) {
  unsigned char *copy = size > 0 ? il_heap_resize(NULL, 0, size) : &nothing;
  il_block *b;
  if (copy == NULL) return NULL;
  if (size > 0) memcpy(copy, data, size);
  b = block_of(copy, size, IL_BLOCK_HEAP);
  if (b == NULL && size > 0) il_heap_resize(copy, size, 0);
  return b;
}

il_block *il_block_wrap(void *data, size_t size, void (*release)(void *, void *, size_t),
                        void *ud) {
  il_block *b = block_of(data, size, IL_BLOCK_WRAPPED);
  if (b == NULL) return NULL;
  b->release = release;
  b->ud = ud;
  return b;
}

il_block *il_block_spare(const void *data, size_t size) {
  il_block *b = il_block_copy(data, size);
  if (b == NULL) return NULL;
  b->frozen = b->spare = true;
  atomic_fetch_sub_explicit(&il_live_blocks, 1, memory_order_relaxed);
  return b;
}

il_block *il_block_map(const char *path, bool writable, int *err) {
  il_block *b = block_of(&nothing, 0, IL_BLOCK_MAPPED);
  *err = b != NULL ? il_file_map(path, writable, &b->mapping) : ENOMEM;
  if (*err != 0) {
    if (b != NULL) block_close(&b->h);
    return NULL;
  }
  b->frozen = !writable;
  if (b->mapping == NULL) return b;
  b->data = b->mapping->data;
  b->size = b->mapping->size;
  return b;
}

static unsigned char *resized(il_block *b, size_t size) {
  unsigned char *old = b->data != &nothing ? b->data : NULL;
  if (b->origin == IL_BLOCK_HEAP) return il_heap_resize(old, b->room, size);
  return realloc(old, size);
}

bool il_block_resize(il_block *b, size_t size) {
  unsigned char *data;
  if (size > IL_BLOCK_MAX) return false;
  if (size > b->room || size < b->room / 2) {
    if (size == 0) {
      if (b->data != &nothing) free_data(b);
      data = &nothing;
    } else {
      data = resized(b, size);
      if (data == NULL) return false;
    }
    b->data = data;
    b->room = size;
  }
  if (size > b->size) memset(b->data + b->size, 0, size - b->size);
  b->size = size;
  return true;
}

bool il_block_torn(const il_block *b) {
  return b->mapping != NULL && atomic_load(&b->mapping->torn);
}
