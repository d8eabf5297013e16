-- pool_spec.lua - isolate.pool: jobs, their ends, the queue, nested use, lists, handles, closing.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/spec_.* 112/spec_.* 113/spec_.* 122 142 211/_ENV 512 542

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"

local await, failure, eventually = settle.await, settle.failure, settle.eventually
local scale, limit = settle.scale, settle.limit

-- The pool of isolate.map stays.
isolate.map(function(x) return x end, { 1 })
it = live.checking(it)

local misuse = require "spec.support.misuse" "pool_spec"

-- The error object of a future that fails with the given code.
local function fails_with(code, future)
  local err = failure(future)
  assert.is_table(err, tostring(err))
  assert.equal(code, err.code)
  assert.equal(err.message, tostring(err))
  return err
end

-- `n` jobs that run until the channel is closed, which is returned with their futures.
local function block(pool, n)
  local gate, begun = isolate.channel(), isolate.atomic(0)
  local futures = {}
  for i = 1, n or 1 do
    futures[i] = pool:submit(function(ch, cell)
      cell:add(1)
      return (ch:receive())
    end, gate, begun)
  end
  assert.is_true(eventually(function() return begun:load() == (n or 1) end))
  return gate, futures
end

local function numbers(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

local function same_id() return isolate.self().id end

local function isolates_of(name)
  local n = 0
  for _, iso in ipairs(isolate.list()) do
    if iso.name:find(name .. "/", 1, true) == 1 then n = n + 1 end
  end
  return n
end

describe("isolate.pool()", function()
  it("runs jobs and gives all their results", function()
    local pool <close> = isolate.pool()
    assert.equal(3, (await(pool:submit(function(a, b) return a + b end, 1, 2))))
    local results = table.pack(await(pool:submit(function(...) return nil, ..., nil end, 1, nil)))
    assert.same({ n = 3, nil, 1, nil }, results)
    assert.equal(0, select("#", await(pool:submit(function() end))))
    assert.equal(4, (await(assert(pool:try_submit(math.max, 4, 2)))))
  end)

  it("runs each job once, whoever asks for it", function()
    local pool <close> = isolate.pool(2)
    local n = scale(5000, 500)
    local ran, futures = isolate.atomic(0), {}
    for i = 1, n do
      futures[i] = pool:submit(function(cell) cell:add(1) return i end, ran)
    end
    for i = n, 1, -1 do assert.equal(i, (await(futures[i]))) end
    assert.equal(n, ran:load())
  end)

  it("starts its isolates with the first jobs, and no more than its size", function()
    local pool <close> = isolate.pool { size = 2, name = "few" }
    assert.equal(0, isolates_of "few")
    await(pool:submit(function() end))
    assert.equal(1, isolates_of "few")
    local ids, futures = {}, {}
    for i = 1, 50 do futures[i] = pool:submit(same_id) end
    for i = 1, 50 do ids[await(futures[i])] = true end
    local n = 0
    for _ in pairs(ids) do n = n + 1 end
    assert.is_true(n <= 2)
    assert.is_true(isolates_of "few" <= 2)
  end)

  it("does not leave a job behind a long one, though all before were tiny", function()
    local pool <close> = isolate.pool(2)
    local stop = isolate.atomic(0)
    for round = 1, scale(100) do
      local tiny = {}
      for i = 1, 300 do
        tiny[i] = pool:submit(function(x) return x + 1 end, i)
        if i > 20 then assert.equal(i - 19, (await(tiny[i - 20]))) end
      end
      local long = pool:submit(function(cell, n) while cell:load() < n do end end, stop, round)
      assert.equal(round, (await(pool:submit(function(x) return x end, round))))
      stop:store(round)
      await(long)
    end
  end)

  it("has as many isolates as there are processors, without a size", function()
    local pool <close> = isolate.pool()
    assert.equal(require "isolate.core".cores(), pool:stats().size)
    local three <close> = isolate.pool(3)
    assert.equal(3, three:stats().size)
    local four <close> = isolate.pool { size = 4 }
    assert.equal(4, four:stats().size)
  end)

  it("takes the options of run for its isolates", function()
    local pool <close> = isolate.pool { size = 1, name = "odd", libs = { "string" },
                                        globals = "none", gc = "generational", strip = true }
    assert.same({ "nil", "table", "odd/1" }, { await(pool:submit(function()
      return type(os), type(string), require and "required" or "odd/1"
    end)) })
    assert.matches("attempt to call a nil value", failure(pool:submit(function()
      return spec_pool_none()
    end)))
  end)

  it("has its jobs see the globals that they name", function()
    spec_pool_factor = 6
    local pool <close> = isolate.pool(1)
    local future = pool:submit(function(n) return n * spec_pool_factor end, 7)
    spec_pool_factor = nil
    assert.equal(42, (await(future)))
    assert.is_nil((await(pool:submit(function() return rawget(_G, "spec_pool_factor") end))))
  end)

  it("has jobs wait, and run tasks and timers meanwhile", function()
    local pool <close> = isolate.pool(1)
    assert.same({ "timer", "task" }, { await(pool:submit(function()
      local rx, tx = isolate.port()
      isolate.after(0, function() tx:send "timer" end)
      local task = isolate.async(function() isolate.sleep(0) return "task" end)
      return rx:receive(), task:await()
    end)) })
  end)

  it("names its isolates and its jobs", function()
    local pool <close> = isolate.pool { size = 1, name = "workers" }
    assert.equal("workers/1", (await(pool:submit(function() return isolate.self().name end))))
    local err = fails_with("exited", pool:submit({ name = "the job" }, os.exit))
    assert.matches("job 'the job' ended without a result", err.message, 1, true)
    err = fails_with("exited", pool:submit(function() os.exit() end))
    assert.matches("job '[^']*pool_spec%.lua:%d+' ended", err.message)
  end)
end)

describe("a job's error", function()
  it("is raised at await as it was", function()
    local pool <close> = isolate.pool(1)
    assert.equal("as is", failure(pool:submit(function() error("as is", 0) end)))
    assert.same({ code = 7 }, failure(pool:submit(function() error { code = 7 } end)))
    assert.is_nil(failure(pool:submit(function() error(nil) end)))
    assert.equal(1, (await(pool:submit(function() return 1 end))))
  end)

  it("has the remote traceback", function()
    local pool <close> = isolate.pool(1)
    local function spec_inner() error "deep" end
    local future = pool:submit(function() spec_inner() end)
    local line = debug.getinfo(spec_inner, "S").linedefined
    assert.matches("pool_spec.lua:" .. line .. ": deep", failure(future), 1, true)
    assert.matches("pool_spec.lua:" .. line .. ": in ", future:traceback(), 1, true)
    assert.is_nil(pool:submit(function() end):traceback())
  end)

  it("is not_sendable for what cannot be sent, and nothing is queued", function()
    local pool <close> = isolate.pool(1)
    local ok, err = pcall(pool.submit, pool, function() end, { log = io.stdout })
    assert.is_false(ok)
    assert.equal("not_sendable", err.code)
    assert.matches("argument #1.log", err.message, 1, true)
    local file = io.stdout
    ok, err = pcall(pool.try_submit, pool, function() return file end)
    assert.is_false(ok)
    assert.matches("upvalue 'file'", err.message, 1, true)
    assert.equal(0, pool:stats().queued)
    err = fails_with("not_sendable", pool:submit(function() return { io.stdout } end))
    assert.matches("result #1[1]", err.message, 1, true)
    err = fails_with("not_sendable", pool:submit(function() error(io.stdout) end))
    assert.matches("file (", err.message, 1, true)
    assert.equal(1, (await(pool:submit(function() return 1 end))))
  end)

  it("is printed when nobody looks at it", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local pool = isolate.pool(1)
      pool:submit({ name = "lonely" }, function() error "unseen" end)
      pool:close()
    ]]
    assert.matches("uncaught error in job 'lonely': [^\n]*unseen", result.stderr)
    assert.matches("stack traceback", result.stderr, 1, true)
  end)
end)

