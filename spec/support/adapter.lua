-- adapter.lua - runs bodies of tests for adapters to other event loops.
-- Once it is loaded an adapter stays,
-- and a state that has asked for its descriptor knows no deadlocks any more: so each body runs in a
-- process of its own, as main, and in an isolate of its own.
-- SPDX-License-Identifier: MIT

local assert = require "luassert"
local isolate = require "isolate"
local live = require "spec.support.live"
local lua = require "spec.support.lua"
local settle = require "spec.support.settle"

local M = {}

-- What bodies find: assertions, processor time, descriptors, counts of what is alive.
local prelude = [[
  local isolate, core, lfs = require "isolate", require "isolate.core", require "lfs"
  local function equal(expected, got)
    if expected ~= got then
      error(("expected %s, got %s"):format(tostring(expected), tostring(got)), 2)
    end
  end
  local function descriptors()
    local n = 0
    for _ in lfs.dir "/proc/self/fd" do n = n + 1 end
    return n
  end
  local function thread_cpu()
    local file = assert(io.open "/proc/thread-self/schedstat")
    local ns = file:read "n"
    file:close()
    return ns / 1e9
  end
  local SCALE, LIMIT = ]]

local function source(text)
  return prelude .. (settle.sanitized and "0.1, 60 " or "1, 10 ") .. "do " .. text .. "\nend\n"
end

--- The body runs as main of a fresh process, and ends with it.
function M.as_main(text)
  local result = lua.source(source(text) .. "print 'done'")
  assert.equal("", result.stderr)
  assert.equal("done\n", result.stdout)
  assert.equal(0, result.status)
end

-- The watchdog's thread, which the first kill starts, stays.
local warm

local function count()
  warm = warm or isolate.run({ timeout = settle.limit }, function() end):await() or true
  return live.count()
end

--- The body runs in an isolate, of which nothing is left.
function M.in_isolate(text)
  local before = count()
  settle.await(isolate.run({ name = "body" }, function(chunk)
    return load(chunk, "=body")()
  end, source(text)))
  assert.equal("", live.left_since(before))
end

--- Two tests of one body, for the `it` of a spec.
function M.both(it)
  return function(name, text)
    it(name, function() M.as_main(text) end)
    it(name .. ", in an isolate", function() M.in_isolate(text) end)
  end
end

--- Starts an isolate that runs `text` with a sender, and kills it once that has sent something.
-- `options`: of the kill.
function M.kill(text, options)
  local before = count()
  do
    local rx, tx = isolate.port()
    local iso = isolate.spawn({ name = "victim" }, function(chunk, to)
      load(chunk, "=victim")(to)
    end, text, tx)
    assert.equal("there", rx:receive(settle.limit))
    iso:kill(options)
    local ok, err = iso:join(settle.limit)
    assert.is_false(ok)
    assert.equal("killed", err.code)
  end
  assert.equal("", live.left_since(before))
end

return M
