/* SPDX-License-Identifier: MIT */
#include "tools/ctl/client.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/util.h"

static int connect_unix(struct client *c, struct err *err)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (strlen(c->address) >= sizeof(sun.sun_path))
		return err_set(err, -ENAMETOOLONG, "%s: a socket's path has at most %zu characters", c->address, sizeof(sun.sun_path) - 1);
	strcpy(sun.sun_path, c->address);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return 0;
	if (errno == ENOENT)
		return err_set(err, -ENOENT, "%s: there is no such socket; start kite with -qmp unix:%s,server=on,wait=off", c->address, c->address);
	if (errno == ECONNREFUSED)
		return err_set(err, -ECONNREFUSED, "%s: nobody listens there any more: its machine has ended", c->address);
	return err_set_errno(err, -errno, "%s: cannot connect", c->address);
}

static int connect_tcp(struct client *c, const char *where, struct err *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(where, ':');
	struct addrinfo *list = NULL;
	char host[256];
	int r;

	if (!colon || (size_t)(colon - where) >= sizeof(host))
		return err_set(err, -EINVAL, "%s: an address is the path of a Unix socket, or tcp:HOST:PORT", c->address);
	snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
	r = getaddrinfo(*host ? host : "localhost", colon + 1, &hints, &list);
	if (r != 0)
		return err_set(err, -ENOENT, "%s: cannot look it up: %s", c->address, gai_strerror(r));
	r = -ENOENT;
	for (const struct addrinfo *ai = list; ai && r < 0; ai = ai->ai_next) {
		fd_close(&c->fd);
		c->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		r = c->fd >= 0 && connect(c->fd, ai->ai_addr, ai->ai_addrlen) == 0 ? 0 : -errno;
	}
	freeaddrinfo(list);
	return r < 0 ? err_set_errno(err, r, "%s: cannot connect", c->address) : 0;
}

/* Until there is input, at the latest at `until`; 0: never. */
static int wait_input(struct client *c, int64_t until, struct err *err)
{
	struct pollfd fd = { .fd = c->fd, .events = POLLIN };

	for (;;) {
		int64_t left = until ? until - now_ns() : -1;
		int n;

		if (until && left <= 0)
			return err_set(err, -ETIMEDOUT, "%s: no answer within %g s", c->address, (double)c->timeout_ns / 1e9);
		n = poll(&fd, 1, until ? (int)min_u64((uint64_t)left / 1000000 + 1, 1000000) : -1);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_set_errno(err, -errno, "%s", c->address);
	}
}

static int fill(struct client *c, int64_t until, struct err *err)
{
	ssize_t n;

	if (wait_input(c, until, err) < 0)
		return err->code;
	n = read(c->fd, c->buf, sizeof(c->buf));
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return err_set(err, -EPIPE, "%s: the machine has closed the connection", c->address);
	if (n < 0)
		return err_set_errno(err, -errno, "%s: cannot read", c->address);
	c->at = 0;
	c->n = (size_t)n;
	return 0;
}

json_t *client_receive(struct client *c, struct err *err)
{
	int64_t until = c->timeout_ns ? now_ns() + c->timeout_ns : 0;

	for (;;) {
		enum json_stream_result found = JSON_STREAM_MORE;
		json_error_t why;
		json_t *object;
		size_t taken;

		while (c->at < c->n && found == JSON_STREAM_MORE) {
			found = json_stream_feed(&c->stream, c->buf + c->at, c->n - c->at, &taken);
			c->at += taken;
		}
		if (found == JSON_STREAM_MORE) {
			if (fill(c, until, err) < 0)
				return NULL;
			continue;
		}
		object = found == JSON_STREAM_OBJECT ? json_loadb(c->stream.text, c->stream.len, JSON_REJECT_DUPLICATES, &why) : NULL;
		if (!object)
			err_set(err, -EPROTO, "%s: what comes from there is not QMP", c->address);
		return object;
	}
}

int client_send(struct client *c, const json_t *object, struct err *err)
{
	char *text = json_dumps(object, JSON_COMPACT);
	size_t len, at = 0;
	int ret = 0;

	if (!text)
		return err_set(err, -ENOMEM, "no memory for a request");
	len = strlen(text);
	text[len++] = '\n'; /* instead of the terminator */
	while (ret == 0 && at < len) {
		ssize_t n = send(c->fd, text + at, len - at, MSG_NOSIGNAL);

		if (n >= 0)
			at += (size_t)n;
		else if (errno != EINTR)
			ret = err_set(err, errno == EAGAIN ? -ETIMEDOUT : -EPIPE, "%s: the machine %s", c->address,
				      errno == EAGAIN ? "takes no requests" : "has closed the connection");
	}
	free(text);
	return ret;
}

/* The next object that is no event. */
static json_t *receive_answer(struct client *c, struct err *err)
{
	for (;;) {
		json_t *object = client_receive(c, err);

		if (!object || !json_object_get(object, "event"))
			return object;
		if (c->event)
			c->event(c->opaque, object);
		json_decref(object);
	}
}

int client_execute(struct client *c, const char *command, json_t *args, json_t **result, struct err *err)
{
	json_t *request = json_pack("{s:s,s:o*,s:I}", "execute", command, "arguments", args, "id", (json_int_t)++c->id), *answer;
	const char *why;
	int ret;

	*result = NULL;
	if (!request)
		return err_set(err, -ENOMEM, "no memory for a request");
	ret = client_send(c, request, err);
	json_decref(request);
	if (ret < 0)
		return ret;
	answer = receive_answer(c, err);
	if (!answer)
		return err->code;
	*result = json_incref(json_object_get(answer, "return"));
	why = json_string_value(json_object_get(json_object_get(answer, "error"), "desc"));
	if (!*result)
		ret = why ? err_set(err, -EREMOTE, "%s", why) : err_set(err, -EPROTO, "%s: an answer that is neither return nor error", c->address);
	json_decref(answer);
	return ret;
}

int client_open(struct client *c, const char *address, int64_t timeout_ns, json_t **greeting, struct err *err)
{
	const struct timeval limit = { .tv_sec = timeout_ns / NS_PER_SEC, .tv_usec = timeout_ns % NS_PER_SEC / 1000 };
	json_t *result;

	*greeting = NULL;
	*c = (struct client){ .address = address, .fd = -1, .timeout_ns = timeout_ns };
	if (strncmp(address, "tcp:", 4) == 0 ? connect_tcp(c, address + 4, err) < 0 : connect_unix(c, err) < 0)
		return err->code;
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	*greeting = client_receive(c, err);
	if (!*greeting && err->code == -ETIMEDOUT)
		return err_set(err, -ETIMEDOUT, "%s: no greeting within %g s: it serves another client, or it is no QMP monitor", address,
			       (double)timeout_ns / 1e9);
	if (!*greeting)
		return err->code;
	if (!json_object_get(*greeting, "QMP"))
		return err_set(err, -EPROTO, "%s: who answers there is no QMP monitor", address);
	if (client_execute(c, "qmp_capabilities", NULL, &result, err) < 0)
		return err->code;
	json_decref(result);
	return 0;
}

void client_close(struct client *c)
{
	json_stream_reset(&c->stream);
	fd_close(&c->fd);
}
