/* SPDX-License-Identifier: MIT */
/*
 * Images go back and forth between Kite and qemu-img, in every combination of features: made by one, read, continued and checked by the
 * other. Without qemu-img there is nothing to compare with, and the tests do nothing.
 */
#include <check.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blk/image.h"
#include "blk/qcow2.h"
#include "tests/unit/fake_file.h"
#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/uring.h"
#include "vmm/util.h"

#define SIZE (8u << 20)
#define NAME 128

static struct eventloop *loop;
static struct uring *uring;
static char dir[] = "/var/tmp/kite-qcow2-XXXXXX";
static uint8_t *model, *buf;
static uint64_t seed = 1;

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int sh(const char *fmt, ...)
{
	char cmd[2048], text[1800];
	va_list ap;
	int rc;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(cmd, sizeof(cmd), "cd %s && { %s; } >log 2>&1", dir, text);
	rc = system(cmd);
	return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

static void must(int rc, const char *what)
{
	char cmd[NAME];

	if (rc == 0)
		return;
	snprintf(cmd, sizeof(cmd), "tail -5 %s/log", dir);
	ck_assert_int_ge(system(cmd), 0);
	ck_abort_msg("%s: status %d", what, rc);
}

static bool have_qemu(void)
{
	return system("qemu-img --version >/dev/null 2>&1 && qemu-io --version >/dev/null 2>&1") == 0;
}

static void setup(void)
{
	struct err err = ERR_INIT;

	strcpy(dir, "/var/tmp/kite-qcow2-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(posix_memalign((void **)&model, 4096, 2 * SIZE), 0);
	ck_assert_int_eq(posix_memalign((void **)&buf, 4096, 2 * SIZE), 0);
	memset(model, 0, 2 * SIZE);
	loop = fake_loop();
	uring = uring_create(loop, false, &err);
	log_set_level(LOG_LEVEL_ERROR);
}

static void teardown(void)
{
	char cmd[NAME];

	uring_destroy(uring);
	eventloop_destroy(loop);
	free(model);
	free(buf);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static char *path_of(const char *name)
{
	static char paths[4][NAME];
	static unsigned i;
	char *p = paths[i++ % 4];

	snprintf(p, NAME, "%s/%s", dir, name);
	return p;
}

static struct blockdev *image(const char *name, bool read_only, const char *snapshot)
{
	struct image_config cfg = { .path = path_of(name), .format = "qcow2", .read_only = read_only, .snapshot = snapshot,
				    .discard = BLK_DISCARD_UNMAP, .uring = uring, .loop = loop };
	struct err err = ERR_INIT;
	struct blockdev *bd = image_open(&cfg, &err);

	ck_assert_msg(bd != NULL, "%s", err.msg);
	return bd;
}

static void same(struct blockdev *bd, const uint8_t *want, uint64_t len)
{
	uint64_t i = 0;

	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, len), 0);
	if (memcmp(buf, want, len) == 0)
		return;
	while (buf[i] == want[i])
		i++;
	ck_abort_msg("byte 0x%llx is 0x%x, not 0x%x", (unsigned long long)i, buf[i], want[i]);
}

/* The raw file `name` into `to`. */
static void load(const char *name, uint8_t *to, uint64_t len)
{
	FILE *f = fopen(path_of(name), "re");

	ck_assert_ptr_nonnull(f);
	memset(to, 0, len);
	ck_assert_uint_gt(fread(to, 1, len, f), 0);
	fclose(f);
}

static void scribble_for(struct blockdev *bd, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t off = align_down(fake_random(&seed) % bd->size, 512), len = 512 * (1 + fake_random(&seed) % 400);
		unsigned what = (unsigned)(fake_random(&seed) % 6);

		len = min_u64(len, bd->size - off);
		if (what == 0) {
			ck_assert_int_eq(blockdev_do(bd, BLK_WRITE_ZEROES, fake_random(&seed) % 2 ? BLK_REQ_UNMAP : 0, off, NULL, len), 0);
			memset(model + off, 0, len);
			continue;
		}
		if (what == 1) {
			ck_assert_int_eq(blockdev_do(bd, BLK_DISCARD, 0, off, NULL, len), 0);
			ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, off, model + off, len), 0);
			continue;
		}
		for (uint64_t k = 0; k < len; k++)
			model[off + k] = (uint8_t)(what == 2 ? fake_random(&seed) : i + 1);
		memcpy(buf, model + off, len);
		ck_assert_int_eq(blockdev_do(bd, BLK_WRITE, 0, off, buf, len), 0);
	}
}

