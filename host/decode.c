/* decode.c - flat messages to Lua values. */
/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "buffer.h"
#include "codec.h"
#include "dump.h"
#include "freeze.h"
#include "names.h"
#include "wire.h"

/*
** DESIGN. The mirror of encode.c: frames on a heap stack, what they work on on the Lua stack. A value
** that is complete lies on the top of the stack; the frame that asked for it takes it from there.
** Things with a slot are kept in a table at `refs` as soon as they exist, before their contents, so
** cycles close by themselves. Everything may raise (memory, unpackers): the frames lie in a userdata
** message in its owner's box. Keys of records lie on the stack, below all frames: a field costs no
** look at a string. A record of plain values needs no frame.
*/
enum decode_kind { LIST, FIELDS, HASH_KEY, HASH_VALUE, META, UPVALUES, PACK };

typedef struct frame {
  enum decode_kind kind;
  bool body;     /* announced earlier: the object is not a value to be taken */
  bool replaced; /* the value is already in place: what is decoded here is dropped */
  int object;    /* stack index */
  lua_Integer n; /* list items, or upvalues, so far */
  int nup;
  int key, end;  /* FIELDS: stack indices of the next key and behind the last one */
  uint32_t slot; /* PACK: of the object */
} frame;

typedef struct decoder {
  il_vm *vm;
  lua_State *L;
  const il_msg *m;
  const unsigned char *at;
  int refs; /* stack index of the table of slots; 0: the message has none */
  int box;  /* stack index of the userdata with the frames */
  frame *frames;
  size_t nframes, room;
  int places;     /* stack index of the first place */
  int checked;    /* up to there the stack has been made large enough */
  bool kept;      /* the message stays, and others may decode it */
  uint32_t adopt; /* slot of a registered value whose copy comes next; 0: none */
} decoder;

#define FRAMES_FIRST 8 /* small enough for a list of the arena: the garbage is used again */
#define LARGE ((size_t)64 << 10) /* bytes of a message from which the collector waits */

static uint8_t get8(decoder *d) {
  return *d->at++;
}

static uint32_t get32(decoder *d) {
  uint32_t v = il_get32(d->at);
  d->at += 4;
  return v;
}

static uint64_t get64(decoder *d) {
  uint64_t v = il_get64(d->at);
  d->at += 8;
  return v;
}

static const char *get_str(decoder *d, size_t *len) {
  const char *s;
  *len = get32(d);
  s = (const char *)d->at;
  d->at += *len + 1;
  return s;
}

/* -- Slots ------------------------------------------------------------------------------------- */

static void keep(decoder *d, uint32_t slot) {
  if (slot != 0) {
    lua_pushvalue(d->L, -1);
    lua_rawseti(d->L, d->refs, slot);
  }
}

/* The head of a table or function: a registered copy also stands for its name's slot. */
static void keep_head(decoder *d, uint32_t slot) {
  keep(d, slot);
  keep(d, d->adopt);
  d->adopt = 0;
}

static void push_slot(decoder *d, uint32_t slot) {
  lua_rawgeti(d->L, d->refs, slot);
}

static frame *push_frame(decoder *d, enum decode_kind kind) {
  frame *f;
  int object = lua_gettop(d->L);
  if (object + 10 > d->checked) {
    luaL_checkstack(d->L, LUA_MINSTACK, "nested too deeply");
    d->checked = object + LUA_MINSTACK;
  }
  if (d->nframes == d->room) {
    size_t room = d->room * 2;
    frame *bigger = lua_newuserdatauv(d->L, room * sizeof *bigger, 0);
    if (d->nframes > 0) memcpy(bigger, d->frames, d->nframes * sizeof *bigger);
    lua_replace(d->L, d->box);
    d->frames = bigger;
    d->room = room;
  }
  f = &d->frames[d->nframes++];
  memset(f, 0, sizeof *f);
  f->kind = kind;
  f->object = object;
  return f;
}

/* -- Values ------------------------------------------------------------------------------------ */

typedef struct chunk {
  const char *p;
  size_t len;
} chunk;

static const char *read_chunk(lua_State *L, void *ud, size_t *len) {
  chunk *c = ud;
  const char *p = c->len > 0 ? c->p : NULL;
  (void)L;
  *len = c->len;
  c->len = 0;
  return p;
}

/* -- What is not trusted ------------------------------------------------------------------------ */

