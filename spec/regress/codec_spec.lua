-- codec_spec.lua - regressions: tables of any layout, preloaded C functions, refusals that say why.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local lfs = require "lfs"
local settle = require "spec.support.settle"

local await, scale = settle.await, settle.scale

-- ---- Random tables, the same in each run ----

local seed = 20261122

-- An integer from 1 to n.
local function random(n)
  seed = (seed * 1103515245 + 12345) & 0x7fffffff
  return (seed >> 8) % n + 1
end

local function one_of(list) return list[random(#list)] end

local numbers = {
  0, -1, 255, 256, -32769, math.maxinteger, math.mininteger, 2 ^ 53, 0.0, -0.0, 0.1, -1e308, 1 / 0,
}

-- A size: often a power of two or next to it, where the parts of a table change.
local function size()
  if random(3) == 1 then return random(40) - 1 end
  return math.max(0, (1 << random(9) - 1) + random(3) - 2)
end

local scalars = {
  function(i) return i end,
  function() return random(1000000) - 500000 end,
  function(i) return i + 0.5 end,
  function(i) return i + 0.0 end,
  function() return one_of(numbers) end,
  function() return random(2) == 1 end,
  function(i) return "s" .. i % 7 end,
  function() return ("x"):rep(random(80)) end,
}

local tables -- a list of functions that make tables

local function make_table(depth) return one_of(tables)(depth) end

-- The value for a place of a table: from one kind, or in runs, or mixed.
local function chooser(depth)
  local mixed = random(3)
  local kind, run = one_of(scalars), random(40)
  return function(i)
    if depth < 3 and random(30) == 1 then return make_table(depth + 1) end
    if mixed == 1 then kind = one_of(scalars) end
    if mixed == 2 and i % run == 0 then kind = one_of(scalars) end
    return kind(i)
  end
end

tables = {
  function(depth) -- forwards: the array part
    local t, value = {}, chooser(depth)
    for i = 1, size() do t[i] = value(i) end
    return t
  end,
  function(depth) -- backwards: the hash part
    local t, value = {}, chooser(depth)
    for i = size(), 1, -1 do t[i] = value(i) end
    return t
  end,
  function(depth) -- from a constructor's array part, with values that grow it
    local t, value = { 1, nil, 3, nil, nil, 6, nil }, chooser(depth)
    for i = 8, 7 + random(5) do t[i] = value(i) end
    return t
  end,
  function(depth) -- moved
    local t, value = {}, chooser(depth)
    local n = size()
    for i = 1, n do t[i] = value(i) end
    local to = table.move(t, 1, n, random(20), random(2) == 1 and {} or t)
    return to
  end,
  function(depth) -- packed, with nils
    local list, value = {}, chooser(depth)
    local n = math.min(size(), 100)
    for i = 1, n do list[i] = random(3) > 1 and value(i) or nil end
    return table.pack(table.unpack(list, 1, n))
  end,
  function(depth) -- with its end, its start or every other taken away
    local t, value = {}, chooser(depth)
    local n = size()
    for i = 1, n do t[i] = value(i) end
    local from, to, step = 1, n, 1
    local how = random(4)
    if how == 1 then from = n - random(n + 1) + 2 end
    if how == 2 then to = random(n + 1) - 1 end
    if how == 3 then step = 2 end
    if how == 4 then from, to = n, n end
    for i = from, to, step do t[i] = nil end
    return t
  end,
  function(depth) -- the array part shrinks and grows again
    local t, value = {}, chooser(depth)
    local n = size()
    for i = 1, n do t[i] = value(i) end
    for i = n, 1, -1 do t[i] = nil end
    for i = 1, random(n + 1) do t["k" .. i] = i end
    for i = 1, random(n + 1), random(3) do t[i] = value(i) end
    return t
  end,
  function(depth) -- keys of all kinds
    local t, value = {}, chooser(depth)
    for i = 1, size() do
      local key = one_of {
        i, i, i, -i, "k" .. i, i + 0.5, i * 1000003, i % 2 == 0, -(2.0 ^ i % 1000),
      }
      t[key] = value(i)
    end
    t[math.maxinteger] = random(2) == 1 and value(0) or nil
    t[math.mininteger] = random(2) == 1 and value(0) or nil
    t[0] = random(2) == 1 and value(0) or nil
    return t
  end,
  function(depth) -- an array with fields
    local t, value = { name = "n", [0] = "zero" }, chooser(depth)
    for i = 1, size() do t[i] = value(i) end
    t.n = #t
    return t
  end,
  function(depth) -- tables inside arrays, some of them shared
    local t, shared = {}, make_table(math.min(depth + 1, 3))
    for i = 1, math.min(size(), depth < 2 and 20 or 3) do
      t[i] = random(3) == 1 and shared or depth < 3 and make_table(depth + 1) or { i }
    end
    t[#t + 1] = random(4) == 1 and t or nil
    return t
  end,
}

-- ---- Equal in all that Lua code can tell ----

local function same_number(a, b)
  if math.type(a) ~= math.type(b) then return false end
  if a ~= b then return a ~= a and b ~= b end
  return a ~= 0 or math.type(a) == "integer" or 1 / a == 1 / b
end

local function same(a, b, at, seen)
  local kind = type(a)
  if kind ~= type(b) then return nil, at end
  if kind == "number" then return same_number(a, b), at end
  if kind ~= "table" then return a == b, at end
  if seen[a] or seen[b] then return seen[a] == b and seen[b] == a, at end
  seen[a], seen[b] = b, a
  local keys = 0
  for k, v in next, a do
    keys = keys + 1
    local ok, where = same(v, rawget(b, k), at .. "[" .. tostring(k) .. "]", seen)
    if not ok then return false, where end
  end
  for k in next, b do
    keys = keys - 1
    if rawget(a, k) == nil then return false, at .. "[" .. tostring(k) .. "] is new" end
    local found = math.type(k)
    if found == "float" and k == math.floor(k) and math.tointeger(k) then
      return false, at .. " has a float as an integer key"
    end
  end
  return keys == 0, at
end

local function is_same(a, b, at)
  local ok, where = same(a, b, at, {})
  if not ok then error("not the same: " .. where, 2) end
end

local function echo(...) return ... end

describe("the codec", function()
  describe("keeps tables exactly", function()
    it("whatever their layout: 2000 random ones, sent there and back", function()
      local batch, count = 100, scale(2000, 400)
      for first = 1, count, batch do
        local list = {}
        for i = 1, batch do list[i] = make_table(1) end
        local back = await(isolate.run(echo, list))
        assert.equal(batch, #back)
        for i = 1, batch do is_same(list[i], back[i], "table " .. first + i - 1) end
      end
    end)

    it("when integer keys lie in the hash part", function()
      for _, n in ipairs { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1023, 1024, 1025 } do
        local backwards, moved, holes, emptied = {}, {}, {}, {}
        for i = n, 1, -1 do backwards[i] = i end
        table.move(backwards, 1, n, 2, moved)
        for i = 1, n, 2 do holes[i] = i end
        for i = 1, n do emptied[i] = i end
        for i = 1, n - 1 do emptied[i] = nil end
        emptied.name = n
        local list = { backwards, moved, holes, emptied }
        is_same(list, await(isolate.run(echo, list)), "size " .. n)
      end
    end)

    it("as an upvalue and as a result, too", function()
      local t = make_table(1)
      for i = 40, 1, -1 do t[i] = i % 3 == 0 and i + 0.5 or i end
      is_same(t, await(isolate.run(function() return t end)), "table")
    end)
  end)

  describe("takes preloaded C functions along", function()
    local function with_preloaded(entries, fn)
      for name, f in pairs(entries) do package.preload[name] = f end
      local results = table.pack(pcall(fn))
      for name in pairs(entries) do package.preload[name] = nil end
      assert.is_true(results[1], results[2])
      return table.unpack(results, 2, results.n)
    end

    it("one under two names, and several", function()
      assert.same({ true, true, true }, { with_preloaded({
        ["spec.a"] = lfs.attributes, ["spec.b"] = lfs.attributes, ["spec.c"] = lfs.currentdir,
      }, function()
        return await(isolate.run(function()
          local l = require "lfs"
          local preload = package.preload
          return preload["spec.a"] == l.attributes, preload["spec.b"] == l.attributes,
            preload["spec.c"] == l.currentdir
        end))
      end) })
    end)

    it("so that they can be required there", function()
      assert.equal(lfs.currentdir(), (with_preloaded({
        ["spec.a"] = lfs.currentdir, ["spec.b"] = lfs.currentdir,
      }, function()
        return await(isolate.run(function()
          return require "spec.a" == require "spec.b" and require "spec.a"
        end))
      end)))
    end)
  end)

  describe("refuses a module of C functions for libs without 'package'", function()
    local attributes = lfs.attributes

    local function refusal(fn)
      local ok, err = pcall(isolate.run, { libs = { "string" } }, fn)
      assert.is_false(ok)
      assert.is_table(err)
      assert.equal("not_sendable", err.code)
      assert.matches("libs leave out 'package'", err.message, 1, true)
      return err
    end

    it("captured as a whole", function()
      local err = refusal(function() return lfs end)
      -- Of whichever module it is: Penlight has functions of lfs as its own.
      assert.matches("cannot send C function '[%w_.]+', whose module", err.message)
      assert.matches("^upvalue 'lfs'%.", err.path)
    end)

    it("captured as one function", function()
      local err = refusal(function() return attributes "." end)
      assert.matches("cannot send C function '[%w_.]+', whose module", err.message)
      assert.equal("upvalue 'attributes'", err.path)
    end)

    it("and isolate itself", function()
      refusal(function() return isolate.now() end)
    end)

    it("but not with it", function()
      assert.is_string(await(isolate.run({ libs = { "string", "package" } }, function()
        return attributes(".", "mode")
      end)))
    end)
  end)
end)
