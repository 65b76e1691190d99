/* SPDX-License-Identifier: MIT */
#include "vmm/launch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "blk/qcow2.h"
#include "firmware/boot.h"
#include "vmm/arch.h"
#include "vmm/boot_clock.h"
#include "vmm/chardev.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/launch_disks.h"
#include "vmm/launch_net.h"
#include "vmm/launch_none.h"
#include "vmm/launch_priv.h"
#include "vmm/log.h"
#include "vmm/monitor.h"
#include "vmm/vm.h"

static void launch_on_quit(void *opaque)
{
	launch_quit(opaque, LAUNCH_QUIT_UI);
}

static void launch_on_powerdown(void *opaque)
{
	struct launch *l = opaque;

	if (l->machine)
		machine_power_button(l->machine);
}

static void launch_on_resume(void *opaque)
{
	launch_resume(opaque);
}

/* Those of -add-fd, taken over. */
static int launch_take_fds(struct launch *l, struct err *err)
{
	for (size_t i = 0; i < l->cfg->n_fds; i++) {
		const struct config_fd *c = &l->cfg->fds[i];

		if (fcntl((int)c->fd, F_SETFD, FD_CLOEXEC) < 0)
			return err_set_errno(err, -errno, "-add-fd: descriptor %u", c->fd);
		if (fdsets_add(&l->fds, c->set, (int)c->fd, c->opaque, err) < 0)
			return err->code;
	}
	return 0;
}

static int launch_open_log(const struct launch *l, const struct config_chardev *c, int *fd, struct err *err)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (c->logappend ? O_APPEND : O_TRUNC);

	if (!c->logfile)
		return 0;
	if (fdset_is_path(c->logfile))
		*fd = fdsets_open(&l->fds, c->logfile, O_WRONLY, err);
	else if ((*fd = open(c->logfile, flags, 0666)) < 0)
		err_set_errno(err, -errno, "cannot open the log '%s'", err_show(c->logfile).s);
	return *fd < 0 ? err_prefix(err, "chardev %s", c->id) : 0;
}

static int launch_open_chardevs(struct launch *l, struct err *err)
{
	const struct chardev_host host = { .quit = launch_on_quit, .powerdown = launch_on_powerdown, .resume = launch_on_resume,
					  .opaque = l };

	for (size_t i = 0; i < l->cfg->n_chardevs; i++) {
		const struct config_chardev *c = &l->cfg->chardevs[i];
		struct chardev_config cfg = {
			.id = c->id,
			.backend = c->backend,
			.path = c->path,
			.host = c->host,
			.port = c->port,
			.inherited = c->fd != CONFIG_NO_FD,
			.fd = (int)c->fd,
			.reconnect = c->reconnect,
			.append = c->append,
			.server = c->server,
			.wait = c->wait,
			.signal = c->signal,
			.mux = c->mux,
			.callback = l->host->callback,
			.log = c->logfile,
			.log_fd = -1,
		};

		if (launch_open_log(l, c, &cfg.log_fd, err) < 0)
			return err->code;

		l->chardevs[i] = chardev_create(&cfg, &host, l->loop, err);
		if (!l->chardevs[i])
			return err->code;
	}
	return 0;
}

struct chardev *launch_chardev(const struct launch *l, const char *id)
{
	for (size_t i = 0; i < l->cfg->n_chardevs; i++)
		if (strcmp(l->cfg->chardevs[i].id, id) == 0)
			return l->chardevs[i];
	return NULL;
}

/* cli_parse has checked that every name has its chardev. */
static struct chardev *launch_find_chardev(const struct launch *l, const char *id)
{
	struct chardev *chr = launch_chardev(l, id);

	assert(chr || !"a user without a chardev");
	return chr;
}

