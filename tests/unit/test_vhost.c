/* SPDX-License-Identifier: MIT */
/* vhost-net's calls, against a kernel that notes them: what it is told when, and that it lets go of everything. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vhost.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net/netdev.h"
#include "net/tap.h"
#include "net/vhost.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define PAIRS 2
#define TAP_FD 700
#define RING_BITS (BIT64(15) | BIT64(28) | BIT64(29) | BIT64(32))

/* ---- the kernel ---- */

static struct {
	int fds[PAIRS]; /* of /dev/vhost-net, as opened: descriptors of /dev/null */
	unsigned n;
	uint64_t features;
	unsigned long fail; /* this request fails with ENODEV */
	unsigned until_fail;
	struct {
		bool owned;
		uint64_t features, memory_size, memory_gpa;
		unsigned regions;
		struct {
			unsigned num, base, poll;
			int kick, call, backend;
			uint64_t desc, avail, used;
		} ring[2];
	} vq[PAIRS];
	unsigned reached; /* what GET_VRING_BASE says */
} kernel;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_open(const char *path, int flags, ...)
{
	if (strcmp(path, "/dev/vhost-net"))
		return __real_open(path, flags, 0600);
	if (kernel.n == PAIRS || kernel.fail == ULONG_MAX) {
		errno = ENOENT;
		return -1;
	}
	kernel.fds[kernel.n] = __real_open("/dev/null", O_RDWR | O_CLOEXEC);
	return kernel.fds[kernel.n++];
}

static void set_ring(unsigned pair, unsigned long request, void *arg)
{
	const struct vhost_vring_state *state = arg;
	const struct vhost_vring_file *file = arg;
	const struct vhost_vring_addr *addr = arg;
	unsigned i = state->index;

	ck_assert_uint_lt(i, 2);
	switch (request) {
	case VHOST_SET_VRING_NUM: kernel.vq[pair].ring[i].num = state->num; break;
	case VHOST_SET_VRING_BASE: kernel.vq[pair].ring[i].base = state->num; break;
	case VHOST_SET_VRING_BUSYLOOP_TIMEOUT: kernel.vq[pair].ring[i].poll = state->num; break;
	case VHOST_SET_VRING_KICK: kernel.vq[pair].ring[i].kick = file->fd; break;
	case VHOST_SET_VRING_CALL: kernel.vq[pair].ring[i].call = file->fd; break;
	case VHOST_GET_VRING_BASE: ((struct vhost_vring_state *)arg)->num = kernel.reached + i; break;
	case VHOST_SET_VRING_ADDR:
		ck_assert_uint_eq(addr->flags, 0);
		kernel.vq[pair].ring[i].desc = addr->desc_user_addr;
		kernel.vq[pair].ring[i].avail = addr->avail_user_addr;
		kernel.vq[pair].ring[i].used = addr->used_user_addr;
		break;
	case VHOST_NET_SET_BACKEND:
		/* A ring that runs was told all of it before, and one that stops still has it. */
		ck_assert(file->fd < 0 || (kernel.vq[pair].ring[i].kick >= 0 && kernel.vq[pair].ring[i].desc));
		kernel.vq[pair].ring[i].backend = file->fd;
		break;
	default: ck_abort_msg("request 0x%lx", request);
	}
}

static int vhost_request(unsigned pair, unsigned long request, void *arg)
{
	const struct vhost_memory *memory = arg;

	if (request == kernel.fail && kernel.until_fail-- == 0) {
		errno = ENODEV;
		return -1;
	}
	if (request == VHOST_SET_OWNER) {
		kernel.vq[pair].owned = true;
		return 0;
	}
	ck_assert(kernel.vq[pair].owned);
	if (request == VHOST_GET_FEATURES) {
		*(uint64_t *)arg = kernel.features;
	} else if (request == VHOST_SET_FEATURES) {
		kernel.vq[pair].features = *(const uint64_t *)arg;
	} else if (request == VHOST_SET_MEM_TABLE) {
		kernel.vq[pair].regions = memory->nregions;
		kernel.vq[pair].memory_gpa = memory->regions[memory->nregions - 1].guest_phys_addr;
		kernel.vq[pair].memory_size = memory->regions[memory->nregions - 1].memory_size;
	} else {
		set_ring(pair, request, arg);
	}
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	for (unsigned i = 0; i < kernel.n; i++)
		if (kernel.fds[i] == fd)
			return vhost_request(i, request, arg);
	return __real_ioctl(fd, request, arg);
}

