-- races.lua - what ends against what goes on, for TIME seconds; fails on a wrong result, on what is
-- left behind, and on a hang. Run by `make stress`; RACE=text: those named so.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/stress_.* 112/stress_.* 113/stress_.*

local core = require "isolate.core"
local isolate = require "isolate"

local TIME = tonumber(os.getenv "TIME" or "60")
-- Seconds that a wait may take: one that is longer has got lost.
local LIMIT = tonumber(os.getenv "LIMIT" or "60")

local rounds = 0

local function check(ok, ...)
  if ok then return ok, ... end
  error(table.concat({ "a race was lost:", tostring((...)) }, " "), 2)
end

-- Busy for up to 0.2 ms, so that the two sides meet in every order.
local function stagger(k)
  local stop = isolate.now() + k % 40 * 0.000005
  while isolate.now() < stop do end
end

local function gone(iso)
  local thing, message = isolate.select({ iso }, LIMIT)
  check(thing == iso, "an isolate does not end: " .. iso:status())
  return message
end

local races = {}

-- Messages arrive in order and without a gap, up to the one where the sender was killed.
races["kill against send"] = function(k)
  local rx, tx = isolate.port { capacity = ({ 4, 16, 64 })[k % 4] }
  local iso = isolate.spawn(function(t)
    for i = 1, math.huge do t:send(i % 7 == 0 and { i } or i) end
  end, tx)
  tx:close()
  stagger(k)
  iso:kill()
  local n = 0
  for v in rx:messages() do
    n = n + 1
    check((type(v) == "table" and v[1] or v) == n, "a message is missing")
  end
  check(gone(iso).status == "killed", "not killed")
end

-- A question is answered, or refused once the isolate has ended; none is lost.
races["look against kill"] = function(k)
  local iso = isolate.spawn(function(kind)
    if kind == 0 then require("isolate").inbox():receive() end
    while true do pcall(function() for _ = 1, 1000 do end end) end
  end, k % 3)
  local asked = {}
  for i = 1, 6 do
    asked[i] = core.inspect(iso, ({ "where", "traceback", "eval" })[i % 3 + 1], "1 + 1")
    if i == 3 then
      stagger(k)
      iso:kill()
    end
  end
  if k % 4 == 0 then asked[6]:cancel() end
  for i, future in ipairs(asked) do
    local ok, a, b = future:try(LIMIT)
    check(ok ~= nil, "a question is not answered")
    if ok and i % 3 == 2 then check(a == true and b == 2, "a wrong answer") end
  end
  check(gone(iso).status == "killed", "not killed")
end

-- Each message is received, or was still there when the receiver closed: the sender learns of it.
races["close against receive"] = function(k)
  local ch = isolate.channel(k % 3)
  local function take(c)
    local n = 0
    for _ in c:messages() do n = n + 1 end
    return n
  end
  local a, b = isolate.run(take, ch), isolate.run(take, ch)
  local sent = isolate.run(function(c)
    local n = 0
    while c:send(n) do n = n + 1 end
    return n
  end, ch)
  stagger(k)
  ch:close()
  local ok, n = sent:try(LIMIT)
  local ok_a, n_a = a:try(LIMIT)
  local ok_b, n_b = b:try(LIMIT)
  check(ok and ok_a and ok_b, "a loop does not end")
  check(n == n_a + n_b, ("%d sent, %d and %d received"):format(n, n_a, n_b))
end

races["close of a receiver against a send"] = function(k)
  local rx, tx = isolate.port { capacity = ({ 1, 16 })[k % 3] }
  local future = isolate.run(function(t)
    while true do
      local ok, why = t:send { "x" }
      if not ok then return why end
    end
  end, tx)
  tx:close()
  stagger(k)
  for _ = 1, k % 3 do rx:receive(LIMIT) end
  rx:close()
  local ok, why = future:try(LIMIT)
  check(ok and why == "closed", why)
end

