-- settle.lua - waits for futures, and for anything else, with a deadline.
-- SPDX-License-Identifier: MIT

local system = require "system"

local M = {}

M.sanitized = os.getenv "ISOLUA_SANITIZER" ~= nil

-- Seconds that a wait may take before the test fails.
M.limit = M.sanitized and 120 or 30

--- A count for a test, made smaller where a sanitizer slows everything down.
function M.scale(n, sanitized)
  return M.sanitized and sanitized or n
end

local function outcome(future)
  local results = table.pack(future:try(M.limit))
  if results[1] == nil then
    future:cancel "the spec's deadline"
    error("a future is not settled after " .. M.limit .. " s", 3)
  end
  return results
end

--- What `future:await()` gives or raises, but with a deadline.
function M.await(future)
  local results = outcome(future)
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- The error with which the future fails; raises if it does not fail.
function M.failure(future)
  local results = outcome(future)
  if results[1] then error("the future did not fail, but gave " .. tostring(results[2]), 2) end
  return results[2]
end

--- Asks until `condition()` is true, and returns that; false after the deadline.
function M.eventually(condition, seconds)
  local deadline = system.monotime() + (seconds or M.limit)
  repeat
    local held = condition()
    if held then return held end
    system.sleep(0.005)
  until system.monotime() > deadline
  return false
end

--- Lets time pass: where that is what is tested, or where nothing shows what is waited for.
M.pause = system.sleep

--- Seconds on a clock that only goes forward.
M.now = system.monotime

--- Seconds since the epoch, to compare with what another process saw.
M.wall = system.gettime

return M
