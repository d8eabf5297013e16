--- The chunks of a prompt, whose local variables live on from one to the next.
--
-- A chunk is compiled as the body of a function whose upvalues are the kept locals that it names,
-- joined to the variables of old. Behind each `local` statement of its top level, on the same line,
-- a call is inserted that hands over a closure with the new variables: they are kept from then on.
-- @module isolate.repl.chunk
-- SPDX-License-Identifier: MIT
local lexer = require "isolate.repl.lexer"
local _ENV = require("isolate.repl.own").env

local getupvalue, upvaluejoin = debug.getupvalue, debug.upvaluejoin

local M = {}

-- What the inserted calls call; no name that anybody would choose.
local KEEPER = "__isolua_keep"

-- Local variables that one function declares; a function of Lua has at most 200.
local GROUP = 190

-- -- Finding the statements ----------------------------------------------------------------------

local BEGINS = { ["function"] = 1, ["if"] = 1, ["do"] = 1, ["repeat"] = 1, ["end"] = -1,
  ["until"] = -1 }
local BRACKETS = { ["("] = 1, ["["] = 1, ["{"] = 1, [")"] = -1, ["]"] = -1, ["}"] = -1 }
local UNARY = { ["not"] = true, ["-"] = true, ["#"] = true, ["~"] = true }
local BINARY = {}
for op in ("+ - * / // % ^ .. < <= > >= == ~= & | ~ << >> and or"):gmatch "%S+" do
  BINARY[op] = true
end

local function is_word(token)
  return token.kind == "keyword" or token.kind == "op"
end

-- The index behind the token that closes what the one at `i` opens.
local function skip(tokens, i, weights)
  local depth = 0
  repeat
    local t = tokens[i]
    if is_word(t) then depth = depth + (weights[t.text] or 0) end
    i = i + 1
  until depth == 0
  return i
end

-- Behind one operand at `i`, and whether it could be called or indexed.
local function skip_operand(tokens, i)
  local t = tokens[i]
  while is_word(t) and UNARY[t.text] do
    i = i + 1
    t = tokens[i]
  end
  if t.text == "function" and t.kind == "keyword" then return skip(tokens, i, BEGINS), false end
  if t.kind == "op" and BRACKETS[t.text] then return skip(tokens, i, BRACKETS), t.text == "(" end
  return i + 1, t.kind == "name"
end

local function skip_suffixes(tokens, i)
  while tokens[i] do
    local t = tokens[i]
    if t.kind == "op" and (t.text == "." or t.text == ":") then
      i = i + 2
    elseif t.kind == "op" and BRACKETS[t.text] == 1 then
      i = skip(tokens, i, BRACKETS)
    elseif t.kind == "string" then
      i = i + 1
    else
      break
    end
  end
  return i
end

-- Behind a list of expressions.
local function skip_expressions(tokens, i)
  while true do
    local callable
    i, callable = skip_operand(tokens, i)
    if callable then i = skip_suffixes(tokens, i) end
    local t = tokens[i]
    if not t or not is_word(t) or not (BINARY[t.text] or t.text == ",") then return i end
    i = i + 1
  end
end

