--- The tokens of Lua 5.4, and whether an input is complete.
-- @module isolate.repl.lexer
-- SPDX-License-Identifier: MIT
local lpeg = require "lpeg"
local _ENV = require("isolate.repl.own").env

local P, R, S = lpeg.P, lpeg.R, lpeg.S
local C, Cb, Cc, Cg, Cmt, Cp, Ct = lpeg.C, lpeg.Cb, lpeg.Cc, lpeg.Cg, lpeg.Cmt, lpeg.Cp, lpeg.Ct

local M = {}

-- -- Grammar -------------------------------------------------------------------------------------

local letter = R("az", "AZ") + P "_"
local digit, hex = R "09", R("09", "af", "AF")
local newline = P "\r\n" + P "\n\r" + S "\r\n"
local space = S " \t\v\f\r\n"

-- As the lexer of Lua reads a numeral: what may belong to one does, and is looked at afterwards;
-- so does a name right behind it.
local function digits(mark)
  return (S(mark) * S "+-" ^ -1 + hex + P ".") ^ 0
end
local number = #(digit + P "." * digit) * (P "0" * S "xX" * digits "pP" + P(1) * digits "eE")
  * (letter + digit) ^ 0

-- [==[ … ]==], of whatever level.
local open = P "[" * Cg(P "=" ^ 0, "level") * P "["
local close = Cmt(P "]" * C(P "=" ^ 0) * P "]" * Cb "level",
  function(_, _, this, level) return this == level end) / 0
local long = open * (P(1) - close) ^ 0 * Cg(close * Cc "closed" + -P(1) * Cc "more", "state")

-- What may follow a backslash: a line end, `z` and blanks, anything else. Where the input ends in
-- one of the first two, or in the backslash itself, the string goes on in the next line.
local skip = newline + P "z" * space ^ 0
local last_escape = P "\\" * skip ^ -1 * -P(1)
local escape = P "\\" * (skip + P(1)) - last_escape
local function short_of(quote)
  return P(quote) * (escape + (P(1) - S("\\\r\n" .. quote))) ^ 0
    * Cg(P(quote) * Cc "closed" + last_escape * Cc "more" + Cc "broken", "state")
end

local operators = P "..."
for _, text in ipairs { "..", "<<", ">>", "//", "==", "~=", "<=", ">=", "::" } do
  operators = operators + P(text)
end
operators = operators + S "+-*/%^#&~|<>=(){}[];:,."

local function token(kind, pattern)
  return Ct(Cg(Cp(), "from") * Cg(Cc(kind), "kind") * Cg(C(pattern), "text"))
end

-- With a state: closed, or how it is not.
local function token_with_state(kind, pattern)
  return Ct(Cg(Cp(), "from") * Cg(Cc(kind), "kind") * pattern * Cg(Cp(), "after"))
end

local to_line_end = (P(1) - S "\r\n") ^ 0
local shebang = token("comment", P "#!" * to_line_end)
local tokens = Ct(shebang ^ -1 * (space ^ 1 + token("name", letter * (letter + digit) ^ 0)
  + token_with_state("comment", P "--" * long) + token("comment", P "--" * to_line_end)
  + token_with_state("string", long + short_of '"' + short_of "'") + token("number", number)
  + token("op", operators) + token("unknown", P(1) * R "\128\191" ^ 0)) ^ 0)

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%a+" do
  keywords[word] = true
end

--- Is it a reserved word?
-- @tparam string text
-- @treturn boolean
function M.is_keyword(text)
  return keywords[text] == true
end

--- The reserved words.
-- @treturn function an iterator
function M.keywords()
  return pairs(keywords)
end

-- -- Tokens --------------------------------------------------------------------------------------

-- What a token without an end is.
local function problem_of(t)
  if t.kind == "unknown" then return { what = "unknown", from = t.from, more = false } end
  local what = t.kind == "comment" and "comment" or t.text:find "^%[" and "long string" or "string"
  return { what = what, from = t.from, more = t.state == "more" }
end

-- Counts the line ends as Lua does: CR LF and LF CR are one.
local function line_counter(source)
  local line, at = 1, 1
  local found = source:find "[\r\n]"
  return function(to)
    while found and found < to do
      local two = source:sub(found, found + 1)
      at = found + ((two == "\r\n" or two == "\n\r") and 2 or 1)
      line = line + 1
      found = source:find("[\r\n]", at)
    end
    return line
  end
end

