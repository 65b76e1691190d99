/* SPDX-License-Identifier: MIT */
/*
 * A crash after every request of small workloads: of the sectors that were written and not flushed, in the image and in the data file, every
 * choice may be on the disk, and is looked at where they are few; where they are many, all, none, all but one, only one, and some at random. And
 * an error at every request. What is found must be sound (no errors; leaks are allowed) and show what was flushed.
 *
 * QCOW2_SEEDS and QCOW2_SEED, as of test_qcow2_model, make it longer and leave no request out; QCOW2_ORACLE=N also asks qemu-img check
 * about every N-th image.
 */
#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/fake_file.h"
#include "tests/unit/fake_frontend.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"
#include "blk/qcow2.h"

#define CAP (12u << 20)
#define S BLK_SECTOR
#define DISK_MAX (4u << 20)
#define ALL_MAX 6  /* sectors of which every choice is tried */
#define SOME 12    /* choices at random where there are more */
#define ALTERNATIVES 4
#ifdef __SANITIZE_ADDRESS__
#define RARE 5 /* of so many moments one */
#else
#define RARE 1
#endif

struct shot {
	uint8_t *data;
	uint64_t size;
};

static struct {
	struct eventloop *loop;
	struct fake_file *file, *base, *data;
	struct qcow2_create_config create;
	struct blockdev *bd;
	/* What may be found: a disk as a whole, or each sector from one of them; "may_differ" sectors anything. */
	struct shot may[ALTERNATIVES];
	unsigned n_may;
	bool whole;
	bool lax[DISK_MAX / S];
	struct shot snaps[4]; /* by the number in their name, "s0" to "s3" */
	const char *backing[2]; /* what the header may say */
	uint64_t seed, crashes, moments;
	size_t looked_at; /* a mark of the last moment */
	bool off;
	unsigned oracle;
} w;

static int open_child(void *opaque, enum qcow2_child which, const char *name, const char *format, struct blockdev **child, struct err *err)
{
	struct fake_file *data = opaque;

	(void)name, (void)format, (void)err;
	*child = which == QCOW2_BACKING ? &w.base->bd : &data->bd;
	return 0;
}

static struct blockdev *open_at(struct fake_file *file, struct fake_file *data, bool read_only, const char *snapshot)
{
	struct qcow2_open_config cfg = { .open_child = open_child, .opaque = data, .read_only = read_only, .snapshot = snapshot,
					 .discard = BLK_DISCARD_UNMAP };
	struct err err = ERR_INIT;
	struct blockdev *bd = qcow2_open(&file->bd, &cfg, &err);

	if (!bd)
		ck_abort_msg("it cannot be opened: %s", err.msg);
	return bd;
}

static void say(void *opaque, const char *line)
{
	char *first = opaque;

	if (!*first)
		snprintf(first, 256, "%s", line);
}

static void check(struct blockdev *bd, bool tidy, const char *when)
{
	struct qcow2_check_result res;
	struct err err = ERR_INIT;
	char first[256] = "";

	if (qcow2_check(bd, 0, say, first, &res, &err) < 0)
		ck_abort_msg("%s: %s", when, err.msg);
	if (res.corruptions || res.check_errors || (tidy && res.leaks))
		ck_abort_msg("%s: %lu errors, %lu leaks: %s", when, res.corruptions + res.check_errors, res.leaks, first);
}

static bool as(const struct shot *shot, const uint8_t *p, uint64_t size)
{
	if (shot->size != size)
		return false;
	for (uint64_t i = 0; i < size; i += S)
		if (!w.lax[i / S] && memcmp(shot->data + i, p + i, S) != 0)
			return false;
	return true;
}

static void look_whole(const uint8_t *p, uint64_t size)
{
	for (unsigned i = 0; i < w.n_may; i++)
		if (as(&w.may[i], p, size))
			return;
	ck_abort_msg("after crash %llu the disk of %llu bytes is none of those that it may be", (unsigned long long)w.crashes, (unsigned long long)size);
}

