-- docs_spec.lua - every example of the README and the manual does what the page says.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"
local doc = require "spec.support.doc"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"

local terminal = require "spec.support.terminal"

local pages = { "README.md", "CHANGELOG.md" }
for page in io.popen("ls doc/*.md | LC_ALL=C sort"):lines() do pages[#pages + 1] = page end

local build = os.getenv "ISOLUA_BUILD" or lua.root .. "/build"
if build:sub(1, 1) ~= "/" then build = lua.root .. "/" .. build end

local directory

local function is_script(block)
  return block.lang == "lua" and not block.words.module and not block.words.fragment
end

local function name_of(block)
  return block.words.script or ("line%d.lua"):format(block.line)
end

-- The words for env(1): programs are called by their plain names, as a reader would.
local function environment()
  local env = lua.env()
  for _, name in ipairs { "LUA_INIT", "LUA_INIT_5_4" } do
    table.insert(env, 1, name)
    table.insert(env, 1, "-u")
  end
  env[#env + 1] = ("PATH=%s:%s"):format(lua.exe:match "^(.*)/", os.getenv "PATH")
  return env
end

local function is_as_said(block, result)
  local output = result.stdout .. result.stderr
  assert.equal(tonumber(block.words.status or 0), result.status, output)
  if block.output then assert.equal(block.output, output) end
end

local function run_script(block)
  shell.write(block.text, directory .. "/" .. name_of(block))
  local command = shell.words { lua.exe:match "[^/]*$", name_of(block) }
  is_as_said(block, shell.run(command, { cwd = directory, env = environment() }))
end

-- Compiles C code without a warning and gives the path of what it becomes.
local function compile_c(text, words)
  local source, target = directory .. "/example.c", directory .. "/example"
  shell.write(text, source)
  local compiled = shell.run(([[sh -c 'exec ${CC:-cc} -std=c11 -Wall -Wextra -Werror %s ]] ..
    [[$(${PKG_CONFIG:-pkg-config} --cflags --libs isolua) -Wl,-rpath,%s/lib %s -o %s']]):format(
    source, build, words, target), { env = { "PKG_CONFIG_PATH=" .. build .. "/lib/pkgconfig" } })
  assert.equal("", compiled.stdout .. compiled.stderr)
  assert.equal(0, compiled.status)
  return target
end

local function run_c(block)
  is_as_said(block, shell.run(compile_c(block.text, ""), { cwd = directory }))
end

local function compile_fragment(block)
  local text = "#include <isolua_lua.h>\n#include <lualib.h>\n#include <stdio.h>\n"
    .. "#include <stdlib.h>\n#include <string.h>\n" .. block.text
  compile_c(text, "-c")
end

-- Types the lines behind prompts, each once the screen shows all that stands before it.
local function replay(block)
  local text = block.text:gsub("\n$", "")
  local t <close> = terminal.open({ lua.host() }, { columns = 100, rows = 200,
    env = { "HOME=" .. directory, "NO_COLOR=1" } })
  local shown = ""
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local mark, input = line:match "^(%d+>) ?(.*)$"
    if not mark then mark, input = line:match "^( +|) ?(.*)$" end
    if mark then
      t:shows(shown .. mark)
      t:line(input)
    end
    shown = shown .. line .. "\n"
  end
  local screen
  settle.eventually(function()
    screen = t:screen():gsub("^[^\n]*\n", "", 1)
    return screen:sub(1, #text) == text and screen:find "\n%d+>$"
  end, settle.limit)
  assert.equal(text, (screen:gsub("\n%d+>$", "")))
end

local function compiles(block, page)
  assert(load(block.text, ("=%s:%d"):format(page, block.line), "t"))
end

-- One test for what a block says of itself; none for what is for the reader alone.
local function test(page, block)
  local place = ("line %d"):format(block.line)
  if is_script(block) then
    if block.words.host and not lua.is_host then return end
    it(place .. (block.output and " prints what it says" or " runs"),
      function() run_script(block) end)
  elseif block.lang == "console" then
    if lua.is_host then it(place .. " is replayed", function() replay(block) end) end
  elseif block.lang == "lua" then
    it(place .. " compiles", function() compiles(block, page) end)
  elseif block.words.fragment then
    it(place .. " compiles", function() compile_fragment(block) end)
  elseif block.lang == "c" and not block.words.declaration then
    it(place .. " compiles and prints what it says", function()
      if settle.sanitized then return pending "built with a sanitizer" end
      run_c(block)
    end)
  end
end

for _, page in ipairs(pages) do
  describe(page, function()
    local blocks = doc.read(page)

    setup(function()
      directory = os.tmpname()
      os.remove(directory)
      assert(os.execute("mkdir " .. directory))
      for _, block in ipairs(blocks) do
        local name = block.words.module or block.words.file
        if name then shell.write(block.text, directory .. "/" .. name) end
      end
    end)

    teardown(function() os.execute("rm -r " .. directory) end)

    for _, block in ipairs(blocks) do test(page, block) end

    it("has no link that leads nowhere", function()
      assert.same({}, doc.dead_links(page))
    end)

    it("has no line of more than 100 characters", function()
      local long = {}
      for line in io.lines(page) do
        if utf8.len(line) > 100 then long[#long + 1] = line end
      end
      assert.same({}, long)
    end)
  end)
end

describe("the reference of the C API", function()
  it("has what the headers say: make docs", function()
    for option, path in pairs { [""] = "doc/c-api.md", ["--returned"] = "spec/c/returned.h" } do
      local written = shell.run("lua5.4 .ci/headerdoc.lua " .. option ..
        " host/isolua.h host/isolua_lua.h")
      assert.equal("", written.stderr)
      assert.is_true(written.stdout == shell.read(path), path .. " is not what `make docs` writes")
    end
  end)

  it("has an example for every section of isolua.h that a newcomer needs", function()
    local text = shell.read("doc/c-api.md"):match "\n## isolua%.h\n(.-)\n## isolua_lua%.h\n"
    for _, title in ipairs { "Hosts", "Running code", "Futures", "Values", "Messages", "Blocks",
                             "Shared integers", "Native ports", "Isolates that live", "The pump",
                             "Pools" } do
      local section = text:match("\n### " .. title .. "(\n.-)\n### ")
      assert.matches("\n```c fragment\n", section, 1, true)
    end
  end)
end)

describe("the manual", function()
  local text = shell.read "doc/manual.md"

  it("tells of every function of the module", function()
    for name in pairs(isolate) do assert.matches("`isolate." .. name, text, 1, true) end
  end)

  it("tells of every method of futures and isolates", function()
    local future = isolate.run(function() end)
    future:await()
    for _, name in ipairs { "await", "try", "done", "cancel", "traceback", "on_done" } do
      assert.is_function(future[name])
      assert.matches(":" .. name .. "(", text, 1, true)
    end
    for _, name in ipairs { "send", "join", "status", "ping", "kill", "pause", "resume", "on_exit",
                            "on_error", "off", "stats" } do
      assert.is_function(future.isolate[name])
      assert.matches("`iso:" .. name .. "(", text, 1, true)
    end
  end)

  it("tells of every method of ports, channels and timers", function()
    local rx, tx = isolate.port()
    local ch = isolate.channel()
    for _, name in ipairs { "send", "try_send", "close" } do
      assert.is_function(tx[name])
      assert.is_function(ch[name])
      assert.matches("`tx:" .. name .. "(", text, 1, true)
    end
    for _, name in ipairs { "receive", "try_receive", "receive_many", "messages", "on_message",
                            "ref", "unref", "close" } do
      assert.is_function(rx[name])
      assert.is_function(ch[name])
      assert.matches("`rx:" .. name .. "(", text, 1, true)
    end
    local timer <close> = isolate.after(60)
    assert.is_function(timer.cancel)
    assert.matches("`timer:cancel(", text, 1, true)
  end)

  it("tells of every option of isolate.run and isolate.spawn", function()
    local _ <close>, tx = isolate.port()
    for option, value in pairs { name = "n", timeout = 100, memory = "1GB", libs = {},
                                 globals = "none", init = function() end, gc = "stop",
                                 stack = "1MB", strip = true, paused = false,
                                 errors_fatal = false, on_exit = tx, on_error = tx } do
      isolate.run({ [option] = value }, function() end):await()
      local row = "\n| [^|]*`" .. option .. "`[^|]* |"
      assert.matches(row, text)
    end
    tx:close()
  end)

  it("tells of every method of streams", function()
    local s = isolate.stream_of {}
    for _, name in ipairs { "values", "receive", "pause", "resume", "close", "map", "filter",
                            "take", "skip", "batch", "flat_map", "merge", "zip", "buffer",
                            "parallel", "collect", "reduce", "each", "first", "count" } do
      assert.is_function(s[name])
      assert.matches("`s:" .. name .. "(", text, 1, true)
    end
  end)

  it("tells of every method and option of pools", function()
    local pool <close> = isolate.pool(1)
    for _, name in ipairs { "submit", "try_submit", "map", "each", "reduce", "imap", "close",
                            "cancel", "stats" } do
      assert.is_function(pool[name])
      assert.matches("`pool:" .. name .. "(", text, 1, true)
    end
    for option, value in pairs { size = 1, queue = 1, idle = 1, max_jobs = 1, retries = 1 } do
      local _ <close> = isolate.pool { [option] = value }
      assert.matches("\n| `" .. option .. "` |", text)
    end
    for option, value in pairs { timeout = 1, name = "n", priority = 1 } do
      pool:submit({ [option] = value }, function() end):await()
      assert.matches("`" .. option .. "`", text, 1, true)
    end
  end)

  it("tells of every option of isolate.port", function()
    for option, value in pairs { name = "n", capacity = 1, on_full = "error" } do
      local rx = isolate.port { [option] = value }
      rx:close()
      assert.matches("`" .. option, text, 1, true)
    end
  end)
end)
