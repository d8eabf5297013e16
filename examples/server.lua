-- server.lua - an HTTP server that sums JSON in a pool: its one event loop reads and answers, and
-- stays responsive whatever the jobs do. Needs lua-http, lua-cqueues and lua-cjson.
--
--     isolua examples/server.lua [port]              (default 8080; 0: any port that is free)
--     curl -X POST http://127.0.0.1:8080/sum -d '[{"value":10},{"value":20}]'
--
-- POST /sum     an array of {"value": n}: 200 and {"count":2,"total":30}. Else a JSON error:
--               400 bad JSON, or no number (the index counts from 0), 413 a body over 16 MB,
--               500 the job was killed, 503 the queue is full, 504 the job took over 5 s
-- GET /health   200 and what the pool does
-- Anything else is 404. SIGTERM and Ctrl-C end it, when what is in flight has been answered.
-- SPDX-License-Identifier: MIT

-- Debian packages lua-http for versions up to 5.3; it runs under 5.4 all the same.
for _, version in ipairs { "5.3", "5.2", "5.1" } do
  package.path = package.path .. (";/usr/share/lua/V/?.lua"):gsub("V", version)
end

local isolate = require "isolate"
local cqueues = require "isolate.cqueues" -- before what else uses cqueues
local condition = require "cqueues.condition"
local signal = require "cqueues.signal"
local cjson = require "cjson"
local h1 = require "http.h1_connection"
local headers = require "http.headers"
local http = require "http.server"
local lpeg = require "lpeg"

local BODY = 16 * 1024 * 1024 -- bytes of a body, at most
local JOB = 5                 -- seconds that a job may take
local QUEUE = 64              -- jobs that may wait; each has its body in memory
local IDLE = 10               -- seconds that a client may be silent
local PATIENCE = 20           -- seconds that what is in flight has after a signal

-- ---- The job. These functions run in the pool. ----

-- cjson reads numbers as floats. This reads a document once more, with integers of 16 digits and
-- more as strings "i…". Other strings, and so keys, become "s…", so that none is mistaken.
local function decode_exactly(json, text)
  local P, R, S = lpeg.P, lpeg.R, lpeg.S
  local rest = (1 - S '"\\' + P "\\" * 1) ^ 0 * '"'
  local long = P "-" ^ -1 * R "09" ^ 16 * -S ".eE"
  local other = R "09" * (R "09" + S ".eE+-") ^ 0
  local marked = lpeg.Cs((P '"' / '"s' * rest + long / '"i%0"' + other + 1) ^ 0)
  return json.decode(marked:match(text))
end

local HIGH = 1000000000000000 -- a sum of integers is so many times `high`, and `low`

-- The digits of a sum; nil where it is infinite.
local function total_of(high, low, floats)
  if floats == 0 then
    if high < 0 and low > 0 then high, low = high + 1, low - HIGH end
    return high == 0 and ("%d"):format(low) or ("%d%015d"):format(high, math.abs(low))
  end
  local total = high * 1e15 + low + floats
  local short = ("%.15g"):format(total)
  if math.abs(total) == math.huge then return nil end
  return tonumber(short) == total and short or ("%.17g"):format(total)
end

local function bad(why, index)
  local at = index and (',"index":%d'):format(index - 1) or ""
  return 400, ('{"error":%s%s}'):format(cjson.encode(why), at)
end

