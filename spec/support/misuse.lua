-- misuse.lua - errors of misuse, which tell where the caller stands.
-- SPDX-License-Identifier: MIT

local assert = require "luassert"

--- A function that gives the message of the error which `fn` raises; it must have a position in the
-- spec with that name (`channel_spec`).
return function(spec)
  return function(fn)
    local ok, err = pcall(fn)
    assert.is_false(ok)
    assert.is_string(err)
    assert.matches(spec .. "%.lua:%d+: ", err)
    return err
  end
end
