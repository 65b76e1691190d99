/* SPDX-License-Identifier: MIT */
/*
 * The floor: what it costs any program to run a PC's virtual machine, which is the KVM calls that there is no way around and nothing
 * else. No options, no devices, no locks. It loads a multiboot ELF32 image, enters it in protected mode and goes on until the guest writes
 * to port 0xf4, as the payloads end (tests/guest).
 *
 *   floor [-c CPUS] [-m MIB] IMAGE [COMMAND-LINE]      status 0, or 1 with a message
 *
 * For the payload `exits` it also answers, each as shortly as it can be done:
 *
 *   port 0xe0 and memory 0xff000000   a register that reads what was written
 *   port 0x3f8                        standard output
 *   memory 0xfeb00050                 a doorbell: KVM signals an eventfd, on which a thread waits; that adds one to the counter whose guest
 *                                     address was written to port 0x510, and raises the MSI with the vector written to port 0x514, if any
 *
 * Other CPUs than the first have a thread in KVM_RUN, where they wait to be started.
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define LOW_MAX (3072 * MIB)
#define HIGH_START (4096 * MIB)
#define CPUID_MAX 256
#define EXIT_PORT 0xf4
#define ECHO_PORT 0xe0
#define COM1 0x3f8
#define COM1_LCR 0x3fb
#define LCR_DLAB 0x80 /* then COM1 is the divisor */
#define COM1_LSR 0x3fd
#define LSR_IDLE 0x60
#define ECHO_MEMORY 0xff000000
#define BELL 0xfeb00050
#define ANSWER_PORT 0x510
#define VECTOR_PORT 0x514
#define MSI_GSI 24
#define MULTIBOOT_MAGIC 0x2badb002
#define MULTIBOOT_INFO 0x9000
#define MULTIBOOT_TEXT 0x9100
#define MBI_MEM 0x1
#define MBI_CMDLINE 0x4

struct floor {
	int kvm, vm, bell, irqfd;
	uint8_t *ram;
	uint64_t ram_size;
	int run_size;
	struct kvm_cpuid2 *cpuid;
	_Atomic(volatile uint32_t *) answers;
	_Atomic uint8_t vector;
	uint32_t echo;
	uint8_t lcr;
};

struct cpu {
	int fd;
	struct kvm_run *run;
	pthread_t thread;
};

static int check(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

/* Copies the segments of the image; returns the entry point. */
static uint32_t load(const char *path, uint8_t *ram)
{
	int fd = check(open(path, O_RDONLY | O_CLOEXEC), path);
	const Elf32_Phdr *phdr;
	const uint8_t *image;
	const Elf32_Ehdr *ehdr;
	struct stat st;

	check(fstat(fd, &st), path);
	if (st.st_size < (off_t)sizeof(*ehdr))
		errx(1, "%s: too short", path);
	image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (image == MAP_FAILED)
		err(1, "%s", path);
	ehdr = (const Elf32_Ehdr *)image;
	if (memcmp(ehdr->e_ident, ELFMAG, SELFMAG) || ehdr->e_ident[EI_CLASS] != ELFCLASS32)
		errx(1, "%s: not an ELF32 image", path);
	phdr = (const Elf32_Phdr *)(image + ehdr->e_phoff);
	for (unsigned i = 0; i < ehdr->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD)
			memcpy(ram + phdr[i].p_paddr, image + phdr[i].p_offset, phdr[i].p_filesz);
	close(fd);
	return ehdr->e_entry;
}

static void tell(struct floor *f, const char *command_line)
{
	uint32_t *mbi = (uint32_t *)(f->ram + MULTIBOOT_INFO);

	if (!command_line)
		return;
	mbi[0] = MBI_MEM | MBI_CMDLINE;
	mbi[1] = 640;
	mbi[2] = (uint32_t)((f->ram_size < LOW_MAX ? f->ram_size : LOW_MAX) / 1024 - 1024);
	mbi[4] = MULTIBOOT_TEXT;
	strncpy((char *)f->ram + MULTIBOOT_TEXT, command_line, 255);
}

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .db = 1, .s = 1, .g = 1,
	};
}

