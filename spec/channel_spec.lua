-- channel_spec.lua - channels: rendezvous, capacity, many receivers, closing.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local settle = require "spec.support.settle"

local await, scale, limit = settle.await, settle.scale, settle.limit

it = live.checking(it)

local misuse = require "spec.support.misuse" "channel_spec"

local function closed(...)
  assert.same({ n = 2, nil, "closed" }, table.pack(...))
end

describe("isolate.channel", function()
  describe("()", function()
    it("gives a channel with an id of its own", function()
      local a, b = isolate.channel(), isolate.channel(3)
      assert.matches("^isolate%.channel: %d+$", tostring(a))
      assert.equal("integer", math.type(a.id))
      assert.are_not_equal(a.id, b.id)
      assert.is_false(a == b)
      assert.equal(0, #a)
    end)

    it("raises for a capacity that is none", function()
      misuse(function() isolate.channel(-1) end)
      misuse(function() isolate.channel(1.5) end)
      misuse(function() isolate.channel "x" end)
      misuse(function() isolate.channel {} end)
    end)

    it("has both ends' methods, which raise for misuse", function()
      local ch = isolate.channel(1)
      misuse(function() ch:send(nil) end)
      misuse(function() ch.send({}, 1) end)
      misuse(function() ch:send(1, -1) end)
      misuse(function() ch:receive "x" end)
      misuse(function() ch:receive_many(0) end)
      misuse(function() ch:on_message(1) end)
      misuse(function() ch.x = 1 end)
      misuse(function() ch.close({}) end)
    end)
  end)

  describe("of capacity 0", function()
    it("passes a value when both are there, whoever comes first", function()
      local ch = isolate.channel()
      local receiving = isolate.async(function() return ch:receive(limit) end)
      isolate.sleep(0)
      assert.is_true(ch:send("receiver first", limit))
      assert.equal("receiver first", await(receiving))
      local sending = isolate.async(function() return ch:send("sender first", limit) end)
      isolate.sleep(0)
      assert.is_false(sending:done())
      assert.equal("sender first", ch:receive(limit))
      assert.is_true(await(sending))
    end)

    it("makes a send wait until it is received", function()
      local ch = isolate.channel()
      assert.same({ n = 2, nil, "timeout" }, table.pack(ch:send(1, 0)))
      local start = settle.now()
      assert.same({ n = 2, nil, "timeout" }, table.pack(ch:send({ ch }, 0.05)))
      assert.is_true(settle.now() - start >= 0.045)
      assert.same({ n = 2, nil, "empty" }, table.pack(ch:try_receive()))
    end)

    it("gives try_send nil, 'full' when nobody receives, else true", function()
      local ch = isolate.channel()
      assert.same({ n = 2, nil, "full" }, table.pack(ch:try_send(1)))
      local receiving = isolate.async(function() return ch:receive(limit) end)
      isolate.sleep(0)
      assert.is_true(ch:try_send "met")
      assert.same({ n = 2, nil, "full" }, table.pack(ch:try_send "second"))
      assert.equal("met", await(receiving))
    end)

    it("takes a value for each receiver that waits", function()
      local ch = isolate.channel()
      local all = {}
      for i = 1, 5 do all[i] = isolate.async(function() return (ch:receive(limit)) end) end
      isolate.sleep(0)
      for i = 1, 5 do assert.is_true(ch:try_send(i)) end
      assert.is_nil((ch:try_send(6)))
      local sum = 0
      for i = 1, 5 do sum = sum + await(all[i]) end
      assert.equal(15, sum)
    end)

    it("gives try_receive what a waiting sender has", function()
      local ch = isolate.channel()
      local sending = isolate.async(function() return ch:send({ "v" }, limit) end)
      isolate.sleep(0)
      assert.same({ "v" }, (ch:try_receive()))
      assert.is_true(await(sending))
    end)

    it("loses no message when a receiver gives up as it comes", function()
      local n = scale(500, 100)
      local ch = isolate.channel()
      local iso = isolate.spawn(function(c, last)
        for i = 1, last do assert(c:send(i)) end
      end, ch, n)
      local expected = 1
      while expected <= n do
        local v = ch:receive(0.00001 * (expected % 7))
        if v then
          assert.equal(expected, v)
          expected = expected + 1
        end
      end
      assert.is_true((iso:join(limit)))
      assert.same({ n = 2, nil, "empty" }, table.pack(ch:try_receive()))
    end)

    it("doubles no message when a sender gives up as it goes", function()
      local n = scale(3000, 300)
      local ch = isolate.channel()
      local got = isolate.run(function(c)
        local list = {}
        while true do
          local v = c:receive()
          if v == "end" then return list end
          list[#list + 1] = v
        end
      end, ch)
      local sent = {}
      for i = 1, n do
        if ch:send({ i }, 0.00001 * (i % 7)) then sent[#sent + 1] = { i } end
      end
      ch:send("end", limit)
      assert.same(sent, await(got))
    end)

    it("keeps the order of a sender in another isolate", function()
      local n = scale(5000, 500)
      local ch = isolate.channel()
      isolate.spawn(function(c, last)
        for i = 1, last do c:send(i) end
        c:close()
      end, ch, n)
      local expected = 1
      for v in ch:messages() do
        if v ~= expected then error "out of order" end
        expected = expected + 1
      end
      assert.equal(n + 1, expected)
    end)
  end)

  describe("with a capacity", function()
    it("takes so many, and then a send waits", function()
      local ch = isolate.channel(2)
      assert.is_true(ch:send(1))
      assert.is_true(ch:try_send(2))
      assert.equal(2, #ch)
      assert.same({ n = 2, nil, "full" }, table.pack(ch:try_send(3)))
      assert.same({ n = 2, nil, "timeout" }, table.pack(ch:send(3, 0.001)))
      assert.same({ 1, 2 }, ch:receive_many(10))
    end)

    it("of 1 is a lock", function()
      local lock, total = isolate.channel(1), isolate.channel(1)
      total:send(0)
      local n, futures = scale(300, 50), {}
      for i = 1, 4 do
        futures[i] = isolate.run(function(l, t, times)
          for _ = 1, times do
            l:send(true)
            t:send(t:receive() + 1)
            l:receive()
          end
        end, lock, total, n)
      end
      for i = 1, 4 do await(futures[i]) end
      assert.equal(4 * n, (total:try_receive()))
    end)
  end)

  describe("among many", function()
    it("gives each message to one receiver, none lost, none twice", function()
      for _, capacity in ipairs { 0, 1, 16 } do
        local n, senders, receivers = scale(2000, 200), {}, {}
        local ch = isolate.channel(capacity)
        for s = 1, 4 do
          senders[s] = isolate.run(function(c, me, last)
            for i = 1, last do assert(c:send(i * 4 + me)) end
          end, ch, s - 1, n)
        end
        for r = 1, 3 do
          receivers[r] = isolate.run(function(c)
            local list = {}
            for v in c:messages() do list[#list + 1] = v end
            return list
          end, ch)
        end
        for s = 1, 4 do await(senders[s]) end
        ch:close()
        local seen, count = {}, 0
        for r = 1, 3 do
          local last = { [0] = 0, 0, 0, 0 }
          for _, v in ipairs(await(receivers[r])) do
            if seen[v] then error("twice: " .. v) end
            if v // 4 <= last[v % 4] then error "out of order" end
            last[v % 4] = v // 4
            seen[v] = true
            count = count + 1
          end
        end
        assert.equal(4 * n, count)
      end
    end)

    it("loses nothing when a receiver that waits is killed", function()
      for _ = 1, scale(20, 5) do
        local ch = isolate.channel()
        local victim = isolate.spawn(function(c) while true do c:receive() end end, ch)
        victim:ping { when = "idle", timeout = limit }
        victim:kill()
        victim:join(limit)
        local other = isolate.async(function() return (ch:receive(limit)) end)
        assert.is_true(ch:send("for the other", limit))
        assert.equal("for the other", await(other))
      end
    end)

    it("withdraws what a sender that is killed has offered", function()
      local ch = isolate.channel()
      local victim = isolate.spawn(function(c) c:send { c } end, ch)
      victim:ping { when = "idle", timeout = limit }
      victim:kill()
      victim:join(limit)
      live.count()
      assert.same({ n = 2, nil, "empty" }, table.pack(ch:try_receive()))
    end)
  end)

  describe(":close()", function()
    it("makes senders get nil, 'closed', and receivers drain first", function()
      local ch = isolate.channel(3)
      for i = 1, 3 do ch:send(i) end
      ch:close()
      closed(ch:send(4))
      closed(ch:try_send(4))
      assert.equal(1, ch:receive())
      assert.equal(2, (ch:try_receive()))
      assert.same({ 3 }, ch:receive_many(5))
      closed(ch:receive())
      closed(ch:try_receive())
      closed(ch:receive_many(5))
      ch:close()
      for _ in ch:messages() do error "never" end
    end)

    it("closes it for all isolates", function()
      local ch = isolate.channel()
      local futures = {}
      for i = 1, 3 do
        futures[i] = isolate.run(function(c, sends)
          if sends then return c:send { c } end
          return c:receive()
        end, ch, false)
      end
      await(isolate.run(function(c) c:close() end, ch))
      for i = 1, 3 do closed(await(futures[i])) end
      closed(ch:send(1))
    end)

    it("wakes senders that wait, and lets go of what they offered", function()
      local ch = isolate.channel()
      local all = {}
      for i = 1, 5 do all[i] = isolate.async(function() return ch:send({ ch }, limit) end) end
      isolate.sleep(0)
      ch:close()
      for i = 1, 5 do closed(await(all[i])) end
      closed(ch:receive())
    end)

    it("wakes receivers that wait", function()
      local ch = isolate.channel(2)
      local all = {}
      for i = 1, 5 do all[i] = isolate.async(function() return ch:receive(limit) end) end
      isolate.sleep(0)
      ch:close()
      for i = 1, 5 do closed(await(all[i])) end
    end)

    it("is called by <close>", function()
      local keep
      do
        local ch <close> = isolate.channel(1)
        keep = ch
      end
      closed(keep:send(1))
    end)
  end)

  it("is not closed by anything else while it has a holder", function()
    local ch = isolate.channel(5)
    local iso = isolate.spawn(function(c) c:send "from one that ended" end, ch)
    assert.is_true((iso:join(limit)))
    local victim = isolate.spawn(function(c) c:send "x"; while true do end end, ch)
    assert.equal("from one that ended", ch:receive(limit))
    assert.equal("x", ch:receive(limit))
    victim:kill()
    victim:join(limit)
    collectgarbage()
    assert.same({ n = 2, nil, "timeout" }, table.pack(ch:receive(0.01)))
    assert.is_true(ch:send "open")
    assert.equal("open", ch:receive(0))
  end)

  it("is freed with its last holder, and what is in it with it", function()
    do
      local ch = isolate.channel(10)
      local _, tx = isolate.port()
      for i = 1, 10 do ch:send { i, tx } end
      await(isolate.run(function(c) return c:receive()[1] end, ch))
    end
  end)

  it("can be sent, and is the same thing", function()
    local ch = isolate.channel(1)
    local same, id = await(isolate.run(function(c, list)
      c:send(c == list[1])
      return c, c.id
    end, ch, { ch }))
    assert.is_true(same == ch)
    assert.equal(ch.id, id)
    assert.is_true(ch:receive(limit))
  end)

  it("brings an answer back", function()
    local ch = isolate.channel()
    isolate.spawn(function(requests)
      for request in requests:messages() do request.reply:send(request.n * 2) end
    end, ch)
    for i = 1, 20 do
      local reply = isolate.channel(1)
      ch:send { n = i, reply = reply }
      assert.equal(2 * i, reply:receive(limit))
    end
    ch:close()
  end)

  describe(":on_message()", function()
    it("calls a function in each isolate that has set one, each message once", function()
      local ch, back = isolate.channel(4), isolate.channel(1000)
      local isos = {}
      for i = 1, 3 do
        isos[i] = isolate.spawn(function(c, b, me)
          c:on_message(function(v) b:send { me, v } end)
        end, ch, back, i)
        isos[i]:ping { when = "idle", timeout = limit }
      end
      local n, sum = scale(300, 60), 0
      for i = 1, n do ch:send(i) end
      for _ = 1, n do sum = sum + back:receive(limit)[2] end
      assert.equal(n * (n + 1) // 2, sum)
      ch:close()
      for i = 1, 3 do assert.is_true((isos[i]:join(limit))) end
    end)

    it("with nil lets others have the messages", function()
      local ch = isolate.channel(3)
      local got = {}
      assert.equal(ch, ch:on_message(function(v) got[#got + 1] = v end))
      ch:send(1)
      assert.is_true(settle.eventually(function()
        isolate.sleep(0)
        return #got == 1
      end))
      ch:on_message(nil)
      ch:send(2)
      assert.equal(2, ch:receive(0))
      assert.same({ 1 }, got)
    end)
  end)

  it("is as a value like every handle", function()
    local ch = isolate.channel()
    local mt = debug.getmetatable(ch)
    assert.equal("isolate.channel", mt.__name)
    assert.is_not_table(getmetatable(ch))
    assert.is_function(mt.__close)
    assert.is_function(mt.__gc)
  end)
end)
