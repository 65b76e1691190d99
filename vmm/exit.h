/* SPDX-License-Identifier: MIT */
/*
 * What happens when a guest leaves KVM_RUN: a const table from KVM's exit reason to a handler.
 *
 * Thread: the vCPU's.
 */
#ifndef VMM_EXIT_H
#define VMM_EXIT_H

struct vcpu;

enum exit_action {
	EXIT_CONTINUE, /* run on, unless the VM's goal changed */
	EXIT_HALT,     /* this vCPU cannot go on; a request has been made */
};

enum exit_action exit_dispatch(struct vcpu *vcpu);

/* KVM_RUN was interrupted: counted like an exit (-d exits). */
void exit_interrupted(struct vcpu *vcpu);

/* "KVM_EXIT_IO"; "unknown" for reasons that this build does not know. */
const char *exit_reason_name(unsigned reason);

#endif
