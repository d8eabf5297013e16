# Makefile - builds isolua. `make help` lists the targets.

# ---- Settings: on the command line, as in `make CC=clang PREFIX=$HOME/.local install` ----

# Optimization and debug information; more for the linker; 1: warnings are errors; 1: whole commands.
CFLAGS = -O2 -g
LDFLAGS =
WERROR =
V =

# The tree that everything is built in.
BUILD = build

# The interpreter that runs tools and specs, Lua's name in pkg-config, and what the tests need.
LUA = lua5.4
LUA_PC = lua5.4
# libedit's, for the prompt of the executable; nothing: its lines are not edited.
LIBEDIT_PC = libedit
PKG_CONFIG = pkg-config
OBJCOPY = objcopy
BUSTED = /usr/bin/busted
LUAROCKS = luarocks-5.4

# Where `make install` puts things, below DESTDIR.
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
LIBDIR = $(PREFIX)/lib
INCLUDEDIR = $(PREFIX)/include
LMODDIR = $(PREFIX)/share/lua/5.4
CMODDIR = $(PREFIX)/lib/lua/5.4
MANDIR = $(PREFIX)/share/man

# What `make run` runs: the line counter on the project's own sources.
SCRIPT = examples/count_lines.lua
ARGS =

# The specs that the tests run (folders or files), more for busted (BUSTED_ARGS=--filter=port), and
# the seconds that one run may take; a sanitizer may take three times that.
SPEC = spec
BUSTED_ARGS =
TEST_LIMIT = 600

# Seconds that `make stress` takes.
TIME = 60

# ---- Nothing to change below ----

SHELL = /bin/sh
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL = all

export CC BUSTED LIBEDIT_PC LUA LUA_PC LUAROCKS PKG_CONFIG

# ---- Sources ----

