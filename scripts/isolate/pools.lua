--- Pools: their options, and lists that are worked through in parts.
--
-- A part is some items that go to a pool as one job, and how many follows from the time that the
-- parts before it took: about `PART` seconds of work, so that messages cost little against it. A
-- part that takes longer stops after `LIMIT` and what is left of it is divided anew: so items that
-- take a thousand times as long as others hold up none of them.
-- @module isolate.pools
-- SPDX-License-Identifier: MIT
local closing = require "isolate.closing"
local core = require "isolate.core"

local M = {}

local PART, LIMIT = 0.002, 0.01 -- seconds
local MOST = 1 << 16 -- items
local MOST_ISOLATES = 100000
local LANES = 2 -- parts for each job that may run: while one runs the next one waits for it
local MANY = (1 << 31) - 1 -- jobs that may run, and retries: more of them are the same

-- -- Making -------------------------------------------------------------------------------------

local OWN = { size = true, queue = true, idle = true, max_jobs = true, retries = true }
local FOR_SPAWN = { paused = true, on_exit = true, on_error = true }

local function option(opts, name, default, least)
  local v = opts[name]
  if v == nil then return default end
  if math.type(v) ~= "integer" or v < least then
    error(("option '%s': an integer of %d or more expected, got %s"):format(name, least,
      type(v) == "number" and tostring(v) or type(v)), 4)
  end
  return v
end

local function new(opts, size)
  local run = {}
  for key, v in pairs(opts) do
    if FOR_SPAWN[key] then
      error(("option '%s' is for isolate.spawn: a pool's isolates are its own"):format(key), 3)
    end
    if not OWN[key] then run[key] = v end
  end
  size = math.min(size or option(opts, "size", nil, 1) or core.cores(), MANY)
  local idle = opts.idle
  if idle ~= nil and (type(idle) ~= "number" or idle ~= idle or idle < 0) then
    error("option 'idle': a number of seconds, 0 or more, expected", 3)
  end
  local ok, pool = pcall(core.new_pool, run, size, option(opts, "queue", 1024 * size, 1), idle,
    option(opts, "max_jobs", 0, 1), math.min(option(opts, "retries", 0, 0), MANY))
  if not ok then error(pool, 3) end
  return pool
end

--- A pool: isolates that run jobs. They start with the first jobs.
-- @function isolate.pool
-- @tparam[opt] table opts those of `isolate.run`, of which `timeout` is that of a job; `size` (jobs
-- that run at once; default: the cores), `queue` (jobs that wait at most; 1024 for each that runs),
-- `idle` (seconds until an isolate that has nothing to do ends; default: never), `max_jobs` (that
-- an isolate runs before a new one takes its place; default: any number), `retries` (times that a
-- job is run again whose isolate was killed, or ended, within it; 0)
-- @tparam[opt] integer size
-- @treturn pool
-- @usage local pool <close> = isolate.pool()
function M.pool(opts, size)
  if type(opts) ~= "table" then
    if size ~= nil then error("isolate.pool: options stand first: isolate.pool({…}, size)", 2) end
    opts, size = {}, opts
  end
  if core.is_module(opts) then
    error("isolate's functions are called with a dot, not a colon", 2)
  end
  if size ~= nil and opts.size ~= nil then
    error("isolate.pool: the size is given twice, in the options and behind them", 2)
  end
  if math.type(size) == "float" then size = math.tointeger(size) or size end
  if size ~= nil and (math.type(size) ~= "integer" or size < 1 or size > MOST_ISOLATES) then
    error(("a pool's size is an integer from 1 to 100000, got %s")
      :format(type(size) == "number" and tostring(size) or type(size)), 2)
  end
  return (new(opts, size)) -- no tail call: errors tell where the caller stands
end

-- -- Checking -----------------------------------------------------------------------------------

local function check_function(fn, who, i, level)
  if core.is_module(fn) then
    error("isolate's functions are called with a dot, not a colon", level + 1)
  end
  if type(fn) ~= "function" then
    error(("bad argument #%d to '%s' (function expected, got %s)"):format(i, who, type(fn)),
      level + 1)
  end
end

local function is_list(v)
  if type(v) == "table" then return true end
  local meta = type(v) == "userdata" and getmetatable(v)
  return meta == "isolate.frozen"
end

local function is_callable(v)
  local meta = type(v) == "function" or getmetatable(v)
  return meta == true or type(meta) == "table" and meta.__call ~= nil
end

