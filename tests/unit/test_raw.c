/* SPDX-License-Identifier: MIT */
/* Every test runs over io_uring and over threads. Calls to the uring are intercepted, to fail or to be cut short. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blk/blockdev.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/fake_frontend.h"
#include "vmm/err.h"
#include "vmm/uring.h"
#include "vmm/util.h"

#define SIZE (1 << 20)

static struct eventloop *loop;
static struct uring *uring;
static struct blockdev *bd;
static char dir[] = "/var/tmp/kite-raw-XXXXXX", path[64];
static uint8_t *buf, *back; /* page-aligned, of SIZE + a page */

/* What goes wrong. */
static int fail_op = -1, fail_mode, fail_with, fail_after;
static unsigned short_len, dio_align, dio_mem, n_pieces, calls[URING_FALLOCATE + 1], n_dsync;
static void (*real_done)(struct uring_req *req, int64_t result);

static void failing_done(struct uring_req *req, int64_t result)
{
	(void)result;
	req->op = (enum uring_op)fail_op;
	real_done(req, -fail_with);
}

void __real_uring_submit(struct uring *u, struct uring_req *req);
void __wrap_uring_submit(struct uring *u, struct uring_req *req);
void __wrap_uring_submit(struct uring *u, struct uring_req *req)
{
	static struct iovec cut[64];
	static unsigned next;

	calls[req->op]++;
	n_dsync += req->op == URING_WRITEV && req->dsync;
	for (unsigned i = 0; req->op <= URING_WRITEV && dio_mem && i < req->n; i++)
		n_pieces += req->iov[i].iov_len % dio_align != 0;
	if ((int)req->op == fail_op && (!fail_mode || req->mode == fail_mode) && fail_after-- <= 0) {
		real_done = req->done;
		req->done = failing_done;
		req->op = URING_FDATASYNC;
	} else if (short_len && req->op <= URING_WRITEV) {
		struct iovec *v = &cut[next++ % 64];

		*v = req->iov[0];
		v->iov_len = min_u64(v->iov_len, short_len);
		req->iov = v;
		req->n = 1;
	}
	__real_uring_submit(u, req);
}

int __real_statx(int fd, const char *p, int flags, unsigned mask, struct statx *st);
int __wrap_statx(int fd, const char *p, int flags, unsigned mask, struct statx *st);
int __wrap_statx(int fd, const char *p, int flags, unsigned mask, struct statx *st)
{
	int rc = __real_statx(fd, p, flags, mask, st);

	if (dio_align) {
		st->stx_mask |= STATX_DIOALIGN;
		st->stx_dio_offset_align = dio_align;
		st->stx_dio_mem_align = dio_mem ? dio_mem : dio_align;
	}
	return rc;
}

static void setup(void)
{
	strcpy(dir, "/var/tmp/kite-raw-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/disk.img", dir);
	ck_assert_int_eq(posix_memalign((void **)&buf, 4096, SIZE + 4096), 0);
	ck_assert_int_eq(posix_memalign((void **)&back, 4096, SIZE + 4096), 0);
	fake_stream_fill(buf, 0, SIZE);
	loop = fake_loop();
}

