/* SPDX-License-Identifier: MIT */
/* The functions must have the C library's names and no inline versions, which fortification has. */
#undef _FORTIFY_SOURCE
#include "tools/user-net/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define RESOLV_CONF "/etc/resolv.conf"

static struct {
	int tftp;
	bool shut;
	int (*open_rule)(void *opaque, unsigned n, int fd);
	void *opaque;
	struct stat64 resolv_conf; /* as it was when it could be read last */
} gate = { .tftp = -1 };

void gate_set_tftp(int dir_fd)
{
	gate.tftp = dir_fd;
}

void gate_set_guestfwd(int (*open_rule)(void *opaque, unsigned n, int fd), void *opaque)
{
	gate.open_rule = open_rule;
	gate.opaque = opaque;
}

void gate_shut(void)
{
	gate.shut = true;
}

static int sys_openat2(int dir_fd, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };
	long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int gate_open_beneath(int dir_fd, const char *path, int directory)
{
	struct stat st;
	int fd;

	while (*path == '/')
		path++;
	/* O_NONBLOCK: a FIFO in there must not hold up the network. */
	fd = sys_openat2(dir_fd, *path ? path : ".", O_RDONLY | O_NONBLOCK | O_NOCTTY | (directory ? O_DIRECTORY : 0),
			 RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return fd == -EXDEV || fd == -ELOOP ? -ENOENT : fd;
	if (directory || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
		return fd;
	close(fd);
	return -ENOENT;
}

/* Whether `path` is one of the TFTP directory; *rest is what follows. */
static bool is_tftp(const char *path, const char **rest)
{
	size_t len = strlen(GATE_TFTP);

	*rest = path + len;
	return gate.tftp >= 0 && strncmp(path, GATE_TFTP, len) == 0 && path[len] == '/';
}

static int gate_open(const char *path)
{
	const char *rest;
	int fd;

	if (is_tftp(path, &rest))
		fd = gate_open_beneath(gate.tftp, rest, 0);
	else if (gate.shut && strcmp(path, RESOLV_CONF) != 0)
		fd = -EACCES;
	else
		fd = sys_openat2(AT_FDCWD, path, O_RDONLY, 0);
	if (fd < 0)
		errno = -fd;
	return fd < 0 ? -1 : fd;
}

/* Reading only: libslirp and glib ask for nothing else. */
int open64(const char *path, int flags, ...)
{
	if ((flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT) {
		errno = EACCES;
		return -1;
	}
	return gate_open(path);
}

FILE *fopen64(const char *restrict path, const char *restrict mode)
{
	FILE *file;
	int fd;

	if (mode[0] != 'r' || strchr(mode, '+')) {
		errno = EACCES;
		return NULL;
	}
	fd = gate_open(path);
	if (fd < 0)
		return NULL;
	file = fdopen(fd, "r");
	if (!file)
		close(fd);
	return file;
}

int stat64(const char *restrict path, struct stat64 *restrict st)
{
	int fd = gate_open(path), rc;

	if (strcmp(path, RESOLV_CONF) == 0) {
		if (fd >= 0)
			fstat64(fd, &gate.resolv_conf);
		*st = gate.resolv_conf;
		if (fd >= 0)
			close(fd);
		return 0;
	}
	if (fd < 0)
		return -1;
	rc = fstat64(fd, st);
	close(fd);
	return rc;
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)addr;
	size_t prefix = strlen(GATE_UNIX);
	int rc;

	if (addr->sa_family != AF_UNIX || strncmp(un->sun_path, GATE_UNIX, prefix) != 0 || !gate.open_rule)
		return (int)syscall(SYS_connect, fd, addr, len);
	rc = gate.open_rule(gate.opaque, (unsigned)strtoul(un->sun_path + prefix, NULL, 10), fd);
	if (rc < 0)
		errno = -rc;
	return rc < 0 ? -1 : 0;
}
