-- repl_chunk_spec.lua - chunks of a prompt, and their local variables that live on.
-- SPDX-License-Identifier: MIT

local settle = require "spec.support.settle"
local chunk = require "isolate.repl.chunk"
local isolate = require "isolate"

local pcall, select, next = pcall, select, next

local session, line, env

-- Runs one input and gives its results; raises messages.
local function run(source)
  local fn, message, kind = session:load(source, "=repl", line)
  for _ in (source .. "\n"):gmatch "\n" do line = line + 1 end
  if not fn then error(kind .. ": " .. message, 0) end
  return fn()
end

-- KiB of the heap.
local function heap()
  for _ = 1, 3 do collectgarbage() end
  return collectgarbage "count"
end

local function fails(source)
  local _, err = pcall(run, source)
  return err
end

describe("isolate.repl.chunk", function()
  before_each(function()
    env = setmetatable({}, { __index = _G })
    session, line = chunk.new(env), 1
  end)

  it("gives the values of expressions", function()
    assert.same({ 1, 2, n = 2 }, table.pack(run "1, 2"))
    assert.equal(3, run "= 3")
    assert.equal(4, run "return 4")
    assert.equal("x", run "'x' -- a comment")
    assert.equal(0, select("#", run "x = 1"))
    assert.equal(1, run "x")
    run "local t = { 1, 2 }"
    assert.equal(2, run "#t")
  end)

  it("keeps locals, the same variables for all later chunks and their functions", function()
    run "local n = 1"
    run "function get() return n end"
    run "function set(v) n = v end"
    run "n = 2"
    assert.equal(2, run "get()")
    run "set(3)"
    assert.equal(3, run "n")
  end)

  it("shares a variable among functions of many chunks", function()
    run "local count = 0"
    run "local function up() count = count + 1 end"
    run "local function down() count = count - 1 end up() up()"
    run "down() local seen = count up()"
    assert.same({ 2, 1 }, { run "count, seen" })
    run "local co = coroutine.wrap(function() while true do coroutine.yield(count) end end)"
    assert.equal(2, run "co()")
    run "count = 9"
    assert.equal(9, run "co()")
  end)

  it("makes a new variable when a name is declared again", function()
    run "local x = 1"
    run "function old() return x end"
    run "local x = x + 1"
    assert.same({ 2, 1 }, { run "x, old()" })
    run "local x"
    assert.same({ nil, 1 }, { run "x, old()" })
  end)

  it("keeps functions, which may call themselves", function()
    run "local function fact(n) return n <= 1 and 1 or n * fact(n - 1) end"
    assert.equal(120, run "fact(5)")
    run "local even, odd"
    run "function even(n) return n == 0 or odd(n - 1) end"
    run "odd = function(n) return n ~= 0 and even(n - 1) end"
    assert.is_true(run "even(10)")
    assert.is_nil(rawget(env, "even"))
  end)

  it("gives a chunk its arguments", function()
    assert.same({ 1, nil, 3 }, { session:load "..." (1, nil, 3) })
    session:load "local first, second = ..." (4, 5)
    assert.same({ 4, 5 }, { run "first, second" })
  end)

  it("keeps what a loop of gotos declared last", function()
    run "local n = 0 ::top:: local v = n n = n + 1 if n < 3 then goto top end"
    assert.same({ 3, 2 }, { run "n, v" })
  end)

  it("lets a variable go that is declared again, though others of its statement live", function()
    env.weak = setmetatable({}, { __mode = "k" })
    run "local big, small = {}, 1 weak[big] = true"
    run "local big"
    collectgarbage()
    assert.is_nil(next(env.weak))
    assert.equal(1, run "small")
  end)

  it("reads a first line that begins with '#!' as a script does", function()
    run "#!/usr/bin/env lua\nlocal s = 'script'"
    assert.equal("script", run "s")
    assert.matches("repl:5: here", fails "#!/usr/bin/env lua\nerror 'here'", 1, true)
  end)

  it("keeps constants, which stay constant", function()
    run "local a, b <const>, c = 1, 2, 3"
    run "local K <const> = 10"
    run "local T <const> = {}"
    assert.same({ 1, 2, 3, 10 }, { run "a, b, c, K" })
    assert.matches("repl:5: attempt to assign to const variable 'b'", fails "b = 3", 1, true)
    assert.matches("attempt to assign to const variable 'K'", fails "K = 3", 1, true)
    assert.equal(run "T", run "T")
  end)

  it("closes <close> variables at the end of their chunk, and does not keep them", function()
    env.log = {}
    run [[local a, c <close> = 1, setmetatable({}, {__close = function() log[1] = "closed" end})
      log[2] = "open"]]
    assert.same({ "closed", "open" }, env.log)
    assert.same({ 1, nil }, { run "a, c" })
    run "local a <close> = nil"
    assert.equal(1, run "a")
  end)

  it("keeps locals of the top level alone", function()
    run [[do local inner = 1 end for i = 1, 2 do local loop = i end
      repeat local r = 1 until r == 1 if true then local t = 1 end
      local function f() local deep = 1 end local kept = "yes"]]
    assert.same({ nil, nil, nil, nil, nil, "yes" }, { run "inner, loop, r, t, deep, kept" })
  end)

  it("finds the end of every form of a local statement", function()
    for source, expected in pairs {
      ["local x = 1 local y = 2"] = { 1, 2 },
      ["local x = f 'a' local y = f{2}"] = { "a", nil },
      ["local x = t.a.b[1]:m(2)(3) local y = 4"] = { 3, 4 },
      ["local x = -#'abc' (f)(1) local y = 5"] = { -3, 5 },
      ["local x = 1 (f)(2) local y = 6"] = { 1, 6 },
      ["local x = not nil == true and 1 or 2 local y = 7"] = { 1, 7 },
      ["local x = function() local z = 1 return z end local y = x()"] = { "function", 1 },
      ["local x, y = (f(1)), f 'b' .. 'c'"] = { 1, "bc" },
      ["local x = {1, [2] = function() end; y = 3} local y = #x"] = { "table", 2 },
      ["local x = 1; local y = 2;"] = { 1, 2 },
      ["local x\nlocal y = 3"] = { nil, 3 },
      ["local x = 2^-3 local y = ~1"] = { 0.125, -2 },
      ["local x = [[l]] local y = ... or 8"] = { "l", 8 },
      ["local x <const>, y <const> = 1, 2"] = { 1, 2 },
      ["local x = f\n(9) local y = 1 -- end"] = { 9, 1 },
      ["local x = a and b or 'c' local y = x"] = { "c", "c" },
    } do
      session = chunk.new(env)
      env.f = function(v) return type(v) ~= "table" and v or nil end
      env.t = { a = { b = { { m = function(_, _) return function(v) return v end end } } } }
      run(source)
      local x, y = run "x, y"
      if type(expected[1]) == "string" and type(x) ~= "string" then x = type(x) end
      assert.same({ expected[1], expected[2] }, { x, y }, source)
    end
  end)

  it("keeps what was declared before an error", function()
    assert.matches("repl:1: oops", fails "local a = 1 error 'oops' local b = 2", 1, true)
    assert.same({ 1, nil }, { run "a, b" })
    assert.matches("repl:4: attempt to index a nil value (global 'none')",
      fails "local c = 3\nlocal d = _ENV.none.x\nlocal e = 5", 1, true)
    assert.same({ 3, nil, nil }, { run "c, d, e" })
  end)

  it("lets gotos over kept locals be", function()
    run "goto done; local q = 1 ::done::"
    assert.is_nil(run "q")
    run "do goto over; local r = 1 ::over:: end goto out local s = 1 ::out:: -- the end"
    assert.matches("jumps into the scope of local 'x'", fails "goto l local x ::l:: f()", 1, true)
    run "for i = 1, 3 do if i == 2 then goto continue end local z = i ::continue:: end"
  end)

  it("returns from a chunk that ends in return", function()
    assert.equal(7, run "local v = 7 return v")
    assert.equal(7, run "v")
    assert.equal(8, run "local w = 8; return w; -- the end")
    run "local z = 9 do return end"
    assert.equal(9, run "z")
  end)

  it("knows an _ENV of the user's", function()
    run "local _ENV = { y = 5 }"
    assert.equal(5, run "y")
    run "z = 6"
    assert.same({ 5, 6 }, { run "y, z" })
    assert.is_nil(rawget(env, "z"))
    run "local x = 7"
    run "local function getter() return x, y end"
    assert.same({ 7, 5 }, { run "getter()" })
  end)

  it("changes no line or column of what is run", function()
    run "local a, f <const> = 1, function() error('in f', 2) end local s = 'x'"
    assert.matches("^repl:5: x", fails("local b = 1 local c = 2 local d = [[\n]] "
      .. "local e = { f = function()\n end }\nerror 'x'"))
    assert.matches("^repl:7: in f", fails "local b = 1\nf() local c = 1")
    env.line = function() return debug.getinfo(2, "l").currentline end
    assert.same({ 8, 9 }, { run "local g = line() local h = \nline() return g, h" })
    assert.matches("^repl:10: attempt to perform arithmetic on a table value",
      fails "local y = a local x = {} + y")
  end)

  it("says of two messages the one that is of more of the input", function()
    assert.matches("unexpected symbol near '*'", fails "f(1) + * 2", 1, true)
    assert.matches("<eof> expected near '}'", fails "{ 1, }}", 1, true)
    assert.matches("unexpected symbol near ')'", fails "function() return ) end", 1, true)
    assert.matches("unexpected symbol near '='", fails "x = = 1", 1, true)
    assert.matches("syntax error near 'y'", fails "x y", 1, true)
    assert.matches("unexpected symbol near '*'", fails "= 1 * * 2", 1, true)
    assert.matches("no visible label 'x'", fails "goto x", 1, true)
  end)

  it("numbers the lines of the session, and shows columns nothing is before", function()
    run "local a = 1"
    run "\n"
    assert.matches("^repl:5: no", fails "\nerror 'no'")
    assert.matches("^syntax: repl:6: unexpected symbol near '='", fails "x = = 2")
    assert.matches("^syntax: repl:8: unexpected symbol near '='", fails "y = 1\nx = = 2" )
  end)

  it("says whether more lines are needed", function()
    local function kind(source) return (select(3, session:load(source))) end
    for _, source in ipairs { "f(", "{1,", "1 +", "x = [[", "for i = 1, 2 do", "local x =",
      "function f()", "= {", "return function()", "print 'a' ..", "(function()", "#[[<eof>", "#",
      "-", "not", "function(a) return a", "'<eof>' ..", "local eof <const> =", "x = { [[\n",
      "local function", "f'a\\", "= 1 +", "--[[ <eof>", "if a then b() elseif c then",
      "#!sh\nx =" } do
      assert.equal("incomplete", kind(source), source)
    end
    for _, source in ipairs { "x y", "'abc", "}", "{1, }}", "local 1", "break", "= = 1",
      "x = <eof>", "'<eof>' x", "x '<eof>", "local x <eof>", "end [[", "1 2 (" } do
      assert.equal("syntax", kind(source), source)
    end
  end)

  it("cannot be left by an 'end' too many", function()
    assert.matches("^syntax: ", fails "x = 1 end function f() y = 2")
    assert.is_nil(rawget(env, "x"))
  end)

  it("takes functions that are sent to an isolate, with what they captured", function()
    run "local base = 40"
    run "function add(n) return base + n end"
    assert.equal(42, settle.await(isolate.run(run "add", 2)))
    env.back = settle.await(isolate.run(function(f) return f end, run "add"))
    run "base = 50"
    assert.same({ 52, 42 }, { run "add(2), back(2)" }) -- what went is a copy
    local fn = run "function() return add(3) end"
    assert.equal(53, settle.await(isolate.run(fn)))
    run "local count = 0 local function up() count = count + 1 return count end"
    run "local pair = { up, function() return up() + count end }"
    assert.equal(4, settle.await(isolate.run(function(p) p[1]() return p[2]() end, run "pair")))
    assert.equal(0, run "count")
  end)

  it("tells its variables", function()
    run "local a, b = 1"
    local found = {}
    for name, value in session:locals() do found[name] = value == nil and "nil" or value end
    assert.same({ a = 1, b = "nil" }, found)
    assert.same({ 1, true }, { session:get "a" })
    assert.same({ nil, true }, { session:get "b" })
    assert.same({ nil, false }, { session:get "c" })
  end)

  it("keeps as many variables as are declared, at the cost of those that are named", function()
    for i = 1, 10000 do run(("local v%d = %d"):format(i, i)) end
    assert.equal(1 + 5000 + 10000, run "v1 + v5000 + v10000")
    local names = {}
    for i = 1, 250 do names[i] = "v" .. i end
    assert.equal(250 * 251 // 2, run(table.concat(names, " + ")))
    run("local t <const> = {} " .. table.concat(names, " = 1 ") .. " = 1 t.v251 = 1 t.v252 = 2")
    assert.same({ 1, 251 }, { run "v250, v251" })
    for i = 251, 300 do names[i] = "v" .. i end
    assert.matches("too many upvalues", fails(table.concat(names, " + ")), 1, true)
  end)

  it("takes as many locals in one chunk as Lua does", function()
    local many, names = {}, {}
    for i = 1, 200 do
      many[i], names[i] = ("local w%d = %d"):format(i, i), "u" .. i
    end
    run(table.concat(many, "\n"))
    assert.same({ 1, 200 }, { run "w1, w200" })
    run("local " .. table.concat(names, ", ") .. " = 1, 2")
    assert.same({ 1, 2, nil }, { run "u1, u2, u200" })
    assert.same({ nil, true }, { session:get "u200" })
    local too_many = "too many local variables"
    assert.matches(too_many, fails(table.concat(many, " ") .. " local one"), 1, true)
    assert.matches(too_many, fails("local one, " .. table.concat(names, ",")), 1, true)
  end)

  it("does not grow with chunks that declare the same, nor take longer for them", function()
    -- KiB that the heap grew by, instructions of Lua for a chunk
    local function round()
      local before, instructions = heap(), 0
      local function count() instructions = instructions + 100 end
      for i = 1, 5000 do
        if i % 100 == 0 then debug.sethook(count, "", 100) end
        session:load("local x, y <const> = {1}, 2 function g() return x end", "=repl", 1)()
        debug.sethook()
      end
      return heap() - before, instructions
    end
    round()
    local grown, instructions = round()
    assert.is_true(grown < 100, grown)
    local _, later = round()
    assert.is_true(later < instructions * 1.1 + 1000, later)
  end)

  it("needs nothing that a user could take away", function()
    local load_before, debug_before = load, debug
    _G.load, _G.debug, _G.pcall, _G.select, _G.next = nil, nil, nil, nil, nil
    local ok, fn = xpcall(function()
      session:load "local a, b <const> = 1, 2" ()
      local got = session:load "a + b"
      return got() + (session:get "a")
    end, tostring)
    _G.load, _G.debug = load_before, debug_before
    _G.pcall, _G.select, _G.next = pcall, select, next
    assert.is_true(ok, fn)
    assert.equal(4, fn)
  end)
end)
