/* SPDX-License-Identifier: MIT */
/* Bad command lines: each is refused with one clean line that has the right words, and nothing leaks. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_cli.h"
#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define P107 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* -kernel K goes in front, unless the line starts with '!'. */
static const struct {
	const char *line, *message;
} bad[] = {
	/* options */
	{ "-krenel x", "-krenel: unknown option; did you mean -kernel?" },
	{ "--krenel x", "--krenel: unknown option; did you mean -kernel?" },
	{ "-watchdog on", "-watchdog: unknown option; -help lists those there are" },
	{ "-nographics", "did you mean -nographic?" },
	{ "-", "-: unknown option" },
	{ "--", "--: unknown option" },
	{ "---m", "---m: unknown option" },
	{ "-a\nb", "-a?b: unknown option" },
	{ "-m", "-m: needs a value after it" },
	{ "-nodefaults -kernel", "-kernel: needs a value" },
	/* boot */
	{ "!-M microvm", "a microvm has no firmware that boots from a disk: give a kernel with -kernel FILE" },
	{ "-bios B", "-bios: a kernel given with -kernel is entered directly, without firmware" },
	{ "-bios ''", "-bios: the value is empty" },
	{ "-L ''", "-L: expected a directory" },
	{ "-boot order=x", "-boot: property 'order': 'x' has a letter that is no drive; known: a, b (floppy), c (disk), d (CD), n (network)" },
	{ "-boot cc", "-boot: property 'order': 'cc' names 'c' twice" },
	{ "-boot once=cadn", "-boot: property 'once': 'cadn' has more than 3 drives" },
	{ "-boot order=", "-boot: property 'order'" },
	{ "-boot menu=perhaps", "-boot: property 'menu'" },
	{ "-boot splash-time=65536", "-boot: property 'splash-time': expected a number from 0 to 65535" },
	{ "-boot reboot-timeout=-2", "-boot: property 'reboot-timeout': expected milliseconds, or -1 for never, got '-2'" },
	{ "-boot reboot-timeout=x", "expected milliseconds" },
	{ "-smbios vendor=x", "-smbios: expected type=N, with N one of 0, 1" },
	{ "-smbios type=5", "-smbios: type '5' is not available; known: 0, 1, 2, 3, 4, 11, 17, or file=FILE for any" },
	{ "-smbios type=0,release=1", "-smbios type=0: property 'release': expected MAJOR.MINOR, each 0 to 255, got '1'" },
	{ "-smbios type=0,release=1.256", "each 0 to 255" },
	{ "-smbios type=1,uuid=x", "-smbios type=1: property 'uuid': expected 8-4-4-4-12" },
	{ "-smbios type=1,asset=x", "-smbios type=1: unknown property 'asset'" },
	{ "-smbios type=4,processor-id=x", "-smbios type=4: property 'processor-id': expected a number" },
	{ "-smbios type=17,speed=65536", "-smbios type=17: property 'speed': expected a number from 0 to 65535" },
	{ "-smbios file=", "-smbios: property 'file'" },
	{ "-debugcon x", "-debugcon: 'x' is not available" },
	{ "-debugcon chardev:x", "-device isa-debugcon names chardev 'x', which is not defined" },
	{ "-device isa-debugcon", "-device isa-debugcon: property 'chardev' is missing" },
	{ "-chardev null,id=c -device isa-debugcon,chardev=c -device isa-debugcon,chardev=c,iobase=1", "chardev 'c' is already used by 'isa-debugcon'" },
	{ "-chardev null,id=c -serial chardev:c -device isa-debugcon,chardev=c", "chardev 'c' is already used by 'serial0'" },
	{ "-debugcon null -debugcon null -debugcon null -debugcon null -debugcon null", "-debugcon: more than 4 of them" },
	{ "-fw_cfg opt/x", "-fw_cfg: 'opt/x' needs either file=FILE or string=TEXT" },
	{ "-fw_cfg opt/x,file=a,string=b", "needs either file=FILE or string=TEXT" },
	{ "-fw_cfg string=b", "-fw_cfg: property 'name'" },
	{ "-fw_cfg opt/x,string=a -fw_cfg opt/x,string=b", "-fw_cfg: there is already an item 'opt/x'" },
	{ "-fw_cfg opt/aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeff,string=a", "-fw_cfg: property 'name'" },
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
	{ "-machine q35", "-machine: 'q35' is not available; known: pc, microvm, none" },
	{ "-machine pc-i440fx", "'pc-i440fx' is not available" },
	{ "-machine pc-i440fx-7", "is not available" },
	{ "-machine pc-i440fx-.2", "is not available" },
	{ "-machine pc-i440fx-7.", "is not available" },
	{ "-machine pc-i440fx-7.2x", "is not available" },
	{ "-machine pc-i440fx-123456789.2", "is not available" },
	{ "-machine pc,accel=tcg", "-machine: accel 'tcg' is not available: Kite runs on KVM only" },
	{ "-machine pc,accel=tcg:kvm", "accel 'tcg:kvm' is not available" },
	{ "-machine pc,usb=on", "-machine: property 'usb': 'on' is not available: Kite has no USB" },
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
	{ "-action reboot=reset,panic=never", "-action: property 'panic': 'never' is not one of pause, shutdown, exit-failure, none" },
	{ "-action reboot=x", "-action: property 'reboot': 'x' is not one of reset, shutdown" },
	{ "-action shutdown=sleep", "-action: property 'shutdown': " },
	/* monitors */
	{ "-qmp udp:localhost:4444", "-qmp: 'udp:localhost:4444' is not available" },
	{ "-qmp tcp:localhost", "-qmp: tcp: needs [HOST]:PORT, got 'localhost'" },
	{ "-qmp tcp:localhost:", "-qmp: tcp: needs [HOST]:PORT, got 'localhost:'" },
	{ "-qmp mon:stdio", "-qmp: 'mon:stdio' is not available" },
	{ "-qmp chardev:c", "a monitor names chardev 'c', which is not defined" },
	{ "-mon c", "a monitor names chardev 'c', which is not defined" },
	{ "-mon chardev=c,mode=loud", "-mon: property 'mode'" },
	{ "-mon mode=control", "-mon: property 'chardev'" },
	{ "-chardev null,id=c -mon c,mode=control -mon c,mode=control", "chardev 'c' is used by two monitors" },
	{ "-chardev null,id=c -mon c,mode=control -serial chardev:c", "chardev 'c' is used by a monitor and by a serial port" },
	{ "-qmp null -qmp null -qmp null -qmp null -qmp null -qmp null -qmp null -qmp null -qmp null", "-qmp: more than 8 monitors" },
	{ "-overcommit mem-lock=on", "-overcommit: property 'mem-lock': 'on' is not available" },
	{ "-global PIIX4_PM.disable_s5=1", "-global: unknown property 'PIIX4_PM.disable_s5'; did you mean 'PIIX4_PM.disable_s3'?" },
	{ "-global isa-serial.index=1", "-global: unknown property 'isa-serial.index'; known: kvm-pit.lost_tick_policy" },
	{ "-global PIIX4_PM.disable_s3=2", "-global: property 'PIIX4_PM.disable_s3': '2' is not available: expected 0 or 1" },
	{ "-global kvm-pit.lost_tick_policy=merge", "expected delay or discard" },
	{ "-global x", "-global: expected DRIVER.PROPERTY=VALUE, got 'x'" },
	{ "-d cpu", "-d: unknown log item 'cpu'; known: debug, exits" },
	{ "-d exits,", "-d: unknown log item ''; known" },
	{ "-d exits,exit,debug", "-d: unknown log item 'exit'; known" },
	{ "-device isa-boot-timer -device isa-boot-timer", "-device isa-boot-timer: there can be only one" },
	{ "-device isa-boot-timer,iobase=0x10000", "-device isa-boot-timer: property 'iobase': expected a number from 0 to 65535" },
	{ "-display gtk", "-display: 'gtk' is not available: Kite has no display; give none" },
	{ "-vga std", "-vga: 'std' is not available: Kite has no display; the only value is none" },
	{ "-vnc :0", "-vnc: ':0' is not available" },
	{ "-nographic -monitor stdio", "the default serial port: stdio is already used by chardev 'compat_monitor0'" },
	{ "-machine none -kernel k", "the machine none runs nothing" },
	{ "-daemonize -serial stdio", "-daemonize leaves no terminal for chardev 'serial0'" },
	{ "-add-fd set=1", "-add-fd: property 'fd' is missing" },
	{ "-add-fd fd=2,set=1", "-add-fd: property 'fd'" },
	{ "-object secret", "-object secret: property 'id' is missing" },
	{ "-parallel null", "-parallel: 'null' is not available" },
	{ "-net user", "-net: a back end without a card" },
	/* -serial, -chardev */
	{ "-serial udp::4444", "-serial: 'udp::4444' is not available; use [mon:]stdio, pty, null, none" },
	{ "-serial ''", "-serial: '' is not available" },
	{ "-serial mon:none", "-serial: 'none' is not available" },
	{ "-serial mon:chardev:c", "is not available" },
	{ "-serial mon:mon:stdio", "'mon:stdio' is not available" },
	{ "-serial file:", "-serial: property 'path': may not be empty" },
	{ "-serial unix:", "-serial: give one of path=FILE" },
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
	{ "-chardev socket,id=c", "-chardev socket: give one of path=FILE, [host=HOST,]port=PORT and fd=NUMBER" },
	{ "-chardev socket,id=c,host=h,port=1,path=/x", "-chardev socket: give one of" },
	{ "-chardev socket,id=c,fd=3,path=/x", "-chardev socket: give one of" },
	{ "-chardev socket,id=c,host=h", "-chardev socket: property 'port' is missing" },
	{ "-chardev socket,id=c,port=1,server=on,reconnect=1", "-chardev socket: property 'reconnect' is for clients" },
	{ "-chardev socket,id=c,port=1,telnet=on", "-chardev socket: property 'telnet': 'on' is not available" },
	{ "-chardev socket,id=c,path=p,wait=on", "-chardev socket: property 'wait' is for server=on only" },
	{ "-chardev socket,id=c,path=p,server=x", "property 'server': expected on or off" },
	/* -device */
	{ "-device isa-seral,chardev=c", "-device: unknown device 'isa-seral'; did you mean 'isa-serial'?" },
	{ "-device vhost-vsock-pci", "-device: unknown device 'vhost-vsock-pci'; -device help lists" },
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
	struct fake_cli w;

	fake_cli_split(&w, "-kernel K", bad[_i].line);
	assert_refused(w.n, w.v, bad[_i].line, bad[_i].message);
}
END_TEST

