/* lport.c - isolate.receiver, isolate.sender, isolate.channel: messages between isolates. */
/* SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lib.h"

#define TRECEIVER "isolate.receiver"

/* A receiver. The port of an inbox belongs to the isolate. */
typedef struct receiver {
  const void *mark;  /* address of receiver_mark: cheaper to see than the metatable's name */
  isolua_port *port; /* NULL: collected */
  bool inbox;
} receiver;

static char receiver_mark;

static receiver *test_receiver(lua_State *L, int index) {
  receiver *r;
  if (lua_rawlen(L, index) != sizeof *r) return NULL;
  r = lua_touserdata(L, index);
  return r != NULL && r->mark == &receiver_mark ? r : NULL;
}

/* -- Arguments --------------------------------------------------------------------------------- */

/* The port that the thing at `index` receives from: a receiver or a channel; NULL: it is neither. */
static isolua_port *test_receiving(lua_State *L, int index) {
  const receiver *r = test_receiver(L, index);
  isolua_port *p;
  if (r != NULL) return r->port;
  p = isolua_port_of(L, index);
  return p != NULL && isolua_port_is_channel(p) ? p : NULL;
}

static isolua_port *check_receiving(lua_State *L, int index) {
  isolua_port *p = test_receiving(L, index);
  if (p == NULL) luaL_typeerror(L, index, "receiver or channel");
  return p;
}

/* And nothing else takes its messages. */
static isolua_port *check_unhandled(lua_State *L, int index) {
  isolua_port *p = check_receiving(L, index);
  if (isolua_port_has_handler(L, p))
    luaL_argerror(L, index, "it has a function (on_message), which gets the messages");
  return p;
}

bool test_port(lua_State *L, int index, isolua_case *c) {
  if (test_receiving(L, index) == NULL) return false;
  *c = (isolua_case){.kind = ISOLUA_RECEIVE, .port = check_unhandled(L, index)};
  return true;
}

isolua_port *check_sending(lua_State *L, int index, bool *closed) {
  isolua_port *p = isolua_port_of(L, index);
  *closed = p == NULL;
  if (p == NULL && !is_a(L, index, ISOLUA_TSENDER))
    luaL_typeerror(L, index, "sender, channel or isolate");
  return p;
}

/* -- Sending ----------------------------------------------------------------------------------- */

static int sent(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)winner, (void)ctx;
  if (code != ISOLUA_OK) return push_reason(L, code);
  lua_pushboolean(L, 1);
  return 1;
}

static int sent_or_full(lua_State *L, int winner, int code, lua_KContext ctx) {
  return sent(L, winner, code == ISOLUA_TIMEOUT ? ISOLUA_FULL : code, ctx);
}

/* Sends the value at 2. */
static int send_within(lua_State *L, int64_t timeout, isolua_waited *k) {
  bool closed;
  isolua_case c = {.kind = ISOLUA_SEND, .value = 2, .port = check_sending(L, 1, &closed)};
  if (lua_isnoneornil(L, 2)) luaL_argerror(L, 2, "a message is a value, and not nil");
  if (closed) return push_reason(L, ISOLUA_CLOSED);
  return isolua_wait(L, &c, 1, timeout, 0, k);
}

/***
Sends a value, a copy of it. Waits while there is no room; a port without capacity always has some.
@function sender:send
@param v any value that can be sent, but nil
@tparam[opt] number timeout seconds to wait for room; nil waits without end
@return[1] true
@return[2] nil and "closed": the receiver is closed or gone, or this sender was closed
@return[3] nil and "timeout"
@return[4] nil and "full": the port was made with `on_full = "error"`
@raise not_sendable
*/
int port_send(lua_State *L) {
  int64_t timeout;
  int code = lua_isnoneornil(L, 3) ? isolua_send_now(L, 1, 2) : ISOLUA_TIMEOUT;
  if (code != ISOLUA_TIMEOUT) return sent(L, 0, code, 0);
  timeout = check_timeout(L, 3);
  lua_settop(L, 2);
  return send_within(L, timeout, sent);
}

