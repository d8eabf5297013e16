/* embed.c - hosts and futures for tests. */
/* SPDX-License-Identifier: MIT */
#include "embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- Captures ---------------------------------------------------------------------------------- */

void capture_text(void *ud, const char *text, size_t length) {
  capture *c = ud;
  pthread_mutex_lock(&c->lock);
  c->calls++;
  if (length < sizeof c->text - c->length) { /* and a zero */
    memcpy(c->text + c->length, text, length);
    c->length += length;
  }
  pthread_mutex_unlock(&c->lock);
}

void capture_print(void *ud, long long isolate, const char *name, const char *text, size_t length) {
  (void)isolate, (void)name;
  capture_text(ud, text, length);
}

int capture_calls(capture *c) {
  int calls;
  pthread_mutex_lock(&c->lock);
  calls = c->calls;
  pthread_mutex_unlock(&c->lock);
  return calls;
}

bool capture_has(capture *c, const char *part) {
  bool has;
  pthread_mutex_lock(&c->lock);
  has = strstr(c->text, part) != NULL;
  pthread_mutex_unlock(&c->lock);
  return has;
}

typedef struct awaited {
  capture *capture;
  int calls;
} awaited;

static bool was_called(void *arg) {
  awaited *a = arg;
  return capture_calls(a->capture) >= a->calls;
}

bool capture_wait(capture *c, int calls) {
  awaited a = {c, calls};
  return check_eventually(was_called, &a);
}

/* -- Hosts and futures ------------------------------------------------------------------------- */

isolua_host *embed_open(isolua_host_options *options) {
  isolua_host *host = NULL;
  if (options != NULL) options->size = sizeof *options;
  return CHECK_INT(isolua_host_open(options, &host), ISOLUA_OK) ? host : NULL;
}

void embed_close(isolua_host *host) {
  CHECK_INT(isolua_host_close(host, SOON), ISOLUA_OK);
}

void embed_in_main(lua_CFunction test) {
  isolua_host *host = embed_open(NULL);
  lua_State *L;
  if (host == NULL) return;
  if (CHECK_INT(isolua_main_open(host, &L), ISOLUA_OK)) {
    lua_pushcfunction(L, test);
    if (!CHECK_INT(lua_pcall(L, 0, 0, 0), LUA_OK))
      printf("      %s\n", luaL_tolstring(L, -1, NULL));
    isolua_main_close(L);
  }
  embed_close(host);
}

bool embed_raises(lua_State *L, lua_CFunction f, int index, const char *part) {
  bool good;
  int top = lua_gettop(L);
  index = lua_absindex(L, index);
  lua_pushcfunction(L, f);
  lua_pushvalue(L, index);
  good = CHECK(lua_pcall(L, 1, 0, 0) != LUA_OK) && CHECK_PART(luaL_tolstring(L, -1, NULL), part);
  lua_settop(L, top);
  return good;
}

isolua_future *embed_run(isolua_host *host, isolua_options *options, const char *source) {
  isolua_future *future = NULL;
  if (options != NULL) options->size = sizeof *options;
  if (!CHECK_INT(isolua_run_string(host, options, source, &future), ISOLUA_OK)) return NULL;
  return future;
}

bool embed_settles(isolua_future *future, int code, const char *part) {
  int actual;
  bool good;
  if (future == NULL) return false;
  actual = isolua_future_wait(future, SOON);
  good = CHECK(isolua_future_done(future)) && CHECK_INT(actual, code);
  if (!good && actual != ISOLUA_OK && isolua_future_done(future))
    printf("      %s\n", isolua_future_message(future));
  if (good && part != NULL) good = CHECK_PART(isolua_future_message(future), part);
  return good;
}

bool embed_gives(isolua_host *host, isolua_options *options, const char *source, int code,
                 const char *part) {
  isolua_future *future = embed_run(host, options, source);
  bool good = embed_settles(future, code, part);
  isolua_future_release(future);
  if (!good) printf("      %.200s\n", source);
  return good;
}

/* -- Files ------------------------------------------------------------------------------------- */

bool embed_write(embed_file *file, const char *name, const char *bytes, size_t length) {
  const char *below = getenv("TMPDIR");
  FILE *f;
  snprintf(file->folder, sizeof file->folder, "%.200s/isolua-XXXXXX",
           below != NULL ? below : "/tmp");
  if (!CHECK(mkdtemp(file->folder) != NULL)) return false;
  snprintf(file->path, sizeof file->path, "%.250s/%.200s", file->folder, name);
  f = fopen(file->path, "wb");
  if (!CHECK(f != NULL)) return false;
  CHECK_INT(fwrite(bytes, 1, length, f), length);
  return CHECK_INT(fclose(f), 0);
}

void embed_remove(embed_file *file) {
  remove(file->path);
  rmdir(file->folder);
}
