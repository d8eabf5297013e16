-- doc.lua - the fenced blocks of a Markdown file, and what is to be done with them.
-- SPDX-License-Identifier: MIT

--[[
The words behind the language, in ```lua words, say what a block is:

  lua                 a script: it runs with status 0 under stock Lua and under isolua
  lua status=1        … with that status
  lua host            … under isolua alone
  lua script=NAME     … under that name, which its messages show
  lua module=NAME     a file that lies beside the scripts of its page, for `require`
  lua fragment        only compiled
  c                   a program: it compiles without a warning and runs with status 0
  c fragment          functions: they only compile, behind #include <isolua_lua.h> and others
  text file=NAME      a file that lies beside the scripts of its page
  text                right behind a script or a program: all its output, stderr after stdout
  console             a session at the prompt, which is replayed under isolua
  text plain, sh,
  c declaration       for the reader alone
]]

local shell = require "spec.support.shell"

local M = {}

local known = {
  lua = { status = true, host = true, script = true, module = true, fragment = true },
  c = { fragment = true, declaration = true },
  sh = {},
  console = {},
  text = { file = true, plain = true },
}

local function check(block, page)
  local words = known[block.lang]
  if not words then
    error(("%s:%d: a block of the unknown language '%s'"):format(page, block.line, block.lang))
  end
  for word in pairs(block.words) do
    if not words[word] then
      error(("%s:%d: unknown word '%s' behind ```%s"):format(page, block.line, word, block.lang))
    end
  end
end

local function open_block(info, line)
  local block = { lang = info:match "^%S*", line = line, words = {}, lines = {} }
  for word in info:gsub("^%S*", ""):gmatch "%S+" do
    local key, value = word:match "^([^=]+)=(.+)$"
    block.words[key or word] = value or true
  end
  return block
end

-- A block of text without words belongs to the block right before it.
local function attach(blocks, page)
  for i, block in ipairs(blocks) do
    check(block, page)
    if block.lang == "text" and next(block.words) == nil then
      local before = blocks[i - 1]
      if not before or before.last ~= block.line - 2 then
        error(("%s:%d: output of nothing"):format(page, block.line))
      end
      before.output = block.text
    end
  end
end

--- The blocks of a page in order: `{lang=, words=, text=, line=, output=}`, and its other lines.
function M.read(page)
  local blocks, prose, open = {}, {}, nil
  local n = 0
  for line in (shell.read(page) .. "\n"):gmatch "(.-)\n" do
    n = n + 1
    local info = line:match "^```(.*)$"
    if open and info == "" then
      open.text, open.last = table.concat(open.lines, "\n") .. "\n", n
      blocks[#blocks + 1], open = open, nil
    elseif open then
      open.lines[#open.lines + 1] = line
    elseif info then
      open = open_block(info, n)
    else
      prose[#prose + 1] = line
    end
  end
  if open then error(("%s:%d: a block without an end"):format(page, open.line)) end
  attach(blocks, page)
  return blocks, prose
end

-- As GitHub makes them of headings.
local function anchor(heading)
  return (heading:lower():gsub("[^%w _-]", ""):gsub(" ", "-"))
end

local function anchors(page)
  local set = {}
  local _, prose = M.read(page)
  for _, line in ipairs(prose) do
    local heading = line:match "^#+ (.*)$"
    if heading then set[anchor(heading)] = true end
  end
  return set
end

--- The links of a page to places in the project that are not there.
function M.dead_links(page)
  local dead = {}
  local folder = page:match "^(.*/)" or ""
  local _, prose = M.read(page)
  local text = table.concat(prose, "\n"):gsub("`[^`\n]*`", "`")
  text = text:gsub("%f[^\n]%[`%]: (%S+)", "](%1)") -- [`name`]: target
  for target in text:gmatch "%]%(([^)%s]+)%)" do
    if not target:match "^%a+:" then
      local path, place = target:match "^([^#]*)#?(.*)$"
      path = path == "" and page or folder .. path
      local file = io.open(path)
      if file then file:close() end
      if not file or (place ~= "" and not anchors(path)[place]) then dead[#dead + 1] = target end
    end
  end
  return dead
end

return M