/***
Sends a value if there is room, and does not wait.
@function sender:try_send
@param v as for send
@return[1] true
@return[2] nil and "closed" or "full"
*/
static int port_try_send(lua_State *L) {
  lua_settop(L, 2);
  return send_within(L, 0, sent_or_full);
}

/***
Gives up this isolate's hold on the port. When the last sender everywhere is closed, collected or gone
with its isolate, the receiver drains and is closed. May be called again.
@function sender:close
*/
static int sender_close(lua_State *L) {
  if (!is_a(L, 1, ISOLUA_TSENDER)) luaL_typeerror(L, 1, "sender");
  isolua_port_giveup(L, 1);
  return 0;
}

/* -- Receiving --------------------------------------------------------------------------------- */

static int received(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)winner, (void)ctx;
  return code == ISOLUA_OK ? 1 : push_reason(L, code);
}

/***
The next message. Waits for it; the rest of this isolate goes on meanwhile.
@function receiver:receive
@tparam[opt] number timeout seconds; nil waits without end
@return[1] the value
@return[2] nil and "closed": it is closed, or no sender is left and the queue is empty
@return[3] nil and "timeout"
*/
static int port_receive(lua_State *L) {
  isolua_case c = {.kind = ISOLUA_RECEIVE, .port = check_unhandled(L, 1)};
  int code = lua_isnoneornil(L, 2) ? isolua_receive_now(L, c.port) : ISOLUA_TIMEOUT;
  if (code != ISOLUA_TIMEOUT) return received(L, 0, code, 0);
  return isolua_wait(L, &c, 1, check_timeout(L, 2), 0, received);
}

static int received_or_empty(lua_State *L, int winner, int code, lua_KContext ctx) {
  if (code != ISOLUA_TIMEOUT) return received(L, winner, code, ctx);
  lua_pushnil(L);
  lua_pushliteral(L, "empty");
  return 2;
}

/***
The next message if there is one.
@function receiver:try_receive
@return[1] the value
@return[2] nil and "empty" or "closed"
*/
static int port_try_receive(lua_State *L) {
  isolua_case c = {.kind = ISOLUA_RECEIVE, .port = check_unhandled(L, 1)};
  return isolua_wait(L, &c, 1, 0, 0, received_or_empty);
}

/* The first message is on the top; as many more as there are, up to `max` in all. */
static int received_many(lua_State *L, int winner, int code, lua_KContext max) {
  isolua_port *p = check_receiving(L, 1);
  lua_Integer n = 1;
  (void)winner;
  if (code != ISOLUA_OK) return push_reason(L, code);
  lua_createtable(L, max < 64 ? (int)max : 64, 0);
  lua_insert(L, -2);
  lua_rawseti(L, -2, 1);
  while (n < max && isolua_port_take(L, p) == ISOLUA_OK) lua_rawseti(L, -2, ++n);
  return 1;
}

/***
Waits for a message and gives it in a list with those that are queued behind it.
@function receiver:receive_many
@tparam integer max length of the list at most
@tparam[opt] number timeout seconds; nil waits without end
@return[1] a list of at least one value
@return[2] nil and "closed" or "timeout"
*/
static int port_receive_many(lua_State *L) {
  isolua_case c = {.kind = ISOLUA_RECEIVE, .port = check_unhandled(L, 1)};
  lua_Integer max = luaL_checkinteger(L, 2);
  luaL_argcheck(L, max > 0, 2, "more than 0 expected");
  return isolua_wait(L, &c, 1, check_timeout(L, 3), (lua_KContext)max, received_many);
}

static int next_message(lua_State *L, int winner, int code, lua_KContext ctx) {
  (void)winner, (void)ctx;
  if (code != ISOLUA_OK) lua_pushnil(L);
  return 1;
}

static int iterate(lua_State *L) {
  isolua_case c = {.kind = ISOLUA_RECEIVE, .port = check_unhandled(L, 1)};
  int code = isolua_receive_now(L, c.port);
  if (code != ISOLUA_TIMEOUT) return next_message(L, 0, code, 0);
  return isolua_wait(L, &c, 1, ISOLUA_FOREVER, 0, next_message);
}

