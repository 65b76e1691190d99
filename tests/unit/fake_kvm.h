/* SPDX-License-Identifier: MIT */
/*
 * A KVM for tests: a test defines fake_kvm_ioctl and fake_kvm_capability as far as they are called, includes this header and then the .c file under test, whose
 * calls go there. Also a log that counts.
 */
#ifndef TESTS_UNIT_FAKE_KVM_H
#define TESTS_UNIT_FAKE_KVM_H

#include <check.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/util.h"

int fake_kvm_ioctl(int fd, unsigned long request, void *arg);
int fake_kvm_capability(int fd, int capability);

static unsigned fake_log_lines;
static char fake_log_text[4096]; /* the last line; tests with threads look at the count only, under their own lock */

static __attribute__((unused, format(printf, 1, 2))) void fake_log(const char *fmt, ...)
{
	va_list ap;

	__atomic_add_fetch(&fake_log_lines, 1, __ATOMIC_SEQ_CST);
	va_start(ap, fmt);
	vsnprintf(fake_log_text, sizeof(fake_log_text), fmt, ap);
	va_end(ap);
}

static inline int fake_run_tests(Suite *suite)
{
	SRunner *sr = srunner_create(suite);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define kvm_ioctl fake_kvm_ioctl
#define kvm_capability fake_kvm_capability
#define log_error fake_log
#define log_info fake_log

#endif
