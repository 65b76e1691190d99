/* SPDX-License-Identifier: MIT */
/*
 * VirtualBox's disk images, versions 1.x: a header, a map of blocks, the blocks. Static ones have all blocks in order from the beginning.
 * Differencing and undo images, which need another, are refused.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "blk/import.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define VDI_SIGNATURE 0xbeda107fu
#define VDI_BLOCK_MAX (256u << 20)
#define VDI_FREE UINT32_MAX
#define VDI_ZERO (UINT32_MAX - 1)

enum { VDI_DYNAMIC = 1, VDI_STATIC = 2 };

struct vdi_header {
	char text[64];
	le32 signature, version, header_size, type, flags;
	char description[256];
	le32 map_off, data_off;
	le32 cylinders, heads, sectors, sector_size, unused;
	le64 disk_size;
	le32 block_size, block_extra, n_blocks, n_allocated;
	uint8_t uuid[16], uuid_snapshot[16], uuid_link[16], uuid_parent[16];
};
static_assert(sizeof(struct vdi_header) == 0x1c8, "VDI header");
static_assert(offsetof(struct vdi_header, disk_size) == 0x170, "VDI header");

struct vdi {
	struct import im;
	bool fixed;
	uint64_t map_off, data_off;
	uint32_t block_size, block_extra, n_blocks;
};

static int vdi_map(struct import *im, uint64_t off, uint64_t len, struct import_map *map)
{
	struct vdi *vdi = CONTAINER_OF(im, struct vdi, im);
	uint64_t block = off / vdi->block_size, in_block = off % vdi->block_size;
	uint32_t place;
	le32 entry;
	int rc = import_read(im, im->bd.file, vdi->map_off + block * sizeof(entry), &entry, sizeof(entry));

	if (rc < 0)
		return rc;
	place = le32_get(entry);
	map->len = min_u64(len, vdi->block_size - in_block);
	if (place == VDI_FREE || place == VDI_ZERO) {
		map->kind = IMPORT_ZERO;
		return 0;
	}
	/* A block more than the disk has cannot be. */
	if (place >= vdi->n_blocks)
		return -EIO;
	map->kind = IMPORT_DATA;
	map->file = im->bd.file;
	map->file_off = vdi->data_off + (uint64_t)place * (vdi->block_size + vdi->block_extra) + vdi->block_extra + in_block;
	return 0;
}

static bool vdi_flat(struct import *im, uint64_t off)
{
	(void)off;
	return CONTAINER_OF(im, struct vdi, im)->fixed;
}

static void vdi_fini(struct import *im)
{
	(void)im;
}

static const struct import_ops vdi_ops = { .format = "vdi", .map = vdi_map, .flat = vdi_flat, .fini = vdi_fini };

static bool is_null(const uint8_t uuid[16])
{
	static const uint8_t null[16];

	return memcmp(uuid, null, sizeof(null)) == 0;
}

static int header_check(const struct vdi_header *h, const char *name, struct err *err)
{
	uint32_t type = le32_get(h->type), block = le32_get(h->block_size);

	if (le32_get(h->signature) != VDI_SIGNATURE)
		return err_set(err, -EINVAL, "%s: not a VDI image", name);
	if (le32_get(h->version) >> 16 != 1)
		return err_set(err, -ENOTSUP, "%s: VDI version %u.%u is not known, only 1.x is", name, le32_get(h->version) >> 16,
			       le32_get(h->version) & 0xffff);
	if ((type != VDI_DYNAMIC && type != VDI_STATIC) || !is_null(h->uuid_link) || !is_null(h->uuid_parent))
		return err_set(err, -ENOTSUP, "%s: a VDI image that stands on another one; merge them with VirtualBox's 'VBoxManage clonemedium'", name);
	if (le32_get(h->sector_size) != BLK_SECTOR)
		return err_set(err, -ENOTSUP, "%s: VDI sectors of %u bytes are not known, only of 512", name, le32_get(h->sector_size));
	if (block < BLK_SECTOR || block > VDI_BLOCK_MAX || (block & (block - 1)) != 0 || le32_get(h->block_extra) > block ||
	    le32_get(h->block_extra) % BLK_SECTOR != 0)
		return err_set(err, -EINVAL, "%s: VDI blocks of %u bytes and %u cannot be", name, block, le32_get(h->block_extra));
	if (le32_get(h->map_off) % BLK_SECTOR != 0 || le32_get(h->data_off) % BLK_SECTOR != 0)
		return err_set(err, -EINVAL, "%s: the VDI header's offsets are not whole sectors", name);
	return 0;
}

/* The map is inside the file and speaks of all of the disk. */
static int sizes_check(const struct vdi *vdi, const struct blockdev *file, uint64_t size, struct err *err)
{
	if (size > (uint64_t)vdi->n_blocks * vdi->block_size)
		return err_set(err, -EINVAL, "%s: the VDI header says %llu bytes, but its %u blocks hold less", file->name,
			       (unsigned long long)size, vdi->n_blocks);
	if (!range_ok(vdi->map_off, (uint64_t)vdi->n_blocks * sizeof(le32), file->size))
		return err_set(err, -EINVAL, "%s: the file ends before the VDI map of blocks does", file->name);
	return 0;
}

struct blockdev *vdi_open(struct blockdev *file, const struct import_config *cfg, struct err *err)
{
	struct vdi *vdi = calloc(1, sizeof(*vdi));
	struct vdi_header h;
	int rc;

	(void)cfg;
	if (!vdi) {
		err_set_errno(err, -ENOMEM, "%s: cannot open it", file->name);
		return NULL;
	}
	rc = import_read(&vdi->im, file, 0, &h, sizeof(h));
	rc = rc < 0 ? err_set_errno(err, rc, "%s: cannot read the VDI header", file->name) : header_check(&h, file->name, err);
	if (rc == 0) {
		vdi->map_off = le32_get(h.map_off);
		vdi->data_off = le32_get(h.data_off);
		vdi->block_size = vdi->im.cluster_size = le32_get(h.block_size);
		vdi->block_extra = le32_get(h.block_extra);
		vdi->fixed = le32_get(h.type) == VDI_STATIC;
		vdi->n_blocks = le32_get(h.n_blocks);
		rc = sizes_check(vdi, file, le64_get(h.disk_size), err);
	}
	if (rc == 0)
		rc = import_init(&vdi->im, &vdi_ops, file, le64_get(h.disk_size), err);
	if (rc == 0)
		return &vdi->im.bd;
	import_forget(&vdi->im);
	free(vdi);
	return NULL;
}
