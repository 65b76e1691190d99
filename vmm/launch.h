/* SPDX-License-Identifier: MIT */
/*
 * Bring-up of a virtual machine from its configuration, in order, and the same backwards.
 *
 * Thread: main.
 */
#ifndef VMM_LAUNCH_H
#define VMM_LAUNCH_H

struct blockdev;
struct chardev;
struct chardev_callback;
struct err;
struct eventloop;
struct launch;
struct launch_scsi;
struct vm;
struct vm_config;
struct vm_entry;
struct vm_observer_ops;

/* All but the vCPUs' threads. `cfg` and `loop` are borrowed. NULL with `err`, and nothing is left behind; -EINTR when the user ended it meanwhile. */
struct launch *launch_create(const struct vm_config *cfg, struct eventloop *loop, struct err *err);

/* What a program that embeds Kite adds; borrowed. All zeroes: nothing. */
struct launch_host {
	const struct chardev_callback *callback;        /* the other end of chardevs of that kind */
	const struct vm_observer_ops *observer;
	void *opaque;                                   /* the observer's */
	int blocked_kick;                               /* see struct vm */
};

/* The same inside another program. */
struct launch *launch_create_in(const struct vm_config *cfg, struct eventloop *loop, const struct launch_host *host, struct err *err);

struct vm *launch_vm(const struct launch *launch);
/* Presses the ACPI power button. Loop thread. */
void launch_powerdown(struct launch *launch);
/* NULL: there is none of that name. */
struct chardev *launch_chardev(const struct launch *launch, const char *id);

/* Starts the vCPUs' threads, as vm_start. 0 or -errno with `err`: then it can only be destroyed. */
int launch_start(struct launch *launch, struct vm_entry *entry, struct err *err);

/* After launch_start: runs the machine until it ends. Returns the process's exit status; `err` is filled when it is 1 for a reason not yet logged. */
int launch_run(struct launch *launch, struct err *err);

/* Ends the machine from outside: launch_run returns 0. Loop thread. */
enum launch_quit { LAUNCH_QUIT_UI /* Ctrl-a x */, LAUNCH_QUIT_SIGNAL };
void launch_quit(struct launch *launch, enum launch_quit why);

/* Lets a machine go on that an I/O error stopped (werror=stop), and else does nothing. Loop thread. */
void launch_resume(struct launch *launch);

/* The terminal may have another size: tells the console that has it. Loop thread. */
void launch_terminal_resized(struct launch *launch);

/* For vmm/launch_scsi.h: trays and media. */
struct launch_scsi *launch_scsi(struct launch *launch);

/* As launch_disks_drive. */
struct blockdev *launch_drive(const struct launch *launch, const char *id);

void launch_destroy(struct launch *launch);
/*
 * The same in a process that ends next: the guest's memory and KVM's objects are left for the kernel, which takes them all back at once and not one
 * mapping after the other.
 */
void launch_leave(struct launch *launch);

#endif
