/* SPDX-License-Identifier: MIT */
/* -machine microvm: what lines configure, what is refused, and what its kernel is told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_cli.h"
#include "tests/unit/suite.h"
#include "vmm/arch.h"
#include "vmm/cli.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define PREFIX "-kernel K"

static struct vm_config cfg;
static struct err err;

static void setup(void)
{
	err = (struct err)ERR_INIT;
	config_init(&cfg);
}

static void teardown(void)
{
	config_fini(&cfg);
}

static int parse(const char *line)
{
	struct fake_cli w;
	enum cli_action action;

	fake_cli_split(&w, PREFIX, line);
	if (cli_parse(w.n, w.v, &cfg, &action, &err) < 0)
		return err.code;
	fake_cli_again(&cfg);
	return 0;
}

static const struct {
	const char *line;
	enum machine_type machine;
	const char *has; /* a letter for each of acpi, pic, pit, rtc (clock), serial, and kernel_cmdline */
	size_t n_serials, n_virtio;
} good[] = {
	{ "-M pc", MACHINE_PC, "apics", 1, 1 },
	{ "-machine pc,acpi=on -net none", MACHINE_PC, "apics", 1, 0 },
	{ "-M microvm", MACHINE_MICROVM, "apisk", 1, 0 },
	{ "-M pc,acpi=off -net none", MACHINE_PC, "pics", 1, 0 },
	{ "-no-acpi -net none", MACHINE_PC, "pics", 1, 0 },
	{ "-M pc,noacpi -net none", MACHINE_PC, "pics", 1, 0 },
	{ "-M microvm -no-acpi", MACHINE_MICROVM, "picsk", 1, 0 },
	{ "-M microvm,acpi=auto,pic=auto,pit=auto,rtc=auto,isa-serial=auto,auto-kernel-cmdline=auto", MACHINE_MICROVM, "apisk", 1, 0 },
	{ "-M microvm,rtc,accel=kvm,x-option-roms=off,graphics=off", MACHINE_MICROVM, "apicsk", 1, 0 },
	{ "-M microvm,noacpi", MACHINE_MICROVM, "picsk", 1, 0 },
	{ "-M microvm,acpi=off,rtc=off,pic=off,pit=off", MACHINE_MICROVM, "sk", 1, 0 },
	{ "-M microvm,isa-serial=off", MACHINE_MICROVM, "apik", 0, 0 },
	{ "-M microvm,isa-serial=off -nographic -serial none", MACHINE_MICROVM, "apik", 0, 0 },
	{ "-M microvm,auto-kernel-cmdline=off -nodefaults", MACHINE_MICROVM, "apis", 0, 0 },
	{ "-M acpi=off -M microvm -machine accel=kvm,pit=off", MACHINE_MICROVM, "pcsk", 1, 0 },
	{ "-M microvm -M pc", MACHINE_PC, "apics", 1, 1 },
	/* Devices, also in front of the machine */
	{ "-drive if=none,id=d,file=F -device virtio-blk-device,drive=d -M microvm", MACHINE_MICROVM, "apisk", 1, 1 },
	{ "-M microvm F -hdb G -drive file=H,if=virtio", MACHINE_MICROVM, "apisk", 1, 3 },
	{ "-M microvm -drive if=none,id=d,file=F -device virtio-blk,drive=d,serial=S,num-queues=2", MACHINE_MICROVM, "apisk", 1, 1 },
	{ "-M microvm -device virtio-serial-device,max_ports=4 -device virtserialport,name=n -device virtio-rng-device -device virtio-rng",
	  MACHINE_MICROVM, "apisk", 1, 3 },
	{ "-M microvm -global virtio-mmio.force-legacy=false -device {\"driver\":\"virtio-rng-device\"}", MACHINE_MICROVM, "apisk", 1, 1 },
};

START_TEST(accepted)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		char has[8];

		setup();
		ck_assert_msg(parse(good[i].line) == 0, "%s: %s", good[i].line, err.msg);
		snprintf(has, sizeof(has), "%s%s%s%s%s%s", cfg.board.acpi ? "a" : "", cfg.board.pic ? "p" : "", cfg.board.pit ? "i" : "",
			 cfg.board.rtc ? "c" : "", cfg.board.serial ? "s" : "", cfg.board.kernel_cmdline ? "k" : "");
		ck_assert_msg(strcmp(has, good[i].has) == 0, "%s: has %s", good[i].line, has);
		ck_assert_msg(cfg.machine == good[i].machine && cfg.n_serials == good[i].n_serials, "%s", good[i].line);
		ck_assert_msg(config_virtio_devices(&cfg) == good[i].n_virtio, "%s", good[i].line);
		teardown();
	}
}
END_TEST