/* A word of any length or contents is quoted short and clean, wherever it stands. */
START_TEST(test_ugly_words)
{
	static char huge[200000];
	static const char *const formats[] = {
		"-%s", "-drive\037%s", "-drive\037file=F,%s=x", "-blockdev\037%s", "-object\037%s", "-m\037%s", "-m\037%s=1", "-m\037size=%s", "-cpu\037%s", "-cpu\037host,%s=x", "-machine\037%s", "-uuid\037%s",
		"-machine\037pc,usb=%s", "-rtc\037base=%s", "-serial\037%s", "-serial\037chardev:%s", "-serial\037unix:a,%s=x", "-chardev\037%s",
		"-chardev\037null,id=%s", "-device\037%s", "-device\037{%s", "-device\037{\"driver\":\"%s\"}", "-global\037a.b=%s", "-d\037%s",
		"-display\037%s", "-monitor\037%s", "-vga\037%s", "-net\037%s", "-nic\037%s", "-nic\037user,model=%s", "-netdev\037%s", "-netdev\037tap,id=%s", "-netdev\037tap,id=a,fds=%s",
		"-netdev\037stream,id=a,addr.type=fd,addr.str=%s", "-netdev\037socket,id=a,connect=%s",
		"-device\037virtio-net,mac=%s", "-device\037virtio-net,netdev=%s", "-global\037%s", "-action\037reboot=%s",
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

int main(void)
{
	Suite *s = suite_create("cli_refuse");
	TCase *tc = tcase_create("refuse");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, test_bad, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, test_ugly_words);
	tcase_add_test(tc, test_too_many);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
