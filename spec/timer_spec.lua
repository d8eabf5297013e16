-- timer_spec.lua - sleep, after, every, now; 10,000 timers; an idle program uses no processor time.
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

local await, scale, limit = settle.await, settle.scale, settle.limit

it = live.checking(it)

local misuse = require "spec.support.misuse" "timer_spec"

-- Runs the loop until `held()`.
local function run_until(held)
  return settle.eventually(function()
    isolate.sleep(0.001)
    return held()
  end)
end

-- What a script printed; it must end well and say nothing else.
local function script(text)
  local result = lua.source(text)
  assert.equal("", result.stderr)
  assert.equal(0, result.status)
  return result.stdout
end

describe("isolate.now()", function()
  it("is a number of seconds that only grows", function()
    local a = isolate.now()
    assert.equal("float", math.type(a))
    for _ = 1, 1000 do
      local b = isolate.now()
      assert.is_true(b >= a)
      a = b
    end
    local start = isolate.now()
    isolate.sleep(0.02)
    assert.is_true(isolate.now() - start >= 0.02)
  end)
end)

describe("isolate.sleep()", function()
  it("waits as long as it is told", function()
    local start = settle.now()
    isolate.sleep(0.05)
    local took = settle.now() - start
    assert.is_true(took >= 0.049 and took < limit)
  end)

  it("gives nothing", function()
    assert.equal(0, select("#", isolate.sleep(0)))
    assert.equal(0, await(isolate.async(function() return select("#", isolate.sleep(0)) end)))
  end)

  it("lets tasks, timers and handlers run", function()
    local seen = {}
    isolate.async(function() seen.task = true end)
    isolate.after(0, function() seen.timer = true end)
    local rx, tx = isolate.port()
    rx:on_message(function() seen.handler = true end)
    tx:send(1)
    isolate.sleep(0.01)
    assert.same({ task = true, timer = true, handler = true }, seen)
    rx:close()
  end)

  it("of 0 gives the others a turn", function()
    local n = 0
    local task = isolate.async(function() for _ = 1, 10 do n = n + 1; isolate.sleep(0) end end)
    assert.is_true(run_until(function() return n == 10 end))
    await(task)
  end)

  it("raises for misuse, with the caller's position", function()
    misuse(function() isolate.sleep() end)
    misuse(function() isolate.sleep(-1) end)
    misuse(function() isolate.sleep "x" end)
    misuse(function() isolate.sleep(0 / 0) end)
  end)
end)

