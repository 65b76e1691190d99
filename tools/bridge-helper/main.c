/* SPDX-License-Identifier: MIT */
/*
 * kite-bridge-helper: makes a tap, puts it on a bridge, and hands its descriptor over a Unix socket. For people who may not make interfaces, it is
 * installed setuid root or with the file capability CAP_NET_ADMIN; who may use which bridge is in /etc/kite/bridge.conf and
 * /etc/qemu/bridge.conf (net/bridge_acl.h). Its command line and protocol are those of qemu-bridge-helper, so that either serves the other's VMM.
 *
 * Once /dev/net/tun is open it becomes its caller, with CAP_NET_ADMIN and nothing else of root's, and may make the system calls of filter.c only. So
 * files are opened as the caller may open them. The environment is not looked at. What it makes is gone when the descriptor is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/bridge_acl.h"
#include "tools/bridge-helper/filter.h"

static const char *const acl_files[] = { "/etc/kite/bridge.conf", "/etc/qemu/bridge.conf" };

struct request {
	const char *bridge;
	int fd;
	bool vnet;
};

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void die(const char *fmt, ...)
{
	va_list ap;

	fputs("kite-bridge-helper: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

/* The caller's identity, CAP_NET_ADMIN if it is to be had, and no way back. */
static void drop_privileges(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
	const unsigned bit = 1u << CAP_NET_ADMIN;
	uid_t uid = getuid();
	gid_t gid = getgid();
	bool has;

	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		die("cannot become user %u: %s", (unsigned)uid, strerror(errno));
	if (syscall(SYS_capget, &header, caps) < 0)
		die("capget: %s", strerror(errno));
	has = caps[0].permitted & bit;
	memset(caps, 0, sizeof(caps));
	if (has)
		caps[0].permitted = caps[0].effective = bit;
	if (syscall(SYS_capset, &header, caps) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die("cannot give up privileges: %s", strerror(errno));
	if (!has)
		die("has no right to make interfaces; as root: chmod u+s it, or setcap cap_net_admin+ep it");
}

static struct request parse(int argc, char **argv)
{
	struct request r = { .bridge = NULL, .fd = -1 };

	for (int i = 1; i < argc; i++) {
		char *end;
		long fd;

		if (!strcmp(argv[i], "--use-vnet")) {
			r.vnet = true;
		} else if (!strncmp(argv[i], "--br=", 5)) {
			r.bridge = argv[i] + 5;
		} else if (!strncmp(argv[i], "--fd=", 5)) {
			fd = strtol(argv[i] + 5, &end, 10);
			if (end == argv[i] + 5 || *end || fd < 0 || fd > INT_MAX)
				die("--fd=: expected the number of a descriptor");
			r.fd = (int)fd;
		} else {
			die("usage: kite-bridge-helper [--use-vnet] --br=BRIDGE --fd=UNIX-SOCKET");
		}
	}
	if (!r.bridge || r.fd < 0)
		die("usage: kite-bridge-helper [--use-vnet] --br=BRIDGE --fd=UNIX-SOCKET");
	if (!bridge_acl_name_ok(r.bridge))
		die("--br=: no interface has a name like that");
	return r;
}

/* root needs nobody's leave. */
static void check_allowed(const char *bridge)
{
	struct bridge_acl acl = { .bridge = bridge };
	bool any = false;

	if (getuid() == 0)
		return;
	for (size_t i = 0; i < sizeof(acl_files) / sizeof(acl_files[0]); i++) {
		int r = bridge_acl_read(&acl, acl_files[i], 0);

		if (r < 0 && r != -ENOENT)
			die("%s", acl.why);
		any |= r == 0;
	}
	if (!any)
		die("there is neither %s nor %s; a line 'allow %s' in one of them lets users have taps on '%s'", acl_files[0], acl_files[1], bridge,
		    bridge);
	if (acl.denied || !acl.allowed)
		die("bridge '%s' is not allowed; see %s", bridge, acl_files[0]);
}

static void make_tap(const struct request *r, int fd, char ifname[IFNAMSIZ])
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	unsigned features = 0;

	if (r->vnet && ioctl(fd, TUNGETFEATURES, &features) == 0 && (features & IFF_VNET_HDR))
		ifr.ifr_flags |= IFF_VNET_HDR;
	memcpy(ifr.ifr_name, "tap%d", sizeof("tap%d"));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		die("cannot make a tap: %s", strerror(errno));
	memcpy(ifname, ifr.ifr_name, IFNAMSIZ);
}

static void set_name(struct ifreq *ifr, const char *name)
{
	memset(ifr, 0, sizeof(*ifr));
	strncpy(ifr->ifr_name, name, IFNAMSIZ - 1);
}

/* Onto the bridge, with its MTU, and up. */
static void connect_tap(const char *ifname, const char *bridge)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr;
	int mtu;

	if (s < 0)
		die("socket: %s", strerror(errno));
	set_name(&ifr, bridge);
	if (ioctl(s, SIOCGIFMTU, &ifr) < 0)
		die("there is no bridge '%s': %s", bridge, strerror(errno));
	mtu = ifr.ifr_mtu;
	set_name(&ifr, ifname);
	ifr.ifr_mtu = mtu;
	if (ioctl(s, SIOCSIFMTU, &ifr) < 0)
		die("cannot set the MTU of '%s' to %d: %s", ifname, mtu, strerror(errno));
	/* A bridge takes the lowest address of its ports for its own: so that it keeps the one it has, this is a high one. */
	set_name(&ifr, ifname);
	if (ioctl(s, SIOCGIFHWADDR, &ifr) < 0)
		die("cannot read the address of '%s': %s", ifname, strerror(errno));
	ifr.ifr_hwaddr.sa_data[0] = (char)0xfe;
	if (ioctl(s, SIOCSIFHWADDR, &ifr) < 0)
		die("cannot set the address of '%s': %s", ifname, strerror(errno));
	set_name(&ifr, bridge);
	ifr.ifr_ifindex = (int)if_nametoindex(ifname);
	if (ioctl(s, SIOCBRADDIF, &ifr) < 0)
		die("cannot put '%s' on '%s': %s", ifname, bridge, errno == EOPNOTSUPP ? "that is no bridge" : strerror(errno));
	set_name(&ifr, ifname);
	if (ioctl(s, SIOCGIFFLAGS, &ifr) < 0)
		die("cannot read the state of '%s': %s", ifname, strerror(errno));
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
		die("cannot switch '%s' on: %s", ifname, strerror(errno));
	close(s);
}

static void hand_over(int socket, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { .buf = { 0 } };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	do
		n = sendmsg(socket, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		die("cannot hand the tap over: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct request r;
	char ifname[IFNAMSIZ];
	int tap, error, rc;

	/* 0 to 2 are there, so that no file opened here is taken for one of them. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return EXIT_FAILURE;
	clearenv();
	/* Some systems let only root open it. By itself it is nothing yet. */
	tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	error = errno;
	drop_privileges();
	rc = filter_enter();
	if (rc < 0)
		die("cannot filter system calls: %s", strerror(-rc));
	r = parse(argc, argv);
	check_allowed(r.bridge);
	if (tap < 0)
		die("cannot open /dev/net/tun: %s", strerror(error));
	make_tap(&r, tap, ifname);
	connect_tap(ifname, r.bridge);
	hand_over(r.fd, tap);
	return EXIT_SUCCESS;
}
