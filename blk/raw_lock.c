/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Locks are QEMU's, so that Kite, QEMU and qemu-img keep out of each other's way. They are shared OFD locks on single bytes
 * that nobody reads or writes for their sake. For each thing that one can do with an image there is a byte in two rows: locked at
 * 100 + n it says "I do this", at 200 + n "I cannot bear others doing this". Whoever opens an image first locks its own bytes, and
 * then looks whether somebody else has the counterparts. Two that start at the same moment may both give up; never do both go on.
 *
 * Locks of open file descriptions name no process. Who holds one is looked up in /proc/PID/fdinfo, for messages only.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk/raw_priv.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define LOCK_DOES 100
#define LOCK_FORBIDS 200

/* What one can do with an image: the numbers of the bytes. */
enum { DO_READ = 0, DO_WRITE = 1, DO_RESIZE = 3, DO_KINDS };

static const bool reader_does[DO_KINDS] = { [DO_READ] = true };
static const bool writer_does[DO_KINDS] = { [DO_READ] = true, [DO_WRITE] = true, [DO_RESIZE] = true };
static const bool forbidden[DO_KINDS] = { [DO_WRITE] = true, [DO_RESIZE] = true }; /* by readers and writers alike */

static int lock_byte(int fd, int cmd, short type, off_t byte, struct flock *out)
{
	*out = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	return fcntl(fd, cmd, out) < 0 ? -errno : 0;
}

/* Whether the descriptor behind an entry of /proc/PID/fd has locks on the file that `st` describes. */
static bool fd_has_lock(const char *pid, const char *fd, const struct stat *st)
{
	char path[64], line[256];
	struct stat other;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.16s/fd/%.16s", pid, fd);
	if (stat(path, &other) < 0 || other.st_dev != st->st_dev || other.st_ino != st->st_ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = strncmp(line, "lock:", 5) == 0;
	fclose(f);
	return found;
}

static bool process_has_lock(const char *pid, int own_fd, const struct stat *st)
{
	bool self = atoi(pid) == getpid(), found = false;
	char path[64];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (e = readdir(dir)))
		found = e->d_name[0] != '.' && !(self && atoi(e->d_name) == own_fd) && fd_has_lock(pid, e->d_name, st);
	closedir(dir);
	return found;
}

/* 0 when it cannot be found: another user's processes do not show. */
static pid_t find_holder(int fd)
{
	struct dirent *e;
	struct stat st;
	pid_t pid = 0;
	DIR *proc;

	if (fstat(fd, &st) < 0)
		return 0;
	proc = opendir("/proc");
	if (!proc)
		return 0;
	while (!pid && (e = readdir(proc)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && process_has_lock(e->d_name, fd, &st))
			pid = atoi(e->d_name);
	closedir(proc);
	return pid;
}

static void process_name(pid_t pid, char *name, size_t size)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(name, (int)size, f))
		snprintf(name, size, "?");
	name[strcspn(name, "\n")] = 0;
	if (f)
		fclose(f);
}

static int say_busy(int fd, const char *path, const struct flock *held, struct err *err)
{
	pid_t pid = held->l_pid > 0 ? held->l_pid : find_holder(fd);
	char name[64];

	if (pid == 0)
		return err_set(err, -EBUSY, "%s: in use by a process that this user may not see (root's lslocks shows it); end that first, "
					    "or use a copy of the image", path);
	if (pid == getpid())
		return err_set(err, -EBUSY, "%s: this machine uses it already; what is used twice must be readonly=on both times",
			       path);
	process_name(pid, name, sizeof(name));
	return err_set(err, -EBUSY, "%s: in use by process %d (%s); end that first, use a copy of the image, or open it readonly=on in both",
		       path, (int)pid, name);
}

/* Somebody else's lock on `byte` is a conflict. */
static int check_byte(int fd, const char *path, off_t byte, struct err *err)
{
	struct flock other;
	int rc = lock_byte(fd, F_OFD_GETLK, F_WRLCK, byte, &other);

	if (rc < 0)
		return err_set_errno(err, rc, "%s: cannot ask for locks", path);
	return other.l_type == F_UNLCK ? 0 : say_busy(fd, path, &other, err);
}

int raw_lock(int fd, const char *path, bool read_only, struct err *err)
{
	const bool *does = read_only ? reader_does : writer_does;
	struct flock l;
	int rc = 0;

	for (int i = 0; i < DO_KINDS && rc == 0; i++) {
		if (does[i])
			rc = lock_byte(fd, F_OFD_SETLK, F_RDLCK, LOCK_DOES + i, &l);
		if (rc == 0 && forbidden[i])
			rc = lock_byte(fd, F_OFD_SETLK, F_RDLCK, LOCK_FORBIDS + i, &l);
	}
	if (rc == -EAGAIN || rc == -EACCES) {
		/* An exclusive lock: not QEMU's kind, but somebody's who means it. */
		lock_byte(fd, F_OFD_GETLK, F_RDLCK, l.l_start, &l);
		return say_busy(fd, path, &l, err);
	}
	if (rc < 0) {
		log_warn("%s: its file system has no locks (%s), so make sure that nobody else uses it", path, strerror(-rc));
		return 0;
	}
	for (int i = 0; i < DO_KINDS && rc == 0; i++) {
		if (forbidden[i])
			rc = check_byte(fd, path, LOCK_DOES + i, err);
		if (rc == 0 && does[i])
			rc = check_byte(fd, path, LOCK_FORBIDS + i, err);
	}
	return rc;
}

void raw_unlock(int fd)
{
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = LOCK_DOES, .l_len = LOCK_FORBIDS + DO_KINDS - LOCK_DOES };

	fcntl(fd, F_OFD_SETLK, &all);
}
