/* SPDX-License-Identifier: MIT */
/* info: an image, or its whole chain, for people or as JSON. What a format says of itself is one JSON object for both. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blk/import.h"
#include "tools/img/img.h"

struct image {
	struct blockdev *bd;
	const char *path;
	bool qcow2;
	struct qcow2_info q;
	char backing[IMAGE_NAME_MAX * 2]; /* as a path; "" for none */
	json_t *specific;                 /* NULL: nothing */
};

static void set_text(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, img_json_text(value));
}

static void set_int(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void set_bool(json_t *o, const char *key, bool value)
{
	json_object_set_new(o, key, json_boolean(value));
}

static json_t *bitmaps_json(struct blockdev *bd)
{
	struct qcow2_bitmap_info *list;
	struct err err = ERR_INIT;
	int n = qcow2_bitmaps(bd, &list, &err);
	json_t *all = n > 0 ? json_array() : NULL;

	for (int i = 0; i < n; i++) {
		json_t *one = json_object(), *flags = json_array();

		if (list[i].flags & QCOW2_BITMAP_IN_USE)
			json_array_append_new(flags, json_string("in-use"));
		if (list[i].flags & QCOW2_BITMAP_AUTO)
			json_array_append_new(flags, json_string("auto"));
		json_object_set_new(one, "flags", flags);
		set_text(one, "name", list[i].name);
		set_int(one, "granularity", list[i].granularity);
		json_array_append_new(all, one);
	}
	if (n > 0)
		qcow2_bitmaps_free(list, n);
	return all;
}

static json_t *qcow2_json(const struct image *im)
{
	const struct qcow2_info *q = &im->q;
	json_t *o = json_object(), *bitmaps;

	set_text(o, "compat", q->version == 2 ? "0.10" : "1.1");
	set_text(o, "compression-type", q->compression == QCOW2_ZSTD ? "zstd" : "zlib");
	if (q->version >= 3)
		set_bool(o, "lazy-refcounts", q->lazy_refcounts);
	bitmaps = q->n_bitmaps ? bitmaps_json(im->bd) : NULL;
	if (bitmaps)
		json_object_set_new(o, "bitmaps", bitmaps);
	set_int(o, "refcount-bits", q->refcount_bits);
	if (q->has_data_file) {
		set_text(o, "data-file", q->data_file);
		set_bool(o, "data-file-raw", q->data_file_raw);
	}
	if (q->version >= 3) {
		set_bool(o, "corrupt", q->corrupt);
		set_bool(o, "extended-l2", q->extended_l2);
	}
	return o;
}

static json_t *vmdk_json(const struct blockdev *bd, const struct vmdk_info *v)
{
	json_t *o = json_object(), *extents = json_array();

	set_int(o, "cid", v->cid);
	set_int(o, "parent-cid", v->parent_cid);
	set_text(o, "create-type", v->create_type);
	for (unsigned i = 0; i < v->n_extents; i++) {
		json_t *e = json_object();
		struct vmdk_extent_info x;

		vmdk_extent_info(bd, i, &x);
		if (x.compressed)
			set_bool(e, "compressed", true);
		set_int(e, "virtual-size", x.size);
		set_text(e, "filename", x.file);
		if (x.cluster_size)
			set_int(e, "cluster-size", x.cluster_size);
		set_text(e, "format", x.type);
		json_array_append_new(extents, e);
	}
	json_object_set_new(o, "extents", extents);
	return o;
}

/* Other files are looked for only with `chain`. */
static int image_look(struct img *img, struct image *im, const char *path, const char *format, bool opts)
{
	struct vmdk_info v;

	*im = (struct image){ .path = path };
	im->bd = img_open(img, &(struct img_open){ .path = path, .format = format, .opts = opts, .share = img->args.force_share,
						   .no_backing = true });
	if (!im->bd)
		return img->err.code;
	if (opts)
		im->path = blockdev_file(im->bd) ? blockdev_file(im->bd)->name : im->bd->name;
	im->qcow2 = qcow2_is(im->bd);
	if (im->qcow2) {
		int rc = qcow2_info(im->bd, &im->q);

		if (rc < 0)
			return err_set_errno(&img->err, rc, "%s: cannot read what it says of itself", path);
		im->specific = qcow2_json(im);
		if (im->q.backing_file[0] && image_path_join(im->backing, im->path, im->q.backing_file, &img->err) < 0)
			return img->err.code;
	} else if (vmdk_info(im->bd, &v)) {
		im->specific = vmdk_json(im->bd, &v);
	}
	return 0;
}

static void image_fini(struct image *im)
{
	blockdev_close(im->bd);
	json_decref(im->specific);
}

static uint64_t file_blocks(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* Of all files that an image is made of; not of what is below it. */
static uint64_t disk_size(const struct image *im)
{
	uint64_t total = file_blocks(im->path);
	char path[IMAGE_NAME_MAX * 2];
	struct err err = ERR_INIT;
	struct vmdk_info v;

	if (im->qcow2 && im->q.has_data_file && image_path_join(path, im->path, im->q.data_file, &err) == 0)
		total += file_blocks(path);
	if (vmdk_info(im->bd, &v))
		for (unsigned i = 0; i < v.n_extents; i++) {
			struct vmdk_extent_info x;

			vmdk_extent_info(im->bd, i, &x);
			if (x.type[0] && x.file[0])
				total += file_blocks(x.file);
		}
	return total;
}

static uint32_t cluster_size(const struct image *im)
{
	return im->qcow2 ? im->q.cluster_size : import_cluster_size(im->bd);
}

/* JSON */

static json_t *snapshots_json(struct blockdev *bd)
{
	struct qcow2_snapshot_info *list;
	int n = qcow2_snapshots(bd, &list);
	json_t *all = n > 0 ? json_array() : NULL;

	for (int i = 0; i < n; i++) {
		json_t *s = json_object();

		if (list[i].icount != UINT64_MAX)
			set_int(s, "icount", list[i].icount);
		set_int(s, "vm-clock-nsec", list[i].vm_clock_ns % 1000000000);
		set_text(s, "name", list[i].name);
		set_int(s, "date-sec", list[i].date_sec);
		set_int(s, "date-nsec", list[i].date_nsec);
		set_int(s, "vm-clock-sec", list[i].vm_clock_ns / 1000000000);
		set_text(s, "id", list[i].id);
		set_int(s, "vm-state-size", list[i].vm_state_size);
		json_array_append_new(all, s);
	}
	if (n > 0)
		qcow2_snapshots_free(list, n);
	return all;
}

static json_t *image_json(const struct image *im)
{
	json_t *o = json_object(), *snapshots = im->qcow2 ? snapshots_json(im->bd) : NULL;
	const char *format = im->bd->ops->format;

	if (snapshots)
		json_object_set_new(o, "snapshots", snapshots);
	if (im->q.backing_format[0])
		set_text(o, "backing-filename-format", im->q.backing_format);
	set_int(o, "virtual-size", im->bd->size);
	set_text(o, "filename", im->path);
	if (cluster_size(im))
		set_int(o, "cluster-size", cluster_size(im));
	set_text(o, "format", format);
	set_int(o, "actual-size", disk_size(im));
	if (im->specific) {
		json_t *s = json_object();

		set_text(s, "type", format);
		json_object_set(s, "data", im->specific);
		json_object_set_new(o, "format-specific", s);
	}
	if (im->q.backing_file[0]) {
		set_text(o, "full-backing-filename", im->backing);
		set_text(o, "backing-filename", im->q.backing_file);
	}
	set_bool(o, "dirty-flag", im->q.dirty);
	return o;
}

/* For people */

static void value_print(const json_t *v, int depth);

/* "format-of-keys: value", nested ones further in. */
static void item_print(const char *key, const json_t *v, int depth)
{
	bool nested = json_is_object(v) || json_is_array(v);

	printf("%*s", depth * 4, "");
	for (const char *p = key; *p; p++)
		putchar(*p == '-' ? ' ' : *p);
	printf(":%s", nested ? "\n" : " ");
	value_print(v, depth + 1);
	if (!nested)
		printf("\n");
}

static void value_print(const json_t *v, int depth)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_string(v)) {
		printf("%s", json_string_value(v));
	} else if (json_is_integer(v)) {
		printf("%lld", (long long)json_integer_value(v));
	} else if (json_is_boolean(v)) {
		printf("%s", json_is_true(v) ? "true" : "false");
	} else if (json_is_array(v)) {
		json_array_foreach(v, i, item) {
			char name[32];

			snprintf(name, sizeof(name), "[%zu]", i);
			item_print(name, item, depth);
		}
	} else {
		json_object_foreach((json_t *)v, key, item)
			item_print(key, item, depth);
	}
}

