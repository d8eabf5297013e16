/* native_test.c - isolua.h: messages, blocks, native ports, isolates that live, and the pump. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lualib.h>

#include "one_host.h"

/* `source` with the arguments in `args` gives true. */
static void check_true_of(isolua_message *args, const char *source) {
  isolua_options o = {.size = sizeof o, .args = args};
  isolua_future *f = embed_run(host, &o, source);
  if (embed_settles(f, ISOLUA_OK, NULL) && !CHECK_INT(isolua_future_boolean(f, 1), 1))
    printf("      %s\n", source);
  isolua_future_release(f);
}

/* -- Messages ---------------------------------------------------------------------------------- */

static void messages_carry_every_type(void) {
  isolua_message *m;
  if (!open_host()) return;
  m = new_message();
  isolua_add_nil(m);
  isolua_add_boolean(m, 1);
  isolua_add_boolean(m, 0);
  isolua_add_integer(m, INT64_MIN);
  isolua_add_number(m, 0.5);
  isolua_add_number(m, NAN);
  isolua_add_string(m, "text");
  isolua_add_string(m, NULL);
  isolua_add_bytes(m, "a\0b", 3);
  CHECK_INT(isolua_add_bytes(m, NULL, 0), ISOLUA_OK);
  CHECK_INT(isolua_message_count(m), 10);
  check_true_of(m, "local a, b, c, d, e, f, g, h, i, j = ... "
                   "return a == nil and b == true and c == false and d == math.mininteger "
                   "and e == 0.5 and f ~= f and g == 'text' and h == nil and i == 'a\\0b' "
                   "and j == '' and select('#', ...) == 10");
  close_host();
}

static void messages_carry_tables(void) {
  isolua_message *m;
  if (!open_host()) return;
  m = new_message();
  isolua_add_list(m, 3);
  for (int i = 1; i <= 3; i++) isolua_add_integer(m, i * i);
  isolua_add_list(m, 0);
  isolua_add_end(m);
  isolua_add_end(m);
  isolua_add_map(m, 4);
  isolua_add_string(m, "name");
  isolua_add_string(m, "ok");
  isolua_add_integer(m, 7);
  isolua_add_nil(m);
  isolua_add_number(m, 0.5);
  isolua_add_boolean(m, 1);
  isolua_add_boolean(m, 0);
  isolua_add_map(m, 0);
  isolua_add_string(m, "deep");
  isolua_add_list(m, SIZE_MAX);
  isolua_add_string(m, "er");
  isolua_add_end(m);
  isolua_add_end(m);
  CHECK_INT(isolua_add_end(m), ISOLUA_OK);
  check_true_of(m, "local l, t = ... return #l == 4 and l[3] == 9 and #l[4] == 0 "
                   "and t.name == 'ok' and t[7] == nil and t[0.5] == true "
                   "and t[false].deep[1] == 'er'");
  close_host();
}

static void messages_are_read(void) {
  isolua_message *m = new_message();
  const isolua_value *v, *key, *value;
  size_t n, at = 0;
  int pairs = 0;
  isolua_add_map(m, 0);
  for (int i = 0; i < 100; i++) {
    char name[16];
    snprintf(name, sizeof name, "key%d", i);
    isolua_add_string(m, name);
    isolua_add_integer(m, i);
  }
  isolua_add_string(m, "list");
  isolua_add_list(m, 2);
  isolua_add_string(m, "one");
  isolua_add_number(m, 2.0);
  isolua_add_end(m);
  isolua_add_integer(m, -5);
  isolua_add_boolean(m, 1);
  isolua_add_end(m);
  v = isolua_message_value(m, 1);
  CHECK_INT(isolua_value_type(v), ISOLUA_TTABLE);
  CHECK_INT(isolua_value_integer(isolua_value_get(v, "key99")), 99);
  CHECK(isolua_value_get(v, "key100") == NULL);
  CHECK_INT(isolua_value_boolean(isolua_value_at(v, -5)), 1);
  CHECK(isolua_value_at(v, 1) == NULL);
  while (isolua_value_next(v, &at, &key, &value)) pairs++;
  CHECK_INT(pairs, 102);
  v = isolua_value_get(v, "list");
  CHECK_INT(isolua_value_length(v), 2);
  CHECK_TEXT(isolua_value_string(isolua_value_at(v, 1), &n), "one");
  CHECK_INT(n, 3);
  CHECK_INT(isolua_value_integer(isolua_value_at(v, 2)), 2);
  CHECK(isolua_value_number(isolua_value_at(v, 2)) == 2.0);
  CHECK_INT(isolua_value_type(isolua_value_at(v, 2)), ISOLUA_TNUMBER);
  at = 0;
  CHECK_INT(isolua_value_next(v, &at, &key, &value), 1);
  CHECK(key == NULL && at == 1);
  CHECK(isolua_message_value(m, 2) == NULL);
  CHECK(isolua_message_value(m, 0) == NULL);
  CHECK_INT(isolua_add_nil(m), ISOLUA_INVALID);
  isolua_message_free(m);
  isolua_message_free(NULL);
}

/* Of what is not there. */
static void nothing_is_read_of_nothing(void) {
  const isolua_value *key, *value;
  size_t n = 1, at = 0;
  CHECK_INT(isolua_message_count(NULL), 0);
  CHECK(isolua_message_value(NULL, 1) == NULL);
  CHECK_INT(isolua_value_type(NULL), ISOLUA_TNONE);
  CHECK_INT(isolua_value_boolean(NULL), 0);
  CHECK_INT(isolua_value_integer(NULL), 0);
  CHECK(isolua_value_number(NULL) == 0);
  CHECK(isolua_value_string(NULL, &n) == NULL && n == 0);
  CHECK_INT(isolua_value_length(NULL), 0);
  CHECK(isolua_value_at(NULL, 1) == NULL);
  CHECK(isolua_value_get(NULL, "x") == NULL);
  CHECK_INT(isolua_value_next(NULL, &at, &key, &value), 0);
  CHECK(isolua_value_sender(NULL) == NULL);
  CHECK(isolua_value_block(NULL, &n) == NULL);
}

/* One that cannot be sent says so, and stays so. */
static void check_broken(isolua_message *m, int code) {
  isolua_receiver *r;
  isolua_sender *s;
  if (!CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK)) return;
  CHECK_INT(isolua_send(s, m, 0), code);
  isolua_message_free(m);
  isolua_sender_release(s);
  isolua_receiver_close(r);
}

