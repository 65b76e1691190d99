/* SPDX-License-Identifier: MIT */
/* Images of drives: formats, what stands on what, overlays that are thrown away, with real files. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk/blockdev.h"
#include "blk/image.h"
#include "blk/qcow2.h"
#include "blk/throttle.h"
#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/fdset.h"
#include "vmm/launch_image.h"
#include "vmm/log.h"
#include "vmm/uring.h"
#include "vmm/util.h"

#define SIZE MIB
#define CLUSTER (64 * KIB)
#define NAME 128
#define FILES 8

static char dir[NAME / 2];
static struct image_host host;
static struct config_drive drives[4];
static struct err err;
static uint8_t *buf, *want;

/* ---- files ---- */

static const char *path_of(const char *name)
{
	static char paths[FILES][NAME];
	static unsigned i;
	char *p = paths[i++ % FILES];

	snprintf(p, NAME, "%s/%s", dir, name);
	return p;
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	strcpy(dir, "/var/tmp/kite-image-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	err = (struct err)ERR_INIT;
	host = (struct image_host){ .loop = fake_loop() };
	ck_assert_int_eq(posix_memalign((void **)&buf, 4096, SIZE), 0);
	ck_assert_int_eq(posix_memalign((void **)&want, 4096, SIZE), 0);
	unsetenv("TMPDIR");
}

static void teardown(void)
{
	char cmd[NAME + 8];

	for (size_t i = 0; i < ARRAY_SIZE(drives); i++)
		config_drive_fini(&drives[i]);
	for (size_t i = 0; i < ARRAY_SIZE(host.urings); i++)
		if (host.urings[i])
			uring_destroy(host.urings[i]);
	eventloop_destroy(host.loop);
	free(buf);
	free(want);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* A file of SIZE bytes that are all `fill`. */
static void make_raw(const char *name, int fill)
{
	int fd = open(path_of(name), O_CREAT | O_RDWR | O_TRUNC, 0600);

	memset(buf, fill, SIZE);
	ck_assert_int_ge(fd, 0);
	if (fill)
		ck_assert_int_eq(pwrite(fd, buf, SIZE, 0), SIZE);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	close(fd);
}

static void make_qcow2(const char *name, const struct qcow2_create_config *how)
{
	struct blk_file_config cfg = { .path = path_of(name), .grows = true, .loop = host.loop };
	struct qcow2_create_config make = how ? *how : (struct qcow2_create_config){ .size = SIZE };
	struct blockdev *file;

	close(open(cfg.path, O_CREAT | O_RDWR, 0600));
	if (!host.urings[0])
		host.urings[0] = uring_create(host.loop, false, &err);
	cfg.uring = host.urings[0];
	file = raw_open(&cfg, &err);
	ck_assert_msg(file != NULL, "%s", err.msg);
	ck_assert_msg(qcow2_create(file, &make, &err) == 0, "%s", err.msg);
	blockdev_close(file);
}

static void make_over(const char *name, const char *backing, const char *format)
{
	make_qcow2(name, &(struct qcow2_create_config){ .size = SIZE, .backing_file = backing, .backing_format = format });
}

static uint64_t sum_of(const char *name)
{
	FILE *f = fopen(path_of(name), "re");
	uint64_t sum = 14695981039346656037u, word;

	ck_assert_ptr_nonnull(f);
	while (fread(&word, sizeof(word), 1, f) == 1)
		sum = (sum ^ word) * 1099511628211u;
	fclose(f);
	return sum;
}

static long blocks_of(const char *name)
{
	struct stat st;

	ck_assert_int_eq(stat(path_of(name), &st), 0);
	return (long)st.st_blocks;
}

/* ---- drives ---- */

static struct config_image *image_init(struct config_image *image, const char *name, const char *format)
{
	*image = (struct config_image){ .path = strdup(path_of(name)), .format = format ? strdup(format) : NULL, .lock = true };
	return image;
}

static struct config_image *image_new(const char *name, const char *format)
{
	return image_init(calloc(1, sizeof(struct config_image)), name, format);
}

static struct config_drive *drive(unsigned i, const char *name, const char *format)
{
	static const char *const ids[] = { "a", "b", "c", "d" };

	config_drive_fini(&drives[i]);
	drives[i].id = strdup(ids[i]);
	image_init(&drives[i].image, name, format);
	return &drives[i];
}

static struct blockdev *drive_open(unsigned i)
{
	struct blockdev *bd = launch_image_open(&host, &drives[i], NULL, &err);

	ck_assert_msg(bd != NULL, "%s", err.msg);
	return bd;
}

static void refused(unsigned i, const char *words)
{
	ck_assert_ptr_null(launch_image_open(&host, &drives[i], NULL, &err));
	ck_assert_msg(strstr(err.msg, words) != NULL && strstr(err.msg, "drive '") == err.msg, "'%s' lacks '%s'", err.msg, words);
	err = (struct err)ERR_INIT;
}

static void put(struct blockdev *bd, uint64_t off, uint64_t len, int fill)
{
	memset(buf, fill, len);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE, 0, off, buf, len), 0);
}

