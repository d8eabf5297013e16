-- duplicates.lua - finds files that hold the same bytes, with all cores and a progress bar.
--
--     isolua examples/duplicates.lua DIR...
--
-- Files of one size are compared byte by byte: mapped into memory, nothing of them is copied. It
-- prints each group of equal files, and how much their copies take. Hard links to one file count
-- once, empty files and symbolic links do not. The status is 1 after an error. Needs GNU find.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"

if #arg == 0 then
  io.stderr:write "usage: isolua examples/duplicates.lua DIR...\n"
  os.exit(1)
end

local failed = false

local function complain(reason)
  io.stderr:write("duplicates: ", reason, "\n")
  failed = true
end

-- Lists of paths of files by their size.
local function files_by_size(directories)
  local words = {}
  for i, directory in ipairs(directories) do
    directory = directory:gsub("^[-(!,)]", "./%0") -- else find takes it for an option
    words[i] = "'" .. directory:gsub("'", "'\\''") .. "'"
  end
  local command = "find -H %s -type f -size +0 -printf '%%s %%D:%%i %%p\\0'"
  local pipe = assert(io.popen(command:format(table.concat(words, " "))))
  local sizes, seen = {}, {}
  for size, file, path in pipe:read "a":gmatch "(%d+) (%S+) ([^\0]+)\0" do
    size = tonumber(size)
    if not seen[file] then
      seen[file] = true
      sizes[size] = sizes[size] or {}
      table.insert(sizes[size], path)
    end
  end
  if not pipe:close() then failed = true end -- find has said why
  return sizes
end

-- Runs in the pool: takes the paths of files of one size. Returns groups of those that are equal,
-- and the reasons why some cannot be read.
local function compare(paths)
  local groups, by_ends, problems = {}, {}, {}
  for _, path in ipairs(paths) do
    local bytes, reason = isolate.map_file(path)
    if not bytes then
      problems[#problems + 1] = reason
    else
      -- Most files that differ do so near an end: only those that do not are compared as a whole.
      local ends = bytes:sub(1, 512) .. bytes:sub(-512, -1)
      local alike, mine = by_ends[ends] or {}, nil
      by_ends[ends] = alike
      for _, group in ipairs(alike) do
        if group.bytes:equal(bytes) then mine = group end
      end
      if not mine then
        mine = { bytes = bytes }
        groups[#groups + 1], alike[#alike + 1] = mine, mine
      end
      mine[#mine + 1] = path
    end
  end
  local equal = {}
  for _, group in ipairs(groups) do
    group.bytes = nil -- the mapping stays here
    if #group > 1 then equal[#equal + 1] = group end
  end
  return { equal, problems }
end

local sizes, candidates = files_by_size(arg), {}
for size, paths in pairs(sizes) do
  if #paths > 1 then candidates[#candidates + 1] = { size = size, paths = paths } end
end
table.sort(candidates, function(a, b) return a.size > b.size end) -- what takes longest first
local lists = {}
for i, candidate in ipairs(candidates) do
  table.sort(candidate.paths)
  lists[i] = candidate.paths
end

local found = {}
local pool <close> = isolate.pool()
local options = { total = #lists, label = "sizes" }
for i, result in isolate.progress(options, pool:imap(compare, lists)) do
  found[i] = result[1]
  for _, reason in ipairs(result[2]) do complain(reason) end
end

local groups, waste = 0, 0
for i, candidate in ipairs(candidates) do
  for _, group in ipairs(found[i]) do
    groups, waste = groups + 1, waste + (#group - 1) * candidate.size
    print(("%d files of %d bytes:\n  %s"):format(#group, candidate.size,
      table.concat(group, "\n  ")))
  end
end
print(("%d groups; their copies take %d bytes"):format(groups, waste))
os.exit(not failed, true)
