/* SPDX-License-Identifier: MIT */
/* What blk/vmdk.c (opening, the disk as a whole) and blk/vmdk_sparse.c (one sparse extent) share. Thread: as blk/import.h. */
#ifndef BLK_VMDK_PRIV_H
#define BLK_VMDK_PRIV_H

#include "blk/import.h"

#define VMDK_EXTENTS_MAX 4096u

enum vmdk_extent_kind { VMDK_SPARSE, VMDK_FLAT, VMDK_ZERO };

struct vmdk_extent {
	enum vmdk_extent_kind kind;
	bool listed;           /* in a descriptor */
	uint64_t start, size;  /* bytes of the disk */
	struct blockdev *file; /* NULL for ZERO */
	uint64_t flat_off;     /* FLAT */
	/* SPARSE: */
	uint64_t gd_off;       /* bytes: of the grain directory */
	uint64_t n_tables;
	uint32_t grain;        /* bytes */
	uint32_t gtes;         /* of a grain table */
	bool zero_grains, compressed, markers;
	uint64_t descriptor_off, descriptor_len; /* bytes; of the descriptor inside, 0: none */
};

struct vmdk {
	struct import im;
	struct vmdk_extent *extents; /* in the order of the disk, without gaps */
	unsigned n_extents;
	struct vmdk_info info;
};

/* Fills the extent from the header in `x->file`; `x->size` is 0: any, or what it must have. 0 or -errno with `err`. */
int vmdk_sparse_open(struct vmdk *vmdk, struct vmdk_extent *x, struct err *err);
/* As import_ops.map, inside the extent. */
int vmdk_sparse_map(struct vmdk *vmdk, const struct vmdk_extent *x, uint64_t off, uint64_t len, struct import_map *map);

/* The descriptor's text (ends with 0), and then its extent lines are for `extent`. blk/vmdk_desc.c */
struct vmdk_line {
	uint64_t sectors, off;
	char type[16];
	char file[256];
};
int vmdk_desc_parse(char *text, const char *name, struct vmdk_info *info, bool *has_parent,
		    int (*extent)(void *opaque, const struct vmdk_line *line, struct err *err), void *opaque, struct err *err);

#endif
