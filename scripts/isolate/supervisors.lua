--- Supervisors: isolates that start others, and start them again when they fail.
--
-- A supervisor is an isolate of its own, which runs `serve`: it starts the children, hears of their
-- ends at a port, and of what handles ask at its inbox. A handle is a table with that isolate's
-- handle, and can be sent.
-- @module isolate.supervisors
-- SPDX-License-Identifier: MIT
local core = require "isolate.core"

local M = {}

local NAME = "isolate.supervisor"
local methods = {}
local meta = { __index = methods, __name = NAME, __metatable = NAME }

-- -- In the isolate of the supervisor -----------------------------------------------------------

local function tell(self, event)
  event.supervisor = self.name
  if self.on_event then self.on_event:send(event, 0) end
end

local function log(self, text, ...)
  if not self.on_event then io.stderr:write(text:format(...), "\n") end
end

local function start(self, child)
  local opts = {}
  for k, v in pairs(child.options) do opts[k] = v end
  opts.name = child.name
  opts.on_exit, opts.on_error = opts.on_exit or self.tx, opts.on_error or self.tx
  local args = child.args
  child.started = false
  core.starter(child, true)(opts, child.fn, table.unpack(args, 1, args.n or #args))
  child.isolate = child.started
  if opts.on_exit ~= self.tx then child.isolate:on_exit(self.tx) end
  self.by_id[child.isolate.id] = child
  child.running = true
  tell(self, { event = "started", child = child.name, id = child.isolate.id,
    restarts = child.restarts })
end

-- Its end is expected from here on.
local function stop_child(self, child)
  if not child.running then return end
  child.running = false
  self.by_id[child.isolate.id] = nil
  child.isolate:kill { grace = child.shutdown }
  core.select { child.isolate }
  tell(self, { event = "stopped", child = child.name, id = child.isolate.id })
end

local function stop_from(self, first)
  for i = #self.children, first, -1 do stop_child(self, self.children[i]) end
end

local function give_up(self, child, reason)
  stop_from(self, 1)
  tell(self, { event = "gave up", child = child.name, reason = reason })
  local err = core.error(core.CANCELLED, ("supervisor '%s' gave up: more than %d restart%s in "
    .. "%g s, the last one for child '%s': %s"):format(self.name, self.intensity,
    self.intensity == 1 and "" or "s", self.period, child.name, reason))
  err.code, err.isolate, err.child, err.reason = "restarts", self.name, child.name, reason
  error(err, 0)
end

-- Is one more restart within the bounds?
local function may_restart(self)
  local now, recent = core.now(), {}
  for _, at in ipairs(self.restarts) do
    if now - at < self.period then recent[#recent + 1] = at end
  end
  recent[#recent + 1] = now
  self.restarts = recent
  return #recent <= self.intensity
end

-- Starts the children from `first` to `last` that are to be: not those for one time only.
local function start_again(self, first, last)
  for i = first, last do
    local child = self.children[i]
    if i == self.failed or child.restart ~= "temporary" then
      child.restarts = child.restarts + 1
      start(self, child)
    end
  end
end

-- Starts the child, and those that its strategy has to do with, until it succeeds or is too much.
local function restart(self, child, reason)
  local last = #self.children
  local first = self.strategy == "one_for_all" and 1 or child.index
  if self.strategy == "one_for_one" then last = child.index end
  repeat
    if not may_restart(self) then give_up(self, child, reason) end
    for i = last, first, -1 do stop_child(self, self.children[i]) end
    local ok, err = pcall(start_again, self, first, last)
    if not ok then reason = tostring(err) end
  until ok
end

-- Why a child has ended; some codes say less than their error does.
local function reason_of(child, message)
  local reason = message.reason
  if reason == "not_sendable" or reason == "spawn" then
    local _, err = child.isolate:join(0)
    if err ~= nil then return tostring(err) end
  end
  return reason or message.status
end

-- A child has ended by itself.
local function ended(self, child, message)
  local normal = message.status == "done"
  local reason = reason_of(child, message)
  child.running = false
  self.by_id[message.id] = nil
  tell(self, { event = "ended", child = child.name, id = message.id, status = message.status,
    reason = message.reason, traceback = child.traceback })
  child.traceback = nil
  local again = child.restart == "permanent" or (child.restart == "transient" and not normal)
  if not normal then
    log(self, "supervisor '%s': child '%s' failed: %s", self.name, child.name, reason)
  end
  if again then restart(self, child, reason) end
end

local function hear(self, message)
  local child = self.by_id[message.id]
  if not child then return end -- it was stopped
  if message.status then
    ended(self, child, message)
  else
    child.traceback = message.traceback
  end
end

local asked = {}

function asked.children(self)
  local list = {}
  for i, child in ipairs(self.children) do
    list[i] = { name = child.name, id = child.isolate.id, status = child.isolate:status(),
      restarts = child.restarts, isolate = child.isolate }
  end
  return list
end

function asked.child(self, name)
  local child = self.by_name[name]
  return { isolate = child.running and child.isolate or nil }
end

function asked.restart(self, name)
  local child = self.by_name[name]
  stop_child(self, child)
  child.restarts = child.restarts + 1
  local ok, err = pcall(start, self, child)
  if not ok then restart(self, child, tostring(err)) end
  return { isolate = child.isolate }
end

-- False: it is to stop. Whoever has its isolate's handle can send it anything.
local function answer(self, message)
  if message == nil then return false end -- nobody has a handle any more
  if type(message) ~= "table" then return true end
  if message.op == "stop" then return false end
  local fn = asked[message.op]
  local known = message.op == "children" or self.by_name[message.name]
  if fn and known and getmetatable(message.reply) == "isolate.sender" then
    message.reply:send(fn(self, message.name), 0)
  end
  return true
end

-- However the supervisor ends, its children do: those that are left were not stopped in order.
local guard_meta = { __close = function(guard)
  local self = guard.self
  local left = {}
  for i = #self.children, 1, -1 do
    local child = self.children[i]
    local iso = child.started -- also when a kill came right after its start
    if iso then
      iso:kill { grace = math.min(child.shutdown, 0.1) }
      left[#left + 1] = iso
    end
  end
  for _, iso in ipairs(left) do core.select { iso } end
end }

-- The body of a supervisor.
function M.serve(self)
  local _ <close> = setmetatable({ self = self }, guard_meta)
  self.rx, self.tx = core.new_port(-1, 0)
  self.by_id, self.by_name, self.restarts = {}, {}, {}
  for i, child in ipairs(self.children) do
    self.by_name[child.name] = child
    child.index, child.restarts = i, 0
  end
  for _, child in ipairs(self.children) do start(self, child) end
  local inbox = core.inbox()
  repeat
    local go_on = true
    local thing, message = core.select { inbox, self.rx }
    if thing == inbox then go_on = answer(self, message) else hear(self, message) end
  until not go_on
  stop_from(self, 1)
end

-- -- Handles ------------------------------------------------------------------------------------

local function check_self(self, who)
  if type(self) ~= "table" or getmetatable(self) ~= NAME then
    error(("bad argument #1 to '%s' (%s expected, got %s); call it with a colon, sup:%s()")
      :format(who, NAME, type(self), who), 3)
  end
end

local function check_name(self, who, name)
  if type(name) ~= "string" then
    error(("bad argument #1 to '%s' (name of a child expected, got %s)"):format(who, type(name)), 3)
  end
  for _, known in ipairs(self.names) do
    if known == name then return end
  end
  error(("supervisor '%s' has no child '%s' (it has: %s)"):format(self.name, name,
    table.concat(self.names, ", ")), 3)
end

local function check_timeout(who, timeout)
  if timeout == nil then return end
  if type(timeout) ~= "number" or timeout ~= timeout or timeout < 0 then
    error(("bad argument #1 to '%s' (a timeout is a number of seconds, 0 or more, got %s)")
      :format(who, type(timeout) == "number" and tostring(timeout) or type(timeout)), 3)
  end
end

-- What the supervisor answers; or nil and "closed".
local function ask(self, op, name)
  local rx <close>, tx = core.new_port(-1, 0)
  self.isolate:send { op = op, name = name, reply = tx }
  tx:close()
  return rx:receive()
end

--- The children in their order.
-- @function supervisor:children
-- @treturn[1] {table,...} each with `name`, `id`, `status`, `restarts` and `isolate`
-- @return[2] nil and "closed": the supervisor has ended
function methods:children()
  check_self(self, "children")
  return ask(self, "children")
end

--- The isolate that a child is now.
-- @function supervisor:child
-- @tparam string name
-- @treturn[1] isolate
-- @return[2] nil and "closed": it has ended for good, or the supervisor has
-- @raise when there is no child of that name
function methods:child(name)
  check_self(self, "child")
  check_name(self, "child", name)
  local found = ask(self, "child", name)
  if not found or not found.isolate then return nil, "closed" end
  return found.isolate
end

--- Stops a child, if it has not ended, and starts it again. That is no failure.
-- @function supervisor:restart
-- @tparam string name
-- @treturn[1] isolate the new one
-- @return[2] nil and "closed"
-- @raise when there is no child of that name
function methods:restart(name)
  check_self(self, "restart")
  check_name(self, "restart", name)
  local found = ask(self, "restart", name)
  if not found then return nil, "closed" end
  return found.isolate
end

local function join(self, timeout)
  local ok, err = self.isolate:join(timeout)
  if ok == false then self.seen = true end
  return ok, err
end

--- Waits until the supervisor has ended.
-- @function supervisor:join
-- @tparam[opt] number timeout seconds
-- @return[1] true: it was stopped
-- @return[2] false and the error: it gave up (code `restarts`), or was killed
-- @return[3] nil and "timeout"
function methods:join(timeout)
  check_self(self, "join")
  check_timeout("join", timeout)
  return join(self, timeout)
end

--- Stops the children in reverse order, and then the supervisor, and waits for that.
-- @function supervisor:stop
-- @tparam[opt] number timeout seconds to wait at most; the stop goes on after that
-- @return as `join`
function methods:stop(timeout)
  check_self(self, "stop")
  check_timeout("stop", timeout)
  self.isolate:send { op = "stop" }
  return join(self, timeout)
end

-- A failure that nobody has heard of is not lost.
function meta.__close(self, err)
  local seen = self.seen
  self.isolate:send { op = "stop" }
  local ok, failure = join(self)
  if not ok and not seen and err == nil then error(failure, 0) end
end

function meta.__eq(a, b)
  return getmetatable(a) == NAME and getmetatable(b) == NAME and a.isolate == b.isolate
end

function meta.__tostring(self)
  return ("%s: %s (%d)"):format(NAME, self.name, self.id)
end

local function handle(state)
  return setmetatable({ isolate = state.isolate, names = state.names, name = state.isolate.name,
    id = state.isolate.id, seen = false }, meta)
end

M.unpack = handle

function meta.__isolate_pack(self)
  return "isolate.supervisors", "unpack", { isolate = self.isolate, names = self.names }
end

-- -- Making one ---------------------------------------------------------------------------------

local STRATEGIES = { one_for_one = true, one_for_all = true, rest_for_one = true }
local RESTARTS = { permanent = true, transient = true, temporary = true }
local KNOWN = { strategy = true, intensity = true, period = true, children = true, name = true,
  on_event = true }
local OWN = { name = true, fn = true, args = true, restart = true, shutdown = true }

local function is_seconds(v, least)
  return type(v) == "number" and v == v and v >= least
end

-- What is wrong with the description of a child; nil: nothing.
local function child_problem(child, i, names)
  if type(child) ~= "table" then
    return ("child %d: a table expected, got %s"):format(i, type(child))
  end
  if type(child.name) ~= "string" then
    return ("child %d: 'name': a string expected, got %s"):format(i, type(child.name))
  end
  if child.name:find("\0", 1, true) then
    return ("child %d: 'name': a string without zeros expected"):format(i)
  end
  local who = ("child '%s': "):format(child.name)
  if names[child.name] then return who .. "there are two of this name" end
  names[child.name] = true
  if type(child.fn) ~= "function" then
    return who .. ("'fn': a function expected, got %s"):format(type(child.fn))
  end
  if child.args ~= nil and type(child.args) ~= "table" then
    return who .. ("'args': a list of arguments expected, got %s"):format(type(child.args))
  end
  if child.restart ~= nil and not RESTARTS[child.restart] then
    return who .. ("'restart': unknown value '%s' (known: permanent, transient, temporary)")
      :format(tostring(child.restart))
  end
  if child.shutdown ~= nil and not is_seconds(child.shutdown, 0) then
    return who .. "'shutdown': a number of seconds, 0 or more, expected"
  end
end

local function children_problem(list)
  if type(list) ~= "table" then
    return ("option 'children': a list expected, got %s"):format(type(list))
  end
  for key in pairs(list) do
    if math.type(key) ~= "integer" or key < 1 or key > #list then
      return ("option 'children': a list expected, but it has a field '%s'; a child's name is its "
        .. "field 'name'"):format(tostring(key))
    end
  end
  local names = {}
  for i = 1, #list do
    local problem = child_problem(list[i], i, names)
    if problem then return problem end
  end
end

local function problem_of(spec)
  if type(spec) ~= "table" then
    return ("bad argument #1 to 'supervisor' (table of options expected, got %s)"):format(
      type(spec))
  end
  if core.is_module(spec) then return "isolate's functions are called with a dot, not a colon" end
  for key in pairs(spec) do
    if not KNOWN[key] then
      return ("unknown option '%s' (known: children, intensity, name, on_event, period, strategy)")
        :format(tostring(key))
    end
  end
  if spec.name ~= nil and type(spec.name) ~= "string" then
    return ("option 'name': a string expected, got %s"):format(type(spec.name))
  end
  if spec.name and spec.name:find("\0", 1, true) then
    return "option 'name': a string without zeros expected"
  end
  if spec.strategy ~= nil and not STRATEGIES[spec.strategy] then
    return ("option 'strategy': unknown value '%s' (known: one_for_one, one_for_all, rest_for_one)")
      :format(tostring(spec.strategy))
  end
  if spec.intensity ~= nil and (math.type(spec.intensity) ~= "integer" or spec.intensity < 0) then
    return "option 'intensity': an integer of 0 or more expected"
  end
  if spec.period ~= nil and not (is_seconds(spec.period, 0) and spec.period > 0) then
    return "option 'period': more than 0 seconds expected"
  end
  if spec.on_event ~= nil and getmetatable(spec.on_event) ~= "isolate.sender" then
    return ("option 'on_event': a sender expected, got %s"):format(type(spec.on_event))
  end
  return children_problem(spec.children)
end

-- The child as the supervisor keeps it; or nil and what is wrong with it.
local function description(child)
  local options = {}
  for k, v in pairs(child) do
    if not OWN[k] then options[k] = v end
  end
  local who = ("child '%s': "):format(child.name)
  local ok, why = pcall(core.check_options, options)
  if not ok then return nil, who .. why end
  local d = { name = child.name, fn = child.fn, args = child.args or {}, options = options,
    restart = child.restart or "permanent", shutdown = child.shutdown or 5 }
  for _, part in ipairs { "fn", "args", "options" } do
    ok, why = core.sendable(d[part])
    if not ok then return nil, ("%s'%s': %s"):format(who, part, why.message) end
  end
  return d
end

--- Starts a supervisor: an isolate that starts others, its children, and starts them again when
-- they end as they should not. When that happens too often it stops them all, and fails itself.
-- @function isolate.supervisor
-- @tparam table opts `children`, a list of tables: `name`, `fn`, `args`; `restart` (`"permanent"`,
-- `"transient"` or `"temporary"`); `shutdown`, the grace in seconds (5); those of `isolate.run`.
-- `strategy` (`"one_for_one"`, `"one_for_all"` or `"rest_for_one"`); `intensity` (3) restarts
-- within `period` (5 seconds) are allowed; `name`; `on_event`, a sender that is told what happens
-- @treturn supervisor
-- @raise not_sendable
-- @usage local sup <close> = isolate.supervisor { children = { { name = "clock", fn = tick } } }
function M.supervisor(opts)
  local problem = problem_of(opts)
  if problem then error(problem, 2) end
  local self = { name = opts.name or "supervisor", strategy = opts.strategy or "one_for_one",
    intensity = opts.intensity or 3, period = opts.period or 5, on_event = opts.on_event,
    children = {} }
  local names = {}
  for i, child in ipairs(opts.children) do
    local d, why = description(child)
    if not d then error(why, 2) end
    self.children[i], names[i] = d, d.name
  end
  local errors, errors_tx
  if self.on_event then errors, errors_tx = core.new_port(-1, 0) end -- who hears events hears of it
  local iso = core.spawn({ name = self.name, on_error = errors_tx }, M.serve, self)
  local sup = handle { isolate = iso, names = names }
  sup.errors = errors
  return sup
end

return M
