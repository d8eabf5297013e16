--- Where the prompt's files of a user are.
-- @module isolate.repl.home
-- SPDX-License-Identifier: MIT
local _ENV = require("isolate.repl.own").env
local M = {}

--- The path of a file: in a directory that the environment names, or else below the user's home.
-- @tparam string variable that names it, if with an absolute path, as `XDG_STATE_HOME`
-- @tparam string fallback below the home, as `.local/state`
-- @tparam string name of the file
-- @treturn string|nil nil when neither the variable nor `HOME` is set
-- @usage home.path("XDG_STATE_HOME", ".local/state", "history")
-- -- /home/me/.local/state/isolua/history
function M.path(variable, fallback, name)
  local directory, home = os.getenv(variable), os.getenv "HOME"
  if not directory or directory:sub(1, 1) ~= "/" then
    if not home or home == "" then return nil end
    directory = home .. "/" .. fallback
  end
  return directory .. "/isolua/" .. name
end

return M
