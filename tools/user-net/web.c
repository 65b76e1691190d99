/* SPDX-License-Identifier: MIT */
#include "tools/user-net/web.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/util.h"

void web_init(struct web *web, int dir)
{
	memset(&web->metadata, 0, sizeof(web->metadata));
	web->metadata.dir = dir;
	for (unsigned i = 0; i < WEB_CONNECTIONS; i++)
		web->connections[i].fd = web->connections[i].file = -1;
}

static void conn_close(struct web_connection *c)
{
	fd_close(&c->fd);
	fd_close(&c->file);
}

void web_fini(struct web *web)
{
	for (unsigned i = 0; i < WEB_CONNECTIONS; i++)
		conn_close(&web->connections[i]);
}

void web_add(struct web *web, int fd)
{
	struct web_connection *c = &web->connections[0];

	for (unsigned i = 0; i < WEB_CONNECTIONS && c->fd >= 0; i++)
		if (web->connections[i].fd < 0 || web->connections[i].used_ns < c->used_ns)
			c = &web->connections[i];
	conn_close(c);
	c->fd = fd;
	c->used_ns = now_ns();
	c->closing = false;
	c->in_len = c->skip = 0;
	c->out_head = c->out_len = 0;
	c->left = 0;
}

/* Answers go out in order: while there is one, no other request is looked at. */
static bool sending(const struct web_connection *c)
{
	return c->out_head < c->out_len || c->left;
}

static void put_head(struct web_connection *c, int status, size_t len, int32_t ttl, bool keep_alive)
{
	int n = snprintf(c->out, sizeof(c->out), "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nServer: EC2ws\r\n", status,
			 http_reason(status), len);

	if (ttl)
		n += snprintf(c->out + n, sizeof(c->out) - (size_t)n, "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: %d\r\n", ttl);
	if (status == 405)
		n += snprintf(c->out + n, sizeof(c->out) - (size_t)n, "Allow: GET, HEAD, PUT\r\n");
	n += snprintf(c->out + n, sizeof(c->out) - (size_t)n, "Connection: %s\r\n\r\n", keep_alive ? "keep-alive" : "close");
	c->out_head = 0;
	c->out_len = (size_t)n;
	c->closing = !keep_alive;
}

/* A request that cannot be understood: nothing behind it can be either. */
static void refuse(struct web_connection *c, int status)
{
	const char *reason = http_reason(status);
	size_t len = strlen(reason);

	put_head(c, status, len, 0, false);
	memcpy(c->out + c->out_len, reason, len);
	c->out_len += len;
	c->in_len = 0;
}

static void answer(struct web *web, struct web_connection *c, const struct http_request *req)
{
	struct metadata_answer answer;

	metadata_answer(&web->metadata, req, now_ns(), &answer);
	put_head(c, answer.status, answer.len, answer.ttl, req->keep_alive);
	if (req->method == HTTP_HEAD) {
		fd_close(&answer.fd);
	} else if (answer.fd >= 0) {
		c->file = answer.fd;
		c->left = answer.len;
	} else {
		memcpy(c->out + c->out_len, answer.text, answer.len);
		c->out_len += answer.len;
	}
}

static void drop_input(struct web_connection *c, size_t n)
{
	c->in_len -= n;
	memmove(c->in, c->in + n, c->in_len);
}

/* Takes the next request, if it is whole. */
static void take_request(struct web *web, struct web_connection *c)
{
	struct http_request req;
	size_t body = min_u64(c->skip, c->in_len);
	int n;

	drop_input(c, body);
	c->skip -= (uint32_t)body;
	if (c->skip || c->in_len == 0)
		return;
	n = http_parse(c->in, c->in_len, &req);
	if (n < 0)
		refuse(c, -n);
	if (n <= 0)
		return;
	drop_input(c, (size_t)n);
	c->skip = req.body;
	answer(web, c, &req);
}

/* More of the file. False when it is shorter than it was: the length was said already. */
static bool refill(struct web_connection *c)
{
	ssize_t got;

	if (c->out_head < c->out_len || !c->left)
		return true;
	got = read(c->file, c->out, min_u64(sizeof(c->out), c->left));
	if (got <= 0)
		return false;
	c->out_head = 0;
	c->out_len = (size_t)got;
	c->left -= (uint64_t)got;
	if (!c->left)
		fd_close(&c->file);
	return true;
}

/* Sends what it can. False at the connection's end. */
static bool send_some(struct web_connection *c)
{
	while (sending(c)) {
		ssize_t sent;

		if (!refill(c))
			return false;
		sent = send(c->fd, c->out + c->out_head, c->out_len - c->out_head, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
		c->out_head += (size_t)sent;
	}
	return !c->closing;
}

static bool receive_some(struct web_connection *c)
{
	ssize_t got = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
	c->in_len += (size_t)got;
	return got > 0;
}

static void conn_run(struct web *web, struct web_connection *c, short revents)
{
	bool open = true;

	c->used_ns = now_ns();
	if (!sending(c))
		open = receive_some(c);
	else
		open = !(revents & (POLLHUP | POLLERR)) && send_some(c); /* nobody is there to read it */
	/* Requests may come in a row; each has its answer sent, or waiting, before the next. */
	for (size_t before = SIZE_MAX; open && !sending(c) && c->in_len && c->in_len < before;) {
		before = c->in_len;
		take_request(web, c);
		open = send_some(c);
	}
	if (!open)
		conn_close(c);
}

unsigned web_fill(const struct web *web, struct pollfd *fds)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WEB_CONNECTIONS; i++)
		if (web->connections[i].fd >= 0)
			fds[n++] = (struct pollfd){ .fd = web->connections[i].fd, .events = sending(&web->connections[i]) ? POLLOUT : POLLIN };
	return n;
}

static struct web_connection *find(struct web *web, int fd)
{
	for (unsigned i = 0; i < WEB_CONNECTIONS; i++)
		if (web->connections[i].fd == fd)
			return &web->connections[i];
	return NULL;
}

void web_run(struct web *web, const struct pollfd *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct web_connection *c = fds[i].revents ? find(web, fds[i].fd) : NULL;

		if (c)
			conn_run(web, c, fds[i].revents);
	}
}
