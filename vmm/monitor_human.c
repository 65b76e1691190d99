/* SPDX-License-Identifier: MIT */
/*
 * Commands for people (QEMU's human monitor), from a monitor of their own or by human-monitor-command. Most are a QMP command and a way to
 * show what it says.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/arch.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/monitor_priv.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

#define WORDS_MAX 4

/* One line at work. */
struct human {
	struct monitor *m;
	FILE *out;
	char *words[WORDS_MAX]; /* after the command's */
	unsigned n_words;
};

struct human_command {
	const char *name, *alias; /* NULL: no other name */
	const char *params, *help;
	unsigned words;           /* that it needs */
	int (*run)(struct human *h, struct err *err);
};

/* ---- what does something ---- */

static int ask(struct human *h, const char *command, json_t *args, json_t **ret, struct err *err)
{
	int r = qmp_do(h->m->qmp, command, args, ret, err);

	json_decref(args);
	return r;
}

static int tell(struct human *h, const char *command, json_t *args, struct err *err)
{
	json_t *ret = NULL;
	int r = ask(h, command, args, &ret, err);

	json_decref(ret);
	return r;
}

/* `stop` of QMP replies when the machine stands; nobody waits for that here. */
static int human_stop(struct human *h, struct err *err)
{
	(void)err;
	if (h->m->vm->state == VM_RUNNING)
		vm_request_for(h->m->vm, VM_REQUEST_PAUSE, VM_CAUSE_HOST_QUIT, 0);
	return 0;
}

static int human_cont(struct human *h, struct err *err)
{
	return tell(h, "cont", NULL, err);
}

static int human_reset(struct human *h, struct err *err)
{
	return tell(h, "system_reset", NULL, err);
}

static int human_powerdown(struct human *h, struct err *err)
{
	return tell(h, "system_powerdown", NULL, err);
}

static int human_quit(struct human *h, struct err *err)
{
	return tell(h, "quit", NULL, err);
}

static int human_nmi(struct human *h, struct err *err)
{
	return tell(h, "inject-nmi", NULL, err);
}

static int human_set_link(struct human *h, struct err *err)
{
	if (strcmp(h->words[1], "on") && strcmp(h->words[1], "off"))
		return err_set(err, -EINVAL, "expected on or off, got '%.64s'", h->words[1]);
	return tell(h, "set_link", json_pack("{s:s,s:b}", "name", h->words[0], "up", !strcmp(h->words[1], "on")), err);
}

static int human_block_resize(struct human *h, struct err *err)
{
	char *end;
	unsigned long long mib = strtoull(h->words[1], &end, 10);
	uint64_t size;

	if (*end || end == h->words[1] || !mul_u64(mib, UINT64_C(1) << 20, &size) || size > INT64_MAX)
		return err_set(err, -EINVAL, "expected a size in MiB, got '%.64s'", h->words[1]);
	return tell(h, "block_resize", json_pack("{s:s,s:I}", "device", h->words[0], "size", (json_int_t)size), err);
}

static int human_commit(struct human *h, struct err *err)
{
	return monitor_block_commit(h->m, h->words[0], err);
}

static int human_balloon(struct human *h, struct err *err)
{
	char *end;
	unsigned long long mib = strtoull(h->words[0], &end, 10);
	uint64_t size;

	if (*end || end == h->words[0] || !mul_u64(mib, UINT64_C(1) << 20, &size) || size > INT64_MAX)
		return err_set(err, -EINVAL, "expected a size in MiB, got '%.64s'", h->words[0]);
	return tell(h, "balloon", json_pack("{s:I}", "value", (json_int_t)size), err);
}

