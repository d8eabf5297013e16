-- amalgamate.lua FOLDER FILE.c... - writes the library as one C file: FOLDER/isolua.c out of these
-- sources and the headers that they include, and beside it its public headers.
-- SPDX-License-Identifier: MIT

--[[
DESIGN. A file is read as tokens, never as text, so that strings and comments stay as they are.

 - Headers are written where they are first included; system headers are gathered at the top.
 - What a source has for itself at file scope (functions, objects, types, tags, constants) gets
   the name of its file in front: `lock` of port.c is `il_port__lock`. Members keep their names:
   those behind `.` and `->`, in the body of a struct, and in the second place of offsetof.
 - A source's macros are undefined at its end.
 - Functions that are not API are static. Objects that files share stay extern, but hidden, and get
   `il_` in front where a header gave them no prefix.

What the reader of declarations does not know is an error, here or in the compiler.
]]

local PUBLIC = { "isolua.h", "isolua_lua.h" }
local FOLDERS = { "host/", "bindings/" }

local keywords = {}
for word in ([[auto break case char const continue default do double else enum extern float for goto
  if inline int long register restrict return short signed sizeof static struct switch typedef union
  unsigned void volatile while _Alignas _Alignof _Atomic _Bool _Generic _Noreturn _Static_assert
  _Thread_local __attribute__ __asm__ __typeof__ bool]]):gmatch "%S+" do
  keywords[word] = true
end

-- Those of the library need no other name.
local function is_prefixed(name)
  return name:find "^[iI][lL]_" or name:find "^isolua_" or name:find "^ISOLUA_"
    or name:find "^luaopen_"
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

-- ---- Tokens: `kind` is gap (space and comments), directive, id, number, string or punct ----

-- Where the directive that begins at `i` ends: before a line's end that no backslash goes before.
local function directive_end(text, i)
  while i <= #text do
    if text:find("^\\\n", i) then
      i = i + 2
    elseif text:find("^/%*", i) then
      i = select(2, assert(text:find("*/", i, true))) + 1
    elseif text:find("^\n", i) then
      return i - 1
    else
      i = i + 1
    end
  end
  return #text
end

