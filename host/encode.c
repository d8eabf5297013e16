/* encode.c - Lua values to flat messages. */
/* SPDX-License-Identifier: MIT */
/* One file past 1000 lines: every part works on the state of one walk. */
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "buffer.h"
#include "codec.h"
#include "dump.h"
#include "freeze.h"
#include "heap.h"
#include "kill.h"
#include "names.h"
#include "wire.h"

/*
** DESIGN. The graph is walked with frames on a heap stack, never with C recursion. What a frame works
** on (object, key) lies on the Lua stack; that is bounded too, so an object found more than
** DEPTH_MAX frames deep is only announced (W_TABLE_LATER) and its contents follow when the root is
** done. An object goes into the map when it is first seen, with the place of its slot number in the
** message; a second sight gives it a number, by patching that place. So only shared things cost the
** receiver anything.
**
** Tables with the same string keys in the same order (records) have one shape. After the first few of
** a message, one such table is taken down, the second confirms it and is followed by the shape, every later one is written as a
** record: values without keys. A table is taken for a record by its first key alone; where it turns
** out to differ, the pairs from there on are written as those of other tables. Keys are compared by
** address, which a string keeps while it lives.
**
** Nothing here runs Lua code but __isolate_pack methods. These could change the graph, so that an
** address in the map becomes another object's: when the first is met the walk starts again in
** `anchored` mode, which keeps every object and string that was seen. A refusal below an announced
** object starts it again in `tracing` mode, which keeps the path to each of these.
*/
#ifndef IL_DEPTH_MAX
#define IL_DEPTH_MAX 100
#endif
#define PACK_DEPTH_MAX 50000       /* frames, when packed objects nest: bounded by Lua's stack */
#define KEEP_MAX ((size_t)1 << 16) /* bytes of buffer kept between sends */
#define SHORT_MAX 40               /* bytes up to which a text is one string (LUAI_MAXSHORTLEN) */
#define CACHE 256                  /* short strings, a power of two */
#define SHAPES 32                  /* a power of two */
#define SHAPE_KEYS 32
#define UNSHAPED 8      /* tables from which on it is worth to look for shapes */
#define FETCH_MIN 16383 /* mask of a map that is larger than the nearest cache */
#define CREDIT 8        /* tables that may differ from a shape, in a row, before it is forgotten */
#define PATH_MAX_BYTES 400
#define WHAT_MAX 120

enum frame_kind { FRAME_TABLE, FRAME_FUNC, FRAME_PACK };
enum table_phase { IN_LIST, IN_ARRAY, IN_RECORD, IN_HASH, AFTER_KEY, IN_META };

typedef struct shape {
  uint32_t round; /* the walk's; any other: free */
  uint32_t stamp; /* changes whenever the keys are to be taken down again */
  int n;
  int base;   /* place of the first key in the receiver */
  int credit; /* above 0: the receiver has it */
  const void *keys[SHAPE_KEYS];
} shape;

typedef struct frame {
  enum frame_kind kind;
  int phase;
  int object;    /* stack index of the table, function or state */
  bool later;    /* its body stands alone */
  bool pair;     /* its next key and value lie on the stack already */
  bool has_meta; /* it may have a metatable */
  bool same;     /* its keys are so far those of `shape` */
  size_t head;   /* place of the slot in the message */
  size_t counts; /* place of list:u32 hash:u32, of a record's more:u32; 0: none */
  bool record;
  shape *shape; /* IN_RECORD: what it is written by; else: what its keys are compared with; NULL */
  uint32_t stamp;         /* of the shape; another one: it is in other hands by now */
  int key;                /* keys of the shape that were met */
  lua_Integer list, hash; /* entries so far */
  lua_Integer array;      /* IN_ARRAY: items that are known to be in the array part */
  size_t run;             /* place of the count of the run of numbers under way; 0: none */
  int run_type;
  int up, nup;                    /* next upvalue, how many */
  size_t entry;                   /* of the object in the map */
  size_t later_base, next_later;  /* FRAME_PACK: announced objects before it; next to begin */
  size_t outer_later, outer_base; /* `later`: in_later and local_base to go back to */
  il_upvalue_set closing;         /* FRAME_FUNC */
} frame;

typedef struct entry {
  const void *p;
  size_t place; /* of its slot in the message; upvalues: entry of the function that has it */
  uint32_t slot;
  unsigned char up; /* upvalues: which */
} entry;

typedef struct later {
  size_t entry;
  bool is_function;
  size_t code;   /* place of its code */
  size_t parent; /* tracing: index + 1 of the announced object it was found in; 0: the root */
  char *path;    /* tracing: from there */
} later;

typedef struct code {
  uint64_t hash;
  size_t place, len; /* of its len:u64 in the message */
} code;

/* The block of buffers and slices in the message. */
typedef struct source {
  il_store *store;
  size_t first;    /* entry of the first one that lies over it */
  size_t place;    /* of what follows its slot: index, how, whole */
  size_t low, end; /* the part of it that is needed */
  bool move, lone; /* only that one lies over it */
} source;

/* Where a buffer says which part of its block it has. */
typedef struct part {
  size_t place, source;
} part;

typedef struct il_encoder {
  il_vm *vm;
  lua_State *L;
  const il_sending *how;
  int nvalues;

  unsigned char *data;
  size_t len, cap;
  uint32_t slots;

  entry *entries;
  size_t nentries, roomentries;
  uint32_t *map; /* entry + 1; 0: free */
  size_t mask;

  struct {
    const char *p;
    size_t place;
    uint32_t slot, round;
  } cache[CACHE];
  uint32_t round;

  shape *shapes; /* SHAPES, by first key; NULL: none was needed yet */
  uint32_t stamps;
  int unshaped;            /* tables with string keys so far, up to UNSHAPED */
  int places, most_places; /* taken by keys in the receiver: now; at most so far */
  size_t open_records;     /* frames in IN_RECORD: places that they name must stay */

  frame *frames;
  size_t nframes, roomframes;
  later *laters;
  size_t nlaters, roomlaters;
  size_t in_later;   /* index + 1 of the announced object in hand; 0: the root */
  size_t local_base; /* frames below those of the object in hand */
  code *codes;
  size_t ncodes, roomcodes;
  il_handle **handles;
  size_t nhandles, roomhandles;
  source *sources;
  size_t nsources, roomsources;
  part *parts;
  size_t nparts, roomparts;
  il_moves *moves; /* of the message that is done */

  bool anchored, tracing, again; /* see DESIGN; again: start over */
  bool c_functions;              /* in package.preload */
  const void *globals;
  int checked;           /* up to there the stack has been made large enough */
  int root;              /* number of the value in hand, from 0; -1: an extra */
  const char *root_name; /* of an extra */
  bool refused;
  int code; /* of the refusal */
  char what[WHAT_MAX];
  char path[PATH_MAX_BYTES + 32];
} il_encoder;

/* Fixed places on the stack of encode_all, which run_walk fills; the values follow. */
enum {
  AT_ENCODER = 1,
  AT_GLOBALS,
  AT_GC, /* the names of metamethods: nil until they are needed */
  AT_PACK,
  AT_ANCHORS,
  AT_LATERS,
  AT_WANTED,
  AT_NAME,
  AT_LAST
};

#define PACKING UINT32_MAX /* slot of an object whose state is under way */

/* -- Growing ----------------------------------------------------------------------------------- */

static _Noreturn void no_memory(il_encoder *e) {
  isolua_memoryerror(e->L);
}

/* Room for one more in an array of `size`-byte things. */
static void *grow(il_encoder *e, void *array, size_t count, size_t *room, size_t size) {
  size_t more = *room * 2 + 16;
  void *bigger;
  if (count < *room) return array;
  bigger = realloc(array, more * size);
  if (bigger == NULL) no_memory(e);
  *room = more;
  return bigger;
}

static void reserve_slow(il_encoder *e, size_t n) {
  size_t cap = e->cap * 2 > e->len + n ? e->cap * 2 : e->len + n + 256;
  unsigned char *data;
  if (n > SIZE_MAX / 4) no_memory(e);
  data = il_heap_resize(e->data, e->cap, cap);
  if (data == NULL) no_memory(e);
  e->data = data;
  e->cap = cap;
}

static inline unsigned char *reserve(il_encoder *e, size_t n) {
  if (e->cap - e->len < n) reserve_slow(e, n);
  return e->data + e->len;
}

static inline void put8(il_encoder *e, int v) {
  *reserve(e, 1) = (unsigned char)v;
  e->len++;
}

static inline void put32(il_encoder *e, uint32_t v) {
  memcpy(reserve(e, 4), &v, 4);
  e->len += 4;
}

static inline void put64(il_encoder *e, uint64_t v) {
  memcpy(reserve(e, 8), &v, 8);
  e->len += 8;
}

static inline void put_tag64(il_encoder *e, int tag, const void *v) {
  unsigned char *p = reserve(e, 9);
  *p = (unsigned char)tag;
  memcpy(p + 1, v, 8);
  e->len += 9;
}

static void put_bytes(il_encoder *e, const char *s, size_t len) {
  memcpy(reserve(e, len + 1), s, len);
  e->data[e->len + len] = '\0';
  e->len += len + 1;
}

static void put_str(il_encoder *e, const char *s, size_t len) {
  put32(e, (uint32_t)len);
  put_bytes(e, s, len);
}

static void patch32(il_encoder *e, size_t place, uint32_t v) {
  memcpy(e->data + place, &v, 4);
}

/* -- The map ----------------------------------------------------------------------------------- */

static inline size_t first_place(const il_encoder *e, const void *p) {
  return (size_t)((uint64_t)(uintptr_t)p * 0x9E3779B97F4A7C15u >> 32) & e->mask;
}

static size_t place_in_map(const il_encoder *e, const void *p) {
  size_t i = first_place(e, p);
  while (e->map[i] != 0 && e->entries[e->map[i] - 1].p != p) i = (i + 1) & e->mask;
  return i;
}

static void free_map(il_encoder *e) {
  if (e->map != NULL) il_heap_resize(e->map, (e->mask + 1) * sizeof *e->map, 0);
  e->map = NULL;
  e->mask = 0;
}

static void grow_entries(il_encoder *e, size_t n) {
  size_t room = e->nentries + n > e->roomentries * 2 ? e->nentries + n : e->roomentries * 2;
  size_t size = sizeof *e->entries;
  entry *entries = il_heap_resize(e->entries, e->roomentries * size, room * size);
  if (entries == NULL) no_memory(e);
  e->entries = entries;
  e->roomentries = room;
}

