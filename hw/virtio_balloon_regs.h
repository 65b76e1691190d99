/* SPDX-License-Identifier: MIT */
/* The memory balloon on the wire: Virtio 1.2, section 5.5. */
#ifndef HW_VIRTIO_BALLOON_REGS_H
#define HW_VIRTIO_BALLOON_REGS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/endian.h"

/* 5.5.3: feature bits. */
#define VIRTIO_BALLOON_F_STATS_VQ (UINT64_C(1) << 1)
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM (UINT64_C(1) << 2)
#define VIRTIO_BALLOON_F_PAGE_POISON (UINT64_C(1) << 4)
#define VIRTIO_BALLOON_F_PAGE_REPORTING (UINT64_C(1) << 5)

#define VIRTIO_BALLOON_PFN_SHIFT 12 /* a page of the balloon is 4 KiB, whatever the guest's are */

/* 5.5.4: the configuration space, little-endian for legacy drivers too. */
struct virtio_balloon_wire {
	le32 num_pages; /* the device asks for so many */
	le32 actual;    /* the driver has given so many; the driver's to write */
	le32 free_page_hint_cmd_id;
	le32 poison_val; /* what fills free pages; the driver's to write */
};
static_assert(sizeof(struct virtio_balloon_wire) == 16, "5.5.4");

/* 5.5.6.3: statistics. */
struct virtio_balloon_stat_wire {
	uint8_t tag[2];
	uint8_t val[8];
};
static_assert(sizeof(struct virtio_balloon_stat_wire) == 10, "5.5.6.3");

#endif
