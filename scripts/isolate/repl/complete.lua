--- What a word at the prompt could become. Runs no code of the user's.
-- @module isolate.repl.complete
-- SPDX-License-Identifier: MIT
local doc = require "isolate.repl.doc"
local lexer = require "isolate.repl.lexer"

local M = {}

-- Keys of one table that are looked at; tables on a way through `__index`; names of files.
local KEYS, DEPTH, FILES = 20000, 20, 2000

-- Modules of this library, which the executable has in itself.
local OWN = { "isolate", "isolate.cqueues", "isolate.luasocket", "isolate.luv" }

-- -- Values --------------------------------------------------------------------------------------

-- Tables in which a value finds its fields, without calling anything: itself, those of `__index`.
local function homes(value)
  local list, seen = {}, {}
  local function add(t, depth)
    if type(t) ~= "table" or seen[t] or depth > DEPTH then return end
    seen[t] = true
    list[#list + 1] = t
    local meta = debug.getmetatable(t)
    local index = type(meta) == "table" and rawget(meta, "__index")
    if index then add(index, depth + 1) end
  end
  if type(value) == "table" then
    add(value, 1)
  else
    local meta = debug.getmetatable(value)
    add(type(meta) == "table" and rawget(meta, "__index"), 1)
  end
  return list
end

-- Handles of this library make their methods when they are asked for: those are in the docs.
local function handle_methods(value, prefix, found)
  local meta = debug.getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  local kind = type(name) == "string" and name:match "^isolate%.(%l+)$"
  for _, method in ipairs(kind and doc.methods(kind) or {}) do
    if method:sub(1, #prefix) == prefix then found[method] = true end
  end
end

-- A field by its name, found as a real access would, but for functions of `__index`.
local function field(value, name)
  for _, home in ipairs(homes(value)) do
    local found = rawget(home, name)
    if found ~= nil then return found end
  end
end

local function identifiers(value, prefix, methods, found)
  if methods then handle_methods(value, prefix, found) end
  for _, home in ipairs(homes(value)) do
    local looked = 0
    for key, item in next, home do
      looked = looked + 1
      if looked > KEYS then break end
      if type(key) == "string" and key:sub(1, #prefix) == prefix and key:find "^[%a_][%w_]*$"
        and not lexer.is_keyword(key)
        and (not methods or type(item) == "function" or debug.getmetatable(item)
          and rawget(debug.getmetatable(item), "__call") ~= nil) then
        found[key] = true
      end
    end
  end
end

-- -- Files and modules ---------------------------------------------------------------------------

local function shell_quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Plain Lua cannot read directories.
local function list_directory(path)
  local pipe = io.popen("ls -1Ap -- " .. shell_quote(path == "" and "." or path) .. " 2>/dev/null")
  local names = {}
  if not pipe then return names end
  for name in pipe:lines() do
    names[#names + 1] = name
    if #names >= FILES then break end
  end
  pipe:close()
  return names
end

local function files(prefix, found)
  local dir, name = prefix:match "^(.*/)([^/]*)$"
  dir, name = dir or "", name or prefix
  for _, entry in ipairs(list_directory(dir)) do
    if entry:sub(1, #name) == name and (name ~= "" or entry:sub(1, 1) ~= ".") then
      found[dir .. entry] = true
    end
  end
end

-- Modules below the directories of a path: `dir/?.lua` with `a.b` is `dir/a/b.lua`.
local function modules_of(path, prefix, found)
  local above = prefix:match "^(.*%.)[^.]*$" or ""
  local seen = {}
  for template in path:gmatch "[^;]+" do
    local before, after = template:match "^(.-)%?(.*)$"
    local dir = before and before:match "^(.*/)[^/]*$" or before == "" and ""
    if dir and dir .. after ~= "" and not seen[dir .. "\0" .. after] then
      seen[dir .. "\0" .. after] = true
      for _, entry in ipairs(list_directory(dir .. above:gsub("%.", "/"))) do
        local name = after:sub(1, 1) == "/" and entry:match "^(.*)/$"
          or entry:sub(-#after) == after and entry:sub(1, -#after - 1)
        if name and name:find "^[%w_-]+$" then
          name = above .. name
          if name:sub(1, #prefix) == prefix then found[name] = true end
        end
        local sub = entry:match "^([%w_-]+)/$"
        if sub and (above .. sub):sub(1, #prefix) == prefix and above .. sub ~= prefix
          and after == ".lua" then
          found[above .. sub .. "."] = found[above .. sub .. "."] or nil
        end
      end
    end
  end
end

local function modules(prefix, found)
  for _, t in ipairs { package.loaded, package.preload } do
    for name in next, t do
      if type(name) == "string" and name:sub(1, #prefix) == prefix then found[name] = true end
    end
  end
  for _, name in ipairs(OWN) do
    if name:sub(1, #prefix) == prefix then found[name] = true end
  end
  modules_of(package.path, prefix, found)
  modules_of(package.cpath, prefix, found)
end

-- -- Context -------------------------------------------------------------------------------------

local TAKES_MODULE = { require = true }
local TAKES_FILE = { dofile = true, loadfile = true, open = true, lines = true, map_file = true,
  spawn_file = true }

-- The name of the function whose string argument the last token begins: `f "`, `f("`.
local function caller(tokens, i)
  i = i - 1
  if tokens[i] and tokens[i].text == "(" then i = i - 1 end
  return tokens[i] and tokens[i].kind == "name" and tokens[i].text
end

-- The value of what ends with the token at `i`: `a.b.c`, "text"; found: is it known?
local function value_of(tokens, i, session)
  local t = tokens[i]
  if not t then return nil, false end
  if t.kind == "string" then return "", true end
  if t.kind ~= "name" then return nil, false end
  local dot = tokens[i - 1]
  if dot and dot.kind == "op" and dot.text == "." then
    local value, found = value_of(tokens, i - 2, session)
    if not found then return nil, false end
    value = field(value, t.text)
    return value, value ~= nil
  elseif dot and dot.kind == "op" and dot.text == ":" then
    return nil, false
  end
  local value, found = session:get(t.text)
  if found then return value, true end
  value = rawget(session.env, t.text)
  if value == nil then value = field(session.env, t.text) end
  return value, value ~= nil
end

local function names(prefix, session, found)
  identifiers(session.env, prefix, false, found)
  for name in session:locals() do
    if name:sub(1, #prefix) == prefix then found[name] = true end
  end
  for word in lexer.keywords() do
    if word:sub(1, #prefix) == prefix then found[word] = true end
  end
end

local function complete_string(tokens, text, found)
  local last = tokens[#tokens]
  local opening = last.text:match "^%[=*%[" or last.text:sub(1, 1)
  local prefix = text:sub(last.from + #opening)
  local name = caller(tokens, #tokens)
  if TAKES_MODULE[name] then
    modules(prefix, found)
  elseif TAKES_FILE[name] then
    files(prefix, found)
  end
  return last.from + #opening
end

local function complete_name(tokens, text, session, found)
  local last, i = tokens[#tokens], #tokens
  local prefix, from = "", #text + 1
  if last and (last.kind == "name" or last.kind == "keyword") and last.to == #text then
    prefix, from, i = last.text, last.from, i - 1
  elseif last and last.kind == "number" and last.to == #text then
    return from
  end
  local mark = tokens[i]
  if mark and mark.kind == "op" and (mark.text == "." or mark.text == ":") then
    local value, known = value_of(tokens, i - 1, session)
    if known then identifiers(value, prefix, mark.text == ":", found) end
  elseif not (mark and mark.kind == "op" and (mark.text == "..." or mark.text == "::")) then
    names(prefix, session, found)
  end
  return from
end

local function complete_command(text, commands, found)
  local name, rest = text:match "^%s*:(%a+)%s+(.*)$"
  if not name then
    local from = text:find(":", 1, true)
    for _, command in ipairs(commands.names) do
      if command:sub(1, #text - from + 1) == text:sub(from) then found[command] = true end
    end
    return from
  end
  local argument = commands.arguments[":" .. name]
  local from = #text - #rest + 1
  if argument == "file" then
    files(rest, found)
  elseif argument then
    return from, argument(rest, found)
  end
  return from
end

local function sorted(found)
  local list = {}
  for word in pairs(found) do list[#list + 1] = word end
  table.sort(list)
  return list
end

--- The words that the one before the cursor could become.
-- @tparam string line
-- @tparam integer cursor byte of the line before which it stands
-- @tparam table session of isolate.repl.chunk
-- @tparam table commands `names`, a list; `arguments`, by name: `"file"`, `"code"`, or a
--   function(prefix, found) that adds words
-- @treturn integer byte at which the word begins
-- @treturn table the words, sorted
-- @usage complete.find("str", 4, chunks, commands) -- 1, { "string" }
function M.find(line, cursor, session, commands)
  local text, found = line:sub(1, cursor - 1), {}
  local shift = 0
  if text:find "^%s*:" and not text:find "^%s*::" then
    local head = text:match "^%s*(:%a+)%s"
    if not head or commands.arguments[head] ~= "code" then
      return complete_command(text, commands, found), sorted(found)
    end
    shift = #text:match("^%s*:%a+%s+%d*%s*")
    text = text:sub(shift + 1)
  end
  local tokens, problem = lexer.tokens(text)
  local last = tokens[#tokens]
  local from
  if problem and problem.what:find "string" and last and last.from == problem.from then
    from = complete_string(tokens, text, found)
  elseif last and last.kind == "comment" and (problem or last.to == #text) then
    from = #text + 1
  else
    from = complete_name(tokens, text, session, found)
  end
  return from + shift, sorted(found)
end

return M