static void has(struct blockdev *bd, uint64_t off, uint64_t len, int fill)
{
	memset(want, fill, len);
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, off, buf, len), 0);
	for (uint64_t i = 0; memcmp(buf, want, len) != 0 && i < len; i++)
		ck_assert_msg(buf[i] == want[i], "byte %llu is 0x%x, not 0x%x", (unsigned long long)(off + i), buf[i], want[i]);
}

/* ---- tests ---- */

START_TEST(test_formats)
{
	static const char *const formats[] = { "qcow2", "raw", NULL };
	struct blockdev *bd;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		make_qcow2("q", NULL);
		make_raw("r", 0);
		drive(0, i == 1 ? "r" : "q", formats[i]);
		drives[0].image.aio_threads = i == 1;
		bd = drive_open(0);
		ck_assert_uint_eq(bd->size, SIZE);
		ck_assert_str_eq(bd->ops->format, i == 1 ? "raw" : "qcow2");
		ck_assert(bd->write_cache && !bd->read_only);
		put(bd, 512, 1024, 7);
		blockdev_close(bd);
		drives[0].image.read_only = true;
		bd = drive_open(0);
		has(bd, 512, 1024, 7);
		has(bd, 0, 512, 0);
		ck_assert_int_eq(blockdev_do(bd, BLK_WRITE, 0, 0, buf, 512), -EROFS);
		blockdev_close(bd);
	}
	/* What a raw disk holds is not looked at. */
	make_raw("r", 0);
	drive(0, "q", "raw");
	bd = drive_open(0);
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, 0, buf, 512), 0);
	ck_assert_mem_eq(buf, "QFI\xfb", 4);
	blockdev_close(bd);
}
END_TEST

START_TEST(test_only_read)
{
	make_raw("v", 0);
	drive(0, "v", "vmdk");
	refused(0, "images of format vmdk can only be read; give readonly=on or snapshot=on, or convert it: kite-img convert");
	drives[0].image.read_only = true;
	refused(0, "v: "); /* and is none */
	drive(0, "v", "qcow2");
	refused(0, "v: ");
	drive(0, ".", NULL);
	refused(0, "is a directory");
	ck_assert_int_eq(mkfifo(path_of("fifo"), 0600), 0);
	drive(0, "fifo", NULL);
	refused(0, "is a FIFO");
	drive(0, "none", NULL);
	refused(0, "none: cannot open it: No such file or directory");
}
END_TEST

/* Files are opened by what the user says, not by what a guest may have written. */
START_TEST(test_probed)
{
	struct blockdev *bd;

	make_raw("secret", 's');
	make_over("q", "secret", "raw");
	drive(0, "q", NULL);
	refused(0, "looks like a qcow2 image with the backing file 'secret', but its format was not given; if it is to be trusted, give format=qcow2");
	drive(0, "q", "qcow2");
	bd = drive_open(0);
	has(bd, 0, 4096, 's');
	blockdev_close(bd);
	/* The user's own word for what is below, or that there is nothing. */
	make_raw("other", 'o');
	drive(0, "q", NULL)->image.backing = image_new("other", "raw");
	bd = drive_open(0);
	has(bd, 0, 4096, 'o');
	blockdev_close(bd);
	drive(0, "q", NULL)->image.no_backing = true;
	bd = drive_open(0);
	has(bd, 0, 4096, 0);
	blockdev_close(bd);
	/* A backing file whose format the header does not give is looked at under the same rule. */
	make_over("deep", "secret", NULL);
	make_over("q", "deep", NULL);
	drive(0, "q", "qcow2");
	refused(0, "deep: looks like a qcow2 image with the backing file 'secret'");
	drive(0, "deep", "qcow2");
	bd = drive_open(0);
	has(bd, 0, 4096, 's');
	blockdev_close(bd);
	/* An external data file is another file, too. */
	make_raw("data", 0);
	drive(1, "data", "raw");
	bd = drive_open(1);
	make_qcow2("q", &(struct qcow2_create_config){ .size = SIZE, .data_file = "secret", .data = bd });
	blockdev_close(bd);
	drive(0, "q", NULL);
	refused(0, "with the external data file 'secret'");
}
END_TEST

