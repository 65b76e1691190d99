/* SPDX-License-Identifier: MIT */
/*
 * A helper of -netdev user that was broken into: the input is what it says on its control socket and sends as frames (net/user_proto.h), with
 * commands of Kite's in between. Nothing of it may reach a terminal but printable text, and every command has one answer or none.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/netdev.h"
#include "net/user.h"
#include "net/user_helper.h"
#include "net/user_proto.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The helper's ends, for the spawn below; one input at a time. */
static struct {
	int frames, control;
	unsigned asked, answered;
} helper;

int user_helper_spawn(const struct user_net_config *cfg, int frames, int control, pid_t *pid, struct err *err)
{
	(void)cfg;
	(void)err;
	helper.frames = dup(frames);
	helper.control = dup(control);
	*pid = 0;
	return 0;
}

static void check_text(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 && *text != '\n')
			abort();
}

static void failed(void *opaque, const struct err *why)
{
	(void)opaque;
	check_text(why->msg);
}

static void answered(void *opaque, bool ok, const char *text)
{
	(void)opaque;
	(void)ok;
	check_text(text);
	if (++helper.answered > helper.asked)
		abort();
}

static unsigned rx_room(void *opaque, unsigned queue, size_t want, struct iovec *iov)
{
	static uint8_t room[NETDEV_FRAME_MAX + NETDEV_HDR_MAX];

	(void)opaque;
	(void)queue;
	*iov = (struct iovec){ room, min_u64(want, sizeof(room)) };
	return 1;
}

static void rx_done(void *opaque, unsigned queue, size_t len)
{
	(void)opaque;
	(void)queue;
	if (len > NETDEV_FRAME_MAX + NETDEV_HDR_MAX)
		abort();
}

static void ignore(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
}

static void link_changed(void *opaque, bool up)
{
	(void)opaque;
	(void)up;
}

static const struct netdev_frontend_ops front_end = {
	.rx_room = rx_room, .rx_done = rx_done, .rx_flush = ignore, .tx_ready = ignore, .link = link_changed,
};

static void stop(void *opaque)
{
	eventloop_stop(opaque);
}

static void turn(struct eventloop *loop)
{
	struct event_timer timer = { .fire = stop, .opaque = loop };

	eventloop_arm(loop, &timer, 0);
	eventloop_run(loop);
}

/* A step of the input: what to do, a length, and that many bytes. Returns how many were taken. */
static size_t step(struct netdev *nd, const uint8_t *data, size_t size)
{
	size_t len = min_u64(data[1], size - 2);

	switch (data[0] % 8) {
	case 0:
		send(helper.frames, data + 2, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 1:
		if (user_net_command(nd, "info", answered, NULL) == 0)
			helper.asked++;
		return 2;
	case 2:
		if (data[1] < 16)
			fd_close(data[1] & 1 ? &helper.frames : &helper.control);
		return 2;
	case 3:
		send(helper.control, "ready 1", 7, MSG_DONTWAIT | MSG_NOSIGNAL);
		return 2;
	default:
		send(helper.control, data + 2, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	return 2 + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct user_net_config cfg = { .id = "net0", .failed = failed };
	struct netdev *nd;

	log_set_level(LOG_LEVEL_NONE);
	helper.asked = helper.answered = 0;
	cfg.loop = eventloop_create(&err);
	nd = user_net_open(&cfg, &err);
	if (!nd)
		abort();
	netdev_attach(nd, &front_end, NULL);
	netdev_set_offloads(nd, &(struct netdev_offloads){ .guest = NETDEV_CSUM, .vnet_hdr_size = 12 });
	netdev_rx_enable(nd, true);
	while (size >= 2) {
		size_t taken = step(nd, data, size);

		turn(cfg.loop);
		data += taken;
		size -= taken;
	}
	turn(cfg.loop);
	netdev_attach(nd, NULL, NULL);
	netdev_close(nd);
	fd_close(&helper.frames);
	fd_close(&helper.control);
	eventloop_destroy(cfg.loop);
	return 0;
}
