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
    ["isolate.futures"] = "scripts/isolate/futures.lua",
    ["isolate.size"] = "scripts/isolate/size.lua",
    ["isolate.core"] = {
      sources = {
        "host/api.c",
        "host/arena.c",
        "host/decode.c",
        "host/dump.c",
        "host/encode.c",
        "host/err.c",
        "host/future.c",
        "host/handle.c",
        "host/heap.c",
        "host/host.c",
        "host/isolate.c",
        "host/kill.c",
        "host/loop.c",
        "host/msg.c",
        "host/names.c",
        "host/plat_linux.c",
        "host/read.c",
        "host/run.c",
        "host/vm.c",
        "host/vm_lib.c",
        "host/wait.c",
        "host/watchdog.c",
        "host/worker.c",
        "bindings/lcore.c",
        "bindings/lfuture.c",
        "bindings/lisolate.c",
      },
      -- End of the sources.
      incdirs = { "host", "bindings" },
      defines = { "_GNU_SOURCE" },
      libraries = { "pthread" },
    },
  },
}
