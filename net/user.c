/* SPDX-License-Identifier: MIT */
/*
 * Kite's end of -netdev user. The helper is started with vfork's speed (posix_spawn), gets its configuration as arguments and two sockets
 * (user_proto.h), and is not waited for: frames of the guest wait in the socket until it reads.
 *
 * Its first message says whether it could be set up. Where that can fail by a user's mistake, user_net_wait waits for it; else it comes on the loop.
 *
 * Its end comes in pieces, in any order: either socket, with messages that were not read yet in one of them; the other socket; and, on a busy machine
 * much later, the process. The first socket is enough: what is left to read is read, the sockets are closed and the link goes down. Then its
 * pidfd tells when there is a status; one that does not end is killed after a while. Only then it is said what has happened. Nobody waits.
 */
#include "net/user.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <poll.h>
#include <unistd.h>

#include "net/framed.h"
#include "net/netdev.h"
#include "net/user_helper.h"
#include "net/user_proto.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(recvfrom), .threads = THREAD_LOOP, .rare = THREAD_LOOP }, /* the control socket */
	{ CALL(sendto), .threads = THREAD_LOOP | THREAD_MAIN, .rare = THREAD_ANY },
	{ CALL(wait4), .threads = THREAD_LOOP },
	{ CALL(poll), .threads = THREAD_LOOP },
	/* Of the helper, by a descriptor that the start has left; others cannot be had. */
	{ CALL(pidfd_send_signal), ARG(1, SIGKILL), .threads = THREAD_LOOP, .rare = THREAD_LOOP },
	{ CALL(kill), .threads = THREAD_LOOP, .error = EPERM, .rare = THREAD_LOOP },
);

/* A helper on a busy machine; one that hangs must not hang Kite for ever. */
#define READY_TIMEOUT_MS 20000
/* Room for bursts in both directions; the kernel may give less. */
#define SOCKET_BUFFER (1 << 20)
#define LAST_WORDS 32 /* messages that are read of a helper that has gone */
/* How long one without its sockets may take to end. */
#define END_TIMEOUT_MS 5000
#define END_TRIES 100 /* milliseconds, where it cannot be killed */

enum helper_state {
	HELPER_STARTING,
	HELPER_READY,
	HELPER_LOST, /* its sockets are closed; the process may still be ending */
	HELPER_GONE,
};

struct user_net {
	struct netdev nd;
	struct framed framed;
	struct event_fd control;
	struct event_work fail;  /* `failed` is called outside of everything */
	pid_t pid;               /* 0: reaped */
	struct event_fd process; /* its pidfd; in the loop while the helper is lost. -1: an older kernel's */
	struct event_timer patience;
	enum helper_state state;
	bool was_ready;
	bool may_fail;           /* the set-up, by what the user asked for */
	bool said;               /* why it is gone */
	struct err why;
	struct log_limit limit;
	void (*failed)(void *opaque, const struct err *why);
	void *failed_opaque;
	void (*done)(void *opaque, bool ok, const char *text); /* of the command that runs; NULL: none */
	void *done_opaque;
};

static struct user_net *user_of(struct netdev *nd)
{
	return CONTAINER_OF(nd, struct user_net, nd);
}

/* The helper's end */

/* What it ended with, waiting for that. */
static int reap(struct user_net *u)
{
	int status = 0;

	while (u->pid > 0 && waitpid(u->pid, &status, 0) < 0 && errno == EINTR)
		;
	u->pid = 0;
	return status;
}

/*
 * Ended, or given up after a moment: where it may not be killed (another user's after -runas; a kernel that holds signals to a sandbox), it ends because
 * its sockets do, or at the latest with this process. Returns its status, 0 if it has none yet.
 */
static int kill_helper(struct user_net *u)
{
	int status = 0;

	if (u->pid <= 0)
		return 0;
	if ((u->process.fd < 0 ? kill(u->pid, SIGKILL) : (int)syscall(SYS_pidfd_send_signal, u->process.fd, SIGKILL, NULL, 0)) == 0)
		return reap(u);
	for (int i = 0; i < END_TRIES && waitpid(u->pid, &status, WNOHANG) == 0; i++)
		poll(NULL, 0, 1);
	u->pid = 0;
	return status;
}

/* Ends a command that waits for its answer. */
static void command_done(struct user_net *u, bool ok, const char *text)
{
	void (*done)(void *opaque, bool ok, const char *text) = u->done;

	u->done = NULL;
	if (done)
		done(u->done_opaque, ok, text);
}

static void fail_run(void *opaque)
{
	struct user_net *u = opaque;

	if (u->failed)
		u->failed(u->failed_opaque, &u->why);
	else
		log_error("%s", u->why.msg);
}

