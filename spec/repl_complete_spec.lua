-- repl_complete_spec.lua - what a word at the prompt could become.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"
local chunk = require "isolate.repl.chunk"
local complete = require "isolate.repl.complete"
local shell = require "spec.support.shell"

local env, session
local COMMANDS = { names = { ":help", ":kill", ":time", ":load" }, arguments = {
  [":load"] = "file", [":time"] = "code",
  [":kill"] = function(prefix, found) found[prefix .. "!"] = true end } }

-- The words at the `|` of a line, or at its end; what they replace comes first.
local function words(line)
  local cursor = line:find("|", 1, true) or #line + 1
  line = line:gsub("|", "", 1)
  local from, list = complete.find(line, cursor, session, COMMANDS)
  table.insert(list, 1, line:sub(from, cursor - 1))
  return list
end

local function define(source)
  local fn = assert(session:load(source))
  fn()
end

describe("isolate.repl.complete", function()
  before_each(function()
    env = { print = print, printf = 1, string = string, t = { alpha = 1, beta = { gamma = 2 },
      ["not a name"] = 3, ["end"] = 4, call = print, [1] = 5 } }
    session = chunk.new(env)
  end)

  it("finds globals, kept locals and reserved words", function()
    define "local primes, other = {}, 1"
    assert.same({ "pri", "primes", "print", "printf" }, words "pri")
    assert.same({ "re", "repeat", "return" }, words "x = re")
    assert.same({ "printf", "printf" }, words "printf")
    assert.same({ "zzz" }, words "zzz")
    assert.same({ "pri", "primes", "print", "printf" }, words "f(pri|, 2)")
  end)

  it("finds fields, also of fields, but no names that could not be written so", function()
    assert.same({ "", "alpha", "beta", "call" }, words "t.")
    assert.same({ "al", "alpha" }, words "x = #t.al")
    assert.same({ "", "gamma" }, words "t.beta.")
    assert.same({ "" }, words "t.none.")
    assert.same({ "" }, words "f().")
    assert.same({ "g", "gamma" }, words "t . beta . g")
  end)

  it("finds methods: functions alone, after a colon", function()
    assert.same({ "", "call" }, words "t:")
    assert.same({ "for", "format" }, words "('x'):rep(2) .. string.for")
    assert.same({ "rep", "rep" }, words "'text':rep")
  end)

  it("follows __index through tables, also when they form a cycle", function()
    local base = { inherited = print, own = 1 }
    env.o = setmetatable({ mine = print }, { __index = base })
    setmetatable(base, { __index = env.o })
    assert.same({ "", "inherited", "mine" }, words "o:")
    assert.same({ "", "inherited", "mine", "own" }, words "o.")
  end)

  it("calls no metamethod", function()
    local function never() error "called" end
    env.o = setmetatable({ a = 1 }, { __index = never, __pairs = never, __len = never })
    assert.same({ "", "a" }, words "o.")
    assert.same({ "" }, words "o.b.")
  end)

  it("knows the methods of this library's handles", function()
    env.future, env.tx = isolate.async(print), select(2, isolate.port())
    env.ch = isolate.channel()
    assert.same({ "aw", "await" }, words "future:aw")
    assert.same({ "", "close", "send", "try_send" }, words "tx:")
    assert.same({ "s", "send" }, words "ch:s")
    assert.same({ "receive", "receive", "receive_many" }, words "ch:receive")
  end)

  it("finds modules in require", function()
    package.preload["preloaded.by.spec"] = print
    assert.same({ "preloaded.", "preloaded.by.spec" }, words 'require "preloaded.')
    package.preload["preloaded.by.spec"] = nil
    assert.same({ "isolate.cq", "isolate.cqueues" }, words "require('isolate.cq")
    assert.same({ "lpe", "lpeg" }, words "require [[lpe")
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir -p " .. dir .. "/pack/age")
    shell.write("", dir .. "/pack/inner.lua")
    shell.write("", dir .. "/plain.lua")
    local path = package.path
    package.path = dir .. "/?.lua"
    assert.same({ "pack.in", "pack.inner" }, words 'require "pack.in')
    assert.same({ "plai", "plain" }, words 'require "plai')
    package.path = path
    os.execute("rm -r " .. dir)
  end)

  it("finds files where a file is named", function()
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir -p " .. dir .. "/sub")
    shell.write("", dir .. "/some file.lua")
    shell.write("", dir .. "/.hidden")
    local some = dir .. "/some file.lua"
    for _, before in ipairs { 'dofile "', "loadfile('", "io.open [[", 'io.lines "', ":load " } do
      assert.same({ dir .. "/some", some }, words(before .. dir .. "/some"))
    end
    assert.same({ dir .. "/", some, dir .. "/sub/" }, words('dofile "' .. dir .. "/"))
    assert.same({ dir .. "/none" }, words('dofile "' .. dir .. "/none"))
    os.execute("rm -r " .. dir)
  end)

  it("finds nothing within other strings, comments and numbers", function()
    assert.same({ "pri" }, words "x = 'pri")
    assert.same({ "pri" }, words "x = [[pri")
    assert.same({ "" }, words "-- pri")
    assert.same({ "" }, words "--[[ pri")
    assert.same({ "" }, words "x = 12")
    assert.same({ "pri", "print", "printf" }, words "x = 'a' .. pri")
  end)

  it("finds commands and what they take", function()
    assert.same({ ":", ":help", ":kill", ":load", ":time" }, words ":")
    assert.same({ ":he", ":help" }, words ":he")
    assert.same({ "4", "4!" }, words ":kill 4")
    assert.same({ "pri", "print", "printf" }, words ":time pri")
    assert.same({ "al", "alpha" }, words ":time t.al")
    assert.same({ "" }, words "::label::")
  end)

  it("takes its time for no table", function()
    local big = {}
    for i = 1, 1000000 do big["k" .. i] = i end
    env.big = big
    local began = os.clock()
    words "big.k1"
    assert.is_true(os.clock() - began < 0.05, os.clock() - began)
  end)
end)
