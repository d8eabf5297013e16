-- supervisor_spec.lua - isolate.supervisor: strategies, restarts, escalation, shutdown.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV 512 111/spec_.* 113/spec_.*

-- Functions that are sent want the real globals, not those that busted gives.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"

it = live.checking(it)

local misuse = require "spec.support.misuse" "supervisor_spec"

-- Does what it is told; as it ends it says so.
local function worker(name, log)
  local here = require "isolate"
  local _ <close> = setmetatable({}, { __close = function() if log then log:send(name) end end })
  for order in here.inbox():messages() do
    if order == "fail" then error(name .. " failed", 0) end
    if order == "return" then return end
    if order == "exit" then here.exit() end
    if order == "spin" then while true do end end
    if order == "hog" then string.rep("x", 1 << 28) end
    if type(order) == "userdata" then order:send(name) end
  end
end

local function child(name, restart, more)
  local c = { name = name, fn = worker, args = { name }, restart = restart }
  for k, v in pairs(more or {}) do c[k] = v end
  return c
end

-- A supervisor with a receiver of its events.
local function supervisor(opts)
  local events, tx = isolate.port()
  opts.on_event = tx
  local sup = isolate.supervisor(opts)
  tx:close()
  return sup, events
end

-- The next events, as text: "started a, ended a".
local function next_events(events, n)
  local list = {}
  for i = 1, n do
    local e = events:receive(settle.limit)
    list[i] = e and e.event .. " " .. e.child or "none"
  end
  return table.concat(list, ", ")
end

local function replies(iso)
  local rx <close>, tx = isolate.port()
  iso:send(tx)
  tx:close()
  return rx:receive(settle.limit)
end

local function abc(strategy)
  local sup, events = supervisor { strategy = strategy,
    children = { child "a", child "b", child "c" } }
  assert.equal("started a, started b, started c", next_events(events, 3))
  return sup, events
end

