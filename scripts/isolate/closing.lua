--- Closing by hand what a generic `for` would close.
-- @module isolate.closing
-- SPDX-License-Identifier: MIT
local M = {}

local function raise_in(value, err)
  local _ <close> = value
  error(err, 0)
end

-- Closes a value (nil or false: nothing) in a `__close` that was given `err`, and raises what comes
-- instead of that. Its metatable may be locked: Lua closes it.
function M.close(value, err)
  if err == nil then
    local _ <close> = value
  elseif value then
    local _, after = pcall(raise_in, value, err)
    if not rawequal(after, err) then error(after, 0) end
  end
end

return M
