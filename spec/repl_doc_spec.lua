-- repl_doc_spec.lua - what the prompt knows of functions, by their names.
-- SPDX-License-Identifier: MIT

local doc = require "isolate.repl.doc"
local isolate = require "isolate"
local lua = require "spec.support.lua"
local shell = require "spec.support.shell"

local function output(command)
  local result = shell.run(command, { cwd = lua.root })
  assert.same({ "", 0 }, { result.stderr, result.status })
  return result.stdout
end

-- Replaces the names of macros that list methods, such as POLLABLE.
local function expand(list, text)
  return (list:gsub("%f[%w_]([A-Z]+)%f[^%w_]", function(name)
    local body = text:match("#define " .. name .. "%s(.-[^\\])\n")
    return name ~= "NULL" and body and expand(body, text) or nil
  end))
end

-- The names of methods by type of handles, of the lists in bindings/.
local function methods_in_c()
  local header, found = shell.read(lua.root .. "/bindings/lib.h"), {}
  for path in output "ls bindings/*.c":gmatch "%S+" do
    local text = shell.read(lua.root .. "/" .. path) .. header
    for prefix, list in text:gmatch "luaL_Reg (%w-)_?methods%[%] = (%b{});" do
      if prefix ~= "meta" then
        local kind = prefix ~= "" and prefix or path:match "/l(%w+)%.c$"
        found[kind] = found[kind] or {}
        for name in expand(list, text):gmatch '{%s*"([%w_]+)"' do found[kind][name] = true end
      end
    end
  end
  return found
end

