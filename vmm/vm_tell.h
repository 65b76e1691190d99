/* SPDX-License-Identifier: MIT */
/* What becomes of a guest of which a device tells that it sleeps or has crashed. Part of struct vm; see vmm/vm.h. */
#ifndef VMM_VM_TELL_H
#define VMM_VM_TELL_H

#include <stdatomic.h>

#include "vmm/device.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"

struct vm_tell {
	_Atomic int watchdog, panic; /* written by the main thread, read by whoever tells */
	struct event_work work;
	struct log_limit log;
	/* Under the VM's lock: */
	unsigned news; /* a bit for each enum machine_news that the main thread has not seen */
	int action[MACHINE_NEWS];
};

#endif
