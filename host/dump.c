/* dump.c - a reader of Lua 5.4's binary chunks. */
/* SPDX-License-Identifier: MIT */
#include "dump.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
** DESIGN. The chunks come from lua_dump of this very process, so they are well formed; every read is
** checked against the end all the same, and a chunk of another layout is not read at all (then no
** global is captured and no upvalue counts as to be closed). The layout is that of ldump.c, the
** instructions those of lopcodes.h, both the same in 5.4.0 to 5.4.8.
*/
enum { OP_LOADNIL = 8, OP_GETUPVAL = 9, OP_GETTABUP = 11, OP_RETURN = 70, OP_CLOSURE = 79 };
enum { K_NIL = 0x00, K_FALSE = 0x01, K_TRUE = 0x11, K_INT = 0x03, K_FLOAT = 0x13 };
enum { K_SHORT = 0x04, K_LONG = 0x14 };
enum { KIND_TO_CLOSE = 2 }; /* RDKTOCLOSE in lparser.h */

static const unsigned char header[] = {
  0x1b, 'L',  'u',  'a',  0x54, 0,             /* version, official format */
  0x19, 0x93, '\r', '\n', 0x1a, '\n', 4, 8, 8, /* sizes of instruction, integer, float */
};
#define HEADER_SIZE (sizeof header + 16) /* and a test integer and a test float */

typedef struct reader {
  const unsigned char *at, *end;
  bool bad;
} reader;

/* What is needed of one function; the code and constants are looked at when upvalues are known. */
typedef struct function {
  const unsigned char *code, *constants;
  size_t ncode, nconstants;
  il_upvalue_set env;
} function;

typedef struct search {
  reader r;
  void (*found)(void *, const char *, size_t);
  void *ud;
} search;

bool il_upvalue_has(const il_upvalue_set *set, int index) {
  return (set->bits[index / 8] >> (index % 8)) & 1;
}

void il_upvalue_add(il_upvalue_set *set, int index) {
  set->bits[index / 8] |= (unsigned char)(1 << (index % 8));
}

bool il_dump_known(const unsigned char *dump, size_t len) {
  int64_t integer;
  double number;
  if (len < HEADER_SIZE + 1 || memcmp(dump, header, sizeof header) != 0) return false;
  memcpy(&integer, dump + sizeof header, sizeof integer);
  memcpy(&number, dump + sizeof header + 8, sizeof number);
  return integer == 0x5678 && number == 370.5;
}

static const unsigned char *skip(reader *r, size_t n) {
  const unsigned char *p = r->at;
  if (n > (size_t)(r->end - r->at)) {
    r->bad = true;
    return NULL;
  }
  r->at += n;
  return p;
}

static int byte(reader *r) {
  const unsigned char *p = skip(r, 1);
  return p != NULL ? *p : 0;
}

/* Seven bits a byte, most significant first, the last one marked. */
static size_t size(reader *r) {
  size_t n = 0;
  int b;
  do {
    b = byte(r);
    n = (n << 7) | (size_t)(b & 0x7f);
  } while ((b & 0x80) == 0 && !r->bad);
  return r->bad ? 0 : n;
}

/* The length is stored plus one; 0 is no string. */
static const char *string(reader *r, size_t *len) {
  size_t n = size(r);
  *len = n > 0 ? n - 1 : 0;
  return n > 0 ? (const char *)skip(r, n - 1) : NULL;
}

/* One constant; its text when it is a string. */
static const char *constant(reader *r, size_t *len) {
  switch (byte(r)) {
  case K_INT:
  case K_FLOAT: skip(r, 8); return NULL;
  case K_SHORT:
  case K_LONG: return string(r, len);
  case K_NIL:
  case K_FALSE:
  case K_TRUE: return NULL;
  default: r->bad = true; return NULL;
  }
}

/* From its first byte to its constants, which are skipped too. */
static void read_code(reader *r, function *f) {
  size_t len;
  string(r, &len); /* source */
  size(r);         /* first line, last line */
  size(r);
  skip(r, 3); /* parameters, vararg, stack */
  f->ncode = size(r);
  f->code = skip(r, f->ncode > SIZE_MAX / 4 ? SIZE_MAX : f->ncode * 4);
  f->nconstants = size(r);
  f->constants = r->at;
  for (size_t i = 0; i < f->nconstants && !r->bad; i++) constant(r, &len);
}

static void skip_debug(reader *r) {
  size_t len, n = size(r);
  skip(r, n); /* line information */
  for (n = size(r); n > 0 && !r->bad; n--) {
    size(r);
    size(r);
  }
  for (n = size(r); n > 0 && !r->bad; n--) { /* local variables */
    string(r, &len);
    size(r);
    size(r);
  }
  for (n = size(r); n > 0 && !r->bad; n--) string(r, &len);
}

void il_dump_closing(const unsigned char *dump, size_t len, il_upvalue_set *closing) {
  reader r = {dump + HEADER_SIZE + 1, dump + len, false};
  function f;
  size_t n;
  memset(closing, 0, sizeof *closing);
  read_code(&r, &f);
  n = size(&r);
  for (size_t i = 0; i < n && i < IL_MAX_UPVALUES && !r.bad; i++) {
    skip(&r, 2);
    if (byte(&r) == KIND_TO_CLOSE) il_upvalue_add(closing, (int)i);
  }
}

