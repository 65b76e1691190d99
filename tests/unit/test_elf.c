/* SPDX-License-Identifier: MIT */
#include "firmware/elf.h"

#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fake_boot.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define SIZE (64 * KIB)

static const struct fake_segment two[] = {
	{ .offset = 0x1000, .vaddr = 0xffffffff81000000, .paddr = 0x1000000, .filesz = 0x3000, .memsz = 0x3000 },
	{ .offset = 0x5000, .vaddr = 0xffffffff82000000, .paddr = 0x2000000, .filesz = 0x2000, .memsz = 0x9000 },
};
static const struct fake_elf plain = { .entry = 0x1000100, .segment = two, .n = 2, .size = SIZE };

static struct fake_machine m;
static struct elf_image img;
static struct err err;
static uint8_t *file;
static struct elf_source src;

static void setup(void)
{
	fake_machine_init(&m, 64 * MIB, 0);
	file = fake_elf(&plain);
	src = (struct elf_source){ .data = file, .fd = -1, .size = SIZE };
	err = (struct err)ERR_INIT;
}

static void teardown(void)
{
	free(file);
	fake_machine_fini(&m);
}

static void use(const struct fake_elf *e)
{
	free(file);
	file = fake_elf(e);
	src = (struct elf_source){ .data = file, .fd = -1, .size = e->size };
}

static void parse_ok(void)
{
	ck_assert_msg(elf_parse(&src, &img, &err) == 0, "%s", err.msg);
}

static void refuse(const char *words)
{
	err = (struct err)ERR_INIT;
	ck_assert_int_eq(elf_parse(&src, &img, &err), -EINVAL);
	ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' lacks '%s'", err.msg, words);
}

static void refuse_elf(struct fake_elf e, const char *words)
{
	use(&e);
	refuse(words);
}

static void refuse_segments(const struct fake_segment *s, size_t n, const char *words)
{
	struct fake_elf e = plain;

	e.segment = s;
	e.n = n;
	refuse_elf(e, words);
}

START_TEST(parses)
{
	parse_ok();
	ck_assert(img.elf64 && img.x86_64 && !img.has_pvh);
	ck_assert_uint_eq(img.entry, 0x1000100);
	ck_assert_uint_eq(img.n, 2);
	ck_assert_uint_eq(img.lo, 0x1000000);
	ck_assert_uint_eq(img.hi, 0x2009000);
	ck_assert(elf_contains(&img, 0x2008fff) && !elf_contains(&img, 0x2009000) && !elf_contains(&img, 0xffffff));
	ck_assert(elf_is_elf(file, 4) && !elf_is_elf(file, 3) && !elf_is_elf((const uint8_t *)"\x7f" "ELG", 4));
}
END_TEST

START_TEST(parses_32_bit)
{
	const struct fake_segment s[] = { { 0x2000, 0xc0100000, 0x100000, 0x1000, 0x1000 }, { 0x1000, 0, 0x200000, 0x10, 0x20 } };
	struct fake_elf e = { .elf32 = true, .entry = 0xc0100010, .segment = s, .n = 2, .size = SIZE };

	use(&e);
	parse_ok();
	ck_assert(!img.elf64 && !img.x86_64);
	/* A virtual entry, and segments in the order of the file. */
	ck_assert_uint_eq(img.entry, 0x100010);
	ck_assert_uint_eq(img.segment[0].offset, 0x1000);
	ck_assert_uint_eq(img.segment[1].paddr, 0x100000);
}
END_TEST

START_TEST(entry_points)
{
	struct fake_elf e = plain;

	e.entry = 0xffffffff82008fff;
	use(&e);
	parse_ok();
	ck_assert_uint_eq(img.entry, 0x2008fff);
	e.entry = 0xffffffff82009000;
	refuse_elf(e, "entry point 0xffffffff82009000 is in no loaded segment");
	e.entry = 0;
	refuse_elf(e, "entry point");
}
END_TEST

START_TEST(bad_headers)
{
	struct fake_elf e = plain;

	e.machine = EM_AARCH64;
	refuse_elf(e, "machine 183");
	e.machine = EM_386;
	refuse_elf(e, "64-bit file for i386");
	refuse_segments(two, 0, "no program headers");
	use(&plain);
	file[EI_CLASS] = 3;
	refuse("class 3");
	file[EI_CLASS] = ELFCLASS64;
	file[EI_DATA] = ELFDATA2MSB;
	refuse("little-endian");
	file[EI_DATA] = ELFDATA2LSB;
	file[16] = ET_REL;
	refuse("type 1 is not an executable");
	file[16] = ET_EXEC;
	store_le16(file + 54, 55);
	refuse("program headers of 55 bytes");
	store_le16(file + 54, 56);
	store_le16(file + 56, 0xffff);
	refuse("65535 program headers");
	store_le16(file + 56, 2);
	store_le64(file + 32, SIZE - 56);
	refuse("truncated: the program headers");
	store_le64(file + 32, UINT64_MAX - 10);
	refuse("truncated: the program headers");
	file[0] = 'X';
	refuse("not an ELF file");
}
END_TEST

