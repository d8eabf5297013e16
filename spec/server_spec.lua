-- server_spec.lua - examples/server.lua over real sockets: every answer, signals, load and kills.
-- SPDX-License-Identifier: MIT

local cqueues = require "cqueues"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"
local socket = require "cqueues.socket"

-- Run before the server: sets options of its pool, and lets a document say what its job does before
-- it is decoded: "spin 0.2" seconds, or "die". OPTIONS and MORE are filled in.
local PRELUDE = [[
  local isolate = require "isolate"
  local pool = isolate.pool
  local function init()
    local isolate, cjson = require "isolate", require "cjson"
    local new = cjson.new
    function cjson.new()
      local json = new()
      local decode = json.decode
      function json.decode(text)
        local seconds = text:match '"do":"spin ([^"]*)"'
        local till = isolate.now() + (tonumber(seconds) or 0)
        while isolate.now() < till do end
        if text:find('"do":"die"', 1, true) then isolate.self():kill() while true do end end
        local ok, document = pcall(decode, text)
        return ok and document or error(document, 0)
      end
      return json
    end
  end
  function isolate.pool(options)
    for name, value in pairs { OPTIONS } do options[name] = value end
    options.init = init
    return pool(options)
  end
  print(io.open "/proc/self/stat":read "n")
  MORE
]]

-- The one that runs: a pipe that it prints into, its process, its port.
local server, process, port

local function start(options, more)
  local prelude = PRELUDE:gsub("OPTIONS", options or ""):gsub("MORE", more or "")
  server = assert(io.popen(("exec timeout -k 5 %d env %s %s 2>&1"):format(shell.limit * 2,
    shell.words(lua.env()), shell.words { lua.exe, "-e", prelude,
    lua.root .. "/examples/server.lua", "0" })))
  process = server:read "l"
  local line = server:read "l"
  port = tonumber(line and line:match "^listening on http://127%.0%.0%.1:(%d+)$")
  assert.is_number(port, line)
end

local function signal(name)
  assert(os.execute(("kill -%s %s"):format(name, process)))
end

-- Expects that it ends well, without a word.
local function ended()
  local rest = server:read "a"
  local _, how, status = server:close()
  server = nil
  assert.same({ "", "exit", 0 }, { rest, how, status })
end

-- Nothing is in flight: so it ends at once.
local function stop()
  local began = settle.now()
  signal "TERM"
  ended()
  assert.is_true(settle.now() - began < settle.scale(5, 15))
end

-- ---- A client ----

local function connect()
  local connection = assert(socket.connect("127.0.0.1", port))
  connection:setmode("b", "bn")
  connection:settimeout(settle.limit)
  connection:onerror(function(_, _, reason) return reason end)
  return connection
end

-- Reads an answer: its status, its body and its header fields; nil at the end.
local function receive(connection)
  local line = connection:read "*l"
  if not line then return nil end
  local status, fields = assert(line:match "^HTTP/1%.1 (%d+) ", line), {}
  for field in connection:lines "*l" do
    local name, value = field:match "^(%S+): (.-)\r?$"
    if not name then break end
    fields[name:lower()] = value
  end
  local length = tonumber(fields["content-length"] or 0)
  return tonumber(status), length == 0 and "" or connection:read(length), fields
end

