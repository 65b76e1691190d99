/* SPDX-License-Identifier: MIT */
#include "net/bridge.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/helper.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define OWN_HELPER "kite-bridge-helper"

static const char *const qemu_helpers[] = { "/usr/lib/qemu/qemu-bridge-helper", "/usr/libexec/qemu-bridge-helper" };

/* Which program it is. False: `path` is what there should be. */
static bool find_helper(const char *given, char *path, size_t size)
{
	if (given)
		return snprintf(path, size, "%s", given) < (int)size;
	if (helper_find(OWN_HELPER, path, size))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(qemu_helpers); i++)
		if (access(qemu_helpers[i], X_OK) == 0)
			return snprintf(path, size, "%s", qemu_helpers[i]) < (int)size;
	return false;
}

static int start(const char *path, const char *bridge, bool vnet_hdr, int fd, pid_t *pid)
{
	char br[64], fd_arg[24], command[PATH_MAX + 128];
	const char *argv[5], **arg = argv;

	snprintf(br, sizeof(br), "--br=%s", bridge);
	snprintf(fd_arg, sizeof(fd_arg), "--fd=%d", HELPER_FD);
	if (strpbrk(path, " \t")) {
		/* The bridge's name is the user's own, as is the command. */
		if (snprintf(command, sizeof(command), "%s %s %s '%s'", path, vnet_hdr ? "--use-vnet" : "", fd_arg, br) >= (int)sizeof(command))
			return -E2BIG;
		*arg++ = "/bin/sh";
		*arg++ = "-c";
		*arg++ = command;
	} else {
		*arg++ = path;
		if (vnet_hdr)
			*arg++ = "--use-vnet";
		*arg++ = fd_arg;
		*arg++ = br;
	}
	*arg = NULL;
	return helper_start(argv, fd, pid);
}

/* The descriptor that comes with a message, or -errno; -ENODATA when there is none. */
static int receive_fd(int socket)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { .buf = { 0 } };
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *cmsg;
	ssize_t n;
	int fd;

	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	cmsg = n ? CMSG_FIRSTHDR(&msg) : NULL;
	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS || cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
		return -ENODATA;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

int bridge_open_tap(const char *what, const char *helper, const char *bridge, bool vnet_hdr, struct err *err)
{
	char path[PATH_MAX];
	int sockets[2], fd, status, r;
	pid_t pid;

	if (!find_helper(helper, path, sizeof(path)))
		return err_set(err, -ENOENT, "%s: there is no bridge helper, '%s' or QEMU's; install one, name one with helper=, or make a tap with "
					     "tools/kite-net", what, path);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return err_set_errno(err, -errno, "%s: cannot make a socket for the bridge helper", what);
	r = start(path, bridge, vnet_hdr, sockets[1], &pid);
	close(sockets[1]);
	if (r < 0) {
		close(sockets[0]);
		return err_set_errno(err, r, "%s: cannot run the bridge helper '%s'", what, path);
	}
	fd = receive_fd(sockets[0]);
	close(sockets[0]);
	status = helper_wait(pid);
	if (fd >= 0 && status == 0)
		return fd;
	fd_close(&fd);
	/* The helper has said why on stderr. */
	return err_set(err, -EIO, "%s: the bridge helper '%s' has made no tap on '%s' (status %d)", what, path, bridge, status);
}
