/* SPDX-License-Identifier: MIT */
/* Opening a raw file: what it may be, its size, what direct I/O demands of it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk/raw_priv.h"
#include "vmm/err.h"
#include "vmm/fdset.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

#define PROBE_MAX 4096u
#define ALIGN_MAX (1u << 20)

/* A medium that is changed while the machine runs. Opening it is the main thread's (vmm/file_opener.h). */
SYSCALL_RULES(
	{ CALL(newfstatat), .threads = THREAD_LOOP, .needs = NEEDS_FILES, .rare = THREAD_LOOP },
	{ CALL(fcntl), .threads = THREAD_LOOP, .needs = NEEDS_FILES, .rare = THREAD_LOOP }, /* locks, O_NONBLOCK, O_DIRECT */
	{ CALL(pread64), .threads = THREAD_LOOP, .needs = NEEDS_FILES, .rare = THREAD_LOOP },
	{ CALL(statx), .threads = THREAD_LOOP, .needs = NEEDS_FILES, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, BLKROGET), .threads = THREAD_LOOP, .needs = NEEDS_FILES, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, BLKGETSIZE64), .threads = THREAD_LOOP, .needs = NEEDS_FILES, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, BLKSSZGET), .threads = THREAD_LOOP, .needs = NEEDS_FILES, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, BLKPBSZGET), .threads = THREAD_LOOP, .needs = NEEDS_FILES, .rare = THREAD_ANY },
	/* Who holds a lock is not to be found out. */
	{ CALL(openat), .threads = THREAD_LOOP, .needs = NEEDS_FILES, .error = EACCES, .rare = THREAD_ANY },
);

int blk_open(const struct blk_opener *opener, const char *path, int flags)
{
	int fd = opener ? opener->open(opener->opaque, path, flags) : open(path, flags);

	return fd < 0 && !opener ? -errno : fd;
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFCHR:
		return "a character device";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	default:
		return "not a file";
	}
}

static int check_type(const char *path, mode_t mode, struct err *err)
{
	if (S_ISREG(mode) || S_ISBLK(mode))
		return 0;
	return err_set(err, -EINVAL, "%s: is %s; a disk needs a regular file or a block device", path, type_name(mode));
}

static bool wants_direct(enum blk_cache cache)
{
	return cache == BLK_CACHE_NONE || cache == BLK_CACHE_DIRECTSYNC;
}

static int say_open_error(const struct blk_file_config *cfg, int rc, struct err *err)
{
	if (rc == -EINVAL && wants_direct(cfg->cache))
		return err_set(err, rc, "%s: its file system has no direct I/O, which cache=none and cache=directsync need; "
					"use cache=writeback", cfg->path);
	if (!cfg->read_only && (rc == -EACCES || rc == -EPERM || rc == -EROFS))
		return err_set_errno(err, rc, "%s: cannot open it for writing (readonly=on needs no more than reading)", cfg->path);
	return err_set_errno(err, rc, "%s: cannot open it", cfg->path);
}

/* Kernels before 6.5 let a read-only block device be opened for writing, and then fail each write. */
static int device_open(const struct blk_file_config *cfg, int flags)
{
	int fd = blk_open(cfg->opener, cfg->path, flags), read_only = 0;

	if (fd >= 0 && (flags & O_ACCMODE) == O_RDWR && ioctl(fd, BLKROGET, &read_only) == 0 && read_only) {
		close(fd);
		return -EROFS;
	}
	return fd;
}

/* A descriptor of /dev/fdset/N, with what `flags` cannot say of one that is open already. */
static int given_open(const struct blk_file_config *cfg, int flags, struct err *err)
{
	int fd = fdsets_open(cfg->fds, cfg->path, flags & O_ACCMODE, err), fl, r;

	if (fd < 0)
		return fd;
	fl = fcntl(fd, F_GETFL);
	if (fl >= 0 && fcntl(fd, F_SETFL, (fl & ~O_DIRECT) | (flags & O_DIRECT)) == 0)
		return fd;
	r = say_open_error(cfg, -errno, err);
	fd_close(&fd);
	return r;
}

