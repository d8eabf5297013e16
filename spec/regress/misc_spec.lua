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
