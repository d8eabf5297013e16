--- What was typed, kept in a file that prompts share: a line an entry, the user's alone.
--
-- The file is only appended to, a whole line at once, but for now and then: when it has a quarter
-- more entries than are kept, the oldest go; what others append meanwhile stays.
-- @module isolate.repl.history
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"
local home = require "isolate.repl.home"
local _ENV = require("isolate.repl.own").env

local M = {}

-- Entries that are kept; bytes of an entry, and of the end of the file that is looked at.
local ENTRIES, ENTRY, BYTES = 10000, 100000, 32000000

local history = {}
history.__index = history
history.__name = "isolate.repl.history"

-- -- Lines ---------------------------------------------------------------------------------------

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\0"] = "\\0" }
local CHARACTERS = { ["\\"] = "\\", n = "\n", r = "\r", ["0"] = "\0" }

local function escape(entry)
  return (entry:gsub("[\\\n\r\0]", ESCAPES))
end

-- A backslash that stands before anything else was not written by us, and stays.
local function unescape(line)
  return (line:gsub("\\(.)", CHARACTERS))
end

-- The lines of a text that can be entries, and how many cannot. Of less than the whole file the
-- first one is a part.
local function lines_of(text, whole)
  local list, bad = {}, 0
  if not whole then text = text:gsub("^[^\n]*\n?", "", 1) end
  for line in text:gmatch "[^\n]+" do
    if #line <= ENTRY and not line:find("\0", 1, true) then
      list[#list + 1] = line
    else
      bad = bad + 1
    end
  end
  return list, bad
end

-- The last `limit` of a list.
local function newest(list, limit)
  return table.move(list, math.max(1, #list - limit + 1), #list, 1, {})
end

-- -- The file ------------------------------------------------------------------------------------

--- The path of the file: below `$XDG_STATE_HOME`, or `~/.local/state`.
-- @treturn string|nil nil when neither that nor `HOME` is set
-- @usage print(history.path()) -- /home/me/.local/state/isolua/history
function M.path()
  return home.path("XDG_STATE_HOME", ".local/state", "history")
end

local function make_parents(path)
  for at in path:gmatch "()/" do
    if at > 1 then core.make_directory(path:sub(1, at - 1)) end
  end
end

-- Is the file too long? It may have grown by what other prompts append, too.
local function is_due(self)
  return self.lines > self.limit + self.limit // 4
end

-- Takes the oldest out of the file, if there are too many by now.
local function trim(self)
  return core.replace_private(self.path, BYTES, function(text, whole)
    local list = lines_of(text, whole)
    self.lines = #list
    if whole and not is_due(self) then return nil end
    list = newest(list, self.limit)
    self.lines = #list
    list[#list + 1] = ""
    return table.concat(list, "\n")
  end)
end

-- No more of the file. What is to be said of it.
local function give_up(self, reason)
  local path = self.path
  self.path = nil
  return ("%s: %s: entries are not kept"):format(path, reason)
end

local function load(self)
  make_parents(self.path)
  local ok, reason = core.append_private(self.path, "")
  if ok == nil then return give_up(self, reason) end
  local text, whole = core.read_private(self.path, BYTES)
  if not text then return give_up(self, whole) end
  local list, bad = lines_of(text, whole)
  self.lines = #list
  for i, line in ipairs(newest(list, self.limit)) do self.list[i] = unescape(line) end
  if is_due(self) or not whole then
    ok, reason = trim(self)
    if ok == nil then return ("%s: %s: it grows"):format(self.path, reason) end
  end
  if bad > 0 then
    return ("%s: %d of its lines are damaged and left out"):format(self.path, bad)
  end
end

--- Opens a history. Directories are made with mode 0700; the file has mode 0600 from then on.
-- What is wrong with the file never raises: the history works without it then.
-- @tparam[opt] string path its file; nil: that of `path`
-- @tparam[opt] table opts `entries`: how many are kept, 1 or more (10000)
-- @treturn table with the methods `entries`, `add` and `close`
-- @treturn string|nil what is wrong with the file
-- @usage
-- local h <close> = history.open()
-- h:add "print(1)"
function M.open(path, opts)
  local limit = math.max(1, opts and opts.entries or ENTRIES)
  local self = { path = path or M.path(), limit = limit, list = {}, lines = 0 }
  setmetatable(self, history)
  if self.path then return self, load(self) end
  return self, "neither HOME nor XDG_STATE_HOME is set: entries are not kept"
end

-- -- Methods -------------------------------------------------------------------------------------

--- The entries, oldest first: those of the file as it was opened, and those added since.
-- @treturn table a list of strings, a new one
-- @usage for _, entry in ipairs(h:entries()) do print(entry) end
function history:entries()
  return newest(self.list, self.limit)
end

-- In memory, twice as many before the oldest go.
local function keep(self, entry)
  self.list[#self.list + 1] = entry
  if #self.list >= 2 * self.limit then self.list = newest(self.list, self.limit) end
end

--- Adds an entry, but for one that is blank, begins with a space, repeats the last one, or is
-- longer than 50,000 bytes. None is added once the history is closed.
-- @tparam string entry may have several lines
-- @treturn boolean was it added?
-- @treturn string|nil what is wrong with the file, once: it is not written to any more
-- @usage local added, problem = h:add(line)
function history:add(entry)
  if self.closed or not entry:find "%S" or entry:find "^ " or entry == self.list[#self.list]
    or #entry > ENTRY // 2 then
    return false
  end
  keep(self, entry)
  if not self.path then return true end
  local ok, reason = core.append_private(self.path, escape(entry) .. "\n")
  if not ok then return true, give_up(self, reason) end
  self.lines = self.lines + 1
  if not is_due(self) then return true end
  ok, reason = trim(self)
  if ok ~= nil then return true end
  self.lines = -math.huge -- said once
  return true, ("%s: %s: it grows"):format(self.path, reason)
end

--- Closes it: nothing is added any more. May be repeated; also by `<close>`.
-- @usage h:close()
function history:close()
  self.closed = true
end

history.__close = history.close

return M
