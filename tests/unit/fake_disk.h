/* SPDX-License-Identifier: MIT */
/* Block devices for tests: requests that wait for their end, and a disk in memory whose requests end when the test says so. */
#ifndef TESTS_FAKE_DISK_H
#define TESTS_FAKE_DISK_H

#include "blk/blockdev.h"

#define FAKE_DISK_SIZE 65536

struct fake_disk {
	struct blockdev bd;
	uint8_t data[FAKE_DISK_SIZE];
	bool hold;     /* requests wait in `held` for fake_disk_release or a drain */
	bool at_once;  /* they end inside submit */
	int error;     /* what the next requests end with, unless 0 */
	unsigned n_submitted, n_held;
	struct blk_req *held, **held_end;
	struct event_work work; /* ends what is held on the next turn */
	bool closed;
};

/* blockdev_close only marks it as closed. */
void fake_disk_init(struct fake_disk *disk, struct eventloop *loop);
/* Ends the first of the held requests. */
void fake_disk_release(struct fake_disk *disk);

/* A request that a test watches. */
struct fake_req {
	struct blk_req req;
	struct iovec iov;
	int result;
	unsigned times;
};

void fake_req_start(struct blockdev *bd, struct fake_req *r, enum blk_op op, void *buf, uint64_t len, uint64_t off);
/* Runs the loop until the end of it; returns its result. */
int fake_req_wait(struct blockdev *bd, struct fake_req *r);
int fake_req_run(struct blockdev *bd, enum blk_op op, const void *buf, uint64_t len, uint64_t off);

#endif