static void messages_refuse_what_cannot_be(void) {
  isolua_message *m;
  isolua_block *b;
  if (!open_host()) return;
  CHECK_INT(isolua_message_new(NULL), ISOLUA_INVALID);
  check_broken(new_message(), ISOLUA_INVALID); /* it has no value */
  m = new_message();
  isolua_add_nil(m);
  isolua_add_nil(m);
  check_broken(m, ISOLUA_INVALID); /* it has two */
  m = new_message();
  isolua_add_list(m, 0);
  CHECK(isolua_message_value(m, 1) == NULL);
  check_broken(m, ISOLUA_INVALID); /* it is open */
  m = new_message();
  CHECK_INT(isolua_add_end(m), ISOLUA_INVALID);
  CHECK_INT(isolua_add_nil(m), ISOLUA_INVALID);
  check_broken(m, ISOLUA_INVALID);
  m = new_message();
  isolua_add_map(m, 0);
  CHECK_INT(isolua_add_nil(m), ISOLUA_INVALID);
  isolua_message_free(m);
  m = new_message();
  isolua_add_map(m, 0);
  CHECK_INT(isolua_add_number(m, NAN), ISOLUA_INVALID);
  isolua_message_free(m);
  m = new_message();
  isolua_add_map(m, 0);
  CHECK_INT(isolua_add_list(m, 0), ISOLUA_INVALID);
  isolua_message_free(m);
  m = new_message();
  isolua_add_map(m, 0);
  isolua_add_integer(m, 1);
  CHECK_INT(isolua_add_end(m), ISOLUA_INVALID); /* a key without its value */
  isolua_message_free(m);
  m = new_message();
  CHECK_INT(isolua_add_bytes(m, NULL, 1), ISOLUA_INVALID);
  isolua_message_free(m);
  m = new_message();
  CHECK_INT(isolua_add_sender(m, NULL), ISOLUA_INVALID);
  isolua_message_free(m);
  m = new_message();
  CHECK_INT(isolua_add_block(m, NULL), ISOLUA_INVALID);
  isolua_message_free(m);
  m = new_message();
  CHECK_INT(isolua_block_new(10, &b), ISOLUA_OK);
  isolua_block_retain(b); /* which makes it two owners' */
  CHECK_INT(isolua_add_block(m, b), ISOLUA_INVALID);
  isolua_message_free(m);
  isolua_block_release(b);
  m = new_message();
  for (int i = 0; i < 100000; i++)
    if (!CHECK_INT(isolua_add_list(m, 0), ISOLUA_OK)) break;
  CHECK_INT(isolua_add_list(m, 0), ISOLUA_INVALID); /* nested too deeply */
  isolua_message_free(m);
  m = new_message();
  for (int i = 0; i < 100000; i++) isolua_add_list(m, 0);
  for (int i = 0; i < 100000; i++) isolua_add_end(m);
  check_true_of(m, "local t, n = ..., 0 while t do t = t[1] n = n + 1 end return n == 100000");
  close_host();
}

/* -- Results ----------------------------------------------------------------------------------- */

static void results_are_read_whole(void) {
  isolua_future *f;
  const isolua_value *v, *w;
  isolua_sender *s;
  isolua_block *b;
  size_t offset, size;
  if (!open_host()) return;
  f = embed_run(
    host, NULL,
    "local isolate = require 'isolate' local shared = {1, 2} "
    "local cycle = {} cycle.self = cycle "
    "local up = 1 local function count() up = up + 1 return count end "
    "local rx, tx = isolate.port() KEEP = rx "
    "local buf = isolate.buffer 'hello world' "
    "local deep = {} do local d = deep for i = 1, 500 do d.next = {i = i} d = d.next end end "
    "local records = {} for i = 1, 50 do records[i] = {id = i, name = 'n' .. i, shared} end "
    "return {1, 2, 3, 0.5, 'x', nil, true}, {shared, shared, f = count, g = print}, cycle, "
    "tx, buf, deep, records, setmetatable({a = 1}, {__index = {b = 2}}), count, "
    "buf:slice(7), string.rep('long ', 100)");
  if (!embed_settles(f, ISOLUA_OK, NULL)) return;
  CHECK_INT(isolua_future_count(f), 11);
  CHECK_INT(isolua_future_type(f, 1), ISOLUA_TTABLE);
  v = isolua_future_value(f, 1);
  CHECK_INT(isolua_value_length(v), 7);
  CHECK(isolua_value_number(isolua_value_at(v, 4)) == 0.5);
  CHECK_TEXT(isolua_value_string(isolua_value_at(v, 5), NULL), "x");
  CHECK(isolua_value_at(v, 6) == NULL);
  CHECK_INT(isolua_value_boolean(isolua_value_at(v, 7)), 1);
  v = isolua_future_value(f, 2);
  w = isolua_value_at(v, 2);
  CHECK_INT(isolua_value_integer(isolua_value_at(w, 2)), 2);
  CHECK_INT(isolua_value_type(isolua_value_get(v, "f")), ISOLUA_TOTHER);
  CHECK_INT(isolua_value_type(isolua_value_get(v, "g")), ISOLUA_TOTHER);
  v = isolua_future_value(f, 3);
  CHECK_INT(isolua_value_type(isolua_value_get(isolua_value_get(v, "self"), "self")),
            ISOLUA_TTABLE);
  CHECK_INT(isolua_future_type(f, 4), ISOLUA_TPORT);
  s = isolua_value_sender(isolua_future_value(f, 4));
  CHECK(s != NULL);
  isolua_sender_release(s);
  CHECK_INT(isolua_future_type(f, 5), ISOLUA_TBLOCK);
  CHECK_INT(isolua_value_length(isolua_future_value(f, 5)), 11);
  b = isolua_value_block(isolua_future_value(f, 5), &offset);
  if (CHECK(b != NULL)) {
    const char *bytes = (const char *)isolua_block_data(b, &size) + offset;
    CHECK(memcmp(bytes, "hello world", 11) == 0);
    isolua_block_release(b);
  }
  v = isolua_future_value(f, 6);
  for (int i = 1; i <= 500; i++) v = isolua_value_get(v, "next");
  CHECK_INT(isolua_value_integer(isolua_value_get(v, "i")), 500);
  v = isolua_value_at(isolua_future_value(f, 7), 50);
  CHECK_INT(isolua_value_integer(isolua_value_get(v, "id")), 50);
  CHECK_TEXT(isolua_value_string(isolua_value_get(v, "name"), NULL), "n50");
  CHECK_INT(isolua_value_integer(isolua_value_at(isolua_value_at(v, 1), 2)), 2);
  v = isolua_future_value(f, 8);
  CHECK_INT(isolua_value_integer(isolua_value_get(v, "a")), 1);
  CHECK(isolua_value_get(v, "b") == NULL);
  CHECK_INT(isolua_future_type(f, 9), ISOLUA_TOTHER);
  b = isolua_value_block(isolua_future_value(f, 10), &offset);
  if (CHECK(b != NULL)) {
    CHECK(memcmp((const char *)isolua_block_data(b, NULL) + offset, "world", 5) == 0);
    isolua_block_release(b);
  }
  CHECK_INT(isolua_value_length(isolua_future_value(f, 11)), 500);
  CHECK(isolua_future_value(f, 12) == NULL);
  CHECK(isolua_future_value(f, 0) == NULL);
  isolua_future_release(f);
  close_host();
}

/* Several threads that are the first to read it. */
static void read_whole(int index, void *arg) {
  isolua_future *f = arg;
  (void)index;
  CHECK_INT(isolua_value_integer(isolua_value_get(isolua_future_value(f, 1), "x")), 42);
}