START_TEST(truncated)
{
	/* Cut short anywhere, also within headers: an error each time. The last byte of a segment is at 0x6fff. */
	for (uint64_t n = 0; n < 0x7000; n += n < 256 ? 1 : 397) {
		src.size = n;
		ck_assert_int_eq(elf_parse(&src, &img, &err), -EINVAL);
	}
	src.size = 0x7000;
	parse_ok();
}
END_TEST

START_TEST(bad_segments)
{
	const struct fake_segment wrap = { 0x1000, 0, 0 - UINT64_C(0x1000), 0x1000, 0x2000 };
	const struct fake_segment vwrap = { 0x1000, 0 - UINT64_C(0x1000), 0x100000, 0x1000, 0x1001 };
	const struct fake_segment top = { 0x1000, 0 - UINT64_C(0x1000), 0x1000000, 0x1000, 0x1000 };
	const struct fake_segment more = { 0x1000, 0x1000000, 0x1000000, 0x1001, 0x1000 };
	const struct fake_segment far = { UINT64_MAX, 0x1000000, 0x1000000, 2, 0x1000 };
	const struct fake_segment outside = { SIZE - 1, 0x1000000, 0x1000000, 2, 0x1000 };
	const struct fake_segment empty = { 0x1000, 0x1000000, 0x1000000, 0, 0 };
	const struct fake_segment overlap[] = { { 0, 0, 0x1000000, 0x10, 0x1001 }, { 0x10, 0, 0x1001000, 0x10, 0x10 } };
	struct fake_segment many[ELF_MAX_SEGMENTS + 1];

	refuse_segments(&wrap, 1, "past the last address");
	refuse_segments(&vwrap, 1, "past the last address");
	refuse_segments(&more, 1, "more bytes in the file");
	refuse_segments(&far, 1, "outside the file");
	refuse_segments(&outside, 1, "outside the file");
	refuse_segments(&empty, 1, "no segment to load");
	refuse_segments(overlap, 2, "overlaps another");
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct fake_segment){ 0x2000, 0, 0x1000000 + i * 0x1000, 1, 0x1000 };
	refuse_segments(many, ARRAY_SIZE(many), "more than 64 segments");
	use(&(struct fake_elf){ .entry = 0x1000000, .segment = &top, .n = 1, .size = SIZE });
	parse_ok();
}
END_TEST

START_TEST(pvh_note)
{
	struct fake_elf e = plain;

	e.pvh_entry = 0x1000850;
	for (e.pvh_size = 4; e.pvh_size <= 8; e.pvh_size += 4) {
		use(&e);
		parse_ok();
		ck_assert(img.has_pvh);
		ck_assert_uint_eq(img.pvh_entry, 0x1000850);
	}
	/* Not Xen's, another type, cut off by the segment's end, or of sizes that go anywhere. */
	e.pvh_size = 8;
	use(&e);
	file[FAKE_ELF_NOTE + 24 + 12] = 'Y';
	parse_ok();
	ck_assert(!img.has_pvh);
	use(&e);
	store_le32(file + FAKE_ELF_NOTE + 24 + 8, 17);
	parse_ok();
	ck_assert(!img.has_pvh);
	use(&e);
	store_le64(file + FAKE_ELF_PHDRS + 2 * 56 + 32, 24 + 23);
	parse_ok();
	ck_assert(!img.has_pvh);
	for (int field = 0; field < 2; field++) {
		use(&e);
		store_le32(file + FAKE_ELF_NOTE + field * 4, 0xffffffff);
		parse_ok();
		ck_assert(!img.has_pvh);
	}
	use(&e);
	store_le64(file + FAKE_ELF_PHDRS + 2 * 56 + 8, SIZE - 8);
	refuse("the notes");
}
END_TEST

