# postern. `make help` lists what there is.
#
# Sources are found by folder: a new .c file needs no line here. Each flavour (debug, release,
# asan, tsan, cover) has its own folder below build/.

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all

VERSION := 0.1.0
FLAVOUR ?= debug
B := build/$(FLAVOUR)
CC := gcc

PACKAGES := libmicrohttpd jansson openssl libuv libgsasl yaml-0.1 sqlite3 libidn2 libcurl
WARNINGS := -Wall -Wextra -Wno-unused-parameter -Wpedantic -Wshadow -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wformat=2 -Wconversion -Wswitch-enum -Wno-missing-field-initializers
HARDENING := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
LDHARDENING := -pie -Wl,-z,relro,-z,now,-z,noexecstack

CFLAGS_debug := -O1 -g3 -Werror
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2
CFLAGS_asan := -O1 -g3 -Werror -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -g3 -Werror -fno-omit-frame-pointer -fsanitize=thread
CFLAGS_cover := -O0 -g3 --coverage
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_cover := --coverage

CPPFLAGS += -D_GNU_SOURCE -DPOSTERN_VERSION='"$(VERSION)"' -I. -Iservice
CFLAGS += -std=c17 $(WARNINGS) $(HARDENING) $(CFLAGS_$(FLAVOUR)) $(PKG_CFLAGS) -pthread
LDFLAGS += $(LDHARDENING) $(LDFLAGS_$(FLAVOUR)) -pthread
PKG_CFLAGS = $(shell pkg-config --cflags $(PACKAGES))
LDLIBS = $(shell pkg-config --libs $(PACKAGES)) -lm

LIB_SOURCES := $(sort $(shell find service api -name '*.c'))
CLI_SOURCES := $(sort $(wildcard cli/*.c))
UNIT_SOURCES := $(sort $(shell find tests/unit -name '*.c'))

objects = $(patsubst %.c,$(B)/%.o,$(1))

.PHONY: all
all: $(B)/postern ## build the gateway

$(B)/postern: $(call objects,$(CLI_SOURCES)) $(B)/libpostern.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/libpostern.a: $(call objects,$(LIB_SOURCES))
	@rm -f $@
	@ar rcs $@ $^

$(B)/unit-tests: $(call objects,$(UNIT_SOURCES)) $(B)/libpostern.a
	$(CC) $(LDFLAGS) -o $@ $^ -lcriterion $(LDLIBS)

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/api/handlers/status.o: openapi.yaml

-include $(shell find $(B) -name '*.d' 2>/dev/null)

.PHONY: unit
unit: $(B)/unit-tests ## unit tests
	$(B)/unit-tests

.PHONY: format
format: ## let clang-format decide the layout
	clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')

.PHONY: clean
clean: ## remove everything built
	rm -rf build

.PHONY: help
help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
