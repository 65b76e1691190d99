/* SPDX-License-Identifier: MIT */
/*
 * Hyper-V's disk images, VHDX. Source: [MS-VHDX]. A file has two headers, of which the newer valid one counts, two region tables, a
 * log, a table of blocks (BAT) and a metadata table.
 *
 * A log that has something in it means that the file was not closed. To read the disk without it could show old tables, and to apply
 * it means writing to somebody's image. So such an image is refused, with the tool that applies it named.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk/import.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define VHDX_HEADER_OFF(n) (65536u * (1 + (n)))
#define VHDX_REGION_OFF(n) (65536u * (3 + (n)))
#define VHDX_HEADER 4096u
#define VHDX_TABLE 65536u
#define VHDX_ENTRIES 2047u /* of a region or metadata table */
#define VHDX_SIZE_MAX (UINT64_C(64) << 40)

enum { BLOCK_NONE = 0, BLOCK_UNDEFINED = 1, BLOCK_ZERO = 2, BLOCK_UNMAPPED = 3, BLOCK_FULL = 6, BLOCK_PARTLY = 7 };

struct vhdx_header {
	char signature[4];
	le32 checksum;
	le64 sequence;
	uint8_t file_guid[16], data_guid[16], log_guid[16];
	le16 log_version, version;
	le32 log_length;
	le64 log_off;
};
static_assert(sizeof(struct vhdx_header) == 80, "VHDX header");

struct vhdx_region {
	uint8_t guid[16];
	le64 off;
	le32 len, required;
};
static_assert(sizeof(struct vhdx_region) == 32, "VHDX region");

struct vhdx_item {
	uint8_t guid[16];
	le32 off, len, flags, reserved;
};
static_assert(sizeof(struct vhdx_item) == 32, "VHDX metadata item");

