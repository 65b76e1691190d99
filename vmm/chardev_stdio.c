/* SPDX-License-Identifier: MIT */
/*
 * The stdio back end: Kite's standard input and output, whatever they are: a terminal, pipes, files, sockets, /dev/null.
 *
 * Both are usually shared with other processes, so they are used through chardev_fd_share, which never sets O_NONBLOCK on what
 * is shared. The end of input ends input only; an output whose reader has gone ends output only.
 *
 * Job control. As long as Kite is in the background, a read from its terminal would stop it, and input there is somebody else's.
 * Shells do not tell a running job that it was moved to the foreground, so it watches for input edge-triggered then: one wake-up
 * for new input, a look at who is in the foreground, and no spin over input that is not ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/terminal.h"
#include "vmm/util.h"

#define IN_BACKGROUND (EPOLLIN | (uint32_t)EPOLLET)

struct chardev_stdio {
	struct chardev *chr;
	struct chardev_fd in, out;
	bool tty; /* input is a terminal, and terminal_raw is in force */
	bool in_ended;
};

/* Standard input and output are the process's, so the mark of their being in use is, too. */
static atomic_flag stdio_in_use = ATOMIC_FLAG_INIT;

static void stdio_input_ended(struct chardev_stdio *io)
{
	io->in_ended = true;
	chardev_fd_want(&io->in, 0);
}

static void stdio_in_ready(void *opaque, uint32_t revents)
{
	struct chardev_stdio *io = opaque;
	ssize_t n;

	(void)revents;
	if (io->tty && !terminal_foreground(io->in.fd)) {
		chardev_fd_want(&io->in, IN_BACKGROUND);
		return;
	}
	if (chardev_fd_wanted(&io->in) == IN_BACKGROUND) {
		terminal_resume();
		chardev_fd_want(&io->in, EPOLLIN);
	}
	n = chardev_fd_pull(&io->in, io->chr);
	if (n > 0 || n == -EAGAIN)
		return;
	/* Moved to the background between the look and the read, with SIGTTIN ignored or nobody to continue us. */
	if (n == -EIO && io->tty && !terminal_foreground(io->in.fd))
		return;
	if (n < 0)
		log_warn("%s: cannot read standard input: %s; no more input is read", io->chr->id, strerrordesc_np((int)-n));
	stdio_input_ended(io);
}

static void stdio_out_ready(void *opaque, uint32_t revents)
{
	struct chardev_stdio *io = opaque;

	(void)revents;
	chardev_fd_drain(&io->out, io->chr);
}

static ssize_t stdio_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
	struct chardev_stdio *io = chr->backend;

	return chardev_fd_write(&io->out, buf, len);
}

static int64_t stdio_unread(struct chardev *chr)
{
	struct chardev_stdio *io = chr->backend;

	return chardev_fd_unread(&io->out);
}

static void stdio_read_enable(struct chardev *chr, bool on)
{
	struct chardev_stdio *io = chr->backend;

	chardev_fd_want(&io->in, on && !io->in_ended ? EPOLLIN : 0);
}

static void stdio_release(struct chardev_stdio *io)
{
	if (io->tty)
		terminal_restore();
	chardev_fd_fini(&io->in);
	chardev_fd_fini(&io->out);
	free(io);
	atomic_flag_clear(&stdio_in_use);
}

static void stdio_close(struct chardev *chr)
{
	stdio_release(chr->backend);
}

static const struct chardev_ops stdio_ops = {
	.write = stdio_write,
	.unread = stdio_unread,
	.read_enable = stdio_read_enable,
	.close = stdio_close,
};

static int stdio_setup(struct chardev_stdio *io, const struct chardev_setup *setup, struct err *err)
{
	int rc;

	rc = chardev_fd_share(&io->in, setup->loop, setup->in, O_RDONLY, stdio_in_ready, io);
	if (rc < 0)
		return err_set_errno(err, rc, "cannot use standard input; redirect it from /dev/null when there is none");
	rc = chardev_fd_share(&io->out, setup->loop, setup->out, O_WRONLY, stdio_out_ready, io);
	if (rc < 0)
		return err_set_errno(err, rc, "cannot use standard output; redirect it to /dev/null when there is none");
	if (!isatty(setup->in))
		return 0;
	rc = terminal_raw(io->in.fd, setup->cfg->signal);
	if (rc < 0)
		return err_set_errno(err, rc, "cannot set up the terminal on standard input");
	io->tty = true;
	return 0;
}

int chardev_stdio_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err)
{
	struct chardev_stdio *io;
	int rc;

	if (atomic_flag_test_and_set(&stdio_in_use))
		return err_set(err, -EBUSY, "another chardev has standard input and output already; "
					    "only one can have them, so give this one another back end (pty, socket, file, null)");
	io = calloc(1, sizeof(*io));
	if (!io) {
		atomic_flag_clear(&stdio_in_use);
		return err_set_errno(err, -ENOMEM, "cannot open standard input and output");
	}
	io->chr = chr;
	io->in.fd = io->out.fd = -1;
	rc = chardev_set_filename(chr, err, "stdio");
	if (rc == 0)
		rc = stdio_setup(io, setup, err);
	if (rc < 0) {
		stdio_release(io);
		return rc;
	}
	chr->backend = io;
	chr->ops = &stdio_ops;
	chardev_set_connected(chr, true);
	return 0;
}
