/* SPDX-License-Identifier: MIT */
#include "vmm/boot_clock.h"

#include <time.h>

#include "vmm/log.h"
#include "vmm/util.h"

static int64_t cpu_ns(void)
{
	struct timespec ts = { .tv_sec = 0 };

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

void boot_clock_start(struct boot_clock *clock)
{
	clock->on = true;
	clock->start_ns = now_ns() - cpu_ns();
}

void boot_clock_mark(const struct boot_clock *clock, const char *what)
{
	if (clock->on)
		log_info("boot: %.3f ms, CPU %.3f ms: %s", (double)(now_ns() - clock->start_ns) / 1e6, (double)cpu_ns() / 1e6, what);
}