static void teardown(void)
{
	char cmd[64];

	blockdev_close(bd);
	uring_destroy(uring);
	eventloop_destroy(loop);
	free(buf);
	free(back);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void file_make(uint64_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static struct blk_file_config config(int threads)
{
	struct err err = ERR_INIT;

	if (!uring)
		uring = uring_create(loop, threads, &err);
	return (struct blk_file_config){ .path = path, .lock = true, .uring = uring, .loop = loop };
}

static void must_open(const struct blk_file_config *cfg)
{
	struct err err = ERR_INIT;

	bd = raw_open(cfg, &err);
	ck_assert_msg(bd != NULL, "%s", err.msg);
}

static void file_holds(const void *data, size_t len, uint64_t off)
{
	uint8_t *p = malloc(len);
	int fd = open(path, O_RDONLY);

	ck_assert_int_eq(pread_full(fd, p, len, off), 0);
	ck_assert_mem_eq(p, data, len);
	close(fd);
	free(p);
}

static void expect_stream(uint64_t off, size_t len, const uint8_t *mem)
{
	memset(back, 0xee, SIZE);
	ck_assert_int_eq(fake_req_run(bd, BLK_READ, back, len, off), 0);
	ck_assert_mem_eq(back, mem, len);
}

START_TEST(cache_modes)
{
	for (int cache = BLK_CACHE_WRITEBACK; cache <= BLK_CACHE_UNSAFE; cache++) {
		struct blk_file_config cfg = config(_i);

		file_make(SIZE);
		cfg.cache = (enum blk_cache)cache;
		must_open(&cfg);
		ck_assert_uint_eq(bd->size, SIZE);
		ck_assert_int_eq(bd->write_cache, cache != BLK_CACHE_WRITETHROUGH && cache != BLK_CACHE_DIRECTSYNC);
		n_dsync = calls[URING_FDATASYNC] = 0;
		ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, SIZE, 0), 0);
		ck_assert_uint_eq(n_dsync, cache == BLK_CACHE_WRITETHROUGH || cache == BLK_CACHE_DIRECTSYNC);
		ck_assert_int_eq(fake_req_run(bd, BLK_FLUSH, NULL, 0, 0), 0);
		ck_assert_uint_eq(calls[URING_FDATASYNC], cache != BLK_CACHE_UNSAFE);
		expect_stream(0, SIZE, buf);
		expect_stream(512, 1024, buf + 512);
		/* Buffers on odd addresses. */
		ck_assert_int_eq(fake_req_run(bd, BLK_READ, back + 1, SIZE, 0), 0);
		ck_assert_mem_eq(back + 1, buf, SIZE);
		ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf + 3, 5120, 512), 0);
		file_holds(buf + 3, 5120, 512);
		blockdev_close(bd);
		bd = NULL;
	}
}
END_TEST

START_TEST(odd_length)
{
	for (int cache = 0; cache < 2; cache++) {
		struct blk_file_config cfg = config(_i);
		struct stat st;
		int fd;

		file_make(0);
		fd = open(path, O_WRONLY);
		ck_assert_int_eq(write(fd, buf, 1000), 1000);
		close(fd);
		cfg.cache = cache ? BLK_CACHE_NONE : BLK_CACHE_WRITEBACK;
		must_open(&cfg);
		ck_assert_uint_eq(bd->size, 1024);
		for (unsigned odd = 0; odd < 2; odd++) {
			memset(back, 0xee, 2048);
			ck_assert_int_eq(fake_req_run(bd, BLK_READ, back + odd, 1024, 0), 0);
			ck_assert_mem_eq(back + odd, buf, 1000);
			for (int i = 1000; i < 1024; i++)
				ck_assert_uint_eq(back[odd + (unsigned)i], 0);
			ck_assert_uint_eq(back[odd + 1024], 0xee);
		}
		ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 512, 512), 0);
		stat(path, &st);
		ck_assert_int_eq(st.st_size, 1024);
		file_holds(buf, 512, 512);
		blockdev_close(bd);
		bd = NULL;
	}
}
END_TEST

/* The file shrinks under the disk. */
START_TEST(truncated)
{
	struct blk_file_config cfg = config(_i);
	static const uint8_t zeroes[4096];

	file_make(SIZE);
	must_open(&cfg);
	ck_assert_int_eq(truncate(path, 4096), 0);
	memset(back, 0xee, 8192);
	ck_assert_int_eq(fake_req_run(bd, BLK_READ, back, 8192, 0), 0);
	ck_assert_mem_eq(back + 4096, zeroes, 4096);
}
END_TEST

