/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU: one KVM vCPU, one pthread. Its loop: serve what the VM wants of it, KVM_RUN, dispatch the exit.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct arch_vcpu;
struct err;
struct exit_stats;
struct kvm_run;
struct vm;

struct vcpu {
	struct vm *vm;
	unsigned index;
	uint32_t kvm_id;
	int fd;
	struct kvm_run *run; /* shared with the kernel */
	size_t run_size;
	pthread_t thread;
	bool thread_started;
	_Atomic pid_t tid; /* the thread's own id, which it writes when it begins; 0: it has not run yet */
	struct arch_vcpu *arch; /* the architecture's own */
	struct exit_stats *exits; /* -d exits; NULL: not counted. The thread's while it runs */
};

/*
 * Main thread. `index` counts from 0; `kvm_id` is KVM's id for it, on x86 the APIC id. On failure nothing of it is left.
 */
int vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned index, uint32_t kvm_id, struct err *err);
void vcpu_destroy(struct vcpu *vcpu);

/* Starts the thread, which parks until the VM's goal is VCPU_RUN. */
int vcpu_start(struct vcpu *vcpu, struct err *err);
void vcpu_join(struct vcpu *vcpu);

/* Makes KVM_RUN return soon, now or the next time it is entered. Any thread, after the VM's goal changed. */
void vcpu_kick(struct vcpu *vcpu);

/* The thread's id, as ps shows it; waits for a thread that has just been started. Main thread. */
pid_t vcpu_tid(struct vcpu *vcpu);

/* Installs the empty handler of the kick signal; once in a process, before the first VM. */
void vcpu_install_kick_handler(void);

#endif
