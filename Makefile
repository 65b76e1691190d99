# SPDX-License-Identifier: MIT
# Kite's build. Everything lands in $(B), by default build/.
#
#   make                 build/kite, build/kite-img
#   make check           unit tests; make unit: only their programs
#   make payloads        bare-metal guests for tests and benchmarks
#   make lint            layering, style and static checks; make analyze: the compilers' analyzers
#   make coverage        which lines the tests run, by directory (tests/coverage)
#   make soak            qcow2 and kite-img killed and shaken for longer: SOAK_SECONDS, QCOW2_SEEDS; HOURS=n: guests under load, too
#   make bench           side-by-side figures; make bench-compare BASE=rev: this tree against another commit
#   make SAN=address,undefined B=build-asan ...    the same with sanitizers
#   make CC=clang B=build-clang ...
#   make V=1 ...         shows the commands
B ?= build
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1) $(2)")
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
VERSION := 0.1.0

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wformat=2 -Werror
HARDEN := -fPIE -fstack-protector-strong
OPT ?= -O2 -g
ifdef SAN
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
else ifdef COV
OPT := -O0 -g --coverage -fprofile-update=atomic
else
HARDEN += -D_FORTIFY_SOURCE=2
# Nothing here is unwound at run time; debuggers have the same tables with -g, where no start has to map them.
OPT += -fno-asynchronous-unwind-tables
endif
# Relative relocations as a bit map, a few hundred bytes for 60 KiB, where this C library's loader knows them.
RELR := $(shell grep -qs GLIBC_ABI_DT_RELR "$$($(CC) -print-file-name=libc.so.6)" && echo -Wl,-z,pack-relative-relocs)
CPPFLAGS += -D_GNU_SOURCE -I. -DKITE_VERSION='"$(VERSION)"'
CFLAGS += -std=gnu11 $(OPT) $(WARN) $(HARDEN) -pthread -ffunction-sections -fdata-sections
LDFLAGS += -pie -Wl,-z,relro -Wl,-z,now -Wl,--gc-sections -Wl,--as-needed $(RELR) -pthread
# Linked statically: each shared library costs a start about 0.1 ms of CPU time. What few runs need is loaded by those (vmm/dynlib.h).
LIBS := -Wl,-Bstatic -ldeflate -ljansson -luring -Wl,-Bdynamic
# For programs that pack, too: kite-img and tests.
PACK_LIBS := -lz -lzstd

