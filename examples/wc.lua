-- wc.lua - counts lines, words and bytes as wc does, with all cores.
--
--     isolua examples/wc.lua [-lwc] FILE...
--
-- Each file is mapped once and cut at line ends into slices, which go to isolates without a copy.
-- There are as many isolates as nproc(1) says there are cores. It prints what wc of coreutils 9.1
-- does; files that cannot be mapped, such as pipes, are read into memory.

local isolate = require "isolate"

local USAGE = "usage: isolua examples/wc.lua [-lwc] FILE...\n"
local SMALL = 256 * 1024 -- bytes: a file is cut into slices of no less
local BLOCK = 128 * 1024 -- bytes of which words are counted at a time

-- ---- In the isolates ----

local printable -- characters: where ranges of printable ones and others begin, by turns

-- Is it one of those of which words consist? The list is read when it is first needed.
local function is_printable(char, list)
  if not printable then
    printable = {}
    local from = 0
    for digits in list:gmatch "%x+" do
      from = from + tonumber(digits, 16)
      printable[#printable + 1] = from
    end
  end
  local low, high = 0, #printable + 1 -- printable[low] <= char < printable[high]
  while high - low > 1 do
    local middle = (low + high) // 2
    if printable[middle] <= char then low = middle else high = middle end
  end
  return low % 2 == 1
end

-- A function that tells what a byte of 0x80 or more and the bytes of 0x80 to 0xBF that follow it
-- are to words: "x" belongs to one, " " separates two, and "" is neither, as are all invalid bytes.
local function classifier(locale)
  local spaces = { [0x1680] = true, [0x205F] = true, [0x3000] = true }
  for char = 0x2000, 0x200A do spaces[char] = true end
  for _, char in ipairs { 0xA0, 0x2007, 0x202F, 0x2060 } do spaces[char] = locale.nbsp end
  local kept, size = {}, 0
  return function(bytes)
    local class = kept[bytes]
    if class then return class end
    class = ""
    if utf8.len(bytes, 1, 1) then
      local char = utf8.codepoint(bytes)
      class = spaces[char] and " " or is_printable(char, locale.printable) and "x" or ""
    end
    if #bytes <= 4 and size < 100000 then
      kept[bytes] = class
      size = size + 1
    end
    return class
  end
end

-- The end of a block that should end at `to`: no character goes on behind it.
local function block_end(part, to)
  if to >= #part then return #part end
  for i = to, to - 3, -1 do
    local byte = part[i]
    if byte >= 0xC0 then return i - 1 end
    if byte < 0x80 then break end
  end
  return to
end

local WHITE = { " ", "\n", "\t", "\r", "\v", "\f" }
local CONTROL = {}
for byte = 0, 127 do
  local char = string.char(byte)
  if char:find "%c" and not char:find "%s" then CONTROL[#CONTROL + 1] = char end
end

-- The words of block `from` to `to`, quickly: in plain text there is one more than there is white
-- space. Nil where there are other bytes than printable ASCII, or white space is not single.
local function count_plain(part, from, to, block)
  local present, words = {}, 1
  for _, char in ipairs(WHITE) do
    local found = part:count(char, from, to)
    if found > 0 then present[#present + 1], words = char, words + found end
  end
  for _, one in ipairs(present) do
    for _, other in ipairs(present) do
      if part:find(one .. other, from, to) then return nil end
    end
  end
  if utf8.len(block) ~= #block then return nil end
  for _, char in ipairs(CONTROL) do
    if part:count(char, from, to) > 0 then return nil end
  end
  if block:find "^%s" then words = words - 1 end
  return block:find("%s$", -1) and words - 1 or words
end

-- The words of a block, each by each, and the block without what is neither in a word nor white
-- space.
local function count_any(block, classify)
  local rest, words = block:gsub("%g+", "")
  if not rest:find "%S" then return words, block end
  block = block:gsub("[\x80-\xFF][\x80-\xBF]*", classify or ""):gsub("[^%g%s]+", "")
  return select(2, block:gsub("%g+", "")), block
end

-- A word is printable characters, and what else there is, between white space.
local function count_words(part, locale)
  local classify = locale.printable and classifier(locale)
  local words, inside, from = 0, false, 1
  while from <= #part do
    local to = block_end(part, from + BLOCK - 1)
    local block = part:sub(from, to)
    local found = count_plain(part, from, to, block)
    if not found then found, block = count_any(block, classify) end
    if block ~= "" then
      if inside and block:find "^%g" then found = found - 1 end
      words, inside = words + found, block:find("%g$", -1) ~= nil
    end
    from = to + 1
  end
  return words
end

-- Runs in an isolate of its own. `parts` has slices of files by the numbers of the files.
local function count(parts, wanted, locale)
  local counts = {}
  for i, part in pairs(parts) do
    counts[i] = {
      l = wanted.l and part:count "\n",
      w = wanted.w and count_words(part, locale),
      c = wanted.c and #part,
    }
  end
  return counts
end

-- ---- Files ----

local locale -- see find_locale

-- The name as the messages of coreutils have it: ready for a shell, where it needs that.
local function quoted(name)
  local control = locale.printable and utf8.len(name) and "[%c]" or "[%c\x80-\xFF]"
  local is_odd = name:find(control)
  if not is_odd and not name:find "^[#~]" and not name:find "^[{}]$" and
    not name:find "[^%w#%%+,./@_%]{}~\x80-\xFF-]" then
    return name
  end
  if name:find "'" and not is_odd and not name:find "[\"$`\\!]" then return '"' .. name .. '"' end
  local escapes = { ["\a"] = "a", ["\b"] = "b", ["\f"] = "f", ["\n"] = "n", ["\r"] = "r",
    ["\t"] = "t", ["\v"] = "v" }
  local text = "'" .. name:gsub("'", "'\\''"):gsub(control .. "+", function(bytes)
    return "'$'" .. bytes:gsub(".", function(byte)
      return "\\" .. (escapes[byte] or ("%03o"):format(byte:byte()))
    end) .. "''"
  end) .. "'"
  return name:find(control .. "$") and text:sub(1, -3) or text
end

local failed = false

local function complain(name, reason)
  failed = true
  if name == "" then
    io.stderr:write "wc: invalid zero-length file name\n"
    return
  end
  if reason:sub(1, #name + 2) == name .. ": " then reason = reason:sub(#name + 3) end
  io.stderr:write(("wc: %s: %s\n"):format(quoted(name), reason))
end

local CODES = { ENODEV = 19, EISDIR = 21, EACCES = 13 }

-- The size of a file that may not be read; nil: not a regular one.
local function size_of(name)
  local pipe <close> = assert(io.popen("stat -Lc '%s %F' -- '" .. name:gsub("'", "'\\''") .. "'"))
  return tonumber(pipe:read "a":match "^(%d+) regular")
end

-- A frozen buffer of the file's bytes; or nil and whether it has counts, of 0, nevertheless. Then
-- its size as stat(2) tells it, or nil where it is no regular file.
local function open(name)
  local bytes, reason, code = isolate.map_file(name)
  if bytes and #bytes > 0 then return bytes, true, #bytes end
  if bytes or code == CODES.ENODEV then -- those in /proc say that they are empty
    local file = io.open(name, "rb")
    local text = file and file:read "a"
    if file then file:close() end
    if text then return isolate.buffer(text):freeze(), true, bytes and 0 end
  end
  complain(name, reason)
  if code == CODES.EACCES then return nil, false, size_of(name) end
  if code == CODES.EISDIR then return nil, true, nil end
  return nil, false, 0
end

-- Cuts `bytes` at line ends into at most `most` slices.
local function slices(bytes, most)
  local list, from = {}, 1
  local each = math.max(#bytes // most, SMALL)
  while from <= #bytes do
    local to = #list + 1 < most and from + each <= #bytes and bytes:find("\n", from + each)
    to = to or #bytes
    list[#list + 1] = bytes:slice(from, to)
    from = to + 1
  end
  return list
end

-- ---- The command line ----

local function parse(args)
  local wanted, names, options = {}, {}, true
  local long = { ["--lines"] = "l", ["--words"] = "w", ["--bytes"] = "c" }
  for _, word in ipairs(args) do
    local letters = options and (long[word] or word:match "^%-([lwc]+)$")
    if options and word == "--" then
      options = false
    elseif letters then
      for letter in letters:gmatch "." do wanted[letter] = true end
    elseif options and word:find "^%-" then
      return nil
    else
      names[#names + 1] = word
    end
  end
  if not next(wanted) then wanted = { l = true, w = true, c = true } end
  return #names > 0 and names, wanted
end

-- What decides how words are counted: `printable` where characters are those of UTF-8, nil where
-- they are bytes; `nbsp`: do non-breaking spaces separate words?
local function find_locale()
  local known = os.setlocale("", "all") ~= nil
  local name = os.setlocale(nil, "ctype")
  os.setlocale("C", "all")
  if not known or not name:upper():find "UTF%-?8" then return {} end
  local directory = arg[0]:match "^(.*/)" or ""
  return { printable = dofile(directory .. "wc_printable.lua"),
    nbsp = not os.getenv "POSIXLY_CORRECT" }
end

local function cores()
  local pipe <close> = assert(io.popen "nproc")
  return pipe:read "n" or 1
end

local names, wanted = parse(arg)
if not names then
  io.stderr:write(USAGE)
  os.exit(1)
end
locale = find_locale()
local workers = cores()

-- The slices of large files go to all isolates, small files to each in turn.
local parts, turn, has_counts, total_size, least_width = {}, 0, {}, 0, 1
for k = 1, workers do parts[k] = {} end
for i, name in ipairs(names) do
  local bytes, counted, size = open(name)
  has_counts[i] = counted
  if size then total_size = total_size + size else least_width = 7 end
  for _, slice in ipairs(bytes and slices(bytes, workers) or {}) do
    parts[turn % workers + 1][i] = slice
    turn = turn + 1
  end
end

local futures = {}
for k = 1, workers do
  futures[k] = next(parts[k]) and isolate.run(count, parts[k], wanted, locale) or nil
end
local counts, total = {}, { l = 0, w = 0, c = 0 }
for i in ipairs(names) do counts[i] = { l = 0, w = 0, c = 0 } end
for k = 1, workers do
  for i, of_part in pairs(futures[k] and futures[k]:await() or {}) do
    for letter in pairs(wanted) do
      counts[i][letter] = counts[i][letter] + of_part[letter]
      total[letter] = total[letter] + of_part[letter]
    end
  end
end

local order = {}
for letter in ("lwc"):gmatch "." do
  if wanted[letter] then order[#order + 1] = letter end
end
local width = math.max(#tostring(total_size), least_width)
if #names == 1 and #order == 1 then width = 1 end

local function print_counts(row, name)
  local columns = {}
  for i, letter in ipairs(order) do columns[i] = ("%" .. width .. "d"):format(row[letter]) end
  columns[#columns + 1] = name:find "\n" and quoted(name) or name
  print(table.concat(columns, " "))
end

for i, name in ipairs(names) do
  if has_counts[i] then print_counts(counts[i], name) end
end
if #names > 1 then print_counts(total, "total") end
if failed then os.exit(1) end
