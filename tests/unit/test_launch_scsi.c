/* SPDX-License-Identifier: MIT */
/* SCSI adapters made from command lines, with real files and threads, on a bus that only counts them; trays and media. */
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
#include "tests/unit/fake_cli.h"
#include "tests/unit/suite.h"
#include "vmm/arch.h"
#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/guest_mem.h"
#include "vmm/launch_disks.h"
#include "vmm/launch_scsi.h"
#include "vmm/log.h"
#include "vmm/util.h"

/* ---- the machine ---- */

static struct device_env env;
static struct virtio_dev *added[4];
static int places[4];
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
	places[n_added] = pci->devfn;
	added[n_added++] = virtio;
	return 0;
}

static struct {
	char unit[32];
	int bootindex;
} booted[4];
static size_t n_booted;

int machine_boot_device(struct machine *machine, const struct virtio_dev *virtio, const struct machine_boot *boot, struct err *e)
{
	(void)machine, (void)e;
	ck_assert_ptr_eq(virtio, added[n_added - 1]);
	snprintf(booted[n_booted].unit, sizeof(booted[0].unit), "%s", boot->unit);
	booted[n_booted++].bootindex = boot->bootindex;
	return 0;
}

/* ---- files ---- */

static char dir[] = "/tmp/kite-scsi-XXXXXX", path[3][64];
static struct vm_config cfg;
static struct launch_disks *disks;
static struct launch_scsi scsi;
static struct err err;

static void scsi_setup(void)
{
	const struct gm_range ram = { 0, MIB };

	log_set_level(LOG_LEVEL_NONE);
	err = (struct err)ERR_INIT;
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	for (unsigned i = 0; i < 3; i++) {
		int fd;

		snprintf(path[i], sizeof(path[i]), "%s/%u", dir, i);
		fd = open(path[i], O_CREAT | O_RDWR, 0600);
		ck_assert_int_eq(ftruncate(fd, (i + 1) * (off_t)MIB), 0);
		close(fd);
	}
	env.mem = gm_create(&ram, 1, &err);
	config_init(&cfg);
	scsi = (struct launch_scsi){ .cfg = NULL };
	disks = NULL;
	n_added = n_booted = 0;
	bus_full = false;
}

static void scsi_teardown(void)
{
	for (size_t i = 0; i < n_added; i++)
		added[i]->ops->destroy(added[i]);
	launch_disks_close(disks);
	for (unsigned i = 0; i < 3; i++)
		unlink(path[i]);
	rmdir(dir);
	config_fini(&cfg);
	gm_destroy((struct guest_mem *)env.mem);
}

/* Brings up what the line says, in which '@' is the first file. */
static int start(const char *text)
{
	size_t before = strcspn(text, "@");
	enum cli_action action;
	char line[1024];
	struct fake_cli w;

	snprintf(line, sizeof(line), "%.*s%s%s", (int)before, text, text[before] ? path[0] : "", text[before] ? text + before + 1 : "");
	fake_cli_split(&w, "-nodefaults -kernel K", line);
	ck_assert_msg(cli_parse(w.n, w.v, &cfg, &action, &err) == 0, "%s", err.msg);
	disks = launch_disks_open(&cfg, NULL, &err);
	ck_assert_msg(disks != NULL, "%s", err.msg);
	if (launch_scsi_add(&scsi, NULL, &cfg, disks, true, &err) < 0)
		return err.code;
	return launch_scsi_add(&scsi, NULL, &cfg, disks, false, &err);
}

static void look(const char *id, bool open, bool medium)
{
	struct launch_scsi_tray tray;

	ck_assert_msg(launch_scsi_look(&scsi, id, &tray, &err) == 0, "%s", err.msg);
	ck_assert(tray.open == open && tray.medium == medium && !tray.locked);
}

