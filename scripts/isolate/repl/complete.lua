--- What a word at the prompt could become. Runs no code of the user's.
-- @module isolate.repl.complete
-- SPDX-License-Identifier: MIT
local isolate = require "isolate"
local doc = require "isolate.repl.doc"
local lexer = require "isolate.repl.lexer"
local _ENV = require("isolate.repl.own").env

local now = isolate.now

local M = {}

-- For how long tables are looked through, in seconds, but for so many keys in any case, which takes
-- a few ms; how many words are found in them; tables on a way through `__index`.
local TIME, KEYS, WORDS, DEPTH = 0.015, 20000, 2000, 20

-- Names of files that are read; directories that are looked into for whether they have modules.
local FILES, PACKAGES = 5000, 32

-- Modules of this library, which the executable has in itself, that are for users.
local OWN = { isolate = true, ["isolate.cqueues"] = true, ["isolate.luasocket"] = true,
  ["isolate.luv"] = true }

-- Fields of handles, beside the methods; where the docs have a method that others share.
local FIELDS, ALSO = { "id", "isolate", "name" }, { isolate = "sender" }

-- -- What was found ------------------------------------------------------------------------------

-- The words, and what may still be done to find more.
local function new_search(prefix)
  return { words = {}, prefix = prefix, left = WORDS, steps = 0, deadline = now() + TIME }
end