/* Blocks larger than sectors: random writes, many at a time, touching the same blocks, from odd buffers. */
START_TEST(read_modify_write)
{
	enum { N = 200, AREA = 64 * 1024 };
	static struct fake_req r[N];
	static uint8_t model[AREA];
	struct blk_file_config cfg = config(_i);

	dio_align = 4096;
	file_make(SIZE);
	cfg.cache = BLK_CACHE_NONE;
	must_open(&cfg);
	ck_assert_uint_eq(bd->physical_block, 4096);
	memset(model, 0, AREA);
	srandom(1);
	for (int round = 0; round < 10; round++) {
		unsigned sector = 0, n = 0;

		/* Side by side, so that the result is known; in the order of a shuffle of sorts. */
		while (sector < AREA / 512 && n < N) {
			unsigned len = 1 + (unsigned)random() % 12, skip = (unsigned)random() % 3;
			uint8_t *from = buf + random() % 4096;

			sector += skip;
			len = (unsigned)min_u64(len, AREA / 512 - min_u64(sector, AREA / 512));
			if (len == 0)
				break;
			memcpy(model + sector * 512, from, len * 512);
			fake_req_start(bd, &r[n++], BLK_WRITE, from, len * 512, sector * 512);
			sector += len;
		}
		blockdev_drain(bd);
		for (unsigned i = 0; i < n; i++)
			ck_assert(r[i].times == 1 && r[i].result == 0);
		file_holds(model, AREA, 0);
		memset(back, 0, AREA);
		ck_assert_int_eq(fake_req_run(bd, BLK_READ, back, AREA - 1024, 512), 0);
		ck_assert_mem_eq(back, model + 512, AREA - 1024);
	}
	/* The same sector again and again: the last one wins. */
	for (unsigned i = 0; i < N; i++)
		fake_req_start(bd, &r[i], BLK_WRITE, buf + i * 512, 512, 512);
	blockdev_drain(bd);
	file_holds(buf + (N - 1) * 512, 512, 512);
	/* More odd ones than there are bounce buffers. */
	for (unsigned i = 0; i < N; i++)
		fake_req_start(bd, &r[i], BLK_WRITE, buf + 1, 4096, i * 4096);
	blockdev_drain(bd);
	for (unsigned i = 0; i < N; i++)
		ck_assert(r[i].times == 1 && r[i].result == 0);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE_ZEROES, NULL, 5120, 512), 0);
}
END_TEST

static void piece_done(struct blk_req *req, int result)
{
	req->result = result;
}

static void in_pieces(enum blk_op op, const struct iovec *iov, size_t n)
{
	struct blk_req req = { .op = op, .off = 4096, .len = 4096, .iov = iov, .n = n, .done = piece_done, .result = 1 };

	blockdev_submit(bd, &req);
	blockdev_drain(bd);
	ck_assert_int_eq(req.result, 0);
}

/* A whole block in buffers that are none, as when a format puts what it read around what it was given. */
START_TEST(blocks_in_pieces)
{
	struct blk_file_config cfg = config(_i);
	struct iovec iov[] = { { back, 512 }, { back + 4096, 3072 }, { back + 1024, 512 } };

	dio_align = 4096;
	dio_mem = 512;
	file_make(SIZE);
	cfg.cache = BLK_CACHE_NONE;
	must_open(&cfg);
	memcpy(iov[0].iov_base, buf, 512);
	memcpy(iov[1].iov_base, buf + 512, 3072);
	memcpy(iov[2].iov_base, buf + 3584, 512);
	in_pieces(BLK_WRITE, iov, ARRAY_SIZE(iov));
	file_holds(buf, 4096, 4096);
	memset(back, 0, 8192);
	in_pieces(BLK_READ, iov, ARRAY_SIZE(iov));
	ck_assert_mem_eq(iov[1].iov_base, buf + 512, 3072);
	ck_assert_mem_eq(iov[2].iov_base, buf + 3584, 512);
	ck_assert_uint_eq(n_pieces, 0);
}
END_TEST