static void results_are_read_by_several(void) {
  if (!open_host()) return;
  for (int i = 0; i < check_scale(200, 20); i++) {
    isolua_future *f = embed_run(host, NULL, "return {x = 42}");
    if (embed_settles(f, ISOLUA_OK, NULL)) check_parallel(4, read_whole, f);
    isolua_future_release(f);
  }
  close_host();
}

/* -- Blocks ------------------------------------------------------------------------------------ */

typedef struct wrapped {
  char bytes[16];
  atomic_int released;
} wrapped;

static void release_wrapped(void *ud, void *bytes, size_t size) {
  wrapped *w = ud;
  CHECK(bytes == w->bytes && size == sizeof w->bytes);
  atomic_fetch_add(&w->released, 1);
}

static bool is_released(void *arg) {
  return atomic_load(&((wrapped *)arg)->released) > 0;
}

static void blocks_are_wrapped_and_moved(void) {
  wrapped w = {"0123456789abcde", 0};
  isolua_message *m;
  isolua_block *b;
  size_t size;
  if (!open_host()) return;
  CHECK_INT(isolua_block_wrap(NULL, 1, NULL, NULL, &b), ISOLUA_INVALID);
  CHECK_INT(isolua_block_wrap(w.bytes, 1, NULL, NULL, NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_block_new(1, NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_block_wrap(w.bytes, sizeof w.bytes, release_wrapped, &w, &b), ISOLUA_OK);
  CHECK(isolua_block_data(b, &size) == w.bytes && size == sizeof w.bytes);
  CHECK_INT(isolua_block_frozen(b), 0);
  m = new_message();
  isolua_add_block(m, b);
  check_true_of(m, "local b = ... b:set(1, 'X') return #b == 16 and b:sub(1, 3) == 'X12' "
                   "and not pcall(b.resize, b, 20)");
  CHECK(check_eventually(is_released, &w));
  CHECK(w.bytes[0] == 'X'); /* it was no copy */
  CHECK_INT(isolua_block_wrap(w.bytes, 16, NULL, NULL, &b), ISOLUA_OK);
  isolua_block_release(b);
  isolua_block_release(NULL);
  close_host();
  CHECK_INT(atomic_load(&w.released), 1);
}

static void frozen_blocks_are_shared(void) {
  wrapped w = {"0123456789abcde", 0};
  isolua_block *b;
  if (!open_host()) return;
  CHECK_INT(isolua_block_wrap(w.bytes, sizeof w.bytes, release_wrapped, &w, &b), ISOLUA_OK);
  isolua_block_freeze(b);
  CHECK_INT(isolua_block_frozen(b), 1);
  for (int i = 0; i < 3; i++) {
    isolua_message *m = new_message();
    isolua_block_retain(b);
    isolua_add_block(m, b);
    check_true_of(m, "local b = ... return b:sub(1, 3) == '012' and not pcall(b.set, b, 1, 'x')");
  }
  CHECK_INT(atomic_load(&w.released), 0);
  isolua_block_release(b);
  CHECK(check_eventually(is_released, &w));
  close_host();
}

/* -- Native ports ------------------------------------------------------------------------------ */

/* An isolate that lives, with a sender as its argument; the hold on that is given up. */
static isolua_isolate *spawn_with(isolua_sender *s, const char *source) {
  isolua_message *m = new_message();
  isolua_options o = {.size = sizeof o, .args = m};
  isolua_isolate *i = NULL;
  isolua_add_sender(m, s);
  isolua_sender_release(s);
  CHECK_INT(isolua_spawn_string(host, &o, source, &i), ISOLUA_OK);
  return i;
}

static long long receive_integer(isolua_receiver *r) {
  isolua_message *m;
  long long n;
  if (!CHECK_INT(isolua_receive(r, SOON, &m), ISOLUA_OK)) return -1;
  n = isolua_value_integer(isolua_message_value(m, 1));
  isolua_message_free(m);
  return n;
}

static bool send_integer(isolua_sender *s, long long n) {
  isolua_message *m = new_message();
  int code;
  isolua_add_integer(m, n);
  code = isolua_send(s, m, SOON);
  if (code != ISOLUA_OK) isolua_message_free(m);
  return CHECK_INT(code, ISOLUA_OK);
}

static void ports_go_to_lua_and_back(void) {
  isolua_receiver *r;
  isolua_sender *s;
  isolua_isolate *i;
  isolua_message *m;
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, "back", 0, &r, &s), ISOLUA_OK);
  i = spawn_with(s, "local tx = ... local isolate = require 'isolate' "
                    "for n in isolate.inbox():messages() do tx:send(2 * n) end");
  for (int n = 0; n < check_scale(2000, 200); n++) {
    send_integer(isolua_isolate_sender(i), n);
    if (!CHECK_INT(receive_integer(r), 2 * n)) break;
  }
  CHECK_INT(isolua_receive(r, 0, &m), ISOLUA_TIMEOUT);
  CHECK_INT(isolua_receive(r, MILLISECOND, &m), ISOLUA_TIMEOUT);
  isolua_isolate_release(i); /* nobody can send to it any more: it ends, and its sender with it */
  CHECK_INT(isolua_receive(r, SOON, &m), ISOLUA_CLOSED);
  isolua_receiver_close(r);
  isolua_receiver_close(NULL);
  close_host();
}

static void ports_carry_tables_both_ways(void) {
  isolua_receiver *r;
  isolua_sender *s;
  isolua_isolate *i;
  isolua_message *m;
  const isolua_value *v;
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
  i = spawn_with(s, "local tx = ... local rx, own = require 'isolate'.port() "
                    "tx:send { reply = own, text = 'hi', list = {1, 2, 3} } "
                    "local got = rx:receive() tx:send(got.a .. got.b[2])");
  CHECK_INT(isolua_receive(r, SOON, &m), ISOLUA_OK);
  v = isolua_message_value(m, 1);
  CHECK_TEXT(isolua_value_string(isolua_value_get(v, "text"), NULL), "hi");
  CHECK_INT(isolua_value_length(isolua_value_get(v, "list")), 3);
  s = isolua_value_sender(isolua_value_get(v, "reply"));
  isolua_message_free(m);
  m = new_message();
  isolua_add_map(m, 2);
  isolua_add_string(m, "a");
  isolua_add_string(m, "x");
  isolua_add_string(m, "b");
  isolua_add_list(m, 2);
  isolua_add_integer(m, 1);
  isolua_add_string(m, "y");
  isolua_add_end(m);
  isolua_add_end(m);
  CHECK_INT(isolua_send(s, m, SOON), ISOLUA_OK);
  isolua_sender_release(s);
  CHECK_INT(isolua_receive(r, SOON, &m), ISOLUA_OK);
  CHECK_TEXT(isolua_value_string(isolua_message_value(m, 1), NULL), "xy");
  isolua_message_free(m);
  isolua_isolate_release(i);
  isolua_receiver_close(r);
  close_host();
}