static int launch_add_devices(struct launch *l, struct err *err)
{
	struct chardev *serials[CONFIG_MAX_SERIALS], *debugcons[CONFIG_MAX_DEBUGCONS];

	for (size_t i = 0; i < l->cfg->n_serials; i++)
		serials[i] = launch_find_chardev(l, l->cfg->serials[i].chardev);
	for (size_t i = 0; i < l->cfg->n_debugcons; i++)
		debugcons[i] = launch_find_chardev(l, l->cfg->debugcons[i].chardev);
	if (machine_add_devices(l->machine, serials, debugcons, err) < 0 || machine_add_guards(l->machine, true, err) < 0)
		return err->code;
	/* Automatic places on the PCI bus are given out last. */
	if (launch_virtio_add(&l->virtio, l->machine, l->cfg, l->chardevs, l->disks, true, err) < 0 || launch_net_add(l->net, l->machine, true, err) < 0 ||
	    launch_scsi_add(&l->scsi, l->machine, l->cfg, l->disks, true, err) < 0 || launch_disks_add(l->disks, l->machine, err) < 0 ||
	    launch_scsi_add(&l->scsi, l->machine, l->cfg, l->disks, false, err) < 0)
		return err->code;
	/* Networks last of all: a default one moves nothing else. */
	if (launch_virtio_add(&l->virtio, l->machine, l->cfg, l->chardevs, l->disks, false, err) < 0)
		return err->code;
	if (machine_add_guards(l->machine, false, err) < 0)
		return err->code;
	return launch_net_add(l->net, l->machine, false, err);
}

static int launch_open_kernel(struct launch *l, struct err *err)
{
	char *append;

	if (machine_kernel_append(l->cfg, &append, err) < 0)
		return err->code;
	l->boot = boot_open(l->cfg->kernel, l->cfg->initrd, append, err);
	free(append);
	return l->boot ? 0 : err->code;
}

static int launch_add_monitors(struct launch *l, struct err *err)
{
	qcow2_preload(); /* by when a monitor names an image, no library can be opened any more */
	l->monitor = monitor_create(l, err);
	if (!l->monitor)
		return err->code;
	for (size_t i = 0; i < l->cfg->n_monitors; i++) {
		const struct config_monitor *m = &l->cfg->monitors[i];

		struct chardev *chr = launch_find_chardev(l, m->chardev);

		if ((m->human ? monitor_add_human(l->monitor, chr, err) : monitor_add_qmp(l->monitor, chr, m->pretty, err)) < 0)
			return err->code;
	}
	return 0;
}

static int launch_create_machine(struct launch *l, struct err *err)
{
	if (l->cfg->machine == MACHINE_NONE) {
		l->vm = launch_none_create(l->cfg, l->loop, err);
		return l->vm ? 0 : err->code;
	}
	l->machine = machine_create(l->cfg, l->boot, l->loop, err);
	if (!l->machine)
		return err->code;
	l->vm = machine_vm(l->machine);
	return 0;
}

static int launch_init(struct launch *l, struct err *err)
{
	int r;

	if (l->cfg->kernel && launch_open_kernel(l, err) < 0)
		return err->code;
	boot_clock_mark(&l->cfg->clock, "kernel file open");
	if (launch_take_fds(l, err) < 0 || launch_create_machine(l, err) < 0)
		return err->code;
	if (l->cfg->count_exits && vm_count_exits(l->vm, err) < 0)
		return err->code;
	boot_clock_mark(&l->cfg->clock, "machine made, kernel in its memory");
	l->vm->shutdown_pauses = l->cfg->no_shutdown;
	atomic_store(&l->vm->tell.watchdog, l->cfg->watchdog_action);
	atomic_store(&l->vm->tell.panic, l->cfg->panic_action);
	l->disks = launch_disks_open(l->cfg, &l->fds, err);
	if (!l->disks)
		return err->code;
	l->vm->blocked_kick = l->host->blocked_kick;
	if (l->host->observer)
		vm_add_observer(l->vm, l->host->observer, l->host->opaque);
	l->net = launch_net_open(l->cfg, l->disks, err);
	if (!l->net)
		return err->code;
	r = launch_open_chardevs(l, err);
	boot_clock_mark(&l->cfg->clock, "files and networks open");
	if (r == 0 && l->machine)
		r = launch_add_devices(l, err);
	if (r == 0 && l->cfg->n_monitors > 0)
		r = launch_add_monitors(l, err);
	if (r == 0 && l->machine)
		r = machine_ready(l->machine, err);
	if (r == 0)
		r = launch_net_ready(l->net, err);
	return r;
}