/* ---- the tap ---- */

static bool handed_over;
static unsigned checks;

int tap_fd(const struct netdev *nd, unsigned queue)
{
	(void)nd;
	return TAP_FD + (int)queue;
}

void tap_hand_over(struct netdev *nd, bool on)
{
	(void)nd;
	ck_assert_int_ne(handed_over, on);
	handed_over = on;
}

void tap_check(struct netdev *nd)
{
	(void)nd;
	checks++;
}

/* ---- a test's own ---- */

static struct netdev nd;
static char id[] = "n";
static struct guest_mem *mem;
static struct err err;
static uint8_t rings_memory[4096];

static void setup(void)
{
	const struct gm_range ram[] = { { 0, MIB }, { 16 * MIB, 2 * MIB } };

	log_set_level(LOG_LEVEL_ERROR);
	err = (struct err)ERR_INIT;
	memset(&kernel, 0, sizeof(kernel));
	for (unsigned i = 0; i < 2 * PAIRS; i++)
		kernel.vq[i / 2].ring[i % 2].kick = kernel.vq[i / 2].ring[i % 2].call = kernel.vq[i / 2].ring[i % 2].backend = -1;
	kernel.features = UINT64_MAX;
	handed_over = false;
	checks = 0;
	mem = gm_create(ram, 2, &err);
	nd = (struct netdev){ .id = id, .loop = eventloop_create(&err), .caps = NETDEV_VNET, .queues = PAIRS };
}

static unsigned open_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void teardown(void)
{
	if (nd.rings)
		nd.rings->ops->close(nd.rings);
	for (unsigned i = 0; i < kernel.n; i++)
		ck_assert_int_lt(fcntl(kernel.fds[i], F_GETFD), 0);
	eventloop_destroy(nd.loop);
	gm_destroy(mem);
}

static int attach(uint64_t poll_us)
{
	const struct vhost_config cfg = { .mem = mem, .poll_us = poll_us };

	return vhost_attach(&nd, &cfg, &err);
}

static void fill(struct netdev_ring ring[2])
{
	for (unsigned i = 0; i < 2; i++)
		ring[i] = (struct netdev_ring){
			.desc = rings_memory + 512 * i, .avail = rings_memory + 512 * i + 128, .used = rings_memory + 512 * i + 256,
			.size = (uint16_t)(256 << i), .next = (uint16_t)(7 + i), .kick_fd = 500 + (int)i, .call_fd = 600 + (int)i,
		};
}

START_TEST(runs)
{
	struct netdev_ring ring[2];
	uint16_t next[2];

	ck_assert_msg(attach(50) == 0, "%s", err.msg);
	ck_assert_uint_eq(nd.rings->pairs, PAIRS);
	ck_assert_uint_eq(nd.rings->features & RING_BITS, RING_BITS);
	for (unsigned p = 0; p < PAIRS; p++) {
		ck_assert_uint_eq(kernel.vq[p].regions, 2);
		ck_assert_uint_eq(kernel.vq[p].memory_gpa, 16 * MIB);
		ck_assert_uint_eq(kernel.vq[p].memory_size, 2 * MIB);
	}
	fill(ring);
	for (unsigned p = 0; p < PAIRS; p++)
		ck_assert_int_eq(nd.rings->ops->start(nd.rings, p, ring, RING_BITS | BIT64(5) | BIT64(17)), 0);
	ck_assert(handed_over);
	/* Only what is its business. */
	ck_assert_uint_eq(kernel.vq[1].features, RING_BITS);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(kernel.vq[1].ring[i].num, 256u << i);
		ck_assert_uint_eq(kernel.vq[1].ring[i].base, 7 + i);
		ck_assert_uint_eq(kernel.vq[1].ring[i].poll, 50);
		ck_assert_int_eq(kernel.vq[1].ring[i].kick, 500 + (int)i);
		ck_assert_int_eq(kernel.vq[1].ring[i].call, 600 + (int)i);
		ck_assert_int_eq(kernel.vq[1].ring[i].backend, TAP_FD + 1);
		ck_assert_uint_eq(kernel.vq[1].ring[i].used, (uintptr_t)ring[i].used);
	}
	ck_assert_int_eq(nd.rings->ops->set_call(nd.rings, 1, 1, 99), 0);
	ck_assert_int_eq(kernel.vq[1].ring[1].call, 99);
	kernel.reached = 1234;
	nd.rings->ops->stop(nd.rings, 0, next);
	ck_assert(handed_over);
	nd.rings->ops->stop(nd.rings, 1, next);
	ck_assert(!handed_over);
	ck_assert_uint_eq(next[0], 1234);
	ck_assert_uint_eq(next[1], 1235);
	ck_assert_int_eq(kernel.vq[1].ring[0].backend, -1);
	ck_assert_int_eq(kernel.vq[1].ring[1].kick, -1);
}
END_TEST

