/* SPDX-License-Identifier: MIT */
#include "tools/user-net/vm_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "vmm/util.h"

static struct vm_link link_;
static int peer;
static uint8_t hdr[VM_LINK_HDR] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

static void setup(void)
{
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	ck_assert_int_eq(vm_link_init(&link_, sv[0]), 0);
	peer = sv[1];
}

static void teardown(void)
{
	close(link_.fd);
	close(peer);
	vm_link_fini(&link_);
}

static const size_t sizes[] = { 14, 60, 1514, 4095, 4096, 30000, VM_LINK_FRAME_MAX };

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed + i + (i >> 8));
}

/* Writes frames without reading at the other end, then reads: all of them, in order, as they were. */
START_TEST(sending)
{
	static uint8_t frame[VM_LINK_FRAME_MAX], got[VM_LINK_FRAME_MAX + 16], want[VM_LINK_FRAME_MAX];
	const unsigned n = 3 * ARRAY_SIZE(sizes) * 3;

	for (unsigned i = 0; i < n; i++) {
		size_t len = sizes[i * 5 % ARRAY_SIZE(sizes)];

		fill(frame, len, i);
		ck_assert_int_eq(vm_link_send(&link_, hdr, frame, len), 0);
	}
	ck_assert(vm_link_crowded(&link_));
	for (unsigned i = 0; i < n; i++) {
		size_t len = sizes[i * 5 % ARRAY_SIZE(sizes)], have = 0;

		while (have < 16 + len) {
			ssize_t size = read(peer, got + have, 16 + len - have);

			if (size > 0)
				have += (size_t)size;
			else
				ck_assert_int_eq(vm_link_flush(&link_), 0);
		}
		fill(want, len, i);
		ck_assert_uint_eq((unsigned)(got[1] << 16 | got[2] << 8 | got[3]), 12 + len);
		ck_assert_mem_eq(got + 4, hdr, sizeof(hdr));
		ck_assert_mem_eq(got + 16, want, len);
	}
	ck_assert_uint_eq(vm_link_waiting(&link_), 0);
	ck_assert_int_eq(read(peer, got, 1), -1);
	ck_assert_uint_eq(link_.dropped, 0);
}
END_TEST

START_TEST(too_much_waits)
{
	static uint8_t frame[VM_LINK_FRAME_MAX];

	for (unsigned i = 0; i < 200; i++)
		ck_assert_int_eq(vm_link_send(&link_, hdr, frame, sizeof(frame)), 0);
	ck_assert_uint_gt(link_.dropped, 50);
	ck_assert_uint_le(vm_link_waiting(&link_), 4 * MIB);
	close(peer);
	peer = -1;
	ck_assert_int_eq(vm_link_flush(&link_), -EPIPE);
}
END_TEST

START_TEST(receiving)
{
	static uint8_t all[1000000];
	size_t total = 0, off = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		size_t len = sizes[i % ARRAY_SIZE(sizes)];

		all[total] = 0;
		all[total + 1] = (uint8_t)((len + 12) >> 16);
		all[total + 2] = (uint8_t)((len + 12) >> 8);
		all[total + 3] = (uint8_t)(len + 12);
		memcpy(all + total + 4, hdr, 12);
		fill(all + total + 16, len, i);
		total += 16 + len;
	}
	srandom(3);
	while (off < total || n < 2 * ARRAY_SIZE(sizes)) {
		size_t len = min_u64((size_t)random() % (random() % 2 ? 50000 : 30) + 1, total - off), size;
		ssize_t sent = len ? write(peer, all + off, len) : 0;
		uint8_t *h, *f;
		int rc;

		off += sent > 0 ? (size_t)sent : 0;
		ck_assert_int_ge(vm_link_read(&link_), 0);
		while ((rc = vm_link_next(&link_, &h, &f, &size)) == 1) {
			ck_assert_uint_eq(size, sizes[n % ARRAY_SIZE(sizes)]);
			ck_assert_mem_eq(h, hdr, 12);
			for (size_t i = 0; i < size; i++)
				ck_assert_uint_eq(f[i], (uint8_t)(n + i + (i >> 8)));
			n++;
		}
		ck_assert_int_eq(rc, 0);
	}
	close(peer);
	peer = -1;
	ck_assert_int_eq(vm_link_read(&link_), -EPIPE);
}
END_TEST

START_TEST(lengths_without_a_frame)
{
	static const uint8_t bad[][16] = { { 0, 0, 0, 0 }, { 0, 0, 0, 12 }, { 0, 1, 0, 27 }, { 0xff, 0xff, 0xff, 0xff } };
	uint8_t *h, *f;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(write(peer, bad[i], 16), 16);
		ck_assert_int_eq(vm_link_read(&link_), 1);
		ck_assert_int_eq(vm_link_next(&link_, &h, &f, &len), -EPROTO);
		link_.in_head = link_.in_tail = 0;
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { sending, too_much_waits, receiving, lengths_without_a_frame };

	return suite_run("usernet_link", tests, ARRAY_SIZE(tests), setup, teardown);
}
