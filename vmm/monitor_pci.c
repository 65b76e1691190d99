/* SPDX-License-Identifier: MIT */
/* The PCI bus (QEMU's qapi/pci.json). */
#include <errno.h>

#include "hw/pci.h"
#include "hw/pci_regs.h"
#include "vmm/arch.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/monitor_priv.h"
#include "vmm/util.h"

/* Names of class codes, as far as there are such devices (PCI Code and ID Assignment Specification). */
static const struct {
	unsigned class;
	const char *name;
} classes[] = {
	{ 0x0100, "SCSI controller" },	     { 0x0200, "Ethernet controller" }, { 0x0600, "Host bridge" },
	{ 0x0601, "ISA bridge" },	     { 0x0780, "Communication controller" }, { 0x0800, "System peripheral" },
	{ 0x0880, "System peripheral" },     { 0x00ff, "Unclassified device" },
};

static json_t *class_info(unsigned class)
{
	json_t *info = json_pack("{s:i}", "class", (int)class);

	for (size_t i = 0; info && i < ARRAY_SIZE(classes); i++)
		if (classes[i].class == class)
			json_object_set_new(info, "desc", json_string(classes[i].name));
	return info;
}

static json_t *regions(const struct pci_seen *seen)
{
	json_t *list = json_array();

	for (int i = 0; i < (int)ARRAY_SIZE(seen->bars); i++) {
		/* What is nowhere is at -1. */
		json_int_t address = seen->bars[i].address ? (json_int_t)seen->bars[i].address : -1;
		json_t *region;

		if (!seen->bars[i].size)
			continue;
		region = json_pack("{s:i,s:s,s:I,s:I}", "bar", i, "type", seen->bars[i].io ? "io" : "memory", "address", address, "size",
				   (json_int_t)seen->bars[i].size);
		if (region && !seen->bars[i].io) {
			json_object_set_new(region, "prefetch", json_boolean(seen->bars[i].prefetchable));
			json_object_set_new(region, "mem_type_64", json_boolean(seen->bars[i].is_64));
		}
		json_array_append_new(list, region);
	}
	return list;
}

static void add_function(void *opaque, const struct pci_seen *seen)
{
	const uint8_t *h = seen->header;
	json_t *list = opaque, *dev = json_pack("{s:i,s:i,s:i,s:o,s:{s:i,s:i,s:i,s:i},s:i,s:s,s:o}", "bus", 0, "slot", (int)(seen->devfn >> 3),
						"function", (int)(seen->devfn & 7), "class_info", class_info(load_le16(h + PCI_REVISION + 2)), "id",
						"device", load_le16(h + PCI_DEVICE_ID), "vendor", load_le16(h + PCI_VENDOR_ID), "subsystem",
						load_le16(h + PCI_SUBSYSTEM_ID), "subsystem-vendor", load_le16(h + PCI_SUBSYSTEM_VENDOR_ID),
						"irq_pin", h[PCI_INTERRUPT_PIN], "qdev_id", seen->name, "regions", regions(seen));

	if (dev && h[PCI_INTERRUPT_PIN])
		json_object_set_new(dev, "irq", json_integer(h[PCI_INTERRUPT_LINE]));
	json_array_append_new(list, dev);
}

static int query_pci(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct machine *machine = monitor_of(call)->launch->machine;
	json_t *list = json_array();

	(void)args;
	if (!machine || machine_look_pci(machine, add_function, list) < 0) {
		json_decref(list);
		return monitor_give(json_array(), ret, err);
	}
	return monitor_give(json_pack("[{s:i,s:o}]", "bus", 0, "devices", list), ret, err);
}

#define INT_(n) { .name = n, .type = &qmp_int }
MONITOR_OBJECT(PciDeviceClass, "PciDeviceClass", { .name = "desc", .type = &qmp_str, .optional = true }, INT_("class"));
MONITOR_OBJECT(PciDeviceId, "PciDeviceId", INT_("device"), INT_("vendor"), INT_("subsystem"), INT_("subsystem-vendor"));
MONITOR_OBJECT(PciMemoryRegion, "PciMemoryRegion", INT_("bar"), { .name = "type", .type = &qmp_str }, INT_("address"), INT_("size"),
	       { .name = "prefetch", .type = &qmp_bool, .optional = true }, { .name = "mem_type_64", .type = &qmp_bool, .optional = true });
MONITOR_ARRAY(region_list, PciMemoryRegion);
MONITOR_OBJECT(PciDeviceInfo, "PciDeviceInfo", INT_("bus"), INT_("slot"), INT_("function"), { .name = "class_info", .type = &PciDeviceClass },
	       { .name = "id", .type = &PciDeviceId }, { .name = "irq", .type = &qmp_int, .optional = true }, INT_("irq_pin"),
	       { .name = "qdev_id", .type = &qmp_str }, { .name = "regions", .type = &region_list });
MONITOR_ARRAY(device_list, PciDeviceInfo);
MONITOR_OBJECT(PciInfo, "PciInfo", INT_("bus"), { .name = "devices", .type = &device_list });
MONITOR_ARRAY(pci_list, PciInfo);

const struct qmp_command monitor_pci_commands[] = {
	{ .name = "query-pci", .ret = &pci_list, .run = query_pci },
	{ 0 },
};
