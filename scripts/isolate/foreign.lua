--- What the adapters to other event loops have in common.
-- @module isolate.foreign
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"

local M = {}

-- Who parks a wait, in the order in which they are asked.
local adapters = {}

-- By token, what is to be signalled. Weak: a coroutine that is dropped takes its wait along.
local waits = setmetatable({}, { __mode = "v" })

local function park(token, nested)
  for _, adapter in ipairs(adapters) do
    if adapter(token, nested) then return true end
  end
  return false
end

--- Adds an adapter.
-- @tparam function fn called with the token of a wait, and whether it is in the call of a task:
-- returns
-- true once the wait was signalled, or false when it cannot wait here
-- @tparam[opt] boolean last it blocks: those that can park are asked before
function M.add(fn, last)
  table.insert(adapters, last and #adapters + 1 or 1, fn)
  core.fd()
  core.foreign(park)
end

--- `object:signal()` is called when the wait with that token may go on. Only a weak reference is
-- kept.
function M.expect(token, object)
  waits[token] = object
end

--- Does what this isolate has to do, and signals the waits that may go on.
-- @treturn boolean false: the isolate is told to end, and core.pump raises that
function M.serve()
  for token in core.serve do
    if not token then return false end
    local object = waits[token]
    waits[token] = nil
    if object then object:signal() end
  end
  return true
end

--- The earlier of a number of seconds (nil: none) and the next timer.
function M.sooner(seconds)
  local due = core.timeout()
  return due and (not seconds or due < seconds) and due or seconds
end

return M
