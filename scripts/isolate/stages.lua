--- What is made of streams: stages, which give another stream, and ends, which give a value.
-- @module isolate.stages
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"

-- Values that a worker of `parallel` has in all: one that it works at, and one that it goes on
-- with.
local DEPTH = 2

-- Of the module isolate.streams, which opens this one.
local check_self, check_function, check_count, new, of, is_stream, source_things

-- A stream that stands on another one, and closes it when it is closed.
local function derive(up, name, step, things, finish)
  local s = new(name, step, things or function(_, list, feeds) return up:things(list, feeds) end,
    finish or function() up:close() end)
  s.id = core.fresh_key()
  return s
end

local function no_nil(name)
  error(("stream:%s: the function returned nil, which is no value of a stream%s"):format(name,
    name == "map" and "; filter leaves values out" or ""), 0)
end

-- For stages that hold values: an error in fill() is to come when those before it have been given
-- out. Gives a function that calls it, and then says whether it has failed; and one that raises
-- what it failed with.
local function with_failure(fill)
  local failure
  return function()
    if failure then return true end
    local ok, err = pcall(fill)
    if not ok then failure = { err } end
    return not ok
  end, function()
    if failure then error(failure[1], 0) end
  end
end

local M = {} -- the methods

--- Each value becomes `fn(v)`, which must not be nil.
-- @function stream:map
function M:map(fn)
  check_self(self, "map")
  check_function(fn, "map", 1)
  return derive(self, "map", function()
    local v, why = self:step()
    if v == nil then return nil, why end
    v = fn(v)
    if v == nil then no_nil "map" end
    return v
  end)
end

--- Only the values for which `fn(v)` is true.
-- @function stream:filter
function M:filter(fn)
  check_self(self, "filter")
  check_function(fn, "filter", 1)
  return derive(self, "filter", function()
    while true do
      local v, why = self:step()
      if v == nil then return nil, why end
      if fn(v) then return v end
    end
  end)
end

--- The first n values. Closes the stream below as soon as it has them.
-- @function stream:take
function M:take(n)
  check_self(self, "take")
  check_count(n, "take", 1, 0)
  if n == 0 then self:close() end
  return derive(self, "take", function()
    if n == 0 then return nil, "closed" end
    local v, why = self:step()
    if v == nil then return nil, why end
    n = n - 1
    if n == 0 then self:close() end
    return v
  end)
end

--- All but the first n values.
-- @function stream:skip
function M:skip(n)
  check_self(self, "skip")
  check_count(n, "skip", 1, 0)
  return derive(self, "skip", function()
    while true do
      local v, why = self:step()
      if v == nil then return nil, why end
      if n == 0 then return v end
      n = n - 1
    end
  end)
end

--- Lists of n values each; the last may have fewer.
-- @function stream:batch
function M:batch(n)
  check_self(self, "batch")
  check_count(n, "batch", 1, 1)
  local list, why = {}, "empty"
  local fill, fail = with_failure(function()
    why = "empty"
    for i = #list + 1, n do
      local v, reason = self:step()
      if v == nil then
        why = reason
        return
      end
      list[i] = v
    end
  end)
  return derive(self, "batch", function()
    local failed = fill()
    local full = list
    if #full == n or (#full > 0 and (failed or why == "closed")) then
      list = {}
      return full
    end
    fail()
    return nil, why
  end)
end

-- What the function of flat_map gave, as a stream.
local function inner_stream(v, ...)
  local inner = type(v) ~= "userdata" and of(v, ...)
  if inner then return inner end
  error(("stream:flat_map: the function returned %s; a list, an iterator or a stream expected")
    :format(v == nil and "nil" or "a " .. type(v)), 0)
end

--- All values of what `fn(v)` gives, one after another: a list, an iterator or a stream.
-- @function stream:flat_map
function M:flat_map(fn)
  check_self(self, "flat_map")
  check_function(fn, "flat_map", 1)
  local inner
  return derive(self, "flat_map", function()
    while true do
      if not inner then
        local v, why = self:step()
        if v == nil then return nil, why end
        inner = inner_stream(fn(v))
      end
      local v, why = inner:step()
      if v ~= nil then return v end
      if why ~= "closed" then return nil, why end
      inner = nil
    end
  end, function(_, list, feeds)
    return (inner or self):things(list, feeds)
  end, function()
    if inner then inner:close() end
    self:close()
  end)
