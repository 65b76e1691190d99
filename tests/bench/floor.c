/* SPDX-License-Identifier: MIT */
/*
 * The floor: what it costs any program to start a PC's virtual machine, which is the KVM calls that there is no way around and
 * nothing else. No options, no devices, no threads. It loads a multiboot ELF32 image into 128 MiB, enters it in protected mode
 * and ends at the first OUT instruction, as the `first` payload makes it.
 *
 *   floor IMAGE      status 0, or 1 with a message
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM_SIZE (UINT64_C(128) << 20)
#define CPUID_MAX 256
#define EXIT_PORT 0xf4
#define MULTIBOOT_MAGIC 0x2badb002
#define MULTIBOOT_INFO 0x9000 /* zeroes: nothing is told */

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

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .db = 1, .s = 1, .g = 1,
	};
}

static void set_cpuid(int kvm, int vcpu)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));

	if (!cpuid)
		err(1, "CPUID");
	cpuid->nent = CPUID_MAX;
	check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
	check(ioctl(vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
	free(cpuid);
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

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region slot = { .memory_size = RAM_SIZE };
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity_map = 0xfffbc000;
	int kvm, vm, vcpu, run_size;
	struct kvm_run *run;
	uint8_t *ram;

	if (argc != 2)
		errx(1, "usage: floor IMAGE");
	kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		errx(1, "/dev/kvm: not the KVM API of this program");
	vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map), "KVM_SET_IDENTITY_MAP_ADDR");
	check(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL), "KVM_SET_TSS_ADDR");
	check(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	check(ioctl(vm, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2");

	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram == MAP_FAILED)
		err(1, "guest memory");
	slot.userspace_addr = (uintptr_t)ram;
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");

	vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run_size = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "kvm_run");
	set_cpuid(kvm, vcpu);
	set_entry(vcpu, load(argv[1], ram));

	check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != EXIT_PORT)
		errx(1, "exit reason %u instead of an OUT to 0x%x", run->exit_reason, EXIT_PORT);
	return 0;
}
