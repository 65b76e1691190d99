/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out anywhere on a command line: -ENOMEM each time, and all of it given back. Every allocation fails once. The
 * allocator is replaced through glibc's names for its own; the sanitizers replace it too, so under them there is nothing to run.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/util.h"

#ifdef __has_feature
#define HAS_FEATURE(f) __has_feature(f)
#else
#define HAS_FEATURE(f) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) || \
	HAS_FEATURE(thread_sanitizer) || HAS_FEATURE(memory_sanitizer)
#define REPLACE_MALLOC 0
#else
#define REPLACE_MALLOC 1
#endif

#if REPLACE_MALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static struct {
	bool armed;
	long until_failure; /* allocations that still succeed */
	long live;
} heap;

static bool fails(void)
{
	return heap.armed && heap.until_failure-- <= 0;
}

static void *count(void *p)
{
	heap.live += heap.armed && p;
	return p;
}

void *malloc(size_t size)
{
	return fails() ? NULL : count(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : count(__libc_calloc(n, size));
}

void *realloc(void *p, size_t size)
{
	if (fails())
		return NULL;
	return p ? __libc_realloc(p, size) : count(__libc_realloc(p, size));
}

void free(void *p)
{
	heap.live -= heap.armed && p;
	__libc_free(p);
}

/* As many kinds of allocation as there are. */
static const char *const words[] = {
	"kite", "-kernel", "K", "-append", "a", "-name", "guest=g,process=p", "-machine", "pc,accel=kvm,usb=off", "-m",
	"size=512,slots=1,maxmem=512", "-smp", "4,sockets=2", "-cpu", "host,+avx,-aes,migratable=on,x=on", "-rtc",
	"base=localtime,driftfix=slew", "-no-hpet", "-serial", "mon:stdio", "-serial", "file:f", "-serial", "unix:s,server,nowait",
	"-chardev", "socket,id=c,path=p,server=on", "-device",
	"{\"driver\":\"isa-serial\",\"chardev\":\"c\",\"id\":\"u\",\"index\":3}", "-device", "isa-debug-exit,id=e,iobase=0xf4",
	"-device", "pc-testdev,id=t", "-device", "isa-boot-timer,id=bt", "-device", "virtio-scsi-pci,id=a", "-device", "scsi-cd,serial=s", "-cdrom", "c.iso", "-global", "PIIX4_PM.disable_s3=1",
	"-drive", "file=d,if=none,id=d,serial=s,throttling.group=g,iops=5,aio=native", "-hdb", "b", "-object", "iothread,id=io,poll-max-ns=1",
	"-blockdev", "{\"driver\":\"raw\",\"node-name\":\"n\",\"file\":{\"driver\":\"file\",\"filename\":\"f\"}}",
	"-blockdev", ("{\"driver\":\"qcow2\",\"node-name\":\"q\",\"file\":{\"driver\":\"file\",\"filename\":\"q\"},\"backing\":{\"driver\":\"vdi\","
		      "\"file\":{\"driver\":\"file\",\"filename\":\"v\"}},\"data-file\":{\"driver\":\"file\",\"filename\":\"e\"}}"),
	"-drive", "file.filename=k,driver=qcow2,if=none,backing.driver=qcow2,backing.file.filename=l,backing.backing=",
	"-device", "virtio-blk-pci,drive=d,iothread=io,addr=3,bus=pci.0", "-device", "virtio-blk,drive=n,serial=t,id=v",
	"-netdev", "tap,id=ta,ifname=i,vhost=on", "-netdev", "bridge,id=br", "-netdev", "{\"type\":\"user\",\"id\":\"us\",\"hostfwd\":[\"a\",\"b\"],\"net\":\"n\"}",
	"-netdev", "stream,id=st,addr.type=inet,addr.host=h,addr.port=1", "-netdev", "socket,id=so,mcast=h:1,localaddr=l", "-nic",
	"user,hostfwd=a,mac=52:54:00:00:00:01,model=virtio", "-net", "nic,macaddr=52:54:00:00:00:02", "-net", "tap,script=s",
	"-device", "virtio-net,netdev=ta,id=nic,iothread=io",
};

/* A parse in which `n` allocations succeed, and then none. */
static int parse_with(long n, struct err *err)
{
	static struct vm_config cfg;
	enum cli_action action;
	int ret;

	config_init(&cfg);
	heap.live = 0;
	heap.until_failure = n;
	heap.armed = true;
	/* cli_parse does not write to its words; argv is char ** by tradition. */
	ret = cli_parse(ARRAY_SIZE(words), (char *const *)words, &cfg, &action, err);
	config_fini(&cfg);
	heap.armed = false;
	return ret;
}

START_TEST(test_each_allocation)
{
	struct err err = ERR_INIT;
	int ret, by_jansson = 0;
	long n = 0;

	for (;; n++) {
		ret = parse_with(n, &err);
		ck_assert_msg(heap.live == 0, "%ld blocks are lost when allocation %ld fails", heap.live, n);
		if (ret == 0)
			break;
		/* jansson's lexer reports a string that it has no memory for as a wrong one. */
		if (ret == -EINVAL && strstr(err.msg, "not a JSON object") && ++by_jansson < 100)
			continue;
		ck_assert_msg(ret == -ENOMEM && err.code == -ENOMEM, "allocation %ld: %d, '%s'", n, ret, err.msg);
		ck_assert_msg(strstr(err.msg, "Cannot allocate memory") != NULL, "'%s'", err.msg);
		ck_assert_int_lt(n, 10000);
	}
	/* It did count: there are at least as many as strings in the configuration. */
	ck_assert_int_gt(n, 50);
}
END_TEST
#endif

int main(void)
{
	Suite *s = suite_create("cli_oom");
	TCase *tc = tcase_create("oom");
	SRunner *sr;
	int failed;

#if REPLACE_MALLOC
	tcase_add_test(tc, test_each_allocation);
#endif
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