static int open_given(struct raw_file *file, const struct blk_file_config *cfg, int flags, struct err *err)
{
	file->read_only = cfg->read_only;
	file->fd = given_open(cfg, flags | (cfg->read_only ? O_RDONLY : O_RDWR), err);
	if (file->fd == -EACCES && cfg->auto_read_only && !cfg->read_only) {
		file->read_only = true;
		file->fd = given_open(cfg, flags | O_RDONLY, err);
	}
	return file->fd < 0 ? file->fd : 0;
}

static int open_by_name(struct raw_file *file, const struct blk_file_config *cfg, int flags, struct err *err)
{
	struct stat st;
	int fd;

	if (stat(cfg->path, &st) < 0)
		return err_set_errno(err, -errno, "%s: cannot open it", cfg->path);
	if (check_type(cfg->path, st.st_mode, err) < 0)
		return err->code;
	file->read_only = cfg->read_only;
	fd = device_open(cfg, flags | (cfg->read_only ? O_RDONLY : O_RDWR));
	if (cfg->auto_read_only && !cfg->read_only && (fd == -EACCES || fd == -EPERM || fd == -EROFS)) {
		file->read_only = true;
		fd = device_open(cfg, flags | O_RDONLY);
	}
	if (fd < 0)
		return say_open_error(cfg, fd, err);
	file->fd = fd;
	return 0;
}

/*
 * Looks at the type before opening, as that alone would wait for a FIFO's writer or rewind a tape, and again after, when it can no
 * longer change. O_NONBLOCK covers the time between, and must not stay: io_uring takes it at its word and gives -EAGAIN.
 */
static int file_open(struct raw_file *file, const struct blk_file_config *cfg, struct stat *st, struct err *err)
{
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (wants_direct(cfg->cache) ? O_DIRECT : 0);
	int r, fl;

	file->given = cfg->fds && fdset_is_path(cfg->path);
	r = file->given ? open_given(file, cfg, flags, err) : open_by_name(file, cfg, flags, err);
	if (r < 0)
		return r;
	if (fstat(file->fd, st) < 0)
		return err_set_errno(err, -errno, "%s: cannot look at it", cfg->path);
	if (check_type(cfg->path, st->st_mode, err) < 0)
		return err->code;
	fl = fcntl(file->fd, F_GETFL);
	if (fl < 0 || fcntl(file->fd, F_SETFL, fl & ~O_NONBLOCK) < 0)
		return err_set_errno(err, -errno, "%s: cannot make its descriptor wait", cfg->path);
	file->direct = wants_direct(cfg->cache);
	return 0;
}

static bool plausible_align(uint32_t align)
{
	return align != 0 && (align & (align - 1)) == 0 && align <= ALIGN_MAX;
}

/* The smallest length that a direct read takes, where the kernel does not tell. */
static uint32_t align_by_trying(int fd)
{
	uint32_t align = PROBE_MAX;
	void *buf;

	if (posix_memalign(&buf, PROBE_MAX, PROBE_MAX) != 0)
		return PROBE_MAX;
	for (uint32_t a = BLK_SECTOR; a < PROBE_MAX; a *= 2) {
		/* At the end of a file nothing is checked on some file systems, so nothing read proves nothing. */
		if (pread(fd, buf, a, 0) > 0) {
			align = a;
			break;
		}
	}
	free(buf);
	return align;
}

static int measure_direct(struct raw_file *file, const char *path, struct err *err)
{
	uint32_t align = 0, mem = 0;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 && (stx.stx_mask & STATX_DIOALIGN)) {
		if (stx.stx_dio_offset_align == 0)
			return err_set(err, -EINVAL, "%s: its file system has no direct I/O for it, which cache=none and cache=directsync need; "
						     "use cache=writeback", path);
		align = stx.stx_dio_offset_align;
		mem = stx.stx_dio_mem_align;
	}
