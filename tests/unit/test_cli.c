/* SPDX-License-Identifier: MIT */
/* Whole command lines: what they configure, what they ask for instead of a run, and what is said about them. */
#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fake_cli.h"
#include "vmm/cli.h"
#include "vmm/cli_private.h"
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
	if (!cfg->kernel || strcmp(cfg->kernel, "K"))
		put(t, " kernel=%s", cfg->kernel ? cfg->kernel : "none");
	if (cfg->bios)
		put(t, " bios=%s", cfg->bios);
	for (size_t i = 0; i < cfg->n_data_dirs; i++)
		put(t, " dir=%s", cfg->data_dirs[i]);
	if (cfg->boot.order != CONFIG_BOOT_ORDER || cfg->boot.once)
		put(t, " order=%x,once=%x", cfg->boot.order, cfg->boot.once);
	if (cfg->boot.menu || cfg->boot.strict || cfg->boot.splash_time >= 0 || cfg->boot.reboot_timeout >= 0)
		put(t, " boot=%d,%d,%d,%d", cfg->boot.menu, cfg->boot.strict, cfg->boot.splash_time, cfg->boot.reboot_timeout);
	for (size_t i = 0; i < CONFIG_SMBIOS_TEXTS; i++)
		if (cfg->smbios.text[i])
			put(t, " text%zu=%s", i, cfg->smbios.text[i]);
	for (size_t i = 0; i < cfg->smbios.n_oem; i++)
		put(t, " oem=%s%s", cfg->smbios.oem[i].path ? "@" : "", cfg->smbios.oem[i].path ? cfg->smbios.oem[i].path : cfg->smbios.oem[i].text);
	for (size_t i = 0; i < cfg->smbios.n_files; i++)
		put(t, " smbios=%s", cfg->smbios.files[i]);
	if (cfg->smbios.bios || cfg->smbios.board)
		put(t, " smbios:%d,%d,%d,%d,%u.%u", cfg->smbios.bios, cfg->smbios.board, cfg->smbios.bios_release_set, cfg->smbios.bios_uefi,
		    cfg->smbios.bios_major, cfg->smbios.bios_minor);
	if (cfg->smbios.cpu_id || cfg->smbios.cpu_speed || cfg->smbios.cpu_max_speed || cfg->smbios.memory_speed)
		put(t, " speeds:%" PRIx64 ",%u,%u,%u", cfg->smbios.cpu_id, cfg->smbios.cpu_max_speed, cfg->smbios.cpu_speed, cfg->smbios.memory_speed);
	for (size_t i = 0; i < cfg->n_debugcons; i++)
		put(t, " debugcon=0x%x,0x%x@%s", cfg->debugcons[i].iobase, cfg->debugcons[i].readback, cfg->debugcons[i].chardev);
	for (size_t i = 0; i < cfg->n_fw_cfg; i++)
		put(t, " fw_cfg:%s=%s%s", cfg->fw_cfg[i].name, cfg->fw_cfg[i].file ? "@" : "",
		    cfg->fw_cfg[i].file ? cfg->fw_cfg[i].file : cfg->fw_cfg[i].string);
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
	put(t, "%s%s", cfg->no_shutdown ? " no-shutdown" : "", cfg->paused ? " paused" : "");
	put(t, "%s%s%s%s", cfg->no_reboot ? " no-reboot" : "", cfg->testdev ? " testdev" : "", cfg->debug_log ? " debug" : "",
	    cfg->debug_threads ? " debug-threads" : "");
	if (cfg->count_exits)
		put(t, " exits");
	if (cfg->boot_timer)
		put(t, " boot-timer=0x%x", cfg->boot_timer_port);
	for (size_t i = 0; i < cfg->n_chardevs; i++)
		put_chardev(t, &cfg->chardevs[i]);
	for (size_t i = 0; i < cfg->n_serials; i++)
		put(t, " com%u=%s@%s", cfg->serials[i].index + 1, cfg->serials[i].id, cfg->serials[i].chardev);
	for (size_t i = 0; i < cfg->n_monitors; i++)
		put(t, " mon=%s%s", cfg->monitors[i].chardev, cfg->monitors[i].human ? ",human" : cfg->monitors[i].pretty ? ",pretty" : "");
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
	/* firmware */
	{ "!-nodefaults", " kernel=none" },
	{ "!-nodefaults -bios B -L D -L E", " kernel=none bios=B dir=D dir=E" },
	{ "-boot c", " order=2,once=0" },
	{ "-boot order=nda,once=dc", " order=134,once=23" },
	{ "-boot strict=on,menu=on,splash-time=5000,splash=x.jpg,reboot-timeout=70000", " boot=1,1,5000,65535" },
	{ "-boot menu=on -boot strict=on,reboot-timeout=0 -boot menu=off,reboot-timeout=-1", " boot=0,1,-1,-1" },
	{ "-fw_cfg opt/a,string=x,,y -fw_cfg name=opt/b,file=F -fw_cfg etc/c,string=", " fw_cfg:opt/a=x,y fw_cfg:opt/b=@F fw_cfg:etc/c=" },
	{ "-smbios type=0,vendor=V,version=W,date=D,release=1.255,uefi=on", " text0=V text1=W text2=D smbios:1,0,1,1,1.255" },
	{ "-smbios type=1,manufacturer=M,product=P,version=V,serial=S,sku=K,family=F -smbios type=1,serial=T",
	  " text3=M text4=P text5=V text6=T text7=K text8=F" },
	{ "-smbios type=1,uuid=00112233-4455-6677-8899-aabbccddeeff", " uuid=00..ff" },
	{ "-smbios type=2,location=L", " text14=L smbios:0,1,0,0,0.0" },
	{ "-smbios type=3,asset=A,sku=", " text18=A text19=" },
	{ "-smbios type=4,sock_pfx=S,part=P,max-speed=3000,current-speed=2000,processor-id=0x123456789a", " text20=S text25=P speeds:123456789a,3000,2000,0" },
	{ "-smbios type=11,value=a,value=b,,c,path=F -smbios type=11,value=d", " oem=a oem=b,c oem=@F oem=d" },
	{ "-smbios type=17,loc_pfx=D,speed=2666 -smbios file=F -smbios file=G", " text26=D smbios=F smbios=G speeds:0,0,0,2666" },
	{ "-debugcon null", " debugcon=0xe9,0xe9@debugcon0 debugcon0=null" },
	{ "-chardev null,id=c -device isa-debugcon,iobase=0x402,chardev=c,readback=1", " debugcon=0x402,0x1@c c=null" },
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
	{ "-no-shutdown -S", " no-shutdown paused" },
	{ "-action shutdown=pause", " no-shutdown" },
	{ "-no-shutdown -action shutdown=poweroff", "" },
	/* monitors */
	{ "-qmp none", "" },
	{ "!-kernel K -display none -monitor stdio", " compat_monitor0=stdio+signal serial0=null com1=serial0@serial0 mon=compat_monitor0,human" },
	{ "!-kernel K -monitor stdio", " compat_monitor0=stdio+signal serial0=null com1=serial0@serial0 mon=compat_monitor0,human" },
	{ "-qmp unix:/q,server=on,wait=off", " compat_monitor0=socket:/q+server mon=compat_monitor0" },
	{ "-chardev pty,id=c -mon c,mode=control,pretty=on -qmp-pretty chardev:d -chardev null,id=d", " c=pty d=null mon=c,pretty mon=d,pretty" },
	/* accepted without effect */
	{ "-audiodev {\"id\":\"audio1\",\"driver\":\"none\"} -msg timestamp=on -overcommit mem-lock=off,cpu-pm=on -no-hpet -k de", "" },
	{ "-no-fd-bootchk -nodefconfig -no-user-config -net none -nic none -vga none -vnc none -parallel none -monitor none", "" },
	{ "-global kvm-pit.lost_tick_policy=delay -global PIIX4_PM.disable_s3=1", "" },
	{ "-global PIIX4_PM.disable_s4=0 -global kvm-pit.lost_tick_policy=discard", "" },
	{ "-d debug", " debug" },
	{ "-d exits", " exits" },
	{ "-d exits,debug", " debug exits" },
	{ "-d debug -d exits", " debug exits" },
	{ "-device isa-boot-timer", " boot-timer=0x504" },
	{ "-device isa-boot-timer,id=t,iobase=0x80", " boot-timer=0x80" },
	/* serial ports without defaults */
	{ "-nographic", "" },
	{ "-serial stdio", " serial0=stdio+signal com1=serial0@serial0" },
	{ "-serial mon:stdio", " serial0=stdio+mux com1=serial0@serial0 mon=serial0,human" },
	{ "-serial pty -serial null", " serial0=pty serial1=null com1=serial0@serial0 com2=serial1@serial1" },
	{ "-serial mon:pty", " serial0=pty+mux com1=serial0@serial0 mon=serial0,human" },
	{ "-serial file:a,b=c,,d", " serial0=file:a,b=c,,d com1=serial0@serial0" },
	{ "-serial unix:/run/s", " serial0=socket:/run/s com1=serial0@serial0" },
	{ "-serial unix:/run/s,server=on,wait=off", " serial0=socket:/run/s+server com1=serial0@serial0" },
	{ "-serial unix:/run/s,server,nowait", " serial0=socket:/run/s+server com1=serial0@serial0" },
	{ "-serial unix:/run/s,server", " serial0=socket:/run/s+server+wait com1=serial0@serial0" },
	{ "-serial unix:a,,b,server=on,wait=on", " serial0=socket:a,b+server+wait com1=serial0@serial0" },
	{ "-serial mon:unix:s,server,nowait", " serial0=socket:s+server+mux com1=serial0@serial0 mon=serial0,human" },
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
	{ "!-kernel K", " serial0=stdio+mux com1=serial0@serial0 mon=serial0,human" },
	{ "!-nographic -kernel K", " serial0=stdio+mux com1=serial0@serial0 mon=serial0,human" },
	{ "!-display none -kernel K", " serial0=null com1=serial0@serial0" },
	{ "!-display none -nographic -kernel K", " serial0=stdio+mux com1=serial0@serial0 mon=serial0,human" },
	{ "!-monitor none -kernel K", " serial0=stdio+signal com1=serial0@serial0" },
	{ "!-serial null -nographic -kernel K", " serial0=null com1=serial0@serial0" },
	{ "!-serial none -nographic -kernel K", "" },
	{ "!-kernel K -chardev null,id=c -device isa-serial,chardev=c", " c=null com1=serial0@c" },
	{ "!-kernel K -chardev null,id=c", " c=null serial0=stdio+mux com1=serial0@serial0 mon=serial0,human" },
	/* as libvirt starts a simple domain, but for what comes later */
	{ "!-name guest=N,debug-threads=on -machine pc-i440fx-7.2,usb=off,dump-guest-core=off -accel kvm -cpu host,migratable=on -m size=524288k "
	  "-overcommit mem-lock=off -smp 1,sockets=1,cores=1,threads=1 -uuid 00112233-4455-6677-8899-aabbccddeeff -display none "
	  "-no-user-config -nodefaults -rtc base=utc,driftfix=slew -no-hpet -no-reboot -boot strict=off -kernel K -initrd I -append A "
	  "-global kvm-pit.lost_tick_policy=delay -chardev pty,id=charserial0 "
	  "-device {\"driver\":\"isa-serial\",\"chardev\":\"charserial0\",\"id\":\"serial0\",\"index\":0} -msg timestamp=on",
	  " initrd=I append=A name=N uuid=00..ff ram=524288K no-reboot debug-threads charserial0=pty com1=serial0@charserial0" },
};

