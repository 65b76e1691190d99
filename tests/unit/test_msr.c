/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include "arch/x86/msr.c"

#define MAX_WRITES 2048

static struct msr_value {
	uint32_t index;
	uint64_t value;
} written[MAX_WRITES];
static size_t n_written, n_calls;
static bool (*lacks)(uint32_t index); /* what this KVM does not take */
static uint64_t misc_enable_now;
static int fail_with;

int fake_kvm_ioctl(int fd, unsigned long request, void *arg)
{
	struct kvm_msrs *list = arg;
	uint32_t i;

	ck_assert_int_eq(fd, 8);
	n_calls++;
	if (fail_with)
		return fail_with;
	ck_assert(list->nmsrs > 0 && list->nmsrs < 256); /* KVM's MAX_IO_MSRS */
	for (i = 0; i < list->nmsrs && !lacks(list->entries[i].index); i++) {
		ck_assert_uint_eq(list->entries[i].reserved, 0);
		if (request == KVM_GET_MSRS) {
			list->entries[i].data = misc_enable_now;
			continue;
		}
		ck_assert_uint_eq(request, KVM_SET_MSRS);
		ck_assert_uint_lt(n_written, MAX_WRITES);
		written[n_written++] = (struct msr_value){ list->entries[i].index, list->entries[i].data };
	}
	return (int)i;
}

/* The last value written; the test fails when none was. */
static uint64_t msr(uint32_t index)
{
	for (size_t i = n_written; i-- > 0;)
		if (written[i].index == index)
			return written[i].value;
	ck_abort_msg("MSR %#x was not written", index);
	return 0;
}

static size_t range_total(void)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(power_on); i++)
		n += power_on[i].n;
	return n;
}

static bool lacks_none(uint32_t index)
{
	(void)index;
	return false;
}

static bool lacks_all(uint32_t index)
{
	(void)index;
	return true;
}

static bool lacks_some(uint32_t index)
{
	return index == 0x10 || index == 0x186 || index == 0x187 || (index & 7) == 3 || index == 0x4b564d08;
}

static struct vcpu vcpu = { .fd = 8, .index = 2 };
static struct err err;

START_TEST(reset_all)
{
	lacks = lacks_none;
	ck_assert_int_eq(msr_reset(&vcpu, &err), 0);
	ck_assert_uint_eq(n_calls, 1);
	ck_assert_uint_eq(n_written, range_total());
	ck_assert_uint_le(range_total(), MSRS_MAX);
	for (size_t i = 0; i < n_written; i++)
		for (size_t k = 0; k < i; k++)
			ck_assert_msg(written[i].index != written[k].index, "MSR %#x is in the table twice", written[i].index);
	ck_assert_uint_eq(msr(0x277), 0x0007040600070406);
	ck_assert_uint_eq(msr(0x4b564d05), 1);
	ck_assert_uint_eq(msr(0x47f), 0);
	ck_assert_uint_eq(msr(0x20f), 0);
	ck_assert_uint_eq(msr(0xc0000104), UINT64_C(1) << 32);
	ck_assert_uint_eq(msr(0x4b564d08), 0);
}
END_TEST

/* Each one that is not taken costs a call, and hides no other. */
START_TEST(goes_on_behind)
{
	size_t missing = 0;

	lacks = lacks_some;
	for (size_t i = 0; i < ARRAY_SIZE(power_on); i++)
		for (uint32_t k = 0; k < power_on[i].n; k++)
			missing += lacks_some(power_on[i].first + k);
	ck_assert_int_eq(msr_reset(&vcpu, &err), 0);
	ck_assert_uint_eq(n_written, range_total() - missing);
	ck_assert_uint_eq(msr(0x188), 0);
	ck_assert_uint_eq(msr(0x4b564d06), 0);
	ck_assert_uint_eq(n_calls, missing); /* the last register is one of them */
}
END_TEST

START_TEST(none_taken)
{
	uint64_t misc_enable = 5;

	lacks = lacks_all;
	ck_assert_int_eq(msr_reset(&vcpu, &err), 0);
	ck_assert_uint_eq(n_calls, range_total());
	ck_assert_int_eq(msr_firmware_misc_enable(&vcpu, &misc_enable, &err), 0);
	ck_assert_uint_eq(misc_enable, 0);
	ck_assert_int_eq(msr_set_firmware(&vcpu, 40, misc_enable, &err), 0);
	ck_assert_uint_eq(n_written, 0);
}
END_TEST

START_TEST(errors)
{
	uint64_t misc_enable;

	lacks = lacks_none;
	fail_with = -EFAULT;
	ck_assert_int_eq(msr_reset(&vcpu, &err), -EFAULT);
	ck_assert_ptr_nonnull(strstr(err.msg, "vCPU 2"));
	ck_assert_int_eq(msr_firmware_misc_enable(&vcpu, &misc_enable, &err), -EFAULT);
	ck_assert_int_eq(msr_set_firmware(&vcpu, 40, 1, &err), -EFAULT);
}
END_TEST

/* The memory types: 3 GiB to 4 GiB uncached, whatever the width of an address. */
START_TEST(firmware)
{
	static const unsigned widths[] = { 36, 39, 40, 46, 48, 52 };

	uint64_t misc_enable;

	lacks = lacks_none;
	misc_enable_now = 0x401881; /* a guest's own bits, and those that are not its to write */
	ck_assert_int_eq(msr_firmware_misc_enable(&vcpu, &misc_enable, &err), 0);
	ck_assert_uint_eq(misc_enable, 0x1881);
	n_calls = 0;
	for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
		uint64_t top = (UINT64_C(1) << widths[i]) - 1;

		n_written = 0;
		ck_assert_int_eq(msr_set_firmware(&vcpu, widths[i], misc_enable, &err), 0);
		ck_assert_uint_eq(n_calls, i + 1);
		ck_assert_uint_eq(msr(0x200), 0xc0000000);
		ck_assert_uint_eq(msr(0x201), (top & ~UINT64_C(0x3fffffff)) | 0x800);
	}
	ck_assert_uint_eq(msr(0x2ff), 0xc06);
	ck_assert_uint_eq(msr(0x250), 0x0606060606060606);
	ck_assert_uint_eq(msr(0x259), 0);
	ck_assert_uint_eq(msr(0x268), 0x0606060606060606);
	ck_assert_uint_eq(msr(0x26f), 0x0606060606060606);
	ck_assert_uint_eq(msr(0x1a0), 0x1881);
	misc_enable_now = 0;
	ck_assert_int_eq(msr_firmware_misc_enable(&vcpu, &misc_enable, &err), 0);
	ck_assert_uint_eq(misc_enable, 1);
	n_written = 0;
	ck_assert_int_eq(msr_set_firmware(&vcpu, 40, 0, &err), 0);
	for (size_t i = 0; i < n_written; i++)
		ck_assert_uint_ne(written[i].index, 0x1a0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("msr");
	TCase *tc = tcase_create("msr");

	tcase_add_test(tc, reset_all);
	tcase_add_test(tc, goes_on_behind);
	tcase_add_test(tc, none_taken);
	tcase_add_test(tc, errors);
	tcase_add_test(tc, firmware);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
