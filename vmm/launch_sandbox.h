/* SPDX-License-Identifier: MIT */
/*
 * Puts a machine's threads into the sandbox (vmm/sandbox.h), as its configuration says.
 *
 * Thread: main, with everything open, before launch_run.
 */
#ifndef VMM_LAUNCH_SANDBOX_H
#define VMM_LAUNCH_SANDBOX_H

struct err;
struct launch;

/* 0, or -errno with `err`: some may be inside already, so the machine can only be destroyed. */
int launch_sandbox(struct launch *launch, struct err *err);

#endif
