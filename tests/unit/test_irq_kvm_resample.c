/* SPDX-License-Identifier: MIT */
/* Lines through eventfds, on a KVM that does with them what Linux's does: raises at a write, lowers and says so at an EOI. */
#include "tests/unit/fake_kvm.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/unit/fake_frontend.h"
#include "vmm/irq_kvm_resample.c"

#define VM_FD 77
#define FIRST 16

static struct {
	bool bound, high;
	int fd, acked;
} lines[IRQ_RESAMPLE_LINES];
static unsigned n_calls, fail_call = UINT32_MAX;
static bool keeps_counters; /* a kernel before 5.11 */

int fake_kvm_ioctl(int fd, unsigned long request, void *arg)
{
	const struct kvm_irqfd *a = arg;
	unsigned n = a->gsi - FIRST;

	ck_assert_int_eq(fd, VM_FD);
	ck_assert_uint_eq(request, KVM_IRQFD);
	ck_assert_uint_lt(n, IRQ_RESAMPLE_LINES);
	if (n_calls++ == fail_call)
		return -ENOSPC;
	if (a->flags & KVM_IRQFD_FLAG_DEASSIGN) {
		ck_assert(lines[n].bound && lines[n].fd == (int)a->fd);
		lines[n].bound = lines[n].high = false;
		return 0;
	}
	ck_assert(!lines[n].bound && a->flags == KVM_IRQFD_FLAG_RESAMPLE);
	lines[n].bound = true;
	lines[n].fd = (int)a->fd;
	lines[n].acked = (int)a->resamplefd;
	/* What is in it counts. */
	lines[n].high = poll(&(struct pollfd){ .fd = lines[n].fd, .events = POLLIN }, 1, 0) == 1;
	return 0;
}

/* KVM's work, as far as it has come: whether it has raised the line meanwhile. */
static bool kvm_sees(unsigned n)
{
	uint64_t count;

	if (keeps_counters)
		lines[n].high |= poll(&(struct pollfd){ .fd = lines[n].fd, .events = POLLIN }, 1, 0) == 1;
	else
		lines[n].high |= read(lines[n].fd, &count, sizeof(count)) == sizeof(count);
	return lines[n].high;
}

static void eoi(unsigned n)
{
	uint64_t one = 1;

	kvm_sees(n);
	lines[n].high = false;
	ck_assert_int_eq(write(lines[n].acked, &one, sizeof(one)), sizeof(one));
}

static struct eventloop *loop;
static struct irq_resample irqs;
static struct err err;

static void setup(void)
{
	memset(lines, 0xff, sizeof(lines)); /* no descriptors */
	for (unsigned i = 0; i < IRQ_RESAMPLE_LINES; i++)
		lines[i].bound = lines[i].high = false;
	loop = fake_loop();
	err = (struct err)ERR_INIT;
	n_calls = 0;
}

static void teardown(void)
{
	irq_resample_fini(&irqs);
	for (unsigned i = 0; i < IRQ_RESAMPLE_LINES; i++)
		ck_assert(fcntl(lines[i].fd, F_GETFD) < 0 && fcntl(lines[i].acked, F_GETFD) < 0);
	eventloop_destroy(loop);
}

static void init(void)
{
	irq_resample_init(&irqs, VM_FD, loop, FIRST, IRQ_RESAMPLE_LINES);
	for (unsigned i = 0; i < IRQ_RESAMPLE_LINES; i++)
		ck_assert_msg(irq_resample_bind(&irqs, i, &err) == 0, "%s", err.msg);
}

