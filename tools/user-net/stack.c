/* SPDX-License-Identifier: MIT */
/*
 * The loop around libslirp. It asks libslirp each turn what to wait for, as the library wants it, so a turn does as much as there is: all frames that
 * one read brings, all sockets that are ready, and what they produced goes to the guest with few calls.
 *
 * Datagrams come from the kernel and go there by the batch (datagrams.c): libslirp, which takes one of a socket at a time, is asked to look
 * until there is none. In a stream of datagrams that come one by one, sockets are left alone until several should be there (vmm/pace.h); the guest's
 * frames are not. Each batch is one call to Kite, and one interrupt of the guest.
 *
 * When the guest does not read, frames for it gather (vm_link.c). From a mark on sockets are not read any more, so that their senders see the
 * congestion; what the guest sends is still taken, or two sides that both wait for the other's reading would stand still.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/user-net/datagrams.h"
#include "tools/user-net/gate.h"
#include "tools/user-net/helper.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define OWN_FDS (2 + WEB_CONNECTIONS)
#define MAX_FDS 65536
/* libslirp's longest wait: nothing is pending, it only does not want to sleep for longer. */
#define SLIRP_IDLE_MS 1000
/* With open sockets it wants to be called twice a second. After a quiet while that is only to forget them. */
#define QUIET_NS (60 * NS_PER_SEC)
#define QUIET_MS 5000
/*
 * The longest segment that libslirp makes is 32 KiB (see offload.c), and datagrams are cut there, so its interface takes the largest packets
 * there are.
 */
#define MTU 65521

static int64_t now_ms(void)
{
	return now_ns() / 1000000;
}

/* Frames for the guest */

static void emit(void *opaque, const uint8_t *hdr, const uint8_t *frame, size_t len)
{
	struct helper *h = opaque;
	int rc = vm_link_send(&h->link, hdr, frame, len);

	if (rc < 0)
		h->result = rc;
}

static ssize_t cb_send(const void *buf, size_t len, void *opaque)
{
	struct helper *h = opaque;
	uint8_t *frame = (uint8_t *)(uintptr_t)buf; /* it is in a buffer of libslirp's on the stack, made for this call */

	nat_to_guest(&h->nat, frame, len);
	offload_to_guest(&h->offload, frame, len, emit, h);
	return (ssize_t)len;
}

static void cb_guest_error(const char *msg, void *opaque)
{
	control_warn(opaque, msg);
}

static int64_t cb_clock(void *opaque)
{
	(void)opaque;
	return now_ns();
}

/* Timers */

static void *cb_timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
	struct helper *h = opaque;

	for (unsigned i = 0; i < HELPER_TIMERS; i++) {
		if (!h->timers[i].cb) {
			h->timers[i] = (struct helper_timer){ .cb = cb, .opaque = cb_opaque };
			return &h->timers[i];
		}
	}
	abort(); /* a libslirp that has more timers than any had */
}

static void cb_timer_free(void *timer, void *opaque)
{
	(void)opaque;
	*(struct helper_timer *)timer = (struct helper_timer){ 0 };
}

static void cb_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct helper_timer *t = timer;

	(void)opaque;
	t->expire_ms = expire_ms;
	t->armed = true;
}

static void timers_run(struct helper *h)
{
	int64_t now = now_ms();

	for (unsigned i = 0; i < HELPER_TIMERS; i++) {
		struct helper_timer *t = &h->timers[i];

		if (t->armed && t->expire_ms <= now) {
			t->armed = false;
			t->cb(t->opaque);
		}
	}
}

static void cb_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void cb_notify(void *opaque)
{
	(void)opaque; /* called from inside of what this loop does, which asks again before it sleeps */
}

static const SlirpCb callbacks = {
	.send_packet = cb_send,
	.guest_error = cb_guest_error,
	.clock_get_ns = cb_clock,
	.timer_new = cb_timer_new,
	.timer_free = cb_timer_free,
	.timer_mod = cb_timer_mod,
	.register_poll_fd = cb_fd,
	.unregister_poll_fd = cb_fd,
	.notify = cb_notify,
};

