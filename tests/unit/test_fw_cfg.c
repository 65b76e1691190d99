/* SPDX-License-Identifier: MIT */
/* fw_cfg: by its ports and by DMA, as firmware uses them and as nobody should. */
#include "tests/unit/fake_hw.h"

#include "hw/fw_cfg.c"

#define RAM_SIZE (64 * KIB)
#define HIGH (4 * GIB) /* a second piece of memory */
#define REQUEST 0x1000
#define BUFFER 0x2000

static struct fake_hw hw;
static struct device *dev;
static struct guest_mem *mem;
static struct err err;

static void setup(void)
{
	const struct gm_range ram[] = { { 0, RAM_SIZE }, { HIGH, RAM_SIZE } };

	log_set_level(LOG_LEVEL_NONE);
	fake_hw_init(&hw);
	mem = gm_create(ram, 2, &err);
	hw.env.mem = mem;
	dev = fw_cfg_create(&hw.env, &err);
	ck_assert_msg(dev && mem, "%s", err.msg);
	ck_assert_int_eq(fw_cfg_add_item(dev, 0x8033, "0123456789", 10, &err), 0);
}

static void teardown(void)
{
	fake_hw_fini(&hw, dev);
	gm_destroy(mem);
}

static void select_key(uint16_t key)
{
	fake_out(&hw, FW_CFG_PORT, key, 2);
}

static uint8_t next(void)
{
	return fake_inb(&hw, FW_CFG_PORT + 1);
}

static void assert_reads(uint16_t key, const void *want, size_t n)
{
	select_key(key);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(next(), ((const uint8_t *)want)[i]);
}

/* ---- DMA ---- */

static void put_request(uint64_t at, uint32_t control, uint32_t length, uint64_t address)
{
	uint8_t *p = gm_map(mem, at, 16);

	store_be(p, control, 4);
	store_be(p + 4, length, 4);
	store_be(p + 8, address, 8);
}

static uint32_t ring(uint64_t at)
{
	uint8_t be[8];

	store_be(be, at, 8);
	fake_out(&hw, FW_CFG_PORT + 4, load_le32(be), 4);
	fake_out(&hw, FW_CFG_PORT + 8, load_le32(be + 4), 4);
	return gm_map(mem, at, 16) ? (uint32_t)load_be(gm_map(mem, at, 4), 4) : 0xdead;
}

static uint32_t dma(uint32_t control, uint32_t length, uint64_t address)
{
	put_request(REQUEST, control, length, address);
	return ring(REQUEST);
}

#define SELECT(key) (DMA_SELECT | (uint32_t)(key) << 16)

START_TEST(signature)
{
	assert_reads(FW_CFG_SIGNATURE, "QEMU\0\0", 6);
	assert_reads(FW_CFG_ID, "\3\0\0\0\0", 5);
	assert_reads(FW_CFG_FILE_DIR, "\0\0\0\0\0", 5);
	assert_reads(0x8033, "0123456789\0\0", 12);
	assert_reads(0x34, "\0\0", 2);
	ck_assert_uint_eq(fake_in(&hw, FW_CFG_PORT + 4, 4), load_le32("QEMU"));
	ck_assert_uint_eq(fake_in(&hw, FW_CFG_PORT + 8, 4), load_le32(" CFG"));
	ck_assert_uint_eq(fake_in(&hw, FW_CFG_PORT + 6, 2), load_le16("MU"));
	ck_assert_uint_eq(fake_inb(&hw, FW_CFG_PORT + 11), 'G');
}
END_TEST

/* Only a word selects, only a byte reads; nothing else moves on or writes. */
START_TEST(widths)
{
	select_key(0x8033);
	ck_assert_uint_eq(next(), '0');
	fake_outb(&hw, FW_CFG_PORT, 0);
	fake_outb(&hw, FW_CFG_PORT + 1, 0x55);
	ck_assert_uint_eq(next(), '1');
	ck_assert_uint_eq(fake_inb(&hw, FW_CFG_PORT), 0xff);
	ck_assert_uint_eq(next(), '2');
	ck_assert_uint_eq(fake_in(&hw, FW_CFG_PORT, 2), '3' << 8 | 0xff);
	ck_assert_uint_eq(next(), '4');
	select_key(0x8033);
	ck_assert_uint_eq(next(), '0');
	/* The upper half of the DMA address does nothing, nor do accesses that are no halves. */
	fake_out(&hw, FW_CFG_PORT + 4, 0, 4);
	fake_out(&hw, FW_CFG_PORT + 8, 0, 2);
	fake_outb(&hw, FW_CFG_PORT + 8, 0);
	fake_out(&hw, FW_CFG_PORT + 6, 0, 4);
	ck_assert_uint_eq(next(), '1');
}
END_TEST

