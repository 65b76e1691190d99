/* SPDX-License-Identifier: MIT */
/* create, and the options of images that are made, which convert, dd and measure have too. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/img/img.h"
#include "vmm/util.h"

#define NOT_GIVEN UINT64_MAX

static const char *const compats[] = { "", "0.10", "v2", "1.1", "v3", NULL };
static const char *const compressions[] = { "", "zlib", "zstd", NULL };
static const char *const preallocs[] = { "", "off", "metadata", "falloc", "full", NULL };

#define OFF(field) offsetof(struct img_create, field)
static const struct prop_row qcow2_rows[] = {
	{ .key = "backing_file", .type = PROP_STRING, .offset = OFF(backing_file) },
	{ .key = "backing_fmt", .type = PROP_STRING, .offset = OFF(backing_fmt) },
	{ .key = "cluster_size", .type = PROP_SIZE, .offset = OFF(cluster_size), .unit = 1 },
	{ .key = "compat", .type = PROP_ENUM, .offset = OFF(compat), .names = compats },
	{ .key = "compression_type", .type = PROP_ENUM, .offset = OFF(compression), .names = compressions },
	{ .key = "data_file", .type = PROP_STRING, .offset = OFF(data_file) },
	{ .key = "data_file_raw", .type = PROP_BOOL, .offset = OFF(data_file_raw) },
	{ .key = "extended_l2", .type = PROP_BOOL, .offset = OFF(extended_l2) },
	{ .key = "lazy_refcounts", .type = PROP_BOOL, .offset = OFF(lazy_refcounts) },
	{ .key = "preallocation", .type = PROP_ENUM, .offset = OFF(prealloc), .names = preallocs },
	{ .key = "refcount_bits", .type = PROP_UNSIGNED, .offset = OFF(refcount_bits), .min = 1, .max = 64 },
	{ .key = "size", .type = PROP_SIZE, .offset = OFF(size), .unit = 1 },
	{ .key = NULL },
};
static const struct prop_row raw_rows[] = {
	{ .key = "preallocation", .type = PROP_ENUM, .offset = OFF(prealloc), .names = preallocs },
	{ .key = "size", .type = PROP_SIZE, .offset = OFF(size), .unit = 1 },
	{ .key = NULL },
};
static const struct prop_table qcow2_table = { .rows = qcow2_rows }, raw_table = { .rows = raw_rows };

void img_create_init(struct img_create *c)
{
	*c = (struct img_create){ .size = NOT_GIVEN, .cluster_size = 65536, .refcount_bits = 16 };
}

void img_create_fini(struct img_create *c)
{
	props_fini(&qcow2_table, c);
}

static void options_help(const char *format, const struct prop_table *table)
{
	static const char *const kinds[] = {
		[PROP_STRING] = "<str>", [PROP_BOOL] = "<bool (on/off)>", [PROP_UNSIGNED] = "<num>", [PROP_SIZE] = "<size>", [PROP_ENUM] = "<str>",
	};

	printf("Supported %s options:\n", format);
	for (const struct prop_row *row = table->rows; row->key; row++) {
		printf("  %s=%s", row->key, kinds[row->type]);
		for (int i = 1; row->names && row->names[i]; i++)
			printf("%s%s", i == 1 ? " - " : ", ", row->names[i]);
		printf("\n");
	}
}

bool img_options_help(const struct img_args *args, const char *format)
{
	for (size_t i = 0; i < args->options.n; i++)
		if (!strcmp(args->options.v[i], "help") || !strcmp(args->options.v[i], "?")) {
			options_help(format, strcmp(format, "raw") ? &qcow2_table : &raw_table);
			return true;
		}
	return false;
}

int img_create_options(struct img_create *c, const char *format, const char *path, const struct strv *options, struct err *err)
{
	const struct prop_table *table = strcmp(format, "raw") ? &qcow2_table : &raw_table;
	struct prop_ctx ctx = { .what = path, .err = err };

	for (size_t i = 0; i < options->n; i++) {
		struct prop_list list = { .items = NULL };
		int rc = prop_list_parse(&list, options->v[i], NULL, &ctx);

		if (rc == 0)
			rc = props_apply(&list, table, c, &ctx);
		prop_list_fini(&list);
		if (rc < 0)
			return rc;
	}
	if (table == &raw_table && c->prealloc == 1 + BLK_PREALLOC_METADATA)
		return err_set(err, -EINVAL, "%s: a raw image has no metadata to preallocate: off, falloc or full", path);
	return 0;
}

static enum blk_prealloc prealloc_of(const struct img_create *c)
{
	return c->prealloc ? (enum blk_prealloc)(c->prealloc - 1) : BLK_PREALLOC_OFF;
}

void img_create_qcow2(const struct img_create *c, struct qcow2_create_config *q)
{
	*q = (struct qcow2_create_config){
		.size = c->size,
		.version = c->compat == 1 || c->compat == 2 ? 2 : 3,
		.cluster_size = c->cluster_size > UINT32_MAX ? UINT32_MAX : (uint32_t)c->cluster_size,
		.refcount_bits = c->refcount_bits,
		.lazy_refcounts = c->lazy_refcounts,
		.extended_l2 = c->extended_l2,
		.compression = c->compression == 2 ? QCOW2_ZSTD : QCOW2_ZLIB,
		.backing_file = c->backing_file,
		.backing_format = c->backing_fmt,
		.data_file = c->data_file,
		.data_file_raw = c->data_file_raw,
		.prealloc = prealloc_of(c),
	};
}

/* An empty file, under its lock; what was in it is gone. `*made`: it was not there. */
static struct blockdev *file_make(struct img *img, const char *path, bool *made)
{
	struct blk_file_config cfg = { .path = path, .lock = true, .grows = true, .uring = img->uring, .loop = img->loop };
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644), rc;
	struct blockdev *file;

	*made = fd >= 0;
	fd_close(&fd);
	file = raw_open(&cfg, &img->err);
	if (!file)
		return NULL;
	rc = blockdev_truncate(file, 0, BLK_PREALLOC_OFF);
	if (rc == 0 || file->size > 0)
		return file;
	err_set_errno(&img->err, rc, "%s: cannot empty it", path);
	blockdev_close(file);
	return NULL;
}

