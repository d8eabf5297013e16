/* read.c - what can be said of a message without Lua. */
/* SPDX-License-Identifier: MIT */
#include "codec.h"
#include "wire.h"

size_t il_msg_count(const il_msg *m) {
  return m->data[0] == W_ONE ? 1 : il_get32(m->data + 5);
}

static const unsigned char *value_at(const il_msg *m, size_t i) {
  return m->data[0] == W_ONE ? m->data + 1 : m->data + il_get64(m->data + 9 + 8 * i);
}

static void from_float(double v, il_scalar *out) {
  out->type = ISOLUA_TNUMBER;
  out->number = v;
  if (v >= -9223372036854775808.0 && v < 9223372036854775808.0 && (double)(long long)v == v)
    out->integer = (long long)v;
}

void il_msg_scalar(const il_msg *m, size_t i, il_scalar *out) {
  const unsigned char *p;
  double v;
  memset(out, 0, sizeof *out);
  out->type = ISOLUA_TNONE;
  if (i >= il_msg_count(m)) return;
  p = value_at(m, i);
  out->type = ISOLUA_TOTHER;
  switch (*p) {
  case W_NIL: out->type = ISOLUA_TNIL; break;
  case W_FALSE:
  case W_TRUE:
    out->type = ISOLUA_TBOOLEAN;
    out->integer = *p == W_TRUE;
    break;
  case W_INT:
    out->type = ISOLUA_TINTEGER;
    out->integer = (long long)il_get64(p + 1);
    out->number = (double)out->integer;
    break;
  case W_FLOAT:
    memcpy(&v, p + 1, 8);
    from_float(v, out);
    break;
  case W_STRING:
    out->type = ISOLUA_TSTRING;
    out->length = (size_t)il_get64(p + 5);
    out->string = (const char *)p + 13;
    break;
  default: break;
  }
}