#define REFUSED(code_, words, call)                                                                   \
	do {                                                                                          \
		err = (struct err)ERR_INIT;                                                           \
		ck_assert_int_eq(call, code_);                                                        \
		ck_assert_int_eq(err.code, code_);                                                    \
		ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' lacks '%s'", err.msg, words);     \
		err = (struct err)ERR_INIT;                                                           \
	} while (0)

START_TEST(test_adapters)
{
	ck_assert_int_eq(start("-object iothread,id=io -device virtio-scsi-pci,id=a -device virtio-scsi-pci,id=b,addr=5,iothread=io "
			       "-drive if=none,id=d,file=@,format=raw -device scsi-hd,drive=d,bus=b.0 -device scsi-cd,bus=b.0,id=cd"), 0);
	ck_assert_uint_eq(n_added, 2);
	ck_assert_str_eq(added[0]->name, "b"); /* the one with a place of its own first */
	ck_assert_int_eq(places[0], PCI_DEVFN(5, 0));
	ck_assert_int_eq(places[1], PCI_ADDR_AUTO);
	ck_assert_ptr_ne(added[0]->loop, added[1]->loop);
	ck_assert_ptr_eq(added[0]->loop, launch_disks_drive(disks, "d")->loop);
	ck_assert_uint_eq(added[0]->id, VIRTIO_ID_SCSI);
	look("cd", false, false);
}
END_TEST

START_TEST(test_boot)
{
	ck_assert_int_eq(start("-device virtio-scsi-pci,id=a -device virtio-scsi-pci,id=b -drive if=none,id=d,file=@,format=raw "
			       "-device scsi-cd,bus=b.0,scsi-id=200,lun=17,bootindex=3 -device scsi-hd,drive=d,bus=a.0"), 0);
	ck_assert_uint_eq(n_booted, 2);
	ck_assert_str_eq(booted[0].unit, "channel@0/disk@0,0");
	ck_assert_int_eq(booted[0].bootindex, -1);
	ck_assert_str_eq(booted[1].unit, "channel@0/disk@c8,11");
	ck_assert_int_eq(booted[1].bootindex, 3);
}
END_TEST

START_TEST(test_nothing)
{
	struct launch_scsi_tray tray;

	REFUSED(-ENOENT, "no device or drive 'x'", launch_scsi_look(&scsi, "x", &tray, &err));
	ck_assert_int_eq(start("-drive if=none,id=d,file=@,format=raw"), 0);
	REFUSED(-ENOENT, "no device or drive 'd'", launch_scsi_eject(&scsi, "d", true, &err));
}
END_TEST

START_TEST(test_failures)
{
	bus_full = true;
	ck_assert_int_eq(start("-drive if=none,id=d,file=@,format=raw -device virtio-scsi-pci -device scsi-hd,drive=d"), -ENOSPC);
	ck_assert_str_eq(err.msg, "the bus is full");
}
END_TEST

START_TEST(test_bad_unit)
{
	ck_assert_int_eq(start("-drive if=none,id=d,file=@,format=raw -device virtio-scsi-pci -device scsi-hd,drive=d,serial=\x80"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.msg, "scsi0-0-0: serial"));
}
END_TEST

/* What looks like an image of another format is a CD all the same. */
static void look_like_qcow2(const char *file)
{
	int fd = open(file, O_WRONLY);

	ck_assert_int_eq(pwrite(fd, "QFI\xfb\0\0\0\3", 8, 0), 8);
	close(fd);
}

START_TEST(test_media)
{
	look_like_qcow2(path[0]);
	look_like_qcow2(path[1]);
	ck_assert_int_eq(start("-device virtio-scsi-pci,id=a -device scsi-cd,id=cd,drive=c -drive if=none,id=c,file=@"), 0);
	look("cd", false, true);
	ck_assert(launch_disks_drive(disks, "c")->read_only);
	/* another one, by the device's id and by the drive's */
	ck_assert_msg(launch_scsi_change(&scsi, "cd", path[1], NULL, false, &err) == 0, "%s", err.msg);
	look("c", false, true);
	ck_assert_uint_eq(launch_disks_drive(disks, "c")->size, 2 * MIB);
	ck_assert(launch_disks_drive(disks, "c")->read_only);
	ck_assert_str_eq(launch_disks_drive(disks, "c")->ops->format, "raw");
	/* step by step */
	REFUSED(-EBUSY, "the tray of 'c' is closed; open it first", launch_scsi_remove_medium(&scsi, "c", &err));
	REFUSED(-EBUSY, "the tray of 'c' is closed; open it first", launch_scsi_insert_medium(&scsi, "c", &cfg.drives[0].image, &err));
	ck_assert_int_eq(launch_scsi_open_tray(&scsi, "c", false, &err), 0);
	look("c", true, true);
	REFUSED(-EBUSY, "the tray of 'c' is not empty", launch_scsi_insert_medium(&scsi, "c", &cfg.drives[0].image, &err));
	ck_assert_int_eq(launch_scsi_remove_medium(&scsi, "c", &err), 0);
	ck_assert_ptr_null(launch_disks_drive(disks, "c"));
	ck_assert_int_eq(launch_scsi_insert_medium(&scsi, "c", &cfg.drives[0].image, &err), 0);
	ck_assert_int_eq(launch_scsi_close_tray(&scsi, "c", &err), 0);
	ck_assert_uint_eq(launch_disks_drive(disks, "c")->size, MIB);
	/* one that cannot be opened: the old one is gone, the tray open */
	REFUSED(-ENOENT, "No such file", launch_scsi_change(&scsi, "cd", "/nonexistent/cd.iso", NULL, false, &err));
	look("cd", true, false);
	REFUSED(err.code ? err.code : -EINVAL, "qcow2", launch_scsi_change(&scsi, "cd", path[2], "qcow2", false, &err));
	ck_assert_int_eq(launch_scsi_change(&scsi, "cd", path[2], "raw", false, &err), 0);
	look("cd", false, true);
	ck_assert_int_eq(launch_scsi_eject(&scsi, "cd", false, &err), 0);
	look("cd", true, false);
	ck_assert_int_eq(launch_scsi_eject(&scsi, "cd", false, &err), 0);
}
END_TEST

START_TEST(test_fixed)
{
	struct launch_scsi_tray tray;

	ck_assert_int_eq(start("-device virtio-scsi-pci -device scsi-hd,id=h,drive=d -drive if=none,id=d,file=@,format=raw"), 0);
	REFUSED(-ENOTSUP, "the medium of 'h' cannot be changed", launch_scsi_eject(&scsi, "h", true, &err));
	REFUSED(-ENOTSUP, "not removable", launch_scsi_change(&scsi, "d", path[1], NULL, true, &err));
	REFUSED(-ENOTSUP, "not removable", launch_scsi_look(&scsi, "d", &tray, &err));
	REFUSED(-ENOTSUP, "not removable", launch_scsi_insert_medium(&scsi, "d", &cfg.drives[0].image, &err));
	ck_assert_uint_eq(launch_disks_drive(disks, "d")->size, MIB);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_adapters, test_boot, test_nothing, test_failures, test_bad_unit, test_media, test_fixed };

	return suite_run("launch_scsi", tests, ARRAY_SIZE(tests), scsi_setup, scsi_teardown);
}
