/* SPDX-License-Identifier: MIT */
/* -machine, -accel, -m, and what else describes the machine as a whole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

/* QEMU rounds memory up to this; so does Kite, so that both give the same guest. */
#define RAM_ALIGN (UINT64_C(8) * KIB)

static const char *const names_auto_off[] = { "off", "auto", NULL };
static const char *const names_kvm[] = { "kvm", NULL };
static const char *const names_host[] = { "host", NULL };
static const char *const names_driftfix[] = { "slew", "none", NULL };
static const char *const names_reboot[] = { "reset", "shutdown", NULL };
static const char *const names_shutdown[] = { "poweroff", "pause", NULL };
static const char *const names_false[] = { "false", "off", NULL };
static const char *const names_guest_bits[] = { "0", "1", NULL };
static const char *const names_tick_policy[] = { "delay", "discard", NULL };

static const char why_accel[] = "Kite runs on KVM only";
static const char why_irqchip[] = "interrupt controllers are always KVM's";

struct machine_opts {
	char *type, *accel;
	struct cli_board board;
};

#define MACHINE_SWITCH(k, f) { .key = k, .type = PROP_SWITCH, .offset = offsetof(struct machine_opts, board.f), .names = cli_names_tristate }
#define MACHINE_FIXED(k, n, w) { .key = k, .type = PROP_FIXED, .names = n, .why = w }
static const struct prop_row machine_rows[] = {
	{ .key = "type", .type = PROP_STRING, .offset = offsetof(struct machine_opts, type) },
	{ .key = "accel", .type = PROP_STRING, .offset = offsetof(struct machine_opts, accel) },
	MACHINE_FIXED("kernel-irqchip", prop_names_on, why_irqchip),
	MACHINE_FIXED("kernel_irqchip", prop_names_on, why_irqchip),
	MACHINE_SWITCH("acpi", acpi),
	MACHINE_SWITCH("pic", pic),
	MACHINE_SWITCH("pit", pit),
	MACHINE_SWITCH("rtc", rtc),
	MACHINE_SWITCH("isa-serial", serial),
	MACHINE_SWITCH("auto-kernel-cmdline", kernel_cmdline),
	MACHINE_FIXED("x-option-roms", prop_names_on_off, "expected on or off"),
	MACHINE_FIXED("usb", prop_names_off, "Kite has no USB"),
	MACHINE_FIXED("vmport", names_auto_off, "Kite has no VMware port"),
	MACHINE_FIXED("hpet", prop_names_off, "Kite has no HPET"),
	MACHINE_FIXED("smm", names_auto_off, "Kite has no system management mode"),
	MACHINE_FIXED("nvdimm", prop_names_off, "Kite has no NVDIMM"),
	MACHINE_FIXED("graphics", prop_names_on_off, "expected on or off"),
	MACHINE_FIXED("dump-guest-core", prop_names_on_off, "expected on or off"),
	MACHINE_FIXED("mem-merge", prop_names_on_off, "expected on or off"),
	MACHINE_FIXED("memory-backend", prop_names_none, "there is no object of that name"),
	{ .key = NULL },
};
static const struct prop_table machine_props = { .implied = "type", .rows = machine_rows };

