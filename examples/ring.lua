-- ring.lua - a token goes round a ring of isolates; each adds one to it and passes it on.
--
--     isolua examples/ring.lua [ISOLATES]

local isolate = require "isolate"

local function usage()
  io.stderr:write("usage: isolua examples/ring.lua [ISOLATES]\n")
  os.exit(1)
end

-- `after` is the next one's handle, or at the end of the ring the sender of main's port: both send.
local function member(after)
  after:send(isolate.inbox():receive() + 1)
end

local count = math.tointeger(tonumber(arg[1] or 1000))
if not count or count < 1 then usage() end

-- Built from its end: whoever is started gets the handle of the one that was started before.
local start = isolate.now()
local rx, tx = isolate.port()
local first = tx
for i = count, 1, -1 do
  first = isolate.spawn({ name = "member " .. i }, member, first)
end
tx:close()
local built = isolate.now()

first:send(0)
local token = rx:receive()
local back = isolate.now()

isolate.wait() -- for the threads of the members, which have nothing left to do
print(("Token: %d"):format(token))
print(("%.1f ms to build the ring, %.1f ms to go round"):format((built - start) * 1e3,
  (back - built) * 1e3))
