-- repl_terminal_spec.lua - the prompt's terminal: floods, signals, and keys that nobody expects.
-- SPDX-License-Identifier: MIT

local prompts = require "spec.support.prompts"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

if not prompts.host then return pending(prompts.reason) end

local prompt, host = prompts.prompt, prompts.host
local busy = prompts.interrupts_busy_code and it or pending

local dir -- home of a test

-- A line whose code runs in a timer once `go` is called.
local function later(code)
  return ("clock = isolate.every(0.02, function() if io.open '%s/go' then clock:cancel() %s end \z
    end)"):format(dir, code)
end

local function go()
  assert(io.open(dir .. "/go", "w")):close()
end

describe("the prompt's terminal", function()
  before_each(function() dir = prompts.make_home() end)
  after_each(prompts.remove_home)

  describe("Ctrl-C", function()
    for what, code in pairs {
      ["an endless message handler"] =
        "xpcall(function() while true do end end, function() print 'h' while true do end end)",
      ["the message handler of an error that does not end"] =
        "xpcall(error, function() while true do end end)",
      ["a finalizer"] =
        "do setmetatable({}, {__gc = function() while true do end end}) collectgarbage() end",
      ["what it ends in a coroutine"] =
        "pcall(coroutine.wrap(function() xpcall(function() while true do end end, print) end))",
    } do
      busy("stops " .. what, function()
        local t <close> = prompt()
        t:line("print 'go' " .. code .. " print 'on'"):waits "\ngo"
        settle.pause(0.05)
        t:press "C-c":waits "interrupted":prompts(2)
        assert.is_nil(t:screen():find("\non\n", 1, true))
        assert(t:screen():find("repl:1: in", 1, true))
        t:line "'alive'":waits '"alive"'
      end)
    end
  end)

  it("shows who has awaited an error of an isolate", function()
    local t <close> = prompt()
    t:line "function g(f) return (f:await()) end":prompts(2)
    t:line "g(isolate.run(function() error 'deep' end))":waits "repl:2: deep":prompts(3)
    t:waits "awaited in 'main':\n"
    assert.matches("awaited in 'main':\nstack traceback:\n%s*%[C%]: in method 'await'\n"
      .. "%s*repl:1: in function 'g'", t:screen())
    assert.is_nil(t:screen():find("isolate/repl", 1, true))
  end)

  it("takes characters beyond ASCII where no locale is set", function()
    for _, locale in ipairs { "LANG=", "LC_ALL=C", "LC_ALL=xx_XX.UTF-8" } do
      local t <close> = prompt { env = { "LANG=", locale } }
      t:line "#'é日'":waits "\n5\n"
    end
  end)

  it("takes a prompt of several rows", function()
    local t <close> = prompts.prompt()
    t:line "'before'":waits '"before"\n2>':line "_PROMPT = 'é\\n\\n> '":waits "\né\n\n>"
    t:line("f = isolate.async(function() isolate.sleep(0.1) print 'printed' end)")
    t:waits "\né\n\nprinted\n>":type "half":press "C-c":waits "\n> half^C\né\n\n>"
    t:line "1 + 1":waits "\n> 1 + 1\n2\né\n\n>"
  end)

  it("takes colours in a prompt for what has no width", function()
    local t <close> = prompt { columns = 30 }
    t:line [[_PROMPT = "\27[1;31mred\27[0m\27[4m>\27[0m"]]:waits "\nred>"
    t:type(("'%s'"):format(("x"):rep(40))):waits("red> '" .. ("x"):rep(24) .. "\n" .. ("x"):rep(16))
    t:press "C-a":type "#":waits("red> #'" .. ("x"):rep(23) .. "\n" .. ("x"):rep(17) .. "'")
    t:press "Enter":waits "\n40\nred>"
    assert(t:coloured():find("\27%[1m\27%[31mred\27[^>]+4m[^>]*>\27%[0m[^#]* #'xx"))
  end)

  it("ends while a program that was started writes on", function()
    local t <close> = prompt()
    t:line(("io.open('%s/pid', 'w'):write(io.open '/proc/self/stat':read 'n'):close()"):format(dir))
    t:prompts(2):line "os.execute 'timeout 60 yes >&2 &'"
    t:line ":quit"
    local process = "/proc/" .. shell.read(dir .. "/pid")
    assert.is_true(settle.eventually(function() return not io.open(process .. "/stat") end, 20))
  end)

  describe("a signal that ends the process", function()
    for name, number in pairs { TERM = 15, HUP = 1, QUIT = 3 } do
      it(("leaves the terminal as it was: %s"):format(name), function()
        for _, top in ipairs { false, true } do
          local t <close> = prompt()
          t:line [[pid = io.open "/proc/self/stat":read "n"]]:prompts(2)
          t:line(("os.execute('(sleep 0.3; kill -%s ' .. pid .. ') &')"):format(name))
          if top then t:line ":top" end
          t:waits("exit " .. 128 + number)
          t:type "echoed":waits "echoed"
          assert(t:screen():find("1> pid", 1, true))
        end
      end)
    end
  end)

  describe("while ':top' has the screen", function()
    it("is given back by Ctrl-Z, and taken again", function()
      local line = shell.quote(host) .. "; echo stopped; read x; echo got $x; fg; echo ended"
      local t <close> = prompt { command = { "sh", "-mc", line }, rows = 20 }
      t:line "print 'before'":prompts(2):line ":top":waits "1 isolate (q leaves)"
      assert.is_nil(t:screen():find("before", 1, true))
      t:press "C-z":waits "2> :top\nstopped":line "echoed":waits "1   main"
      assert.is_nil(t:screen():find("before", 1, true))
      t:type "q":waits "stopped\nechoed\ngot echoed\n":prompts(2):line "6 * 7":waits "\n42\n"
      t:prompts(3):line ":quit":waits "ended":type "visible":waits "visible"
    end)

    it("is given back by os.exit in a timer", function()
      local t <close> = prompt()
      t:line "isolate.after(1, function() os.exit(3) end)":prompts(2):line ":top":waits "1   main"
      t:waits "exit 3":type "visible":waits "visible"
      assert(t:screen():find("\n2> :top\n", 1, true))
    end)
  end)

  it("lets timers run while a line that has no end is typed without an editor", function()
    local t <close> = prompt { env = { "TERM=dumb" } }
    t:line(later "print 'on'"):prompts(2):type "'abc":press "C-d"
    settle.pause(0.1)
    go()
    t:waits "'abcon":type "d'":press "Enter":waits '\n"abcd"\n'
    t:type "'abc":press "C-d":press "C-c":line "'efg'":waits '\n"efg"\n'
  end)

  describe("output of others", function()
    it("is shown to its end when os.exit follows", function()
      local t <close> = prompt()
      t:line(later "for i = 1, 5000 do print(i) end os.exit(3)"):prompts(2)
      go()
      t:waits("exit 3"):waits "\n5000\n"
    end)

    it("is shown to its end when os.exit ends ':top'", function()
      local t <close> = prompt()
      t:line(later "for i = 1, 5000 do print(i) end os.exit(3)"):prompts(2)
      t:line ":top":waits "ID"
      go()
      t:waits("exit 3"):waits "\n5000\n"
    end)

    it("is shown while Tab looks for words", function()
      local t <close> = prompt { columns = 200 }
      t:line "for level = 2, 30 do for i = 1, 20 do \z
        local _, name, value = pcall(debug.getlocal, level, i) \z
        if name == 'editor' then E = value end end end":prompts(2)
      t:line "E:set_completer(function() for i = 1, 5000 do print(i, ('x'):rep(70)) end \z
        return 1, { 'done' } end)":prompts(3)
      t:press "Tab":waits "\n5000 ":waits "3> done"
    end)

    it("does not keep a line from being evaluated, however much it is", function()
      local t <close> = prompt()
      t:line [[w = isolate.spawn(function() while true do io.write(("x"):rep(300), "\n") end end)]]
      settle.eventually(function() return t:screen():find(("x"):rep(80), 1, true) end)
      for n = 2, 6 do t:line(n .. " - 1") end
      t:line "w:kill() print 'ended'":waits("\nended", { all = true }):prompts(8)
    end)

    it("is kept up to a limit while ':top' has the screen", function()
      local t <close> = prompt { columns = 200 }
      t:line(later "for i = 1, 1e4 do print(('x'):rep(180), i) end"):prompts(2)
      t:line ":top":waits "ID":waits "main"
      go()
      settle.pause(1)
      t:type "q":prompts(2):waits " 10000\n"
      t:waits(" bytes are left out\n", { all = true })
    end)
  end)
end)
