/* SPDX-License-Identifier: MIT */
/* A raw disk's length and its holes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "blk/raw_io.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(ftruncate), .threads = THREAD_LOOP, .rare = THREAD_LOOP },
	{ CALL(ioctl), ARG(1, BLKGETSIZE64), .threads = THREAD_LOOP, .rare = THREAD_ANY }, /* the size of a block device */
	{ CALL(lseek), .threads = THREAD_LOOP, .rare = THREAD_ANY },		      /* where there are holes */
);

#define FILL_MAX (1 * MIB)
#define FILL_ALIGN 4096

int raw_resize(struct blockdev *bd, uint64_t size)
{
	struct raw *raw = CONTAINER_OF(bd, struct raw, bd);
	uint64_t have;

	if (raw->file.direct && size % raw->file.align != 0)
		return -EINVAL;
	if (!raw->file.block_device)
		return ftruncate(raw->file.fd, (off_t)size) < 0 ? -errno : 0;
	/* It has the size that its owner gives it; this is about taking notice. */
	if (ioctl(raw->file.fd, BLKGETSIZE64, &have) < 0)
		return -errno;
	return size <= have ? 0 : -EINVAL;
}

/* Zeroes that are really written. */
static int fill(const struct raw *raw, uint64_t off, uint64_t end)
{
	void *buf;
	int rc = 0;

	if (posix_memalign(&buf, max_u64(FILL_ALIGN, raw->file.mem_align), FILL_MAX) != 0)
		return -ENOMEM;
	memset(buf, 0, FILL_MAX);
	while (rc == 0 && off < end) {
		ssize_t n = pwrite(raw->file.fd, buf, min_u64(FILL_MAX, end - off), (off_t)off);

		if (n > 0)
			off += (uint64_t)n;
		else if (n == 0 || errno != EINTR)
			rc = n == 0 ? -EIO : -errno;
	}
	free(buf);
	return rc;
}

int raw_truncate(struct blockdev *bd, uint64_t size, enum blk_prealloc prealloc)
{
	struct raw *raw = CONTAINER_OF(bd, struct raw, bd);
	uint64_t old = bd->size;
	int rc = raw_resize(bd, size);

	if (rc < 0 || raw->file.block_device || size <= old)
		return rc;
	if (prealloc == BLK_PREALLOC_METADATA)
		return -ENOTSUP;
	if (prealloc == BLK_PREALLOC_FALLOC)
		rc = -posix_fallocate(raw->file.fd, (off_t)old, (off_t)(size - old));
	else if (prealloc == BLK_PREALLOC_FULL)
		rc = fill(raw, old, size);
	if (rc < 0 && ftruncate(raw->file.fd, (off_t)old) < 0)
		bd->size = size; /* the new part stays */
	return rc;
}

int raw_status(struct raw *raw, const struct blk_req *req)
{
	int fd = raw->file.fd;
	off_t off = (off_t)req->off, data, hole;
	struct blk_status *st = req->status;
	uint64_t end;

	*st = (struct blk_status){
		.len = req->len,
		.flags = BLK_ST_ALLOCATED | BLK_ST_DATA | BLK_ST_OFFSET,
		.file = &raw->bd,
		.file_off = req->off,
	};
	data = lseek(fd, off, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return 0; /* it cannot tell */
	if (data == off) {
		hole = lseek(fd, off, SEEK_HOLE);
		if (hole > off)
			st->len = min_u64(req->len, align_up((uint64_t)hole, BLK_SECTOR) - req->off);
		return 0;
	}
	/* A sector that is data in part is data. */
	end = data < 0 ? UINT64_MAX : align_down((uint64_t)data, BLK_SECTOR);
	if (end <= req->off) {
		st->len = min_u64(req->len, BLK_SECTOR);
		return 0;
	}
	st->flags ^= BLK_ST_DATA | BLK_ST_ZERO;
	st->len = min_u64(req->len, end - req->off);
	return 0;
}
