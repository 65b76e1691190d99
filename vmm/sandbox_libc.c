/* SPDX-License-Identifier: MIT */
/*
 * What the C library calls on behalf of any code: memory, locks, threads, time, signals, the end. Calls that glibc makes in some versions only,
 * or where the vDSO cannot tell the time, are `rare`.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "vmm/syscall_rules.h"

/* As glibc starts a thread, and no otherwise: a thread of this process. */
#define THREAD_FLAGS                                                                                                                   \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS | CLONE_PARENT_SETTID |          \
	 CLONE_CHILD_CLEARTID)

SYSCALL_RULES(
	/* Memory; nothing of it executable */
	{ CALL(brk), .threads = THREAD_ANY, .rare = THREAD_ANY },
	{ CALL(mmap), ARG_MASK(2, PROT_EXEC, 0), .threads = THREAD_ANY, .rare = THREAD_ANY },
	{ CALL(mprotect), ARG_MASK(2, PROT_EXEC, 0), .threads = THREAD_ANY, .rare = THREAD_ANY },
	{ CALL(munmap), .threads = THREAD_ANY, .rare = THREAD_VCPU },
	{ CALL(mremap), .threads = THREAD_ANY, .rare = THREAD_ANY }, /* realloc of much */
	{ CALL(madvise), .threads = THREAD_ANY, .rare = THREAD_MAIN },
	{ CALL(sched_getaffinity), .threads = THREAD_ANY, .rare = THREAD_ANY }, /* how many arenas malloc may make */
	{ CALL(getrandom), .threads = THREAD_ANY, .rare = THREAD_ANY },	   /* a key that malloc makes at its first call */
	{ CALL(sysinfo), .threads = THREAD_MAIN | THREAD_LOOP, .rare = THREAD_ANY }, /* how much memory qsort may take */
	/* free looks into /proc/sys/vm/overcommit_memory before it gives memory back, and does without. */
	{ CALL(openat), ARGS(0, (uint32_t)AT_FDCWD, 2, O_RDONLY | O_CLOEXEC), .threads = THREAD_ANY, .unless = NEEDS_FILES, .error = EACCES,
	  .rare = THREAD_ANY },

	/* Locks, time */
	{ CALL(futex), .threads = THREAD_ANY },
	{ CALL(clock_gettime), .threads = THREAD_ANY, .rare = THREAD_ANY },
	{ CALL(restart_syscall), .threads = THREAD_ANY, .rare = THREAD_ANY },

	/* Threads. What clone3 is told is in memory, where a filter does not look; glibc falls back to clone. */
	{ CALL(clone), ARG(0, THREAD_FLAGS), .threads = THREAD_MAIN | THREAD_LOOP, .rare = THREAD_MAIN },
	{ CALL(clone3), .threads = THREAD_MAIN | THREAD_LOOP, .error = ENOSYS, .rare = THREAD_MAIN },
	{ CALL(set_robust_list), .threads = THREAD_MAIN | THREAD_LOOP, .rare = THREAD_MAIN },
	{ CALL(rseq), .threads = THREAD_MAIN | THREAD_LOOP, .rare = THREAD_MAIN },
	{ CALL(prctl), ARG(0, PR_SET_NAME), .threads = THREAD_MAIN | THREAD_LOOP, .rare = THREAD_MAIN },
	{ CALL(exit), .threads = THREAD_ANY, .rare = THREAD_MAIN },
	{ CALL(exit_group), .threads = THREAD_MAIN },

	/* Signals: raise, abort, assert */
	{ CALL(rt_sigprocmask), .threads = THREAD_ANY },
	{ CALL(rt_sigreturn), .threads = THREAD_ANY, .rare = THREAD_ANY },
	{ CALL(getpid), .threads = THREAD_ANY, .rare = THREAD_ANY },
	{ CALL(gettid), .threads = THREAD_ANY, .rare = THREAD_ANY },
	{ CALL(tgkill), ARG(0, ARG_OWN_PID), .threads = THREAD_ANY, .rare = THREAD_ANY },
	{ CALL(writev), ARG(0, 2), .threads = THREAD_ANY, .rare = THREAD_ANY }, /* an assertion's last words */
);
