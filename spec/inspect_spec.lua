-- inspect_spec.lua - looking into an isolate from outside: where it is, what an expression gives.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/spec_.* 112/spec_.* 113/spec_.* 211/_ENV

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local core = require "isolate.core"
local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"

local test = live.checking(it)

-- What isolates do while they are looked into. `there` tells that it has begun; busy code calls
-- `beat` again and again, which shows that it goes on.
local busy = {
  ["a loop"] = function(there, beat)
    there()
    while true do beat() end
  end,
  ["a loop that catches errors"] = function(there, beat)
    there()
    while true do pcall(function() while true do beat() end end) end
  end,
  ["a coroutine"] = function(there, beat)
    coroutine.wrap(function()
      there()
      while true do beat() end
    end)()
  end,
  ["coroutines that take turns"] = function(there, beat)
    local co = coroutine.wrap(function()
      while true do coroutine.yield() end
    end)
    there()
    while true do
      co()
      beat()
    end
  end,
  ["a task"] = function(there, beat)
    isolate.async(function()
      there()
      while true do beat() end
    end)
    isolate.sleep(1e6)
  end,
  ["a handler"] = function(there, beat)
    local rx, own = isolate.port()
    rx:on_message(function()
      there()
      while true do beat() end
    end)
    own:send(1)
    isolate.sleep(1e6)
  end,
  ["a timer"] = function(there, beat)
    isolate.after(0, function()
      there()
      while true do beat() end
    end)
    isolate.sleep(1e6)
  end,
  ["a call from C"] = function(there, beat)
    table.sort({ 2, 1 }, function()
      there()
      while true do beat() end
    end)
  end,
  ["a metamethod"] = function(there, beat)
    local t = setmetatable({}, { __index = function()
      there()
      while true do beat() end
    end })
    return t.x
  end,
  ["a closer"] = function(there, beat)
    local _ <close> = setmetatable({}, { __close = function()
      there()
      while true do beat() end
    end })
  end,
  ["a closer of a coroutine"] = function(there, beat)
    local co = coroutine.create(function()
      local _ <close> = setmetatable({}, { __close = function()
        there()
        while true do beat() end
      end })
      coroutine.yield()
    end)
    coroutine.resume(co)
    coroutine.close(co)
  end,
  ["a finalizer"] = function(there, beat)
    setmetatable({}, { __gc = function()
      there()
      while true do beat() end
    end })
    collectgarbage()
  end,
  ["a recursion without an end"] = function(there, beat)
    local function deeper() return 1 + deeper() end
    there()
    while true do
      pcall(deeper)
      beat()
    end
  end,
  ["a coroutine of another event loop"] = function(there, beat)
    local cq = require("isolate.cqueues").new()
    cq:wrap(function()
      there()
      while true do beat() end
    end)
    cq:loop()
  end,
  ["a callback of another event loop"] = function(there, beat)
    local uv = require("isolate.luv")
    uv.new_timer():start(0, 0, function()
      there()
      while true do beat() end
    end)
    uv.run()
  end,
  ["a loop that sets hooks"] = function(there, beat)
    there()
    while true do
      debug.sethook(print, "", 1e9)
      beat()
      debug.sethook()
    end
  end,
}

