/* SPDX-License-Identifier: MIT */
/*
 * The system calls that Kite makes once the machine runs, said beside the code that makes them:
 *
 *     SYSCALL_RULES(
 *             { CALL(eventfd2), .threads = THREAD_ANY },                            a queue's doorbell
 *             { CALL(ioctl), ARG(1, KVM_RUN), .threads = THREAD_VCPU },
 *     )
 *
 * tools/sandbox-gen collects the rules of all files of Kite when it is built, and makes of them the filters of vmm/sandbox.h, one for each
 * kind of thread. What no rule names ends the process. Set-up comes before the filters, so what only it needs has no rule.
 *
 * A thread that another starts has that one's filter: rules of a worker are THREAD_LOOP, or THREAD_MAIN where the main thread's
 * loop has workers. tests/sandbox/rules compares the rules with what the tests have Kite call, thread by thread: it fails for a rule that
 * nobody needed, unless it says `rare`, and a call without a rule fails by itself.
 */
#ifndef VMM_SYSCALL_RULES_H
#define VMM_SYSCALL_RULES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

/* Kinds of threads. */
#define THREAD_MAIN 1u
#define THREAD_LOOP 2u /* iothreads, the disks' and the network's loop, and the workers of all of them */
#define THREAD_VCPU 4u
#define THREAD_ANY (THREAD_MAIN | THREAD_LOOP | THREAD_VCPU)

/* What a configuration may need besides. */
#define NEEDS_FILES 1u /* a monitor, which may name files to open */
#define NEEDS_PEERS 2u /* a socket that connects again, or a network's that listens */

/* An argument's value that stands for the process's own id, which the filters learn as they are loaded. */
#define ARG_OWN_PID UINT32_C(0x7ff5a1d0)

/* `value` is compared with the bits of `mask` in argument `index`. */
struct syscall_arg {
	unsigned index;
	uint64_t mask, value;
};

struct syscall_rule {
	const char *name;
	int nr;
	unsigned threads, needs, unless; /* NEEDS_: all of `needs`, none of `unless` */
	int error;      /* not 0: the call is not made, and fails with this errno */
	unsigned rare;  /* THREAD_: where the tests do not get there */
	unsigned n_args;
	struct syscall_arg args[2]; /* all of them must fit */
};

/* A file's rules. */
struct syscall_rules {
	const char *file;
	const struct syscall_rule *rules;
	size_t n;
};

#define CALL(call) .name = #call, .nr = __NR_##call
/* The low half of an argument, which is all that there is of an int. */
#define ARG(i, v) .n_args = 1, .args = { { (i), UINT32_MAX, (v) } }
#define ARG_MASK(i, m, v) .n_args = 1, .args = { { (i), (m), (v) } }
#define ARGS(i, v, j, w) .n_args = 2, .args = { { (i), UINT32_MAX, (v) }, { (j), UINT32_MAX, (w) } }

/*
 * Pointers, not the rules themselves, as a linker may leave gaps between larger things. Kite itself is linked without the section. `id` is for tests
 * that are made of several files.
 */
#define SYSCALL_RULES_AS(id, ...)                                                                                                      \
	static const struct syscall_rule syscall_rule_list##id[] = { __VA_ARGS__ };                                                    \
	static const struct syscall_rules syscall_rules_here##id = {                                                                   \
		.file = __FILE__, .rules = syscall_rule_list##id, .n = sizeof(syscall_rule_list##id) / sizeof(syscall_rule_list##id[0]) \
	};                                                                                                                             \
	static const struct syscall_rules *const syscall_rules_entry##id __attribute__((used, section("syscall_rules"))) =             \
		&syscall_rules_here##id
#define SYSCALL_RULES_ID(id, ...) SYSCALL_RULES_AS(id, __VA_ARGS__)
#define SYSCALL_RULES(...) SYSCALL_RULES_ID(__COUNTER__, __VA_ARGS__)

#endif
