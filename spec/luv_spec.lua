-- luv_spec.lua - isolate.luv: one loop for luv and isolate.
-- SPDX-License-Identifier: MIT

local adapter = require "spec.support.adapter"

local both = adapter.both(it)

describe("uv.run", function()
  both("dispatches the isolate's handlers, timers and tasks", [[
    local uv = require "isolate.luv"
    local rx, tx = isolate.port()
    local seen = {}
    rx:on_message(function(v) seen[#seen + 1] = v end)
    isolate.run(function(to) to:send "handler" end, tx)
    tx:close()
    isolate.async(function() isolate.sleep(0.01) seen[#seen + 1] = "task" end)
    isolate.after(0.01, function() seen[#seen + 1] = "timer" end)
    isolate.run(function() return "future" end):on_done(function(_, v) seen[#seen + 1] = v end)
    uv.run()
    table.sort(seen)
    equal("future handler task timer", table.concat(seen, " "))
  ]])

  both("ends when nothing is left, and can be called again", [[
    local uv = require "isolate.luv"
    equal(false, uv.run())
    local n = 0
    for _ = 1, 3 do
      isolate.run(function() end):on_done(function() n = n + 1 end)
      equal(false, uv.run())
    end
    equal(3, n)
    local rx, tx = isolate.port() -- nobody else can send to it
    rx:on_message(print)
    tx:close()
    equal(false, uv.run())
    local silent <const> = isolate.after(100) -- without a function it keeps nothing alive
    equal(false, uv.run())
    silent:cancel()
  ]])

  both("goes on for what a callback of uv starts", [[
    local uv = require "isolate.luv"
    local done
    local timer = uv.new_timer()
    timer:start(1, 0, function()
      timer:close(function()
        isolate.after(0.01, function() done = true end)
      end)
    end)
    uv.run()
    equal(true, done)
  ]])

  both("returns early from once, nowait and stop", [[
    local uv = require "isolate.luv"
    local far = isolate.after(100, function() end)
    uv.run "nowait"
    isolate.after(0.01, uv.stop)
    equal(true, uv.run())
    local task = isolate.async(function() end)
    local deadline = isolate.now() + LIMIT
    while not task:done() and isolate.now() < deadline do uv.run "once" end
    equal(true, task:done())
    far:cancel()
    equal(false, uv.run())
  ]])

  both("does not wait by looking again and again", [[
    local uv = require "isolate.luv"
    local rx, tx = isolate.port()
    for _ = 1, 20 do coroutine.wrap(function() rx:receive(1) end)() end
    isolate.after(1, function() end)
    local before = thread_cpu()
    uv.run()
    local used = thread_cpu() - before
    assert(used * SCALE < 0.02, used .. " s of processor time in an idle second")
    tx:close()
  ]])

  both("leaves no descriptors behind", [[
    local uv = require "isolate.luv"
    local function round()
      for i = 1, 50 do
        coroutine.wrap(function() equal(i, isolate.run(function(x) return x end, i):await()) end)()
      end
      uv.run()
      for _ = 1, 4 do collectgarbage() end
      core.trim()
    end
    round()
    local before = descriptors()
    round()
    assert(descriptors() <= before, "descriptors: " .. before .. " -> " .. descriptors())
  ]])
end)

describe("a wait with luv", function()
  both("in a coroutine of a callback parks that coroutine: 200 await at once", [[
    local uv = require "isolate.luv"
    local go = isolate.channel(200)
    local waiting, done = 0, 0
    local timer = uv.new_timer()
    timer:start(0, 0, function()
      timer:close()
      for i = 1, 200 do
        coroutine.wrap(function()
          local future = isolate.async(function() return go:receive() + i end)
          waiting = waiting + 1
          equal(1000 + i, future:await())
          done = done + 1
        end)()
      end
      equal(200, waiting)
      for _ = 1, 200 do go:send(1000) end
      equal(0, done)
    end)
    uv.run()
    equal(200, done)
  ]])

  both("in a coroutine ends at its timeout, and raises inside pcall", [[
    local uv = require "isolate.luv"
    local rx, tx = isolate.port()
    local finished
    coroutine.wrap(function()
      local value, why = rx:receive(0.01)
      equal(nil, value)
      equal("timeout", why)
      local ok, err = pcall(function() isolate.run(function() error("x", 0) end):await() end)
      equal(false, ok)
      equal("x", err)
      finished = true
    end)()
    uv.run()
    equal(true, finished)
    tx:close()
  ]])

  both("outside of coroutines runs the loop", [[
    local uv = require "isolate.luv"
    local ticks = 0
    local timer = uv.new_timer()
    timer:start(1, 1, function() ticks = ticks + 1 end)
    local rx, tx = isolate.port()
    equal("timeout", select(2, rx:receive(0.05)))
    assert(ticks > 0)
    equal(4, isolate.run(function() return 4 end):await())
    timer:close()
    uv.run()
    tx:close()
  ]])

  both("in a callback itself, and in a generator of a task, runs the isolate's loop in place", [[
    local uv = require "isolate.luv"
    local result
    local timer = uv.new_timer()
    timer:start(0, 0, function()
      timer:close()
      result = isolate.run(function() return 5 end):await()
    end)
    uv.run()
    equal(5, result)
    local task = isolate.async(function()
      local generator = coroutine.wrap(function()
        coroutine.yield(isolate.run(function() return 6 end):await())
      end)
      return generator()
    end)
    equal(6, select(2, task:try(LIMIT)))
  ]])
end)

describe("an isolate that runs luv", function()
  local function kill(what, options)
    adapter.kill([[
      local tx = ...
      local isolate, uv = require "isolate", require "isolate.luv"
      local timer = uv.new_timer()
      timer:start(1000000, 0, function() end)
      ]] .. what .. [[
      while true do uv.run() end
    ]], options)
  end

  it("can be killed while it is idle", function()
    kill [[tx:send "there"]]
    kill([[tx:send "there"]], { when = "idle" })
  end)

  it("can be killed in a wait", function()
    kill [[coroutine.wrap(function() tx:send "there" isolate.channel():receive() end)()]]
    kill [[tx:send "there" isolate.channel():receive()]]
  end)

  it("can be killed in a callback that does not end", function()
    kill [[timer:start(0, 0, function() tx:send "there" while true do end end)]]
    kill [[
      timer:start(0, 0, function()
        coroutine.wrap(function() tx:send "there" while true do end end)()
      end)
    ]]
  end)
end)
