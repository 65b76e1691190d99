/* SPDX-License-Identifier: MIT */
/* Drives opened from a configuration, with real files and threads, and disks put on a bus that only counts them. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blk/blockdev.h"
#include "hw/pci.h"
#include "hw/virtio.h"
#include "vmm/arch.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/launch_disks.h"
#include "vmm/log.h"
#include "vmm/util.h"

/* ---- the machine ---- */

static struct device_env env;
static struct {
	struct virtio_dev *virtio;
	struct virtio_pci_config cfg;
	int bootindex;
} added[4];
static size_t n_added;
static bool bus_full;

const struct device_env *machine_env(struct machine *machine)
{
	(void)machine;
	return &env;
}

int machine_plug(struct machine *machine, struct virtio_dev *virtio, const struct virtio_pci_config *pci, struct err *e)
{
	(void)machine;
	if (bus_full) {
		virtio->ops->destroy(virtio);
		return err_set(e, -ENOSPC, "the bus is full");
	}
	added[n_added].virtio = virtio;
	added[n_added++].cfg = *pci;
	return 0;
}

int machine_boot_device(struct machine *machine, const struct virtio_dev *virtio, const struct machine_boot *boot, struct err *e)
{
	(void)machine, (void)e;
	ck_assert_ptr_eq(virtio, added[n_added - 1].virtio);
	ck_assert_str_eq(boot->unit, "disk@0,0");
	added[n_added - 1].bootindex = boot->bootindex;
	return 0;
}

/* ---- files ---- */

static char dir[] = "/tmp/kite-disks-XXXXXX", path[3][64];
static struct vm_config cfg;
static struct err err;

static void setup(void)
{
	const struct gm_range ram = { 0, MIB };

	log_set_level(LOG_LEVEL_ERROR);
	err = (struct err)ERR_INIT;
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	for (unsigned i = 0; i < 3; i++) {
		int fd;

		snprintf(path[i], sizeof(path[i]), "%s/%u", dir, i);
		fd = open(path[i], O_CREAT | O_RDWR, 0600);
		ck_assert_int_eq(ftruncate(fd, MIB), 0);
		close(fd);
	}
	env.mem = gm_create(&ram, 1, &err);
	config_init(&cfg);
	n_added = 0;
	bus_full = false;
}

static void teardown(void)
{
	for (unsigned i = 0; i < 3; i++)
		unlink(path[i]);
	rmdir(dir);
	config_fini(&cfg);
	gm_destroy((struct guest_mem *)env.mem);
}

static struct config_drive *drive(const char *id, const char *file)
{
	struct config_drive *d = &cfg.drives[cfg.n_drives++];

	*d = (struct config_drive){ .id = strdup(id), .image = { .path = strdup(file), .format = strdup("raw"), .lock = true } };
	return d;
}

static void set_format(struct config_drive *d, const char *format)
{
	free(d->image.format);
	d->image.format = format ? strdup(format) : NULL;
}

static void probed(const char *id, const char *file)
{
	set_format(drive(id, file), NULL);
}

static struct config_disk *disk(const char *id, const char *of)
{
	struct config_disk *d = &cfg.disks[cfg.n_disks++];

	*d = (struct config_disk){ .id = strdup(id), .drive = strdup(of), .queues = 1, .queue_size = 64, .vectors = -1,
				   .addr = CONFIG_ADDR_AUTO, .bootindex = -1 };
	return d;
}

static void write_head(const char *file, const char *head, size_t len)
{
	int fd = open(file, O_WRONLY);

	ck_assert_int_eq(pwrite(fd, head, len, 0), (ssize_t)len);
	close(fd);
}

static void assert_refused(const char *words)
{
	ck_assert_ptr_null(launch_disks_open(&cfg, NULL, &err));
	ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' lacks '%s'", err.msg, words);
}

START_TEST(test_nothing)
{
	struct launch_disks *d = launch_disks_open(&cfg, NULL, &err);

	ck_assert_ptr_nonnull(d);
	ck_assert_int_eq(launch_disks_add(d, NULL, &err), 0);
	launch_disks_close(d);
	launch_disks_close(NULL);
}
END_TEST

