/* invalid_test.c - ISOLUA_INVALID: isolua_code_message says which argument is wrong, and how. */
/* SPDX-License-Identifier: MIT */
#include <lualib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "embed.h"
#include "one_host.h"
#include "starters.h"

#define WRONG(call, text)                                                                          \
  do {                                                                                             \
    CHECK_INT(call, ISOLUA_INVALID);                                                               \
    CHECK_TEXT(isolua_code_message(ISOLUA_INVALID), text);                                         \
  } while (0)

static char text[256];

static const char *of_size(size_t size, const char *type, size_t right) {
  snprintf(text, sizeof text,
           "`size` of the options is %zu: set it to sizeof(%s), which is %zu here", size, type,
           right);
  return text;
}

static void options_of_hosts(void) {
  isolua_host_options o = {.size = 3};
  isolua_host *h;
  WRONG(isolua_host_open(&o, &h), of_size(3, "isolua_host_options", sizeof o));
  o.size = sizeof(void *);
  WRONG(isolua_host_open(&o, &h), of_size(sizeof(void *), "isolua_host_options", sizeof o));
  WRONG(isolua_host_open(NULL, NULL), "`host` is NULL");
  o = (isolua_host_options){.size = sizeof o, .kill_signal = -2};
  WRONG(isolua_host_open(&o, &h), "`kill_signal` of the options is below -1");
  o = (isolua_host_options){.size = sizeof o, .kill_signal = 9};
  WRONG(isolua_host_open(&o, &h), "`kill_signal` of the options: signal 9 cannot be caught");
  o = (isolua_host_options){.size = sizeof o, .spares = -2};
  WRONG(isolua_host_new(&o, &h), "`spares` of the options is below -1");
  o = (isolua_host_options){.size = sizeof o, .max_time = -1};
  WRONG(isolua_host_new(&o, &h), "`max_time` of the options is negative");
  o = (isolua_host_options){.size = sizeof o, .forbid = 64};
  WRONG(isolua_host_new(&o, &h), "`forbid` of the options has other flags than ISOLUA_NO_*: 64");
}

static void options_of_isolates(void) {
  isolua_options o;
  if (!open_host()) return;
  for (int i = 0; i < STARTERS; i++) {
    o = (isolua_options){.size = sizeof o + 8};
    WRONG(starters[i](host, &o), of_size(sizeof o + 8, "isolua_options", sizeof o));
    o = (isolua_options){.size = sizeof o, .timeout = -1};
    WRONG(starters[i](host, &o), "`timeout` of the options is negative (0: none)");
    o = (isolua_options){.size = sizeof o, .libs = "string tabel math"};
    WRONG(starters[i](host, &o), "`libs` of the options: there is no library 'tabel'");
    o = (isolua_options){.size = sizeof o, .gc = "fast"};
    WRONG(starters[i](host, &o),
          "`gc` of the options is 'fast', not generational, incremental or stop");
    o = (isolua_options){.size = sizeof o, .args = new_message()};
    isolua_add_list(o.args, 0);
    WRONG(starters[i](host, &o), "a table of the message is not ended");
    WRONG(starters[i](NULL, NULL), "`host` is NULL");
  }
  WRONG(isolua_run_string(host, NULL, NULL, &(isolua_future *){NULL}), "what is to be run is NULL");
  WRONG(isolua_spawn_file(host, NULL, "", NULL), "the last argument is NULL");
  close_host();
}

static void options_of_pools(void) {
  isolua_pool_options o = {.size = 1};
  isolua_job_options job = {.size = 2};
  isolua_options options = {.size = sizeof options, .args = new_message()};
  isolua_pool *p, *pool;
  isolua_future *f;
  if (!open_host()) return;
  WRONG(isolua_pool_new(host, NULL, &o, &p), of_size(1, "isolua_pool_options", sizeof o));
  o = (isolua_pool_options){.size = sizeof o, .idle = -2};
  WRONG(isolua_pool_new(host, NULL, &o, &p), "`idle` of the pool's options is below -1");
  o = (isolua_pool_options){.size = sizeof o, .max_jobs = -1};
  WRONG(isolua_pool_new(host, NULL, &o, &p), "`max_jobs` of the pool's options is negative");
  o = (isolua_pool_options){.size = sizeof o, .retries = -1};
  WRONG(isolua_pool_new(host, NULL, &o, &p), "`retries` of the pool's options is negative");
  WRONG(isolua_pool_new(host, &options, NULL, &p),
        "`args` of the options: jobs have arguments, a pool has none");
  WRONG(isolua_pool_new(NULL, NULL, NULL, &p), "`host` is NULL");
  WRONG(isolua_pool_new(host, NULL, NULL, NULL), "`pool` is NULL");
  CHECK_INT(isolua_pool_new(host, NULL, NULL, &pool), ISOLUA_OK);
  WRONG(isolua_submit_string(pool, &job, "", NULL, 0, &f),
        of_size(2, "isolua_job_options", sizeof job));
  job = (isolua_job_options){.size = sizeof job, .timeout = -1};
  WRONG(isolua_submit_string(pool, &job, "", NULL, 0, &f),
        "`timeout` of the options is negative (0: none)");
  job = (isolua_job_options){.size = sizeof job, .priority = 200};
  WRONG(isolua_submit_string(pool, &job, "", NULL, 0, &f),
        "`priority` of the options is 200, not from -128 to 127");
  WRONG(isolua_submit_string(NULL, NULL, "", NULL, 0, &f), "`pool` is NULL");
  WRONG(isolua_submit_string(pool, NULL, NULL, NULL, 0, &f), "`source` is NULL");
  WRONG(isolua_submit_string(pool, NULL, "", NULL, 0, NULL), "`future` is NULL");
  isolua_pool_release(pool);
  close_host();
}