START_TEST(direct_needs_whole_blocks)
{
	struct blk_file_config cfg = config(_i);

	dio_align = 4096;
	file_make(SIZE - 512);
	cfg.cache = BLK_CACHE_NONE;
	must_open(&cfg); /* through the page cache, with a warning */
	ck_assert_uint_eq(bd->size, SIZE - 512);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 512, SIZE - 1024), 0);
	struct stat st;
	stat(path, &st);
	ck_assert_int_eq(st.st_size, SIZE - 512);
}
END_TEST

START_TEST(many_buffers)
{
	for (int cache = 0; cache < 2; cache++) {
		struct blk_file_config cfg = config(_i);
		static struct iovec v[3000];
		struct fake_req r;

		file_make(2 * SIZE);
		cfg.cache = cache ? BLK_CACHE_NONE : BLK_CACHE_WRITEBACK;
		must_open(&cfg);
		for (unsigned op = BLK_READ; op <= BLK_WRITE; op++) {
			for (unsigned i = 0; i < 3000; i++)
				v[i] = (struct iovec){ buf + (i * 512) % SIZE, 512 };
			fake_req_start(bd, &r, BLK_READ, NULL, 0, 0);
			fake_req_wait(bd, &r);
			r.req.op = op ? BLK_READ : BLK_WRITE;
			r.req.iov = v;
			r.req.n = 2000;
			r.req.len = 2000 * 512;
			r.times = 0;
			if (op)
				memset(buf, 0, 2000 * 512);
			blockdev_submit(bd, &r.req);
			ck_assert_int_eq(fake_req_wait(bd, &r), 0);
			ck_assert(fake_stream_ok(buf, 0, 2000 * 512));
		}
		file_holds(buf, 2000 * 512, 0);
		blockdev_close(bd);
		bd = NULL;
	}
}
END_TEST

/* The kernel does a little at a time. */
START_TEST(short_results)
{
	for (int cache = 0; cache < 2; cache++) {
		struct blk_file_config cfg = config(_i);

		file_make(SIZE);
		cfg.cache = cache ? BLK_CACHE_NONE : BLK_CACHE_WRITEBACK;
		must_open(&cfg);
		short_len = cache ? 1024 : 700;
		ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 20480, 512), 0);
		file_holds(buf, 20480, 512);
		expect_stream(512, 20480, buf);
		ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf + 1, 20480, 512), 0);
		file_holds(buf + 1, 20480, 512);
		ck_assert_int_eq(fake_req_run(bd, BLK_READ, back + 1, 20480, 512), 0);
		ck_assert_mem_eq(back + 1, buf + 1, 20480);
		short_len = 0;
		blockdev_close(bd);
		bd = NULL;
	}
}
END_TEST

START_TEST(failures)
{
	struct blk_file_config cfg = config(_i);

	file_make(SIZE);
	must_open(&cfg);
	fail_op = URING_READV, fail_with = EIO;
	ck_assert_int_eq(fake_req_run(bd, BLK_READ, back, 512, 0), -EIO);
	fail_op = URING_WRITEV, fail_with = ENOSPC;
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 512, 0), -ENOSPC);
	short_len = 512, fail_after = 3; /* in the middle */
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 4096, 0), -ENOSPC);
	short_len = 0, fail_after = 0, fail_op = -1;
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 4096, 0), 0);
	file_holds(buf, 4096, 0);
	/* Lost data stays lost. */
	fail_op = URING_FDATASYNC, fail_with = EIO;
	ck_assert_int_eq(fake_req_run(bd, BLK_FLUSH, NULL, 0, 0), -EIO);
	fail_op = -1;
	ck_assert_int_eq(fake_req_run(bd, BLK_FLUSH, NULL, 0, 0), -EIO);
}
END_TEST

