-- kill_spec.lua - iso:kill(): what it stops, how fast, and what may still run.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/spec_.* 112/spec_.* 113/spec_.* 211/_ENV

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert, before_each, after_each = describe, it, assert, before_each, after_each
local pending = pending
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local scale, limit = settle.scale, settle.limit

-- Waits until the isolate has left its thread, and gives its exit message.
local function gone(iso)
  local thing, message = isolate.select({ iso }, limit)
  assert.equal(iso, thing)
  return message
end

local function received(rx)
  local value, why = rx:receive(limit)
  assert.is_nil(why)
  return value
end

-- Starts `body(tx, ...)`, which says by a message that it is where it is to be killed; with `waits`
-- it has to be in a wait as well. Gives the handle and the message.
local function started(case, options)
  local rx, tx = isolate.port()
  local iso, there
  if case.setup then
    iso = isolate.spawn(options or {}, case.body, tx, case.setup())
  else
    iso = isolate.spawn(options or {}, case.body, tx)
  end
  tx:close()
  if not case.silent then there = received(rx) end
  if case.waits then
    assert.is_true(settle.eventually(function() return iso:status() == "waiting" end))
  end
  return iso, there
end

-- Seconds from a kill to the end of the thread: the median of five.
local function median(case)
  local times = {}
  for i = 1, 5 do
    local iso <const>, there <const> = started(case) -- luacheck: ignore 211/there
    local before = isolate.now()
    iso:kill(case.kill)
    local message = gone(iso)
    times[i] = isolate.now() - before
    assert.equal("killed", message.status)
    assert.equal("killed", iso:status())
    local ok, err = iso:join(limit)
    assert.is_false(ok)
    assert.equal("killed", err.code)
    if case.teardown then case.teardown() end
  end
  table.sort(times)
  if os.getenv "SPEC_TIMES" then
    io.stderr:write(("%-60s %6.2f ms\n"):format(case.name, times[3] * 1e3))
  end
  return times[3]
end

-- A machine that has more to do than processors gets further chances.
local function is_killed(case)
  it(case.name, function()
    local before = live.count()
    local best = math.huge
    for _ = 1, 5 do
      best = math.min(best, median(case))
      if best < 0.05 then break end
    end
    assert.is_true(best < scale(0.05, 5), best * 1e3 .. " ms")
    assert.equal("", live.left_since(before))
  end)
end

