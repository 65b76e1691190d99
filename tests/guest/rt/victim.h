/* SPDX-License-Identifier: MIT */
/*
 * For payloads that attack virtio devices: all devices of the machine at work, one of them attacked at a time. After each attack
 * the others must still answer, the attacked one must after a reset, and no memory may have changed that no device was given.
 */
#ifndef RT_VICTIM_H
#define RT_VICTIM_H

#include "virtio.h"

#define MAX_VICTIMS 24
#define VICTIM_DATA 65536
#define VICTIM_SIZE 64 /* entries of its queue, unless the device has fewer or the interface allows no choice */

struct victim {
	struct virtio dev;     /* by the interface in use */
	struct virtio modern, legacy;
	bool has_legacy;
	unsigned queue;        /* the attacked one: requests, random numbers, port 0's output, frames to be sent */
	struct virtq vq;
	uint8_t *rings, *data; /* VICTIM_DATA bytes to work with, in the middle of canaries */
	char serial[21];       /* of a disk */
	char name[40];         /* "blk 02.0 raw legacy" */
};

extern struct victim victims[MAX_VICTIMS];
extern size_t n_victims;

/* Finds and starts all. At least one, or the run ends. */
void victims_start(void);
/* The disk with this serial number; NULL: there is none. */
struct victim *victim_disk(const char *serial);
struct victim *victim_of(unsigned type);

/* Changes the interface, and begins anew. False: the device does not have it. */
bool victim_interface(struct victim *v, bool legacy);
/* Reset, `features` if offered, its queue set up and cleared, DRIVER_OK. */
bool victim_begin(struct victim *v, uint64_t features);
/* One proper request on the queue as it is. */
bool victim_request(struct victim *v);
/* Waits for DEVICE_NEEDS_RESET. */
bool victim_broken(const struct victim *v, unsigned ms);

/*
 * After attack `what` of which `ok` says whether the device took it as it should: begins anew, and asks all for a proper request. One
 * line of the results.
 */
bool victim_after(struct victim *v, bool ok, const char *what);

/* Canaries changed, and are put right. */
bool canaries_dead(void);

/* A small generator, the same in every run. */
uint32_t random32(void);

#endif
