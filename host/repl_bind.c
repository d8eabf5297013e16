/* repl_bind.c - what the keys of the line editor do. */
/* SPDX-License-Identifier: MIT */

#include "repl_bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef ISOLUA_LIBEDIT

/*
** DESIGN. libedit has two maps of keys. In the mode of Emacs the first alone is used. In that of vi it is for
** inserting; there an escape sequence would begin by the key that leaves it, so that the second map, of vi's
** commands, has it a second time without its ESC. `bind -v` and `bind -e` in ~/.editrc reset both maps.
*/

/* KEY_PASTED and KEY_SEQUENCE. */
#define PASTED "\\200"
#define SEQUENCE "\\201"

typedef struct binding {
  const char *key, *command;
} binding;

static const binding own[] = {{PASTED, "isolua-pasted"}, {SEQUENCE, "isolua-sequence"}};

static const binding offered[] = {
  {"^I", "isolua-complete"},    {"\\e[1;5C", "em-next-word"},
  {"\\e[1;5D", "ed-prev-word"}, {"\\e[1;3C", "em-next-word"},
  {"\\e[1;3D", "ed-prev-word"}, {"\\eOc", "em-next-word"}, /* rxvt */
  {"\\eOd", "ed-prev-word"},    {"\\e[3~", "ed-delete-next-char"},
  {"\\e[H", "ed-move-to-beg"},  {"\\e[1~", "ed-move-to-beg"},
  {"\\e[7~", "ed-move-to-beg"}, {"\\e[F", "ed-move-to-end"},
  {"\\e[4~", "ed-move-to-end"}, {"\\e[8~", "ed-move-to-end"}};

enum { OWN = sizeof own / sizeof *own, OFFERED = sizeof offered / sizeof *offered };

static bool is_vi(EditLine *el) {
  const char *mode = NULL;
  return el_get(el, EL_EDITOR, &mode) == 0 && strcmp(mode, "vi") == 0;
}

static void bind(EditLine *el, bool second, const char *key, const char *command) {
  if (second)
    el_set(el, EL_BIND, "-a", key, command, NULL);
  else
    el_set(el, EL_BIND, key, command, NULL);
}

/* Is a key's binding one of those? libedit prints it: to a file of ours. */
static bool is_bound_to(EditLine *el, bool second, const char *key, const char *const *commands) {
  FILE *file, *out, *errors;
  char *text = NULL;
  size_t length;
  bool is = false;
  if (el_get(el, EL_GETFP, 1, &out) != 0 || el_get(el, EL_GETFP, 2, &errors) != 0) return false;
  file = open_memstream(&text, &length);
  if (file == NULL) return false;
  el_set(el, EL_SETFP, 1, file);
  el_set(el, EL_SETFP, 2, file);
  bind(el, second, key, NULL);
  el_set(el, EL_SETFP, 1, out);
  el_set(el, EL_SETFP, 2, errors);
  fclose(file);
  while (text != NULL && !is && *commands != NULL) is = strstr(text, *commands++) != NULL;
  free(text);
  return is;
}

static bool is_free(EditLine *el, bool second, const char *key) {
  static const char *const nothing[] = {"Unbound", "ed-unassigned", "ed-insert", NULL};
  return is_bound_to(el, second, key, nothing);
}

static void bind_own(EditLine *el) {
  for (int i = 0; i < OWN; i++) {
    bind(el, false, own[i].key, own[i].command);
    bind(el, true, own[i].key, own[i].command);
  }
}

static void offer(EditLine *el, bool second, const char *key, const char *command) {
  if (is_free(el, second, key)) bind(el, second, key, command);
}

/* What the user has bound stays. */
static void offer_all(EditLine *el) {
  bool vi = is_vi(el);
  for (int i = 0; i < OFFERED; i++) {
    const binding *b = &offered[i];
    bool sequence = strncmp(b->key, "\\e", 2) == 0;
    if (vi) offer(el, true, b->key, b->command);
    if (vi && sequence) offer(el, true, b->key + 2, b->command);
    if (!vi || !sequence) offer(el, false, b->key, b->command);
  }
}

void bind_keys(EditLine *el) {
  static const char *const pasted[] = {"isolua-pasted", NULL};
  el_set(el, EL_EDITOR, "emacs");
  bind_own(el);
  bind(el, false, "^R", "em-inc-search-prev");
  offer_all(el);
  el_source(el, NULL);
  if (is_bound_to(el, false, PASTED, pasted)) return;
  bind_own(el);
  offer_all(el);
}

/* As `bind` is given it. */
static void write_key(const wchar_t *sequence, char *key) {
  for (; *sequence != L'\0'; sequence++) {
    if (*sequence == L'\033') {
      *key++ = '\\';
      *key++ = 'e';
      continue;
    }
    if (*sequence == L'^' || *sequence == L'\\') *key++ = '\\';
    *key++ = (char)*sequence;
  }
  *key = '\0';
}

bool bind_has(EditLine *el, const wchar_t *sequence) {
  static const char *const lead_in[] = {"ed-sequence-lead-in", NULL};
  char key[128];
  if (wcslen(sequence) * 2 >= sizeof key) return false;
  write_key(sequence, key);
  if (is_free(el, false, key)) return false;
  return !is_vi(el) || is_bound_to(el, false, "\\e", lead_in) || !is_free(el, true, key + 2);
}

#endif
