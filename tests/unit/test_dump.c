/* SPDX-License-Identifier: MIT */
/* The ELF core of a guest of two regions: read back header by header, and written to what does not take it. */
#include "vmm/dump.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/x86/core_note.h"
#include "tests/unit/suite.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define LOW_SIZE (UINT64_C(2) << 20)
#define HIGH (UINT64_C(1) << 32)
#define HIGH_SIZE (UINT64_C(1) << 20)

static struct guest_mem *mem;
static struct dump_notes notes;
static struct dump d;
static int file = -1;

static void setup(void)
{
	const struct gm_range ranges[] = { { 0, LOW_SIZE }, { HIGH, HIGH_SIZE } };
	struct err err = ERR_INIT;

	mem = gm_create(ranges, 2, &err);
	ck_assert_msg(mem != NULL, "%s", err.msg);
	gm_fill(mem, 0x1000, 0x11, 4096);
	gm_fill(mem, HIGH + HIGH_SIZE - 4096, 0x22, 4096);
	notes = (struct dump_notes){ .data = NULL };
	ck_assert_int_eq(dump_notes_add(&notes, "CORE", NT_PRSTATUS, "abcde", 5), 0);
	ck_assert_int_eq(dump_notes_add(&notes, "QEMU", 0, "12345678", 8), 0);
	file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	ck_assert_int_ge(file, 0);
	d = (struct dump){ .mem = mem, .notes = &notes, .fd = file };
}

static void teardown(void)
{
	dump_notes_fini(&notes);
	gm_destroy(mem);
	close(file);
}

static void get(uint64_t at, void *p, size_t len)
{
	ck_assert_int_eq(pread(file, p, len, (off_t)at), (ssize_t)len);
}

