--- Errors at the prompt: the message, the line of source that it names with a caret, the traceback.
-- @module isolate.repl.report
-- SPDX-License-Identifier: MIT
local characters = require "isolate.repl.characters"
local core = require "isolate.core"
local lexer = require "isolate.repl.lexer"
local pretty = require "isolate.repl.pretty"
local _ENV = require("isolate.repl.own").env

local columns = characters.columns

local M = {}

local FRAMES = 22

-- Of the error objects of this library.
local ERROR = debug.getmetatable(core.error(core.CANCELLED, ""))

local function paint(session, code, text)
  return session.options.colour and ("\27[%sm%s\27[m"):format(code, text) or text
end

-- -- The line of source --------------------------------------------------------------------------

local function line_of_file(path, number)
  local file = io.open(path)
  if not file then return end
  local n = 0
  for line in file:lines() do
    n = n + 1
    if n == number then
      file:close()
      return line
    end
  end
  file:close()
end

-- The source that a message begins with: `repl:12:`, `dir/script.lua:3:`.
local function find_source(session, message, source)
  local name, number = message:match "^([^\n]-):(%d+):"
  number = tonumber(number)
  if not number then return end
  if source and source.name == name then
    for line in (source.text .. "\n"):gmatch "(.-)\n" do
      number = number - 1
      if number == 0 then return line end
    end
    return
  end
  if name == "repl" then return session.lines[number] end
  return line_of_file(name, number)
end

-- What the message speaks of: the name in `(global 'x')`, the token in `near 'x'`.
-- Else the function that raised it, when it is one in C: that is called in the line.
local function find_subject(message, frames)
  local called = frames and frames:match "^stack traceback:\n%s*%[C%]: in [%a ]*'([^'\n]+)'"
  return message:match "%(%l+ '([^']+)'%)" or message:match "near '(.+)'$"
    or message:match "near (<\\%d+>)$" or called and called:match "[^.]+$"
end

local function last_token(tokens)
  for i = #tokens, 1, -1 do
    if tokens[i].kind ~= "comment" then return tokens[i] end
  end
end

-- The byte of `line` where the compiler fails, as statements or as an expression: of several tokens
-- that read alike, the one that it named. A line of a longer input may fail elsewhere by itself.
local function find_failure(line, message)
  if not message:find(" near ", 1, true) then return end
  local last
  for _, head in ipairs { "", "return " } do
    local _, at = lexer.failure(head .. line:gsub("^(%s*)=", "%1 "))
    if at and at > #head and (not last or at - #head > last) then last = at - #head end
  end
  return last
end

-- Bytes of `line` where the caret begins and ends.
local function find_caret(line, message, frames)
  local tokens = lexer.tokens(line)
  local subject, failure = find_subject(message, frames), find_failure(line, message)
  local at_end = message:find "near <eof>$"
  if at_end or not subject then
    local token = at_end and last_token(tokens) or tokens[1]
    return token and token.from, token and token.to
  end
  local named
  for _, token in ipairs(tokens) do
    if token.text == subject or subject:find "^<" and token.kind == "unknown"
      or token.kind == "string" and token.text:sub(2, -2) == subject then
      if not named or token.from == failure then named = token end
    end
  end
  if named then return named.from, named.to end
  local from, to = line:find(subject, 1, true)
  return from, to
end

