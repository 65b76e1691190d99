/* SPDX-License-Identifier: MIT */
/*
 * The callback back end: the other end is the program that Kite is a part of. Output is a call on the loop's thread. Input comes from any
 * thread into a ring, from which the loop hands the front end what it takes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define PIECE 512

struct chardev_host_end {
	struct chardev *chr;
	struct chardev_callback callback;
	struct event_work work;

	pthread_mutex_t lock;
	/* Under the lock: */
	size_t read, used;
	bool short_of_room; /* somebody was told to come again */
	uint8_t ring[CHARDEV_RING];
};

static ssize_t callback_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
	struct chardev_host_end *end = chr->backend;

	end->callback.output(end->callback.opaque, chr->id, buf, len);
	return (ssize_t)len;
}

/* Takes up to `len` bytes of input out of the ring; `*ready`: there is room again for somebody who waits for it. */
static size_t ring_take(struct chardev_host_end *end, uint8_t *buf, size_t len, bool *ready)
{
	size_t n;

	pthread_mutex_lock(&end->lock);
	n = min_u64(min_u64(len, end->used), CHARDEV_RING - end->read);
	memcpy(buf, end->ring + end->read, n);
	end->read = (end->read + n) % CHARDEV_RING;
	end->used -= n;
	*ready = end->short_of_room && end->used <= CHARDEV_RING / 2;
	if (*ready)
		end->short_of_room = false;
	pthread_mutex_unlock(&end->lock);
	return n;
}

static void callback_work(void *opaque)
{
	struct chardev_host_end *end = opaque;
	size_t n = chardev_input_room(end->chr);
	uint8_t piece[PIECE];
	bool ready;

	if (n == 0) {
		/* As after any input: read_enable is to come when there is room. If there is by now, it does not. */
		chardev_input(end->chr, piece, 0);
		if (end->chr->reading)
			eventloop_post(end->chr->loop, &end->work);
		return;
	}
	n = ring_take(end, piece, min_u64(sizeof(piece), n), &ready);
	if (n == 0)
		return;
	chardev_input(end->chr, piece, n);
	if (ready && end->callback.input_ready)
		end->callback.input_ready(end->callback.opaque, end->chr->id);
	/* Others have their turn between two pieces. */
	eventloop_post(end->chr->loop, &end->work);
}

static void callback_read_enable(struct chardev *chr, bool on)
{
	struct chardev_host_end *end = chr->backend;

	if (on)
		eventloop_post(chr->loop, &end->work);
}

static void callback_close(struct chardev *chr)
{
	struct chardev_host_end *end = chr->backend;

	eventloop_cancel_work(chr->loop, &end->work);
	pthread_mutex_destroy(&end->lock);
	free(end);
}

static const struct chardev_ops callback_ops = {
	.write = callback_write,
	.read_enable = callback_read_enable,
	.close = callback_close,
};

ssize_t chardev_callback_input(struct chardev *chr, const void *buf, size_t len)
{
	struct chardev_host_end *end = chr->backend;
	size_t at, n, first;

	if (chr->ops != &callback_ops)
		return -EINVAL;
	pthread_mutex_lock(&end->lock);
	at = (end->read + end->used) % CHARDEV_RING;
	n = min_u64(len, CHARDEV_RING - end->used);
	first = min_u64(n, CHARDEV_RING - at);
	memcpy(end->ring + at, buf, first);
	memcpy(end->ring, (const uint8_t *)buf + first, n - first);
	end->used += n;
	if (n < len)
		end->short_of_room = true;
	pthread_mutex_unlock(&end->lock);
	if (n > 0)
		eventloop_post(chr->loop, &end->work);
	return (ssize_t)n;
}

int chardev_callback_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err)
{
	struct chardev_host_end *end;

	if (!setup->cfg->callback)
		return err_set(err, -EINVAL, "a callback is for programs that have Kite inside (kite.h); use stdio, file, pty, socket or null");
	end = calloc(1, sizeof(*end));
	if (!end)
		return err_set_errno(err, -ENOMEM, "cannot open it");
	end->chr = chr;
	end->callback = *setup->cfg->callback;
	end->work = (struct event_work){ .run = callback_work, .opaque = end };
	if (chardev_set_filename(chr, err, "callback") < 0) {
		free(end);
		return err->code;
	}
	pthread_mutex_init(&end->lock, NULL);
	chr->backend = end;
	chr->ops = &callback_ops;
	chardev_set_connected(chr, true);
	return 0;
}
