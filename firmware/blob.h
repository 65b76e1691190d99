/* SPDX-License-Identifier: MIT */
/*
 * A byte buffer that grows up to a limit, for building tables. The first failure sticks: from then on every call does nothing,
 * so a builder makes all its calls and looks at `error` once.
 *
 * Thread: one at a time.
 */
#ifndef FIRMWARE_BLOB_H
#define FIRMWARE_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct blob {
	uint8_t *data; /* heap; NULL while empty */
	size_t len, cap;
	size_t max; /* bytes */
	int error;  /* 0, -ENOSPC beyond `max`, -ENOMEM, or what blob_fail was given */
};

void blob_init(struct blob *b, size_t max);
void blob_fini(struct blob *b);

/* Makes `code`, a negative errno, the error, unless there is one already. */
void blob_fail(struct blob *b, int code);

/* Appends `n` bytes. */
void blob_put(struct blob *b, const void *data, size_t n);
void blob_put_byte(struct blob *b, uint8_t byte);

/* Makes room at offset `at` <= len and puts `n` bytes there; what stood behind moves up. */
void blob_insert(struct blob *b, size_t at, const void *data, size_t n);

/* Replaces `n` bytes at `at`; -EINVAL when they are not all there. */
void blob_set(struct blob *b, size_t at, const void *data, size_t n);

/* Appends zeroes until the address `base` + len is a multiple of `align`, a power of two. */
void blob_align(struct blob *b, uint64_t base, size_t align);

/* The byte that makes [at, at + n) sum to zero when it is stored over a zero in there; 0 when they are not all there. */
uint8_t blob_checksum(const struct blob *b, size_t at, size_t n);

#endif