local function request(method, path, body, fields)
  return ("%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s"):format(method, path,
    (fields or "") .. (body and ("Content-Length: %d\r\n"):format(#body) or ""), body or "")
end

-- Sends text on a connection of its own, and reads one answer.
local function ask(text)
  local connection = connect()
  connection:write(text)
  local status, body, fields = receive(connection)
  connection:close()
  return status, body, fields
end

local function two(status, body)
  return { status, body }
end

local function post(body)
  return ask(request("POST", "/sum", body))
end

-- Calls functions at once, each in a coroutine, and waits for all.
local function together(list)
  local loop = cqueues.new()
  for _, fn in ipairs(list) do loop:wrap(fn) end
  local deadline = settle.now() + settle.limit
  while not loop:empty() do
    assert(settle.now() < deadline, "some requests are not answered")
    assert(loop:step(1))
  end
end

local function curl(...)
  return shell.run(shell.words { "curl", "-sS", "-m", settle.limit, ... })
end

local function url(path)
  return ("http://127.0.0.1:%d%s"):format(port, path)
end

local SPIN = '[{"value":1,"do":"spin %s"}]'
local DIE = '[{"value":1,"do":"die"}]'

describe("examples/server.lua", function()
  after_each(function()
    if server then
      os.execute(("kill -KILL %s 2>/dev/null"):format(process))
      server:close()
      server = nil
    end
  end)

  it("answers what curl sends", function()
    start()
    local result = curl("-X", "POST", url "/sum", "-d", '[{"value":10},{"value":20}]')
    assert.same({ '{"count":2,"total":30}', "", 0 },
      { result.stdout, result.stderr, result.status })
    stop()
  end)

  it("prints its usage and ends with status 1 for a bad port", function()
    for _, bad in ipairs { { "x" }, { "-1" }, { "65536" }, { "1.5" }, { "80", "81" } } do
      local result = lua.file(lua.root .. "/examples/server.lua", bad)
      assert.same({ "usage: isolua examples/server.lua [PORT]\n", "", 1 },
        { result.stderr, result.stdout, result.status })
    end
  end)

  it("says that its port is taken", function()
    start()
    local result = lua.file(lua.root .. "/examples/server.lua", { port })
    assert.equal(1, result.status)
    assert.matches("Address already in use", result.stderr, 1, true)
    stop()
  end)

  it("sums", function()
    start()
    for values, total in pairs {
      ["1,2,3"] = "6", ["-5,3"] = "-2", ["1.0,1e3"] = "1001", ["-0"] = "0",
      ["0.1,0.2"] = "0.30000000000000004", ["0.1"] = "0.1", ["1e308"] = "1e+308",
      ["0.5,-0.5,7"] = "7", ["9007199254740993,1"] = "9007199254740994",
      ["9223372036854775807,-1"] = "9223372036854775806",
      ["9223372036854775807,1"] = "9223372036854775808",
      ["-9223372036854775808,-1"] = "-9223372036854775809",
      ["-1000000000000000,1"] = "-999999999999999",
      ["9007199254740993,1.25"] = "9007199254740994", ["1e17"] = "100000000000000000",
      ["1.2345678901234567e20"] = "1.2345678901234567e+20",
      ["12345678901234567890"] = "1.2345678901234567e+19",
    } do
      local list, count = {}, 0
      for value in values:gmatch "[^,]+" do
        count = count + 1
        list[count] = ('{"s":"\\"9007199254740993","value":%s}'):format(value)
      end
      assert.same({ 200, ('{"count":%d,"total":%s}'):format(count, total) },
        two(post("[" .. table.concat(list, ", ") .. "]")), values)
    end
    assert.same({ 200, '{"count":0,"total":0}' }, two(post " [ ] "))
    stop()
  end)

  it("says what is wrong with a body, and where", function()
    start()
    for body, wanted in pairs {
      ["["] = '{"error":"bad JSON: Expected value but found T_END at character 2"}',
      [""] = '{"error":"bad JSON: Expected value but found T_END at character 1"}',
      ["[NaN]"] = '{"error":"bad JSON: Expected value but found invalid token at character 2"}',
      ['{"value":1}'] = '{"error":"not an array"}',
      ["7"] = '{"error":"not an array"}',
      ['[{"value":1},{"valu":1}]'] = '{"error":"no value","index":1}',
      ['[{"value":1},2]'] = '{"error":"not an object","index":1}',
      ["[null]"] = '{"error":"not an object","index":0}',
      ['[{"value":"1"}]'] = '{"error":"value is not a number","index":0}',
      ['[{"value":false}]'] = '{"error":"value is not a number","index":0}',
      ['[{"value":null}]'] = '{"error":"value is not a number","index":0}',
      ['[{"value":1e999}]'] = '{"error":"value is out of range","index":0}',
      ['[{"value":1e308},{"value":1e308}]'] = '{"error":"the total is out of range"}',
      [("["):rep(5000)] = [[{"error":"bad JSON: ]] ..
        [[Found too many nested data structures (1001) at character 1001"}]],
    } do
      local status, text, fields = post(body)
      assert.same({ 400, wanted, "application/json" }, { status, text, fields["content-type"] })
    end
    stop()
  end)

  it("answers 404 elsewhere, and says how the pool does", function()
    start "size = 2"
    for _, path in ipairs { "/health", "/health?a=b" } do
      assert.same({ 200, '{"workers":2,"busy":0,"queued":0,"done":0,"failed":0}' },
        two(ask(request("GET", path))))
    end
    for _, what in ipairs { "GET /sum", "GET /", "PUT /sum", "DELETE /sum", "POST /health",
      "GET /sum/", "GET /health/x", "OPTIONS *" } do
      local method, path = what:match "(%S+) (%S+)"
      assert.same({ 404, '{"error":"not found"}' },
        two(ask(request(method, path, method ~= "GET" and "[]" or nil))), what)
    end
    local result = curl("-I", url "/health")
    assert.matches("^HTTP/1.1 404 Not Found", result.stdout)
    stop()
  end)

  describe("given a body over 16 MB", function()
    local too_large = '{"error":"body over 16 MB"}'

    it("refuses it at once by its length", function()
      start()
      for _, fields in ipairs { "", "Expect: 100-continue\r\n" } do
        local head = request("POST", "/sum", nil, fields .. "Content-Length: 16777217\r\n")
        local status, text, got = ask(head)
        assert.same({ 413, too_large, "close" }, { status, text, got.connection })
      end
      local status = ask(request("POST", "/sum", nil, ("Content-Length: %s\r\n"):format(
        ("9"):rep(400))))
      assert.is_true(status == 413 or status == 400)
      stop()
    end)

    it("refuses it after so much of it has come in chunks", function()
      start()
      for _, size in ipairs { "1000001", "FFFFFFFF" } do
        local status, text = ask(request("POST", "/sum", nil, "Transfer-Encoding: chunked\r\n") ..
          size .. "\r\n ")
        assert.same({ 413, too_large }, { status, text })
      end
      stop()
    end)

    it("lets the client read that", function()
      start()
      local path = shell.write((" "):rep(16777217))
      for _, fields in ipairs { { "-d", "@none" }, { "-H", "Expect:" },
        { "-H", "Transfer-Encoding: chunked" },
        { "-H", "Expect:", "-H", "Transfer-Encoding: chunked" } } do
        if fields[1] == "-d" then fields = {} end
        local result = curl(url "/sum", "--data-binary", "@" .. path, table.unpack(fields))
        assert.same({ too_large, "", 0 }, { result.stdout, result.stderr, result.status })
      end
      shell.write((" "):rep(16777214) .. "[]", path)
      local result = curl(url "/sum", "--data-binary", "@" .. path)
      os.remove(path)
      assert.same({ '{"count":0,"total":0}', 0 }, { result.stdout, result.status })
      stop()
    end)
  end)

  it("asks for a body that the client holds back", function()
    start()
    local connection = connect()
    connection:write(request("POST", "/sum", nil,
      "Content-Length: 2\r\nExpect: 100-continue\r\n"))
    assert.equal(100, (receive(connection)))
    connection:write "[]"
    assert.same({ 200, '{"count":0,"total":0}' }, two(receive(connection)))
    connection:close()
    stop()
  end)

  it("answers 503 while the queue is full, and quickly", function()
    start "size = 1, queue = 1"
    local answers = {}
    local list = {}
    for i = 1, 6 do
      list[i] = function()
        cqueues.sleep(i * 0.05)
        local began = settle.now()
        local status, text, fields = post(SPIN:format "0.6")
        answers[i] = { status, text, fields["retry-after"], settle.now() - began < 0.3 }
      end
    end
    together(list)
    for i = 1, 6 do
      assert.same(i <= 2 and { 200, '{"count":1,"total":1}', nil, false } or
        { 503, '{"error":"busy"}', "1", true }, answers[i])
    end
    stop()
  end)

  it("answers 504 for a job that takes too long", function()
    start "size = 2, timeout = 0.3"
    assert.equal(504, (post(SPIN:format "100")))
    assert.equal(200, (post(SPIN:format "0")))
    stop()
  end)

  -- cjson loses a block of its own where Lua is out of memory, which a sanitizer reports.
  local lossy = settle.sanitized and pending or it

  lossy("answers 413 for a job that takes too much memory", function()
    start "memory = '4MB'"
    assert.equal(413, (post("[" .. ("[],"):rep(300000) .. "0]")))
    assert.equal(200, (post "[]"))
    stop()
  end)

  it("answers 500 for a job that was killed, and others as ever", function()
    start "size = 2"
    local answers = {}
    local list = {}
    for i = 1, 12 do
      list[i] = function() answers[i] = (post(i % 3 == 0 and DIE or SPIN:format "0.02")) end
    end
    together(list)
    for i = 1, 12 do assert.equal(i % 3 == 0 and 500 or 200, answers[i]) end
    local status, text = post(DIE)
    assert.equal(500, status)
    assert.matches('^{"error":"[^"]*killed[^"]*"}$', text)
    stop()
  end)

  it("answers in order on one connection", function()
    start()
    local connection = connect()
    for i = 1, 5 do
      connection:write(request("POST", "/sum", ('[{"value":%d}]'):format(i)))
      assert.equal(('{"count":1,"total":%d}'):format(i), select(2, receive(connection)))
    end
    local all = {}
    for i = 1, 20 do -- the first ones take longest
      all[i] = request("POST", "/sum", ('[{"value":%d,"do":"spin %f"}]'):format(i, 0.05 / i)) ..
        request("GET", "/" .. i)
    end
    connection:write(table.concat(all))
    for i = 1, 20 do
      assert.same({ 200, ('{"count":1,"total":%d}'):format(i) },
        two(receive(connection)))
      assert.equal(404, (receive(connection)))
    end
    connection:close()
    stop()
  end)

  it("bears clients that break the rules, and those that leave", function()
    start()
    local chunked = request("POST", "/sum", nil, "Transfer-Encoding: chunked\r\n")
    for text, wanted in pairs {
      ["garbage\r\n\r\n"] = false,
      ["GET /health HTTP/1.1\r\nbad header\r\n\r\n"] = 400,
      [request("POST", "/sum", nil, "Content-Length: -1\r\n") .. "x"] = 400,
      [request("POST", "/sum", nil, "Content-Length: x\r\n") .. "x"] = 400,
      [request("POST", "/sum", nil, "Content-Length: 9\r\n") .. "x"] = 400,
      [request("POST", "/sum", nil, "Transfer-Encoding: zip\r\n") .. "x"] = 400,
      [chunked .. "zz\r\n"] = 400,
      [chunked .. "4\r\n[]"] = 400,
      [chunked .. "2\r\n[]\r\n"] = 400,
      [chunked .. "2\r\n[]\r\n0\r\n\r\n"] = 200,
    } do
      local connection = connect()
      connection:write(text)
      connection:shutdown "w"
      assert.equal(wanted, receive(connection) or false, text)
      connection:close()
      connection = connect()
      connection:write(text)
      connection:close()
    end
    local connection = connect() -- its second request is none
    connection:write(request("POST", "/sum", SPIN:format "0.1") .. "garbage\r\n\r\n")
    assert.equal(200, (receive(connection)))
    connection:close()
    assert.equal(200, (post "[]"))
    stop()
  end)

  describe("given a signal", function()
    for _, name in ipairs { "TERM", "INT" } do
      it("finishes what is in flight after SIG" .. name, function()
        start "size = 1"
        local idle = connect()
        local answers = {}
        local list = {}
        for i = 1, 4 do
          list[i] = function()
            local status, _, fields = post(SPIN:format "0.3")
            answers[i] = { status, fields.connection }
          end
        end
        list[5] = function()
          cqueues.sleep(0.15)
          signal(name)
        end
        together(list)
        for i = 1, 4 do assert.same({ 200, "close" }, answers[i]) end
        ended()
        idle:close()
        assert.is_nil((connect():connect(1)))
      end)
    end
  end)

  it("loses no request, and answers none wrongly, under load and kills of workers", function()
    start("", [[
      local ticks, timer = 0, nil
      timer = isolate.every(0.02, function()
        local list = isolate.list()
        local one = list[math.random(#list)]
        if one ~= isolate.self() then one:kill() end
        ticks = ticks + 1
        if ticks == 100 then timer:cancel() end
      end)
    ]])
    local sums, killed, each = 0, 0, settle.scale(50, 15)
    local function client(number)
      local connection = connect()
      for i = 1, each do
        local list, total = { ('{"value":0,"do":"spin %f"}'):format(math.random() / 50) }, 0
        for k = 2, math.random(2, 200) do
          local value = math.random(-1000000, 1000000)
          list[k], total = ('{"value":%d}'):format(value), total + value
        end
        connection:write(request("POST", "/sum", "[" .. table.concat(list, ",") .. "]"))
        local status, text = receive(connection)
        if status == 200 then
          assert.equal(('{"count":%d,"total":%d}'):format(#list, total), text, number .. " " .. i)
          sums = sums + 1
        else
          assert.equal(500, status)
          assert.matches("killed", text, 1, true)
          killed = killed + 1
        end
      end
      connection:close()
    end
    local clients = {}
    for i = 1, 8 do clients[i] = function() client(i) end end
    together(clients)
    assert.equal(8 * each, sums + killed)
    assert.is_true(killed > 0 and sums > killed, ("%d sums, %d killed"):format(sums, killed))
    local counts = ('"done":%d,"failed":%d}'):format(sums, killed)
    assert.is_truthy(settle.eventually(function()
      local _, stats = ask(request("GET", "/health"))
      return stats:find(counts, 1, true)
    end))
    stop()
  end)

  -- The p99 in seconds of GET /health, of two clients that ask a hundred times a second each.
  local function p99_of_health()
    local script = shell.write "function delay() return 10 end"
    local result = shell.run(("wrk -t1 -c2 -d3s --latency -s %s %s"):format(script, url "/health"))
    os.remove(script)
    assert.not_matches("Socket errors", result.stdout, 1, true)
    assert.not_matches("Non%-2xx", result.stdout)
    local p99, unit = result.stdout:match "99%%%s+(%d[%d.]*)(%a+)"
    return tonumber(p99) * ({ us = 1e-6, ms = 1e-3, s = 1 })[unit], result.stdout
  end

  -- The same while both cores are busy by what has nothing to do with the server.
  local function p99_of_machine()
    local busy = assert(io.popen("for i in 1 2; do timeout 4 sh -c 'while :; do :; done' & done"))
    local p99 = p99_of_health()
    busy:close()
    return p99
  end

  -- Says nothing where a sanitizer slows everything down.
  local fast = settle.sanitized and pending or it

  fast("answers GET /health within 50 ms while both cores are busy", function()
    start()
    local script = shell.write(([[
      wrk.method, wrk.body = "POST", '%s'
      function response(status, _, body)
        if status ~= 200 or body ~= '{"count":1,"total":1}' then print("bad answer", body) end
      end
    ]]):format(SPIN:format "0.2"))
    local best, outputs, within = math.huge, {}, false
    for _ = 1, 3 do
      local load = assert(io.popen(("exec timeout 60 wrk -t1 -c4 -d4s --timeout 20s -s %s %s 2>&1")
        :format(script, url "/sum")))
      cqueues.sleep(0.5)
      local p99, probe = p99_of_health()
      local text = load:read "a"
      load:close()
      outputs[#outputs + 1] = probe .. text
      assert.not_matches("bad answer", text, 1, true)
      assert.not_matches("Socket errors", text, 1, true)
      local jobs = tonumber(text:match "(%d+) requests in")
      assert.is_true(jobs >= 30, text) -- of 40: the cores were busy
      best = math.min(best, p99)
      -- Where other programs are at work it may be the machine that takes longer.
      within = best < 0.05 or best < 2 * p99_of_machine()
      if within then break end
    end
    os.remove(script)
    assert.is_true(within, table.concat(outputs))
    stop()
  end)
end)
