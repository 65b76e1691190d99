/* SPDX-License-Identifier: MIT */
/*
 * What the parts of qcow2 share. blk/qcow2.c has the theory of operation. Everything runs on the device's loop; functions marked (co) in a
 * coroutine of its pool, and may wait. All numbers in memory are in the host's order.
 */
#ifndef BLK_QCOW2_PRIV_H
#define BLK_QCOW2_PRIV_H

#include <endian.h>
#include <string.h>

#include "blk/co_io.h"
#include "blk/qcow2.h"
#include "vmm/co.h"
#include "vmm/iov.h"
#include "vmm/util.h"

/* The format */

#define QCOW2_MAGIC 0x514649fbu
#define V2_HEADER 72
#define V3_HEADER 104
#define V3_HEADER_FULL 112

#define INCOMPAT_DIRTY BIT64(0)
#define INCOMPAT_CORRUPT BIT64(1)
#define INCOMPAT_DATA_FILE BIT64(2)
#define INCOMPAT_COMPRESSION BIT64(3)
#define INCOMPAT_EXTENDED_L2 BIT64(4)
#define INCOMPAT_KNOWN (BIT64(5) - 1)
#define COMPAT_LAZY BIT64(0)
#define AUTOCLEAR_BITMAPS BIT64(0)
#define AUTOCLEAR_RAW_DATA BIT64(1)

#define EXT_END 0u
#define EXT_BACKING_FORMAT 0xe2792acau
#define EXT_FEATURES 0x6803f857u
#define EXT_BITMAPS 0x23852875u
#define EXT_CRYPTO 0x0537be77u
#define EXT_DATA_FILE 0x44415441u

#define ENTRY_OFFSET UINT64_C(0x00fffffffffffe00)
#define ENTRY_COPIED BIT64(63)
#define ENTRY_COMPRESSED BIT64(62)
#define ENTRY_ZERO BIT64(0)
#define ENTRY_RESERVED UINT64_C(0x3f000000000001fe)
#define L1_RESERVED UINT64_C(0x7f000000000001ff)
#define RT_RESERVED UINT64_C(0x1ff)

#define MIN_CLUSTER_BITS 9
#define MAX_CLUSTER_BITS 21
#define MAX_L1_BYTES (32 * MIB)
#define MAX_RT_BYTES (8 * MIB)
#define MAX_HOST BIT64(56)
#define SUBCLUSTERS 32
#define MAX_EXT_BYTES (64 * KIB)
#define MAX_SNAPSHOT_EXTRA 1024
#define MAX_SNAPSHOT_TABLE (64 * MIB)

static inline uint32_t get_be32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static inline uint64_t get_be64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

static inline uint16_t get_be16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return be16toh(v);
}

static inline void put_be16(void *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, 2);
}

static inline void put_be32(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, 4);
}

static inline void put_be64(void *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, 8);
}

/* Header (qcow2_header.c) */

/* An extension that is kept as it is. */
struct qext {
	uint32_t type, len;
	uint8_t *data;
};

#define MAX_EXTS 64

struct qheader {
	unsigned version, cluster_bits, refcount_order;
	uint64_t size, l1_off, rt_off, snap_off;
	uint32_t l1_n, rt_clusters, n_snapshots, header_len, crypt;
	uint64_t incompat, compat, autoclear;
	uint8_t compression;
	uint8_t *extra; /* header bytes past V3_HEADER_FULL, kept */
	uint32_t extra_len;
	uint64_t used; /* bytes of the first cluster that extensions and name end in */
	char backing[IMAGE_NAME_MAX], backing_format[QCOW2_FORMAT_MAX], data_file[IMAGE_NAME_MAX];
	bool has_data_file_name;
	struct qext exts[MAX_EXTS]; /* those that are not in fields above */
	unsigned n_exts;
};

/* Parses the first cluster; 0 or -errno with `err`. */
int qheader_parse(struct qheader *h, const uint8_t *p, size_t len, uint64_t file_size, const char *name, struct err *err);
/* What has to be known of the first cluster's length before: its bits. `p` has V2_HEADER bytes. */
int qheader_probe(const uint8_t *p, const char *name, unsigned *cluster_bits, struct err *err);
/* The whole first cluster. -ENOSPC where the names do not fit. */
int qheader_build(const struct qheader *h, uint8_t *p, size_t len);
void qheader_fini(struct qheader *h);
const struct qext *qheader_ext(const struct qheader *h, uint32_t type);

/* Table caches (qcow2_table.c) */

struct table {
	uint64_t off; /* in the file; 0: none */
	uint8_t *data;
	struct table *hash_next, *prev, *next; /* by use, the newest first */
	bool dirty, loading, writing;
};