static void look_sectors(const uint8_t *p, uint64_t size)
{
	for (uint64_t i = 0; i < size; i += S) {
		bool fine = w.lax[i / S];

		for (unsigned k = 0; k < w.n_may && !fine; k++)
			fine = w.may[k].size == size && memcmp(w.may[k].data + i, p + i, S) == 0;
		if (!fine)
			ck_abort_msg("after crash %llu sector %llu is 0x%x", (unsigned long long)w.crashes, (unsigned long long)(i / S), p[i]);
	}
}

static void look_snapshots(struct fake_file *file)
{
	static uint8_t buf[DISK_MAX];
	struct blockdev *bd = open_at(file, NULL, true, NULL);
	struct qcow2_snapshot_info *list;
	int n = qcow2_snapshots(bd, &list);

	blockdev_close(bd);
	for (int i = 0; i < n; i++) {
		const struct shot *shot = &w.snaps[list[i].name[1] - '0'];

		bd = open_at(file, NULL, true, list[i].id);
		if (!shot->data || bd->size != shot->size || blockdev_do(bd, BLK_READ, 0, 0, buf, bd->size) < 0 || memcmp(buf, shot->data, bd->size) != 0)
			ck_abort_msg("after crash %llu snapshot '%s' is not what it was", (unsigned long long)w.crashes, list[i].name);
		blockdev_close(bd);
	}
	qcow2_snapshots_free(list, n);
}

static void save(const char *name, const uint8_t *data, uint64_t size)
{
	FILE *f = fopen(name, "we");

	if (!f || fwrite(data, 1, size, f) != size)
		ck_abort_msg("cannot write %s", name);
	fclose(f);
}

