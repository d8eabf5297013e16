--- Values as text for a prompt: tables laid out, with limits on depth, width, items and length.
-- @module isolate.repl.pretty
-- SPDX-License-Identifier: MIT
local M = {}

-- Limits that hold where `opts` says nothing.
local DEPTH, ITEMS, LENGTH, WIDTH = 5, 50, 2000, 80
-- Of the whole text, in bytes; seconds that a metamethod may take; keys of a table that are sorted.
local TOTAL, PATIENCE, SORTED = 20000, 0.05, 2000

local COLOURS = { string = "32", number = "36", boolean = "35", ["nil"] = "35", key = "",
  special = "2", ["function"] = "34" }

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%a+" do
  keywords[word] = true
end

-- -- Foreign code --------------------------------------------------------------------------------

-- Calls a metamethod, which may raise or not return: then nil and the reason.
local function guarded(f, ...)
  local co, start = coroutine.create(f), os.clock()
  debug.sethook(co, function()
    if os.clock() - start > PATIENCE then error("takes too long", 0) end
  end, "", 1000)
  local ok, value = coroutine.resume(co, ...)
  if ok and coroutine.status(co) == "dead" then return value end
  pcall(coroutine.close, co)
  return nil, ok and "it yields" or type(value) == "string" and value or "it raises"
end

local function text_of(value)
  local text, problem = guarded(tostring, value)
  return text or ("(__tostring: %s)"):format(problem)
end

-- -- Scalars -------------------------------------------------------------------------------------

local ESCAPES = { ["\a"] = "\\a", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t", ["\v"] = "\\v", ["\\"] = "\\\\", ["\""] = "\\\"" }

local function escape_byte(byte)
  return ESCAPES[byte] or ("\\x%02x"):format(byte:byte())
end