struct table_cache {
	uint32_t entry_size;
	unsigned n, n_dirty, hash_mask;
	struct table *tables, **hash;
	struct table lru;
	uint8_t *memory;
	size_t memory_size;
	struct co_queue wait; /* for a load or write to end */
};

/* Metadata clusters, by host cluster (qcow2_meta.c). */
struct meta_set {
	uint64_t *slots; /* cluster + 1; 0: free */
	size_t n, mask;
};

struct snapshot {
	uint64_t l1_off;
	uint32_t l1_n;
	uint32_t sec, nsec;
	uint64_t clock_ns, vm_state, disk_size, icount;
	char *id, *name;
	uint8_t *extra; /* past what is known */
	uint32_t extra_len;
};

/* Clusters that nothing refers to any more in memory; their refcounts fall when that is so on disk as well. */
struct free_extent {
	uint64_t cluster, n;
	uint64_t seq; /* requests before it may still use them */
};

struct free_list {
	struct free_extent *v;
	size_t n, cap;
};

/* A range of guest clusters whose mapping somebody is about to change. */
struct qrange {
	uint64_t off, end;
	struct co_queue wait;
	struct qrange *prev, *next;
};

struct qcow2;

struct qreq {
	struct blk_req sub;
	struct qcow2 *q;
	struct blk_req *user;
	struct co_task task;
	uint64_t seq;
	struct qreq *prev, *next; /* active, in order of arrival; free */
};

struct qcow2 {
	struct blockdev bd;
	struct blockdev *data; /* where guest clusters are: bd.file, or the external file */
	struct co_pool *pool;
	struct qheader h;
	bool has_data_file, data_raw, extended, lazy;
	bool corrupt, writethrough, discard, detect_zeroes;
	bool no_backing;
	bool snapshot_view;
	uint32_t cluster_size;
	unsigned cluster_bits, sub_bits, subs, l2_bits, l2_entry, rb_bits;
	uint64_t refcount_max;

	uint64_t *l1;
	uint64_t *l1_dirty; /* a bit for each sector of the L1 table */
	bool l1_any_dirty;
	uint64_t *rt;
	uint32_t rt_n;
	struct meta_set meta;
	struct table_cache l2, rb;
	struct snapshot *snaps;
	unsigned n_snaps;

	struct co_mutex commit_lock, alloc_lock, l2_lock, compress_lock, header_lock;
	uint64_t free_hint;    /* no cluster before it is free */
	uint64_t free_next;    /* where several are looked for */
	uint64_t file_end;     /* the file has never been written from here on */
	bool cut_known;        /* data was looked for behind file_end, and that was said */
	uint64_t compress_off; /* where the next compressed cluster may go; 0: nowhere */
	struct free_list unlinked, unlinked_synced;
	struct qrange *ranges;

	struct qreq *active_first, *active_last, *free_reqs;
	uint64_t next_seq;

	struct co_task corrupt_task;
	unsigned background; /* tasks of our own under way */

	struct inflater *inflater; /* NULL before the first read of a compressed cluster */
	struct q_zstd *zstd;       /* of libzstd what unpacks; NULL where the header names zlib */
};

static inline uint64_t q_clusters(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_size - 1)) != 0);
}

/* Bytes of guest data under one L2 table. */
static inline uint64_t q_l2_span(const struct qcow2 *q)
{
	return BIT64(q->l2_bits + q->cluster_bits);
}

