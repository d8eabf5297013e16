-- lifecycle_spec.lua - listeners, pauses, pings, lists, figures, the end of isolates and of main.
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

local function received(rx)
  local value, why = rx:receive(limit)
  assert.is_nil(why)
  return value
end

local function is_closed(rx)
  assert.same({ nil, "closed" }, { rx:receive(limit) })
end

local function gone(iso)
  local thing, message = isolate.select({ iso }, limit)
  assert.equal(iso, thing)
  return message
end

local function kill(iso)
  iso:kill()
  return gone(iso)
end

local function sleeper(opts)
  return isolate.spawn(opts or {}, function() isolate.sleep(1e6) end)
end

local function has_status(iso, status)
  assert.is_true(settle.eventually(function() return iso:status() == status end),
    iso:status() .. " and not " .. status)
end

local before
before_each(function()
  isolate.run(function() end):try(limit)
  before = live.count()
end)
after_each(function() assert.equal("", live.left_since(before)) end)

local _, quiet = isolate.port()

describe("iso:status()", function()
  it("is 'running' in busy code, 'waiting' in a wait, and says how it ended", function()
    local iso = isolate.spawn(function() while true do end end)
    has_status(iso, "running")
    assert.equal("killed", kill(iso).status)
    assert.equal("killed", iso:status())
    iso = sleeper()
    has_status(iso, "waiting")
    kill(iso)
    iso = isolate.spawn(function() end)
    has_status(iso, "done")
    iso = isolate.spawn({ on_error = quiet }, function() error "x" end)
    has_status(iso, "failed")
  end)

  it("is 'paused' while it is paused, and not when it has ended", function()
    local iso = isolate.spawn(function() while true do isolate.sleep(0.001) end end)
    iso:pause()
    has_status(iso, "paused")
    iso:resume()
    assert.is_true(settle.eventually(function() return iso:status() ~= "paused" end))
    iso:pause()
    kill(iso)
    assert.equal("killed", iso:status())
  end)
end)

describe("iso:stats().busy", function()
  local function becomes(iso, busy)
    return settle.eventually(function() return iso:stats().busy == busy end)
  end

  it("tells code that runs from code that waits, also where both are paused", function()
    local rx, tx = isolate.port()
    local done = isolate.atomic(0)
    local iso = isolate.spawn(function()
      isolate.inbox():receive()
      tx:send "busy"
      while done:load() == 0 do end
      isolate.sleep(1000)
    end)
    assert.is_true(becomes(iso, false))
    iso:send "go"
    rx:receive()
    iso:pause()
    assert.is_true(iso:stats().busy)
    assert.equal("paused", iso:status())
    done:store(1)
    assert.is_true(becomes(iso, false))
    assert.equal("paused", iso:status())
    kill(iso)
    assert.is_false(iso:stats().busy)
  end)
end)

