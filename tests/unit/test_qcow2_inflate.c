/* SPDX-License-Identifier: MIT */
/* Reads of compressed clusters: side by side, several of one, errors, and clusters that become others meanwhile. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tests/unit/qcow2_model.h"
#include "tests/unit/suite.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define CLUSTER 4096u
#define CLUSTERS 64u

static struct qm m;

struct get {
	struct blk_req req;
	struct iovec iov;
	uint8_t *buf;
	int result;
	bool done;
};

static void setup(void)
{
	static const struct qcow2_create_config create = { .size = 1 << 20, .cluster_size = CLUSTER };

	log_set_level(LOG_LEVEL_ERROR);
	m.open = (struct qcow2_open_config){ .read_only = false };
	qm_init(&m, 1, &create);
	m.file->in_order = true;
}

static void teardown(void)
{
	qm_fini(&m);
}

/* Of the same length packed, whatever `what`. */
static void cluster_fill(uint8_t *p, uint8_t what)
{
	memset(p, what, CLUSTER);
}

static void pack(unsigned cluster, uint8_t what)
{
	uint8_t buf[CLUSTER];

	cluster_fill(buf, what);
	ck_assert_int_eq(qm_do(&m, BLK_WRITE, BLK_REQ_COMPRESSED, (uint64_t)cluster * CLUSTER, buf, CLUSTER), 0);
}

static void get_done(struct blk_req *req, int result)
{
	struct get *g = CONTAINER_OF(req, struct get, req);

	g->result = result;
	g->done = true;
}

static void get_start(struct get *g, uint64_t off, uint64_t len)
{
	*g = (struct get){ .buf = malloc(len) };
	g->iov = (struct iovec){ g->buf, len };
	g->req = (struct blk_req){ .op = BLK_READ, .off = off, .len = len, .iov = &g->iov, .n = 1, .done = get_done };
	blockdev_submit(m.bd, &g->req);
}

static void get_is(struct get *g, uint8_t what)
{
	ck_assert(g->done);
	ck_assert_int_eq(g->result, 0);
	for (uint64_t i = 0; i < g->req.len; i++)
		ck_assert_uint_eq(g->buf[i], what);
	free(g->buf);
}

static void read_is(unsigned cluster, uint8_t what)
{
	struct get g;

	get_start(&g, (uint64_t)cluster * CLUSTER, CLUSTER);
	blockdev_drain(m.bd);
	get_is(&g, what);
}

/* More clusters than there are slots, each read in one request and in many. */
START_TEST(test_many)
{
	struct get one, many[CLUSTERS];

	for (unsigned i = 0; i < CLUSTERS; i++)
		pack(i, (uint8_t)(i + 1));
	qm_close(&m);
	qm_open(&m);
	get_start(&one, 0, CLUSTERS * CLUSTER);
	for (unsigned i = 0; i < CLUSTERS; i++)
		get_start(&many[i], i * CLUSTER + 512, 1024);
	blockdev_drain(m.bd);
	ck_assert(one.done && one.result == 0);
	for (unsigned i = 0; i < CLUSTERS; i++) {
		ck_assert_uint_eq(one.buf[i * CLUSTER], i + 1);
		ck_assert_uint_eq(one.buf[i * CLUSTER + CLUSTER - 1], i + 1);
		get_is(&many[i], (uint8_t)(i + 1));
	}
	free(one.buf);
}
END_TEST

/* A stream of `len` bytes of `what` where a cluster's should be. */
static void put_stream(unsigned cluster, uint8_t what, size_t len)
{
	uint8_t packed[CLUSTER], *plain = malloc(len);
	z_stream z = { .next_in = memset(plain, what, len), .avail_in = (unsigned)len, .next_out = packed, .avail_out = sizeof(packed) };
	struct iovec iov = { plain, CLUSTER };
	struct get g = { .done = false };

	ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY), Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	g.req = (struct blk_req){ .op = BLK_WRITE, .flags = BLK_REQ_COMPRESSED, .off = (uint64_t)cluster * CLUSTER, .len = CLUSTER, .iov = &iov,
				  .n = 1, .packed = packed, .packed_len = (uint32_t)z.total_out, .done = get_done };
	blockdev_submit(m.bd, &g.req);
	blockdev_drain(m.bd);
	ck_assert(g.done && g.result == 0);
	free(plain);
}