end

local function check_other(self, v, more, who)
  if not is_stream(v) then
    error(("bad argument #1 to '%s' (stream expected, got %s)"):format(who, type(v)), 3)
  end
  if v == self then
    error(("bad argument #1 to '%s' (another stream expected, got the same one)"):format(who), 3)
  end
  if more ~= nil then
    error(("'%s' takes one stream: write s:%s(a):%s(b)"):format(who, who, who), 3)
  end
end

local function close_both(a, b)
  return function()
    local _ <close> = b -- also when closing the other one fails
    a:close()
  end
end

--- The values of both, as they come.
-- @function stream:merge
function M:merge(other, more)
  check_self(self, "merge")
  check_other(self, other, more, "merge")
  local a, b = self, other
  return derive(self, "merge", function()
    a, b = b, a -- in turn
    local v, why = a:step()
    if v ~= nil then return v end
    local w, reason = b:step()
    if w ~= nil then return w end
    return nil, why == "closed" and reason == "closed" and "closed" or "empty"
  end, function(_, list, feeds)
    a:things(list, feeds)
    b:things(list, feeds)
  end, close_both(self, other))
end

--- Lists `{v, w}` of a value of each. Ends with the first that ends, and closes the other.
-- @function stream:zip
function M:zip(other, more)
  check_self(self, "zip")
  check_other(self, other, more, "zip")
  local left
  return derive(self, "zip", function()
    local why
    if left == nil then
      left, why = self:step()
      if left == nil then
        if why == "closed" then other:close() end
        return nil, why
      end
    end
    local right
    right, why = other:step()
    if right == nil then
      if why == "closed" then self:close() end
      return nil, why
    end
    local pair = { left, right }
    left = nil
    return pair
  end, function(_, list, feeds)
    return (left == nil and self or other):things(list, feeds)
  end, close_both(self, other))
end

--- Whenever a value is asked for, up to n are taken from the stream below, as far as they are
-- there.
-- @function stream:buffer
function M:buffer(n)
  check_self(self, "buffer")
  check_count(n, "buffer", 1, 1)
  local queue, first, last, why = {}, 1, 0, "empty"
  local fill, fail = with_failure(function()
    while last - first + 1 < n do
      local v, reason = self:step()
      if v == nil then
        why = reason
        return
      end
      last = last + 1
      queue[last] = v
    end
  end)
  return derive(self, "buffer", function()
    if why ~= "closed" then fill() end
    if first > last then
      fail()
      return nil, why
    end
    local v = queue[first]
    queue[first] = nil
    first = first + 1
    return v
  end)
end

-- -- Parallel -----------------------------------------------------------------------------------

-- What an isolate of `parallel` runs.
local function work(emit, fn, jobs)
  for v in jobs:messages() do
    v = fn(v)
    if v == nil then no_nil "parallel" end
    emit(v)
  end
end

local function start_workers(n, fn)
  local workers = {}
  for i = 1, n do
    local jobs = core.channel(DEPTH)
    workers[i] = { jobs = jobs, source = core.source_start(DEPTH, work, fn, jobs), busy = 0 }
  end
  return workers
end

local function least_busy(workers)
  local best = workers[1]
  for i = 2, #workers do
    if workers[i].busy < best.busy then best = workers[i] end
  end
  return best
end

local function check_ordered(opts)
  if opts == nil then return false end
  if type(opts) ~= "table" then
    error(("bad argument #3 to 'parallel' (table of options expected, got %s)"):format(
      type(opts)), 3)
  end
  for key in pairs(opts) do
    if key ~= "ordered" then error(("unknown option '%s'"):format(tostring(key)), 3) end
  end
  if type(opts.ordered) ~= "boolean" and opts.ordered ~= nil then
    error(("option 'ordered': true or false expected, got %s"):format(type(opts.ordered)), 3)
  end
  return opts.ordered
end

-- The next result in order: of the worker that got the oldest value.
local function take_first(state)
  local worker = state.order[state.first]
  local v = core.source_take(worker.source)
  if v == nil then return nil end
  state.order[state.first] = nil
  state.first = state.first + 1
  return v, worker
