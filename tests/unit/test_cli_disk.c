/* SPDX-License-Identifier: MIT */
/* The command line of disks: what it configures, and what it refuses, in which words. */
#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_cli.h"
#include "vmm/cli.h"
#include "vmm/cli_value.h"
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

static void show_qcow2(struct text *t, const struct config_qcow2 *q)
{
	if (q->cache_size || q->l2_cache_size || q->l2_cache_entry_size || q->refcount_cache_size)
		put(t, "+caches:%" PRIu64 "/%" PRIu64 "/%" PRIu64 "/%" PRIu64, q->cache_size, q->l2_cache_size, q->l2_cache_entry_size,
		    q->refcount_cache_size);
	put(t, "%s", q->lazy_refcounts == CONFIG_AUTO ? "" : q->lazy_refcounts == CONFIG_ON ? "+lazy" : "+nolazy");
}

static void show_image(struct text *t, const struct config_image *m)
{
	static const char *const caches[] = { "", "+none", "+writethrough", "+directsync", "+unsafe" };

	put(t, "%s%s%s%s%s%s%s%s%s", m->path, !m->format ? "?" : "", m->read_only ? "+ro" : "", m->auto_read_only ? "+auto" : "",
	    caches[m->cache], m->discard ? "+discard" : "", m->detect_zeroes ? "+detect" : "", m->aio_threads ? "+threads" : "",
	    m->lock ? "" : "+nolock");
	if (m->format && strcmp(m->format, "raw") != 0)
		put(t, "+%s", m->format);
	show_qcow2(t, &m->qcow2);
	if (m->data_file) {
		put(t, "(");
		show_image(t, m->data_file);
		put(t, ")");
	}
	if (m->backing) {
		put(t, "<");
		show_image(t, m->backing);
		put(t, ">");
	}
	put(t, "%s", m->no_backing ? "<>" : "");
}

static void show_drive(struct text *t, const struct config_drive *d)
{
	static const char *const limits[] = { "bps", "bpsr", "bpsw", "iops", "iopsr", "iopsw" };

	put(t, " %s=", d->id);
	show_image(t, &d->image);
	put(t, "%s", d->snapshot ? "+snapshot" : "");
	for (unsigned i = 0; i < CONFIG_LIMITS; i++)
		if (d->throttle.avg[i])
			put(t, "+%s:%" PRIu64 "/%" PRIu64 "/%" PRIu64, limits[i], d->throttle.avg[i], d->throttle.max[i], d->throttle.length[i]);
	if (d->throttle.iops_size)
		put(t, "+per:%" PRIu64, d->throttle.iops_size);
	if (d->throttle.group)
		put(t, "+group:%s", d->throttle.group);
}

static void show_group(struct text *t, const struct config_throttle *g)
{
	put(t, " limits:%s", g->group);
	for (unsigned i = 0; i < CONFIG_LIMITS; i++)
		if (g->avg[i])
			put(t, "+%u:%" PRIu64 "/%" PRIu64 "/%" PRIu64, i, g->avg[i], g->max[i], g->length[i]);
	if (g->iops_size)
		put(t, "+per:%" PRIu64, g->iops_size);
}

/* What differs from the defaults of a machine with two vCPUs. */
static void show_disk(struct text *t, const struct config_disk *k)
{
	static const char *const rerrors[] = { "", " rerror", " rerror?", " rerror=stop" };
	static const char *const werrors[] = { "", " werror", " werror=enospc", " werror=stop" };

	put(t, " [%s:%s", k->id, k->drive);
	if (k->serial)
		put(t, " serial=%s", k->serial);
	if (k->iothread)
		put(t, " io=%s", k->iothread);
	if (k->queues != 2 || k->queue_size != 256)
		put(t, " q=%ux%u", k->queues, k->queue_size);
	if (k->logical_block || k->physical_block)
		put(t, " blocks=%" PRIu64 "/%" PRIu64, k->logical_block, k->physical_block);
	if (k->write_cache != CONFIG_AUTO)
		put(t, " wce=%s", k->write_cache == CONFIG_ON ? "on" : "off");
	put(t, "%s%s%s%s%s%s%s", k->config_wce ? "" : " no-config-wce", k->discard ? "" : " no-discard", k->write_zeroes ? "" : " no-zeroes",
	    rerrors[k->rerror], werrors[k->werror], k->modern_only ? " modern" : "",
	    k->legacy_only ? " legacy" : "");
	if (k->vectors != -1)
		put(t, " vectors=%d", k->vectors);
	if (k->addr != CONFIG_ADDR_AUTO)
		put(t, " at=%d.%d", k->addr >> 3, k->addr & 7);
	if (k->bootindex >= 0)
		put(t, " boot=%d", k->bootindex);
	put(t, "]");
}

