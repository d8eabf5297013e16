-- generator_stream.lua - values as they come out of an isolate: a generator at the end of a port.
--
--     isolua examples/generator_stream.lua

local isolate = require "isolate"

-- Runs in an isolate of its own.
local function generator(tx, count)
  for i = 0, count - 1 do tx:send(i) end
end

local function stream(count)
  local rx, tx = isolate.port()
  isolate.spawn(generator, tx, count)
  -- Now the generator has a sender of its own. With ours closed that is the last one: the port
  -- closes when the generator ends, and the loop below ends without a sentinel.
  tx:close()
  return rx:messages()
end

for value in stream(5) do
  print("Received: " .. value)
end
