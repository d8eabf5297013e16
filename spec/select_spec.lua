-- select_spec.lua - isolate.select: any mix, exactly one is taken, fair, many members.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV 542

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local settle = require "spec.support.settle"

local await, scale, limit = settle.await, settle.scale, settle.limit

it = live.checking(it)

local misuse = require "spec.support.misuse" "select_spec"

local function pick(...) return table.pack(isolate.select(...)) end

local function endless() while true do end end

describe("isolate.select()", function()
  describe("gives", function()
    it("a receiver and its message", function()
      local rx, tx = isolate.port()
      local other, otx = isolate.port()
      tx:send { "v" }
      assert.same({ n = 2, rx, { "v" } }, pick({ other, rx }, limit))
      otx:send(false)
      assert.same({ n = 2, other, false }, pick({ other, rx }, limit))
    end)

    it("a receiver, nil and 'closed' when it is closed", function()
      local rx, tx = isolate.port()
      tx:send(1)
      tx:close()
      assert.same({ n = 2, rx, 1 }, pick { rx })
      assert.same({ n = 3, rx, nil, "closed" }, pick { rx })
      rx:close()
      assert.same({ n = 3, rx, nil, "closed" }, pick({ rx }, 0))
    end)

    it("a channel and its message, or nil and 'closed'", function()
      local ch, empty = isolate.channel(1), isolate.channel()
      ch:send "v"
      assert.same({ n = 2, ch, "v" }, pick({ empty, ch }, limit))
      ch:close()
      assert.same({ n = 3, ch, nil, "closed" }, pick({ empty, ch }, limit))
    end)

    it("a channel of capacity 0 and what a sender there offers", function()
      local ch, other = isolate.channel(), isolate.channel()
      local future = isolate.run(function(c) return c:send { "met" } end, ch)
      assert.same({ n = 2, ch, { "met" } }, pick({ other, ch }, limit))
      assert.is_true(await(future))
    end)

    it("a future and its first result", function()
      local slow <close> = isolate.run(endless)
      local future = isolate.run(function() return "first", "second" end)
      assert.same({ n = 2, future, "first" }, pick({ slow, future }, limit))
      assert.same({ n = 2, future, "first" }, pick({ slow, future }, limit))
      local none = isolate.run(function() end)
      assert.equal(none, (isolate.select({ none }, limit)))
    end)

    it("a future, nil and its error", function()
      local future = isolate.run(function() error { code = "mine" } end)
      local thing, value, err = isolate.select({ future }, limit)
      assert.equal(future, thing)
      assert.is_nil(value)
      assert.equal("mine", err.code)
      local task = isolate.async(function() error("boom", 0) end)
      assert.same({ n = 3, task, nil, "boom" }, pick({ task }, limit))
    end)

    it("an isolate and its exit message", function()
      local iso = isolate.spawn({ name = "short" }, function() end)
      local thing, message = isolate.select({ iso }, limit)
      assert.is_true(thing == iso)
      assert.equal(iso.id, message.id)
      assert.equal("short", message.name)
      assert.equal("done", message.status)
      assert.equal("done", select(2, isolate.select({ iso }, limit)).status)
      local victim = isolate.spawn(endless)
      victim:kill()
      assert.equal("killed", select(2, isolate.select({ victim }, limit)).status)
    end)

    it("a timer and true, each time it rings", function()
      local timer = isolate.after(0.01)
      assert.same({ n = 2, timer, true }, pick({ timer }, limit))
      assert.same({ n = 3, timer, nil, "closed" }, pick({ timer }, limit))
      local every = isolate.every(0.002)
      for _ = 1, 3 do assert.same({ n = 2, every, true }, pick({ every }, limit)) end
      every:cancel()
      assert.same({ n = 3, every, nil, "closed" }, pick({ every }, limit))
    end)

    it("a send case itself, and true, when its value is sent", function()
      local ch = isolate.channel(1)
      local case = { ch, { "v" } }
      assert.same({ n = 2, case, true }, pick({ case }, limit))
      assert.same({ "v" }, ch:receive(limit))
    end)

    it("a send case, nil and 'closed' when its channel is closed", function()
      local ch = isolate.channel(1)
      ch:close()
      local case = { ch, 1 }
      assert.same({ n = 3, case, nil, "closed" }, pick({ case }, limit))
      local rx, tx = isolate.port()
      rx:close()
      local sender_case = { tx, { tx } }
      assert.same({ n = 3, sender_case, nil, "closed" }, pick({ sender_case }, limit))
    end)

    it("nil and 'timeout' when the time is over", function()
      local rx, tx = isolate.port()
      assert.same({ n = 2, nil, "timeout" }, pick({ rx, isolate.channel() }, 0))
      local start = settle.now()
      assert.same({ n = 2, nil, "timeout" }, pick({ rx, isolate.channel() }, 0.05))
      assert.is_true(settle.now() - start >= 0.045)
      assert.same({ n = 2, nil, "timeout" }, pick({}, 0.001))
      assert.is_true(tx:send(1))
    end)
  end)

  it("takes a mix of everything", function()
    local rx, tx = isolate.port()
    local ch, full = isolate.channel(), isolate.channel(1)
    local future, iso = isolate.run(endless), isolate.spawn(endless)
    local timer, every = isolate.after(1000), isolate.every(1000)
    local task = isolate.async(function() return (isolate.channel():receive(1000)) end)
    full:send "full"
    local case = { full, "more" }
    local list = { rx, ch, case, future, iso, timer, every, task }
    assert.same({ n = 2, nil, "timeout" }, pick(list, 0.01))
    tx:send "m"
    assert.same({ n = 2, rx, "m" }, pick(list, limit))
    local sending = isolate.run(function(c) return c:send "offered" end, ch)
    assert.same({ n = 2, ch, "offered" }, pick(list, limit))
    await(sending)
    isolate.run(function(c) c:receive() end, full)
    assert.same({ n = 2, case, true }, pick(list, limit))
    assert.equal("more", full:receive(limit))
    full:send "again full"
    iso:kill()
    assert.is_true(isolate.select(list, limit) == iso)
    future:cancel()
    timer:cancel()
    every:cancel()
    task:cancel()
    future:try(limit)
  end)

  it("takes a thing twice", function()
    local rx, tx = isolate.port()
    for i = 1, 10 do tx:send(i) end
    for i = 1, 10 do assert.same({ n = 2, rx, i }, pick({ rx, rx }, limit)) end
    isolate.async(function() tx:send "woken" end)
    assert.same({ n = 2, rx, "woken" }, pick({ rx, rx }, limit))
    assert.same({ n = 2, nil, "empty" }, table.pack(rx:try_receive()))
  end)

  describe("takes exactly one", function()
    it("of all that is ready, and the others lose nothing", function()
      local list, rest = {}, 0
      for i = 1, 20 do
        local rx, tx = isolate.port()
        tx:send(i)
        tx:send(100 + i)
        list[i] = rx
      end
      for _ = 1, 10 do isolate.select(list, limit) end
      for i = 1, 20 do rest = rest + #list[i] end
      assert.equal(30, rest)
    end)

    it("when several come at once to one that waits", function()
      for _ = 1, scale(200, 30) do
        local a, atx = isolate.port()
        local b, btx = isolate.port()
        local ch = isolate.channel(1)
        local task = isolate.async(function()
          atx:send "a"
          btx:send "b"
          ch:send "c"
        end)
        isolate.select({ a, b, ch }, limit)
        await(task)
        assert.equal(2, #a + #b + #ch)
      end
    end)

    it("among senders in other isolates, none lost, none twice", function()
      local n, list, index = scale(3000, 300), {}, {}
      for i = 1, 4 do
        local rx, tx = isolate.port { capacity = i < 3 and i or nil }
        list[i], index[rx.id] = rx, i
        isolate.spawn(function(to, last) for k = 1, last do to:send(k) end end, tx, n)
        tx:close()
      end
      local expected, open = { 1, 1, 1, 1 }, 4
      while open > 0 do
        local rx, v = isolate.select(list, limit)
        local i = index[rx.id]
        if v == nil then
          assert.equal(n + 1, expected[i])
          open = open - 1
          for k = #list, 1, -1 do if list[k] == rx then table.remove(list, k) end end
        elseif v ~= expected[i] then
          error "out of order"
        else
          expected[i] = v + 1
        end
      end
    end)

    it("of rendezvous channels: senders that are not chosen keep waiting", function()
      local chs, futures = {}, {}
      for i = 1, 5 do
        chs[i] = isolate.channel()
        futures[i] = isolate.async(function() return chs[i]:send(i, limit) end)
      end
      isolate.sleep(0)
      local sum = 0
      for k = 1, 5 do
        sum = sum + select(2, isolate.select(chs, limit))
        isolate.sleep(0)
        local done = 0
        for i = 1, 5 do done = done + (futures[i]:done() and 1 or 0) end
        assert.equal(k, done)
      end
      assert.equal(15, sum)
    end)

    it("of several that select the same channels at once", function()
      local a, b = isolate.channel(), isolate.channel()
      local n, futures = scale(1000, 100), {}
      for r = 1, 3 do
        futures[r] = isolate.run(function(x, y)
          local sum, count, open = 0, 0, { x, y }
          while #open > 0 do
            local ch, v = isolate.select(open)
            if v then
              sum, count = sum + v, count + 1
            else
              table.remove(open, open[1] == ch and 1 or 2)
            end
          end
          return sum, count
        end, a, b)
      end
      for i = 1, n do
        assert.is_true(a:send(i, limit))
        assert.is_true(b:send(-i, limit))
      end
      a:close()
      b:close()
      local sum, count = 0, 0
      for r = 1, 3 do
        local s, c = await(futures[r])
        sum, count = sum + s, count + c
      end
      assert.equal(0, sum)
      assert.equal(2 * n, count)
    end)

    it("so that values of send cases that lose are not sent", function()
      local a, b = isolate.channel(1), isolate.channel(1)
      for _ = 1, 50 do
        local case = isolate.select({ { a, "a" }, { b, "b" } }, limit)
        assert.equal(case[1] == a and 1 or 0, #a)
        assert.equal(case[1] == b and 1 or 0, #b)
        assert.equal(case[2], case[1]:receive(0))
      end
    end)

    it("so that a timer that loses can still be had", function()
      local rx, tx = isolate.port()
      local timer = isolate.after(0.001)
      assert.is_true(settle.eventually(function()
        isolate.sleep(0.001)
        tx:send(1)
        local thing = isolate.select({ rx, timer }, limit)
        while rx:try_receive() do end
        return thing == timer
      end))
    end)
  end)

  describe("with send cases", function()
    it("waits for room", function()
      local a, b = isolate.channel(1), isolate.channel(1)
      a:send(1)
      b:send(1)
      isolate.async(function() assert(b:receive(0) == 1) end)
      local case = { b, "into b" }
      assert.same({ n = 2, case, true }, pick({ { a, "into a" }, case }, limit))
      assert.equal("into b", b:receive(0))
      assert.equal(1, a:receive(0))
    end)

    it("sends and receives in one go", function()
      local n = scale(2000, 200)
      local out, back = isolate.channel(4), isolate.channel(4)
      isolate.spawn(function(from, to)
        for v in from:messages() do to:send(v * 2) end
        to:close()
      end, out, back)
      local sent, got = 0, 0
      while got < n do
        local list = { back }
        if sent < n then list[2] = { out, sent + 1 } end
        local thing, v = isolate.select(list, limit)
        if thing == back then
          got = got + 1
          assert.equal(2 * got, v)
        else
          sent = sent + 1
        end
      end
      out:close()
    end)

    it("does what on_full of the port says", function()
      local rx, tx = isolate.port { capacity = 1, on_full = "drop_newest" }
      tx:send(1)
      local case = { tx, 2 }
      assert.same({ n = 2, case, true }, pick({ case }, limit))
      local rx2, tx2 = isolate.port { capacity = 1, on_full = "error" }
      tx2:send(1)
      case = { tx2, 2 }
      assert.same({ n = 3, case, nil, "full" }, pick({ case }, limit))
      assert.equal(1, rx:receive(0))
      assert.equal(1, rx2:receive(0))
    end)

    it("raises when a value cannot be sent, and takes nothing", function()
      local rx, tx = isolate.port()
      local ch = isolate.channel(1)
      tx:send "kept"
      local ok, err = pcall(isolate.select, { rx, { ch, 1 }, { ch, { io.stdout } } })
      assert.is_false(ok)
      assert.equal("not_sendable", err.code)
      assert.equal(1, #rx)
      assert.equal(0, #ch)
    end)
  end)

  describe("is fair", function()
    it("to several that are ready", function()
      for _, n in ipairs { 2, 3, 5, 8 } do
        local list, count, rounds = {}, {}, 200 * n
        for i = 1, n do
          local rx, tx = isolate.port()
          for _ = 1, rounds do tx:send(i) end
          list[i], count[i] = rx, 0
        end
        for _ = 1, rounds do
          local _, v = isolate.select(list, limit)
          count[v] = count[v] + 1
        end
        -- 200 are expected of each, with a standard deviation below 14.
        for i = 1, n do assert.is_true(count[i] > 90 and count[i] < 310) end
      end
    end)

    it("to channels and senders under load", function()
      local a, b = isolate.channel(8), isolate.channel(8)
      local done = isolate.channel()
      local function flood(ch) while ch:send(true) do end end
      local isos = { isolate.spawn(flood, a), isolate.spawn(flood, b) }
      local count = { [a.id] = 0, [b.id] = 0 }
      while count[a.id] < 20 or count[b.id] < 20 do
        local ch = isolate.select({ a, b, done }, limit)
        assert.is_not_nil(ch)
        count[ch.id] = count[ch.id] + 1
      end
      a:close()
      b:close()
      for _, iso in ipairs(isos) do assert.is_true((iso:join(limit))) end
    end)
  end)

  it("takes 1000 members", function()
    local list, senders = {}, {}
    for i = 1, 1000 do list[i], senders[i] = isolate.port() end
    assert.same({ n = 2, nil, "timeout" }, pick(list, 0.01))
    for _, i in ipairs { 1, 500, 1000, 777 } do
      senders[i]:send(i)
      assert.same({ n = 2, list[i], i }, pick(list, limit))
      isolate.run(function(to, v) to:send(v) end, senders[i], -i)
      assert.same({ n = 2, list[i], -i }, pick(list, limit))
    end
  end)

  it("takes 1000 members in a task, again and again", function()
    local list, senders = {}, {}
    for i = 1, 1000 do list[i], senders[i] = isolate.port() end
    local task = isolate.async(function()
      local sum = 0
      for _ = 1, 50 do sum = sum + select(2, isolate.select(list, limit)) end
      return sum
    end)
    for i = 1, 50 do
      senders[i * 20]:send(i)
      isolate.sleep(0)
    end
    assert.equal(1275, await(task))
  end)

  it("works in tasks, coroutines and across C calls", function()
    local rx, tx = isolate.port()
    local function one()
      local thing, v = isolate.select({ isolate.channel(), rx }, limit)
      return thing == rx and v
    end
    local task = isolate.async(one)
    isolate.sleep(0)
    tx:send "task"
    assert.equal("task", await(task))
    isolate.run(function(to) to:send "coroutine" end, tx)
    assert.equal("coroutine", coroutine.wrap(one)())
    isolate.run(function(to) to:send "gsub" end, tx)
    assert.equal("gsub", (("x"):gsub(".", one)))
  end)

  it("is not misled by a list that changes while it waits", function()
    local a, b = isolate.channel(), isolate.channel(1)
    local list = { a, b }
    isolate.async(function()
      list[1], list[2] = nil, nil
      collectgarbage()
      b:send "v"
    end)
    assert.same({ n = 2, b, "v" }, pick(list, limit))
  end)

  it("raises for misuse, with the caller's position", function()
    local rx, tx = isolate.port()
    misuse(function() isolate.select() end)
    misuse(function() isolate.select(rx) end)
    misuse(function() isolate.select {} end)
    misuse(function() isolate.select({ rx }, "x") end)
    misuse(function() isolate.select({ rx }, -1) end)
    assert.matches("item 2", misuse(function() isolate.select { rx, 5 } end), 1, true)
    assert.matches("item 1", misuse(function() isolate.select { tx } end), 1, true)
    assert.matches("item 1", misuse(function() isolate.select { { tx } } end), 1, true)
    assert.matches("item 1", misuse(function() isolate.select { { 5, 5 } } end), 1, true)
    assert.matches("capacity 0", misuse(function()
      isolate.select { { isolate.channel(), 1 } }
    end), 1, true)
    tx:close()
    misuse(function() isolate.select { { tx, 1 } } end)
  end)
end)
