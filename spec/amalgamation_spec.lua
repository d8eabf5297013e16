-- amalgamation_spec.lua - the library as one C file.
-- SPDX-License-Identifier: MIT

local library = require "spec.support.library"
local lua = require "spec.support.lua"
local shell = require "spec.support.shell"

local output, quote = library.output, shell.quote

if os.getenv "ISOLUA_SANITIZER" then
  pending "the library is built with a sanitizer"
  return
elseif lua.is_host then
  pending "the same under stock Lua"
  return
end

-- What uses an isolate of an isolate, and a script of the library.
local NESTED = [[
#include <stdio.h>

#include "isolua.h"

int main(void) {
  static const char source[] =
    "local isolate = require 'isolate'\n"
    "local pool = isolate.pool(2)\n"
    "local squares = pool:map(function(x) return x * x end, { 1, 2, 3 })\n"
    "return isolate.run(function(t) return table.concat(t, ' ') end, squares):await()";
  isolua_host *host;
  isolua_future *future;
  if (isolua_host_open(NULL, &host) != ISOLUA_OK) return 1;
  if (isolua_run_string(host, NULL, source, &future) != ISOLUA_OK) return 1;
  if (isolua_future_wait(future, ISOLUA_FOREVER) == ISOLUA_OK)
    printf("%s\n", isolua_future_string(future, 1, NULL));
  else
    printf("%s\n", isolua_future_message(future));
  isolua_future_release(future);
  return isolua_host_close(host, ISOLUA_SECOND);
}
]]

local function there(command)
  return os.execute("command -v " .. command .. " >/dev/null") == true
end

describe("make amalgamation", function()
  local directory, made, flags, libs

  lazy_setup(function()
    directory = output("mktemp -d"):gsub("%s+$", "")
    made = directory .. "/build/amalgamation"
    output(("make -s --no-print-directory BUILD=%s/build amalgamation"):format(directory),
      { cwd = lua.root })
    local pkg_config = os.getenv "PKG_CONFIG" or "pkg-config"
    local lua_pc = os.getenv "LUA_PC" or "lua5.4"
    flags = output(("%s --cflags %s"):format(pkg_config, lua_pc)):gsub("%s+$", "")
    libs = output(("%s --libs %s"):format(pkg_config, lua_pc)):gsub("%s+$", "")
    -- The one file alone.
    output(("mkdir %s/alone && cp %s/isolua.c %s/alone"):format(directory, made, directory))
  end)

  lazy_teardown(function()
    if directory then os.execute("rm -rf " .. quote(directory)) end
  end)

  -- In the folder `where` below the temporary one; the compiler says nothing.
  local function compile(where, words)
    assert.equal("", output(words .. " 2>&1", { cwd = directory .. "/" .. where, limit = 300 }))
  end

  it("writes three files: the source, and the public headers as they are", function()
    assert.equal("isolua.c\nisolua.h\nisolua_lua.h\n", output("LC_ALL=C ls " .. quote(made)))
    for _, header in ipairs(library.headers) do
      assert.equal(shell.read(lua.root .. "/host/" .. header), shell.read(made .. "/" .. header))
    end
  end)

  it("begins with the version and the licence", function()
    local text = shell.read(made .. "/isolua.c")
    local header = shell.read(lua.root .. "/host/isolua.h")
    local version = {}
    for part in header:gmatch "#define ISOLUA_VERSION_%u+ (%d+)\n" do
      version[#version + 1] = part
    end
    assert.matches("isolua " .. table.concat(version, "."), text:match "^[^\n]*", 1, true)
    assert.equal("/* SPDX-License-Identifier: MIT */", text:match "^[^\n]*\n([^\n]*)")
    assert.matches(shell.read(lua.root .. "/LICENSE"):match "Copyright[^\n]*", text, 1, true)
  end)

  it("writes the same again, and names no folder of this machine", function()
    output(("make -s --no-print-directory BUILD=%s/again amalgamation"):format(directory),
      { cwd = lua.root })
    output(("cmp %s/isolua.c %s/again/amalgamation/isolua.c"):format(made, directory))
    local text = shell.read(made .. "/isolua.c")
    assert.is_nil(text:find(directory, 1, true))
    assert.is_nil(text:find(lua.root .. "/", 1, true))
  end)

  for _, compiler in ipairs { os.getenv "CC" or "cc", "clang" } do
    it("gives a source that " .. compiler .. " compiles alone, without a warning", function()
      if not there(compiler) then return pending("no " .. compiler) end
      compile("alone", ("%s -Wall -Wextra -Werror -O2 -c isolua.c %s"):format(compiler, flags))
      for _, name in ipairs(library.symbols(directory .. "/alone/isolua.o")) do
        assert.is_true(name:find "^isolua_" ~= nil or name:find "^il_" ~= nil
          or name:find "^luaopen_isolate" ~= nil, name)
      end
    end)
  end

  it("gives a program together with the example, by one command", function()
    compile("build/amalgamation", ("%s -I. %s isolua.c %s %s -lpthread -lm -o %s/hello"):format(
      os.getenv "CC" or "cc", quote(lua.root .. "/examples/embed/hello.c"), flags, libs, directory))
    library.check_hello(directory .. "/hello")
  end)

  it("has the module inside, for isolates of isolates", function()
    shell.write(NESTED, directory .. "/nested.c")
    compile("build/amalgamation", ("%s -I. %s/nested.c isolua.c %s %s -lpthread -lm -o %s/nested")
      :format(os.getenv "CC" or "cc", directory, flags, libs, directory))
    assert.equal("1 4 9\n", output(directory .. "/nested"))
  end)

  it("exports the functions of the headers alone from a shared object", function()
    for i, hidden in ipairs { "-fvisibility=hidden", "" } do
      compile("alone", ("%s -shared -fPIC %s isolua.c %s -o %d.so"):format(os.getenv "CC" or "cc",
        hidden, flags, i))
      assert.same(library.api(made), library.symbols(("%s/alone/%d.so"):format(directory, i)))
    end
  end)

  for _, language in ipairs(library.languages) do
    it("gives headers that compile on their own as " .. language.name, function()
      if not there(language.compiler:match "^%S+") then return pending "no compiler" end
      library.check_headers(made, language, flags)
    end)
  end
end)
