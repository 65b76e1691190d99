/* SPDX-License-Identifier: MIT */
/*
 * /dev/kvm and its ioctls (Documentation/virt/kvm/api.rst): opened and checked once, errors in words.
 *
 * Thread: any.
 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <stddef.h>

struct err;

struct kvm {
	int fd;               /* /dev/kvm; -1 when closed */
	size_t vcpu_run_size; /* bytes of a vCPU's shared struct kvm_run */
	int max_vcpus;
};

/* 0, or -errno with `err`: no device, no permission, wrong API version, or a capability missing that Kite cannot do without. */
int kvm_open(struct kvm *kvm, struct err *err);
void kvm_close(struct kvm *kvm);

/* ioctl with the result or -errno. EINTR is the caller's. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
/* KVM_CHECK_EXTENSION: 0 when the kernel does not know it. `fd` is /dev/kvm or a VM. */
int kvm_capability(int fd, int capability);

#endif
