/* SPDX-License-Identifier: MIT */
/*
 * tapguest NETNS TAP [KEY=VALUE...]: a guest for -netdev user without a guest. Its network card is a tap device, TAP, made in the network namespace
 * that the file NETNS is, with the offloads that a virtio-net driver has; so the kernel's own TCP/IP is the driver. KEY=VALUE are options
 * of -netdev user, and of this program:
 *
 *   offloads=off   a card without checksum and segmentation offloads
 *   helper=PATH
 *
 * Says `started` once it runs. A line of its standard input is a command for user_net_command, whose answer it prints between
 * `< ` and `.`; `offloads N` sets what the card takes. Ends with its input.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "net/netdev.h"
#include "net/user.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/util.h"

#define HDR 12
#define BATCH 32

struct tapguest {
	struct eventloop *loop;
	struct netdev *nd;
	struct event_fd tap, input;
	uint8_t rx[NETDEV_FRAME_MAX + HDR]; /* for the guest */
	uint8_t tx[BATCH][NETDEV_FRAME_MAX + HDR];
	struct iovec tx_iov[BATCH];
	struct netdev_frame tx_frames[BATCH];
	unsigned tx_first, tx_n; /* frames that the netdev did not take yet */
};

static void die(const char *what)
{
	fprintf(stderr, "tapguest: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The front end's side */

static unsigned rx_room(void *opaque, unsigned queue, size_t want, struct iovec *iov)
{
	struct tapguest *g = opaque;

	(void)queue;
	iov[0] = (struct iovec){ g->rx, min_u64(want, sizeof(g->rx)) };
	return 1;
}

static void rx_done(void *opaque, unsigned queue, size_t len)
{
	struct tapguest *g = opaque;

	(void)queue;
	if (write(g->tap.fd, g->rx, len) < 0 && errno != EIO && errno != EINVAL) /* an interface that is down */
		die("write to the tap");
}

static void rx_flush(void *opaque, unsigned queue)
{
	(void)opaque;
	(void)queue;
}

/* False: the netdev is full. */
static bool send_frames(struct tapguest *g)
{
	g->tx_first += netdev_tx_many(g->nd, 0, g->tx_frames + g->tx_first, g->tx_n - g->tx_first);
	if (g->tx_first < g->tx_n)
		return false;
	g->tx_first = g->tx_n = 0;
	return true;
}

static void tx_ready(void *opaque, unsigned queue)
{
	struct tapguest *g = opaque;

	(void)queue;
	if (send_frames(g))
		eventloop_mod_fd(g->loop, &g->tap, EPOLLIN);
}

static void link_changed(void *opaque, bool up)
{
	(void)opaque;
	printf("link %s\n", up ? "up" : "down");
}

static const struct netdev_frontend_ops front_end = {
	.rx_room = rx_room, .rx_done = rx_done, .rx_flush = rx_flush, .tx_ready = tx_ready, .link = link_changed,
};

static void tap_ready(void *opaque, uint32_t revents)
{
	struct tapguest *g = opaque;
	ssize_t n = 1;

	(void)revents;
	if (g->tx_n)
		return;
	while (g->tx_n < BATCH && (n = read(g->tap.fd, g->tx[g->tx_n], sizeof(g->tx[0]))) > 0) {
		g->tx_iov[g->tx_n] = (struct iovec){ g->tx[g->tx_n], (size_t)n };
		g->tx_frames[g->tx_n] = (struct netdev_frame){ .iov = &g->tx_iov[g->tx_n], .n = 1, .len = (size_t)n };
		g->tx_n++;
	}
	if (!send_frames(g))
		eventloop_mod_fd(g->loop, &g->tap, 0);
}

/* Commands */

static void done(void *opaque, bool ok, const char *text)
{
	(void)opaque;
	printf("< %s\n%s%s.\n", ok ? "ok" : "failed", text, text[0] && text[strlen(text) - 1] != '\n' ? "\n" : "");
}

static void input_ready(void *opaque, uint32_t revents)
{
	struct tapguest *g = opaque;
	char line[2000];
	ssize_t n = read(g->input.fd, line, sizeof(line) - 1);

	(void)revents;
	if (n <= 0) {
		eventloop_stop(g->loop);
		return;
	}
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, "offloads ", 9) == 0) {
		const struct netdev_offloads offloads = { .guest = (unsigned)atoi(line + 9), .vnet_hdr_size = HDR };

		netdev_set_offloads(g->nd, &offloads);
	} else if (user_net_command(g->nd, line, done, g) < 0) {
		printf("< failed\nnot sent\n.\n");
	}
}

