-- repl_doc_spec.lua - what the prompt knows of functions.
-- SPDX-License-Identifier: MIT

local doc = require "isolate.repl.doc"
local isolate = require "isolate"
local lua = require "spec.support.lua"
local shell = require "spec.support.shell"

describe("isolate.repl.doc", function()
  it("knows every function of the module", function()
    for name in pairs(isolate) do
      assert.matches("^isolate%." .. name .. "%(", doc.find("isolate." .. name), nil, name)
    end
  end)

  it("knows the functions of Lua, with their section of its manual", function()
    for _, module in ipairs { "_G", "coroutine", "string", "utf8", "table", "math", "io", "os",
      "debug", "package" } do
      for name, value in pairs(package.loaded[module]) do
        local old = { setcstacklimit = true, cosh = true, sinh = true, tanh = true, pow = true,
          frexp = true, ldexp = true, log10 = true, atan2 = true } -- of versions before
        if type(value) == "function" and not old[name] and name ~= "it" then
          local full = module == "_G" and name or module .. "." .. name
          local text = doc.find(full)
          if module ~= "_G" or debug.getinfo(value, "S").what == "C" then
            assert(text, full)
            assert.matches("section 6%.%d+ of the reference manual", text)
          end
        end
      end
    end
    assert.equal("string.format(formatstring, ...)\n  section 6.4 of the reference manual of \z
      Lua 5.4", doc.find "string.format")
  end)

  it("finds methods by their handles' usual names, and by themselves", function()
    assert.equal(doc.find "future:await", doc.find "await")
    assert.equal(doc.find "sender:send", doc.find "tx:send")
    assert.equal(doc.find "receiver:receive", doc.find "rx.receive")
    assert.equal(doc.find "receiver:messages", doc.find "channel:messages")
    assert.equal(doc.find "isolate.run", doc.find "run")
    assert.matches("^pool:map%(fn, list%)\n.-\n  fn  function: gives one value",
      doc.find "pool:map")
  end)

  it("suggests what may have been meant", function()
    local function suggests(name, other)
      local text, list = doc.find(name)
      assert.is_nil(text)
      for _, found in ipairs(list) do if found == other then return end end
      error(("%s is not among: %s"):format(other, table.concat(list, ", ")))
    end
    suggests("isolate.spwan", "isolate.spawn")
    suggests("close", "pool:close")
    suggests("string.fromat", "string.format")
    assert.same({}, select(2, doc.find "qqqqqqqq"))
  end)

  it("tells the methods of a kind of handle", function()
    assert.same({ "close", "send", "try_send" }, doc.methods "sender")
    local channel = {}
    for _, name in ipairs(doc.methods "channel") do channel[name] = true end
    assert.is_true(channel.send and channel.receive and channel.close)
  end)

  it("is what the comments in the sources say", function()
    local result = shell.run("lua5.4 .ci/apidoc.lua $(ls bindings/*.c) \z
      $(find scripts -name '*.lua' -not -path '*/repl*' | LC_ALL=C sort)", { cwd = lua.root })
    assert.equal(shell.read(lua.root .. "/scripts/isolate/repl/reference.lua"), result.stdout,
      "make docs")
  end)
end)