-- Fields without items are a mistake; a list may have both.
local function check_list(list, who, i, level)
  if getmetatable(list) == "isolate.stream" then
    error(("bad argument #%d to '%s' (a list expected, got a stream: pool:imap takes " ..
      "stream:values(), and stream:parallel works through it)"):format(i, who), level + 1)
  end
  if not is_list(list) then
    error(("bad argument #%d to '%s' (a list expected, got %s)"):format(i, who, type(list)),
      level + 1)
  end
  local key = type(list) == "table" and next(list)
  if key ~= nil and key ~= false and #list == 0 and key ~= "n" then
    error(("bad argument #%d to '%s' (a list expected, but the table has the field '%s' and no " ..
      "items)"):format(i, who, tostring(key)), level + 1)
  end
end

local function check_end(rest, who, level)
  if rest ~= nil then
    error(("'%s' takes a function and a list: options are for isolate.pool"):format(who), level + 1)
  end
end

-- -- Where items come from: take(n) -> list, count, packed --------------------------------------

local function never() return false end

local function from_list(list)
  local at, n = 0, #list
  local function take(count)
    local items = table.move(list, at + 1, math.min(at + count, n), 1, {})
    count = math.min(count, n - at)
    at = at + count
    return items, count, false
  end
  return take, function() return n - at end
end

-- Of a generic for: an iteration with several values is a table of them, and so are then all of
-- its part. Gives also a function that tells whether the last part was long in coming.
local function from_iterator(iter, state, control)
  local held -- one that begins the next part
  local over, slow = false, false
  local function next_item()
    local item = held
    held = nil
    if item or over then return item end
    item = table.pack(iter(state, control))
    control = item[1]
    if control == nil then
      over = true
      return nil
    end
    return item
  end
  local function take(count)
    local items, n, packed = {}, 0, false
    local stop = core.now() + PART
    slow = false
    while n < count and not slow do
      local item = next_item()
      if not item then break end
      if n == 0 then
        packed = item.n > 1
      elseif (item.n > 1) ~= packed then
        held = item
        break
      end
      n = n + 1
      if packed then items[n] = item else items[n] = item[1] end
      slow = (n < 16 or n % 16 == 0) and core.now() > stop
    end
    return items, n, packed
  end
  return take, function() return slow end
end

-- -- Working through them -----------------------------------------------------------------------

local work = {}
work.__index = work

-- opts: `ordered`, `chunk`, `window`; `left()` tells how many items are still to be taken, if
-- that is known; `slow()` whether the last ones were long in coming; `drop`: the results are not
-- wanted.
local function start(pool, fn, take, left, slow, opts)
  return setmetatable({
    pool = pool, fn = fn, take = take, left = left, slow = slow,
    chunk = opts.chunk, drop = opts.drop,
    window = opts.window, ordered = opts.ordered ~= false, size = pool:stats().size,
    closing = false, -- what the iterator wants closed
    each = nil, -- seconds that an item took
    first = 1, -- number of the next item to be taken
    ahead = 0, -- items taken and not given out
    parts = 0, -- that run, or are there and not given out
    running = {}, busy = 0, -- future -> part; how many
    back = {}, -- what is left of parts that stopped: their items `from` on
    done = {}, -- parts that are there, by the number of their first item
    next = 1, -- number of the next item to be given out, of ordered ones
    over = false,
  }, work)
end

