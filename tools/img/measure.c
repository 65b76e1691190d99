/* SPDX-License-Identifier: MIT */
/* measure: how large the file of an image would be, empty or with what a source holds. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

struct measure {
	struct blockdev *bd;
	uint64_t cluster, data; /* bytes in clusters that have data */
	struct qcow2_measure size;
	uint64_t bitmaps;
	bool has_bitmaps;
};

static int count_data(struct img *img, void *opaque)
{
	struct measure *m = opaque;

	for (uint64_t off = 0; off < m->bd->size;) {
		struct blk_status st;
		unsigned depth;
		int rc = img_status(img, m->bd, NULL, off, m->bd->size - off, &st, &depth);

		if (rc < 0)
			return err_set_errno(&img->err, rc, "%s: cannot read its tables at %llu", m->bd->name, (unsigned long long)off);
		if (!(st.flags & BLK_ST_ZERO) && (st.flags & BLK_ST_ALLOCATED)) {
			uint64_t end = align_up(off + st.len, m->cluster);

			m->data += end - align_down(off, m->cluster);
			off = end;
		} else {
			off += st.len;
		}
	}
	return 0;
}

/* For each: its bits in whole clusters, a table of those, a place in the directory. */
static int bitmaps_measure(struct img *img, struct measure *m)
{
	struct qcow2_bitmap_info *list;
	uint64_t directory = 0;
	int n = qcow2_bitmaps(m->bd, &list, &img->err);

	if (n < 0)
		return n;
	m->has_bitmaps = true;
	for (int i = 0; i < n; i++) {
		uint64_t bits = (m->bd->size + (UINT64_C(1) << list[i].granularity_bits) - 1) >> list[i].granularity_bits;
		uint64_t clusters = align_up((bits + 7) / 8, m->cluster) / m->cluster;

		m->bitmaps += clusters * m->cluster + align_up(clusters * 8, m->cluster);
		directory += align_up(24 + strlen(list[i].name), 8);
	}
	m->bitmaps += align_up(directory, m->cluster);
	if (n > 0)
		qcow2_bitmaps_free(list, n);
	return 0;
}

static int measure(struct img *img, struct measure *m, const char *format, struct img_create *c)
{
	struct qcow2_create_config q;
	struct qcow2_info info;
	int rc = 0;

	if (m->bd)
		c->size = m->bd->size;
	if (!strcmp(format, "raw")) {
		m->size.required = m->size.fully_allocated = align_up(c->size, BLK_SECTOR);
		return 0;
	}
	img_create_qcow2(c, &q);
	m->cluster = q.cluster_size;
	if (m->cluster < 512 || (m->cluster & (m->cluster - 1)) != 0)
		return img_fail(img, -EINVAL, "cluster_size is a power of two from 512 to 2M");
	if (m->bd)
		rc = img_run(img, count_data, m);
	if (rc == 0 && m->bd && qcow2_is(m->bd) && q.version >= 3 && qcow2_info(m->bd, &info) == 0 && info.version >= 3)
		rc = bitmaps_measure(img, m);
	return rc < 0 ? rc : qcow2_measure(&q, m->data, &m->size, &img->err);
}

static int result_print(struct img *img, const struct measure *m)
{
	json_t *o;

	if (!img->args.json) {
		printf("required size: %llu\nfully allocated size: %llu\n", (unsigned long long)m->size.required,
		       (unsigned long long)m->size.fully_allocated);
		if (m->has_bitmaps)
			printf("bitmaps size: %llu\n", (unsigned long long)m->bitmaps);
		return 0;
	}
	o = json_object();
	if (m->has_bitmaps)
		json_object_set_new(o, "bitmaps", json_integer((json_int_t)m->bitmaps));
	json_object_set_new(o, "required", json_integer((json_int_t)m->size.required));
	json_object_set_new(o, "fully-allocated", json_integer((json_int_t)m->size.fully_allocated));
	return img_json_print(img, o);
}

int cmd_measure(struct img *img)
{
	const struct img_args *a = &img->args;
	const char *format = a->out_format ? a->out_format : "raw";
	struct measure m = { .bd = NULL };
	struct img_create c;
	int rc;

	if (a->has_size == (a->n_operands == 1))
		return img_fail(img, 1, "measure wants --size or one image, not both");
	img_create_init(&c);
	rc = img_format_check(format, "-O", &img->err);
	if (rc == 0)
		rc = img_create_options(&c, format, "-o", &a->options, &img->err);
	if (rc == 0 && a->n_operands == 1) {
		m.bd = img_open(img, &(struct img_open){ .path = a->operands[0], .format = a->format, .opts = a->image_opts,
							 .share = a->force_share, .snapshot = img_snapshot_name(a->snapshot) });
		rc = m.bd ? 0 : img->err.code;
	}
	if (rc == 0) {
		if (a->has_size)
			c.size = a->size;
		rc = measure(img, &m, format, &c);
		if (rc == 0)
			rc = result_print(img, &m);
	}
	img_create_fini(&c);
	blockdev_close(m.bd);
	return rc < 0 ? 1 : 0;
}