static blkcnt_t blocks(void)
{
	struct stat st;

	stat(path, &st);
	return st.st_blocks;
}

START_TEST(zeroes)
{
	struct blk_file_config cfg = config(_i);
	static const uint8_t none[SIZE];
	struct fake_req r;
	blkcnt_t full;

	file_make(SIZE);
	cfg.discard = BLK_DISCARD_UNMAP;
	cfg.detect_zeroes = true;
	must_open(&cfg);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, SIZE, 0), 0);
	ck_assert_int_eq(fake_req_run(bd, BLK_FLUSH, NULL, 0, 0), 0);
	full = blocks();
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE_ZEROES, NULL, 66048, 512), 0);
	file_holds(none, 66048, 512);
	file_holds(buf, 512, 0);
	file_holds(buf + 66560, 512, 66560);
	ck_assert_int_eq(blocks(), full); /* not unless asked */
	fake_req_start(bd, &r, BLK_READ, NULL, 0, 0);
	fake_req_wait(bd, &r);
	r.times = 0, r.req.op = BLK_WRITE_ZEROES, r.req.flags = BLK_REQ_UNMAP, r.req.len = 65536;
	blockdev_submit(bd, &r.req);
	ck_assert_int_eq(fake_req_wait(bd, &r), 0);
	ck_assert_int_lt(blocks(), full);
	ck_assert_int_eq(fake_req_run(bd, BLK_DISCARD, NULL, SIZE / 2, SIZE / 2), 0);
	ck_assert_int_lt(blocks(), full / 2 + 64);
	calls[URING_WRITEV] = 0;
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, none, 131072, 131072), 0);
	ck_assert_uint_eq(calls[URING_WRITEV], 0);
	file_holds(none, 131072, 131072);
	/* A file system that knows none of it: written, and not asked twice. */
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, SIZE, 0), 0);
	fail_op = URING_FALLOCATE, fail_with = EOPNOTSUPP;
	calls[URING_FALLOCATE] = 0;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(fake_req_run(bd, BLK_WRITE_ZEROES, NULL, SIZE - 1024, 512), 0);
	ck_assert_uint_eq(calls[URING_FALLOCATE], 1);
	file_holds(none, SIZE - 1024, 512);
	file_holds(buf, 512, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(fake_req_run(bd, BLK_DISCARD, NULL, 4096, 0), 0);
	ck_assert_uint_eq(calls[URING_FALLOCATE], 2);
}
END_TEST

START_TEST(discard_ignored)
{
	struct blk_file_config cfg = config(_i);

	file_make(SIZE);
	must_open(&cfg);
	ck_assert(!bd->discard);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 4096, 0), 0);
	ck_assert_int_eq(fake_req_run(bd, BLK_DISCARD, NULL, 4096, 0), 0);
	file_holds(buf, 4096, 0);
}
END_TEST

static void refuse(const struct blk_file_config *cfg, int code, const char *text)
{
	struct err err = ERR_INIT;

	ck_assert_ptr_null(raw_open(cfg, &err));
	ck_assert_int_eq(err.code, code);
	ck_assert_msg(strstr(err.msg, text) && strstr(err.msg, cfg->path), "%s", err.msg);
}

START_TEST(locks)
{
	struct blk_file_config cfg = config(_i), reader = cfg, unlocked = cfg;
	struct err err = ERR_INIT;
	struct blockdev *second;
	int ready[2], status;
	char c, want[64];
	pid_t pid;

	reader.read_only = true;
	unlocked.lock = false;
	file_make(SIZE);
	must_open(&cfg);
	refuse(&cfg, -EBUSY, "this machine uses it already");
	refuse(&reader, -EBUSY, "this machine uses it already");
	second = raw_open(&unlocked, &err);
	ck_assert_ptr_nonnull(second);
	blockdev_close(second);
	blockdev_close(bd);
	must_open(&reader);
	second = raw_open(&reader, &err);
	ck_assert_ptr_nonnull(second);
	refuse(&cfg, -EBUSY, "");
	blockdev_close(second);
	blockdev_close(bd);
	bd = NULL;
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct blockdev *other = raw_open(&cfg, &err);

		(void)!write(ready[1], other ? "y" : "n", 1);
		pause();
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	ck_assert_int_eq(c, 'y');
	snprintf(want, sizeof(want), "in use by process %d (test_raw)", (int)pid);
	refuse(&cfg, -EBUSY, want);
	refuse(&reader, -EBUSY, want);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	must_open(&cfg);
}
END_TEST

