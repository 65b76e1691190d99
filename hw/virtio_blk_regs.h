/* SPDX-License-Identifier: MIT */
/* What virtio-blk's driver and device exchange: Virtio 1.2, section 5.2. Included by hw/virtio_blk*.c and their tests only. */
#ifndef HW_VIRTIO_BLK_REGS_H
#define HW_VIRTIO_BLK_REGS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/endian.h"

/* 5.2.3: feature bits. */
#define VBLK_F_SEG_MAX (UINT64_C(1) << 2)
#define VBLK_F_GEOMETRY (UINT64_C(1) << 4)
#define VBLK_F_RO (UINT64_C(1) << 5)
#define VBLK_F_BLK_SIZE (UINT64_C(1) << 6)
#define VBLK_F_FLUSH (UINT64_C(1) << 9)
#define VBLK_F_TOPOLOGY (UINT64_C(1) << 10)
#define VBLK_F_CONFIG_WCE (UINT64_C(1) << 11)
#define VBLK_F_MQ (UINT64_C(1) << 12)
#define VBLK_F_DISCARD (UINT64_C(1) << 13)
#define VBLK_F_WRITE_ZEROES (UINT64_C(1) << 14)

/* 5.2.4: the configuration space. */
struct vblk_config {
	le64 capacity; /* sectors of 512 bytes */
	le32 size_max; /* not offered */
	le32 seg_max;
	le16 cylinders;
	uint8_t heads, sectors;
	le32 blk_size; /* bytes */
	uint8_t physical_block_exp, alignment_offset;
	le16 min_io_size; /* blocks of blk_size, like the next */
	le32 opt_io_size;
	uint8_t writeback, unused0;
	le16 num_queues;
	le32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	le32 max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};
static_assert(sizeof(struct vblk_config) == 60, "5.2.4");
static_assert(offsetof(struct vblk_config, blk_size) == 20, "5.2.4");
static_assert(offsetof(struct vblk_config, writeback) == 32, "5.2.4");
static_assert(offsetof(struct vblk_config, max_discard_sectors) == 36, "5.2.4");
static_assert(offsetof(struct vblk_config, write_zeroes_may_unmap) == 56, "5.2.4");

/* 5.2.6: a request's first bytes. */
struct vblk_header {
	le32 type, reserved;
	le64 sector;
};
static_assert(sizeof(struct vblk_header) == 16, "5.2.6");

enum vblk_type {
	VBLK_T_IN = 0,
	VBLK_T_OUT = 1,
	VBLK_T_FLUSH = 4,
	VBLK_T_GET_ID = 8,
	VBLK_T_DISCARD = 11,
	VBLK_T_WRITE_ZEROES = 13,
};

/* An element of the list that DISCARD and WRITE_ZEROES come with. */
struct vblk_range {
	le64 sector;
	le32 num_sectors, flags;
};
static_assert(sizeof(struct vblk_range) == 16, "5.2.6");

#define VBLK_RANGE_UNMAP 1u

enum vblk_status { VBLK_S_OK = 0, VBLK_S_IOERR = 1, VBLK_S_UNSUPP = 2 };

#define VBLK_ID_BYTES 20

#endif
