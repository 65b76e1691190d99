/* SPDX-License-Identifier: MIT */
/*
 * A bounded cursor over scattered buffers: how devices read and write a request. It never passes the end, so what a guest says of
 * lengths cannot lead outside its own buffers. After an advance it stands at the next byte's own entry, never behind the last of one:
 * who goes on with the entries themselves finds no empty one, which would be misaligned for direct I/O, in front of the data.
 *
 * Thread: one at a time.
 */
#ifndef VMM_IOV_H
#define VMM_IOV_H

#include <stddef.h>
#include <sys/uio.h>

struct iov_cursor {
	const struct iovec *iov; /* borrowed */
	size_t n;                /* entries from `iov` on */
	size_t off;              /* bytes of iov[0] already passed */
	size_t left;             /* bytes to the end */
};

void iov_cursor_init(struct iov_cursor *c, const struct iovec *iov, size_t n);

/* Copy and advance; return how many bytes there were, at most `len`. */
size_t iov_cursor_read(struct iov_cursor *c, void *buf, size_t len);
size_t iov_cursor_write(struct iov_cursor *c, const void *buf, size_t len);
size_t iov_cursor_fill(struct iov_cursor *c, unsigned char byte, size_t len);
size_t iov_cursor_skip(struct iov_cursor *c, size_t len);

/*
 * Takes the next `len` bytes as buffers of their own into `out` (room for `max`), advances, and returns how many entries. 0 with
 * nothing taken when fewer than `len` bytes are left or they need more than `max` entries; `len` is not 0.
 */
size_t iov_cursor_take(struct iov_cursor *c, size_t len, struct iovec *out, size_t max);

/* Bytes of all entries. */
size_t iov_size(const struct iovec *iov, size_t n);

#endif
