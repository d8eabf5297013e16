-- supervisor.lua - a worker that crashes on some of its jobs is started again, and the rest go on.
-- SPDX-License-Identifier: MIT
--   isolua examples/supervisor.lua

local isolate = require "isolate"

-- Adds up the digits of what it is sent. Letters are more than it can take.
local function worker(results)
  for job in isolate.inbox():messages() do
    local sum = 0
    for digit in job:gmatch "." do sum = sum + digit end
    results:send(("%s: %d"):format(job, sum))
  end
end

local results, results_tx = isolate.port()
local events, events_tx = isolate.port()

local sup <close> = isolate.supervisor {
  name = "office",
  strategy = "one_for_one",
  intensity = 3,
  period = 5,
  on_event = events_tx, -- without it, failures are printed on stderr
  children = {
    { name = "adder", fn = worker, args = { results_tx } },
    { name = "other", fn = worker, args = { results_tx } },
  },
}

local function next_event(kind)
  repeat
    local e = events:receive(10)
    if e and e.event == kind then return e end
  until not e
end
next_event "started"
next_event "started"

for _, job in ipairs { "123", "oops", "456", "ouch", "789" } do
  local adder = sup:child "adder" -- the isolate that it is now
  adder:send(job)
  if job:match "%a" then
    print(job, "adder " .. next_event "ended".status)
    print("", ("started again, restart %d"):format(next_event "started".restarts))
  else
    print(results:receive(10))
  end
end

for _, child in ipairs(sup:children()) do print(child.name, child.restarts .. " restarts") end

-- More than 3 restarts in 5 seconds are too many: it gives up.
for _ = 1, 2 do
  local adder = sup:child "adder"
  if adder then
    adder:send "x"
    next_event "ended"
  end
end
local ok, err = sup:join(10)
print(ok, err.code, err.child)
