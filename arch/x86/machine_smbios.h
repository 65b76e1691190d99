/* SPDX-License-Identifier: MIT */
/* The files that -smbios names, in memory, so that a reset finds the same ones. Thread: main. */
#ifndef ARCH_X86_MACHINE_SMBIOS_H
#define ARCH_X86_MACHINE_SMBIOS_H

#include "firmware/smbios.h"
#include "vmm/config.h"

struct err;

struct machine_smbios {
	struct smbios_file files[CONFIG_MAX_SMBIOS_FILES];
	const char *oem[CONFIG_MAX_OEM_STRINGS]; /* texts, of the configuration or of files */
	uint8_t *owned[CONFIG_MAX_SMBIOS_FILES + CONFIG_MAX_OEM_STRINGS];
	size_t n_owned;
};

/* 0, or -errno with `err`; machine_smbios_free is fine after a failure. */
int machine_smbios_load(struct machine_smbios *s, const struct config_smbios *cfg, struct err *err);
void machine_smbios_free(struct machine_smbios *s);

#endif
