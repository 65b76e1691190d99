/* SPDX-License-Identifier: MIT */
/* The control socket: net/user_proto.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/user_proto.h"
#include "tools/user-net/helper.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define WARNINGS_A_SECOND 5

int control_send(struct helper *h, const char *kind, const char *text)
{
	char buf[USER_PROTO_MAX];
	int n = snprintf(buf, sizeof(buf), "%s%s%s", kind, text[0] ? " " : "", text);

	if (n >= (int)sizeof(buf))
		n = (int)sizeof(buf) - 1;
	if (send(h->control, buf, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN) /* who does not read does not want it */
		return -errno;
	return 0;
}

void control_warn(struct helper *h, const char *text)
{
	int64_t now = now_ns();

	if (now - h->warned_ns > NS_PER_SEC) {
		h->warned_ns = now;
		h->warnings = 0;
	}
	if (h->warnings++ < WARNINGS_A_SECOND)
		control_send(h, "warn", text);
}

static int reply(struct helper *h, int rc, const struct err *err)
{
	return rc < 0 ? control_send(h, "failed", err->msg) : control_send(h, "ok", "");
}

static int hostfwd_add(struct helper *h, const char *rule)
{
	struct err err = ERR_INIT;
	struct hostfwd fwd;
	int rc = config_hostfwd(&fwd, rule, false, &err);

	return reply(h, rc < 0 ? rc : forward_add(h, &fwd, &err), &err);
}

static int hostfwd_remove(struct helper *h, const char *rule)
{
	struct err err = ERR_INIT;
	struct hostfwd fwd;
	int rc = config_hostfwd(&fwd, rule, true, &err);

	if (rc == 0 && slirp_remove_hostfwd(h->slirp, fwd.udp, fwd.host, (int)fwd.host_port) < 0)
		rc = err_set(&err, -ENOENT, "there is no forward '%s'", rule);
	return reply(h, rc, &err);
}

static int info(struct helper *h)
{
	char *text = slirp_connection_info(h->slirp);
	int rc = control_send(h, "ok", text ? text : "");

	free(text); /* glib's g_free is the same since 2.46 */
	return rc;
}

static int offloads(struct helper *h, const char *text)
{
	h->offload.guest = (unsigned)strtoul(text, NULL, 10);
	return 0;
}

int control_run(struct helper *h)
{
	static const struct {
		const char *name;
		int (*run)(struct helper *h, const char *rest);
	} commands[] = { { "offloads ", offloads }, { "hostfwd_add ", hostfwd_add }, { "hostfwd_remove ", hostfwd_remove } };
	char buf[USER_PROTO_MAX + 1];
	ssize_t got = recv(h->control, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0)
		return -EPIPE;
	buf[got] = '\0';
	if (strcmp(buf, "info") == 0)
		return info(h);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strncmp(buf, commands[i].name, strlen(commands[i].name)) == 0)
			return commands[i].run(h, buf + strlen(commands[i].name));
	return control_send(h, "failed", "the command is not known");
}