static void ask_qemu(const struct fake_file *file, const struct fake_file *data)
{
	char dir[] = "/var/tmp/kite-crash-XXXXXX", name[64], cmd[200];
	int rc;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(name, sizeof(name), "%s/x.qcow2", dir);
	save(name, file->data, file->bd.size);
	snprintf(name, sizeof(name), "%s/base", dir);
	save(name, w.base->data, w.base->bd.size);
	snprintf(name, sizeof(name), "%s/other", dir);
	save(name, w.base->data, w.base->bd.size);
	snprintf(name, sizeof(name), "%s/data", dir);
	if (data)
		save(name, data->data, data->bd.size);
	snprintf(cmd, sizeof(cmd), "cd %s && qemu-img check -f qcow2 x.qcow2 >log 2>&1; rc=$?; [ $rc = 0 ] || [ $rc = 3 ] || { cat log; exit 1; }", dir);
	rc = system(cmd);
	if (rc != 0)
		ck_abort_msg("qemu-img does not like what is in %s", dir);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void look(struct fake_file *file, struct fake_file *data)
{
	static uint8_t buf[DISK_MAX];
	struct blockdev *bd = open_at(file, data, !w.create.lazy_refcounts, NULL);
	struct qcow2_info info;

	check(bd, false, "after a crash");
	qcow2_info(bd, &info);
	if (strcmp(info.backing_file, w.backing[0]) != 0 && strcmp(info.backing_file, w.backing[1]) != 0)
		ck_abort_msg("after crash %llu the backing file is '%s'", (unsigned long long)w.crashes, info.backing_file);
	if (info.corrupt || bd->size > DISK_MAX || blockdev_do(bd, BLK_READ, 0, 0, buf, bd->size) < 0)
		ck_abort_msg("after crash %llu it cannot be read", (unsigned long long)w.crashes);
	(w.whole ? look_whole : look_sectors)(buf, bd->size);
	file->keep = true;
	if (data)
		data->keep = true;
	blockdev_close(bd);
	if (info.n_snapshots)
		look_snapshots(file);
	if (w.oracle && w.crashes % w.oracle == 0 && !w.create.lazy_refcounts)
		ask_qemu(file, data);
	w.crashes++;
}

struct kept {
	unsigned n, one; /* of `n` sectors */
	enum { BITS, ALL_BUT, ONLY, RANDOM } how;
	uint64_t bits;
	unsigned skip;
};

static bool kept(void *opaque, unsigned sector)
{
	const struct kept *k = opaque;

	sector += k->skip;
	switch (k->how) {
	case BITS:
		return k->bits >> sector & 1;
	case ALL_BUT:
		return sector != k->one;
	case ONLY:
		return sector == k->one;
	default:
		return fake_random(&w.seed) & 1;
	}
}

static void crash(struct kept k)
{
	struct fake_file *file = fake_file_after(w.file, kept, &k), *data = NULL;

	if (w.data) {
		k.skip = fake_file_unflushed(w.file);
		data = fake_file_after(w.data, kept, &k);
	}
	look(file, data);
	fake_file_free(file);
	fake_file_free(data);
}

/* After each request. */
static void stepped(void *opaque)
{
	struct fake_file *f = opaque;
	size_t mark = w.file->n_log * 1000 + (w.data ? w.data->n_log : 0) + (f->n_ops[BLK_FLUSH] << 20);
	unsigned n = fake_file_unflushed(w.file) + (w.data ? fake_file_unflushed(w.data) : 0);

	if (w.off || mark == w.looked_at || fake_random(&w.seed) % RARE)
		return;
	w.looked_at = mark;
	w.moments++;
	if (n <= ALL_MAX) {
		for (uint64_t bits = 0; bits < BIT64(n); bits++)
			crash((struct kept){ .n = n, .how = BITS, .bits = bits });
		return;
	}
	crash((struct kept){ .n = n, .how = ONLY, .one = n });
	crash((struct kept){ .n = n, .how = ALL_BUT, .one = n });
	for (unsigned i = 0; i < n; i += 1 + n / SOME) {
		crash((struct kept){ .n = n, .how = ONLY, .one = i });
		crash((struct kept){ .n = n, .how = ALL_BUT, .one = i });
	}
	for (unsigned i = 0; i < SOME; i++)
		crash((struct kept){ .n = n, .how = RANDOM });
}

/* Workloads */

static struct shot shot_now(void)
{
	struct shot s = { .data = malloc(2 * w.bd->size + 2 * w.create.size), .size = w.bd->size }; /* it may grow */
	unsigned fail = w.file->fail_for;
	bool off = w.off;

	w.off = true;
	w.file->fail_for = 0;
	if (blockdev_do(w.bd, BLK_READ, 0, 0, s.data, s.size) < 0)
		ck_abort_msg("cannot read it");
	w.off = off;
	w.file->fail_for = fail;
	return s;
}

static void may_only(struct shot s)
{
	for (unsigned i = 0; i < w.n_may; i++)
		free(w.may[i].data);
	w.may[0] = s;
	w.n_may = 1;
	w.whole = false;
	memset(w.lax, 0, sizeof(w.lax));
}

static struct shot *may_also(void)
{
	struct shot *s = &w.may[w.n_may++];

	*s = (struct shot){ .data = malloc(2 * w.may[0].size + 2 * w.create.size), .size = w.may[0].size };
	memcpy(s->data, w.may[0].data, s->size);
	return s;
}

static int flush(void)
{
	return blockdev_do(w.bd, BLK_FLUSH, 0, 0, NULL, 0);
}

static void start(const struct qcow2_create_config *create, uint64_t seed)
{
	struct err err = ERR_INIT;

	w.seed = seed;
	w.create = *create;
	w.loop = fake_loop();
	w.off = true;
	w.file = fake_file_create(w.loop, CAP);
	w.base = fake_file_create(w.loop, CAP);
	w.base->bd.size = create->size;
	for (unsigned i = 0; i < create->size; i++)
		w.base->data[i] = (uint8_t)(0xa0 + i / 4096);
	w.base->keep = w.file->keep = true;
	w.backing[0] = w.backing[1] = create->backing_file ? create->backing_file : "";
	if (create->data_file) {
		w.data = fake_file_create(w.loop, CAP);
		w.data->keep = true;
		w.create.data = &w.data->bd;
	}
	ck_assert_msg(qcow2_create(&w.file->bd, &w.create, &err) == 0, "%s", err.msg);
	w.bd = open_at(w.file, w.data, false, NULL);
	may_only(shot_now());
	w.file->stepped = stepped;
	w.file->opaque = w.file;
	if (w.data) {
		w.data->stepped = stepped;
		w.data->opaque = w.data;
	}
	w.off = false;
}

static void finish(void)
{
	w.off = true;
	blockdev_close(w.bd);
	w.bd = open_at(w.file, w.data, true, NULL);
	blockdev_close(w.bd);
	may_only((struct shot){ .data = NULL });
	w.n_may = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(w.snaps); i++) {
		free(w.snaps[i].data);
		w.snaps[i].data = NULL;
	}
	fake_file_free(w.file);
	fake_file_free(w.base);
	fake_file_free(w.data);
	w.data = NULL;
	eventloop_destroy(w.loop);
}

