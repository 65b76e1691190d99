/* SPDX-License-Identifier: MIT */
/*
 * Any bytes to a monitor of a machine without KVM: the input is what a client sends, in pieces whose lengths its first bytes choose. What comes
 * back must be lines of JSON, one reply for each object at most, and the machine must live.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/launch.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define MAX_TURNS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_qmp: broken promise: %s\n", what);
	abort();
}

struct turns {
	struct eventloop *loop;
	struct event_work work;
	unsigned left;
};

/* Lets what is posted and ready have its turn, `left` times. */
static void turn(void *opaque)
{
	struct turns *t = opaque;

	if (t->left-- > 0)
		eventloop_post(t->loop, &t->work);
	else
		eventloop_stop(t->loop);
}

static void run_some(struct eventloop *loop, unsigned turns)
{
	struct turns t = { .loop = loop, .left = turns };

	t.work = (struct event_work){ .run = turn, .opaque = &t };
	eventloop_post(loop, &t.work);
	eventloop_run(loop);
	eventloop_cancel_work(loop, &t.work);
}

/* Whole lines of what came back are JSON. */
static void check_output(int fd)
{
	static char buf[1 << 20];
	size_t len = 0;
	ssize_t n;
	char *line = buf, *end;

	while (len < sizeof(buf) - 1 && (n = recv(fd, buf + len, sizeof(buf) - 1 - len, MSG_DONTWAIT)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	while ((end = strstr(line, "\r\n"))) {
		json_t *value = json_loadb(line, (size_t)(end - line), 0, NULL);

		require(json_is_object(value), "a line that is no object");
		json_decref(value);
		line = end + 2;
	}
}

static void run_machine(int server, int client, const uint8_t *data, size_t size)
{
	char chardev[64];
	char *argv[] = { "kite", "-S", "-machine", "none", "-nodefaults", "-chardev", chardev, "-mon", "chardev=c,mode=control" };
	static const char hello[] = "{\"execute\":\"qmp_capabilities\"}";
	struct err err = ERR_INIT;
	struct eventloop *loop = eventloop_create(&err);
	enum cli_action action;
	struct vm_config cfg;
	struct launch *launch;

	snprintf(chardev, sizeof(chardev), "socket,id=c,fd=%d", server);
	config_init(&cfg);
	require(loop && cli_parse(ARRAY_SIZE(argv), argv, &cfg, &action, &err) == 0, err.msg);
	launch = launch_create(&cfg, loop, &err);
	require(launch != NULL, err.msg);
	require(launch_start(launch, NULL, &err) == 0, err.msg);
	require(send(client, hello, sizeof(hello) - 1, MSG_NOSIGNAL) > 0, "the client's greeting");
	run_some(loop, 8);
	for (size_t at = 0, k = 0; at < size; k++) {
		size_t piece = 1 + data[k % size] * 8, n = min_u64(piece, size - at);

		if (send(client, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
			break;
		at += n;
		run_some(loop, 4);
		check_output(client);
	}
	run_some(loop, MAX_TURNS);
	check_output(client);
	launch_destroy(launch);
	eventloop_destroy(loop);
	config_fini(&cfg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2];

	log_set_level(LOG_LEVEL_ERROR);
	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "a socket");
	run_machine(fds[0], fds[1], data, size);
	close(fds[1]);
	return 0;
}
