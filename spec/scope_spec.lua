-- scope_spec.lua - isolate.scope: children, failures, the ways out.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV 512

-- Functions that are sent want the real globals, not those that busted gives.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"

it = live.checking(it)

local misuse = require "spec.support.misuse" "scope_spec"

-- Says in the cell that it has begun (1) and is over (2).
local function endless(cell)
  local _ <close> = setmetatable({}, { __close = function() cell:store(2) end })
  cell:store(1)
  while true do end
end

local function serve(cell)
  local _ <close> = setmetatable({}, { __close = function() cell:store(2) end })
  cell:store(1)
  require "isolate".inbox():receive()
end

local function started(cell, limit)
  local deadline = isolate.now() + (limit or settle.limit)
  repeat
    isolate.sleep(0.001) -- the tasks of this isolate start, too
    assert(isolate.now() < deadline, "a child has not begun")
  until cell:load() ~= 0
  return cell
end

local function cells(n)
  local list = {}
  for i = 1, n do list[i] = isolate.atomic(0) end
  return table.unpack(list)
end

local function fail(text) error(text, 0) end

-- Tasks that record how they have ended.
local function sleeper(log, seconds)
  local _ <close> = setmetatable({}, { __close = function(_, err)
    log[#log + 1] = err and (type(err) == "table" and err.code or err) or "done"
  end })
  isolate.sleep(seconds)
end

describe("isolate.scope()", function()
  it("waits for runs, isolates and tasks as it is left", function()
    local a, b = cells(2)
    local log = {}
    local function later(cell)
      require "isolate".sleep(0.05)
      cell:store(2)
    end
    do
      local s <close> = isolate.scope()
      s:run(later, a)
      s:spawn(later, b)
      s:async(sleeper, log, 0.05)
    end
    assert.same({ 2, 2, "done" }, { a:load(), b:load(), log[1] })
  end)

  it("gives what isolate.run, spawn and async give", function()
    local s <close> = isolate.scope()
    local future = s:run({ name = "adder" }, function(x, y) return x + y, nil end, 1, 2)
    assert.equal("adder", future.isolate.name)
    assert.same({ n = 2, 3, nil }, table.pack(future:await()))
    local iso = s:spawn({ name = "echo" }, function(...) return ... end, 1, nil)
    assert.equal("echo", iso.name)
    assert.same({ n = 3, true, 1, nil }, table.pack(iso:join(settle.limit)))
    assert.same({ n = 2, 4, 5 }, table.pack(s:async(function(...) return ... end, 4, 5):await()))
  end)

  it("waits as it is left by break, return and goto", function()
    local log = {}
    for _ = 1, 2 do
      local s <close> = isolate.scope()
      s:async(sleeper, log, 0.01)
      break
    end
    assert.same({ "done" }, log)
    assert.equal("result", (function()
      local s <close> = isolate.scope()
      s:async(sleeper, log, 0.01)
      return "result"
    end)())
    assert.equal(2, #log)
    do
      local s <close> = isolate.scope()
      s:async(sleeper, log, 0.01)
      goto out
    end
    ::out::
    assert.equal(3, #log)
  end)

  it("waits in coroutine.close", function()
    local log = {}
    local co = coroutine.create(function()
      local s <close> = isolate.scope()
      s:async(sleeper, log, 0.01)
      coroutine.yield()
    end)
    coroutine.resume(co)
    assert.is_true(coroutine.close(co))
    assert.same({ "done" }, log)
  end)

  it("cancels and kills all, and waits for them, as it is left by an error", function()
    local a, b = cells(2)
    local log = {}
    local problem = { "the body's own" }
    local ok, err = pcall(function()
      local s <close> = isolate.scope()
      s:run(endless, a)
      s:spawn(serve, b)
      s:async(sleeper, log, 60)
      started(a)
      started(b)
      error(problem)
    end)
    assert.is_false(ok)
    assert.equal(problem, err)
    assert.same({ 2, 2, "cancelled" }, { a:load(), b:load(), log[1] })
  end)

  for _, kind in ipairs { "run", "spawn", "async" } do
    it("cancels the others when one fails, and raises that: " .. kind, function()
      local a, b = cells(2)
      local log = {}
      local ok, err = pcall(function()
        local s <close> = isolate.scope()
        s:run(endless, a)
        s:spawn(serve, b)
        s:async(sleeper, log, 60)
        started(a)
        started(b)
        s[kind](s, fail, "the first")
      end)
      assert.is_false(ok)
      assert.equal("the first", err)
      assert.same({ 2, 2, "cancelled" }, { a:load(), b:load(), log[1] })
    end)

    it("cancels them while its body goes on: " .. kind, function()
      local a = cells(1)
      assert.equal("the first", select(2, pcall(function()
        local s <close> = isolate.scope()
        local other = s:run(endless, a)
        started(a)
        s[kind](s, fail, "the first")
        assert.equal("cancelled", settle.failure(other).code)
        assert.equal("cancelled", select(2, pcall(s.run, s, fail)).code)
      end)))
      assert.equal(2, a:load())
    end)
  end

  it("raises what was first, not what that has led to", function()
    local a = cells(1)
    assert.equal("the first", select(2, pcall(function()
      local s <close> = isolate.scope()
      local other = s:run(endless, a)
      started(a)
      s:run(fail, "the first")
      other:await()
    end)))
    assert.equal("the first", select(2, pcall(function()
      local s <close> = isolate.scope()
      local rx, tx = isolate.port()
      s:run(function() local _ = tx; fail "the first" end)
      tx:close()
      assert(rx:receive())
    end)))
  end)

  it("raises an error that was awaited in it once, as the same value", function()
    local closes = 0
    local ok, err = pcall(function()
      local s <close> = isolate.scope()
      local _ <close> = setmetatable({}, { __close = function() closes = closes + 1 end })
      s:run(function() error { status = 404 } end):await()
    end)
    assert.is_false(ok)
    assert.equal(404, err.status)
    assert.equal(1, closes)
    local seen
    ok, err = pcall(function()
      local s <close> = isolate.scope()
      seen = settle.failure(s:run(function() error { status = 404 } end))
    end)
    assert.is_false(ok)
    assert.equal(seen, err)
  end)

  it("prints an error that it raises not once more", function()
    local result = lua.source [[
      local isolate = require "isolate"
      for _, kind in ipairs { "run", "spawn", "async" } do
        for _, busy in ipairs { false, true } do
          print(pcall(function()
            local s <close> = isolate.scope()
            s[kind](s, function() error("no luck", 0) end)
            if busy then os.execute "sleep 0.1" end
            s[kind](s, function() error("no luck either", 0) end)
          end))
        end
      end
      collectgarbage()
    ]]
    assert.equal("", result.stderr)
    for line in result.stdout:gmatch "[^\n]+" do assert.matches("^false\tno luck", line) end
    assert.equal(0, result.status)
  end)

  it("keeps the traceback of the child", function()
    for _, kind in ipairs { "run", "spawn" } do
      local result = lua.source(([[
        local isolate = require "isolate"
        local function deep() error "far away" end
        local s <close> = isolate.scope()
        s:%s(function() deep() end)
      ]]):format(kind))
      assert.equal(1, result.status)
      assert.matches("far away", result.stderr, 1, true)
      if lua.is_host then assert.matches("in upvalue 'deep'", result.stderr, 1, true) end
    end
  end)

  it("is not failed by children that were ended on purpose", function()
    local a, b = cells(2)
    do
      local s <close> = isolate.scope()
      local future, iso = s:run(endless, a), s:spawn(serve, b)
      started(a)
      started(b)
      assert.is_true(future:cancel())
      iso:kill()
      s:async(sleeper, {}, 60):cancel()
      s:spawn(isolate.exit)
      assert.equal(1, s:run(function() return 1 end):await())
    end
    assert.same({ 2, 2 }, { a:load(), b:load() })
  end)

  it("fails by a run that gives no result, or over its own limits", function()
    for code, start in pairs {
      exited = function(s) s:run(isolate.exit) end,
      timeout = function(s) s:run({ timeout = 0.05 }, function() while true do end end) end,
      memory = function(s)
        s:spawn({ memory = "4MB" }, function() return ("x"):rep(100000000) end)
      end,
    } do
      local ok, err = pcall(function()
        local s <close> = isolate.scope()
        start(s)
      end)
      assert.is_false(ok)
      assert.equal(code, err.code)
    end
  end)

  it("ends with the isolate that it is in when that is killed", function()
    local a, b, left = cells(3)
    for _, inside in ipairs { true, false } do
      a:store(0)
      b:store(0)
      local parent = isolate.spawn(function()
        local here = require "isolate"
        local _ <close> = setmetatable({}, { __close = function() left:store(1) end })
        local s <close> = here.scope()
        s:run(endless, a)
        s:spawn(serve, b)
        if inside then here.sleep(60) end
      end)
      started(a)
      started(b)
      parent:kill { grace = settle.limit }
      assert.equal("killed", select(2, parent:join(settle.limit)).code)
      assert.same({ 2, 2, 1 }, { a:load(), b:load(), left:load() })
    end
  end)

  it("ends with the task that it is in when that is cancelled", function()
    for _, inside in ipairs { true, false } do
      local a, over = cells(2)
      local log = {}
      local task = isolate.async(function()
        local _ <close> = setmetatable({}, { __close = function() over:store(1) end })
        local s <close> = isolate.scope()
        s:run(endless, a)
        s:async(sleeper, log, 60)
        if inside then isolate.sleep(60) end
      end)
      started(a)
      task:cancel()
      started(over)
      assert.same({ 2, "cancelled" }, { a:load(), log[1] })
    end
  end)

  it("can be in another one, and in a child of it", function()
    local a, b = cells(2)
    local log = {}
    local ok, err = pcall(function()
      local outer <close> = isolate.scope()
      outer:run(endless, a)
      outer:async(function()
        local inner <close> = isolate.scope()
        inner:async(sleeper, log, 60)
        inner:run(endless, b)
        isolate.sleep(60)
      end)
      started(a)
      started(b)
      local inner <close> = isolate.scope()
      inner:run(fail, "inner")
    end)
    assert.same({ false, "inner" }, { ok, err })
    assert.same({ 2, 2, "cancelled" }, { a:load(), b:load(), log[1] })
  end)

  it("lets a child start others until it is left", function()
    local log = {}
    local s
    do
      local scope <close> = isolate.scope()
      s = scope
      s:async(function()
        isolate.sleep(0.01)
        s:async(sleeper, log, 0.01)
      end)
    end
    assert.same({ "done" }, log)
    assert.matches("scope 'scope' has been left", misuse(function() s:run(fail) end), 1, true)
    assert.matches("has been left", misuse(function() s:spawn(fail) end), 1, true)
    assert.matches("has been left", misuse(function() s:async(fail) end), 1, true)
  end)

  it("ends with the isolate when it is in a task of it", function()
    local limit = settle.limit
    for _, ends in ipairs { "kill", "exit", "error", "body" } do
      for _, left in ipairs { true, false } do
        local a, b = cells(2)
        local _, errors = isolate.port()
        local parent = isolate.spawn({ on_error = errors }, function()
          local here = require "isolate"
          here.async(function()
            local s <close> = here.scope()
            s:run(endless, a)
            s:spawn(endless, b)
            if not left then here.sleep(60) end
          end)
          local function begun()
            started(a, limit)
            started(b, limit)
          end
          if ends == "error" then
            here.async(function()
              begun()
              error "task"
            end)
          elseif ends == "exit" then
            begun()
            here.exit()
          elseif ends == "body" then
            begun()
            error "body"
          end
          here.sleep(60)
        end)
        started(a)
        started(b)
        if ends == "kill" then parent:kill { grace = settle.limit } end
        assert.is_false((parent:join(settle.limit)))
        assert.same({ 2, 2 }, { a:load(), b:load() }, ends)
      end
    end
  end)

  it("that fails cancels the scopes in its block, which raise what it would", function()
    local a, b, log = cells(1), cells(1), {}
    local ok, err = pcall(function()
      local outer <close> = isolate.scope()
      local inner <close> = isolate.scope()
      local innermost <close> = isolate.scope()
      innermost:run(endless, a)
      inner:async(sleeper, log, settle.limit)
      inner:spawn(endless, b)
      started(a)
      started(b)
      outer:async(function() error("outer", 0) end)
    end)
    assert.same({ false, "outer" }, { ok, err })
    assert.same({ "cancelled" }, log)
    assert.same({ 2, 2 }, { a:load(), b:load() })
  end)

  it("that is cancelled cancels the scopes in its block, which raise nothing", function()
    local outer_starts
    local a = cells(1)
    do
      local outer <close> = isolate.scope()
      isolate.after(0.01, function() outer:cancel() end)
      do
        local inner <close> = isolate.scope()
        inner:run(endless, a)
        assert.is_nil(inner:wait(0))
      end
      outer_starts = pcall(outer.run, outer, endless, a)
    end
    assert.is_false(outer_starts)
  end)

  it("that fails leaves the scopes of other tasks alone", function()
    local other = isolate.async(function()
      local s <close> = isolate.scope()
      s:async(isolate.sleep, 0.05)
      s:wait()
      return "done"
    end)
    isolate.sleep(0)
    assert.is_false((pcall(function()
      local s <close> = isolate.scope()
      s:async(fail, "this one")
    end)))
    assert.equal("done", settle.await(other))
  end)

  it("takes an error of a child for its own, whatever its code is", function()
    local ok, err = pcall(function()
      local s <close> = isolate.scope { timeout = settle.limit }
      s:run(endless, (cells(1)))
      s:spawn(function()
        local here = require "isolate"
        here.run({ name = "victim" }, function()
          require "isolate".self():kill()
          while true do end
        end):await()
      end)
    end)
    assert.same({ false, "isolate 'victim' was killed" }, { ok, tostring(err) })
    for _, code in ipairs { "killed", "exited", "cancelled" } do
      for _, start in ipairs { "run", "spawn", "async" } do
        ok, err = pcall(function()
          local s <close> = isolate.scope { timeout = settle.limit }
          s:run(endless, (cells(1)))
          s[start](s, function() error { code = code } end)
        end)
        assert.same({ false, code }, { ok, err.code }, start)
      end
    end
  end)

  it("raises an error that is nil, too", function()
    assert.is_false((pcall(function()
      local s <close> = isolate.scope()
      s:run(function() error() end)
    end)))
    assert.is_false((pcall(function()
      local s <close> = isolate.scope()
      s:async(function() error(nil) end)
    end)))
  end)

  it("forgets children that are gone", function()
    local s <close> = isolate.scope()
    for _ = 1, 50 do s:async(function() end):await() end
    collectgarbage()
    collectgarbage() -- what finalizers have let go of
    local before = collectgarbage "count"
    for _ = 1, settle.scale(5000, 500) do s:async(function() end):await() end
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 100)
  end)

  it("waits for many children", function()
    local done = isolate.atomic(0)
    do
      local s <close> = isolate.scope()
      for _ = 1, settle.scale(200, 20) do s:run(function() done:add(1) end) end
    end
    assert.equal(settle.scale(200, 20), done:load())
  end)

  it("cannot be sent", function()
    local s = isolate.scope()
    local ok, err = pcall(isolate.run, function() return s end)
    assert.is_false(ok)
    assert.matches("a scope: its children belong to the isolate", err.message, 1, true)
  end)

  it("has a text", function()
    local s <close> = isolate.scope { name = "downloads" }
    assert.matches("^isolate%.scope: downloads %(%d+%)$", tostring(s))
    assert.equal("integer", math.type(s.id))
  end)
end)

describe("isolate.scope { timeout = }", function()
  it("cancels all when the time is over, and raises timeout", function()
    local a = cells(1)
    local log = {}
    local ok, err = pcall(function()
      local s <close> = isolate.scope { name = "hasty", timeout = 0.1 }
      s:run(endless, a)
      s:async(sleeper, log, 60)
    end)
    assert.is_false(ok)
    assert.equal("timeout", err.code)
    assert.equal("scope 'hasty' ran over its time", tostring(err))
    assert.equal("cancelled", log[1])
  end)

  it("raises it for what the body has seen of that", function()
    local ok, err = pcall(function()
      local s <close> = isolate.scope { timeout = 0.05 }
      s:run(function() while true do end end):await()
    end)
    assert.is_false(ok)
    assert.equal("timeout", err.code)
  end)

  it("has no effect on what is faster", function()
    local s <close> = isolate.scope { timeout = 600 }
    assert.equal(1, s:run(function() return 1 end):await())
  end)
end)

describe("scope:wait()", function()
  it("waits for the children there are, and the scope goes on", function()
    local s <close> = isolate.scope()
    local log = {}
    s:async(sleeper, log, 0.01)
    assert.is_true(s:wait())
    assert.same({ "done" }, log)
    s:async(sleeper, log, 0.01)
    assert.is_true(s:wait(settle.limit))
    assert.same({ "done", "done" }, log)
  end)

  it("says timeout", function()
    local s <close> = isolate.scope()
    s:async(sleeper, {}, 60)
    assert.same({ n = 2, nil, "timeout" }, table.pack(s:wait(0.01)))
    s:cancel()
  end)

  it("raises the failure of a child, and leaving does not raise it once more", function()
    local ok, err = pcall(function()
      local s <close> = isolate.scope()
      s:run(fail, "no luck")
      s:wait()
    end)
    assert.same({ false, "no luck" }, { ok, err })
  end)
end)

describe("scope:cancel()", function()
  it("ends all children, and leaving raises nothing", function()
    local a, b = cells(2)
    do
      local s <close> = isolate.scope()
      local future = s:run(endless, a)
      s:spawn(serve, b)
      local unborn = s:async(fail)
      s:cancel "enough"
      assert.equal("enough", settle.failure(future).message)
      assert.equal("cancelled", settle.failure(unborn).code)
      local ok, err = pcall(s.run, s, fail)
      assert.is_false(ok)
      assert.equal("enough", err.message)
    end
    assert.is_true(a:load() ~= 1 and b:load() ~= 1)
  end)
end)

describe("mistakes with scopes", function()
  it("are named", function()
    assert.matches("unknown option 'time' (known: name, timeout)",
      misuse(function() isolate.scope { time = 1 } end), 1, true)
    assert.matches("option 'timeout': a number of seconds expected, got string",
      misuse(function() isolate.scope { timeout = "1" } end), 1, true)
    assert.matches("option 'timeout': more than 0 seconds expected",
      misuse(function() isolate.scope { timeout = 0 } end), 1, true)
    assert.matches("option 'name': a string expected, got number",
      misuse(function() isolate.scope { name = 1 } end), 1, true)
    assert.matches("table of options expected, got string",
      misuse(function() isolate.scope "name" end), 1, true)
    assert.matches("with a dot, not a colon", misuse(function() isolate:scope() end), 1, true)
    local s <close> = isolate.scope()
    assert.matches("call it with a colon, s:run()", misuse(function() s.run(fail) end), 1, true)
    assert.matches("bad argument #1 to 'run' (function or table of options expected, got nil)",
      misuse(function() s:run() end), 1, true)
    assert.matches("bad argument #2 to 'spawn' (function expected, got number)",
      misuse(function() s:spawn({}, 1) end), 1, true)
    assert.matches("bad argument #1 to 'async' (function expected, got table)",
      misuse(function() s:async({}, fail) end), 1, true)
    assert.matches("unknown option 'timout'", misuse(function() s:run({ timout = 1 }, fail) end),
      1, true)
    assert.matches("a timeout is a number of seconds", misuse(function() s:wait "1" end), 1, true)
    assert.matches("bad argument #1 to 'cancel'", misuse(function() s:cancel(1) end), 1, true)
  end)

  it("such as no <close> are told", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local s = isolate.scope { name = "open" }
      s:async(function() error "lost" end)
      isolate.sleep(0.01)
    ]]
    assert.matches("scope 'open' was not closed: declare it as `local s <close> =", result.stderr,
      1, true)
    assert.matches("error in scope 'open': [^\n]*: lost\n", result.stderr)
  end)
end)
