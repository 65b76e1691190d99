/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk/blockdev.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/fake_frontend.h"
#include "vmm/err.h"
#include "vmm/util.h"

static const struct {
	enum blk_format format;
	unsigned off;
	const char *bytes;
	unsigned len;
} heads[] = {
	{ BLK_FORMAT_QCOW, 0, "QFI\xfb\0\0\0\1", 8 },
	{ BLK_FORMAT_QCOW2, 0, "QFI\xfb\0\0\0\2", 8 },
	{ BLK_FORMAT_QCOW2, 0, "QFI\xfb\0\0\0\3", 8 },
	{ BLK_FORMAT_VMDK, 0, "KDMV", 4 },
	{ BLK_FORMAT_VMDK, 0, "COWD", 4 },
	{ BLK_FORMAT_VMDK, 0, "# Disk DescriptorFile\nversion=1\n", 32 },
	{ BLK_FORMAT_VMDK, 0, "#anything\n\n  \r\nversion=3\r\n", 26 },
	{ BLK_FORMAT_VDI, 64, "\x7f\x10\xda\xbe", 4 },
	{ BLK_FORMAT_VPC, 0, "conectix", 8 },
	{ BLK_FORMAT_VHDX, 0, "vhdxfile", 8 },
	{ BLK_FORMAT_QED, 0, "QED\0", 4 },
	{ BLK_FORMAT_LUKS, 0, "LUKS\xba\xbe\0\1", 8 },
	{ BLK_FORMAT_LUKS, 0, "LUKS\xba\xbe\0\2", 8 },
	{ BLK_FORMAT_PARALLELS, 0, "WithoutFreeSpace", 16 },
	{ BLK_FORMAT_PARALLELS, 0, "WithouFreSpacExt", 16 },
	{ BLK_FORMAT_DMG, 0, "koly", 4 },
	{ BLK_FORMAT_RAW, 0, "QFI", 3 },
	{ BLK_FORMAT_RAW, 1, "QFI\xfb\0\0\0\2", 8 },
	{ BLK_FORMAT_RAW, 0, "# only a comment", 16 },
	{ BLK_FORMAT_RAW, 0, "#\nverse", 7 },
	{ BLK_FORMAT_RAW, 0, "\xeb\x63\x90", 3 },
};

START_TEST(formats)
{
	uint8_t head[4096];

	memset(head, 0, sizeof(head));
	memcpy(head + heads[_i].off, heads[_i].bytes, heads[_i].len);
	ck_assert_str_eq(blk_format_name(blk_probe(head, sizeof(head))), blk_format_name(heads[_i].format));
	/* Cut short at every length, on the heap, where a sanitizer sees the end. */
	for (size_t len = 0; len <= 100; len++) {
		uint8_t *exact = malloc(len + !len);

		memcpy(exact, head, len);
		blk_probe(exact, len);
		free(exact);
	}
	ck_assert_int_eq(blk_probe(head, 0), BLK_FORMAT_RAW);
}
END_TEST

static struct eventloop *loop;
static struct fake_disk disk;
static struct blockdev *bd;
static uint8_t buf[8192];

static void setup(void)
{
	struct err err = ERR_INIT;

	loop = fake_loop();
	fake_disk_init(&disk, loop);
	bd = probe_guard_create(&disk.bd, &err);
	ck_assert_msg(bd != NULL, "%s", err.msg);
	fake_stderr_begin();
}

static void teardown(void)
{
	char *said = fake_stderr_end();

	blockdev_close(bd);
	ck_assert(disk.closed);
	eventloop_destroy(loop);
	free(said);
}

START_TEST(guard_refuses)
{
	static uint8_t zero[2048];

	for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
		bool raw = heads[i].format == BLK_FORMAT_RAW;

		memset(buf, 0, sizeof(buf));
		memcpy(buf + heads[i].off, heads[i].bytes, heads[i].len);
		for (unsigned len = 512; len <= 8192; len *= 2)
			ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, len, 0), raw ? 0 : -EPERM);
		ck_assert(raw || memcmp(disk.data, zero, 2048) == 0);
		ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 8192, 2048), 0); /* elsewhere it may */
		ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, zero, 2048, 0), 0);
	}
}
END_TEST