local function add_source(session, list, message, frames, source)
  local line = find_source(session, message, source)
  if not line or not line:find "%S" or #line > 500 then return end
  local from, to = find_caret(line, message, frames)
  list[#list + 1] = "    " .. line
  if not from then return end
  local before = line:sub(1, from - 1)
  before = before:gsub(utf8.len(before) and utf8.charpattern or ".",
    function(c) return c == "\t" and c or (" "):rep(columns(c)) end)
  local marks = ("^"):rep(math.max(1, math.min(columns(line:sub(from, to)), 40)))
  list[#list + 1] = "    " .. before .. paint(session, "1;31", marks)
end

-- -- Tracebacks ----------------------------------------------------------------------------------

-- Frames of the prompt itself end a traceback; so do those of C between it and them.
local function trim_frames(text)
  local lines, last = {}, 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    if line:find("isolate/repl", 1, true) or line:find "^\t%[C%]: in method 'call'"
      or line:find "^\t%[C%]: in method 'run_line'" then
      break
    end
    lines[#lines + 1] = line
    if line:find "^\t" and not line:find "^\t%[C%]: in %?" then last = #lines end
  end
  if #lines > FRAMES + 1 and last > FRAMES + 1 then
    table.move(lines, last - 10, last, FRAMES - 9)
    lines[FRAMES - 10] = "\t..."
    last = FRAMES + 1
  end
  return table.concat(lines, "\n", 1, last)
end

local function describe(err)
  if type(err) == "string" then return err end
  local ok, text = pcall(tostring, err)
  if not ok then text = "(error object whose __tostring fails)" end
  local meta = debug.getmetatable(err)
  if type(err) == "table" and not (meta and (meta.__tostring or meta.__name)) then
    return "(error object is a table value)"
  end
  if err == nil then return "(error object is nil)" end
  return text
end

-- Is it a value that says nothing by itself, and is shown as the prompt shows values?
local function is_opaque(err)
  local kind, meta = type(err), debug.getmetatable(err)
  if kind == "table" then
    return not (type(meta) == "table" and (rawget(meta, "__tostring") or rawget(meta, "__name")))
  end
  return kind == "boolean" or kind == "function" or kind == "thread"
end

--- What is to be known of an error, taken where it was raised: in a message handler.
-- @param err
-- @treturn table for `format`
function M.capture(err)
  local interrupted = type(err) == "table" and debug.getmetatable(err) == ERROR
    and rawget(err, "code") == "interrupted"
  local text = core.traceback(err)
  text = type(text) == "string" and text or describe(err)
  local message, frames = text:match "^(.-)\n(stack traceback:\n.*)$"
  local before
  frames = frames or ""
  repeat -- those of this function and of the handler that called it, behind those of isolates
    before = frames
    frames = frames:gsub("(stack traceback:\n)\t%[C%]: in %a+ 'pcall'\n", "%1")
      :gsub("(stack traceback:\n)\t%.*[^\n]-isolate/repl[^\n]*\n", "%1")
  until frames == before
  if interrupted then frames = frames:gsub("\nawaited in .*$", "") end -- it is main's own
  return { message = message or text, frames = frames, interrupted = interrupted,
    value = err, opaque = is_opaque(err) }
end

--- Was it raised by a hook of the user's?
-- @tparam table failure
-- @treturn boolean
function M.in_hook(failure)
  return failure.frames ~= nil and failure.frames:find("in hook '", 1, true) ~= nil
end

--- An error of which only the value is left.
-- @param err
-- @treturn table for `format`
function M.bare(err)
  return { message = describe(err), value = err, opaque = is_opaque(err) }
end

--- An error of which its traceback is left as a text.
-- @param err
-- @tparam ?string traceback it ends with the frames
-- @treturn table for `format`
function M.remote(err, traceback)
  local failure = M.bare(err)
  failure.frames = traceback and traceback:match "stack traceback:\n.*$"
  return failure
end

--- The text of an error.
-- @tparam table session
-- @tparam table failure from `capture` or `bare`
-- @treturn string
function M.format(session, failure)
  local list = {}
  if failure.interrupted then
    local place = session.editor:broken()
    list[1] = paint(session, "33", "interrupted" .. (place and ": " .. place or ""))
    if failure.source then add_source(session, list, failure.message, nil, failure.source) end
  elseif failure.opaque then
    list[1] = paint(session, "31", "error object: ")
      .. pretty.format(failure.value, session.options)
  else
    list[1] = paint(session, "31", failure.message)
    add_source(session, list, failure.message, failure.frames, failure.source)
  end
  local frames = failure.frames and trim_frames(failure.frames)
  if frames and frames:find "\n" then list[#list + 1] = frames end
  return table.concat(list, "\n")
end

--- The text of a message of the compiler.
-- @tparam table session
-- @tparam string message
-- @treturn string
function M.syntax(session, message)
  return M.format(session, { message = message })
end

return M
