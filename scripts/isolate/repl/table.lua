--- Rows in columns, and numbers as people read them.
-- @module isolate.repl.table
-- SPDX-License-Identifier: MIT
local characters = require "isolate.repl.characters"
local _ENV = require("isolate.repl.own").env

local M = {}

--- Columns that are as wide as need be; the last one is not padded.
-- @tparam ?table head names; one that begins with `>` has numbers below it, which end in line
-- @tparam table rows lists of strings
-- @treturn string
-- @usage print(table_of.text({ "NAME", ">SIZE" }, { { "a", "12" } }))
function M.text(head, rows)
  local right, all, widths = {}, {}, {}
  if head then
    all[1] = {}
    for i, name in ipairs(head) do
      right[i] = name:sub(1, 1) == ">"
      all[1][i] = right[i] and name:sub(2) or name
    end
  end
  table.move(rows, 1, #rows, #all + 1, all)
  for _, row in ipairs(all) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, characters.columns(cell)) end
  end
  local lines = {}
  for n, row in ipairs(all) do
    local out = {}
    for i, cell in ipairs(row) do
      local pad = (" "):rep(widths[i] - characters.columns(cell))
      out[i] = right[i] and pad .. cell or i < #row and cell .. pad or cell
    end
    lines[n] = table.concat(out, "  "):gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

--- A size, as `1.5 MiB`.
-- @tparam integer n bytes
-- @treturn string
function M.bytes(n)
  for _, unit in ipairs { "B", "KiB", "MiB", "GiB" } do
    if n < 1024 or unit == "GiB" then
      return (unit == "B" and "%d %s" or "%.1f %s"):format(n, unit)
    end
    n = n / 1024
  end
end

--- A time, as `12.3 ms` or `2:05:00`.
-- @tparam number s seconds
-- @treturn string
function M.seconds(s)
  if s < 1e-3 then return ("%.0f us"):format(s * 1e6) end
  if s < 1 then return ("%.1f ms"):format(s * 1e3) end
  if s < 60 then return ("%.1f s"):format(s) end
  s = math.floor(s)
  local minutes = s // 60
  if minutes < 60 then return ("%d:%02d"):format(minutes, s % 60) end
  return ("%d:%02d:%02d"):format(minutes // 60, minutes % 60, s % 60)
end

return M
