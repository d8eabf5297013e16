--- The tokens of Lua 5.4, and whether an input is complete.
-- @module isolate.repl.lexer
-- SPDX-License-Identifier: MIT
local lpeg = require "lpeg"

local P, R, S = lpeg.P, lpeg.R, lpeg.S
local C, Cb, Cc, Cg, Cmt, Cp, Ct = lpeg.C, lpeg.Cb, lpeg.Cc, lpeg.Cg, lpeg.Cmt, lpeg.Cp, lpeg.Ct

local M = {}

-- -- Grammar -------------------------------------------------------------------------------------

local letter = R("az", "AZ") + P "_"
local digit, hex = R "09", R("09", "af", "AF")
local newline = P "\r\n" + P "\n\r" + S "\r\n"
local space = S " \t\v\f\r\n"

-- As the lexer of Lua reads a numeral: what may belong to one does, and is looked at afterwards.
local function exponent_or(class, mark)
  return (S(mark) * S "+-" ^ -1 + class + P ".") ^ 0
end
local numeral = P "0" * S "xX" * exponent_or(hex, "pP")
  + (digit + P "." * digit) * exponent_or(hex, "eE")
local number = #(digit + P "." * digit) * numeral * (letter + digit) ^ 0

-- [==[ … ]==], of whatever level.
local open = P "[" * Cg(P "=" ^ 0, "level") * P "["
local close = Cmt(P "]" * C(P "=" ^ 0) * P "]" * Cb "level",
  function(_, _, this, level) return this == level end) / 0
local long_body = open * (P(1) - close) ^ 0
local long = Cg(Ct(long_body * (close * Cg(Cc(true), "closed") + -P(1))), "long")

-- What may follow a backslash: a line end, `z` and blanks, anything else. At the end of the input
-- it is cut off.
local escape = P "\\" * (newline + P "z" * space ^ 0 + P(1))
local function short_of(quote)
  return P(quote) * (escape + (P(1) - S("\\\r\n" .. quote))) ^ 0 * Cg(
    P(quote) * Cc "closed" + P "\\" * -P(1) * Cc "more" + -P(1) * Cc "end" + Cc "broken", "state")
end

local operators = P "..." + P "..=" * P(false)
for _, text in ipairs { "..", "<<", ">>", "//", "==", "~=", "<=", ">=", "::" } do
  operators = operators + P(text)
end
operators = operators + S "+-*/%^#&~|<>=(){}[];:,."

local function token(kind, pattern)
  return Ct(Cg(Cp(), "from") * Cg(Cc(kind), "kind") * pattern * Cg(Cp(), "after"))
end

local comment = P "--" * (long + (P(1) - S "\r\n") ^ 0)
local tokens = Ct((space ^ 1 + token("comment", comment) + token("string", long)
  + token("string", short_of '"' + short_of "'") + token("number", number)
  + token("name", letter * (letter + digit) ^ 0) + token("op", operators)
  + token("unknown", P(1) * R "\128\191" ^ 0)) ^ 0)
local grammar = (P "#!" * (P(1) - S "\r\n") ^ 0) ^ -1 * tokens

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

local function is_cut(t, source)
  if t.long then
    return not t.long.closed and (t.kind == "comment" and "comment" or "long string")
  end
  if t.kind ~= "string" or t.state == "closed" then return end
  -- after `\z` all white space belongs to it, line ends too
  local skips = t.state == "end" and source:find("\\z[ \t\v\f\r\n]*$", t.from)
  local slashes = skips and #source:match("(\\*)z[ \t\v\f\r\n]*$") or 0
  if t.state == "more" or slashes % 2 == 1 or
    t.state == "end" and source:find("\\\r?\n\r?$", t.from) then
    return "string", true
  end
  return "string", false
end

--- The tokens of a source, white space left out.
-- @tparam string source
-- @treturn table a list of `{kind, text, from, to, line}`: kind is `name`, `keyword`, `number`,
--   `string`, `comment`, `op` or `unknown`; `from` and `to` are bytes, `line` counts from 1
-- @treturn table|nil of a token that has no end: `{what, from, more}`; what is `string`,
--   `long string`, `comment` or `unknown`; `more`: lines that follow could end it
-- @usage for _, t in ipairs(lexer.tokens "x = 1") do print(t.kind, t.text) end
function M.tokens(source)
  local list = grammar:match(source)
  local line, at, problem = 1, 1, nil
  for _, t in ipairs(list) do
    for _ in source:sub(at, t.from - 1):gmatch "\n" do line = line + 1 end
    at = t.from
    t.to, t.text, t.line = t.after - 1, source:sub(t.from, t.after - 1), line
    if t.kind == "name" and keywords[t.text] then t.kind = "keyword" end
    local what, more = is_cut(t, source)
    if what and not problem then
      problem = { what = what, from = t.from, more = more == nil or more }
    elseif t.kind == "unknown" and not problem then
      problem = { what = "unknown", from = t.from, more = false }
    end
    t.after, t.long, t.state = nil, nil, nil
  end
  return list, problem
end

-- -- Completeness --------------------------------------------------------------------------------

--- Is it a chunk, could it be the beginning of one, or neither?
-- The compiler says at which token it failed; that it is the end of the input, and not a token that
-- only reads so, the lexer tells.
-- @tparam string source
-- @tparam[opt] string name of the chunk, as for `load`
-- @treturn[1] boolean true: it can be loaded; false: more lines are needed
-- @return[2] nil
-- @treturn[2] string the message of the compiler
-- @usage lexer.complete "for i = 1, 3 do" -- false
function M.complete(source, name)
  local fn, message = load(source, name or "=repl", "t", {})
  if fn then return true end
  local _, problem = M.tokens(source)
  if problem then
    if problem.more and not M.fails_before(source, problem.from) then return false end
    return nil, message
  end
  if message:find "near <eof>$" then return false end
  return nil, message
end

--- Does a source have an error that lies before the byte `at`, where a token without an end begins?
-- @tparam string source
-- @tparam integer at
-- @treturn boolean
function M.fails_before(source, at)
  for _, whole in ipairs { "''", "" } do
    local fn, message = load(source:sub(1, at - 1) .. whole, "=repl", "t", {})
    if fn or message:find "near <eof>$" then return false end
  end
  return true
end

return M