/* Makes room in the map for `n` more entries. */
static void grow_map(il_encoder *e, size_t n) {
  size_t mask = e->mask == 0 ? 63 : e->mask * 2 + 1;
  uint32_t *map;
  while ((e->nentries + n) * 2 >= mask) mask = mask * 2 + 1;
  map = il_heap_resize(NULL, 0, (mask + 1) * sizeof *map);
  if (map == NULL) no_memory(e);
  memset(map, 0, (mask + 1) * sizeof *map);
  free_map(e);
  e->map = map;
  e->mask = mask;
  for (size_t i = 0; i < e->nentries; i++)
    e->map[place_in_map(e, e->entries[i].p)] = (uint32_t)(i + 1);
}

/* A list of `n` tables is about to come. */
static void expect(il_encoder *e, size_t n) {
  if ((e->nentries + n) * 2 >= e->mask) grow_map(e, n);
  if (e->nentries + n > e->roomentries) grow_entries(e, n);
}

/* The entry of `p`; a new one has no slot and says so in *fresh. */
static size_t enter(il_encoder *e, const void *p, bool *fresh) {
  size_t i;
  if (e->nentries * 2 >= e->mask) grow_map(e, 1);
  i = place_in_map(e, p);
  *fresh = e->map[i] == 0;
  if (!*fresh) return e->map[i] - 1;
  if (e->nentries == e->roomentries) grow_entries(e, 16);
  e->entries[e->nentries] = (entry){p, 0, 0, 0};
  e->map[i] = (uint32_t)++e->nentries;
  return e->nentries - 1;
}

/* Entries go in reverse, so every probe sequence is again what it was. */
static void forget_entries(il_encoder *e, size_t down_to) {
  while (e->map != NULL && e->nentries > down_to) {
    e->map[place_in_map(e, e->entries[e->nentries - 1].p)] = 0;
    e->nentries--;
  }
}

static uint32_t slot_of(il_encoder *e, size_t index) {
  entry *en = &e->entries[index];
  if (en->slot == 0) {
    en->slot = ++e->slots;
    patch32(e, en->place, en->slot);
  }
  return en->slot;
}

/* -- Refusals ---------------------------------------------------------------------------------- */

typedef struct path {
  char text[PATH_MAX_BYTES * 2 + 64];
  size_t len;
} path;

/* Keeps the beginning and the end of what grows too long. */
static void path_add(path *p, const char *format, ...) {
  char piece[128];
  size_t n, half = PATH_MAX_BYTES / 2;
  va_list args;
  va_start(args, format);
  vsnprintf(piece, sizeof piece, format, args);
  va_end(args);
  n = strlen(piece);
  if (p->len + n > PATH_MAX_BYTES) {
    size_t keep = half - n - 3;
    memmove(p->text + half + 3, p->text + p->len - keep, keep);
    memcpy(p->text + half, "...", 3);
    p->len = half + 3 + keep;
  }
  memcpy(p->text + p->len, piece, n + 1);
  p->len += n;
}

static bool is_name(const char *s, size_t len) {
  if (len == 0 || len > 60 || (s[0] >= '0' && s[0] <= '9')) return false;
  for (size_t i = 0; i < len; i++)
    if (!(s[i] == '_' || (s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'z') ||
          (s[i] >= 'A' && s[i] <= 'Z')))
      return false;
  return true;
}

/* A string key as Lua source, cut when it is long. */
static void path_string(path *p, const char *s, size_t len) {
  char text[64];
  size_t n = 0;
  for (size_t i = 0; i < len && n < 50; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c == '"' || c == '\\' || c < 32 || c == 127)
      n += (size_t)snprintf(text + n, sizeof text - n, c < 32 || c == 127 ? "\\x%02x" : "\\%c", c);
    else
      text[n++] = (char)c;
  }
  text[n] = '\0';
  path_add(p, "[\"%s%s\"]", text, n >= 50 ? "..." : "");
}

static void path_key(path *p, lua_State *L, int index) {
  size_t len;
  const char *s;
  switch (lua_type(L, index)) {
  case LUA_TSTRING:
    s = lua_tolstring(L, index, &len);
    if (is_name(s, len))
      path_add(p, ".%s", s);
    else
      path_string(p, s, len);
    break;
  case LUA_TNUMBER:
    if (lua_isinteger(L, index))
      path_add(p, "[%lld]", (long long)lua_tointeger(L, index));
    else
      path_add(p, "[%.14g]", (double)lua_tonumber(L, index));
    break;
  case LUA_TBOOLEAN: path_add(p, "[%s]", lua_toboolean(L, index) ? "true" : "false"); break;
  default: path_add(p, "[%s]", luaL_typename(L, index));
  }
}

static void path_frame(path *p, il_encoder *e, const frame *f) {
  const char *name;
  switch (f->kind) {
  case FRAME_TABLE:
    if (f->phase == IN_META)
      path_add(p, " metatable");
    else if (f->phase == AFTER_KEY)
      path_add(p, " key");
    else if (f->phase == IN_ARRAY)
      path_add(p, "[%lld]", (long long)f->list);
    else
      path_key(p, e->L, f->object + 1);
    break;
  case FRAME_FUNC:
    name = lua_getupvalue(e->L, f->object, f->up);
    if (name != NULL) lua_pop(e->L, 1);
    if (name != NULL && is_name(name, strlen(name)))
      path_add(p, "%supvalue '%s'", p->len > 0 ? " " : "", name);
    else
      path_add(p, "%supvalue #%d", p->len > 0 ? " " : "", f->up);
    break;
  case FRAME_PACK: path_add(p, " __isolate_pack state"); break;
  }
}

static void path_root(path *p, const il_encoder *e) {
  if (e->root < 0) {
    path_add(p, "%s", e->root_name);
    return;
  }
  switch (e->how->root) {
  case IL_ROOT_MESSAGE: path_add(p, "message"); break;
  case IL_ROOT_ERROR: path_add(p, "error"); break;
  case IL_ROOT_FROZEN: path_add(p, "value"); break;
  case IL_ROOT_RESULT: path_add(p, "result #%d", e->root + 1); break;
  case IL_ROOT_INIT: path_add(p, "init"); break;
  case IL_ROOT_FILE: path_add(p, "argument #%d", e->root + 1); break;
  case IL_ROOT_CALL: /* of the function itself: just the upvalue */
    if (e->root > e->how->hidden) path_add(p, "argument #%d", e->root - e->how->hidden);
    break;
  }
}

static void path_later(path *p, const il_encoder *e, size_t index) {
  /* The first few and the last few: the middle is cut anyhow. */
  enum { ENDS = 4 };
  size_t chain[2 * ENDS], n = 0, shown = 0;
  for (size_t i = index; i != 0; i = e->laters[i - 1].parent) n++;
  for (size_t i = index, at = 0; i != 0; i = e->laters[i - 1].parent, at++)
    if (at < ENDS || at + ENDS >= n) chain[shown++] = i;
  while (shown > 0) {
    const char *s = e->laters[chain[--shown] - 1].path;
    size_t len = s != NULL ? strlen(s) : 0;
    while (len > 0) { /* in pieces that path_add takes */
      int piece = len > 100 ? 100 : (int)len;
      path_add(p, "%.*s", piece, s);
      s += piece;
      len -= (size_t)piece;
    }
  }
}

/* The path from the announced object (or root) in hand to the value in hand. */
static void path_local(path *p, il_encoder *e) {
  for (size_t i = e->local_base; i < e->nframes; i++) path_frame(p, e, &e->frames[i]);
}

/* Always false, so that callers can return it. */
static bool refuse(il_encoder *e, const char *format, ...) {
  path p = {{0}, 0};
  va_list args;
  va_start(args, format);
  vsnprintf(e->what, sizeof e->what, format, args);
  va_end(args);
  e->refused = true;
  e->code = ISOLUA_NOT_SENDABLE;
  if (e->in_later != 0 && !e->tracing) {
    e->tracing = e->again = true;
    return false;
  }
  path_root(&p, e);
  path_later(&p, e, e->in_later);
  path_local(&p, e);
  if (p.len == 0) path_add(&p, "function");
  snprintf(e->path, sizeof e->path, "%.*s", (int)sizeof e->path - 1, p.text);
  return false;
}

/* -- Values ------------------------------------------------------------------------------------ */

/* Every function from here to encode_root takes a value off the top of the stack, or makes a frame
** for it that will; false: it was refused, and the stack is the caller's to reset. */

static frame *push_frame(il_encoder *e, enum frame_kind kind, size_t entry_index) {
  frame *f;
  e->frames = grow(e, e->frames, e->nframes, &e->roomframes, sizeof *e->frames);
  f = &e->frames[e->nframes++];
  f->kind = kind;
  f->phase = 0;
  f->object = lua_gettop(e->L);
  f->later = f->pair = f->same = f->record = false;
  f->has_meta = true;
  f->shape = NULL;
  f->counts = 0;
  f->list = f->hash = 0;
  f->run = 0;
  f->up = f->nup = 0;
  f->entry = entry_index;
  if (f->object + 28 > e->checked) {
    luaL_checkstack(e->L, 60, "nested too deeply");
    e->checked = f->object + 60;
  }
  return f;
}

/* In anchored mode: keeps the object or string at `index`. */
static void anchor(il_encoder *e, int index) {
  if (e->anchored) {
    lua_pushvalue(e->L, index);
    lua_pushboolean(e->L, 1);
    lua_rawset(e->L, AT_ANCHORS);
  }
}

static void put_ref(il_encoder *e, uint32_t slot) {
  unsigned char *p = reserve(e, 5);
  p[0] = W_REF;
  memcpy(p + 1, &slot, 4);
  e->len += 5;
}

/* A root is written like that, so that it can be read without Lua. */
static void put_long_string(il_encoder *e, const char *s, size_t len) {
  unsigned char *p = reserve(e, len + 14);
  uint64_t len64 = len;
  p[0] = W_STRING;
  memset(p + 1, 0, 4);
  memcpy(p + 5, &len64, 8);
  memcpy(p + 13, s, len);
  p[13 + len] = '\0';
  e->len += len + 14;
}