-- The owner takes all that is queued at once, and each that it receives makes room: whoever waits
-- for that is told, in each way of waiting, and never is there more than the capacity.
races["room against senders that wait"] = function(k)
  local capacity, each = 16 + k % 3, 400
  local rx, tx = isolate.port { capacity = capacity }
  local function by_send(t, n)
    for i = 1, n do assert(t:send(i)) end
  end
  local function by_select(t, n)
    local iso = require "isolate"
    for i = 1, n do assert(iso.select { { t, i } }) end
  end
  local function by_task(t, n)
    local iso = require "isolate"
    local all = iso.async(function() for i = 1, n do assert(t:send({ i })) end end)
    all:await()
  end
  local futures = {}
  for i, fn in ipairs{ by_send, by_task, by_select } do futures[i] = isolate.run(fn, tx, each) end
  tx:close()
  local sum, n = 0, 0
  for v in rx:messages() do
    n, sum = n + 1, sum + (type(v) == "table" and v[1] or v)
    if n % 97 == 0 then stagger(k) end
    check(#rx <= capacity, "more than the capacity")
  end
  check(n == #futures * each and sum == #futures * each * (each + 1) // 2, "messages are missing")
  for _, f in ipairs(futures) do check(f:try(LIMIT)) end
end

races["pause against exit"] = function(k)
  local iso = isolate.spawn(function() isolate.sleep(0) end)
  for i = 1, 3 do
    stagger(k + i)
    local key = iso:pause(i)
    if key and i == 2 then iso:resume() end
  end
  local pinged, why = iso:ping { when = "idle", timeout = 0 }
  check(pinged or why == "closed" or why == "timeout", why)
  iso:resume()
  check(gone(iso).status == "done", "not done")
  check(select(2, iso:pause()) == "closed", "an isolate that ended was paused")
end

races["kill against pause and resume"] = function(k)
  local iso = isolate.spawn({ paused = k % 2 == 0 }, function() isolate.sleep(0.0001) end)
  local helper = isolate.spawn(function(i)
    for n = 1, 5 do
      i:pause(n)
      i:resume(n - 1)
    end
    i:resume()
  end, iso)
  stagger(k)
  iso:kill()
  local status = gone(iso).status
  check(status == "killed" or status == "done", status)
  gone(helper)
end

races["listener against end"] = function(k)
  local rx, tx = isolate.port()
  local iso = isolate.spawn({ on_error = k % 2 == 0 and tx or nil }, function(fails)
    if fails then error("expected", 0) end
  end, k % 2 == 0)
  stagger(k)
  iso:on_exit(tx, "first")
  iso:on_exit(tx, "value")
  tx:close()
  local n = 0
  for v in rx:messages() do
    if type(v) ~= "table" then n = n + 1 end
    check(v == "value" or v == "first" or v.error == "expected", "a strange message")
  end
  check(n == 1 or n == 2, n .. " exit messages")
  gone(iso)
end

-- A sender travels in a message to one that is closed: its port closes all the same.
races["transfer of a port against its close"] = function(k)
  local rx, tx = isolate.port()
  local inner_rx, inner_tx = isolate.port()
  local iso = isolate.spawn(function(r)
    stagger(r)
    for t in isolate.inbox():messages() do
      if r % 3 == 0 then return end
      t:send "got it"
      t:close()
    end
  end, k)
  iso:send(inner_tx)
  tx:send { inner_tx, inner_tx }
  inner_tx:close()
  stagger(k + 20)
  rx:close()
  if k % 2 == 0 then iso:kill() else iso = nil end
  for v in inner_rx:messages() do check(v == "got it", v) end
  if iso then gone(iso) end
end

-- Eight that start others and kill whatever they find.
races["isolates that spawn and kill one another"] = function(k)
  if k % 20 ~= 0 then return end
  stress_worker = function(n)
    for i = 1, 15 do
      local list = isolate.list()
      local other = list[(n * 7 + i * 3) % #list + 1]
      if other.name:find "^stress" then other:kill { grace = i % 2 * 0.01 } end
      isolate.spawn({ name = "stress child" }, function(m)
        for _ = 1, m do isolate.sleep(0) end
        while m % 3 == 0 do pcall(function() for _ = 1, 100 do end end) end
      end, i)
      other:ping(0.0001)
    end
  end
  for n = 1, 8 do isolate.spawn({ name = "stress " .. n }, stress_worker, n) end
  local deadline = isolate.now() + LIMIT
  while isolate.now() < deadline do
    local left
    for _, iso in ipairs(isolate.list()) do
      if iso.name:find "^stress" then
        left = true
        if iso.name == "stress child" then iso:kill() end
      end
    end
    if not left then return end
    isolate.sleep(0.001)
  end
  local left = {}
  for _, iso in ipairs(isolate.list()) do left[#left + 1] = iso.name .. ": " .. iso:status() end
  error("isolates are left: " .. table.concat(left, ", "))
end

-- Whatever is asked of an isolate that is killed, ends, or works meanwhile has an answer.
races["questions against kill, end and cancel"] = function(k)
  local iso = isolate.spawn(function(n)
    for i = 1, n do
      pcall(coroutine.wrap(function() for _ = 1, i do end end))
      if i % 7 == 0 then isolate.sleep(0) end
    end
    while n % 3 == 0 do pcall(function() for _ = 1, 100 do end end) end
  end, k % 30)
  local function ask(of, from)
    local inner, whats = require "isolate.core", { "where", "traceback", "eval" }
    for i = 1, 10 do
      local what = whats[(i + from) % 3 + 1]
      local endless = (i + from) % 6 == 2
      local future = inner.inspect(of, what, endless and "while true do end" or "1 + 1")
      if endless then future:cancel() end
      local ok, a, b = future:try(60)
      if ok == nil then error("no answer to " .. what, 0) end
      if ok and what == "eval" and not (a and b == 2) then error("a wrong result", 0) end
      if not ok and a.code ~= "closed" and not (endless and a.code == "cancelled") then
        error(a, 0)
      end
    end
  end
  local others = { isolate.run(ask, iso, 1), isolate.run(ask, iso, 2) }
  stagger(k)
  if k % 3 ~= 1 then ask(iso, k) end
  iso:kill()
  gone(iso)
  for _, future in ipairs(others) do check(future:try(LIMIT)) end
end

races["await against cancel and end"] = function(k)
  local future = isolate.run(function(n) for _ = 1, n do end return n end, k % 20 * 100)
  local waiting = isolate.async(function() return future:try(LIMIT) end)
  stagger(k)
  future:cancel()
  local ok, done, value = waiting:try(LIMIT)
  check(ok and (done or value.code == "cancelled"), "neither ended nor cancelled")
end

-- A buffer goes round a ring by moves, while one of the ring is killed: it is with one at a time,
-- and each finds what the one before wrote.
races["move of a buffer against a kill"] = function(k)
  local rx, tx = isolate.port { capacity = 1 }
  local function pass(input, output)
    for buf in input:messages() do
      buf:view("i64")[1] = buf:view("i64")[1] + 1
      output:send(isolate.transfer(buf))
    end
  end
  local all = {}
  local back_rx, back_tx = isolate.port { capacity = 1 }
  local next_tx = back_tx
  for i = 1, 3 do
    local started, tell = isolate.port()
    all[i] = isolate.spawn(function(out, say, work)
      local input, to_me = isolate.port { capacity = 1 }
      say:send(to_me)
      say:close()
      to_me:close()
      work(input, out)
    end, next_tx, tell, pass)
    tell:close()
    next_tx:close()
    next_tx = started:receive(LIMIT)
  end
  local n = 0
  local feeder = isolate.async(function()
    for i = 1, 20 do
      local buf = isolate.buffer(4096)
      buf:view("i64")[1] = i * 1000
      if not next_tx:send(isolate.transfer(buf)) then return #buf end
      check(not pcall(function() return #buf end), "a moved buffer is still here")
    end
    next_tx:close()
    return 4096
  end)
  local killer = isolate.async(function()
    isolate.sleep(k % 20 * 0.0001)
    if k % 2 == 0 then all[k % 3 + 1]:kill() end
  end)
  for buf in back_rx:messages() do
    n = n + 1
    check(buf:view("i64")[1] == n * 1000 + 3, "a buffer is missing, or was written by two")
  end
  check(feeder:await() == 4096, "a buffer that was not sent is not whole")
  killer:await()
  next_tx:close()
  for i = 1, 3 do gone(all[i]) end
  tx:close()
  rx:close()
end

-- Results that are moved go to one of those who ask at once; frozen ones to all.
races["readers of one result"] = function(k)
  local iso = isolate.spawn(function()
    local frozen = isolate.freeze { 1, { 2 } }
    return isolate.transfer(isolate.buffer "abc"), isolate.buffer "copy", frozen
  end)
  local function read(of)
    local ok, moved, copy, frozen = of:join()
    copy[1] = 88
    return ok and pcall(function() moved[1] = moved[1] + 1 end), copy:sub() == "Xopy", frozen[2][1]
  end
  local a, b = isolate.run(read, iso), isolate.run(read, iso)
  stagger(k)
  local got, copied, frozen = read(iso)
  local got_a, copied_a, frozen_a = a:await()
  local got_b, copied_b, frozen_b = b:await()
  check((got and 1 or 0) + (got_a and 1 or 0) + (got_b and 1 or 0) == 1, "it is not with one")
  check(copied and copied_a and copied_b, "a copy is not one's own")
  check(frozen == 2 and frozen_a == 2 and frozen_b == 2, "a frozen table is not the same")
end

-- However a consumer leaves, the values until then were in order, and the producer ends with its
-- `<close>` variables.
races["end of a stream's consumer against emit"] = function(k)
  local closed = isolate.atomic()
  local function produce(emit, cell)
    local _ <close> = setmetatable({}, { __close = function() cell:add(1) end })
    for i = 1, math.huge do emit(i) end
  end
  local opts = { window = k % 4 + 1, batch = k % 3 == 0 and 2 or nil }
  if k % 2 == 0 then
    local s = isolate.stream(opts, produce, closed)
    local n = 0
    for v in s:values() do
      n = n + 1
      check(v == n, "a value is missing")
      if n > k % 30 then break end
    end
  else
    local consumer = isolate.spawn(function(o, fn, cell)
      local n = 0
      for v in isolate.stream(o, fn, cell):map(function(x) return x end):values() do
        n = n + 1
        check(v == n, "a value is missing")
      end
    end, opts, produce, closed)
    stagger(k)
    if k % 8 == 1 then isolate.sleep(0.001) end
    consumer:kill()
    gone(consumer)
  end
  local deadline = isolate.now() + LIMIT
  if k % 2 == 0 then
    while closed:load() == 0 do
      check(isolate.now() < deadline, "the producer does not end")
      isolate.sleep(0.0002)
    end
  end
end

-- Jobs from several isolates, each of which comes back right, or with the end that was its own or
-- was done to it. Some kill their isolate, some are cancelled, some submit to the pool themselves.
local function submit_many(pool, from, n, with_kills)
  local iso = require "isolate"
  local function job(i)
    if i % 5 == 0 and with_kills then iso.self():kill() end
    if i % 7 == 0 then return 1 + pool:submit(function() return i - 1 end):await() end
    return i
  end
  local all, ended = {}, { right = 0, killed = 0, cancelled = 0, closed = 0 }
  for i = 1, n do
    local ok, future = pcall(pool.submit, pool, { priority = i % 3 }, job, i)
    if not ok then
      if future.code ~= "closed" then error(future, 0) end
      ended.closed = ended.closed + n - i + 1
      break
    end
    all[i] = future
    if i % 4 == 0 then all[(i * from) % i + 1]:cancel() end
  end
  for i, future in ipairs(all) do
    local ok, v = future:try(60)
    if ok == nil then error("a job is not settled: " .. i, 0) end
    local how = ok and v == i and "right" or not ok and v.code or "wrong: " .. tostring(v)
    if not ended[how] then error(how, 0) end
    ended[how] = ended[how] + 1
  end
  return ended
end

races["pool: submit against cancel, kills and close"] = function(k)
  local pool = isolate.pool { size = k % 3 + 1, queue = k % 5 + 1,
                              max_jobs = k % 4 == 1 and 3 or nil,
                              idle = k % 5 == 2 and 0 or nil, retries = k % 7 == 0 and 1 or nil }
  local n, from = 40, {}
  for i = 1, 3 do from[i] = isolate.run(submit_many, pool, i, n, k % 2 == 0) end
  local closes = k % 3
  for _ = 1, k % 10 do stagger(k) end
  if closes == 1 then pool:close(0) elseif closes == 2 then pool:cancel() end
  for i = 1, 3 do
    local ok, ended = from[i]:try(LIMIT)
    check(ok, ended)
    check(ended.right + ended.killed + ended.cancelled + ended.closed == n, "jobs are missing")
    check(closes > 0 or ended.closed == 0, "closed by nobody")
    check(closes > 0 or k % 2 == 0 or ended.killed == 0, "killed by nobody")
  end
  check(pool:close(LIMIT), "the pool does not get empty")
  local stats = pool:stats()
  check(stats.busy == 0 and stats.queued == 0, "jobs are left")
end

-- Where jobs are tiny they are left to who is busy: should that be kept by a longer one, another
-- takes them.
races["pool: tiny jobs against one that goes on"] = function(k)
  local pool = isolate.pool { size = k % 3 + 2, idle = k % 4 == 1 and 0.0005 or nil,
                              max_jobs = k % 5 == 2 and 7 or nil }
  local over = isolate.atomic()
  local function tiny(x) return x end
  local function goes_on(cell, waits)
    local iso = waits and require "isolate"
    repeat if iso then iso.sleep(0) end until cell:load() ~= 0
  end
  local function submit(n)
    local all = {}
    for i = 1, n do all[i] = pool:submit({ timeout = i % 7 == k % 7 and 60 or nil }, tiny, i) end
    return all
  end
  for round = 1, 5 do
    for _, f in ipairs(submit(k % 20 + 5)) do check(f:try(LIMIT)) end
    over:store(0)
    local before = submit(k % 6)
    local long = pool:submit(goes_on, over, (k + round) % 2 == 0)
    if k % 3 == 0 then stagger(k + round) end
    local after = submit(k % 30 + 1)
    for _, f in ipairs(before) do check(f:try(LIMIT)) end
    for i, f in ipairs(after) do
      local ok, value = f:try(LIMIT)
      check(ok and value == i, "a tiny job waits for one that goes on", value)
    end
    over:store(1)
    check(long:try(LIMIT))
  end
  check(pool:close(LIMIT), "the pool does not get empty")
end

-- Whoever finds an isolate of the pool kills it, while lists are worked through: no item is missing
-- or done by halves, or the error says why.
races["pool: map against kills of its isolates"] = function(k)
  local pool = isolate.pool { size = 2, retries = 1000, name = "stress pool" }
  local over = isolate.atomic()
  local killer = isolate.run(function(cell, r)
    local iso = require "isolate"
    while cell:load() == 0 do
      for i, other in ipairs(iso.list()) do
        if other.name:find "^stress pool" and i % 2 == r % 2 and other:status() ~= "starting" then
          other:kill()
        end
      end
      iso.sleep(0.0005 * (r % 5 + 1))
    end
  end, over, k)
  local list = {}
  for i = 1, 200 do list[i] = i end
  local ok, all = pcall(pool.map, pool, function(x) return 2 * x end, list)
  over:store(1)
  check(ok, all)
  for i = 1, 200 do check(all[i] == 2 * i, "an item is wrong") end
  check(killer:try(LIMIT))
  if k % 2 == 0 then check(pool:close(LIMIT)) end
end

-- All that the library keeps alive, once all handles are garbage.
local function counts()
  collectgarbage()
  collectgarbage()
  core.trim()
  return core.live()
end

local function is_back(before)
  local deadline = isolate.now() + LIMIT
  local left
  repeat
    left = {}
    for name, n in pairs(counts()) do
      if n > before[name] then left[#left + 1] = ("%s %d -> %d"):format(name, before[name], n) end
    end
    if #left == 0 then return end
    isolate.sleep(0.01)
  until isolate.now() > deadline
  error("left behind: " .. table.concat(left, ", "))
end

-- A thread of its own ends the program when a round takes too long.
local watchdog = isolate.spawn({ name = "watchdog" }, function(limit)
  local rx, last = isolate.inbox(), "the start"
  while true do
    local v, why = rx:receive(limit)
    if why == "timeout" then
      io.stderr:write("stress: hangs in ", last, "\n")
      os.execute("kill -KILL " .. io.open "/proc/self/stat":read "n")
    elseif why then
      return
    end
    last = v
  end
end, 3 * LIMIT)

local names = {}
for name in pairs(races) do
  if name:find(os.getenv "RACE" or "", 1, true) then names[#names + 1] = name end
end
table.sort(names)

isolate.run(function() end):await()
local before = counts()
local over, k = isolate.now() + TIME, 0
while isolate.now() < over do
  k = k + 1
  for _, name in ipairs(names) do
    watchdog:send(name)
    local ok, err = xpcall(races[name], debug.traceback, k)
    if not ok then error(("%s, round %d: %s"):format(name, k, err), 0) end
    rounds = rounds + 1
  end
  if k % 50 == 0 then is_back(before) end
end
is_back(before)
watchdog:kill()
print(("stress: %d rounds of %d races, no failure"):format(rounds, #names))