describe("iso:on_exit()", function()
  it("sends {id, name, status, reason} when the isolate has ended", function()
    for _, case in ipairs {
      { "done", nil, function() end },
      { "failed", "boom", function() error("boom", 0) end },
      { "done", "exited", function() isolate.exit() end },
      { "killed", "killed", function() isolate.self():kill() isolate.sleep(1e6) end },
    } do
      local rx, tx = isolate.port()
      local iso = isolate.spawn({ paused = true, name = "it", on_error = quiet }, case[3])
      iso:on_exit(tx)
      tx:close()
      iso:resume()
      assert.same({ id = iso.id, name = "it", status = case[1], reason = case[2] }, received(rx))
      is_closed(rx)
    end
  end)

  it("sends a value instead, which a second call with the same sender replaces", function()
    local rx, tx = isolate.port()
    local iso = sleeper()
    iso:on_exit(tx, "first")
    iso:on_exit(tx, { "second" })
    kill(iso)
    assert.same({ "second" }, received(rx))
    tx:close()
    is_closed(rx)
  end)

  it("tells each of several listeners once", function()
    local iso = sleeper()
    local all = {}
    for i = 1, 5 do
      local rx, tx = isolate.port()
      iso:on_exit(tx, i)
      tx:close()
      all[i] = rx
    end
    kill(iso)
    for i = 1, 5 do
      assert.equal(i, received(all[i]))
      is_closed(all[i])
    end
  end)

  it("tells at once when the isolate has ended before", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn({ name = "past" }, function() end)
    gone(iso)
    iso:on_exit(tx)
    assert.same({ id = iso.id, name = "past", status = "done" }, (rx:try_receive()))
    iso:on_exit(tx, "value")
    assert.equal("value", (rx:try_receive()))
    assert.same({ nil, "empty" }, { rx:try_receive() })
  end)

  it("loses nothing and doubles nothing in a race with the end", function()
    for k = 1, scale(500, 60) do
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function() end)
      local stop = isolate.now() + k % 40 * 0.000005
      while isolate.now() < stop do end
      iso:on_exit(tx, k)
      tx:close()
      assert.equal(k, received(rx))
      is_closed(rx)
    end
  end)

  it("may be asked for by any isolate that has the handle", function()
    local rx, tx = isolate.port()
    local iso = sleeper()
    isolate.spawn(function(i, t) i:on_exit(t, "from another") end, iso, tx)
    tx:close()
    has_status(iso, "waiting")
    assert.is_true(settle.eventually(function() return #isolate.list() == 2 end))
    kill(iso)
    assert.equal("from another", received(rx))
    is_closed(rx)
  end)

  it("sends the last message: behind those of the body, closers and finalizers", function()
    for _ = 1, scale(20, 3) do
      local rx, tx = isolate.port()
      local iso = isolate.spawn({ on_exit = tx }, function(t)
        spec_kept = setmetatable({}, { __gc = function() t:send "finalizer" end })
        local _ <close> = setmetatable({}, { __close = function() t:send "closer" end })
        t:send "body"
      end, tx)
      tx:close()
      assert.equal("body", received(rx))
      assert.equal("closer", received(rx))
      assert.equal("finalizer", received(rx))
      assert.equal(iso.id, received(rx).id)
      is_closed(rx)
    end
  end)

  it("goes into a full port, too", function()
    local rx, tx = isolate.port { capacity = 1 }
    tx:send "full"
    local iso = isolate.spawn({ on_exit = tx }, function() end)
    gone(iso)
    assert.equal("full", received(rx))
    assert.equal("done", received(rx).status)
  end)

  it("sends nothing after off()", function()
    local rx, tx = isolate.port()
    local iso = sleeper { on_exit = tx, on_error = tx }
    iso:off(tx)
    kill(iso)
    iso:off(tx)
    tx:close()
    is_closed(rx)
  end)

  it("raises for what is no sender, and for a value that cannot be sent", function()
    local iso = sleeper()
    local _, tx = isolate.port()
    assert.is_false(pcall(iso.on_exit, iso, 1))
    assert.is_false(pcall(iso.on_error, iso))
    local ok, err = pcall(iso.on_exit, iso, tx, io.stdout)
    assert.is_false(ok)
    assert.equal("not_sendable", err.code)
    tx:close()
    assert.is_false(pcall(iso.on_exit, iso, tx))
    kill(iso)
  end)
end)

describe("iso:on_error()", function()
  it("sends {id, name, message, traceback, error} before the exit message", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn({ paused = true, name = "it" }, function() error { n = 1 } end)
    iso:on_error(tx)
    iso:on_exit(tx)
    tx:close()
    iso:resume()
    local message = received(rx)
    assert.same({ n = 1 }, message.error)
    assert.same({ iso.id, "it" }, { message.id, message.name })
    assert.matches("table value", message.message, 1, true)
    assert.matches("lifecycle_spec.lua:%d+", message.traceback)
    local exit = received(rx)
    assert.equal("failed", exit.status)
    is_closed(rx)
  end)

  it("tells all listeners", function()
    local iso = isolate.spawn({ paused = true }, function() error("x", 0) end)
    local all = {}
    for i = 1, 3 do
      local rx, tx = isolate.port()
      iso:on_error(tx)
      tx:close()
      all[i] = rx
    end
    iso:resume()
    for i = 1, 3 do
      assert.equal("x", received(all[i]).error)
      is_closed(all[i])
    end
  end)

  it("sends each error of one that goes on", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn({ on_error = tx, errors_fatal = false }, function()
      for i = 1, 3 do isolate.after(i * 0.002, function() error("timer " .. i, 0) end) end
    end)
    tx:close()
    for i = 1, 3 do assert.equal("timer " .. i, received(rx).error) end
    is_closed(rx)
    assert.equal("done", gone(iso).status)
  end)
end)

describe("iso:pause()", function()
  -- One that counts its ticks, and answers messages with them.
  local function ticker()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      local n = 0
      isolate.every(0.001, function() n = n + 1 end)
      isolate.inbox():on_message(function(v) t:send { v, n } end)
    end, tx)
    tx:close()
    return iso, rx
  end

  it("stops it between events; messages and timers queue meanwhile", function()
    local iso, rx = ticker()
    iso:send "before"
    assert.equal("before", received(rx)[1])
    local key = iso:pause()
    assert.is_true(iso:ping(limit))
    has_status(iso, "paused")
    for i = 1, 3 do iso:send(i) end
    assert.same({ nil, "timeout" }, { rx:receive(0.03) })
    assert.equal(3, iso:stats().queued)
    iso:resume(key)
    for i = 1, 3 do assert.equal(i, received(rx)[1]) end
    kill(iso)
  end)

  it("by n keys needs n resumes; twice by one key is one pause", function()
    local iso, rx = ticker()
    assert.equal("a", iso:pause "a")
    assert.equal("a", iso:pause "a")
    assert.equal(7, iso:pause(7))
    local key = iso:pause()
    assert.is_true(iso:ping(limit))
    has_status(iso, "paused")
    iso:send "x"
    for _, k in ipairs { "a", "unknown", 8, 7 } do
      iso:resume(k)
      assert.equal("paused", iso:status())
    end
    assert.same({ nil, "empty" }, { rx:try_receive() })
    iso:resume(key)
    assert.equal("x", received(rx)[1])
    iso:resume "a"
    iso:resume()
    kill(iso)
  end)

  it("of many keys is ended by one resume without a key", function()
    local iso, rx = ticker()
    for i = 1, 100 do iso:pause("key " .. i) end
    for _ = 1, 100 do iso:pause() end
    iso:send "x"
    iso:resume()
    assert.equal("x", received(rx)[1])
    kill(iso)
  end)

  it("makes keys that differ", function()
    local iso = sleeper()
    local seen = {}
    for _ = 1, 50 do
      local key = iso:pause()
      assert.is_nil(seen[key])
      seen[key] = true
    end
    kill(iso)
  end)

  it("takes hold at the next event of busy code, and not inside it", function()
    local rx, tx = isolate.port()
    local ch = isolate.channel(1)
    local path = os.tmpname()
    local iso = isolate.spawn(function(t, go)
      t:send "there"
      while #go == 0 do end
      shell.write("went on", path)
      isolate.sleep(0)
      t:send "not while paused"
    end, tx, ch)
    tx:close()
    received(rx)
    iso:pause()
    ch:send(true)
    assert.is_true(settle.eventually(function() return shell.read(path) == "went on" end))
    os.remove(path)
    assert.same({ nil, "timeout" }, { rx:receive(0.02) })
    iso:resume()
    assert.equal("not while paused", received(rx))
    is_closed(rx)
    gone(iso)
  end)

  it("of one that has ended is nil, 'closed'", function()
    local iso = isolate.spawn(function() end)
    gone(iso)
    assert.same({ nil, "closed" }, { iso:pause() })
    iso:resume()
  end)

  it("raises for main, and for keys of other types", function()
    assert.has_error(function() isolate.self():pause() end, "main cannot be paused")
    assert.has_error(function() isolate.self():resume() end, "main cannot be paused")
    local iso = sleeper()
    assert.is_false(pcall(iso.pause, iso, {}))
    assert.is_false(pcall(iso.resume, iso, 1.5))
    kill(iso)
  end)
end)

