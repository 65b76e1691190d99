/* SPDX-License-Identifier: MIT */
/* Unix stream sockets at a path: listening, also where a dead process left its socket file, and connecting. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/chardev_priv.h"
#include "vmm/err.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(socket), ARG(0, AF_UNIX), .threads = THREAD_MAIN, .needs = NEEDS_PEERS },
	{ CALL(connect), .threads = THREAD_MAIN, .needs = NEEDS_PEERS },
);

static int socket_address(struct sockaddr_un *addr, const char *path, struct err *err)
{
	size_t len = path ? strlen(path) : 0;

	if (!len)
		return err_set(err, -EINVAL, "a socket chardev needs a path (path=SOCKET)");
	if (len >= sizeof(addr->sun_path))
		return err_set(err, -ENAMETOOLONG, "the socket path '%s' is %zu bytes long, and at most %zu are possible; use a shorter one",
			       path, len, sizeof(addr->sun_path) - 1);
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(addr->sun_path, path, len);
	return 0;
}

static int socket_new(struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? err_set_errno(err, -errno, "cannot create a socket") : fd;
}

/* Removes a socket file that nobody answers at. 0, or -errno with `err` when it is something else. */
static int remove_stale(const struct sockaddr_un *addr, struct err *err)
{
	struct stat st;
	int fd, rc;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_set_errno(err, -errno, "cannot look at '%s'", addr->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "'%s' exists and is not a socket; use another path, or remove it", addr->sun_path);
	fd = socket_new(err);
	if (fd < 0)
		return fd;
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	fd_close(&fd);
	switch (-rc) {
	case ECONNREFUSED:
		break;
	case ENOENT:
		return 0;
	case 0:
	case EAGAIN: /* its queue is full, so there is somebody */
	case EPROTOTYPE:
		return err_set(err, -EADDRINUSE, "another process listens at the socket '%s'; use another path, or stop it", addr->sun_path);
	default:
		return err_set_errno(err, rc, "cannot tell whether the socket '%s' is in use", addr->sun_path);
	}
	if (unlink(addr->sun_path) < 0 && errno != ENOENT)
		return err_set_errno(err, -errno, "cannot remove the stale socket '%s'", addr->sun_path);
	return 0;
}

static int socket_bind(int fd, const struct sockaddr_un *addr, struct err *err)
{
	int rc;

	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
		return 0;
	if (errno == EADDRINUSE) {
		rc = remove_stale(addr, err);
		if (rc < 0)
			return rc;
		if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
			return 0;
	}
	return err_set_errno(err, -errno, "cannot create the socket '%s'", addr->sun_path);
}

int chardev_listen(const char *path, struct err *err)
{
	struct sockaddr_un addr;
	int fd, rc;

	rc = socket_address(&addr, path, err);
	if (rc < 0)
		return rc;
	fd = socket_new(err);
	if (fd < 0)
		return fd;
	rc = socket_bind(fd, &addr, err);
	if (rc == 0 && listen(fd, 1) < 0) {
		rc = err_set_errno(err, -errno, "cannot listen at the socket '%s'", path);
		unlink(path);
	}
	if (rc < 0)
		fd_close(&fd);
	return rc < 0 ? rc : fd;
}

int chardev_connect(const char *path, struct err *err)
{
	struct sockaddr_un addr;
	int fd, rc;

	rc = socket_address(&addr, path, err);
	if (rc < 0)
		return rc;
	fd = socket_new(err);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	rc = -errno;
	fd_close(&fd);
	switch (-rc) {
	case ECONNREFUSED:
		return err_set(err, rc, "nobody listens at the socket '%s'; start that side first, or use server=on", path);
	case EAGAIN:
		return err_set(err, rc, "the process that listens at the socket '%s' is busy with others; try again", path);
	default:
		return err_set_errno(err, rc, "cannot connect to the socket '%s'", path);
	}
}
