/* SPDX-License-Identifier: MIT */
/*
 * A downscript is run by a shell that is started with the tap, and waits for its pipe to close: when the machine ends, Kite can start nothing, as it
 * is in the sandbox and may be somebody else's by then. So the script also runs when Kite is killed.
 */
#include "vmm/launch_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/bridge.h"
#include "net/helper.h"
#include "net/netdev.h"
#include "net/tap.h"
#include "net/vhost.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

/* Only the lab has taps. */
SYSCALL_RULES({ CALL(wait4), .threads = THREAD_MAIN, .rare = THREAD_ANY }); /* for the downscript */

/* Without a script the interface is only switched on, where Kite may. */
static void bring_up(const char *ifname)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) == 0 && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
			log_debug("interface '%s': cannot be switched on: %s", ifname, strerror(errno));
	}
	close(fd);
}

/* Runs `script IFNAME`. 0 or -errno with `err`. */
static int run_script(const char *id, const char *key, const char *script, const char *ifname, struct err *err)
{
	const char *argv[] = { script, ifname, NULL };
	pid_t pid;
	int r = helper_start(argv, -1, &pid);

	if (r == -ENOENT && access(script, F_OK) == 0)
		r = -ENOEXEC; /* what its first line names is missing */
	if (r == 0)
		r = helper_wait(pid);
	if (r < 0)
		return err_set_errno(err, r, "netdev '%s': cannot run '%s'; give %s=no to do without", id, err_show(script).s, key);
	if (r > 0)
		return err_set(err, -EIO, "netdev '%s': '%s %s' failed with status %d; see what it says, or give %s=no to do without", id,
			       err_show(script).s, ifname, r, key);
	return 0;
}

static int set_up(const struct config_netdev *cfg, const struct netdev *nd, struct err *err)
{
	const struct config_tap *tap = &cfg->tap;

	if (!tap->script)
		return 0;
	if (tap->script_default && access(tap->script, X_OK) < 0) {
		log_debug("netdev '%s': there is no '%s' to set '%s' up", cfg->id, tap->script, tap_ifname(nd));
		bring_up(tap_ifname(nd));
		return 0;
	}
	return run_script(cfg->id, "script", tap->script, tap_ifname(nd), err);
}

/* Has somebody wait with the downscript, if there is one. 0 or -errno with `err`. */
static int start_down(const struct config_netdev *cfg, const char *ifname, bool quiet, struct launch_tap_down *down, struct err *err)
{
	/* HELPER_FD is 3. */
	static const char waits[] = "read -r end <&3; exec \"$0\" \"$1\" 3<&-";
	static const char waits_quietly[] = "exec </dev/null >/dev/null 2>&1; read -r end <&3; exec \"$0\" \"$1\" 3<&-";
	const char *script = cfg->tap.downscript;
	const char *const argv[] = { "/bin/sh", "-c", quiet ? waits_quietly : waits, script, ifname, NULL };
	int fds[2], r;

	if (!script || !*ifname || (cfg->tap.script_default && access(script, X_OK) < 0))
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set_errno(err, -errno, "netdev '%s': cannot create a pipe", cfg->id);
	r = helper_start_session(argv, fds[0], &down->pid);
	close(fds[0]);
	if (r < 0) {
		close(fds[1]);
		down->pid = 0;
		return err_set_errno(err, r, "netdev '%s': cannot start /bin/sh, which is to run the downscript; give downscript=no to do without", cfg->id);
	}
	down->fd = fds[1];
	return 0;
}

struct netdev *launch_tap_open(const struct config_netdev *cfg, struct eventloop *loop, bool quiet, struct launch_tap_down *down, struct err *err)
{
	const struct config_tap *t = &cfg->tap;
	struct tap_config tap = {
		.id = cfg->id,
		.loop = loop,
		.ifname = t->ifname,
		.fds = t->fds,
		.n_fds = t->n_fds,
		.queues = t->queues,
		.vnet_hdr = t->vnet_hdr != CONFIG_OFF,
		.sndbuf = t->sndbuf,
		.batch = !t->vhost,
	};
	struct netdev *nd;
	char what[96];
	int fd;

	if (t->bridge) {
		snprintf(what, sizeof(what), "netdev '%s'", err_show(cfg->id).s);
		fd = bridge_open_tap(what, t->helper, t->bridge, tap.vnet_hdr, err);
		if (fd < 0)
			return NULL;
		tap.fds = &fd;
		tap.n_fds = 1;
	}
	nd = tap_open(&tap, err);
	if (nd && (set_up(cfg, nd, err) < 0 || start_down(cfg, tap_ifname(nd), quiet, down, err) < 0)) {
		netdev_close(nd);
		return NULL;
	}
	return nd;
}

int launch_tap_vhost(const struct config_netdev *cfg, struct netdev *nd, const struct guest_mem *mem, bool limited, struct err *err)
{
	const struct config_tap *t = &cfg->tap;
	const struct vhost_config vhost = {
		.mem = mem,
		.fds = t->vhost_fds,
		.n_fds = t->n_vhost_fds,
		.poll_us = t->poll_us,
		.forced = t->vhost_force,
	};
	int r;

	if (!t->vhost)
		return 0;
	if (limited)
		r = err_set(err, -EINVAL, "netdev '%s': vhost-net cannot keep to the limits of its card", cfg->id);
	else
		r = vhost_attach(nd, &vhost, err);
	if (r == 0 || t->vhost_force)
		return r;
	log_warn("%s; Kite serves it itself", err->msg);
	*err = (struct err)ERR_INIT;
	return 0;
}

/* Has the downscript run, now that the pipe closes, and waits for it. */
static void take_down(const struct config_netdev *cfg, struct launch_tap_down *down)
{
	int r;

	fd_close(&down->fd);
	r = helper_wait(down->pid);
	down->pid = 0;
	if (r != 0)
		log_warn("netdev '%s': the downscript '%s' failed with %s %d; see what it says, or give downscript=no to do without", cfg->id,
			 err_show(cfg->tap.downscript).s, r < 0 ? "error" : "status", r < 0 ? -r : r);
}

void launch_tap_close(const struct config_netdev *cfg, struct netdev *nd, struct launch_tap_down *down)
{
	if (down->pid > 0)
		take_down(cfg, down);
	netdev_close(nd);
}