local waiting = {
  ["a sleep"] = function(there)
    there()
    isolate.sleep(1e6)
  end,
  ["a receive"] = function(there)
    there()
    isolate.inbox():receive()
  end,
  ["a receive with a timeout"] = function(there)
    there()
    isolate.inbox():receive(1e6)
  end,
  ["a loop over messages"] = function(there)
    there()
    for _ in isolate.inbox():messages() do error "a message" end
  end,
  ["an await"] = function(there)
    local future <close> = isolate.run(function() isolate.sleep(1e6) end)
    there()
    future:await()
  end,
  ["a select"] = function(there)
    there()
    isolate.select({ isolate.inbox(), isolate.after(1e6) }, 1e6)
  end,
  ["a ping"] = function(there)
    local future <close> = isolate.run(function() while true do end end)
    there()
    future.isolate:ping { when = "idle" }
  end,
  ["a wait of a task"] = function(there)
    isolate.async(function()
      there()
      isolate.sleep(1e6)
    end)
  end,
  ["a wait of a handler"] = function(there)
    local rx, own = isolate.port()
    rx:on_message(function()
      there()
      isolate.sleep(1e6)
    end)
    own:send(1)
    own:close()
  end,
  ["a wait in a coroutine"] = function(there)
    coroutine.wrap(function()
      there()
      isolate.sleep(1e6)
    end)()
  end,
  ["a wait in a call from C"] = function(there)
    table.sort({ 2, 1 }, function()
      there()
      isolate.sleep(1e6)
    end)
  end,
  ["another event loop, which pumps"] = function(there)
    isolate.fd()
    there()
    while true do
      isolate.pump()
      isolate.select({}, 0.001)
    end
  end,
}

local function start(body, opts)
  local rx, tx = isolate.port()
  local iso = isolate.spawn(opts or {}, function(code, t)
    spec_beats = 0
    code(function() t:send(true) end, function() spec_beats = spec_beats + 1 end)
  end, body, tx)
  tx:close()
  assert.is_true(rx:receive(settle.limit))
  return iso
end

local function start_idle()
  return isolate.spawn(function()
    isolate.inbox():on_message(print)
    spec_beats = 0
  end)
end

local function ask(iso, what, arg)
  return settle.await(core.inspect(iso, what, arg))
end

local function fails(iso, what, arg)
  return settle.failure(core.inspect(iso, what, arg))
end

local function eval(iso, source)
  return table.pack(ask(iso, "eval", source))
end

local function finish(iso)
  iso:kill()
  assert.is_false(iso:join(settle.limit))
end

-- Does it go on by itself?
local function goes_on(iso)
  local first = eval(iso, "spec_beats")[2]
  return settle.eventually(function() return eval(iso, "spec_beats")[2] > first end)
end

-- Starts an endless evaluation, and cancels it once it runs.
local function cancel(iso, source)
  local endless = core.inspect(iso, "eval", source)
  assert.is_true(settle.eventually(function() return eval(iso, "spec_runs")[2] == true end))
  assert.is_true(endless:cancel())
  assert.equal("cancelled", settle.failure(endless).code)
  -- Whatever is evaluated now would run on top of it, were it still there.
  assert.is_true(settle.eventually(function()
    return not ask(iso, "traceback"):find(":in:", 1, true)
  end))
  eval(iso, "spec_runs = nil")
end

-- Once it is there: it was told before it got there.
local function can_be_looked_into(iso, place)
  assert.is_true(settle.eventually(function() return ask(iso, "where"):find(place) ~= nil end))
  assert.matches("^stack traceback:", ask(iso, "traceback"))
  assert.same({ n = 3, true, 3, "x" }, eval(iso, "1 + 2, 'x'"))
  assert.same({ n = 1, true }, eval(iso, "marker = 5"))
  assert.same({ n = 2, true, 5 }, eval(iso, "marker"))
end

local function outlives_what_fails(iso)
  assert.same({ n = 2, false, ":in:1: no" }, eval(iso, "error 'no'"))
  assert.same({ n = 2, false, ":in:1: unexpected symbol near <eof>" }, eval(iso, "x ="))
  assert.same({ n = 2, false, "what is evaluated from outside cannot yield" },
    eval(iso, "coroutine.yield()"))
  assert.matches("code that is evaluated in an isolate from outside cannot wait",
    eval(iso, "require('isolate').sleep(1)")[2])
  cancel(iso, "spec_runs = true while true do pcall(load 'while true do end') end")
  assert.same({ n = 2, true, 1 }, eval(iso, "1"))
end

