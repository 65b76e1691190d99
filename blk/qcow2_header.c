/* SPDX-License-Identifier: MIT */
/* The header, its extensions and its names: parsed with every number checked, and built again with what is not known kept. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "blk/qcow2_priv.h"
#include "vmm/err.h"

#define FEATURE_ENTRY 48

int qheader_probe(const uint8_t *p, const char *name, unsigned *cluster_bits, struct err *err)
{
	if (get_be32(p) != QCOW2_MAGIC)
		return err_set(err, -EINVAL, "%s: is no qcow2 image", name);
	if (get_be32(p + 4) != 2 && get_be32(p + 4) != 3)
		return err_set(err, -ENOTSUP, "%s: is a qcow2 image of version %u; only 2 and 3 are known", name, get_be32(p + 4));
	*cluster_bits = get_be32(p + 20);
	if (*cluster_bits < MIN_CLUSTER_BITS || *cluster_bits > MAX_CLUSTER_BITS)
		return err_set(err, -EINVAL, "%s: its cluster size, 2^%u, is not between 512 bytes and 2 MiB", name, *cluster_bits);
	return 0;
}

/* What the image's own table of names calls a feature. */
static void feature_name(const struct qheader *h, unsigned bit, char out[FEATURE_ENTRY])
{
	const struct qext *e = qheader_ext(h, EXT_FEATURES);

	snprintf(out, FEATURE_ENTRY, "bit %u", bit);
	for (uint32_t i = 0; e && i + FEATURE_ENTRY <= e->len; i += FEATURE_ENTRY)
		if (e->data[i] == 0 && e->data[i + 1] == bit) {
			snprintf(out, FEATURE_ENTRY, "%.46s", (const char *)e->data + i + 2);
			for (char *p = out; *p; p++)
				if (*p < ' ' || *p > '~')
					*p = '?';
			return;
		}
}

static int check_features(const struct qheader *h, const char *name, struct err *err)
{
	uint64_t unknown = h->incompat & ~INCOMPAT_KNOWN;
	char feature[FEATURE_ENTRY];

	if (unknown) {
		feature_name(h, (unsigned)__builtin_ctzll(unknown), feature);
		return err_set(err, -ENOTSUP, "%s: uses a feature of qcow2 that is not supported: %s", name, feature);
	}
	if (h->crypt)
		return err_set(err, -ENOTSUP, "%s: is encrypted (%s), which is not supported; decrypt it: qemu-img convert", name,
			       h->crypt == 1 ? "AES" : h->crypt == 2 ? "LUKS" : "unknown method");
	if (h->compression > QCOW2_ZSTD)
		return err_set(err, -ENOTSUP, "%s: compression type %u is not supported", name, h->compression);
	if (!!(h->incompat & INCOMPAT_COMPRESSION) != (h->compression != 0))
		return err_set(err, -EINVAL, "%s: its compression type and its features contradict each other", name);
	if (h->refcount_order > 6)
		return err_set(err, -EINVAL, "%s: refcounts of 2^%u bits; at most 64 are possible", name, h->refcount_order);
	if ((h->incompat & INCOMPAT_EXTENDED_L2) && h->cluster_bits < 14)
		return err_set(err, -EINVAL, "%s: subclusters need clusters of at least 16 KiB", name);
	if ((h->autoclear & AUTOCLEAR_RAW_DATA) && !(h->incompat & INCOMPAT_DATA_FILE))
		return err_set(err, -EINVAL, "%s: says that its external data file is raw, but has none", name);
	return 0;
}

static bool table_ok(uint64_t off, uint64_t bytes, uint32_t cluster, uint64_t file_size)
{
	return off % cluster == 0 && range_ok(off, bytes, file_size) && off + bytes <= MAX_HOST;
}

