-- heap_spec.lua - regressions: large blocks that grow, and a heap that is full.
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

local await, failure, scale = settle.await, settle.failure, settle.scale

-- KiB of memory that this process has.
local function resident()
  return tonumber(shell.read "/proc/self/status":match "VmRSS:%s*(%d+)")
end

describe("the heap of an isolate", function()
  -- Blocks side by side: neither can grow in place each time.
  it("keeps what two large tables hold that grow in turn", function()
    local result = lua.source([[
      local isolate = require "isolate"
      local n = math.tointeger(arg[1])
      local future = isolate.run(function()
        local t, u = {}, {}
        for i = 1, n do t[i], u[i] = i, -i end
        for i = 1, n do
          if t[i] ~= i or u[i] ~= -i then return i end
        end
        return #t == n and #u == n
      end)
      print(future:await())
    ]], { scale(1200000, 300000) })
    assert.equal("", result.stderr)
    assert.equal("true\n", result.stdout)
    assert.equal(0, result.status)
  end)

  it("keeps large strings that grow in turn", function()
    assert.is_true(await(isolate.run(function()
      local a, b = ("a"):rep(1 << 19), ("b"):rep(1 << 19)
      for _ = 1, 4 do a, b = a .. a, b .. b end
      return #a == 1 << 23 and not a:find "[^a]" and #b == 1 << 23 and not b:find "[^b]"
    end)))
  end)
end)

describe("an isolate whose memory is full", function()
  it("gets errors from isolate.run, and they leave nothing behind", function()
    local function lacking(n)
      return await(isolate.run({ memory = "3MB" }, function()
        local hold, lacked = {}, 0
        local function fn() end
        for s = 14, 4, -1 do
          while pcall(function() hold[#hold + 1] = ("x"):rep(2 ^ s) .. #hold end) do end
        end
        for _ = 1, n do
          local ok, err = pcall(isolate.run, fn, io.stdout)
          if not ok and err == "not enough memory" then lacked = lacked + 1 end
        end
        hold = nil -- luacheck: ignore
        return lacked
      end))
    end
    local before, n = 0, scale(20000, 1000)
    for _ = 1, 5 do -- what the last one had may just have been given back
      assert.equal(1000, lacking(1000))
      before = math.max(before, resident())
    end
    assert.equal(n, lacking(n))
    if not settle.sanitized then assert.is_true(resident() - before < 2048) end
  end)

  it("can be killed: the traceback is noted if there is memory for it", function()
    local future = isolate.run({ memory = "1MB", timeout = 0.2 }, function()
      local hold = {}
      local function fill(size) hold[#hold + 1] = ("x"):rep(size) .. #hold end
      for s = 14, 3, -1 do
        while pcall(fill, 2 ^ s) do end
      end
      while true do end
    end)
    local err = failure(future)
    assert.equal("timeout", err.code)
    local traceback = future:traceback()
    assert.is_true(traceback == nil or type(traceback) == "string")
  end)

  it("can be killed deep in a recursion", function()
    -- lua_getstack walks all levels, one cache miss each where a sanitizer has scattered them.
    local depth = scale(150000, 20000)
    local future = isolate.run({ timeout = 0.1 }, function()
      local function deep(n)
        if n == 0 then while true do end end
        return (deep(n - 1))
      end
      return deep(depth)
    end)
    assert.equal("timeout", failure(future).code)
    assert.matches("stack traceback:", future:traceback(), 1, true)
    assert.matches("skipping %d+ levels", future:traceback())
  end)
end)