START_TEST(test_chain)
{
	struct blockdev *bd, *other;

	make_raw("base", 'b');
	make_over("mid", "base", "raw");
	make_over("top", "mid", "qcow2");
	drive(0, "mid", "qcow2");
	bd = drive_open(0);
	put(bd, CLUSTER, CLUSTER, 'm');
	blockdev_close(bd);
	drive(0, "top", "qcow2");
	bd = drive_open(0);
	put(bd, 2 * CLUSTER + 512, 512, 't');
	has(bd, 0, CLUSTER, 'b');
	has(bd, CLUSTER, CLUSTER, 'm');
	has(bd, 2 * CLUSTER, 512, 'b');
	has(bd, 2 * CLUSTER + 512, 512, 't');
	has(bd, 2 * CLUSTER + 1024, CLUSTER - 1024, 'b');
	/* What is below may be read by others, and not written. */
	drive(1, "mid", "qcow2");
	refused(1, "mid: this machine uses it already");
	drives[1].image.read_only = true;
	other = drive_open(1);
	has(other, CLUSTER, CLUSTER, 'm');
	blockdev_close(other);
	drive(1, "top", "qcow2")->image.read_only = true;
	refused(1, "top: this machine uses it already");
	blockdev_close(bd);
	/* The same by the user's words, with the middle left out; a base that is named twice is opened twice. */
	drive(0, "top", "qcow2")->image.backing = image_new("base", "raw");
	make_over("top2", "base", "raw");
	drive(1, "top2", "qcow2")->image.backing = image_new("top", NULL);
	drives[1].image.backing->backing = image_new("base", "raw");
	bd = drive_open(1);
	has(bd, CLUSTER, CLUSTER, 'b');
	has(bd, 2 * CLUSTER + 512, 512, 't');
	drive(2, "top", "qcow2")->image.read_only = true;
	other = drive_open(2);
	has(other, CLUSTER, CLUSTER, 'm');
	blockdev_close(other);
	blockdev_close(bd);
	/* What cannot be below. */
	drive(0, "top", "qcow2")->image.backing = image_new("top", "qcow2");
	refused(0, "is its own backing file");
	drive(0, "base", "raw")->image.backing = image_new("top", "qcow2");
	refused(0, "is of format raw, which has no backing or data file");
	drive(0, "top", "qcow2")->image.data_file = image_new("base", "raw");
	refused(0, "has no external data file; leave data-file= out");
}
END_TEST

START_TEST(test_data_file)
{
	struct blockdev *bd;

	make_raw("data", 0);
	drive(1, "data", "raw");
	bd = drive_open(1);
	make_qcow2("q", &(struct qcow2_create_config){ .size = SIZE, .data_file = "data", .data = bd });
	blockdev_close(bd);
	drive(0, "q", "qcow2");
	bd = drive_open(0);
	put(bd, 0, CLUSTER, 'd');
	blockdev_close(bd);
	ck_assert_int_eq(rename(path_of("data"), path_of("moved")), 0);
	refused(0, "data: cannot open it");
	drives[0].image.data_file = image_new("moved", "raw");
	bd = drive_open(0);
	has(bd, 0, CLUSTER, 'd');
	put(bd, CLUSTER, CLUSTER, 'e');
	blockdev_close(bd);
	drive(1, "moved", "raw");
	bd = drive_open(1);
	has(bd, CLUSTER, CLUSTER, 'e');
	blockdev_close(bd);
}
END_TEST