local function string_end(text, i)
  local quote, j = text:sub(i, i), i + 1
  while text:sub(j, j) ~= quote do
    j = j + (text:sub(j, j) == "\\" and 2 or 1)
    assert(j <= #text, "a string without an end")
  end
  return j
end

local function token_at(text, i, line_start)
  local _, last = text:find("^%d[%w_.]*", i)
  if last then return "number", last end
  if text:find("^,", i) then return "punct", i end
  local function upto(pattern)
    return select(2, text:find("^" .. pattern, i))
  end
  if upto "/%*" then return "gap", select(2, assert(text:find("*/", i + 2, true))) end
  if upto "//" then return "gap", (text:find("\n", i, true) or #text + 1) - 1 end
  if upto "%s" then return "gap", upto "%s+" end
  if line_start and upto "#" then return "directive", directive_end(text, i) end
  if upto "[%a_]" then return "id", upto "[%w_]+" end
  if upto "%.%d" then return "number", upto "[%w_.]+" end
  if upto "[\"']" then return "string", string_end(text, i) end
  return "punct", upto "%->" or upto "%.%.%." or i
end

local function lex(text)
  local tokens, i, line_start = {}, 1, true
  while i <= #text do
    local kind, last = token_at(text, i, line_start)
    local token = { kind = kind, text = text:sub(i, last) }
    tokens[#tokens + 1] = token
    if kind == "gap" then
      line_start = line_start or token.text:find("\n", 1, true) ~= nil
    else
      line_start = false
    end
    i = last + 1
  end
  return tokens
end

-- Those that the compiler sees behind the preprocessor.
local function code_of(tokens)
  local code = {}
  for _, token in ipairs(tokens) do
    if token.kind ~= "gap" and token.kind ~= "directive" then code[#code + 1] = token end
  end
  return code
end

local closing = { ["("] = ")", ["["] = "]", ["{"] = "}" }

-- The place of what closes the bracket at `i`.
local function skip(code, i)
  local open, depth = code[i].text, 0
  for k = i, #code do
    if code[k].text == open then
      depth = depth + 1
    elseif code[k].text == closing[open] then
      depth = depth - 1
      if depth == 0 then return k end
    end
  end
  error("no end of " .. open)
end

-- ---- What a file declares at file scope ----

local function text_at(code, i)
  return code[i] and code[i].text
end

-- The names in the body of an enum that opens at `i`.
local function constants(code, i, add)
  local k, last = i + 1, skip(code, i)
  while k < last do
    if code[k].kind == "id" and (k == i + 1 or code[k - 1].text == ",") then
      add(code[k].text, "constant")
    end
    if code[k].text == "(" then k = skip(code, k) end
    k = k + 1
  end
end

-- The types and constants in the body of a struct that opens at `i`; returns the place of its end.
local function inner(code, i, add)
  local last = skip(code, i)
  for k = i + 1, last do
    local word = code[k].text
    if word == "enum" or word == "struct" or word == "union" then
      local named = code[k + 1].kind == "id"
      local body = named and k + 2 or k + 1
      if text_at(code, body) == "{" then
        if named then add(code[k + 1].text, "tag") end
        if word == "enum" then constants(code, body, add) end
      end
    end
  end
  return last
end

-- Passes an initializer whose `=` is at `i`; returns the place of the `,` or `;` behind it.
local function initializer(code, i)
  while code[i].text ~= "," and code[i].text ~= ";" do
    if closing[code[i].text] then i = skip(code, i) end
    i = i + 1
  end
  return i
end

-- One declaration from `i` on: { first, last, static, extern, typedef, body, names = { … } }, where
-- a name is { text, kind }: function, object, type, tag or constant. Also the place behind it.
local function declaration(code, i)
  local d = { first = code[i], names = {} }
  local function add(name, kind)
    d.names[#d.names + 1] = { text = name, kind = kind }
  end
  while code[i] do
    local word, kind, next_word = code[i].text, code[i].kind, text_at(code, i + 1)
    if word == ";" then
      break
    elseif word == "static" or word == "extern" or word == "typedef" then
      d[word] = code[i]
    elseif word == "struct" or word == "union" or word == "enum" then
      local named = code[i + 1].kind == "id"
      local behind = text_at(code, i + (named and 2 or 1))
      if named and (behind == "{" or behind == ";") then add(next_word, "tag") end
      if named then i = i + 1 end
      if behind == "{" then
        i = i + 1
        d.body = true
        if word == "enum" then constants(code, i, add) end
        i = inner(code, i, add)
      end
    elseif next_word == "(" and keywords[word] then
      i = skip(code, i + 1)
    elseif kind == "id" and not keywords[word] and next_word == "(" then
      add(word, "function")
      i = skip(code, i + 1)
      while text_at(code, i + 1) == "__attribute__" do i = skip(code, i + 2) end
      if text_at(code, i + 1) == "{" then
        i = skip(code, i + 1)
        break
      end
    elseif word == "(" then
      assert(next_word == "*", "a declaration that is not understood")
      local last = skip(code, i)
      add(code[i + 2].text, d.typedef and "type" or "object")
      i = text_at(code, last + 1) == "(" and skip(code, last + 1) or last
    elseif kind == "id" and not keywords[word]
      and (next_word == "[" or next_word == "=" or next_word == ";" or next_word == ",") then
      add(word, d.typedef and "type" or "object")
    elseif word == "=" then
      i = initializer(code, i) - 1
    elseif word == "[" then
      i = skip(code, i)
    end
    i = i + 1
  end
  d.last = code[i]
  return d, i + 1
end

local function declarations(tokens)
  local code, list, i = code_of(tokens), {}, 1
  while i <= #code do
    local d
    d, i = declaration(code, i)
    list[#list + 1] = d
  end
  return list
end

-- ---- Other names for identifiers, where they are no members ----

local rename

-- Of a `#define`, what stands behind its name and parameters.
local function rename_directive(text, names)
  local head, body = text:match "^(#%s*define%s+[%a_][%w_]*%b())(.*)$"
  if not head then head, body = text:match "^(#%s*define%s+[%a_][%w_]*)(.*)$" end
  if not head then return end
  local tokens = lex(body)
  rename(tokens, names)
  local parts = { head }
  for _, token in ipairs(tokens) do parts[#parts + 1] = token.text end
  return table.concat(parts)
end

-- Is code[i], in the body of a struct, the name of a member?
local function is_declarator(code, i)
  local after = text_at(code, i + 1)
  return after == ";" or after == "," or after == "[" or after == ":"
end

function rename(tokens, names)
  local code = code_of(tokens)
  local original = {}
  for i, token in ipairs(code) do original[i] = token.text end
  local bodies, members = {}, 0 -- what the open brackets are; where an offsetof ends
  for i, token in ipairs(code) do
    local word, before = original[i], original[i - 1]
    if word == "{" then
      local head = before
      if head ~= "struct" and head ~= "union" and i > 2 then head = original[i - 2] end
      bodies[#bodies + 1] = (head == "struct" or head == "union") and "struct" or "block"
    elseif word == "(" or word == "[" then
      bodies[#bodies + 1] = word
    elseif word == "}" or word == ")" or word == "]" then
      bodies[#bodies] = nil
    elseif word == "offsetof" then
      members = skip(code, i + 1)
    end
    if token.kind == "id" and names[word] and before ~= "." and before ~= "->" then
      local in_struct = bodies[#bodies] == "struct" and is_declarator(code, i)
      local pointer = bodies[#bodies] == "(" and bodies[#bodies - 1] == "struct" and before == "*"
        and original[i - 2] == "("
      local in_offsetof = i < members and before == ","
      if not (in_struct or pointer or in_offsetof) then token.text = names[word] end
    end
  end
  for _, token in ipairs(tokens) do
    if token.kind == "directive" then
      token.text = rename_directive(token.text, names) or token.text
    end
  end
end

-- ---- Files ----

local folder, sources = assert(arg[1], "usage: amalgamate.lua FOLDER FILE.c..."), {}
for i = 2, #arg do sources[#sources + 1] = arg[i] end

local is_public = {}
for _, name in ipairs(PUBLIC) do is_public[name] = true end

local function find_header(name)
  for _, where in ipairs(FOLDERS) do
    local file = io.open(where .. name)
    if file then
      file:close()
      return where .. name
    end
  end
  error("no header " .. name)
end

local files = {} -- by path: { path, tokens, declarations, includes }

local function load_file(path)
  if files[path] then return end
  local file = { path = path, name = path:match "[^/]+$", stem = path:match "([^/]+)%.[ch]$" }
  files[path] = file
  file.tokens = lex(read(path))
  if not is_public[file.name] then file.declarations = declarations(file.tokens) end
  for _, token in ipairs(file.tokens) do
    local name = token.kind == "directive" and token.text:match '^#%s*include%s+"([^"]+)"'
    if name then load_file(find_header(name)) end
  end
end

for _, path in ipairs(sources) do load_file(path) end

-- The functions that the public headers declare.
local api = {}
for _, name in ipairs(PUBLIC) do
  for declared in read(find_header(name)):gmatch "\nISOLUA_API [^(;]-([%w_]+)%(" do
    api[declared] = true
  end
end

-- Of all private headers: what they declare, and other names for the objects without a prefix.
local in_headers, shared = {}, {}
for path, file in pairs(files) do
  if path:find "%.h$" and file.declarations then
    for _, d in ipairs(file.declarations) do
      for _, name in ipairs(d.names) do
        in_headers[name.text] = true
        if d.extern and name.kind == "object" and not is_prefixed(name.text) then
          shared[name.text] = "il_" .. name.text
        end
      end
    end
  end
end

-- A type that a source defines and its own header names, where another header has another type of
-- that name: { other name, the source's stem }.
local opaque = {}
do
  local in_header = {}
  local function each_body(extension, call)
    for path, file in pairs(files) do
      for _, d in ipairs(path:find(extension) and file.declarations or {}) do
        for _, name in ipairs(d.body and d.names or {}) do
          if name.kind == "tag" then call(name.text, file) end
        end
      end
    end
  end
  each_body("%.h$", function(name) in_header[name] = true end)
  each_body("%.c$", function(name, file)
    local own = file.path:gsub("c$", "h")
    if in_header[name] and files[own] then
      opaque[name] = { ("il_%s_%s"):format(file.stem, (name:gsub("^il_", ""))), file.stem }
    end
  end)
end

-- The other names of what files share.
local function shared_names(file)
  local names = setmetatable({}, { __index = shared })
  for name, other in pairs(opaque) do
    if file.stem == other[2] then names[name] = other[1] end
  end
  return names
end

-- The other names of what a source has for itself.
local function own_names(file)
  local names = shared_names(file)
  for _, d in ipairs(file.declarations) do
    for _, name in ipairs(d.names) do
      local value = name.kind == "function" or name.kind == "object"
      local own = d.static or not value and not in_headers[name.text]
      if own and not is_prefixed(name.text) then
        names[name.text] = "il_" .. file.stem .. "__" .. name.text
      end
    end
  end
  return names
end

-- Functions that are not API get internal linkage, and need not be used.
local function make_private(d, in_header)
  local name = d.names[#d.names]
  if not name or name.kind ~= "function" or d.typedef or api[name.text] then return end
  local storage = d.static or d.extern
  if not storage then
    d.first.text = "IL_PRIVATE " .. d.first.text
  elseif d.extern or in_header then
    storage.text = "IL_PRIVATE"
  end
end

-- A struct that one file defines as another has done before it: it is left out.
local structs = {}
local function leave_out_again(file, names)
  for _, d in ipairs(file.declarations) do
    local tag = d.body and d.names[1] and d.names[1].kind == "tag" and d.names[1].text
    local name = tag and (names[tag] or tag)
    if name and d.last.text == ";" then
      local first, last, parts = nil, nil, {}
      for i, token in ipairs(file.tokens) do
        if token == d.first then first = i end
        if first and not last and token.kind ~= "gap" then parts[#parts + 1] = token.text end
        if token == d.last then last = i end
      end
      local text = table.concat(parts, " ")
      assert(not structs[name] or structs[name] == text, name .. " is defined twice")
      for i = first, structs[name] and last or first - 1 do file.tokens[i].text = "" end
      structs[name] = text
    end
  end
end

-- ---- Writing ----

local out, system_set, written = {}, {}, {}
local write_file

local function heading(path)
  out[#out + 1] = ("\n/* ---- %s %s */\n\n"):format(path, ("-"):rep(math.max(90 - #path, 4)))
end

-- `depth` of conditions; `base`: that of a header's guard.
local function write_directive(file, token, depth, base)
  local own = token.text:match '^#%s*include%s+"([^"]+)"'
  if own then
    write_file(find_header(own))
    return
  end
  local system = token.text:match "^#%s*include%s+(<[^>]+>)"
  if system and depth == base then
    system_set[system] = true
    return
  end
  local macro = token.text:match "^#%s*define%s+([%a_][%w_]*)"
  if macro and not file.path:find "%.h$" then
    file.macros = file.macros or {}
    if not file.macros[macro] then
      file.macros[macro] = true
      table.insert(file.macros, macro)
    end
  end
  out[#out + 1] = token.text
end

function write_file(path)
  if written[path] then return end
  written[path] = true
  local file = files[path]
  local is_header = path:find "%.h$" ~= nil
  local base = is_header and 1 or 0 -- of conditions: a guard
  local depth = 0
  if file.declarations then
    local names = is_header and shared_names(file) or own_names(file)
    rename(file.tokens, names)
    leave_out_again(file, names)
    for _, d in ipairs(file.declarations) do make_private(d, is_header) end
  end
  -- The headers come before what includes them.
  for _, token in ipairs(file.tokens) do
    local own = token.kind == "directive" and token.text:match '^#%s*include%s+"([^"]+)"'
    if own then write_file(find_header(own)) end
  end
  heading(path:find "^%l+/[%w_]+%.[ch]$" and path or file.name)
  for _, token in ipairs(file.tokens) do
    if token.kind == "directive" then
      if token.text:find "^#%s*if" then depth = depth + 1 end
      write_directive(file, token, depth, base)
      if token.text:find "^#%s*endif" then depth = depth - 1 end
    else
      out[#out + 1] = token.text
    end
  end
  assert(depth == 0, path)
  if file.macros then
    out[#out + 1] = "\n"
    for _, macro in ipairs(file.macros) do out[#out + 1] = "#undef " .. macro .. "\n" end
  end
end

local stems = {}
for _, path in ipairs(sources) do
  local stem = files[path].stem
  assert(not stems[stem], path)
  stems[stem] = true
end

for _, name in ipairs(PUBLIC) do write_file(find_header(name)) end
out[#out + 1] = [[

/* Nothing below is seen outside, but for what the headers above declare. */
#pragma GCC visibility push(hidden)
#define IL_PRIVATE static __attribute__((unused))
]]
for _, path in ipairs(sources) do write_file(path) end
out[#out + 1] = "\n#undef IL_PRIVATE\n#pragma GCC visibility pop\n"

local system = {}
for name in pairs(system_set) do system[#system + 1] = name end
table.sort(system)

local header = read(find_header "isolua.h")
local function part(name)
  return assert(header:match("#define ISOLUA_VERSION_" .. name .. " (%d+)"))
end
local version = table.concat({ part "MAJOR", part "MINOR", part "PATCH" }, ".")

local intro = ([[
/* isolua.c - isolua %s, Lua 5.4 isolates, as one C file: isolua.h says how to use it. */
/* SPDX-License-Identifier: MIT */

/*
** Written by `make amalgamation` out of the sources, in which changes are to be made.
**
**   cc -O2 -c isolua.c $(pkg-config --cflags lua5.4)
**   cc -I. hello.c isolua.c $(pkg-config --cflags --libs lua5.4) -lpthread -lm -o hello
**
%s*/

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

]]):format(version, (read "LICENSE":gsub("([^\n]*)\n", function(line)
  return (line == "" and "**" or "** " .. line) .. "\n"
end)))

local text = {}
for _, name in ipairs(system) do text[#text + 1] = "#include " .. name .. "\n" end
text = intro .. table.concat(text) .. table.concat(out)
-- What was taken out leaves empty lines.
text = text:gsub("\n\n\n+", "\n\n")

local function write(name, content)
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  assert(file:write(content))
  assert(file:close())
end

for _, name in ipairs(PUBLIC) do write(name, read(find_header(name))) end
write("isolua.c", text)
