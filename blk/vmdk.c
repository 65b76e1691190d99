/* SPDX-License-Identifier: MIT */
/*
 * VMware's disk images: a sparse file with a descriptor inside (monolithicSparse, streamOptimized), or a descriptor in a file of its own
 * that names extents, sparse or flat (monolithicFlat, twoGbMaxExtentSparse, twoGbMaxExtentFlat, vmfs). Images that stand on a parent, and
 * ESX's own sparse kinds (COWD, SESPARSE), are refused by name.
 *
 * The files that a descriptor names are opened only when the user said that it is a VMDK: a guest with a raw disk could write one
 * that names a file of the host.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk/vmdk_priv.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define DESCRIPTOR_MAX (1u << 20)

struct opening {
	struct vmdk *vmdk;
	struct blockdev *file;
	const struct import_config *cfg;
};

static struct vmdk_extent *extent_find(struct vmdk *vmdk, uint64_t off)
{
	unsigned first = 0, n = vmdk->n_extents;

	while (n > 1) {
		unsigned half = n / 2;

		if (vmdk->extents[first + half].start <= off) {
			first += half;
			n -= half;
		} else {
			n = half;
		}
	}
	return &vmdk->extents[first];
}

static int vmdk_map(struct import *im, uint64_t off, uint64_t len, struct import_map *map)
{
	struct vmdk *vmdk = CONTAINER_OF(im, struct vmdk, im);
	struct vmdk_extent *x = extent_find(vmdk, off);
	uint64_t in = off - x->start;

	len = min_u64(len, x->size - in);
	switch (x->kind) {
	case VMDK_SPARSE:
		return vmdk_sparse_map(vmdk, x, in, len, map);
	case VMDK_FLAT:
		*map = (struct import_map){ .kind = IMPORT_DATA, .len = len, .file = x->file, .file_off = x->flat_off + in };
		return 0;
	case VMDK_ZERO:
		break;
	}
	*map = (struct import_map){ .kind = IMPORT_ZERO, .len = len };
	return 0;
}

/* The extents' files, but not the first file, which may be one of them. */
static struct blockdev *vmdk_child(struct import *im, unsigned n)
{
	struct vmdk *vmdk = CONTAINER_OF(im, struct vmdk, im);

	for (unsigned i = 0; i < vmdk->n_extents; i++) {
		struct blockdev *file = vmdk->extents[i].file;

		if (file && file != im->bd.file && n-- == 0)
			return file;
	}
	return NULL;
}

static bool vmdk_flat(struct import *im, uint64_t off)
{
	return extent_find(CONTAINER_OF(im, struct vmdk, im), off)->kind == VMDK_FLAT;
}

static void vmdk_fini(struct import *im)
{
	free(CONTAINER_OF(im, struct vmdk, im)->extents);
}

static const struct import_ops vmdk_ops = { .format = "vmdk", .map = vmdk_map, .child = vmdk_child, .flat = vmdk_flat, .fini = vmdk_fini };

static struct vmdk_extent *extent_add(struct vmdk *vmdk, struct err *err, const char *name)
{
	struct vmdk_extent *x;

	if (vmdk->n_extents >= VMDK_EXTENTS_MAX) {
		err_set(err, -E2BIG, "%s: a VMDK of more than %u extents", name, VMDK_EXTENTS_MAX);
		return NULL;
	}
	x = reallocarray(vmdk->extents, vmdk->n_extents + 1, sizeof(*x));
	if (!x) {
		err_set_errno(err, -ENOMEM, "%s: cannot open it", name);
		return NULL;
	}
	vmdk->extents = x;
	x += vmdk->n_extents++;
	*x = (struct vmdk_extent){ .start = 0 };
	if (vmdk->n_extents > 1)
		x->start = x[-1].start + x[-1].size;
	return x;
}

static int extent_kind(const struct vmdk_line *line, const char *name, enum vmdk_extent_kind *kind, struct err *err)
{
	static const struct {
		const char *type;
		enum vmdk_extent_kind kind;
	} kinds[] = { { "SPARSE", VMDK_SPARSE }, { "FLAT", VMDK_FLAT }, { "VMFS", VMDK_FLAT }, { "ZERO", VMDK_ZERO } };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].type, line->type)) {
			*kind = kinds[i].kind;
			return 0;
		}
	return err_set(err, -ENOTSUP, "%s: VMDK extents of type %s are not known; SPARSE, FLAT, VMFS and ZERO are", name, line->type);
}

static int extent_open(void *opaque, const struct vmdk_line *line, struct err *err)
{
	struct opening *o = opaque;
	const char *name = o->file->name;
	enum vmdk_extent_kind kind = VMDK_ZERO;
	struct vmdk_extent *x;

	if (extent_kind(line, name, &kind, err) < 0)
		return err->code;
	if (line->sectors == 0 || line->sectors > INT64_MAX / BLK_SECTOR / VMDK_EXTENTS_MAX)
		return err_set(err, -EINVAL, "%s: a VMDK extent of %llu sectors cannot be", name, (unsigned long long)line->sectors);
	if (kind != VMDK_ZERO && !line->file[0])
		return err_set(err, -EINVAL, "%s: a VMDK extent without a file", name);
	if (kind != VMDK_ZERO && !o->cfg->trusted)
		return err_set(err, -EPERM, "%s: this looks like a VMDK that names other files; if that is what it is, say so: -f vmdk", name);
	x = extent_add(o->vmdk, err, name);
	if (!x)
		return err->code;
	x->kind = kind;
	x->listed = true;
	x->size = line->sectors * BLK_SECTOR;
	if (kind == VMDK_ZERO)
		return 0;
	if (o->cfg->open_child(o->cfg->opaque, line->file, &x->file, err) < 0)
		return err_prefix(err, "%s: extent", name);
	if (kind == VMDK_SPARSE)
		return vmdk_sparse_open(o->vmdk, x, err);
	if (!mul_u64(line->off, BLK_SECTOR, &x->flat_off) || !range_ok(x->flat_off, x->size, x->file->size))
		return err_set(err, -EINVAL, "%s: the VMDK extent %s is shorter than the %llu sectors that it should have", name, line->file,
			       (unsigned long long)line->sectors);
	return 0;
}