/* Everything can be written, and nothing is. */
START_TEST(test_snapshot)
{
	static const char *const names[] = { "q", "r", "q" };
	uint64_t before[2];
	struct blockdev *bd, *twin;

	make_raw("base", 'b');
	make_over("q", "base", "raw");
	make_raw("r", 'b');
	before[0] = sum_of("q");
	before[1] = sum_of("r");
	for (unsigned i = 0; i < 3; i++) {
		drive(0, names[i], i == 1 ? NULL : "qcow2")->snapshot = true;
		drives[0].image.cache = i == 2 ? CONFIG_CACHE_NONE : CONFIG_CACHE_WRITEBACK;
		drives[0].image.discard = i == 2;
		bd = drive_open(0);
		ck_assert_uint_eq(bd->size, SIZE);
		ck_assert(!bd->read_only);
		put(bd, 512, 512, 'w');
		put(bd, 4 * CLUSTER, 2 * CLUSTER, 'x');
		ck_assert_int_eq(blockdev_do(bd, BLK_WRITE_ZEROES, BLK_REQ_UNMAP, 5 * CLUSTER, NULL, CLUSTER), 0);
		ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
		/* Twice at a time. */
		drive(1, names[i], "qcow2")->snapshot = true;
		if (i != 1) {
			twin = drive_open(1);
			has(twin, 512, 512, 'b');
			put(twin, 512, 512, 'y');
			blockdev_close(twin);
		}
		has(bd, 0, 512, 'b');
		has(bd, 512, 512, 'w');
		has(bd, 1024, 3 * CLUSTER, 'b');
		has(bd, 4 * CLUSTER, CLUSTER, 'x');
		has(bd, 5 * CLUSTER, CLUSTER, 0);
		has(bd, SIZE - 512, 512, 'b');
		blockdev_close(bd);
		bd = drive_open(0);
		has(bd, 0, SIZE, 'b');
		blockdev_close(bd);
	}
	ck_assert_uint_eq(sum_of("q"), before[0]);
	ck_assert_uint_eq(sum_of("r"), before[1]);
	/* Read-only stays so; formats that are only read can be written to; nothing is probed that is below. */
	drives[0].image.read_only = true;
	bd = drive_open(0);
	ck_assert(bd->read_only);
	blockdev_close(bd);
	drive(0, "q", NULL)->snapshot = true;
	refused(0, "but its format was not given");
	ck_assert_int_eq(setenv("TMPDIR", "/nonexistent", 1), 0);
	drive(0, "r", "raw")->snapshot = true;
	refused(0, "cannot make a temporary file for changes in '/nonexistent' (set TMPDIR to where there is room): No such file");
	ck_assert_int_eq(setenv("TMPDIR", dir, 1), 0);
	blockdev_close(drive_open(0));
}
END_TEST

START_TEST(test_zeroes_and_discard)
{
	struct blk_status st;
	struct blockdev *bd;
	long full;

	make_raw("base", 'b');
	make_over("q", "base", "raw");
	drive(0, "q", "qcow2")->image.detect_zeroes = true;
	bd = drive_open(0);
	put(bd, 0, SIZE, 'z');
	ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
	full = blocks_of("q");
	put(bd, 0, CLUSTER, 0);
	has(bd, 0, CLUSTER, 0);
	ck_assert_int_eq(blockdev_status(bd, 0, CLUSTER, &st), 0);
	ck_assert_uint_eq(st.flags & (BLK_ST_ZERO | BLK_ST_ALLOCATED), BLK_ST_ZERO | BLK_ST_ALLOCATED);
	/* A discard is a hint, and not taken here. */
	ck_assert_int_eq(blockdev_do(bd, BLK_DISCARD, 0, CLUSTER, NULL, SIZE - CLUSTER), 0);
	has(bd, CLUSTER, CLUSTER, 'z');
	blockdev_close(bd);
	ck_assert_int_ge(blocks_of("q"), full);
	drives[0].image.discard = true;
	bd = drive_open(0);
	put(bd, CLUSTER, CLUSTER, 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_DISCARD, 0, 2 * CLUSTER, NULL, SIZE - 2 * CLUSTER), 0);
	has(bd, 0, SIZE, 0);
	blockdev_close(bd);
	ck_assert_int_lt(blocks_of("q"), full / 2);
}
END_TEST

static void count(void *opaque)
{
	++*(unsigned *)opaque;
}

