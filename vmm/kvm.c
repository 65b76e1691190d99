/* SPDX-License-Identifier: MIT */
#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "vmm/err.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

#define KVM_DEVICE "/dev/kvm"

SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, KVM_CHECK_EXTENSION), .threads = THREAD_MAIN }, /* a reset asks what there is to reset */
);

/* What every code path relies on. All are in Linux since 4.12. */
static const struct {
	int capability;
	const char *name;
} required[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
};

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

int kvm_capability(int fd, int capability)
{
	int r = kvm_ioctl(fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)capability);

	return r < 0 ? 0 : r;
}

static int kvm_open_device(struct err *err)
{
	int fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return err_set(err, -errno,
			       KVM_DEVICE " is not there: load the kvm_intel or kvm_amd module, and enable virtualization in the "
					  "firmware or, in a virtual machine, nested virtualization on its host");
	case EACCES:
	case EPERM:
		return err_set(err, -errno, "no permission to open " KVM_DEVICE
					    ": add yourself to its group (usermod -aG kvm USER) and log in again");
	default:
		return err_set_errno(err, -errno, "cannot open " KVM_DEVICE);
	}
}

static int kvm_check(struct kvm *kvm, struct err *err)
{
	int version = kvm_ioctl(kvm->fd, KVM_GET_API_VERSION, NULL);
	int size;

	if (version != KVM_API_VERSION)
		return err_set(err, -ENOTSUP, KVM_DEVICE ": API version %d, Kite needs %d", version, KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		if (!kvm_capability(kvm->fd, required[i].capability))
			return err_set(err, -ENOTSUP, KVM_DEVICE ": this kernel's KVM lacks %s; Kite needs Linux 4.12 or later",
				       required[i].name);
	size = kvm_ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(err, -ENOTSUP, KVM_DEVICE ": a vCPU's shared area of %d bytes is too small", size);
	kvm->vcpu_run_size = (size_t)size;
	kvm->max_vcpus = kvm_capability(kvm->fd, KVM_CAP_MAX_VCPUS);
	return 0;
}

int kvm_open(struct kvm *kvm, struct err *err)
{
	int r;

	*kvm = (struct kvm){ .fd = -1 };
	r = kvm_open_device(err);
	if (r < 0)
		return r;
	kvm->fd = r;
	r = kvm_check(kvm, err);
	if (r < 0)
		kvm_close(kvm);
	return r;
}

void kvm_close(struct kvm *kvm)
{
	fd_close(&kvm->fd);
}
