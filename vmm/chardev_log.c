/* SPDX-License-Identifier: MIT */
/*
 * The log of a chardev (logfile=): a copy of all that its front end wrote, whether anybody is connected or not.
 *
 * It has a ring of its own, which the loop's thread writes out. A front end's bytes are taken only as far as both rings have room, so that what
 * was taken is in the log. Only a log whose reader has stopped (a pipe) for CHARDEV_STALL_NS loses something, since a guest waits for nobody
 * longer than that; and what a full disk does not take. Both are said.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

struct chardev_log {
	struct chardev *chr;
	/* The loop's thread only: */
	struct chardev_fd out;
	struct event_work work;
	bool loss_reported, broken;
	/* Under the chardev's lock: */
	bool dropping; /* its reader takes nothing */
	uint64_t dropped;
	size_t read, used;
	uint8_t ring[CHARDEV_RING];
};

size_t chardev_log_room(const struct chardev_log *log)
{
	return log->dropping ? SIZE_MAX : CHARDEV_RING - log->used;
}

void chardev_log_put(struct chardev_log *log, const uint8_t *buf, size_t len)
{
	size_t at = (log->read + log->used) % CHARDEV_RING, first = min_u64(len, CHARDEV_RING - at);

	if (len > CHARDEV_RING - log->used) {
		log->dropped += len;
		return;
	}
	memcpy(log->ring + at, buf, first);
	memcpy(log->ring, buf + first, len - first);
	log->used += len;
	eventloop_post(log->chr->loop, &log->work);
}

bool chardev_log_stalled(struct chardev_log *log)
{
	if (log->dropping || log->used < CHARDEV_RING)
		return false;
	log->dropping = true;
	return true;
}

/* The oldest `n` bytes are out, or lost. */
static void log_took(struct chardev_log *log, size_t n)
{
	struct chardev *chr = log->chr;
	uint64_t dropped;

	pthread_mutex_lock(&chr->lock);
	log->read = (log->read + n) % CHARDEV_RING;
	log->used -= n;
	dropped = log->dropped;
	log->dropping = false;
	log->dropped = 0;
	pthread_mutex_unlock(&chr->lock);
	if (dropped)
		log_info("%s: %" PRIu64 " bytes are missing in its log, which nobody read meanwhile", chr->id, dropped);
	chardev_made_room(chr);
}

/* Whether to go on. */
static bool log_failed(struct chardev_log *log, int code)
{
	bool full = code == -ENOSPC || code == -EDQUOT || code == -EFBIG;

	if (code == -EAGAIN)
		return false;
	if (!log->loss_reported)
		log_warn("%s: cannot write to its log: %s; output that does not fit is missing there", log->chr->id, strerrordesc_np(-code));
	log->loss_reported = true;
	log->broken = !full;
	return true;
}

static void log_drain(struct chardev_log *log)
{
	struct chardev *chr = log->chr;

	for (unsigned turns = 0; turns < 2; turns++) {
		const uint8_t *span = log->ring + log->read;
		ssize_t n;
		size_t len;

		pthread_mutex_lock(&chr->lock);
		len = min_u64(log->used, CHARDEV_RING - log->read);
		pthread_mutex_unlock(&chr->lock);
		if (!len)
			return;
		n = log->broken ? (ssize_t)len : chardev_fd_write(&log->out, span, len);
		if (n < 0 && !log_failed(log, (int)n))
			return;
		log_took(log, n < 0 ? len : (size_t)n);
	}
	/* Others shall have their turn. */
	eventloop_post(chr->loop, &log->work);
}

static void log_work(void *opaque)
{
	log_drain(opaque);
}

static void log_ready(void *opaque, uint32_t revents)
{
	struct chardev_log *log = opaque;

	(void)revents;
	chardev_fd_want(&log->out, 0);
	log_drain(log);
}

struct chardev_log *chardev_log_create(struct chardev *chr, int fd, struct err *err)
{
	struct chardev_log *log = calloc(1, sizeof(*log));
	int r = log ? 0 : -ENOMEM;

	if (r == 0) {
		log->chr = chr;
		log->work = (struct event_work){ .run = log_work, .opaque = log };
		r = chardev_fd_share(&log->out, chr->loop, fd, O_WRONLY, log_ready, log);
	}
	if (r < 0) {
		err_set_errno(err, r, "cannot use its log");
		free(log);
		log = NULL;
	}
	close(fd);
	return log;
}

void chardev_log_destroy(struct chardev_log *log)
{
	if (!log)
		return;
	/* The ring at most; what a reader does not take at once is lost. */
	for (size_t before = 0; log->used && log->used != before;) {
		before = log->used;
		log_drain(log);
	}
	eventloop_cancel_work(log->chr->loop, &log->work);
	chardev_fd_fini(&log->out);
	free(log);
}