describe("iso:kill()", function()
  before_each(function() isolate.run(function() end):try(limit) end)

  it("does not take a recursion without an end for stuck, in a closer either", function()
    local stuck = 0 -- on a machine with much more to do one may be
    for _ = 1, 8 do
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(t)
        local function deep() return 1 + deep() end
        local _ <close> = setmetatable({}, { __close = function()
          t:send "there"
          while true do pcall(deep) end
        end })
        error "closes"
      end, tx)
      tx:close()
      assert.equal("there", rx:receive(limit))
      isolate.sleep(0.1) -- it recurs
      iso:kill()
      assert.is_false(iso:join(limit))
      if iso:status() == "stuck" then stuck = stuck + 1 end
    end
    assert.is_true(stuck < 3, stuck .. " of 8")
  end)

  describe("ends within 50 ms", function()
    is_killed { name = "an endless loop", body = function(tx)
      tx:send "there"
      while true do end
    end }

    is_killed { name = "one inside pcall inside another", body = function(tx)
      tx:send "there"
      while true do pcall(function() while true do end end) end
    end }

    is_killed { name = "one of pcalls of what is soon done", body = function(tx)
      local n = 0
      tx:send "there"
      while true do pcall(function() n = n + 1 end) end
    end }

    is_killed { name = "one of short coroutines inside pcall", body = function(tx)
      local n = 0
      tx:send "there"
      while true do
        pcall(coroutine.wrap(function() for i = 1, 100 do n = n + i end end))
      end
    end }

    is_killed { name = "one of pcalls of errors", body = function(tx)
      tx:send "there"
      while true do pcall(error, "x") end
    end }

    is_killed { name = "one inside a coroutine", body = function(tx)
      coroutine.wrap(function()
        tx:send "there"
        while true do end
      end)()
    end }

    is_killed { name = "one inside a coroutine that never ends either", body = function(tx)
      while true do
        pcall(coroutine.wrap(function()
          while true do
            pcall(coroutine.wrap(function()
              tx:send "there"
              while true do pcall(function() while true do end end) end
            end))
          end
        end))
      end
    end }

    is_killed { name = "one that makes new coroutines", body = function(tx)
      tx:send "there"
      while true do
        local co = coroutine.create(function() coroutine.yield() error "x" end)
        coroutine.resume(co)
        coroutine.resume(co)
      end
    end }

    is_killed { name = "one that goes to and fro between two coroutines", body = function(tx)
      local co = coroutine.wrap(function() while true do coroutine.yield() end end)
      tx:send "there"
      while true do co() end
    end }

    is_killed { name = "a recursion that overflows, again and again", body = function(tx)
      local function deep() return 1 + deep() end
      tx:send "there"
      while true do pcall(deep) end
    end }

    is_killed { name = "__index", body = function(tx)
      local t = setmetatable({}, { __index = function()
        tx:send "there"
        while true do end
      end })
      while true do pcall(function() return t.x end) end
    end }

    is_killed { name = "a chain of operators", body = function(tx)
      local mt = {}
      local function endless()
        tx:send "there"
        while true do end
      end
      for _, name in ipairs { "__add", "__concat", "__eq", "__lt", "__len", "__call" } do
        mt[name] = endless
      end
      local a, b = setmetatable({}, mt), setmetatable({}, mt)
      while true do
        pcall(function() return a() == b or a < b or a + b or a .. b or #a end)
      end
    end }

    is_killed { name = "__gc", body = function(tx)
      setmetatable({}, { __gc = function()
        tx:send "there"
        while true do end
      end })
      while true do collectgarbage() end
    end }

    is_killed { name = "__gc inside pcall", body = function(tx)
      setmetatable({}, { __gc = function()
        tx:send "there"
        while true do pcall(function() while true do end end) end
      end })
      while true do pcall(collectgarbage) end
    end }

    is_killed { name = "one that makes garbage with __gc", body = function(tx)
      local mt = { __gc = function() for _ = 1, 10 do end end }
      tx:send "there"
      while true do setmetatable({}, mt) end
    end }

    is_killed { name = "__close", body = function(tx)
      local _ <close> = setmetatable({}, { __close = function()
        tx:send "there"
        while true do end
      end })
    end }

    is_killed { name = "__close in a coroutine that is closed", body = function(tx)
      local co = coroutine.create(function()
        local _ <close> = setmetatable({}, { __close = function()
          tx:send "there"
          while true do end
        end })
        coroutine.yield()
      end)
      coroutine.resume(co)
      while true do coroutine.close(co) end
    end }

    is_killed { name = "a sort comparator", body = function(tx)
      while true do
        pcall(table.sort, { 3, 1, 2 }, function()
          tx:send "there"
          while true do end
        end)
      end
    end }

    is_killed { name = "a gsub callback", body = function(tx)
      while true do
        pcall(string.gsub, "abc", ".", function()
          tx:send "there"
          while true do end
        end)
      end
    end }

    is_killed { name = "a handler of xpcall", body = function(tx)
      while true do
        xpcall(error, function()
          tx:send "there"
          while true do end
        end, "x")
      end
    end }

    is_killed { name = "a reader function of load", body = function(tx)
      while true do
        load(function()
          tx:send "there"
          while true do end
        end)
      end
    end }

    is_killed { name = "__tostring", body = function(tx)
      local t = setmetatable({}, { __tostring = function()
        tx:send "there"
        while true do end
      end })
      while true do pcall(tostring, t) end
    end }

    is_killed { name = "a hook of debug.sethook", body = function(tx)
      debug.sethook(function()
        tx:send "there"
        while true do end
      end, "", 1)
      while true do end
    end }

    is_killed { name = "code under a hook of debug.sethook", body = function(tx)
      local n = 0
      debug.sethook(function() n = n + 1 end, "lcr", 1)
      tx:send "there"
      while true do pcall(function() n = n + 1 end) end
    end }

    is_killed { name = "code that sets hooks, again and again", body = function(tx)
      tx:send "there"
      while true do
        debug.sethook(function() end, "", 3)
        debug.sethook()
      end
    end }

    is_killed { name = "the body of a module", body = function(tx)
      spec_running = tx
      while true do pcall(require, "spec.support.mod_endless") end
    end }

  end)

  describe("ends within 50 ms a wait:", function()
    -- `wait(tx)` waits for ever; with a message first.
    local function in_all_places(name, wait, setup, teardown)
      local function case(where, body)
        is_killed { name = name .. where, body = body, setup = setup, teardown = teardown,
          waits = true }
      end
      case("", function(tx, ...)
        tx:send "there"
        wait(...)
      end)
      case(", in a loop of pcalls", function(tx, ...)
        tx:send "there"
        while true do pcall(wait, ...) end
      end)
      case(", in a task", function(tx, ...)
        isolate.async(function(...)
          tx:send "there"
          wait(...)
        end, ...):await()
      end)
      case(", in a coroutine", function(tx, ...)
        while true do
          pcall(coroutine.wrap(function(...)
            tx:send "there"
            wait(...)
          end), ...)
        end
      end)
      case(", in a handler", function(tx, ...)
        local args = table.pack(...)
        local rx, own = isolate.port()
        rx:on_message(function()
          tx:send "there"
          wait(table.unpack(args, 1, args.n))
        end)
        own:send(1)
        while true do isolate.sleep(0.001) end
      end)
      case(", in a timer", function(tx, ...)
        local args = table.pack(...)
        isolate.after(0, function()
          tx:send "there"
          wait(table.unpack(args, 1, args.n))
        end)
        isolate.sleep(1e6)
      end)
    end

    -- What the spec holds, so that a wait is no deadlock.
    local held = {}
    local function drop()
      for _, thing in ipairs(held) do
        if thing.close then thing:close() end
        if thing.kill then thing:kill() gone(thing) end
      end
      held = {}
    end
    local function hold(...)
      for _, thing in ipairs { ... } do held[#held + 1] = thing end
      return ...
    end
    after_each(drop)

    -- A message in it holds the sender of a port that nothing comes from.
    local function channel() return (hold(isolate.channel(100))) end
    local function sleeper() return isolate.spawn(function() isolate.sleep(1e6) end) end

    in_all_places("sleep", function() isolate.sleep(1e6) end)
    in_all_places("receive", function(ch)
      local rx, tx = isolate.port()
      ch:send(tx)
      rx:receive()
    end, channel, drop)
    in_all_places("the loop over messages of a port", function(ch)
      local rx, tx = isolate.port()
      ch:send(tx)
      for _ in rx:messages() do error "a message" end
    end, channel, drop)
    in_all_places("receive_many", function(ch)
      local rx, tx = isolate.port()
      ch:send(tx)
      rx:receive_many(10)
    end, channel, drop)
    in_all_places("the loop over the inbox", function()
      for _ in isolate.inbox():messages() do error "a message" end
    end)
    in_all_places("send to a full port", function(tx)
      tx:send(1)
      tx:send(2)
    end, function()
      local rx, tx = isolate.port { capacity = 1 }
      hold(rx)
      return tx
    end, drop)
    in_all_places("send to a channel without room", function(ch) ch:send(1) end, function()
      return (hold(isolate.channel()))
    end, drop)
    in_all_places("receive from a channel", function(ch) ch:receive() end, function()
      return (hold(isolate.channel()))
    end, drop)
    in_all_places("join", function(iso) iso:join() end, function()
      return (hold(sleeper()))
    end, drop)
    in_all_places("await", function()
      local future <close> = isolate.run(function() isolate.sleep(1e6) end)
      future:await()
    end)
    in_all_places("await of several", function()
      local future <close> = isolate.all {
        isolate.run(function() isolate.sleep(1e6) end),
        isolate.run(function() while true do end end),
      }
      future:await()
    end)
    in_all_places("try", function()
      local future <close> = isolate.run(function() isolate.sleep(1e6) end)
      future:try(1e6)
    end)
    in_all_places("select", function(iso, ch)
      local rx, tx = isolate.port()
      isolate.select({ rx, iso, { ch, "x" }, isolate.after(1e6) })
      tx:close()
    end, function()
      local ch = isolate.channel(1)
      ch:send "no room for more"
      return hold(sleeper(), ch)
    end, drop)
    in_all_places("select with a timeout", function() isolate.select({}, 1e6) end)
    in_all_places("ping of one that is not idle", function(iso) iso:ping { when = "idle" } end,
      function()
        return (hold(isolate.spawn(function() while true do end end)))
      end, drop)
  end)

  describe("ends within 50 ms what runs without a wait:", function()
    local function busy_in(name, body) is_killed { name = name, body = body } end
    busy_in("in a task", function(tx)
      isolate.async(function()
        tx:send "there"
        while true do pcall(function() while true do end end) end
      end)
    end)
    busy_in("in a handler", function(tx)
      local rx, own = isolate.port()
      rx:on_message(function()
        tx:send "there"
        while true do end
      end)
      own:send(1)
      isolate.sleep(1e6)
    end)
    busy_in("in a timer", function(tx)
      isolate.every(0.001, function()
        tx:send "there"
        while true do end
      end)
    end)
    busy_in("in on_done of a future", function(tx)
      isolate.run(function() end):on_done(function()
        tx:send "there"
        while true do end
      end)
      isolate.sleep(1e6)
    end)
    busy_in("tasks that go on by turns", function(tx)
      for _ = 1, 3 do
        isolate.async(function() while true do isolate.sleep(0) end end)
      end
      tx:send "there"
    end)
    busy_in("a loop of pcalls of waits that end at once", function(tx)
      local rx, own = isolate.port()
      tx:send "there"
      while true do
        own:send(1)
        pcall(rx.receive, rx)
        pcall(isolate.sleep, 0)
      end
    end)
    busy_in("a loop of try_receive", function(tx)
      local rx, own = isolate.port()
      tx:send(own)
      while true do rx:try_receive() end
    end)
    busy_in("a loop of pump", function(tx)
      tx:send "there"
      while true do pcall(isolate.pump) end
    end)
    busy_in("one that starts isolates", function(tx)
      tx:send "there"
      while true do pcall(function() isolate.run(function() end):await() end) end
    end)
    busy_in("one that sends to itself, by way of a finalizer that sleeps", function(tx)
      setmetatable({}, { __gc = function()
        tx:send "there"
        isolate.sleep(1e6)
      end })
      while true do pcall(collectgarbage) end
    end)
    busy_in("a finalizer that runs a coroutine", function(tx)
      setmetatable({}, { __gc = function()
        while true do
          pcall(coroutine.wrap(function()
            tx:send "there"
            while true do pcall(function() while true do end end) end
          end))
        end
      end })
      while true do pcall(collectgarbage) end
    end)
  end)

  describe("ends within 50 ms one that", function()
    is_killed { name = "has not begun", silent = true, body = function() while true do end end }

    it("starts paused, and runs nothing of it", function()
      local before = live.count()
      local rx, tx = isolate.port()
      local iso = isolate.spawn({ paused = true }, function(t) t:send "ran" end, tx)
      tx:close()
      assert.is_true(settle.eventually(function() return iso:status() == "paused" end))
      local start = isolate.now()
      iso:kill()
      assert.equal("killed", gone(iso).status)
      assert.is_true(isolate.now() - start < scale(0.5, 10))
      assert.same({ nil, "closed" }, { rx:receive(limit) })
      iso, rx, tx = nil, nil, nil -- luacheck: ignore
      assert.equal("", live.left_since(before))
    end)

    it("is paused", function()
      local before = live.count()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(t)
        t:send "there"
        while true do isolate.sleep(0.001) end
      end, tx)
      received(rx)
      iso:pause()
      iso:pause "again"
      assert.is_true(iso:ping(limit))
      local start = isolate.now()
      iso:kill()
      assert.equal("killed", gone(iso).status)
      assert.is_true(isolate.now() - start < scale(0.5, 10))
      iso, rx, tx = nil, nil, nil -- luacheck: ignore
      assert.equal("", live.left_since(before))
    end)
  end)

  describe("lets run", function()
    -- Nothing would resume a task that has parked in there.
    it("<close> variables that wait, of the body and of a task that was busy", function()
      for _, in_task in ipairs { true, false } do
        local step = isolate.atomic(0)
        local iso = isolate.spawn(function()
          local here = require "isolate"
          local function busy()
            local _ <close> = setmetatable({}, { __close = function()
              here.sleep(0.02)
              step:add(1)
            end })
            step:add(1)
            while true do end
          end
          if in_task then here.async(busy) else busy() end
          here.sleep(60)
        end)
        repeat isolate.sleep(0.001) until step:load() == 1
        iso:kill { grace = limit }
        gone(iso)
        assert.equal(2, step:load(), in_task and "a task" or "the body")
      end
    end)

    it("<close> variables, innermost first, and then finalizers, of all coroutines", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(t)
        local function closer(name)
          return setmetatable({}, { __close = function(_, err)
            for _ = 1, 1000 do end
            t:send(name .. (err and " with an error" or ""))
          end })
        end
        spec_kept = setmetatable({}, { __gc = function() t:send "finalizer" end })
        local _ <close> = closer "outer"
        pcall(coroutine.wrap(function()
          local _ <close> = closer "coroutine"
          pcall(function()
            local _ <close> = closer "inner"
            t:send "there"
            while true do end
          end)
        end))
      end, tx)
      tx:close()
      assert.equal("there", received(rx))
      iso:kill()
      local list = {}
      for v in rx:messages() do list[#list + 1] = (v:gsub(" with an error", "")) end
      assert.same({ "inner", "coroutine", "outer", "finalizer" }, list)
      gone(iso)
    end)

    it("what need not wait, in a closer", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(t)
        local own_rx, own = isolate.port()
        local _ <close> = setmetatable({}, { __close = function()
          own:send "x"
          t:send(table.concat({ tostring(own_rx:try_receive()),
            tostring(pcall(error, "x")), select(2, pcall(error, "caught", 0)),
            isolate.self():status(), tostring(t:send "sent") }, " "))
        end })
        t:send "there"
        isolate.sleep(1e6)
      end, tx)
      assert.equal("there", received(rx))
      iso:kill()
      assert.equal("sent", received(rx))
      assert.equal("x false caught running true", received(rx))
      gone(iso)
    end)

    it("no closer beyond the grace", function()
      local busy = "while true do pcall(function() for _ = 1, 999 do end end) end"
      for _, how in ipairs { "while true do end", busy,
        "local i = require 'isolate' while true do pcall(i.sleep, 1000) end",
        "coroutine.wrap(function() " .. busy .. " end)()" } do
        local rx, tx = isolate.port()
        local iso = isolate.spawn(function(t, text)
          local _ <close> = setmetatable({}, { __close = function()
            t:send "closer"
            load(text)()
          end })
          t:send "there"
          while true do end
        end, tx, how)
        received(rx)
        local before = isolate.now()
        iso:kill { grace = 0.02 }
        assert.equal("closer", received(rx))
        assert.equal("killed", gone(iso).status)
        local seconds = isolate.now() - before
        assert.is_true(seconds >= 0.02 and seconds < scale(0.4, 10), how .. " " .. seconds)
      end
    end)

    it("no finalizer beyond the grace", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(t)
        for _ = 1, 3 do
          spec_kept = { spec_kept, setmetatable({}, { __gc = function()
            t:send "finalizer"
            while true do pcall(function() for _ = 1, 999 do end end) end
          end }) }
        end
        t:send "there"
        while true do end
      end, tx)
      assert.equal("there", received(rx))
      local before = isolate.now()
      iso:kill { grace = 0.02 }
      assert.equal("finalizer", received(rx))
      gone(iso)
      assert.is_true(isolate.now() - before < scale(2, 10))
    end)

    it("a wait of a closer until the grace is over", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(t)
        local _ <close> = setmetatable({}, { __close = function()
          t:send(tostring(pcall(isolate.sleep, 0.01)))
          t:send(tostring(pcall(isolate.sleep, 1e6)))
        end })
        t:send "there"
        while true do end
      end, tx)
      tx:close()
      received(rx)
      iso:kill { grace = scale(0.2, 2) }
      assert.equal("true", received(rx))
      gone(iso)
      assert.same({ nil, "closed" }, { rx:receive(limit) })
    end)

    it("hardly anything with grace = 0", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(t)
        local _ <close> = setmetatable({}, { __close = function()
          while true do pcall(function() for _ = 1, 999 do end end) end
        end })
        t:send "there"
        while true do end
      end, tx)
      received(rx)
      local before = isolate.now()
      iso:kill { grace = 0 }
      assert.equal("killed", gone(iso).status)
      assert.is_true(isolate.now() - before < scale(0.09, 5))
    end)
  end)

  describe("with when = 'idle'", function()
    it("waits until the isolate is in a wait", function()
      local rx, tx = isolate.port()
      local go_rx_of = isolate.channel(1)
      local iso = isolate.spawn(function(t, ch)
        t:send "there"
        while not ch:try_receive() do end
        for i = 1, 1000000 do spec_n = i end
        t:send "done"
        isolate.sleep(1e6)
        t:send "slept"
      end, tx, go_rx_of)
      tx:close()
      assert.equal("there", received(rx))
      iso:kill { when = "idle" }
      go_rx_of:send(true)
      assert.equal("done", received(rx))
      assert.equal("killed", gone(iso).status)
      assert.same({ nil, "closed" }, { rx:receive(limit) })
    end)

    it("ends at once one that waits", function()
      local iso = started { waits = true, body = function(tx)
        tx:send "there"
        isolate.sleep(1e6)
      end }
      iso:kill { when = "idle" }
      assert.equal("killed", gone(iso).status)
    end)

    it("gives closers its grace", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(t)
        local _ <close> = setmetatable({}, { __close = function()
          t:send "closer"
          while true do pcall(function() for _ = 1, 999 do end end) end
        end })
        t:send "there"
        isolate.sleep(1e6)
      end, tx)
      received(rx)
      local before = isolate.now()
      iso:kill { when = "idle", grace = scale(0.4, 2) }
      assert.equal("closer", received(rx))
      gone(iso)
      assert.is_true(isolate.now() - before >= scale(0.4, 2))
    end)
  end)

  it("of one that is dying may shorten the grace and not prolong it", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      local _ <close> = setmetatable({}, { __close = function()
        t:send "closer"
        while true do pcall(function() for _ = 1, 999 do end end) end
      end })
      t:send "there"
      while true do end
    end, tx)
    received(rx)
    iso:kill { grace = 1e6 }
    assert.equal("closer", received(rx))
    iso:kill { grace = 2e6 }
    assert.is_true(iso:status() ~= "killed")
    local before = isolate.now()
    iso:kill { grace = 0 }
    assert.equal("killed", gone(iso).status)
    assert.is_true(isolate.now() - before < scale(0.5, 10))
  end)

  it("of one that has ended has no effect", function()
    local iso = isolate.spawn(function() return 1 end)
    assert.equal("done", gone(iso).status)
    iso:kill()
    iso:kill { when = "idle" }
    assert.equal("done", iso:status())
    assert.same({ true, 1 }, { iso:join(limit) })
  end)

  it("of an isolate by itself is at once", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      isolate.self():kill()
      pcall(function() for _ = 1, 10 do isolate.sleep(0) end end)
      t:send "went on"
    end, tx)
    tx:close()
    assert.equal("killed", gone(iso).status)
    assert.same({ nil, "closed" }, { rx:receive(limit) })
  end)

  it("raises for main", function()
    for _, opts in ipairs { {}, { when = "idle" }, { grace = 0 } } do
      assert.has_error(function() isolate.self():kill(opts) end, "main cannot be killed")
    end
    local iso = isolate.spawn(function() return pcall(isolate.parent().kill, isolate.parent()) end)
    assert.same({ true, false, "main cannot be killed" }, { iso:join(limit) })
  end)

  it("raises for options it does not know", function()
    local iso = isolate.spawn(function() end)
    for text, opts in pairs {
      ["unknown option 'x'"] = { x = 1 },
      ["when: \"idle\" expected"] = { when = "later" },
      ["option 'grace': a number of seconds, 0 or more, expected"] = { grace = -1 },
      ["table expected, got number"] = 1,
    } do
      local ok, err = pcall(function() iso:kill(opts) end)
      assert.is_false(ok)
      assert.matches(text, err, 1, true)
    end
    gone(iso)
  end)

  -- What calls back into Lua while a state is unwound.
  it("leaves nothing of thousands of isolates killed at any moment", function()
    local before = live.count()
    for k = 1, scale(1500, 150) do
      local iso = isolate.spawn(function()
        local _ <close> = setmetatable({}, { __close = function() for _ = 1, 50 do end end })
        while true do
          pcall(function()
            coroutine.wrap(function()
              setmetatable({}, { __gc = function() end })
              isolate.sleep(0)
            end)()
          end)
        end
      end)
      local stop = isolate.now() + k % 50 * 0.00002
      while isolate.now() < stop do end
      iso:kill()
    end
    assert.equal("", live.left_since(before))
  end)
