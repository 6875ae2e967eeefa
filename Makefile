# postern. `make help` lists what there is.
#
# Sources are found by folder: a new .c file needs no line here. Each flavour (debug, release,
# asan, tsan, cover) has its own folder below build/.

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all

VERSION := 0.1.0
SHELL := /bin/bash
FLAVOUR ?= debug
B := build/$(FLAVOUR)
CC := $(if $(filter fuzz,$(FLAVOUR)),clang,gcc)

PACKAGES := libmicrohttpd jansson openssl libuv libgsasl krb5-gssapi yaml-0.1 sqlite3 libidn2 libcurl
WARNINGS := -Wall -Wextra -Wno-unused-parameter -Wpedantic -Wshadow -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wformat=2 -Wconversion -Wswitch-enum -Wno-missing-field-initializers
HARDENING := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
LDHARDENING := -pie -Wl,-z,relro,-z,now,-z,noexecstack

CFLAGS_debug := -O1 -g -Werror
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2
CFLAGS_asan := -O1 -g3 -Werror -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -g3 -Werror -fno-omit-frame-pointer -fsanitize=thread
CFLAGS_cover := -O0 -g3 --coverage -fprofile-update=atomic
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
               -fno-sanitize-recover=all -Wno-everything
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_cover := --coverage
LDFLAGS_fuzz := -fsanitize=address,undefined

CPPFLAGS += -D_GNU_SOURCE -DPOSTERN_VERSION='"$(VERSION)"' -I. -Iservice
CFLAGS += -std=c17 $(WARNINGS) $(HARDENING) $(CFLAGS_$(FLAVOUR)) $(PKG_CFLAGS) -pthread
LDFLAGS += $(LDHARDENING) $(LDFLAGS_$(FLAVOUR)) -pthread
PKG_CFLAGS = $(shell pkg-config --cflags $(PACKAGES))
LDLIBS = $(shell pkg-config --libs $(PACKAGES)) -lm