/* Also over memory that is not zero, as at a reset. */
START_TEST(loads_from_file)
{
	struct fake_file f;
	struct elf_source from;

	fake_file_init(&f, file, SIZE);
	from = (struct elf_source){ .fd = f.fd, .size = SIZE };
	ck_assert_int_eq(elf_parse(&from, &img, &err), 0);
	gm_fill(m.mem, 0, 0xaa, 64 * MIB);
	ck_assert_int_eq(elf_load(&img, &from, m.mem, &err), 0);
	ck_assert(fake_placed(&m, 0x1000000, 0x1000, 0x3000));
	ck_assert(fake_placed(&m, 0x2000000, 0x5000, 0x2000));
	for (uint64_t a = 0x2002000; a < 0x2009000; a += 8)
		ck_assert_uint_eq(fake_r64(&m, a), 0);
	ck_assert_uint_eq(fake_r32(&m, 0x1003000), 0xaaaaaaaa);
	ck_assert_uint_eq(fake_r32(&m, 0x2009000), 0xaaaaaaaa);
	ck_assert_int_eq(ftruncate(f.fd, 0x6000), 0);
	ck_assert_int_eq(elf_load(&img, &from, m.mem, &err), -ENODATA);
	fake_file_fini(&f);
}
END_TEST

/* Loads from an image in guest memory at `at`. */
static void load_at(uint64_t at)
{
	ck_assert_int_eq(gm_write(m.mem, at, file, src.size), 0);
	src.data = gm_map(m.mem, at, src.size);
	parse_ok();
	ck_assert_msg(elf_load(&img, &src, m.mem, &err) == 0, "%s", err.msg);
	for (size_t i = 0; i < img.n; i++) {
		const struct elf_segment *s = &img.segment[i];

		ck_assert_msg(fake_placed(&m, s->paddr, s->offset, s->filesz), "segment %zu", i);
		for (uint64_t a = s->paddr + s->filesz; a < s->paddr + s->memsz; a++)
			ck_assert_uint_eq(*(uint8_t *)gm_map(m.mem, a, 1), 0);
	}
}

#define AT UINT64_C(0x1000000)

/* `to[i]` is where, relative to the image, the three segments of the file go. */
static void load_three(const uint64_t *to, uint64_t bss)
{
	struct fake_segment s[3];
	struct fake_elf e = { .entry = AT + to[0], .segment = s, .n = 3, .size = SIZE };

	for (size_t i = 0; i < 3; i++)
		s[i] = (struct fake_segment){ 0x1000 + i * 0x4000, 0, AT + to[i], 0x4000, 0x4000 + bss };
	use(&e);
	load_at(AT);
}

START_TEST(loads_in_place)
{
	const struct {
		uint64_t to[3], bss;
	} moves[] = {
		{ { 0x1000, 0x5000, 0x9000 }, 0 },           /* where they are */
		{ { 0x0800, 0x4800, 0x8800 }, 0 },           /* down, over the ELF header too */
		{ { 0x1800, 0x5900, 0x9a00 }, 0x90 },        /* up, each onto the next */
		{ { 0x0000, 0x5000, 0x9100 }, 0x90 },        /* both */
		{ { 0x800000, 0x900000, 0xa00000 }, 0x1234 }, /* far away */
		{ { 0x1000, 0x9000, 0x5000 }, 0 },           /* two change places */
		{ { 0x5100, 0x9200, 0x1000 }, 0x80 },        /* a circle of three */
		{ { 0x9000, 0x20000, 0x5000 }, 0 },          /* a chain */
	};

	for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
		load_three(moves[i].to, moves[i].bss);
}
END_TEST

/* Two segments that share bytes of the file. */
START_TEST(loads_shared_bytes)
{
	const struct fake_segment s[] = { { 0x1000, 0, AT + 0x2000, 0x3000, 0x3000 }, { 0x2000, 0, AT + 0x8000, 0x3000, 0x3000 } };

	use(&(struct fake_elf){ .entry = AT + 0x2000, .segment = s, .n = 2, .size = SIZE });
	load_at(AT);
}
END_TEST

START_TEST(outside_guest_memory)
{
	struct fake_segment s = { 0x1000, 0, 64 * MIB - 0x1000, 0x1000, 0x1001 };

	use(&(struct fake_elf){ .entry = s.paddr, .segment = &s, .n = 1, .size = SIZE });
	parse_ok();
	ck_assert_int_eq(elf_load(&img, &src, m.mem, &err), -EFAULT);
	ck_assert(strstr(err.msg, "outside guest memory"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("elf");
	TCase *tc = tcase_create("elf");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, parses);
	tcase_add_test(tc, parses_32_bit);
	tcase_add_test(tc, entry_points);
	tcase_add_test(tc, bad_headers);
	tcase_add_test(tc, truncated);
	tcase_add_test(tc, bad_segments);
	tcase_add_test(tc, pvh_note);
	tcase_add_test(tc, loads_from_file);
	tcase_add_test(tc, loads_in_place);
	tcase_add_test(tc, loads_shared_bytes);
	tcase_add_test(tc, outside_guest_memory);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
