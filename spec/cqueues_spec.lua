-- cqueues_spec.lua - isolate.cqueues: waits that park coroutines of a controller.
-- SPDX-License-Identifier: MIT

local adapter = require "spec.support.adapter"

local both = adapter.both(it)

describe("cqueues.poll", function()
  both("returns the future that is done", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    cq:wrap(function()
      local future = isolate.run(function() return 1 end)
      equal(future, cqueues.poll(future, LIMIT))
      equal(true, future:done())
      equal(future, cqueues.poll(future, LIMIT)) -- and again: it stays ready
      equal(1, future:await())
    end)
    assert(cq:loop())
  ]])

  both("does not return an object for what came to another one", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local rx, tx = isolate.port()
    local other, to_other = isolate.port()
    cq:wrap(function()
      equal(0.2, (cqueues.poll(rx, 0.2)))
      tx:send "now"
      equal(rx, cqueues.poll(rx, LIMIT))
      equal("now", rx:receive(0))
      equal(0.01, (cqueues.poll(rx, 0.01)))
    end)
    cq:wrap(function()
      for _ = 1, 10 do
        isolate.run(function(to) to:send(1) end, to_other):await()
        equal(1, other:receive(LIMIT))
      end
    end)
    assert(cq:loop())
  ]])

  both("returns a receiver that is closed, and stays so", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local rx, tx = isolate.port()
    cq:wrap(function()
      equal(rx, cqueues.poll(rx, LIMIT))
      equal(rx, cqueues.poll(rx, LIMIT))
      local value, why = rx:receive(LIMIT)
      equal(nil, value)
      equal("closed", why)
    end)
    isolate.run(function(to) to:close() end, tx)
    tx:close()
    assert(cq:loop())
  ]])

  both("does not take a channel's message from those who receive", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local channel, answers = isolate.channel(1), isolate.channel(1)
    channel:pollfd() -- somebody polled it, and lost interest
    local receiver = isolate.run(function(from, to)
      for value in from:messages() do to:send(value) end
    end, channel, answers)
    cq:wrap(function()
      for i = 1, 100 do
        channel:send(i)
        equal(answers, cqueues.poll(answers, LIMIT))
        equal(i, answers:receive(0))
      end
      local rendezvous = isolate.channel()
      rendezvous:pollfd()
      local ok, why = rendezvous:try_send(1)
      equal(nil, ok)
      equal("full", why) -- who polls does not wait to receive
      channel:close()
    end)
    assert(cq:loop())
    receiver:await()
  ]])

  both("sees the offer of a sender to a channel without room", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local channel = isolate.channel()
    local sender = isolate.run(function(to) return to:send "hello" end, channel)
    cq:wrap(function()
      equal(channel, cqueues.poll(channel, LIMIT))
      equal("hello", channel:receive(0))
      equal(true, sender:await())
    end)
    assert(cq:loop())
  ]])

  both("returns the future of a task, and waits outside of controllers as well", [[
    local cqueues = require "isolate.cqueues"
    local task = isolate.async(function() isolate.sleep(0.02) return 3 end)
    equal(task, cqueues.poll(task, LIMIT))
    equal(3, task:await())
    equal(0.01, (cqueues.poll(0.01)))
    local rx, tx = isolate.port()
    tx:close()
    equal(rx, cqueues.poll(rx, LIMIT))
  ]])

  both("polls sockets and futures together", [[
    local cqueues = require "isolate.cqueues"
    local socket = require "cqueues.socket"
    local cq = cqueues.new()
    local a, b = socket.pair()
    local readable = { pollfd = a:pollfd(), events = "r" }
    cq:wrap(function()
      local future = isolate.run(function() return 1 end)
      equal(future, cqueues.poll(readable, future, LIMIT))
      b:write "x" b:flush()
      local slow <close> = isolate.run(function() require "isolate".sleep(100) end)
      equal(readable, cqueues.poll(readable, slow, LIMIT))
    end)
    assert(cq:loop())
    a:close()
    b:close()
  ]])

  both("leaves no descriptors behind", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local function round()
      for _ = 1, 50 do
        cq:wrap(function()
          local future = isolate.run(function() end)
          equal(future, cqueues.poll(future, LIMIT))
          local channel = isolate.channel(1)
          channel:send(1)
          equal(channel, cqueues.poll(channel, LIMIT))
        end)
      end
      assert(cq:loop())
      for _ = 1, 4 do collectgarbage() end
      core.trim()
    end
    round()
    local before = descriptors()
    for _ = 1, 3 do round() end
    assert(descriptors() <= before, "descriptors: " .. before .. " -> " .. descriptors())
  ]])

  both("closes the descriptors of what is garbage when there are no others", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    collectgarbage "stop"
    cq:wrap(function()
      for i = 1, 3000 do
        local channel = isolate.channel(1)
        channel:send(i)
        equal(channel, cqueues.poll(channel, LIMIT))
      end
    end)
    assert(cq:loop())
    collectgarbage "restart"
  ]])
