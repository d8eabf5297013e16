-- layers.lua - checks who includes what: rules 1-4 of the house style, and that types have names of
-- their own. Prints what breaks them.
-- SPDX-License-Identifier: MIT

-- Bottom up. A module uses only what stands before it. Modules that are not named here are checked
-- for cycles alone.
local ORDER = { "plat", "count", "err", "due", "heap", "msg", "buf", "wire", "frozen", "build",
  "wait", "cell", "value", "future", "port", "control", "watchdog", "worker", "pump", "isolate",
  "native", "write", "pool", "host", "arena", "state", "names", "buffer", "kill", "codec",
  "freeze", "loop", "select", "handler", "answer", "vm", "task", "live", "run", "ports", "shared",
  "pools" }
local WITHOUT_LUA = { plat = true, count = true, err = true, due = true, heap = true, buf = true,
  msg = true, frozen = true, wire = true, build = true, wait = true, future = true, cell = true,
  port = true, control = true, watchdog = true, worker = true, isolate = true, value = true,
  pump = true, native = true, write = true, pool = true, host = true, arena = true }
local PUBLIC = { ["isolua.h"] = true, ["isolua_lua.h"] = true }
local LUA_HEADERS = { ["lua.h"] = true, ["lauxlib.h"] = true, ["lualib.h"] = true,
  ["luaconf.h"] = true, ["lua.hpp"] = true }
local EMBEDDERS = { ["host/main.c"] = true }
local SYSTEMS = { "__linux", "linux", "_WIN32", "_WIN64", "__APPLE__", "__unix", "__FreeBSD__",
  "__OpenBSD__", "__NetBSD__", "__ANDROID__", "__CYGWIN__", "__MINGW", "__GLIBC__" }

local rank = {}
for i, name in ipairs(ORDER) do rank[name] = i end

local problems = 0
local function problem(path, line, ...)
  problems = problems + 1
  io.write(path, ":", line, ": ", table.concat({ ... }), "\n")
end

-- ---- Reading: includes with their lines, and the code without comments ----

local function without_comments(text)
  text = text:gsub("/%*.-%*/", function(comment) return (comment:gsub("[^\n]", "")) end)
  return (text:gsub("//[^\n]*", ""))
end

