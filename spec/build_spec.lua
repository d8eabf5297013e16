-- build_spec.lua - what the Makefile and the rockspec promise about the build.
-- SPDX-License-Identifier: MIT

local function lines_of(command)
  local pipe = assert(io.popen(command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  local ok = pipe:close()
  assert.is_true(ok, command)
  return lines
end

local function sorted_keys(set)
  local keys = {}
  for key in pairs(set) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function rockspec()
  local env = {}
  assert(loadfile("isolua-scm-1.rockspec", "t", env))()
  return env
end

describe("isolua-scm-1.rockspec", function()
  it("lists every C source of the module", function()
    local expected = lines_of("ls host/*.c bindings/*.c"
      .. " | grep -vx -e host/main.c -e 'host/repl.*' -e bindings/lopen.c | LC_ALL=C sort")
    local sources = rockspec().build.modules["isolate.core"].sources
    table.sort(sources)
    assert.same(expected, sources, "make rockspec")
  end)

  it("lists every script under the name it is required by", function()
    local expected = { ["isolate.core"] = true }
    for _, path in ipairs(lines_of("cd scripts && find . -name '*.lua'")) do
      local name = path:sub(3, -5):gsub("/init$", ""):gsub("/", ".")
      expected[name] = "scripts/" .. path:sub(3)
    end
    local modules = rockspec().build.modules
    modules["isolate.core"] = true
    assert.same(sorted_keys(expected), sorted_keys(modules), "make rockspec")
    assert.same(expected, modules)
  end)
end)

describe("make", function()
  it("does nothing when everything is built", function()
    if os.getenv "ISOLUA_SANITIZER" then return pending "built with a sanitizer" end
    local build = os.getenv "ISOLUA_BUILD"
    if not build then return pending "needs `make test`" end
    -- The settings of the make that runs the tests come by the environment.
    assert.is_true(os.execute("make --no-print-directory -q all"))
  end)

  it("env prints what makes stock Lua find the module", function()
    local build = os.getenv "ISOLUA_BUILD" or "build"
    local env = ("env -u MAKEFLAGS make -s BUILD='%s' env"):format(build)
    local text = table.concat(lines_of(env), "\n")
    assert.matches("export LUA_PATH=", text, 1, true)
    assert.matches("export LUA_CPATH=", text, 1, true)
    assert.matches("export PATH=", text, 1, true)
    local found = lines_of(('eval "$(%s)"; '):format(env)
      .. [[lua5.4 -e 'print(package.searchpath("isolate", package.path))
                      print(package.searchpath("isolate.core", package.cpath))']])
    assert.matches(build .. "/lua/isolate.lua", found[1], 1, true)
    assert.matches(build .. "/lua/isolate/core.so", found[2], 1, true)
  end)

  it("help lists the targets", function()
    local text = table.concat(lines_of("env -u MAKEFLAGS make -s help"), "\n")
    local targets = "all,amalgamation,run,test,bench,lint,asan tsan ubsan,valgrind,env,install"
    for target in targets:gmatch("[^,]+") do
      assert.matches("make " .. target, text, 1, true)
    end
  end)
end)
