-- repl_pretty_spec.lua - values as text for the prompt.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"
local pretty = require "isolate.repl.pretty"

local format = pretty.format

describe("isolate.repl.pretty", function()
  it("writes scalars as Lua source", function()
    for text, value in pairs {
      ["1"] = 1, ["1.0"] = 1.0, ["-0.0"] = -0.0, ["0.1"] = 0.1, ["1e+100"] = 1e100,
      ["math.huge"] = math.huge, ["-math.huge"] = -math.huge, ["0/0"] = 0 / 0,
      ["math.mininteger"] = math.mininteger, ["9223372036854775807"] = math.maxinteger,
      ["true"] = true, ["0.30000000000000004"] = 0.1 + 0.2, ["1e+15"] = 1e15,
    } do
      assert.equal(text, format(value))
    end
    assert.equal("nil", format(nil))
  end)

  it("quotes strings: UTF-8 stays, controls and other bytes are escaped", function()
    assert.equal([["a\n\t\"\\\x00\x7f"]], format "a\n\t\"\\\0\127")
    assert.equal('"aü€漢😀"', format "aü€漢😀")
    assert.equal([["\xffü\xc3"]], format "\xffü\xc3")
    assert.equal([["\u{85}"]], format "\u{85}")
    assert.equal([["\xed\xa0\x80"]], format "\xed\xa0\x80")
  end)

  it("cuts long strings, between characters, and says what is left out", function()
    assert.equal('"aaaa" … 6 more bytes', format(("a"):rep(10), { length = 4 }))
    assert.equal('"üü" … 5 more bytes', format("üüüüx", { length = 5 }))
  end)

  it("writes tables: the list first, then keys in order", function()
    assert.equal("{}", format {})
    assert.equal("{ 1, 2, nil, 4 }", format { 1, 2, nil, 4 })
    assert.equal('{ 1, [1.5] = 2, ["a b"] = 3, ["end"] = 4, x = 5, [false] = 6 }',
      format { 1, [1.5] = 2, ["a b"] = 3, x = 5, ["end"] = 4, [false] = 6 })
  end)

  it("breaks what does not fit the width, an item a line", function()
    assert.equal("{\n  aaaa = 1,\n  bbbb = { 1, 2 }\n}",
      format({ aaaa = 1, bbbb = { 1, 2 } }, { width = 20 }))
    assert.equal("{ aaaa = 1, bbbb = { 1, 2 } }",
      format({ aaaa = 1, bbbb = { 1, 2 } }, { width = 40 }))
  end)

  it("marks cycles, but not what is only shared", function()
    local t = { name = "t" }
    t.self, t.list = t, { t }
    assert.equal('{ list = { <cycle> }, name = "t", self = <cycle> }', format(t))
    local shared = { 1 }
    assert.equal("{ { 1 }, { 1 } }", format { shared, shared })
  end)

  it("stops at a depth, a number of items, and a length of all", function()
    assert.equal("{ { {…} } }", format({ { { 1 } } }, { depth = 2 }))
    assert.equal("{ { {} } }", format({ { {} } }, { depth = 2 }))
    local list = {}
    for i = 1, 100 do list[i] = i end
    assert.matches("9, 10, … 90 more }$", format(list, { items = 10, width = 1000 }))
    local keys = {}
    for i = 1, 100 do keys["k" .. i] = i end
    assert.matches("… more keys", format(keys, { items = 10 }))
    local deep = {}
    for i = 1, 60 do
      deep[i] = {}
      for j = 1, 60 do deep[i][j] = ("x"):rep(1000) end
    end
    assert.is_true(#format(deep) < 100000)
  end)

  it("takes no longer for what it does not show", function()
    local list, keys = {}, {}
    for i = 1, 2000000 do list[i] = i end
    for i = 1, 300000 do keys["k" .. i] = i end
    local nested = list
    for _ = 1, 100000 do nested = { nested } end
    collectgarbage()
    collectgarbage "stop"
    local began = os.clock()
    format(list)
    format(keys)
    format(nested)
    local spent = os.clock() - began
    collectgarbage "restart"
    assert.is_true(spent < 0.5, spent)
  end)

  it("names functions by where they are, or by their names in modules", function()
    local line = debug.getinfo(1, "l").currentline
    local function f() end
    assert.equal(("function: %s:%d"):format(debug.getinfo(1, "S").short_src, line + 1), format(f))
    assert.equal("builtin: string.rep", format(string.rep))
    assert.equal("builtin: next", format(next))
  end)

  it("lets __tostring and __name speak", function()
    assert.equal("I am", format(setmetatable({}, { __tostring = function() return "I am" end })))
    assert.equal("<Point> { x = 1 }", format(setmetatable({ x = 1 }, { __name = "Point" })))
    assert.equal("<metatable> {}", format(setmetatable({}, {})))
    assert.matches("^file %(0x", format(io.stdout))
    assert.matches("^thread: 0x%x+ %(suspended%)$", format(coroutine.create(print)))
  end)

  it("survives metamethods that raise, never end, yield or give no string", function()
    for problem, tostring in pairs {
      ["bad"] = function() error "bad" end,
      ["takes too long"] = function() while true do end end,
      ["yield"] = function() coroutine.yield() end,
      ["must return a string"] = function() return {} end,
      ["it raises"] = function() error {} end,
    } do
      assert.matches(problem, format { setmetatable({}, { __tostring = tostring }) }, 1, true)
    end
    local hostile = setmetatable({ 1, a = 2 }, {
      __index = function() error "index" end, __len = function() error "len" end,
      __pairs = function() error "pairs" end, __metatable = false })
    assert.equal("<metatable> { 1, a = 2 }", format(hostile))
  end)

  it("looks into buffers and frozen values", function()
    assert.matches('^isolate%.buffer.- "abc"$', format(isolate.buffer "abc"))
    local frozen = format(isolate.freeze { 1, 2, x = { y = "z" } })
    assert.equal('<frozen> { 1, 2, x = <frozen> { y = "z" } }', frozen)
    local buf = isolate.buffer "x"
    isolate.run(function() end, isolate.transfer(buf)):await()
    assert.matches("transferred", format(buf))
  end)

  it("writes plain data that load() gives back", function()
    local function equal(a, b)
      if type(a) ~= "table" or type(b) ~= "table" then
        return a == b and math.type(a) == math.type(b)
      end
      for k, v in pairs(a) do if not equal(v, b[k]) then return false end end
      for k in pairs(b) do if a[k] == nil then return false end end
      return true
    end
    math.randomseed(42)
    local function make(depth)
      local kind = math.random(depth > 3 and 5 or 7)
      if kind == 1 then return math.random(0) end
      if kind == 2 then return math.random() * 10 ^ math.random(-20, 20) end
      if kind == 3 then return math.random(2) == 1 end
      if kind <= 5 then
        local bytes = {}
        for i = 1, math.random(0, 12) do bytes[i] = string.char(math.random(0, 255)) end
        return table.concat(bytes)
      end
      local t = {}
      for _ = 1, math.random(0, 6) do
        if math.random(2) == 1 then
          t[#t + 1] = make(depth + 1)
        else
          t[make(4)] = make(depth + 1)
        end
      end
      return t
    end
    for _ = 1, 2000 do
      local value = make(1)
      local text = format(value)
      local fn = assert(load("return " .. text), text)
      assert(equal(value, fn()), text)
    end
  end)

  it("paints, and lays out by what is seen", function()
    local text = format({ "a", 1 }, { colour = true })
    assert.equal('{ \27[32m"a"\27[m, \27[36m1\27[m }', text)
    assert.equal(text, format({ "a", 1 }, { colour = true, width = 10 }))
  end)

  describe("results()", function()
    it("puts values on a line when they fit, else on lines", function()
      assert.equal("1  nil  \"a\"", pretty.results(3, { 1, nil, "a" }))
      assert.equal('"aaaaaaaa"\n"bbbbbbbb"', pretty.results(2, { ("a"):rep(8), ("b"):rep(8) },
        { width = 15 }))
    end)
  end)
end)
