/* SPDX-License-Identifier: MIT */
/* convert: sources, one after the other, into an image that is made, or with -n is there. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/img/img.h"
#include "vmm/util.h"

#define SPARSE_DEFAULT 4096
#define SPARSE_MAX (16 * MIB)

static int arguments_check(struct img *img, const char *out_format)
{
	const struct img_args *a = &img->args;

	if (a->bitmaps || a->skip_broken)
		return img_fail(img, -ENOTSUP, "--bitmaps: copying dirty bitmaps is not supported");
	if (a->has_sparse && (a->sparse % BLK_SECTOR != 0 || a->sparse > SPARSE_MAX))
		return img_fail(img, -EINVAL, "-S is a multiple of 512 up to 16M, or 0 for no holes at all");
	if (a->offload && (a->has_sparse || a->compress))
		return img_fail(img, -EINVAL, "-C copies inside the host, without a look at the data: not together with -S or -c");
	if (a->target_is_zero && !a->no_create)
		return img_fail(img, -EINVAL, "--target-is-zero is for images that are there already: with -n");
	if (a->target_is_zero && a->has_base)
		return img_fail(img, -EINVAL, "--target-is-zero and -B do not go together");
	if (a->target_image_opts && (!a->no_create || a->out_format))
		return img_fail(img, -EINVAL, "--target-image-opts is for images that are there already: with -n, and without -O");
	if (a->no_create && a->options.n)
		return img_fail(img, -EINVAL, "-o is for images that are made, not with -n");
	if (a->compress && !a->target_image_opts && !strcmp(out_format, "raw"))
		return img_fail(img, -EINVAL, "-c: a raw image cannot be compressed; qcow2 can: -O qcow2");
	if (a->has_base && !strcmp(out_format, "raw"))
		return img_fail(img, -EINVAL, "-B: a raw image has no backing file; qcow2 can: -O qcow2");
	if (a->has_base && !a->format2)
		return img_fail(img, -EINVAL, "-B: a backing file needs its format: -F raw, -F qcow2");
	if (a->has_base && a->n_operands > 2)
		return img_fail(img, -EINVAL, "-B goes with one source only");
	if (a->snapshot && a->n_operands > 2)
		return img_fail(img, -EINVAL, "-l goes with one source only");
	return 0;
}

static int sources_open(struct img *img, struct copy_job *job)
{
	const struct img_args *a = &img->args;
	unsigned n = (unsigned)a->n_operands - 1;

	job->sources = calloc(n, sizeof(*job->sources));
	if (!job->sources)
		return err_set_errno(&img->err, -ENOMEM, "cannot convert");
	for (unsigned i = 0; i < n; i++) {
		struct copy_source *s = &job->sources[i];

		s->bd = img_open(img, &(struct img_open){ .path = a->operands[i], .format = a->format, .opts = a->image_opts, .cache = a->src_cache,
							  .share = a->force_share, .snapshot = img_snapshot_name(a->snapshot) });
		if (!s->bd)
			return img->err.code;
		job->n_sources++;
		s->start = job->size;
		s->size = s->bd->size;
		if (!add_u64(job->size, s->size, &job->size) || job->size > INT64_MAX)
			return img_fail(img, -EFBIG, "all sources together are larger than a disk can be");
	}
	return 0;
}

static int target_create(struct img *img, const struct copy_job *job, const char *path, const char *format, struct img_create *c)
{
	const struct img_args *a = &img->args;
	int rc;

	c->size = job->size;
	rc = img_create_options(c, format, path, &a->options, &img->err);
	if (rc != 0)
		return rc;
	if (c->size < job->size)
		return img_fail(img, -EINVAL, "%s: size=%llu is less than the %llu bytes of the source", path, (unsigned long long)c->size,
				(unsigned long long)job->size);
	if (a->has_base && (cli_set_string(&c->backing_file, a->base, &img->err) < 0 ||
			    cli_set_string(&c->backing_fmt, a->format2, &img->err) < 0))
		return img->err.code;
	if (c->backing_file && !c->backing_fmt)
		return img_fail(img, -EINVAL, "%s: a backing file needs its format: backing_fmt=raw, backing_fmt=qcow2", path);
	if (c->compression && !strcmp(format, "qcow2") && a->compress && c->data_file)
		return img_fail(img, -EINVAL, "-c: an image with a data file cannot be compressed");
	return img_create_file(img, path, format, c);
}

static bool is_block_device(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/* What is made here is open afterwards, and known to be zero where it can be. */
static int target_open(struct img *img, struct copy_job *job, const char *path, const char *format)
{
	const struct img_args *a = &img->args;
	struct img_create c;
	int rc = 0;

	img_create_init(&c);
	if (!a->no_create)
		rc = target_create(img, job, path, format, &c);
	job->has_base = c.backing_file != NULL;
	job->target_zero = a->target_is_zero || (!a->no_create && !job->has_base && !is_block_device(path));
	if (rc == 0) {
		job->target = img_open(img, &(struct img_open){ .path = path, .format = a->target_image_opts ? NULL : format,
								.opts = a->target_image_opts, .write = true, .unmap = true,
								.cache = a->cache ? a->cache : "unsafe" });
		rc = job->target ? 0 : img->err.code;
	}
	img_create_fini(&c);
	if (rc != 0)
		return rc;
	if (job->target->size < job->size)
		return img_fail(img, -EINVAL, "%s: the disk has %llu bytes, the source %llu: resize it first", path,
				(unsigned long long)job->target->size, (unsigned long long)job->size);
	if (job->compress && !qcow2_is(job->target))
		return img_fail(img, -EINVAL, "-c: images of format %s cannot be compressed; qcow2 can", job->target->ops->format);
	return 0;
}

