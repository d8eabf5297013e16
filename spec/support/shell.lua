-- shell.lua - runs one command to its end and gives back all that it left behind.
-- SPDX-License-Identifier: MIT

local system = require "system"

local M = {}

-- How long a command may take before it is killed: every wait of a spec has a deadline.
M.limit = os.getenv "ISOLUA_SANITIZER" and 240 or 60

--- Quotes a word for the shell.
function M.quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

--- Quotes a list of words.
function M.words(list)
  local quoted = {}
  for i, word in ipairs(list) do quoted[i] = M.quote(word) end
  return table.concat(quoted, " ")
end

--- Reads a whole file.
function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

--- Writes a whole file; without a path, a temporary one. Returns the path.
function M.write(text, path)
  path = path or os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

--- Runs `command` (shell text) under `sh`.
-- Options: `stdin` (text), `env` (list of words for env(1), e.g. "-i" or "A=1"), `cwd`,
-- `limit` (seconds).
-- Returns `{stdout=, stderr=, status=, seconds=}`; the status of a command ended by signal n is
-- 128 + n, as in a shell, and 124 when the limit ended it.
function M.run(command, options)
  options = options or {}
  local out, err, input = os.tmpname(), os.tmpname(), M.write(options.stdin or "")
  local line = ("%stimeout -k 5 %d env %s %s >%s 2>%s <%s"):format(
    options.cwd and "cd " .. M.quote(options.cwd) .. " && " or "", options.limit or M.limit,
    M.words(options.env or {}), command, out, err, input)
  local start = system.monotime()
  local _, how, status = os.execute(line)
  local result = {
    stdout = M.read(out),
    stderr = M.read(err),
    status = how == "signal" and 128 + status or status,
    seconds = system.monotime() - start,
  }
  for _, path in ipairs { out, err, input } do os.remove(path) end
  return result
end

return M