/* The same text is the same address: it is looked for among the last ones. */
static void put_short_string(il_encoder *e, int index, const char *s, size_t len) {
  size_t i = (size_t)(((uintptr_t)s >> 4) * 0x9E3779B1u >> 7) & (CACHE - 1);
  unsigned char *p;
  if (e->cache[i].round == e->round && e->cache[i].p == s) {
    if (e->cache[i].slot == 0) {
      e->cache[i].slot = ++e->slots;
      patch32(e, e->cache[i].place, e->slots);
    }
    put_ref(e, e->cache[i].slot);
    return;
  }
  anchor(e, index);
  e->cache[i].p = s;
  e->cache[i].place = e->len + 1;
  e->cache[i].slot = 0;
  e->cache[i].round = e->round;
  p = reserve(e, len + 6);
  p[0] = W_SHORT;
  memset(p + 1, 0, 4);
  p[5] = (unsigned char)len;
  memcpy(p + 6, s, len);
  e->len += len + 6;
}

static void put_string(il_encoder *e, int index) {
  size_t len, entry_index;
  const char *s = lua_tolstring(e->L, index, &len);
  bool fresh;
  if (e->nframes > 0 && len <= SHORT_MAX) {
    put_short_string(e, index, s, len);
    return;
  }
  if (e->nframes > 0) {
    entry_index = enter(e, s, &fresh);
    if (!fresh) {
      put_ref(e, slot_of(e, entry_index));
      return;
    }
    anchor(e, index);
    e->entries[entry_index].place = e->len + 1;
  }
  put_long_string(e, s, len);
}

/* A value that has no parts: written and true. */
static inline bool put_plain(il_encoder *e, int index, int type) {
  switch (type) {
  case LUA_TNIL: put8(e, W_NIL); return true;
  case LUA_TBOOLEAN: put8(e, lua_toboolean(e->L, index) ? W_TRUE : W_FALSE); return true;
  case LUA_TNUMBER:
    if (lua_isinteger(e->L, index)) {
      lua_Integer v = lua_tointeger(e->L, index);
      put_tag64(e, W_INT, &v);
    } else {
      lua_Number v = lua_tonumber(e->L, index);
      put_tag64(e, W_FLOAT, &v);
    }
    return true;
  case LUA_TLIGHTUSERDATA: {
    void *v = lua_touserdata(e->L, index);
    put_tag64(e, W_LIGHT, &v);
    return true;
  }
  case LUA_TSTRING: put_string(e, index); return true;
  default: return false;
  }
}

/* Puts the object on the top, whose address is `p`, into the map. A known one is written as a
** reference, and popped. */
static bool known(il_encoder *e, const void *p, size_t *entry_index) {
  bool fresh;
  *entry_index = enter(e, p, &fresh);
  if (fresh) {
    anchor(e, -1);
    return false;
  }
  if (e->entries[*entry_index].slot == PACKING)
    return true; /* its pack method is under way: the caller refuses it */
  put_ref(e, slot_of(e, *entry_index));
  lua_pop(e->L, 1);
  return true;
}

static void put_slot(il_encoder *e, int tag, size_t entry_index) {
  put8(e, tag);
  e->entries[entry_index].place = e->len;
  put32(e, 0);
}

/* The head of a table or function. The copy behind a registered name has no slot of its own. */
static void put_head(il_encoder *e, int tag, size_t entry_index, bool registered) {
  if (!registered) {
    put_slot(e, tag, entry_index);
  } else {
    put8(e, tag);
    put32(e, 0);
  }
}

/* The object on the top goes by name: it is written and popped. */
static bool put_named(il_encoder *e, size_t entry_index) {
  size_t len;
  const char *s;
  put_slot(e, W_NAMED, entry_index); /* above the object: module, field or nil */
  s = lua_tolstring(e->L, -2, &len);
  put_str(e, s, len);
  put8(e, !lua_isnil(e->L, -1));
  if (!lua_isnil(e->L, -1)) {
    s = lua_tolstring(e->L, -1, &len);
    put_str(e, s, len);
  }
  lua_pop(e->L, 3);
  return true;
}

/* The object on the top has its head in the message; its body comes later. Popped. `code`: the place
** of a function's code, 0: a table. */
static void announce(il_encoder *e, size_t entry_index, size_t code_place) {
  later *l;
  e->laters = grow(e, e->laters, e->nlaters, &e->roomlaters, sizeof *e->laters);
  l = &e->laters[e->nlaters];
  l->entry = entry_index;
  l->is_function = code_place != 0;
  l->code = code_place;
  l->parent = e->in_later;
  l->path = NULL;
  e->nlaters++;
  if (e->tracing) {
    path p = {{0}, 0};
    path_local(&p, e);
    l->path = strdup(p.text);
  }
  if (!lua_istable(e->L, AT_LATERS)) {
    lua_newtable(e->L);
    lua_replace(e->L, AT_LATERS);
  }
  lua_rawseti(e->L, AT_LATERS, (lua_Integer)e->nlaters);
}

static char gc_key, pack_key; /* in the registry: the names of the metamethods */

/* Before a walk: to make a string may run finalizers. */
static void keep_names(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &pack_key) == LUA_TNIL) {
    lua_pushliteral(L, "__gc");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &gc_key);
    lua_pushliteral(L, "__isolate_pack");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &pack_key);
  }
  lua_pop(L, 1);
}

/* Metamethod AT_GC or AT_PACK of the metatable on the top. [-0, +1, -] */
static int meta_field(il_encoder *e, int key) {
  lua_State *L = e->L;
  if (lua_isnil(L, key)) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, key == AT_GC ? &gc_key : &pack_key);
    lua_replace(L, key);
  }
  lua_pushvalue(L, key);
  return lua_rawget(L, -2);
}

/* The function on the top is an __isolate_pack, the object below it. Writes the head; the state
** becomes a frame. */
static bool put_packed(il_encoder *e, size_t entry_index) {
  lua_State *L = e->L;
  frame *f;
  int object = lua_gettop(L) - 1;
  if (!e->anchored) {
    e->anchored = e->again = e->refused = true;
    return false;
  }
  if (e->nframes > PACK_DEPTH_MAX)
    return refuse(e, "objects with __isolate_pack nested too deeply");
  lua_pushvalue(L, object);
  lua_call(L, 1, 3);
  if (lua_isnil(L, -3) && lua_type(L, -2) == LUA_TSTRING) /* it says why not */
    return refuse(e, "%s", lua_tostring(L, -2));
  if (lua_type(L, -3) != LUA_TSTRING || lua_type(L, -2) != LUA_TSTRING)
    return refuse(e, "%s: __isolate_pack returned no module and function name",
                  luaL_typename(L, object));
  put_slot(e, W_PACKED, entry_index);
  e->entries[entry_index].slot = PACKING;
  for (int i = -3; i <= -2; i++) {
    size_t len;
    const char *s = lua_tolstring(L, i, &len);
    put_str(e, s, len);
  }
  lua_replace(L, object); /* the state takes the object's place; it is in the anchors */
  lua_settop(L, object);
  f = push_frame(e, FRAME_PACK, entry_index);
  f->later_base = f->next_later = e->nlaters;
  lua_pushvalue(L, object);
  return true;
}

static void describe(il_encoder *e, int index, char *text, size_t size) {
  lua_State *L = e->L;
  const char *name = NULL;
  index = lua_absindex(L, index);
  if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) name = lua_tostring(L, -1);
  switch (lua_type(L, index)) {
  case LUA_TUSERDATA:
    snprintf(text, size, name != NULL ? "userdata (%s)" : "userdata", name);
    break;
  case LUA_TTHREAD: snprintf(text, size, "coroutine"); break;
  case LUA_TFUNCTION: snprintf(text, size, "C function"); break;
  default: snprintf(text, size, name != NULL ? "%s (%s)" : "%s", luaL_typename(L, index), name);
  }
  if (name != NULL) lua_pop(L, 1);
}

static bool refuse_value(il_encoder *e, const char *why) {
  char text[80];
  describe(e, -1, text, sizeof text);
  return refuse(e, "%s%s", text, why);
}

/* By registered name, or by module when the receiver can find it. True: *done says whether it is
** written (and popped) or a copy of it follows. */
static bool put_by_name(il_encoder *e, size_t entry_index, bool *done) {
  lua_State *L = e->L;
  enum il_by by = il_names_find(e->vm, L, -1);
  *done = false;
  if (by == IL_BY_MODULE && il_names_findable(L, -2, e->how->libs)) {
    *done = true;
    return put_named(e, entry_index);
  }
  if (by == IL_BY_MODULE && lua_isnil(L, -1) && il_names_is_own(e->vm, lua_tostring(L, -2)))
    return refuse(e,
                  "module '%s' to an isolate that cannot require it: its libs leave out 'package'",
                  lua_tostring(L, -2));
  if (by == IL_BY_REGISTER) {
    size_t len;
    const char *s = lua_tolstring(L, -2, &len);
    put_slot(e, W_REGISTERED, entry_index);
    put_str(e, s, len);
  }
  if (by != IL_BY_NONE) lua_pop(L, 2);
  return true;
}

#define ARRAY_MIN 4 /* items from which looking is worth it */

/* The frame of a table begins; its first pair, or nil as a key, is pushed. Where it has an array, its
** items are taken without lua_next. */
static void begin_array(il_encoder *e, frame *f) {
  lua_Unsigned n = lua_rawlen(e->L, f->object);
  if (n >= ARRAY_MIN && n < INT32_MAX && il_vm_is_array(e->L, f->object, n)) {
    f->phase = IN_ARRAY;
    f->array = (lua_Integer)n;
    lua_settop(e->L, f->object + 1);
    f->pair = false;
    reserve(e, (size_t)n);
  }
}

/* -- Shapes ------------------------------------------------------------------------------------ */

static shape *shape_of(il_encoder *e, const void *first) {
  uint32_t h = (uint32_t)((uintptr_t)first >> 4) * 0x9E3779B1u;
  if (e->shapes == NULL) {
    e->shapes = calloc(SHAPES, sizeof *e->shapes);
    if (e->shapes == NULL) no_memory(e);
  }
  return &e->shapes[(h >> 16) & (SHAPES - 1)];
}

static void forget_shape(shape *s) {
  s->round = 0;
  s->credit = 0;
  s->n = 0;
}

/* The first key of the table is a string: the shape to be written by (*ready) or to be compared with;
** NULL: neither. */
static shape *look_for_shape(il_encoder *e, const void *first, bool *ready) {
  shape *s = shape_of(e, first);
  bool current = s->round == e->round;
  *ready = current && s->credit > 0;
  if (current && s->n > 0 && s->keys[0] == first) return s;
  if (*ready && --s->credit > 0) return NULL; /* another one, in use */
  *ready = false;
  forget_shape(s);
  s->round = e->round;
  return s;
}

