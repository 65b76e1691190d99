/* SPDX-License-Identifier: MIT */
/* The command line of SCSI: what it configures, and what it refuses, in which words. */
#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_cli.h"
#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/util.h"

struct text {
	char s[4096];
	size_t n;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->s + t->n, sizeof(t->s) - t->n, fmt, ap);
	va_end(ap);
	ck_assert_uint_lt(t->n, sizeof(t->s));
}

static void put_text(struct text *t, const char *key, const char *value)
{
	if (value)
		put(t, " %s=%s", key, value);
}

/* What differs from the defaults of a machine with two vCPUs. */
static void show_adapter(struct text *t, const struct config_scsi *s)
{
	put(t, " <%s", s->id);
	put_text(t, "io", s->iothread);
	if (s->queues != 2 || s->queue_size != 256)
		put(t, " q=%ux%u", s->queues, s->queue_size);
	if (s->max_sectors != 65535 || s->cmd_per_lun != 128)
		put(t, " max=%" PRIu64 "/%" PRIu64, s->max_sectors, s->cmd_per_lun);
	if (s->pci.vectors != -1)
		put(t, " vectors=%d", s->pci.vectors);
	if (s->pci.addr != CONFIG_ADDR_AUTO)
		put(t, " at=%d.%d", s->pci.addr >> 3, s->pci.addr & 7);
	put(t, "%s%s>", s->pci.modern_only ? " modern" : "", s->pci.legacy_only ? " legacy" : "");
}

static void show_unit(struct text *t, const struct vm_config *cfg, const struct config_scsi_unit *u)
{
	static const char *const errors[] = { "", "=ignore", "=enospc", "=stop" };

	put(t, " %s[%s %s:%u:%u", u->cd ? "cd" : "hd", u->id, cfg->scsis[u->scsi].id, u->target, u->lun);
	put_text(t, "drive", u->drive);
	put_text(t, "serial", u->serial);
	put_text(t, "vendor", u->vendor);
	put_text(t, "product", u->product);
	put_text(t, "ver", u->version);
	put_text(t, "device_id", u->device_id);
	if (u->wwn)
		put(t, " wwn=%" PRIx64, u->wwn);
	if (u->logical_block || u->physical_block)
		put(t, " blocks=%" PRIu64 "/%" PRIu64, u->logical_block, u->physical_block);
	if (u->removable != u->cd)
		put(t, " removable");
	if (u->rotation_rate)
		put(t, " rate=%u", u->rotation_rate);
	if (u->write_cache != CONFIG_AUTO)
		put(t, " wce=%s", u->write_cache == CONFIG_ON ? "on" : "off");
	if (u->rerror)
		put(t, " rerror%s", errors[u->rerror]);
	if (u->werror)
		put(t, " werror%s", errors[u->werror]);
	if (u->bootindex >= 0)
		put(t, " boot=%d", u->bootindex);
	put(t, "]");
}

static void show(struct text *t, const struct vm_config *cfg)
{
	t->n = 0;
	t->s[0] = '\0';
	for (size_t i = 0; i < cfg->n_drives; i++) {
		const struct config_image *image = &cfg->drives[i].image;

		put(t, " %s=%s:%s%s", cfg->drives[i].id, image->path ? image->path : "", image->format ? image->format : "?",
		    image->read_only ? "+ro" : "");
	}
	for (size_t i = 0; i < cfg->n_disks; i++)
		put(t, " disk[%s]", cfg->disks[i].drive);
	for (size_t i = 0; i < cfg->n_scsis; i++)
		show_adapter(t, &cfg->scsis[i]);
	for (size_t i = 0; i < cfg->n_scsi_units; i++)
		show_unit(t, cfg, &cfg->scsi_units[i]);
}

#define PREFIX "-nodefaults -kernel K -smp 2"
#define D "-drive if=none,id=d,file=D,format=raw "
#define E "-drive if=none,id=e,file=E,format=raw "
#define DE " d=D:raw e=E:raw"

