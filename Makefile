# gramd. `make help` lists the targets; `make run` and `make test` install what is missing first.

VERSION := 0.1.0
SOVERSION := 0

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
VENVS ?= build/venvs
SANITIZE ?=
COVERAGE ?=
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
MAKEFLAGS += --no-builtin-rules --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

# ---- Debian packages: the only list of them ----

packages-run := gcc libc6-dev pkg-config \
	libuv1-dev libsqlite3-dev libmongoc-dev libsodium-dev libsystemd-dev libinih-dev libmsgpack-dev
packages-test := $(packages-run) check systemd python3-venv golang-go openssl git \
	lua5.3 lua-messagepack lua-socket golang-github-vmihailenco-msgpack.v5-dev
packages-interop = $(packages-test) ruby ruby-msgpack $(foreach row,node:nodejs npm:npm cargo:cargo,\
	$(if $(shell command -v $(call field,$(row),1)),,$(call field,$(row),2)))
packages-bench := $(packages-run) python3 redis-server memcached
packages-all := $(packages-test) clang libclang-rt-dev clang-format clang-tidy cppcheck shellcheck mandoc valgrind lcov podman crun uidmap

# ---- what is built from what ----

PROTO := $(wildcard proto/*.c)
BACKENDS := $(wildcard backends/*.c backends/*/*.c)
DAEMON := $(wildcard daemon/*.c daemon/*/*.c)
CLIENT := $(wildcard client-lib/*.c)
CTL := $(wildcard ctl/*.c)
EXAMPLES := $(wildcard client-lib/examples/*.c)
SUPPORT := $(wildcard tests/support/*.c)

# The client library is the protocol and the client, and depends on libc and msgpack-c only.
LIBGRAM := $(PROTO) $(CLIENT)

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
shared_objects = $(patsubst %.c,$(BUILD)/pic/%.o,$(1))

DAEMON_OBJECTS := $(call objects,$(DAEMON) $(BACKENDS) $(PROTO))
TESTED_OBJECTS := $(filter-out $(BUILD)/obj/daemon/main.o,$(DAEMON_OBJECTS))
TEST_BINARIES := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/*/test_*.c)) \
	$(patsubst tests/%.c,$(BUILD)/tests/%_toy,$(wildcard tests/contract/test_*.c))
