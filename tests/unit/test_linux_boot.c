/* SPDX-License-Identifier: MIT */
#include "firmware/boot.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fake_boot.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

/* A little vmlinux: laid out as Linux's, first segment 2 MiB into the file. */
#define PREF (16 * MIB)
#define INIT_SIZE (12 * MIB)
static const struct fake_segment segments[] = {
	{ .offset = 2 * MIB, .vaddr = 0xffffffff81000000, .paddr = PREF, .filesz = 0x5000, .memsz = 0x5000 },
	{ .offset = 2 * MIB + 0x8000, .vaddr = 0, .paddr = PREF + 0x7000, .filesz = 0x3000, .memsz = 3 * MIB },
};
static const struct fake_elf vmlinux = { .entry = PREF + 0x40, .segment = segments, .n = 2, .size = 2 * MIB + 0x10000 };

/* A bzImage: boot sector, setup of one sector, protected-mode part with the payload at PAYLOAD. */
#define SETUP 1024
#define PAYLOAD 0x600
static struct {
	uint8_t *data;
	size_t len, payload;
} bz;

static struct fake_machine m;
static struct fake_file kernel, initrd;
static struct boot_entry entry;
static struct err err;

static void wrap(const uint8_t *payload, size_t len)
{
	size_t part = align_up(PAYLOAD + len, 16);
	uint8_t *h;

	free(bz.data);
	bz.payload = SETUP + PAYLOAD;
	bz.len = SETUP + part;
	h = bz.data = malloc(bz.len);
	for (size_t i = 0; i < bz.len; i++)
		h[i] = fake_byte(i);
	memset(h + 0x1f1, 0, SETUP - 0x1f1);
	h[0x1f1] = 1;
	store_le32(h + 0x1f4, (uint32_t)(part / 16));
	store_le16(h + 0x1fe, 0xaa55);
	h[0x200] = 0xeb;
	h[0x201] = 0x6a;
	memcpy(h + 0x202, "HdrS", 4);
	store_le16(h + 0x206, 0x020f);
	h[0x211] = 0x81;
	store_le32(h + 0x22c, 0x7fffffff);
	store_le32(h + 0x230, 2 * MIB);
	store_le16(h + 0x236, 0x7f);
	store_le32(h + 0x238, 2047);
	store_le32(h + 0x248, PAYLOAD);
	store_le32(h + 0x24c, (uint32_t)len);
	store_le64(h + 0x250, 0x1234);
	store_le64(h + 0x258, PREF);
	store_le32(h + 0x260, INIT_SIZE);
	/* Code behind the header, which is not part of it. */
	memset(h + 0x26c, 0xc3, 64);
	memcpy(bz.data + bz.payload, payload, len);
}

static void make_bzimage(enum unpack_format format, const uint8_t *data, size_t size)
{
	size_t len;
	uint8_t *packed = fake_pack(format, data, size, &len), *all = malloc(len + 4);

	memcpy(all, packed, len);
	store_le32(all + len, (uint32_t)size);
	wrap(all, format == UNPACK_GZIP ? len : len + 4);
	free(all);
	free(packed);
}

static void make_kernel(enum unpack_format format, const struct fake_elf *e)
{
	uint8_t *elf = fake_elf(e);

	make_bzimage(format, elf, e->size);
	free(elf);
}

static void setup(void)
{
	fake_machine_init(&m, 64 * MIB, 64 * KIB);
	kernel.fd = initrd.fd = -1;
	make_kernel(UNPACK_LZ4, &vmlinux);
	err = (struct err)ERR_INIT;
}

static void teardown(void)
{
	fake_file_fini(&kernel);
	fake_file_fini(&initrd);
	fake_machine_fini(&m);
	free(bz.data);
	bz.data = NULL;
}

static void make_initrd(size_t size)
{
	uint8_t *data = malloc(size);

	for (size_t i = 0; i < size; i++)
		data[i] = fake_byte(i);
	fake_file_fini(&initrd);
	fake_file_init(&initrd, data, size);
	free(data);
}

static struct boot *open_bz(const char *append)
{
	fake_file_fini(&kernel);
	fake_file_init(&kernel, bz.data, bz.len);
	return boot_open(kernel.path, initrd.fd >= 0 ? initrd.path : NULL, append, &err);
}

static void load_ok(const char *append)
{
	struct boot *boot = open_bz(append);

	ck_assert_msg(boot != NULL, "%s", err.msg);
	ck_assert_msg(boot_load(boot, &m.platform, &entry, &err) == 0, "%s", err.msg);
	boot_close(boot);
}

