-- rockspec.lua C-SOURCES SCRIPTS - writes the lists of isolua-scm-1.rockspec anew: what stands
-- between its two marked lines. Each argument is a list with spaces between.
-- SPDX-License-Identifier: MIT

local ROCKSPEC = "isolua-scm-1.rockspec"
local c_sources, scripts = assert(arg[1]), assert(arg[2])

local lines = {}
local function line(...)
  lines[#lines + 1] = string.format(...)
end

for path in scripts:gmatch("%S+") do
  local name = path:gsub("^scripts/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  line('    ["%s"] = "%s",', name, path)
end
line('    ["isolate.core"] = {')
line("      sources = {")
for path in c_sources:gmatch("%S+") do
  line('        "%s",', path)
end
line("      },")

local file = assert(io.open(ROCKSPEC))
local text = file:read("a")
file:close()
local before, after = text:match("^(.-%-%- The sources[^\n]*\n).-( *%-%- End of the sources.*)$")
assert(before, ROCKSPEC .. " has lost its marked lines")
file = assert(io.open(ROCKSPEC, "w"))
assert(file:write(before, table.concat(lines, "\n"), "\n", after))
assert(file:close())
