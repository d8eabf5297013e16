-- module_spec.lua - the module `isolate`, whose fields are made when they are asked for.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"

local await = settle.await

local names = {
  "atomic", "run", "spawn", "spawn_file", "self", "parent", "inbox", "exit", "list", "find", "wait",
  "register", "sendable", "all", "race", "as_completed", "map", "pool", "port", "channel", "select",
  "async",
  "sleep", "after", "every", "now", "fd", "pump", "timeout", "stream", "stream_of",
  "buffer", "map_file", "transfer", "freeze", "thaw", "scope", "supervisor", "progress",
}
table.sort(names)

local function functions_of(module)
  local list = {}
  for name, value in pairs(module) do
    if type(value) == "function" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

describe("the module isolate", function()
  it("has its functions, and pairs finds them all", function()
    for _, name in ipairs(names) do
      assert.is_function(isolate[name])
      assert.equal(isolate[name], isolate[name])
    end
    assert.same(names, functions_of(isolate))
    assert.same(names, await(isolate.run(function() return functions_of(isolate) end)))
  end)

  it("has no others", function()
    assert.is_nil(isolate.rnu)
    assert.is_nil(isolate.promise)
    assert.is_nil(isolate[1])
    assert.is_nil(isolate[isolate])
  end)

  it("is itself everywhere, and so are its functions", function()
    for _, name in ipairs(names) do
      local fn = isolate[name]
      assert.is_true(await(isolate.run(function(f, m)
        local here = require "isolate"
        return f == here[name] and fn == f and m == here
      end, fn, isolate)), name)
    end
  end)

  it("can be added to, and that stays here", function()
    isolate.mine = function() return 1 end
    assert.equal(1, isolate.mine())
    assert.is_nil(await(isolate.run(function() return require "isolate".mine end)))
    isolate.mine = nil
  end)

  it("lends a function of its own to an isolate that cannot require it", function()
    local now = isolate.now
    assert.is_number(await(isolate.run({ libs = {} }, function() return now() end)))
    local ok, err = pcall(isolate.run, { libs = {} }, function() return isolate.now() end)
    assert.is_false(ok)
    assert.equal("not_sendable", err.code)
    assert.matches("module 'isolate' .* libs leave out 'package'", err.message)
    assert.matches("upvalue 'isolate'", err.path, 1, true)
    local port = isolate.port -- in Lua, and uses isolate.core
    ok, err = pcall(isolate.run, { libs = {} }, function() return port() end)
    assert.is_false(ok)
    assert.matches("module 'isolate.core' .* libs leave out 'package'", err.message)
  end)

  it("says the same for sizes in strings", function()
    for _, size in ipairs { "64MB", "1.5 GiB", "512k", " 900 KB ", "100000000", "1tib" } do
      assert.equal(1, await(isolate.run({ memory = size }, function() return 1 end)))
    end
    for _, size in ipairs {
      "", "MB", "64X", "64iB", "-1", "0", "1e9", "64 M B", "9999999TB", "64MBs",
    } do
      local ok, err = pcall(isolate.run, { memory = size }, function() end)
      assert.is_false(ok)
      assert.matches("is no size such as", tostring(err), 1, true)
    end
  end)

  it("costs an isolate that waits for a message a few KiB", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local function used(fn)
        local iso = isolate.spawn(fn)
        isolate.sleep(0.1)
        local n = iso:stats().memory
        iso:kill()
        iso:join()
        return n
      end
      local without = used(function() while true do os.execute "sleep 0.01" end end)
      local with = used(function() isolate.inbox():receive() end)
      print(with - without < 6 * 1024 and "little" or with - without)
    ]]
    assert.equal("", result.stderr)
    assert.equal("little\n", result.stdout)
  end)
end)
