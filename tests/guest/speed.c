/* SPDX-License-Identifier: MIT */
/*
 * How fast guest code runs: TSC cycles for one round of a short loop, in ring 0 and in ring 3. A few on a processor, thousands
 * where KVM interprets the guest's kernel.
 */
#include "rt.h"

#define ROUNDS 5000

static void loop(void *arg)
{
	uint64_t *cycles = arg, start = rdtsc();

	for (unsigned i = 0; i < ROUNDS; i++)
		barrier();
	*cycles = (rdtsc() - start) / ROUNDS;
}

void payload_main(void)
{
	uint64_t ring0 = 0, ring3 = 0;

	loop(&ring0);
	user_call(loop, &ring3);
	print("speed: ring0 %lu ring3 %lu cycles per round\n", ring0, ring3);
	test(true, "measured");
}
