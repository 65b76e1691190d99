/* SPDX-License-Identifier: MIT */
/* Requests in pieces: for blk/blockdev.c. Thread: the device's loop. */
#ifndef BLK_SPLIT_H
#define BLK_SPLIT_H

#include "blk/blockdev.h"

/* A READ or WRITE that has passed the checks and is longer than bd->max_transfer, which is at least one unit of alignment. As ops->submit. */
void split_submit(struct blockdev *bd, struct blk_req *req);

#endif
