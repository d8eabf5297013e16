--- Scopes: isolates and tasks that do not outlive a block.
--
-- A scope lists its children in the order of their start. What ends one is heard of in the event
-- loop (`on_done` of futures, messages of isolates that were spawned), so that a failure cancels
-- the others during any wait. Leaving goes through the list and waits for each by itself, which
-- works where no loop runs: in the grace of a kill.
-- @module isolate.scopes
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"

local M = {}

local NAME = "isolate.scope"
local methods = {}
local meta = { __index = methods, __name = NAME, __metatable = NAME }

-- -- Children -----------------------------------------------------------------------------------

-- A child has `iso`, the isolate, or `gone`, a future that is done when the task has unwound;
-- and `future`, which an isolate that was spawned has not.

-- One of an isolate is listed before that is started, so that a kill in between loses nothing; the
-- start puts what it gives into `started`. False: it is not started, or failed to.
local function know(child)
  if child.gone or child.iso then return true end
  local thing = child.started
  if not thing then return false end
  if core.is_future(thing) then child.future = thing end
  child.iso = child.future and thing.isolate or thing
  return true
end

local function is_gone(child)
  if not know(child) then return true end
  if child.iso then return core.select({ child.iso }, 0) ~= nil end
  return child.gone:done() and child.future:done()
end

