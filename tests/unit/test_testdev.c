/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_hw.h"

#include <stdio.h>
#include <sys/mman.h>

/* Guest memory of four pages from address 0. */
#define PAGES 4
struct guest_mem {
	uint8_t *pages;
	uint64_t mapped_gpa;
	unsigned maps;
};

static void *fake_gm_map(const struct guest_mem *gm, uint64_t gpa, uint64_t len)
{
	((struct guest_mem *)gm)->mapped_gpa = gpa;
	((struct guest_mem *)gm)->maps++;
	return range_ok(gpa, len, PAGES * 4096) ? gm->pages + gpa : NULL;
}

#define gm_map fake_gm_map

/* Protections that the page went through. */
static int prot_seen[8];
static unsigned n_prot;
static bool no_exec;

static int fake_mprotect(void *p, size_t len, int prot)
{
	ck_assert_uint_eq(len, 4096);
	ck_assert_uint_eq((uintptr_t)p % 4096, 0);
	prot_seen[n_prot++ % ARRAY_SIZE(prot_seen)] = prot;
	return no_exec && (prot & PROT_EXEC) ? -1 : mprotect(p, len, prot);
}

#define mprotect fake_mprotect

#include "hw/testdev.c"

#undef mprotect

static struct fake_hw hw;
static struct guest_mem gm;
static struct fake_irq irqs[TESTDEV_IRQS];
static struct device *dev;

