-- man_spec.lua - the man page says what there is.
-- SPDX-License-Identifier: MIT

local lua = require "spec.support.lua"
local shell = require "spec.support.shell"

local page = shell.read(lua.root .. "/doc/isolua.1")
local plain = page:gsub("\\fI", ""):gsub("\\fR", ""):gsub("\\%-", "-")

describe("isolua.1", function()
  it("has every option of the program", function()
    local usage = shell.run(shell.quote(lua.host()) .. " --help").stdout
    local n = 0
    for option in usage:gmatch "\n  (%-%S*)" do
      n = n + 1
      assert.matches("\n.BI? " .. option:gsub("%-", "%%-") .. "[ \n]", plain)
    end
    assert.equal(11, n)
  end)

  it("has every command of the prompt, and no other", function()
    local commands = require "isolate.repl.commands"
    local known = {}
    for _, name in ipairs(commands.names().names) do known[name] = true end
    for name in plain:gmatch "\n%.BI?R? (:%a+!?)" do
      assert.is_true(known[name], name)
      known[name] = nil
    end
    known[":h"], known[":q"] = nil, nil -- short for others
    assert.same({}, known)
  end)

  it("is written in requests that man knows", function()
    for line in page:gmatch "[^\n]+" do
      if line:sub(1, 1) == "." then assert.matches("^%.[TSPBI][HPRI]? ?", line) end
      assert.is_true(#line <= 100, line)
    end
  end)
end)