/* What goes on past the cluster is cut, up to a few clusters; what ends before it is an error. */
START_TEST(test_lengths)
{
	static const struct {
		size_t len;
		int result;
	} streams[] = { { CLUSTER, 0 },	      { CLUSTER + 1, 0 },     { 4 * CLUSTER, 0 }, { 100 * CLUSTER, -EIO },
			{ CLUSTER - 1, -EIO }, { CLUSTER / 2, -EIO }, { 0, -EIO } };

	for (unsigned i = 0; i < ARRAY_SIZE(streams); i++) {
		struct get g;

		put_stream(i, 9, streams[i].len);
		get_start(&g, (uint64_t)i * CLUSTER, CLUSTER);
		blockdev_drain(m.bd);
		ck_assert_msg(g.result == streams[i].result, "%zu bytes: %d", streams[i].len, g.result);
		if (g.result == 0)
			get_is(&g, 9);
		else
			free(g.buf);
	}
}
END_TEST

/* Small reads of one cluster read it from the file once: side by side, and after each other. */
START_TEST(test_once)
{
	struct get g[8];
	unsigned before;

	pack(3, 7);
	read_is(0, 0); /* its table is in memory now */
	before = m.file->n_ops[BLK_READ];
	for (unsigned i = 0; i < 8; i++)
		get_start(&g[i], 3 * CLUSTER + i * 512, 512);
	blockdev_drain(m.bd);
	for (unsigned i = 0; i < 8; i++)
		get_is(&g[i], 7);
	read_is(3, 7);
	ck_assert_uint_eq(m.file->n_ops[BLK_READ], before + 1);
}
END_TEST

START_TEST(test_error)
{
	struct get g[2];

	pack(3, 7);
	read_is(0, 0);
	m.file->fail_ops = 1u << BLK_READ;
	m.file->fail_after = 0;
	m.file->fail_for = 1;
	m.file->fail_with = -EIO;
	for (unsigned i = 0; i < 2; i++)
		get_start(&g[i], 3 * CLUSTER, CLUSTER);
	blockdev_drain(m.bd);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(g[i].done);
		ck_assert_int_eq(g[i].result, -EIO);
		free(g[i].buf);
	}
	read_is(3, 7);
}
END_TEST

static void flush(void)
{
	ck_assert_int_eq(qm_do(&m, BLK_FLUSH, 0, 0, NULL, 0), 0);
}

static uint64_t entry_of(unsigned cluster)
{
	const uint8_t *l1 = m.file->data + 3 * CLUSTER;
	uint64_t l2 = 0, entry = 0;

	for (unsigned i = 0; i < 8; i++)
		l2 = l2 << 8 | l1[i];
	for (unsigned i = 0; i < 8; i++)
		entry = entry << 8 | m.file->data[(l2 & UINT64_C(0xfffffffffffe00)) + cluster * 8 + i];
	return entry;
}

/* The place of a compressed cluster goes to another of the same length: its entry looks the same. */
static void place_changes_hands(void)
{
	uint64_t before = entry_of(0);
	uint8_t plain[CLUSTER];

	ck_assert_uint_ne(before & BIT64(62), 0);
	memset(plain, 0x99, CLUSTER);
	ck_assert_int_eq(qm_do(&m, BLK_WRITE, 0, 0, plain, CLUSTER), 0);
	flush();
	flush();
	pack(1, 'b');
	flush();
	ck_assert_uint_eq(entry_of(1), before);
}

START_TEST(test_place_changes_hands)
{
	pack(0, 'a');
	flush();
	read_is(0, 'a');
	place_changes_hands();
	read_is(1, 'b');
	read_is(0, 0x99);
}
END_TEST

/* The same while the first is still being read: that read has what was there when it began, and nobody else has. */
START_TEST(test_overwritten_while_read)
{
	uint8_t plain[CLUSTER];
	struct get g;

	pack(0, 'a');
	flush();
	read_is(4, 0);
	get_start(&g, 0, CLUSTER);
	memset(plain, 0x99, CLUSTER);
	ck_assert_int_eq(qm_do(&m, BLK_WRITE, 0, 0, plain, CLUSTER), 0);
	get_is(&g, 'a');
	read_is(0, 0x99);
	flush();
	flush();
	pack(1, 'b');
	read_is(1, 'b');
	/* And a compressed cluster over a compressed one. */
	get_start(&g, CLUSTER, CLUSTER);
	pack(1, 'c');
	ck_assert(g.done);
	free(g.buf);
	read_is(1, 'c');
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_many, test_lengths, test_once, test_error, test_place_changes_hands, test_overwritten_while_read };

	return suite_run("qcow2_inflate", tests, ARRAY_SIZE(tests), setup, teardown);
}
