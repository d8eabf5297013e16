-- embed.lua FOLDER - writes the C source of a table of all Lua modules below FOLDER.
-- SPDX-License-Identifier: MIT

local folder = assert(arg[1], "usage: embed.lua FOLDER")

local function quote(s)
  return "'" .. s:gsub("'", "'\\''") .. "'"
end

local list = assert(io.popen("cd " .. quote(folder) .. " && find . -name '*.lua' | LC_ALL=C sort"))
local files = {}
for path in list:lines() do
  files[#files + 1] = path:sub(3)
end
assert(list:close())

-- Bytes as numbers: a string literal may not be longer than 4095 bytes in C11.
local function write_bytes(text)
  for from = 1, #text, 24 do
    io.write("  ", table.concat({ text:byte(from, from + 23) }, ","), ",\n")
  end
  io.write("  0\n")
end

io.write("/* scripts.c - the Lua modules, inside the library; written by .ci/embed.lua. */\n")
io.write("#include <stddef.h>\n")
local rows = {}
for i, path in ipairs(files) do
  local file = assert(io.open(folder .. "/" .. path, "rb"))
  local text = file:read("a")
  file:close()
  local name = path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  io.write(("\n/* %s */\nstatic const unsigned char script_%d[] = {\n"):format(path, i))
  write_bytes(text)
  io.write("};\n")
  rows[i] = ('  {"%s", "@%s", (const char *)script_%d, %d},\n'):format(name, path, i, #text)
end

io.write([[

struct isolua_script {
  const char *name;
  const char *chunkname;
  const char *text;
  size_t size;
};

extern const struct isolua_script isolua_scripts[];
const struct isolua_script isolua_scripts[] = {
]], table.concat(rows), "  {NULL, NULL, NULL, 0}};\n")