/* qcow2.c */
void qreq_enter(struct qcow2 *q, struct qreq *r);
void qreq_leave(struct qcow2 *q, struct qreq *r);
/* Closes the image, but not the files under it, which stay the caller's. 0 or -errno. */
int qcow2_release(struct blockdev *bd);
/* qcow2_open.c: all of qcow2_open but what has to be undone. */
int q_open(struct qcow2 *q, const struct qcow2_open_config *cfg, struct err *err);
/* The tables that the header points at, read anew: when opening, and after repairs. (co) */
int q_tables_load(struct qcow2 *q, struct err *err);
void q_tables_free(struct qcow2 *q);
/* Runs fn(arg) in a coroutine and waits for it, from outside of any. */
int qcow2_run(struct qcow2 *q, int (*fn)(struct qcow2 *q, void *arg), void *arg);
struct qcow2 *qcow2_of(struct blockdev *bd);
/* Something in the file is not as it can be: said in the log, marked in the image if it is writable, and nothing is written any more. -EIO. */
int q_corrupt(struct qcow2 *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Says once that the file ends before `host`, where data of the image should be. It reads as zeroes, like any part that a file does not have. */
void q_cut(struct qcow2 *q, uint64_t host);

static inline void q_look_for_cut(struct qcow2 *q, uint64_t host)
{
	if (host >= q->file_end && q->data == q->bd.file && !q->cut_known)
		q_cut(q, host);
}

/* qcow2_header.c (co): the fields of the header's first sector, or all of it */
int q_header_write(struct qcow2 *q);
int q_header_rewrite(struct qcow2 *q, const struct qheader *h);

/* What of the first sector says where the tables are. */
struct qpointers {
	uint64_t size, l1_off, rt_off, snap_off;
	uint32_t l1_n, rt_clusters, n_snapshots;
};
void q_pointers_get(const struct qheader *h, struct qpointers *p);
/* Moves the header to other tables, which are on disk. On failure it is as it was; where nobody can tell, the image is corrupt. */
int q_header_switch(struct qcow2 *q, const struct qpointers *to);

/* qcow2_table.c */
int table_cache_init(struct table_cache *c, uint64_t bytes, uint32_t entry_size);
void table_cache_fini(struct table_cache *c);
/* NULL when it is not there. What is returned is good until the caller next waits. */
uint8_t *table_find(struct table_cache *c, uint64_t off);
int table_get(struct qcow2 *q, struct table_cache *c, uint64_t off, uint8_t **data); /* (co) */
/* `data` is one of table_find or table_get. */
void table_dirty(struct table_cache *c, const uint8_t *data);
/* Drops what is cached of [off, off + len); nothing of it may be dirty or on its way. */
void table_forget(struct table_cache *c, uint64_t off, uint64_t len);
/* Writes the dirty tables of a cache as they are now. (co) */
int table_write_back(struct qcow2 *q, struct table_cache *c);
/* A copy of what is dirty, to be written later. */
struct table_shadow {
	struct table **tables;
	uint8_t *copy;
	unsigned n;
};
int table_shadow_take(struct table_cache *c, struct table_shadow *s);
int table_shadow_write(struct qcow2 *q, struct table_cache *c, struct table_shadow *s); /* (co) */
/* Frees it; what was not written is dirty again. */
void table_shadow_end(struct table_cache *c, struct table_shadow *s, bool written);

/* qcow2_meta.c */
int meta_add(struct meta_set *m, uint64_t cluster);
void meta_remove(struct meta_set *m, uint64_t cluster);
bool meta_has(const struct meta_set *m, uint64_t cluster);
void meta_fini(struct meta_set *m);
int q_meta_add_bytes(struct qcow2 *q, uint64_t off, uint64_t bytes);
void q_meta_remove_bytes(struct qcow2 *q, uint64_t off, uint64_t bytes);
/* Whether a write of guest data to [off, off + len) would hit metadata. */
bool q_meta_hit(const struct qcow2 *q, uint64_t off, uint64_t len);
/* All that the active tables and the snapshots' say. */
int q_meta_load(struct qcow2 *q, struct err *err);

/* qcow2_commit.c */
int q_commit(struct qcow2 *q, bool flush); /* (co) */
/* Refcounts written and the dirty bit cleared. (co) */
int q_make_clean(struct qcow2 *q);
/* Before a refcount changes: with lazy refcounts the image must say that it is dirty. (co) */
int q_set_dirty(struct qcow2 *q);
bool q_metadata_dirty(const struct qcow2 *q);

/* qcow2_refcount.c */
uint64_t rc_load(const uint8_t *p, unsigned order, uint64_t i);
void rc_store(uint8_t *p, unsigned order, uint64_t i, uint64_t v);
int rc_get(struct qcow2 *q, uint64_t cluster, uint64_t *v); /* (co) */
/* (co) All or nothing. -EOVERFLOW where a refcount is too narrow. */
int rc_change(struct qcow2 *q, uint64_t cluster, uint64_t n, int delta);
/* `n` clusters next to each other, with a refcount of 1; less than a refcount block has. (co) */
int q_alloc(struct qcow2 *q, uint64_t n, uint64_t *off);
/* As q_alloc, with `alloc_lock` held. (co) */
int q_alloc_locked(struct qcow2 *q, uint64_t n, uint64_t *off);
/* Of what was never referred to. (co) */
void q_free_now(struct qcow2 *q, uint64_t off, uint64_t n);
/* Of what an L1 or L2 entry that has just been changed referred to. No waiting. */
void q_free_later(struct qcow2 *q, uint64_t off, uint64_t n);
/* What an L2 entry refers to. */
void q_free_entry(struct qcow2 *q, uint64_t entry);
/* Those that may go. (co) */
int q_frees_apply(struct qcow2 *q);
void free_list_fini(struct free_list *l);
int free_list_add(struct free_list *l, uint64_t cluster, uint64_t n, uint64_t seq);

/* qcow2_map.c */
enum qtype { Q_UNALLOCATED, Q_ZERO, Q_DATA, Q_COMPRESSED };

struct qmap {
	enum qtype type;
	uint64_t len;   /* bytes from the offset on that are so */
	uint64_t host;  /* of the offset itself, if `has_host` */
	bool has_host;  /* space is there */
	bool copied;    /* and it is nobody else's */
	uint64_t entry; /* COMPRESSED */
};

/* false: it takes a table that is not in memory, or something is wrong. */
bool q_map_try(struct qcow2 *q, uint64_t off, uint64_t len, struct qmap *m);
int q_map(struct qcow2 *q, uint64_t off, uint64_t len, struct qmap *m); /* (co) */
struct l2_ref {
	uint8_t *table; /* the slice */
	unsigned index, n; /* of the entry in it, and how many there are */
};
/* The slice that has the entry of `off`; `table` NULL where there is no L2 table. (co) */
int q_l2_get(struct qcow2 *q, uint64_t off, struct l2_ref *ref);
/* Makes sure that the active L2 table of `off` is there and nobody else's. (co) */
int q_l2_prepare(struct qcow2 *q, uint64_t off);
uint64_t l2_entry_get(const struct qcow2 *q, const struct l2_ref *ref, unsigned i, uint64_t *bitmap);
void l2_entry_set(struct qcow2 *q, const struct l2_ref *ref, unsigned i, uint64_t entry, uint64_t bitmap);
void q_l1_set(struct qcow2 *q, uint32_t i, uint64_t entry);
/* What an entry and its bitmap say of a subcluster; false: nonsense. */
bool q_sub_type(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, unsigned sub, enum qtype *type);
/* Where a compressed cluster's bytes are. */
void q_compressed_place(const struct qcow2 *q, uint64_t entry, uint64_t *off, uint32_t *len);

/* Ranges: nobody else changes the mapping of [off, end) between the two. (co) */
void q_range_enter(struct qcow2 *q, struct qrange *r, uint64_t off, uint64_t end);
void q_range_leave(struct qcow2 *q, struct qrange *r);

/* qcow2_read.c (co) */
int q_read(struct qcow2 *q, uint64_t off, const struct iovec *iov, size_t n, uint64_t len);
int q_read_buf(struct qcow2 *q, uint64_t off, void *buf, size_t len);
/* Whether [off, off + len) is known to read as zeroes without reading data. */
int q_is_zero(struct qcow2 *q, uint64_t off, uint64_t len, bool *zero);

/* qcow2_write.c (co) */
int q_write(struct qcow2 *q, uint64_t off, const struct iovec *iov, size_t n, uint64_t len);
/* Gives clusters to a range without writing to them; they read as zeroes. */
int q_preallocate(struct qcow2 *q, uint64_t off, uint64_t end, enum blk_prealloc prealloc);

/* qcow2_zero.c (co) */
int q_write_zeroes(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap);
/* `full`: as never written, so that the backing file shows. */
int q_discard(struct qcow2 *q, uint64_t off, uint64_t len, bool full);

/* qcow2_inflate.c */
/* Of the cluster's bytes from `skip` on the next `len` of `c`, which it passes; they are there when `g` has ended. (co) */
int q_compressed_read(struct qcow2 *q, struct co_gather *g, uint64_t entry, uint32_t skip, struct iov_cursor *c, size_t len);
/* The bytes of the file there become others: what is known of compressed clusters in them is no longer true. */
void q_inflated_forget(struct qcow2 *q, uint64_t off, uint64_t len);
/* With nothing under way. */
void q_inflater_free(struct qcow2 *q);

/* qcow2_compress.c */
int q_compressed_write(struct qcow2 *q, const struct blk_req *user); /* (co) */
/* What q_inflate needs for the header's compression: `q->zstd`. */
int q_inflate_prepare(struct qcow2 *q, struct err *err);
/* Any thread, as q_deflate. 0 or -errno; `out` has room for a cluster. */
int q_inflate(const struct qcow2 *q, const uint8_t *in, size_t in_len, uint8_t *out);
/*
 * qcow2_pack.c. Bytes, 0 when it would not become smaller, or -errno. `out` has room for a cluster. Weak: NULL in a program that neither calls
 * qcow2_compress nor links this file by name (-u q_deflate); writes that are to be compressed then fail with -ENOTSUP.
 */
int q_deflate(const struct qcow2 *q, const uint8_t *in, uint8_t *out) __attribute__((weak));

/* qcow2_snapshot.c */
struct qswitch;
int q_snapshots_load(struct qcow2 *q, struct err *err); /* (co) */
void q_snapshots_free(struct snapshot *snaps, unsigned n);
int q_snapshot_find(const struct qcow2 *q, const char *id_or_name);
/* Reads an L1 table into `*l1`, which is freed by the caller. (co) */
int q_l1_read(struct qcow2 *q, uint64_t off, uint32_t n, uint64_t **l1);
int q_snapshot_tables_size(const struct snapshot *snaps, unsigned n, uint64_t *bytes);
/* Writes the table for the header to be. (co) */
int q_snapshots_write(struct qswitch *s, const struct snapshot *snaps, unsigned n);
void q_snapshot_fini(struct snapshot *s);

/* qcow2_switch.c (co): begin, any of the others, end, and fini in every case. Runs alone. */
struct qswitch {
	struct qcow2 *q;
	struct qpointers to;
	uint64_t *refs;   /* counts to be, of `n` clusters */
	uint64_t *used;   /* a bit for each that was or is in use */
	uint64_t n, next;
	uint64_t *l1, *l1_dirty, *rt; /* the new tables */
	uint32_t rt_n;
	struct free_list made;
	bool counted;     /* without the old refcount structures */
	bool done;
};

/* Everything in memory on disk, refcounts too, whatever is lazy. */
int q_settle(struct qcow2 *q);
int qswitch_begin(struct qswitch *s, struct qcow2 *q);
/* With these counts instead of those of the image, whose refcount structures are given up. */
int qswitch_begin_counted(struct qswitch *s, struct qcow2 *q, const uint32_t *refs, uint64_t n);
/* -EOVERFLOW where a refcount is too narrow. */
int qswitch_count(struct qswitch *s, uint64_t off, uint64_t len, int delta);
uint64_t qswitch_refs(const struct qswitch *s, uint64_t off);
/* Clusters for metadata, next to each other, with a count of 1. */
int qswitch_alloc(struct qswitch *s, uint64_t n, uint64_t *off);
int qswitch_write(struct qswitch *s, uint64_t off, const void *buf, size_t len);
/* Counts all that an L1 table reaches. */
int qswitch_walk(struct qswitch *s, const uint64_t *l1, uint32_t n, int delta);
/* The active table shall have these entries, with their flags as the counts are now, which may not change after this. */
int qswitch_l1(struct qswitch *s, const uint64_t *l1, uint32_t n);
/* On disk when it returns 0; when not, nothing has changed. */
int qswitch_end(struct qswitch *s);
void qswitch_fini(struct qswitch *s);

/* qcow2_bitmap.c */
struct bitmap_dir {
	uint64_t table_off;
	uint32_t table_n, flags, extra_len;
	uint8_t type, granularity_bits;
	uint16_t name_len;
	const char *name;
};
/* The bitmap directory and its place, *dir freed by the caller; 0 entries and success where there are none or they are inconsistent. (co) */
int q_bitmaps_read(struct qcow2 *q, uint8_t **dir, uint64_t *dir_off, uint64_t *dir_size, uint32_t *n);
/* The entry at `*pos`, which is advanced; -EINVAL for nonsense. */
int bitmap_dir_next(const uint8_t *dir, uint64_t size, uint64_t *pos, struct bitmap_dir *b);
/* Before the image is written to: bitmaps that should follow the writes cannot, and are declared not to have. (co) */
int q_bitmaps_open(struct qcow2 *q);
/* (co) Declares so of all. */
int q_bitmaps_invalidate(struct qcow2 *q);

/* qcow2_check.c, qcow2_repair.c (co) */
struct checker {
	struct qcow2 *q;
	unsigned fix;
	void (*say)(void *opaque, const char *line);
	void *opaque;
	struct qcow2_check_result *res;
	uint32_t *refs; /* found for each cluster of the file */
	uint64_t n;
	bool rebuild;   /* the refcount structures themselves are not usable */
	uint64_t next;  /* for fragmentation */
};

int q_check(struct qcow2 *q, unsigned fix, void (*say)(void *opaque, const char *line), void *opaque, struct qcow2_check_result *res);
void checker_say(struct checker *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Compares what was found with what the refcounts say, and mends that. */
int repair_refcounts(struct checker *c);
/* New refcount structures from `refs`, behind everything else. */
int repair_rebuild(struct checker *c);
/* COPIED flags against refcounts. */
int repair_copied(struct checker *c);
int rc_set(struct qcow2 *q, uint64_t cluster, uint64_t v);
bool checker_rt_ok(const struct qcow2 *q, uint64_t entry);

#endif