/* The first pair of the table on the top of the frames is pushed, its key a string. True: the head of
** a record is written. */
static bool begin_fields(il_encoder *e, frame *f) {
  bool ready;
  unsigned char *p;
  shape *s;
  if (e->unshaped < UNSHAPED) {
    e->unshaped += !e->how->plain; /* records have no use there */
    return false;
  }
  s = look_for_shape(e, lua_topointer(e->L, -2), &ready);
  f->key = 0;
  f->shape = s;
  if (s == NULL) return false;
  if (!ready) {
    f->same = s->n > 0;
    f->stamp = s->stamp = ++e->stamps;
    return false;
  }
  f->stamp = s->stamp;
  f->phase = IN_RECORD;
  f->record = true;
  e->open_records++;
  e->entries[f->entry].place = e->len + 1;
  f->counts = e->len + 7;
  p = reserve(e, 11);
  memset(p, 0, 11);
  p[0] = W_RECORD;
  p[5] = (unsigned char)s->base;
  p[6] = (unsigned char)s->n;
  e->len += 11;
  return true;
}

/* The shape that the frame began with is still what it was. */
static bool holds_shape(const il_encoder *e, const frame *f) {
  return f->shape->stamp == f->stamp && f->shape->round == e->round;
}

/* One more key, below the value on the top, of a table that is compared with a shape. From the first
** that differs on, the shape becomes this table's. */
static void learn_key(const il_encoder *e, frame *f) {
  shape *s = f->shape;
  const void *key = lua_topointer(e->L, -2);
  if (!holds_shape(e, f)) {
    f->shape = NULL;
  } else if (f->key == SHAPE_KEYS || lua_type(e->L, -2) != LUA_TSTRING) {
    forget_shape(s);
    f->shape = NULL;
  } else {
    if (f->key >= s->n || s->keys[f->key] != key) {
      f->same = false;
      s->keys[f->key] = key;
      s->n = f->key + 1;
    }
    f->key++;
  }
}

/* Places for `n` keys; -1: there are none. When they have run out, all are used anew. */
static int take_places(il_encoder *e, int n) {
  int base;
  if (e->places + n > W_PLACES) {
    if (e->open_records > 0) return -1;
    for (int i = 0; i < SHAPES; i++)
      if (e->shapes[i].credit > 0) forget_shape(&e->shapes[i]);
    e->places = 0;
  }
  base = e->places;
  e->places += n;
  if (e->places > e->most_places) e->most_places = e->places;
  return base;
}

/* A pack method may have changed the table since. */
static bool has_keys(il_encoder *e, int object, const shape *s) {
  lua_State *L = e->L;
  int i = 0;
  lua_pushnil(L);
  while (lua_next(L, object) != 0) {
    if (i == s->n || lua_type(L, -2) != LUA_TSTRING || lua_topointer(L, -2) != s->keys[i++]) {
      lua_pop(L, 2);
      return false;
    }
    lua_pop(L, 1);
  }
  return i == s->n;
}

/* The pairs of the table are through. One that has confirmed its shape is followed by it. */
static void end_learning(il_encoder *e, frame *f) {
  lua_State *L = e->L;
  shape *s = f->shape;
  int base;
  if (!holds_shape(e, f)) return;
  if (f->key != s->n) f->same = false;
  s->n = f->key;
  if (!f->same || (e->anchored && !has_keys(e, f->object, s))) return;
  base = take_places(e, s->n);
  if (base < 0) return;
  s->base = base;
  s->credit = CREDIT;
  put8(e, W_SHAPE);
  put8(e, base);
  put8(e, s->n);
  lua_pushnil(L);
  while (lua_next(L, f->object) != 0) {
    put_string(e, -2);
    lua_pop(L, 1);
  }
}

/* -- Tables ------------------------------------------------------------------------------------ */

/* The metatable of the table below it is on the top; popped. *done: the table was packed. */
static bool check_metatable(il_encoder *e, size_t entry_index, bool registered, bool *done) {
  lua_State *L = e->L;
  *done = false;
  if (meta_field(e, AT_GC) != LUA_TNIL) {
    lua_pop(L, 2);
    return refuse_value(e, " with __gc");
  }
  lua_pop(L, 1);
  if (meta_field(e, AT_PACK) == LUA_TFUNCTION && !registered) {
    lua_replace(L, -2);
    *done = put_packed(e, entry_index);
    return *done;
  }
  lua_pop(L, 2);
  return true;
}

/* The head of the table on the top, and its frame. */
static void begin_table(il_encoder *e, size_t entry_index, bool has_meta, bool registered) {
  lua_State *L = e->L;
  frame *f = push_frame(e, FRAME_TABLE, entry_index);
  bool fields = false;
  f->has_meta = has_meta;
  lua_pushnil(L);
  f->pair = lua_next(L, f->object) != 0;
  if (f->pair)
    fields = lua_type(L, -2) == LUA_TSTRING;
  else
    lua_pushnil(L);
  /* A root is alone: no other has its shape. */
  if (fields && !registered && e->nframes > 1 && begin_fields(e, f)) return;
  put_head(e, W_TABLE, entry_index, registered);
  f->counts = e->len;
  put64(e, 0);
  if (f->pair && !fields) begin_array(e, f);
}

static bool put_table(il_encoder *e) {
  lua_State *L = e->L;
  const void *p = lua_topointer(L, -1);
  size_t entry_index;
  bool done, registered = false, has_meta;
  if (p == e->globals && !e->how->plain) {
    put8(e, W_GLOBALS);
    lua_pop(L, 1);
    return true;
  }
  if (known(e, p, &entry_index))
    return e->entries[entry_index].slot != PACKING ||
           refuse_value(e, " inside the state of its own __isolate_pack");
  if (il_names_may_have(&e->vm->names, p) && !e->how->plain) {
    if (!put_by_name(e, entry_index, &done) || done) return done;
    registered = e->entries[entry_index].place != 0;
  }
  has_meta = lua_getmetatable(L, -1);
  if (has_meta && e->how->plain) {
    lua_pop(L, 1);
    return refuse(e, "table with a metatable");
  }
  if (has_meta && (!check_metatable(e, entry_index, registered, &done) || done)) return done;
  if (e->nframes >= IL_DEPTH_MAX && !registered) {
    put_slot(e, W_TABLE_LATER, entry_index);
    slot_of(e, entry_index);
    announce(e, entry_index, 0);
  } else {
    begin_table(e, entry_index, has_meta, registered);
  }
  return true;
}

static int write_code(lua_State *L, const void *p, size_t n, void *ud) {
  il_encoder *e = ud;
  (void)L;
  memcpy(reserve(e, n), p, n);
  e->len += n;
  return 0;
}

static uint64_t hash_of(const unsigned char *p, size_t n) {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u; /* FNV-1a */
  return h;
}

/* Writes code:u64 [len:u64 bytes] of the function on the top. Where the code lies goes to *out. */
static void put_code(il_encoder *e, code *out) {
  size_t at = e->len, place = at + 8;
  code c;
  put64(e, place);
  put64(e, 0);
  lua_dump(e->L, write_code, e, e->how->strip);
  c.place = place;
  c.len = e->len - place - 8;
  c.hash = hash_of(e->data + place + 8, c.len);
  for (size_t i = 0; i < e->ncodes; i++) {
    const code *o = &e->codes[i];
    if (o->hash == c.hash && o->len == c.len &&
        memcmp(e->data + o->place + 8, e->data + place + 8, c.len) == 0) {
      e->len = at;
      put64(e, o->place);
      *out = *o;
      return;
    }
  }
  memcpy(e->data + place, &c.len, 8);
  e->codes = grow(e, e->codes, e->ncodes, &e->roomcodes, sizeof *e->codes);
  e->codes[e->ncodes++] = c;
  *out = c;
}

/* A name that code reads from the globals. */
static void want(void *ud, const char *name, size_t len) {
  il_encoder *e = ud;
  lua_State *L = e->L;
  if (il_is_standard_global(name, len)) return;
  if (!lua_istable(L, AT_WANTED)) {
    lua_newtable(L);
    lua_replace(L, AT_WANTED);
  }
  lua_pushlstring(L, name, len);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, AT_WANTED) == LUA_TNIL) {
    lua_pushvalue(L, -2);
    lua_rawseti(L, AT_WANTED, (lua_Integer)lua_rawlen(L, AT_WANTED) + 1);
    lua_pushvalue(L, -2);
    lua_pushboolean(L, 1);
    lua_rawset(L, AT_WANTED);
  }
  lua_pop(L, 2);
}

/* Which upvalues of the function on the top hold the globals: are there any? */
static bool find_env(il_encoder *e, il_upvalue_set *env) {
  bool any = false;
  memset(env, 0, sizeof *env);
  for (int i = 1; lua_getupvalue(e->L, -1, i) != NULL; i++) {
    if (lua_topointer(e->L, -1) == lua_topointer(e->L, AT_GLOBALS) && lua_istable(e->L, -1)) {
      il_upvalue_add(env, i - 1);
      any = true;
    }
    lua_pop(e->L, 1);
  }
  return any;
}

/* The names that the function on the top reads from the globals. */
static void want_globals(il_encoder *e, const code *c) {
  il_upvalue_set env;
  if (find_env(e, &env)) il_dump_globals(e->data + c->place + 8, c->len, &env, want, e);
}

/* One of the library's own, which finds what it needs in any isolate. */
static bool is_own(const il_encoder *e, lua_CFunction fn) {
  const luaL_Reg *const *list = atomic_load(&e->vm->host->functions);
  for (; list != NULL && *list != NULL; list++)
    for (const luaL_Reg *f = *list; f->name != NULL; f++)
      if (f->func == fn) return true;
  return false;
}

