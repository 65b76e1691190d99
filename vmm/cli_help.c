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
		       "pc              a PC with four serial ports and ACPI (default; also as pc-i440fx-N.M)\n";
	case CLI_DEVICE_HELP:
		return cli_device_help;
	case CLI_LOG_HELP:
		return "Log items are:\n"
		       "debug           what Kite does, and options that are accepted without effect\n";
	case CLI_RUN:
	case CLI_CPU_HELP:
		break;
	}
	return "";
}
