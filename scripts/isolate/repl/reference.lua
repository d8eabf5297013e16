-- What `:doc` shows: comments of the sources. Written by `make docs`; not to be edited.
-- luacheck: no max line length
return {
  ["atomic:add"] = [=[atomic:add([d])
Adds to the integer, in one step: of many isolates that add, none gets lost. It wraps around.
  d  integer
  returns integer what it is then
  example:
    local ticket = counter:add()]=],
  ["atomic:compare_exchange"] = [=[atomic:compare_exchange(old, new)
Sets the integer to `new` if it is `old`, in one step.
  old  integer
  new  integer
  returns boolean was it?
  returns integer what it was]=],
  ["atomic:load"] = [=[atomic:load()
The integer now.
  returns integer]=],
  ["atomic:store"] = [=[atomic:store(v)
Sets the integer.
  v  integer]=],
  ["buffer:copy"] = [=[buffer:copy()
A new buffer with the same bytes.
  returns buffer]=],
  ["buffer:count"] = [=[buffer:count(s, [i], [j])
How often bytes occur in i to j, where none overlap.
  s  string|buffer: not empty
  i  integer
  j  integer
  returns integer
  example:
    local lines = isolate.map_file("log.txt"):count("\n")]=],
  ["buffer:equal"] = [=[buffer:equal(other)
Has the other one the same bytes?
  other  buffer|string
  returns boolean]=],
  ["buffer:fill"] = [=[buffer:fill(b, [i], [j])
Sets the bytes from i to j to one value.
  b  integer: 0 to 255
  i  integer
  j  integer
  returns buffer itself]=],
  ["buffer:find"] = [=[buffer:find(s, [i], [j])
Looks for bytes (not a pattern) in i to j.
  s  string|buffer
  i  integer
  j  integer
  returns integer|nil where the first one begins
  returns integer where it ends]=],
  ["buffer:freeze"] = [=[buffer:freeze()
Makes the buffer immutable: sent, it is shared then. A slice of a frozen buffer is frozen.
  returns buffer itself]=],
  ["buffer:lines"] = [=[buffer:lines()
Iterates over the lines, without their ends, as io.lines.
  returns an iterator
  example:
    for line in isolate.map_file("log.txt"):lines() do print(line) end]=],
  ["buffer:pack"] = [=[buffer:pack(i, fmt, ...)
Writes values in a format of string.pack.
  i  integer: where they go
  fmt  string
  ...
  returns integer the index behind them]=],
  ["buffer:resize"] = [=[buffer:resize(n)
Makes the buffer longer, by zeros, or shorter. Not of slices, frozen buffers and mapped files.
  n  integer|string: bytes, as `4096` or `"64MB"`
  returns buffer itself]=],
  ["buffer:set"] = [=[buffer:set(i, s)
Puts bytes into the buffer.
  i  integer: where the first one goes
  s  string|buffer
  returns integer the index behind them]=],
  ["buffer:slice"] = [=[buffer:slice([i], [j])
The same bytes from i to j as a buffer of their own: what is written to one is read from the other. Sent, it is a copy of that part, or shared when it is frozen.
  i  integer
  j  integer
  returns buffer]=],
  ["buffer:sub"] = [=[buffer:sub([i], [j])
The bytes from i to j as a string; out of range is cut off, as by string.sub.
  i  integer
  j  integer
  returns string]=],
  ["buffer:unpack"] = [=[buffer:unpack(i, fmt)
Reads values in a format of string.unpack. Alignment counts from i.
  i  integer
  fmt  string
  returns the values, and the index behind them]=],
  ["buffer:view"] = [=[buffer:view(type)
The bytes as numbers in the machine's order, read and written by `view[i]`; `#view` of them. The bytes must lie at a multiple of a number's size, and be whole numbers.
  type  string: `"i8"`, `"u8"`, … `"u64"`, `"f32"`, `"f64"`; of 64 bits, as Lua has integers
  returns view
  example:
    local sum = buf:view("f64"):sum()]=],
  ["buffer:write"] = [=[buffer:write(to)
Writes the bytes to a file.
  to  string|file: a path, whose file is made or made anew; or an open file
  returns buffer|nil itself
  returns string what went wrong
  returns integer the system's number for it]=],
  ["future:await"] = [=[future:await()
Waits until the work has ended and gives its results. The rest of this isolate goes on meanwhile.
  returns the results of the function
  raises the error that the work ended with, the same value
  example:
    local sum = isolate.run(add, 1, 2):await()]=],
  ["future:cancel"] = [=[future:cancel([reason])
Ends the work: kills the isolate behind the future, which fails with `cancelled` at once. Does nothing when it is done.
  reason  string: the error's message
  returns boolean did it cancel anything?]=],
  ["future:dirty"] = [=[future:dirty()
Is there something that the descriptor does not tell of? For LuaSocket.
  returns boolean false]=],
  ["future:done"] = [=[future:done()
Has the work ended?
  returns boolean]=],
  ["future:events"] = [=[future:events()
What the descriptor is polled for.
  returns string "r"]=],
  ["future:on_done"] = [=[future:on_done(fn)
Calls `fn(true, …)` or `fn(false, err)` from the event loop once the work has ended. An error in `fn` is uncaught: it is reported, and ends an isolate that is not main.
  fn  function]=],
  ["future:pollfd"] = [=[future:pollfd()
A descriptor that can be read from while the future is done, or the receiver or channel has a message or is closed. Event loops ask for it before each poll; nobody else reads, writes or closes it. It is made at the first call and closed with the object. For LuaSocket the same method is called `getfd`.
  returns integer
  example:
    cqueues.poll(future, 2)]=],
  ["future:timeout"] = [=[future:timeout()
How long a poll of it may take: it has no limit of its own.
  returns nil]=],
  ["future:traceback"] = [=[future:traceback()
Where the error was raised, in the isolate that raised it.
  returns ?string nil when there is none]=],
  ["future:try"] = [=[future:try([timeout])
Waits for the work at most `timeout` seconds and never raises for it.
  timeout  number: seconds; 0 does not wait; nil waits without end
  returns true and the results
  returns false and the error value
  returns nil and "timeout": it is not done yet
  example:
    local ok, value = future:try(0.5)]=],
  ["isolate.after"] = [=[isolate.after(s, [fn])
A timer that rings once. Without a function it can be selected, and keeps nothing alive.
  s  number: seconds, 0 or more
  fn  function: called from the event loop; an error in it is uncaught
  returns timer
  example:
    isolate.after(0.5, function() print "half a second later" end)]=],
  ["isolate.all"] = [=[isolate.all(list)
A future of the list of first results. It fails as soon as one fails, and cancels the rest.
  list  {future,...}
  returns future
  example:
    local pages = isolate.all{ isolate.run(load, 1), isolate.run(load, 2) }:await()]=],
  ["isolate.as_completed"] = [=[isolate.as_completed(list)
Iterates over futures in the order in which they end.
  list  {future,...}
  returns an iterator: place in the list, then true and the results, or false and the error
  example:
    for i, ok, value in isolate.as_completed(list) do print(i, ok, value) end]=],
  ["isolate.async"] = [=[isolate.async(fn, ...)
Runs `fn(...)` as a task of this isolate: whenever it waits, the others go on.
  fn  function
  ...
  returns future of its results; cancelling it raises `cancelled` at the task's wait
  example:
    local f = isolate.async(function() isolate.sleep(1) return "done" end)]=],
  ["isolate.atomic"] = [=[isolate.atomic([n])
An integer of 64 bits that isolates share: sent, it is the same one. It keeps nobody waiting; for a lock take a channel of capacity 1.
  n  integer
  returns atomic
  example:
    local counter = isolate.atomic()]=],
  ["isolate.buffer"] = [=[isolate.buffer(what)
Bytes outside of the Lua heap, which can be moved to another isolate, or frozen and shared.
  what  integer|string|table: a size in bytes; a string whose bytes it gets; or `size` (bytes, or a string such as `"64MB"`) and `fill` (a byte)
  returns buffer
  example:
    local buf = isolate.buffer(1024)]=],
  ["isolate.channel"] = [=[isolate.channel([capacity])
A channel: many senders, many receivers, each message to one of them. It can be sent itself.
  capacity  integer: messages that wait in it; 0: a send waits until somebody receives
  returns channel]=],
  ["isolate.every"] = [=[isolate.every(s, [fn])
A timer that rings again and again. A ring that finds `fn` still running, or that nobody took, is left out.
  s  number: seconds, more than 0
  fn  function: called from the event loop; an error in it is uncaught
  returns timer]=],
  ["isolate.exit"] = [=[isolate.exit([tx], [value])
Ends this isolate now. Its future fails with `exited`; `<close>` variables run.
  tx  sender
  value  what is sent to it as the last message of this isolate
  raises in the main isolate; not_sendable, and then the isolate goes on]=],
  ["isolate.fd"] = [=[isolate.fd()
A descriptor that is readable when this isolate has something to do: then call `pump`. Other event loops poll it.
  returns integer]=],
  ["isolate.find"] = [=[isolate.find(name)
The isolate with a name; of several the one that was started last.
  name  string
  returns ?isolate nil: there is none]=],
  ["isolate.freeze"] = [=[isolate.freeze(v)
An immutable copy of a table and all in it, outside every Lua heap. Isolates that it is sent to share it, and read it in place as a table: `t.k`, `t[i]`, `#t`, `pairs`, `ipairs`. Functions, metatables and handles in it are refused. Values that are immutable already are given back as they are.
  v
  returns the frozen one
  example:
    local config = isolate.freeze{ colours = { "red", "green" } }]=],
  ["isolate.inbox"] = [=[isolate.inbox()
The receiver of this isolate's inbox: what `iso:send` sends. It is closed when no handle to this isolate is left anywhere else.
  returns receiver]=],
  ["isolate.list"] = [=[isolate.list()
The handles of all isolates that have not ended, main too.
  returns {isolate,...}]=],
  ["isolate.map"] = [=[isolate.map(fn, list)
`pool:map` in a pool of this isolate, which is made at the first call; its isolates end when they have had nothing to do for a second.
  fn  function
  list  table
  returns table
  example:
    local squares = isolate.map(function(x) return x * x end, { 1, 2, 3 })]=],
  ["isolate.map_file"] = [=[isolate.map_file(path, [mode])
A buffer over the bytes of a file, which are read when they are used. It is frozen, so that slices of it are sent without a copy; with mode `"r+"` it is not, and what is written to it goes to the file.
  path  string
  mode  string: `"r"` or `"r+"`
  returns buffer|nil
  returns string what went wrong
  returns integer the system's number for it
  example:
    local log <close> = assert(isolate.map_file("log.txt"))]=],
  ["isolate.now"] = [=[isolate.now()
Seconds on a clock that only goes forward.
  returns number]=],
  ["isolate.parent"] = [=[isolate.parent()
The handle of the isolate that started this one.
  returns ?isolate nil in main]=],
  ["isolate.pool"] = [=[isolate.pool([opts], [size])
A pool: isolates that run jobs. They start with the first jobs.
  opts  table: those of `isolate.run`, of which `timeout` is that of a job; `size` (jobs that run at once; default: the cores), `queue` (jobs that wait at most; 1024 for each that runs), `idle` (seconds until an isolate that has nothing to do ends; default: never), `max_jobs` (that an isolate runs before a new one takes its place; default: any number), `retries` (times that a job is run again whose isolate was killed, or ended, within it; 0)
  size  integer
  returns pool
  example:
    local pool <close> = isolate.pool()]=],
  ["isolate.port"] = [=[isolate.port([opts])
A port: one receiver, any number of senders.
  opts  table: `capacity` (messages; default: none), `on_full` (`"block"`, `"error"`, `"drop_oldest"` or `"drop_newest"`), `name`
  returns receiver which stays in this isolate
  returns sender which can be sent
  example:
    local rx, tx = isolate.port()]=],
  ["isolate.progress"] = [=[isolate.progress([opts], iter...)
Passes on what a generic `for` takes, and shows on stderr how far the loop is: as a bar on a terminal, elsewhere as a line every few seconds and at the end. Silent when the environment variable NO_PROGRESS is set.
  opts  table: `total`, how many items there are; `label`; `interval`, the least seconds between two drawings (0.1 on a terminal, 5 elsewhere)
  iter...  what a `for` takes; or a list, whose indices and values it gives; or a stream
  returns what a `for` takes
  example:
    for line in isolate.progress({ label = "lines" }, io.lines "names.txt") do print(line) end]=],
  ["isolate.pump"] = [=[isolate.pump([max_items], [max_seconds])
Does what this isolate has to do, without waiting: handlers, timers, tasks.
  max_items  integer: at most so many things
  max_seconds  number: for about so long
  returns integer how many things are left]=],
  ["isolate.race"] = [=[isolate.race(list)
A future of the first of the list to end, with its results or its error. Cancels the rest.
  list  {future,...}: at least one
  returns future
  example:
    local answer = isolate.race{ isolate.run(ask, "a"), isolate.run(ask, "b") }:await()]=],
  ["isolate.register"] = [=[isolate.register(name, value)
Gives a function or table a name for sending. Where the receiver gave its own value the same name (in a module, or in `init`), that value arrives; elsewhere a copy that keeps the name.
  name  string
  value  table|function
  returns the value]=],
  ["isolate.run"] = [=[isolate.run([opts], fn, ...)
Runs `fn(...)` in a fresh isolate. Never waits.
  opts  table: `name`, in errors and of the thread (default: the place of `fn`); `timeout` in seconds, after which it is killed; `memory`, a cap on its heap, as `1000000` or `"64MB"`; `libs`, a list of the standard libraries that it gets (all); `globals`: `"capture"`, or `"none"`; `init`, a module's name or a function, run first; `gc`: `"generational"`, `"incremental"` or `"stop"`; `stack`, the size of the thread's (1 MiB); `strip = true`: no debug information is sent; `paused = true`: it starts paused; `errors_fatal = false`: an uncaught error in a task, timer or handler does not end it; `on_exit`, `on_error`: senders that are told of its end, of its errors
  fn  function: its upvalues, and the globals it names, are copied now
  ...  arguments, copied now
  returns future of its results
  raises not_sendable, when something cannot be copied; nothing was started then
  example:
    print(isolate.run(function(n) return n * 2 end, 21):await())]=],
  ["isolate.scope"] = [=[isolate.scope([opts])
A scope, for isolates and tasks that do not outlive a block. Leaving the block waits for them; leaving it by an error, or the failure of one of them, cancels the others.
  opts  table: `name`, for show; `timeout` in seconds: then all are cancelled, and the scope raises `timeout`
  returns scope which belongs into a to-be-closed variable
  example:
    local s <close> = isolate.scope()]=],
  ["isolate.select"] = [=[isolate.select(list, [timeout])
Waits for the first of several things. Exactly one is taken; the others lose nothing.
  list  {thing,...}: receivers, channels, futures, isolates, timers, and `{channel, value}` to send
  timeout  number: seconds; nil waits without end
  returns the thing and its value: a message, the first result of a future, the exit message of an isolate, true of a timer that rang or a value that was sent
  returns the thing, nil and the error: of a future
  returns the thing, nil and "closed"
  returns nil and "timeout"
  raises not_sendable; deadlock]=],
  ["isolate.self"] = [=[isolate.self()
The handle of the isolate that calls.
  returns isolate]=],
  ["isolate.sendable"] = [=[isolate.sendable(v)
Could this value be sent?
  v  any value
  returns true
  returns false and the error object `not_sendable`, with the field `path`
  example:
    print(isolate.sendable(io.stdout))]=],
  ["isolate.sleep"] = [=[isolate.sleep(s)
Waits. The rest of this isolate goes on meanwhile.
  s  number: seconds, 0 or more; 0 gives the rest of this isolate a turn]=],
  ["isolate.spawn"] = [=[isolate.spawn([opts], fn, ...)
Starts an isolate that lives until `fn` has returned and its event loop has nothing left: no task, no timer with a function, no receiver with a function that a sender elsewhere can still reach.
  opts  table: those of `isolate.run`
  fn  function
  ...  arguments, copied now
  returns isolate its handle
  raises not_sendable]=],
  ["isolate.spawn_file"] = [=[isolate.spawn_file([opts], path, ...)
The same for the chunk in a file, which gets the arguments as `...`.
  opts  table: those of `isolate.run`
  path  string
  ...  arguments, copied now
  returns isolate its handle; what is wrong with the file is the isolate's error]=],
  ["isolate.stream"] = [=[isolate.stream([opts], fn, ...)
Runs `fn(emit, ...)` in an isolate of its own, and gives the stream of what it emits. Never waits.
  opts  table: those of `isolate.run`; `window`: values that may wait for the consumer (64); `batch`: so many values, if there are, go as one message
  fn  function: `emit(v)` waits while the window is full, and raises `cancelled` once nobody takes them
  ...  arguments, copied now
  returns stream
  raises not_sendable, when something cannot be copied; nothing was started then
  example:
    for v in isolate.stream(function(emit) for i = 1, 3 do emit(i) end end):values() do print(v) end]=],
  ["isolate.stream_of"] = [=[isolate.stream_of(v, ...)
A stream of a list, an iterator, a receiver or a channel.
  v  a list; what a generic `for` takes; or a receiver, which is the stream's from now on
  ...  of an iterator: its state, first value, and closing value
  returns stream
  example:
    isolate.stream_of(io.lines "names.txt"):take(3):each(print)]=],
  ["isolate.supervisor"] = [=[isolate.supervisor(opts)
Starts a supervisor: an isolate that starts others, its children, and starts them again when they end as they should not. When that happens too often it stops them all, and fails itself.
  opts  table: `children`, a list of tables: `name`, `fn`, `args`; `restart` (`"permanent"`, `"transient"` or `"temporary"`); `shutdown`, the grace in seconds (5); those of `isolate.run`. `strategy` (`"one_for_one"`, `"one_for_all"` or `"rest_for_one"`); `intensity` (3) restarts within `period` (5 seconds) are allowed; `name`; `on_event`, a sender that is told what happens
  returns supervisor
  raises not_sendable
  example:
    local sup <close> = isolate.supervisor { children = { { name = "clock", fn = tick } } }]=],
  ["isolate.thaw"] = [=[isolate.thaw(v)
A plain copy of a frozen table, with all in it. Other values are given back as they are.
  v
  returns the copy]=],
  ["isolate.timeout"] = [=[isolate.timeout()
Seconds until the next timer of this isolate is due.
  returns ?number nil: there is none]=],
  ["isolate.transfer"] = [=[isolate.transfer(buf)
In a message, argument or result, the buffer itself instead of a copy: it is moved, whatever its size. From then on the buffer here, its slices and its views raise `transferred`.
  buf  buffer
  returns what is to be sent
  example:
    tx:send(isolate.transfer(buf))]=],
  ["isolate.wait"] = [=[isolate.wait()
Waits until every other isolate has ended. In main only.]=],
  ["isolate:join"] = [=[isolate:join([timeout])
Waits until the isolate's work has ended, as `future:try`.
  timeout  number: seconds; nil waits without end
  returns true and the results
  returns false and the error value
  returns nil and "timeout"]=],
  ["isolate:kill"] = [=[isolate:kill([opts])
Kills the isolate, whatever Lua code it runs. Its `<close>` variables and finalizers get the grace.
  opts  table: `grace` in seconds (0.1); `when = "idle"`: not before it waits
  raises for main]=],
  ["isolate:off"] = [=[isolate:off(tx)
The sender is not told any more.
  tx  sender]=],
  ["isolate:on_error"] = [=[isolate:on_error(tx)
Sends an error message `{id, name, message, traceback, error}` for each error that nobody catches there; it is not printed then.
  tx  sender]=],
  ["isolate:on_exit"] = [=[isolate:on_exit(tx, [value])
Sends the exit message `{id, name, status, reason}`, or `value`, when the isolate has ended: the last thing of all. Told at once when that was before.
  tx  sender: a second call with it replaces its value
  value
  raises not_sendable]=],
  ["isolate:pause"] = [=[isolate:pause([key])
Pauses the isolate between events: messages and timers queue meanwhile. Pauses by n keys need n resumes.
  key  string|integer: a second pause by the same key is none; nil: a fresh one
  returns string|integer the key; nil and "closed" when it has ended
  raises for main]=],
  ["isolate:ping"] = [=[isolate:ping([opts])
Is it there? Answered at once, also by code that is busy; or when it is back in its event loop.
  opts  number|table: seconds to wait for the answer; or `when = "idle"` and `timeout`
  returns true
  returns nil and "timeout"
  returns nil and "closed": it has ended]=],
  ["isolate:resume"] = [=[isolate:resume([key])
Takes back the pause by a key, or all of them, and a start with `paused = true`.
  key  string|integer: one that is unknown has no effect
  raises for main]=],
  ["isolate:stats"] = [=[isolate:stats()
Numbers about the isolate.
  returns table `memory` bytes of its heap, `cpu` seconds of processor time, `messages_in` received, `messages_out` sent, `queued` in its inbox; `age` in seconds; `spawned`: true unless it is main or ends with its function; `busy`: its code runs now, and does not wait]=],
  ["isolate:status"] = [=[isolate:status()
What the isolate is doing: "starting", "running", "waiting", "done", "failed", "killed", "stuck".
  returns string]=],
  ["pool:cancel"] = [=[pool:cancel([reason])
Takes no more jobs, and ends those that are in: their futures fail with `cancelled`.
  reason  string: the errors' message]=],
  ["pool:close"] = [=[pool:close([timeout])
Takes no more jobs, and waits until those that are in have ended. Then its isolates end.
  timeout  number: seconds; 0 does not wait
  returns boolean true
  returns nil and "timeout": some jobs go on; call it again, or `cancel`]=],
  ["pool:each"] = [=[pool:each(fn, list)
The same for what `fn` does, not for what it gives.
  fn  function
  list  table]=],
  ["pool:imap"] = [=[pool:imap([opts], fn, iter, ...)
An iterator over `fn(item)` of what a list or another iterator gives, in the pool.
  opts  table: `ordered` (true: in the order of the items; false: as they are ready), `window` (items taken ahead of the loop at most; default: what keeps the pool busy), `chunk` (items in a job; default: by the time that they take)
  fn  function: gets an item of the list, or the values of the iterator
  iter  table|function: a list, or what a generic `for` takes: `io.lines(name)`, `pairs(t)`
  ...
  returns an iterator, for a generic `for`, over the number of the item and the first result
  example:
    for i, n in pool:imap(count_words, io.lines "big.txt") do total = total + n end]=],
  ["pool:map"] = [=[pool:map(fn, list)
`fn(item)` of every item, in the pool. Chooses by itself how many items make a job.
  fn  function: gives one value; the first error ends the others, and is raised
  list  table
  returns table the results, in the order of the list
  example:
    local squares = pool:map(function(x) return x * x end, { 1, 2, 3 })]=],
  ["pool:reduce"] = [=[pool:reduce(fn, list, [init])
All items put together by `fn(a, b)`, in the pool: parts of the list first, then what they give.
  fn  function: gives one value; associative: how the items are grouped must not matter
  list  table
  init  goes before the first item, and is what an empty list gives
  returns the value; nil of an empty list without `init`
  example:
    local sum = pool:reduce(function(a, b) return a + b end, numbers, 0)]=],
  ["pool:stats"] = [=[pool:stats()
What it does now, and has done.
  returns table `size`, `busy` (jobs that have begun), `queued` (jobs that wait), `done`, `failed` (jobs), and `wait` and `run`: seconds that jobs waited and ran, each {p50=, p99=}, to 12 %]=],
  ["pool:submit"] = [=[pool:submit([opts], fn, ...)
Has one of the pool's isolates run `fn(...)`. Waits while the queue is full; the rest of this isolate goes on meanwhile.
  opts  table: `timeout` (seconds that it may run), `priority` (-128 to 127, 0; higher ones go first), `name`
  fn  function: its upvalues, and the globals it names, are copied now
  ...  arguments, copied now
  returns future of its results
  raises not_sendable; closed
  example:
    local sum = pool:submit(add, 1, 2):await()]=],
  ["pool:try_submit"] = [=[pool:try_submit([opts], fn, ...)
The same without waiting.
  opts  table: `timeout`, `priority`, `name`, as for `pool:submit`
  fn  function
  ...
  returns future
  returns nil and "full" or "closed"]=],
  ["receiver:close"] = [=[receiver:close()
Closes it: what is queued is dropped (of a channel it can still be received), and senders get nil and "closed". May be called again.]=],
  ["receiver:messages"] = [=[receiver:messages()
Iterates over messages as they come; ends when it is closed.
  returns an iterator
  example:
    for v in rx:messages() do print(v) end]=],
  ["receiver:on_message"] = [=[receiver:on_message(fn)
Calls `fn(v)` with each message from the event loop, one after another. With nil, messages queue again.
  fn  ?function: an error in it is uncaught
  returns receiver]=],
  ["receiver:receive"] = [=[receiver:receive([timeout])
The next message. Waits for it; the rest of this isolate goes on meanwhile.
  timeout  number: seconds; nil waits without end
  returns the value
  returns nil and "closed": it is closed, or no sender is left and the queue is empty
  returns nil and "timeout"]=],
  ["receiver:receive_many"] = [=[receiver:receive_many(max, [timeout])
Waits for a message and gives it in a list with those that are queued behind it.
  max  integer: length of the list at most
  timeout  number: seconds; nil waits without end
  returns a list of at least one value
  returns nil and "closed" or "timeout"]=],
  ["receiver:ref"] = [=[receiver:ref()
The function of on_message keeps the isolate alive while a sender is somewhere else: as at first.
  returns receiver]=],
  ["receiver:try_receive"] = [=[receiver:try_receive()
The next message if there is one.
  returns the value
  returns nil and "empty" or "closed"]=],
  ["receiver:unref"] = [=[receiver:unref()
The function of on_message does not keep the isolate alive, until `ref` is called.
  returns receiver]=],
  ["scope:async"] = [=[scope:async(fn, ...)
Runs a function as a task of this isolate, as isolate.async does.
  fn  function
  ...
  returns future
  raises `cancelled` when the scope is; when it has been left]=],
  ["scope:cancel"] = [=[scope:cancel([reason])
Cancels the tasks and runs, and kills the isolates that were spawned. No child can be started after that. Leaving the scope still waits until they are gone, and raises nothing for them.
  reason  string: the message of their errors]=],
  ["scope:run"] = [=[scope:run([opts], fn, ...)
Runs a function in an isolate, as isolate.run does.
  opts  table: those of `isolate.run`
  fn  function
  ...
  returns future
  raises not_sendable; `cancelled` when the scope is; when it has been left]=],
  ["scope:spawn"] = [=[scope:spawn([opts], fn, ...)
Starts an isolate, as isolate.spawn does. Its error is the scope's, not printed.
  opts  table: those of `isolate.run`
  fn  function
  ...
  returns isolate
  raises as `run`]=],
  ["scope:wait"] = [=[scope:wait([timeout])
Waits until no child is left.
  timeout  number: seconds
  returns true
  returns nil and "timeout"
  raises what the scope has failed with]=],
  ["sender:close"] = [=[sender:close()
Gives up this isolate's hold on the port. When the last sender everywhere is closed, collected or gone with its isolate, the receiver drains and is closed. May be called again.]=],
  ["sender:send"] = [=[sender:send(v, [timeout])
Sends a value, a copy of it. Waits while there is no room; a port without capacity always has some.
  v  any value that can be sent, but nil
  timeout  number: seconds to wait for room; nil waits without end
  returns true
  returns nil and "closed": the receiver is closed or gone, or this sender was closed
  returns nil and "timeout"
  returns nil and "full": the port was made with `on_full = "error"`
  raises not_sendable]=],
  ["sender:try_send"] = [=[sender:try_send(v)
Sends a value if there is room, and does not wait.
  v  as for send
  returns true
  returns nil and "closed" or "full"]=],
  ["socket.select"] = [=[socket.select(receiving, sending, [timeout])
`socket.select`, in which the isolate goes on.
  receiving  ?{object,...}: sockets, futures, receivers, channels, or what has `getfd` and `dirty`
  sending  ?{object,...}
  timeout  number: seconds; nil or less than 0 waits without end
  returns table objects that are ready, by place and by themselves
  returns table of those that can be sent to
  returns ?string "timeout"]=],
  ["stream:batch"] = [=[stream:batch()
Lists of n values each; the last may have fewer.]=],
  ["stream:buffer"] = [=[stream:buffer()
Whenever a value is asked for, up to n are taken from the stream below, as far as they are there.]=],
  ["stream:close"] = [=[stream:close()
Gives the stream up, and what it stands on: the producer ends. May be called again.]=],
  ["stream:collect"] = [=[stream:collect()
A list of all values.]=],
  ["stream:count"] = [=[stream:count()
How many values come.]=],
  ["stream:each"] = [=[stream:each()
Calls `fn(v)` with each value.]=],
  ["stream:filter"] = [=[stream:filter()
Only the values for which `fn(v)` is true.]=],
  ["stream:first"] = [=[stream:first()
The first value; nil: there is none. Closes the stream.]=],
  ["stream:flat_map"] = [=[stream:flat_map()
All values of what `fn(v)` gives, one after another: a list, an iterator or a stream.]=],
  ["stream:map"] = [=[stream:map()
Each value becomes `fn(v)`, which must not be nil.]=],
  ["stream:merge"] = [=[stream:merge()
The values of both, as they come.]=],
  ["stream:parallel"] = [=[stream:parallel(n, fn, [opts])
`fn(v)` of each value, computed by n isolates. Takes 2 n values at most ahead of what it gives.
  n  integer
  fn  function: its upvalues and globals are copied when the first value is asked for
  opts  table: `ordered = true`: results in the order of the values]=],
  ["stream:pause"] = [=[stream:pause()
From now on no value is given out: a wait for one goes on until `resume`, and the producer soon waits too.
  returns stream]=],
  ["stream:receive"] = [=[stream:receive([timeout])
The next value. Waits for it; the rest of this isolate goes on meanwhile.
  timeout  number: seconds; nil waits without end
  returns the value
  returns nil and "closed": it has ended, or was closed
  returns nil and "timeout"
  raises the error of the producer or of a stage, once]=],
  ["stream:reduce"] = [=[stream:reduce(fn, [acc])
`fn(fn(acc, v1), v2)`, and so on.
  fn  function
  acc  what it begins with; nil: the first value
  returns the last result; nil: there was no value]=],
  ["stream:resume"] = [=[stream:resume()
Goes on after `pause`.
  returns stream]=],
  ["stream:skip"] = [=[stream:skip()
All but the first n values.]=],
  ["stream:take"] = [=[stream:take()
The first n values. Closes the stream below as soon as it has them.]=],
  ["stream:values"] = [=[stream:values()
The four values of a generic `for`. Leaving the loop closes the stream.
  example:
    for v in s:values() do print(v) end]=],
  ["stream:zip"] = [=[stream:zip()
Lists `{v, w}` of a value of each. Ends with the first that ends, and closes the other.]=],
  ["supervisor:child"] = [=[supervisor:child(name)
The isolate that a child is now.
  name  string
  returns isolate
  returns nil and "closed": it has ended for good, or the supervisor has
  raises when there is no child of that name]=],
  ["supervisor:children"] = [=[supervisor:children()
The children in their order.
  returns {table,...} each with `name`, `id`, `status`, `restarts` and `isolate`
  returns nil and "closed": the supervisor has ended]=],
  ["supervisor:join"] = [=[supervisor:join([timeout])
Waits until the supervisor has ended.
  timeout  number: seconds
  returns true: it was stopped
  returns false and the error: it gave up (code `restarts`), or was killed
  returns nil and "timeout"]=],
  ["supervisor:restart"] = [=[supervisor:restart(name)
Stops a child, if it has not ended, and starts it again. That is no failure.
  name  string
  returns isolate the new one
  returns nil and "closed"
  raises when there is no child of that name]=],
  ["supervisor:stop"] = [=[supervisor:stop([timeout])
Stops the children in reverse order, and then the supervisor, and waits for that.
  timeout  number: seconds to wait at most; the stop goes on after that
  returns as `join`]=],
  ["timer:cancel"] = [=[timer:cancel()
It does not ring any more.
  returns boolean would it have rung?]=],
  ["uv.run"] = [=[uv.run([mode])
`uv.run`, for the isolate as well.
  mode  string: "default", "once" or "nowait"
  returns boolean are there handles left?]=],
  ["view:sum"] = [=[view:sum()
The sum of all numbers; that of integers wraps around.
  returns number]=],
  ["view:table"] = [=[view:table()
The numbers as a list.
  returns table]=],
}
