-- mandelbrot.lua - computes a picture of the Mandelbrot set with all cores, row by row.
--
--     isolua examples/mandelbrot.lua [WIDTH HEIGHT FILE]     (default: 800 600 mandelbrot.ppm)
--
-- The file is a PPM, which most programs that show pictures read. Rows come out of the pool in
-- their order, some ahead of the one that is written, so the picture is never whole in memory.
-- SPDX-License-Identifier: MIT

local isolate = require "isolate"

local MOST = 500 -- steps, after which a point counts as one of the set

local width, height = tonumber(arg[1] or 800), tonumber(arg[2] or 600)
local path = arg[3] or "mandelbrot.ppm"
local function whole(n) return math.type(n) == "integer" and n >= 1 and n <= 65536 end
if not whole(width) or not whole(height) or #arg > 3 or #arg == 1 or #arg == 2 then
  io.stderr:write "usage: isolua examples/mandelbrot.lua [WIDTH HEIGHT FILE]\n"
  os.exit(1)
end

-- How many steps it takes until the point x + yi is known to go to infinity.
local function steps(x, y)
  -- Most points of the set are in its two largest parts.
  local q = (x - 0.25) ^ 2 + y * y
  if q * (q + x - 0.25) <= y * y / 4 or (x + 1) ^ 2 + y * y <= 1 / 16 then return MOST end
  local re, im = 0.0, 0.0
  for n = 0, MOST - 1 do
    local re2, im2 = re * re, im * im
    if re2 + im2 > 4 then return n end
    re, im = re2 - im2 + x, 2 * re * im + y
  end
  return MOST
end

-- Red, green and blue of each number of steps: dark blue over white and orange, and again.
local palette = {}
for n = 0, MOST do
  local t = n % 64 * 4
  local up = math.min(2 * t, 255)
  local down = math.max(2 * t - 255, 0)
  palette[n] = string.char(up, up - down * 3 // 8, math.max(64, math.min(255, 64 + t) - down))
end
palette[MOST] = "\0\0\0"

-- Runs in the pool: the bytes of a row. The whole set is in the picture, whatever its shape.
local function row(number)
  local scale = math.max(3 / width, 2.4 / height)
  local y = (number - (height + 1) / 2) * scale
  local pixels = {}
  for column = 1, width do
    local x = (column - (width + 1) / 2) * scale - 0.7
    pixels[column] = palette[steps(x, y)]
  end
  return table.concat(pixels)
end

local numbers = {}
for number = 1, height do numbers[number] = number end

local file <close> = assert(io.open(path, "wb"))
local pool <close> = isolate.pool()
file:write(("P6\n%d %d\n255\n"):format(width, height))
local start = isolate.now()
for _, bytes in pool:imap({ ordered = true }, row, numbers) do
  assert(file:write(bytes))
end
print(("%s: %d x %d in %.2f s"):format(path, width, height, isolate.now() - start))