-- Valid UTF-8 stays, but for control characters of C1.
local function quote(text)
  if not text:find "[\128-\255]" then return '"' .. text:gsub('[%c\\"]', escape_byte) .. '"' end
  local out, at = {}, 1
  while at <= #text do
    local length, bad = utf8.len(text, at)
    local to = length and #text or bad - 1
    out[#out + 1] = text:sub(at, to):gsub('[%c\\"]', escape_byte):gsub("\u{85}", "\\u{85}")
    at = to + 1
    if not length then
      out[#out + 1] = escape_byte(text:sub(at, at))
      at = at + 1
    end
  end
  return '"' .. table.concat(out) .. '"'
end

-- Not in the middle of a character.
local function cut(text, length)
  if #text <= length then return text, 0 end
  local to = length
  while to > length - 4 and to > 0 and text:find("^[\128-\191]", to + 1) do to = to - 1 end
  return text:sub(1, to), #text - to
end

local function format_string(state, text)
  local shown, rest = cut(text, state.length)
  local out = state:paint("string", quote(shown))
  if rest > 0 then out = out .. state:paint("special", (" … %d more bytes"):format(rest)) end
  return out
end

local function format_number(x)
  if math.type(x) == "integer" then
    return x == math.mininteger and "math.mininteger" or ("%d"):format(x)
  end
  if x ~= x then return "0/0" end
  if x == math.huge then return "math.huge" end
  if x == -math.huge then return "-math.huge" end
  for precision = 14, 17 do
    local text = ("%%.%dg"):format(precision):format(x)
    if tonumber(text) == x then return text:find "[.e]" and text or text .. ".0" end
  end
end

-- -- Functions -----------------------------------------------------------------------------------

local builtin = setmetatable({}, { __mode = "k" })

local function name_builtins()
  for name, module in pairs(package.loaded) do
    if type(module) == "table" then
      for key, value in next, module do
        if type(value) == "function" and type(key) == "string" and not builtin[value] then
          builtin[value] = module == _G and key or tostring(name) .. "." .. key
        end
      end
    end
  end
end

local function format_function(state, f)
  local info = debug.getinfo(f, "S")
  if info.what ~= "C" then
    return state:paint("function", ("function: %s:%d"):format(info.short_src, info.linedefined))
  end
  if not builtin[f] then name_builtins() end
  return state:paint("function", builtin[f] and "builtin: " .. builtin[f] or "builtin: " ..
    tostring(f):gsub("^builtin: ", ""):gsub("^function: ", ""))
end

-- -- Tables --------------------------------------------------------------------------------------

local RANK = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local x, y = RANK[type(a)] or 4, RANK[type(b)] or 4
  if x ~= y then return x < y end
  if x <= 2 then return a < b end
  return tostring(a) < tostring(b)
end

local function plain_before(a, b)
  local x, y = RANK[type(a)] or 4, RANK[type(b)] or 4
  if x ~= y then return x < y end
  return x <= 2 and a < b
end

-- Keys that stand behind the list from 1 to n, at most `limit` of them; whether there are more.
local function other_keys(t, n, limit)
  local keys, looked = {}, 0
  local key = n > 0 and n or nil
  -- next from the last of a long list goes on behind the array part; if the list lies in the hash
  -- part, keys of the list may come, too
  if n > 0 and n <= SORTED then key = nil end
  while true do
    key = next(t, key)
    if key == nil then break end
    if not (math.type(key) == "integer" and key >= 1 and key <= n) then keys[#keys + 1] = key end
    looked = looked + 1
    if #keys >= SORTED or looked > SORTED * 4 then break end
  end
  local plain = true
  for _, k in ipairs(keys) do plain = plain and (RANK[type(k)] ~= nil) end
  table.sort(keys, plain and plain_before or function(a, b)
    if RANK[type(a)] and RANK[type(b)] or RANK[type(a)] ~= RANK[type(b)] then
      return before(a, b)
    end
    return false
  end)
  local more = key ~= nil or #keys > limit
  for i = #keys, limit + 1, -1 do keys[i] = nil end
  return keys, more
end

local format_value

local function format_key(state, key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" and not keywords[key] and #key <= 100 then
    return state:paint("key", key) .. " = "
  end
  return "[" .. format_value(state, key, state.depth) .. "] = "
end

local function visible_width(text)
  text = text:gsub("\27%[[%d;]*m", "")
  return utf8.len(text) or #text
end

-- On one line if that fits, else an item a line.
local function lay_out(state, items, indent, head)
  if #items == 0 then return head .. "{}" end
  local width, broken = visible_width(head) + 4, false
  for _, item in ipairs(items) do
    width = width + visible_width(item) + 2
    broken = broken or item:find("\n", 1, true) ~= nil
  end
  if not broken and width - 2 + indent <= state.width then
    return head .. "{ " .. table.concat(items, ", ") .. " }"
  end
  local pad = (" "):rep(indent + 2)
  return ("%s{\n%s%s\n%s}"):format(head, pad, table.concat(items, ",\n" .. pad), (" "):rep(indent))
end

local function head_of(t)
  local meta = debug.getmetatable(t)
  if not meta then return "" end
  local name = type(meta) == "table" and rawget(meta, "__name")
  return type(name) == "string" and "<" .. name .. "> " or "<metatable> "
end

local function format_items(state, t, level, indent)
  local items, n = {}, rawlen(t)
  local limit = math.max(state.items >> (level - 1), math.min(state.items, 8))
  for i = 1, math.min(n, limit) do
    if state.used > TOTAL then break end
    items[i] = format_value(state, rawget(t, i), level + 1, indent + 2)
  end
  local rest = n - limit
  if rest > 0 then items[#items + 1] = state:paint("special", ("… %d more"):format(rest)) end
  local keys, more = other_keys(t, n, limit)
  for _, key in ipairs(keys) do
    if state.used > TOTAL then
      more = true
      break
    end
    items[#items + 1] = format_key(state, key)
      .. format_value(state, rawget(t, key), level + 1, indent + 2)
  end
  if more then items[#items + 1] = state:paint("special", "… more keys") end
  return items
end

-- The names of loaded modules, by their tables.
local function modules(state)
  if not state.modules then
    state.modules = {}
    for name, value in next, package.loaded do
      if type(value) == "table" then state.modules[value] = tostring(name) end
    end
  end
  return state.modules
end

local function format_table(state, t, level, indent)
  local meta = debug.getmetatable(t)
  if type(meta) == "table" and rawget(meta, "__tostring") ~= nil then return text_of(t) end
  if state.path[t] then return state:paint("special", "<cycle>") end
  if level > 1 and modules(state)[t] then
    return state:paint("special", ("<module %s>"):format(modules(state)[t]))
  end
  if level > state.depth then
    return next(t) == nil and "{}" or state:paint("special", "{…}")
  end
  state.path[t] = true
  local items = format_items(state, t, level, indent)
  state.path[t] = nil
  return lay_out(state, items, indent, head_of(t))
end

-- -- Userdata of this library --------------------------------------------------------------------

-- The first bytes of a buffer, the first entries of a frozen table.
local function format_userdata(state, value, level, indent)
  local meta = debug.getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  if name == "isolate.buffer" then
    local ok, size = pcall(function() return #value end)
    if not ok then
      return ("%s (%s)"):format(text_of(value), (tostring(size):gsub("^.-:%d+: ", "")))
    end
    local ok2, bytes = pcall(function() return value:sub(1, math.min(size, 32)) end)
    return text_of(value) .. (ok2 and size > 0 and " " .. quote(bytes)
      .. (size > 32 and " …" or "") or "")
  elseif name == "isolate.frozen" and level <= state.depth then
    local items, limit, n = {}, state.items, #value
    for k, v in pairs(value) do
      if #items >= limit or state.used > TOTAL then
        items[#items + 1] = state:paint("special", "… more")
        break
      end
      local in_list = math.type(k) == "integer" and k >= 1 and k <= n
      items[#items + 1] = (in_list and "" or format_key(state, k))
        .. format_value(state, v, level + 1, indent + 2)
    end
    return lay_out(state, items, indent, "<frozen> ")
  end
  return text_of(value)
end

-- -- All -----------------------------------------------------------------------------------------

function format_value(state, value, level, indent)
  local kind = type(value)
  local text
  indent = indent or 0
  if kind == "string" then
    text = format_string(state, value)
  elseif kind == "number" then
    text = state:paint("number", format_number(value))
  elseif kind == "table" then
    text = format_table(state, value, level, indent)
  elseif kind == "function" then
    text = format_function(state, value)
  elseif kind == "userdata" then
    text = format_userdata(state, value, level, indent)
  elseif kind == "thread" then
    text = ("%s (%s)"):format(tostring(value), coroutine.status(value))
  else
    text = state:paint(kind, tostring(value))
  end
  if kind ~= "table" then state.used = state.used + #text end
  return text
end

local function paint(self, kind, text)
  local colour = self.colour and COLOURS[kind]
  if not colour or colour == "" then return text end
  return ("\27[%sm%s\27[m"):format(colour, text)
end

--- A value as text, which for plain data that keeps within the limits is Lua source.
-- @param value
-- @tparam[opt] table opts `colour` (boolean); `width` in columns; `depth` of tables; `items` of a
--   table; `length` of a string in bytes
-- @treturn string
-- @usage print(pretty.format({ 1, 2, x = "y" })) -- { 1, 2, x = "y" }
function M.format(value, opts)
  opts = opts or {}
  local state = { colour = opts.colour, paint = paint, used = 0, path = {},
    width = opts.width or WIDTH, depth = opts.depth or DEPTH, items = opts.items or ITEMS,
    length = opts.length or LENGTH }
  return format_value(state, value, 1, 0)
end

--- Several values as text: each on a line when they do not fit on one.
-- @tparam integer n how many
-- @tparam table values a list
-- @tparam[opt] table opts as for `format`
-- @treturn string
function M.results(n, values, opts)
  local list, width, broken = {}, 0, false
  for i = 1, n do
    list[i] = M.format(values[i], opts)
    width = width + visible_width(list[i]) + 2
    broken = broken or list[i]:find("\n", 1, true) ~= nil
  end
  local fits = not broken and width - 2 <= (opts and opts.width or WIDTH)
  return table.concat(list, fits and "  " or "\n")
end

return M
