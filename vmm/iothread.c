/* SPDX-License-Identifier: MIT */
#include "vmm/iothread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/thread.h"

struct iothread {
	struct eventloop *loop;
	pthread_t thread;
	int tid;
	char name[16]; /* as much as the kernel keeps of a thread's name */
	/* Runs first in the loop: from then on others can tell that a thread runs it. */
	struct event_work started;
	sem_t running;
};

static void iothread_started(void *opaque)
{
	struct iothread *t = opaque;

	t->tid = gettid();
	sem_post(&t->running);
}

static void *iothread_main(void *arg)
{
	struct iothread *t = arg;
	int rc;

	pthread_setname_np(pthread_self(), t->name);
	rc = eventloop_run(t->loop);
	if (rc < 0)
		log_error("%s: the thread ends, as it cannot wait for events: %s", t->name, strerror(-rc));
	return NULL;
}

/* With all signals blocked in it: they are the main thread's business. */
static int iothread_start(struct iothread *t)
{
	int rc = thread_create(&t->thread, NULL, iothread_main, t);

	if (rc < 0)
		return rc;
	while (sem_wait(&t->running) < 0)
		;
	return 0;
}

static bool one_processor(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) == 1;
}

struct iothread *iothread_create(const char *name, uint64_t poll_max_ns, struct err *err)
{
	struct iothread *t = calloc(1, sizeof(*t));
	int rc;

	if (!t) {
		err_set_errno(err, -ENOMEM, "cannot create iothread %s", name);
		return NULL;
	}
	snprintf(t->name, sizeof(t->name), "IO %s", name);
	sem_init(&t->running, 0, 0);
	t->started = (struct event_work){ .run = iothread_started, .opaque = t };
	t->loop = eventloop_create(err);
	if (!t->loop) {
		err_prefix(err, "iothread %s", name);
		goto fail;
	}
	if (!one_processor())
		eventloop_set_polling(t->loop, (int64_t)poll_max_ns);
	eventloop_post(t->loop, &t->started);
	rc = iothread_start(t);
	if (rc < 0) {
		err_set_errno(err, rc, "cannot start the thread of iothread %s", name);
		goto fail;
	}
	return t;
fail:
	eventloop_destroy(t->loop);
	sem_destroy(&t->running);
	free(t);
	return NULL;
}

void iothread_destroy(struct iothread *t)
{
	if (!t)
		return;
	eventloop_stop(t->loop);
	pthread_join(t->thread, NULL);
	eventloop_destroy(t->loop);
	sem_destroy(&t->running);
	free(t);
}

struct eventloop *iothread_loop(struct iothread *t)
{
	return t->loop;
}

int iothread_tid(const struct iothread *t)
{
	return t->tid;
}
