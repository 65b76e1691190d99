/* SPDX-License-Identifier: MIT */
/* What a person is told when /dev/kvm cannot be used. */
#include "tests/unit/fake_kvm.h"

#undef kvm_ioctl
#undef kvm_capability
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int open_errno, missing = -1, api_version = KVM_API_VERSION, run_size = 12288;
static int last_fd = -1;

static int fake_open(const char *path, int flags)
{
	ck_assert_str_eq(path, "/dev/kvm");
	ck_assert_int_eq(flags, O_RDWR | O_CLOEXEC);
	errno = open_errno;
	last_fd = open_errno ? -1 : dup(2);
	return last_fd;
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	ck_assert_int_eq(fd, last_fd);
	errno = ENOTTY;
	switch (request) {
	case KVM_GET_API_VERSION:
		return api_version;
	case KVM_GET_VCPU_MMAP_SIZE:
		return run_size;
	case KVM_CHECK_EXTENSION:
		if ((int)(intptr_t)arg == missing)
			return 0;
		return (int)(intptr_t)arg == KVM_CAP_MAX_VCPUS ? 1024 : 1;
	}
	return -1;
}

#define kvm_ioctl core_kvm_ioctl
#define kvm_capability core_kvm_capability
#define kvm_open core_kvm_open
#define kvm_close core_kvm_close
#define open fake_open
#define ioctl fake_ioctl
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_capability(int fd, int capability);
int kvm_open(struct kvm *kvm, struct err *err);
void kvm_close(struct kvm *kvm);
#include "vmm/kvm.c"
#undef open
#undef ioctl

static struct kvm kvm;
static struct err err;

static void check_fails(int code, const char *says)
{
	err = (struct err)ERR_INIT;
	last_fd = -1;
	ck_assert_int_eq(kvm_open(&kvm, &err), code);
	ck_assert_int_eq(err.code, code);
	ck_assert_msg(strstr(err.msg, says) && strstr(err.msg, "/dev/kvm"), "'%s' is not in '%s'", says, err.msg);
	ck_assert_int_eq(kvm.fd, -1);
	ck_assert(last_fd < 0 || fcntl(last_fd, F_GETFD) < 0); /* closed again */
}

START_TEST(opens)
{
	ck_assert_int_eq(kvm_open(&kvm, &err), 0);
	ck_assert(kvm.fd == last_fd && kvm.max_vcpus == 1024 && kvm.vcpu_run_size == 12288);
	ck_assert_int_eq(kvm_ioctl(kvm.fd, 1, NULL), -ENOTTY);
	kvm_close(&kvm);
	ck_assert_int_eq(kvm.fd, -1);
	kvm_close(&kvm);
}
END_TEST

START_TEST(cannot_open)
{
	open_errno = ENOENT;
	check_fails(-ENOENT, "kvm_intel or kvm_amd");
	open_errno = ENODEV;
	check_fails(-ENODEV, "kvm_intel or kvm_amd");
	open_errno = EACCES;
	check_fails(-EACCES, "usermod -aG kvm");
	open_errno = EMFILE;
	check_fails(-EMFILE, "Too many open files");
}
END_TEST

START_TEST(not_good_enough)
{
	api_version = 11;
	check_fails(-ENOTSUP, "API version 11, Kite needs 12");
	api_version = KVM_API_VERSION;
	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		missing = required[i].capability;
		check_fails(-ENOTSUP, required[i].name);
	}
	missing = -1;
	run_size = 16;
	check_fails(-ENOTSUP, "16 bytes");
	run_size = -1;
	check_fails(-ENOTSUP, "too small");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kvm");
	TCase *tc = tcase_create("kvm");

	tcase_add_test(tc, opens);
	tcase_add_test(tc, cannot_open);
	tcase_add_test(tc, not_good_enough);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
