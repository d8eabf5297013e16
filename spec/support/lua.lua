-- lua.lua - the interpreter that runs this spec, for subprocesses: stock lua5.4 or the host.
-- SPDX-License-Identifier: MIT

local shell = require "spec.support.shell"

local M = {}

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  pipe:close()
  return (text:gsub("\n$", ""))
end

-- The first word of /proc/self/stat is our own process id.
local stat = shell.read "/proc/self/stat"

M.root = output "pwd"
M.exe = output("readlink -f /proc/" .. stat:match "^%d+" .. "/exe")
M.is_host = M.exe:match "[^/]*$" ~= nil and M.exe:match "isolua[^/]*$" ~= nil

--- The host executable, whichever interpreter runs the spec; nil where it is not built.
function M.host()
  local path = os.getenv "ISOLUA_BIN" or M.root .. "/build/bin/isolua"
  if path:sub(1, 1) ~= "/" then path = M.root .. "/" .. path end
  local file = io.open(path)
  return file and file:close() and path
end

--- The host executable for a spec that it alone runs; or nil, and why it is not run.
function M.only_host()
  local path = M.host()
  if not path then return nil, "the host is not built (build/bin/isolua, or ISOLUA_BIN)" end
  if not M.is_host then return nil, "run by build/bin/isolua only" end
  return path
end

-- A module path of the environment with its relative entries made absolute.
local function absolute(name)
  local value = os.getenv(name)
  if not value then return nil end
  return name .. "=" .. value:gsub("[^;]+", function(entry)
    if entry:match "^/" then return nil end
    return M.root .. "/" .. entry:gsub("^%./", "")
  end)
end

--- Words for env(1) that let the interpreter find the module from any directory.
function M.env()
  local words = {}
  for _, name in ipairs { "LUA_PATH", "LUA_PATH_5_4", "LUA_CPATH", "LUA_CPATH_5_4" } do
    words[#words + 1] = absolute(name)
  end
  return words
end

--- Runs a Lua file with the interpreter under test: `file(path, args, options)`; see shell.run.
function M.file(path, args, options)
  local set = { env = M.env() }
  for k, v in pairs(options or {}) do
    if k == "env" then table.move(v, 1, #v, #set.env + 1, set.env) else set[k] = v end
  end
  return shell.run(shell.words { M.exe, path, table.unpack(args or {}) }, set)
end

--- Runs Lua source text from a temporary file. The result has the file's name as `path`.
function M.source(text, args, options)
  local path = shell.write(text)
  local result = M.file(path, args, options)
  os.remove(path)
  result.path = path
  return result
end

return M
