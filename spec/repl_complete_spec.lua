-- repl_complete_spec.lua - what a word at the prompt could become.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"
local doc = require "isolate.repl.doc"
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

-- Seconds that a completion takes, when nothing comes in between: of the processor, or by the clock
-- if that is less, as it is where other threads of this process run.
local function seconds(line)
  local best = math.huge
  for _ = 1, 5 do
    local began, cpu = isolate.now(), os.clock()
    words(line)
    best = math.min(best, isolate.now() - began, os.clock() - cpu)
  end
  return best
end

-- A new directory, with those files in it.
local function directory(...)
  local dir = os.tmpname()
  os.remove(dir)
  for _, path in ipairs { ... } do
    os.execute("mkdir -p '" .. (dir .. "/" .. path):match "^(.*)/" .. "'")
    if path:sub(-1) ~= "/" then shell.write("", dir .. "/" .. path) end
  end
  return dir
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
    env.callable = { run = setmetatable({}, { __call = print }), not_run = {} }
    assert.same({ "", "run" }, words "callable:")
  end)

  it("finds what strings have, of literals and of variables", function()
    env.s, env.deep = "text", { s = "text" }
    for _, of in ipairs { "('x')", "([[x]])", "s", "(s)", "((s))", "deep.s", "deep['s']",
      "x = 1 .. s", "return (s)" } do
      assert.same({ "re", "rep", "reverse" }, words(of .. ":re"), of)
    end
    for _, of in ipairs { "f 'x'", "f('x')", "s:rep(3)", "f'x'", "f[[x]]", "(s .. s)", "(#s)",
      "3" } do
      assert.same({ "re" }, words(of .. ":re"), of)
    end
  end)

  it("finds fields behind brackets with a constant in them", function()
    env.list = { { one = 1 }, ["a b"] = { two = { 2 } } }
    assert.same({ "", "one" }, words "list[1].")
    assert.same({ "t", "two" }, words "list['a b'].t")
    assert.same({ "o", "one" }, words "(list[1]).o")
    for _, line in ipairs { "list[i].", "list[2].", "list['\\q'].", "list[3..2].", "list[].", "].",
      ").", "}.", "x[(.", "list[1 + 1]." } do
      assert.equal(1, #words(line), line)
    end
  end)

  it("finds the fields of a module behind its require", function()
    assert.same({ "fo", "format" }, words "require 'string'.fo")
    assert.same({ "fo", "format" }, words "(require('string')).fo")
    assert.same({ "fo" }, words "x.require 'string'.fo")
    assert.same({ "" }, words "require 'no such module'.")
  end)

  it("finds the globals of an _ENV that is kept", function()
    define "local _ENV = { primary = 1 }"
    assert.same({ "pri", "primary" }, words "pri")
    assert.same({ "pri", "primary" }, words "_ENV.pri")
  end)

  it("finds attributes and labels", function()
    for _, line in ipairs { "local x <", "local x, y <", "x = 1 local a <const>, b <" } do
      assert.same({ "c", "close", "const" }, words(line .. "c"), line)
    end
    assert.same({ "pri", "print", "printf" }, words "x = a <pri")
    assert.same({ "pri", "print", "printf" }, words "x, y <pri")
    assert.same({ "", "again", "here" }, words "::here:: ::again:: goto ")
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
    local called = false
    local function endless()
      called = true
      while true do coroutine.yield() end
    end
    env.co = setmetatable({ a = 1 }, { __index = coroutine.wrap(endless), __pairs = endless,
      __name = "isolate.future" })
    assert.same({ "", "a" }, words "co.")
    assert.same({ "" }, words "co.b.")
    local file = io.tmpfile()
    local before = debug.getmetatable(file)
    for _, name in ipairs { "isolate.future", "isolate.frozen" } do
      debug.setmetatable(file, { __name = name, __index = coroutine.wrap(endless),
        __pairs = coroutine.wrap(endless) })
      env.file = file
      assert.same({ "" }, words "file:")
      assert.same({ "" }, words "file.a.")
    end
    debug.setmetatable(file, before)
    file:close()
    assert.is_false(called)
  end)

  it("looks into the upvalues of an __index in C", function()
    local index = setmetatable({ found = print }, { __index = { below = print } })
    -- a function in C with a table for upvalue is what handles have
    local handle = isolate.after(0)
    local c_index = debug.getmetatable(handle).__index
    assert.equal("C", debug.getinfo(c_index, "S").what)
    local _, methods = debug.getupvalue(c_index, 1)
    debug.setupvalue(c_index, 1, index)
    env.o = setmetatable({ own = 1 }, { __index = c_index })
    local list, called = words "o:", words "o.own"
    debug.setupvalue(c_index, 1, methods)
    handle:cancel()
    assert.same({ "", "below", "found" }, list)
    assert.same({ "own", "own" }, called)
  end)

  it("knows the methods of this library's handles", function()
    env.future, env.tx = isolate.async(print), select(2, isolate.port())
    env.ch = isolate.channel()
    assert.same({ "aw", "await" }, words "future:aw")
    assert.same({ "", "close", "send", "try_send" }, words "tx:")
    assert.same({ "s", "send" }, words "ch:s")
    assert.same({ "receive", "receive", "receive_many" }, words "ch:receive")
  end)

  it("offers of a handle what it has, and all that the docs name", function()
    local rx, tx = isolate.port()
    local buffer = isolate.buffer "bytes"
    env = { receiver = rx, sender = tx, channel = isolate.channel(), future = isolate.async(print),
      buffer = buffer, view = buffer:view "u8", timer = isolate.after(0), isolate = isolate.self(),
      atomic = isolate.atomic(), pool = isolate.pool(1), scope = isolate.scope(),
      stream = isolate.stream_of { 1 }, supervisor = isolate.supervisor { children = {} } }
    session = chunk.new(env)
    for name, handle in pairs(env) do
      for _ = 1, math.random(64) do assert(handle.id ~= false) end -- one in use has a table
      for _, mark in ipairs { ":", "." } do
        local offered = {}
        for i, word in ipairs(words(name .. mark)) do
          if i > 1 then
            assert.is_true(handle[word] ~= nil, name .. mark .. word)
            offered[word] = true
          end
        end
        assert.is_truthy(next(offered), name)
        for _, method in ipairs(doc.methods(name)) do
          assert.equal(handle[method] ~= nil, offered[method] == true, name .. mark .. method)
        end
      end
    end
    assert.same({ "se", "send" }, words "isolate:se")
    assert.same({ "na", "name" }, words "isolate.na")
    assert.same({ "na" }, words "isolate:na")
    -- also when they are used much, and when they are closed
    for _ = 1, 200 do assert(tx.send) end
    assert.same({ "", "close", "send", "try_send" }, words "sender:")
    tx:close()
    assert.same({ "", "close", "send", "try_send" }, words "sender:")
    isolate.transfer(buffer)
    assert.same({ "res", "resize" }, words "buffer:res")
    env.scope:wait()
    env.pool:close()
  end)

  it("finds the functions of this library, also those that nobody has asked for", function()
    env.isolate = isolate
    assert.same({ "sp", "spawn", "spawn_file" }, words "isolate.sp")
    local offered = {}
    for _, word in ipairs(words "isolate.") do offered[word] = true end
    for name in pairs(isolate) do assert.is_true(offered[name], name) end
  end)

  it("finds the keys of frozen tables", function()
    env.frozen = isolate.freeze { config = { host = 1, port = 2, ["no name"] = 3 }, 1, 2, 3 }
    assert.same({ "", "config" }, words "frozen.")
    assert.same({ "", "host", "port" }, words "frozen.config.")
    assert.same({ "h", "host" }, words "(frozen['config']).h")
    assert.same({ "" }, words "frozen:")
  end)

  it("finds modules in require", function()
    package.preload["preloaded.by.spec"] = print
    assert.same({ "preloaded.", "preloaded.by.spec" }, words 'require "preloaded.')
    package.preload["preloaded.by.spec"] = nil
    assert.same({ "isolate.cq", "isolate.cqueues" }, words "require('isolate.cq")
    assert.same({ "isolate.", "isolate.cqueues", "isolate.luasocket", "isolate.luv" },
      words 'require "isolate.')
    assert.same({ "isolate.repl." }, words 'require "isolate.repl.')
    assert.same({ "lpe", "lpeg" }, words "require [[lpe")
    local dir = directory("pack/inner.lua", "pack/deep/er.lua", "pack/none/x.txt", "plain.lua",
      "full/init.lua", "empty/", "so/libfast.so", "so/libfastest/part.so", "not-lua.txt",
      "no.dot.lua")
    local path, cpath = package.path, package.cpath
    package.path = dir .. "/?.lua;" .. dir .. "/?/init.lua;" .. dir .. "/?.lua;/none/?.lua;x"
    package.cpath = dir .. "/so/lib?.so"
    local found = {}
    for _, prefix in ipairs { "pack.in", "plai", "pack.", "pack", "pack.deep.", "full", "empty",
      "fast", "fastest.", "not", "no", "no.", "'", "pla in", "/tmp" } do
      found[prefix] = table.concat(words('require "' .. prefix), " ")
    end
    package.path, package.cpath = path, cpath
    os.execute("rm -r " .. dir)
    assert.same({ ["pack.in"] = "pack.in pack.inner", plai = "plai plain",
      pack = "pack pack. package", ["pack."] = "pack. pack.deep. pack.inner",
      ["pack.deep."] = "pack.deep. pack.deep.er", full = "full full full.", empty = "empty",
      fast = "fast fast fastest.", ["fastest."] = "fastest. fastest.part", ["not"] = "not",
      no = "no", ["no."] = "no.", ["'"] = "'", ["pla in"] = "pla in", ["/tmp"] = "/tmp" }, found)
  end)

  it("finds files where a file is named", function()
    local dir = directory("sub/", "some file.lua", ".hidden", 'a"quote', "a'quote", "a\\slash",
      "a]]bracket", "-n")
    local some = dir .. "/some file.lua"
    for _, before in ipairs { 'dofile "', "loadfile('", "io.open [[", 'io.lines "', ":load " } do
      assert.same({ dir .. "/some", some }, words(before .. dir .. "/some"))
    end
    assert.same({ dir .. "/s", some, dir .. "/sub/" }, words('dofile "' .. dir .. "/s"))
    assert.same({ dir .. "/none" }, words('dofile "' .. dir .. "/none"))
    assert.same({ dir .. "/.", dir .. "/.hidden" }, words('dofile "' .. dir .. "/."))
    assert.same({ dir .. "/-", dir .. "/-n" }, words('dofile "' .. dir .. "/-"))
    -- no name that would end the string or be an escape in it
    local a = dir .. "/a"
    assert.same({ a, a .. "'quote", a .. "]]bracket" }, words('dofile "' .. a))
    assert.same({ a, a .. '"quote', a .. "]]bracket" }, words("dofile '" .. a))
    assert.same({ a, a .. '"quote', a .. "'quote", a .. "\\slash" }, words("dofile [[" .. a))
    assert.equal(5, #words(":load " .. a))
    assert.same({ dir .. "/\1" }, words('dofile "' .. dir .. "/\1"))
    assert.same({ "spec/repl_comp", "spec/repl_complete_spec.lua" }, words 'dofile "spec/repl_comp')
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

  it("takes less than 50 ms, whatever there is to look through", function()
    local big = {}
    for i = 1, 1000000 do big["k" .. i] = i end
    env.big, env.chain = big, {}
    for i = 1, 10 do
      local part = {}
      for j = 1, 30000 do part["c" .. i .. "_" .. j] = j end
      env.chain = setmetatable(part, { __index = env.chain })
    end
    for _, line in ipairs { "big.k", "big.k1", "big.none", "big:", "chain.c", "chain.none" } do
      local took = seconds(line)
      assert.is_true(took < 0.05, line .. ": " .. took)
    end
    for i = 1, 900000 do big["k" .. i] = nil end
    env.frozen = isolate.freeze(big)
    for _, line in ipairs { "frozen.k", "frozen.none" } do
      local took = seconds(line)
      assert.is_true(took < 0.05, line .. ": " .. took)
    end
  end)

  it("does not end early for a table that can be looked through in time", function()
    for i = 1, 5000 do env.t["x" .. i] = i end
    assert.same({ "x4321", "x4321" }, words "t.x4321")
    for i = 1, 4000 do define(("local kept%d = 1"):format(i)) end
    assert.equal(1112, #words "kept3")
  end)
end)
