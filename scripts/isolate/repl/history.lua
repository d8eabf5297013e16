--- What was typed, kept in a file that prompts share: a line an entry, the user's alone.
--
-- The file is only appended to, but for now and then: then those of its entries that are too many
-- go, under the lock under which others append.
-- @module isolate.repl.history
-- SPDX-License-Identifier: MIT
local M = {}

-- Entries that are kept at least; the file is cut when it has a quarter more. Bytes of one entry.
local ENTRIES, ENTRY = 10000, 100000

local history = {}
history.__index = history

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\0"] = "\\0" }

local function escape(entry)
  return (entry:gsub("[\\\n\r%z]", ESCAPES))
end

local function unescape(line)
  return (line:gsub("\\(.?)", { ["\\"] = "\\", n = "\n", r = "\r", ["0"] = "\0" }))
end

local function lines_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    if #line <= ENTRY then list[#list + 1] = line end
  end
  return list
end

local function trimmed(limit)
  return function(text)
    local list = lines_of(text)
    return table.concat(list, "\n", math.max(1, #list - limit + 1)) .. (list[1] and "\n" or "")
  end
end

--- The path of the history: below `$XDG_STATE_HOME`, or `~/.local/state`.
-- @treturn string|nil
function M.path()
  local home, state = os.getenv "HOME", os.getenv "XDG_STATE_HOME"
  if state and state:sub(1, 1) == "/" then return state .. "/isolua/history" end
  return home and home .. "/.local/state/isolua/history"
end

local function make_parents(files, path)
  for at in path:gmatch "()/" do
    if at > 1 then files.make_directory(path:sub(1, at - 1)) end
  end
end

--- Opens a history.
-- @tparam table files the functions `append`, `rewrite` and `make_directory` of the editor's module
-- @tparam[opt] string path its file
-- @tparam[opt] integer limit how many entries are kept
-- @treturn table with the methods `entries`, `add` and `close`; it works without its file, too
-- @treturn string|nil what is wrong with the file
-- @usage local h = history.open(edit)
function M.open(files, path, limit)
  path, limit = path or M.path(), limit or ENTRIES
  local self = setmetatable({ files = files, path = path, limit = limit, list = {} }, history)
  if not path then return self, "neither HOME nor XDG_STATE_HOME is set: nothing is kept" end
  make_parents(files, path)
  local ok, message = files.append(path, "")
  if not ok then
    self.path = nil
    return self, ("%s: %s: nothing is kept"):format(path, message)
  end
  local file = io.open(path, "rb")
  local lines = lines_of(file and file:read "a" or "")
  if file then file:close() end
  if #lines > limit + limit // 4 then files.rewrite(path, trimmed(limit)) end
  for i = math.max(1, #lines - limit + 1), #lines do
    self.list[#self.list + 1] = unescape(lines[i])
  end
  self.last = self.list[#self.list]
  return self
end

--- The entries when it was opened, oldest first.
-- @treturn table a list of strings
function history:entries()
  return self.list
end

--- Adds an entry, but for one that repeats the last, begins with a blank or is nothing.
-- @tparam string entry
-- @treturn boolean was it added?
-- @treturn string|nil what is wrong with the file; it is not tried again
function history:add(entry)
  if not entry:find "%S" or entry:find "^%s" or entry == self.last or #entry > ENTRY // 2 then
    return false
  end
  self.last = entry
  if not self.path then return true end
  local ok, message = self.files.append(self.path, escape(entry) .. "\n")
  if ok then return true end
  local path = self.path
  self.path = nil
  return true, ("%s: %s: nothing is kept any more"):format(path, message)
end

return M