static void has_words(const char *words)
{
	ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' lacks '%s'", err.msg, words);
	ck_assert_int_lt(err.code, 0);
	err = (struct err)ERR_INIT;
}

static void refuse_open(const char *append, const char *words)
{
	ck_assert_ptr_null(open_bz(append));
	has_words(words);
}

static void refuse_load(const char *words)
{
	struct boot *boot = open_bz(NULL);

	ck_assert_msg(boot != NULL, "%s", err.msg);
	ck_assert_int_lt(boot_load(boot, &m.platform, &entry, &err), 0);
	boot_close(boot);
	has_words(words);
}

static void check_segments(void)
{
	ck_assert(fake_placed(&m, PREF, 2 * MIB, 0x5000));
	ck_assert(fake_placed(&m, PREF + 0x7000, 2 * MIB + 0x8000, 0x3000));
	for (uint64_t a = PREF + 0xa000; a < PREF + 0x7000 + 3 * MIB; a += 8)
		if (fake_r64(&m, a))
			ck_abort_msg("bss at %#jx is not zero", (uintmax_t)a);
}

static const enum unpack_format formats[] = { UNPACK_GZIP, UNPACK_ZSTD, UNPACK_LZ4, UNPACK_XZ, UNPACK_LZMA };

START_TEST(unpacks)
{
	make_kernel(formats[_i], &vmlinux);
	load_ok(NULL);
	ck_assert_int_eq(entry.mode, BOOT_LONG64);
	ck_assert_uint_eq(entry.rip, PREF + 0x40);
	check_segments();
}
END_TEST

static bool in_low_ram(uint64_t gpa)
{
	return gpa >= 0x1000 && gpa < 0x9f000;
}

START_TEST(boot_params)
{
	uint64_t bp;

	make_initrd(10000);
	load_ok("console=ttyS0 quiet");
	bp = entry.rsi;
	ck_assert(in_low_ram(bp) && bp % 16 == 0);
	ck_assert_uint_eq(entry.rax | entry.rbx, 0);
	ck_assert_uint_eq(fake_r64(&m, bp), 0);
	ck_assert_uint_eq(fake_r64(&m, bp + 0x70), FAKE_RSDP);
	ck_assert_uint_eq(fake_r32(&m, bp + 0x1ef) & 0xff, 0);
	ck_assert_str_eq(fake_str(&m, fake_r32(&m, bp + 0x228)), "console=ttyS0 quiet");
	ck_assert_uint_eq(fake_r32(&m, bp + 0xc0) | fake_r32(&m, bp + 0xc4) | fake_r32(&m, bp + 0xc8), 0);
	/* The header as in the file, the loader's fields set, and nothing of the code behind it. */
	ck_assert_uint_eq(fake_r32(&m, bp + 0x202), load_le32("HdrS"));
	ck_assert_uint_eq(fake_r32(&m, bp + 0x210) & 0xffff, 0x01ff);
	ck_assert_uint_eq(fake_r32(&m, bp + 0x214), PREF);
	ck_assert_uint_eq(fake_r32(&m, bp + 0x238), 2047);
	ck_assert_uint_eq(fake_r64(&m, bp + 0x250), 0);
	ck_assert_uint_eq(fake_r64(&m, bp + 0x258), PREF);
	ck_assert_uint_eq(fake_r64(&m, bp + 0x268), 0);
	ck_assert_uint_eq(fake_r32(&m, bp + 0x1e8) & 0xff, 4);
	for (uint64_t i = 0; i < 4; i++) {
		ck_assert_uint_eq(fake_r64(&m, bp + 0x2d0 + i * 20), m.map[i].base);
		ck_assert_uint_eq(fake_r64(&m, bp + 0x2d8 + i * 20), m.map[i].size);
		ck_assert_uint_eq(fake_r32(&m, bp + 0x2e0 + i * 20), m.map[i].type);
	}
	ck_assert_uint_eq(fake_r64(&m, bp + 0x2d0 + 4 * 20), 0);
}
END_TEST

START_TEST(initrd_placement)
{
	make_initrd(10000);
	load_ok(NULL);
	/* The last whole pages below the tables that end RAM. */
	ck_assert_uint_eq(fake_r32(&m, entry.rsi + 0x218), 64 * MIB - 64 * KIB - 12288);
	ck_assert_uint_eq(fake_r32(&m, entry.rsi + 0x21c), 10000);
	ck_assert(fake_placed(&m, 64 * MIB - 64 * KIB - 12288, 0, 10000));
	/* A kernel that wants it lower; the room above its own memory is then too small. */
	store_le32(bz.data + 0x22c, PREF + INIT_SIZE + 0x1fff);
	load_ok(NULL);
	ck_assert_uint_eq(fake_r32(&m, entry.rsi + 0x218), PREF - 12288);
	store_le32(bz.data + 0x22c, PREF + INIT_SIZE + 0x2fff);
	load_ok(NULL);
	ck_assert_uint_eq(fake_r32(&m, entry.rsi + 0x218), PREF + INIT_SIZE);
	store_le32(bz.data + 0x22c, MIB + 8191);
	refuse_load("must end");
}
END_TEST