static void bounded_ports_make_senders_wait(void) {
  isolua_receiver *r;
  isolua_sender *s;
  isolua_isolate *i;
  isolua_message *m = new_message();
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 2, &r, &s), ISOLUA_OK);
  send_integer(s, 1);
  send_integer(s, 2);
  CHECK_INT(isolua_receiver_count(r), 2);
  isolua_add_string(m, "third");
  CHECK_INT(isolua_send(s, m, 0), ISOLUA_FULL);
  CHECK_INT(isolua_send(s, m, MILLISECOND), ISOLUA_FULL);
  CHECK_TEXT(isolua_value_string(isolua_message_value(m, 1), NULL), "third");
  isolua_sender_retain(s);
  i = spawn_with(s, "local tx = ... for n = 3, 1000 do tx:send(n) end");
  for (int n = 1; n <= 1000; n++)
    if (!CHECK_INT(receive_integer(r), n)) break;
  CHECK_INT(isolua_send(s, m, SOON), ISOLUA_OK);
  CHECK_INT(isolua_receive(r, SOON, &m), ISOLUA_OK);
  isolua_message_free(m);
  isolua_isolate_release(i);
  isolua_receiver_close(r);
  m = new_message();
  isolua_add_nil(m);
  CHECK_INT(isolua_send(s, m, SOON), ISOLUA_CLOSED);
  isolua_message_free(m);
  isolua_sender_release(s);
  close_host();
}

static void ports_refuse_wrong_arguments(void) {
  isolua_receiver *r;
  isolua_sender *s;
  isolua_message *m;
  isolua_future *f;
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(NULL, NULL, 0, &r, &s), ISOLUA_INVALID);
  CHECK_INT(isolua_receiver_new(host, NULL, 0, NULL, &s), ISOLUA_INVALID);
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_receive(NULL, 0, &m), ISOLUA_INVALID);
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
  CHECK_INT(isolua_receive(r, 0, NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_send(NULL, NULL, 0), ISOLUA_INVALID);
  CHECK_INT(isolua_send(s, NULL, 0), ISOLUA_INVALID);
  CHECK_INT(isolua_receiver_on_message(NULL, NULL, NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_future_on_done(NULL, NULL, NULL), ISOLUA_INVALID);
  f = embed_run(host, NULL, "return 1");
  CHECK_INT(isolua_future_on_done(f, NULL, NULL), ISOLUA_INVALID);
  isolua_future_release(f);
  CHECK_INT(isolua_receiver_count(NULL), 0);
  CHECK_INT(isolua_pump(NULL, -1, -1), 0);
  CHECK_INT(isolua_fd(NULL), -1);
  CHECK_INT(isolua_next_due(NULL), -1);
  isolua_sender_release(s);
  isolua_receiver_close(r);
  close_host();
}

enum { THREADS = 8 };

typedef struct crowd {
  isolua_receiver *r;
  isolua_sender *s;
  int each;
  atomic_llong sum;
  atomic_int received;
} crowd;

/* Half of the threads send, half receive. */
static void be_in_crowd(int index, void *arg) {
  crowd *c = arg;
  isolua_message *m;
  int code;
  if (index % 2 == 0) {
    for (int i = 1; i <= c->each; i++) send_integer(c->s, i);
    isolua_sender_release(c->s);
    return;
  }
  while ((code = isolua_receive(c->r, SOON, &m)) == ISOLUA_OK) {
    atomic_fetch_add(&c->sum, isolua_value_integer(isolua_message_value(m, 1)));
    atomic_fetch_add(&c->received, 1);
    isolua_message_free(m);
  }
  CHECK_INT(code, ISOLUA_CLOSED);
}

static void ports_serve_many_threads(void) {
  for (size_t capacity = 0; capacity <= 20; capacity += 10) {
    crowd c = {.each = check_scale(20000, 500)};
    if (!open_host()) return;
    CHECK_INT(isolua_receiver_new(host, NULL, capacity, &c.r, &c.s), ISOLUA_OK);
    for (int i = 1; i < THREADS / 2; i++) isolua_sender_retain(c.s);
    check_parallel(THREADS, be_in_crowd, &c);
    CHECK_INT(atomic_load(&c.received), c.each * (THREADS / 2));
    CHECK_INT(atomic_load(&c.sum), (long long)c.each * (c.each + 1) / 2 * (THREADS / 2));
    isolua_receiver_close(c.r);
    close_host();
  }
}

typedef struct closing {
  isolua_receiver *r;
  atomic_int threads[4]; /* that are about to receive */
} closing;

/* It sleeps; after it has told its number it does so in isolua_receive only. */
static bool is_asleep(void *arg) {
  int id = atomic_load((atomic_int *)arg);
  char path[64], text[256], state = '?';
  FILE *f;
  if (id == 0) return false;
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", id);
  f = fopen(path, "r");
  if (f == NULL) return false;
  if (fgets(text, sizeof text, f) != NULL && strrchr(text, ')') != NULL)
    state = strrchr(text, ')')[2];
  fclose(f);
  return state == 'S';
}

static void wait_until_closed(int index, void *arg) {
  closing *c = arg;
  isolua_message *m;
  if (index == 0) {
    for (int i = 1; i < 4; i++) CHECK(check_eventually(is_asleep, &c->threads[i]));
    isolua_receiver_close(c->r);
    return;
  }
  atomic_store(&c->threads[index], (int)gettid());
  CHECK_INT(isolua_receive(c->r, SOON, &m), ISOLUA_CLOSED);
}

static void closing_ends_who_receives(void) {
  for (int i = 0; i < check_scale(100, 10); i++) {
    closing c = {0};
    isolua_sender *s;
    if (!open_host()) return;
    CHECK_INT(isolua_receiver_new(host, NULL, 0, &c.r, &s), ISOLUA_OK);
    check_parallel(4, wait_until_closed, &c);
    isolua_sender_release(s);
    close_host();
  }
}

/* One that was received, or read, goes on as arguments. */
static void messages_go_on_as_arguments(void) {
  static const char *const values[] = {"7", "0.5", "true", "false", "'text'", "{7}"};
  static const char *const checks[] = {"... == 7",     "... == 0.5",    "... == true",
                                       "... == false", "... == 'text'", "(...)[1] == 7"};
  isolua_receiver *r;
  isolua_sender *s;
  isolua_message *m;
  if (!open_host()) return;
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    char source[64];
    CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
    snprintf(source, sizeof source, "(...):send(%s)", values[i]);
    isolua_isolate_release(spawn_with(s, source));
    snprintf(source, sizeof source, "return %s and select('#', ...) == 1", checks[i]);
    if (CHECK_INT(isolua_receive(r, SOON, &m), ISOLUA_OK)) check_true_of(m, source);
    isolua_receiver_close(r);
  }
  m = new_message();
  isolua_add_integer(m, 7);
  CHECK_INT(isolua_value_integer(isolua_message_value(m, 1)), 7);
  check_true_of(m, "return ... == 7");
  close_host();
}

