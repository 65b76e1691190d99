/* SPDX-License-Identifier: MIT */
/* What the files vmm/kite*.c share. */
#ifndef VMM_KITE_PRIV_H
#define VMM_KITE_PRIV_H

#include <signal.h>
#include <stdbool.h>

#include "vmm/err.h"
#include "vmm/kite.h"
#include "vmm/log.h"
#include "vmm/strv.h"

struct vm_config;

/* The words of a command line, beginning with the program's. */
struct kite_config {
	struct strv words;
};

/* Parses it into `cfg`, which is initialized, and to be freed also after a failure. 0, or -errno with `err`. */
int kite_config_resolve(const struct kite_config *config, struct vm_config *cfg, struct err *err);

/* Tells the caller; returns err->code. */
int kite_tell(const struct err *err, struct kite_error *error);

/*
 * What is the calling thread's while it is inside the library: its log lines go to `sink`, and writing to a pipe that nobody reads is an
 * error and not a signal.
 */
struct kite_inside {
	struct log_sink *sink;
	sigset_t mask;
	bool pipe_pending;
};

void kite_go_in(struct kite_inside *inside, struct log_sink *sink);
void kite_go_out(const struct kite_inside *inside);

#endif