/* ---- what shows something ---- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static int show_balloon(struct human *h, const json_t *ret)
{
	return fprintf(h->out, "balloon: actual=%lld\r\n", (long long)(number_of(ret, "actual") >> 20));
}

static int show_status(struct human *h, const json_t *ret)
{
	bool running = json_is_true(json_object_get(ret, "running"));

	if (running)
		return fprintf(h->out, "VM status: running\r\n");
	return fprintf(h->out, "VM status: paused (%s)\r\n", text_of(ret, "status"));
}

static int show_version(struct human *h, const json_t *ret)
{
	return fprintf(h->out, "%s\r\n", text_of(ret, "package"));
}

static int show_name(struct human *h, const json_t *ret)
{
	return fprintf(h->out, "%s\r\n", text_of(ret, "name"));
}

static int show_uuid(struct human *h, const json_t *ret)
{
	return fprintf(h->out, "%s\r\n", text_of(ret, "UUID"));
}

static int show_kvm(struct human *h, const json_t *ret)
{
	(void)ret;
	return fprintf(h->out, "kvm support: enabled\r\n");
}

static int show_cpu(struct human *h, const json_t *cpu)
{
	return fprintf(h->out, "%c CPU #%" JSON_INTEGER_FORMAT ": thread_id=%" JSON_INTEGER_FORMAT "\r\n", number_of(cpu, "cpu-index") ? ' ' : '*',
		       number_of(cpu, "cpu-index"), number_of(cpu, "thread-id"));
}

static int show_block(struct human *h, const json_t *block)
{
	const json_t *in = json_object_get(block, "inserted");

	fprintf(h->out, "%s: %s (%s%s)\r\n", *text_of(block, "device") ? text_of(block, "device") : text_of(in, "node-name"), text_of(in, "file"),
		text_of(in, "drv"), json_is_true(json_object_get(in, "ro")) ? ", read-only" : "");
	if (*text_of(block, "qdev"))
		fprintf(h->out, "    Attached to:      %s\r\n", text_of(block, "qdev"));
	return fprintf(h->out, "    Size:             %" JSON_INTEGER_FORMAT " bytes\r\n", number_of(json_object_get(in, "image"), "virtual-size"));
}

static int show_blockstats(struct human *h, const json_t *block)
{
	static const char *const keys[] = { "rd_bytes", "wr_bytes", "rd_operations", "wr_operations", "flush_operations", "rd_total_time_ns",
					    "wr_total_time_ns", "flush_total_time_ns" };
	const json_t *stats = json_object_get(block, "stats");

	fprintf(h->out, "%s:", text_of(block, "node-name"));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		fprintf(h->out, " %s=%" JSON_INTEGER_FORMAT, keys[i], number_of(stats, keys[i]));
	return fprintf(h->out, "\r\n");
}

static int show_chardev(struct human *h, const json_t *chr)
{
	return fprintf(h->out, "%s: filename=%s\r\n", text_of(chr, "label"), text_of(chr, "filename"));
}

static void show_pci_region(struct human *h, const json_t *region)
{
	uint64_t address = (uint64_t)number_of(region, "address"), last = address + (uint64_t)number_of(region, "size") - 1;
	bool io = !strcmp(text_of(region, "type"), "io");

	fprintf(h->out, "      BAR%" JSON_INTEGER_FORMAT ": ", number_of(region, "bar"));
	if (io)
		fprintf(h->out, "I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\r\n", address & UINT16_MAX, last & UINT16_MAX);
	else
		fprintf(h->out, "%d bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\r\n", json_is_true(json_object_get(region, "mem_type_64")) ? 64 : 32,
			json_is_true(json_object_get(region, "prefetch")) ? " prefetchable" : "", address, last);
}

static void show_pci_device(struct human *h, const json_t *dev)
{
	const json_t *class = json_object_get(dev, "class_info"), *id = json_object_get(dev, "id"), *regions = json_object_get(dev, "regions");

	fprintf(h->out, "  Bus  0, device %3d, function %d:\r\n", (int)number_of(dev, "slot"), (int)number_of(dev, "function"));
	if (*text_of(class, "desc"))
		fprintf(h->out, "    %s", text_of(class, "desc"));
	else
		fprintf(h->out, "    Class %04d", (int)number_of(class, "class"));
	fprintf(h->out, ": PCI device %04x:%04x\r\n      PCI subsystem %04x:%04x\r\n", (unsigned)number_of(id, "vendor"),
		(unsigned)number_of(id, "device"), (unsigned)number_of(id, "subsystem-vendor"), (unsigned)number_of(id, "subsystem"));
	if (number_of(dev, "irq_pin"))
		fprintf(h->out, "      IRQ %d, pin %c\r\n", (int)number_of(dev, "irq"), 'A' + (int)number_of(dev, "irq_pin") - 1);
	for (size_t i = 0; i < json_array_size(regions); i++)
		show_pci_region(h, json_array_get(regions, i));
	fprintf(h->out, "      id \"%s\"\r\n", text_of(dev, "qdev_id"));
}

static int show_pci(struct human *h, const json_t *bus)
{
	const json_t *devices = json_object_get(bus, "devices");

	for (size_t i = 0; i < json_array_size(devices); i++)
		show_pci_device(h, json_array_get(devices, i));
	return 0;
}

static int show_iothread(struct human *h, const json_t *t)
{
	return fprintf(h->out, "%s:\r\n  thread_id=%" JSON_INTEGER_FORMAT "\r\n  poll-max-ns=%" JSON_INTEGER_FORMAT "\r\n", text_of(t, "id"),
		       number_of(t, "thread-id"), number_of(t, "poll-max-ns"));
}

static void print_bytes(FILE *out, const char *separator, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s%02x", i ? separator : "", bytes[i]);
}

static int info_network(struct human *h, struct err *err)
{
	const struct vm_config *cfg = h->m->launch->cfg;

	(void)err;
	for (size_t i = 0; i < cfg->n_nics; i++) {
		fprintf(h->out, "%s: model=virtio-net,macaddr=", cfg->nics[i].id);
		print_bytes(h->out, ":", cfg->nics[i].mac, sizeof(cfg->nics[i].mac));
		fprintf(h->out, "\r\n");
		if (cfg->nics[i].netdev)
			fprintf(h->out, " \\ %s\r\n", cfg->nics[i].netdev);
	}
	return 0;
}

static void show_region(void *opaque, const struct bus_region *region)
{
	FILE *out = opaque;

	fprintf(out, "    %016" PRIx64 "-%016" PRIx64 ": %s\r\n", region->base, region->base + region->size - 1, region->name);
}

static int info_mtree(struct human *h, struct err *err)
{
	const struct vm *vm = h->m->vm;

	if (!vm->mmio)
		return err_set(err, -EINVAL, "the machine none has no address spaces");
	fprintf(h->out, "address-space: memory (without RAM)\r\n");
	bus_each(vm->mmio, show_region, h->out);
	fprintf(h->out, "address-space: I/O\r\n");
	bus_each(vm->pio, show_region, h->out);
	return 0;
}

/* Lines of arch_vcpu_print end as files' do, and these as terminals'. */
static int info_registers(struct human *h, struct err *err)
{
	struct vm *vm = h->m->vm;
	char *text = NULL, *line, *rest = NULL;
	size_t size;
	FILE *out;

	if (vm->state == VM_RUNNING)
		return err_set(err, -EBUSY, "the machine runs; stop it first");
	out = open_memstream(&text, &size);
	if (!out)
		return err_set(err, -ENOMEM, "no memory for the registers");
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		arch_vcpu_print(&vm->vcpus[i], out);
	if (fclose(out) == 0)
		for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
			fprintf(h->out, "%s\r\n", line);
	free(text);
	return 0;
}

