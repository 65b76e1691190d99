/* SPDX-License-Identifier: MIT */
#include "vmm/file_opener.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>

#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/syscall_rules.h"

SYSCALL_RULES(
	{ CALL(openat), .threads = THREAD_MAIN, .needs = NEEDS_FILES },
);

/* On the stack of who opens. */
struct file_opener {
	void (*fn)(void *arg, struct file_opener *opener);
	void *arg;
	pthread_mutex_t lock;
	/* Under the lock: */
	pthread_cond_t changed;
	const char *path; /* what is asked for; NULL: nothing */
	int flags;
	int fd;           /* the answer */
	bool done;
};

static void run(void *opaque)
{
	struct file_opener *o = opaque;

	o->fn(o->arg, o);
	pthread_mutex_lock(&o->lock);
	o->done = true;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock); /* from here on it may be gone */
}

void file_opener_call(struct eventloop *loop, void (*fn)(void *arg, struct file_opener *opener), void *arg)
{
	struct file_opener o = { .fn = fn, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	struct event_work work = { .run = run, .opaque = &o };

	eventloop_post(loop, &work);
	pthread_mutex_lock(&o.lock);
	while (!o.done) {
		if (!o.path) {
			pthread_cond_wait(&o.changed, &o.lock);
			continue;
		}
		o.fd = open(o.path, o.flags);
		if (o.fd < 0)
			o.fd = -errno;
		o.path = NULL;
		pthread_cond_broadcast(&o.changed);
	}
	pthread_mutex_unlock(&o.lock);
	pthread_cond_destroy(&o.changed);
	pthread_mutex_destroy(&o.lock);
}

int file_opener_open(void *opaque, const char *path, int flags)
{
	struct file_opener *o = opaque;
	int fd;

	pthread_mutex_lock(&o->lock);
	o->path = path;
	o->flags = flags;
	pthread_cond_broadcast(&o->changed);
	while (o->path)
		pthread_cond_wait(&o->changed, &o->lock);
	fd = o->fd;
	pthread_mutex_unlock(&o->lock);
	return fd;
}

int file_opener_explain(bool sandboxed, struct err *err)
{
	const struct err was = *err;

	if (!sandboxed || was.code != -EACCES)
		return was.code;
	return err_set(err, was.code, "%.700s; the sandbox opens files in the directories of disks' images only: -sandbox on,files=DIR names another", was.msg);
}
