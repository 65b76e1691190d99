/* SPDX-License-Identifier: MIT */
/* Whole command lines: what they configure, and how the bad ones are refused. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cli.h"
#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define MAX_WORDS 256

/* Words are separated by blanks; '~' stands for a blank inside a word, "''" for an empty word. */
struct words {
	char text[4096];
	char *v[MAX_WORDS];
	int n;
};

static void split(struct words *w, const char *line)
{
	snprintf(w->text, sizeof(w->text), "kite %s", line);
	w->n = 0;
	for (char *p = strtok(w->text, " "); p; p = strtok(NULL, " ")) {
		if (!strcmp(p, "''"))
			*p = '\0';
		for (char *c = p; *c; c++)
			if (*c == '~')
				*c = ' ';
		w->v[w->n++] = p;
	}
}

static void with_prefix(char *out, size_t size, const char *prefix, const char *line)
{
	bool bare = *line == '!';

	snprintf(out, size, "%s%s", bare ? "" : prefix, line + bare);
}

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

static void put_chardev(struct text *t, const struct config_chardev *c)
{
	static const char *const names[] = {
		[CHARDEV_NULL] = "null", [CHARDEV_STDIO] = "stdio", [CHARDEV_FILE] = "file", [CHARDEV_PTY] = "pty", [CHARDEV_SOCKET] = "socket",
	};

	put(t, " %s=%s%s%s%s%s%s%s%s", c->id, names[c->backend], c->path ? ":" : "", c->path ? c->path : "", c->append ? "+append" : "",
	    c->server ? "+server" : "", c->wait ? "+wait" : "", c->signal ? "+signal" : "", c->mux ? "+mux" : "");
}

/* What differs from `-nodefaults -kernel K`, in a fixed order. */
static void show(struct text *t, const struct vm_config *cfg)
{
	t->n = 0;
	t->s[0] = '\0';
	if (strcmp(cfg->kernel, "K"))
		put(t, " kernel=%s", cfg->kernel);
	if (cfg->initrd)
		put(t, " initrd=%s", cfg->initrd);
	if (cfg->append)
		put(t, " append=%s", cfg->append);
	if (cfg->name)
		put(t, " name=%s", cfg->name);
	if (cfg->process_name)
		put(t, " process=%s", cfg->process_name);
	if (cfg->uuid_set)
		put(t, " uuid=%02x..%02x", cfg->uuid[0], cfg->uuid[15]);
	if (cfg->ram_size != CONFIG_DEFAULT_RAM)
		put(t, " ram=%" PRIu64 "K", cfg->ram_size / KIB);
	if (cfg->smp.cpus != 1 || cfg->smp.sockets != 1 || cfg->smp.cores != 1 || cfg->smp.threads != 1)
		put(t, " smp=%u:%u/%u/%u", cfg->smp.cpus, cfg->smp.sockets, cfg->smp.cores, cfg->smp.threads);
	if (strcmp(cfg->cpu.model, "host") || cfg->cpu.n_features)
		put(t, " cpu=%s", cfg->cpu.model);
	for (size_t i = 0; i < cfg->cpu.n_features; i++)
		put(t, ",%c%s", cfg->cpu.features[i].on ? '+' : '-', cfg->cpu.features[i].name);
	if (cfg->rtc_base != RTC_BASE_UTC)
		put(t, " rtc=%s", cfg->rtc_base == RTC_BASE_DATE ? "date" : "localtime");
	if (cfg->rtc_base == RTC_BASE_DATE)
		put(t, ":%" PRId64, cfg->rtc_date);
	put(t, "%s%s%s%s", cfg->no_reboot ? " no-reboot" : "", cfg->testdev ? " testdev" : "", cfg->debug_log ? " debug" : "",
	    cfg->debug_threads ? " debug-threads" : "");
	for (size_t i = 0; i < cfg->n_chardevs; i++)
		put_chardev(t, &cfg->chardevs[i]);
	for (size_t i = 0; i < cfg->n_serials; i++)
		put(t, " com%u=%s@%s", cfg->serials[i].index + 1, cfg->serials[i].id, cfg->serials[i].chardev);
	for (size_t i = 0; i < cfg->n_debug_exits; i++)
		put(t, " exit=0x%x+%u", cfg->debug_exits[i].iobase, cfg->debug_exits[i].iosize);
}

/* -nodefaults -kernel K go in front, unless the line starts with '!'. */
struct good {
	const char *line, *expected;
};

