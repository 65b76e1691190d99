/* SPDX-License-Identifier: MIT */
#include "vmm/launch_disks.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blk/blockdev.h"
#include "blk/throttle.h"
#include "hw/pci.h"
#include "hw/virtio.h"
#include "vmm/arch.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/fdset.h"
#include "vmm/file_opener.h"
#include "vmm/iothread.h"
#include "vmm/launch_image.h"
#include "vmm/uring.h"
#include "vmm/util.h"

#define COMMON_NAME "disks"
#define CLASS_STORAGE UINT32_C(0x010000)

/* A thread, and what its files share. */
struct disk_thread {
	struct iothread *thread; /* NULL: not started */
	struct image_host host;
};

struct launch_disks {
	const struct vm_config *cfg;
	const struct fdsets *fds;
	struct disk_thread threads[CONFIG_MAX_IOTHREADS]; /* as cfg->iothreads */
	struct disk_thread common;
	struct blockdev *drives[CONFIG_MAX_DRIVES]; /* as cfg->drives */
	struct throttle_group *groups[CONFIG_MAX_DRIVES]; /* the same; NULL: no limits */
};

static_assert((int)CONFIG_BPS_TOTAL == (int)THROTTLE_BPS_TOTAL && (int)CONFIG_BPS_READ == (int)THROTTLE_BPS_READ &&
		      (int)CONFIG_BPS_WRITE == (int)THROTTLE_BPS_WRITE && (int)CONFIG_IOPS_TOTAL == (int)THROTTLE_IOPS_TOTAL &&
		      (int)CONFIG_IOPS_READ == (int)THROTTLE_IOPS_READ && (int)CONFIG_IOPS_WRITE == (int)THROTTLE_IOPS_WRITE &&
		      (int)CONFIG_LIMITS == (int)THROTTLE_KINDS,
	      "the same order");
static_assert((int)CONFIG_ERROR_REPORT == (int)VIRTIO_BLK_REPORT && (int)CONFIG_ERROR_IGNORE == (int)VIRTIO_BLK_IGNORE &&
		      (int)CONFIG_ERROR_ENOSPC == (int)VIRTIO_BLK_ENOSPC && (int)CONFIG_ERROR_STOP == (int)VIRTIO_BLK_STOP,
	      "the same order");
static_assert(CONFIG_MAX_SERIAL_NUMBER == VIRTIO_BLK_SERIAL_MAX, "what a disk has room for");

/* ---- opening; on the drive's loop ---- */

struct open_job {
	struct disk_thread *thread;
	const struct config_drive *drive;
	struct throttle_group *group; /* NULL: none */
	struct err *err;
	struct blockdev *bd; /* the result */
};

static void open_on_loop(void *arg, struct file_opener *opener)
{
	const struct blk_opener by_main = { .open = file_opener_open, .opaque = opener };
	struct open_job *job = arg;
	struct image_host *host = &job->thread->host;

	host->opener = &by_main;
	job->bd = launch_image_open(host, job->drive, job->group, job->err);
	host->opener = NULL;
}

/* ---- threads ---- */

static int thread_start(struct disk_thread *t, const char *name, uint64_t poll_max_ns, struct err *err)
{
	t->thread = iothread_create(name, poll_max_ns, err);
	if (!t->thread)
		return err->code;
	t->host.loop = iothread_loop(t->thread);
	return 0;
}

/* The thread of that name; NULL with `err` when the common one (`name` NULL) cannot be started. cli_parse has checked that every name exists. */
static struct disk_thread *thread_named(struct launch_disks *d, const char *name, struct err *err)
{
	for (size_t i = 0; name && i < d->cfg->n_iothreads; i++)
		if (!strcmp(d->cfg->iothreads[i].id, name))
			return &d->threads[i];
	assert(!name);
	if (!d->common.thread && thread_start(&d->common, COMMON_NAME, IOTHREAD_POLL_NS, err) < 0)
		return NULL;
	return &d->common;
}

static void close_urings(void *arg)
{
	struct disk_thread *t = arg;

	for (size_t i = 0; i < ARRAY_SIZE(t->host.urings); i++)
		if (t->host.urings[i])
			uring_destroy(t->host.urings[i]);
}

static void thread_end(struct disk_thread *t)
{
	if (!t->thread)
		return;
	eventloop_call_sync(iothread_loop(t->thread), close_urings, t);
	iothread_destroy(t->thread);
}

/* ---- drives ---- */

