-- headers_spec.lua - the public headers: everything that they declare is used by a test.
-- SPDX-License-Identifier: MIT

local library = require "spec.support.library"
local lua = require "spec.support.lua"
local shell = require "spec.support.shell"

local host = lua.root .. "/host"

-- The words of the C tests and of the examples, without those in comments.
local function words_in(folders)
  local words = {}
  for path in library.output("find " .. folders .. " -name '*.[ch]*'",
    { cwd = lua.root }):gmatch "%S+" do
    local text = shell.read(lua.root .. "/" .. path):gsub("/%*.-%*/", "")
    for word in text:gmatch "[%w_]+" do words[word] = true end
  end
  return words
end

local function missing(names, words)
  local list = {}
  for _, name in ipairs(names) do
    if not words[name] then list[#list + 1] = name end
  end
  return list
end

describe("isolua.h and isolua_lua.h", function()
  it("declare no function that no C test or example uses", function()
    local api = library.api(host)
    assert.is_true(#api > 200)
    assert.same({}, missing(api, words_in "spec/c examples/embed"))
  end)

  it("declare no constant or option that no C test uses", function()
    local names = {}
    for _, header in ipairs(library.headers) do
      local text = shell.read(host .. "/" .. header):gsub("/%*.-%*/", "")
      for name in text:gmatch "\n  (ISOLUA_[%w_]+)%f[ ,\n]" do names[#names + 1] = name end
      for body in text:gmatch "\ntypedef struct [%w_]*options (%b{})" do
        for name in body:gmatch "([%w_]+)%f[,;]" do names[#names + 1] = name end
      end
    end
    assert.is_true(#names > 60)
    assert.same({}, missing(names, words_in "spec/c"))
  end)
end)
