/* SPDX-License-Identifier: MIT */
/* The machine's fw_cfg, and the user's items in it (-fw_cfg). Thread: main, with no vCPU running. */
#ifndef ARCH_X86_MACHINE_FW_CFG_H
#define ARCH_X86_MACHINE_FW_CFG_H

struct err;
struct machine;

/* Makes m->fw_cfg where firmware or the user needs it. 0 or -errno with `err`. */
int machine_add_fw_cfg(struct machine *m, struct err *err);

#endif
