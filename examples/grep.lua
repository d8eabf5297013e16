-- grep.lua - prints the lines of files in which an LPeg pattern of `re` is found, with all cores.
--
--     isolua examples/grep.lua PATTERN FILE...
--     isolua examples/grep.lua '[0-9]+ "ms"' notes.txt
--
-- Each file is mapped once and cut at line ends into slices, which go to isolates without a copy:
-- as many as nproc(1) says there are cores. A compiled pattern cannot be sent, so each isolate
-- compiles it. The status is 0 when a line was printed, 1 when none was, 2 after an error.

local isolate = require "isolate"
local re = require "re"

local SMALL = 256 * 1024 -- bytes: a file is cut into slices of no less

-- Runs in an isolate of its own. `parts` has slices of files by the numbers of the files,
-- `prefixes` what stands before lines of them. Returns the text to be printed for each.
local function search(pattern, parts, prefixes)
  local lpeg, compile = require "lpeg", require "re".compile
  -- Here, or behind a byte after which it is found. Captures would be made for nothing.
  local anywhere = lpeg.P { compile(pattern) / 0 + 1 * lpeg.V(1) }
  local texts = {}
  for i, part in pairs(parts) do
    local lines = {}
    for line in part:lines() do
      if anywhere:match(line) then lines[#lines + 1] = prefixes[i] .. line .. "\n" end
    end
    texts[i] = table.concat(lines)
  end
  return texts
end

local failed, found = false, false

local function complain(...)
  io.stderr:write("grep: ", table.concat({ ... }, ": "), "\n")
  failed = true
end

-- A frozen buffer of a file's bytes. What cannot be mapped, such as a pipe, is read.
local function open(name)
  local bytes, reason = isolate.map_file(name)
  if bytes and #bytes > 0 then return bytes end
  local file = io.open(name, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  if text then return isolate.buffer(text):freeze() end
  complain(reason)
end

-- Cuts `bytes` at line ends into at most `most` slices.
local function slices(bytes, most)
  local list, from = {}, 1
  local each = math.max(#bytes // most, SMALL)
  while from <= #bytes do
    local to = #list + 1 < most and from + each <= #bytes and bytes:find("\n", from + each)
    to = to or #bytes
    list[#list + 1] = bytes:slice(from, to)
    from = to + 1
  end
  return list
end

local function cores()
  local pipe <close> = assert(io.popen "nproc")
  return pipe:read "n" or 1
end

if #arg < 2 then
  io.stderr:write("usage: isolua examples/grep.lua PATTERN FILE...\n")
  os.exit(2)
end
local pattern, names = arg[1], table.move(arg, 2, #arg, 1, {})
local ok, reason = pcall(re.compile, pattern)
if not ok then
  complain("bad pattern", reason)
  os.exit(2)
end

-- The slices of large files go to all isolates, small files to each in turn.
local workers = cores()
local parts, prefixes, turn = {}, {}, 0
for k = 1, workers do parts[k] = {} end
for i, name in ipairs(names) do
  prefixes[i] = #names > 1 and name .. ":" or ""
  local bytes = open(name)
  local list = bytes and slices(bytes, workers) or {}
  for k, slice in ipairs(list) do
    -- Those of one file go to the isolates in their order, so that their texts come in it.
    parts[#list > 1 and k or turn % workers + 1][i] = slice
  end
  turn = turn + 1
end

local texts = {}
for k = 1, workers do texts[k] = isolate.run(search, pattern, parts[k], prefixes) end
for k = 1, workers do
  local done, of_parts = texts[k]:try()
  if not done then complain(tostring(of_parts)) end
  texts[k] = done and of_parts or {}
end
for i in ipairs(names) do
  for k = 1, workers do
    local text = texts[k][i] or ""
    io.write(text)
    found = found or text ~= ""
  end
end
os.exit(failed and 2 or found and 0 or 1)
