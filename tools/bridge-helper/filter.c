/* SPDX-License-Identifier: MIT */
/*
 * The system calls of kite-bridge-helper, as a classic BPF program for seccomp(2). It is written out here, without libseccomp, since a program that
 * may be setuid has nothing in it but what it needs.
 *
 * The program looks at the architecture, then compares the call's number with the table row by row. A row may hold an argument's low half to a
 * value under a mask; a row that does not fit is followed by the next.
 */
#include "tools/bridge-helper/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the name that seccomp has for this architecture"
#endif

struct row {
	uint32_t nr;
	unsigned arg;
	uint32_t mask, value; /* mask 0: whatever the arguments */
};

#define ANY(call) { .nr = __NR_##call }
#define ONLY(call, i, v) { .nr = __NR_##call, .arg = (i), .mask = UINT32_MAX, .value = (uint32_t)(v) }

static const struct row rows[] = {
	/* Who asks; rules, which are files to read; messages */
	ANY(getuid),
	{ .nr = __NR_openat, .arg = 2, .mask = O_ACCMODE | O_CREAT | O_TRUNC | __O_TMPFILE, .value = O_RDONLY },
	ANY(read),
	ONLY(write, 0, STDERR_FILENO),
	ONLY(writev, 0, STDERR_FILENO),
	ANY(lseek),
	ANY(fstat),
	ANY(newfstatat),
	ANY(close),

	/* The tap, the bridge */
	ONLY(ioctl, 1, TUNGETFEATURES),
	ONLY(ioctl, 1, TUNSETIFF),
	ONLY(ioctl, 1, SIOCGIFMTU),
	ONLY(ioctl, 1, SIOCSIFMTU),
	ONLY(ioctl, 1, SIOCGIFHWADDR),
	ONLY(ioctl, 1, SIOCSIFHWADDR),
	ONLY(ioctl, 1, SIOCGIFINDEX),
	ONLY(ioctl, 1, SIOCBRADDIF),
	ONLY(ioctl, 1, SIOCGIFFLAGS),
	ONLY(ioctl, 1, SIOCSIFFLAGS),
	ONLY(socket, 0, AF_INET),
	ONLY(socket, 0, AF_UNIX), /* if_nametoindex */
	ANY(sendmsg),

	/* The C library: memory, nothing of it executable; the end */
	ANY(brk),
	{ .nr = __NR_mmap, .arg = 2, .mask = PROT_EXEC, .value = 0 },
	{ .nr = __NR_mprotect, .arg = 2, .mask = PROT_EXEC, .value = 0 },
	ANY(munmap),
	ANY(getrandom),
	ANY(restart_syscall),
	ANY(rt_sigreturn),
	ANY(exit_group),
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))
#define PER_ROW 6 /* instructions at most */

/* The low half of an argument, on a little-endian machine. */
static uint32_t arg_offset(unsigned i)
{
	return (uint32_t)(offsetof(struct seccomp_data, args) + i * sizeof(uint64_t));
}

/* Returns the end. The number is in the accumulator before each row. */
static struct sock_filter *add_row(struct sock_filter *p, const struct row *row)
{
	if (row->mask == 0) {
		*p++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, row->nr, 0, 1);
		*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		return p;
	}
	*p++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, row->nr, 0, 5);
	*p++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg_offset(row->arg));
	*p++ = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, row->mask);
	*p++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, row->value, 0, 1);
	*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	*p++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	return p;
}

int filter_enter(void)
{
	struct sock_filter code[5 + ROWS * PER_ROW], *p = code;
	struct sock_fprog program = { .filter = code };

	*p++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	*p++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
	*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	*p++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ROWS; i++)
		p = add_row(p, &rows[i]);
	*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	program.len = (unsigned short)(p - code);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}