local function read(path)
  local file = assert(io.open(path))
  local code = without_comments(file:read("a"))
  file:close()
  local unit = { path = path, dir = path:match("^(.-)/"), name = path:match("([^/]+)$"),
    code = code, includes = {}, lines = {} }
  unit.module = unit.name:match("^(.-)%.[ch]$")
  if unit.module:match("^plat_") then unit.module = "plat" end
  for line in (code .. "\n"):gmatch("(.-)\n") do
    unit.lines[#unit.lines + 1] = line
    local name = line:match('^%s*#%s*include%s*[<"]([^>"]+)[>"]')
    if name then
      unit.includes[#unit.includes + 1] = { name = name:match("([^/]+)$"), full = name,
        line = #unit.lines }
    end
  end
  return unit
end

local units, by_name = {}, {}
for _, path in ipairs(arg) do
  local unit = read(path)
  units[#units + 1] = unit
  if unit.name:match("%.h$") then by_name[unit.name] = unit end
end

local function is_embedder(unit)
  return unit.dir == "bindings" or EMBEDDERS[unit.path] or unit.path:match("^host/repl")
end

-- Whether a file sees a Lua header, by itself or through headers of the project.
local function sees_lua(unit, seen)
  seen = seen or {}
  if seen[unit] then return false end
  seen[unit] = true
  for _, include in ipairs(unit.includes) do
    if LUA_HEADERS[include.name] then return true end
    local header = by_name[include.name]
    if header and sees_lua(header, seen) then return true end
  end
  return false
end

local function each_line(unit, pattern, report)
  for i, line in ipairs(unit.lines) do
    if line:find(pattern) then report(i, line) end
  end
end

-- ---- Rule 1: nothing points back ----

local function check_embedder(unit)
  for _, include in ipairs(unit.includes) do
    local header = by_name[include.name]
    local own = unit.dir == "host" and header and header.module == unit.module
    if header and not PUBLIC[include.name] and header.dir == "host" and not own
      and not header.path:match("^host/repl") then
      problem(unit.path, include.line, "an embedder includes ", include.full,
        ": only isolua.h, isolua_lua.h and its own headers")
    elseif header and header.dir == "bindings" and unit.dir == "host"
      and include.name ~= "lib.h" then
      problem(unit.path, include.line, "only lib.h of bindings/ may be included here")
    end
  end
end

local function check_library(unit)
  for _, include in ipairs(unit.includes) do
    local header = by_name[include.name]
    if include.full:find("bindings/") or include.full:find("scripts/")
      or header and header.dir ~= "host" then
      problem(unit.path, include.line, "the library includes ", include.full)
    elseif header and not PUBLIC[include.name] and rank[header.module] and rank[unit.module]
      and rank[header.module] > rank[unit.module] then
      problem(unit.path, include.line, unit.module, " includes ", include.name,
        ", which is above it")
    end
  end
  if WITHOUT_LUA[unit.module] and sees_lua(unit) then
    problem(unit.path, 1, unit.module, " may not include Lua's headers")
  end
  local function names_them(line) problem(unit.path, line, "the library names a Lua module") end
  each_line(unit, '"isolate%.core"', names_them)
  each_line(unit, "isolua_scripts", names_them)
  if not PUBLIC[unit.name] then
    each_line(unit, "luaopen_isolate", names_them)
    each_line(unit, "isolua_open_modules", names_them)
  end
end

-- Of modules, as a header and its .c file are one thing.
local function check_cycles()
  local uses = {}
  for _, unit in ipairs(units) do
    if unit.dir == "host" and not is_embedder(unit) and not PUBLIC[unit.name] then
      uses[unit.module] = uses[unit.module] or {}
      for _, include in ipairs(unit.includes) do
        local header = by_name[include.name]
        if header and header.dir == "host" and not PUBLIC[include.name]
          and header.module ~= unit.module then
          uses[unit.module][header.module] = { path = unit.path, line = include.line }
        end
      end
    end
  end
  local state = {}
  local function visit(module, trail)
    state[module] = "open"
    for used, where in pairs(uses[module] or {}) do
      if state[used] == "open" then
        problem(where.path, where.line, "a cycle: ", trail, " > ", used)
      elseif not state[used] then
        visit(used, trail .. " > " .. used)
      end
    end
    state[module] = "done"
  end
  local names = {}
  for module in pairs(uses) do names[#names + 1] = module end
  table.sort(names)
  for _, module in ipairs(names) do
    if not state[module] then visit(module, module) end
  end
end

-- ---- Rule 2: a file includes its own header first; no umbrella headers ----

local function check_own_first(unit)
  local own = unit.name:gsub("%.c$", ".h")
  if unit.module == "plat" then own = "plat.h" end
  local first = unit.includes[1]
  if unit.name:match("%.c$") and by_name[own] and by_name[own].dir == unit.dir
    and not (first and first.name == own) then
    problem(unit.path, first and first.line or 1, "its own ", own, " comes first")
  end
end

local function check_umbrella(unit)
  if not unit.name:match("%.h$") then return end
  local rest = unit.code:gsub("\\\n", " "):gsub("%f[^\n\0]%s*#[^\n]*", "")
  if not rest:find("%S") and #unit.includes > 1
    and not unit.code:find("#[ \t]*define[ \t]+[%w_]+[ \t(]") then
    problem(unit.path, 1, "an umbrella header: it only includes others")
  end
end

-- ---- Rule 3: a lock or a lua_State; rule 4: the operating system is in plat alone ----

local function check_locks(unit)
  if not unit.name:match("%.c$") or unit.module == "plat" or not sees_lua(unit) then return end
  for i, line in ipairs(unit.lines) do
    if line:find("il_mutex_lock") or line:find("pthread_mutex_") or line:find("mtx_lock")
      or line:find("il_cond_wait") then
      problem(unit.path, i, "locks in a file that includes Lua's headers")
    end
  end
end

local function check_systems(unit)
  if unit.path:match("^host/plat_") then return end
  each_line(unit, "^%s*#%s*e?l?if", function(i, line)
    for _, macro in ipairs(SYSTEMS) do
      if line:find("%f[%w_]" .. macro) then
        problem(unit.path, i, macro, " belongs into host/plat_*.c")
        return
      end
    end
  end)
end

-- ---- A name of the library stands for one type ----

local defined = {}

local function check_types(unit)
  each_line(unit, "%f[%w_]struct il_[%w_]+%s*{", function(i, line)
    local name = line:match("struct (il_[%w_]+)")
    if defined[name] then problem(unit.path, i, name, " is a type of ", defined[name], ", too") end
    defined[name] = unit.path
  end)
end

-- ---- Examples are written with the public headers alone ----

local function check_example(unit)
  for _, include in ipairs(unit.includes) do
    local header = by_name[include.name]
    if header and not PUBLIC[include.name] and header.dir ~= "examples" then
      problem(unit.path, include.line, "an example includes ", include.full)
    end
  end
end

for _, unit in ipairs(units) do
  if unit.dir == "examples" then
    check_example(unit)
  elseif unit.dir == "host" or unit.dir == "bindings" then
    if is_embedder(unit) then check_embedder(unit) else check_library(unit) end
    check_own_first(unit)
    check_umbrella(unit)
    check_locks(unit)
    check_systems(unit)
    check_types(unit)
  end
end
check_cycles()

os.exit(problems == 0)
