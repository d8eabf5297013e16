/* repl_edit.c - "isolate.repl.edit": lines that are edited on the terminal while the event loop runs. */
/* SPDX-License-Identifier: MIT */

/*
** DESIGN. libedit asks for each character by a callback, in which main's event loop runs: so el_gets
** stays on the C stack while Lua code runs, and nothing may be raised through it. What Lua code raises
** there is caught. Without libedit, or on a terminal that cannot move its cursor, the lines are those
** that the terminal's driver edits.
*/

#include "repl.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "isolua_lua.h"
#include "repl_bind.h"
#include "repl_keys.h"
#include "repl_output.h"

#ifdef ISOLUA_LIBEDIT
#include <histedit.h>
#endif

#define TYPE "isolate.repl.editor"
#define HISTORY_MAX 10000

enum { LISTED_MAX = 200 };

typedef struct editor {
  bool open;
  lua_Hook hook; /* the user's, while code of the prompt runs */
  int hook_mask, hook_count;
  lua_State *L; /* of a read; at its index 1 is the editor, whose user value is the completer */
#ifdef ISOLUA_LIBEDIT
  EditLine *el; /* NULL: plain lines */
  History *history;
  FILE *in, *out;
  keys keys;
#endif
  const char *prompt;
  enum { READING, INTERRUPTED, DROPPED, ENDED } state; /* DROPPED: the same, with a line */
} editor;

#ifdef ISOLUA_LIBEDIT

/* -- Widths -------------------------------------------------------------------------------------- */

/* Where the cursor is after a character at column *x, as libedit draws it: a row more or none. */
static int advance(wchar_t c, int columns, int *x) {
  int width = wcwidth(c);
  if (c == L'\n') {
    *x = 0;
    return 1;
  }
  if (c == L'\t')
    width = 8 - *x % 8;
  else if (width < 0)
    width = c < 0x80 ? 2 : c > 0xffff ? 8 : 7; /* ^X, \U+1f600, \U+feff */
  if (*x + width > columns) {                  /* a wide one does not straddle */
    *x = width;
    return 1;
  }
  *x += width;
  if (*x < columns) return 0;
  *x = 0;
  return 1;
}

static int rows_of(const wchar_t *text, const wchar_t *end, int columns, int *x) {
  int rows = 0;
  for (; text < end; text++) rows += advance(*text, columns, x);
  return rows;
}

/* Without what stands between two \1: escape sequences. */
static int prompt_rows(const char *prompt, int columns, int *x) {
  mbstate_t state = {0};
  bool hidden = false;
  int rows = 0;
  while (*prompt != '\0') {
    wchar_t c;
    size_t n = mbrtowc(&c, prompt, strlen(prompt), &state);
    if (n == 0 || n > strlen(prompt)) {
      n = 1;
      c = L'?';
      state = (mbstate_t){0};
    }
    if (*prompt == '\1')
      hidden = !hidden;
    else if (!hidden)
      rows += advance(c, columns, x);
    prompt += n;
  }
  return rows;
}

/* -- libedit ------------------------------------------------------------------------------------- */

static editor *editor_of(EditLine *el) {
  void *e = NULL;
  el_get(el, EL_CLIENTDATA, &e);
  return e;
}

static char *get_prompt(EditLine *el) {
  static char empty[] = "";
  editor *e = editor_of(el);
  return e->prompt != NULL ? (char *)(uintptr_t)e->prompt : empty;
}

/* Rows between the first of the line and the cursor's. */
static int rows_to(editor *e) {
  const LineInfoW *line = el_wline(e->el);
  int columns, rows, x = 0, n;
  out_size(&columns, &rows);
  n = prompt_rows(e->prompt, columns, &x);
  return n + rows_of(line->buffer, line->cursor, columns, &x);
}

/* Erases the line, from the first of its rows on. */
static void erase_line(editor *e) {
  for (int up = rows_to(e); up > 0; up--) out_text("\033[A");
  out_text("\r\033[J");
}

static void draw(editor *e) {
  fflush(e->out);
  out_fresh();
  el_set(e->el, EL_REFRESH);
  fflush(e->out);
}

