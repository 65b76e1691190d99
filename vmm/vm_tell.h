/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a guest of which a device tells that it sleeps or has crashed: QEMU's -action watchdog= and panic=, in its order of names
 * (qapi/run-state.json). Part of struct vm; see vmm/vm.h.
 */
#ifndef VMM_VM_TELL_H
#define VMM_VM_TELL_H

#include <stdatomic.h>

#include "vmm/device.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"

enum watchdog_action {
	WATCHDOG_RESET,
	WATCHDOG_SHUTDOWN, /* the power button */
	WATCHDOG_POWEROFF, /* the process ends */
	WATCHDOG_PAUSE,
	WATCHDOG_DEBUG,    /* a line of the log */
	WATCHDOG_NONE,
	WATCHDOG_INJECT_NMI,
};

enum panic_action {
	PANIC_PAUSE,
	PANIC_SHUTDOWN,     /* off, or kept as it is with -no-shutdown */
	PANIC_EXIT_FAILURE, /* the process ends with status 1 */
	PANIC_NONE,
};

struct vm_tell {
	_Atomic int watchdog, panic; /* written by the main thread, read by whoever tells */
	struct event_work work;
	struct log_limit log;
	/* Under the VM's lock: */
	unsigned news; /* a bit for each enum machine_news that the main thread has not seen */
	int action[MACHINE_NEWS];
};

#endif