static int raw_fill(struct img *img, struct blockdev *file, const struct img_create *c)
{
	uint64_t size = align_up(c->size, BLK_SECTOR);
	int rc = blockdev_truncate(file, size, prealloc_of(c));

	return rc < 0 ? err_set_errno(&img->err, rc, "%s: cannot give it %llu bytes", file->name, (unsigned long long)size) : 0;
}

static int qcow2_fill(struct img *img, struct blockdev *file, const struct img_create *c)
{
	struct qcow2_create_config q;
	char path[IMAGE_NAME_MAX * 2];
	bool made = false;
	int rc;

	img_create_qcow2(c, &q);
	if (c->data_file) {
		if (image_path_join(path, file->name, c->data_file, &img->err) < 0)
			return img->err.code;
		q.data = file_make(img, path, &made);
		if (!q.data)
			return img->err.code;
	}
	rc = qcow2_create(file, &q, &img->err);
	blockdev_close(q.data);
	if (rc < 0 && made)
		unlink(path);
	return rc;
}

int img_create_file(struct img *img, const char *path, const char *format, const struct img_create *c)
{
	struct blockdev *file;
	bool made;
	int rc;

	if (c->size > INT64_MAX)
		return err_set(&img->err, -EINVAL, "%s: an image needs a size", path);
	file = file_make(img, path, &made);
	if (!file)
		return img->err.code;
	rc = !strcmp(format, "raw") ? raw_fill(img, file, c) : qcow2_fill(img, file, c);
	blockdev_close(file);
	if (rc < 0 && made)
		unlink(path);
	return rc;
}

