-- wake_spec.lua - messages that were there while their receivers slept, and the like.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"

local await, limit, scale = settle.await, settle.limit, settle.scale

it = live.checking(it)

describe("a task that receives", function()
  -- Now and then it yields though something is there: also what was taken off the port already.
  it("goes on with what was queued before", function()
    for _, receive in ipairs {
      function(rx) return rx:receive() end,
      function(rx) return (select(2, isolate.select { rx })) end,
      function(rx) return rx:receive(limit) end,
    } do
      local rx <close>, tx = isolate.port()
      for i = 1, 500 do tx:send(i) end
      local got = await(isolate.async(function()
        local n = 0
        for i = 1, 500 do
          assert.equal(i, receive(rx))
          n = n + 1
        end
        return n
      end))
      assert.equal(500, got)
      tx:close()
    end
  end)

  it("is told of what another task of the isolate has taken off the port", function()
    for _ = 1, scale(30, 10) do
      local rx <close>, tx = isolate.port()
      local n = 0
      local function one()
        local value = rx:receive(limit)
        n = n + (value and 1 or 0)
      end
      local a, b = isolate.async(one), isolate.async(one)
      local busy = isolate.async(function()
        for _ = 1, 50 do isolate.sleep(0) end
      end)
      isolate.sleep(0)
      local sender = isolate.run(function(to)
        to:send(1)
        for _ = 1, 100 do end
        to:send(2)
      end, tx)
      await(isolate.all { a, b, busy, sender })
      assert.equal(2, n)
    end
  end)
end)

describe("a task that sends to a full port with on_full =", function()
  for mode, expected in pairs { error = "full", drop_newest = true, drop_oldest = true } do
    it(mode .. " is told at once", function()
      local rx <close>, tx = isolate.port { capacity = 1, on_full = mode }
      tx:send(0)
      await(isolate.async(function()
        for i = 1, 300 do
          local ok, why = tx:send(i, limit)
          assert.equal(expected, why or ok)
        end
        for i = 1, 300 do
          local _, ok, why = isolate.select { { tx, i } }
          assert.equal(expected, why or ok)
        end
      end))
      assert.equal(mode == "drop_oldest" and 300 or 0, rx:receive())
      tx:close()
    end)
  end
end)

describe("a sender that is closed during its own send", function()
  it("by another task, whose receiver goes as well", function()
    for _ = 1, scale(20, 5) do
      local rx, tx = isolate.port { capacity = 1 }
      tx:send(1)
      local sent = isolate.async(function() return tx:send(2) end)
      isolate.sleep(0)
      tx:close()
      rx:close()
      rx = nil
      collectgarbage()
      assert.same({ nil, "closed" }, { await(sent) })
      assert.is_nil(rx)
    end
  end)

  it("by the packing of what it sends", function()
    local rx, tx = isolate.port { capacity = 1 }
    local packed = setmetatable({}, { __isolate_pack = function()
      tx:close()
      rx:close()
      rx = nil
      collectgarbage()
      return "string", {}
    end })
    pcall(tx.send, tx, packed)
    assert.same({ nil, "closed" }, { tx:send(1) })
    assert.is_nil(rx)
  end)
end)

describe("what a reader of a channel does not take", function()
  it("since its function waits, another gets", function()
    local channel, go = isolate.channel(10), isolate.channel(1)
    channel:on_message(function() go:receive() end)
    channel:send(1)
    isolate.sleep(0.01)
    local other = isolate.run(function() return channel:receive(limit) end)
    while other.isolate:status() ~= "waiting" do isolate.sleep(0.001) end
    channel:send(2)
    assert.equal(2, await(other))
    go:send(true)
    isolate.sleep(0.01)
    channel:on_message(nil)
  end)

  it("since it is paused, another gets", function()
    local channel = isolate.channel(10)
    local function receive() return channel:receive(limit) end
    local first = isolate.run(receive)
    while first.isolate:status() ~= "waiting" do isolate.sleep(0.001) end
    first.isolate:pause()
    first.isolate:ping(limit)
    local second = isolate.run(receive)
    while second.isolate:status() ~= "waiting" do isolate.sleep(0.001) end
    channel:send "for the second"
    assert.equal("for the second", await(second))
    first.isolate:resume()
    channel:send "for the first"
    assert.equal("for the first", await(first))
  end)
end)

describe("a rendezvous", function()
  it("serves senders in the order in which they came", function()
    for _ = 1, scale(100, 20) do
      local channel, got = isolate.channel(), {}
      local reader = isolate.async(function()
        for i = 1, 2 do got[i] = channel:receive(limit) end
      end)
      isolate.sleep(0)
      local a = isolate.async(function() channel:send(1) end)
      local b = isolate.async(function() channel:send(2) end)
      await(isolate.all { reader, a, b })
      assert.same({ 1, 2 }, got)
    end
  end)
end)

describe("an isolate that has ended", function()
  it("takes no more messages once its future is done", function()
    for _ = 1, scale(100, 20) do
      local iso = isolate.spawn(function() end)
      iso:join(limit)
      assert.same({ nil, "closed" }, { iso:send "late" })
    end
  end)

  it("lets go of the one that has started it", function()
    local n = scale(3000, 300)
    local result = lua.source(([[
      local isolate = require "isolate"
      local rx, tx = isolate.port()
      local function generation(n, to)
        if n > 0 then isolate.spawn(generation, n - 1, to) else to:send(n) end
      end
      isolate.spawn(generation, %d, tx)
      rx:receive()
      tx = nil
      local core = require "isolate.core"
      repeat collectgarbage() core.trim() until core.live().ports < 10
      print "few"
    ]]):format(n))
    assert.equal("few\n", result.stdout)
  end)

  it("may be held by the result of the next, and so on", function()
    local handle = isolate.self()
    for _ = 1, scale(20000, 500) do
      local future = isolate.run(function(h) return h end, handle)
      future:await()
      handle = future.isolate
    end
    assert.equal("done", handle:status())
  end)
end)

describe("a deadlock is seen", function()
  local script = [[
    local isolate = require "isolate"
    local path = os.tmpname()
    local rx, tx = isolate.port()
    local channel = isolate.channel()
    local stuck = isolate.spawn(function(...)
      local kept = { ... }
      os.execute("echo " .. #kept .. " >" .. path .. "; exec sleep 1000")
    end, tx, channel)
    local other = isolate.spawn(function(t) isolate.inbox():receive() end, tx)
    repeat isolate.sleep(0.01) until io.open(path):read "l" == "2" -- now it is in C
    os.remove(path)
    isolate.after(0.1, function() stuck:kill { grace = 0.01 } end)
  ]]

  it("by a sender, when the last other holder is stuck", function()
    local result = lua.source(script .. [[
      other:kill()
      print(pcall(channel.send, channel, 1))
    ]])
    assert.matches("^false\tdeadlock: isolate 'main' waits for room in channel", result.stdout)
  end)

  it("when the last holder that is not stuck goes", function()
    local result = lua.source(script .. [[
      isolate.after(1.2, function() other:send(1) end)
      print(pcall(rx.receive, rx))
    ]])
    assert.matches("^false\tdeadlock: isolate 'main' waits for a message on port", result.stdout)
  end)
end)