static void setup(void)
{
	struct err err = ERR_INIT;
	struct testdev_config cfg = { .mem = &gm };

	fake_hw_init(&hw);
	memset(irqs, 0, sizeof(irqs));
	memset(&gm, 0, sizeof(gm));
	gm.pages = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(gm.pages, MAP_FAILED);
	for (unsigned i = 0; i < TESTDEV_IRQS; i++)
		cfg.irqs[i] = fake_irq_line(&irqs[i], i);
	n_prot = 0;
	no_exec = false;
	dev = testdev_create(&hw.env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
}

static void teardown(void)
{
	uint8_t byte;

	bus_read(hw.env.mmio, 0xff000000, &byte, 1);
	fake_hw_fini(&hw, dev);
	munmap(gm.pages, PAGES * 4096);
}

START_TEST(echo)
{
	ck_assert_uint_eq(fake_in(&hw, 0xe0, 4), 0);
	fake_out(&hw, 0xe0, 0x12345678, 4);
	ck_assert_uint_eq(fake_in(&hw, 0xe0, 4), 0x12345678);
	ck_assert_uint_eq(fake_in(&hw, 0xe0, 2), 0x5678);
	ck_assert_uint_eq(fake_in(&hw, 0xe2, 2), 0x1234);
	ck_assert_uint_eq(fake_in(&hw, 0xe3, 1), 0x12);
	fake_out(&hw, 0xe1, 0xab, 1);
	fake_out(&hw, 0xe2, 0xcdef, 2);
	ck_assert_uint_eq(fake_in(&hw, 0xe0, 4), 0xcdefab78);
	/* the same register by bytes */
	ck_assert_uint_eq(fake_in(&hw, 0xe8, 4), 0xcdefab78);
	fake_out(&hw, 0xe8, 0x04030201, 4);
	ck_assert_uint_eq(fake_in(&hw, 0xe0, 4), 0x04030201);
	ck_assert_uint_eq(fake_in(&hw, 0xe9, 2), 0x0302);
	dev->ops->reset(dev);
	ck_assert_uint_eq(fake_in(&hw, 0xe0, 4), 0);
}
END_TEST

START_TEST(irq_lines)
{
	for (unsigned i = 0; i < TESTDEV_IRQS; i++) {
		fake_outb(&hw, 0x2000 + i, 1);
		ck_assert(irqs[i].level);
		ck_assert_uint_eq(irqs[i].pin, i);
		fake_outb(&hw, 0x2000 + i, 0);
		ck_assert(!irqs[i].level);
		fake_outb(&hw, 0x2000 + i, 0x80);
		ck_assert_uint_eq(irqs[i].rises, 2);
	}
	fake_outb(&hw, 0x2000 + TESTDEV_IRQS, 1); /* nobody's */
	ck_assert_uint_eq(fake_in(&hw, 0x2000, 4), 0xffffffff);
	dev->ops->reset(dev);
	for (unsigned i = 0; i < TESTDEV_IRQS; i++)
		ck_assert(!irqs[i].level);
}
END_TEST

START_TEST(flush)
{
	gm.pages[0x1234] = 0x77;
	fake_out(&hw, 0xe4, 0x1234, 4);
	ck_assert_uint_eq(gm.mapped_gpa, 0x1000);
	ck_assert_uint_eq(n_prot, 2);
	ck_assert_int_eq(prot_seen[0], PROT_READ | PROT_WRITE | PROT_EXEC); /* never without read and write */
	ck_assert_int_eq(prot_seen[1], PROT_READ | PROT_WRITE);
	ck_assert_uint_eq(gm.pages[0x1234], 0x77);
	gm.pages[0x1234] = 0x78;
	fake_out(&hw, 0xe4, 0xfffff000, 4); /* not memory */
	ck_assert_uint_eq(n_prot, 2);
	fake_out(&hw, 0xe4, 0, 2);
	fake_out(&hw, 0xe4, 0, 1);
	fake_out(&hw, 0xe5, 0, 4);
	ck_assert_uint_eq(gm.maps, 2);
	no_exec = true;
	fake_out(&hw, 0xe4, 0x3fff, 4);
	ck_assert_uint_eq(n_prot, 3);
	ck_assert_uint_eq(fake_in(&hw, 0xe4, 4), 0xffffffff);
}
END_TEST

START_TEST(flush_without_memory)
{
	struct testdev *s = CONTAINER_OF(dev, struct testdev, dev);

	s->guest_mem = NULL;
	fake_out(&hw, 0xe4, 0x1000, 4);
	ck_assert_uint_eq(n_prot, 0);
}
END_TEST

START_TEST(memory)
{
	uint8_t buf[8], out[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	for (unsigned len = 1; len <= 8; len++) {
		for (unsigned at = 0; at < 16; at++) {
			ck_assert(bus_write(hw.env.mmio, 0xff000000 + at, out, len));
			ck_assert(bus_read(hw.env.mmio, 0xff000000 + at, buf, len));
			ck_assert_mem_eq(buf, out, len);
		}
	}
	ck_assert(bus_write(hw.env.mmio, 0xff00fffc, out, 8));
	ck_assert(bus_read(hw.env.mmio, 0xff00fffc, buf, 8));
	ck_assert_mem_eq(buf, ((uint8_t[]){ 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff }), 8);
	ck_assert(!bus_read(hw.env.mmio, 0xff010000, buf, 8));
	ck_assert(!bus_read(hw.env.mmio, 0xfeffffff, buf, 1));
	dev->ops->reset(dev);
	ck_assert(bus_read(hw.env.mmio, 0xff00fffc, buf, 1));
	ck_assert_uint_eq(buf[0], 0);
}
END_TEST

START_TEST(ports_taken)
{
	struct err err = ERR_INIT;
	struct testdev_config cfg = { 0 };
	struct testdev *s = CONTAINER_OF(dev, struct testdev, dev);
	uint8_t byte;

	ck_assert_ptr_null(testdev_create(&hw.env, &cfg, &err));
	ck_assert_int_eq(err.code, -EEXIST);
	/* The last region fails: the first ones go again. */
	for (unsigned i = 0; i < TESTDEV_MEM; i++)
		bus_remove(s->bus[i], &s->region[i]);
	ck_assert_ptr_null(testdev_create(&hw.env, &cfg, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "memory"));
	ck_assert(!bus_read(hw.env.pio, 0xe0, &byte, 1));
	ck_assert(!bus_read(hw.env.pio, 0x2000, &byte, 1));
}
END_TEST

START_TEST(hostile)
{
	fake_hostile_ports(&hw, 0xe0, 12);
	fake_hostile_ports(&hw, 0x2000, TESTDEV_IRQS);
	fake_random_ports(&hw, 0xe0, 12, 2000);
	fake_random_ports(&hw, 0x2000, TESTDEV_IRQS, 2000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("testdev");
	TCase *t = tcase_create("testdev");

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, echo);
	tcase_add_test(t, irq_lines);
	tcase_add_test(t, flush);
	tcase_add_test(t, flush_without_memory);
	tcase_add_test(t, memory);
	tcase_add_test(t, ports_taken);
	tcase_add_test(t, hostile);
	return fake_run_suite(s);
}
