/* SPDX-License-Identifier: MIT */
/* The null back end: output goes nowhere without a detour through the ring, and no input ever comes. */
#include "vmm/chardev_priv.h"

static ssize_t null_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
	(void)chr;
	(void)buf;
	return (ssize_t)len;
}

static void null_read_enable(struct chardev *chr, bool on)
{
	(void)chr;
	(void)on;
}

static void null_close(struct chardev *chr)
{
	(void)chr;
}

static const struct chardev_ops null_ops = {
	.write = null_write,
	.read_enable = null_read_enable,
	.close = null_close,
};

int chardev_null_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err)
{
	(void)setup;
	chr->ops = &null_ops;
	chr->sink = true;
	chardev_set_connected(chr, true);
	return chardev_set_filename(chr, err, "null");
}
