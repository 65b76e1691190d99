/* SPDX-License-Identifier: MIT */
/*
 * Opens files for a loop whose thread may not (vmm/sandbox.h): a thread that may has the loop do something, and opens what the loop asks for
 * meanwhile.
 */
#ifndef VMM_FILE_OPENER_H
#define VMM_FILE_OPENER_H

#include <stdbool.h>

struct err;
struct eventloop;
struct file_opener;

/* As eventloop_call_sync; `fn` may call file_opener_open. Any thread but the loop's. */
void file_opener_call(struct eventloop *loop, void (*fn)(void *arg, struct file_opener *opener), void *arg);

/* As open(2), with flags that create nothing: a descriptor or -errno. `opaque` is the struct file_opener. The loop's thread, inside of `fn`. */
int file_opener_open(void *opaque, const char *path, int flags);

/*
 * A file that a monitor named could not be opened, as `err` says: where it may be the sandbox that keeps it out (-EACCES), adds what to do about
 * that. Returns err->code.
 */
int file_opener_explain(bool sandboxed, struct err *err);

#endif
