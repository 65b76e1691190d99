/* SPDX-License-Identifier: MIT */
/*
 * The machine: what all boards have in common, and the order in which devices come to life and go. What a board has beside that, and
 * where: board_pc.c, board_microvm.c.
 */
#include "arch/x86/machine_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arch/x86/memmap.h"
#include "arch/x86/machine_fw_cfg.h"
#include "arch/x86/pc_firmware.h"
#include "arch/x86/vcpu_x86.h"
#include "hw/devices.h"
#include "hw/virtio.h"
#include "vmm/bus.h"
#include "vmm/chardev.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

#define MAX_RAM_RANGES 3
#define MAX_MAP_ENTRIES 8
#define MSI_ADDRESS UINT32_C(0xfee00000)
#define MSI_DELIVERY_NMI (4u << 8)

static const struct board_ops *const boards[] = {
	[MACHINE_PC] = &board_pc,
	[MACHINE_MICROVM] = &board_microvm,
};

/* Where KVM answers before any bus is asked: claimed, so that no BAR goes there. */
static const struct {
	const char *name;
	bool pio, pit;
	uint64_t base, size;
} inside_kvm[] = {
	{ "PIC", true, false, 0x20, 2 },
	{ "PIT", true, true, 0x40, 4 },
	{ "PIT channel 2 gate", true, true, 0x61, 1 },
	{ "second PIC", true, false, 0xa0, 2 },
	{ "PIC trigger modes", true, false, 0x4d0, 2 },
	{ "IOAPIC", false, false, MEM_IOAPIC, MEM_IOAPIC_SIZE },
	{ "local APIC", false, false, MEM_LAPIC, MEM_LAPIC_SIZE },
	{ "KVM's own pages", false, false, MEM_KVM_IDENTITY_MAP, MEM_KVM_SIZE },
};

static_assert(ARRAY_SIZE(inside_kvm) == MACHINE_INSIDE_KVM, "a region for each");
static const struct bus_ops nobody_ops = { .width = 8 };

/* COM1 to COM4 as every PC has them. */
static const struct com_port com_ports[MAX_COM] = {
	{ .iobase = 0x3f8, .irq = 4 },
	{ .iobase = 0x2f8, .irq = 3 },
	{ .iobase = 0x3e8, .irq = 4 },
	{ .iobase = 0x2e8, .irq = 3 },
};

static_assert(MAX_COM == CONFIG_MAX_SERIALS, "one config_serial a COM port");

static void machine_link_request(void *opaque, enum vm_request what, int status)
{
	struct machine *m = opaque;

	vm_request(m->vm, what, status);
}

static void machine_link_tell(void *opaque, enum machine_news news)
{
	struct machine *m = opaque;

	vm_tell(m->vm, news);
}

/* ---- memory ---- */

static size_t ram_ranges(const struct machine *m, struct gm_range ranges[MAX_RAM_RANGES])
{
	size_t n = 0;

	ranges[n++] = (struct gm_range){ .gpa = 0, .size = MEM_VIDEO_START };
	ranges[n++] = (struct gm_range){ .gpa = MEM_SHADOW_START, .size = m->ram_below_4g - MEM_SHADOW_START };
	if (m->ram_above_4g)
		ranges[n++] = (struct gm_range){ .gpa = MEM_HIGH_START, .size = m->ram_above_4g };
	return n;
}

/* What the guest is told of it: E820 of the kernel's zero page, the memory maps of PVH and multiboot. */
static size_t memory_map(const struct machine *m, struct boot_map_entry map[MAX_MAP_ENTRIES])
{
	size_t n = 0;

	map[n++] = (struct boot_map_entry){ 0, MEM_EBDA_START, BOOT_MAP_RAM };
	map[n++] = (struct boot_map_entry){ MEM_EBDA_START, MEM_VIDEO_START - MEM_EBDA_START, BOOT_MAP_RESERVED };
	map[n++] = (struct boot_map_entry){ MEM_ACPI_START, MEM_BIOS_END - MEM_ACPI_START, BOOT_MAP_RESERVED };
	map[n++] = (struct boot_map_entry){ MEM_BIOS_END, m->ram_below_4g - MEM_BIOS_END, BOOT_MAP_RAM };
	if (m->board->reserved.size)
		map[n++] = m->board->reserved;
	map[n++] = (struct boot_map_entry){ MEM_KVM_IDENTITY_MAP, MEM_KVM_SIZE, BOOT_MAP_RESERVED };
	if (m->ram_above_4g)
		map[n++] = (struct boot_map_entry){ MEM_HIGH_START, m->ram_above_4g, BOOT_MAP_RAM };
	return n;
}

