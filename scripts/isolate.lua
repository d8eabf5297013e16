--- Isolates for Lua 5.4: functions that run in Lua states and threads of their own.
-- @module isolate
-- SPDX-License-Identifier: MIT
return require("isolate.core").module()
