--- Sizes written as text.
-- @module isolate.size
-- SPDX-License-Identifier: MIT
local M = {}

local powers = { [""] = 0, k = 1, m = 2, g = 3, t = 4 }

--- Reads a size: a number, then k, M, G or T, then B (powers of 1000), or iB or nothing (powers of
-- 1024: that is what people mean by `512k`). Case and spaces do not matter.
-- @tparam string text
-- @treturn ?integer bytes; nil when it is no size
-- @usage size.parse "64MB" --> 64000000
function M.parse(text)
  local number, unit, suffix = text:lower():match "^%s*(%d+%.?%d*)%s*([kmgt]?)(i?b?)%s*$"
  local power = powers[unit]
  if not number or suffix == "i" or (suffix == "ib" and power == 0) then return nil end
  local base = suffix == "b" and 1000 or 1024
  local bytes = tonumber(number) * base ^ power
  return bytes >= 1 and bytes < 2 ^ 62 and math.floor(bytes) or nil
end

return M
