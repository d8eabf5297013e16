--- The commands of the prompt: lines that begin with a colon.
-- @module isolate.repl.commands
-- SPDX-License-Identifier: MIT
local characters = require "isolate.repl.characters"
local core = require "isolate.core"
local doc = require "isolate.repl.doc"
local inputs = require "isolate.repl.inputs"
local isolate = require "isolate"
local pretty = require "isolate.repl.pretty"
local report = require "isolate.repl.report"
local table_of = require "isolate.repl.table"
local watch = require "isolate.repl.watch"
local _ENV = require("isolate.repl.own").env

local list_isolates, now, self, sleep = isolate.list, isolate.now, isolate.self, isolate.sleep

local M = {}

-- Seconds that a look into an isolate may take; between two pictures of `:top`; that an isolate has
-- to pause until it is said that it is still at it, and between two looks whether it is.
local LOOK, REFRESH, PAUSE, SOON = 0.2, 1, 0.2, 0.002
-- Columns of a text at most.
local READABLE = 100

-- -- Arguments -----------------------------------------------------------------------------------

local function misuse(text, ...)
  error({ usage = text:format(...) }, 0)
end

-- The isolate of an id or a name.
local function find(text)
  if text == "" then misuse "which isolate? Give its id or its name; :ps lists them" end
  text = text:match '^"(.*)"$' or text:match "^'(.*)'$" or text
  local iso, other = watch.find(math.tointeger(tonumber(text)), text)
  if not iso then misuse("there is no isolate '%s'; :ps lists them", text) end
  if other then
    misuse("there are several isolates '%s', as %d and %d: give the id", text, iso.id, other.id)
  end
  return iso
end

-- The isolate, which may be a name in quotes, and the code behind it.
local function split(argument)
  local quote = argument:match "^[\"']"
  local name, rest = argument:match(quote and "^(" .. quote .. ".-" .. quote .. ")%s+(.*)$"
    or "^(%S+)%s+(.*)$")
  return find(name or argument), rest
end

-- Where that code is by now, which was interrupted: as a failure; nil: there is no answer.
local function evaluated(iso, code)
  local ok, frames = core.inspect(iso, "traceback"):try(LOOK)
  frames = ok and frames:match "^(.-)\nbelow that," or ok and frames
  local place = frames and frames:match "\t(:in:%d+:)"
  return place and { message = place, frames = frames, source = { name = ":in", text = code } }
end

