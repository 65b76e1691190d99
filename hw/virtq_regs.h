/* SPDX-License-Identifier: MIT */
/* The split virtqueue in guest memory: Virtual I/O Device Specification 1.2, section 2.7. */
#ifndef HW_VIRTQ_REGS_H
#define HW_VIRTQ_REGS_H

#include <assert.h>

#include "vmm/endian.h"

/* 2.7.5: the descriptor table. */
struct virtq_desc {
	le64 addr;
	le32 len;
	le16 flags;
	le16 next;
};
static_assert(sizeof(struct virtq_desc) == 16, "2.7.5");

#define VIRTQ_DESC_F_NEXT 1
#define VIRTQ_DESC_F_WRITE 2
#define VIRTQ_DESC_F_INDIRECT 4

/* 2.7.6: the available ring: flags, idx, ring[size] of 2 bytes, used_event. */
#define VIRTQ_AVAIL_FLAGS 0
#define VIRTQ_AVAIL_IDX 2
#define VIRTQ_AVAIL_RING 4
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1

/* 2.7.8: the used ring: flags, idx, ring[size] of id and len, avail_event. */
#define VIRTQ_USED_FLAGS 0
#define VIRTQ_USED_IDX 2
#define VIRTQ_USED_RING 4
#define VIRTQ_USED_ELEM 8
#define VIRTQ_USED_F_NO_NOTIFY 1

/* 2.7: alignment, bytes. */
#define VIRTQ_DESC_ALIGN 16
#define VIRTQ_AVAIL_ALIGN 2
#define VIRTQ_USED_ALIGN 4

#endif
