/* SPDX-License-Identifier: MIT */
/*
 * A drive's image, opened with all that it stands on, and the filters over it.
 *
 * Thread: that of the loop.
 */
#ifndef VMM_LAUNCH_IMAGE_H
#define VMM_LAUNCH_IMAGE_H

#include <stdbool.h>

struct blockdev;
struct config_drive;
struct config_image;
struct err;
struct eventloop;
struct fdsets;
struct throttle_group;
struct uring;

/* What the images of one thread share. */
struct image_host {
	struct eventloop *loop;  /* borrowed */
	const struct blk_opener *opener; /* NULL: the loop's own thread */
	const struct fdsets *fds; /* the same: for paths that name a set; NULL: none */
	struct uring *urings[2]; /* [1]: aio=threads; NULL until needed; their end is the caller's */
};

/* `group`: the drive's limits; NULL: none. NULL with `err`, which names the drive. */
struct blockdev *launch_image_open(struct image_host *host, const struct config_drive *drive, struct throttle_group *group, struct err *err);

/* An image with all that it stands on, without filters; `no_lock`: it is locked later, or never. NULL with `err`. */
struct blockdev *launch_image_open_layers(struct image_host *host, const struct config_image *image, bool read_only, bool no_lock,
					  struct err *err);

/*
 * vmm/launch_commit.c: writes what the image of a drive has, `bd` as launch_image_open made it, into the image below, and empties it: of a snapshot=on,
 * the changes into the drive's own image. Takes as long as it takes. 0 or -errno with `err`; the drive goes on in any case, and has lost nothing.
 */
int launch_image_commit(struct image_host *host, const struct config_drive *drive, struct blockdev *bd, struct err *err);

#endif
