-- mod_endless.lua - a module whose body never ends, but says that it runs.
-- SPDX-License-Identifier: MIT
spec_running:send "running" -- luacheck: ignore 113
while true do end