static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	if (fdset_is_path(a) && !strcmp(a, b))
		return true;
	if (stat(a, &sa) < 0 || stat(b, &sb) < 0)
		return false;
	if (S_ISBLK(sa.st_mode) && S_ISBLK(sb.st_mode))
		return sa.st_rdev == sb.st_rdev;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static bool only_reads(const struct config_drive *drive)
{
	return drive->image.read_only || drive->snapshot;
}

/* Said here in words about drives; the file's lock would name this very process. */
static int check_twice(const struct vm_config *cfg, size_t i, struct err *err)
{
	const struct config_drive *drive = &cfg->drives[i];

	for (const struct config_drive *other = cfg->drives; other < drive; other++)
		if (other->image.path && !(only_reads(drive) && only_reads(other)) && drive->image.lock && other->image.lock &&
		    same_file(drive->image.path, other->image.path))
			return err_set(err, -EBUSY, "drives '%s' and '%s' are the same file, '%s', and not both read-only; give each its own",
				       other->id, drive->id, err_show(drive->image.path).s);
	return 0;
}

static bool has_limits(const struct config_throttle *t)
{
	for (unsigned i = 0; i < CONFIG_LIMITS; i++)
		if (t->avg[i])
			return true;
	return false;
}

static bool same_group(const struct config_drive *a, const struct config_drive *b)
{
	return a == b || (a->throttle.group && b->throttle.group && !strcmp(a->throttle.group, b->throttle.group));
}

/* The -object of that name; NULL: none. */
static const struct config_throttle *group_object(const struct vm_config *cfg, const char *name)
{
	for (size_t i = 0; name && i < cfg->n_throttle_groups; i++)
		if (!strcmp(cfg->throttle_groups[i].group, name))
			return &cfg->throttle_groups[i];
	return NULL;
}

static bool has_qmp(const struct vm_config *cfg)
{
	for (size_t i = 0; i < cfg->n_monitors; i++)
		if (!cfg->monitors[i].human)
			return true;
	return false;
}

/*
 * Finds or makes the drive's throttle group. The last of a group that gives limits gives them to all, as in QEMU; those of an -object are
 * given first.
 */
static int join_group(struct launch_disks *d, size_t i, struct err *err)
{
	const struct config_drive *drives = d->cfg->drives;
	const struct config_throttle *limits = group_object(d->cfg, drives[i].throttle.group);
	static const struct config_throttle none;
	struct throttle_config cfg = { .iops_size = 0 };

	for (size_t j = 0; j < d->cfg->n_drives; j++) {
		if (!same_group(&drives[i], &drives[j]))
			continue;
		if (d->groups[j]) {
			d->groups[i] = throttle_group_ref(d->groups[j]);
			return 0;
		}
		if (has_limits(&drives[j].throttle))
			limits = &drives[j].throttle;
	}
	/* A monitor may set some later. */
	if (!limits && !has_qmp(d->cfg))
		return 0;
	if (!limits)
		limits = &none;
	cfg.iops_size = limits->iops_size;
	for (unsigned k = 0; k < CONFIG_LIMITS; k++)
		cfg.limits[k] = (struct throttle_limit){
			.avg = limits->avg[k],
			.max = limits->max[k],
			.max_length = (uint32_t)limits->length[k],
		};
	d->groups[i] = throttle_group_create(&cfg, err);
	return d->groups[i] ? 0 : err_prefix(err, "drive '%s'", drives[i].id);
}

/* Opens what the job says as drive `i`. Files are opened by this thread, as the loop's may be in the sandbox. */
static int open_as(struct launch_disks *d, size_t i, struct open_job *job)
{
	job->group = d->groups[i];
	job->thread = thread_named(d, config_drive_iothread(d->cfg, d->cfg->drives[i].id), job->err);
	if (!job->thread)
		return job->err->code;
	job->thread->host.fds = d->fds;
	file_opener_call(iothread_loop(job->thread->thread), open_on_loop, job);
	d->drives[i] = job->bd;
	return job->bd ? 0 : job->err->code;
}

static int open_drive(struct launch_disks *d, size_t i, struct err *err)
{
	struct open_job job = { .drive = &d->cfg->drives[i], .err = err };

	if (join_group(d, i, err) < 0)
		return err->code;
	if (!job.drive->image.path)
		return 0;
	if (check_twice(d->cfg, i, err) < 0)
		return err->code;
	return open_as(d, i, &job);
}

