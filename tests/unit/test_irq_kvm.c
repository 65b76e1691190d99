/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_kvm.h"

#include "vmm/irq_kvm.c"

#define VM_FD 77

static unsigned n_calls;
static bool pin_level[IRQ_KVM_PINS];
static int fail_with;
static bool busy; /* inside KVM: no two at a time, or their order is chance */

int fake_kvm_ioctl(int fd, unsigned long request, void *arg)
{
	const struct kvm_irq_level *line = arg;
	bool was_busy = __atomic_exchange_n(&busy, true, __ATOMIC_SEQ_CST);

	ck_assert(!was_busy);
	ck_assert_int_eq(fd, VM_FD);
	ck_assert_uint_eq(request, KVM_IRQ_LINE);
	ck_assert_uint_lt(line->irq, IRQ_KVM_PINS);
	ck_assert_uint_ne(line->level, pin_level[line->irq]); /* on edges only */
	pin_level[line->irq] = line->level;
	n_calls++;
	__atomic_store_n(&busy, false, __ATOMIC_SEQ_CST);
	return fail_with;
}

START_TEST(wired_or)
{
	struct irq_kvm irqs;
	struct irq_line a, b, c;

	irq_kvm_init(&irqs, VM_FD);
	a = irq_kvm_line(&irqs, 4);
	b = irq_kvm_line(&irqs, 4);
	c = irq_kvm_line(&irqs, 23);
	ck_assert_uint_eq(n_calls, 0);
	irq_set(&a, false); /* low already */
	ck_assert_uint_eq(n_calls, 0);
	irq_set(&a, true);
	irq_set(&a, true);
	ck_assert(pin_level[4] && n_calls == 1);
	irq_set(&b, true);
	ck_assert_uint_eq(n_calls, 1);
	irq_set(&a, false);
	ck_assert(pin_level[4] && n_calls == 1);
	irq_set(&c, true);
	ck_assert(pin_level[23] && n_calls == 2);
	irq_set(&b, false);
	ck_assert(!pin_level[4] && pin_level[23] && n_calls == 3);
	irq_set(&c, false);
	irq_kvm_fini(&irqs);
}
END_TEST

START_TEST(failure_is_said)
{
	struct irq_kvm irqs;
	struct irq_line a;

	irq_kvm_init(&irqs, VM_FD);
	a = irq_kvm_line(&irqs, 9);
	fail_with = -EINVAL;
	irq_set(&a, true);
	ck_assert_uint_eq(fake_log_lines, 1);
	ck_assert_ptr_nonnull(strstr(fake_log_text, "line 9"));
	fail_with = 0;
	irq_set(&a, false);
	ck_assert(!pin_level[9]);
	irq_kvm_fini(&irqs);
}
END_TEST

#define THREADS 4
#define TURNS 20000

static void *driver(void *arg)
{
	struct irq_line line = irq_kvm_line(arg, 5);

	for (unsigned i = 0; i < TURNS; i++) {
		irq_set(&line, true);
		ck_assert(__atomic_load_n(&((struct irq_kvm *)arg)->vm_fd, __ATOMIC_RELAXED) == VM_FD);
		irq_set(&line, false);
	}
	return NULL;
}

/* Drivers in several threads: KVM sees edges that alternate, one at a time, and low at the end. */
START_TEST(ordering)
{
	struct irq_kvm irqs;
	pthread_t threads[THREADS];

	irq_kvm_init(&irqs, VM_FD);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, driver, &irqs), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert(!pin_level[5]);
	ck_assert_uint_eq(n_calls % 2, 0);
	ck_assert_uint_ge(n_calls, 2);
	irq_kvm_fini(&irqs);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("irq_kvm");
	TCase *tc = tcase_create("irq_kvm");

	tcase_add_test(tc, wired_or);
	tcase_add_test(tc, failure_is_said);
	tcase_add_test(tc, ordering);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return fake_run_tests(suite);
}
