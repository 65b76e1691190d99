/* SPDX-License-Identifier: MIT */
/*
 * The floor for Linux: what it costs any program to boot it, which is the KVM calls that there is no way around, the kernel's segments and the
 * initramfs in memory, and a serial port for its console. No ACPI, no bus, no disk, no network: less than a machine that is of use.
 *
 *   floor-linux [-m MIB] VMLINUX INITRD COMMAND-LINE
 *
 * VMLINUX is an ELF64 file, entered at its 64-bit entry point with boot parameters (Documentation/arch/x86/boot.rst of Linux). The guest is told
 * the frequencies of TSC and APIC (CPUID leaf 0x40000010), as Kite tells them, so that it does not measure them. Runs until it is killed.
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define CPUID_MAX 256
#define PAGE_TABLES 0x1000 /* to 0x7000 */
#define BOOT_PARAMS 0x7000
#define COMMAND_LINE 0x8000
#define LOW_END 0x9fc00
#define COM1 0x3f8
#define COM1_IRQ 4
#define LEAF_KVM 0x40000000
#define LEAF_TIMING 0x40000010
#define APIC_KHZ 1000000

enum { THR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct machine {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram;
	uint64_t ram_size;
	uint8_t uart[8];
	bool thr_empty; /* an interrupt that the guest has not seen */
};

static int check(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static int open_file(const char *path, size_t *size)
{
	int fd = check(open(path, O_RDONLY | O_CLOEXEC), path);
	struct stat st;

	check(fstat(fd, &st), path);
	*size = (size_t)st.st_size;
	return fd;
}

/* Straight into guest memory, or what else `to` is. */
static void read_file(int fd, const char *path, void *to, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = pread(fd, to, len, (off_t)off);

		if (n <= 0)
			errx(1, "%s: cannot be read", path);
		to = (uint8_t *)to + n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
}

static uint64_t load_kernel(struct machine *m, const char *path)
{
	size_t size;
	int fd = open_file(path, &size);
	Elf64_Ehdr ehdr;

	read_file(fd, path, &ehdr, sizeof(ehdr), 0);
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) || ehdr.e_ident[EI_CLASS] != ELFCLASS64)
		errx(1, "%s: not an ELF64 file", path);
	for (unsigned i = 0; i < ehdr.e_phnum; i++) {
		Elf64_Phdr phdr;

		read_file(fd, path, &phdr, sizeof(phdr), ehdr.e_phoff + i * sizeof(phdr));
		if (phdr.p_type != PT_LOAD)
			continue;
		if (phdr.p_paddr > m->ram_size || phdr.p_memsz > m->ram_size - phdr.p_paddr || phdr.p_filesz > phdr.p_memsz)
			errx(1, "%s: does not fit", path);
		read_file(fd, path, m->ram + phdr.p_paddr, phdr.p_filesz, phdr.p_offset);
	}
	close(fd);
	return ehdr.e_entry;
}

static void put32(struct machine *m, uint64_t at, uint32_t value)
{
	memcpy(m->ram + at, &value, sizeof(value));
}

static void put_map(struct machine *m, unsigned n, uint64_t base, uint64_t size)
{
	struct {
		uint64_t base, size;
		uint32_t type;
	} __attribute__((packed)) entry = { base, size, 1 };

	memcpy(m->ram + BOOT_PARAMS + 0x2d0 + n * sizeof(entry), &entry, sizeof(entry));
	m->ram[BOOT_PARAMS + 0x1e8] = (uint8_t)(n + 1);
}

static void load_rest(struct machine *m, const char *initrd, const char *command_line)
{
	size_t size;
	int fd = open_file(initrd, &size);
	uint64_t at = (m->ram_size - size) & ~UINT64_C(0xfff);

	if (size > m->ram_size / 2)
		errx(1, "%s: does not fit", initrd);
	read_file(fd, initrd, m->ram + at, size, 0);
	close(fd);
	strcpy((char *)m->ram + COMMAND_LINE, command_line);
	put32(m, BOOT_PARAMS + 0x1fe, 0xaa55);
	put32(m, BOOT_PARAMS + 0x202, 0x53726448); /* HdrS */
	m->ram[BOOT_PARAMS + 0x206] = 0x0f;
	m->ram[BOOT_PARAMS + 0x207] = 0x02;
	m->ram[BOOT_PARAMS + 0x210] = 0xff;
	m->ram[BOOT_PARAMS + 0x211] = 0x01;
	put32(m, BOOT_PARAMS + 0x218, (uint32_t)at);
	put32(m, BOOT_PARAMS + 0x21c, (uint32_t)size);
	put32(m, BOOT_PARAMS + 0x228, COMMAND_LINE);
	put_map(m, 0, 0, LOW_END);
	put_map(m, 1, MIB, m->ram_size - MIB);
}

