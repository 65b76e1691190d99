# SPDX-License-Identifier: MIT
# Bare-metal guests: every tests/guest/NAME.c, linked with the run-time in tests/guest/rt, and every NAME.S, which stands alone,
# becomes $(B)/guest/NAME.elf. 64-bit code in an ELF32 container, because multiboot loaders take nothing else.
GUEST := tests/guest
GUEST_B := $(B)/guest
GUEST_RT := $(patsubst $(GUEST)/%,$(GUEST_B)/%.o,$(sort $(wildcard $(GUEST)/rt/*.[cS])))
GUEST_ELF := \
	$(patsubst $(GUEST)/%.c,$(GUEST_B)/%.elf,$(sort $(wildcard $(GUEST)/*.c))) \
	$(patsubst $(GUEST)/%.S,$(GUEST_B)/%.elf,$(sort $(wildcard $(GUEST)/*.S)))
# No sanitizers, no host options: a guest is its own world. Interrupts rule out the red zone, and nobody saves SSE registers.
GUEST_CFLAGS := -std=gnu11 -O2 -g $(WARN) -m64 -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
	-fno-asynchronous-unwind-tables -mno-red-zone -mgeneral-regs-only -mcmodel=small -I$(GUEST)/rt
GUEST_LDFLAGS := -m64 -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 \
	-Wl,--no-warn-rwx-segments -Wl,-T,$(GUEST)/rt/link.ld

payloads: $(GUEST_ELF)

$(GUEST_B)/%.c.o: $(GUEST)/%.c $(GUEST)/guest.mk
	@mkdir -p $(@D)
	$(call say,CC,  $<)
	$(Q)$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

$(GUEST_B)/%.S.o: $(GUEST)/%.S $(GUEST)/guest.mk
	@mkdir -p $(@D)
	$(call say,CC,  $<)
	$(Q)$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

$(GUEST_B)/%.elf: $(GUEST_B)/%.elf64
	$(Q)objcopy -O elf32-i386 $< $@

$(GUEST_B)/%.elf64: $(GUEST_B)/%.c.o $(GUEST_RT) $(GUEST)/rt/link.ld
	$(call say,LINK,$@)
	$(Q)$(CC) $(GUEST_LDFLAGS) -o $@ $< $(GUEST_RT)

$(GUEST_B)/%.elf64: $(GUEST_B)/%.S.o $(GUEST)/rt/link.ld
	$(call say,LINK,$@)
	$(Q)$(CC) $(GUEST_LDFLAGS) -o $@ $<

# The one with a network stack of its own.
GUEST_NET := $(patsubst $(GUEST)/%,$(GUEST_B)/%.o,$(sort $(wildcard $(GUEST)/net/*.c)))
$(GUEST_B)/netbench.elf64: $(GUEST_B)/netbench.c.o $(GUEST_NET) $(GUEST_RT) $(GUEST)/rt/link.ld
	$(call say,LINK,$@)
	$(Q)$(CC) $(GUEST_LDFLAGS) -o $@ $< $(GUEST_NET) $(GUEST_RT)

-include $(GUEST_RT:.o=.d) $(GUEST_NET:.o=.d) $(GUEST_ELF:.elf=.c.d) $(GUEST_ELF:.elf=.S.d)

# Programs of the host's side: what a reset forgets, Kite with every call of the host's made to fail in turn, and Kite with orders from a FIFO.
GUEST_HOST_WRAP := ioctl open mmap malloc calloc realloc strdup strndup open_memstream pthread_create fstat pread epoll_create1 epoll_ctl \
	eventfd signalfd socket bind listen statx socketpair connect posix_memalign aligned_alloc reallocarray ftruncate lseek mprotect \
	io_uring_queue_init_params io_uring_submit_and_wait io_uring_submit_and_get_events io_uring_peek_batch_cqe preadv2 pwritev2 pwrite fdatasync \
	readv writev getrandom sendmsg sendmmsg recvmmsg epoll_wait epoll_pwait2 prctl setrlimit syscall
GUEST_HOST := $(GUEST_B)/reset-state $(GUEST_B)/kite-control $(GUEST_B)/kite-faults
payloads: $(GUEST_HOST)

$(GUEST_B)/reset-state: $(B)/$(GUEST)/host/reset_state.o $(B)/libkite.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libkite.a $(LIBS)

$(GUEST_B)/kite-control: $(B)/$(GUEST)/host/kite_control.o $(B)/libkite.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libkite.a $(LIBS)

$(GUEST_B)/kite-faults: $(MAIN_OBJ) $(B)/$(GUEST)/host/faults.o $(B)/libkite.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(GUEST_HOST_WRAP:%=-Wl,--wrap=%) -o $@ $(MAIN_OBJ) $(B)/$(GUEST)/host/faults.o $(B)/libkite.a $(LIBS)
-include $(wildcard $(B)/$(GUEST)/host/*.d)

# A firmware image of our own.
$(GUEST_B)/bios.bin: $(GUEST)/rom/bios.S $(GUEST)/guest.mk
	@mkdir -p $(@D)
	$(call say,AS,  $<)
	$(Q)$(CC) -m32 -c -o $@.o $< && $(LD) -m elf_i386 --oformat binary -Ttext 0 -o $@ $@.o
payloads: $(GUEST_B)/bios.bin