static bool put_c_function(il_encoder *e) {
  lua_State *L = e->L;
  lua_CFunction fn = lua_tocfunction(L, -1);
  bool plain = lua_getupvalue(L, -1, 1) == NULL;
  int std = plain ? il_std_find(e->vm->host->std, fn) : -1;
  if (!plain) lua_pop(L, 1);
  if (std >= 0) {
    const il_std_function *f = il_std_get(e->vm->host->std, std);
    uint16_t index = (uint16_t)std;
    if (f->lib != 0 && (e->how->libs & f->lib) == 0)
      return refuse(e, "function '%s' to an isolate whose libs leave it out", f->name);
    if (f->barred && e->how->root >= IL_ROOT_INIT)
      return refuse(e, "function '%s' to an isolate: the host forbids it", f->name);
    put8(e, W_STD);
    memcpy(reserve(e, 2), &index, 2);
    e->len += 2;
    lua_pop(L, 1);
    return true;
  }
  if (plain && (e->c_functions || is_own(e, fn))) {
    void *p;
    memcpy(&p, &fn, sizeof p);
    put_tag64(e, W_CFUNC, &p);
    lua_pop(L, 1);
    return true;
  }
  if (il_names_find(e->vm, L, -1) == IL_BY_MODULE)
    return refuse(e, "C function '%s.%s', whose module a fresh isolate %s", lua_tostring(L, -2),
                  lua_isnil(L, -1) ? "" : lua_tostring(L, -1),
                  (e->how->libs & IL_LIB(package)) == 0
                    ? "cannot require: its libs leave out 'package'"
                    : "does not find");
  return refuse_value(e, "");
}

/* A frame for the function on the top, whose code lies at `place`. */
static frame *push_function(il_encoder *e, size_t entry_index, size_t place) {
  frame *f = push_frame(e, FRAME_FUNC, entry_index);
  const unsigned char *dump = e->data + place + 8;
  size_t len = (size_t)il_get64(e->data + place);
  lua_Debug ar;
  lua_pushvalue(e->L, -1);
  lua_getinfo(e->L, ">u", &ar);
  f->nup = ar.nups;
  memset(&f->closing, 0, sizeof f->closing);
  if (f->nup > 0 && il_dump_known(dump, len)) il_dump_closing(dump, len, &f->closing);
  return f;
}

/* Gives a hold on `h`, the caller's, to the message; its number there. There is room for it. */
static uint32_t add_held(il_encoder *e, il_handle *h) {
  e->handles[e->nhandles] = h;
  return (uint32_t)e->nhandles++;
}

static void room_for_handle(il_encoder *e) {
  e->handles = grow(e, e->handles, e->nhandles, &e->roomhandles, sizeof *e->handles);
}

/* Gives the message a hold of its own on `h`. */
static uint32_t add_handle(il_encoder *e, il_handle *h) {
  room_for_handle(e);
  il_handle_retain(h);
  return add_held(e, h);
}

/* -- Code that is sent again -------------------------------------------------------------------- */

/*
** DESIGN. A function that is sent as a job is likely to be sent again. From the second time on its code goes as a
** block that messages share, and whoever receives it needs to load it once. A weak table has for each such function
** `true`, and then a userdata with this. The holds on the block for its messages are taken MANY at once: its count is
** with the thread that has freed the last such message, and comes from there slowly.
*/
enum { MANY = 1024 };
typedef struct shared_code {
  il_block *block; /* 1 + spare holds */
  int spare;
  int nups;
  bool known;             /* the globals can be found in it */
  bool plain;             /* with the globals in `env` it reads only standard ones */
  il_upvalue_set closing; /* as in frames */
  il_upvalue_set env;     /* of the last time */
} shared_code;

static char codes_key;

static int shared_code_gc(lua_State *L) {
  shared_code *s = lua_touserdata(L, 1);
  if (s->block == NULL) return 0;
  il_handle_hold(&s->block->h, -s->spare);
  il_handle_release(&s->block->h);
  s->block = NULL;
  return 0;
}

/* Pushes a userdata for the function on the top. [-0, +1, m] */
static shared_code *push_shared_code(il_encoder *e) {
  lua_State *L = e->L;
  size_t at = e->len;
  shared_code *s;
  lua_Debug ar;
  lua_dump(L, write_code, e, false);
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">u", &ar);
  s = lua_newuserdatauv(L, sizeof *s, 0);
  memset(s, 0, sizeof *s);
  il_newtype(L, "isolate.code", shared_code_gc, false);
  lua_setmetatable(L, -2);
  s->nups = ar.nups;
  s->block = il_block_spare(e->data + at, e->len - at);
  e->len = at;
  if (s->block == NULL) {
    isolua_memoryerror(L);
    return NULL;
  }
  s->known = il_dump_known(s->block->data, s->block->size);
  if (s->known) il_dump_closing(s->block->data, s->block->size, &s->closing);
  return s;
}

/* NULL: there is none, or it was finalized, and a finalizer has brought the function back. */
static shared_code *with_code(shared_code *s) {
  return s != NULL && s->block != NULL ? s : NULL;
}

/* Of the function on the top; NULL: it goes with its code. */
static shared_code *find_shared_code(il_encoder *e) {
  lua_State *L = e->L;
  int function = lua_gettop(L);
  shared_code *s = NULL;
  il_weak_push(L, &codes_key, "k");
  lua_pushvalue(L, function);
  lua_rawget(L, function + 1);
  if (lua_isuserdata(L, -1)) {
    s = lua_touserdata(L, -1); /* kept by the table, as long as the function is there */
  } else {
    bool again = lua_toboolean(L, -1);
    lua_pushvalue(L, function);
    if (again) {
      s = push_shared_code(e);
    } else {
      lua_pushboolean(L, 1);
    }
    lua_rawset(L, function + 1);
  }
  lua_settop(L, function);
  return with_code(s);
}

/* A hold on the block, for a message. */
static il_handle *hold_code(shared_code *s) {
  if (s->spare == 0) {
    il_handle_hold(&s->block->h, MANY);
    s->spare = MANY;
  }
  s->spare--;
  return &s->block->h;
}

/* The head of a function but for its tag and slot. There is room. */
static void put_code_handle(il_encoder *e, shared_code *s) {
  put8(e, s->nups);
  put32(e, add_held(e, hold_code(s)));
}

static void put_shared_code(il_encoder *e, size_t entry_index, shared_code *s) {
  frame *f;
  room_for_handle(e);
  put_slot(e, W_FUNC_SHARED, entry_index);
  reserve(e, 5);
  put_code_handle(e, s);
  if (e->how->capture && s->known) {
    il_upvalue_set env;
    bool any = find_env(e, &env);
    if (any && !(s->plain && memcmp(&env, &s->env, sizeof env) == 0)) {
      int before = lua_istable(e->L, AT_WANTED) ? (int)lua_rawlen(e->L, AT_WANTED) : 0;
      il_dump_globals(s->block->data, s->block->size, &env, want, e);
      s->env = env;
      s->plain = before == 0 && !lua_istable(e->L, AT_WANTED);
    }
  }
  f = push_frame(e, FRAME_FUNC, entry_index);
  f->nup = s->nups;
  f->closing = s->closing;
}

static bool put_function(il_encoder *e) {
  lua_State *L = e->L;
  size_t entry_index;
  bool done, deep, registered;
  code c;
  lua_Debug ar;
  if (e->how->plain) return refuse(e, "function");
  if (lua_iscfunction(L, -1) &&
      (e->c_functions || il_std_find(e->vm->host->std, lua_tocfunction(L, -1)) >= 0))
    return put_c_function(e); /* written whole each time: no slot */
  if (known(e, lua_topointer(L, -1), &entry_index)) return true;
  if (!put_by_name(e, entry_index, &done) || done) return done;
  if (lua_iscfunction(L, -1)) return put_c_function(e);
  registered = e->entries[entry_index].place != 0;
  deep = e->nframes >= IL_DEPTH_MAX && !registered;
  if (e->how->share && !e->how->strip && !deep && !registered) {
    shared_code *s = find_shared_code(e);
    if (s != NULL) {
      put_shared_code(e, entry_index, s);
      return true;
    }
  }
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">u", &ar);
  put_head(e, deep ? W_FUNC_LATER : W_FUNC, entry_index, registered);
  if (deep) slot_of(e, entry_index);
  put8(e, ar.nups);
  put_code(e, &c);
  if (e->how->capture && il_dump_known(e->data + c.place + 8, c.len)) want_globals(e, &c);
  if (deep)
    announce(e, entry_index, c.place);
  else
    push_function(e, entry_index, c.place);
  return true;
}

/* The number of the block that a buffer lies over. Its place in the map is one byte behind the store's. */
static size_t source_of(il_encoder *e, il_store *s) {
  bool fresh;
  size_t index = enter(e, (const char *)s + 1, &fresh);
  if (!fresh) return e->entries[index].place;
  e->sources = grow(e, e->sources, e->nsources, &e->roomsources, sizeof *e->sources);
  e->sources[e->nsources] = (source){s, SIZE_MAX, 0, SIZE_MAX, 0, false, true};
  e->entries[index].place = e->nsources;
  return e->nsources++;
}

static void put_range(il_encoder *e, size_t number, size_t offset, size_t length) {
  source *s = &e->sources[number];
  e->parts = grow(e, e->parts, e->nparts, &e->roomparts, sizeof *e->parts);
  e->parts[e->nparts++] = (part){e->len, number};
  put64(e, offset);
  put64(e, length);
  if (offset < s->low) s->low = offset;
  if (offset + length > s->end) s->end = offset + length;
}

/* The head of the first buffer over a block: the block goes among the handles. */
static void put_source(il_encoder *e, size_t number, size_t entry_index, bool whole) {
  uint32_t index = add_handle(e, &e->sources[number].store->block->h);
  put_slot(e, W_BUFFER, entry_index);
  e->sources[number].first = entry_index;
  e->sources[number].place = e->len;
  put32(e, index);
  put8(e, W_SHARED);
  put8(e, whole);
}

static bool refuse_buffer(il_encoder *e, int state) {
  if (state == ISOLUA_INVALID)
    return refuse(e, "slice of a buffer that was made shorter, behind its end");
  refuse(e, state == ISOLUA_CLOSED ? "buffer that was closed" : "buffer that was transferred");
  if (state == ISOLUA_TRANSFERRED) e->code = state;
  return false;
}

/* A buffer and the mark that moves it are the same one, whose address is the store's. */
static bool put_buffer(il_encoder *e, const il_buffer *b) {
  int state = il_buffer_state(b);
  const il_block *block;
  size_t entry_index, number;
  if (state != ISOLUA_OK) return refuse_buffer(e, state);
  block = b->store->block;
  if (b->kind > IL_BUFFER) return refuse(e, "view of a buffer (send the buffer)");
  if (e->how->plain && !block->frozen) return refuse(e, "buffer that is not frozen (buf:freeze())");
  number = source_of(e, b->store);
  if (!e->how->copy && (b->kind == IL_TRANSFER || (e->how->move && b->whole)))
    e->sources[number].move = true;
  if (known(e, b->whole ? (const void *)b->store : lua_topointer(e->L, -1), &entry_index))
    return true;
  if (e->sources[number].first == SIZE_MAX) {
    put_source(e, number, entry_index, b->whole);
  } else {
    e->sources[number].lone = false;
    put_slot(e, W_SLICE, entry_index);
    put32(e, slot_of(e, e->sources[number].first));
    put8(e, b->whole);
  }
  put_range(e, number, b->offset, b->whole ? block->size : b->length);
  lua_pop(e->L, 1);
  return true;
}

