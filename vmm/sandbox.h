/* SPDX-License-Identifier: MIT */
/*
 * The sandbox: what is taken from Kite's own process before the guest's first instruction, so that a guest that has broken into it has gained
 * little. Everything is opened before; then, in every thread:
 *
 *   capabilities   none, in no set, and no way to get some (no_new_privs)
 *   files          Landlock: none, but below directories that a monitor may name files of, and sockets' own files, to remove them
 *   system calls   filters by kind of thread, made from the rules beside the code (vmm/syscall_rules.h); another call ends the process
 *
 * and once for the process: limits, -chroot, -runas, namespaces. SECURITY.md tells users what it is good for.
 *
 * The sandbox is the program's: a program that embeds Kite is not put into it.
 */
#ifndef VMM_SANDBOX_H
#define VMM_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;
struct sandbox;

struct sandbox_config {
	bool log;        /* a call that no rule allows is logged by the kernel, and made */
	bool namespaces; /* leave the host's mounts, network, IPC and names: sandbox_detach was called at the start */
	bool files;      /* a monitor may have files opened, below: */
	const char *const *directories;
	size_t n_directories;
	const char *const *removed; /* files of the process's own that it removes at its end */
	size_t n_removed;
	bool peers;             /* the main thread connects sockets again */
	const char *chroot_dir; /* NULL: none */
	const char *run_as;     /* USER, USER:GROUP, or numbers UID:GID; NULL: nobody else */
};

enum sandbox_thread { SANDBOX_MAIN, SANDBOX_LOOP, SANDBOX_LOOP_PEERS /* of a network's socket that listens or connects again */, SANDBOX_VCPU };

/*
 * Begins namespaces, before there are other threads and before anything is open: a user namespace where the process is not root, and mounts of
 * its own. The process goes on in a child, which is what a process namespace needs: returns 0 there. The parent hands signals on and returns 1
 * with the child's exit status in `*status`. -errno with `err`.
 */
int sandbox_detach(int *status, struct err *err);

/*
 * What concerns the process, with everything open, and what its threads will need to enter. `cfg` is borrowed for the call. NULL with
 * `err`. Main thread; there may be others.
 */
struct sandbox *sandbox_create(const struct sandbox_config *cfg, struct err *err);
/*
 * The two halves of going in, in this order; there is no way back from either. sandbox_drop takes namespaces, capabilities and files from the
 * calling thread, and from all that it starts from then on; sandbox_filter its system calls. 0 or -errno with `err`. Any thread.
 */
int sandbox_drop(const struct sandbox *sandbox, struct err *err);
int sandbox_filter(const struct sandbox *sandbox, enum sandbox_thread kind, struct err *err);
/* NULL is fine. The threads stay in. */
void sandbox_destroy(struct sandbox *sandbox);

/* Handles SIGSYS by saying which call it was, and ending the process by that signal. Once in a program, early. */
void sandbox_install_trap(void);

#endif
