-- frozen_spec.lua - isolate.freeze: tables that isolates share and read in place.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local misuse_in = require "spec.support.misuse"
local settle = require "spec.support.settle"

local await, scale = settle.await, settle.scale
local misuse = misuse_in "frozen_spec"

it = live.checking(it)

--- The pairs in their order.
local function list_of(t)
  local list = {}
  for k, v in pairs(t) do list[#list + 1] = { k, v } end
  return list
end

local function records(n)
  local list = {}
  for i = 1, n do list[i] = { id = i, name = "name " .. i % 1000 } end
  return list
end

local function refusal(v)
  local ok, err = pcall(isolate.freeze, v)
  assert.is_false(ok)
  assert.equal("not_sendable", err.code)
  return err.message
end

describe("isolate.freeze()", function()
  it("is read as the table is", function()
    local t = { 10, "two", { 3 }, x = 1, ["a b"] = false, [-5] = "minus", [2.5] = "float",
      [true] = "yes", [math.mininteger] = math.maxinteger, [""] = "empty",
      [("k"):rep(1000)] = ("v"):rep(100000), zeros = "a\0b", z = -0.0, inf = math.huge }
    local f = isolate.freeze(t)
    for k, v in pairs(t) do
      if type(v) ~= "table" then
        assert.equal(v, f[k])
        assert.equal(math.type(v), math.type(f[k]))
      end
    end
    assert.equal(3, f[3][1])
    assert.equal(3, #f)
    assert.equal(10, f[1.0])
    assert.equal("-0.0", tostring(f.z))
    for _, key in ipairs{ "y", 4, 0, 2.25, false, print, {}, f } do assert.is_nil(f[key]) end
    local light = isolate.freeze{ nan = 0 / 0 }
    assert.is_true(light.nan ~= light.nan)
  end)

  it("gives pairs in one order, the list first", function()
    local t = { 1, 2, 3 }
    for i = 1, 100 do t["k" .. i] = i end
    local f = isolate.freeze(t)
    local pairs_here = list_of(f)
    assert.equal(103, #pairs_here)
    for i = 1, 3 do assert.same({ i, i }, pairs_here[i]) end
    assert.same(pairs_here, list_of(f))
    assert.same(pairs_here, await(isolate.run(function(g) return list_of(g) end, f)))
    local items = {}
    for i, v in ipairs(f) do items[i] = v end
    assert.same({ 1, 2, 3 }, items)
    assert.same({}, list_of(isolate.freeze{}))
  end)

  it("has the length of the table, whatever its inside", function()
    local backwards, holes = {}, { 1, nil, 3, nil }
    for i = 100, 1, -1 do backwards[i] = i end
    assert.equal(100, #isolate.freeze(backwards))
    local n = #isolate.freeze(holes)
    assert.is_true(n == 1 or n == 3)
    assert.equal(3, isolate.freeze(holes)[3])
    assert.is_nil(isolate.freeze(holes)[2])
    assert.equal(0, #isolate.freeze{ a = 1 })
  end)

  it("keeps cycles and shared references, and equals itself alone", function()
    local shared = { 1 }
    local t = { a = shared, b = shared, [shared] = "key" }
    t.me = t
    local f = isolate.freeze(t)
    assert.is_true(f.me == f and f.me.me.a == f.b)
    assert.equal("key", f[f.a])
    assert.is_false(f.a == isolate.freeze(shared))
    assert.is_true(rawequal(f.a, f.b))
    local here, there = f.a, await(isolate.run(function(g)
      assert(g.me == g and g.a == g.b and g[g.a] == "key")
      return { g, g.a }
    end, f))
    assert.is_true(there[1] == f and there[2] == here)
    assert.equal("isolate.frozen", getmetatable(f))
    assert.equal(tostring(f), await(isolate.run(function(g) return tostring(g) end, f)))
  end)

  it("gives back what is immutable already", function()
    local f = isolate.freeze{ 1 }
    local buf = isolate.buffer("abc"):freeze()
    for _, v in ipairs{ 1, 1.5, "text", true, f, buf } do
      assert.is_true(rawequal(v, isolate.freeze(v)))
    end
    assert.is_nil(isolate.freeze(nil))
    assert.matches("value expected", misuse(function() isolate.freeze() end))
  end)

  it("holds other frozen tables and frozen buffers, shared", function()
    local inner = isolate.freeze{ deep = { 5 } }
    local buf = isolate.buffer("0123456789"):freeze()
    local f = isolate.freeze{ inner, inner.deep, buf, buf:slice(2, 3), [inner] = "by key" }
    assert.is_true(f[1] == inner and f[2] == inner.deep and f[3] == buf)
    assert.equal("12", f[4]:sub())
    assert.equal("by key", f[inner])
    assert.same({ 5, "0123456789" }, await(isolate.run(function(g)
      collectgarbage()
      return { g[1].deep[1], g[3]:sub() }
    end, f)))
  end)

  it("cannot be changed", function()
    local f = isolate.freeze{ a = {} }
    for _, fn in ipairs{ function() f.a = 1 end, function() f.a.b = 1 end, function() f[1] = 1 end,
      function() table.insert(f, 1) end } do
      assert.matches("a frozen table cannot be changed: change a copy of it, isolate.thaw%(t%)",
        select(2, pcall(fn)))
    end
    assert.is_false((pcall(rawset, f, 1, 1)))
    assert.is_false((pcall(setmetatable, f, {})))
  end)

  it("is a copy: the table may change on", function()
    local t = { n = 1, list = { 1 } }
    local f = isolate.freeze(t)
    t.n, t.list[1] = 2, 2
    assert.same({ 1, 1 }, { f.n, f.list[1] })
  end)

  it("refuses what is no data, with its path", function()
    local _, tx = isolate.port()
    assert.equal("cannot freeze function: value.a.b", refusal{ a = { b = function() end } })
    assert.equal("cannot freeze function: value[1]", refusal{ print })
    assert.equal("cannot freeze table with a metatable: value.list[2]",
      refusal{ list = { 1, setmetatable({}, {}) } })
    assert.equal("cannot freeze table with a metatable: value", refusal(setmetatable({}, {})))
    assert.equal("cannot freeze userdata (FILE*): value key", refusal{ [io.stdout] = 1 })
    assert.equal("cannot freeze userdata (isolate.sender): value.tx", refusal{ tx = tx })
    assert.equal("cannot freeze coroutine: value[1]", refusal{ coroutine.create(print) })
    assert.equal("cannot freeze buffer that is not frozen (buf:freeze()): value[1]",
      refusal{ isolate.buffer(1) })
    assert.equal("cannot freeze function: value", refusal(print))
    assert.matches("^cannot freeze .+: value%.", refusal(_G)) -- whatever pairs gives first
    tx:close()
  end)

  it("takes any depth and size", function()
    local deep = {}
    local at = deep
    for _ = 1, scale(1000000, 20000) do
      at.next = {}
      at = at.next
    end
    local f = isolate.freeze(deep)
    assert.is_nil(f.next.next.other)
    local n, copy = 0, isolate.thaw(f)
    while copy do n, copy = n + 1, copy.next end
    assert.equal(scale(1000000, 20000) + 1, n)
    local numbers = {}
    for i = 1, 100000 do numbers[i] = i % 3 == 0 and i / 2 or i end
    local g = isolate.freeze(numbers)
    for i = 1, 100000 do
      if g[i] ~= numbers[i] then error(i) end
    end
  end)

  it("costs its memory once, though eight isolates have it", function()
    local f = isolate.freeze(records(scale(1000000, 50000)))
    local function resident()
      for line in io.lines "/proc/self/status" do
        local kib = line:match "^VmRSS:%s+(%d+)"
        if kib then return tonumber(kib) end
      end
    end
    collectgarbage()
    local before, futures, n = resident(), {}, #f
    local rx, tx = isolate.port()
    for i = 1, 8 do
      futures[i] = isolate.run(function(g)
        local r = g[n // i]
        return #g, r.id, r.name, resident(), rawequal(g[1], g[1])
      end, f)
    end
    for i = 1, 8 do
      local length, id, name, kib, same = await(futures[i])
      assert.same({ n, n // i, "name " .. n // i % 1000, true }, { length, id, name, same })
      if not settle.sanitized then assert.is_true(kib - before < 8 * 1024) end
    end
    tx:close()
    rx:close()
  end)

  it("counts for the memory cap of who froze it", function()
    local future = isolate.run({ memory = "8MiB" }, function()
      local list = {}
      for i = 1, 100 do list[i] = isolate.freeze{ ("x"):rep(1 << 20) } end
      return #list
    end)
    local ok, err = future:try(60)
    assert.is_false(ok)
    assert.equal("memory", err.code)
    assert.equal(2, await(isolate.run({ memory = "16MiB" }, function()
      for _ = 1, 100 do isolate.freeze{ ("x"):rep(1 << 20) } end -- garbage goes
      return 2
    end)))
  end)

  it("lives as long as somebody has a part of it", function()
    local part = isolate.freeze{ a = { b = { "inside" } } }.a.b
    collectgarbage()
    collectgarbage()
    assert.equal("inside", part[1])
    local rx, tx = isolate.port()
    tx:send{ isolate.freeze{ { "sent" } }[1] }
    collectgarbage()
    collectgarbage()
    assert.equal("sent", rx:receive()[1][1])
    tx:send(isolate.freeze{ 1 })
    rx:close()
  end)

  it("may hold another, and that another, without end", function()
    local f = {}
    for _ = 1, scale(200000, 20000) do f = isolate.freeze{ f } end
    assert.equal("userdata", type(f[1][1]))
  end)

  it("is read by many at once", function()
    local t = {}
    for i = 1, 1000 do t["key " .. i] = { i } end
    local f, futures = isolate.freeze(t), {}
    for k = 1, 4 do
      futures[k] = isolate.run(function(g)
        local sum = 0
        for _ = 1, 5 do
          for i = 1, 1000 do sum = sum + g["key " .. i][1] end
          for _, v in pairs(g) do sum = sum - v[1] + #tostring(v) * 0 end
        end
        return sum
      end, f)
    end
    for k = 1, 4 do assert.equal(0, await(futures[k])) end
  end)
end)

describe("isolate.thaw()", function()
  it("gives a plain copy of all of it", function()
    local t = { 1, 2, nil, 4, x = { y = { "z" } }, [2.5] = true, [-1] = "m" }
    local f = isolate.freeze(t)
    local copy = isolate.thaw(f)
    assert.same(t, copy)
    copy.x.y[1] = "changed"
    assert.equal("z", f.x.y[1])
    assert.is_nil(getmetatable(copy))
  end)

  it("keeps cycles and shared references, across frozen tables too", function()
    local shared = isolate.freeze{ s = 1 }
    local t = { shared, shared }
    t.me = t
    t[t] = t
    local copy = isolate.thaw(isolate.freeze(t))
    assert.is_true(copy.me == copy and copy[copy] == copy and copy[1] == copy[2])
    assert.equal("table", type(copy[1]))
    assert.equal(1, copy[1].s)
  end)

  it("gives back what is not frozen", function()
    local t = {}
    assert.is_true(rawequal(t, isolate.thaw(t)))
    assert.equal(5, isolate.thaw(5))
    assert.is_nil(isolate.thaw(nil))
    assert.matches("value expected", misuse(function() isolate.thaw() end))
  end)
end)