/* The walk is over: blocks that are not shared or moved are copied, as far as they are needed. A method
** __isolate_pack may have changed one since it was met. False: refused. */
static bool end_source(il_encoder *e, const source *s) {
  uint32_t index = il_get32(e->data + s->place);
  il_block *block = s->store->block, *copy;
  if (s->store->closed) return refuse_buffer(e, ISOLUA_CLOSED);
  if (block == NULL || s->store->away > 0) return refuse_buffer(e, ISOLUA_TRANSFERRED);
  if (s->end > block->size) return refuse_buffer(e, ISOLUA_INVALID);
  if (block->frozen) return true;
  e->data[s->place + 4] = s->move ? W_MOVED : W_COPIED;
  if (s->move) {
    if (!il_moves_add(&e->moves, s->store)) no_memory(e);
    return true;
  }
  copy = il_block_copy(block->data + s->low, s->end - s->low);
  if (copy == NULL) no_memory(e);
  il_handle_release(e->handles[index]);
  e->handles[index] = &copy->h;
  if (il_block_torn(block)) return refuse(e, "mapped file that has become shorter");
  if (s->lone) e->data[s->place + 5] = true;
  return true;
}

static void end_sources(il_encoder *e) {
  for (size_t i = 0; i < e->nsources; i++)
    if (!end_source(e, &e->sources[i])) return;
  for (size_t i = 0; i < e->nparts; i++) {
    const source *s = &e->sources[e->parts[i].source];
    unsigned char *p = e->data + e->parts[i].place;
    uint64_t offset = il_get64(p) - s->low;
    if (!s->store->block->frozen && !s->move) memcpy(p, &offset, 8);
  }
}

static bool put_frozen(il_encoder *e, il_frozen_table *t) {
  size_t entry_index;
  uint32_t number;
  if (known(e, t, &entry_index)) return true;
  number = add_handle(e, &il_frozen_of(t)->h);
  put_slot(e, W_FROZEN, entry_index);
  put32(e, number);
  put64(e, t->place);
  lua_pop(e->L, 1);
  return true;
}

static bool put_userdata(il_encoder *e) {
  lua_State *L = e->L;
  size_t entry_index;
  il_handle *h = il_handle_test(L, -1);
  const il_buffer *buffer = il_buffer_test(L, -1);
  il_frozen_table *frozen;
  if (buffer != NULL) return put_buffer(e, buffer);
  frozen = il_freeze_test(L, -1);
  if (frozen != NULL) return put_frozen(e, frozen);
  if (e->how->plain) return refuse_value(e, "");
  if (known(e, lua_topointer(L, -1), &entry_index))
    return e->entries[entry_index].slot != PACKING ||
           refuse_value(e, " inside the state of its own __isolate_pack");
  if (h != NULL) {
    uint32_t number = add_handle(e, h);
    put_slot(e, W_HANDLE, entry_index);
    put32(e, number);
    lua_pop(L, 1);
    return true;
  }
  if (il_handle_is_closed(L, -1)) return refuse_value(e, ", which was closed");
  if (lua_getmetatable(L, -1)) {
    if (meta_field(e, AT_PACK) == LUA_TFUNCTION) {
      lua_replace(L, -2);
      return put_packed(e, entry_index);
    }
    lua_pop(L, 2);
  }
  return refuse_value(e, "");
}

static bool put_value(il_encoder *e) {
  int type = lua_type(e->L, -1);
  if (put_plain(e, -1, type)) {
    lua_pop(e->L, 1);
    return true;
  }
  switch (type) {
  case LUA_TTABLE: return put_table(e);
  case LUA_TFUNCTION: return put_function(e);
  case LUA_TUSERDATA: return put_userdata(e);
  default: return refuse_value(e, "");
  }
}

/* -- Frames ------------------------------------------------------------------------------------ */

/* The frame on the top is through; its object was popped. */
static bool pop_frame(il_encoder *e) {
  frame *f = &e->frames[e->nframes - 1];
  lua_settop(e->L, f->object - 1);
  if (f->later) {
    e->in_later = f->outer_later;
    e->local_base = f->outer_base;
  }
  e->nframes--;
  return true;
}

static void end_run(il_encoder *e, frame *f) {
  if (f->run != 0) {
    patch32(e, f->run, (uint32_t)((e->len - f->run - 4) / 8));
    f->run = 0;
  }
}

/* A run of `tag` is under way. */
static void begin_run(il_encoder *e, frame *f, int tag) {
  if (f->run == 0 || f->run_type != tag || e->len - f->run > (size_t)UINT32_MAX * 4) {
    end_run(e, f);
    put8(e, tag);
    f->run = e->len;
    f->run_type = tag;
    put32(e, 0);
  }
}

/* The number joins the run of its kind. */
static void put_in_run(il_encoder *e, frame *f, int tag, const void *bits) {
  begin_run(e, f, tag);
  memcpy(reserve(e, 8), bits, 8);
  e->len += 8;
}

/* One list item, value on the top, key below. Numbers are taken at once. */
static bool put_item(il_encoder *e, frame *f) {
  lua_State *L = e->L;
  f->list++;
  if (lua_type(L, -1) == LUA_TNUMBER) {
    if (lua_isinteger(L, -1)) {
      lua_Integer v = lua_tointeger(L, -1);
      put_in_run(e, f, W_INTS, &v);
    } else {
      lua_Number v = lua_tonumber(L, -1);
      put_in_run(e, f, W_FLOATS, &v);
    }
    lua_pop(L, 1);
    return true;
  }
  end_run(e, f);
  return put_value(e);
}

static bool pop_table(il_encoder *e, frame *f) {
  put8(e, W_END);
  if (f->record) {
    if (f->hash > 0)
      patch32(e, f->counts, (uint32_t)(f->hash < INT32_MAX / 4 ? f->hash : INT32_MAX / 4));
  } else if (f->counts != 0) {
    patch32(e, f->counts, (uint32_t)(f->list < INT32_MAX ? f->list : INT32_MAX));
    patch32(e, f->counts + 4, (uint32_t)(f->hash < INT32_MAX / 4 ? f->hash : INT32_MAX / 4));
  }
  return pop_frame(e);
}

/* The entries are through: the metatable, if there is one. */
static bool put_metatable(il_encoder *e, frame *f) {
  end_run(e, f);
  if (f->phase == IN_LIST) put8(e, W_HASH);
  if (!f->has_meta || !lua_getmetatable(e->L, f->object)) return pop_table(e, f);
  f->phase = IN_META;
  put8(e, W_META);
  return put_value(e);
}

/* Items first + 1 to first + n, all numbers of one kind, join the run; how many were. They are on the
** stack already, from `index` up. */
static int put_numbers(il_encoder *e, frame *f, int index, int n) {
  lua_State *L = e->L;
  int i = 0, integers = lua_isinteger(L, index);
  unsigned char *p;
  begin_run(e, f, integers ? W_INTS : W_FLOATS);
  p = reserve(e, (size_t)n * 8);
  for (; i < n; i++, p += 8) {
    if (integers) {
      lua_Integer v = lua_tointeger(L, index + i);
      if (!lua_isinteger(L, index + i)) break;
      memcpy(p, &v, 8);
    } else {
      lua_Number v = lua_tonumber(L, index + i);
      if (lua_type(L, index + i) != LUA_TNUMBER || lua_isinteger(L, index + i)) break;
      memcpy(p, &v, 8);
    }
  }
  e->len += (size_t)i * 8;
  return i;
}

/* The places of the next few tables in the map are fetched while the one in hand is encoded: it is
** large then, and every place somewhere else in it. */
static void fetch_ahead(const il_encoder *e, const frame *f) {
  enum { AHEAD = 8 };
  lua_State *L = e->L;
  lua_Integer last = f->array - f->list < 2 * AHEAD ? f->array : f->list + 2 * AHEAD;
  if (f->list % AHEAD != 0 || e->mask < FETCH_MIN) return;
  for (lua_Integer i = f->list + AHEAD + 1; i <= last; i++) {
    lua_rawgeti(L, f->object, i);
    __builtin_prefetch(&e->map[first_place(e, lua_topointer(L, -1))], 1);
    lua_pop(L, 1);
  }
}

/* The array part, without lua_next. Like step_table. */
static bool step_array(il_encoder *e, frame *f) {
  enum { BATCH = 16 };
  lua_State *L = e->L;
  size_t depth = e->nframes;
  int object = f->object;
  while (f->list < f->array) {
    int type = lua_rawgeti(L, object, f->list + 1);
    if (type == LUA_TNUMBER) {
      int n = f->array - f->list < BATCH ? (int)(f->array - f->list) : BATCH;
      for (int i = 2; i <= n; i++) lua_rawgeti(L, object, f->list + i);
      f->list += put_numbers(e, f, object + 2, n);
      lua_settop(L, object + 1);
      continue;
    }
    if (type == LUA_TTABLE) {
      if (f->list == 0) expect(e, (size_t)f->array);
      fetch_ahead(e, f);
    }
    f->list++;
    end_run(e, f);
    if (!(type == LUA_TTABLE ? put_table(e) : put_value(e))) return false;
    if (e->nframes != depth) return true;
  }
  lua_pushinteger(L, f->array);
  lua_replace(L, object + 1);
  f->phase = IN_LIST;
  return true;
}

/* The next key and value, if there are any, lie on the top. */
static inline bool next_pair(lua_State *L, frame *f) {
  if (!f->pair) return lua_next(L, f->object) != 0;
  f->pair = false;
  return true;
}

/* The record differs from its shape from its next pair on, which lies on the stack if `pair`. */
static bool leave_record(il_encoder *e, frame *f, bool pair) {
  shape *s = f->shape;
  if (holds_shape(e, f) && --s->credit == 0) forget_shape(s);
  e->data[f->counts - 1] = (unsigned char)f->key;
  f->shape = NULL;
  f->phase = IN_HASH;
  f->pair = pair;
  e->open_records--;
  return true;
}