LIB_SRC := $(sort $(filter-out vmm/main.c,$(wildcard vmm/*.c)) $(wildcard hw/*.c arch/x86/*.c blk/*.c net/*.c firmware/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o) $(B)/vmm/sandbox_filters.o
MAIN_OBJ := $(B)/vmm/main.o
IMG_OBJ := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard tools/img/*.c)))
CTL_OBJ := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard tools/ctl/*.c)))
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(B)/tests/unit/%)

# The process behind -netdev user. libslirp brings glib, which stays out of kite.
USERNET_SRC := $(sort $(wildcard tools/user-net/*.c))
USERNET_OBJ := $(USERNET_SRC:%.c=$(B)/%.o)
USERNET_LIBS := -lslirp -l:libglib-2.0.so.0 -lseccomp
LIBEXECDIR ?= $(PREFIX)/libexec/kite
$(B)/net/user_helper.o: CPPFLAGS += -DKITE_LIBEXECDIR='"$(LIBEXECDIR)"'

# What is on the way of an exit, a request or a frame is built to be fast, and what builds each machine's tables byte by byte; all else, to be small.
HOT := vmm/bucket vmm/bus vmm/co vmm/eventloop% vmm/exit vmm/guest_mem vmm/iov vmm/irq_kvm% vmm/msi_kvm vmm/pace vmm/uring% vmm/vcpu \
	hw/pci_msix hw/scsi hw/scsi_block hw/scsi_bulk hw/scsi_disk hw/scsi_io hw/virtio hw/virtio_blk% hw/virtio_mmio hw/virtio_net hw/virtio_net_% \
	hw/virtio_pci hw/virtio_pci_modern hw/virtio_scsi_req hw/virtq \
	blk/blockdev blk/co_io blk/filter blk/probe_guard blk/qcow2 blk/qcow2_map blk/qcow2_meta blk/qcow2_read blk/qcow2_refcount blk/qcow2_table \
	blk/qcow2_write blk/raw blk/throttle net/dgram net/framed net/netdev net/stream net/tap net/tap_ring firmware/blob
ifndef SAN
$(filter-out $(HOT:%=$(B)/%.o),$(LIB_OBJ)): OPT += -Os
endif

.PHONY: all check unit payloads lint analyze coverage bench clean install
all: $(B)/kite $(B)/kite-img $(B)/kite-ctl $(B)/kite-user-net $(B)/kite-bridge-helper

$(B)/kite-user-net: $(USERNET_OBJ) $(B)/libkite.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(USERNET_OBJ) $(B)/libkite.a $(USERNET_LIBS)

# Without main, for tests.
$(B)/libusernet.a: $(filter-out $(B)/tools/user-net/main.o,$(USERNET_OBJ))
	$(call say,AR,  $@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/kite: $(MAIN_OBJ) $(B)/libkite.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(MAIN_OBJ) $(B)/libkite.a $(LIBS)

$(B)/kite-img: $(IMG_OBJ) $(B)/libkite.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(IMG_OBJ) $(B)/libkite.a $(LIBS) $(PACK_LIBS)

$(B)/kite-ctl: $(CTL_OBJ) $(B)/libkite.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(CTL_OBJ) $(B)/libkite.a $(LIBS)

# May be setuid: nothing in it but what it needs.
BRIDGE_OBJ := $(B)/tools/bridge-helper/main.o $(B)/tools/bridge-helper/filter.o $(B)/net/bridge_acl.o
$(B)/kite-bridge-helper: $(BRIDGE_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(BRIDGE_OBJ)

# The sandbox's filters, made of the rules in all the other files.
SANDBOX_GEN := $(B)/tools/sandbox-gen/sandbox-gen
# Not what a test that is built first adds for itself.
SANDBOX_GEN_LINK := $(CFLAGS) $(LDFLAGS) -Wl,--no-gc-sections
SANDBOX_GEN_LIBS := $(LIBS) $(PACK_LIBS) -lseccomp
SANDBOX_GEN_OBJ := $(B)/tools/sandbox-gen/main.o $(B)/tools/sandbox-gen/shrink.o $(filter-out $(B)/vmm/sandbox_filters.o,$(LIB_OBJ))
$(SANDBOX_GEN): $(SANDBOX_GEN_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(SANDBOX_GEN_LINK) -o $@ $^ $(SANDBOX_GEN_LIBS)

$(B)/vmm/sandbox_filters.c: $(SANDBOX_GEN)
	$(call say,MAKE,$@)
	$(Q)$< >$@.new && mv $@.new $@

$(B)/vmm/sandbox_filters.o: $(B)/vmm/sandbox_filters.c
	$(call say,CC,  $<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(B)/libkite.a: $(LIB_OBJ)
	$(call say,AR,  $@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,  $<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Unit tests: one program per module, linked with what it needs of the library. tests/unit/fake_*.c serve them all.
UNIT_HELP := $(patsubst %.c,$(B)/%.o,$(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c)))
$(B)/tests/unit/test_%: $(B)/tests/unit/test_%.o $(UNIT_HELP) $(B)/libkite.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(UNIT_HELP) $(B)/libkite.a $(LIBS) $(PACK_LIBS) -llzma -llz4 -lcheck -lsubunit -lrt -lm

# Parts of kite-user-net that need no libslirp.
$(filter $(B)/tests/unit/test_usernet_%,$(UNIT_BIN)): $(B)/libusernet.a
$(filter $(B)/tests/unit/test_usernet_%,$(UNIT_BIN)): LIBS := $(B)/libusernet.a $(B)/libkite.a $(LIBS)
# It starts the real one.
$(B)/tests/unit/test_user: | $(B)/kite-user-net
$(B)/tests/unit/test_user: LDFLAGS += -Wl,--wrap=log_warn

$(B)/tests/unit/test_bridge_filter: $(B)/tools/bridge-helper/filter.o
$(B)/tests/unit/test_bridge_filter: LIBS := $(B)/tools/bridge-helper/filter.o $(LIBS)

# What packs clusters is linked where it is wanted by name (blk/qcow2_pack.c).
$(filter $(B)/tests/unit/test_qcow2_%,$(UNIT_BIN)): LDFLAGS += -Wl,-u,q_deflate

# Calls that a test intercepts, to make them fail or to keep the time.
wrap = $(1:%=-Wl,--wrap=%)
$(UNIT_BIN): LDFLAGS += $(call wrap,mkdtemp mkstemp)
$(B)/tests/unit/test_uring: LDFLAGS += $(call wrap,io_uring_peek_batch_cqe io_uring_queue_init_params preadv2 pwritev2)
$(B)/tests/unit/test_eventloop_offload: LDFLAGS += $(call wrap,pthread_create)
$(B)/tests/unit/test_raw: LDFLAGS += $(call wrap,uring_submit statx)
$(B)/tests/unit/test_file_opener: LDFLAGS += $(call wrap,open)
$(B)/tests/unit/test_throttle: LDFLAGS += $(call wrap,now_ns eventloop_arm eventloop_cancel)
$(B)/tests/unit/test_tap: LDFLAGS += $(call wrap,ioctl open readv writev now_ns)
$(B)/tests/unit/test_vhost: LDFLAGS += $(call wrap,ioctl open)
$(B)/tests/unit/test_virtio_net $(B)/tests/unit/test_pace: LDFLAGS += $(call wrap,now_ns)
$(B)/tests/unit/test_usernet_datagrams: LDFLAGS += $(call wrap,sendmsg)

# The thread sanitizer has nothing to find where there is one thread: in programs that do not refer to pthread_create, as their ordinary build in
# $(PLAIN) says (make unit; what is not there, or older than its source, is run). Two that do take many minutes under it, and their threads are not at work.
# A sanitizer's own calls have no place in the sandbox's filters.
PLAIN ?= build
ifneq ($(filter thread,$(SAN)),)
ONE_THREAD := $(shell for t in $(UNIT_SRC:tests/unit/%.c=%); do p=$(PLAIN)/tests/unit/$$t; \
	[ $$p -nt tests/unit/$$t.c ] && ! nm -Du $$p | grep -q 'U pthread_create' && echo %/$$t; done)
CHECK_SKIP := %/test_qcow2_model %/test_qcow2_crash $(ONE_THREAD)
endif
CHECK_SKIP += $(if $(SAN),%/test_sandbox %/test_bridge_filter)
CHECK_BIN := $(filter-out $(CHECK_SKIP),$(UNIT_BIN))
check: $(CHECK_BIN)
	@tests/unit/run $(CHECK_BIN)
unit: $(UNIT_BIN)

# kite-img killed at random moments for SOAK_SECONDS, then random sequences of requests with QCOW2_SEEDS seeds each. With HOURS=n before that: guests for
# so long, half of it Linux (tests/lab/test_soak.py) and half a hostile one (tests/guest/hostile_walk.c), a minute from each seed.
.PHONY: soak soak-guests
soak: $(if $(HOURS),soak-guests) $(B)/kite-img $(B)/tests/unit/test_qcow2_model $(B)/tests/unit/test_qcow2_crash
	@tests/img/soak
	@QCOW2_SEEDS=$${QCOW2_SEEDS:-100} $(B)/tests/unit/test_qcow2_model
	@QCOW2_SEEDS=$${QCOW2_SEEDS:-100} QCOW2_ORACLE=$${QCOW2_ORACLE:-997} $(B)/tests/unit/test_qcow2_crash

lint: analyze
	@tools/lint

analyze:
	@tools/analyze

soak-guests: all payloads
	@tests/guest/faults -a
	@LAB_SOAK_SECONDS=$$(($(HOURS) * 1800)) tests/lab/run --labs 1 soak
	@for seed in $$(seq $$(($(HOURS) * 15))); do \
		seed=$$seed$$$$; echo "soak: seed $$seed"; WALK_SEED=$$seed WALK_MS=60000 tests/guest/run -k walk || exit 1; \
	done

# The unit tests and the bare-metal guests, built to count the lines that they run.
coverage:
	@$(MAKE) --no-print-directory COV=1 B=$(B)-cov all payloads
	@-$(MAKE) --no-print-directory COV=1 B=$(B)-cov check
	@B=$(B)-cov tests/coverage

include $(wildcard tests/embed/embed.mk tests/net/net.mk tests/guest/guest.mk tests/bench/bench.mk tests/fuzz/fuzz.mk)

install: all
	install -D -m 755 $(B)/kite $(DESTDIR)$(PREFIX)/bin/kite
	install -D -m 755 $(B)/kite-img $(DESTDIR)$(PREFIX)/bin/kite-img
	install -D -m 755 $(B)/kite-ctl $(DESTDIR)$(PREFIX)/bin/kite-ctl
	install -D -m 755 tools/kite-net $(DESTDIR)$(PREFIX)/bin/kite-net
	install -D -m 755 $(B)/kite-user-net $(DESTDIR)$(LIBEXECDIR)/kite-user-net
	install -D -m 755 $(B)/kite-bridge-helper $(DESTDIR)$(LIBEXECDIR)/kite-bridge-helper

clean:
	rm -rf $(B)

-include $(LIB_OBJ:.o=.d) $(SANDBOX_GEN:=.d) $(MAIN_OBJ:.o=.d) $(IMG_OBJ:.o=.d) $(CTL_OBJ:.o=.d) $(USERNET_OBJ:.o=.d) $(BRIDGE_OBJ:.o=.d) $(UNIT_BIN:=.d) $(UNIT_HELP:.o=.d)
.SECONDARY:
