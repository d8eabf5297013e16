-- misc_spec.lua - what was found by trying to break it.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert -- busted gives them by way of its own _ENV
local _ENV = _G -- luacheck: ignore

local isolate = require "isolate"

local function failure(...)
  local ok, err = isolate.run(...):try(30)
  assert.is_false(ok)
  return err
end

describe("isolate.run", function()
  it("raises when an unpacker makes no table where a metatable belongs", function()
    local meta = setmetatable({}, { __isolate_pack = function() return "string", "upper", "x" end })
    local err = failure(function() end, setmetatable({}, meta))
    assert.matches("cannot receive an object", err, 1, true)
  end)

  it("ends by os.exit and isolate.exit in a finalizer, too", function()
    for _, exit in ipairs { os.exit, function() require("isolate").exit() end } do
      assert.equal("exited", failure(function()
        setmetatable({}, { __gc = function() exit() end })
        collectgarbage()
        return "survived"
      end).code)
    end
  end)

  it("says that too many results are a stack overflow", function()
    local err = failure(function() return table.unpack({}, 1, 999980) end)
    assert.matches("stack overflow", tostring(err), 1, true)
  end)

  it("refuses names with zeros", function()
    assert.has_error(function() isolate.run({ name = "a\0b" }, print) end)
  end)
end)

describe("isolate.race", function()
  it("is cancelled whole, however deep it is nested", function()
    local work = isolate.run(function() while true do end end)
    local race = work
    for _ = 1, 2000 do race = isolate.race { race } end
    assert.is_true(race:cancel())
    assert.equal("cancelled", select(2, work:try(10)).code)
  end)
end)

describe("a newcomer's slip", function()
  local function message(fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok)
    return tostring(err)
  end

  it("with a colon for a dot is named", function()
    for _, slip in ipairs {
      function() return isolate:run(print) end,
      function() return isolate:spawn(print) end,
      function() return isolate:port() end,
    } do
      assert.matches("called with a dot, not a colon", message(slip), 1, true)
    end
  end)

  it("with a timeout of await is named", function()
    local future <close> = isolate.run(print)
    assert.matches("await has no timeout; try has one", message(future.await, future, 1), 1, true)
  end)

  it("with libs or futures by name is named", function()
    assert.matches("a list of library names expected",
      message(isolate.run, { libs = { string = true } }, print), 1, true)
    local future <close> = isolate.run(print)
    assert.matches("a list of futures expected, but it has a field 'x'",
      message(isolate.all, { x = future }), 1, true)
  end)

  it("with a second value to send is named", function()
    local rx <close>, tx = isolate.port()
    assert.matches("timeout in seconds expected, got string", message(tx.send, tx, 1, "b"), 1, true)
    assert.equal(0, #rx)
    assert.matches("got isolate.sender", message(isolate.select, { tx }), 1, true)
  end)
end)

describe("an error object", function()
  it("can be joined to strings, also after a trip", function()
    local err = failure({ timeout = 0.01, name = "slow" }, function() while true do end end)
    assert.equal("failed: isolate 'slow' ran over its time and was killed", "failed: " .. err)
    local text = isolate.run(function(e) return e .. "!" end, err):await()
    assert.equal("isolate 'slow' ran over its time and was killed!", text)
  end)
end)

describe("isolate.pump()", function()
  it("counts messages and timers one by one", function()
    local rx <close>, tx = isolate.port()
    local n = 0
    isolate.run(function(to) for i = 1, 5 do to:send(i) end end, tx):await()
    rx:on_message(function() n = n + 1 end)
    for _, expected in ipairs { { 3, 2 }, { 1, 4 }, { 0, 5 }, { 0, 5 } } do
      assert.same(expected, { isolate.pump(2), n })
    end
    for _ = 1, 5 do isolate.after(0, function() n = n + 1 end) end
    for _, expected in ipairs { { 3, 7 }, { 1, 9 }, { 0, 10 } } do
      assert.same(expected, { isolate.pump(2), n })
    end
    assert.is_false(pcall(isolate.pump, -1))
    tx:close()
  end)

  it("stops when its time is over", function()
    local rx <close>, tx = isolate.port()
    local n = 0
    isolate.run(function(to) for i = 1, 4 do to:send(i) end end, tx):await()
    rx:on_message(function()
      n = n + 1
      local stop = isolate.now() + 0.02
      while isolate.now() < stop do end
    end)
    assert.equal(3, isolate.pump(nil, 0.01))
    assert.equal(1, n)
    tx:close()
  end)
end)

describe("uncaught errors", function()
  local lua = require "spec.support.lua"

  local function status(body)
    local result = lua.source('local isolate = require "isolate"\n' .. body)
    return select(2, result.stderr:gsub("uncaught error", "")), result.status
  end

  it("of left-out members of as_completed are told", function()
    assert.equal(1, (status [[
      local list = {}
      for i = 1, 2 do list[i] = isolate.run(error, "lost", 0) end
      for _, ok in isolate.as_completed(list) do assert(not ok) break end
      list = nil
      collectgarbage()
      collectgarbage()
    ]]))
  end)

  it("of a task end its isolate soon, also while it sleeps", function()
    local iso = isolate.spawn(function()
      isolate.async(error, "task failed", 0)
      isolate.sleep(30)
      return "done"
    end)
    local ok, err = iso:join(20)
    assert.is_false(ok)
    assert.equal("task failed", tostring(err))
    assert.equal("failed", iso:status())
  end)

  if lua.is_host then
    it("give status 1, wherever they are", function()
      for _, body in ipairs {
        'isolate.spawn(function() isolate.async(error, "x") end) isolate.wait()',
        [[isolate.spawn({ errors_fatal = false }, function() isolate.after(0, error) end)
          isolate.wait()]],
        'isolate.spawn(function() isolate.sleep(0.03) error "x" end)',
      } do
        local n, exit = status(body)
        assert.equal(1, n)
        assert.equal(1, exit)
      end
    end)
  end
end)
