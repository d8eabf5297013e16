/* buf.h - blocks of bytes with a count: what buffers, their slices and their views lie in. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_BUF_H
#define IL_BUF_H

#include "msg.h"
#include "plat.h"

/*
** DESIGN. A block that is not frozen belongs to one Lua state, or to one message under way; its bytes
** and its size are touched by nobody else, so they need no lock. A frozen one never changes any more,
** and any number of states and messages hold it. A block is a handle, so that a message takes holds
** on it without knowing what it is.
*/
#define IL_BLOCK_MAX ((size_t)PTRDIFF_MAX / 4) /* bytes: no system has that much */

enum il_origin { IL_BLOCK_HEAP, IL_BLOCK_ZEROED, IL_BLOCK_MAPPED, IL_BLOCK_WRAPPED };

typedef struct il_block {
  il_handle h;
  /* the owner's, until it is frozen */
  unsigned char *data; /* never NULL */
  size_t size;         /* bytes in use */
  size_t room;         /* of memory of its own */
  enum il_origin origin;
  bool frozen;
  bool spare;          /* not one of il_live_blocks: some cache may keep it */
  il_mapping *mapping; /* IL_BLOCK_MAPPED; NULL: an empty file */
  void (*release)(void *ud, void *data, size_t size); /* IL_BLOCK_WRAPPED; or NULL */
  void *ud;                                           /* its first argument */
} il_block;

/* Each with one hold; NULL: no memory. il_block_new: `size` zeros. */
il_block *il_block_new(size_t size);
il_block *il_block_copy(const void *data, size_t size);
/* Maps a file, for writing too or frozen. NULL: *err is the system's number. */
il_block *il_block_map(const char *path, bool writable, int *err);
/* Over memory of somebody else's, who is told by `release` (or NULL) when the last hold is gone. */
il_block *il_block_wrap(void *data, size_t size, void (*release)(void *, void *, size_t), void *ud);
/* A frozen copy that a cache may keep: nobody waits for its end. */
il_block *il_block_spare(const void *data, size_t size);
/* Bytes that are added are zeros. False: no memory, and nothing changed. Not of one that is
** mapped or wrapped. */
bool il_block_resize(il_block *b, size_t size);
/* Has the file become shorter than what was mapped? Then zeros were read in the place of the rest. */
bool il_block_torn(const il_block *b);

extern const il_handle_type il_block_type;
extern atomic_size_t il_live_blocks;

#endif