/*
** DESIGN. A host that forbids its isolates something has a main state that may do it. A function would
** run there with the globals of main, as a finalizer even unasked; an unpacker is named by whoever has packed;
** so is a module. So main takes data alone from them: no code; of modules, those that it has loaded
** itself; metatables that it has by a name.
*/
static bool is_wary(const decoder *d) {
  return d->vm->forbid == 0 && d->vm->host->options.forbid != 0;
}

static void check_code(decoder *d, const char *what) {
  if (is_wary(d))
    luaL_error(d->L,
               "cannot receive %s: the main isolate takes no code, since the host forbids "
               "its isolates something",
               what);
}

/* [-0, +0, e] */
static void check_module(decoder *d, const char *module, const char *field) {
  lua_State *L = d->L;
  bool known;
  if (!is_wary(d)) return;
  if (field != NULL && (strcmp(module, LUA_GNAME) == 0 || il_lib_bit(module, strlen(module)) != 0))
    luaL_error(L, "cannot receive '%s.%s' by its name from an isolate", module, field);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  known = lua_getfield(L, -1, module) != LUA_TNIL || il_names_is_own(d->vm, module);
  lua_pop(L, 2);
  if (!known)
    luaL_error(L, "cannot receive module '%s' from an isolate: it is not loaded here", module);
}

/* The table on the top is to be a metatable. [-0, +0, e] */
static void check_metatable(decoder *d) {
  lua_State *L = d->L;
  int top = lua_gettop(L);
  enum il_by by;
  bool ours;
  if (!is_wary(d)) return;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  il_names_refresh(d->vm, L);
  by = il_names_find(d->vm, L, top);
  ours = by == IL_BY_MODULE;
  if (by == IL_BY_REGISTER && il_names_registered(L, lua_tostring(L, top + 1)))
    ours = lua_rawequal(L, -1, top);
  lua_settop(L, top);
  if (!ours)
    luaL_error(L,
               "cannot receive a metatable from an isolate: the main isolate has none of its name");
}

/* Head of a function: makes it, with upvalues of its own. lua_load gives the first one the globals:
** each is overwritten by what follows, nil too. */
static void get_function(decoder *d, uint32_t *slot, int *nup) {
  uint64_t place;
  chunk c;
  check_code(d, "a function");
  *slot = get32(d);
  *nup = get8(d);
  place = get64(d);
  c.len = (size_t)il_get64(d->m->data + place);
  c.p = (const char *)d->m->data + place + 8;
  if (d->at == d->m->data + place) d->at += 8 + c.len;
  if (lua_load(d->L, read_chunk, &c, "=?", "b") != LUA_OK) lua_error(d->L);
  keep_head(d, *slot);
}

/* -- Code that came before ---------------------------------------------------------------------- */

/*
** DESIGN. A table has, by the block that code came in, a userdata that holds the block, so that no other one gets its
** address, and as user value a function that makes the code's functions. It is emptied when it has grown large.
*/
enum { LOADED_MAX = 256 };

static char loaded_key;

static int loaded_gc(lua_State *L) {
  il_block **held = lua_touserdata(L, 1);
  if (*held != NULL) il_handle_release(&(*held)->h);
  *held = NULL;
  return 0;
}

/* [-0, +1, e] */
static void load_chunk(lua_State *L, const void *p, size_t len) {
  chunk c = {p, len};
  if (lua_load(L, read_chunk, &c, "=?", "b") != LUA_OK) lua_error(L);
}

typedef struct factory {
  unsigned char *p;
  size_t size;
} factory;

static int free_factory(lua_State *L) {
  factory *f = lua_touserdata(L, 1);
  free(f->p);
  f->p = NULL;
  return 0;
}

/* Pushes a function that makes those of the code, or nil. [-0, +1, e] */
static void push_factory(lua_State *L, const il_block *b) {
  factory *f = lua_newuserdatauv(L, sizeof *f, 0);
  f->p = NULL;
  il_newtype(L, "isolate.factory", free_factory, false);
  lua_setmetatable(L, -2);
  if (il_dump_known(b->data, b->size)) f->p = il_dump_factory(b->data, b->size, &f->size);
  if (f->p != NULL)
    load_chunk(L, f->p, f->size);
  else
    lua_pushnil(L);
  free(f->p);
  f->p = NULL;
  lua_remove(L, -2);
}