--- The tokens of a source, white space left out. A first line that begins with `#!` is a comment.
-- @tparam string source
-- @treturn table a list of `{kind, text, from, to, line}`: kind is `name`, `keyword`, `number`,
--   `string`, `comment`, `op` or `unknown`; `from` and `to` are bytes, `line` counts from 1
-- @treturn table|nil of the first token that has no end: `{what, from, more}`; what is `string`,
--   `long string`, `comment` or `unknown`; `more`: lines that follow could end it
-- @usage for _, t in ipairs(lexer.tokens "x = 1") do print(t.kind, t.text) end
function M.tokens(source)
  local list, problem = tokens:match(source), nil
  local line_at = line_counter(source)
  for i = 1, #list do
    local t = list[i]
    if t.after then t.text, t.after = source:sub(t.from, t.after - 1), nil end
    t.to, t.line = t.from + #t.text - 1, line_at(t.from)
    if t.kind == "name" and keywords[t.text] then t.kind = "keyword" end
    if not problem and (t.kind == "unknown" or t.state and t.state ~= "closed") then
      problem = problem_of(t)
    end
    t.state, t.level = nil, nil
  end
  return list, problem
end

-- -- Completeness --------------------------------------------------------------------------------

-- The compiler of Lua names the end of the input without quotes, any token with them. It gives up
-- there also for what only less could cure.
local LIMITS = { "too many ", "too long", "too large", "overflow", "too complex", "registers" }

local function is_at_end(message)
  if not message:find "near <eof>$" then return false end
  for _, text in ipairs(LIMITS) do
    if message:find(text, 1, true) then return false end
  end
  return true
end

--- The source with blanks for a first line that begins with `#!`, as Lua reads files.
-- @tparam string source
-- @treturn string
-- @usage lexer.compile(lexer.without_shebang(source))
function M.without_shebang(source)
  return (source:gsub("^#![^\r\n]*", function(line) return (" "):rep(#line) end))
end

--- Compiles a source text, away from the message handler of whoever calls: Lua asks it, too, about
-- a source that is nested too deeply.
-- @tparam string source
-- @tparam[opt="=repl"] string name of the chunk
-- @tparam[opt] table env its globals; without, an empty table
-- @treturn[1] function
-- @return[2] nil
-- @treturn[2] string the message of the compiler
-- @usage local fn, message = lexer.compile("return x", "=repl", _G)
function M.compile(source, name, env)
  local _, fn, message = pcall(load, source, name or "=repl", "t", env or {})
  return fn, message
end

--- Is it a chunk, could it be the beginning of one, or neither?
-- The compiler says at which token it failed; whether that is one that lines which follow could
-- end, the lexer tells.
-- @tparam string source
-- @tparam[opt="=repl"] string name of the chunk, as for `load`
-- @treturn[1] boolean true: it can be loaded; false: more lines are needed
-- @return[2] nil
-- @treturn[2] string the message of the compiler
-- @usage lexer.complete "for i = 1, 3 do" -- false
function M.complete(source, name)
  source = M.without_shebang(source)
  local fn, message = M.compile(source, name)
  if fn then return true end
  if not is_at_end(message) then return nil, message end
  if message:find("unfinished ", 1, true) then
    local _, problem = M.tokens(source)
    if not problem or not problem.more or M.fails_before(source, problem.from) then
      return nil, message
    end
  end
  return false
end

--- Does a source have an error that lies before the byte `at`, where a token without an end begins?
-- @tparam string source
-- @tparam integer at
-- @treturn boolean
-- @usage lexer.fails_before("break [[", 7) -- true
function M.fails_before(source, at)
  for _, whole in ipairs { "''", "" } do
    local fn, message = M.compile(source:sub(1, at - 1) .. whole)
    if fn or is_at_end(message) then return false end
  end
  return true
end

--- Where the compiler fails: the first token that no source could have in its place.
-- @tparam string source that cannot be loaded
-- @treturn[1] integer its number among the tokens that are no comments, one more than there are if
--   it is the end of the input
-- @treturn[1] integer the byte where it begins
-- @treturn[2] nil when the message is of no token: of a `goto`, a constant, a limit
-- @usage lexer.failure "x = = 1" -- 3, 5
function M.failure(source)
  source = M.without_shebang(source)
  local fn, message = M.compile(source)
  if fn or not message:find(" near ", 1, true) then return end
  local list = {}
  for _, t in ipairs((M.tokens(source))) do
    if t.kind ~= "comment" then list[#list + 1] = t end
  end
  -- The number of tokens that can be loaded, or more tokens could end: low; that cannot: high.
  local low, high = 0, #list + 1
  while high - low > 1 do
    local middle = (low + high) // 2
    local part, why = M.compile(source:sub(1, list[middle].to))
    if part or is_at_end(why) or not why:find(" near ", 1, true) then
      low = middle
    else
      high = middle
    end
  end
  return high, list[high] and list[high].from or #source + 1
end

return M
