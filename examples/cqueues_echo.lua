-- cqueues_echo.lua - an echo server on cqueues whose work is done in isolates: one thread speaks
-- with all clients, and a request that takes long delays nobody else's.
--
--   isolua examples/cqueues_echo.lua [port]        (default 8888; 0: any port that is free)
--
-- It prints the port that it listens on. A client sends lines:
--   TEXT           is answered by TEXT in capitals
--   fib N          by the Nth Fibonacci number, in the slow way: from 35 on it takes a while
--   quit           ends the server, once all clients are gone
-- Try it with `nc localhost 8888`. Needs lua-cqueues.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"
local cqueues = require "isolate.cqueues"
local condition = require "cqueues.condition"
local socket = require "cqueues.socket"

local function fib(n)
  return n < 2 and n or fib(n - 1) + fib(n - 2)
end

-- Runs in an isolate.
local function answer(line)
  local n = line:match "^fib (%d+)$"
  return n and ("fib %s = %d"):format(n, fib(tonumber(n))) or line:upper()
end

local function serve(client, quit)
  client:setmode("tn", "tn")
  for line in client:lines "*l" do
    if line == "quit" then
      quit()
      break
    end
    local ok, text = isolate.run(answer, line):try()
    if not client:write(ok and text or "error: " .. tostring(text), "\n") then break end
  end
  client:close()
end

local port = tonumber(arg[1] or 8888)
if not port then
  io.stderr:write "usage: cqueues_echo.lua [port]\n"
  os.exit(1)
end

local server = assert(socket.listen("127.0.0.1", port))
local loop = cqueues.new()

loop:wrap(function()
  local open = true
  local stop = condition.new()
  assert(server:listen())
  print("listening on port " .. select(3, server:localname()))
  io.stdout:flush()
  while open do
    local client = server:accept(0)
    if client then
      loop:wrap(serve, client, function()
        open = false
        stop:signal()
      end)
    else
      cqueues.poll({ pollfd = server:pollfd(), events = "r" }, stop)
    end
  end
  server:close()
end)

assert(loop:loop())