/* One that is closed while it is attached is detached. */
static void attached_states_may_be_closed(void) {
  for (int i = 0; i < 3; i++) {
    lua_State *L = luaL_newstate();
    if (!open_host()) return;
    luaL_openlibs(L);
    isolua_open_modules(L);
    if (i == 2) { /* what was its first end is garbage when it is attached again */
      CHECK_INT(isolua_attach(host, L), ISOLUA_OK);
      CHECK_INT(isolua_detach(L), ISOLUA_OK);
    }
    CHECK_INT(isolua_attach(host, L), ISOLUA_OK);
    if (i > 0) CHECK_INT(luaL_dostring(L, "require 'isolate'.after(60, print)"), LUA_OK);
    lua_gc(L, LUA_GCCOLLECT);
    CHECK(isolua_host_of(L) == host);
    lua_close(L);
    isolua_pump(host, -1, -1);
    close_host();
  }
}

static void received_messages_take_nothing(void) {
  isolua_receiver *r;
  isolua_sender *s;
  isolua_message *m;
  isolua_block *block;
  isolua_atomic *atomic;
  isolua_pool *pool;
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
  CHECK_INT(isolua_block_new(8, &block), ISOLUA_OK);
  CHECK_INT(isolua_atomic_new(1, &atomic), ISOLUA_OK);
  CHECK_INT(isolua_pool_new(host, NULL, NULL, &pool), ISOLUA_OK);
  isolua_isolate_release(spawn_with(s, "(...):send(7)"));
  if (CHECK_INT(isolua_receive(r, SOON, &m), ISOLUA_OK)) {
    CHECK_INT(isolua_add_nil(m), ISOLUA_INVALID);
    CHECK_INT(isolua_add_boolean(m, 1), ISOLUA_INVALID);
    CHECK_INT(isolua_add_integer(m, 1), ISOLUA_INVALID);
    CHECK_INT(isolua_add_number(m, 0.5), ISOLUA_INVALID);
    CHECK_INT(isolua_add_string(m, "text"), ISOLUA_INVALID);
    CHECK_INT(isolua_add_bytes(m, "bytes", 5), ISOLUA_INVALID);
    CHECK_INT(isolua_add_list(m, 0), ISOLUA_INVALID);
    CHECK_INT(isolua_add_map(m, 0), ISOLUA_INVALID);
    CHECK_INT(isolua_add_end(m), ISOLUA_INVALID);
    CHECK_INT(isolua_add_block(m, block), ISOLUA_INVALID);
    CHECK_INT(isolua_add_atomic(m, atomic), ISOLUA_INVALID);
    CHECK_INT(isolua_add_pool(m, pool), ISOLUA_INVALID);
    CHECK_INT(isolua_value_integer(isolua_message_value(m, 1)), 7);
    isolua_message_free(m);
  }
  isolua_atomic_release(atomic);
  isolua_pool_release(pool);
  isolua_receiver_close(r);
  close_host();
}

/* -- Isolates that live ------------------------------------------------------------------------ */

static void isolates_live_and_tell_of_themselves(void) {
  isolua_options o = {.size = sizeof o, .name = "lives"};
  isolua_isolate *i;
  isolua_stats stats;
  if (!open_host()) return;
  CHECK_INT(isolua_spawn_string(host, &o, "require 'isolate'.inbox():receive()", &i), ISOLUA_OK);
  CHECK_TEXT(isolua_isolate_name(i), "lives");
  CHECK(isolua_isolate_id(i) > 0);
  CHECK(isolua_isolate_status(i) != NULL);
  isolua_isolate_stats(i, &stats);
  CHECK_INT(stats.spawned, 1);
  CHECK_INT(isolua_future_wait(isolua_isolate_future(i), 0), ISOLUA_TIMEOUT);
  CHECK_INT(isolua_isolate_kill(i, 100 * MILLISECOND, 0), ISOLUA_OK);
  CHECK_INT(isolua_future_wait(isolua_isolate_future(i), SOON), ISOLUA_KILLED);
  CHECK_INT(isolua_future_wait(isolua_isolate_gone(i), SOON), ISOLUA_OK);
  isolua_isolate_stats(i, &stats);
  CHECK_INT(stats.busy, 0);
  CHECK_TEXT(isolua_isolate_status(i), "killed");
  isolua_isolate_release(i);
  isolua_isolate_release(NULL);
  CHECK_INT(isolua_spawn_string(host, NULL, NULL, &i), ISOLUA_INVALID);
  CHECK_INT(isolua_spawn_string(NULL, NULL, "", &i), ISOLUA_INVALID);
  CHECK_INT(isolua_spawn_buffer(host, NULL, "", 0, NULL, NULL), ISOLUA_INVALID);
  CHECK_INT(isolua_spawn_file(host, NULL, NULL, &i), ISOLUA_INVALID);
  close_host();
}

static void isolates_live_in_files(void) {
  static const char source[] = "local a, b = ... return a + b, (select('#', ...))";
  isolua_options o = {.size = sizeof o};
  isolua_isolate *i;
  isolua_future *f;
  embed_file file;
  if (!open_host()) return;
  if (!CHECK(embed_write(&file, "sum.lua", source, sizeof source - 1))) return;
  o.args = new_message();
  isolua_add_integer(o.args, 40);
  isolua_add_integer(o.args, 2);
  CHECK_INT(isolua_spawn_file(host, &o, file.path, &i), ISOLUA_OK);
  f = isolua_isolate_future(i);
  CHECK_INT(isolua_future_wait(f, SOON), ISOLUA_OK);
  CHECK_INT(isolua_future_integer(f, 1), 42);
  CHECK_INT(isolua_future_integer(f, 2), 2);
  isolua_isolate_release(i);
  embed_remove(&file);
  close_host();
}

/* -- The pump ---------------------------------------------------------------------------------- */

typedef struct told {
  atomic_int calls, last;
  isolua_receiver *close; /* is closed in the callback */
} told;

static void on_done(void *ud, isolua_future *f) {
  told *t = ud;
  atomic_fetch_add(&t->calls, 1);
  atomic_store(&t->last, (int)isolua_future_integer(f, 1));
}

static void on_message(void *ud, isolua_receiver *r, isolua_message *m) {
  told *t = ud;
  atomic_fetch_add(&t->calls, 1);
  atomic_store(&t->last, m != NULL ? (int)isolua_value_integer(isolua_message_value(m, 1)) : -1);
  isolua_message_free(m);
  CHECK_INT(isolua_pump(host, -1, -1), 0); /* not within itself */
  if (t->close == r) isolua_receiver_close(r);
}

static bool pumped(void *arg) {
  isolua_pump(host, -1, -1);
  return atomic_load(&((told *)arg)->calls) > 0;
}

static void pump_calls_for_futures(void) {
  told t = {0}, u = {0};
  isolua_future *f;
  if (!open_host()) return;
  f = embed_run(host, NULL, "return 7");
  CHECK_INT(isolua_future_on_done(f, on_done, &t), ISOLUA_OK);
  CHECK(check_eventually(pumped, &t));
  CHECK_INT(atomic_load(&t.last), 7);
  CHECK_INT(isolua_future_on_done(f, on_done, &u), ISOLUA_OK); /* it is settled already */
  CHECK_INT(atomic_load(&u.calls), 0);
  isolua_future_release(f);
  CHECK_INT(isolua_pump(host, -1, -1), 0);
  CHECK_INT(atomic_load(&u.calls), 1);
  CHECK_INT(isolua_pump(host, -1, -1), 0);
  CHECK_INT(atomic_load(&t.calls), 1);
  f = embed_run(host, NULL, ENDLESS);
  CHECK_INT(isolua_future_on_done(f, on_done, &t), ISOLUA_OK); /* dropped with the host */
  isolua_future_release(f);
  close_host();
  CHECK_INT(atomic_load(&t.calls), 1);
}

