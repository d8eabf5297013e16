/* repl_keys.c - what is typed, as the keys that the line editor is given. */
/* SPDX-License-Identifier: MIT */

#include "repl_keys.h"

#include <stdlib.h>
#include <string.h>

#define ESC L'\033'

/* In ns: longer than the parts of an escape sequence are apart, shorter than two keys. */
#define SEQUENCE_PAUSE 50000000
/* Likewise, of what is pasted. Its end may never come: Ctrl-C makes the terminal's driver forget it. */
#define PASTE_PAUSE 100000000

enum { SEQUENCE_MAX = sizeof((keys *)0)->sequence / sizeof(wchar_t) };

void keys_fini(keys *k) {
  free(k->pasted);
  memset(k, 0, sizeof *k);
}

static void forget_pasted(keys *k) {
  free(k->pasted);
  k->pasted = NULL;
  k->pasted_at = k->pasted_length = k->pasted_room = 0;
}

void keys_drop(keys *k) {
  forget_pasted(k);
  k->ready_count = 0;
  k->sequenced = false;
  k->dropping = k->pasting;
  if (!k->pasting) k->state = KEYS_TEXT;
}

/* -- What is pasted ------------------------------------------------------------------------------ */

static bool append(keys *k, wchar_t c) {
  if (k->pasted_length + 1 >= k->pasted_room) {
    size_t room = k->pasted_room * 2 + 1024;
    wchar_t *bigger = realloc(k->pasted, room * sizeof *bigger);
    if (bigger == NULL) {
      keys_drop(k);
      return false;
    }
    k->pasted = bigger;
    k->pasted_room = room;
  }
  k->pasted[k->pasted_length++] = c;
  k->pasted[k->pasted_length] = L'\0';
  return true;
}

/* Line ends are those of any system. Control characters are no keys; but for tabs they cannot be part of a
** line. A line end of two characters: the first is kept as it is until the second is known. */
static bool add_pasted(keys *k, wchar_t c) {
  bool after_return = k->pasted_length > 0 && k->pasted[k->pasted_length - 1] == L'\r';
  if (k->dropping) return true;
  if (after_return) k->pasted[k->pasted_length - 1] = L'\n';
  if (c == L'\n' && after_return) return true;
  if (c < L' ' && c != L'\t' && c != L'\r' && c != L'\n') return true;
  return append(k, c);
}

static void begin_paste(keys *k) {
  forget_pasted(k);
  k->pasting = true;
}

static void end_paste(keys *k) {
  if (k->pasted_length > 0) add_pasted(k, L'\0'); /* no character: settles its last line end */
  k->pasting = k->dropping = false;
}

static bool has_pasted(const keys *k) {
  return !k->pasting && k->pasted_at < k->pasted_length;
}

const wchar_t *keys_line(keys *k) {
  wchar_t *line, *end;
  if (!has_pasted(k)) return NULL;
  line = k->pasted + k->pasted_at;
  end = wcschr(line, L'\n');
  k->pasted_at = end != NULL ? (size_t)(end - k->pasted) : k->pasted_length;
  if (end != NULL) *end = L'\0'; /* keys_next knows it by that */
  return line;
}

/* The key for what comes next of it. */
static wchar_t next_pasted(keys *k, bool quoted) {
  wchar_t c = k->pasted[k->pasted_at];
  if (c == L'\0') c = L'\n'; /* the end of keys_line */
  if (c != L'\n' && !quoted) return KEY_PASTED;
  k->pasted_at++;
  return c;
}

/* -- Keys ---------------------------------------------------------------------------------------- */

static void give(keys *k, wchar_t c) {
  k->ready[k->ready_count++] = c;
}

static bool take_text(keys *k, wchar_t c) {
  if (k->pasting) return add_pasted(k, c);
  if (c >= 0x80 && c < 0xa0) return false; /* ours */
  give(k, c);
  return true;
}

/* The sequence is none, or stands in what is pasted. */
static bool take_sequence_as_text(keys *k) {
  bool good = true;
  k->state = KEYS_TEXT;
  for (size_t i = 0; i < k->sequence_length; i++) good = take_text(k, k->sequence[i]) && good;
  return good;
}

/* Is it complete with its last character? The Linux console has some of the form `ESC [ [ A`. */
static bool is_complete(const keys *k) {
  wchar_t last = k->sequence[k->sequence_length - 1];
  return last >= L'@' && !(last == L'[' && k->sequence_length == 3);
}

static bool end_sequence(keys *k) {
  bool begins = wcscmp(k->sequence, L"\033[200~") == 0;
  bool ends = wcscmp(k->sequence, L"\033[201~") == 0;
  k->state = KEYS_TEXT;
  if (k->pasting && !ends) return take_sequence_as_text(k);
  if (k->pasting) {
    end_paste(k);
  } else if (begins) {
    begin_paste(k);
  } else {
    k->sequenced = !ends;
  }
  return true;
}

static bool take_in_sequence(keys *k, wchar_t c) {
  if (c < L' ' || c > L'~') {
    bool good = k->pasting && take_sequence_as_text(k);
    k->state = KEYS_TEXT;
    return keys_take(k, c) && good;
  }
  if (k->sequence_length + 1 < SEQUENCE_MAX) k->sequence_length++;
  k->sequence[k->sequence_length - 1] = c;
  k->sequence[k->sequence_length] = L'\0';
  return is_complete(k) ? end_sequence(k) : true;
}

bool keys_take(keys *k, wchar_t c) {
  switch (k->state) {
  case KEYS_SEQUENCE: return take_in_sequence(k, c);
  case KEYS_ESCAPED:
    if (c == L'[' || c == L'O') {
      k->state = KEYS_SEQUENCE;
      k->sequence[0] = ESC;
      k->sequence[1] = c;
      k->sequence_length = 2;
      return true;
    }
    k->state = KEYS_TEXT;
    take_text(k, ESC);
    return keys_take(k, c);
  case KEYS_TEXT: break;
  }
  if (c != ESC) return take_text(k, c);
  k->state = KEYS_ESCAPED;
  return true;
}

int64_t keys_patience(const keys *k) {
  if (k->dropping) return PASTE_PAUSE;
  return k->state == KEYS_TEXT || k->pasting ? -1 : SEQUENCE_PAUSE;
}

/* Somebody has pressed Escape; or Alt with [ or O, which begins a sequence. */
bool keys_pause(keys *k) {
  bool whole = k->state != KEYS_SEQUENCE;
  if (k->state == KEYS_ESCAPED) take_text(k, ESC);
  k->state = KEYS_TEXT;
  k->pasting = k->dropping = false;
  return whole;
}

bool keys_ready(const keys *k) {
  return k->ready_count > 0 || k->sequenced || has_pasted(k);
}

bool keys_next(keys *k, bool quoted, wchar_t *c) {
  if (k->ready_count > 0) {
    *c = k->ready[0];
    memmove(k->ready, k->ready + 1, --k->ready_count * sizeof *k->ready);
  } else if (has_pasted(k)) {
    *c = next_pasted(k, quoted);
  } else {
    bool given = k->sequenced && !quoted;
    k->sequenced = false;
    *c = KEY_SEQUENCE;
    return given;
  }
  return true;
}
