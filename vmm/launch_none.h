/* SPDX-License-Identifier: MIT */
/*
 * -machine none: a machine without anything in it, which starts, stops and ends as others do. It needs no KVM: management programs
 * start one to ask what Kite can do.
 *
 * Thread: main.
 */
#ifndef VMM_LAUNCH_NONE_H
#define VMM_LAUNCH_NONE_H

struct err;
struct eventloop;
struct vm;
struct vm_config;

/* `loop` is borrowed. NULL with `err`. The buses, the memory and KVM's descriptors are not there. */
struct vm *launch_none_create(const struct vm_config *cfg, struct eventloop *loop, struct err *err);
/* NULL is fine. */
void launch_none_destroy(struct vm *vm);

#endif