describe("isolate.supervisor{}", function()
  it("starts its children in their order, and stops them in the reverse order", function()
    local sup, events = abc "one_for_one"
    assert.equal("a", replies(sup:child "a"))
    assert.equal("b", replies(sup:child "b"))
    assert.is_true(sup:stop())
    assert.equal("stopped c, stopped b, stopped a", next_events(events, 3))
    assert.same({ n = 2, nil, "closed" }, table.pack(events:receive(settle.limit)))
    assert.same({ nil, "closed" }, { sup:child "a" })
    assert.same({ nil, "closed" }, { sup:children() })
    assert.same({ nil, "closed" }, { sup:restart "a" })
    assert.is_true(sup:stop())
  end)

  it("one_for_one: starts the one again that has failed", function()
    local sup <close>, events = abc "one_for_one"
    local before, other = sup:child "b", sup:child "c"
    before:send "fail"
    assert.equal("ended b, started b", next_events(events, 2))
    local after = sup:child "b"
    assert.is_true(after ~= before)
    assert.equal("b", replies(after))
    assert.equal(other, sup:child "c")
  end)

  it("one_for_all: stops the others in reverse order and starts all", function()
    local sup <close>, events = abc "one_for_all"
    sup:child "b":send "fail"
    assert.equal("ended b, stopped c, stopped a, started a, started b, started c",
      next_events(events, 6))
    assert.equal("c", replies(sup:child "c"))
  end)

  it("rest_for_one: stops and starts those behind it", function()
    local sup <close>, events = abc "rest_for_one"
    local first = sup:child "a"
    sup:child "b":send "fail"
    assert.equal("ended b, stopped c, started b, started c", next_events(events, 4))
    assert.equal(first, sup:child "a")
    sup:child "c":send "fail"
    assert.equal("ended c, started c", next_events(events, 2))
  end)

  for restart, again in pairs {
    permanent = { ["return"] = true, exit = true, fail = true, kill = true, timeout = true,
      hog = true },
    transient = { ["return"] = false, exit = false, fail = true, kill = true, timeout = true,
      hog = true },
    temporary = { ["return"] = false, exit = false, fail = false, kill = false, timeout = false,
      hog = false },
  } do
    for how, expected in pairs(again) do
      it(("restart = %q: after %s it is %sstarted again"):format(restart, how,
        expected and "" or "not "), function()
        local more = how == "timeout" and { timeout = 0.1 } or how == "hog" and { memory = "4MB" }
        local sup <close>, events = supervisor { intensity = 1000,
          children = { child("x", restart, more or nil) } }
        assert.equal("started x", next_events(events, 1))
        local iso = sup:child "x"
        if how == "kill" then iso:kill() elseif how ~= "timeout" then iso:send(how) end
        assert.equal("ended x", next_events(events, 1))
        if expected then
          assert.equal("started x", next_events(events, 1))
        else
          assert.same({ n = 2, nil, "closed" }, table.pack(sup:child "x"))
          assert.equal(0, sup:children()[1].restarts)
          assert.same({ n = 2, nil, "empty" }, table.pack(events:try_receive()))
        end
      end)
    end
  end

  it("goes on without a child, until it is stopped", function()
    local sup, events = supervisor { children = { child("x", "transient") } }
    sup:child "x":send "return"
    assert.equal("started x, ended x", next_events(events, 2))
    assert.equal("done", sup:children()[1].status)
    assert.same({ n = 2, nil, "timeout" }, table.pack(sup:join(0)))
    assert.is_true(sup:restart("x"):ping(settle.limit))
    assert.is_true(sup:stop())
  end)

  it("does not start temporary ones again with the others", function()
    local sup <close>, events = supervisor { strategy = "one_for_all",
      children = { child("a", "temporary"), child "b" } }
    sup:child "b":send "fail"
    assert.equal("started a, started b, ended b, stopped a, started b", next_events(events, 5))
    assert.is_nil(sup:child "a")
  end)

  it("gives up after too many restarts: stops all in reverse order, and fails", function()
    local log, log_tx = isolate.port()
    local sup, events = supervisor { name = "top", intensity = 2, period = 600, children = {
      child("a", nil, { args = { "a", log_tx } }),
      child("b", nil, { args = { "b", log_tx } }),
      child "bad",
    } }
    log_tx:close()
    assert.equal("started a, started b, started bad", next_events(events, 3))
    assert.same({ "a", "b" }, { replies(sup:child "a"), replies(sup:child "b") })
    for _ = 1, 2 do
      sup:child "bad":send "fail"
      assert.equal("ended bad, started bad", next_events(events, 2))
    end
    sup:child "bad":send "fail"
    local ok, err = sup:join(settle.limit)
    assert.is_false(ok)
    assert.equal("restarts", err.code)
    assert.equal("bad", err.child)
    assert.equal("supervisor 'top' gave up: more than 2 restarts in 600 s, the last one for child "
      .. "'bad': bad failed", tostring(err))
    assert.equal("ended bad, stopped b, stopped a, gave up bad", next_events(events, 4))
    assert.same({ "b", "a" }, { log:receive(settle.limit), log:receive(settle.limit) })
    assert.same({ n = 2, nil, "closed" }, table.pack(log:receive(settle.limit)))
    assert.is_false((sup:stop()))
  end)

  it("does not count restarts that are longer ago than its period", function()
    local sup <close>, events = supervisor { intensity = 1, period = 0.01,
      children = { child "x" } }
    assert.equal("started x", next_events(events, 1))
    for _ = 1, 4 do
      isolate.sleep(0.02)
      sup:child "x":send "fail"
      assert.equal("ended x, started x", next_events(events, 2))
    end
    assert.equal(4, sup:children()[1].restarts)
  end)

  it("is started again by a supervisor of its own when it gives up", function()
    local starts = isolate.atomic(0)
    local function inner()
      local here = require "isolate"
      local sup <close> = here.supervisor { intensity = 1, on_event = select(2, here.port()),
        children = {
        { name = "leaf", fn = function()
          starts:add(1)
          if starts:load() <= 3 then error("no luck", 0) end
          here.inbox():receive()
        end },
      } }
      assert(sup:join())
    end
    local outer, events = supervisor { name = "outer",
      children = { { name = "inner", fn = inner } } }
    assert.equal("started inner, ended inner, started inner", next_events(events, 3))
    assert.is_true(settle.eventually(function() return starts:load() == 4 end))
    local leaf = isolate.find "leaf"
    assert.is_true(outer:stop())
    assert.is_false((leaf:join(settle.limit))) -- with the supervisor that it was a child of
  end)

  it("acts while its creator is busy", function()
    local starts = isolate.atomic(0)
    local sup <close> = supervisor { intensity = 10, children = { { name = "x", fn = function()
      if starts:add(1) < 3 then error("no luck", 0) end
      require "isolate".inbox():receive()
    end } } }
    local deadline = isolate.now() + settle.limit
    while starts:load() < 3 and isolate.now() < deadline do end -- no wait
    assert.equal(3, starts:load())
    assert.equal(2, sup:children()[1].restarts)
  end)

  it("leaves no child behind when it is killed", function()
    local sup = abc "one_for_one"
    local a, c = sup:child "a", sup:child "c"
    c:send "spin"
    sup.isolate:kill { grace = settle.limit }
    assert.equal("killed", select(2, sup:join(settle.limit)).code)
    for _, iso in ipairs { a, c } do
      assert.equal("killed", select(2, iso:join(settle.limit)).code)
    end
  end)

  it("ends with the last handle of it", function()
    local sup = abc "one_for_one"
    local a = sup:child "a"
    sup = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.equal("killed", select(2, a:join(settle.limit)).code)
  end)

  it("takes the options and the globals of its children along", function()
    spec_supervisor_word = "hello"
    local rx, tx = isolate.port()
    local sup <close> = supervisor { children = { { name = "x", memory = "8MB",
      restart = "temporary",
      libs = { "string", "package" }, args = { tx, nil, 2, n = 3 },
      fn = function(out, gap, n)
        out:send { spec_supervisor_word, gap == nil, n, io == nil }
      end } } }
    spec_supervisor_word = nil
    assert.same({ "hello", true, 2, true }, rx:receive(settle.limit))
    assert.equal("x", sup:children()[1].name)
  end)

  it("can be sent, and is the same there", function()
    local sup = abc "one_for_one"
    local same, name, back = settle.await(isolate.run(function(s)
      return s == sup, s:child("b").name, s
    end, sup))
    assert.is_true(same)
    assert.equal("b", name)
    assert.equal(sup, back)
    assert.equal(sup.id, back.id)
    assert.is_true(back:stop())
  end)

  it("bears messages that are none of its own", function()
    local sup <close> = abc "one_for_one"
    local rx, tx = isolate.port()
    for _, message in ipairs { "stop", {}, { op = "children" }, { op = "child", name = "a" },
                               { op = "restart", name = "a", reply = rx.id },
                               { op = "child", name = "d", reply = tx },
                               { op = "restart", reply = tx }, { op = {}, reply = tx } } do
      sup.isolate:send(message)
    end
    assert.equal("a", replies(sup:child "a"))
    assert.equal(0, #rx)
  end)

  it("lists its children", function()
    local sup <close> = abc "one_for_one"
    local list = sup:children()
    assert.equal(3, #list)
    assert.equal("a", list[1].name)
    assert.equal(sup:child("c"), list[3].isolate)
    assert.equal(list[3].isolate.id, list[3].id)
    assert.equal(0, list[2].restarts)
    assert.equal("string", type(list[2].status))
  end)

  it("starts a child again when it is told to, and does not count that", function()
    local sup <close>, events = supervisor { intensity = 0, children = { child "x" } }
    local before = sup:child "x"
    local after = sup:restart "x"
    assert.equal("started x, stopped x, started x", next_events(events, 3))
    assert.is_true(before ~= after)
    assert.equal(after, sup:child "x")
  end)
end)

describe("the shutdown of a supervisor", function()
  it("gives each child its grace", function()
    local log, log_tx = isolate.port()
    local sup = isolate.supervisor { children = { { name = "slow", shutdown = settle.limit,
      args = { log_tx }, fn = function(out)
        local here = require "isolate"
        local _ <close> = setmetatable({}, { __close = function()
          here.sleep(0.3)
          out:send "finished"
        end })
        out:send "ready"
        here.sleep(600)
      end } } }
    assert.equal("ready", log:receive(settle.limit))
    assert.same({ n = 2, nil, "timeout" }, table.pack(sup:stop(0)))
    assert.is_true(sup:stop())
    assert.equal("finished", log:try_receive())
  end)

  it("ends a child that goes on in spite of it", function()
    local rx, tx = isolate.port()
    local sup = isolate.supervisor { children = { { name = "rude", shutdown = 0.05, args = { tx },
      fn = function(out)
        local _ <close> = setmetatable({}, { __close = function() while true do end end })
        out:send "ready"
        require "isolate".sleep(600)
      end } } }
    assert.equal("ready", rx:receive(settle.limit))
    assert.is_true(sup:stop())
  end)

  it("is done by <close>, also on the way of an error", function()
    local a
    assert.equal("no luck", select(2, pcall(function()
      local sup <close> = abc "one_for_one"
      a = sup:child "a"
      error("no luck", 0)
    end)))
    assert.equal("killed", a:status())
  end)

  it("raises what nobody has heard of in <close>", function()
    local ok, err = pcall(function()
      local sup <close>, events = supervisor { intensity = 0,
        children = { { name = "bad", fn = function() error("no luck", 0) end } } }
      assert.equal("started bad, ended bad, gave up bad", next_events(events, 3))
      assert.equal(sup, sup)
    end)
    assert.is_false(ok)
    assert.equal("restarts", err.code)
  end)
end)

describe("failures of children", function()
  it("are printed where there is no on_event", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local sup <close> = isolate.supervisor { name = "top", intensity = 1, children = {
        { name = "bad", fn = function() error("no luck", 0) end },
      } }
      print(sup:join())
    ]]
    local line = "supervisor 'top': child 'bad' failed: no luck\n"
    assert.equal(line .. line, result.stderr)
    assert.matches("^false\tsupervisor 'top' gave up: more than 1 restart in 5 s, the last one for "
      .. "child 'bad': no luck", result.stdout)
  end)

  it("that make a supervisor give up are an uncaught error where nobody looks at it", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local sup = isolate.supervisor { name = "top", intensity = 0, children = {
        { name = "bad", fn = function() error("no luck", 0) end },
      } }
      isolate.wait()
    ]]
    assert.matches("uncaught error in isolate 'top': supervisor 'top' gave up: more than 0",
      result.stderr, 1, true)
    if lua.is_host then assert.equal(1, result.status) end
  end)

  it("are told with the text of an error that cannot be sent", function()
    local sup = supervisor { intensity = 0, children = {
      { name = "odd", fn = function()
        error(setmetatable({ io.stdout }, { __tostring = function() return "odd error" end }))
      end },
    } }
    local ok, err = sup:join(settle.limit)
    assert.same({ false, "restarts" }, { ok, err.code })
    assert.matches("for child 'odd': odd error", err.message, 1, true)
    assert.matches("^odd error", err.reason)
  end)
