--- Values as text for a prompt: tables laid out, with limits on all that could be long.
--
-- Of foreign code only `__tostring` is called, for so long and no longer; nothing here raises,
-- whatever the value, and whatever was done to the standard libraries since this was loaded.
-- @module isolate.repl.pretty
-- SPDX-License-Identifier: MIT
local characters = require "isolate.repl.characters"
local core = require "isolate.core"
local lexer = require "isolate.repl.lexer"
local _ENV = require("isolate.repl.own").env

local columns, cut, escape, quote = characters.columns, characters.cut, characters.escape,
  characters.quote
local is_keyword = lexer.is_keyword
local concat, sort = table.concat, table.sort
local find, gsub, rep, fmt = string.find, string.gsub, string.rep, string.format
local getinfo, getmeta, getregistry = debug.getinfo, debug.getmetatable, debug.getregistry
local floor, huge, max, min, math_type = math.floor, math.huge, math.max, math.min, math.type
local next, rawget, rawlen, tostring, type = next, rawget, rawlen, tostring, type
local status_of, ipairs, pairs, pcall = coroutine.status, ipairs, pairs, pcall
local tonumber, mininteger, loaded = tonumber, math.mininteger, package.loaded

local M = {}

-- Limits that hold where `opts` says nothing, and those of the limits.
local DEFAULT = { depth = 5, items = 50, length = 2000, width = 80 }
local MOST = { depth = 50, items = 5000, length = 100000, width = 100000 }
-- Of the whole text, in bytes, but for its last string; values of one line.
local TOTAL, VALUES = 20000, 100
-- Seconds that one metamethod may take, and all of them.
local PATIENCE, ALL_PATIENCE = 0.05, 0.2
-- Keys of a table that are sorted, and that are looked at; items of a nested table at least.
local SORTED, LOOKED, FEW = 2000, 8000, 8
-- Bytes of a buffer, of a name in a metatable, of a key that may stand without brackets.
local BYTES, NAME, KEY = 32, 60, 100

local COLOURS = { string = "32", number = "36", boolean = "35", ["nil"] = "35",
  special = "2", ["function"] = "34" }

local function paint(state, kind, text)
  if state.colour then text = "\27[" .. COLOURS[kind] .. "m" .. text .. "\27[m" end
  return text
end

-- Whatever becomes part of the text is counted, once.
local function spend(state, text)
  state.left = state.left - #text
  return text
end

local function special(state, ...)
  return spend(state, paint(state, "special", fmt(...)))
end

-- -- Foreign code --------------------------------------------------------------------------------

-- What a function gives in the time that is left; nil and the reason.
local function guarded(state, f, ...)
  if state.patience <= 0 then return nil, "not called: others took too long" end
  local began = core.now()
  local ok, value = core.limited(min(PATIENCE, state.patience), f, ...)
  state.patience = state.patience - (core.now() - began)
  if ok then return value end
  if ok == nil then return nil, "it takes too long" end
  return nil, type(value) == "string" and value or "it raises a " .. type(value)
end

-- Text of others: control characters are escaped, lines indented.
local function clean(state, text, indent)
  local shown, rest = cut(text, min(state.length, max(state.left, NAME)))
  shown = gsub(escape(shown, "[^\n\t%C]"), "\n", "\n" .. rep(" ", indent))
  if rest == 0 then return shown end
  return shown .. paint(state, "special", fmt(" … %d more bytes", rest))
end

-- What `tostring` gives; nil and a note when that fails.
local function text_of(state, value, indent)
  local text, problem = guarded(state, tostring, value)
  if text then return spend(state, clean(state, text, indent)) end
  problem = gsub(escape(cut(problem, 200), "%c"), "^.-'__tostring'", "it")
  return nil, special(state, "(__tostring: %s)", problem)
end

-- -- Scalars -------------------------------------------------------------------------------------

local function format_string(state, text)
  local shown, rest = cut(text, min(state.length, max(state.left, NAME)))
  local out = spend(state, paint(state, "string", quote(shown)))
  if rest > 0 then out = out .. special(state, " … %d more bytes", rest) end
  return out
end

-- The shortest that is read as the same number.
local function number_text(x)
  if math_type(x) == "integer" then return x == mininteger and "math.mininteger" or fmt("%d", x) end
  if x ~= x then return "0/0" end
  if x == huge then return "math.huge" end
  if x == -huge then return "-math.huge" end
  for precision = 14, 17 do
    local text = gsub(fmt(fmt("%%.%dg", precision), x), ",", ".")
    if precision == 17 or tonumber(text) == x then
      return find(text, "[.e]") and text or text .. ".0"
    end
  end
end

local function format_number(state, x)
  return spend(state, paint(state, "number", number_text(x)))
