--- Streams: values that come one after another, most often from another isolate.
--
-- A stream has a `step`, which gives the next value, or nil and "empty" or "closed", and waits for
-- nothing but what the user's own functions wait for. What is to be waited for when it says
-- "empty", `things` lists: receivers and futures at the ends of whatever pipeline it is. So one
-- loop here makes every stream wait, with a time or without, and select can wait for any.
-- @module isolate.streams
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"

local M = {}

local NAME = "isolate.stream"
local methods = {}
local meta = { __index = methods, __name = NAME, __metatable = NAME }

M.methods = methods

--- Is it a stream?
function M.is_stream(v)
  return type(v) == "table" and getmetatable(v) == NAME
end

--- Raises at the caller of a method unless `self` is a stream.
function M.check_self(self, who)
  if not M.is_stream(self) then
    error(("bad argument #1 to '%s' (%s expected, got %s); call it with a colon, stream:%s()")
      :format(who, NAME, type(self), who), 3)
  end
end

--- Likewise unless argument `i` is a function.
function M.check_function(fn, who, i)
  if type(fn) ~= "function" then
    error(("bad argument #%d to '%s' (function expected, got %s)"):format(i, who, type(fn)), 3)
  end
end

--- Likewise unless argument `i` is an integer of `least` or more.
function M.check_count(n, who, i, least)
  if math.type(n) ~= "integer" or n < least then
    error(("bad argument #%d to '%s' (an integer of %d or more expected, got %s)"):format(
      i, who, least, type(n) == "number" and tostring(n) or type(n)), 3)
  end
end

--- Makes a stream.
-- @tparam string name for show
-- @tparam function step `step(s) -> v`, or nil and "empty" or "closed"; after "closed" again
-- "closed"
-- @tparam function things `things(s, list, feeds)` adds to the list what may end its being empty;
-- `feeds[thing](v)` is called with what that gave
-- @tparam function finish called once, when it is closed
function M.new(name, step, things, finish)
  return setmetatable({ name = name, id = false, step = step, things = things, finish = finish,
                        source = false, resumed = false, wake = false, closed = false,
                        guard = false }, meta)
end

-- Waits until a step may find something; false: the time came first.
local function wait_for(self, deadline)
  local list, feeds = {}, {}
  self:things(list, feeds)
  local thing, v = core.select(list, deadline and math.max(0, deadline - core.now()))
  if thing == nil then return false end
  local feed = feeds[thing]
  if feed then feed(v) end
  return true
end

local function pull(self, deadline)
  while true do
    local v, why = self:step()
    if v ~= nil then return v end
    if why == "closed" then return nil, why end
    if not wait_for(self, deadline) then return nil, "timeout" end
  end
end

-- -- Closing and pausing ------------------------------------------------------------------------

local function closed_step() return nil, "closed" end
local function paused_step() return nil, "empty" end
local function no_things() end

