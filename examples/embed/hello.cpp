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
                              isolua::options(), std::move(args));
  f.wait();
  isolua::value list = f.value(2).get("list");
  std::cout << "results: " << f.value(1).integer() << ", a list of " << list.length() << ": "
            << list.at(1).integer() << " " << list.at(2).number() << " " << list.at(3).string()
            << "\n";
}

static void errors(const isolua::host &host) {
  isolua::options options;
  options.timeout = 50 * MILLISECOND;
  for (const char *source : {"error 'no such door'", "while true do end", "return ="}) {
    try {
      host.run(source, options).wait();
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
                                       isolua::options(), std::move(args));
  for (int i = 1; i <= 3; i++) {
    isolua::message m;
    m.map().add("name").add("sum").add(1).add(i).add(2).add(10 * i).end();
    isolua::send(isolua_isolate_sender(isolate.get()), std::move(m));
    if (std::optional<isolua::message> answer = receiver.receive())
      std::cout << "port: " << answer->value().get("name").string() << " "
                << answer->value().get("sum").integer() << "\n";
  }
  isolate.reset();
  std::cout << "port: " << (receiver.receive() ? "one more" : "none will come") << "\n";
}

// The bytes go to Lua and come back; no copy is made of them. The pump calls for each message.
static void blocks(const isolua::host &host) {
  isolua::sender sender;
  isolua::receiver receiver(host, sender);
  isolua::block block(1000);
  isolua::message args;
  bool over = false;
  block.data()[0] = 41;
  args.add(sender).add(std::move(block));
  sender.reset();
  receiver.on_message([&over](std::optional<isolua::message> m) {
    over = !m;
    if (over) return;
    isolua::block back = m->value().block();
    std::size_t size = 0;
    int first = back.data(&size)[0];
    std::cout << "block: " << size << " bytes, " << first << "\n";
  });
  isolua::future f = host.run("local tx, buf = ...\n"
                              "local bytes = buf:view 'u8'\n"
                              "bytes[1] = bytes[1] + 1\n"
                              "tx:send(require 'isolate'.transfer(buf))",
                              isolua::options(), std::move(args));
  f.wait();
  while (!over)
    isolua_pump(host.get(), -1, MILLISECOND); // a program would do something else between
}

int main() {
  try {
    isolua::host host;
    results(host);
    errors(host);
    port(host);
    blocks(host);
  } catch (const isolua::error &e) {
    std::cerr << "hello: " << e.what() << "\n";
    return 1;
  }
  isolua_counts left;
  isolua_count(&left);
  std::cout << "left: " << left.isolates + left.futures + left.messages + left.ports << "\n";
  return 0;
}
