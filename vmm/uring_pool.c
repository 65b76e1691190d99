/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Threads take requests from one queue in order and make the system calls. What is done goes to a list, and the first entry of an
 * empty list makes the eventfd readable, so a burst of completions costs one wake-up. Threads come into being while there are
 * fewer idle ones than requests, up to POOL_THREADS; an idle one waits on a condition without a time-out.
 */
#include "vmm/uring_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/syscall_rules.h"
#include "vmm/thread.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(preadv2), .threads = THREAD_LOOP },
	{ CALL(pwritev2), .threads = THREAD_LOOP },
	{ CALL(fsync), .threads = THREAD_LOOP, .rare = THREAD_LOOP },
	{ CALL(fdatasync), .threads = THREAD_LOOP, .rare = THREAD_LOOP },
	{ CALL(fallocate), .threads = THREAD_LOOP, .rare = THREAD_LOOP },
	{ CALL(read), .threads = THREAD_LOOP }, /* the eventfd */
	{ CALL(write), .threads = THREAD_LOOP },
	{ CALL(eventfd2), .threads = THREAD_LOOP, .rare = THREAD_ANY }, /* a pool that is wanted late, see uring.c */
);

#define POOL_THREADS 16

struct uring_pool {
	int evfd;
	pthread_mutex_t lock;
	/* Under the lock: */
	pthread_cond_t queued; /* something is in `queue`, or `stop` */
	pthread_cond_t done_event;
	struct uring_list queue, done;
	unsigned n_queued, n_idle;
	bool stop;
	/* The loop's thread only: */
	unsigned n_threads;
	pthread_t threads[POOL_THREADS];
};

static int64_t request_call(const struct uring_req *req)
{
	switch (req->op) {
	case URING_READV:
		return preadv2(req->fd, req->iov, (int)req->n, (off_t)req->off, 0);
	case URING_WRITEV:
		return pwritev2(req->fd, req->iov, (int)req->n, (off_t)req->off, req->dsync ? RWF_DSYNC : 0);
	case URING_FSYNC:
		return fsync(req->fd);
	case URING_FDATASYNC:
		return fdatasync(req->fd);
	case URING_FALLOCATE:
		return fallocate(req->fd, req->mode, (off_t)req->off, (off_t)req->len);
	}
	errno = EINVAL;
	return -1;
}

/* Under the lock. */
static void pool_put_done(struct uring_pool *pool, struct uring_req *req)
{
	bool first = !pool->done.first;
	uint64_t one = 1;

	uring_list_append(&pool->done, req);
	if (first) {
		/* The counter cannot overflow: there is one write for each time it is read. */
		(void)!write(pool->evfd, &one, sizeof(one));
		pthread_cond_signal(&pool->done_event);
	}
}

static void *pool_thread(void *arg)
{
	struct uring_pool *pool = arg;

	pthread_setname_np(pthread_self(), "IO worker");
	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct uring_req *req;

		while (!pool->queue.first && !pool->stop)
			pthread_cond_wait(&pool->queued, &pool->lock);
		req = uring_list_pop(&pool->queue);
		if (!req)
			break;
		pool->n_queued--;
		pool->n_idle--;
		pthread_mutex_unlock(&pool->lock);
		req->result = request_call(req);
		if (req->result < 0)
			req->result = -errno;
		pthread_mutex_lock(&pool->lock);
		pool->n_idle++;
		pool_put_done(pool, req);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* With all signals blocked in the thread: they are the main thread's business. */
static int pool_add_thread(struct uring_pool *pool)
{
	int rc = thread_create(&pool->threads[pool->n_threads], NULL, pool_thread, pool);

	if (rc < 0)
		return rc;
	pool->n_threads++;
	return 0;
}

struct uring_pool *pool_create(struct err *err)
{
	struct uring_pool *pool = calloc(1, sizeof(*pool));
	int rc;

	if (!pool) {
		err_set_errno(err, -ENOMEM, "cannot create the threads for file I/O");
		return NULL;
	}
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->queued, NULL);
	pthread_cond_init(&pool->done_event, NULL);
	pool->evfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->evfd < 0) {
		err_set_errno(err, -errno, "cannot create an eventfd for file I/O");
		goto fail;
	}
	/* One must be there; when there is no room for more, it serves them all. */
	pool->n_idle = 1;
	rc = pool_add_thread(pool);
	if (rc < 0) {
		err_set_errno(err, rc, "cannot create a thread for file I/O");
		goto fail;
	}
	return pool;
fail:
	pool_destroy(pool);
	return NULL;
}

/* Ends the threads, which have nothing to do. */
static void pool_end_threads(struct uring_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	assert(!pool->queue.first && !pool->done.first);
	pool->stop = true;
	pthread_cond_broadcast(&pool->queued);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	pool->n_threads = 0;
}

int pool_renew(struct uring_pool *pool)
{
	pool_end_threads(pool);
	pool->stop = false;
	pool->n_idle = 1;
	return pool_add_thread(pool);
}

void pool_destroy(struct uring_pool *pool)
{
	if (!pool)
		return;
	pool_end_threads(pool);
	fd_close(&pool->evfd);
	pthread_cond_destroy(&pool->done_event);
	pthread_cond_destroy(&pool->queued);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

int pool_fd(const struct uring_pool *pool)
{
	return pool->evfd;
}

void pool_submit(struct uring_pool *pool, struct uring_list *list)
{
	unsigned wake = 0, missing = 0;

	for (const struct uring_req *req = list->first; req; req = req->next)
		wake++;
	pthread_mutex_lock(&pool->lock);
	uring_list_move(&pool->queue, list);
	pool->n_queued += wake;
	if (pool->n_queued > pool->n_idle) {
		missing = (unsigned)min_u64(pool->n_queued - pool->n_idle, POOL_THREADS - pool->n_threads);
		pool->n_idle += missing; /* as they will be; what cannot be made is taken back below */
	}
	pthread_mutex_unlock(&pool->lock);
	while (wake-- > 0)
		pthread_cond_signal(&pool->queued);
	while (missing > 0 && pool_add_thread(pool) == 0)
		missing--;
	if (missing > 0) {
		pthread_mutex_lock(&pool->lock);
		pool->n_idle -= missing;
		pthread_mutex_unlock(&pool->lock);
	}
}

void pool_collect(struct uring_pool *pool, struct uring_list *list)
{
	uint64_t count;

	pthread_mutex_lock(&pool->lock);
	if (pool->done.first) {
		(void)!read(pool->evfd, &count, sizeof(count));
		uring_list_move(list, &pool->done);
	}
	pthread_mutex_unlock(&pool->lock);
}

void pool_wait(struct uring_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	while (!pool->done.first)
		pthread_cond_wait(&pool->done_event, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}
