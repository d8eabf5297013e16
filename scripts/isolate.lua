--- Isolates for Lua 5.4: functions that run in Lua states and threads of their own.
-- @module isolate
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"
local futures = require "isolate.futures"
local ports = require "isolate.ports"
local size = require "isolate.size"
local tasks = require "isolate.tasks"

local run, spawn, spawn_file = core.starters(size.parse)

local M = {
  run = run,
  spawn = spawn,
  spawn_file = spawn_file,
  self = core.self,
  parent = core.parent,
  inbox = core.inbox,
  exit = core.exit,
  list = core.list,
  find = core.find,
  wait = core.wait,

  register = core.register,
  sendable = core.sendable,

  all = futures.all,
  race = futures.race,
  as_completed = futures.as_completed,

  port = ports.port,
  channel = core.channel,
  select = core.select,

  async = tasks.async,
  sleep = core.sleep,
  after = core.after,
  every = core.every,
  now = core.now,

  fd = core.fd,
  pump = core.pump,
  timeout = core.timeout,
}

return M