static void close_drive(void *arg)
{
	blockdev_close(arg);
}

struct launch_disks *launch_disks_open(const struct vm_config *cfg, const struct fdsets *fds, struct err *err)
{
	struct launch_disks *d = calloc(1, sizeof(*d));
	int r = 0;

	if (!d) {
		err_set(err, -ENOMEM, "no memory for disks");
		return NULL;
	}
	d->cfg = cfg;
	d->fds = fds;
	for (size_t i = 0; r == 0 && i < cfg->n_iothreads; i++)
		r = thread_start(&d->threads[i], cfg->iothreads[i].id, cfg->iothreads[i].poll_max_ns, err);
	for (size_t i = 0; r == 0 && i < cfg->n_drives; i++)
		r = open_drive(d, i, err);
	if (r < 0) {
		launch_disks_close(d);
		return NULL;
	}
	return d;
}

void launch_disks_close(struct launch_disks *d)
{
	if (!d)
		return;
	for (size_t i = d->cfg->n_drives; i-- > 0;)
		if (d->drives[i])
			eventloop_call_sync(d->drives[i]->loop, close_drive, d->drives[i]);
	for (size_t i = 0; i < d->cfg->n_drives; i++)
		throttle_group_unref(d->groups[i]);
	thread_end(&d->common);
	for (size_t i = d->cfg->n_iothreads; i-- > 0;)
		thread_end(&d->threads[i]);
	free(d);
}

struct blockdev *launch_disks_drive(const struct launch_disks *d, const char *id)
{
	for (size_t i = 0; i < d->cfg->n_drives; i++)
		if (!strcmp(d->cfg->drives[i].id, id))
			return d->drives[i];
	return NULL;
}

struct thread_call {
	int (*fn)(void *opaque, const char *iothread, struct eventloop *loop, struct err *err);
	void *opaque;
	struct disk_thread *thread;
	const char *iothread;
	struct err *err;
	int result;
};

static void call_on_thread(void *arg)
{
	struct thread_call *call = arg;
	struct image_host *host = &call->thread->host;

	call->result = call->fn(call->opaque, call->iothread, host->loop, call->err);
	for (size_t i = 0; call->result == 0 && i < ARRAY_SIZE(host->urings); i++) {
		call->result = host->urings[i] ? uring_renew(host->urings[i]) : 0;
		if (call->result < 0)
			err_set_errno(call->err, call->result, "cannot start a thread for file I/O");
	}
}

int launch_disks_on_threads(struct launch_disks *d, int (*fn)(void *opaque, const char *iothread, struct eventloop *loop, struct err *err),
			    void *opaque, struct err *err)
{
	struct thread_call call = { .fn = fn, .opaque = opaque, .err = err };

	for (size_t i = 0; call.result == 0 && i <= d->cfg->n_iothreads; i++) {
		call.thread = i < d->cfg->n_iothreads ? &d->threads[i] : &d->common;
		call.iothread = i < d->cfg->n_iothreads ? d->cfg->iothreads[i].id : NULL;
		if (call.thread->thread)
			eventloop_call_sync(call.thread->host.loop, call_on_thread, &call);
	}
	return call.result;
}

static struct throttle_group *group_of(const struct launch_disks *d, const char *id)
{
	for (size_t i = 0; i < d->cfg->n_drives; i++)
		if (!strcmp(d->cfg->drives[i].id, id))
			return d->groups[i];
	return NULL;
}

void launch_disks_limits(const struct launch_disks *d, const char *id, struct throttle_config *limits)
{
	struct throttle_group *group = group_of(d, id);

	*limits = (struct throttle_config){ .iops_size = 0 };
	if (group)
		throttle_group_get(group, limits);
}

int launch_disks_set_limits(struct launch_disks *d, const char *id, const struct throttle_config *limits, struct err *err)
{
	struct throttle_group *group = group_of(d, id);

	if (!group)
		return err_set(err, -ENOTSUP, "drive '%s' was started without limits, and cannot be given any", id);
	return throttle_group_set(group, limits, err);
}

int launch_disks_iothread_tid(const struct launch_disks *d, size_t i)
{
	return iothread_tid(d->threads[i].thread);
}

struct eventloop *launch_disks_loop(struct launch_disks *d, const char *iothread, struct err *err)
{
	struct disk_thread *thread = thread_named(d, iothread, err);

	return thread ? iothread_loop(thread->thread) : NULL;
}

/* ---- commit ---- */