/* Pushes the userdata, a new one. The table is on the top. [-0, +1, e] */
static void push_loaded(lua_State *L, il_block *b) {
  il_block **held = lua_newuserdatauv(L, sizeof(il_block *), 1);
  *held = NULL;
  il_newtype(L, "isolate.loaded", loaded_gc, false);
  lua_setmetatable(L, -2);
  *held = b;
  il_handle_retain(&b->h);
  push_factory(L, b);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, -3, b);
}

/* Not once it was finalized: the address may be another block's then. */
static bool holds(lua_State *L, const il_block *b) {
  return *(il_block **)lua_touserdata(L, -1) == b;
}

/* Pushes the table. [-0, +1, m] */
static void push_all_loaded(decoder *d) {
  lua_State *L = d->L;
  if (d->vm->loaded < LOADED_MAX && lua_rawgetp(L, LUA_REGISTRYINDEX, &loaded_key) == LUA_TTABLE)
    return;
  lua_settop(L, lua_gettop(L) - (d->vm->loaded < LOADED_MAX));
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &loaded_key);
  d->vm->loaded = 0;
}

static void get_shared_function(decoder *d, int *nup) {
  lua_State *L = d->L;
  uint32_t slot = get32(d);
  il_block *b;
  check_code(d, "a function");
  *nup = get8(d);
  b = (il_block *)d->m->handles[get32(d)];
  luaL_checkstack(L, 10, NULL);
  push_all_loaded(d);
  if (lua_rawgetp(L, -1, b) != LUA_TUSERDATA || !holds(L, b)) {
    lua_pop(L, 1);
    push_loaded(L, b);
    d->vm->loaded++;
  }
  if (lua_getiuservalue(L, -1, 1) == LUA_TFUNCTION) {
    lua_call(L, 0, 1);
  } else {
    lua_pop(L, 1);
    load_chunk(L, b->data, b->size);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
  keep_head(d, slot);
}

static void get_named(decoder *d) {
  uint32_t slot = get32(d);
  size_t len;
  const char *module = get_str(d, &len), *field = NULL;
  if (get8(d)) field = get_str(d, &len);
  check_module(d, module, field);
  il_names_resolve(d->vm, d->L, module, field);
  keep(d, slot);
}

static void get_std(decoder *d) {
  uint16_t index;
  const il_std_function *f;
  memcpy(&index, d->at, 2);
  d->at += 2;
  f = il_std_get(d->vm->host->std, index);
  if (f->lib != 0 && (d->vm->libs & f->lib) == 0)
    luaL_error(d->L, "cannot receive function '%s': this isolate's libs leave it out", f->name);
  if (f->barred && d->vm->forbid != 0)
    luaL_error(d->L, "cannot receive function '%s': the host forbids it", f->name);
  lua_pushcfunction(d->L, d->vm->owned && f->ours != NULL ? f->ours : f->function);
}

static void push_unpacker(decoder *d) {
  size_t len;
  check_code(d, "an object that packs itself");
  const char *module = get_str(d, &len);
  const char *name = get_str(d, &len);
  il_names_resolve(d->vm, d->L, module, NULL);
  if (!lua_istable(d->L, -1) && !luaL_getmetafield(d->L, -1, "__index"))
    luaL_error(d->L, "cannot receive an object: module '%s' is no table", module);
  lua_getfield(d->L, -1, name);
  if (lua_isnil(d->L, -1))
    luaL_error(d->L, "cannot receive an object: module '%s' has no function '%s'", module, name);
  lua_replace(d->L, -2);
}

/* A registered value that this state has: what follows is decoded, for the slots in it, and dropped. */
static bool get_registered(decoder *d) {
  uint32_t slot = get32(d);
  size_t len;
  const char *name = get_str(d, &len);
  frame *f;
  bool have = il_names_registered(d->L, name);
  if (have)
    keep(d, slot);
  else
    lua_pushnil(d->L);
  f = push_frame(d, PACK);
  f->replaced = have;
  d->adopt = have ? 0 : slot;
  f->nup = -1; /* no unpacker: a copy that takes the name */
  lua_pushstring(d->L, name);
  return false;
}

static bool get_table(decoder *d) {
  uint32_t slot = get32(d), list = get32(d), hash = get32(d);
  lua_createtable(d->L, (int)list, (int)hash);
  keep_head(d, slot);
  push_frame(d, LIST);
  return false;
}

/* A value that is likely in a record and needs neither frame nor slot; false: it is another. */
static inline bool get_simple(decoder *d) {
  const unsigned char *p = d->at;
  lua_Number v;
  switch (*p) {
  case W_INT:
    lua_pushinteger(d->L, (lua_Integer)il_get64(p + 1));
    d->at = p + 9;
    return true;
  case W_FLOAT:
    memcpy(&v, p + 1, 8);
    lua_pushnumber(d->L, v);
    d->at = p + 9;
    return true;
  case W_SHORT:
    if (il_get32(p + 1) != 0) return false;
    lua_pushlstring(d->L, (const char *)p + 6, p[5]);
    d->at = p + 6 + p[5];
    return true;
  case W_REF:
    push_slot(d, il_get32(p + 1));
    d->at = p + 5;
    return true;
  default: return false;
  }
}

/* Fields of the record below the top, up to one whose value is not simple: its key is pushed then.
** Returns the index of that key or `end`. */
static int get_fields(decoder *d, int key, int end) {
  for (; key < end; key++) {
    lua_pushvalue(d->L, key);
    if (!get_simple(d)) break;
    lua_rawset(d->L, -3);
  }
  return key;
}

static bool get_record(decoder *d) {
  const unsigned char *p = d->at;
  int key = d->places + p[4], end = key + p[5];
  frame *f;
  d->at += 10;
  lua_createtable(d->L, 0, p[5] + (int)il_get32(p + 6));
  keep(d, il_get32(p));
  key = get_fields(d, key, end);
  if (key == end && *d->at == W_END) {
    d->at++;
    return true;
  }
  f = push_frame(d, key == end ? HASH_KEY : FIELDS);
  f->object -= key != end; /* the key is pushed */
  f->key = key;
  f->end = end;
  return false;
}

static bool get_value(decoder *d);

static void get_shape(decoder *d) {
  int place = d->places + get8(d), end = place + get8(d);
  for (; place < end; place++) {
    get_value(d);
    lua_replace(d->L, place);
  }
}

static void push_raw(decoder *d, int tag) {
  void *p;
  lua_CFunction fn;
  memcpy(&p, d->at, sizeof p);
  d->at += 8;
  if (tag == W_LIGHT) {
    lua_pushlightuserdata(d->L, p);
  } else {
    memcpy(&fn, &p, sizeof fn);
    lua_pushcfunction(d->L, fn);
  }
}

/* How a block came. A result that was moved goes to the first one that asks for it, of several at once. */
static int get_how(decoder *d) {
  _Atomic(unsigned char) *how = (_Atomic(unsigned char) *)d->at++;
  unsigned char is = atomic_load_explicit(how, memory_order_relaxed);
  if (is == W_MOVED && d->kept) is = atomic_exchange_explicit(how, W_TAKEN, memory_order_relaxed);
  return is;
}

static void get_buffer(decoder *d) {
  uint32_t slot = get32(d), index = get32(d);
  int how = get_how(d);
  bool whole = get8(d);
  size_t offset = (size_t)get64(d), length = (size_t)get64(d);
  if (how == W_TAKEN)
    il_buffer_push_moved(d->L);
  else
    il_buffer_push(d->L, (il_block *)d->m->handles[index], d->kept && how == W_COPIED, whole,
                   offset, length);
  if (how == W_MOVED) { /* now it is here alone */
    il_handle_release(d->m->handles[index]);
    d->m->handles[index] = NULL;
  }
  keep(d, slot);
}

static void get_slice(decoder *d) {
  uint32_t slot = get32(d), from = get32(d);
  bool whole = get8(d);
  size_t offset = (size_t)get64(d), length = (size_t)get64(d);
  push_slot(d, from);
  il_buffer_push_part(d->L, -1, whole, offset, length, IL_BUFFER);
  lua_remove(d->L, -2);
  keep(d, slot);
}

/* True: a value lies on the top. False: a frame was pushed that will make one. */
static bool get_value(decoder *d) {
  lua_State *L = d->L;
  uint32_t slot;
  int nup, tag = get8(d);
  uint64_t bits;
  switch (tag) {
  case W_NIL: lua_pushnil(L); return true;
  case W_FALSE:
  case W_TRUE: lua_pushboolean(L, tag == W_TRUE); return true;
  case W_INT: lua_pushinteger(L, (lua_Integer)get64(d)); return true;
  case W_FLOAT: {
    lua_Number v;
    memcpy(&v, d->at, 8);
    d->at += 8;
    lua_pushnumber(L, v);
    return true;
  }
  case W_STRING:
    slot = get32(d);
    bits = get64(d);
    lua_pushlstring(L, (const char *)d->at, (size_t)bits);
    d->at += bits + 1;
    keep(d, slot);
    return true;
  case W_SHORT:
    slot = get32(d);
    bits = get8(d);
    lua_pushlstring(L, (const char *)d->at, (size_t)bits);
    d->at += bits;
    keep(d, slot);
    return true;
  case W_REF: push_slot(d, get32(d)); return true;
  case W_TABLE: return get_table(d);
  case W_RECORD: return get_record(d);
  case W_TABLE_LATER:
    slot = get32(d);
    lua_newtable(L);
    keep(d, slot);
    return true;
  case W_FUNC:
    get_function(d, &slot, &nup);
    push_frame(d, UPVALUES)->nup = nup;
    return false;
  case W_FUNC_SHARED:
    get_shared_function(d, &nup);
    push_frame(d, UPVALUES)->nup = nup;
    return false;
  case W_FUNC_LATER: get_function(d, &slot, &nup); return true;
  case W_GLOBALS: lua_pushglobaltable(L); return true;
  case W_STD: get_std(d); return true;
  case W_NAMED: get_named(d); return true;
  case W_REGISTERED: return get_registered(d);
  case W_PACKED:
    slot = get32(d);
    push_unpacker(d);
    push_frame(d, PACK)->slot = slot;
    return false;
  case W_HANDLE:
    slot = get32(d);
    il_handle_push(L, d->m->handles[get32(d)]);
    keep(d, slot);
    return true;
  case W_BUFFER: get_buffer(d); return true;
  case W_SLICE: get_slice(d); return true;
  case W_FROZEN:
    slot = get32(d);
    nup = (int)get32(d);
    il_freeze_push(L, il_frozen_at((il_frozen *)d->m->handles[nup], get64(d)));
    keep(d, slot);
    return true;
  case W_LIGHT:
  case W_CFUNC: push_raw(d, tag); return true;
  default: luaL_error(L, "cannot receive: damaged message"); return true;
  }
}

/* -- Frames: true when the frame is through, its object on the top. ----------------------------- */

static void get_run(decoder *d, frame *f, int tag) {
  lua_State *L = d->L;
  uint32_t count = get32(d);
  const unsigned char *p = d->at;
  lua_Integer n = f->n;
  for (uint32_t i = 0; i < count; i++, p += 8) {
    if (tag == W_INTS) {
      lua_pushinteger(L, (lua_Integer)il_get64(p));
    } else {
      lua_Number v;
      memcpy(&v, p, 8);
      lua_pushnumber(L, v);
    }
    lua_rawseti(L, f->object, ++n);
  }
  f->n = n;
  d->at = p;
}

/* An unpacker may have made the value on the top. */
static void set_metatable(decoder *d, int object) {
  if (!lua_istable(d->L, -1))
    luaL_error(d->L, "cannot receive an object: its metatable arrived as a %s",
               luaL_typename(d->L, -1));
  check_metatable(d);
  lua_setmetatable(d->L, object);
}

/* The value on the top goes where the frame wants it. */
static void take_value(decoder *d, frame *f) {
  switch (f->kind) {
  case LIST: lua_rawseti(d->L, f->object, ++f->n); break;
  case FIELDS:
    lua_rawset(d->L, f->object);
    f->key = get_fields(d, f->key + 1, f->end);
    if (f->key == f->end) f->kind = HASH_KEY;
    break;
  case HASH_KEY: f->kind = HASH_VALUE; break;
  case HASH_VALUE:
    lua_rawset(d->L, f->object);
    f->kind = HASH_KEY;
    break;
  default: set_metatable(d, f->object);
  }
}

/* What may stand where a value may: true, and *end where the table ends. */
static inline bool get_mark(decoder *d, frame *f, bool *end) {
  int tag = *d->at;
  switch (tag) {
  case W_INTS:
  case W_FLOATS:
    d->at++;
    get_run(d, f, tag);
    return true;
  case W_HASH:
    d->at++;
    f->kind = HASH_KEY;
    return true;
  case W_SHAPE:
    d->at++;
    get_shape(d);
    return true;
  case W_META:
    d->at++;
    f->kind = META;
    return true;
  case W_END:
    d->at++;
    *end = true;
    return true;
  default: return false;
  }
}

/* Takes the value on the top, if the frame waits for one (`have`), and reads on until another frame
** is needed (false) or this one is through. */
static bool step_table(decoder *d, bool have) {
  frame *f = &d->frames[d->nframes - 1];
  bool end = false;
  for (;;) {
    if (have) take_value(d, f);
    if (f->kind == LIST || f->kind == HASH_KEY || f->kind == META) {
      while (get_mark(d, f, &end))
        if (end) return true;
    }
    if (!get_value(d)) return false;
    have = true;
  }
}

static bool joined(decoder *d, frame *f) {
  uint32_t slot;
  int up;
  if (*d->at != W_JOIN) return false;
  d->at++;
  slot = get32(d);
  up = get8(d);
  push_slot(d, slot);
  if (!lua_iscfunction(d->L, -1) && lua_getupvalue(d->L, -1, up) != NULL) {
    lua_pop(d->L, 1);
    lua_upvaluejoin(d->L, f->object, (int)f->n + 1, -1, up);
  }
  lua_pop(d->L, 1);
  return true;
}

static bool step_upvalues(decoder *d, bool have) {
  frame *f = &d->frames[d->nframes - 1];
  for (;;) {
    if (have) {
      lua_setupvalue(d->L, f->object, (int)f->n + 1);
      f->n++;
    }
    while (f->n < f->nup && joined(d, f)) f->n++;
    if (f->n == f->nup) return true;
    if (!get_value(d)) return false;
    have = true;
  }
}

static bool get_body(decoder *d);

/* W_PACKED: unpacker (object), state. W_REGISTERED: the value or nil (object), name, copy. */
static bool step_pack(decoder *d, bool have) {
  lua_State *L = d->L;
  frame *f = &d->frames[d->nframes - 1];
  if (!have && lua_gettop(L) == f->object + (f->nup < 0))
    return get_value(d) ? step_pack(d, true) : false;
  if (f->nup < 0) {
    if (!f->replaced) {
      il_names_adopt(d->vm, L, lua_tostring(L, f->object + 1), -1);
      lua_replace(L, f->object);
    }
    lua_settop(L, f->object);
    return true;
  }
  if (*d->at == W_BODY) return get_body(d);
  d->at++; /* W_ENDROOT */
  lua_call(L, 1, 1);
  keep(d, f->slot);
  return true;
}

/* Contents of an announced object. Always false. */
static bool get_body(decoder *d) {
  frame *f;
  d->at++;
  push_slot(d, get32(d));
  if (lua_istable(d->L, -1)) {
    f = push_frame(d, LIST);
  } else {
    lua_Debug ar;
    lua_pushvalue(d->L, -1);
    lua_getinfo(d->L, ">u", &ar);
    f = push_frame(d, UPVALUES);
    f->nup = ar.nups;
  }
  f->body = true;
  return false;
}

static bool step(decoder *d, bool have) {
  switch (d->frames[d->nframes - 1].kind) {
  case UPVALUES: return step_upvalues(d, have);
  case PACK: return step_pack(d, have);
  default: return step_table(d, have);
  }
}

/* Runs frames until none is left; `have`: a value for the last one lies on the top. */
static void run_frames(decoder *d, bool have) {
  while (d->nframes > 0) {
    size_t depth = d->nframes;
    if (step(d, have)) {
      frame *f = &d->frames[--d->nframes];
      assert(lua_gettop(d->L) == f->object);
      have = !f->body;
      if (f->body) {
        lua_pop(d->L, 1);
        if (d->nframes == 0) return;
        have = d->frames[d->nframes - 1].kind == PACK; /* its state is on the top */
      }
    } else {
      assert(d->nframes > depth);
      (void)depth;
      have = false;
    }
  }
}

static void get_root(decoder *d) {
  if (!get_value(d)) run_frames(d, false);
  while (*d->at == W_BODY) {
    get_body(d);
    run_frames(d, false);
  }
  assert(*d->at == W_ENDROOT);
  d->at++;
}

/* -- Extras ------------------------------------------------------------------------------------ */

/* The globals' __index while some could not be sent: their names and reasons are its upvalue. */
static int missing_global(lua_State *L) {
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TSTRING)
    return luaL_error(L, "global '%s' did not come along: %s", lua_tostring(L, 2),
                      lua_tostring(L, -1));
  return 0;
}

