/* SPDX-License-Identifier: MIT */
/* check: 0 is well, 1 could not be checked, 2 corrupt, 3 leaks only, 63 a format without checks. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tools/img/img.h"

#define CHECK_FAILED 1
#define CHECK_CORRUPT 2
#define CHECK_LEAKS 3
#define CHECK_UNKNOWN 63

static void finding_print(void *opaque, const char *line)
{
	(void)opaque;
	fprintf(stderr, "%s\n", line);
}

static int repair_parse(struct img *img, unsigned *fix)
{
	const char *r = img->args.repair;

	*fix = 0;
	if (!r)
		return 0;
	if (!strcmp(r, "leaks"))
		*fix = QCOW2_FIX_LEAKS;
	else if (!strcmp(r, "all"))
		*fix = QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS;
	else
		return img_fail(img, -EINVAL, "-r is leaks or all, not '%s'", err_show(r).s);
	return 0;
}

static void set(json_t *o, const char *key, uint64_t value, bool always)
{
	if (value || always)
		json_object_set_new(o, key, json_integer((json_int_t)value));
}

static int result_json(struct img *img, const struct qcow2_check_result *r)
{
	json_t *o = json_object();

	set(o, "image-end-offset", r->image_end, false);
	set(o, "total-clusters", r->total_clusters, false);
	set(o, "allocated-clusters", r->allocated_clusters, false);
	set(o, "fragmented-clusters", r->fragmented_clusters, false);
	set(o, "compressed-clusters", r->compressed_clusters, false);
	set(o, "check-errors", r->check_errors, true);
	set(o, "corruptions", r->corruptions, false);
	set(o, "leaks", r->leaks, false);
	set(o, "corruptions-fixed", r->corruptions_fixed, false);
	set(o, "leaks-fixed", r->leaks_fixed, false);
	json_object_set_new(o, "filename", img_json_text(img->args.operands[0]));
	json_object_set_new(o, "format", json_string("qcow2"));
	return img_json_print(img, o);
}

static void result_print(const struct img *img, const struct qcow2_check_result *r)
{
	if (!r->corruptions && !r->leaks && !r->check_errors)
		img_say(img, "No errors were found on the image.\n");
	if (r->corruptions)
		img_say(img, "\n%lu errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n",
			r->corruptions);
	if (r->leaks)
		img_say(img, "\n%lu leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n", r->leaks);
	if (r->check_errors)
		img_say(img, "\n%lu internal errors have occurred during the check.\n", r->check_errors);
	if (r->total_clusters && r->allocated_clusters)
		img_say(img, "%llu/%llu = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
			(unsigned long long)r->allocated_clusters, (unsigned long long)r->total_clusters,
			(double)r->allocated_clusters * 100.0 / (double)r->total_clusters,
			(double)r->fragmented_clusters * 100.0 / (double)r->allocated_clusters,
			(double)r->compressed_clusters * 100.0 / (double)r->allocated_clusters);
	if (r->image_end)
		img_say(img, "Image end offset: %llu\n", (unsigned long long)r->image_end);
}

static int check_run(struct img *img, struct blockdev *bd, unsigned fix)
{
	void (*say)(void *, const char *) = img->args.quiet || img->args.json ? NULL : finding_print;
	struct qcow2_check_result r = { .corruptions = 0 };
	bool fixed;

	if (qcow2_check(bd, fix, say, NULL, &r, &img->err) < 0)
		return CHECK_FAILED;
	fixed = r.corruptions_fixed || r.leaks_fixed;
	if (fixed && !img->args.json)
		img_say(img, "The following inconsistencies were found and repaired:\n\n    %lu leaked clusters\n    %lu corruptions\n\n"
			     "Double checking the fixed image now...\n", r.leaks_fixed, r.corruptions_fixed);
	if (fixed) {
		struct qcow2_check_result again = { .corruptions = 0 };

		if (qcow2_check(bd, 0, say, NULL, &again, &img->err) < 0)
			return CHECK_FAILED;
		again.corruptions_fixed = r.corruptions_fixed;
		again.leaks_fixed = r.leaks_fixed;
		r = again;
	}
	if (img->args.json) {
		if (result_json(img, &r) != 0)
			return CHECK_FAILED;
	} else {
		result_print(img, &r);
	}
	if (r.check_errors)
		return CHECK_FAILED;
	return r.corruptions ? CHECK_CORRUPT : r.leaks ? CHECK_LEAKS : 0;
}

int cmd_check(struct img *img)
{
	const struct img_args *a = &img->args;
	struct blockdev *bd;
	unsigned fix;
	int status;

	if (repair_parse(img, &fix) < 0)
		return CHECK_FAILED;
	bd = img_open(img, &(struct img_open){ .path = a->operands[0], .format = a->format, .opts = a->image_opts, .cache = a->src_cache,
					       .share = a->force_share && !fix, .no_backing = true, .write = fix != 0, .repair = fix != 0 });
	if (!bd)
		return CHECK_FAILED;
	if (!qcow2_is(bd))
		status = img_fail(img, CHECK_UNKNOWN, "%s: images of format %s have nothing that can be checked", a->operands[0], bd->ops->format);
	else
		status = check_run(img, bd, fix);
	blockdev_close(bd);
	return status;
}
