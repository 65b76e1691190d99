/* SPDX-License-Identifier: MIT */
#include "vmm/file_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "vmm/err.h"
#include "vmm/util.h"

static int load(const char *what, const char *path, int fd, size_t max, uint8_t **data, size_t *size, struct err *err)
{
	struct stat st;
	int r;

	if (fstat(fd, &st))
		return err_set_errno(err, -errno, "%s: cannot open %s", what, path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: %s is not a regular file", what, path);
	if ((uint64_t)st.st_size > max)
		return err_set(err, -E2BIG, "%s: %s has %ju bytes; there is room for %zu", what, path, (uintmax_t)st.st_size, max);
	*size = (size_t)st.st_size;
	*data = malloc(*size + 1);
	if (!*data)
		return err_set_errno(err, -ENOMEM, "%s: %s", what, path);
	r = pread_full(fd, *data, *size, 0);
	if (r == 0)
		return 0;
	free(*data);
	*data = NULL;
	return err_set_errno(err, r, "%s: cannot read %s", what, path);
}

int file_load(const char *what, const char *path, size_t max, uint8_t **data, size_t *size, struct err *err)
{
	/* O_NONBLOCK: a FIFO must not hang the open; it does nothing to the regular files that are let through. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r;

	*data = NULL;
	if (fd < 0)
		return err_set_errno(err, -errno, "%s: cannot open %s", what, path);
	r = load(what, path, fd, max, data, size, err);
	fd_close(&fd);
	return r;
}
