// isolua.hpp - isolua.h for C++17: owners that release what they have, and errors as exceptions. Each
// owner is a std::unique_ptr: get() lends the C object for what has no function here.
// SPDX-License-Identifier: MIT
#pragma once

#include <isolua.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace isolua {

struct error : std::runtime_error {
  error(int number, const char *text = nullptr, const char *where = nullptr)
      : runtime_error(text ? text : isolua_code_message(number)), code(number),
        traceback(where ? where : "") {}
  int code;              // ISOLUA_KILLED, …
  std::string traceback; // of an error in Lua; else ""
};

template <auto Release, auto... More> struct releaser {
  template <class T> void operator()(T *object) const { Release(object, More...); }
};
template <class T, auto... Release> using owner = std::unique_ptr<T, releaser<Release...>>;

using sender = owner<isolua_sender, isolua_sender_release>;
using block = owner<isolua_block, isolua_block_release>;
using isolate = owner<isolua_isolate, isolua_isolate_release>;

// What a function of isolua.h gives through its last argument.
template <class T, class F, class... A> T *made(F function, A... arguments) {
  T *object = nullptr;
  if (int code = function(arguments..., &object)) throw error(code);
  return object;
}

// A value of a message or future, which must outlive it. What is not there reads as nothing.
struct value {
  const isolua_value *v;
  int type() const { return isolua_value_type(v); }
  bool boolean() const { return isolua_value_boolean(v) != 0; }
  long long integer() const { return isolua_value_integer(v); }
  double number() const { return isolua_value_number(v); }
  std::string_view string() const {
    std::size_t n = 0;
    const char *s = isolua_value_string(v, &n);
    return s ? std::string_view(s, n) : std::string_view();
  }
  std::size_t length() const { return isolua_value_length(v); }
  value at(long long i) const { return {isolua_value_at(v, i)}; }
  value get(const char *key) const { return {isolua_value_get(v, key)}; }
};

// message().map().add("x").add(1).end(): what could not be added is told by what sends it.
struct message : owner<isolua_message, isolua_message_free> {
  explicit message(isolua_message *m) : unique_ptr(m) {}
  message() : unique_ptr(made<isolua_message>(isolua_message_new)) {}
  template <class T> std::enable_if_t<std::is_arithmetic_v<T>, message &> add(T n) {
    if constexpr (std::is_same_v<T, bool>) return isolua_add_boolean(get(), n), *this;
    if constexpr (std::is_integral_v<T>) return isolua_add_integer(get(), n), *this;
    return isolua_add_number(get(), static_cast<double>(n)), *this;
  }
  message &add(std::string_view s) { return isolua_add_bytes(get(), s.data(), s.size()), *this; }
  message &add(const sender &s) { return isolua_add_sender(get(), s.get()), *this; }
  message &add(block &&b) { return isolua_add_block(get(), b.release()), *this; }
  message &add(std::nullptr_t) { return isolua_add_nil(get()), *this; }
  message &list() { return isolua_add_list(get(), 0), *this; }
  message &map() { return isolua_add_map(get(), 0), *this; }
  message &end() { return isolua_add_end(get()), *this; }
  isolua::value value(int i = 1) const { return {isolua_message_value(get(), i)}; }
};

inline void send(isolua_sender *to, message &&m, std::int64_t timeout = ISOLUA_FOREVER) {
  if (int code = isolua_send(to, m.get(), timeout)) throw error(code); // m is the caller's then
  m.release();
}

struct future : owner<isolua_future, isolua_future_release> {
  using unique_ptr::unique_ptr;
  bool wait(std::int64_t timeout = ISOLUA_FOREVER) const { // false: it is not done yet
    isolua_future_wait(get(), timeout);
    int code = isolua_future_code(get());
    if (code > 0) throw error(code, isolua_future_message(get()), isolua_future_traceback(get()));
    return code == ISOLUA_OK;
  }
  isolua::value value(int i = 1) const { return {isolua_future_value(get(), i)}; }
};

struct host : owner<isolua_host, isolua_host_close, ISOLUA_SECOND> { // outlives what it made
  // open: isolua_host_new for strangers, who find no module of this library then
  explicit host(isolua_host_options o = {}, decltype(&isolua_host_open) open = isolua_host_open)
      : unique_ptr(made<isolua_host>(open, (o.size = sizeof o, &o))) {}
  future run(const char *source, message args = message(), isolua_options o = {}) const {
    o.size = sizeof o, o.args = args.release();
    return future(made<isolua_future>(isolua_run_string, get(), &o, source));
  }
  isolate spawn(const char *source, message args = message(), isolua_options o = {}) const {
    o.size = sizeof o, o.args = args.release();
    return isolate(made<isolua_isolate>(isolua_spawn_string, get(), &o, source));
  }
};

struct receiver : owner<isolua_receiver, isolua_receiver_close> {
  receiver(const host &h, sender &first, std::size_t capacity = 0) { // first: a sender of it
    isolua_receiver *r = nullptr;
    first.reset(made<isolua_sender>(isolua_receiver_new, h.get(), nullptr, capacity, &r));
    reset(r);
  }
  message receive(std::int64_t timeout = ISOLUA_FOREVER) const { // null: too late, or closed
    isolua_message *m = nullptr;
    int code = isolua_receive(get(), timeout, &m);
    if (code != ISOLUA_OK && code != ISOLUA_TIMEOUT && code != ISOLUA_CLOSED) throw error(code);
    return message(m);
  }
};

} // namespace isolua
