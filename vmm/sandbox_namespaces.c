/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * A user namespace can only be made by a process of one thread, and a process namespace holds only what is started after it; so both come first of
 * all, and Kite is their first child. Its parent has nothing left to do but to wait and to hand on signals. The mounts are a copy that
 * shows the host's until everything is open; then the root directory becomes an empty file system. The network must stay the host's as
 * long as sockets are made, so its namespace comes last, and as it belongs to threads, each goes there by itself.
 *
 * Nothing of it needs root. Root makes no user namespace: it could not open its taps from there.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/sandbox_priv.h"
#include "vmm/util.h"

/* ---- at the start ---- */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* Nobody but its user is in the namespace. */
static int map_user(uid_t uid, gid_t gid)
{
	char text[64];
	int rc = write_file("/proc/self/setgroups", "deny");

	snprintf(text, sizeof(text), "%u %u 1", (unsigned)uid, (unsigned)uid);
	if (rc == 0)
		rc = write_file("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "%u %u 1", (unsigned)gid, (unsigned)gid);
	return rc < 0 ? rc : write_file("/proc/self/gid_map", text);
}

/* A key of the terminal's has reached the child, too. */
static void hand_on(pid_t child, const siginfo_t *info)
{
	if (info->si_signo == SIGTSTP)
		raise(SIGSTOP);
	else if (info->si_code != SI_KERNEL)
		kill(child, info->si_signo);
}

static int wait_for(pid_t child)
{
	int status = 0;
	siginfo_t info;
	sigset_t all;

	sigfillset(&all);
	for (;;) {
		if (waitpid(child, &status, WNOHANG) == child)
			break;
		if (sigwaitinfo(&all, &info) > 0 && info.si_signo != SIGCHLD)
			hand_on(child, &info);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* In the child: with signals as they were, and its parent's end is its own. */
static int begin_child(const sigset_t *signals, struct err *err)
{
	sigprocmask(SIG_SETMASK, signals, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_set_errno(err, -errno, "-sandbox namespaces=on: cannot set up the process");
	return 0;
}

int sandbox_detach(int *status, struct err *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	sigset_t all, old;
	pid_t child;
	int rc = 0;

	if (unshare(CLONE_NEWNS | CLONE_NEWPID | (uid != 0 ? CLONE_NEWUSER : 0)) < 0)
		return err_set_errno(err, -errno, "-sandbox namespaces=on: this system lets its users have no namespaces; leave it out");
	if (uid != 0)
		rc = map_user(uid, gid);
	if (rc < 0)
		return err_set_errno(err, rc, "-sandbox namespaces=on: cannot map the user");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	child = fork();
	if (child == 0)
		return begin_child(&old, err);
	/* Nobody shall wait for the other end of something that only this one holds. */
	if (child > 0)
		close_range(0, ~0u, 0);
	if (child > 0)
		*status = wait_for(child);
	else
		rc = err_set_errno(err, -errno, "-sandbox namespaces=on: no other process");
	sigprocmask(SIG_SETMASK, &old, NULL);
	return child > 0 ? 1 : rc;
}

/* ---- at the end ---- */

static const struct {
	const char *path;
	int flag;
} kinds[NAMESPACES] = {
	[NAMESPACE_NET] = { "/proc/thread-self/ns/net", CLONE_NEWNET },
	[NAMESPACE_IPC] = { "/proc/thread-self/ns/ipc", CLONE_NEWIPC },
	[NAMESPACE_UTS] = { "/proc/thread-self/ns/uts", CLONE_NEWUTS },
};

/* An empty, read-only file system over something that every system has; then that is the root, and what was is gone. */
static int empty_root(void)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount("kite", "/proc", "tmpfs", flags, "size=4k,nr_inodes=2,mode=0555") < 0 || chdir("/proc") < 0 ||
	    syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

int sandbox_make_namespaces(struct sandbox_namespaces *ns, struct err *err)
{
	int rc;

	if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0 || sethostname("kite", 4) < 0)
		return err_set_errno(err, -errno, "-sandbox namespaces=on: cannot leave the host's namespaces");
	for (size_t i = 0; i < NAMESPACES; i++) {
		ns->fds[i] = open(kinds[i].path, O_RDONLY | O_CLOEXEC);
		if (ns->fds[i] < 0)
			return err_set_errno(err, -errno, "-sandbox namespaces=on: '%s'", kinds[i].path);
	}
	rc = empty_root();
	return rc < 0 ? err_set_errno(err, rc, "-sandbox namespaces=on: cannot make an empty root directory") : 0;
}

int sandbox_enter_namespaces(const struct sandbox_namespaces *ns)
{
	for (size_t i = 0; i < NAMESPACES; i++)
		if (ns->fds[i] >= 0 && setns(ns->fds[i], kinds[i].flag) < 0)
			return -errno;
	return 0;
}

void sandbox_close_namespaces(struct sandbox_namespaces *ns)
{
	for (size_t i = 0; i < NAMESPACES; i++)
		fd_close(&ns->fds[i]);
}
