/* SPDX-License-Identifier: MIT */
/*
 * Limits on operations and bytes per second, as QEMU's throttling.* options mean them. Devices share a limit by being of the same group.
 *
 * Reads, writes, discards and zeroes count; the latter two as writes. Flushes do not.
 *
 * Thread: a device's functions as blk/blockdev.h says, throttle_group_* any thread.
 */
#ifndef BLK_THROTTLE_H
#define BLK_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bucket.h"

struct blockdev;
struct err;
struct throttle_group;

enum throttle_kind { THROTTLE_BPS_TOTAL, THROTTLE_BPS_READ, THROTTLE_BPS_WRITE, THROTTLE_IOPS_TOTAL, THROTTLE_IOPS_READ,
		     THROTTLE_IOPS_WRITE, THROTTLE_KINDS };

struct throttle_config {
	struct throttle_limit limits[THROTTLE_KINDS];
	uint64_t iops_size; /* bytes that count as one operation; 0: any number */
};

/* -EINVAL with `err` for what QEMU refuses too; the message names the option. */
int throttle_config_check(const struct throttle_config *cfg, struct err *err);
bool throttle_config_is_set(const struct throttle_config *cfg);

/* With one reference, for the caller. NULL with `err` when the configuration is bad. */
struct throttle_group *throttle_group_create(const struct throttle_config *cfg, struct err *err);
struct throttle_group *throttle_group_ref(struct throttle_group *group);
/* NULL is fine. */
void throttle_group_unref(struct throttle_group *group);
/* As throttle_config_check. What waits is admitted by the new limits. */
int throttle_group_set(struct throttle_group *group, const struct throttle_config *cfg, struct err *err);

void throttle_group_get(struct throttle_group *group, struct throttle_config *cfg);

/* Takes `below` over, and a reference to the group of its own. NULL with `err`, and then `below` is the caller's. */
struct blockdev *throttle_create(struct blockdev *below, struct throttle_group *group, struct err *err);
/* What a limited device limits; any other device itself. Borrowed. */
struct blockdev *throttle_below(struct blockdev *bd);

#endif
