--- Progress of a loop, on stderr.
-- @module isolate.progress
-- SPDX-License-Identifier: MIT
local closing = require "isolate.closing"
local core = require "isolate.core"

local M = {}

-- Seconds between two drawings: of the line of a terminal, and of lines elsewhere.
local REDRAW, LINES = 0.1, 5

local function width_of(text)
  return utf8 and utf8.len(text) or #text
end

-- No more than the first `n` characters.
local function cut(text, n)
  if width_of(text) <= n then return text end
  local stop = utf8 and utf8.len(text) and utf8.offset(text, n + 1) or n + 1
  return text:sub(1, stop - 1)
end

local function time_text(seconds)
  if not (seconds < 360000) then return "long" end -- luacheck: ignore 581
  local s = math.floor(seconds + 0.5)
  if s < 60 then return ("%ds"):format(s) end
  if s < 3600 then return ("%dm%02ds"):format(s // 60, s % 60) end
  return ("%dh%02dm"):format(s // 3600, s % 3600 // 60)
end

local function rate_text(rate)
  if rate >= 1e6 then return ("%.1fM/s"):format(rate / 1e6) end
  if rate >= 1e4 then return ("%.1fk/s"):format(rate / 1e3) end
  return ("%.1f/s"):format(rate)
end

-- What is said behind the percentage; `over`: the loop has ended.
local function numbers(self, over)
  local elapsed = math.max(core.now() - self.begun, 1e-9)
  local rate = self.count / elapsed
  local text = rate_text(rate)
  if over then
    return ("%s in %s"):format(text, elapsed < 9.95 and ("%.1fs"):format(elapsed)
      or time_text(elapsed))
  end
  if self.total and rate > 0 then
    return ("%s %s left"):format(text, time_text(math.max(self.total - self.count, 0) / rate))
  end
  return ("%s %s"):format(text, time_text(elapsed))
end

local function share(self)
  if self.total == 0 then return 1 end
  return math.min(self.count / self.total, 1)
end

local function count_text(self)
  return self.total and ("%d/%d"):format(self.count, self.total) or ("%d"):format(self.count)
end

local function line(self, over)
  local parts = { count_text(self) }
  if self.total then parts[2] = ("%d%%"):format(math.floor(share(self) * 100)) end
  parts[#parts + 1] = numbers(self, over)
  return (self.label and self.label .. ": " or "") .. table.concat(parts, " ")
end

-- The same with a bar, when there is room for one.
local function bar(self, over, columns)
  local right = count_text(self) .. " " .. numbers(self, over)
  local left = self.label and self.label .. " " or ""
  if not self.total then return cut(left .. right, columns) end
  left = ("%s%3d%% "):format(left, math.floor(share(self) * 100))
  local room = columns - width_of(left) - #right - 3
  if room < 5 then return cut(left .. right, columns) end
  local full = math.floor(share(self) * room)
  return ("%s|%s%s| %s"):format(left, ("#"):rep(full), (" "):rep(room - full), right)
end

local function draw(self, over)
  if not self.terminal then
    io.stderr:write(line(self, over), "\n")
    return
  end
  local columns = math.max((core.terminal() or 80) - 1, 1) -- in the last one some would wrap
  local text = bar(self, over, columns)
  local width = width_of(text)
  local rest = (" "):rep(math.min(self.drawn, columns) - width)
  self.drawn = width
  io.stderr:write("\r" .. text .. rest .. (over and "\n" or ""))
end

-- It looks at the clock for every item: items may come in bursts, and a slow one after many.
local function iterator(self, fn)
  local count, now = -1, core.now
  self.settle_count = function() self.count = math.max(count, 0) end
  return function(state, control)
    count = count + 1
    if now() >= self.due and count > 0 then
      self.count = count
      draw(self)
      self.due = now() + self.interval
    end
    return fn(state, control)
  end
end

-- The end of the loop, whichever it is. What the iterator has to close gets the error, too.
local end_meta = { __close = function(self, err)
  self:settle_count()
  draw(self, true)
  closing.close(self.inner, err)
end }

local function list_next(list, i)
  i = i + 1
  local v = list[i]
  if v ~= nil then return i, v end
end

local function is_callable(v)
  if type(v) == "function" then return true end
  local meta = getmetatable(v)
  return type(meta) == "table" and meta.__call ~= nil
end

-- The length of a list, or nil, and the values of a generic `for`; or nothing.
local function loop_of(v, ...)
  if is_callable(v) then return nil, v, ... end
  local kind = getmetatable(v)
  if kind == "isolate.stream" then return nil, v:values() end
  if type(v) == "table" or kind == "isolate.frozen" then return #v, list_next, v, 0 end
end

local KNOWN = { total = true, label = true, interval = true }

local function check_options(opts)
  if opts[1] ~= nil then
    error("bad argument #1 to 'progress' (options expected before what is looped over, got a list)",
      3)
  end
  for key in pairs(opts) do
    if not KNOWN[key] then
      error(("unknown option '%s' (known: interval, label, total)"):format(tostring(key)), 3)
    end
  end
  local total, label, interval = opts.total, opts.label, opts.interval
  if total ~= nil and (type(total) ~= "number" or total ~= total or total < 0
      or not math.tointeger(total)) then
    error(("option 'total': an integer of 0 or more expected, got %s"):format(
      type(total) == "number" and tostring(total) or type(total)), 3)
  end
  if label ~= nil and type(label) ~= "string" then
    error(("option 'label': a string expected, got %s"):format(type(label)), 3)
  end
  if interval ~= nil and (type(interval) ~= "number" or interval ~= interval or interval < 0) then
    error("option 'interval': a number of seconds, 0 or more, expected", 3)
  end
end

-- Is the first of these arguments a table of options?
local function has_options(n, v)
  if type(v) ~= "table" or getmetatable(v) == "isolate.stream" or is_callable(v) then
    return false
  end
  return n > 1 or (v[1] == nil and next(v) ~= nil)
end

local function wrap(opts, length, fn, state, control, inner)
  if not io or (os and (os.getenv "NO_PROGRESS" or "") ~= "") then
    return fn, state, control, inner
  end
  local terminal = core.terminal() ~= nil
  local now = core.now()
  local self = setmetatable({ total = math.tointeger(opts.total or length), count = 0,
    label = opts.label and opts.label:gsub("%c", " "), interval = opts.interval
      or (terminal and REDRAW or LINES), terminal = terminal, begun = now, due = now,
    drawn = 0, inner = inner }, end_meta)
  if terminal then draw(self) end
  self.due = now + self.interval
  return iterator(self, fn), state, control, self
end

--- Passes on what a generic `for` takes, and shows on stderr how far the loop is: as a bar on a
-- terminal, elsewhere as a line every few seconds and at the end. Silent when the environment
-- variable NO_PROGRESS is set.
-- @function isolate.progress
-- @tparam[opt] table opts `total`, how many items there are; `label`; `interval`, the least seconds
-- between two drawings (0.1 on a terminal, 5 elsewhere)
-- @param iter... what a `for` takes; or a list, whose indices and values it gives; or a stream
-- @return what a `for` takes
-- @usage for line in isolate.progress({ label = "lines" }, io.lines "names.txt") do print(line) end
function M.progress(...)
  local first = ...
  if core.is_module(first) then
    error("isolate's functions are called with a dot, not a colon", 2)
  end
  local n = select("#", ...)
  local opts, at = {}, 1
  if has_options(n, first) then
    opts, at = first, 2
    check_options(opts)
  end
  local length, fn, state, control, inner = loop_of(select(at, ...))
  if length == 0 and type(state) == "table" and next(state) ~= nil and next(state) ~= "n" then
    error(("bad argument #%d to 'progress' (a list or an iterator expected, but the table has " ..
      "the field '%s' and no items: pairs(t) loops over fields)"):format(at, tostring(next(state))),
      2)
  end
  if fn == nil then
    error(("bad argument #%d to 'progress' (list, iterator or stream expected, got %s)"):format(at,
      n < at and "no value" or type((select(at, ...)))), 2)
  end
  return wrap(opts, length, fn, state, control, inner)
end

return M
