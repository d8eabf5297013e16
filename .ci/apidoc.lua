-- apidoc.lua FILE... - prints a Lua module with what the LDoc comments of the sources say of each
-- function of the API: scripts/isolate/repl/reference.lua, which the prompt's `:doc` reads.
-- SPDX-License-Identifier: MIT

local entries = {}

-- The lines of a comment without what makes them one.
local function comments(path, text)
  local list = {}
  if path:find "%.c$" then
    for body in text:gmatch "/%*%*%*\n(.-)%*/" do list[#list + 1] = body end
    return list
  end
  local lines
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local first, more = line:match "^%s*%-%-%-%s?(.*)", line:match "^%s*%-%-%s?(.*)"
    if first and not lines then
      lines = { first }
    elseif lines and (first or more) then
      lines[#lines + 1] = first or more
    elseif lines then
      list[#list + 1] = table.concat(lines, "\n") .. "\n"
      lines = nil
    end
  end
  return list
end

-- Tags with their text, which may go on for lines; what stands before the first is the description.
local function parse(body)
  local tags, description, current = {}, {}, nil
  for line in body:gmatch "(.-)\n" do
    local tag, options, rest = line:match "^%s*@(%a+)(%b[])%s*(.*)$"
    if not tag then tag, rest = line:match "^%s*@(%a+)%s*(.*)$" end
    if tag then
      current = { tag = tag, options = options, lines = { rest } }
      tags[#tags + 1] = current
    elseif current then
      current.lines[#current.lines + 1] = (line:gsub("^%s+", ""))
    else
      description[#description + 1] = line
    end
  end
  for _, tag in ipairs(tags) do
    tag.text = table.concat(tag.lines, tag.tag == "usage" and "\n" or " "):gsub("%s+$", "")
  end
  return table.concat(description, "\n"):gsub("%s+$", ""):gsub("(%S)\n(%S)", "%1 %2"), tags
end

local function signature(name, params)
  local list = {}
  for _, p in ipairs(params) do list[#list + 1] = p.optional and "[" .. p.name .. "]" or p.name end
  return ("%s(%s)"):format(name, table.concat(list, ", "))
end

-- `@tparam[opt] type name text`, `@param name text`.
local function parameter(tag)
  local kind, name, text
  if tag.tag:find "^tparam" then
    kind, name, text = tag.text:match "^(%S+)%s+(%S+)%s*(.*)$"
  else
    name, text = tag.text:match "^(%S+)%s*(.*)$"
  end
  local optional = (tag.options or ""):find "^%[opt" ~= nil
  return { kind = kind, name = name, text = text, optional = optional }
end

local function add(body)
  local description, tags = parse(body)
  local name, params, out = nil, {}, {}
  for _, tag in ipairs(tags) do
    if tag.tag == "function" then name = tag.text end
    if tag.tag:find "^t?param" then params[#params + 1] = parameter(tag) end
  end
  if not name then return end
  out[1] = signature(name, params)
  out[2] = description
  for _, p in ipairs(params) do
    local text = p.text:gsub("\n", "\n    ")
    local what = not p.kind and text or text == "" and p.kind or p.kind .. ": " .. text
    out[#out + 1] = ("  %s  %s"):format(p.name, what)
  end
  for _, tag in ipairs(tags) do
    local text = tag.text:gsub("\n", "\n    ")
    if tag.tag:find "^t?return" then
      out[#out + 1] = "  returns " .. text
    elseif tag.tag == "raise" then
      out[#out + 1] = "  raises " .. text
    elseif tag.tag == "usage" then
      out[#out + 1] = "  example:\n    " .. text
    end
  end
  assert(not entries[name], name .. " is documented twice")
  entries[name] = table.concat(out, "\n"):gsub(" +%f[\n\0]", "")
end

for _, path in ipairs(arg) do
  local file = assert(io.open(path))
  for _, body in ipairs(comments(path, file:read "a")) do add(body) end
  file:close()
end

local names = {}
for name in pairs(entries) do names[#names + 1] = name end
table.sort(names)
print "-- What `:doc` shows: comments of the sources. Written by `make docs`; not to be edited."
print "-- luacheck: no max line length"
print "return {"
for _, name in ipairs(names) do
  local level = "="
  while entries[name]:find("]" .. level .. "]", 1, true) do level = level .. "=" end
  print(("  [%q] = [%s[%s]%s],"):format(name, level, entries[name], level))
end
print "}"
