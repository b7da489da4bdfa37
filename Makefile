# gramd: `make help` lists the targets.

VERSION := 0.1.0
SOVERSION := 0

PREFIX ?= /usr/local
DESTDIR ?=
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
BUILD ?= build
SANITIZE ?=
COVERAGE ?=

# ---- what is built from what ----

PROTO := $(wildcard proto/*.c)
BACKENDS := $(wildcard backends/*.c)
DAEMON := $(wildcard daemon/*.c)
CLIENT := $(wildcard client-lib/*.c)
CTL := $(wildcard client-lib/ctl/*.c)
EXAMPLES := $(wildcard client-lib/examples/*.c)
SUPPORT := $(wildcard tests/support/*.c)
TESTS := $(wildcard tests/*/test_*.c)

# The client library is the protocol and the client, and depends on libc and msgpack-c only.
LIBGRAM := $(PROTO) $(CLIENT)

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
shared_objects = $(patsubst %.c,$(BUILD)/pic/%.o,$(1))

TEST_BINARIES := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TESTS))
EXAMPLE_BINARIES := $(patsubst client-lib/examples/%.c,$(BUILD)/examples/%,$(EXAMPLES))

# ---- how ----

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
OPTIMISE := $(if $(COVERAGE),-O0,$(if $(SANITIZE),-O1,-O2))
HARDENING := -fstack-protector-strong $(if $(SANITIZE)$(COVERAGE),,-D_FORTIFY_SOURCE=2)
INSTRUMENT := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer) \
	$(if $(COVERAGE),--coverage)

CPPFLAGS += -D_GNU_SOURCE -DGRAMD_VERSION='"$(VERSION)"'
CFLAGS += -std=c11 -g $(OPTIMISE) $(WARNINGS) $(HARDENING) $(INSTRUMENT)
LDFLAGS += -Wl,-z,relro,-z,now $(INSTRUMENT)

DAEMON_PACKAGES := libuv sqlite3 libsodium libsystemd inih
DAEMON_LIBS = $(shell pkg-config --libs $(DAEMON_PACKAGES)) -lmsgpackc -lpthread
CLIENT_LIBS = -lmsgpackc
TEST_LIBS = $(shell pkg-config --libs check)

.PHONY: build
build: $(BUILD)/gramd $(BUILD)/gramctl $(BUILD)/libgram.a $(BUILD)/libgram.so ## build the daemon, gramctl and the C library (the default)

# Objects depend on the compiler and its flags: a change of either rebuilds them.
FLAGS_STAMP := $(BUILD)/flags
CURRENT_FLAGS := $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)
ifneq ($(shell cat $(FLAGS_STAMP) 2>/dev/null),$(CURRENT_FLAGS))
$(shell mkdir -p $(BUILD))
$(file >$(FLAGS_STAMP),$(CURRENT_FLAGS))
endif

$(BUILD)/obj/%.o: %.c $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -fPIE -MMD -MP -c -o $@ $<

$(BUILD)/pic/%.o: %.c $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<

$(BUILD)/gramd: $(call objects,$(DAEMON) $(BACKENDS) $(PROTO))
	$(CC) -pie $(LDFLAGS) -o $@ $^ $(DAEMON_LIBS)

$(BUILD)/gramctl: $(call objects,$(CTL)) $(BUILD)/libgram.a
	$(CC) -pie $(LDFLAGS) -o $@ $^ $(CLIENT_LIBS)

# One relocatable object, in which everything but gram_… is local: a static library that shows no more than the shared one.
$(BUILD)/libgram.a: $(call shared_objects,$(LIBGRAM))
	ld -r -o $(BUILD)/libgram.o $^
	objcopy --wildcard --keep-global-symbol='gram_*' $(BUILD)/libgram.o
	rm -f $@
	ar rcs $@ $(BUILD)/libgram.o

$(BUILD)/libgram.so: $(call shared_objects,$(LIBGRAM))
	$(CC) -shared $(LDFLAGS) -Wl,-soname,libgram.so.$(SOVERSION) -o $(BUILD)/libgram.so.$(VERSION) $^ $(CLIENT_LIBS)
	ln -sf libgram.so.$(VERSION) $(BUILD)/libgram.so.$(SOVERSION)
	ln -sf libgram.so.$(SOVERSION) $@

# ---- tests: every tests/*/test_*.c is a program of its own ----

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call objects,$(SUPPORT)) \
		$(filter-out $(BUILD)/obj/daemon/main.o,$(call objects,$(DAEMON) $(BACKENDS) $(PROTO))) $(BUILD)/libgram.a
	@mkdir -p $(@D)
	$(CC) -pie $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(DAEMON_LIBS)

$(BUILD)/examples/%: $(BUILD)/obj/client-lib/examples/%.o $(BUILD)/libgram.a
	@mkdir -p $(@D)
	$(CC) -pie $(LDFLAGS) -o $@ $^ $(CLIENT_LIBS) $(shell pkg-config --libs libuv)

.PHONY: test-binaries check
test-binaries: build $(TEST_BINARIES) $(EXAMPLE_BINARIES)
check: test-binaries ## run the tests; T=NAME runs one
	@BUILD=$(abspath $(BUILD)) tests/run $(if $(T),$(filter %/$(T),$(TEST_BINARIES)),$(TEST_BINARIES))

.PHONY: clean
clean: ## remove what was built
	rm -rf build*

-include $(shell find $(BUILD)/obj $(BUILD)/pic -name '*.d' 2>/dev/null)