/* Like step_table. */
static bool step_record(il_encoder *e, frame *f) {
  lua_State *L = e->L;
  shape *s = f->shape;
  size_t depth = e->nframes;
  if (!holds_shape(e, f)) return leave_record(e, f, false);
  while (next_pair(L, f)) {
    int type = lua_type(L, -1);
    if (f->key == s->n || lua_topointer(L, -2) != s->keys[f->key] || lua_type(L, -2) != LUA_TSTRING)
      return leave_record(e, f, true);
    f->key++;
    if (put_plain(e, -1, type)) {
      lua_pop(L, 1);
      continue;
    }
    if (!put_value(e)) return false;
    if (e->nframes != depth) return true;
  }
  if (f->key < s->n) {
    leave_record(e, f, false);
  } else {
    s->credit = CREDIT;
    f->shape = NULL;
    f->phase = IN_HASH;
    e->open_records--;
  }
  return put_metatable(e, f);
}

/* As far as there is nothing with parts. `f` is not used after put_value: frames may move. */
static bool step_table(il_encoder *e, frame *f) {
  lua_State *L = e->L;
  size_t depth = e->nframes;
  if (f->phase == IN_META) return pop_table(e, f);
  if (f->phase == IN_RECORD) return step_record(e, f);
  if (f->phase == IN_ARRAY) return step_array(e, f);
  if (f->phase == AFTER_KEY) { /* the key is written, the value on the top */
    f->phase = IN_HASH;
    return put_value(e);
  }
  while (next_pair(L, f)) {
    if (f->phase == IN_LIST) {
      if (lua_isinteger(L, -2) && lua_tointeger(L, -2) == f->list + 1) {
        if (!put_item(e, f)) return false;
        if (e->nframes != depth) return true;
        continue;
      }
      end_run(e, f);
      put8(e, W_HASH);
      f->phase = IN_HASH;
    }
    f->hash++;
    if (f->shape != NULL) learn_key(e, f);
    if (!put_plain(e, -2, lua_type(L, -2))) {
      f->phase = AFTER_KEY;
      lua_pushvalue(L, -2);
      return put_value(e);
    }
    if (!put_value(e)) return false;
    if (e->nframes != depth) return true;
  }
  if (f->shape != NULL) end_learning(e, f);
  return put_metatable(e, f);
}

/* A captured `<close>` variable would be closed by its owner: only a handle may be one. */
static bool put_upvalue(il_encoder *e, frame *f) {
  lua_State *L = e->L;
  bool fresh;
  size_t index, holder = f->entry;
  int up = f->up;
  const void *id = lua_upvalueid(L, f->object, up);
  index = enter(e, id, &fresh);
  if (!fresh) {
    put8(e, W_JOIN);
    put32(e, slot_of(e, e->entries[index].place));
    put8(e, e->entries[index].up);
    return true;
  }
  e->entries[index].place = holder;
  e->entries[index].up = (unsigned char)up;
  lua_getupvalue(L, f->object, up);
  if (il_upvalue_has(&f->closing, up - 1) && !lua_isnil(L, -1) && lua_toboolean(L, -1) &&
      il_handle_test(L, -1) == NULL)
    return refuse(e, "to-be-closed variable");
  return put_value(e);
}

static bool step_function(il_encoder *e, frame *f) {
  if (f->up == f->nup) return pop_frame(e);
  f->up++;
  return put_upvalue(e, f);
}

/* Begins the body of announced object number `index`. */
static void begin_later(il_encoder *e, size_t index) {
  lua_State *L = e->L;
  later l = e->laters[index];
  size_t outer_later = e->in_later, outer_base = e->local_base;
  frame *f;
  e->in_later = index + 1;
  e->local_base = e->nframes;
  lua_rawgeti(L, AT_LATERS, (lua_Integer)index + 1);
  put8(e, W_BODY);
  put32(e, slot_of(e, l.entry));
  f = l.is_function ? push_function(e, l.entry, l.code) : push_frame(e, FRAME_TABLE, l.entry);
  f->later = true;
  f->outer_later = outer_later;
  f->outer_base = outer_base;
  if (!l.is_function) {
    lua_pushnil(L);
    begin_array(e, f);
  }
}

static void forget_laters(il_encoder *e, size_t down_to) {
  while (e->nlaters > down_to) free(e->laters[--e->nlaters].path);
}

/* The state, and all that is announced in it, makes a root of its own. */
static bool step_pack(il_encoder *e, frame *f) {
  if (f->phase == 0) {
    f->phase = 1;
    return put_value(e);
  }
  if (f->next_later < e->nlaters) {
    begin_later(e, f->next_later++);
    return true;
  }
  forget_laters(e, f->later_base);
  put8(e, W_ENDROOT);
  e->entries[f->entry].slot = 0;
  return pop_frame(e);
}

static bool step(il_encoder *e) {
  frame *f = &e->frames[e->nframes - 1];
  switch (f->kind) {
  case FRAME_TABLE: return step_table(e, f);
  case FRAME_FUNC: return step_function(e, f);
  default: return step_pack(e, f);
  }
}

/* The value on the top, with all that hangs on it. */
static bool put_root(il_encoder *e) {
  size_t next = 0;
  bool ok;
  e->in_later = e->local_base = 0;
  ok = put_value(e);
  while (ok && (e->nframes > 0 || next < e->nlaters)) {
    if (e->nframes > 0)
      ok = step(e);
    else
      begin_later(e, next++);
  }
  if (ok) put8(e, W_ENDROOT);
  return ok;
}

/* -- Extras: globals and preload entries ------------------------------------------------------- */

static void forget_handles(il_encoder *e, size_t down_to) {
  while (e->nhandles > down_to) il_handle_release(e->handles[--e->nhandles]);
}

static void begin_extra(il_encoder *e, int what, int ok) {
  size_t len;
  const char *name = lua_tolstring(e->L, AT_NAME, &len);
  put8(e, what);
  put_str(e, name, len);
  put8(e, ok);
}

/* The value on the top under the name at AT_NAME. One that is refused leaves no trace but, when it is
** a global, the reason. False: the whole walk is to start again. */
static bool put_extra(il_encoder *e, int what, uint32_t *count) {
  size_t len = e->len, entries = e->nentries, handles = e->nhandles, codes = e->ncodes;
  size_t sources = e->nsources, parts = e->nparts;
  int top = lua_gettop(e->L) - 1;
  char name[96];
  snprintf(name, sizeof name, what == W_GLOBAL ? "global '%s'" : "package.preload '%s'",
           lua_tostring(e->L, AT_NAME));
  e->root_name = name;
  begin_extra(e, what, 1);
  if (put_root(e)) {
    ++*count;
    return true;
  }
  if (e->again) return false;
  e->refused = false;
  e->round++;
  forget_entries(e, entries);
  forget_handles(e, handles);
  forget_laters(e, 0);
  e->ncodes = codes;
  e->nsources = sources;
  e->nparts = parts;
  e->nframes = e->open_records = 0;
  e->len = len;
  lua_settop(e->L, top);
  if (what == W_GLOBAL) {
    char reason[WHAT_MAX + sizeof e->path + 16];
    int n = snprintf(reason, sizeof reason, "cannot send %s: %s", e->what, e->path);
    begin_extra(e, what, 0);
    put_str(e, reason, (size_t)n < sizeof reason ? (size_t)n : sizeof reason - 1);
    ++*count;
  }
  return true;
}

/* What `open` put into package.preload every state of the host has. */
static bool put_preload(il_encoder *e, uint32_t *count) {
  lua_State *L = e->L;
  int top = lua_gettop(L), preload = top + 1, base = top + 2;
  bool ok = true;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &il_base_preload);
  lua_pushnil(L);
  e->c_functions = true;
  while (ok && lua_next(L, preload) != 0) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      lua_pushvalue(L, -2);
      lua_copy(L, -1, AT_NAME);
      if (lua_istable(L, base)) lua_rawget(L, base);
      if (!lua_rawequal(L, -1, -2)) {
        lua_pop(L, 1);
        ok = put_extra(e, W_PRELOAD, count);
        continue;
      }
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  e->c_functions = false;
  if (ok) lua_settop(L, top);
  return ok;
}

/* Sending one may make another wanted: the list grows while it is walked. */
static bool put_globals(il_encoder *e, uint32_t *count) {
  lua_State *L = e->L;
  bool ok = true;
  for (lua_Integer i = 1; ok && lua_istable(L, AT_WANTED); i++) {
    if (lua_rawgeti(L, AT_WANTED, i) != LUA_TSTRING) {
      lua_pop(L, 1);
      break;
    }
    lua_copy(L, -1, AT_NAME);
    if (lua_rawget(L, AT_GLOBALS) == LUA_TNIL)
      lua_pop(L, 1);
    else
      ok = put_extra(e, W_GLOBAL, count);
  }
  return ok;
}

/* -- The whole --------------------------------------------------------------------------------- */

enum { SLOTS_AT = 1, OFFSETS_AT = 9 }; /* places in a message of several values */

static void put_header(il_encoder *e) {
  size_t offsets = (size_t)e->nvalues * 8;
  put8(e, W_MANY);
  put32(e, 0);
  put32(e, (uint32_t)e->nvalues);
  memset(reserve(e, offsets), 0, offsets);
  e->len += offsets;
  put8(e, 0);
}

/* The next value begins here. */
static void begin_root(il_encoder *e) {
  uint64_t at = e->len;
  memcpy(e->data + OFFSETS_AT + (size_t)e->root * 8, &at, 8);
}

static bool walk(il_encoder *e) {
  size_t count_at;
  uint32_t extras = 0;
  put_header(e);
  for (e->root = 0; e->root < e->nvalues; e->root++) {
    begin_root(e);
    lua_pushvalue(e->L, AT_LAST + e->root);
    if (!put_root(e)) return false;
    forget_laters(e, 0);
  }
  e->root = -1;
  count_at = e->len;
  put32(e, 0);
  if (e->how->root == IL_ROOT_INIT && !put_preload(e, &extras)) return false;
  if (e->how->capture && !put_globals(e, &extras)) return false;
  patch32(e, count_at, extras);
  patch32(e, SLOTS_AT, e->slots);
  e->data[OFFSETS_AT + (size_t)e->nvalues * 8] = (unsigned char)e->most_places;
  return true;
}

/* -- Tiny calls -------------------------------------------------------------------------------- */