START_TEST(test_good)
{
	enum cli_action action = CLI_HELP;
	struct err err = ERR_INIT;
	struct vm_config cfg;
	const char *line = good[_i].line;
	struct fake_cli w;
	struct text t;
	int ret;

	fake_cli_split(&w, "-nodefaults -kernel K", line);
	config_init(&cfg);
	ret = cli_parse(w.n, w.v, &cfg, &action, &err);
	ck_assert_msg(ret == 0, "%s: %s", line, err.msg);
	ck_assert_int_eq(action, CLI_RUN);
	fake_cli_again(&cfg);
	show(&t, &cfg);
	ck_assert_msg(!strcmp(t.s, good[_i].expected), "%s:\n gives    '%s'\n expected '%s'", line, t.s, good[_i].expected);
	config_fini(&cfg);
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
	struct fake_cli w;

	fake_cli_split(&w, "", helps[_i].line);
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
	ck_assert_uint_eq(shown, cli_n_options - 10);
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
	struct fake_cli w;
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
	dup2(fds[1], STDERR_FILENO);
	fake_cli_split(&w, "", line);
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
	static const char line[] = "-kernel K -no-hpet -audiodev x -machine usb=off -m 128,maxmem=128 -cpu host,migratable=on";
	char out[4096], debug_line[512];

	run_logged(line, out, sizeof(out));
	ck_assert_str_eq(out, "");
	/* Also those before -d. */
	snprintf(debug_line, sizeof(debug_line), "%s -d debug", line);
	run_logged(debug_line, out, sizeof(out));
	ck_assert_str_eq(out, "kite: debug: -no-hpet has no effect\n"
			      "kite: debug: -audiodev x has no effect\n"
			      "kite: debug: -machine: usb=off has no effect\n"
			      "kite: debug: -cpu: migratable=on has no effect\n"
			      "kite: debug: -m: slots and maxmem have no effect\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli");
	TCase *tc = tcase_create("cli");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, test_good, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tc, test_help, 0, ARRAY_SIZE(helps));
	tcase_add_test(tc, test_help_text);
	tcase_add_test(tc, test_notes);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
