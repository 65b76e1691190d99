/* SPDX-License-Identifier: MIT */
/*
 * A drive's image, opened with all that it stands on, and the filters over it.
 *
 * Thread: that of the loop.
 */
#ifndef VMM_LAUNCH_IMAGE_H
#define VMM_LAUNCH_IMAGE_H

struct blockdev;
struct config_drive;
struct err;
struct eventloop;
struct fdsets;
struct throttle_group;
struct uring;

/* What the images of one thread share. */
struct image_host {
	struct eventloop *loop;  /* borrowed */
	const struct fdsets *fds; /* the same: for paths that name a set; NULL: none */
	struct uring *urings[2]; /* [1]: aio=threads; NULL until needed; their end is the caller's */
};

/* `group`: the drive's limits; NULL: none. NULL with `err`, which names the drive. */
struct blockdev *launch_image_open(struct image_host *host, const struct config_drive *drive, struct throttle_group *group, struct err *err);

#endif
