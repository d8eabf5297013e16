--- What goes on beside the prompt: futures that settle, isolates that end.
-- @module isolate.repl.watch
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"
local isolate = require "isolate"
local own = require "isolate.repl.own"
local pretty = require "isolate.repl.pretty"
local report = require "isolate.repl.report"
local _ENV = own.env

local members_of = require("isolate.futures").members
local list_isolates, new_port, self = isolate.list, isolate.port, isolate.self

local M = {}

-- So many ends of isolates are told one by one until the next line; of more, nothing is.
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
    session.show(head .. report.format(session, report.remote(err, future:traceback())))
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
  if session.failed[message.id] then -- which was told, with the error
    session.failed[message.id] = nil
    return
  end
  session.told = session.told + 1
  if session.told <= TOLD then
    local reason = message.status == "failed" and message.reason
    session.show(("%s: %s%s"):format(M.name_of(message), message.status,
      reason and ": " .. tostring(reason) or ""))
  elseif session.told == TOLD + 1 then
    session.show "more isolates end; :ps shows those that run"
  end
end

-- Where it failed, as the beginning of what is said about it.
local function place_of(message)
  local what = message.what
  if message.ends == 1 then return M.name_of(message) .. ": failed" end
  if message.id ~= 0 and message.id ~= self().id then
    what = (what ~= "" and what .. " of " or "") .. M.name_of(message)
  end
  return "uncaught error in " .. what
end

local function uncaught(session, message)
  if message.ends == 1 then session.failed[message.id] = true end
  session.show(place_of(message) .. ": " .. report.format(session,
    report.remote(message.message, message.traceback)))
end

--- Begins to watch: ends of isolates that are spawned, and errors that nobody caught.
-- @tparam table session gets `futures`, whose results are still to be shown; `failed`, ids of
-- isolates whose end was told with their error; `told`, how many ends were since the last line.
-- `hung` has those that a Ctrl-C would kill.
-- @return what ends that when it is closed: what nobody caught goes to standard error again
function M.open(session)
  session.futures, session.failed, session.told = {}, {}, 0
  local rx, tx = new_port { name = "repl" }
  session.receiver, session.sender = rx, tx
  rx:on_message(function(message)
    own.inside(message.status and ended or uncaught, session, message)
  end)
  rx:unref()
  core.watch(tx)
  return setmetatable({}, { __close = function() core.watch(nil) end })
end

-- -- Ctrl-C --------------------------------------------------------------------------------------

-- Adds the isolates behind what has that id: one, or those of a future of several.
local function add_isolates(list, id)
  local iso = M.find(id)
  if iso and iso ~= self() then list[#list + 1] = iso end -- main cannot be killed
  for _, future in ipairs(not iso and members_of(id) or {}) do
    if not future:done() then add_isolates(list, (future.isolate or future).id) end
  end
  return list
end

-- What several isolates, or one, are called, do, and are.
local function subject(list, several, one)
  return #list > 1 and ("isolates %s %s"):format(M.names(list), several)
    or ("%s %s"):format(M.name_of(list[1]), one)
end

--- A line was interrupted: if it waited for isolates, a second Ctrl-C will kill them.
-- @tparam table session
-- @tparam table failure
function M.hung(session, failure)
  local list = {}
  for _, id in ipairs(failure.interrupted and session.editor:hung() or {}) do
    if #list == 0 then add_isolates(list, id) end
  end
  session.hung = list[1] and list
  if not list[1] then return end
  session.show(subject(list, "still run; Ctrl-C again kills them",
    "still runs; Ctrl-C again kills it"))
end

--- Ctrl-C at an empty line: kills the isolates that the line before waited for.
-- @tparam table session
function M.interrupted(session)
  local list = session.hung
  session.hung = nil
  if not list then return end
  for _, iso in ipairs(list) do iso:kill() end
  session.show(subject(list, "are killed", "is killed"))
end

return M
