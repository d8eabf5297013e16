-- prompts.lua - prompts on terminals, each in the home of a test.
-- SPDX-License-Identifier: MIT
local lua = require "spec.support.lua"
local shell = require "spec.support.shell"
local terminal = require "spec.support.terminal"

local M = {}

-- The host's path; or nil, and the reason why there is no prompt.
M.host, M.reason = lua.only_host()

-- ThreadSanitizer defers signals until the program calls a function that it knows: busy code that
-- is interrupted cannot be tested with it. Nor can a hundred thousand yields: it takes each for a
-- call that does not return, and has no room for so many.
M.interrupts_busy_code = os.getenv "ISOLUA_SANITIZER" ~= "tsan"

local home

-- For before_each: a new directory, which it returns.
function M.make_home()
  home = os.tmpname()
  os.remove(home)
  assert(os.execute("mkdir " .. shell.quote(home)))
  return home
end

-- For after_each.
function M.remove_home()
  os.execute("rm -rf " .. shell.quote(home))
end

-- Writes a file below the home, and its directory, and returns its path.
function M.file(name, text)
  local path = home .. "/" .. name
  assert(os.execute("mkdir -p " .. shell.quote(path:match "^(.*)/")))
  return shell.write(text, path)
end

-- A terminal with a program, by default the prompt. Options: command (words), args of the prompt,
-- env, columns, rows.
function M.open(options)
  options = options or {}
  local env = { "HOME=" .. home, "NO_COLOR=1" }
  table.move(options.env or {}, 1, #(options.env or {}), #env + 1, env)
  local command = options.command or { M.host }
  table.move(options.args or {}, 1, #(options.args or {}), #command + 1, command)
  return terminal.open(command, { env = env, columns = options.columns, rows = options.rows })
end

-- A prompt that is ready.
function M.prompt(options)
  return M.open(options):prompts(1)
end

-- A prompt at which lines were typed, each once the one before is done.
function M.after(...)
  local t = M.prompt()
  for i, line in ipairs { ... } do t:line(line):prompts(i + 1) end
  return t
end

return M
