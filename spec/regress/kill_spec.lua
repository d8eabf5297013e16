-- kill_spec.lua - regressions: kills that got lost, were swallowed, or hit the wrong place.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local failure = settle.failure

-- Runs a script of its own, which must end with status 0, and gives what it printed.
local function script(text)
  local result = lua.source(text)
  assert.equal("", result.stderr)
  assert.equal(0, result.status)
  return result.stdout
end

-- Runs `body(note, ...)` in an isolate with a `<close>` variable, with a timeout. Gives the error,
-- what `note` was called with, "closed" at the end if the closer ran, and the handle.
local function closing(timeout, body, ...)
  local path = os.tmpname()
  local function note(text)
    local file <close> = assert(io.open(path, "a"))
    file:write(text, ";")
  end
  local future = isolate.run({ timeout = timeout }, function(...)
    local _ <close> = setmetatable({}, { __close = function() note "closed" end })
    body(note, ...)
  end, ...)
  local err = failure(future)
  local text = shell.read(path)
  os.remove(path)
  return err, text, future.isolate
end

describe("a kill", function()
  it("inside a coroutine.resume of a coroutine that runs leaves the C stack alone", function()
    assert.equal("ok\n", script [[
      local isolate = require "isolate"
      local function resume_for_ever()
        local co = coroutine.running()
        local function deep(n)
          if n > 0 then
            local a, b, c, d = 1, 2, 3, 4 -- luacheck: ignore
            local x = deep(n - 1)
            return x
          end
          return pcall(pcall, function() while true do coroutine.resume(co) end end)
        end
        pcall(deep, 100)
      end
      for k = 1, 100 do
        local future = isolate.run(resume_for_ever)
        local stop = isolate.now() + 0.002 + k % 10 * 0.00005
        while isolate.now() < stop do end
        future:cancel()
      end
      print "ok"
    ]])
  end)

  -- 0.1 s of grace and 0.5 s more, and some signals, before it counts as stuck; it is
  -- signalled again a second later.
  it("still stops code that comes back from C after it was given up as stuck", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local future = isolate.run({ name = "sleeper" }, function()
        coroutine.wrap(os.execute) "sleep 0.9"
        while true do end
      end)
      future:try(0.01)
      future:cancel()
      os.execute "sleep 1.9"
      local before = os.clock()
      os.execute "sleep 0.15"
      print(os.clock() - before < 0.05, future.isolate:status())
      os.exit(0)
    ]]
    assert.equal("isolate 'sleeper' is stuck in a C function and was left behind\n",
      result.stderr)
    assert.equal("true\tstuck\n", result.stdout)
    assert.equal(0, result.status)
  end)

  it("that arrives in a C function that raises an error runs the closers", function()
    local err, notes = closing(settle.scale(0.15, 2), function(_, n)
      local list = {}
      for i = 1, n do list[i] = "x" end
      list[n + 1] = {} -- table.concat raises, but only at the end
      while true do pcall(table.concat, list) end
    end, 300000)
    assert.equal("timeout", err.code)
    assert.equal("closed;", notes)
  end)

  it("that arrives in a C function that returns runs the closers", function()
    local err, notes = closing(settle.scale(0.15, 2), function(_, n)
      local list = {}
      for i = 1, n do list[i] = "x" end
      while true do pcall(table.concat, list) end
    end, 300000)
    assert.equal("timeout", err.code)
    assert.equal("closed;", notes)
  end)

  it("that arrives in a finalizer in C runs the closers", function()
    local err, notes = closing(settle.scale(0.13, 2), function(_, seconds)
      io.popen("sleep " .. seconds) -- whose finalizer waits for the command
      collectgarbage()
      while true do end
    end, settle.scale(0.15, 2.05))
    assert.equal("timeout", err.code)
    assert.equal("closed;", notes)
  end)

  describe("is not swallowed", function()
    local function endless() while true do end end

    -- In time: its own time and the grace, not the hard end after that.
    local function is_timeout(future)
      local err = failure(future)
      assert.is_table(err)
      assert.equal("timeout", err.code)
      assert.matches("ran over its time", err.message, 1, true)
      return future.isolate:status()
    end

    it("by the encoding of a result", function()
      is_timeout(isolate.run({ timeout = 0.05 }, function()
        return setmetatable({}, { __isolate_pack = endless })
      end))
    end)

    it("by the encoding of a result, and the status says so", function()
      assert.equal("killed", is_timeout(isolate.run({ timeout = 0.05 }, function()
        return setmetatable({}, { __isolate_pack = endless })
      end)))
    end)

    it("by the text of an error", function()
      assert.equal("killed", is_timeout(isolate.run({ timeout = 0.05 }, function()
        error(setmetatable({}, { __tostring = endless }))
      end)))
    end)

    it("by isolate.sendable()", function()
      local err, notes, handle = closing(settle.scale(0.05, 2), function(note)
        isolate.sendable(setmetatable({}, { __isolate_pack = endless }))
        note "went on"
        endless()
      end)
      assert.equal("timeout", err.code)
      assert.equal("closed;", notes)
      assert.equal("killed", handle:status())
    end)

    it("by isolate.run()", function()
      local err, notes = closing(settle.scale(0.05, 2), function(note)
        pcall(isolate.run, print, setmetatable({}, { __isolate_pack = endless }))
        note "went on"
        endless()
      end)
      assert.equal("timeout", err.code)
      assert.equal("closed;", notes)
    end)
  end)

  it("just after the start, at any moment, leaves nothing behind", function()
    assert.equal("ok\n", script [[
      local isolate = require "isolate"
      local live = require "spec.support.live"
      isolate.run(function() end):await()
      local before = live.count()
      for k = 1, 400 do
        local future = isolate.run(function() for _ = 1, 200 do end end)
        if k > 200 then
          local stop = isolate.now() + k % 20 * 0.000005
          while isolate.now() < stop do end
        end
        future:cancel()
      end
      collectgarbage()
      collectgarbage()
      os.execute "sleep 0.7" -- long enough for an alarm that was left to call it stuck
      local left = live.left_since(before)
      print(left == "" and "ok" or left)
    ]])
  end)
end)

describe("the traceback of a killed isolate", function()
  it("names the line where it looped", function()
    local line = debug.getinfo(1, "l").currentline
    local function loop()
      local n = 0
      while true do
        n = n + 1
      end
    end
    local future = isolate.run({ timeout = 0.05, name = "looper" }, function()
      loop()
      return 1
    end)
    local err = failure(future)
    local traceback = future:traceback()
    assert.equal("timeout", err.code)
    assert.equal(err.message, traceback:match "^[^\n]*")
    assert.matches("\nstack traceback:\n", traceback, 1, true)
    local at = traceback:match "kill_spec%.lua:(%d+): in [^\n]*'loop'"
    assert.is_true(at == tostring(line + 3) or at == tostring(line + 4), traceback)
    assert.matches("kill_spec.lua:" .. line + 8 .. ": in function", traceback, 1, true)
  end)
end)
