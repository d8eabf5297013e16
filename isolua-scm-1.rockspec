rockspec_format = "3.0"
package = "isolua"
version = "scm-1"
source = {
  url = "git+file://.",
}
description = {
  summary = "Lua 5.4 isolates: closures that run on other threads",
  license = "MIT",
}
dependencies = {
  "lua >= 5.4, < 5.5",
}
build = {
  type = "builtin",
  modules = {
    -- The sources, written by `make rockspec`.
    ["isolate"] = "scripts/isolate.lua",
    ["isolate.cqueues"] = "scripts/isolate/cqueues.lua",
    ["isolate.foreign"] = "scripts/isolate/foreign.lua",
    ["isolate.futures"] = "scripts/isolate/futures.lua",
    ["isolate.luasocket"] = "scripts/isolate/luasocket.lua",
    ["isolate.luv"] = "scripts/isolate/luv.lua",
    ["isolate.ports"] = "scripts/isolate/ports.lua",
    ["isolate.core"] = {
      sources = {
        "host/api.c",
        "host/arena.c",
        "host/build.c",
        "host/cell.c",
        "host/control.c",
        "host/decode.c",
        "host/due.c",
        "host/dump.c",
        "host/encode.c",
        "host/err.c",
        "host/future.c",
        "host/gate.c",
        "host/gate_lib.c",
        "host/handle.c",
        "host/handler.c",
        "host/heap.c",
        "host/host.c",
        "host/isolate.c",
        "host/kill.c",
        "host/live.c",
        "host/loop.c",
        "host/msg.c",
        "host/names.c",
        "host/plat_linux.c",
        "host/pollable.c",
        "host/port.c",
        "host/ports.c",
        "host/read.c",
        "host/run.c",
        "host/select.c",
        "host/shared.c",
        "host/vm.c",
        "host/vm_lib.c",
        "host/wait.c",
        "host/watchdog.c",
        "host/worker.c",
        "bindings/latomic.c",
        "bindings/lcore.c",
        "bindings/lfuture.c",
        "bindings/lhandle.c",
        "bindings/lisolate.c",
        "bindings/llazy.c",
        "bindings/lloop.c",
        "bindings/lpoll.c",
        "bindings/lport.c",
        "bindings/ltask.c",
        "bindings/ltimer.c",
      },
      -- End of the sources.
      incdirs = { "host", "bindings" },
      defines = { "_GNU_SOURCE" },
      libraries = { "pthread" },
    },
  },
}