SCRIPTS := $(shell find scripts -name '*.lua' 2>/dev/null | LC_ALL=C sort)
PROGRAM := host/main.c $(sort $(wildcard host/repl*.c))
CORE := $(filter-out $(PROGRAM),$(sort $(wildcard host/*.c)))
BINDINGS := $(sort $(wildcard bindings/*.c))
HEADERS := host/isolua.h host/isolua_lua.h
C_TESTS := $(sort $(wildcard spec/c/*_test.c))
C_HELPERS := $(filter-out $(C_TESTS),$(sort $(wildcard spec/c/*.c)))
# The scripts inside the library need a C file that only it has; bindings/lopen.c reads it. Those of the
# prompt are in the executable alone.
EMBEDDED := $(BUILD)/gen/scripts.c
EMBEDDED_REPL := $(BUILD)/gen/repl.c
# What has LDoc comments on functions of the API.
DOCUMENTED := $(BINDINGS) $(filter-out scripts/isolate/repl%,$(SCRIPTS))
MODULE := $(CORE) $(filter-out bindings/lopen.c,$(BINDINGS))

PROJECT = $(sort $(wildcard host/*.[ch] bindings/*.[ch]) $(SCRIPTS))

# ---- Flags ----

VERSION := $(shell sed -n 's/^.define ISOLUA_VERSION_[MP][A-Z]* //p' host/isolua.h | paste -sd.)
MAJOR := $(firstword $(subst ., ,$(VERSION)))

SANITIZE_asan = -fsanitize=address
SANITIZE_tsan = -fsanitize=thread
SANITIZE_ubsan = -fsanitize=undefined
SANITIZE := $(if $(SANITIZER),$(SANITIZE_$(SANITIZER)) -fno-omit-frame-pointer)

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes \
  $(if $(WERROR),-Werror)
FLAGS := $(strip -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden $(WARNINGS) $(SANITIZE) \
  -Ihost -Ibindings)
LINK := $(CC) $(SANITIZE) $(LDFLAGS)
SHARED := -shared -Wl,-z,nodelete -Wl,-Bsymbolic
SYSTEM_LIBS := -lm -ldl -lpthread

# pkg-config may come with the packages that the first rule installs: it is asked at the first use.
LUA_CFLAGS = $(eval LUA_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(LUA_PC)))$(LUA_CFLAGS)
LUA_LIBS = $(eval LUA_LIBS := $(shell $(find_lua)))$(LUA_LIBS)
# The whole static library if there is one, so that C modules find every function; else the shared.
find_lua = l=$$($(PKG_CONFIG) --libs-only-l $(LUA_PC)); l=$${l\#-l}; l=$${l%% *}; \
  a=$$($(PKG_CONFIG) --variable=libdir $(LUA_PC))/lib$$l.a; \
  if test -f "$$a"; then echo -Wl,--whole-archive $$a -Wl,--no-whole-archive; \
  else $(PKG_CONFIG) --libs $(LUA_PC); fi

EDIT_FLAGS = $(eval EDIT_FLAGS := $(shell $(have_edit) && echo -DISOLUA_LIBEDIT $$($(PKG_CONFIG) --cflags $(LIBEDIT_PC))))$(EDIT_FLAGS)
EDIT_LIBS = $(eval EDIT_LIBS := $(shell $(have_edit) && $(PKG_CONFIG) --libs $(LIBEDIT_PC)))$(EDIT_LIBS)
have_edit = test -n '$(LIBEDIT_PC)' && $(PKG_CONFIG) --exists '$(LIBEDIT_PC)'

comma := ,
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $1 $@)
# Recursion uses all processors unless the caller has said how many.
RECURSE = $(MAKE) --no-print-directory -s $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))
JOBS := $(shell nproc 2>/dev/null || echo 2)

# ---- What is built ----

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(patsubst $(BUILD)/%,%,$1))
MODULE_O := $(call objects,$(MODULE))
LIBRARY_O := $(call objects,$(CORE) $(BINDINGS) $(EMBEDDED))
LIBRARY_1 := $(BUILD)/obj/isolua.o
MAIN_O := $(call objects,$(wildcard $(PROGRAM)) $(EMBEDDED_REPL))
HELPERS_O := $(call objects,$(C_HELPERS))

EXE := $(BUILD)/bin/isolua
LIB_A := $(BUILD)/lib/libisolua.a
LIB_SO := $(BUILD)/lib/libisolua.so
PC := $(BUILD)/lib/pkgconfig/isolua.pc
CORE_SO := $(BUILD)/lua/isolate/core.so
MODULES := $(SCRIPTS:scripts/%=$(BUILD)/lua/%)
AMALGAMATION := $(BUILD)/amalgamation/isolua.c
C_PROGRAMS := $(C_TESTS:spec/c/%.c=$(BUILD)/bin/c/%)
# But the game, which is SDL's more than the library's.
EXAMPLES := $(filter-out %/game.c,$(wildcard examples/embed/*.c examples/embed/*.cpp))
EXAMPLE_PROGRAMS := $(EXAMPLES:examples/embed/%=$(BUILD)/bin/examples/%)

.PHONY: all amalgamation c-tests embed-examples
all: $(EXE) $(LIB_A) $(LIB_SO) $(PC) $(CORE_SO) $(MODULES) ## build everything (the default)
amalgamation: $(AMALGAMATION) ## write the library as one C file, with its headers beside it
c-tests: $(C_PROGRAMS)
embed-examples: $(EXAMPLE_PROGRAMS)

$(EXE): $(MAIN_O) $(LIBRARY_O) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) -Wl,-E -o $@ $(MAIN_O) $(LIBRARY_O) $(LUA_LIBS) $(EDIT_LIBS) $(SYSTEM_LIBS)

# One object, in which names that are not API are nobody else's: programs have a `set_index` too.
$(LIB_A): $(LIBRARY_O) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,AR)
	$(Q)$(CC) -r -nostdlib -o $(LIBRARY_1) $(LIBRARY_O)
	$(Q)$(OBJCOPY) --localize-hidden $(LIBRARY_1)
	$(Q)rm -f $@ && $(AR) rcs $@ $(LIBRARY_1)

$(LIB_SO): $(LIBRARY_O) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) $(SHARED) -Wl,-soname,$(@F).$(MAJOR) -o $@ $(LIBRARY_O) $(SYSTEM_LIBS)
	$(Q)ln -sf $(@F) $@.$(MAJOR)

$(CORE_SO): $(MODULE_O) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) $(SHARED) -o $@ $(MODULE_O) $(SYSTEM_LIBS)

$(MODULES): $(BUILD)/lua/%: scripts/% $(BUILD)/sources
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(AMALGAMATION): $(CORE) $(BINDINGS) $(EMBEDDED) $(wildcard host/*.h bindings/*.h) LICENSE \
  .ci/amalgamate.lua $(BUILD)/sources | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,WRITE)
	$(Q)$(LUA) .ci/amalgamate.lua $(@D) $(CORE) $(BINDINGS) $(EMBEDDED)

$(C_PROGRAMS): $(BUILD)/bin/c/%: $(BUILD)/obj/spec/c/%.o $(HELPERS_O) $(LIBRARY_O)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) -Wl,-E -o $@ $< $(HELPERS_O) $(LIBRARY_O) $(LUA_LIBS) $(SYSTEM_LIBS)

# What it and the library ask of the system goes through the test.
$(BUILD)/bin/c/refuse_test: LINK += $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc free \
  aligned_alloc strdup mmap pthread_create eventfd epoll_create1)

$(BUILD)/bin/examples/%.c: examples/embed/%.c $(LIB_A) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(LINK) $(FLAGS) $(LUA_CFLAGS) $(CFLAGS) -o $@ $< $(LIB_A) $(LUA_LIBS) $(SYSTEM_LIBS)

$(BUILD)/bin/examples/%.cpp: examples/embed/%.cpp examples/embed/isolua.hpp $(LIB_A) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) -std=c++17 -Wall -Wextra -Ihost $(CFLAGS) -o $@ $< $(LIB_A) $(LUA_LIBS) $(SYSTEM_LIBS)

$(BUILD)/bin/limits: spec/bench/limits.c $(BUILD)/flags | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(LINK) $(FLAGS) $(LUA_CFLAGS) $(CFLAGS) -o $@ $< $(LUA_LIBS) $(SYSTEM_LIBS)

$(BUILD)/bin/embed: spec/bench/embed.c $(LIB_A) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(LINK) $(FLAGS) $(LUA_CFLAGS) $(CFLAGS) -o $@ $< $(LIB_A) $(LUA_LIBS) $(SYSTEM_LIBS)

# ---- How a source is compiled ----

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(FLAGS) $(LUA_CFLAGS) $(if $(findstring repl_,$@),$(EDIT_FLAGS)) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c $(BUILD)/flags | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) -c -o $@ $<

$(EMBEDDED) $(EMBEDDED_REPL): $(SCRIPTS) .ci/embed.lua $(BUILD)/sources | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,EMBED)
	$(Q)$(LUA) .ci/embed.lua isolua_$(basename $(@F)) scripts $(MODULES_IN) > $@
$(EMBEDDED): MODULES_IN = $(filter-out scripts/isolate/repl%,$(SCRIPTS))
$(EMBEDDED_REPL): MODULES_IN = $(filter scripts/isolate/repl%,$(SCRIPTS))

-include $(patsubst %.o,%.d,$(LIBRARY_O) $(MAIN_O) $(HELPERS_O) $(call objects,$(C_TESTS)))

# Two files that hold what a tree was built with. One that differs is written anew, and what depends
# on it is built again: after a change of flags, after a source was added or removed.
flags_now = $(strip $(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $(LUA_PC) $(LIBEDIT_PC) $(CURDIR))
sources_now = $(strip $(CORE) $(BINDINGS) $(MAIN_O) $(SCRIPTS))
write_now = @mkdir -p $(@D) && printf '%s\n' '$($(@F)_now)' > $@
ifneq ($(file <$(BUILD)/flags),$(flags_now))
.PHONY: $(BUILD)/flags
endif
ifneq ($(file <$(BUILD)/sources),$(sources_now))
.PHONY: $(BUILD)/sources
endif
$(BUILD)/flags:
	$(write_now)
$(BUILD)/sources:
	@rm -rf $(BUILD)/lua
	$(write_now)

# ---- pkg-config ----

# $(call pc,libdir,includedir): for the installed library, or for the build tree.
pc = printf '%s\n' 'libdir=$1' 'includedir=$2' '' 'Name: isolua' \
  'Description: Lua 5.4 isolates' 'Version: $(VERSION)' 'Requires: $(LUA_PC)' \
  'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lisolua' 'Libs.private: $(SYSTEM_LIBS)'

$(PC): Makefile host/isolua.h $(BUILD)/flags
	@mkdir -p $(@D)
	@$(call pc,$(abspath $(BUILD)/lib),$(CURDIR)/host) > $@

# ---- What is run ----

.PHONY: run test stress bench lint format asan tsan ubsan valgrind docs rockspec
run: ## run the line counter on the project's own sources, or SCRIPT=… ARGS="…"
	@$(RECURSE) all
	@$(EXE) $(SCRIPT) $(if $(SCRIPT:examples/count_lines.lua=)$(ARGS),$(ARGS),$(PROJECT))

tests = BUILD='$(BUILD)' SPEC='$(SPEC)' BUSTED_ARGS='$(BUSTED_ARGS)' LIMIT=$(TEST_LIMIT) .ci/test

test: ## run the specs under stock Lua and under isolua, and the C tests
	@.ci/deps build test
	@$(RECURSE) all c-tests
	@$(tests) stock host c

asan tsan ubsan: ## run the specs and the C tests under a sanitizer
	@.ci/deps build test
	@$(RECURSE) BUILD=$(BUILD)/$@ SANITIZER=$@ CFLAGS='$(CFLAGS) -O1' all c-tests
	@$(subst '$(BUILD)','$(BUILD)/$@',$(tests)) --sanitizer=$@ host c

valgrind: ## run the C tests and examples/embed under valgrind
	@.ci/deps build test valgrind
	@$(RECURSE) all c-tests embed-examples
	@$(tests) --sanitizer=valgrind valgrind

# Of another build: make stress BUILD=build/tsan SANITIZER=tsan.
stress: ## run races for TIME seconds, which fail on anything that is lost, left behind or hangs
	@.ci/deps build test
	@$(RECURSE) all
	@for f in spec/stress/*.lua; do \
	  TIME=$(TIME) $(if $(filter tsan,$(SANITIZER)),setarch -R) $(EXE) $$f || exit 1; done

bench: ## measure, each figure beside what the machine can do
	@.ci/deps build test
	@$(RECURSE) all $(BUILD)/bin/limits $(BUILD)/bin/embed
	@$(EXE) spec/bench/bench.lua $(ARGS)

lint: ## check layers, format, C and Lua code, and exported symbols
	@.ci/deps build lint
	@$(RECURSE) all
	@BUILD='$(BUILD)' FLAGS='$(FLAGS) $(LUA_CFLAGS)' .ci/lint

format: ## reformat the C sources
	@.ci/deps lint
	@clang-format -i $(wildcard host/*.[ch] bindings/*.[ch] spec/*/*.[ch] examples/*/*.[ch]*)

docs: ## write doc/c-api.md, spec/c/returned.h and what `:doc` shows anew from comments
	@.ci/deps build
	@$(LUA) .ci/apidoc.lua $(DOCUMENTED) > scripts/isolate/repl/reference.lua
	@$(LUA) .ci/headerdoc.lua $(HEADERS) > doc/c-api.md
	@$(LUA) .ci/headerdoc.lua --returned $(HEADERS) > spec/c/returned.h

rockspec: ## write the lists of the rockspec anew from the folders
	@.ci/deps build
	@$(LUA) .ci/rockspec.lua '$(MODULE)' '$(SCRIPTS)'

# ---- Setting up ----

.PHONY: deps env install clean help
deps: ## install the packages that are missing, or say how
	@.ci/deps build test lint valgrind

$(BUILD)/.deps: .ci/deps
	@.ci/deps build
	@mkdir -p $(@D) && touch $@

env: ## print what makes stock Lua find the module: eval "$$(make -s env)"
	@echo 'export LUA_PATH="$(abspath $(BUILD)/lua)/?.lua;$${LUA_PATH:-;}"'
	@echo 'export LUA_CPATH="$(abspath $(BUILD)/lua)/?.so;$${LUA_CPATH:-;}"'
	@echo 'export PATH="$(abspath $(BUILD)/bin):$$PATH"'

to = $(DESTDIR)$1
install: all ## install below PREFIX (and DESTDIR)
	install -d $(call to,$(BINDIR)) $(call to,$(LIBDIR))/pkgconfig $(call to,$(INCLUDEDIR))
	install -d $(call to,$(CMODDIR))/isolate $(call to,$(MANDIR))/man1
	install $(EXE) $(call to,$(BINDIR))
	install -m 644 doc/isolua.1 $(call to,$(MANDIR))/man1
	install -m 644 $(HEADERS) $(call to,$(INCLUDEDIR))
	install -m 644 $(LIB_A) $(call to,$(LIBDIR))
	install $(LIB_SO) $(call to,$(LIBDIR))/libisolua.so.$(VERSION)
	ln -sf libisolua.so.$(VERSION) $(call to,$(LIBDIR))/libisolua.so.$(MAJOR)
	ln -sf libisolua.so.$(MAJOR) $(call to,$(LIBDIR))/libisolua.so
	install $(CORE_SO) $(call to,$(CMODDIR))/isolate
	cd scripts && for f in $(SCRIPTS:scripts/%=%); do \
	  install -D -m 644 $$f $(abspath $(call to,$(LMODDIR)))/$$f || exit 1; done
	$(call pc,$(LIBDIR),$(INCLUDEDIR)) > $(call to,$(LIBDIR))/pkgconfig/isolua.pc
	chmod 644 $(call to,$(LIBDIR))/pkgconfig/isolua.pc
	@test -n "$(DESTDIR)" || ldconfig 2>/dev/null || true

clean: ## remove the build tree
	rm -rf $(BUILD)

help: ## list the targets
	@sed -n 's/^\([a-z][a-z ]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | sed 's/\$$\$$/$$/g' | \
	  awk -F'|' '{printf "make %-18s %s\n", $$1, $$2}'
