--- The prompt: reads, evaluates and shows, while the event loop of main runs.
--
-- The executable hands in the editor of its terminal (host/repl_edit.c). A session is one table
-- that the parts share:
--
--  - `editor`, `chunks` (kept locals), `history`, `lines` (what was typed, by line number),
--    `inputs` (what `:save` writes);
--  - `options` of the pretty printer; `saved`, paths that were; `loading`, paths that are;
--  - `show(text)` prints, above the line when one is edited; `call`, `keep` and `show_results`, the
--    functions below;
--  - `over`, it is to end; `warned`, it was said what goes on; what isolate.repl.watch has.
-- @module isolate.repl
-- SPDX-License-Identifier: MIT
local isolate = require "isolate"
local characters = require "isolate.repl.characters"
local chunk = require "isolate.repl.chunk"
local commands = require "isolate.repl.commands"
local complete = require "isolate.repl.complete"
local history = require "isolate.repl.history"
local home = require "isolate.repl.home"
local inputs = require "isolate.repl.inputs"
local own = require "isolate.repl.own"
local pretty = require "isolate.repl.pretty"
local report = require "isolate.repl.report"
local watch = require "isolate.repl.watch"
local core = require "isolate.core"
local _ENV = own.env

local M = {}

-- Results that are kept: `_` and `_1` are those of the last line, `_2` of the one before it.
local KEPT = 3
-- Seconds that the text of a prompt of the user's may take to be made.
local PATIENCE = 0.2
-- Lines in a row that may fail in the prompt itself, before it gives up.
local FAILURES = 10

-- -- Lines ---------------------------------------------------------------------------------------

local function dim(session, text)
  return session.options.colour and ("\27[2m%s\27[m"):format(text) or text
end

