-- mod_init.lua - a module for the option `init`: what it does is seen in the globals.
-- SPDX-License-Identifier: MIT

_G.spec_initialised = (rawget(_G, "spec_initialised") or 0) + 1

return {}
