/* SPDX-License-Identifier: MIT */
#include "vmm/thread.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/log.h"

/* Handed over to the thread, which frees it. */
struct thread_start {
	void *(*run)(void *arg);
	void *arg;
	struct log_sink *sink;
};

static void *thread_main(void *opaque)
{
	struct thread_start start = *(struct thread_start *)opaque;

	free(opaque);
	log_use_sink(start.sink);
	return start.run(start.arg);
}

int thread_create(pthread_t *thread, const sigset_t *mask, void *(*run)(void *arg), void *arg)
{
	struct thread_start *start = malloc(sizeof(*start));
	sigset_t all, old;
	int rc;

	if (!start)
		return -ENOMEM;
	*start = (struct thread_start){ .run = run, .arg = arg, .sink = log_sink() };
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* the sandbox's: a fault of its own */
	pthread_sigmask(SIG_SETMASK, mask ? mask : &all, &old);
	rc = pthread_create(thread, NULL, thread_main, start);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
		free(start);
	return -rc;
}
