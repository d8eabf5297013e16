--- What is known of a function by its name: of this library from its sources, of Lua's a line.
-- @module isolate.repl.doc
-- SPDX-License-Identifier: MIT
local reference = require "isolate.repl.reference"
local _ENV = require("isolate.repl.own").env

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
  f = "future", sup = "supervisor", cell = "atomic", t = "timer", p = "pool", ch = "channel" }
-- A channel is both ends of a port.
local CHANNEL = { "sender", "receiver" }
-- What other event loops call, which is told of futures: receivers and channels have it, too.
local POLLED = { pollfd = "pollfd", getfd = "pollfd", events = "events", timeout = "timeout",
  dirty = "dirty" }
local POLLABLE = { future = true, receiver = true, channel = true }
-- Suggestions at most, and bytes of a name that is looked up.
local SUGGESTIONS, LONGEST = 8, 100

-- By name; all names, sorted; lists of names, by what stands before `.` or `:` in them.
local entries, names, members

local function add_standard(section, prefix, list)
  for item in (list .. ";"):gmatch "%s*(.-);" do
    local shown = item:gsub("%s+", " "):gsub("%.%.%.", "···")
    entries[prefix .. item:match "^%w+"] =
      ("%s%s: §%s of the Lua 5.4 manual"):format(prefix, shown, section)
  end
end

local function load_entries()
  if entries then return end
  entries, names, members = {}, {}, {}
  for name, text in pairs(reference) do entries[name] = text end
  for _, group in ipairs(STANDARD) do add_standard(table.unpack(group)) end
  for name in pairs(entries) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local head = name:match "^(%w+)[.:]"
    if head then
      members[head] = members[head] or {}
      table.insert(members[head], name)
    end
  end
end

-- -- Looking up ----------------------------------------------------------------------------------

local function last_of(name)
  return name:match "([%w_]+)$" or name
end

-- `tx:send` is `sender:send`; a channel has the methods of both ends.
local function by_alias(name)
  local head, mark, method = name:match "^(%w+)([.:])([%w_]+)$"
  if not head then return end
  local full = ALIASES[head] or head
  if full ~= head or mark == ":" then
    for _, kind in ipairs(full == "channel" and CHANNEL or { full }) do
      if entries[kind .. ":" .. method] then return kind .. ":" .. method end
    end
    if POLLABLE[full] and POLLED[method] then return "future:" .. POLLED[method] end
  end
end

-- The names whose last part that is: `await`, `run`. Of `x:name` methods, of strings as well.
local function by_last(name)
  local list, method = {}, name:match "^[%w_.]+:([%w_]+)$"
  for _, full in ipairs(names) do
    if last_of(full) == (method or name)
      and (not method or full:find(":", 1, true) or full:find "^string%.") then
      list[#list + 1] = full
    end
  end
  return list
end

-- The first line of an entry, and the first sentence of what it says.
local function summary(name)
  local call, rest = entries[name]:match "^([^\n]*)\n?(.*)$"
  if rest:find "^  " then return call, "" end
  return call, (rest .. " "):gsub("\n", " "):match "^(.-[.?]) " or ""
end

-- What belongs to a module or a type of handles, a line each; nil: nothing does.
local function overview(name)
  local head = ALIASES[name] or name
  local lines = {}
  for _, kind in ipairs(head == "channel" and CHANNEL or { head }) do
    for _, full in ipairs(members[kind] or {}) do
      local call, sentence = summary(full)
      lines[#lines + 1] = sentence == "" and call or ("%-35s  %s"):format(call, sentence)
    end
  end
  return lines[1] and table.concat(lines, "\n")
end

-- -- Suggestions ---------------------------------------------------------------------------------

-- How many bytes are to be changed, put in, left out, or swapped with the next.
local function distance(a, b)
  local above, row, new = {}, {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    new[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      new[j] = math.min(row[j] + 1, new[j - 1] + 1, row[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        new[j] = math.min(new[j], above[j - 2] + 1)
      end
    end
    above, row, new = row, new, above
  end
  return row[#b]
end

-- How far a name is from another, as a whole or in its last part; nil: too far.
local function nearness(name, full)
  local last, its = last_of(name), last_of(full)
  local within = #last > 2 and full:find(last, 1, true) ~= nil
  local near = math.min(distance(name, full), distance(last, its) + (within and 0 or 0.5))
  local limit = #last > 3 and math.max(2, #last // 3) or 1
  return (near <= limit or within) and near or nil
end

local function nearest(name, among)
  local list, near = {}, {}
  for _, full in ipairs(among) do
    near[full] = nearness(name, full)
    if near[full] then list[#list + 1] = full end
  end
  table.sort(list, function(a, b)
    if near[a] ~= near[b] then return near[a] < near[b] end
    return a < b
  end)
  return table.move(list, 1, SUGGESTIONS, 1, {})
end

-- What belongs to the same module or type comes before all else.
local function suggestions(name)
  if not name:find "%w" or #name > LONGEST then return {} end
  local head, rest = name:match "^([%w_]+)([.:].*)$"
  head = ALIASES[head] or head
  local own = head and members[head]
  if own then
    local list = nearest(head .. rest, own)
    return list[1] and list or table.move(own, 1, SUGGESTIONS, 1, {})
  end
  return nearest(name, names)
end

--- What is known of a function, or in a line each of what a module or a type of handles has.
-- @tparam string name as `isolate.run`, `future:await`, `tx:send`, `run`, `string.format`, `pool`
-- @treturn[1] string
-- @return[2] nil
-- @treturn[2] table a list of names that it may have meant
-- @usage print(doc.find "pool:map")
function M.find(name)
  load_entries()
  name = name:gsub("^%s+", ""):gsub("%s*%b()%s*$", ""):gsub("%s+$", ""):gsub("^_G%.", "")
  if entries[name] then return entries[name] end
  local full = by_alias(name)
  if full then return entries[full] end
  local maker, all = entries["isolate." .. name], overview(name:match "^(%w+)[.:]?$" or "")
  if maker or all then return maker and all and maker .. "\n\n" .. all or maker or all end
  local list = by_last(name)
  if #list == 1 then return entries[list[1]] end
  return nil, #list > 1 and list or suggestions(name)
end

--- The methods of handles of this library.
-- @tparam string kind as `future`
-- @treturn table a list of names
-- @usage print(table.concat(doc.methods "future", " "))
function M.methods(kind)
  load_entries()
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
-- @usage print(#doc.names())
function M.names()
  load_entries()
  return names
end

return M
