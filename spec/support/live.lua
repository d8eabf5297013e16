-- live.lua - counts what the library keeps alive in this process, to find what a test left behind.
-- SPDX-License-Identifier: MIT

local core = require "isolate.core"
local isolate = require "isolate"
local lfs = require "lfs"
local settle = require "spec.support.settle"

local M = {}

local function entries(directory)
  local n = 0
  for _ in lfs.dir(directory) do n = n + 1 end
  return n
end

--- Counts of isolates, futures, ports, messages, threads, bytes; kernel tasks and file descriptors.
function M.count()
  collectgarbage()
  collectgarbage()
  core.trim()
  local count = core.live()
  count.tasks = entries "/proc/self/task"
  count.descriptors = entries "/proc/self/fd"
  return count
end

local function difference(before, after)
  local list = {}
  for name, n in pairs(before) do
    -- Fewer are isolates of earlier tests that have ended since, or threads that were joined but
    -- stood in /proc for a moment longer.
    if after[name] > n then
      list[#list + 1] = ("%s %d -> %d"):format(name, n, after[name])
    end
  end
  table.sort(list)
  return table.concat(list, ", ")
end

--- What has changed since `before`: "" when all counts are back, within a deadline (the kernel
-- takes a moment to forget a thread).
function M.left_since(before)
  local left
  settle.eventually(function()
    left = difference(before, M.count())
    return left == ""
  end, settle.sanitized and 60 or 10)
  return left
end

--- An `it` of busted whose tests fail, too, when they leave something behind.
function M.checking(it)
  -- Threads that the library starts once are no test's.
  isolate.run(function() end):await()
  return function(name, test)
    it(name, function()
      local before = M.count()
      test()
      isolate.sleep(0.001) -- tasks and handlers that have only to return do so
      local left = M.left_since(before)
      if left ~= "" then error("left behind: " .. left, 0) end
    end)
  end
end

return M
