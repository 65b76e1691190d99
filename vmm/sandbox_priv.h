/* SPDX-License-Identifier: MIT */
/* What the files of the sandbox share, and what tools/sandbox-gen makes for them. */
#ifndef VMM_SANDBOX_PRIV_H
#define VMM_SANDBOX_PRIV_H

#include <linux/filter.h>
#include <stddef.h>

#include "vmm/sandbox.h"

/* ---- made by tools/sandbox-gen: vmm/sandbox_filters.c in the build directory ---- */

enum sandbox_filter_kind {
	FILTER_VCPU,
	FILTER_LOOP, /* and from here on its needs, as NEEDS_FILES and NEEDS_PEERS */
	FILTER_MAIN = FILTER_LOOP + 4, /* the same */
	FILTERS = FILTER_MAIN + 4,
};

#define FILTER_MAX 256 /* instructions */

struct sandbox_filter {
	const struct sock_filter *code;
	unsigned short n; /* instructions */
	unsigned short calls; /* how many system calls it lets through, with whatever arguments */
};

extern const struct sandbox_filter sandbox_filters[FILTERS];
/* By number, each with its terminator; empty: there is none of it. Not pointers, which every start would have to relocate. */
extern const char sandbox_call_names[];
extern const size_t sandbox_n_call_names;

/* ---- sandbox_landlock.c ---- */

/* A ruleset to enter, or -1 where the kernel has none. 0 or -errno with `err`. */
int sandbox_landlock_open(const struct sandbox_config *cfg, int *fd, struct err *err);
/* The calling thread. 0 or -errno. */
int sandbox_landlock_enter(int fd);

/* ---- sandbox_process.c ---- */

/* Limits, the root directory, the user: what concerns all threads. 0 or -errno with `err`. */
int sandbox_process(const struct sandbox_config *cfg, struct err *err);

/* ---- sandbox_namespaces.c ---- */

enum { NAMESPACE_NET, NAMESPACE_IPC, NAMESPACE_UTS, NAMESPACES };

struct sandbox_namespaces {
	int fds[NAMESPACES]; /* -1: that of the host */
};

#define SANDBOX_NAMESPACES_NONE { .fds = { -1, -1, -1 } }

/* New ones, and an empty root directory for all threads. Main thread. 0 or -errno with `err`. */
int sandbox_make_namespaces(struct sandbox_namespaces *ns, struct err *err);
/* The calling thread goes there. 0 or -errno. */
int sandbox_enter_namespaces(const struct sandbox_namespaces *ns);
void sandbox_close_namespaces(struct sandbox_namespaces *ns);

#endif
