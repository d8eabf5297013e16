-- codec_spec.lua - what can be sent, how it arrives, and how the rest is refused.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/spec_.* 112/spec_.* 113/spec_.* 121/rawlen 122 142/string 143/string
-- luacheck: ignore 211/_ENV 431/_ENV 221/nothing

-- Longer than other specs, as it goes through the table of api.md row by row: one `describe` a
-- row, then the refusals.

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert, after_each = describe, it, assert, after_each
local _ENV = _G

local isolate = require "isolate"
local lpeg = require "lpeg"
local cjson = require "cjson"
local live = require "spec.support.live"
local settle = require "spec.support.settle"

local await, failure, scale = settle.await, settle.failure, settle.scale

local function echo(...) return ... end

-- Sends `v` as an argument and as an upvalue, and back as a result. `holds(v)` says whether it is
-- what it was; it is asked before, in the isolates, and at home.
local function travels(v, holds)
  assert.is_true(holds(v), "before it is sent")
  local there, back = await(isolate.run(function(w) return holds(w), w end, v))
  assert.is_true(there, "as an argument")
  assert.is_true(holds(back), "as a result")
  there, back = await(isolate.run(function() return holds(v), v end))
  assert.is_true(there, "as an upvalue")
  assert.is_true(holds(back), "as a result of an upvalue")
end

local function is_refused(ok, err)
  assert.is_false(ok)
  assert.is_table(err)
  assert.equal("not_sendable", err.code)
  assert.is_string(err.path)
  assert.equal(err.message, tostring(err))
  return err
end

-- The error of a call that is refused at once.
local function refusal(...)
  return is_refused(pcall(isolate.run, ...))
end

-- The error of an isolate whose result is refused.
local function refused_result(fn, ...)
  return is_refused(false, failure(isolate.run(fn, ...)))
end

local function compile(text, ...)
  return assert(load(text, "=generated"))(...)
end

after_each(function()
  for name in pairs(_G) do
    if type(name) == "string" and name:match "^spec_" then _G[name] = nil end
  end
end)

