-- embed_spec.lua - the installed C library, as a program finds and uses it.
-- SPDX-License-Identifier: MIT

local library = require "spec.support.library"
local lua = require "spec.support.lua"
local shell = require "spec.support.shell"

local check_hello, output, quote = library.check_hello, library.output, shell.quote

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

  local function needs_library(program)
    return output("readelf -d " .. quote(program)):match "NEEDED[^\n]*libisolua%.so[%d.]*" ~= nil
  end

  for i, language in ipairs(library.languages) do
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

  for _, file in ipairs { "libisolua.so", "libisolua.a" } do
    it("has in " .. file .. " exactly the functions of its headers", function()
      local api = library.api(prefix .. "/include")
      assert.is_true(#api > 100)
      assert.same(api, library.symbols(prefix .. "/lib/" .. file))
    end)
  end

  it("has headers that compile on their own, in C and in C++", function()
    for _, language in ipairs(library.languages) do
      library.check_headers(prefix .. "/include", language, pkg_config "--cflags")
    end
  end)
end)

describe("pkg-config --static", function()
  local directory

  lazy_setup(function()
    directory = output("mktemp -d"):gsub("%s+$", "")
  end)

  lazy_teardown(function()
    if directory then os.execute("rm -rf " .. quote(directory)) end
  end)

  -- Has this machine static libraries of C and of Lua?
  local function is_possible()
    local source = shell.write("int main(void) { return 0; }\n", directory .. "/empty.c")
    return shell.run(("sh -c %s"):format(quote(("%s -static %s $(%s --libs %s) -o %s/empty"):format(
      os.getenv "CC" or "cc", source, os.getenv "PKG_CONFIG" or "pkg-config",
      os.getenv "LUA_PC" or "lua5.4", directory)))).status == 0
  end

  -- A program without any shared library, by what pkg-config says with those words.
  local function check_static(pc, words)
    local program = directory .. "/hello"
    local flags = output(("%s --static --cflags --libs %s isolua"):format(
      os.getenv "PKG_CONFIG" or "pkg-config", words or ""), { env = { "PKG_CONFIG_PATH=" .. pc } })
    local said = output(("%s -static -Wall -Wextra -Werror %s %s -o %s 2>&1"):format(
      os.getenv "CC" or "cc", quote(lua.root .. "/examples/embed/hello.c"),
      flags:gsub("%s+$", ""), quote(program)))
    -- The C library says so of Lua's own `require`, too.
    for line in said:gmatch "[^\n]+" do
      assert.is_true(line:find ": in function" ~= nil or line:find "Using 'dlopen'" ~= nil, line)
    end
    assert.is_nil(output("readelf -d " .. quote(program)):find("NEEDED", 1, true))
    check_hello(program)
  end

  it("links the library of the build tree", function()
    local build = os.getenv "ISOLUA_BUILD"
    if not build then return pending "needs `make test`" end
    if not is_possible() then return pending "no static libraries" end
    check_static(build .. "/lib/pkgconfig")
  end)

  it("links the library that was installed below DESTDIR", function()
    if not is_possible() then return pending "no static libraries" end
    output(("make -s --no-print-directory install PREFIX=/opt/isolua DESTDIR=%s"):format(
      quote(directory)), { cwd = lua.root })
    local there = directory .. "/opt/isolua"
    check_static(there .. "/lib/pkgconfig", ("--define-variable=libdir=%s/lib "
      .. "--define-variable=includedir=%s/include"):format(there, there))
  end)
end)
