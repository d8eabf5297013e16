/* count.h - what is counted of the whole process as often as messages are made. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_COUNT_H
#define IL_COUNT_H

#include <stddef.h>

/* One number that all threads add to goes from processor to processor with each message. So each thread adds to one
** of a few lines, and who asks has the sum: exact when nobody adds at that moment. */
enum il_countable { IL_MESSAGES, IL_BYTES, IL_FUTURES, IL_COUNTED };

void il_count_add(enum il_countable what, long n);
void il_count_message(long n, long bytes); /* both at once: this many messages and bytes more */
size_t il_counted(enum il_countable what);

#endif