-- How many items the next part has; `left` are still to be taken, if that is known.
function work:count(left)
  local n = self.chunk
  if not n then
    n = self.each and math.max(1, math.min(MOST, PART // math.max(self.each, 1e-9))) or 1
    if left then n = math.min(n, math.max(1, left // (LANES * self.size))) end
    if self.window then n = math.min(n, math.max(1, self.window // (LANES * self.size))) end
  end
  return math.tointeger(n)
end

-- A part of what is left of one that stopped, of what is wanted first.
function work:rest()
  local which = 1
  for i = 2, #self.back do
    if self.back[i].at < self.back[which].at then which = i end
  end
  local rest = self.back[which]
  local n = math.min(rest.n, self:count(rest.n))
  local part = { at = rest.at, n = n, packed = rest.packed,
                 items = table.move(rest.items, rest.from, rest.from + n - 1, 1, {}) }
  rest.at, rest.from, rest.n = rest.at + n, rest.from + n, rest.n - n
  if rest.n == 0 then table.remove(self.back, which) end
  return part
end

-- The next part, or nil: there is none, or it must not be taken yet. What is left of others may be
-- what those that are there wait for: it goes out however many they are.
function work:part()
  local most = LANES * self.size
  if self.busy >= most then return nil end
  if #self.back > 0 then return self:rest() end
  if self.parts >= most then return nil end
  local n = self:count(self.left and self.left())
  if self.window then n = math.min(n, self.window - self.ahead) end
  if self.over or n < 1 then return nil end
  local items, count, packed = self.take(n)
  if count < n then self.over = count == 0 or self.left ~= nil end
  if count == 0 then return nil end
  self.first, self.ahead = self.first + count, self.ahead + count
  return { at = self.first - count, n = count, items = items, packed = packed }
end

-- An error of sending names the item by its number in the list, not in the part.
local function name_item(err, pattern, text, at)
  if type(err) ~= "table" or rawget(err, "code") ~= "not_sendable" then return err end
  local function named(path)
    return (path:gsub(pattern, function(i) return text:format(at - 1 + tonumber(i)) end))
  end
  err.message = named(err.message)
  err.path = err.path and named(err.path)
  return err
end

function work:submit()
  while true do
    local part = self:part()
    if not part then return end
    local ok, future = pcall(core.submit_part, self.pool, core.run_part, self.fn, part.items,
      part.n, self.chunk and math.huge or LIMIT, part.packed, self.drop)
    if not ok then error(name_item(future, "argument #1%[(%d+)%]", "item %d", part.at), 0) end
    self.parts, self.busy = self.parts + 1, self.busy + 1
    self.running[future] = part
    if self.slow() and self:is_ready() then return end
  end
end

-- Has a part ended? While a slow iterator is asked for more, its results would wait.
function work:is_ready()
  for future in pairs(self.running) do
    if future:done() then return true end
  end
  return false
end

-- A part has ended; its error is raised, of ordered ones when it is their turn.
function work:settle(future)
  local part = self.running[future]
  local ok, err = future:try()
  if not ok then name_item(err, "result #1%[(%d+)%]", "result of item %d", part.at) end
  if self.ordered and not ok then
    self.running[future], self.busy = nil, self.busy - 1
    return { at = part.at, n = part.n, failed = future }
  end
  local results, n, seconds = future:await()
  self.running[future], self.busy = nil, self.busy - 1
  if n < part.n then
    self.parts = self.parts - 1
    self.back[#self.back + 1] = { at = part.at + n, n = part.n - n, packed = part.packed,
                                  items = part.items, from = n + 1 }
  end
  local each = seconds / n
  self.each = self.each and (self.each + each) / 2 or each
  return { at = part.at, n = n, results = results, whole = n == part.n }
end

-- The next part that is there: waits for one. nil: all were given.
function work:get()
  while true do
    local ready = self.ordered and self.done[self.next]
    if ready then
      self.done[self.next] = nil
      if ready.failed then ready.failed:await() end
      return ready
    end
    self:submit()
    local list = {}
    for future in pairs(self.running) do list[#list + 1] = future end
    if #list == 0 then return nil end
    local part = self:settle((core.select(list)))
    if not self.ordered then return part end
    self.done[part.at] = part
  end
end

-- The part was given out: another one may be taken for it.
function work:given(part)
  self.next, self.ahead = part.at + part.n, self.ahead - part.n
  if part.whole then self.parts = self.parts - 1 end
end

-- Whatever still runs is of no use any more.
function work:__close(err)
  for future in pairs(self.running) do future:cancel() end
  self.running, self.busy, self.over = {}, 0, true
  local value = self.closing
  self.closing = false
  closing.close(value, err)
end

function work:__call()
  local part = self.part_out
  if not part or self.at == part.n then
    if part then self:given(part) end
    part = self:get()
    self.part_out, self.at = part, 0
    if not part then return nil end
  end
  self.at = self.at + 1
  return part.at + self.at - 1, part.results[self.at]
end

-- -- Methods of pools ---------------------------------------------------------------------------

local function run_list(pool, fn, list, drop)
  local take, left = from_list(list)
  local job <close> = start(pool, fn, take, left, never, { ordered = false, drop = drop })
  local out = drop and nil or table.move({}, 1, 0, 1, {})
  for part in work.get, job do
    if out then table.move(part.results, 1, part.n, part.at, out) end
    job:given(part)
  end
  return out
end

--- `fn(item)` of every item, in the pool. Chooses by itself how many items make a job.
-- @function pool:map
-- @tparam function fn gives one value; the first error ends the others, and is raised
-- @tparam table list
-- @treturn table the results, in the order of the list
-- @usage local squares = pool:map(function(x) return x * x end, { 1, 2, 3 })
function M.pool_map(pool, fn, list, rest)
  check_function(fn, "map", 1, 3)
  check_list(list, "map", 2, 3)
  check_end(rest, "map", 3)
  return run_list(pool, fn, list, false)
end

--- The same for what `fn` does, not for what it gives.
-- @function pool:each
-- @tparam function fn
-- @tparam table list
function M.pool_each(pool, fn, list, rest)
  check_function(fn, "each", 1, 3)
  check_list(list, "each", 2, 3)
  check_end(rest, "each", 3)
  run_list(pool, fn, list, true)
end

local IMAP = { ordered = true, window = true, chunk = true }

local function check_imap(opts)
  for key, v in pairs(opts) do
    if key == 1 then
      error("bad argument #1 to 'imap' (function or options expected, got a list)", 4)
    elseif not IMAP[key] then
      error(("unknown option '%s' (imap has: ordered, window, chunk)"):format(tostring(key)), 4)
    elseif key == "ordered" then
      if type(v) ~= "boolean" then error("option 'ordered': true or false expected", 4) end
    elseif math.type(v) ~= "integer" or v < 1 then
      error(("option '%s': an integer of 1 or more expected"):format(key), 4)
    end
  end
end

--- An iterator over `fn(item)` of what a list or another iterator gives, in the pool.
-- @function pool:imap
-- @tparam[opt] table opts `ordered` (true: in the order of the items; false: as they are ready),
-- `window` (items taken ahead of the loop at most; default: what keeps the pool busy), `chunk`
-- (items in a job; default: by the time that they take)
-- @tparam function fn gets an item of the list, or the values of the iterator
-- @tparam table|function iter a list, or what a generic `for` takes: `io.lines(name)`, `pairs(t)`
-- @param ...
-- @return an iterator, for a generic `for`, over the number of the item and the first result
-- @usage for i, n in pool:imap(count_words, io.lines "big.txt") do total = total + n end
function M.pool_imap(pool, ...)
  local opts, i = ..., 0
  if type(opts) == "table" then i = 1 else opts = {} end
  local fn, iter = select(i + 1, ...)
  check_imap(opts)
  check_function(fn, "imap", i + 1, 3)
  local job
  if not is_callable(iter) then
    if not is_list(iter) then
      error(("bad argument #%d to 'imap' (a list or an iterator expected, got %s)"):format(
        i + 2, type(iter)), 3)
    end
    check_list(iter, "imap", i + 2, 3)
    if select("#", ...) > i + 2 then
      error("'imap' takes options first: pool:imap({ ordered = false }, fn, list)", 3)
    end
    local take, left = from_list(iter)
    job = start(pool, fn, take, left, never, opts)
  else
    local state, control, inner = select(i + 3, ...)
    local take, slow = from_iterator(iter, state, control)
    job = start(pool, fn, take, nil, slow, opts)
    job.closing = inner or false
  end
  return job, nil, nil, job
end

--- All items put together by `fn(a, b)`, in the pool: parts of the list first, then what they give.
-- @function pool:reduce
-- @tparam function fn gives one value; associative: how the items are grouped must not matter
-- @tparam table list
-- @param[opt] init goes before the first item, and is what an empty list gives
-- @return the value; nil of an empty list without `init`
-- @usage local sum = pool:reduce(function(a, b) return a + b end, numbers, 0)
function M.pool_reduce(pool, fn, list, init)
  check_function(fn, "reduce", 1, 3)
  check_list(list, "reduce", 2, 3)
  local n, size = #list, pool:stats().size
  if n == 0 then return init end
  local take = from_list(list)
  local chunk = math.max(1, math.min(MOST, -(-n // (4 * size))))
  local parts <close> = setmetatable({}, { __close = function(all)
    for _, future in ipairs(all) do future:cancel() end
  end })
  while true do
    local items, count = take(chunk)
    if count == 0 then break end
    parts[#parts + 1] = core.submit_part(pool, core.fold_part, fn, items, count)
  end
  local values, count = { init }, init ~= nil and 1 or 0
  for _, future in ipairs(parts) do
    count = count + 1
    values[count] = future:await()
  end
  if count == 1 then return values[1] end
  return core.submit_part(pool, core.fold_part, fn, values, count):await()
end

local default -- of this isolate

--- `pool:map` in a pool of this isolate, which is made at the first call; its isolates end when
-- they have had nothing to do for a second.
-- @function isolate.map
-- @tparam function fn
-- @tparam table list
-- @treturn table
-- @usage local squares = isolate.map(function(x) return x * x end, { 1, 2, 3 })
function M.map(fn, list, rest)
  check_function(fn, "map", 1, 2)
  check_list(list, "map", 2, 2)
  check_end(rest, "map", 2)
  default = default or M.pool{ name = "map", idle = 1 }
  return run_list(default, fn, list, false)
end

return M
