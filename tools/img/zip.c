/* SPDX-License-Identifier: MIT */
#include "tools/img/zip.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/co.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"

#define THREADS_MAX 16

struct zip_job {
	void (*fn)(void *arg);
	void *arg;
	struct co *co;
	struct event_work work;
	struct zip_job *next;
};

struct zip {
	struct eventloop *loop;
	struct co_pool *pool;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	struct zip_job *first, **end;
	bool stop;
	pthread_t threads[THREADS_MAX];
	unsigned n_threads;
};

static void job_done(void *opaque)
{
	struct zip_job *job = opaque;

	co_wake(job->co);
}

static void *thread_main(void *opaque)
{
	struct zip *zip = opaque;

	pthread_mutex_lock(&zip->lock);
	while (!zip->stop) {
		struct zip_job *job = zip->first;

		if (!job) {
			pthread_cond_wait(&zip->wake, &zip->lock);
			continue;
		}
		zip->first = job->next;
		if (!zip->first)
			zip->end = &zip->first;
		pthread_mutex_unlock(&zip->lock);
		job->fn(job->arg);
		eventloop_post(zip->loop, &job->work);
		pthread_mutex_lock(&zip->lock);
	}
	pthread_mutex_unlock(&zip->lock);
	return NULL;
}

struct zip *zip_create(struct eventloop *loop, struct co_pool *pool, struct err *err)
{
	struct zip *zip = calloc(1, sizeof(*zip));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!zip) {
		err_set_errno(err, -ENOMEM, "cannot start threads");
		return NULL;
	}
	zip->loop = loop;
	zip->pool = pool;
	zip->end = &zip->first;
	pthread_mutex_init(&zip->lock, NULL);
	pthread_cond_init(&zip->wake, NULL);
	for (long i = 0; i < (cpus < 1 ? 1 : cpus) && i < THREADS_MAX; i++) {
		int rc = pthread_create(&zip->threads[i], NULL, thread_main, zip);

		if (rc != 0 && i == 0) {
			err_set_errno(err, -rc, "cannot start threads");
			zip_destroy(zip);
			return NULL;
		}
		if (rc != 0)
			break;
		zip->n_threads++;
	}
	return zip;
}

void zip_destroy(struct zip *zip)
{
	if (!zip)
		return;
	pthread_mutex_lock(&zip->lock);
	zip->stop = true;
	pthread_cond_broadcast(&zip->wake);
	pthread_mutex_unlock(&zip->lock);
	for (unsigned i = 0; i < zip->n_threads; i++)
		pthread_join(zip->threads[i], NULL);
	pthread_cond_destroy(&zip->wake);
	pthread_mutex_destroy(&zip->lock);
	free(zip);
}

void zip_run(struct zip *zip, void (*fn)(void *arg), void *arg)
{
	struct zip_job job = { .fn = fn, .arg = arg, .co = co_self(zip->pool), .work = { .run = job_done } };

	job.work.opaque = &job;
	pthread_mutex_lock(&zip->lock);
	*zip->end = &job;
	zip->end = &job.next;
	pthread_cond_signal(&zip->wake);
	pthread_mutex_unlock(&zip->lock);
	co_wait(zip->pool);
}