/* The cursor goes below the line, which stays, with a text at its end. */
static void leave_line(editor *e, const char *text) {
  const LineInfoW *line = el_wline(e->el);
  fflush(e->out);
  erase_line(e);
  el_cursor(e->el, (int)(line->lastchar - line->cursor));
  draw(e);
  out_text(text);
  out_text("\r\n");
}

static void to_cooked_and_back(editor *e) {
  el_set(e->el, EL_PREP_TERM, 0);
  el_set(e->el, EL_PREP_TERM, 1);
}

/* -- Keys */

static void handle(editor *e, enum term_event event) {
  if (event == TERM_CONTINUE) to_cooked_and_back(e);
  if (event == TERM_RESIZE) {
    if (out_is_dirty())
      out_text("\r\033[J");
    else
      erase_line(e); /* of the rows that the terminal has now broken it into */
    el_resize(e->el);
    draw(e);
  } else if (event == TERM_CONTINUE || out_is_dirty()) {
    draw(e);
  }
}

static bool is_empty(editor *e) {
  const LineInfoW *line = el_wline(e->el);
  return line->lastchar == line->buffer;
}

static void beep(void) {
  out_text("\a");
}

/* Takes what has come. False: the line is over. */
static bool take_event(editor *e, enum term_event event, bool ready) {
  wchar_t c;
  int got;
  if (event == TERM_INTERRUPT) {
    keys_drop(&e->keys);
    if (out_is_dirty())
      out_fresh();
    else
      leave_line(e, "^C");
    e->state = is_empty(e) ? INTERRUPTED : DROPPED;
    return false;
  }
  handle(e, event);
  if (ready) return true;
  if (event == TERM_TIMEOUT && !keys_pause(&e->keys)) beep();
  if (event != TERM_KEY) return true;
  got = term_read_char(&c);
  if (got > 0 && !keys_take(&e->keys, c)) beep();
  if (got == 0) e->state = ENDED;
  return got != 0;
}

/* The event loop has a turn before each key, also one that is there already. */
static int read_char(EditLine *el, wchar_t *c) {
  editor *e = editor_of(el);
  while (e->state == READING) {
    bool ready = keys_ready(&e->keys);
    enum term_event event;
    fflush(e->out);
    event = term_wait(e->L, rows_to(e), ready ? 0 : keys_patience(&e->keys));
    if (take_event(e, event, ready) && keys_ready(&e->keys) &&
        keys_next(&e->keys, term_is_quoted(), c))
      return 1;
  }
  return 0;
}

/* A line that was pasted. */
static unsigned char insert_pasted(EditLine *el, int key) {
  editor *e = editor_of(el);
  const wchar_t *line = keys_line(&e->keys);
  (void)key;
  if (line == NULL) return CC_NORM;
  if (*line == L'\0' || el_winsertstr(el, line) == 0) return CC_REFRESH;
  keys_drop(&e->keys);
  return CC_REFRESH_BEEP;
}

/* What the escape sequence is bound to is done; nothing, if it is unknown. */
static unsigned char do_sequence(EditLine *el, int key) {
  editor *e = editor_of(el);
  (void)key;
  if (bind_has(el, e->keys.sequence)) el_wpush(el, e->keys.sequence);
  return CC_ARGHACK;
}

/* -- Completion */

static size_t common_prefix(const char *a, const char *b, size_t limit) {
  size_t n = 0;
  while (n < limit && a[n] != '\0' && a[n] == b[n]) n++;
  while (n > 0 && ((unsigned char)a[n] & 0xc0) == 0x80) n--; /* whole characters */
  return n;
}

static int width_of(const char *text) {
  int x = 0;
  prompt_rows(text, 1 << 20, &x); /* all of it in one row */
  return x;
}

