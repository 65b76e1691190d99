/* SPDX-License-Identifier: MIT */
/* How far a command is: a line that -p keeps up to date, or one on stderr for each SIGUSR1. */
#include <signal.h>
#include <stdio.h>

#include "tools/img/img.h"

#define STEP 1.0 /* percent */

static volatile sig_atomic_t asked;

static void on_signal(int signal)
{
	(void)signal;
	asked = 1;
}

void img_progress_start(struct img *img)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	img->shown = img->args.progress && !img->args.quiet;
	if (img->shown) {
		printf("    (%3.2f/100%%)\r", 0.0);
		fflush(stdout);
		return;
	}
	sigaction(SIGUSR1, &sa, NULL);
#ifdef SIGINFO
	sigaction(SIGINFO, &sa, NULL);
#endif
}

void img_progress(struct img *img, uint64_t done, uint64_t total)
{
	img->part = total ? 100.0 * (double)done / (double)total : 100.0;
	if (img->shown && (img->part >= img->last + STEP || img->part >= 100.0)) {
		printf("    (%3.2f/100%%)\r", img->part);
		fflush(stdout);
		img->last = img->part;
	}
	if (asked) {
		asked = 0;
		fprintf(stderr, "    (%3.2f/100%%)\n", img->part);
	}
}

void img_progress_end(struct img *img)
{
	if (img->shown)
		printf("    (100.00/100%%)\r\n");
	img->shown = false;
}
