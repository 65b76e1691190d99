/* SPDX-License-Identifier: MIT */
/*
 * commit: what an image has, and all between it and the base, goes into the base. The chain is opened by hand, because its lowest
 * member is written to.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

struct member {
	char path[IMAGE_NAME_MAX * 2];
	char format[QCOW2_FORMAT_MAX];
};

struct chain {
	struct member *members; /* from the top down to the base */
	unsigned n;
};

static int member_add(struct img *img, struct chain *chain, const char *path, const char *format)
{
	struct member *m = reallocarray(chain->members, chain->n + 1, sizeof(*m));

	if (!m)
		return err_set_errno(&img->err, -ENOMEM, "cannot commit");
	chain->members = m;
	m += chain->n++;
	if (strlen(path) >= sizeof(m->path))
		return img_fail(img, -ENAMETOOLONG, "%s: the name is too long", path);
	strcpy(m->path, path);
	strncpy(m->format, format ? format : "", sizeof(m->format) - 1);
	m->format[sizeof(m->format) - 1] = 0;
	return 0;
}

/* Goes down from the last member by one. 1: there is nothing below it. */
static int chain_descend(struct img *img, struct chain *chain)
{
	struct member last = chain->members[chain->n - 1];
	struct blockdev *bd = img_open(img, &(struct img_open){ .path = last.path, .format = last.format[0] ? last.format : NULL,
								.no_backing = true });
	char path[IMAGE_NAME_MAX * 2];
	struct qcow2_info q;
	int rc;

	if (!bd)
		return img->err.code;
	rc = qcow2_is(bd) ? qcow2_info(bd, &q) : -ENOTSUP;
	blockdev_close(bd);
	if (rc < 0 || !q.backing_file[0])
		return 1;
	if (chain->n == IMAGE_CHAIN_MAX)
		return img_fail(img, -ELOOP, "%s: more than %d images on top of each other: does the chain go in circles?", last.path,
				IMAGE_CHAIN_MAX);
	/* As everywhere: a format that was probed names no other files. */
	if (!last.format[0])
		return img_fail(img, -EPERM, "%s: it names a backing file, and its format was not given; if it is qcow2, say so: -f qcow2",
				last.path);
	if (image_path_join(path, last.path, q.backing_file, &img->err) < 0)
		return img->err.code;
	return member_add(img, chain, path, q.backing_format);
}

static int chain_find(struct img *img, struct chain *chain)
{
	const struct img_args *a = &img->args;
	bool more = true;
	int rc = member_add(img, chain, a->operands[0], a->format);

	while (rc == 0 && more) {
		rc = chain_descend(img, chain);
		if (rc == 1 && chain->n == 1)
			return img_fail(img, -EINVAL, "%s: it has no backing file to commit to", a->operands[0]);
		if (rc == 1)
			return img_fail(img, -EINVAL, "%s: no file of its chain is called '%s'", a->operands[0], a->base);
		more = a->has_base && strcmp(chain->members[chain->n - 1].path, a->base) != 0;
	}
	return rc;
}

/* From the base up, which has what is below it: writes to parts of its clusters need that. `*base` is part of the chain that `*top` then owns. */
static int chain_open(struct img *img, const struct chain *chain, struct blockdev **top, struct blockdev **base)
{
	struct blockdev *below = NULL, *old;

	for (unsigned i = chain->n; i-- > 0;) {
		const struct member *m = &chain->members[i];
		bool ends = i == chain->n - 1;
		struct blockdev *bd = img_open(img, &(struct img_open){ .path = m->path, .format = m->format[0] ? m->format : NULL,
									.write = ends || i == 0, .no_backing = !ends, .unmap = true,
									.cache = img->args.cache });

		if (!bd) {
			blockdev_close(below);
			return img->err.code;
		}
		if (ends)
			*base = bd;
		else
			qcow2_set_backing(bd, below, &old);
		below = bd;
	}
	*top = below;
	return 0;
}

static int commit(struct img *img, const struct chain *chain, struct blockdev *top, struct blockdev *base)
{
	struct copy_source source = { .bd = top, .size = top->size };
	struct copy_job job = { .sources = &source, .n_sources = 1, .base = base, .target = base, .size = top->size, .sparse = 4096,
				.has_base = true, .ordered = true };
	int rc = 0;

	if (img->args.rate)
		rc = img_size_parse(img->args.rate, &job.rate, &img->err);
	if (rc == 0 && base->size < top->size) {
		bool qcow2 = qcow2_is(base);

		rc = qcow2 ? qcow2_resize(base, top->size, BLK_PREALLOC_OFF, &img->err)
			   : blockdev_truncate(base, top->size, BLK_PREALLOC_OFF);
		if (rc < 0 && !qcow2)
			err_set_errno(&img->err, rc, "%s: cannot give it %llu bytes", base->name, (unsigned long long)top->size);
	}
	img_progress_start(img);
	if (rc == 0)
		rc = img_copy(img, &job);
	if (rc == 0)
		img_progress_end(img);
	/* What is in between would show through otherwise, so with -b the top stays as it is. */
	if (rc == 0 && !img->args.keep && !img->args.has_base && chain->n == 2)
		rc = qcow2_make_empty(top, &img->err);
	return rc;
}

int cmd_commit(struct img *img)
{
	struct chain chain = { .n = 0 };
	struct blockdev *top = NULL, *base = NULL;
	int rc = img->args.image_opts ? img_fail(img, -ENOTSUP, "commit takes a file name, not --image-opts") : chain_find(img, &chain);

	if (rc == 0)
		rc = chain_open(img, &chain, &top, &base);
	if (rc == 0) {
		rc = commit(img, &chain, top, base);
		blockdev_close(top);
	}
	free(chain.members);
	if (rc == 0)
		img_say(img, "Image committed.\n");
	return rc < 0;
}
