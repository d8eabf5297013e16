-- closing_spec.lua - regressions: the end of an isolate, and the end of the program.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/spec_.* 112/spec_.* 211/_ENV

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert, pending = describe, it, assert, pending
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local await = settle.await

-- A test of what the host does and stock Lua does not.
local function host_only(name, fn)
  if lua.is_host then it(name, fn) else pending(name .. " (host only)") end
end

describe("the end of an isolate", function()
  it("cuts off a finalizer that never ends, also without a kill", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local future = isolate.run(function()
        spec_kept = setmetatable({}, { __gc = function() while true do end end })
        return 1
      end)
      print(future:await())
      os.execute "sleep 0.4" -- the grace is 0.1 s
      local before = os.clock()
      os.execute "sleep 0.2"
      print(os.clock() - before < 0.05, future.isolate:status())
    ]]
    assert.equal("", result.stderr)
    assert.equal("1\ntrue\tdone\n", result.stdout)
    assert.equal(0, result.status)
  end)

  it("leaves nothing behind when its finalizers never end", function()
    await(isolate.run(function() end))
    local before = live.count()
    assert.equal(2, (await(isolate.run({ timeout = settle.limit }, function()
      spec_kept = setmetatable({}, { __gc = function() while true do pcall(error) end end })
      return 2
    end))))
    assert.equal("", live.left_since(before))
  end)

  it("refuses handlers that finalizers give to futures", function()
    local path = os.tmpname()
    await(isolate.run(function()
      local future = isolate.run(function()
        local stop = isolate.now() + 0.05
        while isolate.now() < stop do end
      end)
      spec_kept = setmetatable({}, { __gc = function()
        local ok, err = pcall(future.on_done, future, function() end)
        shell.write(tostring(ok) .. " " .. tostring(err), path)
      end })
    end))
    assert.is_truthy(settle.eventually(function() return shell.read(path) ~= "" end))
    local text = shell.read(path)
    os.remove(path)
    assert.matches("^false .*the isolate is ending: it starts and gets nothing any more", text)
    await(isolate.run(function() end))
  end)

  it("closes coroutines that close one another, thousands deep", function()
    local result = lua.source [[
      local isolate = require "isolate"
      print(isolate.run(function()
        local last
        for _ = 1, 20000 do
          local inner = last
          local co = coroutine.create(function()
            local _ <close> = setmetatable({}, {
              __close = function() if inner then coroutine.close(inner) end end,
            })
            coroutine.yield()
          end)
          coroutine.resume(co)
          last = co
        end
        return type(coroutine.close(last))
      end):try(20))
      os.exit(0)
    ]]
    assert.equal("", result.stderr)
    assert.equal("true\tboolean\n", result.stdout)
    assert.equal(0, result.status)
  end)
end)

describe("os.exit(0, true) in main", function()
  local text = [[
    local isolate = require "isolate"
    local future = isolate.run({ name = "busy", timeout = 0.2 }, function() while true do end end)
    isolate.run(function() end):on_done(function() os.exit(0, true) end)
    future:await()
  ]]

  it("closes the state from a handler that a wait calls", function()
    for _ = 1, settle.scale(4, 2) do
      local result = lua.source(text)
      assert.equal(0, result.status)
      assert.equal("", result.stdout)
    end
  end)

  host_only("does not wait, and names what still ran", function()
    local result = lua.source((text:gsub("timeout = 0.2", "timeout = 60")))
    assert.equal("1 isolate still running at the end: 'busy'\n", result.stderr)
    assert.is_true(result.seconds < 30)
  end)
end)

describe("an error in a future that nobody looked at", function()
  host_only("gives exit status 1, each time", function()
    local path = shell.write [[
      local isolate = require "isolate"
      KEPT = isolate.run({ name = "lonely" }, function() error("lost", 0) end)
    ]]
    for _ = 1, settle.scale(20, 5) do
      local result = lua.file(path)
      assert.equal(1, result.status)
      assert.equal("uncaught error in isolate 'lonely': lost",
        result.stderr:match "^[^\n]*")
    end
    os.remove(path)
  end)

  host_only("gives exit status 1, each time, when the future is garbage", function()
    local path = shell.write [[
      local isolate = require "isolate"
      isolate.run(function() error("lost", 0) end)
      collectgarbage()
    ]]
    for _ = 1, settle.scale(20, 5) do assert.equal(1, lua.file(path).status) end
    os.remove(path)
  end)
end)

describe("an error of main, when isolates still run", function()
  host_only("ends the program, and one line names them", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local function endless() while true do pcall(function() while true do end end) end end
      isolate.run({ name = "first" }, endless)
      isolate.run({ name = "second" }, endless)
      isolate.run({ name = "over" }, function() end):await()
      error "main fails"
    ]]
    assert.equal(1, result.status)
    assert.matches("main fails", result.stderr, 1, true)
    local names, rest = result.stderr:match "\n2 isolates still running at the end: ([^\n]*)\n(.*)"
    assert.is_true(names == "'first', 'second'" or names == "'second', 'first'", result.stderr)
    assert.equal("", rest)
  end)

  host_only("says nothing of isolates when none does", function()
    local result = lua.source [[
      local isolate = require "isolate"
      isolate.run(function() end):await()
      error "main fails"
    ]]
    assert.equal(1, result.status)
    assert.is_nil(result.stderr:find("still running", 1, true))
  end)
end)

describe("a finalizer that runs while the state is closed", function()
  it("is told that it can start nothing any more", function()
    local path = os.tmpname()
    assert.is_true((isolate.run(function()
      spec_kept = setmetatable({}, { __gc = function()
        local ok, err = pcall(isolate.run, function() end)
        local file = assert(io.open(path, "w"))
        file:write(tostring(ok), " ", tostring(err))
        file:close()
      end })
      return true
    end):await()))
    assert.is_true(settle.eventually(function()
      local file = io.open(path)
      local text = file and file:read "a" or ""
      if file then file:close() end
      return text:find("false the isolate is ending", 1, true) ~= nil
    end))
    os.remove(path)
  end)
end)
