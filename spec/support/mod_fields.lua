-- mod_fields.lua - a module with a class and functions in its fields.
-- SPDX-License-Identifier: MIT

local M = { Point = {}, settings = { deep = {} } }

M.Point.__index = M.Point
M.Point.__eq = function(a, b) return a.x == b.x and a.y == b.y end

function M.Point:norm1()
  return math.abs(self.x) + math.abs(self.y)
end

function M.point(x, y)
  return setmetatable({ x = x, y = y }, M.Point)
end

function M.double(n)
  return n * 2
end

return M