static const struct {
	const char *line, *expected;
} good[] = {
	/* adapters */
	{ "-device virtio-scsi-pci", " <scsi0>" },
	{ "-device virtio-scsi-pci -device virtio-scsi,id=scsi0", " <scsi1> <scsi0>" },
	{ "-object iothread,id=io -device virtio-scsi-pci,id=a,num_queues=5,virtqueue_size=64,max_sectors=8,cmd_per_lun=9,iothread=io,vectors=3,addr=4.0",
	  " <a io=io q=5x64 max=8/9 vectors=3 at=4.0>" },
	{ "-device virtio-scsi-pci-non-transitional,hotplug=on,param_change=on,seg_max_adjust=on", " <scsi0 modern>" },
	{ "-device virtio-scsi-pci,disable-modern=on", " <scsi0 legacy>" },
	{ "-M microvm -device virtio-scsi-device", " <scsi0>" },
	/* units, and where they are */
	{ D "-device virtio-scsi-pci,id=a -device scsi-hd,drive=d", " d=D:raw <a> hd[a-0-0 a:0:0 drive=d]" },
	{ D "-device scsi-hd,drive=d -device virtio-scsi-pci", " d=D:raw <scsi0> hd[scsi0-0-0 scsi0:0:0 drive=d]" },
	{ D E "-device virtio-scsi-pci,id=a -device virtio-scsi-pci,id=b -device scsi-hd,drive=d,bus=b.0,scsi-id=3 -device scsi-hd,drive=e,bus=a.0,lun=2",
	  DE " <a> <b> hd[b-3-0 b:3:0 drive=d] hd[a-0-2 a:0:2 drive=e]" },
	{ D E "-device virtio-scsi-pci -device scsi-hd,drive=d,bus=scsi.0 -device scsi-hd,drive=e,bus=scsi0.0,scsi-id=0",
	  DE " <scsi0> hd[scsi0-1-0 scsi0:1:0 drive=d] hd[scsi0-0-0 scsi0:0:0 drive=e]" },
	{ D E "-device virtio-scsi-pci,id=a -device scsi-hd,drive=d,scsi-id=5 -device scsi-hd,drive=e,scsi-id=5,channel=0",
	  DE " <a> hd[a-5-0 a:5:0 drive=d] hd[a-5-1 a:5:1 drive=e]" },
	{ D "-device virtio-scsi-pci,id=a -device scsi-hd,drive=d,id=x,serial=S,wwn=0x5000c500a0000001,vendor=V,product=P,ver=1,device_id=I,removable=on,"
	    "rotation_rate=7200,write-cache=off,logical_block_size=4096,physical_block_size=8k,bootindex=3,werror=stop,rerror=ignore,dpofua=on",
	  " d=D:raw <a> hd[x a:0:0 drive=d serial=S vendor=V product=P ver=1 device_id=I wwn=5000c500a0000001 blocks=4096/8192 removable rate=7200 "
	  "wce=off rerror=ignore werror=stop boot=3]" },
	{ "-drive if=none,id=d,file=D,format=raw,serial=T,werror=enospc -device virtio-scsi-pci,id=a -device scsi-hd,drive=d",
	  " d=D:raw <a> hd[a-0-0 a:0:0 drive=d serial=T werror=enospc]" },
	/* CDs: read-only, and as they are unless somebody says what they are */
	{ "-cdrom F", " ide1-cd0=F:raw+ro <scsi0> cd[scsi0-0-0 scsi0:0:0 drive=ide1-cd0]" },
	{ "-cdrom a,b -cdrom G", " ide1-cd0=a,b:raw+ro ide1-cd1=G:raw+ro <scsi0> cd[scsi0-0-0 scsi0:0:0 drive=ide1-cd0] cd[scsi0-1-0 scsi0:1:0 drive=ide1-cd1]" },
	{ "-drive file=F,media=cdrom,id=c,serial=S", " c=F:raw+ro <scsi0> cd[scsi0-0-0 scsi0:0:0 drive=c serial=S]" },
	{ "-drive file=F,media=cdrom,if=ide,index=2,format=qcow2", " ide1-cd0=F:qcow2+ro <scsi0> cd[scsi0-0-0 scsi0:0:0 drive=ide1-cd0]" },
	{ "-drive media=cdrom", " ide1-cd0=:?+ro <scsi0> cd[scsi0-0-0 scsi0:0:0 drive=ide1-cd0]" },
	{ "-drive file=F,media=cdrom,if=scsi,index=6", " scsi0-cd0=F:raw+ro <scsi0> cd[scsi0-6-0 scsi0:6:0 drive=scsi0-cd0]" },
	{ "-drive file=F,media=cdrom,if=none,id=c -device virtio-scsi-pci,id=a -device scsi-cd,drive=c", " c=F:raw+ro <a> cd[a-0-0 a:0:0 drive=c]" },
	{ "-drive file=F,if=none,id=c -device virtio-scsi-pci,id=a -device scsi-cd,drive=c", " c=F:raw+ro <a> cd[a-0-0 a:0:0 drive=c]" },
	{ "-device virtio-scsi-pci,id=a -device scsi-cd", " cd0=:?+ro <a> cd[a-0-0 a:0:0 drive=cd0]" },
	{ "-drive if=none,media=cdrom,id=c -device virtio-scsi-pci,id=a -device scsi-cd,drive=c,id=x", " c=:?+ro <a> cd[x a:0:0 drive=c]" },
	{ "-drive file=F,media=cdrom,if=virtio", " virtio0=F:raw+ro disk[virtio0]" },
	/* drives that are disks by themselves */
	{ "-drive file=F,if=scsi,format=raw", " scsi0-hd0=F:raw <scsi0> hd[scsi0-0-0 scsi0:0:0 drive=scsi0-hd0]" },
	{ "-drive file=F,if=scsi,format=raw,index=2 -drive file=G,if=scsi,format=raw -device virtio-scsi-pci,id=a",
	  " scsi0-hd0=F:raw scsi0-hd1=G:raw <a> hd[a-2-0 a:2:0 drive=scsi0-hd0] hd[a-0-0 a:0:0 drive=scsi0-hd1]" },
	{ "-M microvm -cdrom F", " ide1-cd0=F:raw+ro <scsi0> cd[scsi0-0-0 scsi0:0:0 drive=ide1-cd0]" },
	{ "-hdc F", " virtio2=F:? disk[virtio2]" },
};