struct commit_job {
	struct disk_thread *thread;
	const struct config_drive *drive;
	struct blockdev *bd;
	struct err *err;
	int result;
};

static void commit_on_loop(void *arg, struct file_opener *opener)
{
	const struct blk_opener by_main = { .open = file_opener_open, .opaque = opener };
	struct commit_job *job = arg;
	struct image_host *host = &job->thread->host;

	host->opener = &by_main;
	job->result = launch_image_commit(host, job->drive, job->bd, job->err);
	host->opener = NULL;
}

int launch_disks_commit(struct launch_disks *d, size_t i, struct err *err)
{
	struct commit_job job = { .drive = &d->cfg->drives[i], .bd = d->drives[i], .err = err };

	if (!job.bd)
		return err_set(err, -ENOENT, "there is nothing in drive '%s'", job.drive->id);
	job.thread = thread_named(d, config_drive_iothread(d->cfg, job.drive->id), err);
	if (!job.thread)
		return err->code;
	file_opener_call(job.bd->loop, commit_on_loop, &job);
	if (job.result < 0)
		file_opener_explain(d->cfg->sandbox.on, err);
	return job.result < 0 ? err_prefix(err, "drive '%s'", job.drive->id) : 0;
}

/* ---- media that are changed ---- */

static size_t index_of(const struct launch_disks *d, const char *id)
{
	size_t i = 0;

	while (i < d->cfg->n_drives && strcmp(d->cfg->drives[i].id, id))
		i++;
	assert(i < d->cfg->n_drives);
	return i;
}

struct blockdev *launch_disks_open_medium(struct launch_disks *d, const char *id, const struct config_image *image, struct err *err)
{
	size_t i = index_of(d, id);
	struct config_drive drive = { .id = d->cfg->drives[i].id, .image = *image };
	struct open_job job = { .drive = &drive, .err = err };

	assert(!d->drives[i]);
	open_as(d, i, &job);
	return d->drives[i];
}

void launch_disks_close_medium(struct launch_disks *d, const char *id)
{
	size_t i = index_of(d, id);

	if (d->drives[i])
		eventloop_call_sync(d->drives[i]->loop, close_drive, d->drives[i]);
	d->drives[i] = NULL;
}

/* ---- devices ---- */

static int add_disk(const struct launch_disks *d, const struct config_disk *disk, struct machine *machine, struct err *err)
{
	struct blockdev *bd = launch_disks_drive(d, disk->drive);
	const struct virtio_blk_config cfg = {
		.name = disk->id,
		.bd = bd,
		.serial = disk->serial,
		.queues = disk->queues,
		.queue_size = (uint16_t)disk->queue_size,
		.logical_block = (uint32_t)disk->logical_block,
		.physical_block = (uint32_t)disk->physical_block,
		.write_cache = disk->write_cache == CONFIG_AUTO ? bd->write_cache : disk->write_cache == CONFIG_ON,
		.config_wce = disk->config_wce,
		.discard = disk->discard,
		.write_zeroes = disk->write_zeroes,
		.read_error = (enum virtio_blk_on_error)disk->rerror,
		.write_error = (enum virtio_blk_on_error)disk->werror,
	};
	const struct virtio_pci_config pci = {
		.devfn = disk->addr == CONFIG_ADDR_AUTO ? PCI_ADDR_AUTO : disk->addr,
		.modern_only = disk->modern_only,
		.legacy_only = disk->legacy_only,
		.vectors = disk->vectors,
		.class_code = CLASS_STORAGE,
	};
	const struct machine_boot boot = { .name = disk->id, .unit = "disk@0,0", .bootindex = disk->bootindex };
	struct virtio_dev *virtio = virtio_blk_create(machine_env(machine), &cfg, err);

	if (!virtio || machine_plug(machine, virtio, &pci, err) < 0)
		return err->code;
	return machine_boot_device(machine, virtio, &boot, err);
}

int launch_disks_add(struct launch_disks *d, struct machine *machine, struct err *err)
{
	/* Those that ask for a place come first, so that no other happens to be there. */
	for (int fixed = 1; fixed >= 0; fixed--)
		for (size_t i = 0; i < d->cfg->n_disks; i++) {
			const struct config_disk *disk = &d->cfg->disks[i];

			if ((disk->addr != CONFIG_ADDR_AUTO) == fixed && add_disk(d, disk, machine, err) < 0)
				return err->code;
		}
	return 0;
}
