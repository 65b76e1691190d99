/* SPDX-License-Identifier: MIT */
/*
 * Virtual hard disks of Virtual PC and Hyper-V's first generation (VHD; QEMU calls the format vpc). Source: Virtual Hard Disk Image Format
 * Specification 1.0. Numbers are big-endian. A fixed one is the disk and a footer; a dynamic one begins with a copy of the footer, which
 * names a header, which names a table of blocks. Each block begins with a bitmap of its sectors, which matters for
 * differencing disks only; those are refused.
 *
 * How large the disk is depends on who made it: Virtual PC and QEMU's older images mean the geometry, others the size field. As QEMU
 * does, an image of an unknown maker goes by its geometry, unless that is the largest there is.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk/import.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define VHD_FOOTER 512u
#define VHD_HEADER 1024u
#define VHD_FREE UINT32_MAX
#define VHD_CHS_MAX (UINT64_C(65535) * 16 * 255)
#define VHD_SECTORS_MAX UINT64_C(0xff000000) /* 2040 GiB */
#define VHD_BLOCK_MAX (256u << 20)

enum { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

struct vpc_footer {
	char cookie[8];
	uint8_t features[4], version[4], header_off[8], time[4];
	char creator[4];
	uint8_t creator_version[4], creator_os[4], original_size[8], current_size[8], cylinders[2], heads, sectors, type[4], checksum[4], uuid[16];
	uint8_t saved, reserved[427];
};
static_assert(sizeof(struct vpc_footer) == VHD_FOOTER, "VHD footer");

struct vpc_header {
	char cookie[8];
	uint8_t next[8], table_off[8], version[4], n_blocks[4], block_size[4], checksum[4], rest[984];
};
static_assert(sizeof(struct vpc_header) == VHD_HEADER, "VHD dynamic header");

struct vpc {
	struct import im;
	bool fixed;
	uint64_t table_off;
	uint32_t block_size, bitmap_size, n_blocks;
};

static int vpc_map(struct import *im, uint64_t off, uint64_t len, struct import_map *map)
{
	struct vpc *vpc = CONTAINER_OF(im, struct vpc, im);
	uint64_t in_block;
	uint8_t entry[4];
	int rc;

	map->file = im->bd.file;
	if (vpc->fixed) {
		map->kind = IMPORT_DATA;
		map->len = len;
		map->file_off = off;
		return 0;
	}
	in_block = off % vpc->block_size;
	map->len = min_u64(len, vpc->block_size - in_block);
	rc = import_read(im, im->bd.file, vpc->table_off + off / vpc->block_size * sizeof(entry), entry, sizeof(entry));
	if (rc < 0)
		return rc;
	map->kind = import_be(entry, 4) == VHD_FREE ? IMPORT_ZERO : IMPORT_DATA;
	map->file_off = import_be(entry, 4) * BLK_SECTOR + vpc->bitmap_size + in_block;
	return 0;
}

static bool vpc_flat(struct import *im, uint64_t off)
{
	(void)off;
	return CONTAINER_OF(im, struct vpc, im)->fixed;
}

static void vpc_fini(struct import *im)
{
	(void)im;
}

static const struct import_ops vpc_ops = { .format = "vpc", .map = vpc_map, .flat = vpc_flat, .fini = vpc_fini };

/* The complement of the sum of all bytes but those of the sum. */
static bool checksum_ok(const void *p, size_t len, const uint8_t sum[4])
{
	const uint8_t *bytes = p;
	uint32_t total = 0;

	for (size_t i = 0; i < len; i++)
		total += bytes[i];
	for (int i = 0; i < 4; i++)
		total -= sum[i];
	return import_be(sum, 4) == (uint32_t)~total;
}

static uint64_t disk_size(const struct vpc_footer *f)
{
	static const char by_size[][4] = { { 'w', 'i', 'n', ' ' }, { 'q', 'e', 'm', '2' }, { 'd', '2', 'v', ' ' },
					   { 'C', 'T', 'X', 'S' }, { 't', 'a', 'p', 0 }, { 'w', 'a', 0, 0 } };
	uint64_t chs = import_be(f->cylinders, 2) * f->heads * f->sectors;

	for (size_t i = 0; i < ARRAY_SIZE(by_size); i++)
		if (!memcmp(f->creator, by_size[i], 4))
			return align_down(import_be(f->current_size, 8), BLK_SECTOR);
	return chs == VHD_CHS_MAX ? align_down(import_be(f->current_size, 8), BLK_SECTOR) : chs * BLK_SECTOR;
}

/* From the beginning, or else from the end, where it is of a fixed disk. */
static int footer_read(struct vpc *vpc, struct blockdev *file, struct vpc_footer *f, struct err *err)
{
	int rc = import_read(&vpc->im, file, 0, f, sizeof(*f));

	if (rc == 0 && memcmp(f->cookie, "conectix", 8) != 0) {
		rc = import_read(&vpc->im, file, file->size - sizeof(*f), f, sizeof(*f));
		if (rc == 0 && (memcmp(f->cookie, "conectix", 8) != 0 || import_be(f->type, 4) != VHD_FIXED))
			return err_set(err, -EINVAL, "%s: not a VHD image", file->name);
	}
	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot read the VHD footer", file->name);
	if (!checksum_ok(f, sizeof(*f), f->checksum))
		log_warn("%s: the VHD footer's checksum is wrong", file->name);
	return 0;
}

static int dynamic_open(struct vpc *vpc, struct blockdev *file, const struct vpc_footer *f, uint64_t size, struct err *err)
{
	struct vpc_header h;
	int rc = import_read(&vpc->im, file, import_be(f->header_off, 8), &h, sizeof(h));

	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot read the VHD header of dynamic disks", file->name);
	if (memcmp(h.cookie, "cxsparse", 8) != 0)
		return err_set(err, -EINVAL, "%s: where the VHD header of dynamic disks should be is something else", file->name);
	if (!checksum_ok(&h, sizeof(h), h.checksum))
		log_warn("%s: the checksum of the VHD header of dynamic disks is wrong", file->name);
	vpc->table_off = import_be(h.table_off, 8);
	vpc->n_blocks = (uint32_t)import_be(h.n_blocks, 4);
	vpc->block_size = vpc->im.cluster_size = (uint32_t)import_be(h.block_size, 4);
	if (vpc->block_size < BLK_SECTOR || vpc->block_size > VHD_BLOCK_MAX || (vpc->block_size & (vpc->block_size - 1)) != 0)
		return err_set(err, -EINVAL, "%s: VHD blocks of %u bytes cannot be", file->name, vpc->block_size);
	vpc->bitmap_size = (uint32_t)align_up((vpc->block_size / BLK_SECTOR + 7) / 8, BLK_SECTOR);
	if (size > (uint64_t)vpc->n_blocks * vpc->block_size)
		return err_set(err, -EINVAL, "%s: the VHD footer says %llu bytes, but its %u blocks hold less", file->name,
			       (unsigned long long)size, vpc->n_blocks);
	if (!range_ok(vpc->table_off, (uint64_t)vpc->n_blocks * 4, file->size))
		return err_set(err, -EINVAL, "%s: the file ends before the VHD table of blocks does", file->name);
	return 0;
}

static int kind_open(struct vpc *vpc, struct blockdev *file, uint64_t *size, struct err *err)
{
	struct vpc_footer f;
	int rc = footer_read(vpc, file, &f, err);

	if (rc < 0)
		return rc;
	*size = disk_size(&f);
	if (*size / BLK_SECTOR > VHD_SECTORS_MAX)
		return err_set(err, -EFBIG, "%s: a VHD image is at most 2040 GiB, this says %llu bytes", file->name, (unsigned long long)*size);
	switch (import_be(f.type, 4)) {
	case VHD_FIXED:
		vpc->fixed = true;
		if (*size > file->size - VHD_FOOTER)
			return err_set(err, -EINVAL, "%s: the VHD footer says %llu bytes, but the file has %llu", file->name,
				       (unsigned long long)*size, (unsigned long long)(file->size - VHD_FOOTER));
		return 0;
	case VHD_DYNAMIC:
		return dynamic_open(vpc, file, &f, *size, err);
	case VHD_DIFFERENCING:
		return err_set(err, -ENOTSUP, "%s: a differencing VHD stands on another image; merge them with Hyper-V first", file->name);
	default:
		return err_set(err, -ENOTSUP, "%s: VHD type %u is not known", file->name, (unsigned)import_be(f.type, 4));
	}
}

struct blockdev *vpc_open(struct blockdev *file, const struct import_config *cfg, struct err *err)
{
	struct vpc *vpc = calloc(1, sizeof(*vpc));
	uint64_t size = 0;
	int rc;

	(void)cfg;
	if (!vpc) {
		err_set_errno(err, -ENOMEM, "%s: cannot open it", file->name);
		return NULL;
	}
	rc = kind_open(vpc, file, &size, err);
	if (rc == 0)
		rc = import_init(&vpc->im, &vpc_ops, file, size, err);
	if (rc == 0)
		return &vpc->im.bd;
	import_forget(&vpc->im);
	free(vpc);
	return NULL;
}
