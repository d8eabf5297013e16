-- repl_lexer_spec.lua - the tokens of Lua, and when an input is complete.
-- SPDX-License-Identifier: MIT

local shell = require "spec.support.shell"
local lexer = require "isolate.repl.lexer"

-- The tokens as `kind:text`, by blanks.
local function tokens(source)
  local list = {}
  for i, t in ipairs((lexer.tokens(source))) do list[i] = t.kind .. ":" .. t.text end
  return table.concat(list, " ")
end

local function problem(source)
  local _, p = lexer.tokens(source)
  return p and { p.what, p.from, p.more }
end

-- The tokens but comments as a source, each in the line that it is said to be in.
local function rebuild(list)
  local parts, line = {}, 1
  for _, t in ipairs(list) do
    if t.kind ~= "comment" then
      parts[#parts + 1] = t.line > line and ("\n"):rep(t.line - line) or " "
      parts[#parts + 1] = t.text
      line = math.max(line, t.line) + select(2, t.text:gsub("\n", ""))
    end
  end
  return table.concat(parts)
end

describe("isolate.repl.lexer", function()
  describe("tokens()", function()
    it("tells names from keywords", function()
      assert.equal("keyword:local name:locals name:_x1 keyword:goto name:End", tokens
        "local locals _x1 goto End")
    end)

    it("reads every operator, the longest first", function()
      for op in ([[+ - * / % ^ # & ~ | << >> // == ~= <= >= < > = ( ) { } [ ] :: ; : , . .. ...]])
        :gmatch "%S+" do
        assert.equal("op:" .. op, tokens(op))
      end
      assert.equal("name:a op:.. op:. name:b", tokens "a.. .b")
      assert.equal("op:... op:.. op://", tokens ".....//")
      assert.equal("op:< name:const op:>", tokens "<const>")
      assert.equal("op:~= op:~ op:=", tokens "~= ~ =")
    end)

    it("reads numerals as Lua does, also what is malformed", function()
      for _, text in ipairs { "3", "345", "0xff", "0xBEBADA", "3.0", "3.1416", "314.16e-2",
        "0.31416E1", "34e1", "0x0.1E", "0xA23p-4", "0X1.921FB54442D18P+1", ".5", "5.", "0x.1p4",
        "1e+5", "3..2", "3x", "0xg", "1e", "08", "0x", "9e9e9", "0xA.8P-1", "0xp3", "12abc.5",
        "3e+", "1..", "0b1", "3_" } do
        assert.equal("number:" .. text, tokens(text))
      end
      assert.equal("number:1 op:- number:2", tokens "1-2")
      assert.equal("name:a op:.. name:b", tokens "a..b")
      assert.equal("number:0xep1 op:- number:1", tokens "0xep1 -1")
      assert.equal("number:0xe op:+ number:1", tokens "0xe+1")
      assert.equal("number:3..2 name:x", tokens "3..2 x")
      assert.equal("name:a1 op:. name:b2", tokens "a1.b2")
      assert.equal("name:t op:.. number:.5 op:, op:... number:5", tokens "t.. .5, ...5")
    end)

    it("reads short strings with every escape", function()
      for _, text in ipairs { [["a"]], [['a']], [["\a\b\f\n\r\t\v\\\"\'"]], [["\x41\65\u{20AC}"]],
        "'a\\\nb'", "'a\\\r\nb'", "'a\\z  \n\t b'", [['"']], [["'"]], [["\\"]], [[""]],
        "'\xff\0'" } do
        assert.equal("string:" .. text, tokens(text))
        assert.is_nil(problem(text))
      end
      assert.equal([[string:"a" string:"b"]], tokens [["a""b"]])
    end)

    it("ends a short string where the compiler does, after any escape", function()
      for byte = 0, 255 do
        local source = "'\\" .. string.char(byte) .. "' .. '\\\\'"
        if load("return " .. source) then
          local list, cut = lexer.tokens(source)
          assert.equal(3, #list, source)
          assert.is_nil(cut, source)
        end
      end
    end)

    it("reads long strings and comments of every level", function()
      for _, text in ipairs { "[[]]", "[[a]b]]", "[==[ a]]b]=]c ]==]", "[=[\n\n]=]" } do
        assert.equal("string:" .. text, tokens(text))
        assert.equal("comment:--" .. text, tokens("--" .. text))
      end
      assert.equal("comment:--[ no long one name:x", tokens "--[ no long one\nx")
      assert.equal("comment:--[==x name:y", tokens "--[==x\ny")
      assert.equal("comment:-- a name:b comment:--", tokens "-- a\r\nb --")
      assert.equal("string:[==[]==] op:] string:[[]]", tokens "[==[]==] ] [[]]")
      assert.equal("op:[ op:= name:x", tokens "[=x")
      assert.equal("comment:--[=[ a ]] ]=] name:b", tokens "--[=[ a ]] ]=]b")
    end)

    it("tells where each token is", function()
      local list = lexer.tokens "local x =\n  [[a\nb]] y"
      local places = {}
      for i, t in ipairs(list) do places[i] = { t.from, t.to, t.line } end
      assert.same({ { 1, 5, 1 }, { 7, 7, 1 }, { 9, 9, 1 }, { 13, 19, 2 }, { 21, 21, 3 } }, places)
    end)

    it("skips a first line that begins with '#!'", function()
      assert.equal("comment:#!/usr/bin/env lua name:x", tokens "#!/usr/bin/env lua\nx")
      assert.equal("op:# name:x", tokens "#x")
      assert.equal("name:x op:# unknown:!", tokens "x\n#!")
    end)

    it("counts lines that end in CR LF, LF, CR or LF CR", function()
      for _, ending in ipairs { "\r\n", "\n", "\r", "\n\r" } do
        local lines = {}
        local source = ("a = [[%s]]%s--[[%s]]%sb = '\\%s'%s%sc"):gsub("%%s", ending)
        for i, t in ipairs((lexer.tokens(source))) do lines[i] = t.line end
        assert.same({ 1, 1, 1, 3, 5, 5, 5, 8 }, lines)
      end
    end)

    it("takes bytes that no token begins with for themselves", function()
      assert.equal("name:a unknown:é name:b", tokens "aéb")
      assert.equal("unknown:$ unknown:@ unknown:\0 unknown:!", tokens "$@ \0!")
      assert.equal("unknown:\xff name:x", tokens "\xffx")
      assert.equal("string:'é\xff' comment:-- é", tokens "'é\xff' -- é")
    end)

    it("says which token has no end, and whether lines that follow could end it", function()
      assert.same({ "string", 5, false }, problem "x = 'abc")
      assert.same({ "string", 5, false }, problem "x = 'abc\n'")
      assert.same({ "string", 5, true }, problem "x = 'abc\\")
      assert.same({ "string", 5, true }, problem "x = 'abc\\z  ")
      assert.same({ "string", 5, false }, problem "x = 'abc\\\\z  ")
      assert.same({ "string", 5, true }, problem "x = 'abc\\\r")
      assert.same({ "string", 5, true }, problem "x = 'abc\\z\n\n")
      assert.same({ "string", 5, false }, problem "x = 'abc\\\n ")
      assert.same({ "string", 5, false }, problem "x = 'abc\\zd")
      assert.same({ "string", 5, true }, problem "x = 'abc\\\n")
      assert.same({ "long string", 1, true }, problem "[==[ ]=]")
      assert.same({ "comment", 3, true }, problem "x --[[ a\n]")
      assert.same({ "unknown", 5, false }, problem "x = $")
      assert.same({ "unknown", 1, false }, problem "é = 1")
      assert.is_nil(problem "x = 'a' -- b")
    end)

    it("gives back every source of this project, as the compiler reads it", function()
      local list = shell.run "git ls-files '*.lua'".stdout
      if list == "" then list = shell.run "find scripts spec examples -name '*.lua'".stdout end
      local files = 0
      for path in list:gmatch "[^\n]+" do
        local source = shell.read(path)
        local all, cut = lexer.tokens(source)
        local at = 1
        for i, t in ipairs(all) do
          local before = source:sub(at, t.from - 1)
          assert(not before:find "%S" or i == 1 and before:find "^#!", path)
          assert.equal(t.text, source:sub(t.from, t.to))
          at = t.to + 1
        end
        assert(not source:sub(at):find "%S", path)
        assert.is_nil(cut, path)
        local code = load(lexer.without_shebang(source), "=x")
        if code then -- the lists of the rockspec and the like are no chunks
          assert.equal(string.dump(code), string.dump(assert(load(rebuild(all), "=x"))), path)
        end
        files = files + 1
      end
      assert.is_true(files > 50)
    end)
  end)

  describe("complete()", function()
    it("is true for what can be loaded", function()
      for _, source in ipairs { "", "x = 1", "return", "-- comment", "goto a ::a::",
        "print '<eof>'", "#!/usr/bin/lua\nx = 1" } do
        assert.is_true(lexer.complete(source), source)
      end
    end)

    it("is false for what more lines could end", function()
      for _, source in ipairs { "for i = 1, 3 do", "x = [[", "x = [==[ ]]", "--[[", "f(",
        "x = 'a\\", "x = 'a\\z ", "x = 'a\\\r\n", "--[==[ ]]", "f{", "a.", "a:b", "local",
        "local x <", "while true do x()", "x = function(a, ...)", "for k, v in", "#!sh\nif x then",
        "x =", "if x then y() else", "repeat", "local function f(", "x = '<eof>' ..", "goto",
        "return {", "f { [[<eof>", "x = 1 +", "function f() x = [[\nif" } do
        assert.is_false(lexer.complete(source), source)
      end
    end)

    it("is nil and a message for what no line can cure", function()
      for source, message in pairs {
        ["x = = 1"] = "unexpected symbol near '='",
        ["x = 'a"] = "unfinished string near <eof>",
        ["end"] = "<eof> expected near 'end'",
        ["x = = [["] = "unexpected symbol near '='",
        ["f(]"] = "unexpected symbol near ']'",
        ["local a <eof>"] = "unknown attribute 'eof'",
        ["break"] = "break outside", ["x = 3..2 +"] = "malformed number near '3..2'",
        ["x = [==="] = "invalid long string delimiter", ["x = 'a\nb"] = "unfinished string",
        ["break [["] = "unfinished long string", ["return 1 2"] = "near '2'",
        ["x = '<eof>' y z <"] = "near 'z'",
        ["goto nowhere"] = "no visible label",
        ["x = '<eof>"] = "unfinished string",
        ["x y '<eof>'"] = "near 'y'",
        ["x = $ [["] = "unexpected symbol near '$'",
        ["x = '\\q' .. [["] = "invalid escape sequence",
      } do
        local ok, text = lexer.complete(source)
        assert.is_nil(ok, source)
        assert.matches(message, text, 1, true)
      end
    end)

    it("is nil where only less could cure it", function()
      local list = {}
      for i = 1, 201 do list[i] = "a" .. i end
      local ok, message = lexer.complete("local " .. table.concat(list, ","))
      assert.is_nil(ok)
      assert.matches("too many local variables", message, 1, true)
      ok, message = lexer.complete("x = " .. ("("):rep(300))
      assert.is_nil(ok)
      assert.matches("overflow", message, 1, true)
    end)
  end)

  describe("failure()", function()
    it("finds the token that cannot be there", function()
      for source, expected in pairs {
        ["x = = 1"] = { 3, 5 }, ["1 + + 2"] = { 1, 1 }, ["return 1 + + 2 + + 3"] = { 4, 12 },
        ["x = 1\nend"] = { 4, 7 }, ["f(--[[ c ]] ]"] = { 3, 13 }, ["x = 'a"] = { 4, 7 },
        ["if x then"] = { 4, 10 }, ["#!x\ny z"] = { 2, 7 },
      } do
        assert.same(expected, { lexer.failure(source) }, source)
      end
    end)

    it("finds none where the message is of no token", function()
      assert.is_nil(lexer.failure "x = 1")
      assert.is_nil(lexer.failure "goto nowhere")
      assert.is_nil(lexer.failure "local x <const> = 1 x = 2")
    end)
  end)

  it("takes as long for a long source as for its parts", function()
    for _, part in ipairs { "]]", "]=]", "\\n", "\\z   z", "=" } do
      local long = part:rep(1000)
      local source = ("x = [==[%s]==] y = '%s' -- %s\n"):format(long, long, part)
      local one, ten = math.huge, math.huge
      for _ = 1, 5 do
        local began = os.clock()
        for _ = 1, 10 do lexer.tokens(source) end
        one = math.min(one, os.clock() - began)
        began = os.clock()
        lexer.tokens((source:gsub("%[==%[.-%]==%]", function(s) return "[==[" .. s:rep(9) end)))
        lexer.tokens(source:rep(10))
        ten = math.min(ten, os.clock() - began)
      end
      assert.is_true(ten < 10 * one + 0.01, part)
    end
  end)

  it("knows the reserved words", function()
    local n = 0
    for word in lexer.keywords() do
      n = n + 1
      assert.is_true(lexer.is_keyword(word))
      assert.is_nil(load("local " .. word .. " = 1"), word)
    end
    assert.equal(22, n)
    assert.is_false(lexer.is_keyword "print")
  end)
end)
