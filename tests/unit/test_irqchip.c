/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include "arch/x86/irqchip.c"

#define MAX_CALLS 16

static unsigned long calls[MAX_CALLS];
static unsigned n_calls, fail_at = UINT32_MAX;
static struct kvm_irq_routing_entry routes[64];
static uint32_t n_routes;
static struct kvm_irqchip chips[IRQCHIP_COUNT];
static struct kvm_pit_state2 pit;

int fake_kvm_ioctl(int fd, unsigned long request, void *arg)
{
	struct kvm_irq_routing *routing = arg;
	struct kvm_irqchip *chip = arg;

	ck_assert_int_eq(fd, 6);
	ck_assert_uint_lt(n_calls, MAX_CALLS);
	calls[n_calls++] = request;
	if (n_calls - 1 == fail_at)
		return -EIO;
	switch (request) {
	case KVM_SET_IDENTITY_MAP_ADDR:
		ck_assert_uint_eq(*(uint64_t *)arg, MEM_KVM_IDENTITY_MAP);
		break;
	case KVM_SET_TSS_ADDR:
		ck_assert_uint_eq((uintptr_t)arg, MEM_KVM_TSS);
		break;
	case KVM_SET_GSI_ROUTING:
		n_routes = routing->nr;
		ck_assert_uint_le(n_routes, ARRAY_SIZE(routes));
		memcpy(routes, routing->entries, n_routes * sizeof(routes[0]));
		break;
	case KVM_GET_IRQCHIP:
		*chip = chips[chip->chip_id];
		break;
	case KVM_SET_IRQCHIP:
		chips[chip->chip_id] = *chip;
		break;
	case KVM_GET_PIT2:
		*(struct kvm_pit_state2 *)arg = pit;
		break;
	case KVM_SET_PIT2:
		pit = *(struct kvm_pit_state2 *)arg;
		break;
	}
	return 0;
}

/* How many entries lead from `gsi` to a pin of a chip. */
static unsigned route(unsigned gsi, unsigned chip, unsigned pin)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < n_routes; i++)
		n += routes[i].type == KVM_IRQ_ROUTING_IRQCHIP && routes[i].gsi == gsi && routes[i].u.irqchip.irqchip == chip &&
		     routes[i].u.irqchip.pin == pin;
	return n;
}

START_TEST(routing)
{
	struct err err = ERR_INIT;

	ck_assert_int_eq(irqchip_wire(6, true, true, &err), 0);
	ck_assert_uint_eq(n_routes, 16 + 24 - 1);
	for (unsigned gsi = 0; gsi < 8; gsi++) {
		ck_assert_uint_eq(route(gsi, KVM_IRQCHIP_PIC_MASTER, gsi), 1);
		ck_assert_uint_eq(route(gsi + 8, KVM_IRQCHIP_PIC_SLAVE, gsi), 1);
	}
	ck_assert_uint_eq(route(0, KVM_IRQCHIP_IOAPIC, 2), 1);
	ck_assert_uint_eq(route(0, KVM_IRQCHIP_IOAPIC, 0), 0);
	ck_assert_uint_eq(route(2, KVM_IRQCHIP_IOAPIC, 2), 0); /* the cascade: nothing drives it */
	for (unsigned gsi = 1; gsi < 24; gsi++)
		ck_assert_uint_eq(route(gsi, KVM_IRQCHIP_IOAPIC, gsi), gsi != 2);
}
END_TEST

/* Lines reach the IOAPIC only, and there is no timer. */
START_TEST(without_pic_and_pit)
{
	struct kvm_pit_state2 before = pit;
	struct err err = ERR_INIT;
	struct irqchip irqchip;

	ck_assert_int_eq(irqchip_wire(6, false, false, &err), 0);
	ck_assert_uint_eq(n_routes, 24 - 1);
	for (unsigned gsi = 3; gsi < 24; gsi++)
		ck_assert_uint_eq(route(gsi, KVM_IRQCHIP_IOAPIC, gsi), 1);
	ck_assert_int_eq(irqchip_init(&irqchip, 6, false, &err), 0);
	ck_assert_int_eq(irqchip_reset(&irqchip, &err), 0);
	for (unsigned i = 0; i < n_calls; i++)
		ck_assert(calls[i] != KVM_CREATE_PIT2 && calls[i] != KVM_GET_PIT2 && calls[i] != KVM_SET_PIT2);
	ck_assert_int_eq(memcmp(&pit, &before, sizeof(pit)), 0);
}
END_TEST