describe("iso:ping()", function()
  local function busy()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      t:send "there"
      while true do end
    end, tx)
    received(rx)
    return iso
  end

  it("is answered by code that waits, is busy, or is paused", function()
    for _, iso in ipairs { sleeper(), busy(), sleeper { paused = true } } do
      for _ = 1, 20 do assert.is_true(iso:ping(limit)) end
      kill(iso)
    end
  end)

  it("is answered by busy code in a coroutine, a pcall and a callback", function()
    for _, body in ipairs {
      function(t) coroutine.wrap(function() t:send(1) while true do end end)() end,
      function(t) t:send(1) while true do pcall(function() for _ = 1, 9 do end end) end end,
      function(t) t:send(1) while true do coroutine.wrap(function() end)() end end,
      function(t) table.sort({ 2, 1 }, function() t:send(1) while true do end end) end,
      function(t) t:send(1) while true do setmetatable({}, { __gc = function() end }) end end,
    } do
      local rx, tx = isolate.port()
      local iso = isolate.spawn(body, tx)
      received(rx)
      for _ = 1, scale(500, 50) do assert.is_true(iso:ping(limit)) end
      kill(iso)
    end
  end)

  it("leaves a hook of debug.sethook in place", function()
    local rx, tx = isolate.port()
    local ch = isolate.channel(1)
    local iso = isolate.spawn(function(t, go)
      local n = 0
      local function hook() n = n + 1 end
      debug.sethook(hook, "l", 7)
      t:send "there"
      while #go == 0 do end
      local now, mask, count = debug.gethook()
      local last = n
      for _ = 1, 100 do end
      return now == hook, mask, count, n > last
    end, tx, ch)
    received(rx)
    for _ = 1, 50 do assert.is_true(iso:ping(limit)) end
    ch:send(true)
    assert.same({ true, true, "l", 7, true }, { iso:join(limit) })
    gone(iso)
  end)

  it("with when = 'idle' is answered when it is back in its event loop", function()
    local rx, tx = isolate.port()
    local ch = isolate.channel(1)
    local iso = isolate.spawn(function(t, go)
      t:send "there"
      while #go == 0 do end
      isolate.sleep(1e6)
    end, tx, ch)
    received(rx)
    assert.same({ nil, "timeout" }, { iso:ping { when = "idle", timeout = 0.01 } })
    assert.is_true(iso:ping(limit))
    ch:send(true)
    assert.is_true(iso:ping { when = "idle", timeout = limit })
    kill(iso)
  end)

  it("of one that ends meanwhile, or has ended, is nil, 'closed'", function()
    local iso = busy()
    isolate.after(0.01, function() iso:kill() end)
    assert.same({ nil, "closed" }, { iso:ping { when = "idle", timeout = limit } })
    gone(iso)
    assert.same({ nil, "closed" }, { iso:ping(limit) })
    assert.same({ nil, "closed" }, { iso:ping() })
  end)

  it("of an isolate that is stuck in C is nil, 'timeout'", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      t:send "there"
      os.execute "exec sleep 0.3"
    end, tx)
    received(rx)
    assert.is_true(settle.eventually(function() -- until it is there it answers
      local ok, why = iso:ping(0.01)
      return ok == nil and why == "timeout"
    end))
    gone(iso)
  end)

  it("of main, by an isolate, is answered when main waits", function()
    local iso = isolate.spawn(function() return isolate.parent():ping(10) end)
    assert.same({ true, true }, { iso:join(limit) })
    gone(iso)
  end)