/***
Iterates over messages as they come; ends when it is closed.
@function receiver:messages
@return an iterator
@usage for v in rx:messages() do print(v) end
*/
static int port_messages(lua_State *L) {
  check_unhandled(L, 1);
  lua_pushcfunction(L, iterate);
  lua_pushvalue(L, 1);
  return 2;
}

/***
Calls `fn(v)` with each message from the event loop, one after another. With nil, messages queue again.
@function receiver:on_message
@tparam ?function fn an error in it is uncaught
@treturn receiver
*/
static int port_on_message(lua_State *L) {
  isolua_port *p = check_receiving(L, 1);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  isolua_port_on_message(L, p, 1);
  return 1;
}

/***
The function of on_message does not keep the isolate alive, until `ref` is called.
@function receiver:unref
@treturn receiver
*/
static int port_unref(lua_State *L) {
  isolua_port_keep(L, check_receiving(L, 1), 0);
  lua_settop(L, 1);
  return 1;
}

/***
The function of on_message keeps the isolate alive while a sender is somewhere else: as at first.
@function receiver:ref
@treturn receiver
*/
static int port_ref(lua_State *L) {
  isolua_port_keep(L, check_receiving(L, 1), 1);
  lua_settop(L, 1);
  return 1;
}

/***
Closes it: what is queued is dropped (of a channel it can still be received), and senders get nil and
"closed". May be called again.
@function receiver:close
*/
static int port_close(lua_State *L) {
  isolua_port *p = test_receiving(L, 1);
  if (p == NULL) p = check_receiving(L, 1);
  if (!isolua_port_is_channel(p) && isolua_port_has_handler(L, p)) { /* a channel's drains */
    lua_settop(L, 1);
    lua_pushnil(L);
    isolua_port_on_message(L, p, 1);
  }
  isolua_port_close(p);
  return 0;
}

static int receiver_gc(lua_State *L) {
  receiver *r = test_receiver(L, 1);
  isolua_port *p = r != NULL ? r->port : NULL;
  if (p == NULL) return 0;
  r->port = NULL;
  if (!r->inbox) isolua_port_drop(L, p);
  return 0;
}

static int port_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)isolua_port_count(check_receiving(L, 1)));
  return 1;
}

/* -- Handles ----------------------------------------------------------------------------------- */

static isolua_port *any_port(lua_State *L) {
  const receiver *r = test_receiver(L, 1);
  return r != NULL ? r->port : isolua_port_of(L, 1);
}

static lua_Integer port_id(lua_State *L) {
  const receiver *r = test_receiver(L, 1);
  if (r == NULL) return (lua_Integer)isolua_handle_id(L, 1);
  return r->port != NULL ? (lua_Integer)isolua_port_id(r->port) : 0;
}

static const char *const port_fields[] = {"id", "name", NULL};

static bool port_field(lua_State *L, const char *field) {
  isolua_port *p = any_port(L);
  if (field == port_fields[0])
    lua_pushinteger(L, port_id(L));
  else if (p != NULL)
    lua_pushstring(L, isolua_port_name(p));
  else
    return false;
  return true;
}

static int port_tostring(lua_State *L) {
  isolua_port *p = any_port(L);
  const char *type = lua_tostring(L, lua_upvalueindex(1));
  if (p == NULL)
    lua_pushfstring(L, "%s: %I (closed)", type, (LUAI_UACINT)port_id(L));
  else if (isolua_port_name(p) != NULL)
    lua_pushfstring(L, "%s: %s (%I)", type, isolua_port_name(p), (LUAI_UACINT)port_id(L));
  else
    lua_pushfstring(L, "%s: %I", type, (LUAI_UACINT)port_id(L));
  return 1;
}

/* -- Making ------------------------------------------------------------------------------------ */

static void push_receiver_metatable(lua_State *L);

static receiver *push_receiver(lua_State *L) {
  receiver *r = lua_newuserdatauv(L, sizeof *r, 0);
  r->mark = &receiver_mark;
  r->port = NULL;
  r->inbox = false;
  push_receiver_metatable(L);
  lua_setmetatable(L, -2);
  return r;
}