static const struct {
	const char *line, *says;
} bad[] = {
	{ "-M microvn", "'microvn' is not available; known: pc, microvm, none" },
	{ "-M microvm,pit=maybe", "property 'pit': 'maybe' is not one of auto, on, off" },
	{ "-M microvm,ioapic2=on", "unknown property 'ioapic2'" },
	{ "-M microvm,pcie=on", "unknown property 'pcie'" },
	{ "-M microvm,usb=on", "Kite has no USB" },
	{ "-M rtc=off", "property 'rtc' is one of microvm, not of pc" },
	{ "-M pc,isa-serial=on", "property 'isa-serial' is one of microvm" },
	{ "-M pc,auto-kernel-cmdline=off", "property 'auto-kernel-cmdline' is one of microvm" },
	{ "-M microvm,isa-serial=off -serial null", "isa-serial=off; leave one of them out" },
	{ "-M microvm,isa-serial=off -chardev null,id=c -device isa-serial,chardev=c", "serial port on chardev 'c'" },
	{ "-M microvm -drive if=none,id=d,file=F -device virtio-blk-pci,drive=d",
	  "-device virtio-blk-pci: the machine microvm has no PCI bus; use virtio-blk-device" },
	{ "-device virtio-rng-pci-non-transitional -M microvm", "virtio-rng-pci-non-transitional: the machine microvm has no PCI bus; use virtio-rng-device" },
	{ "-M microvm -device virtio-serial-pci", "use virtio-serial-device" },
	{ "-drive if=none,id=d,file=F -device virtio-blk-device,drive=d", "the machine pc has its virtio devices on PCI; use virtio-blk-pci" },
	{ "-device virtio-serial-device", "use virtio-serial-pci" },
	{ "-device virtio-rng-device", "use virtio-rng-pci" },
	{ "-M microvm -device virtio-rng-device,addr=3", "-device virtio-rng-device: unknown property 'addr'" },
	{ "-M microvm -device virtio-serial-device,vectors=3", "unknown property 'vectors'" },
	{ "-M microvm -drive if=none,id=d,file=F -device virtio-blk-device,drive=d,disable-legacy=on", "unknown property 'disable-legacy'" },
	{ "-M microvm -drive if=none,id=d,file=F -device virtio-blk,drive=d,id=x,addr=3", "device 'x': addr, vectors" },
	{ "-M microvm -device virtio-rng,vectors=2,id=x", "device 'x': addr, vectors" },
	{ "-M microvm -device virtio-serial,disable-modern=on,id=x", "device 'x': addr, vectors" },
	{ "-M microvm -global virtio-mmio.force-legacy=true", "virtio over MMIO is version 2, not legacy" },
};

START_TEST(refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		setup();
		ck_assert_msg(parse(bad[i].line) < 0, "%s is accepted", bad[i].line);
		ck_assert_msg(strstr(err.msg, bad[i].says) != NULL, "%s: '%s' lacks '%s'", bad[i].line, err.msg, bad[i].says);
		teardown();
	}
}
END_TEST

/* 32 devices are described, 33 are refused. */
START_TEST(many)
{
	char line[4096] = "-M microvm,acpi=off";
	char *text;

	for (unsigned i = 0; i < 32; i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " -drive file=F%u", i);
	ck_assert_msg(parse(line) == 0, "%s", err.msg);
	ck_assert_int_eq(machine_kernel_append(&cfg, &text, &err), 0);
	ck_assert_ptr_nonnull(strstr(text, " virtio_mmio.device=512@0xfeb00e00:23 virtio_mmio.device=512@0xfeb01000:16 "));
	ck_assert_str_eq(strstr(text, "@0xfeb03e00"), "@0xfeb03e00:23");
	free(text);
	teardown();
	setup();
	strcat(line, " -device virtio-rng-device");
	ck_assert_int_lt(parse(line), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "room for 32 virtio devices, not 33"));
}
END_TEST

static const struct {
	const char *line, *append;
} appends[] = {
	{ "-M microvm,acpi=off F -append a~b", "a b virtio_mmio.device=512@0xfeb00000:16" },
	{ "-M microvm,acpi=off F", " virtio_mmio.device=512@0xfeb00000:16" },
	{ "-M microvm,acpi=off -append a", "a" },
	{ "-M microvm,acpi=off,auto-kernel-cmdline=off F -append a", "a" },
	{ "-M microvm F -append a", "a" },
	{ "F -append a", "a" },
	{ "F", "" },
};

START_TEST(kernel_append)
{
	for (size_t i = 0; i < ARRAY_SIZE(appends); i++) {
		char *text;

		setup();
		ck_assert_msg(parse(appends[i].line) == 0, "%s", err.msg);
		ck_assert_int_eq(machine_kernel_append(&cfg, &text, &err), 0);
		ck_assert_str_eq(text, appends[i].append);
		free(text);
		teardown();
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { accepted, refused, many, kernel_append };

	return suite_run("cli_microvm", tests, ARRAY_SIZE(tests), setup, teardown);
}
