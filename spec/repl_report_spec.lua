-- repl_report_spec.lua - errors at the prompt, and where in a line their caret is.
-- SPDX-License-Identifier: MIT

local chunk = require "isolate.repl.chunk"
local report = require "isolate.repl.report"

local session

-- What is shown of an input that does not compile, which begins in line 3.
local function syntax(source)
  local lines = { "x = 1", "y = 2" }
  for line in (source .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  session = { options = {}, lines = lines }
  local _, message = chunk.new():load(source, "=repl", 3)
  return report.syntax(session, message)
end

-- The part of the input over the caret.
local function subject(source)
  local line, marks = syntax(source):match "\n    ([^\n]*)\n    ([^\n]*)$"
  local from, to = marks:find "%^+"
  return line:sub(1, from - 1), line:sub(from, to)
end

describe("isolate.repl.report", function()
  describe("syntax()", function()
    it("shows the message, the line that it names, and a caret", function()
      assert.equal("repl:4: unexpected symbol near '='\n    b = = 2\n        ^",
        syntax "a = 1\nb = = 2\nc = 3")
    end)

    it("puts the caret at the token that cannot be there, not at one that reads alike", function()
      for source, expected in pairs {
        ["1 + + 2"] = { "1 + ", "+" }, ["= 1 + + 2"] = { "= 1 + ", "+" },
        ["x = = 1"] = { "x = ", "=" }, ["f(a, b)) = c)"] = { "f(a, b)", ")" },
        ["return x y x"] = { "return x ", "y" }, ["a.b a.b c"] = { "a.b ", "a" },
        ["x = {1, 1 1}"] = { "x = {1, 1 ", "1" }, ["'a' .. 'a' 'a'"] = { "'a' .. 'a' ", "'a'" },
        ["x = 'end' end"] = { "x = 'end' ", "end" }, ["y = $ + $"] = { "y = ", "$" },
        ["x = 3..2"] = { "x = ", "3..2" },
      } do
        assert.same(expected, { subject(source) }, source)
      end
    end)

    it("puts the caret at the first that reads so where the line alone says nothing", function()
      assert.same({ "end ", ")" }, { subject "f(function()\nend ) )" })
    end)

    it("puts the caret under what it names behind characters of several bytes", function()
      assert.equal("repl:3: unexpected symbol near '='\n    s = 'é' x = = 1\n                ^",
        syntax "s = 'é' x = = 1")
    end)

    it("puts the caret under what it names behind characters of two columns", function()
      assert.equal("repl:3: unexpected symbol near '='\n    s = '漢' x = = 1\n                 ^",
        syntax "s = '漢' x = = 1")
    end)

    it("puts the caret under what it names behind bytes that are no characters", function()
      assert.equal("repl:3: unexpected symbol near '='\n    s = '\xff' x = = 1\n                ^",
        syntax "s = '\xff' x = = 1")
    end)
  end)
end)
