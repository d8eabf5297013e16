-- terminal.lua - a program on a terminal of tmux: keys go in, the screen is looked at.
-- SPDX-License-Identifier: MIT
local assert = require "luassert"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local M = {}
M.__index = M

-- Seconds until a screen must show what is expected of it.
local LIMIT = settle.sanitized and 60 or 15

local opened = 0

local function tmux(self, words)
  local all = { "tmux", "-L", self.socket, "-f", "/dev/null" }
  return shell.run(shell.words(table.move(words, 1, #words, #all + 1, all)), { limit = 20 })
end

-- Starts a command (words of a command line). Options: columns, rows; env, a list of NAME=value.
function M.open(command, options)
  options = options or {}
  opened = opened + 1
  local self = setmetatable({ socket = ("isolua%s-%d"):format(os.tmpname():match "%w+$", opened) },
    M)
  local words = { "env", "-i", "PATH=" .. os.getenv "PATH", "LANG=C.UTF-8" }
  for _, name in ipairs { "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS" } do
    if os.getenv(name) then words[#words + 1] = name .. "=" .. os.getenv(name) end
  end
  words[#words + 1] = "TERM=screen"
  for _, setting in ipairs(options.env or {}) do words[#words + 1] = setting end
  table.move(command, 1, #command, #words + 1, words)
  local line = "trap : INT; " .. shell.words(words) .. '; echo "exit $?"; exec sleep 1000'
  tmux(self, { "new-session", "-d", "-x", tostring(options.columns or 80), "-y",
    tostring(options.rows or 50), "exec sh -c " .. shell.quote(line) })
  return self
end

function M:__close()
  tmux(self, { "kill-server" })
end

-- Types text as it stands.
function M:type(text)
  tmux(self, { "send-keys", "-l", "--", text })
  return self
end

-- Presses keys by tmux's names: "Enter", "C-c", "Up".
function M:press(...)
  tmux(self, { "send-keys", ... })
  return self
end

function M:line(text)
  return self:type(text):press "Enter"
end

local function paste(self, text, ...)
  local path = shell.write(text)
  tmux(self, { "load-buffer", path })
  os.remove(path)
  tmux(self, { "paste-buffer", "-r", ... })
  return self
end

-- Pastes text as a terminal does, between marks if the program wants them.
function M:paste(text)
  return paste(self, text, "-p")
end

-- Sends bytes at once, as a key does that is an escape sequence.
function M:send(bytes)
  return paste(self, bytes)
end

function M:resize(columns, rows)
  tmux(self, { "resize-window", "-x", tostring(columns), "-y", tostring(rows) })
  return self
end

-- What the screen shows, without blanks at ends of lines, and without empty lines at its end.
-- Options: joined, the rows that the terminal has broken a line into are one line; all, also what
-- has left it above.
function M:screen(options)
  options = options or {}
  local words = { "capture-pane", "-p" }
  if options.joined then words[#words + 1] = "-J" end
  if options.all then table.move({ "-S", "-" }, 1, 2, #words + 1, words) end
  local text = tmux(self, words).stdout:gsub("[ \t]+\n", "\n"):gsub("\n+$", "")
  return text
end

-- The same with the escape sequences of its colours.
function M:coloured()
  return tmux(self, { "capture-pane", "-p", "-e" }).stdout
end

-- The column and row of the cursor, from 0.
function M:cursor()
  local text = tmux(self, { "display-message", "-p", "#{cursor_x},#{cursor_y}" }).stdout
  local x, y = text:match "(%d+),(%d+)"
  return tonumber(x), tonumber(y)
end

-- Waits until the screen, without its first line, is that text.
function M:shows(text)
  text = text:gsub("\n+$", "")
  local screen
  settle.eventually(function()
    screen = self:screen():gsub("^[^\n]*\n", "", 1)
    return screen == text
  end, LIMIT)
  assert.equal(text, screen)
  return self
end

-- Waits until the screen contains that text (plain). Options are those of `screen`.
function M:waits(text, options)
  local screen
  local found = settle.eventually(function()
    screen = self:screen(options)
    return screen:find(text, 1, true) ~= nil
  end, LIMIT)
  assert(found, ("no %q on the screen:\n%s"):format(text, screen))
  return self
end

-- Waits for the prompt with that number, and nothing behind it.
function M:prompts(number)
  local screen
  local found = settle.eventually(function()
    screen = self:screen()
    return screen:match "[^\n]*$" == number .. ">"
  end, LIMIT)
  assert(found, ("no prompt %d:\n%s"):format(number, screen))
  return self
end

return M
