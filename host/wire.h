/* wire.h - how a message is laid out; between encode.c, decode.c and read.c. */
/* SPDX-License-Identifier: MIT */
#ifndef IL_WIRE_H
#define IL_WIRE_H

#include <stdint.h>
#include <string.h>

/*
** message = kind:u8
**   W_ONE   value                                       one value without tables, functions, names
**   W_MANY  slots:u32 count:u32 offset:u64*count places:u8 root*count extras
** root    = value body* W_ENDROOT
** body    = W_BODY slot:u32, then what follows the head of a table (W_TABLE) or function (W_FUNC)
**           that an outer root named as `later`
** extras  = count:u32 (what:u8 name:str ok:u8 (root | reason:str))*     globals and preload entries
**
** A slot numbers a thing that is referred to more than once; 0: it is not. A place holds a key of
** records: the receiver keeps it ready there until another one is put into the place. Integers lie
** unaligned in the machine's own order: a message never leaves the process.
*/
enum { W_ONE, W_MANY };

enum {
  W_NIL,
  W_FALSE,
  W_TRUE,
  W_INT,    /* i64 */
  W_FLOAT,  /* f64 */
  W_STRING, /* slot:u32 len:u64 bytes 0 */
  W_SHORT,  /* the same, not as a root: slot:u32 len:u8 bytes */
  W_REF,    /* slot:u32 */
  W_TABLE,  /* slot:u32 list:u32 hash:u32, then list items, W_HASH, pairs, [W_META value] W_END */
  W_RECORD, /* slot:u32 place:u8 n:u8 more:u32, then values for the n keys from that place on, then
                  as after W_HASH, `more` pairs */
  W_SHAPE,  /* only where a pair could stand: place:u8 n:u8, then n strings: keys of records */
  W_TABLE_LATER, /* slot:u32; the rest is a body */
  W_INTS,        /* only as list items: count:u32 i64*count */
  W_FLOATS,      /* the same with f64 */
  W_HASH,        /* the list part ends */
  W_META,        /* a metatable follows */
  W_END,
  W_FUNC,       /* slot:u32 nup:u8 code:u64 [len:u64 bytes], then nup upvalues; the code lies at
                 offset `code` of the message: here, when nothing lies in between */
  W_FUNC_LATER, /* the same head; the upvalues are a body */
  W_FUNC_SHARED, /* slot:u32 nup:u8 index:u32, of a block with the code among the handles; then the upvalues */
  W_JOIN,       /* only as an upvalue: slot:u32 n:u8, shared with upvalue n of that function */
  W_GLOBALS,    /* the receiver's table of globals */
  W_STD,        /* u16: standard function, index in il_std */
  W_NAMED,      /* slot:u32 module:str has:u8 [field:str] */
  W_REGISTERED, /* slot:u32 name:str, then a copy: table or function */
  W_PACKED,     /* slot:u32 module:str function:str root */
  W_HANDLE,     /* slot:u32 index:u32 into the message's handles */
  W_BUFFER, /* slot:u32 index:u32 how:u8 whole:u8 offset:u64 length:u64, of a block among the handles */
  W_SLICE,  /* slot:u32 from:u32 whole:u8 offset:u64 length:u64, of the block of a buffer before */
  W_FROZEN, /* slot:u32 index:u32 place:u64, of a table in a frozen graph among the handles */
  W_LIGHT,  /* pointer */
  W_CFUNC,  /* pointer; in package.preload, or one of the library's own */
  W_BODY,
  W_ENDROOT
};

enum { W_GLOBAL, W_PRELOAD }; /* what an extra is */

enum { W_SHARED, W_COPIED, W_MOVED, W_TAKEN }; /* how the block of a buffer goes */

#define W_PLACES 250

/* str = len:u32 bytes 0 */

static inline uint32_t il_get32(const unsigned char *p) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

static inline uint64_t il_get64(const unsigned char *p) {
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

#endif
