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
struct config_image;
struct err;
struct eventloop;
struct fdsets;
struct launch_disks;
struct machine;
struct throttle_config;
struct vm_config;

/*
 * Starts the iothreads and opens the drives. `cfg` is borrowed, and so is `fds`, what is behind paths that name a set of descriptors; they
 * outlive the disks. NULL with `err` and nothing left behind.
 */
struct launch_disks *launch_disks_open(const struct vm_config *cfg, const struct fdsets *fds, struct err *err);
/* Plugs the disks into the machine; the machine owns the devices, and is to be destroyed before the disks are closed. */
int launch_disks_add(struct launch_disks *disks, struct machine *machine, struct err *err);
/* The loop of an iothread; of the common one, which is started then, for NULL. NULL with `err`. */
struct eventloop *launch_disks_loop(struct launch_disks *disks, const char *iothread, struct err *err);
/*
 * Another medium for a drive that has none (any more): opens it on the drive's loop, within its limits. Borrowed, closed with the others or by the
 * next call. NULL with `err`. And the end of one that nobody uses; nothing when there is none.
 */
struct blockdev *launch_disks_open_medium(struct launch_disks *disks, const char *id, const struct config_image *image, struct err *err);
void launch_disks_close_medium(struct launch_disks *disks, const char *id);
/*
 * Calls `fn` on every thread that there is, with the iothread's id, NULL for the common one; what does file I/O for it is then started anew
 * by it. Until one fails: -errno with `err`. Before the guest runs.
 */
int launch_disks_on_threads(struct launch_disks *disks, int (*fn)(void *opaque, const char *iothread, struct eventloop *loop, struct err *err),
			    void *opaque, struct err *err);
/* The drive of that id, the name of its top node, for what its user asks of it on its loop (bd->loop). Borrowed; NULL: there is none, or nothing in it. */
struct blockdev *launch_disks_drive(const struct launch_disks *disks, const char *id);
/*
 * The limits of the drive of that id, zeroes where it has none; and other ones, which it can always be given where there are monitors. -ENOENT,
 * -ENOTSUP, or what throttle_config_check says, with `err`.
 */
void launch_disks_limits(const struct launch_disks *disks, const char *id, struct throttle_config *limits);
int launch_disks_set_limits(struct launch_disks *disks, const char *id, const struct throttle_config *limits, struct err *err);
/* As launch_image_commit, of the i-th drive. */
int launch_disks_commit(struct launch_disks *disks, size_t i, struct err *err);
/* The thread of the i-th -object iothread, as ps shows it. */
int launch_disks_iothread_tid(const struct launch_disks *disks, size_t i);
/* NULL is fine. */
void launch_disks_close(struct launch_disks *disks);

#endif
