/* SPDX-License-Identifier: MIT */
/*
 * What is left to a process that parses a hostile guest's frames and a hostile network's answers:
 *
 *   capabilities    none, and no way to get some (no_new_privs)
 *   files           Landlock: reading beneath the TFTP and metadata directories, and the resolver's configuration
 *   system calls    the table below; others end the process, with the call named on the control socket (the trap comes before the call)
 *   limits          no core file (it would hold the guest's traffic), no writing to files, no processes
 *
 * A kernel without Landlock (before 5.13, or configured without) leaves reading to the file permissions; Kite is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/user_proto.h"
#include "tools/user-net/helper.h"
#include "vmm/err.h"
#include "vmm/util.h"

/* From <linux/landlock.h>, whose older editions lack the later fields. */
struct landlock_ruleset {
	uint64_t fs, net, scoped;
};

struct landlock_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

#define LANDLOCK_READ_FILE BIT64(2)
#define LANDLOCK_READ_DIR BIT64(3)
#define LANDLOCK_SCOPED 3 /* no connection to abstract Unix sockets of others, no signals to them */

int sandbox_begin(struct err *err)
{
	/* Of the thread that started this process: Kite's main one. The sockets' end says the same, in case it went before this. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_set_errno(err, -errno, "cannot set up the process");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	return 0;
}

/* Limits and capabilities */

static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &header, none) < 0)
		return err_set_errno(err, -errno, "cannot give up privileges");
	return 0;
}

static void set_limits(void)
{
	struct rlimit files;

	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 0, 0 });
	setrlimit(RLIMIT_NPROC, &(struct rlimit){ 0, 0 });
	setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 0, 0 });
	/* A connection of the guest's is a descriptor here. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max = min_u64(files.rlim_max, 16384);
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Files */

static int landlock_allow(int ruleset, int fd, uint64_t rights)
{
	struct landlock_beneath rule = { .allowed = rights, .parent = fd };

	return syscall(SYS_landlock_add_rule, ruleset, 1 /* path beneath */, &rule, 0) < 0 ? -errno : 0;
}

static void landlock_allow_path(int ruleset, const char *path, uint64_t rights)
{
	int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd >= 0)
		landlock_allow(ruleset, fd, rights);
	fd_close(&fd);
}

/*
 * The file itself, and where it is a link into a directory of the resolver's own (/run/systemd/resolve), that directory: the file in it is replaced
 * when the network changes.
 */
static void landlock_allow_resolver(int ruleset)
{
	char path[PATH_MAX], *slash;

	landlock_allow_path(ruleset, "/etc/resolv.conf", LANDLOCK_READ_FILE);
	if (!realpath("/etc/resolv.conf", path) || strncmp(path, "/run/", 5) != 0)
		return;
	slash = strrchr(path, '/');
	*slash = '\0';
	if (strlen(path) > 5)
		landlock_allow_path(ruleset, path, LANDLOCK_READ_FILE);
}

static int landlock_files(const struct helper *h, struct err *err)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* version */);
	/* Rights: 13 bits in version 1, 14 in 2, 15 in 3, 16 in 5. */
	struct landlock_ruleset attr = { .fs = BIT64(abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13) - 1 };
	size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
	int fd, rc = 0;

	if (abi < 1)
		return -ENOSYS;
	attr.scoped = abi >= 6 ? LANDLOCK_SCOPED : 0;
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot use Landlock");
	if (h->tftp >= 0)
		rc = landlock_allow(fd, h->tftp, LANDLOCK_READ_FILE | LANDLOCK_READ_DIR);
	if (rc == 0 && h->metadata >= 0)
		rc = landlock_allow(fd, h->metadata, LANDLOCK_READ_FILE | LANDLOCK_READ_DIR);
	landlock_allow_resolver(fd);
	if (rc == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		rc = -errno;
	close(fd);
	return rc < 0 ? err_set_errno(err, rc, "cannot use Landlock") : 0;
}

/* System calls */

struct rule {
	int nr;
	unsigned n;
	struct scmp_arg_cmp arg[1];
};

#define CALL(name) { SCMP_SYS(name), 0, { { 0 } } }
#define CALL_IF(name, index, op, ...) { SCMP_SYS(name), 1, { { index, op, __VA_ARGS__ } } }