static void make_vm(struct machine *m)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kvm_userspace_memory_region slot = { .memory_size = m->ram_size };
	uint64_t identity_map = 0xfffbc000;

	m->kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	m->vm = check(ioctl(m->kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(ioctl(m->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map), "KVM_SET_IDENTITY_MAP_ADDR");
	check(ioctl(m->vm, KVM_SET_TSS_ADDR, 0xfffbd000UL), "KVM_SET_TSS_ADDR");
	check(ioctl(m->vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	check(ioctl(m->vm, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2");
	m->ram = mmap(NULL, m->ram_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->ram == MAP_FAILED)
		err(1, "guest memory");
	madvise(m->ram, m->ram_size, MADV_HUGEPAGE);
	slot.userspace_addr = (uintptr_t)m->ram;
	check(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	m->vcpu = check(ioctl(m->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	m->run = mmap(NULL, (size_t)check(ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"), PROT_READ | PROT_WRITE, MAP_SHARED,
		      m->vcpu, 0);
	if (m->run == MAP_FAILED)
		err(1, "kvm_run");
}

static void set_cpuid(struct machine *m)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
	struct kvm_cpuid_entry2 *last;

	if (!cpuid)
		err(1, "CPUID");
	cpuid->nent = CPUID_MAX - 1;
	check(ioctl(m->kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
	for (unsigned i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == LEAF_KVM)
			cpuid->entries[i].eax = LEAF_TIMING;
		if (cpuid->entries[i].function == 1)
			cpuid->entries[i].ecx |= 1u << 31 | 1u << 24 | 1u << 21; /* hypervisor, TSC deadline, x2APIC */
	}
	last = &cpuid->entries[cpuid->nent++];
	last->function = LEAF_TIMING;
	last->eax = (uint32_t)check(ioctl(m->vcpu, KVM_GET_TSC_KHZ, 0), "KVM_GET_TSC_KHZ");
	last->ebx = APIC_KHZ;
	check(ioctl(m->vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
	free(cpuid);
}

/* 64-bit mode with 4 GiB one to one in pages of 2 MiB. */
static void set_entry(struct machine *m, uint64_t entry)
{
	struct kvm_regs regs = { .rip = entry, .rsi = BOOT_PARAMS, .rsp = BOOT_PARAMS, .rflags = 2 };
	struct kvm_segment code = { .limit = 0xffffffff, .selector = 0x10, .type = 0xb, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff, .selector = 0x18, .type = 0x3, .present = 1, .s = 1, .db = 1, .g = 1 };
	uint64_t *table = (uint64_t *)(m->ram + PAGE_TABLES);
	struct kvm_sregs sregs;

	table[0] = PAGE_TABLES + 0x1003;
	for (unsigned i = 0; i < 4; i++)
		table[512 + i] = PAGE_TABLES + 0x2003 + i * 0x1000;
	for (uint64_t i = 0; i < 2048; i++)
		table[1024 + i] = i << 21 | 0x83;
	check(ioctl(m->vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 0x80000011;
	sregs.cr3 = PAGE_TABLES;
	sregs.cr4 = 0x20;
	sregs.efer = 0x500;
	check(ioctl(m->vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(m->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void uart_interrupt(struct machine *m)
{
	struct kvm_irq_level line = { .irq = COM1_IRQ };

	m->thr_empty = true;
	for (line.level = 1;; line.level = 0) {
		check(ioctl(m->vm, KVM_IRQ_LINE, &line), "KVM_IRQ_LINE");
		if (!line.level)
			break;
	}
}

static void uart_write(struct machine *m, unsigned reg, uint8_t value)
{
	if (reg == THR && !(m->uart[LCR] & 0x80))
		(void)!write(STDOUT_FILENO, &value, 1);
	else if (reg == IER && !(m->uart[LCR] & 0x80))
		m->uart[IER] = value & 0x0f;
	else if (reg >= LCR && reg != LSR && reg != MSR)
		m->uart[reg] = value;
	if (reg <= IER && !(m->uart[LCR] & 0x80) && m->uart[IER] & 2)
		uart_interrupt(m);
}

static uint8_t uart_read(struct machine *m, unsigned reg)
{
	uint8_t iir = m->thr_empty ? 0x02 : 0x01;

	switch (reg) {
	case THR: return 0;
	case IIR: m->thr_empty = false; return iir;
	case LSR: return 0x60;
	case MSR: return 0xb0;
	default: return m->uart[reg];
	}
}

static void do_port(struct machine *m)
{
	struct kvm_run *run = m->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool com1 = run->io.port >= COM1 && run->io.port < COM1 + 8;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT) {
			if (com1)
				uart_write(m, run->io.port - COM1, *data);
			continue;
		}
		memset(data, run->io.port == 0x71 ? 0 : 0xff, run->io.size);
		if (com1)
			*data = uart_read(m, run->io.port - COM1);
	}
}

int main(int argc, char **argv)
{
	struct machine m = { .ram_size = 256 * MIB };
	int c;

	while ((c = getopt(argc, argv, "m:")) != -1) {
		if (c != 'm')
			return 1;
		m.ram_size = (uint64_t)atoll(optarg) * MIB;
	}
	if (argc - optind != 3 || m.ram_size < 64 * MIB || m.ram_size > 3072 * MIB || strlen(argv[optind + 2]) > 2000)
		errx(1, "usage: floor-linux [-m MIB] VMLINUX INITRD COMMAND-LINE");
	make_vm(&m);
	set_cpuid(&m);
	set_entry(&m, load_kernel(&m, argv[optind]));
	load_rest(&m, argv[optind + 1], argv[optind + 2]);
	for (;;) {
		check(ioctl(m.vcpu, KVM_RUN, 0), "KVM_RUN");
		if (m.run->exit_reason == KVM_EXIT_IO)
			do_port(&m);
		else if (m.run->exit_reason == KVM_EXIT_MMIO && !m.run->mmio.is_write)
			memset(m.run->mmio.data, 0xff, m.run->mmio.len);
		else if (m.run->exit_reason != KVM_EXIT_MMIO)
			errx(1, "exit reason %u", m.run->exit_reason);
	}
}