static void scribble(struct blockdev *bd)
{
	scribble_for(bd, 150);
}

static void check_here(struct blockdev *bd, bool tidy)
{
	struct qcow2_check_result res;
	struct err err = ERR_INIT;

	ck_assert_msg(qcow2_check(bd, 0, NULL, NULL, &res, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(res.corruptions + res.check_errors, 0);
	ck_assert(!tidy || res.leaks == 0);
}

static void model_save(uint64_t len)
{
	FILE *f = fopen(path_of("model.raw"), "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(model, 1, len, f), len);
	fclose(f);
}

static void qemu_agrees(const char *name, uint64_t len)
{
	model_save(len);
	must(sh("qemu-img check -f qcow2 %s", name), "qemu-img check");
	must(sh("qemu-img compare -f qcow2 -F raw %s model.raw", name), "qemu-img compare");
}

static const char *const options[] = {
	"compat=0.10", "compat=1.1", "compat=1.1,lazy_refcounts=on", "cluster_size=512", "cluster_size=4k,refcount_bits=1",
	"cluster_size=2M", "refcount_bits=64", "refcount_bits=2,cluster_size=8k", "compression_type=zstd", "extended_l2=on",
	"extended_l2=on,cluster_size=16k", "preallocation=metadata", "preallocation=falloc", "preallocation=full",
	"preallocation=metadata,extended_l2=on", "data_file=ext.raw", "data_file=ext.raw,data_file_raw=on",
};

/* Made and first written by QEMU. */
START_TEST(test_from_qemu)
{
	struct blockdev *bd;

	if (!have_qemu())
		return;
	must(sh("qemu-img create -f qcow2 -o %s a.qcow2 %u", options[_i], SIZE), "create");
	must(sh("qemu-io -f qcow2 -c 'write -P 1 0 1M' -c 'write -P 2 1500k 3k' -c 'write -z 64k 256k' -c 'write -P 7 4M 100k' "
		"-c 'discard 4M 64k' -c 'write -P 9 7M 1M' a.qcow2"), "qemu-io");
	if (!strstr(options[_i], "data_file"))
		must(sh("qemu-io -f qcow2 -c 'write -c -P 5 6M 64k' a.qcow2 || true"), "compressed");
	must(sh("qemu-img convert -f qcow2 -O raw a.qcow2 a.raw"), "convert");
	load("a.raw", model, SIZE);
	bd = image("a.qcow2", true, NULL);
	same(bd, model, SIZE);
	check_here(bd, true);
	blockdev_close(bd);
	bd = image("a.qcow2", false, NULL);
	scribble(bd);
	same(bd, model, SIZE);
	blockdev_close(bd);
	qemu_agrees("a.qcow2", SIZE);
	/* And on by QEMU. */
	must(sh("qemu-io -f qcow2 -c 'write -P 3 300k 2M' -c 'discard 5M 1M' a.qcow2"), "qemu-io");
	must(sh("qemu-img check -f qcow2 a.qcow2 && qemu-img convert -f qcow2 -O raw a.qcow2 a.raw"), "convert");
	load("a.raw", model, SIZE);
	bd = image("a.qcow2", true, NULL);
	same(bd, model, SIZE);
	blockdev_close(bd);
}
END_TEST

static const struct qcow2_create_config creates[] = {
	{ .version = 2 },
	{ .version = 3 },
	{ .cluster_size = 512 },
	{ .cluster_size = 2 << 20 },
	{ .cluster_size = 4096, .refcount_bits = 64 },
	{ .cluster_size = 4096, .refcount_bits = 1 },
	{ .lazy_refcounts = true },
	{ .extended_l2 = true },
	{ .compression = QCOW2_ZSTD },
	{ .prealloc = BLK_PREALLOC_METADATA },
	{ .prealloc = BLK_PREALLOC_FALLOC },
	{ .prealloc = BLK_PREALLOC_FULL, .cluster_size = 4096 },
	{ .prealloc = BLK_PREALLOC_METADATA, .extended_l2 = true },
	{ .data_file = "ext.raw" },
	{ .data_file = "ext.raw", .data_file_raw = true },
};

static struct blockdev *file_make(const char *name)
{
	struct blk_file_config cfg = { .path = path_of(name), .grows = true, .lock = true, .uring = uring, .loop = loop };
	struct err err = ERR_INIT;
	struct blockdev *file;

	close(open(cfg.path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
	file = raw_open(&cfg, &err);
	ck_assert_msg(file != NULL, "%s", err.msg);
	return file;
}

static void create(const char *name, const struct qcow2_create_config *what)
{
	struct qcow2_create_config cfg = *what;
	struct blockdev *file = file_make(name), *data = cfg.data_file ? file_make(cfg.data_file) : NULL;
	struct err err = ERR_INIT;

	cfg.size = cfg.size ? cfg.size : SIZE;
	cfg.data = data;
	ck_assert_msg(qcow2_create(file, &cfg, &err) == 0, "%s", err.msg);
	blockdev_close(file);
	blockdev_close(data);
}

static void write_compressed(struct blockdev *bd)
{
	struct qcow2_info info;

	ck_assert_int_eq(qcow2_info(bd, &info), 0);
	for (uint64_t off = 0; off < SIZE / 4; off += info.cluster_size) {
		for (uint64_t i = 0; i < info.cluster_size; i++)
			model[off + i] = (uint8_t)((off + i) / 100);
		memcpy(buf, model + off, info.cluster_size);
		ck_assert_int_eq(blockdev_do(bd, BLK_WRITE, BLK_REQ_COMPRESSED, off, buf, info.cluster_size), 0);
	}
}

START_TEST(test_to_qemu)
{
	struct blockdev *bd;

	if (!have_qemu())
		return;
	create("k.qcow2", &creates[_i]);
	must(sh("qemu-img check -f qcow2 k.qcow2"), "check of a new image");
	bd = image("k.qcow2", false, NULL);
	if (!creates[_i].data_file)
		write_compressed(bd);
	scribble(bd);
	same(bd, model, SIZE);
	blockdev_close(bd);
	qemu_agrees("k.qcow2", SIZE);
	bd = image("k.qcow2", false, NULL);
	ck_assert_int_eq(blockdev_resize(bd, SIZE + SIZE / 2), 0);
	memset(model + SIZE, 0, SIZE);
	scribble(bd);
	ck_assert_int_eq(blockdev_resize(bd, SIZE - 65536), 0);
	blockdev_close(bd);
	qemu_agrees("k.qcow2", SIZE - 65536);
}
END_TEST

START_TEST(test_snapshots)
{
	struct qcow2_snapshot_info *list;
	struct err err = ERR_INIT;
	struct blockdev *bd;
	uint8_t *then = malloc(SIZE);

	if (!have_qemu())
		return;
	create("k.qcow2", &creates[_i ? 7 : 1]);
	bd = image("k.qcow2", false, NULL);
	scribble(bd);
	ck_assert_msg(qcow2_snapshot_create(bd, "one", &err) == 0, "%s", err.msg);
	memcpy(then, model, SIZE);
	scribble(bd);
	ck_assert_msg(qcow2_snapshot_create(bd, "two", &err) == 0, "%s", err.msg);
	ck_assert_int_eq(qcow2_snapshots(bd, &list), 2);
	ck_assert_str_eq(list[1].name, "two");
	qcow2_snapshots_free(list, 2);
	blockdev_close(bd);
	qemu_agrees("k.qcow2", SIZE);
	must(sh("qemu-img snapshot -a one k.qcow2 && qemu-img snapshot -c three k.qcow2 && qemu-img check k.qcow2"), "snapshots");
	bd = image("k.qcow2", true, "two");
	same(bd, model, SIZE);
	blockdev_close(bd);
	memcpy(model, then, SIZE);
	bd = image("k.qcow2", false, NULL);
	same(bd, model, SIZE);
	scribble(bd);
	ck_assert_int_eq(qcow2_snapshot_delete(bd, "two", &err), 0);
	ck_assert_int_eq(qcow2_snapshot_apply(bd, "three", &err), 0);
	ck_assert_int_eq(qcow2_snapshot_delete(bd, "one", &err), 0);
	ck_assert_int_eq(qcow2_snapshot_delete(bd, "three", &err), 0);
	blockdev_close(bd);
	memcpy(model, then, SIZE);
	qemu_agrees("k.qcow2", SIZE);
	free(then);
}
END_TEST

/* Overlays over a shorter backing file, with a relative path, from both. */
START_TEST(test_backing)
{
	struct qcow2_create_config over = { .backing_file = "base.qcow2", .backing_format = "qcow2", .extended_l2 = _i };
	struct qcow2_create_config base = { .size = SIZE / 2 };
	struct err err = ERR_INIT;
	struct blockdev *bd;

	if (!have_qemu())
		return;
	create("base.qcow2", &base);
	bd = image("base.qcow2", false, NULL);
	scribble(bd);
	blockdev_close(bd);
	create("over.qcow2", &over);
	bd = image("over.qcow2", false, NULL);
	scribble(bd);
	same(bd, model, SIZE);
	blockdev_close(bd);
	qemu_agrees("over.qcow2", SIZE);
	must(sh("qemu-img create -f qcow2 -b over.qcow2 -F qcow2 top.qcow2 && qemu-io -c 'write -P 3 300k 2M' top.qcow2 && "
		"qemu-img convert top.qcow2 -O raw a.raw"), "a third");
	load("a.raw", model, SIZE);
	bd = image("top.qcow2", false, NULL);
	same(bd, model, SIZE);
	scribble(bd);
	blockdev_close(bd);
	qemu_agrees("top.qcow2", SIZE);
	bd = image("top.qcow2", false, NULL);
	ck_assert_msg(qcow2_change_backing(bd, "base.qcow2", "qcow2", &err) == 0, "%s", err.msg);
	blockdev_close(bd);
	must(sh("qemu-img info top.qcow2 | grep 'backing file: base.qcow2' && qemu-img check top.qcow2"), "rebase");
}
END_TEST

START_TEST(test_repair)
{
	struct qcow2_check_result res;
	struct err err = ERR_INIT;
	struct image_config cfg = { .path = path_of("k.qcow2"), .format = "qcow2", .repair = true, .uring = uring, .loop = loop };
	struct blockdev *bd;
	int fd;

	if (!have_qemu())
		return;
	create("k.qcow2", &creates[1]);
	bd = image("k.qcow2", false, NULL);
	scribble(bd);
	blockdev_close(bd);
	/* Refcounts, or the refcount table, become nonsense; or the header says dirty and corrupt. */
	fd = open(cfg.path, O_RDWR | O_CLOEXEC);
	memset(buf, _i == 1 ? 0x5a : 0, 4096);
	if (_i == 2)
		ck_assert_int_eq(pwrite(fd, "\3", 1, 79), 1);
	else
		ck_assert_int_eq(pwrite(fd, buf, 64, _i == 0 ? 131072 : 65536), 64);
	close(fd);
	bd = image_open(&cfg, &err);
	ck_assert_msg(bd != NULL, "%s", err.msg);
	ck_assert_msg(qcow2_check(bd, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS, NULL, NULL, &res, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(res.corruptions + res.leaks, 0);
	blockdev_close(bd);
	qemu_agrees("k.qcow2", SIZE);
}
END_TEST

/* Every way to the host's disk, with clusters smaller and larger than its blocks. */
START_TEST(test_cache_modes)
{
	static const enum blk_cache modes[] = { BLK_CACHE_WRITEBACK, BLK_CACHE_NONE, BLK_CACHE_WRITETHROUGH, BLK_CACHE_DIRECTSYNC, BLK_CACHE_UNSAFE };
	struct qcow2_create_config over = { .backing_file = "base.qcow2", .backing_format = "qcow2", .cluster_size = _i % 2 ? 512 : 65536 };
	struct qcow2_create_config base = { .size = SIZE / 2, .cluster_size = 1024 };
	struct image_config cfg = { .path = path_of("over.qcow2"), .format = "qcow2", .discard = BLK_DISCARD_UNMAP, .cache = modes[_i / 2],
				    .uring = uring, .loop = loop };
	unsigned n = cfg.cache == BLK_CACHE_WRITETHROUGH || cfg.cache == BLK_CACHE_DIRECTSYNC ? 4 : 100; /* each write waits for the disk */
	struct err err = ERR_INIT;
	struct blockdev *bd;

	if (!have_qemu())
		return;
	create("base.qcow2", &base);
	bd = image("base.qcow2", false, NULL);
	write_compressed(bd);
	scribble(bd);
	blockdev_close(bd);
	create("over.qcow2", &over);
	bd = image_open(&cfg, &err);
	if (!bd && (cfg.cache == BLK_CACHE_NONE || cfg.cache == BLK_CACHE_DIRECTSYNC))
		return; /* no O_DIRECT here */
	ck_assert_msg(bd != NULL, "%s", err.msg);
	if (_i % 2 == 0 && n > 10)
		write_compressed(bd);
	scribble_for(bd, n);
	ck_assert_int_eq(qcow2_snapshot_create(bd, "s", &err), 0);
	scribble_for(bd, n);
	ck_assert_int_eq(blockdev_resize(bd, SIZE + 65536), 0);
	memset(model + SIZE, 0, 65536);
	same(bd, model, SIZE + 65536);
	blockdev_close(bd);
	qemu_agrees("over.qcow2", SIZE + 65536);
}
END_TEST

/* Bitmaps of QEMU's: what follows writes is in use after ours, the others stay, and nothing is lost. */
START_TEST(test_bitmaps)
{
	struct qcow2_bitmap_info *list;
	struct err err = ERR_INIT;
	struct blockdev *bd;

	if (!have_qemu())
		return;
	must(sh("qemu-img create -f qcow2 b.qcow2 %u && qemu-img bitmap --add -g 64k b.qcow2 b0 && qemu-img bitmap --add --disable b.qcow2 b1", SIZE), "add");
	bd = image("b.qcow2", true, NULL);
	check_here(bd, true);
	blockdev_close(bd);
	must(sh("! qemu-img info b.qcow2 | grep -q in-use"), "not touched by a reader");
	bd = image("b.qcow2", false, NULL);
	scribble(bd);
	check_here(bd, true);
	blockdev_close(bd);
	qemu_agrees("b.qcow2", SIZE);
	must(sh("[ $(qemu-img info b.qcow2 | grep -c in-use) = 1 ]"), "one in use");
	bd = image("b.qcow2", true, NULL);
	ck_assert_int_eq(qcow2_bitmaps(bd, &list, &err), 2);
	ck_assert_uint_eq(list[0].flags, QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE);
	ck_assert_uint_eq(list[1].flags, 0);
	qcow2_bitmaps_free(list, 2);
	blockdev_close(bd);
	must(sh("qemu-img bitmap --remove b.qcow2 b0 && qemu-img bitmap --enable b.qcow2 b1 && qemu-img check b.qcow2"), "remove");
	bd = image("b.qcow2", false, NULL);
	ck_assert_int_eq(blockdev_resize(bd, SIZE + 65536), 0);
	blockdev_close(bd);
	must(sh("qemu-img check b.qcow2 && qemu-img bitmap --remove b.qcow2 b1 && qemu-img check b.qcow2"), "after a resize");
}
END_TEST

/* A guest may have written what a probed image says of other files. */
START_TEST(test_probed_is_not_trusted)
{
	struct image_config cfg = { .path = path_of("over.qcow2"), .read_only = true, .uring = uring, .loop = loop };
	struct qcow2_create_config over = { .backing_file = "base.qcow2", .backing_format = "qcow2" }, loops = { .backing_file = "loop.qcow2" };
	struct err err = ERR_INIT;
	struct blockdev *bd;

	create("base.qcow2", &creates[1]);
	create("over.qcow2", &over);
	loops.backing_format = "qcow2";
	create("loop.qcow2", &loops);
	ck_assert_ptr_null(image_open(&cfg, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "format=qcow2"));
	cfg.no_backing = true;
	bd = image_open(&cfg, &err);
	ck_assert_ptr_nonnull(bd);
	blockdev_close(bd);
	cfg.no_backing = false;
	cfg.path = path_of("base.qcow2");
	bd = image_open(&cfg, &err);
	ck_assert_ptr_nonnull(bd);
	blockdev_close(bd);
	cfg.path = path_of("loop.qcow2");
	cfg.format = "qcow2";
	ck_assert_ptr_null(image_open(&cfg, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "its own backing file"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qcow2_qemu");
	TCase *tests = tcase_create("qcow2_qemu"), *modes = tcase_create("modes");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 120);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, test_from_qemu, 0, ARRAY_SIZE(options));
	tcase_add_loop_test(tests, test_to_qemu, 0, ARRAY_SIZE(creates));
	tcase_add_loop_test(tests, test_snapshots, 0, 2);
	tcase_add_loop_test(tests, test_backing, 0, 2);
	tcase_add_loop_test(tests, test_repair, 0, 3);
	tcase_set_timeout(modes, 120);
	tcase_add_checked_fixture(modes, setup, teardown);
	tcase_add_loop_test(modes, test_cache_modes, 0, 10);
	tcase_add_test(modes, test_bitmaps);
	tcase_add_test(tests, test_probed_is_not_trusted);
	suite_add_tcase(suite, tests);
	suite_add_tcase(suite, modes);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