/*
** DESIGN. Most of a tiny job's time went into the walk's beginning and end. So what needs none is written at once, as
** the walk would: a function whose code is shared, without upvalues (it has no globals then), and short arguments
** without parts. Nothing here raises: the encoder has the memory, or the walk is to see to all.
*/
enum { TINY_STRING = 40, TINY_HEAD = 32, TINY_VALUE = 64 }; /* bytes; the last with its offset */

static bool is_tiny(lua_State *L, int index) {
  int type = lua_type(L, index);
  return type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER ||
         (type == LUA_TSTRING && lua_rawlen(L, index) <= TINY_STRING);
}

/* The code of the function at `index`, if it was sent twice. */
static shared_code *known_code(lua_State *L, int index) {
  shared_code *s = NULL;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &codes_key) == LUA_TTABLE) {
    lua_pushvalue(L, index);
    if (lua_rawget(L, -2) == LUA_TUSERDATA) s = lua_touserdata(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return with_code(s);
}

static bool has_name(const il_vm *vm, const void *p) {
  const il_names *n = &vm->names;
  return !n->opened || n->pending || n->own_pending || il_names_may_have(n, p);
}

/* The `n` values on the top. False: nothing was done. */
static bool put_tiny_call(il_encoder *e, lua_State *L, int n, const il_sending *how) {
  int first = lua_gettop(L) - n + 1;
  shared_code *s;
  if (!how->share || how->strip || e->roomhandles == 0 || lua_type(L, first) != LUA_TFUNCTION ||
      has_name(e->vm, lua_topointer(L, first)))
    return false;
  if (e->cap < TINY_HEAD || (size_t)n > (e->cap - TINY_HEAD) / TINY_VALUE) return false;
  for (int i = first + 1; i < first + n; i++)
    if (!is_tiny(L, i)) return false;
  s = known_code(L, first);
  if (s == NULL || s->nups > 0) return false;
  e->L = L;
  e->nvalues = n;
  put_header(e);
  for (e->root = 0; e->root < n; e->root++) {
    begin_root(e);
    if (e->root == 0) {
      put8(e, W_FUNC_SHARED);
      put32(e, 0);
      put_code_handle(e, s);
    } else {
      put_plain(e, first + e->root, lua_type(L, first + e->root));
    }
    put8(e, W_ENDROOT);
  }
  put32(e, 0);
  return true;
}

static void reset(il_encoder *e) {
  if (e->mask != 0 && e->nentries > 0) {
    if (e->mask > 1023) {
      free_map(e);
    } else {
      memset(e->map, 0, (e->mask + 1) * sizeof *e->map);
    }
  }
  e->nentries = 0;
  forget_laters(e, 0);
  forget_handles(e, 0);
  il_moves_undo(e->vm, e->moves);
  e->moves = NULL;
  e->nframes = e->ncodes = e->open_records = e->nsources = e->nparts = 0;
  e->places = e->most_places = e->unshaped = 0;
  e->in_later = e->local_base = 0;
  e->len = 0;
  e->slots = 0;
  e->round++;
  e->refused = e->again = e->c_functions = false;
}

/* The walk was broken off, and starts again. */
static void start_again(il_encoder *e) {
  lua_State *L = e->L;
  reset(e);
  lua_settop(L, AT_LAST - 1 + e->nvalues);
  for (int i = AT_ANCHORS; i < AT_LAST; i++) {
    lua_pushnil(L);
    lua_replace(L, i);
  }
  if (e->anchored) {
    lua_newtable(L);
    lua_replace(L, AT_ANCHORS);
  }
}

/* Called with what AT_ENCODER and the rest say, and the values. The encoder is as `reset` leaves it. */
static int encode_all(lua_State *L) {
  il_encoder *e = lua_touserdata(L, AT_ENCODER);
  if (!lua_checkstack(L, 40)) {
    if (e->nvalues < IL_MANY_VALUES) return isolua_memoryerror(L);
    return luaL_error(L, "stack overflow (too many values)");
  }
  il_names_refresh(e->vm, L);
  keep_names(L);
  e->globals = lua_topointer(L, AT_GLOBALS);
  e->checked = 0;
  walk(e);
  while (e->again) {
    start_again(e);
    walk(e);
  }
  e->nframes = e->in_later = 0; /* a refusal now tells of the whole */
  e->root = 0;
  if (!e->refused) end_sources(e);
  return 0;
}

static il_encoder *take_encoder(il_vm *vm) {
  il_encoder *e = vm->encoder;
  vm->encoder = NULL;
  if (e == NULL) e = calloc(1, sizeof *e);
  if (e == NULL) return NULL;
  e->vm = vm;
  if (e->round == 0) e->round = 1; /* 0 is of what is free */
  return e;
}

void il_encoder_free(il_encoder *e) {
  if (e == NULL) return;
  reset(e);
  il_heap_resize(e->data, e->cap, 0);
  il_heap_resize(e->entries, e->roomentries * sizeof *e->entries, 0);
  free_map(e);
  free(e->shapes);
  free(e->frames);
  free(e->laters);
  free(e->codes);
  free(e->handles);
  free(e->sources);
  free(e->parts);
  free(e);
}

/* Kept for the next send, unless it has grown large or another one is kept already. */
static void give_encoder(il_vm *vm, il_encoder *e) {
  reset(e);
  e->anchored = e->tracing = false;
  if (vm->encoder != NULL || e->cap > KEEP_MAX || e->roomentries > KEEP_MAX ||
      e->roomframes > 2 * IL_DEPTH_MAX + 32 || e->roomlaters > KEEP_MAX / 16)
    il_encoder_free(e);
  else
    vm->encoder = e;
}

/* Pushes the error object of a refusal; what the encoder says of it was copied before it was given
** back, since this may raise. */
static int push_refusal(il_vm *vm, lua_State *L, int err, const char *verb, const char *what,
                        const char *where) {
  char message[WHAT_MAX + PATH_MAX_BYTES + 64];
  snprintf(message, sizeof message, "cannot %s %s: %s", verb, what, where);
  isolua_pusherror(L, err, message, vm->isolate->name);
  lua_pushstring(L, where);
  lua_setfield(L, -2, "path");
  return err;
}

static int push_no_memory(il_vm *vm, lua_State *L) {
  isolua_pusherror(L, ISOLUA_MEMORY, "not enough memory", vm->isolate->name);
  return ISOLUA_MEMORY;
}

static il_msg *finish(il_encoder *e) {
  int taken;
  il_msg *m;
  m = il_msg_new(e->data, e->len, e->cap, e->handles, e->nhandles, &taken);
  if (m == NULL) return NULL;
  e->nhandles = 0;
  if (taken) {
    e->data = NULL;
    e->cap = 0;
  }
  return m;
}

/* One number, boolean or nil: no walk. */
static il_msg *encode_scalar(lua_State *L, int type) {
  unsigned char data[10] = {W_ONE};
  size_t len = 2;
  int taken;
  switch (type) {
  case LUA_TNIL: data[1] = W_NIL; break;
  case LUA_TBOOLEAN: data[1] = lua_toboolean(L, -1) ? W_TRUE : W_FALSE; break;
  default:
    if (lua_isinteger(L, -1)) {
      lua_Integer v = lua_tointeger(L, -1);
      data[1] = W_INT;
      memcpy(data + 2, &v, 8);
    } else {
      lua_Number v = lua_tonumber(L, -1);
      data[1] = W_FLOAT;
      memcpy(data + 2, &v, 8);
    }
    len = 10;
  }
  return il_msg_new(data, len, 0, NULL, 0, &taken);
}

/* Runs the walk over the `n` values on the top, which it pops. */
static int run_walk(il_encoder *e, lua_State *L, int n, const il_sending *how) {
  e->L = L;
  e->how = how;
  e->nvalues = n;
  lua_pushcfunction(L, encode_all);
  lua_pushlightuserdata(L, e);
  lua_pushglobaltable(L);
  for (int i = AT_GLOBALS + 1; i < AT_LAST; i++) lua_pushnil(L);
  lua_rotate(L, -(n + AT_LAST), AT_LAST);
  return lua_pcall(L, n + AT_LAST - 1, 0, 0);
}

int il_encode_waiting(il_vm *vm, lua_State *L, int n, const il_sending *how, il_msg **out,
                      il_moves **moves) {
  il_encoder *e;
  char what[WHAT_MAX], where[PATH_MAX_BYTES + 32];
  int status, err = ISOLUA_OK, type = n == 1 ? lua_type(L, -1) : LUA_TNONE;
  bool before = il_vm_unwinding(vm);
  bool refused;
  *out = NULL;
  *moves = NULL;
  if (how->root < IL_ROOT_INIT &&
      (type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER)) {
    *out = encode_scalar(L, type);
    lua_pop(L, 1);
    return *out != NULL ? ISOLUA_OK : push_no_memory(vm, L);
  }
  if (!lua_checkstack(L, AT_LAST + 4)) {
    lua_pop(L, n);
    lua_pushstring(L,
                   n < IL_MANY_VALUES ? "not enough memory" : "stack overflow (too many values)");
    return n < IL_MANY_VALUES ? ISOLUA_MEMORY : ISOLUA_ERROR;
  }
  e = take_encoder(vm);
  if (e == NULL) {
    lua_pop(L, n);
    return push_no_memory(vm, L);
  }
  if (put_tiny_call(e, L, n, how)) {
    lua_pop(L, n);
    status = LUA_OK;
  } else {
    status = run_walk(e, L, n, how);
  }
  refused = status == LUA_OK && e->refused;
  if (refused) {
    err = e->code;
    memcpy(what, e->what, sizeof what);
    memcpy(where, e->path, sizeof where);
  } else if (status == LUA_OK) {
    *out = finish(e);
    if (*out != NULL) {
      *moves = e->moves;
      e->moves = NULL;
    }
  }
  give_encoder(vm, e);
  if (refused) return push_refusal(vm, L, err, how->plain ? "freeze" : "send", what, where);
  if (status == LUA_OK) return *out != NULL ? ISOLUA_OK : push_no_memory(vm, L);
  if (il_vm_passes(vm, before)) il_vm_pass_on(L); /* killed in an __isolate_pack */
  return status == LUA_ERRMEM ? ISOLUA_MEMORY : ISOLUA_ERROR;
}

int il_encode(il_vm *vm, lua_State *L, int n, const il_sending *how, il_msg **out) {
  il_moves *moves;
  int err = il_encode_waiting(vm, L, n, how, out, &moves);
  il_moves_done(vm, moves);
  return err;
}