START_TEST(initrd_too_large)
{
	make_initrd(38 * MIB);
	refuse_load("an initrd of 38 MiB does not fit beside a kernel of 12 MiB into 64 MiB of memory; use -m 67 or more");
	fake_machine_fini(&m);
	fake_machine_init(&m, 67 * MIB, 64 * KIB);
	load_ok(NULL);
}
END_TEST

START_TEST(cpu_state)
{
	uint64_t pml4, pdpt;

	load_ok(NULL);
	ck_assert_uint_eq(entry.gdt_limit, 31);
	ck_assert(in_low_ram(entry.gdt_base) && in_low_ram(entry.cr3) && in_low_ram(entry.rsp - 8));
	ck_assert_uint_eq(fake_r64(&m, entry.gdt_base + 0x10), 0x00af9b000000ffff);
	ck_assert_uint_eq(fake_r64(&m, entry.gdt_base + 0x18), 0x00cf93000000ffff);
	pml4 = entry.cr3;
	pdpt = fake_r64(&m, pml4) & ~0xfffull;
	ck_assert_uint_eq(fake_r64(&m, pml4) & 3, 3);
	ck_assert_uint_eq(fake_r64(&m, pml4 + 8), 0);
	ck_assert_uint_eq(fake_r64(&m, pdpt + 32), 0);
	for (uint64_t a = 0; a < 4 * GIB; a += 2 * MIB) {
		uint64_t pd = fake_r64(&m, pdpt + a / GIB * 8);

		ck_assert(in_low_ram(pd) && (pd & 3) == 3);
		if ((fake_r64(&m, (pd & ~0xfffull) + a % GIB / (2 * MIB) * 8) & ~0x60ull) != (a | 0x83))
			ck_abort_msg("%#jx is not mapped to itself", (uintmax_t)a);
	}
}
END_TEST

/* Everything once more, over memory in which a guest has run. */
START_TEST(reset)
{
	struct boot *boot;
	struct boot_entry again;
	uint8_t *before;

	make_initrd(5000);
	boot = open_bz("a");
	ck_assert_int_eq(boot_load(boot, &m.platform, &entry, &err), 0);
	before = malloc(64 * KIB);
	gm_read(m.mem, 0x80000, before, 64 * KIB);
	gm_fill(m.mem, 0x80000, 0, 64 * KIB);
	gm_fill(m.mem, MIB, 0xaa, 63 * MIB);
	ck_assert_int_eq(boot_load(boot, &m.platform, &again, &err), 0);
	ck_assert_mem_eq(&entry, &again, sizeof(entry));
	check_segments();
	ck_assert_int_eq(memcmp(before, gm_map(m.mem, 0x80000, 64 * KIB), 64 * KIB), 0);
	ck_assert(fake_placed(&m, fake_r32(&m, again.rsi + 0x218), 0, 5000));
	free(before);
	boot_close(boot);
}
END_TEST

/* A payload that Kite cannot unpack, or without an ELF file in it, is the kernel's own business. */
START_TEST(own_decompressor)
{
	uint8_t junk[5000];

	for (int i = 0; i < 2; i++) {
		memcpy(junk, "BZh9", sizeof("BZh9"));
		memset(junk + 5, 0x11, sizeof(junk) - 5);
		if (i)
			make_bzimage(UNPACK_ZSTD, junk, sizeof(junk));
		else
			wrap(junk, sizeof(junk));
		load_ok("x");
		ck_assert_int_eq(entry.mode, BOOT_LONG64);
		ck_assert_uint_eq(entry.rip, PREF + 0x200);
		ck_assert_uint_eq(fake_r32(&m, entry.rsi + 0x214), PREF);
		ck_assert_int_eq(memcmp(gm_map(m.mem, PREF, bz.len - SETUP), bz.data + SETUP, bz.len - SETUP), 0);
		/* Before 2.12 there was no such entry. */
		store_le16(bz.data + 0x206, 0x020b);
		refuse_load("has no 64-bit entry");
	}
}
END_TEST

