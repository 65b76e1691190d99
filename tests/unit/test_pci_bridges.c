/* SPDX-License-Identifier: MIT */
/* What firmware does with the bridges: interrupts to the 8259s, and shadow RAM. */
#include "tests/unit/fake_pci.h"

#define HOST PCI_DEVFN(0, 0)
#define ISA PCI_DEVFN(1, 0)
#define PIRQ_A 0x60
#define PAM0 0x59

static struct fake_pci pci;
static struct fake_fn *fn[3]; /* in slots 4, 5 and 8: lines A, B and A */
static int isa[16];           /* ends that drive an ISA interrupt */
static uint8_t pam[7];
static unsigned pam_calls;

static void isa_set(void *ctl, unsigned pin, bool level)
{
	(void)ctl;
	isa[pin] += level ? 1 : -1;
	ck_assert_int_ge(isa[pin], 0);
}

static const struct irq_ops isa_ops = { .set = isa_set };

static struct irq_line isa_irq(void *opaque, unsigned irq)
{
	ck_assert_ptr_eq(opaque, isa);
	ck_assert_uint_lt(irq, 16);
	return (struct irq_line){ .ops = &isa_ops, .ctl = isa, .pin = irq };
}

static void pam_changed(void *opaque, const uint8_t now[7])
{
	ck_assert_ptr_eq(opaque, pam);
	memcpy(pam, now, sizeof(pam));
	pam_calls++;
}

static void setup(void)
{
	static const unsigned slots[] = { 4, 5, 8 };
	struct err err = ERR_INIT;

	memset(isa, 0, sizeof(isa));
	fake_pci_init(&pci);
	pci_bus_device(pci.bus)->ops->destroy(pci_bus_device(pci.bus));
	pci.cfg.isa_irq = isa_irq;
	pci.cfg.isa_opaque = isa;
	pci.cfg.pam_changed = pam_changed;
	pci.cfg.pam_opaque = pam;
	pci.cfg.reset_ctl = NULL;
	pci.bus = pci_bus_create(&pci.env, &pci.cfg, &err);
	ck_assert_msg(pci.bus != NULL, "%s", err.msg);
	for (unsigned i = 0; i < 3; i++)
		fn[i] = fake_fn_add(&pci, "fn", PCI_DEVFN(slots[i], 0), 0);
	pam_calls = 0;
}

static void teardown(void)
{
	for (unsigned i = 0; i < 3; i++)
		fake_fn_remove(fn[i]);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_int_eq(isa[i], 0);
	fake_pci_fini(&pci);
}

/* By this firmware knows the machine. */
START_TEST(identity)
{
	ck_assert_uint_eq(fake_config_read(&pci, HOST, 0, 4), 0x12378086);
	ck_assert_uint_eq(fake_config_read(&pci, HOST, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
	ck_assert_uint_eq(fake_config_read(&pci, ISA, 0, 4), 0x70008086);
	ck_assert_uint_eq(fake_config_read(&pci, ISA, PIRQ_A, 4), 0x80808080);
}
END_TEST

/* Lines go to the IOAPIC always, and to the ISA interrupt that the router says. */
START_TEST(router)
{
	pci_set_intx(&fn[0]->pci, true);
	ck_assert(pci.intx[0]);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_int_eq(isa[i], 0);
	fake_config_write(&pci, ISA, PIRQ_A, 0x0b0b0a0a, 4); /* as SeaBIOS does */
	ck_assert_uint_eq(fake_config_read(&pci, ISA, PIRQ_A, 4), 0x0b0b0a0a);
	ck_assert_int_eq(isa[10], 1); /* driven already */
	pci_set_intx(&fn[1]->pci, true);
	ck_assert_int_eq(isa[10], 2); /* two lines, one interrupt */
	pci_set_intx(&fn[2]->pci, true);
	pci_set_intx(&fn[0]->pci, false);
	ck_assert_int_eq(isa[10], 2); /* another function on the line */
	fake_config_write(&pci, ISA, PIRQ_A, 5, 1);
	ck_assert_int_eq(isa[10], 1);
	ck_assert_int_eq(isa[5], 1);
	pci_set_intx(&fn[2]->pci, false);
	ck_assert_int_eq(isa[5], 0);
	pci_set_intx(&fn[0]->pci, true);
	fake_config_write(&pci, ISA, PIRQ_A + 1, 0x8a, 1);
	ck_assert_int_eq(isa[10], 0);
	ck_assert(pci.intx[0] && pci.intx[1]);
	pci_bus_device(pci.bus)->ops->reset(pci_bus_device(pci.bus));
	ck_assert_int_eq(isa[5], 0);
	ck_assert_uint_eq(fake_config_read(&pci, ISA, PIRQ_A, 4), 0x80808080);
	ck_assert(pci.intx[0]);
}
END_TEST

/* The timer, the keyboard, the second 8259, the clock, the FPU: no line can go there. Other bits do not exist. */
START_TEST(router_hostile)
{
	static const unsigned none[] = { 0, 1, 2, 8, 13 };

	pci_set_intx(&fn[0]->pci, true);
	for (unsigned v = 0; v < 256; v++) {
		bool routed = !(v & 0x80);

		for (unsigned i = 0; i < ARRAY_SIZE(none); i++)
			routed &= (v & 0xf) != none[i];
		fake_config_write(&pci, ISA, PIRQ_A, v, 1);
		ck_assert_uint_eq(fake_config_read(&pci, ISA, PIRQ_A, 1), v & 0x8f);
		for (unsigned i = 0; i < 16; i++)
			ck_assert_int_eq(isa[i], routed && i == (v & 0xf));
	}
}
END_TEST

/* In one piece, in bytes, and across the register before; a reset tells of it, too. */
START_TEST(shadow)
{
	static const uint8_t zero[7];

	fake_config_write(&pci, HOST, PAM0 - 1, 0xffffffff, 4);
	fake_config_write(&pci, HOST, PAM0 + 3, 0x31333333, 4);
	ck_assert_mem_eq(pam, "\x33\x33\x33\x33\x33\x33\x31", 7);
	ck_assert_uint_eq(pam_calls, 2);
	fake_config_write(&pci, HOST, PAM0, 0x10, 1);
	ck_assert_uint_eq(pam[0], 0x10);
	fake_config_write(&pci, HOST, PAM0 - 1, 0, 1);
	fake_config_write(&pci, HOST, PAM0 + 7, 0, 4);
	ck_assert_uint_eq(pam_calls, 3);
	pci_bus_device(pci.bus)->ops->reset(pci_bus_device(pci.bus));
	ck_assert_mem_eq(pam, zero, 7);
	ck_assert_uint_eq(pam_calls, 4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci_bridges");
	TCase *tc = tcase_create("pci_bridges");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, identity);
	tcase_add_test(tc, router);
	tcase_add_test(tc, router_hostile);
	tcase_add_test(tc, shadow);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
