/* heap.h - memory of messages and Lua heaps: the C library's, but pages of large blocks stay warm. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_HEAP_H
#define IL_HEAP_H

#include <stddef.h>

/*
** As lua_Alloc without its first argument: nsize 0 frees. `osize` must be the size that was asked
** for. Blocks of IL_HEAP_BIG bytes and more lie on pages of their own, and these are kept when they are
** freed: a fresh page costs 2 to 10 us (the C library gets them anew each time for such blocks), so
** warm pages copy five times as fast.
** Thread: any.
*/
void *il_heap_resize(void *p, size_t osize, size_t nsize);

/* Gives all kept pages back to the system. */
void il_heap_trim(void);

#ifndef IL_HEAP_BIG
#define IL_HEAP_BIG ((size_t)128 << 10)
#endif
#define IL_HEAP_HUGE ((size_t)2 << 20) /* one huge page: what the system is asked for */
#ifndef IL_HEAP_KEEP
#define IL_HEAP_KEEP ((size_t)256 << 20) /* bytes kept at most */
#endif

#endif