static const uint8_t guid_bat[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
static const uint8_t guid_metadata[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };

enum { ITEM_PARAMETERS, ITEM_SIZE, ITEM_SECTOR, ITEMS_NEEDED, ITEM_PHYSICAL = ITEMS_NEEDED, ITEM_PAGE83, ITEM_PARENT, ITEMS };
static const struct {
	uint8_t guid[16];
	uint32_t len;
} items[ITEMS] = {
	[ITEM_PARAMETERS] = { { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b }, 8 },
	[ITEM_SIZE] = { { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 }, 8 },
	[ITEM_SECTOR] = { { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f }, 4 },
	[ITEM_PHYSICAL] = { { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 }, 4 },
	[ITEM_PAGE83] = { { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 }, 16 },
	[ITEM_PARENT] = { { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c }, 0 },
};

struct vhdx {
	struct import im;
	uint64_t bat_off, bat_len, meta_off, size;
	uint32_t meta_len, block_size, sector_size, chunk_ratio;
};

/* CRC-32C, four bits at a time. */
static uint32_t crc32c(const uint8_t *p, size_t len)
{
	static const uint32_t table[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
					    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

/* Of a structure whose checksum is its second word. */
static bool checksum_ok(uint8_t *p, size_t len)
{
	uint32_t want = load_le32(p + 4);

	store_le32(p + 4, 0);
	return crc32c(p, len) == want;
}

static int vhdx_map(struct import *im, uint64_t off, uint64_t len, struct import_map *map)
{
	struct vhdx *vhdx = CONTAINER_OF(im, struct vhdx, im);
	uint64_t block = off / vhdx->block_size, in_block = off % vhdx->block_size, entry;
	le64 wire;
	/* After each chunk_ratio blocks an entry is of a bitmap. */
	int rc = import_read(im, im->bd.file, vhdx->bat_off + (block + block / vhdx->chunk_ratio) * sizeof(wire), &wire, sizeof(wire));

	if (rc < 0)
		return rc;
	entry = le64_get(wire);
	map->len = min_u64(len, vhdx->block_size - in_block);
	switch (entry & 7) {
	case BLOCK_NONE:
	case BLOCK_UNDEFINED:
	case BLOCK_UNMAPPED:
	case BLOCK_ZERO:
		map->kind = IMPORT_ZERO;
		return 0;
	case BLOCK_FULL:
		map->kind = IMPORT_DATA;
		map->file = im->bd.file;
		map->file_off = align_down(entry, MIB) + in_block;
		/* Headers, tables and the log begin a file: no block is there. */
		return align_down(entry, MIB) < MIB || align_down(entry, MIB) > INT64_MAX ? -EIO : 0;
	default: /* BLOCK_PARTLY is for images that stand on others */
		return -EIO;
	}
}

static void vhdx_fini(struct import *im)
{
	(void)im;
}

static const struct import_ops vhdx_ops = { .format = "vhdx", .map = vhdx_map, .fini = vhdx_fini };

/* The newer valid one of the two. */
static int header_read(struct vhdx *vhdx, struct blockdev *file, struct vhdx_header *best, struct err *err)
{
	uint8_t buf[VHDX_HEADER];
	bool found = false;
	char magic[8];

	if (import_read(&vhdx->im, file, 0, magic, sizeof(magic)) < 0 || memcmp(magic, "vhdxfile", 8) != 0)
		return err_set(err, -EINVAL, "%s: not a VHDX image", file->name);
	for (unsigned i = 0; i < 2; i++) {
		struct vhdx_header h;

		if (import_read(&vhdx->im, file, VHDX_HEADER_OFF(i), buf, sizeof(buf)) < 0 || memcmp(buf, "head", 4) != 0 ||
		    !checksum_ok(buf, sizeof(buf)))
			continue;
		memcpy(&h, buf, sizeof(h));
		if (!found || le64_get(h.sequence) > le64_get(best->sequence))
			*best = h;
		found = true;
	}
	return found ? 0 : err_set(err, -EINVAL, "%s: neither of the two VHDX headers is valid", file->name);
}

static int header_check(const struct vhdx_header *h, const char *name, struct err *err)
{
	static const uint8_t null[16];

	if (le16_get(h->version) != 1)
		return err_set(err, -ENOTSUP, "%s: VHDX version %u is not known, only 1 is", name, le16_get(h->version));
	if (memcmp(h->log_guid, null, sizeof(null)) != 0)
		return err_set(err, -ENOTSUP, "%s: this VHDX was not closed, and its log holds changes; apply it with Hyper-V, or on a copy with "
					      "'qemu-img check -r all'", name);
	return 0;
}

/* Where the BAT and the metadata are, from the first valid one of the two tables. */
static int regions_read(struct vhdx *vhdx, struct blockdev *file, struct err *err)
{
	uint8_t *buf = malloc(VHDX_TABLE);
	uint32_t n = 0;
	bool ok = false;

	if (!buf)
		return err_set_errno(err, -ENOMEM, "%s: cannot open it", file->name);
	for (unsigned i = 0; i < 2 && !ok; i++) {
		ok = import_read(&vhdx->im, file, VHDX_REGION_OFF(i), buf, VHDX_TABLE) == 0 && memcmp(buf, "regi", 4) == 0 &&
		     checksum_ok(buf, VHDX_TABLE);
		n = load_le32(buf + 8);
	}
	if (!ok || n > VHDX_ENTRIES) {
		free(buf);
		return err_set(err, -EINVAL, "%s: neither of the two VHDX region tables is valid", file->name);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct vhdx_region r;

		memcpy(&r, buf + 16 + i * sizeof(r), sizeof(r));
		if (!range_ok(le64_get(r.off), le32_get(r.len), file->size)) {
			ok = false;
		} else if (!memcmp(r.guid, guid_bat, 16)) {
			vhdx->bat_off = le64_get(r.off);
			vhdx->bat_len = le32_get(r.len);
		} else if (!memcmp(r.guid, guid_metadata, 16)) {
			vhdx->meta_off = le64_get(r.off);
			vhdx->meta_len = le32_get(r.len);
		} else if (le32_get(r.required) & 1) {
			free(buf);
			return err_set(err, -ENOTSUP, "%s: this VHDX has a region that is needed and not known", file->name);
		}
	}
	free(buf);
	if (!ok || !vhdx->bat_len || vhdx->meta_len < VHDX_TABLE)
		return err_set(err, -EINVAL, "%s: the VHDX block table or metadata is missing, or lies outside the file", file->name);
	return 0;
}

static int item_read(struct vhdx *vhdx, struct blockdev *file, const struct vhdx_item *wire, uint8_t values[ITEMS][16], unsigned *seen,
		     struct err *err)
{
	for (unsigned i = 0; i < ITEMS; i++) {
		if (memcmp(wire->guid, items[i].guid, 16) != 0)
			continue;
		*seen |= BIT(i);
		if (items[i].len == 0)
			return 0;
		if (le32_get(wire->len) != items[i].len || !range_ok(le32_get(wire->off), items[i].len, vhdx->meta_len) ||
		    import_read(&vhdx->im, file, vhdx->meta_off + le32_get(wire->off), values[i], items[i].len) < 0)
			return err_set(err, -EINVAL, "%s: a VHDX metadata item lies outside its region", file->name);
		return 0;
	}
	if (le32_get(wire->flags) & 4)
		return err_set(err, -ENOTSUP, "%s: this VHDX has a metadata item that is needed and not known", file->name);
	return 0;
}

static int values_check(struct vhdx *vhdx, const char *name, uint8_t values[ITEMS][16], unsigned seen, struct err *err)
{
	uint32_t block = load_le32(values[ITEM_PARAMETERS]), sector = load_le32(values[ITEM_SECTOR]);
	uint64_t blocks;

	if ((seen & (BIT(ITEMS_NEEDED) - 1)) != BIT(ITEMS_NEEDED) - 1)
		return err_set(err, -EINVAL, "%s: the VHDX metadata lacks the size of blocks, sectors or the disk", name);
	if (load_le32(values[ITEM_PARAMETERS] + 4) & 2)
		return err_set(err, -ENOTSUP, "%s: a differencing VHDX stands on another image; merge them with Hyper-V first", name);
	if (block < MIB || block > 256 * MIB || (block & (block - 1)) != 0)
		return err_set(err, -EINVAL, "%s: VHDX blocks of %u bytes cannot be", name, block);
	if (sector != 512 && sector != 4096)
		return err_set(err, -EINVAL, "%s: VHDX sectors of %u bytes cannot be", name, sector);
	vhdx->size = load_le64(values[ITEM_SIZE]);
	if (vhdx->size > VHDX_SIZE_MAX || vhdx->size % sector != 0)
		return err_set(err, -EINVAL, "%s: a VHDX disk of %llu bytes cannot be", name, (unsigned long long)vhdx->size);
	vhdx->block_size = vhdx->im.cluster_size = block;
	vhdx->sector_size = sector;
	vhdx->chunk_ratio = (uint32_t)((UINT64_C(1) << 23) * sector / block);
	blocks = vhdx->size / block + (vhdx->size % block != 0);
	if (blocks && (blocks + (blocks - 1) / vhdx->chunk_ratio) * sizeof(le64) > vhdx->bat_len)
		return err_set(err, -EINVAL, "%s: the VHDX block table is too short for a disk of %llu bytes", name, (unsigned long long)vhdx->size);
	return 0;
}

static int metadata_read(struct vhdx *vhdx, struct blockdev *file, struct err *err)
{
	uint8_t head[32], values[ITEMS][16] = { { 0 } };
	unsigned seen = 0, n;

	if (import_read(&vhdx->im, file, vhdx->meta_off, head, sizeof(head)) < 0 || memcmp(head, "metadata", 8) != 0)
		return err_set(err, -EINVAL, "%s: where the VHDX metadata should be is something else", file->name);
	n = load_le16(head + 10);
	if (n > VHDX_ENTRIES)
		return err_set(err, -EINVAL, "%s: the VHDX metadata says that it has %u items, more than fit", file->name, n);
	for (unsigned i = 0; i < n; i++) {
		struct vhdx_item item;

		if (import_read(&vhdx->im, file, vhdx->meta_off + 32 + i * sizeof(item), &item, sizeof(item)) < 0)
			return err_set(err, -EINVAL, "%s: the file ends in its VHDX metadata", file->name);
		if (item_read(vhdx, file, &item, values, &seen, err) < 0)
			return err->code;
	}
	return values_check(vhdx, file->name, values, seen, err);
}

struct blockdev *vhdx_open(struct blockdev *file, const struct import_config *cfg, struct err *err)
{
	struct vhdx *vhdx = calloc(1, sizeof(*vhdx));
	struct vhdx_header header;
	int rc;

	(void)cfg;
	if (!vhdx) {
		err_set_errno(err, -ENOMEM, "%s: cannot open it", file->name);
		return NULL;
	}
	rc = header_read(vhdx, file, &header, err);
	if (rc == 0)
		rc = header_check(&header, file->name, err);
	if (rc == 0)
		rc = regions_read(vhdx, file, err);
	if (rc == 0)
		rc = metadata_read(vhdx, file, err);
	if (rc == 0)
		rc = import_init(&vhdx->im, &vhdx_ops, file, vhdx->size, err);
	if (rc == 0)
		return &vhdx->im.bd;
	import_forget(&vhdx->im);
	free(vhdx);
	return NULL;
}