end)

describe("isolate.list(), find(), self(), parent() and inbox()", function()
  it("list all that have not ended, main too", function()
    local iso = sleeper { name = "listed" }
    local seen = {}
    for _, i in ipairs(isolate.list()) do seen[i.name] = i end
    assert.equal(iso, seen.listed)
    assert.equal(isolate.self(), seen.main)
    kill(iso)
    for _, i in ipairs(isolate.list()) do assert.is_true(i ~= iso) end
  end)

  it("find the isolate with a name, of several the last started", function()
    assert.is_nil(isolate.find "twin")
    local first, second = sleeper { name = "twin" }, sleeper { name = "twin" }
    assert.equal(second, isolate.find "twin")
    kill(second)
    assert.equal(first, isolate.find "twin")
    kill(first)
    assert.is_nil(isolate.find "twin")
    assert.equal(isolate.self(), isolate.find "main")
  end)

  it("do not have it any more when join returns", function()
    for _ = 1, scale(100, 20) do
      local iso = isolate.spawn({ name = "brief" }, function() end)
      assert.is_true((iso:join(limit)))
      assert.is_nil(isolate.find "brief")
      assert.equal("done", iso:status())
    end
  end)

  it("are the isolate itself and the one that started it", function()
    assert.is_nil(isolate.parent())
    local me = isolate.self()
    local iso = isolate.spawn(function(main)
      local self = isolate.self()
      local child = isolate.spawn(function(p) return isolate.parent() == p end, self)
      return isolate.parent() == main, self.id, select(2, child:join())
    end, me)
    assert.same({ true, true, iso.id, true }, { iso:join(limit) })
    gone(iso)
  end)

  it("take messages to main", function()
    local iso = isolate.spawn(function(main) return main:send { "to main" } end, isolate.self())
    assert.same({ "to main" }, received(isolate.inbox()))
    assert.same({ true, true }, { iso:join(limit) })
    gone(iso)
  end)
end)