static const struct {
	const char *name, *help;
	const char *command; /* of QMP */
	bool each;           /* `show` is called for each element of its reply */
	int (*show)(struct human *h, const json_t *ret);
	int (*run)(struct human *h, struct err *err); /* in place of both */
} infos[] = {
	{ "balloon", "what memory the guest makes do with", "query-balloon", false, show_balloon, NULL },
	{ "block", "disks", "query-block", true, show_block, NULL },
	{ "blockstats", "what disks have done", "query-blockstats", true, show_blockstats, NULL },
	{ "chardev", "character devices", "query-chardev", true, show_chardev, NULL },
	{ "cpus", "vCPUs and their threads", "query-cpus-fast", true, show_cpu, NULL },
	{ "iothreads", "-object iothread", "query-iothreads", true, show_iothread, NULL },
	{ "kvm", "the accelerator", "query-kvm", false, show_kvm, NULL },
	{ "mtree", "where devices are in the address spaces", NULL, false, NULL, info_mtree },
	{ "name", "-name", "query-name", false, show_name, NULL },
	{ "network", "network cards and what they are on", NULL, false, NULL, info_network },
	{ "pci", "what is on the PCI bus", "query-pci", true, show_pci, NULL },
	{ "registers", "what vCPUs of a stopped machine were about to do", NULL, false, NULL, info_registers },
	{ "status", "whether the machine runs", "query-status", false, show_status, NULL },
	{ "uuid", "-uuid", "query-uuid", false, show_uuid, NULL },
	{ "version", "Kite's version", "query-version", false, show_version, NULL },
};

