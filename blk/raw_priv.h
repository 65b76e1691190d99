/* SPDX-License-Identifier: MIT */
/* What blk/raw.c (requests) and blk/raw_open.c (opening, geometry, locks) share. Thread: as blk/blockdev.h. */
#ifndef BLK_RAW_PRIV_H
#define BLK_RAW_PRIV_H

#include "blk/blockdev.h"

struct err;

struct raw_file {
	int fd;
	bool given;         /* a copy of somebody's descriptor: its locks do not end with it */
	bool block_device, read_only;
	bool direct;        /* O_DIRECT is on */
	uint64_t size;      /* bytes of the disk: a regular file's length rounded up to BLK_SECTOR */
	uint32_t logical;   /* of a block device; 1 for a regular file */
	uint32_t physical;
	uint32_t align;     /* direct: what offsets and lengths must be multiples of, at least BLK_SECTOR */
	uint32_t mem_align; /* direct: what buffers must be */
};

/* Opens, checks, locks and measures. 0 or -errno with `err`, and then nothing is open. */
int raw_file_open(struct raw_file *file, const struct blk_file_config *cfg, struct err *err);
void raw_file_close(struct raw_file *file);

/* blk/raw_lock.c: takes the locks for reading or writing. 0 or -errno with `err`. They end with the descriptor. */
int raw_lock(int fd, const char *path, bool read_only, struct err *err);
/* The same before that, for a descriptor of which there are copies. */
void raw_unlock(int fd);

#endif