START_TEST(what_is_refused)
{
	struct blk_file_config cfg = config(_i);
	char name[80];

	cfg.path = dir;
	refuse(&cfg, -EINVAL, "a directory");
	cfg.path = name;
	snprintf(name, sizeof(name), "%s/fifo", dir);
	ck_assert_int_eq(mkfifo(name, 0600), 0);
	refuse(&cfg, -EINVAL, "a FIFO");
	cfg.path = "/dev/null";
	refuse(&cfg, -EINVAL, "a character device");
	cfg.path = "/nonexistent/disk.img";
	refuse(&cfg, -ENOENT, "No such file");
	file_make(SIZE);
	snprintf(name, sizeof(name), "%s/link", dir);
	ck_assert_int_eq(symlink(path, name), 0);
	cfg.path = name;
	must_open(&cfg);
}
END_TEST

START_TEST(read_only)
{
	struct blk_file_config cfg = config(_i);

	file_make(SIZE);
	cfg.read_only = true;
	must_open(&cfg);
	ck_assert(bd->read_only && !bd->discard && !bd->write_zeroes);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 512, 0), -EROFS);
	ck_assert_int_eq(fake_req_run(bd, BLK_FLUSH, NULL, 0, 0), 0);
	blockdev_close(bd);
	bd = NULL;
	chmod(path, 0444);
	chmod(dir, 0755);
	if (geteuid() == 0)
		ck_assert_int_eq(seteuid(65534), 0);
	cfg.read_only = false;
	refuse(&cfg, -EACCES, "readonly=on");
	cfg.auto_read_only = true;
	must_open(&cfg);
	ck_assert(bd->read_only);
	if (getuid() == 0)
		ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(resize)
{
	struct blk_file_config cfg = config(_i);
	struct stat st;

	file_make(0);
	must_open(&cfg);
	ck_assert_uint_eq(bd->size, 0);
	ck_assert_int_eq(blockdev_resize(bd, SIZE), 0);
	stat(path, &st);
	ck_assert_int_eq(st.st_size, SIZE);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 512, SIZE - 512), 0);
	ck_assert_int_eq(blockdev_resize(bd, 512), 0);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 512, 512), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("raw");
	TCase *tc = tcase_create("raw");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, cache_modes, 0, 2);
	tcase_add_loop_test(tc, odd_length, 0, 2);
	tcase_add_loop_test(tc, truncated, 0, 2);
	tcase_add_loop_test(tc, read_modify_write, 0, 2);
	tcase_add_loop_test(tc, blocks_in_pieces, 0, 2);
	tcase_add_loop_test(tc, direct_needs_whole_blocks, 0, 2);
	tcase_add_loop_test(tc, many_buffers, 0, 2);
	tcase_add_loop_test(tc, short_results, 0, 2);
	tcase_add_loop_test(tc, failures, 0, 2);
	tcase_add_loop_test(tc, zeroes, 0, 2);
	tcase_add_loop_test(tc, discard_ignored, 0, 2);
	tcase_add_loop_test(tc, locks, 0, 2);
	tcase_add_loop_test(tc, what_is_refused, 0, 2);
	tcase_add_loop_test(tc, read_only, 0, 2);
	tcase_add_loop_test(tc, resize, 0, 2);
	tcase_set_timeout(tc, 60);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
