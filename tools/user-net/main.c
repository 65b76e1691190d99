/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/user_proto.h"
#include "tools/user-net/gate.h"
#include "tools/user-net/helper.h"
#include "tools/user-net/spawn.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define PROTOCOL "--protocol=" TEXT(USER_PROTO_VERSION)

/* glib's headers are needed for nothing else. */
typedef void log_func(const char *domain, int level, const char *message, void *data);
extern log_func *g_log_set_default_handler(log_func *func, void *data);

/* What libslirp and glib complain of, which a guest may bring about at will. */
static void log_message(const char *domain, int level, const char *message, void *data)
{
	(void)domain;
	(void)level;
	control_warn(data, message);
}

static int open_directory(const char *key, const char *path, int *fd, struct err *err)
{
	if (!path)
		return 0;
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? err_set_errno(err, -errno, "%s: cannot open the directory '%s'", key, path) : 0;
}

static int setup(struct helper *h, char **args, int n, struct err *err)
{
	int rc = sandbox_begin(err);

	if (rc == 0)
		rc = config_parse(&h->config, args, n, err);
	if (rc == 0)
		rc = open_directory("tftp", h->config.tftp, &h->tftp, err);
	if (rc == 0)
		rc = open_directory("metadata", h->config.metadata, &h->metadata, err);
	if (rc == 0)
		rc = spawn_start(&h->config, &h->spawn, err);
	if (rc == 0 && vm_link_init(&h->link, USER_PROTO_FRAMES) < 0)
		rc = err_set_errno(err, -ENOMEM, "the frames");
	if (rc < 0)
		return rc;
	web_init(&h->web, h->metadata);
	gate_set_tftp(h->tftp);
	rc = stack_init(h, err);
	if (rc < 0)
		return rc;
	gate_shut();
	return sandbox_enter(h, err);
}

static bool is_socket(int fd, int type)
{
	int found = 0;
	socklen_t len = sizeof(found);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &found, &len) == 0 && found == type;
}

int main(int argc, char **argv)
{
	struct helper *h = calloc(1, sizeof(*h));
	struct err err = ERR_INIT;
	int rc;

	if (argc < 2 || strcmp(argv[1], PROTOCOL) != 0 || !is_socket(USER_PROTO_FRAMES, SOCK_STREAM) ||
	    !is_socket(USER_PROTO_CONTROL, SOCK_SEQPACKET)) {
		fprintf(stderr, "kite-user-net " KITE_VERSION ": the process behind kite's -netdev user (%s); kite starts it itself\n", PROTOCOL);
		return 2;
	}
	if (!h)
		return 1;
	fcntl(USER_PROTO_FRAMES, F_SETFD, FD_CLOEXEC);
	fcntl(USER_PROTO_CONTROL, F_SETFD, FD_CLOEXEC);
	h->control = USER_PROTO_CONTROL;
	h->tftp = h->metadata = h->spawn = -1;
	g_log_set_default_handler(log_message, h);
	rc = setup(h, argv + 2, argc - 2, &err);
	if (rc < 0) {
		control_send(h, "error", err.msg);
		return 1;
	}
	control_send(h, "ready", TEXT(USER_PROTO_VERSION));
	rc = stack_run(h);
	/* Kite went, or it sent what no Kite does. */
	if (rc == -EPROTO)
		control_send(h, "warn", "a frame had a length that none has");
	return rc == -EPIPE || rc == -ECONNRESET ? 0 : 1;
}