static int open_tap(const char *netns, const char *name, bool offloads)
{
	int home = open("/proc/self/ns/net", O_RDONLY), there = open(netns, O_RDONLY), tap, hdr = HDR;
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	strncpy(ifr.ifr_name, name, sizeof(ifr.ifr_name) - 1);
	if (home < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0)
		die(netns);
	tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap < 0 || ioctl(tap, TUNSETIFF, &ifr) < 0 || ioctl(tap, TUNSETVNETHDRSZ, &hdr) < 0 ||
	    ioctl(tap, TUNSETOFFLOAD, offloads ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0) < 0)
		die("tap");
	if (setns(home, CLONE_NEWNET) < 0)
		die("setns");
	close(home);
	close(there);
	return tap;
}

/* Options */

struct options {
	struct user_net_config cfg;
	const char *rules[3][USER_NET_MAX_RULES];
	bool offloads;
};

static void parse(struct options *o, const char *arg)
{
	const struct {
		const char *key;
		const char **to;
	} strings[] = {
		{ "helper=", &o->cfg.helper }, { "net=", &o->cfg.net }, { "host=", &o->cfg.host }, { "dhcpstart=", &o->cfg.dhcpstart },
		{ "dns=", &o->cfg.dns }, { "ipv6-net=", &o->cfg.ipv6_net }, { "hostname=", &o->cfg.hostname },
		{ "domainname=", &o->cfg.domainname }, { "tftp=", &o->cfg.tftp }, { "bootfile=", &o->cfg.bootfile },
		{ "tftp-server-name=", &o->cfg.tftp_server_name }, { "metadata=", &o->cfg.metadata },
	};
	const struct {
		const char *key;
		size_t *n;
	} lists[] = { { "hostfwd=", &o->cfg.n_hostfwd }, { "guestfwd=", &o->cfg.n_guestfwd }, { "dnssearch=", &o->cfg.n_dnssearch } };

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		if (strncmp(arg, strings[i].key, strlen(strings[i].key)) == 0)
			*strings[i].to = arg + strlen(strings[i].key);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (strncmp(arg, lists[i].key, strlen(lists[i].key)) == 0)
			o->rules[i][(*lists[i].n)++] = arg + strlen(lists[i].key);
	o->cfg.restricted |= strcmp(arg, "restrict=on") == 0;
	o->cfg.no_ipv6 |= strcmp(arg, "ipv6=off") == 0;
	o->offloads &= strcmp(arg, "offloads=off") != 0;
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

int main(int argc, char **argv)
{
	struct tapguest *g = calloc(1, sizeof(*g));
	struct options *o = calloc(1, sizeof(*o));
	struct netdev_offloads offloads = { .vnet_hdr_size = HDR };
	struct err err = ERR_INIT;
	int64_t cpu, wall;

	if (argc < 3 || !g || !o)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	o->offloads = true;
	g->loop = eventloop_create(&err);
	if (!g->loop)
		die("loop");
	o->cfg.id = "net0";
	o->cfg.loop = g->loop;
	o->cfg.hostfwd = o->rules[0];
	o->cfg.guestfwd = o->rules[1];
	o->cfg.dnssearch = o->rules[2];
	for (int i = 3; i < argc; i++)
		parse(o, argv[i]);
	cpu = cpu_ns();
	wall = now_ns();
	g->nd = user_net_open(&o->cfg, &err);
	if (g->nd)
		fprintf(stderr, "tapguest: opened in %.3f ms, CPU %.3f ms\n", (double)(now_ns() - wall) / 1e6, (double)(cpu_ns() - cpu) / 1e6);
	if (!g->nd || user_net_wait(g->nd, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		netdev_close(g->nd);
		eventloop_destroy(g->loop);
		free(g);
		free(o);
		return 1;
	}
	fprintf(stderr, "tapguest: ready after %.3f ms\n", (double)(now_ns() - wall) / 1e6);
	offloads.guest = o->offloads ? NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 : 0;
	netdev_attach(g->nd, &front_end, g);
	netdev_set_offloads(g->nd, &offloads);
	netdev_rx_enable(g->nd, true);
	g->tap = (struct event_fd){ .fd = open_tap(argv[1], argv[2], o->offloads), .ready = tap_ready, .opaque = g };
	g->input = (struct event_fd){ .fd = 0, .ready = input_ready, .opaque = g };
	eventloop_add_fd(g->loop, &g->tap, EPOLLIN);
	eventloop_add_fd(g->loop, &g->input, EPOLLIN);
	printf("started\n");
	eventloop_run(g->loop);
	netdev_close(g->nd);
	eventloop_del_fd(g->loop, &g->tap);
	eventloop_del_fd(g->loop, &g->input);
	eventloop_destroy(g->loop);
	free(g);
	free(o);
	return 0;
}
