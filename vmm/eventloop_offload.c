/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Jobs stand in one queue, from which the threads take them in order. What is done goes to a list, and the first entry of an empty list
 * posts the work `collect` to the loop, so that a burst costs one waking. A drain, which runs while the loop does not, waits for the
 * list itself.
 *
 * Threads come into being while there are fewer idle ones than jobs, at most one for each processor. Where none can be made, the jobs run
 * on the loop's thread: late, but done.
 */
#include "vmm/eventloop_offload.h"

#include <assert.h>
#include <sched.h>
#include <unistd.h>

#include "vmm/thread.h"

static void job_finished(struct offload *o, struct event_job *job)
{
	bool first = !o->done_first;

	job->next = NULL;
	*o->done_end = job;
	o->done_end = &job->next;
	if (first) {
		pthread_cond_signal(&o->done_event);
		eventloop_post(o->loop, &o->collect);
	}
}

static void *offload_thread(void *opaque)
{
	struct offload *o = opaque;

	pthread_setname_np(pthread_self(), "worker");
	pthread_mutex_lock(&o->lock);
	for (;;) {
		struct event_job *job;

		while (!o->first && !o->stop)
			pthread_cond_wait(&o->queued, &o->lock);
		job = o->first;
		if (!job)
			break;
		o->first = job->next;
		if (!o->first)
			o->end = &o->first;
		o->n_queued--;
		o->n_idle--;
		pthread_mutex_unlock(&o->lock);
		job->run(job->opaque);
		pthread_mutex_lock(&o->lock);
		o->n_idle++;
		job_finished(o, job);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

static struct event_job *done_pop(struct offload *o)
{
	struct event_job *job;

	pthread_mutex_lock(&o->lock);
	job = o->done_first;
	if (job)
		o->done_first = job->next;
	if (!o->done_first)
		o->done_end = &o->done_first;
	pthread_mutex_unlock(&o->lock);
	return job;
}

/* One after the other, as `done` may drain. */
static void collect(void *opaque)
{
	struct offload *o = opaque;
	struct event_job *job;

	while ((job = done_pop(o))) {
		o->under_way--;
		job->done(job->opaque);
	}
}

/* With all signals blocked in it: they are the main thread's business. */
static bool thread_add(struct offload *o)
{
	int rc = thread_create(&o->threads[o->n_threads], NULL, offload_thread, o);

	o->n_threads += rc == 0;
	return rc == 0;
}

/* Without threads. */
static void run_here(struct offload *o)
{
	struct event_job *job;

	pthread_mutex_lock(&o->lock);
	job = o->first;
	o->first = NULL;
	o->end = &o->first;
	o->n_queued = 0;
	pthread_mutex_unlock(&o->lock);
	job->run(job->opaque);
	pthread_mutex_lock(&o->lock);
	job_finished(o, job);
	pthread_mutex_unlock(&o->lock);
}

void eventloop_offload(struct eventloop *loop, struct event_job *job)
{
	struct offload *o = eventloop_offload_of(loop);
	bool missing;

	o->under_way++;
	job->next = NULL;
	pthread_mutex_lock(&o->lock);
	*o->end = job;
	o->end = &job->next;
	o->n_queued++;
	missing = o->n_queued > o->n_idle && o->n_threads < o->max_threads;
	o->n_idle += missing; /* as it will be */
	pthread_cond_signal(&o->queued);
	pthread_mutex_unlock(&o->lock);
	if (!missing || thread_add(o))
		return;
	pthread_mutex_lock(&o->lock);
	o->n_idle--;
	pthread_mutex_unlock(&o->lock);
	if (o->n_threads == 0)
		run_here(o);
}

void eventloop_offload_drain(struct eventloop *loop)
{
	struct offload *o = eventloop_offload_of(loop);

	if (o->under_way == 0)
		return;
	pthread_mutex_lock(&o->lock);
	while (!o->done_first)
		pthread_cond_wait(&o->done_event, &o->lock);
	pthread_mutex_unlock(&o->lock);
	collect(o);
}

void offload_init(struct offload *o, struct eventloop *loop)
{
	cpu_set_t set;
	/* Those that this process may use. sysconf(3) would read a file, which is slower than the rest of a loop's start. */
	int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : OFFLOAD_THREADS;

	o->loop = loop;
	o->collect = (struct event_work){ .run = collect, .opaque = o };
	o->end = &o->first;
	o->done_end = &o->done_first;
	o->max_threads = cpus < 1 ? 1 : cpus > OFFLOAD_THREADS ? OFFLOAD_THREADS : (unsigned)cpus;
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->queued, NULL);
	pthread_cond_init(&o->done_event, NULL);
}

/* Ends the threads, which have nothing to do. */
static void end_threads(struct offload *o)
{
	pthread_mutex_lock(&o->lock);
	assert(o->under_way == 0);
	o->stop = true;
	pthread_cond_broadcast(&o->queued);
	pthread_mutex_unlock(&o->lock);
	for (unsigned i = 0; i < o->n_threads; i++)
		pthread_join(o->threads[i], NULL);
	o->n_threads = o->n_idle = 0;
	o->stop = false;
}

void eventloop_offload_rest(struct eventloop *loop)
{
	end_threads(eventloop_offload_of(loop));
}

void offload_fini(struct offload *o)
{
	end_threads(o);
	pthread_cond_destroy(&o->done_event);
	pthread_cond_destroy(&o->queued);
	pthread_mutex_destroy(&o->lock);
}
