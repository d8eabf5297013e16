-- count_lines.lua - counts the lines of many files in parallel, one isolate a file.
--
--     isolua examples/count_lines.lua FILE...

local isolate = require "isolate"

local BLOCK = 1024 * 1024 -- bytes read at a time: memory stays constant, however large the file

-- Runs in an isolate of its own. A last line that no newline ends is a line, too.
-- Returns the number of lines, or nil and the reason why the file cannot be read.
local function count_lines(path)
  local file, reason = io.open(path, "rb")
  if not file then return nil, reason end
  local lines, last = 0, "\n"
  while true do
    local block, failure = file:read(BLOCK)
    if not block then
      file:close()
      -- The end of the file is a nil without a reason; a directory opens, but does not read.
      if failure then return nil, failure end
      return last == "\n" and lines or lines + 1
    end
    local at = block:find("\n", 1, true)
    while at do
      lines = lines + 1
      at = block:find("\n", at + 1, true)
    end
    last = block:sub(-1)
  end
end

if #arg == 0 then
  io.stderr:write("usage: isolua examples/count_lines.lua FILE...\n")
  os.exit(1)
end

local futures = {}
for i, path in ipairs(arg) do
  futures[i] = isolate.run(count_lines, path)
end

-- Results come in the order in which the isolates end; `i` says whose they are. `ok` is false when
-- the isolate itself failed: then the error stands in place of the results.
local total = 0
for i, ok, lines, reason in isolate.as_completed(futures) do
  local path = arg[i]
  if ok and lines then
    total = total + lines
    print(("  %s: %d lines"):format(path, lines))
  else
    reason = tostring(ok and reason or lines)
    if reason:sub(1, #path + 2) == path .. ": " then reason = reason:sub(#path + 3) end
    print(("  error: %s (%s)"):format(path, reason))
  end
end
print(("Total: %d lines in %d file(s)"):format(total, #arg))