static void image_print(const struct image *im)
{
	char size[32], disk[32];

	printf("image: %s\nfile format: %s\nvirtual size: %s (%llu bytes)\ndisk size: %s\n", im->path, im->bd->ops->format,
	       img_human_size(im->bd->size, size), (unsigned long long)im->bd->size, img_human_size(disk_size(im), disk));
	if (cluster_size(im))
		printf("cluster_size: %u\n", cluster_size(im));
	if (im->q.dirty)
		printf("cleanly shut down: no\n");
	if (im->q.backing_file[0]) {
		printf("backing file: %s", im->q.backing_file);
		if (strcmp(im->backing, im->q.backing_file) != 0)
			printf(" (actual path: %s)", im->backing);
		printf("\n");
	}
	if (im->q.backing_format[0])
		printf("backing file format: %s\n", im->q.backing_format);
	if (im->qcow2)
		img_snapshot_list_print(im->bd);
	if (im->specific) {
		printf("Format specific information:\n");
		value_print(im->specific, 1);
	}
}

static int chain_run(struct img *img, json_t *all)
{
	char path[IMAGE_NAME_MAX * 2] = "", format[QCOW2_FORMAT_MAX] = "";

	for (unsigned n = 0; n == 0 || path[0]; n++) {
		struct image im;
		int rc;

		if (n == IMAGE_CHAIN_MAX)
			return img_fail(img, 1, "%s: more than %d images on top of each other: does the chain go in circles?", path, IMAGE_CHAIN_MAX);
		rc = n == 0 ? image_look(img, &im, img->args.operands[0], img->args.format, img->args.image_opts)
			    : image_look(img, &im, path, format[0] ? format : NULL, false);
		if (rc == 0 && all) {
			json_array_append_new(all, image_json(&im));
		} else if (rc == 0) {
			if (n > 0)
				printf("\n");
			image_print(&im);
		}
		/* What is below is needed for its names only. */
		if (rc == 0)
			memcpy(format, im.q.backing_format, sizeof(format));
		if (rc == 0)
			memmove(path, img->args.chain ? im.backing : "", img->args.chain ? strlen(im.backing) + 1 : 1);
		image_fini(&im);
		if (rc < 0)
			return 1;
	}
	return 0;
}

int cmd_info(struct img *img)
{
	json_t *all = img->args.json ? json_array() : NULL, *out;
	int status = chain_run(img, all);

	if (!all)
		return status;
	if (status != 0) {
		json_decref(all);
		return status;
	}
	out = img->args.chain ? json_incref(all) : json_incref(json_array_get(all, 0));
	json_decref(all);
	return img_json_print(img, out);
}
