--- Characters of a text for a terminal: what is escaped, where it is cut, how wide it is.
-- @module isolate.repl.characters
-- SPDX-License-Identifier: MIT
local _ENV = require("isolate.repl.own").env
local concat = table.concat
local find, gsub, sub, match = string.find, string.gsub, string.sub, string.match
local byte, fmt, gmatch, rep = string.byte, string.format, string.gmatch, string.rep
local len_of, codes, codepoint = utf8.len, utf8.codes, utf8.codepoint

local M = {}

local ESCAPES = { ["\a"] = "\\a", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t", ["\v"] = "\\v", ["\\"] = "\\\\", ["\""] = "\\\"" }

local function escape_byte(c)
  return ESCAPES[c] or fmt("\\x%02x", byte(c))
end

local function escape_character(c)
  return fmt("\\u{%x}", codepoint(c))
end

-- Controls of Unicode: C1, separators of lines and paragraphs, and what turns text around.
local function escape_controls(text)
  text = gsub(text, "\xc2[\x80-\x9f]", escape_character)
  text = gsub(text, "\xe2\x80[\xa8-\xae]", escape_character)
  return (gsub(text, "\xe2\x81[\xa6-\xa9]", escape_character))
end

--- Escapes as Lua source does what is no valid UTF-8, characters that control a terminal or turn
-- text around, and the bytes of a class.
-- @tparam string text
-- @tparam string class a pattern of one byte, as `%c`
-- @treturn string
-- @usage print(characters.escape("a\tb\xff", "%c")) -- a\\tb\\xff
function M.escape(text, class)
  if not find(text, "[\128-\255]") then return (gsub(text, class, escape_byte)) end
  local out, at = {}, 1
  while at <= #text do
    local length, bad = len_of(text, at)
    local to = length and #text or bad - 1
    out[#out + 1] = escape_controls((gsub(sub(text, at, to), class, escape_byte)))
    at = to + 1
    if not length then
      out[#out + 1] = escape_byte(sub(text, at, at))
      at = at + 1
    end
  end
  return concat(out)
end

--- A text as a string of Lua source, which gives the same bytes.
-- @tparam string text
-- @treturn string
-- @usage print(characters.quote "one\n") -- "one\\n"
function M.quote(text)
  return '"' .. M.escape(text, '[%c\\"]') .. '"'
end

--- The beginning of a text, which does not end in the middle of a character.
-- @tparam string text
-- @tparam integer length bytes at most
-- @treturn string
-- @treturn integer how many bytes are left out
-- @usage print(characters.cut("€uro", 4)) -- €u	2
function M.cut(text, length)
  if #text <= length then return text, 0 end
  local to = length
  while to > length - 4 and to > 0 and find(text, "^[\128-\191]", to + 1) do to = to - 1 end
  return sub(text, 1, to), #text - to
end

-- First and last code points of characters that take two columns, and none.
local WIDE = { 0x1100, 0x115f, 0x2e80, 0x303e, 0x3041, 0xa4cf, 0xac00, 0xd7a3, 0xf900, 0xfaff,
  0xfe30, 0xfe6f, 0xff00, 0xff60, 0xffe0, 0xffe6, 0x1f300, 0x1f64f, 0x1f900, 0x1f9ff,
  0x20000, 0x3fffd }
local NONE = { 0x300, 0x36f, 0x200b, 0x200d, 0x20d0, 0x20ff, 0xfe00, 0xfe0f, 0xfe20, 0xfe2f }

local function is_among(ranges, c)
  for i = 1, #ranges, 2 do
    if c >= ranges[i] and c <= ranges[i + 1] then return true end
  end
  return false
end

--- Columns that a line takes on a terminal, without the sequences that colour it.
-- @tparam string text of what is no valid UTF-8, the bytes are counted
-- @treturn integer
-- @usage print(characters.columns "漢字") -- 4
function M.columns(text)
  text = gsub(text, "\27%[[%d;]*m", "")
  local n = len_of(text)
  if not n then return #text end
  if not find(text, "[\xcc-\xff]") then return n end
  n = 0
  for _, c in codes(text) do
    n = n + (is_among(WIDE, c) and 2 or is_among(NONE, c) and 0 or 1)
  end
  return n
end

-- What stands before the rows that a line goes on in: blanks up to the text behind its head, if it
-- has one, as in a table.
local function hang_of(line, width)
  local head = match(line, "^%S.-  +")
  if head and M.columns(head) <= width / 2 then return rep(" ", M.columns(head)) end
  return find(line, "^ ") and "    " or ""
end

local function wrap_line(line, width)
  local rows, row = {}, ""
  for gap, word in gmatch(line, "( *)([^ ]+)") do
    if row ~= "" and M.columns(row .. gap .. word) > width then
      rows[#rows + 1] = row
      row = hang_of(line, width) .. word
    else
      row = row .. gap .. word
    end
  end
  rows[#rows + 1] = row
  return concat(rows, "\n")
end

--- A text whose lines are broken between words. Those that begin with four blanks are examples,
-- and stay as they are.
-- @tparam string text
-- @tparam integer width columns of a line at most
-- @treturn string
-- @usage print(characters.wrapped("one two three", 8))
function M.wrapped(text, width)
  return (gsub(text, "[^\n]+", function(line)
    if M.columns(line) > width and not find(line, "^    ") then return wrap_line(line, width) end
  end))
end

-- Escape sequences: CSI, OSC with either end, all others.
local SEQUENCES = { "^\27%[[0-?]*[ -/]*[@-~]", "^\27%][^\7\27]*\7", "^\27%][^\27]*\27\\",
  "^\27[ -/]*[0-~]" }

local function sequence_at(text, at)
  for i = 1, #SEQUENCES do
    local _, to = find(text, SEQUENCES[i], at)
    if to then return sub(text, at, to) end
  end
end

--- A text as libedit takes prompts: escape sequences stand between two `\1`, and before a character
-- that is seen. What ends in one gets a blank, unless one is there.
-- @tparam string text
-- @treturn string
-- @usage print(characters.marked "\27[1m> \27[m") -- \1\27[1m\1>\1\27[m\1
function M.marked(text)
  text = gsub(text, "[\1\2]", "") -- marks for readline and the like
  local out, waiting, at = {}, "", 1
  local function put(c)
    out[#out + 1] = waiting ~= "" and "\1" .. waiting .. "\1" .. c or c
    waiting = ""
  end
  while at <= #text do
    local sequence = sequence_at(text, at)
    local c = sequence or match(text, "^[\xc2-\xf4][\x80-\xbf]+", at) or sub(text, at, at)
    at = at + #c
    if sequence then
      waiting = waiting .. c
    elseif find(c, "^%c") then
      out[#out + 1] = c
    else
      put(c)
    end
  end
  if waiting ~= "" then
    local before = match(out[#out] or "", "^\1?(.-)\1? $")
    if before then out[#out], waiting = nil, before .. waiting end
    put " "
  end
  return concat(out)
end

return M