end)

describe("a thread that is stuck in C", function()
  local script = [[
    local isolate = require "isolate"
    local path = os.tmpname()
    local iso = isolate.spawn({ name = "sleeper" }, function()
      os.execute("echo there >" .. path .. "; exec sleep 1000")
    end)
    repeat isolate.sleep(0.01) until io.open(path):read "l" == "there" -- now it is in C
    os.remove(path)
    HOW
  ]]
  local function run(how)
    return lua.source((script:gsub("HOW", how)))
  end

  it("does not hold up the end of the program, which names it", function()
    local result = run ""
    assert.equal(0, result.status)
    assert.matches("1 isolate still running at the end: 'sleeper'\n", result.stderr, 1, true)
    assert.is_true(result.seconds < scale(4, 30))
  end)

  it("does not hold up os.exit", function()
    local result = run "os.exit(3, true)"
    assert.equal(3, result.status)
    assert.is_true(result.seconds < scale(4, 30))
  end)

  it("settles its future, tells its listeners and has the status 'stuck'", function()
    local result = run [[
      local erx, etx = isolate.port()
      iso:on_exit(etx)
      iso:kill { grace = 0.01 }
      local ok, err = iso:join(20)
      local message = erx:receive(20)
      print(ok, err.code, iso:status(), message.status, message.reason)
    ]]
    assert.equal("false\tkilled\tstuck\tstuck\tkilled\n", result.stdout)
    assert.equal("isolate 'sleeper' is stuck in a C function and was left behind\n",
      result.stderr)
    assert.equal(0, result.status)
    assert.is_true(result.seconds < scale(5, 40))
  end)
end)

