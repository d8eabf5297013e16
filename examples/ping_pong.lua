-- ping_pong.lua - two isolates, one message to and fro: the time that a round trip takes.
--
--     isolua examples/ping_pong.lua [ROUND-TRIPS]

local isolate = require "isolate"

local function usage()
  io.stderr:write("usage: isolua examples/ping_pong.lua [ROUND-TRIPS]\n")
  os.exit(1)
end

-- Sends back whatever comes, until nobody is left who could send anything.
local function pong(reply)
  for ball in isolate.inbox():messages() do reply:send(ball) end
end

-- Returns the number of balls that came back, and the seconds that it took.
local function ping(count)
  local rx, tx = isolate.port()
  local other = isolate.spawn({ name = "pong" }, pong, tx)
  tx:close()
  local back = 0
  local start = isolate.now()
  for ball = 1, count do
    other:send(ball)
    if rx:receive() == ball then back = back + 1 end
  end
  return back, isolate.now() - start
end

local count = math.tointeger(tonumber(arg[1] or 10000))
if not count or count < 1 then usage() end

local back, seconds = isolate.run({ name = "ping" }, ping, count):await()
print(("%d round trips, %.2f us each"):format(back, seconds / back * 1e6))