/* Each leaves the disk flushed. `what` and the place come from the seed. 0, or what the operation said. */

static uint64_t place(uint64_t *len)
{
	uint64_t n = w.bd->size / S, off = fake_random(&w.seed) % n;

	*len = (1 + fake_random(&w.seed) % 12) * S;
	if (fake_random(&w.seed) % 2) {
		off = align_down(off * S, w.create.cluster_size) / S;
		*len = align_up(*len, w.create.cluster_size);
	}
	*len = min_u64(*len, w.bd->size - off * S);
	return off * S;
}

static int op_write(void)
{
	uint64_t len, off = place(&len);
	uint8_t *p = malloc(len);
	int rc;

	for (uint64_t i = 0; i < len; i++)
		p[i] = (uint8_t)(1 + w.seed % 97);
	memcpy(may_also()->data + off, p, len);
	rc = blockdev_do(w.bd, BLK_WRITE, 0, off, p, len);
	free(p);
	return rc;
}

static int op_compressed(void)
{
	uint64_t len = w.create.cluster_size, off = align_down(fake_random(&w.seed) % w.bd->size, len);
	uint8_t *p = malloc(len);
	int rc;

	len = min_u64(len, w.bd->size - off);
	for (uint64_t i = 0; i < len; i++) /* does not shrink by much, so that clusters are shared and cut */
		p[i] = i < len / 2 ? (uint8_t)fake_random(&w.seed) : 3;
	memcpy(may_also()->data + off, p, len);
	rc = w.data ? 0 : blockdev_do(w.bd, BLK_WRITE, BLK_REQ_COMPRESSED, off, p, len);
	free(p);
	return rc;
}

static int op_zero(void)
{
	uint64_t len, off = place(&len);

	memset(may_also()->data + off, 0, len);
	return blockdev_do(w.bd, BLK_WRITE_ZEROES, fake_random(&w.seed) % 2 ? BLK_REQ_UNMAP : 0, off, NULL, len);
}

static int op_discard(void)
{
	uint64_t len, off = place(&len);

	for (uint64_t i = off; i < off + len; i += S)
		w.lax[i / S] = true;
	return blockdev_do(w.bd, BLK_DISCARD, 0, off, NULL, len);
}

static char *name_of(unsigned i)
{
	static char name[3] = "s?";

	name[1] = (char)('0' + i);
	return name;
}

static int op_snapshot(void)
{
	unsigned i = (unsigned)(fake_random(&w.seed) % ARRAY_SIZE(w.snaps));
	struct err err = ERR_INIT;
	int rc;

	if (w.data || w.create.refcount_bits == 1)
		return 0;
	if (!w.snaps[i].data) {
		w.snaps[i] = shot_now();
		rc = qcow2_snapshot_create(w.bd, name_of(i), &err);
		if (rc < 0) {
			free(w.snaps[i].data);
			w.snaps[i].data = NULL;
		}
		return rc == -EOVERFLOW ? 0 : rc;
	}
	if (fake_random(&w.seed) % 2) {
		rc = qcow2_snapshot_delete(w.bd, name_of(i), &err);
		if (rc == 0) {
			free(w.snaps[i].data);
			w.snaps[i].data = NULL;
		}
		return rc;
	}
	w.whole = true;
	w.may[w.n_may] = (struct shot){ .data = malloc(2 * w.snaps[i].size + 2 * w.create.size), .size = w.snaps[i].size };
	memcpy(w.may[w.n_may++].data, w.snaps[i].data, w.snaps[i].size);
	return qcow2_snapshot_apply(w.bd, name_of(i), &err);
}

