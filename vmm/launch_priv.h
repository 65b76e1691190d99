/* SPDX-License-Identifier: MIT */
/* What launch.c and the monitors share: a machine that has been brought up, with all that belongs to it. Included by vmm/{launch,monitor}*.c only. */
#ifndef VMM_LAUNCH_PRIV_H
#define VMM_LAUNCH_PRIV_H

#include "vmm/config.h"
#include "vmm/fdset.h"
#include "vmm/launch.h"
#include "vmm/launch_scsi.h"
#include "vmm/launch_virtio.h"

struct boot;
struct chardev;
struct eventloop;
struct launch_disks;
struct launch_net;
struct machine;
struct monitor;
struct vm;

struct launch {
	const struct vm_config *cfg;
	struct eventloop *loop;
	const struct launch_host *host;
	struct boot *boot;
	struct machine *machine; /* NULL: -machine none */
	struct vm *vm;           /* the machine's, or that of none; NULL: not made yet */
	struct launch_disks *disks;
	struct launch_net *net;
	struct launch_scsi scsi;
	struct launch_virtio virtio;
	struct chardev *chardevs[CONFIG_MAX_CHARDEVS]; /* as cfg->chardevs */
	struct fdsets fds;
	struct monitor *monitor; /* NULL: none was asked for */
};

#endif
