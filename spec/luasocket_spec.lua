-- luasocket_spec.lua - isolate.luasocket: futures, receivers and channels among sockets.
-- SPDX-License-Identifier: MIT

local adapter = require "spec.support.adapter"

local both = adapter.both(it)

-- A pair of sockets that are connected.
local PAIR = [[
  local socket = require "isolate.luasocket"
  local function pair()
    local server = assert(socket.bind("127.0.0.1", 0))
    local client = assert(socket.connect("127.0.0.1", (select(2, server:getsockname()))))
    local other = assert(server:accept())
    server:close()
    return client, other
  end
]]

describe("socket.select", function()
  both("works over a future and a socket together", PAIR .. [[
    local a, b = pair()
    local future = isolate.run(function() return 7 end)
    local ready, writable, why = socket.select({ a, future }, nil, LIMIT)
    equal(future, ready[1])
    equal(1, ready[future])
    equal(nil, ready[a])
    equal(1, #ready)
    equal(0, #writable)
    equal(nil, why)
    equal(7, future:await())
    b:send "x"
    local channel = isolate.channel(1)
    ready = socket.select({ a, channel }, nil, LIMIT)
    equal(a, ready[1])
    equal(1, #ready)
    a:close()
    b:close()
  ]])

  both("returns a receiver and a channel with a message as long as they have one", PAIR .. [[
    local rx, tx = isolate.port()
    local channel = isolate.channel(1)
    equal("timeout", select(3, socket.select({ rx, channel }, nil, 0)))
    tx:send(1)
    channel:send(2)
    for _ = 1, 2 do
      local ready = socket.select({ rx, channel }, nil, LIMIT)
      equal(1, ready[rx])
      equal(2, ready[channel])
    end
    rx:receive(0)
    local ready = socket.select({ rx, channel }, nil, LIMIT)
    equal(nil, ready[rx])
    equal(1, ready[channel])
    channel:receive(0)
    equal("timeout", select(3, socket.select({ rx, channel }, nil, 0)))
    tx:close()
    equal(1, socket.select({ rx, channel }, nil, LIMIT)[rx])
  ]])

  both("lets tasks, timers and handlers go on", PAIR .. [[
    local a, b = pair()
    local ticks = 0
    local timer = isolate.every(0.002, function() ticks = ticks + 1 end)
    local rx, tx = isolate.port()
    local handled
    rx:on_message(function(v) handled = v end)
    tx:send "m"
    local task = isolate.async(function() isolate.sleep(0.02) return 1 end)
    equal(1, socket.select({ a, task }, nil, LIMIT)[task])
    timer:cancel()
    assert(ticks > 1)
    equal("m", handled)
    rx:on_message(nil)
    tx:close()
    a:close()
    b:close()
  ]])

  both("keeps to its timeout, also with what it does not know", PAIR .. [[
    local start = isolate.now()
    local ready, writable, why = socket.select(nil, nil, 0.02)
    assert(isolate.now() - start >= 0.02)
    equal(0, #ready)
    equal(0, #writable)
    equal("timeout", why)
    local a, b = pair()
    equal(1, select(2, socket.select(nil, { a }, LIMIT))[a])
    equal(false, (pcall(socket.select, { print }, nil, 0)))
    a:close()
    b:close()
  ]])

  both("does not wait by looking again and again", PAIR .. [[
    local rx, tx = isolate.port()
    local before = thread_cpu()
    socket.select({ rx }, nil, 1)
    local used = thread_cpu() - before
    assert(used * SCALE < 0.02, used .. " s of processor time in an idle second")
    tx:close()
  ]])

  both("leaves no descriptors behind", PAIR .. [[
    local function round()
      for i = 1, 50 do
        local future = isolate.run(function(x) return x end, i)
        equal(future, socket.select({ future }, nil, LIMIT)[1])
      end
      for _ = 1, 4 do collectgarbage() end
      core.trim()
    end
    round()
    local before = descriptors()
    round()
    assert(descriptors() <= before, "descriptors: " .. before .. " -> " .. descriptors())
  ]])
end)

describe("a wait with LuaSocket", function()
  both("waits for futures, messages, times and tasks", PAIR .. [[
    equal(1, isolate.run(function() return 1 end):await())
    local rx, tx = isolate.port()
    equal("timeout", select(2, rx:receive(0.02)))
    isolate.after(0.01, function() tx:send "late" end)
    equal("late", rx:receive(LIMIT))
    isolate.sleep(0.01)
    local task = isolate.async(function() isolate.sleep(0.01) return "task" end)
    equal("task", task:await())
    local inner = coroutine.wrap(function() coroutine.yield(rx:receive(0.01)) end)
    equal(nil, inner())
    tx:close()
  ]])

  it("can be killed", function()
    for _, what in ipairs {
      "isolate.channel():receive()",
      "socket.select({ isolate.channel() }, nil, 1000)",
      "while true do end",
    } do
      adapter.kill([[
        local tx = ...
        local isolate, socket = require "isolate", require "isolate.luasocket"
        tx:send "there"
        ]] .. what .. " socket.sleep(0)")
    end
  end)
end)
