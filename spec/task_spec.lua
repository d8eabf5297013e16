-- task_spec.lua - isolate.async and the event loop: who runs while somebody waits, wherever it is.
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

local misuse = require "spec.support.misuse" "task_spec"

local function fails_with(code, future)
  local err = failure(future)
  assert.is_table(err)
  assert.equal(code, err.code)
  return err
end

local function endless() while true do end end

-- Each wait of the API, made by a function that gets what it needs and gives back "woken".
local waits = {
  ["a sleep"] = function() isolate.sleep(0.002); return "woken" end,
  ["a receive"] = function()
    local rx, tx = isolate.port()
    isolate.after(0.002, function() tx:send "woken" end)
    return rx:receive(limit)
  end,
  ["a loop over messages"] = function()
    local rx, tx = isolate.port()
    isolate.after(0.002, function() tx:send "woken"; tx:close() end)
    local got
    for v in rx:messages() do got = v end
    return got
  end,
  ["a receive_many"] = function()
    local rx, tx = isolate.port()
    isolate.after(0.002, function() tx:send "woken" end)
    return rx:receive_many(5, limit)[1]
  end,
  ["a send"] = function()
    local ch = isolate.channel()
    local task = isolate.async(function() isolate.sleep(0.002); ch:receive() end)
    local ok = ch:send(1, limit)
    task:await()
    return ok and "woken"
  end,
  ["a select"] = function()
    local rx, tx = isolate.port()
    isolate.after(0.002, function() tx:send "woken" end)
    return select(2, isolate.select({ rx, isolate.channel() }, limit))
  end,
  ["an await"] = function()
    return (isolate.run(function() return "woken" end):await())
  end,
  ["a try"] = function()
    return select(2, isolate.run(function() return "woken" end):try(limit))
  end,
  ["an await of a task"] = function()
    return (isolate.async(function() isolate.sleep(0.002); return "woken" end):await())
  end,
  ["a join"] = function()
    return select(2, isolate.spawn(function() return "woken" end):join(limit))
  end,
  ["a ping"] = function()
    local iso <const> = isolate.spawn(function() isolate.inbox():receive() end)
    local ok = iso:ping(limit)
    iso:send(1)
    iso:join(limit)
    return ok and "woken"
  end,
}