-- Under valgrind every instruction counts: the same loop, once as main of stock Lua and once in an
-- isolate; the difference of two lengths leaves out all that is no loop.
describe("being killable", function()
  local count = [[
    local function loop(n)
      local x = 0
      for i = 1, n do x = (x + i * 3) % 1000003 end
      return x
    end
  ]]
  local has_valgrind = not settle.sanitized and os.execute "command -v valgrind >/dev/null 2>&1"

  -- Instructions of the whole program.
  local function instructions(text, n)
    local path = shell.write(text)
    local words = { "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
      lua.exe, path, n }
    local result = shell.run(shell.words(words), { env = lua.env() })
    os.remove(path)
    assert.equal(0, result.status, result.stderr)
    return tonumber(result.stderr:match "Collected : (%d+)")
  end

  local function per_iteration(text)
    local short, long = 1000000, 3000000
    return (instructions(text, long) - instructions(text, short)) / (long - short)
  end

  local function test()
    local plain = per_iteration(count .. "loop(math.tointeger(arg[1]))")
    local isolated = per_iteration([[local isolate = require "isolate"]] .. count .. [[
      isolate.run(loop, math.tointeger(arg[1])):await()
    ]])
    assert.is_true(math.abs(isolated / plain - 1) < 0.01,
      ("%.2f instructions, and %.2f in an isolate"):format(plain, isolated))
  end
  if has_valgrind then
    it("takes no instruction of a loop", test)
  else
    pending "takes no instruction of a loop (valgrind only)"
  end
end)
