/* SPDX-License-Identifier: MIT */
#include "vmm/cli_private.h"

const char *cli_help_text(enum cli_action action)
{
	switch (action) {
	case CLI_HELP:
		return cli_options_help;
	case CLI_VERSION:
		return "Kite version " KITE_VERSION "\n";
	case CLI_MACHINE_HELP:
		return "Supported machines are:\n"
		       "pc              a PC: PCI, ACPI, four serial ports (default; also as pc-i440fx-N.M)\n"
		       "none            nothing at all, for asking a monitor what there is\n"
		       "microvm         no PCI: up to 32 virtio devices over MMIO (version 2, never legacy), reduced ACPI; properties, on|off|auto:\n"
		       "                acpi, pic, pit, rtc, isa-serial, and auto-kernel-cmdline: with acpi=off, name the devices to Linux there\n";
	case CLI_DEVICE_HELP:
		return cli_device_help;
	case CLI_LOG_HELP:
		return "Log items are:\n"
		       "debug           what Kite does, and options that are accepted without effect\n"
		       "exits           at the end, how often the guest came out to Kite: by port, address and reason\n";
	case CLI_RUN:
	case CLI_DUMP_CONFIG:
	case CLI_CPU_HELP:
		break;
	}
	return "";
}
