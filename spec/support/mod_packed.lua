-- mod_packed.lua - objects whose state is not in their fields, and that pack themselves.
-- SPDX-License-Identifier: MIT

local M = {}

local state = setmetatable({}, { __mode = "k" })
local Secret = { __name = "spec.Secret" }
Secret.__index = Secret

function M.new(value)
  local self = setmetatable({}, Secret)
  state[self] = value
  return self
end

function Secret:reveal()
  return state[self]
end

function Secret.__isolate_pack(self)
  return "spec.support.mod_packed", "new", state[self]
end

return M
