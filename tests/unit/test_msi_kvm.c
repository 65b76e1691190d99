/* SPDX-License-Identifier: MIT */
/* The vectors and doorbells, against a KVM that this file plays: it keeps the routes and the eventfds that it was told. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

static int fake_kvm_ioctl(int fd, unsigned long request, void *arg);
#define kvm_ioctl fake_kvm_ioctl
#include "vmm/msi_kvm.c"

#define VM_FD 77
#define FIRST_GSI 24

static struct {
	unsigned sends, nr;
	struct kvm_irq_routing_entry routes[MSI_KVM_ROUTES + 2];
	unsigned bound; /* irqfds */
	uint32_t gsi, irqfd;
	int fail_routes, fail_irqfd, fail_bell;
	struct kvm_ioeventfd bell;
	unsigned bells;
} kvm;

static int fake_kvm_ioctl(int fd, unsigned long request, void *arg)
{
	const struct kvm_irq_routing *table = arg;
	const struct kvm_irqfd *irq = arg;

	ck_assert_int_eq(fd, VM_FD);
	switch (request) {
	case KVM_SET_GSI_ROUTING:
		if (kvm.fail_routes)
			return kvm.fail_routes;
		ck_assert_uint_le(table->nr, ARRAY_SIZE(kvm.routes));
		kvm.sends++;
		kvm.nr = table->nr;
		memcpy(kvm.routes, table->entries, table->nr * sizeof(table->entries[0]));
		return 0;
	case KVM_IRQFD:
		if (irq->flags & KVM_IRQFD_FLAG_DEASSIGN) {
			kvm.bound--;
			return 0;
		}
		if (kvm.fail_irqfd)
			return kvm.fail_irqfd;
		ck_assert_int_ge(fcntl((int)irq->fd, F_GETFD), FD_CLOEXEC);
		kvm.bound++;
		kvm.gsi = irq->gsi;
		kvm.irqfd = irq->fd;
		return 0;
	case KVM_IOEVENTFD:
		kvm.bell = *(struct kvm_ioeventfd *)arg;
		if (kvm.fail_bell)
			return kvm.fail_bell;
		kvm.bells++;
		return 0;
	default:
		ck_abort_msg("ioctl %lx", request);
	}
}

static const struct kvm_irq_routing_entry lines[2] = {
	{ .gsi = 0, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { KVM_IRQCHIP_IOAPIC, 2 } },
	{ .gsi = 1, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { KVM_IRQCHIP_IOAPIC, 1 } },
};
static struct msi_kvm msis;
static struct msi_source source;

static void setup(void)
{
	struct err err = ERR_INIT;

	memset(&kvm, 0, sizeof(kvm));
	ck_assert_int_eq(msi_kvm_init(&msis, VM_FD, lines, ARRAY_SIZE(lines), FIRST_GSI, &err), 0);
	source = msi_kvm_source(&msis);
}

static void teardown(void)
{
	ck_assert_uint_eq(kvm.bound, 0);
	msi_kvm_fini(&msis);
	msi_kvm_fini(&msis);
}

static struct msi alloc(void)
{
	struct msi msi;

	ck_assert_int_eq(source.ops->alloc(source.ctl, &msi), 0);
	return msi;
}

/* The route of a vector; the lines' routes are always there. */
static const struct kvm_irq_routing_entry *route(const struct msi *msi)
{
	ck_assert_uint_ge(kvm.nr, 2);
	ck_assert_mem_eq(kvm.routes, lines, sizeof(lines));
	for (unsigned i = 2; i < kvm.nr; i++)
		if (kvm.routes[i].gsi == (unsigned)msi->gsi)
			return &kvm.routes[i];
	return NULL;
}