START_TEST(old_protocols)
{
	store_le16(bz.data + 0x206, 0x0208);
	load_ok(NULL);
	ck_assert_uint_eq(fake_r64(&m, entry.rsi + 0x70), 0);
	check_segments();
	store_le16(bz.data + 0x206, 0x0207);
	refuse_open(NULL, "protocol 2.07 has no 64-bit entry");
	store_le16(bz.data + 0x206, 0x0205);
	refuse_open(NULL, "protocol 2.05 is too old");
}
END_TEST

START_TEST(bad_headers)
{
	bz.data[0x211] = 0;
	refuse_open(NULL, "zImage");
	bz.data[0x211] = 1;
	store_le16(bz.data + 0x236, 0x7e);
	refuse_open(NULL, "32-bit Linux kernel");
	store_le16(bz.data + 0x236, 0x7f);
	store_le32(bz.data + 0x248, (uint32_t)(bz.len - SETUP));
	refuse_open(NULL, "payload at");
	store_le32(bz.data + 0x248, 0xfffffff0);
	refuse_open(NULL, "payload at");
	store_le32(bz.data + 0x248, PAYLOAD);
	bz.data[0x1f1] = 255;
	refuse_open(NULL, "truncated: the setup header says 131072 bytes");
	bz.data[0x1f1] = 1;
	bz.len -= 16;
	refuse_open(NULL, "truncated: the setup header says");
	bz.len = 0x210;
	refuse_open(NULL, "truncated: the setup header says 1024 bytes, the file has 528");
	bz.len = 0x205;
	refuse_open(NULL, "not a kernel that Kite can load");
}
END_TEST

START_TEST(payload_lies)
{
	uint8_t *size = bz.data + bz.payload + load_le32(bz.data + 0x24c) - 4;
	const uint32_t real = load_le32(size);

	store_le32(size, real + 1);
	refuse_load("says that it unpacks to 2162689 bytes, and gives 2162688");
	store_le32(size, real - 1);
	refuse_load("has room for");
	store_le32(size, INIT_SIZE + 1);
	refuse_load("the header allows 12582912");
	store_le32(size, 0xffffffff);
	refuse_load("the header allows");
	store_le32(size, 0);
	refuse_load("unpacks to 0 bytes");
	store_le32(bz.data + 0x260, 0);
	store_le32(size, 0xffffffff);
	refuse_load("not all RAM");
	store_le32(size, real);
	bz.data[bz.payload + 4] ^= 0x40;
	refuse_load("its payload: lz4 data is corrupt");
}
END_TEST

START_TEST(bad_places)
{
	struct fake_segment s = segments[0];
	struct fake_elf e = { .entry = PREF, .segment = &s, .n = 1, .size = vmlinux.size };

	store_le32(bz.data + 0x260, 50 * MIB);
	refuse_load("its kernel needs memory up to 66 MiB, and the guest has 64 MiB; use -m 67 or more");
	store_le64(bz.data + 0x258, UINT64_MAX - 4096);
	refuse_load("last address");
	store_le64(bz.data + 0x258, 4 * GIB);
	refuse_load("not all RAM");
	store_le64(bz.data + 0x258, 0x10000);
	refuse_load("for itself");
	s.paddr = 0x90000;
	e.entry = 0x90000;
	make_kernel(UNPACK_ZSTD, &e);
	refuse_load("its ELF segment wants addresses 0x90000 to 0x95000; Kite needs");
	e.entry = s.paddr = 64 * MIB - 64 * KIB - 0x4000;
	make_kernel(UNPACK_ZSTD, &e);
	refuse_load("the guest has 64 MiB; use -m 65 or more");
	e.entry = s.paddr = 0xa0000;
	make_kernel(UNPACK_ZSTD, &e);
	refuse_load("wants addresses 0xa0000 to 0xa5000, which are not all RAM on this machine");
	e.entry = s.paddr = 200 * MIB;
	make_kernel(UNPACK_ZSTD, &e);
	refuse_load("use -m 201 or more");
	s.paddr = PREF;
	e.entry = 1;
	make_kernel(UNPACK_ZSTD, &e);
	refuse_load("its payload: ELF: the entry point 0x1");
	e.elf32 = true;
	e.entry = PREF;
	make_kernel(UNPACK_ZSTD, &e);
	refuse_load("32-bit Linux kernel");
}
END_TEST

START_TEST(command_line)
{
	char line[2050];

	memset(line, 'x', sizeof(line));
	line[2047] = '\0';
	load_ok(line);
	ck_assert_str_eq(fake_str(&m, fake_r32(&m, entry.rsi + 0x228)), line);
	line[2047] = 'x';
	line[2048] = '\0';
	refuse_open(line, "the command line has 2048 bytes, and /proc/self/fd/");
	store_le32(bz.data + 0x238, 0);
	refuse_open(line, "takes at most 255");
}
END_TEST

