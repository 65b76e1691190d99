/* SPDX-License-Identifier: MIT */
/*
 * Block requests as plain calls in a coroutine, and several of them at once. Offsets and lengths here may be any: what the device below cannot
 * take as it is goes through a buffer. Reads past the end of the device give zeroes.
 *
 * Thread: the loop of the device and the pool. Results are 0 or -errno.
 */
#ifndef BLK_CO_IO_H
#define BLK_CO_IO_H

#include "blk/blockdev.h"
#include "vmm/co.h"
#include "vmm/iov.h"

int co_blk(struct co_pool *pool, struct blockdev *bd, const struct blk_req *what);
int co_pread(struct co_pool *pool, struct blockdev *bd, uint64_t off, void *buf, size_t len);
/* A part of a sector is read, changed and written: the caller keeps others away from it meanwhile. */
int co_pwrite(struct co_pool *pool, struct blockdev *bd, uint64_t off, const void *buf, size_t len);
int co_pflush(struct co_pool *pool, struct blockdev *bd);

/* Buffers that direct I/O takes. NULL: no memory. free() ends them. */
void *co_buf(size_t len);

/* Many at once. `result` is that of the first that failed. */
struct co_gather {
	struct co_pool *pool;
	struct co *waiter;
	unsigned pending;
	int result;
};

/*
 * Submits a READ or WRITE of the next `len` bytes of `c`, which it passes. The buffers stay the caller's until co_gather_wait. Reads past
 * the end of the device are filled with zeroes. Waits while there are many.
 */
void co_gather_rw(struct co_gather *g, struct blockdev *bd, enum blk_op op, uint64_t off, struct iov_cursor *c, size_t len);
/* Returns when all have ended, with the result. */
int co_gather_wait(struct co_gather *g);

#endif
