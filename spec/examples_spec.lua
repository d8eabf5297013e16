-- examples_spec.lua - every example prints what it says, as it is.
-- SPDX-License-Identifier: MIT

local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local function example(name, args, options)
  return lua.file(lua.root .. "/examples/" .. name, args, options)
end

-- The lines of a text, sorted: those of an example come in the order in which isolates end.
local function sorted(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
  table.sort(lines)
  return lines
end

describe("examples/run.lua", function()
  it("prints the sum", function()
    local result = example "run.lua"
    assert.equal("", result.stderr)
    assert.equal("Result: 4999999950000000\n", result.stdout)
    assert.equal(0, result.status)
  end)
end)

describe("examples/count_lines.lua", function()
  local directory

  setup(function()
    directory = os.tmpname()
    os.remove(directory)
    assert(os.execute("mkdir " .. directory))
  end)

  teardown(function() os.execute("rm -r " .. directory) end)

  local function file(name, text) return shell.write(text, directory .. "/" .. name) end

  -- Runs it for one file, and gives the line about that.
  local function line_of(path)
    local result = example("count_lines.lua", { path })
    assert.equal("", result.stderr)
    local line, total = result.stdout:match "^([^\n]*)\n(Total: [^\n]*)\n$"
    assert.is_string(line, result.stdout)
    return line, total
  end

  it("prints its usage and ends with status 1 without arguments", function()
    local result = example "count_lines.lua"
    assert.equal(1, result.status)
    assert.matches("usage", (result.stderr .. result.stdout):lower(), 1, true)
  end)

  it("counts the lines of each file, and of all", function()
    local a, b, c = file("a", "1\n2\n3\n"), file("b", "one\n"), file("c", ("x\n"):rep(1000))
    local result = example("count_lines.lua", { a, b, c })
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
    assert.same(sorted(("  %s: 3 lines\n  %s: 1 lines\n  %s: 1000 lines\n" ..
      "Total: 1004 lines in 3 file(s)"):format(a, b, c)), sorted(result.stdout))
    assert.matches("Total: 1004 lines in 3 file%(s%)\n$", result.stdout)
  end)

  it("is right for an empty file", function()
    local path = file("empty", "")
    local line, total = line_of(path)
    assert.equal(("  %s: 0 lines"):format(path), line)
    assert.equal("Total: 0 lines in 1 file(s)", total)
  end)

  it("counts a last line without a newline", function()
    local path = file("open", "1\n2\n3")
    assert.equal(("  %s: 3 lines"):format(path), (line_of(path)))
    path = file("one", "x")
    assert.equal(("  %s: 1 lines"):format(path), (line_of(path)))
  end)

  it("counts empty lines and lines with any bytes", function()
    local path = file("bytes", "\n\n\0\n\r\n\xff\n")
    assert.equal(("  %s: 5 lines"):format(path), (line_of(path)))
  end)

  it("is right where lines end at the edges of blocks", function()
    for _, size in ipairs { (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20 } do
      local path = file("edge", ("x"):rep(size - 1) .. "\n")
      assert.equal(("  %s: 1 lines"):format(path), (line_of(path)))
      path = file("edge", ("x"):rep(size - 1) .. "\ny")
      assert.equal(("  %s: 2 lines"):format(path), (line_of(path)))
    end
  end)

  it("reports a missing file with the reason", function()
    local path = directory .. "/missing"
    local line, total = line_of(path)
    assert.equal(("  error: %s (No such file or directory)"):format(path), line)
    assert.equal("Total: 0 lines in 1 file(s)", total)
  end)

  it("reports a directory with the reason", function()
    assert.equal(("  error: %s (Is a directory)"):format(directory), (line_of(directory)))
  end)

  it("goes on with the other files after an error", function()
    local a = file("a", "1\n2\n")
    local result = example("count_lines.lua", { directory .. "/missing", a, directory })
    assert.matches(("  %s: 2 lines\n"):format(a), result.stdout, 1, true)
    assert.matches("Total: 2 lines in 3 file(s)\n", result.stdout, 1, true)
  end)

  it("counts many files", function()
    local paths = {}
    for i = 1, settle.scale(200, 20) do paths[i] = file("many" .. i, ("x\n"):rep(i)) end
    local n = #paths
    local result = example("count_lines.lua", paths)
    assert.equal("", result.stderr)
    assert.matches(("Total: %d lines in %d file(s)\n"):format(n * (n + 1) // 2, n),
      result.stdout, 1, true)
  end)

  it("counts a file of 1 GB in constant memory", function()
    local path = directory .. "/large"
    local size = settle.scale("1G", "100M")
    assert(os.execute(("truncate -s %s %s && printf 'a\\nb\\n' >>%s && printf x >>%s"):format(
      size, path, path, path)))
    -- Too little address space to hold the file: its text and the buffer that it is read into.
    local limit = settle.sanitized and "unlimited" or 1500000
    local result = shell.run(("sh -c 'ulimit -v %s && exec %s %s %s'"):format(limit, lua.exe,
      lua.root .. "/examples/count_lines.lua", path), { env = lua.env() })
    os.remove(path)
    assert.equal("", result.stderr)
    assert.equal(("  %s: 3 lines\nTotal: 3 lines in 1 file(s)\n"):format(path), result.stdout)
  end)
end)

describe("examples/json_decode.lua", function()
  it("writes and parses a sample without an argument", function()
    local result = example "json_decode.lua"
    assert.equal("", result.stderr)
    assert.equal("Document: object\n  records: array of 1000\n  title: string sample\n",
      result.stdout)
    assert.equal(0, result.status)
  end)

  it("parses a file", function()
    local path = shell.write '{"a": [1, 2, 3], "b": {"c": null}, "d": null, "e": 1.5, "f": true}'
    local result = example("json_decode.lua", { path })
    os.remove(path)
    assert.equal("", result.stderr)
    assert.equal("Document: object\n  a: array of 3\n  b: object\n  d: null\n" ..
      "  e: number 1.5\n  f: boolean true\n", result.stdout)
  end)

  it("reports what it cannot read or parse, with status 1", function()
    local result = example("json_decode.lua", { "/tmp/no-such.json" })
    assert.equal(1, result.status)
    assert.matches("No such file or directory", result.stderr, 1, true)
    local path = shell.write "{not json"
    result = example("json_decode.lua", { path })
    os.remove(path)
    assert.equal(1, result.status)
    assert.matches("^error: ", result.stderr)
  end)
end)

describe("examples/generator_stream.lua", function()
  it("prints what the generator makes, and ends", function()
    local result = example "generator_stream.lua"
    assert.equal("", result.stderr)
    assert.equal("Received: 0\nReceived: 1\nReceived: 2\nReceived: 3\nReceived: 4\n",
      result.stdout)
    assert.equal(0, result.status)
  end)
end)

describe("examples/isolate_stream.lua", function()
  it("prints what the generator makes, and that it waits during a pause", function()
    local result = example "isolate_stream.lua"
    assert.equal("", result.stderr)
    assert.equal("Received: 0\nReceived: 1\nReceived: 2\nReceived: 3\nReceived: 4\n" ..
      "Received: 0\nMade: 3\nnil\ttimeout\nReceived: 1\nMade: 4\n", result.stdout)
    assert.equal(0, result.status)
  end)
end)

describe("examples/ping_pong.lua", function()
  it("prints the round trips and the time of one", function()
    local result = example("ping_pong.lua", { settle.scale("1000", "100") })
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
    local count, time = result.stdout:match "^(%d+) round trips, (%d+%.%d%d) us each\n$"
    assert.equal(settle.scale("1000", "100"), count, result.stdout)
    assert.is_true(tonumber(time) > 0)
  end)

  it("prints its usage and ends with status 1 for a number that is none", function()
    for _, bad in ipairs { "0", "-1", "1.5", "many" } do
      local result = example("ping_pong.lua", { bad })
      assert.equal(1, result.status)
      assert.equal("usage: isolua examples/ping_pong.lua [ROUND-TRIPS]\n", result.stderr)
      assert.equal("", result.stdout)
    end
  end)
end)

describe("examples/ring.lua", function()
  local function check(args, token)
    local result = example("ring.lua", args)
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
    local seen = result.stdout:match(
      "^Token: (%d+)\n%d+%.%d ms to build the ring, %d+%.%d ms to go round\n$")
    assert.equal(token, seen, result.stdout)
  end

  it("passes a token through 1000 isolates", function()
    if settle.sanitized then check({ "100" }, "100") else check({}, "1000") end
  end)

  it("passes it through as many as it is told", function()
    check({ "1" }, "1")
    check({ "7" }, "7")
  end)

  it("prints its usage and ends with status 1 for a number that is none", function()
    for _, bad in ipairs { "0", "-1", "1.5", "many" } do
      local result = example("ring.lua", { bad })
      assert.equal(1, result.status)
      assert.equal("usage: isolua examples/ring.lua [ISOLATES]\n", result.stderr)
      assert.equal("", result.stdout)
    end
  end)
end)

describe("examples/chat.lua", function()
  it("prints the conversation, and ends", function()
    local result = example "chat.lua"
    assert.equal("", result.stderr)
    assert.equal([[
main -> Ann: You begin.
Ann -> Bob: Have you seen Cleo?
Bob -> Ann: No. Shall I ask her to come?
Ann -> Bob: Yes, please.
Bob -> Cleo: Ann is looking for you.
Cleo -> Ann: Here I am!
The others still listen; they leave as this script lets go of their handles.
]], result.stdout)
    assert.equal(0, result.status)
  end)
end)

describe("examples/timeouts.lua", function()
  it("prints what waits that are over say", function()
    local result = example "timeouts.lua"
    assert.equal("", result.stderr)
    assert.equal([[
receive	nil	timeout
send	nil	timeout
queued	1
try	nil	timeout
done	false
run	false	timeout	isolate 'worker' ran over its time and was killed
select	nil	timeout
select	the timer
]], result.stdout)
    assert.equal(0, result.status)
  end)
end)

describe("examples/cqueues_echo.lua", function()
  local socket = require "socket"
  local server, port

  before_each(function()
    server = assert(io.popen(("exec timeout -k 5 %d env %s"):format(shell.limit, shell.words {
      table.unpack(lua.env()) }) .. " " .. shell.words {
      lua.exe, lua.root .. "/examples/cqueues_echo.lua", "0" } .. " 2>&1"))
    local line = server:read "l"
    port = tonumber(line and line:match "^listening on port (%d+)$")
    assert.is_number(port, line)
  end)

  after_each(function()
    if server then server:close() end
  end)

  local function client()
    local connection = assert(socket.connect("127.0.0.1", port))
    connection:settimeout(shell.limit)
    return connection
  end

  -- Says quit, and expects that the server has nothing to say and ends well.
  local function quit(connection)
    connection:send "quit\n"
    assert.same({ nil, "closed", "" }, { connection:receive() })
    connection:close()
    local rest = server:read "a"
    local ok, how, status = server:close()
    server = nil
    assert.same({ "", true, "exit", 0 }, { rest, ok, how, status })
  end

  it("answers many clients at once", function()
    local clients = {}
    for i = 1, 20 do
      clients[i] = client()
      clients[i]:send(("hello %d\nfib %d\n"):format(i, i))
    end
    for i, connection in ipairs(clients) do
      assert.equal("HELLO " .. i, connection:receive())
      assert.matches("^fib " .. i .. " = %d+$", connection:receive())
      if i > 1 then connection:close() end
    end
    quit(clients[1])
  end)

  it("answers others while a request takes long", function()
    local slow, quick = client(), client()
    slow:send "fib 33\n" -- half a second: Lua itself is not slowed by sanitizers
    quick:send "a\nb\n"
    assert.equal("A", quick:receive())
    assert.equal("B", quick:receive())
    assert.equal(0, #socket.select({ slow }, nil, 0))
    assert.equal("fib 33 = 3524578", (slow:receive()))
    slow:close()
    quit(quick)
  end)

  it("goes on after a request that fails, and a client that leaves", function()
    local connection = client()
    client():close()
    connection:send("fib " .. ("9"):rep(400) .. "\nx\n")
    assert.matches("^error: ", connection:receive())
    assert.equal("X", connection:receive())
    quit(connection)
  end)
end)