static const struct good good[] = {
	{ "", "" },
	{ "-kernel L", " kernel=L" },
	{ "--kernel L", " kernel=L" },
	{ "-kernel L -kernel M", " kernel=M" },
	{ "-initrd I -append console=ttyS0~quiet,a=b", " initrd=I append=console=ttyS0 quiet,a=b" },
	{ "-append -kernel", " append=-kernel" },
	{ "-append ''", " append=" },
	{ "-initrd I -initrd J -append a -append b", " initrd=J append=b" },
	/* -m */
	{ "-m 512", " ram=524288K" },
	{ "-m 512M", " ram=524288K" },
	{ "-m 1G", " ram=1048576K" },
	{ "-m 1.5G", " ram=1572864K" },
	{ "-m size=524288k", " ram=524288K" },
	{ "-m size=1g", " ram=1048576K" },
	{ "-m 64", " ram=65536K" },
	{ "-m 4T", " ram=4294967296K" },
	{ "-m 128", "" },
	{ "-m 65537k", " ram=65544K" },
	{ "-m 67108865b", " ram=65544K" },
	{ "-m 256 -m 512", " ram=524288K" },
	{ "-m 512,slots=0", " ram=524288K" },
	{ "-m 512,slots=2,maxmem=512M", " ram=524288K" },
	{ "-m 512 -m maxmem=512M", " ram=524288K" },
	{ "-m 65537k,maxmem=65538k", " ram=65544K" },
	/* -smp: QEMU 7.2's figures */
	{ "-smp 4", " smp=4:1/4/1" },
	{ "-smp cpus=4", " smp=4:1/4/1" },
	{ "-smp 64", " smp=64:1/64/1" },
	{ "-smp 1,sockets=1,cores=1,threads=1", "" },
	{ "-smp 8,sockets=2", " smp=8:2/4/1" },
	{ "-smp 8,threads=2", " smp=8:1/4/2" },
	{ "-smp 8,cores=2", " smp=8:4/2/1" },
	{ "-smp 8,cores=2,threads=2", " smp=8:2/2/2" },
	{ "-smp 8,sockets=2,threads=2", " smp=8:2/2/2" },
	{ "-smp 8,sockets=2,cores=2", " smp=8:2/2/2" },
	{ "-smp 8,sockets=2,cores=2,threads=2", " smp=8:2/2/2" },
	{ "-smp sockets=2,cores=3", " smp=6:2/3/1" },
	{ "-smp threads=2", " smp=2:1/1/2" },
	{ "-smp maxcpus=4", " smp=4:1/4/1" },
	{ "-smp 4,maxcpus=4", " smp=4:1/4/1" },
	{ "-smp 4,dies=1,clusters=1", " smp=4:1/4/1" },
	{ "-smp 2 -smp 4", " smp=4:1/4/1" },
	{ "-smp 4 -smp sockets=2", " smp=4:2/2/1" },
	{ "-smp 0x10", " smp=16:1/16/1" },
	/* -cpu */
	{ "-cpu host", "" },
	{ "-cpu max", " cpu=max" },
	{ "-cpu host,migratable=on", "" },
	{ "-cpu host,migratable=off,+avx,-sse4.2,aes=on,x2apic=off,rdrand,+avx", " cpu=host,+avx,-sse4.2,+aes,-x2apic,+rdrand,+avx" },
	{ "-cpu max,+avx -cpu host,-aes", " cpu=host,-aes" },
	/* -machine */
	{ "-machine pc", "" },
	{ "-M pc", "" },
	{ "-M type=pc,accel=kvm", "" },
	{ "-machine accel=kvm:tcg", "" },
	{ "-machine pc-i440fx-7.2,usb=off,dump-guest-core=off,vmport=off,hpet=off,acpi=on,graphics=off,smm=off,nvdimm=off,mem-merge=on", "" },
	{ "-machine pc-i440fx-11.10,kernel-irqchip=on,kernel_irqchip=on,vmport=auto,graphics,nousb", "" },
	{ "-machine pc -machine accel=kvm", "" },
	{ "-accel kvm", "" },
	{ "-accel accel=kvm,kernel-irqchip=on", "" },
	{ "-enable-kvm", "" },
	/* names and time */
	{ "-name vm1", " name=vm1" },
	{ "-name guest=a,,b,debug-threads=on,process=p", " name=a,b process=p debug-threads" },
	{ "-name a -name process=q -name b", " name=b process=q" },
	{ "-uuid 00112233-4455-6677-8899-aabbccddeeff", " uuid=00..ff" },
	{ "-rtc base=utc", "" },
	{ "-rtc base=localtime,clock=host,driftfix=slew", " rtc=localtime" },
	{ "-rtc base=2006-06-17T16:01:21", " rtc=date:1150560081" },
	{ "-rtc base=2000-02-29", " rtc=date:951782400" },
	{ "-rtc base=localtime -rtc driftfix=none", " rtc=localtime" },
	{ "-rtc base=localtime -rtc base=utc", "" },
	{ "-no-reboot", " no-reboot" },
	{ "-action reboot=shutdown", " no-reboot" },
	{ "-action reboot=shutdown -action shutdown=poweroff", " no-reboot" },
	{ "-no-reboot -action reboot=reset", "" },
	/* accepted without effect */
	{ "-audiodev {\"id\":\"audio1\",\"driver\":\"none\"} -msg timestamp=on -overcommit mem-lock=off,cpu-pm=on -no-hpet -k de", "" },
	{ "-no-fd-bootchk -nodefconfig -no-user-config -net none -nic none -vga none -vnc none -parallel none -monitor none", "" },
	{ "-boot strict=on,menu=off -global kvm-pit.lost_tick_policy=delay -global PIIX4_PM.disable_s3=1", "" },
	{ "-global PIIX4_PM.disable_s4=0 -global kvm-pit.lost_tick_policy=discard", "" },
	{ "-d debug", " debug" },
	/* serial ports without defaults */
	{ "-nographic", "" },
	{ "-serial stdio", " serial0=stdio+signal com1=serial0@serial0" },
	{ "-serial mon:stdio", " serial0=stdio+mux com1=serial0@serial0" },
	{ "-serial pty -serial null", " serial0=pty serial1=null com1=serial0@serial0 com2=serial1@serial1" },
	{ "-serial mon:pty", " serial0=pty+mux com1=serial0@serial0" },
	{ "-serial file:a,b=c,,d", " serial0=file:a,b=c,,d com1=serial0@serial0" },
	{ "-serial unix:/run/s", " serial0=socket:/run/s com1=serial0@serial0" },
	{ "-serial unix:/run/s,server=on,wait=off", " serial0=socket:/run/s+server com1=serial0@serial0" },
	{ "-serial unix:/run/s,server,nowait", " serial0=socket:/run/s+server com1=serial0@serial0" },
	{ "-serial unix:/run/s,server", " serial0=socket:/run/s+server+wait com1=serial0@serial0" },
	{ "-serial unix:a,,b,server=on,wait=on", " serial0=socket:a,b+server+wait com1=serial0@serial0" },
	{ "-serial mon:unix:s,server,nowait", " serial0=socket:s+server+mux com1=serial0@serial0" },
	{ "-serial none", "" },
	{ "-serial none -serial null", " serial1=null com2=serial1@serial1" },
	{ "-serial null -serial null -serial null -serial null",
	  " serial0=null serial1=null serial2=null serial3=null com1=serial0@serial0 com2=serial1@serial1 com3=serial2@serial2 "
	  "com4=serial3@serial3" },
	{ "-serial chardev:c -chardev pty,id=c", " c=pty com1=serial0@c" },
	/* -chardev */
	{ "-chardev null,id=c", " c=null" },
	{ "-chardev backend=null,id=c", " c=null" },
	{ "-chardev stdio,id=c", " c=stdio+signal" },
	{ "-chardev stdio,id=c,mux=on,signal=off", " c=stdio+mux" },
	{ "-chardev file,id=c,path=a,,b,append=on", " c=file:a,b+append" },
	{ "-chardev socket,id=c,path=p", " c=socket:p" },
	{ "-chardev socket,id=c,path=p,server=on", " c=socket:p+server+wait" },
	{ "-chardev socket,id=c,path=p,server=on,wait=off", " c=socket:p+server" },
	{ "-chardev socket,id=c,path=p,server=off", " c=socket:p" },
	{ "-chardev socket,id=c,path=p,server,nowait,mux=on", " c=socket:p+server+mux" },
	/* -device */
	{ "-device isa-debug-exit", " exit=0x501+2" },
	{ "-device isa-debug-exit,iobase=0xf4,iosize=0x04", " exit=0xf4+4" },
	{ "-device driver=isa-debug-exit,iobase=244", " exit=0xf4+2" },
	{ "-device {\"driver\":\"isa-debug-exit\",\"iobase\":244,\"iosize\":4}", " exit=0xf4+4" },
	{ "-device isa-debug-exit,iobase=0xfff8,iosize=8 -device isa-debug-exit,id=e", " exit=0xfff8+8 exit=0x501+2" },
	{ "-device pc-testdev", " testdev" },
	{ "-chardev pty,id=c -device isa-serial,chardev=c", " c=pty com1=serial0@c" },
	{ "-chardev pty,id=c -device isa-serial,chardev=c,id=u,index=2", " c=pty com3=u@c" },
	{ "-chardev pty,id=charserial0 -device {\"driver\":\"isa-serial\",\"chardev\":\"charserial0\",\"id\":\"serial0\",\"index\":0}",
	  " charserial0=pty com1=serial0@charserial0" },
	{ "-device isa-serial,chardev=c,iobase=0x2f8 -chardev pty,id=c", " c=pty com2=serial1@c" },
	{ "-device isa-serial,chardev=c,iobase=0x3e8,irq=4,index=2 -chardev pty,id=c", " c=pty com3=serial2@c" },
	{ "-serial null -device isa-serial,chardev=c -chardev pty,id=c", " serial0=null c=pty com1=serial0@serial0 com2=serial1@c" },
	{ "-device isa-serial,chardev=a -device isa-serial,chardev=b,index=0 -chardev pty,id=a -chardev pty,id=b",
	  " a=pty b=pty com1=serial0@b com2=serial1@a" },
	/* defaults */
	{ "!-kernel K", " serial0=stdio+mux com1=serial0@serial0" },
	{ "!-nographic -kernel K", " serial0=stdio+mux com1=serial0@serial0" },
	{ "!-display none -kernel K", " serial0=null com1=serial0@serial0" },
	{ "!-display none -nographic -kernel K", " serial0=stdio+mux com1=serial0@serial0" },
	{ "!-monitor none -kernel K", " serial0=stdio+signal com1=serial0@serial0" },
	{ "!-serial null -nographic -kernel K", " serial0=null com1=serial0@serial0" },
	{ "!-serial none -nographic -kernel K", "" },
	{ "!-kernel K -chardev null,id=c -device isa-serial,chardev=c", " c=null com1=serial0@c" },
	{ "!-kernel K -chardev null,id=c", " c=null serial0=stdio+mux com1=serial0@serial0" },
	/* as libvirt starts a simple domain, but for what comes later */
	{ "!-name guest=N,debug-threads=on -machine pc-i440fx-7.2,usb=off,dump-guest-core=off -accel kvm -cpu host,migratable=on -m size=524288k "
	  "-overcommit mem-lock=off -smp 1,sockets=1,cores=1,threads=1 -uuid 00112233-4455-6677-8899-aabbccddeeff -display none "
	  "-no-user-config -nodefaults -rtc base=utc,driftfix=slew -no-hpet -no-reboot -boot strict=on -kernel K -initrd I -append A "
	  "-global kvm-pit.lost_tick_policy=delay -chardev pty,id=charserial0 "
	  "-device {\"driver\":\"isa-serial\",\"chardev\":\"charserial0\",\"id\":\"serial0\",\"index\":0} -msg timestamp=on",
	  " initrd=I append=A name=N uuid=00..ff ram=524288K no-reboot debug-threads charserial0=pty com1=serial0@charserial0" },
};

