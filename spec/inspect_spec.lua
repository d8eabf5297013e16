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

-- Kinds of isolates, by what they do while they are looked into.
local kinds = {
  ["busy code"] = function() return isolate.spawn(function() while true do end end) end,
  ["a loop that catches errors"] = function()
    return isolate.spawn(function() while true do pcall(function() while true do end end) end end)
  end,
  ["a coroutine"] = function()
    return isolate.spawn(function() coroutine.wrap(function() while true do end end)() end)
  end,
  ["a task"] = function()
    return isolate.spawn(function()
      require("isolate").async(function() while true do end end)
    end)
  end,
  ["a wait"] = function() return isolate.spawn(function() require("isolate").sleep(1000) end) end,
  ["a wait of a task"] = function()
    return isolate.spawn(function()
      require("isolate").async(function() require("isolate").sleep(1000) end)
    end)
  end,
  ["its event loop"] = function()
    return isolate.spawn(function() require("isolate").inbox():on_message(print) end)
  end,
  ["a pause"] = function()
    local iso = isolate.spawn(function() require("isolate").inbox():on_message(print) end)
    iso:pause()
    return iso
  end,
}

local function ask(iso, what, arg)
  return settle.await(core.inspect(iso, what, arg))
end

local function fails(iso, what, arg)
  return settle.failure(core.inspect(iso, what, arg))
end

local function finish(iso)
  iso:kill()
  assert.is_false(iso:join(settle.limit))
end

describe("inspect()", function()
  for name, start in pairs(kinds) do
    test("tells where " .. name .. " is, and evaluates there", function()
      local iso = start()
      assert.is_true(iso:ping(settle.limit))
      assert.is_string(ask(iso, "where"))
      assert.matches("^stack traceback:", ask(iso, "traceback"))
      assert.same({ true, 3, "x" }, { ask(iso, "eval", "1 + 2, 'x'") })
      assert.same({ true }, { ask(iso, "eval", "marker = 5") })
      assert.same({ true, 5 }, { ask(iso, "eval", "marker") })
      finish(iso)
    end)

    test("leaves " .. name .. " as it was when what is evaluated fails or is cancelled", function()
      local iso = start()
      assert.same({ false, "repl:1: no" }, { ask(iso, "eval", "error 'no'") })
      assert.same({ false, "repl:1: unexpected symbol near <eof>" }, { ask(iso, "eval", "x =") })
      assert.same({ false, "what is evaluated from outside cannot yield" },
        { ask(iso, "eval", "coroutine.yield()") })
      local _, message = ask(iso, "eval", "require('isolate').sleep(1)")
      assert.matches("code that is evaluated in an isolate from outside cannot wait", message)
      local endless = core.inspect(iso, "eval", "while true do pcall(load 'while true do end') end")
      assert.is_true(endless:cancel())
      assert.same({ true, 1 }, { ask(iso, "eval", "1") })
      assert.equal(iso:status(), iso:status())
      finish(iso)
    end)
  end

  test("names file, line and function, and shows what a coroutine was called from", function()
    local iso = isolate.spawn(function()
      local function spin() while true do end end
      local co = coroutine.wrap(function() spin() end)
      co()
    end)
    assert.is_true(iso:ping(settle.limit))
    assert.is_true(settle.eventually(function()
      return ask(iso, "where"):find "inspect_spec.lua:%d+ %(spin%)" ~= nil
    end))
    local text = ask(iso, "traceback")
    assert.matches("in upvalue 'spin'", text, 1, true)
    assert.matches("below that, in the body:\nstack traceback:", text, 1, true)
    finish(iso)
  end)

  test("gives values that cannot be sent as strings", function()
    local iso = kinds["a wait"]()
    local ok, file, list = ask(iso, "eval", "io.stdout, {1, 2}")
    assert.is_true(ok)
    assert.matches("^file %(0x", file)
    assert.same({ 1, 2 }, list)
    finish(iso)
  end)

  test("keeps a hook of the isolate's own", function()
    local iso = isolate.spawn(function()
      spec_count = 0
      debug.sethook(function() spec_count = spec_count + 1 end, "", 1000)
      while true do end
    end)
    assert.is_true(iso:ping(settle.limit))
    local function count() return select(2, ask(iso, "eval", "spec_count")) or 0 end
    local first = count()
    assert.is_true(settle.eventually(function() return count() > first + 10 end))
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

  test("ends with an isolate that what is evaluated ends", function()
    local iso = kinds["busy code"]()
    core.inspect(iso, "eval", "require('isolate').exit()"):try(settle.limit)
    assert.is_not_nil((iso:join(settle.limit)))
    local other = kinds["a wait"]()
    core.inspect(other, "eval", "os.exit()"):try(settle.limit)
    assert.is_not_nil((other:join(settle.limit)))
  end)

  test("goes on while the isolate is killed, and leaves nothing behind", function()
    for _ = 1, settle.scale(60, 15) do
      local iso = kinds["a loop that catches errors"]()
      local asked = {}
      for i = 1, 30 do
        asked[i] = core.inspect(iso, i % 3 == 0 and "where" or i % 3 == 1 and "traceback" or "eval",
          "1")
        if i == 15 then iso:kill() end
      end
      for _, future in ipairs(asked) do assert.is_not_nil((future:try(settle.limit))) end
      assert.is_false(iso:join(settle.limit))
    end
  end)

  test("answers several isolates that ask at once", function()
    local iso = kinds["busy code"]()
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
    assert.is_false(pcall(core.inspect, "no isolate", "where"))
  end)
end)

describe("isolate:stats()", function()
  test("tells the age, and whether it was spawned", function()
    local iso = kinds["a wait"]()
    local first = iso:stats()
    assert.is_true(first.age >= 0 and first.spawned)
    assert.is_true(settle.eventually(function() return iso:stats().age > first.age end))
    finish(iso)
    assert.is_false(isolate.self():stats().spawned)
    assert.is_true(isolate.self():stats().age > 0, lua.exe)
  end)
end)
