/* SPDX-License-Identifier: MIT */
#include "firmware/blob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/util.h"

#define BLOB_FIRST_CAP 1024

void blob_init(struct blob *b, size_t max)
{
	*b = (struct blob){ .max = max };
}

void blob_fini(struct blob *b)
{
	free(b->data);
	*b = (struct blob){ .max = 0 };
}

void blob_fail(struct blob *b, int code)
{
	if (!b->error)
		b->error = code;
}

/* Whether there is room for `n` more bytes. */
static bool blob_reserve(struct blob *b, size_t n)
{
	size_t cap = b->cap ? b->cap : BLOB_FIRST_CAP;
	uint8_t *data;

	if (b->error)
		return false;
	if (!range_ok(b->len, n, b->max)) {
		b->error = -ENOSPC;
		return false;
	}
	if (b->data && n <= b->cap - b->len)
		return true;
	while (cap < b->len + n)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	data = realloc(b->data, cap);
	if (!data) {
		b->error = -ENOMEM;
		return false;
	}
	b->data = data;
	b->cap = cap;
	return true;
}

void blob_put(struct blob *b, const void *data, size_t n)
{
	blob_insert(b, b->len, data, n);
}

void blob_put_byte(struct blob *b, uint8_t byte)
{
	blob_put(b, &byte, 1);
}

void blob_insert(struct blob *b, size_t at, const void *data, size_t n)
{
	if (n == 0 || !blob_reserve(b, n))
		return;
	if (at > b->len) {
		b->error = -EINVAL;
		return;
	}
	memmove(b->data + at + n, b->data + at, b->len - at);
	memcpy(b->data + at, data, n);
	b->len += n;
}

void blob_set(struct blob *b, size_t at, const void *data, size_t n)
{
	if (b->error || n == 0)
		return;
	if (!range_ok(at, n, b->len)) {
		b->error = -EINVAL;
		return;
	}
	memcpy(b->data + at, data, n);
}

void blob_align(struct blob *b, uint64_t base, size_t align)
{
	while (!b->error && (base + b->len) % align != 0)
		blob_put_byte(b, 0);
}

uint8_t blob_checksum(const struct blob *b, size_t at, size_t n)
{
	uint8_t sum = 0;

	if (b->error || !range_ok(at, n, b->len))
		return 0;
	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + b->data[at + i]);
	return (uint8_t)-sum;
}