-- Of an input whose first line has that number; `more`: a later line of it.
local function prompt_text(session, first, more)
  local name = more and "_PROMPT2" or "_PROMPT"
  local custom = rawget(_G, name)
  if custom ~= nil and custom ~= session.bad_prompt then
    local ok, text = core.limited(PATIENCE, tostring, custom)
    if ok then return text end
    session.bad_prompt = custom -- which is said once
    session.show(("%s: %s"):format(name, report.bare(text).message))
  end
  return dim(session, more and (" "):rep(#tostring(first)) .. "| " or first .. "> ")
end

-- Of several rows, the line's is the last: libedit takes no other.
local function prompt_of(session, first, more)
  local text = prompt_text(session, first, more)
  if not session.editor:edits() then return text end
  local above, last = text:match "^(.*\n)(.*)$"
  if above then session.show(above) end
  return characters.marked(last or text)
end

-- One input: a command, or lines until they are a chunk or cannot be one; those may stand behind
-- `:time`. Gives its text, the chunk, the number of its first line, and a message: of the compiler,
-- or with "" why it was given up. nil at the end of the input; "" for nothing.
local function read_input(session)
  local first, text, head = #session.lines + 1, nil, ""
  while true do
    local line, reason = own.outside(session.editor.read, session.editor,
      prompt_of(session, first, text))
    if not line then
      for i = #session.lines, first, -1 do session.lines[i] = nil end
      if reason == "eof" and not text then return nil end
      return "", nil, first, text and "dropped" or reason
    end
    if not text and complete.is_command(line) then
      local command, code = line:match "^(%s*:time%s+)(%S.*)$"
      if not command then return line end
      head, line = command, code
    end
    if not text and not line:find "%S" then return "" end
    text = text and text .. "\n" .. line or line
    for part in (line .. "\n"):gmatch "(.-)\n" do session.lines[#session.lines + 1] = part end
    local fn, message, kind = session.chunks:load(text, "=repl", first)
    if kind ~= "incomplete" then return head .. text, fn, first, message end
  end
end

-- -- Values --------------------------------------------------------------------------------------

--- Keeps the results of a line, for those that follow: the first one, if there is something.
-- They are globals, so that functions that use them can be sent; and nothing else holds them.
-- @tparam table results with their number `n`
function M.keep(results)
  local first = results[1]
  if results.n == 0 or results.n == 1 and first == nil then return end
  for i = KEPT, 2, -1 do rawset(_G, "_" .. i, rawget(_G, "_" .. i - 1)) end
  rawset(_G, "_", first)
  rawset(_G, "_1", first)
end

-- Who clears `_` wants the value to go.
local function clear_result()
  if rawget(_G, "_") == nil then rawset(_G, "_1", nil) end
end

--- Shows the results of a line, and keeps them.
-- @tparam table session
-- @tparam table results with their number `n`
function M.show_results(session, results)
  if results.n == 0 then return end
  local text = pretty.results(results.n, results, session.options)
  M.keep(results)
  session.show(text)
  for _, future in ipairs(watch.futures(session, results)) do watch.future(session, future) end
end

--- Runs a function as a line of the prompt does: Ctrl-C ends it, errors are shown.
-- @tparam table session
-- @tparam function fn
-- @param ... its arguments
-- @treturn table|nil its results, with their number `n`; nil after an error
function M.call(session, fn, ...)
  local failure
  local results = table.pack(own.line(session.editor, function(err)
    failure = own.inside(report.capture, err)
    return err
  end, fn, ...))
  clear_result()
  if results[1] then return table.pack(table.unpack(results, 2, results.n)) end
  failure = failure or report.bare(results[2])
  session.show(report.format(session, failure))
  if report.in_hook(failure) and session.editor:unhook() then
    session.show "the hook that raised this is removed"
  end
  watch.hung(session, failure)
end

local HINTS = { help = ":help lists the commands; :doc NAME tells of a function",
  exit = "Ctrl-D or :quit leaves", quit = "Ctrl-D or :quit leaves" }

-- What is said of a line that is one of those words, or calls it, and no name of the user's; nil:
-- nothing.
local function hint_of(session, text)
  local word = text:match "^%s*(%a+)%s*%(?%s*%)?%s*$"
  local _, is_local = session.chunks:get(word or "")
  return word and not is_local and rawget(_G, word) == nil and HINTS[word] or nil
end

-- A part of the prompt: Ctrl-C ends it, and errors are shown.
local function protected(session, fn, ...)
  local failure
  local results = table.pack(session.editor:call(fn, function(err)
    failure = report.capture(err)
    return err
  end, session, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  failure = failure or report.bare(results[2])
  if failure.interrupted then -- and with it what was evaluated elsewhere
    for key, value in pairs(session.evaluated or {}) do failure[key] = value end
  end
  session.evaluated = nil
  session.show(report.format(session, failure))
end

local function evaluate(session, text, fn, message)
  local results = fn and M.call(session, fn)
  inputs.note(session, text, results)
  if not fn then return session.show(report.syntax(session, message)) end
  if results then protected(session, M.show_results, results) end
end

-- -- The session ---------------------------------------------------------------------------------

local function complete_line(session)
  return function(line, cursor)
    return own.inside(complete.find, line, cursor, session.chunks, commands.names())
  end
end

local function load_startup(session)
  local path = home.path("XDG_CONFIG_HOME", ".config", "init.lua")
  local file = path and io.open(path)
  if not file then return end
  file:close()
  local fn, message = loadfile(path)
  if fn then
    M.call(session, fn)
  else
    session.show(report.syntax(session, message))
  end
end

local function new_session(editor)
  local session = { editor = editor, chunks = chunk.new(), lines = {}, inputs = {},
    saved = {}, loading = {}, call = M.call, protected = protected, keep = M.keep,
    show_results = M.show_results }
  local columns = editor:size()
  session.options = { width = columns,
    colour = editor:edits() and (os.getenv "NO_COLOR" or "") == "" }
  local out, write, flush = io.stdout, io.stdout.write, io.stdout.flush
  function session.show(text)
    text = text:sub(-1) == "\n" and text or text .. "\n"
    local ok, written = pcall(write, out, text)
    if not ok or not written or not pcall(flush, out) then editor:write(text) end -- it is closed
  end
  return session
end

local function open_history(session)
  local file, problem = history.open()
  if problem then session.show("history: " .. problem) end
  session.history = file
  for _, entry in ipairs(file:entries()) do session.editor:add(entry) end
end

local function remember(session, text)
  if not text:find "%S" then return end
  local added, problem = session.history:add(text)
  if added then session.editor:add(text) end
  if problem then session.show("history: " .. problem) end
end

local function counted(n, what)
  return n > 0 and ("%d %s%s"):format(n, what, n == 1 and "" or "s") or nil
end

-- Asks once whether to leave while something goes on: a second end of input does.
local function may_leave(session)
  local running, tasks, timers = watch.running(), core.pending()
  local all, going, pending = #running + tasks + timers, {}, {}
  if all == 0 or session.warned then return true end
  going[1] = #running > 0 and ("%s still run%s: %s"):format(counted(#running, "isolate"),
    #running == 1 and "s" or "", watch.names(running)) or nil
  pending[1] = counted(tasks, "task")
  pending[#pending + 1] = counted(timers, "timer")
  if #pending > 0 then
    going[#going + 1] = ("%s %s pending"):format(table.concat(pending, " and "),
      tasks + timers == 1 and "is" or "are")
  end
  session.warned = true
  session.show(("%s (Ctrl-D again leaves and ends %s%s)"):format(table.concat(going, "; "),
    all == 1 and "it" or "them", #running > 0 and "; :ps shows more" or ""))
  return false
end

-- Reads one input and does what it says.
local function round(session)
  session.options.width = session.editor:size()
  local text, fn, first, message = read_input(session)
  if not text then
    session.over = may_leave(session)
  elseif text == "" then
    if message == "interrupted" then watch.interrupted(session) end
  else
    session.warned, session.hung, session.told = false, nil, 0
    remember(session, text)
    local hint = first and hint_of(session, text)
    if hint then
      session.show(hint)
    elseif complete.is_command(text) then
      commands.run(session, text, fn, message)
    else
      evaluate(session, text, fn, message)
    end
  end
end

local function run(session)
  local failures = 0
  while not session.over do
    local ok, err = pcall(round, session)
    failures = ok and 0 or failures + 1
    if failures > FAILURES then error(err, 0) end
    if not ok then session.show(report.format(session, report.bare(err))) end
  end
end

--- Reads and evaluates lines until the end of the input.
-- @tparam table edit the module of the executable's editor
-- @tparam[opt] table opts `startup`: run the user's `init.lua`; `version`: what greets the user
-- @raise when standard input and output are no terminal
-- @usage require("isolate.repl").start(edit)
function M.start(edit, opts)
  local editor <close> = assert(edit.open())
  local session = new_session(editor)
  if opts and opts.version then session.show(opts.version .. "  (:help for help)") end
  open_history(session)
  editor:set_completer(complete_line(session))
  editor:on_break(function(err)
    own.inside(function() session.show(report.format(session, report.capture(err))) end)
  end)
  local watching <close> = watch.open(session) -- luacheck: ignore 211
  if rawget(_G, "isolate") == nil then rawset(_G, "isolate", isolate) end
  own.inside(function()
    if opts and opts.startup then load_startup(session) end
    run(session)
  end)
end

return M