end)

describe("mistakes with supervisors", function()
  local function message(opts)
    return misuse(function() isolate.supervisor(opts) end)
  end

  local function of_child(more)
    local c = { name = "x", fn = worker }
    for k, v in pairs(more) do c[k] = v ~= "none" and v or nil end
    return message { children = { c } }
  end

  it("name the option", function()
    assert.matches("table of options expected, got nil", message(nil), 1, true)
    assert.matches("with a dot, not a colon", message(isolate), 1, true)
    assert.matches("unknown option 'strateyg' (known: ", message { strateyg = 1 }, 1, true)
    assert.matches("option 'strategy': unknown value 'all' (known: one_for_one, one_for_all",
      message { strategy = "all" }, 1, true)
    assert.matches("option 'intensity': an integer of 0 or more", message { intensity = -1 })
    assert.matches("option 'period': more than 0 seconds", message { period = 0 })
    assert.matches("option 'name': a string expected, got number", message { name = 1 })
    assert.matches("option 'name': a string without zeros", message { name = "a\0" })
    assert.matches("option 'on_event': a sender expected, got table", message { on_event = {} })
    assert.matches("option 'children': a list expected, got nil", message {})
    assert.matches("option 'children': .* has a field 'x'", message { children = { x = {} } })
  end)

  it("name the child and its field", function()
    assert.matches("child 1: a table expected, got function", message { children = { worker } })
    assert.matches("child 2: 'name': a string expected, got nil",
      message { children = { child "a", {} } })
    assert.matches("child 'a': there are two of this name",
      message { children = { child "a", child "a" } })
    assert.matches("child 'x': 'fn': a function expected, got nil", of_child { fn = "none" })
    assert.matches("child 'x': 'args': a list of arguments expected, got number",
      of_child { args = 1 })
    assert.matches("child 'x': 'restart': unknown value 'always' (known: permanent, transient",
      of_child { restart = "always" }, 1, true)
    assert.matches("child 2: 'name': a string without zeros",
      message { children = { child "a", child "a\0b" } })
    assert.matches("child 'x': 'shutdown': a number of seconds", of_child { shutdown = "1" })
    assert.matches("child 'x': unknown option 'memroy'", of_child { memroy = 1 })
    assert.matches("child 'x': option 'memory': 'lots' is no size", of_child { memory = "lots" })
    assert.matches("child 'x': 'args': cannot send userdata", of_child { args = { io.stdout } })
  end)

  it("are named in methods, too", function()
    local sup <close> = abc "one_for_one"
    assert.matches("call it with a colon, sup:stop()", misuse(function() sup.stop() end), 1, true)
    assert.matches("has no child 'd' (it has: a, b, c)", misuse(function() sup:child "d" end),
      1, true)
    assert.matches("name of a child expected, got nil", misuse(function() sup:restart() end))
    assert.matches("a timeout is a number of seconds", misuse(function() sup:join "1" end))
    assert.matches("a timeout is a number of seconds", misuse(function() sup:stop(-1) end))
  end)
end)
