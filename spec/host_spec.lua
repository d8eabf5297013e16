-- host_spec.lua - the executable as a replacement for lua5.4, and what it does beside that.
-- SPDX-License-Identifier: MIT

-- It compares two programs, whichever interpreter runs the spec, so one of them is enough.
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local host, reason = lua.only_host()
if not host then return pending(reason) end

local quote = shell.quote

-- The environment of a machine with nothing set.
local CLEAN = { "-i", "PATH=" .. os.getenv "PATH", "HOME=/tmp" }

local function with(words)
  return table.move(words, 1, #words, #CLEAN + 1, table.move(CLEAN, 1, #CLEAN, 1, {}))
end

-- Runs the host with a command line (shell text) in a clean environment.
local function run(line, options)
  options = options or {}
  options.env = with(options.env or {})
  return shell.run(quote(host) .. " " .. line, options)
end

-- A temporary file for one test; `close` removes it.
local function temporary(text)
  return setmetatable({ path = shell.write(text) }, {
    __close = function(self) os.remove(self.path) end,
    __tostring = function(self) return self.path end,
  })
end

local function script(text, options)
  local file <close> = temporary(text)
  local result = run(quote(file), options)
  result.path = file.path
  return result
end

-- The program's own name is the one thing that may differ; and of an error, the first line counts.
local function neutral(text, program)
  local plain = program:gsub("%p", "%%%0")
  return (text:gsub(plain, "PROGRAM"))
end

local function first_line(text) return text:match "^[^\n]*" end

-- Asserts that the host does what lua5.4 does: the same output, status, and first line of stderr.
local function same(line, options)
  options = options or {}
  local results = {}
  for _, program in ipairs { "lua5.4", host } do
    local copy = { env = with(options.env or {}), stdin = options.stdin, cwd = options.cwd }
    local result = shell.run(quote(program) .. " " .. line, copy)
    result.stdout = neutral(result.stdout, program)
    result.stderr = neutral(result.stderr, program)
    results[#results + 1] = result
  end
  local stock, ours = results[1], results[2]
  assert.equal(stock.stdout, ours.stdout, line)
  assert.equal(first_line(stock.stderr), first_line(ours.stderr), line)
  assert.equal(stock.status, ours.status, line)
  return ours
end

describe("isolua", function()
  describe("takes the options of lua5.4:", function()
    it("-e", function()
      assert.equal("3\n", same [[-e "print(1 + 2)"]].stdout)
      same [[-e"print(1)"]]
      same [[-e "a = 1" -e "print(a)"]]
      same [[-e "print(arg[0], arg[1])"]]
      same [[-e "print(...)"]]
      same [[-e "local x = 5; print(x); return 7"]]
    end)

    it("-l", function()
      local cwd = lua.root
      same([[-l string -e "print(string.rep('x', 3))"]], { cwd = cwd })
      same([[-lstring -e "print(string.len('x'))"]], { cwd = cwd })
      same([[-l g=string -e "print(g == string)"]], { cwd = cwd })
      same([[-l M=spec.support.mod_fields -e "print(M.double(4))"]], { cwd = cwd })
      same([[-l spec.support.mod_class -e "print(type(_G['spec.support.mod_class']))"]],
        { cwd = cwd })
      same([[-l no_such_module]], { cwd = cwd })
    end)

    it("-v", function()
      local result = run "-v"
      assert.matches("Lua 5.4", result.stdout, 1, true)
      assert.equal(0, result.status)
      assert.matches("Lua 5%.4.*\n1\n$", run([[-v -e "print(1)"]]).stdout)
    end)

    it("-E", function()
      local env = { "LUA_INIT=print('init')", "LUA_PATH=/spec/?.lua", "LUA_CPATH=/spec/?.so" }
      same([[-E -e "print(1)"]], { env = env })
      same([[-e "print(1)"]], { env = env })
      local paths = run([[-E -e "print(package.path) print(package.cpath)"]], { env = env }).stdout
      assert.not_matches("/spec/?", paths, 1, true)
    end)

    it("-W", function()
      same [[-W -e "warn('careful', ' now')"]]
      same [[-e "warn('unheard')"]]
      same [[-e "warn('@on') warn('heard') warn('@off') warn('unheard')"]]
    end)

    it("-", function()
      same("- a b", { stdin = "print(arg[0], arg[1], arg[2], ...)" })
      same("-", { stdin = "error 'from stdin'" })
      same("-", { stdin = "syntax error here" })
    end)

    it("--", function()
      local file <close> = temporary "print(...)"
      same("-- " .. quote(file) .. " -e x")
      same([[-e "print(0)" -- ]] .. quote(file) .. " 1")
    end)

    it("-i", function()
      local result = run("-i", { stdin = "= 40 + 2\nx = 6\nprint(x * 7)\nerror 'oops'\nx\n" })
      assert.matches("42", result.stdout, 1, true)
      assert.matches("oops", result.stderr, 1, true)
      assert.matches("6", result.stdout, 1, true)
      assert.equal(0, result.status)
      result = run([[-i -e "y = 20 + 3"]], { stdin = "y" })
      assert.matches("23", result.stdout, 1, true)
    end)

    it("and --help and --version, before all else", function()
      for line, text in pairs { ["--help"] = "^usage: .*\n  %-e stat .*\n  %-%-version ",
        ["-e 'print(1)' --version -x"] = "^isolua %d+%.%d+%.%d+  Lua 5%.4[^\n]*\n$" } do
        local result = run(line)
        assert.matches(text, result.stdout)
        assert.equal("", result.stderr)
        assert.equal(0, result.status)
      end
      assert.equal("--help\n", run("-e 'print(...)' - --help", { stdin = "print(...)" }).stdout
        :match "[^\n]*\n$")
    end)

    it("a mistaken option ends with usage and status 1", function()
      for _, line in ipairs { "-x", "-Ex", "-ofoo", "--helpx", "-e", "-l", "-vv", "-i-" } do
        local result = same(line)
        assert.equal(1, result.status, line)
        assert.matches("usage:", result.stderr, 1, true)
      end
    end)
  end)

  describe("runs a script", function()
    it("with its arguments", function()
      local file <close> = temporary [[
        print(select("#", ...), ...)
        local low = 0
        while arg[low - 1] do low = low - 1 end
        for i = low, #arg do print(i, arg[i]) end
      ]]
      same(quote(file))
      same(quote(file) .. " a 'b c' '' -e -i --")
      same([[-e "x = 1" -W ]] .. quote(file) .. " a")
      same("-- " .. quote(file) .. " a")
    end)

    it("from stdin when that is no terminal", function()
      same("", { stdin = "print(1, ...)\nprint(arg[0])" })
      same("", { stdin = "#!/usr/bin/lua\nprint(2)" })
      same("", { stdin = "" })
    end)

    it("whose first line begins with #", function()
      local file <close> = temporary(
        "#!/usr/bin/env isolua\nprint(debug.getinfo(1, 'l').currentline)")
      same(quote(file))
    end)

    it("that does not exist", function()
      local result = same "/tmp/no-such-script.lua"
      assert.equal(1, result.status)
      assert.matches("cannot open", result.stderr, 1, true)
    end)

    it("that has a syntax error", function()
      local file <close> = temporary "local = 1"
      assert.equal(1, same(quote(file)).status)
    end)

    it("with the globals and the collector of lua5.4", function()
      same [[-e "print(collectgarbage('incremental'), _VERSION)"]]
      local names = [[-e "local t = {} for k in pairs(_G) do t[#t + 1] = k end ]] ..
        [[table.sort(t) print(table.concat(t, ' '))"]]
      same(names)
      same [[-e "print(package.config)"]]
      same [[-e "print(coroutine.isyieldable(), select(2, coroutine.running()))"]]
    end)

    it("and closes the state at its end", function()
      local file <close> = temporary [[
        local a <close> = setmetatable({}, { __close = function() print "closed" end })
        G = setmetatable({}, { __gc = function() print "collected" end })
        print "end"
      ]]
      assert.equal("end\nclosed\ncollected\n", same(quote(file)).stdout)
    end)
  end)

  describe("ends with the status of lua5.4", function()
    it("after os.exit", function()
      for _, value in ipairs { "", "0", "1", "3", "255", "true", "false", "2.0", "0, true",
                               "5, true", "true, true", "256" } do
        same(([[-e "os.exit(%s)"]]):format(value))
      end
    end)

    it("after an error", function()
      for _, code in ipairs {
        [[error 'message']], [[error('message', 0)]], [[error(nil)]], [[error()]], [[error {}]],
        [[error(42)]], [[error(true)]], [[local t = nil; t.x = 1]],
        [[error(setmetatable({}, {__tostring = function() return 'own text' end}))]],
        [[coroutine.wrap(error)('inside')]],
        [[local x <close> = setmetatable({}, {__close = function() error 'closing' end})]],
      } do
        local result = same("-e " .. quote(code))
        assert.equal(1, result.status, code)
      end
    end)

    it("with a traceback on stderr", function()
      local result = script "local function f() error 'deep' end\nlocal function g() f() end\ng()"
      assert.matches("deep", first_line(result.stderr), 1, true)
      assert.matches("stack traceback:", result.stderr, 1, true)
      for line = 1, 3 do
        assert.matches(result.path .. ":" .. line .. ":", result.stderr, 1, true)
      end
    end)
  end)

  describe("reads the environment", function()
    it("LUA_INIT", function()
      same([[-e "print(x)"]], { env = { "LUA_INIT=x = 'code'" } })
      local file <close> = temporary "x = 'file'"
      same([[-e "print(x)"]], { env = { "LUA_INIT=@" .. file.path } })
      same([[-e "print(x)"]], { env = { "LUA_INIT=x = 1", "LUA_INIT_5_4=x = 2" } })
      same([[-e "print(x)"]], { env = { "LUA_INIT=error 'in init'" } })
      same([[-e "print(x)"]], { env = { "LUA_INIT=@/tmp/no-such-init.lua" } })
      same([[-e "print(x)"]], { env = { "LUA_INIT=not lua" } })
    end)

    it("LUA_PATH and LUA_CPATH", function()
      local print_paths = [[-e "print(package.path) print(package.cpath)"]]
      local env = { "LUA_PATH=/spec/?.lua", "LUA_CPATH=/spec/?.so" }
      same(print_paths, { env = env })
      same(print_paths, { env = { "LUA_PATH=/a/?.lua;;/b/?.lua", "LUA_CPATH=;;/b/?.so" } })
      same(print_paths, { env = { "LUA_PATH=/a/?.lua", "LUA_PATH_5_4=/b/?.lua" } })
      same(print_paths)
    end)
  end)

  describe("has the module inside", function()
    it("with nothing set", function()
      local result = shell.run(
        quote(host) .. [[ -e "print(type(require 'isolate'.run))"]], { env = { "-i" }, cwd = "/" })
      assert.equal("", result.stderr)
      assert.equal("function\n", result.stdout)
    end)

    it("also with paths that lead nowhere, and in isolates", function()
      local result = script([[
        local isolate = require "isolate"
        print(isolate.run({ timeout = 20 }, function()
          return isolate.run(function() return isolate == require "isolate" end):await()
        end):await())
      ]], { env = { "LUA_PATH=/spec/?.lua", "LUA_CPATH=/spec/?.so" }, cwd = "/" })
      assert.equal("", result.stderr)
      assert.equal("true\n", result.stdout)
    end)

    it("from a copy of the executable anywhere", function()
      local path = os.tmpname()
      assert(os.execute(("cp %s %s && chmod +x %s"):format(quote(host), path, path)))
      local result = shell.run(path .. [[ -e "print(require 'isolate'.run(function() ]] ..
        [[return 'copied' end):await())"]], { env = CLEAN, cwd = "/" })
      os.remove(path)
      assert.equal("copied\n", result.stdout)
    end)
  end)

  describe("at the end of the main chunk", function()
    it("runs the event loop until it is empty", function()
      local result = script [[
        local isolate = require "isolate"
        isolate.run(function() return "result" end):on_done(function(ok, value)
          print(ok, value)
          isolate.run(function() return "second" end):on_done(function(_, v) print(v) end)
        end)
        print "main ended"
      ]]
      assert.equal("", result.stderr)
      assert.equal("main ended\ntrue\tresult\nsecond\n", result.stdout)
      assert.equal(0, result.status)
    end)

    it("lets pending runs end", function()
      local result = script [[
        require "isolate".run(function()
          local n = 0
          for i = 1, 5000000 do n = n + i % 7 end
          print "done"
        end)
      ]]
      assert.equal("done\n", result.stdout)
      assert.equal(0, result.status)
    end)

    it("runs the event loop also for -e and for stdin", function()
      local code = "require 'isolate'.run(function() return 1 end):on_done(print)"
      assert.equal("true\t1\n", run("-e " .. quote(code)).stdout)
      assert.equal("true\t1\n", run("", { stdin = code }).stdout)
    end)

    it("does not wait for endless isolates after an error", function()
      local result = script [[
        local isolate = require "isolate"
        for _ = 1, 3 do isolate.run(function() while true do pcall(error) end end) end
        error "main failed"
      ]]
      assert.equal(1, result.status)
      assert.matches("main failed", result.stderr, 1, true)
      assert.is_true(result.seconds < 10)
    end)

    it("does not wait for endless isolates in os.exit", function()
      for _, arguments in ipairs { "0", "4", "4, true" } do
        local result = script(([[
          local isolate = require "isolate"
          for _ = 1, 3 do isolate.run(function() while true do pcall(error) end end) end
          os.exit(%s)
        ]]):format(arguments))
        assert.equal(tonumber(arguments:match "%d"), result.status)
        assert.is_true(result.seconds < 10)
      end
    end)
  end)

  describe("prints one joined traceback for an error that crossed isolates", function()
    it("where it was raised, then where it was awaited", function()
      local result = script [[
local isolate = require "isolate"
local function far()
  error "crossed"
end
local future = isolate.run(function()
  far()
  return 1
end)
local function near()
  return (future:await())
end
near()
]]
      assert.equal(1, result.status)
      local message, trace = result.stderr:match "^([^\n]*)\n(.*)$"
      assert.matches(result.path .. ":3: crossed", message, 1, true)
      local function at(line)
        return trace:find(result.path .. ":" .. line .. ":", 1, true)
      end
      assert.is_number(at(3))
      assert.is_number(at(6))
      assert.is_number(at(10))
      assert.is_number(at(12))
      assert.is_true(at(3) < at(6) and at(6) < at(10) and at(10) < at(12))
      assert.equal(1, select(2, result.stderr:gsub(": crossed", "")))
    end)

    it("through two isolates", function()
      local result = script [[
local isolate = require "isolate"
isolate.run(function()
  isolate.run(function()
    error "crossed"
  end):await()
end):await()
]]
      local at4 = result.stderr:find(":4: in", 1, true)
      local at5 = result.stderr:find(":5: in", 1, true) or result.stderr:find(":3: in", 1, true)
      local at6 = result.stderr:find(":6: in", 1, true) or result.stderr:find(":2: in", 1, true)
      assert.is_number(at4)
      assert.is_number(at5)
      assert.is_number(at6)
      assert.is_true(at4 < at5 and at5 < at6)
      assert.equal(1, result.status)
    end)

    it("for an error object, too", function()
      local result = script [[
        local isolate = require "isolate"
        isolate.run({ timeout = 0.05, name = "slow one" }, function()
          while true do end
        end):await()
      ]]
      assert.equal(1, result.status)
      assert.matches("stack traceback:", result.stderr, 1, true)
      assert.matches("slow one", result.stderr, 1, true)
    end)
  end)

  describe("on Ctrl-C", function()
    -- ThreadSanitizer holds signals back whose handler was installed by sigaction until the thread
    -- makes its next library call, which one that waits or is busy does not make.
    if os.getenv "ISOLUA_SANITIZER" == "tsan" then
      pending "is not tested under ThreadSanitizer"
      return
    end

    -- Sends SIGINT to the process; unlike os.execute, io.popen does not ignore it meanwhile.
    local prelude = [[
      local isolate = require "isolate"
      local pid = io.open "/proc/self/stat":read "n"
      local function interrupt() io.popen("kill -INT " .. pid):close() end
      local function endless() while true do end end
    ]]

    -- Runs a script that must end as interrupted, and soon.
    local function interrupted(text)
      local result = script(prelude .. text)
      assert.equal(130, result.status)
      assert.is_true(result.seconds < 10)
      return result
    end

    it("raises interrupted in a busy main", function()
      local result = interrupted [[
        interrupt()
        endless()
      ]]
      assert.matches("interrupted", result.stderr, 1, true)
    end)

    it("raises an error object that can be caught", function()
      local result = script(prelude .. [[
        local ok, err = pcall(function()
          interrupt()
          endless()
        end)
        print(ok, err.code, tostring(err) == err.message)
      ]])
      assert.equal("false\tinterrupted\ttrue\n", result.stdout)
      assert.equal(0, result.status)
    end)

    it("raises interrupted in a coroutine", function()
      interrupted [[
        coroutine.wrap(function()
          interrupt()
          endless()
        end)()
      ]]
      interrupted [[
        interrupt()
        coroutine.wrap(function() coroutine.wrap(endless)() end)()
      ]]
    end)

    it("raises interrupted in main's wait when a task or a handler was busy", function()
      for _, call in ipairs {
        "isolate.async(busy)", "isolate.after(0, busy)", "quick:on_done(busy)",
      } do
        local result = interrupted([[
          local quick = isolate.run(function() end)
          local function busy() interrupt() endless() end
          ]] .. call .. [[

          isolate.sleep(60)
        ]])
        assert.matches("interrupted\nstack traceback:\n.*isolate.sleep", result.stderr)
        assert.is_nil(result.stderr:find("uncaught", 1, true))
      end
    end)

    it("raises interrupted in a wait", function()
      local result = interrupted [[
        isolate.run(function()
          interrupt()
          endless()
        end):await()
      ]]
      assert.matches("interrupted", result.stderr, 1, true)
    end)

    it("raises interrupted in a wait inside a coroutine", function()
      local result = script(prelude .. [[
        local co = coroutine.create(function()
          local future <close> = isolate.run(function()
            interrupt()
            endless()
          end)
          future:await()
        end)
        local ok, err = coroutine.resume(co)
        print(ok, err.code)
        coroutine.close(co)
      ]])
      assert.equal("false\tinterrupted\n", result.stdout)
      assert.equal(0, result.status)
    end)

    it("ends a program that only waits for its isolates", function()
      interrupted [[
        isolate.run(function()
          interrupt()
          endless()
        end)
      ]]
    end)

    it("leaves isolates alone where main goes on", function()
      local result = script(prelude .. [[
        local future = isolate.run(function()
          local n = 0
          for i = 1, 3000000 do n = n + 1 end
          return n
        end)
        local ok, err = pcall(function()
          interrupt()
          endless()
        end)
        print(ok, err.code, future:await())
      ]])
      assert.equal("false\tinterrupted\t3000000\n", result.stdout)
    end)

    it("twice ends the process within a second, whatever it does", function()
      local file <close> = temporary(prelude .. [[
        local busy = isolate.run(function() while true do pcall(endless) end end)
        local clock = io.popen "date +%s.%N"
        io.write(clock:read "l", "\n")
        io.stdout:flush()
        clock:close()
        interrupt()
        local function stubborn() while true do pcall(endless) end end
        pcall(busy.await, busy)
        interrupt()
        while true do pcall(busy.await, busy) pcall(stubborn) end
      ]])
      local result = shell.run(quote(host) .. " " .. quote(file), { env = CLEAN })
      local ended = settle.wall()
      assert.equal(130, result.status)
      local started = tonumber(result.stdout:match "^[%d.]+")
      assert.is_true(ended - started < 1 + settle.scale(1, 10))
    end)
  end)
end)
