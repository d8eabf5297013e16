-- embed_examples_spec.lua - the programs in examples/embed: compiled, run, and what they print.
-- SPDX-License-Identifier: MIT

local library = require "spec.support.library"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local output, quote = library.output, shell.quote

describe("examples/embed", function()
  local directory, build

  lazy_setup(function()
    directory = output("mktemp -d"):gsub("%s+$", "")
    build = os.getenv "ISOLUA_BUILD" or lua.root .. "/build"
  end)

  lazy_teardown(function()
    if directory then os.execute("rm -rf " .. quote(directory)) end
  end)

  -- The program's path, compiled without a warning against the library of the build tree.
  local function compile(name)
    local program = directory .. "/" .. name
    local flags = output(("%s --cflags --libs isolua %s"):format(
      os.getenv "PKG_CONFIG" or "pkg-config", os.getenv "LUA_PC" or "lua5.4"),
      { env = { "PKG_CONFIG_PATH=" .. build .. "/lib/pkgconfig" } }):gsub("%s+$", "")
    local said = output(("%s -std=gnu11 -Wall -Wextra -Werror %s/examples/embed/%s.c %s"
      .. " -lpthread -o %s 2>&1"):format(os.getenv "CC" or "cc", quote(lua.root), name, flags,
      quote(program)))
    assert.equal("", said)
    return program
  end

  local function run(name, input)
    local program = compile(name)
    shell.write(input or "", directory .. "/input")
    return output("sh -c " .. quote(("cat %s/input | %s 2>&1"):format(directory, program)),
      { env = { "LD_LIBRARY_PATH=" .. build .. "/lib" } })
  end

  -- The library of a sanitizer's build needs that in the program, too.
  local test = settle.sanitized and pending or it

  test("native_port.c streams samples from a thread to Lua", function()
    local expected = {}
    for i = 1, 5 do expected[i] = ("block %d: mean %.4f\n"):format(i, i - 1 + 0.4995) end
    assert.equal(table.concat(expected), run "native_port")
  end)

  test("attach.c makes an isolate of a state", function()
    assert.equal("level: loading\nlevel: room 1, room 2, room 3\n", run "attach")
  end)

  test("sandbox.c stops what it is to stop, and says by what", function()
    local lines = {}
    for line in run "sandbox":gmatch "[^\n]+" do lines[#lines + 1] = line end
    local expected = { "^a good one: 5050$", "^never ends: stopped %(timeout%): ",
      "^catches all: stopped %(timeout%): ", "^takes all memory: stopped %(memory%): ",
      "^reads a file: stopped %(error%): .*global 'io'",
      "^runs a program: stopped %(error%): .*global 'os'",
      "^loads bytecode: stopped %(error%): .*binary chunk",
      "^loads a C library: stopped %(error%): .*not found",
      "^looks around: stopped %(error%): .*global 'debug'" }
    assert.equal(#expected, #lines)
    for i, pattern in ipairs(expected) do assert.matches(pattern, lines[i]) end
  end)

  test("epoll.c serves a pipe and the isolates in one loop", function()
    local got = {}
    for line in run("epoll", "1\n2\n3\nx\n5\n"):gmatch "[^\n]+" do got[#got + 1] = line end
    table.sort(got)
    assert.same({ "1", "25", "4", "9", "no number: x" }, got)
  end)
end)