static void set_entry(int vcpu, uint32_t entry)
{
	struct kvm_regs regs = { .rax = MULTIBOOT_MAGIC, .rbx = MULTIBOOT_INFO, .rip = entry, .rflags = 2 };
	struct kvm_sregs sregs;

	check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = flat(0x08, 0xb);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat(0x10, 0x3);
	sregs.cr0 = 0x11; /* protected mode, ET */
	check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void add_slot(struct floor *f, unsigned id, uint64_t gpa, uint64_t offset, uint64_t size)
{
	struct kvm_userspace_memory_region slot = { .slot = id, .guest_phys_addr = gpa, .memory_size = size };

	slot.userspace_addr = (uintptr_t)f->ram + offset;
	check(ioctl(f->vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
}

static void make_vm(struct floor *f)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity_map = 0xfffbc000;

	f->kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	if (ioctl(f->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		errx(1, "/dev/kvm: not the KVM API of this program");
	f->vm = check(ioctl(f->kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(ioctl(f->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map), "KVM_SET_IDENTITY_MAP_ADDR");
	check(ioctl(f->vm, KVM_SET_TSS_ADDR, 0xfffbd000UL), "KVM_SET_TSS_ADDR");
	check(ioctl(f->vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	check(ioctl(f->vm, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2");
	f->ram = mmap(NULL, f->ram_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f->ram == MAP_FAILED)
		err(1, "guest memory");
	add_slot(f, 0, 0, 0, f->ram_size < LOW_MAX ? f->ram_size : LOW_MAX);
	if (f->ram_size > LOW_MAX)
		add_slot(f, 1, HIGH_START, LOW_MAX, f->ram_size - LOW_MAX);
	f->run_size = check(ioctl(f->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	f->cpuid = calloc(1, sizeof(*f->cpuid) + CPUID_MAX * sizeof(f->cpuid->entries[0]));
	if (!f->cpuid)
		err(1, "CPUID");
	f->cpuid->nent = CPUID_MAX;
	check(ioctl(f->kvm, KVM_GET_SUPPORTED_CPUID, f->cpuid), "KVM_GET_SUPPORTED_CPUID");
}

static void make_cpu(struct floor *f, struct cpu *cpu, unsigned id)
{
	cpu->fd = check(ioctl(f->vm, KVM_CREATE_VCPU, (unsigned long)id), "KVM_CREATE_VCPU");
	cpu->run = mmap(NULL, (size_t)f->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
	if (cpu->run == MAP_FAILED)
		err(1, "kvm_run");
	check(ioctl(cpu->fd, KVM_SET_CPUID2, f->cpuid), "KVM_SET_CPUID2");
}

static void *other_cpu(void *arg)
{
	struct cpu *cpu = arg;

	ioctl(cpu->fd, KVM_RUN, 0);
	return NULL;
}

/* The device that there is: see above. */
static void *answer(void *arg)
{
	struct floor *f = arg;
	uint64_t n, one = 1;

	while (read(f->bell, &n, sizeof(n)) == sizeof(n)) {
		volatile uint32_t *answers = f->answers;

		if (answers)
			++*answers;
		if (f->vector)
			(void)!write(f->irqfd, &one, sizeof(one));
	}
	return NULL;
}

static void set_vector(struct floor *f, uint8_t vector)
{
	union {
		struct kvm_irq_routing routing;
		uint8_t room[sizeof(struct kvm_irq_routing) + sizeof(struct kvm_irq_routing_entry)];
	} u = { .routing = { .nr = 1 } };

	u.routing.entries[0].gsi = MSI_GSI;
	u.routing.entries[0].type = KVM_IRQ_ROUTING_MSI;
	u.routing.entries[0].u.msi.address_lo = 0xfee00000;
	u.routing.entries[0].u.msi.data = vector;
	if (vector)
		check(ioctl(f->vm, KVM_SET_GSI_ROUTING, &u), "KVM_SET_GSI_ROUTING");
	f->vector = vector;
}

static void make_device(struct floor *f)
{
	struct kvm_ioeventfd bell = { .addr = BELL, .len = 4 };
	struct kvm_irqfd irqfd = { .gsi = MSI_GSI };
	pthread_t thread;

	f->bell = check(eventfd(0, EFD_CLOEXEC), "eventfd");
	f->irqfd = check(eventfd(0, EFD_CLOEXEC), "eventfd");
	bell.fd = f->bell;
	irqfd.fd = (uint32_t)f->irqfd;
	check(ioctl(f->vm, KVM_IOEVENTFD, &bell), "KVM_IOEVENTFD");
	check(ioctl(f->vm, KVM_IRQFD, &irqfd), "KVM_IRQFD");
	if (pthread_create(&thread, NULL, answer, f))
		errx(1, "cannot start a thread");
}

static void do_port(struct floor *f, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t value = 0;

	memcpy(&value, data, run->io.size);
	if (run->io.direction == KVM_EXIT_IO_IN)
		memcpy(data, run->io.port == COM1_LSR ? &(uint32_t){ LSR_IDLE } : &f->echo, run->io.size);
	else if (run->io.port == ECHO_PORT)
		f->echo = value;
	else if (run->io.port == COM1_LCR)
		f->lcr = (uint8_t)value;
	else if (run->io.port == COM1 && !(f->lcr & LCR_DLAB))
		(void)!write(STDOUT_FILENO, data, 1);
	else if (run->io.port == ANSWER_PORT && value <= f->ram_size - sizeof(uint32_t))
		f->answers = (volatile uint32_t *)(f->ram + value);
	else if (run->io.port == VECTOR_PORT)
		set_vector(f, (uint8_t)value);
}

static void run_guest(struct floor *f, struct cpu *cpu)
{
	struct kvm_run *run = cpu->run;

	for (;;) {
		check(ioctl(cpu->fd, KVM_RUN, 0), "KVM_RUN");
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == EXIT_PORT)
			return;
		if (run->exit_reason == KVM_EXIT_IO)
			do_port(f, run);
		else if (run->exit_reason != KVM_EXIT_MMIO)
			errx(1, "exit reason %u", run->exit_reason);
		else if (run->mmio.is_write)
			memcpy(&f->echo, run->mmio.data, 4);
		else
			memcpy(run->mmio.data, &f->echo, 4);
	}
}

int main(int argc, char **argv)
{
	struct floor f = { .ram_size = 128 * MIB };
	unsigned cpus = 1;
	struct cpu *cpu;
	int c;

	while ((c = getopt(argc, argv, "c:m:")) != -1) {
		if (c == 'c')
			cpus = (unsigned)atoi(optarg);
		else if (c == 'm')
			f.ram_size = (uint64_t)atoll(optarg) * MIB;
		else
			return 1;
	}
	if (optind >= argc || cpus < 1 || f.ram_size < 16 * MIB)
		errx(1, "usage: floor [-c CPUS] [-m MIB] IMAGE [COMMAND-LINE]");
	make_vm(&f);
	cpu = calloc(cpus, sizeof(*cpu));
	if (!cpu)
		err(1, "vCPUs");
	for (unsigned i = 0; i < cpus; i++)
		make_cpu(&f, &cpu[i], i);
	set_entry(cpu[0].fd, load(argv[optind], f.ram));
	tell(&f, argv[optind + 1]);
	if (argv[optind + 1])
		make_device(&f);
	for (unsigned i = 1; i < cpus; i++)
		if (pthread_create(&cpu[i].thread, NULL, other_cpu, &cpu[i]))
			errx(1, "cannot start a thread");
	run_guest(&f, &cpu[0]);
	return 0;
}