TEST_PROGRAMS := $(abspath $(TEST_BINARIES) $(wildcard tests/*/test_*.sh))
EXAMPLE_BINARIES := $(patsubst client-lib/examples/%.c,$(BUILD)/examples/%,$(EXAMPLES))
FUZZ_BINARIES := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
INSIDE := $(patsubst %,tests/fuzz/%.c,inside by_hand clocks no_fsync scratch snapshot)
FUZZ_SUPPORT := $(filter-out tests/fuzz/fuzz_%,$(wildcard tests/fuzz/*.c))

# ---- how ----

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
OPTIMISE := $(if $(COVERAGE),-O0,$(if $(SANITIZE),-O1,-O2))
# Those that this compiler takes for this processor. Not all compilers have all.
HARDENING := $(shell for flag in -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
		-ftrivial-auto-var-init=zero $(if $(SANITIZE)$(COVERAGE),,-D_FORTIFY_SOURCE=3); do \
	$(CC) -Werror -O2 $$flag -include string.h -x c -S -o /dev/null /dev/null 2>/dev/null && echo $$flag; done)
INSTRUMENT := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer) \
	$(if $(COVERAGE),--coverage -fprofile-update=atomic)

CPPFLAGS += -D_GNU_SOURCE -DGRAMD_VERSION='"$(VERSION)"'
CFLAGS += -std=c11 -g $(OPTIMISE) $(WARNINGS) $(HARDENING) $(INSTRUMENT)
LDFLAGS += -Wl,-z,relro,-z,now $(INSTRUMENT)

# Asked when they are needed, not when this file is read: by then pkg-config is installed.
LIBRARIES := libuv sqlite3 libmongoc-1.0 libsodium libsystemd inih
DAEMON_LIBS = $(shell pkg-config --libs $(LIBRARIES)) -lmsgpackc -lpthread
CLIENT_LIBS = -lmsgpackc
TEST_LIBS = $(shell pkg-config --libs check)

.PHONY: build
build: $(BUILD)/gramd $(BUILD)/gramctl $(BUILD)/libgram.a $(BUILD)/libgram.so ## build the daemon, gramctl and the C library (the default)
	@:

# Objects depend on the compiler and its flags: a change of either rebuilds them.
FLAGS_STAMP := $(BUILD)/flags
CURRENT_FLAGS := $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)
ifneq ($(shell cat $(FLAGS_STAMP) 2>/dev/null),$(CURRENT_FLAGS))
$(shell mkdir -p $(BUILD))
$(file >$(FLAGS_STAMP),$(CURRENT_FLAGS))
endif

# Every object waits for this check, so that whatever is missing is named at once, and with it the command that helps.
lacking = $(shell \
	for program in $(firstword $(CC)) pkg-config ld ar; do command -v $$program >/dev/null || echo $$program; done; \
	for library in $(LIBRARIES); do pkg-config --exists $$library 2>/dev/null || echo $$library; done; \
	for header in stdio.h msgpack.h; do echo "\#include <$$header>" | $(CC) -E - >/dev/null 2>&1 || echo $$header; done)
missing-for-build = $(call missing,packages-run)

.PHONY: can-build
can-build:
	@$(if $(lacking),$(error gramd cannot be built without $(if $(missing-for-build),the packages \
		$(missing-for-build): run `make packages-run` to install them,$(lacking): install them first)),:)

# Lines are printed whole with V=1.
Q := $(if $(V),,@)
say = @$(if $(V),:,echo '$(CC) $@')

$(BUILD)/obj/%.o: %.c $(FLAGS_STAMP) | can-build
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIE -MMD -MP -c -o $@ $<

# The driver's headers are not ours to warn about.
DRIVER_FLAGS = $(subst -I,-isystem ,$(shell pkg-config --cflags libmongoc-1.0))
$(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard backends/mongo/*.c tests/support/mongo*.c)): CPPFLAGS += $(DRIVER_FLAGS)

$(BUILD)/pic/%.o: %.c $(FLAGS_STAMP) | can-build
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<

$(BUILD)/gramd: $(DAEMON_OBJECTS)
	$(say)
	$(Q)$(CC) -pie $(LDFLAGS) -o $@ $^ $(DAEMON_LIBS)

# It makes keys, but talks to the daemon through libgram alone.
$(BUILD)/gramctl: $(call objects,$(CTL) backends/keyring.c proto/base64.c proto/buffer.c proto/cursor.c proto/frame.c proto/utf8.c) $(BUILD)/libgram.a
	$(say)
	$(Q)$(CC) -pie $(LDFLAGS) -o $@ $^ $(CLIENT_LIBS) $(shell pkg-config --libs libsodium)

# One relocatable object, in which everything but gram_… is local: a static library that shows no more than the shared one.
$(BUILD)/libgram.a: $(call shared_objects,$(LIBGRAM))
	$(Q)ld -r -o $(BUILD)/libgram.o $^
	$(Q)objcopy --wildcard --keep-global-symbol='gram_*' $(BUILD)/libgram.o
	$(Q)rm -f $@
	$(Q)ar rcs $@ $(BUILD)/libgram.o

$(BUILD)/libgram.so: $(call shared_objects,$(LIBGRAM))
	$(say)
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,-soname,libgram.so.$(SOVERSION) -o $(BUILD)/libgram.so.$(VERSION) $^ $(CLIENT_LIBS)
	$(Q)ln -sf libgram.so.$(VERSION) $(BUILD)/libgram.so.$(SOVERSION)
	$(Q)ln -sf libgram.so.$(SOVERSION) $@

# ---- the two commands ----

.PHONY: run test
run: packages-run ## install what is missing, build, run gramd on ./gramd.sock with its sessions in ./data
	@$(MAKE) build
	@mkdir -p -m 700 data
	@exec $(BUILD)/gramd --socket $(CURDIR)/gramd.sock --data $(CURDIR)/data

test: packages-test ## install what is missing, build, run every test
	@$(MAKE) test-binaries mongo-servers-if-possible
	@$(MAKE) check

# Nothing is installed, and no root needed, where nothing is missing. Other systems install by their own means.
installed = $(shell dpkg-query -W -f '$${db:Status-Status} $${Package}\n' | sed -n 's/^installed //p')
missing = $(if $(shell command -v dpkg-query),$(filter-out $(installed),$($(1))))
AS_ROOT = $(if $(filter-out 0,$(shell id -u)),sudo )
define install-packages
	echo 'Installing Debian packages: $(1)'
	$(AS_ROOT)apt-get update -qq
	$(AS_ROOT)env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1)
endef

.PHONY: packages-run packages-test packages-interop packages-bench packages-all
packages-run: ## install what a build needs (packages-test: and the tests; packages-all: and lint)
packages-run packages-test packages-interop packages-bench packages-all:
	@$(if $(call missing,$@),$(call install-packages,$(call missing,$@)),:)

# ---- tests: every tests/*/test_*.c and tests/*/test_*.sh is a program of its own ----

# MONGOC_DISABLE_SHM: daemons that are killed leave the driver's counters in /dev/shm, and a later one with the
# same pid complains of that on its standard error.

.PHONY: check test-binaries
check: test-binaries ## run the tests, installing nothing; T=NAME runs one, NOT='NAME…' all but these, JOBS=N at once
	@export BUILD='$(abspath $(BUILD))' SOURCE='$(CURDIR)' VENVS='$(abspath $(VENVS))' \
		CC='$(CC)' SANITIZE='$(SANITIZE)' COVERAGE='$(COVERAGE)' MONGOC_DISABLE_SHM=1; \
		tests/run $(filter-out $(addprefix %/,$(NOT)),$(if $(T),$(filter %/$(T),$(TEST_PROGRAMS)),$(TEST_PROGRAMS)))

test-binaries: build $(TEST_BINARIES) $(EXAMPLE_BINARIES) $(BUILD)/tests/gramd-toy $(BUILD)/tests/faults/shim.so $(call objects,$(wildcard tests/fuzz/*.c))

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call objects,$(SUPPORT)) $(TESTED_OBJECTS) $(BUILD)/libgram.a
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) -pie $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(DAEMON_LIBS)

# The daemon is inside of the test, and its store is tests/fuzz/by_hand.c.
$(patsubst %,$(BUILD)/tests/daemon/test_%,each_allocation at_once): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call objects,$(SUPPORT) $(INSIDE)) \
		$(filter-out $(BUILD)/obj/daemon/base/store.o,$(TESTED_OBJECTS)) $(BUILD)/libgram.a
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) -pie $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(DAEMON_LIBS)

# Preloaded into daemons of every build, so without a sanitizer of its own.
$(BUILD)/tests/faults/shim.so: $(wildcard tests/faults/shim*.[ch]) $(FLAGS_STAMP) | can-build
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out $(INSTRUMENT),$(CFLAGS)) -fPIC -shared -o $@ $(filter %.c,$^)

# A backend that only the tests have is one file and one line: the daemon and the contract suite with tests/toy.
TOY := $(call objects,$(wildcard tests/toy/*.c))
NOT_TOY := $(BUILD)/obj/backends/list.o

$(BUILD)/tests/gramd-toy: $(filter-out $(NOT_TOY),$(DAEMON_OBJECTS)) $(TOY)
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) -pie $(LDFLAGS) -o $@ $^ $(DAEMON_LIBS)

# The contract suite is one program of several parts.
CONTRACT := $(call objects,$(wildcard tests/contract/*.c))

$(BUILD)/tests/contract/test_contract: $(CONTRACT)

$(BUILD)/tests/contract/test_contract_toy: $(CONTRACT) $(call objects,$(SUPPORT)) \
		$(filter-out $(NOT_TOY),$(TESTED_OBJECTS)) $(TOY) $(BUILD)/libgram.a
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) -pie $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(DAEMON_LIBS)

$(BUILD)/examples/%: $(BUILD)/obj/client-lib/examples/%.o $(BUILD)/libgram.a
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) -pie $(LDFLAGS) -o $@ $^ $(CLIENT_LIBS) $(shell pkg-config --libs libuv)

.PHONY: model
model: ## search the model of the ownership protocol (tests/model) in its long scopes too, for minutes
	@CC='$(CC)' tests/model/test_model.sh long

.PHONY: interop-all
interop-all: packages-interop ## run tests/interop/test_any_*.py with every library and fork, write the table in README.md, then the clients of other languages and random session strings; T=NAME runs one library
	@$(MAKE) build mongo-servers-if-possible
	@export BUILD='$(abspath $(BUILD))' VENVS='$(abspath $(VENVS))' MONGOC_DISABLE_SHM=1; \
		tests/interop/run --all $(T) $(if $(T),,&& tests/languages/run && tests/interop/strings.sh)

CHANGES ?= 500
.PHONY: soak-machines
soak-machines: packages-test ## disturb three hosts until sessions have changed owner CHANGES=500 times; SEED=N repeats a run
	@$(MAKE) build $(VENVS)/mongo/made
	@export BUILD='$(abspath $(BUILD))' SOURCE='$(CURDIR)' VENVS='$(abspath $(VENVS))' \
		CC='$(CC)' SANITIZE='$(SANITIZE)' COVERAGE='$(COVERAGE)' MONGOC_DISABLE_SHM=1; \
		tests/machines/test_machines.sh --changes $(CHANGES) $(if $(SEED),--seed $(SEED))

SECONDS ?= 3600
.PHONY: soak
soak: packages-test ## the long forms of the fault tests (tests/faults), for SECONDS=3600 in all; T=NAME runs one
	@$(MAKE) test-binaries
	@export BUILD='$(abspath $(BUILD))' SOURCE='$(CURDIR)' VENVS='$(abspath $(VENVS))' \
		CC='$(CC)' SANITIZE='$(SANITIZE)' COVERAGE='$(COVERAGE)' MONGOC_DISABLE_SHM=1; \
		tests/faults/soak '$(SECONDS)' $(T)

# ---- the benchmark ----

BENCH_PROGRAMS := $(patsubst %,$(BUILD)/bench/%,load churn echo sqlite shape)
BENCH_PARTS := $(patsubst %,$(BUILD)/obj/tests/bench/%.o,options sample histogram protocol protocol_gramd storage)

.PHONY: bench bench-programs
bench: packages-bench ## measure gramd beside Redis, memcached, SQLite and a bare echo; QUICK=1 takes a minute
	@$(MAKE) bench-programs
	@BUILD='$(abspath $(BUILD))' tests/bench/run $(if $(QUICK),--quick) $(BENCH)

bench-programs: build $(BENCH_PROGRAMS)

.PHONY: bench-bots
bench-bots: packages-test ## measure the bots' libraries on their own storages and on gramd's, for 20 minutes; QUICK=1: 8
	@$(MAKE) build $(VENVS)/mongo/made
	@VENVS='$(abspath $(VENVS))' tests/interop/run --environments
	@BUILD='$(abspath $(BUILD))' VENVS='$(abspath $(VENVS))' tests/bench/bots $(if $(QUICK),--quick) $(BENCH)

.PHONY: bench-load
bench-load: packages-test ## measure an ordinary client beside thousands of sessions, a dead MongoDB and others: 20 minutes; QUICK=1: 4
	@$(MAKE) bench-programs mongo-servers $(BUILD)/tests/faults/shim.so
	@BUILD='$(abspath $(BUILD))' VENVS='$(abspath $(VENVS))' tests/bench/pressure.py $(if $(QUICK),--quick) $(BENCH)

.PHONY: bench-attacks
bench-attacks: packages-test ## measure an ordinary client while another user attacks the daemon, as root: 20 minutes; QUICK=1: 3
	@$(MAKE) bench-programs $(VENVS)/mongo/made
	@BUILD='$(abspath $(BUILD))' VENVS='$(abspath $(VENVS))' tests/bench/attacks.py $(if $(QUICK),--quick) $(BENCH)

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(BENCH_PARTS) $(BUILD)/libgram.a
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) -pie $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs libuv sqlite3) $(CLIENT_LIBS)

# ---- the Python package ----

.PHONY: wheel
wheel: packages-test ## build the Python package into BUILD/dist: a wheel and a source distribution
	$(Q)python3 -m venv $(VENVS)/wheel
	$(Q)$(VENVS)/wheel/bin/pip install --quiet --disable-pip-version-check 'build>=1.2'
	$(Q)$(VENVS)/wheel/bin/python -m build --outdir $(BUILD)/dist client-lib/python

# ---- MongoDB-protocol servers for the tests, and Python's linters: made once, and again when the list has changed ----

.PHONY: mongo-servers
mongo-servers: $(VENVS)/mongo/made $(VENVS)/ferretdb ## fetch and build the servers that the MongoDB tests start
	@:

# A server that cannot be had fails no build. The tests that need it say so and are skipped.
.PHONY: mongo-servers-if-possible
mongo-servers-if-possible:
	@$(MAKE) --keep-going mongo-servers || \
		printf '\n*** A MongoDB-protocol server cannot be had (see above): tests that need it are SKIPPED ***\n\n' >&2

$(VENVS)/mongo/made: tests/support/mongo.txt
$(VENVS)/lint/made: tests/lint.txt

$(VENVS)/mongo/made $(VENVS)/lint/made:
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

$(VENVS)/ferretdb: $(wildcard tests/support/ferretdb/*)
	@mkdir -p $(@D)
	tests/support/ferretdb/build $(abspath $@)

# ---- install ----

# FILE:MODE:DIRECTORY below PREFIX.
INSTALLED := $(BUILD)/gramd:755:bin $(BUILD)/gramctl:755:bin \
	$(BUILD)/libgram.a:644:lib $(BUILD)/libgram.so.$(VERSION):755:lib \
	client-lib/gram.h:644:include $(BUILD)/client-lib/gram.pc:644:lib/pkgconfig \
	$(BUILD)/systemd/gramd.service:644:lib/systemd/system systemd/gramd.socket:644:lib/systemd/system \
	$(BUILD)/systemd/user/gramd.service:644:lib/systemd/user systemd/user/gramd.socket:644:lib/systemd/user \
	systemd/sysusers.d/gramd.conf:644:lib/sysusers.d \
	systemd/mongodb.conf:644:share/doc/gramd $(BUILD)/gramd.conf:644:share/doc/gramd \
	daemon/gramd.8:644:share/man/man8 $(BUILD)/gramd.conf.5:644:share/man/man5 \
	ctl/gramctl.1:644:share/man/man1 ctl/gramctl.bash:644:share/bash-completion/completions

field = $(word $(2),$(subst :, ,$(1)))
target = $(DESTDIR)$(PREFIX)/$(call field,$(1),3)/$(notdir $(call field,$(1),1))
LIBDIR = $(DESTDIR)$(PREFIX)/lib
define newline


endef

.PHONY: install uninstall FORCE
install: build $(filter $(BUILD)/%,$(foreach row,$(INSTALLED),$(call field,$(row),1))) ## install below PREFIX (/usr/local), in DESTDIR if set
	$(foreach row,$(INSTALLED),install -D -m $(call field,$(row),2) $(call field,$(row),1) $(call target,$(row))$(newline)	)
	ln -sf libgram.so.$(VERSION) $(LIBDIR)/libgram.so.$(SOVERSION)
	ln -sf libgram.so.$(SOVERSION) $(LIBDIR)/libgram.so

uninstall: ## remove what install put there; sessions and configuration stay
	rm -f $(foreach row,$(INSTALLED),$(call target,$(row))) $(LIBDIR)/libgram.so.$(SOVERSION) $(LIBDIR)/libgram.so

$(BUILD)/%: %.in FORCE
	@mkdir -p $(@D)
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' $< >$@

# The example configuration, and from it the manual's list of options: what the system's daemon would use.
$(BUILD)/gramd.conf: $(BUILD)/gramd
	env -i STATE_DIRECTORY=/var/lib/gramd GRAMD_SOCKET=/run/gramd/gramd.sock \
		$(BUILD)/gramd --config /dev/null --print-config >$@

$(BUILD)/gramd.conf.5: $(BUILD)/gramd.conf daemon/options.awk daemon/gramd.conf.5.in
	awk -f daemon/options.awk - daemon/gramd.conf.5.in <$< >$@

# ---- housekeeping ----

SOURCES = $(shell find backends client-lib ctl daemon proto tests -name '*.[ch]')

.PHONY: format lint coverage valgrind fuzz
format: packages-all ## lay the sources out with clang-format
	clang-format -i $(SOURCES)

lint: packages-all ## clang-format, clang-tidy, cppcheck, shellcheck, ruff, mypy, includes (tests/floors), manual pages
	@$(MAKE) $(BUILD)/gramd.conf.5 $(VENVS)/lint/made
	@VENVS='$(abspath $(VENVS))' tests/lint $(BUILD)/gramd.conf.5

coverage: packages-all ## run the tests and print the line coverage of each room
	@$(MAKE) COVERAGE=1 BUILD=$(BUILD)-coverage check
	@tests/coverage $(BUILD)-coverage

# Tests and daemons that valgrind complains about, or that leak, exit with 99.
VALGRIND := valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,possible
valgrind: packages-all ## run the tests under valgrind; T=NAME runs one, JOBS=N at once
	@RUNNER='$(VALGRIND)' GRAMD_WRAPPER='$(VALGRIND)' $(MAKE) check

# What a fuzzer finds is a file crash-… in $(BUILD)-fuzz; what it learns is kept there from run to run.
FUZZ_SECONDS ?= 60
fuzz: packages-all ## fuzz whatever reads bytes of strangers (tests/fuzz), FUZZ_SECONDS=60 each; T=NAME runs one
	@$(MAKE) BUILD=$(BUILD)-fuzz CC=clang SANITIZE=fuzzer-no-link,address,undefined fuzz-here

.PHONY: fuzz-here
fuzz-here: $(FUZZ_BINARIES)
	@BUILD='$(abspath $(BUILD))' JOBS='$(JOBS)' \
		tests/fuzz/run '$(FUZZ_SECONDS)' $(if $(T),$(filter %/fuzz_$(T),$(FUZZ_BINARIES)),$(FUZZ_BINARIES))

# tests/fuzz/by_hand.c is the daemon's store: jobs run in the fuzzer's one thread.
$(FUZZ_BINARIES): $(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(call objects,$(FUZZ_SUPPORT)) \
		$(filter-out $(BUILD)/obj/daemon/base/store.o,$(TESTED_OBJECTS)) $(BUILD)/libgram.a
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) -pie $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(DAEMON_LIBS)

.PHONY: clean help
clean: ## remove what was built
	rm -rf build*

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16
	@echo
	@echo 'SANITIZE=address,undefined or SANITIZE=thread, CC=clang, BUILD=DIRECTORY, PREFIX=, DESTDIR='

# Objects are kept: the next build starts from them.
.SECONDARY:
-include $(shell find $(BUILD)/obj $(BUILD)/pic -name '*.d' 2>/dev/null)