/* The guest's physical addresses end where this processor's do. */
static int machine_check_ram(const struct machine *m, struct err *err)
{
	uint64_t end = m->ram_above_4g ? MEM_HIGH_START + m->ram_above_4g : m->ram_below_4g;

	if (end > BIT64(m->cpuid.phys_bits))
		return err_set(err, -E2BIG, "-m: %llu MiB: this host's processor addresses only %llu MiB",
			       (unsigned long long)(m->cfg->ram_size / MIB),
			       (unsigned long long)((BIT64(m->cpuid.phys_bits) - (MEM_HIGH_START - MEM_LOW_MAX)) / MIB));
	return 0;
}

/* ---- vCPUs ---- */

static int machine_setup_vcpus(struct machine *m, struct err *err)
{
	int r = cpuid_template_init(&m->cpuid, m->vm->kvm.fd, &m->cfg->cpu, &m->topology, err);

	if (r == 0)
		r = machine_check_ram(m, err);
	for (unsigned i = 0; r == 0 && i < m->vm->n_vcpus; i++)
		r = vcpu_x86_setup(&m->vm->vcpus[i], &m->cpuid, topology_apic_id(&m->topology, i), m->firmware, err);
	return r;
}

int arch_vm_init(struct vm *vm, struct err *err)
{
	return irqchip_create(vm->fd, err);
}

/* ---- devices ---- */

int machine_add(struct machine *m, struct device *dev, const struct err *err)
{
	if (!dev)
		return err->code;
	assert(m->n_devices < MACHINE_MAX_DEVICES);
	m->devices[m->n_devices++] = dev;
	return 0;
}

struct irq_line machine_irq(struct machine *m, unsigned gsi)
{
	return irq_kvm_line(&m->vm->irqs, gsi);
}

static int64_t local_offset(time_t now)
{
	struct tm local;

	return localtime_r(&now, &local) ? local.tm_gmtoff : 0;
}

static int64_t rtc_start(const struct vm_config *cfg)
{
	time_t now = time(NULL);

	switch (cfg->rtc_base) {
	case RTC_BASE_LOCALTIME:
		return now + local_offset(now);
	case RTC_BASE_DATE:
		return cfg->rtc_date;
	case RTC_BASE_UTC:
		break;
	}
	return now;
}

static int machine_claim_kvm(struct machine *m, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(inside_kvm); i++) {
		if (inside_kvm[i].pit && !m->cfg->board.pit)
			continue;
		m->inside_kvm[i] = (struct bus_region){
			.name = inside_kvm[i].name, .base = inside_kvm[i].base, .size = inside_kvm[i].size, .ops = &nobody_ops,
		};
		r = bus_add(inside_kvm[i].pio ? m->vm->pio : m->vm->mmio, &m->inside_kvm[i], err);
	}
	return r;
}

/* What every board has; and then its own. */
static int machine_add_board(struct machine *m, struct err *err)
{
	const struct rtc_config rtc = {
		.irq = machine_irq(m, IRQ_RTC),
		.start_seconds = rtc_start(m->cfg),
		.ram_below_4g = m->ram_below_4g,
		.ram_above_4g = m->ram_above_4g,
		.cpus = (uint8_t)m->cfg->smp.cpus,
		.boot_order = pc_boot_first_order(m),
		.check_floppy = true,
	};
	const struct i8042_config i8042 = { .irq = machine_irq(m, IRQ_KEYBOARD) };
	int r = machine_claim_kvm(m, err);

	if (r == 0 && m->cfg->board.rtc) {
		m->rtc = rtc_create(&m->env, &rtc, err);
		r = machine_add(m, m->rtc, err);
	}
	if (r == 0)
		r = machine_add(m, i8042_create(&m->env, &i8042, err), err);
	if (r < 0)
		return r;
	m->reset_ctl = reset_ctl_create(&m->env, err);
	r = machine_add(m, m->reset_ctl, err);
	if (r == 0)
		r = machine_add_fw_cfg(m, err);
	return r < 0 ? r : m->board->add_devices(m, err);
}

static int machine_add_serials(struct machine *m, struct chardev *const *chardevs, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->cfg->n_serials; i++) {
		const struct config_serial *s = &m->cfg->serials[i];
		const struct com_port *com = &com_ports[s->index];
		const struct serial_config serial = {
			.name = s->id,
			.iobase = com->iobase,
			.irq = machine_irq(m, com->irq),
			.chardev = chardevs[i],
		};

		r = machine_add(m, serial_create(&m->env, &serial, err), err);
	}
	return r;
}