/* create */

static void formatting_print(const struct img *img, const char *path, const char *format, const struct img_create *c)
{
	bool qcow2 = strcmp(format, "raw") != 0;

	img_say(img, "Formatting '%s', fmt=%s", path, format);
	if (qcow2)
		img_say(img, " cluster_size=%llu extended_l2=%s", (unsigned long long)c->cluster_size, c->extended_l2 ? "on" : "off");
	if (qcow2 && c->prealloc)
		img_say(img, " preallocation=%s", preallocs[c->prealloc]);
	if (qcow2)
		img_say(img, " compression_type=%s", compressions[c->compression ? c->compression : 1]);
	img_say(img, " size=%llu", (unsigned long long)c->size);
	if (!qcow2 && c->prealloc)
		img_say(img, " preallocation=%s", preallocs[c->prealloc]);
	if (qcow2 && c->compat)
		img_say(img, " compat=%s", compats[c->compat]);
	if (c->backing_file)
		img_say(img, " backing_file=%s", c->backing_file);
	if (c->backing_fmt)
		img_say(img, " backing_fmt=%s", c->backing_fmt);
	if (c->data_file)
		img_say(img, " data_file=%s", c->data_file);
	if (c->data_file_raw)
		img_say(img, " data_file_raw=on");
	if (qcow2)
		img_say(img, " lazy_refcounts=%s refcount_bits=%u", c->lazy_refcounts ? "on" : "off", c->refcount_bits);
	img_say(img, "\n");
}

/* Looks at the backing file, and takes the size from it where none was given. */
static int backing_check(struct img *img, const char *path, struct img_create *c)
{
	char full[IMAGE_NAME_MAX * 2];
	struct blockdev *bd;

	if (!c->backing_fmt)
		return err_set(&img->err, -EINVAL, "%s: a backing file needs its format: -F raw, -F qcow2", path);
	if (img->args.unsafe)
		return 0;
	if (image_path_join(full, path, c->backing_file, &img->err) < 0)
		return img->err.code;
	bd = img_open(img, &(struct img_open){ .path = full, .format = c->backing_fmt });
	if (!bd)
		return err_prefix(&img->err, "the backing file");
	if (c->size == NOT_GIVEN)
		c->size = bd->size;
	blockdev_close(bd);
	return 0;
}

static int create_arguments(struct img *img, const char *path, const char *format, struct img_create *c)
{
	const struct img_args *a = &img->args;
	int rc;

	if (img_format_check(format, path, &img->err) < 0)
		return img->err.code;
	rc = img_create_options(c, format, path, &a->options, &img->err);
	if (rc != 0)
		return rc;
	if (a->has_base && cli_set_string(&c->backing_file, a->base, &img->err) < 0)
		return img->err.code;
	if (a->format2 && cli_set_string(&c->backing_fmt, a->format2, &img->err) < 0)
		return img->err.code;
	if (!strcmp(format, "raw") && (c->backing_file || c->backing_fmt))
		return err_set(&img->err, -EINVAL, "%s: a raw image has no backing file; qcow2 images can", path);
	if (a->n_operands > 1 && img_size_parse(a->operands[1], &c->size, &img->err) < 0)
		return img->err.code;
	if (c->backing_file && backing_check(img, path, c) < 0)
		return img->err.code;
	if (c->size == NOT_GIVEN)
		return err_set(&img->err, -EINVAL, "%s: an image without a backing file needs a size", path);
	return 0;
}

int cmd_create(struct img *img)
{
	const char *path = img->args.operands[0], *format = img->args.format ? img->args.format : "raw";
	struct img_create c;
	int rc;

	img_create_init(&c);
	rc = create_arguments(img, path, format, &c);
	if (rc == 0) {
		formatting_print(img, path, format, &c);
		fflush(stdout);
		rc = img_create_file(img, path, format, &c);
	}
	img_create_fini(&c);
	return rc < 0;
}