static int op_resize(void)
{
	uint64_t size = align_up(w.create.size / 2 + fake_random(&w.seed) % w.create.size, S), old = w.bd->size;
	struct shot *s;

	if (w.create.version == 2)
		return 0;
	s = may_also();
	s->size = size;
	if (size > old)
		memset(s->data + old, 0, size - old);
	w.whole = true;
	return blockdev_resize(w.bd, size);
}

static int op_rebase(void)
{
	struct err err = ERR_INIT;
	const char *to = !strcmp(w.backing[0], "base") ? "other" : "base";
	int rc;

	if (!w.create.backing_file)
		return 0;
	w.backing[1] = to;
	rc = qcow2_change_backing(w.bd, to, fake_random(&w.seed) % 2 ? "raw" : "", &err);
	if (rc == 0)
		w.backing[0] = to;
	return rc;
}

/* As after a commit: the backing file has it all already. */
static int op_empty(void)
{
	struct err err = ERR_INIT;
	struct shot now;

	if (!w.create.backing_file || w.bd->size > w.base->bd.size)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(w.snaps); i++)
		if (w.snaps[i].data) /* what a snapshot shows of the backing file changes with it */
			return 0;
	now = shot_now();
	memcpy(w.base->data, now.data, now.size);
	free(now.data);
	return qcow2_make_empty(w.bd, &err);
}

static int op_flush(void)
{
	return flush();
}

static const struct {
	const char *name;
	int (*run)(void);
} ops[] = {
	{ "write", op_write }, { "compressed", op_compressed }, { "zero", op_zero }, { "discard", op_discard }, { "snapshot", op_snapshot },
	{ "write", op_write }, { "resize", op_resize }, { "rebase", op_rebase }, { "empty", op_empty }, { "snapshot", op_snapshot },
	{ "flush", op_flush }, { "write", op_write },
};

static const struct qcow2_create_config configs[] = {
	{ .size = 96 << 10, .cluster_size = 1024 },
	{ .size = 96 << 10, .cluster_size = 512, .version = 2 },
	{ .size = 128 << 10, .cluster_size = 4096, .backing_file = "base", .backing_format = "raw" },
	{ .size = 128 << 10, .cluster_size = 1024, .refcount_bits = 64, .compression = QCOW2_ZSTD },
	{ .size = 64 << 10, .cluster_size = 512, .refcount_bits = 1 },
	{ .size = 64 << 10, .cluster_size = 1024, .refcount_bits = 2 },
	{ .size = 128 << 10, .cluster_size = 16384, .extended_l2 = true },
	{ .size = 128 << 10, .cluster_size = 16384, .extended_l2 = true, .backing_file = "base" },
	{ .size = 64 << 10, .cluster_size = 1024, .lazy_refcounts = true },
	{ .size = 64 << 10, .cluster_size = 1024, .data_file = "data" },
	{ .size = 64 << 10, .cluster_size = 1024, .data_file = "data", .data_file_raw = true },
	{ .size = 64 << 10, .cluster_size = 512, .prealloc = BLK_PREALLOC_METADATA },
	{ .size = 96 << 10, .cluster_size = 512, .refcount_bits = 64 }, /* many refcount blocks */
	{ .size = 1900 << 10, .cluster_size = 512, .refcount_bits = 64, .prealloc = BLK_PREALLOC_METADATA }, /* and their table grows */
};
#define SMALL (ARRAY_SIZE(configs) - 1)

static unsigned env(const char *name, unsigned fallback)
{
	const char *s = getenv(name);

	return s ? (unsigned)atoi(s) : fallback;
}