local function starts(search, word)
  return word:sub(1, #search.prefix) == search.prefix
end

local function add(search, word)
  if starts(search, word) and not search.words[word] then
    search.words[word] = true
    search.left = search.left - 1
  end
end

-- Is it time to end? Asked for each key of a table.
local function is_over(search)
  local steps = search.steps + 1
  search.steps = steps
  if steps > KEYS and steps % 256 == 0 and now() > search.deadline then search.left = 0 end
  return search.left <= 0
end

-- -- Values --------------------------------------------------------------------------------------

local function metafield(value, name)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and rawget(meta, name) or nil
end

local function is_c(fn)
  return type(fn) == "function" and debug.getinfo(fn, "S").what == "C"
end

-- Tables in which a value finds its fields, without calling anything: itself, those of `__index`,
-- and those that a function in C has there for upvalues.
local function homes(value)
  local list, seen, visit = {}, {}, nil
  local function follow(from, depth)
    local index = metafield(from, "__index")
    visit(index, depth)
    for i = 1, is_c(index) and 255 or 0 do
      local name, upvalue = debug.getupvalue(index, i)
      if not name then break end
      visit(upvalue, depth)
    end
  end
  function visit(t, depth)
    if type(t) ~= "table" or seen[t] or depth > DEPTH then return end
    seen[t] = true
    list[#list + 1] = t
    follow(t, depth + 1)
  end
  if type(value) == "table" then visit(value, 1) else follow(value, 1) end
  return list
end

-- The kind of a handle of this library whose fields are made when they are asked for, by a function
-- in C: that one does not run code of the user's, and does not wait.
local function handle_kind(value)
  local name = type(value) == "userdata" and metafield(value, "__name") or nil
  local kind = type(name) == "string" and name:match "^isolate%.(%l+)$"
  if kind and rawequal(debug.getregistry()[name], debug.getmetatable(value))
    and is_c(metafield(value, "__index")) then
    return kind
  end
end

-- A field of a handle, by its name; nil for one that it does not have, or that is transferred. One
-- that is asked often has a table for that from then on.
local function ask(value, name)
  local index = metafield(value, "__index")
  if type(index) == "table" then return rawget(index, name) end
  local ok, result = pcall(index, value, name)
  if ok then return result end
end

-- A field by its name, found as a real access would, but for functions of `__index`.
local function field(value, name)
  for _, home in ipairs(homes(value)) do
    local found = rawget(home, name)
    if found ~= nil then return found end
  end
  if handle_kind(value) then return ask(value, name) end
end

local function is_callable(value)
  return type(value) == "function" or metafield(value, "__call") ~= nil
end

local function add_identifier(search, key, item, methods)
  if type(key) == "string" and starts(search, key) and key:find "^[%a_][%w_]*$"
    and not lexer.is_keyword(key) and (not methods or is_callable(item)) then
    add(search, key)
  end
end

local function add_handle(search, value, kind, methods)
  for _, list in ipairs { FIELDS, doc.methods(kind), doc.methods(ALSO[kind] or kind) } do
    for _, name in ipairs(list) do
      local item = starts(search, name) and ask(value, name)
      if item then add_identifier(search, name, item, methods) end
    end
  end
end

-- A frozen table has its keys outside the heap.
local function add_frozen(search, value, methods)
  local ok, step, state, key = pcall(metafield(value, "__pairs"), value)
  while ok do
    local item
    ok, key, item = pcall(step, state, key)
    if not ok or key == nil or is_over(search) then return end
    add_identifier(search, key, item, methods)
  end
end

local function add_fields(search, value, methods)
  for _, home in ipairs(homes(value)) do
    for key, item in next, home do
      if is_over(search) then break end
      add_identifier(search, key, item, methods)
    end
  end
  local kind = handle_kind(value)
  if kind == "frozen" then
    add_frozen(search, value, methods)
  elseif kind then
    add_handle(search, value, kind, methods)
  elseif rawequal(value, package.loaded.isolate) then -- has its functions once they are asked for
    for _, name in ipairs(doc.names()) do
      local last = name:match "^isolate%.([%w_]+)$"
      if last then add(search, last) end
    end
  end
end

-- -- Files and modules ---------------------------------------------------------------------------

local function shell_quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Plain Lua cannot read directories, and one process for all of them is fast. Their paths end in a
-- slash; the names in one, by its path; those of directories end in a slash.
local function list_directories(paths, flags)
  local quoted, names, any = {}, {}, false
  for i, path in ipairs(paths) do
    quoted[i] = shell_quote(path)
    names[path] = {}
  end
  local pipe = io.popen("exec 2>/dev/null; ls " .. (flags or "-1fp") .. " -- "
    .. table.concat(quoted, " "))
  if not pipe then return names end
  local current, left = #paths == 1 and paths[1] or nil, FILES
  for name in pipe:lines() do
    if #paths > 1 and name:sub(-2) == "/:" and names[name:sub(1, -2)] then
      current, any = name:sub(1, -2), true
    elseif current and name ~= "" and name ~= "./" and name ~= "../" then
      table.insert(names[current], name)
      left, any = left - 1, true
      if left == 0 then break end
    end
  end
  pipe:close()
  -- not every `ls` can leave the names unsorted
  return (any or flags) and names or list_directories(paths, "-1ap")
end

-- `quote` ends the string that the name is in, if it is in one.
local function add_files(search, quote)
  local prefix = search.prefix
  if prefix:find "%c" then return end
  local dir = prefix:match "^.*/" or ""
  local path = dir == "" and "./" or dir
  for _, entry in ipairs(list_directories({ path })[path]) do
    local is_hidden = entry:sub(1, 1) == "." and prefix == dir
    local is_special = entry:find "%c" or quote and (entry:find(quote, 1, true)
      or entry:find("\\", 1, true) and #quote == 1)
    if not is_hidden and not is_special then add(search, dir .. entry) end
  end
end

-- Not those that this library is made of.
local function add_module(search, name)
  if OWN[name] or not name:find "^isolate%." then add(search, name) end
end

-- The templates of a path for modules below `above`, as `a.b.` or "": `dir/lib?.so` has
-- `{dir = "dir/", stem = "lib", after = ".so"}`.
local function templates_of(path, above)
  local list = {}
  for template in (type(path) == "string" and path or ""):gmatch "[^;]+" do
    local before, after = template:match "^(.-)%?(.*)$"
    if before then
      local dir, stem = before:match "^(.*/)([^/]*)$"
      dir, stem = dir or "./", stem or before
      if above ~= "" then dir, stem = dir .. stem .. above:gsub("%.", "/"), "" end
      list[#list + 1] = { dir = dir, stem = stem, after = after }
    end
  end
  return list
end

local function exists(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

-- The name of a module that a template finds in a directory's entry, or of a directory below.
local function match_entry(template, entry)
  local stem, after = template.stem, template.after
  if entry:sub(1, #stem) ~= stem then return end
  local directory = entry:match("^([%w_-]+)/$", #stem + 1)
  if after:sub(1, 1) == "/" then
    return directory and exists(template.dir .. entry .. after:sub(2)) and directory
  end
  local name = entry:sub(#stem + 1, -#after - 1)
  if name:find "^[%w_-]+$" and stem .. name .. after == entry then return name end
  return nil, directory
end

-- Directories are offered if a module is in them.
local function add_packages(search, candidates)
  local paths = {}
  for path in pairs(candidates) do
    if #paths < PACKAGES then paths[#paths + 1] = path end
  end
  local listed = #paths > 0 and list_directories(paths) or {}
  for path, names in pairs(listed) do
    for _, entry in ipairs(names) do
      local candidate = candidates[path]
      if match_entry(candidate.template, entry) then
        add_module(search, candidate.name)
        break
      end
    end
  end
end

-- Modules below the directories of a path: `dir/?.lua` with `a.b` is `dir/a/b.lua`.
local function add_module_files(search)
  local above = search.prefix:match "^.*%." or ""
  if search.prefix:find "[^%w_.-]" then return end
  local templates, paths, candidates = {}, {}, {}
  for _, path in ipairs { package.path, package.cpath } do
    table.move(templates_of(path, above), 1, 100, #templates + 1, templates)
  end
  for _, template in ipairs(templates) do
    if not paths[template.dir] then
      paths[template.dir] = true
      paths[#paths + 1] = template.dir
    end
  end
  local listed = #paths > 0 and list_directories(paths)
  for _, template in ipairs(templates) do
    for _, entry in ipairs(listed[template.dir]) do
      if is_over(search) then break end
      if starts(search, above .. entry:sub(#template.stem + 1):match "^[^/]*") then
        local name, directory = match_entry(template, entry)
        if name then add_module(search, above .. name) end
        if directory then
          candidates[template.dir .. entry] = { name = above .. directory .. ".",
            template = { dir = template.dir .. entry, stem = "", after = template.after } }
        end
      end
    end
  end
  add_packages(search, candidates)
end

local function add_modules(search)
  for _, t in ipairs { package.loaded, package.preload } do
    for name in next, t do
      if is_over(search) then break end
      if type(name) == "string" then add_module(search, name) end
    end
  end
  for name in pairs(OWN) do add(search, name) end
  add_module_files(search)
end

-- -- Context -------------------------------------------------------------------------------------

local TAKES_FILE = { dofile = true, loadfile = true, open = true, lines = true, map_file = true,
  spawn_file = true }

local function is_op(token, text)
  return token and token.kind == "op" and token.text == text
end

-- Could what ends with that token be called, so that what follows in brackets are arguments?
local function ends_operand(token)
  return token and (token.kind == "name" or token.kind == "string" or is_op(token, ")")
    or is_op(token, "]"))
end

-- The name of the function whose string argument the last token begins: `f "`, `f("`.
local function caller(tokens, i)
  i = i - 1
  if is_op(tokens[i], "(") then i = i - 1 end
  return tokens[i] and tokens[i].kind == "name" and tokens[i].text
end

local function literal(token)
  if not token or token.kind ~= "string" and token.kind ~= "number" then return end
  local fn = lexer.compile("return " .. token.text)
  return fn and fn()
end

-- The index of the bracket that the one at `i` closes.
local function opening(tokens, i)
  local depth = 0
  for j = i, 1, -1 do
    local t = tokens[j]
    if is_op(t, ")") or is_op(t, "]") or is_op(t, "}") then
      depth = depth + 1
    elseif is_op(t, "(") or is_op(t, "[") or is_op(t, "{") then
      depth = depth - 1
      if depth == 0 then return j end
    end
  end
end

local value_of

local function global(session, name)
  local value, found = session:get(name)
  if found then return value end
  local env, own = session:get "_ENV"
  if not own then env = session.env end
  if name == "_ENV" then return env end
  return field(env, name)
end

-- What `require "name"` gives, the string being at `i`.
local function required(tokens, i, first)
  local is_plain = tokens[first].text == "require" and not is_op(tokens[first - 1], ".")
    and not is_op(tokens[first - 1], ":")
  local name = is_plain and tokens[i].kind == "string" and literal(tokens[i])
  if name then return rawget(package.loaded, name), first end
end

-- Of `( … )` that ends at `i`: an expression, or the argument of require.
local function value_in_brackets(tokens, i, session)
  local from = opening(tokens, i)
  if not from then return end
  if ends_operand(tokens[from - 1]) then
    if from == i - 2 then return required(tokens, i - 1, from - 1) end
    return
  end
  local value, first = value_of(tokens, i - 1, session)
  if first == from + 1 then return value, from end
end

-- Of `t[…]` that ends at `i`.
local function value_at_key(tokens, i, session)
  if not is_op(tokens[i - 2], "[") then return end
  local key = literal(tokens[i - 1])
  local value, first = value_of(tokens, i - 3, session)
  if key ~= nil and value ~= nil then return field(value, key), first end
end

-- The value of what ends with the token at `i`, as `a.b.c`, "text", `(a)`, `t[1]`; nil if it is not
-- known; the index of its first token.
function value_of(tokens, i, session)
  local t, before = tokens[i], tokens[i - 1]
  if not t then return end
  if is_op(t, ")") then return value_in_brackets(tokens, i, session) end
  if is_op(t, "]") then return value_at_key(tokens, i, session) end
  if t.kind == "string" then
    if ends_operand(before) then return required(tokens, i, i - 1) end
    return "", i
  end
  if t.kind ~= "name" or is_op(before, ":") then return end
  if not is_op(before, ".") then return global(session, t.text), i end
  local value, first = value_of(tokens, i - 2, session)
  if value ~= nil then return field(value, t.text), first end
end

local function add_names(search, session)
  for word in lexer.keywords() do add(search, word) end
  for name in session:locals() do
    if is_over(search) then break end
    add(search, name)
  end
  add_fields(search, global(session, "_ENV"), false)
end

-- Does `<` at `i` begin an attribute: `local a, b <`?
local function is_attribute(tokens, i)
  if not is_op(tokens[i], "<") then return false end
  repeat
    i = i - 1
    if is_op(tokens[i], ">") then i = i - 3 end
    if not tokens[i] or tokens[i].kind ~= "name" then return false end
    i = i - 1
  until not is_op(tokens[i], ",")
  return tokens[i] ~= nil and tokens[i].kind == "keyword" and tokens[i].text == "local"
end

local function add_labels(search, tokens)
  for i = 2, #tokens - 1 do
    local is_label = is_op(tokens[i - 1], "::") and is_op(tokens[i + 1], "::")
    if is_label then add(search, tokens[i].text) end
  end
end

local function complete_string(tokens, text)
  local last = tokens[#tokens]
  local quote = last.text:match "^%[=*%[" or last.text:sub(1, 1)
  local from = last.from + #quote
  local search, name = new_search(text:sub(from)), caller(tokens, #tokens)
  if name == "require" then
    add_modules(search)
  elseif TAKES_FILE[name] then
    add_files(search, (quote:gsub("%[", "]")))
  end
  return from, search.words
end

local function complete_name(tokens, text, session)
  local last, i = tokens[#tokens], #tokens
  local prefix, from = "", #text + 1
  if last and (last.kind == "name" or last.kind == "keyword") and last.to == #text then
    prefix, from, i = last.text, last.from, i - 1
  elseif last and last.kind == "number" and last.to == #text then
    return from, {}
  end
  local search, mark = new_search(prefix), tokens[i]
  if is_op(mark, ".") or is_op(mark, ":") then
    local value = value_of(tokens, i - 1, session)
    if value ~= nil then add_fields(search, value, mark.text == ":") end
  elseif mark and mark.kind == "keyword" and mark.text == "goto" then
    add_labels(search, tokens)
  elseif is_attribute(tokens, i) then
    add(search, "close")
    add(search, "const")
  elseif not (is_op(mark, "...") or is_op(mark, "::")) then
    add_names(search, session)
  end
  return from, search.words
end

local function complete_argument(kind, from, rest)
  local search = new_search(rest)
  if kind == "file" then
    add_files(search)
  elseif kind then
    kind(rest, search.words)
  end
  return from, search.words
end

local function complete_command(text, commands)
  local name, rest = text:match "^%s*:(%a+!?)%s+(.*)$"
  if name then
    return complete_argument(commands.arguments[":" .. name], #text - #rest + 1, rest)
  end
  local from = text:find(":", 1, true)
  local search = new_search(text:sub(from))
  for _, command in ipairs(commands.names) do add(search, command) end
  return from, search.words
end

local function sorted(words)
  local list = {}
  for word in next, words do list[#list + 1] = word end
  table.sort(list)
  return list
end

--- Is a line a command: does it begin with a colon, but not with a label?
-- @tparam string line
-- @treturn boolean
function M.is_command(line)
  return line:find "^%s*:" ~= nil and not line:find "^%s*::"
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
  local text, shift = line:sub(1, cursor - 1), 0
  if M.is_command(text) then
    local head = text:match "^%s*(:%a+)%s"
    if not head or commands.arguments[head] ~= "code" then
      local from, words = complete_command(text, commands)
      return from, sorted(words)
    end
    shift = #text:match "^%s*:%a+%s+%d*%s*"
    text = text:sub(shift + 1)
  end
  local tokens, problem = lexer.tokens(text)
  local last = tokens[#tokens]
  local from, words = #text + 1, {}
  if problem and problem.what:find "string" and last.from == problem.from then
    from, words = complete_string(tokens, text)
  elseif not last or last.kind ~= "comment" or not problem and last.to < #text then
    from, words = complete_name(tokens, text, session)
  end
  return from + shift, sorted(words)
end

return M