/* A larger and a smaller disk, from under a throttle. */
START_TEST(test_resize)
{
	const struct throttle_config limits = { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 1000000 } };
	struct throttle_group *group = throttle_group_create(&limits, &err);
	struct blockdev *bd;
	unsigned told = 0;

	make_raw("base", 'b');
	make_over("q", "base", "raw");
	drive(0, "q", "qcow2");
	bd = launch_image_open(&host, &drives[0], group, &err);
	ck_assert_msg(bd != NULL, "%s", err.msg);
	ck_assert_str_eq(bd->ops->format, "throttle");
	bd->resized = count;
	bd->resized_opaque = &told;
	ck_assert_int_eq(blockdev_resize(bd, 2 * SIZE), 0);
	ck_assert_uint_eq(told, 1);
	ck_assert_uint_eq(bd->size, 2 * SIZE);
	has(bd, SIZE - 512, 512, 'b');
	has(bd, SIZE, SIZE, 0);
	put(bd, 2 * SIZE - CLUSTER, CLUSTER, 'n');
	ck_assert_int_eq(blockdev_resize(bd, SIZE / 2), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_READ, 0, SIZE / 2, buf, 512), -EINVAL);
	blockdev_close(bd);
	throttle_group_unref(group);
	bd = drive_open(0);
	ck_assert_uint_eq(bd->size, SIZE / 2);
	has(bd, 0, SIZE / 2, 'b');
	blockdev_close(bd);
}
END_TEST

/* Requests smaller than what direct I/O takes, through every way of caching, over a base that is cached in the same way. */
START_TEST(test_caches)
{
	struct blockdev *bd;

	make_raw("base", 'b');
	for (int cache = CONFIG_CACHE_WRITEBACK; cache <= CONFIG_CACHE_UNSAFE; cache++) {
		unlink(path_of("q"));
		make_over("q", "base", "raw");
		drive(0, "q", "qcow2")->image.cache = (enum config_cache)cache;
		bd = drive_open(0);
		ck_assert_int_eq(bd->write_cache, cache != CONFIG_CACHE_WRITETHROUGH && cache != CONFIG_CACHE_DIRECTSYNC);
		for (uint64_t off = 512; off + 1536 < SIZE; off += 37 * 512)
			put(bd, off, 1536, (int)(off / 512 % 251));
		for (uint64_t off = 512; off + 1536 < SIZE; off += 37 * 512) {
			has(bd, off - 512, 512, 'b');
			has(bd, off, 1536, (int)(off / 512 % 251));
			has(bd, off + 1536, 512, 'b');
		}
		ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
		blockdev_close(bd);
	}
}
END_TEST

/* A kill, as far as the file shows it: the image is closed by nobody. */
static void copy_of(const char *from, const char *to)
{
	char cmd[4 * NAME];

	snprintf(cmd, sizeof(cmd), "cp %s %s", path_of(from), path_of(to));
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(test_options)
{
	struct qcow2_info info;
	struct blockdev *bd;

	make_qcow2("q", NULL);
	drive(0, "q", "qcow2")->image.qcow2.lazy_refcounts = CONFIG_ON;
	bd = drive_open(0);
	put(bd, 0, CLUSTER, 1);
	ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
	copy_of("q", "killed");
	blockdev_close(bd);
	drive(1, "killed", "qcow2")->image.read_only = true;
	bd = drive_open(1);
	ck_assert_int_eq(qcow2_info(bd, &info), 0);
	ck_assert(info.dirty);
	blockdev_close(bd);
	make_qcow2("lazy", &(struct qcow2_create_config){ .size = SIZE, .lazy_refcounts = true });
	drive(0, "lazy", "qcow2")->image.qcow2.lazy_refcounts = CONFIG_OFF;
	bd = drive_open(0);
	put(bd, 0, CLUSTER, 1);
	ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_int_eq(qcow2_info(bd, &info), 0);
	ck_assert(!info.dirty);
	blockdev_close(bd);
	make_qcow2("old", &(struct qcow2_create_config){ .size = SIZE, .version = 2 });
	drive(0, "old", "qcow2")->image.qcow2.lazy_refcounts = CONFIG_ON;
	refused(0, "lazy-refcounts=on needs version 3");
	drive(0, "q", "qcow2")->image.qcow2 = (struct config_qcow2){ .cache_size = 4096, .l2_cache_size = 8192 };
	refused(0, "cache-size is less than one of the caches");
	drives[0].image.qcow2 = (struct config_qcow2){ .cache_size = MIB, .l2_cache_size = 8192, .l2_cache_entry_size = 512, .refcount_cache_size = 4096 };
	bd = drive_open(0);
	has(bd, 0, CLUSTER, 1);
	blockdev_close(bd);
}
END_TEST

/* A file that does not grow, as a block device does not: it is full, the image stays whole, and goes on where there is room again. */
START_TEST(test_full_device)
{
	const struct throttle_config limits = { .limits[THROTTLE_IOPS_TOTAL] = { .avg = 1000000 } };
	struct throttle_group *group = throttle_group_create(&limits, &err);
	struct blk_file_config cfg = { .path = path_of("q"), .loop = host.loop };
	struct qcow2_open_config how = { .discard = BLK_DISCARD_UNMAP };
	struct qcow2_check_result res;
	struct blockdev *file, *bd;
	uint64_t n = 0;

	make_qcow2("q", NULL);
	ck_assert_int_eq(truncate(cfg.path, SIZE / 2), 0);
	cfg.uring = host.urings[0];
	file = throttle_create(raw_open(&cfg, &err), group, &err); /* which cannot be made longer */
	bd = qcow2_open(file, &how, &err);
	ck_assert_msg(bd != NULL, "%s", err.msg);
	memset(buf, 'f', CLUSTER);
	while (n < SIZE / CLUSTER && blockdev_do(bd, BLK_WRITE, 0, n * CLUSTER, buf, CLUSTER) == 0)
		n++;
	ck_assert(n > 1 && n < SIZE / CLUSTER / 2);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE, 0, n * CLUSTER, buf, CLUSTER), -ENOSPC);
	ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_DISCARD, 0, 0, NULL, CLUSTER), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE, 0, n * CLUSTER, buf, CLUSTER), 0);
	has(bd, CLUSTER, n * CLUSTER, 'f');
	ck_assert_int_eq(qcow2_check(bd, 0, NULL, NULL, &res, &err), 0);
	ck_assert_uint_eq(res.corruptions + res.leaks, 0);
	blockdev_close(bd);
	throttle_group_unref(group);
}
END_TEST

