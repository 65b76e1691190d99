/* SPDX-License-Identifier: MIT */
#include "arch/x86/msr.h"

#include <linux/kvm.h>
#include <stdint.h>

#include "arch/x86/memmap.h"
#include "vmm/err.h"
#include "vmm/kvm.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

struct msr_value {
	uint32_t index;
	uint64_t value;
};

/* Intel SDM volume 4, table 2-2; AMD APM volume 2, appendix A; kvm: Documentation/virt/kvm/x86/msr.rst. */
static const struct msr_value power_on[] = {
	{ 0x010, 0 },                /* IA32_TIME_STAMP_COUNTER; 0 on every vCPU: KVM keeps them in step */
	{ 0x03b, 0 },                /* IA32_TSC_ADJUST */
	{ 0x048, 0 },                /* IA32_SPEC_CTRL */
	{ 0x0e1, 0 },                /* IA32_UMWAIT_CONTROL */
	{ 0x174, 0 },                /* IA32_SYSENTER_CS */
	{ 0x175, 0 },                /* IA32_SYSENTER_ESP */
	{ 0x176, 0 },                /* IA32_SYSENTER_EIP */
	{ 0x17a, 0 },                /* IA32_MCG_STATUS */
	{ 0x1a0, 1 },                /* IA32_MISC_ENABLE: fast strings */
	{ 0x1d9, 0 },                /* IA32_DEBUGCTL */
	{ 0x277, 0x0007040600070406 }, /* IA32_PAT */
	{ 0x38f, 0 },                /* IA32_PERF_GLOBAL_CTRL */
	{ 0x6a0, 0 },                /* IA32_U_CET */
	{ 0x6a2, 0 },                /* IA32_S_CET */
	{ 0x6e0, 0 },                /* IA32_TSC_DEADLINE */
	{ 0xda0, 0 },                /* IA32_XSS */
	{ 0xc0000081, 0 },           /* STAR */
	{ 0xc0000082, 0 },           /* LSTAR */
	{ 0xc0000083, 0 },           /* CSTAR */
	{ 0xc0000084, 0 },           /* SFMASK */
	{ 0xc0000102, 0 },           /* KERNEL_GS_BASE */
	{ 0xc0000103, 0 },           /* TSC_AUX */
	{ 0x011, 0 },                /* MSR_KVM_WALL_CLOCK */
	{ 0x012, 0 },                /* MSR_KVM_SYSTEM_TIME */
	{ 0x4b564d00, 0 },           /* MSR_KVM_WALL_CLOCK_NEW */
	{ 0x4b564d01, 0 },           /* MSR_KVM_SYSTEM_TIME_NEW */
	{ 0x4b564d02, 0 },           /* MSR_KVM_ASYNC_PF_EN */
	{ 0x4b564d03, 0 },           /* MSR_KVM_STEAL_TIME */
	{ 0x4b564d04, 0 },           /* MSR_KVM_EOI_EN */
	{ 0x4b564d05, 1 },           /* MSR_KVM_POLL_CONTROL: the host polls */
	{ 0x4b564d06, 0 },           /* MSR_KVM_ASYNC_PF_INT */
	{ 0x4b564d08, 0 },           /* MSR_KVM_MIGRATION_CONTROL */
};

/* MTRRs, Intel SDM volume 3, 12.11. Types: 0 uncached, 6 write-back. */
#define MTRR_UC 0
#define MTRR_WB 6
#define MTRR_WB8 0x0606060606060606
#define MTRR_PHYS_VALID 0x800
#define MTRR_DEF_ENABLED 0xc00 /* variable and fixed ranges */
#define MTRR_DEF_TYPE 0x2ff
#define MTRR_PHYS_BASE0 0x200
#define MTRR_PHYS_MASK0 0x201

static const struct msr_value mtrr_fixed[] = {
	{ 0x250, MTRR_WB8 }, /* 0x00000, 64 KiB each */
	{ 0x258, MTRR_WB8 }, /* 0x80000, 16 KiB each */
	{ 0x259, MTRR_UC },  /* 0xa0000: video window */
	{ 0x268, MTRR_WB8 }, /* 0xc0000, 4 KiB each */
	{ 0x269, MTRR_WB8 },
	{ 0x26a, MTRR_WB8 },
	{ 0x26b, MTRR_WB8 },
	{ 0x26c, MTRR_WB8 },
	{ 0x26d, MTRR_WB8 },
	{ 0x26e, MTRR_WB8 },
	{ 0x26f, MTRR_WB8 },
};

#define MSRS_MAX (ARRAY_SIZE(power_on) + ARRAY_SIZE(mtrr_fixed)) /* more than any list here */

/* KVM_SET_MSRS stops at the first register that it does not take: go on behind it. */
static int msr_write(struct vcpu *vcpu, const struct msr_value *values, size_t n, struct err *err)
{
	union { /* the list ends in an array of any length */
		struct kvm_msrs list;
		uint8_t space[sizeof(struct kvm_msrs) + MSRS_MAX * sizeof(struct kvm_msr_entry)];
	} msrs;

	while (n > 0) {
		int done;

		msrs.list = (struct kvm_msrs){ .nmsrs = (uint32_t)n };
		for (size_t i = 0; i < n; i++)
			msrs.list.entries[i] = (struct kvm_msr_entry){ .index = values[i].index, .data = values[i].value };
		done = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
		if (done < 0)
			return err_set_errno(err, done, "vCPU %u: KVM_SET_MSRS", vcpu->index);
		if ((size_t)done == n)
			break;
		values += done + 1;
		n -= (size_t)done + 1;
	}
	return 0;
}

int msr_reset(struct vcpu *vcpu, struct err *err)
{
	return msr_write(vcpu, power_on, ARRAY_SIZE(power_on), err);
}

int msr_set_firmware(struct vcpu *vcpu, unsigned phys_bits, struct err *err)
{
	/* The mask has every address bit of the processor: with fewer, Linux reports a broken BIOS. */
	uint64_t mask = (BIT64(phys_bits) - 1) & ~(MEM_HIGH_START - MEM_LOW_MAX - 1);
	const struct msr_value variable[] = {
		{ MTRR_PHYS_BASE0, MEM_LOW_MAX | MTRR_UC },
		{ MTRR_PHYS_MASK0, mask | MTRR_PHYS_VALID },
		{ MTRR_DEF_TYPE, MTRR_DEF_ENABLED | MTRR_WB },
	};
	int r = msr_write(vcpu, mtrr_fixed, ARRAY_SIZE(mtrr_fixed), err);

	return r < 0 ? r : msr_write(vcpu, variable, ARRAY_SIZE(variable), err);
}
