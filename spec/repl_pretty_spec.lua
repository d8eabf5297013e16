-- repl_pretty_spec.lua - values as text for a prompt, whatever the values.
-- SPDX-License-Identifier: MIT

local core = require "isolate.core"
local isolate = require "isolate"
local pretty = require "isolate.repl.pretty"
local settle = require "spec.support.settle"

local format = pretty.format

-- Seconds of processor time that a call takes, and what it gives.
local function timed(f, ...)
  local began = os.clock()
  local result = f(...)
  return os.clock() - began, result
end

local function with(meta, value)
  return setmetatable(value or { 1 }, meta)
end

local function endless()
  while true do end
end

describe("isolate.core.limited()", function()
  it("gives the results of a function, or its error", function()
    assert.same({ true, 1, nil, 3, n = 4 }, table.pack(core.limited(1, function(...)
      return ...
    end, 1, nil, 3)))
    local object = {}
    assert.same({ false, object }, { core.limited(1, error, object) })
    assert.same({ false, "attempt to yield" }, { core.limited(1, coroutine.yield, 1) })
  end)

  it("stops loops, also around pcall, in handlers, closers and coroutines", function()
    local caught = {
      endless,
      function() while true do pcall(endless) end end,
      function() pcall(function() while true do pcall(pcall, endless) end end) endless() end,
      function() while true do xpcall(error, endless) end end,
      function() while true do xpcall(endless, endless) end end,
      function() while true do coroutine.wrap(endless)() end end,
      function() while true do coroutine.resume(coroutine.create(endless)) end end,
      function() local _ <close> = setmetatable({}, { __close = endless }) end,
      function()
        local _ <close> = setmetatable({}, { __close = endless })
        coroutine.yield()
      end,
    }
    for i, f in ipairs(caught) do
      assert.same({ i, nil, "timeout" }, { i, core.limited(0.02, f) })
    end
    assert.is_nil(debug.gethook())
  end)

  it("lets nothing wait, nor run meanwhile, in it", function()
    local ran, port, tx = false, isolate.port()
    local task = isolate.async(function() isolate.sleep(0) ran = true end)
    for _, wait in ipairs { function() port:receive() end, function() isolate.sleep(1) end,
      function() port:receive(settle.limit) end, function() task:await() end, isolate.wait } do
      local ok, message = core.limited(settle.limit, wait)
      assert.is_false(ok)
      assert.matches("code whose time is limited cannot wait", message, nil, true)
    end
    assert.matches("code whose time is limited cannot pump",
      select(2, core.limited(settle.limit, isolate.pump)), nil, true)
    tx:send(1)
    assert.same({ true, 1 }, { core.limited(settle.limit, port.receive, port) })
    assert.same({ true, nil, "timeout" }, { core.limited(settle.limit, port.receive, port, 0) })
    assert.is_false(ran)
    assert.is_true((task:try(settle.limit)))
    port:close()
  end)

  it("has its own limit inside another, but no longer one", function()
    assert.same({ true, nil, "timeout", n = 3 },
      table.pack(core.limited(settle.limit, core.limited, 0.02, endless)))
    local began = isolate.now()
    core.limited(0.02, core.limited, settle.limit, endless)
    assert.is_true(isolate.now() - began < settle.limit / 2)
  end)

  it("stops nothing once the call is over", function()
    local co
    core.limited(0.02, function()
      co = coroutine.create(function()
        local n = 0
        repeat n = n + 1 until n == 10000
        return n
      end)
    end)
    assert.same({ true, 10000 }, { coroutine.resume(co) })
  end)

  it("passes on a kill of its isolate", function()
    local ready = isolate.channel(1)
    local limited, hour = core.limited, 3600
    local future = isolate.run({ libs = { "package" } }, function()
      ready:send(true)
      limited(hour, function() while true do end end)
    end)
    assert.is_true((ready:receive(settle.limit)))
    future:cancel "enough"
    local ok, err = future:try(settle.limit)
    assert.same({ false, "cancelled" }, { ok, err.code })
    settle.eventually(function() return #isolate.list() == 1 end)
    ready:close()
  end)
end)

describe("isolate.repl.pretty", function()
  describe("format() of scalars", function()
    it("tells integers from floats, to the last bit", function()
      for text, value in pairs { ["1"] = 1, ["1.0"] = 1.0, ["-0.0"] = -0.0, ["0.1"] = 0.1,
        ["1e+100"] = 1e100, ["1e+15"] = 1e15, ["0.30000000000000004"] = 0.1 + 0.2,
        ["math.huge"] = math.huge, ["-math.huge"] = -math.huge, ["0/0"] = 0 / 0,
        ["math.mininteger"] = math.mininteger, ["9223372036854775807"] = math.maxinteger,
        ["true"] = true, ["false"] = false } do
        assert.equal(text, format(value))
      end
      assert.equal("nil", format(nil))
    end)

    it("shows valid UTF-8 as it is, and escapes what is not or controls a terminal", function()
      assert.equal([["aä€漢😀"]], format "aä€漢😀")
      assert.equal([["\"\\\n\t\r\x00\x1b[31m\x7f"]], format '"\\\n\t\r\0\27[31m\127')
      assert.equal([["\xff\xc3\xe2\x82x\xed\xa0\x80"]], format "\xff\xc3\xe2\x82x\xed\xa0\x80")
      assert.equal([["\u{85}\u{9b}\u{2028}\u{202e}\u{2066}é"]],
        format "\u{85}\u{9b}\u{2028}\u{202e}\u{2066}é")
    end)

    it("cuts a long string between two characters, and says how much is left", function()
      assert.equal('"' .. ("x"):rep(2000) .. '" … 1234 more bytes', format(("x"):rep(3234)))
      assert.equal('"xxxxx"', format("xxxxx", { length = 5 }))
      assert.equal('"€" … 6 more bytes', format("€€€", { length = 5 }))
      assert.equal([["\xff\xff" … 2 more bytes]], format("\xff\xff\xff\xff", { length = 2 }))
      assert.equal([["" … 3 more bytes]], format("€", { length = 2 }))
    end)

    it("says where a function is from, or what it is called", function()
      local f = load("\n\nreturn function() end", "=repl")()
      assert.equal("function: repl:3", format(f))
      assert.equal("function: repl", format(load("", "=repl")))
      assert.equal("builtin: string.rep", format(string.rep))
      assert.equal("builtin: print", format(print))
      assert.equal("builtin: isolate.now", format(isolate.now))
      assert.matches("^builtin: 0x%x+$", format(string.gmatch("", "")))
      assert.equal([[function: a\x1b[2J:1]], format(load("return function() end", "=a\27[2J")()))
    end)

    it("says where a coroutine waits", function()
      local co = coroutine.create(load("\ncoroutine.yield()", "=repl"))
      assert.matches("^thread: 0x%x+ %(suspended%)$", format(co))
      coroutine.resume(co)
      assert.matches("^thread: 0x%x+ %(suspended at repl:2%)$", format(co))
      coroutine.resume(co)
      assert.matches("^thread: 0x%x+ %(dead%)$", format(co))
      assert.matches("^thread: 0x%x+ %(running%)$", format((coroutine.running())))
    end)
  end)

  describe("format() of tables", function()
    it("puts on one line what fits, the list first, then sorted keys", function()
      assert.equal("{}", format {})
      assert.equal("{ 1, 2.0, x = \"y\" }", format { 1, 2.0, x = "y" })
      assert.equal('{ 1, [-1] = 0, [2.5] = 0, [10] = 0, ["a b"] = 0, b = 0, ["end"] = 0, '
        .. "[false] = 0, [true] = 0, [{ 1 }] = 0 }", format({ 1, [10] = 0, [-1] = 0, [2.5] = 0,
        b = 0, ["a b"] = 0, ["end"] = 0, [true] = 0, [false] = 0, [{ 1 }] = 0 }, { width = 200 }))
      assert.equal("{ 1, nil, 3 }", format { 1, nil, 3 })
    end)

    it("puts an item a line where the width is too small, to the column", function()
      local value = { a = { 1, 2, 3 }, bb = "text" }
      local line = '{ a = { 1, 2, 3 }, bb = "text" }'
      assert.equal(line, format(value, { width = #line + 1 }))
      assert.equal('{\n  a = { 1, 2, 3 },\n  bb = "text"\n}', format(value, { width = #line - 1 }))
      assert.equal('{\n  a = {\n    1, 2, 3\n  },\n  bb = "text"\n}',
        format(value, { width = 15 }))
    end)

    it("fills lines with the scalars of a list, and puts the rest of it an item a line", function()
      local function fill(value, width) return format(value, { width = width }) end
      assert.equal("{\n  1, 2,\n  3, 4,\n  5\n}", fill({ 1, 2, 3, 4, 5 }, 8))
      assert.equal("{\n  1, 2, 3,\n  4, 5\n}", fill({ 1, 2, 3, 4, 5 }, 11))
      assert.equal('{\n  true, "a", nil,\n  {},\n  { 1 },\n  2, 3,\n  x = 1,\n  y = 2\n}',
        fill({ true, "a", nil, {}, { 1 }, 2, 3, x = 1, y = 2 }, 20))
      assert.equal('{\n  "of a row that is too long",\n  1, 2\n}',
        fill({ "of a row that is too long", 1, 2 }, 12))
      for _, line in ipairs { 20, 40, 79 } do
        local list, widest = {}, 0
        for i = 1, 50 do list[i] = i * i end
        for row in fill(list, line):gmatch "[^\n]+" do widest = math.max(widest, #row) end
        assert.is_true(widest <= line and widest > line - 6, widest)
      end
    end)

    it("counts the columns of wide characters and of none, and colours not at all", function()
      local wide, narrow = { "漢字漢字" }, { "e\u{301}e\u{301}e\u{301}e\u{301}" }
      assert.equal('{\n  "漢字漢字"\n}', format(wide, { width = 13 }))
      assert.equal('{ "漢字漢字" }', format(wide, { width = 15 }))
      assert.equal('{ "' .. narrow[1] .. '" }', format(narrow, { width = 11 }))
      assert.is_nil(format({ 1, 2, "x" }, { width = 15, colour = true }):find "\n")
    end)

    it("marks cycles, but not what is there twice", function()
      local t = { 1 }
      t.self, t[2] = t, { up = t }
      assert.equal("{ 1, { up = <cycle> }, self = <cycle> }", format(t))
      local shared = { 1 }
      assert.equal("{ { 1 }, { 1 } }", format { shared, shared })
      local key = {}
      key[key] = key
      assert.equal("{ [<cycle>] = <cycle> }", format(key))
    end)

    it("ends at the depth, and shows what is empty there", function()
      assert.equal("{ { { {…}, {} } } }", format({ { { { 1 }, {} } } }, { depth = 3 }))
      assert.equal("{…}", format({ 1 }, { depth = 0 }))
      assert.equal("{ { { { { {…} } } } } }", format { { { { { { {} } } } } } })
    end)

    it("shows so many items, of nested tables fewer, and counts the rest", function()
      local list, keys = {}, {}
      for i = 1, 100 do list[i], keys["k" .. 1000 + i] = i, i end
      assert.equal("{ 1, 2, 3, … 97 more }", format(list, { items = 3 }))
      assert.equal("{ k1001 = 1, k1002 = 2, … 98 more keys }", format(keys, { items = 2 }))
      assert.matches("^{\n  1, .* 50,\n  … 50 more\n}$", format(list))
      assert.matches("24, 25, … 75 more } }$", format({ list }, { width = 1000 }))
      assert.equal("{ … 1 more }", format({ 1 }, { items = 0 }))
    end)

    it("marks metatables, and names their types", function()
      assert.equal("<metatable> { 1 }", format(with {}))
      assert.equal("<Point> { x = 1 }", format(with({ __name = "Point" }, { x = 1 })))
      assert.equal("<metatable> { 1 }", format(with { __name = 12 }))
      assert.equal([[<\x1b[2J> { 1 }]], format(with { __name = "\27[2J" }))
      assert.equal("<" .. ("n"):rep(60) .. "> { 1 }", format(with { __name = ("n"):rep(1000000) }))
      assert.equal("<metatable> { 1 }", format(with { __metatable = "locked" }))
    end)

    it("names modules that are within others", function()
      assert.equal("{ <module string> }", format { string })
      assert.matches("^{\n  byte = builtin: string.byte,", format(string))
    end)

    it("shows all functions of the module isolate, used before or not", function()
      local fresh = require("isolate.core").module()
      assert.matches("^{\n  after = .*\n  run = builtin: .*\n  wait = [^\n]*\n}$", format(fresh))
    end)

    it("finds the other keys of lists of all lengths", function()
      for _, n in ipairs { 1, 7, 8, 9, 1000, 1025, 20000, 32768, 40000 } do
        local t = {}
        for i = 1, 100 do t["k" .. i] = i end
        for i = 1, n do t[i] = i end
        local text = format(t, { items = 1 })
        if n == 1 then
          assert.equal("{ 1, k1 = 1, … 99 more keys }", text)
        else
          assert.equal(("{ 1, … %d more, k1 = 1, … 99 more keys }"):format(n - 1), text)
        end
      end
    end)
  end)

  describe("limits", function()
    it("hold for a table of five million entries, list or not, in 0.1 s", function()
      local n = settle.scale(5000000, 500000)
      local list, keys = {}, {}
      for i = 1, n do list[i] = i end
      list.x = 1
      local took, text = timed(format, list, { items = 2 })
      assert.equal(("{ 1, 2, … %d more, x = 1 }"):format(n - 2), text)
      assert.is_true(took < settle.scale(0.1, 5), took .. " s")
      list = nil -- luacheck: ignore
      for i = 1, n do keys[-i] = i end
      took, text = timed(format, keys, { items = 2 })
      assert.matches("^{ %[%-%d+%] = %d+, %[%-%d+%] = %d+, … more keys }$", text)
      assert.is_true(took < settle.scale(0.1, 5), took .. " s")
    end)

    it("hold for a million tables within one another", function()
      local t = {}
      local inner = t
      for _ = 1, 1000000 do
        inner[1] = {}
        inner = inner[1]
      end
      assert.equal("{ { { { { {…} } } } } }", format(t))
      local _, levels = format(t, { depth = math.huge }):gsub("{", "")
      assert.equal(51, levels)
    end)

    it("keep the text below 100 KB or so, whatever is asked for", function()
      local wide = {}
      for i = 1, 60 do wide[i] = {} end
      for _ = 1, 6 do wide = { table.unpack { wide, wide, wide, wide, wide, wide, wide, wide } } end
      local binary, names, strings = ("\0"):rep(10000000), {}, {}
      for i = 1, 5000 do names[("n"):rep(1000) .. i], strings[i] = i, binary end
      local long = with { __tostring = function() return binary end }
      local most = { depth = math.huge, items = math.huge, length = math.huge, width = math.huge,
        colour = true }
      for i, value in ipairs { wide, binary, names, strings, long, { long, long, long }, _G } do
        for _, opts in ipairs { most, { width = 1 }, { depth = 50, items = 5000 } } do
          local took, text = timed(format, value, opts)
          assert.is_true(#text < 110000, i .. ": " .. #text .. " bytes")
          assert.is_true(took < settle.scale(1, 20), i .. ": " .. took .. " s")
          assert.is_truthy(utf8.len(text))
        end
      end
      assert.is_true(#pretty.results(5000, strings, most) < 110000)
    end)

    it("that make no sense are the usual ones, or the nearest", function()
      local t = { 1, { 2, { 3 } } }
      for _, bad in ipairs { "x", 0 / 0, {}, false } do
        assert.equal(format(t), format(t, { depth = bad, width = bad, items = bad, length = bad }))
      end
      assert.equal("{…}", format(t, { depth = -1 }))
      assert.equal("{ 1, { 2, {…} } }", format(t, { depth = 2.9 }))
    end)
  end)

  describe("foreign code", function()
    it("of __tostring makes the text, controls escaped and lines indented", function()
      local text = "a\nb\t\27[31m\xff"
      local value = with { __tostring = function() return text end }
      assert.equal("a\nb\t\\x1b[31m\\xff", format(value))
      assert.equal("{\n  a\n  b\t\\x1b[31m\\xff,\n  1\n}", format { value, 1 })
      text = ("x"):rep(2100)
      assert.equal(("x"):rep(2000) .. " … 100 more bytes", format(value))
      text = 12
      assert.equal("12", format(value))
    end)

    it("of __tostring that fails is told, and the table shown", function()
      local function failing(f) return format(with { __tostring = f }) end
      assert.equal("(__tostring: it raises a table) { 1 }", failing(function() error {} end))
      assert.equal("(__tostring: it raises a nil) { 1 }", failing(function() error(nil) end))
      assert.equal("(__tostring: no) { 1 }", failing(function() error("no", 0) end))
      assert.equal("(__tostring: it must return a string) { 1 }", failing(function() end))
      assert.equal("(__tostring: it takes too long) { 1 }", failing(endless))
      assert.equal("(__tostring: attempt to yield across a C-call boundary) { 1 }",
        failing(coroutine.yield))
      assert.equal("(__tostring: attempt to call a number value) { 1 }", failing(12))
    end)

    it("that takes long is not called again and again", function()
      local slow = with { __tostring = function() while true do pcall(endless) end end }
      local list = {}
      for i = 1, 50 do list[i] = slow end
      local took, text = timed(format, list)
      assert.is_true(took < settle.scale(1, 20), took .. " s")
      assert.matches("it takes too long", text)
      assert.matches("not called: others took too long", text)
    end)

    it("of other metamethods is never called", function()
      local called = 0
      local function count() called = called + 1 end
      local meta = {}
      for _, event in ipairs { "index", "newindex", "pairs", "len", "eq", "lt", "le", "concat",
        "call", "name", "metatable", "gc", "mode" } do
        meta["__" .. event] = event ~= "gc" and event ~= "mode" and count or nil
      end
      assert.equal("<metatable> { 1, x = 2 }", format(with(meta, { 1, x = 2 })))
      assert.equal("{ [<metatable> {}] = 1, [<metatable> {}] = 1 }",
        format { [with(meta, {})] = 1, [with(meta, {})] = 1 })
      local proxy = setmetatable({}, { __index = with(meta), __metatable = false })
      assert.equal("<metatable> {}", format(proxy))
      assert.equal(0, called)
    end)

    it("may have broken types and libraries", function()
      finally(function()
        debug.setmetatable(nil, nil)
        debug.setmetatable(print, nil)
        debug.setmetatable(true, nil)
        debug.setmetatable(1, nil)
      end)
      local meta = { __tostring = endless, __index = endless, __eq = endless, __lt = endless }
      debug.setmetatable(nil, meta)
      debug.setmetatable(print, meta)
      debug.setmetatable(true, meta)
      debug.setmetatable(1, meta)
      local text = format { true, 1, print, f = string.rep, [false] = 2 }
      debug.setmetatable(1, nil)
      assert.equal("{ true, 1, builtin: print, f = builtin: string.rep, [false] = 2 }", text)
      local old = { string.format, string.gsub, table.concat, tostring, pairs }
      local metatable = getmetatable ""
      local index = metatable.__index
      string.format, string.gsub, table.concat, tostring, pairs = nil -- luacheck: ignore
      metatable.__index = nil
      local ok, result = pcall(format, { 1, "x", { y = 2.5 } })
      metatable.__index = index
      string.format, string.gsub, table.concat, tostring, pairs = -- luacheck: ignore
        table.unpack(old)
      assert.same({ true, '{ 1, "x", { y = 2.5 } }' }, { ok, result })
    end)
  end)

  describe("format() of this library's values", function()
    it("looks into buffers, views and atomic integers", function()
      local buffer = isolate.buffer "a\0é"
      assert.equal(("isolate.buffer: %d (4 bytes) \"a\\x00é\""):format(buffer.id), format(buffer))
      assert.matches('^isolate.buffer: %d+ %(100 bytes%) "' .. ("x"):rep(32) .. '" …$',
        format(isolate.buffer { size = 100, fill = 120 }))
      assert.matches("^isolate.buffer: %d+ %(0 bytes%) \"\"$", format(isolate.buffer(0)))
      assert.matches("^isolate.view: %d+ { 97, 0, … 2 more }$",
        format(buffer:view "u8", { items = 2 }))
      local cell = isolate.atomic()
      cell:store(-7)
      assert.matches("^isolate.atomic: %d+ = %-7$", format(cell))
    end)

    it("shows buffers that were moved away without their bytes", function()
      local rx, tx = isolate.port()
      local buffer = isolate.buffer "abc"
      local view = buffer:view "u8"
      tx:send(isolate.transfer(buffer))
      assert.equal(tostring(buffer), format(buffer))
      assert.equal(tostring(view), format(view))
      rx:close()
      tx:close()
    end)

    it("shows frozen tables as tables, with cycles, depth and items", function()
      assert.equal("<frozen> { 1, <frozen> { 2 }, [10] = 3, x = \"y\" }",
        format(isolate.freeze { 1, { 2 }, x = "y", [10] = 3 }))
      local t = {}
      t.t = t
      assert.equal("<frozen> { t = <cycle> }", format(isolate.freeze(t)))
      assert.equal("<frozen> { <frozen> {…} }", format(isolate.freeze { { 1 } }, { depth = 1 }))
      assert.equal("{ f = <frozen> {} }", format { f = isolate.freeze {} })
      local list = { x = 1 }
      for i = 1, 200000 do list[i] = i end
      local frozen = isolate.freeze(list)
      local took, text = timed(format, frozen, { items = 2 })
      assert.equal("<frozen> { 1, 2, … 199998 more, x = 1 }", text)
      assert.is_true(took < settle.scale(0.1, 5), took .. " s")
      local mixed = {}
      for i = 1, 600 do mixed["k" .. i] = i end
      for i = 1, 40000 do mixed[i] = i end
      assert.equal("<frozen> { 1, … 39999 more, k1 = 1, … 599 more keys }",
        format(isolate.freeze(mixed), { items = 1 }))
      local buffer = isolate.buffer("abc"):freeze()
      assert.matches('^<frozen> { isolate.buffer: %d+ %(3 bytes%) "abc" }$',
        format(isolate.freeze { buffer }))
    end)

    it("gives the state of futures and the names of other handles", function()
      local future = isolate.run(function() return 1 end)
      settle.await(future)
      local rx, tx = isolate.port()
      local timer = isolate.after(1000)
      for _, handle in ipairs { future, rx, tx, timer, isolate.self() } do
        assert.equal(tostring(handle), format(handle))
      end
      assert.matches("^isolate.future: %d+ %(done%)$", format(future))
      timer:cancel()
      rx:close()
      tx:close()
      assert.matches("^file %(0x%x+%)$", format(io.stdout))
    end)

    it("is not taken in by userdata that claims to be such", function()
      local file = assert(io.tmpfile())
      local meta = debug.getmetatable(file)
      finally(function() debug.setmetatable(file, meta):close() end)
      for name in pairs { ["isolate.frozen"] = 1, ["isolate.buffer"] = 2, ["isolate.view"] = 3 } do
        debug.setmetatable(file, { __name = name, __len = endless, __index = endless,
          __pairs = endless })
        assert.matches("^" .. name .. ": 0x%x+$", format(file))
      end
      debug.setmetatable(file, { __tostring = endless, __name = "File" })
      assert.matches("^%(__tostring: it takes too long%) File: 0x%x+$", format(file))
    end)
  end)

  describe("colours", function()
    it("are only there when they are asked for, and end where they began", function()
      local value = { 1, "x", true, print, { {} }, n = 0 / 0 }
      local plain = format(value, { depth = 1 })
      assert.is_nil(plain:find "\27")
      local coloured = format(value, { depth = 1, colour = true })
      assert.is_truthy(coloured:find("\27[32m\"x\"\27[m", 1, true))
      assert.is_truthy(coloured:find("\27[36m1\27[m", 1, true))
      assert.equal(plain, (coloured:gsub("\27%[%d*m", "")))
    end)
  end)

  describe("results()", function()
    it("puts values on one line if they fit, else each on its own", function()
      assert.equal("", pretty.results(0, {}))
      assert.equal("1  nil  \"x\"  nil", pretty.results(4, { 1, nil, "x" }))
      assert.equal("1\nnil\n\"x\"", pretty.results(3, { 1, nil, "x" }, { width = 10 }))
      assert.equal("{\n  1,\n  2\n}\n3", pretty.results(2, { { 1, 2 }, 3 }, { width = 5 }))
    end)

    it("shows no more than a hundred", function()
      local text = pretty.results(250000, table.move({ 1, 1, 1 }, 1, 3, 1, {}))
      assert.matches("\nnil\n… 249900 more values$", text)
    end)
  end)

  -- Data of all sorts, of a generator of its own so that a failure can be had again.
  local function generator(seed)
    local state = seed
    local function random(n)
      state = (state * 1103515245 + 12345) & 0x7fffffff
      return (state >> 8) % n + 1
    end
    local function text()
      local bytes = {}
      for i = 1, random(12) - 1 do
        bytes[i] = string.char(random(4) == 1 and random(256) - 1 or 96 + random(26))
      end
      return table.concat(bytes)
    end
    local scalars = {
      function() return random(1000) - 500 end,
      function() return math.tointeger(random(1 << 20) << 43) end,
      function() return (random(1 << 20) - 1000) / random(1000) end,
      function()
        return ({ math.huge, -math.huge, -0.0, math.mininteger, 2^53, 1e300, 5e-324 })[random(7)]
      end,
      text,
      text,
      function() return "é漢\u{301}\u{85}\u{202e}" .. text() end,
      function() return random(2) == 1 end,
    }
    local function scalar() return scalars[random(#scalars)]() end
    local function value(depth)
      if depth == 0 or random(3) == 1 then return scalar() end
      local t = {}
      for i = 1, random(6) - 1 do t[i] = value(depth - 1) end
      for _ = 1, random(5) - 1 do t[scalar()] = value(depth - 1) end
      return t
    end
    return value, random
  end

  local function same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then
      return rawequal(a, b) and math.type(a) == math.type(b) and (a ~= 0 or 1 / a == 1 / b)
    end
    for k, v in pairs(a) do
      if not same(v, b[k]) then return false end
    end
    for k in pairs(b) do
      if a[k] == nil then return false end
    end
    return true
  end

  it("gives source of the same data, in every width and colourless", function()
    for seed = 1, settle.scale(3000, 300) do
      local value, random = generator(seed)
      local data, width = value(3), random(120)
      local text = format(data, { width = width })
      local f, message = load("return " .. text, "=text", "t", { math = math })
      assert.is_truthy(f, message)
      assert.is_true(same(data, f()), seed .. ": " .. text)
    end
  end)
end)
