--- Ports, made with options.
-- @module isolate.ports
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"

local M = {}

local MODES = { block = 0, error = 1, drop_oldest = 2, drop_newest = 3 }
local KNOWN = { capacity = true, on_full = true, name = true }

local function check(opts)
  if type(opts) ~= "table" then
    error(("bad argument #1 to 'port' (table of options expected, got %s)"):format(type(opts)), 3)
  end
  if core.is_module(opts) then
    error("isolate's functions are called with a dot, not a colon", 3)
  end
  for key in pairs(opts) do
    if not KNOWN[key] then
      error(("unknown option '%s' (known: capacity, name, on_full)"):format(tostring(key)), 3)
    end
  end
  local capacity, mode, name = opts.capacity, opts.on_full or "block", opts.name
  if capacity ~= nil and (math.type(capacity) ~= "integer" or capacity < 1) then
    error("option 'capacity': an integer of 1 or more expected", 3)
  end
  if not MODES[mode] then
    error(("option 'on_full': unknown value '%s' (known: block, error, drop_oldest, drop_newest)")
      :format(tostring(mode)), 3)
  end
  if name ~= nil and type(name) ~= "string" then
    error(("option 'name': a string expected, got %s"):format(type(name)), 3)
  end
  return capacity or -1, MODES[mode], name
end

--- A port: one receiver, any number of senders.
-- @function isolate.port
-- @tparam[opt] table opts `capacity` (messages; default: none), `on_full` (`"block"`, `"error"`,
-- `"drop_oldest"` or `"drop_newest"`), `name`
-- @treturn receiver which stays in this isolate
-- @treturn sender which can be sent
-- @usage local rx, tx = isolate.port()
function M.port(opts)
  return core.new_port(check(opts or {}))
end

return M