/* The large rest of a write goes along with its checked head. */
START_TEST(guard_passes)
{
	struct iovec v[3] = { { buf, 700 }, { buf + 700, 2000 }, { buf + 2700, 1396 } };
	struct fake_req r;

	fake_stream_fill(buf, 0, sizeof(buf));
	fake_req_start(bd, &r, BLK_READ, NULL, 0, 0);
	fake_req_wait(bd, &r);
	r.times = 0, r.req.op = BLK_WRITE, r.req.iov = v, r.req.n = 3, r.req.len = 4096, r.req.off = 512;
	blockdev_submit(bd, &r.req);
	memset(buf, 0xcc, 512); /* too late: it was copied */
	ck_assert_int_eq(fake_req_wait(bd, &r), 0);
	ck_assert(fake_stream_ok(disk.data + 512, 0, 1536));
	ck_assert(fake_stream_ok(disk.data + 2048, 1536, 4096 - 1536));
	ck_assert_int_eq(fake_req_run(bd, BLK_READ, buf, 4096, 512), 0);
	ck_assert(fake_stream_ok(buf, 0, 4096));
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE_ZEROES, NULL, 4096, 0), 0);
	ck_assert_int_eq(fake_req_run(bd, BLK_DISCARD, NULL, 4096, 0), 0);
	ck_assert_int_eq(fake_req_run(bd, BLK_FLUSH, NULL, 0, 0), 0);
}
END_TEST

/* A descriptor of VMDK, a sector at a time, and both at once. */
START_TEST(guard_composed)
{
	uint8_t first[512], second[512];
	struct fake_req a, b;

	memset(first, '#', 512);
	memset(second, 0, 512);
	memcpy(second, "\nversion=1\n", 11);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, second, 512, 512), 0);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, first, 512, 0), -EPERM);
	/* Overwriting both is refused, as half of it would do. */
	memcpy(buf, first, 512);
	memset(buf + 512, 'x', 512);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 1024, 0), -EPERM);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf + 512, 512, 512), 0);
	disk.hold = true;
	fake_req_start(bd, &a, BLK_WRITE, first, 512, 0);
	fake_req_start(bd, &b, BLK_WRITE, second, 512, 512);
	ck_assert_uint_eq(disk.n_held, 1); /* one at a time */
	blockdev_drain(bd);
	ck_assert_int_eq(a.result, 0);
	ck_assert_int_eq(b.result, -EPERM);
}
END_TEST

/* After a failed write it is the disk that counts. */
START_TEST(guard_after_failure)
{
	uint8_t text[512];

	memset(text, 0, 512);
	memcpy(text, "\nversion=1\n", 11);
	disk.error = -EIO;
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 512, 512), -EIO);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, buf, 512, 512), -EIO); /* cannot be read either */
	disk.error = 0;
	memcpy(disk.data + 512, text, 512);
	memset(text, '#', 512);
	ck_assert_int_eq(fake_req_run(bd, BLK_WRITE, text, 512, 0), -EPERM);
}
END_TEST

START_TEST(guard_cannot_read)
{
	struct fake_disk bad;
	struct err err = ERR_INIT;

	fake_disk_init(&bad, loop);
	bad.error = -EIO;
	ck_assert_ptr_null(probe_guard_create(&bad.bd, &err));
	ck_assert_int_eq(err.code, -EIO);
	ck_assert(!bad.closed);
	blockdev_close(&bad.bd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("probe");
	TCase *probe = tcase_create("probe"), *guard = tcase_create("guard");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, probe);
	suite_add_tcase(s, guard);
	tcase_add_loop_test(probe, formats, 0, ARRAY_SIZE(heads));
	tcase_add_checked_fixture(guard, setup, teardown);
	tcase_add_test(guard, guard_refuses);
	tcase_add_test(guard, guard_passes);
	tcase_add_test(guard, guard_composed);
	tcase_add_test(guard, guard_after_failure);
	tcase_add_test(guard, guard_cannot_read);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