#define A "-device virtio-scsi-pci,id=a "

static const struct {
	const char *line, *message;
} bad[] = {
	{ "-device virtio-scsi-pci,num_queues=0", "num_queues" },
	{ "-device virtio-scsi-pci,num_queues=63", "num_queues" },
	{ "-device virtio-scsi-pci,virtqueue_size=100", "-device virtio-scsi-pci: property 'virtqueue_size': 100 is not a power of two" },
	{ "-device virtio-scsi-pci,iothread=x", "adapter 'scsi0' names iothread 'x', which is not defined; add -object iothread,id=x" },
	{ "-device virtio-scsi-pci,t10_pi=on", "t10_pi" },
	{ "-device virtio-scsi-device", "-device virtio-scsi-device: the machine pc has its virtio devices on PCI; use virtio-scsi-pci" },
	{ "-M microvm -device virtio-scsi-pci", "use virtio-scsi-device" },
	{ "-M microvm -device virtio-scsi,addr=3", "device 'scsi0': addr, vectors" },
	{ "-device virtio-scsi-pci,disable-legacy=on,disable-modern=on", "leaves nothing" },
	{ "-device virtio-scsi-pci,id=a -device virtio-scsi-pci,id=a", "already a device with the id 'a'" },
	{ D "-device scsi-hd,drive=d", "-device scsi-hd: there is no SCSI adapter; add -device virtio-scsi-pci" },
	{ D A "-device scsi-hd,drive=d,bus=b.0", "-device scsi-hd: there is no bus 'b.0'" },
	{ D A "-device scsi-hd,drive=d,bus=a", "there is no bus 'a'" },
	{ D E A "-device scsi-hd,drive=d,scsi-id=1,lun=1 -device scsi-hd,drive=e,scsi-id=1,lun=1", "two SCSI devices are at scsi-id=1,lun=1 of 'a'" },
	{ "-drive file=F,if=scsi,format=raw,index=1 -drive file=G,if=scsi,format=raw,index=256", "-drive: property 'index': expected a number from 0 to 255, got '256'" },
	{ D A "-device scsi-hd,drive=d,scsi-id=256", "scsi-id" },
	{ D A "-device scsi-hd,drive=d,lun=16384", "lun" },
	{ D A "-device scsi-hd,drive=d,channel=1", "-device scsi-hd: property 'channel'" },
	{ A "-device scsi-hd", "-device scsi-hd: property 'drive' is missing" },
	{ A "-device scsi-hd,drive=x", "a disk names drive 'x', which is not defined; add -drive if=none,id=x,file=FILE" },
	{ D A "-device scsi-hd,drive=d -device scsi-hd,drive=d", "drive 'd' is used by two disks" },
	{ D A "-device scsi-hd,drive=d -device virtio-blk-pci,drive=d", "drive 'd' is used by two disks" },
	{ "-drive file=F,if=scsi,format=raw,id=d " A "-device scsi-hd,drive=d", "but is a disk by itself already; add if=none" },
	{ "-drive file=F,format=raw,id=d " A "-device scsi-hd,drive=d", "but is a disk by itself already; add if=none" },
	{ D A "-device scsi-hd,drive=d,logical_block_size=1000", "'logical_block_size': not a power of two" },
	{ D A "-device scsi-hd,drive=d,logical_block_size=64k", "logical_block_size" },
	{ D A "-device scsi-hd,drive=d,logical_block_size=4096,physical_block_size=512", "physical_block_size is less than logical_block_size" },
	{ D A "-device scsi-hd,drive=d,vendor=123456789", "vendor" },
	{ D A "-device scsi-hd,drive=d,rerror=enospc", "a read does not run out of space" },
	{ D A "-device scsi-hd,drive=d,share-rw=on", "share-rw" },
	{ D E A "-device scsi-hd,drive=d,bootindex=1 -device scsi-hd,drive=e,bootindex=1", "disks 'a-0-0' and 'a-1-0' have the same bootindex, 1" },
	{ D E A "-device scsi-hd,drive=d,bootindex=1 -device virtio-blk-pci,drive=e,bootindex=1", "have the same bootindex, 1" },
	{ A "-device scsi-cd,write-cache=on", "write-cache" },
	{ A "-device scsi-block,drive=x", "-device scsi-block: not available" },
	{ "-drive if=scsi", "-drive: property 'file' is missing" },
	{ "-drive if=virtio,media=cdrom", "drive 'virtio0' is a disk without a file" },
	{ "-drive if=none,media=cdrom,id=c " A "-device scsi-hd,drive=c", "drive 'c' is a disk without a file; give file=..., or use a scsi-cd" },
	{ "-cdrom ''", "-cdrom: the name of a disk image is empty" },
};