static const struct rule rules[] = {
	/* The loop, frames, the control socket, libslirp's sockets */
	CALL(poll),
	CALL(ppoll), /* what poll is in a C library for newer machines */
	CALL(recvfrom),
	CALL(recvmsg),
	CALL(recvmmsg),
	CALL(sendto),
	CALL(sendmsg), /* frames; and the descriptor that goes to the process for commands */
	CALL_IF(socket, 0, SCMP_CMP_EQ, AF_INET, 0),
	CALL_IF(socket, 0, SCMP_CMP_EQ, AF_INET6, 0),
	CALL_IF(socket, 0, SCMP_CMP_EQ, AF_UNIX, 0), /* guestfwd; if_nametoindex, for a name server with a scope */
	CALL_IF(socketpair, 0, SCMP_CMP_EQ, AF_UNIX, 0), /* guestfwd to commands and the metadata */
	CALL(dup3), /* the same: forward.c, replace */
	CALL(bind),
	CALL(connect),
	CALL(listen), /* hostfwd_add */
	CALL(accept),
	CALL(accept4),
	CALL(getsockname),
	CALL(getpeername),
	CALL(getsockopt),
	CALL(setsockopt),
	CALL(shutdown),
	CALL(close),
	CALL_IF(fcntl, 1, SCMP_CMP_EQ, F_GETFL, 0),
	CALL_IF(fcntl, 1, SCMP_CMP_EQ, F_SETFL, 0),
	CALL_IF(fcntl, 1, SCMP_CMP_EQ, F_GETFD, 0),
	CALL_IF(fcntl, 1, SCMP_CMP_EQ, F_SETFD, 0),
	CALL_IF(ioctl, 1, SCMP_CMP_EQ, FIONREAD, 0),	  /* libslirp: how long a datagram is */
	CALL_IF(ioctl, 1, SCMP_CMP_EQ, FIONBIO, 0),	  /* libslirp: not to block */
	CALL_IF(ioctl, 1, SCMP_CMP_EQ, 0x8933 /* SIOCGIFINDEX */, 0), /* if_nametoindex */

	/* Files beneath TFTP's and the metadata's directory, and resolv.conf (gate.c) */
	CALL(openat2),
	CALL(read),
	CALL(lseek),
	CALL(fstat),
	CALL(newfstatat), /* what fstat is in the C library */
	CALL(getdents64),
	CALL(getrandom), /* tokens of the metadata; the C library's hash keys */

	/* Memory; nothing of it executable */
	CALL(brk),
	CALL_IF(mmap, 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
	CALL_IF(mprotect, 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
	CALL(munmap),
	CALL(mremap),
	CALL(madvise),

	/* The clock where the vDSO has none, locks of the C library, signals, the end */
	CALL(clock_gettime),
	CALL(gettimeofday),
	CALL(futex),
	CALL(rt_sigprocmask),
	CALL(rt_sigreturn),
	CALL(restart_syscall),
	CALL(getpid),
	CALL(gettid),
	CALL(exit),
	CALL(exit_group),

	/* The last words of an assertion of libslirp's, and its end */
	CALL_IF(write, 0, SCMP_CMP_EQ, 2, 0),
	CALL_IF(writev, 0, SCMP_CMP_EQ, 2, 0),
	CALL_IF(tgkill, 2, SCMP_CMP_EQ, SIGABRT, 0),
};

/* SIGSYS: the filter stopped a call. Nothing was done yet, and nothing will be. */
static void trapped(int sig, siginfo_t *info, void *context)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, info->si_syscall), text[160];
	int len = snprintf(text, sizeof(text), "warn the sandbox does not allow the system call %s (%d); this is a fault of kite-user-net",
			   name ? name : "of the number", info->si_syscall);

	(void)sig;
	(void)context;
	send(USER_PROTO_CONTROL, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	_exit(128 + SIGSYS);
}

static int filter_calls(struct err *err)
{
	struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	int rc = ctx ? 0 : -ENOMEM;

	sigaction(SIGSYS, &action, NULL);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(rules); i++)
		rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rules[i].nr, rules[i].n, rules[i].arg);
	if (rc == 0)
		rc = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return rc < 0 ? err_set_errno(err, rc, "cannot filter system calls") : 0;
}

int sandbox_enter(struct helper *h, struct err *err)
{
	int rc;

	set_limits();
	rc = drop_capabilities(err);
	if (rc == 0)
		rc = landlock_files(h, err);
	if (rc == -ENOSYS) {
		if (h->tftp >= 0 || h->metadata >= 0)
			control_warn(h, "this kernel has no Landlock: a helper that was broken into could read what its user can");
		rc = 0;
	}
	return rc < 0 ? rc : filter_calls(err);
}
