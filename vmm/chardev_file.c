/* SPDX-License-Identifier: MIT */
/*
 * The file back end: output into a file, no input. A regular file is written directly, as the kernel takes it without waiting for
 * a reader. What else has a name (a FIFO that somebody reads, a terminal) is written as a pipe is, without ever waiting for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

struct chardev_file {
	struct chardev *chr;
	struct chardev_fd out;
};

static void file_out_ready(void *opaque, uint32_t revents)
{
	struct chardev_file *file = opaque;

	(void)revents;
	chardev_fd_drain(&file->out, file->chr);
}

static ssize_t file_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
	struct chardev_file *file = chr->backend;

	return chardev_fd_write(&file->out, buf, len);
}

static int64_t file_unread(struct chardev *chr)
{
	struct chardev_file *file = chr->backend;

	return chardev_fd_unread(&file->out);
}

static void file_read_enable(struct chardev *chr, bool on)
{
	(void)chr;
	(void)on;
}

static void file_close(struct chardev *chr)
{
	struct chardev_file *file = chr->backend;

	chardev_fd_fini(&file->out);
	free(file);
}

static const struct chardev_ops file_ops = {
	.write = file_write,
	.unread = file_unread,
	.read_enable = file_read_enable,
	.close = file_close,
};

static int file_open_path(const struct chardev_config *cfg, struct err *err)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (cfg->append ? O_APPEND : O_TRUNC);
	int fd;

	if (!cfg->path || !*cfg->path)
		return err_set(err, -EINVAL, "a file chardev needs a path (path=FILE)");
	fd = open(cfg->path, flags, 0666);
	if (fd >= 0)
		return fd;
	if (errno == EISDIR)
		return err_set(err, -EISDIR, "'%s' is a directory; name a file to write the output to", cfg->path);
	if (errno == ENXIO)
		return err_set(err, -ENXIO, "'%s' is a FIFO that nobody reads, or a socket; start its reader first", cfg->path);
	return err_set_errno(err, -errno, "cannot open '%s' for writing", cfg->path);
}

int chardev_file_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err)
{
	int fd = file_open_path(setup->cfg, err);
	struct chardev_file *file;
	struct stat st;

	if (fd < 0)
		return fd;
	file = calloc(1, sizeof(*file));
	if (!file || chardev_set_filename(chr, err, "file") < 0) {
		free(file);
		fd_close(&fd);
		return err_set_errno(err, -ENOMEM, "cannot open '%s'", setup->cfg->path);
	}
	file->chr = chr;
	chardev_fd_init(&file->out, chr->loop, fd,
			fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? CHARDEV_FD_DIRECT : CHARDEV_FD_NONBLOCK, file_out_ready, file);
	chr->backend = file;
	chr->ops = &file_ops;
	chardev_set_connected(chr, true);
	return 0;
}