/* The process is over, or is ended for `cause`. Says so, but for what `fail` or user_net_wait will say. */
static void helper_gone(struct user_net *u, const char *cause)
{
	char text[80];
	int status;

	if (u->state == HELPER_GONE)
		return;
	u->state = HELPER_GONE;
	eventloop_del_fd(u->nd.loop, &u->process);
	eventloop_cancel(u->nd.loop, &u->patience);
	status = cause ? kill_helper(u) : reap(u);
	if (cause)
		snprintf(text, sizeof(text), "%s", cause);
	else if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "it was killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "it ended with status %d", WEXITSTATUS(status));
	if (u->was_ready)
		log_warn("netdev %s: the network's helper is gone: %s; the link is down", u->nd.id, text);
	else if (!u->why.code)
		err_set(&u->why, -EPIPE, "netdev %s: the network's helper, kite-user-net, did not start: %s", u->nd.id, text);
}

static const char closed_sockets[] = "it closed its sockets";

static int control_read(struct user_net *u);

/*
 * Nothing more comes from the helper but, perhaps, its last words. `cause`: why it is not to go on, or NULL: the process is about to tell. Returns whether it
 * is gone already.
 */
static bool helper_lost(struct user_net *u, const char *cause)
{
	if (u->state >= HELPER_LOST)
		return u->state == HELPER_GONE;
	for (int i = 0; i < LAST_WORDS && !u->why.code && control_read(u) > 0; i++)
		;
	u->was_ready = u->state == HELPER_READY;
	u->state = HELPER_LOST;
	eventloop_del_fd(u->nd.loop, &u->control);
	fd_close(&u->control.fd);
	framed_stop(&u->framed);
	netdev_link(&u->nd, false);
	command_done(u, false, "the network's helper is gone");
	/* With its own words there is no status to wait for. */
	if (cause || u->why.code || u->process.fd < 0)
		helper_gone(u, cause ? cause : closed_sockets);
	return u->state == HELPER_GONE;
}

/* A set-up that failed is said now. */
static void helper_failed(struct user_net *u)
{
	if (u->why.code && !u->said) {
		u->said = true;
		eventloop_post(u->nd.loop, &u->fail);
	}
}

static void process_ended(void *opaque, uint32_t revents)
{
	struct user_net *u = opaque;

	(void)revents;
	helper_gone(u, NULL);
	helper_failed(u);
}

static void process_stays(void *opaque)
{
	struct user_net *u = opaque;

	helper_gone(u, closed_sockets);
	helper_failed(u);
}

/* As helper_lost, on the loop, which sees to the rest. */
static void loop_lost(struct user_net *u, const char *cause)
{
	if (helper_lost(u, cause)) {
		helper_failed(u);
		return;
	}
	eventloop_arm(u->nd.loop, &u->patience, now_ns() + END_TIMEOUT_MS * INT64_C(1000000));
	if (eventloop_add_fd(u->nd.loop, &u->process, EPOLLIN) < 0)
		process_stays(u);
}

static void frames_broken(void *opaque, int rc)
{
	struct user_net *u = opaque;

	if (rc == -EPROTO)
		log_warn("netdev %s: the network's helper sent a frame of %u bytes, which none has", u->nd.id, u->framed.bad_length);
	loop_lost(u, rc == -EPROTO ? "it was told to end" : NULL);
}

/* Messages */

static int control_send(struct user_net *u, const char *text)
{
	if (u->control.fd < 0)
		return -ENOTCONN;
	return send(u->control.fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The rest of a message of that kind, or NULL. */
static const char *rest_of(const char *msg, const char *kind)
{
	size_t len = strlen(kind);

	if (strncmp(msg, kind, len) != 0 || (msg[len] && msg[len] != ' '))
		return NULL;
	return msg + len + (msg[len] == ' ');
}

static void first_message(struct user_net *u, const char *msg)
{
	const char *rest = rest_of(msg, "error");

	if ((rest = rest_of(msg, "ready")) && atoi(rest) == USER_PROTO_VERSION) {
		u->state = HELPER_READY;
		return;
	}
	rest = rest_of(msg, "error");
	if (rest)
		err_set(&u->why, -EINVAL, "netdev %s: %s", u->nd.id, rest);
	else
		err_set(&u->why, -EPROTO, "netdev %s: the network's helper is of another build than this kite", u->nd.id);
}

/* Text of the helper's for a terminal: one line, nothing but characters. Answers may have several lines. */
static void clean(char *text, size_t len, bool lines)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 && !(lines && text[i] == '\n'))
			text[i] = ' ';
	text[len] = '\0';
}