end)

describe("a wait in a coroutine of a controller", function()
  both("parks that coroutine alone: 200 await at once", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local go, ready = isolate.channel(200), isolate.channel(200)
    local waiting, done = 0, 0
    for i = 1, 200 do
      cq:wrap(function()
        local future = isolate.async(function() return go:receive() + i end)
        waiting = waiting + 1
        if waiting == 200 then ready:send(true) end
        equal(1000 + i, future:await())
        done = done + 1
      end)
    end
    cq:wrap(function()
      ready:receive(LIMIT)
      equal(0, done)
      for _ = 1, 200 do go:send(1000) end
    end)
    assert(cq:loop())
    equal(200, done)
  ]])

  both("works inside pcall, and raises there", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local others = 0
    local turn = isolate.channel()
    cq:wrap(function()
      local ok, err = pcall(function()
        turn:receive(LIMIT)
        return isolate.run(function() error({ code = 7 }) end):await()
      end)
      equal(false, ok)
      equal(7, err.code)
    end)
    cq:wrap(function()
      turn:send(true, LIMIT)
      others = others + 1
    end)
    assert(cq:loop())
    equal(1, others)
  ]])

  both("ends at its timeout", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local rx, tx = isolate.port()
    local order = {}
    for i, s in ipairs { 0.06, 0.02, 0.04 } do
      cq:wrap(function()
        local start = isolate.now()
        local value, why = rx:receive(s)
        equal(nil, value)
        equal("timeout", why)
        assert(isolate.now() - start >= s)
        order[#order + 1] = i
      end)
    end
    assert(cq:loop())
    if SCALE == 1 then equal("2 3 1", table.concat(order, " ")) end
    tx:close()
  ]])

  both("selects, sleeps, sends and joins", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local log = {}
    cq:wrap(function()
      local channel = isolate.channel()
      cq:wrap(function() isolate.sleep(0.01) log[#log + 1] = channel:receive(LIMIT) end)
      equal(true, channel:send("sent", LIMIT))
      local iso = isolate.spawn(function() require "isolate".sleep(0.01) end)
      local timer = isolate.after(100)
      equal(iso, (isolate.select({ timer, iso }, LIMIT)))
      equal(true, (iso:join(LIMIT)))
      timer:cancel()
      log[#log + 1] = "end"
    end)
    assert(cq:loop())
    equal("sent end", table.concat(log, " "))
  ]])

  both("runs the isolate's loop in place where the coroutine cannot yield", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    cq:wrap(function()
      local list = { 3, 1, 2 }
      table.sort(list, function(a, b)
        return isolate.run(function(x, y) return x < y end, a, b):await()
      end)
      equal("1 2 3", table.concat(list, " "))
      local inner = coroutine.wrap(function()
        coroutine.yield(isolate.run(function() return 5 end):await())
      end)
      equal(5, inner())
    end)
    assert(cq:loop())
  ]])

  both("is given up with its coroutine", [[
    local cqueues = require "isolate.cqueues"
    do
      local cq = cqueues.new()
      local rx, tx = isolate.port()
      cq:wrap(function() rx:receive() end)
      cq:wrap(function() isolate.async(function() tx:send(1) end):await() end)
      assert(cq:loop(0.01))
      cq:close()
    end
    collectgarbage()
    local cq = cqueues.new()
    local task = isolate.async(function() return 1 end)
    cq:wrap(function() equal(1, task:await()) end)
    assert(cq:loop())
  ]])
end)

