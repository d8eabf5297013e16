-- isolate_stream.lua - a stream of what an isolate emits, to its end, and one that is paused.
--
--     isolua examples/isolate_stream.lua

local isolate = require "isolate"

-- Runs in an isolate of its own. No sentinel: the stream ends when this returns.
local function generator(emit, count)
  for i = 0, count - 1 do emit(i) end
end

for value in isolate.stream(generator, 5):values() do
  print("Received: " .. value)
end

-- The same with a counter that both isolates see. Two values at most wait for the consumer.
local made = isolate.atomic(0)
local stream <close> = isolate.stream({ window = 2 }, function(emit)
  for i = 0, 99 do
    emit(i)
    made:add(1)
  end
end)

-- Waits until the generator has made so many values, and sees whether it goes on.
local function watch(count)
  while made:load() < count do isolate.sleep(0.001) end
  isolate.sleep(0.05)
  print(("Made: %d"):format(made:load()))
end

print("Received: " .. stream:receive())
stream:pause()
watch(3) -- the one that was received, and two that wait
print(stream:receive(0.01))
stream:resume()
print("Received: " .. stream:receive())
watch(4)
