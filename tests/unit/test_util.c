/* SPDX-License-Identifier: MIT */
/* The small helpers; reads and writes of a host that interrupts and cuts them short. */
#include "tests/unit/fake_kvm.h"

#include <sys/mman.h>
#include <unistd.h>

#include "vmm/endian.h"

static uint8_t file[256];
static size_t file_len, step; /* bytes a call gives at most */
static unsigned interrupts, n_calls;
static int fails_at = -1;

static bool fake_interrupted(void)
{
	errno = EINTR;
	return n_calls++ % 2 < interrupts;
}

static ssize_t fake_pread(int fd, void *buf, size_t len, off_t off)
{
	size_t n = min_u64(len, step);

	(void)fd;
	if (fake_interrupted())
		return -1;
	if (fails_at >= 0 && off >= fails_at) {
		errno = EIO;
		return -1;
	}
	if (off < 0) {
		errno = EINVAL;
		return -1;
	}
	if ((size_t)off >= file_len)
		return 0;
	n = min_u64(n, file_len - (size_t)off);
	memcpy(buf, file + off, n);
	return (ssize_t)n;
}

static ssize_t fake_write(int fd, const void *buf, size_t len)
{
	size_t n = min_u64(len, step);

	(void)fd;
	if (fake_interrupted())
		return -1;
	if (fails_at >= 0 && file_len >= (size_t)fails_at) {
		errno = ENOSPC;
		return -1;
	}
	memcpy(file + file_len, buf, n);
	file_len += n;
	return (ssize_t)n;
}

#define now_ns util_now_ns
#define fd_close util_fd_close
#define sparse_alloc util_sparse_alloc
#define sparse_free util_sparse_free
#define pread_full util_pread_full
#define write_full util_write_full
#define pread fake_pread
#define write fake_write
int64_t now_ns(void);
void fd_close(int *fd);
void *sparse_alloc(size_t size);
void sparse_free(void *p, size_t size);
int pread_full(int fd, void *buf, size_t len, uint64_t off);
int write_full(int fd, const void *buf, size_t len);
#include "vmm/util.c"

START_TEST(reading)
{
	uint8_t buf[256];

	for (size_t i = 0; i < sizeof(file); i++)
		file[i] = (uint8_t)(i * 7);
	file_len = 200;
	interrupts = (unsigned)_i % 2;
	for (step = 1; step < 210; step += 13) {
		memset(buf, 0, sizeof(buf));
		ck_assert_int_eq(pread_full(3, buf, 150, 50), 0);
		ck_assert_int_eq(memcmp(buf, file + 50, 150), 0);
		ck_assert_uint_eq(buf[150], 0);
		ck_assert_int_eq(pread_full(3, buf, 151, 50), -ENODATA);
		ck_assert_int_eq(pread_full(3, buf, 0, 900), 0);
		ck_assert_int_eq(pread_full(3, buf, 1, 200), -ENODATA);
		ck_assert_int_eq(pread_full(3, buf, 1, UINT64_MAX), -EINVAL);
	}
	fails_at = 100;
	step = 20;
	ck_assert_int_eq(pread_full(3, buf, 100, 50), -EIO);
	ck_assert_int_eq(pread_full(3, buf, 50, 50), 0);
}
END_TEST

START_TEST(writing)
{
	uint8_t data[100];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 3);
	interrupts = (unsigned)_i % 2;
	step = 7;
	ck_assert_int_eq(write_full(3, data, sizeof(data)), 0);
	ck_assert_uint_eq(file_len, sizeof(data));
	ck_assert_int_eq(memcmp(file, data, sizeof(data)), 0);
	ck_assert_int_eq(write_full(3, data, 0), 0);
	fails_at = 120;
	ck_assert_int_eq(write_full(3, data, sizeof(data)), -ENOSPC);
}
END_TEST

START_TEST(closing)
{
	int fd = dup(2), copy = fd;

	ck_assert_int_ge(fd, 0);
	errno = 5;
	fd_close(&fd);
	ck_assert(fd == -1 && errno == 5);
	ck_assert_int_lt(dup2(copy, copy), 0);
	errno = 6;
	fd_close(&fd);
	ck_assert(fd == -1 && errno == 6);
}
END_TEST