static void pump_keeps_to_its_budget(void) {
  told t = {0};
  isolua_receiver *r;
  isolua_sender *s;
  struct pollfd p = {.events = POLLIN};
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
  p.fd = isolua_fd(host);
  CHECK(p.fd >= 0);
  CHECK_INT(isolua_fd(host), p.fd);
  isolua_pump(host, -1, -1);
  CHECK_INT(poll(&p, 1, 0), 0);
  for (int i = 1; i <= 10; i++) send_integer(s, i);
  CHECK_INT(poll(&p, 1, 0), 0); /* nobody has a callback for them */
  CHECK_INT(isolua_receiver_on_message(r, on_message, &t), ISOLUA_OK);
  CHECK_INT(poll(&p, 1, 0), 1);
  CHECK_INT(isolua_pump(host, 0, -1), 1);
  CHECK_INT(atomic_load(&t.calls), 0);
  CHECK_INT(isolua_pump(host, 3, -1), 1);
  CHECK_INT(atomic_load(&t.calls), 3);
  CHECK_INT(poll(&p, 1, 0), 1); /* there is more */
  CHECK_INT(isolua_pump(host, -1, 0), 1);
  CHECK_INT(atomic_load(&t.calls), 3);
  CHECK_INT(isolua_pump(host, -1, -1), 0);
  CHECK_INT(atomic_load(&t.calls), 10);
  CHECK_INT(poll(&p, 1, 0), 0);
  CHECK_INT(isolua_receiver_on_message(r, NULL, NULL), ISOLUA_OK);
  send_integer(s, 11);
  CHECK_INT(isolua_pump(host, -1, -1), 0);
  CHECK_INT(atomic_load(&t.calls), 10);
  CHECK_INT(isolua_receiver_on_message(r, on_message, &t), ISOLUA_OK);
  isolua_pump(host, -1, -1);
  CHECK_INT(atomic_load(&t.last), 11);
  isolua_sender_release(s);
  CHECK_INT(poll(&p, 1, 0), 1);
  isolua_pump(host, -1, -1);
  CHECK_INT(atomic_load(&t.last), -1); /* the end, once */
  CHECK_INT(atomic_load(&t.calls), 12);
  isolua_pump(host, -1, -1);
  CHECK_INT(atomic_load(&t.calls), 12);
  isolua_receiver_close(r);
  close_host();
}

static void receivers_close_in_their_callback(void) {
  told t = {0};
  isolua_receiver *r;
  isolua_sender *s;
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
  t.close = r;
  CHECK_INT(isolua_receiver_on_message(r, on_message, &t), ISOLUA_OK);
  for (int i = 1; i <= 10; i++) send_integer(s, i);
  CHECK_INT(isolua_pump(host, -1, -1), 0);
  CHECK_INT(atomic_load(&t.calls), 1);
  isolua_sender_release(s);
  close_host();
}

typedef struct changing {
  isolua_receiver *r;
  isolua_received *next;           /* that is set; or NULL */
  int messages;                    /* that are there */
  atomic_bool inside, ended, over; /* in the callback; behind it; the change is made */
  atomic_int changer;              /* the thread that makes it, once it is about to */
} changing;

/* Ends when the other thread sleeps in the change, or has made it. */
static bool is_changed(void *arg) {
  changing *c = arg;
  return atomic_load(&c->over) || is_asleep(&c->changer);
}

static void change_meanwhile(void *ud, isolua_receiver *r, isolua_message *m) {
  changing *c = ud;
  (void)r;
  isolua_message_free(m);
  atomic_store(&c->inside, true);
  CHECK(check_eventually(is_changed, c));
  CHECK_INT(atomic_load(&c->over), false);
  atomic_store(&c->ended, true);
}

static void pump_or_change(int index, void *arg) {
  changing *c = arg;
  if (index == 0) {
    isolua_pump(host, c->messages, -1);
    return;
  }
  while (!atomic_load(&c->inside)) sched_yield(); /* it sleeps in the change only */
  atomic_store(&c->changer, (int)gettid());
  CHECK_INT(isolua_receiver_on_message(c->r, c->next, c), ISOLUA_OK);
  CHECK_INT(atomic_load(&c->ended), true);
  atomic_store(&c->over, true);
}

static void drop_message(void *ud, isolua_receiver *r, isolua_message *m) {
  (void)ud, (void)r;
  isolua_message_free(m);
}

static void callbacks_have_ended_when_they_are_changed(void) {
  isolua_received *const next[] = {NULL, drop_message};
  for (int i = 0; i < 2; i++) {
    changing c = {.next = next[i], .messages = 1};
    isolua_sender *s;
    if (!open_host()) return;
    CHECK_INT(isolua_receiver_new(host, NULL, 0, &c.r, &s), ISOLUA_OK);
    CHECK_INT(isolua_receiver_on_message(c.r, change_meanwhile, &c), ISOLUA_OK);
    send_integer(s, 1);
    check_parallel(2, pump_or_change, &c);
    isolua_sender_release(s);
    isolua_receiver_close(c.r);
    close_host();
  }
}

static bool is_over(void *arg) {
  return atomic_load(&((changing *)arg)->over);
}

static void wait_for_change(void *ud, isolua_receiver *r, isolua_message *m) {
  (void)r;
  isolua_message_free(m);
  CHECK(check_eventually(is_over, ud));
}

static void changes_wait_for_no_call_of_the_next_one(void) {
  changing c = {.next = wait_for_change, .messages = 2};
  isolua_sender *s;
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &c.r, &s), ISOLUA_OK);
  CHECK_INT(isolua_receiver_on_message(c.r, change_meanwhile, &c), ISOLUA_OK);
  send_integer(s, 1);
  send_integer(s, 2);
  check_parallel(2, pump_or_change, &c);
  isolua_sender_release(s);
  isolua_receiver_close(c.r);
  close_host();
}

enum { SETTERS = 2 };

typedef struct setting {
  isolua_receiver **all;
  int n;
  atomic_int there; /* threads that have come to a receiver, of all so far */
} setting;

/* All of them come to each receiver at once. */
static void set_callbacks(int index, void *arg) {
  setting *t = arg;
  (void)index;
  for (int i = 0; i < t->n; i++) {
    atomic_fetch_add(&t->there, 1);
    while (atomic_load(&t->there) < SETTERS * (i + 1)) sched_yield();
    CHECK_INT(isolua_receiver_on_message(t->all[i], drop_message, NULL), ISOLUA_OK);
  }
}

