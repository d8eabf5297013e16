-- buffer_spec.lua - isolate.buffer, isolate.map_file, isolate.transfer: bytes outside the heap.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 211/_ENV

local describe, it, assert = describe, it, assert
local _ENV = _G

local isolate = require "isolate"
local live = require "spec.support.live"
local misuse_in = require "spec.support.misuse"
local settle = require "spec.support.settle"

local await = settle.await
local misuse = misuse_in "buffer_spec"

it = live.checking(it)

local function transferred(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal("transferred", type(err) == "table" and err.code or err)
end

--- A file with that content, removed when the test is over.
local function file_of(content)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
  return setmetatable({ path = path }, { __close = function() os.remove(path) end })
end

describe("isolate.buffer()", function()
  it("is made of a size, a string or options", function()
    assert.equal(("\0"):rep(5), isolate.buffer(5):sub())
    assert.equal("a\0b", isolate.buffer("a\0b"):sub())
    assert.equal("aaaa", isolate.buffer{ size = 4, fill = 97 }:sub())
    assert.equal(64000, #isolate.buffer{ size = "64kB" })
    assert.equal(0, #isolate.buffer(0))
    assert.equal(0, #isolate.buffer(""))
  end)

  it("tells what is wrong with its arguments", function()
    assert.matches("a size is 0 or more", misuse(function() isolate.buffer(-1) end))
    assert.matches("no integer representation", misuse(function() isolate.buffer(1.5) end))
    assert.matches("size, string or table", misuse(function() isolate.buffer(nil) end))
    assert.matches("unknown option 'length'", misuse(function() isolate.buffer{ length = 1 } end))
    assert.matches("option 'size' is missing", misuse(function() isolate.buffer{ fill = 1 } end))
    assert.matches("option 'fill'", misuse(function() isolate.buffer{ size = 1, fill = 256 } end))
    assert.matches("no size such as", misuse(function() isolate.buffer{ size = "lots" } end))
  end)

  it("says that there is no memory for a size beyond it", function()
    local sizes = { math.maxinteger, 1 << 50 } -- AddressSanitizer reports the second
    for _, size in ipairs(settle.sanitized and { sizes[1] } or sizes) do
      assert.matches("not enough memory for a buffer of " .. size .. " bytes",
        misuse(function() isolate.buffer(size) end))
    end
    local buf = isolate.buffer "abc"
    assert.matches("not enough memory", misuse(function() buf:resize(math.maxinteger) end))
    assert.equal("abc", buf:sub())
  end)

  it("has bytes that are read and written", function()
    local buf = isolate.buffer(3)
    buf[1], buf[3] = 255, 7
    assert.equal(255, buf[1])
    assert.equal("\255\0\7", buf:sub())
    for _, i in ipairs{ 0, 4, -1, math.mininteger, math.maxinteger } do
      local expected = ("index %d is out of range: the buffer has 3 bytes"):format(i)
      assert.matches(expected:gsub("%-", "%%-"), misuse(function() return buf[i] end))
      assert.matches("is out of range", misuse(function() buf[i] = 1 end))
    end
    for _, v in ipairs{ 256, -1, 1.5, "1", false } do
      assert.matches("a byte is an integer of 0 to 255", misuse(function() buf[1] = v end))
    end
    assert.equal(255, buf[1.0])
    assert.matches("no integer representation", misuse(function() return buf[1.5] end))
    assert.matches("no field size", misuse(function() buf.size = 1 end))
    assert.is_nil(buf.size)
  end)

  it("cuts ranges of sub() as strings do", function()
    local s = "hello"
    local buf = isolate.buffer(s)
    for i = -7, 7 do
      for j = -7, 7 do assert.equal(s:sub(i, j), buf:sub(i, j)) end
    end
    assert.equal(s:sub(math.mininteger, math.maxinteger),
      buf:sub(math.mininteger, math.maxinteger))
  end)

  it("puts and fills bytes, and refuses what does not fit", function()
    local buf = isolate.buffer(6)
    assert.equal(4, buf:set(1, "abc"))
    assert.equal(7, buf:set(4, buf:slice(1, 3)))
    assert.equal("abcabc", buf:sub())
    buf:set(2, buf:slice(1, 5))
    assert.equal("aabcab", buf:sub()) -- they overlap
    assert.equal(buf, buf:fill(120, 2, -2))
    assert.equal("axxxxb", buf:sub())
    assert.equal(7, buf:set(7, ""))
    assert.matches("do not fit", misuse(function() buf:set(5, "abc") end))
    assert.matches("out of range", misuse(function() buf:set(8, "") end))
    assert.matches("a byte is 0 to 255", misuse(function() buf:fill(300) end))
    assert.matches("string or buffer expected", misuse(function() buf:set(1, 5) end))
  end)

  it("finds and counts bytes", function()
    local text = ("x"):rep(5000) .. "needle" .. ("x"):rep(70) .. "needle"
    local buf = isolate.buffer(text)
    assert.same({ 5001, 5006 }, { buf:find("needle") })
    assert.same({ 5077, 5082 }, { buf:find("needle", 5002) })
    assert.is_nil(buf:find("needle", 5002, 5081))
    assert.same({ text:find("e", 1, true) }, { buf:find("e") })
    assert.same({ 3, 2 }, { buf:find("", 3) })
    assert.equal(2, buf:count("needle"))
    assert.equal(5070, buf:count("x"))
    assert.equal(6, buf:count(isolate.buffer "e"))
    assert.equal(2, isolate.buffer("aaaa"):count("aa"))
    assert.equal(1, buf:count("x", 5000, 5001))
    assert.equal(0, buf:count("x", 3, 2))
    assert.equal(0, isolate.buffer(0):count("x"))
    assert.equal(100000, isolate.buffer{ size = 100000, fill = 9 }:count("\9"))
    assert.matches("must not be empty", misuse(function() buf:count("") end))
    assert.matches("out of range", misuse(function() buf:count("x", 1, #buf + 1) end))
    assert.matches("out of range", misuse(function() buf:find("x", -#buf - 1) end))
  end)

  it("gives lines as io.lines does", function()
    for _, text in ipairs{ "", "\n", "a", "a\n", "a\nb", "\n\na\0\r\nb\n" } do
      local file <close> = file_of(text)
      local expected, got = {}, {}
      for line in io.lines(file.path) do expected[#expected + 1] = line end
      for line in isolate.buffer(text):lines() do got[#got + 1] = line end
      assert.same(expected, got)
    end
  end)

  it("packs and unpacks in the formats of strings", function()
    local buf = isolate.buffer(40)
    local behind = buf:pack(3, "<i4 z s1 d", -7, "text", "x\0y", 0.5)
    assert.equal(3 + #string.pack("<i4 z s1 d", -7, "text", "x\0y", 0.5), behind)
    assert.same({ -7, "text", "x\0y", 0.5, behind }, { buf:unpack(3, "<i4 z s1 d") })
    local long = isolate.buffer(("a"):rep(10000) .. "\0")
    assert.same({ ("a"):rep(10000), 10002 }, { long:unpack(1, "z") })
    assert.matches("do not fit", misuse(function() buf:pack(38, "i4", 1) end))
    assert.matches("data string too short", select(2, pcall(buf.unpack, buf, 38, "i4")))
    assert.matches("invalid format option", select(2, pcall(buf.unpack, buf, 1, "y")))
    assert.matches("invalid format option", select(2, pcall(buf.pack, buf, 1, "y", 1)))
    assert.equal(2, await(isolate.run({ libs = { "package" } }, function(b) -- without `string`
      b:pack(1, "i8", 2)
      return (b:unpack(1, "i8"))
    end, isolate.buffer(8))))
  end)

  it("compares bytes, and equals only itself", function()
    local a, b = isolate.buffer "abc", isolate.buffer "abc"
    assert.is_true(a:equal(b) and a:equal("abc"))
    assert.is_false(a:equal("abd") or a:equal("ab"))
    assert.is_true(a == a and a:slice() == a:slice())
    assert.is_false(a == b or a:slice(1, 2) == a:slice(2, 3))
    assert.is_true(a.id ~= b.id and math.type(a.id) == "integer")
    assert.equal("isolate.buffer: " .. a.id, tostring(a))
    assert.equal("isolate.buffer", getmetatable(a))
  end)

  it("is made longer and shorter", function()
    local buf = isolate.buffer "abc"
    assert.equal(buf, buf:resize(5))
    assert.equal("abc\0\0", buf:sub())
    local slice = buf:slice(3, 5)
    buf:resize(2)
    assert.equal("ab", buf:sub())
    assert.matches("lies behind the end of its buffer", misuse(function() return #slice end))
    buf:resize(1 << 20):resize(0):resize(3)
    assert.equal("\0\0\0", buf:sub())
    assert.matches("a slice shares its bytes", misuse(function() buf:slice(1, 1):resize(9) end))
  end)

  it("is given up at the end of its scope", function()
    local keep, slice
    do
      local buf <close> = isolate.buffer(10)
      keep, slice = buf, buf:slice(1, 2)
    end
    for _, b in ipairs{ keep, slice } do
      local ok, err = pcall(function() return #b end)
      assert.is_false(ok)
      assert.equal("closed", err.code)
    end
  end)

  it("counts for the memory cap of its isolate", function()
    local future = isolate.run({ memory = "8MiB" }, function()
      local list = {}
      for i = 1, 100 do list[i] = isolate.buffer(1 << 20) end
      return #list
    end)
    local ok, err = future:try(60)
    assert.is_false(ok)
    assert.equal("memory", err.code)
    local caught, left = await(isolate.run({ memory = "8MiB" }, function()
      local ok2, err2 = pcall(isolate.buffer, 9 << 20)
      return err2, ok2 or #isolate.buffer(4 << 20)
    end))
    assert.same({ "not enough memory", 4 << 20 }, { caught, left })
  end)

  it("is collected as if it lay in the heap", function()
    assert.is_true(await(isolate.run({ memory = "16MiB" }, function()
      for _ = 1, 200 do isolate.buffer(1 << 20) end
      for _ = 1, 20000 do isolate.buffer(1 << 10) end
      return true
    end)))
  end)
end)

describe("buffer:slice()", function()
  it("has the same bytes", function()
    local buf = isolate.buffer "0123456789"
    local slice = buf:slice(3, -3)
    assert.equal("234567", slice:sub())
    slice[1] = 65
    buf[4] = 66
    assert.equal("01AB456789", buf:sub())
    assert.equal("B4", slice:slice(2, 3):sub())
    assert.equal("", buf:slice(11, 10):sub())
    for _, range in ipairs{ { 0 }, { 12 }, { 1, 11 }, { 5, 3 }, { -11 }, { 1, -12 } } do
      local expected = range[1] == 5 and "the range from 5 to 3 ends before it begins"
      assert.matches(expected or "out of range",
        misuse(function() buf:slice(table.unpack(range, 1, 2)) end))
    end
  end)

  it("keeps the bytes when the buffer is collected", function()
    local slice = isolate.buffer(("x"):rep(100000)):slice(5000, 5002)
    collectgarbage()
    collectgarbage()
    assert.equal("xxx", slice:sub())
  end)

  it("is sent as a copy of its part", function()
    local buf = isolate.buffer("0123456789")
    local n, text, alone = await(isolate.run(function(s)
      s[1] = 88
      s:resize(2) -- it is a buffer of its own there
      return #s, s:sub(), pcall(isolate.transfer, s)
    end, buf:slice(4, 6)))
    assert.same({ 2, "X4", true }, { n, text, alone })
    assert.equal("0123456789", buf:sub())
  end)

  it("shares bytes with its buffer at the other end too", function()
    local buf = isolate.buffer("0123456789")
    assert.equal("9a!", await(isolate.run(function(t)
      t.whole[10], t.part[2], t.other[1] = 57, 97, 33
      return t.whole:sub(10, 10) .. t.whole:sub(5, 5) .. t.whole:sub(6, 6)
    end, { part = buf:slice(4, 6), whole = buf, other = buf:slice(6, 7) })))
    assert.equal("a7", await(isolate.run(function(a, b)
      a[3] = 97
      return b:sub(1, 2)
    end, buf:slice(5, 8), buf:slice(7, 9))))
  end)
end)

describe("buffer:view()", function()
  it("has numbers that are read and written", function()
    local formats = { i8 = "i1", u8 = "I1", i16 = "i2", u16 = "I2", i32 = "i4", u32 = "I4",
      i64 = "i8", u64 = "i8", f32 = "f", f64 = "d" }
    for name, format in pairs(formats) do
      local size = string.packsize(format)
      local buf = isolate.buffer(3 * size)
      local view = buf:view(name)
      view[2] = 77
      view[3] = 2.0
      assert.equal(3, #view)
      assert.equal(77, (buf:unpack(size + 1, format)))
      assert.equal(0, view[1])
      assert.equal(79, view:sum())
      assert.equal(name:sub(1, 1) == "f" and "float" or "integer", math.type(view[2]))
      assert.same({ 0, 77, 2 }, view:table())
      assert.matches("index 4 is out of range: the view has 3 numbers",
        misuse(function() return view[4] end))
      assert.matches("out of range", misuse(function() view[0] = 1 end))
    end
  end)

  it("holds the least and the greatest of each type, and refuses more", function()
    for _, bits in ipairs{ 8, 16, 32 } do
      local signed = isolate.buffer(8):view("i" .. bits)
      local unsigned = isolate.buffer(8):view("u" .. bits)
      local half = 1 << (bits - 1)
      signed[1] = -half
      assert.equal(-half, signed[1])
      signed[1] = half - 1
      assert.equal(half - 1, signed[1])
      unsigned[1] = 2 * half - 1
      assert.equal(2 * half - 1, unsigned[1])
      for _, case in ipairs{ { signed, half }, { signed, -half - 1 }, { unsigned, 2 * half },
        { unsigned, -1 } } do
        assert.matches("does not fit a view of", misuse(function() case[1][1] = case[2] end))
      end
    end
    local longs = isolate.buffer(16):view("i64")
    longs[1], longs[2] = math.mininteger, math.maxinteger
    assert.same({ math.mininteger, math.maxinteger }, longs:table())
    assert.equal(-1, longs:sum())
  end)

  it("refuses what is misaligned or no whole number of them", function()
    local buf = isolate.buffer(16)
    assert.matches("misaligned", misuse(function() buf:slice(2, 9):view("i64") end))
    assert.matches("needs a multiple of 4 bytes, and the buffer has 15",
      misuse(function() buf:slice(1, 15):view("f32") end))
    assert.matches("invalid option 'i24'", misuse(function() buf:view("i24") end))
    assert.equal(2, #buf:slice(9, 16):view("i32"))
  end)

  it("cannot be sent", function()
    local ok, err = isolate.sendable{ v = isolate.buffer(8):view("u8") }
    assert.is_nil(ok or nil)
    assert.equal("cannot send view of a buffer (send the buffer): message.v", err.message)
  end)
end)

describe("A buffer in a message", function()
  it("is copied", function()
    local buf = isolate.buffer "abc"
    local back = await(isolate.run(function(b)
      b[1] = 65
      buf[2] = 66
      return { b, buf, same = b == buf }
    end, buf))
    assert.equal("abc", buf:sub())
    assert.is_true(back.same and back[1] == back[2]) -- one send: one buffer
    assert.equal("ABc", back[1]:sub())
    assert.is_false(back[1] == buf)
  end)

  it("is a copy for each who asks for a result", function()
    local iso = isolate.spawn(function() return isolate.buffer "abc" end)
    local _, mine = assert(iso:join(60))
    mine[1] = 65
    assert.equal("abc", await(isolate.run(function()
      local _, theirs = iso:join(60)
      return theirs:sub()
    end)))
    assert.equal("Abc", mine:sub())
  end)

  it("arrives whatever its size", function()
    for _, size in ipairs{ 0, 1, 4095, 4096, 200000, 5000000 } do
      local buf = isolate.buffer{ size = size, fill = 3 }
      assert.equal(3 * size, await(isolate.run(function(b) return b:view("u8"):sum() end, buf)))
    end
  end)
end)

describe("isolate.transfer()", function()
  it("moves the buffer, and leaves nothing behind", function()
    local buf = isolate.buffer "abcdefgh"
    local slice, view = buf:slice(2, 3), buf:view("i32")
    local id = buf.id
    local text, there = await(isolate.run(function(b) return b:sub(), b.id end,
      isolate.transfer(buf)))
    assert.same({ "abcdefgh", id }, { text, there })
    for _, fn in ipairs{ function() return #buf end, function() return buf[1] end,
      function() buf[1] = 1 end, function() return buf:sub() end, function() return #slice end,
      function() return slice:sub() end, function() return #view end,
      function() return view:sum() end, function() view[1] = 1 end,
      function() buf:slice() end, function() buf:resize(3) end, function() buf:freeze() end,
      function() isolate.transfer(buf) end, function() buf:lines()() end,
      function() isolate.buffer(9):set(1, buf) end } do
      transferred(fn)
    end
    local ok, err = pcall(isolate.run, function() return buf end)
    assert.is_false(ok)
    assert.same({ "transferred", "upvalue 'buf'" }, { err.code, err.path })
    assert.equal("cannot send buffer that was transferred: upvalue 'buf'", err.message)
    assert.equal(id, buf.id)
    assert.is_true(buf == buf)
  end)

  it("goes to and fro as an argument, upvalue, result, message and exit value", function()
    local rx, tx = isolate.port()
    local buf = isolate.transfer(isolate.buffer "a")
    local moved = await(isolate.run(function() return isolate.transfer(isolate.buffer "b") end))
    assert.equal("b", moved:sub())
    local up = isolate.run(function() return buf:sub() end)
    assert.equal("a", await(up))
    tx:send{ deep = { isolate.transfer(moved) } }
    assert.equal("b", rx:receive(60).deep[1]:sub())
    isolate.spawn(function()
      local last = isolate.buffer "the end"
      isolate.exit(tx, { last, last:slice(1, 3) })
    end):join(60)
    local got = rx:receive(60)
    assert.equal("the end", got[1]:sub())
    got[1][1] = 84
    assert.equal("The", got[2]:sub())
  end)

  it("is one buffer, however often it is in a message", function()
    local buf = isolate.buffer "abc"
    local same, text = await(isolate.run(function(a, b, c, d)
      c[1] = 88
      return a == b and b == c, a:sub() .. d:sub()
    end, buf, isolate.transfer(buf), isolate.transfer(buf), buf:slice(1, 1)))
    assert.same({ true, "XbcX" }, { same, text })
    transferred(function() return #buf end)
  end)

  it("leaves it where it is when the send fails", function()
    local buf = isolate.buffer "abc"
    local rx, tx = isolate.port{ capacity = 1, on_full = "error" }
    local waiting, wtx = isolate.port{ capacity = 1 }
    tx:send(1)
    wtx:send(1)
    assert.same({ nil, "full" }, { tx:send(isolate.transfer(buf)) })
    assert.same({ nil, "full" }, { wtx:try_send(isolate.transfer(buf)) })
    assert.same({ nil, "timeout" }, { wtx:send(isolate.transfer(buf), 0.001) })
    assert.equal("abc", buf:sub())
    local ok, err = pcall(tx.send, tx, { isolate.transfer(buf), io.stdout })
    assert.is_false(ok)
    assert.equal("not_sendable", err.code)
    assert.is_false((pcall(isolate.run, function() end, isolate.transfer(buf), io.stdout)))
    local moving, refused = isolate.transfer(buf), io.stdout
    assert.is_false((pcall(isolate.run, { init = function() return moving end }, function()
      return refused
    end)))
    assert.is_true(isolate.sendable(isolate.transfer(buf)))
    rx:close()
    assert.same({ nil, "closed" }, { tx:send(isolate.transfer(buf)) })
    assert.equal("abc", buf:sub())
    assert.equal(1, waiting:receive(1))
  end)

  it("cannot be touched while its message waits, and can when it gives up", function()
    local buf = isolate.buffer "abc"
    local rx, tx = isolate.port{ capacity = 1 }
    tx:send(1)
    local sending = isolate.async(function() return tx:send(isolate.transfer(buf)) end)
    isolate.sleep(0)
    transferred(function() return #buf end)
    assert.is_true(sending:cancel())
    isolate.sleep(0)
    assert.equal("abc", buf:sub())
    sending = isolate.async(function() return tx:send(isolate.transfer(buf)) end)
    isolate.sleep(0)
    assert.equal(1, rx:receive(60))
    assert.equal("abc", rx:receive(60):sub())
    assert.is_true(await(sending))
    transferred(function() return #buf end)
  end)

  it("goes with the case of a select that is chosen", function()
    local buf, other = isolate.buffer "abc", isolate.buffer "other"
    local full, free = isolate.channel(1), isolate.channel(1)
    full:send(1)
    assert.equal(free, isolate.select{ { full, isolate.transfer(other) },
      { free, isolate.transfer(buf) } }[1])
    assert.equal("other", other:sub())
    transferred(function() return #buf end)
    assert.equal("abc", free:receive():sub())
    free:send(2)
    assert.same({ nil, "timeout" },
      { isolate.select({ { full, isolate.transfer(other) }, { free, isolate.transfer(other) } },
        0.001) })
    assert.equal("other", other:sub())
    free:receive()
    isolate.select{ { full, isolate.transfer(other) }, { free, isolate.transfer(other) } }
    transferred(function() return #other end)
  end)

  it("gives a result to the first who asks", function()
    local iso = isolate.spawn(function() return isolate.transfer(isolate.buffer "abc") end)
    local _, mine = assert(iso:join(60))
    assert.equal("abc", mine:sub())
    assert.equal("transferred", await(isolate.run(function()
      local _, theirs = iso:join(60)
      local _, err = pcall(function() return #theirs end)
      return err.code
    end)))
  end)

  it("gives a result on as a result, and the first one is nobody else's", function()
    local inner = isolate.spawn(function() return isolate.transfer(isolate.buffer "abc") end)
    local outer = isolate.spawn(function()
      local _, buf = assert(inner:join(60))
      buf[1] = 88
      return isolate.transfer(buf)
    end)
    local _, got = assert(outer:join(60))
    assert.equal("Xbc", got:sub())
    local _, late = assert(inner:join(60))
    transferred(function() return #late end)
  end)

  it("is without bytes for what runs after the result is made", function()
    local rx, tx = isolate.port()
    local buf = await(isolate.run(function()
      local b = isolate.buffer "abc"
      setmetatable({}, { __gc = function() tx:send(select(2, pcall(b.fill, b, 0)).code) end })
      return isolate.transfer(b)
    end))
    tx:close()
    assert.equal("transferred", rx:receive(60))
    assert.equal("abc", buf:sub())
  end)

  it("takes whole buffers alone", function()
    local buf = isolate.buffer "abc"
    assert.matches("a slice shares its bytes with its buffer, so it cannot be moved",
      misuse(function() isolate.transfer(buf:slice(1, 2)) end))
    assert.matches("buffer expected", misuse(function() isolate.transfer("abc") end))
  end)

  it("frees what nobody receives", function()
    local rx, tx = isolate.port()
    tx:send(isolate.transfer(isolate.buffer(100000)))
    rx:close()
    local drops, dtx = isolate.port{ capacity = 1, on_full = "drop_newest" }
    dtx:send(isolate.transfer(isolate.buffer(100000)))
    local lost = isolate.buffer(100000)
    dtx:send(isolate.transfer(lost))
    transferred(function() return #lost end)
    drops:close()
  end)
end)

describe("buffer:freeze()", function()
  it("shares the bytes with everybody, for reading", function()
    local buf = isolate.buffer(("x"):rep(100000))
    local slice = buf:slice(2, 3)
    assert.equal(buf, buf:freeze())
    local id, back, part = await(isolate.run(function(b, s)
      local _, err = pcall(function() b[1] = 1 end)
      return b.id, b, { s, err, #isolate.transfer(b) }
    end, buf, slice))
    assert.equal(buf.id, id)
    assert.is_true(back == buf and part[1] == slice)
    assert.matches("the buffer is frozen: write to a copy of it, buf:copy%(%)", part[2])
    assert.equal(100000, part[3])
    for _, fn in ipairs{ function() buf[1] = 1 end, function() buf:fill(1) end,
      function() buf:set(1, "a") end, function() slice[1] = 1 end, function() buf:resize(1) end,
      function() buf:view("u8")[1] = 1 end, function() buf:pack(1, "b", 1) end } do
      assert.matches("frozen", misuse(fn))
    end
    local copy = buf:copy()
    copy[1] = 65
    assert.equal("Ax", copy:sub(1, 2))
    assert.matches("a slice shares its bytes", misuse(function() copy:slice(1, 1):freeze() end))
  end)

  it("keeps a buffer of which transfer was asked", function()
    local buf = isolate.buffer("abc"):freeze()
    assert.equal("abc", await(isolate.run(function(b) return b:sub() end, isolate.transfer(buf))))
    assert.equal("abc", buf:sub())
  end)
end)

describe("isolate.map_file()", function()
  it("has the bytes of a file", function()
    local text = ("line\n"):rep(10000)
    local file <close> = file_of(text)
    local buf <close> = assert(isolate.map_file(file.path))
    assert.is_true(buf:equal(text))
    assert.equal(10000, buf:count("\n"))
    assert.matches("frozen", misuse(function() buf[1] = 1 end))
    assert.equal(5000, await(isolate.run(function(part) return part:count("\n") end,
      buf:slice(1, 25000))))
  end)

  it("takes an empty file", function()
    local file <close> = file_of("")
    local buf = assert(isolate.map_file(file.path))
    assert.equal(0, #buf)
    assert.is_nil(buf:lines()())
  end)

  it("writes to the file in mode r+", function()
    local file <close> = file_of("hello")
    local buf = assert(isolate.map_file(file.path, "r+"))
    buf:set(1, "J")
    local copy = await(isolate.run(function(b)
      b[2] = 65
      return b:sub()
    end, buf))
    assert.equal("JAllo", copy)
    await(isolate.run(function(b) b[5] = 79 end, isolate.transfer(buf)))
    assert.equal("JellO", io.lines(file.path)())
    local again <close> = assert(isolate.map_file(file.path, "r+"))
    assert.matches("cannot be resized", misuse(function() again:resize(1) end))
    assert.matches("cannot be frozen", misuse(function() again:freeze() end))
  end)

  it("says why a file cannot be mapped", function()
    local buf, err, code = isolate.map_file("/does/not/exist")
    assert.same({ nil, "/does/not/exist: No such file or directory", 2 }, { buf, err, code })
    assert.matches("Is a directory", (select(2, isolate.map_file("/tmp"))))
    assert.matches("/dev/null: No such device", (select(2, isolate.map_file("/dev/null"))))
    assert.matches("invalid option 'w'", misuse(function() isolate.map_file("x", "w") end))
  end)

  it("counts in any part of a large file", function()
    local file <close> = file_of(("line\n"):rep(200000))
    local buf = assert(isolate.map_file(file.path))
    assert.equal(200000, buf:count("\n"))
    assert.equal(199998, buf:count("\n", 8, -2))
    assert.equal(100000, buf:slice(250001, 750000):count("\n"))
    assert(io.open(file.path, "wb")):close()
    assert.matches("the mapped file has become shorter", misuse(function() buf:count("\n") end))
  end)

  it("raises where the file has become shorter, and goes on", function()
    local file <close> = file_of(("x"):rep(100000))
    local buf = assert(isolate.map_file(file.path))
    local slice = buf:slice(90001, 90010)
    assert.equal("xxxxxxxxxx", slice:sub())
    assert(io.open(file.path, "wb")):close()
    for _, fn in ipairs{ function() return buf:count("x") end, function() return slice:sub() end,
      function() return buf[99999] end, function() return buf:equal("x") or buf:sub() end,
      function() buf:copy() end, function() return buf:view("u8"):sum() end } do
      assert.matches("the mapped file has become shorter", misuse(fn))
    end
    local ok, err = isolate.run(function(b) return b:sub() end, buf):try(60)
    assert.is_false(ok)
    assert.matches("the mapped file has become shorter", err)
  end)
end)

describe("buffer:write()", function()
  it("writes to a path or an open file", function()
    local to <close> = file_of("old and longer")
    local buf = isolate.buffer("a\0b")
    assert.equal(buf, buf:write(to.path))
    local file <close> = assert(io.open(to.path, "r+b"))
    assert.equal("a\0b", file:read("a"))
    buf:slice(2, 3):write(file)
    file:seek("set")
    assert.equal("a\0b\0b", file:read("a"))
    file:close()
    assert.matches("the file is closed", misuse(function() buf:write(file) end))
    assert.matches("path or file expected", misuse(function() buf:write(1) end))
  end)

  it("says why it could not", function()
    local buf = isolate.buffer("abc")
    assert.same({ nil, "/does/not/exist: No such file or directory", 2 },
      { buf:write("/does/not/exist") })
    assert.matches("/dev/full: No space left", (select(2, buf:write("/dev/full"))))
  end)
end)
