/* SPDX-License-Identifier: MIT */
/*
 * What an image's first bytes say it is, and the guard that keeps a guest from saying something else.
 *
 * The input is the first BLK_PROBE_BYTES of a disk, as many as there are, and then a script of requests on it: writes of the input's
 * bytes or of a format's magic, writes of zeroes, discards, and disks that fail them half done. The head may be anything: blk_probe
 * must give the same answer for it and for all bytes behind it. Where it is raw, it must be raw after each request that the guard let
 * through, in whatever order the sectors of a write arrive, after each that failed, and when the guest changes the data behind it.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blockdev.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define DISK_SIZE (16 * KIB)
#define MAX_REQUESTS 64
#define MAX_BUFFERS 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct script {
	const uint8_t *data;
	size_t left;
};

static struct {
	struct eventloop *loop;
	struct blockdev bd;
	struct blk_req *first, **last;
	struct script *script; /* says in which order sectors arrive, and which fail */
	uint8_t disk[DISK_SIZE];
	uint64_t disk_size;
} fz;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_probe: broken promise: %s\n", what);
	abort();
}

static uint8_t take(struct script *s)
{
	if (s->left == 0)
		return 0;
	s->left--;
	return *s->data++;
}

static uint16_t take16(struct script *s)
{
	uint16_t low = take(s);

	return (uint16_t)(take(s) << 8 | low);
}

/* ---- the disk below ---- */

static void require_raw(const char *what)
{
	require(blk_probe(fz.disk, min_u64(fz.disk_size, BLK_PROBE_BYTES)) == BLK_FORMAT_RAW, what);
}

static void disk_submit(struct blockdev *bd, struct blk_req *req)
{
	(void)bd;
	req->next = NULL;
	*fz.last = req;
	fz.last = &req->next;
}

static void disk_read(const struct blk_req *req)
{
	uint64_t at = req->off;

	for (size_t i = 0; i < req->n; at += req->iov[i++].iov_len)
		memcpy(req->iov[i].iov_base, fz.disk + at, req->iov[i].iov_len);
}

/* What the range is to be: the data, or zeroes. */
static void new_bytes(const struct blk_req *req, uint8_t *to)
{
	memset(to, 0, req->len);
	for (size_t i = 0; req->op == BLK_WRITE && i < req->n; to += req->iov[i++].iov_len)
		memcpy(to, req->iov[i].iov_base, req->iov[i].iov_len);
}

/* A power cut may come after each sector: from any one on, round the end; `some` of them, then it fails. */
static int disk_change(const struct blk_req *req)
{
	uint8_t bytes[DISK_SIZE];
	unsigned n = (unsigned)(req->len / BLK_SECTOR), from = take(fz.script), how = take(fz.script), some = how & 1 ? how % (n + 1) : n;

	new_bytes(req, bytes);
	for (unsigned i = 0; i < some; i++) {
		unsigned sector = (from + i * (how & 2 ? 1 : n - 1)) % n;

		memcpy(fz.disk + req->off + (size_t)sector * BLK_SECTOR, bytes + (size_t)sector * BLK_SECTOR, BLK_SECTOR);
		require_raw("raw after each sector");
	}
	return some < n ? -EIO : 0;
}

static void disk_run(void)
{
	while (fz.first) {
		struct blk_req *req = fz.first;
		int result = 0;

		fz.first = req->next;
		if (!fz.first)
			fz.last = &fz.first;
		require(req->op == BLK_FLUSH || range_ok(req->off, req->len, fz.disk_size), "a range of the disk");
		if (req->op == BLK_READ)
			disk_read(req);
		else if (req->op != BLK_FLUSH)
			result = disk_change(req);
		blockdev_complete(&fz.bd, req, result);
	}
}

static void disk_drain(struct blockdev *bd)
{
	(void)bd;
	disk_run();
}

static void disk_close(struct blockdev *bd)
{
	(void)bd;
}

static const struct blockdev_ops disk_ops = { .format = "raw", .submit = disk_submit, .drain = disk_drain, .close = disk_close };

/* ---- the guest ---- */

struct request {
	struct blk_req req;
	struct iovec iov[MAX_BUFFERS];
	uint8_t data[DISK_SIZE];
	bool ended;
};

static void ended(struct blk_req *req, int result)
{
	struct request *r = CONTAINER_OF(req, struct request, req);

	require(result <= 0 && !r->ended, "ends once");
	r->ended = true;
}

/* Some of the magics, as a guest would write them; blk_probe's own table is not to be seen from here. */
static const char *const magics[] = { "QFI\xfb\0\0\0\3", "KDMV", "COWD", "conectix", "vhdxfile", "QED\0\0\0\0", "LUKS\xba\xbe", "WithoutFreeSpace",
				      "# Disk DescriptorFile\nversion=1\n" };

