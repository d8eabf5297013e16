-- fd_spec.lua - the descriptor of isolate.fd tells of all that isolate.pump has to do.
-- SPDX-License-Identifier: MIT

local adapter = require "spec.support.adapter"

local both = adapter.both(it)

local POLL = [[
  local socket = require "socket"
  local event = { getfd = isolate.fd, dirty = function() return false end }
  local function is_set() return #socket.select({ event }, nil, 0) == 1 end
  isolate.fd()
  isolate.pump()
  equal(false, is_set())
]]

describe("isolate.fd", function()
  both("is readable when a task can run", POLL .. [[
    local ran
    isolate.async(function() ran = true end)
    equal(true, is_set())
    equal(0, isolate.pump())
    equal(true, ran)
    equal(false, is_set())
  ]])

  both("is readable when a timer is due before all others", POLL .. [[
    local far = isolate.after(100, function() end)
    equal(true, is_set())
    isolate.pump()
    equal(false, is_set())
    local near = isolate.after(50, function() end)
    equal(true, is_set())
    isolate.pump()
    assert(isolate.timeout() <= 50)
    local later = isolate.after(200, function() end)
    equal(false, is_set())
    for _, timer in ipairs { far, near, later } do timer:cancel() end
  ]])

  both("stays readable while something is left", POLL .. [[
    local n = 0
    for _ = 1, 3 do isolate.async(function() n = n + 1 end) end
    equal(2, isolate.pump(1))
    equal(true, is_set())
    isolate.pump()
    equal(3, n)
    equal(false, is_set())
  ]])

  both("is readable after messages, however many", POLL .. [[
    local rx, tx = isolate.port()
    local sum = 0
    rx:on_message(function(v) sum = sum + v end)
    isolate.pump()
    for _ = 1, 3 do
      for i = 1, 100 do tx:send(i) end
      equal(true, is_set())
      repeat local left = isolate.pump() until left == 0
      equal(false, is_set())
    end
    equal(15150, sum)
    rx:on_message(nil)
  ]])
end)
