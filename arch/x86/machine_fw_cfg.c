/* SPDX-License-Identifier: MIT */
#include "arch/x86/machine_fw_cfg.h"

#include <stdlib.h>
#include <string.h>

#include "arch/x86/machine_priv.h"
#include "hw/fw_cfg.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/file_load.h"
#include "vmm/util.h"

#define FILE_MAX (256 * MIB)

static int add_file(struct machine *m, const struct config_fw_cfg *item, struct err *err)
{
	uint8_t *data;
	size_t size;
	int r = file_load("-fw_cfg", item->file, FILE_MAX, &data, &size, err);

	if (r == 0)
		r = fw_cfg_add_file(m->fw_cfg, item->name, data, size, err);
	free(data);
	return r;
}

int machine_add_fw_cfg(struct machine *m, struct err *err)
{
	int r;

	if (!m->firmware && m->cfg->n_fw_cfg == 0)
		return 0;
	m->fw_cfg = fw_cfg_create(&m->env, err);
	r = machine_add(m, m->fw_cfg, err);
	for (size_t i = 0; r == 0 && i < m->cfg->n_fw_cfg; i++) {
		const struct config_fw_cfg *item = &m->cfg->fw_cfg[i];

		if (item->file)
			r = add_file(m, item, err);
		else
			r = fw_cfg_add_file(m->fw_cfg, item->name, item->string, strlen(item->string), err);
	}
	return r;
}
