-- library.lua - what the C library and its public headers declare and export, and its example.
-- SPDX-License-Identifier: MIT

local assert = require "luassert"
local shell = require "spec.support.shell"

local M = {}

M.headers = { "isolua.h", "isolua_lua.h" }

--- How to compile as C and as C++: { name =, compiler = }.
M.languages = {
  { name = "C", compiler = (os.getenv "CC" or "cc") .. " -std=c11" },
  { name = "C++", compiler = (os.getenv "CXX" or "c++") .. " -x c++ -std=c++17" },
}

--- What examples/embed/hello.c prints.
M.hello = [[
results: 5
  integer: 10
  float: 12.5
  string of 27 bytes: 1 4 9 16 25 36 49 64 81 100
  boolean: 1
  a table of 10
error: code error: house:2: no such door: front
house:2: no such door: front
stack traceback:
	[C]: in function 'error'
	house:2: in local 'open'
	house:4: in main chunk
	[C]: in ?
over its time: timeout
out of memory: memory
still running: 1
cancel: code cancelled: no longer needed
closed: all isolates ended
]]

--- Runs a command that must end well, and gives what it prints.
function M.output(command, options)
  local result = shell.run(command, options)
  assert.equal(0, result.status, command .. "\n" .. result.stdout .. result.stderr)
  return result.stdout
end

--- Fails unless the program, hello.c, prints what it should.
function M.check_hello(program, env)
  local result = shell.run(shell.quote(program), { env = env })
  assert.equal("", result.stderr)
  assert.equal(M.hello, result.stdout)
  assert.equal(0, result.status)
end

--- Fails unless both headers in that folder compile on their own by that language.
function M.check_headers(folder, language, flags)
  for _, header in ipairs(M.headers) do
    local source = shell.write("#include <" .. header .. ">\n")
    local command = ("%s -Wall -Wextra -Wpedantic -Werror -I%s %s -fsyntax-only -x %s %s"):format(
      language.compiler, shell.quote(folder), flags, language.name:lower(), source)
    local result = shell.run(command)
    os.remove(source)
    assert.equal("", result.stdout .. result.stderr)
    assert.equal(0, result.status)
  end
end

--- The names of the functions that the headers in a folder declare as API, sorted.
function M.api(folder)
  local names = {}
  for _, header in ipairs(M.headers) do
    local text = shell.read(folder .. "/" .. header)
    for name in text:gmatch "\nISOLUA_API [^(;]-([%w_]+)%(" do names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- The names that a shared object exports, or that are global in an object or archive, sorted.
function M.symbols(path)
  local names, shared = {}, path:find "%.so" ~= nil
  for line in M.output(("nm -P --defined-only %s %s"):format(shared and "-D" or "-g",
    shell.quote(path))):gmatch "[^\n]+" do
    names[#names + 1] = line:match "^(%S+) %u"
  end
  table.sort(names)
  return names
end

return M
