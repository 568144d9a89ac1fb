# Chapter N is chapter N-1 plus its own sources; a program links everything up to its own chapter and nothing later.
#
#   make run       build, and watch packets go out of one port and come in at the other
#   make ping      the system's ping, answered by the driver
#   make test      every test that needs only a compiler, under a minute
#   make help      the rest

CFLAGS   ?= -O2 -g
override CFLAGS += -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -pthread -MMD -MP
ifdef DEBUG
CPPFLAGS += -DDEBUG
endif

chapters := 01-vfio 02-dma 03-mempool 04-rings 05-ixgbe 06-interrupts 07-apps
programs := 01-vfio/probe 02-dma/dmamap 03-mempool/pool 04-rings/rings 05-ixgbe/poll 05-ixgbe/segment 05-ixgbe/stray \
            06-interrupts/wait 07-apps/loopsend 07-apps/pcap 07-apps/fwd 07-apps/echo 07-apps/stat 07-apps/bench
sim      := build/libsim82599.so build/sim82599d

all: $(programs) $(sim)

# What a directory adds to the library: its sources that are neither a program nor a test.
library = $(filter-out $(addprefix build/,$(addsuffix .o,$(programs))) $(filter build/$(1)/test_%,$(call objects,$(1))),$(call objects,$(1)))
objects = $(patsubst %.c,build/%.o,$(sort $(wildcard $(1)/*.c)))

# A chapter's stage: the objects and include directories of all chapters up to it.
stage    := $(call library,common)
includes := -Icommon
define chapter
stage    += $(call library,$(1))
includes += -I$(1)
stage_$(1)    := $$(stage)
includes_$(1) := $$(includes)
$(filter $(1)/%,$(programs)): $(1)/%: build/$(1)/%.o $$(stage_$(1))
	$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^
build/$(1)/test_%: build/$(1)/test_%.o $$(stage_$(1))
	$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^
build/static/$(1)/%: build/$(1)/%.o $$(stage_$(1))
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(LDFLAGS) -static -o $$@ $$^
build/$(1)/%.o: $(1)/%.c
	@mkdir -p $$(@D)
	$$(CC) $$(CPPFLAGS) $$(includes_$(1)) $$(CFLAGS) -c -o $$@ $$<
endef
$(foreach c,$(chapters),$(eval $(call chapter,$(c))))

build/common/%.o: common/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Icommon $(CFLAGS) -c -o $@ $<
build/common/test_%: build/common/test_%.o $(call library,common)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# The software NIC: one core, two fronts.
sim_vfio_user := build/common/sim82599/sim82599d.o build/common/sim82599/attach_vfio_user.o
sim_preload   := $(filter build/common/sim82599/attach_preload%.o build/common/sim82599/decode_%.o,$(call library,common/sim82599))
sim_core      := $(filter-out $(sim_vfio_user) $(sim_preload),$(call library,common/sim82599))
# ThreadSanitizer's start-up passes through the preload front, when there is no ThreadSanitizer yet to report to.
$(sim_preload): override CFLAGS += -fno-sanitize=thread
build/common/sim82599/%.o: common/sim82599/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Icommon -fPIC -fvisibility=hidden $(CFLAGS) -c -o $@ $<
build/libsim82599.so: $(sim_core) $(sim_preload)
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ $^ -ldl -lpthread
build/sim82599d: $(sim_core) $(sim_vfio_user)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread
build/common/sim82599/test_%: build/common/sim82599/test_%.o $(sim_core) build/common/sim82599/attach_vfio_user.o $(filter build/common/sim82599/decode_%,$(sim_preload))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread

tests := $(patsubst %.c,build/%,$(wildcard common/test_*.c common/sim82599/test_*.c $(chapters:%=%/test_*.c)))

run: all  ## build everything and send packets for three seconds
	07-apps/loopsend --seconds 3

ping: all  ## ping the driver, from a network made for it
	scripts/ping

tests: $(tests)
test: all tests  ## all tests that need only a compiler and make
	scripts/test

check: all  ## sanitizers, clang, valgrind, musl, aarch64, formatting
	scripts/check

test-vm: $(sim) $(addprefix build/static/,$(programs))  ## a real kernel's VFIO and IOMMU, and Linux's ixgbe, in a virtual machine
	scripts/vm

test-peers: all build/05-ixgbe/test_offload  ## tcpdump, tshark and DPDK on our files, wire and NIC
	scripts/test-peers

bench: all  ## cycles and instructions per packet, ours and DPDK's; and Mpps
	scripts/bench

# make chapter-3, or chapter-03: build one stage, and say how to run it.
try_07-apps/pcap := 07-apps/pcap build/packets.pcap
chapter-%:
	@$(MAKE) --no-print-directory chapter CHAPTER=$(filter $(patsubst 0%,%,$*)-% 0$(patsubst 0%,%,$*)-%,$(chapters))
chapter: $(filter $(CHAPTER)/%,$(programs)) build/libsim82599.so
	@$(if $(CHAPTER),,echo "there are chapters 1 to 7" >&2; exit 2)
	@$(foreach program,$(filter $(CHAPTER)/%,$(programs)),echo "now try:  $(or $(try_$(program)),$(program))";)

format:  ## lay the sources out as .clang-format says
	clang-format -i $$(git ls-files '*.c' '*.h')

clean:  ## remove everything that was built
	rm -rf build $(programs)

help:
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' Makefile | awk -F: '{ printf "make %-12s %s\n", $$1, $$2 }'
	@echo "make chapter-N     build chapter N (1 to 7) alone and say how to run it"

.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all run ping test tests check test-vm test-peers bench chapter format clean help
-include $(shell find build -name '*.d' 2>/dev/null)