describe("inspect()", function()
  for name, body in pairs(busy) do
    test("looks into " .. name .. " that is busy, and leaves it as it was", function()
      local iso = start(body)
      can_be_looked_into(iso, "inspect_spec.lua:%d+")
      assert.is_true(goes_on(iso))
      outlives_what_fails(iso)
      assert.is_true(goes_on(iso))
      assert.equal("running", iso:status())
      finish(iso)
    end)
  end

  for name, body in pairs(waiting) do
    test("looks into " .. name .. ", and leaves it as it was", function()
      local iso = start(body)
      local info = debug.getinfo(body, "S")
      assert.is_true(settle.eventually(function()
        local line = tonumber(ask(iso, "where"):match "inspect_spec.lua:(%d+)")
        return line and line > info.linedefined and line < info.lastlinedefined
      end))
      can_be_looked_into(iso, "inspect_spec.lua:%d+")
      outlives_what_fails(iso)
      assert.is_false(iso:status() == "failed")
      finish(iso)
    end)
  end

  test("looks into one that is idle in its event loop, or paused", function()
    for _, paused in ipairs { false, true } do
      local iso = start_idle()
      if paused then iso:pause() end
      assert.is_true(iso:ping(settle.limit))
      can_be_looked_into(iso, "^its event loop$")
      outlives_what_fails(iso)
      if paused then assert.equal("paused", iso:status()) end
      finish(iso)
    end
  end)

  test("looks into one whose coroutines all wait in another event loop", function()
    local iso = start(function(there)
      local cq = require("isolate.cqueues").new()
      cq:wrap(function()
        there()
        isolate.inbox():receive()
      end)
      cq:loop()
    end)
    can_be_looked_into(iso, "cqueues.lua:%d+")
    outlives_what_fails(iso)
    finish(iso)
  end)

  test("looks into one that starts paused", function()
    local iso = isolate.spawn({ paused = true }, function() end)
    assert.same({ n = 2, true, 2 }, eval(iso, "1 + 1"))
    iso:resume()
    assert.is_true(iso:join(settle.limit))
  end)

  test("names file, line and function, and shows what a coroutine was called from", function()
    local iso = isolate.spawn(function()
      local function spin() while true do end end
      local co = coroutine.wrap(function() spin() end)
      co()
    end)
    assert.is_true(settle.eventually(function()
      return ask(iso, "where"):find "inspect_spec.lua:%d+ %(spin%)" ~= nil
    end))
    local text = ask(iso, "traceback")
    assert.matches("in upvalue 'spin'", text, 1, true)
    assert.matches("below that, in the body:\nstack traceback:", text, 1, true)
    finish(iso)
  end)

  test("bounds the traceback of a recursion", function()
    local iso = start(function(there)
      local function deeper(n)
        if n > 0 then return 1 + deeper(n - 1) end
        there()
        while true do end
      end
      deeper(1000)
    end)
    local text = ask(iso, "traceback")
    assert.matches("skipping %d+ levels", text)
    assert.is_true(select(2, text:gsub("\n", "")) < 30)
    finish(iso)
  end)

  test("gives many results", function()
    local iso = start(waiting["a sleep"])
    local results = eval(iso, "table.unpack({}, 1, 10000)")
    assert.equal(10001, results.n)
    assert.is_true(results[1])
    finish(iso)
  end)

  test("does not run what was cancelled before its turn", function()
    local iso = start(function(there)
      there()
      os.execute "exec sleep 0.3"
      isolate.sleep(1e6)
    end)
    local future = core.inspect(iso, "eval", "marker = true")
    if future:cancel() then assert.same({ n = 2, true }, eval(iso, "marker")) end
    finish(iso)
  end)

  test("gives an error of __tostring as the message", function()
    for _, body in ipairs { busy["a coroutine"], waiting["a sleep"] } do
      local iso = start(body)
      assert.same({ n = 2, false, ":in:1: within" },
        eval(iso, "error(setmetatable({}, {__tostring = function() error 'within' end}))"))
      assert.same({ n = 2, false, ":in:1: within" },
        eval(iso, "setmetatable({print, io.stdout}, {__tostring = function() error 'within' end})"))
      assert.same({ n = 2, false, "(error object is a table value)" },
        eval(iso, "error(setmetatable({}, {__tostring = function() error {} end}))"))
      assert.same({ n = 2, true, 1 }, eval(iso, "1"))
      finish(iso)
    end
  end)

  test("can be cancelled wherever its code is", function()
    for _, body in ipairs { busy["a loop"], busy["a coroutine"], waiting["a sleep"] } do
      local iso = start(body)
      eval(iso, "spin = function() spec_runs = true while true do end end")
      eval(iso, "co = coroutine.create(spin)")
      for _, source in ipairs {
        "spin()",
        "pcall(spin)",
        "coroutine.wrap(spin)()",
        "coroutine.resume(co)",
        "table.sort({2, 1}, spin)",
        "setmetatable({io.stdout}, {__tostring = spin})",
        "error(setmetatable({}, {__tostring = spin}))",
        "local c <close> = setmetatable({}, {__close = spin})",
        "local c <close> = setmetatable({}, {__close = spin}) spin()",
        "while true do pcall(coroutine.wrap(spin)) end",
        "xpcall(spin, spin)",
        "xpcall(error, spin)",
        "setmetatable({}, {__gc = spin}) collectgarbage()",
        "debug.sethook() spin()",
      } do
        cancel(iso, source)
      end
      assert.same({ n = 2, true, 1 }, eval(iso, "1"))
      finish(iso)
    end
  end)

  test("lets the closers of what is cancelled run", function()
    local iso = start(busy["a loop"])
    cancel(iso, [[
      local c <close> = setmetatable({}, { __close = function()
        for i = 1, 1000 do closed = i end
      end })
      spec_runs = true
      while true do end]])
    assert.same({ n = 2, true, 1000 }, eval(iso, "closed"))
    assert.is_true(goes_on(iso))
    finish(iso)
  end)

  -- A question would look there.
  test("stops what is cancelled with no further question, where its hook is taken away", function()
    local rx <close>, tx = isolate.port { capacity = 1, on_full = "drop_oldest" }
    local iso = isolate.spawn(function() while true do tx:send(1) end end)
    for _, source in ipairs {
      "debug.sethook() while true do end",
      "while true do pcall(function() debug.sethook() while true do end end) end",
      "setmetatable({}, { __gc = function() while true do end end }) collectgarbage()",
    } do
      local endless = core.inspect(iso, "eval", "spec_runs = true " .. source)
      assert.is_true(settle.eventually(function() return eval(iso, "spec_runs")[2] == true end))
      assert.matches(":in:", ask(iso, "traceback"), 1, true)
      eval(iso, "spec_runs = nil")
      local sent = iso:stats().messages_out
      assert.is_true(endless:cancel())
      assert.is_true(settle.eventually(function() return iso:stats().messages_out > sent end))
    end
    assert.equal(1, rx:receive(settle.limit))
    finish(iso)
  end)

  test("does not depend on the globals of the isolate", function()
    local iso = start(busy["a loop"])
    eval(iso, "load, table, tostring, error, next, type, rawequal, select, spec = nil, nil, nil, \z
      nil, nil, nil, nil, nil, { 'x' }")
    assert.same({ n = 3, true, 1, "a" }, eval(iso, "1, 'a'"))
    local globals = eval(iso, "_G")[2]
    assert.is_number(globals.spec_beats)
    assert.matches("^table: ", globals.spec)
    assert.same({ n = 2, false, ":in:1: unexpected symbol near <eof>" }, eval(iso, "x ="))
    assert.same({ n = 2, false, ":in:1: '}' expected near <eof>" }, eval(iso, "{ 1"))
    finish(iso)
  end)

  test("answers others while it evaluates for one", function()
    local iso = start(busy["a loop"])
    local endless = core.inspect(iso, "eval", "while true do end")
    for _ = 1, 10 do
      assert.same({ n = 2, true, 1 }, eval(iso, "1"))
      assert.is_string(ask(iso, "where"))
      assert.is_true(iso:ping(settle.limit))
    end
    assert.is_false(endless:done())
    assert.is_true(endless:cancel())
    assert.is_true(goes_on(iso))
    finish(iso)
  end)

  test("answers also while more evaluations run than may run on top of one another", function()
    local iso = start(busy["a loop"])
    local endless = {}
    for i = 1, 30 do endless[i] = core.inspect(iso, "eval", "while true do end") end
    local late = core.inspect(iso, "eval", "'late'")
    for _ = 1, 10 do
      assert.is_string(ask(iso, "where"))
      assert.is_true(iso:ping(settle.limit))
    end
    assert.is_false(late:done())
    for _, future in ipairs(endless) do assert.is_true(future:cancel()) end
    assert.same({ true, "late" }, { settle.await(late) })
    assert.is_true(goes_on(iso))
    finish(iso)
  end)

  test("can start what waits, as a task or a timer", function()
    local iso = start_idle()
    eval(iso, [[
      local isolate = require "isolate"
      isolate.after(0.001, function() spec_timer = true end)
      isolate.async(function() isolate.sleep(0.001) spec_task = true end)]])
    assert.is_true(settle.eventually(function()
      return eval(iso, "spec_timer and spec_task")[2] == true
    end))
    finish(iso)
  end)

  test("keeps to the memory that the isolate may have", function()
    local iso = start(busy["a loop"], { memory = "8MB" })
    assert.same({ n = 2, false, "not enough memory" }, eval(iso, "#('x'):rep(1e8)"))
    assert.is_true(goes_on(iso))
    finish(iso)
  end)

  test("gives values that cannot be sent as strings", function()
    local iso = start(waiting["a sleep"])
    local ok, file, list = ask(iso, "eval", "io.stdout, {1, 2}")
    assert.is_true(ok)
    assert.matches("^file %(0x", file)
    assert.same({ 1, 2 }, list)
    finish(iso)
  end)

  test("keeps a hook of the isolate's own, in each of its coroutines", function()
    local stop = isolate.atomic()
    local iso = start(function(there)
      local counts, hooks = { 0, 0 }, {}
      for i = 1, 2 do hooks[i] = function() counts[i] = counts[i] + 1 end end
      debug.sethook(hooks[1], "", 100)
      local co = coroutine.create(function()
        debug.sethook(hooks[2], "l", 77)
        while true do coroutine.yield() end
      end)
      there()
      while stop:load() == 0 do coroutine.resume(co) end
      spec_same = debug.gethook() == hooks[1] and debug.gethook(co) == hooks[2]
      spec_last = select(3, debug.gethook()) + select(3, debug.gethook(co))
      spec_counts = counts
      isolate.sleep(1e6)
    end)
    for i = 1, settle.scale(2000, 200) do
      if i % 2 == 0 then ask(iso, "where") else eval(iso, "1") end
    end
    stop:store(1)
    assert.is_true(iso:ping { when = "idle", timeout = settle.limit })
    assert.same({ n = 3, true, true, 177 }, eval(iso, "spec_same, spec_last"))
    local counts = eval(iso, "spec_counts")[2]
    assert.is_true(counts[1] > 10 and counts[2] > 10)
    finish(iso)
  end)

  test("is refused by an isolate that has ended", function()
    local iso = isolate.spawn(function() end)
    assert.is_true(iso:join(settle.limit))
    for _, what in ipairs { "where", "traceback", "eval" } do
      assert.equal("closed", fails(iso, what, "1").code)
    end
  end)

  test("is answered by the isolate that asks", function()
    assert.matches("inspect_spec.lua:%d+", ask(isolate.self(), "where"))
    assert.matches("inspect_spec.lua:%d+", ask(isolate.self(), "traceback"))
    assert.same({ true, 2 }, { ask(isolate.self(), "eval", "1 + 1") })
  end)

  test("waits for C code to return", function()
    local iso = isolate.spawn(function() os.execute "sleep 0.3" end)
    assert.is_true(settle.eventually(function() return iso:status() == "running" end))
    local where = core.inspect(iso, "where")
    assert.is_not_false((where:try(settle.limit)))
    iso:join(settle.limit)
  end)

  test("fails with closed when what is evaluated, or a kill, ends the isolate", function()
    for _, body in ipairs { busy["a loop"], busy["a coroutine"], waiting["a sleep"] } do
      for _, source in ipairs { "require('isolate').exit()", "os.exit()",
        "pcall(require('isolate').exit)" } do
        local iso = start(body)
        assert.equal("closed", fails(iso, "eval", source).code)
        assert.is_false(iso:join(settle.limit))
      end
      local iso = start(body)
      local endless = core.inspect(iso, "eval", "spec_runs = true while true do end")
      assert.is_true(settle.eventually(function() return eval(iso, "spec_runs")[2] end))
      finish(iso)
      assert.equal("closed", settle.failure(endless).code)
    end
  end)

  local whats = { "where", "traceback", "eval" }

  test("of one that is killed settles, whatever was asked", function()
    for _, name in ipairs { "a loop that catches errors", "coroutines that take turns" } do
      local body = busy[name]
      local iso = start(body)
      local asked, count = {}, settle.scale(1000, 300)
      for i = 1, count do
        asked[i] = core.inspect(iso, whats[i % 3 + 1], "1")
        if i == count // 2 then iso:kill() end
      end
      for _, future in ipairs(asked) do
        local ok, err = future:try(settle.limit)
        assert.is_true(ok or ok == false and err.code == "closed")
      end
      assert.is_false(iso:join(settle.limit))
    end
  end)

  test("of one that ends at that moment settles", function()
    for i = 1, settle.scale(300, 60) do
      local iso = isolate.spawn(function(n) for _ = 1, n do end end, i % 30 * 100)
      for k = 1, 5 do
        local ok, err = core.inspect(iso, whats[k % 3 + 1], "1"):try(settle.limit)
        assert.is_true(ok or ok == false and err.code == "closed")
      end
    end
  end)

  test("answers several isolates that ask at once", function()
    local iso = start(busy["a loop"])
    local runs = {}
    for i = 1, 4 do
      runs[i] = isolate.run(function(times)
        local inner = require "isolate.core"
        for _ = 1, times do
          local ok, sum = inner.inspect(iso, "eval", "1 + 1"):await()
          assert(ok and sum == 2)
        end
        return "all"
      end, settle.scale(200, 40))
    end
    for i = 1, 4 do assert.equal("all", settle.await(runs[i])) end
    finish(iso)
  end)

  test("raises for what is asked wrongly", function()
    assert.is_false(pcall(core.inspect, isolate.self(), "nonsense"))
    assert.is_false(pcall(core.inspect, isolate.self(), "eval"))
    assert.is_false(pcall(core.inspect, isolate.self(), "eval", "1\0"))
    assert.is_false(pcall(core.inspect, "no isolate", "where"))
  end)
end)

describe("isolate:stats()", function()
  test("tells the age, and whether it was spawned", function()
    local iso = start(waiting["a sleep"])
    local first = iso:stats()
    assert.is_true(first.age >= 0 and first.spawned)
    assert.is_true(settle.eventually(function() return iso:stats().age > first.age end))
    finish(iso)
    assert.is_false(isolate.self():stats().spawned)
    assert.is_true(isolate.self():stats().age > 0, lua.exe)
  end)
end)