START_TEST(level)
{
	struct irq_line a, b;
	unsigned calls;

	init();
	a = irq_resample_line(&irqs, 1);
	b = irq_resample_line(&irqs, 1);
	calls = n_calls;
	ck_assert(!kvm_sees(1));
	irq_set(&a, true);
	ck_assert(kvm_sees(1) && !kvm_sees(0) && !kvm_sees(2));
	/* Served, then ended: it stays low. */
	irq_set(&a, false);
	eoi(1);
	fake_run_for(loop, 5);
	ck_assert(!kvm_sees(1));
	/* Ended without being served: it comes again, until it is. */
	irq_set(&a, true);
	for (unsigned i = 0; i < 3; i++) {
		eoi(1);
		fake_run_for(loop, 5);
		ck_assert(kvm_sees(1));
	}
	/* Two devices: one served, the other still there. */
	irq_set(&b, true);
	irq_set(&a, false);
	eoi(1);
	fake_run_for(loop, 5);
	ck_assert(kvm_sees(1));
	/* Served, and there is another cause before the EOI: one more interrupt. */
	irq_set(&b, false);
	irq_set(&b, true);
	eoi(1);
	fake_run_for(loop, 5);
	ck_assert(kvm_sees(1));
	irq_set(&b, false);
	eoi(1);
	fake_run_for(loop, 5);
	ck_assert(!kvm_sees(1));
	/* A new cause between the EOI and the loop's look. */
	irq_set(&a, true);
	irq_set(&a, false);
	eoi(1);
	irq_set(&a, true);
	fake_run_for(loop, 5);
	ck_assert(kvm_sees(1));
	irq_set(&a, false);
	ck_assert_uint_eq(n_calls, calls); /* no ioctl in all that */
}
END_TEST

/* How long the line was low after an EOI. */
static int64_t low_ns(unsigned n)
{
	int64_t start = now_ns();

	eoi(n);
	do
		fake_run_for(loop, 0);
	while (!kvm_sees(n));
	return now_ns() - start;
}

/* A guest that never serves the device is given a moment between interrupts, once there were many; serving it ends that. */
START_TEST(storm)
{
	struct irq_line a;

	init();
	a = irq_resample_line(&irqs, 1);
	irq_set(&a, true);
	for (unsigned i = 0; i < STORM; i++) {
		low_ns(1);
		ck_assert_int_eq(irqs.pins[1].pause.deadline_ns, 0);
	}
	ck_assert_int_ge(low_ns(1), STORM_PAUSE_NS);
	ck_assert_int_ge(low_ns(1), STORM_PAUSE_NS);
	irq_set(&a, false);
	irq_set(&a, true);
	irqs.pins[1].pause.deadline_ns = 0;
	low_ns(1);
	ck_assert_int_eq(irqs.pins[1].pause.deadline_ns, 0);
}
END_TEST

/* Lines that nobody acknowledges any more are low after a reset, and work. */
START_TEST(reset)
{
	struct irq_line a, b;
	unsigned calls;

	keeps_counters = _i;
	init();
	a = irq_resample_line(&irqs, 0);
	b = irq_resample_line(&irqs, 3);
	irq_set(&a, true);
	ck_assert(kvm_sees(0));
	irq_set(&a, false);
	calls = n_calls;
	ck_assert_int_eq(irq_resample_reset(&irqs, &err), 0);
	ck_assert_uint_eq(n_calls, calls + 2); /* the one that was used */
	ck_assert(!kvm_sees(0) && lines[0].bound);
	ck_assert_int_eq(irq_resample_reset(&irqs, &err), 0);
	ck_assert_uint_eq(n_calls, calls + 2);
	/* An end that is driven even now. */
	irq_set(&b, true);
	ck_assert_int_eq(irq_resample_reset(&irqs, &err), 0);
	ck_assert(kvm_sees(3));
	irq_set(&b, false);
	irq_set(&a, true);
	ck_assert(kvm_sees(0));
	irq_set(&a, false);
	fail_call = n_calls + _i;
	ck_assert_int_eq(irq_resample_reset(&irqs, &err), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(err.msg, "interrupt line 16"));
}
END_TEST

/* A line that no device has is not bound: no calls, and none at a reset or at the end. */
START_TEST(unbound)
{
	irq_resample_init(&irqs, VM_FD, loop, FIRST, IRQ_RESAMPLE_LINES);
	ck_assert_int_eq(irq_resample_bind(&irqs, 2, &err), 0);
	ck_assert_int_eq(irq_resample_bind(&irqs, 2, &err), 0); /* again does nothing */
	ck_assert_uint_eq(n_calls, 1);
	ck_assert_int_eq(irq_resample_reset(&irqs, &err), 0);
	ck_assert_uint_eq(n_calls, 1);
	ck_assert(irqs.pins[0].fd < 0 && irqs.pins[3].acked.fd < 0);
}
END_TEST

