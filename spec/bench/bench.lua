-- SPDX-License-Identifier: MIT
--- The speed of isolua, each figure beside its physical limit measured in the same run.
--   isolua spec/bench/bench.lua [--scale] [row…]
--   isolua spec/bench/bench.lua --round row size     one round, for rows that want a process
-- README.md here says what the rows are. ISOLUA_LIMITS and ISOLUA_EMBED name the programs `limits`
-- and `embed` where they do not stand beside the running executable.

local isolate = require "isolate"
local now = isolate.now or require "isolate.core".now

local ROUNDS = 7    -- of a figure where its row does not say, its limit's measured between them
local PAUSE = 0.01  -- seconds, as in limits.c
local BATCH = 1000  -- integers, as in limits.c

local function executable()
  local first = 0
  while arg[first - 1] do first = first - 1 end
  return arg[first]
end

local function beside_us(name)
  return (executable():match("^.*/") or "build/bin/") .. name
end

local LIMITS = ("'%s'"):format(os.getenv("ISOLUA_LIMITS") or beside_us("limits"))
local EMBED = ("'%s'"):format(os.getenv("ISOLUA_EMBED") or beside_us("embed"))

-- The value in the `name value unit` that the command prints.
local function figure_of(command)
  local pipe <close> = assert(io.popen(command))
  return assert(tonumber(pipe:read("a"):match("^%S+ (%S+)")), "no figure from " .. command)
end