/* The string constants whose numbers are in `wanted` (numbers below 256), or all: NULL. */
static void report(search *s, const function *f, const il_upvalue_set *wanted) {
  reader r = {f->constants, s->r.end, false};
  for (size_t i = 0; i < f->nconstants && (wanted == NULL || i < 256) && !r.bad; i++) {
    size_t len;
    const char *name = constant(&r, &len);
    if (name != NULL && (wanted == NULL || il_upvalue_has(wanted, (int)i)))
      s->found(s->ud, name, len);
  }
}

/* An instruction: opcode in bits 0-6, A in 7-14, k in 15, B in 16-23, C in 24-31. */
static void search_code(search *s, const function *f) {
  il_upvalue_set wanted;
  memset(&wanted, 0, sizeof wanted);
  for (size_t i = 0; i < f->ncode; i++) {
    uint32_t op;
    memcpy(&op, f->code + 4 * i, sizeof op);
    if ((op & 0x7f) == OP_GETTABUP && il_upvalue_has(&f->env, (int)(op >> 16 & 0xff))) {
      il_upvalue_add(&wanted, (int)(op >> 24));
    } else if ((op & 0x7f) == OP_GETUPVAL && il_upvalue_has(&f->env, (int)(op >> 16 & 0xff))) {
      report(s, f, NULL);
      return;
    }
  }
  report(s, f, &wanted);
}

/* C recursion follows the nesting of functions in the source, which the compiler keeps below 200
** (LUAI_MAXCCALLS); a frame here is some 150 bytes. `outer` NULL: the main function. */
static void search_function(search *s, const function *outer, const il_upvalue_set *env) {
  function f;
  size_t n;
  memset(&f, 0, sizeof f);
  read_code(&s->r, &f);
  if (env != NULL) f.env = *env;
  n = size(&s->r);
  for (size_t i = 0; i < n && !s->r.bad; i++) {
    int in_stack = byte(&s->r), index = byte(&s->r);
    byte(&s->r);
    if (outer != NULL && !in_stack && i < IL_MAX_UPVALUES && il_upvalue_has(&outer->env, index))
      il_upvalue_add(&f.env, (int)i);
  }
  if (s->r.bad) return;
  search_code(s, &f);
  for (n = size(&s->r); n > 0 && !s->r.bad; n--) search_function(s, &f, NULL);
  skip_debug(&s->r);
}

void il_dump_globals(const unsigned char *dump, size_t len, const il_upvalue_set *env,
                     void (*found)(void *, const char *, size_t), void *ud) {
  search s = {{dump + HEADER_SIZE + 1, dump + len, false}, found, ud};
  search_function(&s, NULL, env);
}

/* -- Factories --------------------------------------------------------------------------------- */

/* iABC: op:7 A:8 k:1 B:8 C:8; iABx: op:7 A:8 Bx:17. */
static unsigned char *put_instruction(unsigned char *at, int op, int a, int k, int b) {
  uint32_t i = (uint32_t)op | (uint32_t)a << 7 | (uint32_t)k << 15 | (uint32_t)b << 16;
  memcpy(at, &i, 4);
  return at + 4;
}

/* A size below 128. */
static unsigned char *put_size(unsigned char *at, int n) {
  *at++ = (unsigned char)(0x80 | n);
  return at;
}

/* Its function has the chunk's one nested in it, whose upvalues become its own local variables. */
unsigned char *il_dump_factory(const unsigned char *dump, size_t len, size_t *out) {
  enum { REST = 64 };
  reader r = {dump + HEADER_SIZE + 1, dump + len, false};
  const unsigned char *inner = r.at;
  unsigned char *factory, *at;
  size_t upvalues, first;
  function f;
  read_code(&r, &f);
  upvalues = size(&r);
  first = (size_t)(r.at - inner);
  if (r.bad || upvalues > IL_MAX_UPVALUES - 5) return NULL;
  factory = malloc(len + REST);
  if (factory == NULL) return NULL;
  memcpy(factory, dump, HEADER_SIZE);
  at = factory + HEADER_SIZE;
  *at++ = 0;            /* upvalues */
  at = put_size(at, 0); /* source, first line, last line */
  at = put_size(at, 0);
  at = put_size(at, 0);
  *at++ = 0; /* parameters, vararg, stack */
  *at++ = 0;
  *at++ = (unsigned char)(upvalues + 2);
  at = put_size(at, upvalues > 0 ? 3 : 2);
  if (upvalues > 0) at = put_instruction(at, OP_LOADNIL, 0, 0, (int)upvalues - 1);
  at = put_instruction(at, OP_CLOSURE, (int)upvalues, 0, 0);
  at = put_instruction(at, OP_RETURN, (int)upvalues, upvalues > 0, 2);
  at = put_size(at, 0); /* constants, upvalues */
  at = put_size(at, 0);
  at = put_size(at, 1);
  memcpy(at, inner, (size_t)(dump + len - inner));
  for (size_t i = 0; i < upvalues; i++) { /* instack, index, kind */
    at[first + 3 * i] = 1;
    at[first + 3 * i + 1] = (unsigned char)i;
  }
  at += dump + len - inner;
  for (int i = 0; i < 4; i++) at = put_size(at, 0); /* debug information */
  *out = (size_t)(at - factory);
  return factory;
}
