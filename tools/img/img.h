/* SPDX-License-Identifier: MIT */
/*
 * kite-img: what its commands share. One process does one command: `struct img` has the loop, the arguments and the error. Work that waits
 * for many requests at a time runs in coroutines (img_run, img_workers); what the libraries do by themselves is called outside of them.
 *
 * Commands return the exit status, as qemu-img's. A failure is one line in `img->err`, which main prints.
 *
 * Thread: one; compression has helpers of its own (zip.h).
 */
#ifndef TOOLS_IMG_IMG_H
#define TOOLS_IMG_IMG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blk/blockdev.h"
#include "blk/image.h"
#include "blk/qcow2.h"
#include "vmm/cli_props.h"
#include "vmm/co.h"
#include "vmm/err.h"

struct json_t;
struct zip;

#define IMG_CHUNK (2 * 1024 * 1024) /* bytes of one request of a copy */
#define IMG_WORKERS 8

/* Arguments (args.c) */

struct img_args { /* what is not given is 0 or NULL; strings point into argv */
	const char *format, *format2, *out_format, *cache, *src_cache, *base, *snapshot, *aio, *repair, *prealloc, *rate, *object;
	const char *snap_apply, *snap_create, *snap_delete;
	struct strv options; /* each -o */
	bool help, quiet, progress, image_opts, target_image_opts, force_share, json, chain, compress, no_create, out_of_order, offload;
	bool target_is_zero, salvage, bitmaps, skip_broken, unsafe, strict, shrink, list, drop, keep, write, no_drain, native;
	uint64_t sparse, workers, count, depth, offset, length, size, step, interval, pattern;
	bool has_base, has_sparse, has_size, has_length, has_step, has_interval;
	char **operands;
	int n_operands;
};

enum img_arg_kind { ARG_END, ARG_FLAG, ARG_TEXT, ARG_TEXTS, ARG_SIZE, ARG_NUMBER, ARG_OUTPUT };

struct img_option {
	char letter;        /* 0: none */
	const char *name;   /* the long form; NULL: none */
	enum img_arg_kind kind;
	size_t offset;      /* in struct img_args */
	size_t has_offset;  /* of a bool that says it was given; 0: none */
	uint64_t min, max;  /* NUMBER */
	const char *value;  /* for help */
};

struct img;
struct img_command {
	const char *name, *operands, *what;
	const struct img_option *options; /* ends with ARG_END */
	int min, max;                     /* operands */
	int (*run)(struct img *img);
	const char *wants;                /* said when the number of operands is wrong */
};

extern const struct img_command img_commands[];
/* 0, or -errno with `err`. `args` to be freed with img_args_fini. */
int img_args_parse(const struct img_command *cmd, int argc, char **argv, struct img_args *args, struct err *err);
void img_args_fini(struct img_args *args);
void img_command_help(const struct img_command *cmd);

/* The process (host.c) */

struct img {
	struct eventloop *loop;
	struct uring *uring;
	struct co_pool *pool;
	struct co_mutex partial; /* writes of parts of sectors */
	struct img_args args;
	struct err err;
	/* Progress (progress.c) */
	bool shown;
	double part, last;
};

int img_init(struct img *img);
void img_fini(struct img *img);

/* Runs `fn` in a coroutine, and the loop until it ends. */
int img_run(struct img *img, int (*fn)(struct img *img, void *opaque), void *opaque);
/* `n` coroutines run `fn` to the end; the first error. */
int img_workers(struct img *img, unsigned n, int (*fn)(struct img *img, void *opaque), void *opaque);
/* A request; in a coroutine. `buf` may be NULL. 0 or -errno. */
int img_io(struct img *img, struct blockdev *bd, enum blk_op op, unsigned flags, uint64_t off, void *buf, uint64_t len);
/* As img_io for READ and WRITE, but any offset and length: what is not whole sectors is read, changed and written. */
int img_io_any(struct img *img, struct blockdev *bd, enum blk_op op, uint64_t off, void *buf, uint64_t len);
/* As image_status, in a coroutine. */
int img_status(struct img *img, struct blockdev *top, struct blockdev *base, uint64_t off, uint64_t len, struct blk_status *st,
	       unsigned *depth);
/* As img_io READ, but zeroes past the end. */
int img_read_padded(struct img *img, struct blockdev *bd, uint64_t off, void *buf, uint64_t len);

void *img_buffer(size_t len); /* aligned; NULL with no memory */

