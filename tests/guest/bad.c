/* SPDX-License-Identifier: MIT */
/*
 * Guests that go wrong; how= says in which way. The runner looks at what the VMM makes of it.
 *
 *   triple    a triple fault: an invalid instruction with no interrupt table
 *   nowhere   a jump to an address where no memory is: KVM cannot emulate that, and says so
 *   stuck     HLT with interrupts off, for ever
 *   spin      a loop in ring 0, for ever
 *   spin3     a loop in ring 3, for ever
 *   exitcode  ends with code=N at isa-debug-exit
 */
#include "rt.h"

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static void triple_fault(void)
{
	struct table_pointer none = { 0, 0 };

	asm volatile("lidt %0; ud2" : : "m"(none));
}

static void spin(void *arg)
{
	(void)arg;
	for (;;)
		cpu_relax();
}

void payload_main(void)
{
	char how[16] = "";

	arg_get("how", how, sizeof(how));
	print("bad: %s\n", how);
	if (arg_is("how", "triple"))
		triple_fault();
	else if (arg_is("how", "nowhere"))
		((void (*)(void))(uintptr_t)0xe8000000)();
	else if (arg_is("how", "stuck"))
		halt_forever();
	else if (arg_is("how", "spin"))
		spin(NULL);
	else if (arg_is("how", "spin3"))
		user_call(spin, NULL);
	else if (arg_is("how", "exitcode"))
		outb(EXIT_PORT, (uint8_t)arg_u64("code", 0));
	test_abort("how=%s did not end the guest", how);
}
