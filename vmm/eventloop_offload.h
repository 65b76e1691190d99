/* SPDX-License-Identifier: MIT */
/* A loop's threads for work that takes the processor's time: the part of the event loop that eventloop.h's event_job is about. */
#ifndef VMM_EVENTLOOP_OFFLOAD_H
#define VMM_EVENTLOOP_OFFLOAD_H

#include <pthread.h>

#include "vmm/eventloop.h"

#define OFFLOAD_THREADS 16

/* Embedded in the loop. */
struct offload {
	struct eventloop *loop;
	struct event_work collect; /* something is in `done` */
	pthread_mutex_t lock;
	/* Under the lock: */
	pthread_cond_t queued;     /* something is in `first`, or `stop` */
	pthread_cond_t done_event; /* something is in `done_first` */
	struct event_job *first, **end;
	struct event_job *done_first, **done_end;
	unsigned n_queued, n_idle;
	bool stop;
	/* The loop's thread only: */
	unsigned under_way; /* jobs that have not had their `done` */
	unsigned n_threads, max_threads;
	pthread_t threads[OFFLOAD_THREADS];
};

void offload_init(struct offload *o, struct eventloop *loop);
/* With nothing under way. */
void offload_fini(struct offload *o);
/* eventloop.c's, for eventloop_offload.c. */
struct offload *eventloop_offload_of(struct eventloop *loop);

#endif