/* Files that somebody else has opened; what an image's header says never names one. */
START_TEST(test_descriptors)
{
	static const struct { const char *file, *format, *set; bool fixed; } files[] = {
		{ "r", "raw", FDSET_PATH "4", false }, { "q", NULL, FDSET_PATH "5", false }, { "q", "qcow2", FDSET_PATH "6", true },
	};
	struct fdsets fds = { .n_fds = 0 };
	struct blockdev *bd;

	make_raw("r", 0);
	make_qcow2("q", NULL);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(fdsets_add(&fds, 4 + i, open(path_of(files[i].file), (files[i].fixed ? O_RDONLY : O_RDWR) | O_CLOEXEC), NULL, &err), 4 + i);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		drive(0, "x", files[i].format);
		unlink(path_of(files[i].file)); /* the names are gone */
		free(drives[0].image.path);
		drives[0].image.path = strdup(files[i].set);
		host.fds = &fds;
		if (files[i].fixed)
			refused(0, "open for writing");
		drives[0].image.auto_read_only = true;
		bd = drive_open(0);
		ck_assert(bd->read_only == files[i].fixed);
		if (!files[i].fixed)
			put(bd, 4096, 512, 9);
		has(bd, 4096, 512, 9);
		blockdev_close(bd);
	}
	free(drives[0].image.path);
	drives[0].image.path = strdup(FDSET_PATH "9");
	refused(0, "give it with -add-fd");
	host.fds = NULL;
	refused(0, "No such file");
	make_over("o", FDSET_PATH "4", "raw");
	drive(0, "o", "qcow2");
	host.fds = &fds;
	refused(0, "No such file");
	fdsets_fini(&fds);
}
END_TEST

static int commit(unsigned i, struct blockdev *bd)
{
	err = (struct err)ERR_INIT;
	return launch_image_commit(&host, &drives[i], bd, &err);
}