static int machine_add_test_devices(struct machine *m, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->cfg->n_debug_exits; i++) {
		const struct debug_exit_config cfg = {
			.iobase = m->cfg->debug_exits[i].iobase,
			.iosize = m->cfg->debug_exits[i].iosize,
		};

		r = machine_add(m, debug_exit_create(&m->env, &cfg, err), err);
	}
	if (r == 0 && m->cfg->boot_timer) {
		const struct boot_timer_config cfg = { .iobase = m->cfg->boot_timer_port, .clock = &m->cfg->clock };

		r = machine_add(m, boot_timer_create(&m->env, &cfg, err), err);
	}
	if (r == 0 && m->cfg->testdev) {
		struct testdev_config cfg = { .mem = m->vm->mem };

		for (unsigned i = 0; i < TESTDEV_IRQS; i++)
			cfg.irqs[i] = machine_irq(m, i);
		r = machine_add(m, testdev_create(&m->env, &cfg, err), err);
	}
	return r;
}

static int machine_add_debugcons(struct machine *m, struct chardev *const *chardevs, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->cfg->n_debugcons; i++) {
		const struct debugcon_config cfg = {
			.iobase = m->cfg->debugcons[i].iobase,
			.readback = m->cfg->debugcons[i].readback,
			.chardev = chardevs[i],
		};

		r = machine_add(m, debugcon_create(&m->env, &cfg, err), err);
	}
	return r;
}

static int machine_add_watchdog(struct machine *m, const struct config_watchdog *w, struct err *err)
{
	const struct ib700_config ib700 = { .name = w->id };
	const struct i6300esb_config esb = { .name = w->id, .devfn = w->addr == CONFIG_ADDR_AUTO ? PCI_ADDR_AUTO : w->addr };

	return machine_add(m, w->ib700 ? ib700_create(&m->env, &ib700, err) : i6300esb_create(&m->env, m->pci, &esb, err), err);
}

static int machine_add_pvpanic(struct machine *m, const struct config_pvpanic *p, struct pci_bus *bus, struct err *err)
{
	const struct pvpanic_config cfg = {
		.events = p->events, .iobase = p->ioport, .devfn = p->addr == CONFIG_ADDR_AUTO ? PCI_ADDR_AUTO : p->addr,
	};

	return machine_add(m, pvpanic_create(&m->env, bus, &cfg, err), err);
}

int machine_add_guards(struct machine *m, bool fixed, struct err *err)
{
	const struct vm_config *cfg = m->cfg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < cfg->n_watchdogs; i++)
		if ((cfg->watchdogs[i].ib700 || cfg->watchdogs[i].addr != CONFIG_ADDR_AUTO) == fixed)
			r = machine_add_watchdog(m, &cfg->watchdogs[i], err);
	if (r == 0 && fixed && cfg->pvpanic.used)
		r = machine_add_pvpanic(m, &cfg->pvpanic, NULL, err);
	if (r == 0 && cfg->pvpanic_pci.used && (cfg->pvpanic_pci.addr != CONFIG_ADDR_AUTO) == fixed)
		r = machine_add_pvpanic(m, &cfg->pvpanic_pci, m->pci, err);
	return r;
}

int machine_add_devices(struct machine *m, struct chardev *const *serials, struct chardev *const *debugcons, struct err *err)
{
	int r = machine_add_serials(m, serials, err);

	if (r == 0)
		r = machine_add_debugcons(m, debugcons, err);
	return r < 0 ? r : machine_add_test_devices(m, err);
}

/* ---- loading and reset ---- */

struct tables_config machine_tables(const struct machine *m)
{
	const struct kvm_cpuid_entry2 *leaf1 = NULL;

	for (uint32_t i = 0; i < m->cpuid.n; i++)
		if (m->cpuid.entries[i].function == 1)
			leaf1 = &m->cpuid.entries[i];
	return (struct tables_config){
		.vm = m->cfg,
		.topology = &m->topology,
		.com_ports = com_ports,
		.board = m->board->name,
		.fw_cfg = m->fw_cfg,
		.firmware = m->firmware,
		.cpu_signature = leaf1 ? leaf1->eax : 0,
		.cpu_features = leaf1 ? leaf1->edx : 0,
		.smbios = &m->smbios,
		.ram_below_4g = m->ram_below_4g,
		.ram_above_4g = m->ram_above_4g,
	};
}