static bool is_digits(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

/* pc, and QEMU's versioned names of it, pc-i440fx-N.M: what libvirt asks for. */
static bool is_pc(const char *type)
{
	static const char prefix[] = "pc-i440fx-";
	const char *dot;
	char major[8];

	if (!strcmp(type, "pc"))
		return true;
	if (strncmp(type, prefix, sizeof(prefix) - 1))
		return false;
	type += sizeof(prefix) - 1;
	dot = strchr(type, '.');
	if (!dot || dot - type >= (ptrdiff_t)sizeof(major))
		return false;
	memcpy(major, type, (size_t)(dot - type));
	major[dot - type] = '\0';
	return is_digits(major) && is_digits(dot + 1);
}

static int machine_type(const char *name, enum machine_type *type, struct err *err)
{
	if (is_pc(name))
		*type = MACHINE_PC;
	else if (!strcmp(name, "microvm"))
		*type = MACHINE_MICROVM;
	else if (!strcmp(name, "none"))
		*type = MACHINE_NONE;
	else
		return err_set(err, -EINVAL, "-machine: '%s' is not available; known: pc, microvm, none", err_show(name).s);
	return 0;
}

/* accel=A:B asks for the first that works; KVM has to be the first, there is no second. */
static bool accel_is_kvm(const char *accel)
{
	return !strcmp(accel, "kvm") || !strncmp(accel, "kvm:", 4);
}

int cli_machine(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-machine", .notes = &cli->notes, .err = err };
	struct machine_opts opts = { .board = cli->board };
	int ret;

	if (cli_is_help(arg)) {
		cli->action = CLI_MACHINE_HELP;
		return 0;
	}
	ret = props_parse(arg, &machine_props, &opts, &ctx);
	if (ret == 0 && opts.type && cli_is_help(opts.type))
		cli->action = CLI_MACHINE_HELP;
	else if (ret == 0 && opts.type)
		ret = machine_type(opts.type, &opts.board.type, err);
	if (ret == 0 && opts.accel && !accel_is_kvm(opts.accel))
		ret = err_set(err, -EINVAL, "-machine: accel '%s' is not available: %s", err_show(opts.accel).s, why_accel);
	if (ret == 0)
		cli->board = opts.board;
	props_fini(&machine_props, &opts);
	return ret;
}

int cli_no_acpi(struct cli *cli, const char *arg, struct err *err)
{
	(void)arg;
	(void)err;
	cli->board.acpi = CONFIG_OFF;
	return 0;
}

static const struct prop_row accel_rows[] = {
	{ .key = "accel", .type = PROP_FIXED, .names = names_kvm, .why = why_accel },
	{ .key = "kernel-irqchip", .type = PROP_FIXED, .names = prop_names_on, .why = why_irqchip },
	{ .key = NULL },
};
const struct prop_table cli_accel_props = { .implied = "accel", .rows = accel_rows };

static const struct prop_row overcommit_rows[] = {
	{ .key = "mem-lock", .type = PROP_FIXED, .names = prop_names_off, .why = "Kite does not lock guest memory" },
	{ .key = "cpu-pm", .type = PROP_FIXED, .names = prop_names_on_off, .why = "expected on or off" },
	{ .key = NULL },
};
const struct prop_table cli_overcommit_props = { .rows = overcommit_rows };

static const struct prop_row name_rows[] = {
	{ .key = "guest", .type = PROP_STRING, .offset = offsetof(struct vm_config, name) },
	{ .key = "process", .type = PROP_STRING, .offset = offsetof(struct vm_config, process_name), .min = 1 },
	{ .key = "debug-threads", .type = PROP_BOOL, .offset = offsetof(struct vm_config, debug_threads) },
	{ .key = NULL },
};
const struct prop_table cli_name_props = { .implied = "guest", .rows = name_rows };

#define MEMORY_SIZE(k, field)                                                                                 \
	{ .key = k, .type = PROP_SIZE, .offset = offsetof(struct cli_mem, field), .min = CONFIG_MIN_RAM,        \
	  .max = CONFIG_MAX_RAM, .unit = MIB }
static const struct prop_row memory_rows[] = {
	MEMORY_SIZE("size", size),
	{ .key = "slots", .type = PROP_UNSIGNED, .offset = offsetof(struct cli_mem, slots), .max = 256 },
	MEMORY_SIZE("maxmem", maxmem),
	{ .key = NULL },
};
static const struct prop_table memory_props = { .implied = "size", .rows = memory_rows };

int cli_memory(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-m", .notes = &cli->notes, .err = err };

	return props_parse(arg, &memory_props, &cli->mem, &ctx);
}

int cli_memory_finish(struct cli *cli, struct err *err)
{
	uint64_t size = align_up(cli->mem.size ? cli->mem.size : CONFIG_DEFAULT_RAM, RAM_ALIGN);

	cli->cfg->ram_size = size;
	if (cli->mem.slots && !cli->mem.maxmem)
		return err_set(err, -EINVAL, "-m: slots is given without maxmem; memory cannot be hotplugged yet, leave both out");
	if (!cli->mem.maxmem)
		return 0;
	if (align_up(cli->mem.maxmem, RAM_ALIGN) != size)
		return err_set(err, -EINVAL, "-m: maxmem is not the size; memory cannot be hotplugged yet, leave it out");
	return strv_addf(&cli->notes, err, "-m: slots and maxmem have no effect");
}

static const struct prop_row global_rows[] = {
	{ .key = "kvm-pit.lost_tick_policy", .type = PROP_FIXED, .names = names_tick_policy, .why = "expected delay or discard" },
	{ .key = "PIIX4_PM.disable_s3", .type = PROP_FIXED, .names = names_guest_bits, .why = "expected 0 or 1" },
	{ .key = "virtio-mmio.force-legacy", .type = PROP_FIXED, .names = names_false, .why = "virtio over MMIO is version 2, not legacy" },
	{ .key = "PIIX4_PM.disable_s4", .type = PROP_FIXED, .names = names_guest_bits, .why = "expected 0 or 1" },
	{ .key = NULL },
};
static const struct prop_table global_props = { .rows = global_rows };

int cli_global(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-global", .notes = &cli->notes, .err = err };

	if (!strchr(arg, '=') || !strchr(arg, '.'))
		return err_set(err, -EINVAL, "-global: expected DRIVER.PROPERTY=VALUE, got '%s'", err_show(arg).s);
	return props_parse(arg, &global_props, NULL, &ctx);
}

struct action_opts {
	unsigned reboot;   /* index in names_reboot */
	unsigned shutdown; /* index in names_shutdown */
	unsigned panic;    /* enum panic_action */
	unsigned watchdog; /* enum watchdog_action */
};

static const struct prop_row action_rows[] = {
	{ .key = "reboot", .type = PROP_ENUM, .offset = offsetof(struct action_opts, reboot), .names = names_reboot },
	{ .key = "shutdown", .type = PROP_ENUM, .offset = offsetof(struct action_opts, shutdown), .names = names_shutdown },
	{ .key = "panic", .type = PROP_ENUM, .offset = offsetof(struct action_opts, panic), .names = config_panic_actions },
	{ .key = "watchdog", .type = PROP_ENUM, .offset = offsetof(struct action_opts, watchdog), .names = config_watchdog_actions },
	{ .key = NULL },
};
static const struct prop_table action_props = { .rows = action_rows };

int cli_action_option(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-action", .notes = &cli->notes, .err = err };
	struct action_opts opts = {
		.reboot = cli->cfg->no_reboot,
		.shutdown = cli->cfg->no_shutdown,
		.panic = cli->cfg->panic_action,
		.watchdog = cli->cfg->watchdog_action,
	};

	if (props_parse(arg, &action_props, &opts, &ctx) < 0)
		return err->code;
	cli->cfg->no_reboot = opts.reboot == 1;
	cli->cfg->no_shutdown = opts.shutdown == 1;
	cli->cfg->panic_action = opts.panic;
	cli->cfg->watchdog_action = opts.watchdog;
	return 0;
}

struct rtc_opts {
	char *base;
};

static const struct prop_row rtc_rows[] = {
	{ .key = "base", .type = PROP_STRING, .offset = offsetof(struct rtc_opts, base) },
	{ .key = "clock", .type = PROP_FIXED, .names = names_host, .why = "the clock follows the host's" },
	{ .key = "driftfix", .type = PROP_FIXED, .names = names_driftfix, .why = "expected slew or none" },
	{ .key = NULL },
};
static const struct prop_table rtc_props = { .rows = rtc_rows };

static int set_rtc_base(struct vm_config *cfg, const char *base, struct err *err)
{
	if (!strcmp(base, "utc"))
		cfg->rtc_base = RTC_BASE_UTC;
	else if (!strcmp(base, "localtime"))
		cfg->rtc_base = RTC_BASE_LOCALTIME;
	else if (cli_value_date(base, &cfg->rtc_date))
		cfg->rtc_base = RTC_BASE_DATE;
	else
		return err_set(err, -EINVAL, "-rtc: property 'base': expected utc, localtime, or a date such as 2024-02-29T23:59:59, got '%s'",
			       err_show(base).s);
	return 0;
}

int cli_rtc(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-rtc", .notes = &cli->notes, .err = err };
	struct rtc_opts opts = { .base = NULL };
	int ret = props_parse(arg, &rtc_props, &opts, &ctx);

	if (ret == 0 && opts.base)
		ret = set_rtc_base(cli->cfg, opts.base, err);
	props_fini(&rtc_props, &opts);
	return ret;
}

int cli_uuid(struct cli *cli, const char *arg, struct err *err)
{
	if (!cli_value_uuid(arg, cli->cfg->uuid))
		return err_set(err, -EINVAL, "-uuid: expected 8-4-4-4-12 hexadecimal digits, got '%s'", err_show(arg).s);
	cli->cfg->uuid_set = true;
	return 0;
}
