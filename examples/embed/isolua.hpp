// isolua.hpp - isolua.h for C++17: owners that release what they have, and errors as exceptions.
// SPDX-License-Identifier: MIT
#pragma once

#include <isolua.h>

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

// Every owner is a std::unique_ptr: get() lends the C object for what has no function here, release()
// gives it away. What isolua.h says of threads holds.
namespace isolua {

struct error : std::runtime_error {
  error(int number, const char *message, const char *where)
      : std::runtime_error(message ? message : isolua_code_message(number)), code(number),
        traceback(where ? where : "") {}
  int code;              // ISOLUA_KILLED, …
  std::string traceback; // of an error in Lua; else ""
};

inline void check(int code) {
  if (code != ISOLUA_OK) throw error(code, nullptr, nullptr);
}

template <auto Release> struct releaser {
  template <class T> void operator()(T *object) const { Release(object); }
};
template <class T, auto Release> using owner = std::unique_ptr<T, releaser<Release>>;

// What a function of isolua.h gives through its last argument.
template <class T, class F, class... A> T *made(F function, A... arguments) {
  T *object = nullptr;
  check(function(arguments..., &object));
  return object;
}

using sender = owner<isolua_sender, isolua_sender_release>;

struct block : owner<isolua_block, isolua_block_release> {
  using unique_ptr::unique_ptr;
  explicit block(std::size_t size) : unique_ptr(made<isolua_block>(isolua_block_new, size)) {}
  unsigned char *data(std::size_t *size = nullptr) const {
    return static_cast<unsigned char *>(isolua_block_data(get(), size));
  }
};

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
  isolua::sender sender() const { return isolua::sender(isolua_value_sender(v)); }
  // offset: where in the block the buffer begins; its length is length().
  isolua::block block(std::size_t *offset = nullptr) const {
    return isolua::block(isolua_value_block(v, offset));
  }
};

// message().map().add("x").add(1).end(): what could not be added is told by what sends it.
struct message : owner<isolua_message, isolua_message_free> {
  using unique_ptr::unique_ptr;
  message() : unique_ptr(made<isolua_message>(isolua_message_new)) {}
  template <class T> std::enable_if_t<std::is_arithmetic_v<T>, message &> add(T n) {
    if constexpr (std::is_same_v<T, bool>) return isolua_add_boolean(get(), n), *this;
    if constexpr (std::is_integral_v<T>) return isolua_add_integer(get(), n), *this;
    return isolua_add_number(get(), static_cast<double>(n)), *this;
  }
  message &add(std::string_view s) { return isolua_add_bytes(get(), s.data(), s.size()), *this; }
  message &add(std::nullptr_t) { return isolua_add_nil(get()), *this; }
  message &add(const sender &s) { return isolua_add_sender(get(), s.get()), *this; }
  message &add(block &&b) { return isolua_add_block(get(), b.release()), *this; } // is moved
  message &list() { return isolua_add_list(get(), 0), *this; }
  message &map() { return isolua_add_map(get(), 0), *this; }
  message &end() { return isolua_add_end(get()), *this; }
  isolua::value value(int i = 1) const { return {isolua_message_value(get(), i)}; }
};

// After an exception the message is still the caller's.
inline void send(isolua_sender *to, message &&m, std::int64_t timeout = ISOLUA_FOREVER) {
  check(isolua_send(to, m.get(), timeout));
  m.release();
}

struct future : owner<isolua_future, isolua_future_release> {
  using unique_ptr::unique_ptr;
  // False: the end has not come. Throws the error that it is, if it is one.
  bool wait(std::int64_t timeout = ISOLUA_FOREVER) const {
    int code = isolua_future_wait(get(), timeout);
    if (code == ISOLUA_TIMEOUT && !isolua_future_done(get())) return false;
    code = isolua_future_wait(get(), 0);
    if (code == ISOLUA_OK) return true;
    throw error(code, isolua_future_message(get()), isolua_future_traceback(get()));
  }
  isolua::value value(int i = 1) const { return {isolua_future_value(get(), i)}; }
};

using isolate = owner<isolua_isolate, isolua_isolate_release>;

// Structs with their size set.
template <class T> struct sized : T {
  sized() : T() { T::size = sizeof(T); }
};
using options = sized<isolua_options>;
using host_options = sized<isolua_host_options>;

inline void close_host(isolua_host *h) {
  isolua_host_close(h, ISOLUA_SECOND);
}

// Destroy it after all that came from it, but for futures.
struct host : owner<isolua_host, close_host> {
  explicit host(const host_options &o = host_options())
      : unique_ptr(made<isolua_host>(isolua_host_open, &o)) {}
  future run(const char *source, options o = options(), message args = message()) const {
    o.args = args.release();
    return future(made<isolua_future>(isolua_run_string, get(), &o, source));
  }
  isolate spawn(const char *source, options o = options(), message args = message()) const {
    o.args = args.release();
    return isolate(made<isolua_isolate>(isolua_spawn_string, get(), &o, source));
  }
};

class receiver : public owner<isolua_receiver, isolua_receiver_close> {
  using function = std::function<void(std::optional<message>)>;
  std::unique_ptr<function> called; // has one address, also when the receiver is moved
  static void call(void *ud, isolua_receiver *, isolua_message *m) noexcept {
    (*static_cast<function *>(ud))(m ? std::optional<message>(message(m)) : std::nullopt);
  }

public:
  receiver(const host &h, sender &first) { // first: a sender of it
    isolua_sender *s = nullptr;
    isolua_receiver *r = nullptr;
    check(isolua_receiver_new(h.get(), nullptr, 0, &r, &s));
    reset(r);
    first.reset(s);
  }
  receiver(receiver &&) = default;
  ~receiver() { reset(); } // closed before its function goes
  // Nothing: the time was over, or none will come any more.
  std::optional<message> receive(std::int64_t timeout = ISOLUA_FOREVER) const {
    isolua_message *m = nullptr;
    int code = isolua_receive(get(), timeout, &m);
    if (code == ISOLUA_TIMEOUT || code == ISOLUA_CLOSED) return std::nullopt;
    check(code);
    return message(m);
  }
  // Once: f is called by isolua_pump with each message, and with nothing at the end. It must not
  // throw: C code calls it.
  void on_message(function f) {
    if (called) throw error(ISOLUA_INVALID, nullptr, nullptr);
    called = std::make_unique<function>(std::move(f));
    check(isolua_receiver_on_message(get(), call, called.get()));
  }
};

} // namespace isolua
