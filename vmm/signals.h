/* SPDX-License-Identifier: MIT */
/*
 * The process's signals, for the program `kite` only: a library's host keeps its own.
 *
 *   SIGINT, SIGTERM, SIGHUP   end the machine, status 0
 *   SIGTSTP, SIGCONT          give the terminal back while stopped, take it again
 *   SIGSEGV and the like      give the terminal back, then die as usual
 *   SIGPIPE, SIGXFSZ          ignored: writers see EPIPE, EFBIG
 *
 * Of the first two rows, those that Kite was started with ignored (nohup, a shell's background job) stay ignored.
 *
 * Thread: main.
 */
#ifndef VMM_SIGNALS_H
#define VMM_SIGNALS_H

#include "vmm/eventloop.h"

struct err;

struct signals {
	struct eventloop *loop; /* borrowed */
	struct event_fd fd;     /* a signalfd */
	void (*quit)(void *opaque);
	void *opaque;
};

/*
 * Blocks the signals above for this thread and those it starts, and serves them on `loop`. `quit` is called for each that
 * asks for the end. 0 or -errno with `err`.
 */
int signals_init(struct signals *signals, struct eventloop *loop, void (*quit)(void *opaque), void *opaque, struct err *err);
void signals_fini(struct signals *signals);

#endif