describe("isolate.repl.doc", function()
  describe("find()", function()
    it("knows every function of the module isolate", function()
      local n = 0
      for name, value in pairs(isolate) do
        if type(value) == "function" then
          n = n + 1
          local text = doc.find("isolate." .. name)
          assert.is_truthy(text, "isolate." .. name)
          assert.equal(1, text:find("isolate." .. name .. "(", 1, true))
        end
      end
      assert.is_true(n > 30)
    end)

    it("knows every method of the handles that are made in C", function()
      local kinds = methods_in_c()
      for _, kind in ipairs { "future", "sender", "receiver", "channel", "isolate", "buffer",
        "view", "atomic", "timer", "pool" } do
        assert.is_truthy(kinds[kind] and next(kinds[kind]), kind)
      end
      assert.is_true(kinds.receiver.pollfd and kinds.channel.send and kinds.pool.submit)
      for kind, names in pairs(kinds) do
        for name in pairs(names) do
          assert.is_truthy(doc.find(kind .. ":" .. name), kind .. ":" .. name)
        end
      end
    end)

    it("knows every method of the handles that are made in Lua", function()
      local stream <close> = isolate.stream_of {}
      local scope <close> = isolate.scope()
      local sup <close> = isolate.supervisor { children = {} }
      for kind, handle in pairs { stream = stream, scope = scope, supervisor = sup } do
        local n = 0
        for name, value in pairs(debug.getmetatable(handle).__index) do
          if type(value) == "function" then
            n = n + 1
            assert.is_truthy(doc.find(kind .. ":" .. name), kind .. ":" .. name)
          end
        end
        assert.is_true(n > 3, kind)
      end
    end)

    it("knows no method that handles do not have", function()
      local rx, tx = isolate.port()
      local pool <close> = isolate.pool(1)
      local stream <close> = isolate.stream_of {}
      local scope <close> = isolate.scope()
      local sup <close> = isolate.supervisor { children = {} }
      local buffer, timer = isolate.buffer(8), isolate.after(1000)
      local handles = { future = isolate.run(function() end), sender = tx, receiver = rx,
        channel = isolate.channel(), isolate = isolate.self(), buffer = buffer,
        view = buffer:view "u8", atomic = isolate.atomic(), timer = timer, pool = pool,
        stream = stream, scope = scope, supervisor = sup }
      for kind, handle in pairs(handles) do
        assert.is_true(#doc.methods(kind) > 0, kind)
        for _, method in ipairs(doc.methods(kind)) do
          assert.is_function(handle[method], kind .. ":" .. method)
        end
      end
      timer:cancel()
      rx:close()
      tx:close()
      handles.channel:close()
    end)

    it("knows everything in Lua's libraries, with the section of the manual", function()
      -- Not in the manual any more, but in a Lua that is built to have them.
      local gone = " debug.setcstacklimit math.cosh math.sinh math.tanh math.pow math.frexp "
        .. "math.ldexp math.log10 math.atan2 "
      local result = lua.source [[
        for _, module in ipairs { "_G", "coroutine", "debug", "io", "math", "os", "package",
          "string", "table", "utf8" } do
          for name, value in pairs(package.loaded[module]) do
            if module ~= "_G" then
              print(module .. "." .. name)
            elseif type(value) == "function" then
              print(name)
            end
          end
        end
        for name in pairs(debug.getmetatable(io.stdout).__index) do print("file:" .. name) end
      ]]
      assert.equal("", result.stderr)
      local n = 0
      for name in result.stdout:gmatch "%S+" do
        if not gone:find(" " .. name .. " ", 1, true) then
          n = n + 1
          local text = doc.find(name)
          assert.is_truthy(text, name)
          assert.equal(1, text:find(name, 1, true))
          assert.matches(": §6%.%d+ of the Lua 5%.4 manual$", text)
        end
      end
      assert.is_true(n > 140, n .. " names")
      assert.equal("string.format(formatstring, ···): §6.4 of the Lua 5.4 manual",
        doc.find "string.format")
      assert.equal("math.pi: §6.7 of the Lua 5.4 manual", doc.find "math.pi")
    end)

    it("tells arguments, results, errors and an example", function()
      local text = doc.find "isolate.run"
      assert.matches("^isolate.run%(%[opts%], fn, ...%)\nRuns `fn%(...%)` in a fresh isolate", text)
      assert.matches("\n  fn  function: ", text)
      assert.matches("\n  returns future", text)
      assert.matches("\n  raises not_sendable", text)
      assert.matches("\n  example:\n    print%(isolate.run", text)
    end)

    it("takes names as they are written: short, of variables, with arguments", function()
      local function same(name, as)
        local text = doc.find(name)
        assert.is_truthy(text, name)
        assert.equal(text, doc.find(as), as)
      end
      same("isolate.run", "run")
      same("isolate.run", "  isolate.run(f, 1)  ")
      same("future:await", "await")
      same("future:await", "future:await()")
      same("sender:send", "tx:send")
      same("sender:send", "channel:send")
      same("sender:send", "ch:send")
      same("sender:send", "my_sender:send")
      same("receiver:receive", "rx:receive")
      same("receiver:receive", "channel:receive")
      same("isolate:kill", "iso:kill")
      same("isolate:kill", "iso.kill")
      same("buffer:view", "buf:view")
      same("pool:map", "p:map")
      same("print", "_G.print")
      same("string.rep", "text:rep")
    end)

    it("lists what a module or a type of handles has", function()
      local text = doc.find "future"
      assert.matches("^future:await%(%)  +Waits until the work has ended and gives its results%.\n",
        text)
      assert.matches("\nfuture:done%(%)  +[^\n]+%?\n", text)
      assert.equal(text, doc.find "future:")
      assert.matches("\nstring.rep%(s, n %[, sep%]%): §6.4 of the Lua 5.4 manual\n",
        doc.find "string")
      assert.matches("^sender:.*\nreceiver:receive%(", doc.find "channel:")
      local both = doc.find "pool"
      assert.equal(1, both:find("isolate.pool(", 1, true))
      assert.matches("\n\npool:cancel.*\npool:try_submit", both)
    end)

    it("suggests what is spelt alike, the nearest first", function()
      local function first(name)
        local text, list = doc.find(name)
        assert.is_nil(text)
        assert.is_true(#list <= 8)
        return list[1]
      end
      assert.equal("isolate.run", first "isolate.runn")
      assert.equal("isolate.spawn", first "isolate.spwan")
      assert.equal("future:await", first "future:awiat")
      assert.equal("future:await", first "awai")
      assert.equal("future:traceback", first "future:trace")
      assert.equal("string.format", first "string.fromat")
      assert.equal("tostring", first "tosting")
      assert.equal("isolate.supervisor", first "supervis")
    end)

    it("lists the names of which that is the last part, when there are several", function()
      local text, list = doc.find "close"
      assert.is_nil(text)
      local found = {}
      for _, name in ipairs(list) do found[name] = true end
      assert.is_true(found["pool:close"] and found["receiver:close"] and found["io.close"])
      text, list = doc.find "x:close"
      assert.is_nil(text)
      for _, name in ipairs(list) do assert.matches(":close$", name) end
    end)

    it("knows nothing of what is like no name, and says so at once", function()
      for _, name in ipairs { "", " ", "x", "zzzzzzzz", "()", "%a+", "[", ":", ".", "\0", "\xff",
        "isolate..run", ("x"):rep(1000000), ("isolate."):rep(10000) } do
        local began = os.clock()
        local text, list = doc.find(name)
        assert.is_nil(text)
        assert.is_table(list)
        assert.is_true(os.clock() - began < 1)
      end
    end)
  end)

  describe("options", function()
    -- Those in the tables of the manual, by the heading above each.
    local tables, heading, inside = {}, nil, false
    for line in io.lines(lua.root .. "/doc/manual.md") do
      heading = line:match "^#+ (.*)$" or heading
      inside = line:find "^| option | meaning | default" ~= nil or inside and line:find "^|" ~= nil
      if inside then
        tables[heading] = tables[heading] or {}
        for name in line:match("^| ([^|]*) |"):gmatch "`([%w_]+)`" do
          table.insert(tables[heading], name)
        end
      end
    end
    local places = { Options = "isolate.run", Pools = "isolate.pool", Streams = "isolate.stream",
      Supervisors = "isolate.supervisor", Progress = "isolate.progress" }

    it("are all there that the manual has", function()
      for title, names in pairs(tables) do
        local text = doc.find(assert(places[title], title))
        for _, name in ipairs(names) do
          assert.matches("`" .. name .. "[` ]", text)
        end
      end
      assert.equal(13, #tables.Options)
    end)

    it("of what starts isolates name where the others are", function()
      for _, name in ipairs { "isolate.spawn", "isolate.spawn_file", "isolate.stream",
        "isolate.pool", "scope:run", "scope:spawn", "isolate.supervisor" } do
        assert.matches("those of `isolate.run`", doc.find(name), 1, true)
      end
    end)
  end)

  describe("names()", function()
    it("lists all that is found, sorted", function()
      local names = doc.names()
      assert.is_true(#names > 250)
      for i, name in ipairs(names) do
        assert.is_truthy(doc.find(name), name)
        assert.is_true(i == 1 or names[i - 1] < name)
      end
    end)
  end)

  it("has what the comments in the sources say: make docs", function()
    local files = output "find bindings -name '*.c'"
      .. output "find scripts -name '*.lua' ! -path 'scripts/isolate/repl*'"
    local text = output("lua5.4 .ci/apidoc.lua " .. files:gsub("%s+", " "))
    assert.is_true(text == shell.read(lua.root .. "/scripts/isolate/repl/reference.lua"),
      "scripts/isolate/repl/reference.lua is not what `make docs` writes")
  end)
end)