START_TEST(test_good)
{
	enum cli_action action = CLI_HELP;
	struct err err = ERR_INIT;
	struct vm_config cfg;
	char line[2048];
	struct text t;
	struct words w;
	int ret;

	with_prefix(line, sizeof(line), "-nodefaults -kernel K ", good[_i].line);
	split(&w, line);
	config_init(&cfg);
	ret = cli_parse(w.n, w.v, &cfg, &action, &err);
	ck_assert_msg(ret == 0, "%s: %s", line, err.msg);
	ck_assert_int_eq(action, CLI_RUN);
	show(&t, &cfg);
	ck_assert_msg(!strcmp(t.s, good[_i].expected), "%s:\n gives    '%s'\n expected '%s'", line, t.s, good[_i].expected);
	config_fini(&cfg);
}
END_TEST

#define P107 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* -kernel K goes in front, unless the line starts with '!'. */
static const struct {
	const char *line, *message;
} bad[] = {
	/* options */
	{ "-krenel x", "-krenel: unknown option; did you mean -kernel?" },
	{ "--krenel x", "--krenel: unknown option; did you mean -kernel?" },
	{ "-sandbox on", "-sandbox: unknown option; -help lists those there are" },
	{ "-drive file=a", "-drive: unknown option; -help lists" },
	{ "-nographics", "did you mean -nographic?" },
	{ "-", "-: unknown option" },
	{ "--", "--: unknown option" },
	{ "---m", "---m: unknown option" },
	{ "-S", "-S: unknown option; -help" },
	{ "-a\nb", "-a?b: unknown option" },
	{ "-m", "-m: needs a value after it" },
	{ "-nodefaults -kernel", "-kernel: needs a value" },
	{ "disk.img", "'disk.img': disk images cannot be attached yet; boot a kernel with -kernel" },
	{ "''", "'': disk images cannot be attached yet" },
	{ "-usb", "-usb: not available: Kite has no USB" },
	{ "-no-acpi", "-no-acpi: not available: the machine always has ACPI" },
	/* boot */
	{ "!", "there is nothing to boot: give a kernel with -kernel FILE" },
	{ "!-m 512", "nothing to boot" },
	{ "!-append x", "-append only allowed with -kernel" },
	{ "!-initrd x", "-initrd only allowed with -kernel" },
	{ "-kernel ''", "-kernel: the value is empty" },
	{ "-initrd ''", "-initrd: the value is empty" },
	/* -m */
	{ "-m sze=1", "-m: unknown property 'sze'; did you mean 'size'?" },
	{ "-m colour=1", "-m: unknown property 'colour'; known: size, slots, maxmem" },
	{ "-m ''", "-m: the value is empty" },
	{ "-m 63", "-m: property 'size': '63' is too little; the least is 64 MiB" },
	{ "-m 0", "'0' is too little; the least is 64 MiB" },
	{ "-m 5T", "-m: property 'size': '5T' is too much; the most is 4 TiB" },
	{ "-m 16E", "expected a size such as 512M or 2G, got '16E'" },
	{ "-m 18446744073709551616", "expected a size" },
	{ "-m lots", "-m: property 'size': expected a size such as 512M or 2G, got 'lots'" },
	{ "-m 512,slots=2", "-m: slots is given without maxmem; memory cannot be hotplugged yet" },
	{ "-m 512,slots=2,maxmem=1G", "-m: maxmem is not the size; memory cannot be hotplugged yet" },
	{ "-m 512,maxmem=256M", "-m: maxmem is not the size" },
	{ "-m 512,slots=257", "-m: property 'slots': expected a number from 0 to 256, got '257'" },
	/* -smp */
	{ "-smp 0", "-smp: property 'cpus': expected a number from 1 to 64, got '0'" },
	{ "-smp 65", "from 1 to 64, got '65'" },
	{ "-smp -1", "got '-1'" },
	{ "-smp two", "got 'two'" },
	{ "-smp 4294967297", "got '4294967297'" },
	{ "-smp 4,maxcpus=8", "-smp: maxcpus=8 is not cpus=4; vCPUs cannot be hotplugged" },
	{ "-smp maxcpus=65", "-smp: 65 vCPUs are too many; the most is 64" },
	{ "-smp maxcpus=4294967295", "-smp: 4294967295 vCPUs are too many" },
	{ "-smp sockets=64,cores=64,threads=64", "-smp: 262144 vCPUs are too many; the most is 64" },
	{ "-smp 5,sockets=2", "-smp: sockets (2) * cores (2) * threads (1) is 4, but there are 5 vCPUs" },
	{ "-smp 2,sockets=4", "-smp: sockets (4) * cores (0) * threads (1) is 0, but there are 2 vCPUs" },
	{ "-smp 4,sockets=2,cores=3,threads=1", "is 6, but there are 4 vCPUs" },
	{ "-smp 4,cores=3", "sockets (1) * cores (3) * threads (1) is 3, but there are 4" },
	{ "-smp 2,sockets=2,cores=2", "sockets (2) * cores (2) * threads (0) is 0" },
	{ "-smp 4,dies=2", "-smp: property 'dies': expected a number from 1 to 1, got '2'" },
	{ "-smp 4,clusters=2", "-smp: property 'clusters'" },
	{ "-smp 4,core=2", "-smp: unknown property 'core'; did you mean 'cores'?" },
	/* -cpu */
	{ "-cpu qemu64", "-cpu: model 'qemu64' is not available: Kite gives what the host has; use host or max" },
	{ "-cpu +avx", "-cpu: model '+avx' is not available" },
	{ "-cpu avx=on", "-cpu: model 'avx' is not available" },
	{ "-cpu ,+avx", "-cpu: model '' is not available" },
	{ "-cpu ''", "-cpu: the value is empty" },
	{ "-cpu host,level=13", "-cpu: feature 'level': expected on or off, got '13'" },
	{ "-cpu host,+", "-cpu: a feature without a name" },
	{ "-cpu host,+avx=on", "-cpu: feature '+avx': takes no value; give +avx, or avx=on" },
	{ "-cpu host,-=off", "-cpu: feature '-': takes no value" },
	{ "-cpu host,=on", "-cpu: a property without a name" },
	{ "-cpu host,migratable=maybe", "-cpu: feature 'migratable': expected on or off" },
	/* -machine, -accel */
	{ "-machine q35", "-machine: 'q35' is not available; known: pc" },
	{ "-machine pc-i440fx", "'pc-i440fx' is not available" },
	{ "-machine pc-i440fx-7", "is not available" },
	{ "-machine pc-i440fx-.2", "is not available" },
	{ "-machine pc-i440fx-7.", "is not available" },
	{ "-machine pc-i440fx-7.2x", "is not available" },
	{ "-machine pc-i440fx-123456789.2", "is not available" },
	{ "-machine pc,accel=tcg", "-machine: accel 'tcg' is not available: Kite runs on KVM only" },
	{ "-machine pc,accel=tcg:kvm", "accel 'tcg:kvm' is not available" },
	{ "-machine pc,usb=on", "-machine: property 'usb': 'on' is not available: Kite has no USB" },
	{ "-machine pc,acpi=off", "-machine: property 'acpi': 'off' is not available: the machine always has ACPI" },
	{ "-machine pc,noacpi", "-machine: property 'acpi': 'off' is not available" },
	{ "-machine pc,vmport=on", "property 'vmport'" },
	{ "-machine pc,hpet=on", "property 'hpet'" },
	{ "-machine pc,smm=on", "property 'smm'" },
	{ "-machine pc,kernel_irqchip=split", "interrupt controllers are always KVM's" },
	{ "-machine pc,memory-backend=pc.ram", "-machine: property 'memory-backend': 'pc.ram' is not available: there is no object" },
	{ "-machine pc,dump-guest-core=maybe", "property 'dump-guest-core': 'maybe' is not available" },
	{ "-machine pc,grafics=off", "unknown property 'grafics'; did you mean 'graphics'?" },
	{ "-machine ''", "-machine: the value is empty" },
	{ "-accel tcg", "-accel: property 'accel': 'tcg' is not available: Kite runs on KVM only" },
	{ "-accel kvm,thread=multi", "-accel: unknown property 'thread'" },
	/* the rest of the machine */
	{ "-name a,proces=b", "-name: unknown property 'proces'; did you mean 'process'?" },
	{ "-name a,debug-threads=x", "-name: property 'debug-threads': expected on or off" },
	{ "-uuid 1234", "-uuid: expected 8-4-4-4-12 hexadecimal digits, got '1234'" },
	{ "-rtc base=yesterday", "-rtc: property 'base': expected utc, localtime, or a date" },
	{ "-rtc base=2023-02-29", "-rtc: property 'base'" },
	{ "-rtc clock=vm", "-rtc: property 'clock': 'vm' is not available: the clock follows the host's" },
	{ "-rtc driftfix=x", "-rtc: property 'driftfix'" },
	{ "-rtc utc", "-rtc: unknown property 'utc'" },
	{ "-action reboot=reset,panic=none", "-action: unknown property 'panic'" },
	{ "-action reboot=x", "-action: property 'reboot': 'x' is not one of reset, shutdown" },
	{ "-action shutdown=pause", "-action: property 'shutdown': 'pause' is not available" },
	{ "-boot menu=on", "-boot: property 'menu': 'on' is not available: there is no boot menu" },
	{ "-boot c", "-boot: unknown property 'c'; known: strict, menu" },
	{ "-overcommit mem-lock=on", "-overcommit: property 'mem-lock': 'on' is not available" },
	{ "-global PIIX4_PM.disable_s5=1", "-global: unknown property 'PIIX4_PM.disable_s5'; did you mean 'PIIX4_PM.disable_s3'?" },
	{ "-global isa-serial.index=1", "-global: unknown property 'isa-serial.index'; known: kvm-pit.lost_tick_policy" },
	{ "-global PIIX4_PM.disable_s3=2", "-global: property 'PIIX4_PM.disable_s3': '2' is not available: expected 0 or 1" },
	{ "-global kvm-pit.lost_tick_policy=merge", "expected delay or discard" },
	{ "-global x", "-global: expected DRIVER.PROPERTY=VALUE, got 'x'" },
	{ "-d cpu", "-d: unknown log item 'cpu'; known: debug" },
	{ "-display gtk", "-display: 'gtk' is not available: Kite has no display; give none" },
	{ "-vga std", "-vga: 'std' is not available: Kite has no display; the only value is none" },
	{ "-vnc :0", "-vnc: ':0' is not available" },
	{ "-monitor stdio", "-monitor: 'stdio' is not available: Kite has no monitor yet; give none, and see Ctrl-a h" },
	{ "-parallel null", "-parallel: 'null' is not available" },
	{ "-net user", "-net: 'user' is not available: network devices are not available yet" },
	{ "-nic user", "-nic: 'user' is not available" },
	/* -serial, -chardev */
	{ "-serial tcp::4444", "-serial: 'tcp::4444' is not available; use [mon:]stdio, pty, null, none" },
	{ "-serial ''", "-serial: '' is not available" },
	{ "-serial mon:none", "-serial: 'none' is not available" },
	{ "-serial mon:chardev:c", "is not available" },
	{ "-serial mon:mon:stdio", "'mon:stdio' is not available" },
	{ "-serial file:", "-serial: property 'path': may not be empty" },
	{ "-serial unix:", "-serial: property 'path' is missing" },
	{ "-serial unix:a,id=b", "-serial: property 'id' is not taken here" },
	{ "-serial unix:a,srver=on", "-serial: unknown property 'srver'; did you mean 'server'?" },
	{ "-serial unix:a,wait=off", "-serial: property 'wait' is for server=on only" },
	{ "-serial unix:a" P107, "is longer than 107 bytes" },
	{ "-serial null -serial null -serial null -serial null -serial null", "-serial: more than 4 serial ports" },
	{ "-serial stdio -serial stdio", "-serial: stdio is already used by chardev 'serial0'; only one can have it" },
	{ "-serial mon:stdio -chardev stdio,id=c", "-chardev stdio: stdio is already used by chardev 'serial0'" },
	{ "-chardev stdio,id=c", "the default serial port: stdio is already used by chardev 'c'" },
	{ "-chardev null,id=serial0 -serial pty", "-serial: there is already a chardev with the id 'serial0'; give that one another id" },
	{ "-serial chardev:c", "a serial port names chardev 'c', which is not defined; add -chardev BACKEND,id=c" },
	{ "-serial chardev:", "names chardev '', which is not defined" },
	{ "-serial chardev:c -serial chardev:c -chardev null,id=c", "chardev 'c' is used by two serial ports" },
	{ "-serial chardev:c -device isa-serial,chardev=c -chardev null,id=c", "chardev 'c' is used by two serial ports" },
	{ "-chardev vc,id=c", "-chardev: back end 'vc' is not available; use stdio, file, pty, socket or null" },
	{ "-chardev id=c", "-chardev: back end '' is not available" },
	{ "-chardev ''", "-chardev: back end '' is not available" },
	{ "-chardev null", "-chardev null: property 'id' is missing: give id=..." },
	{ "-chardev null,id=", "'' is not an identifier" },
	{ "-chardev null,id=1", "-chardev null: property 'id': '1' is not an identifier" },
	{ "-chardev null,id=c -chardev pty,id=c", "-chardev pty: there is already a chardev with the id 'c'" },
	{ "-chardev null,id=c,path=p", "-chardev null: unknown property 'path'; known: id, mux" },
	{ "-chardev file,id=c", "-chardev file: property 'path' is missing" },
	{ "-chardev socket,id=c", "-chardev socket: property 'path' is missing" },
	{ "-chardev socket,id=c,host=h,port=1", "-chardev socket: property 'host': 'h' is not available: sockets are Unix sockets" },
	{ "-chardev socket,id=c,path=p,wait=on", "-chardev socket: property 'wait' is for server=on only" },
	{ "-chardev socket,id=c,path=p,server=x", "property 'server': expected on or off" },
	/* -device */
	{ "-device isa-seral,chardev=c", "-device: unknown device 'isa-seral'; did you mean 'isa-serial'?" },
	{ "-device virtio-blk-pci", "-device: unknown device 'virtio-blk-pci'; -device help lists" },
	{ "-device ''", "-device: property 'driver' is missing" },
	{ "-device id=a", "-device: property 'driver' is missing" },
	{ "-device {}", "-device: property 'driver' is missing" },
	{ "-device {", "-device: not a JSON object" },
	{ "-device {\"driver\":1}", "-device: property 'driver': expected a string" },
	{ "-device {\"driver\":\"isa-debug-exit\",\"iobase\":\"0xf4\"}",
	  "-device isa-debug-exit: property 'iobase': expected a number, got a string" },
	{ "-device {\"driver\":\"pc-testdev\",\"driver\":\"pc-testdev\"}", "duplicate" },
	{ "-device isa-serial", "-device isa-serial: property 'chardev' is missing" },
	{ "-device isa-serial,chardev=c", "a serial port names chardev 'c', which is not defined" },
	{ "-device isa-serial,chardev=c,index=4 -chardev null,id=c", "property 'index': expected a number from 0 to 3" },
	{ "-device isa-serial,chardev=c,iobase=0x300 -chardev null,id=c", "iobase 0x300 is not 0x3f8, 0x2f8, 0x3e8 or 0x2e8" },
	{ "-device isa-serial,chardev=c,iobase=0x2f8,index=0 -chardev null,id=c", "iobase 0x2f8 is that of index 1, not 0" },
	{ "-device isa-serial,chardev=c,irq=4 -chardev null,id=c", "irq is given without index or iobase" },
	{ "-device isa-serial,chardev=c,irq=5,index=0 -chardev null,id=c", "irq 5 is not available for index 0; it has 4" },
	{ "-device isa-serial,chardev=c,irq=16 -chardev null,id=c", "property 'irq': expected a number from 1 to 15" },
	{ "-serial null -device isa-serial,chardev=c,index=0 -chardev null,id=c", "index 0 is already taken by the one on chardev 'serial0'" },
	{ "-serial null -serial null -serial null -serial null -device isa-serial,chardev=c -chardev null,id=c", "more than 4 serial ports" },
	{ "-device isa-serial,chardev=c -device isa-serial,chardev=c -device isa-serial,chardev=c -device isa-serial,chardev=c "
	  "-device isa-serial,chardev=c",
	  "-device isa-serial: more than 4 serial ports" },
	{ "-device isa-serial,chardev=c,id=1 -chardev null,id=c", "-device isa-serial: property 'id': '1' is not an identifier" },
	{ "-device isa-serial,chardev=c,id=a -device pc-testdev,id=a", "-device pc-testdev: there is already a device with the id 'a'" },
	{ "-serial null -device pc-testdev,id=serial0", "the id 'serial0' is the serial port's with index 0" },
	{ "-device pc-testdev -device pc-testdev", "-device pc-testdev: there can be only one" },
	{ "-device pc-testdev,x=1", "-device pc-testdev: unknown property 'x'; known: id" },
	{ "-device isa-debug-exit,iobase=0x10000", "-device isa-debug-exit: property 'iobase': expected a number from 0 to 65535" },
	{ "-device isa-debug-exit,iobase=0xffff", "ports 0xffff to 0x10000 end after the last one, 0xffff" },
	{ "-device isa-debug-exit,iosize=0", "property 'iosize': expected a number from 1 to 8, got '0'" },
	{ "-device isa-debug-exit,iosize=9", "got '9'" },
	{ "-device isa-debug-exit -device isa-debug-exit -device isa-debug-exit -device isa-debug-exit -device isa-debug-exit",
	  "-device isa-debug-exit: more than 4 of them" },
};