local function median(samples)
  table.sort(samples)
  return samples[#samples // 2 + 1]
end

-- Seconds that fn(...) took, and its first result.
local function timed(fn, ...)
  local start = now()
  local result = fn(...)
  return now() - start, result
end

local function await(fn, ...)
  return isolate.run(fn, ...):await()
end

-- Functions that run in isolates: they have no upvalues.

local function one()
  return 1
end

local function length(value)
  return #value
end

local function right_array(t, size)
  local sum = 0
  for _, v in ipairs(t) do sum = sum + v end
  return #t == size and sum == size * (size + 1) // 2
end

local function right_records(t, size)
  for i, r in ipairs(t) do
    if r.id ~= i or r.name ~= "name" .. i or r.value ~= i * 0.5 then return false end
  end
  return #t == size
end

local function right_string(s, size)
  return s == ("x"):rep(size)
end

local function cpu_work(n)
  local sum = 0
  for i = 1, n do sum = sum + i % 7 end
  return sum
end

-- Functions that run in isolates that talk: their upvalues are the module and each other.

-- Sends back what comes, until nobody can send any more.
local function echo(back)
  local rx, tx = isolate.port()
  back:send(tx)
  tx:close()
  for v in rx:messages() do back:send(v) end
end

-- Says that it runs, and waits for leave.
local function arrive(tx)
  tx:send(0)
  return isolate.inbox():receive()
end

local function send_each(tx, size)
  arrive(tx)
  for i = 1, size do tx:send(i) end
end

local function send_batches(tx, size)
  arrive(tx)
  local list = {}
  for first = 0, size - 1, BATCH do
    for k = 1, BATCH do list[k] = first + k end
    tx:send(list)
  end
end

local function spin(tx)
  tx:send(0)
  while true do end
end

-- Has buffers moved to it, and moves them back.
local function echo_moved(back)
  local rx, tx = isolate.port()
  back:send(tx)
  tx:close()
  for buf in rx:messages() do back:send(isolate.transfer(buf)) end
end

-- Sends a field of record `i`, keeps all of them, and waits for leave.
local function read_record(records, i, tx)
  tx:send(records[i].name)
  return isolate.inbox():receive() and #records
end

-- Makers: given the size of the work, each returns the function that measures one round. It may be
-- followed by what is to be closed after the last round, or nil, and a function that measures the
-- limit, where that is no row of limits.c.

local function run_await(size)
  return function()
    local seconds = timed(function()
      for _ = 1, size do assert(await(one) == 1) end
    end)
    return seconds / size * 1e6
  end
end

-- Without `isolate.sleep` the pause is a read from `limits tick`: it blocks main in the kernel,
-- wants no isolate, burns no CPU and starts no process while it is measured. A ticker serves one
-- round, so that no ticks queue up between rounds.
local function run_idle(size)
  return function()
    local ticks <close> = not isolate.sleep and assert(io.popen(LIMITS .. " tick"))
    local samples = {}
    for i = 1, size do
      if ticks then ticks:read("l") else isolate.sleep(PAUSE) end
      local seconds, result = timed(await, one)
      assert(result == 1)
      samples[i] = seconds * 1e6
    end
    return median(samples)
  end
end

-- Sends what `make(size)` returns; `right` checks all of it, once, before anything is measured.
local function send(make, right)
  return function(size)
    local value = make(size)
    assert(await(right, value, size), "it arrived wrong")
    return function()
      collectgarbage()
      local seconds, result = timed(await, length, value)
      assert(result == size)
      return seconds * 1e3
    end
  end
end

local function make_array(size)
  local t = {}
  for i = 1, size do t[i] = i end
  return t
end

local function make_records(size)
  local t = {}
  for i = 1, size do t[i] = {id = i, name = "name" .. i, value = i * 0.5} end
  return t
end

local function make_string(size)
  return ("x"):rep(size)
end

local function cpu_two(size)
  local sum = cpu_work(size)
  return function()
    local in_turn = timed(function()
      assert(await(cpu_work, size) == sum and await(cpu_work, size) == sum)
    end)
    local at_once = timed(function()
      local a, b = isolate.run(cpu_work, size), isolate.run(cpu_work, size)
      assert(a:await() == sum and b:await() == sum)
    end)
    return in_turn / at_once
  end
end

-- A round in a process of its own, which `prefix` starts.
local function in_child(name, prefix)
  return function(size)
    local command = ("%s '%s' '%s' --round %s %d"):format(
      prefix or "", executable(), arg[0], name, size)
    return function() return figure_of(command) end
  end
end

-- The median of what so many processes print, beside that of a limit.
local function processes(command, limit)
  return function(size)
    local function of(line)
      return function()
        local samples = {}
        for i = 1, size do samples[i] = figure_of(line) end
        return median(samples)
      end
    end
    return of(command), nil, limit and of(limit)
  end
end

local function round_trip(size)
  return function()
    local rx, tx = isolate.port()
    local iso = isolate.spawn(echo, tx)
    local there = rx:receive()
    local seconds = timed(function()
      for i = 1, size do
        there:send(i)
        assert(rx:receive() == i)
      end
    end)
    there:close()
    assert(iso:join())
    return seconds / size * 1e6
  end
end

local function receive_each(rx, size)
  local sum = 0
  for _ = 1, size do sum = sum + rx:receive() end
  return sum
end

local function receive_batches(rx, size)
  local sum, left = 0, size
  while left > 0 do
    for _, list in ipairs(rx:receive_many(64)) do
      for k = 1, #list do sum = sum + list[k] end
      left = left - #list
    end
  end
  return sum
end

local function emit_each(emit, size)
  for i = 1, size do emit(i) end
end

-- Millions of integers a second through a stream with these options.
local function stream(opts)
  return function(size)
    return function()
      collectgarbage()
      local seconds, sum = timed(function()
        local sum = 0
        for v in isolate.stream(opts, emit_each, size):values() do sum = sum + v end
        return sum
      end)
      assert(sum == size * (size + 1) // 2)
      return size / seconds * 1e-6
    end
  end
end

-- Isolates that run `body(...)` and have all arrived.
local function gather(count, rx, body, ...)
  local all = {}
  for i = 1, count do all[i] = isolate.spawn(body, ...) end
  for _ = 1, count do assert(rx:receive() == 0) end
  return all
end

local function disperse(all)
  for _, iso in ipairs(all) do assert(iso:send(true)) end
  for _, iso in ipairs(all) do assert(iso:join()) end
end

-- Millions of integers a second, from so many senders, each of which runs `body`.
local function one_way(senders, body, receive)
  return function(size)
    local each = size // senders
    return function()
      local rx, tx = isolate.port()
      local all = gather(senders, rx, body, tx, each)
      local seconds, sum = timed(function()
        for _, iso in ipairs(all) do iso:send(true) end
        return receive(rx, each * senders)
      end)
      assert(sum == each * (each + 1) // 2 * senders)
      for _, iso in ipairs(all) do assert(iso:join()) end
      return each * senders / seconds * 1e-6
    end
  end
end

local function start_many(size)
  return function()
    collectgarbage()
    local rx, tx = isolate.port()
    local seconds, all = timed(gather, size, rx, arrive, tx)
    disperse(all)
    return seconds / size * 1e6
  end
end

-- The end is asked for by a message, and waited for.
local function end_many(size)
  return function()
    collectgarbage()
    local rx, tx = isolate.port()
    local seconds = timed(disperse, gather(size, rx, arrive, tx))
    return seconds / size * 1e6
  end
end

local function resident_kib()
  local file <close> = assert(io.open("/proc/self/status"))
  return tonumber(file:read("a"):match("VmRSS:%s*(%d+) kB"))
end

-- Right in a new process only, where nothing that was freed is used again.
local function idle_kib(size)
  return function()
    local before = resident_kib()
    local rx, tx = isolate.port()
    local all = gather(size, rx, arrive, tx)
    local after = resident_kib()
    disperse(all)
    return (after - before) / size
  end
end

local function kill(size)
  return function()
    local samples = {}
    for i = 1, size do
      local rx, tx = isolate.port()
      local iso = gather(1, rx, spin, tx)[1]
      local seconds, joined = timed(function()
        iso:kill()
        return {iso:join()}
      end)
      assert(joined[1] == false and joined[2].code == "killed")
      samples[i] = seconds * 1e3
    end
    return median(samples)
  end
end

-- Over `ports` ports of which the last has all the messages: the longest way to them.
local function select_of(ports)
  return function(size)
    return function()
      local all, tx = {}, {}
      for i = 1, ports do all[i], tx[i] = isolate.port() end
      for i = 1, size do tx[ports]:send(i) end
      local seconds = timed(function()
        for i = 1, size do
          local thing, value = isolate.select(all)
          assert(thing == all[ports] and value == i)
        end
      end)
      return seconds / size * 1e6
    end
  end
end

-- Seconds of an example on a file of `size` bytes, beside those of a command that prints the same.
local function example_on_file(example, command)
  return function(size)
    local path = os.tmpname()
    local file = setmetatable({}, {__close = function() os.remove(path) end})
    local made = os.execute(("yes 'some line' | head -c %d >'%s'"):format(size, path))
    if not made then
      os.remove(path)
      error("no room for a file in /tmp")
    end
    local root = arg[0]:match("^(.*/)") or ""
    local ours = ("'%s' '%s../../examples/%s' '%s'"):format(executable(), root, example[1], path)
    ours = ours:gsub("%.lua' ", "%0" .. (example[2] or "") .. " ")
    local lines = size // 10
    local function seconds_of(line)
      return timed(function()
        local pipe <close> = assert(io.popen(line))
        local text = pipe:read("a")
        assert(tonumber(text:match("%d+")) == lines, text)
      end)
    end
    return function() return seconds_of(ours) end, file,
      function() return seconds_of(("%s '%s'"):format(command, path)) end
  end
end

-- us to move a buffer of so many bytes, beside those to send an integer.
local function move(bytes)
  return function(size)
    local function trips(body, value, check)
      local rx, tx = isolate.port()
      local iso = isolate.spawn(body, tx)
      local there = rx:receive()
      local seconds = timed(function()
        for i = 1, size do
          there:send(value(i))
          check(rx:receive(), i)
        end
      end)
      there:close()
      assert(iso:join())
      return seconds / size / 2 * 1e6
    end
    local function moved()
      local buf = isolate.buffer(bytes)
      return trips(echo_moved, function(i)
        buf[1] = i & 0xFF
        return isolate.transfer(buf)
      end, function(back, i)
        assert(#back == bytes and back[1] == i & 0xFF)
        buf = back
      end)
    end
    local function sent()
      return trips(echo, function(i) return i end, function(back, i) assert(back == i) end)
    end
    return moved, nil, sent
  end
end

local function make_buffer(size)
  return isolate.buffer{size = size, fill = 120}
end

local function right_buffer(buf, size)
  return #buf == size and buf:count("x") == size
end

-- ns of each of the reads that `read(t, size)` does, of a frozen table beside a plain one.
local function frozen(make, read)
  return function(size)
    local plain = make()
    local function ns_of(t)
      return function()
        local seconds, right = timed(read, t, size)
        assert(right)
        return seconds / size * 1e9
      end
    end
    return ns_of(isolate.freeze(plain)), nil, ns_of(plain)
  end
end

local function read_field(t, size)
  local sum = 0
  for _ = 1, size do sum = sum + t.value end
  return sum == size * 3
end

local function read_index(t, size)
  local sum = 0
  for _ = 1, size // 1000 do
    for i = 1, 1000 do sum = sum + t[i] end
  end
  return sum == size // 1000 * 500500
end

local function read_pairs(t, size)
  local sum = 0
  for _ = 1, size // 1000 do
    for _, v in pairs(t) do sum = sum + v end
  end
  return sum == size // 1000 * 500500
end

local READERS = 8

-- Isolates that have `records` and each read one of them.
local function readers_of(records, size)
  local rx, tx = isolate.port()
  local all, names = {}, {}
  for i = 1, READERS do all[i] = isolate.spawn(read_record, records, i * size // READERS, tx) end
  for _ = 1, READERS do names[rx:receive()] = true end
  for i = 1, READERS do assert(names["name" .. i * size // READERS]) end
  return all
end

local function frozen_send(size)
  local plain = make_records(size)
  local shared = isolate.freeze(plain)
  local function ms_of(records)
    return function()
      collectgarbage()
      local seconds, all = timed(readers_of, records, size)
      disperse(all)
      return seconds * 1e3
    end
  end
  return ms_of(shared), nil, ms_of(plain)
end

-- Resident memory that each such isolate adds; right in a new process only.
local function readers_kib(prepare)
  return function(size)
    return function()
      local records = prepare(make_records(size))
      collectgarbage()
      local before = resident_kib()
      local all = readers_of(records, size)
      local after = resident_kib()
      disperse(all)
      return (after - before) / READERS
    end
  end
end

local function add_one(x)
  return x + 1
end

local IN_FLIGHT = 1000

-- Futures that are awaited in their order, so many behind.
local function pool_submit(size)
  local pool = isolate.pool(2)
  return function()
    local futures, sum = {}, 0
    local seconds = timed(function()
      for i = 1, size do
        local k = i % IN_FLIGHT
        if futures[k] then sum = sum + futures[k]:await() end
        futures[k] = pool:submit(add_one, i)
      end
      for _, future in pairs(futures) do sum = sum + future:await() end
    end)
    assert(sum == size * (size + 3) // 2)
    return size / seconds * 1e-6
  end, pool
end

local function pool_map(size)
  local pool, list = isolate.pool(2), {}
  for i = 1, size do list[i] = i end
  return function()
    local seconds, results = timed(pool.map, pool, add_one, list)
    for i = 1, size do assert(results[i] == i + 1) end
    return size / seconds * 1e-6
  end, pool
end

-- From submit to the result, one after another: that quantile of the times.
local function pool_latency(quantile)
  return function(size)
    local pool = isolate.pool(2)
    return function()
      local times = {}
      for i = 1, size do
        times[i] = timed(function() assert(pool:submit(add_one, i):await() == i + 1) end)
      end
      table.sort(times)
      return times[math.ceil(size * quantile)] * 1e6
    end, pool
  end
end

local function pool_cpu(size)
  local pool, sum = isolate.pool(2), cpu_work(size)
  return function()
    local in_turn = timed(function()
      for _ = 1, 2 do assert(pool:submit(cpu_work, size):await() == sum) end
    end)
    local at_once = timed(function()
      for _, result in ipairs(pool:map(cpu_work, {size, size})) do assert(result == sum) end
    end)
    return in_turn / at_once
  end, pool
end

-- A job with a buffer of so many bytes, until its length is back; moved buffers come back.
local function pool_bytes(moved)
  return function(size)
    local pool, jobs = isolate.pool(2), 100
    local function back(buf)
      local n = #buf
      return n, isolate.transfer(buf)
    end
    return function()
      local buf = isolate.buffer(size)
      return timed(function()
        for _ = 1, jobs do
          local n
          if moved then
            n, buf = pool:submit(back, isolate.transfer(buf)):await()
          else
            n = pool:submit(length, buf):await()
          end
          assert(n == size)
        end
      end) / jobs * 1e6
    end, pool
  end
end

-- Before examples/server.lua: says which process it is, and for comparison does jobs in its loop.
local PROCESS = [[print(io.open "/proc/self/stat":read "n")]]
local INLINE = PROCESS .. [[
  local isolate = require "isolate"
  function isolate.transfer(buf) return buf end
  local pool = {close = function() end}
  function pool:try_submit(fn, ...)
    local results = table.pack(true, fn(...))
    return {try = function() return table.unpack(results, 1, results.n) end}
  end
  function isolate.pool() return pool end
]]

-- Starts the server. Returns the requests of a body of `size` numbers that it answers in a second,
-- as a function, and one that ends it.
local function serve(prelude, size)
  local pipe = assert(io.popen(("'%s' -e '%s' examples/server.lua 0"):format(
    executable(), prelude)))
  local process, url = pipe:read "l", pipe:read "l":match "%S+$"
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write(([[wrk.method, wrk.body = "POST", "[" .. ('{"value":1},'):rep(%d) .. '{"value":1}]']])
    :format(size - 1))
  file:close()
  local command = ("wrk -t1 -c4 -d1s -s %s %s/sum 2>&1"):format(script, url)
  return function()
    local wrk <close> = assert(io.popen(command))
    local text = wrk:read "a"
    assert(not text:find "Non%-2xx" and not text:find "errors", text)
    return assert(tonumber(text:match "Requests/sec: +(%S+)"), text)
  end, function()
    os.execute("kill " .. process)
    pipe:close()
    os.remove(script)
  end
end

local function server(size)
  local pooled, end_pooled = serve(PROCESS, size)
  local inline, end_inline = serve(INLINE, size)
  return pooled, setmetatable({}, {__close = function()
    end_pooled()
    end_inline()
  end}), inline
end

-- The round of one maker, beside that of another one.
local function beside(maker, other)
  return function(size) return maker(size), nil, (other(size)) end
end

-- `reach` bounds the ratio from above, or from below where `more` is better, or the figure itself
-- where it is `absolute`, or by how much it is `over` the limit; rows whose cost follows the size
-- of the data are `scaled`. Only the long rows say how many `rounds`.
local rows = {
  {name = "run_await", unit = "us", limit = "thread_state", reach = 0.6,
   size = 500, maker = run_await},
  {name = "run_idle", unit = "us", limit = "wake", reach = 1.5,
   size = 50, maker = run_idle},
  {name = "embed_start", unit = "us", reach = 2,
   size = 20, maker = processes(EMBED, LIMITS .. " first_line")},
  {name = "native_round_trip", unit = "us", limit = "round_trip",
   size = 3, maker = processes(EMBED .. " native_round_trip")},
  {name = "pump_idle", unit = "ns", size = 3, maker = processes(EMBED .. " pump_idle")},
  {name = "pump_10k", unit = "us", size = 3, maker = processes(EMBED .. " pump_10k")},
  {name = "attach_detach", unit = "us", size = 3, maker = processes(EMBED .. " attach_detach")},
  {name = "send_array", unit = "ms", limit = "copy_array", reach = 0.8, scaled = true,
   size = 1000000, maker = send(make_array, right_array)},
  {name = "send_records", unit = "ms", limit = "copy_records", reach = 0.8, scaled = true,
   size = 100000, maker = send(make_records, right_records)},
  {name = "send_string", unit = "ms", limit = "string_100mb", reach = 0.5, scaled = true,
   size = 100000000, maker = send(make_string, right_string)},
  {name = "cpu_two", unit = "x", limit = "cpu_two", reach = 0.95, more = true,
   size = 10000000, maker = cpu_two},
  {name = "round_trip", unit = "us", limit = "round_trip", reach = 4,
   beside = {"round_trip_parked", "round_trip_eventfd"},
   size = 100000, maker = round_trip},
  {name = "round_trip_one_cpu", unit = "us", limit = "round_trip_one_cpu", reach = 1.7,
   size = 5000, maker = in_child("round_trip", LIMITS .. " pin")},
  {name = "one_way", unit = "M/s", limit = "one_way", reach = 0.5, more = true, scaled = true,
   beside = {"one_way_free"},
   size = 500000, maker = one_way(1, send_each, receive_each)},
  {name = "one_way_4", unit = "M/s", limit = "one_way_4", reach = 0.5, more = true, scaled = true,
   beside = {"one_way_4_free"},
   size = 400000, maker = one_way(4, send_each, receive_each)},
  {name = "batches", unit = "M/s", limit = "batches", reach = 20, absolute = true, more = true,
   size = 10000000, maker = one_way(1, send_batches, receive_batches), scaled = true},
  {name = "stream_1", unit = "M/s", size = 100000, maker = stream {window = 1}},
  {name = "stream_64", unit = "M/s", limit = "one_way", reach = 0.25, more = true,
   size = 500000, maker = stream {window = 64}},
  {name = "stream_1024", unit = "M/s", limit = "one_way", reach = 0.5, more = true,
   size = 500000, maker = stream {window = 1024}},
  {name = "stream_batched", unit = "M/s", limit = "batches", reach = 20, absolute = true,
   more = true, size = 10000000, maker = stream {batch = 1024}},
  {name = "start_1000", unit = "us", limit = "alive_start/10", reach = 1,
   size = 1000, maker = start_many},
  {name = "start_10000", unit = "us", limit = "alive_start", reach = 1, rounds = 3,
   size = 10000, maker = start_many},
  {name = "end_1000", unit = "us", limit = "alive_end/10",
   size = 1000, maker = end_many},
  {name = "end_10000", unit = "us", limit = "alive_end", rounds = 3,
   size = 10000, maker = end_many},
  {name = "idle_kib", unit = "KiB", limit = "alive_kib", reach = 1.15, rounds = 1,
   size = 10000, maker = in_child("idle_kib")},
  {name = "kill", unit = "ms", limit = "signalled",
   size = 20, maker = kill},
  {name = "select_1", unit = "us", limit = "poll_1",
   size = 10000, maker = select_of(1)},
  {name = "select_10", unit = "us", limit = "poll_10",
   size = 10000, maker = select_of(10)},
  {name = "select_100", unit = "us", limit = "poll_100",
   size = 2000, maker = select_of(100)},
  {name = "select_1000", unit = "us", limit = "poll_1000",
   size = 500, maker = select_of(1000)},
  {name = "wc_lines", unit = "s", reach = 1, rounds = 5,
   size = 1 << 31, maker = example_on_file({"wc.lua", "-l"}, "wc -l")},
  {name = "wc_all", unit = "s", rounds = 1,
   size = 1 << 31, maker = example_on_file({"wc.lua"}, "wc")},
  {name = "move_1k", unit = "us", reach = 5, over = true,
   size = 20000, maker = move(1 << 10)},
  {name = "move_1m", unit = "us", reach = 5, over = true,
   size = 20000, maker = move(1 << 20)},
  {name = "move_1g", unit = "us", reach = 5, over = true,
   size = 20000, maker = move(1 << 30)},
  {name = "copy_100mb", unit = "ms", limit = "memcpy_100mb", scaled = true,
   size = 100 << 20, maker = send(make_buffer, right_buffer)},
  {name = "frozen_field", unit = "ns",
   size = 1000000, maker = frozen(function() return {value = 3} end, read_field)},
  {name = "frozen_index", unit = "ns",
   size = 1000000, maker = frozen(function() return make_array(1000) end, read_index)},
  {name = "frozen_pairs", unit = "ns",
   size = 1000000, maker = frozen(function() return make_array(1000) end, read_pairs)},
  {name = "frozen_send_8", unit = "ms", rounds = 3,
   size = 1000000, maker = frozen_send},
  {name = "frozen_kib_8", unit = "KiB", rounds = 1,
   size = 1000000, maker = beside(in_child("frozen_kib_8"), in_child("plain_kib_8"))},
  {name = "pool_submit", unit = "M/s", reach = 0.5, absolute = true, more = true,
   size = 200000, maker = pool_submit, scaled = true},
  {name = "pool_map", unit = "M/s", limit = "jobs", reach = 0.6, more = true,
   size = 2000000, maker = pool_map, scaled = true},
  {name = "pool_p50", unit = "us", limit = "round_trip",
   size = 20000, maker = pool_latency(0.5)},
  {name = "pool_p99", unit = "us", limit = "round_trip_parked",
   size = 20000, maker = pool_latency(0.99)},
  {name = "pool_cpu", unit = "x", limit = "cpu_two", reach = 0.95, more = true,
   size = 10000000, maker = pool_cpu},
  {name = "pool_copy_1m", unit = "us", size = 1 << 20, maker = pool_bytes(false)},
  {name = "pool_move_1m", unit = "us", size = 1 << 20, maker = pool_bytes(true)},
  {name = "server_small", unit = "/s", rounds = 3, size = 2, maker = server},
  {name = "server_large", unit = "/s", rounds = 3, size = 20000, maker = server},
}

local makers_in_child = {
  round_trip = round_trip,
  idle_kib = idle_kib,
  frozen_kib_8 = readers_kib(isolate.freeze),
  plain_kib_8 = readers_kib(function(records) return records end),
}

local function reach_text(row, value, limit, reach)
  local reached = row.absolute and value or row.over and value - limit or value / limit
  local met = row.more and reached >= reach or not row.more and reached <= reach
  return ("   reach %s%.2f%s%s   %s"):format(row.more and ">=" or "<=", reach,
    (row.absolute or row.over) and " " .. row.unit or "", row.over and " over the limit" or "",
    met and "met" or "missed")
end

local function print_line(row, name, unit, value, limit, reach)
  local line = ("%-20s %9.2f %s"):format(name, value, unit)
  if limit then
    line = line .. ("   limit %9.2f   ratio %5.2f"):format(limit, value / limit)
  end
  if reach then line = line .. reach_text(row, value, limit, reach) end
  print(line)
  io.stdout:flush()
end

-- Measures and prints `row` at one part in `divisor` of its size; returns its figure and its limit.
local function measure(row, divisor)
  local part = divisor > 1 and "/" .. divisor or ""
  local round, _ <close>, limit_round = row.maker(row.size // divisor)
  local values, limits = {}, {}
  for i = 1, row.rounds or ROUNDS do
    limits[i] = row.limit and figure_of(LIMITS .. " " .. row.limit .. part) or
      limit_round and limit_round()
    values[i] = round()
  end
  local value, limit = median(values), limits[1] and median(limits)
  print_line(row, row.name .. part, row.unit, value, limit, row.reach)
  return value, limit
end

local function select_rows()
  local wanted, scale = {}, false
  for _, name in ipairs(arg) do
    if name == "--scale" then scale = true else wanted[#wanted + 1] = name end
  end
  if #wanted == 0 then return rows, scale end
  local by_name = {}
  for _, row in ipairs(rows) do by_name[row.name] = row end
  for i, name in ipairs(wanted) do
    wanted[i] = by_name[name] or error(("no row '%s'"):format(name), 0)
  end
  return wanted, scale
end

local function run_rows()
  local chosen, scale = select_rows()
  for _, row in ipairs(chosen) do
    local value, limit = measure(row, 1)
    for _, name in ipairs(row.beside or {}) do
      print_line(row, "  limit " .. name, row.unit, (figure_of(LIMITS .. " " .. name)))
    end
    collectgarbage()
    if scale and row.scaled then
      local tenth, tenth_limit = measure(row, 10)
      local growth = {more = row.more}
      print_line(growth, row.name .. "_growth", "x", value / tenth, limit / tenth_limit, 1)
    end
  end
end

if arg[1] == "--round" then
  print(("%s %.4f"):format(arg[2], makers_in_child[arg[2]](math.tointeger(arg[3]))()))
else
  run_rows()
end
