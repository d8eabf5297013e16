/* embed.h - what tests of isolua.h share: hosts, futures, and what callbacks were given. */
/* SPDX-License-Identifier: MIT */
#ifndef EMBED_H
#define EMBED_H

#include <pthread.h>

#include "check.h"
#include "isolua_lua.h"

#define MILLISECOND (ISOLUA_SECOND / 1000)
#define SOON (20 * ISOLUA_SECOND) /* what should come at once has come by then */

/* Lua code that does not end by itself. */
#define ENDLESS "while true do end"

/* The text that a log or print callback was given. Begin with CAPTURE. */
typedef struct capture {
  pthread_mutex_t lock; /* guards all below */
  char text[65536];     /* what does not fit is dropped */
  size_t length;
  int calls;
} capture;
#define CAPTURE                                                                                    \
  { .lock = PTHREAD_MUTEX_INITIALIZER }

void capture_text(void *ud, const char *text, size_t length); /* an isolua_log */
void capture_print(void *ud, long long isolate, const char *name, const char *text,
                   size_t length); /* an isolua_print */
int capture_calls(capture *c);
bool capture_has(capture *c, const char *part);
/* Waits until the callback was called `calls` times. */
bool capture_wait(capture *c, int calls);

/* Opens a host; `options` NULL: all defaults; else its `size` is set. NULL: failed, and checked. */
isolua_host *embed_open(isolua_host_options *options);
/* Closes it and checks that all isolates have ended. */
void embed_close(isolua_host *host);

/* Calls `test`, which must raise nothing, in the main state of a host, without arguments. */
void embed_in_main(lua_CFunction test);
/* Calls `f`, with a copy of the value at `index`, and checks that it raises what holds `part`. */
bool embed_raises(lua_State *L, lua_CFunction f, int index, const char *part);

/* Runs `source`; `options` as above. NULL: failed, and checked. */
isolua_future *embed_run(isolua_host *host, isolua_options *options, const char *source);

/* Checks that `future` settles with `code`, and that its message holds `part`, unless NULL. */
bool embed_settles(isolua_future *future, int code, const char *part);

/* The same of `source`, which it runs. */
bool embed_gives(isolua_host *host, isolua_options *options, const char *source, int code,
                 const char *part);

/* Writes a file in a folder of its own below TMPDIR, which embed_remove removes. */
typedef struct embed_file {
  char folder[256], path[512];
} embed_file;
bool embed_write(embed_file *file, const char *name, const char *bytes, size_t length);
void embed_remove(embed_file *file);

#endif