static void show(struct text *t, const struct vm_config *cfg)
{
	t->n = 0;
	t->s[0] = '\0';
	for (size_t i = 0; i < cfg->n_iothreads; i++) {
		put(t, " io:%s", cfg->iothreads[i].id);
		if (cfg->iothreads[i].poll_max_ns != IOTHREAD_POLL_NS)
			put(t, "(%llu)", (unsigned long long)cfg->iothreads[i].poll_max_ns);
	}
	for (size_t i = 0; i < cfg->n_throttle_groups; i++)
		show_group(t, &cfg->throttle_groups[i]);
	for (size_t i = 0; i < cfg->n_drives; i++)
		show_drive(t, &cfg->drives[i]);
	for (size_t i = 0; i < cfg->n_disks; i++)
		show_disk(t, &cfg->disks[i]);
}

#define PREFIX "-nodefaults -kernel K -smp 2"
#define NODE_F "-blockdev driver=file,node-name=f,filename=F "

/* PREFIX goes in front, unless the line starts with '!'. */
static const struct {
	const char *line, *expected;
} good[] = {
	{ "-drive file=F", " virtio0=F? [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw", " virtio0=F [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=qcow2", " virtio0=F+qcow2 [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=vmdk,readonly=on", " virtio0=F+ro+vmdk [virtio-disk0:virtio0]" },
	{ "-drive file=F,if=virtio,format=raw,media=disk,snapshot=off", " virtio0=F [virtio-disk0:virtio0]" },
	{ "-drive file=a,,b", " virtio0=a,b? [virtio-disk0:virtio0]" },
	{ "-hda F", " virtio0=F? [virtio-disk0:virtio0]" },
	{ "-hda a,b=c", " virtio0=a,b=c? [virtio-disk0:virtio0]" },
	{ "F", " virtio0=F? [virtio-disk0:virtio0]" },
	{ "!F -kernel K -nodefaults -smp 2", " virtio0=F? [virtio-disk0:virtio0]" },
	{ "-hdd D -hdb B -hda A -hdc C",
	  " virtio3=D? virtio1=B? virtio0=A? virtio2=C? [virtio-disk0:virtio0] [virtio-disk1:virtio1] [virtio-disk2:virtio2] "
	  "[virtio-disk3:virtio3]" },
	{ "-drive file=A,index=4,format=raw -drive file=B,format=raw",
	  " virtio4=A virtio0=B [virtio-disk0:virtio0] [virtio-disk1:virtio4]" },
	{ "-drive file=A,format=raw,if=none", " none0=A" },
	{ "-drive file=A,format=raw,if=none,id=d -drive file=B,format=raw,if=none -device virtio-blk-pci,drive=d", " d=A none0=B [virtio-disk0:d]" },
	{ "-drive file=A,format=raw,id=virtio1 -drive file=B,format=raw", " virtio1=A virtio2=B [virtio-disk0:virtio1] [virtio-disk1:virtio2]" },
	/* how */
	{ "-drive file=F,format=raw,cache=none,aio=native", " virtio0=F+none [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,cache=writeback,aio=io_uring", " virtio0=F [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,cache=writethrough,aio=threads", " virtio0=F+writethrough+threads [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,cache=directsync", " virtio0=F+directsync [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,cache=unsafe", " virtio0=F+unsafe [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,cache=none,cache.direct=off", " virtio0=F [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,cache.direct=on,cache.no-flush=on", " virtio0=F+none [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,cache.no-flush=on", " virtio0=F+unsafe [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,cache.writeback=off,cache.no-flush=on", " virtio0=F+writethrough [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,readonly", " virtio0=F+ro [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,read-only=on,auto-read-only=on", " virtio0=F+ro+auto [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,discard=unmap,detect-zeroes=unmap", " virtio0=F+discard+detect [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,discard=on,detect-zeroes=on", " virtio0=F+discard+detect [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,discard=off,detect-zeroes=off,file.locking=off", " virtio0=F+nolock [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,serial=S,werror=ignore,rerror=report", " virtio0=F [virtio-disk0:virtio0 serial=S werror]" },
	{ "-drive file=F,format=raw,werror=stop,rerror=stop", " virtio0=F [virtio-disk0:virtio0 rerror=stop werror=stop]" },
	{ "-drive file=F,format=raw,werror=enospc", " virtio0=F [virtio-disk0:virtio0 werror=enospc]" },
	{ "-drive file=F,format=raw,werror=auto,rerror=auto", " virtio0=F [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,if=none,id=d,werror=stop -device virtio-blk-pci,drive=d,werror=enospc,rerror=stop",
	  " d=F [virtio-disk0:d rerror=stop werror=enospc]" },
	{ "-drive file=F,format=raw,throttling.iops-total=100,throttling.bps-read=5,throttling.bps-write=6,throttling.iops-size=4k",
	  " virtio0=F+bpsr:5/0/0+bpsw:6/0/0+iops:100/0/0+per:4096 [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=raw,iops=100,iops_max=200,iops_max_length=3,group=g",
	  " virtio0=F+iops:100/200/3+group:g [virtio-disk0:virtio0]" },
	/* the device */
	{ "-drive file=F,format=raw,if=none,id=d,serial=S,rerror=ignore "
	  "-device virtio-blk-pci,drive=d,serial=T,id=v,bus=pci.0,addr=0x1f,bootindex=1,num-queues=4,queue-size=128,write-cache=off",
	  " d=F [v:d serial=T q=4x128 wce=off rerror at=31.0 boot=1]" },
	{ "-drive file=F,format=raw,if=none,id=d "
	  "-device virtio-blk-pci,drive=d,config-wce=off,discard=off,write-zeroes=off,vectors=0,logical_block_size=4096,"
	  "physical_block_size=4096,disable-legacy=on,disable-modern=off,werror=ignore,ioeventfd=on,scsi=off",
	  " d=F [virtio-disk0:d blocks=4096/4096 no-config-wce no-discard no-zeroes werror modern vectors=0]" },
	{ "-drive file=F,format=raw,if=none,id=d -device virtio-blk-pci-non-transitional,drive=d", " d=F [virtio-disk0:d modern]" },
	{ "-drive file=F,format=raw,if=none,id=d -device virtio-blk-pci-transitional,drive=d", " d=F [virtio-disk0:d]" },
	{ "-drive file=F,format=raw,if=none,id=d -device virtio-blk,drive=d,disable-modern=on,addr=10", " d=F [virtio-disk0:d legacy at=16.0]" },
	{ "-object iothread,id=io0 -object {\"qom-type\":\"iothread\",\"id\":\"io1\",\"poll-max-ns\":5,\"poll-shrink\":3} "
	  "-drive file=F,format=raw,if=none,id=d -device virtio-blk-pci,drive=d,iothread=io1",
	  " io:io0 io:io1(5) d=F [virtio-disk0:d io=io1]" },
	{ "-object iothread,id=io0,poll-max-ns=0,poll-grow=4", " io:io0(0)" },
	/* -blockdev */
	{ NODE_F "-device virtio-blk-pci,drive=f", " f=F [virtio-disk0:f]" },
	{ NODE_F "-blockdev raw,node-name=r,file=f -device virtio-blk-pci,drive=r", " r=F [virtio-disk0:r]" },
	{ "-blockdev raw,node-name=r,file=f " NODE_F "-device virtio-blk-pci,drive=r", " r=F [virtio-disk0:r]" },
	{ NODE_F, " f=F" },
	{ "-blockdev driver=raw,node-name=r,file.driver=host_device,file.filename=/dev/sdx,read-only=on,discard=unmap,cache.direct=on",
	  " r=/dev/sdx+ro+none+discard" },
	{ "-blockdev {\"driver\":\"raw\",\"node-name\":\"r\",\"file\":{\"driver\":\"file\",\"filename\":\"F\",\"aio\":\"threads\",\"cache\":"
	  "{\"direct\":true,\"no-flush\":false}}}",
	  " r=F+none+threads" },
	{ "-blockdev {\"driver\":\"file\",\"filename\":\"F\",\"node-name\":\"libvirt-1-storage\",\"auto-read-only\":true,\"discard\":\"unmap\"} "
	  "-blockdev {\"node-name\":\"libvirt-1-format\",\"read-only\":false,\"discard\":\"unmap\",\"driver\":\"raw\",\"file\":\"libvirt-1-storage\"} "
	  "-device {\"driver\":\"virtio-blk-pci\",\"bus\":\"pci.0\",\"addr\":\"0x3\",\"drive\":\"libvirt-1-format\",\"id\":\"virtio-disk0\","
	  "\"bootindex\":1,\"num-queues\":1}",
	  " libvirt-1-format=F+auto+discard [virtio-disk0:libvirt-1-format q=1x256 at=3.0 boot=1]" },
	{ NODE_F "-blockdev raw,node-name=r,file=f,discard=unmap,detect-zeroes=on,cache.no-flush=on,read-only=on", " r=F+ro+unsafe+detect" },
	{ "-blockdev file,node-name=f,filename=F,discard=unmap,detect-zeroes=unmap,locking=off,aio=native", " f=F+discard+detect+nolock" },
	/* qcow2 */
	{ NODE_F "-blockdev qcow2,node-name=q,file=f -device virtio-blk,drive=q", " q=F+qcow2 [virtio-disk0:q]" },
	{ "-blockdev qcow2,node-name=q,file=f,backing=b -blockdev raw,node-name=b,file=g -blockdev file,node-name=g,filename=G,aio=threads " NODE_F
	  "-device virtio-blk,drive=q",
	  " q=F+qcow2<G+threads> [virtio-disk0:q]" },
	{ "-blockdev {\"driver\":\"qcow2\",\"node-name\":\"q\",\"file\":{\"driver\":\"file\",\"filename\":\"F\"},\"backing\":null}", " q=F+qcow2<>" },
	{ "-blockdev qcow2,node-name=q,file.driver=file,file.filename=F,backing=", " q=F+qcow2<>" },
	{ "-blockdev {\"driver\":\"qcow2\",\"node-name\":\"q\",\"cache\":{\"direct\":true},\"file\":{\"driver\":\"file\",\"filename\":\"F\"},"
	  "\"backing\":{\"driver\":\"qcow2\",\"node-name\":\"b\",\"file\":{\"driver\":\"file\",\"filename\":\"G\"},"
	  "\"backing\":{\"driver\":\"vmdk\",\"file\":{\"driver\":\"file\",\"filename\":\"H\",\"locking\":\"off\"}}}}",
	  " q=F+none+qcow2<G+none+qcow2<H+none+nolock+vmdk>>" },
	/* A backing file of many, and a file that is only read. */
	{ NODE_F "-blockdev file,node-name=g,filename=G -blockdev file,node-name=h,filename=H -blockdev qcow2,node-name=b,file=h "
	  "-blockdev qcow2,node-name=q,file=f,backing=b -blockdev qcow2,node-name=r,file=g,backing=b",
	  " q=F+qcow2<H+qcow2> r=G+qcow2<H+qcow2>" },
	{ "-blockdev file,node-name=f,filename=F,read-only=on -blockdev qcow2,node-name=a,file=f -blockdev raw,node-name=b,file=f",
	  " a=F+ro+qcow2 b=F+ro" },
	{ "-blockdev qcow2,node-name=q,file.driver=file,file.filename=F,data-file.driver=file,data-file.filename=D,cache.no-flush=on",
	  " q=F+unsafe+qcow2(D+unsafe)" },
	{ NODE_F "-blockdev raw,node-name=d,file.driver=file,file.filename=D -blockdev qcow2,node-name=q,file=f,data-file=d", " q=F+qcow2(D)" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,discard=unmap,detect-zeroes=unmap,l2-cache-size=1M,l2-cache-entry-size=4k,cache-size=2M,"
	  "refcount-cache-size=64k,lazy-refcounts=on,cache-clean-interval=600,overlap-check=cached,overlap-check.template=all,"
	  "overlap-check.main-header=on,pass-discard-request=on,pass-discard-snapshot=on,pass-discard-other=off,read-only=on",
	  " q=F+ro+discard+detect+qcow2+caches:2097152/1048576/4096/65536+lazy" },
	{ NODE_F "-blockdev {\"driver\":\"qcow2\",\"node-name\":\"q\",\"file\":\"f\",\"lazy-refcounts\":false,\"l2-cache-size\":8192,"
	  "\"overlap-check\":{\"template\":\"none\",\"active-l1\":true}}",
	  " q=F+qcow2+caches:0/8192/0/0+nolazy" },
	{ "-object throttle-group,id=g,x-iops-total=100 " NODE_F "-blockdev throttle,node-name=t,throttle-group=g,file=q,discard=unmap "
	  "-blockdev qcow2,node-name=q,file=f,discard=unmap",
	  " limits:g+3:100/0/0 t=F+discard+qcow2+group:g" },
	{ "-drive file=F,format=qcow2,l2-cache-size=1M,lazy-refcounts=off,cache=none,backing.file.filename=G",
	  " virtio0=F+none+qcow2+caches:0/1048576/0/0+nolazy<G?+none> [virtio-disk0:virtio0]" },
	{ "-drive file.driver=file,file.filename=F,driver=qcow2,backing.driver=qcow2,backing.file.driver=file,backing.file.filename=G,"
	  "backing.backing.driver=file,backing.backing.filename=H",
	  " virtio0=F+qcow2<G+qcow2<H>> [virtio-disk0:virtio0]" },
	{ "-drive file=F,format=qcow2,backing=g -blockdev file,node-name=g,filename=G", " virtio0=F+qcow2<G> [virtio-disk0:virtio0]" },
	{ "-drive file=F,backing=", " virtio0=F?<> [virtio-disk0:virtio0]" },
	/* snapshot */
	{ "-drive file=F,format=raw,snapshot=on", " virtio0=F+snapshot [virtio-disk0:virtio0]" },
	{ "F -snapshot -drive file=G,format=qcow2,if=none", " virtio0=F?+snapshot none0=G+qcow2+snapshot [virtio-disk0:virtio0]" },
	{ "-snapshot -drive file=F,format=qcow2,backing=g -blockdev file,node-name=g,filename=G",
	  " virtio0=F+qcow2<G>+snapshot [virtio-disk0:virtio0]" },
	/* throttles */
	{ "-object throttle-group,id=g,x-iops-total=100,x-iops-total-max=200,x-iops-total-max-length=3,x-iops-size=4k " NODE_F
	  "-blockdev throttle,node-name=t,throttle-group=g,file=f,read-only=on -device virtio-blk-pci,drive=t",
	  " limits:g+3:100/200/3+per:4096 t=F+ro+group:g [virtio-disk0:t]" },
	{ "-object throttle-group,id=g,limits.bps-read=7,limits.bps-write=8 -blockdev raw,node-name=r,file=t,discard=unmap "
	  "-blockdev throttle,node-name=t,throttle-group=g,discard=unmap,file.driver=file,file.filename=F",
	  " limits:g+1:7/0/0+2:8/0/0 r=F+discard+group:g" },
	{ "-object {\"qom-type\":\"throttle-group\",\"id\":\"g\",\"limits\":{\"iops-read\":5,\"iops-read-max\":9,\"iops-size\":8192}} "
	  "-blockdev {\"driver\":\"throttle\",\"node-name\":\"t\",\"throttle-group\":\"g\",\"file\":{\"driver\":\"raw\",\"cache\":{\"direct\":"
	  "true},\"file\":{\"driver\":\"file\",\"filename\":\"F\"}}}",
	  " limits:g+4:5/9/0+per:8192 t=F+none+group:g" },
	{ "-object throttle-group,id=g -drive file=F,format=raw,throttling.group=g", " limits:g virtio0=F+group:g [virtio-disk0:virtio0]" },
	/* names */
	{ "-device pc-testdev,id=virtio-disk0 -hda F", " virtio0=F? [virtio-disk1:virtio0]" },
	{ NODE_F "-blockdev file,node-name=virtio0,filename=G -hda H",
	  " virtio1=H? f=F virtio0=G [virtio-disk0:virtio1]" },
};