end

local STANDARD = { "_G", "string", "table", "math", "io", "os", "coroutine", "utf8", "debug",
  "package", "isolate" }

local function add_builtins(names, module, prefix)
  local looked = 0
  for key, value in next, module do
    if type(value) == "function" and type(key) == "string" and not names[value]
      and not find(key, "^_%d*$") then
      names[value] = prefix .. key
    end
    looked = looked + 1
    if looked > LOOKED then break end
  end
end

-- The names of functions in loaded modules: those of the standard ones first.
local function builtins(state)
  if state.builtins then return state.builtins end
  local names, others = {}, {}
  state.builtins = names
  for _, name in ipairs(STANDARD) do
    local module = rawget(loaded, name)
    local prefix = name == "_G" and "" or name .. "."
    if type(module) == "table" then add_builtins(names, module, prefix) end
  end
  for name, module in next, loaded do
    if type(name) == "string" and type(module) == "table" then others[#others + 1] = name end
    if #others > SORTED then break end
  end
  sort(others)
  for _, name in ipairs(others) do add_builtins(names, rawget(loaded, name), name .. ".") end
  return names
end

local function format_function(state, f)
  local info = getinfo(f, "S")
  local text
  if info.what == "C" then
    text = "builtin: " .. (builtins(state)[f] or fmt("%p", f))
  elseif info.what == "main" then
    text = "function: " .. info.short_src
  else
    text = fmt("function: %s:%d", info.short_src, info.linedefined)
  end
  return spend(state, paint(state, "function", escape(cut(text, 200), "%c")))
end

-- Where a coroutine waits: the innermost of its functions in Lua.
local function place_of(co)
  for level = 0, 9 do
    local info = getinfo(co, level, "Sl")
    if not info then return "" end
    if info.currentline > 0 then return fmt(" at %s:%d", info.short_src, info.currentline) end
  end
  return ""
end

local function format_thread(state, co)
  local status = status_of(co)
  local place = status == "suspended" and place_of(co) or ""
  return spend(state, escape(fmt("thread: %p (%s%s)", co, status, place), "%c"))
end

-- -- Items ---------------------------------------------------------------------------------------

local format_value

local RANK = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local x, y = type(a), type(b)
  if x ~= y then
    if RANK[x] and RANK[y] then return RANK[x] < RANK[y] end
    return RANK[x] ~= nil or RANK[y] == nil and x < y
  end
  if x == "boolean" then return b and not a end
  return (x == "number" or x == "string") and a < b
end

-- Adds the keys of `t` behind `key` that are none of its list; were those all? `next` goes through
-- the array part first, in order, then through the rest.
local function collect_keys(t, n, key, keys, seen)
  for _ = 1, LOOKED do
    key = next(t, key)
    if key == nil then return true end
    local listed = math_type(key) == "integer" and key >= 1 and key <= n
    if not listed and not seen[key] then
      if #keys >= SORTED then return false end
      seen[key] = true
      keys[#keys + 1] = key
    end
  end
  return false
end

-- Keys that are not in the list from 1 to n, sorted; and whether these are all. Of a long list not
-- all is looked at: its array part ends at a power of two, or, as it was made at once, at its end.
local function other_keys(t, n)
  local keys, seen = {}, {}
  local all = collect_keys(t, n, nil, keys, seen)
  if not all and n > 0 then
    local power = 1
    while power <= n // 2 do power = power * 2 end
    all = rawget(t, power) ~= nil and collect_keys(t, n, power, keys, seen)
    all = collect_keys(t, n, n, keys, seen) or all
  end
  sort(keys, before)
  return keys, all
end

local function key_text(state, key, level, indent)
  if type(key) == "string" and #key <= KEY and find(key, "^[A-Za-z_][A-Za-z0-9_]*$")
    and not is_keyword(key) then
    return spend(state, key) .. " = "
  end
  return "[" .. format_value(state, key, level + 1, indent, indent + 1) .. "] = "
end

-- How many items of a table are shown: of nested ones fewer.
local function limit_at(state, level)
  return max(state.items >> (level - 1), min(state.items, FEW))
end

local function add(state, items, text)
  items[#items + 1] = text
  state.left = state.left - 4
end

local IS_SCALAR = { number = true, string = true, boolean = true, ["nil"] = true }

-- Adds a list of `n` items, each given by get(i). `items.flow` tells of each whether it may share a
-- line with its neighbours.
local function add_list(state, items, n, get, level, indent)
  local limit = limit_at(state, level)
  items.flow = {}
  for i = 1, min(n, limit) do
    if state.left <= 0 then
      limit = i - 1
      break
    end
    local value = get(i)
    add(state, items, format_value(state, value, level + 1, indent, indent))
    items.flow[#items] = IS_SCALAR[type(value)]
  end
  if n > limit then add(state, items, special(state, "… %d more", n - limit)) end
end

-- Adds keys with their values, each given by get(key); all: there are no more of them.
local function add_keys(state, items, keys, all, get, level, indent)
  local limit = limit_at(state, level)
  for i = 1, min(#keys, limit) do
    if state.left <= 0 then
      limit = i - 1
      break
    end
    local key = key_text(state, keys[i], level, indent)
    local column = indent + (find(key, "\n", 1, true) and 0 or columns(key))
    add(state, items, key .. format_value(state, get(keys[i]), level + 1, indent, column))
  end
  if not all then
    add(state, items, special(state, "… more keys"))
  elseif #keys > limit then
    add(state, items, special(state, "… %d more keys", #keys - limit))
  end
end

-- The items on lines: those that flow as many as fit, of others one.
local function lines_of(items, width)
  local lines, line, used = {}, {}, 0
  for i, item in ipairs(items) do
    local more = columns(item) + 2
    if i > 1 and not (items.flow[i - 1] and items.flow[i] and used + more <= width) then
      lines[#lines + 1] = concat(line, ", ")
      line, used = {}, 0
    end
    line[#line + 1] = item
    used = used + more
  end
  lines[#lines + 1] = concat(line, ", ")
  return lines
end

-- On one line if that fits.
local function lay_out(state, items, indent, column, head)
  if #items == 0 then return head .. "{}" end
  local width, broken = column + columns(head) + 3, false
  for _, item in ipairs(items) do
    broken = broken or find(item, "\n", 1, true) ~= nil
    width = width + columns(item) + 2
    if broken or width > state.width then
      local pad, lines = "\n" .. rep(" ", indent + 2), lines_of(items, state.width - indent - 1)
      spend(state, rep(pad, #lines))
      return head .. "{" .. pad .. concat(lines, "," .. pad) .. "\n" .. rep(" ", indent) .. "}"
    end
  end
  return head .. "{ " .. concat(items, ", ") .. " }"
end

-- -- Tables --------------------------------------------------------------------------------------

-- The name of a type in a metatable; nil: it has none.
local function name_of(meta)
  local name = type(meta) == "table" and rawget(meta, "__name")
  return type(name) == "string" and escape(cut(name, NAME), "%c") or nil
end

local function head_of(state, meta)
  if not meta then return "" end
  return special(state, "<%s>", name_of(meta) or "metatable") .. " "
end

-- The names of loaded modules, by their tables.
local function modules(state)
  if state.modules then return state.modules end
  local names, looked = {}, 0
  state.modules = names
  for name, value in next, loaded do
    if type(value) == "table" and type(name) == "string" then
      names[value] = names[value] and names[value] < name and names[value] or name
    end
    looked = looked + 1
    if looked > LOOKED then break end
  end
  return names
end

-- The text of a table within others that is not shown; nil: it is to be shown.
local function instead(state, t, level)
  if state.path[t] then return special(state, "<cycle>") end
  local module = level > 1 and modules(state)[t]
  if module then return special(state, "<module %s>", escape(cut(module, NAME), "%c")) end
  if level > state.depth or state.left <= 0 then
    return next(t) == nil and spend(state, "{}") or special(state, "{…}")
  end
end

-- The module `isolate` has its functions once they are asked for, by a metatable that is its own
-- affair; nil then.
local function open_meta(t)
  if not core.is_module(t) then return getmeta(t) end
  pcall(pairs, t)
end

local function format_table(state, t, level, indent, column)
  local meta, head = open_meta(t), nil
  if type(meta) == "table" and rawget(meta, "__tostring") ~= nil then
    local text, problem = text_of(state, t, indent)
    if text then return text end
    head = problem .. " "
  end
  local text = instead(state, t, level)
  if text then return (head or "") .. text end
  head = head or head_of(state, meta)
  state.path[t] = true
  local items, n = {}, rawlen(t)
  local function get(key) return rawget(t, key) end
  add_list(state, items, n, get, level, indent + 2)
  local keys, all = other_keys(t, n)
  add_keys(state, items, keys, all, get, level, indent + 2)
  state.path[t] = nil
  return lay_out(state, items, indent, column, head)
end

-- -- Userdata of this library --------------------------------------------------------------------

-- Each adds to the text of a handle what is in it. What raises, as the handle was given up, adds
-- nothing.
local inside = {}

inside["isolate.buffer"] = function(state, buffer)
  local size = #buffer
  local bytes, rest = cut(buffer:sub(1, BYTES + 1), BYTES)
  return fmt(" (%d byte%s) %s%s", size, size == 1 and "" or "s",
    paint(state, "string", quote(bytes)), rest > 0 and " …" or "")
end

inside["isolate.atomic"] = function(state, cell)
  return " = " .. paint(state, "number", number_text(cell:load()))
end

inside["isolate.view"] = function(state, view, level, indent, column)
  local items = {}
  add_list(state, items, #view, function(i) return view[i] end, level, indent + 2)
  return " " .. lay_out(state, items, indent, column, "")
end

local function format_frozen(state, frozen, level, indent, column)
  if state.path[frozen] then return special(state, "<cycle>") end
  if level > state.depth or state.left <= 0 then return special(state, "<frozen> {…}") end
  state.path[frozen] = true
  local items, keys, n, all, looked = {}, {}, #frozen, true, 0
  local function get(key) return frozen[key] end
  add_list(state, items, n, get, level, indent + 2)
  local at, key = core.frozen_next(frozen, -1)
  while at do
    looked = looked + 1
    if #keys >= SORTED or looked > LOOKED then
      all = false
      break
    end
    if not (math_type(key) == "integer" and key >= 1 and key <= n) then keys[#keys + 1] = key end
    at, key = core.frozen_next(frozen, at)
  end
  sort(keys, before)
  add_keys(state, items, keys, all, get, level, indent + 2)
  state.path[frozen] = nil
  return lay_out(state, items, indent, column, special(state, "<frozen>") .. " ")
end

local function format_userdata(state, value, level, indent, column)
  local meta = getmeta(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  local own = type(name) == "string" and find(name, "^isolate%.") and getregistry()[name] == meta
  if own and name == "isolate.frozen" then
    return format_frozen(state, value, level, indent, column)
  end
  local text, problem = text_of(state, value, indent)
  if not text then
    return problem .. spend(state, fmt(" %s: %p", name_of(meta) or "userdata", value))
  end
  if not own or not inside[name] or level > state.depth then return text end
  local ok, more = pcall(inside[name], state, value, level, indent, column + columns(text) + 1)
  return ok and text .. spend(state, more) or text
end

-- -- All -----------------------------------------------------------------------------------------

local FORMATS = { string = format_string, number = format_number, ["function"] = format_function,
  thread = format_thread, table = format_table, userdata = format_userdata }

-- `indent`: columns of the line that the value is on; `column`: that it begins at.
function format_value(state, value, level, indent, column)
  if value == nil then return spend(state, paint(state, "nil", "nil")) end
  local kind = type(value)
  if kind == "boolean" then
    return spend(state, paint(state, kind, value and "true" or "false"))
  end
  return FORMATS[kind](state, value, level, indent, column)
end

local function limit_of(opts, name)
  local x = opts[name]
  if type(x) ~= "number" or x ~= x then return DEFAULT[name] end
  return floor(max(0, min(x, MOST[name])))
end

local function new_state(opts)
  opts = opts or {}
  local state = { colour = opts.colour, left = TOTAL, patience = ALL_PATIENCE, path = {} }
  for name in next, DEFAULT do state[name] = limit_of(opts, name) end
  return state
end

--- A value as text. Of data that keeps within the limits it is Lua source of the same data; what
-- is left out is told behind `…`, and no text is much longer than 100 KB. Never raises.
-- @param value
-- @tparam[opt] table opts `colour` (boolean: none); `width` in columns (80); `depth` of tables (5,
--   at most 50); `items` of a table, of nested ones fewer (50); `length` of a string, in bytes
--   (2000)
-- @treturn string valid UTF-8 without control characters but those of colours, tabs and lines
-- @usage print(pretty.format({ 1, 2.0, x = "y" })) -- { 1, 2.0, x = "y" }
function M.format(value, opts)
  return format_value(new_state(opts), value, 1, 0, 0)
end

--- Several values as text: on one line if they fit, else each on one of its own.
-- @tparam integer n how many
-- @tparam table values a list, perhaps with holes
-- @tparam[opt] table opts as for `format`; the limit of all text is for all of them together
-- @treturn string
-- @usage print(pretty.results(2, { 1, nil })) -- 1  nil
function M.results(n, values, opts)
  local state, list = new_state(opts), {}
  local width, broken = 0, false
  for i = 1, min(n, VALUES) do
    if state.left <= 0 then break end
    list[i] = format_value(state, rawget(values, i), 1, 0, 0)
    broken = broken or find(list[i], "\n", 1, true) ~= nil
    width = width + columns(list[i]) + 2
  end
  if n > #list then list[#list + 1] = special(state, "… %d more values", n - #list) end
  return concat(list, (broken or width - 2 > state.width) and "\n" or "  ")
end

return M