/* Waiting */

static int cb_add_poll(int fd, int events, void *opaque)
{
	struct helper *h = opaque;
	short wanted = 0;

	if (vm_link_crowded(&h->link))
		events &= ~(SLIRP_POLL_IN | SLIRP_POLL_PRI);
	if (!(events & (SLIRP_POLL_IN | SLIRP_POLL_OUT | SLIRP_POLL_PRI)) || h->n_fds == h->max_fds)
		return -1;
	h->waiting |= (events & SLIRP_POLL_IN) && datagrams_waiting(fd);
	wanted |= events & SLIRP_POLL_IN ? POLLIN : 0;
	wanted |= events & SLIRP_POLL_OUT ? POLLOUT : 0;
	wanted |= events & SLIRP_POLL_PRI ? POLLPRI : 0;
	h->fds[h->n_fds] = (struct pollfd){ .fd = fd, .events = wanted };
	return (int)h->n_fds++;
}

static int cb_get_revents(int idx, void *opaque)
{
	const struct helper *h = opaque;
	short revents = h->fds[idx].revents;

	if (h->fds[idx].events & POLLIN && datagrams_waiting(h->fds[idx].fd))
		revents |= POLLIN;
	return (revents & POLLIN ? SLIRP_POLL_IN : 0) | (revents & POLLOUT ? SLIRP_POLL_OUT : 0) | (revents & POLLPRI ? SLIRP_POLL_PRI : 0) |
	       (revents & POLLERR ? SLIRP_POLL_ERR : 0) | (revents & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static int cb_get_waiting(int idx, void *opaque)
{
	const struct helper *h = opaque;

	return h->fds[idx].events & POLLIN && datagrams_waiting(h->fds[idx].fd) ? SLIRP_POLL_IN : 0;
}

/* The time to wait, in milliseconds; -1: for ever. */
static int wait_ms(const struct helper *h, uint32_t slirp_ms)
{
	int64_t now = now_ms(), ms = slirp_ms >= SLIRP_IDLE_MS ? INT32_MAX : (int64_t)slirp_ms;

	if (h->waiting)
		return 0;
	if (ms < INT32_MAX && ms > 100 && now_ns() - h->active_ns > QUIET_NS)
		ms = QUIET_MS;
	for (unsigned i = 0; i < HELPER_TIMERS; i++)
		if (h->timers[i].armed && h->timers[i].expire_ms - now < ms)
			ms = h->timers[i].expire_ms - now;
	return ms == INT32_MAX ? -1 : ms < 0 ? 0 : (int)ms;
}

/* Frames of the guest's */

static void take_frame(struct helper *h, const uint8_t *hdr, uint8_t *frame, size_t len)
{
	uint8_t reply[NAT_ARP_REPLY];

	if (nat_arp(&h->nat, frame, len, reply)) {
		offload_to_guest(&h->offload, reply, sizeof(reply), emit, h);
		return;
	}
	if (!offload_from_guest(&h->offload, hdr, frame, len))
		return;
	nat_from_guest(&h->nat, frame, len); /* behind the checksums, which it adjusts */
	slirp_input(h->slirp, frame, (int)len);
}

static void read_frames(struct helper *h)
{
	uint8_t *hdr, *frame;
	size_t len;
	int rc = vm_link_read(&h->link);

	datagrams_hold();
	while (rc > 0 && (rc = vm_link_next(&h->link, &hdr, &frame, &len)) > 0)
		take_frame(h, hdr, frame, len);
	datagrams_flush();
	if (rc < 0)
		h->result = rc;
}

/*
 * What poll says, of the first `own` descriptors only until it is time to look at the sockets: *look says whether it was.
 */
static int wait_events(struct helper *h, unsigned own, uint32_t slirp_ms, bool *look)
{
	int64_t left = h->pace.on ? h->look_ns - now_ns() : 0;
	struct timespec ts = { .tv_nsec = left };

	*look = left <= 0;
	if (*look)
		return poll(h->fds, h->n_fds, h->pace.on ? 0 : wait_ms(h, slirp_ms));
	for (unsigned i = own; i < h->n_fds; i++)
		h->fds[i].revents = 0;
	return ppoll(h->fds, own, &ts, NULL);
}

/* The sockets that are ready; behind the first datagram of each there may be more. */
static void serve_sockets(struct helper *h, bool failed, bool look)
{
	int64_t delay;

	slirp_pollfds_poll(h->slirp, failed, cb_get_revents, h);
	for (unsigned i = 0; i < DATAGRAMS_BATCH && datagrams_any() && !vm_link_crowded(&h->link); i++)
		slirp_pollfds_poll(h->slirp, 0, cb_get_waiting, h);
	if (!look)
		return;
	delay = pace_next(&h->pace, datagrams_taken());
	if (delay)
		h->look_ns = now_ns() + delay;
}

static void turn(struct helper *h)
{
	uint32_t slirp_ms = SLIRP_IDLE_MS;
	unsigned n_web;
	bool look;
	int n;

	h->fds[0] = (struct pollfd){ .fd = h->link.fd, .events = (short)(POLLIN | (vm_link_waiting(&h->link) ? POLLOUT : 0)) };
	h->fds[1] = (struct pollfd){ .fd = h->control, .events = POLLIN };
	n_web = web_fill(&h->web, h->fds + 2);
	h->n_fds = 2 + n_web;
	h->waiting = false;
	slirp_pollfds_fill(h->slirp, &slirp_ms, cb_add_poll, h);
	n = wait_events(h, 2 + n_web, slirp_ms, &look);
	if (n < 0 && errno != EINTR) {
		h->result = -errno;
		return;
	}
	if (n > 0)
		h->active_ns = now_ns();
	if (h->fds[0].revents & (POLLIN | POLLHUP | POLLERR))
		read_frames(h);
	serve_sockets(h, n < 0, look);
	timers_run(h);
	web_run(&h->web, h->fds + 2, n_web);
	if (h->fds[1].revents && h->result == 0)
		h->result = control_run(h);
	if (vm_link_waiting(&h->link) && h->result == 0 && (!h->link.full || h->fds[0].revents & POLLOUT))
		h->result = vm_link_flush(&h->link);
}

int stack_run(struct helper *h)
{
	while (h->result == 0)
		turn(h);
	return h->result;
}

int stack_init(struct helper *h, struct err *err)
{
	const struct config *c = &h->config;
	SlirpConfig cfg = {
		.version = SLIRP_CONFIG_VERSION_MAX < 4 ? SLIRP_CONFIG_VERSION_MAX : 4,
		.restricted = c->restricted,
		.in_enabled = c->ipv4,
		.vnetwork = c->net,
		.vnetmask = c->mask,
		.vhost = c->host,
		.in6_enabled = c->ipv6,
		.vprefix_addr6 = c->net6,
		.vprefix_len = (uint8_t)c->prefix6,
		.vhost6 = c->host6,
		.vhostname = c->hostname,
		.tftp_server_name = c->tftp_server_name,
		.tftp_path = c->tftp ? GATE_TFTP : NULL,
		.bootfile = c->bootfile,
		.vdhcp_start = c->dhcpstart,
		.vnameserver = c->dns,
		.vnameserver6 = c->dns6,
		.vdnssearch = c->n_dnssearch ? (const char **)(uintptr_t)c->dnssearch : NULL,
		.vdomainname = c->domainname,
		.if_mtu = MTU,
		.if_mru = MTU,
	};

	h->max_fds = MAX_FDS;
	h->fds = calloc(h->max_fds, sizeof(*h->fds));
	if (!h->fds)
		return err_set_errno(err, -ENOMEM, "the descriptors");
	h->active_ns = now_ns();
	pace_reset(&h->pace);
	h->slirp = slirp_new(&cfg, &callbacks, h);
	if (!h->slirp)
		return err_set(err, -EINVAL, "libslirp %s does not take the configuration", slirp_version_string());
	return forward_setup(h, err);
}
