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

describe("examples/supervisor.lua", function()
  it("shows a worker that is started again, until that is too much", function()
    local result = example "supervisor.lua"
    assert.equal("", result.stderr)
    assert.equal([[
123: 6
oops	adder failed
	started again, restart 1
456: 15
ouch	adder failed
	started again, restart 2
789: 24
adder	2 restarts
other	0 restarts
false	restarts	adder
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

describe("examples/transfer.lua", function()
  it("prints the sum, and the times of a copy and a move", function()
    local result = example("transfer.lua", { "2" })
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
    local sum, copy, move = result.stdout:match(
      "^Sum: (%d+)\n(%d+%.%d%d) ms to send a copy, (%d+%.%d%d) ms to move it\n$")
    assert.equal("31250125000", sum, result.stdout)
    assert.is_true(tonumber(copy) > 0 and tonumber(move) > 0, result.stdout)
  end)

  it("prints its usage and ends with status 1 for a number that is none", function()
    for _, bad in ipairs { "0", "-1", "1.5", "many" } do
      local result = example("transfer.lua", { bad })
      assert.equal(1, result.status)
      assert.equal("usage: isolua examples/transfer.lua [MB]\n", result.stderr)
      assert.equal("", result.stdout)
    end
  end)
end)

-- Of examples that read files: makes a directory for a block, and returns its name's function and
-- a function that writes a file in it.
local function in_directory()
  local directory
  setup(function()
    directory = os.tmpname()
    os.remove(directory)
    assert(os.execute("mkdir " .. directory))
  end)
  teardown(function() os.execute("rm -r " .. directory) end)
  return function() return directory end, function(name, text)
    return shell.write(text, directory .. "/" .. name)
  end
end

describe("examples/wc.lua", function()
  local directory, file = in_directory()

  -- Expects that it does what wc does, with these arguments in this locale.
  local function compare(args, locale)
    local options = { env = { "LC_ALL=" .. locale }, cwd = directory() }
    local wanted = shell.run("wc " .. shell.words(args), options)
    local result = example("wc.lua", args, options)
    assert.same({ wanted.stdout, wanted.stderr, wanted.status },
      { result.stdout, result.stderr, result.status }, table.concat(args, " "))
  end

  local function compare_both(args)
    compare(args, "C")
    compare(args, "C.UTF-8")
  end

  -- Later ones than 9.4 have other words.
  local version = shell.run "wc --version".stdout:match "%(GNU coreutils%) 9%.([0-4])%D"
  local test = version and it or pending

  test("prints what wc does", function()
    file("a", "one two\nthree\n")
    file("b", ("x y\n"):rep(1000))
    file("open", "no end")
    file("empty", "")
    file("n\nl", "a\n")
    for _, args in ipairs { { "a" }, { "a", "b" }, { "b", "open", "empty" }, { "empty" },
      { "n\nl" }, { "-l", "a" }, { "-w", "a" }, { "-c", "b" }, { "-l", "a", "b" }, { "-cl", "a" },
      { "a", "-w" }, { "-c", "-l", "-w", "--", "a" }, { "--lines", "--bytes", "a", "b" },
      { "/proc/version" }, { "/dev/null", "a" } } do
      compare_both(args)
    end
  end)

  test("reports what it cannot read, and goes on", function()
    file("a", "one two\nthree\n")
    assert(os.execute(("mkdir -p '%s/d'"):format(directory())))
    for _, args in ipairs { { "none" }, { "d" }, { "none", "a" }, { "a", "d" }, { "d", "none" },
      { "-l", "d" }, { "-c", "none", "a", "d" }, { "it's", "#1", "a b", "a\n" }, { "" } } do
      compare_both(args)
    end
  end)

  -- Made from a seed: pieces of one file are of one or two kinds.
  local function random_text(size)
    local chars = { "a", "word", " ", "\n", "\t", "\r", "\v", "\f", "\0", "\x1F", "\x7F", "\u{A0}",
      "\u{85}", "\u{2007}", "\u{2028}", "\u{202F}", "\u{2060}", "\u{3000}", "\u{E9}", "\u{20AC}",
      "\u{1F600}", "\u{378}", "\u{200B}", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\xA0", "\xFF" }
    local kinds = {
      function() return chars[math.random(#chars)] end,
      function() return chars[math.random(4)] end,
      function() return chars[math.random(#chars)]:sub(1, math.random(3)) end,
      function() return string.char(math.random(0, 255)) end,
      function() return utf8.char(math.random(0x80, 0xD7FF)) end,
      function() return utf8.char(math.random(0xE000, 0x10FFFF)) end,
    }
    local one, other, list, length = kinds[math.random(#kinds)], kinds[math.random(#kinds)], {}, 0
    while length < size do
      local piece = (math.random() < 0.5 and one or other)()
      list[#list + 1], length = piece, length + #piece
    end
    return table.concat(list):sub(1, size)
  end

  test("is right for any bytes", function()
    math.randomseed(20)
    local names = {}
    for i = 1, 120 do
      local size = i % 3 == 0 and math.random(40) or i % 3 == 1 and math.random(2000) or
        16384 * math.random(2) + math.random(-5, 5)
      names[i] = "random" .. i
      file(names[i], random_text(size))
    end
    compare_both(names)
  end)

  test("is right at the edges of blocks and slices", function()
    math.randomseed(21)
    local names = {}
    for i = 1, 4 do
      names[i] = "edge" .. i
      local size = (1 << 18) + math.random(-4, 4)
      -- What begins at the edge, a character or half of it, would be cut.
      file(names[i], ("x"):rep(size - 3) .. ("\u{20AC}\u{A0}\u{3000}"):rep(5) .. random_text(300) ..
        "\n" .. ("word \n"):rep(200000))
    end
    file("line", ("x"):rep(1000000))
    file("rest", ("\x80"):rep(600000) .. " \u{E9}")
    names[#names + 1], names[#names + 2] = "line", "rest"
    compare_both(names)
  end)

  it("counts words of characters, or of bytes", function()
    local path = file("chars", "\u{E9}t\u{E9}\u{A0}x\u{378} \u{20AC} \xFF \0 x\n")
    for locale, words in pairs { C = 2, ["C.UTF-8"] = 4 } do
      local result = example("wc.lua", { "-w", path }, { env = { "LC_ALL=" .. locale } })
      assert.equal(("%d %s\n"):format(words, path), result.stdout)
    end
  end)

  it("prints its usage and ends with status 1 for bad arguments", function()
    for _, bad in ipairs { {}, { "-l" }, { "-x", "a" }, { "--letters", "a" } } do
      local result = example("wc.lua", bad)
      assert.equal(1, result.status)
      assert.equal("usage: isolua examples/wc.lua [-lwc] FILE...\n", result.stderr)
    end
  end)
end)

describe("examples/grep.lua", function()
  local directory, file = in_directory()

  local function grep(...)
    local result = example("grep.lua", { ... }, { cwd = directory() })
    return result.stdout, result.status, result.stderr
  end

  it("prints the lines that match, and names the file where there are several", function()
    file("a", "one 1\ntwo\nthree 3\n")
    file("b", "4")
    assert.same({ "one 1\nthree 3\n", 0, "" }, { grep("[0-9]", "a") })
    assert.same({ "a:one 1\na:three 3\nb:4\n", 0, "" }, { grep("[0-9]", "a", "b") })
    assert.same({ "two\n", 0, "" }, { grep("{'t' 'w'} {.}", "a") })
    assert.same({ "one 1\nthree 3\n", 0, "" }, { grep("%d !.", "a") })
  end)

  it("ends with status 1 where nothing matches", function()
    file("a", "one\n")
    file("empty", "")
    assert.same({ "", 1, "" }, { grep("'two'", "a", "empty") })
    assert.same({ "", 1, "" }, { grep("''", "empty") })
  end)

  it("prints any bytes, and empty lines", function()
    file("bytes", "\0\xFF\n\n x\r\n")
    assert.same({ "\0\xFF\n\n x\r\n", 0, "" }, { grep("''", "bytes") })
    assert.same({ "\0\xFF\n", 0, "" }, { grep("[\x80-\xFF]", "bytes") })
  end)

  it("keeps the order of a file that several search", function()
    local lines, wanted = {}, {}
    for i = 1, 150000 do
      lines[i] = tostring(i)
      if lines[i]:find "77" then wanted[#wanted + 1] = "large:" .. i end
    end
    file("large", table.concat(lines, "\n"))
    file("small", "77\n")
    local text, status = grep("'77'", "large", "small")
    assert.equal(0, status)
    assert.equal(table.concat(wanted, "\n") .. "\nsmall:77\n", text)
  end)

  it("ends with status 2 after an error", function()
    file("a", "one\n")
    assert.same({ "a:one\n", 2, "grep: none: No such file or directory\n" },
      { grep("'one'", "none", "a") })
    assert.same({ "", 2, "grep: .: Is a directory\n" }, { grep("'one'", ".") })
    assert.same({ "", 2, "grep: bad pattern: pattern error near '['\n" }, { grep("[", "a") })
    assert.same({ "", 2, "grep: bad pattern: rule 'y' undefined in given grammar\n" },
      { grep("x <- y", "a") })
    assert.same({ "", 2, "usage: isolua examples/grep.lua PATTERN FILE...\n" }, { grep "x" })
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

describe("examples/pool.lua", function()
  it("prints the time of jobs in isolates of their own, and in a pool", function()
    local jobs = settle.scale(2000, 100)
    local result = example("pool.lua", { jobs })
    assert.equal("", result.stderr)
    assert.equal(0, result.status)
    local count, size, sum, rest = result.stdout:match(
      "^(%d+) jobs, (%d+) isolates in the pool; the sum of all is (%d+)\n(.*)$")
    assert.same({ jobs, 3 * jobs * (jobs + 1) }, { tonumber(count), tonumber(sum) })
    assert.is_true(tonumber(size) >= 1)
    local times = {}
    for what, time in rest:gmatch "([^\n]-) +%d+%.%d+ ms, +(%d+%.%d+) us a job\n" do
      times[what] = tonumber(time)
    end
    assert.is_true(times["an isolate a job"] > times["pool:map"], result.stdout)
    assert.is_true(times["pool:submit"] > 0, result.stdout)
  end)

  it("prints its usage and ends with status 1 for a number that is none", function()
    for _, bad in ipairs { "0", "-1", "1.5", "many" } do
      local result = example("pool.lua", { bad })
      assert.same({ 1, "usage: isolua examples/pool.lua [JOBS]\n", "" },
        { result.status, result.stderr, result.stdout })
    end
  end)
end)

describe("examples/primes.lua", function()
  it("counts the primes", function()
    for n, primes in pairs { [0] = 0, [1] = 0, [2] = 1, [3] = 2, [4] = 2, [9] = 4, [25] = 9,
      [100] = 25, [499999] = 41538, [500002] = 41538, [1000000] = 78498,
      [settle.scale(10000000, 1299709)] = settle.scale(664579, 100000) } do
      local result = example("primes.lua", { n })
      assert.same({ ("%d primes up to %d\n"):format(primes, n), "", 0 },
        { result.stdout, result.stderr, result.status })
    end
  end)

  it("prints its usage and ends with status 1 for a number that is none", function()
    for _, bad in ipairs { "-1", "1.5", "many", "1000000000001" } do
      local result = example("primes.lua", { bad })
      assert.equal(1, result.status)
      assert.matches("^usage: isolua examples/primes.lua %[N%]", result.stderr)
    end
  end)
end)

describe("examples/mandelbrot.lua", function()
  local directory = in_directory()

  local function picture(width, height)
    local path = directory() .. "/picture.ppm"
    local result = example("mandelbrot.lua", { width, height, path })
    assert.same({ "", 0 }, { result.stderr, result.status })
    assert.matches((": %d x %d in "):format(width, height), result.stdout, 1, true)
    local digest = shell.run("sha256sum " .. shell.quote(path)).stdout:match "^%x+"
    return shell.read(path), digest
  end

  it("writes the picture", function()
    local bytes, digest = picture(200, 150)
    assert.equal(#"P6\n200 150\n255\n" + 200 * 150 * 3, #bytes)
    assert.equal("57fe3aa7a7c85f840742099c12f84b995405770fdb1c2c1708a5724162e491f6", digest)
  end)

  it("writes pictures of any shape, whose halves mirror each other", function()
    for _, size in ipairs { { 1, 1 }, { 7, 40 }, { 90, 3 } } do
      local width, height = size[1], size[2]
      local bytes = picture(width, height)
      local head = ("P6\n%d %d\n255\n"):format(width, height)
      assert.equal(head, bytes:sub(1, #head))
      assert.equal(#head + width * height * 3, #bytes)
      local function row(n)
        return bytes:sub(#head + (n - 1) * width * 3 + 1, #head + n * width * 3)
      end
      for n = 1, height // 2 do assert.equal(row(n), row(height + 1 - n)) end
    end
  end)

  it("prints its usage and ends with status 1 for bad arguments", function()
    for _, bad in ipairs { { "0", "1", "x" }, { "1" }, { "1", "2" }, { "1", "2.5", "x" },
      { "1", "2", "x", "y" }, { "70000", "1", "x" } } do
      local result = example("mandelbrot.lua", bad, { cwd = directory() })
      assert.same({ 1, "usage: isolua examples/mandelbrot.lua [WIDTH HEIGHT FILE]\n" },
        { result.status, result.stderr })
    end
    local result = example("mandelbrot.lua", { "1", "1", "/no/such/file" })
    assert.equal(1, result.status)
    assert.matches("No such file or directory", result.stderr, 1, true)
  end)
end)

describe("examples/duplicates.lua", function()
  local directory, file = in_directory()

  local function duplicates(...)
    local result = example("duplicates.lua", { ... }, { cwd = directory(),
      env = { "NO_PROGRESS=1" } })
    return { result.stdout, result.stderr, result.status }
  end

  it("prints the files that are equal, and what their copies take", function()
    local ends = ("e"):rep(600)
    file("a1", "same")
    file("a2", "same")
    file("a3", "same")
    file("b", "diff")
    file("it's", ends .. "x" .. ends)
    file("-large 2", ends .. "x" .. ends)
    file("large3", ends .. "y" .. ends)
    file("alone", "!")
    file("empty1", "")
    file("empty2", "")
    assert(os.execute(("cd %s && ln a1 a4 && ln -s a1 a5 && mkdir d && cp b d && rm a4")
      :format(directory())))
    assert(os.execute(("cd %s && ln b hard"):format(directory())))
    local of_b = shell.run("find . -name b -o -name hard", { cwd = directory() }).stdout:match
      "%./([^\n/]+)\n" -- the first one of the two that find comes upon
    assert.same({ "2 files of 1201 bytes:\n  ./-large 2\n  ./it's\n" ..
      "3 files of 4 bytes:\n  ./a1\n  ./a2\n  ./a3\n" ..
      "2 files of 4 bytes:\n  ./" .. of_b .. "\n  ./d/b\n" ..
      "3 groups; their copies take 1213 bytes\n", "", 0 }, duplicates ".")
    assert.same({ "0 groups; their copies take 0 bytes\n", "", 0 }, duplicates "d")
  end)

  it("goes on after an error, and ends with status 1", function()
    file("a1", "same")
    file("a2", "same")
    local result = duplicates("none", ".")
    assert.matches("  ./a1\n  ./a2\n", result[1], 1, true)
    assert.matches("none", result[2], 1, true)
    assert.equal(1, result[3])
    assert.same({ "", "usage: isolua examples/duplicates.lua DIR...\n", 1 }, duplicates())
  end)
end)
