std = "lua54"
max_line_length = 100
files["spec"] = { std = "+busted" }
files["scripts/isolate/repl"] = { ignore = { "211/_ENV" } } -- it is, by globals
files["scripts/isolate/repl.lua"] = { ignore = { "211/_ENV" } }
files["*.rockspec"] = { std = "rockspec" }
include_files = { "**/*.lua", "*.rockspec" }
