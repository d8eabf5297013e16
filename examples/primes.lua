-- primes.lua - counts the primes up to N with all cores.
--
--     isolua examples/primes.lua [N]         (default 10000000)
--
-- The numbers are cut into segments, and the sieve of Eratosthenes goes over each in the pool, by
-- the primes up to the root of N. What it needs is in its upvalues, which are sent with it.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"

local SEGMENT = 500000 -- numbers, half of which are even and left out

-- The odd primes up to `most`, by the same sieve without segments.
local function odd_primes(most)
  local composite, primes = {}, {}
  for n = 3, most, 2 do
    if not composite[n] then
      primes[#primes + 1] = n
      for multiple = n * n, most, 2 * n do composite[multiple] = true end
    end
  end
  return primes
end

local n = tonumber(arg[1] or 10000000)
if math.type(n) ~= "integer" or n < 0 or n > 10 ^ 12 then
  io.stderr:write "usage: isolua examples/primes.lua [N]        (N up to 10^12)\n"
  os.exit(1)
end

local root = math.floor(math.sqrt(n)) + 1
local small = isolate.freeze(odd_primes(root)) -- shared by the isolates, not copied

-- Runs in the pool. Counts the odd primes from `first`, an odd number, on: those of a segment.
local function count(first)
  local last = math.min(first + SEGMENT - 2, n)
  -- Entry i stands for first + 2 * (i - 1): true as long as nothing is known to divide it.
  local size = (last - first) // 2 + 1
  local prime = {}
  for i = 1, size do prime[i] = true end
  for _, p in ipairs(small) do
    if p * p > last then break end
    local multiple = math.max(p * p, (first + p - 1) // p * p)
    if multiple % 2 == 0 then multiple = multiple + p end
    for i = (multiple - first) // 2 + 1, size, p do prime[i] = false end
  end
  local found = 0
  for i = 1, size do
    if prime[i] then found = found + 1 end
  end
  return found
end

local function plus(a, b)
  return a + b
end

local firsts = {}
for first = 3, n, SEGMENT do firsts[#firsts + 1] = first end

local pool <close> = isolate.pool()
local total = pool:reduce(plus, pool:map(count, firsts), n >= 2 and 1 or 0) -- 2 is the even one
print(("%d primes up to %d"):format(total, n))