static void fill(struct request *r, struct script *s, unsigned kind)
{
	size_t n = min_u64(r->req.len, s->left);

	if (kind % 3 == 0) {
		const char *magic = magics[take(s) % ARRAY_SIZE(magics)];
		size_t at = take(s) % 8 ? 0 : take16(s) % r->req.len;

		memcpy(r->data + at, magic, min_u64(strlen(magic) + 1, r->req.len - at));
		return;
	}
	memcpy(r->data, s->data, n);
	s->data += n;
	s->left -= n;
}

/* The data in pieces. */
static void cut(struct request *r, struct script *s)
{
	size_t at = 0;

	for (r->req.n = 0; at < r->req.len; r->req.n++) {
		size_t n = r->req.n == MAX_BUFFERS - 1 ? r->req.len - at : min_u64(r->req.len - at, 1 + take16(s) % 1024u);

		r->iov[r->req.n] = (struct iovec){ r->data + at, n };
		at += n;
	}
	r->req.iov = r->iov;
}

static struct request *submit(struct blockdev *guard, struct script *s)
{
	static const enum blk_op ops[] = { BLK_WRITE, BLK_WRITE, BLK_WRITE, BLK_WRITE_ZEROES, BLK_DISCARD, BLK_READ };
	struct request *r = calloc(1, sizeof(*r));
	unsigned kind = take(s), where = take(s);

	if (!r)
		return NULL;
	r->req.op = ops[kind % ARRAY_SIZE(ops)];
	r->req.done = ended;
	r->req.off = where % 8 * BLK_SECTOR;
	r->req.len = (1 + where / 8 % 8) * (uint64_t)BLK_SECTOR;
	if (r->req.op == BLK_WRITE)
		fill(r, s, kind / (unsigned)ARRAY_SIZE(ops));
	if (r->req.op == BLK_WRITE || r->req.op == BLK_READ)
		cut(r, s);
	blockdev_submit(guard, &r->req);
	/* Another CPU of the guest's: what was checked is what is written, whatever stands there now. */
	if (where & 64)
		memcpy(r->data, "QFI\xfb\0\0\0\3", 8);
	return r;
}

static void run(struct blockdev *guard, struct script *s)
{
	struct request *all[MAX_REQUESTS];
	unsigned n = 0;

	while (s->left && n < MAX_REQUESTS) {
		all[n] = submit(guard, s);
		if (!all[n++])
			break;
		if (take(s) % 2)
			continue; /* more than one at a time */
		blockdev_drain(guard);
		require_raw("raw after a request");
	}
	blockdev_drain(guard);
	require_raw("raw in the end");
	for (unsigned i = 0; i < n; i++) {
		require(!all[i] || all[i]->ended, "every request ends");
		free(all[i]);
	}
}

/* ---- */

static void guard_fuzz(struct script *s)
{
	struct err err = ERR_INIT;
	struct blockdev *guard;

	fz.bd = (struct blockdev){
		.ops = &disk_ops, .name = strdup("disk"), .loop = fz.loop, .size = fz.disk_size, .request_align = BLK_SECTOR,
		.physical_block = BLK_SECTOR, .discard = true, .write_zeroes = true, .write_cache = true,
	};
	fz.last = &fz.first;
	fz.script = s;
	guard = probe_guard_create(&fz.bd, &err);
	require(guard, "a guard over a disk that reads");
	run(guard, s);
	blockdev_close(guard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, size };
	struct err err = ERR_INIT;
	enum blk_format format;
	size_t head;

	log_set_level(LOG_LEVEL_ERROR);
	if (!fz.loop)
		fz.loop = eventloop_create(&err);
	require(fz.loop, "an event loop");
	format = blk_probe(data, size);
	require(blk_probe(data, min_u64(size, BLK_PROBE_BYTES)) == format, "the same without what is behind the head");
	require(*blk_format_name(format), "a name");

	fz.disk_size = (1 + (uint64_t)take(&s) % 32) * BLK_SECTOR;
	head = min_u64(take16(&s) % (BLK_PROBE_BYTES + 1), s.left);
	memset(fz.disk, 0, sizeof(fz.disk));
	memcpy(fz.disk, s.data, min_u64(head, fz.disk_size));
	s.data += head;
	s.left -= head;
	if (blk_probe(fz.disk, min_u64(fz.disk_size, BLK_PROBE_BYTES)) == BLK_FORMAT_RAW)
		guard_fuzz(&s);
	return 0;
}
