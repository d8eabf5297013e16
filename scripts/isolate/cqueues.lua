--- Waits and cqueues in one loop. Requiring it is all: it returns cqueues.
--
-- In a coroutine of a controller every wait of isolate parks that coroutine alone. While a
-- controller is
-- stepped (`loop`, `step`, `errors`, or `cqueues.poll` outside of one), the isolate's tasks,
-- timers and
-- handlers run. They do not keep `loop` from returning.
-- @module isolate.cqueues
-- @usage
-- local cqueues = require "isolate.cqueues"
-- local cq = cqueues.new()
-- cq:wrap(function() print(isolate.run(work):await()) end)
-- assert(cq:loop())
-- SPDX-License-Identifier: MIT
local condition = require "cqueues.condition"
local core = require "isolate.core"
local cqueues = require "cqueues"
local foreign = require "isolate.foreign"

local poll, running, interpose = cqueues.poll, cqueues.running, cqueues.interpose
local isyieldable = coroutine.isyieldable

-- The coroutine that steps, and so resumes. What runs is told to isolate, so that it can be killed.
local stepper

local function resumed(co, outer, ...)
  stepper = outer
  core.running(co)
  return ...
end

local function park(...)
  local co, outer = coroutine.running(), stepper
  core.running(outer)
  return resumed(co, outer, poll(...))
end

-- A wait in a coroutine that a controller resumes.
foreign.add(function(token)
  local _, managed = running()
  if not managed or not isyieldable() then return false end
  local signalled = condition.new()
  foreign.expect(token, signalled)
  park(signalled)
  return true
end)

local function serve()
  if not foreign.serve() then core.pump() end
end

local function ended(outer, ...)
  core.running(outer)
  return ...
end

local function body(fn, ...)
  local outer = stepper
  core.running(coroutine.running())
  return ended(outer, fn(...))
end

-- Every controller that is stepped has one coroutine more, which polls the isolate: its only use is
-- that the step ends. It is not counted.
local wakers = setmetatable({}, { __mode = "k" })
local event = { pollfd = core.fd(), events = "r", timeout = core.timeout }
local wrap = getmetatable(cqueues.new()).__index.wrap

local function wake()
  while true do poll(event) end
end

local step, count, timeout, close

-- cqueues catches what a coroutine raises, be it that it is killed.
local function stepped(me, outer, dying, ...)
  stepper = outer
  core.running(me)
  core.pass_on(dying)
  return ...
end

step = interpose("step", function(self, seconds)
  local me = coroutine.running()
  if running() then -- whoever steps the outer one serves
    return resumed(me, stepper, step(self, seconds))
  end
  if not wakers[self] then
    wrap(self, wake)
    wakers[self] = true
  end
  local outer, dying = stepper, core.dying()
  serve()
  stepper = me
  return stepped(me, outer, dying, step(self, self:empty() and 0 or foreign.sooner(seconds)))
end)

interpose("wrap", function(self, fn, ...)
  return wrap(self, body, fn, ...)
end)

count = interpose("count", function(self)
  return count(self) - (wakers[self] and 1 or 0)
end)

interpose("empty", function(self)
  return self:count() == 0
end)

timeout = interpose("timeout", function(self)
  if not wakers[self] then return timeout(self) end
  return foreign.sooner(timeout(self))
end)

close = interpose("close", function(self)
  close(self)
  wakers[self] = nil
end)

-- Outside of a controller cqueues counts the steps of one of its own: here a step may be for the
-- isolate.
local poller

local function finish(done, ...)
  done.results = table.pack(...)
end

function cqueues.poll(...)
  if running() then return park(...) end
  local done = {}
  poller = poller or cqueues.new()
  poller:wrap(function(...) finish(done, poll(...)) end, ...)
  repeat
    local ok, why = poller:step()
    if not ok then error(why, 2) end
  until done.results
  return table.unpack(done.results, 1, done.results.n)
end

return cqueues
