/* SPDX-License-Identifier: MIT */
/* New images: header, refcount table, refcount blocks and L1 table, one after the other; then what is allocated beforehand. */
#include <errno.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

#define DEFAULT_CLUSTER (64 * KIB)
#define DEFAULT_REFCOUNT_BITS 16
#define FEATURE_ENTRY 48

struct layout {
	unsigned cluster_bits, order, rb_bits, l2_bits;
	uint64_t l1_n, l1, rt, rb, total; /* entries; clusters */
};

struct feature {
	uint8_t type, bit;
	const char *name;
};

static const struct feature features[] = {
	{ 0, 0, "dirty bit" },	      { 0, 1, "corrupt bit" },	  { 0, 2, "external data file" }, { 0, 3, "compression type" },
	{ 0, 4, "extended L2 entries" }, { 1, 0, "lazy refcounts" }, { 2, 0, "bitmaps" },	    { 2, 1, "raw external data" },
};

static int check_config(const struct qcow2_create_config *c, const char *name, struct err *err)
{
	uint64_t cluster = c->cluster_size ? c->cluster_size : DEFAULT_CLUSTER;
	unsigned bits = c->refcount_bits ? c->refcount_bits : DEFAULT_REFCOUNT_BITS;
	bool v2 = c->version == 2;

	if (c->version && c->version != 2 && c->version != 3)
		return err_set(err, -EINVAL, "%s: there is no version %u of qcow2", name, c->version);
	if (cluster < BIT(MIN_CLUSTER_BITS) || cluster > BIT(MAX_CLUSTER_BITS) || (cluster & (cluster - 1)))
		return err_set(err, -EINVAL, "%s: cluster size must be a power of two between 512 and 2M", name);
	if (bits > 64 || (bits & (bits - 1)))
		return err_set(err, -EINVAL, "%s: refcount width must be a power of two and may not exceed 64 bits", name);
	if (v2 && (bits != 16 || c->lazy_refcounts || c->extended_l2 || c->data_file || c->compression != QCOW2_ZLIB))
		return err_set(err, -EINVAL, "%s: refcounts other than 16 bits, lazy refcounts, extended L2 entries, data files and zstd need compat=1.1", name);
	if (c->extended_l2 && cluster < 16 * KIB)
		return err_set(err, -EINVAL, "%s: extended L2 entries need clusters of at least 16k", name);
	if (c->data_file_raw && !c->data_file)
		return err_set(err, -EINVAL, "%s: data_file_raw needs a data_file", name);
	if (c->data_file_raw && c->backing_file)
		return err_set(err, -EINVAL, "%s: a backing file and data_file_raw cannot be used together", name);
	if (c->prealloc != BLK_PREALLOC_OFF && c->backing_file && !c->extended_l2)
		return err_set(err, -EINVAL, "%s: preallocation with a backing file needs extended_l2=on", name);
	if ((c->backing_file && strlen(c->backing_file) >= IMAGE_NAME_MAX) || (c->data_file && strlen(c->data_file) >= IMAGE_NAME_MAX) ||
	    (c->backing_format && strlen(c->backing_format) >= QCOW2_FORMAT_MAX))
		return err_set(err, -ENAMETOOLONG, "%s: the name of its backing or data file is too long; at most 1023 bytes are possible", name);
	return c->size > INT64_MAX - BLK_SECTOR ? err_set(err, -EFBIG, "%s: is too large", name) : 0;
}

