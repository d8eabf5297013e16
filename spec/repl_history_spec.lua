-- repl_history_spec.lua - the file of what was typed: shared by prompts, bounded, private.
-- SPDX-License-Identifier: MIT

local core = require "isolate.core"
local history = require "isolate.repl.history"
local isolate = require "isolate"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"
local shell = require "spec.support.shell"
local live = require "spec.support.live"

local it = live.checking(it)
-- Functions that are sent name no globals: those of a spec come with all of busted.
local error = error
local dir, path

local function write(text)
  shell.write(text, path)
end

local function mode(of)
  return shell.run("stat -c %a " .. shell.quote(of)).stdout:match "%d+"
end

-- The entries that the next prompt finds.
local function found(opts)
  local h <close> = assert(history.open(path, opts))
  return h:entries()
end

local function numbers(from, to)
  local list = {}
  for i = from, to do list[#list + 1] = "line " .. i end
  return list
end

describe("isolate.repl.history", function()
  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(core.make_directory(dir))
    path = dir .. "/history"
  end)

  after_each(function() os.execute("rm -rf " .. shell.quote(dir)) end)

  describe("open()", function()
    it("has no entries and no complaint when there is no file yet, and makes it", function()
      local h, problem = history.open(path)
      assert.is_nil(problem)
      assert.same({}, h:entries())
      assert.equal("", shell.read(path))
    end)

    it("makes the directories above, for the user alone, whatever the umask", function()
      local script = ([[
        local h = require "isolate.repl.history".open(%q)
        h:add "x"
      ]]):format(dir .. "/a/b/history")
      local result = shell.run("sh -c " .. shell.quote("umask 0; exec " .. shell.words {
        lua.exe, shell.write(script, dir .. "/script.lua") }), { env = lua.env() })
      assert.same({ "", 0 }, { result.stderr, result.status })
      assert.same({ "700", "700", "600" },
        { mode(dir .. "/a"), mode(dir .. "/a/b"), mode(dir .. "/a/b/history") })
    end)

    it("takes the rights of others from a file that is there", function()
      write "one\n"
      assert(os.execute("chmod 666 " .. shell.quote(path)))
      assert.same({ "one" }, found())
      assert.equal("600", mode(path))
    end)

    it("keeps the mode of a file that it trims", function()
      write(table.concat(numbers(1, 100), "\n") .. "\n")
      found { entries = 10 }
      assert.equal("600", mode(path))
      assert.equal(10, select(2, shell.read(path):gsub("\n", "")))
    end)

    it("finds the file of a symbolic link, and leaves the link", function()
      shell.write(table.concat(numbers(1, 100), "\n") .. "\n", dir .. "/real")
      assert(os.execute(("ln -s real %s"):format(shell.quote(path))))
      assert.same(numbers(91, 100), found { entries = 10 })
      assert(os.execute("test -L " .. shell.quote(path)))
      assert.equal(10, select(2, shell.read(dir .. "/real"):gsub("\n", "")))
    end)

    it("is below XDG_STATE_HOME, else below HOME, else nowhere", function()
      local script = shell.write([[
        local h, problem = require "isolate.repl.history".open()
        print(require "isolate.repl.history".path(), problem)
        print(h:add "kept in memory", #h:entries())
      ]], dir .. "/script.lua")
      local function output(...)
        local env = lua.env()
        for _, word in ipairs { ... } do table.insert(env, word) end
        local result = shell.run(shell.words { lua.exe, script }, { env = env })
        assert.equal("", result.stderr)
        return (result.stdout:gsub(dir, "DIR", 2))
      end
      assert.equal("DIR/s/isolua/history\tnil\ntrue\t1\n",
        output("XDG_STATE_HOME=" .. dir .. "/s", "HOME=/nowhere"))
      assert.equal("DIR/.local/state/isolua/history\tnil\ntrue\t1\n",
        output("XDG_STATE_HOME=relative", "HOME=" .. dir))
      assert.equal("nil\tneither HOME nor XDG_STATE_HOME is set: entries are not kept\ntrue\t1\n",
        output("XDG_STATE_HOME=", "HOME="))
    end)
  end)

  describe("add()", function()
    it("keeps entries for the next prompt, the newest last", function()
      local h = history.open(path)
      assert.is_true(h:add "one")
      assert.is_true(h:add "two")
      assert.same({ "one", "two" }, h:entries())
      assert.same({ "one", "two" }, found())
    end)

    it("keeps any bytes: lines, backslashes, NUL, invalid UTF-8", function()
      local h, entries = history.open(path), { "for i = 1, 2 do\n  print(i)\nend", [[a\nb \\ \]],
        "cr\r\nlf", "nul \0 \\0", "\xff\xfe", "tab\t", "\\", "\\n", ":command" }
      for i = 0, 255 do entries[#entries + 1] = "x" .. string.char(i) .. "0n" end
      for _, entry in ipairs(entries) do assert.is_true(h:add(entry)) end
      assert.same(entries, found())
    end)

    it("leaves out what is blank, begins with a space or repeats the last", function()
      local h = history.open(path)
      for _, entry in ipairs { "", "  ", "\n", " secret", "a", "a", "b", "a" } do h:add(entry) end
      assert.same({ "a", "b", "a" }, found())
      assert.is_false(h:add "a")
      assert.is_false(history.open(path):add "a")
    end)

    it("leaves out what is longer than a line may be", function()
      local h = history.open(path)
      assert.is_false(h:add(("x"):rep(50001)))
      assert.is_true(h:add(("\n"):rep(49999) .. "x"))
      assert.same({ ("\n"):rep(49999) .. "x" }, found())
    end)

    it("adds nothing once it is closed", function()
      local h = history.open(path)
      h:add "one"
      h:close()
      h:close()
      assert.is_false(h:add "two")
      assert.same({ "one" }, found())
    end)

    it("lets the oldest go, from memory and from the file", function()
      local h = history.open(path, { entries = 100 })
      for i = 1, 250 do h:add("line " .. i) end
      assert.same(numbers(151, 250), h:entries())
      assert.same(numbers(151, 250), found { entries = 100 })
      local _, lines = shell.read(path):gsub("\n", "")
      assert.is_true(lines >= 100 and lines <= 125, lines .. " lines")
    end)

    it("keeps 10,000 where nothing else is said", function()
      write(table.concat(numbers(1, 12501), "\n") .. "\n")
      assert.same(numbers(2502, 12501), found())
      assert.equal(10000, select(2, shell.read(path):gsub("\n", "")))
    end)

    it("goes on in a new line when the last one has no end", function()
      write "one\ntwo"
      history.open(path):add "three"
      assert.same({ "one", "two", "three" }, found())
    end)
  end)

  describe("a file that is not as it should be", function()
    it("is read as far as it is text, and named once", function()
      write("good\nbad\0\0\0\n" .. ("long"):rep(30000) .. "\nstray \\d backslash\\\n\n\nlast")
      local h, problem = history.open(path)
      assert.same({ "good", "stray \\d backslash\\", "last" }, h:entries())
      assert.equal(path .. ": 2 of its lines are damaged and left out", problem)
      assert.same({ true }, { h:add "more" })
      assert.same({ "good", "stray \\d backslash\\", "last", "more" }, found())
    end)

    it("is looked at from its end only, when it is huge", function()
      local file = assert(io.open(path, "wb"))
      for i = 1, 400 do file:write("line ", i, " ", ("x"):rep(99000), "\n") end
      file:close()
      local began = isolate.now()
      local h, problem = history.open(path)
      assert.is_nil(problem)
      local list = h:entries()
      assert.matches("^line 400 ", list[#list])
      assert.is_true(#list > 300 and list[1]:find "^line %d+ x+$" ~= nil)
      assert.is_true(isolate.now() - began < settle.scale(5, 60))
      assert.is_true(#shell.read(path) <= 32000000)
    end)

    local function useless(reason)
      local h, problem = history.open(path)
      assert.equal(path .. ": " .. reason .. ": entries are not kept", problem)
      assert.same({ true }, { h:add "only here" })
      assert.same({ true }, { h:add "and here" })
      assert.same({ "only here", "and here" }, h:entries())
    end

    it("is done without when it is a directory", function()
      assert(core.make_directory(path))
      useless "Is a directory"
    end)

    it("is done without when its directory cannot be made", function()
      shell.write("", dir .. "/file")
      path = dir .. "/file/sub/history"
      useless "Not a directory"
    end)

    it("is done without when it is a pipe, which nobody waits for", function()
      assert(os.execute("mkfifo " .. shell.quote(path)))
      useless "it is no ordinary file"
    end)

    it("is done without, once, when it cannot be written any more", function()
      local h = history.open(path)
      assert.is_true(h:add "one")
      os.remove(path)
      assert(core.make_directory(path))
      assert.same({ true, path .. ": Is a directory: entries are not kept" }, { h:add "two" })
      assert.same({ true }, { h:add "three" })
      assert.same({ "one", "two", "three" }, h:entries())
    end)

    it("has no half of an entry when the disk is full", function()
      local script = shell.write(([[
        local h = require "isolate.repl.history".open(%q)
        h:add(("a"):rep(400))
        print(h:add(("b"):rep(400)))
        print(h:add(("c"):rep(50)))
      ]]):format(path), dir .. "/script.lua")
      local command = "trap '' XFSZ; ulimit -f 1; exec " .. shell.words { lua.exe, script }
        .. " | cat"
      local result = shell.run("sh -c " .. shell.quote(command), { env = lua.env() })
      assert.equal(("true\t%s: File too large: entries are not kept\ntrue\n"):format(path),
        result.stdout .. result.stderr)
      assert.equal(("a"):rep(400) .. "\n", shell.read(path))
    end)

    it("is waited for no longer than a second or so when another holds its lock", function()
      write "one\n"
      local h = history.open(path)
      local locked, go = dir .. "/locked", dir .. "/go"
      assert(os.execute(shell.words { "mkfifo", locked, go }))
      local holder = io.popen(shell.words { "timeout", "60", "flock", path, "sh", "-c",
        "echo >" .. shell.quote(locked) .. "; read x <" .. shell.quote(go) })
      shell.read(locked)
      local began = isolate.now()
      local added, problem = h:add "two"
      local took = isolate.now() - began
      shell.write("\n", go)
      holder:close()
      assert.same({ true, path .. ": another process has locked it: entries are not kept" },
        { added, problem })
      assert.is_true(took > 0.9 and took < settle.scale(5, 60), took .. " s")
      assert.same({ "one" }, found())
    end)
  end)

  describe("a file that others write to", function()
    it("finds what they add in it the next time, in the order of adding", function()
      local a, b = history.open(path), history.open(path)
      a:add "a1"
      b:add "b1"
      a:add "a2"
      assert.same({ "a1", "a2" }, a:entries())
      assert.same({ "a1", "b1", "a2" }, found())
    end)

    it("is made again when somebody has removed it", function()
      local h = history.open(path)
      h:add "one"
      os.remove(path)
      assert.same({ true }, { h:add "two" })
      assert.same({ "two" }, found())
    end)

    it("loses and tears nothing that eight append at once while another rewrites it", function()
      local writers, each = 8, settle.scale(250, 50)
      local rx, tx = isolate.port()
      local function append(file, id, n)
        local h = history.open(file, { entries = 100000 })
        for i = 1, n do
          local _, problem = h:add(("%d %d\n%s"):format(id, i, ("x"):rep(i % 7 * 900)))
          if problem then error(problem) end
          if i % 50 == 0 then tx:send(true) end
        end
      end
      local futures = {}
      for id = 1, writers do futures[id] = isolate.run(append, path, id, each) end
      tx:close()
      local rewritten = 0
      for _ in rx:messages() do
        assert(core.append_private(path, "old\n"))
        assert.is_true(core.replace_private(path, 1 << 40, function(text)
          rewritten = rewritten + 1
          return (text:gsub("%f[^\n\0]old\n", ""))
        end))
      end
      for _, future in ipairs(futures) do settle.await(future) end
      assert.equal(writers * each // 50, rewritten)
      local next_of = {}
      for _, entry in ipairs(found { entries = 100000 }) do
        local id, i, rest = entry:match "^(%d+) (%d+)\n(x*)$"
        assert.is_truthy(id, entry)
        assert.equal((next_of[id] or 0) + 1, tonumber(i))
        assert.equal(i % 7 * 900, #rest)
        next_of[id] = tonumber(i)
      end
      for id = 1, writers do assert.equal(each, next_of[tostring(id)]) end
    end)

    it("is trimmed by one prompt and kept by the others", function()
      local a, b = history.open(path, { entries = 20 }), history.open(path, { entries = 20 })
      for i = 1, 60 do (i % 2 == 0 and a or b):add("line " .. i) end
      assert.same(numbers(41, 60), found { entries = 20 })
      local leftovers = shell.run("ls -A " .. shell.quote(dir)).stdout
      assert.equal("history\n", leftovers)
    end)
  end)
end)
