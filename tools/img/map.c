/* SPDX-License-Identifier: MIT */
/* map: ranges of a disk, and where they are. Neighbours that say the same become one. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"
#include "vmm/util.h"

struct entry {
	uint64_t start, len, off;
	unsigned flags, depth;
	struct blockdev *file;
};

struct map {
	struct blockdev *bd;
	uint64_t start, end;
	struct entry last;
	bool any; /* printed */
};

static const char *truth(bool b)
{
	return b ? "true" : "false";
}

static int entry_print(struct img *img, struct map *map, const struct entry *e, bool final)
{
	bool data = e->flags & BLK_ST_DATA, zero = e->flags & BLK_ST_ZERO, off = e->flags & BLK_ST_OFFSET;

	if (!img->args.json) {
		if (data && !off)
			return img_fail(img, -EINVAL, "%s: a part of it is compressed, or in a place that is not known; see it with --output=json",
					map->bd->name);
		if (data && !zero)
			printf("%#-16llx%#-16llx%#-16llx%s\n", (unsigned long long)e->start, (unsigned long long)e->len,
			       (unsigned long long)e->off, e->file ? e->file->name : "");
		return 0;
	}
	printf("%s{ \"start\": %llu, \"length\": %llu, \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s", map->any ? "" : "[",
	       (unsigned long long)e->start, (unsigned long long)e->len, e->depth, truth(e->flags & BLK_ST_ALLOCATED), truth(zero), truth(data));
	if (off)
		printf(", \"offset\": %llu", (unsigned long long)e->off);
	printf("}%s", final ? "]\n" : ",\n");
	map->any = true;
	return 0;
}

static bool goes_on(const struct entry *a, const struct entry *b)
{
	return a->len > 0 && a->flags == b->flags && a->depth == b->depth &&
	       (!(a->flags & BLK_ST_OFFSET) || (a->file == b->file && a->off + a->len == b->off));
}

static int map_run(struct img *img, void *opaque)
{
	struct map *map = opaque;

	for (uint64_t off = map->start; off < map->end;) {
		struct blk_status st = { .len = 0 };
		struct entry e = { .start = off };
		int rc = img_status(img, map->bd, NULL, off, map->end - off, &st, &e.depth);

		if (rc < 0)
			return err_set_errno(&img->err, rc, "%s: cannot read its tables at %llu", map->bd->name, (unsigned long long)off);
		e.len = st.len;
		e.flags = st.flags & (BLK_ST_ALLOCATED | BLK_ST_ZERO | BLK_ST_DATA | BLK_ST_OFFSET);
		e.off = st.file_off;
		e.file = st.file;
		off += st.len;
		if (goes_on(&map->last, &e)) {
			map->last.len += e.len;
			continue;
		}
		if (map->last.len && entry_print(img, map, &map->last, false) < 0)
			return img->err.code;
		map->last = e;
	}
	return map->last.len ? entry_print(img, map, &map->last, true) : 0;
}

int cmd_map(struct img *img)
{
	const struct img_args *a = &img->args;
	struct map map = { .start = align_down(a->offset, BLK_SECTOR) };
	int rc;

	map.bd = img_open(img, &(struct img_open){ .path = a->operands[0], .format = a->format, .opts = a->image_opts, .share = a->force_share });
	if (!map.bd)
		return 1;
	map.end = map.bd->size;
	if (a->has_length && a->length < map.end - min_u64(map.start, map.end))
		map.end = align_up(map.start + a->length, BLK_SECTOR);
	if (!a->json)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
	rc = img_run(img, map_run, &map);
	if (rc == 0 && a->json && !map.any)
		printf("[]\n");
	blockdev_close(map.bd);
	return rc < 0;
}