START_TEST(arithmetic)
{
	uint64_t v = 1;

	ck_assert(add_u64(UINT64_MAX - 1, 1, &v) && v == UINT64_MAX);
	ck_assert(!add_u64(UINT64_MAX, 1, &v));
	ck_assert(mul_u64(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &v) && v == 0xffffffff00000000);
	ck_assert(!mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &v));
	ck_assert(range_ok(0, 0, 0) && range_ok(5, 5, 10) && range_ok(10, 0, 10));
	ck_assert(!range_ok(5, 6, 10) && !range_ok(11, 0, 10));
	ck_assert(!range_ok(UINT64_MAX, 2, 10) && !range_ok(2, UINT64_MAX, 10) && !range_ok(UINT64_MAX, UINT64_MAX, UINT64_MAX));
	ck_assert(range_ok(0, UINT64_MAX, UINT64_MAX));
	ck_assert(align_down(0x1fff, 0x1000) == 0x1000 && align_up(0x1001, 0x1000) == 0x2000 && align_up(0x1000, 0x1000) == 0x1000);
	ck_assert(min_u64(3, 4) == 3 && max_u64(3, UINT64_MAX) == UINT64_MAX);
	ck_assert(BIT(31) == 0x80000000u && BIT64(63) == UINT64_C(1) << 63);
}
END_TEST

START_TEST(little_endian)
{
	uint8_t b[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

	ck_assert_uint_eq(load_le16(b + 1), 0x0302);
	ck_assert_uint_eq(load_le32(b + 1), 0x05040302);
	ck_assert_uint_eq(load_le64(b + 1), 0x0908070605040302);
	for (unsigned len = 0; len <= 8; len++)
		ck_assert_uint_eq(load_le(b, len), len < 8 ? 0x0807060504030201 & (BIT64(8 * len) - 1) : 0x0807060504030201);
	ck_assert_uint_eq(load_le(b, 9), 0x0807060504030201);
	store_le(b, 0xaabbccdd, 3);
	ck_assert(b[0] == 0xdd && b[1] == 0xcc && b[2] == 0xbb && b[3] == 4);
	store_le16(b + 1, 0x1234);
	ck_assert(b[0] == 0xdd && b[1] == 0x34 && b[2] == 0x12 && b[3] == 4);
	ck_assert_uint_eq(le16_get(le16_of(0xbeef)), 0xbeef);
	ck_assert_uint_eq(le32_get(le32_of(0xdeadbeef)), 0xdeadbeef);
	ck_assert_uint_eq(le64_get(le64_of(0x1122334455667788)), 0x1122334455667788);
	ck_assert_uint_eq(le32_of(0x01020304).b[0], 4);
	ck_assert(sizeof(le64) == 8 && _Alignof(le64) == 1);
}
END_TEST

START_TEST(clock_runs)
{
	int64_t a = now_ns(), b = now_ns();

	ck_assert(a > 0 && b >= a && b - a < NS_PER_SEC);
}
END_TEST

START_TEST(sparse)
{
	size_t size = 100 * MIB, page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char there[8];
	char *p = sparse_alloc(size);

	ck_assert_ptr_nonnull(p);
	ck_assert(p[0] == 0 && p[size / 2] == 0 && p[size - 1] == 0);
	p[size / 2] = 1;
	/* Its neighbours have not come into memory for it. */
	ck_assert_int_eq(mincore(p + 10 * MIB, sizeof(there) * page, there), 0);
	for (unsigned i = 0; i < sizeof(there); i++)
		ck_assert_int_eq(there[i] & 1, 0);
	sparse_free(p, size);
	ck_assert_int_eq(mincore(p, page, there), -1);
	ck_assert_int_eq(errno, ENOMEM);
	sparse_free(NULL, size);
	ck_assert_ptr_null(sparse_alloc(SIZE_MAX / 2));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("util");
	TCase *tc = tcase_create("util");

	tcase_add_loop_test(tc, reading, 0, 2);
	tcase_add_loop_test(tc, writing, 0, 2);
	tcase_add_test(tc, closing);
	tcase_add_test(tc, arithmetic);
	tcase_add_test(tc, little_endian);
	tcase_add_test(tc, clock_runs);
	tcase_add_test(tc, sparse);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