static int parse(const char *line, struct vm_config *cfg, struct err *err)
{
	enum cli_action action = CLI_RUN;
	struct fake_cli w;

	fake_cli_split(&w, PREFIX, line);
	config_init(cfg);
	if (cli_parse(w.n, w.v, cfg, &action, err) < 0)
		return err->code;
	fake_cli_again(cfg);
	return 0;
}

START_TEST(test_good)
{
	static struct vm_config cfg;
	struct err err = ERR_INIT;
	struct text t;
	int ret = parse(good[_i].line, &cfg, &err);

	ck_assert_msg(ret == 0, "%s: %s", good[_i].line, err.msg);
	show(&t, &cfg);
	ck_assert_msg(!strcmp(t.s, good[_i].expected), "%s:\n is       '%s'\n expected '%s'", good[_i].line, t.s, good[_i].expected);
	config_fini(&cfg);
}
END_TEST

START_TEST(test_bad)
{
	static struct vm_config cfg;
	struct err err = ERR_INIT;
	int ret = parse(bad[_i].line, &cfg, &err);

	config_fini(&cfg);
	ck_assert_msg(ret < 0, "%s: accepted", bad[_i].line);
	ck_assert_int_eq(ret, err.code);
	ck_assert_msg(strstr(err.msg, bad[_i].message) != NULL, "%s: '%s'", bad[_i].line, err.msg);
	ck_assert_ptr_null(strpbrk(err.msg, "\n\033"));
}
END_TEST

START_TEST(test_iothread)
{
	static struct vm_config cfg;
	struct err err = ERR_INIT;

	ck_assert_int_eq(parse("-object iothread,id=io -device virtio-scsi-pci,iothread=io " D E "-device scsi-hd,drive=d -device virtio-blk-pci,drive=e",
			       &cfg, &err), 0);
	ck_assert_str_eq(config_drive_iothread(&cfg, "d"), "io");
	ck_assert_ptr_null(config_drive_iothread(&cfg, "e"));
	ck_assert_uint_eq(config_virtio_devices(&cfg), 2);
	config_fini(&cfg);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cli_scsi");
	TCase *tests = tcase_create("cli_scsi");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tests, test_good, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tests, test_bad, 0, ARRAY_SIZE(bad));
	tcase_add_test(tests, test_iothread);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
