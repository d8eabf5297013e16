-- mod_registered.lua - a class that only isolate.register makes known.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"

local Ticket = {}
Ticket.__index = Ticket

function Ticket:label()
  return "ticket " .. self.number
end

isolate.register("spec.Ticket", Ticket)

local M = {}

function M.new(number)
  return setmetatable({ number = number }, Ticket)
end

function M.is_ticket(v)
  return getmetatable(v) == Ticket
end

return M