-- The names of the statement after the `local` at `i`, with their attributes ("" for none); the
-- index behind it.
local function read_local(tokens, i)
  local names = {}
  if tokens[i + 1].text == "function" then
    names[1] = { tokens[i + 2].text, "" }
    return names, skip(tokens, i + 1, BEGINS)
  end
  repeat
    i = i + 1
    local name, attribute = tokens[i].text, ""
    i = i + 1
    if tokens[i] and tokens[i].text == "<" then
      attribute = tokens[i + 1].text
      i = i + 3
    end
    names[#names + 1] = { name, attribute }
  until not tokens[i] or tokens[i].text ~= ","
  if tokens[i] and tokens[i].text == "=" then i = skip_expressions(tokens, i + 1) end
  return names, i
end

-- The source with a call behind each `local` statement of its top level; a list of their names.
local function instrument(source, tokens)
  local out, at, statements, depth, i = {}, 1, {}, 0, 1
  while tokens[i] do
    local t = tokens[i]
    if t.kind == "keyword" and t.text == "local" and depth == 0 then
      local names, after = read_local(tokens, i)
      local kept = {}
      for _, name in ipairs(names) do
        if name[2] ~= "close" then kept[#kept + 1] = name[1] end
      end
      if kept[1] then
        statements[#statements + 1] = names
        out[#out + 1] = source:sub(at, tokens[after - 1].to)
        out[#out + 1] = (" %s(%d, function() return %s end);"):format(KEEPER, #statements,
          table.concat(kept, ", "))
        at = tokens[after - 1].to + 1
      end
      i = after
    else
      if t.kind == "keyword" then depth = depth + (BEGINS[t.text] or 0) end
      i = i + 1
    end
  end
  out[#out + 1] = source:sub(at)
  return table.concat(out), statements
end

-- -- Variables -----------------------------------------------------------------------------------

-- Upvalue number `index` of the function `fn`, held by a function that holds nothing else.
local function hold(fn, index)
  local variable = nil
  local function holder() return variable end
  upvaluejoin(holder, 1, fn, index)
  return holder
end

-- The numbers of a function's upvalues by name.
local function upvalues(fn)
  local at, i = {}, 1
  while true do
    local name = getupvalue(fn, i)
    if not name then return at end
    at[name] = i
    i = i + 1
  end
end

-- A variable is the one upvalue of its holder.
local function keep(variables, names, fn)
  local at, values, n = upvalues(fn), nil, 0
  for _, name in ipairs(names) do
    local text, attribute = name[1], name[2]
    if attribute ~= "close" then
      n = n + 1
      if at[text] then
        variables[text] = { holder = hold(fn, at[text]), attribute = attribute }
      else -- a constant of the compiler, which is no variable
        values = values or table.pack(fn())
        local value = values[n]
        variables[text] = { holder = function() return value end, attribute = attribute }
      end
    end
  end
end

local function code_tokens(source)
  local list = {}
  for _, t in ipairs((lexer.tokens(source))) do
    if t.kind ~= "comment" then list[#list + 1] = t end
  end
  return list
end

-- The kept variables that tokens name. One called _ENV is named by all.
local function named(variables, tokens)
  local list, seen = {}, {}
  local function add(name)
    if variables[name] and not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  add "_ENV"
  for _, t in ipairs(tokens) do
    if t.kind == "name" then add(t.text) end
  end
  return list
end

-- What stands before the body and behind it: functions that declare the names, as many as it takes.
local function declare(variables, names)
  local head, tail = "local " .. KEEPER .. " = ... ", ""
  for first = 1, #names, GROUP do
    local list = {}
    for i = first, math.min(first + GROUP - 1, #names) do
      local attribute = variables[names[i]].attribute
      list[#list + 1] = attribute == "" and names[i] or ("%s <%s>"):format(names[i], attribute)
    end
    if first > 1 then head, tail = head .. "return (function() ", " end)()" .. tail end
    head = head .. "local " .. table.concat(list, ", ") .. " "
  end
  return head, tail
end

local function join(fn, variables, names)
  local at = upvalues(fn)
  for _, name in ipairs(names) do
    if at[name] then upvaluejoin(fn, at[name], variables[name].holder, 1) end
  end
end

-- -- Sessions ------------------------------------------------------------------------------------

local session = {}
session.__index = session
session.__name = "isolate.repl.chunks"

local function compile(self, body, tokens, statements, name, line)
  local names = named(self.variables, tokens)
  local head, tail = declare(self.variables, names)
  local source = ("\n"):rep(line - 1) .. head .. "return function(...) " .. body .. "\nend" .. tail
  local loader, message = lexer.compile(source, name, self.env)
  if not loader then return nil, message, "syntax" end
  local fn = loader(function(number, new) keep(self.variables, statements[number], new) end)
  join(fn, self.variables, names)
  return fn
end

-- With the lines of the session in it; a load of its own says what is wrong as it stands.
local function message_of(source, name, line)
  local _, message = lexer.compile(("\n"):rep(line - 1) .. source, name)
  return message
end

-- Of what is wrong both as statements and as expressions, the one that is right for longer.
local function better_of(source, expression)
  if source:find "^%s*=" then return expression end
  local as_source, as_expression = lexer.failure(source), lexer.failure(expression)
  -- the expression has a token more, `return`
  local longer = as_source and as_expression and as_expression - 1 > as_source
  return longer and expression or source
end

--- Compiles an input: a list of expressions, whose values it then returns, or statements.
-- @tparam string source
-- @tparam[opt="=repl"] string name of the chunk
-- @tparam[opt=1] integer line number of its first line
-- @treturn[1] function
-- @return[2] nil
-- @treturn[2] string message
-- @treturn[2] string `incomplete`: more lines are needed; `syntax`: it is wrong
-- @usage local fn = chunks:load("local x = 1", "=repl", 1)
function session:load(source, name, line)
  name, line, source = name or "=repl", line or 1, lexer.without_shebang(source)
  local expression = "return " .. source:gsub("^%s*=", "", 1)
  if lexer.compile(expression, name) then
    return compile(self, expression, code_tokens(source), {}, name, line)
  end
  local complete = lexer.complete(source, name)
  if complete then
    local tokens = code_tokens(source)
    local body, statements = instrument(source, tokens)
    return compile(self, body, tokens, statements, name, line)
  end
  if complete == false or lexer.complete(expression, name) == false then
    return nil, message_of(source, name, line), "incomplete"
  end
  return nil, message_of(better_of(source, expression), name, line), "syntax"
end

--- The kept variables.
-- @treturn function an iterator of names and values
function session:locals()
  local name
  return function()
    local variable
    name, variable = next(self.variables, name)
    if name == nil then return end
    return name, select(2, getupvalue(variable.holder, 1))
  end
end

--- The value of a kept variable.
-- @tparam string name
-- @return its value
-- @treturn boolean is there one?
function session:get(name)
  local variable = self.variables[name]
  if not variable then return nil, false end
  return select(2, getupvalue(variable.holder, 1)), true
end

--- A new session, without variables.
-- @tparam[opt=_G] table env what its chunks have for globals
-- @treturn table with the methods `load`, `locals` and `get`
function M.new(env)
  return setmetatable({ env = env or _G, variables = {} }, session)
end

return M