/* With `extra` further clusters after the tables that need refcounts. */
static int plan(struct layout *l, const struct qcow2_create_config *c, uint64_t extra, const char *name, struct err *err)
{
	uint64_t size = align_up(c->size, BLK_SECTOR), span, cluster, rb, rt;

	l->cluster_bits = (unsigned)__builtin_ctz(c->cluster_size ? c->cluster_size : DEFAULT_CLUSTER);
	l->order = (unsigned)__builtin_ctz(c->refcount_bits ? c->refcount_bits : DEFAULT_REFCOUNT_BITS);
	l->l2_bits = l->cluster_bits - (c->extended_l2 ? 4 : 3);
	l->rb_bits = l->cluster_bits + 3 - l->order;
	cluster = BIT64(l->cluster_bits);
	span = BIT64(l->l2_bits + l->cluster_bits);
	l->l1_n = size / span + (size % span != 0);
	if (l->l1_n * 8 > MAX_L1_BYTES)
		return err_set(err, -EFBIG, "%s: The image size is too large (try using a larger cluster size)", name);
	l->l1 = (max_u64(l->l1_n, 1) * 8 + cluster - 1) / cluster;
	l->rb = l->rt = 1;
	for (;;) {
		l->total = 1 + l->rt + l->rb + l->l1;
		rb = (l->total + extra + BIT64(l->rb_bits) - 1) >> l->rb_bits;
		rt = (rb * 8 + cluster - 1) / cluster;
		if (rb <= l->rb && rt <= l->rt)
			break;
		l->rb = rb;
		l->rt = rt;
	}
	if (l->rt << l->cluster_bits > MAX_RT_BYTES)
		return err_set(err, -EFBIG, "%s: its refcount table would be larger than 8 MiB; try a larger cluster size", name);
	return 0;
}

static void name_features(struct qheader *h, uint8_t *table)
{
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		uint8_t *p = table + i * FEATURE_ENTRY;

		memset(p, 0, FEATURE_ENTRY);
		p[0] = features[i].type;
		p[1] = features[i].bit;
		memcpy(p + 2, features[i].name, strlen(features[i].name));
	}
	h->exts[0] = (struct qext){ .type = EXT_FEATURES, .len = ARRAY_SIZE(features) * FEATURE_ENTRY, .data = table };
	h->n_exts = 1;
}

static void header_fill(struct qheader *h, const struct qcow2_create_config *c, const struct layout *l)
{
	*h = (struct qheader){ .version = c->version ? c->version : 3, .cluster_bits = l->cluster_bits, .refcount_order = l->order };
	h->size = align_up(c->size, BLK_SECTOR);
	h->rt_off = BIT64(l->cluster_bits);
	h->rt_clusters = (uint32_t)l->rt;
	h->l1_off = (1 + l->rt + l->rb) << l->cluster_bits;
	h->l1_n = (uint32_t)max_u64(l->l1_n, 1);
	h->compression = (uint8_t)c->compression;
	h->incompat = (c->compression ? INCOMPAT_COMPRESSION : 0) | (c->extended_l2 ? INCOMPAT_EXTENDED_L2 : 0) |
		      (c->data_file ? INCOMPAT_DATA_FILE : 0);
	h->compat = c->lazy_refcounts ? COMPAT_LAZY : 0;
	h->autoclear = c->data_file_raw ? AUTOCLEAR_RAW_DATA : 0;
	strcpy(h->backing, c->backing_file ? c->backing_file : "");
	strcpy(h->backing_format, c->backing_file && c->backing_format ? c->backing_format : "");
	strcpy(h->data_file, c->data_file ? c->data_file : "");
	h->has_data_file_name = c->data_file;
}

static int tables_write(struct blockdev *file, const struct layout *l, const struct qheader *h)
{
	size_t len = l->total << l->cluster_bits;
	uint8_t *p = co_buf(len);
	int rc;

	if (!p)
		return -ENOMEM;
	memset(p, 0, len);
	rc = qheader_build(h, p, BIT(l->cluster_bits));
	for (uint64_t i = 0; i < l->rb; i++)
		put_be64(p + h->rt_off + i * 8, (1 + l->rt + i) << l->cluster_bits);
	for (uint64_t i = 0; i < l->total; i++)
		rc_store(p + ((1 + l->rt) << l->cluster_bits), l->order, i, 1);
	/* The header comes last, so that half an image is none. */
	if (rc == 0)
		rc = blockdev_do(file, BLK_WRITE, 0, BIT(l->cluster_bits), p + BIT(l->cluster_bits), len - BIT(l->cluster_bits));
	if (rc == 0)
		rc = blockdev_do(file, BLK_FLUSH, 0, 0, NULL, 0);
	if (rc == 0)
		rc = blockdev_do(file, BLK_WRITE, 0, 0, p, BIT(l->cluster_bits));
	if (rc == 0)
		rc = blockdev_do(file, BLK_FLUSH, 0, 0, NULL, 0);
	free(p);
	return rc;
}