START_TEST(directory)
{
	uint8_t dir[4 + 64 * 3];
	size_t size;

	ck_assert_int_eq(fw_cfg_add_file(dev, "etc/b", "bb", 2, &err), 0);
	ck_assert_int_eq(fw_cfg_add_file(dev, "etc/empty", "", 0, &err), 0);
	ck_assert_int_eq(fw_cfg_add_file(dev, "opt/a", "aaaa", 4, &err), 0);
	select_key(FW_CFG_FILE_DIR);
	for (size_t i = 0; i < sizeof(dir); i++)
		dir[i] = next();
	ck_assert_uint_eq(next(), 0);
	ck_assert_uint_eq(load_be(dir, 4), 3);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const names[] = { "etc/b", "etc/empty", "opt/a" };
		static const unsigned sizes[] = { 2, 0, 4 };
		const uint8_t *e = dir + 4 + 64 * i;

		ck_assert_uint_eq(load_be(e, 4), sizes[i]);
		ck_assert_uint_eq(load_be(e + 4, 2), 0x20 + i);
		ck_assert_str_eq((const char *)e + 8, names[i]);
	}
	assert_reads(0x20, "bb\0", 3);
	assert_reads(0x21, "\0", 1);
	assert_reads(0x22, "aaaa\0", 5);
	ck_assert_mem_eq(fw_cfg_file(dev, "opt/a", &size), "aaaa", 4);
	ck_assert_uint_eq(size, 4);
	ck_assert_ptr_nonnull(fw_cfg_file(dev, "etc/empty", &size));
	ck_assert_uint_eq(size, 0);
	ck_assert_ptr_null(fw_cfg_file(dev, "opt", &size));
}
END_TEST

START_TEST(refused)
{
	char name[FW_CFG_MAX_NAME + 2];

	memset(name, 'x', sizeof(name));
	name[FW_CFG_MAX_NAME + 1] = '\0';
	ck_assert_int_eq(fw_cfg_add_file(dev, name, "", 0, &err), -EINVAL);
	ck_assert_int_eq(fw_cfg_add_file(dev, "", "", 0, &err), -EINVAL);
	name[FW_CFG_MAX_NAME] = '\0';
	ck_assert_int_eq(fw_cfg_add_file(dev, name, "", 0, &err), 0);
	ck_assert_int_eq(fw_cfg_add_file(dev, name, "", 0, &err), -EEXIST);
	ck_assert_int_eq(fw_cfg_add_item(dev, 0x8033, "", 0, &err), -EEXIST);
	for (int i = 1; i < FW_CFG_MAX_FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		ck_assert_int_eq(fw_cfg_add_file(dev, name, name, strlen(name), &err), 0);
	}
	ck_assert_int_eq(fw_cfg_add_file(dev, "more", "", 0, &err), -ENOSPC);
	assert_reads(FW_CFG_FILE_FIRST + FW_CFG_MAX_FILES - 1, name, strlen(name));
}
END_TEST

START_TEST(dma_reads)
{
	char *buf = gm_map(mem, BUFFER, 32);

	memset(buf, 'x', 32);
	ck_assert_uint_eq(dma(SELECT(0x8033) | DMA_READ, 4, BUFFER), 0);
	ck_assert_mem_eq(buf, "0123x", 5);
	ck_assert_uint_eq(dma(DMA_SKIP, 2, 0), 0);
	ck_assert_uint_eq(next(), '6'); /* one offset for both ways */
	ck_assert_uint_eq(dma(DMA_READ, 8, BUFFER), 0);
	ck_assert_mem_eq(buf, "789\0\0\0\0\0x", 9);
	ck_assert_uint_eq(dma(DMA_READ, 2, BUFFER + 8), 0);
	ck_assert_mem_eq(buf + 8, "\0\0x", 3);
	ck_assert_uint_eq(dma(SELECT(0x77) | DMA_READ, 3, BUFFER), 0); /* no such item */
	ck_assert_mem_eq(buf, "\0\0\0\0", 4);
	ck_assert_uint_eq(dma(SELECT(0x8033), 0, 0), 0);
	ck_assert_uint_eq(next(), '0');
	ck_assert_uint_eq(dma(0, 100, BUFFER), 0); /* nothing to do */
	ck_assert_uint_eq(next(), '1');
}
END_TEST