/* One message. 1; 0 when there is none; -errno at the end. */
static int control_read(struct user_net *u)
{
	char buf[USER_PROTO_MAX + 1];
	const char *rest;
	ssize_t got;
	bool again;

	/* ECONNRESET comes once, when the helper ended with messages of ours unread, and before what it said last. */
	for (unsigned resets = 0;; resets++) {
		got = recv(u->control.fd, buf, USER_PROTO_MAX, MSG_DONTWAIT);
		again = got < 0 && (errno == EINTR || (errno == ECONNRESET && resets == 0));
		if (!again)
			break;
	}
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	if (got == 0)
		return -EPIPE;
	clean(buf, (size_t)got, got > 2 && memcmp(buf, "ok", 2) == 0);
	if ((rest = rest_of(buf, "warn"))) {
		char name[80];

		snprintf(name, sizeof(name), "netdev %s", u->nd.id);
		log_guest(&u->limit, name, "%s", rest);
	} else if (u->state == HELPER_STARTING) {
		first_message(u, buf);
		return u->state == HELPER_READY ? 1 : -EPROTO;
	} else if ((rest = rest_of(buf, "ok"))) {
		command_done(u, true, rest);
	} else if ((rest = rest_of(buf, "failed"))) {
		command_done(u, false, rest);
	}
	return 1;
}

static void control_ready(void *opaque, uint32_t revents)
{
	struct user_net *u = opaque;
	int rc = 1;

	(void)revents;
	for (int i = 0; rc > 0 && i < 16 && u->control.fd >= 0; i++)
		rc = control_read(u);
	if (rc < 0)
		loop_lost(u, NULL);
}

/* Until its pidfd says that it has ended, or it never will. */
static void await_end(struct user_net *u)
{
	struct pollfd fd = { .fd = u->process.fd, .events = POLLIN };
	int rc;

	do
		rc = poll(&fd, 1, END_TIMEOUT_MS);
	while (rc < 0 && errno == EINTR);
	helper_gone(u, rc > 0 ? NULL : closed_sockets);
}

struct wait_call {
	struct user_net *u;
	struct err *err;
};

static void wait_on_loop(void *arg)
{
	const struct wait_call *call = arg;
	struct user_net *u = call->u;
	int64_t deadline = now_ns() + READY_TIMEOUT_MS * INT64_C(1000000);

	while (u->state == HELPER_STARTING) {
		struct pollfd fd = { .fd = u->control.fd, .events = POLLIN };
		int64_t left = (deadline - now_ns()) / 1000000;

		if (left <= 0) {
			err_set(call->err, -ETIMEDOUT, "netdev %s: the network's helper has not started for %d seconds", u->nd.id,
				READY_TIMEOUT_MS / 1000);
			return;
		}
		if (poll(&fd, 1, (int)left) < 0 && errno != EINTR) {
			err_set_errno(call->err, -errno, "netdev %s: cannot wait for the network's helper", u->nd.id);
			return;
		}
		if (control_read(u) < 0)
			helper_lost(u, NULL);
	}
	if (u->state == HELPER_LOST && !u->was_ready)
		await_end(u);
	if (u->state == HELPER_GONE && u->why.code && !u->said) {
		u->said = true;
		*call->err = u->why;
	}
}

int user_net_wait(struct netdev *nd, struct err *err)
{
	struct wait_call call = { .u = user_of(nd), .err = err };

	if (!call.u->may_fail)
		return 0;
	err->code = 0;
	eventloop_call_sync(nd->loop, wait_on_loop, &call);
	return err->code;
}

int user_net_command(struct netdev *nd, const char *command, void (*done)(void *opaque, bool ok, const char *text), void *opaque)
{
	struct user_net *u = user_of(nd);
	int rc;

	if (u->done)
		return -EBUSY;
	if (strlen(command) > USER_PROTO_MAX)
		return -E2BIG;
	rc = control_send(u, command);
	if (rc < 0)
		return rc == -EPIPE ? -ENOTCONN : rc;
	u->done = done;
	u->done_opaque = opaque;
	return 0;
}

/* The netdev */

static int user_tx(struct netdev *nd, unsigned queue, const struct iovec *iov, size_t n, size_t len)
{
	const struct netdev_frame frame = { .iov = iov, .n = n, .len = len };

	(void)queue;
	return framed_tx_many(&user_of(nd)->framed, &frame, 1) ? 0 : -EAGAIN;
}

static unsigned user_tx_many(struct netdev *nd, unsigned queue, const struct netdev_frame *frames, unsigned n)
{
	(void)queue;
	return framed_tx_many(&user_of(nd)->framed, frames, n);
}

static void user_rx_enable(struct netdev *nd, bool on)
{
	framed_rx_enable(&user_of(nd)->framed, on);
}

