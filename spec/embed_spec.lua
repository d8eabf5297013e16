-- embed_spec.lua - the installed C library, as a program finds and uses it.
-- SPDX-License-Identifier: MIT

local lua = require "spec.support.lua"
local shell = require "spec.support.shell"

local quote = shell.quote

-- What examples/embed/hello.c prints.
local HELLO = [[
results: 5
  integer: 10
  float: 12.5
  string of 27 bytes: 1 4 9 16 25 36 49 64 81 100
  boolean: 1
  a table is for Lua: 1
error: code error: house:2: no such door: front
house:2: no such door: front
stack traceback:
	[C]: in function 'error'
	house:2: in local 'open'
	house:4: in main chunk
	[C]: in ?
over its time: timeout
out of memory: memory
still running: 1
cancel: code cancelled: no longer needed
closed: all isolates ended
]]

-- Runs a command that must end well, and gives what it prints.
local function output(command, options)
  local result = shell.run(command, options)
  assert.equal(0, result.status, command .. "\n" .. result.stdout .. result.stderr)
  return result.stdout
end

-- The set of names that a shared library exports.
local function exports(library)
  local names = {}
  for line in output("nm -D -P --defined-only " .. quote(library)):gmatch "[^\n]+" do
    names[line:match "^%S+"] = true
  end
  return names
end

if os.getenv "ISOLUA_SANITIZER" then
  pending "the library is built with a sanitizer"
  return
end

describe("the installed C library", function()
  local directory, prefix

  -- The settings of the make that runs the tests come by the environment.
  lazy_setup(function()
    directory = output("mktemp -d"):gsub("%s+$", "")
    prefix = directory .. "/prefix"
    output(("make -s --no-print-directory install PREFIX=%s DESTDIR="):format(quote(prefix)),
      { cwd = lua.root })
    -- A second folder without the shared library, so that the linker takes the static one.
    output(("mkdir %s/static && cp %s/lib/libisolua.a %s/static"):format(
      directory, quote(prefix), directory))
  end)

  lazy_teardown(function()
    if directory then os.execute("rm -rf " .. quote(directory)) end
  end)

  local function pkg_config(words)
    return output(("%s %s isolua"):format(os.getenv "PKG_CONFIG" or "pkg-config", words),
      { env = { "PKG_CONFIG_PATH=" .. prefix .. "/lib/pkgconfig" } }):gsub("%s+$", "")
  end

  -- Builds hello.c by a compiler with its options, and gives the path of the program.
  local function build(name, compiler, words)
    local program = directory .. "/" .. name
    local flags, libs = pkg_config "--cflags", pkg_config(words)
    local said = output(("%s -Wall -Wextra -Werror %s %s %s -o %s 2>&1"):format(compiler, flags,
      quote(lua.root .. "/examples/embed/hello.c"), libs, quote(program)))
    assert.equal("", said)
    return program
  end

  local function check_hello(program, env)
    local result = shell.run(quote(program), { env = env })
    assert.equal("", result.stderr)
    assert.equal(HELLO, result.stdout)
    assert.equal(0, result.status)
  end

  local function needs_library(program)
    return output("readelf -d " .. quote(program)):match "NEEDED[^\n]*libisolua%.so[%d.]*" ~= nil
  end

  local languages = {
    { name = "C", compiler = (os.getenv "CC" or "cc") .. " -std=c11" },
    { name = "C++", compiler = (os.getenv "CXX" or "c++") .. " -x c++ -std=c++17" },
  }

  for i, language in ipairs(languages) do
    it("is used shared, from " .. language.name, function()
      local program = build("shared" .. i, language.compiler, "--libs")
      assert.is_true(needs_library(program))
      check_hello(program, { "LD_LIBRARY_PATH=" .. prefix .. "/lib" })
    end)

    it("is used static, from " .. language.name, function()
      local program = build("static" .. i, language.compiler,
        ("--static --define-variable=libdir=%s/static --libs"):format(directory))
      assert.is_false(needs_library(program))
      check_hello(program)
    end)
  end

  it("is found by its version", function()
    local version = pkg_config "--modversion"
    assert.matches("^%d+%.%d+%.%d+$", version)
    local header = shell.read(prefix .. "/include/isolua.h")
    for part in version:gmatch "%d+" do
      assert.matches("#define ISOLUA_VERSION_%u+ " .. part .. "\n", header)
    end
    local file = output("readlink -f " .. quote(prefix .. "/lib/libisolua.so"))
    assert.equal("libisolua.so." .. version .. "\n", file:match "[^/]*$")
  end)

  it("exports its own names only", function()
    for name in pairs(exports(prefix .. "/lib/libisolua.so")) do
      assert.is_true(name:match "^isolua_" ~= nil or name:match "^luaopen_isolate" ~= nil, name)
    end
  end)

  it("exports every function of its headers", function()
    local exported, count = exports(prefix .. "/lib/libisolua.so"), 0
    for _, header in ipairs { "isolua.h", "isolua_lua.h" } do
      local text = shell.read(prefix .. "/include/" .. header)
      for name in text:gmatch "\nISOLUA_API [^(;]-([%w_]+)%(" do
        assert.is_true(exported[name], name .. " of " .. header .. " is not exported")
        count = count + 1
      end
    end
    assert.is_true(count > 30)
  end)

  it("has headers that compile on their own, in C and in C++", function()
    local flags = pkg_config "--cflags"
    for _, language in ipairs(languages) do
      for _, header in ipairs { "isolua.h", "isolua_lua.h" } do
        local source = shell.write("#include <" .. header .. ">\n", directory .. "/header.c")
        assert.equal("", output(("%s -Wall -Wextra -Wpedantic -Werror %s -fsyntax-only %s 2>&1")
          :format(language.compiler, flags, quote(source))))
      end
    end
  end)
end)