static void assert_refused(int argc, char *const argv[], const char *line, const char *message)
{
	enum cli_action action = CLI_RUN;
	struct err err = ERR_INIT;
	struct vm_config cfg;
	int ret;

	config_init(&cfg);
	ret = cli_parse(argc, argv, &cfg, &action, &err);
	ck_assert_msg(ret < 0, "%s was accepted", line);
	ck_assert_int_eq(ret, err.code);
	ck_assert_msg(strstr(err.msg, message) != NULL, "%s: '%s' lacks '%s'", line, err.msg, message);
	ck_assert_ptr_null(strpbrk(err.msg, "\n\r\t\x1b"));
	ck_assert_uint_lt(strlen(err.msg), ERR_MSG_MAX - 1);
	config_fini(&cfg);
}

START_TEST(test_bad)
{
	char line[2048];
	struct words w;

	with_prefix(line, sizeof(line), "-kernel K ", bad[_i].line);
	split(&w, line);
	assert_refused(w.n, w.v, line, bad[_i].message);
}
END_TEST

/* A word of any length or contents is quoted short and clean, wherever it stands. */
START_TEST(test_ugly_words)
{
	static char huge[200000];
	static const char *const formats[] = {
		"%s", "-%s", "-m\037%s", "-m\037%s=1", "-m\037size=%s", "-cpu\037%s", "-cpu\037host,%s=x", "-machine\037%s", "-uuid\037%s",
		"-machine\037pc,usb=%s", "-rtc\037base=%s", "-serial\037%s", "-serial\037chardev:%s", "-serial\037unix:a,%s=x", "-chardev\037%s",
		"-chardev\037null,id=%s", "-device\037%s", "-device\037{%s", "-device\037{\"driver\":\"%s\"}", "-global\037a.b=%s", "-d\037%s",
		"-display\037%s", "-monitor\037%s", "-vga\037%s", "-net\037%s", "-global\037%s", "-action\037reboot=%s",
		"-device\037isa-serial,chardev=%s", "-device\037pc-testdev,id=%s", "-device\037pc-testdev,%s=1", "-smp\037%s",
	};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		for (int kind = 0; kind < 3; kind++) {
			static char text[sizeof(huge) + 64];
			char *argv[5] = { (char[]){ "kite" }, (char[]){ "-kernel" }, (char[]){ "K" }, text };
			int argc = 4;

			memset(huge, kind ? '\n' : 'z', sizeof(huge) - 1);
			huge[kind == 1 ? 30 : kind == 2 ? 60000 : sizeof(huge) - 1] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			snprintf(text, sizeof(text), formats[i], huge);
#pragma GCC diagnostic pop
			if (strchr(text, '\037')) {
				argv[4] = strchr(text, '\037') + 1;
				argv[4][-1] = '\0';
				argc = 5;
			}
			assert_refused(argc, argv, formats[i], "");
		}
}
END_TEST

