/* SPDX-License-Identifier: MIT */
#include "arch/x86/msr.h"

#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>

#include "arch/x86/memmap.h"
#include "vmm/err.h"
#include "vmm/kvm.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, KVM_SET_MSRS), .threads = THREAD_MAIN }, /* reset */
);

#define HWCR 0xc0010015
#define HWCR_TSC_FREQ_SEL BIT64(24)

/* `n` registers from `first` on, all with the same value. */
struct msr_range {
	uint32_t first, n;
	uint64_t value;
};

/*
 * Intel SDM volume 4, table 2-2; AMD APM volume 2, appendix A; kvm: Documentation/virt/kvm/x86/msr.rst. Whatever a guest can write.
 */
static const struct msr_range power_on[] = {
	{ 0x010, 1, 0 },                /* IA32_TIME_STAMP_COUNTER; 0 on every vCPU: KVM keeps them in step */
	{ 0x03a, 1, 0 },                /* IA32_FEATURE_CONTROL */
	{ 0x03b, 1, 0 },                /* IA32_TSC_ADJUST */
	{ 0x048, 1, 0 },                /* IA32_SPEC_CTRL */
	{ 0x186, 8, 0 },                /* IA32_PERFEVTSELn, before the counters */
	{ 0x0c1, 8, 0 },                /* IA32_PMCn */
	{ 0x0e1, 1, 0 },                /* IA32_UMWAIT_CONTROL */
	{ 0x122, 1, 0 },                /* IA32_TSX_CTRL */
	{ 0x140, 1, 0 },                /* MISC_FEATURES_ENABLES: CPUID faulting */
	{ 0x174, 3, 0 },                /* IA32_SYSENTER_CS, ESP, EIP */
	{ 0x17a, 1, 0 },                /* IA32_MCG_STATUS */
	{ 0x1c4, 2, 0 },                /* IA32_XFD, XFD_ERR */
	{ 0x1d9, 1, 0 },                /* IA32_DEBUGCTL */
	{ 0x1fc, 1, 0 },                /* MSR_POWER_CTL */
	{ 0x200, 16, 0 },               /* IA32_MTRR_PHYSBASEn, PHYSMASKn */
	{ 0x277, 1, 0x0007040600070406 }, /* IA32_PAT */
	{ 0x38d, 1, 0 },                /* IA32_FIXED_CTR_CTRL */
	{ 0x38f, 1, 0 },                /* IA32_PERF_GLOBAL_CTRL */
	{ 0x309, 4, 0 },                /* IA32_FIXED_CTRn */
	{ 0x3f1, 1, 0 },                /* IA32_PEBS_ENABLE */
	{ 0x3f2, 1, 0 },                /* PEBS_DATA_CFG */
	{ 0x400, 4 * 32, 0 },           /* IA32_MCn_CTL, STATUS, ADDR, MISC: KVM has 32 banks */
	{ 0x570, 1, 0 },                /* IA32_RTIT_CTL */
	{ 0x600, 1, 0 },                /* IA32_DS_AREA */
	{ 0x6a0, 1, 0 },                /* IA32_U_CET */
	{ 0x6a2, 1, 0 },                /* IA32_S_CET */
	{ 0x6a4, 5, 0 },                /* IA32_PLn_SSP, INTERRUPT_SSP_TABLE_ADDR */
	{ 0x6e0, 1, 0 },                /* IA32_TSC_DEADLINE */
	{ 0xd90, 1, 0 },                /* IA32_BNDCFGS */
	{ 0xda0, 1, 0 },                /* IA32_XSS */
	{ 0xc0000081, 4, 0 },           /* STAR, LSTAR, CSTAR, SFMASK */
	{ 0xc0000102, 1, 0 },           /* KERNEL_GS_BASE */
	{ 0xc0000103, 1, 0 },           /* TSC_AUX */
	{ 0xc0000104, 1, BIT64(32) },   /* TSC_RATIO: 1.0 */
	{ 0xc0000301, 1, 0 },           /* PerfCntrGlobalCtl */
	{ 0xc0010000, 8, 0 },           /* PerfEvtSeln, PerfCtrn */
	{ HWCR, 1, 0 },
	{ 0xc0010117, 1, 0 },           /* VM_HSAVE_PA */
	{ 0xc001011f, 1, 0 },           /* VIRT_SPEC_CTRL */
	{ 0xc0010200, 12, 0 },          /* PERF_CTLn and PERF_CTRn by turns */
	{ 0x011, 2, 0 },                /* MSR_KVM_WALL_CLOCK, SYSTEM_TIME */
	{ 0x4b564d00, 5, 0 },           /* MSR_KVM_WALL_CLOCK_NEW, SYSTEM_TIME_NEW, ASYNC_PF_EN, STEAL_TIME, EOI_EN */
	{ 0x4b564d05, 1, 1 },           /* MSR_KVM_POLL_CONTROL: the host polls */
	{ 0x4b564d06, 1, 0 },           /* MSR_KVM_ASYNC_PF_INT */
	{ 0x4b564d08, 1, 0 },           /* MSR_KVM_MIGRATION_CONTROL */
};

