/* SPDX-License-Identifier: MIT */
/*
 * The machine `pc`: a PCI bus, and ACPI with fixed hardware. With acpi=off there is no power management, and a kernel that is entered directly
 * finds MP tables; firmware makes its own.
 */
#include <assert.h>
#include <string.h>

#include "arch/x86/machine_priv.h"
#include "arch/x86/memmap.h"
#include "arch/x86/pc_firmware.h"
#include "hw/virtio.h"
#include "vmm/err.h"
#include "vmm/vm.h"

static_assert(IRQ_PCI_LINES == IRQ_RESAMPLE_LINES, "a line for each");

/* Above RAM, as far as the guest's physical addresses go. */
static struct pci_window pci64_window(const struct machine *m)
{
	uint64_t base = align_up(MEM_HIGH_START + m->ram_above_4g, MEM_PCI64_ALIGN), end = BIT64(m->cpuid.phys_bits);

	return (struct pci_window){ .base = base, .size = base < end ? min_u64(end - base, MEM_PCI64_MAX) : 0 };
}

static void pc_pam_changed(void *opaque, const uint8_t pam[SHADOW_PAMS])
{
	struct machine *m = opaque;

	shadow_set(&m->firmware->shadow, pam);
}

static struct irq_line pc_isa_irq(void *opaque, unsigned irq)
{
	return machine_irq(opaque, irq);
}

static int pc_add_pci(struct machine *m, struct err *err)
{
	struct pci_bus_config cfg = {
		.ecam_base = MEM_ECAM,
		.io = { .base = PORT_PCI_START, .size = PORT_PCI_SIZE },
		.mem32 = { .base = MEM_PCI32_START, .size = MEM_PCI32_SIZE },
		.isa_irq = pc_isa_irq,
		.isa_opaque = m,
		.reset_ctl = m->reset_ctl,
	};

	if (m->firmware) {
		cfg.pam_changed = pc_pam_changed;
		cfg.pam_opaque = m;
	}
	m->pci64 = pci64_window(m);
	cfg.mem64 = m->pci64;
	irq_resample_init(&m->intx, m->vm->fd, m->env.loop, IRQ_PCI, IRQ_PCI_LINES);
	for (unsigned i = 0; i < IRQ_PCI_LINES; i++)
		cfg.intx[i] = irq_resample_line(&m->intx, i);
	m->pci = pci_bus_create(&m->env, &cfg, err);
	return m->pci ? machine_add(m, pci_bus_device(m->pci), err) : err->code;
}

static int pc_add_devices(struct machine *m, struct err *err)
{
	const struct acpi_pm_config pm = { .iobase = PORT_ACPI_PM, .sci = machine_irq(m, IRQ_SCI) };
	int r = m->firmware ? pc_firmware_map(m, err) : 0;

	if (r == 0)
		r = pc_add_pci(m, err);
	if (r < 0 || !m->cfg->board.acpi)
		return r;
	m->button = acpi_pm_create(&m->env, &pm, err);
	return machine_add(m, m->button, err);
}

/* What the tables say of this board, to `write`. */
static int pc_with_acpi(struct machine *m, int (*write)(struct machine *m, const struct acpi_platform *acpi, struct err *err), struct err *err)
{
	const struct acpi_pci pci = {
		.ecam_base = MEM_ECAM,
		.ecam_size = PCI_ECAM_SIZE,
		.mem32 = { { MEM_PCI32_START, MEM_PCI32_SIZE }, { MEM_PCI32_TOP_START, MEM_PCI32_TOP_SIZE } },
		.mem64 = { m->pci64.base, m->pci64.size },
		.gsi = IRQ_PCI,
	};
	const struct acpi_platform acpi = {
		.pm1_evt_port = PORT_ACPI_PM + ACPI_PM1_EVT,
		.pm1_cnt_port = PORT_ACPI_PM + ACPI_PM1_CNT,
		.pm_tmr_port = PORT_ACPI_PM + ACPI_PM_TMR,
		.gpe0_port = PORT_ACPI_PM + ACPI_GPE0,
		.sci_irq = IRQ_SCI,
		.s5_slp_typ = ACPI_PM_S5_SLP_TYP,
		.pci = &pci,
	};

	return write(m, &acpi, err);
}

static int pc_write_to_memory(struct machine *m, const struct acpi_platform *acpi, struct err *err)
{
	const struct tables_config cfg = machine_tables(m);

	return tables_write(&cfg, acpi, m->vm->mem, err);
}

/* Firmware puts them into memory itself. */
static int pc_write_tables(struct machine *m, struct err *err)
{
	const struct tables_mp mp = { .pci_gsi = IRQ_PCI };
	const struct tables_config cfg = machine_tables(m);

	if (m->firmware)
		return 0;
	return m->cfg->board.acpi ? pc_with_acpi(m, pc_write_to_memory, err) : tables_write_mp(&cfg, &mp, m->vm->mem, err);
}

static struct device *pc_plug(struct machine *m, struct virtio_dev *virtio, const struct virtio_pci_config *pci, struct err *err)
{
	return virtio_pci_create(&m->env, m->pci, virtio, pci, err);
}

static int pc_settle(struct machine *m, struct err *err)
{
	int r;

	if (!m->firmware)
		r = pci_bus_assign(m->pci, err);
	else
		r = m->cfg->board.acpi ? pc_with_acpi(m, pc_firmware_tell, err) : pc_firmware_tell(m, NULL, err);
	for (unsigned i = 0; r == 0 && i < IRQ_PCI_LINES; i++)
		if (pci_bus_intx_lines(m->pci) & BIT(i))
			r = irq_resample_bind(&m->intx, i, err);
	return r < 0 ? r : irq_resample_reset(&m->intx, err);
}

const struct board_ops board_pc = {
	.name = "pc",
	.has_firmware = true,
	.reserved = { MEM_ECAM, PCI_ECAM_SIZE, BOOT_MAP_RESERVED },
	.add_devices = pc_add_devices,
	.write_tables = pc_write_tables,
	.plug = pc_plug,
	.settle = pc_settle,
	.press = acpi_pm_power_button,
};
