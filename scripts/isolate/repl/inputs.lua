--- What was typed, as a file: `:save` writes it, and `:load` runs it as if it was typed again.
--
-- The first line tells it from a script, which is one chunk: here each input is one of its own, may
-- be an expression, and has the kept locals of those before.
-- @module isolate.repl.inputs
-- SPDX-License-Identifier: MIT
local complete = require "isolate.repl.complete"
local report = require "isolate.repl.report"
local _ENV = require("isolate.repl.own").env

local M = {}

local HEAD = "-- typed at a prompt of isolua: ':load' runs it input by input\n"

--- Notes an input that was run.
-- @tparam table session has them in `inputs`
-- @tparam string text
-- @tparam boolean done false: it did not compile, raised an error or was interrupted, and is not to
--   be run again
function M.note(session, text, done)
  local list = session.inputs
  list[#list + 1] = done and text or "-- " .. text:gsub("\n", "\n-- ")
end

--- The text of a file with all inputs of a session.
-- @tparam table session
-- @treturn string
function M.text(session)
  return HEAD .. table.concat(session.inputs, "\n") .. "\n"
end

--- Is that the text of such a file?
-- @tparam string text
-- @treturn boolean
function M.are(text)
  return text:sub(1, #HEAD) == HEAD
end

--- Runs the inputs of a file up to the first one that fails.
-- @tparam table session
-- @tparam string text of the file
-- @tparam string path of the file
-- @tparam function command is called with each command in it
function M.run(session, text, path, command)
  local number, first, input, problem = 1, nil, nil, nil
  for line in text:sub(#HEAD + 1, -2):gmatch "([^\n]*)\n?" do
    number = number + 1
    if not input and complete.is_command(line) then
      command(line)
    else
      first, input = input and first or number, input and input .. "\n" .. line or line
      local fn, message, kind = session.chunks:load(input, "@" .. path, first)
      problem = message
      if kind ~= "incomplete" then
        local results = fn and session.call(session, fn)
        M.note(session, input, results)
        if fn and not results then return end
        if not fn then break end
        session.keep(results)
        input = nil
      end
    end
  end
  if input then session.show(report.syntax(session, problem)) end
end

return M