START_TEST(test_disks)
{
	struct launch_disks *d;
	struct config_disk *k;

	drive("a", path[0])->throttle.avg[CONFIG_IOPS_TOTAL] = 100;
	probed("b", path[1]);
	drive("unused", path[2])->image.aio_threads = true;
	cfg.iothreads[cfg.n_iothreads++].id = strdup("io0");
	k = disk("da", "a");
	k->iothread = strdup("io0");
	k = disk("db", "b");
	k->addr = 3 << 3;
	k->modern_only = true;
	d = launch_disks_open(&cfg, NULL, &err);
	ck_assert_msg(d != NULL, "%s", err.msg);
	ck_assert_msg(launch_disks_add(d, NULL, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(n_added, 2);
	/* The one with a place of its own first. */
	ck_assert_str_eq(added[0].virtio->name, "db");
	ck_assert_int_eq(added[0].cfg.devfn, PCI_DEVFN(3, 0));
	ck_assert_int_eq(added[0].bootindex, -1);
	ck_assert(added[0].cfg.modern_only);
	ck_assert_str_eq(added[1].virtio->name, "da");
	ck_assert_int_eq(added[1].cfg.devfn, PCI_ADDR_AUTO);
	ck_assert_int_eq(added[1].cfg.vectors, -1);
	ck_assert_ptr_ne(added[0].virtio->loop, added[1].virtio->loop);
	for (size_t i = 0; i < n_added; i++)
		added[i].virtio->ops->destroy(added[i].virtio);
	launch_disks_close(d);
}
END_TEST

START_TEST(test_bus_full)
{
	struct launch_disks *d;

	drive("a", path[0]);
	disk("da", "a");
	bus_full = true;
	d = launch_disks_open(&cfg, NULL, &err);
	ck_assert_msg(d != NULL, "%s", err.msg);
	ck_assert_int_eq(launch_disks_add(d, NULL, &err), -ENOSPC);
	ck_assert_str_eq(err.msg, "the bus is full");
	launch_disks_close(d);
}
END_TEST

START_TEST(test_probed)
{
	write_head(path[0], "LUKS\xba\xbe\0\1", 8);
	probed("a", path[0]);
	assert_refused("drive 'a': ");
	assert_refused("looks like the format 'luks', which is not supported; convert it: qemu-img convert -O qcow2");
	/* As it is, when the user says so. */
	set_format(&cfg.drives[0], "raw");
	launch_disks_close(launch_disks_open(&cfg, NULL, &err));
	/* Shorter than what is looked at, and empty. */
	set_format(&cfg.drives[0], NULL);
	ck_assert_int_eq(truncate(path[0], 512), 0);
	assert_refused("luks");
	ck_assert_int_eq(truncate(path[0], 0), 0);
	launch_disks_close(launch_disks_open(&cfg, NULL, &err));
}
END_TEST

static void zero_done(struct blk_req *req, int result)
{
	req->result = result;
}

/* Limits do not hold up a drain. */
static void write_and_drain(void *opaque)
{
	struct blockdev *bd = opaque;
	static struct blk_req reqs[10];

	for (unsigned i = 0; i < 10; i++) {
		reqs[i] = (struct blk_req){ .op = BLK_WRITE_ZEROES, .len = 512, .done = zero_done, .result = 1 };
		blockdev_submit(bd, &reqs[i]);
	}
	blockdev_drain(bd);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(reqs[i].result, 0);
}

/* Limits by -object, for a -blockdev and a -drive on different threads; an object without limits; a drive that has none. */
START_TEST(test_throttle_groups)
{
	struct launch_disks *d;

	cfg.throttle_groups[0].group = strdup("g");
	cfg.throttle_groups[0].avg[CONFIG_IOPS_TOTAL] = 10;
	cfg.throttle_groups[1].group = strdup("h");
	cfg.n_throttle_groups = 2;
	cfg.iothreads[cfg.n_iothreads++].id = strdup("io0");
	drive("a", path[0])->throttle.group = strdup("g");
	drive("b", path[1])->throttle.group = strdup("g");
	drive("c", path[2])->throttle.group = strdup("h");
	disk("da", "a")->iothread = strdup("io0");
	d = launch_disks_open(&cfg, NULL, &err);
	ck_assert_msg(d != NULL, "%s", err.msg);
	for (unsigned i = 0; i < 3; i++) {
		struct blockdev *bd = launch_disks_drive(d, cfg.drives[i].id);

		ck_assert_str_eq(bd->ops->format, "throttle");
		eventloop_call_sync(bd->loop, write_and_drain, bd);
	}
	ck_assert_ptr_null(launch_disks_drive(d, "x"));
	launch_disks_close(d);
	/* What QEMU refuses of a group is said of the drive. */
	cfg.throttle_groups[1].iops_size = 512;
	assert_refused("drive 'c': iops-size needs iops-total");
}
END_TEST

START_TEST(test_twice)
{
	char link_name[64];

	snprintf(link_name, sizeof(link_name), "%s/link", dir);
	ck_assert_int_eq(symlink(path[0], link_name), 0);
	drive("a", path[0]);
	drive("b", link_name);
	assert_refused("drives 'a' and 'b' are the same file, '");
	cfg.drives[1].image.read_only = true;
	assert_refused("the same file");
	cfg.drives[0].image.read_only = true;
	launch_disks_close(launch_disks_open(&cfg, NULL, &err));
	/* What ends with the machine takes no more than reading, either. */
	cfg.drives[0].image.read_only = cfg.drives[1].image.read_only = false;
	cfg.drives[0].snapshot = true;
	assert_refused("the same file");
	cfg.drives[1].snapshot = true;
	launch_disks_close(launch_disks_open(&cfg, NULL, &err));
	unlink(link_name);
}
END_TEST

START_TEST(test_missing)
{
	drive("a", path[0]);
	drive("b", "/nonexistent/disk.img");
	assert_refused("drive 'b': /nonexistent/disk.img: cannot open it: No such file or directory");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("launch_disks");
	TCase *tc = tcase_create("launch_disks");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_nothing);
	tcase_add_test(tc, test_disks);
	tcase_add_test(tc, test_bus_full);
	tcase_add_test(tc, test_probed);
	tcase_add_test(tc, test_throttle_groups);
	tcase_add_test(tc, test_twice);
	tcase_add_test(tc, test_missing);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