/* With -C: raw into raw, inside the host. 1: that does not go here. */
static int offload(const struct copy_job *job)
{
	const struct blockdev *from = job->sources[0].bd, *to = job->target;
	off_t in_off = 0, out_off = 0;
	int in, out, rc = 1;

	if (job->n_sources != 1 || strcmp(from->ops->format, "raw") != 0 || strcmp(to->ops->format, "raw") != 0)
		return 1;
	/* Beside the descriptors that hold the locks. */
	in = open(from->name, O_RDONLY | O_CLOEXEC);
	out = open(to->name, O_WRONLY | O_CLOEXEC);
	while (in >= 0 && out >= 0 && (uint64_t)in_off < job->size) {
		/* Data only: the holes of a new file are there already. */
		off_t data = job->target_zero ? lseek(in, in_off, SEEK_DATA) : in_off, hole;
		ssize_t n;

		if (data < 0 && errno == ENXIO) {
			in_off = (off_t)job->size;
			break;
		}
		if (data < 0)
			break;
		hole = job->target_zero ? lseek(in, data, SEEK_HOLE) : (off_t)job->size;
		in_off = out_off = data;
		n = copy_file_range(in, &in_off, out, &out_off, (size_t)((hole > data ? hole : (off_t)job->size) - data), 0);
		if (n <= 0)
			break;
	}
	if (in >= 0 && out >= 0 && (uint64_t)in_off >= job->size)
		rc = 0;
	fd_close(&in);
	fd_close(&out);
	return rc;
}

static int convert(struct img *img, struct copy_job *job)
{
	int rc;

	img_progress_start(img);
	rc = img->args.offload ? offload(job) : 1;
	if (rc == 1)
		rc = img_copy(img, job);
	if (rc == 0)
		img_progress_end(img);
	return rc;
}

static int convert_all(struct img *img, struct copy_job *job, const char *path, const char *format)
{
	const struct img_args *a = &img->args;
	int rc = arguments_check(img, format);

	if (rc == 0 && a->rate)
		rc = img_size_parse(a->rate, &job->rate, &img->err);
	if (rc == 0)
		rc = sources_open(img, job);
	if (rc == 0)
		rc = target_open(img, job, path, format);
	if (rc != 0)
		return rc;
	if (job->has_base)
		job->base = blockdev_backing(job->sources[0].bd);
	if (job->has_base && !job->base)
		job->has_base = false; /* all of the source counts, zeroes too */
	return convert(img, job);
}

int cmd_convert(struct img *img)
{
	const struct img_args *a = &img->args;
	const char *path = a->operands[a->n_operands - 1], *format = a->out_format ? a->out_format : "raw";
	struct copy_job job = {
		.workers = (unsigned)a->workers,
		.sparse = a->has_sparse ? a->sparse : SPARSE_DEFAULT,
		.ordered = !a->out_of_order,
		.compress = a->compress,
		.salvage = a->salvage,
	};
	int rc;

	if (!a->no_create && img_format_check(format, path, &img->err) < 0)
		return 1;
	rc = convert_all(img, &job, path, format);
	blockdev_close(job.target);
	for (unsigned i = 0; i < job.n_sources; i++)
		blockdev_close(job.sources[i].bd);
	free(job.sources);
	return rc < 0;
}