/* Name and reason on the top; popped. A metatable that `init` gave the globals stays as it is. */
static void add_missing(lua_State *L) {
  int name = lua_gettop(L) - 1;
  lua_pushglobaltable(L);
  if (!lua_getmetatable(L, -1)) {
    lua_createtable(L, 0, 1);
    lua_newtable(L);
    lua_pushcclosure(L, missing_global, 1);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, -1);
    lua_setmetatable(L, -3);
  }
  lua_getfield(L, -1, "__index");
  if (lua_tocfunction(L, -1) == missing_global) {
    lua_getupvalue(L, -1, 1);
    lua_pushvalue(L, name);
    lua_pushvalue(L, name + 1);
    lua_rawset(L, -3);
  }
  lua_settop(L, name - 1);
}

static void get_extra(decoder *d) {
  lua_State *L = d->L;
  int what = get8(d);
  size_t len;
  const char *name = get_str(d, &len);
  lua_pushlstring(L, name, len);
  if (!get8(d)) {
    const char *reason = get_str(d, &len);
    lua_pushlstring(L, reason, len);
    add_missing(L);
    return;
  }
  get_root(d);
  if (what == W_PRELOAD)
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  else
    lua_pushglobaltable(L);
  lua_insert(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static int decode_all(il_vm *vm, lua_State *L, const il_msg *m, bool kept) {
  decoder d = {.vm = vm, .L = L, .m = m, .at = m->data + 1, .room = FRAMES_FIRST, .kept = kept};
  uint32_t slots = get32(&d), count = get32(&d);
  int places, first;
  d.at += (size_t)count * 8;
  places = get8(&d);
  luaL_checkstack(L, (int)count + places + 20, "too many values");
  d.frames = lua_newuserdatauv(L, d.room * sizeof *d.frames, 0);
  d.box = lua_gettop(L);
  if (slots > 0)
    lua_createtable(L, slots < INT32_MAX ? (int)slots : INT32_MAX, 0);
  else
    lua_pushnil(L);
  d.refs = lua_gettop(L);
  d.places = d.refs + 1;
  first = d.places + places;
  lua_settop(L, first - 1);
  for (uint32_t i = 0; i < count; i++) get_root(&d);
  for (uint32_t extras = get32(&d); extras > 0; extras--) get_extra(&d);
  assert(lua_gettop(L) == first + (int)count - 1);
  lua_rotate(L, d.box, (int)count);
  lua_settop(L, d.box + (int)count - 1);
  return (int)count;
}

/* Light userdata: the message; is it kept? */
static int decode_call(lua_State *L) {
  const il_msg *m = lua_touserdata(L, 1);
  bool kept = lua_toboolean(L, 2);
  lua_settop(L, 0);
  return decode_all(il_vm_check(L), L, m, kept);
}

/* All of a large message stays, so collecting meanwhile is work for nothing. */
static int decode_large(lua_State *L, const il_msg *m, bool kept) {
  int base = lua_gettop(L), status;
  lua_gc(L, LUA_GCSTOP);
  lua_pushcfunction(L, decode_call);
  lua_pushlightuserdata(L, (void *)m);
  lua_pushboolean(L, kept);
  status = lua_pcall(L, 2, LUA_MULTRET, 0);
  lua_gc(L, LUA_GCRESTART);
  return status == LUA_OK ? lua_gettop(L) - base : lua_error(L);
}

static int decode(il_vm *vm, lua_State *L, const il_msg *m, bool kept) {
  luaL_checkstack(L, 20, NULL);
  if (m->data[0] == W_ONE) {
    decoder d = {.vm = vm, .L = L, .m = m, .at = m->data + 1};
    get_value(&d);
    return 1;
  }
  if (m->len >= LARGE && lua_gc(L, LUA_GCISRUNNING)) return decode_large(L, m, kept);
  return decode_all(vm, L, m, kept);
}

int il_decode(il_vm *vm, lua_State *L, const il_msg *m) {
  return decode(vm, L, m, false);
}

int il_decode_kept(il_vm *vm, lua_State *L, const il_msg *m) {
  return decode(vm, L, m, true);
}