START_TEST(test_too_many)
{
	static char kernel[] = "-kernel", file[] = "K", chardev[] = "-chardev", cpu[] = "-cpu", name[] = "kite";
	char features[8 * (CONFIG_MAX_CPU_FEATURES + 2)] = "host", ids[CONFIG_MAX_CHARDEVS + 1][32];
	char *argv[2 * CONFIG_MAX_CHARDEVS + 5] = { name, kernel, file };
	int argc = 3;

	for (int i = 0; i <= CONFIG_MAX_CPU_FEATURES; i++)
		strcat(features, ",+avx");
	argv[3] = cpu;
	argv[4] = features;
	assert_refused(5, argv, "features", "-cpu: more than 128 features");
	for (int i = 0; i <= CONFIG_MAX_CHARDEVS; i++) {
		snprintf(ids[i], sizeof(ids[i]), "null,id=c%d", i);
		argv[argc++] = chardev;
		argv[argc++] = ids[i];
	}
	assert_refused(argc, argv, "chardevs", "-chardev null: more than 32 character devices");
	/* A chardev for the default port does not fit any more either. */
	assert_refused(argc - 2, argv, "chardevs", "the default serial port: more than 32 character devices");
}
END_TEST

static const struct {
	const char *line;
	enum cli_action action;
	const char *text;
} helps[] = {
	{ "-help", CLI_HELP, "usage: kite" },
	{ "--help", CLI_HELP, "usage: kite" },
	{ "-h", CLI_HELP, "usage: kite" },
	{ "-m 512 -help -unknown", CLI_HELP, "usage: kite" },
	{ "-version", CLI_VERSION, "Kite version " KITE_VERSION },
	{ "--version", CLI_VERSION, "Kite version" },
	{ "-machine help", CLI_MACHINE_HELP, "pc" },
	{ "-M ?", CLI_MACHINE_HELP, "pc" },
	{ "-machine type=help", CLI_MACHINE_HELP, "pc" },
	{ "-name x -cpu help", CLI_CPU_HELP, "" },
	{ "-device help", CLI_DEVICE_HELP, "isa-serial" },
	{ "-device ?", CLI_DEVICE_HELP, "isa-debug-exit" },
	{ "-d help", CLI_LOG_HELP, "debug" },
};

