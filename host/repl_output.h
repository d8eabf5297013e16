/* repl_output.h - the prompt's terminal as what is written to. Of the executable alone. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_REPL_OUTPUT_H
#define IL_REPL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/*
** DESIGN. While a line is edited, descriptors 1 and 2 of the process are a pipe, so that whatever other
** threads (and children) print reaches the terminal by a thread of ours, which puts it above the line:
** it erases the rows of the line, prints, and wakes main, which draws the line anew. The mutex says who
** may write to the terminal: main holds it while the editor works, and gives it up while it waits for a
** key or runs its event loop; before that it says where the cursor is, so that the rows can be erased.
** While a chunk of the prompt runs the descriptors are the terminal's again, and what is still in the
** pipe passes through.
** Main writes to the pipe too, from its event loop: the thread reads it without ever waiting for main to
** read anything.
*/

/* Thread: main's, but for out_wake. */

/* Takes descriptor 1, which is a terminal, and 2 if that is one. 0, or an errno. */
int out_open(void);
void out_close(void);
/* Whenever the process ends: 1 and 2 are the terminal. Safe to repeat. */
void out_restore(void);
/* A descriptor of the terminal; an event (eventfd) for main: that others have printed, and out_wake. */
int out_fd(void);
int out_event(void);
void out_wake(void); /* Thread: any; safe in a signal handler */
void out_size(int *columns, int *rows);
void out_write(const char *text, size_t length);
void out_text(const char *text);

/* From here to out_end output of others goes above the line, and main holds the terminal. `hold`: it is kept
** until out_end instead: the last of it, if it is much. */
void out_begin(bool hold);
void out_end(void);
/* Tells the terminal that it is main's, as a line is edited or on a screen of its own: after out_begin; and
** that it is not, which out_end does. */
void out_enter(void);
void out_leave(void); /* Thread: any; safe in a signal handler */
/* Gives the terminal up for a while; the cursor is so many rows below the first of the line. */
void out_give(int row);
void out_take(void);
/* Have others printed over the line? While main has given up the terminal. */
bool out_wants_line(void);
/* The same while main holds it. */
bool out_is_dirty(void);
/* Cursor below all that others have printed, at the left. Before the line is drawn. */
void out_fresh(void);

#endif
