-- rock_spec.lua - the rock: built by LuaRocks into a tree of its own, used from stock Lua.
-- SPDX-License-Identifier: MIT

local function quote(s)
  return "'" .. s:gsub("'", "'\\''") .. "'"
end

-- The output of a command, and whether it ended well.
local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read("a")
  return output, pipe:close() == true
end

describe("the rock", function()
  local tree, log, built

  -- LuaRocks leaves object files where the sources are: it gets a copy of them.
  lazy_setup(function()
    if os.getenv "ISOLUA_SANITIZER" then return end
    tree = run("mktemp -d"):gsub("%s+$", "")
    local rocks = os.getenv "LUAROCKS" or "luarocks-5.4"
    log, built = run(("cp -R host bindings scripts isolua-scm-1.rockspec %s && cd %s && "
      .. "env -u MAKEFLAGS -u CC -u LUA_PATH -u LUA_CPATH %s make --tree=%s/rocks"):format(
      quote(tree), quote(tree), rocks, quote(tree)))
  end)

  lazy_teardown(function()
    if tree then os.execute("rm -rf " .. quote(tree)) end
  end)

  local function lua(code)
    local env = ("env -u LUA_INIT LUA_PATH='%s/rocks/share/lua/5.4/?.lua'"
      .. " LUA_CPATH='%s/rocks/lib/lua/5.4/?.so;;'"):format(tree, tree)
    return run(env .. " timeout 30 lua5.4 -e " .. quote(code))
  end

  local function it_unsanitized(name, test)
    it(name, function()
      if not tree then return pending "built without a sanitizer" end
      assert.is_true(built, log)
      test()
    end)
  end

  it_unsanitized("runs a closure in an isolate of stock Lua", function()
    local output = lua [[
      local isolate = require "isolate"
      local half = 21
      print(isolate.run(function() return half * 2 end):await())]]
    assert.equal("42\n", output)
  end)

  it_unsanitized("does not link Lua", function()
    local output, ok = run("readelf -d " .. quote(tree .. "/rocks/lib/lua/5.4/isolate/core.so"))
    assert.is_true(ok, output)
    assert.matches("Dynamic section", output, 1, true)
    assert.not_matches("NEEDED[^\n]*lua", output)
  end)
end)
