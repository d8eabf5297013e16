-- timeouts.lua - every wait takes a time at most; what a wait that is over says.
--
--     isolua examples/timeouts.lua

local isolate = require "isolate"

local SECONDS = 0.05

local function endless()
  while true do end
end

-- A message that does not come. The port stays as it is.
local rx, tx = isolate.port()
print("receive", rx:receive(SECONDS))

-- Room that does not come: the port is full, and nobody receives.
local full, full_tx = isolate.port { capacity = 1 }
full_tx:send "the only one"
print("send", full_tx:send("one too many", SECONDS))
print("queued", #full)

-- Results that do not come. The work goes on; as `work` is a <close> variable, it ends with the
-- scope.
do
  local work <close> = isolate.run(endless)
  print("try", work:try(SECONDS))
  print("done", work:done())
end

-- A limit for the work itself: it is killed, whatever it does.
local ok, err = isolate.run({ name = "worker", timeout = SECONDS }, endless):try()
print("run", ok, err.code, err)

-- None of several things.
print("select", isolate.select({ rx, isolate.after(60) }, SECONDS))

-- And of these the timer is the first.
local timer = isolate.after(SECONDS)
local first = isolate.select { rx, timer, isolate.after(60) }
print("select", first == timer and "the timer")

tx:close()
