--- Isolates for Lua 5.4: functions that run in Lua states and threads of their own.
-- @module isolate
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"
local futures = require "isolate.futures"
local size = require "isolate.size"

local M = {
  run = core.runner(size.parse),
  register = core.register,
  sendable = core.sendable,
  exit = core.exit,
  self = core.self,
  now = core.now,
  all = futures.all,
  race = futures.race,
  as_completed = futures.as_completed,
}

return M