/* The descriptor in [off, off + len) of the file. `extents`: its extents are the disk. */
static int descriptor_read(struct opening *o, uint64_t off, uint64_t len, bool extents, struct err *err)
{
	const char *name = o->file->name;
	bool parent = false;
	char *text;
	int rc;

	if (off > o->file->size)
		return err_set(err, -EINVAL, "%s: the VMDK descriptor lies outside the file", name);
	len = min_u64(min_u64(len, o->file->size - off), DESCRIPTOR_MAX);
	text = malloc(len + 1);
	rc = text ? import_read(&o->vmdk->im, o->file, off, text, len) : -ENOMEM;
	if (rc < 0) {
		free(text);
		return err_set_errno(err, rc, "%s: cannot read the VMDK descriptor", name);
	}
	text[len] = 0;
	rc = vmdk_desc_parse(text, name, &o->vmdk->info, &parent, extents ? extent_open : NULL, o, err);
	free(text);
	if (rc == 0 && (parent || o->vmdk->info.parent_cid != UINT32_MAX))
		return err_set(err, -ENOTSUP, "%s: this VMDK stands on a parent, which is not supported; consolidate the snapshots in VMware first",
			       name);
	return rc;
}

static int sparse_file_open(struct opening *o, struct err *err)
{
	struct vmdk_extent *x = extent_add(o->vmdk, err, o->file->name);
	uint64_t off, len;
	int rc;

	if (!x)
		return err->code;
	x->kind = VMDK_SPARSE;
	x->file = o->file;
	rc = vmdk_sparse_open(o->vmdk, x, err);
	if (rc < 0)
		return rc;
	if (!mul_u64(x->descriptor_off, BLK_SECTOR, &off) || !mul_u64(x->descriptor_len, BLK_SECTOR, &len))
		return err_set(err, -EINVAL, "%s: the VMDK descriptor lies outside the file", o->file->name);
	if (x->size == 0)
		o->vmdk->n_extents = 0; /* the file of a descriptor that has been given a header */
	else if (!x->descriptor_off)
		return 0;
	return descriptor_read(o, off, len, x->size == 0, err);
}

static int file_open(struct opening *o, struct err *err)
{
	char magic[4] = "";
	int rc = import_read(&o->vmdk->im, o->file, 0, magic, sizeof(magic));

	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot read the VMDK header", o->file->name);
	if (!memcmp(magic, "COWD", 4))
		return err_set(err, -ENOTSUP, "%s: ESX's sparse VMDKs (COWD) are not supported; export the disk as stream-optimised VMDK", o->file->name);
	if (!memcmp(magic, "KDMV", 4))
		return sparse_file_open(o, err);
	return descriptor_read(o, 0, o->file->size, true, err);
}

struct blockdev *vmdk_open(struct blockdev *file, const struct import_config *cfg, struct err *err)
{
	struct vmdk *vmdk = calloc(1, sizeof(*vmdk));
	struct opening o = { .vmdk = vmdk, .file = file, .cfg = cfg };
	const struct vmdk_extent *last;
	int rc;

	if (!vmdk) {
		err_set_errno(err, -ENOMEM, "%s: cannot open it", file->name);
		return NULL;
	}
	vmdk->info.parent_cid = UINT32_MAX;
	rc = file_open(&o, err);
	if (rc == 0 && vmdk->n_extents == 0)
		rc = err_set(err, -EINVAL, "%s: a VMDK without extents", file->name);
	if (rc == 0) {
		last = &vmdk->extents[vmdk->n_extents - 1];
		vmdk->im.cluster_size = vmdk->extents[0].grain;
		vmdk->info.n_extents = vmdk->n_extents;
		rc = import_init(&vmdk->im, &vmdk_ops, file, last->start + last->size, err);
	}
	if (rc == 0)
		return &vmdk->im.bd;
	import_forget(&vmdk->im);
	for (unsigned i = 0; i < vmdk->n_extents; i++)
		if (vmdk->extents[i].file != file)
			blockdev_close(vmdk->extents[i].file);
	free(vmdk->extents);
	free(vmdk);
	return NULL;
}

bool vmdk_info(const struct blockdev *bd, struct vmdk_info *info)
{
	if (strcmp(bd->ops->format, "vmdk") != 0)
		return false;
	*info = CONTAINER_OF(CONTAINER_OF(bd, struct import, bd), struct vmdk, im)->info;
	return true;
}

void vmdk_extent_info(const struct blockdev *bd, unsigned n, struct vmdk_extent_info *info)
{
	const struct vmdk_extent *x = &CONTAINER_OF(CONTAINER_OF(bd, struct import, bd), struct vmdk, im)->extents[n];

	*info = (struct vmdk_extent_info){
		.file = x->file ? x->file->name : "",
		.size = x->size,
		.cluster_size = x->kind == VMDK_SPARSE ? x->grain : 0,
		.type = !x->listed ? "" : x->kind == VMDK_SPARSE ? "SPARSE" : x->kind == VMDK_FLAT ? "FLAT" : "ZERO",
		.compressed = x->compressed,
	};
}