START_TEST(changed_files)
{
	struct boot *boot;

	make_initrd(5000);
	boot = open_bz(NULL);
	ck_assert_int_eq(ftruncate(initrd.fd, 4000), 0);
	ck_assert_int_eq(boot_load(boot, &m.platform, &entry, &err), -ESTALE);
	has_words("it had 5000 bytes and has 4000 now");
	boot_close(boot);
	boot = open_bz(NULL);
	ck_assert_int_eq(boot_load(boot, &m.platform, &entry, &err), 0);
	usleep(20000);
	ck_assert_int_eq(pwrite(kernel.fd, "x", 1, 3000), 1);
	ck_assert_int_eq(boot_load(boot, &m.platform, &entry, &err), -ESTALE);
	has_words("it was written to");
	boot_close(boot);
}
END_TEST

static void refuse_paths(const char *k, const char *i, const char *words)
{
	ck_assert_ptr_null(boot_open(k, i, NULL, &err));
	has_words(words);
}

START_TEST(bad_files)
{
	char dir[] = "/tmp/kite-test-XXXXXX", fifo[64], secret[64];
	struct fake_file junk;

	fake_file_init(&kernel, bz.data, bz.len);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	snprintf(secret, sizeof(secret), "%s/secret", dir);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	close(open(secret, O_CREAT | O_WRONLY, 0));
	refuse_paths("/nonexistent/k", NULL, "cannot open kernel /nonexistent/k: No such file or directory");
	refuse_paths(dir, NULL, "is a directory");
	refuse_paths(fifo, NULL, "not a regular file");
	refuse_paths("/dev/null", NULL, "not a regular file");
	refuse_paths(secret, NULL, geteuid() ? "Permission denied; make it readable" : "is empty");
	refuse_paths(kernel.path, "/nonexistent/i", "cannot open initrd /nonexistent/i: No such file or directory");
	refuse_paths(kernel.path, dir, "is a directory");
	refuse_paths(kernel.path, fifo, "not a regular file");
	unlink(fifo);
	unlink(secret);
	rmdir(dir);
	fake_file_init(&junk, "", 0);
	refuse_paths(junk.path, NULL, "is empty");
	refuse_paths(kernel.path, junk.path, "is empty");
	fake_file_fini(&junk);
	fake_file_init(&junk, "#!/bin/sh\n", 10);
	refuse_paths(junk.path, NULL, "not a kernel that Kite can load (no bzImage, multiboot, PVH or x86-64 ELF header)");
	fake_file_fini(&junk);
}
END_TEST

START_TEST(plain_vmlinux)
{
	struct fake_elf e = vmlinux;

	free(bz.data);
	bz.data = fake_elf(&e);
	bz.len = e.size;
	make_initrd(3000);
	load_ok("root=/dev/vda");
	ck_assert_int_eq(entry.mode, BOOT_LONG64);
	ck_assert_uint_eq(entry.rip, PREF + 0x40);
	check_segments();
	ck_assert_uint_eq(fake_r32(&m, entry.rsi + 0x202), load_le32("HdrS"));
	ck_assert_uint_eq(fake_r64(&m, entry.rsi + 0x70), FAKE_RSDP);
	ck_assert_str_eq(fake_str(&m, fake_r32(&m, entry.rsi + 0x228)), "root=/dev/vda");
	ck_assert(fake_placed(&m, fake_r32(&m, entry.rsi + 0x218), 0, 3000));
	e.elf32 = true;
	e.entry = PREF;
	free(bz.data);
	bz.data = fake_elf(&e);
	refuse_open(NULL, "a 32-bit ELF file with neither a multiboot header nor a PVH note");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("linux_boot");
	TCase *tc = tcase_create("linux_boot");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, unpacks, 0, ARRAY_SIZE(formats));
	tcase_add_test(tc, boot_params);
	tcase_add_test(tc, initrd_placement);
	tcase_add_test(tc, initrd_too_large);
	tcase_add_test(tc, cpu_state);
	tcase_add_test(tc, reset);
	tcase_add_test(tc, own_decompressor);
	tcase_add_test(tc, old_protocols);
	tcase_add_test(tc, bad_headers);
	tcase_add_test(tc, payload_lies);
	tcase_add_test(tc, bad_places);
	tcase_add_test(tc, command_line);
	tcase_add_test(tc, changed_files);
	tcase_add_test(tc, bad_files);
	tcase_add_test(tc, plain_vmlinux);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
