--- What is known of a function by its name: of this library from its sources, of Lua's a line.
-- @module isolate.repl.doc
-- SPDX-License-Identifier: MIT
local reference = require "isolate.repl.reference"

local M = {}

-- Sections of the reference manual of Lua 5.4, and the functions as it writes them.
local STANDARD = {
  { "6.1", "", [=[assert(v [, message]); collectgarbage([opt [, arg]]); dofile([filename]);
    error(message [, level]); getmetatable(object); ipairs(t);
    load(chunk [, chunkname [, mode [, env]]]); loadfile([filename [, mode [, env]]]);
    next(table [, index]); pairs(t); pcall(f [, arg1, ...]); print(...); rawequal(v1, v2);
    rawget(table, index); rawlen(v); rawset(table, index, value); select(index, ...);
    setmetatable(table, metatable); tonumber(e [, base]); tostring(v); type(v);
    warn(msg1, ...); xpcall(f, msgh [, arg1, ...])]=] },
  { "6.2", "coroutine.", [=[close(co); create(f); isyieldable([co]); resume(co [, val1, ...]);
    running(); status(co); wrap(f); yield(...)]=] },
  { "6.3", "", "require(modname)" },
  { "6.3", "package.", [=[config; cpath; loaded; loadlib(libpath, funcname); path; preload;
    searchers; searchpath(name, path [, sep [, rep]])]=] },
  { "6.4", "string.", [=[byte(s [, i [, j]]); char(...); dump(function [, strip]);
    find(s, pattern [, init [, plain]]); format(formatstring, ...); gmatch(s, pattern [, init]);
    gsub(s, pattern, repl [, n]); len(s); lower(s); match(s, pattern [, init]);
    pack(fmt, v1, v2, ...); packsize(fmt); rep(s, n [, sep]); reverse(s); sub(s, i [, j]);
    unpack(fmt, s [, pos]); upper(s)]=] },
  { "6.5", "utf8.", [=[char(...); charpattern; codes(s [, lax]); codepoint(s [, i [, j [, lax]]]);
    len(s [, i [, j [, lax]]]); offset(s, n [, i])]=] },
  { "6.6", "table.", [=[concat(list [, sep [, i [, j]]]); insert(list, [pos,] value);
    move(a1, f, e, t [,a2]); pack(...); remove(list [, pos]); sort(list [, comp]);
    unpack(list [, i [, j]])]=] },
  { "6.7", "math.", [=[abs(x); acos(x); asin(x); atan(y [, x]); ceil(x); cos(x); deg(x); exp(x);
    floor(x); fmod(x, y); huge; log(x [, base]); max(x, ...); maxinteger; min(x, ...); mininteger;
    modf(x); pi; rad(x); random([m [, n]]); randomseed([x [, y]]); sin(x); sqrt(x); tan(x);
    tointeger(x); type(x); ult(m, n)]=] },
  { "6.8", "io.", [=[close([file]); flush(); input([file]); lines([filename, ...]);
    open(filename [, mode]); output([file]); popen(prog [, mode]); read(...); stderr; stdin;
    stdout; tmpfile(); type(obj); write(...)]=] },
  { "6.8", "file:", [=[close(); flush(); lines(...); read(...); seek([whence [, offset]]);
    setvbuf(mode [, size]); write(...)]=] },
  { "6.9", "os.", [=[clock(); date([format [, time]]); difftime(t2, t1); execute([command]);
    exit([code [, close]]); getenv(varname); remove(filename); rename(oldname, newname);
    setlocale(locale [, category]); time([table]); tmpname()]=] },
  { "6.10", "debug.", [=[debug(); gethook([thread]); getinfo([thread,] f [, what]);
    getlocal([thread,] f, local); getmetatable(value); getregistry(); getupvalue(f, up);
    getuservalue(u, n); sethook([thread,] hook, mask [, count]);
    setlocal([thread,] level, local, value); setmetatable(value, table);
    setupvalue(f, up, value); setuservalue(udata, value, n);
    traceback([thread,] [message [, level]]); upvalueid(f, n); upvaluejoin(f1, n1, f2, n2)]=] },
}

-- What else handles are called: in the manual, and by most who name a variable.
local ALIASES = { tx = "sender", rx = "receiver", iso = "isolate", buf = "buffer", s = "stream",
  f = "future", sup = "supervisor", cell = "atomic", t = "timer", p = "pool" }
-- A channel is both ends of a port.
local CHANNEL = { "sender", "receiver" }

local entries, names

local function load_entries()
  entries, names = {}, {}
  for name, text in pairs(reference) do entries[name] = text end
  for _, group in ipairs(STANDARD) do
    local section, prefix, list = table.unpack(group)
    for item in (list .. ";"):gmatch "%s*(.-);" do
      local name = prefix .. item:match "^%w+"
      entries[name] = ("%s%s\n  section %s of the reference manual of Lua 5.4"):format(prefix,
        item:gsub("%s+", " "), section)
    end
  end
  for name in pairs(entries) do names[#names + 1] = name end
  table.sort(names)
end

-- -- Looking up ----------------------------------------------------------------------------------

local function by_alias(name)
  local head, mark, method = name:match "^(%w+)([.:])([%w_]+)$"
  if not head then return end
  if head == "channel" or head == "ch" then
    for _, other in ipairs(CHANNEL) do
      if entries[other .. ":" .. method] then return other .. ":" .. method end
    end
    return
  end
  local full = (ALIASES[head] or head) .. ":" .. method
  return (mark == ":" or ALIASES[head]) and entries[full] and full
end

-- The names whose last part that is: `await`, `run`.
local function by_last(name)
  local list = {}
  for _, full in ipairs(names) do
    if full:match "([%w_]+)$" == name then list[#list + 1] = full end
  end
  return list
end

local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

local function suggestions(name)
  local list, last = {}, name:match "([%w_]+)$" or name
  for _, full in ipairs(names) do
    local its = full:match "([%w_]+)$"
    local within = full:find(last, 1, true) ~= nil
    local near = math.min(distance(name, full), distance(last, its) + (within and 0 or 0.5))
    if near <= (#last > 3 and math.max(2, #last // 3) or 1) or #last > 2 and within then
      list[#list + 1] = { full, near }
    end
  end
  table.sort(list, function(a, b)
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[1] < b[1]
  end)
  local found = {}
  for i = 1, math.min(#list, 8) do found[i] = list[i][1] end
  return found
end

--- What is known of a name.
-- @tparam string name as `isolate.run`, `future:await`, `run`, `string.format`
-- @treturn[1] string
-- @return[2] nil
-- @treturn[2] table a list of names that it may have meant
-- @usage print(doc.find "pool:map")
function M.find(name)
  if not entries then load_entries() end
  if entries[name] then return entries[name] end
  local full = by_alias(name) or entries["isolate." .. name] and "isolate." .. name
  if full then return entries[full] end
  local list = by_last(name)
  if #list == 1 then return entries[list[1]] end
  if #list > 1 then return nil, list end
  return nil, suggestions(name)
end

--- The methods of handles of this library.
-- @tparam string kind as `future`
-- @treturn table a list of names
function M.methods(kind)
  if not entries then load_entries() end
  local list = {}
  for _, prefix in ipairs(kind == "channel" and CHANNEL or { kind }) do
    for _, name in ipairs(names) do
      local head, method = name:match "^(%w+):([%w_]+)$"
      if head == prefix then list[#list + 1] = method end
    end
  end
  return list
end

--- All names.
-- @treturn table a sorted list
function M.names()
  if not entries then load_entries() end
  return names
end

return M
