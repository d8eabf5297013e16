-- headerdoc.lua HEADER... - prints the reference of the C API as Markdown, of the declarations and
-- comments of the headers. With --errors HEADER...: for each function that returns error numbers
-- lines with its name and one that its comment names. With --returned HEADER...: spec/c/returned.h.
-- SPDX-License-Identifier: MIT

--[[
What the comments are made of:

  /* -- Title ---- */      begins a section
  another comment          belongs to the declarations up to the next one
  isolua_x, _y: text       at the begin of a line: what isolua_x and the function or type with
                           another last word do; indented lines go on
  Thread: any.             in a paragraph of its own: of all functions of the comment
  an indented line         behind an empty one: an example

A function that no comment tells of is an error.
]]

local WIDTH = 100

local links = {} -- by the name of what is declared: its heading
local anchors = {}

-- As GitHub makes them of headings.
local function anchor(heading)
  return (heading:lower():gsub("[^%w _-]", ""):gsub(" ", "-"))
end

-- ---- Reading a header: comments and declarations in their order ----

local function squeeze(text)
  return (text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

local function plain(comment)
  return squeeze((comment:gsub("^/%*", ""):gsub("%*/$", "")))
end

-- What stands between the braces of a struct or enum: { text =, comment = } for each member.
local function members(body, separator)
  local list, at = {}, 1
  while true do
    local text, stop = body:match("^%s*([^" .. separator .. "]-)%s*()[" .. separator .. "]", at)
    local last, foot = body:match("^%s*([^/" .. separator .. "]-)%s*()%f[/\0]", at)
    if not text or last and foot < stop then text, stop = last, foot - 1 end
    if not text or text == "" then return list end
    local comment, after = body:match("^%s*(/%*.-%*/)()", stop + 1)
    list[#list + 1] = { text = squeeze(text), comment = comment and plain(comment) }
    at = after or stop + 1
  end
end

local function constants(body)
  local list = members(body, ",")
  for i, m in ipairs(list) do
    m.name = m.text:match "^[%w_]+"
    if m.name == m.text then m.text = ("%s = %d"):format(m.name, i - 1) end
  end
  return list
end

local function declaration(text)
  local name, body = text:match "^typedef struct [%w_]* ?{(.*)} ([%w_]+);$"
  name, body = name and body, name
  if name then return { kind = "struct", names = { name }, members = members(body, ";") } end
  body = text:match "^enum {(.*)};$"
  if body then
    local d = { kind = "enum", names = {}, members = constants(body) }
    for i, m in ipairs(d.members) do d.names[i] = m.name end
    return d
  end
  name = text:match "^typedef struct [%w_]+ ([%w_]+);$"
  if name then return { kind = "opaque", names = { name }, text = text } end
  name = text:match "^typedef [^(]-%(%*([%w_]+)%)" or text:match "^typedef [^(]-([%w_]+)%("
  if name then return { kind = "callback", names = { name }, text = text } end
  name = text:match "^ISOLUA_API [^(]-([%w_]+)%("
  assert(name, "what is this?\n" .. text)
  text = text:gsub("^ISOLUA_API ", ""):gsub("\n" .. (" "):rep(#"ISOLUA_API "), "\n")
  return { kind = "function", names = { name }, text = text }
end

-- Where a declaration ends that begins there: at a semicolon outside of braces and comments.
local function end_of(text, at)
  local bare = text:gsub("/%*.-%*/", function(comment) return ("."):rep(#comment) end)
  local depth = 0
  for i, c in bare:gmatch("()([{};])", at) do
    if c == "{" then depth = depth + 1 end
    if c == "}" then depth = depth - 1 end
    if c == ";" and depth == 0 then return i end
  end
  error("no end: " .. text:sub(at, at + 80))
end

-- Calls on_comment(text), on_declaration(d) for what stands at the begin of lines.
local function scan(text, on_comment, on_declaration)
  text = text:gsub("#ifdef __cplusplus\n.-#endif\n", ""):gsub("#ifndef ISOLUA_API.-#endif\n", "")
  local at = 1
  while true do
    at = text:match("^%s*()", at)
    if at > #text then return end
    local stop
    if text:find("^/%*", at) then
      stop = select(2, assert(text:find("%*/", at)))
      on_comment(text:sub(at, stop))
    elseif text:find("^#", at) then
      local line = text:match("^[^\n]*", at):gsub("\\$", "")
      stop = at + #text:match("^[^\n]*", at)
      while text:sub(stop - 1, stop - 1) == "\\" do stop = text:find("\n", stop + 1, true) end
      local name, value = text:sub(at, stop):match "^#define ([%w_]+)%s+(.*)$"
      if name and not line:find "_H$" then
        local shown = value:gsub("%s+\\\n", " \\\n")
        shown = ("#define %s %s"):format(name, shown)
        on_declaration { kind = "macro", names = { name }, text = shown }
      end
    else
      stop = end_of(text, at)
      on_declaration(declaration(text:sub(at, stop)))
    end
    at = stop + 1
  end
end

-- ---- Reading a comment: what it says of all, and of each name ----

-- "isolua_a_b, _c" is "isolua_a_b" and "isolua_a_c".
local function names_of(list)
  local names = {}
  for name in list:gmatch "[%w_]+" do
    if name:sub(1, 1) == "_" then name = names[1]:gsub("_[^_]*$", "") .. name end
    names[#names + 1] = name
  end
  return names
end

local function entry(line)
  local list, rest = line:match "^([%w_][%w_, ]*): (.*)$"
  if list and (list:find "^isolua_" or list:find "^ISOLUA_" or list:find "^luaopen_") then
    return { names = names_of(list), parts = { { text = rest } } }
  end
end

-- A part is `{ text = }` or `{ code = { line, … } }`.
local function add_line(doc, line, fresh)
  local last = doc.parts[#doc.parts]
  if last and last.code and line:find "^ " then
    last.code[#last.code + 1] = line
  elseif fresh and line:find "^  " then
    doc.parts[#doc.parts + 1] = { code = { line } }
  elseif last and last.text and not fresh then
    last.text = last.text .. " " .. line
  else
    doc.parts[#doc.parts + 1] = { text = line }
  end
end

local function parse_comment(comment)
  local block = { intro = { parts = {} }, tail = { parts = {} }, entries = {}, declared = {} }
  local current, fresh = block.intro, true
  if not comment:find "\n" then comment = "/*\n** " .. plain(comment) .. "\n*/" end
  for line in comment:gmatch "\n%*%* ?([^\n]*)" do
    local begun = entry(line)
    local last = current.parts[#current.parts]
    if line == "" then
      if last and last.code then last.code[#last.code + 1] = "" end
      fresh = true
    elseif begun then
      block.entries[#block.entries + 1] = begun
      current, fresh = begun, false
    else
      local whole = not line:find "^ " and current ~= block.tail and #block.entries > 0
      if whole then current = block.tail end
      add_line(current, line, fresh or whole)
      fresh = false
    end
  end
  return block
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  local header = { name = path:match "[^/]+$", sections = {}, of = {} }
  local section = { blocks = {} }
  local function on_comment(comment)
    local title = comment:match "^/%* %-%- (.-) %-+ %*/$"
    if title then
      section = { title = title, blocks = {} }
      header.sections[#header.sections + 1] = section
    elseif comment:find("/* " .. header.name, 1, true) then
      header.title = plain(comment):match "%- (.*)"
      header.sections[1] = section
    elseif not comment:find "SPDX" then
      section.blocks[#section.blocks + 1] = parse_comment(comment)
    end
  end
  local function on_declaration(d)
    local block = assert(section.blocks[#section.blocks], d.names[1] .. ": no comment before it")
    block.declared[#block.declared + 1] = d
    for _, name in ipairs(d.names) do header.of[name] = d end
  end
  scan(text, on_comment, on_declaration)
  return header
end

-- ---- What is shown together under one heading ----

local GROUPED = { opaque = true, macro = true, ["function"] = true }

-- Gives each constant what an entry says of it.
local function tell_constants(header, block)
  for i = #block.entries, 1, -1 do
    local e = block.entries[i]
    local d = header.of[e.names[1]]
    if d and d.kind == "enum" then
      for _, m in ipairs(d.members) do
        for _, name in ipairs(e.names) do
          if m.name == name then m.comment = e.parts[1].text:gsub("%s+", " ") end
        end
      end
      table.remove(block.entries, i)
    end
  end
end

local function heading(item)
  local first = item[1]
  if first.kind == "enum" then
    item.heading = ("%s to %s"):format(first.names[1], first.names[#first.names])
  else
    local names, stem = {}, first.names[1]:match "^(.*)_"
    for i, d in ipairs(item) do
      local before, last = d.names[1]:match "^(.*)(_.*)$"
      names[i] = i > 1 and first.kind == "function" and before == stem and last or d.names[1]
    end
    item.heading = table.concat(names, ", ")
  end
end

-- The items of a block: { declaration, …, doc = entry or nil }.
local function arrange(header, block)
  local items = {}
  tell_constants(header, block)
  for _, e in ipairs(block.entries) do
    e.item = { doc = e }
    for _, name in ipairs(e.names) do
      local d = assert(header.of[name], name .. ": described, but not declared")
      e.item[#e.item + 1], d.taken = d, true
    end
  end
  for _, d in ipairs(block.declared) do
    local last = items[#items]
    assert(d.taken or d.kind ~= "function" or #block.entries == 0,
      d.names[1] .. ": the comment before it does not tell of it")
    if not d.taken and last and GROUPED[d.kind] and last[1].kind == d.kind then
      last[#last + 1] = d
    elseif not d.taken then
      items[#items + 1] = { d }
    end
  end
  if #items == 1 and #block.entries == 0 then items[1].doc, block.intro = block.intro, nil end
  for _, e in ipairs(block.entries) do items[#items + 1] = e.item end
  for _, item in ipairs(items) do heading(item) end
  block.items = items
end

-- ---- Text ----

local function linked(name, own)
  local code = "`" .. name .. "`"
  return links[name] and links[name] ~= own and "[" .. code .. "]" or code
end

local function mark_names(text, own)
  text = text:gsub("%f[%w_][%w.]*_[%w_]*%*?", function(name) return linked(name, own) end)
  return (text:gsub("<", "\\<"))
end

-- Text of a comment: what is a name or a literal of C in it becomes code.
local function markdown(text, own)
  local out, at = {}, 1
  text = text:gsub("%[%-[^%]]*%]", "`%0`") -- [-popped, +pushed, e]
  text = text:gsub("%f[%S]%*[%a_]+%f[^%w_]", "`%0`") -- *out
  for before, code, after in text:gmatch "([^`]*)`([^`]+)`()" do
    out[#out + 1] = mark_names(before, own)
    out[#out + 1] = linked(code, own)
    at = after
  end
  out[#out + 1] = mark_names(text:sub(at), own)
  -- Neither a link to nothing nor, at the begin of a line, the target of one.
  return (table.concat(out):gsub("`%]%(%)", "`]"):gsub("%[(`[^`]+`)%]:", "%1:"))
end

-- Lines of at most WIDTH columns, the first behind `first`, the others behind `rest`.
local function wrap(text, first, rest)
  local hard = squeeze(text):gsub("`[^`]*`", function(code) return (code:gsub(" ", "\1")) end)
  local lines, line, width = {}, first, utf8.len(first)
  local empty = true
  for word in hard:gmatch "%S+" do
    local n = utf8.len(word)
    if not empty and width + 1 + n > WIDTH then
      lines[#lines + 1] = line
      line, width, empty = rest, utf8.len(rest), true
    end
    line = line .. (empty and "" or " ") .. word
    width, empty = width + (empty and 0 or 1) + n, false
  end
  lines[#lines + 1] = line
  return (table.concat(lines, "\n"):gsub("\1", " "))
end

local function sentence(text)
  text = squeeze(text)
  local small = text:find "^%l+%f[^%w_]" and not text:find "^isolua "
  return small and text:sub(1, 1):upper() .. text:sub(2) or text
end

-- A paragraph as its text and { {"Errors", text}, … }.
local function facts(text)
  local list, from = {}, nil
  local body = text
  for at, word, after in (" " .. text):gmatch "()%f[%w](%a+):%s()" do
    local before = text:sub(1, at - 2):match "(%S*)%s*$"
    if (word == "Errors" or word == "Thread" or word == "Gives")
      and (before == "" or before:find "[.%]]$") then
      if from then list[#list].text = text:sub(from, at - 2) else body = text:sub(1, at - 2) end
      list[#list + 1] = { name = word }
      from = after - 1
    end
  end
  if from then list[#list].text = text:sub(from) end
  return squeeze(body), list
end

local function thread_of(doc)
  for _, part in ipairs(doc and doc.parts or {}) do
    for _, fact in ipairs(part.text and select(2, facts(part.text)) or {}) do
      if fact.name == "Thread" then return fact.text end
    end
  end
end

-- ---- Writing ----

local out = {}
local function put(text) out[#out + 1] = text end

local function put_code(lines, info)
  local indent = lines[1]:match "^ *"
  while lines[#lines] == "" do lines[#lines] = nil end
  put("```" .. info)
  for _, line in ipairs(lines) do put((line:gsub("^" .. indent, ""))) end
  put "```\n"
end

local function put_doc(doc, own, thread)
  for _, part in ipairs(doc.parts) do
    if part.code then
      local is_program = table.concat(part.code, "\n"):find "int main%("
      put_code(part.code, is_program and "c" or "c fragment")
    else
      local body, list = facts(part.text)
      if body ~= "" then put(wrap(markdown(sentence(body), own), "", "") .. "\n") end
      for _, fact in ipairs(list) do
        local text = ("%s: %s"):format(fact.name, fact.text)
        put(wrap(markdown(text, own), "- ", "  "))
      end
      if #list > 0 then put "" end
    end
  end
  if thread then put(wrap(markdown("Thread: " .. thread, own), "- ", "  ") .. "\n") end
end

local function put_members(list, own)
  for _, m in ipairs(list) do
    local text = m.comment and ": " .. markdown(m.comment, own) or ""
    put(wrap("`" .. m.text .. "`" .. text, "- ", "  "))
  end
  put ""
end

local function put_item(item, thread)
  put("#### " .. item.heading .. "\n")
  local lines = {}
  for _, d in ipairs(item) do
    for line in ((d.text or "") .. "\n"):gmatch "(.-)\n" do
      if line ~= "" then lines[#lines + 1] = line end
    end
  end
  if #lines > 0 then put_code(lines, "c declaration") end
  if item.doc then
    local own = item[1].kind == "function" and not thread_of(item.doc) and thread or nil
    put_doc(item.doc, item.heading, own)
  elseif item[1].kind == "function" and thread then
    put("- Thread: " .. thread .. "\n")
  end
  if item[1].members then put_members(item[1].members, item.heading) end
end

local function put_block(block)
  local thread = thread_of(block.intro) or thread_of(block.tail)
  if block.intro then put_doc(block.intro) end
  for _, item in ipairs(block.items) do put_item(item, thread) end
  if #block.tail.parts > 0 and facts(block.tail.parts[1].text) ~= "" then put_doc(block.tail) end
end

-- Headings are unique: an anchor leads to one place.
local function unique(title, header)
  if anchors[anchor(title)] then title = ("%s (%s)"):format(title, header.name) end
  assert(not anchors[anchor(title)], title .. ": a heading that is there twice")
  anchors[anchor(title)] = true
  return title
end

local function put_contents(headers)
  for _, header in ipairs(headers) do
    put(wrap(("[%s](#%s): %s"):format(header.name, anchor(header.name), markdown(header.title)),
      "- ", "  "))
    for _, section in ipairs(header.sections) do
      local names = {}
      for _, block in ipairs(section.blocks) do
        for _, item in ipairs(block.items) do
          for _, d in ipairs(item) do
            names[#names + 1] = linked(d.names[1])
            if d.kind == "enum" then names[#names] = names[#names] .. "…" end
          end
        end
      end
      if section.title then
        put(wrap(("[%s](#%s): %s"):format(section.title, anchor(section.title),
          table.concat(names, ", ")), "  - ", "    "))
      end
    end
  end
  put ""
end

-- ---- Error numbers ----

-- By name: { errors = { by name: number }, like = { names of functions that give the same } }.
local function errors_of(headers)
  local numbers, all = {}, {}
  for _, header in ipairs(headers) do
    local d = header.of.ISOLUA_INVALID
    for _, m in ipairs(d and d.members or {}) do numbers[m.name] = m.text:match "= (%d+)" end
  end
  for _, header in ipairs(headers) do
    for _, section in ipairs(header.sections) do
      for _, block in ipairs(section.blocks) do
        for _, item in ipairs(block.items) do
          local texts = { errors = {}, like = {} }
          local function take(doc)
            for _, part in ipairs(doc and doc.parts or {}) do
              local text = part.text or ""
              for name in text:gmatch "%f[%w_]ISOLUA_[A-Z_]+" do
                texts.errors[name] = numbers[name]
              end
              for name in text:gmatch "Errors:%s+as%s+(isolua_[%w_]+)" do
                texts.like[#texts.like + 1] = name
              end
            end
          end
          take(item.doc)
          if item.doc ~= block.intro then take(block.intro) end
          take(block.tail)
          for _, d in ipairs(item) do
            if d.kind == "function" and d.text:find "^int " then all[d.names[1]] = texts end
          end
        end
      end
    end
  end
  return all
end

-- Lines of the name of a function, of an error, and its number.
local function documented_errors(headers)
  local all, lines = errors_of(headers), {}
  local function add(name, own)
    for error, number in pairs(own.errors) do
      lines[#lines + 1] = ("%s %s %s"):format(name, error, number)
    end
    for _, other in ipairs(own.like) do
      add(name, assert(all[other], other .. ": no function that returns error numbers"))
    end
  end
  for name, own in pairs(all) do add(name, own) end
  table.sort(lines)
  for i = #lines, 2, -1 do
    if lines[i] == lines[i - 1] then table.remove(lines, i) end
  end
  return lines
end

local function put_returned(lines)
  put [[
/* returned.h - notes what functions with error numbers return. Written by `make docs`. */
/* SPDX-License-Identifier: MIT */
#ifndef RETURNED_H
#define RETURNED_H
]]
  local last
  for _, line in ipairs(lines) do
    local name = line:match "^%S+"
    local define = ("#define %s(...) CHECK_RETURNED(%s, __VA_ARGS__)"):format(name, name)
    if name ~= last then put(define) end
    last = name
  end
  put "\n#endif"
end

-- ---- The whole ----

local headers = {}
local wanted = arg[1]:match "^%-%-(.*)"
if wanted then table.remove(arg, 1) end
for i, path in ipairs(arg) do
  local header = read(path)
  headers[i] = header
  unique(header.name)
  for _, section in ipairs(header.sections) do
    if section.title then section.title = unique(section.title, header) end
    for _, block in ipairs(section.blocks) do
      arrange(header, block)
      for _, item in ipairs(block.items) do
        unique(item.heading)
        for _, d in ipairs(item) do
          for _, name in ipairs(d.names) do links[name] = item.heading end
        end
      end
    end
  end
end

if wanted == "errors" then
  print(table.concat(documented_errors(headers), "\n"))
  os.exit()
elseif wanted == "returned" then
  put_returned(documented_errors(headers))
  print(table.concat(out, "\n"))
  os.exit()
end

put "# The C API\n"
put "<!-- Written by `make docs` from the comments of the headers; not to be edited. -->\n"
put(wrap([[This is what the headers say, function by function. [Embedding](embedding.md) is the
introduction, with whole programs.]], "", "") .. "\n")
put_contents(headers)
for _, header in ipairs(headers) do
  put("## " .. header.name .. "\n")
  put(markdown(sentence(header.title)) .. "\n")
  for _, section in ipairs(header.sections) do
    if section.title then put("### " .. section.title .. "\n") end
    for _, block in ipairs(section.blocks) do put_block(block) end
  end
end
local names = {}
for name in pairs(links) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do put(("[`%s`]: #%s"):format(name, anchor(links[name]))) end
io.write((table.concat(out, "\n"):gsub("\n\n\n+", "\n\n")), "\n")
