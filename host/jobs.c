/* jobs.c - isolua.h: pools for C code, whose jobs are chunks. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "native.h"
#include "recipe.h"

/* -- Pools ------------------------------------------------------------------------------------- */

int isolua_pool_new(isolua_host *host, const isolua_options *options,
                    const isolua_pool_options *limits, isolua_pool **pool) {
  isolua_options o;
  il_recipe *r;
  int err = il_options_copy(&o, options);
  if (pool != NULL) *pool = NULL;
  if (err != ISOLUA_OK) return err;
  if (o.args != NULL) {
    isolua_message_free(o.args); /* taken over, as by all who take these options */
    return il_invalid("`args` of the options: jobs have arguments, a pool has none");
  }
  if (IL_NULL(host) || IL_NULL(pool)) return ISOLUA_INVALID;
  err = il_recipe_new(host, &o, &r);
  if (err != ISOLUA_OK) return err;
  err = il_recipe_pool(host, &o, limits, r, pool);
  if (err != ISOLUA_OK) il_recipe_free(r);
  return err;
}

void isolua_pool_close(isolua_pool *p) {
  if (p != NULL) il_pool_close(p);
}

void isolua_pool_cancel(isolua_pool *p, const char *reason) {
  if (p != NULL) il_pool_cancel(p, reason);
}

isolua_future *isolua_pool_empty(isolua_pool *p) {
  return p != NULL ? p->empty : NULL;
}

void isolua_pool_look(isolua_pool *p, isolua_pool_stats *out) {
  memset(out, 0, sizeof *out);
  if (p != NULL) il_pool_look(p, out);
}

void isolua_pool_retain(isolua_pool *p) {
  if (p != NULL) il_handle_retain(&p->h);
}

void isolua_pool_release(isolua_pool *p) {
  il_handle_release((il_handle *)p);
}

/* -- Jobs -------------------------------------------------------------------------------------- */

static int copy_options(const isolua_job_options *from, isolua_job_options *to) {
  memset(to, 0, sizeof *to);
  if (from == NULL) return ISOLUA_OK;
  if (IL_SIZED(from, isolua_job_options) != ISOLUA_OK) return ISOLUA_INVALID;
  memcpy(to, from, from->size);
  if (to->timeout < 0) return il_invalid("`timeout` of the options is negative (0: none)");
  if (to->priority >= IL_PRIORITY_MIN && to->priority <= IL_PRIORITY_MAX) return ISOLUA_OK;
  return il_invalid("`priority` of the options is %d, not from %d to %d", to->priority,
                    IL_PRIORITY_MIN, IL_PRIORITY_MAX);
}

/* The chunk, and what names it. False: no memory. */
static bool set_chunk(il_work *w, const char *name, const char *source, size_t length) {
  size_t n = strlen(name) + 1;
  w->chunk = malloc(n + length);
  if (w->chunk == NULL) return false;
  memcpy(w->chunk, name, n);
  memcpy(w->chunk + n, source, length);
  w->chunk_length = n + length;
  if (*name == '=' || *name == '@') name++;
  strncpy(w->source, name, sizeof w->source - 1);
  return true;
}

/* NULL: no memory. */
static il_work *new_work(il_pool *p, const isolua_job_options *o, const char *chunkname,
                         const char *source, size_t length) {
  il_work *w = il_work_new(p);
  if (w == NULL) return NULL;
  if ((o->name != NULL && (w->name = strdup(o->name)) == NULL) ||
      !set_chunk(w, chunkname != NULL ? chunkname : "=(isolua)", source, length)) {
    il_work_release(w);
    return NULL;
  }
  w->timeout = o->timeout != 0 ? o->timeout : p->o.timeout;
  w->priority = o->priority;
  w->retries = p->o.retries;
  return w;
}

/* One that is in the queue by the deadline: OK, and the hold is gone. */
static int send_work(il_pool *p, il_work *w, int64_t timeout) {
  int64_t deadline = il_deadline(timeout);
  int err = il_pool_send(p, w, timeout != 0);
  if (err != ISOLUA_FULL || timeout == 0) return err;
  if (il_future_wait(w->admitted, deadline))
    err = w->admitted->result.code;
  else if (!il_pool_withdraw(p, w))
    err = ISOLUA_OK;
  if (err == ISOLUA_OK) il_work_release(w);
  return err;
}

int isolua_submit_buffer(isolua_pool *pool, const isolua_job_options *options, const char *source,
                         size_t length, const char *chunkname, isolua_message *args,
                         int64_t timeout, isolua_future **future) {
  isolua_job_options o;
  il_work *w;
  int err = copy_options(options, &o);
  if (future != NULL) *future = NULL;
  if (err == ISOLUA_OK && (IL_NULL(pool) || IL_NULL(source) || IL_NULL(future)))
    err = ISOLUA_INVALID;
  if (err == ISOLUA_OK && il_host_is_closing(pool->host)) err = ISOLUA_CLOSED;
  if (err == ISOLUA_OK && args != NULL) err = il_message_seal(args, true);
  if (err != ISOLUA_OK) return err;
  w = new_work(pool, &o, chunkname, source, length);
  if (w == NULL) return ISOLUA_MEMORY;
  if (args != NULL) {
    il_values_free(args->values); /* whoever runs it frees what they are made of */
    args->values = NULL;
    w->call = args->item.u.msg;
  }
  il_future_retain(&w->future);
  err = send_work(pool, w, timeout);
  if (err != ISOLUA_OK) {
    w->call = NULL;
    il_future_release(&w->future);
    il_work_release(w);
    return err;
  }
  if (args != NULL) args->item.kind = IL_ITEM_NONE;
  isolua_message_free(args);
  *future = &w->future;
  return ISOLUA_OK;
}

int isolua_submit_string(isolua_pool *p, const isolua_job_options *options, const char *source,
                         isolua_message *args, int64_t timeout, isolua_future **future) {
  return isolua_submit_buffer(p, options, source, source != NULL ? strlen(source) : 0, NULL, args,
                              timeout, future);
}
