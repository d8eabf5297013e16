-- json_decode.lua - reads and parses a JSON file in an isolate, and gets the document back as a
-- plain Lua value. Needs lua-cjson.
--
--     isolua examples/json_decode.lua [FILE]
--
-- Without a file it writes a sample to a temporary one, and parses that.

local isolate = require "isolate"
local cjson = require "cjson"

-- Runs in the isolate: the slow part. `cjson` is a captured upvalue; modules travel by name.
local function read_json(path)
  local file <close> = assert(io.open(path, "rb"))
  return cjson.decode(file:read "a")
end

local function write_sample()
  local records = {}
  for i = 1, 1000 do
    records[i] = { id = i, name = "item " .. i, value = i / 4, parent = cjson.null }
  end
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "wb"))
  file:write(cjson.encode { title = "sample", records = records })
  return path
end

local function describe(value)
  if value == cjson.null then return "null" end -- a light userdata: it arrives as it is
  if type(value) ~= "table" then return ("%s %s"):format(type(value), value) end
  if #value > 0 then return ("array of %d"):format(#value) end
  return next(value) and "object" or "empty array or object"
end

local sample = not arg[1] and write_sample()
local path = arg[1] or sample

-- `try` is `await` for those who want the error as a value: a missing file, bad JSON.
local ok, document = isolate.run(read_json, path):try()
if sample then os.remove(sample) end
if not ok then
  io.stderr:write(("error: %s\n"):format(document))
  os.exit(1)
end

print("Document: " .. describe(document))
if type(document) == "table" then
  local keys = {}
  for key in pairs(document) do
    if type(key) == "string" then keys[#keys + 1] = key end
  end
  table.sort(keys)
  for _, key in ipairs(keys) do print(("  %s: %s"):format(key, describe(document[key]))) end
end
