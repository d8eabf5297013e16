-- future_spec.lua - futures: waiting, cancelling, combining, and errors that nobody looks at.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV 512 542

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local await, failure = settle.await, settle.failure

local function endless() while true do end end

local function quick(...) return isolate.run(function(...) return ... end, ...) end

local function failing(value) return isolate.run(function(v) error(v, 0) end, value) end

local function is_cancelled(future)
  local err = failure(future)
  assert.is_table(err)
  assert.equal("cancelled", err.code)
  return err
end

-- A function for an isolate that returns `value` once the file `path` has something in it.
local function when_written(path, value)
  return function()
    while true do
      local file <close> = assert(io.open(path))
      if file:read(1) then return value end
    end
  end
end

-- Runs a script of its own, and gives what it printed on stderr.
local function script(text, status)
  local result = lua.source(text)
  if status then assert.equal(status, result.status) end
  return result.stderr, result.stdout
end

describe("isolate.future", function()
  describe(":await()", function()
    it("gives the results, again and again", function()
      local future = isolate.run({ timeout = settle.limit }, function() return 1, nil, "x" end)
      for _ = 1, 3 do
        assert.same({ n = 3, 1, nil, "x" }, table.pack(future:await()))
      end
    end)

    it("gives the very same values each time", function()
      local future = quick {}
      local first = await(future)
      assert.equal(first, (future:await()))
      assert.equal(first, select(2, future:try()))
    end)

    it("raises the error, the very same each time", function()
      local future = failing { code = "mine" }
      local first = failure(future)
      local ok, second = pcall(function() return future:await() end)
      assert.is_false(ok)
      assert.equal(first, second)
      assert.equal("mine", first.code)
    end)

    it("waits for a function that takes its time", function()
      assert.equal(300000, (isolate.run({ timeout = settle.limit }, function()
        local n = 0
        for _ = 1, 300000 do n = n + 1 end
        return n
      end):await()))
    end)

    it("waits in a coroutine of the user's own", function()
      local co = coroutine.wrap(function(future) return (future:await()) end)
      assert.equal("inside", co(quick "inside"))
    end)

    it("waits across calls of C functions", function()
      assert.equal("aabbcc", (("abc"):gsub(".", function(c)
        return (quick(c .. c):await())
      end)))
      local list = { 3, 1, 2 }
      table.sort(list, function(a, b) return (quick(a < b):await()) end)
      assert.same({ 1, 2, 3 }, list)
    end)
  end)

  describe(":try()", function()
    it("gives true and the results", function()
      assert.same({ n = 4, true, 1, nil, 3 }, table.pack(quick(1, nil, 3):try(settle.limit)))
      assert.same({ n = 1, true }, table.pack(quick():try(settle.limit)))
    end)

    it("gives false and the error, and does not raise", function()
      assert.same({ n = 2, false, "boom" }, table.pack(failing "boom":try(settle.limit)))
    end)

    it("gives nil and 'timeout' when the time is over", function()
      local future <close> = isolate.run(endless)
      assert.same({ n = 2, nil, "timeout" }, table.pack(future:try(0)))
      local start = settle.now()
      assert.same({ n = 2, nil, "timeout" }, table.pack(future:try(0.05)))
      assert.is_true(settle.now() - start >= 0.045)
    end)

    it("can be tried again", function()
      local path = os.tmpname()
      local future = isolate.run(when_written(path, "late"))
      assert.is_nil((future:try(0.01)))
      shell.write("x", path)
      assert.equal("late", (await(future)))
      os.remove(path)
    end)

    it("waits for ever without a timeout", function()
      local future = isolate.run({ timeout = settle.limit }, function() return 1 end)
      assert.same({ true, 1 }, { future:try() })
    end)
  end)

  describe(":done()", function()
    it("is false until the future is settled, then true", function()
      local future <close> = isolate.run(endless)
      assert.is_false(future:done())
      future:cancel()
      assert.is_true(future:done())
    end)

    it("becomes true with nobody waiting", function()
      local good, bad = quick(1), failing "x"
      assert.is_true(settle.eventually(function() return good:done() and bad:done() end))
      failure(bad)
    end)
  end)

  describe(":cancel()", function()
    it("fails the future with cancelled and the reason", function()
      local future = isolate.run({ name = "victim" }, endless)
      future:cancel "no longer needed"
      local err = is_cancelled(future)
      assert.matches("no longer needed", err.message, 1, true)
      assert.equal(err.message, tostring(err))
      assert.equal("victim", err.isolate)
    end)

    it("needs no reason", function()
      local future = isolate.run(endless)
      future:cancel()
      is_cancelled(future)
    end)

    it("kills the isolate behind it", function()
      isolate.run(endless):cancel()
      local before = live.count()
      local futures = {}
      for i = 1, 5 do
        futures[i] = isolate.run(function() while true do pcall(endless) end end)
      end
      for i = 1, 5 do futures[i]:cancel() end
      futures = nil -- luacheck: ignore
      assert.equal("", live.left_since(before))
    end)

    it("does nothing to a future that is settled", function()
      local future = quick(1)
      await(future)
      future:cancel "too late"
      assert.equal(1, (await(future)))
      local cancelled = isolate.run(endless)
      cancelled:cancel "first"
      cancelled:cancel "second"
      assert.matches("first", is_cancelled(cancelled).message, 1, true)
    end)

    it("wakes who waits for it", function()
      local future = isolate.run(endless)
      local waited
      quick(1):on_done(function() future:cancel "from a callback" end)
      waited = is_cancelled(future)
      assert.matches("from a callback", waited.message, 1, true)
    end)
  end)

  describe(":traceback()", function()
    it("is nil without an error", function()
      local future = quick(1)
      await(future)
      assert.is_nil(future:traceback())
    end)

    it("shows where the error was raised, and its callers", function()
      local line = debug.getinfo(1, "l").currentline
      local function inner() error "deep" end
      local future = isolate.run(function()
        inner()
        return 1
      end)
      assert.matches("deep", failure(future))
      local traceback = future:traceback()
      assert.is_string(traceback)
      assert.matches("stack traceback:", traceback, 1, true)
      local at = traceback:find("future_spec.lua:" .. line + 1 .. ":", 1, true)
      local caller = traceback:find("future_spec.lua:" .. line + 3 .. ":", 1, true)
      assert.is_number(at)
      assert.is_number(caller)
    end)

    it("is there for errors of any type", function()
      for _, value in ipairs { { 1 }, 42, false } do
        local future = failing(value)
        failure(future)
        assert.matches("future_spec%.lua:%d+", future:traceback())
      end
      local future = isolate.run(function() error(nil) end)
      assert.is_false((future:try(settle.limit)))
      assert.matches("future_spec%.lua:%d+", future:traceback())
      future = isolate.run(function() error(io.stdout) end)
      failure(future)
      assert.matches("future_spec%.lua:%d+", future:traceback())
    end)

    it("shows both sides of an error that crossed two isolates", function()
      local line = debug.getinfo(1, "l").currentline
      local future = isolate.run(function()
        isolate.run(function()
          error "far away"
        end):await()
      end)
      assert.matches("far away", failure(future))
      local traceback = future:traceback()
      local far = traceback:find("future_spec.lua:" .. line + 3 .. ":", 1, true)
      local near = traceback:find("in function <[^\n]*future_spec.lua:" .. line + 1)
      assert.is_number(far)
      assert.is_number(near)
      assert.is_true(far < near)
    end)
  end)

  describe(":on_done()", function()
    it("calls with true and the results", function()
      local future, got = quick(1, nil, 3), nil
      future:on_done(function(...) got = table.pack(...) end)
      assert.is_nil(got)
      await(future)
      await(quick())
      assert.same({ n = 4, true, 1, nil, 3 }, got)
    end)

    it("calls with false and the error", function()
      local future, got = failing "boom", nil
      future:on_done(function(...) got = table.pack(...) end)
      await(quick())
      failure(future)
      await(quick())
      assert.same({ n = 2, false, "boom" }, got)
    end)

    it("calls from the event loop: while another future is awaited", function()
      local path = os.tmpname()
      local called = false
      quick "x":on_done(function()
        called = true
        shell.write("x", path)
      end)
      -- This one ends only once the callback has run.
      assert.equal("after", (await(isolate.run(when_written(path, "after")))))
      assert.is_true(called)
      os.remove(path)
    end)

    it("does not call at once for a future that is settled", function()
      local future, called = quick(1), false
      await(future)
      future:on_done(function() called = true end)
      assert.is_false(called)
      await(quick())
      assert.is_true(called)
    end)

    it("calls all its functions, in order, once", function()
      local future, order = quick(1), {}
      for i = 1, 5 do future:on_done(function() order[#order + 1] = i end) end
      await(future)
      await(quick())
      await(quick())
      assert.same({ 1, 2, 3, 4, 5 }, order)
    end)

    it("lets the function wait, too", function()
      local got
      quick(1):on_done(function(_, n) got = quick(n + 1):await() end)
      assert.is_true(settle.eventually(function()
        await(quick())
        return got ~= nil
      end))
      assert.equal(2, got)
    end)

    it("calls for cancelled futures", function()
      local future, code = isolate.run(endless), nil
      future:on_done(function(_, err) code = err.code end)
      future:cancel()
      await(quick())
      assert.equal("cancelled", code)
    end)
  end)

  describe("as a to-be-closed variable", function()
    it("is cancelled when it is not done", function()
      local kept
      do
        local future <close> = isolate.run(endless)
        kept = future
      end
      is_cancelled(kept)
    end)

    it("is cancelled when an error leaves the scope", function()
      local kept
      pcall(function()
        local future <close> = isolate.run(endless)
        kept = future
        error "out"
      end)
      is_cancelled(kept)
    end)

    it("keeps its results when it is done", function()
      local kept
      do
        local future <close> = quick(1)
        await(future)
        kept = future
      end
      assert.equal(1, (await(kept)))
    end)
  end)

  it("that is collected does not cancel its isolate", function()
    local gate, path = os.tmpname(), os.tmpname()
    local wait = when_written(gate, "go")
    isolate.run(function()
      wait()
      local file <close> = assert(io.open(path, "w"))
      file:write "finished"
    end)
    collectgarbage()
    collectgarbage()
    shell.write("x", gate)
    assert.is_true(settle.eventually(function() return shell.read(path) == "finished" end))
    os.remove(gate)
    os.remove(path)
  end)

  describe(".isolate", function()
    it("is the handle of its isolate", function()
      local future <close> = isolate.run({ name = "worker" }, endless)
      local handle = future.isolate
      assert.equal("worker", handle.name)
      assert.equal("integer", math.type(handle.id))
      assert.is_true(handle == future.isolate)
      assert.is_string(tostring(handle))
      assert.is_string(debug.getmetatable(handle).__name)
      assert.is_not_table(getmetatable(handle))
    end)

    it("has an id of its own for each isolate, fit as a key", function()
      local seen = {}
      for _ = 1, 20 do
        local future = quick()
        assert.is_nil(seen[future.isolate.id])
        seen[future.isolate.id] = true
        await(future)
      end
    end)

    it("stays when the isolate is gone", function()
      local future = isolate.run({ name = "gone" }, function() end)
      await(future)
      live.count()
      assert.equal("gone", future.isolate.name)
    end)
  end)

  describe("as a value", function()
    it("has a text, a type name and a locked metatable", function()
      local future = isolate.run({ name = "worker" }, function() end)
      assert.matches("future", tostring(future))
      assert.matches("future", debug.getmetatable(future).__name)
      assert.is_not_table(getmetatable(future))
      assert.is_false((pcall(setmetatable, future, {})))
      await(future)
    end)

    it("raises for misuse, with the caller's position", function()
      local future = quick(1)
      await(future)
      for _, misuse in ipairs {
        function() future.await() end,
        function() future.await {} end,
        function() future:try "soon" end,
        function() future:try {} end,
        function() future:on_done(5) end,
        function() future:on_done() end,
        function() future.x = 1 end,
        function() isolate.all(5) end,
        function() isolate.all { 5 } end,
        function() isolate.race { future, "x" } end,
        function() isolate.as_completed { {} } end,
      } do
        local ok, err = pcall(misuse)
        assert.is_false(ok)
        assert.matches("future_spec%.lua:%d+: ", err)
      end
    end)
  end)
end)

describe("isolate.all()", function()
  it("gives the first results, in the order of the list", function()
    local path = os.tmpname()
    local slow = isolate.run(when_written(path, "slow"))
    local fast = quick("fast", "second result")
    fast:on_done(function() shell.write("x", path) end)
    assert.same({ "slow", "fast", 3 }, (await(isolate.all { slow, fast, quick(3) })))
    os.remove(path)
  end)

  it("gives an empty list for an empty list", function()
    assert.same({}, (await(isolate.all {})))
  end)

  it("takes futures that are settled, and one twice", function()
    local future = quick(1)
    await(future)
    assert.same({ 1, 1 }, (await(isolate.all { future, future })))
  end)

  it("fails as soon as one fails, and cancels the rest", function()
    local first, rest = isolate.run(endless), isolate.run(endless)
    assert.equal("boom", failure(isolate.all { first, failing "boom", rest }))
    is_cancelled(first)
    is_cancelled(rest)
  end)

  it("cancels all when it is cancelled", function()
    local a, b = isolate.run(endless), isolate.run(endless)
    local future = isolate.all { a, b }
    future:cancel()
    is_cancelled(future)
    is_cancelled(a)
    is_cancelled(b)
  end)

  it("takes futures of itself", function()
    assert.same({ { 1 }, { 2, 3 } },
      (await(isolate.all { isolate.all { quick(1) }, isolate.all { quick(2), quick(3) } })))
  end)
end)

describe("isolate.race()", function()
  it("gives the results of the first to end, and cancels the rest", function()
    local slow = isolate.run(endless)
    local results = table.pack(await(isolate.race { slow, quick(1, 2) }))
    assert.same({ n = 2, 1, 2 }, results)
    is_cancelled(slow)
  end)

  it("fails when the first to end failed", function()
    local slow = isolate.run(endless)
    assert.equal("boom", failure(isolate.race { slow, failing "boom" }))
    is_cancelled(slow)
  end)

  it("takes a future that is settled", function()
    local future, slow = quick "settled", isolate.run(endless)
    await(future)
    assert.equal("settled", (await(isolate.race { slow, future })))
    is_cancelled(slow)
  end)
end)

describe("isolate.as_completed()", function()
  it("goes through the futures as they end, with their index", function()
    local paths, order = { os.tmpname(), os.tmpname() }, {}
    local futures = {
      isolate.run(when_written(paths[1], "last")),
      isolate.run(when_written(paths[2], "second")),
      quick "first",
    }
    for i, ok, value in isolate.as_completed(futures) do
      assert.is_true(ok)
      order[#order + 1] = i .. value
      if i > 1 then shell.write("x", paths[i - 1]) end
    end
    assert.same({ "3first", "2second", "1last" }, order)
    for _, path in ipairs(paths) do os.remove(path) end
  end)

  it("gives errors as values", function()
    local seen = {}
    for i, ok, value in isolate.as_completed { failing "boom", quick(1) } do
      seen[i] = { ok, value }
    end
    assert.same({ { false, "boom" }, { true, 1 } }, seen)
  end)

  it("gives all the results", function()
    for i, ok, a, b, c in isolate.as_completed { quick(1, nil, 3) } do
      assert.same({ n = 5, 1, true, 1, nil, 3 }, table.pack(i, ok, a, b, c))
    end
  end)

  it("does nothing for an empty list", function()
    for _ in isolate.as_completed {} do error "never" end
  end)

  it("may be left early", function()
    local slow <close> = isolate.run(endless)
    local first
    for i in isolate.as_completed { slow, quick(1) } do
      first = i
      break
    end
    assert.equal(2, first)
  end)
end)

describe("an error that nobody looked at", function()
  it("is printed when the program ends, with name and traceback", function()
    local stderr = script [[
      local isolate = require "isolate"
      KEPT = isolate.run({ name = "lonely" }, function()
        error "lost error"
      end)
    ]]
    assert.matches("lost error", stderr, 1, true)
    assert.matches("lonely", stderr, 1, true)
    assert.matches("stack traceback:", stderr, 1, true)
    assert.matches(":3:", stderr, 1, true)
    assert.equal(1, select(2, stderr:gsub("lost error", "")))
  end)

  it("is printed when the future is collected", function()
    local stderr = script [[
      local isolate = require "isolate"
      local future = isolate.run({ name = "lonely" }, function() error "lost error" end)
      while not future:done() do isolate.run(function() end):await() end
      future = nil
      collectgarbage()
      collectgarbage()
      isolate.run(function() end):await()
      io.stderr:write "after\n"
    ]]
    local lost, after = stderr:find("lost error", 1, true), stderr:find("after\n", 1, true)
    assert.is_number(lost)
    assert.is_number(after)
    assert.is_true(lost < after)
    assert.matches("lonely", stderr, 1, true)
    assert.matches("stack traceback:", stderr, 1, true)
  end)

  it("is printed when it is no string", function()
    local stderr = script [[
      local isolate = require "isolate"
      local mt = { __tostring = function() return "own text" end }
      A = isolate.run(function() error(setmetatable({}, mt)) end)
      B = isolate.run({ name = "second" }, function() error(nil) end)
      C = isolate.run({ name = "third" }, function() error { 1 } end)
      D = isolate.run(function() os.exit(3) end)
    ]]
    assert.matches("own text", stderr, 1, true)
    assert.matches("second", stderr, 1, true)
    assert.matches("third", stderr, 1, true)
  end)

  it("is not printed when somebody looked", function()
    assert.equal("", (script([[
      local isolate = require "isolate"
      local function fail() error "seen" end
      local a, b, c, d, e = isolate.run(fail), isolate.run(fail), isolate.run(fail),
        isolate.run(fail), isolate.run(fail)
      assert(not pcall(function() a:await() end))
      assert(not b:try(20))
      c:on_done(function(ok) assert(not ok) end)
      assert(not isolate.all { d }:try(20))
      for _, ok in isolate.as_completed { e } do assert(not ok) end
      isolate.run(function() end):await()
    ]], 0)))
  end)

  it("is not printed for futures that were cancelled", function()
    assert.equal("", (script([[
      local isolate = require "isolate"
      local function endless() while true do end end
      isolate.run(endless):cancel()
      do local future <close> = isolate.run(endless) end
      isolate.race { isolate.run(endless), isolate.run(function() end) }:await()
      collectgarbage()
    ]], 0)))
  end)

  it("is printed at once when it comes from a callback", function()
    local stderr = script [[
      local isolate = require "isolate"
      local future = isolate.run(function() end)
      future:on_done(function() error "in a callback" end)
      future:await()
    ]]
    assert.matches("in a callback", stderr, 1, true)
    assert.matches("stack traceback:", stderr, 1, true)
  end)
end)