static int check_tables(const struct qheader *h, uint64_t file_size, const char *name, struct err *err)
{
	uint32_t cluster = BIT(h->cluster_bits);
	unsigned l2_bits = h->cluster_bits - (h->incompat & INCOMPAT_EXTENDED_L2 ? 4 : 3);
	uint64_t span = h->cluster_bits + l2_bits;
	uint64_t need = (h->size >> span) + ((h->size & (BIT64((unsigned)span) - 1)) != 0);

	/* The file's last cluster need not be complete. */
	file_size = align_up(file_size, cluster);
	if (h->size > INT64_MAX)
		return err_set(err, -EFBIG, "%s: a disk of %llu bytes is too large", name, (unsigned long long)h->size);
	if ((uint64_t)h->l1_n * 8 > MAX_L1_BYTES)
		return err_set(err, -EFBIG, "%s: its L1 table is larger than 32 MiB", name);
	if (h->l1_n < need)
		return err_set(err, -EINVAL, "%s: its L1 table is too small for the disk", name);
	if (h->l1_n && (h->l1_off == 0 || !table_ok(h->l1_off, (uint64_t)h->l1_n * 8, cluster, file_size)))
		return err_set(err, -EINVAL, "%s: its L1 table is not inside the file", name);
	if ((uint64_t)h->rt_clusters << h->cluster_bits > MAX_RT_BYTES)
		return err_set(err, -EFBIG, "%s: its refcount table is larger than 8 MiB", name);
	if (h->rt_off == 0 || h->rt_clusters == 0 || !table_ok(h->rt_off, (uint64_t)h->rt_clusters << h->cluster_bits, cluster, file_size))
		return err_set(err, -EINVAL, "%s: its refcount table is not inside the file", name);
	if (h->n_snapshots > QCOW2_SNAPSHOTS_MAX)
		return err_set(err, -EFBIG, "%s: has %u snapshots; at most 65536 are possible", name, h->n_snapshots);
	if (h->n_snapshots && (h->snap_off == 0 || !table_ok(h->snap_off, 1, cluster, file_size)))
		return err_set(err, -EINVAL, "%s: its snapshot table is not inside the file", name);
	return 0;
}

static int string_take(char *out, size_t size, const uint8_t *p, uint32_t len, const char *what, const char *name, struct err *err)
{
	if (len >= size)
		return err_set(err, -EINVAL, "%s: its %s is too long", name, what);
	if (memchr(p, 0, len))
		return err_set(err, -EINVAL, "%s: its %s has a zero byte in it", name, what);
	memcpy(out, p, len);
	out[len] = 0;
	return 0;
}

static int ext_keep(struct qheader *h, uint32_t type, const uint8_t *p, uint32_t len, const char *name, struct err *err)
{
	struct qext *e = &h->exts[h->n_exts];

	if (h->n_exts == MAX_EXTS)
		return err_set(err, -EINVAL, "%s: has more than %u header extensions", name, MAX_EXTS);
	e->data = malloc(len ? len : 1);
	if (!e->data)
		return err_set_errno(err, -ENOMEM, "%s", name);
	memcpy(e->data, p, len);
	e->type = type;
	e->len = len;
	h->n_exts++;
	return 0;
}

static int parse_exts(struct qheader *h, const uint8_t *p, size_t off, size_t end, const char *name, struct err *err)
{
	int rc = 0;

	while (end - off >= 8 && rc == 0) {
		uint32_t type = get_be32(p + off), len = get_be32(p + off + 4);

		off += 8;
		if (type == EXT_END)
			return 0;
		if (len > end - off)
			return err_set(err, -EINVAL, "%s: a header extension is larger than its place", name);
		if (type == EXT_BACKING_FORMAT)
			rc = string_take(h->backing_format, sizeof(h->backing_format), p + off, len, "backing format", name, err);
		else if (type == EXT_DATA_FILE)
			rc = string_take(h->data_file, sizeof(h->data_file), p + off, len, "data file's name", name, err);
		else if (type != EXT_FEATURES || !qheader_ext(h, EXT_FEATURES))
			rc = ext_keep(h, type, p + off, len, name, err);
		h->has_data_file_name |= type == EXT_DATA_FILE;
		off += min_u64(align_up(len, 8), end - off);
		h->used = max_u64(h->used, off);
	}
	return rc;
}

