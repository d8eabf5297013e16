-- deadlock_spec.lua - waits that nothing could ever wake raise; all others do not.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"

local await, failure, scale, limit = settle.await, settle.failure, settle.scale, settle.limit

it = live.checking(it)

-- The error object of a function that raises `deadlock`.
local function deadlock(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_table(err)
  assert.equal("deadlock", err.code)
  assert.equal(err.message, tostring(err))
  return err
end

describe("a deadlock is raised", function()
  it("by receiving from a port whose senders are this isolate's own", function()
    local rx, tx = isolate.port()
    for _, wait in ipairs {
      function() rx:receive() end,
      function() rx:receive_many(3) end,
      function() for _ in rx:messages() do error "never" end end,
      function() isolate.select { rx } end,
      function() isolate.select { rx, isolate.channel() } end,
    } do
      deadlock(wait)
    end
    tx:send "still usable"
    assert.equal("still usable", rx:receive())
  end)

  it("by receiving from a channel that nobody else holds", function()
    deadlock(function() isolate.channel():receive() end)
    deadlock(function() isolate.channel(5):receive() end)
  end)

  it("by sending where nobody else receives", function()
    deadlock(function() isolate.channel():send(1) end)
    local ch = isolate.channel(1)
    ch:send(1)
    deadlock(function() ch:send(2) end)
    deadlock(function() isolate.select { { ch, 2 } } end)
    local rx, tx = isolate.port { capacity = 1 }
    tx:send(1)
    deadlock(function() tx:send(2) end)
    assert.equal(1, rx:receive())
    assert.same({ n = 2, nil, "empty" }, table.pack(rx:try_receive()))
  end)

  it("by a task that waits for itself, or tasks for each other", function()
    local f
    f = isolate.async(function() return f:await() end)
    deadlock(function() f:await() end)
    f:cancel()
    local a, b
    a = isolate.async(function() return b:await() end)
    b = isolate.async(function() return a:await() end)
    deadlock(function() a:await() end)
    a:cancel()
    b:cancel()
    isolate.sleep(0)
  end)

  it("by waiting for a task that waits for nothing", function()
    local ch = isolate.channel()
    local task = isolate.async(function() ch:receive() end)
    local err = deadlock(function() task:await() end)
    assert.matches("a task", err.message, 1, true)
    assert.matches("channel " .. ch.id, err.message, 1, true)
    task:cancel()
    isolate.sleep(0)
  end)

  it("in an isolate as in main", function()
    local err = failure(isolate.run({ name = "stalled" }, function()
      local rx, tx = isolate.port()
      TX = tx -- luacheck: ignore 111
      rx:receive()
    end))
    assert.equal("deadlock", err.code)
    assert.equal("stalled", err.isolate)
    assert.matches("'stalled'", err.message, 1, true)
  end)

  it("in an isolate's task after its body has returned", function()
    local errors, etx = isolate.port()
    local iso = isolate.spawn({ name = "left", on_error = etx }, function()
      T = isolate.async(function() -- luacheck: ignore 111
        isolate.channel():receive()
      end)
    end)
    iso:join(limit)
    local told = errors:receive(limit)
    assert.matches("deadlock", told.message, 1, true)
  end)

  it("when the last isolate that could have sent ends", function()
    local ch = isolate.channel()
    local iso = isolate.spawn(function(c) c:receive(0.02) end, ch)
    deadlock(function() ch:receive() end)
    iso:join(limit)
  end)

  it("when the last isolate that could have sent is killed", function()
    local ch = isolate.channel()
    local iso = isolate.spawn(function(_) while true do end end, ch)
    isolate.after(0.01, function() iso:kill() end)
    deadlock(function() ch:receive() end)
  end)

  it("when the last handle elsewhere is garbage there", function()
    local ch = isolate.channel()
    local iso = isolate.spawn(function(c) -- luacheck: ignore
      c = nil -- luacheck: ignore
      isolate.inbox():receive()
    end, ch)
    deadlock(function() ch:receive() end)
    iso:send "end"
    iso:join(limit)
  end)

  it("when an offer has been refused or withdrawn, too", function()
    local ch = isolate.channel()
    assert.is_nil((ch:send(1, 0.001)))
    deadlock(function() ch:receive() end)
    deadlock(function() ch:send(1) end)
  end)

  it("in a coroutine and across C calls", function()
    local ch = isolate.channel()
    deadlock(function() ("x"):gsub("x", function() ch:receive() end) end)
    deadlock(function() coroutine.wrap(function() ch:receive() end)() end)
  end)

  it("by an isolate that waits for its own end, and for messages from itself", function()
    local err = failure(isolate.run(function() isolate.self():join() end))
    assert.equal("deadlock", err.code)
  end)

  it("and can be caught, and everything goes on", function()
    local rx, tx = isolate.port()
    for _ = 1, 20 do
      deadlock(function() rx:receive() end)
      tx:send(1)
      assert.equal(1, rx:receive())
    end
  end)

  it("at the end of a program, and does not hang it", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local rx, tx = isolate.port { name = "never" }
      rx:receive()
    ]]
    assert.equal(1, result.status)
    assert.matches("deadlock", result.stderr, 1, true)
    assert.matches("never", result.stderr, 1, true)
    if lua.is_host then assert.matches(":3: in ", result.stderr, 1, true) end
  end)

  it("by tasks that are left at the end of a program", function()
    local result = lua.source [[
      local isolate = require "isolate"
      T = isolate.async(function() isolate.channel():receive() end)
      isolate.async(function() isolate.channel():receive() end)
      if not arg[-1]:match "isolua" then isolate.sleep(0.01) end
    ]]
    assert.is_true(result.seconds < 20)
    if lua.is_host then assert.matches("deadlock", result.stderr, 1, true) end
  end)


  it("though an isolate that is stuck holds a sender", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local rx, tx = isolate.port()
      local ch = isolate.channel()
      local path = os.tmpname()
      local iso = isolate.spawn(function(...)
        local kept = { ... }
        os.execute("echo " .. #kept .. " >" .. path .. "; exec sleep 1000")
      end, tx, ch)
      tx:close()
      repeat isolate.sleep(0.01) until io.open(path):read "l" == "2" -- now it is in C
      os.remove(path)
      iso:kill { grace = 0.01 }
      local function code(fn, ...) return select(2, pcall(fn, ...)).code end
      print(code(rx.receive, rx), iso:status())
      print(code(ch.receive, ch), code(isolate.select, { rx, ch }), code(ch.send, ch, 1))
    ]]
    assert.equal("deadlock\tstuck\ndeadlock\tdeadlock\tdeadlock\n", result.stdout)
    assert.matches("is stuck in a C function", result.stderr, 1, true)
  end)
