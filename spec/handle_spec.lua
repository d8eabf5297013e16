-- handle_spec.lua - what all handles have: an id, equality, a locked metatable; much used or not.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local settle = require "spec.support.settle"

local await = settle.await

it = live.checking(it)

-- Each makes one handle of its kind.
local kinds = {
  receiver = function() return (isolate.port()) end,
  sender = function() return select(2, isolate.port()) end,
  channel = function() return isolate.channel(1) end,
  isolate = function() return isolate.self() end,
  future = function() return isolate.run(function() end) end,
  task = function() return isolate.async(function() end) end,
  atomic = function() return isolate.atomic() end,
  timer = function() return isolate.after(0.001) end,
}

-- Looks methods up until a handle that is used so much is treated as such.
local function use(handle)
  for _ = 1, 1000 do assert.is_nil(handle.nothing) end
  return handle
end

describe("a handle", function()
  for kind, make in pairs(kinds) do
    describe("of a " .. kind, function()
      it("has an integer id, which stays", function()
        local handle = make()
        local id = handle.id
        assert.equal("integer", math.type(id))
        assert.equal(id, use(handle).id)
        if kind ~= "isolate" then assert.are_not_equal(id, make().id) end
      end)

      it("has it when it was never asked before it was closed", function()
        local handle <close> = make()
        local id
        if handle.close then
          handle:close()
          id = handle.id
        else
          debug.getmetatable(handle).__close(handle)
          id = handle.id
        end
        assert.equal("integer", math.type(id))
        assert.equal(id, use(handle).id)
        assert.matches(": .*%f[%d]" .. id .. "%f[%D]", tostring(handle))
      end)

      it("is the same when it is much used", function()
        local handle = make()
        local text, type, send = tostring(handle), getmetatable(handle), handle.send
        use(handle)
        assert.equal(text:gsub(" %(.*", ""), (tostring(handle):gsub(" %(.*", "")))
        assert.equal(type, getmetatable(handle))
        assert.equal("string", _G.type(type))
        assert.is_false(pcall(setmetatable, handle, {}))
        assert.equal(send, handle.send)
        assert.is_false(pcall(function() handle.id = 1 end))
      end)
    end)
  end

  it("has an id that no other has, of whatever kind", function()
    local seen, handles = {}, {}
    for kind, make in pairs(kinds) do
      if kind ~= "isolate" then
        for _ = 1, 10 do
          local handle = make()
          handles[#handles + 1] = handle
          assert.is_nil(seen[handle.id])
          seen[handle.id] = true
        end
      end
    end
    assert.is_nil(seen[isolate.self().id])
    assert.equal(70, #handles)
  end)

  it("has the id everywhere", function()
    local _, tx = isolate.port()
    local ch = isolate.channel()
    use(tx)
    local id, chid, back = await(isolate.run(function(t, c) return t.id, c.id, t end, tx, ch))
    assert.equal(tx.id, id)
    assert.equal(ch.id, chid)
    assert.is_true(back == tx)
  end)

  it("sends, is sent and is closed when it is much used", function()
    local rx <close>, tx = isolate.port { name = "used" }
    for i = 1, 1000 do
      assert.is_true(tx:send(i))
      assert.equal(i, rx:receive())
    end
    assert.equal("used", tx.name)
    assert.equal("used", rx.name)
    await(isolate.run(function(t) for i = 1, 1000 do t:send(i) end end, tx))
    assert.equal(1000, #rx)
    assert.equal(1000, #rx:receive_many(2000))
    tx:close()
    tx:close()
    assert.same({ nil, "closed" }, { tx:send(1) })
    assert.same({ nil, "closed" }, { rx:receive() })
    assert.is_false(isolate.sendable(tx))
  end)

  it("is collected when it is much used", function()
    local rx, tx = isolate.port()
    use(tx)
    use(rx)
    tx = nil
    collectgarbage()
    assert.same({ nil, "closed" }, { rx:receive() })
    assert.is_nil(tx)
  end)

  it("of an isolate that is in its own result does not keep that", function()
    for _ = 1, 20 do
      local iso, list = await(isolate.run(function()
        return isolate.self(), { isolate.self(), isolate.self() }
      end))
      assert.is_true(iso == list[1] and iso == list[2])
      assert.equal("done", iso:status())
      local err = settle.failure(isolate.run(function() error { isolate.self() } end))
      assert.equal("failed", err[1]:status())
    end
  end)

  it("names what it wants instead of another", function()
    local rx <close>, tx = isolate.port()
    local ch = isolate.channel()
    local cases = {
      [tx.send] = { rx, {}, "x", io.stdout },
      [tx.close] = { rx, ch, isolate.self(), {}, io.stdout },
      [rx.receive] = { tx, isolate.self(), 1, io.stdout },
      [isolate.after(0).cancel] = { tx, rx, {} },
      [isolate.self().kill] = { tx, rx, ch, {} },
    }
    use(ch)
    for method, list in pairs(cases) do
      for _, value in ipairs(list) do
        local ok, err = pcall(function() method(value) end)
        assert.is_false(ok)
        assert.matches("handle_spec%.lua:%d+: bad argument #1 to .*expected, got", err)
      end
    end
  end)
end)