static void user_rx_more(struct netdev *nd, unsigned queue)
{
	(void)queue;
	framed_rx_more(&user_of(nd)->framed);
}

static void user_rx_hold(struct netdev *nd, bool on)
{
	framed_rx_hold(&user_of(nd)->framed, on);
}

static int user_set_offloads(struct netdev *nd, const struct netdev_offloads *offloads)
{
	char text[32];

	snprintf(text, sizeof(text), "offloads %u", offloads->guest);
	control_send(user_of(nd), text); /* to a helper that is gone: no matter */
	return 0;
}

static void user_close(struct netdev *nd)
{
	struct user_net *u = user_of(nd);

	u->done = NULL;
	eventloop_cancel_work(nd->loop, &u->fail);
	eventloop_del_fd(nd->loop, &u->control);
	eventloop_del_fd(nd->loop, &u->process);
	eventloop_cancel(nd->loop, &u->patience);
	fd_close(&u->control.fd);
	framed_fini(&u->framed);
	kill_helper(u);
	fd_close(&u->process.fd);
	netdev_fini(nd);
	free(u);
}

static const struct netdev_ops user_ops = {
	.type = "user",
	.tx = user_tx,
	.tx_many = user_tx_many,
	.rx_enable = user_rx_enable,
	.rx_more = user_rx_more,
	.rx_hold = user_rx_hold,
	.set_offloads = user_set_offloads,
	.close = user_close,
};

/* Starting */

static int make_sockets(int frames[2], int control[2], struct err *err)
{
	int size = SOCKET_BUFFER;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, frames) < 0)
		return err_set_errno(err, -errno, "cannot create a socket");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0) {
		int rc = -errno;

		fd_close(&frames[0]);
		fd_close(&frames[1]);
		return err_set_errno(err, rc, "cannot create a socket");
	}
	for (int i = 0; i < 2; i++)
		setsockopt(frames[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

static int user_start(struct user_net *u, const struct user_net_config *cfg, struct err *err)
{
	int frames[2] = { -1, -1 }, control[2] = { -1, -1 };
	int rc = make_sockets(frames, control, err);

	if (rc == 0)
		rc = user_helper_spawn(cfg, frames[1], control[1], &u->pid, err);
	if (rc == 0)
		u->process.fd = (int)syscall(SYS_pidfd_open, u->pid, 0); /* closes on exec */
	fd_close(&frames[1]);
	fd_close(&control[1]);
	u->control.fd = control[0];
	if (rc == 0) {
		rc = framed_start(&u->framed, frames[0]);
		frames[0] = -1;
		if (rc == 0)
			rc = eventloop_add_fd(cfg->loop, &u->control, EPOLLIN);
		if (rc < 0)
			err_set_errno(err, rc, "cannot watch the network's helper");
	}
	fd_close(&frames[0]);
	return rc;
}

static struct user_net *user_new(const struct user_net_config *cfg, struct err *err)
{
	struct user_net *u = calloc(1, sizeof(*u));

	if (!u || netdev_init(&u->nd, &user_ops, cfg->id, cfg->loop, err) < 0) {
		free(u);
		err_set_errno(err, -ENOMEM, "the network");
		return NULL;
	}
	u->nd.caps = NETDEV_VNET | NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6;
	u->control = (struct event_fd){ .fd = -1, .ready = control_ready, .opaque = u };
	u->process = (struct event_fd){ .fd = -1, .ready = process_ended, .opaque = u };
	u->patience = (struct event_timer){ .fire = process_stays, .opaque = u };
	u->fail = (struct event_work){ .run = fail_run, .opaque = u };
	u->limit = (struct log_limit)LOG_LIMIT_INIT;
	u->failed = cfg->failed;
	u->failed_opaque = cfg->opaque;
	u->may_fail = cfg->n_hostfwd || cfg->n_guestfwd || cfg->tftp || cfg->metadata || cfg->net || cfg->host || cfg->dns || cfg->dhcpstart ||
		      cfg->ipv6_net || cfg->ipv6_host || cfg->ipv6_dns || cfg->helper;
	u->framed.nd = &u->nd;
	u->framed.vnet = true;
	u->framed.broken = frames_broken;
	u->framed.opaque = u;
	if (framed_init(&u->framed) < 0) {
		user_close(&u->nd);
		err_set_errno(err, -ENOMEM, "the network");
		return NULL;
	}
	return u;
}

struct netdev *user_net_open(const struct user_net_config *cfg, struct err *err)
{
	struct user_net *u = user_new(cfg, err);

	if (u && user_start(u, cfg, err) == 0)
		return &u->nd;
	if (u)
		user_close(&u->nd);
	err_prefix(err, "netdev %s", cfg->id);
	return NULL;
}
