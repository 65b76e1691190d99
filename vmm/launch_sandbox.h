/* SPDX-License-Identifier: MIT */
/*
 * Starts a machine's vCPUs, and puts all of its threads into the sandbox (vmm/sandbox.h) if its configuration says so.
 *
 * Thread: main, with everything open, between launch_create and launch_run.
 */
#ifndef VMM_LAUNCH_SANDBOX_H
#define VMM_LAUNCH_SANDBOX_H

struct err;
struct launch;

/* 0, or -errno with `err`: some may be inside already, so the machine can only be destroyed. */
int launch_start_inside(struct launch *launch, struct err *err);

#endif