end)

describe("a deadlock says who waits for what", function()
  local rx, tx = isolate.port { name = "jobs" }

  it("by the port's name, or its number", function()
    local err = deadlock(function() rx:receive() end)
    assert.matches("isolate 'main' waits for a message on port 'jobs'", err.message, 1, true)
    assert.equal("main", err.isolate)
    local unnamed <const>, utx = isolate.port()
    err = deadlock(function() unnamed:receive() end)
    assert.matches("a message on port " .. utx.id, err.message, 1, true)
  end)

  it("of a channel, of a send, and of an inbox", function()
    local ch = isolate.channel()
    local err = deadlock(function() ch:receive() end)
    assert.matches("a message on channel " .. ch.id, err.message, 1, true)
    err = deadlock(function() ch:send(1) end)
    assert.matches("room in channel " .. ch.id, err.message, 1, true)
    err = failure(isolate.run({ name = "alone" }, function()
      local me = isolate.self()
      local outer = me
      isolate.select { isolate.channel(), isolate.async(function() return outer:join() end) }
    end))
    assert.equal("deadlock", err.code)
    assert.matches("'alone'", err.message, 1, true)
  end)

  it("of all that a select and other tasks wait for", function()
    local ch = isolate.channel()
    local task = isolate.async(function() ch:receive() end)
    local err = deadlock(function() isolate.select { rx, task } end)
    assert.matches("port 'jobs'", err.message, 1, true)
    assert.matches("a task", err.message, 1, true)
    assert.matches("channel " .. ch.id, err.message, 1, true)
    task:cancel()
    isolate.sleep(0)
    assert.is_true(tx:send(1))
    rx:receive()
  end)

  it("of many, of the first ones", function()
    local list = {}
    for i = 1, 100 do list[i] = isolate.channel() end
    local err = deadlock(function() isolate.select(list) end)
    assert.is_true(#err.message < 1000)
    assert.matches("and for more", err.message, 1, true)
  end)
end)

describe("no deadlock is raised", function()
  it("while there is a timeout", function()
    local rx, tx = isolate.port()
    assert.same({ n = 2, nil, "timeout" }, table.pack(rx:receive(0.03)))
    assert.same({ n = 2, nil, "timeout" }, table.pack(isolate.channel():send(1, 0.03)))
    assert.same({ n = 2, nil, "timeout" }, table.pack(isolate.select({ rx }, 0.03)))
    assert.is_true(tx:send(1))
  end)

  it("while a timer could wake it", function()
    local rx, tx = isolate.port()
    isolate.after(0.05, function() tx:send "rang" end)
    assert.equal("rang", rx:receive())
    local timer = isolate.after(0.05)
    assert.equal(timer, (isolate.select { rx, timer }))
  end)

  it("while a task sleeps", function()
    local ch = isolate.channel()
    local task = isolate.async(function()
      isolate.sleep(0.05)
      ch:send "slept"
    end)
    assert.equal("slept", ch:receive())
    await(task)
  end)

  it("while a future is pending", function()
    local rx, tx = isolate.port()
    isolate.run(function() isolate.sleep(0.05) end):on_done(function() tx:send "done" end)
    assert.equal("done", rx:receive())
    local ch = isolate.channel()
    isolate.all { isolate.run(function() isolate.sleep(0.05) end) }:on_done(function()
      isolate.async(function() ch:send "all" end)
    end)
    assert.equal("all", ch:receive())
  end)

  it("while another isolate has a sender, also one that only waits", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(to) to:send(isolate.inbox():receive()) end, tx)
    tx:close()
    isolate.spawn(function(other) isolate.sleep(0.06); other:send "by way of two" end, iso)
    assert.equal("by way of two", rx:receive())
    iso:join(limit)
  end)

  it("while another isolate is paused, or has not begun", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn({ paused = true }, function(to) to:send "resumed" end, tx)
    tx:close()
    isolate.spawn(function(other) isolate.sleep(0.06); other:resume() end, iso)
    assert.equal("resumed", rx:receive())
    iso:join(limit)
  end)

  it("while a message in flight holds a sender", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn({ paused = true }, function()
      local to = isolate.inbox():receive()
      isolate.sleep(0.05)
      to:send "arrived"
    end)
    iso:send(tx)
    tx:close()
    isolate.spawn(function(other) isolate.sleep(0.05); other:resume() end, iso)
    assert.equal("arrived", rx:receive())
    iso:join(limit)
  end)

  it("while an isolate's end is awaited", function()
    local exits, tell = isolate.port()
    local iso = isolate.spawn({ on_exit = tell }, function() isolate.sleep(0.05) end)
    tell:close()
    assert.equal("done", exits:receive().status)
    assert.is_true(isolate.select { isolate.spawn(function() isolate.sleep(0.05) end) } ~= iso)
    local late = isolate.spawn(function() isolate.sleep(0.05) end)
    assert.is_true((late:join()))
  end)

  it("in an inbox that others can send to", function()
    local back, tell = isolate.port()
    local iso = isolate.spawn(function(to)
      for v in isolate.inbox():messages() do to:send(v) end
    end, tell)
    tell:close()
    isolate.sleep(0.06)
    iso:send "late"
    assert.equal("late", back:receive(limit))
  end)

  it("in an isolate that nobody can reach any more: its loop ends", function()
    local back, tell = isolate.port()
    isolate.spawn(function(to)
      for _ in isolate.inbox():messages() do error "never" end
      to:send "ended"
    end, tell)
    collectgarbage()
    assert.equal("ended", back:receive(limit))
  end)

  it("while it is paused itself", function()
    local back, tell = isolate.port()
    local iso = isolate.spawn(function(to)
      local rx, tx = isolate.port()
      to:send(tx)
      tx:close()
      to:send(rx:receive())
    end, tell)
    local tx = back:receive(limit)
    local key = iso:pause()
    isolate.sleep(0.05)
    tx:send "v"
    iso:resume(key)
    assert.equal("v", back:receive(limit))
    iso:join(limit)
  end)

  it("while a foreign event loop could", function()
    local result = lua.source([[
      local isolate = require "isolate"
      isolate.fd()
      local rx, tx = isolate.port()
      io.stdout:write "waits"
      io.stdout:flush()
      rx:receive()
    ]], {}, { limit = 2 })
    assert.equal("waits", result.stdout)
    assert.equal("", result.stderr)
    assert.equal(124, result.status)
  end)

  it("when offers and ends meet, however they fall", function()
    for _ = 1, scale(200, 20) do
      local ch = isolate.channel()
      local future = isolate.run(function(c) return c:receive() end, ch)
      assert.is_true(ch:send { "v" })
      await(future)
      ch = isolate.channel()
      future = isolate.run(function(c) c:send { "w" } end, ch)
      assert.same({ "w" }, ch:receive())
      await(future)
    end
  end)

  it("when the last message comes with the end of its sender", function()
    for i = 1, scale(300, 30) do
      local rx, tx = isolate.port()
      local future = isolate.run(function(to, v) to:send { v } end, tx, i)
      assert.same({ i }, rx:receive())
      tx:close()
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive()))
      await(future)
    end
  end)

  it("among isolates that hand a channel round", function()
    local n = scale(200, 40)
    local first = isolate.channel()
    local to = first
    for _ = 1, 5 do
      local out = isolate.channel()
      isolate.spawn(function(a, b)
        for v in a:messages() do b:send(v) end
        b:close()
      end, to, out)
      to = out
    end
    local sending = isolate.async(function()
      for i = 1, n do first:send(i) end
      first:close()
    end)
    local count = 0
    for v in to:messages() do
      count = count + 1
      assert.equal(count, v)
    end
    assert.equal(n, count)
    await(sending)
  end)
end)
