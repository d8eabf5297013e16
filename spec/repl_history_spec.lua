-- repl_history_spec.lua - what was typed, in a file that prompts share.
-- SPDX-License-Identifier: MIT

local lua = require "spec.support.lua"
local shell = require "spec.support.shell"
local settle = require "spec.support.settle"

if not lua.is_host then
  pending "run by build/bin/isolua only, which has the functions for files"
  return
end

local history = require "isolate.repl.history"
local files = require "isolate.repl.edit"

local dir

local function path(name) return dir .. "/" .. name end

local function mode(name)
  return (shell.run("stat -c %a " .. shell.quote(path(name))).stdout:gsub("%s", ""))
end

describe("isolate.repl.history", function()
  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir " .. shell.quote(dir)))
  end)

  after_each(function() os.execute("rm -rf " .. shell.quote(dir)) end)

  it("gives what was added before, oldest first, in whole entries", function()
    local entries = { "a", "for i = 1, 2 do\n  print(i)\nend", "back\\slash\\n", "zero\0byte",
      "ü" }
    local h = history.open(files, path "h")
    for _, entry in ipairs(entries) do assert.is_true(h:add(entry)) end
    assert.same(entries, history.open(files, path "h"):entries())
  end)

  it("does not add what is empty, begins with a blank, or repeats the last", function()
    local h = history.open(files, path "h")
    assert.is_true(h:add "x")
    for _, entry in ipairs { "x", "", "  \n", " secret" } do assert.is_false(h:add(entry)) end
    assert.is_true(h:add "y")
    assert.is_true(h:add "x")
    assert.same({ "x", "y", "x" }, history.open(files, path "h"):entries())
    assert.is_false(history.open(files, path "h"):add "x")
  end)

  it("makes file and directories for the user alone, also when they were open to others", function()
    history.open(files, path "a/b/h"):add "x"
    assert.same({ "700", "700", "600" }, { mode "a", mode "a/b", mode "a/b/h" })
    shell.write("old\n", path "lax")
    shell.run("chmod 644 " .. shell.quote(path "lax"))
    assert.same({ "old" }, history.open(files, path "lax"):entries())
    assert.equal("600", mode "lax")
  end)

  it("keeps so many entries, the newest", function()
    local h = history.open(files, path "h", 10)
    for i = 1, 100 do h:add("entry " .. i) end
    local list = history.open(files, path "h", 10):entries()
    assert.equal(10, #list)
    assert.equal("entry 100", list[10])
    local _, lines = shell.read(path "h"):gsub("\n", "")
    assert.equal(10, lines)
  end)

  it("says once what is wrong with its file, and works on without it", function()
    assert(os.execute("mkdir " .. shell.quote(path "is_a_directory")))
    local h, problem = history.open(files, path "is_a_directory")
    assert.matches("is_a_directory: Is a directory: nothing is kept", problem, 1, true)
    assert.is_true(h:add "x")
    h, problem = history.open(files, "/dev/null")
    assert.matches("/dev/null: it is no ordinary file: nothing is kept", problem, 1, true)
    assert.same({ true }, { h:add "x" })
  end)

  it("reads what no prompt has written", function()
    shell.write("\255\254\nbad\\escape\\\n\n\n" .. ("x"):rep(200000) .. "\nend without newline",
      path "h")
    local h, problem = history.open(files, path "h")
    assert.is_nil(problem)
    assert.same({ "\255\254", "bad\\escape\\", "end without newline" }, h:entries())
  end)

  it("waits for a lock a second, not for ever", function()
    shell.write("", path "h")
    local holder = io.popen(("flock %s sh -c 'echo held; exec sleep 100' & echo $!"):format(
      shell.quote(path "h")))
    local pid = holder:read "l"
    if pid == "held" then pid = holder:read "l" else holder:read "l" end
    local began = settle.now()
    local _, problem = history.open(files, path "h")
    assert.matches("another process has locked it", problem, 1, true)
    assert.is_true(settle.now() - began < 10)
    shell.run(("pkill -P %s; kill %s"):format(pid, pid))
    holder:close()
  end)

  it("loses and tears no entry of prompts that add at once, while others cut it", function()
    local script = shell.write(([[
      local history, files = require "isolate.repl.history", require "isolate.repl.edit"
      local h = history.open(files, %q, 100000)
      for i = 1, 200 do
        h:add(arg[1] .. "-" .. i .. ("\nx"):rep(50))
        if i %% 50 == 0 then files.rewrite(%q, function(text) return text end) end
      end]]):format(path "h", path "h"))
    local exe = lua.host()
    local pipes = {}
    for i = 1, 6 do pipes[i] = io.popen(shell.words { exe, script, tostring(i) } .. " 2>&1") end
    for i = 1, 6 do
      assert.equal("", pipes[i]:read "a")
      pipes[i]:close()
    end
    os.remove(script)
    local list, seen = history.open(files, path "h", 100000):entries(), {}
    assert.equal(1200, #list)
    for _, entry in ipairs(list) do
      local name = entry:match "^(%d%-%d+)\n"
      assert.equal(name .. ("\nx"):rep(50), entry)
      seen[name] = true
    end
    for i = 1, 6 do for k = 1, 200 do assert.is_true(seen[i .. "-" .. k]) end end
  end)

  it("is below XDG_STATE_HOME, or in the home directory", function()
    local code = 'print(require("isolate.repl.history").path())'
    local function where(...)
      return shell.run(shell.words { lua.host(), "-e", code }, { env = { "-i", ... } }).stdout
    end
    assert.equal("/s/isolua/history\n", where("HOME=/h", "XDG_STATE_HOME=/s"))
    assert.equal("/h/.local/state/isolua/history\n", where "HOME=/h")
    assert.equal("/h/.local/state/isolua/history\n", where("HOME=/h", "XDG_STATE_HOME=relative"))
    assert.equal("nil\n", where "A=b")
  end)
end)