/* Opening (open.c) */

struct img_open {
	const char *path, *format, *cache;
	bool opts;       /* path is driver=... */
	bool write, share, no_backing, repair, unmap;
	const char *snapshot, *backing_path, *backing_format;
	bool has_backing;
};

/* NULL with img->err. */
struct blockdev *img_open(struct img *img, const struct img_open *o);
int img_cache_parse(const char *text, enum blk_cache *cache, struct err *err);
int img_prealloc_parse(const char *text, enum blk_prealloc *prealloc, struct err *err);
/* A size as users give it; the message is one line. */
int img_size_parse(const char *text, uint64_t *size, struct err *err);
/* Whether one may create images of it. Otherwise -EINVAL with `err`. */
int img_format_check(const char *format, const char *path, struct err *err);
/* Says that a format that was not given was found to be raw. */
void img_warn_probed(const char *path);
/* Ids as in struct img_args.snapshot: NAME, snapshot.id=ID, snapshot.name=NAME. */
const char *img_snapshot_name(const char *text);

/* Output (text.c, progress.c) */

int img_fail(struct img *img, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void img_say(const struct img *img, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* not with -q */
/* 10 MiB; into `out`, which is returned. */
const char *img_human_size(uint64_t bytes, char out[32]);
/* A string for JSON: what is not UTF-8 is replaced. */
struct json_t *img_json_text(const char *text);
/* Prints and frees. 0 or 1. */
int img_json_print(struct img *img, struct json_t *json);
void img_snapshot_list_print(struct blockdev *bd);

void img_progress_start(struct img *img);
void img_progress(struct img *img, uint64_t done, uint64_t total);
void img_progress_end(struct img *img);

/* Zeroes (zero.c) */

bool img_is_zero(const void *buf, size_t len);
/* How many bytes from `buf` on, in steps of `unit`, are all zero or all not, as `*zero` then says. `len` > 0. */
size_t img_zero_run(const uint8_t *buf, size_t len, size_t unit, bool *zero);

/* Creating (create.c) */

struct img_create {
	char *backing_file, *backing_fmt, *data_file;
	uint64_t size, cluster_size;
	unsigned refcount_bits;
	int compat, compression, prealloc; /* indices of the tables in create.c; 0: not given */
	bool lazy_refcounts, extended_l2, data_file_raw;
};

void img_create_init(struct img_create *c);
void img_create_fini(struct img_create *c);
/* Prints the options that there are, if one of -o is "help". */
bool img_options_help(const struct img_args *args, const char *format);
/* Applies each -o in turn. */
int img_create_options(struct img_create *c, const char *format, const char *path, const struct strv *options, struct err *err);
void img_create_qcow2(const struct img_create *c, struct qcow2_create_config *q);
/* Makes the file. */
int img_create_file(struct img *img, const char *path, const char *format, const struct img_create *c);

/* Copying (copy.c) */

struct copy_source {
	struct blockdev *bd;
	uint64_t start, size; /* bytes of the whole */
};

struct copy_job {
	struct copy_source *sources;
	unsigned n_sources;
	struct blockdev *base;   /* of the only source: what comes from there on down is not copied */
	struct blockdev *target;
	uint64_t size;
	unsigned workers;
	uint64_t sparse;         /* bytes; 0: everything is written */
	bool has_base;           /* what the source has not is left as it is in the target */
	bool target_zero;        /* it reads as zeroes already */
	bool ordered, compress, salvage;
	uint64_t rate;           /* bytes a second; 0: as fast as it goes */
	/* Of the engine: */
	uint64_t next, done, chunk;
	uint64_t turns_given, turn_now; /* chunks' numbers, in the order of the disk */
	struct co_queue turns;
	struct co_mutex taking;
	int64_t start_ns;
	uint32_t cluster;
	bool failed;
	struct zip *zip;
};

int img_copy(struct img *img, struct copy_job *job);

/* Commands */
int cmd_create(struct img *img);
int cmd_info(struct img *img);
int cmd_check(struct img *img);
int cmd_convert(struct img *img);
int cmd_resize(struct img *img);
int cmd_map(struct img *img);
int cmd_compare(struct img *img);
int cmd_snapshot(struct img *img);
int cmd_commit(struct img *img);
int cmd_rebase(struct img *img);
int cmd_bench(struct img *img);
int cmd_dd(struct img *img);
int cmd_measure(struct img *img);

#endif
