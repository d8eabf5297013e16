-- chat.lua - isolates that know each other by name only, and talk in turns.
--
--     isolua examples/chat.lua

local isolate = require "isolate"

local conversation = {
  { from = "Ann", to = "Bob", text = "Have you seen Cleo?" },
  { from = "Bob", to = "Ann", text = "No. Shall I ask her to come?" },
  { from = "Ann", to = "Bob", text = "Yes, please." },
  { from = "Bob", to = "Cleo", text = "Ann is looking for you." },
  { from = "Cleo", to = "Ann", text = "Here I am!" },
}

-- Says the next of its lines whenever it hears something, and leaves when it has none left to say.
local function person(lines)
  local me = isolate.self().name
  for heard in isolate.inbox():messages() do
    print(("%s -> %s: %s"):format(heard.from, me, heard.text))
    local line = table.remove(lines, 1)
    if not line then return end
    isolate.find(line.to):send(line)
  end
end

-- A name holds nothing: as long as people are to be found, somebody has to keep their handles.
local people = {}
for _, name in ipairs { "Ann", "Bob", "Cleo" } do
  local lines = {}
  for _, line in ipairs(conversation) do
    if line.from == name then lines[#lines + 1] = line end
  end
  people[name] = isolate.spawn({ name = name }, person, lines)
end

people.Ann:send { from = "main", text = "You begin." }
people[conversation[#conversation].to]:join()
print "The others still listen; they leave as this script lets go of their handles."
