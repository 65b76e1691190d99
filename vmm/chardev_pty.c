/* SPDX-License-Identifier: MIT */
/*
 * The pty back end: a pseudo-terminal whose other end a person or a program opens by its name.
 *
 * Kite keeps the slave open itself. Without any open slave the master would report EPOLLHUP all the time and fail reads and
 * writes with EIO, and nothing would tell when a reader comes, short of asking every so often. With it, readers come and go
 * unnoticed, the settings (raw) stay, and output that nobody reads is what the stall policy of the core is for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

struct chardev_pty {
	struct chardev *chr;
	struct chardev_fd master;
	int slave;
};

static void pty_ready(void *opaque, uint32_t revents)
{
	struct chardev_pty *pty = opaque;
	ssize_t n;

	if (revents & EPOLLOUT)
		chardev_fd_drain(&pty->master, pty->chr);
	if (!(revents & ~(uint32_t)EPOLLOUT))
		return;
	n = chardev_fd_pull(&pty->master, pty->chr);
	/* Not as long as the slave is open; if ever, it is over, and EPOLLHUP must not be waited for. */
	if (n == 0 || (n < 0 && n != -EAGAIN)) {
		chardev_fd_want(&pty->master, 0);
		chardev_set_connected(pty->chr, false);
	}
}

static ssize_t pty_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
	struct chardev_pty *pty = chr->backend;

	return chardev_fd_write(&pty->master, buf, len);
}

static int64_t pty_unread(struct chardev *chr)
{
	struct chardev_pty *pty = chr->backend;
	int n;

	return ioctl(pty->slave, FIONREAD, &n) == 0 ? n : -1;
}

static void pty_read_enable(struct chardev *chr, bool on)
{
	struct chardev_pty *pty = chr->backend;
	uint32_t rest = chardev_fd_wanted(&pty->master) & ~(uint32_t)EPOLLIN;

	chardev_fd_want(&pty->master, rest | (on && chardev_connected(chr) ? EPOLLIN : 0u));
}

static void pty_release(struct chardev_pty *pty)
{
	chardev_fd_fini(&pty->master);
	fd_close(&pty->slave);
	free(pty);
}

static void pty_close(struct chardev *chr)
{
	pty_release(chr->backend);
}

static const struct chardev_ops pty_ops = {
	.write = pty_write,
	.unread = pty_unread,
	.read_enable = pty_read_enable,
	.close = pty_close,
};

static int pty_make(struct chardev_pty *pty, char *name, size_t size, struct err *err)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct termios tio;

	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open a pseudo-terminal");
	chardev_fd_init(&pty->master, pty->chr->loop, fd, CHARDEV_FD_NONBLOCK, pty_ready, pty);
	if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, size) != 0)
		return err_set_errno(err, -errno, "cannot set up a pseudo-terminal; is /dev/pts mounted?");
	pty->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (pty->slave < 0 || tcgetattr(pty->slave, &tio) < 0)
		return err_set_errno(err, -errno, "cannot open the pseudo-terminal %s", name);
	cfmakeraw(&tio);
	if (tcsetattr(pty->slave, TCSANOW, &tio) < 0)
		return err_set_errno(err, -errno, "cannot make the pseudo-terminal %s raw", name);
	return 0;
}

int chardev_pty_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err)
{
	struct chardev_pty *pty = calloc(1, sizeof(*pty));
	char name[64];
	int rc;

	(void)setup;
	if (!pty)
		return err_set_errno(err, -ENOMEM, "cannot open a pseudo-terminal");
	pty->chr = chr;
	pty->slave = pty->master.fd = -1;
	rc = pty_make(pty, name, sizeof(name), err);
	if (rc == 0)
		rc = chardev_set_filename(chr, err, "pty:%s", name);
	if (rc < 0) {
		pty_release(pty);
		return rc;
	}
	chr->backend = pty;
	chr->ops = &pty_ops;
	chardev_set_connected(chr, true);
	log_exactly("char device redirected to %s (label %s)", name, chr->id);
	return 0;
}
