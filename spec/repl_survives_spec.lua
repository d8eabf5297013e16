-- repl_survives_spec.lua - the prompt goes on, whatever a line does to what it is made of.
-- SPDX-License-Identifier: MIT

local prompts = require "spec.support.prompts"

if not prompts.host then return pending(prompts.reason) end

local prompt, after = prompts.prompt, prompts.after

describe("the prompt", function()
  before_each(prompts.make_home)
  after_each(prompts.remove_home)

  describe("survives a line that", function()
    -- Values, errors and commands are shown after it as before.
    local function survives(line)
      local t <close> = prompt()
      t:line(line):prompts(2):line "{ 1, x = 2.5 }":waits "\n{ 1, x = 2.5 }\n":prompts(3)
      t:line "none.field":waits "(global 'none')\n    none.field\n    ^^^^\nstack traceback:"
      t:prompts(4):line ":ps":waits "the prompt":prompts(4)
      t:line("f = isolate.run(function() return 'done' end)"):prompts(5)
      t:line("f"):waits '"done"':type "collectg":press "Tab":waits "6> collectgarbage"
    end

    for _, name in ipairs { "tostring", "type", "ipairs", "table", "math", "io", "debug",
      "tonumber", "pcall", "utf8", "string", "next", "rawget", "string.find", "string.format" } do
      it("gives " .. name .. " another value", function()
        survives(name .. " = 'circle' or nil")
      end)
    end

    it("takes functions away", function()
      survives "tostring, type, ipairs, table, math, io, debug, pcall, utf8, string.format = nil"
    end)
    it("takes _G away", function() survives "_G = nil" end)
    it("takes the methods of strings away", function()
      survives 'getmetatable("").__index = nil'
    end)
    it("takes the metatable of strings away", function()
      survives 'debug.setmetatable("", nil)'
    end)
    it("makes a function of the library endless", function()
      survives "string.format = function() while true do end end"
    end)
    it("makes globals strict", function()
      survives "setmetatable(_G, { __index = function(_, k) if k ~= 'none' and k ~= 'f' then \z
        error(k) end end, __newindex = function(_, k) if k ~= 'f' then error(k) end \z
        rawset(_G, k, true) end }) f = nil; rawset(_G, 'f', 1)"
    end)
    it("closes standard output", function()
      local t <close> = after "io.stdout:close()"
      t:line "1 + 1":prompts(3):waits "\n2\n"
    end)
  end)

  it("shows what goes wrong in the text of a prompt, once", function()
    local t <close> = after "_PROMPT = setmetatable({}, {__tostring = function() error 'bad' end})"
    t:waits "_PROMPT: repl:1: bad\n2>":line "1 + 1":prompts(3):waits "2> 1 + 1\n2\n3>"
    t:line "_PROMPT = setmetatable({}, { __tostring = function() while true do end end })"
    t:waits "_PROMPT: timeout":prompts(4)
  end)

  it("does not wait for the text of a value, an error or a prompt", function()
    local t <close> = after("rx, tx = isolate.port()",
      "w = setmetatable({}, { __tostring = function() return rx:receive() end })", "w")
    t:waits "3> w\n(__tostring: repl:2: code whose time is limited cannot wait) {}\n4>"
    t:line "error { w }":waits "error object: { (__tostring: repl:2: code whose time"
    t:line "_PROMPT = w":waits "_PROMPT: repl:2: code whose time is limited cannot wait\n6>"
  end)

  it("keeps a hook for lines, and does not run it in itself", function()
    local t <close> = after("n = 0", "debug.sethook(function() n = n + 1 end, 'l')", "m = n",
      "n - m < 5", "debug.gethook() ~= nil", "debug.sethook()", "debug.gethook()")
    t:waits "\ntrue\n5> debug.gethook() ~= nil\ntrue\n6>":waits "\nnil\n8>"
  end)

  it("says that an isolate ended in which something was evaluated", function()
    local t <close> = after("w = isolate.spawn({ name = 'w' }, function() while true do end end)")
    t:line ":in w require('isolate').exit()":waits "isolate 2 (w) ended"
  end)

  it("takes names in quotes, and asks for the id where there are several", function()
    local t <close> = after("function f() n = 41 while true do end end",
      "a, b = isolate.spawn({ name = 'x y' }, f), isolate.spawn({ name = 'x' }, f)",
      "c = isolate.spawn({ name = 'x' }, f)")
    t:line ":in 'x y' n + 1":waits "\n42\n"
    t:line ":in x n":waits "there are several isolates 'x', as "
  end)

  it("shows error objects as it shows values", function()
    local t <close> = after("error({ code = 404 })", "error(false)")
    t:waits "error object: { code = 404 }\n":waits "error object: false\n"
    t:line "error({ code = 'interrupted' })":waits 'error object: { code = "interrupted" }'
  end)

  it("says that an isolate which is busy pauses only at its next wait", function()
    local t <close> = after("w = isolate.spawn({ name = 'w' }, function() while true do end end)")
    t:line ":pause w":waits "isolate 2 (w) is pausing: it runs on until its next wait; :resume 2 l"
    t:line ":ps":waits "2   w     pausing "
  end)

  it("does not name a function after a result that was kept", function()
    local t <close> = after("f = string.rep", "string.rep = nil", "f", "f")
    t:waits "builtin: f\n5>"
  end)

  it("says what 'help', 'exit' and 'quit' could mean, unless they are names", function()
    local t <close> = after("help", "exit()", "quit = 'mine'", "quit")
    t:shows [[
1> help
:help lists the commands; :doc NAME tells of a function
2> exit()
Ctrl-D or :quit leaves
3> quit = 'mine'
4> quit
"mine"
5>]]
  end)

  it("lets go of a result that is cleared", function()
    local t <close> = after("w = setmetatable({}, { __mode = 'v' })", "w[1] = {} return w[1]",
      "_ = nil", "collectgarbage()", "w[1], _2", "_2 == nil")
    t:waits "5> w[1], _2\nnil  nil\n"
  end)

  for _, when in ipairs { "'l'", "'c'", "'r'", "'crl'", "'', 1", "'', 10" } do
    it("removes a hook that raises, and says so: " .. when, function()
      local t <close> = prompt()
      t:line("debug.sethook(function() error 'x' end, " .. when .. ")"):prompts(2)
      t:line "for i = 1, 20 do math.abs(i) end":prompts(3):waits "repl:1: x"
      t:waits "the hook that raised this is removed"
      t:line "2 + 2":prompts(4):waits "\n4\n"
    end)
  end

  it("does not run a hook that a timer's function has left", function()
    local t <close> = after("isolate.after(0, function() debug.sethook(error, '', 99) end)")
    t:line("isolate.run(math.abs, -7)"):waits ": 7\n"
  end)
end)
