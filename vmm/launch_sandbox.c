/* SPDX-License-Identifier: MIT */
/*
 * Privileges, Landlock's domain and namespaces go on to the threads that a thread starts: so the main thread gives up its own first, and starts the
 * vCPUs then, which have only their filter left to load. Loops, which have opened files before, enter by a call to them. The main thread's filter,
 * under which there are no vCPUs, comes last.
 *
 * Workers, which a loop has for file I/O and for what takes the processor's time, end, and come again as children of a loop that is inside.
 */
#include "vmm/launch_sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/arch.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/launch_disks.h"
#include "vmm/launch_net.h"
#include "vmm/launch_priv.h"
#include "vmm/sandbox.h"
#include "vmm/strv.h"
#include "vmm/vm.h"

/* ---- what the configuration needs ---- */

struct plan {
	struct strv directories, removed;
};

static int add_directory(struct strv *dirs, const char *file, struct err *err)
{
	const char *slash = strrchr(file, '/');

	if (!slash)
		return strv_add(dirs, ".", err);
	return slash == file ? strv_add(dirs, "/", err) : strv_addf(dirs, err, "%.*s", (int)(slash - file), file);
}

/* The directory of an image that is a file, not a device: beside that are all others. And of those that the user says it stands on. */
static int plan_image(struct plan *plan, const struct config_image *image, struct err *err)
{
	struct stat st;
	int rc = 0;

	for (; rc == 0 && image; image = image->backing) {
		if (image->path && stat(image->path, &st) == 0 && S_ISREG(st.st_mode))
			rc = add_directory(&plan->directories, image->path, err);
		if (rc == 0 && image->data_file)
			rc = plan_image(plan, image->data_file, err);
	}
	return rc;
}

static int plan_directories(struct plan *plan, const struct vm_config *cfg, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < cfg->sandbox.files.n; i++)
		rc = strv_add(&plan->directories, cfg->sandbox.files.v[i], err);
	for (size_t i = 0; rc == 0 && i < cfg->n_drives; i++)
		rc = plan_image(plan, &cfg->drives[i].image, err);
	return rc;
}

static int add_socket(struct plan *plan, const struct config_net_addr *addr, struct err *err)
{
	return addr->type == CONFIG_NET_UNIX && !addr->abstract ? strv_add(&plan->removed, addr->path, err) : 0;
}

/* Files of sockets that listen go with them, and the pidfile with the process. */
static int plan_removed(struct plan *plan, const struct vm_config *cfg, struct err *err)
{
	int rc = cfg->pidfile ? strv_add(&plan->removed, cfg->pidfile, err) : 0;

	for (size_t i = 0; rc == 0 && i < cfg->n_chardevs; i++)
		if (cfg->chardevs[i].backend == CHARDEV_SOCKET && cfg->chardevs[i].server && cfg->chardevs[i].path)
			rc = strv_add(&plan->removed, cfg->chardevs[i].path, err);
	for (size_t i = 0; rc == 0 && i < cfg->n_netdevs; i++) {
		if (cfg->netdevs[i].type == CONFIG_NETDEV_STREAM && cfg->netdevs[i].stream.server)
			rc = add_socket(plan, &cfg->netdevs[i].stream.addr, err);
		else if (cfg->netdevs[i].type == CONFIG_NETDEV_DGRAM)
			rc = add_socket(plan, &cfg->netdevs[i].dgram.local, err);
	}
	return rc;
}

static struct sandbox *make_sandbox(const struct vm_config *cfg, struct err *err)
{
	struct plan plan = { .directories = { NULL, 0 } };
	struct sandbox *sandbox = NULL;

	if (plan_directories(&plan, cfg, err) == 0 && plan_removed(&plan, cfg, err) == 0) {
		const struct sandbox_config config = {
			.log = cfg->sandbox.log,
			.namespaces = cfg->sandbox.namespaces,
			.files = cfg->n_monitors > 0,
			.directories = (const char *const *)plan.directories.v,
			.n_directories = plan.directories.n,
			.removed = (const char *const *)plan.removed.v,
			.n_removed = plan.removed.n,
			.peers = config_reconnects(cfg),
			.chroot_dir = cfg->chroot_dir,
			.run_as = cfg->run_as,
		};

		sandbox = sandbox_create(&config, err);
	}
	strv_fini(&plan.directories);
	strv_fini(&plan.removed);
	return sandbox;
}

/* ---- threads ---- */

struct entry {
	const struct vm_config *cfg;
	const struct sandbox *sandbox;
};

static int vcpu_enters(void *opaque, struct err *err)
{
	const struct entry *e = opaque;

	return sandbox_filter(e->sandbox, SANDBOX_VCPU, err);
}

/* Whether a network's socket that listens, or connects again, is on the loop of that iothread. */
static bool has_peers(const struct vm_config *cfg, const char *iothread)
{
	for (size_t i = 0; i < cfg->n_nics; i++) {
		const struct config_nic *nic = &cfg->nics[i];
		bool here = nic->iothread && iothread ? !strcmp(nic->iothread, iothread) : !nic->iothread && !iothread;

		for (size_t j = 0; here && nic->netdev && j < cfg->n_netdevs; j++)
			if (!strcmp(cfg->netdevs[j].id, nic->netdev) && cfg->netdevs[j].type == CONFIG_NETDEV_STREAM &&
			    (cfg->netdevs[j].stream.server || cfg->netdevs[j].stream.reconnect_ms))
				return true;
	}
	return false;
}

static int loop_enters(void *opaque, const char *iothread, struct eventloop *loop, struct err *err)
{
	const struct entry *e = opaque;
	int rc;

	eventloop_offload_rest(loop);
	rc = sandbox_drop(e->sandbox, err);
	return rc < 0 ? rc : sandbox_filter(e->sandbox, has_peers(e->cfg, iothread) ? SANDBOX_LOOP_PEERS : SANDBOX_LOOP, err);
}

static int enter_all(struct launch *l, struct entry *e, struct err *err)
{
	struct vm_entry of_vcpus = { .enter = vcpu_enters, .opaque = e, .err = ERR_INIT };

	if (sandbox_drop(e->sandbox, err) < 0 || launch_start(l, &of_vcpus, err) < 0)
		return err->code;
	if (l->disks && launch_disks_on_threads(l->disks, loop_enters, e, err) < 0)
		return err->code;
	if (l->net && launch_net_on_thread(l->net, loop_enters, e, err) < 0)
		return err->code;
	eventloop_offload_rest(l->loop);
	return sandbox_filter(e->sandbox, SANDBOX_MAIN, err);
}

int launch_start_inside(struct launch *l, struct err *err)
{
	struct sandbox *sandbox;
	int rc;

	if (!l->cfg->sandbox.on)
		return launch_start(l, NULL, err);
	sandbox = make_sandbox(l->cfg, err);
	if (!sandbox)
		return err->code;
	rc = enter_all(l, &(struct entry){ .cfg = l->cfg, .sandbox = sandbox }, err);
	sandbox_destroy(sandbox);
	return rc;
}
