--- Tasks: coroutines of an isolate's event loop.
-- @module isolate.tasks
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"

local M = {}

local function finish(settle, trace, ok, ...)
  settle(not ok and trace.text or nil, ok, ...)
end

local function body(settle, fn, ...)
  local trace = {}
  finish(settle, trace, xpcall(fn, function(err)
    trace.text = core.traceback(err)
    return err
  end, ...))
end

--- Runs `fn(...)` as a task of this isolate: whenever it waits, the others go on.
-- @function isolate.async
-- @tparam function fn
-- @param ...
-- @treturn future of its results; cancelling it raises `cancelled` at the task's wait
-- @usage local f = isolate.async(function() isolate.sleep(1) return "done" end)
function M.async(fn, ...)
  if type(fn) ~= "function" then
    error(("bad argument #1 to 'async' (function expected, got %s)"):format(type(fn)), 2)
  end
  local task, future, settle
  future, settle = core.promise(function(reason)
    local done = settle(nil, false, core.error(core.CANCELLED, reason))
    core.cancel_task(task)
    return done
  end)
  task = core.task(body, settle, fn, ...)
  return future
end

return M
