-- repl_keys_spec.lua - the keys of the prompt's line editor: sequences, pasting, modes.
-- SPDX-License-Identifier: MIT

local assert = require "luassert"
local prompts = require "spec.support.prompts"
local settle = require "spec.support.settle"

if not prompts.host then return pending(prompts.reason) end

local busy = prompts.interrupts_busy_code and it or pending

-- `editrc`: the user's settings of libedit.
local function prompt(options)
  if options and options.editrc then prompts.file(".editrc", options.editrc) end
  return prompts.prompt(options)
end

describe("the prompt's keys", function()
  before_each(prompts.make_home)
  after_each(prompts.remove_home)

  describe("what is pasted", function()
    busy("is dropped from where Ctrl-C ends a line of it", function()
      local t <close> = prompt()
      t:paste "print 'go' while true do end\nlost = 1\nlost = 2\n":waits "\ngo"
      t:press "C-c":waits "interrupted":prompts(2)
      t:line "lost":waits "2> lost\nnil\n3>"
    end)

    it("is dropped to its end by Ctrl-C in its midst", function()
      local t <close> = prompt()
      t:send "\27[200~lost = 1\n"
      settle.pause(0.3) -- it is read; what is not is dropped by the terminal's driver
      t:send "\3lost = 2\n\27[201~lost\r":waits "1> ^C":waits "1> lost\nnil\n2>"
    end)

    it("lets the event loop run between its lines", function()
      local t <close> = prompt()
      t:paste(("n, at = 0, nil\nisolate.after(0, function() at = n end)\n%sat ~= nil and at < 90\n")
        :format(("n = n + 1\n"):rep(100)))
      t:waits "< 90\ntrue\n"
    end)

    it("ends a search, and stands where it has led", function()
      local t <close> = prompt()
      t:line "alpha = 1":prompts(2):press "C-r":type "alph":waits "2> alpha = 1"
      t:paste "X":waits "2> Xalpha = 1":press "Enter":line "Xalpha":waits "3> Xalpha\n1\n4>"
    end)

    it("is what it is behind Ctrl-V", function()
      local t <close> = prompt()
      t:press "C-v":paste "'abc'":waits "1> 'abc'":press "Enter":waits "\n\"abc\"\n2>"
    end)
  end)

  describe("an escape sequence that is not known", function()
    local UNKNOWN = { F5 = "\27[15~", ["an odd one"] = "\27[3;14;15^", console = "\27[[A",
      SS3 = "\27O5P", long = "\27[" .. ("1;"):rep(100) .. "z" }
    for name, bytes in pairs(UNKNOWN) do
      it("is ignored whole: " .. name, function()
        for _, editrc in ipairs { "", "bind -v\n" } do
          local t <close> = prompt { editrc = editrc }
          t:type "'a":send(bytes):type "b'":waits "1> 'ab'":press "Enter":waits '\n"ab"\n2>'
        end
      end)
    end

    it("is ignored in a search, and behind Ctrl-V", function()
      local t <close> = prompt()
      t:press "C-v":send "\27[15~":type "'a":press "C-r":send "\27[15~":type "b'"
      t:press "Enter":waits '\n"ab"\n2>'
    end)

    it("is ignored when the key is none: Alt with a letter", function()
      local t <close> = prompt()
      t:type "'a":send "\27q":send "\27[":waits "1> 'a"
      settle.pause(0.5) -- what has begun as a sequence is none then
      t:type "b'":press "Enter":waits '\n"ab"\n2>'
    end)
  end)

  it("move by words with Ctrl", function()
    local t <close> = prompt()
    t:type "one two three":press("C-Left", "C-Left"):type "x":press "C-Right":type "y"
    t:waits "one xtwoy three"
  end)

  it("move from a search", function()
    local t <close> = prompt()
    t:line "12":prompts(2):press "C-r":type "1":waits "2> 12":press "Left":type "0":press "Enter"
    t:waits "\n3>"
    assert.is_nil(t:screen():find("[D", 1, true))
  end)

  describe("of vi", function()
    it("complete and paste", function()
      local t <close> = prompt { editrc = "bind -v\n" }
      t:type "collectg":press "Tab":waits "1> collectgarbage":press "C-u"
      t:paste "'one'\n'two'\n":prompts(3)
      t:press "Escape":paste "'three'\n":waits "\n\"three\"\n4>"
    end)

    it("insert and command at once", function()
      local t <close> = prompt { editrc = "bind -v\n" }
      t:type "'ac'":press "Escape":type "hib":waits "'abc'":press "Enter":waits '"abc"'
    end)

    it("move in the history", function()
      local t <close> = prompt { editrc = "bind -v\n" }
      t:line "'one'":prompts(2):press "Up":waits "2> 'one'":press "Enter":waits "\n3>"
    end)
  end)

  it("keep what ~/.editrc binds", function()
    local t <close> = prompt { editrc = 'bind ^I ed-move-to-beg\nbind "\\e[15~" ed-move-to-end\n' }
    t:type "b'":press "Tab":type "'a":send "\27[15~":press "Enter":waits '\n"ab"\n2>'
  end)

  it("keep what ~/.editrc binds in the keys of vi", function()
    local t <close> = prompt { editrc = 'bind -v\nbind ^I ed-move-to-beg\n' }
    t:type "b'":press "Tab":type "'a":press "Enter":waits '\n"ab"\n2>'
  end)

  it("do not hold up the event loop with the first byte of a character", function()
    local t <close> = prompt()
    t:line "n = 0 isolate.every(0.05, function() n = n + 1 if n == 20 then print 'on' end end)"
    t:prompts(2):send "'\xc3":waits "\non\n":send "\xa9'":waits "2> 'é'":press "Enter"
    t:waits '\n"é"\n'
  end)

  it("take what follows a byte that begins no character", function()
    local t <close> = prompt()
    t:send "'\xc3a\xff'":press "Enter":waits '\n"a"\n'
  end)
end)
