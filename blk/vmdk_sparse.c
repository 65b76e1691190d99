/* SPDX-License-Identifier: MIT */
/*
 * A sparse extent of a VMDK ("KDMV"). Source: VMware Virtual Disk Format 5.0. A header names the grain directory, whose entries name grain
 * tables, whose entries name grains, all in sectors. A stream-optimised one was written from beginning to end: its header says that the
 * directory is at the end, and a second copy of the header, the footer, says where. Its grains are zlib streams behind a marker.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "blk/vmdk_priv.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define FLAG_SECOND_DIRECTORY BIT(1)
#define FLAG_ZERO_GRAINS BIT(2)
#define FLAG_COMPRESSED BIT(16)
#define FLAG_MARKERS BIT(17)
#define GD_AT_END UINT64_MAX
#define MARKER_FOOTER 3u
#define GTE_ZERO 1u
#define GRAIN_MAX (UINT64_C(1) << 30)
#define SIZE_MAX_SECTORS (UINT64_C(64) << 31) /* 64 TiB */

struct header {
	char magic[4];
	le32 version, flags;
	le64 capacity, grain, descriptor_off, descriptor_len;
	le32 gtes;
	le64 second_gd, gd, overhead;
	uint8_t unclean, newline[4];
	le16 algorithm;
	uint8_t pad[433];
};
static_assert(sizeof(struct header) == 512, "VMDK sparse header");

/* Of a grain in a file with markers. */
struct marker {
	le64 lba;
	le32 len;
};
static_assert(sizeof(struct marker) == 12, "VMDK grain marker");

static int footer_read(struct vmdk *vmdk, const struct vmdk_extent *x, struct header *h, struct err *err)
{
	uint8_t marker[BLK_SECTOR];
	uint64_t end = x->file->size;

	/* Marker, footer, end of stream. */
	if (end < 4 * BLK_SECTOR || import_read(&vmdk->im, x->file, end - 3 * BLK_SECTOR, marker, sizeof(marker)) < 0 ||
	    import_read(&vmdk->im, x->file, end - 2 * BLK_SECTOR, h, sizeof(*h)) < 0)
		return err_set(err, -EINVAL, "%s: the file is too short for the footer of a stream-optimised VMDK", x->file->name);
	if (load_le32(marker + 12) != MARKER_FOOTER || memcmp(h->magic, "KDMV", 4) != 0 || le64_get(h->gd) == GD_AT_END)
		return err_set(err, -EINVAL, "%s: a stream-optimised VMDK without its footer: the file was cut off", x->file->name);
	return 0;
}

static int header_check(const struct vmdk_extent *x, const struct header *h, struct err *err)
{
	uint64_t grain = le64_get(h->grain);
	const char *name = x->file->name;

	if (le32_get(h->version) < 1 || le32_get(h->version) > 3)
		return err_set(err, -ENOTSUP, "%s: VMDK version %u is not known, only 1 to 3 are", name, le32_get(h->version));
	if (le64_get(h->capacity) > SIZE_MAX_SECTORS)
		return err_set(err, -EFBIG, "%s: a sparse VMDK of %llu sectors cannot be", name, (unsigned long long)le64_get(h->capacity));
	if (grain == 0 || grain > GRAIN_MAX / BLK_SECTOR || (grain & (grain - 1)) != 0)
		return err_set(err, -EINVAL, "%s: VMDK grains of %llu sectors cannot be", name, (unsigned long long)grain);
	if (le32_get(h->gtes) == 0 || le32_get(h->gtes) > 512)
		return err_set(err, -EINVAL, "%s: VMDK grain tables of %u entries cannot be", name, le32_get(h->gtes));
	if ((le32_get(h->flags) & FLAG_COMPRESSED) && (le16_get(h->algorithm) != 1 || grain * BLK_SECTOR > IMPORT_GRAIN_MAX))
		return err_set(err, -ENOTSUP, "%s: VMDK compression %u of grains of %llu sectors is not known", name, le16_get(h->algorithm),
			       (unsigned long long)grain);
	return 0;
}