end

-- Any result.
local function take_any(state)
  local workers = state.workers
  for k = 1, #workers do
    local worker = workers[(state.turn + k - 1) % #workers + 1]
    local v
    if worker.busy > 0 then v = core.source_take(worker.source) end
    if v ~= nil then
      state.turn = state.turn + k
      return v, worker
    end
  end
end

local function hand_out(state, v)
  local worker = least_busy(state.workers)
  worker.jobs:try_send(v) -- there is room: it has less than DEPTH
  worker.busy = worker.busy + 1
  state.busy = state.busy + 1
  if state.ordered then
    state.last = state.last + 1
    state.order[state.last] = worker
  end
end

-- Gives the workers all that they may have.
local function feed(state, up)
  while state.busy < #state.workers * DEPTH do
    local v, why = up:step()
    if v == nil then
      state.over = why == "closed"
      return
    end
    hand_out(state, v)
  end
end

local function close_workers(state)
  for _, worker in ipairs(state.workers or {}) do
    worker.jobs:close()
    core.source_close(worker.source)
  end
end

--- `fn(v)` of each value, computed by n isolates. Takes 2 n values at most ahead of what it gives.
-- @function stream:parallel
-- @tparam integer n
-- @tparam function fn its upvalues and globals are copied when the first value is asked for
-- @tparam[opt] table opts `ordered = true`: results in the order of the values
function M:parallel(n, fn, opts)
  check_self(self, "parallel")
  check_count(n, "parallel", 1, 1)
  check_function(fn, "parallel", 2)
  local state = { ordered = check_ordered(opts), order = {}, first = 1, last = 0, turn = 0,
                  busy = 0, over = false }
  local fill, fail = with_failure(function() feed(state, self) end)
  local take = state.ordered and take_first or take_any
  return derive(self, "parallel", function()
    state.workers = state.workers or start_workers(n, fn)
    if not state.over then fill() end
    if state.busy == 0 then
      fail()
      if state.over then close_workers(state) end
      return nil, state.over and "closed" or "empty"
    end
    local v, worker = take(state)
    if v == nil then return nil, "empty" end
    worker.busy = worker.busy - 1
    state.busy = state.busy - 1
    return v
  end, function(_, list, feeds)
    local first = state.ordered and state.order[state.first]
    for _, worker in ipairs(state.workers or {}) do
      if worker.busy > 0 and (worker == first or not state.ordered) then
        source_things(worker.source, list, feeds)
      end
    end
    if not state.over and state.busy < n * DEPTH then self:things(list, feeds) end
  end, function()
    close_workers(state)
    self:close()
  end)
end

-- -- Ends ---------------------------------------------------------------------------------------

--- A list of all values.
-- @function stream:collect
function M:collect()
  check_self(self, "collect")
  local list, n = {}, 0
  for v in self:values() do
    n = n + 1
    list[n] = v
  end
  return list
end

--- `fn(fn(acc, v1), v2)`, and so on.
-- @function stream:reduce
-- @tparam function fn
-- @param[opt] acc what it begins with; nil: the first value
-- @return the last result; nil: there was no value
function M:reduce(fn, acc)
  check_self(self, "reduce")
  check_function(fn, "reduce", 1)
  for v in self:values() do
    if acc == nil then acc = v else acc = fn(acc, v) end
  end
  return acc
end

--- Calls `fn(v)` with each value.
-- @function stream:each
function M:each(fn)
  check_self(self, "each")
  check_function(fn, "each", 1)
  for v in self:values() do fn(v) end
end

--- The first value; nil: there is none. Closes the stream.
-- @function stream:first
function M:first()
  check_self(self, "first")
  local v = self:receive()
  self:close()
  return v
end

--- How many values come.
-- @function stream:count
function M:count()
  check_self(self, "count")
  local n = 0
  for _ in self:values() do n = n + 1 end
  return n
end

return {
  work = work, -- here an isolate of `parallel` finds it
  open = function(streams)
    check_self, check_function = streams.check_self, streams.check_function
    check_count, is_stream = streams.check_count, streams.is_stream
    new, of, source_things = streams.new, streams.of, streams.source_things
    for name, method in pairs(M) do streams.methods[name] = method end
  end,
}