struct child_job {
	struct blockdev *data;
};

/* The data file stays its owner's: the image is released, not closed. */
static int lend_child(void *opaque, enum qcow2_child which, const char *name, const char *format, struct blockdev **child, struct err *err)
{
	struct child_job *job = opaque;

	(void)format;
	if (which == QCOW2_BACKING || !job->data)
		return err_set(err, -EINVAL, "%s: is needed to allocate beforehand", name);
	*child = job->data;
	return 0;
}

static int preallocate_co(struct qcow2 *q, void *arg)
{
	const struct qcow2_create_config *c = arg;
	int rc = q_preallocate(q, 0, q->bd.size);
	uint64_t end = q->has_data_file ? q->bd.size : q->file_end;
	struct blockdev *file = q->data;

	if (rc == 0 && file->grows && end > file->size)
		rc = blockdev_truncate(file, end, c->prealloc == BLK_PREALLOC_METADATA ? BLK_PREALLOC_OFF : c->prealloc);
	return rc < 0 ? rc : q_make_clean(q);
}

static int preallocate(struct blockdev *file, const struct qcow2_create_config *c, struct err *err)
{
	struct child_job job = { c->data };
	struct qcow2_open_config cfg = { .no_backing = true, .open_child = lend_child, .opaque = &job };
	struct blockdev *bd = qcow2_open(file, &cfg, err);
	int rc;

	if (!bd)
		return err->code;
	rc = qcow2_run(qcow2_of(bd), preallocate_co, (void *)c);
	if (rc < 0)
		err_set_errno(err, rc, "%s: cannot allocate its space", file->name);
	if (qcow2_release(bd) < 0 && rc == 0)
		rc = err_set(err, -EIO, "%s: cannot write it", file->name);
	return rc;
}

int qcow2_create(struct blockdev *file, const struct qcow2_create_config *c, struct err *err)
{
	uint8_t table[ARRAY_SIZE(features) * FEATURE_ENTRY];
	struct qheader h;
	struct layout l;
	int rc = check_config(c, file->name, err);

	if (rc == 0)
		rc = plan(&l, c, 0, file->name, err);
	if (rc < 0)
		return rc;
	header_fill(&h, c, &l);
	if (h.version >= 3 && l.cluster_bits >= 12)
		name_features(&h, table);
	if (file->grows)
		rc = blockdev_truncate(file, 0, BLK_PREALLOC_OFF);
	else if (file->size < l.total << l.cluster_bits)
		rc = -ENOSPC;
	if (rc == 0)
		rc = tables_write(file, &l, &h);
	if (rc == 0 && c->data && c->data->size < h.size && c->data->grows)
		rc = blockdev_truncate(c->data, h.size, BLK_PREALLOC_OFF);
	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot write it", file->name);
	return c->prealloc != BLK_PREALLOC_OFF || c->data_file_raw ? preallocate(file, c, err) : 0;
}

int qcow2_measure(const struct qcow2_create_config *c, uint64_t data, struct qcow2_measure *out, struct err *err)
{
	uint64_t size = align_up(c->size, BLK_SECTOR), l2, clusters;
	struct layout l;
	int rc = check_config(c, "measure", err);

	if (rc == 0)
		rc = plan(&l, c, 0, "measure", err);
	if (rc < 0)
		return rc;
	l2 = size / BIT64(l.l2_bits + l.cluster_bits) + (size % BIT64(l.l2_bits + l.cluster_bits) != 0);
	clusters = c->data_file ? 0 : (size + BIT64(l.cluster_bits) - 1) >> l.cluster_bits;
	rc = plan(&l, c, l2 + clusters, "measure", err);
	if (rc < 0)
		return rc;
	out->fully_allocated = (l.total + l2 + clusters) << l.cluster_bits;
	out->required = out->fully_allocated - (clusters << l.cluster_bits);
	if (!c->data_file)
		out->required += c->prealloc == BLK_PREALLOC_FALLOC || c->prealloc == BLK_PREALLOC_FULL ? clusters << l.cluster_bits :
					align_up(min_u64(data, clusters << l.cluster_bits), BIT64(l.cluster_bits));
	return 0;
}
