-- repl_chunk_spec.lua - chunks of a prompt, and their local variables that live on.
-- SPDX-License-Identifier: MIT

local settle = require "spec.support.settle"
local chunk = require "isolate.repl.chunk"
local isolate = require "isolate"

local session, line, env

-- Runs one input and gives its results; raises messages.
local function run(source)
  local fn, message, kind = session:load(source, "=repl", line)
  for _ in (source .. "\n"):gmatch "\n" do line = line + 1 end
  if not fn then error(kind .. ": " .. message, 0) end
  return fn()
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
  end)

  it("lets gotos over kept locals be", function()
    run "goto done; local q = 1 ::done::"
    assert.is_nil(run "q")
    run "for i = 1, 3 do if i == 2 then goto continue end local z = i ::continue:: end"
  end)

  it("returns from a chunk that ends in return", function()
    assert.equal(7, run "local v = 7 return v")
    assert.equal(7, run "v")
  end)

  it("knows an _ENV of the user's", function()
    run "local _ENV = { y = 5 }"
    assert.equal(5, run "y")
    run "z = 6"
    assert.same({ 5, 6 }, { run "y, z" })
    assert.is_nil(rawget(env, "z"))
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
      "function f()", "= {", "return function()", "print 'a' ..", "(function()", "#[[<eof>" } do
      assert.equal("incomplete", kind(source), source)
    end
    for _, source in ipairs { "x y", "'abc", "}", "{1, }}", "local 1", "break", "= = 1" } do
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
    local fn = run "function() return add(2) end"
    assert.equal(42, settle.await(isolate.run(run "add", 2)))
    assert.equal("function", type(fn))
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
    local many = {}
    for i = 1, 150 do many[i] = ("local w%d = %d"):format(i, i) end
    run(table.concat(many, "\n"))
    assert.equal(150, run "w150")
  end)

  it("does not grow with chunks that declare the same", function()
    local function heap()
      for _ = 1, 3 do collectgarbage() end
      return collectgarbage "count"
    end
    local function round()
      for _ = 1, 3000 do
        local fn = session:load("local x = {1} function g() return x end", "=repl", 1)
        fn()
      end
    end
    round()
    local before = heap()
    round()
    assert.is_true(heap() - before < 100, heap() - before)
  end)
end)