START_TEST(test_help)
{
	enum cli_action action = CLI_RUN;
	struct err err = ERR_INIT;
	struct vm_config cfg;
	struct words w;

	split(&w, helps[_i].line);
	config_init(&cfg);
	ck_assert_int_eq(cli_parse(w.n, w.v, &cfg, &action, &err), 0);
	ck_assert_int_eq(action, helps[_i].action);
	ck_assert_ptr_nonnull(strstr(cli_help_text(action), helps[_i].text));
	config_fini(&cfg);
}
END_TEST

/* Every option but the hidden ones is in -help, and no line is too wide for a terminal of usual width. */
START_TEST(test_help_text)
{
	const char *text = cli_help_text(CLI_HELP);
	size_t shown = 0;

	for (size_t i = 0; i < cli_n_options; i++) {
		const struct cli_option *opt = &cli_options[i];
		char line[64];

		snprintf(line, sizeof(line), "\n  -%s%s", opt->name, opt->takes_arg ? " " : "\n");
		shown += strstr(text, line) != NULL;
		for (size_t j = i + 1; j < cli_n_options; j++)
			ck_assert_str_ne(opt->name, cli_options[j].name);
	}
	ck_assert_uint_eq(shown, cli_n_options - 5);
	for (const char *p = text; *p; p += strcspn(p, "\n") + 1)
		ck_assert_msg(strcspn(p, "\n") <= 125, "too wide: %.130s", p);
}
END_TEST

