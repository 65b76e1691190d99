/* SPDX-License-Identifier: MIT */
#include "blk/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "blk/blockdev.h"
#include "blk/qcow2.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define DEFAULT_DIR "/var/tmp"
#define PATH_ROOM 4096

static const char *temp_dir(void)
{
	const char *dir = getenv("TMPDIR");

	return dir && *dir ? dir : DEFAULT_DIR;
}

/* Where the file system makes no files without a name (NFS, some FUSE), the name is taken away at once. */
static int temp_file(const char *dir)
{
	char path[PATH_ROOM];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	if (snprintf(path, sizeof(path), "%s/kite-XXXXXX", dir) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static int say_no_file(const char *below, const char *dir, int rc, struct err *err)
{
	return err_set_errno(err, rc, "%s: cannot make a temporary file for changes in '%s' (set TMPDIR to where there is room)", below, dir);
}

/* The file as a device of the name that messages use. What a process loses by dying need not reach the disk, so nothing is flushed. */
static struct blockdev *temp_open(const char *below, const struct overlay_config *cfg, struct err *err)
{
	const char *dir = temp_dir();
	int fd = temp_file(dir);
	struct err why = ERR_INIT;
	struct blockdev *file;
	char path[32], *name;
	struct blk_file_config file_cfg = {
		.path = path,
		.cache = BLK_CACHE_UNSAFE,
		.discard = cfg->discard ? BLK_DISCARD_UNMAP : BLK_DISCARD_IGNORE,
		.grows = true,
		.uring = cfg->uring,
		.loop = cfg->loop,
	};

	if (fd < 0) {
		say_no_file(below, dir, -errno, err);
		return NULL;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	file = raw_open(&file_cfg, &why);
	if (!file)
		say_no_file(below, dir, why.code, err);
	fd_close(&fd);
	if (!file)
		return NULL;
	if (asprintf(&name, "%s, its temporary changes in %s", below, dir) >= 0) {
		free(file->name);
		file->name = name;
	}
	return file;
}

struct blockdev *overlay_create(struct blockdev *below, const struct overlay_config *cfg, struct err *err)
{
	struct qcow2_create_config make = { .size = below->size };
	struct qcow2_open_config how = { .detect_zeroes = cfg->detect_zeroes,
					 .discard = cfg->discard ? BLK_DISCARD_UNMAP : BLK_DISCARD_IGNORE };
	struct blockdev *file = temp_open(below->name, cfg, err), *bd, *old;

	if (!file)
		return NULL;
	bd = qcow2_create(file, &make, err) == 0 ? qcow2_open(file, &how, err) : NULL;
	if (!bd)
		blockdev_close(file);
	else
		qcow2_set_backing(bd, below, &old);
	return bd;
}