static int parse_v3(struct qheader *h, const uint8_t *p, size_t len, const char *name, struct err *err)
{
	h->incompat = get_be64(p + 72);
	h->compat = get_be64(p + 80);
	h->autoclear = get_be64(p + 88);
	h->refcount_order = get_be32(p + 96);
	h->header_len = get_be32(p + 100);
	/* Behind a file's end there are zeroes. */
	if (h->header_len == 0)
		return err_set(err, -EINVAL, "%s: its header ends early; was the file cut off?", name);
	if (h->header_len < V3_HEADER || h->header_len > len || h->header_len % 8)
		return err_set(err, -EINVAL, "%s: its header cannot be %u bytes long", name, h->header_len);
	if (h->header_len > V3_HEADER)
		h->compression = p[V3_HEADER];
	if (h->header_len > V3_HEADER_FULL) {
		h->extra_len = h->header_len - V3_HEADER_FULL;
		h->extra = malloc(h->extra_len);
		if (!h->extra)
			return err_set_errno(err, -ENOMEM, "%s", name);
		memcpy(h->extra, p + V3_HEADER_FULL, h->extra_len);
	}
	return 0;
}

static int parse_all(struct qheader *h, const uint8_t *p, size_t len, uint64_t file_size, const char *name, struct err *err)
{
	uint64_t backing_off = get_be64(p + 8), end = len;
	uint32_t backing_len = get_be32(p + 16);
	int rc = qheader_probe(p, name, &h->cluster_bits, err);

	if (rc < 0)
		return rc;
	h->version = get_be32(p + 4);
	h->size = get_be64(p + 24);
	h->crypt = get_be32(p + 32);
	h->l1_n = get_be32(p + 36);
	h->l1_off = get_be64(p + 40);
	h->rt_off = get_be64(p + 48);
	h->rt_clusters = get_be32(p + 56);
	h->n_snapshots = get_be32(p + 60);
	h->snap_off = get_be64(p + 64);
	h->refcount_order = 4;
	h->header_len = V2_HEADER;
	if (h->version == 3)
		rc = parse_v3(h, p, len, name, err);
	if (rc < 0)
		return rc;
	if (backing_off) {
		if (backing_off < h->header_len || !range_ok(backing_off, backing_len, len))
			return err_set(err, -EINVAL, "%s: its backing file's name is not inside the header", name);
		rc = string_take(h->backing, sizeof(h->backing), p + backing_off, backing_len, "backing file's name", name, err);
		end = backing_off;
		h->used = backing_off + backing_len;
	}
	if (rc == 0)
		rc = parse_exts(h, p, h->header_len, end, name, err);
	if (rc == 0)
		rc = check_features(h, name, err);
	return rc < 0 ? rc : check_tables(h, file_size, name, err);
}

int qheader_parse(struct qheader *h, const uint8_t *p, size_t len, uint64_t file_size, const char *name, struct err *err)
{
	int rc;

	*h = (struct qheader){ .version = 0 };
	if (len < V3_HEADER_FULL)
		return err_set(err, -EINVAL, "%s: is too short for a qcow2 image", name);
	rc = parse_all(h, p, len, file_size, name, err);
	if (rc < 0)
		qheader_fini(h);
	return rc;
}

void qheader_fini(struct qheader *h)
{
	for (unsigned i = 0; i < h->n_exts; i++)
		free(h->exts[i].data);
	free(h->extra);
	h->n_exts = 0;
	h->extra = NULL;
}

const struct qext *qheader_ext(const struct qheader *h, uint32_t type)
{
	for (unsigned i = 0; i < h->n_exts; i++)
		if (h->exts[i].type == type)
			return &h->exts[i];
	return NULL;
}

struct builder {
	uint8_t *p;
	size_t at, len;
	bool full;
};

