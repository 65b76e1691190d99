/* SPDX-License-Identifier: MIT */
/*
 * Threads of Kite's own. All of them begin here, so that whatever belongs to the machine and not to the process goes along: what the
 * starter's log lines go to (vmm/log.h), and that signals are none of their business.
 */
#ifndef VMM_THREAD_H
#define VMM_THREAD_H

#include <pthread.h>
#include <signal.h>

/*
 * As pthread_create, with the signals of `mask` blocked in it from its first instruction; NULL: all. Any thread. 0, or -errno and there
 * is no thread.
 */
int thread_create(pthread_t *thread, const sigset_t *mask, void *(*run)(void *arg), void *arg);

#endif