describe("iso:stats()", function()
  it("has memory, cpu, messages in, out and queued", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      spec_big = ("x"):rep(4000000)
      local stop = isolate.now() + 0.02
      while isolate.now() < stop do end
      for _ = 1, 3 do t:send(isolate.inbox():receive()) end
      isolate.sleep(1e6)
    end, tx)
    for i = 1, 5 do iso:send(i) end
    for i = 1, 3 do assert.equal(i, received(rx)) end
    has_status(iso, "waiting")
    local s = iso:stats()
    assert.is_true(s.memory >= 4000000 and s.memory < 8000000)
    assert.is_true(s.cpu > 0 and s.cpu < 60)
    assert.same({ 3, 3, 2 }, { s.messages_in, s.messages_out, s.queued })
    kill(iso)
    s = iso:stats()
    assert.equal(0, s.memory)
    assert.is_true(s.cpu > 0)
  end)
end)

describe("a handle of an isolate", function()
  it("is a value: equal wherever it went, with an integer id", function()
    local iso = sleeper()
    local other = isolate.spawn(function(i) return i, i.id, i.name, i == i end, iso)
    local _, back, id, name = other:join(limit)
    assert.is_true(back == iso)
    assert.same({ iso.id, iso.name }, { id, name })
    assert.equal("integer", math.type(id))
    assert.is_false(getmetatable(iso) ~= nil and type(getmetatable(iso)) == "table")
    do local _ <close> = iso end
    has_status(iso, "waiting") -- leaving a scope ends nothing
    kill(iso)
    gone(other)
  end)
end)

-- A program of its own, with what it must print.
local function program(text, options)
  return lua.source('local isolate = require "isolate"\n' .. text, nil, options)
end

local function host_only(name, fn)
  if lua.is_host then it(name, fn) else pending(name .. " (host only)") end
end

local function stock_only(name, fn)
  if lua.is_host then pending(name .. " (stock Lua only)") else it(name, fn) end
end

