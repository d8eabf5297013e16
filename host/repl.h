/* repl.h - the terminal of the prompt, and its line editor. Of the executable alone. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_REPL_H
#define IL_REPL_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <wchar.h>

/* How term_wait ended. */
enum term_event { TERM_KEY, TERM_INTERRUPT, TERM_RESIZE, TERM_CONTINUE, TERM_TIMEOUT, TERM_DRAW };

/* One terminal a process; what is written to it is in repl_output.h. Thread of all: main's. */

/* Takes descriptors 0 and 1, which are a terminal, and the signals INT and WINCH; those that end the process
** leave the terminal as it was; INT stops what isolua_breakable runs. 0, or an errno. [-0, +0, -] */
int term_open(lua_State *L);
void term_close(void);
/* Whenever the process ends: the terminal is as it was. Safe to repeat. */
void term_restore(void);
/* Runs main's event loop until something is there, or `ns` are over (-1: forever). TERM_DRAW: others have
** printed over the line whose cursor is `row` rows below its first. [-0, +0, -] */
enum term_event term_wait(lua_State *L, int row, int64_t ns);
/* Reads a byte, which is there. 1: a character; 0: the end; -1: there is more to it, or it is none, for which
** the terminal beeps. */
int term_read_char(wchar_t *c);
/* Is the next character to stand for itself, whatever key it is? */
bool term_is_quoted(void);
/* Was Ctrl-C pressed since this was asked before? */
bool term_was_interrupted(void);

/* The function on the top gets what the event loop raises in term_wait: Ctrl-C's, or for want of memory;
** all else that reports by itself. As a message handler. [-1, +0, m] */
void term_on_break(lua_State *L);

/* luaopen of "isolate.repl.edit". */
int repl_open_edit(lua_State *L);

#endif