describe("isolate.after()", function()
  it("calls the function once, after its time, with nothing", function()
    local start, calls, took = settle.now(), 0, nil
    isolate.after(0.02, function(...)
      calls = calls + 1 + select("#", ...)
      took = settle.now() - start
    end)
    assert.is_true(run_until(function() return calls > 0 end))
    isolate.sleep(0.01)
    assert.equal(1, calls)
    assert.is_true(took >= 0.019)
  end)

  it("calls functions in the order of their times, equal ones as they were made", function()
    local order = {}
    for i, ms in ipairs { 30, 10, 20, 10, 0, 30 } do
      isolate.after(ms / 1000, function() order[#order + 1] = i end)
    end
    assert.is_true(run_until(function() return #order == 6 end))
    assert.equal(5, order[1])
    assert.same({ 2, 4, 3 }, { order[2], order[3], order[4] })
    assert.same({ 1, 6 }, { order[5], order[6] })
  end)

  it("keeps its isolate alive with a function, and not without one", function()
    assert.equal("rang\n", script [[
      local isolate = require "isolate"
      local iso = isolate.spawn(function()
        isolate.after(0.05, function() print "rang" end)
        isolate.after(1000)
        isolate.every(1000)
      end)
      assert(iso:join(20))
    ]])
  end)

  it("lets a function wait, and other timers ring meanwhile", function()
    local order = {}
    isolate.after(0, function()
      order[#order + 1] = "begins"
      isolate.sleep(0.02)
      order[#order + 1] = "ends"
    end)
    isolate.after(0.005, function() order[#order + 1] = "other" end)
    assert.is_true(run_until(function() return #order == 3 end))
    assert.same({ "begins", "other", "ends" }, order)
  end)

  it("is kept while its function is to come, though nobody holds it", function()
    local rang
    isolate.after(0.005, function()
      collectgarbage()
      rang = true
    end)
    collectgarbage()
    collectgarbage()
    assert.is_true(run_until(function() return rang end))
  end)

  it("makes an error in its function uncaught, which ends the isolate", function()
    local errors, etx = isolate.port()
    local iso = isolate.spawn({ name = "ringer", on_error = etx }, function()
      isolate.after(0.001, function() error "bad ring" end)
      isolate.after(1000, function() end)
    end)
    local ok, err = iso:join(limit)
    assert.is_false(ok)
    assert.matches("timer_spec%.lua:%d+: bad ring", err)
    assert.equal("ringer", errors:receive(limit).name)
  end)

  it("goes on after an error where that is not fatal", function()
    local errors, etx = isolate.port()
    local back, tell = isolate.port()
    local iso = isolate.spawn({ errors_fatal = false, on_error = etx }, function(to)
      local n, timer = 0, nil
      timer = isolate.every(0.001, function()
        n = n + 1
        if n == 2 then error "once" end
        if n == 4 then
          timer:cancel()
          to:send "went on"
        end
      end)
    end, tell)
    assert.equal("went on", back:receive(limit))
    assert.matches("once", errors:receive(limit).message, 1, true)
    assert.is_true((iso:join(limit)))
  end)

  it("raises for misuse, with the caller's position", function()
    misuse(function() isolate.after() end)
    misuse(function() isolate.after(-1) end)
    misuse(function() isolate.after(0 / 0) end)
    misuse(function() isolate.after(1, 5) end)
    misuse(function() isolate.every(0) end)
    misuse(function() isolate.every(-1, print) end)
    misuse(function() isolate.every(1, "x") end)
    misuse(function() isolate.after(1).cancel() end)
  end)
end)

describe("isolate.every()", function()
  it("calls the function again and again, at its pace", function()
    local n, start = 0, settle.now()
    local timer = isolate.every(0.004, function() n = n + 1 end)
    assert.is_true(run_until(function() return n >= 10 end))
    assert.is_true(settle.now() - start >= 0.039)
    timer:cancel()
    local at = n
    isolate.sleep(0.02)
    assert.equal(at, n)
  end)

  it("never overlaps its function: a ring meanwhile is left out", function()
    local inside, most, n = 0, 0, 0
    local timer = isolate.every(0.001, function()
      inside = inside + 1
      most = math.max(most, inside)
      isolate.sleep(0.005)
      inside, n = inside - 1, n + 1
    end)
    assert.is_true(run_until(function() return n == 5 end))
    timer:cancel()
    assert.equal(1, most)
    assert.is_true(run_until(function() return inside == 0 end))
  end)

  it("leaves out what was missed by code that was busy", function()
    local n = 0
    local timer = isolate.every(0.002, function() n = n + 1 end)
    local start = settle.now()
    while settle.now() - start < 0.05 do end
    isolate.sleep(0)
    assert.is_true(n <= 2)
    timer:cancel()
  end)

  it("may be cancelled by its own function, whatever that raises or waits for", function()
    local n, timer = 0, nil
    timer = isolate.every(0.001, function()
      n = n + 1
      timer:cancel()
      timer = nil
      collectgarbage()
      isolate.sleep(0.002)
      collectgarbage()
    end)
    assert.is_true(run_until(function() return n > 0 end))
    isolate.sleep(0.01)
    assert.equal(1, n)
  end)
end)

describe("timer", function()
  it(":cancel() tells whether it would have rung", function()
    local rang
    local timer = isolate.after(0.01, function() rang = true end)
    assert.is_true(timer:cancel())
    assert.is_false(timer:cancel())
    isolate.sleep(0.02)
    assert.is_nil(rang)
    local over = isolate.after(0, function() rang = true end)
    assert.is_true(run_until(function() return rang end))
    assert.is_false(over:cancel())
  end)

  it(":cancel() lets the isolate end", function()
    local iso = isolate.spawn(function()
      local timer = isolate.after(1000, function() end)
      isolate.after(0.001, function() timer:cancel() end)
    end)
    assert.is_true((iso:join(limit)))
  end)

  it("is cancelled by <close>", function()
    local rang
    do
      local _ <close> = isolate.after(0, function() rang = true end)
    end
    isolate.sleep(0.005)
    assert.is_nil(rang)
  end)

  it("wakes who selects it when it is cancelled", function()
    local timer = isolate.after(1000)
    isolate.async(function() timer:cancel() end)
    assert.same({ n = 3, timer, nil, "closed" }, table.pack(isolate.select({ timer }, limit)))
  end)

  it("has a text and a locked metatable", function()
    local timer = isolate.after(1000)
    assert.matches("^isolate%.timer", tostring(timer))
    assert.equal("isolate.timer", debug.getmetatable(timer).__name)
    assert.is_not_table(getmetatable(timer))
    assert.is_function(debug.getmetatable(timer).__close)
    assert.is_function(debug.getmetatable(timer).__gc)
  end)

  it("may be one of 10,000 that are live", function()
    local n, rang, last, ordered = scale(10000, 2000), 0, -1, true
    local timers = {}
    for i = 1, n do
      local ms = (i * 7919) % 200
      timers[i] = isolate.after(ms / 1000, function()
        rang = rang + 1
        -- Those that were due together come by their times, too.
        ordered = ordered and (ms >= last - 150)
        last = ms
      end)
    end
    for i = 1, n, 2 do timers[i]:cancel() end
    assert.is_true(run_until(function() return rang == n // 2 end))
    assert.is_true(ordered)
  end)

  it("may be one of 10,000 tasks that sleep", function()
    local n, woke = scale(10000, 2000), 0
    for i = 1, n do
      isolate.async(function()
        isolate.sleep(i % 50 / 1000)
        woke = woke + 1
      end)
    end
    assert.is_true(run_until(function() return woke == n end))
  end)
end)

describe("an idle program", function()
  -- Processor seconds of all of a script's threads while main waits for one second.
  local function cpu(setup)
    return tonumber((script([[
      local isolate = require "isolate"
      ]] .. setup .. [[
      isolate.sleep(0.3)
      local start = os.clock()
      isolate.sleep(1)
      io.write(os.clock() - start)
      os.exit(0, false)
    ]])))
  end

  -- It takes well below a millisecond; a machine that is busy with other things may charge some.
  local allowed = settle.sanitized and 0.3 or 0.02

  it("uses no processor time", function()
    assert.is_true(cpu "" < allowed)
  end)

  it("uses none with parked isolates, ports, tasks and timers that are far away", function()
    assert.is_true(cpu [[
      KEPT = {}
      for i = 1, 20 do
        local iso = isolate.spawn(function() for v in isolate.inbox():messages() do end end)
        KEPT[#KEPT + 1] = iso
      end
      KEPT[#KEPT + 1] = isolate.spawn(function()
        local ch = isolate.channel()
        isolate.self():send(ch)
        isolate.select { isolate.inbox(), isolate.after(1000, function() end) }
        isolate.select { ch, isolate.after(1000, function() end) }
      end)
      for i = 1, 100 do
        isolate.after(1000 + i, function() end)
        isolate.async(function() isolate.sleep(1000) end)
      end
      local paused = isolate.spawn({ paused = true }, function() end)
      KEPT[#KEPT + 1] = paused
      local ch = isolate.channel(1)
      ch:send(1)
      KEPT[#KEPT + 1] = isolate.spawn(function(c) c:send(2) end, ch)
      KEPT[#KEPT + 1] = isolate.spawn(function(c)
        while true do c:receive(1000) end
      end, isolate.channel())
    ]] < allowed)
  end)

  it("uses none while it waits for a future or for all isolates", function()
    assert.equal("ok", script([[
      local isolate, allowed = require "isolate", ]] .. allowed .. [[

      local start = os.clock()
      isolate.run(function() isolate.sleep(0.5) end):await()
      isolate.spawn(function() isolate.sleep(0.5) end)
      isolate.wait()
      local used = os.clock() - start
      io.write(used < allowed + 0.02 and "ok" or used)
    ]]))
  end)
end)
