/* SPDX-License-Identifier: MIT */
#include "vmm/iov.h"

#include <string.h>

#include "vmm/util.h"

size_t iov_size(const struct iovec *iov, size_t n)
{
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		if (__builtin_add_overflow(size, iov[i].iov_len, &size))
			return SIZE_MAX;
	return size;
}

void iov_cursor_init(struct iov_cursor *c, const struct iovec *iov, size_t n)
{
	*c = (struct iov_cursor){ .iov = iov, .n = n, .left = iov_size(iov, n) };
}

/* The next contiguous bytes, at most `len`, which is not 0 and not more than are left. Advances. */
static struct iovec cursor_step(struct iov_cursor *c, size_t len)
{
	struct iovec part;

	while (c->off == c->iov->iov_len) {
		c->iov++;
		c->n--;
		c->off = 0;
	}
	part.iov_base = (char *)c->iov->iov_base + c->off;
	part.iov_len = min_u64(len, c->iov->iov_len - c->off);
	c->off += part.iov_len;
	c->left -= part.iov_len;
	while (c->n && c->off == c->iov->iov_len) {
		c->iov++;
		c->n--;
		c->off = 0;
	}
	return part;
}

size_t iov_cursor_read(struct iov_cursor *c, void *buf, size_t len)
{
	size_t todo = len = min_u64(len, c->left);
	char *p = buf;

	while (todo > 0) {
		struct iovec part = cursor_step(c, todo);

		memcpy(p, part.iov_base, part.iov_len);
		p += part.iov_len;
		todo -= part.iov_len;
	}
	return len;
}

size_t iov_cursor_write(struct iov_cursor *c, const void *buf, size_t len)
{
	size_t todo = len = min_u64(len, c->left);
	const char *p = buf;

	while (todo > 0) {
		struct iovec part = cursor_step(c, todo);

		memcpy(part.iov_base, p, part.iov_len);
		p += part.iov_len;
		todo -= part.iov_len;
	}
	return len;
}

size_t iov_cursor_fill(struct iov_cursor *c, unsigned char byte, size_t len)
{
	size_t todo = len = min_u64(len, c->left);

	while (todo > 0) {
		struct iovec part = cursor_step(c, todo);

		memset(part.iov_base, byte, part.iov_len);
		todo -= part.iov_len;
	}
	return len;
}

size_t iov_cursor_skip(struct iov_cursor *c, size_t len)
{
	size_t todo = len = min_u64(len, c->left);

	while (todo > 0)
		todo -= cursor_step(c, todo).iov_len;
	return len;
}

size_t iov_cursor_take(struct iov_cursor *c, size_t len, struct iovec *out, size_t max)
{
	struct iov_cursor at = *c;
	size_t n = 0;

	if (len == 0 || len > c->left)
		return 0;
	while (len > 0) {
		if (n == max)
			return 0;
		out[n] = cursor_step(&at, len);
		len -= out[n++].iov_len;
	}
	*c = at;
	return n;
}
