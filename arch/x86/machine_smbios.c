/* SPDX-License-Identifier: MIT */
#include "arch/x86/machine_smbios.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/file_load.h"

#define STRUCTURE_MAX 32768 /* bytes: half of what all of them have room for */
#define TEXT_MAX 4096

static int load(struct machine_smbios *s, const char *path, size_t max, uint8_t **data, size_t *size, struct err *err)
{
	int r = file_load("-smbios", path, max, data, size, err);

	if (r == 0)
		s->owned[s->n_owned++] = *data;
	return r;
}

/* A text ends at its first zero, or line: a file that an editor wrote ends with one. */
static int load_text(struct machine_smbios *s, const char *path, const char **text, struct err *err)
{
	uint8_t *data;
	size_t size;
	int r = load(s, path, TEXT_MAX, &data, &size, err);

	if (r < 0)
		return r;
	data[size] = '\0'; /* file_load has room for it */
	data[strcspn((char *)data, "\n")] = '\0';
	*text = (char *)data;
	return 0;
}

int machine_smbios_load(struct machine_smbios *s, const struct config_smbios *cfg, struct err *err)
{
	*s = (struct machine_smbios){ .n_owned = 0 };
	for (size_t i = 0; i < cfg->n_files; i++) {
		uint8_t *data;
		size_t size;

		if (load(s, cfg->files[i], STRUCTURE_MAX, &data, &size, err) < 0)
			return err->code;
		s->files[i] = (struct smbios_file){ .data = data, .size = size };
		if (smbios_file_check(&s->files[i], cfg->files[i], err) < 0)
			return err->code;
	}
	for (size_t i = 0; i < cfg->n_oem; i++) {
		s->oem[i] = cfg->oem[i].text;
		if (cfg->oem[i].path && load_text(s, cfg->oem[i].path, &s->oem[i], err) < 0)
			return err->code;
	}
	return 0;
}

void machine_smbios_free(struct machine_smbios *s)
{
	while (s->n_owned > 0)
		free(s->owned[--s->n_owned]);
}