static void put_ext(struct builder *b, uint32_t type, const void *data, size_t len)
{
	if (b->full || b->len - b->at < 8 || b->len - b->at - 8 < align_up(len, 8)) {
		b->full = true;
		return;
	}
	put_be32(b->p + b->at, type);
	put_be32(b->p + b->at + 4, (uint32_t)len);
	if (len)
		memcpy(b->p + b->at + 8, data, len);
	b->at += 8 + align_up(len, 8);
}

static void put_fixed(const struct qheader *h, uint8_t *p, uint32_t header_len)
{
	put_be32(p, QCOW2_MAGIC);
	put_be32(p + 4, h->version);
	put_be32(p + 20, h->cluster_bits);
	put_be64(p + 24, h->size);
	put_be32(p + 32, h->crypt);
	put_be32(p + 36, h->l1_n);
	put_be64(p + 40, h->l1_off);
	put_be64(p + 48, h->rt_off);
	put_be32(p + 56, h->rt_clusters);
	put_be32(p + 60, h->n_snapshots);
	put_be64(p + 64, h->snap_off);
	if (h->version < 3)
		return;
	put_be64(p + 72, h->incompat);
	put_be64(p + 80, h->compat);
	put_be64(p + 88, h->autoclear);
	put_be32(p + 96, h->refcount_order);
	put_be32(p + 100, header_len);
}

int qheader_build(const struct qheader *h, uint8_t *p, size_t len)
{
	struct builder b = { .p = p, .len = len };
	size_t name_len = strlen(h->backing);

	memset(p, 0, len);
	b.at = h->version < 3 ? V2_HEADER : V3_HEADER_FULL + h->extra_len;
	if (b.at > len)
		return -ENOSPC;
	put_fixed(h, p, (uint32_t)b.at);
	if (h->version >= 3) {
		p[V3_HEADER] = h->compression;
		if (h->extra_len)
			memcpy(p + V3_HEADER_FULL, h->extra, h->extra_len);
	}
	if (h->backing_format[0])
		put_ext(&b, EXT_BACKING_FORMAT, h->backing_format, strlen(h->backing_format));
	if (h->has_data_file_name)
		put_ext(&b, EXT_DATA_FILE, h->data_file, strlen(h->data_file));
	for (unsigned i = 0; i < h->n_exts; i++)
		put_ext(&b, h->exts[i].type, h->exts[i].data, h->exts[i].len);
	put_ext(&b, EXT_END, NULL, 0);
	if (name_len && !b.full && len - b.at >= name_len) {
		put_be64(p + 8, b.at);
		put_be32(p + 16, (uint32_t)name_len);
		memcpy(p + b.at, h->backing, name_len);
	} else if (name_len) {
		b.full = true;
	}
	return b.full ? -ENOSPC : 0;
}

int q_header_write(struct qcow2 *q)
{
	uint8_t *p = co_buf(BLK_SECTOR);
	int rc;

	if (!p)
		return -ENOMEM;
	co_lock(q->pool, &q->header_lock);
	rc = co_pread(q->pool, q->bd.file, 0, p, BLK_SECTOR);
	if (rc == 0) {
		put_fixed(&q->h, p, get_be32(p + 100)); /* of version 3 only; it is as long as it is there */
		rc = co_pwrite(q->pool, q->bd.file, 0, p, BLK_SECTOR);
	}
	co_unlock(&q->header_lock);
	free(p);
	return rc;
}

void q_pointers_get(const struct qheader *h, struct qpointers *p)
{
	*p = (struct qpointers){ .size = h->size, .l1_off = h->l1_off, .rt_off = h->rt_off, .snap_off = h->snap_off, .l1_n = h->l1_n,
				 .rt_clusters = h->rt_clusters, .n_snapshots = h->n_snapshots };
}

static int pointers_write(struct qcow2 *q, const struct qpointers *p)
{
	int rc;

	q->h.size = p->size;
	q->h.l1_off = p->l1_off;
	q->h.l1_n = p->l1_n;
	q->h.rt_off = p->rt_off;
	q->h.rt_clusters = p->rt_clusters;
	q->h.snap_off = p->snap_off;
	q->h.n_snapshots = p->n_snapshots;
	rc = q_header_write(q);
	return rc < 0 ? rc : co_pflush(q->pool, q->bd.file);
}

