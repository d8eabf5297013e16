-- embed.lua TABLE FOLDER FILE... - writes the C source of a table with that name, of Lua modules,
-- files below FOLDER.
-- SPDX-License-Identifier: MIT

local name, folder = arg[1], arg[2]
assert(folder, "usage: embed.lua TABLE FOLDER FILE...")

-- Without comments on lines of their own and without indentation, if it means the same, lines
-- included.
local function squeeze(text, chunkname)
  local less = ("\n" .. text):gsub("\n[ \t]*%-%-[^\n]*", "\n"):gsub("\n[ \t]+", "\n"):sub(2)
  local whole, short = assert(load(text, chunkname)), load(less, chunkname)
  return short and string.dump(short) == string.dump(whole) and less or text
end

-- Bytes as numbers: a string literal may not be longer than 4095 bytes in C11.
local function write_bytes(text)
  for from = 1, #text, 24 do
    io.write("  ", table.concat({ text:byte(from, from + 23) }, ","), ",\n")
  end
  io.write("  0\n")
end

io.write(("/* %s: Lua modules; written by .ci/embed.lua. */\n"):format(name))
io.write("#include <stddef.h>\n")
local rows = {}
for i, path in ipairs { table.unpack(arg, 3) } do
  local file = assert(io.open(path, "rb"))
  path = path:sub(#folder + 2)
  local text = squeeze(file:read("a"), "@" .. path)
  file:close()
  local module = path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  io.write(("\n/* %s */\nstatic const unsigned char script_%d[] = {\n"):format(path, i))
  write_bytes(text)
  io.write("};\n")
  rows[i] = ('  {"%s", "@%s", (const char *)script_%d, %d},\n'):format(module, path, i, #text)
end

io.write([[

struct isolua_script {
  const char *name;
  const char *chunkname;
  const char *text;
  size_t size;
};

]])
io.write(("extern const struct isolua_script %s[];\n"):format(name))
io.write(("const struct isolua_script %s[] = {\n"):format(name))
io.write(table.concat(rows), "  {NULL, NULL, NULL, 0}};\n")
