/* value_test.c - isolua.h: values of things that isolates share: frozen tables and integers. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "one_host.h"

/* -- Frozen tables ----------------------------------------------------------------------------- */

static void frozen_tables_are_read_as_tables(void) {
  const isolua_value *v, *list;
  isolua_future *f;
  if (!open_host()) return;
  f = embed_run(host, NULL,
                "local isolate = require 'isolate' "
                "local inner = isolate.freeze { deep = 'inside' } "
                "local t = { list = {1, 2.5, 'three', nil, false, true}, inner = inner, "
                "  name = 'ada', [-7] = 'seven', [0.5] = 'half', empty = {} } t.self = t "
                "for i = 1, 100 do t['key' .. i] = i end "
                "return isolate.freeze(t), { isolate.freeze { 9 } }");
  if (!embed_settles(f, ISOLUA_OK, NULL)) return;
  CHECK_INT(isolua_future_type(f, 1), ISOLUA_TTABLE);
  v = isolua_future_value(f, 1);
  CHECK_INT(isolua_value_length(v), 0);
  CHECK_TEXT(isolua_value_string(isolua_value_get(v, "name"), NULL), "ada");
  CHECK_TEXT(isolua_value_string(isolua_value_at(v, -7), NULL), "seven");
  CHECK_INT(isolua_value_integer(isolua_value_get(v, "key77")), 77);
  CHECK(isolua_value_get(v, "key101") == NULL);
  CHECK(isolua_value_at(v, 1) == NULL);
  CHECK_TEXT(isolua_value_string(isolua_value_get(isolua_value_get(v, "inner"), "deep"), NULL),
             "inside");
  CHECK_INT(isolua_value_type(isolua_value_get(v, "empty")), ISOLUA_TTABLE);
  list = isolua_value_get(isolua_value_get(isolua_value_get(v, "self"), "self"), "list");
  CHECK_INT(isolua_value_length(list), 6);
  CHECK_INT(isolua_value_integer(isolua_value_at(list, 1)), 1);
  CHECK(isolua_value_number(isolua_value_at(list, 2)) == 2.5);
  CHECK(isolua_value_at(list, 4) == NULL);
  CHECK_INT(isolua_value_type(isolua_value_at(list, 5)), ISOLUA_TBOOLEAN);
  CHECK_INT(isolua_value_boolean(isolua_value_at(list, 5)), 0);
  CHECK_INT(isolua_value_boolean(isolua_value_at(list, 6)), 1);
  CHECK(isolua_value_at(list, 7) == NULL);
  v = isolua_value_at(isolua_future_value(f, 2), 1);
  CHECK_INT(isolua_value_integer(isolua_value_at(v, 1)), 9);
  isolua_future_release(f);
  close_host();
}

static void frozen_tables_are_walked_through(void) {
  const isolua_value *v, *key, *value;
  isolua_future *f;
  long long sum = 0, keys = 0;
  size_t at = 0;
  if (!open_host()) return;
  f =
    embed_run(host, NULL, "return require 'isolate'.freeze {10, 20, 30, x = 1, [0.5] = 2, y = 3}");
  if (!embed_settles(f, ISOLUA_OK, NULL)) return;
  v = isolua_future_value(f, 1);
  CHECK_INT(isolua_value_next(v, &at, &key, &value), 1);
  CHECK(key == NULL && at == 1);
  CHECK_INT(isolua_value_integer(value), 10);
  CHECK_INT(isolua_value_next(v, &at, &key, &value), 1);
  CHECK(key == NULL && at == 2);
  while (isolua_value_next(v, &at, &key, &value)) {
    keys += key == NULL ? 100 : isolua_value_type(key) == ISOLUA_TSTRING ? 10 : 1;
    sum += isolua_value_integer(value);
  }
  CHECK_INT(keys, 121);
  CHECK_INT(sum, 36);
  isolua_future_release(f);
  close_host();
}

static void frozen_tables_have_buffers(void) {
  isolua_future *f;
  isolua_block *b;
  size_t offset;
  if (!open_host()) return;
  f = embed_run(host, NULL,
                "local isolate = require 'isolate' local b = isolate.buffer 'hello world' "
                "b:freeze() return isolate.freeze { whole = b, part = b:slice(7) }");
  if (!embed_settles(f, ISOLUA_OK, NULL)) return;
  b = isolua_value_block(isolua_value_get(isolua_future_value(f, 1), "part"), &offset);
  CHECK_INT(isolua_value_length(isolua_value_get(isolua_future_value(f, 1), "part")), 5);
  isolua_future_release(f);
  if (CHECK(b != NULL)) { /* the hold is the caller's */
    CHECK(memcmp((const char *)isolua_block_data(b, NULL) + offset, "world", 5) == 0);
    isolua_block_release(b);
  }
  close_host();
}