struct launch *launch_create(const struct vm_config *cfg, struct eventloop *loop, struct err *err)
{
	static const struct launch_host nobody;

	return launch_create_in(cfg, loop, &nobody, err);
}

struct launch *launch_create_in(const struct vm_config *cfg, struct eventloop *loop, const struct launch_host *host, struct err *err)
{
	struct launch *l = calloc(1, sizeof(*l));

	if (!l) {
		err_set(err, -ENOMEM, "no memory to start");
		return NULL;
	}
	l->cfg = cfg;
	l->loop = loop;
	l->host = host;
	if (launch_init(l, err) < 0) {
		launch_destroy(l);
		return NULL;
	}
	return l;
}

int launch_start(struct launch *l, struct vm_entry *entry, struct err *err)
{
	return vm_start(l->vm, entry, err);
}

static void launch_begin(void *opaque)
{
	struct launch *l = opaque;

	boot_clock_mark(&l->cfg->clock, "devices made, the guest begins");
	vm_resume(l->vm);
}

int launch_run(struct launch *l, struct err *err)
{
	struct vm *vm = l->vm;
	/* From the loop: a vCPU's call for it must find it running, or would be made in the vCPU's thread, beside the loop as it starts. */
	struct event_work begin = { .run = launch_begin, .opaque = l };
	int r;

	*err = (struct err)ERR_INIT; /* what failed on the way and did not matter */
	if (!l->cfg->paused)
		eventloop_post(l->loop, &begin);
	r = eventloop_run(l->loop);
	eventloop_cancel_work(l->loop, &begin);
	if (l->cfg->count_exits) {
		vm_stop(vm);
		vm_log_exits(vm);
	}
	if (r < 0) {
		err_set_errno(err, r, "the event loop cannot wait for events");
		return 1;
	}
	return vm->exit_status;
}

struct vm *launch_vm(const struct launch *l)
{
	return l->vm;
}

void launch_powerdown(struct launch *l)
{
	launch_on_powerdown(l);
}

void launch_quit(struct launch *l, enum launch_quit why)
{
	static const enum vm_cause causes[] = { [LAUNCH_QUIT_UI] = VM_CAUSE_HOST_UI, [LAUNCH_QUIT_SIGNAL] = VM_CAUSE_HOST_SIGNAL };

	if (l->vm)
		vm_request_for(l->vm, VM_REQUEST_EXIT, causes[why], 0);
}

void launch_resume(struct launch *l)
{
	struct vm *vm = l->vm;

	if (!vm || vm->state != VM_IO_ERROR)
		return;
	log_info("the machine goes on");
	vm_resume(vm);
}

void launch_terminal_resized(struct launch *l)
{
	launch_virtio_resize(&l->virtio);
}

struct launch_scsi *launch_scsi(struct launch *l)
{
	return &l->scsi;
}

struct blockdev *launch_drive(const struct launch *l, const char *id)
{
	return launch_disks_drive(l->disks, id);
}

void launch_leave(struct launch *l)
{
	l->vm->left = true;
	launch_destroy(l);
}

void launch_destroy(struct launch *l)
{
	if (!l)
		return;
	monitor_destroy(l->monitor);
	if (l->machine)
		machine_destroy(l->machine);
	else
		launch_none_destroy(l->vm);
	launch_net_close(l->net);
	launch_disks_close(l->disks);
	for (size_t i = l->cfg->n_chardevs; i-- > 0;)
		chardev_destroy(l->chardevs[i]);
	fdsets_fini(&l->fds);
	boot_close(l->boot);
	free(l);
}
