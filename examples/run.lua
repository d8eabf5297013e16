-- run.lua - a heavy computation off the main thread: isolate.run takes any closure.
--
--     isolua examples/run.lua

local isolate = require "isolate"

local function sum_below(n)
  local sum = 0
  for i = 0, n - 1 do sum = sum + i end
  return sum
end

-- The closure's upvalues, `sum_below` and `n`, are copied into a fresh isolate. `run` returns a
-- future at once; until `await` this script could go on with something else.
local n = 100000000
local future = isolate.run(function() return sum_below(n) end)

print("Result: " .. future:await())
