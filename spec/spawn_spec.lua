-- spawn_spec.lua - isolate.spawn, isolate.spawn_file: options, the life and the end of an isolate.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/spec_.* 112/spec_.* 113/spec_.* 211/_ENV 241/t 331/t 431/tx 431/isolate

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert, before_each, after_each = describe, it, assert, before_each, after_each
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local scale, limit = settle.scale, settle.limit

local function received(rx)
  local value, why = rx:receive(limit)
  assert.is_nil(why)
  return value
end

-- What join gives; its error value alone when it failed.
local function results(iso)
  local list = table.pack(iso:join(limit))
  assert.is_true(list[1], tostring(list[2]))
  return table.unpack(list, 2, list.n)
end

-- Error listeners keep stderr clean.
local function failure(opts, ...)
  local rx, tx = isolate.port()
  opts.on_error = opts.on_error or tx
  local iso = isolate.spawn(opts, ...)
  local ok, err = iso:join(limit)
  assert.is_false(ok)
  rx:close()
  return err, iso
end

local function gone(iso)
  local thing, message = isolate.select({ iso }, limit)
  assert.equal(iso, thing)
  return message
end

local function misuse(text, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.matches(text, tostring(err), 1, true)
end

-- Errors that are sent there are not printed.
local _, quiet = isolate.port()

local before
before_each(function()
  isolate.run(function() end):try(limit)
  before = live.count()
end)
after_each(function() assert.equal("", live.left_since(before)) end)

-- Both ways to start take the same options. `fn` has no upvalues but modules.
local path
local ways = {
  spawn = function(opts, fn, ...) return isolate.spawn(opts, fn, ...) end,
  spawn_file = function(opts, fn, ...)
    path = shell.write(("return load(%q, 'body', 'b')(...)"):format(string.dump(fn)))
    local iso = isolate.spawn_file(opts, path, ...)
    return iso
  end,
}
after_each(function()
  if path then os.remove(path) end
  path = nil
end)

for way, start in pairs(ways) do
  describe("isolate." .. way .. "(), option", function()
    it("name: shown in lists, errors and as the thread's name", function()
      local rx, tx = isolate.port()
      local iso = start({ name = "a worker" }, function(tx, rx_of)
        local file = io.open "/proc/thread-self/comm"
        local name = file:read "l"
        file:close()
        tx:send(name)
        rx_of:receive()
      end, tx, isolate.channel())
      assert.equal("a worker", received(rx))
      assert.equal("a worker", iso.name)
      assert.equal(iso, isolate.find "a worker")
      assert.matches("^isolate.isolate: a worker %(%d+%)$", tostring(iso))
      iso:kill()
      local _, err = iso:join(limit)
      assert.equal("isolate 'a worker' was killed", err.message)
      assert.equal("a worker", err.isolate)
      gone(iso)
    end)

    it("timeout: the isolate is killed then, whatever it does", function()
      for _, fn in ipairs { function() while true do end end,
        function() require "isolate".sleep(1e6) end } do
        local iso = start({ timeout = 0.03, on_error = quiet }, fn)
        local ok, err = iso:join(limit)
        assert.is_false(ok)
        assert.equal("timeout", err.code)
        assert.equal("killed", iso:status())
        assert.same({ "killed", "timeout" }, { gone(iso).status, gone(iso).reason })
      end
    end)

    it("timeout: covers what its event loop does", function()
      local iso = start({ timeout = 0.05, on_error = quiet }, function()
        require "isolate".every(0.001, function() end)
      end)
      local _, err = iso:join(limit)
      assert.equal("timeout", err.code)
      gone(iso)
    end)

    it("memory: a cap on the Lua heap, also as text", function()
      for _, size in ipairs { 4000000, "4MB", "4MiB", "4096k" } do
        local rx, tx = isolate.port()
        local iso = start({ memory = size, on_error = tx }, function()
          local t = {}
          for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end
        end)
        local ok, err = iso:join(limit)
        assert.is_false(ok)
        assert.equal("memory", err.code)
        assert.equal("failed", iso:status())
        assert.matches("ran out of memory", received(rx).message, 1, true)
        gone(iso)
      end
    end)

    it("memory: the error can be caught inside", function()
      local iso = start({ memory = "4MB" }, function()
        local ok, err = pcall(string.rep, "x", 10000000)
        return ok, err
      end)
      assert.same({ false, "not enough memory" }, { results(iso) })
      gone(iso)
    end)

    it("libs: what is left out is nil there", function()
      local iso = start({ libs = { "string", "package" } }, function()
        return type(string), os == nil and io == nil and debug == nil and table == nil
          and math == nil and coroutine == nil and utf8 == nil
      end)
      assert.same({ "table", true }, { results(iso) })
      gone(iso)
    end)

    it("gc: is set", function()
      for gc, previous in pairs { generational = "generational", incremental = "incremental" } do
        local iso = start({ gc = gc }, function() return collectgarbage "incremental" end)
        assert.equal(previous, (results(iso)))
        gone(iso)
      end
      local iso = start({ gc = "stop" }, function() return collectgarbage "isrunning" end)
      assert.is_false((results(iso)))
      gone(iso)
    end)

    it("stack: is large enough for nested C calls, however small", function()
      for _, size in ipairs { 1, "1MiB", "8MiB" } do
        local iso = start({ stack = size }, function()
          local function deep(n)
            if n > 0 then
              return (string.gsub("a", "a", function() return tostring(deep(n - 1)) end))
            end
            return "end"
          end
          return deep(150)
        end)
        assert.equal("end", (results(iso)))
        gone(iso)
      end
    end)

    it("init: a function runs first", function()
      local iso = start({ init = function() spec_first = (spec_first or 0) + 1 end }, function()
        return spec_first -- luacheck: ignore
      end)
      assert.equal(1, (results(iso)))
      gone(iso)
    end)

    it("init: a module runs first", function()
      local iso = start({ init = "spec.support.mod_init" }, function()
        return package.loaded["spec.support.mod_init"] ~= nil
      end)
      assert.is_true((results(iso)))
      gone(iso)
    end)

    it("init: an error in it is the isolate's", function()
      local rx, tx = isolate.port()
      local iso = start({ init = function() error("no start", 0) end, on_error = tx }, function()
        return 1
      end)
      assert.same({ false, "no start" }, { iso:join(limit) })
      assert.equal("no start", received(rx).message)
      gone(iso)
    end)

    it("paused: nothing of it runs until it is resumed", function()
      local rx, tx = isolate.port()
      local iso = start({ paused = true }, function(tx) tx:send "ran" end, tx)
      tx:close()
      assert.is_true(settle.eventually(function() return iso:status() == "paused" end))
      assert.is_true(iso:ping(limit))
      assert.same({ nil, "empty" }, { rx:try_receive() })
      iso:resume()
      assert.equal("ran", received(rx))
      gone(iso)
    end)

    it("paused: is undone by resume without a key only", function()
      local rx, tx = isolate.port()
      local iso = start({ paused = true }, function(tx) tx:send "ran" end, tx)
      local key = iso:pause "mine"
      assert.equal("mine", key)
      iso:resume "mine"
      iso:resume "unknown"
      assert.is_true(iso:ping(limit))
      assert.equal("paused", iso:status())
      assert.same({ nil, "empty" }, { rx:try_receive() })
      iso:resume()
      assert.equal("ran", received(rx))
      gone(iso)
    end)

    it("on_exit: gets the exit message, also of the shortest life", function()
      for _ = 1, scale(50, 10) do
        local rx, tx = isolate.port()
        local iso = start({ on_exit = tx, name = "short" }, function() end)
        tx:close()
        assert.same({ id = iso.id, name = "short", status = "done" }, received(rx))
        assert.same({ nil, "closed" }, { rx:receive(limit) })
      end
    end)

    it("on_error: gets the error message, and nothing is printed", function()
      local rx, tx = isolate.port()
      local iso = start({ on_error = tx, name = "failing" }, function()
        error({ code = 7 })
      end)
      tx:close()
      local message = received(rx)
      assert.equal(iso.id, message.id)
      assert.equal("failing", message.name)
      assert.same({ code = 7 }, message.error)
      assert.is_string(message.message)
      assert.matches("stack traceback:", message.traceback, 1, true)
      assert.same({ nil, "closed" }, { rx:receive(limit) })
      assert.equal("failed", iso:status())
      assert.same({ false, { code = 7 } }, { iso:join(limit) })
    end)

    it("errors_fatal: false lets it go on after an error in a callback", function()
      local rx, tx = isolate.port()
      local iso = start({ errors_fatal = false, on_error = tx }, function(tx)
        local isolate = require "isolate"
        isolate.after(0, function() error("in a timer", 0) end)
        isolate.async(function() error("in a task", 0) end)
        collectgarbage()
        isolate.after(0.02, function() tx:send "went on" end)
      end, tx)
      tx:close()
      local seen = {}
      for v in rx:messages() do
        seen[type(v) == "table" and v.message:match "in a %a+" or v] = true
      end
      assert.same({ ["in a timer"] = true, ["in a task"] = true, ["went on"] = true }, seen)
      assert.equal("done", gone(iso).status)
    end)

    it("errors_fatal: by default an error in a callback ends it", function()
      local rx, tx = isolate.port()
      local iso = start({ on_error = tx }, function(tx)
        local isolate = require "isolate"
        isolate.after(0.001, function() error("in a timer", 0) end)
        isolate.sleep(1e6)
        tx:send "went on"
      end, tx)
      tx:close()
      assert.equal("in a timer", received(rx).message)
      assert.same({ false, "in a timer" }, { iso:join(limit) })
      assert.same({ nil, "closed" }, { rx:receive(limit) })
      assert.equal("failed", gone(iso).status)
    end)

    it("that is unknown or of the wrong type raises, and nothing is started", function()
      for text, opts in pairs {
        ["unknown option 'nmae'"] = { nmae = "x" },
        ["option 'name': a string expected, got table"] = { name = {} },
        ["option 'timeout': a number of seconds expected, got string"] = { timeout = "1" },
        ["option 'timeout': more than 0 seconds expected"] = { timeout = 0 },
        ["option 'memory': '1 ton' is no size"] = { memory = "1 ton" },
        ["option 'libs': unknown value 'lpeg'"] = { libs = { "lpeg" } },
        ["option 'globals': unknown value 'all'"] = { globals = "all" },
        ["option 'gc': unknown value 'fast'"] = { gc = "fast" },
        ["option 'stack': a size"] = { stack = true },
        ["option 'strip': true or false expected, got number"] = { strip = 1 },
        ["option 'paused': true or false expected"] = { paused = 1 },
        ["option 'errors_fatal': true or false expected"] = { errors_fatal = "no" },
        ["option 'on_exit': a sender expected"] = { on_exit = function() end },
        ["option 'on_error': a sender expected"] = { on_error = 1 },
        ["option 'init': a module name or a function expected"] = { init = 1 },
      } do
        misuse(text, start, opts, function() end)
      end
    end)
  end)
end

describe("isolate.spawn(), option", function()
  it("name: is of the function by default", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local iso = isolate.spawn(function() end)
    assert.equal("spec/spawn_spec.lua:" .. line, iso.name)
    gone(iso)
  end)

  it("globals: those that the function names come along", function()
    spec_helper = function() return "helped" end
    local iso = isolate.spawn(function() return spec_helper() end)
    assert.equal("helped", (results(iso)))
    gone(iso)
    iso = isolate.spawn({ globals = "none" }, function() return spec_helper end)
    assert.is_nil((results(iso)))
    gone(iso)
    spec_helper = nil
  end)

  it("strip: drops debug information", function()
    local function body() return debug.getinfo(1, "l").currentline end
    local plain = isolate.spawn(body)
    local stripped = isolate.spawn({ strip = true }, body)
    assert.is_true((results(plain)) > 0)
    local _, line = stripped:join(limit)
    assert.is_true(line == -1 or line == nil)
    gone(plain)
    gone(stripped)
  end)
end)

describe("isolate.spawn_file()", function()
  it("gives the chunk the arguments as ...", function()
    path = shell.write "local a, b, c = ... return select('#', ...), a, b, c"
    local iso = isolate.spawn_file(path, 1, nil, { 2 })
    assert.same({ 3, 1, nil, { 2 } }, { results(iso) })
    assert.equal(path, iso.name)
    gone(iso)
  end)

  it("takes a script with a first line for the shell", function()
    path = shell.write "#!/usr/bin/env isolua\nreturn ..."
    local iso = isolate.spawn_file(path, "x")
    assert.equal("x", (results(iso)))
    gone(iso)
  end)

  it("makes what is wrong with the file the isolate's error", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn_file({ on_error = tx }, "/nonexistent.lua")
    local ok, err = iso:join(limit)
    assert.is_false(ok)
    assert.matches("cannot open", err, 1, true)
    assert.matches("/nonexistent.lua", received(rx).message, 1, true)
    gone(iso)
    path = shell.write "local = 1"
    iso = isolate.spawn_file({ on_error = tx }, path)
    ok, err = iso:join(limit)
    assert.is_false(ok)
    assert.matches(":1: <name> expected", err, 1, true)
    gone(iso)
  end)

  it("does not load bytecode", function()
    path = shell.write(string.dump(function() return 1 end))
    local rx, tx = isolate.port()
    local iso = isolate.spawn_file({ on_error = tx }, path)
    local ok, err = iso:join(limit)
    assert.is_false(ok)
    assert.matches("attempt to load a binary chunk", err, 1, true)
    gone(iso)
    rx:close()
  end)

  it("raises for arguments that cannot be sent, with a path", function()
    local ok, err = pcall(isolate.spawn_file, "x.lua", { f = io.stdout })
    assert.is_false(ok)
    assert.equal("not_sendable", err.code)
    assert.matches("argument #1.f", err.message, 1, true)
  end)
end)

describe("the life of a spawned isolate", function()
  it("ends when its function has returned and nothing is left", function()
    local iso = isolate.spawn(function() return 1, nil, 3 end)
    assert.same({ 1, nil, 3 }, { results(iso) })
    assert.equal("done", gone(iso).status)
  end)

  it("lasts while a task, a timer or a handler that can be reached is there", function()
    for name, body in pairs {
      task = function(tx)
        isolate.async(function()
          isolate.sleep(0.02)
          tx:send "done"
        end)
      end,
      timer = function(tx) isolate.after(0.02, function() tx:send "done" end) end,
    } do
      local rx, tx = isolate.port()
      local iso = isolate.spawn({ name = name }, body, tx)
      tx:close()
      assert.equal("done", received(rx))
      assert.equal("done", gone(iso).status)
    end
  end)

  it("lasts until the last sender to its handler is given up", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      local in_rx, in_tx = isolate.port()
      in_rx:on_message(function(v) t:send(v * 2) end)
      t:send(in_tx)
      in_tx:close()
    end, tx)
    tx:close()
    local to = received(rx)
    to:send(21)
    assert.equal(42, received(rx))
    assert.is_true(iso:ping(limit))
    to:close()
    assert.same({ nil, "closed" }, { rx:receive(limit) })
    assert.equal("done", gone(iso).status)
  end)

  it("is not prolonged by senders to itself, timers without a function or parent()", function()
    local iso = isolate.spawn(function()
      local rx, tx = isolate.port()
      rx:on_message(function() end)
      spec_kept = { tx, isolate.parent(), isolate.after(1e6), isolate.every(1e6) }
    end)
    assert.equal("done", gone(iso).status)
  end)

  it("is not prolonged by a handler after unref, but by one after ref", function()
    local function body(t, last)
      local in_rx, in_tx = isolate.port()
      in_rx:on_message(function() t:send "handled" end)
      in_rx:unref()
      if last == "ref" then in_rx:ref() end
      t:send(in_tx)
    end
    local rx, tx = isolate.port()
    local iso = isolate.spawn(body, tx, "unref")
    local to = received(rx)
    assert.equal("done", gone(iso).status)
    to:close()
    iso = isolate.spawn(body, tx, "ref")
    to = received(rx)
    to:send(1)
    assert.equal("handled", received(rx))
    to:close()
    gone(iso)
  end)

  it("ends for a loop over its inbox when no handle to it is left elsewhere", function()
    local rx, tx = isolate.port()
    do
      local iso = isolate.spawn({ on_exit = tx }, function(t)
        for v in isolate.inbox():messages() do t:send(v) end
        t:send "the loop has ended"
      end, tx)
      assert.is_true(iso:send "one")
      assert.is_true(iso:send { 2 })
    end
    tx:close()
    assert.equal("one", received(rx))
    assert.same({ 2 }, received(rx))
    collectgarbage()
    collectgarbage()
    assert.equal("the loop has ended", received(rx))
    assert.equal("done", received(rx).status)
    assert.same({ nil, "closed" }, { rx:receive(limit) })
  end)

  it("ends though it has its own handle, in a variable or in its own inbox", function()
    local rx, tx = isolate.port()
    do
      isolate.spawn(function(t)
        spec_self = isolate.self()
        spec_self:send(spec_self)
        local n = 0
        for v in isolate.inbox():messages() do
          n = n + 1
          spec_self = v
          if n > 3 then break end
          collectgarbage()
        end
        t:send(n)
      end, tx)
    end
    tx:close()
    collectgarbage()
    collectgarbage()
    assert.equal(1, received(rx))
  end)

  it("gives join its results again and again, and to many", function()
    local iso = isolate.spawn(function() return "x" end)
    assert.same({ true, "x" }, { iso:join(limit) })
    assert.same({ true, "x" }, { iso:join() })
    local other = isolate.spawn(function(i) return select(2, i:join()) end, iso)
    assert.equal("x", (results(other)))
    gone(other)
    gone(iso)
  end)

  it("makes join time out while it lasts", function()
    local iso = isolate.spawn(function() isolate.sleep(1e6) end)
    assert.same({ nil, "timeout" }, { iso:join(0.001) })
    assert.same({ nil, "timeout" }, { iso:join(0) })
    iso:kill()
    gone(iso)
  end)

  it("refuses messages when it has ended", function()
    local iso = isolate.spawn(function() end)
    gone(iso)
    assert.same({ nil, "closed" }, { iso:send(1) })
  end)
end)

