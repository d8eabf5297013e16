-- progress_spec.lua - isolate.progress: what it passes on, and what it draws where.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV 512 542

-- Functions that are sent want the real globals, not those that busted gives.
local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local misuse = require "spec.support.misuse" "progress_spec"

-- Runs a script whose stderr is no terminal.
local function lines(text, env)
  return lua.source("local isolate = require 'isolate'\n" .. text, nil, { env = env })
end

local has_terminal = shell.run "script --version".status == 0
local on_terminal = has_terminal and it or pending

-- Runs it in a terminal of so many columns, and gives what that shows.
local function terminal(text, columns, env)
  local path = shell.write("local isolate = require 'isolate'\n" .. text)
  local words = { "env" }
  for _, word in ipairs(lua.env()) do words[#words + 1] = word end
  for _, word in ipairs(env or {}) do words[#words + 1] = word end
  words[#words + 1] = lua.exe
  words[#words + 1] = path
  local command = ("stty cols %d; %s"):format(columns, shell.words(words))
  local result = shell.run("script -qec " .. shell.quote(command) .. " /dev/null")
  os.remove(path)
  return result.stdout
end

-- What was drawn, one after another.
local function drawings(text)
  local list = {}
  for drawn in text:gsub("\r\n", "\n"):gmatch "\r([^\r\n]*)" do list[#list + 1] = drawn end
  return list
end

describe("isolate.progress() in a pipe", function()
  it("passes on all values, and writes a line at the end", function()
    local result = lines [[
      local function triple(s, c) if c < 3 then return c + 1, s, nil, "x" end end
      for a, b, c, d in isolate.progress({ label = "work" }, triple, "state", 0) do
        print(a, b, c, d)
      end
    ]]
    assert.equal("1\tstate\tnil\tx\n2\tstate\tnil\tx\n3\tstate\tnil\tx\n", result.stdout)
    assert.matches("^work: 3 [%d.]+[kM]?/s in [%d.]+s\n$", result.stderr)
    assert.equal(0, result.status)
  end)

  it("tells percentage and time left now and then when it knows the total", function()
    local result = lines [[
      local function step(_, i) if i < 4 then isolate.sleep(0.02) return i + 1 end end
      for _ in isolate.progress({ total = 4, label = "x", interval = 0 }, step, nil, 0) do end
    ]]
    assert.matches("x: 2/4 50%% [%d.]+/s %d+s left\n", result.stderr)
    assert.matches("x: 4/4 100%% [%d.]+/s in [%d.]+s\n$", result.stderr)
  end)

  it("is not late for a slow item behind many fast ones", function()
    local result = lines [[
      local function step(_, i)
        if i == 5000 then isolate.sleep(0.05) end
        if i < 5001 then return i + 1 end
      end
      for _ in isolate.progress({ total = 5001, interval = 0.04 }, step, nil, 0) do end
    ]]
    assert.matches("5001/5001 100%% [%d.]+[kM]?/s .-\n5001/5001", result.stderr)
  end)

  it("refuses a table that has fields and no items, and a list in place of options", function()
    local result = lines [[
      print(pcall(isolate.progress, { label = "x" }, { a = 1 }))
      print(pcall(isolate.progress, { 1, 2 }, { label = "x" }))
    ]]
    assert.matches("the table has the field 'a' and no items", result.stdout, 1, true)
    assert.matches("options expected before what is looped over", result.stdout, 1, true)
  end)

  it("writes no more than it is to", function()
    local result = lines [[
      for _ in isolate.progress({ label = "x", interval = 600 }, io.lines(arg[0])) do end
      local n = 0
      for _ in isolate.progress(function() n = n + 1 if n < 100000 then return n end end) do end
    ]]
    local _, count = result.stderr:gsub("\n", "")
    assert.equal(2, count)
  end)

  it("knows the length of a list, and iterates as ipairs does", function()
    local result = lines [[
      for i, v in isolate.progress { "a", "b" } do print(i, v) end
      for i, v in isolate.progress({ label = "none" }, {}) do print(i, v) end
    ]]
    assert.equal("1\ta\n2\tb\n", result.stdout)
    assert.matches("^2/2 100%% [^\n]*\nnone: 0/0 100%% [^\n]*\n$", result.stderr)
  end)

  it("takes pairs, and streams", function()
    local result = lines [[
      for k, v in isolate.progress(pairs { a = 1 }) do print(k, v) end
      for v in isolate.progress(isolate.stream_of { 5, 6 }) do print(v) end
      for v in isolate.progress({ label = "s" }, isolate.stream_of { 7 }) do print(v) end
    ]]
    assert.equal("a\t1\n5\n6\n7\n", result.stdout)
    assert.matches("^1 [^\n]*\n2 [^\n]*\ns: 1 [^\n]*\n$", result.stderr)
  end)

  it("ends its line and closes the iterator when the loop is left early", function()
    local result = lines [[
      local closing = setmetatable({}, { __close = function(_, e) print("closed", e) end })
      local function count(_, i) return i + 1 end
      for i in isolate.progress({ label = "x", total = 9 }, count, nil, 0, closing) do
        if i == 3 then break end
      end
      print(pcall(function()
        for _ in isolate.progress({ label = "y" }, count, nil, 0, closing) do error("oh", 0) end
      end))
    ]]
    assert.equal("closed\tnil\nclosed\toh\nfalse\toh\n", result.stdout)
    assert.matches("^x: 2/9 22%% [^\n]*\ny: 0 [^\n]*\n$", result.stderr)
  end)

  it("raises an error with one traceback", function()
    local result = lines [[
      local closing = setmetatable({}, { __close = function() end })
      for _ in isolate.progress(function() return 1 end, nil, nil, closing) do error "oh" end
    ]]
    local _, count = result.stderr:gsub("stack traceback", "")
    assert.equal(1, count)
    assert.equal(1, result.status)
  end)

  it("ends a producer as the loop is left", function()
    local result = lines [[
      local rx, tx = isolate.port()
      local s = isolate.stream(function(emit)
        local _ <close> = setmetatable({}, { __close = function() tx:send "ended" end })
        while true do emit(1) end
      end)
      for _ in isolate.progress(s) do break end
      print(rx:receive(10))
    ]]
    assert.equal("ended\n", result.stdout)
  end)

  it("is silent with NO_PROGRESS, and not when that is empty", function()
    local script = "for i in isolate.progress(pairs { 1 }) do print(i) end"
    local result = lines(script, { "NO_PROGRESS=1" })
    assert.equal("", result.stderr)
    assert.equal("1\n", result.stdout)
    assert.matches("^1 ", lines(script, { "NO_PROGRESS=" }).stderr)
  end)

  it("is silent in an isolate without io", function()
    assert.equal(6, settle.await(isolate.run({ libs = { "package" } }, function()
      local sum = 0
      for _, v in require "isolate".progress { 1, 2, 3 } do sum = sum + v end
      return sum
    end)))
  end)
end)

describe("isolate.progress() on a terminal", function()
  local slow = [[
    local list = { 1, 2, 3, 4, 5, 6, 7, 8 }
    for _ in isolate.progress({ label = "näme" }, list) do isolate.sleep(0.06) end
  ]]

  on_terminal("draws one line with a bar again and again, and ends it", function()
    local text = terminal(slow, 60)
    local list = drawings(text)
    assert.is_true(#list >= 3, text)
    assert.matches("^näme   0%% | +| 0/8 ", list[1])
    assert.matches("^näme 100%% |#+| 8/8 [%d.]+/s in [%d.]+s", list[#list])
    assert.matches("^näme +[1-9]%d%% |#+ +| %d/8 [%d.]+/s %d+s left", list[#list - 2])
    local _, newlines = text:gsub("\n", "")
    assert.equal(1, newlines)
    for _, drawn in ipairs(list) do assert.is_true(utf8.len(drawn) < 60, drawn) end
  end)

  on_terminal("draws ten times a second at most", function()
    local text = terminal([[
      local t = isolate.now()
      for _ in isolate.progress(function() return isolate.now() - t < 0.5 or nil end) do end
      print(isolate.now() - t)
    ]], 80)
    local seconds = tonumber(text:match "([%d.]+)%s*$")
    assert.is_true(#drawings(text) <= seconds * 10 + 3, text)
  end)

  on_terminal("fits what is narrow", function()
    for _, columns in ipairs { 30, 12, 5 } do
      for _, drawn in ipairs(drawings(terminal(slow, columns))) do
        assert.is_true(utf8.len(drawn) < columns, drawn)
      end
    end
  end)

  on_terminal("ends its line when the loop is left by an error", function()
    local text = terminal([[
      print(pcall(function()
        for i in isolate.progress({ label = "x" }, pairs { 1, 2 }) do error("oh", 0) end
      end))
    ]], 60)
    assert.matches("x 0 [^\r\n]*\r\nfalse\toh\r\n$", text)
  end)

  on_terminal("is silent with NO_PROGRESS", function()
    assert.equal("", terminal(slow, 60, { "NO_PROGRESS=yes" }))
  end)
end)

describe("mistakes with isolate.progress()", function()
  it("are named", function()
    local function message(...)
      local args = table.pack(...)
      return misuse(function() isolate.progress(table.unpack(args, 1, args.n)) end)
    end
    assert.matches("bad argument #1 to 'progress' (list, iterator or stream expected, got no value",
      message(), 1, true)
    assert.matches("bad argument #1 to 'progress' (list, iterator or stream expected, got nil",
      message(nil), 1, true)
    assert.matches("bad argument #2 to 'progress' (list, iterator or stream expected, got no value",
      message { label = "x" }, 1, true)
    assert.matches("bad argument #2 .* got number", message({}, 5))
    assert.matches("with a dot, not a colon", message(isolate, {}), 1, true)
    assert.matches("unknown option 'totl' (known: interval, label, total)",
      message({ totl = 1 }, {}), 1, true)
    assert.matches("option 'total': an integer of 0 or more expected, got string",
      message({ total = "5" }, {}))
    assert.matches("option 'total': an integer of 0 or more expected, got 1.5",
      message({ total = 1.5 }, {}))
    assert.matches("option 'label': a string expected", message({ label = 1 }, {}))
    assert.matches("option 'interval': a number of seconds", message({ interval = -1 }, {}))
  end)
end)