/* Puts the tables and the kernel into memory, and the first vCPU at its entry. vCPUs are in their power-on state. */
static int machine_load(struct machine *m, struct err *err)
{
	struct boot_map_entry map[MAX_MAP_ENTRIES];
	const struct boot_platform platform = {
		.mem = m->vm->mem,
		.map = map,
		.map_n = memory_map(m, map),
		.rsdp = m->cfg->board.acpi ? MEM_ACPI_START : 0,
	};
	struct boot_entry entry;
	int r = m->board->write_tables(m, err);

	if (r < 0 || !m->boot)
		return r;
	r = boot_load(m->boot, &platform, &entry, err);
	return r < 0 ? r : vcpu_x86_enter_kernel(&m->vm->vcpus[0], &entry, err);
}

static int machine_reset(void *opaque, struct err *err)
{
	struct machine *m = opaque;
	int r;

	for (size_t i = 0; i < m->n_devices; i++)
		m->devices[i]->ops->reset(m->devices[i]);
	r = machine_ready(m, err);
	if (r == 0)
		r = irqchip_reset(&m->irqchip, err);
	for (unsigned i = 0; r == 0 && i < m->vm->n_vcpus; i++)
		r = vcpu_x86_reset(&m->vm->vcpus[i], err);
	return r < 0 ? r : machine_load(m, err);
}

static void machine_quiesce(void *opaque)
{
	struct machine *m = opaque;

	for (size_t i = 0; i < m->n_devices; i++)
		if (m->devices[i]->ops->quiesce)
			m->devices[i]->ops->quiesce(m->devices[i]);
}

static void machine_resume(void *opaque)
{
	struct machine *m = opaque;

	for (size_t i = 0; i < m->n_devices; i++)
		if (m->devices[i]->ops->resume)
			m->devices[i]->ops->resume(m->devices[i]);
}

static void machine_press(void *machine)
{
	machine_power_button(machine);
}

static void machine_nmi(void *machine)
{
	int r = machine_inject_nmi(machine);

	if (r < 0)
		log_error("the watchdog's NMI: KVM does not take it: %s", strerrordesc_np(-r));
}

static const struct vm_machine_ops machine_ops = {
	.reset = machine_reset,
	.quiesce = machine_quiesce,
	.resume = machine_resume,
	.power_button = machine_press,
	.nmi = machine_nmi,
};

/* ---- the whole ---- */

static int machine_init_msis(struct machine *m, struct err *err)
{
	struct irqchip_routes lines;

	irqchip_routes(m->cfg->board.pic, &lines);
	return msi_kvm_init(&m->msis, m->vm->fd, lines.entries, lines.n, IRQ_KVM_PINS, err);
}

static int machine_init(struct machine *m, struct eventloop *loop, struct err *err)
{
	uint32_t apic_ids[CONFIG_MAX_CPUS];
	struct gm_range ranges[MAX_RAM_RANGES];
	const struct vm_params params = {
		.ram = ranges,
		.n_ram = ram_ranges(m, ranges),
		.unmapped = { .gpa = MEM_SHADOW_START, .size = m->firmware ? MEM_BIOS_END - MEM_SHADOW_START : 0 },
		.vcpu_ids = apic_ids,
		.n_vcpus = m->cfg->smp.cpus,
		.name = m->cfg->name,
		.no_reboot = m->cfg->no_reboot,
		.loop = loop,
	};
	int r;

	for (unsigned i = 0; i < m->cfg->smp.cpus; i++)
		apic_ids[i] = topology_apic_id(&m->topology, i);
	m->vm = vm_create(&params, err);
	if (!m->vm)
		return err->code;
	vm_set_machine(m->vm, &machine_ops, m);
	m->env = (struct device_env){
		.pio = m->vm->pio,
		.mmio = m->vm->mmio,
		.loop = loop,
		.link = { .request = machine_link_request, .tell = machine_link_tell, .machine = m },
		.mem = m->vm->mem,
		.msi = msi_kvm_source(&m->msis),
		.doorbells = msi_kvm_doorbells(&m->msis),
	};
	r = machine_init_msis(m, err);
	if (r == 0)
		r = machine_setup_vcpus(m, err);
	if (r == 0)
		r = irqchip_wire(m->vm->fd, m->cfg->board.pic, m->cfg->board.pit, err);
	if (r == 0)
		r = irqchip_init(&m->irqchip, m->vm->fd, m->cfg->board.pit, err);
	if (r == 0)
		r = machine_add_board(m, err);
	return r < 0 ? r : machine_load(m, err);
}

struct machine *machine_create(const struct vm_config *cfg, struct boot *boot, struct eventloop *loop, struct err *err)
{
	struct machine *m = sparse_alloc(sizeof(*m));