describe("an uncaught error", function()
  it("of a spawned isolate that nobody listens to is printed with its name, at once", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local iso = isolate.spawn({ name = "lonely" }, function() error "lost" end)
      isolate.select { iso }
      os.exit(0)
    ]]
    assert.matches("uncaught error in isolate 'lonely': ", result.stderr, 1, true)
    assert.matches(":2: lost\nstack traceback:\n", result.stderr, 1, true)
    assert.equal(1, select(2, result.stderr:gsub("uncaught error", "")))
  end)

  it("in a timer, a handler or on_done is printed, and ends the isolate", function()
    local result = lua.source [[
      local isolate = require "isolate"
      for _, how in ipairs { "timer", "handler", "on_done", "task" } do
        local iso = isolate.spawn({ name = how }, function()
          if how == "timer" then
            isolate.after(0, function() error "lost" end)
          elseif how == "handler" then
            local rx, tx = isolate.port()
            rx:on_message(function() error "lost" end)
            tx:send(1)
          elseif how == "on_done" then
            isolate.run(function() end):on_done(function() error "lost" end)
          else
            isolate.async(function() error "lost" end)
          end
          isolate.sleep(0.2)
          print(how, "went on")
        end)
        isolate.select { iso }
        print(how, iso:status())
      end
      os.exit(0)
    ]]
    for _, how in ipairs { "timer", "handler", "on_done" } do
      assert.matches(how .. "\tfailed\n", result.stdout, 1, true)
      assert.matches("'" .. how .. "'[^\n]*:%d+: lost\n", result.stderr)
    end
    assert.matches("'task'[^\n]*:%d+: lost\n", result.stderr)
  end)

  it("that a join waits for is not printed", function()
    for _, timeout in ipairs { "", "20" } do
      local result = lua.source(([[
        local isolate = require "isolate"
        local iso = isolate.spawn({ paused = true }, function() error("joined", 0) end)
        isolate.after(0.01, function() iso:resume() end)
        print(iso:join(%s))
        os.exit(0)
      ]]):format(timeout))
      assert.equal("false\tjoined\n", result.stdout)
      assert.equal("", result.stderr)
    end
  end)

  it("that was sent to a listener is not printed", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local rx, tx = isolate.port()
      isolate.spawn({ on_error = tx }, function() error("heard", 0) end)
      print(rx:receive(20).message)
      os.exit(0)
    ]]
    assert.equal("heard\n", result.stdout)
    assert.equal("", result.stderr)
  end)

  it("whose value cannot be sent comes without it", function()
    local rx, tx = isolate.port()
    local err, iso = failure({ on_error = tx }, function() error(io.stdout) end)
    assert.equal("not_sendable", err.code)
    local message = received(rx)
    assert.is_nil(message.error)
    assert.is_string(message.message)
    gone(iso)
  end)
