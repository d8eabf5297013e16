-- stream_spec.lua - isolate.stream and stream_of: backpressure, ends, errors, stages, select.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 111/spec_.* 113/spec_.* 211/_ENV 512 542

-- Busted gives every function of a spec an environment of its own; functions that are sent want
-- the real globals.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"

local scale, limit, eventually = settle.scale, settle.limit, settle.eventually

it = live.checking(it)

local misuse = require "spec.support.misuse" "stream_spec"

local function count_up(emit, n) for i = 1, n do emit(i) end end

-- The cell says how it ended: 1 by `cancelled`, 2 otherwise.
local function endless(emit, ended, emitted)
  local _ <close> = setmetatable({}, { __close = function(_, err)
    ended:store(type(err) == "table" and err.code == "cancelled" and 1 or 2)
  end })
  local i = 0
  while true do
    i = i + 1
    emit(i)
    if emitted then emitted:store(i) end
  end
end

local function ends(cell)
  return eventually(function() return cell:load() ~= 0 end) and cell:load()
end

local function numbers(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

describe("isolate.stream()", function()
  it("gives what its function emits, and ends", function()
    local s = isolate.stream(count_up, 5)
    local list = {}
    for v in s:values() do list[#list + 1] = v end
    assert.same({ 1, 2, 3, 4, 5 }, list)
    assert.same({ nil, "closed" }, { s:receive() })
  end)

  it("gives any value that can be sent, false too", function()
    assert.same({ false, "s", 1.5, { a = { 1 } } }, isolate.stream(function(emit)
      emit(false) emit "s" emit(1.5) emit { a = { 1 } }
    end):collect())
  end)

  it("takes the globals and upvalues of its function along", function()
    spec_stream_factor = 3
    local add = 1
    local s = isolate.stream(function(emit, n) emit(n * spec_stream_factor + add) end, 2)
    spec_stream_factor = nil
    assert.equal(7, s:first())
    assert.matches("spec_stream_none", select(2, pcall(function()
      return isolate.stream({ globals = "none" }, function(emit) emit(spec_stream_none.x) end)
        :first()
    end)))
  end)

  it("takes the options of run, and names the isolate", function()
    local s = isolate.stream({ name = "digits", window = 2, libs = { "package" } }, function(emit)
      emit(require ~= nil and string == nil)
    end)
    assert.matches("^isolate%.stream: digits %(%d+%)$", tostring(s))
    assert.is_true(s:first())
    local own <close> = isolate.stream(count_up, 1)
    assert.matches("stream_spec%.lua:%d+ ", tostring(own))
    local ok, err = pcall(function()
      isolate.stream({ timeout = 0.05 }, function() while true do end end):collect()
    end)
    assert.is_false(ok)
    assert.equal("timeout", err.code)
  end)

  for _, opts in ipairs { { window = 1 }, { window = 4 }, {}, { window = 40, batch = 10 } } do
    local window = opts.window or 64
    local name = ("window %d%s"):format(window, opts.batch and " and batches" or "")
    it("never runs more than its window ahead: " .. name, function()
      local ended, emitted = isolate.atomic(0), isolate.atomic(0)
      local s = isolate.stream(opts, endless, ended, emitted)
      local most = 0
      for i = 1, scale(2000, 200) do
        assert.equal(i, s:receive(limit))
        most = math.max(most, emitted:load() - i)
      end
      assert.is_true(most <= window, most)
      if not opts.batch then -- and it comes as far as that
        local received = scale(2000, 200)
        assert.is_true(eventually(function() return emitted:load() == received + window end))
      end
      s:close()
      assert.equal(1, ends(ended))
    end)
  end

  it("takes no memory for values that were taken", function()
    local function all(opts)
      local n = 0
      for _ in isolate.stream(opts, count_up, scale(1000000, 20000)):values() do n = n + 1 end
      assert.equal(scale(1000000, 20000), n)
    end
    all {}
    collectgarbage()
    local before = collectgarbage "count"
    all {}
    all { batch = 256 }
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 1000)
  end)

  it("gathers values into batches in order, tables as they are when emitted", function()
    local s = isolate.stream({ batch = 8, window = 64 }, function(emit)
      local t = {}
      for i = 1, 100 do
        emit(i)
        t.n = i
        if i % 10 == 0 then emit(t) end
      end
    end)
    local i, tables = 0, 0
    for v in s:values() do
      if type(v) == "table" then
        tables = tables + 1
        assert.equal(i, v.n)
      else
        i = i + 1
        assert.equal(i, v)
      end
    end
    assert.same({ 100, 10 }, { i, tables })
  end)

  it("holds no batch back while its producer waits, or when it fails", function()
    local rx, tx = isolate.port()
    local s = isolate.stream({ batch = 16 }, function(emit, back)
      local go, there = isolate.port()
      back:send(there)
      there:close()
      emit(1) emit(2)
      go:receive()
      emit(3)
      error "after three"
    end, tx)
    tx:close()
    local there = rx:receive(limit)
    assert.same({ 1, 2 }, { s:receive(limit), s:receive(limit) })
    there:send(true)
    assert.equal(3, s:receive(limit))
    assert.matches("after three", select(2, pcall(s.receive, s, limit)))
    rx:close()
  end)

  describe("ends its producer", function()
    for how, leave in pairs {
      ["break"] = function(s) for _ in s:values() do break end end,
      ["return"] = function(s) return (function() for v in s:values() do return v end end)() end,
      ["an error"] = function(s) pcall(function() for _ in s:values() do error "out" end end) end,
      ["close"] = function(s) s:receive(limit) s:close() s:close() end,
      ["a <close> variable"] = function(s) local _ <close> = s end,
      ["take"] = function(s) assert.equal(3, #s:take(3):collect()) end,
      ["first"] = function(s) assert.equal(2, s:map(function(v) return v + 1 end):first()) end,
      ["an error in a stage"] = function(s)
        local m = s:map(function() error("bad stage", 0) end)
        assert.same({ false, "bad stage" }, { pcall(m.receive, m) })
        assert.same({ nil, "closed" }, { m:receive() })
      end,
    } do
      it("by " .. how, function()
        local ended = isolate.atomic(0)
        local s = isolate.stream(endless, ended)
        leave(s)
        assert.equal(1, ends(ended))
        assert.same({ nil, "closed" }, { s:receive() })
      end)
    end

    it("when it is collected", function()
      local ended = isolate.atomic(0)
      do isolate.stream(endless, ended):map(print) end
      assert.is_true(eventually(function()
        collectgarbage()
        return ended:load() == 1
      end))
    end)

    it("when the consumer is killed", function()
      local ended, taken = isolate.atomic(0), isolate.atomic(0)
      local iso = isolate.spawn(function(run)
        for v in isolate.stream(run, ended):values() do taken:store(v) end
      end, endless)
      assert.is_true(eventually(function() return taken:load() > 0 end))
      iso:kill()
      assert.equal(1, ends(ended))
      iso:join(limit)
    end)

    for what, busy in pairs {
      sleeps = function() isolate.sleep(1000) end,
      ["is busy"] = function() while true do end end,
      ["waits for a message"] = function()
        local ch = isolate.channel()
        isolate.after(1000, function() ch:close() end)
        ch:receive()
      end,
    } do
      it("also when that " .. what, function()
        local ended, begun = isolate.atomic(0), isolate.atomic(0)
        local s = isolate.stream(function(_, wait)
          local _ <close> = setmetatable({}, { __close = function() ended:store(2) end })
          begun:store(1)
          wait()
        end, busy)
        assert.equal(1, ends(begun))
        s:close()
        assert.equal(2, ends(ended))
      end)
    end

    it("whose emit raises cancelled, again and again", function()
      local rx, tx = isolate.port()
      local s = isolate.stream({ window = 1 }, function(emit, to)
        while pcall(emit, 1) do end
        for _ = 1, 2 do to:send { select(2, pcall(emit, 1)) } end
      end, tx)
      tx:close()
      assert.equal(1, s:receive(limit))
      s:close()
      for _ = 1, 2 do assert.equal("cancelled", rx:receive(limit)[1].code) end
    end)
  end)

  describe("raises the error of its producer", function()
    it("after the values before it, once", function()
      local s = isolate.stream(function(emit) emit(1) emit(2) error { code = "mine" } end)
      assert.same({ 1, 2 }, { s:receive(limit), s:receive(limit) })
      local ok, err = pcall(s.receive, s, limit)
      assert.same({ false, "mine" }, { ok, err.code })
      assert.same({ nil, "closed" }, { s:receive(limit) })
    end)

    it("behind stages that hold values", function()
      local function failing(emit) for i = 1, 5 do emit(i) end error("five", 0) end
      for _, stage in ipairs {
        function(s) return s:batch(2) end,
        function(s) return s:buffer(3) end,
        function(s) return s:parallel(2, function(v) return v end, { ordered = true }) end,
      } do
        local s, n = stage(isolate.stream(failing)), 0
        local ok, err = pcall(function() for _ in s:values() do n = n + 1 end end)
        assert.same({ false, "five" }, { ok, err })
        assert.is_true(n == 5 or n == 3)
      end
    end)

    it("with the remote traceback, when nobody catches it", function()
      if not lua.is_host then return end
      local result = lua.source [[
        local isolate = require "isolate"
        local function deep() error "far away" end
        local s = isolate.stream(function(emit) emit(1) deep() end)
        for v in s:map(function(v) return v end):values() do print(v) end]]
      assert.equal(1, result.status)
      assert.equal("1\n", result.stdout)
      assert.matches("in upvalue 'deep'.*awaited in 'main':.*in main chunk", result.stderr)
    end)

    it("on stderr when nobody reads so far", function()
      local result = lua.source [[
        local isolate = require "isolate"
        do
          local rx, tx = isolate.port()
          isolate.stream({ on_exit = tx }, function() error "unseen" end)
          tx:close()
          rx:receive()
        end
        collectgarbage()]]
      assert.matches("uncaught error in isolate .*unseen", result.stderr)
    end)
  end)

  it("does not keep the program from ending when nobody reads it", function()
    local result = lua.source [[
      local isolate = require "isolate"
      s = isolate.stream(function(emit) while true do emit(1) end end)
      print "end"]]
    assert.same({ "end\n", "", 0 }, { result.stdout, result.stderr, result.status })
  end)

  describe("raises at the caller", function()
    it("for what it cannot start", function()
      assert.matches("function or table of options expected", misuse(function()
        isolate.stream(1)
      end))
      assert.matches("unknown option 'windows'", misuse(function()
        isolate.stream({ windows = 1 }, count_up)
      end))
      assert.matches("needs \"package\"", misuse(function()
        isolate.stream({ libs = { "string" } }, count_up)
      end))
      for _, name in ipairs { "window", "batch" } do
        for _, bad in ipairs { 0, 1.5, "1" } do
          assert.matches("option '" .. name .. "': an integer of 1 or more expected",
            misuse(function() isolate.stream({ [name] = bad }, count_up) end))
        end
      end
      assert.matches("dot, not a colon", misuse(function() isolate:stream(count_up) end))
    end)

    it("for what cannot be sent, with its path", function()
      local file = io.stdout
      local ok, err = pcall(isolate.stream, function(emit) emit(file) end)
      assert.same({ false, "upvalue 'file'" }, { ok, err.path })
      ok, err = pcall(isolate.stream, { batch = 4 }, count_up, 1, { io.stdout })
      assert.same({ false, "argument #2[1]" }, { ok, err.path })
    end)

    it("for emit(nil)", function()
      for _, batch in ipairs { 1, 8 } do
        local ok, err = pcall(function()
          isolate.stream({ batch = batch }, function(emit) emit(nil) end):first()
        end)
        assert.is_false(ok)
        assert.matches("stream_spec%.lua:%d+: .*value is not nil", err)
      end
    end)
  end)

  it("is a handle: id, name, a locked metatable; and cannot be sent", function()
    local s <close> = isolate.stream(count_up, 1)
    local m <close> = s:map(print)
    assert.equal("integer", math.type(s.id))
    assert.not_equal(s.id, m.id)
    assert.equal("isolate.stream", getmetatable(s))
    assert.matches("^isolate%.stream: map ", tostring(m))
    local ok, err = isolate.sendable { s }
    assert.same({ false, "not_sendable", "message[1]" }, { ok, err.code, err.path })
    assert.matches("holds a receiver", err.message)
  end)
end)

describe("stream", function()
  it(":receive() waits for a time", function()
    local ch = isolate.channel(1)
    local s = isolate.stream(function(emit, c) emit(c:receive()) end, ch)
    for _, stream in ipairs { s, s:map(function(v) return v + 1 end) } do
      assert.same({ nil, "timeout" }, { stream:receive(0) })
      assert.same({ nil, "timeout" }, { stream:receive(0.01) })
    end
    ch:send(1)
    assert.equal(1, s:receive(limit))
    assert.matches("a timeout is a number of seconds", misuse(function() s:receive(-1) end))
    assert.matches("a timeout is a number of seconds", misuse(function() s:receive "1" end))
  end)

  it(":pause() holds values back, and the producer; :resume() goes on", function()
    local ended, emitted = isolate.atomic(0), isolate.atomic(0)
    local s = isolate.stream({ window = 8 }, endless, ended, emitted)
    local m = s:map(function(v) return -v end)
    assert.equal(1, s:receive(limit))
    s:pause():pause()
    assert.same({ nil, "timeout" }, { s:receive(0) })
    assert.same({ nil, "timeout" }, { m:receive(0) })
    assert.is_true(eventually(function() return emitted:load() == 9 end))
    isolate.after(0.01, function() s:resume() end)
    assert.equal(-2, m:receive(limit))
    m:pause()
    isolate.after(0.01, function() m:resume() end)
    local got = {}
    for v in m:values() do
      got[#got + 1] = v
      if #got == 2 then break end
    end
    assert.same({ -3, -4 }, got)
    s:pause():close()
    assert.equal(1, ends(ended))
  end)

  it(":pause() stops a loop over :values()", function()
    local s, n = isolate.stream(count_up, 10), 0
    for v in s:values() do
      n = n + 1
      assert.equal(n, v)
      if v == 5 then
        s:pause()
        isolate.after(0.01, function() s:resume() end)
      end
    end
    assert.equal(10, n)
  end)

  describe("in a select", function()
    it("gives its values, its end and its error", function()
      local s = isolate.stream(function(emit) emit(1) emit(2) error("ends so", 0) end)
      local m = s:map(function(v) return v * 10 end)
      assert.same({ s, 1 }, { isolate.select({ s }, limit) })
      assert.same({ m, 20 }, { isolate.select({ m }, limit) })
      assert.same({ n = 3, m, nil, "ends so" }, table.pack(isolate.select({ m }, limit)))
      assert.same({ n = 3, m, nil, "closed" }, table.pack(isolate.select({ m }, limit)))
    end)

    it("loses nothing when another one is first", function()
      local rx, tx = isolate.port()
      local ch = isolate.channel(1)
      local s = isolate.stream(function(emit, c)
        for v in c:messages() do emit(v) end
      end, ch):filter(function(v) return v % 2 == 0 end)
      tx:send "other"
      assert.same({ rx, "other" }, { isolate.select({ s, rx }, limit) })
      assert.same({ nil, "timeout" }, { isolate.select({ s, rx }, 0.01) })
      ch:send(1)
      ch:send(2)
      assert.same({ s, 2 }, { isolate.select({ rx, s }, limit) })
      ch:close()
      tx:close()
      assert.same({ nil, "closed" }, { s:receive(limit) })
    end)

    it("starves nobody, and is misused with a position", function()
      local s, t = isolate.stream_of(numbers(100)), isolate.stream_of(numbers(100))
      local ch = isolate.channel(10)
      for i = 1, 10 do ch:send(i) end
      local seen = {}
      for _ = 1, 12 do
        local thing = isolate.select { s, t, ch }
        seen[thing] = true
      end
      assert.is_true(seen[s] and seen[t] and seen[ch])
      assert.matches("stream, isolate, timer", misuse(function()
        isolate.select { s, 5 }
        isolate.select { s, 5 }
      end))
    end)
  end)
end)

describe("isolate.stream_of()", function()
  it("takes lists, iterators, receivers and channels", function()
    assert.same({ 1, 2, 3 }, isolate.stream_of({ 1, 2, 3 }):collect())
    assert.same({ "a", "b" }, isolate.stream_of(("a b"):gmatch "%a"):collect())
    assert.same({ 1, 2 }, isolate.stream_of(ipairs { 5, 6 }):collect())
    local rx, tx = isolate.port()
    tx:send(false) tx:send(2) tx:close()
    assert.same({ false, 2 }, isolate.stream_of(rx):collect())
    local ch = isolate.channel(2)
    ch:send(1)
    assert.equal(1, isolate.stream_of(ch):first())
    assert.is_true(ch:send(2)) -- it is not closed
    ch:close()
  end)

  it("closes what it was given", function()
    local rx, tx = isolate.port()
    tx:send(1)
    assert.equal(1, isolate.stream_of(rx):first())
    assert.same({ nil, "closed" }, { tx:send(2) })
    local closed
    local closing = setmetatable({}, { __close = function() closed = true end })
    isolate.stream_of(function() return 1 end, nil, nil, closing):first()
    assert.is_true(closed)
  end)

  it("raises for other things", function()
    assert.matches("list, iterator, receiver or channel expected, got number",
      misuse(function() isolate.stream_of(1) end))
  end)
end)

describe("stages", function()
  it("pull nothing before they are asked", function()
    local asked = 0
    local s = isolate.stream_of(function()
      asked = asked + 1
      return asked
    end)
    local same = function(v) return v end
    local t = s:map(same):filter(same):skip(1):batch(2):flat_map(same):buffer(2):take(3)
      :parallel(2, same)
    assert.equal(0, asked)
    t:close()
    assert.equal(0, asked)
  end)

  it("give what they say", function()
    local function of(n) return isolate.stream_of(numbers(n)) end
    assert.same({ 2, 4, 6 }, of(3):map(function(v) return v * 2 end):collect())
    assert.same({ 2, 4 }, of(5):filter(function(v) return v % 2 == 0 end):collect())
    assert.same({ 1, 2 }, of(5):take(2):collect())
    assert.same({}, of(5):take(0):collect())
    assert.same({ 4, 5 }, of(5):skip(3):collect())
    assert.same({ { 1, 2 }, { 3, 4 }, { 5 } }, of(5):batch(2):collect())
    assert.same({ 1, 1, 2, 1, 2, 3 }, of(3):flat_map(numbers):collect())
    assert.same({ 1, 1, 2 }, of(2):flat_map(of):collect())
    assert.same({ "a", "b" }, isolate.stream_of({ "a b" }):flat_map(function(s)
      return s:gmatch "%a"
    end):collect())
    assert.same({ { 1, 1 }, { 2, 2 } }, of(2):zip(of(5)):collect())
    assert.same(numbers(5), of(5):buffer(2):collect())
    local merged = of(3):merge(isolate.stream_of { 4, 5 }):collect()
    table.sort(merged)
    assert.same(numbers(5), merged)
    assert.equal(15, of(5):reduce(function(a, b) return a + b end))
    assert.equal(25, of(5):reduce(function(a, b) return a + b end, 10))
    assert.is_nil(of(0):reduce(math.max))
    assert.equal(5, of(5):count())
    assert.is_nil(of(0):first())
    local sum = 0
    of(4):each(function(v) sum = sum + v end)
    assert.equal(10, sum)
  end)

  it("work over isolates too, with ends of both", function()
    local a, b = isolate.atomic(0), isolate.atomic(0)
    local zipped = isolate.stream(endless, a):zip(isolate.stream(endless, b)):take(3):collect()
    assert.same({ { 1, 1 }, { 2, 2 }, { 3, 3 } }, zipped)
    assert.same({ 1, 1 }, { ends(a), ends(b) })
    local merged = isolate.stream(count_up, 50):merge(isolate.stream(count_up, 50))
    assert.equal(2550, merged:reduce(function(x, y) return x + y end))
  end)

  it("name themselves when a function gives nil or something wrong", function()
    local function raised(s) return select(2, pcall(s.collect, s)) end
    local one = function() return isolate.stream_of { 1 } end
    assert.matches("stream:map: the function returned nil", raised(one():map(function() end)))
    assert.matches("stream:flat_map: the function returned a number",
      raised(one():flat_map(function() return 1 end)))
    assert.matches("stream:parallel: the function returned nil",
      raised(one():parallel(1, function() end)))
  end)

  it("raise at the caller for misuse", function()
    local s = isolate.stream_of { 1 }
    for _, name in ipairs { "map", "filter", "flat_map", "reduce", "each" } do
      assert.matches("#1 to '" .. name .. "' %(function expected, got nil%)",
        misuse(function() s[name](s) end))
      assert.matches("isolate.stream expected, got function.*colon",
        misuse(function() s[name](print) end))
    end
    for _, name in ipairs { "take", "skip", "batch", "buffer" } do
      assert.matches("#1 to '" .. name .. "' %(an integer of %d or more expected, got %-1%)",
        misuse(function() s[name](s, -1) end))
    end
    for _, name in ipairs { "merge", "zip" } do
      assert.matches("stream expected, got table", misuse(function() s[name](s, {}) end))
    end
    assert.matches("unknown option 'order'", misuse(function()
      s:parallel(1, print, { order = true })
    end))
    assert.matches("#2 to 'parallel'", misuse(function() s:parallel(1) end))
  end)
end)

describe("stream:parallel()", function()
  local function square(v) return v * v end

  it("keeps the order when asked, and gives all in any case", function()
    local expected = {}
    for i = 1, 100 do expected[i] = i * i end
    assert.same(expected, isolate.stream(count_up, 100)
      :parallel(3, square, { ordered = true }):collect())
    local any = isolate.stream(count_up, 100):parallel(3, square):collect()
    table.sort(any)
    assert.same(expected, any)
  end)

  it("runs ahead of its consumer by two values for each isolate at most", function()
    local asked = 0
    local s = isolate.stream_of(function()
      asked = asked + 1
      return asked
    end):parallel(3, square, { ordered = true })
    for i = 1, 20 do
      assert.equal(i * i, s:receive(limit))
      assert.is_true(asked - i <= 6)
    end
    s:close()
  end)

  it("works at several values at once", function()
    local here = isolate.atomic(0)
    local s = isolate.stream_of(numbers(2)):parallel(2, function()
      here:add(1)
      while here:load() < 2 do end -- each waits for the other
      return true
    end)
    assert.same({ true, true }, s:collect())
  end)

  it("raises an error in its function after what came before, and ends", function()
    local s = isolate.stream(count_up, 1000000):parallel(2, function(v)
      if v == 5 then error("at five", 0) end
      return v
    end, { ordered = true })
    local got = {}
    local ok, err = pcall(function() for v in s:values() do got[#got + 1] = v end end)
    assert.same({ false, "at five", { 1, 2, 3, 4 } }, { ok, err, got })
    assert.same({ nil, "closed" }, { s:receive() })
  end)

  it("takes globals along, and refuses what cannot be sent with its path", function()
    spec_stream_factor = 2
    local s = isolate.stream_of(numbers(3)):parallel(2, function(v)
      return v * spec_stream_factor
    end, { ordered = true })
    assert.same({ 2, 4, 6 }, s:collect())
    spec_stream_factor = nil
    local file = io.stdout
    local bad = isolate.stream_of { 1 }:parallel(1, function() return file end)
    assert.equal("upvalue 'file'", select(2, pcall(bad.receive, bad)).path)
  end)

  it("takes what would be ignored for a mistake", function()
    local function message_of(fn)
      local ok, err = pcall(fn)
      assert.is_false(ok)
      return err
    end
    local a, b = isolate.stream_of{ 1 }, isolate.stream_of{ 2 }
    assert.matches("'merge' takes one stream", message_of(function() a:merge(b, b) end))
    assert.matches("another stream expected", message_of(function() a:zip(a) end))
    assert.matches("option 'paused'", message_of(function()
      isolate.stream({ paused = true }, function() end)
    end))
    local s = isolate.stream(function(emit) emit(1, 2) end)
    assert.matches("emit takes one value", message_of(function() s:receive(60) end))
    local list = isolate.stream_of{ { x = 1 }, { y = 2 } }:flat_map(pairs):collect()
    assert.same({ "x", "y" }, list)
  end)
end)
