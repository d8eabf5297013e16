--- What goes on beside the prompt: futures that settle, isolates that end.
-- @module isolate.repl.watch
-- SPDX-License-Identifier: MIT
local isolate = require "isolate"
local own = require "isolate.repl.own"
local pretty = require "isolate.repl.pretty"
local report = require "isolate.repl.report"
local _ENV = own.env

local list_isolates, new_port, self = isolate.list, isolate.port, isolate.self

local M = {}

-- So many isolates that one line started are told of one by one; of more, nothing is.
local TOLD = 20

local function is_a(value, name)
  local meta = debug.getmetatable(value)
  return type(value) == "userdata" and meta ~= nil and meta.__name == name
end

-- -- Futures -------------------------------------------------------------------------------------

local function settled(session, future, ok, ...)
  local head = ("future %d: "):format(future.id)
  if ok then
    local n = select("#", ...)
    session.show(head .. (n == 0 and "done" or pretty.results(n, { ... }, session.options)))
  else
    local err = ...
    local trace = future:traceback()
    local failure = report.bare(err)
    failure.frames = trace and trace:match "stack traceback:\n.*$"
    session.show(head .. report.format(session, failure))
  end
end

--- The futures among values whose results are not about to be shown already.
-- @tparam table session
-- @tparam table values a list, with its length `n`
-- @treturn table a list
function M.futures(session, values)
  local list = {}
  for i = 1, values.n do
    local value = values[i]
    if is_a(value, "isolate.future") and not session.futures[value] then
      list[#list + 1] = value
    end
  end
  return list
end

--- A future was shown: its results will be, too, once they are there.
-- @tparam table session
-- @tparam isolate.future future
function M.future(session, future)
  session.futures[future] = true
  future:on_done(function(...)
    session.futures[future] = nil
    own.inside(settled, session, future, ...)
  end)
end

-- -- Isolates ------------------------------------------------------------------------------------

--- What an isolate is called: `isolate 2 (name)`.
-- @tparam isolate iso or what else has an `id` and a `name`
-- @treturn string
function M.name_of(iso)
  return ("isolate %d (%s)"):format(iso.id, iso.name)
end

--- The isolate with that id, or that name.
-- @tparam ?integer id
-- @tparam ?string name
-- @treturn ?isolate
-- @treturn ?isolate another one of that name
function M.find(id, name)
  local list = {}
  for _, iso in ipairs(list_isolates()) do
    if iso.id == id then return iso end
    if iso.name == name then list[#list + 1] = iso end
  end
  return list[1], list[2]
end

--- Isolates that have not ended, but for main: those of pools too, also while they have no job.
-- @treturn table a list of their handles
function M.running()
  local list, main = {}, self()
  for _, iso in ipairs(list_isolates()) do
    if iso ~= main then list[#list + 1] = iso end
  end
  return list
end

--- Names of isolates, of the first few.
-- @tparam table list handles
-- @treturn string
function M.names(list)
  local names = {}
  for i = 1, math.min(#list, 5) do names[i] = ("%d (%s)"):format(list[i].id, list[i].name) end
  if #list > 5 then names[6] = "…" end
  return table.concat(names, ", ")
end

local function ended(session, message)
  local reason = message.status == "failed" and message.reason
  session.show(("%s: %s%s"):format(M.name_of(message), message.status,
    reason and ": " .. tostring(reason) or ""))
end

--- A line has run: of isolates that it spawned the end will be told.
-- @tparam table session
function M.started(session)
  local fresh = {}
  for _, iso in ipairs(M.running()) do
    if not session.seen[iso] and iso:stats().spawned then fresh[#fresh + 1] = iso end
  end
  for _, iso in ipairs(fresh) do
    session.seen[iso] = true
    if #fresh <= TOLD then iso:on_exit(session.exits) end
  end
end

--- Begins to watch.
-- @tparam table session gets `futures`, whose results are still to be shown; `seen`, the isolates
-- that were there or were noticed since; `exits`, to which their end is told. `hung` is the one
-- that a Ctrl-C would kill.
function M.open(session)
  session.futures, session.seen = {}, setmetatable({}, { __mode = "k" })
  local rx, tx = new_port { name = "repl" }
  session.exits, session.receiver = tx, rx
  rx:on_message(function(message) own.inside(ended, session, message) end)
  rx:unref()
  for _, iso in ipairs(M.running()) do session.seen[iso] = true end
end

-- -- Ctrl-C --------------------------------------------------------------------------------------

--- A line was interrupted: if it waited for an isolate, a second Ctrl-C will kill that.
-- @tparam table session
-- @tparam table failure
function M.hung(session, failure)
  local id = failure and failure.interrupted and session.editor:hung()
  local iso = id and M.find(id)
  session.hung = iso ~= self() and iso or nil -- main cannot be killed
  if session.hung then session.show(M.name_of(iso) .. " still runs; Ctrl-C again kills it") end
end

--- Ctrl-C at an empty line: kills the isolate that the line before waited for.
-- @tparam table session
function M.interrupted(session)
  local iso = session.hung
  session.hung = nil
  if not iso then return end
  iso:kill()
  session.show(M.name_of(iso) .. " is killed")
end

return M