static void callbacks_are_set_by_several_at_once(void) {
  setting t = {.n = check_scale(2000, 500)};
  isolua_sender *s;
  if (!open_host()) return;
  t.all = calloc((size_t)t.n, sizeof *t.all);
  for (int i = 0; i < t.n; i++) {
    CHECK_INT(isolua_receiver_new(host, NULL, 0, &t.all[i], &s), ISOLUA_OK);
    isolua_sender_release(s);
  }
  check_parallel(SETTERS, set_callbacks, &t);
  for (int i = 0; i < t.n; i++) isolua_receiver_close(t.all[i]);
  free(t.all);
  close_host();
}

static void callbacks_are_refused_once_the_host_is_closed(void) {
  for (int had = 0; had < 2; had++) {
    isolua_receiver *r;
    isolua_sender *s;
    if (!open_host()) return;
    CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
    if (had) CHECK_INT(isolua_receiver_on_message(r, drop_message, NULL), ISOLUA_OK);
    close_host();
    for (int i = 0; i < 2; i++)
      CHECK_INT(isolua_receiver_on_message(r, drop_message, NULL), ISOLUA_CLOSED);
    isolua_sender_release(s);
    isolua_receiver_close(r);
  }
}

enum { RECEIVERS = 500 };

typedef struct ending {
  isolua_pool *pool; /* whose future is settled after the host's end */
  isolua_receiver *receivers[RECEIVERS];
  atomic_int there; /* threads */
} ending;

/* Sets callbacks until the host is closed, and closes the receivers meanwhile. */
static void close_or_set(int index, void *arg) {
  ending *e = arg;
  int code = ISOLUA_OK;
  atomic_fetch_add(&e->there, 1);
  while (atomic_load(&e->there) < 2) continue;
  if (index == 0) CHECK_INT(isolua_host_close(host, SOON), ISOLUA_OK);
  for (int i = 0; index == 1 && code == ISOLUA_OK; i++) {
    if (i < RECEIVERS)
      code = isolua_receiver_on_message(e->receivers[i], drop_message, NULL);
    else
      code = isolua_future_on_done(isolua_pool_empty(e->pool), on_done, NULL);
  }
  for (int k = 0; index == 1 && k < RECEIVERS; k++) isolua_receiver_close(e->receivers[k]);
}

static void callbacks_are_set_while_the_host_closes(void) {
  for (int i = check_scale(500, 50); i > 0 && check_passing(); i--) {
    ending e = {0};
    isolua_sender *s;
    if (!open_host()) return;
    CHECK_INT(isolua_pool_new(host, NULL, NULL, &e.pool), ISOLUA_OK);
    for (int k = 0; k < RECEIVERS; k++) {
      CHECK_INT(isolua_receiver_new(host, NULL, 0, &e.receivers[k], &s), ISOLUA_OK);
      isolua_sender_release(s);
    }
    check_parallel(2, close_or_set, &e);
    isolua_pool_release(e.pool);
  }
}

/* Changes itself once the other thread sleeps in the close. */
static void change_while_it_closes(void *ud, isolua_receiver *r, isolua_message *m) {
  changing *c = ud;
  isolua_message_free(m);
  atomic_store(&c->inside, true);
  CHECK(check_eventually(is_asleep, &c->changer));
  CHECK_INT(isolua_receiver_on_message(r, drop_message, NULL), ISOLUA_CLOSED);
}

static void pump_or_close(int index, void *arg) {
  changing *c = arg;
  if (index == 0) {
    CHECK_INT(isolua_pump(host, 1, -1), 0);
    return;
  }
  while (!atomic_load(&c->inside)) sched_yield();
  atomic_store(&c->changer, (int)gettid());
  isolua_receiver_close(c->r);
}

static void callbacks_change_while_they_are_closed(void) {
  changing c = {.messages = 1};
  isolua_sender *s;
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &c.r, &s), ISOLUA_OK);
  CHECK_INT(isolua_receiver_on_message(c.r, change_while_it_closes, &c), ISOLUA_OK);
  send_integer(s, 1);
  check_parallel(2, pump_or_close, &c);
  CHECK_INT(isolua_pump(host, 0, -1), 0); /* which does not know the receiver any more */
  isolua_sender_release(s);
  close_host();
}

static void stop_oneself(void *ud, isolua_receiver *r, isolua_message *m) {
  told *t = ud;
  isolua_message_free(m);
  atomic_fetch_add(&t->calls, 1);
  CHECK_INT(isolua_receiver_on_message(r, NULL, NULL), ISOLUA_OK);
}

static void callbacks_are_taken_off_by_themselves(void) {
  told t = {0};
  isolua_receiver *r;
  isolua_sender *s;
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
  CHECK_INT(isolua_receiver_on_message(r, stop_oneself, &t), ISOLUA_OK);
  send_integer(s, 1);
  send_integer(s, 2);
  CHECK_INT(isolua_pump(host, -1, -1), 0);
  CHECK_INT(atomic_load(&t.calls), 1);
  CHECK_INT(isolua_receiver_count(r), 1);
  isolua_sender_release(s);
  isolua_receiver_close(r);
  close_host();
}

typedef struct pumping {
  isolua_sender *s;
  isolua_receiver *r;
  told t;
  atomic_bool done;
} pumping;

static void pump_or_send(int index, void *arg) {
  pumping *p = arg;
  if (index == 0) {
    for (int i = 0; i < check_scale(20000, 1000); i++) send_integer(p->s, i);
    isolua_receiver_close(p->r); /* while others may pump */
    atomic_store(&p->done, true);
  } else {
    while (!atomic_load(&p->done)) {
      isolua_pump(host, -1, -1);
      if (index == 1) isolua_fd(host);
    }
  }
}

static void pump_bears_several_threads(void) {
  pumping p = {0};
  if (!open_host()) return;
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &p.r, &p.s), ISOLUA_OK);
  CHECK_INT(isolua_receiver_on_message(p.r, on_message, &p.t), ISOLUA_OK);
  check_parallel(4, pump_or_send, &p);
  isolua_sender_release(p.s);
  close_host();
}

static atomic_int wakes;

static void on_wake(void *ud) {
  CHECK(ud == &wakes);
  atomic_fetch_add(&wakes, 1);
}

static void wake_is_called_once_a_pump(void) {
  isolua_host_options o = {.wake = on_wake, .wake_ud = &wakes};
  told t = {0};
  isolua_receiver *r;
  isolua_sender *s;
  host = embed_open(&o);
  if (host == NULL) return;
  atomic_store(&wakes, 0);
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
  CHECK_INT(isolua_receiver_on_message(r, on_message, &t), ISOLUA_OK);
  isolua_pump(host, -1, -1);
  atomic_store(&wakes, 0);
  for (int i = 1; i <= 10; i++) send_integer(s, i);
  CHECK_INT(atomic_load(&wakes), 1);
  isolua_pump(host, -1, -1);
  CHECK_INT(atomic_load(&t.calls), 10);
  send_integer(s, 11);
  CHECK_INT(atomic_load(&wakes), 2);
  isolua_sender_release(s);
  isolua_receiver_close(r);
  close_host();
}

/* -- States of the caller's -------------------------------------------------------------------- */

static bool runs(lua_State *L, const char *source) {
  bool good = CHECK_INT(luaL_dostring(L, source), LUA_OK);
  if (!good) printf("      %s\n", lua_tostring(L, -1));
  return good;
}