static int create_and_wire(struct err *err)
{
	int r = irqchip_create(6, err);

	return r < 0 ? r : irqchip_wire(6, true, true, err);
}

/* KVM wants its pages placed first, and the controllers before the timer. */
START_TEST(creation)
{
	static const unsigned long want[] = { KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_TSS_ADDR, KVM_CREATE_IRQCHIP, KVM_CREATE_PIT2,
					      KVM_SET_GSI_ROUTING };
	struct err err = ERR_INIT;

	ck_assert_int_eq(create_and_wire(&err), 0);
	ck_assert_uint_eq(n_calls, ARRAY_SIZE(want));
	ck_assert_int_eq(memcmp(calls, want, sizeof(want)), 0);
	for (fail_at = 0; fail_at < ARRAY_SIZE(want); fail_at++) {
		n_calls = 0;
		err = (struct err)ERR_INIT;
		ck_assert_int_eq(create_and_wire(&err), -EIO);
		ck_assert(err.code == -EIO && err.msg[0]);
		ck_assert_uint_eq(n_calls, fail_at + 1);
	}
}
END_TEST

START_TEST(reset)
{
	static const unsigned long want[] = { KVM_SET_PIT2, KVM_SET_IRQCHIP, KVM_SET_IRQCHIP, KVM_SET_IRQCHIP };
	struct kvm_irqchip fresh[IRQCHIP_COUNT];
	struct kvm_pit_state2 fresh_pit;
	struct err err = ERR_INIT;
	struct irqchip irqchip;

	for (unsigned i = 0; i < IRQCHIP_COUNT; i++)
		chips[i] = (struct kvm_irqchip){ .chip_id = i, .chip.dummy = { (char)(i + 1) } };
	pit.channels[0].count = 0x10000;
	memcpy(fresh, chips, sizeof(chips));
	fresh_pit = pit;
	ck_assert_int_eq(irqchip_init(&irqchip, 6, true, &err), 0);
	for (unsigned i = 0; i < IRQCHIP_COUNT; i++)
		memset(&chips[i].chip, 0x55, sizeof(chips[i].chip));
	memset(&pit, 0x66, sizeof(pit));
	n_calls = 0;
	ck_assert_int_eq(irqchip_reset(&irqchip, &err), 0);
	ck_assert_uint_eq(n_calls, ARRAY_SIZE(want));
	ck_assert_int_eq(memcmp(calls, want, sizeof(want)), 0); /* the timer first */
	ck_assert_int_eq(memcmp(chips, fresh, sizeof(chips)), 0);
	ck_assert_int_eq(memcmp(&pit, &fresh_pit, sizeof(pit)), 0);
	for (fail_at = 0; fail_at < ARRAY_SIZE(want); fail_at++) {
		n_calls = 0;
		ck_assert_int_eq(irqchip_reset(&irqchip, &err), -EIO);
	}
}
END_TEST

START_TEST(init_fails)
{
	struct err err = ERR_INIT;
	struct irqchip irqchip;

	for (fail_at = 0; fail_at < IRQCHIP_COUNT + 1; fail_at++) {
		n_calls = 0;
		ck_assert_int_eq(irqchip_init(&irqchip, 6, true, &err), -EIO);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("irqchip");
	TCase *tc = tcase_create("irqchip");

	tcase_add_test(tc, routing);
	tcase_add_test(tc, without_pic_and_pit);
	tcase_add_test(tc, creation);
	tcase_add_test(tc, reset);
	tcase_add_test(tc, init_fails);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