/* Of IA32_MISC_ENABLE a guest cannot write: performance monitoring is there, branch trace store and PEBS are not. */
#define MISC_ENABLE 0x1a0
#define MISC_ENABLE_READ_ONLY (BIT64(7) | BIT64(11) | BIT64(12))
#define MISC_ENABLE_FAST_STRINGS BIT64(0)

/* MTRRs, Intel SDM volume 3, 12.11. Types: 0 uncached, 6 write-back. */
#define MTRR_UC 0
#define MTRR_WB 6
#define MTRR_WB8 0x0606060606060606
#define MTRR_PHYS_VALID 0x800
#define MTRR_DEF_ENABLED 0xc00 /* variable and fixed ranges */
#define MTRR_DEF_TYPE 0x2ff
#define MTRR_PHYS_BASE0 0x200
#define MTRR_PHYS_MASK0 0x201

#define MSRS_MAX 255 /* KVM takes as many in one call, and no list here has more */

struct msr_list {
	union { /* KVM's struct ends in an array of any length */
		struct kvm_msrs head;
		uint8_t space[sizeof(struct kvm_msrs) + MSRS_MAX * sizeof(struct kvm_msr_entry)];
	};
};

static void msr_list_fill(struct msr_list *list, const struct msr_range *ranges, size_t n)
{
	list->head = (struct kvm_msrs){ .nmsrs = 0 };
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < ranges[i].n && list->head.nmsrs < MSRS_MAX; k++)
			list->head.entries[list->head.nmsrs++] =
				(struct kvm_msr_entry){ .index = ranges[i].first + k, .data = ranges[i].value };
}

/* KVM_SET_MSRS stops at the first register that it does not take: go on behind it. */
static int msr_write(struct vcpu *vcpu, const struct msr_range *ranges, size_t n_ranges, struct err *err)
{
	struct msr_list list;

	msr_list_fill(&list, ranges, n_ranges);
	while (list.head.nmsrs > 0) {
		uint32_t left, n = list.head.nmsrs;
		int done = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &list);

		if (done < 0)
			return err_set_errno(err, done, "vCPU %u: KVM_SET_MSRS", vcpu->index);
		left = (uint32_t)done < n ? n - (uint32_t)done - 1 : 0;
		memmove(list.head.entries, list.head.entries + (n - left), left * sizeof(list.head.entries[0]));
		list.head.nmsrs = left;
	}
	return 0;
}

int msr_reset(struct vcpu *vcpu, struct err *err)
{
	return msr_write(vcpu, power_on, ARRAY_SIZE(power_on), err);
}

/* Without fast strings, which KVM leaves off, Linux takes the slow ways of copying memory on Intel's processors. */
int msr_firmware_misc_enable(struct vcpu *vcpu, uint64_t *value, struct err *err)
{
	const struct msr_range misc_enable = { MISC_ENABLE, 1, 0 };
	struct msr_list list;
	int r;

	msr_list_fill(&list, &misc_enable, 1);
	r = kvm_ioctl(vcpu->fd, KVM_GET_MSRS, &list);
	if (r < 0)
		return err_set_errno(err, r, "vCPU %u: KVM_GET_MSRS", vcpu->index);
	*value = r == 0 ? 0 : (list.head.entries[0].data & MISC_ENABLE_READ_ONLY) | MISC_ENABLE_FAST_STRINGS;
	return 0;
}

int msr_set_firmware(struct vcpu *vcpu, unsigned phys_bits, uint64_t misc_enable, struct err *err)
{
	/* The mask has every address bit of the processor: with fewer, Linux reports a broken BIOS. */
	uint64_t mask = (BIT64(phys_bits) - 1) & ~(MEM_HIGH_START - MEM_LOW_MAX - 1);
	const struct msr_range all[] = {
		{ MISC_ENABLE, misc_enable ? 1 : 0, misc_enable },
		{ 0x250, 1, MTRR_WB8 }, /* 0x00000, 64 KiB each */
		{ 0x258, 1, MTRR_WB8 }, /* 0x80000, 16 KiB each */
		{ 0x259, 1, MTRR_UC },  /* 0xa0000: video window */
		{ 0x268, 8, MTRR_WB8 }, /* 0xc0000, 4 KiB each */
		{ MTRR_PHYS_BASE0, 1, MEM_LOW_MAX | MTRR_UC },
		{ MTRR_PHYS_MASK0, 1, mask | MTRR_PHYS_VALID },
		{ MTRR_DEF_TYPE, 1, MTRR_DEF_ENABLED | MTRR_WB },
		/* AMD's: without, Linux reports a firmware bug. KVM has it since Linux 6.7. */
		{ HWCR, 1, HWCR_TSC_FREQ_SEL },
	};

	return msr_write(vcpu, all, ARRAY_SIZE(all), err);
}