describe("isolate codec", function()
  describe("scalars", function()
    it("keeps nil and booleans", function()
      travels(nil, function(v) return v == nil end)
      travels(true, function(v) return v == true end)
      travels(false, function(v) return v == false end)
    end)

    it("keeps the number and the places of nils among arguments and results", function()
      local results = table.pack(await(isolate.run(function(...)
        return select("#", ...), ...
      end, nil, 1, nil, nil)))
      assert.same({ n = 5, 4, nil, 1, nil, nil }, results)
    end)

    it("keeps integers, to their extremes", function()
      for _, i in ipairs { 0, 1, -1, 127, 128, -128, -129, 2^31 | 0, 2^53 | 0, math.maxinteger,
                           math.mininteger } do
        travels(i, function(v) return v == i and math.type(v) == "integer" end)
      end
    end)

    it("keeps floats to the bit", function()
      local floats = { 0.0, -0.0, 1.0, 0.1, -1e308, 2^53, math.huge, -math.huge, math.pi,
                       2.2250738585072014e-308, 5e-324 }
      for _, f in ipairs(floats) do
        local bits = string.pack("<d", f)
        travels(f, function(v)
          return math.type(v) == "float" and string.pack("<d", v) == bits
        end)
      end
    end)

    it("keeps the sign of -0.0", function()
      travels(-0.0, function(v) return 1 / v == -math.huge end)
    end)

    it("keeps NaN with its sign and payload", function()
      for _, bits in ipairs { "\0\0\0\0\0\0\xf8\x7f", "\0\0\0\0\0\0\xf8\xff",
                              "\1\2\3\4\0\0\xf8\x7f" } do
        local nan = string.unpack("<d", bits)
        travels(nan, function(v) return v ~= v and string.pack("<d", v) == bits end)
        travels({ nan, nan }, function(t)
          return string.pack("<d", t[1]) == bits and string.pack("<d", t[2]) == bits
        end)
      end
    end)

    it("keeps light userdata", function()
      local pointer = debug.upvalueid(function() return assert end, 1)
      assert.equal("userdata", type(pointer))
      travels(pointer, function(v) return type(v) == "userdata" end)
      assert.equal(pointer, (await(isolate.run(echo, pointer))))
      assert.equal(cjson.null, (await(isolate.run(echo, cjson.null))))
    end)
  end)

  describe("strings", function()
    it("keeps any bytes", function()
      local all = {}
      for byte = 0, 255 do all[#all + 1] = string.char(byte) end
      for _, s in ipairs { "", "a", "\0", "\0a\0", "\n\r", "\xff\xfe", table.concat(all) } do
        travels(s, function(v) return v == s and #v == #s end)
      end
    end)

    it("keeps strings around every internal length limit", function()
      for _, length in ipairs { 39, 40, 41, 127, 128, 255, 256, 65535, 65536 } do
        local s = ("\0x"):rep(length):sub(1, length)
        travels(s, function(v) return v == s end)
      end
    end)

    it("keeps a long string", function()
      local size = scale(64 << 20, 4 << 20)
      local s = ("0123456789abcde\0"):rep(size // 16)
      local n, back = await(isolate.run(function(v) return #v, v end, s))
      assert.equal(size, n)
      assert.is_true(s == back)
    end)

    it("keeps equal strings equal, as values and as keys", function()
      local long = ("long key "):rep(20)
      travels({ [long] = long, short = "short", list = { long, long, "short" } }, function(t)
        return t[long] == long and t.short == "short" and t.list[1] == long
          and t.list[2] == long and t.list[3] == "short"
      end)
    end)
  end)

  describe("tables", function()
    it("keeps arrays with holes", function()
      travels({ 1, nil, 3, nil, nil, 6 }, function(t)
        return t[1] == 1 and t[2] == nil and t[3] == 3 and t[4] == nil and t[5] == nil
          and t[6] == 6
      end)
    end)

    it("keeps table.pack's lists of nils", function()
      travels(table.pack(nil, nil, false, nil), function(t)
        return t.n == 4 and t[1] == nil and t[3] == false and t[4] == nil
      end)
    end)

    it("keeps mixed tables and every type of key", function()
      local t = { "a", "b", name = "n", [0] = "zero", [-1] = "minus", [1.5] = "float",
                  [true] = "yes", [false] = "no", [math.maxinteger] = "max", [2^60] = "big",
                  [math.huge] = "inf", [""] = "empty", ["\0"] = "zero byte" }
      travels(t, function(v)
        local count = 0
        for _ in pairs(v) do count = count + 1 end
        return count == 13 and v[1] == "a" and v[2] == "b" and v.name == "n" and v[0] == "zero"
          and v[-1] == "minus" and v[1.5] == "float" and v[true] == "yes" and v[false] == "no"
          and v[math.maxinteger] == "max" and v[1 << 60] == "big" and v[math.huge] == "inf"
          and v[""] == "empty" and v["\0"] == "zero byte"
      end)
    end)

    it("keeps the type of each number in a list", function()
      travels({ 1, 2.0, 3, 4.5, 5, "6", 7 }, function(t)
        return math.type(t[1]) == "integer" and math.type(t[2]) == "float"
          and math.type(t[3]) == "integer" and math.type(t[4]) == "float"
          and math.type(t[5]) == "integer" and t[6] == "6" and #t == 7
      end)
    end)

    it("keeps long runs of integers and of floats", function()
      local n = scale(200000, 20000)
      local integers, floats = {}, {}
      for i = 1, n do
        integers[i], floats[i] = i * i, i / 3
      end
      travels({ integers, floats }, function(t)
        for i = 1, n do
          if t[1][i] ~= i * i or math.type(t[1][i]) ~= "integer" or t[2][i] ~= i / 3 then
            return false
          end
        end
        return #t[1] == n and #t[2] == n
      end)
    end)

    it("keeps tables as keys", function()
      local key = { "key" }
      travels({ [key] = "value", key = key }, function(t)
        return t[t.key] == "value" and t.key[1] == "key"
      end)
    end)

    it("keeps a table that is a key and a value of itself", function()
      local t = {}
      t[t] = t
      travels(t, function(v) return next(v) == v and v[v] == v end)
    end)

    it("keeps cycles", function()
      local a, b = {}, {}
      a.b, b.a, a.self = b, a, a
      travels(a, function(v) return v.b.a == v and v.self == v and v.b ~= v end)
    end)

    it("keeps shared references within one value", function()
      local shared = { 1 }
      travels({ shared, shared, { deep = shared } }, function(t)
        return t[1] == t[2] and t[1] == t[3].deep and t[1][1] == 1
      end)
    end)

    it("keeps shared references among arguments and upvalues", function()
      local shared = {}
      assert.is_true(await(isolate.run(function(a, b)
        return a == b.x and a == shared
      end, shared, { x = shared })))
    end)

    it("keeps shared references among results", function()
      local a, b, c = await(isolate.run(function()
        local shared = {}
        return shared, { shared }, function() return shared end
      end))
      assert.equal(a, b[1])
      assert.equal(a, c())
    end)

    it("copies: the sender's table does not change", function()
      local t = { n = 1 }
      await(isolate.run(function(v) v.n, t.n = 2, 3 end, t))
      assert.equal(1, t.n)
    end)

    it("takes the state at the call", function()
      local t = { n = 1 }
      local future = isolate.run(function() return t.n end)
      t.n = 2
      assert.equal(1, (await(future)))
    end)

    it("keeps a million nested tables, both ways", function()
      local n = scale(1000000, 100000)
      local top = {}
      for _ = 1, n do top = { top } end
      travels(top, function(t)
        local depth = 0
        while t[1] do t, depth = t[1], depth + 1 end
        return depth == n
      end)
    end)

    it("keeps tables nested as keys", function()
      local n = scale(100000, 10000)
      local top = {}
      for _ = 1, n do top = { [top] = true } end
      travels(top, function(t)
        local depth = 0
        while next(t) do t, depth = next(t), depth + 1 end
        return depth == n
      end)
    end)

    it("keeps tables nested as metatables", function()
      local n = scale(100000, 10000)
      local top = {}
      for _ = 1, n do top = setmetatable({}, top) end
      travels(top, function(t)
        local depth = 0
        while getmetatable(t) do t, depth = getmetatable(t), depth + 1 end
        return depth == n
      end)
    end)

    it("keeps a linked list of 200,000 nodes", function()
      local n = scale(200000, 50000)
      local list
      for i = n, 1, -1 do list = { value = i, next = list } end
      travels(list, function(node)
        local i = 0
        while node do
          i = i + 1
          if node.value ~= i then return false end
          node = node.next
        end
        return i == n
      end)
    end)

    it("returns a million nested tables that the isolate made", function()
      local n = scale(1000000, 100000)
      local t = await(isolate.run(function()
        local top = {}
        for _ = 1, n do top = { top } end
        return top
      end))
      local depth = 0
      while t[1] do t, depth = t[1], depth + 1 end
      assert.equal(n, depth)
    end)
  end)

  -- Tables with the same string keys in the same order are sent as records of one shape.
  describe("records", function()
    local function same(a, b)
      if type(a) ~= "table" or type(b) ~= "table" then
        return rawequal(a, b) and math.type(a) == math.type(b)
      end
      for k, v in pairs(a) do if not same(v, rawget(b, k)) then return false end end
      for k in pairs(b) do if rawget(a, k) == nil then return false end end
      return true
    end

    -- A list of make(1) to make(n), of which each arrives as `make` makes it there.
    local function each_travels(n, make)
      local list = {}
      for i = 1, n do list[i] = make(i) end
      travels(list, function(t)
        for i = 1, n do if not same(make(i), t[i]) then return false, i end end
        return #t == n
      end)
    end

    it("keep fields of every plain type", function()
      each_travels(20, function(i)
        local long = ("x"):rep(30 + i)
        return { id = i, half = i / 2, name = "name" .. i, long = long, yes = i % 2 == 0 }
      end)
    end)

    it("may have one key, or hundreds", function()
      each_travels(20, function(i) return { only = i } end)
      for _, n in ipairs { 31, 32, 33, 250, 300 } do
        each_travels(14, function(i)
          local t = {}
          for k = 1, n do t["key" .. k] = i * k end
          return t
        end)
      end
    end)

    it("may be without some fields, or with more", function()
      each_travels(60, function(i)
        local t = { id = i, name = "n", value = i * 0.5, last = true }
        if i > 3 and i % 3 == 0 then t.value = nil end
        if i > 3 and i % 5 == 0 then t.id = nil end
        if i > 3 and i % 7 == 0 then t.extra, t.more, t[i] = i, {}, "mixed" end
        return t
      end)
    end)

    it("may have their keys in another order", function()
      each_travels(60, function(i)
        local t = {}
        for k = 1, 9 do t["key" .. (i % 4 < 2 and k or 10 - k)] = k end
        for k = 1, 9 do if (i + k) % 3 == 0 and i % 5 == 0 then t["key" .. k] = nil end end
        for k = 1, 9 do if i % 4 == 3 then t["key" .. (k * 5 % 9)] = i end end
        return t
      end)
    end)

    it("may have keys that are no strings behind those that are", function()
      local key = setmetatable({}, { __name = "key" })
      local function make(i)
        local t = { id = i, name = "n" .. i }
        if i % 2 == 0 then t[true], t[0.5], t[-i], t[key] = 1, 2, 3, 4 end
        return t
      end
      local list = {}
      for i = 1, 20 do list[i] = make(i) end
      travels(list, function(t)
        for i = 1, 20 do
          local r = t[i]
          if r.id ~= i or r.name ~= "n" .. i then return false end
          if i % 2 == 0 and not (r[true] == 1 and r[0.5] == 2 and r[-i] == 3) then return false end
          local found
          for k, v in pairs(r) do if type(k) == "table" then found = v == 4 end end
          if (i % 2 == 0) ~= (found == true) then return false end
        end
        return true
      end)
    end)

    it("may have the names of their keys as values", function()
      each_travels(20, function(i)
        return { id = i, name = i % 2 == 0 and "id" or "name", value = "value" .. i % 3 }
      end)
    end)

    it("may be inside each other, of one shape or of several", function()
      each_travels(20, function(i)
        local function node(depth)
          local point = { x = i, y = depth }
          if depth == 0 then return { id = i, point = point } end
          return { id = i, left = node(depth - 1), point = point, right = node(depth - 1) }
        end
        return node(i % 5)
      end)
    end)

    it("may be fields of a table, keys, metatables and upvalues", function()
      local t = {}
      for i = 1, 10 do
        local meta, up = { a = i, b = -i }, { a = i, b = -i }
        t["k" .. i] = { a = i, b = -i }
        t[{ a = i, b = -i }] = setmetatable({ a = i, b = -i }, meta)
        t[i] = function() return up end
      end
      travels(t, function(v)
        local keys = 0
        local function right(r, i)
          return r.a == i and r.b == -i and next(r, next(r, next(r))) == nil
        end
        for k, w in pairs(v) do
          if type(k) == "table" then
            keys = keys + 1
            if not (right(k, k.a) and right(w, k.a) and right(getmetatable(w), k.a)) then
              return false
            end
          end
        end
        for i = 1, 10 do
          if not (right(v["k" .. i], i) and right(v[i](), i)) then return false end
        end
        return keys == 10
      end)
    end)

    it("keep their metatables, and what they share", function()
      local Class = { __index = { get = function(self) return self.id end } }
      local list = {}
      for i = 1, 20 do
        local r = { id = i, list = list, before = list[i - 1] or false, tags = {} }
        r.me = setmetatable(r, Class)
        list[i] = r
      end
      travels(list, function(t)
        for i = 1, 20 do
          local r = t[i]
          if r:get() ~= i or r.list ~= t or r.me ~= r or r.before ~= (t[i - 1] or false) then
            return false
          end
          if getmetatable(r) ~= getmetatable(t[1]) then return false end
        end
        return true
      end)
    end)

    it("may change their shape on the way", function()
      each_travels(scale(3000, 300), function(i)
        local n = i // 100
        return { id = i, ["a" .. n] = n, ["b" .. n % 7] = { x = i, ["c" .. n % 3] = n } }
      end)
    end)

    it("may have thousands of shapes", function()
      local n = scale(3000, 500)
      each_travels(n, function(i)
        local shape = i // 5
        return { ["first" .. shape] = i, ["second" .. shape] = "v", ["third" .. shape] = { i } }
      end)
      each_travels(14, function(i)
        local inner = {}
        for k = 1, n // 5 do
          local shape = k // 5
          inner[k] = { ["first" .. shape] = i, ["second" .. shape] = k, ["third" .. shape] = true }
        end
        return { id = i, inner = inner, name = "outer" }
      end)
    end)

    it("may be deeper than the walk goes at once", function()
      local list
      for i = 1, 1000 do list = { value = i, next = list, point = { x = i, y = -i } } end
      travels(list, function(node)
        for i = 1000, 1, -1 do
          if node.value ~= i or node.point.x ~= i or node.point.y ~= -i then return false end
          node = node.next
        end
        return node == nil
      end)
    end)

    it("are arguments, each for itself", function()
      local r = function(i) return { a = i, b = { a = i, b = i }, c = { a = i, b = i } } end
      local sum = await(isolate.run(function(...)
        local s = 0
        for _, v in ipairs { ... } do s = s + v.a + v.b.a * 10 + v.b.b * 100 + v.c.a * 1000 end
        return s
      end, r(1), r(2), r(3), r(4), r(5), r(6), r(7), r(8)))
      assert.equal(36 * 1111, sum)
    end)

    it("are refused with the path to what is in them", function()
      for _, bad in ipairs { 1, 2, 5, 6, 7, 20 } do
        local list = {}
        for i = 1, 20 do list[i] = { id = i, part = { name = "n", what = i } } end
        list[bad].part.what = coroutine.create(print)
        local _, err = isolate.sendable(list)
        assert.equal(("message[%d].part.what"):format(bad), err.path)
      end
    end)

    it("come along as globals, also after one that cannot", function()
      spec_first, spec_second = {}, {}
      for i = 1, 20 do
        spec_first[i] = { id = i, name = "first" }
        spec_second[i] = { id = i, name = "second" }
      end
      spec_first[19].name = coroutine.create(print)
      local sum, name = await(isolate.run(function()
        local s = 0
        for _, r in ipairs(spec_second) do s = s + r.id end
        return s, spec_second[20].name, function() return spec_first end
      end))
      assert.equal(210, sum)
      assert.equal("second", name)
    end)

    it("may have objects in them that pack themselves", function()
      local list
      local meta = {
        __isolate_pack = function(self)
          for i = 1, 5 do list[#list + 1 - i].name = nil end -- the walk comes by here later
          collectgarbage()
          return "spec.support.mod_packed", "new", { a = self.a, b = self.b, { a = 1, b = 2 } }
        end,
      }
      list = {}
      for i = 1, 12 do
        list[i] = { id = i, name = "name" .. i, object = setmetatable({ a = i, b = i }, meta) }
      end
      local ids, got = await(isolate.run(function(t)
        local s, g = 0, 0
        for _, r in ipairs(t) do
          local state = r.object:reveal()
          s, g = s + r.id, g + state.a + state.b + state[1].b
        end
        return s, g
      end, list))
      assert.equal(78, ids)
      assert.equal(156 + 24, got)
    end)

    -- Eight tables have the shape's first key alone; the record that has them ends before its last.
    it("may lose their shape while they are written, in an isolate's first message too", function()
      local function order(t)
        local keys = {}
        for key in pairs(t) do keys[#keys + 1] = key end
        return keys
      end
      local function send_first(first, second, third)
        local tx, odd, list = isolate.channel(1), {}, {}
        for i = 1, 8 do odd[i] = { [first] = i } end
        for i = 1, 12 do list[i] = { [first] = i, [second] = i, [third] = i } end
        list[13] = { [first] = "first", [second] = odd }
        list[14] = "last"
        tx:send(list)
        local got = tx:receive()
        return got[13][first], got[13][third] == nil, #got[13][second], got[14], got[12][third]
      end
      local tried = 0
      for i = 0, 1000 do
        local a, b, c = "k" .. i, "m" .. i, "z" .. i
        local keys = order { [a] = 1, [b] = 2, [c] = 3 }
        local again = order { [keys[1]] = 1, [keys[2]] = 2, [keys[3]] = 3 }
        if again[1] == keys[1] and again[2] == keys[2]
          and order { [keys[1]] = 1, [keys[2]] = 2 }[1] == keys[1] then
          tried = tried + 1
          assert.same({ "first", true, 8, "last", 12 },
            { await(isolate.run(send_first, table.unpack(keys))) })
        end
        if tried == 20 then break end
      end
      assert.equal(20, tried)
    end)
  end)

  describe("metatables", function()
    it("are copied with their methods", function()
      local Class = { __index = { get = function(self) return self.x end } }
      travels(setmetatable({ x = 7 }, Class), function(v) return v:get() == 7 end)
    end)

    it("keep chains of __index", function()
      local Base = { name = function() return "base" end, kind = function() return "thing" end }
      Base.__index = Base
      local Middle = setmetatable({ name = function() return "middle" end }, Base)
      Middle.__index = Middle
      local Leaf = setmetatable({}, Middle)
      Leaf.__index = Leaf
      travels(setmetatable({}, Leaf), function(v)
        return v:name() == "middle" and v:kind() == "thing" and v.other == nil
      end)
    end)

    it("are shared by the objects that share them", function()
      local Class = {}
      local list = { setmetatable({}, Class), setmetatable({}, Class) }
      travels(list, function(t)
        return getmetatable(t[1]) ~= nil and getmetatable(t[1]) == getmetatable(t[2])
      end)
    end)

    it("bring their metamethods", function()
      local Vector = {}
      Vector.__index = Vector
      Vector.__add = function(a, b) return setmetatable({ x = a.x + b.x }, Vector) end
      Vector.__eq = function(a, b) return a.x == b.x end
      Vector.__call = function(self, n) return self.x * n end
      Vector.__tostring = function(self) return "<" .. self.x .. ">" end
      local v = setmetatable({ x = 2 }, Vector)
      travels(v, function(w)
        return (w + w).x == 4 and w(10) == 20 and tostring(w) == "<2>"
          and w == setmetatable({ x = 2 }, getmetatable(w))
      end)
    end)

    it("keep their protection by __metatable", function()
      local v = setmetatable({}, { __metatable = "locked", __index = { x = 1 } })
      travels(v, function(w) return getmetatable(w) == "locked" and w.x == 1 end)
    end)

    it("keep their mode", function()
      local key = {}
      local weak = setmetatable({ [key] = "kept" }, { __mode = "k" })
      travels({ weak, key }, function(t)
        return getmetatable(t[1]).__mode == "k" and t[1][t[2]] == "kept"
      end)
    end)

    it("are not asked: no metamethod runs while a value is sent", function()
      local function never() error "a metamethod ran" end
      local v = setmetatable({ 1, x = 2 }, { __index = never, __newindex = never, __len = never,
        __pairs = never, __eq = never, __tostring = never, __call = never, __name = "Quiet" })
      travels(v, function(w)
        return rawget(w, 1) == 1 and rawget(w, "x") == 2 and rawlen(w) == 1
      end)
    end)

    -- To make a string may end a collection, and a finalizer may change what is being sent.
    it("are looked up without a collection", function()
      local function send_all()
        local tx, meta, ran = isolate.channel(1), {}, 0
        tx:send { setmetatable({}, meta) }
        tx:receive()
        for _ = 1, 10 do
          local root, others = {}, {}
          for i = 1, 8 do root["a" .. i] = setmetatable({ "x" .. i }, meta) end
          for i = 1, 60 do others["n" .. i] = { i } end
          collectgarbage()
          setmetatable({}, { __gc = function()
            ran = ran + 1
            for key in pairs(root) do root[key] = nil end
            for key, value in pairs(others) do root[key] = value end
          end })
          local large = {}
          for i = 1, 1 << 18 do large[-i] = true end -- so that a collection is due
          tx:send(root)
          local count = 0
          for key in pairs(tx:receive()) do
            if key:find "^a" then count = count + 1 end
          end
          if count ~= 8 and count ~= 0 or not next(large) then return count end
        end
        return "whole", ran
      end
      assert.equal("whole", (await(isolate.run(send_all))))
    end)
  end)

  describe("functions", function()
    it("run with their upvalues", function()
      local a, b = 20, "x"
      travels(function(n) return a + n, b end, function(f)
        local sum, s = f(22)
        return sum == 42 and s == "x"
      end)
    end)

    it("keep their identity within one send", function()
      local function f() end
      travels({ f, f, [f] = true }, function(t) return t[1] == t[2] and t[t[1]] end)
    end)

    it("stay different functions where they were different", function()
      local list = {}
      for i = 1, 3 do list[i] = function() return i end end
      travels(list, function(t)
        return t[1]() == 1 and t[2]() == 2 and t[3]() == 3 and t[1] ~= t[2]
      end)
    end)

    it("share the upvalues that they shared", function()
      local n = 0
      local counter = { up = function() n = n + 1 end, get = function() return n end }
      local function counts(c)
        local before = c.get()
        c.up()
        c.up()
        return c.get() == before + 2
      end
      -- `counts` changes the counter, so each look starts from where the last one left it.
      travels(counter, counts)
    end)

    it("share upvalues with the function that is run", function()
      local n = 0
      local function up() n = n + 1 end
      assert.equal(2, (await(isolate.run(function()
        up()
        up()
        return n
      end))))
      assert.equal(0, n)
    end)

    it("share upvalues among arguments, upvalues and results", function()
      local n = 0
      local function up() n = n + 1 end
      local function get() return n end
      local seen, up2, get2 = await(isolate.run(function(u)
        u()
        return get(), u, get
      end, up))
      assert.equal(1, seen)
      up2()
      assert.equal(2, get2())
      assert.equal(0, get())
    end)

    it("do not share upvalues that only have the same value", function()
      local function counter()
        local n = 0
        return function()
          n = n + 1
          return n
        end
      end
      local a, b = counter(), counter()
      assert.equal(1, (await(isolate.run(function()
        a()
        a()
        return b()
      end))))
    end)

    it("may be recursive", function()
      local function factorial(n) return n <= 1 and 1 or n * factorial(n - 1) end
      travels(factorial, function(f) return f(10) == 3628800 end)
      assert.equal(120, (await(isolate.run(factorial, 5))))
    end)

    it("may be mutually recursive", function()
      local even, odd
      function even(n) return n == 0 or odd(n - 1) end
      function odd(n) return n ~= 0 and even(n - 1) end
      travels(even, function(f) return f(10) and not f(7) end)
    end)

    it("may be part of a cycle through tables", function()
      local object = {}
      function object.me() return object end
      travels(object, function(o) return o.me() == o end)
    end)

    it("may be nested as upvalues of each other, very deep", function()
      local n = scale(20000, 5000)
      local f = function() return end
      for _ = 1, n do
        local g = f
        f = function() return g end
      end
      travels(f, function(g)
        local depth = 0
        while g() do g, depth = g(), depth + 1 end
        return depth == n
      end)
    end)

    it("may be variadic", function()
      travels(function(...) return select("#", ...), (select(-1, ...)) end, function(f)
        local n, last = f(1, nil, 3)
        return n == 3 and last == 3
      end)
    end)

    it("keep their debug information", function()
      local line = debug.getinfo(1, "l").currentline + 1
      local function f() error "here" end
      travels(f, function(g)
        local info = debug.getinfo(g, "S")
        local _, err = pcall(g)
        return info.linedefined == line and info.short_src:match "codec_spec%.lua$" ~= nil
          and err:match("codec_spec%.lua:" .. line .. ": here$") ~= nil
      end)
    end)

    it("keep the names of their upvalues", function()
      local named = 1
      travels(function() return named end, function(f)
        return debug.getupvalue(f, 1) == "named"
      end)
    end)

    it("may have an upvalue that is nil", function()
      local a, b, c = nil, 2, nil
      travels(function() return a, b, c end, function(f)
        local x, y, z = f()
        return x == nil and y == 2 and z == nil
      end)
    end)

    it("may have a sole upvalue, and that nil", function()
      local nothing
      travels(function() return nothing end, function(f) return f() == nil end)
      assert.is_nil((await(isolate.run(function() return nothing end))))
    end)

    it("may have a sole upvalue that is not _ENV", function()
      local t = { 42 }
      travels(function() return t end, function(f) return f()[1] == 42 end)
      assert.equal(42, await(isolate.run(function() return t end))[1])
    end)

    it("may have no upvalue at all", function()
      travels(function(a, b) return a + b end, function(f) return f(1, 2) == 3 end)
    end)

    it("may have 255 upvalues", function()
      local outer, inner, sum, expected = {}, {}, {}, 0
      for i = 1, 150 do outer[i] = "a" .. i end
      for i = 1, 105 do inner[i] = "b" .. i end
      table.move(outer, 1, 150, 1, sum)
      table.move(inner, 1, 105, 151, sum)
      local values = {}
      for i = 1, 255 do
        values[i] = i
        expected = expected + i * i
      end
      for i, name in ipairs(sum) do sum[i] = name .. "*" .. i end
      local f = compile(("local v = ...; local %s = table.unpack(v, 1, 150)\n" ..
        "local function make(w)\nlocal %s = table.unpack(w, 151, 255)\n" ..
        "return function() return %s end\nend\nreturn make(v)"):format(
        table.concat(outer, ","), table.concat(inner, ","), table.concat(sum, "+")), values)
      assert.equal(255, debug.getinfo(f, "u").nups)
      travels(f, function(g) return g() == expected end)
    end)

    it("may be longer than 64K instructions", function()
      local lines = { "local s = ... " }
      for i = 1, 70000 do lines[#lines + 1] = "s = s + " .. i % 100 end
      lines[#lines + 1] = "return s"
      local f = assert(load(table.concat(lines, "\n"), "=long"))
      local expected = f(1)
      travels(f, function(g) return g(1) == expected end)
    end)

    it("may have more constants than 64K, and than 128K", function()
      local n = 140000
      local values = {}
      for i = 1, n do values[i] = ("%d.5"):format(i) end
      local f = assert(load("return {" .. table.concat(values, ",") .. "}, spec_after_constants"))
      spec_after_constants = "captured"
      local t, global = await(isolate.run(f))
      assert.equal(n, #t)
      assert.equal(1.5, t[1])
      assert.equal(n + 0.5, t[n])
      assert.equal("captured", global)
    end)

    it("may have been compiled stripped", function()
      local source = assert(load "local n = ...; n = n or 1; return type(n), n + 1, spec_stripped")
      local f = assert(load(string.dump(source, true), "=stripped", "b"))
      spec_stripped = "global"
      local kind, n, global = await(isolate.run(f, 41))
      assert.equal("number", kind)
      assert.equal(42, n)
      assert.equal("global", global)
    end)

    it("may have been compiled stripped and have any upvalues", function()
      local a, b = { 1 }, nil
      local f = load(string.dump(function() return a, b, type end, true), "=stripped", "b")
      for i = 1, 3 do
        local _, value = debug.getupvalue(function() return a, b, type end, i)
        debug.setupvalue(f, i, value)
      end
      travels(f, function(g)
        local x, y, z = g()
        return x[1] == 1 and y == nil and z == type
      end)
    end)

    it("may contain any constant and any nested function", function()
      travels(function()
        local list = { "\0", -0.0, math.mininteger, 0x7fffffffffffffff, 1e308, true, "é" }
        local function nested() return function() return list end end
        return nested()()
      end, function(f)
        local t = f()
        return t[1] == "\0" and 1 / t[2] < 0 and t[3] == math.mininteger
          and t[4] == math.maxinteger and t[5] == 1e308 and t[6] and t[7] == "é"
      end)
    end)
  end)

  describe("_ENV", function()
    it("arrives as the receiver's globals", function()
      assert.is_true(await(isolate.run(function()
        spec_written = 1
        return _G.spec_written == 1 and _ENV == _G
      end)))
      assert.is_nil(rawget(_G, "spec_written"))
    end)

    it("may be any upvalue", function()
      local a, b = 1, 2
      local function last() return a, b, type end
      local function middle() return a, type, b end
      local function first() return type, a, b end
      travels(last, function(f) return select(3, f()) == type end)
      travels(middle, function(f) return select(2, f()) == type end)
      travels(first, function(f) return f() == type end)
    end)

    it("may be absent", function()
      local x = {}
      travels(function() return x end, function(f) return type(f()) == "table" end)
    end)

    it("may be a custom table", function()
      local function made()
        local _ENV = { x = 5 }
        return function()
          y = x -- luacheck: ignore
          return y, x -- luacheck: ignore
        end
      end
      travels(made(), function(f)
        local y, x = f()
        return y == 5 and x == 5
      end)
    end)

    it("may be a custom table over the globals", function()
      local G = _G
      local function made()
        local _ENV = G.setmetatable({ x = 5 }, { __index = G })
        return function() return type(x), _ENV end -- luacheck: ignore
      end
      travels(made(), function(f)
        local kind, env = f()
        return kind == "number" and getmetatable(env).__index == _G and rawget(env, "type") == nil
      end)
    end)

    it("may be no table", function()
      local function made()
        local _ENV = 5
        return function() return _ENV end
      end
      travels(made(), function(f) return f() == 5 end)
    end)

    it("is known by its identity, not by its name", function()
      local g = _G
      travels(function() return g end, function(f) return f() == _G end)
    end)

    it("is the globals also inside a table and as an argument", function()
      travels({ env = _G }, function(t) return t.env == _G end)
    end)
  end)

  describe("globals of a function that is run", function()
    it("are captured when it names them", function()
      spec_square = function(n) return n * n end
      spec_config = { depth = 3 }
      assert.equal(52, (await(isolate.run(function()
        return spec_square(7) + spec_config.depth
      end))))
    end)

    it("are captured when they are false", function()
      spec_flag = false
      assert.is_false((await(isolate.run(function() return spec_flag end))))
    end)

    it("are captured with their value at the call", function()
      spec_value = 1
      local future = isolate.run(function() return spec_value end)
      spec_value = 2
      assert.equal(1, (await(future)))
    end)

    it("are nil where they are nil", function()
      assert.is_nil((await(isolate.run(function() return spec_nothing end))))
    end)

    it("are captured for a global function that is run itself", function()
      function spec_factorial(n) return n <= 1 and 1 or n * spec_factorial(n - 1) end
      assert.equal(120, (await(isolate.run(spec_factorial, 5))))
    end)

    it("are captured for nested functions", function()
      spec_deep = "found"
      assert.equal("found", (await(isolate.run(function()
        local a = 1
        local function middle()
          local b = a
          return function() return spec_deep, b end
        end
        return (middle()())
      end))))
    end)

    it("are captured through the functions they are", function()
      function spec_a() return spec_b() + 1 end
      function spec_b() return spec_c() + 1 end
      function spec_c() return 40 end
      assert.equal(42, (await(isolate.run(function() return spec_a() end))))
    end)

    it("are captured through functions in upvalues and in tables", function()
      spec_unit = "px"
      local function label(n) return n .. spec_unit end
      local methods = { twice = function(n) return label(n) .. label(n) end }
      assert.equal("1px1px", (await(isolate.run(function() return methods.twice(1) end))))
      spec_library = { label = function(n) return n .. spec_unit end }
      assert.equal("2px", (await(isolate.run(function() return spec_library.label(2) end))))
    end)

    it("are captured when their names are long", function()
      local name = "spec_" .. ("long"):rep(20)
      _G[name] = "value"
      assert.equal("value", (await(isolate.run(compile("return function() return " .. name ..
        " end")))))
    end)

    it("are captured past 255 constants", function()
      local lines = { "local t = {}" }
      for i = 1, 300 do lines[#lines + 1] = ("t[%d] = 'constant %d'"):format(i, i) end
      lines[#lines + 1] = "return spec_far, #t, spec_call(2)"
      spec_far = "far"
      function spec_call(n) return n * 2 end
      local far, n, doubled = await(isolate.run(assert(load(table.concat(lines, "\n")))))
      assert.equal("far", far)
      assert.equal(300, n)
      assert.equal(4, doubled)
    end)

    it("are captured in a nested function past 255 constants", function()
      local lines = { "return (function() local t = {}" }
      for i = 1, 300 do lines[#lines + 1] = ("t[%d] = 'constant %d'"):format(i, i) end
      lines[#lines + 1] = "return spec_far end)()"
      spec_far = "far"
      assert.equal("far", (await(isolate.run(assert(load(table.concat(lines, "\n")))))))
    end)

    it("are one send with arguments and upvalues", function()
      spec_shared = {}
      local upvalue = spec_shared
      assert.is_true(await(isolate.run(function(argument)
        return argument == spec_shared and upvalue == spec_shared
      end, spec_shared)))
    end)

    it("share upvalues with the function", function()
      local n = 0
      function spec_up() n = n + 1 end
      assert.equal(1, (await(isolate.run(function()
        spec_up()
        return n
      end))))
    end)

    it("are not captured when they are only written", function()
      spec_out = "home"
      assert.is_true(await(isolate.run(function()
        local before = rawget(_G, "spec" .. "_out")
        spec_out = 1
        return before == nil and rawget(_G, "spec" .. "_out") == 1
      end)))
      assert.equal("home", spec_out)
    end)

    it("belong to that isolate alone", function()
      spec_mine = "mine"
      await(isolate.run(function() return spec_mine end))
      assert.is_nil((await(isolate.run(function() return rawget(_G, "spec" .. "_mine") end))))
    end)

    it("are not captured with globals = 'none'", function()
      spec_value = 1
      assert.is_nil((await(isolate.run({ globals = "none" }, function() return spec_value end))))
      assert.equal(1, (await(isolate.run({ globals = "capture" }, function()
        return spec_value
      end))))
    end)

    it("are never those of the standard libraries", function()
      local original = rawlen
      rawlen = function() return "changed" end
      local future = isolate.run(function() return rawlen { 1, 2 } end)
      rawlen = original
      assert.equal(2, (await(future)))
    end)

    it("do not ask the metatable of the globals", function()
      setmetatable(_G, { __index = function(_, name) error("undeclared " .. name) end })
      local ok, future = pcall(isolate.run, function() return spec_undeclared == nil end)
      setmetatable(_G, nil)
      assert.is_true(ok)
      assert.is_true(await(future))
    end)

    it("are not captured by functions in ordinary messages", function()
      spec_home = "home"
      local f = await(isolate.run(function()
        spec_remote, spec_home = "remote", "remote"
        return function() return spec_remote, spec_home end
      end))
      local remote, home = f()
      assert.is_nil(remote)
      assert.equal("home", home)
    end)

    describe("that cannot be sent", function()
      it("do not fail the call", function()
        spec_log = io.stdout
        assert.equal(1, (await(isolate.run(function(skip)
          if not skip then spec_log:write "x" end
          return 1
        end, true))))
      end)

      it("raise where they are read, with name and reason", function()
        spec_log = io.stdout
        local ok, err = await(isolate.run(function()
          local ok, err = pcall(function() return spec_log end)
          return ok, tostring(err)
        end))
        assert.is_false(ok)
        assert.matches("spec_log", err, 1, true)
        assert.matches("FILE*", err, 1, true)
        err = tostring(failure(isolate.run(function() return spec_log end)))
        assert.matches("spec_log", err, 1, true)
      end)

      it("raise for a function with such an upvalue", function()
        local log = io.stdout
        function spec_write(s) log:write(s) end
        local err = tostring(failure(isolate.run(function() spec_write "x" end)))
        assert.matches("spec_write", err, 1, true)
        assert.matches("upvalue 'log'", err, 1, true)
      end)

      it("can be assigned before they are read", function()
        spec_log = io.stdout
        assert.equal("mine", (await(isolate.run(function()
          spec_log = "mine"
          return spec_log
        end))))
      end)

      it("do not show in a traversal of the globals", function()
        spec_log = io.stdout
        assert.is_false((await(isolate.run(function()
          local found = false
          for name in pairs(_G) do found = found or name == "spec" .. "_log" end
          return found, function() return spec_log end
        end))))
      end)

      it("leave what they share with other values whole", function()
        local shared = { 1 }
        spec_bad = { shared, { io.stdout }, shared }
        spec_good = { shared }
        assert.is_true(await(isolate.run(function(a)
          return a == spec_good[1] and a == shared and a[1] == 1
            and not pcall(function() return spec_bad end)
        end, shared)))
      end)
    end)
  end)

  describe("C functions and modules", function()
    it("go by name: standard functions", function()
      local rep, insert = string.rep, table.insert
      assert.is_true(await(isolate.run(function(p)
        return rep == string.rep and insert == table.insert and p == print
      end, print)))
      assert.equal(string.rep, (await(isolate.run(echo, string.rep))))
      assert.equal(string, (await(isolate.run(echo, string))))
    end)

    it("can be run", function()
      assert.equal("ababab", (await(isolate.run(string.rep, "ab", 3))))
      assert.same({ a = { 1, 2 } }, (await(isolate.run(cjson.decode, '{"a":[1,2]}'))))
    end)

    it("go by name: a C module as an upvalue", function()
      local n = await(isolate.run(function()
        local digits = lpeg.C(lpeg.R "09" ^ 1) / tonumber
        return lpeg.match(digits, "42 apples")
      end))
      assert.equal(42, n)
    end)

    it("keep their identity in the isolate and back home", function()
      local P, decode = lpeg.P, cjson.decode
      local there, a, b, c = await(isolate.run(function()
        return lpeg == require "lpeg" and P == lpeg.P and decode == require "cjson".decode,
          lpeg, P, decode
      end))
      assert.is_true(there)
      assert.equal(lpeg, a)
      assert.equal(lpeg.P, b)
      assert.equal(cjson.decode, c)
    end)

    it("go by name: a Lua module and its direct fields", function()
      local M = require "spec.support.mod_fields"
      local double = M.double
      local there, m, d, point = await(isolate.run(function(settings)
        local R = require "spec.support.mod_fields"
        return R == M and R.double == double and R.settings == settings, R, R.double, R.Point
      end, M.settings))
      assert.is_true(there)
      assert.equal(M, m)
      assert.equal(M.double, d)
      assert.equal(M.Point, point)
    end)

    it("go by name: modules of package.preload", function()
      package.preload["spec.preloaded"] = function() return { answer = 42 } end
      local M = require "spec.preloaded"
      local ok, answer, same = pcall(function()
        return await(isolate.run(function()
          return M.answer, M == require "spec.preloaded"
        end))
      end)
      package.preload["spec.preloaded"], package.loaded["spec.preloaded"] = nil, nil
      assert.is_true(ok, answer)
      assert.equal(42, answer)
      assert.is_true(same)
    end)

    it("are copied where a fresh isolate cannot find the module", function()
      local M = { f = function() return "copied" end }
      package.loaded["spec.nowhere"] = M
      local ok, result = pcall(function()
        return await(isolate.run(function() return M.f() end))
      end)
      package.loaded["spec.nowhere"] = nil
      assert.is_true(ok, result)
      assert.equal("copied", result)
    end)

    it("are copied when they were added to a standard library", function()
      string.spec_trim = function(s) return s:match "^%s*(.-)%s*$" end
      local trim = string.spec_trim
      local ok, result = pcall(function()
        return await(isolate.run(function() return trim "  a  " end))
      end)
      string.spec_trim = nil
      assert.is_true(ok, result)
      assert.equal("a", result)
    end)

    it("are refused when nothing names them", function()
      local iterator = string.gmatch("a", "a")
      assert.equal("argument #1", refusal(echo, iterator).path)
      assert.equal("upvalue 'iterator'", refusal(function() return iterator end).path)
    end)
  end)

  describe("classes", function()
    it("go by name when they are a module", function()
      local Account = require "spec.support.mod_class"
      local account = Account.new(10)
      local there, back, fresh = await(isolate.run(function(a)
        local R = require "spec.support.mod_class"
        return getmetatable(a) == R and a == account, account:deposit(5), R.new(1)
      end, account))
      assert.is_true(there)
      assert.equal(Account, getmetatable(back))
      assert.equal(15, back.balance)
      assert.equal(Account, getmetatable(fresh))
      assert.equal(10, account.balance)
    end)

    it("go by name when they are a field of a module", function()
      local M = require "spec.support.mod_fields"
      local p = M.point(3, -4)
      local there, back = await(isolate.run(function()
        local R = require "spec.support.mod_fields"
        return getmetatable(p) == R.Point and p:norm1() == 7, R.point(3, -4)
      end))
      assert.is_true(there)
      assert.equal(M.Point, getmetatable(back))
      assert.is_true(p == back)
    end)

    it("go by name when they are registered by a module there, too", function()
      local tickets = require "spec.support.mod_registered"
      local ticket = tickets.new(7)
      local there, label, back = await(isolate.run({ init = "spec.support.mod_registered" },
        function(t)
          return require "spec.support.mod_registered".is_ticket(t), t:label(), t
        end, ticket))
      assert.is_true(there)
      assert.equal("ticket 7", label)
      assert.is_true(tickets.is_ticket(back))
    end)

    it("are copied, but keep their name, when they are registered only here", function()
      local Local = {}
      Local.__index = Local
      function Local:value() return self.v end
      isolate.register("spec.codec.Local", Local)
      local value, object, class = await(isolate.run(function(o)
        return o:value(), o, getmetatable(o)
      end, setmetatable({ v = 9 }, Local)))
      assert.equal(9, value)
      assert.equal(Local, getmetatable(object))
      assert.equal(Local, class)
    end)
  end)

  describe("isolate.register()", function()
    it("names functions and tables", function()
      local function f() return 1 end
      local t = { 1 }
      isolate.register("spec.codec.f", f)
      isolate.register("spec.codec.t", t)
      local one, f2, t2 = await(isolate.run(function() return f() + #t, f, t end))
      assert.equal(2, one)
      assert.equal(f, f2)
      assert.equal(t, t2)
    end)

    it("gives the receiver its own value when it registered one", function()
      local mine = { who = "home" }
      isolate.register("spec.codec.who", mine)
      local who, back = await(isolate.run({
        init = function() isolate.register("spec.codec.who", { who = "isolate" }) end,
      }, function(v) return v.who, v end, mine))
      assert.equal("isolate", who)
      assert.equal(mine, back)
    end)

    it("raises for what is no name, class, function or table", function()
      assert.has_error(function() isolate.register({}, {}) end)
      assert.has_error(function() isolate.register("spec.codec.bad", 5) end)
    end)
  end)

  describe("__isolate_pack", function()
    it("rebuilds an object from its packed state", function()
      local packed = require "spec.support.mod_packed"
      local revealed, back = await(isolate.run(function(v)
        return v:reveal(), v
      end, packed.new { 1, "two" }))
      assert.same({ 1, "two" }, revealed)
      assert.same({ 1, "two" }, back:reveal())
    end)

    it("keeps one object one object", function()
      local packed = require "spec.support.mod_packed"
      local shared = { 5 }
      local object = packed.new(shared)
      travels({ object, object, shared }, function(t)
        return t[1] == t[2] and t[1]:reveal() == t[3] and t[3][1] == 5
      end)
    end)

    it("works for userdata", function()
      local file = io.tmpfile()
      local original = debug.getmetatable(file)
      debug.setmetatable(file, {
        __isolate_pack = function() return "spec.support.mod_packed", "new", "from userdata" end,
      })
      local ok, future = pcall(isolate.run, function(v) return v:reveal() end, file)
      debug.setmetatable(file, original)
      file:close()
      assert.is_true(ok, future)
      assert.equal("from userdata", (await(future)))
    end)

    it("fails the future when the receiver cannot find the module", function()
      local v = setmetatable({}, { __isolate_pack = function() return "spec.gone", "f", 1 end })
      assert.matches("spec.gone", tostring(failure(isolate.run(echo, v))), 1, true)
    end)

    it("fails the call when it raises or gives no names", function()
      local raising = setmetatable({}, { __isolate_pack = function() error "cannot pack" end })
      local ok, err = pcall(isolate.run, echo, raising)
      assert.is_false(ok)
      assert.matches("cannot pack", tostring(err), 1, true)
      assert.is_false((pcall(isolate.run, echo,
        setmetatable({}, { __isolate_pack = function() return 5 end }))))
    end)

    it("refuses the object, with its path, for the reason that it gives", function()
      local v = setmetatable({}, { __isolate_pack = function() return nil, "a door: shut" end })
      local ok, err = isolate.sendable { v }
      assert.same({ false, "not_sendable", "cannot send a door: shut: message[1]" },
        { ok, err.code, err.message })
    end)

    it("refuses a state that cannot be sent", function()
      local v = setmetatable({}, {
        __isolate_pack = function() return "spec.support.mod_packed", "new", io.stdout end,
      })
      assert.matches("^argument #1", refusal(echo, v).path)
    end)
  end)

  describe("isolate handles", function()
    it("are the same thing at the other end", function()
      local future = isolate.run(function() return 1 end)
      local handle = future.isolate
      local id, name, back = await(isolate.run(function(h) return h.id, h.name, h end, handle))
      assert.equal(handle.id, id)
      assert.equal(handle.name, name)
      assert.is_true(handle == back)
      await(future)
    end)
  end)

  describe("a refusal", function()
    it("names an upvalue and a field", function()
      local cfg = { log = io.stdout }
      local err = refusal(function() return cfg end)
      assert.equal("upvalue 'cfg'.log", err.path)
      assert.equal("cannot send userdata (FILE*): upvalue 'cfg'.log", err.message)
    end)

    it("names an argument, an index and a field", function()
      local err = refusal(echo, 1, { 0, 0, { conn = io.stdout } })
      assert.equal("argument #2[3].conn", err.path)
      assert.equal("cannot send userdata (FILE*): argument #2[3].conn", err.message)
    end)

    it("names a result", function()
      local err = refused_result(function() return io.stdout end)
      assert.equal("result #1", err.path)
      assert.equal("cannot send userdata (FILE*): result #1", err.message)
      assert.equal("result #2.a[1]",
        refused_result(function() return 1, { a = { io.stdout } } end).path)
    end)

    it("names a key that is no identifier", function()
      assert.equal('argument #1.jobs["a b"]',
        refusal(echo, { jobs = { ["a b"] = io.stdout } }).path)
      assert.equal('argument #1["1a"].x', refusal(echo, { ["1a"] = { x = io.stdout } }).path)
      assert.equal("argument #1[1.5]", refusal(echo, { [1.5] = io.stdout }).path)
      assert.equal("argument #1[true]", refusal(echo, { [true] = io.stdout }).path)
      assert.equal("argument #1[-7]", refusal(echo, { [-7] = io.stdout }).path)
    end)

    it("names the upvalue of an upvalue", function()
      local db = io.stdout
      local function f() return db end
      assert.equal("upvalue 'f' upvalue 'db'", refusal(function() return f end).path)
    end)

    it("names the upvalue of an argument", function()
      local db = { handle = io.stdout }
      assert.equal("argument #1.get upvalue 'db'.handle",
        refusal(echo, { get = function() return db end }).path)
    end)

    it("names a key", function()
      assert.matches("^argument #1.*key", refusal(echo, { [io.stdout] = 1 }).path)
      assert.matches("^argument #1%.x.*key.*%[2%]",
        refusal(echo, { x = { [{ 1, io.stdout }] = true } }).path)
    end)

    it("names a metatable", function()
      local v = setmetatable({}, { __index = { log = io.stdout } })
      assert.matches("^argument #1.*metatable.*__index.*log$", refusal(echo, v).path)
    end)

    it("meets coroutines", function()
      local err = refusal(echo, { co = coroutine.create(print) })
      assert.equal("argument #1.co", err.path)
      assert.is_truthy(err.message:find "coroutine" or err.message:find "thread")
      assert.equal("argument #1", refusal(echo, (coroutine.running())).path)
      assert.equal("argument #1", refusal(echo, coroutine.wrap(print)).path)
    end)

    it("meets files and LPeg patterns", function()
      local file <close> = io.tmpfile()
      assert.equal("argument #1", refusal(echo, file).path)
      local err = refusal(echo, lpeg.P "x")
      assert.equal("argument #1", err.path)
      assert.matches("lpeg", err.message, 1, true)
    end)

    it("meets tables with __gc", function()
      local err = refusal(echo, { r = setmetatable({}, { __gc = function() end }) })
      assert.matches("^argument #1%.r", err.path)
      assert.matches("__gc", err.message, 1, true)
    end)

    it("meets futures", function()
      local future = isolate.run(echo)
      assert.equal("argument #2", refusal(echo, 1, future).path)
      await(future)
    end)

    it("meets captured to-be-closed variables", function()
      local x <close> = setmetatable({}, { __close = function() end })
      local err = refusal(function() return x end)
      assert.equal("upvalue 'x'", err.path)
      local function f() return x end
      assert.equal("upvalue 'f' upvalue 'x'", refusal(function() return f end).path)
      assert.equal("argument #1 upvalue 'x'", refusal(echo, f).path)
    end)

    it("meets to-be-closed variables of a stripped function", function()
      local x <close> = setmetatable({}, { __close = function() end })
      local function f() return x end
      local stripped = load(string.dump(f, true), "=stripped", "b")
      debug.upvaluejoin(stripped, 1, f, 1)
      assert.matches("^argument #1", refusal(echo, stripped).path)
    end)

    it("lets a to-be-closed variable's value go as a plain value", function()
      local closed = false
      do
        local x <close> = setmetatable({ 1 }, { __close = function() closed = true end })
        assert.equal(1, await(isolate.run(function(v) return v[1] end, x)))
        assert.is_false(closed)
      end
      assert.is_true(closed)
    end)

    it("comes before any isolate is started", function()
      local before = live.count()
      refusal(function() return lpeg, io.stdout end, io.stdout)
      assert.equal("", live.left_since(before))
    end)

    it("is quick and bounded at the bottom of a million tables", function()
      local top = { io.stdout }
      for _ = 1, scale(1000000, 100000) do top = { top } end
      local start = settle.now()
      local err = refusal(echo, top)
      assert.is_true(settle.now() - start < settle.limit)
      assert.matches("^argument #1%[1%]", err.path)
      assert.is_true(#err.message < 10000)
    end)

    it("is quick and bounded at the end of a list of 200,000 nodes", function()
      local list = { last = io.stdout }
      for i = 1, scale(200000, 50000) do list = { value = i, next = list } end
      local err = refusal(function() return list end)
      assert.matches("^upvalue 'list'%.next", err.path)
      assert.matches("%.last$", err.path)
      assert.is_true(#err.message < 10000)
    end)

    it("is bounded with a huge key", function()
      assert.is_true(#refusal(echo, { [("k"):rep(1 << 20)] = io.stdout }).message < 10000)
    end)

    it("comes out of the isolate for a deep result, too", function()
      local n = scale(1000000, 100000)
      local err = refused_result(function()
        local top = { io.stdout }
        for _ = 1, n do top = { top } end
        return top
      end)
      assert.matches("^result #1%[1%]", err.path)
      assert.is_true(#err.message < 10000)
    end)

    it("leaves everything usable", function()
      local t = { 1, { 2 } }
      refusal(echo, t, io.stdout)
      assert.same({ 1, { 2 } }, (await(isolate.run(echo, t))))
      assert.same({ 1, { 2 } }, t)
    end)

    it("leaves nothing behind", function()
      local payload = { ("x"):rep(10000), { 1, 2, 3 }, function() return lpeg end, io.stdout }
      local function many(n)
        for _ = 1, n do refusal(echo, payload) end
      end
      many(10)
      local before = live.count()
      many(1000)
      assert.equal("", live.left_since(before))
    end)
  end)

  describe("isolate.sendable()", function()
    it("is true for what can be sent", function()
      local cycle = {}
      cycle.self = cycle
      for _, v in ipairs { 1, "s", true, cycle, print, lpeg, echo, _G } do
        assert.is_true(isolate.sendable(v))
      end
      assert.is_true(isolate.sendable(nil))
    end)

    it("is false and the error for what cannot", function()
      local err = is_refused(isolate.sendable { log = { io.stdout } })
      assert.matches("%.log%[1%]$", err.path)
      assert.matches("^cannot send userdata %(FILE%*%)", err.message)
      is_refused(isolate.sendable(coroutine.create(print)))
      is_refused(isolate.sendable(lpeg.P "x"))
    end)

    it("leaves nothing behind", function()
      local v = { ("x"):rep(10000), echo, { { 1 } } }
      isolate.sendable(v)
      local before = live.count()
      for _ = 1, 1000 do isolate.sendable(v) end
      assert.equal("", live.left_since(before))
    end)
  end)
end)
