/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: the only code that turns a guest physical address into a host pointer, and always with a length.
 *
 * Memory is a few regions of host memory, each at a guest physical address, sorted, never overlapping, fixed at creation. A
 * range is valid when all of it lies inside one region: a range that spans the hole below 4 GiB, ends a byte past RAM or wraps
 * is refused. Memory is allocated by the host when it is first touched; nothing here touches it unasked.
 *
 * The guest changes this memory at any time. Copy once (gm_read), check the copy, use the copy.
 *
 * Thread: any, once created.
 */
#ifndef VMM_GUEST_MEM_H
#define VMM_GUEST_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;
struct guest_mem;

#define GM_MAX_REGIONS 8

struct gm_range {
	uint64_t gpa;  /* bytes; a multiple of the page size */
	uint64_t size; /* bytes; a multiple of the page size, not 0 */
};

struct gm_region {
	uint64_t gpa, size;
	uint8_t *hva; /* owned by the guest_mem */
};

/*
 * Maps anonymous private memory for `n` ranges in ascending order. NULL with `err`: -EINVAL for ranges that are unaligned,
 * overlap, wrap or are too many, -ENOMEM when the host has no address space for them.
 */
struct guest_mem *gm_create(const struct gm_range *ranges, size_t n, struct err *err);
void gm_destroy(struct guest_mem *gm);

/* The regions, for KVM's memory slots. */
size_t gm_region_count(const struct guest_mem *gm);
const struct gm_region *gm_region_at(const struct guest_mem *gm, size_t i);

/* Bytes of memory in all. */
uint64_t gm_size(const struct guest_mem *gm);

/* A pointer to [gpa, gpa + len), borrowed until gm_destroy; NULL when the range is not valid. `len` 0 is valid inside a region. */
void *gm_map(const struct guest_mem *gm, uint64_t gpa, uint64_t len);

/* Copies out of, into, and fills guest memory. 0, or -EFAULT with nothing copied. */
int gm_read(const struct guest_mem *gm, uint64_t gpa, void *buf, size_t len);
int gm_write(const struct guest_mem *gm, uint64_t gpa, const void *buf, size_t len);
int gm_fill(const struct guest_mem *gm, uint64_t gpa, uint8_t byte, uint64_t len);

#endif