LIB_SOURCES := $(sort $(shell find service api -name '*.c'))
CLI_SOURCES := $(sort $(wildcard cli/*.c))
UNIT_SOURCES := $(sort $(shell find tests/unit -name '*.c'))

PRELOADS := $(patsubst tests/support/preload/%.c,$(B)/%.so,$(sort $(wildcard tests/support/preload/*.c)))
HELPERS := $(patsubst tests/support/%.c,$(B)/%,$(sort $(wildcard tests/support/*.c))) $(PRELOADS)

objects = $(patsubst %.c,$(B)/%.o,$(1))

.PHONY: all
all: $(B)/postern ## build the gateway

$(B)/postern: $(call objects,$(CLI_SOURCES)) $(B)/libpostern.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/libpostern.a: $(call objects,$(LIB_SOURCES))
	@rm -f $@
	@ar rcs $@ $^

# Criterion starts the binary anew for each test: what it binds at once, it binds a thousand times.
$(B)/unit-tests: LDFLAGS += -Wl,-z,lazy -Wl,--export-dynamic-symbol='mbedtls_x509_crt_parse_*'
$(B)/unit-tests: $(call objects,$(UNIT_SOURCES)) $(B)/libpostern.a
	$(CC) $(LDFLAGS) -o $@ $^ -lcriterion $(LDLIBS)

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/api/handlers/status.o: openapi.yaml

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# --- what is missing is installed --------------------------------------------------------------

BUILD_PACKAGES := gcc libc6-dev pkg-config libmicrohttpd-dev libjansson-dev libssl-dev libuv1-dev \
                  libgsasl-dev libkrb5-dev libyaml-dev libsqlite3-dev libidn2-dev libcurl4-openssl-dev
TEST_PACKAGES := libcriterion-dev python3 postfix dovecot-core dovecot-submissiond dovecot-gssapi openssl \
                 iproute2 procps sasl2-bin libsasl2-modules winbind gss-ntlmssp krb5-kdc \
                 krb5-admin-server krb5-user microsocks tinyproxy nodejs npm faketime
LINT_PACKAGES := clang-format clang-tidy shellcheck python3 git
FUZZ_PACKAGES := clang libclang-rt-14-dev libgmime-3.0-dev
BENCH_PACKAGES := nghttp2-client postfix dovecot-core dovecot-submissiond nodejs python3 openssl iproute2 procps

.PHONY: deps-build deps-test deps-lint deps-fuzz deps-bench
deps-build:
	@tests/support/install.sh $(BUILD_PACKAGES)
deps-test:
	@tests/support/install.sh $(BUILD_PACKAGES) $(TEST_PACKAGES)
deps-lint:
	@tests/support/install.sh $(BUILD_PACKAGES) $(LINT_PACKAGES)
deps-fuzz:
	@tests/support/install.sh $(BUILD_PACKAGES) $(FUZZ_PACKAGES)
deps-bench:
	@tests/support/install.sh $(BUILD_PACKAGES) $(BENCH_PACKAGES)

# --- running -----------------------------------------------------------------------------------

.PHONY: run
run: deps-build ## install what is missing, build, start the gateway with the sandbox on 127.0.0.1:8080
	@$(MAKE) --no-print-directory -j$$(nproc) FLAVOUR=release all
	@mkdir -p build/run
	POSTERN_STORE="$${POSTERN_STORE:-sqlite:build/run/queue.db}" build/release/postern serve

.PHONY: install
install: deps-build ## install the release build below DESTDIR and PREFIX
	@$(MAKE) --no-print-directory FLAVOUR=release all
	install -D -m 0755 build/release/postern $(DESTDIR)$(or $(PREFIX),/usr/local)/bin/postern

.PHONY: image
image: ## build the container image with buildah
	buildah --storage-driver vfs bud --isolation chroot --pull-never -t localhost/postern:$(VERSION) .

# --- testing -----------------------------------------------------------------------------------

SUITES := unit acceptance integration

.PHONY: test
test: deps-test ## install what is missing, run every test
	@$(MAKE) --no-print-directory -j$$(nproc) all $(B)/unit-tests $(HELPERS)
	@python3 tests/run.py --build $(B) $(SUITES)

.PHONY: unit
unit: deps-test ## unit tests
	@$(MAKE) --no-print-directory -j$$(nproc) $(B)/unit-tests
	@python3 tests/run.py --build $(B) unit

.PHONY: acceptance
acceptance: deps-test ## the binary from outside
	@$(MAKE) --no-print-directory -j$$(nproc) all $(HELPERS)
	@python3 tests/run.py --build $(B) acceptance

.PHONY: integration
integration: deps-test ## with real servers
	@$(MAKE) --no-print-directory -j$$(nproc) all $(HELPERS)
	@python3 tests/run.py --build $(B) integration

.PHONY: asan
asan: ## every test under the address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory FLAVOUR=asan test

.PHONY: tsan
tsan: ## the gateway and the queue's stress under the thread sanitizer (Criterion does not start there)
	@$(MAKE) --no-print-directory FLAVOUR=tsan SUITES="acceptance integration" test

# Programs that tests run: each tests/support/*.c becomes one.
$(B)/%: $(B)/tests/support/%.o $(B)/libpostern.a
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/oauth_stress: $(addprefix $(B)/tests/unit/support/,token_endpoint.o cache_thread.o)

# What tests put before the C library.
$(B)/%.so: tests/support/preload/%.c Makefile
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) -std=c17 $(WARNINGS) -O1 -fPIC -shared -o $@ $<

.PHONY: cover
cover: deps-test ## line coverage of all tests, file by file
	@find build/cover -name '*.gcda' -delete 2>/dev/null || true
	@$(MAKE) --no-print-directory FLAVOUR=cover test
	@python3 tests/cover.py build/cover

FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

.PHONY: fuzz
fuzz: deps-fuzz ## every fuzzer for FUZZ_SECONDS (60), two at a time
	@$(MAKE) --no-print-directory -j$$(nproc) FLAVOUR=fuzz $(FUZZERS:%=build/fuzz/fuzz_%)
	@printf '%s\n' $(FUZZERS) | xargs -P 2 -I NAME tests/fuzz/run.sh build/fuzz NAME $(FUZZ_SECONDS)

# What the composer writes is read back by another parser.
build/fuzz/tests/fuzz/fuzz_compose.o: PKG_CFLAGS += $(shell pkg-config --cflags gmime-3.0 2>/dev/null)
build/fuzz/fuzz_compose: LDLIBS += $(shell pkg-config --libs gmime-3.0 2>/dev/null)

build/fuzz/fuzz_%: build/fuzz/tests/fuzz/fuzz_%.o build/fuzz/libpostern.a
	@$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

# What our own objects allocate fails, one after the other; libraries are shared, and never hit.
WRAPPED := malloc calloc realloc reallocarray strdup strndup arena_alloc arena_alloc_array arena_strdup arena_strndup

.PHONY: torture
torture: deps-test ## every allocation fails once: nothing crashes, leaks or is only half done
	@$(MAKE) --no-print-directory -j$$(nproc) FLAVOUR=asan build/asan/torture
	@build/asan/torture

build/asan/torture: $(patsubst %.c,build/asan/%.o,$(wildcard tests/torture/*.c)) build/asan/libpostern.a
	@$(CC) $(LDFLAGS) $(WRAPPED:%=-Wl,--wrap=%) -o $@ $^ $(LDLIBS)

.PHONY: bench
bench: deps-bench ## side by side with what people use today
	@$(MAKE) --no-print-directory FLAVOUR=release all
	@python3 tests/bench/run.py

.PHONY: lint
lint: deps-lint ## layout, headers alone, direction of includes, banned calls, longest functions
	@tests/lint/run.sh

.PHONY: format
format: ## let clang-format decide the layout
	clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')

.PHONY: clean
clean: ## remove everything built
	rm -rf build

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z]+):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14
