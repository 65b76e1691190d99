/* SPDX-License-Identifier: MIT */
/*
 * A layer over an image that takes all that is written and ends with the process (-snapshot): a qcow2 image in a file without a name, in
 * $TMPDIR or /var/tmp. The image below is only read, and its lock may be that of a reader.
 *
 * Thread: the loop's.
 */
#ifndef BLK_OVERLAY_H
#define BLK_OVERLAY_H

#include <stdbool.h>

struct blockdev;
struct err;
struct eventloop;
struct uring;

struct overlay_config {
	bool discard, detect_zeroes;
	struct uring *uring;    /* borrowed; of the loop */
	struct eventloop *loop; /* that of the image below */
};

/* Takes `below` over. NULL with `err`, and then `below` is the caller's. */
struct blockdev *overlay_create(struct blockdev *below, const struct overlay_config *cfg, struct err *err);

#endif