local function add_all(isolates, prefix, found)
  for _, iso in ipairs(isolates) do
    local name = iso.name:find "[%s\"']" and ("'%s'"):format(iso.name) or iso.name
    for _, word in ipairs { tostring(iso.id), prefix ~= "" and name or nil } do
      if word:sub(1, #prefix) == prefix then found[word] = true end
    end
  end
end

local function add_isolates(prefix, found) add_all(list_isolates(), prefix, found) end
local function add_others(prefix, found) add_all(watch.running(), prefix, found) end -- than main

local function add_docs(prefix, found)
  for _, name in ipairs(doc.names()) do
    if name:sub(1, #prefix) == prefix then found[name] = true end
  end
end

-- -- What the commands do ------------------------------------------------------------------------

local list, by_name = {}, {}

local function command(names, arguments, kind, text, run)
  local entry = { names = names, arguments = arguments, kind = kind, text = text, run = run }
  list[#list + 1] = entry
  for name in names:gmatch "%S+" do by_name[name] = entry end
end

command(":help :h", "[command]", function(prefix, found)
  for name in pairs(by_name) do
    if name:sub(1, #prefix) == prefix then found[name] = true end
  end
end, "what commands there are, or how one is used", function(session, argument)
  if argument ~= "" then
    local entry = by_name[argument] or by_name[":" .. argument]
    if not entry then misuse("there is no command '%s'; :help lists them", argument) end
    return session.show(("%s %s\n  %s"):format(entry.names:gsub(" ", ", "), entry.arguments,
      entry.text))
  end
  local rows = {}
  for _, entry in ipairs(list) do
    rows[#rows + 1] = { entry.names:match "%S+" .. " " .. entry.arguments, entry.text }
  end
  session.show(table_of.text(nil, rows) .. [[

Anything else is Lua: expressions print their values, and _ is the last one (_1 too; _2, _3 those
before). Local variables live on from line to line. A future that is printed prints its results
when they are there. Tab completes, Ctrl-R searches what was typed, Ctrl-C stops what runs, Ctrl-D
leaves.]])
end)

-- One row for each isolate, of main first.
local function isolates()
  local rows, asked, all = {}, {}, list_isolates()
  table.sort(all, function(a, b) return a.id < b.id end)
  for i, iso in ipairs(all) do asked[i] = core.inspect(iso, "where") end
  local deadline = now() + LOOK
  for i, iso in ipairs(all) do
    local ok, where = asked[i]:try(math.max(0, deadline - now()))
    if iso == self() then where = "the prompt" end
    rows[i] = { iso = iso, stats = iso:stats(), where = ok and where or "" }
  end
  return rows
end

local HEAD = { "ID", "NAME", "STATE", ">CPU", ">HEAP", ">INBOX", ">AGE", "AT" }

-- One that is paused while it is busy runs on to its next wait.
local function state_of(iso, stats)
  local status = iso:status()
  return status == "paused" and stats.busy and "pausing" or status
end

local function cells(row, shares)
  local iso, s = row.iso, row.stats
  local share = shares and ("%.0f%%"):format(100 * (shares[iso.id] or 0))
  return { tostring(iso.id), iso.name, state_of(iso, s), share or table_of.seconds(s.cpu),
    table_of.bytes(s.memory), tostring(s.queued), table_of.seconds(s.age), row.where }
end

local function picture(shares, rows)
  local lines = {}
  for i, row in ipairs(rows) do lines[i] = cells(row, shares) end
  return table_of.text(HEAD, lines)
end

command(":ps", "", nil, "the isolates: processor time, heap, inbox, age, and where each of them is",
  function(session) session.show(picture(nil, isolates())) end)

-- What part of the time since the last picture each used, the busiest first.
local function shares_of(rows, before, seconds)
  local shares = {}
  for _, row in ipairs(rows) do
    local id = row.iso.id
    shares[id] = before[id] and math.max(0, row.stats.cpu - before[id]) / seconds or 0
    before[id] = row.stats.cpu
  end
  table.sort(rows, function(a, b)
    local x, y = shares[a.iso.id], shares[b.iso.id]
    if x ~= y then return x > y end
    return a.iso.id < b.iso.id
  end)
  return shares
end

-- What fits the screen, from its top left corner.
local function draw(editor, text)
  local columns, rows = editor:size()
  local out, n = { "\27[H" }, 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    n = n + 1
    if n > rows - 1 then break end
    local to = utf8.len(line) and utf8.offset(line, columns + 1) or columns + 1
    out[#out + 1] = line:sub(1, (to or #line + 1) - 1) .. "\27[K\r\n"
  end
  out[#out + 1] = "\27[J"
  editor:write(table.concat(out))
end

local function watch_top(session)
  local before, last = {}, now()
  repeat
    local rows, time = isolates(), now()
    local shares = shares_of(rows, before, math.max(time - last, 1e-3))
    last = time
    draw(session.editor, ("%d isolate%s (q leaves)\n%s"):format(#rows,
      #rows == 1 and "" or "s", picture(shares, rows)))
    local key, reason = session.editor:key(REFRESH)
  until key == "q" or key == "Q" or reason == "interrupted" or reason == "eof"
end

command(":top", "", nil, "the isolates, live, the busiest first; q leaves", function(session)
  if not session.editor:edits() then
    misuse ":top needs a terminal that can move its cursor; :ps shows the same once"
  end
  session.editor:screen(true)
  local ok, err = pcall(watch_top, session)
  session.editor:screen(false)
  if not ok then error(err, 0) end
end)

-- One that does something to an isolate, and gives what is then said of it; `refusal`: of main.
local function control(name, text, refusal, run)
  command(name, "ID", add_others, text, function(session, argument)
    local iso = find(argument)
    if iso == self() then misuse(refusal) end
    session.show(watch.name_of(iso) .. run(iso))
  end)
end

control(":kill", "kills an isolate", "main cannot be killed; :quit leaves", function(iso)
  iso:kill()
  return " is told to end"
end)

control(":pause", "pauses an isolate between two of its events", "main cannot be paused",
  function(iso)
    iso:pause "prompt"
    local deadline = now() + PAUSE
    while iso:stats().busy and now() < deadline do sleep(SOON) end
    local is_busy = iso:stats().busy
    return (" is %s; :resume %d lets it go on"):format(
      is_busy and "pausing: it runs on until its next wait" or "paused", iso.id)
  end)

control(":resume", "ends all pauses of an isolate", "main is not paused", function(iso)
  iso:resume()
  return " goes on"
end)

command(":bt", "ID", add_isolates, "where an isolate is: its traceback, also in an endless loop",
  function(session, argument)
    local iso = find(argument)
    local ok, result = core.inspect(iso, "traceback"):try(LOOK)
    if ok and iso == self() then -- its frames are those of the prompt
      local tasks = result:match "\na task that waits:\n.*$" or ""
      return session.show("main is at the prompt" .. tasks)
    end
    if ok then return session.show(result) end
    local problem = "no answer: it is in a C function"
    if ok == false then problem = result.code == "closed" and "it has ended" or result.message end
    session.show(watch.name_of(iso) .. ": " .. problem)
  end)

command(":in", "ID code", "code", "evaluates an expression or statements in an isolate",
  function(session, argument)
    local iso, code = split(argument)
    if not code then misuse "what is to be evaluated? As in ':in 3 #queue'" end
    local answer <close> = core.inspect(iso, "eval", code) -- Ctrl-C cancels it
    local _ <close> = setmetatable({}, { __close = function(_, err)
      if err ~= nil then session.evaluated = evaluated(iso, code) end -- before it is cancelled
    end })
    local results = table.pack(pcall(answer.await, answer))
    local err = not results[1] and results[2]
    if type(err) == "table" and rawget(err, "code") == "closed" then
      misuse("%s ended", watch.name_of(iso))
    elseif not results[1] then
      error(err, 0)
    elseif not results[2] then
      local failure = report.bare(results[3])
      failure.source = { name = ":in", text = code }
      session.show(report.format(session, failure))
    elseif results.n > 2 then
      session.show(pretty.results(results.n - 2, { table.unpack(results, 3, results.n) },
        session.options))
    end
  end)

command(":mem", "", nil, "the memory of the isolates' heaps, after a collection in main",
  function(session)
    collectgarbage()
    local total, rows = 0, {}
    for _, row in ipairs(isolates()) do
      total = total + row.stats.memory
      rows[#rows + 1] = { tostring(row.iso.id), row.iso.name, table_of.bytes(row.stats.memory) }
    end
    rows[#rows + 1] = { "", "all", table_of.bytes(total) }
    local live = core.live()
    session.show(("%s\n%s in messages, %s shared"):format(
      table_of.text({ "ID", "NAME", ">HEAP" }, rows), table_of.bytes(live.bytes),
      table_of.bytes(live.shared)))
  end)

command(":time", "code", "code", "how long a line takes, and what main's heap grows by",
  function(session, argument, fn, message)
    if argument == "" then misuse "what is to be timed? As in ':time fib(30)'" end
    if not fn then return session.show(report.syntax(session, message)) end
    collectgarbage()
    local heap, cpu, began = collectgarbage "count", os.clock(), now()
    local results = session.call(session, fn)
    local wall = now() - began
    cpu, heap = os.clock() - cpu, (collectgarbage "count" - heap) * 1024
    inputs.note(session, argument, results)
    if results then session.show_results(session, results) end
    session.show(("%s (%s of processors), %s of heap"):format(table_of.seconds(wall),
      table_of.seconds(cpu), (heap < 0 and "-" or "+") .. table_of.bytes(math.abs(heap) // 1 | 0)))
  end)

-- The path that is meant: in quotes, or below the user's home as `~/name`.
local function path_of(argument, example)
  local path = argument:match '^"(.*)"$' or argument:match "^'(.*)'$" or argument
  if path == "" then misuse("which file? As in '%s'", example) end
  local home = path:sub(1, 2) == "~/" and os.getenv "HOME"
  return home and home .. path:sub(2) or path
end

local function read_file(path)
  local file, problem = io.open(path, "rb")
  if not file then misuse("cannot read %s", problem) end
  local text
  text, problem = file:read "a"
  file:close()
  return text or misuse("cannot read %s: %s", path, problem)
end

local load_file

-- What is there instead of a script when the prompt has saved it. It may load others.
local function load_inputs(session, text, path)
  if session.loading[path] then misuse("%s loads itself", path) end
  session.loading[path] = true
  local ok, err = pcall(inputs.run, session, text, path, function(line)
    load_file(session, line:match "^%s*:load%s+(.-)%s*$"
      or misuse("%s: a command that is not to be loaded: %s", path, line))
  end)
  session.loading[path] = nil
  if not ok then error(err, 0) end
end

function load_file(session, argument)
  local path = path_of(argument, ":load script.lua")
  local text = read_file(path)
  if inputs.are(text) then return load_inputs(session, text, path) end
  text = text:gsub("^\xEF\xBB\xBF", "", 1):gsub("^#[^\n]*", "", 1)
  local fn, message = session.chunks:load(text, "@" .. path, 1)
  if not fn then return session.show(report.syntax(session, message)) end
  inputs.note(session, ":load " .. argument, session.call(session, fn))
end

command(":load", "file", "file", "runs a script, whose local variables stay, or what :save has \z
  written", load_file)

local function exists(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

local function save(session, path)
  local file, problem = io.open(path, "wb")
  if not file then misuse("cannot write %s", problem) end
  local written, refusal = file:write(inputs.text(session))
  local closed, failure = file:close()
  if not (written and closed) then
    misuse("cannot write %s: %s", path, refusal or failure)
  end
  session.saved[path] = true
  local n = #session.inputs
  session.show(("%d input%s in %s"):format(n, n == 1 and "" or "s", path))
end

command(":save", "file", "file", "writes what was typed into a file, if it is a new one",
  function(session, argument)
    local path = path_of(argument, ":save session.lua")
    if exists(path) and not session.saved[path] then
      misuse("%s is there already; :save! writes over it", path)
    end
    save(session, path)
  end)

command(":save!", "file", "file", "the same, also over a file that is there",
  function(session, argument) save(session, path_of(argument, ":save! session.lua")) end)

command(":doc", "name", add_docs, "what is known of a function: :doc isolate.run, :doc await",
  function(session, argument)
    if argument == "" then misuse "of what? As in ':doc isolate.run' or ':doc string.format'" end
    local text, others = doc.find(argument)
    if text then
      local width = math.min(session.options.width, READABLE)
      return session.show(characters.wrapped(text, width))
    end
    misuse("nothing is known of '%s'%s", argument,
      #others > 0 and "; there are " .. table.concat(others, ", ") or "")
  end)

command(":quit :q", "", nil, "leaves, and ends what still runs", function(session)
  session.over = true
end)

-- Are there more words behind a command than it takes? One in quotes or parentheses is one.
local function is_surplus(entry, argument)
  local most = ({ [""] = 0, ID = 1, name = 1, ["[command]"] = 1 })[entry.arguments]
  local _, n = argument:gsub("%b()", ""):gsub("^([\"']).-%1", "x"):gsub("%S+", "")
  return most ~= nil and n > most
end

--- What completion has to know.
-- @treturn table `names`, and `arguments` by name
function M.names()
  local words, arguments = {}, {}
  for name, entry in pairs(by_name) do
    words[#words + 1] = name
    arguments[name] = entry.kind
  end
  return { names = words, arguments = arguments }
end

--- Runs a command.
-- @tparam table session
-- @tparam string line
-- @tparam[opt] function fn the chunk of the code that stands behind it
-- @tparam[opt] string message of the compiler, when that is none
function M.run(session, line, fn, message)
  local name, argument = line:match "^%s*(:%S*)%s*(.-)%s*$"
  local entry = by_name[name]
  if not entry then
    session.show(("there is no command '%s'; :help lists them"):format(name))
    return
  end
  if is_surplus(entry, argument) then
    session.show(("usage: %s %s"):format(name, entry.arguments))
    return
  end
  local usage
  local done = session.protected(session, function()
    local ok, err = pcall(entry.run, session, argument, fn, message)
    if ok then return true end
    usage = type(err) == "table" and err.usage
    if not usage then error(err, 0) end
    return true
  end)
  if done and usage then session.show(usage) end
end

return M