describe("the end of main", function()
  host_only("comes after its tasks, timers, handlers and runs", function()
    local result = program [[
      isolate.async(function() isolate.sleep(0.02) print "task" end)
      isolate.after(0.04, function() print "timer" end)
      local rx, tx = isolate.port()
      rx:on_message(function(v) print(v) end)
      isolate.spawn(function(t) isolate.sleep(0.06) t:send "handler" end, tx)
      tx:close()
      RUN = isolate.run(function() isolate.sleep(0.1) print "run" end)
      print "chunk"
    ]]
    assert.equal("", result.stderr)
    local lines = {}
    for line in result.stdout:gmatch "%a+" do lines[#lines + 1] = line end
    assert.equal("chunk", table.remove(lines, 1))
    table.sort(lines)
    assert.same({ "handler", "run", "task", "timer" }, lines)
    assert.equal(0, result.status)
  end)

  host_only("lets isolates end that its handles kept, and does not name them", function()
    local result = program [[
      for i = 1, 3 do
        local iso = isolate.spawn(function()
          for v in isolate.inbox():messages() do print(v) end
          print "closed"
        end)
        iso:send(i)
        _G["kept" .. i] = iso
      end
      isolate.sleep(0.05)
    ]]
    assert.equal("", result.stderr)
    assert.equal(3, select(2, result.stdout:gsub("closed", "")))
    assert.equal(0, result.status)
  end)

  it("kills every other isolate and names it in one line, in a bounded time", function()
    local result = program [[
      local rx, tx = isolate.port()
      for _, how in ipairs { "busy", "asleep", "paused", "stubborn" } do
        local iso = isolate.spawn({ name = how }, function(t)
          local _ <close> = setmetatable({}, { __close = function()
            print(how .. " closes")
            if how == "stubborn" then while true do pcall(error) end end
          end })
          t:send "there"
          while how ~= "asleep" do if how == "paused" then isolate.sleep(0.001) end end
          isolate.sleep(1e6)
        end, tx)
        rx:receive()
        if how == "paused" then iso:pause() end
      end
      print "end"
    ]]
    assert.equal(0, result.status)
    assert.is_true(result.seconds < scale(3, 30))
    local names = result.stderr:match "^4 isolates still running at the end: ([^\n]*)\n$"
    assert.is_string(names, result.stderr)
    for _, how in ipairs { "busy", "asleep", "paused", "stubborn" } do
      assert.matches("'" .. how .. "'", names, 1, true)
      assert.matches(how .. " closes\n", result.stdout, 1, true)
    end
  end)

  it("with isolate.wait() comes after all isolates", function()
    local result = program [[
      for i = 1, 3 do
        isolate.spawn(function() isolate.sleep(0.02 * i) print(i) end)
      end
      isolate.after(0.001, function() print "timer" end)
      isolate.wait()
      print "end"
    ]]
    assert.equal("", result.stderr)
    local lines = {}
    for line in result.stdout:gmatch "%w+" do lines[#lines + 1] = line end
    assert.equal("end", table.remove(lines))
    table.sort(lines)
    assert.same({ "1", "2", "3", "timer" }, lines)
    assert.equal(0, result.status)
  end)

  stock_only("awaits pending runs, but runs no task or timer", function()
    local result = program [[
      isolate.after(0.001, function() print "timer" end)
      RUN = isolate.run(function() isolate.sleep(0.05) print "run" end)
    ]]
    assert.equal("", result.stderr)
    assert.equal("run\n", result.stdout)
    assert.equal(0, result.status)
  end)

  host_only("has status 1 after an error that nobody caught", function()
    for text, message in pairs {
      ["error 'in main'"] = "in main",
      ["isolate.after(0, function() error 'in a timer' end)"] = "in a timer",
      ["isolate.async(function() error 'in a task' end)"] = "in a task",
      ["local i = isolate.spawn(function() error 'in an isolate' end) isolate.wait()"] =
        "in an isolate",
    } do
      local result = program(text)
      assert.equal(1, result.status, text)
      assert.matches(message, result.stderr, 1, true)
    end
  end)

  host_only("has status 130 after Ctrl-C, with isolates that still run", function()
    local result = program [[
      isolate.spawn({ name = "busy" }, function() while true do end end)
      local pid = io.open "/proc/self/stat":read "n"
      os.execute("(sleep 0.3; kill -INT " .. math.tointeger(pid) .. ") &")
      isolate.sleep(1e6)
    ]]
    assert.equal(130, result.status)
    assert.matches("interrupted", result.stderr, 1, true)
    assert.matches("1 isolate still running at the end: 'busy'\n", result.stderr, 1, true)
  end)

  it("by os.exit is at once, with its status", function()
    local result = program [[
      isolate.spawn(function() while true do end end)
      isolate.after(0.01, function() print "not reached" end)
      os.exit(7)
    ]]
    assert.equal(7, result.status)
    assert.equal("", result.stdout)
  end)

  it("is not the end by os.exit in an isolate", function()
    local result = program [[
      local iso = isolate.spawn(function() pcall(os.exit, 9) print "not reached" end)
      local ok, err = iso:join()
      print(ok, err.code)
    ]]
    assert.equal(0, result.status)
    assert.equal("false\texited\n", result.stdout)
    assert.equal("", result.stderr)
  end)

  it("is not held up by isolates that start others all the time", function()
    local result = program [[
      local rx, tx = isolate.port()
      SPAWN = function(t, again)
        if t then t:send "there" end
        while true do pcall(isolate.spawn, again, nil, again) end
      end
      isolate.spawn(SPAWN, tx, function(_, again)
        isolate.sleep(0.01)
        pcall(isolate.spawn, again, nil, again)
      end)
      rx:receive()
    ]]
    assert.equal(0, result.status)
    assert.is_true(result.seconds < scale(5, 40))
    assert.matches("isolates? still running at the end: ", result.stderr)
    assert.equal(1, select(2, result.stderr:gsub("\n", "")))
  end)
end)