int q_header_switch(struct qcow2 *q, const struct qpointers *to)
{
	struct qpointers old;
	int rc;

	q_pointers_get(&q->h, &old);
	rc = pointers_write(q, to);
	/* The write may have come through all the same. */
	if (rc < 0 && pointers_write(q, &old) < 0)
		q_corrupt(q, "its header cannot be written (error %d)", -rc);
	return rc;
}

/* The first sector as it is but for its table of feature names, with the backing file's name at `name_at`. -ENOSPC if that is not all. */
static int bridge_build(const struct qheader *old, uint64_t name_at, uint8_t *p)
{
	struct qheader h = *old;
	int rc;

	h.n_exts = 0;
	for (unsigned i = 0; i < old->n_exts; i++)
		if (old->exts[i].type != EXT_FEATURES)
			h.exts[h.n_exts++] = old->exts[i];
	h.backing[0] = 0;
	rc = qheader_build(&h, p, BLK_SECTOR);
	if (rc == 0 && old->backing[0]) {
		put_be64(p + 8, name_at);
		put_be32(p + 16, (uint32_t)strlen(old->backing));
	}
	return rc;
}

static size_t content_end(const uint8_t *p, size_t len)
{
	while (len > 1 && p[len - 1] == 0)
		len--;
	return len;
}

static int put_and_flush(struct qcow2 *q, uint64_t off, const void *p, size_t len)
{
	int rc = co_pwrite(q->pool, q->bd.file, off, p, len);

	return rc < 0 ? rc : co_pflush(q->pool, q->bd.file);
}

/*
 * Sectors are whole after a crash, a cluster need not be. So the name that the old header uses is put aside, then the first sector made
 * to need none but that one, then the others are written, and the first one last. Where there is no room for it, all go at once.
 */
static int rewrite_steps(struct qcow2 *q, const uint8_t *p)
{
	size_t used = align_up(content_end(p, q->cluster_size), BLK_SECTOR), aside, len = align_up(max_u64(strlen(q->h.backing), 1), BLK_SECTOR);
	uint8_t *bridge;
	int rc;

	aside = align_down(q->cluster_size - len, BLK_SECTOR);
	bridge = q->cluster_size > BLK_SECTOR ? co_buf(len + BLK_SECTOR) : NULL;
	if (!bridge && q->cluster_size > BLK_SECTOR)
		return -ENOMEM;
	if (!bridge || used > aside || q->h.used > aside || bridge_build(&q->h, aside, bridge + len) < 0) {
		free(bridge);
		return put_and_flush(q, 0, p, q->cluster_size);
	}
	memset(bridge, 0, len);
	memcpy(bridge, q->h.backing, strlen(q->h.backing));
	rc = put_and_flush(q, aside, bridge, len);
	if (rc == 0)
		rc = put_and_flush(q, 0, bridge + len, BLK_SECTOR);
	if (rc == 0)
		rc = put_and_flush(q, BLK_SECTOR, p + BLK_SECTOR, aside - BLK_SECTOR);
	if (rc == 0)
		rc = put_and_flush(q, 0, p, BLK_SECTOR);
	if (rc == 0)
		rc = put_and_flush(q, aside, p + aside, len);
	free(bridge);
	return rc;
}

int q_header_rewrite(struct qcow2 *q, const struct qheader *h)
{
	uint8_t *p = co_buf(q->cluster_size);
	int rc;

	if (!p)
		return -ENOMEM;
	rc = qheader_build(h, p, q->cluster_size);
	co_lock(q->pool, &q->header_lock);
	if (rc == 0)
		rc = rewrite_steps(q, p);
	if (rc == 0)
		q->h.used = content_end(p, q->cluster_size);
	co_unlock(&q->header_lock);
	free(p);
	return rc;
}