static void settled(void)
{
	w.off = true;
	if (flush() < 0)
		ck_abort_msg("it cannot be flushed");
	may_only(shot_now());
	w.backing[1] = w.backing[0];
	w.off = false;
}

START_TEST(test_crash)
{
	unsigned first = env("QCOW2_SEED", 0), n = env("QCOW2_SEEDS", 1);

	w.oracle = env("QCOW2_ORACLE", 0);
	for (unsigned seed = first; seed < first + n; seed++) {
		start(&configs[_i], seed * 100 + (unsigned)_i);
		for (unsigned i = 0; i < ((unsigned)_i < SMALL ? 12 : 5); i++) {
			unsigned op = (unsigned)(fake_random(&w.seed) % ARRAY_SIZE(ops));
			int rc = ops[op].run();

			if (rc < 0)
				ck_abort_msg("%s: %s", ops[op].name, strerror(-rc));
			if (flush() < 0)
				ck_abort_msg("flush");
			settled();
		}
		finish();
	}
	if (getenv("QCOW2_ORACLE"))
		printf("config %d: %llu crashes at %llu moments\n", _i, (unsigned long long)w.crashes, (unsigned long long)w.moments);
}
END_TEST

/* Each operation, on an image that has something of everything. */
static void prepare(uint64_t seed)
{
	w.off = true;
	for (unsigned i = 0; i < 10; i++) {
		ops[i % 5].run();
		if (flush() < 0)
			ck_abort_msg("flush");
		may_only(shot_now());
	}
	w.seed = seed;
	settled();
}

/* An error at the n-th request of an operation and the flush after it: sound, and it works when tried again. */
START_TEST(test_error)
{
	static const int errors[] = { -EIO, -ENOSPC };
	unsigned config = (unsigned)_i / ARRAY_SIZE(ops), op = (unsigned)_i % ARRAY_SIZE(ops), limit = 400;
	bool full = getenv("QCOW2_SEEDS");

	for (unsigned i = 0; i < op; i++)
		if (ops[i].run == ops[op].run)
			return; /* in the table twice to come more often */
	for (unsigned n = 0; n < limit; n += full || n < 16 ? 1 : 5) {
		struct qcow2_info info;
		int rc, again;

		start(&configs[config], 7);
		prepare(n / 8);
		w.file->fail_ops = BIT(BLK_WRITE) | BIT(BLK_READ) | BIT(BLK_FLUSH) | BIT(BLK_WRITE_ZEROES);
		w.file->fail_after = n;
		w.file->fail_for = 1;
		w.file->fail_with = errors[n % 2];
		w.off = n % (full ? 2 : 6) != 0; /* with a crash at every moment as well */
		rc = ops[op].run();
		if (rc == 0)
			rc = flush();
		if (w.file->fail_for)
			limit = n; /* it takes no more requests than that */
		w.file->fail_for = 0;
		w.off = true;
		qcow2_info(w.bd, &info);
		if (info.corrupt)
			ck_abort_msg("%s, request %u: the image is given up", ops[op].name, n);
		check(w.bd, false, "after an error");
		if (rc < 0) {
			again = flush();
			w.backing[0] = info.backing_file;
			may_only(shot_now());
			if (again == 0)
				again = ops[op].run();
			if (again < 0)
				ck_abort_msg("%s, request %u: does not work when tried again: %s", ops[op].name, n, strerror(-again));
			check(w.bd, false, "when tried again");
		}
		finish();
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qcow2_crash");
	TCase *tests = tcase_create("qcow2_crash");
	SRunner *runner = srunner_create(suite);
	int failed;

	mallopt(M_MMAP_THRESHOLD, 1 << 20); /* large files in memory come as zeroes, and are not cleared */
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tests, 600);
	tcase_add_loop_test(tests, test_crash, 0, ARRAY_SIZE(configs));
	tcase_add_loop_test(tests, test_error, 0, (int)(SMALL * ARRAY_SIZE(ops)));
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
