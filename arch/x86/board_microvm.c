/* SPDX-License-Identifier: MIT */
/*
 * The machine `microvm`: virtio over MMIO, no PCI, hardware-reduced ACPI or none.
 *
 * Transport n is at MEM_VIRTIO + n * 512, and its interrupt at one of the eight IOAPIC pins that no ISA device has, 16 + n mod 8; the
 * first eight need not share. Lines are level-triggered and active high, since InterruptStatus is a level: it may gain a bit between the
 * driver's read and its acknowledgement, and then there is no second edge.
 *
 * Only transports with a device are described. Devices get them in the order in which they are plugged in, so the tables and the
 * command line, which are in memory before the devices exist, follow from their number alone.
 *
 * Without ACPI the guest gets the MultiProcessor Specification's tables, and the transports on the kernel's command line.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "arch/x86/machine_priv.h"
#include "arch/x86/memmap.h"
#include "hw/virtio.h"
#include "hw/virtio_mmio_regs.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/vm.h"

static_assert(MEM_VIRTIO_SLOT == VIRTIO_MMIO_SIZE, "a transport a slot");
static_assert(CONFIG_MAX_VIRTIO_MMIO * MEM_VIRTIO_SLOT <= MEM_VIRTIO_SIZE, "room for all");

static uint32_t slot_base(unsigned slot)
{
	return MEM_VIRTIO + slot * MEM_VIRTIO_SLOT;
}

static unsigned slot_gsi(unsigned slot)
{
	return IRQ_VIRTIO + slot % IRQ_VIRTIO_LINES;
}

static int microvm_add_devices(struct machine *m, struct err *err)
{
	const struct acpi_ged_config ged = { .iobase = PORT_ACPI_GED, .irq = machine_irq(m, IRQ_GED) };

	if (!m->cfg->board.acpi)
		return 0;
	m->button = acpi_ged_create(&m->env, &ged, err);
	return machine_add(m, m->button, err);
}

static int write_acpi(struct machine *m, struct err *err)
{
	const struct tables_config cfg = machine_tables(m);
	struct acpi_virtio_mmio virtio[CONFIG_MAX_VIRTIO_MMIO];
	const struct acpi_reduced reduced = {
		.event_port = PORT_ACPI_GED + ACPI_GED_EVENT,
		.event_gsi = IRQ_GED,
		.sleep_control_port = PORT_ACPI_GED + ACPI_GED_SLEEP_CONTROL,
		.sleep_status_port = PORT_ACPI_GED + ACPI_GED_SLEEP_STATUS,
	};
	const struct acpi_platform acpi = {
		.reduced = &reduced,
		.s5_slp_typ = ACPI_GED_S5_SLP_TYP,
		.virtio = virtio,
		.n_virtio = config_virtio_devices(m->cfg),
	};

	for (unsigned i = 0; i < acpi.n_virtio; i++)
		virtio[i] = (struct acpi_virtio_mmio){ slot_base(i), MEM_VIRTIO_SLOT, slot_gsi(i) };
	return tables_write(&cfg, &acpi, m->vm->mem, err);
}

static int write_mp(struct machine *m, struct err *err)
{
	const struct tables_config cfg = machine_tables(m);
	struct tables_mp mp = { .level_irqs = 0 };

	for (unsigned i = 0; i < config_virtio_devices(m->cfg); i++)
		mp.level_irqs |= BIT(slot_gsi(i));
	return tables_write_mp(&cfg, &mp, m->vm->mem, err);
}

static int microvm_write_tables(struct machine *m, struct err *err)
{
	return m->cfg->board.acpi ? write_acpi(m, err) : write_mp(m, err);
}

static struct device *microvm_plug(struct machine *m, struct virtio_dev *virtio, const struct virtio_pci_config *pci, struct err *err)
{
	struct device *dev;

	(void)pci;
	/* The configuration has counted them; one more would not be in the tables. */
	if (m->n_slots >= config_virtio_devices(m->cfg)) {
		err_set(err, -ENOSPC, "%s: the machine microvm has no transport left for it", virtio->name);
		return NULL;
	}
	dev = virtio_mmio_create(&m->env, virtio, slot_base(m->n_slots), machine_irq(m, slot_gsi(m->n_slots)), err);
	if (dev)
		m->n_slots++;
	return dev;
}

/* Documentation/admin-guide/kernel-parameters.txt of Linux: virtio_mmio.device=SIZE@BASE:IRQ */
static void microvm_append(const struct vm_config *cfg, FILE *to)
{
	if (cfg->board.acpi || !cfg->board.kernel_cmdline)
		return;
	for (unsigned i = 0; i < config_virtio_devices(cfg); i++)
		fprintf(to, " virtio_mmio.device=%u@0x%x:%u", MEM_VIRTIO_SLOT, slot_base(i), slot_gsi(i));
}

const struct board_ops board_microvm = {
	.name = "microvm",
	.add_devices = microvm_add_devices,
	.write_tables = microvm_write_tables,
	.plug = microvm_plug,
	.press = acpi_ged_power_button,
	.append = microvm_append,
};
