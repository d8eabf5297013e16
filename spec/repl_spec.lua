-- repl_spec.lua - the prompt, on a real terminal: what goes in, and what the screen shows.
-- SPDX-License-Identifier: MIT

local prompts = require "spec.support.prompts"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

if not prompts.host then return pending(prompts.reason) end

local prompt, after, file_of = prompts.prompt, prompts.after, prompts.file
local busy = prompts.interrupts_busy_code and it or pending

local dir -- home of a test

describe("the prompt", function()
  before_each(function() dir = prompts.make_home() end)
  after_each(prompts.remove_home)

  describe("evaluating", function()
    it("prints the values of expressions, with or without '=' and 'return'", function()
      local t <close> = after("1 + 1", "= 'a', nil", "return {1, 2, x = 'ü'}", "nil", "print 'p'",
        "local x = 1")
      t:shows [[
1> 1 + 1
2
2> = 'a', nil
"a"  nil
3> return {1, 2, x = 'ü'}
{ 1, 2, x = "ü" }
4> nil
nil
5> print 'p'
p
6> local x = 1
7>]]
    end)

    it("keeps local variables, which functions of later lines share", function()
      local t <close> = after("local n = 1", "local function inc() n = n + 1 return n end", "inc()",
        "n = 10", "inc(), n", "local n = 'new'", "n, inc()")
      t:shows [[
1> local n = 1
2> local function inc() n = n + 1 return n end
3> inc()
2
4> n = 10
5> inc(), n
11  11
6> local n = 'new'
7> n, inc()
"new"  12
8>]]
    end)

    it("reads lines until they are a chunk", function()
      local t <close> = prompt()
      for _, line in ipairs { "for i = 1, 2 do", "  print(i)", "end" } do t:line(line) end
      t:prompts(4)
      for _, line in ipairs { "x = [[", "<eof>", "]]" } do t:line(line) end
      t:prompts(7):line "#x":prompts(8):line "1 +":line "1":prompts(10)
      t:shows [==[
1> for i = 1, 2 do
 |   print(i)
 | end
1
2
4> x = [[
 | <eof>
 | ]]
7> #x
6
8> 1 +
 | 1
2
10>]==]
    end)

    it("keeps the last results in _, _1, _2 and _3", function()
      local t <close> = after("1", "2", "3", "_, _1, _2, _3", "_")
      t:shows [[
1> 1
1
2> 2
2
3> 3
3
4> _, _1, _2, _3
3  3  2  1
5> _
3
6>]]
    end)

    it("shows errors with the line of source, a caret, and the traceback", function()
      local t <close> = after("local function f() error 'no' end", "f()", "x.y.z", "x = = 1")
      t:shows [[
1> local function f() error 'no' end
2> f()
repl:1: no
    local function f() error 'no' end
                       ^^^^^
stack traceback:
        [C]: in function 'error'
        repl:1: in function <repl:1>
        (...tail calls...)
3> x.y.z
repl:3: attempt to index a nil value (global 'x')
    x.y.z
    ^
stack traceback:
        repl:3: in function <repl:3>
4> x = = 1
repl:4: unexpected symbol near '='
    x = = 1
        ^
5>]]
    end)

    it("sends functions and variables that were typed", function()
      local t <close> = after("local k = 3", "function times(x) return k * x end",
        "isolate.run(function() return times(14) end):await()")
      t:waits "42"
    end)

    it("uses colours, but for NO_COLOR", function()
      local t <close> = prompt { env = { "NO_COLOR=" } }
      t:line "'text'":prompts(2)
      assert.matches('\27%[32m"text"', t:coloured())
    end)
  end)

  describe("while a line is typed", function()
    it("shows what isolates print above the line, which stays as it is", function()
      local t <close> = prompt()
      t:line [[go = isolate.spawn(function() isolate.inbox():receive() print "from afar" end)]]
      t:prompts(2):line [[isolate.after(0.3, function() go:send(true) end)]]:type "half a li"
      t:waits "isolate 2 (repl:1): done"
      t:shows [[
1> go = isolate.spawn(function() isolate.inbox():receive() print "from afar" end
)
2> isolate.after(0.3, function() go:send(true) end)
isolate.timer: 3
from afar
isolate 2 (repl:1): done
3> half a li]]
      t:type "ne":shows((t:screen():gsub("^[^\n]*\n", "", 1)))
      local x = t:cursor()
      assert.equal(#"3> half a line", x)
    end)

    it("keeps the cursor in the middle of a line of several rows", function()
      local t <close> = prompt { columns = 30 }
      t:line "isolate.after(0.5, function() print 'x' end)":type(("abcdefghi "):rep(7))
      for _ = 1, 35 do t:press "Left" end
      t:waits "\nx\n2> abc":type "|":waits [[
isolate.timer: 2
x
2> abcdefghi abcdefghi abcdefg
hi abcde|fghi abcdefghi abcdef
ghi abcdefghi]]
    end)

    it("shows futures that were printed once they settle, and their errors", function()
      local t <close> = prompt()
      t:line "isolate.run(function() require 'isolate'.sleep(0.3) return 42, {} end)":prompts(2)
      t:waits "future 3: 42  {}"
      t:line "isolate.run(function() error 'bad' end)":waits "future 5: repl:2: bad"
      t:prompts(3)
    end)

    it("leaves the error of a future that is kept for whoever looks at it", function()
      local t <close> = after "f = isolate.run(function() error 'kept' end)"
      t:line "while not f:done() do isolate.sleep(0.01) end":prompts(3)
      assert.is_nil(t:screen():find("repl:1: kept", 1, true))
      t:line "f:await()":waits "repl:1: kept":prompts(4)
      t:line "g = isolate.run(function() error 'dropped' end)":prompts(5)
      t:line "while not g:done() do isolate.sleep(0.01) end":prompts(6)
      assert.is_nil(t:screen():find("repl:4: dropped", 1, true))
      t:line "g = nil collectgarbage()":waits "repl:4: dropped"
    end)

    it("shows uncaught errors of isolates that were spawned, once, as those of lines", function()
      local t <close> = prompt()
      t:line "w = isolate.spawn(function() isolate.sleep(0.3) error 'oops' end)"
      t:type "typing":shows [[
1> w = isolate.spawn(function() isolate.sleep(0.3) error 'oops' end)
isolate 2 (repl:1): failed: repl:1: oops
    w = isolate.spawn(function() isolate.sleep(0.3) error 'oops' end)
                                                    ^^^^^
stack traceback:
        [C]: in function 'error'
        repl:1: in function <repl:1>
2> typing]]
    end)

    -- What the line does fails with 'oops' and nobody catches that.
    local function shows_uncaught(line, head)
      local t <close> = prompt { columns = 120 }
      t:line(line):waits(head .. ": repl:1: oops\n    " .. line .. "\n"):waits "^^^^^"
      t:waits "stack traceback:\n        [C]: in function 'error'\n        repl:1: in function"
    end

    it("shows uncaught errors of timers as those of lines", function()
      shows_uncaught("t = isolate.after(0, function() error 'oops' end)",
        "uncaught error in an event handler")
    end)

    it("shows uncaught errors of handlers as those of lines", function()
      shows_uncaught("rx, tx = isolate.port() rx:on_message(function(m) error(m) end) \z
        tx:send 'oops'", "uncaught error in an event handler")
    end)

    it("shows uncaught errors of tasks as those of lines", function()
      shows_uncaught("isolate.async(function() error 'oops' end) collectgarbage() \z
        isolate.after(0.1, collectgarbage)", "uncaught error in a task")
    end)

    it("shows uncaught errors of jobs as those of lines", function()
      shows_uncaught("p = isolate.pool(1) p:submit({ name = 'j' }, function() error 'oops' end)  \z
        isolate.after(0.1, collectgarbage)", "uncaught error in job 'j'")
    end)

    it("shows what crossed isolates with the traceback of each", function()
      local t <close> = prompt { columns = 120 }
      t:line "function f() isolate.run(function() error 'oops' end):await() end":prompts(2)
      t:line "w = isolate.spawn({ name = 'w' }, f)":waits "isolate 2 (w): failed: repl:1: oops"
      t:waits "awaited in 'w':\nstack traceback:"
    end)

    it("tells of ends of isolates before the end of the line that spawned them", function()
      local t <close> = prompt()
      t:line "w = isolate.spawn(function() end) isolate.sleep(0.3)":waits "isolate 2 (repl:1): done"
      t:prompts(2):line "w = isolate.spawn(function() isolate.spawn({ name = 'y' }, print) end)"
      t:waits "isolate 3 (repl:2): done":waits "isolate 4 (y): done"
    end)

    it("tells of the first ends only where a line spawns many isolates", function()
      local t <close> = prompt()
      t:line "for i = 1, 40 do isolate.spawn(function() end):join() end"
      t:waits "isolate 21 (repl:1): done\nmore isolates end; :ps shows those that run\n2>"
      t:line "w = isolate.spawn(function() end)":waits "isolate 42 (repl:2): done"
    end)

    it("goes on with output that has no line end", function()
      local t <close> = prompt()
      t:line [[function w(i) isolate.after(i / 5, function() io.write(i, " ") io.flush() end) end]]
      t:prompts(2):line "w(1) w(2) w(3)"
      t:waits "1 2 3\n3>"
    end)

    it("runs timers, handlers and tasks", function()
      local t <close> = prompt()
      t:line [[t = isolate.async(function() isolate.sleep(0.2) print "task" end)]]
      t:line [[rx, tx = isolate.port() rx:on_message(function(m) print("got", m) end)]]
      t:line [[isolate.run(function() tx:send "this" end)]]:waits "task":waits "got     this"
    end)

    busy("is not kept from its keys by a task that never rests", function()
      local t <close> = after "t = isolate.async(function() while true do isolate.sleep(0) end end)"
      t:line "1 + 1":prompts(3):waits "\n2\n"
    end)
  end)

  describe("Ctrl-C", function()
    -- The line prints "go" once it does what is to be stopped.
    local function stops(line)
      local t <close> = prompt()
      t:line(line):waits "\ngo"
      t:press "C-c":waits "interrupted":prompts(2):line "'alive'":prompts(3):waits '"alive"'
    end

    busy("stops an endless loop", function() stops "print 'go' while true do end" end)

    busy("stops a loop that catches all errors", function()
      stops "while true do pcall(function() print 'go' while true do end end) end"
    end)

    busy("stops a coroutine", function()
      stops "coroutine.wrap(function() print 'go' while true do end end)()"
    end)

    it("stops a wait", function()
      stops "isolate.after(0, function() print 'go' end) isolate.sleep(1000)"
    end)

    busy("stops a wait for an isolate, which a second one kills", function()
      local t <close> = prompt()
      t:line "isolate.after(0, function() print 'go' end) \z
        isolate.run({name='x'}, function() while true do end end):await()"
      t:waits "\ngo":press "C-c":waits "isolate 2 (x) still runs; Ctrl-C again kills it":prompts(2)
      t:press "C-c":waits "isolate 2 (x) is killed"
      t:line "#isolate.list()":waits "\n1\n"
    end)

    for _, case in ipairs {
      { "isolate.all{ r(spin), r(print), r(spin) }:await()", "all" },
      { "isolate.race{ isolate.all{ r(spin) }, isolate.all{ r(spin) } }:try()", "race, of all" },
      { "for i in isolate.as_completed{ r(spin), r(spin) } do print(i) end", "as_completed" },
      { "isolate.async(function() isolate.all{ r(spin), r(spin) }:await() end):await()", "a task" },
    } do
      busy("stops a wait for several isolates, which a second one kills: " .. case[2], function()
        local t <close> = prompt { columns = 120 }
        t:line "r, n = function(f) return isolate.run({ name = 'x' }, f) end, isolate.channel(2)"
        t:prompts(2):line "function spin() n:send(1) while true do end end":prompts(3)
        t:line("isolate.after(0, function() n:receive() n:receive() print 'go' end) " .. case[1])
        t:waits "\ngo":press "C-c":waits "(x) still run; Ctrl-C again kills them":prompts(4)
        t:press "C-c":waits "(x) are killed":prompts(4):line "#isolate.list()":waits "\n1\n"
      end)
    end

    busy("kills what a line waited for at an empty line only, before the next one", function()
      local t <close> = prompt()
      local wait = "isolate.after(0, function() print 'go' end) x:await()"
      t:line "x = isolate.run({name='x'}, function() while true do end end)":prompts(2)
      t:line(wait):waits "\ngo":press "C-c":waits "Ctrl-C again kills it":prompts(3)
      t:type "half":press "C-c":waits "half^C":prompts(3)
      t:line "#isolate.list()":waits "\n2\n":prompts(4):type "'no'":press "C-c":prompts(4)
      t:press "C-c":prompts(4):line "#isolate.list() + 40":waits "\n42\n"
    end)

    busy("stops a task that runs while a line is typed", function()
      local t <close> = prompt()
      t:line "t = isolate.async(function() print 'go' while true do end end)":waits "\ngo"
      t:press "C-c":waits "interrupted: a task\nstack traceback:\n        repl:1: in function"
      t:line "t":waits "isolate.future: 2 (failed)\nfuture 2: interrupted"
    end)

    -- What the line starts is endless in the event loop while the next one is typed.
    local function stops_in_loop(line, what)
      local t <close> = prompt { columns = 120 }
      t:line("function f() print 'go' while true do end end " .. line):waits "\ngo"
      t:press "C-c":waits("interrupted: " .. what .. "\nstack traceback:\n        repl:1: in")
      t:line "'alive'":waits '"alive"'
    end

    busy("stops a timer's function", function()
      stops_in_loop("t = isolate.after(0, f)", "the function of a timer")
    end)

    busy("stops a handler of messages", function()
      stops_in_loop("rx, tx = isolate.port() rx:on_message(f) tx:send(1)", "a handler of messages")
    end)

    busy("stops what on_done was given", function()
      stops_in_loop("isolate.run(math.abs, 1):on_done(f)", "a function of on_done")
    end)

    busy("cancels a timer whose function it stops", function()
      stops_in_loop("t = isolate.every(0.001, f)", "the function of a timer, which is cancelled")
      local t <close> = prompt()
      t:line "isolate.every(0.001, function() print 'go' while true do end end) isolate.sleep(1e3)"
      t:waits "\ngo":press "C-c":waits "interrupted: the function of a timer, which is cancelled"
      t:prompts(2):line "isolate.sleep(0.1)":prompts(3)
    end)

    busy("runs the closers of what it stops", function()
      local t <close> = prompt()
      t:line "do local c <close> = setmetatable({}, {__close = function() print 'closed' end}) \z
        print 'go' while true do end end"
      t:waits "\ngo":press "C-c":waits "closed":waits "interrupted"
    end)

    it("drops a line, also one of several", function()
      local t <close> = prompt()
      t:type "half":press "C-c":waits "half^C":prompts(1)
      t:line "for i = 1, 2 do":type "x":press "C-c":prompts(1)
      t:line "'good'":prompts(2):waits '"good"'
    end)

    it("drops a line at its end, wherever the cursor is", function()
      local t <close> = after "'needle'"
      t:type(("half "):rep(20)):press "C-a":press "C-c":waits(" half half ^C\n2>")
      t:press "C-r":type "need":waits "bck:need":press "C-c":waits "2> 'needle'\nbck:need^C\n"
    end)
  end)

  describe("Ctrl-D", function()
    it("leaves with status 0", function()
      local t <close> = after "1"
      t:press "C-d":waits "exit 0"
    end)

    it("says first that isolates still run", function()
      local t <close> = after "w = isolate.spawn({name='w'}, function() while true do end end)"
      t:press "C-d":waits "1 isolate still runs: 2 (w)":prompts(2)
      t:press "C-d":waits "exit 0"
    end)

    it("says first what else is pending", function()
      local t <close> = after "t = isolate.async(function() isolate.sleep(1000) end)"
      t:press "C-d":waits "1 task is pending (Ctrl-D again leaves and ends it)":prompts(2)
      t:line "for i = 1, 2 do isolate.after(i * 1000, print) end isolate.after(1000)":prompts(3)
      t:line "w = isolate.spawn({ name = 'w' }, function() isolate.sleep(1000) end)":prompts(4)
      t:press "C-d":waits("1 isolate still runs: 2 (w); 1 task and 2 timers are pending "
        .. "(Ctrl-D again leaves and ends them; :ps shows more)", { joined = true }):prompts(4)
      t:press "C-d":waits "exit 0"
    end)
  end)

  describe("completion", function()
    local function completes(before, keys, line)
      local t <close> = prompt()
      if before then t:line(before):prompts(2) end
      t:type(keys):press "Tab"
      t:waits((before and "2> " or "1> ") .. line)
    end

    it("completes globals", function() completes(nil, "collectg", "collectgarbage") end)
    it("completes kept locals", function()
      completes("local some_name = 1", "print(some_", "print(some_name")
    end)
    it("completes fields", function() completes(nil, "string.forma", "string.format") end)
    it("completes methods of handles", function()
      completes("f = isolate.async(print)", "f:aw", "f:await")
    end)
    it("completes commands", function() completes(nil, ":he", ":help") end)
    it("completes names of files", function()
      file_of("some_script.lua", "")
      completes(nil, 'dofile "' .. dir .. "/some_sc", 'dofile "' .. dir .. "/some_script.lua")
    end)
    it("completes names of modules", function()
      completes(nil, 'require "isolate.cq', 'require "isolate.cqueues')
    end)

    it("lists the words when there are several, above the line", function()
      local t <close> = prompt()
      t:type "string.re":press "Tab":shows "rep      reverse\n1> string.re"
    end)
  end)

  describe("history", function()
    it("lives on when the prompt is started again", function()
      do
        local t <close> = after("'first'", "'second'")
        t:press "C-d":waits "exit 0"
      end
      local t <close> = prompt()
      t:press("Up", "Up"):waits "1> 'first'":press "Down":waits "1> 'second'"
    end)

    it("keeps inputs of several lines whole", function()
      do
        local t <close> = prompt()
        t:line "for i = 1, 1 do":line "  print 'loop'":line "end":prompts(4)
        t:press "C-d":waits "exit 0"
      end
      local t <close> = prompt()
      t:press("Up", "Enter"):waits "\nloop\n":prompts(4)
    end)

    it("is searched by Ctrl-R", function()
      local t <close> = after("'needle'", "'other'")
      t:press "C-r":type "need":press("Enter"):waits '3> \'needle\'\n"needle"'
    end)

    it("is the user's alone, also where the umask is lax", function()
      do
        local t <close> = after "'x'"
        t:press "C-d":waits "exit 0"
      end
      local path = dir .. "/.local/state/isolua/history"
      local result = shell.run("stat -c %a " .. shell.quote(path))
      assert.equal("600\n", result.stdout)
      assert.equal("'x'\n", shell.read(path))
    end)

    it("is below XDG_STATE_HOME where that is set", function()
      do
        local t <close> = prompt { env = { "XDG_STATE_HOME=" .. dir .. "/s" } }
        t:line "'x'":prompts(2):press "C-d":waits "exit 0"
      end
      assert.equal("'x'\n", shell.read(dir .. "/s/isolua/history"))
    end)
  end)

  describe("the terminal", function()
    it("may be resized while a line is typed", function()
      local t <close> = prompt { columns = 60 }
      t:type(("0123456789"):rep(7)):waits "789":resize(40, 20)
      settle.pause(0.3) -- tmux and the prompt break the line alike: nothing shows who has done it
      t:type "x":waits(("0123456789"):rep(7):sub(38) .. "x")
      t:press "C-c":prompts(1)
    end)

    it("shows UTF-8, and edits it by characters", function()
      local t <close> = prompt()
      t:type "'aü€漢b'":press("Left", "Left", "BSpace", "Enter")
      t:waits "1> 'aü€b'\n\"aü€b\""
    end)

    it("takes a paste of 500 lines", function()
      local t <close> = prompt { rows = 10 }
      local lines = { "local sum = 0" }
      for i = 1, 498 do lines[#lines + 1] = ("sum = sum + %d\t-- a line"):format(i) end
      lines[#lines + 1] = "print(sum)"
      t:paste(table.concat(lines, "\n") .. "\n"):prompts(501):waits(tostring(498 * 499 // 2))
      local text = t:screen { all = true, joined = true }
      assert.matches("\n250> sum = sum %+ 249%s+%-%- a line\n251> ", text)
    end)

    it("leaves a paste without a line end on the line", function()
      local t <close> = prompt()
      t:paste "1 +\n2":waits " | 2":press "Enter":prompts(3):waits "\n3\n"
    end)

    it("falls back to plain lines where the cursor cannot be moved", function()
      local t <close> = prompt { env = { "TERM=dumb" } }
      t:line "1 + 1":prompts(2)
      t:line "isolate.after(0, function() print 'go' end) isolate.sleep(1000)":waits "\ngo"
      t:press "C-c":waits "interrupted":prompts(3):press "C-d":waits "exit 0"
    end)

    it("lets programs that a line starts have it", function()
      local t <close> = prompt()
      t:line "os.execute 'read x; echo got $x; test -t 1 && echo terminal'"
      t:line "this":waits "got this\nterminal"
    end)

    it("lets io.read have the next line", function()
      local t <close> = prompt()
      t:line "x = io.read()":line "typed":prompts(2):line "x":waits '"typed"'
    end)

    it("is given back by os.exit, also out of a timer", function()
      local t <close> = prompt()
      t:line "isolate.after(0.2, function() os.exit(3) end)":waits "exit 3"
    end)

    it("begins a row of its own behind output without a line end", function()
      local t <close> = after "_ = io.write 'abc'"
      t:shows "1> _ = io.write 'abc'\nabc%\n2>"
    end)
  end)

  describe("starting", function()
    it("says what is started, and where help is", function()
      for _, args in ipairs { {}, { "-i" } } do
        local t <close> = prompt { args = args }
        assert.matches("^isolua %d+%.%d+%.%d+  Lua 5%.4%.%d+  %(:help for help%)\n1>$", t:screen())
      end
    end)

    it("runs init.lua of the user's configuration, but not with -E", function()
      file_of(".config/isolua/init.lua", "greeting = 'hello'")
      local t <close> = prompt()
      t:line "greeting":waits '"hello"'
      local bare <close> = prompt { args = { "-E" } }
      bare:line "greeting":waits "\nnil\n"
    end)

    it("runs LUA_INIT, then -e and -l as they stand, the script, and init.lua", function()
      file_of(".config/isolua/init.lua", "print 'init.lua'")
      file_of("named.lua", "print 'module'")
      local t <close> = prompt { env = { "LUA_INIT=print 'LUA_INIT'",
        "LUA_PATH=" .. dir .. "/?.lua;;" }, args = { "-e", "print 'first'", "-i", "-l", "named",
        "-e", "print 'last'", file_of("script.lua", "print 'script'") } }
      assert.matches("^LUA_INIT\nfirst\nmodule\nlast\nscript\nisolua [^\n]*\ninit.lua\n1>$",
        t:screen())
    end)

    it("shows errors of init.lua and goes on", function()
      file_of(".config/isolua/init.lua", "\nerror 'bad start'")
      local t <close> = prompt()
      t:waits "init.lua:2: bad start":line "1":prompts(2)
    end)

    it("is the prompt of lua5.4 where there is no LPeg, and says so", function()
      local t <close> = prompts.open { env = { "LUA_CPATH=/none/?.so" } }
      -- after the path of the executable, which may be long
      t:waits("a plain prompt, since module 'lpeg' not found\n", { joined = true })
      t:line "1 + 1":waits "\n2\n>"
    end)

    it("keeps the globals of a script after -i", function()
      local path = file_of("script.lua", "answer = 42")
      local t <close> = prompt { args = { "-i", path } }
      t:line "answer":waits "\n42\n"
    end)
  end)

  describe("commands", function()
    it("are listed by :help, and explained", function()
      local t <close> = prompt()
      t:line ":help":waits ":quit":line ":help bt":waits ":bt ID\n  where an isolate is"
      t:line ":nonsense":waits "there is no command ':nonsense'; :help lists them"
    end)

    it("show isolates, where they are, and evaluate in them", function()
      local t <close> = prompt { columns = 120 }
      t:line "w = isolate.spawn({name = 'w'}, function() n = 7 while true do end end)":prompts(2)
      t:line ":ps":waits "ID  NAME  STATE"
      assert.matches("2   w     running .- repl:1", t:screen())
      t:line ":bt w":waits "stack traceback:\n        repl:1: in function <repl:1>"
      t:line ":in 2 n + 1":waits "\n8\n":line ":in 2 error 'x'"
      t:waits ":in:1: x\n    error 'x'\n    ^^^^^":line ":in w _G":waits "n = 7"
      t:line ":kill 2":waits "isolate 2 (w): killed":line ":bt 2"
      t:waits "there is no isolate '2'; :ps lists them"
    end)

    busy("leave what is evaluated in an isolate to Ctrl-C", function()
      local t <close> = prompt()
      t:line "w = isolate.spawn({name = 'w'}, function() n = 0 while true do n = n + 1 end end)"
      t:prompts(2):line ":in w print 'go' while true do end":waits "\ngo"
      t:press "C-c":waits("interrupted\n    print 'go' while true do end\n    ^^^^^\n\z
        stack traceback:\n        :in:1: in main chunk\n2>")
      t:line ":in w n > 0":waits "\ntrue\n"
    end)

    busy("evaluate in an isolate that has changed its globals", function()
      local t <close> = prompt()
      t:line "w = isolate.spawn({name = 'w'}, function() load, table, tostring, error, n = 7 \z
        n = 7 while true do end end)"
      t:prompts(2):line ":in w n, 'x'":waits '\n7  "x"\n':line ":in w _G":waits "n = 7"
    end)

    it("pause and resume", function()
      local t <close> = prompt()
      t:line "w = isolate.spawn(function() for m in isolate.inbox():messages() do print(m) end end)"
      t:prompts(2):line ":pause 2":waits "is paused":line "w:send 'm'":prompts(3)
      t:line "w:status()":waits '"paused"':line ":ps":waits " paused ":line ":resume 2"
      t:waits "goes on":waits "m\n"
    end)

    it("show isolates live until q", function()
      local t <close> = prompt { rows = 12 }
      t:line "print 'before'":prompts(2):line ":top":waits "1 isolate (q leaves)"
      t:waits "1   main":type "q":prompts(2):waits "before"
    end)

    it("say how they are used when more stands behind them than they take", function()
      local t <close> = prompt()
      for _, line in ipairs { ":ps foo", ":quit now", ":kill 2 3", ":bt 'a b' 3", ":help kill bt",
        ":doc string.rep (x, y) z" } do
        t:line(line):waits("usage: " .. line:match ":%a+"):prompts(1)
      end
      t:line ":doc string.rep(s, n)":waits "string.rep(s, n [, sep])"
    end)

    it("show tasks of main, and none of the prompt's own frames", function()
      local t <close> = prompt()
      t:line ":bt main":waits "main is at the prompt\n1>"
      t:line "t = isolate.async(function() isolate.sleep(100) end)":prompts(2):line ":bt 1"
      t:waits "main is at the prompt\na task that waits:\nstack traceback:\n"
      t:waits "repl:1: in function <repl:1>\n        [C]: in ?\n2>"
    end)

    it("complete the isolates that they take, and names in quotes", function()
      local t <close> = prompt()
      t:line "w = isolate.spawn({ name = 'a b' }, function() isolate.sleep(100) end)":prompts(2)
      t:type ":kill ":press "Tab":waits "2> :kill 2":press "C-u"
      t:type ":bt m":press "Tab":waits "2> :bt main":press "C-u"
      t:type ":kill m":press "Tab":type "!":waits "2> :kill m!":press "C-u"
      t:type ":kill '":press("Tab", "Enter"):waits "isolate 2 (a b): killed"
    end)

    it("tell time and memory", function()
      local t <close> = prompt()
      t:line ":time 1 + 1":waits "of processors":line ":mem":waits "KiB"
    end)

    it("time what goes on over several lines, which is a line as any other", function()
      local t <close> = after(":time 6 * 7", "_")
      t:waits "2> _\n42\n":line ":time for i = 1, 2 do":line "  n = i":waits "\n |   n = i\n |"
      t:line "end":prompts(6):waits "of processors"
      t:line "n, none.field":waits "repl:6: ":prompts(7)
      t:line ":time x = = 1":waits "repl:7: unexpected symbol near '='\n    x = = 1\n        ^"
      t:prompts(8):line ":time":waits "what is to be timed?":prompts(8)
      t:line ":time do":press "C-c":prompts(8):press("Up", "Up", "Up", "Up", "Enter"):prompts(11)
    end)

    it("load scripts, whose local variables stay", function()
      local lines = { "#!/usr/bin/env isolua", "local from_file <const> = 'here'" }
      for i = 1, 198 do lines[#lines + 1] = ("local v%d = %d\n"):format(i, i) end
      lines[#lines + 1] = "if v198 then goto done end do error 'x' end ::done:: return v1, ..."
      local path = file_of("f.lua", table.concat(lines, "\n"))
      local t <close> = prompt()
      t:line(":load " .. path):line "from_file, v1 + v198":waits '"here"  199':prompts(2)
      t:line(":load " .. file_of("mark.lua", "\xEF\xBB\xBF# x\nlocal marked = 'yes'"))
      t:line "marked":waits '"yes"':prompts(3)
      t:line ":load /no/such":waits "cannot read /no/such: No such file or directory"
      t:line ":load /":waits "cannot read /: Is a directory"
      t:line(":load " .. file_of("bad.lua", "local x =\n\n= 1")):waits "bad.lua:3: unexpected"
      t:line(":load " .. file_of("fails.lua", "\nerror 'no'")):waits "fails.lua:2: no"
    end)

    it("save what was typed, and load it as if it was typed again", function()
      local script, saved = file_of("script.lua", "script_has_run = true"), dir .. "/s.lua"
      do
        local t <close> = after("local n, log = 1, {}",
          "local function next_n() n = n + 1 return n end", "'kept'", "1 + 1", "_ + #_2", "x = = 1",
          "error 'no'", "local c <close> = setmetatable({}, { __close = function() n = 100 end })")
        t:line "function f(a)":line "  return a, [[":line "]]":line "end":prompts(13)
        t:line ":time f(n)":prompts(14):line(":load " .. script):line "local n = 'new'":prompts(15)
        t:line(":save " .. saved):waits "12 inputs in"
      end
      assert.equal([==[
-- typed at a prompt of isolua: ':load' runs it input by input
local n, log = 1, {}
local function next_n() n = n + 1 return n end
'kept'
1 + 1
_ + #_2
-- x = = 1
-- error 'no'
local c <close> = setmetatable({}, { __close = function() n = 100 end })
function f(a)
  return a, [[
]]
end
f(n)
:load ]==] .. script .. "\nlocal n = 'new'\n", shell.read(saved))
      local t <close> = prompt()
      t:line(":load " .. saved):line "n, next_n(), _, _2, _3, script_has_run, f(1)"
      t:waits '"new"  101  100  6  2  true  1  ""':prompts(2)
      t:line(":save! " .. saved):waits "13 inputs in"
      file_of("s.lua", shell.read(saved) .. "do\n  error 'stop'\nend\nx = 1\n")
      t:line(":load " .. saved):waits "s.lua:19: stop":line "x":waits "\nnil\n"
    end)

    it("do not load a file that loads itself", function()
      local t <close> = after "x = 1"
      t:line(":save " .. dir .. "/s.lua"):waits "1 input in"
      file_of("s.lua", shell.read(dir .. "/s.lua") .. ":load " .. dir .. "/s.lua\n")
      t:line(":load " .. dir .. "/s.lua"):waits "s.lua loads itself"
    end)

    it("save over files only when that is meant", function()
      local t <close> = after "x = 1"
      file_of("mine.lua", "x = 1\n")
      t:line ":save '~/mine.lua'":waits "mine.lua is there already; :save! writes over it"
      assert.equal("x = 1\n", shell.read(dir .. "/mine.lua"))
      t:line ":save! /dev/full":waits "cannot write /dev/full: No space left on device"
      t:line ":save! ~/mine.lua":waits "1 input in " :line ":save ~/mine.lua":waits "1 input in "
    end)

    it("tell what is known of a function", function()
      local t <close> = prompt()
      t:line ":doc future:await":waits "Waits until the work has ended"
      t:line ":doc isolate.spwan":waits "there are isolate.spawn"
      t:line ":doc pool:cancel":waits "fail with\n`cancelled`.\n"
    end)

    it("leave", function()
      local t <close> = prompt()
      t:line ":quit":waits "exit 0"
    end)
  end)

  it("does not grow by more than what was typed", function()
    local t <close> = prompt { rows = 5 }
    local function size()
      t:press("C-l"):line "collectgarbage() collectgarbage() m = collectgarbage 'count'"
      t:line "r = io.open('/proc/self/statm'):read('a'):match ' (%d+)' * 4"
      t:line "print(('<%.0f %.0f>'):format(m, r))"
      local heap, resident
      settle.eventually(function()
        heap, resident = t:screen():match "\n<(%d+) (%d+)>\n"
        return heap
      end, settle.limit)
      if not heap then error(t:screen()) end
      return tonumber(heap), tonumber(resident)
    end
    local lines, count = {}, settle.scale(10000, 1000)
    for i = 1, 1000 do lines[i] = ("local a, t%d = %d, {}"):format(i % 10, i) end
    local number = 1
    local function type_all(times)
      for _ = 1, times do
        t:paste(table.concat(lines, "\n") .. "\n")
        number = number + #lines
        t:prompts(number)
      end
    end
    type_all(1)
    local heap, resident = size()
    number = number + 3
    type_all(count // #lines)
    local heap_after, resident_after = size()
    assert.is_true(heap_after - heap < count * 0.15, heap_after - heap)
    if not settle.sanitized then
      assert.is_true(resident_after - resident < 8000, resident_after - resident)
    end
  end)

  it("uses no processor time while nothing is typed", function()
    local t <close> = prompt()
    t:line "stat = function() return io.open('/proc/self/stat'):read 'a' end":prompts(2)
    t:line "os.clock() < 1 and 'fresh'":prompts(3):line "c = os.clock()":prompts(4)
    settle.pause(2) -- of idleness, which is what is tested
    t:line "os.clock() - c < 0.05":waits "\ntrue\n"
  end)
end)