int vmdk_sparse_open(struct vmdk *vmdk, struct vmdk_extent *x, struct err *err)
{
	const char *name = x->file->name;
	uint64_t size, gd, covered;
	struct header h;
	int rc = import_read(&vmdk->im, x->file, 0, &h, sizeof(h));

	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot read the VMDK header", name);
	if (memcmp(h.magic, "KDMV", 4) != 0)
		return err_set(err, -ENOTSUP, "%s: not a sparse VMDK extent of the kind that is known (KDMV)", name);
	x->descriptor_off = le64_get(h.descriptor_off);
	x->descriptor_len = le64_get(h.descriptor_len);
	if (le64_get(h.gd) == GD_AT_END && le64_get(h.capacity) != 0)
		rc = footer_read(vmdk, x, &h, err);
	if (rc == 0 && le64_get(h.capacity) != 0)
		rc = header_check(x, &h, err);
	if (rc < 0)
		return rc;
	size = le64_get(h.capacity) * BLK_SECTOR;
	if (x->size && x->size > size)
		return err_set(err, -EINVAL, "%s: the descriptor says %llu bytes, this VMDK extent holds %llu", name, (unsigned long long)x->size,
			       (unsigned long long)size);
	if (!x->size)
		x->size = size;
	if (size == 0)
		return 0;
	gd = le64_get((le32_get(h.flags) & FLAG_SECOND_DIRECTORY) ? h.second_gd : h.gd);
	x->grain = (uint32_t)(le64_get(h.grain) * BLK_SECTOR);
	x->gtes = le32_get(h.gtes);
	covered = (uint64_t)x->grain * x->gtes;
	x->n_tables = size / covered + (size % covered != 0);
	x->zero_grains = le32_get(h.flags) & FLAG_ZERO_GRAINS;
	x->compressed = le32_get(h.flags) & FLAG_COMPRESSED;
	x->markers = le32_get(h.flags) & FLAG_MARKERS;
	if (!mul_u64(gd, BLK_SECTOR, &x->gd_off) || !range_ok(x->gd_off, x->n_tables * sizeof(le32), x->file->size))
		return err_set(err, -EINVAL, "%s: the VMDK grain directory lies outside the file", name);
	return 0;
}

static int compressed_map(struct vmdk *vmdk, const struct vmdk_extent *x, uint64_t at, uint64_t in_grain, struct import_map *map)
{
	struct marker m;
	int rc;

	map->kind = IMPORT_DEFLATED;
	map->grain = x->grain;
	map->skip = (uint32_t)in_grain;
	map->file_off = at;
	if (!x->markers) {
		/* How long the stream is, it knows itself. */
		if (at >= x->file->size)
			return -EIO;
		map->stored = (uint32_t)min_u64(2 * (uint64_t)x->grain, x->file->size - at);
		return 0;
	}
	rc = import_read(&vmdk->im, x->file, at, &m, sizeof(m));
	if (rc < 0)
		return rc;
	map->file_off += sizeof(m);
	map->stored = le32_get(m.len);
	return map->stored == 0 || map->stored > 2 * (uint64_t)x->grain ? -EIO : 0;
}

int vmdk_sparse_map(struct vmdk *vmdk, const struct vmdk_extent *x, uint64_t off, uint64_t len, struct import_map *map)
{
	uint64_t grain = off / x->grain, in_grain = off % x->grain, at;
	le32 entry;
	int rc = import_read(&vmdk->im, x->file, x->gd_off + grain / x->gtes * sizeof(entry), &entry, sizeof(entry));

	if (rc < 0)
		return rc;
	map->file = x->file;
	map->len = min_u64(len, x->grain - in_grain);
	if (le32_get(entry) != 0) {
		at = (uint64_t)le32_get(entry) * BLK_SECTOR + grain % x->gtes * sizeof(entry);
		rc = import_read(&vmdk->im, x->file, at, &entry, sizeof(entry));
		if (rc < 0)
			return rc;
	}
	at = (uint64_t)le32_get(entry) * BLK_SECTOR;
	if (at == 0) {
		map->kind = IMPORT_NONE;
	} else if (at == GTE_ZERO * BLK_SECTOR && x->zero_grains) {
		map->kind = IMPORT_ZERO;
	} else if (x->compressed) {
		return compressed_map(vmdk, x, at, in_grain, map);
	} else {
		map->kind = IMPORT_DATA;
		map->file_off = at + in_grain;
	}
	return 0;
}
