-- repl_table_spec.lua - rows in columns, and numbers as people read them.
-- SPDX-License-Identifier: MIT

local characters = require "isolate.repl.characters"
local table_of = require "isolate.repl.table"

describe("isolate.repl.table", function()
  it("pads columns, to the left where they are of numbers", function()
    assert.equal("NAME    SIZE  AT\na          1  x\nlonger    12  y",
      table_of.text({ "NAME", ">SIZE", "AT" }, { { "a", "1", "x" }, { "longer", "12", "y" } }))
  end)

  it("counts the columns of a terminal, not bytes", function()
    assert.equal("é   1\n漢  2\n\xff\xfe  3",
      table_of.text(nil, { { "é", "1" }, { "漢", "2" }, { "\xff\xfe", "3" } }))
  end)

  it("shows sizes and times with a unit", function()
    assert.same({ "1023 B", "1.5 KiB", "2.0 MiB" },
      { table_of.bytes(1023), table_of.bytes(1536), table_of.bytes(2 << 20) })
    for seconds, shown in pairs {
      [12e-6] = "12 us", [1.5e-3] = "1.5 ms", [2] = "2.0 s", [65] = "1:05", [60.5] = "1:00",
      [7500] = "2:05:00", [7559.97] = "2:05:59",
    } do
      assert.equal(shown, table_of.seconds(seconds))
    end
  end)
end)

describe("isolate.repl.characters", function()
  it("marks escape sequences before characters that are seen", function()
    for text, marked in pairs {
      ["1> "] = "1> ", [""] = "", ["é\n> "] = "é\n> ",
      ["\27[1m1> \27[m"] = "\1\27[1m\0011>\1\27[m\1 ",
      ["\27[1m>\27[m"] = "\1\27[1m\1>\1\27[m\1 ",
      ["\27[1m\27[31m\n>"] = "\n\1\27[1m\27[31m\1>",
      ["\27]0;title\7>"] = "\1\27]0;title\7\1>",
      ["\27]0;title\27\\\27(B>"] = "\1\27]0;title\27\\\27(B\1>",
      ["\1\27[1m\1\2> "] = "\1\27[1m\1> ", ["a\27[1m \27[m"] = "a\1\27[1m\27[m\1 ",
      ["\27[m"] = "\1\27[m\1 ", ["\27"] = "\27",
    } do
      assert.equal(marked, characters.marked(text))
    end
  end)

  describe("wrapped()", function()
    it("breaks lines between words", function()
      assert.equal("one two\nthree", characters.wrapped("one two three", 8))
      assert.equal("漢字\n漢字 é\n\nlongerthan\nthat",
        characters.wrapped("漢字 漢字 é\n\nlongerthan that", 8))
    end)

    it("goes on behind the head of a line, and not in examples", function()
      assert.equal("f()  one\n     two\n  n  the\n    number",
        characters.wrapped("f()  one two\n  n  the number", 10))
      assert.equal("function(x)  one\ntwo", characters.wrapped("function(x)  one two", 16))
      assert.equal("    print(1, 2)", characters.wrapped("    print(1, 2)", 8))
    end)
  end)

  describe("columns()", function()
    it("counts characters by how wide a terminal shows them, and no colours", function()
      assert.equal(3, characters.columns "aü€")
      assert.equal(4, characters.columns "漢字")
      assert.equal(1, characters.columns "e\u{301}")
      assert.equal(2, characters.columns "\27[1;31mab\27[m")
    end)

    it("counts the bytes of what is no valid UTF-8", function()
      assert.equal(3, characters.columns "a\xffb")
      assert.equal(4, characters.columns "漢\xff")
    end)
  end)
end)