/* What was written is in the image below and no longer in the one above, and the drive goes on, also with limits in front. */
static void commits(unsigned i, const char *base, const char *base_format)
{
	struct throttle_config limits = { .limits[THROTTLE_IOPS_TOTAL].avg = 1000000 };
	struct throttle_group *group = throttle_group_create(&limits, &err);
	struct blockdev *bd = launch_image_open(&host, &drives[i], group, &err);
	struct blk_status st;

	ck_assert_msg(bd != NULL, "%s", err.msg);
	put(bd, CLUSTER - 512, 1024, 5);
	put(bd, 3 * CLUSTER, CLUSTER, 6);
	ck_assert_int_eq(blockdev_do(bd, BLK_WRITE_ZEROES, 0, 3 * CLUSTER + 4096, NULL, 8192), 0);
	ck_assert_msg(commit(i, bd) == 0, "%s", err.msg);
	has(bd, CLUSTER - 512, 1024, 5);
	ck_assert_int_eq(blockdev_status(throttle_below(bd), 0, SIZE, &st), 0);
	ck_assert_msg(!(st.flags & BLK_ST_ALLOCATED) && st.len == SIZE, "0x%x %llu", st.flags, (unsigned long long)st.len);
	put(bd, 0, 512, 7); /* and has what it wrote since for itself */
	blockdev_close(bd);
	throttle_group_unref(group);
	drive(3, base, base_format);
	bd = drive_open(3);
	has(bd, 0, CLUSTER - 512, 1);
	has(bd, CLUSTER - 512, 1024, 5);
	has(bd, 3 * CLUSTER, 4096, 6);
	has(bd, 3 * CLUSTER + 4096, 8192, 0);
	has(bd, 3 * CLUSTER + 12288, CLUSTER - 12288, 6);
	blockdev_close(bd);
}

START_TEST(test_commit)
{
	make_raw("r", 1);
	drive(0, "r", "raw");
	drives[0].snapshot = true;
	commits(0, "r", "raw");
	make_raw("r", 1);
	make_over("o", "r", "raw");
	drive(0, "o", "qcow2");
	commits(0, "r", "raw");
	/* Two below, the second as -blockdev has it; the first gets it. */
	make_raw("r", 1);
	make_over("m", "r", "raw");
	make_over("p", "m", "qcow2");
	drive(0, "p", "qcow2");
	drives[0].image.backing = image_new("m", "qcow2");
	drives[0].image.backing->read_only = drives[0].image.backing->auto_read_only = true;
	commits(0, "m", "qcow2");
	/* A smaller one below grows. */
	make_raw("s", 1);
	ck_assert_int_eq(truncate(path_of("s"), 2 * CLUSTER), 0);
	make_over("o", "s", "raw");
	drive(0, "o", "qcow2");
	commits(0, "s", "raw");
}
END_TEST

START_TEST(test_commit_refused)
{
	struct blockdev *bd, *other;
	uint64_t sum;

	make_raw("r", 1);
	make_qcow2("q", NULL);
	drive(0, "q", "qcow2");
	bd = drive_open(0);
	ck_assert_int_eq(commit(0, bd), -EINVAL);
	blockdev_close(bd);
	drive(0, "r", "raw");
	bd = drive_open(0);
	ck_assert_int_eq(commit(0, bd), -EINVAL);
	blockdev_close(bd);
	drive(0, "r", NULL);
	drives[0].snapshot = true;
	bd = drive_open(0);
	ck_assert_int_eq(commit(0, bd), -EPERM);
	blockdev_close(bd);
	/* Somebody else reads it: nothing is written, and the drive goes on. */
	make_over("o", "r", "raw");
	sum = sum_of("r");
	drive(1, "r", "raw");
	drives[1].image.read_only = true;
	other = drive_open(1);
	drive(0, "o", "qcow2");
	bd = drive_open(0);
	put(bd, 0, 512, 2);
	ck_assert_int_eq(commit(0, bd), -EBUSY);
	ck_assert_uint_eq(sum_of("r"), sum);
	has(bd, 0, 512, 2);
	has(bd, 512, 512, 1);
	blockdev_close(other);
	ck_assert_msg(commit(0, bd) == 0, "%s", err.msg);
	/* Afterwards it reads again, beside others. */
	other = drive_open(1);
	has(other, 0, 512, 2);
	blockdev_close(other);
	blockdev_close(bd);
	drives[0].image.read_only = true;
	bd = drive_open(0);
	ck_assert_int_eq(commit(0, bd), -EROFS);
	blockdev_close(bd);
	/* A file that is gone, and one that is locked. */
	drives[0].image.read_only = false;
	bd = drive_open(0);
	put(bd, 0, 512, 3);
	ck_assert_int_eq(rename(path_of("r"), path_of("away")), 0);
	ck_assert_int_eq(commit(0, bd), -ENOENT);
	has(bd, 0, 512, 3);
	has(bd, 512, 512, 1);
	blockdev_close(bd);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_formats, test_only_read, test_probed, test_chain, test_data_file, test_snapshot,
					      test_zeroes_and_discard, test_resize, test_caches, test_options, test_full_device,
					      test_descriptors, test_commit, test_commit_refused };

	return suite_run("launch_image", tests, ARRAY_SIZE(tests), setup, teardown);
}
