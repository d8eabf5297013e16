-- atomic_spec.lua - isolate.atomic: an integer that isolates share.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local settle = require "spec.support.settle"

local await, scale = settle.await, settle.scale

it = live.checking(it)

describe("isolate.atomic()", function()
  it("holds an integer of 64 bits", function()
    local cell = isolate.atomic()
    assert.equal(0, cell:load())
    assert.equal(math.mininteger, isolate.atomic(math.mininteger):load())
    cell:store(math.maxinteger)
    assert.equal("integer", math.type(cell:load()))
    assert.equal(math.maxinteger, cell:load())
    assert.equal(math.mininteger, cell:add(1))
    assert.equal(math.maxinteger, cell:add(-1))
  end)

  it("adds, and gives the sum", function()
    local cell = isolate.atomic(40)
    assert.equal(41, cell:add())
    assert.equal(44, cell:add(3))
    assert.equal(-6, cell:add(-50))
    assert.equal(-6, cell:load())
  end)

  it("exchanges only what it is told", function()
    local cell = isolate.atomic(5)
    assert.same({ true, 5 }, { cell:compare_exchange(5, 7) })
    assert.same({ false, 7 }, { cell:compare_exchange(5, 8) })
    assert.equal(7, cell:load())
  end)

  it("is the same one everywhere", function()
    local cell = isolate.atomic(1)
    local back, list = await(isolate.run(function(c)
      c:add(1)
      cell:add(10)
      return c, { cell, [cell] = true }
    end, cell))
    assert.is_true(back == cell and list[1] == cell)
    assert.is_true(list[cell])
    assert.equal(12, cell:load())
  end)

  it("loses nothing of what eight isolates add", function()
    local each = scale(125000, 5000)
    local cell, futures = isolate.atomic(), {}
    for i = 1, 8 do
      futures[i] = isolate.run(function() for _ = 1, each do cell:add(1) end end)
    end
    await(isolate.all(futures))
    assert.equal(8 * each, cell:load())
  end)

  it("lets one of those that exchange win each time", function()
    local each = scale(20000, 1000)
    local cell, futures = isolate.atomic(), {}
    for i = 1, 4 do
      futures[i] = isolate.run(function()
        for _ = 1, each do
          local old = cell:load()
          repeat
            local done
            done, old = cell:compare_exchange(old, old + 1)
          until done
        end
      end)
    end
    await(isolate.all(futures))
    assert.equal(4 * each, cell:load())
  end)

  it("raises for what is no integer, with the caller's position", function()
    local cell = isolate.atomic()
    for _, misuse in ipairs {
      function() isolate.atomic "x" end,
      function() isolate.atomic(1.5) end,
      function() cell:store() end,
      function() cell:add {} end,
      function() cell:compare_exchange(1) end,
      function() cell.load(isolate.channel()) end,
      function() isolate.channel(1).send(cell, 1) end,
    } do
      local ok, err = pcall(misuse)
      assert.is_false(ok)
      assert.matches("^spec/atomic_spec%.lua:%d+: bad argument", (err:gsub("^%./", "")))
    end
    assert.equal(0, cell:load())
  end)
end)
