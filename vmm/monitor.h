/* SPDX-License-Identifier: MIT */
/*
 * The control of a machine that launch.c has brought up: the commands and events behind QMP's monitors, and what waits for what.
 *
 * Thread: main.
 */
#ifndef VMM_MONITOR_H
#define VMM_MONITOR_H

#include <stdbool.h>

struct chardev;
struct err;
struct launch;
struct monitor;

/* `launch` is borrowed, complete but for its vCPU threads, and outlives the monitor. NULL with `err`. */
struct monitor *monitor_create(struct launch *launch, struct err *err);
/* A client on `chr`, borrowed, speaks QMP from now on. 0 or -errno with `err`. */
int monitor_add_qmp(struct monitor *monitor, struct chardev *chr, bool pretty, struct err *err);
/* The same, for a person: lines of the human monitor. */
int monitor_add_human(struct monitor *monitor, struct chardev *chr, struct err *err);
/* Before the machine is destroyed. NULL is fine. */
void monitor_destroy(struct monitor *monitor);

#endif