/* What broke a message is told again by what sends it. */
#define BREAKS(prepare, call, why)                                                                 \
  do {                                                                                             \
    isolua_message *m = new_message();                                                             \
    prepare;                                                                                       \
    WRONG(call, why);                                                                              \
    WRONG(isolua_add_boolean(m, 1), why);                                                          \
    isolua_message_new(NULL);                                                                      \
    WRONG(isolua_send(sender, m, 0), why);                                                         \
    isolua_message_free(m);                                                                        \
  } while (0)

static void messages(void) {
  isolua_receiver *receiver;
  isolua_sender *sender;
  isolua_block *block;
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &receiver, &sender), ISOLUA_OK);
  BREAKS((void)0, isolua_add_end(m), "there is no table to end");
  BREAKS(isolua_add_map(m, 0), isolua_add_nil(m),
         "a key in a map is a string, a number that is not NaN, or a boolean");
  BREAKS(isolua_add_map(m, 0), isolua_add_number(m, (double)NAN),
         "a key in a map is a string, a number that is not NaN, or a boolean");
  BREAKS((isolua_add_map(m, 0), isolua_add_string(m, "x")), isolua_add_end(m),
         "a key in a map has no value");
  BREAKS((void)0, isolua_add_bytes(m, NULL, 1), "`bytes` is NULL");
  BREAKS((void)0, isolua_add_sender(m, NULL), "what is to be added is NULL");
  BREAKS((void)0, isolua_add_block(m, NULL), "`block` is NULL");
  CHECK_INT(isolua_block_new(8, &block), ISOLUA_OK);
  isolua_block_retain(block);
  BREAKS((void)0, isolua_add_block(m, block), "somebody else holds the block, which is not frozen");
  isolua_block_release(block);
  BREAKS((isolua_add_integer(m, 1), isolua_message_value(m, 1)), isolua_add_nil(m),
         "a message that was received, read or sent takes no more values");
  WRONG(isolua_add_nil(NULL), "`message` is NULL");
  WRONG(isolua_message_new(NULL), "`message` is NULL");
  isolua_receiver_close(receiver);
  isolua_sender_release(sender);
  close_host();
}

static void tables_nested_too_deeply(void) {
  isolua_message *m = new_message();
  int code = ISOLUA_OK;
  while (code == ISOLUA_OK) code = isolua_add_list(m, 0);
  CHECK_INT(code, ISOLUA_INVALID);
  CHECK_TEXT(isolua_code_message(ISOLUA_INVALID), "tables are nested too deeply");
  isolua_message_free(m);
}

static void ports(void) {
  isolua_receiver *receiver;
  isolua_sender *sender;
  isolua_message *m = new_message(), *got;
  if (!open_host()) return;
  WRONG(isolua_receiver_new(NULL, NULL, 0, &receiver, &sender), "`host` is NULL");
  WRONG(isolua_receiver_new(host, NULL, 0, NULL, &sender), "`receiver` is NULL");
  WRONG(isolua_receiver_new(host, NULL, 0, &receiver, NULL), "`sender` is NULL");
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &receiver, &sender), ISOLUA_OK);
  WRONG(isolua_send(NULL, m, 0), "`sender` is NULL");
  WRONG(isolua_send(sender, NULL, 0), "`message` is NULL");
  WRONG(isolua_send(sender, m, 0), "the message has 0 values: one is sent");
  isolua_add_nil(m);
  isolua_add_nil(m);
  WRONG(isolua_send(sender, m, 0), "the message has 2 values: one is sent");
  CHECK_INT(isolua_add_nil(m), ISOLUA_OK); /* it was not harmed */
  WRONG(isolua_receive(NULL, 0, &got), "`receiver` is NULL");
  WRONG(isolua_receive(receiver, 0, NULL), "`message` is NULL");
  WRONG(isolua_receiver_on_message(NULL, NULL, NULL), "`receiver` is NULL");
  isolua_message_free(m);
  isolua_receiver_close(receiver);
  isolua_sender_release(sender);
  close_host();
}