/* Several threads that are the first to read it. */
static void read_deep(int index, void *arg) {
  const isolua_value *v = isolua_future_value(arg, 1);
  (void)index;
  for (int i = 0; i < 20; i++) v = isolua_value_get(v, "next");
  CHECK_INT(isolua_value_integer(isolua_value_get(v, "n")), 20);
}

static void frozen_tables_are_read_by_several(void) {
  if (!open_host()) return;
  for (int i = 0; i < check_scale(100, 20); i++) {
    isolua_future *f =
      embed_run(host, NULL,
                "local t = {n = 20} for i = 19, 0, -1 do t = {n = i, next = t} end "
                "return require 'isolate'.freeze(t)");
    if (embed_settles(f, ISOLUA_OK, NULL)) check_parallel(4, read_deep, f);
    isolua_future_release(f);
  }
  close_host();
}

/* -- Shared integers --------------------------------------------------------------------------- */

static void integers_are_made_and_changed(void) {
  isolua_atomic *a;
  long long old = 6;
  CHECK_INT(isolua_atomic_new(1, NULL), ISOLUA_INVALID);
  if (!CHECK_INT(isolua_atomic_new(INT64_MAX, &a), ISOLUA_OK)) return;
  CHECK_INT(isolua_atomic_load(a), INT64_MAX);
  CHECK_INT(isolua_atomic_add(a, 1), INT64_MIN);
  isolua_atomic_store(a, 7);
  CHECK_INT(isolua_atomic_exchange(a, &old, 8), 0);
  CHECK_INT(old, 7);
  CHECK_INT(isolua_atomic_exchange(a, &old, 8), 1);
  isolua_atomic_retain(a);
  isolua_atomic_release(a);
  CHECK_INT(isolua_atomic_load(a), 8);
  isolua_atomic_release(a);
  isolua_atomic_release(NULL);
}

enum { ADDERS = 4 };

/* One thread adds; the others are isolates that do. */
static void integers_are_shared_with_isolates(void) {
  isolua_future *f[ADDERS];
  isolua_atomic *a;
  long long n = check_scale(20000, 500);
  if (!open_host()) return;
  if (!CHECK_INT(isolua_atomic_new(0, &a), ISOLUA_OK)) return;
  for (int i = 0; i < ADDERS; i++) {
    isolua_options o = {.size = sizeof o};
    CHECK_INT(isolua_message_new(&o.args), ISOLUA_OK);
    CHECK_INT(isolua_add_atomic(o.args, a), ISOLUA_OK);
    isolua_add_integer(o.args, n);
    f[i] = embed_run(host, &o, "local a, n = ... for i = 1, n do a:add(1) end return a");
  }
  for (int i = 0; i < n; i++) isolua_atomic_add(a, 1);
  for (int i = 0; i < ADDERS; i++) {
    isolua_atomic *same;
    if (!embed_settles(f[i], ISOLUA_OK, NULL)) continue;
    CHECK_INT(isolua_future_type(f[i], 1), ISOLUA_TCELL);
    same = isolua_value_atomic(isolua_future_value(f[i], 1));
    CHECK(same == a);
    isolua_atomic_release(same);
    isolua_future_release(f[i]);
  }
  CHECK_INT(isolua_atomic_load(a), n * (ADDERS + 1));
  isolua_atomic_release(a);
  close_host();
}

static void integers_are_no_other_value(void) {
  isolua_message *m;
  const isolua_value *v;
  isolua_atomic *a;
  CHECK_INT(isolua_message_new(&m), ISOLUA_OK);
  CHECK_INT(isolua_add_atomic(m, NULL), ISOLUA_INVALID);
  isolua_message_free(m);
  CHECK_INT(isolua_message_new(&m), ISOLUA_OK);
  CHECK_INT(isolua_atomic_new(7, &a), ISOLUA_OK);
  isolua_add_atomic(m, a);
  isolua_atomic_release(a);
  v = isolua_message_value(m, 1);
  CHECK_INT(isolua_value_type(v), ISOLUA_TCELL);
  CHECK_INT(isolua_value_integer(v), 0);
  CHECK(isolua_value_sender(v) == NULL);
  CHECK(isolua_value_block(v, NULL) == NULL);
  isolua_message_free(m);
  CHECK(isolua_value_atomic(NULL) == NULL);
}

static const check_case cases[] = {
  {"frozen tables are read as tables", frozen_tables_are_read_as_tables},
  {"frozen tables are walked through", frozen_tables_are_walked_through},
  {"frozen tables have buffers", frozen_tables_have_buffers},
  {"frozen tables are read by several threads", frozen_tables_are_read_by_several},
  {"shared integers are made and changed", integers_are_made_and_changed},
  {"shared integers are shared with isolates", integers_are_shared_with_isolates},
  {"shared integers are no other value", integers_are_no_other_value},
};

CHECK_MAIN(cases)
