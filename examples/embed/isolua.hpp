// isolua.hpp - isolua.h for C++17: owners that release what they have, and errors as exceptions.
// SPDX-License-Identifier: MIT
#pragma once

#include <isolua.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

// Every owner can be moved and not copied; one that was moved from may only be destroyed or
// assigned to. get() lends the C object, for what has no function here. What isolua.h says of
// threads holds.
namespace isolua {

struct error : std::runtime_error {
  error(int number, const char *message, const char *where = nullptr)
      : std::runtime_error(message != nullptr ? message : isolua_code_message(number)),
        code(number), traceback(where != nullptr ? where : "") {}
  int code;              // ISOLUA_KILLED, …
  std::string traceback; // of an error in Lua; else ""
};

inline void check(int code) {
  if (code != ISOLUA_OK) throw error(code, nullptr);
}

template <auto Release> struct releaser {
  template <class T> void operator()(T *object) const { Release(object); }
};

template <class T, auto Release> class owner {
public:
  explicit owner(T *object = nullptr) : object(object) {}
  T *get() const { return object.get(); }
  T *give() { return object.release(); } // to C, which releases it

private:
  std::unique_ptr<T, releaser<Release>> object;
};

class block : public owner<isolua_block, isolua_block_release> {
public:
  using owner::owner;
  explicit block(std::size_t size) : owner(make(size)) {}
  unsigned char *data() const {
    return static_cast<unsigned char *>(isolua_block_data(get(), nullptr));
  }
  std::size_t size() const {
    std::size_t n = 0;
    isolua_block_data(get(), &n);
    return n;
  }

private:
  static isolua_block *make(std::size_t size) {
    isolua_block *b = nullptr;
    check(isolua_block_new(size, &b));
    return b;
  }
};

class message;

class sender : public owner<isolua_sender, isolua_sender_release> {
public:
  using owner::owner;
  sender share() const { // one more hold
    isolua_sender_retain(get());
    return sender(get());
  }
  inline void send(message &&m, std::int64_t timeout = ISOLUA_FOREVER) const;
};

// A value of a message or future, which must outlive it. What is not there reads as nothing.
class value {
public:
  explicit value(const isolua_value *v) : v(v) {}
  int type() const { return isolua_value_type(v); }
  bool boolean() const { return isolua_value_boolean(v) != 0; }
  long long integer() const { return isolua_value_integer(v); }
  double number() const { return isolua_value_number(v); }
  std::string_view string() const {
    std::size_t n = 0;
    const char *s = isolua_value_string(v, &n);
    return s != nullptr ? std::string_view(s, n) : std::string_view();
  }
  std::size_t length() const { return isolua_value_length(v); }
  value at(long long i) const { return value(isolua_value_at(v, i)); }
  value get(const char *key) const { return value(isolua_value_get(v, key)); }
  isolua::sender sender() const { return isolua::sender(isolua_value_sender(v)); }
  isolua::block block(std::size_t *offset = nullptr) const {
    return isolua::block(isolua_value_block(v, offset));
  }

private:
  const isolua_value *v;
};

// message().map().add("x").add(1).end(): what could not be added is told by what sends it.
class message : public owner<isolua_message, isolua_message_free> {
public:
  using owner::owner;
  message() : owner(make()) {}
  template <class T> std::enable_if_t<std::is_arithmetic_v<T>, message &> add(T n) {
    if constexpr (std::is_same_v<T, bool>)
      isolua_add_boolean(get(), n);
    else if constexpr (std::is_integral_v<T>)
      isolua_add_integer(get(), static_cast<long long>(n));
    else
      isolua_add_number(get(), static_cast<double>(n));
    return *this;
  }
  message &add(std::string_view s) { return isolua_add_bytes(get(), s.data(), s.size()), *this; }
  message &add(std::nullptr_t) { return isolua_add_nil(get()), *this; }
  message &add(const sender &s) { return isolua_add_sender(get(), s.get()), *this; }
  message &add(block &&b) { // is moved
    return isolua_add_block(get(), b.give()), *this;
  }
  message &list(std::size_t size = 0) { return isolua_add_list(get(), size), *this; }
  message &map(std::size_t size = 0) { return isolua_add_map(get(), size), *this; }
  message &end() { return isolua_add_end(get()), *this; }
  isolua::value value(int index = 1) const {
    return isolua::value(isolua_message_value(get(), index));
  }

private:
  static isolua_message *make() {
    isolua_message *m = nullptr;
    check(isolua_message_new(&m));
    return m;
  }
};

// After an exception the message is still the caller's.
inline void sender::send(message &&m, std::int64_t timeout) const {
  check(isolua_send(get(), m.get(), timeout));
  m.give();
}

// Waits for the end. false: it has not come. Throws the error that it is, if it is one.
inline bool wait(isolua_future *f, std::int64_t timeout) {
  int code = isolua_future_wait(f, timeout);
  if (code == ISOLUA_TIMEOUT) { // of the wait, or its own
    if (!isolua_future_done(f)) return false;
    code = isolua_future_wait(f, 0);
  }
  if (code == ISOLUA_OK) return true;
  throw error(code, isolua_future_message(f), isolua_future_traceback(f));
}

class future : public owner<isolua_future, isolua_future_release> {
public:
  using owner::owner;
  bool wait(std::int64_t timeout = ISOLUA_FOREVER) const { return isolua::wait(get(), timeout); }
  bool cancel(const char *reason = nullptr) const {
    return isolua_future_cancel(get(), reason) != 0;
  }
  isolua::value value(int index = 1) const {
    return isolua::value(isolua_future_value(get(), index));
  }
};

class isolate : public owner<isolua_isolate, isolua_isolate_release> {
public:
  using owner::owner;
  void send(message &&m, std::int64_t timeout = ISOLUA_FOREVER) const {
    check(isolua_send(isolua_isolate_sender(get()), m.get(), timeout));
    m.give();
  }
  bool wait(std::int64_t timeout = ISOLUA_FOREVER) const {
    return isolua::wait(isolua_isolate_future(get()), timeout);
  }
  void kill(std::int64_t grace = 0) const { check(isolua_isolate_kill(get(), grace, 0)); }
};

// Structs with their size set.
struct options : isolua_options {
  options() : isolua_options() { isolua_options::size = sizeof(isolua_options); }
};
struct host_options : isolua_host_options {
  host_options() : isolua_host_options() {
    isolua_host_options::size = sizeof(isolua_host_options);
  }
};

inline void close_host(isolua_host *h) {
  isolua_host_close(h, ISOLUA_SECOND);
}

// Destroy it after all that came from it, but for futures.
class host : public owner<isolua_host, close_host> {
public:
  explicit host(const host_options &o = host_options()) : owner(make(o)) {}
  future run(const char *source, options o = options(), message args = message()) const {
    isolua_future *f = nullptr;
    o.args = args.give();
    check(isolua_run_string(get(), &o, source, &f));
    return future(f);
  }
  isolate spawn(const char *source, options o = options(), message args = message()) const {
    isolua_isolate *i = nullptr;
    o.args = args.give();
    check(isolua_spawn_string(get(), &o, source, &i));
    return isolate(i);
  }
  bool pump(long long items = -1, std::int64_t ns = -1) const {
    return isolua_pump(get(), items, ns) != 0;
  }

private:
  static isolua_host *make(const host_options &o) {
    isolua_host *h = nullptr;
    check(isolua_host_open(&o, &h));
    return h;
  }
};

class receiver : public owner<isolua_receiver, isolua_receiver_close> {
  using function = std::function<void(std::optional<message>)>;

public:
  // first: a sender of it.
  receiver(const host &h, sender &first, const char *name = nullptr, std::size_t capacity = 0)
      : owner(make(h, first, name, capacity)) {}
  receiver(receiver &&) = default;
  receiver &operator=(receiver &&other) noexcept { // closed before its function goes
    static_cast<owner &>(*this) = std::move(other);
    called = std::move(other.called);
    return *this;
  }
  ~receiver() { isolua_receiver_close(give()); }
  // Nothing: the time was over, or none will come any more.
  std::optional<message> receive(std::int64_t timeout = ISOLUA_FOREVER) const {
    isolua_message *m = nullptr;
    int code = isolua_receive(get(), timeout, &m);
    if (code == ISOLUA_TIMEOUT || code == ISOLUA_CLOSED) return std::nullopt;
    check(code);
    return message(m);
  }
  // Once: f is called by host::pump with each message, and with nothing at the end. It must not
  // throw: C code calls it.
  void on_message(function f) {
    if (called != nullptr) throw error(ISOLUA_INVALID, nullptr);
    called = std::make_unique<function>(std::move(f));
    check(isolua_receiver_on_message(get(), call, called.get()));
  }

private:
  static isolua_receiver *make(const host &h, sender &first, const char *name, std::size_t size) {
    isolua_receiver *r = nullptr;
    isolua_sender *s = nullptr;
    check(isolua_receiver_new(h.get(), name, size, &r, &s));
    first = sender(s);
    return r;
  }
  static void call(void *ud, isolua_receiver *, isolua_message *m) noexcept {
    (*static_cast<function *>(ud))(m != nullptr ? std::optional<message>(message(m))
                                                : std::nullopt);
  }
  std::unique_ptr<function> called; // has one address, also when the receiver is moved
};

} // namespace isolua
