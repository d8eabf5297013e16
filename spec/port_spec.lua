-- port_spec.lua - ports: order, capacity, ends, what travels, and nothing lost or left behind.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV 512 542

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local settle = require "spec.support.settle"

local await, scale, limit = settle.await, settle.scale, settle.limit

it = live.checking(it)

-- All that a queue holds now.
local function drain(rx)
  local list = {}
  while true do
    local v, why = rx:try_receive()
    if v == nil then return list, why end
    list[#list + 1] = v
  end
end

-- The message of an error raised by a misuse, which must have the position of the caller.
local misuse = require "spec.support.misuse" "port_spec"

local function refused(fn, path)
  local ok, err = pcall(fn)
  assert.is_false(ok)
  assert.equal("not_sendable", err.code)
  assert.equal(path, err.path)
end

-- An isolate that has ended, with its results read.
local function joined(iso)
  local results = table.pack(iso:join(limit))
  assert.is_true(results[1])
  return table.unpack(results, 2, results.n)
end

local function endless() while true do end end

describe("isolate.port", function()
  describe("()", function()
    it("gives a receiver and a sender", function()
      local rx, tx = isolate.port()
      assert.matches("^isolate%.receiver: %d+$", tostring(rx))
      assert.matches("^isolate%.sender: %d+$", tostring(tx))
    end)

    it("gives each port an id of its own, which both ends have", function()
      local seen = {}
      for _ = 1, 10 do
        local rx, tx = isolate.port()
        assert.equal("integer", math.type(rx.id))
        assert.equal(rx.id, tx.id)
        assert.is_nil(seen[rx.id])
        seen[rx.id] = true
      end
    end)

    it("takes a name, which its ends show", function()
      local rx, tx = isolate.port { name = "jobs" }
      assert.equal("jobs", rx.name)
      assert.equal("jobs", tx.name)
      assert.matches("jobs", tostring(rx), 1, true)
      assert.matches("jobs", tostring(tx), 1, true)
      assert.is_nil((isolate.port()).name)
    end)

    it("raises for options that are wrong, and says which", function()
      assert.matches("unknown option 'capcity'",
        misuse(function() isolate.port { capcity = 1 } end), 1, true)
      for _, capacity in ipairs { 0, -1, 1.5, "3", {} } do
        assert.matches("capacity", misuse(function()
          isolate.port { capacity = capacity }
        end), 1, true)
      end
      assert.matches("on_full", misuse(function() isolate.port { on_full = "panic" } end), 1, true)
      assert.matches("name", misuse(function() isolate.port { name = 1 } end), 1, true)
      misuse(function() isolate.port "jobs" end)
    end)
  end)

  describe("sender:send()", function()
    it("gives true, and the receiver gets the value", function()
      local rx, tx = isolate.port()
      assert.same({ n = 1, true }, table.pack(tx:send "hello"))
      assert.same({ n = 1, "hello" }, table.pack(rx:receive(limit)))
    end)

    it("never blocks on a port without capacity", function()
      local rx, tx = isolate.port()
      local n = scale(200000, 20000)
      for i = 1, n do tx:send(i) end
      assert.equal(n, #rx)
      for i = 1, n do
        if rx:receive(0) ~= i then error("out of order at " .. i) end
      end
    end)

    it("raises for nil, and for no value", function()
      local rx, tx = isolate.port()
      misuse(function() tx:send(nil) end)
      misuse(function() tx:send() end)
      misuse(function() tx:try_send() end)
      assert.equal(0, #rx)
    end)

    it("raises for what cannot be sent, and sends nothing", function()
      local rx, tx = isolate.port()
      refused(function() tx:send(io.stdout) end, "message")
      refused(function() tx:send { jobs = { ["a b"] = io.stdout } } end, 'message.jobs["a b"]')
      refused(function() tx:send { rx } end, "message[1]")
      refused(function() tx:send(isolate.run(function() end)) end, "message")
      refused(function() tx:send(coroutine.create(function() end)) end, "message")
      refused(function() tx:send(isolate.after(1)) end, "message")
      refused(function() tx:try_send(io.stdout) end, "message")
      assert.equal(0, #rx)
      assert.is_true(tx:send "usable")
    end)

    it("returns nil, 'closed' after the receiver closes", function()
      local rx, tx = isolate.port()
      rx:close()
      assert.same({ n = 2, nil, "closed" }, table.pack(tx:send(1)))
      assert.same({ n = 2, nil, "closed" }, table.pack(tx:send(1, 0)))
      assert.same({ n = 2, nil, "closed" }, table.pack(tx:try_send(1)))
    end)

    it("returns nil, 'closed' after the receiver is collected", function()
      local tx = select(2, isolate.port())
      collectgarbage()
      collectgarbage()
      assert.same({ n = 2, nil, "closed" }, table.pack(tx:send(1)))
    end)

    it("returns nil, 'closed' after the isolate of the receiver has ended", function()
      local tx = await(isolate.run(function() return select(2, isolate.port()) end))
      live.count()
      assert.same({ n = 2, nil, "closed" }, table.pack(tx:send(1)))
    end)

    it("returns nil, 'closed' after it was closed itself", function()
      local _, tx = isolate.port()
      tx:close()
      assert.same({ n = 2, nil, "closed" }, table.pack(tx:send(1)))
      assert.same({ n = 2, nil, "closed" }, table.pack(tx:try_send(1)))
    end)

    it("raises for misuse, with the caller's position", function()
      local rx, tx = isolate.port()
      misuse(function() tx.send() end)
      misuse(function() tx.send({}, 1) end)
      misuse(function() tx.send(rx, 1) end)
      misuse(function() rx:send(1) end)
      misuse(function() tx:send(1, "soon") end)
      misuse(function() tx:send(1, -1) end)
      misuse(function() tx:send(1, 0 / 0) end)
      misuse(function() tx:receive() end)
      assert.equal(0, #rx)
    end)
  end)

  describe("with a capacity", function()
    it("takes so many messages, and then a send waits for room", function()
      local rx, tx = isolate.port { capacity = 3 }
      for i = 1, 3 do assert.is_true(tx:send(i)) end
      assert.equal(3, #rx)
      local sent = isolate.async(function() return tx:send(4, limit) end)
      isolate.sleep(0)
      assert.is_false(sent:done())
      assert.equal(1, rx:receive(limit))
      assert.is_true(await(sent))
      assert.same({ 2, 3, 4 }, drain(rx))
    end)

    it("gives nil, 'timeout' when there is no room in time, and sends nothing", function()
      local rx, tx = isolate.port { capacity = 1 }
      tx:send "first"
      assert.same({ n = 2, nil, "timeout" }, table.pack(tx:send("late", 0)))
      local start = settle.now()
      assert.same({ n = 2, nil, "timeout" }, table.pack(tx:send("late", 0.05)))
      assert.is_true(settle.now() - start >= 0.045)
      assert.same({ "first" }, drain(rx))
      assert.is_true(tx:send("now", 0))
    end)

    it("gives try_send nil, 'full'", function()
      local rx, tx = isolate.port { capacity = 1 }
      assert.is_true(tx:try_send(1))
      assert.same({ n = 2, nil, "full" }, table.pack(tx:try_send(2)))
      assert.same({ 1 }, drain(rx))
    end)

    it("holds back a sender in another isolate, and loses nothing", function()
      local n = scale(20000, 2000)
      local rx, tx = isolate.port { capacity = 2 }
      local iso = isolate.spawn(function(to, last) for i = 1, last do to:send(i) end end, tx, n)
      tx:close()
      for i = 1, n do
        if rx:receive(limit) ~= i then error("out of order at " .. i) end
        if #rx > 2 then error "more are queued than the capacity" end
      end
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive(limit)))
      joined(iso)
    end)

    it("serves senders that wait in the order in which they came", function()
      local rx, tx = isolate.port { capacity = 1 }
      tx:send(0)
      local all = {}
      for i = 1, 20 do all[i] = isolate.async(function() return tx:send(i, limit) end) end
      isolate.sleep(0)
      for i = 0, 20 do assert.equal(i, rx:receive(limit)) end
      for i = 1, 20 do assert.is_true(await(all[i])) end
    end)

    it("wakes waiting senders with nil, 'closed' when the receiver closes", function()
      local rx, tx = isolate.port { capacity = 1 }
      tx:send { tx }
      local all = {}
      for i = 1, 5 do all[i] = isolate.async(function() return tx:send({ i, tx }, limit) end) end
      local ready, tell = isolate.port()
      local there = isolate.run(function(to, say)
        say:send(true)
        return to:send("from elsewhere", 1000)
      end, tx, tell)
      ready:receive(limit)
      isolate.sleep(0)
      rx:close()
      for i = 1, 5 do assert.same({ n = 2, nil, "closed" }, table.pack(await(all[i]))) end
      assert.same({ n = 2, nil, "closed" }, table.pack(await(there)))
    end)

    it("can be 1000 and more than a block of the queue", function()
      local rx, tx = isolate.port { capacity = 1000 }
      for i = 1, 1000 do assert.is_true(tx:try_send(i)) end
      assert.is_nil((tx:try_send(1001)))
      for i = 1, 500 do assert.equal(i, (rx:try_receive())) end
      for i = 1001, 1500 do assert.is_true(tx:try_send(i)) end
      assert.is_nil((tx:try_send(1501)))
      for i = 501, 1500 do assert.equal(i, (rx:try_receive())) end
    end)
  end)

  describe("with on_full", function()
    it("= 'error' gives nil, 'full' at once", function()
      local rx, tx = isolate.port { capacity = 2, on_full = "error" }
      tx:send(1)
      tx:send(2)
      assert.same({ n = 2, nil, "full" }, table.pack(tx:send(3)))
      assert.same({ n = 2, nil, "full" }, table.pack(tx:send(3, 10)))
      assert.same({ n = 2, nil, "full" }, table.pack(tx:try_send(3)))
      assert.same({ 1, 2 }, drain(rx))
      assert.is_true(tx:send(4))
    end)

    it("= 'drop_oldest' keeps the newest, and lets go of what it drops", function()
      local rx, tx = isolate.port { capacity = 3, on_full = "drop_oldest" }
      for i = 1, 200 do assert.is_true(tx:send { i, isolate.channel() }) end
      assert.equal(3, #rx)
      for i = 198, 200 do assert.equal(i, rx:receive(limit)[1]) end
      assert.equal(0, #rx)
    end)

    it("= 'drop_newest' keeps the oldest, and lets go of what it drops", function()
      local rx, tx = isolate.port { capacity = 3, on_full = "drop_newest" }
      for i = 1, 200 do assert.is_true(tx:try_send { i, isolate.channel() }) end
      assert.equal(3, #rx)
      for i = 1, 3 do assert.equal(i, rx:receive(limit)[1]) end
    end)

    it("= 'drop_oldest' of a capacity of 1 is the latest value", function()
      local rx, tx = isolate.port { capacity = 1, on_full = "drop_oldest" }
      for i = 1, 1000 do tx:send(i) end
      assert.same({ 1000 }, drain(rx))
    end)

    it("= 'drop_oldest' keeps the order of each sender under load", function()
      local rx, tx = isolate.port { capacity = 8, on_full = "drop_oldest" }
      local n, isos = scale(5000, 500), {}
      for s = 1, 4 do
        isos[s] = isolate.spawn(function(to, me, last)
          for i = 1, last do to:send { me, i } end
        end, tx, s, n)
      end
      tx:close()
      local last = { 0, 0, 0, 0 }
      for v in rx:messages() do
        if v[2] <= last[v[1]] then error "out of order" end
        last[v[1]] = v[2]
      end
      local newest = math.max(table.unpack(last))
      assert.equal(n, newest)
      for _, iso in ipairs(isos) do joined(iso) end
    end)
  end)

  describe("receiver:receive()", function()
    it("waits for a message from another isolate", function()
      local rx, tx = isolate.port()
      isolate.run(function(to) to:send "from there" end, tx)
      assert.equal("from there", rx:receive(limit))
    end)

    it("gives nil, 'timeout' when none comes in time", function()
      local rx, _ = isolate.port() -- luacheck: ignore 211/_
      assert.same({ n = 2, nil, "timeout" }, table.pack(rx:receive(0)))
      local start = settle.now()
      assert.same({ n = 2, nil, "timeout" }, table.pack(rx:receive(0.05)))
      assert.is_true(settle.now() - start >= 0.045)
    end)

    it("gives nil, 'closed' after it was closed, also with messages queued", function()
      local rx, tx = isolate.port()
      tx:send(1)
      rx:close()
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive(0)))
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive()))
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:try_receive()))
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive_many(5)))
      for _ in rx:messages() do error "never" end
      assert.equal(0, #rx)
    end)

    it("wakes with nil, 'closed' when a task of its isolate closes it", function()
      local rx, tx = isolate.port()
      isolate.async(function() rx:close() end)
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive(limit)))
      assert.is_nil((tx:send(1)))
    end)

    it("gives what is queued first, and is then closed", function()
      local rx, tx = isolate.port()
      for i = 1, 100 do tx:send(i) end
      tx:close()
      for i = 1, 100 do assert.equal(i, rx:receive()) end
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive()))
    end)

    it("raises for misuse, with the caller's position", function()
      local rx, tx = isolate.port()
      misuse(function() rx.receive() end)
      misuse(function() rx.receive(tx) end)
      misuse(function() rx:receive "soon" end)
      misuse(function() rx:receive(-1) end)
      misuse(function() rx:receive(0 / 0) end)
      misuse(function() rx:receive_many() end)
      misuse(function() rx:receive_many(0) end)
      misuse(function() rx:receive_many(1.5) end)
      misuse(function() rx.messages() end)
      misuse(function() rx:on_message(5) end)
      misuse(function() rx.field = 1 end)
      misuse(function() return #tx end)
    end)
  end)

  describe("receiver:try_receive()", function()
    it("gives nil, 'empty' when nothing is queued", function()
      local rx, tx = isolate.port()
      assert.same({ n = 2, nil, "empty" }, table.pack(rx:try_receive()))
      tx:send(1)
      assert.same({ n = 1, 1 }, table.pack(rx:try_receive()))
      assert.same({ n = 2, nil, "empty" }, table.pack(rx:try_receive()))
      tx:close()
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:try_receive()))
    end)
  end)

  describe("receiver:receive_many()", function()
    it("gives a list of what is there, as long as asked for at most", function()
      local rx, tx = isolate.port()
      for i = 1, 10 do tx:send(i) end
      assert.same({ 1, 2, 3 }, rx:receive_many(3))
      assert.same({ 4 }, rx:receive_many(1))
      assert.same({ 5, 6, 7, 8, 9, 10 }, rx:receive_many(1000, 0))
      assert.same({ n = 2, nil, "timeout" }, table.pack(rx:receive_many(1000, 0)))
    end)

    it("waits for the first only", function()
      local rx, tx = isolate.port()
      isolate.run(function(to) to:send "one" end, tx)
      assert.same({ "one" }, rx:receive_many(10, limit))
    end)

    it("gives the last ones, and then nil, 'closed'", function()
      local rx, tx = isolate.port()
      tx:send(1)
      tx:send(2)
      tx:close()
      assert.same({ 1, 2 }, rx:receive_many(10))
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive_many(10)))
    end)

    it("lets senders in that wait for room", function()
      local rx, tx = isolate.port { capacity = 2 }
      local sending = isolate.async(function() for i = 1, 10 do tx:send(i, limit) end end)
      local got = {}
      while #got < 10 do
        for _, v in ipairs(rx:receive_many(3, limit)) do got[#got + 1] = v end
      end
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, got)
      await(sending)
    end)
  end)

  describe("receiver:messages()", function()
    it("goes through false as through any value", function()
      local rx, tx = isolate.port()
      for _, v in ipairs { false, true, false } do tx:send(v) end
      tx:close()
      local got = {}
      for v in rx:messages() do got[#got + 1] = v end
      assert.same({ false, true, false }, got)
    end)

    it("may be left and taken up again", function()
      local rx, tx = isolate.port()
      for i = 1, 4 do tx:send(i) end
      tx:close()
      local got = {}
      for v in rx:messages() do
        got[#got + 1] = v
        if v == 2 then break end
      end
      for v in rx:messages() do got[#got + 1] = v end
      assert.same({ 1, 2, 3, 4 }, got)
    end)
  end)

  describe("#receiver", function()
    it("is the number of messages queued", function()
      local rx, tx = isolate.port()
      for i = 0, 130 do
        assert.equal(i, #rx)
        tx:send(i)
      end
      for i = 130, 0, -1 do
        rx:receive(0)
        assert.equal(i, #rx)
      end
    end)
  end)

  describe("messages", function()
    it("of one sender keep their order, none lost, none twice, from 8 at once", function()
      local rx, tx = isolate.port()
      local n, isos = scale(20000, 2000), {}
      for s = 1, 8 do
        isos[s] = isolate.spawn(function(to, me, last)
          for i = 1, last do to:send(i % 2 == 0 and i * 8 + me or { i, me }) end
        end, tx, s - 1, n)
      end
      tx:close()
      local last, count = { [0] = 0, 0, 0, 0, 0, 0, 0, 0 }, 0
      for v in rx:messages() do
        local i, s
        if type(v) == "table" then i, s = v[1], v[2] else i, s = v // 8, v % 8 end
        if i ~= last[s] + 1 then error(("sender %d: %d after %d"):format(s, i, last[s])) end
        last[s] = i
        count = count + 1
      end
      assert.equal(8 * n, count)
      for _, iso in ipairs(isos) do joined(iso) end
    end)

    it("are the same under load on a port with little room", function()
      local rx, tx = isolate.port { capacity = 5 }
      local n, isos = scale(4000, 500), {}
      for s = 1, 8 do
        isos[s] = isolate.spawn(function(to, me, last)
          for i = 1, last do assert(to:send { i, me }) end
        end, tx, s, n)
      end
      tx:close()
      local last, count = { 0, 0, 0, 0, 0, 0, 0, 0 }, 0
      while true do
        local list = rx:receive_many(3)
        if not list then break end
        for _, v in ipairs(list) do
          if v[1] ~= last[v[2]] + 1 then error "out of order" end
          last[v[2]] = v[1]
          count = count + 1
        end
      end
      assert.equal(8 * n, count)
      for _, iso in ipairs(isos) do joined(iso) end
    end)

    it("outlive a pause of their receiver, and none is lost", function()
      local back, tell = isolate.port()
      local iso = isolate.spawn({ name = "paused" }, function(to)
        local sum, n = 0, 0
        for v in isolate.inbox():messages() do sum, n = sum + v, n + 1 end
        to:send { sum, n }
      end, tell)
      assert.is_true(iso:ping { when = "idle", timeout = limit })
      for round = 1, 50 do
        local key = iso:pause()
        for i = 1, 20 do assert.is_true(iso:send(round * 100 + i)) end
        iso:resume(key)
      end
      local expected = 0
      for round = 1, 50 do for i = 1, 20 do expected = expected + round * 100 + i end end
      iso = nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
      assert.same({ expected, 1000 }, back:receive(limit))
    end)

    it("of one sender are not lost when another one is killed", function()
      local rx, tx = isolate.port { capacity = 4 }
      local n = scale(2000, 300)
      local victims = {}
      for i = 1, 4 do
        victims[i] = isolate.spawn(function(to) while to:send "noise" do end end, tx)
      end
      local good = isolate.spawn(function(to, last) for i = 1, last do to:send(i) end end, tx, n)
      tx:close()
      local expected, noise = 1, 0
      for v in rx:messages() do
        if v == "noise" then
          noise = noise + 1
        else
          if v ~= expected then error("got " .. v .. " instead of " .. expected) end
          if v == n // 2 then for i = 1, 4 do victims[i]:kill() end end
          expected = expected + 1
        end
      end
      assert.equal(n + 1, expected)
      joined(good)
      for i = 1, 4 do assert.equal("killed", select(2, victims[i]:join(limit)).code) end
    end)

    it("that are sent before the sender ends arrive", function()
      local rx, tx = isolate.port()
      local n = scale(200, 40)
      for i = 1, n do
        isolate.run(function(to, v)
          to:send(v)
          to:send { v }
          isolate.exit()
        end, tx, i):on_done(function() end)
      end
      tx:close()
      local sum, lists = 0, 0
      for v in rx:messages() do
        if type(v) == "table" then lists = lists + v[1] else sum = sum + v end
      end
      assert.equal(n * (n + 1) // 2, sum)
      assert.equal(sum, lists)
    end)

    it("may be sent to and fro, far more than a queue is long", function()
      local n = scale(20000, 2000)
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(to)
        for v in isolate.inbox():messages() do to:send(v + 1) end
      end, tx)
      local v = 0
      for _ = 1, n do
        iso:send(v)
        v = rx:receive(limit)
      end
      assert.equal(n, v)
    end)
  end)

  describe("values", function()
    it("arrive exactly", function()
      local rx, tx = isolate.port()
      local zeros = ("a\0b"):rep(100000)
      local list = { true, false, 0, -1, math.mininteger, math.maxinteger, 0.0, -0.0, 1e308 * 10,
        -math.huge, 2 ^ 53, 5e-324, "", "x", "a\0b\0", zeros }
      for _, v in ipairs(list) do tx:send(v) end
      for _, v in ipairs(list) do
        local got = rx:receive(limit)
        assert.equal(math.type(v), math.type(got))
        assert.equal(type(v), type(got))
        assert.is_true(v == got)
        if v == 0 then assert.equal(tostring(v), tostring(got)) end
      end
    end)

    it("keep the bits of NaN", function()
      local rx, tx = isolate.port()
      for _, bits in ipairs { 0x7ff8000000000001, -1, 0x7ff8dead0000beef } do
        local nan = string.unpack("d", string.pack("j", bits))
        tx:send(nan)
        tx:send { nan }
        assert.equal(bits, (string.unpack("j", string.pack("d", rx:receive(0)))))
        assert.equal(bits, (string.unpack("j", string.pack("d", rx:receive(0)[1]))))
      end
    end)

    it("are copied: tables with cycles, functions with upvalues, metatables", function()
      local rx, tx = isolate.port()
      local t = { 1, 2, { "x" }, key = "v" }
      t.self, t[t[3]] = t, t[3]
      tx:send(t)
      t.key = "changed"
      local got = rx:receive(0)
      assert.are_not_equal(t, got)
      assert.equal("v", got.key)
      assert.equal(got, got.self)
      assert.equal(got[3], got[got[3]])
      local n = 5
      tx:send(function(by) n = n + by; return n end)
      local add = rx:receive(0)
      assert.equal(8, add(3))
      assert.equal(10, add(2))
      assert.equal(5, n)
      tx:send(setmetatable({}, { __call = function(_, x) return x * 2 end }))
      assert.equal(8, rx:receive(0)(4))
    end)

    it("of a loaded module keep their identity", function()
      local rx, tx = isolate.port()
      tx:send { string, string.rep, isolate, isolate.port }
      local got = rx:receive(0)
      assert.equal(string, got[1])
      assert.equal(string.rep, got[2])
      assert.equal(isolate, got[3])
      assert.equal(isolate.port, got[4])
    end)

    it("are the same handle after a trip through other isolates", function()
      local rx, tx = isolate.port()
      local ch, me = isolate.channel(), isolate.self()
      local function forward(to, v)
        isolate.run(function(t, w) t:send(w) end, to, v):await()
      end
      isolate.run(forward, tx, { tx, ch, me, keys = { [tx.id] = 1, [ch.id] = 2 } }):await()
      local got = rx:receive(limit)
      assert.is_true(got[1] == tx)
      assert.is_true(got[2] == ch)
      assert.is_true(got[3] == me)
      assert.equal(tx.id, got[1].id)
      assert.equal(1, got.keys[tx.id])
      assert.equal(2, got.keys[ch.id])
    end)

    it("are the same in an isolate that has several handles of one thing", function()
      local _, tx = isolate.port()
      assert.is_true(await(isolate.run(function(a, list)
        return a == list[1] and rawequal(a, list[2]) and a.id == list[1].id
      end, tx, { tx, tx })))
    end)
  end)

  describe("a message in flight", function()
    it("keeps the handles in it alive", function()
      local rx, tx = isolate.port()
      local inner, itx = isolate.port()
      tx:send { itx }
      itx:close()
      collectgarbage()
      assert.same({ n = 2, nil, "empty" }, table.pack(inner:try_receive()))
      rx:receive(0)[1]:send "through"
      assert.equal("through", inner:receive(limit))
    end)

    it("keeps a channel and what is in it", function()
      local rx, tx = isolate.port()
      do
        local ch = isolate.channel(1)
        ch:send "kept"
        tx:send(ch)
      end
      collectgarbage()
      collectgarbage()
      assert.equal("kept", (rx:receive(0):try_receive()))
    end)

    it("lets go of its handles when the queue that it is in is closed", function()
      local rx, tx = isolate.port()
      local inner, itx = isolate.port()
      for i = 1, 200 do tx:send { i, itx } end
      assert.equal(1, rx:receive(0)[1]) -- the rest has been taken over by the receiver
      for i = 1, 200 do tx:send { i, itx } end
      itx:close()
      collectgarbage()
      assert.same({ n = 2, nil, "empty" }, table.pack(inner:try_receive()))
      rx:close()
      assert.same({ n = 2, nil, "closed" }, table.pack(inner:receive()))
    end)

    it("lets go of its handles when the receiver is collected", function()
      local inner, itx = isolate.port()
      do
        local _, tx = isolate.port()
        tx:send { itx }
      end
      itx:close()
      collectgarbage()
      collectgarbage()
      assert.same({ n = 2, nil, "closed" }, table.pack(inner:receive(limit)))
    end)

    it("may hold the sender of its own port", function()
      local rx, tx = isolate.port()
      tx:send { tx }
      tx:close()
      local again = rx:receive(0)[1]
      again:send "x"
      assert.equal("x", rx:receive(0))
      again:close()
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive()))
    end)
  end)

  describe("the end of the last sender", function()
    -- A loop over a port that has no sender any more ends by itself.
    local function ends(rx)
      local n = 0
      for _ in rx:messages() do n = n + 1 end
      assert.same({ n = 2, nil, "closed" }, table.pack(rx:receive()))
      return n
    end

    it("comes when it is closed", function()
      local rx, tx = isolate.port()
      tx:send(1)
      tx:close()
      tx:close()
      assert.equal(1, ends(rx))
    end)

    it("comes when it is collected", function()
      local rx = isolate.port()
      collectgarbage()
      collectgarbage()
      assert.equal(0, ends(rx))
    end)

    it("comes while the receiver waits, by a task", function()
      local rx, tx = isolate.port()
      isolate.async(function()
        tx:send(1)
        isolate.sleep(0.01)
        tx:close()
      end)
      assert.equal(1, ends(rx))
    end)

    it("comes with a <close> variable", function()
      local rx, tx = isolate.port()
      do
        local t <close> = tx
        t:send(1)
      end
      assert.equal(1, ends(rx))
    end)

    it("comes with the end of its isolate", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(to) to:send(1) end, tx)
      tx:close()
      assert.equal(1, ends(rx))
      joined(iso)
    end)

    it("comes with isolate.exit and os.exit in its isolate", function()
      for _, exit in ipairs { isolate.exit, os.exit } do
        local rx, tx = isolate.port()
        local iso = isolate.spawn(function(to) to:send(1); exit() end, tx)
        tx:close()
        assert.equal(1, ends(rx))
        iso:join(limit)
      end
    end)

    it("comes with an error in its isolate", function()
      local rx, tx = isolate.port()
      local future = isolate.run(function(to) to:send(1); error "boom" end, tx)
      tx:close()
      assert.equal(1, ends(rx))
      settle.failure(future)
    end)

    it("comes with the kill of its isolate", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(to) to:send(1); endless() end, tx)
      tx:close()
      assert.equal(1, rx:receive(limit))
      iso:kill()
      assert.equal(0, ends(rx))
    end)

    it("comes with the death of its isolate by memory", function()
      local rx, tx = isolate.port()
      local future = isolate.run({ memory = "2MB" }, function(to)
        to:send(1)
        local t = {}
        while true do t[#t + 1] = ("x"):rep(1000) .. #t end
      end, tx)
      tx:close()
      assert.equal(1, ends(rx))
      assert.equal("memory", settle.failure(future).code)
    end)

    it("comes with a message that is dropped with it inside", function()
      local rx, tx = isolate.port()
      local other, otx = isolate.port { capacity = 1, on_full = "drop_oldest" }
      otx:send { tx }
      tx:close()
      otx:send "newer"
      assert.equal(0, ends(rx))
      assert.equal("newer", other:receive(0))
    end)

    it("comes with a message that is refused with it inside", function()
      local rx, tx = isolate.port()
      local other, otx = isolate.port()
      other:close()
      assert.is_nil((otx:send { tx }))
      tx:close()
      assert.equal(0, ends(rx))
    end)

    it("does not come while another isolate, or a message, has one", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function()
        local to = isolate.inbox():receive()
        isolate.inbox():receive()
        to:send "last"
      end)
      iso:send(tx)
      tx:close()
      collectgarbage()
      assert.same({ n = 2, nil, "timeout" }, table.pack(rx:receive(0.02)))
      iso:send "go"
      assert.equal(1, ends(rx))
      joined(iso)
    end)

    it("ends loops in chains of isolates, one after the other", function()
      local rx, tx = isolate.port()
      local to = tx
      for i = 1, 5 do
        local into, next_to = isolate.port()
        isolate.spawn(function(give)
          local mine, send = isolate.port()
          give:send(send)
          send:close()
          local out = isolate.inbox():receive()
          for v in mine:messages() do out:send(v + 1) end
        end, next_to):send(to)
        to:close()
        to = into:receive(limit)
        assert.equal(i, i)
      end
      for i = 1, 100 do to:send(i) end
      to:close()
      local n = 0
      for v in rx:messages() do
        n = n + 1
        assert.equal(n + 5, v)
      end
      assert.equal(100, n)
    end)
  end)

  describe("receiver:close()", function()
    it("may be called again", function()
      local rx = isolate.port()
      rx:close()
      rx:close()
      do local _ <close> = rx end
      assert.matches("isolate.receiver", tostring(rx), 1, true)
    end)

    it("is called by <close>", function()
      local keep
      do
        local rx <close>, tx = isolate.port()
        keep = tx
        assert.equal(0, #rx)
      end
      assert.same({ n = 2, nil, "closed" }, table.pack(keep:send(1)))
    end)

    it("loses nothing of another port", function()
      local a, atx = isolate.port()
      local b, btx = isolate.port()
      for i = 1, 100 do
        atx:send(i)
        btx:send(i)
      end
      a:close()
      assert.equal(100, #drain(b))
    end)

    it("meets senders that send without end", function()
      for _ = 1, scale(20, 4) do
        local rx, tx = isolate.port { capacity = 3 }
        local futures = {}
        for i = 1, 3 do
          futures[i] = isolate.run(function(to)
            local n = 0
            while true do
              local ok, why = to:send { to, n }
              if not ok then return why, n end
              n = n + 1
            end
          end, tx)
        end
        tx:close()
        for _ = 1, 20 do rx:receive(limit) end
        rx:close()
        for i = 1, 3 do assert.equal("closed", (await(futures[i]))) end
      end
    end)
  end)

  describe("sender:close()", function()
    it("gives up this isolate's hold only", function()
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(to)
        isolate.inbox():receive()
        to:send "still here"
      end, tx)
      tx:close()
      iso:send "go"
      assert.equal("still here", rx:receive(limit))
      joined(iso)
    end)

    it("leaves a handle that tells so", function()
      local _, tx = isolate.port()
      tx:close()
      assert.equal(("isolate.sender: %d (closed)"):format(tx.id), tostring(tx))
      refused(function() select(2, isolate.port()):send(tx) end, "message")
    end)
  end)

  describe("receiver:on_message()", function()
    it("calls the function with each message, from the event loop", function()
      local rx, tx = isolate.port()
      local got, done, tell = {}, isolate.port()
      assert.equal(rx, rx:on_message(function(v)
        got[#got + 1] = v
        if v == 100 then tell:send(true) end
      end))
      for i = 1, 100 do tx:send(i) end
      assert.is_true(done:receive(limit))
      assert.equal(100, #got)
      for i = 1, 100 do assert.equal(i, got[i]) end
      rx:close()
    end)

    it("calls it with what was queued before", function()
      local rx, tx = isolate.port()
      for i = 1, 10 do tx:send(i) end
      assert.equal(1, rx:receive(0))
      local n = 0
      rx:on_message(function() n = n + 1 end)
      assert.is_true(settle.eventually(function()
        isolate.sleep(0)
        return n == 9
      end))
      rx:close()
    end)

    it("never overlaps itself, also when it waits", function()
      local rx, tx = isolate.port()
      local inside, most, n = 0, 0, 0
      rx:on_message(function()
        inside = inside + 1
        most = math.max(most, inside)
        isolate.sleep(0.001)
        inside = inside - 1
        n = n + 1
      end)
      for i = 1, 10 do tx:send(i) end
      assert.is_true(settle.eventually(function()
        isolate.sleep(0.001)
        return n == 10
      end))
      assert.equal(1, most)
      rx:close()
    end)

    it("with nil lets messages queue", function()
      local rx, tx = isolate.port()
      local n = 0
      rx:on_message(function()
        n = n + 1
        if n == 3 then rx:on_message(nil) end
      end)
      for i = 1, 10 do tx:send(i) end
      isolate.sleep(0.001)
      isolate.sleep(0)
      assert.equal(3, n)
      assert.same({ 4, 5, 6, 7, 8, 9, 10 }, drain(rx))
    end)

    it("takes another function in its place", function()
      local rx, tx = isolate.port()
      local got = {}
      rx:on_message(function(v)
        got[#got + 1] = "a" .. v
        rx:on_message(function(w) got[#got + 1] = "b" .. w end)
      end)
      for i = 1, 3 do tx:send(i) end
      assert.is_true(settle.eventually(function()
        isolate.sleep(0)
        return #got == 3
      end))
      assert.same({ "a1", "b2", "b3" }, got)
      rx:close()
    end)

    it("makes receiving misuse, and selecting", function()
      local rx, _ = isolate.port() -- luacheck: ignore 211/_
      rx:on_message(function() end)
      for _, fn in ipairs {
        function() rx:receive(0) end,
        function() rx:try_receive() end,
        function() rx:receive_many(1) end,
        function() rx:messages() end,
        function() isolate.select({ rx }, 0) end,
      } do
        assert.matches("on_message", misuse(fn), 1, true)
      end
      rx:on_message(nil)
      assert.is_nil((rx:receive(0)))
    end)

    it("keeps its isolate alive while a sender is somewhere else", function()
      local back, tell = isolate.port()
      local iso = isolate.spawn(function(to)
        local rx, tx = isolate.port()
        rx:on_message(function(v) to:send(v * 2) end)
        to:send(tx)
      end, tell)
      tell:close()
      local tx = back:receive(limit)
      for i = 1, 5 do
        tx:send(i)
        assert.equal(2 * i, back:receive(limit))
      end
      assert.are_not_equal("done", iso:status())
      tx:close()
      joined(iso)
      assert.equal("done", iso:status())
    end)

    it("does not keep it alive for senders of its own", function()
      local iso = isolate.spawn(function()
        local rx, tx = isolate.port()
        KEPT = { rx, tx } -- luacheck: ignore 111
        rx:on_message(function() end)
      end)
      joined(iso)
    end)

    it("is called for its own isolate's messages before that ends", function()
      local back, tell = isolate.port()
      joined(isolate.spawn(function(to)
        local rx, tx = isolate.port()
        rx:on_message(function(v) to:send(v) end)
        for i = 1, 100 do tx:send(i) end
      end, tell))
      tell:close()
      for i = 1, 100 do assert.equal(i, back:receive(limit)) end
    end)

    it("does not keep it alive after unref, and again after ref", function()
      local back, tell = isolate.port()
      local function body(to, again)
        local rx, tx = isolate.port()
        rx:unref()
        rx:on_message(function(v) to:send(v) end)
        if again then rx:ref() end
        to:send(tx)
      end
      joined(isolate.spawn(body, tell, false))
      local tx = back:receive(limit)
      live.count()
      assert.is_nil((tx:send(1)))
      local iso = isolate.spawn(body, tell, true)
      tx = back:receive(limit)
      tx:send "kept"
      assert.equal("kept", back:receive(limit))
      tx:close()
      joined(iso)
    end)

    it("gives unref and ref their receiver back", function()
      local rx = isolate.port()
      assert.equal(rx, rx:unref())
      assert.equal(rx, rx:ref())
    end)

    it("makes an error in it uncaught, which ends its isolate", function()
      local back, tell = isolate.port()
      local errors, etx = isolate.port()
      local iso = isolate.spawn({ name = "faulty", on_error = etx }, function(to)
        local rx, tx = isolate.port()
        rx:on_message(function(v) error("bad message " .. v) end)
        to:send(tx)
      end, tell)
      local tx = back:receive(limit)
      tx:send "x"
      local ok, err = iso:join(limit)
      assert.is_false(ok)
      assert.matches("port_spec%.lua:%d+: bad message x", err)
      local told = errors:receive(limit)
      assert.equal("faulty", told.name)
      assert.matches("bad message x", told.message, 1, true)
      assert.matches("port_spec%.lua:%d+", told.traceback)
      assert.equal("failed", iso:status())
    end)

    it("goes on after an error where that is not fatal", function()
      local back, tell = isolate.port()
      local errors, etx = isolate.port()
      local iso = isolate.spawn({ errors_fatal = false, on_error = etx }, function(to)
        local rx, tx = isolate.port()
        rx:on_message(function(v)
          if v % 2 == 0 then error({ even = v }) end
          to:send(v)
        end)
        to:send(tx)
      end, tell)
      local tx = back:receive(limit)
      for i = 1, 4 do tx:send(i) end
      assert.equal(1, back:receive(limit))
      assert.equal(3, back:receive(limit))
      assert.equal(2, errors:receive(limit).error.even)
      assert.equal(4, errors:receive(limit).error.even)
      tx:close()
      joined(iso)
    end)

    it("may close its receiver, and end by that", function()
      local back, tell = isolate.port()
      local iso = isolate.spawn(function(to)
        local rx, tx = isolate.port()
        rx:on_message(function(v)
          to:send(v)
          rx:close()
        end)
        to:send(tx)
      end, tell)
      local tx = back:receive(limit)
      for i = 1, 5 do tx:send(i) end
      joined(iso)
      tell:close()
      assert.equal(1, back:receive(limit))
      assert.same({ n = 2, nil, "closed" }, table.pack(back:receive(limit)))
      assert.same({ n = 2, nil, "closed" }, table.pack(tx:send(1)))
    end)
  end)

  describe("as values", function()
    it("have a locked metatable, with a type name, __close and __gc", function()
      local rx, tx = isolate.port()
      for _, handle in ipairs { rx, tx, isolate.channel(), isolate.self() } do
        local mt = debug.getmetatable(handle)
        assert.is_not_table(getmetatable(handle))
        assert.is_false((pcall(setmetatable, handle, {})))
        assert.matches("^isolate%.", mt.__name)
        assert.is_function(mt.__tostring)
        assert.is_function(mt.__close)
        assert.is_function(mt.__gc)
        assert.is_nil(handle.__gc)
      end
    end)

    it("are equal to themselves only", function()
      local rx, tx = isolate.port()
      local rx2, tx2 = isolate.port()
      assert.is_false(rx == rx2)
      assert.is_false(tx == tx2)
      assert.is_false(rx == tx)
      assert.is_true(tx == tx)
    end)
  end)
end)

describe("isolate.inbox()", function()
  it("receives what the handle of its isolate sends", function()
    local back, tell = isolate.port()
    local iso = isolate.spawn(function(to)
      for v in isolate.inbox():messages() do to:send { v } end
    end, tell)
    for i = 1, 10 do
      assert.is_true(iso:send(i))
      assert.same({ i }, back:receive(limit))
    end
  end)

  it("is the same each time", function()
    assert.equal(isolate.inbox(), isolate.inbox())
  end)

  it("ends its loops when no handle to its isolate is left anywhere else", function()
    local back, tell = isolate.port()
    do
      local iso = isolate.spawn(function(to)
        local n = 0
        for _ in isolate.inbox():messages() do n = n + 1 end
        to:send(n)
      end, tell)
      for _ = 1, 7 do iso:send(0) end
    end
    collectgarbage()
    collectgarbage()
    assert.equal(7, back:receive(limit))
  end)

  it("does not end while a message holds a handle", function()
    local back, tell = isolate.port()
    local hold, htx = isolate.port()
    isolate.spawn(function(to, keep)
      keep:send { isolate.self() }
      keep:close()
      for v in isolate.inbox():messages() do to:send(v) end
      to:send "over"
    end, tell, htx)
    collectgarbage()
    collectgarbage()
    local iso = hold:receive(limit)[1]
    iso:send "still there"
    assert.equal("still there", back:receive(limit))
    iso = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.equal("over", back:receive(limit))
  end)

  it("gives nil, 'closed' to who sends after its isolate has ended", function()
    local iso = isolate.spawn(function() end)
    joined(iso)
    live.count()
    assert.same({ n = 2, nil, "closed" }, table.pack(iso:send(1)))
  end)
end)