static bool has_seen(void *arg) {
  lua_State *L = arg;
  bool seen;
  isolua_pump(host, -1, -1);
  lua_getglobal(L, "seen");
  seen = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return seen;
}

static void states_are_attached_and_pumped(void) {
  lua_State *L = luaL_newstate();
  struct pollfd p = {.events = POLLIN};
  if (!open_host()) return;
  luaL_openlibs(L);
  isolua_open_modules(L);
  CHECK_INT(isolua_detach(L), ISOLUA_INVALID);
  for (int i = 0; i < check_scale(300, 30); i++) {
    if (!CHECK_INT(isolua_attach(host, L), ISOLUA_OK)) break;
    CHECK_INT(isolua_attach(host, L), ISOLUA_INVALID);
    CHECK(isolua_host_of(L) == host);
    p.fd = isolua_fd(host);
    CHECK(p.fd >= 0);
    if (!runs(
          L,
          "local isolate = require 'isolate' seen = false "
          "isolate.run(function() return 7 end):on_done(function(ok, n) seen = ok and n == 7 end) "
          "timer = isolate.after(0.001, function() rung = true end)"))
      break;
    CHECK(isolua_next_due(host) >= 0);
    CHECK_INT(poll(&p, 1, 10000), 1);
    CHECK(check_eventually(has_seen, L));
    CHECK_INT(isolua_detach(L), ISOLUA_OK);
    CHECK(isolua_host_of(L) == NULL);
    CHECK_INT(isolua_next_due(host), -1);
    if (!runs(L, "assert(not pcall(require 'isolate'.run, print))")) break;
  }
  lua_close(L);
  close_host();
}

/* The collector finds the future of a task when its isolate is gone. */
static void detached_states_report_tasks(void) {
  isolua_host_options options = {.size = sizeof options};
  lua_State *L = luaL_newstate();
  capture log = CAPTURE;
  options.log = capture_text;
  options.log_ud = &log;
  host = embed_open(&options);
  if (host == NULL) return;
  luaL_openlibs(L);
  isolua_open_modules(L);
  CHECK_INT(isolua_attach(host, L), ISOLUA_OK);
  CHECK(runs(L, "kept = require 'isolate'.async(function() error 'lost task' end)"));
  while (isolua_pump(host, -1, -1) > 0) continue;
  CHECK_INT(isolua_detach(L), ISOLUA_OK);
  lua_close(L);
  CHECK(capture_has(&log, "a task of 'main': ") && capture_has(&log, "lost task"));
  close_host();
}

static void states_keep_what_they_had(void) {
  lua_State *L = luaL_newstate();
  if (!open_host()) return;
  luaL_openlibs(L);
  CHECK(runs(L, "before = {} for k, v in pairs(_G) do before[k] = v end "
                "libs = {} for k, v in pairs(package.loaded) do libs[k] = v end"));
  CHECK_INT(isolua_attach(host, L), ISOLUA_OK);
  CHECK(runs(
    L, "for k, v in pairs(_G) do assert(k == 'before' or k == 'libs' or before[k] == v, k) end "
       "for k, v in pairs(package.loaded) do assert(libs[k] == v, k) end "
       "assert(getmetatable(_G) == nil and debug.gethook() == nil)"));
  CHECK_INT(isolua_detach(L), ISOLUA_OK);
  lua_close(L);
  close_host();
}

static void note_nothing(void *ud, isolua_future *f) {
  (void)f;
  *(int *)ud = 1;
}

static void note_no_message(void *ud, isolua_receiver *r, isolua_message *m) {
  (void)r, (void)m;
  *(int *)ud = 1;
}

static void callbacks_are_refused_by_what_is_closed(void) {
  isolua_future *f;
  isolua_receiver *r;
  isolua_sender *s;
  int seen = 0;
  if (!open_host()) return;
  f = embed_run(host, NULL, "return 1");
  CHECK_INT(isolua_receiver_new(host, NULL, 0, &r, &s), ISOLUA_OK);
  isolua_sender_release(s);
  close_host();
  CHECK_INT(isolua_future_on_done(f, note_nothing, &seen), ISOLUA_CLOSED);
  CHECK_INT(isolua_receiver_on_message(r, note_no_message, &seen), ISOLUA_CLOSED);
  CHECK_INT(seen, 0);
  isolua_future_release(f);
  isolua_receiver_close(r);
}

static const check_case cases[] = {
  {"messages carry values of every type", messages_carry_every_type},
  {"messages carry tables", messages_carry_tables},
  {"messages are read by C", messages_are_read},
  {"values that are not there read as nothing", nothing_is_read_of_nothing},
  {"messages refuse what cannot be", messages_refuse_what_cannot_be},
  {"results are read whole", results_are_read_whole},
  {"results are read by several threads", results_are_read_by_several},
  {"blocks over the caller's memory are moved without a copy", blocks_are_wrapped_and_moved},
  {"frozen blocks are shared", frozen_blocks_are_shared},
  {"native ports go to Lua and back", ports_go_to_lua_and_back},
  {"native ports carry tables both ways", ports_carry_tables_both_ways},
  {"bounded native ports make their senders wait", bounded_ports_make_senders_wait},
  {"native ports refuse wrong arguments", ports_refuse_wrong_arguments},
  {"native ports serve many threads", ports_serve_many_threads},
  {"closing a receiver ends who receives", closing_ends_who_receives},
  {"messages that were received or read go on as arguments", messages_go_on_as_arguments},
  {"messages that were received take nothing more", received_messages_take_nothing},
  {"states may be closed while they are attached", attached_states_may_be_closed},
  {"isolates live and tell of themselves", isolates_live_and_tell_of_themselves},
  {"isolates live of files, with arguments", isolates_live_in_files},
  {"the pump calls for futures", pump_calls_for_futures},
  {"the pump keeps to its budget", pump_keeps_to_its_budget},
  {"receivers close in their callback", receivers_close_in_their_callback},
  {"callbacks have ended when they are changed", callbacks_have_ended_when_they_are_changed},
  {"a change of a callback waits for no call of the next one",
   changes_wait_for_no_call_of_the_next_one},
  {"callbacks are set by several threads at once", callbacks_are_set_by_several_at_once},
  {"callbacks are refused once the host is closed", callbacks_are_refused_once_the_host_is_closed},
  {"a callback changes itself while its receiver is closed",
   callbacks_change_while_they_are_closed},
  {"callbacks are set while the host is closed", callbacks_are_set_while_the_host_closes},
  {"callbacks are taken off by themselves", callbacks_are_taken_off_by_themselves},
  {"the pump bears several threads", pump_bears_several_threads},
  {"wake is called once a pump", wake_is_called_once_a_pump},
  {"states of the caller's are attached, pumped and detached", states_are_attached_and_pumped},
  {"a detached state reports the tasks that failed", detached_states_report_tasks},
  {"callbacks are refused by what is closed", callbacks_are_refused_by_what_is_closed},
  {"states of the caller's keep what they had", states_keep_what_they_had},
};

CHECK_MAIN(cases)
