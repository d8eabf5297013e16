-- buffer_spec.lua - regressions: buffers that are changed while they are sent, read or collected.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local settle = require "spec.support.settle"

local await = settle.await

it = live.checking(it)

-- An object whose __isolate_pack calls `fn` first.
local function packing(fn)
  return setmetatable({}, { __isolate_pack = function()
    fn()
    return "math", "abs", 1
  end })
end

-- Makes garbage whose finalizer calls `fn`, and collects it with the next step of the collector.
local function finalizing(fn)
  setmetatable({}, { __gc = fn })
end

describe("A buffer in a message", function()
  it("may be changed by an __isolate_pack that comes later", function()
    local rx, tx = isolate.port()
    local other_rx, other = isolate.port()
    local function code_of(buf, v, fn)
      local ok, err = pcall(tx.send, tx, { v, packing(fn) })
      assert.is_false(ok)
      return err.code, buf
    end
    local buf = isolate.buffer(100000)
    assert.equal("not_sendable", (code_of(buf, buf, function() buf:resize(10) end)))
    assert.equal("transferred", (code_of(buf, buf, function()
      other:send(isolate.transfer(buf))
    end)))
    buf = isolate.buffer(1000)
    assert.equal("transferred", (code_of(buf, isolate.transfer(buf), function()
      other:send(isolate.transfer(buf))
    end)))
    buf = isolate.buffer(1000)
    local ok = pcall(tx.send, tx, { buf, packing(function() local _ <close> = buf end) })
    assert.is_false(ok)
    assert.equal(0, #rx)
    rx:close()
    other_rx:close()
  end)

  it("is with one receiver, however often it is moved at once", function()
    local buf = isolate.buffer "abc"
    local moving = isolate.transfer(buf)
    local ok, err = pcall(isolate.run, { init = function() return moving end }, function() end,
      moving)
    assert.is_false(ok)
    assert.equal("transferred", err.code)
    assert.equal("abc", buf:sub())
    local a, b = isolate.channel(1), isolate.channel(1)
    ok, err = pcall(isolate.select, { { a, moving }, { b, packing(function()
      b:send(isolate.transfer(buf))
    end) } })
    assert.is_false(ok)
    assert.equal("transferred", err.code)
    assert.equal("abc", b:receive():sub())
    assert.equal(0, #a)
  end)

  it("arrives as a buffer though the slice is there twice", function()
    local slice = isolate.buffer("0123456789"):slice(2, 4)
    assert.equal("123\0", await(isolate.run(function(a, b)
      assert(a == b)
      return a:resize(4):sub()
    end, slice, slice)))
  end)

  it("is not held by the result that it came with", function()
    local future = isolate.run(function()
      return isolate.transfer(isolate.buffer{ size = "1MB" })
    end)
    local before = require "isolate.core".live().shared
    do
      local buf <close> = await(future)
      assert.equal(1000000, #buf)
    end
    assert.is_true(require "isolate.core".live().shared <= before)
  end)

  it("is copied for an error listener, and moved for who awaits", function()
    local rx, tx = isolate.port()
    local future = isolate.run({ on_error = tx }, function()
      error{ buf = isolate.transfer(isolate.buffer "abc") }
    end)
    local ok, err = future:try(60)
    assert.is_false(ok)
    assert.equal("abc", err.buf:sub())
    local told = rx:receive(60)
    assert.equal("abc", told.error.buf:sub())
    rx:close()
    tx:close()
  end)
end)

describe("A finalizer", function()
  -- Runs `use` often enough to meet a finalizer that changes the buffer.
  local function meets(change, use)
    return await(isolate.run(function()
      local n = 0
      collectgarbage("generational")
      for _ = 1, 50 do
        local buf = isolate.buffer(("x"):rep(3000))
        finalizing(function() change(buf) end)
        if pcall(use, buf) then n = n + 1 end
      end
      return n
    end))
  end

  it("may close a buffer, or change its size, in whatever is done with it", function()
    local changes = {
      function(b) b:resize(100000) end,
      function(b) b:resize(0) end,
      function(b) local _ <close> = b end,
    }
    local uses = {
      function(b) return b:copy() end,
      function(b) b:resize(70000) end,
      function(b) return b:view("u8"):table() end,
      function(b) return b:unpack(1, "c2900") end,
      function(b) return b:slice(1, 10):slice(1, 5):sub() end,
      function(b) return b:lines()() end,
    }
    for _, change in ipairs(changes) do
      for _, use in ipairs(uses) do assert.is_number(meets(change, use)) end
    end
  end)

  it("makes no buffer any more when its isolate ends", function()
    local rx, tx = isolate.port()
    await(isolate.run(function()
      KEPT = setmetatable({}, { __gc = function() -- luacheck: ignore 111
        tx:send((pcall(isolate.buffer, 10)) or (pcall(isolate.freeze, { 1 })))
      end })
    end))
    tx:close()
    assert.is_false(rx:receive(60))
    rx:close()
  end)
end)

describe("The memory cap", function()
  local function code_of(fn)
    local ok, err = isolate.run({ memory = "8MB" }, fn):try(60)
    return ok or err.code
  end

  it("counts a frozen table while any part of it is kept", function()
    assert.equal("memory", code_of(function()
      local kept = {}
      for i = 1, 100 do kept[i] = isolate.freeze{ ("x"):rep(1000000), child = { 1 } }.child end
      return #kept
    end))
  end)

  it("counts the memory of a buffer that was made shorter", function()
    assert.equal("memory", code_of(function()
      local kept = {}
      for i = 1, 10 do kept[i] = isolate.buffer(2000000):resize(1000001) end
      return #kept
    end))
  end)
end)

describe("buffer:unpack()", function()
  it("tells of a wrong format at once", function()
    local buf = isolate.buffer(20000000)
    assert.matches("invalid format option 'y'", select(2, pcall(buf.unpack, buf, 1, "y")))
  end)
end)

describe("A frozen buffer", function()
  it("is found as a key", function()
    local buf = isolate.buffer("abc"):freeze()
    local f = isolate.freeze{ [buf] = 1, [buf:slice(2, 3)] = 2 }
    local n = 0
    for k, v in pairs(f) do
      assert.equal(v, f[k])
      n = n + 1
    end
    assert.equal(2, n)
    assert.is_nil(f[buf:slice(1, 1)])
  end)
end)

describe("A mapped file that became shorter", function()
  it("is an error for what reads it as a source, sends or writes it", function()
    local path = os.tmpname()
    isolate.buffer(("x"):rep(20000)):write(path)
    local m = assert(isolate.map_file(path, "r+"))
    assert(io.open(path, "wb")):close()
    local buf = isolate.buffer(20000)
    for _, fn in ipairs{ function() buf:set(1, m) end, function() buf:equal(m) end,
      function() buf:find(m) end, function() buf:count(m) end, function() m:write(path) end,
      function() isolate.run(function() end, m) end } do
      local ok, err = pcall(fn)
      assert.is_false(ok)
      assert.matches("become shorter", tostring(err))
    end
    os.remove(path)
  end)
end)
