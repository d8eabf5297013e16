-- gate_spec.lua - C modules that many isolates load at once.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/spec_.* 112/spec_.* 113/spec_.* 211/_ENV 331/rx

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert, before_each, after_each = describe, it, assert, before_each, after_each
local setup, teardown = setup, teardown
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local settle = require "spec.support.settle"

local await, scale, limit = settle.await, settle.scale, settle.limit

local function received(rx)
  local value, why = rx:receive(limit)
  assert.is_nil(why)
  return value
end

local function gone(iso)
  local thing, message = isolate.select({ iso }, limit)
  assert.equal(iso, thing)
  return message
end

describe("require of C modules", function()
  local before, folder, cpath
  setup(function()
    folder, cpath = os.tmpname(), package.cpath
    os.remove(folder)
    assert(os.execute(([[d=%s; mkdir $d $d/gated && ${CC:-cc} -shared -fPIC \
      $(${PKG_CONFIG:-pkg-config} --cflags ${LUA_PC:-lua5.4}) -o $d/gated.so spec/support/gated.c &&
      cp $d/gated.so $d/gated/inner.so]]):format(folder)))
    package.cpath = folder .. "/?.so;" .. cpath
  end)
  teardown(function()
    package.cpath = cpath
    os.execute("rm -r " .. folder)
  end)
  before_each(function()
    await(isolate.run(function() end))
    before = live.count()
    before.descriptors = before.descriptors + 1 -- of a library that stays loaded
  end)
  after_each(function() assert.equal("", live.left_since(before)) end)

  it("by eight isolates at once gives each its own, again and again", function()
    for _ = 1, scale(50, 10) do
      local futures = {}
      for i = 1, 8 do
        futures[i] = isolate.run(function()
          local names = { "lpeg", "cjson", "lfs", "system.core" }
          for k = 1, 4 do require(names[(i + k) % 4 + 1]) end
          local lpeg, cjson = require "lpeg", require "cjson"
          return lpeg.match(lpeg.C(lpeg.R "09" ^ 1), "42"), cjson.encode { i }
        end)
      end
      for i = 1, 8 do
        assert.same({ "42", "[" .. i .. "]" }, { await(futures[i]) })
      end
    end
  end)

  it("lets one isolate at a time open a module", function()
    local futures = {}
    for i = 1, 8 do
      futures[i] = isolate.run(function()
        spec_loading = function() isolate.sleep(0.002) end
        local others = 0
        for _ = 1, 10 do
          package.loaded.gated = nil
          others = others + require "gated"
        end
        return others
      end)
    end
    for i = 1, 8 do assert.equal(0, (await(futures[i]))) end
  end)

  it("of one that requires another, also in main, is no deadlock", function()
    local function load()
      local inner = require "gated.inner"
      package.loaded["gated.inner"], package.loaded.gated = nil, nil
      return inner
    end
    local futures = {}
    for i = 1, 4 do futures[i] = isolate.run(load) end
    load()
    for i = 1, 4 do assert.equal(0, (await(futures[i]))) end
  end)

  it("goes on for the others after an error", function()
    for _ = 1, 5 do
      local ok, err = isolate.run(function()
        spec_loading = function() error("it does not open", 0) end
        require "gated"
      end):try(limit)
      assert.is_false(ok)
      assert.equal("it does not open", err)
    end
    assert.equal(0, (await(isolate.run(function() return require "gated" end))))
    assert.is_false(pcall(require, "gated.nothing"))
  end)

  -- One that stays inside, and another that waits behind it.
  local function holder()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      spec_loading = function()
        t:send "inside"
        isolate.sleep(1e6)
      end
      require "gated"
    end, tx)
    assert.equal("inside", received(rx))
    return iso
  end

  local function waiter()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      local _ <close> = setmetatable({}, { __close = function() t:send "closed" end })
      spec_loading = function() t:send "opened" end
      t:send "there"
      while true do
        pcall(require, "gated")
        package.loaded.gated = nil
        isolate.sleep(0)
      end
    end, tx)
    assert.equal("there", received(rx))
    return iso, rx
  end

  it("can be killed while it waits for another", function()
    local inside = holder()
    for _ = 1, scale(20, 5) do
      local iso, rx = waiter()
      iso:kill()
      assert.equal("killed", gone(iso).status)
      assert.equal("closed", received(rx))
      assert.is_nil((rx:try_receive()))
    end
    inside:kill()
    gone(inside)
  end)

  it("goes on for the others when the one inside is killed", function()
    local inside = holder()
    local waiting = {}
    for i = 1, 4 do waiting[i] = table.pack(waiter()) end
    inside:kill()
    gone(inside)
    for i = 1, 4 do
      local iso, rx = table.unpack(waiting[i])
      assert.equal("opened", received(rx))
      iso:kill()
      gone(iso)
    end
  end)

  it("survives kills at any moment", function()
    for k = 1, scale(200, 40) do
      local all = {}
      for i = 1, 4 do
        all[i] = isolate.spawn(function()
          while true do
            pcall(require, i % 2 == 0 and "gated.inner" or "gated")
            package.loaded["gated.inner"], package.loaded.gated = nil, nil
          end
        end)
      end
      local stop = isolate.now() + k % 20 * 0.0001
      while isolate.now() < stop do end
      for i = 1, 4 do all[i]:kill() end
      for i = 1, 4 do assert.equal("killed", gone(all[i]).status) end
    end
    assert.equal("number", type((await(isolate.run(function() return require "gated" end)))))
  end)
end)
