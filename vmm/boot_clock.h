/* SPDX-License-Identifier: MIT */
/*
 * What starting takes: marks on the log, each with the time and the CPU time since the process's exec. `-device isa-boot-timer` turns it on.
 *
 * Linux tells a process when it was started only to a hundredth of a second. So the beginning is taken to be as long ago as the process
 * has used CPU time: all that it does before main is run. What it waited for until then (its file, read from a disk) is not in it.
 *
 * Thread: any, once it has been started.
 */
#ifndef VMM_BOOT_CLOCK_H
#define VMM_BOOT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct boot_clock {
	bool on;
	int64_t start_ns; /* CLOCK_MONOTONIC */
};

/* As soon as it is known to be wanted: the less has happened, the better it knows the beginning. */
void boot_clock_start(struct boot_clock *clock);

/* "boot: 1.234 ms, CPU 1.100 ms: WHAT"; nothing when it is off. */
void boot_clock_mark(const struct boot_clock *clock, const char *what);

#endif