static const struct {
	const char *line, *message;
} bad[] = {
	{ "!-M microvm F", "a microvm has no firmware that boots from a disk: give a kernel with -kernel FILE" },
	{ "!-M microvm -drive file=F,format=raw", "has no firmware" },
	{ "''", "'': the name of a disk image is empty" },
	{ "-hda ''", "-hda: the name of a disk image is empty" },
	{ "A B", "'B': index 0 is already taken by 'A'; give index=1 or leave it out" },
	{ "-hda A B", "'B': index 0 is already taken by 'A'" },
	{ "-hdb A -drive file=B,index=1", "-drive: index 1 is already taken by 'A'; give index=0" },
	/* -drive */
	{ "-drive format=raw", "-drive: property 'file' is missing" },
	{ "-drive file=", "-drive: property 'file': may not be empty" },
	{ "-drive ''", "-drive: property 'file' is missing" },
	{ "-drive file=F,format=qcow", "-drive: qcow images are not supported; convert it: qemu-img convert -O qcow2" },
	{ "-drive file=F,format=luks", "-drive: luks images are not supported" },
	{ "-drive file=F,format=rwa", "-drive: property 'format': 'rwa' is not available; give qcow2, raw, vmdk, vdi, vpc or vhdx" },
	{ "-drive file=F,if=ide", "-drive: property 'if': there is no IDE but for media=cdrom; give virtio or scsi" },
	{ "-drive file=F,if=sd", "-drive: property 'if': 'sd' is not one of virtio, none, scsi, ide" },
	{ "-drive file=F,media=tape", "-drive: property 'media': 'tape' is not one of disk, cdrom" },
	{ "-drive file=F,fromat=raw", "-drive: unknown property 'fromat'; did you mean 'format'?" },
	{ "-drive file=F,cache=fast", "-drive: property 'cache': 'fast' is not one of writeback, none, writethrough, directsync, unsafe" },
	{ "-drive file=F,aio=posix", "-drive: property 'aio'" },
	{ "-drive file=F,id=1", "-drive: property 'id': '1' is not an identifier" },
	{ "-drive file=F,id=a -drive file=G,id=a", "-drive: there is already a drive or node with the name 'a'" },
	{ "-drive file=F,id=a -blockdev file,node-name=a,filename=G", "-blockdev: there is already a drive or node with the name 'a'" },
	{ NODE_F "-drive file=F,id=f", "-drive: there is already a drive or node with the name 'f'" },
	{ "-drive file=F,index=256", "-drive: property 'index': expected a number from 0 to 255" },
	{ "-drive file=F,if=none,index=1", "-drive: property 'index' is for if=virtio" },
	{ "-drive file=F,serial=123456789012345678901", "is longer than 20 bytes" },
	{ "-drive file=F,detect-zeroes=unmap", "-drive: detect-zeroes=unmap needs discard=unmap" },
	{ "-drive file=F,rerror=enospc", "rerror of drive 'virtio0': a read does not run out of space; use report, stop or ignore" },
	{ "-drive file=F,rerror=maybe", "'maybe' is not one of auto, report, ignore" },
	{ "-drive file=F,iops=1,iops_rd=1", "-drive: throttling.iops-total and throttling.iops-read cannot both be given" },
	{ "-drive file=F,bps=1,bps_wr=1", "throttling.bps-total and throttling.bps-write cannot" },
	{ "-drive file=F,iops_size=1", "-drive: throttling.iops-size needs throttling.iops-total" },
	{ "-drive file=F,iops_max=1", "-drive: throttling.iops-total-max needs throttling.iops-total" },
	{ "-drive file=F,iops=5,iops_max=1", "throttling.iops-total-max is 1, less than throttling.iops-total, 5" },
	{ "-drive file=F,iops=5,iops_max_length=2", "throttling.iops-total-max-length needs throttling.iops-total-max" },
	{ "-drive file=F,iops=1000000000000001", "expected a number from 0 to 1000000000000000" },
	/* -device */
	{ "-device virtio-blk-pci", "-device virtio-blk-pci: property 'drive' is missing" },
	{ "-device virtio-blk-pci,drive=x", "a disk names drive 'x', which is not defined; add -drive if=none,id=x,file=FILE" },
	{ "-drive file=F,id=d -device virtio-blk-pci,drive=d", "drive 'd' is used by a -device, but is a disk by itself already; add if=none" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d -device virtio-blk-pci,drive=d", "drive 'd' is used by two disks" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,iothread=x", "names iothread 'x', which is not defined; add -object iothread,id=x" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,addr=20", "property 'addr': expected SLOT[.FUNCTION] in hexadecimal" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,addr=3.8", "property 'addr'" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,addr=3.", "property 'addr'" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,addr=", "property 'addr'" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,bus=pcie.0", "'pcie.0' is not available: the only PCI bus is pci.0" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,queue-size=100", "'queue-size': 100 is not a power of two" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,queue-size=2", "expected a number from 4 to 1024" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,num-queues=0", "expected a number from 1 to 64" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,logical_block_size=1000", "'logical_block_size': not a power of two" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,logical_block_size=4096,physical_block_size=512", "physical_block_size is less" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,disable-legacy=on,disable-modern=on", "leave nothing" },
	{ "-drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,rerror=enospc", "rerror of drive 'd'" },
	{ "-hda F -device pc-testdev,id=v -drive file=F,if=none,id=d -device virtio-blk-pci,drive=d,id=v", "there is already a device with the id 'v'" },
	{ "-drive file=F,if=none,id=d -drive file=G,if=none,id=e -device virtio-blk,drive=d,addr=3 -device virtio-blk,drive=e,addr=0x3.0",
	  "disks 'virtio-disk0' and 'virtio-disk1' have the same addr" },
	{ "-drive file=F,if=none,id=d -drive file=G,if=none,id=e -device virtio-blk,drive=d,bootindex=1 -device virtio-blk,drive=e,bootindex=1",
	  "have the same bootindex, 1" },
	{ "-device virtio-blk-pic,drive=d", "did you mean 'virtio-blk-pci'?" },
	/* -blockdev */
	{ "-blockdev filename=F", "-blockdev: property 'driver' is missing" },
	{ "-blockdev file,filename=F", "-blockdev: property 'node-name' is missing" },
	{ "-blockdev file,node-name=f", "-blockdev: property 'filename' is missing" },
	{ "-blockdev file,node-name=#x,filename=F", "-blockdev: property 'node-name': '#x' is not an identifier" },
	{ "-blockdev qcow,node-name=f,file=g", "-blockdev: qcow images are not supported; convert it" },
	{ "-blockdev nbd,node-name=f", "-blockdev: driver 'nbd' is not available; use file, host_device, raw, qcow2 or throttle" },
	{ "-blockdev throttle,node-name=f,file=g", "-blockdev: property 'throttle-group' is missing" },
	{ "-blockdev throttle,node-name=t,throttle-group=g", "-blockdev: property 'file' is missing" },
	{ "-object throttle-group,id=g " NODE_F "-blockdev throttle,node-name=t,throttle-group=g,file=f -blockdev qcow2,node-name=q,file=t",
	  "node 'q' is over 't', which is a throttle; put the throttle over 'q'" },
	{ "-object throttle-group,id=g " NODE_F "-blockdev throttle,node-name=t,throttle-group=g,file.driver=file,file.filename=G "
	  "-blockdev qcow2,node-name=q,file=f,backing=t",
	  "node 't' is a throttle, and under another image" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,backing=f", "node 'q' has backing=f, which is in use by another node; only what is read-only" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,backing=x", "-blockdev: node 'q' has backing=x, but there is no node of that name" },
	{ "-drive file=F,backing=x", "-drive: drive 'virtio0' has backing=x, but there is no node of that name" },
	{ NODE_F "-blockdev file,node-name=g,filename=G -blockdev qcow2,node-name=q,file=f,backing=r -blockdev qcow2,node-name=r,file=g,backing=q",
	  "node 'q' is its own backing file; leave out one backing=" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,backing=q", "node 'q' is its own backing file" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,backing=,backing.driver=file", "property 'filename' is missing" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,backing=r,backing.driver=file,backing.filename=G",
	  "property 'backing' is both a node's name and a node" },
	{ NODE_F "-blockdev file,node-name=d,filename=D -blockdev qcow2,node-name=r,file=d -blockdev qcow2,node-name=q,file=f,data-file=r",
	  "node 'r' cannot be a data file: it is not raw" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f -blockdev raw,node-name=r,file=q", "node 'r' is over 'q', which is a format too" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,l2-cache-entry-size=5000", "-blockdev: property 'l2-cache-entry-size': not a power of two" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,cache-size=1M,l2-cache-size=2M", "-blockdev: l2-cache-size is more than cache-size" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,lazy-refcounts=maybe", "property 'lazy-refcounts': 'maybe' is not one of auto, on, off" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,overlap-check=some", "'some' is not available" },
	{ NODE_F "-blockdev qcow2,node-name=q,file=f,encrypt.format=luks,encrypt.key-secret=s",
	  "'encrypt.format': 'luks' is not available: encrypted images are not supported" },
	{ NODE_F "-blockdev raw,node-name=r,file=f,backing=x", "-blockdev: unknown property 'backing'" },
	{ NODE_F "-blockdev vmdk,node-name=r,file=f,l2-cache-size=1M", "-blockdev: unknown property 'l2-cache-size'" },
	{ "-drive file=F,format=raw,l2-cache-size=1M", "-drive: property 'l2-cache-size' is for format=qcow2, not raw" },
	{ "-drive file=F,file.filename=G", "-drive: file and file.filename are the same; leave one of them out" },
	{ "-drive file=F,file.driver=nbd", "'nbd' is not available: only files and host devices are" },
	{ "-drive file=F,backing.driver=nbd,backing.host=h", "-drive: driver 'nbd' is not available" },
	{ "-snapshot -drive file=F " NODE_F, "-snapshot: does not work with -blockdev node 'f'; use -drive, or give it a qcow2 overlay" },
	{ NODE_F "-blockdev throttle,node-name=t,throttle-group=g,file=f",
	  "node 't' has throttle-group=g, which is not defined; add -object throttle-group,id=g" },
	{ "-object throttle-group,id=g " NODE_F "-blockdev throttle,node-name=t,throttle-group=g,file=f "
	  "-blockdev throttle,node-name=u,throttle-group=g,file=t",
	  "node 'u' is over 't', which is a throttle too" },
	{ "-object throttle-group,id=g -blockdev throttle,node-name=t,throttle-group=g,file=r -blockdev raw,node-name=r,file=t",
	  "node 't' is over 't', which is a throttle too" },
	{ "-blockdev raw,node-name=r", "-blockdev: property 'file' is missing" },
	{ "-blockdev raw,node-name=r,file=x", "node 'r' has file=x, but there is no node of that name" },
	{ "-blockdev raw,node-name=r,file=r", "node 'r' is over 'r', which is a format too" },
	{ NODE_F "-blockdev raw,node-name=r,file=f -blockdev raw,node-name=s,file=f", "node 's' has file=f, which is in use by another node; only what is read-only may" },
	{ NODE_F "-blockdev raw,node-name=r,file=f -device virtio-blk,drive=f", "drive 'f' is in use by another -blockdev node" },
	{ NODE_F "-blockdev raw,node-name=r,file=f,file.driver=file,file.filename=G", "property 'file' is both a node's name and a node" },
	{ "-blockdev raw,node-name=r,file.driver=raw,file.file.driver=file,file.file.filename=G",
	  "node 'r' is over '#block1', which is a format too" },
	{ "-blockdev raw,node-name=r,file.driver=file", "property 'filename' is missing" },
	{ NODE_F NODE_F, "there is already a drive or node with the name 'f'" },
	{ "-blockdev {\"driver\":\"file\",\"node-name\":\"f\",\"filename\":\"F\",\"read-only\":\"on\"}", "expected true or false, got a string" },
	{ "-blockdev {\"driver\":5}", "property 'driver': expected a string" },
	{ "-blockdev {", "-blockdev: " },
	{ "-blockdev file,node-name=f,filename=F,detect-zeroes=unmap", "detect-zeroes=unmap needs discard=unmap" },
	/* -object */
	{ "-object iothread", "-object iothread: property 'id' is missing" },
	{ "-object iothread,id=a,poll-max-ns=1000000001", "poll-max-ns" },
	{ "-object iothread,id=a -object iothread,id=a", "-object iothread: there is already an object with the id 'a'" },
	{ "-object iothread,id=0", "'0' is not an identifier" },
	{ "-object throttle-group,x-iops-total=1", "-object throttle-group: property 'id' is missing" },
	{ "-object iothread,id=a -object throttle-group,id=a", "-object throttle-group: there is already an object with the id 'a'" },
	{ "-object throttle-group,id=g,x-iops-total=5,x-iops-read=5", "x-iops-total and x-iops-read cannot both be given" },
	{ "-object throttle-group,id=g,limits.iops-total-max=5", "x-iops-total-max needs x-iops-total" },
	{ "-object throttle-group,id=g,x-iops-size=5", "x-iops-size needs x-iops-total" },
	{ "-object throttle-group,id=g,iops-total=5", "unknown property 'iops-total'" },
	{ "-object memory-backend-file,id=m", "-object: type 'memory-backend-file' is not available; known: iothread" },
	{ "-object id=m", "-object: type '' is not available" },
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

/* One more than there is room for. */
static void assert_too_many(const char *fmt, unsigned n, const char *message)
{
	static char words[2 * CONFIG_MAX_DRIVES * 2 + 2][64];
	static char *argv[2 * (2 * CONFIG_MAX_DRIVES + 1) + 3];
	static struct vm_config cfg;
	enum cli_action action;
	struct err err = ERR_INIT;
	char option[16];
	int argc = 0;

	argv[argc++] = (char[]){ "kite" };
	argv[argc++] = (char[]){ "-kernel" };
	argv[argc++] = (char[]){ "K" };
	snprintf(option, sizeof(option), "%.*s", (int)strcspn(fmt, " "), fmt);
	for (unsigned i = 0; i < n; i++) {
		argv[argc++] = option;
		snprintf(words[i], sizeof(words[i]), "%s%u", fmt + strlen(option) + 1, i);
		argv[argc++] = words[i];
	}
	config_init(&cfg);
	ck_assert_int_lt(cli_parse(argc, argv, &cfg, &action, &err), 0);
	ck_assert_msg(strstr(err.msg, message) != NULL, "%s", err.msg);
	config_fini(&cfg);
}

START_TEST(test_too_many)
{
	assert_too_many("-drive file=F,if=none,id=d", CONFIG_MAX_DRIVES + 1, "-drive: more than 64 of them");
	assert_too_many("-object iothread,id=i", CONFIG_MAX_IOTHREADS + 1, "-object iothread: more than 16 of them");
	assert_too_many("-device virtio-blk,drive=d,id=x", CONFIG_MAX_DISKS + 1, "more than 64 disks");
	assert_too_many("-blockdev file,filename=F,node-name=n", 2 * CONFIG_MAX_DRIVES + 1, "-blockdev: more than 128 nodes");
	assert_too_many("-blockdev file,filename=F,node-name=n", CONFIG_MAX_DRIVES + 1, "-blockdev: more than 64 drives");
}
END_TEST

START_TEST(test_addr)
{
	static const struct {
		const char *s;
		int addr;
	} addrs[] = { { "0", 0 }, { "3", 24 }, { "0x3", 24 }, { "1f.7", 255 }, { "0X1F.0x7", 255 }, { "10", 128 },  { "", -1 },
		      { "20", -1 }, { "3.8", -1 }, { ".1", -1 }, { "3.", -1 }, { "3 ", -1 }, { "-1", -1 }, { "0x", -1 }, { "3.1.1", -1 } };

	for (unsigned i = 0; i < ARRAY_SIZE(addrs); i++) {
		int addr = -1;

		ck_assert_int_eq(cli_value_pci_addr(addrs[i].s, &addr), addrs[i].addr >= 0);
		ck_assert_int_eq(addr, addrs[i].addr);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli_disk");
	TCase *tc = tcase_create("cli_disk");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, test_good, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tc, test_bad, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, test_too_many);
	tcase_add_test(tc, test_addr);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
