// hello.cpp - Lua isolates in a C++ program: results, errors, a native port, and a block.
// SPDX-License-Identifier: MIT

// c++ -std=c++17 hello.cpp $(pkg-config --cflags --libs isolua) -o hello

#include "isolua.hpp"

#include <iostream>

static constexpr std::int64_t MILLISECOND = ISOLUA_SECOND / 1000;

static void results(const isolua::host &host) {
  isolua::message args;
  args.add(6).add(0.5).add("text").add(true).add(nullptr);
  isolua::future f = host.run("local n, x, s = ...\n"
                              "return n * 7, {list = {n, x, s}}",
                              std::move(args));
  f.wait();
  isolua::value list = f.value(2).get("list");
  std::cout << "results: " << f.value(1).integer() << ", a list of " << list.length() << ": "
            << list.at(1).integer() << " " << list.at(2).number() << " " << list.at(3).string()
            << "\n";
}

static void errors(const isolua::host &host) {
  isolua_options options = {};
  options.timeout = 50 * MILLISECOND;
  for (const char *source : {"error 'no such door'", "while true do end", "return ="}) {
    try {
      host.run(source, isolua::message(), options).wait();
    } catch (const isolua::error &e) {
      std::cout << "error: " << isolua_code_name(e.code) << ": " << e.what() << "\n";
    }
  }
}

// An isolate that lives answers by a port until nobody can send to it.
static void port(const isolua::host &host) {
  isolua::sender sender;
  isolua::receiver receiver(host, sender);
  isolua::message args;
  args.add(sender);
  sender.reset();
  isolua::isolate isolate = host.spawn("local tx = ...\n"
                                       "for m in require 'isolate'.inbox():messages() do\n"
                                       "  tx:send {name = m.name, sum = m[1] + m[2]}\n"
                                       "end",
                                       std::move(args));
  for (int i = 1; i <= 3; i++) {
    isolua::message m;
    m.map().add("name").add("sum").add(1).add(i).add(2).add(10 * i).end();
    isolua::send(isolua_isolate_sender(isolate.get()), std::move(m));
    if (isolua::message answer = receiver.receive())
      std::cout << "port: " << answer.value().get("name").string() << " "
                << answer.value().get("sum").integer() << "\n";
  }
  isolate.reset();
  std::cout << "port: " << (receiver.receive() ? "one more" : "none will come") << "\n";
}

// The bytes go to Lua and come back; no copy is made of them.
static void blocks(const isolua::host &host) {
  isolua::block block(isolua::made<isolua_block>(isolua_block_new, 1000));
  isolua::message args;
  std::size_t size = 0;
  static_cast<unsigned char *>(isolua_block_data(block.get(), nullptr))[0] = 41;
  args.add(std::move(block));
  isolua::future f = host.run("local buf = ...\n"
                              "local bytes = buf:view 'u8'\n"
                              "bytes[1] = bytes[1] + 1\n"
                              "return require 'isolate'.transfer(buf)",
                              std::move(args));
  f.wait();
  isolua::block back(isolua_value_block(f.value().v, nullptr));
  int first = static_cast<unsigned char *>(isolua_block_data(back.get(), &size))[0];
  std::cout << "block: " << size << " bytes, " << first << "\n";
}

// What a program with a loop of its own does: the pump calls for each message.
static void pump(const isolua::host &host) {
  isolua::sender sender;
  isolua::receiver receiver(host, sender);
  isolua::message args;
  bool over = false;
  auto received = [](void *ud, isolua_receiver *, isolua_message *m) {
    isolua::message message(m);
    if (message)
      std::cout << "pump: " << message.value().integer() << "\n";
    else
      *static_cast<bool *>(ud) = true; // none will come any more
  };
  args.add(sender);
  sender.reset();
  isolua_receiver_on_message(receiver.get(), received, &over);
  isolua::isolate isolate = host.spawn("local tx = ...\n"
                                       "for i = 1, 3 do tx:send(i * i) end",
                                       std::move(args));
  while (!over) isolua_pump(host.get(), -1, MILLISECOND); // and draw a frame
}

int main() {
  try {
    isolua::host host;
    results(host);
    errors(host);
    port(host);
    blocks(host);
    pump(host);
  } catch (const isolua::error &e) {
    std::cerr << "hello: " << e.what() << "\n";
    return 1;
  }
  isolua_counts left;
  isolua_count(&left);
  std::cout << "left: " << left.isolates + left.futures + left.messages + left.ports << "\n";
  return 0;
}
