-- port_spec.lua - regressions: messages that were on their way when a port was closed.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local settle = require "spec.support.settle"

describe("a message that waits for room when its receiver closes", function()
  it("is dropped, with the senders in it", function()
    isolate.run(function() end):try(settle.limit)
    local before = live.count()
    local rx, tx = isolate.port { capacity = 1 }
    local inner_rx, inner_tx = isolate.port()
    tx:send "full"
    local iso = isolate.spawn(function(t, inner) return t:send { inner } end, tx, inner_tx)
    inner_tx:close()
    assert.is_true(settle.eventually(function() return iso:status() == "waiting" end))
    rx:close()
    assert.same({ true, nil, "closed" }, { iso:join(settle.limit) })
    iso = nil -- luacheck: ignore
    assert.same({ nil, "closed" }, { inner_rx:receive(settle.limit) })
    assert.equal("", live.left_since(before))
  end)
end)
