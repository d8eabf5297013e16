-- repl_terminal_spec.lua - the prompt's terminal: floods, signals, and keys that nobody expects.
-- SPDX-License-Identifier: MIT

local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"
local terminal = require "spec.support.terminal"

local host, reason = lua.only_host()
if not host then return pending(reason) end

local dir -- home of a test

-- Busy code that is interrupted cannot be tested with ThreadSanitizer: see repl_spec.lua.
local busy = os.getenv "ISOLUA_SANITIZER" == "tsan" and pending or it

local function prompt(options)
  options = options or {}
  local env = { "HOME=" .. dir, "NO_COLOR=1" }
  table.move(options.env or {}, 1, #(options.env or {}), #env + 1, env)
  return terminal.open({ host }, { env = env, columns = options.columns, rows = options.rows })
    :prompts(1)
end

describe("the prompt's terminal", function()
  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir " .. shell.quote(dir)))
  end)

  after_each(function() os.execute("rm -rf " .. shell.quote(dir)) end)

  describe("output of others", function()
    it("does not keep a line from being evaluated, however much it is", function()
      local t <close> = prompt()
      t:line [[w = isolate.spawn(function() while true do io.write(("x"):rep(300), "\n") end end)]]
      settle.eventually(function() return t:screen():find(("x"):rep(80), 1, true) end)
      t:line "w:kill() print 'ended'":waits "\nended":prompts(3)
    end)
  end)
end)