/* A tap without headers gets them from vhost-net. */
START_TEST(headers)
{
	struct netdev_ring ring[2];

	nd.caps = 0;
	ck_assert_int_eq(attach(0), 0);
	fill(ring);
	ck_assert_int_eq(nd.rings->ops->start(nd.rings, 0, ring, RING_BITS), 0);
	ck_assert_uint_eq(kernel.vq[0].features, RING_BITS | BIT64(VHOST_NET_F_VIRTIO_NET_HDR));
	ck_assert_uint_eq(kernel.vq[0].ring[0].poll, 0);
	nd.rings->ops->stop(nd.rings, 0, (uint16_t[2]){ 0 });
}
END_TEST

/* Each call fails in turn: nothing runs, and nothing stays. */
static const unsigned long at_start[] = {
	VHOST_SET_FEATURES, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL,
	VHOST_NET_SET_BACKEND,
};

START_TEST(start_fails)
{
	struct netdev_ring ring[2];

	ck_assert_int_eq(attach(0), 0);
	fill(ring);
	kernel.fail = at_start[_i];
	kernel.until_fail = at_start[_i] == VHOST_SET_FEATURES ? 0 : 1; /* of the second ring */
	ck_assert_int_eq(nd.rings->ops->start(nd.rings, 0, ring, RING_BITS), -ENODEV);
	ck_assert(!handed_over);
	ck_assert_int_eq(kernel.vq[0].ring[0].backend, -1);
	ck_assert_int_eq(kernel.vq[0].ring[1].backend, -1);
	kernel.fail = 0;
	ck_assert_int_eq(nd.rings->ops->start(nd.rings, 0, ring, RING_BITS), 0);
	nd.rings->ops->stop(nd.rings, 0, (uint16_t[2]){ 0 });
}
END_TEST

static const unsigned long at_attach[] = { VHOST_SET_OWNER, VHOST_GET_FEATURES, VHOST_SET_MEM_TABLE, ULONG_MAX };

START_TEST(attach_fails)
{
	unsigned before = open_fds();

	kernel.fail = at_attach[_i];
	kernel.until_fail = 1; /* of the second pair */
	ck_assert_int_lt(attach(0), 0);
	ck_assert_ptr_null(nd.rings);
	ck_assert_int_eq(strncmp(err.msg, "netdev 'n': ", 12), 0);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(too_old)
{
	kernel.features = BIT64(32) | BIT64(28);
	ck_assert_int_eq(attach(0), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(err.msg, "too old"));
}
END_TEST

/* Descriptors that were handed over are closed whatever happens. */
START_TEST(given)
{
	unsigned before = open_fds();
	int fds[3] = { open("/dev/null", O_RDWR), open("/dev/null", O_RDWR), open("/dev/null", O_RDWR) };
	struct vhost_config cfg = { .mem = mem, .fds = fds, .n_fds = 3 };

	ck_assert_int_eq(vhost_attach(&nd, &cfg, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.msg, "3 descriptors of vhost-net for 2 pairs"));
	ck_assert_uint_eq(open_fds(), before);
	/* No vhost-net at all. */
	fds[0] = open("/dev/null", O_RDWR);
	fds[1] = open("/dev/null", O_RDWR);
	cfg.n_fds = 2;
	ck_assert_int_lt(vhost_attach(&nd, &cfg, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "is no vhost-net"));
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vhost");
	TCase *t = tcase_create("vhost");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, runs);
	tcase_add_test(t, headers);
	tcase_add_loop_test(t, start_fails, 0, ARRAY_SIZE(at_start));
	tcase_add_loop_test(t, attach_fails, 0, ARRAY_SIZE(at_attach));
	tcase_add_test(t, too_old);
	tcase_add_test(t, given);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
