--- Futures of several futures.
-- @module isolate.futures
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"

local M = {}

--- The list, checked: misuse raises at the line that called `who`.
local function check(list, who)
  if type(list) ~= "table" then
    error(("bad argument #1 to '%s' (list of futures expected, got %s)"):format(who, type(list)), 3)
  end
  for key in pairs(list) do
    if math.type(key) ~= "integer" or key < 1 or key > #list then
      error(("bad argument #1 to '%s' (a list of futures expected, but it has a field '%s')")
        :format(who, tostring(key)), 3)
    end
  end
  for i = 1, #list do
    if not core.is_future(list[i]) then
      error(("bad argument #1 to '%s' (item %d is no future but a %s)"):format(
        who, i, type(list[i])), 3)
    end
  end
  return list
end

-- Futures that are still to be cancelled while one call of cancel_all is at it: cancelling one that
-- is made of others adds those, so that any depth of them takes no stack.
local waiting

local function cancel_all(list, reason)
  if waiting then
    for _, future in ipairs(list) do waiting[#waiting + 1] = { future, reason } end
    return
  end
  waiting = {}
  for _, future in ipairs(list) do waiting[#waiting + 1] = { future, reason } end
  while #waiting > 0 do
    local item = table.remove(waiting)
    item[1]:cancel(item[2])
  end
  waiting = nil
end

-- The lists of futures of several, by these.
local members = setmetatable({}, { __mode = "k" })

--- The futures that the future with that id was made of.
-- @tparam integer id
-- @treturn ?{future,...} nil: it is not one of several
function M.members(id)
  for future, list in pairs(members) do
    if future.id == id then return list end
  end
end

--- A future whose cancelling cancels those of the list.
local function over(list)
  local future, settle
  future, settle = core.promise(function(reason)
    local done = settle(nil, false, core.error(core.CANCELLED, reason))
    cancel_all(list, reason)
    return done
  end)
  members[future] = list
  return future, settle
end

--- A future of the list of first results. It fails as soon as one fails, and cancels the rest.
-- @function isolate.all
-- @tparam {future,...} list
-- @treturn future
-- @usage local pages = isolate.all{ isolate.run(load, 1), isolate.run(load, 2) }:await()
function M.all(list)
  check(list, "all")
  local future, settle = over(list)
  local results, left = {}, #list
  for i, member in ipairs(list) do
    member:on_done(function(ok, value)
      if not ok then
        if settle(member:traceback(), false, value) then cancel_all(list, "another one failed") end
        return
      end
      results[i] = value
      left = left - 1
      if left == 0 then settle(nil, true, results) end
    end)
  end
  if left == 0 then settle(nil, true, results) end
  return future
end

--- A future of the first of the list to end, with its results or its error. Cancels the rest.
-- @function isolate.race
-- @tparam {future,...} list at least one
-- @treturn future
-- @usage local answer = isolate.race{ isolate.run(ask, "a"), isolate.run(ask, "b") }:await()
function M.race(list)
  check(list, "race")
  if #list == 0 then
    error("bad argument #1 to 'race' (a list of at least one future expected)", 2)
  end
  local future, settle = over(list)
  for _, member in ipairs(list) do
    member:on_done(function(...)
      if settle(member:traceback(), ...) then cancel_all(list, "another one was first") end
    end)
  end
  return future
end

--- Iterates over futures in the order in which they end.
-- @function isolate.as_completed
-- @tparam {future,...} list
-- @return an iterator: place in the list, then true and the results, or false and the error
-- @usage for i, ok, value in isolate.as_completed(list) do print(i, ok, value) end
function M.as_completed(list)
  check(list, "as_completed")
  local ready, first, last, left = {}, 1, 0, #list
  local pending = {} -- those that were not given out
  local wake
  for i, member in ipairs(list) do
    pending[i] = member
    member:on_done(function(...)
      last = last + 1
      ready[last] = table.pack(i, ...)
      if wake then
        wake(nil, true)
        wake = nil
      end
    end)
  end
  return function()
    if left == 0 then return nil end
    if first > last then
      local future
      future, wake = core.promise()
      members[future] = list
      future:await()
    end
    local item = ready[first]
    ready[first] = nil
    first, left = first + 1, left - 1
    pending[item[1]] = nil
    return table.unpack(item, 1, item.n)
  end, nil, nil, setmetatable({}, { __close = function() -- their errors are nobody's
    for _, member in pairs(pending) do core.overlook(member) end
  end })
end

return M