#endif
	if (!plausible_align(align) || !plausible_align(mem))
		align = mem = file->block_device ? file->logical : align_by_trying(file->fd);
	file->align = (uint32_t)max_u64(align, BLK_SECTOR);
	file->mem_align = mem;
	(void)path, (void)err;
	return 0;
}

static int measure_block_device(struct raw_file *file, const char *path, struct err *err)
{
	unsigned physical = 0;
	int logical = 0;

	if (ioctl(file->fd, BLKGETSIZE64, &file->size) < 0)
		return err_set_errno(err, -errno, "%s: cannot find out its size", path);
	if (ioctl(file->fd, BLKSSZGET, &logical) < 0 || logical < BLK_SECTOR || !plausible_align((uint32_t)logical))
		logical = BLK_SECTOR;
	if (ioctl(file->fd, BLKPBSZGET, &physical) < 0 || physical < (unsigned)logical || !plausible_align(physical))
		physical = (unsigned)logical;
	file->logical = (uint32_t)logical;
	file->physical = physical;
	file->size = align_down(file->size, BLK_SECTOR);
	return 0;
}

/*
 * As with QEMU, a length that is not a whole number of sectors counts as the next one up: what is missing reads as zeroes, and a
 * write to the last sector completes the file. Not so with the larger blocks that direct I/O may demand: rounding up to those
 * would make the guest's disk grow by itself, so then the page cache is used.
 */
static int measure(struct raw_file *file, const struct blk_file_config *cfg, const struct stat *st, struct err *err)
{
	int rc = 0;

	file->block_device = S_ISBLK(st->st_mode);
	file->logical = 1;
	file->physical = BLK_SECTOR;
	file->align = file->mem_align = 1;
	if (file->block_device)
		rc = measure_block_device(file, cfg->path, err);
	else
		file->size = align_up((uint64_t)st->st_size, BLK_SECTOR);
	if (rc == 0 && file->direct)
		rc = measure_direct(file, cfg->path, err);
	if (rc < 0 || !file->direct)
		return rc;
	/* A format's file is no disk by itself: that it seems longer harms nobody. */
	if (cfg->grows && !file->block_device)
		file->size = align_up(file->size, file->align);
	if (file->size % file->align == 0) {
		file->physical = (uint32_t)max_u64(file->physical, file->align);
		return 0;
	}
	log_warn("%s: its length is not a multiple of %u bytes, as direct I/O needs there: it goes through the page cache", cfg->path,
		 file->align);
	file->direct = false;
	if (fcntl(file->fd, F_SETFL, fcntl(file->fd, F_GETFL) & ~O_DIRECT) < 0)
		return err_set_errno(err, -errno, "%s: cannot turn direct I/O off", cfg->path);
	file->align = file->mem_align = 1;
	return 0;
}

int raw_file_open(struct raw_file *file, const struct blk_file_config *cfg, struct err *err)
{
	struct stat st;
	int rc;

	*file = (struct raw_file){ .fd = -1 };
	rc = file_open(file, cfg, &st, err);
	if (rc == 0 && cfg->lock)
		rc = raw_lock(file->fd, cfg->path, file->read_only, err);
	/* Under the lock the size is the last owner's last word. */
	if (rc == 0 && fstat(file->fd, &st) < 0)
		rc = err_set_errno(err, -errno, "%s: cannot look at it", cfg->path);
	if (rc == 0)
		rc = measure(file, cfg, &st, err);
	if (rc < 0)
		raw_file_close(file);
	return rc;
}

void raw_file_close(struct raw_file *file)
{
	if (file->given && file->fd >= 0)
		raw_unlock(file->fd);
	fd_close(&file->fd);
}
