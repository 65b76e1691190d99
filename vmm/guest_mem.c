/* SPDX-License-Identifier: MIT */
/*
 * Guest memory over anonymous private mappings.
 *
 * Each region is a reservation of its own:
 *
 *	| guard page | ............ region ............ | guard page |
 *	  PROT_NONE    read, write, nothing touched yet    PROT_NONE
 *
 * The host address of a byte and its guest physical address agree modulo 2 MiB. Only then can KVM map a host huge page as a
 * guest huge page; otherwise every one of them is broken up into 512 small mappings. The reservation is made 2 MiB larger than
 * needed, and what lies outside the guards is given back. The guards turn an access past the end, should a bug here or in KVM's
 * memory slots ever make one, into a fault instead of a neighbour's memory.
 *
 * The region counts against the host's overcommit limit (vm.overcommit_memory): a guest seldom touches all that it is given, so the
 * host's default lets several add up to more than it has, but refuses one that alone never fits.
 */
#include "vmm/guest_mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(madvise), .threads = THREAD_ANY, .rare = THREAD_ANY }, /* memory that a reset clears, or a device has no more use for */
);

#define HUGE_PAGE (2 * MIB)

struct guest_mem {
	struct gm_region region[GM_MAX_REGIONS];
	size_t n;
	uint64_t size;
	uint64_t page;
};

static int region_map(struct gm_region *r, uint64_t page)
{
	uint64_t want, first, start, end;
	uint8_t *base;
	int rc;

	if (!add_u64(r->size, HUGE_PAGE + 2 * page, &want) || want > SIZE_MAX)
		return -ENOMEM;
	base = mmap(NULL, want, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	first = (uint64_t)(uintptr_t)base + page;
	start = first + ((r->gpa - first) & (HUGE_PAGE - 1)) - (uint64_t)(uintptr_t)base;
	end = start + r->size;
	if (mmap(base + start, r->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		rc = -errno;
		munmap(base, want);
		return rc;
	}
	if (start > page)
		munmap(base, start - page);
	if (want > end + page)
		munmap(base + end + page, want - end - page);
	r->hva = base + start;
	/* Without huge pages in the host's kernel the guest is slower, not wrong. */
	(void)madvise(r->hva, r->size, MADV_HUGEPAGE);
	return 0;
}

static void region_unmap(struct gm_region *r, uint64_t page)
{
	munmap(r->hva - page, r->size + 2 * page);
}

static int ranges_check(const struct gm_range *ranges, size_t n, uint64_t page, uint64_t *total, struct err *err)
{
	uint64_t end = 0, sum = 0;

	if (n == 0 || n > GM_MAX_REGIONS)
		return err_set(err, -EINVAL, "guest memory: %zu ranges, expected 1 to %d", n, GM_MAX_REGIONS);
	for (size_t i = 0; i < n; i++) {
		const struct gm_range *r = &ranges[i];

		if (r->size == 0 || r->gpa % page || r->size % page)
			return err_set(err, -EINVAL, "guest memory: range %#jx+%#jx is empty or not whole pages",
				       (uintmax_t)r->gpa, (uintmax_t)r->size);
		if (r->gpa < end)
			return err_set(err, -EINVAL, "guest memory: range %#jx+%#jx overlaps the one before it, or is not in order",
				       (uintmax_t)r->gpa, (uintmax_t)r->size);
		/* Ranges that do not overlap and do not wrap cannot add up to more than 64 bits hold. */
		if (!add_u64(r->gpa, r->size, &end))
			return err_set(err, -EINVAL, "guest memory: range %#jx+%#jx goes past the last address",
				       (uintmax_t)r->gpa, (uintmax_t)r->size);
		sum += r->size;
	}
	*total = sum;
	return 0;
}

static int map_error(uint64_t total, int code, struct err *err)
{
	uint64_t unit = total % GIB ? MIB : GIB;

	err_set_errno(err, code, "cannot map %ju %s of guest memory", (uintmax_t)(total / unit + !!(total % unit)),
		      unit == GIB ? "GiB" : "MiB");
	snprintf(err->msg + strlen(err->msg), sizeof(err->msg) - strlen(err->msg), "; lower -m");
	return code;
}

struct guest_mem *gm_create(const struct gm_range *ranges, size_t n, struct err *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), total = 0;
	struct guest_mem *gm;

	if (ranges_check(ranges, n, page, &total, err))
		return NULL;
	gm = calloc(1, sizeof(*gm));
	if (!gm) {
		err_set_errno(err, -ENOMEM, "guest memory");
		return NULL;
	}
	gm->page = page;
	gm->size = total;
	for (; gm->n < n; gm->n++) {
		struct gm_region *r = &gm->region[gm->n];
		int rc;

		r->gpa = ranges[gm->n].gpa;
		r->size = ranges[gm->n].size;
		rc = region_map(r, page);
		if (rc) {
			map_error(total, rc, err);
			gm_destroy(gm);
			return NULL;
		}
	}
	return gm;
}

void gm_destroy(struct guest_mem *gm)
{
	if (!gm)
		return;
	for (size_t i = 0; i < gm->n; i++)
		region_unmap(&gm->region[i], gm->page);
	free(gm);
}

size_t gm_region_count(const struct guest_mem *gm)
{
	return gm->n;
}

const struct gm_region *gm_region_at(const struct guest_mem *gm, size_t i)
{
	return i < gm->n ? &gm->region[i] : NULL;
}

uint64_t gm_size(const struct guest_mem *gm)
{
	return gm->size;
}

void *gm_map(const struct guest_mem *gm, uint64_t gpa, uint64_t len)
{
	for (size_t i = 0; i < gm->n; i++) {
		const struct gm_region *r = &gm->region[i];
		uint64_t off = gpa - r->gpa;

		/* An address below the region wraps to a huge offset. */
		if (off < r->size)
			return len <= r->size - off ? r->hva + off : NULL;
	}
	return NULL;
}

int gm_read(const struct guest_mem *gm, uint64_t gpa, void *buf, size_t len)
{
	const void *p = gm_map(gm, gpa, len);

	if (!p)
		return -EFAULT;
	if (len)
		memcpy(buf, p, len);
	return 0;
}

int gm_write(const struct guest_mem *gm, uint64_t gpa, const void *buf, size_t len)
{
	void *p = gm_map(gm, gpa, len);

	if (!p)
		return -EFAULT;
	if (len)
		memcpy(p, buf, len);
	return 0;
}

/*
 * Zeroes whole huge pages by giving them back to the host, which costs nothing for those that were never touched and makes the
 * process smaller for the others. Smaller pieces are written: dropping a part of a huge page would make the host split it.
 */
static void zero(uint8_t *p, uint64_t len)
{
	uint64_t addr = (uint64_t)(uintptr_t)p;
	uint64_t head = min_u64(len, (HUGE_PAGE - addr % HUGE_PAGE) % HUGE_PAGE);
	uint64_t middle = align_down(len - head, HUGE_PAGE);

	memset(p, 0, head);
	/* Fails for memory that is locked. */
	if (middle && madvise(p + head, middle, MADV_DONTNEED))
		memset(p + head, 0, middle);
	memset(p + head + middle, 0, len - head - middle);
}

int gm_fill(const struct guest_mem *gm, uint64_t gpa, uint8_t byte, uint64_t len)
{
	uint8_t *p = gm_map(gm, gpa, len);

	if (!p)
		return -EFAULT;
	if (byte)
		memset(p, byte, len);
	else
		zero(p, len);
	return 0;
}