/* What an option without effect says, and only to those who asked. */
static void run_logged(const char *line, char *out, size_t size)
{
	enum cli_action action;
	struct err err = ERR_INIT;
	struct vm_config cfg;
	struct words w;
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
	dup2(fds[1], STDERR_FILENO);
	split(&w, line);
	config_init(&cfg);
	ck_assert_int_eq(cli_parse(w.n, w.v, &cfg, &action, &err), 0);
	config_fini(&cfg);
	dup2(saved, STDERR_FILENO);
	n = read(fds[0], out, size - 1);
	out[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	close(fds[1]);
	close(saved);
}

START_TEST(test_notes)
{
	static const char line[] = "-kernel K -no-hpet -audiodev x -machine usb=off -m 128,maxmem=128 -boot strict=on -cpu host,migratable=on";
	char out[4096], debug_line[512];

	run_logged(line, out, sizeof(out));
	ck_assert_str_eq(out, "");
	/* Also those before -d. */
	snprintf(debug_line, sizeof(debug_line), "%s -d debug", line);
	run_logged(debug_line, out, sizeof(out));
	ck_assert_str_eq(out, "kite: debug: -no-hpet has no effect\n"
			      "kite: debug: -audiodev x has no effect\n"
			      "kite: debug: -machine: usb=off has no effect\n"
			      "kite: debug: -boot: strict=on has no effect\n"
			      "kite: debug: -cpu: migratable=on has no effect\n"
			      "kite: debug: -m: slots and maxmem have no effect\n");
}
END_TEST

START_TEST(test_no_words)
{
	char *argv[] = { (char[]){ "kite" }, NULL };

	assert_refused(1, argv, "kite", "nothing to boot");
	assert_refused(0, argv + 1, "", "nothing to boot");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli");
	TCase *tc = tcase_create("cli");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, test_good, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tc, test_bad, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, test_ugly_words);
	tcase_add_test(tc, test_too_many);
	tcase_add_loop_test(tc, test_help, 0, ARRAY_SIZE(helps));
	tcase_add_test(tc, test_help_text);
	tcase_add_test(tc, test_notes);
	tcase_add_test(tc, test_no_words);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
