-- pool.lua - the same small jobs with one isolate for each, and in a pool: prints the times.
--
--     isolua examples/pool.lua [JOBS]        (default 2000)
--
-- An isolate of one job is started, gets the code and is closed. A pool's isolates stay, with the
-- code that they have run; and `map` puts as many jobs into a message as are worth it.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"

local AT_ONCE = 16 -- isolates that run at a time where each has one job

-- The job: the sum of the numbers in a text.
local function sum_of(text)
  local sum = 0
  for number in text:gmatch "%d+" do sum = sum + tonumber(number) end
  return sum
end

local jobs = tonumber(arg[1] or 2000)
if math.type(jobs) ~= "integer" or jobs < 1 then
  io.stderr:write "usage: isolua examples/pool.lua [JOBS]\n"
  os.exit(1)
end

local texts, expected = {}, 0
for i = 1, jobs do
  texts[i] = ("%d %d %d"):format(i, 2 * i, 3 * i)
  expected = expected + 6 * i
end

local function total(results)
  local sum = 0
  for _, n in ipairs(results) do sum = sum + n end
  return sum
end

-- Starts jobs with `start`, AT_ONCE ahead of those whose results it takes.
local function in_turn(start)
  local futures, results = {}, {}
  for i = 1, jobs + AT_ONCE do
    if i <= jobs then futures[i] = start(sum_of, texts[i]) end
    if i > AT_ONCE then results[i - AT_ONCE] = futures[i - AT_ONCE]:await() end
  end
  return results
end

local function measure(what, fn)
  local start = isolate.now()
  local results = fn()
  local seconds = isolate.now() - start
  assert(#results == jobs and total(results) == expected)
  print(("%-22s %8.2f ms, %7.2f us a job"):format(what, seconds * 1e3, seconds / jobs * 1e6))
end

local pool <close> = isolate.pool()
print(("%d jobs, %d isolates in the pool; the sum of all is %d"):format(
  jobs, pool:stats().size, expected))
measure("an isolate a job", function() return in_turn(isolate.run) end)
measure("pool:submit", function()
  return in_turn(function(...) return pool:submit(...) end)
end)
measure("pool:map", function() return pool:map(sum_of, texts) end)