/* A request and its buffer may be above 4 GiB: the upper half counts once. */
START_TEST(dma_high)
{
	put_request(HIGH + REQUEST, SELECT(0x8033) | DMA_READ, 10, HIGH + RAM_SIZE - 10);
	ck_assert_uint_eq(ring(HIGH + REQUEST), 0);
	ck_assert_mem_eq(gm_map(mem, HIGH + RAM_SIZE - 10, 10), "0123456789", 10);
	put_request(REQUEST, SELECT(0x8033) | DMA_READ, 1, BUFFER);
	fake_out(&hw, FW_CFG_PORT + 8, __builtin_bswap32(REQUEST), 4);
	ck_assert_uint_eq(load_be(gm_map(mem, REQUEST, 4), 4), 0);
}
END_TEST

/* The error bit, nothing written, and the device goes on. */
START_TEST(dma_hostile)
{
	static const struct {
		uint32_t control, length;
		uint64_t address;
	} bad[] = {
		{ DMA_READ, 1, RAM_SIZE },
		{ DMA_READ, 2, RAM_SIZE - 1 },
		{ DMA_READ, UINT32_MAX, 0 },
		{ DMA_READ, UINT32_MAX, BUFFER },
		{ DMA_READ, 1, UINT64_MAX },
		{ DMA_READ, UINT32_MAX, UINT64_MAX - 1 },
		{ DMA_READ, 16, HIGH - 8 },
		{ DMA_READ, 16, HIGH + RAM_SIZE - 8 },
		{ DMA_READ, 16, UINT64_C(1) << 63 },
		{ DMA_WRITE, 1, BUFFER },
		{ DMA_WRITE, 0, 0 },
		{ DMA_WRITE | DMA_SKIP, 4, BUFFER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t *last = gm_map(mem, RAM_SIZE - 1, 1);

		*last = 0xaa;
		ck_assert_uint_eq(dma(bad[i].control | SELECT(0x8033), bad[i].length, bad[i].address), DMA_ERROR);
		ck_assert_uint_eq(*last, 0xaa);
		ck_assert_uint_eq(next(), '0');
	}
	/* A request that is not in memory has nowhere to say so. */
	ck_assert_uint_eq(ring(RAM_SIZE - 15), 0xdead);
	ck_assert_uint_eq(ring(UINT64_MAX - 8), 0xdead);
	ck_assert_uint_eq(next(), '1');
	/* Skipping any number of times ends nowhere. */
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(dma(DMA_SKIP, UINT32_MAX, 0), 0);
	ck_assert_uint_eq(next(), 0);
	/* The request may be inside its own buffer: its result is written last. */
	put_request(BUFFER, SELECT(0x8033) | DMA_READ, 16, BUFFER);
	ck_assert_uint_eq(ring(BUFFER), 0);
	ck_assert_mem_eq(gm_map(mem, BUFFER, 12), "\0\0\0\0" "456789\0\0", 12);
}
END_TEST

START_TEST(reset)
{
	select_key(0x8033);
	next();
	fake_out(&hw, FW_CFG_PORT + 4, 0x01000000, 4);
	dev->ops->reset(dev);
	ck_assert_uint_eq(next(), 'Q');
	put_request(REQUEST, SELECT(0x8033) | DMA_SKIP, 3, 0);
	fake_out(&hw, FW_CFG_PORT + 8, __builtin_bswap32(REQUEST), 4);
	ck_assert_uint_eq(next(), '3');
}
END_TEST

START_TEST(hostile_accesses)
{
	fake_hostile_ports(&hw, FW_CFG_PORT, FW_CFG_PORTS);
	fake_random_ports(&hw, FW_CFG_PORT, FW_CFG_PORTS, 20000);
	assert_reads(FW_CFG_SIGNATURE, "QEMU", 4);
}
END_TEST

START_TEST(port_taken)
{
	struct device *second = fw_cfg_create(&hw.env, &err);

	ck_assert_ptr_null(second);
	ck_assert_int_eq(err.code, -EEXIST);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fw_cfg");
	TCase *tc = tcase_create("fw_cfg");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, signature);
	tcase_add_test(tc, widths);
	tcase_add_test(tc, directory);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, dma_reads);
	tcase_add_test(tc, dma_high);
	tcase_add_test(tc, dma_hostile);
	tcase_add_test(tc, reset);
	tcase_add_test(tc, hostile_accesses);
	tcase_add_test(tc, port_taken);
	suite_add_tcase(s, tc);
	return fake_run_suite(s);
}
