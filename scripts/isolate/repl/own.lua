--- What the prompt has to itself: nothing that a line does to the libraries, to the methods of
-- strings or to main's hook reaches it.
--
-- Its modules see the libraries as they were when this was loaded. While the prompt's own code
-- runs, strings have the methods that they had then, and main has no hook; before code of the user
-- runs both are given back.
-- @module isolate.repl.own
-- SPDX-License-Identifier: MIT
local next, pcall, error = next, pcall, error
local pack, unpack = table.pack, table.unpack
local getmeta, setmeta = debug.getmetatable, debug.setmetatable

local M = {}

local function copy(t)
  local new = {}
  for key, value in next, t do new[key] = value end
  return new
end

--- What its modules have for globals. `package` is the real one, whose paths are looked up.
M.env = copy(_G)
for name, library in next, { string = string, table = table, math = math, io = io, os = os,
  utf8 = utf8, debug = debug, coroutine = coroutine } do
  M.env[name] = copy(library)
end

local strings = copy(getmeta "" or {}) -- the prompt's own
strings.__index = M.env.string

local own = false -- is it the prompt's code that runs?
local users = getmeta "" -- the metatable of strings

local function enter()
  users, own = getmeta "", true
  setmeta("", strings)
end

local function leave()
  own = false
  setmeta("", users)
end

local function finish(ok, ...)
  if ok then return ... end
  error((...), 0)
end

--- Calls a function of the prompt's own.
-- @tparam function f
-- @param ... its arguments
-- @return its results
-- @raise what it raises
function M.inside(f, ...)
  if own then return f(...) end
  enter()
  local results = pack(pcall(f, ...))
  leave()
  return finish(unpack(results, 1, results.n))
end

--- Calls a function in which code of the user may run, but for a line: without main's hook.
-- @tparam function f
-- @param ... its arguments
-- @return its results
-- @raise what it raises
function M.outside(f, ...)
  if not own then return f(...) end
  leave()
  local results = pack(pcall(f, ...))
  enter()
  return finish(unpack(results, 1, results.n))
end

-- No tail call, so that the traceback names the method: there the prompt's own frames begin.
local function run_line(editor, ...)
  local results = pack(editor:run_line(...))
  return results
end

--- Calls a line of the user, with the hook that the one before has left.
-- @tparam editor editor which keeps that meanwhile
-- @tparam function handler
-- @param ... the line and its arguments
-- @return what `editor:call` returns
-- @raise what it raises
function M.line(editor, handler, f, ...)
  leave()
  local ok, results = pcall(run_line, editor, f, handler, ...)
  enter()
  if not ok then error(results, 0) end
  return unpack(results, 1, results.n)
end

return M