isolua_port *push_port(lua_State *L, const char *name, lua_Integer capacity, int full) {
  receiver *r = push_receiver(L);
  r->port = isolua_port_new(L, name, capacity, full);
  if (r->port == NULL) isolua_memoryerror(L);
  isolua_port_pushsender(L, r->port);
  return r->port;
}

/* new_port(capacity (-1: none), on_full (a number), name or nil) -> receiver, sender */
static int new_port(lua_State *L) {
  lua_Integer capacity = luaL_checkinteger(L, 1);
  int full = (int)luaL_checkinteger(L, 2);
  const char *name = luaL_optstring(L, 3, NULL);
  push_port(L, name, capacity, full);
  return 2;
}

/***
A channel: many senders, many receivers, each message to one of them. It can be sent itself.
@function isolate.channel
@tparam[opt=0] integer capacity messages that wait in it; 0: a send waits until somebody receives
@treturn channel
*/
static int new_channel(lua_State *L) {
  lua_Integer capacity;
  luaL_argexpected(L, lua_type(L, 1) != LUA_TSTRING, 1, "number");
  capacity = luaL_optinteger(L, 1, 0);
  luaL_argcheck(L, capacity >= 0, 1, "a capacity of 0 or more expected");
  isolua_channel_push(L, capacity);
  return 1;
}

/***
The receiver of this isolate's inbox: what `iso:send` sends. It is closed when no handle to this isolate
is left anywhere else.
@function isolate.inbox
@treturn receiver
*/
static int inbox(lua_State *L) {
  static char key;
  receiver *r;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TUSERDATA) return 1;
  r = push_receiver(L);
  r->inbox = true;
  r->port = isolua_self_inbox(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  return 1;
}

#define RECEIVING                                                                                  \
  {"receive", port_receive}, {"try_receive", port_try_receive},                                    \
    {"receive_many", port_receive_many}, {"messages", port_messages},                              \
    {"on_message", port_on_message}, {"unref", port_unref}, {"ref", port_ref}, {                   \
    "close", port_close                                                                            \
  }

static const luaL_Reg receiver_methods[] = {RECEIVING, POLLABLE, {NULL, NULL}};
static const luaL_Reg sender_methods[] = {
  {"send", port_send}, {"try_send", port_try_send}, {"close", sender_close}, {NULL, NULL}};
static const luaL_Reg channel_methods[] = {
  RECEIVING, POLLABLE, {"send", port_send}, {"try_send", port_try_send}, {NULL, NULL}};

const luaL_Reg port_functions[] = {{"channel", new_channel}, {"inbox", inbox}, {NULL, NULL}};
const luaL_Reg port_internals[] = {{"new_port", new_port}, {NULL, NULL}};

/* Fills the metatable on the top, which it pops. */
static void fill_type(lua_State *L, const char *name, const luaL_Reg *methods,
                      lua_CFunction close) {
  set_index(L, methods, port_fields, port_field, false);
  lua_pushstring(L, name);
  lua_pushcclosure(L, port_tostring, 1);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__close");
  if (methods != sender_methods) {
    lua_pushcfunction(L, port_len);
    lua_setfield(L, -2, "__len");
  }
}

static void push_receiver_metatable(lua_State *L) {
  if (!new_type(L, TRECEIVER)) return;
  lua_pushcfunction(L, receiver_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushliteral(L, TRECEIVER);
  lua_setfield(L, -2, "__metatable");
  fill_type(L, TRECEIVER, receiver_methods, port_close);
  keep_type(L, TRECEIVER);
}

void open_sender(lua_State *L) {
  isolua_newhandletype(L, ISOLUA_TSENDER);
  fill_type(L, ISOLUA_TSENDER, sender_methods, sender_close);
  lua_pop(L, 1);
}

void open_channel(lua_State *L) {
  isolua_newhandletype(L, ISOLUA_TCHANNEL);
  fill_type(L, ISOLUA_TCHANNEL, channel_methods, port_close);
  lua_pop(L, 1);
}
