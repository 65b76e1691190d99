/* SPDX-License-Identifier: MIT */
/*
 * The process's signals, for the program `kite` only: a library's host keeps its own.
 *
 *   SIGINT, SIGTERM, SIGHUP   end the machine, status 0
 *   SIGTSTP                   gives the terminal back and stops the process
 *   SIGCONT                   takes the terminal again, and lets a machine go on that an I/O error stopped
 *   SIGWINCH                  the terminal has another size, also seen after SIGCONT
 *   SIGSEGV and the like      give the terminal back, then die as usual
 *   SIGPIPE, SIGXFSZ          ignored: writers see EPIPE, EFBIG
 *
 * Of these but the last two rows, those that Kite was started with ignored (nohup, a shell's background job) stay ignored.
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
	const struct signals_ops *ops;
	void *opaque;
};

struct signals_ops {
	void (*quit)(void *opaque);   /* SIGINT, SIGTERM, SIGHUP */
	void (*resume)(void *opaque); /* SIGCONT */
	void (*resized)(void *opaque); /* SIGWINCH, SIGCONT */
};

/*
 * Blocks the signals above for this thread and those it starts, and serves them on `loop`. `ops` and `opaque` are
 * borrowed. 0 or -errno with `err`.
 */
int signals_init(struct signals *signals, struct eventloop *loop, const struct signals_ops *ops, void *opaque, struct err *err);
void signals_fini(struct signals *signals);

#endif