static void what_is_null(void) {
  isolua_future *f;
  isolua_block *block;
  if (!open_host()) return;
  WRONG(isolua_future_wait(NULL, 0), "`future` is NULL: what was to make it has failed");
  WRONG(isolua_future_on_done(NULL, NULL, NULL), "`future` is NULL");
  f = embed_run(host, NULL, "");
  WRONG(isolua_future_on_done(f, NULL, NULL), "`callback` is NULL");
  isolua_future_release(f);
  WRONG(isolua_block_new(1, NULL), "`block` is NULL");
  WRONG(isolua_block_wrap(text, 1, NULL, NULL, NULL), "`block` is NULL");
  WRONG(isolua_block_wrap(NULL, 1, NULL, NULL, &block), "`bytes` is NULL");
  WRONG(isolua_atomic_new(1, NULL), "`atomic` is NULL");
  WRONG(isolua_isolate_kill(NULL, 0, 0), "`isolate` is NULL");
  close_host();
}

static void states(void) {
  lua_State *L = luaL_newstate(), *M = luaL_newstate(), *main;
  if (!open_host()) return;
  luaL_openlibs(L);
  isolua_open_modules(L);
  WRONG(isolua_detach(L), "the state is not attached");
  WRONG(isolua_detach(NULL), "`L` is NULL");
  WRONG(isolua_attach(host, NULL), "`L` is NULL");
  WRONG(isolua_main_open(NULL, &main), "`host` is NULL");
  WRONG(isolua_main_open(host, NULL), "`L` is NULL");
  CHECK_INT(isolua_attach(host, L), ISOLUA_OK);
  WRONG(isolua_attach(host, L), "the state is attached already");
  WRONG(isolua_attach(host, M), "the host has a main isolate already");
  WRONG(isolua_main_open(host, &main), "the host has a main isolate already");
  isolua_pushself(L);
  WRONG(isolua_isolate_kill(isolua_checkisolate(L, -1), 0, 0), "a main isolate cannot be killed");
  WRONG(isolua_isolate_resume(L, isolua_checkisolate(L, -1), 0), "a main isolate is not paused");
  lua_settop(L, 0);
  CHECK_INT(isolua_detach(L), ISOLUA_OK);
  CHECK_INT(isolua_main_open(host, &main), ISOLUA_OK);
  WRONG(isolua_detach(main), "the state belongs to an isolate, or to isolua_main_open");
  isolua_main_close(main);
  CHECK_INT(isolua_attach(NULL, M), ISOLUA_OK);
  WRONG(isolua_detach(M), "the state has a host of its own, and is detached when it is closed");
  lua_close(L);
  lua_close(M);
  close_host();
}

/* Where a host cannot be closed. */
static void closes(void *ud, isolua_future *f) {
  (void)f;
  WRONG(isolua_host_close(host, 0), "a callback of isolua_pump closes its host");
  ++*(int *)ud;
}

static void closes_in_print(void *ud, long long isolate, const char *name, const char *line,
                            size_t length) {
  (void)isolate, (void)name, (void)line, (void)length;
  WRONG(isolua_host_close(host, 0), "an isolate closes its host");
  ++*(int *)ud;
}

static void closing_a_host(void) {
  int closed = 0;
  isolua_host_options o = {.print = closes_in_print, .print_ud = &closed};
  isolua_future *f;
  host = embed_open(&o);
  f = embed_run(host, NULL, "print(1)");
  CHECK_INT(isolua_future_on_done(f, closes, &closed), ISOLUA_OK);
  CHECK_INT(isolua_future_wait(f, SOON), ISOLUA_OK);
  while (closed < 2 && check_passing()) isolua_pump(host, -1, -1);
  isolua_future_release(f);
  close_host();
}

/* Each thread has what its own last failure found. */
static void ask(int index, void *arg) {
  isolua_options o = {.size = sizeof o};
  char libs[16], wanted[80];
  (void)arg;
  CHECK_TEXT(isolua_code_message(ISOLUA_INVALID), "an argument is wrong");
  for (int k = 0; k < 100; k++) {
    isolua_future *f;
    snprintf(libs, sizeof libs, "lib%d", index * 100 + k);
    snprintf(wanted, sizeof wanted, "`libs` of the options: there is no library '%s'", libs);
    o.libs = libs;
    WRONG(isolua_run_string(host, &o, "", &f), wanted);
  }
}

static void each_thread(void) {
  if (!open_host()) return;
  check_parallel(4, ask, NULL);
  close_host();
}

static const check_case cases[] = {
  {"options of hosts are told by their names", options_of_hosts},
  {"options of isolates are told by their names", options_of_isolates},
  {"options of pools and jobs are told by their names", options_of_pools},
  {"what breaks a message is told, and told again when it is sent", messages},
  {"tables that are nested too deeply are told", tables_nested_too_deeply},
  {"arguments for ports are told", ports},
  {"arguments that are NULL are told", what_is_null},
  {"states that cannot be attached or detached are told", states},
  {"who cannot close a host is told", closing_a_host},
  {"each thread is told of its own", each_thread},
};
CHECK_MAIN(cases)