-- Integers of 64 bits are summed exactly, also where the total is none of these.
local function sum(body)
  local json, text = cjson.new(), body:sub(1, -1)
  json.decode_invalid_numbers(false)
  local ok, list = pcall(json.decode, text)
  if not ok and list:find "not enough memory" then return 413, '{"error":"out of memory"}' end
  if not ok then return bad("bad JSON: " .. list) end
  if not text:find "^%s*%[" then return bad "not an array" end
  local high, low, floats, exact = 0, 0, 0.0, nil
  for i, item in ipairs(list) do
    if type(item) ~= "table" then return bad("not an object", i) end
    local value = item.value
    if value == nil then return bad("no value", i) end
    if type(value) ~= "number" then return bad("value is not a number", i) end
    if math.abs(value) == math.huge then return bad("value is out of range", i) end
    if math.abs(value) >= 2 ^ 53 then -- it may have been rounded
      exact = exact or decode_exactly(json, text)
      local digits = exact[i].svalue
      value = type(digits) == "string" and tonumber((digits:sub(2))) or digits
    end
    local integer = math.tointeger(value)
    if integer then
      high, low = high + integer // HIGH, low + integer % HIGH
    else
      floats = floats + value
    end
  end
  local total = total_of(high + low // HIGH, low % HIGH, floats)
  if not total then return bad "the total is out of range" end
  return 200, ('{"count":%d,"total":%s}'):format(#list, total)
end

-- ---- The server ----

local port = tonumber(arg[1] or 8080)
if #arg > 1 or math.type(port) ~= "integer" or port < 0 or port > 65535 then
  io.stderr:write "usage: isolua examples/server.lua [PORT]\n"
  os.exit(1, true)
end

local pool = isolate.pool { name = "sum", timeout = JOB, queue = QUEUE, memory = "512MB" }
local stopping, stopped = false, false
local in_flight, one_done = 0, condition.new()

-- Waits until the requests before this one on its connection have been answered.
local function take_turn(stream)
  while stream.connection.pipeline:peek() ~= stream do stream.pipeline_cond:wait() end
end

local function answer(stream, status, text, field, value)
  take_turn(stream)
  local fields = headers.new()
  fields:append(":status", tostring(status))
  fields:append("content-type", "application/json")
  fields:append("content-length", tostring(#text))
  if field then fields:append(field, value) end
  if stopping or stream.state == "open" then fields:append("connection", "close") end
  local bare = stream.req_method == "HEAD"
  if stream:write_headers(fields, bare, IDLE) and not bare then
    stream:write_chunk(text, true, IDLE)
  end
end

-- Ends the connection of a request that was not read to its end. What still comes is thrown away
-- for a while: the kernel would drop the answer if that came to a closed socket.
local function hang_up(stream)
  if stream.state ~= "half closed (local)" then take_turn(stream) end -- else it had its turn
  local socket, deadline = stream.connection:take_socket(), cqueues.monotime() + 2
  if not socket then return end
  socket:onerror(function(_, _, reason) return reason end)
  while socket:xread(-65536, deadline - cqueues.monotime()) do end
  socket:close()
end

-- The size of the chunk that comes next, as the client has it, or nil where there is none.
-- lua-http would read a chunk whole, whatever its size.
local function next_chunk(stream)
  local socket = stream.connection.socket
  local line = stream.body_read_type == "chunked" and socket:xread("*L", IDLE)
  return line and socket:unget(line) and tonumber(line:match "^%x+" or "0", 16)
end

-- lua-http would have the whole rest of a body read before it gives a piece.
function h1.methods:read_body_by_length(length, timeout)
  return self.socket:xread(math.max(length, -65536), timeout)
end

-- Gives the body in a buffer: pieces are put into it as they come, and it is moved into the job. A
-- string would be joined and copied on the event loop's thread: 6 ms of 16 MB, instead of 2.
local function read_body(stream, fields)
  local length = fields:get "content-length" or "0"
  if not length:find "^%d+$" then return nil, 400, "bad Content-Length" end
  if tonumber(length) > BODY then return nil, 413, "body over 16 MB" end
  if fields:get "expect" == "100-continue" then stream:write_continue(IDLE) end
  local body, used = isolate.buffer(65536), 0
  while stream.state == "open" do
    if used + (next_chunk(stream) or 0) > BODY then return nil, 413, "body over 16 MB" end
    local piece = stream:get_next_chunk(IDLE)
    if not piece and stream.state == "open" then return nil, 400, "the body ends too soon" end
    local now_used = used + #(piece or "")
    if now_used > #body then body:resize(math.max(2 * #body, now_used)) end
    if now_used > used then body:set(used + 1, piece) end
    -- A client that is never waited for would keep the loop to itself.
    if now_used >> 18 > used >> 18 then cqueues.sleep(0) end
    used = now_used
  end
  body:resize(used)
  return body
end

local STATUS = { timeout = 504, memory = 413, cancelled = 503 } -- by the code of a job's error

local function post_sum(stream, fields)
  local body, problem, why = read_body(stream, fields)
  if not body then return answer(stream, problem, ('{"error":"%s"}'):format(why)) end
  local future = pool:try_submit(sum, isolate.transfer(body))
  if not future then return answer(stream, 503, '{"error":"busy"}', "retry-after", "1") end
  local ok, status, text = future:try()
  if ok then return answer(stream, status, text) end
  problem, status = status, STATUS[type(status) == "table" and status.code] or 500
  answer(stream, status, cjson.encode { error = tostring(problem) })
end

local function get_health(stream)
  local stats = pool:stats()
  answer(stream, 200, ('{"workers":%d,"busy":%d,"queued":%d,"done":%d,"failed":%d}'):format(
    stats.size, stats.busy, stats.queued, stats.done, stats.failed))
end

local ROUTES = { ["POST /sum"] = post_sum, ["GET /health"] = get_health }

local function respond(stream)
  local fields = stream:get_headers(IDLE)
  if not fields then
    return stream.state == "open" and answer(stream, 400, '{"error":"bad request"}')
  end
  local path = fields:get ":path" or ""
  local route = ROUTES[fields:get ":method" .. " " .. path:match "^[^?]*"]
  if route then return route(stream, fields) end
  answer(stream, 404, '{"error":"not found"}')
end

local function complain(_, _, what, reason)
  io.stderr:write(("%s: %s\n"):format(what, reason))
end

local loop = cqueues.new()
local server = assert(http.listen {
  cq = loop, host = "127.0.0.1", port = port, tls = false, version = 1.1,
  connection_setup_timeout = IDLE, intra_stream_timeout = IDLE, onerror = complain,
  onstream = function(_, stream)
    in_flight = in_flight + 1
    local ok, reason = pcall(respond, stream)
    if not ok then
      complain(nil, nil, "request", reason)
      pcall(answer, stream, 500, '{"error":"internal error"}')
    end
    if stream.state ~= "closed" then hang_up(stream) end
    in_flight = in_flight - 1
    one_done:signal()
  end,
})

-- Signals that are waited for have to be blocked, in main; isolates' threads block them anyway.
signal.block(signal.SIGTERM, signal.SIGINT)
local signals = signal.listen(signal.SIGTERM, signal.SIGINT)

loop:wrap(function()
  signals:wait()
  stopping = true
  server:pause()
  local deadline = cqueues.monotime() + PATIENCE
  cqueues.sleep(0.1) -- answers tell clients meanwhile to send no more
  server.socket:close()
  while in_flight > 0 and cqueues.monotime() < deadline do
    one_done:wait(deadline - cqueues.monotime())
  end
  stopped = true
end)

assert(server:listen())
print(("listening on http://127.0.0.1:%d"):format(select(3, server:localname())))
io.stdout:flush()
repeat
  local ok, reason = loop:step()
  if not ok then complain(nil, nil, "loop", reason) end
until stopped
pool:close(1)
