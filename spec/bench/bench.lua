-- SPDX-License-Identifier: MIT
--- The speed of isolua, each figure beside its physical limit measured in the same run.
--   isolua spec/bench/bench.lua [--scale] [row…]
-- README.md here says what the rows are. ISOLUA_LIMITS names the `limits` program where it does
-- not stand beside the running executable.

local isolate = require "isolate"
local now = isolate.now or require "isolate.core".now

local ROUNDS = 7    -- of each figure, its limit's measured between them
local PAUSE = 0.01  -- seconds, as in limits.c

local function limits_path()
  local first = 0
  while arg[first - 1] do first = first - 1 end
  return (arg[first]:match("^.*/") or "build/bin/") .. "limits"
end

local LIMITS = ("'%s'"):format(os.getenv("ISOLUA_LIMITS") or limits_path())

local function measure_limit(name)
  local pipe <close> = assert(io.popen(LIMITS .. " " .. name))
  return assert(tonumber(pipe:read("a"):match("^%S+ (%S+)")), "no figure from limits")
end

local function median(samples)
  table.sort(samples)
  return samples[#samples // 2 + 1]
end

-- Seconds that fn(...) took, and its first result.
local function timed(fn, ...)
  local start = now()
  local result = fn(...)
  return now() - start, result
end

local function await(fn, ...)
  return isolate.run(fn, ...):await()
end

-- Functions that run in isolates: they have no upvalues.

local function one()
  return 1
end

local function length(value)
  return #value
end

local function right_array(t, size)
  local sum = 0
  for _, v in ipairs(t) do sum = sum + v end
  return #t == size and sum == size * (size + 1) // 2
end

local function right_records(t, size)
  for i, r in ipairs(t) do
    if r.id ~= i or r.name ~= "name" .. i or r.value ~= i * 0.5 then return false end
  end
  return #t == size
end

local function right_string(s, size)
  return s == ("x"):rep(size)
end

local function cpu_work(n)
  local sum = 0
  for i = 1, n do sum = sum + i % 7 end
  return sum
end

-- Makers: given the size of the work, each returns the function that measures one round.

local function run_await(size)
  return function()
    local seconds = timed(function()
      for _ = 1, size do assert(await(one) == 1) end
    end)
    return seconds / size * 1e6
  end
end

-- Without `isolate.sleep` the pause is a read from `limits tick`: it blocks main in the kernel,
-- wants no isolate, burns no CPU and starts no process while it is measured. A ticker serves one
-- round, so that no ticks queue up between rounds.
local function run_idle(size)
  return function()
    local ticks <close> = not isolate.sleep and assert(io.popen(LIMITS .. " tick"))
    local samples = {}
    for i = 1, size do
      if ticks then ticks:read("l") else isolate.sleep(PAUSE) end
      local seconds, result = timed(await, one)
      assert(result == 1)
      samples[i] = seconds * 1e6
    end
    return median(samples)
  end
end

-- Sends what `make(size)` returns; `right` checks all of it, once, before anything is measured.
local function send(make, right)
  return function(size)
    local value = make(size)
    assert(await(right, value, size), "it arrived wrong")
    return function()
      collectgarbage()
      local seconds, result = timed(await, length, value)
      assert(result == size)
      return seconds * 1e3
    end
  end
end

local function make_array(size)
  local t = {}
  for i = 1, size do t[i] = i end
  return t
end

local function make_records(size)
  local t = {}
  for i = 1, size do t[i] = {id = i, name = "name" .. i, value = i * 0.5} end
  return t
end

local function make_string(size)
  return ("x"):rep(size)
end

local function cpu_two(size)
  local sum = cpu_work(size)
  return function()
    local in_turn = timed(function()
      assert(await(cpu_work, size) == sum and await(cpu_work, size) == sum)
    end)
    local at_once = timed(function()
      local a, b = isolate.run(cpu_work, size), isolate.run(cpu_work, size)
      assert(a:await() == sum and b:await() == sum)
    end)
    return in_turn / at_once
  end
end

-- `reach` bounds the ratio from above, or from below where `more` is better; rows whose cost
-- follows the size of the data are `scaled`.
local rows = {
  {name = "run_await", unit = "us", limit = "thread_state", reach = 0.6,
   size = 500, maker = run_await},
  {name = "run_idle", unit = "us", limit = "wake", reach = 1.5,
   size = 50, maker = run_idle},
  {name = "send_array", unit = "ms", limit = "copy_array", reach = 0.8, scaled = true,
   size = 1000000, maker = send(make_array, right_array)},
  {name = "send_records", unit = "ms", limit = "copy_records", reach = 0.8, scaled = true,
   size = 100000, maker = send(make_records, right_records)},
  {name = "send_string", unit = "ms", limit = "string_100mb", reach = 0.5, scaled = true,
   size = 100000000, maker = send(make_string, right_string)},
  {name = "cpu_two", unit = "x", limit = "cpu_two", reach = 0.95, more = true,
   size = 10000000, maker = cpu_two},
}

local function print_line(row, name, unit, value, limit, reach)
  local ratio = value / limit
  local met = row.more and ratio >= reach or not row.more and ratio <= reach
  print(("%-20s %9.2f %s   limit %9.2f   ratio %5.2f   reach %s%.2f   %s"):format(
    name, value, unit, limit, ratio, row.more and ">=" or "<=", reach, met and "met" or "missed"))
  io.stdout:flush()
end

-- Measures and prints `row` at one part in `divisor` of its size; returns its figure and its limit.
local function measure(row, divisor)
  local part = divisor > 1 and "/" .. divisor or ""
  local round = row.maker(row.size // divisor)
  local values, limits = {}, {}
  for i = 1, ROUNDS do
    limits[i] = measure_limit(row.limit .. part)
    values[i] = round()
  end
  local value, limit = median(values), median(limits)
  print_line(row, row.name .. part, row.unit, value, limit, row.reach)
  return value, limit
end

local function select_rows()
  local wanted, scale = {}, false
  for _, name in ipairs(arg) do
    if name == "--scale" then scale = true else wanted[#wanted + 1] = name end
  end
  if #wanted == 0 then return rows, scale end
  local by_name = {}
  for _, row in ipairs(rows) do by_name[row.name] = row end
  for i, name in ipairs(wanted) do
    wanted[i] = by_name[name] or error(("no row '%s'"):format(name), 0)
  end
  return wanted, scale
end

local chosen, scale = select_rows()
for _, row in ipairs(chosen) do
  local value, limit = measure(row, 1)
  collectgarbage()
  if scale and row.scaled then
    local tenth, tenth_limit = measure(row, 10)
    print_line(row, row.name .. "_growth", "x", value / tenth, limit / tenth_limit, 1)
  end
end