START_TEST(failures)
{
	for (fail_call = 0; fail_call < IRQ_RESAMPLE_LINES; fail_call++) {
		n_calls = 0;
		irq_resample_init(&irqs, VM_FD, loop, FIRST, IRQ_RESAMPLE_LINES);
		for (unsigned i = 0; i < fail_call; i++)
			ck_assert_int_eq(irq_resample_bind(&irqs, i, &err), 0);
		ck_assert_int_eq(irq_resample_bind(&irqs, fail_call, &err), -ENOSPC);
		ck_assert_ptr_nonnull(strstr(err.msg, "cannot drive it"));
		ck_assert(irqs.pins[fail_call].fd < 0 && irqs.pins[fail_call].acked.fd < 0);
		irq_resample_fini(&irqs);
		for (unsigned i = 0; i < fail_call; i++) {
			ck_assert(fcntl(lines[i].fd, F_GETFD) < 0 && fcntl(lines[i].acked, F_GETFD) < 0);
			lines[i].bound = false;
		}
	}
	irqs = (struct irq_resample){ .n = 0 };
}
END_TEST

/* Devices on threads, each of whose interrupts must be served, with a guest that serves all that drive a line and ends it. */
#define DEVICES 3
#define ROUNDS 3000

static struct device {
	struct irq_line line;
	pthread_mutex_t lock;
	unsigned wanted, served;
	atomic_bool done;
} devices[DEVICES];

static void *device_run(void *opaque)
{
	struct device *d = opaque;

	for (unsigned i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&d->lock);
		d->wanted++;
		irq_set(&d->line, true);
		pthread_mutex_unlock(&d->lock);
		while (i % 4 == 0 && __atomic_load_n(&d->served, __ATOMIC_SEQ_CST) != i + 1)
			sched_yield();
	}
	atomic_store(&d->done, true);
	return NULL;
}

static atomic_bool stop_loop_now;

static void *loop_run(void *opaque)
{
	(void)opaque;
	while (!atomic_load(&stop_loop_now))
		fake_run_for(loop, 2);
	return NULL;
}

START_TEST(nothing_is_lost)
{
	pthread_t threads[DEVICES], looper;
	bool all = false;

	init();
	pthread_create(&looper, NULL, loop_run, NULL);
	for (unsigned i = 0; i < DEVICES; i++) {
		devices[i] = (struct device){ .line = irq_resample_line(&irqs, 2), .lock = PTHREAD_MUTEX_INITIALIZER };
		pthread_create(&threads[i], NULL, device_run, &devices[i]);
	}
	while (!all) {
		if (!kvm_sees(2)) {
			sched_yield();
		} else {
			for (unsigned i = 0; i < DEVICES; i++) {
				pthread_mutex_lock(&devices[i].lock);
				__atomic_store_n(&devices[i].served, devices[i].wanted, __ATOMIC_SEQ_CST);
				irq_set(&devices[i].line, false);
				pthread_mutex_unlock(&devices[i].lock);
			}
			eoi(2);
		}
		all = true;
		for (unsigned i = 0; i < DEVICES; i++)
			all &= atomic_load(&devices[i].done) && devices[i].served == ROUNDS;
	}
	for (unsigned i = 0; i < DEVICES; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&stop_loop_now, true);
	pthread_join(looper, NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("irq_kvm_resample");
	TCase *tc = tcase_create("irq_kvm_resample");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, level);
	tcase_add_test(tc, storm);
	tcase_add_loop_test(tc, reset, 0, 2);
	tcase_add_test(tc, unbound);
	tcase_add_test(tc, failures);
	tcase_add_test(tc, nothing_is_lost);
	suite_add_tcase(s, tc);
	return fake_run_tests(s);
}
