/* heap.h - memory of messages and Lua heaps: the C library's, but pages of large blocks stay warm. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_HEAP_H
#define IL_HEAP_H

#include <stddef.h>

/*
** As lua_Alloc without its first argument: nsize 0 frees. `osize` must be the size that was asked
** for. Blocks of IL_HEAP_BIG bytes and more lie on pages of their own, and a few of them are kept
** when they are freed: a fresh page costs some 2 us, so warm pages copy five times as fast.
** Thread: any.
*/
void *il_heap_resize(void *p, size_t osize, size_t nsize);

/* Gives all kept pages back to the system. */
void il_heap_trim(void);

#ifndef IL_HEAP_BIG
#define IL_HEAP_BIG ((size_t)2 << 20) /* one huge page */
#endif
#ifndef IL_HEAP_KEEP
#define IL_HEAP_KEEP ((size_t)256 << 20) /* bytes kept at most */
#endif

#endif