describe("a controller", function()
  both("runs the isolate's tasks, timers and handlers while it loops", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local rx, tx = isolate.port()
    local seen = {}
    rx:on_message(function(v) seen[#seen + 1] = v end)
    isolate.run(function(to) to:send "handler" end, tx)
    isolate.async(function() isolate.sleep(0.01) seen[#seen + 1] = "task" end)
    local ticks = 0
    local timer = isolate.every(0.005, function() ticks = ticks + 1 end)
    cq:wrap(function()
      local deadline = isolate.now() + LIMIT
      while (#seen < 2 or ticks < 5) and isolate.now() < deadline do cqueues.sleep(0.01) end
      timer:cancel()
      tx:close()
    end)
    assert(cq:loop())
    table.sort(seen)
    equal("handler task", table.concat(seen, " "))
    assert(ticks >= 5)
  ]])

  both("hears of a timer and a task that one of its coroutines starts", [[
    local cqueues = require "isolate.cqueues"
    local condition = require "cqueues.condition"
    local cq, rung = cqueues.new(), condition.new()
    local far = isolate.after(100, function() end)
    cq:wrap(function()
      isolate.after(0.02, function() rung:signal() end)
      equal(rung, cqueues.poll(rung, LIMIT))
      isolate.async(function() rung:signal() end)
      equal(rung, cqueues.poll(rung, LIMIT))
    end)
    assert(cq:loop())
    far:cancel()
  ]])

  both("returns from its loop when nothing of its own is left", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local timer = isolate.after(100, function() end)
    assert(cq:loop())
    equal(true, cq:empty())
    cq:wrap(function() cqueues.sleep(0.01) end)
    equal(1, cq:count())
    assert(cq:loop())
    equal(0, cq:count())
    assert(cq:step()) -- does not wait either
    timer:cancel()
  ]])

  both("tells what its coroutines raise", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    cq:wrap(function() isolate.run(function() error("from there", 0) end):await() end)
    local ok, err = cq:loop()
    equal(false, ok)
    equal("from there", err)
    equal(true, cq:empty())
  ]])

  both("works within another one", [[
    local cqueues = require "isolate.cqueues"
    local outer, inner = cqueues.new(), cqueues.new()
    local results = {}
    inner:wrap(function() results[1] = isolate.run(function() return "inner" end):await() end)
    outer:wrap(function() assert(inner:loop()) end)
    outer:wrap(function() results[2] = isolate.run(function() return "outer" end):await() end)
    assert(outer:loop())
    equal("inner outer", table.concat(results, " "))
  ]])

  both("works in a task", [[
    local cqueues = require "isolate.cqueues"
    local task = isolate.async(function()
      local cq, n = cqueues.new(), 0
      for i = 1, 3 do
        cq:wrap(function()
          local result = isolate.run(function(x) return x end, i):await()
          n = n + result
        end)
      end
      assert(cq:loop())
      return n
    end)
    local ok, n = task:try(LIMIT)
    equal(true, ok)
    equal(6, n)
  ]])

  both("does not wait by looking again and again", [[
    local cqueues = require "isolate.cqueues"
    local cq = cqueues.new()
    local rx, tx = isolate.port()
    for _ = 1, 20 do cq:wrap(function() rx:receive(1) end) end
    cq:wrap(function() cqueues.poll(rx, 1) end)
    local before = thread_cpu()
    assert(cq:loop())
    local used = thread_cpu() - before
    assert(used * SCALE < 0.02, used .. " s of processor time in an idle second")
    tx:close()
  ]])
end)

describe("an isolate that runs a controller", function()
  -- `what` is done in a coroutine of it.
  local function kill(what, options)
    adapter.kill([[
      local tx = ...
      local isolate, cqueues = require "isolate", require "isolate.cqueues"
      local cq = cqueues.new()
      cq:wrap(function() ]] .. what .. [[ end)
      while true do cq:loop() end
    ]], options)
  end

  it("can be killed while it is idle", function()
    kill [[tx:send "there" cqueues.sleep(1000)]]
    kill([[tx:send "there" cqueues.sleep(1000)]], { when = "idle" })
  end)

  it("can be killed in a wait", function()
    kill [[tx:send "there" isolate.channel():receive()]]
  end)

  it("can be killed in an endless loop", function()
    kill [[tx:send "there" while true do pcall(function() while true do end end) end]]
    kill [[cqueues.sleep(0) tx:send "there" while true do end]]
  end)
end)