end)

describe("isolate.exit()", function()
  it("ends the isolate now, closers and finalizers included", function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(function(t)
      spec_kept = setmetatable({}, { __gc = function() t:send "finalizer" end })
      local _ <close> = setmetatable({}, { __close = function() t:send "closer" end })
      pcall(coroutine.wrap(function() pcall(isolate.exit) end))
      t:send "went on"
    end, tx)
    tx:close()
    local ok, err = iso:join(limit)
    assert.is_false(ok)
    assert.equal("exited", err.code)
    assert.equal("closer", received(rx))
    assert.equal("finalizer", received(rx))
    assert.same({ nil, "closed" }, { rx:receive(limit) })
    assert.same({ "done", "exited" }, { gone(iso).status, gone(iso).reason })
  end)

  it("sends its value as the last message, after those of closers and finalizers", function()
    local rx, tx = isolate.port()
    isolate.spawn({ on_exit = tx }, function(t)
      spec_kept = setmetatable({}, { __gc = function() t:send "finalizer" end })
      local _ <close> = setmetatable({}, { __close = function() t:send "closer" end })
      isolate.exit(t, { "last" })
    end, tx)
    tx:close()
    assert.equal("closer", received(rx))
    assert.equal("finalizer", received(rx))
    assert.same({ "last" }, received(rx))
    assert.equal("exited", received(rx).reason)
    assert.same({ nil, "closed" }, { rx:receive(limit) })
  end)

  it("goes on when the value cannot be sent", function()
    local iso = isolate.spawn(function(t)
      local ok, err = pcall(isolate.exit, t, { file = io.stdout })
      return ok, err.code, err.path
    end, (select(2, isolate.port())))
    assert.same({ false, "not_sendable", "message.file" }, { results(iso) })
    gone(iso)
  end)

  it("works in a task, a handler and a timer", function()
    for _, how in ipairs { "task", "handler", "timer" } do
      local rx, tx = isolate.port()
      local iso = isolate.spawn(function(t, where)
        local function exit() isolate.exit(t, where) end
        if where == "task" then
          isolate.async(exit)
        elseif where == "timer" then
          isolate.after(0, exit)
        else
          local in_rx, in_tx = isolate.port()
          in_rx:on_message(exit)
          in_tx:send(1)
        end
        isolate.sleep(1e6)
      end, tx, how)
      tx:close()
      assert.equal(how, received(rx))
      assert.same({ nil, "closed" }, { rx:receive(limit) })
      assert.equal("exited", gone(iso).reason)
    end
  end)

  it("raises in main, and for arguments that are no sender or no value", function()
    misuse("the main isolate ends with its script", isolate.exit)
    misuse("sender expected", isolate.exit, 1, 2)
    local _, tx = isolate.port()
    misuse("a message is a value, and not nil", isolate.exit, tx)
  end)
end)