local function paused_things(self, list)
  list[#list + 1] = self.resumed
end

local function wake(self)
  if not self.resumed then return end
  self.step, self.things = self.paused_step, self.paused_things
  self.resumed = false
  if self.source then core.source_pause(self.source, nil) end
  self.wake(nil, true)
end

--- Gives the stream up, and what it stands on: the producer ends. May be called again.
-- @function stream:close
function methods:close()
  M.check_self(self, "close")
  if self.closed then return end
  self.closed = true
  wake(self)
  self.step, self.things = closed_step, no_things
  self:finish()
end

--- From now on no value is given out: a wait for one goes on until `resume`, and the producer soon
-- waits too.
-- @function stream:pause
-- @treturn stream
function methods:pause()
  M.check_self(self, "pause")
  if self.closed or self.resumed then return self end
  self.resumed, self.wake = core.promise()
  self.paused_step, self.paused_things = self.step, self.things
  self.step, self.things = paused_step, paused_things
  if self.source then core.source_pause(self.source, function() return pull(self) end) end
  return self
end

--- Goes on after `pause`.
-- @function stream:resume
-- @treturn stream
function methods:resume()
  M.check_self(self, "resume")
  wake(self)
  return self
end

-- -- Taking values ------------------------------------------------------------------------------

-- Closes the stream when an error leaves the scope.
local guard_meta = { __close = function(guard, err)
  if err ~= nil then guard.stream:close() end
end }

local function guarded_pull(self, deadline)
  self.guard = self.guard or setmetatable({ stream = self }, guard_meta)
  local _ <close> = self.guard
  return pull(self, deadline)
end

--- The next value. Waits for it; the rest of this isolate goes on meanwhile.
-- @function stream:receive
-- @tparam[opt] number timeout seconds; nil waits without end
-- @return[1] the value
-- @return[2] nil and "closed": it has ended, or was closed
-- @return[3] nil and "timeout"
-- @raise the error of the producer or of a stage, once
function methods:receive(timeout)
  M.check_self(self, "receive")
  if timeout ~= nil and (type(timeout) ~= "number" or timeout ~= timeout or timeout < 0) then
    error(("bad argument #1 to 'receive' (a timeout is a number of seconds, 0 or more, got %s)")
      :format(type(timeout) == "number" and tostring(timeout) or type(timeout)), 2)
  end
  if self.source and not self.resumed then return core.source_receive(self.source, timeout) end
  return guarded_pull(self, timeout and core.now() + timeout)
end

local function next_value(self)
  return (pull(self))
end

--- The four values of a generic `for`. Leaving the loop closes the stream.
-- @function stream:values
-- @usage for v in s:values() do print(v) end
function methods:values()
  M.check_self(self, "values")
  if self.source then return core.source_values(self.source, self) end
  return next_value, self, nil, self
end

-- -- Select -------------------------------------------------------------------------------------

local turn = 0 -- of the things that are ready another one is first each time

-- A value, an end or an error of one of the streams, if there is any.
local function ready_stream(streams)
  local n = #streams
  for k = 0, n - 1 do
    local s = streams[(turn // 2 + k) % n + 1]
    local ok, v, why = pcall(s.step, s)
    if not ok then
      s:close()
      return s, nil, v
    end
    if v ~= nil then return s, v end
    if why == "closed" then return s, nil, "closed" end
  end
end

local function check_selected(ok, ...)
  if ok then return ... end
  local err = ...
  if type(err) ~= "string" then error(err, 0) end
  error(err:gsub("^[^\n]-:%d+: ", "", 1), 4) -- behind select, which has called us
end

-- isolate.select, when there is a stream in the list.
function meta.__select(list, timeout)
  local deadline = timeout and core.now() + timeout
  local streams, others = {}, {}
  for i = 1, #list do
    local some = M.is_stream(list[i]) and streams or others
    some[#some + 1] = list[i]
  end
  turn = turn + 1
  if #others > 0 and turn % 2 == 1 then -- a stream that has always something starves nobody
    local thing, v, err = check_selected(pcall(core.select, others, 0))
    if thing ~= nil then return thing, v, err end
  end
  while true do
    local s, value, why = ready_stream(streams)
    if s and value ~= nil then return s, value end
    if s then return s, nil, why end
    local things, feeds = table.move(others, 1, #others, 1, {}), {}
    for _, stream in ipairs(streams) do stream:things(things, feeds) end
    local left = deadline and math.max(0, deadline - core.now())
    local thing, v, err = check_selected(pcall(core.select, things, left))
    if thing == nil then return nil, v end
    local feed = feeds[thing]
    if feed then
      feed(v)
    else
      for i = 1, #others do
        if others[i] == thing then return thing, v, err end
      end
    end
  end
end

-- -- As a value ---------------------------------------------------------------------------------

function meta.__tostring(self)
  return ("%s: %s (%d)%s"):format(NAME, self.name, self.id, self.closed and " (closed)" or "")
end

meta.__close = methods.close

function meta.__isolate_pack()
  return nil, "a stream: it holds a receiver, which stays where it is; send its values, or a sender"
end

-- -- Streams of other things --------------------------------------------------------------------

local function take_from_source(self)
  return core.source_take(self.source)
end

--- What waits for a source.
function M.source_things(source, list, feeds)
  local future, rx = core.source_things(source)
  list[#list + 1] = future
  if rx then
    list[#list + 1] = rx
    feeds[rx] = function(v) core.source_feed(source, v) end
  end
end

-- The stream of an isolate's source: for isolate.stream.
function M.of_source(source)
  local id, name = core.source_info(source)
  local s = M.new(name, take_from_source, function(self, list, feeds)
    M.source_things(self.source, list, feeds)
  end, function(self) core.source_close(self.source) end)
  s.source, s.id = source, id
  return s
end

local function of_list(list)
  local i = 0
  return M.new("list", function()
    i = i + 1
    local v = list[i]
    if v == nil then
      i = i - 1
      return nil, "closed"
    end
    return v
  end, no_things, no_things)
end

local function of_iterator(fn, state, control, closing)
  local over = false
  return M.new("iterator", function()
    if over then return nil, "closed" end
    control = fn(state, control)
    if control == nil then
      over = true
      return nil, "closed"
    end
    return control
  end, no_things, function()
    local _ <close> = closing
  end)
end

local function of_receiver(rx, is_channel)
  local hand
  return M.new(is_channel and "channel" or "receiver", function()
    if hand == nil then return rx:try_receive() end
    local v = hand
    hand = nil
    return v
  end, function(_, list, feeds)
    list[#list + 1] = rx
    feeds[rx] = function(v) hand = v end
  end, function()
    if not is_channel then rx:close() end
  end)
end

--- A stream of a list or an iterator; or nil for other things.
function M.of(v, ...)
  local s
  if M.is_stream(v) then return v end
  if type(v) == "table" then
    s = of_list(v)
  elseif type(v) == "function" then
    s = of_iterator(v, ...)
  elseif type(v) == "userdata" then
    local kind = getmetatable(v)
    if kind ~= "isolate.receiver" and kind ~= "isolate.channel" then return nil end
    s = of_receiver(v, kind == "isolate.channel")
  else
    return nil
  end
  s.id = core.fresh_key()
  return s
end

--- A stream of a list, an iterator, a receiver or a channel.
-- @function isolate.stream_of
-- @param v a list; what a generic `for` takes; or a receiver, which is the stream's from now on
-- @param ... of an iterator: its state, first value, and closing value
-- @treturn stream
-- @usage isolate.stream_of(io.lines "names.txt"):take(3):each(print)
function M.stream_of(v, ...)
  if core.is_module(v) then error("isolate's functions are called with a dot, not a colon", 2) end
  return M.of(v, ...) or error(("bad argument #1 to 'stream_of' (list, iterator, receiver or "
    .. "channel expected, got %s)"):format(type(v)), 2)
end

require("isolate.stages").open(M)

return M