	if (!m) {
		err_set(err, -ENOMEM, "no memory for a machine");
		return NULL;
	}
	m->cfg = cfg;
	m->board = boards[cfg->machine];
	m->boot = boot;
	m->topology = (struct topology){ cfg->smp.sockets, cfg->smp.cores, cfg->smp.threads };
	m->ram_below_4g = min_u64(cfg->ram_size, MEM_LOW_MAX);
	m->ram_above_4g = cfg->ram_size - m->ram_below_4g;
	if (!boot && m->board->has_firmware) {
		m->firmware = pc_firmware_open(cfg, err);
		if (!m->firmware) {
			machine_destroy(m);
			return NULL;
		}
	}
	if (machine_smbios_load(&m->smbios, &cfg->smbios, err) < 0 || machine_init(m, loop, err) < 0) {
		machine_destroy(m);
		return NULL;
	}
	return m;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	if (m->vm)
		vm_stop(m->vm);
	while (m->n_devices > 0) {
		struct device *dev = m->devices[--m->n_devices];

		dev->ops->destroy(dev);
	}
	/* Memory and descriptors, and nothing else, from here on. */
	if (m->vm && m->vm->left)
		return;
	pc_firmware_close(m->firmware);
	machine_smbios_free(&m->smbios);
	irq_resample_fini(&m->intx);
	msi_kvm_fini(&m->msis);
	vm_destroy(m->vm);
	sparse_free(m, sizeof(*m));
}

struct vm *machine_vm(struct machine *m)
{
	return m->vm;
}

const struct device_env *machine_env(struct machine *m)
{
	return &m->env;
}

int machine_adopt(struct machine *m, struct device *dev, struct err *err)
{
	if (m->n_devices == MACHINE_MAX_DEVICES) {
		dev->ops->destroy(dev);
		return err_set(err, -ENOSPC, "a machine has at most %d devices; leave some out", MACHINE_MAX_DEVICES);
	}
	m->devices[m->n_devices++] = dev;
	return 0;
}

int machine_plug(struct machine *m, struct virtio_dev *virtio, const struct virtio_pci_config *pci, struct err *err)
{
	struct device *dev = m->board->plug(m, virtio, pci, err);

	if (!dev) {
		virtio->ops->destroy(virtio);
		return err->code;
	}
	return machine_adopt(m, dev, err);
}

int machine_boot_device(struct machine *m, const struct virtio_dev *virtio, const struct machine_boot *boot, struct err *err)
{
	return m->firmware ? pc_boot_add(m, virtio, boot, err) : 0;
}

int machine_ready(struct machine *m, struct err *err)
{
	return m->board->settle ? m->board->settle(m, err) : 0;
}

SYSCALL_RULES(
	{ CALL(ioctl), ARG(1, KVM_SIGNAL_MSI), .threads = THREAD_MAIN },
);

/* A message of delivery mode NMI to each local APIC (Intel SDM volume 3, 11.11), which no guest can mask. */
int machine_inject_nmi(struct machine *m)
{
	int r = 0;

	for (unsigned i = 0; i < m->cfg->smp.cpus && r >= 0; i++) {
		struct kvm_msi msi = {
			.address_lo = MSI_ADDRESS | topology_apic_id(&m->topology, i) << 12,
			.data = MSI_DELIVERY_NMI,
		};

		r = kvm_ioctl(m->vm->fd, KVM_SIGNAL_MSI, &msi);
	}
	return r < 0 ? r : 0;
}

int machine_look_pci(struct machine *m, void (*seen)(void *opaque, const struct pci_seen *function), void *opaque)
{
	if (!m->pci)
		return -ENODEV;
	pci_bus_look(m->pci, seen, opaque);
	return 0;
}

void machine_power_button(struct machine *m)
{
	if (m->button)
		m->board->press(m->button);
	else
		log_warn("the machine has no power button: acpi=off");
}

int machine_kernel_append(const struct vm_config *cfg, char **text, struct err *err)
{
	const struct board_ops *board = boards[cfg->machine];
	size_t size = 0;
	FILE *f;

	*text = NULL;
	f = open_memstream(text, &size);
	if (!f)
		return err_set(err, -ENOMEM, "no memory for the kernel command line");
	fputs(cfg->append ? cfg->append : "", f);
	if (board->append)
		board->append(cfg, f);
	if (fclose(f) == 0)
		return 0;
	free(*text);
	*text = NULL;
	return err_set(err, -ENOMEM, "no memory for the kernel command line");
}