static void write_it(void)
{
	struct err err = ERR_INIT;

	ck_assert_msg(dump_write(&d, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(atomic_load(&d.completed), dump_total(&d));
}

static void check_segment(uint64_t from, unsigned i, uint64_t gpa, uint64_t size)
{
	Elf64_Phdr p;
	uint8_t *data = malloc(size);

	get(from + sizeof(Elf64_Ehdr) + i * sizeof(p), &p, sizeof(p));
	ck_assert_uint_eq(p.p_type, PT_LOAD);
	ck_assert_uint_eq(p.p_paddr, gpa);
	ck_assert_uint_eq(p.p_vaddr, gpa);
	ck_assert_uint_eq(p.p_filesz, size);
	ck_assert_uint_eq(p.p_memsz, size);
	ck_assert_uint_eq(p.p_offset % 4096, 0);
	get(from + p.p_offset, data, size);
	ck_assert_int_eq(memcmp(data, gm_map(mem, gpa, size), size), 0);
	free(data);
}

static unsigned check_head(uint64_t from)
{
	Elf64_Ehdr e;
	Elf64_Phdr p;
	Elf64_Nhdr n;
	char text[32];

	get(from, &e, sizeof(e));
	ck_assert_int_eq(memcmp(e.e_ident, "\177ELF\2\1\1", 7), 0);
	ck_assert_uint_eq(e.e_type, ET_CORE);
	ck_assert_uint_eq(e.e_machine, EM_X86_64);
	ck_assert_uint_eq(e.e_phoff, sizeof(e));
	get(from + e.e_phoff, &p, sizeof(p));
	ck_assert_uint_eq(p.p_type, PT_NOTE);
	ck_assert_uint_eq(p.p_filesz, notes.len);
	get(from + p.p_offset, &n, sizeof(n));
	ck_assert_uint_eq(n.n_namesz, 5);
	ck_assert_uint_eq(n.n_descsz, 5);
	ck_assert_uint_eq(n.n_type, NT_PRSTATUS);
	get(from + p.p_offset + sizeof(n), text, 16);
	ck_assert_int_eq(memcmp(text, "CORE\0\0\0\0abcde\0\0\0", 16), 0);
	get(from + p.p_offset + sizeof(n) + 16, &n, sizeof(n));
	ck_assert_uint_eq(n.n_type, 0);
	ck_assert_uint_eq(n.n_descsz, 8);
	return e.e_phnum;
}

START_TEST(whole)
{
	struct stat st;

	write_it();
	ck_assert_uint_eq(check_head(0), 3);
	check_segment(0, 1, 0, LOW_SIZE);
	check_segment(0, 2, HIGH, HIGH_SIZE);
	fstat(file, &st);
	ck_assert_uint_eq(dump_total(&d), LOW_SIZE + HIGH_SIZE);
	ck_assert_uint_eq((uint64_t)st.st_size, 4096 + LOW_SIZE + HIGH_SIZE);
	ck_assert_uint_lt((uint64_t)st.st_blocks * 512, LOW_SIZE); /* holes */
}
END_TEST

START_TEST(zeroes_at_the_end)
{
	struct stat st;

	gm_fill(mem, HIGH, 0, HIGH_SIZE);
	write_it();
	fstat(file, &st);
	ck_assert_uint_eq((uint64_t)st.st_size, 4096 + LOW_SIZE + HIGH_SIZE);
	check_segment(0, 2, HIGH, HIGH_SIZE);
}
END_TEST

/* Where a file has something already, zeroes are written over it. */
START_TEST(over_an_old_file)
{
	char junk[65536];

	memset(junk, 0x77, sizeof(junk));
	for (unsigned i = 0; i < 64; i++)
		ck_assert_int_eq(write(file, junk, sizeof(junk)), sizeof(junk));
	lseek(file, 8192, SEEK_SET);
	write_it();
	ck_assert_uint_eq(check_head(8192), 3);
	check_segment(8192, 1, 0, LOW_SIZE);
	check_segment(8192, 2, HIGH, HIGH_SIZE);
	get(0, junk, 1);
	ck_assert_int_eq(junk[0], 0x77);
}
END_TEST

START_TEST(parts)
{
	static const struct {
		uint64_t begin, length;
		unsigned segments;
		uint64_t total;
	} cases[] = {
		{ 0x1800, 0x1000, 2, 0x1000 },
		{ LOW_SIZE - 16, 32, 2, 16 },
		{ HIGH - 16, 32, 2, 16 },
		{ 4096, HIGH, 3, LOW_SIZE - 4096 + 4096 },
		{ LOW_SIZE, 4096, 1, 0 },
		{ UINT64_MAX, 2, 1, 0 },
		{ HIGH, UINT64_MAX, 2, HIGH_SIZE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		d.begin = cases[i].begin;
		d.length = cases[i].length;
		atomic_store(&d.completed, 0);
		ck_assert_int_eq(ftruncate(file, 0), 0);
		lseek(file, 0, SEEK_SET);
		ck_assert_uint_eq(dump_total(&d), cases[i].total);
		write_it();
		ck_assert_uint_eq(check_head(0), cases[i].segments);
	}
	d.begin = 0x1800;
	d.length = 0x1000;
	atomic_store(&d.completed, 0);
	ck_assert_int_eq(ftruncate(file, 0), 0);
	lseek(file, 0, SEEK_SET);
	write_it();
	check_segment(0, 1, 0x1800, 0x1000);
}
END_TEST

static void *reader(void *arg)
{
	int *fds = arg;
	char buf[100000];
	ssize_t n;

	while ((n = read(fds[0], buf, sizeof(buf))) > 0)
		ck_assert_int_eq(write(file, buf, (size_t)n), n);
	return NULL;
}

START_TEST(through_a_pipe)
{
	pthread_t thread;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	d.fd = fds[1];
	pthread_create(&thread, NULL, reader, fds);
	write_it();
	close(fds[1]);
	pthread_join(thread, NULL);
	close(fds[0]);
	ck_assert_uint_eq(check_head(0), 3);
	check_segment(0, 1, 0, LOW_SIZE);
	check_segment(0, 2, HIGH, HIGH_SIZE);
}
END_TEST

static void *canceller(void *arg)
{
	(void)arg;
	usleep(100000);
	atomic_store(&d.cancel, true);
	return NULL;
}

/* Nobody reads: it can be given up all the same. */
START_TEST(cancelled)
{
	struct err err = ERR_INIT;
	pthread_t thread;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	d.fd = fds[1];
	pthread_create(&thread, NULL, canceller, NULL);
	ck_assert_int_eq(dump_write(&d, &err), -ECANCELED);
	pthread_join(thread, NULL);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(failing)
{
	struct err err = ERR_INIT;

	d.fd = open("/dev/full", O_WRONLY);
	ck_assert_int_eq(dump_write(&d, &err), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(err.msg, "dump"));
	close(d.fd);
	d.fd = -1;
	ck_assert_int_eq(dump_write(&d, &err), -EBADF);
}
END_TEST

START_TEST(registers)
{
	const struct kvm_regs regs = { .rax = 1, .rbx = 2, .rsp = 3, .rip = 0x1234567890, .r15 = 15, .rflags = 0x202, .rdi = 9 };
	struct kvm_sregs sregs = { .cr0 = 0x80000011, .cr3 = 0x1000, .cr4 = 0x20, .fs.base = 77, .idt = { .base = 88, .limit = 0xfff } };
	uint8_t p[CORE_PRSTATUS_SIZE], q[CORE_QEMU_SIZE];

	sregs.cs = (struct kvm_segment){ .selector = 8, .type = 0xb, .s = 1, .present = 1, .l = 1, .g = 1, .limit = 0xffffffff };
	core_note_prstatus(&regs, &sregs, 3, p);
	ck_assert_uint_eq(load_le32(p + 32), 4);
	ck_assert_uint_eq(load_le64(p + 112), 15);
	ck_assert_uint_eq(load_le64(p + 112 + 10 * 8), 1);
	ck_assert_uint_eq(load_le64(p + 112 + 14 * 8), 9);
	ck_assert_uint_eq(load_le64(p + 112 + 16 * 8), 0x1234567890);
	ck_assert_uint_eq(load_le64(p + 112 + 17 * 8), 8);
	ck_assert_uint_eq(load_le64(p + 112 + 18 * 8), 0x202);
	ck_assert_uint_eq(load_le64(p + 112 + 19 * 8), 3);
	ck_assert_uint_eq(load_le64(p + 112 + 21 * 8), 77);
	core_note_qemu(&regs, &sregs, 99, q);
	ck_assert_uint_eq(load_le32(q), 1);
	ck_assert_uint_eq(load_le32(q + 4), CORE_QEMU_SIZE);
	ck_assert_uint_eq(load_le64(q + 8), 1);
	ck_assert_uint_eq(load_le64(q + 8 + 16 * 8), 0x1234567890);
	ck_assert_uint_eq(load_le32(q + 152), 8); /* cs */
	ck_assert_uint_eq(load_le32(q + 152 + 8), 0xa09b00);
	ck_assert_uint_eq(load_le32(q + 152 + 9 * 24 + 4), 0xfff); /* idt */
	ck_assert_uint_eq(load_le64(q + 152 + 9 * 24 + 16), 88);
	ck_assert_uint_eq(load_le64(q + 392), 0x80000011);
	ck_assert_uint_eq(load_le64(q + 392 + 3 * 8), 0x1000);
	ck_assert_uint_eq(load_le64(q + 432), 99);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		whole, zeroes_at_the_end, over_an_old_file, parts, through_a_pipe, cancelled, failing, registers,
	};

	return suite_run("dump", tests, ARRAY_SIZE(tests), setup, teardown);
}
