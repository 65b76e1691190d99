/* SPDX-License-Identifier: MIT */
/*
 * The disks of a machine: threads, files and filters behind them, and the virtio devices in front.
 *
 * Every drive of the configuration is opened, whether a disk uses it or not, on the loop of its disk's iothread; those whose disk
 * names none share one thread, which exists only if there are any.
 *
 * Thread: main.
 */
#ifndef VMM_LAUNCH_DISKS_H
#define VMM_LAUNCH_DISKS_H

#include <stddef.h>

struct blockdev;
struct err;
struct eventloop;
struct launch_disks;
struct machine;
struct throttle_config;
struct vm_config;

/* Starts the iothreads and opens the drives. `cfg` is borrowed. NULL with `err` and nothing left behind. */
struct launch_disks *launch_disks_open(const struct vm_config *cfg, struct err *err);
/* Plugs the disks into the machine; the machine owns the devices, and is to be destroyed before the disks are closed. */
int launch_disks_add(struct launch_disks *disks, struct machine *machine, struct err *err);
/* The drive of that id, the name of its top node, for what its user asks of it on its loop (bd->loop). Borrowed; NULL: there is none. */
struct blockdev *launch_disks_drive(const struct launch_disks *disks, const char *id);
/*
 * The limits of the drive of that id, zeroes where it has none; and other ones, which it can always be given where there are monitors. -ENOENT,
 * -ENOTSUP, or what throttle_config_check says, with `err`.
 */
void launch_disks_limits(const struct launch_disks *disks, const char *id, struct throttle_config *limits);
int launch_disks_set_limits(struct launch_disks *disks, const char *id, const struct throttle_config *limits, struct err *err);
/* The thread of the i-th -object iothread, as ps shows it. */
int launch_disks_iothread_tid(const struct launch_disks *disks, size_t i);
/* The loop of the iothread of that id, which there is. */
struct eventloop *launch_disks_iothread(const struct launch_disks *disks, const char *id);
/* NULL is fine. */
void launch_disks_close(struct launch_disks *disks);

#endif