static int human_info(struct human *h, struct err *err)
{
	json_t *ret = NULL;
	size_t i = 0;

	while (h->n_words > 0 && i < ARRAY_SIZE(infos) && strcmp(infos[i].name, h->words[0]))
		i++;
	if (h->n_words == 0 || i == ARRAY_SIZE(infos)) {
		for (i = 0; i < ARRAY_SIZE(infos); i++)
			fprintf(h->out, "info %-12s -- %s\r\n", infos[i].name, infos[i].help);
		return h->n_words ? err_set(err, -EINVAL, "info: there is no '%.64s'", h->words[0]) : 0;
	}
	if (infos[i].run)
		return infos[i].run(h, err);
	if (ask(h, infos[i].command, NULL, &ret, err) == 0) {
		for (size_t k = 0; infos[i].each && k < json_array_size(ret); k++)
			infos[i].show(h, json_array_get(ret, k));
		if (!infos[i].each)
			infos[i].show(h, ret);
	}
	json_decref(ret);
	return err->code;
}

static int human_help(struct human *h, struct err *err);

static const struct human_command commands[] = {
	{ "balloon", NULL, " MIB", "asks the guest to make do with so much memory", 1, human_balloon },
	{ "block_resize", NULL, " DEVICE MIB", "gives a disk another size", 2, human_block_resize },
	{ "commit", NULL, " DEVICE|all", "writes a disk's changes, also those of snapshot=on, into the image below", 1, human_commit },
	{ "cont", "c", "", "lets the machine go on", 0, human_cont },
	{ "help", "?", "", "shows this", 0, human_help },
	{ "info", NULL, " [WHAT]", "shows what the machine is; without WHAT, what there is to see", 0, human_info },
	{ "nmi", NULL, "", "a non-maskable interrupt for every vCPU", 0, human_nmi },
	{ "quit", "q", "", "ends Kite, and with it the machine", 0, human_quit },
	{ "set_link", NULL, " NAME on|off", "plugs a network card's cable in or out", 2, human_set_link },
	{ "stop", "s", "", "stops the machine", 0, human_stop },
	{ "system_powerdown", NULL, "", "presses the power button", 0, human_powerdown },
	{ "system_reset", NULL, "", "resets the machine", 0, human_reset },
};

static int human_help(struct human *h, struct err *err)
{
	(void)err;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(h->out, "%s%s%s%s -- %s\r\n", commands[i].name, commands[i].alias ? "|" : "", commands[i].alias ? commands[i].alias : "",
			commands[i].params, commands[i].help);
	return 0;
}

static int run_line(struct human *h, char *line, struct err *err)
{
	char *rest = NULL, *name = strtok_r(line, " \t", &rest), *word;

	if (!name)
		return 0;
	while ((word = strtok_r(NULL, " \t", &rest))) {
		if (h->n_words == WORDS_MAX)
			return err_set(err, -E2BIG, "%.64s: too many words", name);
		h->words[h->n_words++] = word;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct human_command *c = &commands[i];

		if (strcmp(c->name, name) && (!c->alias || strcmp(c->alias, name)))
			continue;
		if (h->n_words < c->words)
			return err_set(err, -EINVAL, "%s needs%s", c->name, c->params);
		return c->run(h, err);
	}
	return err_set(err, -EINVAL, "unknown command: '%.64s'; help lists those there are", name);
}

char *monitor_human_run(struct monitor *m, const char *line)
{
	struct human h = { .m = m };
	struct err err = ERR_INIT;
	char *text = NULL, *copy = strdup(line);
	size_t size;

	h.out = copy ? open_memstream(&text, &size) : NULL;
	if (h.out) {
		if (run_line(&h, copy, &err) < 0)
			fprintf(h.out, "Error: %s\r\n", err.msg);
		if (fclose(h.out) != 0) {
			free(text);
			text = NULL;
		}
	}
	free(copy);
	return text;
}

static int human_monitor_command(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	char *text = monitor_human_run(monitor_of(call), json_string_value(json_object_get(args, "command-line")));
	json_t *value = text ? json_string(text) : NULL;

	free(text);
	return monitor_give(value, ret, err);
}

MONITOR_OBJECT(human_args, "human-monitor-command-arg", { .name = "command-line", .type = &qmp_str },
	       { .name = "cpu-index", .type = &qmp_int, .optional = true });

const struct qmp_command monitor_human_commands[] = {
	{ .name = "human-monitor-command", .args = &human_args, .ret = &qmp_str, .run = human_monitor_command },
	{ 0 },
};