describe("isolate.async()", function()
  it("gives a future of the function's results", function()
    local future = isolate.async(function(...) return select("#", ...), ... end, 1, nil, "x", nil)
    assert.matches("^isolate%.future", tostring(future))
    assert.same({ n = 5, 4, 1, nil, "x", nil }, table.pack(await(future)))
    assert.same({ n = 5, 4, 1, nil, "x", nil }, table.pack(await(future)))
  end)

  it("does not run the function before something waits", function()
    local ran = false
    local future = isolate.async(function() ran = true end)
    assert.is_false(ran)
    assert.is_false(future:done())
    await(future)
    assert.is_true(ran)
  end)

  it("shares values, which are not copied", function()
    local t = {}
    assert.equal(t, (await(isolate.async(function(v) v.x = io.stdout; return v end, t))))
    assert.equal(io.stdout, t.x)
  end)

  it("starts tasks in order, and runs them in turns", function()
    local order, futures = {}, {}
    for i = 1, 3 do
      futures[i] = isolate.async(function()
        for k = 1, 3 do
          order[#order + 1] = i * 10 + k
          isolate.sleep(0)
        end
      end)
    end
    for i = 1, 3 do await(futures[i]) end
    assert.same({ 11, 21, 31 }, { order[1], order[2], order[3] })
    local last = { 0, 0, 0 }
    for _, v in ipairs(order) do
      assert.equal(last[v // 10] + 1, v % 10)
      last[v // 10] = v % 10
    end
  end)

  it("raises the task's error at await, the same value", function()
    local value = {}
    local ok, err = pcall(function()
      isolate.async(function() error(value) end):await()
    end)
    assert.is_false(ok)
    assert.equal(value, err)
    local future = isolate.async(function() error "text" end)
    assert.matches("^[^\n]*task_spec%.lua:%d+: text$", failure(future))
    assert.matches("stack traceback:.*task_spec%.lua", future:traceback())
  end)

  it("lets a task start tasks, and wait for them", function()
    local function fib(n)
      if n < 2 then return n end
      local a, b = isolate.async(fib, n - 1), isolate.async(fib, n - 2)
      return a:await() + b:await()
    end
    assert.equal(144, (await(isolate.async(fib, 12))))
  end)

  it("takes 10,000 tasks", function()
    local n, ch, futures = scale(10000, 2000), isolate.channel(), {}
    for i = 1, n do futures[i] = isolate.async(function() return ch:receive(limit) end) end
    isolate.sleep(0)
    for i = 1, n do assert(ch:send(i, limit)) end
    local sum = 0
    for i = 1, n do sum = sum + await(futures[i]) end
    assert.equal(n * (n + 1) // 2, sum)
  end)

  it("raises for misuse, with the caller's position", function()
    misuse(function() isolate.async() end)
    misuse(function() isolate.async "x" end)
    misuse(function() isolate.async {} end)
  end)

  it("works with all, race, as_completed and select", function()
    local function after(s, v) return isolate.async(function() isolate.sleep(s); return v end) end
    assert.same({ 1, 2 }, (await(isolate.all { after(0.01, 1), after(0, 2) })))
    assert.equal("fast", (await(isolate.race { after(1000, "slow"), after(0, "fast") })))
    local order = {}
    for i in isolate.as_completed { after(0.01, 1), after(0, 2) } do order[#order + 1] = i end
    assert.same({ 2, 1 }, order)
    local f = after(0, "v")
    assert.same({ n = 2, f, "v" }, table.pack(isolate.select({ f, after(0.05, "w") }, limit)))
    isolate.sleep(0.06)
  end)

  it("keeps its isolate alive until the task has ended", function()
    local back, tell = isolate.port()
    local iso = isolate.spawn(function(to)
      isolate.async(function()
        isolate.sleep(0.02)
        to:send "ended"
      end)
    end, tell)
    tell:close()
    assert.is_true((iso:join(limit)))
    assert.equal("ended", back:receive(limit))
  end)

  it("keeps the program alive until the task has ended", function()
    local result = lua.source [[
      local isolate = require "isolate"
      isolate.async(function() isolate.sleep(0.05) print "ended" end)
      if not arg[-1]:match "isolua" then isolate.wait() isolate.sleep(0.2) end
    ]]
    assert.equal("", result.stderr)
    assert.equal("ended\n", result.stdout)
  end)

  it("prints an error that nobody looked at", function()
    local result = lua.source [[
      local isolate = require "isolate"
      isolate.async(function() error "lost in a task" end)
      isolate.sleep(0.01)
      collectgarbage()
      collectgarbage()
    ]]
    assert.matches("lost in a task", result.stderr, 1, true)
    assert.matches("stack traceback:", result.stderr, 1, true)
  end)
end)

describe("a wait", function()
  for name, wait in pairs(waits) do
    describe("that is " .. name, function()
      it("in the body lets tasks, timers and handlers run", function()
        local seen = {}
        local rx, tx = isolate.port()
        rx:on_message(function(v) seen.handler = v end)
        tx:send "m"
        isolate.async(function() seen.task = true end)
        isolate.after(0, function() seen.timer = true end)
        assert.equal("woken", wait())
        isolate.sleep(0.001)
        assert.same({ handler = "m", task = true, timer = true }, seen)
        rx:close()
      end)

      it("works in a task, beside others", function()
        local all = {}
        for i = 1, 5 do all[i] = isolate.async(wait) end
        for i = 1, 5 do assert.equal("woken", (await(all[i]))) end
      end)

      it("works in a handler, a timer and on_done", function()
        local back, tell = isolate.port()
        local rx, tx = isolate.port()
        rx:on_message(function() tell:send(wait()) end)
        tx:send(1)
        isolate.after(0, function() tell:send(wait()) end)
        isolate.run(function() end):on_done(function() tell:send(wait()) end)
        for _ = 1, 3 do assert.equal("woken", back:receive(limit)) end
        rx:close()
      end)

      it("works in a coroutine of the user's own", function()
        assert.equal("woken", coroutine.wrap(wait)())
        assert.equal("woken", (await(isolate.async(function() return coroutine.wrap(wait)() end))))
      end)

      it("works across C calls and metamethods", function()
        local function everywhere()
          assert.equal("woken", (("x"):gsub("x", wait)))
          assert.equal("woken", select(2, pcall(wait)))
          assert.equal("woken", select(2, xpcall(wait, debug.traceback)))
          local list = { 2, 1 }
          table.sort(list, function(a, b) return wait() == "woken" and a < b end)
          assert.same({ 1, 2 }, list)
          local t = setmetatable({}, { __index = wait, __call = wait, __len = wait,
            __add = wait, __concat = wait, __unm = wait, __eq = wait, __close = wait,
            __tostring = wait })
          assert.equal("woken", t.x)
          assert.equal("woken", t())
          assert.equal("woken", #t)
          assert.equal("woken", t + 1)
          assert.equal("woken", t .. "")
          assert.equal("woken", -t)
          assert.is_true(t == setmetatable({}, getmetatable(t)))
          assert.equal("woken", tostring(t))
          do local _ <close> = t end
          local n = 0
          for v in wait do
            assert.equal("woken", v)
            n = n + 1
            if n == 2 then break end
          end
          assert.equal("woken", load(coroutine.wrap(function()
            coroutine.yield "return '"
            coroutine.yield(wait())
            coroutine.yield "'"
          end))())
        end
        everywhere()
        await(isolate.async(everywhere))
      end)

      it("works in an isolate's body, its tasks and its finalizers", function()
        assert.same({ "woken", "woken" }, (await(isolate.run(function()
          return { wait(), (isolate.async(wait):await()) }
        end))))
      end)
    end)
  end

  it("in a coroutine does not look like a yield of it", function()
    local co = coroutine.create(function()
      isolate.sleep(0.001)
      local got = coroutine.yield "first"
      isolate.sleep(0.001)
      return got
    end)
    assert.same({ true, "first" }, { coroutine.resume(co) })
    assert.same({ true, "second" }, { coroutine.resume(co, "second") })
    assert.equal("dead", coroutine.status(co))
  end)

  it("in coroutines of several tasks goes on as each is woken", function()
    local done = {}
    local futures = {}
    for i = 1, 5 do
      futures[i] = isolate.async(function()
        for v in coroutine.wrap(function()
          for k = 1, 3 do
            isolate.sleep(0.0005 * i)
            coroutine.yield(k)
          end
        end) do
          done[i] = v
        end
      end)
    end
    for i = 1, 5 do await(futures[i]) end
    assert.same({ 3, 3, 3, 3, 3 }, done)
  end)

  it("that is nested ends last-in first-out", function()
    local order = {}
    local rx, tx = isolate.port()
    isolate.after(0, function()
      ("x"):gsub("x", function()
        order[#order + 1] = "inner begins"
        tx:send(1) -- the outer could go on
        isolate.sleep(0.01)
        order[#order + 1] = "inner ends"
      end)
    end)
    rx:receive(limit)
    order[#order + 1] = "outer ends"
    assert.same({ "inner begins", "inner ends", "outer ends" }, order)
  end)

  it("may be nested 50 deep", function()
    local function nest(n)
      if n == 0 then return "bottom" end
      local got
      ;("x"):gsub("x", function() got = isolate.async(nest, n - 1):await() end)
      return got
    end
    assert.equal("bottom", nest(50))
  end)

  it("in a finalizer works", function()
    local got
    setmetatable({}, { __gc = function() got = isolate.async(function() return 7 end):await() end })
    collectgarbage()
    collectgarbage()
    assert.equal(7, got)
  end)

  it("of one task does not keep others from a wait that is over at once", function()
    local rx, tx = isolate.port()
    local n, stop = 0, false
    isolate.async(function()
      while not stop do
        tx:send(1)
        rx:receive()
      end
    end)
    local other = isolate.async(function() for _ = 1, 20 do isolate.sleep(0); n = n + 1 end end)
    await(other)
    stop = true
    isolate.sleep(0)
    assert.equal(20, n)
  end)

  it("lets a body that always finds messages run timers, too", function()
    local rx, tx = isolate.port()
    local rang = false
    isolate.after(0.001, function() rang = true end)
    assert.is_true(settle.eventually(function()
      for _ = 1, 200 do
        tx:send(1)
        rx:receive()
      end
      return rang
    end))
  end)

  it("is a yield of its own for coroutine.yield in a task", function()
    local order = {}
    local a = isolate.async(function()
      for i = 1, 3 do order[#order + 1] = "a" .. i; coroutine.yield() end
    end)
    local b = isolate.async(function()
      for i = 1, 3 do order[#order + 1] = "b" .. i; coroutine.yield() end
    end)
    await(a)
    await(b)
    assert.same({ "a1", "b1", "a2", "b2", "a3", "b3" }, order)
  end)
end)

describe("a body", function()
  it("runs on the state's main thread", function()
    assert.is_true(await(isolate.run(function() return select(2, coroutine.running()) end)))
  end)
end)

describe("cancelling a task", function()
  for name, wait in pairs {
    ["a sleep"] = function() isolate.sleep(1000) end,
    ["a receive"] = function(rx) rx:receive(1000) end,
    ["a send"] = function() isolate.channel():send({}, 1000) end,
    ["a select"] = function(rx) isolate.select({ rx, isolate.channel() }, 1000) end,
    ["an await"] = function(_, future) future:await() end,
    ["a try"] = function(_, future) future:try(1000) end,
    ["a wait across C"] = function(rx) ("x"):gsub("x", function() rx:receive(1000) end) end,
    ["a wait in a coroutine"] = function() coroutine.wrap(isolate.sleep)(1000) end,
  } do
    it("raises cancelled at " .. name, function()
      local rx, _ = isolate.port() -- luacheck: ignore 211/_
      local pending <close> = isolate.run(endless)
      local err, closed
      local task = isolate.async(function()
        local _ <close> = setmetatable({}, { __close = function() closed = true end })
        local ok, e = pcall(wait, rx, pending)
        assert(not ok)
        err = e
        error(e)
      end)
      local canceller = isolate.async(function()
        isolate.sleep(0.001)
        task:cancel "enough"
        assert(task:done())
      end)
      await(canceller)
      local seen = fails_with("cancelled", task)
      assert.matches("enough", seen.message, 1, true)
      assert.is_true(settle.eventually(function()
        isolate.sleep(0)
        return closed
      end))
      assert.equal("cancelled", err.code)
    end)
  end

  it("fails its future at once", function()
    local task = isolate.async(function()
      pcall(isolate.sleep, 1000)
      isolate.sleep(0.05)
    end)
    isolate.sleep(0)
    task:cancel()
    assert.is_true(task:done())
    fails_with("cancelled", task)
    isolate.sleep(0.06)
  end)

  it("before it has begun never begins it", function()
    local ran = false
    local task = isolate.async(function() ran = true end)
    task:cancel()
    fails_with("cancelled", task)
    isolate.sleep(0.001)
    assert.is_false(ran)
  end)

  it("raises once: what the task does then may wait", function()
    local got
    local task = isolate.async(function()
      pcall(isolate.sleep, 1000)
      isolate.sleep(0.001)
      got = "cleaned up"
    end)
    isolate.sleep(0)
    task:cancel()
    assert.is_true(settle.eventually(function()
      isolate.sleep(0.001)
      return got ~= nil
    end))
  end)

  it("by itself raises at its next wait", function()
    local task, after, reached
    task = isolate.async(function()
      task:cancel()
      after = true
      isolate.sleep(0.001)
      reached = true
    end)
    fails_with("cancelled", task)
    isolate.sleep(0.01)
    assert.is_true(after)
    assert.is_nil(reached)
  end)

  it("does nothing when it has ended", function()
    local task = isolate.async(function() return 1 end)
    await(task)
    task:cancel()
    assert.equal(1, (await(task)))
  end)

  it("comes with <close>", function()
    local err
    do
      local _ <close> = isolate.async(function()
        local ok, e = pcall(isolate.sleep, 1000)
        err = not ok and e
      end)
      isolate.sleep(0)
    end
    isolate.sleep(0.001)
    assert.equal("cancelled", err.code)
  end)

  it("leaves a message that comes at the same time in its queue", function()
    local rx, tx = isolate.port()
    local task = isolate.async(function() return rx:receive(1000) end)
    isolate.sleep(0)
    tx:send "v"
    task:cancel()
    fails_with("cancelled", task)
    isolate.sleep(0.001)
    assert.equal("v", rx:receive(limit))
  end)

  it("takes back what it had offered to send", function()
    local ch = isolate.channel()
    local task = isolate.async(function() ch:send({ ch }, 1000) end)
    isolate.sleep(0)
    task:cancel()
    isolate.sleep(0)
    assert.same({ n = 2, nil, "empty" }, table.pack(ch:try_receive()))
    failure(task)
  end)

  it("of 1000 at once leaves nothing", function()
    local rx, _ = isolate.port() -- luacheck: ignore 211/_
    local tasks = {}
    for i = 1, 1000 do
      tasks[i] = isolate.async(function()
        if i % 2 == 0 then rx:receive(1000) else isolate.select({ rx }, 1000) end
      end)
    end
    isolate.sleep(0)
    for i = 1, 1000 do tasks[i]:cancel() end
    for i = 1, 1000 do fails_with("cancelled", tasks[i]) end
    isolate.sleep(0)
  end)
end)

describe("a task", function()
  it("ends with its isolate, its closers run", function()
    local back, tell = isolate.port()
    local iso = isolate.spawn(function(to)
      isolate.async(function()
        local _ <close> = setmetatable({}, { __close = function() to:send "closed" end })
        isolate.sleep(1000)
      end)
      isolate.sleep(0)
      to:send "ready"
      isolate.inbox():receive()
      isolate.exit()
    end, tell)
    tell:close()
    assert.equal("ready", back:receive(limit))
    iso:send(1)
    assert.equal("closed", back:receive(limit))
    iso:join(limit)
  end)

  it("ends with a kill of its isolate, its closers run", function()
    local back, tell = isolate.port()
    local iso = isolate.spawn(function(to)
      for i = 1, 3 do
        isolate.async(function()
          local _ <close> = setmetatable({}, { __close = function() to:send(i) end })
          isolate.channel():receive(1000)
        end)
      end
      isolate.sleep(0)
      to:send "ready"
      endless()
    end, tell)
    tell:close()
    assert.equal("ready", back:receive(limit))
    iso:kill { grace = limit }
    local sum = 0
    for v in back:messages() do sum = sum + v end
    assert.equal(6, sum)
  end)

  it("that does not wait can be killed with its isolate", function()
    local ready, tell = isolate.port()
    local iso = isolate.spawn(function(to)
      isolate.async(function()
        to:send(true)
        while true do pcall(endless) end
      end)
    end, tell)
    ready:receive(limit)
    iso:kill()
    local ok, err = iso:join(limit)
    assert.is_false(ok)
    assert.equal("killed", err.code)
  end)

  it("may end its isolate", function()
    local iso = isolate.spawn(function()
      isolate.async(function() isolate.exit() end)
      isolate.sleep(1000)
    end)
    local ok, err = iso:join(limit)
    assert.is_false(ok)
    assert.equal("exited", err.code)
  end)

  it("waits while its isolate is paused, and goes on after", function()
    local back, tell = isolate.port()
    local iso = isolate.spawn(function(to)
      isolate.async(function() for i = 1, 1000000 do to:send(i); isolate.sleep(0.001) end end)
    end, tell)
    assert.equal(1, back:receive(limit))
    local key = iso:pause()
    assert.is_true(iso:ping { when = "idle", timeout = limit })
    while back:try_receive() do end
    assert.is_nil((back:receive(0.03)))
    iso:resume(key)
    assert.is_number(back:receive(limit))
    iso:kill()
  end)
end)
