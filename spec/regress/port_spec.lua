-- port_spec.lua - what ports, channels and select once got wrong.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"

it = live.checking(it)

describe("a sender that waits", function()
  it("for room that nobody else can make is a deadlock", function()
    local rx, tx = isolate.port { capacity = 1 }
    tx:send(1)
    local ok, err = pcall(tx.send, tx, 2)
    assert.is_false(ok)
    assert.equal("deadlock", err.code)
    assert.equal(1, rx:receive(0))
    ok, err = pcall(function() isolate.channel():send(1) end)
    assert.is_false(ok)
    assert.equal("deadlock", err.code)
  end)

  it("is refused with a message that holds its own port, and keeps neither", function()
    local rx, tx = isolate.port { capacity = 1 }
    tx:send(1)
    local sending = isolate.async(function() return tx:send({ tx }, 10) end)
    isolate.sleep(0)
    rx:close()
    assert.is_nil((sending:await()))
  end)
end)

describe("a select", function()
  it("of an even number of things begins with each of them", function()
    for _, inside in ipairs { false, true } do
      local chs, count = {}, {}
      for i = 1, 4 do
        chs[i] = isolate.channel(1000)
        count[chs[i].id] = 0
        for _ = 1, 400 do chs[i]:send(true) end
      end
      local function choose()
        for _ = 1, 400 do
          local ch = isolate.select(chs)
          count[ch.id] = count[ch.id] + 1
        end
      end
      if inside then isolate.async(choose):await() else choose() end
      for i = 1, 4 do assert.is_true(count[chs[i].id] > 40) end
    end
  end)

  it("of few things that are ready among many begins with each of them", function()
    local chs, count = {}, {}
    for i = 1, 100 do chs[i] = isolate.channel(1000) end
    for i = 50, 51 do
      count[chs[i].id] = 0
      for _ = 1, 400 do chs[i]:send(true) end
    end
    for _ = 1, 400 do
      local ch = isolate.select(chs)
      count[ch.id] = count[ch.id] + 1
    end
    for i = 50, 51 do assert.is_true(count[chs[i].id] > 100) end
  end)
end)

describe("a wait", function()
  it("that has slept for a while is no deadlock when the last timer rings", function()
    local rx, tx = isolate.port()
    local timer = isolate.after(0.08)
    assert.equal(timer, (isolate.select { rx, timer }))
    assert.is_true(tx:send(1))
  end)
end)

describe("channels", function()
  it("that hold the next end one after the other, however many", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local ch = isolate.channel(1)
      for _ = 1, 100000 do
        local outer = isolate.channel(1)
        outer:send(ch)
        ch = outer
      end
      ch = nil
      collectgarbage()
      collectgarbage()
      print(require("isolate.core").live().ports)
    ]]
    assert.equal("1\n", result.stdout)
    assert.equal(0, result.status)
  end)

  it("that are closed give what is queued to a function of on_message, too", function()
    local ch, got = isolate.channel(3), {}
    for i = 1, 3 do assert.is_true(ch:try_send(i)) end
    ch:on_message(function(v)
      got[#got + 1] = v
      ch:close()
    end)
    for _ = 1, 10 do isolate.sleep(0) end
    assert.same({ 1, 2, 3 }, got)
  end)

  it("leave nothing when ref and unref find no function", function()
    local ch = isolate.channel()
    assert.equal(ch, ch:unref())
    assert.equal(ch, ch:ref())
  end)
end)
