--- Waits and LuaSocket in one `socket.select`. Requiring it is all: it returns the module socket.
--
-- While `socket.select` waits, the isolate's tasks, timers and handlers run, and a wait of isolate
-- waits
-- in it. Futures, receivers and channels can stand among the sockets of its first list.
-- @module isolate.luasocket
-- @usage
-- local socket = require "isolate.luasocket"
-- local ready = socket.select({ client, future }, nil, 2)
-- if ready[future] then print(future:await()) end
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"
local foreign = require "isolate.foreign"
local socket = require "socket"

local select, now = socket.select, core.now

local event = {}
function event.getfd() return core.fd() end
function event.dirty() return false end

local function serve()
  if not foreign.serve() then core.pump() end
end

local function signal(wait)
  wait.signalled = true
end

foreign.add(function(token)
  local wait = { signal = signal }
  foreign.expect(token, wait)
  repeat
    select({ event }, nil, core.timeout())
    serve()
  until wait.signalled
  return true
end, true)

-- What is ready, without the event.
local function without_event(list)
  local rest = {}
  for _, object in ipairs(list) do
    if object ~= event then
      rest[#rest + 1] = object
      rest[object] = #rest
    end
  end
  return rest
end

--- `socket.select`, in which the isolate goes on.
-- @function socket.select
-- @tparam ?{object,...} receiving sockets, futures, receivers, channels, or what has `getfd` and
-- `dirty`
-- @tparam ?{object,...} sending
-- @tparam[opt] number timeout seconds; nil or less than 0 waits without end
-- @treturn table objects that are ready, by place and by themselves
-- @treturn table of those that can be sent to
-- @treturn ?string "timeout"
function socket.select(receiving, sending, timeout)
  local deadline = timeout and timeout >= 0 and now() + timeout
  local list = { event, table.unpack(receiving or {}) }
  while true do
    serve()
    local left = deadline and math.max(0, deadline - now())
    local readable, writable, why = select(list, sending, foreign.sooner(left or nil))
    readable = without_event(readable)
    if readable[1] or writable[1] then return readable, writable end
    if deadline and now() >= deadline then return readable, writable, "timeout" end
    if why and why ~= "timeout" then return readable, writable, why end
  end
end

return socket