/* Prints the list at index 2 above the line, in columns. [-0, +0, m] */
static void list_words(editor *e, lua_State *L) {
  lua_Integer n = luaL_len(L, 2), shown = n > LISTED_MAX ? LISTED_MAX : n;
  int columns, rows, width = 1, per_row, down;
  luaL_Buffer b;
  out_size(&columns, &rows);
  for (lua_Integer i = 1; i <= shown; i++) {
    int w;
    lua_geti(L, 2, i);
    w = width_of(luaL_checkstring(L, -1));
    if (w > width) width = w;
    lua_pop(L, 1);
  }
  per_row = columns / (width + 2) > 0 ? columns / (width + 2) : 1;
  down = (int)((shown + per_row - 1) / per_row);
  luaL_buffinit(L, &b);
  for (int row = 0; row < down; row++) {
    for (int i = row; i < shown; i += down) {
      int pad;
      lua_geti(L, 2, i + 1);
      pad = width + 2 - width_of(lua_tostring(L, -1));
      luaL_addvalue(&b);
      while (i + down < shown && pad-- > 0) luaL_addchar(&b, ' ');
    }
    luaL_addstring(&b, "\r\n");
  }
  if (n > shown) {
    lua_pushfstring(L, "... and %I more\r\n", (LUAI_UACINT)(n - shown));
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  erase_line(e);
  out_text(lua_tostring(L, -1));
  lua_pop(L, 1);
}

/* What the words begin with is inserted instead of what stands there; nothing more: they are listed.
** Stack: the editor's completer's results, from and list. [-0, +0, m] */
static int apply(lua_State *L) {
  editor *e = lua_touserdata(L, 3);
  const LineInfo *line = el_line(e->el);
  size_t cursor = (size_t)(line->cursor - line->buffer), length, had;
  lua_Integer from = luaL_checkinteger(L, 1), n;
  const char *first;
  luaL_checktype(L, 2, LUA_TTABLE);
  n = luaL_len(L, 2);
  if (n == 0 || from < 1 || (size_t)from > cursor + 1) return 0;
  lua_geti(L, 2, 1);
  first = luaL_checklstring(L, -1, &length);
  for (lua_Integer i = 2; i <= n; i++) {
    lua_geti(L, 2, i);
    length = common_prefix(first, luaL_checkstring(L, -1), length);
    lua_pop(L, 1);
  }
  had = cursor + 1 - (size_t)from;
  if (length > had ||
      (n == 1 && (length != had || memcmp(first, line->buffer + from - 1, had) != 0))) {
    char *text = lua_newuserdatauv(L, length + 1, 0);
    mbstate_t state = {0};
    const char *at = line->buffer + from - 1;
    size_t characters = mbsnrtowcs(NULL, &at, had, 0, &state);
    memcpy(text, first, length);
    text[length] = '\0';
    if (characters != (size_t)-1 && characters > 0) el_deletestr(e->el, (int)characters);
    lua_pushboolean(L, el_insertstr(e->el, text) == 0);
    return 1;
  }
  list_words(e, L);
  draw(e);
  return 0;
}

static unsigned char complete(EditLine *el, int key) {
  editor *e = editor_of(el);
  lua_State *L = e->L;
  const LineInfo *line = el_line(el);
  int top = lua_gettop(L);
  bool found, changed;
  (void)key;
  if (!lua_checkstack(L, LUA_MINSTACK)) return CC_ERROR;
  fflush(e->out);
  lua_pushcfunction(L, apply);
  lua_getiuservalue(L, 1, 1);
  lua_pushlstring(L, line->buffer, (size_t)(line->lastchar - line->buffer));
  lua_pushinteger(L, (lua_Integer)(line->cursor - line->buffer) + 1);
  out_give(rows_to(e)); /* it may take a while */
  found = !lua_isnil(L, -3) && isolua_breakable(L, 2, 2, 0) == LUA_OK;
  out_take();
  if (out_is_dirty()) draw(e);
  if (!found) {
    lua_settop(L, top);
    return CC_ERROR;
  }
  lua_pushlightuserdata(L, e);
  changed = lua_pcall(L, 3, 1, 0) == LUA_OK && lua_toboolean(L, -1);
  lua_settop(L, top);
  return changed ? CC_REFRESH : CC_NORM;
}

/* -- Opening and closing */

static bool can_move(void) {
  const char *kind = getenv("TERM");
  return kind != NULL && kind[0] != '\0' && strcmp(kind, "dumb") != 0;
}

/* Names as wide strings: those that el_set takes it copies, and never frees. */
static void add_commands(EditLine *el) {
  el_wset(el, EL_ADDFN, L"isolua-complete", L"completes a name", complete);
  el_wset(el, EL_ADDFN, L"isolua-pasted", L"inserts a pasted line", insert_pasted);
  el_wset(el, EL_ADDFN, L"isolua-sequence", L"does an escape sequence", do_sequence);
}

/* False: it cannot be edited here. */
static bool open_libedit(editor *e) {
  HistEvent event;
  e->in = fdopen(dup(STDIN_FILENO), "r");
  e->out = fdopen(dup(out_fd()), "w");
  if (e->in == NULL || e->out == NULL) return false;
  e->el = el_init("isolua", e->in, e->out, e->out);
  e->history = history_init();
  if (e->el == NULL || e->history == NULL) return false;
  history(e->history, &event, H_SETSIZE, HISTORY_MAX);
  el_set(e->el, EL_CLIENTDATA, e);
  el_set(e->el, EL_SIGNAL, 0);
  el_set(e->el, EL_PROMPT_ESC, get_prompt, '\1');
  el_set(e->el, EL_HIST, history, e->history);
  add_commands(e->el);
  bind_keys(e->el);
  el_wset(e->el, EL_GETCFN, read_char);
  return true;
}

static void close_libedit(editor *e) {
  keys_fini(&e->keys);
  if (e->el != NULL) el_end(e->el);
  if (e->history != NULL) history_end(e->history);
  if (e->in != NULL) fclose(e->in);
  if (e->out != NULL) fclose(e->out);
  e->el = NULL;
  e->history = NULL;
  e->in = e->out = NULL;
}

/* Where a chunk has left the cursor behind the first column, the prompt gets a row of its own, behind a
** mark: that and blanks fill the row, so that the cursor is on the next one unless it stood at its
** beginning. */
static void begin_row(editor *e) {
  int columns, rows;
  out_size(&columns, &rows);
  fprintf(e->out, "\033[7m%%\033[m%*s\r \r\033[J", columns - 1, "");
  fflush(e->out);
}

/* The line with its end, libedit's; NULL: e->state says why. */
static const char *edit(editor *e, int *length) {
  const char *line;
  if (term_was_interrupted()) keys_drop(&e->keys);
  out_begin(false);
  begin_row(e);
  out_enter();
  line = el_gets(e->el, length);
  if (line == NULL && e->state == READING) e->state = ENDED;
  if (e->state == ENDED) out_text("\r\n");
  fflush(e->out);
  el_set(e->el, EL_PREP_TERM, 0);
  out_end();
  return e->state == READING ? line : NULL;
}

#endif

/* -- Plain lines ----------------------------------------------------------------------------------- */

/* Adds what is read to the buffer, on the stack of L. False: the line ended otherwise, which e->state tells. */
static bool read_bytes(editor *e, lua_State *L, luaL_Buffer *b) {
  for (;;) {
    enum term_event event = term_wait(L, 0, -1);
    char byte;
    ssize_t n;
    if (event == TERM_INTERRUPT) {
      e->state = luaL_bufflen(b) > 0 ? DROPPED : INTERRUPTED;
      return false;
    }
    if (event == TERM_CONTINUE) out_text(e->prompt);
    if (event != TERM_KEY) continue;
    n = read(STDIN_FILENO, &byte, 1);
    if (n == 1 && byte == '\n') return true;
    if (n == 1) luaL_addchar(b, byte);
    if (n != 0 && (n == 1 || errno == EINTR)) continue;
    e->state = ENDED;
    return luaL_bufflen(b) > 0;
  }
}

/* Reads a line from the terminal's driver onto the stack. Ctrl-D gives what was typed, and no line end: the
** line goes on, and the event loop with it. [-0, +1, m] */
static bool read_plain(editor *e, lua_State *L) {
  luaL_Buffer b;
  bool read;
  out_text(e->prompt);
  luaL_buffinit(L, &b);
  read = read_bytes(e, L, &b);
  luaL_pushresult(&b);
  if (!read) out_text("\n");
  return read;
}

/* -- The Lua type ---------------------------------------------------------------------------------- */

static editor *check_editor(lua_State *L) {
  editor *e = luaL_checkudata(L, 1, TYPE);
  luaL_argcheck(L, e->open, 1, "the editor is closed");
  return e;
}

static bool is_edited(const editor *e) {
#ifdef ISOLUA_LIBEDIT
  return e->el != NULL;
#else
  (void)e;
  return false;
#endif
}

/* editor:read(prompt) -> line | nil, "interrupted"|"dropped"|"eof". Dropped: interrupted, and the line was
** not empty. Escape sequences of the prompt stand between two \1. */
static int editor_read(lua_State *L) {
  editor *e = check_editor(L);
  int length = 0;
  const char *line = NULL;
  lua_settop(L, 2);
  e->L = L;
  e->prompt = luaL_checkstring(L, 2);
  e->state = READING;
#ifdef ISOLUA_LIBEDIT
  if (e->el != NULL) line = edit(e, &length);
#endif
  if (line != NULL) {
    if (length > 0 && line[length - 1] == '\n') length--;
    lua_pushlstring(L, line, (size_t)length);
    return 1;
  }
  if (!is_edited(e) && read_plain(e, L)) return 1;
  lua_pushnil(L);
  lua_pushstring(L, e->state == INTERRUPTED ? "interrupted"
                    : e->state == DROPPED   ? "dropped"
                                            : "eof");
  return 2;
}

/* editor:add(entry): the newest of the history. */
static int editor_add(lua_State *L) {
  editor *e = check_editor(L);
  const char *entry = luaL_checkstring(L, 2);
#ifdef ISOLUA_LIBEDIT
  HistEvent event;
  if (e->history != NULL) history(e->history, &event, H_ENTER, entry);
#else
  (void)e, (void)entry;
#endif
  return 0;
}

/* editor:set_completer(function(line, cursor) -> from, list): what Tab asks. */
static int editor_set_completer(lua_State *L) {
  check_editor(L);
  lua_settop(L, 2);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_setiuservalue(L, 1, 1);
  return 0;
}

/* editor:size() -> columns, rows */
static int editor_size(lua_State *L) {
  int columns, rows;
  check_editor(L);
  out_size(&columns, &rows);
  lua_pushinteger(L, columns);
  lua_pushinteger(L, rows);
  return 2;
}

/* editor:write(text): to the terminal, wherever standard output goes. */
static int editor_write(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  check_editor(L);
  out_write(text, length);
  return 0;
}

/* editor:edits() -> boolean: can it move the cursor? */
static int editor_edits(lua_State *L) {
  lua_pushboolean(L, is_edited(check_editor(L)));
  return 1;
}

/* editor:screen(on): a screen of its own, on which keys are not shown; what others print is kept until it
** is left. */
static int editor_screen(lua_State *L) {
  editor *e = check_editor(L);
  bool on = lua_toboolean(L, 2);
  luaL_argcheck(L, is_edited(e), 1, "the terminal has no second screen");
#ifdef ISOLUA_LIBEDIT
  if (on) {
    out_begin(true);
    el_set(e->el, EL_PREP_TERM, 1);
    out_enter();
  } else {
    el_set(e->el, EL_PREP_TERM, 0);
    out_end();
  }
#else
  (void)on;
#endif
  return 0;
}

/* editor:key(seconds) -> character | nil, "timeout"|"interrupted"|"resized"|"eof". On a screen of its own. */
static int editor_key(lua_State *L) {
  int64_t ns = (int64_t)(luaL_checknumber(L, 2) * 1e9);
  enum term_event event;
  wchar_t c;
  check_editor(L);
  event = term_wait(L, 0, ns);
  if (event == TERM_KEY) {
    int got = term_read_char(&c);
    if (got < 0) event = TERM_TIMEOUT;
    if (got > 0) {
      lua_pushfstring(L, "%U", (unsigned long)c);
      return 1;
    }
  }
  lua_pushnil(L);
  lua_pushstring(L, event == TERM_KEY         ? "eof"
                    : event == TERM_INTERRUPT ? "interrupted"
                    : event == TERM_TIMEOUT   ? "timeout"
                                              : "resized");
  return 2;
}

/* editor:call(f, handler, …) -> true, … | false, what `handler` made of the error. Ctrl-C ends f, whatever
** pcall it is in. */
static int editor_call(lua_State *L) {
  int n = lua_gettop(L), status;
  check_editor(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_pushvalue(L, 3);
  lua_replace(L, 1);
  lua_remove(L, 3);
  status = isolua_breakable(L, n - 3, LUA_MULTRET, 1);
  lua_pushboolean(L, status == LUA_OK);
  lua_replace(L, 1);
  return lua_gettop(L);
}

static void take_hook(editor *e, lua_State *L) {
  e->hook = lua_gethook(L);
  e->hook_mask = lua_gethookmask(L);
  e->hook_count = lua_gethookcount(L);
  lua_sethook(L, NULL, 0, 0);
}

/* editor:run_line(fn, handler, …): the same for code of the user's, with the hook that it has left the last
** time: no other code runs with that. */
static int editor_run_line(lua_State *L) {
  editor *e = check_editor(L);
  int n;
  lua_sethook(L, e->hook, e->hook_mask, e->hook_count);
  n = editor_call(L);
  take_hook(e, L);
  return n;
}

/* editor:unhook() -> was there one? It is forgotten. */
static int editor_unhook(lua_State *L) {
  editor *e = check_editor(L);
  lua_pushboolean(L, e->hook != NULL);
  e->hook = NULL;
  return 1;
}

/* editor:hung() -> ids: of the isolates and futures that waits were for which Ctrl-C ended in the last
** call. */
static int editor_hung(lua_State *L) {
  long long id;
  check_editor(L);
  lua_newtable(L);
  for (int n = 0; (id = isolua_hung(L, n)) != 0; n++) {
    lua_pushinteger(L, id);
    lua_rawseti(L, -2, n + 1);
  }
  return 1;
}

/* editor:broken() -> text | nil: what of the event loop Ctrl-C ended in the last call, or while a line was
** edited. */
static int editor_broken(lua_State *L) {
  check_editor(L);
  lua_pushstring(L, isolua_broken(L));
  return 1;
}

/* editor:on_break(fn): fn(err) is called when Ctrl-C has ended what the event loop did while a line was edited,
** or there is no memory for that. */
static int editor_on_break(lua_State *L) {
  check_editor(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  term_on_break(L);
  return 0;
}

static int editor_close(lua_State *L) {
  editor *e = luaL_checkudata(L, 1, TYPE);
  if (!e->open) return 0;
  e->open = false;
#ifdef ISOLUA_LIBEDIT
  close_libedit(e);
#endif
  term_close();
  return 0;
}

static const luaL_Reg methods[] = {{"read", editor_read},
                                   {"add", editor_add},
                                   {"set_completer", editor_set_completer},
                                   {"size", editor_size},
                                   {"write", editor_write},
                                   {"edits", editor_edits},
                                   {"screen", editor_screen},
                                   {"key", editor_key},
                                   {"call", editor_call},
                                   {"run_line", editor_run_line},
                                   {"unhook", editor_unhook},
                                   {"hung", editor_hung},
                                   {"broken", editor_broken},
                                   {"on_break", editor_on_break},
                                   {"close", editor_close},
                                   {NULL, NULL}};

/* edit.open() -> editor | nil, message. One at a time. */
static int edit_open(lua_State *L) {
  editor *e = lua_newuserdatauv(L, sizeof *e, 1);
  int code;
  memset(e, 0, sizeof *e);
  luaL_setmetatable(L, TYPE);
  code = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? term_open(L) : ENOTTY;
  if (code != 0) {
    lua_pushnil(L);
    lua_pushstring(L, strerror(code));
    return 2;
  }
  e->open = true;
  take_hook(e, L);
  /* Where none is set, as in containers, or it is not there, characters are UTF-8 as everywhere else. */
  if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
#ifdef ISOLUA_LIBEDIT
  if (can_move() && !open_libedit(e)) close_libedit(e);
#endif
  return 1;
}

static const luaL_Reg functions[] = {{"open", edit_open}, {NULL, NULL}};

int repl_open_edit(lua_State *L) {
  luaL_newmetatable(L, TYPE);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, editor_close);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__gc");
  lua_setfield(L, -2, "__close");
  lua_pushliteral(L, "isolate.repl");
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
