/* repl_keys.h - what is typed, as the keys that the line editor is given. Of the executable alone. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_REPL_KEYS_H
#define IL_REPL_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wchar.h>

/*
** DESIGN. libedit looks keys up character by character: of an escape sequence that it does not know it takes
** the rest for text, and in a search, or behind Ctrl-V, the whole of it. So sequences (CSI, SS3) are read to
** their end here, and the editor is given one character for each, whatever it is and whatever asks for it.
** Those are control characters that no keyboard has, C1.
** What is pasted arrives between two marks (bracketed paste). It is read to its end, and then given line after
** line: a key for each, and its line end, to the reads that follow.
** Thread: main's.
*/

enum {
  KEY_PASTED = 0x80,  /* a line that was pasted: keys_line */
  KEY_SEQUENCE = 0x81 /* an escape sequence: `sequence` */
};

typedef struct keys {
  enum { KEYS_TEXT, KEYS_ESCAPED, KEYS_SEQUENCE } state;
  bool pasting;  /* between the two marks */
  bool dropping; /* and what is pasted is not wanted any more */
  bool sequenced;
  wchar_t sequence[32]; /* with its ESC and a 0 */
  size_t sequence_length;
  wchar_t ready[4]; /* characters */
  size_t ready_count;
  wchar_t *pasted; /* malloc; with a 0; what follows the first `pasted_at` is still to be given */
  size_t pasted_at, pasted_length, pasted_room;
} keys;

/* All zero is a new one. */
void keys_fini(keys *k);
/* A character was typed. False: it is lost, or what was before it. */
bool keys_take(keys *k, wchar_t c);
/* Nothing was for keys_patience, which is in ns; -1: for ever. Likewise. */
bool keys_pause(keys *k);
int64_t keys_patience(const keys *k);
/* Is a key to be given? The next; `quoted`: one that stands for itself. False: none. */
bool keys_ready(const keys *k);
bool keys_next(keys *k, bool quoted, wchar_t *c);
/* What was pasted up to its next line end, which is left. It is valid until the next call; NULL: nothing. */
const wchar_t *keys_line(keys *k);
/* Drops what was typed ahead, and what is still to come of what is being pasted. */
void keys_drop(keys *k);

#endif