describe("a pool's queue", function()
  it("is bounded: try_submit says full", function()
    local pool <close> = isolate.pool { size = 1, queue = 2 }
    local gate = block(pool)
    local a, b = pool:try_submit(same_id), pool:try_submit(same_id)
    assert.same({ nil, "full" }, { pool:try_submit(same_id) })
    assert.equal(2, pool:stats().queued)
    gate:close()
    assert.is_true(await(a) == await(b))
  end)

  it("keeps moved buffers with the sender when it is full", function()
    local pool <close> = isolate.pool { size = 1, queue = 1 }
    local gate = block(pool)
    local first = pool:submit(same_id)
    local buf = isolate.buffer "bytes"
    assert.same({ nil, "full" }, { pool:try_submit(function(b) return #b end,
                                                   isolate.transfer(buf)) })
    assert.equal("bytes", buf:sub())
    gate:close()
    await(first)
    assert.equal(5, (await(pool:submit(function(b) return #b end, isolate.transfer(buf)))))
    assert.is_false((pcall(function() return #buf end)))
  end)

  it("has submit wait, while other tasks run on", function()
    local pool <close> = isolate.pool { size = 1, queue = 1 }
    local gate = block(pool)
    local first = pool:submit(function() return 1 end)
    local order = {}
    local second = isolate.async(function()
      local future = pool:submit(function() return 2 end)
      order[#order + 1] = "submitted"
      return future:await()
    end)
    isolate.async(function()
      for _ = 1, 5 do isolate.sleep(0) end
      order[#order + 1] = "another task"
      gate:close()
    end):await()
    assert.same({ 1, 2 }, { await(first), (await(second)) })
    assert.same({ "another task", "submitted" }, order)
  end)

  it("has a body wait as well, and keeps the order", function()
    local pool <close> = isolate.pool { size = 1, queue = 4 }
    local list = {}
    for i = 1, 200 do list[i] = pool:submit(function() return i end) end
    for i = 1, 200 do assert.equal(i, (await(list[i]))) end
  end)

  it("has 1024 places for each isolate by default", function()
    local pool <close> = isolate.pool(1)
    local gate = block(pool)
    local futures = {}
    for i = 1, 1024 do futures[i] = assert(pool:try_submit(function() return i end)) end
    assert.same({ nil, "full" }, { pool:try_submit(same_id) })
    gate:close()
    for i = 1, 1024 do assert.equal(i, (await(futures[i]))) end
  end)

  it("forgets a job whose submitter was cancelled while it waited for room", function()
    local pool <close> = isolate.pool { size = 1, queue = 1 }
    local gate = block(pool)
    local ran = isolate.atomic(0)
    local first = pool:submit(same_id)
    local task = isolate.async(function()
      pool:submit(function(cell) cell:add(1) end, ran)
    end)
    isolate.sleep(0)
    task:cancel()
    fails_with("cancelled", task)
    gate:close()
    await(first)
    collectgarbage()
    pool:close()
    assert.is_true(ran:load() <= 1)
  end)

  for _, size in ipairs { 1, 2 } do
    it("gives jobs of a higher priority first, size " .. size, function()
      local pool <close> = isolate.pool(size)
      local gate = block(pool, size)
      local rx, tx = isolate.port()
      for i, priority in ipairs { 0, -128, 5, 127, 0, 5, -1 } do
        pool:submit({ priority = priority }, function(t, n) t:send(n) end, tx, i)
      end
      tx:close()
      if size == 1 then
        gate:close()
        local order = {}
        for v in rx:messages() do order[#order + 1] = v end
        assert.same({ 4, 3, 6, 1, 5, 7, 2 }, order)
      else
        gate:send(true) -- one of them goes on
        local order = {}
        for v in rx:messages() do order[#order + 1] = v end
        assert.same({ 4, 3, 6, 1, 5, 7, 2 }, order)
        gate:close()
      end
    end)
  end
end)

describe("a future of a pool", function()
  it("cancelled while its job is queued removes it, and makes room", function()
    local pool <close> = isolate.pool { size = 1, queue = 1 }
    local gate, blocked = block(pool)
    local ran = isolate.atomic(0)
    local job = pool:submit(function(cell) cell:add(1) end, ran)
    assert.is_nil((pool:try_submit(same_id)))
    job:cancel "not needed"
    assert.matches("not needed", fails_with("cancelled", job).message, 1, true)
    local next_job = assert(pool:try_submit(function() return "next" end))
    gate:close()
    await(blocked[1])
    assert.equal("next", (await(next_job)))
    assert.equal(0, ran:load())
  end)

  it("cancelled while its job is queued lets in one that waits for room", function()
    local pool <close> = isolate.pool { size = 1, queue = 1 }
    local gate = block(pool)
    local job = pool:submit(same_id)
    local waiting = isolate.async(function() return pool:submit(function() return 5 end) end)
    isolate.sleep(0)
    assert.is_false(waiting:done())
    job:cancel()
    local future = await(waiting)
    gate:close()
    assert.equal(5, (await(future)))
    fails_with("cancelled", job)
  end)

  it("cancelled while its job runs kills that, and no other is lost", function()
    local pool <close> = isolate.pool(1)
    local begun = isolate.atomic(0)
    local job = pool:submit(function(cell) cell:store(1) while true do end end, begun)
    local others = {}
    for i = 1, 20 do others[i] = pool:submit(function() return i end) end
    assert.is_true(eventually(function() return begun:load() == 1 end))
    job:cancel()
    fails_with("cancelled", job)
    for i = 1, 20 do assert.equal(i, (await(others[i]))) end
  end)

  it("cancelled at any moment harms no other job", function()
    local pool <close> = isolate.pool(2)
    local futures, n = {}, scale(600, 150)
    for i = 1, n do
      futures[i] = pool:submit(function() for _ = 1, i % 7 * 100 do end return i end)
      if i % 3 == 0 then futures[i - 2]:cancel() end
    end
    for i = 1, n do
      local ok, v = futures[i]:try(limit)
      if ok then
        assert.equal(i, v)
      else
        assert.equal(1, i % 3)
        assert.equal("cancelled", v.code)
      end
    end
  end)

  it("is a to-be-closed variable, and may be dropped", function()
    local pool <close> = isolate.pool(1)
    local begun, ran = isolate.atomic(0), isolate.atomic(0)
    do
      local _ <close> = pool:submit(function(cell) cell:store(1) while true do end end, begun)
      assert.is_true(eventually(function() return begun:load() == 1 end))
    end
    for _ = 1, 10 do pool:submit(function(cell) cell:add(1) end, ran) end
    collectgarbage()
    pool:close()
    assert.equal(10, ran:load())
  end)

  it("goes with all, race, as_completed, select and on_done", function()
    local pool <close> = isolate.pool(2)
    local list = {}
    for i = 1, 5 do list[i] = pool:submit(function() return i end) end
    assert.same({ 1, 2, 3, 4, 5 }, (await(isolate.all(list))))
    local sum = 0
    for _, ok, v in isolate.as_completed(list) do sum = sum + (ok and v or 0) end
    assert.equal(15, sum)
    local endless = pool:submit(function() while true do end end)
    assert.equal("quick", (await(isolate.race { endless, pool:submit(function()
      return "quick"
    end) })))
    fails_with("cancelled", endless)
    local f = pool:submit(function() return "picked" end)
    local thing, v = isolate.select({ f }, limit)
    assert.is_true(thing == f and v == "picked")
    local rx, tx = isolate.port()
    f:on_done(function(ok, value) tx:send { ok, value } end)
    assert.same({ true, "picked" }, rx:receive(limit))
  end)
end)

describe("a job that dies", function()
  local deaths = {
    ["by os.exit"] = { "exited", function() os.exit() end },
    ["by isolate.exit"] = { "exited", function() isolate.exit() end },
    ["by a kill from inside"] = { "killed", function() isolate.self():kill() end },
    ["of its memory"] = { "memory", function()
      local t = {}
      while true do t[#t + 1] = ("x"):rep(1000) .. #t end
    end },
    ["in a task that it waits for"] = { "exited", function()
      isolate.async(function() os.exit() end):await()
    end },
  }
  for how, case in pairs(deaths) do
    it(how .. " fails its future alone", function()
      local pool <close> = isolate.pool { size = 1, memory = "8MB" }
      local before = await(pool:submit(same_id))
      local job = pool:submit({ name = "doomed" }, case[2])
      local after = {}
      for i = 1, 10 do after[i] = pool:submit(function() return i, isolate.self().id end) end
      local err = fails_with(case[1], job)
      assert.matches("job 'doomed'", err.message, 1, true)
      for i = 1, 10 do
        local v, id = await(after[i])
        assert.equal(i, v)
        if case[1] ~= "memory" then assert.not_equal(before, id) end
      end
    end)
  end

  it("over its own time or that of the pool fails with timeout", function()
    local pool <close> = isolate.pool { size = 1, timeout = 0.05 }
    local function endless() while true do end end
    local a, b = pool:submit(endless), pool:submit({ timeout = 0.02 }, endless)
    local c = pool:submit(function() return "quick" end)
    local long = pool:submit({ timeout = 100 }, function() isolate.sleep(0.2) return "long" end)
    assert.matches("ran over its time", fails_with("timeout", a).message, 1, true)
    fails_with("timeout", b)
    assert.equal("quick", (await(c)))
    assert.equal("long", (await(long)))
  end)

  it("has its time counted from when it runs, each for itself", function()
    local pool <close> = isolate.pool { size = 1, timeout = scale(0.4, 4) }
    local futures = {}
    for i = 1, 8 do
      futures[i] = pool:submit(function(s) isolate.sleep(s) return i end, scale(0.1, 1))
    end
    for i = 1, 8 do assert.equal(i, (await(futures[i]))) end
  end)

  it("may catch the memory error, as in Lua", function()
    local pool <close> = isolate.pool { size = 1, memory = "8MB" }
    assert.matches("not enough memory", (await(pool:submit(function()
      local ok, err = pcall(string.rep, "x", 100000000)
      return not ok and err
    end))))
  end)

  it("by a kill from outside fails with killed", function()
    local pool <close> = isolate.pool(1)
    local rx, tx = isolate.port()
    local job = pool:submit(function(t) t:send(isolate.self()) while true do end end, tx)
    rx:receive(limit):kill()
    fails_with("killed", job)
    assert.equal(1, (await(pool:submit(function() return 1 end))))
  end)

  it("while its isolate is idle is nobody's error", function()
    local pool <close> = isolate.pool { size = 2, name = "victims" }
    for round = 1, 20 do
      local iso = await(pool:submit(function() return isolate.self() end))
      iso:kill()
      iso:join(limit)
      assert.equal(round, (await(pool:submit(function() return round end))))
    end
  end)

  it("runs the <close> variables of its function", function()
    local pool <close> = isolate.pool(1)
    local closed = isolate.atomic(0)
    local job = pool:submit({ timeout = 0.05 }, function(cell)
      local _ <close> = setmetatable({}, { __close = function() cell:store(1) end })
      while true do end
    end, closed)
    fails_with("timeout", job)
    assert.is_true(eventually(function() return closed:load() == 1 end))
  end)

  it("every hundredth of many costs exactly those", function()
    local pool <close> = isolate.pool(2)
    local n = scale(100000, 3000)
    local futures = {}
    for i = 1, n do
      futures[i] = pool:submit(function()
        if i % 100 == 0 then isolate.self():kill() end
        return i
      end)
    end
    local right, wrong = 0, 0
    for i = 1, n do
      local ok, v = futures[i]:try(limit)
      if ok and v == i then
        right = right + 1
      elseif not ok and v.code == "killed" and i % 100 == 0 then
        wrong = wrong + 1
      end
    end
    assert.same({ n - n // 100, n // 100 }, { right, wrong })
    pool:close()
    local stats = pool:stats()
    assert.same({ right, wrong }, { stats.done, stats.failed })
  end)
end)

describe("nested use of a pool", function()
  local function nest(pool, depth)
    if depth == 0 then return 0 end
    return 1 + pool:submit(nest, pool, depth - 1):await()
  end

  it("cannot deadlock, several levels deep", function()
    local pool <close> = isolate.pool(1)
    assert.equal(6, (await(pool:submit(nest, pool, 6))))
    local two <close> = isolate.pool(2)
    local futures = {}
    for i = 1, 6 do futures[i] = two:submit(nest, two, 4) end
    for i = 1, 6 do assert.equal(4, (await(futures[i]))) end
  end)

  it("cannot deadlock by map and reduce", function()
    local pool <close> = isolate.pool(1)
    assert.same({ 6, 12 }, (await(pool:submit(function(p)
      return p:map(function(x)
        return p:reduce(function(a, b) return a + b end, { x, 2 * x, 3 * x })
      end, { 1, 2 })
    end, pool))))
    assert.same({ { 2, 3 }, { 4, 5 } }, pool:map(function(row)
      return pool:map(function(x) return x + 1 end, row)
    end, { { 1, 2 }, { 3, 4 } }))
  end)

  it("cannot deadlock by select, race, tasks and coroutines", function()
    local pool <close> = isolate.pool(1)
    assert.same({ 1, 2, 3, 4 }, { await(pool:submit(function(p)
      local function job(n) return p:submit(function() return n end) end
      local _, one = isolate.select { job(1) }
      local two = isolate.race { job(2) }:await()
      local three = isolate.async(function() return job(3):await() end):await()
      local four = coroutine.wrap(function() return job(4):await() end)()
      return one, two, three, four
    end, pool)) })
  end)

  it("cannot deadlock when a task or a timer waits, and the body for that", function()
    local pool <close> = isolate.pool(1)
    assert.same({ 1, 2, 3 }, { await(pool:submit(function(p)
      local function job(n) return p:submit(function() return n end) end
      local rx, tx = isolate.port()
      isolate.async(function() tx:send((job(1):await())) end)
      local one, two = (rx:receive()), nil
      isolate.after(0, function() two = job(2):await() end)
      while not two do isolate.sleep(0.001) end
      return one, two, isolate.stream(function(emit) emit((job(3):await())) end):first()
    end, pool)) })
  end)

  it("cannot deadlock when the queue is full", function()
    local pool <close> = isolate.pool { size = 1, queue = 1 }
    local futures = {}
    for i = 1, 8 do
      futures[i] = pool:submit(function(p)
        local sum = 0
        for k = 1, 5 do sum = sum + p:submit(function() return k end):await() end
        return sum + i
      end, pool)
    end
    for i = 1, 8 do assert.equal(15 + i, (await(futures[i]))) end
  end)

  it("cannot deadlock through another isolate or another pool", function()
    local pool <close> = isolate.pool(1)
    assert.equal(42, (await(pool:submit(function(p)
      return (isolate.run(function(q) return (q:submit(function() return 42 end):await()) end,
        p):await())
    end, pool))))
    local other <close> = isolate.pool(1)
    assert.equal(43, (await(pool:submit(function(p, o)
      return (o:submit(function(q) return (q:submit(function() return 43 end):await()) end,
        p):await())
    end, pool, other))))
  end)

  it("runs no job on the stack of one that waits", function()
    local pool <close> = isolate.pool(1)
    local outer, inner = await(pool:submit(function(p)
      return isolate.self().id, p:submit(function() return isolate.self().id end):await()
    end, pool))
    assert.not_equal(outer, inner)
  end)

  it("ends the isolates that it made up with", function()
    local pool <close> = isolate.pool { size = 1, name = "extra" }
    assert.equal(5, (await(pool:submit(nest, pool, 5))))
    assert.is_true(eventually(function() return isolates_of "extra" <= 2 end))
    local ok, err = pcall(function() return await(pool:submit(same_id)) end)
    assert.is_true(ok, err)
  end)

  it("goes on however soon the isolates that it made up with die", function()
    local pool <close> = isolate.pool(1)
    local n = scale(500, 100)
    assert.equal(n, (await(pool:submit(function(p)
      local killed = 0
      for _ = 1, n do
        local _, err = p:submit(function() isolate.self():kill() end):try()
        if err.code == "killed" then killed = killed + 1 end
      end
      return killed
    end, pool))))
  end)

  it("may cancel what it waits for, and be cancelled", function()
    local pool <close> = isolate.pool(1)
    local begun = isolate.atomic(0)
    local job = pool:submit(function(p, cell)
      local inner = p:submit(function(c) c:store(1) while true do end end, cell)
      inner:await()
    end, pool, begun)
    assert.is_true(eventually(function() return begun:load() == 1 end))
    job:cancel()
    fails_with("cancelled", job)
    pool:cancel() -- the inner one has no future any more
  end)
end)

describe("a job", function()
  it("leaves the globals as they were", function()
    local pool <close> = isolate.pool(1)
    local function look()
      return rawget(_G, "spec_pool_new"), type(print), type(table), getmetatable(_G),
        _G.spec_pool_other, string.rep("x", 2), tostring(1), next(_G) ~= nil
    end
    local before = table.pack(await(pool:submit(look)))
    for _, job in ipairs {
      function() spec_pool_new = 1 for i = 1, 100 do _G["spec_pool" .. i] = i end end,
      function() _G.print = nil _G.table = "gone" _G.tostring = function() end end,
      function() local g = _G for name in next, g do g[name] = nil end end,
      function() setmetatable(_G, { __index = function(_, name) return name end }) end,
      function()
        setmetatable(_G, { __newindex = error, __metatable = false, __len = error })
        rawset(_G, "spec_pool_new", true)
      end,
      function() _G[1], _G[true], _G[1.5], _G._G = 1, 2, 3, nil end,
    } do
      local id = await(pool:submit(same_id))
      await(pool:submit(job))
      assert.equal(id, (await(pool:submit(same_id))))
      local after = table.pack(await(pool:submit(look)))
      assert.same(before, after)
      assert.same({ true, true, true, true }, { await(pool:submit(function()
        return _G == _ENV, _G[1] == nil, _G[true] == nil, _G[1.5] == nil
      end)) })
    end
  end)

  it("leaves them so when it fails, too", function()
    local pool <close> = isolate.pool(1)
    failure(pool:submit(function() spec_pool_new = 1 error "after" end))
    assert.is_nil((await(pool:submit(function() return rawget(_G, "spec_pool_new") end))))
  end)

  it("has its own upvalues", function()
    local pool <close> = isolate.pool(1)
    local count = 0
    local function increment() count = count + 1 return count end
    for i = 1, 5 do
      assert.equal(count + 1, (await(pool:submit(increment))))
      count = i * 10
    end
    local futures = {}
    for i = 1, 100 do
      local own = { i }
      futures[i] = pool:submit(function() own[1] = own[1] + 1 return own[1] end)
    end
    for i = 1, 100 do assert.equal(i + 1, (await(futures[i]))) end
  end)

  it("keeps loaded modules", function()
    local pool <close> = isolate.pool(1)
    local function load_it()
      local m = require "spec.support.mod_fields"
      local before = m.spec_mark
      m.spec_mark = true
      return before
    end
    assert.is_nil((await(pool:submit(load_it))))
    assert.is_true((await(pool:submit(load_it))))
  end)

  it("leaves no hook behind", function()
    local pool <close> = isolate.pool(1)
    for _, mask in ipairs { "c", "l", "r" } do
      local ok, err = pool:submit(function()
        debug.sethook(function() error "hooked" end, mask)
      end):try(limit)
      if not ok then assert.matches("hooked", err) end
      assert.equal(3, (await(pool:submit(function() local n = 0 for i = 1, 2 do n = n + i end
        return n end))))
    end
  end)

  it("leaves its messages to no other job", function()
    local pool <close> = isolate.pool { size = 1 }
    local handles, tx = isolate.port()
    local go = isolate.atomic(0)
    local job = pool:submit(function()
      tx:send(isolate.self())
      repeat isolate.sleep(0.001) until go:load() == 1
      return isolate.inbox():receive()
    end)
    local function look() return isolate.inbox():try_receive() end
    local after = pool:submit(look)
    local self = handles:receive(limit)
    for i = 1, 3 do self:send(i) end
    go:store(1)
    assert.equal(1, (await(job)))
    assert.is_nil((await(after)))
    assert.is_nil((await(pool:submit(look))))
  end)

  it("leaves tasks, timers and handlers that disturb nobody", function()
    local pool <close> = isolate.pool { size = 1, name = "left" }
    local ticks, rx, tx = isolate.atomic(0), isolate.port()
    for _, leave in ipairs {
      function(cell) isolate.every(0.001, function() cell:add(1) end) end,
      function(cell)
        isolate.async(function() while true do isolate.sleep(0) cell:add(1) end end)
      end,
      function() isolate.async(function() isolate.sleep(0.001) os.exit() end) end,
      function() isolate.async(function() isolate.sleep(0.001) error "left" end) end,
      function() isolate.after(0.001, function() error "late" end) end,
      function(_, t)
        local r, own = isolate.port()
        r:on_message(function() error "handled" end)
        t:send(own)
      end,
    } do
      local job = pool:submit(leave, ticks, tx)
      local after = {}
      for i = 1, 5 do
        after[i] = pool:submit(function()
          isolate.sleep(0.002)
          spec_pool_count = (spec_pool_count or 0) + 1
          return i, spec_pool_count
        end)
      end
      await(job)
      local own = rx:try_receive()
      if own then own:send(1) own:close() end
      for i = 1, 5 do assert.same({ i, 1 }, { await(after[i]) }) end
    end
    local last -- whatever ticked has ended
    assert.is_true(eventually(function()
      local now = ticks:load()
      local same = now == last
      last = now
      return same
    end))
    tx:close()
    rx:close()
  end)

  it("is failed by an uncaught error in its task", function()
    local pool <close> = isolate.pool(1)
    local job = pool:submit(function()
      isolate.async(function() error("in a task", 0) end)
      isolate.sleep(0.01)
      collectgarbage()
      isolate.sleep(0.01)
      return "the end"
    end)
    local ok, err = job:try(limit)
    assert.is_false(ok)
    assert.equal("in a task", tostring(err))
    assert.equal(1, (await(pool:submit(function() return 1 end))))
  end)

  it("moves buffers in and out, and shares frozen values", function()
    local pool <close> = isolate.pool(2)
    local buf = isolate.buffer(1000000)
    local frozen = isolate.freeze { 1, { 2 } }
    local back, same = await(pool:submit(function(b, f)
      b[1] = 65
      return isolate.transfer(b), f
    end, isolate.transfer(buf), frozen))
    assert.equal(65, back[1])
    assert.is_true(same == frozen)
    assert.is_false((pcall(function() return buf[1] end)))
  end)
end)

describe("option init of a pool", function()
  it("runs once in each isolate, and its globals stay", function()
    local runs = isolate.atomic(0)
    local pool <close> = isolate.pool { size = 2, init = function()
      runs:add(1)
      spec_pool_ready = { n = 5 }
      setmetatable(_G, { __index = function(_, k) return "no " .. k end })
    end }
    for i = 1, 20 do
      local n, other = await(pool:submit(function()
        local v = spec_pool_ready.n
        spec_pool_ready = nil
        setmetatable(_G, nil)
        return v
      end))
      assert.same({ 5, nil }, { n, other })
      assert.equal("no spec_pool_x" .. i, (await(pool:submit(function()
        return _G["spec_pool_x" .. i]
      end))))
    end
    assert.is_true(runs:load() <= 2)
  end)

  it("may be a module", function()
    local pool <close> = isolate.pool { size = 1, init = "spec.support.mod_init" }
    assert.is_true((await(pool:submit(function()
      return package.loaded["spec.support.mod_init"] ~= nil
    end))))
  end)

  for how, init in pairs {
    ["raises"] = function() error("no init", 0) end,
    ["calls os.exit"] = function() os.exit() end,
    ["calls isolate.exit"] = function() isolate.exit() end,
    ["kills its isolate"] = function() isolate.self():kill() end,
    ["takes all memory"] = function() string.rep("x", 100000000) end,
  } do
    it("that " .. how .. " fails each job, and does not go on for ever", function()
      local starts = isolate.atomic(0)
      local pool <close> = isolate.pool { size = 2, memory = "8MB", init = function()
        starts:add(1)
        init()
      end }
      local futures = {}
      for i = 1, 6 do futures[i] = pool:submit(function() return i end) end
      for i = 1, 6 do
        local ok, err = futures[i]:try(limit)
        assert.is_false(ok)
        if how == "raises" then assert.equal("no init", err) end
      end
      pool:close()
      assert.is_true(starts:load() <= 16)
    end)
  end

  it("that cannot be sent or found is an error", function()
    local file = io.stdout
    local ok, err = pcall(isolate.pool, { init = function() return file end })
    assert.is_false(ok)
    assert.equal("not_sendable", err.code)
    local pool <close> = isolate.pool { size = 1, init = "spec.no_such_module" }
    assert.matches("spec.no_such_module", failure(pool:submit(function() end)), 1, true)
  end)

  it("that fails at times fails jobs at those times only", function()
    local starts = isolate.atomic(0)
    local pool <close> = isolate.pool { size = 1, max_jobs = 1, init = function()
      if starts:add(1) % 2 == 1 then error("odd", 0) end
    end }
    local good, bad = 0, 0
    for i = 1, 10 do
      local ok, v = pool:submit(function() return i end):try(limit)
      if ok and v == i then good = good + 1 elseif v == "odd" then bad = bad + 1 end
    end
    assert.equal(10, good + bad)
    assert.is_true(good >= 4 and bad >= 4)
  end)
end)

describe("option", function()
  it("idle ends isolates that have nothing to do", function()
    local pool <close> = isolate.pool { size = 2, idle = 0.02, name = "sleepy" }
    for i = 1, 3 do
      assert.equal(i, (await(pool:submit(function() return i end))))
      assert.is_true(eventually(function() return isolates_of "sleepy" == 0 end))
    end
    local at_once <close> = isolate.pool { size = 1, idle = 0 }
    for i = 1, 50 do assert.equal(i, (await(at_once:submit(function() return i end)))) end
  end)

  it("max_jobs has an isolate replaced after so many", function()
    local pool <close> = isolate.pool { size = 1, max_jobs = 3 }
    local ids, futures, n = {}, {}, 0
    for i = 1, 12 do futures[i] = pool:submit(same_id) end
    for i = 1, 12 do
      local id = await(futures[i])
      if not ids[id] then n = n + 1 end
      ids[id] = (ids[id] or 0) + 1
    end
    assert.equal(4, n)
    for _, count in pairs(ids) do assert.equal(3, count) end
  end)

  it("retries runs a job again whose isolate died", function()
    local pool <close> = isolate.pool { size = 1, retries = 2 }
    local tries = isolate.atomic(0)
    local function job(cell, deaths, list)
      list[#list + 1] = cell:add(1)
      if cell:load() <= deaths then isolate.self():kill() end
      return #list
    end
    assert.equal(3, (await(pool:submit(job, tries, 2, { "a", "b" }))))
    assert.equal(3, tries:load())
    tries:store(0)
    fails_with("killed", pool:submit(job, tries, 10, {}))
    assert.equal(3, tries:load())
    tries:store(0)
    fails_with("timeout", pool:submit({ timeout = 0.02 }, function(cell)
      cell:add(1)
      while true do end
    end, tries))
    assert.equal(1, tries:load())
    tries:store(0)
    assert.equal("own", failure(pool:submit(function(cell) cell:add(1) error("own", 0) end, tries)))
    assert.equal(1, tries:load())
    local exits = isolate.atomic(0)
    assert.equal(1, (await(pool:submit(function(cell)
      if cell:add(1) == 1 then os.exit() end
      return cell:load() - 1
    end, exits))))
  end)

  it("may be as large as integers are", function()
    for _, size in ipairs { math.maxinteger, 1 << 62, 1 << 32 } do
      local pool <close> = isolate.pool { size = size, retries = size, idle = 0 }
      assert.same({ "1", "2", "3" }, pool:map(tostring, { 1, 2, 3 }))
      assert.equal(6, pool:reduce(function(a, b) return a + b end, { 1, 2, 3 }))
      assert.equal(5, (await(pool:submit(function(cell)
        if cell:add(1) < 5 then isolate.self():kill() end
        return cell:load()
      end, isolate.atomic(0)))))
    end
  end)

  it("on_exit, paused and on_error are refused, unknown ones named", function()
    local _, tx = isolate.port()
    assert.matches("on_exit", misuse(function() isolate.pool { on_exit = tx } end))
    assert.matches("paused", misuse(function() isolate.pool { paused = true } end))
    assert.matches("on_error", misuse(function() isolate.pool { on_error = tx } end))
    assert.matches("'sise'", misuse(function() isolate.pool { sise = 2 } end))
    local pool <close> = isolate.pool(1)
    assert.matches("'memory'", misuse(function() pool:submit({ memory = 1 }, print) end))
    assert.matches("string", misuse(function() pool:submit({ 1 }, print) end))
    assert.matches("options first", misuse(function()
      pool:imap(print, { 1 }, { ordered = false })
    end), 1, true)
    assert.matches("function or options expected, got a list", misuse(function()
      pool:imap({ 1, 2 }, print)
    end), 1, true)
    assert.matches("a list expected, got a stream", misuse(function()
      pool:map(print, isolate.stream_of { 1 })
    end), 1, true)
    assert.matches("'windows'", misuse(function() pool:imap({ windows = 1 }, print, {}) end))
  end)

  it("let as many jobs in as are free to run, beside those that may wait", function()
    local pool <close> = isolate.pool { size = 2, queue = 1 }
    local gate = isolate.channel()
    local function wait() return gate:receive() end
    local jobs = {}
    for i = 1, 3 do jobs[i] = assert(pool:try_submit(wait)) end
    assert.same({ nil, "full" }, { pool:try_submit(wait) })
    for _ = 1, 3 do gate:send(true) end
    for i = 1, 3 do assert.is_true(settle.await(jobs[i])) end
  end)

  it("values are checked", function()
    for _, opts in ipairs { { size = 0 }, { size = 1.5 }, { size = "2" }, { queue = 0 },
                            { queue = "x" }, { idle = -1 }, { idle = "x" }, { max_jobs = 0 },
                            { retries = -1 }, { retries = 0.5 }, { timeout = "x" } } do
      local name = next(opts)
      assert.matches(name, misuse(function() isolate.pool(opts) end), 1, true)
    end
    misuse(function() isolate.pool(0) end)
    misuse(function() isolate.pool "2" end)
    misuse(function() isolate.pool(2.5) end)
    assert.matches("dot", misuse(function() isolate:pool() end))
    local pool <close> = isolate.pool(1)
    for _, opts in ipairs { { timeout = 0 }, { timeout = "x" }, { priority = 128 },
                            { priority = -129 }, { priority = 0.5 }, { name = 5 },
                            { name = "a\0b" } } do
      local name = next(opts)
      assert.matches(name, misuse(function() pool:submit(opts, print) end), 1, true)
      assert.matches(name, misuse(function() pool:try_submit(opts, print) end), 1, true)
    end
  end)
end)

describe("pool:map()", function()
  it("gives the results in the order of the list", function()
    local pool <close> = isolate.pool(2)
    local n = scale(20000, 2000)
    local list = pool:map(function(x) return x * x end, numbers(n))
    assert.equal(n, #list)
    for i = 1, n do assert.equal(i * i, list[i]) end
    assert.same({}, pool:map(print, {}))
    assert.same({ "2" }, pool:map(tostring, { 2 }))
    assert.same({ "1:nil" }, pool:map(function(...)
      return ("%d:%s"):format(select("#", ...), (select(2, ...)))
    end, { 1 }))
  end)

  it("keeps results that are nil or false, and the first of several", function()
    local pool <close> = isolate.pool(2)
    local list = pool:map(function(x)
      if x % 3 == 0 then return nil, "second" elseif x % 3 == 1 then return false end
      return x, "second"
    end, numbers(300))
    for i = 1, 300 do
      local expected = i
      if i % 3 == 0 then expected = nil elseif i % 3 == 1 then expected = false end
      assert.equal(expected, list[i])
    end
  end)

  it("takes frozen lists and those with metamethods", function()
    local pool <close> = isolate.pool(2)
    local function name(x) return x.name end
    local people = { { name = "a" }, { name = "b" }, { name = "c" } }
    assert.same({ "a", "b", "c" }, pool:map(name, isolate.freeze(people)))
    local proxy = setmetatable({}, { __index = people, __len = function() return 3 end })
    assert.same({ "a", "b", "c" }, pool:map(name, proxy))
    assert.equal("abc", pool:reduce(function(a, b) return a .. b end,
      isolate.freeze { "a", "b", "c" }))
  end)

  it("raises the first error once, cancels the others, and the pool goes on", function()
    local pool <close> = isolate.pool(2)
    for at = 1, 301, 100 do
      local ok, err = pcall(pool.map, pool, function(x)
        if x >= at then error("item " .. x // 1000, 0) end
        return x
      end, numbers(400))
      assert.same({ false, "item 0" }, { ok, err })
      assert.same({ 2, 3 }, pool:map(function(x) return x + 1 end, { 1, 2 }))
    end
    local endless = isolate.atomic(0)
    local ok, err = pcall(pool.map, pool, function(x)
      if x == 1 then
        endless:add(1)
        while true do end
      end
      while endless:load() == 0 do end
      error({ code = "mine" })
    end, { 1, 2 })
    assert.is_false(ok)
    assert.equal("mine", err.code)
  end)

  it("prints no error that was raised, nor those of the others", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local pool = isolate.pool(2)
      for _ = 1, 20 do
        pcall(pool.map, pool, function(x) error("item " .. x) end, { 1, 2, 3, 4, 5, 6, 7, 8 })
      end
      pcall(pool.reduce, pool, function(x) error("item " .. x) end, { 1, 2, 3, 4, 5, 6, 7, 8 })
      pcall(function()
        for _ in pool:imap(function(x) error("item " .. x) end, { 1, 2, 3, 4, 5, 6, 7 }) do end
      end)
      collectgarbage()
      pool:close()
    ]]
    assert.same({ "", "", 0 }, { result.stdout, result.stderr, result.status })
  end)

  it("fails with the error of a part that dies", function()
    local pool <close> = isolate.pool(2)
    local ok, err = pcall(pool.map, pool, function(x)
      if x == 7 then os.exit() end
      return x
    end, numbers(20))
    assert.is_false(ok)
    assert.equal("exited", err.code)
    assert.matches("pool_spec.lua", err.message, 1, true)
  end)

  it("needs few messages for tiny jobs", function()
    local pool <close> = isolate.pool(2)
    local n = scale(100000, 20000)
    pool:map(function(x) return x + 1 end, numbers(n))
    local parts = pool:stats().done
    assert.is_true(parts < n / 50, parts)
  end)

  it("balances items of which some take a thousand times as long", function()
    local pool <close> = isolate.pool(2)
    local list, rest, n = {}, 0.01, 150
    for i = 1, 3000 do list[i] = i > 1000 and i <= 1000 + n and rest or 0 end
    local begin = settle.now()
    local ids = pool:map(function(s)
      if s > 0 then isolate.sleep(s) end
      return isolate.self().id
    end, list)
    local took = settle.now() - begin
    assert.equal(3000, #ids)
    local counts = {}
    for i = 1001, 1000 + n do counts[ids[i]] = (counts[ids[i]] or 0) + 1 end
    local least, ways = n, 0
    for _, count in pairs(counts) do ways, least = ways + 1, math.min(least, count) end
    assert.equal(2, ways)
    assert.is_true(least > n / 5, least)
    if not settle.sanitized then assert.is_true(took < 0.85 * n * rest, took) end
  end)

  it("works in two tasks of one isolate at once", function()
    local pool <close> = isolate.pool(2)
    local a = isolate.async(function()
      return pool:map(function(x) return x + 1 end, numbers(1000))
    end)
    local b = isolate.async(function()
      return pool:map(function(x) return x + 2 end, numbers(1000))
    end)
    assert.same({ 1001, 1002 }, { await(a)[1000], await(b)[1000] })
  end)

  it("refuses what is no list, no function or cannot be sent", function()
    local pool <close> = isolate.pool(1)
    for _, name in ipairs { "map", "each", "reduce" } do
      assert.matches("'" .. name .. "'.*function expected",
        misuse(function() pool[name](pool, 5, {}) end))
      assert.matches("'" .. name .. "'.*list expected",
        misuse(function() pool[name](pool, print, 5) end))
    end
    assert.matches("function", misuse(function() pool:imap(5, {}) end))
    assert.matches("iterator", misuse(function() pool:imap(print, 5) end))
  end)

  it("name an item that cannot be sent, or whose result cannot, by its number", function()
    local pool <close> = isolate.pool(2)
    local list = numbers(3000)
    list[2500] = io.stdout
    local ok, err = pcall(pool.map, pool, tostring, list)
    assert.is_false(ok)
    assert.equal("not_sendable", err.code)
    assert.equal("item 2500", err.path)
    assert.equal("cannot send userdata (FILE*): item 2500", err.message)
    ok, err = pcall(pool.map, pool, function(x) return x == 2400 and io.stdout or x end,
      numbers(3000))
    assert.is_false(ok)
    assert.equal("cannot send userdata (FILE*): result of item 2400", err.message)
    ok, err = pcall(function()
      for _ in pool:imap(function(x) return x == 2300 and io.stdout or x end, numbers(3000)) do end
    end)
    assert.is_false(ok)
    assert.equal("cannot send userdata (FILE*): result of item 2300", err.message)
  end)
end)

describe("pool:each()", function()
  it("calls the function for every item, and gives nothing", function()
    local pool <close> = isolate.pool(2)
    local sum = isolate.atomic(0)
    assert.equal(0, select("#", pool:each(function(x) sum:add(x) return io.stdout end,
      numbers(1000))))
    assert.equal(500500, sum:load())
    assert.same({ false, "each" }, { pcall(pool.each, pool, function() error("each", 0) end,
      { 1 }) })
  end)
end)

describe("pool:reduce()", function()
  it("puts items together in their order", function()
    local pool <close> = isolate.pool(2)
    local function join(a, b) return a .. b end
    for _, n in ipairs { 1, 2, 3, 7, 8, 9, 100, 1000 } do
      local list = {}
      for i = 1, n do list[i] = i .. "," end
      assert.equal(table.concat(list), pool:reduce(join, list))
      assert.equal("<" .. table.concat(list), pool:reduce(join, list, "<"))
    end
  end)

  it("gives the first value for an empty list", function()
    local pool <close> = isolate.pool(1)
    assert.equal(5, pool:reduce(math.max, {}, 5))
    assert.is_nil(pool:reduce(math.max, {}))
    assert.equal(1, pool:reduce(error, { 1 }))
    assert.is_false(pool:reduce(function(a, b) return a and b end, { true, true }, false))
  end)

  it("raises an error once, and the pool goes on", function()
    local pool <close> = isolate.pool { size = 2, queue = 1 }
    assert.same({ false, "bad" }, { pcall(pool.reduce, pool, function(_, b)
      if b == 50 then error("bad", 0) end
      return b
    end, numbers(100)) })
    assert.equal(5050, pool:reduce(function(a, b) return a + b end, numbers(100)))
  end)
end)

describe("pool:imap()", function()
  it("loses nothing when the last items take much longer than the first", function()
    for _, size in ipairs { 2, 4 } do
      local pool <close> = isolate.pool(size)
      local count = 0
      for i, v in pool:imap(function(x)
        if x > 250 then require("isolate").sleep(0.003) end
        return x
      end, numbers(300)) do
        count = count + 1
        assert.equal(count, i)
        assert.equal(i, v)
      end
      assert.equal(300, count)
    end
  end)

  it("raises the error of an item that comes late", function()
    local pool <close> = isolate.pool(2)
    local count = 0
    local ok, err = pcall(function()
      for _ in pool:imap(function(x)
        if x > 50 then require("isolate").sleep(0.005) end
        if x == 100 then error("the last", 0) end
        return x
      end, numbers(100)) do count = count + 1 end
    end)
    assert.same({ false, "the last" }, { ok, err })
    assert.is_true(count >= 50 and count < 100)
  end)

  it("gives items in order, or as they are ready", function()
    local pool <close> = isolate.pool(2)
    for _, opts in ipairs { {}, { chunk = 1 }, { chunk = 7 }, { window = 1 }, { window = 5 },
                            { window = 3, chunk = 10 }, { ordered = true } } do
      local i = 0
      for k, v in pool:imap(opts, function(x) return x * 2 end, numbers(300)) do
        i = i + 1
        assert.same({ i, 2 * i }, { k, v })
      end
      assert.equal(300, i)
    end
    local seen, n = {}, 0
    for k, v in pool:imap({ ordered = false }, function(x) return -x end, numbers(300)) do
      assert.is_nil(seen[k])
      assert.equal(-k, v)
      seen[k], n = true, n + 1
    end
    assert.equal(300, n)
    for _ in pool:imap(print, {}) do error "an item of an empty list" end
  end)

  it("gives a quick item before a slow one when it need not keep the order", function()
    local pool <close> = isolate.pool(2)
    local gate = isolate.channel()
    local order = {}
    for i, v in pool:imap({ ordered = false, chunk = 1 }, function(x)
      if x == 1 then gate:receive() end
      return x
    end, { 1, 2, 3 }) do
      assert.equal(i, v)
      order[#order + 1] = i
      if #order == 2 then gate:close() end
    end
    assert.equal(1, order[3])
  end)

  it("goes on over results that are nil", function()
    local pool <close> = isolate.pool(2)
    local n = 0
    for i, v in pool:imap(function(x) if x % 2 == 0 then return x end end, numbers(100)) do
      n = n + 1
      assert.equal(n, i)
      assert.equal(i % 2 == 0 and i or nil, v)
    end
    assert.equal(100, n)
  end)

  it("takes what a generic for takes", function()
    local pool <close> = isolate.pool(2)
    local sum = 0
    for _, v in pool:imap(function(k, v) return #k * v end, pairs { a = 1, bb = 2, ccc = 3 }) do
      sum = sum + v
    end
    assert.equal(14, sum)
    local path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    for i = 1, 100 do file:write(("x"):rep(i), "\n") end
    file:close()
    local n = 0
    for i, length in pool:imap(function(line) return #line end, io.lines(path)) do
      n = n + 1
      assert.same({ n, n }, { i, length })
    end
    assert.equal(100, n)
    os.remove(path)
    local counter = setmetatable({ n = 0 }, { __call = function(self)
      self.n = self.n + 1
      return self.n <= 3 and self.n or nil
    end })
    local list = {}
    for i, v in pool:imap(function(x) return x + 1 end, counter) do list[i] = v end
    assert.same({ 2, 3, 4 }, list)
    list = {}
    for i, v in pool:imap(function(i, x) return i + x end,
        pool:imap(function(x) return x * 10 end, { 1, 2, 3 })) do
      list[i] = v
    end
    assert.same({ 11, 22, 33 }, list)
    list = {}
    local varied = { { 1 }, { 2, "b" }, { 3 }, { 4, nil, "d" }, { 5, "e" } }
    local at = 0
    for i, v in pool:imap(function(...) return select("#", ...) end, function()
      at = at + 1
      if varied[at] then return table.unpack(varied[at], 1, at == 4 and 3 or #varied[at]) end
    end) do
      list[i] = v
    end
    assert.same({ 1, 2, 1, 3, 2 }, list)
  end)

  it("has the iterator's closing value closed, when left early too", function()
    local pool <close> = isolate.pool(2)
    local function iterator(n, closed)
      local i = 0
      return function() i = i + 1 if i <= n then return i end end, nil, nil,
        setmetatable({}, { __close = function(_, err) closed[#closed + 1] = err or "closed" end })
    end
    local closed = {}
    for _ in pool:imap(tostring, iterator(20, closed)) do assert.same({}, closed) end
    assert.same({ "closed" }, closed)
    closed = {}
    for _ in pool:imap(tostring, iterator(math.huge, closed)) do break end
    assert.same({ "closed" }, closed)
    closed = {}
    pcall(function() for _ in pool:imap(tostring, iterator(20, closed)) do error("out", 0) end end)
    assert.same({ "out" }, closed)
    closed = {}
    pcall(function()
      for _ in pool:imap(function() error("job", 0) end, iterator(20, closed)) do end
    end)
    assert.same({ "job" }, closed)
    assert.same({ "1" }, pool:map(tostring, { 1 }))
  end)

  it("has a closing value closed whose metatable is locked", function()
    local pool <close> = isolate.pool(2)
    local stream = isolate.stream(function(emit) for i = 1, math.huge do emit(i) end end)
    for i in pool:imap(tostring, stream:values()) do
      if i == 3 then break end
    end
    assert.same({ nil, "closed" }, { stream:receive(limit) })
    local function counter(_, n) return (n or 0) + 1 end
    for _, locked in ipairs { true, false } do
      local err
      local guard = setmetatable({}, { __metatable = locked, __close = function(_, e)
        err = e
        error("in close", 0)
      end })
      local ok, raised = pcall(function()
        for _ in pool:imap(tostring, counter, nil, nil, guard) do error("in body", 0) end
      end)
      assert.same({ false, "in close", "in body" }, { ok, raised, err })
    end
  end)

  for _, opts in ipairs { { window = 1 }, { window = 4 }, { window = 10, chunk = 3 },
                          { window = 6, ordered = false } } do
    it("takes no more than its window ahead: " .. opts.window, function()
      local pool <close> = isolate.pool(2)
      local taken, given, most = 0, 0, 0
      for _ in pool:imap(opts, tostring, function()
        if taken == 200 then return nil end
        taken = taken + 1
        most = math.max(most, taken - given)
        return taken
      end) do
        given = given + 1
      end
      assert.equal(200, given)
      assert.is_true(most <= opts.window + 1, most) -- one is with the loop's body
    end)
  end

  it("makes jobs of the chunk that it is told", function()
    local pool <close> = isolate.pool(2)
    for _ in pool:imap({ chunk = 10 }, tostring, numbers(100)) do end
    pool:close()
    assert.equal(10, pool:stats().done)
  end)

  it("gives what comes before an error, then raises it, and ends the others", function()
    local pool <close> = isolate.pool(2)
    local seen = {}
    local ok, err = pcall(function()
      for i, v in pool:imap({ chunk = 1 }, function(x)
        if x >= 5 then error("at " .. x, 0) end
        return x
      end, numbers(100)) do
        seen[i] = v
      end
    end)
    assert.same({ false, "at 5" }, { ok, err })
    assert.same({ 1, 2, 3, 4 }, seen)
    assert.equal(0, pool:stats().queued)
    assert.same({ 2 }, pool:map(function(x) return x + 1 end, { 1 }))
  end)

  it("raises an error of the iterator", function()
    local pool <close> = isolate.pool(1)
    local n = 0
    assert.same({ false, "no more" }, { pcall(function()
      for _ in pool:imap(tostring, function()
        n = n + 1
        if n > 3 then error("no more", 0) end
        return n
      end) do end
    end) })
  end)

  it("checks its options", function()
    local pool <close> = isolate.pool(1)
    for _, opts in ipairs { { ordered = 1 }, { window = 0 }, { chunk = 0.5 } } do
      assert.matches(next(opts), misuse(function() pool:imap(opts, print, {}) end), 1, true)
    end
  end)
end)

describe("isolate.map()", function()
  it("is pool:map with a pool of its own", function()
    assert.same({ 1, 4, 9 }, isolate.map(function(x) return x * x end, { 1, 2, 3 }))
    assert.same({ false, "bad" }, { pcall(isolate.map, function() error("bad", 0) end, { 1 }) })
    assert.matches("list expected", misuse(function() isolate.map(print) end))
    assert.same({ 2, 3 }, (await(isolate.run(function()
      return isolate.map(function(x) return x + 1 end, { 1, 2 })
    end))))
  end)
end)

describe("a pool's handle", function()
  it("is sent, and is the same pool there", function()
    local pool <close> = isolate.pool(2)
    local back, id, text = await(isolate.run(function(p) return p, p.id, tostring(p) end, pool))
    assert.is_true(back == pool)
    assert.equal(pool.id, id)
    assert.equal(math.type(id), "integer")
    assert.matches("^isolate%.pool: %d+ %(0 busy, 0 queued%)$", text)
    assert.is_false(getmetatable(pool) == nil or type(getmetatable(pool)) == "table")
    local other <close> = isolate.pool(1)
    assert.is_false(pool == other)
  end)

  it("takes jobs from several isolates at once", function()
    local pool <close> = isolate.pool { size = 2, queue = 8 }
    local n = scale(500, 100)
    local futures = {}
    for i = 1, 4 do
      futures[i] = isolate.run(function(p, from)
        local all, sum = {}, 0
        for k = 1, n do all[k] = p:submit(function() return from * 1000000 + k end) end
        for k = 1, n do sum = sum + all[k]:await() end
        return sum
      end, pool, i)
    end
    for i = 1, 4 do
      assert.equal(n * i * 1000000 + n * (n + 1) // 2, (await(futures[i])))
    end
    pool:close()
    assert.equal(4 * n, pool:stats().done)
  end)

  it("works when its creator is gone", function()
    local pool <close> = await(isolate.run(function()
      local p = isolate.pool(1)
      p:submit(function() return 1 end):await()
      return p
    end))
    assert.equal(2, (await(pool:submit(function() return 2 end))))
  end)

  it("needs no event loop of its creator", function()
    local pool <close> = isolate.pool(2)
    local n, ran = scale(500, 100), isolate.atomic(0)
    local futures = {}
    for i = 1, n do futures[i] = pool:submit(function(cell) cell:add(1) end, ran) end
    assert.is_true(eventually(function() return ran:load() == n end)) -- runs no loop
    for i = 1, n do await(futures[i]) end
  end)

  it("collected ends the pool's isolates, after the queued jobs", function()
    local ran = isolate.atomic(0)
    do
      local pool = isolate.pool { size = 2, name = "collected" }
      for _ = 1, 20 do pool:submit(function(cell) cell:add(1) end, ran) end
    end
    assert.is_true(eventually(function()
      collectgarbage()
      return ran:load() == 20 and isolates_of "collected" == 0
    end))
  end)

  it("that a job of the pool holds does not keep it open for ever", function()
    do
      local pool = isolate.pool { size = 1, name = "selfish" }
      pool:submit(function(p) return tostring(p) end, pool):await()
    end
    assert.is_true(eventually(function()
      collectgarbage()
      return isolates_of "selfish" == 0
    end))
  end)
end)

describe("pool:close()", function()
  it("waits for the queued jobs", function()
    local pool = isolate.pool { size = 2, name = "closing" }
    local ran = isolate.atomic(0)
    for _ = 1, 50 do pool:submit(function(cell) cell:add(1) end, ran) end
    assert.is_true(pool:close())
    assert.equal(50, ran:load())
    assert.is_true(pool:close())
    assert.is_true(eventually(function() return isolates_of "closing" == 0 end))
  end)

  it("gives nil and timeout when that takes longer", function()
    local pool = isolate.pool(1)
    local gate = block(pool)
    assert.same({ nil, "timeout" }, { pool:close(0) })
    assert.same({ nil, "timeout" }, { pool:close(0.01) })
    gate:close()
    assert.is_true(pool:close(limit))
  end)

  it("has later jobs refused", function()
    local pool = isolate.pool(1)
    pool:close()
    local ok, err = pcall(pool.submit, pool, same_id)
    assert.is_false(ok)
    assert.equal("closed", err.code)
    assert.same({ nil, "closed" }, { pool:try_submit(same_id) })
    ok, err = pcall(pool.map, pool, tostring, { 1 })
    assert.is_false(ok)
    assert.equal("closed", err.code)
  end)

  it("wakes those who wait for room", function()
    local pool = isolate.pool { size = 1, queue = 1 }
    local gate = block(pool)
    local first = pool:submit(function() return 1 end)
    local task = isolate.async(function() return pool:submit(same_id) end)
    isolate.sleep(0)
    assert.same({ nil, "timeout" }, { pool:close(0) })
    fails_with("closed", task)
    gate:close()
    assert.equal(1, (await(first)))
    assert.is_true(pool:close(limit))
  end)

  it("ends the isolates that were idle while others ran", function()
    local pool = isolate.pool { size = 1, name = "both" }
    local cell = isolate.atomic(0)
    local outer = pool:submit(function(p, c)
      p:submit(function() end):await()
      c:store(1)
      while c:load() == 1 do end
    end, pool, cell)
    assert.is_true(eventually(function() return cell:load() == 1 end))
    local last = pool:submit(function() return "last" end)
    local closing = isolate.async(function() return pool:close() end)
    isolate.sleep(0)
    cell:store(2)
    assert.is_true((await(closing)))
    await(outer)
    assert.equal("last", (await(last)))
    assert.is_true(eventually(function() return isolates_of "both" == 0 end, 5))
    assert.is_not_nil(pool)
  end)

  it("raises inside a job of the pool", function()
    local pool <close> = isolate.pool(1)
    assert.matches("pool_spec.lua:%d+: .*runs in", failure(pool:submit(function(p)
      p:close()
    end, pool)))
  end)

  it("is what leaving the scope does", function()
    local ran = isolate.atomic(0)
    do
      local pool <close> = isolate.pool(2)
      for _ = 1, 20 do pool:submit(function(cell) cell:add(1) end, ran) end
    end
    assert.equal(20, ran:load())
  end)

  it("is cancel when the isolate is killed, in a task of it too", function()
    for _, in_task in ipairs { true, false } do
      local begun = isolate.atomic(0)
      local handles, tx = isolate.port()
      local iso = isolate.spawn(function()
        local function body()
          local pool <close> = isolate.pool { name = "left", size = 1 }
          tx:send(pool)
          pool:submit(function()
            begun:store(1)
            while true do end
          end):await()
        end
        if in_task then isolate.async(body):await() else body() end
      end)
      local pool = handles:receive(limit)
      assert.is_true(eventually(function() return begun:load() == 1 end))
      iso:kill()
      assert.is_false((iso:join(limit)))
      assert.is_true(pool:close(limit))
      assert.equal(0, isolates_of "left")
    end
  end)

  it("is cancel when the isolate ends meanwhile, in a task of it too", function()
    local function leaves(begun, tx)
      local pool <close> = isolate.pool { name = "left", size = 1 }
      tx:send(pool)
      pool:submit(function()
        begun:store(1)
        while true do end
      end)
    end
    local ways = {
      kill = function(begun, tx) leaves(begun, tx) end,
      ["kill, in a task"] = function(begun, tx) isolate.async(leaves, begun, tx):await() end,
      ["error of the body"] = function(begun, tx)
        isolate.async(leaves, begun, tx)
        repeat isolate.sleep(0.001) until begun:load() == 1
        error "body"
      end,
      ["return of the body"] = function(begun, tx)
        isolate.async(leaves, begun, tx)
        repeat isolate.sleep(0.001) until begun:load() == 1
      end,
    }
    for name, way in pairs(ways) do
      local begun = isolate.atomic(0)
      local handles, tx = isolate.port()
      local future = isolate.run(way, begun, tx)
      local pool = handles:receive(limit)
      assert.is_true(eventually(function() return begun:load() == 1 end))
      if name:find "kill" then future.isolate:kill() end
      future.isolate:join(limit)
      assert.is_true(pool:close(limit), name)
      assert.equal(0, isolates_of "left")
      future:try(0)
    end
  end)

  it("is cancel when the scope is left by an error", function()
    local begun, ran, futures = isolate.atomic(0), isolate.atomic(0), {}
    local ok, err = pcall(function()
      local pool <close> = isolate.pool(1)
      futures[1] = pool:submit(function(cell) cell:store(1) while true do end end, begun)
      futures[2] = pool:submit(function(cell) cell:add(1) end, ran)
      assert.is_true(eventually(function() return begun:load() == 1 end))
      error("out", 0)
    end)
    assert.same({ false, "out" }, { ok, err })
    fails_with("cancelled", futures[1])
    fails_with("cancelled", futures[2])
    assert.equal(0, ran:load())
  end)
end)

describe("pool:cancel()", function()
  it("fails all jobs, and takes no more", function()
    local pool = isolate.pool { size = 2, queue = 5 }
    local gate, futures = block(pool, 2)
    for _ = 1, 5 do futures[#futures + 1] = pool:submit(same_id) end
    pool:cancel "enough"
    for _, future in ipairs(futures) do
      assert.matches("enough", fails_with("cancelled", future).message, 1, true)
    end
    assert.same({ nil, "closed" }, { pool:try_submit(same_id) })
    assert.is_true(pool:close(limit))
    gate:close()
    pool:cancel()
  end)
end)

describe("the end of main", function()
  it("waits for the queued jobs, and names no isolate of a pool", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local pool = isolate.pool(2)
      for i = 1, 20 do pool:submit(function() isolate.sleep(0.005) io.write "." end) end
    ]]
    assert.same({ ("."):rep(20), "", 0 }, { result.stdout, result.stderr, result.status })
  end)

  it("does not wait for idle isolates, nor does isolate.wait", function()
    local begin = settle.now()
    local result = lua.source [[
      local isolate = require "isolate"
      pool = isolate.pool(2)
      print(pool:submit(function() return "done" end):await())
      isolate.wait()
      print "waited"
    ]]
    assert.same({ "done\nwaited\n", "", 0 }, { result.stdout, result.stderr, result.status })
    assert.is_true(settle.now() - begin < limit)
  end)

  it("prints an error that nobody looked at, and says so by its status", function()
    local result = lua.source [[
      local isolate = require "isolate"
      pool = isolate.pool(1)
      pool:submit(function() error "at last" end)
    ]]
    assert.matches("uncaught error in job '[^']+:3': [^\n]*at last", result.stderr)
    if lua.is_host then assert.equal(1, result.status) end
  end)

  it("is not held up by a pool that was used from a coroutine or a module", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local pool = isolate.pool { size = 1, idle = 0.01 }
      print(coroutine.wrap(function() return #pool:map(tostring, { 1, 2, 3 }) end)())
      print(#isolate.map(tostring, { 1, 2 }))
    ]]
    assert.same({ "3\n2\n", "", 0 }, { result.stdout, result.stderr, result.status })
  end)
end)

describe("pool:stats()", function()
  it("counts jobs and how long they waited and ran", function()
    local pool <close> = isolate.pool(1)
    assert.same({ size = 1, busy = 0, queued = 0, done = 0, failed = 0,
                  wait = { p50 = 0, p99 = 0 }, run = { p50 = 0, p99 = 0 } }, pool:stats())
    local gate, blocked = block(pool)
    local jobs = {}
    for i = 1, 3 do jobs[i] = pool:submit(function() isolate.sleep(0.05) end) end
    jobs[4] = pool:submit(function() error("no", 0) end)
    local stats = pool:stats()
    assert.same({ 1, 4, 0, 0 }, { stats.busy, stats.queued, stats.done, stats.failed })
    assert.matches("%(1 busy, 4 queued%)$", tostring(pool))
    gate:close()
    await(blocked[1])
    for i = 1, 3 do await(jobs[i]) end
    failure(jobs[4])
    pool:close()
    stats = pool:stats()
    assert.same({ 0, 0, 4, 1 }, { stats.busy, stats.queued, stats.done, stats.failed })
    assert.is_true(stats.run.p50 >= 0.05 * 0.85 and stats.run.p50 < limit)
    assert.is_true(stats.run.p99 >= stats.run.p50)
    assert.is_true(stats.wait.p99 >= 0.1 * 0.85)
  end)
end)

describe("code that is sent to a pool again", function()
  -- From the second time on it goes by a block, which each isolate loads once.
  local function thrice(fn, ...)
    local pool <close> = isolate.pool(1)
    local results = {}
    for i = 1, 4 do results[i] = await(pool:submit(fn, ...)) end
    for i = 2, 4 do assert.same(results[1], results[i]) end
    return results[1]
  end

  it("is the same function each time", function()
    local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
    assert.equal(610, thrice(fib, 15))
    assert.equal(3, thrice(function(...) return select("#", ...) end, nil, 1, nil))
    assert.equal("aaa", thrice(string.rep, "a", 3))
    assert.is_true(thrice(load "return _ENV == _G and ... == 5", 5))
    assert.equal(7, thrice(load(string.dump(function() return 7 end, true), "=stripped", "b")))
  end)

  -- Without upvalues, and with short arguments without parts, the whole call is written at once.
  it("takes arguments of each kind, also without upvalues", function()
    local pool <close> = isolate.pool(1)
    local function echo(...) return ... end
    local long = table.pack(table.unpack({}, 1, 100))
    long[1], long[100] = "first", "last"
    local lists = {
      table.pack(), table.pack(nil), table.pack(true, false, nil), table.pack(7, 7.0, -0.0, 0),
      table.pack(math.maxinteger, math.mininteger, math.huge), table.pack("", "\0", "a\0b"),
      table.pack(("x"):rep(40), ("x"):rep(40)), table.pack(("x"):rep(41)),
      table.pack(("x"):rep(5000)),
      table.pack(1, { 2, { 3 } }, "4"), long,
    }
    for _ = 1, 3 do
      for _, list in ipairs(lists) do
        local got = table.pack(pool:submit(echo, table.unpack(list, 1, list.n)):await())
        assert.equal(list.n, got.n)
        for i = 1, list.n do
          assert.same(list[i], got[i])
          assert.equal(math.type(list[i]), math.type(got[i]))
          if type(list[i]) ~= "table" then assert.equal(tostring(list[i]), tostring(got[i])) end
        end
      end
      local ok, err = pcall(pool.submit, pool, echo, 1, coroutine.create(echo))
      assert.is_false(ok)
      assert.matches("argument #2", err.message, 1, true)
    end
  end)

  it("has upvalues of its own in each job, as they are when it is submitted", function()
    local pool <close> = isolate.pool(1)
    local n, list = 0, {}
    local function count()
      n = n + 1
      list[#list + 1] = n
      return n, #list
    end
    for i = 1, 4 do
      n = 10 * i
      assert.same({ 10 * i + 1, 1 }, { pool:submit(count):await() })
    end
    local function both()
      local a = count()
      return a, n
    end
    for _ = 1, 4 do assert.same({ 41, 41 }, { pool:submit(both):await() }) end
    assert.equal(0, #list)
  end)

  it("makes a new function for each job", function()
    local pool <close> = isolate.pool(1)
    local value = 1
    local function get() return value end
    local function keep()
      local kept = package.loaded.spec_kept or {}
      package.loaded.spec_kept = kept
      kept[#kept + 1] = get
      local values = {}
      for i, fn in ipairs(kept) do values[i] = fn() end
      return table.concat(values, " ")
    end
    local seen
    for i = 1, 4 do
      value = i
      seen = await(pool:submit(keep))
    end
    assert.equal("1 2 3 4", seen)
  end)

  it("goes with its code once a finalizer has brought it back", function()
    local pool <close> = isolate.pool(1)
    local function collected()
      local fn = load "return function(a) return a end" ()
      for i = 1, 4 do assert.equal(i, await(pool:submit(fn, i))) end
      setmetatable({ fn = fn }, { __gc = function(object) spec_kept = object.fn end })
    end
    collected()
    for _ = 1, 3 do collectgarbage() end
    for i = 5, 8 do assert.equal(i, await(pool:submit(spec_kept, i))) end
    spec_kept = nil
  end)

  it("is refused, or goes, where a finalizer sends it while the program ends", function()
    local result = lua.source [[
      local isolate = require "isolate"
      local pool = isolate.pool(1)
      local function echo(a) return a end
      last = setmetatable({}, { __gc = function() print(pcall(pool.submit, pool, echo, 1)) end })
      for i = 1, 4 do pool:submit(echo, i):await() end
    ]]
    local refused = result.stdout:find("the isolate is ending", 1, true) ~= nil
    assert.is_true(refused or result.stdout:find "^true" ~= nil)
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
  end)

  it("finds the globals that it names, as they are then", function()
    local pool <close> = isolate.pool(1)
    local function use() return spec_helper(2) end
    for i = 1, 4 do
      spec_helper = function(x) return x * i end
      assert.equal(2 * i, await(pool:submit(use)))
    end
    spec_helper = nil
    assert.matches("spec_helper", tostring(failure(pool:submit(use))))
  end)

  it("may have many upvalues, to be closed ones, and be of many kinds", function()
    for _, count in ipairs { 2, 120, 248, 254 } do
      local lines = {}
      -- Of 200 local variables at most, in functions one in the other.
      for i = 1, count do lines[i] = ("local v%d = %d"):format(i, i) end
      local first = table.concat(lines, " ", 1, math.min(count, 190))
      local rest = table.concat(lines, " ", math.min(count, 190) + 1)
      local names = {}
      for i = 1, count do names[i] = "v" .. i end
      local text = first .. " return (function() " .. rest .. " return function() return " ..
        table.concat(names, " + ") .. " end end)()"
      assert.equal(count * (count + 1) // 2, thrice(assert(load(text))()))
    end
    local closed = 0
    local function closes()
      do local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end }) end
      return closed
    end
    assert.equal(1, thrice(closes))
    local pool <close> = isolate.pool(1)
    for i = 1, settle.scale(600, 300) do
      local fn = load("return " .. i)
      for _ = 1, 3 do assert.equal(i, await(pool:submit(fn))) end
    end
  end)

  it("tells where its errors are", function()
    local pool <close> = isolate.pool(1)
    local function bad() error "here" end
    for _ = 1, 4 do
      local future = pool:submit(bad)
      assert.matches("pool_spec.lua:%d+: here", tostring(failure(future)))
      assert.matches("pool_spec.lua:%d+: in function", future:traceback())
    end
  end)
end)

describe("a pool under pressure", function()
  it("blames the job whose task has failed, also when that is found out late", function()
    local pool <close> = isolate.pool(1)
    local late = pool:submit(function()
      local task = isolate.async(function() error("by a task", 0) end)
      isolate.sleep(0.1) -- garbage is collected meanwhile, and `task` is none
      return task ~= nil
    end)
    assert.equal("by a task", tostring(failure(late)))
    assert.equal(2, await(pool:submit(function()
      collectgarbage()
      isolate.sleep(0)
      return 2
    end)))
    local global = pool:submit(function()
      spec_task = isolate.async(function() error("by a global task", 0) end)
      isolate.sleep(0)
    end)
    assert.equal("by a global task", tostring(failure(global)))
    assert.equal(3, await(pool:submit(function()
      collectgarbage()
      isolate.sleep(0)
      return 3
    end)))
  end)

  it("runs as many jobs as its size is, though fewer may wait", function()
    local pool <close> = isolate.pool{ size = 4, queue = 1 }
    local rx, tx = isolate.port()
    local futures, answers = {}, {}
    for i = 1, 4 do
      futures[i] = pool:submit(function()
        local input, to_me = isolate.port()
        tx:send(to_me)
        to_me:close()
        return input:receive()
      end)
    end
    for i = 1, 4 do answers[i] = assert(rx:receive(limit)) end
    local sum = 0
    for i = 1, 4 do answers[i]:send(i) end
    for i = 1, 4 do sum = sum + await(futures[i]) end
    assert.equal(10, sum)
  end)

  it("has the buffers of a submit that waits, and gives them back when it is cancelled", function()
    local pool <close> = isolate.pool{ size = 1, queue = 1 }
    local gate = isolate.channel()
    local first = pool:submit(function() return gate:receive() end)
    local second = pool:submit(function() return 2 end)
    local buf, ran = isolate.buffer "hello", isolate.atomic()
    local task = isolate.async(function()
      return pool:submit(function(b)
        ran:add(1)
        return b:sub()
      end, isolate.transfer(buf)):await()
    end)
    isolate.sleep(0)
    assert.matches("transferred", tostring(select(2, pcall(buf.sub, buf))))
    task:cancel()
    isolate.sleep(0)
    assert.is_false((task:try(limit)))
    assert.equal("hello", buf:sub())
    gate:send(1)
    assert.same({ 1, 2 }, { await(first), await(second) })
    pool:close()
    assert.equal(0, ran:load())
  end)
end)

describe("lists and iterators that are unlike others", function()
  local function id(x) return x end

  it("are worked through, holes and all", function()
    local pool <close> = isolate.pool(2)
    for _, list in ipairs { { 1, nil, 3 }, { nil, 2, 3 }, { 1, false, 3 } } do
      local n = #list
      local results, seen = pool:map(id, list), 0
      for i = 1, n do assert.equal(list[i], results[i]) end
      for i, v in pool:imap(id, list) do
        seen = seen + 1
        assert.same({ seen, list[i] }, { i, v })
      end
      assert.equal(n, seen)
      pool:each(id, list)
      local function add(a, b) return (a or 0) + (b or 0) end
      local sum = 0
      for i = 1, n do sum = add(sum, list[i]) end
      assert.equal(sum, pool:reduce(add, list, 0))
    end
    assert.is_nil(pool:reduce(function() end, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }))
  end)

  it("hand out what is ready, though the iterator is slow", function()
    local pool <close> = isolate.pool(2)
    local taken, ahead = 0, 0
    local function slowly()
      isolate.sleep(0.02)
      if taken == 20 then return nil end
      taken = taken + 1
      return taken
    end
    for i in pool:imap(id, slowly) do ahead = math.max(ahead, taken - i) end
    assert.equal(20, taken)
    assert.is_true(ahead < 16, ahead .. " items ahead")
  end)

  it("are refused when they are none, in the place where they stand", function()
    local pool <close> = isolate.pool(1)
    local function refused(text, fn, ...)
      assert.matches(text, select(2, pcall(fn, ...)), 1, true)
    end
    refused("#2 to 'map' (a list expected, but the table has the field 'a' and no items)",
      pool.map, pool, id, { a = 1 })
    refused("'map' takes a function and a list: options are for isolate.pool",
      pool.map, pool, id, { 1 }, { timeout = 1 })
    refused("options stand first", isolate.pool, 2, { timeout = 1 })
    refused("called with a dot, not a colon", isolate.map, isolate, id, { 1 })
    refused("isolate.pool expected, got function; call it with a colon", pool.submit, id)
    refused("#2 to 'imap' (a list or an iterator expected, got string)", pool.imap, pool, id, "a")
    refused("#3 to 'imap' (a list or an iterator expected, got nil)", pool.imap, pool, {}, id)
    local own = pool:submit(function() pool:close() end)
    assert.matches("a job cannot wait for the end of the pool", tostring(failure(own)), 1, true)
    assert.equal(5, await(pool:submit(id, 5)))
  end)
end)