START_TEST(one)
{
	struct msi msi = alloc();
	uint64_t count = 0;

	ck_assert_int_eq(msi.gsi, FIRST_GSI);
	ck_assert_uint_eq(kvm.gsi, FIRST_GSI);
	ck_assert_uint_eq(kvm.irqfd, (unsigned)msi.fd);
	ck_assert_uint_eq(kvm.sends, 0);
	ck_assert_int_eq(msi.ops->set(&msi, 0x100fee01000, 0x4031), 0);
	ck_assert_uint_eq(kvm.sends, 1);
	ck_assert_uint_eq(route(&msi)->type, KVM_IRQ_ROUTING_MSI);
	ck_assert_uint_eq(route(&msi)->u.msi.address_lo, 0xfee01000);
	ck_assert_uint_eq(route(&msi)->u.msi.address_hi, 0x100);
	ck_assert_uint_eq(route(&msi)->u.msi.data, 0x4031);
	ck_assert_int_eq(msi.ops->set(&msi, 0x100fee01000, 0x4031), 0);
	ck_assert_uint_eq(kvm.sends, 1); /* the same: not again */
	ck_assert_int_eq(msi.ops->set(&msi, 0x100fee01000, 0x4032), 0);
	ck_assert_int_eq(msi.ops->set(&msi, 0xfee01000, 0x4032), 0);
	ck_assert_uint_eq(kvm.sends, 3);
	msi.ops->fire(&msi);
	msi.ops->fire(&msi);
	ck_assert_int_eq(read(msi.fd, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, 2);
	count = UINT64_MAX - 1; /* full: it does not wait */
	ck_assert_int_eq(write(msi.fd, &count, sizeof(count)), sizeof(count));
	msi.ops->fire(&msi);
	msi.ops->free(&msi);
	ck_assert_ptr_null(msi.ops);
}
END_TEST

START_TEST(many)
{
	static struct msi of[MSI_KVM_ROUTES];
	struct msi extra = { .ops = NULL };

	for (unsigned i = 0; i < MSI_KVM_ROUTES; i++) {
		/* As many as descriptors allow. */
		if (source.ops->alloc(source.ctl, &of[i]) == -EMFILE) {
			ck_assert_ptr_null(of[i].ops);
			for (unsigned j = 0; j < i; j++)
				of[j].ops->free(&of[j]);
			return;
		}
		ck_assert_int_eq(of[i].ops->set(&of[i], 0xfee00000, i), 0);
	}
	ck_assert_int_eq(source.ops->alloc(source.ctl, &extra), -ENOSPC);
	ck_assert_uint_eq(kvm.nr, MSI_KVM_ROUTES + 2);
	for (unsigned i = 0; i < MSI_KVM_ROUTES; i++)
		ck_assert_uint_eq(route(&of[i])->u.msi.data, i);
	of[7].ops->free(&of[7]);
	extra = alloc();
	ck_assert_ptr_null(route(&extra)); /* it sends nothing yet, and not what the other sent */
	ck_assert_uint_eq(kvm.nr, MSI_KVM_ROUTES + 1);
	of[7] = extra;
	for (unsigned i = 0; i < MSI_KVM_ROUTES; i++)
		of[i].ops->free(&of[i]);
}
END_TEST

START_TEST(refused)
{
	struct msi a = alloc(), b = alloc(), c;

	ck_assert_int_eq(a.ops->set(&a, 0xfed00000, 1), -EINVAL);
	ck_assert_int_eq(a.ops->set(&a, 0, 1), -EINVAL);
	ck_assert_uint_eq(kvm.sends, 0);
	ck_assert_int_eq(a.ops->set(&a, 0xfee00000, 1), 0);
	kvm.fail_routes = -EINVAL;
	ck_assert_int_eq(a.ops->set(&a, 0x1fee00000, 2), -EINVAL);
	kvm.fail_routes = 0;
	/* One bad message keeps nobody else from theirs. */
	ck_assert_int_eq(b.ops->set(&b, 0xfee00000, 3), 0);
	ck_assert_uint_eq(route(&a)->u.msi.data, 1);
	ck_assert_uint_eq(route(&b)->u.msi.data, 3);
	kvm.fail_irqfd = -ENOMEM;
	ck_assert_int_eq(source.ops->alloc(source.ctl, &c), -ENOMEM);
	ck_assert_ptr_null(c.ops);
	kvm.fail_irqfd = 0;
	c = alloc();
	ck_assert_int_eq(c.gsi, FIRST_GSI + 2); /* the number was given back */
	a.ops->free(&a);
	kvm.fail_routes = -ENOMEM;
	ck_assert_int_eq(source.ops->alloc(source.ctl, &a), -ENOMEM); /* its old route cannot be taken away */
	kvm.fail_routes = 0;
	b.ops->free(&b);
	c.ops->free(&c);
}
END_TEST

START_TEST(doorbells)
{
	struct doorbell_source bells = msi_kvm_doorbells(&msis);
	const struct doorbell mem = { .address = 0xd0001004, .fd = 9 };
	const struct doorbell port = { .pio = true, .address = 0xc010, .len = 2, .match = true, .data = 3, .fd = 8 };

	ck_assert_int_eq(bells.ops->bind(bells.ctl, &mem), 0);
	ck_assert_uint_eq(kvm.bell.addr, 0xd0001004);
	ck_assert_uint_eq(kvm.bell.len, 0);
	ck_assert_uint_eq(kvm.bell.flags, 0);
	ck_assert_int_eq(kvm.bell.fd, 9);
	ck_assert_int_eq(bells.ops->bind(bells.ctl, &port), 0);
	ck_assert_uint_eq(kvm.bell.flags, KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH);
	ck_assert_uint_eq(kvm.bell.datamatch, 3);
	ck_assert_uint_eq(kvm.bell.len, 2);
	bells.ops->unbind(bells.ctl, &port);
	ck_assert_uint_eq(kvm.bell.flags,
			  KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_DEASSIGN);
	kvm.fail_bell = -EEXIST;
	ck_assert_int_eq(bells.ops->bind(bells.ctl, &mem), -EEXIST);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("msi_kvm");
	TCase *tc = tcase_create("msi_kvm");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, one);
	tcase_add_test(tc, many);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, doorbells);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
