-- embed_game_spec.lua - the game and the C++ wrapper of examples/embed, on the tree's library.
-- SPDX-License-Identifier: MIT

local library = require "spec.support.library"
local lua = require "spec.support.lua"
local shell = require "spec.support.shell"

local output, quote = library.output, shell.quote
local sanitizer = os.getenv "ISOLUA_SANITIZER"

-- What a program of a library that is built with a sanitizer is built with, too.
local SANITIZE = {
  asan = "-fsanitize=address -fno-omit-frame-pointer",
  tsan = "-fsanitize=thread -fno-omit-frame-pointer",
  ubsan = "-fsanitize=undefined -fno-omit-frame-pointer",
}

local WARNINGS = "-Wall -Wextra -Werror"
local WIDTH, HEIGHT = 640, 480

-- What the library may take of a frame, milliseconds: twice the budget that the game gives it.
local LATE = 4

-- Runs: in most of them the machine may have had something else to do than the game.
local TRIES = 8

local build = os.getenv "ISOLUA_BUILD"
if not build then
  pending "needs `make test`"
  return
end

local function is_there(command)
  return shell.run("sh -c " .. quote("command -v " .. command)).status == 0
end

local pkg_config = os.getenv "PKG_CONFIG" or "pkg-config"

local directory

-- Compiles an example and gives the path of the program.
local function compile(compiler, example, packages)
  local flags = output(("%s --cflags --libs %s"):format(pkg_config, packages),
    { env = { "PKG_CONFIG_PATH=" .. build .. "/lib/pkgconfig" } }):gsub("%s+$", "")
  local program = os.tmpname()
  os.remove(program)
  program = directory .. "/" .. program:match "[^/]*$"
  assert.equal("", output(("%s %s %s %s %s -o %s 2>&1"):format(compiler, WARNINGS,
    SANITIZE[sanitizer] or "", quote(lua.root .. "/examples/embed/" .. example), flags,
    quote(program))))
  return program
end

local function run(program, arguments)
  return shell.run(quote(program) .. " " .. (arguments or ""),
    { env = { "LD_LIBRARY_PATH=" .. build .. "/lib", "SDL_VIDEODRIVER=dummy" } })
end

setup(function()
  directory = output("mktemp -d"):gsub("%s+$", "")
end)

teardown(function()
  if directory then os.execute("rm -rf " .. quote(directory)) end
end)

describe("examples/embed/game.c", function()
  if shell.run(pkg_config .. " --exists sdl2").status ~= 0 then
    return pending "there is no SDL2"
  end

  local program, picture, told, play

  lazy_setup(function()
    program = compile((os.getenv "CC" or "cc") .. " -std=c11", "game.c", "isolua sdl2")
    picture = directory .. "/frame.bmp"
    told = play()
  end)

  -- Plays the script and gives what the game says of it.
  function play()
    local result = run(program, "--script --frames 240 --picture " .. quote(picture))
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
    local values = {}
    for name, value in result.stdout:gmatch "([^\n]+): ([%d.]+)[^\n]*\n" do
      values[name] = tonumber(value)
    end
    return values
  end

  for _, compiler in ipairs { "gcc", "clang" } do
    it("compiles without a warning by " .. compiler, function()
      if not is_there(compiler) then return pending("there is no " .. compiler) end
      if sanitizer then return pending "it is compiled for the sanitizer" end
      compile(compiler .. " -std=c11", "game.c", "isolua sdl2")
    end)
  end

  it("gets its terrain, outlives mods that hang or fail, and wakes up in its pause", function()
    assert.equal(240, told["frames"])
    assert.is_true(told["chunks received"] >= 20)
    assert.equal(1, told["mods killed"])
    assert.equal(1, told["mods failed"])
    assert.is_true(told["woken in the pause"] >= 1)
  end)

  it("has no frame that is late because of the library", function()
    if sanitizer then return pending "sanitizers take their time" end
    local name = "longest time of the library in a frame"
    local longest = told[name]
    for _ = 2, TRIES do
      if longest <= LATE then break end
      longest = play()[name]
    end
    assert.is_true(longest <= LATE, longest .. " ms")
  end)

  it("saves its last frame", function()
    local bmp = shell.read(picture)
    local first, width, height, depth = string.unpack("<I4 xxxx i4 i4 xx I2", bmp, 11)
    assert.equal("BM", bmp:sub(1, 2))
    assert.equal(#bmp, (string.unpack("<I4", bmp, 3)))
    assert.same({ WIDTH, HEIGHT }, { width, math.abs(height) })
    local size, colours, count = depth // 8, {}, 0
    for at = first + 1, first + WIDTH * HEIGHT * size, size do
      local colour = bmp:sub(at, at + size - 1)
      if not colours[colour] then
        colours[colour] = true
        count = count + 1
      end
    end
    assert.is_true(count > 3, count .. " colours")
  end)

  it("tells how it is used", function()
    local result = run(program, "--what")
    assert.equal("usage: game [--frames N] [--picture FILE.bmp] [--script]\n", result.stderr)
    assert.equal(2, result.status)
  end)
end)

describe("examples/embed/isolua.hpp", function()
  local cxx = os.getenv "CXX" or "c++"
  if not is_there(cxx) then return pending "there is no C++ compiler" end

  it("runs isolates, throws their errors, and moves messages and blocks", function()
    local result = run(compile(cxx .. " -std=c++17 -Wpedantic", "hello.cpp", "isolua"))
    assert.equal("", result.stderr)
    assert.equal([[
results: 42, a list of 3: 6 0.5 text
error: error: (isolua):1: no such door
error: timeout: isolate '(isolua)' ran over its time and was killed
error: error: (isolua):1: unexpected symbol near '='
port: sum 11
port: sum 22
port: sum 33
port: none will come
block: 1000 bytes, 42
pump: 1
pump: 4
pump: 9
left: 0
]], result.stdout)
    assert.equal(0, result.status)
  end)
end)
