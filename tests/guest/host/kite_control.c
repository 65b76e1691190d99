/* SPDX-License-Identifier: MIT */
/*
 * Kite with orders from outside, for what users will have a control socket for: the command line as it is, the machine in this process, and a
 * FIFO, named by KITE_CONTROL, from which lines are read:
 *
 *   resize NODE BYTES    gives the drive of that id another size
 *   eject ID             opens the tray of a device and takes the medium out; eject! takes it from a guest that holds it
 *   change ID FILE       puts another one in
 *
 * Each is answered with a line on standard error: "control: ", the order, and "ok" or what failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "blk/blockdev.h"
#include "vmm/cli.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/launch.h"
#include "vmm/launch_scsi.h"
#include "vmm/log.h"
#include "vmm/signals.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

struct control {
	struct launch *launch;
	struct event_fd fifo;
	char line[256];
	size_t n;
};

struct resize {
	struct blockdev *bd;
	uint64_t size;
	int result;
};

static void resize_on_loop(void *opaque)
{
	struct resize *r = opaque;

	r->result = blockdev_resize(r->bd, r->size);
}

/* True: it was an order about media. */
static bool obey_media(struct control *c, const char *line)
{
	struct err err = ERR_INIT;
	char id[64], path[160];

	if (sscanf(line, "eject! %63s", id) == 1)
		launch_scsi_eject(launch_scsi(c->launch), id, true, &err);
	else if (sscanf(line, "eject %63s", id) == 1)
		launch_scsi_eject(launch_scsi(c->launch), id, false, &err);
	else if (sscanf(line, "change %63s %159s", id, path) == 2)
		launch_scsi_change(launch_scsi(c->launch), id, path, NULL, false, &err);
	else
		return false;
	log_error("control: %s: %s", line, err.code ? err.msg : "ok");
	return true;
}

static void obey(struct control *c, const char *line)
{
	struct resize r = { .result = -ENOENT };
	char name[64];

	if (obey_media(c, line))
		return;
	if (sscanf(line, "resize %63s %" SCNu64, name, &r.size) != 2) {
		log_error("control: %s: not understood", line);
		return;
	}
	r.bd = launch_drive(c->launch, name);
	if (r.bd)
		eventloop_call_sync(r.bd->loop, resize_on_loop, &r);
	log_error("control: %s: %s", line, r.result < 0 ? strerrordesc_np(-r.result) : "ok");
}

static void fifo_ready(void *opaque, uint32_t revents)
{
	struct control *c = opaque;
	ssize_t n = read(c->fifo.fd, c->line + c->n, sizeof(c->line) - 1 - c->n);
	char *end;

	(void)revents;
	if (n <= 0)
		return;
	c->n += (size_t)n;
	c->line[c->n] = '\0';
	while ((end = strchr(c->line, '\n'))) {
		*end = '\0';
		obey(c, c->line);
		c->n -= (size_t)(end + 1 - c->line);
		memmove(c->line, end + 1, c->n + 1);
	}
	if (c->n == sizeof(c->line) - 1)
		c->n = 0;
}

static void on_quit(void *opaque)
{
	launch_quit(((struct control *)opaque)->launch, 0);
}

static void on_resume(void *opaque)
{
	launch_resume(((struct control *)opaque)->launch);
}

static void on_resized(void *opaque)
{
	launch_terminal_resized(((struct control *)opaque)->launch);
}

static const struct signals_ops signals_ops = { .quit = on_quit, .resume = on_resume, .resized = on_resized };

static int run(const struct vm_config *cfg, const char *fifo, struct err *err)
{
	struct eventloop *loop = eventloop_create(err);
	struct control c = { .fifo = { .fd = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC), .ready = fifo_ready, .opaque = &c } };
	struct signals signals;
	int status = 1;

	vcpu_install_kick_handler();
	if (!loop)
		return status;
	if (c.fifo.fd < 0)
		return err_set_errno(err, -errno, "%s", fifo), status;
	c.launch = launch_create(cfg, loop, err);
	if (c.launch && launch_start(c.launch, NULL, err) == 0 && signals_init(&signals, loop, &signals_ops, &c, err) == 0) {
		eventloop_add_fd(loop, &c.fifo, EPOLLIN);
		status = launch_run(c.launch, err);
		eventloop_del_fd(loop, &c.fifo);
		signals_fini(&signals);
	}
	launch_destroy(c.launch);
	close(c.fifo.fd);
	eventloop_destroy(loop);
	return status;
}

int main(int argc, char *argv[])
{
	const char *fifo = getenv("KITE_CONTROL");
	struct vm_config cfg;
	enum cli_action action;
	struct err err = ERR_INIT;
	int status = 1;

	config_init(&cfg);
	if (!fifo)
		err_set(&err, -EINVAL, "KITE_CONTROL names no FIFO");
	else if (cli_parse(argc, argv, &cfg, &action, &err) == 0 && action == CLI_RUN)
		status = run(&cfg, fifo, &err);
	if (status && err.code)
		log_error("%s", err.msg);
	config_fini(&cfg);
	return status;
}
