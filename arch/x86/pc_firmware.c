/* SPDX-License-Identifier: MIT */
#include "arch/x86/pc_firmware.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/machine_priv.h"
#include "arch/x86/memmap.h"
#include "hw/fw_cfg.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/vm.h"

#define MAX_E820 4

enum { E820_RAM = 1, E820_RESERVED = 2 };

/* An entry of etc/e820, as the BIOS function of that name has it. */
struct e820_entry {
	le64 start, size;
	le32 type;
};
static_assert(sizeof(struct e820_entry) == 20, "an entry of the E820 map");

struct pc_firmware *pc_firmware_open(const struct vm_config *cfg, struct err *err)
{
	const struct rom_search search = { .dirs = cfg->data_dirs, .n_dirs = cfg->n_data_dirs };
	struct pc_firmware *fw = calloc(1, sizeof(*fw));

	if (!fw) {
		err_set(err, -ENOMEM, "no memory for the firmware");
		return NULL;
	}
	if (rom_open_bios(&fw->bios, cfg->bios, &search, err) < 0) {
		pc_firmware_close(fw);
		return NULL;
	}
	return fw;
}

int pc_firmware_map(struct machine *m, struct err *err)
{
	return shadow_init(&m->firmware->shadow, m->vm, &m->firmware->bios, &m->env.link, err);
}

void pc_firmware_close(struct pc_firmware *fw)
{
	if (!fw)
		return;
	shadow_fini(&fw->shadow);
	rom_fini(&fw->bios);
	free(fw);
}

/* ---- fw_cfg ---- */

static int tell16(struct machine *m, uint16_t key, uint16_t v, struct err *err)
{
	const le16 wire = le16_of(v);

	return fw_cfg_add_item(m->fw_cfg, key, &wire, sizeof(wire), err);
}

/* The firmware's console is the first serial port: there is no display. */
static bool has_com1(const struct vm_config *cfg)
{
	for (size_t i = 0; i < cfg->n_serials; i++)
		if (cfg->serials[i].index == 0)
			return true;
	return false;
}

static int tell_machine(struct machine *m, struct err *err)
{
	const unsigned last = m->cfg->smp.cpus - 1;
	const le64 ram = le64_of(m->ram_below_4g + m->ram_above_4g);
	const le32 irq0_override = le32_of(m->cfg->board.pit);
	int r = fw_cfg_add_item(m->fw_cfg, FW_CFG_UUID, m->cfg->uuid, sizeof(m->cfg->uuid), err);

	if (r == 0)
		r = fw_cfg_add_item(m->fw_cfg, FW_CFG_RAM_SIZE, &ram, sizeof(ram), err);
	if (r == 0)
		r = fw_cfg_add_item(m->fw_cfg, FW_CFG_IRQ0_OVERRIDE, &irq0_override, sizeof(irq0_override), err);
	if (r == 0)
		r = tell16(m, FW_CFG_NOGRAPHIC, has_com1(m->cfg), err);
	if (r == 0)
		r = tell16(m, FW_CFG_CPUS, (uint16_t)m->cfg->smp.cpus, err);
	return r < 0 ? r : tell16(m, FW_CFG_MAX_CPUS, (uint16_t)(topology_apic_id(&m->topology, last) + 1), err);
}

static int tell_e820(struct machine *m, struct err *err)
{
	struct e820_entry map[MAX_E820];
	size_t n = 0;

	map[n++] = (struct e820_entry){ le64_of(0), le64_of(m->ram_below_4g), le32_of(E820_RAM) };
	map[n++] = (struct e820_entry){ le64_of(MEM_ECAM), le64_of(PCI_ECAM_SIZE), le32_of(E820_RESERVED) };
	map[n++] = (struct e820_entry){ le64_of(MEM_KVM_IDENTITY_MAP), le64_of(MEM_KVM_SIZE), le32_of(E820_RESERVED) };
	if (m->ram_above_4g)
		map[n++] = (struct e820_entry){ le64_of(MEM_HIGH_START), le64_of(m->ram_above_4g), le32_of(E820_RAM) };
	return fw_cfg_add_file(m->fw_cfg, "etc/e820", map, n * sizeof(map[0]), err);
}

static int tell_acpi(struct machine *m, const struct acpi_platform *acpi, struct err *err)
{
	const struct tables_config cfg = machine_tables(m);
	struct acpi_loader loader;
	int r = tables_build_acpi(&cfg, acpi, &loader, err);

	if (r == 0)
		r = fw_cfg_add_file(m->fw_cfg, ACPI_LOADER_TABLES, loader.tables, loader.tables_size, err);
	if (r == 0)
		r = fw_cfg_add_file(m->fw_cfg, ACPI_LOADER_RSDP, loader.rsdp, loader.rsdp_size, err);
	if (r == 0)
		r = fw_cfg_add_file(m->fw_cfg, ACPI_LOADER_SCRIPT, loader.script, loader.n * sizeof(loader.script[0]), err);
	acpi_loader_fini(&loader);
	return r;
}

static int tell_smbios(struct machine *m, struct err *err)
{
	const struct tables_config cfg = machine_tables(m);
	struct smbios_tables tables;
	int r = tables_build_smbios(&cfg, &tables, err);

	if (r < 0)
		return r;
	r = fw_cfg_add_file(m->fw_cfg, "etc/smbios/smbios-tables", tables.data + SMBIOS_TABLE_OFF, tables.size - SMBIOS_TABLE_OFF, err);
	if (r == 0)
		r = fw_cfg_add_file(m->fw_cfg, "etc/smbios/smbios-anchor", tables.data + SMBIOS_ENTRY32_OFF, SMBIOS_ENTRY32_SIZE, err);
	smbios_tables_free(&tables);
	return r;
}

int pc_firmware_tell(struct machine *m, const struct acpi_platform *acpi, struct err *err)
{
	int r;

	if (m->firmware->told) {
		pc_boot_reset(m);
		return 0;
	}
	r = tell_machine(m, err);
	if (r == 0)
		r = tell_e820(m, err);
	if (r == 0 && acpi)
		r = tell_acpi(m, acpi, err);
	if (r == 0)
		r = tell_smbios(m, err);
	if (r == 0)
		r = pc_boot_tell(m, err);
	m->firmware->told = r == 0;
	return r;
}
