-- run_spec.lua - isolate.run: results, errors, ends, options, and what stays behind (nothing).
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/spec_.* 112/spec_.* 113/spec_.* 142/string 211/_ENV

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local await, failure, scale = settle.await, settle.failure, settle.scale

-- The error object of a future that fails with the given code.
local function fails_with(code, future)
  local err = failure(future)
  assert.is_table(err)
  assert.equal(code, err.code)
  assert.is_string(err.message)
  assert.equal(err.message, tostring(err))
  return err
end

-- The message of an error raised by a misuse, which must have the position of the caller.
local misuse = require "spec.support.misuse" "run_spec"

describe("isolate.run()", function()
  describe("results", function()
    it("are those of the function", function()
      assert.equal(5, (isolate.run({ timeout = settle.limit }, function(a, b)
        return a + b
      end, 2, 3):await()))
    end)

    it("may be none", function()
      assert.equal(0, select("#", await(isolate.run(function() end))))
    end)

    it("may have nils anywhere", function()
      local results = table.pack(await(isolate.run(function() return nil, 1, nil, 3, nil end)))
      assert.same({ n = 5, nil, 1, nil, 3, nil }, results)
    end)

    it("may be many, as may arguments", function()
      local n = 1000
      local list = {}
      for i = 1, n do list[i] = i end
      local results = table.pack(await(isolate.run(function(...) return ... end,
        table.unpack(list))))
      assert.equal(n, results.n)
      for i = 1, n do assert.equal(i, results[i]) end
    end)

    it("come from several isolates at once", function()
      local futures = {}
      for i = 1, 8 do
        futures[i] = isolate.run(function()
          local sum = 0
          for j = 1, 100000 do sum = sum + j % i end
          return sum >= 0 and i
        end)
      end
      for i = 1, 8 do assert.equal(i, (await(futures[i]))) end
    end)
  end)

  describe("errors", function()
    it("that are strings arrive unchanged", function()
      local line = debug.getinfo(1, "l").currentline + 1
      local err = failure(isolate.run(function() error "boom" end))
      assert.matches("^[^\n]*run_spec%.lua:" .. line .. ": boom$", err)
      assert.equal("boom", failure(isolate.run(function() error("boom", 0) end)))
      local long = ("x\0"):rep(100000)
      assert.is_true(long == failure(isolate.run(function() error(long, 0) end)))
    end)

    it("of Lua itself arrive with their position", function()
      local line = debug.getinfo(1, "l").currentline + 1
      local err = failure(isolate.run(function() local t = nil; return t.x end))
      assert.matches("run_spec%.lua:" .. line .. ": attempt to index a nil value", err)
    end)

    it("are raised again by await, with nothing added", function()
      local future = isolate.run({ timeout = settle.limit }, function() error("as is", 0) end)
      local ok, err = pcall(function() future:await() end)
      assert.is_false(ok)
      assert.equal("as is", err)
    end)

    it("that are tables are copied with their metatable", function()
      local err = failure(isolate.run(function()
        error(setmetatable({ status = 404 }, {
          __tostring = function(e) return "status " .. e.status end,
        }))
      end))
      assert.equal(404, err.status)
      assert.equal("status 404", tostring(err))
    end)

    it("may be nil, a boolean, a number or a function", function()
      local results = table.pack(isolate.run(function() error(nil) end):try(settle.limit))
      assert.same({ n = 2, false, nil }, results)
      assert.is_false(failure(isolate.run(function() error(false) end)))
      assert.equal(42, failure(isolate.run(function() error(42) end)))
      assert.equal(1.5, failure(isolate.run(function() error(1.5) end)))
      assert.equal(7, failure(isolate.run(function() error(function() return 7 end) end))())
    end)

    it("that cannot be sent arrive as not_sendable with their text", function()
      local err = fails_with("not_sendable", isolate.run(function() error(io.stdout) end))
      assert.matches("file (0x", err.message, 1, true)
      err = fails_with("not_sendable", isolate.run(function()
        error(setmetatable({ f = io.stdout }, { __tostring = function() return "my text" end }))
      end))
      assert.matches("my text", err.message, 1, true)
    end)

    it("settle the future also when their __tostring raises", function()
      local err = failure(isolate.run(function()
        error(setmetatable({ n = 1 }, { __tostring = function() error "no text" end }))
      end))
      assert.equal(1, err.n)
      fails_with("not_sendable", isolate.run(function()
        error(setmetatable({ f = io.stdout }, { __tostring = function() error "no text" end }))
      end))
      fails_with("not_sendable", isolate.run(function()
        error(setmetatable({ f = io.stdout }, { __tostring = function() return 5 end }))
      end))
    end)

    it("in a to-be-closed variable's closer are errors of the function", function()
      assert.equal("closer", failure(isolate.run(function()
        local _ <close> = setmetatable({}, { __close = function() error("closer", 0) end })
        return 1
      end)))
    end)

    it("of a result that cannot be sent do not hide that the function ended", function()
      local err = fails_with("not_sendable", isolate.run(function() return 1, io.stdout end))
      assert.equal("result #2", err.path)
    end)
  end)

  describe("the end of an isolate", function()
    it("by isolate.exit() fails the future with exited", function()
      fails_with("exited", isolate.run(function() isolate.exit() end))
      fails_with("exited", isolate.run(function()
        pcall(isolate.exit)
        return "went on"
      end))
    end)

    it("by os.exit() fails the future with exited, and the process goes on", function()
      fails_with("exited", isolate.run(function() os.exit() end))
      fails_with("exited", isolate.run(function() os.exit(3) end))
      fails_with("exited", isolate.run(function() os.exit(false, true) end))
      fails_with("exited", isolate.run(function()
        pcall(os.exit)
        return "went on"
      end))
      fails_with("exited", isolate.run(function()
        coroutine.wrap(function() os.exit() end)()
        return "went on"
      end))
    end)

    it("runs pending to-be-closed variables and finalizers", function()
      local path = os.tmpname()
      local function note(text)
        local file <close> = assert(io.open(path, "a"))
        file:write(text)
      end
      await(isolate.run(function()
        spec_kept = setmetatable({}, { __gc = function() note "collected" end })
        local _ <close> = setmetatable({}, { __close = function() note "closed " end })
      end))
      live.count()
      local text = shell.read(path)
      os.remove(path)
      assert.equal("closed collected", text)
    end)

    it("by a deep recursion is a stack overflow error", function()
      local err = failure(isolate.run(function()
        local function deep() return 1 + deep() end
        return deep()
      end))
      assert.matches("stack overflow", err)
    end)

    it("by a deep recursion through C functions is an error", function()
      local cases = {
        gsub = function()
          local function deep(s) return (s:gsub(".", deep)) end
          return deep "x"
        end,
        tostring = function()
          return tostring(setmetatable({}, { __tostring = function(v) return tostring(v) end }))
        end,
        sort = function()
          local function deep()
            table.sort({ 1, 2, 3 }, deep)
            return false
          end
          return deep()
        end,
        wrap = function()
          local function deep() return coroutine.wrap(deep)() end
          return deep()
        end,
        load = function() return assert(load("return " .. ("("):rep(100000))) end,
      }
      for name, fn in pairs(cases) do
        local err = failure(isolate.run(fn))
        assert.is_string(err, name)
        assert.is_truthy(err:find "overflow" or err:find "too many", name .. ": " .. err)
      end
    end)

    it("survives a deep recursion of pcall and xpcall", function()
      assert.is_true(await(isolate.run(function()
        local function deep() return pcall(deep) end
        return (deep())
      end)))
      assert.is_true(await(isolate.run(function()
        local function deep() return xpcall(deep, debug.traceback) end
        return (deep())
      end)))
    end)

    it("by a pattern too complex is an error", function()
      local err = failure(isolate.run(function()
        return string.match(("a"):rep(200000), (".?"):rep(200000))
      end))
      assert.matches("too complex", err)
    end)

    it("by an error in a message handler is an error", function()
      assert.is_false((await(isolate.run(function()
        local function handler() error "again" end
        return (xpcall(error, handler, "first"))
      end))))
    end)
  end)

  describe("failure to start", function()
    it("fails the future with spawn, and leaves the rest usable", function()
      fails_with("spawn", isolate.run({ stack = 1 << 47 }, function() return 1 end))
      assert.equal(1, (await(isolate.run(function() return 1 end))))
    end)
  end)

  describe("option timeout", function()
    local endless = {
      ["a loop"] = function() while true do end end,
      ["a loop of pcall"] = function()
        while true do pcall(function() while true do end end) end
      end,
      ["a loop that catches all"] = function()
        local function again() return xpcall(function() while true do end end, again) end
        while true do again() end
      end,
      ["a coroutine"] = function()
        local co = coroutine.wrap(function() while true do end end)
        while true do pcall(co) end
      end,
      ["coroutines in pcall in coroutines"] = function()
        local function deep(n)
          if n == 0 then while true do end end
          while true do pcall(coroutine.wrap(deep), n - 1) end
        end
        deep(5)
      end,
      ["a metamethod"] = function()
        local t = setmetatable({}, { __index = function() while true do end end })
        return t.x
      end,
      ["a callback of a C function"] = function()
        return ("x"):gsub(".", function() while true do end end)
      end,
      ["a comparison of table.sort"] = function()
        table.sort({ 3, 2, 1 }, function() while true do end end)
      end,
      ["a finalizer"] = function()
        setmetatable({}, { __gc = function() while true do end end })
        collectgarbage()
      end,
      ["a to-be-closed variable"] = function()
        local _ <close> = setmetatable({}, { __close = function() while true do end end })
      end,
      ["a hook"] = function()
        debug.sethook(function() while true do end end, "l")
        local x = 1
        return x
      end,
      ["a loop under a hook of its own"] = function()
        while true do debug.sethook(function() end, "", 1000) end
      end,
      ["tail calls"] = function()
        local function again() return again() end
        return again()
      end,
      ["a wait"] = function()
        isolate.run({ timeout = 1 }, function() while true do end end):await()
      end,
    }
    for name, fn in pairs(endless) do
      it("ends " .. name, function()
        local start = settle.now()
        fails_with("timeout", isolate.run({ timeout = 0.1 }, fn))
        assert.is_true(settle.now() - start >= 0.09)
      end)
    end

    it("names the isolate in its error", function()
      local err = fails_with("timeout", isolate.run({ timeout = 0.05, name = "slow one" },
        function() while true do end end))
      assert.equal("slow one", err.isolate)
    end)

    it("leaves nothing running", function()
      local function endless_run()
        failure(isolate.run({ timeout = 0.02 }, function() while true do pcall(error) end end))
      end
      endless_run()
      local before = live.count()
      for _ = 1, 5 do endless_run() end
      assert.equal("", live.left_since(before))
    end)

    it("runs to-be-closed variables", function()
      local path = os.tmpname()
      fails_with("timeout", isolate.run({ timeout = 0.05 }, function()
        local _ <close> = setmetatable({}, {
          __close = function()
            local file <close> = assert(io.open(path, "w"))
            file:write "closed"
          end,
        })
        while true do end
      end))
      assert.is_truthy(settle.eventually(function() return shell.read(path) == "closed" end))
      os.remove(path)
    end)

    it("does nothing to a function that ends in time", function()
      assert.equal(1, (await(isolate.run({ timeout = 1000 }, function() return 1 end))))
    end)
  end)

  describe("option memory", function()
    local function too_much()
      local t = {}
      for i = 1, math.maxinteger do t[i] = ("x"):rep(1000) .. i end
      return t
    end

    it("fails the future with memory", function()
      for _, size in ipairs { 8 << 20, "8MB", "8MiB", "8192k" } do
        fails_with("memory", isolate.run({ memory = size, timeout = settle.limit }, too_much))
      end
    end)

    it("names the isolate in its error", function()
      local err = fails_with("memory", isolate.run({ memory = "4MB", name = "big" }, too_much))
      assert.equal("big", err.isolate)
    end)

    it("is an error that can be caught inside", function()
      local ok, err, after = await(isolate.run({ memory = "8MB" }, function()
        local ok, err = pcall(string.rep, "x", 64 << 20)
        return ok, err, ("x"):rep(100)
      end))
      assert.is_false(ok)
      assert.matches("not enough memory", err)
      assert.equal(("x"):rep(100), after)
    end)

    it("holds for the arguments", function()
      fails_with("memory", isolate.run({ memory = "4MB" }, function() return 1 end,
        ("x"):rep(16 << 20)))
    end)

    it("holds when it is too small to begin", function()
      fails_with("memory", isolate.run({ memory = 1000 }, function() return 1 end))
    end)

    it("does not touch other isolates", function()
      local small = isolate.run({ memory = "4MB" }, too_much)
      assert.equal(16 << 20, (await(isolate.run(function() return #("x"):rep(16 << 20) end))))
      fails_with("memory", small)
    end)

    it("is no limit that a function within it notices", function()
      assert.equal(1000, (await(isolate.run({ memory = "64MB" }, function()
        local n = 0
        for _ = 1, 1000 do n = n + #("x"):rep(1 << 20) // (1 << 20) end
        return n
      end))))
    end)

    it("raises for what is no size", function()
      assert.matches("memory", misuse(function()
        isolate.run({ memory = "lots" }, function() end)
      end))
      assert.matches("memory", misuse(function()
        isolate.run({ memory = {} }, function() end)
      end))
    end)
  end)

  describe("option libs", function()
    it("gives all by default", function()
      assert.is_true(await(isolate.run(function()
        return coroutine and table and io and os and string and utf8 and math and debug
          and package and require and true
      end)))
    end)

    it("gives the base library alone for an empty list", function()
      assert.is_true(await(isolate.run({ libs = {} }, function()
        return os == nil and io == nil and string == nil and table == nil and debug == nil
          and package == nil and require == nil and coroutine == nil and math == nil
          and utf8 == nil and print ~= nil and pcall ~= nil
      end)))
    end)

    it("gives what it names", function()
      local has_string, has_os, upper = await(isolate.run({ libs = { "string", "math" } },
        function() return string ~= nil and math ~= nil, os ~= nil, ("x"):upper() end))
      assert.is_true(has_string)
      assert.is_false(has_os)
      assert.equal("X", upper)
    end)

    it("takes the methods of strings away with the string library", function()
      assert.is_false((await(isolate.run({ libs = { "table" } }, function()
        return (pcall(function() return ("x"):upper() end))
      end))))
    end)

    it("raises for a library that is none", function()
      assert.matches("nolib", misuse(function()
        isolate.run({ libs = { "nolib" } }, function() end)
      end))
      misuse(function() isolate.run({ libs = "string" }, function() end) end)
    end)
  end)

  describe("option init", function()
    it("runs a module first", function()
      assert.equal(1, (await(isolate.run({ init = "spec.support.mod_init" }, function()
        return spec_initialised
      end))))
    end)

    it("runs a function with its upvalues first", function()
      local value = { 5 }
      assert.equal(5, (await(isolate.run({ init = function() spec_from_init = value[1] end },
        function() return spec_from_init end))))
    end)

    it("fails the future when it fails", function()
      assert.equal("init failed", failure(isolate.run({
        init = function() error("init failed", 0) end,
      }, function() return 1 end)))
      assert.matches("spec.no_such_module", tostring(failure(isolate.run({
        init = "spec.no_such_module",
      }, function() return 1 end))), 1, true)
    end)

    it("is refused when it cannot be sent", function()
      local log = io.stdout
      local ok, err = pcall(isolate.run, { init = function() return log end }, function() end)
      assert.is_false(ok)
      assert.equal("not_sendable", err.code)
      assert.matches("upvalue 'log'", err.path, 1, true)
    end)

    it("raises for what is no name and no function", function()
      assert.matches("init", misuse(function() isolate.run({ init = 5 }, function() end) end))
    end)
  end)

  describe("option gc", function()
    it("chooses the collector's mode", function()
      assert.equal("generational", (await(isolate.run({ gc = "generational" }, function()
        return collectgarbage "incremental"
      end))))
      assert.equal("incremental", (await(isolate.run({ gc = "incremental" }, function()
        return collectgarbage "generational"
      end))))
      assert.is_false((await(isolate.run({ gc = "stop" }, function()
        return collectgarbage "isrunning"
      end))))
    end)

    it("leaves the collector as it is in Lua by default", function()
      assert.is_true((await(isolate.run(function() return collectgarbage "isrunning" end))))
    end)

    it("raises for any other value", function()
      assert.matches("sometimes", misuse(function()
        isolate.run({ gc = "sometimes" }, function() end)
      end))
    end)
  end)

  describe("option stack", function()
    it("is a size", function()
      for _, size in ipairs { 2 << 20, "4MB" } do
        assert.equal(1, (await(isolate.run({ stack = size }, function() return 1 end))))
      end
    end)

    it("raises for what is no size", function()
      assert.matches("stack", misuse(function()
        isolate.run({ stack = true }, function() end)
      end))
    end)
  end)

  describe("option strip", function()
    it("drops the debug information", function()
      local source, line = await(isolate.run({ strip = true }, function()
        local info = debug.getinfo(1, "Sl")
        return info.short_src, info.currentline
      end))
      assert.equal("?", source)
      assert.equal(-1, line)
      assert.matches("^%?:%-1: ", failure(isolate.run({ strip = true }, function()
        return nil + 1
      end)))
    end)

    it("changes nothing else", function()
      local a, b = { 1 }, nil
      assert.equal(3, (await(isolate.run({ strip = true }, function(n)
        return b == nil and a[1] + n + #tostring(1)
      end, 1))))
    end)
  end)

  describe("option name", function()
    it("is file and line of the function by default", function()
      local line = debug.getinfo(1, "l").currentline + 1
      local future = isolate.run(function() end)
      assert.matches("run_spec%.lua:" .. line .. "$", future.isolate.name)
      await(future)
    end)

    it("is what is given", function()
      local future = isolate.run({ name = "counter" }, function() end)
      assert.equal("counter", future.isolate.name)
      await(future)
    end)

    it("is the thread's name", function()
      assert.equal("spec thread", (await(isolate.run({ name = "spec thread" }, function()
        local file <close> = assert(io.open "/proc/thread-self/comm")
        return file:read "l"
      end))))
    end)

    it("may be long, empty and of any bytes", function()
      for _, name in ipairs { ("n"):rep(10000), "", "é\n%s" } do
        local future = isolate.run({ name = name }, function() return 1 end)
        assert.equal(1, (await(future)))
        assert.equal(name, future.isolate.name)
      end
    end)

    it("raises for what is no string", function()
      assert.matches("name", misuse(function() isolate.run({ name = {} }, function() end) end))
    end)
  end)

  describe("misuse", function()
    it("raises for an unknown option and names it", function()
      assert.matches("timout", misuse(function()
        isolate.run({ timout = 1 }, function() end)
      end))
    end)

    it("raises for an option of the wrong type and names it", function()
      for option, value in pairs { timeout = "soon", globals = "some", strip = "yes",
                                   libs = true, gc = 1 } do
        assert.matches(option, misuse(function()
          isolate.run({ [option] = value }, function() end)
        end))
      end
    end)

    it("raises without a function", function()
      misuse(function() isolate.run() end)
      misuse(function() isolate.run(nil) end)
      misuse(function() isolate.run "print(1)" end)
      misuse(function() isolate.run {} end)
      misuse(function() isolate.run({ name = "x" }, 5) end)
    end)

    it("takes no table after the function for options", function()
      assert.same({ timout = 0 }, (await(isolate.run(function(t) return t end, { timout = 0 }))))
    end)

    it("does not change the options", function()
      local options = { name = "n", timeout = 100, libs = { "string" } }
      await(isolate.run(options, function() end))
      assert.same({ name = "n", timeout = 100, libs = { "string" } }, options)
    end)
  end)

  describe("the isolate's environment", function()
    it("has the paths of packages", function()
      local path, cpath = package.path, package.cpath
      package.path, package.cpath = path .. ";/spec/?.lua", cpath .. ";/spec/?.so"
      local future = isolate.run(function() return package.path, package.cpath end)
      local expected_path, expected_cpath = package.path, package.cpath
      package.path, package.cpath = path, cpath
      local got_path, got_cpath = await(future)
      assert.equal(expected_path, got_path)
      assert.equal(expected_cpath, got_cpath)
    end)

    it("has the preloaded modules that can be sent", function()
      local log = io.stdout
      package.preload["spec.sendable"] = function() return { answer = 42 } end
      package.preload["spec.unsendable"] = function() return log end
      local ok, answer = pcall(function()
        return await(isolate.run(function() return require "spec.sendable".answer end))
      end)
      package.preload["spec.sendable"], package.preload["spec.unsendable"] = nil, nil
      assert.is_true(ok, answer)
      assert.equal(42, answer)
    end)

    it("is fresh each time", function()
      await(isolate.run(function() spec_left, string.spec_left = 1, 1 end))
      assert.is_true(await(isolate.run(function()
        return rawget(_G, "spec" .. "_left") == nil and string["spec" .. "_left"] == nil
      end)))
    end)

    it("can run isolates, to any depth", function()
      local function nest(n)
        if n == 0 then return "bottom" end
        return (isolate.run(nest, n - 1):await())
      end
      assert.equal("bottom", (await(isolate.run(nest, 5))))
    end)

    it("passes errors of isolates in isolates on", function()
      local err = failure(isolate.run(function()
        isolate.run(function() error({ deep = true }) end):await()
      end))
      assert.is_true(err.deep)
      fails_with("timeout", isolate.run(function()
        isolate.run({ timeout = 0.05 }, function() while true do end end):await()
      end))
    end)

    it("has random numbers of its own", function()
      local seen = {}
      for i = 1, 50 do seen[i] = isolate.run(function() return math.random(0) end) end
      for i = 1, 50 do
        local number = await(seen[i])
        assert.is_nil(seen[number])
        seen[number] = true
      end
    end)

    it("can use coroutines, and each its own", function()
      local sum, status, isyieldable = await(isolate.run(function()
        local co = coroutine.create(function(a)
          local b = coroutine.yield(a + 1)
          error({ b })
        end)
        local _, first = coroutine.resume(co, 1)
        local ok, err = coroutine.resume(co, 40)
        return first + err[1], ok == false and coroutine.status(co), coroutine.isyieldable()
      end))
      assert.equal(42, sum)
      assert.equal("dead", status)
      assert.is_boolean(isyieldable)
    end)

    it("has pcall, xpcall, error and close as Lua has them", function()
      assert.is_true(await(isolate.run(function()
        local ok, err = pcall(error)
        local two = table.pack(pcall(function() return 1, nil end))
        local _, traceback = xpcall(function() error "x" end, debug.traceback)
        local handled = table.pack(xpcall(function(...) return ... end, print, nil, 2))
        local co = coroutine.create(function()
          local _ <close> = setmetatable({}, { __close = function() error("closing", 0) end })
          coroutine.yield()
        end)
        coroutine.resume(co)
        local closed, reason = coroutine.close(co)
        return ok == false and err == nil and two.n == 3 and two[1] and two[2] == 1
          and traceback:find "stack traceback" ~= nil and handled.n == 3 and handled[3] == 2
          and closed == false and reason == "closing" and select("#", pcall(pcall)) == 2
      end)))
    end)

    it("can yield across pcall in a coroutine", function()
      assert.equal(3, (await(isolate.run(function()
        local co = coroutine.wrap(function()
          local ok, a = pcall(function() return coroutine.yield(1) + 1 end)
          return ok and a
        end)
        co()
        return co(2)
      end))))
    end)

    it("prints whole lines to the process's output", function()
      local result = lua.source([[
        local isolate = require "isolate"
        local futures = {}
        for i = 1, 4 do
          futures[i] = isolate.run(function()
            for j = 1, 200 do print("isolate", i, ("x"):rep(50), j) end
          end)
        end
        for i = 1, 4 do futures[i]:await() end
      ]])
      assert.equal("", result.stderr)
      assert.equal(0, result.status)
      local count, nexts = 0, { 1, 1, 1, 1 }
      for line in result.stdout:gmatch "[^\n]*\n" do
        local i, j = line:match "^isolate\t(%d)\tx+\t(%d+)\n$"
        assert.is_string(i, line)
        i, j = tonumber(i), tonumber(j)
        assert.equal(nexts[i], j)
        nexts[i], count = j + 1, count + 1
      end
      assert.equal(800, count)
    end)

    it("ends alone: os.exit in an isolate leaves the process running", function()
      local result = lua.source [[
        local isolate = require "isolate"
        local ok, err = isolate.run(function() os.exit(7, true) end):try(20)
        print(ok, err.code)
      ]]
      assert.equal("false\texited\n", result.stdout)
      assert.equal(0, result.status)
    end)
  end)

  describe("leaves nothing behind", function()
    local function sequence(n)
      for i = 1, n do
        local sum = await(isolate.run(function(t) return t[1] + i end, { i }))
        if sum ~= 2 * i then error "wrong sum" end
      end
    end

    local function at_once(n)
      local futures = {}
      for i = 1, n do futures[i] = isolate.run(function() return { i } end) end
      for i = 1, n do
        if await(futures[i])[1] ~= i then error "wrong result" end
      end
    end

    it("after 10,000 runs in sequence", function()
      sequence(10)
      local before = live.count()
      sequence(scale(10000, 500))
      assert.equal("", live.left_since(before))
    end)

    it("after 500 runs at once", function()
      at_once(10)
      local before = live.count()
      at_once(scale(500, 50))
      assert.equal("", live.left_since(before))
    end)

    it("after errors, exits, timeouts, memory errors and cancelled runs", function()
      local function all_ends()
        failure(isolate.run(function() error { "x" } end))
        failure(isolate.run(function() error(io.stdout) end))
        failure(isolate.run(function() return io.stdout end))
        failure(isolate.run(function() os.exit() end))
        failure(isolate.run(function() isolate.exit() end))
        failure(isolate.run({ timeout = 0.01 }, function() while true do end end))
        failure(isolate.run({ memory = "2MB" }, function() return ("x"):rep(1 << 26) end))
        local future = isolate.run(function() while true do end end)
        future:cancel()
        failure(future)
        await(isolate.run(function() return isolate.run(function() end):await() end))
      end
      all_ends()
      local before = live.count()
      for _ = 1, scale(20, 3) do all_ends() end
      assert.equal("", live.left_since(before))
    end)

    it("after futures that were dropped at once", function()
      local function dropped(n)
        for _ = 1, n do isolate.run(function() return { 1 } end) end
      end
      dropped(5)
      local before = live.count()
      dropped(scale(200, 20))
      assert.equal("", live.left_since(before))
    end)
  end)
end)
