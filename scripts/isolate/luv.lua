--- Waits and luv in one loop. Requiring it is all: it returns luv.
--
-- `uv.run` runs the isolate's tasks, timers and handlers along with its own, and ends when neither
-- has
-- any left. A wait of isolate in a coroutine yields it, and it is resumed from the loop; a wait
-- outside
-- of coroutines runs the loop.
-- @module isolate.luv
-- @usage
-- local uv = require "isolate.luv"
-- coroutine.wrap(function() print(isolate.run(work):await()) end)()
-- uv.run()
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"
local foreign = require "isolate.foreign"
local uv = require "luv"

-- luv ends the process for an error in a callback, and being killed is one. So in an isolate that
-- can
-- be killed every function that is given to luv is guarded: it stops the loop instead, and whoever
-- runs
-- that raises.
local guard, patch
local patched = {}
local stop = uv.stop -- in C: nothing can be raised in it

local function patch_type(object, ...)
  local meta = type(object) == "userdata" and getmetatable(object)
  local methods = type(meta) == "table" and meta.__index
  if type(methods) == "table" and not patched[methods] then patch(methods) end
  return object, ...
end

function guard(...)
  local arguments = table.pack(...)
  for i = 1, arguments.n do
    if type(arguments[i]) == "function" then arguments[i] = core.guard(arguments[i], stop) end
  end
  return table.unpack(arguments, 1, arguments.n)
end

function patch(functions)
  patched[functions] = true
  for name, fn in pairs(functions) do
    if type(fn) == "function" then
      functions[name] = function(...) return patch_type(fn(guard(...))) end
    end
  end
end

if not core.is_main() then patch(uv) end
local run = uv.run

local poll, timer = uv.new_poll(core.fd()), uv.new_timer()
local prepare, check = uv.new_prepare(), uv.new_check()

-- By token, the waits that uv is run for: it does not end before they do.
local waits = {}
local kept = true

-- Is the loop to go on for the isolate?
local function keep(on)
  if on == kept then return end
  kept = on
  if on then poll:ref() else poll:unref() end
end

local function is_needed()
  return next(waits) ~= nil or not core.is_over()
end

local function serve()
  if not foreign.serve() then uv.stop() end -- whoever runs it raises
end

local function arrange()
  local due = core.timeout()
  if due then
    uv.update_time()
    timer:start(math.ceil(due * 1000), 0, serve)
  else
    timer:stop()
  end
  keep(is_needed())
end

poll:start("r", serve)
prepare:start(arrange)
check:start(function() keep(is_needed()) end)
for _, handle in ipairs { timer, prepare, check } do handle:unref() end

local function run_and_raise(mode)
  local alive = run(mode)
  core.pump(0)
  return alive
end

--- `uv.run`, for the isolate as well.
-- @function uv.run
-- @tparam[opt="default"] string mode "default", "once" or "nowait"
-- @treturn boolean are there handles left?
function uv.run(mode)
  if uv.loop_mode() then return run(mode) end
  local alive
  repeat
    keep(is_needed())
    alive = run_and_raise(mode)
  until alive or (mode or "default") ~= "default" or not is_needed()
  return alive
end

local function resume(wait)
  local ok, err = coroutine.resume(wait.coroutine)
  if not ok then error(core.traceback(err), 0) end
end

local function park(token)
  waits[token] = { coroutine = coroutine.running(), signal = resume }
  foreign.expect(token, waits[token])
  coroutine.yield()
  waits[token] = nil
  return true
end

local function signal(wait)
  wait.signalled = true
  uv.stop()
end

local function block(token)
  local wait = { signal = signal }
  waits[token] = wait
  foreign.expect(token, wait)
  repeat
    keep(true)
    run_and_raise "once"
  until wait.signalled
  waits[token] = nil
  return true
end

foreign.add(function(token, nested)
  local _, main = coroutine.running()
  if nested then return false end
  if not main then return coroutine.isyieldable() and park(token) end
  return not uv.loop_mode() and block(token)
end)

return uv
