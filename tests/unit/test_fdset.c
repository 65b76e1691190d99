/* SPDX-License-Identifier: MIT */
#include "vmm/fdset.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/util.h"

static struct fdsets sets;
static struct err err;

static void setup(void)
{
	sets = (struct fdsets){ .n_fds = 0 };
	err = (struct err)ERR_INIT;
}

static void teardown(void)
{
	fdsets_fini(&sets);
}

static int null_fd(int flags)
{
	int fd = open("/dev/null", flags | O_CLOEXEC);

	ck_assert_int_ge(fd, 3);
	return fd;
}

START_TEST(opened_by_what_it_may)
{
	int fd;

	ck_assert_int_eq(fdsets_add(&sets, 7, null_fd(O_RDONLY), "a", &err), 7);
	ck_assert_int_eq(fdsets_open(&sets, "/dev/fdset/7", O_WRONLY, &err), -EACCES);
	ck_assert(strstr(err.msg, "open for writing") != NULL);
	ck_assert_int_eq(fdsets_add(&sets, 7, null_fd(O_WRONLY), NULL, &err), 7);
	fd = fdsets_open(&sets, "/dev/fdset/7", O_WRONLY, &err);
	ck_assert_int_ge(fd, 3);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_WRONLY);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	ck_assert_int_eq(fdsets_open(&sets, "/dev/fdset/8", O_RDONLY, &err), -ENOENT);
	ck_assert_int_eq(fdsets_open(&sets, "/dev/fdset/", O_RDONLY, &err), -ENOENT);
	ck_assert_int_eq(fdsets_open(&sets, "/dev/fdset/7x", O_RDONLY, &err), -ENOENT);
	ck_assert(!fdset_is_path("/dev/fdse"));
}
END_TEST

START_TEST(numbers)
{
	int fd = null_fd(O_RDWR);

	ck_assert_int_eq(fdsets_add(&sets, 0, null_fd(O_RDWR), NULL, &err), 0);
	ck_assert_int_eq(fdsets_add(&sets, FDSET_NEW, fd, NULL, &err), 1);
	ck_assert_int_eq(fdsets_add(&sets, -5, fd, NULL, &err), -EINVAL);
	ck_assert_int_eq(fdsets_remove(&sets, 1, fd + 1, &err), -ENOENT);
	ck_assert_int_eq(fdsets_remove(&sets, 1, fd, &err), 0);
	ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
	ck_assert_int_eq(fdsets_remove(&sets, 1, -1, &err), -ENOENT);
	ck_assert_int_eq(fdsets_remove(&sets, 0, -1, &err), 0);
}
END_TEST

START_TEST(bounded)
{
	char name[16];
	int fd;

	for (int i = 0; i < FDSET_MAX; i++) {
		ck_assert_int_eq(fdsets_add(&sets, FDSET_NEW, null_fd(O_RDWR), NULL, &err), i);
		snprintf(name, sizeof(name), "n%d", i);
		ck_assert_int_eq(fdsets_name(&sets, name, null_fd(O_RDWR), &err), 0);
	}
	fd = null_fd(O_RDWR);
	ck_assert_int_eq(fdsets_add(&sets, 3, fd, NULL, &err), -ENOSPC);
	ck_assert_int_eq(fdsets_name(&sets, "more", fd, &err), -ENOSPC);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fdsets_name(&sets, "n5", fd, &err), 0);
	ck_assert_int_eq(fdsets_take(&sets, "n5"), fd);
	ck_assert_int_eq(fdsets_take(&sets, "n5"), -1);
	close(fd);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { opened_by_what_it_may, numbers, bounded };

	return suite_run("fdset", tests, ARRAY_SIZE(tests), setup, teardown);
}
