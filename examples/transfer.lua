-- transfer.lua - fills a buffer in one isolate and moves it to another, which sums it.
--
--     isolua examples/transfer.lua [MB]

local isolate = require "isolate"

-- Runs in an isolate of its own. Takes a copy of a buffer, then the buffer itself, answers as soon
-- as it has each, and returns the sum of the numbers in the second one.
local function sum_up()
  local inbox = isolate.inbox()
  local replies = inbox:receive()
  replies:send(#inbox:receive())
  local buf = inbox:receive()
  replies:send(#buf)
  return buf:view("i64"):sum()
end

-- Likewise. Returns the seconds that it took to send a copy, and to move the buffer.
local function fill(other, size)
  local buf = isolate.buffer(size)
  local numbers = buf:view "i64"
  for i = 1, #numbers do numbers[i] = i end

  local replies, to_replies = isolate.port()
  other:send(to_replies)
  local start = isolate.now()
  other:send(buf)
  assert(replies:receive() == size)
  local copied = isolate.now()
  other:send(isolate.transfer(buf))
  assert(replies:receive() == size)
  return copied - start, isolate.now() - copied
end

local megabytes = tonumber(arg[1] or 100)
if math.type(megabytes) ~= "integer" or megabytes < 1 or megabytes > 1000000 then
  io.stderr:write("usage: isolua examples/transfer.lua [MB]\n")
  os.exit(1)
end

local summing = isolate.spawn(sum_up)
local copy, move = isolate.run(fill, summing, megabytes * 1000000):await()
local _, sum = assert(summing:join())
print(("Sum: %d"):format(sum))
print(("%.2f ms to send a copy, %.2f ms to move it"):format(copy * 1e3, move * 1e3))
