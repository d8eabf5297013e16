/* repl_bind.h - what the keys of the line editor do. Of the executable alone, with libedit. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_REPL_BIND_H
#define IL_REPL_BIND_H

#ifdef ISOLUA_LIBEDIT

#include <histedit.h>
#include <stdbool.h>
#include <wchar.h>

/* Binds keys to the commands isolua-complete, isolua-pasted and isolua-sequence, which are libedit's by now
** (EL_ADDFN), and those that it leaves out; then reads the user's ~/.editrc, which has the last word. */
void bind_keys(EditLine *el);
/* Does an escape sequence do anything, in each of the modes that the editor can be in? */
bool bind_has(EditLine *el, const wchar_t *sequence);

#endif

#endif
