-- report.lua - busted's output: a line a spec file, each failure in full at once. What happened is
-- also written, as it happens, to the file ISOLUA_REPORT: after a crash it says how far things got.
-- SPDX-License-Identifier: MIT

local pretty = require "pl.pretty"

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local report = assert(io.open(assert(os.getenv "ISOLUA_REPORT"), "w"))
  local passed, failed, skipped, started

  local function note(...)
    report:write(table.concat({ ... }, " "), "\n")
    report:flush()
  end

  local function say(...)
    io.write(...)
    io.flush()
  end

  local function show(kind, element, message, trace)
    trace = trace or {}
    local where = element.trace or trace
    if type(message) ~= "string" then message = message and pretty.write(message) or "nil" end
    local text = { message }
    if trace.traceback then text[#text + 1] = trace.traceback:gsub("^\n", "") end
    say(("  %s: %s\n    at %s:%s\n    %s\n"):format(kind, handler.getFullName(element),
      where.short_src or "?", where.currentline or "?",
      (table.concat(text, "\n"):gsub("\n", "\n    "))))
  end

  local function file_start()
    passed, failed, skipped, started = 0, 0, 0, os.time()
    return nil, true
  end

  local function file_end(element)
    say(("  %s: %d passed, %d failed%s, %d s\n"):format(element.name, passed, failed,
      skipped > 0 and (", %d skipped"):format(skipped) or "", os.time() - started))
    return nil, true
  end

  local function test_start(element)
    note("start", (handler.getFullName(element):gsub("\n", " ")))
    return nil, true
  end

  local function test_end(_, _, status)
    if status == "success" then
      passed = passed + 1
      note "passed"
    elseif status == "pending" then
      skipped = skipped + 1
      note "skipped"
    else
      failed = failed + 1
      note "failed"
    end
    return nil, true
  end

  -- Of a test, or of what stands around tests: a file that does not load, a setup, a teardown.
  local function failure(kind)
    return function(element, _, message, trace)
      show(kind, element, message, trace)
      if element.descriptor ~= "it" then
        failed = (failed or 0) + 1
        note "failed"
      end
      return nil, true
    end
  end

  local function suite_end()
    note "end"
    return nil, true
  end

  busted.subscribe({ "file", "start" }, file_start)
  busted.subscribe({ "file", "end" }, file_end)
  busted.subscribe({ "test", "start" }, test_start)
  busted.subscribe({ "test", "end" }, test_end)
  busted.subscribe({ "failure" }, failure "failure")
  busted.subscribe({ "error" }, failure "error")
  busted.subscribe({ "suite", "end" }, suite_end)
  return handler
end
