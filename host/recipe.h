/* recipe.h - what the isolates of a pool are started with. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_RECIPE_H
#define IL_RECIPE_H

#include "pool.h"
#include "task.h"

/* il_pool.starting */
typedef struct il_recipe {
  isolua_options base;
  il_task *task;                     /* to be copied */
  bool capture, strip, errors_go_on; /* capture, strip: of functions that Lua code submits */
} il_recipe;

/* Of the options, with an empty task. ISOLUA_INVALID, ISOLUA_MEMORY. */
int il_recipe_new(const isolua_host *host, const isolua_options *o, il_recipe **recipe);
void il_recipe_free(il_recipe *r); /* NULL does nothing */

/* A pool with one hold, named by the options `o` of the recipe, which it takes over. ISOLUA_INVALID (limits),
** ISOLUA_MEMORY: the recipe is the caller's. */
int il_recipe_pool(isolua_host *host, const isolua_options *o, const isolua_pool_options *limits,
                   il_recipe *r, il_pool **pool);

#endif