-- Leaves out those that are gone when they may be the greater part.
local function sweep(self)
  if self.last - self.first < self.sweep_at then return end
  local kept = {}
  for i = self.first, self.last do
    local child = self.children[i]
    if not is_gone(child) or (know(child) and not child.noted) then kept[#kept + 1] = child end
  end
  self.children, self.first, self.last = kept, 1, #kept
  self.sweep_at = 2 * #kept + 32
end

local function add(self, child)
  sweep(self)
  self.last = self.last + 1
  self.children[self.last] = child
  return child
end

-- Coroutine -> the scope whose block it is in, the innermost of them. A scope's `near` has those
-- `outer` and `inner` of it. Weak: one that was forgotten is to be collected, which tells of it.
local innermost = setmetatable({}, { __mode = "kv" })
local near_meta = { __mode = "v" }

local function cancel_child(child, reason)
  if not know(child) then return end
  if not child.future then
    child.iso:kill()
    return
  end
  child.future:cancel(reason)
  if child.gone and not child.started then child.settle(nil, true) end
end

-- Also those of the scope that was made in this one's block, which is waited for first: it takes
-- the failure for its own, and what it raises is what this one would.
local function cancel_all(self, reason)
  local inner = self.near.inner
  self.reason = self.reason or reason
  for i = self.first, self.last do cancel_child(self.children[i], self.reason) end
  if not inner or inner.reason then return end
  inner.failure = self.failure
  cancel_all(inner, self.reason)
end

-- The first failure is kept.
local function fail(self, future, err, reason)
  if self.failure or self.reason then return end
  self.failure = { future = future, err = err }
  cancel_all(self, reason)
end

local function code_of(err)
  return type(err) == "table" and rawget(err, "code") or nil
end

local note

-- What the isolates that were spawned have told.
local function hear(self, message)
  local child = self.by_id[message.id]
  if not child then return end
  if message.status then
    self.by_id[message.id] = nil
    note(self, child, child.iso:join(0))
  else
    child.traceback = message.traceback
  end
end

-- An isolate that has ended has told its error before: that may be in the queue yet.
local function listen_all(self)
  local ends = {}
  self.rx:on_message(nil)
  local message = self.rx:try_receive()
  while message do
    if message.status then ends[#ends + 1] = message else hear(self, message) end
    message = self.rx:try_receive()
  end
  self.rx:on_message(self.listener)
  for _, ended in ipairs(ends) do hear(self, ended) end
end

-- Takes down how the child has ended, once. A child that was cancelled or killed has been ended on
-- purpose, which fails nobody; but a run that was killed by its handle has no result.
function note(self, child, ok, err)
  if child.noted or ok == nil then return end
  child.noted = true
  if ok then return end
  local code = code_of(err)
  local future = child.future
  if future then
    if code == "cancelled" and not future:traceback() then return end
  else
    -- an error of its own may have these codes, too: what it waited for was killed
    if (code == "killed" or code == "exited") and child.iso:status() ~= "failed" then return end
    listen_all(self)
    local settle
    future, settle = core.promise()
    settle(child.traceback, false, err)
    future:try(0) -- the scope sees to it
  end
  fail(self, future, err, ("cancelled: another child of scope '%s' failed"):format(self.name))
end

-- Takes down the children that have ended, of which the loop has not told yet.
local function note_ended(self)
  for i = self.first, self.last do
    local child = self.children[i]
    if know(child) and not child.noted then
      if not child.future then
        note(self, child, child.iso:join(0))
      elseif child.future:done() then
        note(self, child, child.future:try(0))
      end
    end
  end
end

-- Until the child is gone; false: the time came first.
local function wait_for(self, child, deadline)
  if not know(child) then return true end
  local left = deadline and math.max(0, deadline - core.now())
  if child.gone and not child.started and child.future:done() then child.settle(nil, true) end
  if not core.select({ child.iso or child.gone }, left) then return false end
  if child.future then
    note(self, child, child.future:try())
  else
    note(self, child, child.iso:join())
  end
  return true
end

-- Until all are gone, those that are added meanwhile too; false: the time came first.
local function drain(self, deadline)
  while self.first <= self.last do
    local child = self.children[self.first]
    if not wait_for(self, child, deadline) then return false end
    if self.children[self.first] == child then -- nobody else was here meanwhile
      self.children[self.first] = nil
      self.first = self.first + 1
    end
  end
  return true
end

-- -- Starting children --------------------------------------------------------------------------

-- Both raise at the caller of the method; `up` is how far that is from here.
local function check_self(self, who, up)
  if type(self) ~= "table" or getmetatable(self) ~= NAME then
    error(("bad argument #1 to '%s' (%s expected, got %s); call it with a colon, s:%s()")
      :format(who, NAME, type(self), who), up or 3)
  end
end

local function check_open(self, who, up)
  if self.left then
    error(("scope '%s' has been left: '%s' starts a child before its end only"):format(
      self.name, who), up or 3)
  end
  if self.reason then error(core.error(core.CANCELLED, self.reason), 0) end
end

local function check_start(self, who, opts, fn)
  check_self(self, who, 4)
  local i = type(opts) == "table" and 2 or 1
  local f = i == 2 and fn or opts
  if type(f) ~= "function" then
    error(("bad argument #%d to '%s' (%s expected, got %s)"):format(i, who,
      i == 1 and "function or table of options" or "function", type(f)), 3)
  end
  check_open(self, who, 4)
end

-- Raises as if whoever has called the method had called the function.
local function check_started(ok, ...)
  if ok then return ... end
  local err = ...
  error(err, type(err) == "string" and 3 or 0)
end

--- Runs a function in an isolate, as isolate.run does.
-- @function scope:run
-- @tparam[opt] table opts those of `isolate.run`
-- @tparam function fn
-- @param ...
-- @treturn future
-- @raise not_sendable; `cancelled` when the scope is; when it has been left
function methods:run(opts, fn, ...)
  check_start(self, "run", opts, fn)
  local child = add(self, { started = false })
  local future = check_started(pcall(core.starter(child, false), opts, fn, ...))
  know(child)
  future:on_done(function(ok, err) note(self, child, ok, err) end)
  return future
end

-- The port that isolates of this scope tell of their ends and errors.
local function open_port(self)
  if self.rx then return end
  self.rx, self.tx = core.new_port(-1, 0)
  self.by_id = {}
  self.listener = function(message) hear(self, message) end
  self.rx:on_message(self.listener)
  self.rx:unref()
end

--- Starts an isolate, as isolate.spawn does. Its error is the scope's, not printed.
-- @function scope:spawn
-- @tparam[opt] table opts those of `isolate.run`
-- @tparam function fn
-- @param ...
-- @treturn isolate
-- @raise as `run`
function methods:spawn(opts, fn, ...)
  check_start(self, "spawn", opts, fn)
  open_port(self)
  local own = { on_error = self.tx, on_exit = self.tx }
  local child = add(self, { started = false })
  local start = core.starter(child, true)
  local iso
  if type(opts) == "table" then
    if opts.errors_fatal == false then own.on_error = nil end -- it goes on after errors
    for k, v in pairs(opts) do own[k] = v end
    iso = check_started(pcall(start, own, fn, ...))
  else
    iso = check_started(pcall(start, own, opts, fn, ...))
  end
  know(child)
  self.by_id[iso.id] = child
  if own.on_exit ~= self.tx then iso:on_exit(self.tx) end
  return iso
end

local child_meta = { __close = function(child) child.settle(nil, true) end }

local function run_task(child, fn, ...)
  child.started = true
  local _ <close> = child
  return fn(...)
end

--- Runs a function as a task of this isolate, as isolate.async does.
-- @function scope:async
-- @tparam function fn
-- @param ...
-- @treturn future
-- @raise `cancelled` when the scope is; when it has been left
function methods:async(fn, ...)
  check_self(self, "async")
  if type(fn) ~= "function" then
    error(("bad argument #1 to 'async' (function expected, got %s)"):format(type(fn)), 2)
  end
  check_open(self, "async")
  local child = setmetatable({ started = false }, child_meta)
  child.gone, child.settle = core.promise()
  child.future = core.async(run_task, child, fn, ...)
  add(self, child)
  child.future:on_done(function(ok, err)
    if not child.started then child.settle(nil, true) end -- cancelled before
    note(self, child, ok, err)
  end)
  return child.future
end

-- -- Waiting and leaving ------------------------------------------------------------------------

--- Waits until no child is left.
-- @function scope:wait
-- @tparam[opt] number timeout seconds
-- @return[1] true
-- @return[2] nil and "timeout"
-- @raise what the scope has failed with
function methods:wait(timeout)
  check_self(self, "wait")
  if timeout ~= nil and (type(timeout) ~= "number" or timeout ~= timeout or timeout < 0) then
    error(("bad argument #1 to 'wait' (a timeout is a number of seconds, 0 or more, got %s)")
      :format(type(timeout) == "number" and tostring(timeout) or type(timeout)), 2)
  end
  local all = drain(self, timeout and core.now() + timeout)
  if self.failure then self.failure.future:await() end
  if not all then return nil, "timeout" end
  return true
end

--- Cancels the tasks and runs, and kills the isolates that were spawned. No child can be started
-- after that. Leaving the scope still waits until they are gone, and raises nothing for them.
-- @function scope:cancel
-- @tparam[opt] string reason the message of their errors
function methods:cancel(reason)
  check_self(self, "cancel")
  if reason ~= nil and type(reason) ~= "string" then
    error(("bad argument #1 to 'cancel' (string expected, got %s)"):format(type(reason)), 2)
  end
  cancel_all(self, reason or ("scope '%s' was cancelled"):format(self.name))
end

local function time_over(self)
  local future, settle = core.promise()
  local text = ("scope '%s' ran over its time"):format(self.name)
  local err = core.error(core.TIMEOUT, text)
  settle(nil, false, err)
  future:try(0)
  fail(self, future, err, text)
end

-- A wait here raises when the task that the scope is in is cancelled meanwhile.
local function cancel_and_drain(self)
  cancel_all(self, ("scope '%s' was left by an error"):format(self.name))
  for _ = 1, 3 do
    if pcall(drain, self) then return end
  end
end

-- Is the block left by an error? The end of an isolate closes what is in tasks without one.
local function is_broken(err)
  return err ~= nil or core.ending()
end

local guard_meta = { __close = function(guard, err)
  if is_broken(err) then cancel_and_drain(guard.scope) end
end }

local function wait_at_end(self)
  local _ <close> = setmetatable({ scope = self }, guard_meta) -- also when it is killed in here
  drain(self)
end

local function close_things(self)
  local co, near = coroutine.running(), self.near
  self.left = true
  if innermost[co] == self then innermost[co] = near.outer end
  if near.outer then near.outer.near.inner = nil end
  if self.timer then self.timer:cancel() end
  if self.rx then
    self.rx:close()
    self.tx:close()
  end
end

local things_meta = { __close = function(things) close_things(things.scope) end }

-- An error that leaves the block goes on by itself, unless it is what the failure of a child, which
-- came before it, has led to: then that is raised instead of it.
function meta.__close(self, err)
  if self.left then return end
  local _ <close> = setmetatable({ scope = self }, things_meta)
  if err ~= nil then note_ended(self) end
  if self.deadline and core.now() >= self.deadline then time_over(self) end
  if is_broken(err) then cancel_and_drain(self) else wait_at_end(self) end
  local failure = self.failure
  if failure and (err == nil or not rawequal(failure.err, err)) then failure.future:await() end
end

-- A part of the scope with a finalizer: the scope itself would be refused for that when it is sent.
local end_meta = { __gc = function(last)
  local self = last.scope
  if self.left or self.last == 0 or not io then return end
  io.stderr:write(("scope '%s' was not closed: declare it as `local s <close> = "
    .. "isolate.scope()`\n"):format(self.name))
  if not self.failure then return end
  io.stderr:write(("error in scope '%s': %s\n"):format(self.name, tostring(self.failure.err)))
end }

function meta.__tostring(self)
  return ("%s: %s (%d)%s"):format(NAME, self.name, self.id, self.left and " (left)" or "")
end

function meta.__isolate_pack()
  return nil, "a scope: its children belong to the isolate that has started them"
end

-- -- Making one ---------------------------------------------------------------------------------

local function check_options(opts)
  if type(opts) ~= "table" then
    error(("bad argument #1 to 'scope' (table of options expected, got %s)"):format(type(opts)), 3)
  end
  if core.is_module(opts) then
    error("isolate's functions are called with a dot, not a colon", 3)
  end
  for key in pairs(opts) do
    if key ~= "name" and key ~= "timeout" then
      error(("unknown option '%s' (known: name, timeout)"):format(tostring(key)), 3)
    end
  end
  local name, timeout = opts.name, opts.timeout
  if name ~= nil and type(name) ~= "string" then
    error(("option 'name': a string expected, got %s"):format(type(name)), 3)
  end
  if timeout ~= nil and type(timeout) ~= "number" then
    error(("option 'timeout': a number of seconds expected, got %s"):format(type(timeout)), 3)
  end
  if timeout ~= nil and (timeout ~= timeout or timeout <= 0) then
    error("option 'timeout': more than 0 seconds expected", 3)
  end
end

--- A scope, for isolates and tasks that do not outlive a block. Leaving the block waits for them;
-- leaving it by an error, or the failure of one of them, cancels the others.
-- @function isolate.scope
-- @tparam[opt] table opts `name`, for show; `timeout` in seconds: then all are cancelled, and the
-- scope raises `timeout`
-- @treturn scope which belongs into a to-be-closed variable
-- @usage local s <close> = isolate.scope()
function M.scope(opts)
  opts = opts or {}
  check_options(opts)
  local self = setmetatable({ name = opts.name or "scope", id = core.fresh_key(), children = {},
    first = 1, last = 0, sweep_at = 32, left = false }, meta)
  local co = coroutine.running()
  local outer = innermost[co]
  self.near = setmetatable({ outer = outer }, near_meta)
  innermost[co] = self
  if outer then outer.near.inner = self end
  self.last_of_it = setmetatable({ scope = self }, end_meta)
  if opts.timeout and opts.timeout < 9e9 then
    self.deadline = core.now() + opts.timeout
    self.timer = core.after(opts.timeout, function() time_over(self) end)
  end
  return self
end

return M
