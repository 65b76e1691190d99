/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_firmware.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void fake_dir_make(struct fake_dir *dir)
{
	snprintf(dir->path, sizeof(dir->path), "/tmp/kite-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir->path));
	ck_assert_int_eq(chdir(dir->path), 0);
}

void fake_dir_remove(struct fake_dir *dir)
{
	DIR *d = opendir(dir->path);
	struct dirent *e;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	ck_assert_int_eq(chdir("/"), 0);
	rmdir(dir->path);
}

int fake_run(const char *command, char *output, size_t size)
{
	FILE *f = popen(command, "r");
	size_t n;
	int status;

	ck_assert_ptr_nonnull(f);
	n = fread(output, 1, size - 1, f);
	output[n] = '\0';
	status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void fake_need_program(const char *program, const char *package)
{
	char command[128], output[256];

	snprintf(command, sizeof(command), "command -v %s", program);
	ck_assert_msg(fake_run(command, output, sizeof(output)) == 0, "%s is not installed: apt-get install %s", program, package);
}

void fake_write(const char *path, size_t off, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, data, n, (off_t)off), (ssize_t)n);
	close(fd);
}

size_t fake_read(const char *path, void *data, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ck_assert_msg(fd >= 0, "no file %s", path);
	n = read(fd, data, size);
	ck_assert_int_ge(n, 0);
	close(fd);
	return (size_t)n;
}

uint8_t fake_sum(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	return sum;
}
